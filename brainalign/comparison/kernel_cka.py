"""Centred kernel alignment with a Gaussian kernel of named bandwidth, debiased and biased."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.comparison._centring import double_centred, u_centred_matrix
from brainalign.comparison._option_checks import flag, is_real
from brainalign.comparison._pairing import paired
from brainalign.comparison._spectra import FloatArray, scaled_and_centred
from brainalign.comparison.cka import MIN_STIMULI
from brainalign.errors import InputError, ShapeError

_EPS = float(np.finfo(np.float64).eps)
# below this share of the squared lengths a difference of products has lost more than 10 of 16 digits
_NEAR = 1e-6
_PAIRS = 2**22


def squared_distances(x: np.ndarray) -> FloatArray:
    """Squared Euclidean distances of the rows of x, (n, n), where the largest |x - mean| is one.

    By the Gram matrix, but for pairs that lie near each other and far from the mean: these are
    taken from their differences, which keep the digits that a difference of products loses.
    """
    values = scaled_and_centred(x)[0]
    gram = values @ values.T
    norms = np.diag(gram).copy()
    sums = norms[:, None] + norms[None, :]
    squares: FloatArray = sums - 2.0 * gram
    first, second = np.nonzero(np.triu(squares <= _NEAR * sums, 1))
    step = max(1, _PAIRS // x.shape[1])
    for start in range(0, len(first), step):
        a, b = first[start : start + step], second[start : start + step]
        squares[a, b] = np.square(values[a] - values[b]).sum(axis=1)
    upper = np.triu(squares, 1)
    return upper + upper.T


def unit_norm(matrix: FloatArray, largest: float) -> FloatArray:
    """The matrix with Frobenius norm one; all NaN where it is the rounding of entries up to `largest`."""
    norm = float(np.linalg.norm(matrix))
    if norm <= 64.0 * _EPS * len(matrix) * largest:
        return np.full_like(matrix, np.nan)
    return matrix / norm


def rbf_gram(x: np.ndarray, *, fraction: float = 1.0, debiased: bool = True) -> FloatArray:
    """Centred Gaussian Gram matrix of x, (n, n), norm one; all NaN without variance or bandwidth.

    The inner product of two of these is the CKA: U-centred for the debiased form, doubly
    centred for the biased one.
    """
    if not is_real(fraction) or fraction <= 0:
        raise InputError(f"fraction={fraction!r}; expected a positive multiple of the median distance")
    flag("debiased", debiased)
    squares = squared_distances(x)
    median = float(np.median(np.sqrt(squares[np.triu_indices(len(x), 1)])))
    if median == 0.0:
        return np.full_like(squares, np.nan)
    # centring takes a constant off: without the one of the kernel, a wide one keeps its digits; a
    # bandwidth that underflows in the square would divide by zero
    kernel = np.expm1(-0.5 * np.square(np.sqrt(squares) / median / fraction))
    centred = u_centred_matrix(kernel) if debiased else double_centred(kernel)
    return unit_norm(centred, float(np.abs(kernel).max()))


def rbf_cka_of(x: np.ndarray, y: np.ndarray, *, fraction: float = 1.0, debiased: bool = True) -> float:
    """RBF CKA of paired finite arrays; NaN with a warning where a side has no kernel."""
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"RBF CKA over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    first = rbf_gram(x, fraction=fraction, debiased=debiased)
    second = rbf_gram(y, fraction=fraction, debiased=debiased)
    for name, gram in (("x", first), ("y", second)):
        if np.isnan(gram[0, 0]):
            warnings.warn(no_kernel(name), stacklevel=3)
            return float("nan")
    value = float(np.vdot(first, second))
    return min(max(value, -1.0 if debiased else 0.0), 1.0)


def no_kernel(name: str) -> str:
    """The reason for an RBF CKA that is NaN."""
    return (
        f"RBF CKA is NaN: {name} does not vary over stimuli, its median distance is zero (half of all pairs "
        "are equal), or all its stimuli are equally far apart"
    )


def rbf_cka(x: Any, y: Any, *, fraction: float = 1.0, debiased: bool = True) -> float:
    """Return the centred kernel alignment of x and y with Gaussian kernels.

    The kernel is exp(-d^2 / (2 sigma^2)), where d is the Euclidean distance of two stimuli and
    sigma = `fraction` x the median of d over all pairs of different stimuli, of each side on its
    own. A small fraction compares the near neighbours of each stimulus; a large one tends to the
    linear CKA.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged). At least
        4 stimuli.
    fraction : float, positive
        Default 1, the median heuristic. Kornblith et al. report 0.8 among others.
    debiased : bool
        True: U-centred kernels; about 0 for unrelated x and y, may be negative, not clipped.
        False: doubly centred kernels, in [0, 1]; far above 0 for unrelated x and y with more
        units than stimuli.

    Returns
    -------
    float, 1 for equal systems. NaN, with a warning, where a side does not vary, the median
    distance is zero, or (debiased) all stimuli are equally far apart.

    Raises
    ------
    ShapeError
        Fewer than 4 stimuli, different numbers of rows.
    InputError
        `fraction` is not positive, `debiased` neither True nor False; values that are not finite.
    AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be rotated, its units permuted, scaled by one factor (the bandwidth follows) and
    shifted by a vector; no other linear map. Cost O(n^2 (p + q)) time, O(n^2) memory. Source:
    Kornblith et al. 2019, arXiv:1905.00414; U-statistic of Song et al. 2012 (JMLR 13:1393).
    Departure: debiased unless the biased form is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(rbf_cka(x, 5.0 * x[:, ::-1] + 1.0, fraction=0.8), 6)
    1.0
    """
    first, second = paired(x, y)
    return rbf_cka_of(first, second, fraction=fraction, debiased=debiased)
