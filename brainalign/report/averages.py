"""Averages that pass over missing scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.types import NoiseCeiling


def mean_known(array: np.ndarray, axis: int | None = None) -> Any:
    """Mean of the entries that are not NaN; NaN, without a warning, where there are none."""
    known = np.isfinite(array)
    number = known.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.where(known, array, 0).sum(axis=axis) / np.where(number > 0, number, np.nan)


def over_times(array: np.ndarray, n_unit_axis: int = 0) -> np.ndarray:
    """Average the time axis that follows the unit axis away, where there is one."""
    if array.ndim == n_unit_axis + 1:
        return array
    return np.asarray(mean_known(array, axis=-1))


def unit_ceilings(ceiling: NoiseCeiling) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ceiling of each unit with the ends of its interval; a time axis is averaged like that of the scores."""
    return over_times(ceilings_in_time(ceiling)), over_times(ceiling.low), over_times(ceiling.high)


def ceilings_in_time(ceiling: NoiseCeiling) -> np.ndarray:
    """The ceilings; at a time whose repeats share no variance (NaN, with an interval) it is 0.

    The scores of such times enter their mean over time, so the ceiling of such times must, too.
    """
    if ceiling.values.ndim < 2:
        return ceiling.values
    nothing = np.isnan(ceiling.values) & np.isfinite(ceiling.high)
    return np.where(nothing, 0.0, ceiling.values)
