"""Faces, houses and objects: volumes of one subject in 12 runs, with events (Haxby et al. 2001)."""

from __future__ import annotations

import os
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import InputError
from data_loaders._card import DatasetCard
from data_loaders._haxby2001_files import REGISTERED
from data_loaders._names import unknown_name
from data_loaders._registry import registered_files, registered_path
from data_loaders._root import dataset_folder
from data_loaders._tables import read_tsv

if TYPE_CHECKING:
    from brainalign.types import Dataset

_COMMIT = "20f0335f98bbb59a0e11bc0b7a469edf8681a9a1"


def _source_path(name: str) -> str:
    if name.startswith("oneslice/"):
        return name.removeprefix("oneslice/")
    return f"haxby2001/{name.removeprefix('openfmri/')}"


CARD = DatasetCard(
    name="haxby2001",
    title="fMRI of one subject in 12 runs: blocks of faces, houses and six kinds of objects (4-D NIfTI)",
    licence="CC BY-SA 3.0 (recordings; the package that ships them is under the MIT licence)",
    citation="Haxby et al. 2001, Science 293:2425-2430, doi:10.1126/science.1063736",
    source=f"https://github.com/PyMVPA/PyMVPA, mvpa2/data, commit {_COMMIT}",
    species="Homo sapiens",
    recording="fMRI, TR 2.5 s, 121 volumes a run; half of one axial slice, or the brain in voxels of 25 mm",
    subjects=("01",),
    sessions=("1",),
    base_url=f"https://raw.githubusercontent.com/PyMVPA/PyMVPA/{_COMMIT}/mvpa2/data/",
    files=registered_files(REGISTERED, _source_path),
    options={
        "version": "'oneslice' (default; all runs in one image), 'openfmri_slice' (the same volumes, one "
        "image a run) or 'openfmri_25mm' (whole brain)",
        "mask": "'brain' (default); in 25 mm also 'gray', 'white', 'hoc' or 'vt'",
    },
)

VERSIONS = ("oneslice", "openfmri_slice", "openfmri_25mm")
MASKS_25MM = ("brain", "gray", "white", "hoc", "vt")
CONDITIONS = ("face", "house", "cat", "bottle", "scissors", "shoe", "chair", "scrambledpix")
RUNS = range(1, 13)
TR_S = 2.5
# order of FSL's motion correction: rotations, then translations
MOTION = {"rot_x": "rad", "rot_y": "rad", "rot_z": "rad", "trans_x": "mm", "trans_y": "mm", "trans_z": "mm"}


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    version: str = "oneslice",
    mask: str = "brain",
) -> Dataset:
    """Load the volumes of all runs inside a mask, with their blocks and the head motion.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``haxby2001/``, or that folder itself.
    version : which images

        - ``"oneslice"``: the posterior half of one axial slice, 40 x 20 x 1 voxels of 3.1 x
          3.75 x 3.75 mm, all runs in one image; blocks from the label of each volume
        - ``"openfmri_slice"``: the same volumes, one image a run; blocks from the tables of
          events. It gives the same responses
        - ``"openfmri_25mm"``: the whole brain in 6 x 10 x 10 voxels of 25 mm
    mask : ``"brain"`` (530 voxels of the slice; 129 of 25 mm); in 25 mm also ``"gray"`` (28),
        ``"white"`` (34), ``"hoc"`` (45 voxels of the Harvard-Oxford cortical atlas) or
        ``"vt"`` (ventral temporal cortex, 1)

    Returns
    -------
    Dataset
        `responses`: (1452, n_voxels) float32, the units of the scanner as published: no
        detrending, no z-score. Design ``"blocks"``; `run` "1" to "12" (runs 0 to 11 of the
        label file, task001_run001 to 012 of OpenFMRI), `onset` [s] of the volume from the
        start of its run, `condition` (None in rest), `subject` "01", `session` "1"; units
        with i, j, k and x, y, z [mm]; in 25 mm boolean columns `roi_gray` ... of the other
        masks that share voxels with this one. ``info["events"]``: 8 blocks a run, 22.5 s each.
        `stimuli`: the 8 categories, which are the `stimulus_id` of the blocks (there are no
        images). `features`: ``motion`` (1452, 6), rotations [rad] and translations [mm].

    Raises
    ------
    UnknownNameError
        No such version or mask.
    InputError
        A mask of 25 mm for the slice.
    DataNotFoundError, CorruptFileError
        Files are absent, or not the registered ones.

    Notes
    -----
    The blocks took 24 s; the published onsets and durations are whole volumes. Voxels of the
    25 mm masks overlap (18 of 45 in hoc are gray). The ``bold_mc.par`` beside the one slice
    holds 19 rows for 1,452 volumes and is not read: the motion is that of the OpenFMRI runs,
    which have the same volumes.
    """
    import pandas as pd

    from brainalign.types import Dataset, Stimuli

    _check(version, mask)
    folder = dataset_folder(CARD, root)
    info = {**CARD.info(), "version": version, "verified": True}
    responses = _responses(folder, version, mask, info)
    categories = pd.DataFrame({"stimulus_id": CONDITIONS, "modality": "category"})
    return Dataset(
        stimuli=Stimuli(categories, info=CARD.info()),
        responses=responses,
        features={"motion": _motion(folder, responses, info)},
        info=info,
    )


