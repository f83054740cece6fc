"""Descent on the orthogonal group for many pairs of operators in one batch.

For operators a, b (r, r) of norm one the overlap of a and the rotated b is
``f(C) = tr(a' C b C')``. With ``m = C b C'`` a step ``C <- Q C``, Q = Cayley(step), needs m
alone, and the gradient at the identity is the skew part of ``a m' - m' a``. Skew matrices of
all steps share one vector space, so that a limited-memory quasi-Newton method needs no transport.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

_MEMORY = 8
_ARMIJO = 1e-4
_GRADIENT = 1e-9
_ROUNDING = 4e-16
_PROGRESS = 1e-11  # of the distance to the highest overlap, 1
_STALLED = 3
_PATIENCE = 12  # steps before a start may be given up
_HOPE = 100.0  # times the decrease that its quadratic model promises: what a start may still gain


@dataclass(frozen=True, eq=False)
class _Batch:
    """The starts that still move; every field has them as its first axis."""

    index: torch.Tensor  # (b,) place in the result
    a: torch.Tensor  # (b, r, r)
    m: torch.Tensor  # (b, r, r)
    loss: torch.Tensor  # (b,) minus the overlap
    gradient: torch.Tensor  # (b, r, r) skew
    stalled: torch.Tensor  # (b,) steps in a row without progress
    promised: torch.Tensor  # (b,) decrease that the quadratic model of the last step promised

    def at(self, keep: torch.Tensor) -> _Batch:
        fields = {name: getattr(self, name)[keep] for name in self.__dataclass_fields__}
        return _Batch(**fields)


@dataclass
class _History:
    """The last steps and changes of the gradient, oldest first."""

    steps: list[torch.Tensor]
    changes: list[torch.Tensor]
    weights: list[torch.Tensor]  # 1 / <step, change>; 0 where the curvature was not positive
    length: torch.Tensor  # (b,) scale of the inverse Hessian, from the last usable step

    def add(self, step: torch.Tensor, change: torch.Tensor) -> None:
        curvature, squared = _dot(step, change), _dot(change, change)
        usable = curvature > 1e-8 * (_dot(step, step) * squared).sqrt()
        self.length = torch.where(usable, curvature / squared.clamp_min(1e-300), self.length)
        self.steps.append(step)
        self.changes.append(change)
        self.weights.append(torch.where(usable, 1.0 / curvature.clamp_min(1e-300), 0.0))
        for kept in (self.steps, self.changes, self.weights):
            del kept[:-_MEMORY]

    def at(self, keep: torch.Tensor) -> _History:
        steps, changes, weights = (
            [v[keep] for v in kept] for kept in (self.steps, self.changes, self.weights)
        )
        return _History(steps, changes, weights, self.length[keep])


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner products over the last two axes, for each of the batch."""
    return (first * second).sum(dim=(-2, -1))


