"""What was measured: responses of a brain or activations of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError
from brainalign.types._tables import make_table, positions
from brainalign.types.conversions import Conversions

DESIGNS = ("trials", "blocks", "continuous")


@dataclass(frozen=True, eq=False)
class Responses(Conversions):
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
            index = positions("samples", samples, self.n_samples)
            values = np.asarray(values[:])[index] if not isinstance(values, np.ndarray) else values[index]
            rows = rows.iloc[index]
        if units is not None:
            index = positions("units", units, self.n_units)
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
