"""Cholesky factors and inverses that survive what rounding does to semi-definite matrices."""

from __future__ import annotations

import torch


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
    factor, failed = torch.linalg.cholesky_ex(wide)
    inverse = torch.linalg.pinv(wide, hermitian=True) if failed else torch.cholesky_inverse(factor)
    found: torch.Tensor = inverse.to(block.dtype)
    return found
