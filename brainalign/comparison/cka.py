"""Linear centred kernel alignment, debiased and biased, and the RV coefficient."""

from __future__ import annotations

import warnings

import numpy as np

from brainalign.comparison._centring import centred_columns, u_centred_matrix
from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import paired
from brainalign.errors import ShapeError

MIN_STIMULI = 4


def centred(x: np.ndarray) -> np.ndarray:
    """Return x (n, p) with centred columns and Frobenius norm one (all zero if x is constant)."""
    values, _, _ = centred_columns(x)
    norm = float(np.linalg.norm(values))
    return values / norm if norm > 0.0 else values


def _inner_products(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """<K, L>, <K, K>, <L, L> of the Gram matrices K = x x', L = y y', by the smaller route."""
    if max(x.shape[1], y.shape[1]) < len(x):
        xy, xx, yy = (float(np.sum((a.T @ b) ** 2)) for a, b in ((x, y), (x, x), (y, y)))
        return xy, xx, yy
    k, l_gram = x @ x.T, y @ y.T
    return float(np.vdot(k, l_gram)), float(np.vdot(k, k)), float(np.vdot(l_gram, l_gram))


def u_statistic(inner: float, k: np.ndarray, l_diagonal: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. times n (n - 3), for Gram matrices whose rows sum to zero.

    With the diagonals removed the row sums are -k and -l, so that the three terms of the
    U-statistic need only <K, L> and the two diagonals.
    """
    n = len(k)
    diagonal = float(k @ l_diagonal)
    sums = float(k.sum()) * float(l_diagonal.sum())
    return inner - diagonal + sums / ((n - 1) * (n - 2)) - 2.0 * diagonal / (n - 2)


def linear_cka_of(x: np.ndarray, y: np.ndarray, *, debiased: bool) -> float:
    """Linear CKA of paired finite arrays; NaN with a warning where a side has no variance."""
    flag("debiased", debiased)
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"CKA over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    x, y = centred(x), centred(y)
    xy, xx, yy = _inner_products(x, y)
    if debiased:
        k, l_diagonal = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        xy = u_statistic(xy, k, l_diagonal)
        xx, yy = u_statistic(xx, k, k), u_statistic(yy, l_diagonal, l_diagonal)
    # the norms of x and y are one: what is left below this is rounding
    if min(xx, yy) <= 64 * np.finfo(np.float64).eps:
        warnings.warn(no_variance("x" if xx <= yy else "y"), stacklevel=3)
        return float("nan")
    return xy / float(np.sqrt(xx) * np.sqrt(yy))


def no_variance(name: str) -> str:
    """The reason for a CKA that is NaN."""
    return f"CKA is NaN: {name} does not vary over stimuli (or all its stimuli are equally far apart)"


def u_centred(x: np.ndarray) -> np.ndarray:
    """U-centred Gram matrix of x, (n, n) with zero diagonal and norm one; all NaN without variance.

    The inner product of two of these is the debiased CKA.
    """
    values = centred(x)
    return unit_norm(u_centred_matrix(values @ values.T))


def centred_gram(x: np.ndarray) -> np.ndarray:
    """Gram matrix of x with centred columns, (n, n), norm one; inner products are the biased CKA."""
    values = centred(x)
    return unit_norm(values @ values.T)


def unit_norm(gram: np.ndarray) -> np.ndarray:
    """The matrix with norm one; all NaN where nothing but rounding is left of it."""
    norm = float(np.linalg.norm(gram))
    if norm**2 <= 64 * np.finfo(np.float64).eps:
        return np.full_like(gram, np.nan)
    return gram / norm


def linear_cka(x: object, y: object, *, debiased: bool = True) -> float:
    """Return the linear centred kernel alignment of x and y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
        Computed in float64 with centred columns. At least 4 stimuli.
    debiased : bool
        True: ratio of U-statistics; about 0 for unrelated x and y whatever p and q, may be
        negative, is not clipped. False: the biased form in [0, 1], which tends to 1 for
        unrelated data when there are more units than stimuli.

    Returns
    -------
    float, 1 for x equal to y up to rotation, scale and shift. NaN, with a warning, where
    x or y does not vary over stimuli, or (debiased) all its stimuli are equally far apart.

    Raises
    ------
    ShapeError
        Fewer than 4 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`; `debiased` is neither True nor False.

    Notes
    -----
    Invariant to rotation and permutation of units, to one factor on all units and to a
    vector added to every row; not to a general invertible map. Cost: O(n p q) time and
    O(p q) memory where p and q are below n, else O(n^2 (p + q)) and O(n^2).
    Source: Kornblith et al. 2019, arXiv:1905.00414; U-statistic of Song et al. 2012
    (JMLR 13:1393), as used by Nguyen et al. 2021, arXiv:2010.15327.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(linear_cka(x, 5.0 * x[:, ::-1] + 1.0), 6)
    1.0
    """
    first, second = paired(x, y)
    return linear_cka_of(first, second, debiased=debiased)


def rv_coefficient(x: object, y: object) -> float:
    """Return the RV coefficient of x and y, which is the biased linear CKA under its older name.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        As in `linear_cka`. At least 4 stimuli.

    Returns
    -------
    float in [0, 1]: tr(S_xy S_yx) over the root of tr(S_xx^2) tr(S_yy^2), with S the covariances.
    NaN, with a warning, where a side does not vary over stimuli.

    Raises
    ------
    ShapeError, InputError, AlignmentError
        As in `linear_cka`.

    Notes
    -----
    Biased: unrelated x and y with many more units than stimuli have values near 1. Invariances and
    cost as `linear_cka`. Source: Robert & Escoufier 1976, doi:10.2307/2347233.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> rv_coefficient(x, x**3) == linear_cka(x, x**3, debiased=False)
    True
    """
    return linear_cka(x, y, debiased=False)
