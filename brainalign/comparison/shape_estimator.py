"""Estimates of the Procrustes distance of populations of stimuli, nearly unbiased for few stimuli."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import helmert

from brainalign._checks import one_of
from brainalign.comparison._option_checks import seed, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._procrustes_forms import (
    Configuration,
    configuration,
    coordinates,
    enough_stimuli,
    without_variance,
)
from brainalign.errors import InputError

_METHODS = ("moments", "jackknife")
_GROUPS = 10


@dataclass(frozen=True)
class ShapeEstimate:
    """What is estimated of the population that the stimuli were drawn from.

    Parameters
    ----------
    similarity : float
        ``|S_xy|_* / sqrt(tr S_xx tr S_yy)``, the cosine of the angular Procrustes distance. As the
        estimate is not clipped, it may lie below 0 or above 1.
    angle : float, radians: the arc cosine of `similarity`, clipped to [0, 1]
    squared_distance : float
        ``tr S_xx + tr S_yy - 2 |S_xy|_*``, squared Euclidean at the sizes of x and y, per stimulus.
        May be negative.
    plug_in : float
        The similarity of the sample itself, which is too high.
    """

    similarity: float
    angle: float
    squared_distance: float
    plug_in: float


def estimate_shape_similarity(
    x: Any,
    y: Any,
    *,
    method: str = "moments",
    degree: int = 3,
    n_rotations: int = 10,
    random_state: int | None = 0,
) -> ShapeEstimate:
    """Return the Procrustes similarity of the populations of which x and y hold a few stimuli.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        The stimuli are independent draws.
    method : ``"moments"`` or ``"jackknife"``
        Moments: for fewer stimuli than units, or dimensions of much the same number. Jackknife: for
        clearly more stimuli than dimensions, where the sample is biased by a term in 1 / n.
    degree : int, of the polynomial of the moments; ``2 * degree`` at most n - 1
        A higher one follows the root better and has more variance.
    n_rotations : int, random orderings of the stimuli that are averaged (moments)
    random_state : int, seed of these, or of the groups of the jackknife

    Returns
    -------
    ShapeEstimate. All NaN, with a warning, where a side does not vary over stimuli.

    Raises
    ------
    InputError
        No such method; degree or n_rotations out of range; values that are not finite.
    ShapeError
        Too few stimuli (3, for the jackknife 20); different numbers of rows.
    AlignmentError
        As in `compare`.

    Notes
    -----
    The sum of the singular values of a sample's cross-covariance is far too large where the units
    are many: unrelated systems look alike. *Moments*: the traces of the powers of ``S_xy S_yx`` are
    estimated without bias from products over distinct stimuli in rising order (products of
    triangular Gram matrices), and the sum of the roots is a polynomial of them without constant
    term. What remains is the error of that polynomial, of either sign: at degree 3 at most 0.085 of
    the largest singular value for each one that is not zero, 0.018 on average. Many small
    singular values are therefore missed. *Jackknife*: ``g t - (g - 1) mean(t without a group)``
    over 10 groups of stimuli, which takes out the term in 1 / n and leaves the others; of no use with
    more units than stimuli. Both estimate for these units, without their measurement noise being
    taken out: average many repeats first.
    Cost: moments O(n^2 (p + q) + n_rotations n^3 degree) time, O(n^2) memory; jackknife ten
    Procrustes distances. Source: Pospisil, Larsen, Harvey & Williams 2023, arXiv:2310.05742;
    moments as in Kong & Valiant 2017, arXiv:1602.00061. Departures: the polynomial is the
    least-squares one over [0, the sample's largest singular value], where the authors weigh its
    bias against its variance; the mean is taken out by random orthonormal contrasts of the
    stimuli, which leaves the moments unbiased for Gaussian responses and else up to a term in
    1 / n; no confidence interval.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.random.default_rng(0).normal(size=(2, 30, 200))
    >>> found = estimate_shape_similarity(x, y)
    >>> found.plug_in > 0.8, abs(found.similarity) < 0.2
    (True, True)
    """
    one_of("method", method, _METHODS)
    for name, value in (("degree", degree), ("n_rotations", n_rotations)):
        whole_number(name, value, low=0)
    if random_state is not None:
        seed(random_state)
    first, second = paired(x, y)
    n = len(first)
    enough_stimuli(f"the estimate by {method}", n, 2 * _GROUPS if method == "jackknife" else 3)
    if n_rotations < 1 or not 1 <= degree <= (n - 1) // 2:
        raise InputError(
            f"degree={degree}, n_rotations={n_rotations}; expected a degree from 1 to {(n - 1) // 2} for {n} "
            "stimuli and at least one rotation"
        )
    a, b = configuration(first), configuration(second)
    if without_variance("the estimate of the shape similarity", a, b):
        return ShapeEstimate(*(4 * [float("nan")]))
    points = coordinates(a.points), coordinates(b.points)
    singular = np.linalg.svd(points[0].T @ points[1], compute_uv=False)
    generator = np.random.default_rng(random_state)
    if method == "moments":
        relative = _moments(*points, float(singular[0]), degree, n_rotations, generator)
        similarity = float(singular[0]) * float(_root_polynomial(degree) @ relative)
    else:
        similarity = _jackknife(*points, float(singular.sum()), generator)
    return ShapeEstimate(
        similarity,
        float(np.arccos(np.clip(similarity, 0.0, 1.0))),
        _squared_distance(a, b, similarity),
        float(singular.sum()),
    )


def _squared_distance(a: Configuration, b: Configuration, similarity: float) -> float:
    exponent = max(a.exponent, b.exponent)
    first, second = (float(np.ldexp(c.norm, c.exponent - exponent)) for c in (a, b))
    squared = first**2 + second**2 - 2.0 * first * second * similarity
    with warnings.catch_warnings():
        # a square beyond the range of float64 is infinite
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.ldexp(squared / (len(a.points) - 1), 2 * exponent))


def _root_polynomial(degree: int) -> np.ndarray:
    """Coefficients c of s = sum of c_k s^(2 k), k from 1, nearest in squares over s in [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(4 * degree + 8)
    s, weights = (nodes + 1.0) / 2.0, np.sqrt(weights / 2.0)
    powers = s[:, None] ** (2 * np.arange(1, degree + 1))
    out: np.ndarray = np.linalg.lstsq(powers * weights[:, None], s * weights, rcond=None)[0]
    return out


def _moments(
    a: np.ndarray, b: np.ndarray, unit: float, degree: int, n_rotations: int, generator: np.random.Generator
) -> np.ndarray:
    """Estimates (degree,) of the traces of (S_xy S_yx)^k over unit^(2 k), without bias.

    A cycle through x and y by turns over 2 k stimuli in rising order is a product of strictly
    upper triangular Gram matrices, closed by one entry; there are n over 2 k of them.
    """
    contrasts = helmert(len(a)) * np.sqrt((len(a) - 1) / unit)
    x, y = contrasts @ a, contrasts @ b
    gram_x, gram_y = x @ x.T, y @ y.T
    n = len(x)
    out = np.zeros(degree)
    for _ in range(n_rotations):
        turn, _ = np.linalg.qr(generator.normal(size=(n, n)))
        closing, other = turn @ gram_x @ turn.T, turn @ gram_y @ turn.T
        through_x, through_y = np.triu(closing, 1), np.triu(other, 1)
        path = through_y / math.comb(n, 2)
        for k in range(1, degree + 1):
            out[k - 1] += float(np.vdot(path, closing))
            if k < degree:
                path = path @ through_x @ through_y * (math.comb(n, 2 * k) / math.comb(n, 2 * k + 2))
    return out / n_rotations


def _jackknife(a: np.ndarray, b: np.ndarray, whole: float, generator: np.random.Generator) -> float:
    """The similarity less the part of its bias that goes as one over the number of stimuli."""
    groups = np.array_split(generator.permutation(len(a)), _GROUPS)
    values = []
    for group in groups:
        x, y = (configuration(np.delete(v, group, axis=0)) for v in (a, b))
        if x.constant or y.constant:
            raise InputError("a side varies over so few stimuli that a group of the jackknife leaves none")
        values.append(float(np.linalg.svd(x.points.T @ y.points, compute_uv=False).sum()))
    return _GROUPS * whole - (_GROUPS - 1) * float(np.mean(values))
