"""The search for band weights: reference, halving, exact survivors, uphill refinement."""

from __future__ import annotations

import math
from functools import partial

import torch

from brainalign.regression._banded_candidates import cover
from brainalign.regression._banded_refine import Ascent, Origin, cluster_weights, propose
from brainalign.regression._banded_visits import Plan, Step, Visits
from brainalign.regression._banded_walk import Bands, Standing

_FEWEST_TO_HALVE = 4
_COVER_GAIN = 2e-4
_SHORTLIST = 6
_COARSE_STEP = 3
_SMALLEST_GAIN = 2e-5
_FEWEST_CLUSTERS, _MOST_CLUSTERS = 8, 64
_UNITS_PER_SQUARED_CLUSTER = 4
_MEMBERSHIPS = 5
_MEAN_OF, _MEMBERSHIPS_BETWEEN = 4, 2


def search(bands: Bands, standing: Standing, plan: Plan, step: Step) -> torch.Tensor:
    """Fill `standing`; return the exact scores of the candidates, (n_candidates, u), NaN where not exact."""
    shape = (len(plan.candidates), len(standing.score))
    scores = torch.full(shape, torch.nan, dtype=torch.float64, device=standing.columns.device)
    visit = Visits(bands, standing, plan, step)
    halved = plan.halving and len(plan.candidates) > _FEWEST_TO_HALVE
    for number in range(1 if halved else len(plan.candidates)):
        scores[number] = visit(
            plan.candidates[number], standing.units, "thinned" if halved else "whole_grid"
        ).score
    if halved:
        _survivors(bands, standing, plan, step, visit, scores)
    if plan.rounds and bands.n_bands > 1:
        _refine(standing, plan, visit)
    return scores


def _survivors(
    bands: Bands, standing: Standing, plan: Plan, step: Step, visit: Visits, scores: torch.Tensor
) -> None:
    """Screen all candidates on few folds and penalties; evaluate the best of each unit exactly."""
    coarse = _coarse_penalties(standing)
    rough, starts = [], []
    for gamma in plan.candidates:
        found = step(partial(_screen, bands, standing, plan, gamma, coarse))
        rough.append(found[0] / plan.unit)
        starts.append(found[1])
    table = torch.stack(rough)
    most = max(_FEWEST_TO_HALVE, math.ceil(len(table) / 2))
    if standing.pooled:
        kept = table[:, 0].argsort(descending=True)[:_FEWEST_TO_HALVE].tolist()
    else:
        kept = cover(table, most=most, tolerance=_COVER_GAIN)
    rank = table[kept].argsort(dim=0, descending=True).argsort(dim=0)
    listed = rank < (len(kept) if standing.pooled else _SHORTLIST)
    for row, number in enumerate(kept):
        units = torch.nonzero(listed[row]).flatten()
        if number and len(units):
            place, favourite = starts[number][units], rank[row, units] == 0
            visited = visit(plan.candidates[number], units, "uphill", place, slopes=favourite)
            exact = visited.score > -torch.inf
            scores[number, units[exact]] = visited.score[exact]
    if bands.n_bands > 1 and not standing.pooled:
        _between_candidates(standing, plan, visit, table, torch.stack(starts))


def _between_candidates(
    standing: Standing, plan: Plan, visit: Visits, table: torch.Tensor, starts: torch.Tensor
) -> None:
    """Evaluate mixtures that lie between the best candidates of each unit, as the screening ranks them.

    A unit wants the mean of its best candidates, each weighted by how near its score comes to
    the best; units that want nearly the same share one mixture.
    """
    top = table.topk(min(_MEAN_OF, len(table)), dim=0)
    scale = (top.values[0] - top.values[-1]).clamp_min(_SMALLEST_GAIN)
    share = torch.softmax((top.values - top.values[0]) / scale * _MEAN_OF, dim=0)
    gamma = plan.candidates[top.indices]
    wanted = (share[..., None] * gamma.sqrt()).sum(0).square()
    wanted /= wanted.sum(1, keepdim=True)
    start = (share * starts.gather(0, top.indices)).sum(0)
    worth = standing.score.clamp_min(0) / plan.unit
    centres, near = cluster_weights(
        wanted, worth, most=_FEWEST_CLUSTERS, memberships=_MEMBERSHIPS_BETWEEN, seed=plan.seed
    )
    for centre, member in zip(centres, near.T, strict=True):
        units = torch.nonzero(member).flatten()
        visit(centre, units, "uphill", start[units])


