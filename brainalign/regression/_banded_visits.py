"""Exact evaluation of one mixture after the other; the standing takes what is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from brainalign.regression._banded_walk import Bands, Standing, Walk

# a factorisation for a penalty that units of a smaller share of all scores ask for costs more than it brings
_LEAST_SHARE = 0.03

Step = Callable[[Callable[[], torch.Tensor]], torch.Tensor]
"""Returns what the function computes, or what it has computed before an interruption."""


@dataclass(frozen=True)
class Plan:
    """What the search is asked for.

    `alphas`: the grid, ascending; `candidates` (n_candidates, n_bands) on the simplex; `halving`
    as in `BandedRidgeCV`; `rounds` of refinement; `folds`: numbers of those that screen; `seed`
    of the clusters; `unit` (u,): size of one score unit for each unit of the standing (1 for r2
    and pearson, the variance of the responses for squared errors).
    """

    alphas: list[float]
    candidates: torch.Tensor
    halving: bool
    rounds: int
    folds: list[int]
    seed: int
    unit: torch.Tensor


@dataclass(frozen=True)
class Visit:
    """What one mixture was worth to some units.

    `score` (m,) the best over the penalties evaluated, minus infinity where none was (too few
    units asked for it), `alpha` (m,) the number of that penalty,
    `better` (m,) whether the standing took it, `gradient` (m, n_bands), 0 where not `sloped` (m,).
    """

    score: torch.Tensor
    alpha: torch.Tensor
    better: torch.Tensor
    gradient: torch.Tensor
    sloped: torch.Tensor


class Visits:
    """Evaluates mixtures; every evaluation is one step that a checkpoint can hold."""

    def __init__(self, bands: Bands, standing: Standing, plan: Plan, step: Step) -> None:
        self.bands, self.standing, self.plan, self.step = bands, standing, plan, step

    def __call__(
        self,
        gamma: torch.Tensor,
        units: torch.Tensor,
        path: str,
        place: torch.Tensor | None = None,
        *,
        slopes: torch.Tensor | None = None,
    ) -> Visit:
        """Evaluate `gamma` (n_bands,) for `units` (m,).

        Parameters
        ----------
        path : method of `Walk` that goes along the penalties; without halving all are evaluated
        place : (m,) positions on the grid of penalties to start from
        slopes : (m,) for which units the gradient is wanted, should this mixture lead
        """
        found = self.step(partial(self._evaluate, gamma, units, path, place, slopes))
        better = found[2] > 0
        sloped = torch.zeros_like(better) if slopes is None else better & slopes
        visit = Visit(found[0], found[1].long(), better, found[3:].T, sloped)
        standing, who = self.standing, units[better]
        standing.score[who] = visit.score[better]
        standing.alpha[who] = visit.alpha[better]
        standing.gamma[who] = gamma
        standing.gradient[who] = visit.gradient[better]
        standing.known[who] = sloped[better]
        return visit

    def _evaluate(
        self,
        gamma: torch.Tensor,
        units: torch.Tensor,
        path: str,
        place: torch.Tensor | None,
        slopes: torch.Tensor | None,
    ) -> torch.Tensor:
        walk = Walk(self.bands, gamma, self.plan.alphas, self.standing, units)
        if place is None or not self.plan.halving:
            walk.thinned() if path == "thinned" else walk.whole_grid()
        else:
            along = walk.uphill if path == "uphill" else walk.between
            along(place, *self._weights(units))
        score, alpha = walk.table.max(0)
        better = walk.held >= 0
        alpha = torch.where(better, walk.held, alpha)
        score = torch.where(better, walk.lead, score)
        gradient = torch.zeros(len(units), self.bands.n_bands, dtype=score.dtype, device=score.device)
        if slopes is not None and self.plan.rounds and self.bands.n_bands > 1:
            walk.gradient(better & slopes, gradient)
        return torch.cat([torch.stack([score, alpha.double(), better.double()]), gradient.T])

    def _weights(self, units: torch.Tensor) -> tuple[torch.Tensor, float]:
        """What units count in the choice of penalties, (m,), 1 on average, and what makes one worthwhile.

        A unit counts by its score: what is noise has nothing to gain.
        """
        score = (self.standing.score / self.plan.unit).clamp(min=0)
        least = _LEAST_SHARE * len(score)
        mean = score[torch.isfinite(score)].mean()
        weight = score[units] / mean if bool(mean > 0) else torch.ones_like(score[units])
        return weight, least if least >= 1 else 0.0

    def missing_slopes(self) -> None:
        """Compute the gradient of every unit that lacks it, at the best it has."""
        standing = self.standing
        lacking = torch.nonzero(~standing.known).flatten()
        if not len(lacking):
            return
        mixtures, mixture = torch.unique(standing.gamma[lacking], dim=0, return_inverse=True)
        for number in range(len(mixtures)):
            units = lacking[mixture == number]
            standing.gradient[units] = self.step(partial(self._slopes, mixtures[number], units))
        standing.known[lacking] = True

    def _slopes(self, gamma: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
        walk = Walk(self.bands, gamma, self.plan.alphas, self.standing, units)
        walk.held[:] = self.standing.alpha[units]
        gradient = torch.zeros(len(units), self.bands.n_bands, dtype=torch.float64, device=units.device)
        walk.gradient(torch.ones_like(units) > 0, gradient)
        return gradient
