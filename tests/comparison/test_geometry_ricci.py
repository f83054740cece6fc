"""Ollivier-Ricci curvature: known graphs, linear programs, the peer, invariances, errors."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import ks_2samp

from brainalign.comparison import ricci_curvature
from brainalign.comparison._ricci_transport import path_lengths
from brainalign.comparison.ricci_curvature import (
    curvature_distance,
    edge_overlap,
    neighbour_graph,
    ollivier_ricci,
    ricci,
    similarity_graph,
)
from brainalign.errors import InputError, MissingDependencyError, ShapeError


def cloud(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p))


def complete(n: int) -> np.ndarray:
    return np.ones((n, n)) - np.eye(n)


def cycle(n: int) -> np.ndarray:
    ring = np.roll(np.eye(n), 1, axis=1)
    return ring + ring.T


def cube() -> np.ndarray:
    corners = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])
    return (np.abs(corners[:, None] - corners[None]).sum(axis=2) == 1).astype(float)


def two_cliques() -> np.ndarray:
    graph = np.kron(np.eye(2), complete(5))
    graph[4, 5] = graph[5, 4] = 1.0
    return graph


def weighted_graph(n: int = 9, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    graph = np.triu(rng.uniform(0.2, 3.0, (n, n)) * (rng.uniform(size=(n, n)) < 0.5), 1)
    graph[np.arange(n - 1), np.arange(1, n)] = rng.uniform(0.2, 3.0, n - 1)
    return graph + graph.T


def program(graph: np.ndarray, i: int, j: int, alpha: float) -> float:
    """Curvature of one edge by a linear program over all pairs of nodes, shared mass included."""
    n = len(graph)
    mass = []
    for node in (i, j):
        m = np.where(graph[node] > 0, (1 - alpha) / np.count_nonzero(graph[node]), 0.0)
        m[node] = alpha
        mass.append(m)
    d = np.where(graph > 0, graph, np.inf)
    np.fill_diagonal(d, 0.0)
    for stop in range(n):
        d = np.minimum(d, d[:, stop, None] + d[None, stop, :])
    rows = np.kron(np.eye(n), np.ones(n))
    columns = np.kron(np.ones(n), np.eye(n))
    found = linprog(d.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate(mass))
    return float(1 - found.fun / d[i, j])


@pytest.mark.parametrize(
    ("graph", "alpha", "value"),
    [
        (complete(6), 0.0, 0.8),
        (complete(6), 0.5, 0.6),
        (cycle(6), 0.0, 0.0),
        (cycle(6), 0.5, 0.0),
        (cycle(9), 0.5, 0.0),
        (cube(), 0.0, 0.0),
        (cube(), 0.5, 1 / 3),
    ],
)
def test_known_curvatures(graph: np.ndarray, alpha: float, value: float) -> None:
    """Complete graph, long cycles and the cube have one known curvature on all edges and nodes."""
    found = ollivier_ricci(graph, alpha=alpha)
    np.testing.assert_allclose(found.edge_curvature, value, atol=1e-12)
    np.testing.assert_allclose(found.node_curvature, value, atol=1e-12)
    assert len(found.edges) == np.count_nonzero(np.triu(graph))


def test_the_bridge_between_cliques_is_negative() -> None:
    """Two K5 joined by an edge: the bridge has -0.60, the edges inside +0.55 on average."""
    found = ollivier_ricci(two_cliques())
    bridge = (found.edges == [4, 5]).all(axis=1)
    np.testing.assert_allclose(found.edge_curvature[bridge], [-0.60], atol=1e-12)
    assert found.edge_curvature[~bridge].mean() == pytest.approx(0.55, abs=0.005)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("graph", [two_cliques(), weighted_graph(), neighbour_graph(cloud(9, 2), k=3)])
def test_against_linear_programs(graph: np.ndarray, alpha: float) -> None:
    """Every edge equals the full linear program, in weighted graphs too, where detours are shorter."""
    found = ollivier_ricci(graph, alpha=alpha)
    expected = [program(graph, int(i), int(j), alpha) for i, j in found.edges]
    np.testing.assert_allclose(found.edge_curvature, expected, atol=1e-8)
    scaled = ollivier_ricci(1e-150 * graph, alpha=alpha)
    np.testing.assert_allclose(scaled.edge_curvature, expected, atol=1e-8)


def peer(graph: np.ndarray, alpha: float) -> np.ndarray:
    """Curvature of the upper edges by GraphRicciCurvature, mass spread evenly (exponent 0)."""
    networkx = pytest.importorskip("networkx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("GraphRicciCurvature.OllivierRicci", exc_type=ImportError)
        run = module.OllivierRicci(
            networkx.from_numpy_array(graph), alpha=alpha, method="OTD", proc=1, exp_power=0, verbose="ERROR"
        )
        found = run.compute_ricci_curvature()
    return np.array([found[i][j]["ricciCurvature"] for i, j in zip(*np.nonzero(np.triu(graph)), strict=True)])


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_parity_with_the_peer_on_unweighted_graphs(alpha: float) -> None:
    """GraphRicciCurvature gives the same curvature of every edge of an unweighted graph."""
    for graph in (two_cliques(), neighbour_graph(cloud(15, 3), k=4)):
        np.testing.assert_allclose(
            ollivier_ricci(graph, alpha=alpha).edge_curvature, peer(graph, alpha), atol=1e-6
        )


def test_where_the_peer_divides_by_the_edge_instead_of_the_distance() -> None:
    """On an edge longer than its detour the peer divides by the edge: 1 - 0.5 / 10 for 1 - 0.5 / 2."""
    triangle = np.array([[0.0, 1.0, 10.0], [1.0, 0.0, 1.0], [10.0, 1.0, 0.0]])
    own = ollivier_ricci(triangle).edge_curvature[1]
    assert own == pytest.approx(program(triangle, 0, 2, 0.5), abs=1e-9)
    moved = (1.0 - own) * path_lengths(triangle)[0, 2]
    theirs = peer(triangle, 0.5)[1]
    assert theirs == pytest.approx(1.0 - moved / 10.0, abs=1e-6)
    assert theirs - own > 0.1


def test_parts_and_lone_nodes() -> None:
    """Each part is treated on its own; a node without an edge has no curvature."""
    graph = np.zeros((12, 12))
    graph[:6, :6], graph[6:11, 6:11] = complete(6), complete(5)
    found = ollivier_ricci(graph)
    np.testing.assert_allclose(found.node_curvature[:6], 0.6)
    assert np.isnan(found.node_curvature[11])
    assert np.isfinite(found.node_curvature[:11]).all()


def test_graphs_from_similarities() -> None:
    """By rank or by threshold the edges join the most similar, and lengths follow the distances."""
    s = np.exp(-np.square(np.subtract.outer(np.arange(5.0), np.arange(5.0))))
    path = np.eye(5, k=1) + np.eye(5, k=-1)
    np.testing.assert_array_equal(similarity_graph(s, threshold=0.3), path)
    np.testing.assert_array_equal(similarity_graph(s, k=1), path)
    lengths = neighbour_graph(np.array([[0.0], [1.0], [4.0], [4.0]]), k=1, weighted=True)
    np.testing.assert_allclose(lengths[0, 1], 2.0)
    assert 0 < lengths[2, 3] < 1e-6


def test_ricci_tells_clusters_from_a_line() -> None:
    """The value is the distance of the two distributions; alike geometries are near, others far."""
    x, y = cloud(40, 2), cloud(40, 2, 1)
    line = np.arange(40.0)[:, None] ** 1.01
    a, b = (ollivier_ricci(neighbour_graph(v, k=10)).edge_curvature for v in (x, line))
    assert ricci(x, line) == pytest.approx(curvature_distance(a, b), abs=1e-12)
    assert ricci(x, line) > 2 * ricci(x, y)
    assert curvature_distance(a, b, statistic="ks") == pytest.approx(ks_2samp(a, b).statistic)


def test_invariances_of_ricci() -> None:
    """Rotation, scale, shift, order of units and rows do nothing; a stretched unit does."""
    x, y = cloud(25, 3), cloud(25, 5, 1)
    turn = np.linalg.qr(cloud(3, 3, 2))[0]
    value = ricci(x, y)
    assert value > 0
    assert ricci(x, x) == 0.0
    assert ricci(y, x) == pytest.approx(value, abs=1e-12)
    assert ricci(4.0 * x @ turn + 7.0, y[::-1, ::-1]) == pytest.approx(value, abs=1e-9)
    assert ricci(1e200 * x, 1e-200 * y) == pytest.approx(value, abs=1e-9)
    assert abs(ricci(x * [1, 1, 30], y) - value) > 1e-3


def test_ricci_of_a_graph_in_parts_or_without_variance() -> None:
    """Two far groups: NaN with the reason, a value where allowed; a constant side: NaN."""
    near = cloud(30, 2)
    apart = near + 100.0 * (np.arange(30) % 2)[:, None]
    with pytest.warns(
        UserWarning, match="ricci is NaN: the graph of 10 nearest neighbours of y falls into 2"
    ):
        assert np.isnan(ricci(near, apart))
    assert ricci(near, apart, allow_disconnected=True) > 0
    with pytest.warns(UserWarning, match="ricci is NaN: x does not vary over stimuli"):
        assert np.isnan(ricci(np.ones((30, 2)), near))


def test_edge_overlap() -> None:
    """The shared edges over all edges: 1 for the same graph, 0 for disjoint ones."""
    assert edge_overlap(cycle(6), cycle(6)) == 1.0
    assert edge_overlap(cycle(6), complete(6) - cycle(6)) == 0.0
    assert edge_overlap(cycle(6), complete(6)) == pytest.approx(6 / 15)


BROKEN = complete(4)
BROKEN[0, 1] = 5.0
NEGATIVE = complete(4)
NEGATIVE[1, 2] = NEGATIVE[2, 1] = -1.0
MISSING = complete(4)
MISSING[1, 2] = np.nan


@pytest.mark.parametrize(
    ("graph", "error", "match"),
    [
        (np.ones((3, 4)), ShapeError, r"graph has shape \(3, 4\); expected a square matrix"),
        (BROKEN, InputError, r"graph is not symmetric: \[0, 1\] is 5 and \[1, 0\] is 1"),
        (NEGATIVE, InputError, r"graph\[1, 2\] is -1; the length of an edge is not negative"),
        (MISSING, InputError, "graph has values that are not finite, first in row 1, column 2"),
        (np.eye(4), InputError, r"graph\[0, 0\] is 1; expected a zero diagonal"),
        (np.zeros((4, 4)), InputError, "graph has no edge; give a larger k or a lower threshold"),
        (cycle(501), ShapeError, "graph has 501 nodes; curvature .* is limited to 500"),
    ],
)
def test_wrong_graphs(graph: np.ndarray, error: type[Exception], match: str) -> None:
    """Each kind of matrix that is no graph is refused with the place and the value."""
    with pytest.raises(error, match=match):
        ollivier_ricci(graph)


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options out of range, too few or too many stimuli, other sizes, a missing package."""
    x = cloud(20, 2)
    with pytest.raises(InputError, match="alpha=1.0; expected a share of the mass"):
        ollivier_ricci(complete(4), alpha=1.0)
    with pytest.raises(ShapeError, match="x has 10 stimuli; ricci with k=10 needs at least 11"):
        ricci(x[:10], x)
    with pytest.raises(InputError, match="k=20; expected a whole number of neighbours from 1 to 19"):
        neighbour_graph(x, k=20)
    with pytest.raises(InputError, match="give either k or threshold"):
        similarity_graph(complete(4))
    with pytest.raises(InputError, match="statistic='t' is not one of"):
        curvature_distance([0.0], [1.0], statistic="t")
    with pytest.raises(InputError, match="b has no finite curvature"):
        curvature_distance([0.0], [np.nan])
    with pytest.raises(ShapeError, match="a has 4 nodes and b has 5; expected graphs of the same stimuli"):
        edge_overlap(complete(4), complete(5))
    monkeypatch.setattr(ricci_curvature, "LARGEST", 19)
    with pytest.raises(ShapeError, match="x has 20 stimuli; curvature is limited to 19"):
        ricci(x, x)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingDependencyError, match=r"brainalign\[transport\]"):
        ollivier_ricci(two_cliques())
