"""One outer fold: rows, scaling, one fitted estimator per feature space."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils.validation import has_fit_parameter

from brainalign import metrics
from brainalign.design import (
    average_repeats,
    feature_scale,
    make_splits,
    recording_parts,
    standardise_parts,
)
from brainalign.encoding._inputs import Problem
from brainalign.errors import InputError, LeakageError
from brainalign.regression import BandedRidgeCV, KernelRidgeCV, RidgeCV, StackedRegression

TOGETHER = {"bands": BandedRidgeCV, "stack": StackedRegression}
"""Ways to combine feature spaces that weigh each of them per target, and their estimators."""

# estimators that choose on folds of their own: they get the inner folds of the design
CROSS_VALIDATED = (RidgeCV, KernelRidgeCV, BandedRidgeCV, StackedRegression)
_SMALL_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Options:
    """What `fit_encoding` was asked for; see there."""

    estimator: Any
    repeats: str
    feature_scaling: str | None
    inner_folds: int
    gap: int | None
    metric: str
    random_state: int | None
    allow: str | None
    block: int = 1  # samples that are exchanged and resampled together
    combine: str = "select"


@dataclass(frozen=True)
class FoldRows:
    """Training and test rows of one fold after averaging.

    `y_train` (n_train, n_targets), `weights` (n_train,) trials behind each row; `y_test`
    (n_test, n_targets); `y_rest` the rows in neither part (gaps). `train`, `test`, `rest`
    are the sample positions whose features these rows have. `inner`: folds of the training
    rows.
    """

    y_train: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    y_test: np.ndarray
    test: np.ndarray
    y_rest: np.ndarray
    rest: np.ndarray
    inner: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class FoldFit:
    """Predictions of the test rows (n_test, n_targets), the inner score of each target
    (what selection may see), the penalty chosen for each and where it lies in the grid, and
    the `shares` (n_spaces, n_targets) of feature spaces that are weighed, else None.
    """

    predictions: np.ndarray
    inner_score: np.ndarray
    alphas: np.ndarray
    edges: np.ndarray
    shares: np.ndarray | None = None


def are_small(problem: Problem, spaces: list[list[str]], options: Options) -> bool:
    """Tell whether several fits at once stay small: then they run side by side."""
    on_cpu = getattr(options.estimator, "device", "cpu") == "cpu"
    on_cpu = on_cpu and options.combine not in TOGETHER  # one long fit a fold: all threads serve it
    widest = max(sum(problem.features[name].shape[1] for name in names) for names in spaces)
    n_samples, n_targets = problem.values.shape
    return on_cpu and 8 * n_samples * (widest + n_samples + 4 * n_targets) < _SMALL_BYTES


def fold_rows(problem: Problem, train: np.ndarray, test: np.ndarray, options: Options) -> FoldRows:
    """Standardise by training statistics, average repeats with their counts, split the training rows."""
    values = problem.values
    parts = recording_parts(problem.samples)
    if parts is not None:
        values = standardise_parts(values, parts, train)
    if problem.confounds is not None:
        values = without_confounds(values, problem.confounds, train)
    single = np.arange(len(values))

    def gather(rows: np.ndarray, average: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not average:
            return values[rows], np.ones(len(rows)), single[rows]
        means, counts, first = average_repeats(values[rows], problem.keys[rows])
        return means, counts, rows[first]

    y_train, weights, at_train = gather(train, options.repeats == "average")
    y_test, _, at_test = gather(test, options.repeats != "single")
    unused = np.setdiff1d(single, np.concatenate([train, test]))
    y_rest, _, at_rest = gather(unused, options.repeats == "average")
    inner = inner_splits(problem, at_train, options)
    return FoldRows(y_train, weights, at_train, y_test, at_test, y_rest, at_rest, inner)


def inner_splits(problem: Problem, rows: np.ndarray, options: Options) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds inside the training rows, under the same rules as the outer ones."""
    samples = problem.samples.iloc[rows].drop(columns="split", errors="ignore")
    groups = None if problem.groups is None else problem.groups[rows]
    n_folds = options.inner_folds
    while n_folds > 1:
        try:
            found = make_splits(
                samples,
                design=problem.design,
                n_folds=n_folds,
                groups=groups,
                gap=options.gap,
                random_state=options.random_state,
            )
        except InputError:
            if n_folds == 2:
                raise
        else:
            if n_folds == 2 or min(len(test) for _, test in found.folds) > 1:
                return list(found.folds)
        n_folds -= 1  # few runs or stimuli are left for training: fewer inner folds serve
    raise InputError(f"inner_folds={options.inner_folds}; expected at least 2")


