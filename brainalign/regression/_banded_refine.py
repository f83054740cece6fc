"""Uphill steps of the band weights by their gradient, shared by clusters of targets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans

from brainalign.regression._banded_visits import Visit

_FIRST_STEP = 0.7
_LONGEST_STEP = 2.0
_SHRINK = 0.3
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Origin:
    """Where the units (m,) of a round start from.

    `place` (m, n_bands) is log(gamma / alpha), minus infinity for weights of 0; `gradient` (m,
    n_bands) and `score` (m,) belong to it.
    """

    units: torch.Tensor
    place: torch.Tensor
    gradient: torch.Tensor
    score: torch.Tensor

    def part(self, who: torch.Tensor) -> Origin:
        """Some of the units."""
        return Origin(self.units[who], self.place[who], self.gradient[who], self.score[who])


@dataclass
class Ascent:
    """Quasi-Newton steps in ``log(gamma_j / alpha)``, one state per unit.

    `inverse_curvature` (u, n_bands, n_bands) is the inverse of minus the Hessian as BFGS
    estimates it; `known` (u,) says whether a step has taught it anything yet.
    """

    inverse_curvature: torch.Tensor
    known: torch.Tensor
    reach: torch.Tensor

    @classmethod
    def begin(cls, gradient: torch.Tensor) -> Ascent:
        """No curvature known: the first step has a fixed length."""
        u, n_bands = gradient.shape
        eye = torch.eye(n_bands, dtype=gradient.dtype, device=gradient.device)
        return cls(
            eye.repeat(u, 1, 1),
            torch.zeros(u, dtype=torch.bool, device=gradient.device),
            torch.full((u,), _FIRST_STEP, dtype=gradient.dtype, device=gradient.device),
        )

    def step(self, gradient: torch.Tensor) -> torch.Tensor:
        """Proposed change (u, n_bands) of log(gamma / alpha); 0 for weights of exactly 0."""
        newton = torch.einsum("ujk,uk->uj", self.inverse_curvature, gradient)
        size = gradient.norm(dim=1, keepdim=True)
        plain = gradient / torch.where(size > 0, size, torch.ones_like(size))
        step = torch.where(self.known[:, None], newton, plain * self.reach[:, None])
        length = step.norm(dim=1, keepdim=True)
        limit = torch.where(self.known, torch.full_like(self.reach, _LONGEST_STEP), self.reach)[:, None]
        return step * torch.where(length > limit, limit / length, torch.ones_like(length))

    def learn(self, origin: Origin, here: torch.Tensor, found: Visit, unit: torch.Tensor) -> torch.Tensor:
        """Take in what the mixture `here` (m, n_bands) was worth; return which units learned from it.

        Where it is the best of a unit its gradient is known and is compared with that of the
        origin; elsewhere the score says how strongly it bends along the way.
        """
        moved = torch.nan_to_num(here - origin.place, nan=0.0, posinf=0.0, neginf=0.0)
        square = (moved * moved).sum(1)
        rise = (found.score - origin.score) / unit
        bend = 2 * ((origin.gradient * moved).sum(1) - rise) / torch.where(square > 0, square, 1)
        change = origin.gradient - found.gradient / unit[:, None]
        change = torch.where(found.sloped[:, None], change, bend[:, None] * moved)
        sy = (moved * change).sum(1)
        informed = torch.isfinite(sy) & (sy > 1e-9 * square) & (square > 0)
        self._update(origin.units[informed], moved[informed], change[informed], sy[informed])
        return informed

    def shorten(self, units: torch.Tensor) -> None:
        """Make the next step of units shorter that neither rose nor learned."""
        self.known[units] = False
        self.reach[units] *= _SHRINK

    def _update(self, who: torch.Tensor, s: torch.Tensor, y: torch.Tensor, sy: torch.Tensor) -> None:
        """BFGS update of the inverse curvature by moves s and changes y of minus the gradient."""
        eye = torch.eye(s.shape[1], dtype=s.dtype, device=s.device)
        scale = sy / (y * y).sum(1)
        fresh = ~self.known[who]
        before = torch.where(fresh[:, None, None], scale[:, None, None] * eye, self.inverse_curvature[who])
        left = eye - s[:, :, None] * y[:, None, :] / sy[:, None, None]
        outer = s[:, :, None] * s[:, None, :] / sy[:, None, None]
        self.inverse_curvature[who] = left @ before @ left.mT + outer
        self.known[who] = True


def propose(place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights on the simplex (u, n_bands) and log penalties (u,) of log(gamma / alpha); 0 stays 0."""
    total = torch.logsumexp(place, dim=1)
    return torch.exp(place - total[:, None]), -total


def cluster_weights(
    gamma: torch.Tensor, gain: torch.Tensor, *, most: int, memberships: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Group weights (m, n_bands) that are close: centres (c, n_bands), and who is near to each (m, c).

    Distances are those of the roots of the weights (Hellinger): 1e-3 and 1e-5 differ little
    because both hardly matter. Units with much to gain count more. Every unit is near to its own
    centre and to the next ones, `memberships` in all. Which bands are exactly 0 is never mixed.
    """
    centres: list[torch.Tensor] = []
    near: list[torch.Tensor] = []
    patterns, pattern = torch.unique(gamma > 0, dim=0, return_inverse=True)
    for number in range(len(patterns)):
        who = torch.nonzero(pattern == number).flatten()
        share = max(1, math.ceil(most * len(who) / len(gamma)))
        labels = _kmeans(gamma[who].sqrt(), gain[who], share, seed)
        roots = [_root_mean(gamma[who[labels == k]], gain[who[labels == k]]) for k in torch.unique(labels)]
        distance = torch.cdist(gamma[who].sqrt(), torch.stack(roots))
        rank = distance.argsort(dim=1).argsort(dim=1)
        member = torch.zeros(len(gamma), len(roots), dtype=torch.bool, device=gamma.device)
        member[who] = rank < memberships
        centres.extend(root**2 for root in roots)
        near.append(member)
    return torch.stack(centres), torch.cat(near, 1)


def _root_mean(gamma: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Unit vector of the mean of the roots of the weights."""
    weight = (gain + _SMALLEST)[:, None]
    root = (gamma.sqrt() * weight).sum(0)
    found: torch.Tensor = root / root.norm()
    return found


def _kmeans(points: torch.Tensor, gain: torch.Tensor, clusters: int, seed: int) -> torch.Tensor:
    """Labels of at most `clusters` groups; points that coincide count once."""
    of: torch.Tensor
    distinct, of = torch.unique(points, dim=0, return_inverse=True)
    if len(distinct) <= clusters:
        return of
    weight = torch.zeros(len(distinct), dtype=gain.dtype, device=gain.device).index_add_(
        0, of, gain + _SMALLEST
    )
    model = KMeans(clusters, n_init=1, max_iter=50, random_state=seed)
    labels = model.fit_predict(distinct.cpu().numpy(), sample_weight=weight.cpu().numpy())
    found: torch.Tensor = torch.as_tensor(labels, dtype=torch.long, device=points.device)[of]
    return found
