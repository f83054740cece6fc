"""A user's own arrays without stimuli: responses.npy, features_NAME.npy, samples.tsv in one folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import AlignmentError, DataNotFoundError, InputError, ShapeError
from data_loaders._card import DatasetCard
from data_loaders._read import read_npy, require_file
from data_loaders._tables import Table, read_tsv

if TYPE_CHECKING:
    import pandas as pd

    from brainalign.types import Dataset, Responses

CARD = DatasetCard(
    name="arrays",
    title="Your own arrays: responses.npy, features_NAME.npy, samples.tsv with conditions; no stimuli",
    licence="your own",
    citation="",
    source="a folder of yours",
    fetch_note="It is a folder of your own: load('arrays', path=DIR, design=...)",
    options={
        "path": "the folder that holds responses.npy",
        "design": "'trials', 'blocks' or 'continuous'; it decides the splits, so it is never guessed",
        "responses": "name of the array of responses (responses.npy by default)",
        "features": "names of the arrays of features; all features_NAME.npy by default",
    },
)
DESIGNS = ("trials", "blocks", "continuous")
_PREFIX = "features"
_LONGEST_STEP_S = 600.0  # no recording has a sample every ten minutes; 0.6 s in ms is as much
_SAMPLE_TEXT = ("stimulus_id", "subject", "session", "run", "story", "repetition", "condition", "split")
_MASK = {"true": True, "false": False, "1": True, "0": False}


def load(
    *,
    path: str | os.PathLike[str],
    design: str,
    responses: str = "responses.npy",
    features: Sequence[str] | None = None,
) -> Dataset:
    """Load arrays whose rows belong together.

    Parameters
    ----------
    path : folder with

        - ``responses.npy``: (n_samples, n_units), or (n_samples, n_units, n_times) together
          with ``times.npy`` [s]. NaN marks a missing value.
        - ``features_NAME.npy`` (any number): (n_samples, n_features). Row i belongs to row i of
          the responses. They become ``features["NAME"]``.
        - ``samples.tsv`` (optional for trials): line i below the header belongs to row i. Columns
          `stimulus_id`, `condition`, `run`, `session`, `subject`, `repetition`, `split`, and
          `onset` [s from the start of the run], which blocks and continuous designs need.
        - ``units.tsv`` (optional): `unit_id` and any number of ``roi_NAME`` columns; those of
          True/False or 1/0 become masks, others are labels.
    design : ``"trials"``, ``"blocks"`` or ``"continuous"``
    responses, features : names of files in the folder, where they are called otherwise. The
        name of a feature space is that of its file without ``features_`` and ``.npy``.

    Returns
    -------
    Dataset
        `responses` and `features`, floating; no stimuli. Where trials have a `stimulus_id`,
        features are one row per stimulus, which must be the same in all its rows.

    Raises
    ------
    DataNotFoundError
        The folder, an array or ``samples.tsv`` is absent.
    CorruptFileError
        A file is damaged, or holds pickled objects.
    ShapeError
        Rows, units or times disagree: both numbers and both files are named.
    InputError
        An unknown design, values that are no finite numbers, an onset that is missing.
    AlignmentError
        Features of one stimulus differ between its rows.

    Notes
    -----
    Cost: every array is read once, into memory.
    """
    from brainalign.types import Dataset, Responses

    if design not in DESIGNS:
        raise InputError(f"design={design!r} is not one of {', '.join(map(repr, DESIGNS))}")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder; expected one with responses.npy")
    place = _inside(folder, responses)
    values = _numbers(place, (2, 3))
    times = _times(folder, place, values)
    samples = _samples(folder, place, len(values), design)
    info = {**CARD.info(), "dataset": folder.resolve().name, "design": design}
    measured = Responses(values, samples, _units(folder, place, values.shape[1]), times, info)
    found = {
        name: _features(file, measured, place) for name, file in _feature_files(folder, features).items()
    }
    return Dataset(responses=measured, features=found, info=info)


def feature_name(file: str) -> str:
    """The name of a feature space by its file.

    Examples
    --------
    >>> feature_name("features_clip.npy"), feature_name("gabor.npy")
    ('clip', 'gabor')
    """
    stem = file.removesuffix(".npy")
    return stem.removeprefix(_PREFIX).lstrip("_-") or stem


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder, by its name alone."""
    if Path(name).name != name or not name.endswith(".npy"):
        raise InputError(
            f"{name!r} is no name of an array in {folder}; expected for instance 'responses.npy'"
        )
    return require_file(folder / name)


def _numbers(path: Path, axes: tuple[int, ...], *, missing: bool = True) -> np.ndarray:
    """A floating array of so many axes; infinite values are refused, NaN where nothing may be missing."""
    values = read_npy(path)
    if values.ndim not in axes or 0 in values.shape:
        raise ShapeError(
            f"{path} has shape {values.shape}; expected {' or '.join(map(str, axes))} axes (n_samples, "
            f"n_units{', n_times)' if 3 in axes else ')'}, none of length 0"
        )
    if values.dtype.kind not in "fiub":
        raise InputError(f"{path} has dtype {values.dtype}; expected real numbers")
    keep = values.dtype.kind == "f" and values.dtype.itemsize >= 4 and values.dtype.isnative
    values = values if keep else values.astype(np.float64)
    bad = np.isinf(values) if missing else ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputError(
            f"{path} holds {'infinite' if missing else 'missing or infinite'} values ({int(bad.sum())}), "
            f"first in row {row}"
            + ("; missing values are NaN" if missing else "; features must be known everywhere")
        )
    return values