def fit_fold(problem: Problem, names: list[str], rows: FoldRows, options: Options) -> FoldFit:
    """Fit one feature space (or several side by side) on the training rows; predict the test rows."""
    X_train, X_test = scaled_features(problem, names, rows, options)
    estimator = fold_estimator(problem, names, rows, options)
    usable = np.isfinite(rows.y_train).all(axis=0)
    n_targets = rows.y_train.shape[1]
    predictions = np.full((len(rows.test), n_targets), np.nan)
    inner = np.full(n_targets, np.nan)
    none = np.full(n_targets, np.nan)
    if not usable.any():
        return FoldFit(predictions, inner, none, none)
    if isinstance(estimator, CROSS_VALIDATED):
        estimator.fit(X_train, rows.y_train, sample_weight=rows.weights)
        alphas, edges = _penalties(estimator, none)
        shares = shares_of(estimator) if options.combine in TOGETHER else None
        return FoldFit(estimator.predict(X_test), own_scores(estimator), alphas, edges, shares)
    Y = rows.y_train[:, usable]
    inner[usable] = inner_scores(estimator, X_train, Y, rows)
    fitted = fit_weighted(estimator, X_train, Y, rows.weights)
    predictions[:, usable] = np.asarray(fitted.predict(X_test)).reshape(len(X_test), -1)
    return FoldFit(predictions, inner, none, none)


def own_scores(estimator: Any) -> np.ndarray:
    """Score that a cross-validated estimator reached on its folds, (n_targets,)."""
    stacked = isinstance(estimator, StackedRegression)
    return np.asarray(estimator.cv_scores_ if stacked else estimator.best_scores_)


def shares_of(estimator: Any) -> np.ndarray:
    """Weight of each feature space for each target, (n_spaces, n_targets), each column sums to one."""
    stacked = isinstance(estimator, StackedRegression)
    return np.asarray(estimator.stacking_weights_ if stacked else estimator.band_weights_)


