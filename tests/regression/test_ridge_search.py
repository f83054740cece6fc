"""The adaptive search, its audit, and grids that grow."""

from __future__ import annotations

import numpy as np
import pytest
from ridge_cases import ALPHAS, SCORINGS, problem

from brainalign.errors import InputError
from brainalign.regression import RidgeCV, _eigen_path, _gram_path, _paths
from brainalign.regression._search import audited_targets

GRID = np.logspace(-3, 5, 16)


def planted(n=150, p=40, t=700, seed=0, weakest=0.01):
    """Targets of widely different signal strength."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(3, 0.1, p)
    Y = X @ rng.standard_normal((p, t)) * np.geomspace(weakest, 2, t) + 4 * rng.standard_normal((n, t))
    return X, Y


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_adaptive_finds_the_penalties_of_the_grid(solver, scoring):
    """At least 99.5 % of penalties equal the exact search, the others lose next to nothing."""
    X, Y = planted(n=400, weakest=0.5)
    options = {"solver": solver, "scoring": scoring, "cv": 5}
    grid = RidgeCV(GRID, **options).fit(X, Y)
    adaptive = RidgeCV(GRID, alpha_search="adaptive", **options).fit(X, Y)
    equal = adaptive.best_alphas_ == grid.best_alphas_
    assert equal.mean() >= 0.995
    assert len(np.unique(grid.best_alphas_)) >= 5
    unit = Y.var(axis=0) if scoring == "neg_mean_squared_error" else 1.0
    place = np.searchsorted(GRID, 0.999 * adaptive.best_alphas_)[None]
    lost = grid.best_scores_ - np.take_along_axis(grid.cv_scores_, place, 0)[0]
    assert (lost / unit).max() < 3e-4
    assert (np.abs(adaptive.cv_scores_ - grid.cv_scores_) / unit).max() < 0.02
    np.testing.assert_allclose(adaptive.coef_[equal], grid.coef_[equal], rtol=0, atol=1e-10)
    computed = adaptive.search_audit_["penalties_computed"]
    assert computed == len(GRID) if solver == "primal" else computed < len(GRID)


@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
@pytest.mark.parametrize("tolerance", [0.002, 5.0])
@pytest.mark.parametrize("scoring", ["r2", "pearson"])
def test_the_audit_tells_the_truth(solver, tolerance, scoring, monkeypatch):
    """Counted again from the scores of one fold: equal penalties, largest error, decided targets."""
    for module in (_paths, _eigen_path):
        monkeypatch.setattr(module, "COMBINED_ADAPTIVE", tolerance)
    monkeypatch.setattr(_gram_path, "SEGMENTED_ADAPTIVE", tolerance**8)
    X, Y = planted(n=200, p=40, t=400)
    Y[3, 10] = np.nan
    cv = [(np.arange(50, 200), np.arange(50))]  # with one fold the mean score is that of the fold
    grid = RidgeCV(GRID, solver=solver, cv=cv, scoring=scoring).fit(X, Y)
    adaptive = RidgeCV(GRID, solver=solver, cv=cv, scoring=scoring, alpha_search="adaptive").fit(X, Y)
    audit, audited = adaptive.search_audit_, np.setdiff1d(audited_targets(400), [10])
    assert audit["penalties"] == 16
    assert audit["n_audited"] == len(audited)
    assert audit["share_audited"] == pytest.approx(len(audited) / 400)
    equal = (adaptive.best_alphas_ == grid.best_alphas_)[audited]
    assert audit["share_equal"] == pytest.approx(equal.mean())
    bound = 2 * np.abs(adaptive.cv_scores_ - grid.cv_scores_)[:, audited].max()
    assert audit["regret_bound"] == pytest.approx(bound, rel=1e-6, abs=1e-9)
    top = np.sort(np.delete(adaptive.cv_scores_, 10, axis=1), axis=0)
    assert audit["share_verified"] == pytest.approx((top[-1] - top[-2] > audit["regret_bound"]).mean())
    # what the bound promises for the audited targets, and that a coarse search shows
    best = np.take_along_axis(
        grid.cv_scores_, np.searchsorted(GRID, 0.999 * adaptive.best_alphas_)[None] % 16, 0
    )[0]
    assert (grid.best_scores_ - best)[audited].max() <= audit["regret_bound"]
    assert (equal.mean() > 0.95) == (tolerance < 1)


def test_adaptive_may_share_one_penalty():
    """One penalty for all targets is chosen from the combined scores too."""
    X, Y = planted(t=300)
    chosen = [
        RidgeCV(GRID, alpha_search=search, alpha_per_target=False).fit(X, Y).best_alphas_
        for search in ("grid", "adaptive")
    ]
    np.testing.assert_array_equal(*chosen)


def test_unsorted_and_repeated_penalties():
    """A grid in any order, with repeats, gives the same penalties in both searches."""
    X, Y = planted(t=200)
    tidy = RidgeCV(GRID).fit(X, Y)
    order = np.random.default_rng(1).permutation(np.repeat(GRID, 3))
    for search in ("grid", "adaptive"):
        messy = RidgeCV(order, alpha_search=search).fit(X, Y)
        np.testing.assert_array_equal(messy.alphas_, order)
        assert (messy.best_alphas_ == tidy.best_alphas_).mean() >= 0.99
        equal = messy.best_alphas_ == tidy.best_alphas_
        tolerance = 1e-9 if search == "grid" else 1e-4  # an adaptive score is not exact
        np.testing.assert_allclose(messy.best_scores_[equal], tidy.best_scores_[equal], atol=tolerance)
        single = RidgeCV([7.0], alpha_search=search).fit(X, Y)
        np.testing.assert_array_equal(single.best_alphas_, 7.0)
        assert not single.alpha_edges_.any()


@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_edges_of_the_grid_are_reported(solver):
    """-1 where the smallest penalty was chosen, 1 the largest, 0 inside and for masked targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 6))
    exact = X @ rng.standard_normal((6, 1))
    noise = rng.standard_normal((80, 40))
    Y = np.hstack([exact, noise, np.ones((80, 1))])
    model = RidgeCV([1e-4, 1.0, 1e4], solver=solver).fit(X, Y)
    expected = np.select([model.best_alphas_ == 1e-4, model.best_alphas_ == 1e4], [-1, 1], 0)
    np.testing.assert_array_equal(model.alpha_edges_, expected)
    assert model.alpha_edges_[0] == -1
    assert (model.alpha_edges_[1:41] == 1).mean() > 0.5
    assert model.alpha_edges_[41] == 0


