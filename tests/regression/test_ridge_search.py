"""The walk along the grid, its audit, and grids that grow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, SCORINGS, folds, problem

from brainalign.errors import InputError
from brainalign.regression import RidgeCV
from brainalign.regression._search import Walk, audited_targets
from brainalign.regression._sources import PAD, Targets

GRID = np.logspace(-3, 5, 16)


def planted(n=150, p=40, t=700, seed=0, weakest=0.01):
    """Targets of widely different signal strength."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(3, 0.1, p)
    Y = X @ rng.standard_normal((p, t)) * np.geomspace(weakest, 2, t) + 4 * rng.standard_normal((n, t))
    return X, Y


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_the_walk_finds_the_penalties_of_the_grid(solver, scoring):
    """At least 99.5 % of penalties equal the exhaustive search; no score differs where both have one."""
    X, Y = planted(n=400, weakest=0.5)
    options = {"solver": solver, "scoring": scoring, "cv": 5}
    grid = RidgeCV(GRID, **options).fit(X, Y)
    walk = RidgeCV(GRID, alpha_search="adaptive", **options).fit(X, Y)
    assert (walk.best_alphas_ == grid.best_alphas_).mean() >= 0.995
    assert len(np.unique(grid.best_alphas_)) >= 5
    known = np.isfinite(walk.cv_scores_)
    np.testing.assert_allclose(walk.cv_scores_[known], grid.cv_scores_[known], rtol=1e-9, atol=1e-9)
    equal = walk.best_alphas_ == grid.best_alphas_
    np.testing.assert_allclose(walk.coef_[equal], grid.coef_[equal], rtol=0, atol=1e-10)


@pytest.mark.parametrize("unit", [1.0, 1e-13])
@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_error"])
def test_the_audit_tells_the_truth(scoring, unit):
    """Counted again from the scores: targets audited, share of equal penalties, largest loss."""
    X, Y = planted(n=60, p=70, t=400)  # few rows: some walks end beside the best penalty
    Y = unit * Y
    Y[3, 10] = np.nan
    options = {"solver": "dual", "scoring": scoring, "cv": 5}
    grid = RidgeCV(GRID, **options).fit(X, Y)
    recorded = {}
    check = Walk._check

    def note(self, block, mean, done, usable):
        recorded["walked"] = torch.where(done, mean.mean(), -torch.inf)[:, : block.width].numpy().copy()
        recorded["done"] = done[:, : block.width].numpy().copy()
        check(self, block, mean, done, usable)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Walk, "_check", note)
        walk = RidgeCV(GRID, alpha_search="adaptive", **options).fit(X, Y)
    audit, audited = walk.search_audit_, np.setdiff1d(audited_targets(400), [10])
    chosen = GRID[recorded["walked"].argmax(0)]
    assert audit["n_targets"] == 399
    assert audit["n_audited"] == len(audited)
    assert audit["share_audited"] == pytest.approx(len(audited) / 399)
    assert audit["share_equal"] == pytest.approx((chosen == grid.best_alphas_)[audited].mean())
    assert audit["evaluations_per_target"] == pytest.approx(recorded["done"].sum() / 399)
    true = grid.cv_scores_[:, audited]
    lost = true.max(0) - np.where(recorded["done"][:, audited], true, -np.inf).max(0)
    assert audit["regret_bound"] == pytest.approx(lost.max(), rel=1e-6, abs=1e-9 * unit**2)
    assert audit["share_beyond_bound"] == pytest.approx(3 / len(audited))
    # audited targets are scored everywhere, the others only where the walk went
    assert np.isfinite(walk.cv_scores_[:, audited]).all()
    others = np.setdiff1d(np.arange(400), [*audited, 10])
    np.testing.assert_array_equal(np.isfinite(walk.cv_scores_[:, others]), recorded["done"][:, others])
    assert np.isnan(walk.cv_scores_[:, others]).any(0).mean() > 0.5
    assert np.isnan(walk.cv_scores_[:, 10]).all()
    np.testing.assert_array_equal(walk.best_alphas_[audited], grid.best_alphas_[audited])


