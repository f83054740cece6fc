"""What the measures of dynamics take: one or more trials of one system, as (n_trials, n_times, p)."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array
from brainalign.types import Responses


def trajectories(name: str, x: Any) -> np.ndarray:
    """Return `x` as a finite float64 array (n_trials, n_times, p); one trial may leave its axis out."""
    if isinstance(x, Responses):
        raise InputError(
            f"{name} is Responses, whose rows may be trials or times; give an array (n_times, p) or "
            "(n_trials, n_times, p), for example responses.array().transpose(0, 2, 1) of epochs"
        )
    array = plain_array(name, x)
    if array.ndim not in (2, 3):
        raise ShapeError(f"{name} has shape {array.shape}; expected (n_times, p) or (n_trials, n_times, p)")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    if 0 in array.shape:
        raise ShapeError(f"{name} has shape {array.shape}; expected at least one trial, time and unit")
    out: np.ndarray = array.reshape(-1, *array.shape[-2:]).astype(np.float64, copy=False)
    bad = ~np.isfinite(out)
    if bad.any():
        trial, time, unit = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} has {int(bad.sum())} values that are not finite, first in trial {trial}, time {time}, "
            f"unit {unit}; leave out these units or trials, or interpolate, before the comparison"
        )
    return out
