"""Centred configurations of unit size, and the chord between two of them after the best rotation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, svd

from brainalign.comparison._centring import centred_columns
from brainalign.errors import ShapeError

MIN_STIMULI = 3
# nearer than this, the root of 2 - 2 cos has lost half of the digits and the residual is taken
_NEAR = 0.999


@dataclass(frozen=True, eq=False)
class Configuration:
    """The centred rows of one system: `points` (n, p) of Frobenius norm one, or all zero.

    The centred values are ``points * norm * 2**exponent``, so that no size overflows.
    `rounding` is the norm of what the float64 of the input leaves unknown, relative to `norm`.
    """

    points: np.ndarray
    norm: float
    exponent: int
    rounding: float

    @property
    def constant(self) -> bool:
        """Whether no unit varies over stimuli."""
        return self.norm == 0.0


def configuration(x: np.ndarray) -> Configuration:
    """Centre the columns of a finite float64 x (n, p) and bring it to Frobenius norm one.

    By `centred_columns`: a constant column becomes exactly zero whatever its value.
    """
    values, exponent, largest = centred_columns(x)
    norm = float(np.linalg.norm(values))
    if norm == 0.0:
        return Configuration(values, 0.0, 0, 0.0)
    rounding = float(np.finfo(np.float64).eps) * float(np.sqrt(x.shape).sum()) * largest / norm
    return Configuration(values / norm, norm, exponent, rounding)


def coordinates(points: np.ndarray) -> np.ndarray:
    """Return points (n, p) in a basis of min(n, p) directions: the same up to a rotation of units."""
    n, p = points.shape
    if p <= n:
        return points
    (upper,) = qr(points.T, mode="r", check_finite=False)
    reduced: np.ndarray = upper[:n].T
    return reduced


def best_rotation(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The orthonormal (p, q) matrix t that maximises <cross, t>, and the singular values of cross."""
    u, s, vt = svd(cross, full_matrices=False, check_finite=False)
    return u @ vt, s


def chord(a: np.ndarray, b: np.ndarray) -> float:
    """The least Frobenius distance of a t and b over rotations t; a (n, r), b (n, s) of norm one."""
    if a.shape[1] > b.shape[1]:
        a, b = b, a
    cross = a.T @ b
    similarity = float(svd(cross, compute_uv=False, check_finite=False).sum())
    if similarity < _NEAR:
        return float(np.sqrt(2.0 - 2.0 * similarity))
    return float(np.linalg.norm(a @ best_rotation(cross)[0] - b))


def angle_of(distance: float) -> float:
    """The angle (radians) that two points of a unit sphere at this distance subtend."""
    return 2.0 * float(np.arcsin(min(distance / 2.0, 1.0)))


def joined_size(a: Configuration, b: Configuration, distance: float) -> float:
    """The distance of a and b at their own sizes, from the one at unit size.

    |s a - t b|^2 = (s - t)^2 + s t |a - b|^2 does not lose digits where a is near b.
    """
    exponent = max(a.exponent if not a.constant else b.exponent, b.exponent if not b.constant else a.exponent)
    first, second = (float(np.ldexp(c.norm, c.exponent - exponent)) for c in (a, b))
    apart = float(np.hypot(first - second, np.sqrt(first) * np.sqrt(second) * distance))
    return float(np.ldexp(apart, exponent))


def without_variance(name: str, a: Configuration, b: Configuration, stacklevel: int = 3) -> bool:
    """Warn, and return True, where a side does not vary over stimuli."""
    for side, found in (("x", a), ("y", b)):
        if found.constant:
            warnings.warn(f"{name} is NaN: {side} does not vary over stimuli", stacklevel=stacklevel + 1)
            return True
    return False


def enough_stimuli(name: str, n: int, minimum: int = MIN_STIMULI) -> None:
    """Refuse fewer stimuli than the measure needs."""
    if n < minimum:
        raise ShapeError(f"{name} over {n} stimuli; it needs at least {minimum}")


def column_means(x: np.ndarray) -> np.ndarray:
    """The mean of each column without the overflow of its sum, exact for constant columns."""
    out: np.ndarray = x[0] + (x / len(x) - x[0] / len(x)).sum(axis=0)
    return out
