"""Exact Wasserstein distances between the neighbourhoods of the two ends of each edge."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from brainalign.comparison._transport_pot import transport_package

_EDGES_AT_ONCE = 2048
# masses are at least 1 / n: what differs by less than this is rounding
_NO_MASS = 1e-14
_LARGEST_EMD = 10_000_000


def path_lengths(lengths: np.ndarray) -> np.ndarray:
    """Lengths (n, n) of the shortest paths; inf between parts that no path joins."""
    out: np.ndarray = shortest_path(csr_array(lengths), method="D", directed=False)
    # two directions of one path add up in another order
    return np.asarray(np.minimum(out, out.T))


def neighbourhoods(lengths: np.ndarray, alpha: float) -> np.ndarray:
    """Row i: mass `alpha` on i, the rest spread evenly over its neighbours; (n, n)."""
    edges = lengths > 0
    degree = np.maximum(edges.sum(axis=1, keepdims=True), 1)
    out = (1.0 - alpha) * edges / degree
    np.fill_diagonal(out, alpha)
    return np.asarray(out)


def edge_transport(
    masses: np.ndarray, paths: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """W1 between the neighbourhoods of the ends of each edge, (n_edges,).

    Under a metric the mass that both ends share stays where it is, so that only the
    differences are moved: the programs shrink by the common neighbours.
    """
    out = np.empty(len(first))
    for start in range(0, len(first), _EDGES_AT_ONCE):
        part = slice(start, start + _EDGES_AT_ONCE)
        differences = masses[first[part]] - masses[second[part]]
        out[part] = [_moved(row, paths) for row in differences]
    return out


def _moved(difference: np.ndarray, paths: np.ndarray) -> float:
    """Least total path of the mass where `difference` is positive to where it is negative."""
    source, target = np.flatnonzero(difference > _NO_MASS), np.flatnonzero(difference < -_NO_MASS)
    if not len(source) or not len(target):
        return 0.0
    given, taken = difference[source], -difference[target]
    cost = paths[np.ix_(source, target)]
    if len(source) == 1 or len(target) == 1:
        return float(given @ cost @ taken) / float(given.sum())
    total = float(given.sum())
    return total * float(
        transport_package().emd2(
            given / total, taken / float(taken.sum()), cost, numItermax=_LARGEST_EMD, check_marginals=False
        )
    )
