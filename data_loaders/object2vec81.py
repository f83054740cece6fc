"""Object2vec: voxel betas for 81 object categories with AlexNet and word2vec features."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._read import read_mat, read_npz, require_file, verify
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    from brainalign.types import Dataset

_COMMIT = "68f7c3b6ac79daa1ea037bcd1dd529edf4bb2207"
CARD = DatasetCard(
    name="object2vec81",
    title="Voxel betas for 81 object categories in 7 visual regions of one subject, with two feature sets",
    licence="none stated in the source repository (the original recordings are public on OSF)",
    citation="Bonner & Epstein 2021, Nat. Commun. 12:4081, doi:10.1038/s41467-021-24368-2",
    source=f"https://github.com/QuantumMatter/cracking-the-code-dw1, commit {_COMMIT}",
    species="Homo sapiens",
    recording="fMRI, GLM beta per category (mean response to 10 images)",
    subjects=("01",),
    files=(
        RemoteFile(
            "roi_betas.npz",
            "",
            209701,
            "5151be2cbcda0fc3a8ecbb5ab573938985d7a387eb0c368e9b28b32c45780e5e",
        ),
        RemoteFile(
            "alexnet.mat",
            "alexnet.mat",
            6251,
            "9a527c0a069cc889207b8176729ac51fd7dab0072e3dc4532d170f034c5670a0",
        ),
        RemoteFile(
            "word2vec.mat",
            "word2vec.mat",
            9281,
            "34d0fbe4f84d18792a83b1fa185be5a437b7dbb94b0ad57ba08400c80af84875",
        ),
    ),
    fetch_note="Its public file python_roi_data.pickle is a pickle, which runs code when it is opened, so "
    "it is never read here. Where you trust it, convert it once yourself to object2vec81/roi_betas.npz with "
    "the arrays betas (81, n_voxels) float, conds (81,) text, roi_index (n_voxels,) integers from 1, "
    f"roi_names text, and put alexnet.mat and word2vec.mat of the same commit ({_COMMIT}) beside it",
)


def load(*, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the betas and the two feature sets. There are no images.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``object2vec81/``, or that folder itself.

    Returns
    -------
    Dataset
        `responses`: (81, 696) float32 betas, one row per category (`stimulus_id` is the
        category), units with the label column `roi_visual`. `features`: ``alexnet``
        (81, 20) and ``word2vec`` (81, 30). One beta per category: no noise ceiling.

    Raises
    ------
    DataNotFoundError, CorruptFileError
        Files are absent, not the registered ones, or do not fit each other.
    """
    import pandas as pd

    from brainalign.types import Dataset, Responses, Stimuli

    folder = dataset_folder(CARD, root)
    arrays, verified = _betas(folder)
    names = [str(c) for c in arrays["conds"]]
    info = {**CARD.info(), "design": "trials", "verified": verified}
    samples = pd.DataFrame({"sample_id": names, "stimulus_id": names, "subject": "01"})
    labels = arrays["roi_names"][arrays["roi_index"] - 1].astype(str)
    units = pd.DataFrame(
        {"unit_id": [f"voxel{i:03d}" for i in range(len(labels))], "roi_visual": labels.astype(object)}
    )
    about = {"unit": "GLM beta", "repeats": "one beta per category; no noise ceiling"}
    return Dataset(
        stimuli=Stimuli(pd.DataFrame({"stimulus_id": names, "modality": "category"}), info=CARD.info()),
        responses=Responses(arrays["betas"], samples, units, info=info | about),
        features={name: _features(folder, name, names, info) for name in ("alexnet", "word2vec")},
        info=info,
    )


def _betas(folder: Path) -> tuple[dict[str, np.ndarray], bool]:
    path = require_file(folder / "roi_betas.npz", CARD)
    verified = verify(path, CARD)
    arrays = read_npz(path, ["betas", "conds", "roi_index", "roi_names"])
    betas, index = arrays["betas"], arrays["roi_index"]
    fits = betas.ndim == 2 and betas.shape == (len(arrays["conds"]), index.size) and betas.dtype.kind == "f"
    if not fits or index.ndim != 1 or index.dtype.kind not in "iu":
        shapes = ", ".join(f"{name} {a.shape} {a.dtype}" for name, a in arrays.items())
        raise CorruptFileError(
            f"{path} holds {shapes}; expected betas (n_categories, n_voxels) float, conds (n_categories,), "
            "roi_index (n_voxels,) integer"
        )
    if index.min() < 1 or index.max() > len(arrays["roi_names"]):
        raise CorruptFileError(
            f"{path}: roi_index runs from {index.min()} to {index.max()}; expected 1 to "
            f"{len(arrays['roi_names'])} (it counts from 1)"
        )
    return arrays, verified


def _features(folder: Path, name: str, ids: list[str], info: dict[str, Any]) -> Any:
    import pandas as pd

    from brainalign.types import Responses

    values = read_mat(folder / f"{name}.mat", [name], CARD)[name]
    if len(values) != len(ids):
        raise CorruptFileError(f"{folder / name}.mat has {len(values)} rows, roi_betas.npz {len(ids)}")
    # MATLAB's bytes may be in either order; torch takes only the machine's own
    values = np.ascontiguousarray(values, dtype=np.float32)
    samples = pd.DataFrame({"sample_id": ids, "stimulus_id": ids})
    units = pd.DataFrame(
        {"unit_id": [f"{name}_pc{i + 1:02d}" for i in range(values.shape[1])], "layer": name}
    )
    return Responses(values, samples, units, info=info | {"model": name, "layer": name})
