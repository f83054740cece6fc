"""Decompositions in full precision, on the device of their input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 off inside the block and restore what the user had set.

    TF32 keeps 10 bits of mantissa: Gram matrices lose definiteness under it.
    """
    matmul: Any = torch.backends.cuda.matmul
    switch, off = "allow_tf32", cast(Any, False)
    try:
        before = matmul.allow_tf32
    except RuntimeError:  # torch refuses to read the old switch where the new one was set
        switch, off = "fp32_precision", "ieee"
        before = matmul.fp32_precision
    setattr(matmul, switch, off)
    try:
        yield
    finally:
        setattr(matmul, switch, before)


def eigh_psd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (clipped at 0) and eigenvectors of a symmetric positive semi-definite matrix.

    Cost 9 n^3 in time, 2 n^2 in memory.
    """
    symmetric = (matrix + matrix.T) / 2
    values, vectors = torch.linalg.eigh(symmetric)
    return values.clamp_min(0), vectors
