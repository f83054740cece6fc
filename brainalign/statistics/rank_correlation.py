"""Kendall's tau-a, exact and in O(n log n), and the ties that rounding hides."""

from __future__ import annotations

import numpy as np
from scipy import stats


def tau_a(a: np.ndarray, b: np.ndarray) -> float:
    """Return (concordant - discordant pairs of entries) / all pairs of entries.

    Parameters
    ----------
    a, b : arrays (n,), finite

    Returns
    -------
    float in [-1, 1]; ties count as neither, so that a vector with ties cannot reach 1.
    NaN where a or b is constant: it orders nothing.

    Notes
    -----
    Cost: O(n log n). Source: Kendall 1938, doi:10.1093/biomet/30.1-2.81.

    Examples
    --------
    >>> import numpy as np
    >>> tau_a(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])) == 3 / 6
    True
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    if a.size == 2:
        return float(np.sign(a[0] - a[1]) * np.sign(b[0] - b[1]))
    total = a.size * (a.size - 1) // 2
    # tau-b is the same difference over the root of the untied pairs; scipy sorts in O(n log n)
    tau_b = float(stats.kendalltau(a, b, method="asymptotic").statistic)
    difference = round(tau_b * np.sqrt(float(total - _ties(a))) * np.sqrt(float(total - _ties(b))))
    return float(difference / total)


def _ties(values: np.ndarray) -> int:
    """The number of pairs of equal entries."""
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def settle_ties(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., n) in which entries that differ by rounding alone are equal.

    Each vector is divided by its largest absolute entry and rounded to 12 decimals, which
    is above the error of a distance computed in float64 and below any difference that
    was measured. Without it, ranks would order the rounding of equal distances.

    Examples
    --------
    >>> import numpy as np
    >>> np.unique(settle_ties(np.array([0.3, 0.1 + 0.2]))).size
    1
    """
    scale = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)
    out: np.ndarray = np.round(vectors / np.where(scale > 0, scale, 1.0), 12)
    return out
