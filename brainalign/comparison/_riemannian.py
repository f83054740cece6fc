"""Comparators of the Gram matrices behind RDMs: Bures similarity and the Riemannian distance."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from brainalign.comparison._whitened import (
    contrast_covariance,
    double_centred,
    inner_products_about_first,
    n_stimuli,
    squared_from_vectors,
)

_BLOCK_ENTRIES = 2**24
_GRID = 41
_DECADES = 10.0
_GOLDEN = (5.0**0.5 - 1.0) / 2.0
_POLISH = 40
_RANK_TOLERANCE = 1e-10


def bures_factors(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors F (k, n, r) with F F' the Gram matrix of each RDM, of norm one; share of negative eigenvalues.

    Negative eigenvalues, of an RDM that is no squared Euclidean distance, become 0: F F' is the
    nearest positive semi-definite matrix. An RDM that is all zero gives NaN.
    """
    n = n_stimuli(vectors.shape[1])
    values, axes = torch.linalg.eigh(double_centred(squared_from_vectors(vectors, n)))
    negative = -values.clamp_max(0).sum(dim=1)
    share = negative / values.abs().sum(dim=1)
    values = values.clamp_min(0)
    top = values[:, -1:]
    values = torch.where(values > n * torch.finfo(values.dtype).eps * top, values, 0.0)
    rank = max(int((values > 0).sum(dim=1).max()), 1)
    total = values.sum(dim=1, keepdim=True)
    roots = torch.sqrt(values / torch.where(total > 0, total, torch.nan))
    return (axes * roots[:, None, :])[:, :, n - rank :], share


def bures_table(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Bures similarities of the rows of a (k1, n_pairs) and b (k2, n_pairs), (k1, k2) in [0, 1]."""
    first, share1 = bures_factors(a)
    second, share2 = bures_factors(b)
    share = torch.cat([share1, share2])
    if bool((share > 1e-6).any()):
        warnings.warn(
            f"{int((share > 1e-6).sum())} RDMs have negative eigenvalues in their Gram matrix (up to "
            f"{100 * float(share.nan_to_num().max()):.2g} % of the sum of absolute ones): they are no "
            "squared Euclidean distances; the negative ones are set to 0, which is the nearest Gram matrix",
            stacklevel=4,
        )
    out = torch.full((len(a), len(b)), torch.nan, dtype=torch.float64, device=a.device)
    rows = ~torch.isnan(first).flatten(1).any(dim=1)
    columns = torch.nonzero(~torch.isnan(second).flatten(1).any(dim=1)).ravel()
    step = max(1, _BLOCK_ENTRIES // max(first.shape[2] * second.shape[2], 1))
    for i in torch.nonzero(rows).ravel().tolist():
        for part in torch.split(columns, step):
            cross = first[i].T @ second[part]
            out[i, part] = torch.linalg.svdvals(cross).sum(dim=1).clamp_max(1.0)
    return out


def neg_riemannian_table(a: torch.Tensor, b: torch.Tensor, sigma: np.ndarray | None) -> torch.Tensor:
    """Negative Riemannian distances of the rows of a and b, (k1, k2), at most 0.

    The distance is the norm of the log eigenvalues of (s (G1 + ridge Sigma), G2), least over the
    scale s and the ridge. The best scale centres the log eigenvalues, so that only the ridge is
    searched: a grid over all pairs at once, then a golden section between the neighbours of the
    best point. NaN where G2 is not positive definite.
    """
    n = n_stimuli(a.shape[1])
    noise = torch.eye(n, dtype=a.dtype) if sigma is None else torch.from_numpy(sigma)
    covariance = contrast_covariance(noise.to(a.device))
    first = inner_products_about_first(squared_from_vectors(a, n))
    second = inner_products_about_first(squared_from_vectors(b, n))
    out = torch.full((len(a), len(b)), torch.nan, dtype=torch.float64, device=a.device)
    step = max(1, _BLOCK_ENTRIES // (_GRID * (n - 1) ** 2))
    for j, gram in enumerate(second):
        factor = _factor(gram, covariance)
        if factor is None:
            continue
        ridge = _whiten(covariance[None], factor)[0]
        for rows in torch.split(torch.arange(len(a), device=a.device), step):
            out[rows, j] = -_least_distance(_whiten(first[rows], factor), ridge)
    return out


def _factor(gram: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor | None:
    """Cholesky factor of a Gram matrix; None where it is not positive definite beyond rounding."""
    lowest, highest = torch.linalg.eigvalsh(gram)[[0, -1]].tolist()
    if not lowest > _RANK_TOLERANCE * abs(highest):
        return None
    out: torch.Tensor = torch.linalg.cholesky(gram)
    return out


def _whiten(matrices: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    half = torch.linalg.solve_triangular(factor, matrices, upper=False)
    out: torch.Tensor = torch.linalg.solve_triangular(factor, half.transpose(1, 2), upper=False)
    return out


def _spread(matrices: torch.Tensor) -> torch.Tensor:
    """Norm of the centred log eigenvalues; infinite where one is not positive."""
    values = torch.linalg.eigvalsh(matrices)
    valid = values[..., 0] > _RANK_TOLERANCE * values[..., -1].abs()
    logs = torch.log(torch.where(valid[..., None], values, 1.0))
    norm = torch.linalg.vector_norm(logs - logs.mean(dim=-1, keepdim=True), dim=-1)
    return torch.where(valid, norm, torch.inf)


def _least_distance(matrices: torch.Tensor, ridge: torch.Tensor) -> torch.Tensor:
    """Least spread of M + exp(t) R over t, for matrices (k, m, m): grid, then golden section."""
    scale = torch.linalg.matrix_norm(matrices).clamp_min(torch.finfo(matrices.dtype).tiny)
    unit = torch.log(scale / torch.linalg.matrix_norm(ridge))
    half = _DECADES * np.log(10.0)
    grid = torch.linspace(-half, half, _GRID, dtype=matrices.dtype, device=matrices.device)

    def at(t: torch.Tensor) -> torch.Tensor:
        weights = torch.exp(unit[:, None] + t)[..., None, None]
        return _spread(matrices[:, None] + weights * ridge)

    values = at(grid.expand(len(matrices), -1))
    best = values.argmin(dim=1)
    low, high = grid[(best - 1).clamp_min(0)], grid[(best + 1).clamp_max(_GRID - 1)]
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    f_left, f_right = at(left[:, None])[:, 0], at(right[:, None])[:, 0]
    for _ in range(_POLISH):
        lower = f_left < f_right
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        fresh = torch.where(lower, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        f_fresh = at(fresh[:, None])[:, 0]
        left, right = torch.where(lower, fresh, right), torch.where(lower, left, fresh)
        f_left, f_right = torch.where(lower, f_fresh, f_right), torch.where(lower, f_left, f_fresh)
    unridged = _spread(matrices)
    # more ridge than any finite one: the RDM of the noise alone, as far from b as a model of nothing
    least = torch.stack(
        [values.min(dim=1).values, f_left, f_right, unridged, _spread(ridge[None]).expand(len(matrices))]
    )
    found = least.min(dim=0).values
    return torch.where(torch.isfinite(found), found, torch.nan)