def _times(folder: Path, place: Path, values: np.ndarray) -> np.ndarray | None:
    path = folder / "times.npy"
    if values.ndim == 2:
        if path.exists():
            raise ShapeError(
                f"{path} is there, but {place.name} has shape {values.shape}; times need a third axis"
            )
        return None
    if not path.exists():
        raise DataNotFoundError(
            f"{path} does not exist; {place.name} has shape {values.shape}, its third axis needs "
            f"{values.shape[2]} times in seconds"
        )
    times = _numbers(require_file(path), (1,))
    if len(times) != values.shape[2]:
        raise ShapeError(f"{path} has {len(times)} times, {place} {values.shape[2]} on its third axis")
    return times.astype(np.float64)


def _table(path: Path, n: int, what: str) -> Table:
    lines = read_tsv(require_file(path))
    if len(lines) != n:
        raise ShapeError(f"{path} has {len(lines)} rows below its header; expected {n}, one for each {what}")
    return lines


def _samples(folder: Path, place: Path, n: int, design: str) -> pd.DataFrame:
    import pandas as pd

    path = folder / "samples.tsv"
    if not path.exists():
        if design != "trials":
            raise DataNotFoundError(
                f"{path} does not exist; design={design!r} needs the onset [s] of each of the {n} rows of "
                f"{place.name}, and run where there are several"
            )
        return pd.DataFrame(index=pd.RangeIndex(n))
    lines = _table(path, n, f"row of {place.name}")
    columns: dict[str, Any] = {}
    for name, cells in lines.columns.items():
        columns[name] = pd.Series(cells, dtype=object)
    if "onset" in lines.columns or design != "trials":
        onset = np.asarray(lines.numbers("onset"))
        missing = np.flatnonzero(~np.isfinite(onset))
        if design != "trials" and len(missing):
            raise InputError(f"{path}, line {lines.lines[missing[0]]}: onset is missing; expected seconds")
        if design != "trials":
            _refuse_milliseconds(path, onset)
        columns["onset"] = onset
    return pd.DataFrame(columns)


def _refuse_milliseconds(path: Path, onset: np.ndarray) -> None:
    """Samples of a recording in time that follow each other by minutes were written in another unit."""
    steps = np.diff(onset)
    steps = steps[steps > 0]
    if len(steps) and np.median(steps) >= _LONGEST_STEP_S:
        raise InputError(
            f"{path}: onsets follow each other by {np.median(steps):g}; they are in seconds from the start "
            "of the run, and look like milliseconds"
        )


def _units(folder: Path, place: Path, n_units: int) -> pd.DataFrame:
    import pandas as pd

    path = folder / "units.tsv"
    if not path.exists():
        return pd.DataFrame({"unit_id": [f"unit{i:0{len(str(n_units - 1))}d}" for i in range(n_units)]})
    lines = _table(path, n_units, f"unit of {place.name}")
    columns: dict[str, Any] = {"unit_id": lines.ids("unit_id")}
    for name, cells in lines.columns.items():
        texts = [None if cell is None else cell.lower() for cell in cells]
        if name.startswith("roi_") and all(text in _MASK for text in texts):
            columns[name] = [_MASK[text] for text in texts if text is not None]
        elif name in ("x", "y", "z"):
            columns[name] = lines.numbers(name)
        elif name != "unit_id":
            columns[name] = pd.Series(cells, dtype=object)
    return pd.DataFrame(columns)


def _feature_files(folder: Path, features: Sequence[str] | None) -> dict[str, Path]:
    if isinstance(features, str):
        raise InputError(f"features={features!r} is text; expected a list of names: features=[{features!r}]")
    names = (
        sorted(p.name for p in folder.glob(f"{_PREFIX}*.npy"))
        if features is None
        else [str(name) for name in features]
    )
    found: dict[str, Path] = {}
    for file in names:
        name = feature_name(file)
        if name in found:
            raise InputError(f"{file} and {found[name].name} are both called {name!r}; rename one of them")
        found[name] = _inside(folder, file)
    return found


def _features(path: Path, measured: Responses, place: Path) -> Responses:
    """Features on the rows of the responses; one row per stimulus where trials name them."""
    import pandas as pd

    from brainalign.types import Responses

    values = _numbers(path, (2,), missing=False)
    samples = measured.samples
    assert samples is not None
    if len(values) != len(samples):
        raise ShapeError(
            f"{path} has {len(values)} rows, {place} has {len(samples)}; row i of one must belong to row i "
            "of the other"
        )
    keys = [c for c in (*_SAMPLE_TEXT, "onset") if c in samples]
    kept = samples[keys]
    if measured.info["design"] == "trials" and "stimulus_id" in samples:
        codes, _ = pd.factorize(samples["stimulus_id"])
        _, first = np.unique(codes, return_index=True)
        differing = np.flatnonzero((values != values[first[codes]]).any(axis=1))
        if len(differing):
            row = int(differing[0])
            raise AlignmentError(
                f"{path}: rows {int(first[codes[row]])} and {row} are of the stimulus "
                f"{samples['stimulus_id'].iloc[row]!r} and differ; one stimulus has one row of features"
            )
        values, kept = values[first], samples[["stimulus_id"]].iloc[first]
    units = pd.DataFrame({"unit_id": [f"f{i}" for i in range(values.shape[1])]})
    return Responses(values, kept, units, info={**measured.info, "model": path.name})
