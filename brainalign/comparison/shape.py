"""The alpha family of shape distances: between rotation (alpha 1) and CCA (alpha 0)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import svd

from brainalign.comparison._centring import exponent_of
from brainalign.comparison._option_checks import flag, is_real
from brainalign.comparison._pairing import paired
from brainalign.comparison._procrustes_forms import (
    Configuration,
    angle_of,
    best_rotation,
    chord,
    column_means,
    configuration,
    coordinates,
    enough_stimuli,
    without_variance,
)
from brainalign.errors import InputError, ShapeError


def shape_distance(x: Any, y: Any, *, alpha: float = 1.0, scale_free: bool = False) -> float:
    """Return the angle (radians) between x and y, partially whitened, after the best rotation.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Columns are centred.
    alpha : float in [0, 1]
        The centred x becomes ``x (alpha I + (1 - alpha) C^-1/2)`` with C = x'x. 1: no whitening,
        the angular Procrustes distance. 0: full whitening, the arc cosine of the mean
        canonical correlation where both sides have equal rank (else of the sum of the
        canonical correlations over the root of the product of the ranks).
    scale_free : bool
        True: C is divided by its mean eigenvalue (over the directions in which x varies) and
        x by the root of it, so that the distance follows neither the scale of x nor n. It
        differs from False only for alpha between 0 and 1.

    Returns
    -------
    float in [0, pi / 2]; 0 for x equal to y up to the invariances. NaN, with a warning, where a
    side does not vary over stimuli.

    Raises
    ------
    InputError
        alpha outside [0, 1]; values that are not finite.
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    AlignmentError
        As in `compare`.

    Notes
    -----
    A metric for each alpha. Invariant to rotation, permutation and shift; to scale at alpha 0
    and 1, and at all alpha with `scale_free`; to any invertible map at alpha 0 only. **With alpha
    between 0 and 1 and scale_free=False the value changes with the scale of x and with n**, for
    the sum x'x grows with both while I does not: values of different n or units of
    measurement cannot be set side by side. At alpha below 1 with more units than stimuli
    nearly all of x is noise of unit variance; at alpha 0 any two such systems are alike.
    Whitening only moves the singular values s of x to ``alpha s + (1 - alpha)``, so that no
    C^-1/2 is formed; directions without variance stay without. That the published code also
    restores the variance afterwards changes no angle. Cost: O(n p min(n, p)) time for
    alpha < 1, else as `procrustes_distance`. Source: Williams et al. 2021, arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 3))
    >>> mixed = x @ rng.normal(size=(3, 3))
    >>> shape_distance(x, mixed, alpha=0.0) < 1e-6 < shape_distance(x, mixed, alpha=1.0)
    True
    """
    check_alpha(alpha, 1.0)
    flag("scale_free", scale_free)
    first, second = paired(x, y)
    enough_stimuli("the shape distance", len(first))
    a, b = configuration(first), configuration(second)
    if without_variance("the shape distance", a, b):
        return float("nan")
    points = [whitened_coordinates(c, alpha, scale_free=scale_free) for c in (a, b)]
    return angle_of(chord(*points))


def scale_free_shape_distance(x: Any, y: Any, *, alpha: float = 0.5) -> float:
    """Return `shape_distance` with ``scale_free=True``: at every alpha free of scale and of n.

    Parameters
    ----------
    x, y, alpha : as in `shape_distance`

    Returns
    -------
    float in [0, pi / 2], as `shape_distance`

    Raises
    ------
    InputError, ShapeError, AlignmentError
        As in `shape_distance`.

    Notes
    -----
    A departure from Williams et al. 2021 (arXiv:2110.14739), whose C is not normalised: here
    alpha has one meaning for all scales. Two repetitions of the same stimuli give the
    distance of one.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.random.default_rng(0).normal(size=(2, 20, 3))
    >>> bool(np.isclose(scale_free_shape_distance(x, y), scale_free_shape_distance(9.0 * x, y)))
    True
    """
    return shape_distance(x, y, alpha=alpha, scale_free=True)


def shape_held_out(
    x_train: Any, y_train: Any, x_test: Any, y_test: Any, *, alpha: float = 1.0, scale_free: bool = False
) -> float:
    """Return the shape distance on test stimuli, with means, whitening and rotation of others.

    Parameters
    ----------
    x_train, y_train : arrays (n_train, p) and (n_train, q), or Responses
    x_test, y_test : arrays (n_test, p) and (n_test, q), or Responses
        Centred on the means of the training stimuli.
    alpha, scale_free : as in `shape_distance`

    Returns
    -------
    float in [0, pi], radians: the angle between the two test configurations after the map. pi / 2
    where nothing is shared; above it where the training misleads. NaN, with a warning, where
    a side has no variance in training, or equals the training mean on all test rows.

    Raises
    ------
    InputError
        alpha outside [0, 1]; values that are not finite.
    ShapeError
        Training and test rows with different units; fewer than 3 training stimuli.
    AlignmentError
        As in `compare`.

    Notes
    -----
    Not a metric. Not biased towards "near" by many units, as `shape_distance` is, but pessimistic
    where there are few training stimuli. What the test stimuli show in directions that no training
    stimulus reaches counts for the size of a side and pairs with nothing. Cost: O((n_train +
    n_test) p q + p q min(p, q)) time, and for alpha < 1 a thin decomposition of each side.
    Source: Williams et al. 2021, arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> y = x @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> round(shape_held_out(x[:20], y[:20], x[20:], y[20:]), 6)
    0.0
    """
    check_alpha(alpha, 1.0)
    flag("scale_free", scale_free)
    trained, tested = paired(x_train, y_train), paired(x_test, y_test)
    enough_stimuli("the fit of a shape distance", len(trained[0]))
    for side, train, test in zip(("x", "y"), trained, tested, strict=True):
        if train.shape[1] != test.shape[1]:
            raise ShapeError(
                f"{side}_train has {train.shape[1]} units and {side}_test has {test.shape[1]}; "
                "expected the same"
            )
    a, b = (configuration(v) for v in trained)
    if without_variance("the held-out shape distance", a, b):
        return float("nan")
    maps = [whitening(found, alpha, scale_free=scale_free) for found in (a, b)]
    parts = [
        _held_out_part(fitted, column_means(train), test)
        for fitted, train, test in zip(maps, trained, tested, strict=True)
    ]
    for side, part in zip(("x", "y"), parts, strict=True):
        if part is None:
            warnings.warn(
                f"the held-out shape distance is NaN: {side}_test equals the training mean on all rows",
                stacklevel=2,
            )
            return float("nan")
    found_parts = [part for part in parts if part is not None]
    order = (0, 1) if maps[0].points.shape[1] <= maps[1].points.shape[1] else (1, 0)
    near, far = (maps[i] for i in order)
    (seen, unseen), (other, other_unseen) = (found_parts[i] for i in order)
    rotation, _ = best_rotation(near.points.T @ far.points)
    return angle_of(float(np.hypot(np.linalg.norm(seen @ rotation - other), np.hypot(unseen, other_unseen))))


@dataclass(frozen=True, eq=False)
class Whitening:
    """The partial whitening of one system, up to one factor.

    `points` (n, r): the whitened coordinates, Frobenius norm one; `directions` (p, r): unit
    vectors of the units that they stand for; `gains` (r,): what a projection on them is
    multiplied by; `rest`: what is multiplied with all directions in which the fit saw nothing.
    """

    points: np.ndarray
    directions: np.ndarray
    gains: np.ndarray
    rest: float


def check_alpha(alpha: float, highest: float) -> None:
    """Refuse an alpha outside [0, highest]."""
    if not is_real(alpha) or not 0.0 <= alpha <= highest:
        raise InputError(f"alpha={alpha!r}; expected a number from 0 to {highest:g}")


def whitening(found: Configuration, alpha: float, *, scale_free: bool) -> Whitening:
    """Decompose a configuration that varies and move its singular values towards one."""
    u, s, vt = svd(found.points, full_matrices=False, check_finite=False)
    tolerance = max(found.points.shape) * float(np.finfo(np.float64).eps) * s[0] + found.rounding
    rank = max(int((s > tolerance).sum()), 1)
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    on_s, on_one = _mixture(found, alpha, rank, scale_free)
    moved = on_s * s + on_one
    size = float(np.linalg.norm(moved))
    return Whitening(u * (moved / size), vt.T, moved / size / s, on_s / size)


def whitened_coordinates(found: Configuration, alpha: float, *, scale_free: bool = False) -> np.ndarray:
    """Coordinates (n, r) of the partially whitened configuration, Frobenius norm one."""
    if alpha == 1.0:
        return coordinates(found.points)
    return whitening(found, alpha, scale_free=scale_free).points


def _mixture(found: Configuration, alpha: float, rank: int, scale_free: bool) -> tuple[float, float]:
    """Weights of a relative singular value and of one, up to a factor that keeps both finite."""
    if scale_free:
        # the singular values have norm one: their mean square over the rank is 1 / rank
        return alpha * float(np.sqrt(rank)), 1.0 - alpha
    if found.exponent > 0:
        return alpha * found.norm, float(np.ldexp(1.0 - alpha, -found.exponent))
    return alpha * float(np.ldexp(found.norm, found.exponent)), 1.0 - alpha


def _held_out_part(fitted: Whitening, mean: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Test rows in the whitened coordinates and the norm of the rest, of joint norm one; None if zero."""
    values = test - mean
    values = np.ldexp(values, -exponent_of(values))
    seen = values @ fitted.directions
    rest = values - seen @ fitted.directions.T
    seen = seen * fitted.gains
    unseen = float(np.linalg.norm(rest)) * fitted.rest
    size = float(np.hypot(np.linalg.norm(seen), unseen))
    if size == 0.0:
        return None
    return seen / size, unseen / size
