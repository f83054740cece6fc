"""Distances of two systems after the best one-to-one matching of units."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import paired
from brainalign.comparison._procrustes_forms import (
    column_means,
    configuration,
    enough_stimuli,
    joined_size,
    without_variance,
)
from brainalign.comparison.procrustes import Alignment
from brainalign.errors import InputError, ShapeError


def permutation_procrustes_distance(x: Any, y: Any, *, scale_free: bool = True, pad: bool = False) -> float:
    """Return the Euclidean distance of x and y after the best one-to-one matching of units.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, p), or Responses
        Columns are centred.
    scale_free : bring both to Frobenius norm one first; False keeps their sizes
    pad : bool
        True: either side is filled up with units of zeros to p + q, so that every unit may
        stay without a partner. This allows unequal widths, and is the least padding under
        which the triangle inequality holds among systems of any widths. It also changes the
        value of equal widths where the best matching joins units of negative covariance.

    Returns
    -------
    float, not squared; with `scale_free` in [0, 2], or [0, sqrt 2] if padded. NaN, with a warning,
    where scale_free and a side does not vary over stimuli.

    Raises
    ------
    ShapeError
        Unequal widths without `pad`; fewer than 3 stimuli; different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    A metric between systems of one width (with `pad`, of any). Invariant to permutation of
    units, to shift, and (scale_free) to scale of each side; not to rotation: units matter. Signs
    matter too: a unit and its negative are far apart. Exact, by the Hungarian algorithm. Cost:
    O(n p q + p^3) time, O(p q) memory. Source: Williams et al. 2021, arXiv:2110.14739 (the
    permutation group); Kuhn 1955, doi:10.1002/nav.3800020109.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(permutation_procrustes_distance(x, 2.0 * x[:, [2, 0, 1]] + 1.0), 6)
    0.0
    """
    flag("scale_free", scale_free)
    first, second = paired(x, y)
    name = "the permutation Procrustes distance"
    enough_stimuli(name, len(first))
    _check_widths(first, second, pad)
    a, b = configuration(first), configuration(second)
    if scale_free and without_variance(name, a, b):
        return float("nan")
    rows, columns = _matching(a.points.T @ b.points, pad)
    # what stays without a partner counts in full
    single = np.delete(a.points, rows, axis=1), np.delete(b.points, columns, axis=1)
    parts = (a.points[:, rows] - b.points[:, columns], *single)
    apart = float(np.sqrt(sum(float(np.sum(part**2)) for part in parts)))
    if a.constant or b.constant:
        apart = 0.0
    return apart if scale_free else joined_size(a, b, apart)


def align_permutation(x: Any, y: Any, *, pad: bool = False) -> Alignment:
    """Return the one-to-one matching of the units of x with those of y as a map of x onto y.

    Parameters
    ----------
    x, y, pad : as in `permutation_procrustes_distance`

    Returns
    -------
    Alignment whose `rotation` holds one 1 per matched unit (row: unit of x, column: unit of
    y) and zeros for units without a partner

    Raises
    ------
    InputError
        A side that does not vary over stimuli.
    ShapeError, AlignmentError
        As in `permutation_procrustes_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> align_permutation(x, x[:, [2, 0, 1]]).rotation.argmax(axis=1)
    array([1, 2, 0])
    """
    first, second = paired(x, y)
    enough_stimuli("a permutation alignment", len(first))
    _check_widths(first, second, pad)
    a, b = configuration(first), configuration(second)
    for side, found in (("x", a), ("y", b)):
        if found.constant:
            raise InputError(f"{side} does not vary over stimuli; no matching follows from it")
    cross = a.points.T @ b.points
    rows, columns = _matching(cross, pad)
    rotation = np.zeros(cross.shape)
    rotation[rows, columns] = 1.0
    return Alignment(
        rotation, column_means(first), column_means(second), 1.0, float(cross[rows, columns].sum())
    )


def _check_widths(x: np.ndarray, y: np.ndarray, pad: bool) -> None:
    if not flag("pad", pad) and x.shape[1] != y.shape[1]:
        raise ShapeError(
            f"x has {x.shape[1]} units and y has {y.shape[1]}; a permutation needs equal numbers: choose "
            "units, or give pad=True so that units may stay without a partner"
        )


def _matching(cross: np.ndarray, pad: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the matching with the largest sum; `pad`: a pair below zero is left apart."""
    rows, columns = linear_sum_assignment(np.maximum(cross, 0.0) if pad else cross, maximize=True)
    if pad:
        kept = cross[rows, columns] > 0.0
        rows, columns = rows[kept], columns[kept]
    return rows, columns