def _check(version: str, mask: str) -> None:
    if version not in VERSIONS:
        raise unknown_name(f"version of {CARD.name!r}", version, VERSIONS)
    masks = _masks(version)
    if mask not in MASKS_25MM:
        raise unknown_name(f"mask of {CARD.name!r}", mask, masks)
    if mask not in masks:
        raise InputError(
            f"mask={mask!r} is of the version {VERSIONS[2]!r}; the version {version!r} has {', '.join(masks)}"
        )


def _masks(version: str) -> dict[str, str]:
    """The file of each mask of a version."""
    if version != "openfmri_25mm":
        return {"brain": "oneslice/mask.nii.gz"}
    return {name: f"openfmri/sub001/masks/25mm/{name}.nii.gz" for name in MASKS_25MM}


def _run_file(run: int, name: str) -> str:
    return f"openfmri/sub001/BOLD/task001_run{run:03d}/{name}"


def _responses(folder: Path, version: str, mask: str, info: dict[str, Any]) -> Any:
    from brainalign.types import Responses

    image: Any
    run: list[str]
    if version == "oneslice":
        image = registered_path(folder, "oneslice/bold.nii.gz", CARD)
        labels = _labels(folder)
        run, blocks = [str(run) for _, run in labels], _blocks_of_labels(labels)
    else:
        name = "bold_25mm.nii.gz" if version == "openfmri_25mm" else "bold_1slice.nii.gz"
        run = [str(n) for n in RUNS]
        image = [registered_path(folder, _run_file(n, name), CARD) for n in RUNS]
        blocks = _blocks_of_tables(folder)
    masks = {name: _mask(registered_path(folder, file, CARD)) for name, file in _masks(version).items()}
    inside = masks[mask].dataobj
    return Responses.from_nifti(
        image,
        masks[mask],
        {**blocks, "stimulus_id": blocks["condition"]},
        rois={n: m for n, m in masks.items() if n not in ("brain", mask) and (m.dataobj & inside).any()},
        design="blocks",
        subject="01",
        session="1",
        run=run,
        unit="scanner units",
        slice_time_ref=0.0,
        info=info,
    )


def _mask(path: Path) -> Any:
    """The voxels of a mask; those of the atlas hold the number of their region."""
    import nibabel

    image: Any = nibabel.load(path)
    inside = (np.asanyarray(image.dataobj) > 0).astype(np.uint8)
    return type(image)(inside, image.affine)


def _labels(folder: Path) -> list[tuple[str, int]]:
    """Category and run (from 1) of each volume of the one slice."""
    path = registered_path(folder, "oneslice/attributes_literal.txt", CARD)
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [(label, int(run) + 1) for label, run in rows]


def _blocks_of_labels(labels: list[tuple[str, int]]) -> dict[str, list[Any]]:
    """Blocks from the category of each volume: a stretch of one category in one run."""
    blocks: dict[str, list[Any]] = {"run": [], "onset": [], "duration": [], "condition": []}
    run, start = 0, 0
    for (label, block_run), volumes in groupby(enumerate(labels), key=itemgetter(1)):
        first, *others = (volume for volume, _ in volumes)
        run, start = (run, start) if block_run == run else (block_run, first)
        if label != "rest":
            blocks["run"].append(str(run))
            blocks["onset"].append((first - start) * TR_S)
            blocks["duration"].append((1 + len(others)) * TR_S)
            blocks["condition"].append(label)
    return blocks


def _blocks_of_tables(folder: Path) -> dict[str, list[Any]]:
    """Blocks from the table of events of each run."""
    blocks: dict[str, list[Any]] = {"run": [], "onset": [], "duration": [], "condition": []}
    for run in RUNS:
        table = read_tsv(registered_path(folder, _run_file(run, "bold_events.tsv"), CARD))
        blocks["run"] += [str(run)] * len(table)
        blocks["onset"] += table.numbers("onset")
        blocks["duration"] += table.numbers("duration")
        blocks["condition"] += table.required("trial_type")
    return blocks


def _motion(folder: Path, responses: Any, info: dict[str, Any]) -> Any:
    """Head motion of each volume, joined by run and onset."""
    import pandas as pd

    from brainalign.types import Responses

    files = [_run_file(run, "bold_moest.txt") for run in RUNS]
    values = np.concatenate([np.loadtxt(registered_path(folder, name, CARD)) for name in files])
    units = pd.DataFrame({"unit_id": list(MOTION), "unit": list(MOTION.values()), "layer": "motion"})
    samples = responses.samples[["subject", "session", "run", "onset"]]
    about = {"design": "blocks", "repetition_time": TR_S, "model": "motion", "layer": "motion"}
    return Responses(values, samples, units, info={**info, **about})
