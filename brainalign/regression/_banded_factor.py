"""Cholesky factors and inverses that survive what rounding does to semi-definite matrices."""

from __future__ import annotations

import torch

from brainalign.regression._kernel_folds import inverse_in_halves

# below this share of the largest eigenvalue a penalty needs more digits than float32 has
FLOAT32_PENALTY = 1e-4
_POWER_STEPS = 12


def largest_eigenvalue(matrix: torch.Tensor) -> float:
    """Largest eigenvalue of a positive semi-definite matrix, from below, by power iteration."""
    vector = matrix.abs().sum(1)
    for _ in range(_POWER_STEPS):
        size = vector.norm()
        if not size > 0:
            return 0.0
        vector = matrix @ (vector / size)
    return float(vector.norm())


def lifted_cholesky(system: torch.Tensor) -> torch.Tensor:
    """Cholesky factor of a positive semi-definite matrix (m, m), which may be overwritten.

    Where rounding made an eigenvalue negative (a penalty far below the rounding of the largest
    eigenvalue), the diagonal is lifted by that rounding.
    """
    factor, failed = torch.linalg.cholesky_ex(system)
    if failed:
        lift = torch.finfo(system.dtype).eps * len(system) * system.diagonal().max()
        system.diagonal().add_(lift)
        factor = torch.linalg.cholesky(system)
    found: torch.Tensor = factor
    return found


def block_inverse(block: torch.Tensor) -> torch.Tensor:
    """Inverse of a symmetric positive definite block through float64 (singular: the pseudo-inverse)."""
    wide = block.double()
    inverse = inverse_in_halves(wide)
    found: torch.Tensor = torch.linalg.pinv(wide, hermitian=True) if inverse is None else inverse
    return found.to(block.dtype)
