"""Phases of the geometry of a representation over training."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.comparison._option_checks import is_real
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

PHASES = ("warm-up", "entropy-seeking", "compression-seeking")


def phase_labels(rankme_over_training: Any, *, smallest_change: float = 0.05) -> np.ndarray:
    """Name the phase of each checkpoint: the effective rank falls, rises, falls again.

    Parameters
    ----------
    rankme_over_training : array (n_checkpoints,)
        RankMe of the same stimuli and layer at each checkpoint, in the order of training.
    smallest_change : float in [0, 1)
        Share of the range of the series that a phase must fall or rise by to count; what is
        less joins the phase beside it.

    Returns
    -------
    array (n_checkpoints,) of str
        ``"warm-up"`` up to the trough, ``"entropy-seeking"`` from there up to the peak,
        ``"compression-seeking"`` after the peak; trough and peak are the two checkpoints, in
        this order, with the largest rise between them. A phase may be absent: a series that
        only rises is all entropy-seeking, one that only falls is all warm-up (it cannot be
        told from compression without the rise).

    Raises
    ------
    ShapeError
        Not one axis, fewer than 3 checkpoints.
    InputError
        Values that are not finite, a series that does not vary, `smallest_change` out of range.

    Notes
    -----
    Invariant to a positive factor and a constant. Three phases at most: a second rise smaller
    than the first stays inside its phase. The extremes of a noisy series are noisy: smooth
    first where the noise is as large as the phases. Time O(n). After the phases of Li et al.
    2025, arXiv:2509.23024, who name them by eye.

    Examples
    --------
    >>> phase_labels([50, 20, 30, 90, 60]).tolist()[1:4]
    ['warm-up', 'entropy-seeking', 'entropy-seeking']
    """
    series = _checked_series(rankme_over_training)
    if not (is_real(smallest_change) and 0.0 <= smallest_change < 1.0):
        raise InputError(f"smallest_change={smallest_change!r}; expected a share of the range in [0, 1)")
    lowest_so_far = np.minimum.accumulate(series)
    peak = int(np.argmax(series - lowest_so_far))
    # of equal troughs the last: the rise begins after it
    trough = peak - int(np.argmin(series[: peak + 1][::-1]))
    least = smallest_change * float(np.ptp(series))
    n = len(series)
    if series[peak] - series[trough] <= least:
        return np.full(n, PHASES[0], dtype=object).astype(str)
    first = trough if series[0] - series[trough] > least else -1
    last = peak if series[peak] - series[-1] > least else n - 1
    labels = np.full(n, PHASES[1], dtype="<U19")
    labels[: first + 1] = PHASES[0]
    labels[last + 1 :] = PHASES[2]
    return labels


def _checked_series(values: Any) -> np.ndarray:
    """The series scaled by its largest absolute value; refuse what has no course."""
    array = plain_array("rankme_over_training", values)
    if array.ndim != 1 or len(array) < 3:
        raise ShapeError(
            f"rankme_over_training has shape {array.shape}; expected at least 3 checkpoints (n_checkpoints,)"
        )
    if array.dtype.kind not in "fiu":
        raise InputError(f"rankme_over_training has dtype {array.dtype}; expected real numbers")
    series = array.astype(np.float64)
    if not np.isfinite(series).all():
        raise InputError(
            f"rankme_over_training is not finite at checkpoint {int(np.argmin(np.isfinite(series)))}; leave "
            "it out"
        )
    if (series == series[0]).all():
        raise InputError(f"rankme_over_training is {series[0]:.4g} at every checkpoint; it has no phases")
    return series / float(np.abs(series).max())