def _coarse_penalties(standing: Standing) -> list[int]:
    """Every third penalty between those that nearly all predictable units chose with equal weights."""
    alpha = standing.alpha[standing.score > 0] if (standing.score > 0).any() else standing.alpha
    ordered = alpha.sort().values
    low = int(ordered[int(0.05 * (len(ordered) - 1))])
    high = int(ordered[math.ceil(0.95 * (len(ordered) - 1))])
    steps = max(1, math.ceil((high - low) / _COARSE_STEP))
    return sorted({round(low + (high - low) * i / steps) for i in range(steps + 1)})


def _screen(
    bands: Bands, standing: Standing, plan: Plan, gamma: torch.Tensor, coarse: list[int]
) -> torch.Tensor:
    """Best score on the folds that screen, and the number of its penalty, (2, u)."""
    mixture = bands.at(gamma)
    rows = []
    for number in coarse:
        fit = mixture.fit(plan.alphas[number])
        scores = torch.stack([fit.fold_score(fold, standing.columns) for fold in plan.folds])
        rows.append(standing.reduce(scores.nanmean(0)))
    found = torch.nan_to_num(torch.stack(rows), nan=-torch.inf)  # constant in these folds
    score, place = found.max(0)
    numbers = torch.as_tensor(coarse, dtype=torch.float64, device=score.device)
    return torch.stack([score, numbers[place]])


def _refine(standing: Standing, plan: Plan, visit: Visits) -> None:
    """Rounds of quasi-Newton steps; each cluster of proposals costs one factorisation per penalty."""
    grid = torch.as_tensor(plan.alphas, dtype=torch.float64, device=standing.columns.device).log()
    visit.missing_slopes()
    ascent = Ascent.begin(standing.gradient)
    for number in range(plan.rounds):
        gradient = standing.gradient / plan.unit[:, None]
        move = ascent.step(gradient)
        gain = (gradient * move).sum(1) / 2
        units = torch.nonzero(gain > _SMALLEST_GAIN).flatten()
        if not len(units):
            return
        place = standing.gamma[units].log() - grid[standing.alpha[units], None]
        origin = Origin(units, place, gradient[units], standing.score[units].clone())
        _visit_clusters(origin, move[units], gain[units], ascent, plan, visit, last=number + 1 == plan.rounds)


def _visit_clusters(
    origin: Origin,
    move: torch.Tensor,
    gain: torch.Tensor,
    ascent: Ascent,
    plan: Plan,
    visit: Visits,
    *,
    last: bool,
) -> None:
    """Evaluate the centres of the proposals, each for the units that are nearest to it."""
    units, standing = origin.units, visit.standing
    grid = torch.as_tensor(plan.alphas, dtype=torch.float64, device=units.device).log()
    proposed, penalty = propose(origin.place + move)
    most = math.ceil(math.sqrt(len(units) / _UNITS_PER_SQUARED_CLUSTER))
    most = min(_MOST_CLUSTERS, max(_FEWEST_CLUSTERS, most))
    centres, near = cluster_weights(proposed, gain, most=most, memberships=_MEMBERSHIPS, seed=plan.seed)
    start, learned = _position(penalty, grid), torch.zeros_like(units, dtype=torch.bool)
    for centre, member in zip(centres, near.T, strict=True):
        who = torch.nonzero(member).flatten()
        slopes = None if last else torch.ones_like(who, dtype=torch.bool)
        found = visit(centre, units[who], "uphill" if last else "between", start[who], slopes=slopes)
        here = centre.log()[None] - grid[found.alpha, None]
        learned[who] |= ascent.learn(origin.part(who), here, found, plan.unit[units[who]])
    failed = standing.score[units] <= origin.score
    ascent.shorten(units[failed & ~learned])


def _position(penalty: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Positions (m,) of log penalties on the ascending grid, between its points."""
    if len(grid) == 1:
        return torch.zeros_like(penalty)
    right = torch.searchsorted(grid, penalty).clamp(1, len(grid) - 1)
    share = (penalty - grid[right - 1]) / (grid[right] - grid[right - 1])
    return (right - 1) + share.clamp(0, 1)
