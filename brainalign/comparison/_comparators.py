"""The families of RDM comparators: correlations, ranks, whitened forms, Bures and Riemannian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from brainalign.comparison import _ranks, _riemannian, _whitened
from brainalign.statistics.rank_correlation import kendall_table

Comparator = Callable[[Any, Any], Any]


def as_tensor(values: Any) -> torch.Tensor:
    """A float64 tensor of an array, sharing its memory where it may."""
    if isinstance(values, torch.Tensor):
        return values.detach().to(torch.float64)
    array = np.ascontiguousarray(values, dtype=np.float64)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _like(source: Any, out: torch.Tensor) -> Any:
    return out if isinstance(source, torch.Tensor) else out.numpy()


def _of_size_one(rows: torch.Tensor) -> torch.Tensor:
    """Rows (k, n) over a power of two near their largest entry, which loses no digit.

    Squares of entries beyond 1e154 would be infinite, and those below 1e-162 zero.
    """
    largest = rows.abs().amax(dim=1, keepdim=True) if rows.shape[1] else rows.new_ones((len(rows), 1))
    power = torch.exp2(torch.frexp(largest).exponent.to(rows.dtype))
    return rows / torch.where((largest > 0) & torch.isfinite(power) & (power > 0), power, 1.0)


def _scaled(rows: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Rows of norm one; those that are nothing but the rounding of `original` become NaN."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    scale = original.abs().amax(dim=1, keepdim=True) if original.shape[1] else norms
    floor = original.shape[1] * torch.finfo(torch.float64).eps * scale
    return rows / torch.where(norms > floor, norms, torch.nan)


def _centred(vectors: torch.Tensor) -> torch.Tensor:
    return vectors - vectors.mean(dim=1, keepdim=True)


def unit_vectors(vectors: Any) -> Any:
    """Rows whose inner products are Pearson correlations, (k, n_pairs); constant rows are NaN."""
    rows = _of_size_one(as_tensor(vectors))
    return _like(vectors, _scaled(_centred(rows), rows))


def unit_ranks(vectors: Any) -> Any:
    """Rows whose inner products are Spearman correlations (mid-ranks for ties), (k, n_pairs)."""
    ranks = _ranks.mid_ranks(as_tensor(vectors))
    return _like(vectors, _scaled(_centred(ranks), ranks))


def unit_ranks_a(vectors: Any) -> Any:
    """Rows whose inner products are rho-a: mid-ranks over the norm that ranks without ties have."""
    ranks = _ranks.mid_ranks(as_tensor(vectors))
    m = float(ranks.shape[1])
    centred = _centred(ranks)
    constant = (ranks == ranks[:, :1]).all(dim=1, keepdim=True)
    norm = torch.full_like(ranks[:, :1], max((m**3 - m) / 12.0, 1.0) ** 0.5)
    return _like(vectors, centred / torch.where(constant, torch.nan, norm))


def unit_lengths(vectors: Any) -> Any:
    """Rows whose inner products are cosines, (k, n_pairs); rows that are all zero are NaN."""
    rows = _of_size_one(as_tensor(vectors))
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return _like(vectors, rows / torch.where(norms > 0, norms, torch.nan))


def _products(a: Any, b: Any, unit: Callable[[Any], Any]) -> Any:
    first = unit(as_tensor(a))
    second = first if b is a else unit(as_tensor(b))
    return _like(a, (first @ second.T).clamp(-1.0, 1.0))


def pearson(a: Any, b: Any) -> Any:
    """Pearson correlations of the rows of a (k1, n_pairs) and b (k2, n_pairs), (k1, k2)."""
    return _products(a, b, unit_vectors)


def spearman(a: Any, b: Any) -> Any:
    """Spearman correlations with mid-ranks of the rows of a and b, (k1, k2)."""
    return _products(a, b, unit_ranks)


def rho_a(a: Any, b: Any) -> Any:
    """Spearman correlations without a tie correction of the rows of a and b, (k1, k2)."""
    return _products(a, b, unit_ranks_a)


def cosine(a: Any, b: Any) -> Any:
    """Cosines of the rows of a and b, (k1, k2)."""
    return _products(a, b, unit_lengths)


def _kendall(a: Any, b: Any, variant: str) -> Any:
    first = _ranks.sorted_rows(as_tensor(a))
    second = first if b is a else _ranks.sorted_rows(as_tensor(b))
    out = torch.from_numpy(kendall_table(first, second, variant=variant))
    return _like(a, out.to(as_tensor(a).device))


def kendall_tau_a(a: Any, b: Any) -> Any:
    """Kendall's tau-a of the rows of a and b, (k1, k2)."""
    return _kendall(a, b, "a")


