"""What may be believed of a score: its null distribution, its interval, its ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign import metrics
from brainalign.design import recording_parts, standardise_parts
from brainalign.encoding._folds import FoldFit, FoldRows, Options
from brainalign.encoding._inputs import Problem
from brainalign.statistics import bootstrap_pearson, noise_ceiling
from brainalign.types import NoiseCeiling

_NO_CEILING = {
    "stimulus": "no stimulus was presented twice (or only averages are known)",
    "trial": "which stimulus a trial showed is not known, so that repeats cannot be told",
    "sample": "no stretch of the recording is known to repeat another",
}


@dataclass(frozen=True)
class FoldRecord:
    """What a fold leaves behind: rows, observed test responses, the fit of the chosen space.

    `chosen` (n_targets,) position of the feature space, `alphas` and `edges` (n_targets,)
    its penalty (NaN without) and where that lies in the grid, `predictions` (n_test,
    n_targets), `shares` (n_spaces, n_targets) of spaces that are weighed, or None.
    """

    rows: FoldRows
    chosen: np.ndarray
    alphas: np.ndarray
    edges: np.ndarray
    predictions: np.ndarray
    shares: np.ndarray | None = None


def merge_winner(
    record: FoldRecord | None, fit: FoldFit, rows: FoldRows, position: int, take: np.ndarray
) -> FoldRecord:
    """Replace the targets `take` of a record by those of another feature space."""
    if record is None:
        chosen = np.full(len(take), position)
        return FoldRecord(
            rows, chosen, fit.alphas.copy(), fit.edges.copy(), fit.predictions.copy(), fit.shares
        )
    record.chosen[take] = position
    record.predictions[:, take] = fit.predictions[:, take]
    record.alphas[take] = fit.alphas[take]
    record.edges[take] = fit.edges[take]
    return record


def score_fold(options: Options, rows: FoldRows, predictions: np.ndarray) -> np.ndarray:
    """Score of each target on the test rows of one fold, (n_targets,)."""
    mean = (rows.weights / rows.weights.sum()) @ rows.y_train
    return np.asarray(metrics.score(options.metric, rows.y_test, predictions, train_mean=mean))


def mean_over_folds(values: np.ndarray) -> np.ndarray:
    """Mean over the folds that have a score, NaN where none has; `values` (n_folds, n_targets)."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known.any(0), np.where(known, values, 0).sum(0) / known.sum(0), np.nan)


def unit_intervals(records: list[FoldRecord], n_bootstrap: int, options: Options) -> np.ndarray:
    """95 % interval of each target over resampled test stimuli, (2, n_targets)."""
    n_targets = records[0].predictions.shape[1]
    out = np.full((2, n_targets), np.nan)
    size = max(1, 2**27 // (8 * max(1, n_bootstrap)))
    for start in range(0, n_targets, size):
        block = slice(start, start + size)
        draws = bootstrap_pearson(
            [r.rows.y_test[:, block] for r in records],
            [r.predictions[:, block] for r in records],
            n_bootstrap=n_bootstrap,
            block=options.block,
            random_state=options.random_state,
        )
        known = np.isfinite(draws).all(axis=0)
        out[:, start : start + draws.shape[1]][:, known] = np.percentile(draws[:, known], [2.5, 97.5], axis=0)
    return out


def region_draws(
    rows: FoldRows,
    predictions: np.ndarray,
    index: dict[str, np.ndarray],
    n_bootstrap: int,
    block: int,
    seed: Any,
) -> np.ndarray:
    """Bootstrap draws of the mean score of each region in one fold, (n_bootstrap, n_regions)."""
    out = np.full((n_bootstrap, len(index)), np.nan)
    for column, targets in enumerate(index.values()):
        total, count = np.zeros(n_bootstrap), np.zeros(n_bootstrap)
        for start in range(0, len(targets), 4096):
            some = targets[start : start + 4096]
            draws = bootstrap_pearson(
                [rows.y_test[:, some]],
                [predictions[:, some]],
                n_bootstrap=n_bootstrap,
                block=block,
                random_state=seed,
            )
            # a draw in which a sparse unit does not vary gives it no score, as a fold does
            total, count = total + np.nansum(draws, axis=1), count + np.isfinite(draws).sum(axis=1)
        with np.errstate(invalid="ignore"):
            out[:, column] = total / count
    return out


def ceiling(problem: Problem, tested: np.ndarray, options: Options) -> tuple[NoiseCeiling | None, str | None]:
    """Noise ceiling of the tested rows, or None and why there is none."""
    if options.metric == "neg_mean_squared_error":
        return None, "a squared error has no noise ceiling"
    values = problem.values[tested]
    parts = recording_parts(problem.samples)
    if parts is not None:
        values = standardise_parts(values, parts[tested], np.arange(len(values)))
    found = noise_ceiling(
        values,
        problem.keys[tested],
        metric=options.metric,
        averaged=options.repeats != "single",
        random_state=options.random_state,
    )
    if found is None:
        return None, _NO_CEILING[problem.row_kind]
    shape = problem.shape
    info = {**found.info, "split_half": found.info["split_half"].reshape(shape)}
    values, low, high = (array.reshape(shape) for array in (found.values, found.low, found.high))
    return NoiseCeiling(values, low, high, found.method, found.metric, info), None
