"""The path by one eigendecomposition where digits are short, folds are many and penalties are hard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ridge_cases import SCORINGS, folds, problem, refit_scores
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from brainalign._threads import side_by_side
from brainalign.regression import RidgeCV, _eigen_path
from brainalign.regression._eigen_path import EigenPath

SOLVER = {"solver": "eigen"}


def decaying(n=120, p=118, t=40, decades=3.0, seed=0):
    """Features whose variances fall by some decades, float64; with p just below n rounding grows most."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.logspace(0, -decades, p)
    Y = X[:, :20] @ rng.standard_normal((20, t)) + 0.3 * rng.standard_normal((n, t))
    return X, Y


def watched(monkeypatch):
    """Keep the paths that are prepared."""
    paths, prepare = [], EigenPath.prepare

    def keep(self, alphas, **options):
        prepare(self, alphas, **options)
        paths.append(self)

    monkeypatch.setattr(EigenPath, "prepare", keep)
    return paths


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("kept", [10, 1])
def test_small_penalties_keep_their_digits_in_float32(scoring, kept, monkeypatch):
    """Where rounding would grow, penalties go as matrices; without that the scores would be wrong."""
    monkeypatch.setattr(_eigen_path, "KEPT", kept)
    paths = watched(monkeypatch)
    X, Y = decaying()
    cv, grid = folds("unequal", 60), np.logspace(-12, 3, 16)
    cv = [(np.r_[a, 60:120], b) for a, b in cv]
    options = {"cv": cv, "scoring": scoring, **SOLVER}
    exact = refit_scores(X, Y, cv, grid, scoring)
    single = X.astype(np.float32), Y.astype(np.float32)
    found = RidgeCV(grid, **options).fit(*single).cv_scores_
    assert len(paths[0].hard) > 2
    assert paths[0].near
    np.testing.assert_allclose(found, exact, rtol=2e-4, atol=2e-4)
    monkeypatch.setattr(_eigen_path, "_AMPLIFIED", {torch.float32: np.inf})
    careless = RidgeCV(grid, **options).fit(*single).cv_scores_
    assert np.abs(careless - exact).max() > 100 * np.abs(found - exact).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_correlations_far_above_the_spectrum(dtype, monkeypatch):
    """Predictions that vanish beside the responses still correlate with them as they do in refits."""
    paths = watched(monkeypatch)
    X, Y, _ = problem(n=60, p=90)
    grid = np.logspace(-1, 9, 14)
    options = {"cv": folds("equal"), "scoring": "pearson", **SOLVER}
    model = RidgeCV(grid, **options).fit(X.astype(dtype), Y.astype(dtype))
    assert paths[0].hard or dtype == np.float64
    expected = refit_scores(X, Y, folds("equal"), grid, "pearson")
    tolerance = 2e-4 if dtype == np.float32 else 1e-6
    np.testing.assert_allclose(model.cv_scores_, expected, atol=tolerance)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_many_folds_of_unequal_size(scoring, intercept):
    """Folds of two and three rows, in groups of equal size that go together, equal refits."""
    X, Y, counts = problem(n=60, p=90)
    sizes = [2] * 9 + [3] * 12 + [2] * 3
    tests = np.split(np.arange(60), np.cumsum(sizes)[:-1])
    cv = [(np.setdiff1d(np.arange(60), test), test) for test in tests]
    grid = np.logspace(-1, 2, 5)
    model = RidgeCV(grid, cv=cv, scoring=scoring, fit_intercept=intercept, **SOLVER).fit(X, Y, counts)
    expected = refit_scores(X, Y, cv, grid, scoring, counts, intercept)
    np.testing.assert_allclose(model.cv_scores_, expected, rtol=1e-8, atol=1e-8)