def kendall_tau_b(a: Any, b: Any) -> Any:
    """Kendall's tau-b of the rows of a and b, (k1, k2)."""
    return _kendall(a, b, "b")


def unit_whitened(vectors: Any, *, sigma_k: Any = None, centre: bool = False, missing: Any = None) -> Any:
    """Rows whose inner products are whitened cosines (centre: whitened correlations).

    Parameters
    ----------
    vectors : array or tensor (k, n (n - 1) / 2)
    sigma_k : None, (n,) or (n, n), covariance of the pattern estimates
    centre : remove the mean entry of each RDM before it is whitened
    missing : None, or bool (n (n - 1) / 2,), pairs to leave out of every row
    """
    rows = _of_size_one(as_tensor(vectors))
    sigma = _whitened.check_sigma_k(sigma_k, _whitened.n_stimuli(rows.shape[1]))
    gaps = torch.zeros(rows.shape[1], dtype=torch.bool) if missing is None else torch.as_tensor(missing)
    gaps = gaps.to(rows.device)
    kept = rows[:, ~gaps]
    filled = torch.zeros_like(rows)
    filled[:, ~gaps] = _centred(kept) if centre else kept
    floor = rows.shape[1] * torch.finfo(torch.float64).eps * kept.abs().amax(dim=1, keepdim=True)
    empty = torch.linalg.vector_norm(filled, dim=1, keepdim=True) <= floor
    out = _whitened.whitened_vectors(filled, sigma)
    if bool(gaps.any()):
        out = _whitened.without_missing(out, gaps, sigma)
    norms = torch.linalg.vector_norm(out, dim=1, keepdim=True)
    return _like(vectors, out / torch.where(empty | (norms == 0), torch.nan, norms))


def whitened_cosine(a: Any, b: Any, *, sigma_k: Any = None, missing: Any = None) -> Any:
    """Cosines of the whitened rows of a and b, (k1, k2)."""
    return _products(a, b, lambda v: unit_whitened(v, sigma_k=sigma_k, missing=missing))


def whitened_pearson(a: Any, b: Any, *, sigma_k: Any = None, missing: Any = None) -> Any:
    """Cosines of the rows of a and b that lost their mean entry and then were whitened, (k1, k2)."""
    return _products(a, b, lambda v: unit_whitened(v, sigma_k=sigma_k, centre=True, missing=missing))


def bures(a: Any, b: Any) -> Any:
    """Bures similarities of the rows of a and b, (k1, k2) in [0, 1]."""
    return _like(a, _riemannian.bures_table(as_tensor(a), as_tensor(b)))


def neg_riemannian(a: Any, b: Any, *, sigma_k: Any = None) -> Any:
    """Negative Riemannian distances of the rows of a and b, (k1, k2), at most 0."""
    first, second = _of_size_one(as_tensor(a)), _of_size_one(as_tensor(b))
    sigma = _whitened.check_sigma_k(sigma_k, _whitened.n_stimuli(first.shape[1]))
    return _like(a, _riemannian.neg_riemannian_table(first, second, sigma))


COMPARATORS: dict[str, Comparator] = {
    "pearson": pearson,
    "spearman": spearman,
    "rho_a": rho_a,
    "tau_a": kendall_tau_a,
    "tau_b": kendall_tau_b,
    "cosine": cosine,
    "whitened_cosine": whitened_cosine,
    "whitened_pearson": whitened_pearson,
    "bures": bures,
    "neg_riemannian": neg_riemannian,
}
"""Names that `compare_rdms` takes: (k1, n_pairs) and (k2, n_pairs) to (k1, k2), arrays or tensors."""
