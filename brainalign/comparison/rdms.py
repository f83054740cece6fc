"""Representational dissimilarity matrices: one distance for each pair of stimuli."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from brainalign._checks import lookup
from brainalign._linalg import full_precision
from brainalign.comparison import _distance_forms as forms
from brainalign.comparison._distance_inputs import (
    Patterns,
    as_patterns,
    like_input,
    to_tensor,
    warn_empty,
)
from brainalign.comparison._pairing import stimulus_means
from brainalign.comparison.noise import as_noise
from brainalign.errors import InputError
from brainalign.types import Responses


def correlation_distance(x: Any) -> Any:
    """Return 1 - Pearson r between the rows of x (..., n, p), (..., n, n) in [0, 2]."""
    return _evaluate(x, forms.correlation)


def cosine_distance(x: Any) -> Any:
    """Return 1 - cosine between the rows of x (..., n, p), (..., n, n) in [0, 2]."""
    return _evaluate(x, forms.cosine)


def sq_euclidean_distance(x: Any) -> Any:
    """Return the mean squared difference over units between the rows of x (..., n, p), (..., n, n)."""
    return _evaluate(x, forms.sq_euclidean)


def euclidean_distance(x: Any) -> Any:
    """Return the root of the mean squared difference over units, (..., n, n)."""
    return _evaluate(x, forms.euclidean)


def poisson_distance(x: Any) -> Any:
    """Return the symmetrised Kullback-Leibler divergence of Poisson rates over units, (..., n, n)."""
    return _evaluate(x, forms.poisson)


def mahalanobis_distance(x: Any, noise: Any = None) -> Any:
    """Return the squared distance in the metric of the noise over the number of units, (..., n, n)."""
    if noise is None:
        raise InputError(
            "distance 'mahalanobis' needs noise=, a NoisePrecision (see noise_precision) or a precision "
            "matrix (n_units, n_units); without noise it is 'sq_euclidean'"
        )

    def form(patterns: Patterns) -> torch.Tensor:
        precision = as_noise(noise, patterns.values.shape[-1])
        assert precision is not None
        return forms.mahalanobis(patterns, precision)

    return _evaluate(x, form)


DISTANCES: dict[str, Callable[..., Any]] = {
    "correlation": correlation_distance,
    "cosine": cosine_distance,
    "euclidean": euclidean_distance,
    "mahalanobis": mahalanobis_distance,
    "poisson": poisson_distance,
    "sq_euclidean": sq_euclidean_distance,
}
# members of DISTANCES that take a second argument, `noise`
NOISE_DISTANCES = frozenset({"mahalanobis"})


def rdm(x: Any, *, distance: str | Callable[[Any], Any] = "correlation", noise: Any = None) -> Any:
    """Return the representational dissimilarity matrix of x, or of every matrix of a stack.

    Parameters
    ----------
    x : array (n_stimuli, n_units) or (..., n_stimuli, n_units), numpy or torch; or Responses
        Computed in float64. Leading axes (times, regions, layers) are worked on in one
        product. The rows of one stimulus in `Responses` are averaged first; the order is
        then that of the first appearance of each `stimulus_id`. A unit that is NaN in every
        row of a matrix is left out of that matrix, and p is the number of units that remain;
        a unit that is NaN in some rows only is refused, because its pairs would be distances
        over different units.
    distance : name of `DISTANCES`, or a callable (n, p) -> (n, n) that gets finite values

        - ``"correlation"`` (default): 1 - Pearson r over units, each row centred; 0 to 2.
          Invariant to scaling, to a shift of a whole row and to the order of units, not to
          rotation and not to a vector added to every row
        - ``"cosine"``: 1 - cosine of the angle, rows not centred; 0 to 2. Invariant to
          scaling, rotation and order of units, not to any shift
        - ``"sq_euclidean"``: sum of squared differences divided by p. Invariant to rotation,
          to a vector added to every row and to the order of units, not to scaling
        - ``"euclidean"``: the root of ``"sq_euclidean"``, hence the usual Euclidean distance
          divided by the root of p; the same invariances
        - ``"mahalanobis"``: ``(a - b)' precision (a - b) / p``, squared, needs `noise`.
          Invariant to a vector added to every row, and to any invertible map of the units
          that the noise goes through as well
        - ``"poisson"``: rates ``(x + 0.1) / 1.1`` (prior rate 1 of weight 0.1), then
          ``sum((a - b)(log a - log b)) / p``; for counts. Invariant to the order of units alone
    noise : NoisePrecision, or precision array (n_units, n_units)
        For ``"mahalanobis"`` only. Where units are left out the covariance of the remaining
        ones is inverted.

    Returns
    -------
    array (..., n_stimuli, n_stimuli), float64, symmetric, zero diagonal, of the kind of x.
    NaN, with a warning that counts them: the row and column of a stimulus whose response is
    the same in every unit (correlation) or zero in every unit (cosine); a matrix of a stack
    none of whose units has values.

    Raises
    ------
    UnknownNameError
        The distance does not exist.
    ShapeError
        x has fewer than two axes, no rows or units, or one unit only (correlation); noise of
        another number of channels.
    InputError
        Values that are infinite, or NaN in a part of the rows; negative counts (poisson);
        noise missing, or given to a distance that has none; noise that is no precision matrix.

    Notes
    -----
    Cost: O(n^2 p) time and O(n^2 + n p) memory for each matrix; ``"mahalanobis"`` adds the
    whitening, n p r for a noise of r residual rows fewer than p, else n p^2. Sources:
    Kriegeskorte, Mur & Bandettini 2008, doi:10.3389/neuro.06.004.2008; squared distances
    over the number of channels as in Walther et al. 2016,
    doi:10.1016/j.neuroimage.2015.12.012; Poisson distance of Schuett et al. 2023,
    doi:10.7554/eLife.82566.

    Examples
    --------
    >>> rdm(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])).round(6)
    array([[0., 2., 0.],
           [2., 0., 2.],
           [0., 2., 0.]])
    >>> rdm(np.zeros((5, 2, 8, 3)), distance="euclidean").shape
    (5, 2, 8, 8)
    """
    function = lookup("distance", distance, DISTANCES)
    values = _means(x) if isinstance(x, Responses) else x
    if noise is None:
        return function(_finite(values)) if callable(distance) else function(values)
    if callable(distance) or distance not in NOISE_DISTANCES:
        raise InputError(
            f"distance {distance!r} takes no noise; expected one of {', '.join(sorted(NOISE_DISTANCES))}, or "
            "whiten the responses first with noise.whiten(x)"
        )
    return function(values, noise)


def _evaluate(x: Any, form: Callable[[Patterns], torch.Tensor]) -> Any:
    """Check x, apply the form to its patterns, and return the caller's kind of array."""
    tensor, was_tensor = to_tensor("x", x)
    patterns = as_patterns("x", tensor)
    with full_precision():
        out = form(patterns)
    if patterns.present is not None:
        empty = ~patterns.present.any(-1)
        out[empty] = torch.nan
        warn_empty(empty, stacklevel=4)
    return like_input(out, was_tensor)


def _finite(x: Any) -> Any:
    """Float64 values for a callable of the caller, who is not asked to know about gaps."""
    tensor, was_tensor = to_tensor("x", x)
    patterns = as_patterns("x", tensor)
    if patterns.present is not None:
        raise InputError(
            f"x has units that are NaN in every row ({int((~patterns.present).sum())} of "
            f"{patterns.present.numel()}); a distance that is a callable needs finite values: leave them out"
        )
    return like_input(tensor, was_tensor)


def _means(responses: Responses) -> np.ndarray:
    """The mean of each stimulus (n_stimuli, n_units); units that are NaN in every row stay NaN."""
    values = responses.array()
    if values.ndim != 2:
        return stimulus_means("x", responses).values
    missing = np.isnan(values).all(axis=0)
    if not missing.any():
        return stimulus_means("x", responses).values
    filled = replace(responses, values=np.where(missing, 0.0, values))
    return np.where(missing, np.nan, stimulus_means("x", filled).values)
