"""RDM entries whitened by their own covariance: inner products are generalised least squares.

Under no true difference, the covariance of two squared distances is (c_p' Sigma c_q)^2 with the
contrasts c of their stimuli and Sigma the covariance of the estimated patterns over stimuli
(Diedrichsen et al. 2021, arXiv:2007.02789, equations 8 to 12). For an RDM of all pairs, d' V^-1 e
equals the inner product of L^-1 G L^-T and L^-1 H L^-T up to a factor, with G and H the matrices
of inner products about one stimulus and L L' = P Sigma P' over the contrasts P with that stimulus.
V of n (n - 1) / 2 rows is never built.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from brainalign.errors import InputError
from brainalign.statistics._rsa_inputs import checked_covariance

MOST_BASIS_ENTRIES = 2**25


def check_sigma_k(sigma_k: Any, n: int) -> np.ndarray | None:
    """Return sigma_k as None, or a symmetric positive definite float64 (n, n) array.

    Raises
    ------
    ShapeError
        Neither (n,) nor (n, n).
    InputError
        Not finite, not symmetric, or its contrasts between stimuli are not positive definite.
    """
    if sigma_k is None:
        return None
    sigma = checked_covariance(sigma_k, n)
    if sigma.ndim == 1:
        sigma = np.diag(sigma)
    scale = float(np.abs(sigma).max())
    contrasts = contrast_covariance(torch.from_numpy(sigma)).numpy()
    lowest = float(np.linalg.eigvalsh(contrasts)[0])
    if lowest <= 1e-12 * scale:
        raise InputError(
            f"sigma_k is not positive definite over differences of stimuli (smallest eigenvalue "
            f"{lowest:.3g}); give a covariance of full rank, for example shrunk towards its diagonal"
        )
    return sigma


def contrast_covariance(sigma: torch.Tensor) -> torch.Tensor:
    """Covariance P Sigma P' of the differences of every stimulus with the first, (n - 1, n - 1)."""
    return sigma[1:, 1:] - sigma[1:, :1] - sigma[:1, 1:] + sigma[0, 0]


def inner_products_about_first(rdms: torch.Tensor) -> torch.Tensor:
    """Inner products of the patterns about the first one, (k, n - 1, n - 1), of squared distances."""
    first = rdms[:, 0, 1:]
    return (first[:, :, None] + first[:, None, :] - rdms[:, 1:, 1:]) / 2


def double_centred(rdms: torch.Tensor) -> torch.Tensor:
    """Inner products of the patterns about their mean, (k, n, n): -D / 2 with centred rows and columns."""
    rows = rdms.mean(dim=2, keepdim=True)
    return (rows + rows.transpose(1, 2) - rows.mean(dim=1, keepdim=True) - rdms) / 2


def squared_from_vectors(vectors: torch.Tensor, n: int) -> torch.Tensor:
    """The symmetric matrices (k, n, n) of upper triangles (k, n (n - 1) / 2)."""
    rows, columns = torch.triu_indices(n, n, 1, device=vectors.device)
    out = vectors.new_zeros((len(vectors), n, n))
    out[:, rows, columns] = vectors
    out[:, columns, rows] = vectors
    return out


def whitened_vectors(vectors: torch.Tensor, sigma: np.ndarray | None) -> torch.Tensor:
    """Rows whose inner products are d' V^-1 e up to one factor.

    Parameters
    ----------
    vectors : tensor (k, n (n - 1) / 2), no NaN
    sigma : None (identity) or a checked (n, n) array

    Returns
    -------
    tensor (k, n (n + 1) / 2) for None, else (k, n (n - 1) / 2). Pooling RDMs for a noise ceiling
    of the whitened measures is a mean of unit rows of these.

    Notes
    -----
    Cost: O(k n^2) without sigma, O(k n^3) with it; memory two stacks of RDMs.
    """
    n = n_stimuli(vectors.shape[1])
    rdms = squared_from_vectors(vectors, n)
    if sigma is None:
        return _packed(double_centred(rdms))
    covariance = contrast_covariance(torch.from_numpy(sigma).to(vectors.device))
    factor = torch.linalg.cholesky(covariance)
    gram = inner_products_about_first(rdms)
    half = torch.linalg.solve_triangular(factor, gram, upper=False)
    return _packed(torch.linalg.solve_triangular(factor, half.transpose(1, 2), upper=False))


def _packed(matrices: torch.Tensor) -> torch.Tensor:
    """Upper triangles with the diagonal; the rest counts twice in an inner product of matrices."""
    n = matrices.shape[-1]
    rows, columns = torch.triu_indices(n, n, 0, device=matrices.device)
    weights = torch.full_like(rows, 2, dtype=matrices.dtype).sqrt()
    weights[rows == columns] = 1.0
    out: torch.Tensor = matrices[:, rows, columns] * weights
    return out


def n_stimuli(n_pairs: int) -> int:
    """The number of stimuli of an upper triangle."""
    return (1 + math.isqrt(1 + 8 * n_pairs)) // 2


def without_missing(whitened: torch.Tensor, missing: torch.Tensor, sigma: np.ndarray | None) -> torch.Tensor:
    """Whitened rows of RDMs with missing pairs, from rows that were whitened with 0 in their place.

    d_kept' V_kept^-1 e_kept is the inner product of the parts of the whitened rows that are
    orthogonal to the whitened RDMs with a single 1 in each missing pair (inverse of a block by
    its Schur complement). Exact for any sigma_k and any pattern of missing pairs.

    Parameters
    ----------
    whitened : tensor (k, m), from `whitened_vectors`
    missing : tensor (n_pairs,), bool, the same for all rows
    sigma : as in `whitened_vectors`

    Notes
    -----
    Cost: O(u^2 n^2) time and u n^2 / 2 values of memory for u missing pairs.
    """
    where = torch.nonzero(missing).ravel()
    single = torch.zeros((len(where), len(missing)), dtype=whitened.dtype, device=whitened.device)
    single[torch.arange(len(where), device=where.device), where] = 1.0
    basis = torch.linalg.qr(whitened_vectors(single, sigma).T).Q
    out: torch.Tensor = whitened - (whitened @ basis) @ basis.T
    return out
