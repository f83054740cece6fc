"""Centred responses without loss of digits: the one centring behind the linear and the shape measures."""

from __future__ import annotations

from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
# the mean of a few equal repeats differs from them by some units in the last place
_ROUNDING = 16.0 * float(np.finfo(np.float64).eps)


def exponent_of(values: np.ndarray) -> int:
    """The power of two above the largest absolute value (0 where all are zero)."""
    return int(np.frexp(np.abs(values).max(initial=0.0))[1])


def only_rounding(spread: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Whether a column's `spread` is no more than the rounding of its `largest` absolute value."""
    out: np.ndarray = spread <= _ROUNDING * largest
    return out


def centred_columns(x: np.ndarray) -> tuple[FloatArray, int, float]:
    """Centred x (n, p) over a power of two, its exponent, and the largest |x| in the same units.

    The largest absolute value is of the order of one. Columns whose spread is rounding become
    zero; all zero, 0 and 0.0 where x does not vary. Powers of two scale exactly, and the first
    row is taken away before the mean, so that an offset costs no more digits than it has
    cost the input.
    """
    outer = exponent_of(x)
    values: FloatArray = np.ldexp(np.asarray(x, dtype=np.float64), -outer)
    columns = np.abs(values).max(axis=0, initial=0.0)
    values = values - values[0]
    values[:, only_rounding(np.abs(values).max(axis=0), columns)] = 0.0
    if not values.any():
        return values, 0, 0.0
    inner = exponent_of(values)
    values = np.ldexp(values, -inner)
    values -= values.mean(axis=0)
    values -= values.mean(axis=0)  # the rounding of the first mean
    return values, outer + inner, float(np.ldexp(columns.max(), -inner))


def double_centred(matrix: np.ndarray) -> FloatArray:
    """The symmetric (n, n) matrix with rows and columns that sum to zero."""
    means = matrix.mean(axis=1)
    centred: FloatArray = matrix - means[:, None] - means[None, :] + means.mean()
    return centred


def u_centred_matrix(matrix: np.ndarray) -> FloatArray:
    """The symmetric (n, n) matrix, its diagonal ignored, U-centred: zero diagonal, rows sum to zero."""
    n = len(matrix)
    off = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(off, 0.0)
    sums = off.sum(axis=1) / (n - 2)
    off -= sums[:, None] + sums[None, :] - sums.sum() / (n - 1)
    np.fill_diagonal(off, 0.0)
    return off
