"""Groups of units across two systems: spectral co-clustering of their correlations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from brainalign._checks import one_of
from brainalign.comparison._option_checks import seed, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._unit_curves import (
    FloatArray,
    IntArray,
    check_stimuli,
    correlations_of,
    curves_of_both,
)
from brainalign.errors import ShapeError

METHODS = ("kmeans", "hierarchical")
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class UnitClusters:
    """Clusters that hold units of both systems.

    Parameters
    ----------
    labels_x, labels_y : arrays (p,) and (q,), cluster of each unit, the largest cluster is
        0; -1 for a unit that does not vary over stimuli
    strength : array (n_clusters, n_clusters), mean |r| of the units of x in the cluster of
        the row with the units of y in that of the column; NaN where either holds none
    tree : array (n_units - 1, 4), the linkage of ``method="hierarchical"`` over the units of
        x that vary, then those of y; else None
    """

    labels_x: IntArray
    labels_y: IntArray
    strength: FloatArray
    tree: FloatArray | None

    def to_frame(self) -> pd.DataFrame:
        """One row per cluster: cluster, n_x, n_y, within (mean |r| of its own units)."""
        numbers = np.arange(len(self.strength))
        counts = [[int((labels == k).sum()) for k in numbers] for labels in (self.labels_x, self.labels_y)]
        return pd.DataFrame(
            {"cluster": numbers, "n_x": counts[0], "n_y": counts[1], "within": np.diag(self.strength)}
        )


def unit_clusters(
    x: Any, y: Any, *, n_clusters: int, method: str = "kmeans", random_state: int = 0
) -> UnitClusters:
    """Group the units of two systems into clusters whose members correlate across systems.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
    n_clusters : from 2 to min(p, q)
    method : ``"kmeans"``, or ``"hierarchical"``: Ward's tree over the units of both systems,
        cut into `n_clusters`; the tree is in the result
    random_state : seed of k-means

    Returns
    -------
    UnitClusters. Units that do not vary over stimuli have the label -1, with a warning that
    counts them. Where copies leave fewer distinct units than clusters, some clusters are
    empty, with a warning.

    Raises
    ------
    InputError
        `n_clusters` is not a whole number from 2 on, `method` is another name; and as in
        `compare`.
    ShapeError
        Fewer units that vary than clusters, fewer than 3 stimuli, different numbers of rows.

    Notes
    -----
    With A = |C| (p, q) and its row and column sums D1, D2, the units are placed by the left
    and right singular vectors of ``D1^-1/2 A D2^-1/2`` (the normalised Laplacian of the graph
    between both systems) and grouped there. Invariant to a factor of either sign and a shift
    of each unit and to the order of units; not to rotation. The noise of correlations is about
    1 / sqrt(n): with few stimuli the clusters are those of the noise. Cost: O(n p q) for the
    correlations and O(p q min(p, q)) for the decomposition; the tree O((p + q)^2) in time and
    memory. Sources: Dhillon 2001, doi:10.1145/502512.502550; Li et al. 2016,
    arXiv:1511.07543. Departure: n_clusters - 1 singular vectors instead of
    ceil(log2 n_clusters), so that equally strong clusters all have their direction.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> source = rng.normal(size=(100, 2))
    >>> x, y = source[:, [0, 0, 0, 1, 1]], -source[:, [1, 0, 0]]
    >>> found = unit_clusters(x, y, n_clusters=2)
    >>> found.labels_x.tolist(), found.labels_y.tolist()
    ([0, 0, 0, 1, 1], [1, 0, 0])
    """
    one_of("method", method, METHODS)
    n_clusters, random_state = whole_number("n_clusters", n_clusters, low=2), seed(random_state)
    first, second = paired(x, y)
    check_stimuli("unit_clusters", len(first))
    a, b = curves_of_both(first, second, stacklevel=2)
    smaller = min(len(a.kept), len(b.kept))
    if smaller < n_clusters:
        raise ShapeError(
            f"n_clusters={n_clusters} over {len(a.kept)} and {len(b.kept)} units that vary over stimuli; "
            f"each side needs at least as many units as clusters: ask for at most {smaller}"
        )
    affinity = np.abs(correlations_of(a, b))
    places = _embedding(affinity, n_clusters)
    labels, tree = _grouped(places, n_clusters, method, random_state)
    _warn_empty(labels, n_clusters)
    out = [np.full(curves.n_units, -1, dtype=np.int64) for curves in (a, b)]
    out[0][a.kept], out[1][b.kept] = labels[: len(a.kept)], labels[len(a.kept) :]
    strength = _strength(affinity, out[0][a.kept], out[1][b.kept], n_clusters)
    return UnitClusters(out[0], out[1], strength, tree)


def _embedding(affinity: FloatArray, n_clusters: int) -> FloatArray:
    """Places of the units of x, then of y, on the singular vectors after the constant one."""
    scales = []
    for axis in (1, 0):
        sums = affinity.sum(axis=axis)
        scales.append(np.divide(1.0, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0))
    left, values, right = np.linalg.svd(scales[0][:, None] * affinity * scales[1], full_matrices=False)
    # beyond the rank the vectors are arbitrary and would place equal units apart
    rank = int((values > _ROUNDING * max(affinity.shape) * values[0]).sum())
    kept = slice(1, max(min(n_clusters, rank), 2))
    both = np.vstack([scales[0][:, None] * left[:, kept], scales[1][:, None] * right[kept].T])
    largest = float(np.abs(both).max())
    # copies of a unit differ by the rounding of the products alone and must not be split by it
    return np.round(both / largest, 10) if largest > 0 else both


def _grouped(
    places: FloatArray, n_clusters: int, method: str, random_state: int
) -> tuple[IntArray, FloatArray | None]:
    """Labels with the largest cluster first, and the tree."""
    if method == "hierarchical":
        tree = np.asarray(linkage(places, method="ward"))
        return _by_size(fcluster(tree, n_clusters, criterion="maxclust")), tree
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(n_clusters, n_init=10, random_state=random_state).fit_predict(places)
    return _by_size(found), None


def _warn_empty(labels: IntArray, n_clusters: int) -> None:
    """Say that the units fall into fewer groups than asked for."""
    filled = int(labels.max()) + 1
    if filled < n_clusters:
        warnings.warn(
            f"only {filled} of {n_clusters} clusters hold units: the units of both systems have no more "
            f"than {filled} distinct places; the rows and columns of `strength` of the others are NaN",
            stacklevel=3,
        )


def _by_size(labels: Any) -> IntArray:
    """Renumber: the largest cluster is 0, between equal ones the one that comes first."""
    _, first, codes, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[codes], dtype=np.int64)


def _strength(affinity: FloatArray, rows: IntArray, columns: IntArray, n_clusters: int) -> FloatArray:
    """Mean of the affinity over each pair of clusters."""
    a, b = np.eye(n_clusters)[rows], np.eye(n_clusters)[columns]
    counts = np.outer(a.sum(axis=0), b.sum(axis=0))
    total = a.T @ affinity @ b
    return np.divide(total, counts, out=np.full_like(total, np.nan), where=counts > 0)
