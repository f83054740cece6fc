"""Representational dissimilarity matrices: one distance for each pair of stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from brainalign._checks import lookup
from brainalign.comparison._pairing import finite_matrix, stimulus_means
from brainalign.errors import ShapeError
from brainalign.types import Responses


def correlation_distance(x: np.ndarray) -> np.ndarray:
    """Return 1 - Pearson r between the rows of x (n, p), (n, n) float64 in [0, 2]."""
    if x.shape[1] < 2:
        raise ShapeError(f"x has shape {x.shape}; a correlation over units needs at least 2 units")
    centred = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    # a constant row leaves rounding of its mean, never exactly zero
    constant = norms <= x.shape[1] * np.finfo(np.float64).eps * np.abs(x).max(axis=1)
    norms[constant] = np.nan
    centred /= norms[:, None]
    out: np.ndarray = np.clip(1.0 - centred @ centred.T, 0.0, 2.0)
    np.fill_diagonal(out, 0.0)
    if constant.any():
        warnings.warn(
            f"{int(constant.sum())} of {len(x)} stimuli have the same response in every unit (first: row "
            f"{int(np.flatnonzero(constant)[0])}); their correlation distances are NaN",
            stacklevel=3,
        )
    return out


def sq_euclidean_distance(x: np.ndarray) -> np.ndarray:
    """Return the mean squared difference over units between the rows of x (n, p), (n, n) float64."""
    # centring changes no difference and keeps the digits that a large common offset would cost
    centred = x - x.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    out: np.ndarray = squares[:, None] + squares[None, :] - 2.0 * (centred @ centred.T)
    out = np.maximum(out, 0.0) / x.shape[1]
    np.fill_diagonal(out, 0.0)
    return out


DISTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "correlation": correlation_distance,
    "sq_euclidean": sq_euclidean_distance,
}


def rdm(x: Any, *, distance: str | Callable[[np.ndarray], np.ndarray] = "correlation") -> np.ndarray:
    """Return the representational dissimilarity matrix of x.

    Parameters
    ----------
    x : array (n_stimuli, n_units) or Responses
        Computed in float64. The rows of one stimulus in `Responses` are averaged first;
        the order is then that of the first appearance of each `stimulus_id`.
    distance : ``"correlation"``, ``"sq_euclidean"`` or a callable (n, p) -> (n, n)
        ``"correlation"`` is 1 - Pearson r over units, each row centred (range 0 to 2;
        invariant to scaling, to a shift of a whole row and to the order of units, not to
        rotation and not to a vector added to every row). ``"sq_euclidean"`` is the sum of
        squared differences divided by the number of units (invariant to rotation, to a
        vector added to every row and to the order of units, not to scaling).

    Returns
    -------
    array (n_stimuli, n_stimuli), float64, symmetric, zero diagonal. With ``"correlation"``
    the row and column of a stimulus whose response is the same in every unit are NaN,
    and a warning counts them.

    Raises
    ------
    UnknownNameError
        The distance does not exist.
    ShapeError
        x is not a matrix, has no rows or units, or one unit only (correlation).
    InputError
        x has values that are not finite.

    Notes
    -----
    Cost: O(n^2 p) time, O(n^2 + n p) memory. Source: Kriegeskorte, Mur & Bandettini 2008,
    doi:10.3389/neuro.06.004.2008; squared distances over the number of channels as in
    Walther et al. 2016, doi:10.1016/j.neuroimage.2015.12.012.

    Examples
    --------
    >>> import numpy as np
    >>> rdm(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])).round(6)
    array([[0., 2., 0.],
           [2., 0., 2.],
           [0., 2., 0.]])
    """
    function = lookup("distance", distance, DISTANCES)
    values = stimulus_means("x", x).values if isinstance(x, Responses) else finite_matrix("x", x)
    out: np.ndarray = function(values)
    return out
