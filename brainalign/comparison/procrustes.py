"""Distances of two systems after the best rotation of units, and that rotation for other stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import finite_matrix, paired
from brainalign.comparison._procrustes_forms import (
    angle_of,
    best_rotation,
    chord,
    column_means,
    configuration,
    coordinates,
    enough_stimuli,
    joined_size,
    without_variance,
)
from brainalign.errors import InputError, ShapeError


def procrustes_distance(x: Any, y: Any, *, scale_free: bool = True) -> float:
    """Return the Euclidean distance of x and y after the best rotation (or reflection) of units.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Columns are centred. Any floating or integer dtype, computed in float64.
    scale_free : bool
        True: both are brought to Frobenius norm one, ``d = sqrt(2 - 2 |x'y|_*)`` in
        [0, sqrt 2], with |.|_* the sum of singular values. False: they keep their size,
        ``d = sqrt(|x|^2 + |y|^2 - 2 |x'y|_*)``, in the unit of the responses; it grows with
        the root of the number of stimuli.

    Returns
    -------
    float, **not** squared; 0 for x equal to y up to rotation, shift and (scale_free) scale. NaN,
    with a warning, where scale_free and a side does not vary over stimuli.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    A metric between centred configurations up to rotation (and scale). Unequal widths need no
    care: units of zeros added to the narrower side change no singular value. Invariant to
    rotation, reflection, permutation and shift of each side; to scale only with `scale_free`;
    not to a general invertible map. Unrelated x and y with more units than stimuli come out
    near. There is no further minimum over a scale factor (that would be the sine of the angle).
    Cost: O(n p q + min(p, n)^2 max(q, n)) time, O(n (p + q) + p q) memory (p, q at most n).
    Source: Williams et al. 2021, arXiv:2110.14739; Schoenemann 1966, doi:10.1007/BF02289451.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(procrustes_distance(x, -2.0 * x[:, ::-1] + 1.0), 6)
    0.0
    >>> round(procrustes_distance([[0.0], [3.0], [6.0]], [[0.0], [1.0], [2.0]], scale_free=False) ** 2, 6)
    8.0
    """
    flag("scale_free", scale_free)
    first, second = paired(x, y)
    enough_stimuli("the Procrustes distance", len(first))
    a, b = configuration(first), configuration(second)
    if scale_free and without_variance("the Procrustes distance", a, b):
        return float("nan")
    apart = chord(coordinates(a.points), coordinates(b.points)) if not (a.constant or b.constant) else 0.0
    return apart if scale_free else joined_size(a, b, apart)


def angular_procrustes_distance(x: Any, y: Any) -> float:
    """Return the angle between x and y after the best rotation of units, in radians.

    Parameters
    ----------
    x, y : as in `procrustes_distance`

    Returns
    -------
    float in [0, pi / 2]: ``arccos(|x'y|_*)`` of the centred arrays of Frobenius norm one. NaN,
    with a warning, where a side does not vary over stimuli.

    Raises
    ------
    ShapeError, InputError, AlignmentError
        As in `procrustes_distance`.

    Notes
    -----
    A metric (geodesic on the sphere of configurations up to rotation); ``2 arcsin(d / 2)`` of
    the scale-free Euclidean distance d, which keeps the digits of small angles. Its cosine is the
    normalised Bures similarity of the two Gram matrices (Harvey et al. 2023, arXiv:2311.11436).
    Invariances, bias, cost and source: `procrustes_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.eye(4)[:, :2]
    >>> round(angular_procrustes_distance(x, 3.0 * x), 6)
    0.0
    """
    first, second = paired(x, y)
    enough_stimuli("the angular Procrustes distance", len(first))
    a, b = configuration(first), configuration(second)
    if without_variance("the angular Procrustes distance", a, b):
        return float("nan")
    return angle_of(chord(coordinates(a.points), coordinates(b.points)))


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map of the units of x onto those of y: centre, rotate or permute, scale, shift.

    Parameters
    ----------
    rotation : array (p, q)
        Orthogonal for equal widths. Else its shorter side is orthonormal: a wider x is
        projected, a narrower one embedded. A (partial) permutation from `align_permutation`.
    x_mean, y_mean : arrays (p,), (q,), means over the stimuli of the fit
    scale : float, the factor on x (1 unless asked for)
    similarity : float
        Inner product of x and y after the map, over the product of their norms: the cosine
        of the angular distance on the stimuli of the fit.
    """

    rotation: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    scale: float
    similarity: float

    def transform(self, x: Any) -> np.ndarray:
        """Return the responses x (n, p) of any stimuli in the units of y, (n, q)."""
        values = finite_matrix("x", x)
        if values.shape[1] != len(self.x_mean):
            raise ShapeError(
                f"x has {values.shape[1]} units; the alignment was fitted to {len(self.x_mean)}: give the "
                "same units in the same order"
            )
        out: np.ndarray = (values - self.x_mean) @ self.rotation * self.scale + self.y_mean
        return out


def align_procrustes(x: Any, y: Any, *, scaling: bool = False) -> Alignment:
    """Return the rotation (or reflection) of the units of x that brings it nearest to y.

    Parameters
    ----------
    x, y : as in `procrustes_distance`
    scaling : fit one factor on x as well, for the least squared error

    Returns
    -------
    Alignment, whose `transform` brings held-out stimuli of x into the units of y

    Raises
    ------
    InputError
        A side that does not vary over stimuli; values that are not finite.
    ShapeError, AlignmentError
        As in `procrustes_distance`.

    Notes
    -----
    With more units than stimuli, directions that no stimulus of the fit reaches are paired
    without evidence. Cost: O(n p q + p q min(p, q)) time, O(p q) memory.
    Source: Schoenemann 1966, doi:10.1007/BF02289451.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> x = rng.normal(size=(20, 3))
    >>> found = align_procrustes(x[:10], x[:10] @ rotation + 1.0)
    >>> bool(np.allclose(found.transform(x[10:]), x[10:] @ rotation + 1.0))
    True
    """
    flag("scaling", scaling)
    first, second = paired(x, y)
    enough_stimuli("a Procrustes alignment", len(first))
    a, b = configuration(first), configuration(second)
    for side, found in (("x", a), ("y", b)):
        if found.constant:
            raise InputError(f"{side} does not vary over stimuli; no rotation follows from it")
    rotation, singular = best_rotation(a.points.T @ b.points)
    similarity = float(singular.sum())
    # with a wider x the projected norm is below one, and the least-squares factor above the cosine
    kept = float(np.linalg.norm(a.points @ rotation)) if rotation.shape[0] > rotation.shape[1] else 1.0
    ratio = float(np.ldexp(b.norm / a.norm, b.exponent - a.exponent)) * similarity / kept**2
    return Alignment(
        rotation, column_means(first), column_means(second), ratio if scaling else 1.0, similarity
    )
