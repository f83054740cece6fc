"""The parts of the search (draws, cover, walk, quasi-Newton steps, clusters) and the whole."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainalign.regression import _banded_visits
from brainalign.regression._banded_candidates import check_candidates, cover, draw_candidates
from brainalign.regression._banded_refine import Ascent, Origin, cluster_weights, propose
from brainalign.regression._banded_visits import Visit, Visits
from brainalign.regression._banded_walk import Standing, Walk
from brainalign.regression.banded import BandedRidgeCV

GRID = [10.0**i for i in range(-5, 6)]


def mixed_targets(n=120, p=30, t=40, seed=0):
    """Targets that mix three bands in different proportions."""
    rng = np.random.default_rng(seed)
    Xs = [rng.standard_normal((n, p)) for _ in range(3)]
    shares = rng.dirichlet([0.5] * 3, t).T
    signal = sum(X @ rng.standard_normal((p, t)) * np.sqrt(s / p) for X, s in zip(Xs, shares, strict=True))
    return Xs, signal + 0.7 * rng.standard_normal((n, t)), shares


def test_candidates_start_with_equal_weights_and_single_bands():
    """Equal weights, each band alone, then points all over the simplex, none of them twice."""
    found = draw_candidates(3, 400, [0.05, 50.0], np.random.RandomState(0))
    np.testing.assert_allclose(found[:4], [[1 / 3] * 3, *np.eye(3)])
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found >= 0).all()
    assert len(found) == 400
    assert (found[4:].max(1) > 0.9).sum() > 20
    assert (found[4:].max(1) < 0.45).sum() > 20
    assert len(np.unique(found.round(9), axis=0)) == 400
    again = draw_candidates(3, 400, [0.05, 50.0], np.random.RandomState(0))
    np.testing.assert_array_equal(found, again)


def test_candidates_leave_smaller_gaps_than_draws():
    """No mixture of the Dirichlet distributions is as far from its nearest candidate as from plain draws."""
    random = np.random.RandomState(1)
    plain = np.vstack(
        [draw_candidates(3, 4, [1.0], random), *[random.dirichlet([c] * 3, 8) for c in (0.1, 1)]]
    )
    spread = draw_candidates(3, 20, [0.1, 1.0], random)
    wanted = np.vstack([random.dirichlet([c] * 3, 500) for c in (0.1, 1)])
    gaps = [((np.sqrt(wanted)[:, None] - np.sqrt(c)) ** 2).sum(2).min(1).mean() for c in (plain, spread)]
    assert gaps[1] < 0.8 * gaps[0]


def test_a_few_candidates_are_the_fixed_ones():
    """Fewer candidates than bands, and a single band, need no draws."""
    assert draw_candidates(3, 2, [1.0], np.random.RandomState(0)).shape == (2, 3)
    assert draw_candidates(1, 50, [1.0], np.random.RandomState(0)).tolist() == [[1.0]]
    np.testing.assert_allclose(check_candidates([[2, 6]], 2), [[0.25, 0.75]])


def test_cover_takes_the_rows_that_all_units_need():
    """The cover starts with row 0, takes what helps most units first, and leaves out what adds nothing."""
    scores = torch.tensor(
        [[0.1, 0.1, 0.1, 0.1], [0.5, 0.4, 0.1, 0.1], [0.5, 0.4, 0.0, 0.1], [0.0, 0.0, 0.0, 0.3]]
    )
    assert cover(scores, most=4, tolerance=1e-3) == [0, 1, 3]
    assert cover(scores, most=2, tolerance=1e-3) == [0, 1]
    assert cover(scores[:1], most=4, tolerance=1e-3) == [0]


class Curves:
    """Stands in for a mixture: scores are given curves over the penalties, and visits are counted."""

    n_bands, weight_rows = 2, 1

    def __init__(self, table):
        self.table, self.Y, self.visited = table, torch.zeros(1, table.shape[1]), []

    def at(self, gamma):
        return self

    def fit(self, alpha):
        return CurvePoint(self, GRID.index(alpha))


class CurvePoint:
    def __init__(self, curves, number):
        self.curves, self.number = curves, number

    def evaluate(self, columns):
        self.curves.visited.extend((self.number, c) for c in columns.tolist())
        return self.curves.table[self.number, columns], torch.full((1, len(columns)), float(self.number))


def walked(peaks, start=None, lead=None, path="uphill", **options):
    peaks = torch.tensor(peaks, dtype=torch.float64)
    curves = Curves(-((torch.arange(len(GRID))[:, None] - peaks) ** 2))
    standing = Standing.empty(curves, torch.arange(len(peaks)), pooled=False)
    if lead is not None:
        standing.score[:] = lead
    walk = Walk(curves, torch.tensor([0.5, 0.5]), GRID, standing, standing.units)
    getattr(walk, path)(*([] if start is None else [torch.tensor(start, dtype=torch.float64)]), **options)
    return walk, standing, curves


def test_walk_ends_where_neighbours_are_worse():
    """From any start, edges included, the walk finds the peak and visits each point at most once."""
    walk, standing, curves = walked([5.2, 0.0, 10.0, 3.0], start=[2.4, 4.0, 9.0, 3.0])
    assert walk.held.tolist() == [5, 0, 10, 3]
    assert standing.weights[0].tolist() == [5, 0, 10, 3]
    assert len(curves.visited) == len(set(curves.visited)) == 6 + 6 + 3 + 3
    for path in ("whole_grid", "thinned"):
        other, _, curves = walked([5.2, 0.0, 10.0, 3.0], path=path)
        assert other.held.tolist() == walk.held.tolist()
        assert (len(curves.visited) == 44) == (path == "whole_grid")


def test_thinned_walk_stops_only_below_everybody():
    """Small penalties are left out once two in a row were clearly worse for all; a plateau is no slope."""
    walk, _, curves = walked([9.0, 10.0], path="thinned")
    assert walk.held.tolist() == [9, 10]
    assert {number for number, _ in curves.visited} == {10, 9, 8, 7, 4}
    walk, _, curves = walked([9.0, 1.0], path="thinned")
    assert walk.held.tolist() == [9, 1]
    table = torch.zeros(len(GRID), 2, dtype=torch.float64)
    table[:4] = torch.tensor([[0.1, 0.5, 0.2, 0.1], [-1.0, -1.0, -0.5, -0.1]], dtype=torch.float64).T
    curves = Curves(table)
    standing = Standing.empty(curves, torch.arange(2), pooled=False)
    walk = Walk(curves, torch.tensor([0.5, 0.5]), GRID, standing, standing.units)
    walk.thinned()
    assert walk.held.tolist() == [1, 10]


def test_walk_leaves_out_what_few_ask_for():
    """A penalty that fewer units ask for than wanted is not evaluated; such units keep what they have."""
    walk, standing, curves = walked([5.0, 5.0, 9.0], start=[5.0, 5.0, 9.0], least=2)
    assert {number for number, _ in curves.visited} == {4, 5, 6}
    assert walk.held.tolist() == [5, 5, -1]
    assert walk.table[:, 2].max() == -torch.inf
    assert standing.weights[0].tolist() == [5, 5, 0]


def test_units_of_noise_ask_for_nothing():
    """A unit counts by its score: what only noise asks for is left out, unless there is nothing else."""
    walk, _, curves = walked(
        [5.0, 9.0, 9.0], start=[5.0, 9.0, 9.0], weight=torch.tensor([3.0, 0.0, 0.0]), least=1.5
    )
    assert {number for number, _ in curves.visited} == {4, 5, 6}
    assert walk.held.tolist() == [5, -1, -1]

    def weights(scores):
        score = torch.tensor(scores, dtype=torch.float64)
        standing = Standing.empty(Curves(torch.zeros(1, len(score))), torch.arange(len(score)), pooled=False)
        standing.score = score
        plan = SimpleNamespace(unit=torch.ones_like(score))
        return Visits(None, standing, plan, None)._weights(torch.tensor([0, 2]))

    weight, least = weights([0.4, -torch.inf, -0.1] + [0.1] * 97)
    assert weight[0] == pytest.approx(0.4 / 0.101)
    assert weight[1] == 0
    assert least == pytest.approx(100 * _banded_visits._LEAST_SHARE)
    assert weights([-0.1, -0.2, -0.3])[0].tolist() == [1, 1]
    assert weights([0.4, 0.1, 0.1])[1] == 0.0  # of few units every one is heard


def test_walk_between_visits_two_penalties():
    """The short path evaluates the penalties on both sides of the start, at the edges too."""
    walk, _, curves = walked([5.2, 0.0, 10.0], start=[4.6, -0.3, 10.0], path="between")
    assert walk.held.tolist() == [5, 0, 10]
    assert sorted(curves.visited) == [(0, 1), (1, 1), (4, 0), (5, 0), (9, 2), (10, 2)]


def test_walk_keeps_what_is_better():
    """Where the standing is better by more than rounding, or equal, nothing is taken."""
    walk, standing, _ = walked([4.0, 4.0], start=[4.0, 4.0], lead=-1e-11)
    assert walk.held.tolist() == [-1, -1]
    assert (standing.weights == 0).all()


def test_equal_scores_take_the_larger_penalty():
    """Of two penalties with one score the larger is chosen."""
    walk, _, _ = walked([4.5], path="whole_grid")
    assert walk.held.tolist() == [5]


def test_quasi_newton_steps_climb_a_quadratic():
    """On concave quadratics with different curvatures the steps converge in a few rounds."""
    torch.manual_seed(0)
    u, J = 50, 3
    root = torch.randn(u, J, J, dtype=torch.float64) * 0.1
    bend = root @ root.mT + 0.01 * torch.eye(J, dtype=torch.float64)
    top = torch.randn(u, J, dtype=torch.float64)

    def score(x):
        return -0.5 * torch.einsum("ui,uij,uj->u", x - top, bend, x - top)

    x = torch.zeros(u, J, dtype=torch.float64)
    ascent, start = Ascent.begin(x), score(x).mean()
    for _ in range(12):
        gradient = torch.einsum("uij,uj->ui", bend, top - x)
        new = x + ascent.step(gradient)
        better = score(new) > score(x)
        after = torch.einsum("uij,uj->ui", bend, top - new)
        found = Visit(score(new), torch.zeros(u).long(), better, after, better)
        ascent.learn(Origin(torch.arange(u), x, gradient, score(x)), new, found, torch.ones(u))
        x = torch.where(better[:, None], new, x)
    assert score(x).mean() > 0.02 * start


def failed(origin, rise):
    """A visit that ended at another score and was not taken."""
    no = torch.zeros(1, dtype=torch.bool)
    return Visit(origin.score + rise, torch.zeros(1).long(), no, torch.zeros_like(origin.gradient), no)


def test_a_step_that_fails_is_followed_by_a_shorter_one():
    """A step downhill teaches how the score bends; one that was not evaluated teaches nothing."""
    gradient = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    origin = Origin(torch.arange(1), torch.zeros(1, 2).double(), gradient, torch.tensor([0.5]).double())
    ascent = Ascent.begin(gradient)
    first = ascent.step(gradient)
    assert ascent.learn(origin, first, failed(origin, -1.0), torch.ones(1)).all()
    # a parabola with slope 1 that falls by 1 over the first step
    length = first.norm()
    torch.testing.assert_close(ascent.step(gradient)[0, 0], length / (2 * (1 + 1 / length)))
    ascent = Ascent.begin(gradient)
    assert not ascent.learn(origin, first, failed(origin, -torch.inf), torch.ones(1)).any()
    ascent.shorten(torch.arange(1))
    assert ascent.step(gradient).norm() < 0.5 * length


def test_proposals_stay_on_the_simplex_and_keep_zeros():
    """Steps keep weights of exactly 0, and the penalty takes the common factor."""
    place = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64).log() - np.log(10.0)
    gamma, penalty = propose(place + torch.tensor([[1.0, 1.0, 3.0]]))
    torch.testing.assert_close(gamma, torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64))
    assert penalty.exp().item() == pytest.approx(10 / np.e)


def test_clusters_do_not_mix_absent_bands():
    """Weights with different exact zeros never share a centre; close ones do."""
    gamma = torch.tensor(
        [[0.5, 0.5, 0], [0.52, 0.48, 0], [0.5, 0.4999, 1e-4], [0, 0, 1.0]], dtype=torch.float64
    )
    gain = torch.ones(4, dtype=torch.float64)
    centres, near = cluster_weights(gamma, gain, most=2, memberships=3, seed=0)
    assert near.sum(1).tolist() == [1, 1, 1, 1]
    groups = near.int().argmax(1).tolist()
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    assert centres[groups[0], 2] == 0
    assert centres[groups[3]].tolist() == [0, 0, 1]
    np.testing.assert_allclose(centres.sum(1), 1)


def test_units_are_near_to_several_centres():
    """Each unit belongs to its own cluster and to the next ones; strong units pull centres."""
    share = torch.linspace(0.01, 0.99, 60, dtype=torch.float64)
    gamma = torch.stack([share, 1 - share], 1)
    gain = torch.where(share > 0.5, 1.0, 1e-3).double()
    centres, near = cluster_weights(gamma, gain, most=6, memberships=2, seed=0)
    assert centres.shape == (6, 2)
    assert (near.sum(1) == 2).all()
    own = torch.cdist(gamma.sqrt(), centres.sqrt()).argmin(1)
    assert near[torch.arange(60), own].all()
    assert (centres[:, 0] > 0.5).sum() > 3


@pytest.mark.parametrize("p", [30, 60])
def test_halving_loses_little_and_saves_most(p):
    """Screening reaches the exact search within 0.01 and evaluates a small part of it."""
    Xs, Y, _ = mixed_targets(p=p)
    options = {"n_candidates": 20, "refine": False}
    whole = BandedRidgeCV(halving=False, **options).fit(Xs, Y)
    halved = BandedRidgeCV(**options).fit(Xs, Y)
    np.testing.assert_array_equal(whole.candidates_, halved.candidates_)
    assert np.isfinite(whole.candidate_scores_).all()
    np.testing.assert_allclose(whole.best_scores_, whole.candidate_scores_.max(0), atol=1e-9)
    known = np.isfinite(halved.candidate_scores_)
    assert known[0].all()
    assert known.mean() < 0.35
    np.testing.assert_allclose(halved.candidate_scores_[0], whole.candidate_scores_[0], atol=1e-9)
    assert (halved.candidate_scores_[known] <= whole.candidate_scores_[known] + 1e-9).all()
    assert halved.best_scores_.mean() > whole.best_scores_.mean() - 0.01


@pytest.mark.parametrize("halving", [True, False])
@pytest.mark.parametrize("scoring", ["r2", "pearson", "neg_mean_squared_error"])
def test_refinement_never_loses_and_gains_on_average(halving, scoring):
    """Refined scores are at least those of the candidates, higher on average, and exact."""
    Xs, Y, _ = mixed_targets()
    options = {"n_candidates": 8, "halving": halving, "scoring": scoring}
    plain = BandedRidgeCV(refine=False, **options).fit(Xs, Y)
    model = BandedRidgeCV(refine=True, **options).fit(Xs, Y)
    assert (model.best_scores_ >= plain.best_scores_ - 1e-9).all()
    assert (model.best_scores_ - plain.best_scores_).mean() > 1e-3 * np.abs(plain.best_scores_).mean()
    for t in range(0, 40, 13):
        again = BandedRidgeCV(
            alphas=[model.best_alphas_[t]],
            candidates=model.band_weights_[:, [t]].T,
            refine=False,
            scoring=scoring,
        ).fit(Xs, Y[:, t])
        assert again.best_scores_[0] == pytest.approx(model.best_scores_[t], abs=1e-9)
        np.testing.assert_allclose(again.coef_, model.coef_[t], atol=1e-8)


def test_planted_shares_are_ordered():
    """Band weights follow the planted shares of the bands."""
    Xs, Y, shares = mixed_targets(n=300)
    model = BandedRidgeCV(n_candidates=12).fit(Xs, Y)
    assert np.corrcoef(model.band_weights_.ravel(), shares.ravel())[0, 1] > 0.85


@pytest.mark.parametrize("halving", [True, False])
def test_one_mixture_for_all_targets(halving):
    """Without a choice per target all share one mixture, whose mean score no other candidate exceeds."""
    Xs, Y, _ = mixed_targets()
    Y[:, :30] = Xs[1] @ np.random.default_rng(1).standard_normal((30, 30)) + Y[:, :30]
    model = BandedRidgeCV(n_candidates=8, alpha_per_target=False, halving=halving, refine=True).fit(Xs, Y)
    assert (model.band_weights_ == model.band_weights_[:, :1]).all()
    assert np.unique(model.best_alphas_).size == np.unique(model.best_scores_).size == 1
    assert model.band_weights_[1, 0] > 0.6
    each = BandedRidgeCV(alphas=model.best_alphas_[:1], candidates=model.band_weights_[:, :1].T, refine=False)
    assert each.fit(Xs, Y).best_scores_.mean() == pytest.approx(model.best_scores_[0], abs=1e-9)
    single = BandedRidgeCV(n_candidates=8, alpha_per_target=False, halving=False, refine=False).fit(Xs, Y)
    assert model.best_scores_[0] >= single.best_scores_[0] - 1e-9
    np.testing.assert_allclose(each.coef_, model.coef_, atol=1e-9)


def test_random_state_decides():
    """The same seed gives the same bits, another one other candidates."""
    Xs, Y, _ = mixed_targets(t=5)
    a, b, c = (BandedRidgeCV(n_candidates=8, random_state=s).fit(Xs, Y) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.coef_, b.coef_)
    assert not np.array_equal(a.candidates_, c.candidates_)
