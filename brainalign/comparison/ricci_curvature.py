"""Ollivier-Ricci curvature of graphs of stimuli: the local geometry of a representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp, wasserstein_distance

from brainalign._checks import one_of
from brainalign.comparison._option_checks import flag, is_real, whole_number
from brainalign.comparison._ricci_transport import edge_transport, neighbourhoods, path_lengths
from brainalign.comparison._topology_clouds import two_clouds
from brainalign.comparison._topology_graph import (
    neighbour_graph,
    similarity_graph,
    square_matrix,
    whole_graph,
)
from brainalign.errors import InputError, ShapeError

__all__ = [
    "RicciCurvature",
    "curvature_distance",
    "edge_overlap",
    "neighbour_graph",
    "ollivier_ricci",
    "ricci",
    "similarity_graph",
]

LARGEST = 500
NEIGHBOURS = 10
# with one more than the neighbours every graph is complete
MIN_STIMULI = NEIGHBOURS + 2
STATISTICS = ("wasserstein", "ks")


@dataclass(frozen=True, eq=False)
class RicciCurvature:
    """The curvature of each edge of a graph, and of each node.

    Parameters
    ----------
    edges : array (n_edges, 2) of int, first end below the second, in the order of the matrix
    edge_curvature : array (n_edges,), at most 1: positive inside clusters, about 0 in grids
        and long cycles, negative on bridges and in trees
    node_curvature : array (n,), mean over the edges of a node; NaN without an edge
    """

    edges: np.ndarray
    edge_curvature: np.ndarray
    node_curvature: np.ndarray


def ollivier_ricci(graph: Any, *, alpha: float = 0.5) -> RicciCurvature:
    """Return the Ollivier-Ricci curvature of a graph.

    Parameters
    ----------
    graph : array (n, n), n <= 500
        Symmetric, zero diagonal. 0: no edge; else the length of the edge (1 everywhere in an
        unweighted graph). Lengths are distances: turn similarities into a graph with
        `similarity_graph`.
    alpha : float, 0 <= alpha < 1
        Mass that stays at a node; the rest goes to its neighbours in equal parts.

    Returns
    -------
    RicciCurvature
        kappa(x, y) = 1 - W1(m_x, m_y) / d(x, y) for each edge; d are the shortest paths. An
        unweighted graph has values in [-2 + 2 alpha, 1]; a graph in parts is treated part by
        part.

    Raises
    ------
    ShapeError
        Not a square matrix, or more than 500 nodes.
    InputError
        Values that are negative or not finite, a matrix that is not symmetric, a diagonal
        that is not zero, no edge at all, `alpha` out of range.
    MissingDependencyError
        The package POT is not installed.

    Notes
    -----
    One exact transport problem per edge, on what the two neighbourhoods do not share: about
    0.1 ms at ten neighbours, O(degree^3 log degree) for dense graphs; shortest paths
    O(n^2 log n + n E). O(n^2) memory. Unchanged when all lengths are multiplied by one factor.

    In weighted graphs d is the shortest path, not the length of the edge: where a detour
    is shorter than the edge the two differ, and some packages divide by the latter; they
    also spread mass by length, here it is spread evenly.
    Source: Ollivier 2009, doi:10.1016/j.jfa.2008.11.001; with alpha as in Lin, Lu & Yau 2011.

    Examples
    --------
    >>> complete = np.ones((6, 6)) - np.eye(6)
    >>> ollivier_ricci(complete).edge_curvature.round(6)[:3]
    array([0.6, 0.6, 0.6])
    """
    lengths = checked_graph(graph, alpha)
    first, second = np.nonzero(np.triu(lengths, 1))
    _, curvature = transport_and_curvature(lengths, alpha, first, second)
    degree = np.bincount(np.concatenate([first, second]), minlength=len(lengths))
    sums = np.bincount(first, curvature, len(lengths)) + np.bincount(second, curvature, len(lengths))
    node = np.where(degree > 0, sums / np.maximum(degree, 1), np.nan)
    return RicciCurvature(np.stack([first, second], axis=1), curvature, node)


def ricci(
    x: Any, y: Any, *, k: int = NEIGHBOURS, alpha: float = 0.5, allow_disconnected: bool = False
) -> float:
    """Return how far the curvatures of the neighbour graphs of x and y lie apart.

    Parameters
    ----------
    x, y : arrays (n, p) and (m, q), or Responses
        Rows need not be paired. `Responses`: repeats are averaged first. At most 500 rows.
    k : neighbours of each stimulus in the graph, 1 <= k < n, m
    alpha : float, 0 <= alpha < 1, as in `ollivier_ricci`
    allow_disconnected : bool
        False: NaN, with a warning, where a neighbour graph falls into parts. True: curvature
        is local and defined in each part.

    Returns
    -------
    float in [0, 3], the 1-Wasserstein distance between the distributions of the curvatures of all
    edges. NaN, with a warning, for a disconnected graph (see above) and where a side
    does not vary over stimuli.

    Raises
    ------
    ShapeError
        Fewer than k + 1 or more than 500 stimuli.
    InputError
        k or alpha out of range; values that are not finite.
    MissingDependencyError
        The package POT is not installed.

    Notes
    -----
    Graphs as in `neighbour_graph`, without weights. Invariant to rotation, one factor,
    translation and permutation of units of each side, and to a permutation of its rows: it
    compares two kinds of geometry, not which stimulus is where (for that: `edge_overlap`).
    Symmetric, with the triangle inequality; 0 does not mean equal. About n k transport
    problems a side: a second at n = 500, k = 10.
    Source: Ollivier 2009, doi:10.1016/j.jfa.2008.11.001.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(30, 2))
    >>> ricci(x, 3.0 * x[::-1, ::-1] + 1.0) < 1e-12
    True
    """
    k = whole_number("k", k, low=1)
    check_alpha(alpha)
    flag("allow_disconnected", allow_disconnected)
    clouds = two_clouds(x, y)
    found = []
    for name, cloud in (("x", clouds.x), ("y", clouds.y)):
        graph = _graph_of(name, cloud, k, allow_disconnected)
        if graph is None:
            return float("nan")
        found.append(ollivier_ricci(graph, alpha=alpha).edge_curvature)
    return curvature_distance(found[0], found[1])


def curvature_distance(a: Any, b: Any, *, statistic: str = "wasserstein") -> float:
    """Return the distance between two distributions of curvature.

    Parameters
    ----------
    a, b : arrays (n,) and (m,), curvatures of edges or nodes; NaN (nodes without an edge) are left out
    statistic : ``"wasserstein"`` (in units of curvature) or ``"ks"`` (largest difference of the
        cumulative distributions, in [0, 1])

    Returns
    -------
    float >= 0; 0 for equal distributions

    Raises
    ------
    InputError
        An unknown statistic; a side without any finite value.

    Examples
    --------
    >>> curvature_distance([0.0, 0.5], [0.5, 1.0])
    0.5
    """
    one_of("statistic", statistic, STATISTICS)
    sides = []
    for name, values in (("a", a), ("b", b)):
        array = np.asarray(values, dtype=np.float64).ravel()
        array = array[np.isfinite(array)]
        if not len(array):
            raise InputError(f"{name} has no finite curvature; expected at least one")
        sides.append(array)
    if statistic == "wasserstein":
        return float(wasserstein_distance(sides[0], sides[1]))
    return float(ks_2samp(sides[0], sides[1], method="asymp").statistic)


def edge_overlap(a: Any, b: Any) -> float:
    """Return the share of edges that two graphs over the same stimuli have in common.

    Parameters
    ----------
    a, b : arrays (n, n), as in `ollivier_ricci`

    Returns
    -------
    float in [0, 1]: edges in both over edges in either (Jaccard)

    Raises
    ------
    ShapeError
        Graphs of different size, not square.
    InputError
        As in `ollivier_ricci`.

    Examples
    --------
    >>> edge_overlap([[0, 1, 1], [1, 0, 0], [1, 0, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    0.5
    """
    first, second = _edge_lengths("a", a) > 0, _edge_lengths("b", b) > 0
    if first.shape != second.shape:
        raise ShapeError(
            f"a has {len(first)} nodes and b has {len(second)}; expected graphs of the same stimuli"
        )
    return float((first & second).sum() / (first | second).sum())


def check_alpha(alpha: float) -> None:
    """Refuse a share of the mass outside [0, 1)."""
    if not (is_real(alpha) and 0.0 <= alpha < 1.0):
        raise InputError(f"alpha={alpha!r}; expected a share of the mass, 0 <= alpha < 1")


def checked_graph(graph: Any, alpha: float) -> np.ndarray:
    """Edge lengths (n, n) over the longest, checked for the computation of curvature."""
    check_alpha(alpha)
    lengths = _edge_lengths("graph", graph)
    if len(lengths) > LARGEST:
        raise ShapeError(
            f"graph has {len(lengths)} nodes; curvature solves one transport problem per edge and is limited "
            f"to {LARGEST}: draw a random subset of the stimuli"
        )
    return np.asarray(lengths / lengths.max())


def transport_and_curvature(
    lengths: np.ndarray, alpha: float, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """W1 between the ends of each edge, and 1 - W1 / shortest path, each (n_edges,)."""
    paths = path_lengths(lengths)
    moved = edge_transport(neighbourhoods(lengths, alpha), paths, first, second)
    return moved, 1.0 - moved / paths[first, second]


def _edge_lengths(name: str, graph: Any) -> np.ndarray:
    lengths = square_matrix(name, graph)
    if (lengths < 0).any():
        i, j = (int(v) for v in np.argwhere(lengths < 0)[0])
        raise InputError(f"{name}[{i}, {j}] is {lengths[i, j]:.6g}; the length of an edge is not negative")
    if lengths.diagonal().any():
        i = int(np.flatnonzero(lengths.diagonal())[0])
        raise InputError(
            f"{name}[{i}, {i}] is {lengths[i, i]:.6g}; expected a zero diagonal, no edge to itself"
        )
    if not lengths.any():
        raise InputError(f"{name} has no edge; give a larger k or a lower threshold")
    return lengths


def _graph_of(name: str, cloud: np.ndarray, k: int, allow_disconnected: bool) -> np.ndarray | None:
    n = len(cloud)
    if n <= k:
        raise ShapeError(f"{name} has {n} stimuli; ricci with k={k} needs at least {k + 1}")
    if n > LARGEST:
        raise ShapeError(
            f"{name} has {n} stimuli; curvature is limited to {LARGEST}: draw a random subset of the stimuli"
        )
    return whole_graph(
        "ricci", name, cloud, k, None if allow_disconnected else "compare curvature within the parts"
    )
