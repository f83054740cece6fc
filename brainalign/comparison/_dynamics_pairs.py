"""Distances between linear operators up to a rotation, for many pairs in one batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._dynamics_descent import descend
from brainalign.comparison._dynamics_starts import matched_starts, random_starts, spectral_bases

_FLOATS_AT_ONCE = 2**24
_FLOATS_A_START = 24  # matrices that the descent keeps of each start


@dataclass(frozen=True)
class Search:
    """How the best rotation is looked for."""

    n_restarts: int
    max_iterations: int
    random_state: int


def operator_distances(
    operators: np.ndarray, first: np.ndarray, second: np.ndarray, form: str, search: Search
) -> np.ndarray:
    """Angles or norms between operators (k, r, r), for the pairs (first[i], second[i])."""
    norms = np.linalg.norm(operators, axis=(1, 2))
    unit = operators / np.where(norms > 0, norms, 1.0)[:, None, None]
    # the search runs from the smaller operator of a pair to the larger one, in the order of
    # their entries, so that a swap of x and y changes nothing
    order = np.lexsort(operators.reshape(len(operators), -1).T[::-1])
    place = np.argsort(order)
    low = np.where(place[first] < place[second], first, second)
    high = np.where(place[first] < place[second], second, first)
    m = _best_rotations(unit, low, high, search)
    a = unit[low]
    if form == "angular":
        chord, sum_ = (np.linalg.norm(v, axis=(1, 2)) for v in (a - m, a + m))
        return np.asarray(2.0 * np.arctan2(chord, sum_))
    difference = norms[low, None, None] * a - norms[high, None, None] * m
    return np.asarray(np.linalg.norm(difference, axis=(1, 2)))


def _best_rotations(unit: np.ndarray, low: np.ndarray, high: np.ndarray, search: Search) -> np.ndarray:
    """``C B C'`` of the C with the largest overlap for each pair, (n_pairs, r, r)."""
    r = unit.shape[1]
    bases = torch.from_numpy(np.stack([spectral_bases(u) for u in unit]))
    random = torch.from_numpy(random_starts(search.n_restarts, r, search.random_state))
    operators = torch.from_numpy(unit)
    n_starts = 2 * bases.shape[1] + len(random)
    size = max(1, _FLOATS_AT_ONCE // (_FLOATS_A_START * n_starts * r * r))
    out = []
    with full_precision(), torch.no_grad():
        for start in range(0, len(low), size):
            i, j = (torch.from_numpy(p[start : start + size]) for p in (low, high))
            a, b = operators[i], operators[j]
            starts = matched_starts(a, b, bases[i], bases[j])
            starts = torch.cat([starts, random.expand(len(a), -1, -1, -1)], dim=1)
            many_a = a.repeat_interleave(n_starts, dim=0)
            m = descend(
                many_a,
                b.repeat_interleave(n_starts, dim=0),
                starts.reshape(-1, r, r),
                n_starts=n_starts,
                max_iterations=search.max_iterations,
            )
            overlap = (many_a * m).sum(dim=(1, 2)).reshape(len(a), n_starts)
            best = m.reshape(len(a), n_starts, r, r)[torch.arange(len(a)), overlap.argmax(dim=1)]
            out.append(best.numpy())
    return np.concatenate(out)
