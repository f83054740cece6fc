"""Representation topology divergence: what the shapes of two paired clouds do not share."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from brainalign._checks import optional_import
from brainalign.comparison._option_checks import is_count, seed, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._topology_clouds import distances
from brainalign.errors import InputError, ShapeError

MIN_STIMULI = 3
_QUANTILE = 0.9
# ripser computes in float32, which holds whole numbers up to 2^24: ranks of so many values are exact
_LARGEST_BATCH = 4000


def rtd(x: Any, y: Any, *, batch: int = 500, n_batches: int = 10, random_state: int = 0) -> float:
    """Return the representation topology divergence of x and y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Paired rows: by position (arrays) or `stimulus_id` (repeats averaged).
    batch : int, 3 to 4000
        With more stimuli than this, random subsets of this size are drawn (without
        replacement) and their values averaged. Values of different batch sizes are not on
        one scale: the number of features grows with the number of stimuli.
    n_batches : int
        How many subsets; with n_stimuli <= `batch` all are used once.
    random_state : seed of the subsets

    Returns
    -------
    float >= 0, no upper bound; 0 for clouds that agree up to rotation, scale and
    translation. In units of the 90 % quantile of the distances. NaN, with a warning, where
    more than 90 % of the entries of a distance matrix are zero.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError
        `batch` or `n_batches` out of range; values that are not finite.
    MissingDependencyError
        The package ripser is not installed.

    Notes
    -----
    Euclidean distances w and v of x and of y, each over its 90 % quantile (of the whole n x n
    matrix with its zero diagonal, as the authors compute it). On twice n points, with
    distances ``[[0, w+'], [w+, min(w, v)]]`` (w+: the upper triangle of w, the other pairs never
    joined), the total length of the bars of dimension 1 of the Vietoris-Rips filtration says how
    much of the shape of w is missing in the common graph min(w, v). The value is the mean of
    both orders, hence symmetric; no metric.

    Invariant to rotation, one factor, translation and permutation of units of each side; not
    to a permutation of the rows of one side. The authors' batches are random: ours follow
    `random_state`. ripser works in float32; it is given the ranks of the distances and
    the lengths of the bars are taken from the float64 distances, so nothing is rounded.

    Cost per batch of b stimuli: two persistence computations on 2 b points, O(b^3) in
    practice, seconds at b = 500; memory of the order of b^2 to b^3.
    Source: Barannikov, Trofimov, Balabin & Burnaev 2022, arXiv:2201.00058.

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(12) / 12
    >>> ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> rtd(ring, 3.0 * ring[:, ::-1] + 1.0) < 1e-9
    True
    >>> rtd(ring, ring[[0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]]) > 0.3
    True
    """
    first, second = paired(x, y)
    n = len(first)
    _check_options(n, batch, n_batches)
    random_state = seed(random_state)
    if n <= batch:
        return _rtd_of(first, second)
    rng = np.random.default_rng(random_state)
    draws = [np.sort(rng.choice(n, batch, replace=False)) for _ in range(n_batches)]
    return float(np.mean([_rtd_of(first[rows], second[rows]) for rows in draws]))


def rtd_h0(x: Any, y: Any) -> float:
    """Return the divergence of the connected parts of x and y: minimum spanning trees, no loops.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        As in `rtd`.

    Returns
    -------
    float >= 0, no upper bound; 0 for clouds that agree up to rotation, scale and
    translation. NaN, with a warning, as in `rtd`.

    Raises
    ------
    ShapeError, InputError
        As in `rtd`.

    Notes
    -----
    With w and v as in `rtd`: the length of the minimum spanning tree of w less that of min(w,
    v), averaged over both orders. The length of such a tree is the total length of the bars
    of dimension 0, and no edge of min(w, v) is longer than that of w, so no term is negative.
    **This is not RTD**: it sees which stimuli are joined at which scale, on all stimuli at
    once. O(n^2 (p + q)) time and O(n^2) memory.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> rtd_h0(x, 5.0 - x) < 1e-12
    True
    >>> rtd_h0(x, x[[0, 2, 1, 3]]) > 0.5
    True
    """
    first, second = paired(x, y)
    _check_count(len(first))
    pair = _scaled_distances(first, second)
    if pair is None:
        return float("nan")
    w, v = pair
    common = _tree_length(np.minimum(w, v))
    return max(0.0, (_tree_length(w) + _tree_length(v)) / 2.0 - common)


def _check_count(n: int) -> None:
    if n < MIN_STIMULI:
        raise ShapeError(f"topology divergence over {n} stimuli; it needs at least {MIN_STIMULI}")


def _check_options(n: int, batch: int, n_batches: int) -> None:
    _check_count(n)
    if not is_count(batch, MIN_STIMULI) or batch > _LARGEST_BATCH:
        raise InputError(f"batch={batch!r}; expected {MIN_STIMULI} to {_LARGEST_BATCH} stimuli at once")
    whole_number("n_batches", n_batches, low=1)


def _rtd_of(x: np.ndarray, y: np.ndarray) -> float:
    pair = _scaled_distances(x, y)
    if pair is None:
        return float("nan")
    w, v = pair
    return (total_persistence(cross_matrix(w, v)) + total_persistence(cross_matrix(v, w))) / 2.0


def _scaled_distances(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances of both clouds over their 90 % quantile; None, after a warning, where that is zero."""
    out = []
    for name, cloud in (("x", x), ("y", y)):
        d = distances(cloud)
        scale = float(np.quantile(d, _QUANTILE))
        if scale == 0.0:
            warnings.warn(
                f"the topology divergence is NaN: {name} does not vary over stimuli, or so many of its "
                f"{len(d)} stimuli are equal that the 90 % quantile of the distances is zero",
                stacklevel=4,
            )
            return None
        out.append(d / scale)
    return out[0], out[1]


def cross_matrix(w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distances of the doubled set of stimuli, (2 n, 2 n): [[0, w+'], [w+, min(w, v)]].

    w+ is w without its lower triangle, whose pairs are never joined (inf): the paper's form. With
    the whole of w the bars of dimension 1 are the same, from nearly twice the edges.
    """
    upper = np.where(np.tri(len(w), k=-1, dtype=bool), np.inf, w)
    return np.block([[np.zeros_like(w), upper.T], [upper, np.minimum(w, v)]])


def total_persistence(matrix: np.ndarray) -> float:
    """Total length of the bars of dimension 1 of the Vietoris-Rips filtration of a distance matrix."""
    ripser = optional_import("ripser", "topology", "topology divergence").ripser
    values, ranks = np.unique(matrix, return_inverse=True)
    ranked = np.where(np.isinf(matrix), np.inf, ranks.reshape(matrix.shape)).astype(np.float32)
    bars = ripser(ranked, distance_matrix=True, maxdim=1)["dgms"][1].astype(np.intp)
    return float(np.sum(values[bars[:, 1]] - values[bars[:, 0]]))


def _tree_length(d: np.ndarray) -> float:
    # the merges of single linkage are the edges of a minimum spanning tree, zero lengths included
    return float(linkage(squareform(d, checks=False), method="single")[:, 2].sum())
