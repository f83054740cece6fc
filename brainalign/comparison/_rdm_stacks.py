"""Stacks of RDMs: what may enter a comparison, and their upper triangles."""

from __future__ import annotations

import numpy as np

from brainalign.errors import ShapeError
from brainalign.statistics._rsa_inputs import as_stack

__all__ = ["as_stack", "square", "upper_triangle"]


def upper_triangle(rdms: np.ndarray) -> np.ndarray:
    """Return the pairs i < j of (..., n, n), row by row, as (..., n (n - 1) / 2).

    Examples
    --------
    >>> import numpy as np
    >>> upper_triangle(np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]]))
    array([1, 2, 3])
    """
    n = rdms.shape[-1]
    rows, columns = np.triu_indices(n, 1)
    flat = rdms.reshape(*rdms.shape[:-2], n * n)
    out: np.ndarray = np.take(flat, rows * n + columns, axis=-1)
    return out


def square(vectors: np.ndarray, n: int) -> np.ndarray:
    """Return the symmetric matrices (..., n, n) with zero diagonal of upper triangles (..., n (n - 1) / 2).

    Examples
    --------
    >>> import numpy as np
    >>> square(np.array([1.0, 2.0, 3.0]), 3)[0]
    array([0., 1., 2.])
    """
    vectors = np.asarray(vectors)
    pairs = n * (n - 1) // 2
    if vectors.shape[-1] != pairs:
        raise ShapeError(f"upper triangles have {vectors.shape[-1]} pairs; {n} stimuli have {pairs}")
    rows, columns = np.triu_indices(n, 1)
    out: np.ndarray = np.zeros((*vectors.shape[:-1], n, n), dtype=vectors.dtype)
    out[..., rows, columns] = vectors
    out[..., columns, rows] = vectors
    return out
