"""Non-negative least squares for many small Gram matrices at once."""

from __future__ import annotations

import torch

_FULL_EXCHANGES = 3
_ROUNDS = 60
_RIDGE = 1e-10


def nonnegative_weights(gram: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minimise w' G w / 2 - t' w over w >= 0 for G (b, k, k) and t (b, k), all problems together.

    Block principal pivoting: variables of the wrong sign change sides until none is left; after
    three exchanges without progress only the last one does, which cannot cycle (Kim & Park
    2011, doi:10.1137/110821172). G is strengthened by 1e-10 of its mean diagonal, so that equal
    RDMs share their weight. Cost: O(k^3) a round and problem, about k rounds.

    Examples
    --------
    >>> import torch
    >>> g = torch.eye(2, dtype=torch.float64)[None]
    >>> w = nonnegative_weights(g, torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    >>> [round(float(v), 6) for v in w[0]]
    [1.0, 0.0]
    """
    k = gram.shape[-1]
    eye = torch.eye(k, dtype=gram.dtype, device=gram.device)
    level = torch.diagonal(gram, dim1=1, dim2=2).mean(1).clamp_min(1e-300)
    system = torch.nan_to_num(gram / level[:, None, None]) + _RIDGE * eye
    aim = torch.nan_to_num(target / level[:, None])
    free = torch.zeros_like(aim, dtype=torch.bool)
    best = torch.full((len(aim),), k + 1, device=aim.device)
    left = torch.full_like(best, _FULL_EXCHANGES)
    weights = torch.zeros_like(aim)
    tolerance = 1e-12 * aim.abs().amax(1, keepdim=True)
    for _ in range(_ROUNDS + 4 * k):
        weights, wrong = _solve(system, aim, free, eye, tolerance)
        n_wrong = wrong.sum(1)
        if not bool(n_wrong.any()):
            break
        better = n_wrong < best
        best = torch.where(better, n_wrong, best)
        left = torch.where(better, _FULL_EXCHANGES, left - 1)
        last = k - 1 - wrong.flip(1).to(torch.int8).argmax(1)
        only = torch.nn.functional.one_hot(last, k).bool() & wrong
        free = free ^ torch.where((left >= 0)[:, None], wrong, only)
    return torch.where(free, weights.clamp_min(0), torch.zeros_like(weights))


def _solve(
    system: torch.Tensor, aim: torch.Tensor, free: torch.Tensor, eye: torch.Tensor, tolerance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights with the variables that are not free at 0, and the variables that are on the wrong side."""
    inside = free.to(system.dtype)
    reduced = system * inside[:, :, None] * inside[:, None] + eye * (1 - inside)[:, None]
    weights = torch.linalg.solve(reduced, aim * inside)
    slope = (system @ weights[:, :, None])[:, :, 0] - aim
    wrong = torch.where(free, weights < -tolerance, slope < -tolerance)
    return weights, wrong