def test_the_audit_is_exact():
    """Audited scores of one fold are those of refits, while the adaptive ones are not."""
    X, Y = decaying(n=200, p=150, t=200, decades=1.0)
    cv = [(np.arange(50, 200), np.arange(50))]
    grid = np.logspace(-3, 5, 24)
    exact = refit_scores(X, Y, cv, grid, "r2")
    model = RidgeCV(grid, cv=cv, alpha_search="adaptive", **SOLVER).fit(X, Y)
    assert model.search_audit_["penalties_computed"] < len(grid)
    error = 2 * np.abs(model.cv_scores_ - exact).max()
    assert model.search_audit_["regret_bound"] == pytest.approx(error, rel=0.5)
    assert error > 1e-9


@pytest.mark.parametrize(("solver", "p"), [("primal", 20), ("dual", 90), ("eigen", 90)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_penalties_of_any_size(solver, p, dtype):
    """Penalties that no float32 holds beside the spectrum give the scores of refits all the same."""
    X, Y, _ = problem(n=60, p=p)
    grid = np.array([1e-60, 1e-42, 1e-20, 1e-3, 1.0, 1e3, 1e20, 1e42])
    found = RidgeCV(grid, cv=folds("equal"), solver=solver).fit(X.astype(dtype), Y.astype(dtype)).cv_scores_
    expected = refit_scores(X, Y, folds("equal"), np.maximum(grid, 1e-9), "r2")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "p"), [(60, 90), (60, 25)])
def test_weights_of_features_where_targets_are_many(n, p, dtype, intercept):
    """With more targets than features the eigenvectors are multiplied with the features, with one result."""
    X, _, counts = problem(n=n, p=p)
    rng = np.random.default_rng(1)
    Y = X[:, :5] @ rng.standard_normal((5, 100)) + rng.standard_normal((n, 100))
    grid = np.logspace(-1, 3, 5)
    options = {"fit_intercept": intercept, "cv": folds("equal")}
    model = RidgeCV(grid, **options, **SOLVER).fit(X.astype(dtype), Y.astype(dtype), counts)
    assert len(np.unique(model.best_alphas_)) > 1
    true = Ridge(model.best_alphas_, fit_intercept=intercept).fit(X, Y, counts)
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(model.coef_, true.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(model.intercept_, true.intercept_, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("threads", [1, 2])
def test_large_folds_are_inverted_side_by_side(threads, monkeypatch):
    """Folds of more than 100 rows equal refits, with one thread and with two."""
    asked = []

    def watch(wanted, **options):
        asked.append(wanted)
        return side_by_side(wanted, **options)

    monkeypatch.setattr(_eigen_path, "side_by_side", watch)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        X, Y = decaying(n=400, p=30, decades=1.0)
        grid = np.logspace(-2, 3, 6)
        model = RidgeCV(grid, cv=3, **SOLVER).fit(X, Y)
    finally:
        torch.set_num_threads(before)
    assert asked == [True]
    expected = refit_scores(X, Y, list(KFold(3).split(X)), grid, "r2")
    np.testing.assert_allclose(model.cv_scores_, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("search", ["grid", "adaptive"])
def test_few_targets_take_every_penalty_by_itself(search, monkeypatch):
    """Below some work the spectrum is not cut into stretches, and scores are those of refits."""
    X, Y = decaying(n=400, p=300, t=6, decades=1.0)
    grid, cv = np.logspace(-2, 3, 20), list(KFold(3).split(X))
    options = {"cv": cv, "alpha_search": search, **SOLVER}
    paths = watched(monkeypatch)
    single = X.astype(np.float32), Y.astype(np.float32)
    RidgeCV(grid, **options).fit(*single)
    assert len(paths[-1].segments.stretches) > 1
    monkeypatch.setattr(_eigen_path, "_SMALL", 1e9)
    found = RidgeCV(grid, **options).fit(*single).cv_scores_
    assert paths[-1].segments.weights is None
    exact = refit_scores(X, Y, cv, grid, "r2")
    np.testing.assert_allclose(found, exact, atol=1e-4 if search == "grid" else 1e-3)
