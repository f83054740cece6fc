"""Variance partition against nested loops of scikit-learn, and the identities between its parts."""

from __future__ import annotations

import numpy as np
import pytest
from partition_cases import problem
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold

from brainalign import metrics
from brainalign.regression.partition import variance_partition


def restricted(folds, train):
    position = {row: i for i, row in enumerate(train)}
    for tr, te in folds:
        tr, te = ([position[r] for r in part if r in position] for part in (tr, te))
        if len(tr) > 1 and len(te) > 1:
            yield np.array(tr), np.array(te)


def ridge(X, y, w, alpha, intercept):
    return Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(X, y, sample_weight=w)


def brute_force(spaces, Y, w, folds, inner, *, alphas, intercept=True, equal_trace=True, train_mean=False):
    """R2 of every subset, product measure and split correlation by nested loops over refits."""
    subsets = [tuple(j for j in range(len(spaces)) if m >> j & 1) for m in range(1, 2 ** len(spaces))]
    r2 = np.zeros((len(subsets), Y.shape[1]))
    product, split = np.zeros((2, len(spaces), Y.shape[1]))
    for tr, te in folds:
        mean = [np.average(x[tr], axis=0, weights=w[tr]) * intercept for x in spaces]
        size = [
            np.average(((x[tr] - m) ** 2).sum(1), weights=w[tr]) for x, m in zip(spaces, mean, strict=True)
        ]
        factor = [1 / s if equal_trace else 1.0 for s in size]
        scaled = [(x - m) * f**0.5 for x, m, f in zip(spaces, mean, factor, strict=True)]
        for s, subset in enumerate(subsets):
            X = np.concatenate([scaled[j] for j in subset], axis=1)
            grid = alphas
            if grid is None:
                trace = sum(size[j] * factor[j] for j in subset)
                grid = trace * np.logspace(-5, 5, 20)
            scores = np.zeros((len(grid), Y.shape[1]))
            nested = list(inner(tr))
            for a, alpha in enumerate(grid):
                for itr, ite in nested:
                    fit = ridge(X[tr][itr], Y[tr][itr], w[tr][itr], alpha, intercept)
                    scores[a] += metrics.r2(Y[tr][ite], fit.predict(X[tr][ite])) / len(nested)
            for t in range(Y.shape[1]):
                fit = ridge(X[tr], Y[tr, t], w[tr], grid[scores[:, t].argmax()], intercept)
                y, p = Y[te, t], fit.predict(X[te])
                reference = np.average(Y[tr, t], weights=w[tr]) if train_mean else y.mean()
                total = ((y - reference) ** 2).sum()
                r2[s, t] += 1 - ((y - p) ** 2).sum() / total
                if s == len(subsets) - 1:
                    bounds = np.cumsum([0, *(x.shape[1] for x in spaces)])
                    offset = np.average(Y[tr, t], weights=w[tr]) * intercept
                    for j in range(len(spaces)):
                        part = X[te, bounds[j] : bounds[j + 1]] @ fit.coef_[bounds[j] : bounds[j + 1]]
                        lifted = part + (offset - reference) / len(spaces)
                        product[j, t] += (lifted * (2 * (y - reference) - (p - reference))).sum() / total
                        split[j, t] += np.cov(part, y, ddof=0)[0, 1] / (p.std() * y.std())
    return {
        "r2": r2 / len(folds),
        "product_measure": product / len(folds),
        "split_correlation": split / len(folds),
    }


@pytest.mark.parametrize("widths", [(4, 6), (20, 30), (3, 5, 2), (20, 4, 30)])
@pytest.mark.parametrize(("weighted", "intercept"), [(False, True), (True, True), (True, False)])
def test_equals_nested_loops_of_scikit_learn(widths, weighted, intercept):
    """R2 of every subset and both divisions of the joint model equal refits, in both forms, to 1e-8."""
    spaces, Y, w = problem(45, widths, t=2)
    w = w if weighted else np.ones(45)
    folds = list(KFold(3, shuffle=True, random_state=0).split(Y))

    def inner(train):
        return list(KFold(3).split(train))

    alphas = [0.01, 0.3, 5.0]
    expected = brute_force(spaces, Y, w, folds, inner, alphas=alphas, intercept=intercept)
    found = variance_partition(
        spaces,
        Y,
        alphas=alphas,
        cv=folds,
        inner_cv=3,
        sample_weight=w if weighted else None,
        fit_intercept=intercept,
    )
    for field, values in expected.items():
        np.testing.assert_allclose(getattr(found, field), values, atol=1e-8, err_msg=field)


@pytest.mark.parametrize("widths", [(4, 6), (20, 30)])
@pytest.mark.parametrize("equal_trace", [True, False])
def test_relative_penalties_and_inner_folds_equal_nested_loops(widths, equal_trace):
    """The relative grid, either scaling, the training mean as baseline and the other outer folds inside."""
    spaces, Y, w = problem(42, widths, t=2, seed=1)
    folds = list(GroupKFold(3).split(Y, groups=np.repeat(np.arange(6), 7)))
    purged = [(np.setdiff1d(tr, te + 1), te) for tr, te in folds]  # a gap behind each test row

    def inner(train):
        return list(restricted(purged, train))

    expected = brute_force(spaces, Y, w, purged, inner, alphas=None, equal_trace=equal_trace, train_mean=True)
    found = variance_partition(
        spaces, Y, cv=purged, sample_weight=w, equal_trace=equal_trace, scoring="r2_train_mean"
    )
    for field, values in expected.items():
        np.testing.assert_allclose(getattr(found, field), values, atol=1e-8, err_msg=field)


def check_identities(parts):
    """What must hold between the parts of any partition."""
    whole = parts.r2[-1]
    for field in ("shared", "shapley", "product_measure"):
        np.testing.assert_allclose(getattr(parts, field).sum(0), whole, atol=1e-12)
    np.testing.assert_allclose(parts.split_correlation.sum(0), parts.correlation, atol=1e-12)
    single = [2**j - 1 for j in range(len(parts.names))]
    np.testing.assert_allclose(parts.shared[single], parts.unique, atol=1e-12)
    for j, name in enumerate(parts.names):
        others = [n for n in parts.names if n != name]
        if others:
            np.testing.assert_allclose(parts.unique[j], whole - parts.r2[parts.row(*others)], atol=1e-12)
    np.testing.assert_array_equal(parts.n_negative, (parts.shared < 0).sum(1))


@pytest.mark.parametrize("widths", [(8,), (5, 5), (5, 7, 3, 4), (40, 50, 3)])
def test_parts_sum_to_the_whole(widths):
    """Shared, Shapley and product parts sum to R2 of all spaces; the R2 of a subset is what it touches."""
    spaces, Y, _ = problem(60, widths)
    parts = variance_partition(spaces, Y, cv=3)
    check_identities(parts)
    for subset in parts.subsets:
        touched = [i for i, other in enumerate(parts.subsets) if set(other) & set(subset)]
        np.testing.assert_allclose(parts.shared[touched].sum(0), parts.r2[parts.row(*subset)], atol=1e-12)