def _penalties(estimator: Any, none: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Penalty of each target, and -1, 0 or 1 where it lies low, inside or high in the grid."""
    if isinstance(estimator, StackedRegression):  # a penalty per space, each with a grid of its own
        return none, none
    alphas = estimator.best_alphas_
    edges = 1.0 * (alphas == estimator.alphas_.max()) - 1.0 * (alphas == estimator.alphas_.min())
    edges[np.isnan(alphas)] = np.nan
    return alphas, edges


def fit_weighted(estimator: Any, X: np.ndarray, Y: np.ndarray, weights: np.ndarray) -> Any:
    """Fit a copy; rows that stand for more trials weigh more, where the estimator can."""
    fresh = clone(estimator)
    if (weights == weights[0]).all():
        return fresh.fit(X, Y)
    if not has_fit_parameter(fresh, "sample_weight"):
        warnings.warn(
            f"{type(fresh).__name__}.fit takes no sample_weight: averages of {weights.min():g} to "
            f"{weights.max():g} trials count alike",
            UserWarning,
            stacklevel=2,
        )
        return fresh.fit(X, Y)
    return fresh.fit(X, Y, sample_weight=weights)


def inner_scores(estimator: Any, X: np.ndarray, Y: np.ndarray, rows: FoldRows) -> np.ndarray:
    """Mean Pearson r of each target over the inner folds, (n_targets,)."""
    scores = []
    for fit_rows, held_out in rows.inner:
        fitted = fit_weighted(estimator, X[fit_rows], Y[fit_rows], rows.weights[fit_rows])
        guess = np.asarray(fitted.predict(X[held_out])).reshape(len(held_out), -1)
        scores.append(metrics.pearson(Y[held_out], guess))
    known = np.isfinite(scores)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, scores, 0).sum(0) / known.sum(0))


def without_confounds(values: np.ndarray, confounds: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Residuals of all rows after least squares on the training rows, like `values`."""
    design = np.column_stack([np.ones(len(confounds)), confounds])
    # one scale for all columns: a confound in mm beside one in radian is no reason to lose it
    design = design / np.maximum(np.abs(design).max(axis=0), np.finfo(np.float64).tiny)
    weights = np.linalg.pinv(design[train]) @ values[train]
    return np.asarray(values - (design @ weights).astype(values.dtype))


def feature_part(problem: Problem, name: str, rows: FoldRows) -> tuple[np.ndarray, np.ndarray]:
    """One feature space on the training and on the test rows, without what confounds explain."""
    train, test = problem.feature_rows(name, rows.train), problem.feature_rows(name, rows.test)
    if problem.confounds is None:
        return train, test
    both = np.concatenate([train, test])
    confounds = problem.confounds[np.concatenate([rows.train, rows.test])]
    both = without_confounds(both, confounds, np.arange(len(train)))
    return both[: len(train)], both[len(train) :]


def scaled_features(
    problem: Problem, names: list[str], rows: FoldRows, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """Features of training and test rows, scaled by statistics of the training rows alone."""
    train, test = [], []
    for name in names:
        X, X_new = feature_part(problem, name, rows)
        mean, scale = feature_scale(X, rows.weights, options.feature_scaling)
        # means are float64; features recorded in float32 are fitted in float32 if responses are too
        train.append(((X - mean) / scale).astype(X.dtype, copy=False))
        test.append(((X_new - mean) / scale).astype(X.dtype, copy=False))
    return np.concatenate(train, axis=1), np.concatenate(test, axis=1)


def fold_estimator(problem: Problem, names: list[str], rows: FoldRows, options: Options) -> Any:
    """A fresh estimator for one fold; ridge without its own `cv` gets the design's inner folds.

    Where feature spaces are weighed, it is told which columns belong to which.
    """
    if options.estimator is None:
        return RidgeCV(cv=rows.inner)
    estimator = clone(options.estimator)
    if not isinstance(estimator, CROSS_VALIDATED):
        return estimator
    if options.combine in TOGETHER:
        edges = np.cumsum([0, *(problem.features[name].shape[1] for name in names)]).tolist()
        columns = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
        estimator.set_params(**{"bands" if options.combine == "bands" else "spaces": columns})
    if estimator.cv is None:
        return estimator.set_params(cv=rows.inner)
    own = check_cv(estimator.cv) if isinstance(estimator.cv, int) else estimator.cv
    if options.allow is None and hasattr(own, "split"):
        if problem.design != "trials":
            raise LeakageError(
                f"cv={estimator.cv} of the estimator knows nothing of time, and neighbouring samples of a "
                f"{problem.design} design share noise; leave cv=None, or overrule with allow='reason'"
            )
        keys = problem.keys[rows.train]
        for number, (train, test) in enumerate(own.split(np.zeros((len(keys), 1)))):
            shared = set(keys[train]) & set(keys[test])
            if shared:
                raise LeakageError(
                    f"cv={estimator.cv} of the estimator puts {len(shared)} stimuli into training and test "
                    f"of its fold {number}, first {sorted(map(str, shared))[0]!r}; leave cv=None, average "
                    "the repeats, or overrule with allow='reason'"
                )
    return estimator
