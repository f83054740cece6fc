"""Draw counts, and the variance that resampling stimuli, subjects or both stands for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def draw_counts(n: int, n_draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of n is drawn in n draws with replacement, (n_draws, n) float64."""
    return generator.multinomial(n, np.full(n, 1.0 / n), size=n_draws).astype(np.float64)


def contrast_variances(draws: np.ndarray) -> np.ndarray:
    """Variances over the draws (b, k): of column i at (i, i), of the difference of i and j at (i, j)."""
    k = draws.shape[1]
    out = np.full((k, k), np.nan)
    known = ~np.isnan(draws).all(axis=0)
    rows = draws[:, known]
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 2:
        return out
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    own = np.diagonal(covariance)
    table = np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0.0)
    np.fill_diagonal(table, own)
    out[np.ix_(known, known)] = table
    return out


def sampling_variances(
    draws: Mapping[str, np.ndarray], sizes: Mapping[str, int], over: tuple[str, ...]
) -> np.ndarray:
    """Variances of scores and of their differences (k, k), as `contrast_variances` lays them out.

    For a mean over a table of stimuli and subjects with variances A (stimuli), B (subjects)
    and E (their interaction and the noise), the draws have expected variance
    (n-1)/n (A + E) over stimuli, (s-1)/s (B + E) over subjects, and over both the sum of these
    and (n-1)(s-1)/(n s) E: noise counts about three times. A + B + E follows by solving for E.
    E is kept within its possible range, 0 to the smaller one-factor variance.
    """
    corrected = {f: contrast_variances(draws[f]) * (sizes[f] / (sizes[f] - 1)) for f in over}
    if len(over) == 1:
        return corrected[over[0]]
    n, s = sizes["stimuli"], sizes["subjects"]
    a, b = corrected["stimuli"], corrected["subjects"]
    excess = contrast_variances(draws["both"]) - a * (n - 1) / n - b * (s - 1) / s
    shared = np.clip(excess * (n * s) / ((n - 1) * (s - 1)), 0.0, np.minimum(a, b))
    return np.asarray(a + b - shared)


def covariance_of(contrasts: np.ndarray) -> np.ndarray:
    """Covariance (k, k) whose diagonal and differences have the variances of `contrasts`."""
    own = np.diagonal(contrasts)
    out: np.ndarray = (own[:, None] + own[None, :] - contrasts) / 2
    np.fill_diagonal(out, own)
    return out


def differences_of(variance: np.ndarray) -> np.ndarray:
    """Variances of the differences (k, k) of a covariance; 0 on the diagonal."""
    own = np.diagonal(variance)
    out: np.ndarray = np.maximum(own[:, None] + own[None, :] - 2 * variance, 0.0)
    np.fill_diagonal(out, 0.0)
    return out
