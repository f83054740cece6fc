"""Tuning curves of single units: centred, unit norm, whatever the scale of their input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.errors import ShapeError

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

MIN_STIMULI = 3
TILE = 1024
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class UnitCurves:
    """Units that vary over stimuli, each centred with norm one.

    `values` (n_stimuli, n_kept); `kept` (n_kept,) their columns in the input; `n_units` of
    the input.
    """

    values: FloatArray
    kept: IntArray
    n_units: int

    @property
    def n_left_out(self) -> int:
        """Number of units that do not vary over stimuli."""
        return self.n_units - len(self.kept)


def scaled_columns(x: FloatArray) -> FloatArray:
    """Each column divided by its largest absolute value, so that no square over- or underflows."""
    largest = np.abs(x).max(axis=0, initial=0.0)
    out: FloatArray = x / np.where(largest > 0, largest, 1.0)
    return out


def centred_columns(x: FloatArray) -> FloatArray:
    """Columns of x without their mean; the second pass takes away the rounding of the first."""
    out: FloatArray = x - x.mean(axis=0)
    out -= out.mean(axis=0)
    return out


def varying(scaled: FloatArray, norms: FloatArray) -> np.ndarray:
    """Which scaled columns differ by more than the rounding of their largest value."""
    out: np.ndarray = norms > _ROUNDING * np.sqrt(len(scaled))
    return out


def unit_curves(x: FloatArray) -> UnitCurves:
    """Curves of x (n_stimuli, n_units): centred, norm one, constant units left out."""
    scaled = scaled_columns(x)
    values = centred_columns(scaled)
    norms = np.linalg.norm(values, axis=0)
    kept = np.flatnonzero(varying(scaled, norms))
    return UnitCurves(values[:, kept] / norms[kept], kept, x.shape[1])


def check_stimuli(what: str, n: int, minimum: int = MIN_STIMULI) -> None:
    """Refuse fewer stimuli than a correlation over stimuli needs."""
    if n < minimum:
        raise ShapeError(
            f"{what} over {n} stimuli; it needs at least {minimum}: two points always lie on a line"
        )


def correlation_tiles(a: UnitCurves, b: UnitCurves, tile: int = TILE) -> Iterator[tuple[slice, FloatArray]]:
    """Correlations of `tile` units of a at a time with all units of b, rows in order."""
    for start in range(0, a.values.shape[1], tile):
        rows = slice(start, min(start + tile, a.values.shape[1]))
        yield rows, np.clip(a.values[:, rows].T @ b.values, -1.0, 1.0)


def correlations_of(a: UnitCurves, b: UnitCurves) -> FloatArray:
    """All correlations of the kept units, (n_kept_a, n_kept_b)."""
    out: FloatArray = a.values.T @ b.values
    return np.clip(out, -1.0, 1.0, out=out)


def curves_of_both(x: FloatArray, y: FloatArray, *, stacklevel: int) -> tuple[UnitCurves, UnitCurves]:
    """Curves of x and y, with one warning that counts the units left out."""
    a, b = unit_curves(x), unit_curves(y)
    warn_left_out(a, b, stacklevel=stacklevel + 1)
    return a, b


def warn_left_out(a: UnitCurves, b: UnitCurves, *, stacklevel: int) -> None:
    """Say how many units do not vary over stimuli."""
    counts = [
        f"{curves.n_left_out} of {curves.n_units} units of {name}"
        for name, curves in (("x", a), ("y", b))
        if curves.n_left_out
    ]
    if counts:
        warnings.warn(
            f"{' and '.join(counts)} do not vary over stimuli: they have no correlation and are left out",
            stacklevel=stacklevel + 1,
        )


def warn_nothing(what: str, a: UnitCurves, *, stacklevel: int) -> float:
    """NaN for a side without a unit that varies, with the reason."""
    name = "x" if len(a.kept) == 0 else "y"
    warnings.warn(f"{what} is NaN: no unit of {name} varies over stimuli", stacklevel=stacklevel + 1)
    return float("nan")
