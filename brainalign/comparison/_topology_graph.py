"""Graphs of near stimuli: from responses by nearest neighbours, from similarities by rank or threshold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from brainalign._checks import as_matrix
from brainalign.comparison._option_checks import flag, is_real
from brainalign.comparison._pairing import finite_matrix
from brainalign.comparison._topology_clouds import squared_distances
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

# two distances that agree to this share are one: a rotation must not break a tie by its rounding
_TIE = 1e-9
_SHORTEST = 1e-9


def neighbour_graph(x: Any, *, k: int = 10, weighted: bool = False) -> np.ndarray:
    """Return the graph that joins each stimulus with its k nearest ones.

    Parameters
    ----------
    x : array (n_stimuli, p)
    k : int, 1 <= k < n_stimuli
        An edge joins two stimuli if one is among the k nearest (Euclidean, itself excluded)
        of the other. Ties at the k-th distance are all taken, so the order of the rows does
        not matter.
    weighted : bool
        False: every edge has length 1. True: its Euclidean length, over the mean length of
        the edges; an edge between equal rows has length 1e-9, so that it stays an edge.

    Returns
    -------
    array (n, n), symmetric, zero diagonal, 0 where there is no edge

    Raises
    ------
    InputError
        k out of range; values that are not finite.

    Notes
    -----
    Unchanged by rotation, scale, translation and permutation of units. O(n^2 p) time and
    O(n^2) memory. Distances that agree to 1e-9 are ties.

    Examples
    --------
    >>> neighbour_graph([[0.0], [1.0], [3.0]], k=1)
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    flag("weighted", weighted)
    squares = squared_distances(finite_matrix("x", x))
    edges = _nearest(squares, k)
    if not weighted:
        return edges.astype(np.float64)
    lengths = np.where(edges, np.sqrt(squares), 0.0)
    mean = lengths[edges].mean()
    scaled = lengths / (mean if mean > 0 else 1.0)
    return np.where(edges, np.maximum(scaled, _SHORTEST), 0.0)


def similarity_graph(similarity: Any, *, k: int | None = None, threshold: float | None = None) -> np.ndarray:
    """Return the graph of a similarity matrix: k most similar ones, or all at or above a threshold.

    Parameters
    ----------
    similarity : array (n, n), symmetric, higher is closer; the diagonal is not looked at
    k : int, 1 <= k < n
        An edge joins two stimuli if one is among the k most similar to the other (ties at
        the k-th are all taken).
    threshold : float
        An edge joins two stimuli whose similarity is at least this.

    Returns
    -------
    array (n, n) of 0 and 1, symmetric, zero diagonal

    Raises
    ------
    ShapeError
        Not a square matrix.
    InputError
        Neither or both of `k` and `threshold`; k out of range; values that are not finite;
        a matrix that is not symmetric.

    Examples
    --------
    >>> similarity_graph([[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]], threshold=0.5)
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    if (k is None) == (threshold is None):
        raise InputError("give either k or threshold: an edge follows one rule")
    s = as_matrix("similarity", plain_array("similarity", similarity), dtype=np.float64).copy()
    # a diagonal of ones, variances or NaN must not set the scale on which others tie
    if s.shape[0] == s.shape[1]:
        np.fill_diagonal(s, 0.0)
    s = square_matrix("similarity", s)
    if k is not None:
        others = ~np.eye(len(s), dtype=bool)
        return _nearest(s.max(where=others, initial=-np.inf) - s, k).astype(np.float64)
    if not is_real(threshold):
        raise InputError(f"threshold={threshold!r}; expected one finite similarity")
    out = (s >= threshold).astype(np.float64)
    np.fill_diagonal(out, 0.0)
    return out


def square_matrix(name: str, value: Any) -> np.ndarray:
    """Return a finite symmetric float64 matrix; symmetric to rounding is made exactly so."""
    matrix = as_matrix(name, plain_array(name, value), dtype=np.float64)
    if matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ShapeError(f"{name} has shape {matrix.shape}; expected a square matrix (n, n)")
    if not np.isfinite(matrix).all():
        i, j = (int(v) for v in np.argwhere(~np.isfinite(matrix))[0])
        raise InputError(f"{name} has values that are not finite, first in row {i}, column {j}")
    largest = float(np.abs(matrix).max())
    apart = np.abs(matrix - matrix.T) > 1e-9 * largest
    if apart.any():
        i, j = (int(v) for v in np.argwhere(apart)[0])
        raise InputError(
            f"{name} is not symmetric: [{i}, {j}] is {matrix[i, j]:.6g} and [{j}, {i}] is {matrix[j, i]:.6g}"
            "; average it with its transpose if it has no direction"
        )
    return np.asarray(matrix / 2.0 + matrix.T / 2.0)


def component_count(graph: np.ndarray) -> int:
    """How many parts the graph falls into."""
    return int(connected_components(csr_array(graph), directed=False, return_labels=False))


def _nearest(far: np.ndarray, k: int) -> np.ndarray:
    """Edges (n, n) between each row and the k with the smallest `far`, in either direction."""
    n = len(far)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k < n:
        raise InputError(f"k={k!r}; expected a whole number of neighbours from 1 to {n - 1} (n_stimuli - 1)")
    away = far.astype(np.float64, copy=True)
    np.fill_diagonal(away, np.inf)
    reach = np.partition(away, k - 1, axis=1)[:, k - 1]
    out = away <= (reach * (1.0 + _TIE))[:, None]
    return np.asarray(out | out.T)


def whole_graph(measure: str, name: str, cloud: np.ndarray, k: int, remedy: str | None) -> np.ndarray | None:
    """The graph of the k nearest neighbours; None, with a warning, where the measure is not defined.

    That is where `cloud` does not vary, or where its graph falls into parts and `remedy` says what
    allow_disconnected=True would do (None: it is given).
    """
    if (cloud == cloud[0]).all():
        warnings.warn(f"{measure} is NaN: {name} does not vary over stimuli", stacklevel=4)
        return None
    graph = neighbour_graph(cloud, k=k)
    parts = component_count(graph)
    if parts > 1 and remedy is not None:
        warnings.warn(
            f"{measure} is NaN: the graph of {k} nearest neighbours of {name} falls into {parts} parts; give "
            f"a larger k, or allow_disconnected=True to {remedy}",
            stacklevel=4,
        )
        return None
    return graph
