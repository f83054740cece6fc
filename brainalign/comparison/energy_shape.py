"""The energy distance of systems that respond with noise, whatever the shape of the noise."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from brainalign.comparison._procrustes_forms import best_rotation
from brainalign.comparison._shape_trials import (
    at_common_scale,
    check_search,
    common_width,
    in_own_span,
    paired_trials,
    random_rotations,
    stimulus_blocks,
    warn_far_from_zero,
)

_STEP = 1e-12
_UNSETTLED = 1e-6
# a pair of trials nearer than this (relative to the mean distance) weighs no more
_FLOOR = 1e-8


def energy_shape_distance(
    x: Any, y: Any, *, restarts: int = 3, max_iter: int = 500, random_state: int | None = 0
) -> float:
    """Return the energy shape distance of two systems from repeated trials.

    Parameters
    ----------
    x, y : arrays (n_stimuli, n_repeats, p) and (n_stimuli, m_repeats, q)
        At least 2 repeats of each stimulus; numbers of repeats and units may differ. Not centred.
    restarts : int, random rotations to start from besides the alignment of the means
    max_iter : int, most steps from each start
    random_state : int, seed of the random rotations

    Returns
    -------
    float, not negative: ``d^2 = min over rotations T of the mean over stimuli of 2 E|a - T'b| -
    E|a - a'| - E|b - b'|``, E the mean over all pairs of trials, each with itself as well. The
    least value over all starts. d^2 has the unit of the responses.

    Raises
    ------
    ShapeError
        Not three axes, different numbers of stimuli, fewer than 2 repeats.
    InputError
        Values that are not finite; ``restarts`` or ``max_iter`` out of range.

    Warns
    -----
    UserWarning
        `max_iter` ended the best search before it had settled: the value is an upper bound. A side
        lies more than 3e5 times as far from zero as it spreads: the value is too large.

    Notes
    -----
    A metric between the sets of trials, as far as the search finds the least value. Sees all of
    the noise, not its covariance alone. Invariant to rotation and permutation of units; not to
    shift; a factor f on both systems multiplies d by the root of f. Two sets of trials from one
    distribution are apart by about the root of 1 / n_repeats. The rotation descends by
    reweighted Procrustes: each pair of trials weighs one over its distance, and the weights enter
    as moments of the two sides, no pair is copied. Cost per step: O(n r^2 p + n r p^2 + p^3)
    time for r repeats, O(n r p) memory. Source: Duong et al. 2023, arXiv:2211.11665.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(10, 8, 3))
    >>> rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> energy_shape_distance(x, x @ rotation) < 1e-6
    True
    """
    check_search(restarts, max_iter, random_state)
    (a, b), exponent = at_common_scale(*paired_trials(x, y))
    warn_far_from_zero(a, b)
    width = common_width(a, b)
    a, b = in_own_span(a, width), in_own_span(b, width)
    start, _ = best_rotation(b.mean(axis=1).T @ a.mean(axis=1))
    best, unsettled = np.inf, 0.0
    for rotation in (start, *random_rotations(width, restarts, random_state)):
        value, step = _descend(a, b, rotation, max_iter)
        if value < best:
            best, unsettled = value, step
    if unsettled > _UNSETTLED:
        warnings.warn(
            f"the search ended after max_iter={max_iter} steps before it had settled; the distance "
            "is an upper bound. Give more steps",
            stacklevel=2,
        )
    squared = 2.0 * best - _mean_distance(a, a) - _mean_distance(b, b)
    # an even exponent has an exact root
    return float(np.ldexp(np.sqrt(max(np.ldexp(squared, exponent % 2), 0.0)), exponent // 2))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (m, r, s) of all trials of each stimulus, without the cancellation of products."""
    out: np.ndarray = torch.cdist(
        torch.from_numpy(a), torch.from_numpy(b), compute_mode="donot_use_mm_for_euclid_dist"
    ).numpy()
    return out


def _mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for block in stimulus_blocks(len(a), a.shape[1] * b.shape[1]):
        total += float(_distances(a[block], b[block]).sum())
    return float(total / (len(a) * a.shape[1] * b.shape[1]))


def _weighted_moment(
    a: np.ndarray, b: np.ndarray, rotation: np.ndarray, floor: float
) -> tuple[np.ndarray, float]:
    """Sum over pairs of trials of w b a' (p, p), w one over the distance, and the mean distance."""
    p = a.shape[2]
    out, total = np.zeros((p, p)), 0.0
    for block in stimulus_blocks(len(a), a.shape[1] * b.shape[1] + b.shape[1] * p):
        apart = _distances(b[block] @ rotation, a[block])
        total += float(apart.sum())
        weighted = (1.0 / np.maximum(apart, floor)) @ a[block]
        out += b[block].reshape(-1, p).T @ weighted.reshape(-1, p)
    return out, total / (len(a) * a.shape[1] * b.shape[1])


def _descend(a: np.ndarray, b: np.ndarray, rotation: np.ndarray, max_iter: int) -> tuple[float, float]:
    """The least mean distance of a and b rotation from one start, and the last relative gain."""
    best, step = _mean_distance(b @ rotation, a), 0.0
    floor = max(_FLOOR * best, float(np.finfo(np.float64).tiny))
    for _ in range(max_iter):
        moment, value = _weighted_moment(a, b, rotation, floor)
        rotation, _ = best_rotation(moment)
        value = _mean_distance(b @ rotation, a)
        step = (best - value) / best if best > 0.0 else 0.0
        best = min(best, value)
        if step <= _STEP:
            break
    return best, step
