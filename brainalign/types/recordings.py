"""What was presented and what was measured: stimuli, responses, RDMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of, unique_ids
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types._tables import make_table

DESIGNS = ("trials", "blocks", "continuous")


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was shown, heard or read.

    Parameters
    ----------
    table : DataFrame, one row per stimulus, index (or column) `stimulus_id`
        Columns where known: `modality`, `path` (relative), `duration` [s],
        `content_hash` (sha256 of the decoded content), `split`, `condition`.
    loader : callable, optional
        ``loader(stimulus_id)`` returns the content: for images an array
        (height, width, 3), uint8 RGB.
    info : mapping, optional
        Source, licence, citation.

    Examples
    --------
    >>> import pandas as pd
    >>> stimuli = Stimuli(pd.DataFrame({"stimulus_id": ["a", "b"], "modality": "image"}))
    >>> len(stimuli), list(stimuli.ids)
    (2, ['a', 'b'])
    """

    table: pd.DataFrame
    loader: Callable[[str], Any] | None = field(default=None, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", make_table("stimuli table", self.table, "stimulus_id"))
        object.__setattr__(self, "info", dict(self.info))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> np.ndarray:
        """Stimulus ids in the order of the table, (n_stimuli,) object array of str."""
        return np.asarray(self.table.index, dtype=object)

    def load(self, stimulus_id: str) -> Any:
        """Return the content of one stimulus."""
        if stimulus_id not in self.table.index:
            raise AlignmentError(f"stimulus_id {stimulus_id!r} is not in this table of {len(self)} stimuli")
        if self.loader is None:
            raise InputError("these stimuli have no content to load, only a table; give Stimuli(loader=...)")
        return self.loader(stimulus_id)

    def select(self, stimulus_ids: Sequence[str]) -> Stimuli:
        """Return the stimuli of these ids, in this order."""
        missing = [s for s in stimulus_ids if s not in self.table.index]
        if missing:
            raise AlignmentError(f"{len(missing)} stimulus ids are not in the table, first {missing[0]!r}")
        return replace(self, table=self.table.loc[list(stimulus_ids)])


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of a brain, or activations of a network, to stimuli.

    Parameters
    ----------
    values : array (n_samples, n_units) or (n_samples, n_units, n_times), floating
        Any object with `shape`, `dtype` and slicing. NaN marks a missing value.
    samples : DataFrame (n_samples rows), index (or column) `sample_id`
        Columns where known: stimulus_id, subject, session, run, repetition,
        condition, onset [s], split, content_hash.
    units : DataFrame (n_units rows), index (or column) `unit_id`
        Voxels, vertices, sensors, neurons or network units; any number of
        ``roi_<atlas>`` columns (labels, or boolean masks that may overlap).
    times : array (n_times,), seconds, or None
    info : mapping with `design` (``"trials"``, ``"blocks"`` or ``"continuous"``),
        physical unit, sampling rate, space, source, citation, licence.

    Raises
    ------
    ShapeError
        The lengths of axes and tables disagree.
    InputError
        The dtype is not floating, an id is not unique, the design is unknown.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> r = Responses(np.zeros((2, 3)), pd.DataFrame({"stimulus_id": ["a", "b"]}),
    ...               info={"design": "trials"})
    >>> r.n_samples, r.n_units
    (2, 3)
    """

    values: Any = field(repr=False)
    samples: pd.DataFrame | None = None
    units: pd.DataFrame | None = field(default=None, repr=False)
    times: np.ndarray | None = field(default=None, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        values = self.values if hasattr(self.values, "dtype") else np.asarray(self.values)
        if len(values.shape) not in (2, 3):
            raise ShapeError(
                f"values have shape {tuple(values.shape)}; expected (n_samples, n_units) or "
                "(n_samples, n_units, n_times)"
            )
        if not isinstance(values.dtype, np.dtype) or values.dtype.kind != "f":
            raise InputError(
                f"values have dtype {values.dtype}; expected a floating dtype of numpy, e.g. float32"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "samples", make_table("samples", self.samples, "sample_id", values.shape[0]))
        object.__setattr__(self, "units", make_table("units", self.units, "unit_id", values.shape[1]))
        object.__setattr__(self, "times", _check_times(self.times, tuple(values.shape)))
        info = dict(self.info)
        if info.get("design") is not None:
            one_of("info['design']", info["design"], DESIGNS)
        object.__setattr__(self, "info", info)

    @property
    def n_samples(self) -> int:
        return int(self.values.shape[0])

    @property
    def n_units(self) -> int:
        return int(self.values.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def array(self) -> np.ndarray:
        """The values in memory, a numpy array of the shape of `values`."""
        return self.values if isinstance(self.values, np.ndarray) else np.asarray(self.values[:])

    def select(self, *, samples: Any = None, units: Any = None) -> Responses:
        """Return the rows and units of these positions or boolean masks, in this order."""
        values, rows, columns = self.values, self.samples, self.units
        assert rows is not None
        assert columns is not None
        if samples is not None:
            index = _positions("samples", samples, self.n_samples)
            values = np.asarray(values[:])[index] if not isinstance(values, np.ndarray) else values[index]
            rows = rows.iloc[index]
        if units is not None:
            index = _positions("units", units, self.n_units)
            values = (
                np.asarray(values[:])[:, index] if not isinstance(values, np.ndarray) else values[:, index]
            )
            columns = columns.iloc[index]
        return replace(self, values=values, samples=rows, units=columns)


def _check_times(times: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if times is None:
        if len(shape) == 3:
            raise ShapeError(
                f"values of shape {shape} have a time axis; times must hold its {shape[2]} seconds"
            )
        return None
    out = np.asarray(times, dtype=np.float64)
    if len(shape) != 3 or out.shape != (shape[2],):
        raise ShapeError(
            f"times have shape {out.shape}, values {shape}; expected one time per last-axis entry"
        )
    if not np.all(np.isfinite(out)) or np.any(np.diff(out) <= 0):
        raise InputError("times must be finite and increasing, in seconds")
    return out


def _positions(name: str, index: Any, n: int) -> np.ndarray:
    array = np.asarray(index)
    if array.dtype == bool:
        if array.shape != (n,):
            raise ShapeError(f"the mask over {name} has shape {array.shape}; expected ({n},)")
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} must be selected by a boolean mask or by integer positions")
    return array.astype(np.intp)


@dataclass(frozen=True, eq=False)
class RDMs:
    """Representational dissimilarity matrices over the same stimuli.

    Parameters
    ----------
    values : array (k, n, n), symmetric with a zero diagonal; NaN marks a missing pair
    stimulus_id : sequence of n unique ids
    table : DataFrame (k rows): name, subject, session, roi, time, layer ...
    info : mapping with `distance` and what else is known
    """

    values: np.ndarray = field(repr=False)
    stimulus_id: np.ndarray = field(repr=False)
    table: pd.DataFrame | None = None
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or values.shape[1] != values.shape[2]:
            raise ShapeError(f"RDMs have shape {values.shape}; expected (k, n, n)")
        if values.dtype.kind != "f":
            raise InputError(f"RDMs have dtype {values.dtype}; expected a floating dtype")
        if np.isinf(values).any():
            raise InputError(
                "RDMs hold infinite values; a dissimilarity is a number, or NaN where it is missing"
            )
        ids = unique_ids("stimulus_id", self.stimulus_id)
        if len(ids) != values.shape[1]:
            raise ShapeError(f"{len(ids)} stimulus ids for RDMs over {values.shape[1]} stimuli")
        scale = np.nanmax(np.abs(values), initial=0.0)
        tolerance = 1e-5 * scale if values.dtype.itemsize < 8 else 1e-9 * scale
        for row, matrix in enumerate(values):
            gap = np.nanmax(np.abs(matrix - matrix.T), initial=0.0)
            if gap > tolerance or not np.array_equal(np.isnan(matrix), np.isnan(matrix.T)):
                raise InputError(f"RDM {row} is not symmetric (largest difference {gap:.3g})")
            if np.nanmax(np.abs(np.diag(matrix)), initial=0.0) > tolerance:
                raise InputError(f"RDM {row} has a diagonal that is not zero")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "stimulus_id", ids)
        object.__setattr__(self, "table", make_table("RDM table", self.table, "rdm_id", len(values)))
        object.__setattr__(self, "info", dict(self.info))

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rdms: Any) -> RDMs:
        """Return the RDMs of these positions or of this boolean mask."""
        assert self.table is not None
        index = _positions("rdms", rdms, len(self))
        return replace(self, values=self.values[index], table=self.table.iloc[index])
