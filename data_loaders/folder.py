"""A user's own arrays: responses.npy, stimuli.tsv and images in one folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, ShapeError
from data_loaders._card import DatasetCard
from data_loaders._read import read_npy, require_file
from data_loaders._tables import Table, read_tsv

if TYPE_CHECKING:
    import pandas as pd

    from brainalign.types import Dataset

CARD = DatasetCard(
    name="folder",
    title="Your own arrays: responses.npy, stimuli.tsv, images; optional units.tsv and times.npy",
    licence="your own",
    citation="",
    source="a folder of yours",
    fetch_note="It is a folder of your own: load('folder', path=DIR, design=...)",
    options={
        "path": "the folder that holds responses.npy and stimuli.tsv",
        "design": "'trials', 'blocks' or 'continuous'; it decides the splits, so it is never guessed",
    },
)
DESIGNS = ("trials", "blocks", "continuous")
_MASK = {"true": True, "false": False, "1": True, "0": False}
_SAMPLE_COLUMNS = ("split", "subject", "session", "run", "condition")
_MEMORY_MAP_BYTES = 64_000_000
_BLOCK_BYTES = 32_000_000


def load(*, path: str | os.PathLike[str], design: str) -> Dataset:
    """Load a folder of arrays.

    Parameters
    ----------
    path : folder with

        - ``responses.npy``: (n_stimuli, n_units), or (n_stimuli, n_units, n_repeats), or
          (n_stimuli, n_units, n_repeats, n_times) together with ``times.npy`` [s]. Row i
          belongs to line i of ``stimuli.tsv``. Three axes are always repeats. NaN marks
          what is missing: a repeat that is NaN in every unit becomes an absent row.
        - ``stimuli.tsv``: columns `stimulus_id` and `path` (an image, relative to the
          folder), optional `split`, `run`, `session`, `subject`, `condition`,
          `onset` [s], `duration` [s], and any others (kept as text). Ids are text: ``01``
          stays ``01``.
        - ``units.tsv`` (optional): `unit_id` and any number of ``roi_NAME`` columns.
          Columns of True/False or 1/0 become masks, which may overlap; others are labels.
    design : ``"trials"``, ``"blocks"`` or ``"continuous"``

    Returns
    -------
    Dataset
        `responses`: one row per stimulus and repeat. A two-axis array of 64 MB or more
        stays on disk (memory map). `stimuli`: images decoded on demand to uint8 RGB in
        viewing orientation (EXIF applied), all decoded once here for their content hash.

    Raises
    ------
    DataNotFoundError
        A file is absent: the folder, an array, a table, an image (with its line).
    CorruptFileError
        A file is damaged, or an image cannot be decoded (with its line).
    ShapeError
        Rows, units or times disagree: both numbers and both files are named.
    InputError
        A duplicate id, a missing column, an unknown design, an image path that leaves the
        folder, values that are infinite.

    Notes
    -----
    Cost: every image is decoded once and `responses.npy` is read once.
    """
    from brainalign.types import Dataset

    if design not in DESIGNS:
        raise InputError(f"design={design!r} is not one of {', '.join(map(repr, DESIGNS))}")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder; expected one with responses.npy and stimuli.tsv")
    lines = read_tsv(require_file(folder / "stimuli.tsv"))
    values = _read_responses(folder, len(lines))
    units = _units(folder, values.shape[1])
    stimuli = _stimuli(folder, lines)
    info = {"dataset": folder.resolve().name, "design": design, "redistributable_stimuli": False}
    responses = _responses(folder, values, units, stimuli.table, lines, info)
    return Dataset(stimuli=stimuli, responses=responses, info=info)


def _read_responses(folder: Path, n_lines: int) -> np.ndarray:
    """The array as it is on disk, floating, its axes and numbers checked."""
    path = require_file(folder / "responses.npy")
    values = read_npy(path, mmap=path.stat().st_size >= _MEMORY_MAP_BYTES)
    if values.ndim not in (2, 3, 4):
        raise ShapeError(
            f"{path} has shape {values.shape}; expected (n_stimuli, n_units), "
            "(n_stimuli, n_units, n_repeats) or (n_stimuli, n_units, n_repeats, n_times)"
        )
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path} has dtype {values.dtype}; expected real numbers")
    if len(values) != n_lines:
        raise ShapeError(
            f"{path} has {len(values)} rows, {folder / 'stimuli.tsv'} has {n_lines} below its header; row i "
            "must belong to line i"
        )
    if 0 in values.shape:
        raise ShapeError(f"{path} has shape {values.shape}; expected at least one unit, repeat and time")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    elif values.dtype.itemsize < 4 or not values.dtype.isnative:
        values = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
    _refuse_infinite(path, values)
    return values


def _refuse_infinite(path: Path, values: np.ndarray) -> None:
    """Read the array once, in blocks of rows, so that one on disk stays there."""
    rows = max(1, _BLOCK_BYTES // max(1, values[0].nbytes))
    for start in range(0, len(values), rows):
        bad = np.isinf(values[start : start + rows])
        if bad.any():
            row, unit = (int(i) for i in np.argwhere(bad)[0][:2])
            raise InputError(
                f"{path} holds infinite values, first in row {start + row}, unit {unit}; "
                "missing values are NaN"
            )


def _times(folder: Path, values: np.ndarray) -> np.ndarray | None:
    path = folder / "times.npy"
    if values.ndim < 4:
        if path.exists():
            raise ShapeError(
                f"{path} is there, but responses.npy has shape {values.shape}: three axes are "
                "(n_stimuli, n_units, n_repeats); times need the fourth (one repeat: an axis of length 1)"
            )
        return None
    if not path.exists():
        raise DataNotFoundError(
            f"{path} does not exist; responses.npy has shape {values.shape}, its fourth axis needs "
            f"{values.shape[3]} times in seconds"
        )
    times = read_npy(require_file(path))
    if times.shape != values.shape[3:] or times.dtype.kind not in "fiu":
        raise ShapeError(
            f"{path} has shape {times.shape}, dtype {times.dtype}; responses.npy has {values.shape[3]} times"
        )
    return times.astype(np.float64)


def _responses(
    folder: Path,
    values: np.ndarray,
    units: pd.DataFrame,
    table: pd.DataFrame,
    lines: Table,
    info: dict[str, Any],
) -> Any:
    """One row per stimulus and repeat; what is NaN in every unit is no row."""
    from brainalign.types import Responses

    times = _times(folder, values)
    if values.ndim == 2:
        present = _rows_present(values)
        stimulus, repeat = np.flatnonzero(present), None
        rows = values if present.all() else values[present]
        n_absent = int((~present).sum())
    else:
        trials = values.transpose(0, 2, 1, *range(3, values.ndim))
        present = ~np.isnan(trials).all(axis=tuple(range(2, trials.ndim)))
        stimulus, repeat = np.nonzero(present)
        rows, n_absent = trials[present], int((~present).sum())
    if len(rows) == 0:
        raise InputError(f"{folder / 'responses.npy'} holds NaN only")
    samples = _samples(table, lines, stimulus, repeat)
    about = {"repeats": "single trials" if repeat is not None else "one row a stimulus", "n_absent": n_absent}
    return Responses(rows, samples, units, times, info | about)


def _rows_present(values: np.ndarray) -> np.ndarray:
    """Which rows hold anything; only rows whose first unit is NaN are read whole."""
    present = np.ones(len(values), dtype=bool)
    for row in np.flatnonzero(np.isnan(values[:, 0])):
        present[row] = not np.isnan(values[row]).all()
    return present


def _samples(
    table: pd.DataFrame, lines: Table, stimulus: np.ndarray, repeat: np.ndarray | None
) -> pd.DataFrame:
    import pandas as pd

    ids = np.asarray(table.index, dtype=object)[stimulus]
    samples = pd.DataFrame({"stimulus_id": ids})
    if repeat is not None:
        samples["repetition"] = [str(r + 1) for r in repeat]
    for column in (*_SAMPLE_COLUMNS, "content_hash"):
        if column in table:
            samples[column] = table[column].to_numpy(dtype=object)[stimulus]
    if "onset" in lines.columns:
        samples["onset"] = np.asarray(lines.numbers("onset"))[stimulus]
    labels = ids if repeat is None else [f"{i}_r{r + 1}" for i, r in zip(ids, repeat, strict=True)]
    samples.index = pd.Index(labels, name="sample_id")
    return samples


def _stimuli(folder: Path, lines: Table) -> Any:
    import pandas as pd

    from brainalign.types import Stimuli
    from data_loaders._images import FolderImages, content_hashes

    ids = lines.ids("stimulus_id")
    paths = {
        stimulus_id: _inside(folder, text, f"{lines.path}, line {line}")
        for stimulus_id, text, line in zip(ids, lines.required("path"), lines.lines, strict=True)
    }
    loader = FolderImages(folder, paths, dict(zip(ids, lines.lines, strict=True)))
    columns: dict[str, Any] = {"stimulus_id": ids, "modality": "image"}
    own = ("stimulus_id", "content_hash", "modality")
    # object, so that a missing cell stays None and text is never taken for numbers
    columns |= {c: pd.Series(v, dtype=object) for c, v in lines.columns.items() if c not in own}
    if "duration" in lines.columns:
        columns["duration"] = lines.numbers("duration")
    columns["content_hash"] = content_hashes(loader, ids)
    return Stimuli(pd.DataFrame(columns), loader)


def _inside(folder: Path, text: str | None, where: str) -> str:
    """A path of stimuli.tsv, checked to name a file inside the folder."""
    if text is None:
        raise InputError(f"{where}: path is missing")
    pure = PurePosixPath(text)
    absolute = pure.is_absolute() or PureWindowsPath(text).is_absolute() or bool(PureWindowsPath(text).drive)
    if absolute or ".." in pure.parts or ".." in PureWindowsPath(text).parts:
        raise InputError(f"{where}: path {text!r} leaves the folder; expected a path relative to {folder}")
    try:
        require_file(folder / pure)
    except (DataNotFoundError, CorruptFileError) as error:
        raise type(error)(f"{where}: {error}") from error
    return text


def _units(folder: Path, n_units: int) -> pd.DataFrame:
    import pandas as pd

    path = folder / "units.tsv"
    if not path.exists():
        return pd.DataFrame({"unit_id": [f"unit{i:0{len(str(n_units - 1))}d}" for i in range(n_units)]})
    lines = read_tsv(require_file(path))
    if len(lines) != n_units:
        raise ShapeError(
            f"{path} has {len(lines)} rows below its header, {folder / 'responses.npy'} has {n_units} units"
        )
    columns: dict[str, Any] = {"unit_id": lines.ids("unit_id")}
    for name, cells in lines.columns.items():
        if name == "unit_id":
            continue
        texts = [None if cell is None else cell.lower() for cell in cells]
        if name.startswith("roi_") and all(text in _MASK for text in texts):
            columns[name] = [_MASK[text] for text in texts if text is not None]
        elif name in ("x", "y", "z"):
            columns[name] = lines.numbers(name)
        else:
            columns[name] = pd.Series(cells, dtype=object)
    return pd.DataFrame(columns)
