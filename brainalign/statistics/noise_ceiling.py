"""How well any model could score: the noise ceiling of repeated measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import csr_array

from brainalign._checks import as_matrix, group_codes, one_of
from brainalign.types import NoiseCeiling

CEILING_METRICS = ("pearson", "r2", "r2_train_mean", "explained_variance")


def variance_components(values: np.ndarray, keys: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split the variance of single trials into that between and that within stimuli.

    Parameters
    ----------
    values : (n_trials, n_units); NaN = a missing trial of that unit
    keys : (n_trials,) stimulus of each trial; numbers of trials may be unequal

    Returns
    -------
    between : (n_units,) variance of the stimulus means, the one-way random-effects ANOVA
        estimate; may be negative in noise; NaN where no stimulus has two trials
    within : (n_units,) variance of trials around the mean of their stimulus
    ratio_interval : (2, n_units) 95 % interval of between / within from the F distribution
        (exact for equal numbers of normal trials, approximate otherwise)

    Notes
    -----
    With k stimuli, n_i trials each, N in all: within = SSW / (N - k), between =
    (MSB - within) / n0, n0 = (N - sum n_i^2 / N) / (k - 1) (Searle, Casella & McCulloch
    1992, DOI 10.1002/9780470316856, section 3.6). Cost linear in the number of values.

    Examples
    --------
    >>> b, w, _ = variance_components(np.array([[0.0], [2.0], [10.0], [12.0]]), ["a", "a", "b", "b"])
    >>> float(b[0]), float(w[0])
    (49.0, 2.0)
    """
    values = as_matrix("values", values)
    codes, _ = group_codes("keys", keys, len(values))
    known = np.isfinite(values)
    counts = _membership(codes) @ known.astype(np.float64)
    means = _group_means(np.asarray(values, dtype=np.float64), codes)
    total = counts.sum(0)
    k = (counts > 0).sum(0)
    error = np.where(known, values - means[codes], 0.0)
    present = np.where(counts > 0, means, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        grand = (counts * present).sum(0) / total
        between_squares = (counts * (present - grand) ** 2).sum(0)
        within = np.where(total > k, (error**2).sum(0) / (total - k), np.nan)
        n0 = (total - (counts**2).sum(0) / total) / (k - 1)
        mean_square = between_squares / (k - 1)
        between = np.where((k > 1) & (total > k), (mean_square - within) / n0, np.nan)
        f = mean_square / within
        low = (f / stats.f.ppf(0.975, k - 1, total - k) - 1) / n0
        high = (f / stats.f.ppf(0.025, k - 1, total - k) - 1) / n0
    return between, within, np.stack([low, high])


def noise_ceiling(
    values: np.ndarray,
    keys: Any,
    *,
    metric: str = "pearson",
    averaged: bool = True,
    n_splits: int = 50,
    random_state: int | None = 0,
) -> NoiseCeiling | None:
    """Noise ceiling per unit from repeated trials: variance components, split-half beside it.

    Parameters
    ----------
    values : (n_trials, n_units) single trials, NaN = missing
    keys : (n_trials,) stimulus of each trial
    metric : the score that it bounds; Pearson: sqrt(s2 / (s2 + e2 m)), the R2 family: its
        square. s2 and e2 are the variances between and within stimuli and m the mean of
        1/n_i over the stimuli that the unit has (scores on averages) or 1 (single trials).
    averaged : whether the scores are taken on averages over repeats
    n_splits : random halves for the split-half estimate

    Returns
    -------
    NoiseCeiling or None
        None where no stimulus has two trials: there is no ceiling to be had. NaN for a
        unit without signal (s2 <= 0) or without variance; `info["reasons"]` counts them.
        `low` and `high` are the 95 % interval; low = 0 where noise alone would do.
        `info["split_half"]` holds the split-half figure per unit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat(rng.standard_normal((200, 1)), 4, axis=0)
    >>> trials = truth + rng.standard_normal(truth.shape)
    >>> ceiling = noise_ceiling(trials, np.repeat(np.arange(200), 4))
    >>> bool(abs(ceiling.values[0] - np.sqrt(1 / 1.25)) < 0.05)
    True
    """
    one_of("metric", metric, CEILING_METRICS)
    values = as_matrix("values", values)
    codes, _ = group_codes("keys", keys, len(values))
    known = np.isfinite(values)
    counts = _membership(codes) @ known.astype(np.float64)  # a missing trial counts for no unit
    repeats = counts.max(axis=1, initial=0)
    repeats = repeats[repeats > 0]
    if len(repeats) < 2 or repeats.max() < 2:
        return None
    between, within, ratio = variance_components(values, codes)
    m = _mean_inverse(counts) if averaged else np.ones(values.shape[1])
    power = 0.5 if metric == "pearson" else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        point = (between / (between + m * within)) ** power
        low, high = ((np.maximum(r, 0) / (np.maximum(r, 0) + m)) ** power for r in ratio)
    flat = ~(within > _rounding(values, known) ** 2)
    no_signal = (between <= 0) & ~flat
    point[no_signal | flat] = np.nan
    low[flat], high[flat] = np.nan, np.nan
    halves = split_half(values, codes, n_splits=n_splits, random_state=random_state)
    reasons = {
        "no variance within stimuli": int(flat.sum()),
        "no variance between stimuli": int(no_signal.sum()),
    }
    info = {
        "n_stimuli": len(repeats),
        "repeats_min": int(repeats.min()),
        "repeats_max": int(repeats.max()),
        "mean_inverse_repeats": float(np.nanmean(m)),
        "scores_on": "averages over repeats" if averaged else "single trials",
        "split_half": halves if metric == "pearson" else halves**2,
        "split_half_method": f"sqrt of Spearman-Brown, {n_splits} random halves within each stimulus",
        "reasons": {reason: count for reason, count in reasons.items() if count},
    }
    return NoiseCeiling(point, low, high, "variance_components", metric, info)


def split_half(
    values: np.ndarray, keys: Any, *, n_splits: int = 50, random_state: int | None = 0
) -> np.ndarray:
    """Square root of the Spearman-Brown corrected split-half reliability, (n_units,).

    Halves are drawn within each stimulus; stimuli with one trial are left out. The
    correlation over stimuli of the two half means, r, becomes 2 r / (1 + r), is averaged
    over draws, and its root bounds the Pearson score on the mean of all trials. NaN where
    the reliability is not positive.
    """
    values = as_matrix("values", values)
    codes, labels = group_codes("keys", keys, len(values))
    known = np.isfinite(values)
    flat = _span(values, known) <= _rounding(values, known)
    present = known.any(axis=1)  # a trial that no unit has is no trial
    repeats = np.bincount(codes[present], minlength=len(labels))
    rows = np.flatnonzero(present & (repeats[codes] > 1))
    if not len(rows):
        return np.full(values.shape[1], np.nan)
    rng = np.random.default_rng(random_state)
    values, codes = values[rows].astype(np.float64), pd.factorize(codes[rows])[0]
    total = np.zeros(values.shape[1])
    for _ in range(n_splits):
        order = np.lexsort((rng.random(len(codes)), codes))
        start = np.searchsorted(codes[order], codes[order])
        rank = np.arange(len(order)) - start
        size = np.bincount(codes)[codes[order]]
        extra = rng.integers(0, 2, codes.max() + 1)[codes[order]]  # which half gets the odd trial
        first = np.zeros(len(codes), dtype=bool)
        first[order] = rank < (size + extra * (size % 2)) // 2
        a = _group_means(values[first], codes[first])
        b = _group_means(values[~first], codes[~first])
        both = np.isfinite(a) & np.isfinite(b)
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = (
                np.where(both, half - np.where(both, half, 0).sum(axis=0) / both.sum(axis=0), 0)
                for half in (a, b)
            )
            r = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
            total += 2 * r / (1 + r)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where((total > 0) & ~flat, total / n_splits, np.nan))


def _mean_inverse(counts: np.ndarray) -> np.ndarray:
    """Mean of 1/n over the stimuli with trials, (n_units,); `counts` (n_stimuli, n_units)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = np.where(counts > 0, 1 / counts, 0).sum(axis=0)
        return np.asarray(inverse / (counts > 0).sum(axis=0))


def _span(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    low, high = np.where(known, values, np.inf).min(axis=0), np.where(known, values, -np.inf).max(axis=0)
    return np.where(known.any(axis=0), high - low, 0.0)


def _rounding(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Largest difference that rounding alone makes in a column, as in `metrics.is_constant`."""
    largest = np.where(known, np.abs(values), 0).max(axis=0, initial=0)
    return np.asarray(10 * np.finfo(values.dtype).eps * largest)


def _group_means(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    member = _membership(codes)
    total, count = member @ np.where(known, values, 0.0), member @ known.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _membership(codes: np.ndarray) -> csr_array:
    """Sparse (n_groups, n_rows); its product sums rows much faster than ``np.add.at``."""
    shape = (int(codes.max(initial=-1)) + 1, len(codes))
    return csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=shape)
