"""The dimension of the manifold on which stimuli lie, from their two nearest neighbours."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from brainalign.comparison._descriptor_neighbours import two_nearest
from brainalign.comparison._descriptor_spectrum import CentredRows, varying
from brainalign.comparison._option_checks import is_real
from brainalign.errors import InputError


class TwoNN(NamedTuple):
    """The estimated dimension, the duplicates that were left out, and the stimuli in the fit."""

    dimension: float
    n_duplicates: int
    n_fitted: int


def two_nn(x: object, *, discard: float = 0.1) -> TwoNN:
    """Return the intrinsic dimension by the ratio of the distances to the two nearest neighbours.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
        At least 3 distinct stimuli; hundreds for a stable value.
    discard : float in [0, 1)
        Share of the largest ratios that is left out of the fit (they are the least certain).
        The largest one never enters: its empirical distribution function is one.

    Returns
    -------
    TwoNN
        `dimension` > 0 (NaN, with a warning, where every stimulus has its two nearest
        neighbours at the same distance, as on a grid), `n_duplicates` rows left out because
        an earlier row is the same up to rounding, `n_fitted` stimuli of the fit.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, another number of axes.
    InputError
        Fewer than 3 distinct stimuli; `discard` leaves fewer than 2 in the fit or is out of
        range; values that are not finite; x does not vary.

    Notes
    -----
    With mu = r2 / r1 sorted upwards and F(mu_i) = i / n, the line -log(1 - F) = d log(mu) is
    fitted through the origin by least squares. Invariant to rotation and permutation of
    units, to one factor and to a vector added to every row; not to a general invertible
    map. Too low for high dimensions (about 8.3 for a 10-dimensional cube at 1000 stimuli),
    too high in noise, which is of full dimension at the scale of neighbours. Time
    O(n^2 p), memory one tile of n columns and a copy of x.
    Source: Facco et al. 2017, doi:10.1038/s41598-017-11873-y.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.random.default_rng(0).random((1000, 2)) @ np.random.default_rng(1).normal(size=(2, 9))
    >>> found = two_nn(np.vstack([plane, plane[:5]]))
    >>> abs(found.dimension - 2) < 0.2, found.n_duplicates, found.n_fitted
    (True, 5, 900)
    """
    rows = varying("x", x)
    check_discard(discard)
    distances = _distances_between_distinct(rows)
    n = len(distances)
    if n < 3 or _n_fitted(n, discard) < 2:
        raise InputError(
            f"x has {n} distinct stimuli of {len(rows.values)}, of which discard={discard} leaves "
            f"{_n_fitted(n, discard)} in the fit; two_nn needs at least 3 and 2"
        )
    found, reason = _estimate(distances, rows, discard)
    if reason:
        warnings.warn(f"two_nn is NaN: {reason}", stacklevel=2)
    return found


_GRID = "the two nearest neighbours of every stimulus in the fit are equally far away, as on a grid"


def check_discard(discard: float) -> None:
    """Refuse a share of discarded ratios outside [0, 1)."""
    if not (is_real(discard) and 0.0 <= discard < 1.0):
        raise InputError(f"discard={discard!r}; expected a share of the stimuli in [0, 1)")


def two_nn_or_reason(rows: CentredRows, *, discard: float) -> tuple[TwoNN, str]:
    """The estimate, and why it is NaN ("" where it is not)."""
    return _estimate(_distances_between_distinct(rows), rows, discard)


def _estimate(distances: np.ndarray, rows: CentredRows, discard: float) -> tuple[TwoNN, str]:
    n, n_fitted = len(distances), _n_fitted(len(distances), discard)
    dimension, reason = float("nan"), f"{n} distinct stimuli are too few"
    if n >= 3 and n_fitted >= 2:
        dimension = _dimension(distances, n_fitted)
        reason = _GRID if np.isnan(dimension) else ""
    return TwoNN(dimension, len(rows.values) - n, n_fitted), reason


def _n_fitted(n: int, discard: float) -> int:
    # 0.9 * 10 is 9.000000000000002 or 8.999999999999998, depending on how it was written
    return max(0, min(n - 1, int(np.floor(n * (1.0 - discard) + 1e-9))))


def _distances_between_distinct(rows: CentredRows) -> np.ndarray:
    """Distances (n, 2) of the n stimuli that do not repeat an earlier one, exactly or within rounding."""
    _, first = np.unique(rows.values + 0.0, axis=0, return_index=True)
    values = rows.values[np.sort(first)]
    while len(values) >= 3:
        distances, nearest = two_nearest(values)
        # of a pair of mutual neighbours one goes, so that every round ends closer to the last
        repeated = (distances[:, 0] <= rows.rounding) & (nearest < np.arange(len(values)))
        if not repeated.any():
            return distances
        values = values[~repeated]
    return np.empty((len(values), 2))


def _dimension(distances: np.ndarray, n_fitted: int) -> float:
    """Slope of -log(1 - F) on log(r2 / r1) through the origin; NaN where all ratios are one."""
    logs = np.sort(np.log(distances[:, 1] / distances[:, 0]))[:n_fitted]
    # neighbours at one distance differ by the rounding of the distances
    logs = np.where(logs <= 1e-12, 0.0, logs)
    if not logs.any():
        return float("nan")
    heights = -np.log1p(-np.arange(1, n_fitted + 1) / len(distances))
    return float(logs @ heights) / float(logs @ logs)
