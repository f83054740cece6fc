"""Normal equations of weighted sums of RDMs: from a stack, or from features without their RDMs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from brainalign._linalg import full_precision

_RANK_ONE = 1e-9
_ROUNDING = 1e-24


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Centred products over weighted pairs: `gram` (k, k), `target` (k,), `total` of the RDM, `weight`."""

    gram: torch.Tensor
    target: torch.Tensor
    total: float
    weight: float


def of_stack(stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> NormalEquations:
    """Normal equations of RDMs (k, n, n) for one RDM under pair weights (n, n); O(P k^2)."""
    rows, columns = np.triu_indices(len(rdm), 1)
    kept = weights[rows, columns] > 0
    rows, columns = rows[kept], columns[kept]
    w = torch.from_numpy(np.ascontiguousarray(weights[rows, columns], dtype=np.float64))
    a = torch.from_numpy(np.ascontiguousarray(stack[:, rows, columns], dtype=np.float64))
    y = torch.from_numpy(np.ascontiguousarray(rdm[rows, columns], dtype=np.float64))
    whole = float(w.sum())
    if whole <= 0:
        return _empty(len(stack))
    with full_precision():
        raw, largest = float((w * y * y).sum()), (a * a) @ w
        a = a - (a @ w / whole)[:, None]
        y = y - (y @ w) / whole
        # what a constant RDM leaves is the rounding of its mean
        a = a * ((a * a) @ w > _ROUNDING * largest)[:, None]
        scaled = a * w
        total = _settled(float((w * y * y).sum()), raw)
        return NormalEquations(scaled @ a.T, scaled @ y, total, whole)


def of_features(features: torch.Tensor, rdm: np.ndarray, counts: np.ndarray) -> NormalEquations:
    """The same for squared differences of single features (n, p), every pair weighing c_i c_j.

    With u = x^2 the product of two such RDMs is
    ``sum_{i<j} c_i c_j (x_i - x_j)^2 (z_i - z_j)^2 = C sum(c u v) + sum(c u) sum(c v)
    - 2 sum(c u z) sum(c z) - 2 sum(c x v) sum(c x) + 2 sum(c x z)^2``, C = sum(c): n p^2 operations instead
    of n^2 p^2, and no RDM is formed.
    """
    c = torch.from_numpy(np.ascontiguousarray(counts, dtype=np.float64))
    size = float(c.sum())
    pairs = (size**2 - float((c * c).sum())) / 2.0
    if pairs <= 0:
        return _empty(features.shape[1])
    with full_precision():
        x = features - (c @ features) / size  # differences stay, and the sums of c x vanish
        u = x * x
        sums = c @ u
        gram = size * (u * c[:, None]).T @ u + torch.outer(sums, sums)
        gram += 2.0 * ((x * c[:, None]).T @ x) ** 2
        means = size * sums / pairs
        gram -= pairs * torch.outer(means, means)
        both = np.outer(counts, counts) * (1.0 - np.eye(len(counts)))
        known = np.where(both > 0, rdm, 0.0)
        mean = float((both * known).sum()) / 2.0 / pairs
        d = torch.from_numpy(np.where(both > 0, known - mean, 0.0) * both)
        target = d.sum(1) @ u - (x * (d @ x)).sum(0)
        total = float((both * np.where(both > 0, known - mean, 0.0) ** 2).sum()) / 2.0
    raw = float((both * known**2).sum()) / 2.0
    return NormalEquations((gram + gram.T) / 2.0, target, _settled(total, raw), pairs)


def _settled(total: float, raw: float) -> float:
    return total if total > _ROUNDING * raw else 0.0


def stimulus_counts(weights: np.ndarray) -> np.ndarray | None:
    """Counts c (n,) with pair weights c_i c_j for i != j; None where the weights have no such form."""
    off = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
    active = np.flatnonzero(off.any(axis=1))
    if len(active) < 3:
        return None
    a, b, c = active[:3]
    counts = np.zeros(len(weights))
    if min(off[a, b], off[a, c], off[b, c]) <= 0:
        return None
    counts[a] = np.sqrt(off[a, b] * off[a, c] / off[b, c])
    rest = active[active != a]
    counts[rest] = off[a, rest] / counts[a]
    expected = np.outer(counts, counts)
    np.fill_diagonal(expected, 0.0)
    return counts if np.abs(expected - off).max() <= _RANK_ONE * off.max() else None


def _empty(k: int) -> NormalEquations:
    zeros = torch.zeros((k, k), dtype=torch.float64)
    return NormalEquations(zeros, zeros[0], 0.0, 0.0)
