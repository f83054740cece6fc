"""Stacks of RDMs: what may enter a comparison, and their upper triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError


def as_stack(name: str, value: Any) -> np.ndarray:
    """Return one RDM (n, n) or several (k, n, n) as a checked float64 stack (k, n, n).

    Negative entries (cross-validated distances) and NaN (missing pairs, symmetric) are
    allowed. The stack may share memory with `value`.

    Raises
    ------
    ShapeError
        Not (n, n) or (k, n, n); no RDM at all.
    InputError
        Not real numbers, infinite, not symmetric, a diagonal that is not zero.

    Notes
    -----
    Rounding is allowed for: 1e-9 of the largest entry, 1e-5 for single precision.
    Cost: O(k n^2) time, one stack more of memory.
    """
    array = np.asarray(value)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"{name} has shape {array.shape}; expected (n, n) or (k, n, n)")
    if array.size == 0:
        raise ShapeError(f"{name} has shape {array.shape}; expected at least one RDM over one stimulus")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    tolerance = 1e-5 if array.dtype.itemsize < 8 and array.dtype.kind == "f" else 1e-9
    stack = array.astype(np.float64, copy=False).reshape(-1, *array.shape[-2:])
    for row, matrix in enumerate(stack):
        which = name if len(stack) == 1 else f"{name}, RDM {row},"
        _check_matrix(which, matrix, tolerance)
    return stack


def _check_matrix(name: str, matrix: np.ndarray, tolerance: float) -> None:
    """Refuse a matrix that is no RDM."""
    if np.isinf(matrix).any():
        raise InputError(
            f"{name} has {int(np.isinf(matrix).sum())} infinite values; a dissimilarity is a number, or NaN "
            "where it is missing"
        )
    limit = tolerance * float(np.nanmax(np.abs(matrix), initial=0.0))
    gap = float(np.nanmax(np.abs(matrix - matrix.T), initial=0.0))
    if gap > limit or not np.array_equal(np.isnan(matrix), np.isnan(matrix.T)):
        raise InputError(f"{name} is not symmetric (largest difference {gap:.3g})")
    diagonal = np.abs(np.diagonal(matrix))
    if np.nanmax(diagonal, initial=0.0) > limit:
        raise InputError(f"{name} has a diagonal that is not zero; expected dissimilarities (1 - r, not r)")


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
