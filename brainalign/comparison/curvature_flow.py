"""Discrete Ricci flow: clusters contract, bridges stretch; what is cut are the communities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

from brainalign.comparison._option_checks import is_real, whole_number
from brainalign.comparison.ricci_curvature import checked_graph, transport_and_curvature
from brainalign.errors import InputError, ShapeError

# an edge that has contracted to nothing is kept as one: a length of zero would mean no edge
_SHORTEST = 1e-9


@dataclass(frozen=True, eq=False)
class RicciFlow:
    """The lengths of the edges after the flow.

    Parameters
    ----------
    edges : array (n_edges, 2) of int, first end below the second
    lengths : array (n_edges,), mean 1
    edge_curvature : array (n_edges,), curvature at these lengths
    """

    edges: np.ndarray
    lengths: np.ndarray
    edge_curvature: np.ndarray


def ricci_flow(graph: Any, *, alpha: float = 0.5, n_iterations: int = 20) -> RicciFlow:
    """Let the lengths of the edges of a graph follow its curvature.

    Parameters
    ----------
    graph : array (n, n), n <= 500, as in `ollivier_ricci`
    alpha : float, 0 <= alpha < 1, mass that stays at a node
    n_iterations : int >= 1

    Returns
    -------
    RicciFlow

    Raises
    ------
    ShapeError, InputError, MissingDependencyError
        As in `ollivier_ricci`; `n_iterations` below 1.

    Notes
    -----
    Each step: length <- (1 - kappa) d with d the shortest path, then all lengths divided by their
    mean. No surgery during the flow. A length below 1e-9 of the mean is held there. Cost:
    `n_iterations` + 1 times that of `ollivier_ricci`.
    Source: Ni, Lin, Luo & Gao 2019, doi:10.1038/s41598-019-46380-9.

    Examples
    --------
    >>> path = np.eye(4, k=1) + np.eye(4, k=-1)
    >>> ricci_flow(path, n_iterations=5).lengths.round(3)
    array([0.75, 1.5 , 0.75])
    """
    n_iterations = whole_number("n_iterations", n_iterations, low=1)
    lengths = checked_graph(graph, alpha)
    first, second = np.nonzero(np.triu(lengths, 1))
    for _ in range(n_iterations):
        moved, _curvature = transport_and_curvature(lengths, alpha, first, second)
        lengths = _with_lengths(lengths, first, second, moved)
    _moved, curvature = transport_and_curvature(lengths, alpha, first, second)
    return RicciFlow(np.stack([first, second], axis=1), lengths[first, second], curvature)


def ricci_communities(
    graph: Any, *, alpha: float = 0.5, n_iterations: int = 20, cutoff: float | None = None
) -> np.ndarray:
    """Return the communities of a graph: its parts after the long edges of the flow are cut.

    Parameters
    ----------
    graph, alpha, n_iterations : as in `ricci_flow`
    cutoff : float, optional
        Edges longer than this are cut (in units of the mean length after the flow). None:
        the cut, of all, whose parts have the highest modularity in the given graph (edges
        counted, not weighted); no cut is one of them.

    Returns
    -------
    array (n,) of int, labels from 0 by first appearance; nodes without an edge are their own community

    Raises
    ------
    ShapeError, InputError, MissingDependencyError
        As in `ricci_flow`; a `cutoff` not above 0.

    Notes
    -----
    Cost of `ricci_flow`, and O(E^2) for the search of the cut.
    Source: Ni, Lin, Luo & Gao 2019, doi:10.1038/s41598-019-46380-9.

    Examples
    --------
    >>> two = np.kron(np.eye(2), np.ones((5, 5))) - np.eye(10)
    >>> two[4, 5] = two[5, 4] = 1
    >>> ricci_communities(two)
    array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    if cutoff is not None and not (is_real(cutoff) and cutoff > 0):
        raise InputError(f"cutoff={cutoff!r}; expected a length above 0, in units of the mean length")
    flow = ricci_flow(graph, alpha=alpha, n_iterations=n_iterations)
    n = len(np.asarray(graph))
    if cutoff is not None:
        return _parts(n, flow.edges[flow.lengths <= cutoff])
    best, best_modularity = _parts(n, flow.edges), -np.inf
    # lengths that agree to rounding are cut together
    levels = np.unique(np.round(flow.lengths, 6))[::-1]
    for level in levels:
        labels = _parts(n, flow.edges[np.round(flow.lengths, 6) <= level])
        modularity = _modularity(labels, flow.edges)
        if modularity > best_modularity + 1e-12:
            best, best_modularity = labels, modularity
    return best


def community_agreement(a: Any, b: Any) -> float:
    """Return the adjusted Rand index of two sets of communities of the same stimuli.

    Parameters
    ----------
    a, b : arrays (n,) of labels; their names do not matter

    Returns
    -------
    float, 1 for the same partition, about 0 by chance, may be negative

    Raises
    ------
    ShapeError
        Labels of different length, or none.

    Notes
    -----
    Source: Hubert & Arabie 1985, doi:10.1007/BF01908075, as computed by scikit-learn.

    Examples
    --------
    >>> community_agreement([0, 0, 1, 1], [5, 5, 3, 3])
    1.0
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ShapeError(
            f"a has shape {first.shape} and b {second.shape}; expected one label per stimulus on both sides"
        )
    return float(adjusted_rand_score(first, second))


def _with_lengths(graph: np.ndarray, first: np.ndarray, second: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The graph with new lengths of its edges, over their mean; none becomes zero."""
    total = float(new.mean())
    scaled = np.maximum(new / (total if total > 0 else 1.0), _SHORTEST)
    out = np.zeros_like(graph)
    out[first, second] = out[second, first] = scaled
    return out


def _parts(n: int, edges: np.ndarray) -> np.ndarray:
    links = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    labels: np.ndarray = connected_components(links, directed=False)[1].astype(np.intp)
    _, place, code = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(place))[code])


def _modularity(labels: np.ndarray, edges: np.ndarray) -> float:
    """Share of edges inside parts less that expected from the degrees."""
    degree = np.bincount(edges.ravel(), minlength=len(labels))
    inside = float(np.mean(labels[edges[:, 0]] == labels[edges[:, 1]]))
    return inside - float(np.sum((np.bincount(labels, degree) / degree.sum()) ** 2))
