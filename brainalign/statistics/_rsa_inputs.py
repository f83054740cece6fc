"""What enters a comparison over resamples: its measures, the covariance of stimuli, the known pairs.

Imports no torch, so that reading a report does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError

LINEAR = {  # measure: (mean removed, whitened)
    "pearson": (True, False),
    "cosine": (False, False),
    "whitened_cosine": (False, True),
    "whitened_pearson": (True, True),
}
RANKED = ("spearman", "rho_a", "tau_a", "tau_b")
DRAWN_MEASURES = (*LINEAR, *RANKED)
FEWEST_PAIRS = 3
_ROUNDING = {4: 1e-5, 2: 5e-3}  # of the largest entry, by bytes of a floating number


def plain_array(name: str, value: Any) -> np.ndarray:
    """A numpy array of an array, tensor, table or nested list; masked entries are NaN."""
    if hasattr(value, "detach"):  # a tensor, perhaps on a device, with a gradient, or in bfloat16
        value = value.detach().cpu()
        value = value.double() if "bfloat16" in str(value.dtype) else value
    if isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "fiub":
        filled: np.ndarray = np.ma.filled(value.astype(np.float64), np.nan)
        return filled
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} is no array of numbers ({error}); give rows of one length") from None


def as_stack(name: str, value: Any) -> np.ndarray:
    """Return one RDM (n, n) or several (k, n, n) as a checked float64 stack (k, n, n).

    Negative entries (cross-validated distances) and NaN (missing pairs, symmetric) are
    allowed. The stack may share memory with `value`.

    Raises
    ------
    ShapeError
        Not (n, n) or (k, n, n); no RDM at all.
    InputError
        Not real numbers, infinite, not symmetric, a diagonal that is not zero. Rows of
        different lengths.

    Notes
    -----
    Rounding is allowed for: 1e-9 of the largest entry, 1e-5 for single precision, 5e-3 for half.
    Cost: O(k n^2) time, one stack more of memory.
    """
    array = plain_array(name, value)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"{name} has shape {array.shape}; expected (n, n) or (k, n, n)")
    if array.size == 0:
        raise ShapeError(f"{name} has shape {array.shape}; expected at least one RDM over one stimulus")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    tolerance = _ROUNDING.get(array.dtype.itemsize, 1e-9) if array.dtype.kind == "f" else 1e-9
    stack = array.astype(np.float64, copy=False).reshape(-1, *array.shape[-2:])
    for row, matrix in enumerate([] if _faultless(stack) else stack):
        which = name if len(stack) == 1 else f"{name}, RDM {row},"
        _check_matrix(which, matrix, tolerance)
    return stack


def _faultless(stack: np.ndarray) -> bool:
    """Whether all entries are finite, exactly symmetric and zero on the diagonal: most stacks are."""
    if not np.isfinite(stack.sum()) or np.diagonal(stack, axis1=1, axis2=2).any():
        return False
    return bool(np.array_equal(stack, stack.transpose(0, 2, 1)))


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


def checked_covariance(sigma_k: Any, n: int) -> np.ndarray:
    """sigma_k as variances (n,) or a symmetric matrix (n, n), float64 and finite."""
    sigma = plain_array("sigma_k", sigma_k).astype(np.float64)
    if sigma.shape not in ((n,), (n, n)):
        raise ShapeError(
            f"sigma_k has shape {sigma.shape}; expected ({n},) or ({n}, {n}), one row a stimulus"
        )
    if not np.isfinite(sigma).all():
        raise InputError("sigma_k has values that are not finite; give variances of the pattern estimates")
    if sigma.ndim == 2 and np.abs(sigma - sigma.T).max() > 1e-9 * np.abs(sigma).max():
        raise InputError("sigma_k is not symmetric; give the covariance of the pattern estimates")
    return sigma


def stimulus_covariance(sigma_k: Any, n: int) -> np.ndarray | None:
    """Return sigma_k as None, variances (n,), or a covariance (n, n) that is not diagonal.

    Positive definite as a whole, not only over contrasts: a resample gives copies of a stimulus
    no covariance, which no contrast of the original stimuli has.
    """
    if sigma_k is None:
        return None
    sigma = checked_covariance(sigma_k, n)
    if sigma.ndim == 2 and not np.count_nonzero(sigma - np.diag(np.diagonal(sigma))):
        sigma = np.diagonal(sigma).copy()
    lowest = float((sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)).min())
    if lowest <= 0:
        raise InputError(
            f"sigma_k is not positive definite (smallest eigenvalue {lowest:.3g}); give a covariance of full "
            "rank, for example shrunk towards its diagonal"
        )
    return sigma


def common_pairs(stack: np.ndarray) -> tuple[np.ndarray, int]:
    """The pairs (n, n) that every RDM of (k, n, n) knows, and how many pairs of stimuli are left out."""
    n = stack.shape[-1]
    mask: np.ndarray = np.isfinite(stack).all(axis=0)
    mask &= mask.T & ~np.eye(n, dtype=bool)
    return mask, n * (n - 1) // 2 - int(mask.sum()) // 2
