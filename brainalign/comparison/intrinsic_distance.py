"""Intrinsic multi-scale distance: heat on the neighbour graphs of two clouds."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.comparison._option_checks import flag, whole_number
from brainalign.comparison._topology_clouds import two_clouds
from brainalign.comparison._topology_graph import whole_graph
from brainalign.errors import ShapeError

LARGEST = 5000
NEIGHBOURS = 5
# with one more than the neighbours every graph is complete
MIN_STIMULI = NEIGHBOURS + 2
HEAT_TIMES = np.logspace(-1, 1, 256)


def imd(
    x: Any,
    y: Any,
    *,
    k: int = NEIGHBOURS,
    allow_disconnected: bool = False,
) -> float:
    """Return the intrinsic multi-scale distance of x and y.

    Parameters
    ----------
    x, y : arrays (n, p) and (m, q), or Responses
        Rows need not be paired, nor as many. `Responses`: repeats are averaged first.
    k : neighbours of each stimulus in the graph, 1 <= k < n, m
    allow_disconnected : bool
        False: NaN, with a warning, where a neighbour graph falls into parts. True: the value
        by definition; the heat that stays in each part counts the parts.

    Returns
    -------
    float from 0 to exp(-4) = 0.0183. NaN, with a warning, for a disconnected graph (see
    above) and where a side does not vary over stimuli.

    Raises
    ------
    ShapeError
        Fewer than k + 1 stimuli; more than 5000 (the spectrum is computed in full).
    InputError
        k below 1; values that are not finite.

    Notes
    -----
    Each cloud becomes its graph of k nearest neighbours (in either direction, edges of
    weight one, ties all taken), that its normalised Laplacian, and this its mean heat trace
    h(t) = mean over eigenvalues of exp(-t eigenvalue). The distance is the largest
    exp(-2 (t + 1 / t)) abs(h_x(t) - h_y(t)) over 256 values of t from 0.1 to 10, evenly spaced in
    log t.

    Departures from the authors' code: eigenvalues are exact where it draws random vectors
    (so there is no seed and no variance), and the result is not multiplied by 1e6.
    The division by the number of stimuli is theirs.

    Invariant to rotation, one factor, translation and permutation of units of each side, and
    also to a permutation of its rows: the pairing of stimuli is not used. No metric on
    clouds: different clouds may have one graph. O(n^3) time and O(n^2) memory: 0.1 s at n =
    500, about a minute at 5000.
    Source: Tsitsulin et al. 2020, arXiv:1905.11141.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 2))
    >>> imd(x, 3.0 * x[::-1, ::-1] + 1.0) < 1e-12
    True
    >>> line = np.arange(40.0)[:, None]
    >>> imd(x, line) > 1e-5
    True
    """
    k = whole_number("k", k, low=1)
    flag("allow_disconnected", allow_disconnected)
    clouds = two_clouds(x, y)
    traces = []
    for name, cloud in (("x", clouds.x), ("y", clouds.y)):
        trace = _heat_of(name, cloud, k, allow_disconnected)
        if trace is None:
            return float("nan")
        traces.append(trace)
    weight = np.exp(-2.0 * (HEAT_TIMES + 1.0 / HEAT_TIMES))
    return float(np.max(weight * np.abs(traces[0] - traces[1])))


def heat_trace(graph: np.ndarray, times: np.ndarray = HEAT_TIMES) -> np.ndarray:
    """Mean of exp(-t eigenvalue) over the spectrum of the normalised Laplacian of a graph (n, n).

    Parameters
    ----------
    graph : array (n, n), symmetric, not negative, every row with an edge
    times : array (n_times,)

    Returns
    -------
    array (n_times,) in (0, 1]
    """
    root = 1.0 / np.sqrt(graph.sum(axis=1))
    spectrum = np.linalg.eigvalsh(np.eye(len(graph)) - root[:, None] * graph * root[None, :])
    return np.asarray(np.exp(-np.outer(times, spectrum)).mean(axis=1))


def _heat_of(name: str, cloud: np.ndarray, k: int, allow_disconnected: bool) -> np.ndarray | None:
    n = len(cloud)
    if n <= k:
        raise ShapeError(f"{name} has {n} stimuli; the intrinsic distance with k={k} needs at least {k + 1}")
    if n > LARGEST:
        raise ShapeError(
            f"{name} has {n} stimuli; the full spectrum is computed for at most {LARGEST}: draw a random "
            "subset of the stimuli, the same number on both sides"
        )
    graph = whole_graph(
        "imd", name, cloud, k, None if allow_disconnected else "count the parts as a difference"
    )
    return None if graph is None else heat_trace(graph)
