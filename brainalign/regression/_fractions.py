"""The length of ridge weights as a fraction of their length without a penalty, and its inverse.

With the singular values s of X and the weights z in its right singular vectors without
penalty, ridge multiplies each by ``s^2 / (s^2 + alpha)``: the length falls monotonically
from 1 (alpha 0) to 0 (alpha infinite), differently for each target.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from brainalign.errors import InputError
from brainalign.regression._penalty_input import Problem

_BLOCK = 1 << 20  # entries of one (penalties, rank, targets) block, 8 MB
_MOST_STEPS = 200
_TOLERANCE = 1e-13
_ROUNDING = 1e-15
_LengthRule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def fraction_of(alpha: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Fraction of length for each penalty and target, (..., t); `alpha` broadcasts against (t,)."""
    return _over_targets(lambda a, squares, share: _length(a, squares, share)[0], alpha, problem)


def penalty_of_fraction(fraction: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Penalty that gives each target its fraction of length, (..., t); inf for a fraction of 0."""
    if bool((fraction > 1).any()):
        raise InputError(
            f"a fraction is {float(fraction[fraction > 1].reshape(-1)[0]):g}; expected 0 (infinite penalty) "
            "to 1 (no penalty)"
        )
    return _over_targets(_solve, fraction, problem)


def _over_targets(rule: _LengthRule, values: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Apply `rule` (values (f, t), squared singular values (r, 1), shares (r, t)) to blocks of targets."""
    X, t = problem.X, problem.n_targets
    U, s, _ = torch.linalg.svd(X, full_matrices=False)
    kept = s > s[0] * max(X.shape) * torch.finfo(s.dtype).eps
    U, s = U[:, kept], s[kept]
    shape = np.broadcast_shapes(tuple(values.shape), (t,))
    values = values.broadcast_to(shape).reshape(-1, t)
    out = torch.full_like(values, torch.nan)
    if not len(s):  # constant features: no weights, so no length
        return out.reshape(shape)
    size = max(1, _BLOCK // (max(X.shape) * len(values)))
    for start in range(0, t, size):
        block = slice(start, min(start + size, t))
        share = _shares(U, s, problem.targets(block))
        found = rule(values[:, block], s.square()[:, None], share)
        out[:, block] = torch.where(torch.isnan(share[:1]), torch.nan, found)
    return out.reshape(shape)


def _shares(U: torch.Tensor, s: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Share of each singular vector in the squared length without penalty; NaN where there is no length."""
    usable = torch.isfinite(Y).all(0)
    Y = torch.where(usable, Y, 0)
    # a target orthogonal to X leaves rounding, whose direction means nothing
    projected = U.T @ Y
    noise = Y.norm(dim=0) * len(Y) * torch.finfo(Y.dtype).eps
    usable = usable & (projected.norm(dim=0) > noise)
    length = projected / s[:, None]
    length = length / length.abs().amax(0).clamp_min(torch.finfo(Y.dtype).tiny)
    share = length.square() / length.square().sum(0)
    return torch.where(usable, share, torch.nan)


def _length(
    alpha: torch.Tensor, squares: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fraction g, 1 - g without cancellation, and d(logit g) / d(log alpha); each (f, t)."""
    kept = squares / (squares + alpha[:, None, :])
    lost = 1 / (1 + squares / alpha[:, None, :])
    weighted = share * kept.square()
    total = weighted.sum(1)
    g = total.sqrt()
    missing = (share * lost * (1 + kept)).sum(1) / (1 + g)
    slope = -(weighted * lost).sum(1) / (total * missing)
    return g, missing, slope


def _solve(fraction: torch.Tensor, squares: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Newton's method for log alpha on the logit of the fraction, inside a shrinking bracket.

    With one singular value the logit is a straight line in log alpha; with several, their
    extremes bracket the root.
    """
    wanted = torch.log(fraction) - torch.log1p(-fraction)
    inner = (fraction > 0) & (fraction < 1) & ~torch.isnan(share[:1])
    wanted = torch.where(inner, wanted, 0)
    low, high = squares.min().log() - wanted, squares.max().log() - wanted
    at = (low + high) / 2
    for _ in range(_MOST_STEPS):
        g, missing, slope = _length(at.exp(), squares, share)
        excess = g.log() - missing.log() - wanted
        low, high = torch.where(excess > 0, at, low), torch.where(excess > 0, high, at)
        newton = at - excess / slope
        # on a plateau between distant singular values a step leaves the bracket: halve that instead
        bad = ~((newton >= low) & (newton <= high))
        following = torch.where(bad, (low + high) / 2, newton)
        moved, at = following - at, following
        unsolved = (moved.abs() > _TOLERANCE * (1 + at.abs())) & (
            excess.abs() > _ROUNDING * (1 + wanted.abs())
        )
        if not bool((inner & unsolved).any()):
            break
    edge = torch.where(fraction == 1, 0.0, torch.where(fraction == 0, torch.inf, torch.nan))
    return torch.where(inner, at.exp(), edge)