def _loss(a: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    return -_dot(a, m)


def _gradient(a: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Gradient of the loss at Q = identity, in the skew matrices."""
    product = torch.bmm(m.mT, a) - torch.bmm(a, m.mT)
    return (product - product.mT) / 2


def _direction(batch: _Batch, history: _History) -> torch.Tensor:
    """Two-loop recursion; where it does not descend, the negative gradient."""
    q = batch.gradient.clone()
    shares = []
    pairs = list(zip(history.steps, history.changes, history.weights, strict=True))
    for step, change, weight in reversed(pairs):
        share = weight * _dot(step, q)
        q -= share[:, None, None] * change
        shares.append(share)
    q *= history.length[:, None, None]
    for (step, change, weight), share in zip(pairs, reversed(shares), strict=True):
        q += (share - weight * _dot(change, q))[:, None, None] * step
    descends = _dot(q, batch.gradient) > 0
    return -torch.where(descends[:, None, None], q, batch.gradient)


def _rotated(m: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """``Q m Q'`` for the Cayley transform Q of a skew step."""
    identity = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    q = torch.linalg.solve(identity - step / 2, identity + step / 2)
    return torch.bmm(torch.bmm(q, m), q.mT)


def _searched(batch: _Batch, direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Backtrack to a sufficient decrease: lengths, new m, new loss; length 0 where there is none."""
    slope = _dot(direction, batch.gradient)
    # a Cayley step of more than about one radian leaves the model of the curvature
    size = torch.linalg.matrix_norm(direction)
    length = torch.minimum(torch.ones_like(size), 2.0 / size.clamp_min(1e-300))
    taken, m, loss = torch.zeros_like(length), batch.m.clone(), batch.loss.clone()
    open_ = torch.arange(len(length), device=length.device)
    for _ in range(25):
        t = length[open_]
        trial = _rotated(batch.m[open_], t[:, None, None] * direction[open_])
        value = _loss(batch.a[open_], trial)
        enough = value <= batch.loss[open_] + _ARMIJO * t * slope[open_]
        done = open_[enough]
        taken[done], m[done], loss[done] = t[enough], trial[enough], value[enough]
        if bool(enough.all()):
            break
        rest = open_[~enough]
        rise = (value - batch.loss[open_] - t * slope[open_])[~enough]
        best = -slope[rest] * length[rest] ** 2 / (2 * rise.clamp_min(1e-300))
        length[rest] = torch.maximum(torch.minimum(best, 0.5 * length[rest]), 0.1 * length[rest])
        open_ = rest
    return taken, m, loss


def _hopeful(batch: _Batch, losses: torch.Tensor, n_starts: int) -> torch.Tensor:
    """Which moving starts may still pass the best one of their pair, or are it, (b,)."""
    best, place = losses.reshape(-1, n_starts).min(dim=1)
    pair = batch.index // n_starts
    may_pass = batch.loss - _HOPE * batch.promised < best[pair]
    return may_pass | (batch.index == pair * n_starts + place[pair])


def descend(
    a: torch.Tensor, b: torch.Tensor, starts: torch.Tensor, *, n_starts: int, max_iterations: int
) -> torch.Tensor:
    """Return ``C b C'`` of each start after the descent, (n, r, r).

    `a`, `b` (n, r, r) have norm one; `starts` (n, r, r) are orthogonal and keep the sign of
    their determinant; `n_starts` in a row belong to one pair. A start leaves the batch when
    its gradient is zero to rounding, when three steps bring nothing, or when 100 times the
    gain that its quadratic model promises would not pass the best start of its pair.
    Cost about 10 r^3 a step and start, 20 r^2 floats a start.
    """
    m = torch.bmm(torch.bmm(starts, b), starts.mT)
    result, losses = m.clone(), _loss(a, m)
    place, zero = torch.arange(len(a), device=a.device), torch.zeros_like(losses)
    batch = _Batch(place, a, m, losses.clone(), _gradient(a, m), zero, zero)
    history = _History([], [], [], torch.full_like(losses, 0.5))
    for iteration in range(max_iterations):
        moving = (torch.linalg.matrix_norm(batch.gradient) > _GRADIENT) & (batch.stalled < _STALLED)
        if iteration >= _PATIENCE:
            moving &= _hopeful(batch, losses, n_starts)
        if not bool(moving.any()):
            break
        if int(moving.sum()) < 0.9 * len(moving):
            batch, history = batch.at(moving), history.at(moving)
        direction = _direction(batch, history)
        taken, m, loss = _searched(batch, direction)
        gradient = _gradient(batch.a, m)
        history.add(taken[:, None, None] * direction, gradient - batch.gradient)
        idle = batch.loss - loss <= _PROGRESS * (1.0 + loss).clamp_min(0) + _ROUNDING
        batch = replace(
            batch,
            m=m,
            loss=loss,
            gradient=gradient,
            stalled=torch.where(idle, batch.stalled + 1, torch.zeros_like(batch.stalled)),
            promised=-_dot(direction, batch.gradient) / 2,
        )
        result[batch.index], losses[batch.index] = m, loss
    return result
