"""92 object images: RDMs of human and monkey IT, behaviour and models (Kriegeskorte et al. 2008)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._names import unknown_name
from data_loaders._read import read_mat
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    from brainalign.types import Dataset

_COMMIT = "f1f83cadb7243492a1aae7460466e0f0140b20ac"
CARD = DatasetCard(
    name="objects92",
    title="92 object images with RDMs of human IT (4 subjects x 2 sessions), monkey IT, behaviour and models",
    licence="MIT (licence of the source repository; none is stated for the recordings and the images)",
    citation="Kriegeskorte et al. 2008, Neuron 60:1126, doi:10.1016/j.neuron.2008.10.043; behaviour: "
    "Mur et al. 2013, doi:10.3389/fpsyg.2013.00128; monkey: Kiani et al. 2007, doi:10.1152/jn.00024.2007",
    source=f"https://github.com/rsagroup/rsatoolbox, demos/92imageData, commit {_COMMIT}",
    species="Homo sapiens; Macaca mulatta",
    recording="fMRI (316 voxels of IT); single neurons (674 of IT); multi-arrangement",
    subjects=("BE", "KO", "SN", "TI"),
    sessions=("1", "2"),
    base_url=f"https://raw.githubusercontent.com/rsagroup/rsatoolbox/{_COMMIT}/demos/92imageData/",
    files=(
        RemoteFile(
            "92_behavRDMs.mat",
            "92_behavRDMs.mat",
            982719,
            "7a8e118c144c3840adeeeef6ea0706a0be2b3e80df719af15fbb56fc62562f5f",
        ),
        RemoteFile(
            "92_brainRDMs.mat",
            "92_brainRDMs.mat",
            224663,
            "1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
        ),
        RemoteFile(
            "92_modelRDMs.mat",
            "92_modelRDMs.mat",
            333004,
            "e1d2b58bb2f9508bc13da4c81b94d1ab07823b25ed30b9563bd9d6d730c2a00a",
        ),
        RemoteFile(
            "Kriegeskorte_Neuron2008_supplementalData.mat",
            "Kriegeskorte_Neuron2008_supplementalData.mat",
            3603779,
            "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
        ),
    ),
    options={
        "kind": "'brain', 'behaviour' or 'model'; all by default",
        "subject": "one subject's RDMs, for instance 'BE'; all by default, as rows of one table",
    },
)
N_STIMULI = 92
KINDS = ("brain", "behaviour", "model")
_BRAIN_NAME = re.compile(r"hIT \| (\w+) \| Session: (\d)")
_PUBLISHED = {"mIT_674neurons": "Macaca mulatta", "hITvisStim_316vx": "Homo sapiens"}


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    kind: str | None = None,
    subject: str | None = None,
) -> Dataset:
    """Load the RDMs and the images. There are no responses.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``objects92/``, or that folder itself.
    kind, subject : str, optional
        Select rows of the RDM table; by default all 34 are returned.

    Returns
    -------
    Dataset
        `rdms`: (k, 92, 92) float64 with the columns name, kind, species, roi, subject,
        session; in the order human IT by session and subject, behaviour, models, then the
        published monkey (``mIT_674neurons``) and human (``hITvisStim_316vx``) RDMs.
        `stimuli`: ``object01`` ... in the order of the files; 175 x 175 uint8 RGB; columns
        category, human, face, animal, natural, and label_NAME of the category vectors.

    Raises
    ------
    UnknownNameError
        No such kind or subject.
    DataNotFoundError, CorruptFileError
        Files are absent or not the registered ones.
    """
    from brainalign.types import Dataset

    folder = dataset_folder(CARD, root)
    stimuli = _stimuli(folder)
    rdms = _select(_rdms(folder, stimuli.ids), kind, subject)
    return Dataset(stimuli=stimuli, rdms=rdms, info=CARD.info())


def _select(rdms: Any, kind: str | None, subject: str | None) -> Any:
    keep = np.ones(len(rdms), dtype=bool)
    for column, value in (("kind", kind), ("subject", subject)):
        if value is None:
            continue
        valid = rdms.table[column].dropna().unique()
        if value not in valid:
            raise unknown_name(f"{column} of {CARD.name!r}", value, valid)
        keep &= (rdms.table[column] == value).to_numpy()
    return rdms.select(keep)


def _rdms(folder: Path, ids: np.ndarray) -> Any:
    import pandas as pd

    from brainalign.types import RDMs

    brain = read_mat(folder / "92_brainRDMs.mat", ["RDMs"], CARD)["RDMs"].ravel(order="F")
    behaviour = read_mat(folder / "92_behavRDMs.mat", ["rdms_behav_92"], CARD)["rdms_behav_92"].ravel()
    models = read_mat(folder / "92_modelRDMs.mat", ["Models"], CARD)["Models"].ravel()
    both = read_mat(folder / CARD.files[3].name, ["RDMs_mIT_hIT_fig1"], CARD)["RDMs_mIT_hIT_fig1"].ravel()
    entries = [*brain, *behaviour, *models, *both]
    kinds = ["brain"] * len(brain) + ["behaviour"] * len(behaviour) + ["model"] * len(models) + ["brain"] * 2
    rows = [_row(str(e["name"][0]), k) for e, k in zip(entries, kinds, strict=True)]
    values = np.stack([_square(e["RDM"], r["name"]) for e, r in zip(entries, rows, strict=True)])
    table = pd.DataFrame(rows, dtype=object)
    table.insert(0, "rdm_id", table["name"])
    return RDMs(values, ids, table, {**CARD.info(), "distance": "1 - Pearson r (brain); see citation"})


def _row(name: str, kind: str) -> dict[str, str | None]:
    """What the name of an RDM says."""
    row: dict[str, str | None] = {"name": name, "kind": kind, "species": None, "roi": None}
    row |= {"subject": None, "session": None}
    match = _BRAIN_NAME.fullmatch(name)
    if match:
        return row | {"species": "Homo sapiens", "roi": "IT", "subject": match[1], "session": match[2]}
    if kind == "brain":
        return row | {"species": _PUBLISHED[name], "roi": "IT"}
    if kind == "behaviour":
        return row | {"species": "Homo sapiens", "subject": name.split("|")[-1].strip()}
    return row


def _square(values: np.ndarray, name: str | None) -> np.ndarray:
    """A square RDM from a square or a condensed one (pairs i < j, row by row)."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape == (N_STIMULI, N_STIMULI):
        return values
    if values.size != N_STIMULI * (N_STIMULI - 1) // 2:
        raise CorruptFileError(f"RDM {name!r} has shape {values.shape}; expected 92 x 92 or its 4186 pairs")
    out = np.zeros((N_STIMULI, N_STIMULI))
    out[np.triu_indices(N_STIMULI, 1)] = values.ravel()
    return out + out.T


def _stimuli(folder: Path) -> Any:
    import pandas as pd

    from brainalign.types import Stimuli, content_hash
    from data_loaders._images import ArrayImages

    names = ["stimuli_92objs", "categoryLabels", "categoryVectors"]
    found = read_mat(folder / CARD.files[3].name, names, CARD)
    objects = found["stimuli_92objs"].ravel()
    images = {f"object{i + 1:02d}": np.ascontiguousarray(o["image"]) for i, o in enumerate(objects)}
    columns: dict[str, Any] = {
        "stimulus_id": list(images),
        "modality": "image",
        "category": [str(o["category"][0]) for o in objects],
    }
    for flag in ("human", "face", "animal", "natural"):
        columns[flag] = [bool(o[flag].item()) for o in objects]
    for label, vector in zip(found["categoryLabels"].ravel(), found["categoryVectors"].T, strict=True):
        columns[f"label_{label[0]}"] = vector.astype(bool)
    columns["content_hash"] = [content_hash(image) for image in images.values()]
    return Stimuli(pd.DataFrame(columns), ArrayImages(images), CARD.info())
