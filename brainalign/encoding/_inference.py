"""What may be believed of a score: its null distribution, its interval, its ceiling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from brainalign import metrics
from brainalign._threads import side_by_side
from brainalign.design import Splits, recording_parts, recording_runs, standardise_parts
from brainalign.encoding._folds import FoldFit, FoldRows, Options, are_small, scaled_features
from brainalign.encoding._inputs import Problem
from brainalign.regression import smoother_matrices
from brainalign.statistics import bootstrap_pearson, exchange_rows, noise_ceiling
from brainalign.types import NoiseCeiling

_BATCH = 64
_NO_CEILING = {
    "stimulus": "no stimulus was presented twice (or only averages are known)",
    "trial": "which stimulus a trial showed is not known, so that repeats cannot be told",
    "sample": "no stretch of the recording is known to repeat another",
}
_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class FoldRecord:
    """What a fold leaves behind: rows, observed test responses, the fit of the chosen space.

    `chosen` (n_targets,) position of the feature space, `alphas` and `edges` (n_targets,)
    its penalty (NaN without) and where that lies in the grid, `predictions` (n_test,
    n_targets).
    """

    rows: FoldRows
    chosen: np.ndarray
    alphas: np.ndarray
    edges: np.ndarray
    predictions: np.ndarray


def merge_winner(
    record: FoldRecord | None, fit: FoldFit, rows: FoldRows, position: int, take: np.ndarray
) -> FoldRecord:
    """Replace the targets `take` of a record by those of another feature space."""
    if record is None:
        chosen = np.full(len(take), position)
        return FoldRecord(rows, chosen, fit.alphas.copy(), fit.edges.copy(), fit.predictions.copy())
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


def permutation_null(
    problem: Problem,
    names: list[list[str]],
    records: list[FoldRecord],
    splits: Splits,
    options: Options,
    *,
    n_permutations: int,
    shown: dict[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, float]]:
    """p-value of each target, (n_targets,), and of the mean score of each region in `shown`.

    Responses are exchanged within the folds, the same exchange in the training and in the
    test role; each fold is refitted with its feature space and penalty held, which is one
    matrix product a draw. A separate test set keeps its predictions: only its observed
    rows are exchanged.
    """
    n_targets = records[0].predictions.shape[1]
    observed = mean_over_folds(np.stack([score_fold(options, r.rows, r.predictions) for r in records]))
    # an exchange that leaves every row in its place equals the observed score but for rounding
    slack = max(1e-9, 100 * float(np.finfo(problem.values.dtype).eps))
    exceed, region_exceed = np.zeros(n_targets), dict.fromkeys(shown, 0)
    scored_targets = {name: columns[np.isfinite(observed[columns])] for name, columns in shown.items()}
    order, folds, runs = _row_layout(problem, records, splits)
    steps = list(
        exchange_rows(
            folds,
            len(order),
            exchange=splits.exchange,
            block=options.block,
            runs=runs,
            groups=splits.groups[order] if splits.exchange == "stimuli" else None,
            n_permutations=n_permutations,
            random_state=options.random_state,
        )
    )
    with side_by_side(are_small(problem, names, options)) as spread:
        smooth = partial(_fold_smoothers, problem, names, options)
        smoothers = [None] * len(records) if splits.separate_test else list(spread(smooth, records))
        for start in range(0, n_permutations, _BATCH):
            score = partial(_null_scores, steps[start : start + _BATCH], options)
            jobs = zip(records, folds, smoothers, strict=True)
            found = np.stack(list(spread(score, jobs)))
            count = (~np.isnan(found)).sum(axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                # a draw without any score counts against the claim
                null = np.where(count > 0, np.nansum(found, axis=0) / count, np.inf)
            exceed += (null >= observed - slack).sum(axis=0)
            for name, columns in scored_targets.items():
                if len(columns):
                    mean = mean_over_folds(np.where(count > 0, null, np.nan)[:, columns].T)
                    region_exceed[name] += int((~(mean < observed[columns].mean() - slack)).sum())
    p_values = np.where(np.isnan(observed), np.nan, (exceed + 1) / (n_permutations + 1))
    region_p = {
        name: (region_exceed[name] + 1) / (n_permutations + 1) if len(scored_targets[name]) else float("nan")
        for name in shown
    }
    return p_values, region_p


def _row_layout(
    problem: Problem, records: list[FoldRecord], splits: Splits
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]], np.ndarray | None]:
    """Number the averaged rows over all folds; folds as positions among them."""
    if splits.separate_test:
        order = records[0].rows.test
        folds = [(np.arange(0), np.arange(len(order)))]
    else:
        parts = [p for r in records for p in (r.rows.train, r.rows.test, r.rows.rest)]
        order = np.unique(np.concatenate(parts))
        folds = [(np.searchsorted(order, r.rows.train), np.searchsorted(order, r.rows.test)) for r in records]
    runs = recording_runs(problem.samples)
    runs = problem.groups if runs is None else runs
    return order, folds, None if runs is None else runs[order]


def _fold_smoothers(
    problem: Problem, names: list[list[str]], options: Options, record: FoldRecord
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of (targets, matrix) of one fold, for each feature space and penalty in use."""
    pairs = []
    for position in np.unique(record.chosen):
        mine = record.chosen == position
        alphas = np.unique(record.alphas[mine & np.isfinite(record.alphas)])
        if not len(alphas):
            continue
        X_train, X_test = scaled_features(problem, names[position], record.rows, options)
        intercept = getattr(options.estimator, "fit_intercept", True)
        matrices = smoother_matrices(
            X_train, X_test, alphas, sample_weight=record.rows.weights, fit_intercept=intercept
        )
        pairs += [
            (np.flatnonzero(mine & (record.alphas == alpha)), matrix)
            for alpha, matrix in zip(alphas, matrices, strict=True)
        ]
    return pairs


def _null_scores(
    batch: list[np.ndarray],
    options: Options,
    job: tuple[FoldRecord, tuple[np.ndarray, np.ndarray], Any],
) -> np.ndarray:
    """Scores of one fold under each exchange of a batch, (n_batch, n_targets)."""
    record, (train, test), smoothers = job
    rows = record.rows
    n_targets = record.predictions.shape[1]
    out = np.full((len(batch), n_targets), np.nan)
    if smoothers is None:
        for draw, exchange in enumerate(batch):
            out[draw] = score_fold(options, replace(rows, y_test=rows.y_test[exchange]), record.predictions)
        return out
    whole = np.concatenate([rows.y_train, rows.y_test, rows.y_rest])
    position = np.argsort(np.concatenate([rows.train, rows.test, rows.rest]), kind="stable")
    moved_train = np.stack([position[exchange[train]] for exchange in batch], axis=1)
    moved_test = np.stack([position[exchange[test]] for exchange in batch], axis=1)
    share = rows.weights / rows.weights.sum()
    for targets, matrix in smoothers:
        size = max(1, _BLOCK_BYTES // (8 * len(batch) * len(train)))
        for start in range(0, len(targets), size):
            columns = targets[start : start + size]
            y_train = whole[:, columns][moved_train].reshape(len(train), -1)
            y_test = whole[:, columns][moved_test].reshape(len(test), -1)
            scores = metrics.score(options.metric, y_test, matrix @ y_train, train_mean=share @ y_train)
            out[:, columns] = np.asarray(scores).reshape(len(batch), -1)
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