class TwoMaxima:
    """A path whose scores are given: the first fold points to the lower of two maxima."""

    def __init__(self, first, other):
        self.scores = [torch.as_tensor(first), torch.as_tensor(other)]
        self.folds = [type("F", (), {"test": torch.arange(3)}), type("F", (), {"test": torch.arange(2)})]

    def score(self, number, block, which, columns):
        found = self.scores[number][list(which)]
        return found if columns is None else found[:, columns]


def test_two_maxima_are_reported():
    """A walk that ends on the lower of two maxima shows in the audit, with what it lost."""
    width, grid = 96, np.logspace(0, 6, 7)
    first = np.tile(np.array([0, 1, 0, -1, -2, 0, -1.0])[:, None], (1, width))
    second = np.tile(np.array([0, 0, 0, 0, 0, 3.0, 0])[:, None], (1, width))
    second[:, width // 2 :] = 0
    share = torch.full((5,), 0.2)
    targets = Targets(
        np.random.default_rng(0).standard_normal((5, width)),
        np.arange(5),
        share,
        True,
        torch.float64,
        torch.device("cpu"),
        width,
    )
    assert width % PAD == 0
    walk = Walk(TwoMaxima(first, second), grid, audited=np.arange(0, width, 2))
    scores = walk.score(next(iter(targets)))
    audit = walk.audit()
    assert audit["share_equal"] == 0.5
    assert audit["regret_bound"] == pytest.approx(1.0)  # (0 + 3) / 2 - (1 + 0) / 2
    assert audit["evaluations_per_target"] == 3
    assert int(scores[:, 0].argmax()) == 5  # audited: the true maximum
    assert int(scores[:, 1].nan_to_num(-9).argmax()) == 1  # walked
    assert torch.isnan(scores[5, 1])


@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_a_target_that_is_still_in_the_first_fold_is_walked_all_the_same(solver):
    """Without a score on the fold that the walk starts from, all penalties are tried."""
    X, Y, _ = problem(t=300)
    Y[:25, 100:] = 3.0
    cv = [(np.arange(25, 60), np.arange(25)), *folds("equal")[2:]]
    grid = RidgeCV(ALPHAS, cv=cv, solver=solver).fit(X, Y)
    walk = RidgeCV(ALPHAS, cv=cv, solver=solver, alpha_search="adaptive").fit(X, Y)
    assert not walk.nan_codes_.any()
    np.testing.assert_array_equal(walk.best_alphas_[100:], grid.best_alphas_[100:])


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
        np.testing.assert_allclose(messy.best_scores_[equal], tidy.best_scores_[equal], atol=1e-9)
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


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"alpha_per_target": False}, "alpha_search='adaptive' walks for each target"),
        ({"extend_alphas": True}, "extend_alphas=True needs alpha_search='grid'"),
    ],
)
def test_searches_that_exclude_each_other(options, text):
    """A walk has no shared penalty and no growing grid."""
    X, Y, _ = problem()
    with pytest.raises(InputError, match=text):
        RidgeCV(alpha_search="adaptive", **options).fit(X, Y)
    with pytest.raises(InputError, match="alpha_search='adaptve' .* closest: 'adaptive'"):
        RidgeCV(alpha_search="adaptve").fit(X, Y)


def test_the_audited_sample_is_fixed_and_large_enough():
    """The same targets every time: all of few, at least 64, 2 %, at most 1000."""
    assert audited_targets(10).tolist() == list(range(10))
    assert [len(audited_targets(t)) for t in (64, 3200, 10_000, 200_000)] == [64, 64, 200, 1000]
    np.testing.assert_array_equal(audited_targets(500), audited_targets(500))
    assert RidgeCV(ALPHAS).fit(*problem()[:2]).search_audit_ is None
