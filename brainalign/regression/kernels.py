"""Kernels of pairs of stimuli, and the family by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

Kernel = Callable[..., torch.Tensor]


def linear_kernel(
    X: torch.Tensor, Z: torch.Tensor, *, gamma: float, degree: int, coef0: float
) -> torch.Tensor:
    """Products of rows, ``x z'``: (n, m) for X (n, p) and Z (m, p)."""
    return X @ Z.T


def rbf_kernel(X: torch.Tensor, Z: torch.Tensor, *, gamma: float, degree: int, coef0: float) -> torch.Tensor:
    """Gaussian radial basis function, ``exp(-gamma |x - z|^2)``, in (0, 1]."""
    # distances do not change with the origin; near it their squares lose fewer digits
    origin = Z.mean(0)
    X, Z = X - origin, Z - origin
    squared = X.square().sum(1)[:, None] + Z.square().sum(1)[None, :] - 2 * (X @ Z.T)
    return torch.exp(-gamma * squared.clamp_min(0))


def polynomial_kernel(
    X: torch.Tensor, Z: torch.Tensor, *, gamma: float, degree: int, coef0: float
) -> torch.Tensor:
    """Polynomial, ``(gamma x z' + coef0)^degree``."""
    return (gamma * (X @ Z.T) + coef0) ** degree


KERNELS: dict[str, Kernel] = {
    "linear": linear_kernel,
    "poly": polynomial_kernel,
    "polynomial": polynomial_kernel,
    "rbf": rbf_kernel,
}
"""The kernels by name; each takes X (n, p), Z (m, p), gamma, degree, coef0 and returns (n, m)."""