@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
@pytest.mark.parametrize("per_target", [True, False])
def test_a_grid_grows_while_targets_choose_its_ends(solver, per_target):
    """extend_alphas adds four penalties to an end that is hit, up to three times, and equals that grid."""
    X, Y, counts = problem(n=60, p=20, t=20, noise=0.3)
    narrow = np.array([1.0, 0.1])
    options = {"solver": solver, "alpha_per_target": per_target, "cv": 4}
    plain = RidgeCV(narrow, **options).fit(X, Y, sample_weight=counts)
    assert plain.alpha_edges_.any()
    model = RidgeCV(narrow, extend_alphas=True, **options).fit(X, Y, sample_weight=counts)
    assert 2 < len(model.alphas_) <= 2 + 24
    assert (len(model.alphas_) - 2) % 4 == 0
    np.testing.assert_allclose(np.diff(np.log10(model.alphas_)), 1, atol=1e-9)
    whole = RidgeCV(model.alphas_, **options).fit(X, Y, sample_weight=counts)
    np.testing.assert_array_equal(model.best_alphas_, whole.best_alphas_)
    np.testing.assert_allclose(model.cv_scores_, whole.cv_scores_, atol=1e-8)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-10)
    enough = RidgeCV(np.logspace(-3, 6, 10), extend_alphas=True, **options).fit(X, Y)
    if not enough.alpha_edges_.any():
        assert len(enough.alphas_) == 10


def test_searches_that_exclude_each_other():
    """An adaptive search has no growing grid; an unknown name is refused with the closest."""
    X, Y, _ = problem()
    with pytest.raises(InputError, match="extend_alphas=True needs alpha_search='grid'"):
        RidgeCV(alpha_search="adaptive", extend_alphas=True).fit(X, Y)
    with pytest.raises(InputError, match="alpha_search='adaptve' .* closest: 'adaptive'"):
        RidgeCV(alpha_search="adaptve").fit(X, Y)


def test_the_audited_sample_is_fixed_and_large_enough():
    """The same targets every time: all of few, at least 64, 2 %, at most 1000."""
    assert audited_targets(10).tolist() == list(range(10))
    assert [len(audited_targets(t)) for t in (64, 3200, 10_000, 200_000)] == [64, 64, 200, 1000]
    np.testing.assert_array_equal(audited_targets(500), audited_targets(500))
    assert RidgeCV(ALPHAS).fit(*problem()[:2]).search_audit_ is None
