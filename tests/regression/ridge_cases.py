"""Problems, folds and brute-force references that the tests of the ridge estimators share."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.linear_model import Ridge

ALPHAS = np.logspace(-2, 3, 6)
SCORINGS = ("r2", "pearson", "neg_mean_squared_error")
KINDS = ("equal", "unequal", "overlapping", "purged", "more than half", "in disorder")
# path -> (named solver, n_features): 60 rows in 4 folds have 15 test rows
PATHS = {
    "primal, from sums": ("primal", 6),
    "primal, from predictions": ("primal", 30),
    "dual": ("dual", 90),
    "dual, p < n": ("dual", 25),
    "factored": ("factored", 90),
    "eigen": ("eigen", 90),
    "eigen, p < n": ("eigen", 25),
}


def problem(n=60, p=20, t=5, seed=0, noise=1.0):
    """Features and responses with offsets and uneven scales, and trial counts; float64."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(1.5, 0.5, p) + 2.0
    signal = X @ rng.standard_normal((p, t)) / np.sqrt(p)
    Y = signal * np.linspace(0.3, 2, t) + noise * rng.standard_normal((n, t)) + 5.0
    return X, Y, rng.integers(1, 6, n).astype(float)


def folds(kind, n=60):
    """Pairs of training and test rows."""
    rows = np.arange(n)
    if kind == "unequal":
        tests = [rows[:5], rows[5:30], rows[30:41], rows[41:]]
        return [(np.setdiff1d(rows, test), test) for test in tests]
    if kind == "overlapping":
        tests = [rows[:20], rows[10:30], rows[::3]]
        return [(np.setdiff1d(rows, test), test) for test in tests]
    if kind == "purged":
        # three rows before and after each test part belong to neither
        tests = np.array_split(rows, 4)
        return [(rows[(rows < a[0] - 3) | (rows > a[-1] + 3)], a) for a in tests]
    if kind == "more than half":
        return [(rows[:20], rows[20:]), (rows[40:], rows[:12]), (rows[10:35], rows[40:])]
    if kind == "in disorder":
        order = np.random.default_rng(3).permutation(n)
        return [(np.setdiff1d(rows, test)[::-1], test) for test in np.array_split(order, 3)]
    return [(np.setdiff1d(rows, test), test) for test in np.array_split(rows, 4)]


def score(scoring, observed, predicted):
    """Scores per target by their definitions, in float64."""
    if scoring == "neg_mean_squared_error":
        return -((observed - predicted) ** 2).mean(0)
    o = observed - observed.mean(0)
    if scoring == "r2":
        return 1 - ((observed - predicted) ** 2).sum(0) / (o**2).sum(0)
    q = predicted - predicted.mean(0)
    return (o * q).sum(0) / np.sqrt((o**2).sum(0) * (q**2).sum(0))


def refit_predictions(X, Y, cv, alphas, weights=None, intercept=True):
    """Predictions of the test rows by scikit-learn's Ridge, one list per penalty."""
    out = []
    for alpha in alphas:
        model = Ridge(alpha, fit_intercept=intercept, solver="svd")
        out.append(
            [
                model.fit(X[a], Y[a], None if weights is None else weights[a])
                .predict(X[b])
                .reshape(len(b), -1)
                for a, b in cv
            ]
        )
    return out


def refit_scores(X, Y, cv, alphas, scoring, weights=None, intercept=True):
    """Mean scores over folds of refits, (n_alphas, n_targets)."""
    Y = Y.reshape(len(Y), -1)
    every = refit_predictions(X, Y, cv, alphas, weights, intercept)
    return np.stack(
        [
            np.mean([score(scoring, Y[b], p) for (_, b), p in zip(cv, one, strict=True)], axis=0)
            for one in every
        ]
    )


@functools.cache
def reference(p, kind, weighted, intercept):
    """Scores of refits on `problem(p=p)` for every scoring; computed once for all paths."""
    X, Y, counts = problem(p=p)
    cv, weights = folds(kind), counts if weighted else None
    every = refit_predictions(X, Y, cv, ALPHAS, weights, intercept)
    return {
        scoring: np.stack(
            [
                np.mean([score(scoring, Y[b], q) for (_, b), q in zip(cv, one, strict=True)], axis=0)
                for one in every
            ]
        )
        for scoring in SCORINGS
    }
