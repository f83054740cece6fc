"""One thin decomposition per representation, from which the linear measures follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainalign.comparison._centring import FloatArray as FloatArray
from brainalign.comparison._centring import centred_columns

_EPS = float(np.finfo(np.float64).eps)
# a Gram matrix squares the condition number: beyond this its eigenvectors lose digits that the SVD keeps
_SAFE_CONDITION = 1e4


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The thin singular value decomposition of centred x (n, p): x - mean = scale u diag(s) vt.

    Parameters
    ----------
    u : (n, r), orthonormal columns that each sum to zero
    s : (r,), positive, largest first, in units of `scale`
    scale : float
        The largest absolute value of centred x (1 where x does not vary), kept apart so that
        squares of `s` neither overflow nor vanish.
    n_units : p
    vt : (r, p), or None where it was not asked for

    Notes
    -----
    r is the numerical rank: singular values at or below eps max(n, p) max(s_1, largest |x|),
    with x in units of `scale`, are the rounding of the input and of its mean, and are left out.
    """

    u: FloatArray
    s: FloatArray
    scale: float
    n_units: int
    vt: FloatArray | None = None

    @property
    def n(self) -> int:
        """The number of stimuli."""
        return len(self.u)

    @property
    def rank(self) -> int:
        """The number of directions that x varies in; 0 where it is constant."""
        return len(self.s)

    @property
    def square_norm(self) -> float:
        """Squared Frobenius norm of centred x, in units of scale squared."""
        return float(self.s @ self.s)

    @property
    def row_norms(self) -> FloatArray:
        """Squared norm of each centred row, (n,), in units of scale squared: the Gram diagonal."""
        norms: FloatArray = np.square(self.u) @ np.square(self.s)
        return norms

    def leading(self, rank: int) -> Spectrum:
        """The same with the `rank` largest singular values alone."""
        vt = None if self.vt is None else self.vt[:rank]
        return replace(self, u=self.u[:, :rank], s=self.s[:rank], vt=vt)


def scaled_and_centred(x: np.ndarray) -> tuple[FloatArray, float, float]:
    """Centred x (n, p) with largest absolute value 1, that value, and the largest |x| in its units.

    As `centred_columns`; all zero, 1.0 and 0.0 where x does not vary.
    """
    values, exponent, offset = centred_columns(x)
    size = float(np.abs(values).max(initial=0.0))
    if size == 0.0:
        return values, 1.0, 0.0
    values /= size
    return values, float(np.ldexp(size, exponent)), offset / size


def spectrum_of(x: np.ndarray, *, vectors: bool = False) -> Spectrum:
    """Return the thin decomposition of x (n, p), finite and real, after centring its columns.

    Parameters
    ----------
    x : (n, p)
    vectors : keep `vt`, (r, p)

    Notes
    -----
    By the eigenvectors of the smaller of the two Gram matrices where their condition number is
    at most 1e4 (u is orthonormal to about 1e-12), else by QR and SVD of x itself. Float64.
    Cost n p min(n, p) + 9 min(n, p)^3 in time (the SVD about three times that); memory
    O(n p + min(n, p)^2).
    """
    values, scale, offset = scaled_and_centred(x)
    n, p = values.shape
    u, s = _by_gram(values) or _by_svd(values)
    keep = s > _EPS * max(n, p) * max(float(s[0]) if len(s) else 0.0, offset)
    u, s = u[:, keep], s[keep]
    vt = (u.T @ values) / s[:, None] if vectors else None
    return Spectrum(u=u, s=s, scale=scale, n_units=p, vt=vt)


def _by_gram(values: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Directions and singular values by the smaller Gram matrix; None where that would lose digits."""
    n, p = values.shape
    if n < 2:
        return np.zeros((n, 0)), np.zeros(0)
    wide = p >= n
    squares, vectors = np.linalg.eigh(values @ values.T if wide else values.T @ values)
    # the rows of the wide Gram matrix sum to zero: its smallest eigenvalue is no direction of x
    squares, vectors = squares[::-1][: min(n - 1, p)], vectors[:, ::-1][:, : min(n - 1, p)]
    if not squares[-1] * _SAFE_CONDITION >= squares[0] > 0.0:
        return None
    s = np.sqrt(squares)
    return (vectors if wide else (values @ vectors) / s), s


def _by_svd(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    n, p = values.shape
    short: Any = values
    if p > n:  # x = r' q': the singular vectors of the short side need no q
        short = np.linalg.qr(values.T, mode="r").T  # type: ignore[attr-defined]
    u, s, _ = np.linalg.svd(short, full_matrices=False)
    return u, s


def cross(x: Spectrum, y: Spectrum) -> FloatArray:
    """u_x' u_y, (r_x, r_y): cosines between the directions of the two."""
    products: FloatArray = x.u.T @ y.u
    return products


def singular_values(matrix: FloatArray) -> FloatArray:
    """Singular values, largest first; none of a matrix with an empty side."""
    if 0 in matrix.shape:
        return np.zeros(0)
    return np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)


def sum_of_singular_values(matrix: FloatArray) -> float:
    """Sum of the singular values, to 1e-10 of it.

    From the eigenvalues of the smaller Gram matrix, at a third of the cost, unless singular values
    lie so low that their squares have lost these digits.
    """
    if 0 in matrix.shape:
        return 0.0
    size = float(np.abs(matrix).max())
    if size == 0.0 or not np.isfinite(size):
        return size
    values = matrix / size
    values = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    squares = np.linalg.eigvalsh(values)
    # an error e of an eigenvalue v moves its root by e / (2 sqrt v), and by sqrt e at most
    error = 4.0 * _EPS * float(squares[-1])
    roots = np.sqrt(np.maximum(squares, 0.0))
    total = float(roots.sum())
    if float((error / (2.0 * roots + np.sqrt(error))).sum()) > 1e-10 * total:
        return float(singular_values(matrix).sum())
    return total * size


def nuclear_norm(x: Spectrum, y: Spectrum, cosines: FloatArray) -> float:
    """Nuclear norm of x'y for centred x and y, in units of the product of the scales; `cross` given."""
    return float(singular_values(x.s[:, None] * cosines * y.s).sum())
