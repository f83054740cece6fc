"""Distances of systems that respond with noise: means and covariances aligned by one rotation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import helmert

from brainalign.comparison._centring import exponent_of
from brainalign.comparison._procrustes_forms import best_rotation
from brainalign.comparison._shape_trials import (
    at_common_scale,
    check_search,
    common_width,
    finite_stack,
    in_own_span,
    paired_trials,
    random_rotations,
    stimulus_blocks,
    warn_far_from_zero,
)
from brainalign.comparison.shape import check_alpha
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

_STEP = 1e-15
_UNSETTLED = 1e-8
_SCOUTED = 50
_KEPT = 3


def stochastic_shape_distance(
    x: Any,
    y: Any,
    *,
    alpha: float = 1.0,
    restarts: int = 5,
    max_iter: int = 1000,
    random_state: int | None = 0,
) -> float:
    """Return the Gaussian stochastic shape distance of two systems from repeated trials.

    Parameters
    ----------
    x, y : arrays (n_stimuli, n_repeats, p) and (n_stimuli, m_repeats, q)
        At least 2 repeats of each stimulus; the numbers of repeats and of units may differ.
        Means are not centred. Covariances are divided by the number of repeats less one.
    alpha : float in [0, 2]
        2: means alone. 1: the 2-Wasserstein distance of Gaussians. 0: covariances alone.
    restarts : int
        Random rotations to start from besides the alignment of the means, each also in reverse, so
        that d(x, y) and d(y, x) end alike. The three starts that are best after 50 steps go on.
    max_iter : int, most steps from each start
    random_state : int, seed of the random rotations

    Returns
    -------
    float, not negative, in the unit of the responses: ``d^2 = min over rotations T of the mean over stimuli
    of alpha |m - T'k|^2 + (2 - alpha) B^2(S, T'LT)``, B the Bures distance of covariances. The
    least value over all starts.

    Raises
    ------
    ShapeError
        Not three axes, different numbers of stimuli, fewer than 2 repeats.
    InputError
        alpha outside [0, 2]; ``restarts``, ``max_iter`` or ``random_state`` out of range; values that
        are not finite or masked.

    Warns
    -----
    UserWarning
        `max_iter` ended the best search before it had settled: the value is an upper bound. A side
        lies more than 3e5 times as far from zero as it spreads: the value is too large.

    Notes
    -----
    A metric between the fitted Gaussians, as far as the search finds the least value: it descends from
    each start and may end in a local minimum, so that the value is an upper bound. Invariant to
    rotation and permutation of units; not to scale, nor to shift (give centred trials to
    take it out). Covariances of few repeats make distances too large; unequal widths are filled
    with zeros, which changes nothing. Cost per step: O(n (k^2 p + k p^2 + k^3) + p^3) time with
    k = min(n_repeats - 1, p); memory O(n k p). Source: Duong et al. 2023, arXiv:2211.11665.
    The published code weights the fit by alpha and 2 - alpha *before* squaring, and so descends another
    function than it reports unless alpha is 1; here both use the roots.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(10, 20, 3))
    >>> rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> stochastic_shape_distance(x, x @ rotation) < 1e-6
    True
    """
    check_alpha(alpha, 2.0)
    check_search(restarts, max_iter, random_state)
    (a, b), exponent = at_common_scale(*paired_trials(x, y))
    if alpha > 0.0:
        warn_far_from_zero(a, b)
    width = common_width(a, b)
    first, second = (_gaussian_of(in_own_span(t, width)) for t in (a, b))
    distance = _least_distance(first, second, alpha, _Search(restarts, max_iter, random_state))
    return float(np.ldexp(distance, exponent))


def gaussian_shape_distance(
    means_x: Any,
    covs_x: Any,
    means_y: Any,
    covs_y: Any,
    *,
    alpha: float = 1.0,
    restarts: int = 5,
    max_iter: int = 1000,
    random_state: int | None = 0,
) -> float:
    """Return the Gaussian stochastic shape distance from given means and covariances.

    Parameters
    ----------
    means_x, means_y : arrays (n_stimuli, p) and (n_stimuli, q), not centred
    covs_x, covs_y : arrays (n_stimuli, p, p) and (n_stimuli, q, q)
        Symmetric, without negative eigenvalues.
    alpha, restarts, max_iter, random_state : as in `stochastic_shape_distance`

    Returns
    -------
    float, as `stochastic_shape_distance`

    Raises
    ------
    ShapeError
        Shapes that do not agree.
    InputError
        A covariance that is not symmetric or has a negative eigenvalue; alpha outside [0, 2];
        values that are not finite.

    Notes
    -----
    Cost: O(n p^3) for the roots of the covariances, then O(n p^3) per step; O(n p^2) memory.
    Source, invariances and departure: `stochastic_shape_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> means, covs = np.zeros((2, 3)), np.stack([np.eye(3)] * 2)
    >>> round(gaussian_shape_distance(means, covs, means, 4.0 * covs), 6)
    1.732051
    """
    check_alpha(alpha, 2.0)
    check_search(restarts, max_iter, random_state)
    sides = [_given("x", means_x, covs_x), _given("y", means_y, covs_y)]
    if len(sides[0].means) != len(sides[1].means):
        raise ShapeError(
            f"means_x has {len(sides[0].means)} stimuli and means_y has {len(sides[1].means)}; they are "
            "joined by position"
        )
    arrays, exponent = at_common_scale(*(v for g in sides for v in (g.means, g.factors)))
    width = max(g.means.shape[1] for g in sides)
    arrays = [in_own_span(v, width) for v in arrays]
    distance = _least_distance(
        _Gaussian(*arrays[:2]), _Gaussian(*arrays[2:]), alpha, _Search(restarts, max_iter, random_state)
    )
    return float(np.ldexp(distance, exponent))


@dataclass(frozen=True, eq=False)
class _Gaussian:
    """Means (n, p) and factors (n, k, p) whose products f'f are the covariances."""

    means: np.ndarray
    factors: np.ndarray


@dataclass(frozen=True)
class _Search:
    restarts: int
    max_iter: int
    random_state: int | None


def _gaussian_of(trials: np.ndarray) -> _Gaussian:
    """Means and factors of trials (n, r, p): contrasts of the repeats, at most p rows."""
    _, r, p = trials.shape
    factors = np.matmul(helmert(r), trials) / np.sqrt(r - 1.0)
    if r - 1 > p:
        factors = np.linalg.qr(factors, mode="r")
    return _Gaussian(trials.mean(axis=1), factors)


def _given_means(side: str, means: Any) -> np.ndarray:
    array = plain_array(f"means_{side}", means)
    if array.ndim != 2:
        raise ShapeError(f"means_{side} has shape {array.shape}; expected (n_stimuli, p)")
    return finite_stack(f"means_{side}", array[:, None], "(n_stimuli, p)")[:, 0]


def _given(side: str, means: Any, covs: Any) -> _Gaussian:
    """Check one side's means and covariances and take the roots of the latter."""
    stack = finite_stack(f"covs_{side}", covs, "(n_stimuli, p, p)")
    centre = _given_means(side, means)
    n, p = centre.shape
    if stack.shape != (n, p, p):
        raise ShapeError(
            f"covs_{side} has shape {stack.shape}; expected {(n, p, p)}, as means_{side} has {(n, p)}"
        )
    exponent = exponent_of(stack)
    # an even exponent has an exact root
    exponent += exponent % 2
    stack = np.ldexp(stack, -exponent)
    uneven = np.abs(stack - stack.transpose(0, 2, 1)).max(axis=(1, 2)) > 1e-8 * np.abs(stack).max(axis=(1, 2))
    if uneven.any():
        raise InputError(
            f"covs_{side} of stimulus {int(np.flatnonzero(uneven)[0])} is not symmetric; a covariance "
            "equals its transpose"
        )
    values, vectors = np.linalg.eigh((stack + stack.transpose(0, 2, 1)) / 2)
    negative = values[:, 0] < -1e-8 * np.abs(values).max(axis=1)
    if negative.any():
        row = int(np.flatnonzero(negative)[0])
        raise InputError(
            f"covs_{side} of stimulus {row} has the eigenvalue {np.ldexp(values[row, 0], exponent):.3g}; a "
            "covariance has none below zero"
        )
    roots = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.transpose(0, 2, 1)
    return _Gaussian(centre, np.ldexp(roots, exponent // 2))


def _least_distance(x: _Gaussian, y: _Gaussian, alpha: float, search: _Search) -> float:
    """The root of the least mean squared distance over all starts."""
    rows = max(x.factors.shape[1], y.factors.shape[1])
    a, b = _with_rows(x, rows), _with_rows(y, rows)
    start, _ = best_rotation(b.means.T @ a.means)
    total = sum(float(np.sum(g.means**2) * alpha + np.sum(g.factors**2) * (2.0 - alpha)) for g in (a, b))
    if total == 0.0:
        return 0.0
    best, unsettled = _squared_distance(a, b, alpha, start), 0.0
    starts = [start, *random_rotations(len(start), search.restarts, search.random_state)]
    for rotation in _promising(a, b, alpha, starts, total) if alpha < 2.0 else ():
        found, step = _descend(a, b, alpha, rotation, total, search.max_iter)
        value = _squared_distance(a, b, alpha, found)
        if value < best:
            best, unsettled = value, step
    if unsettled > _UNSETTLED:
        warnings.warn(
            f"the search ended after max_iter={search.max_iter} steps before it had settled; the distance "
            "is an upper bound. Give more steps",
            stacklevel=3,
        )
    return float(np.sqrt(best))


def _promising(
    x: _Gaussian, y: _Gaussian, alpha: float, starts: list[np.ndarray], total: float
) -> list[np.ndarray]:
    """The few starts that lead lowest within some steps."""
    if len(starts) <= _KEPT:
        return starts
    near = [_descend(x, y, alpha, rotation, total, _SCOUTED)[0] for rotation in starts]
    return sorted(near, key=lambda rotation: _squared_distance(x, y, alpha, rotation))[:_KEPT]


def _with_rows(g: _Gaussian, rows: int) -> _Gaussian:
    missing = rows - g.factors.shape[1]
    return _Gaussian(g.means, np.pad(g.factors, ((0, 0), (0, missing), (0, 0)))) if missing else g


def _descend(
    x: _Gaussian, y: _Gaussian, alpha: float, rotation: np.ndarray, total: float, max_iter: int
) -> tuple[np.ndarray, float]:
    """Turn the factors of each stimulus, then all units, until nothing is gained; and the last gain.

    The sum of the singular values of the cross-moment is what the squared distance loses.
    """
    on_means = alpha * (y.means.T @ x.means)
    before, step = -np.inf, np.inf
    for _ in range(max_iter):
        cross = on_means + (2.0 - alpha) * _factor_moment(x.factors, y.factors, rotation)
        rotation, singular = best_rotation(cross)
        step = (float(singular.sum()) - before) / total
        before = float(singular.sum())
        if step <= _STEP:
            break
    return rotation, step


def _turns(a: np.ndarray, b: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """For each stimulus the orthogonal q (k, k) that brings q b rotation nearest to a."""
    u, _, vt = np.linalg.svd((a @ rotation.T) @ b.transpose(0, 2, 1))
    out: np.ndarray = u @ vt
    return out


def _factor_moment(a: np.ndarray, b: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Sum over stimuli of b' q' a (p, p), with each stimulus' best q, in blocks of stimuli."""
    n, k, p = a.shape
    out = np.zeros((p, p))
    for block in stimulus_blocks(n, k * (p + 2 * k)):
        turned = _turns(a[block], b[block], rotation).transpose(0, 2, 1) @ a[block]
        out += b[block].reshape(-1, p).T @ turned.reshape(-1, p)
    return out


def _squared_distance(x: _Gaussian, y: _Gaussian, alpha: float, rotation: np.ndarray) -> float:
    """Mean over stimuli at one rotation, from residuals, which keep the digits of small distances."""
    n, k, p = x.factors.shape
    out = alpha * float(np.sum((x.means - y.means @ rotation) ** 2))
    if alpha == 2.0:
        return float(out / n)
    for block in stimulus_blocks(n, k * (p + 2 * k)):
        a, b = x.factors[block], y.factors[block]
        out += (2.0 - alpha) * float(np.sum((a - _turns(a, b, rotation) @ (b @ rotation)) ** 2))
    return float(out / n)
