"""The time axis of scores: its seconds and its highest point."""

from __future__ import annotations

import numpy as np

from brainalign.errors import InputError
from brainalign.report.averages import mean_known
from brainalign.types import Scores


def time_axis(scores: Scores) -> tuple[np.ndarray, bool]:
    """The times of the last axis of the scores, and whether they are seconds (else counts).

    Raises
    ------
    InputError
        The scores have no time axis.
    """
    if scores.values.ndim != 2:
        raise InputError(
            f"scores of shape {scores.values.shape} have no time axis; expected (n_units, n_times)"
        )
    times = scores.info.get("times")
    n_times = scores.values.shape[1]
    known = times is not None and np.shape(times) == (n_times,)
    return (np.asarray(times, dtype=np.float64) if known else np.arange(n_times, dtype=np.float64)), known


def peak(scores: Scores, index: np.ndarray) -> tuple[float, float]:
    """The highest mean score of these units over time, and when; NaN without a time axis or a score."""
    if scores.values.ndim != 2 or not len(index):
        return float("nan"), float("nan")
    course = np.asarray(mean_known(scores.values[index], axis=0))
    if not np.isfinite(course).any():
        return float("nan"), float("nan")
    best = int(np.nanargmax(course))
    return float(course[best]), float(time_axis(scores)[0][best])
