"""Draw counts, and the variance that resampling stimuli, subjects or both stands for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def draw_counts(n: int, n_draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of n is drawn in n draws with replacement, (n_draws, n) float64."""
    return generator.multinomial(n, np.full(n, 1.0 / n), size=n_draws).astype(np.float64)


def contrast_variances(draws: np.ndarray) -> np.ndarray:
    """Variances over the draws (b, k): of column i at (i, i), of the difference of i and j at (i, j).

    Each entry is over the draws in which its own columns exist: a draw without a ceiling (one
    subject alone was drawn) is the widest draw of the scores, and must not be lost to them.
    NaN with fewer than 2 such draws.
    """
    finite = np.isfinite(draws)
    there = finite.astype(np.float64)
    count = there.T @ there
    centre = np.where(finite, draws, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    # the mean of all known draws goes first: what is left are small numbers with all their digits
    values = np.where(finite, draws - centre, 0.0)
    sums = values.T @ there
    squares = np.square(values).T @ there
    usable = np.where(count > 1, count, np.nan)
    gap = sums - sums.T
    table = (squares + squares.T - 2 * (values.T @ values) - gap**2 / usable) / (usable - 1)
    own = np.diagonal(squares) - np.diagonal(sums) ** 2 / np.diagonal(usable)
    np.fill_diagonal(table, own / (np.diagonal(usable) - 1))
    return np.asarray(np.maximum(table, 0.0))


def ceiling_inflation(n_subjects: int) -> float:
    """What the variance over subjects of a ceiling is short of, since draws of one subject have none.

    The counts of a draw of s subjects vary by (s-1)/s^2 about their mean; draws that repeat one
    subject, s^(1-s) of all, vary by (s-1)/s and are missing. 4/3 for 3 subjects, 1.05 for 4; NaN
    for 2, whose only draw with a ceiling is the observed one.
    """
    s = n_subjects
    alone = float(s) ** (1 - s)
    left = (1 - alone * s) / (1 - alone)
    return 1 / left if s > 2 else float("nan")


def sampling_variances(
    draws: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    over: tuple[str, ...],
    *,
    n_ceilings: int = 0,
) -> np.ndarray:
    """Variances of scores and of their differences (k, k), as `contrast_variances` lays them out.

    For a mean over a table of stimuli and subjects with variances A (stimuli), B (subjects)
    and E (their interaction and the noise), the draws have expected variance
    (n-1)/n (A + E) over stimuli, (s-1)/s (B + E) over subjects, and over both the sum of these
    and (n-1)(s-1)/(n s) E: noise counts about three times. A + B + E follows by solving for E.
    E is kept within its possible range, 0 to the smaller one-factor variance. The last
    `n_ceilings` columns have no value in draws of one subject, see `ceiling_inflation`.
    """
    corrected = {f: contrast_variances(draws[f]) * (sizes[f] / (sizes[f] - 1)) for f in over}
    raw = dict(corrected)
    if "subjects" in over and n_ceilings:
        inflation = np.ones_like(corrected["subjects"])
        inflation[-n_ceilings:], inflation[:, -n_ceilings:] = [ceiling_inflation(sizes["subjects"])] * 2
        corrected["subjects"] = corrected["subjects"] * inflation
    if len(over) == 1:
        return corrected[over[0]]
    n, s = sizes["stimuli"], sizes["subjects"]
    a, b = corrected["stimuli"], corrected["subjects"]
    excess = contrast_variances(draws["both"]) - a * (n - 1) / n - raw["subjects"] * (s - 1) / s
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
