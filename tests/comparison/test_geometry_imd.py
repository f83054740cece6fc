"""Intrinsic multi-scale distance: closed forms, an explicit reference, invariances, awkward input, errors."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.linalg import expm

from brainalign.comparison import intrinsic_distance
from brainalign.comparison._measure import Measure
from brainalign.comparison._measures_geometry import MEASURES_GEOMETRY
from brainalign.comparison._topology_graph import neighbour_graph
from brainalign.comparison.intrinsic_distance import HEAT_TIMES, heat_trace, imd
from brainalign.errors import InputError, ShapeError


def cloud(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p))


def reference_trace(x: np.ndarray, times: np.ndarray, k: int = 5) -> np.ndarray:
    """Mean heat trace by matrix exponentials of a graph built row by row."""
    n = len(x)
    links = np.zeros((n, n))
    for i in range(n):
        d = np.linalg.norm(x - x[i], axis=1)
        d[i] = np.inf
        links[i, np.argsort(d)[:k]] = 1.0
    links = np.maximum(links, links.T)
    degree = links.sum(axis=1)
    laplacian = np.eye(n) - links / np.sqrt(np.outer(degree, degree))
    return np.array([np.trace(expm(-t * laplacian)) / n for t in times])


def test_against_matrix_exponentials() -> None:
    """The value is the largest weighted difference of traces of matrix exponentials."""
    x, y = cloud(25, 2), cloud(25, 8, 1)
    times = HEAT_TIMES[::15]
    np.testing.assert_allclose(
        heat_trace(neighbour_graph(x, k=5), times), reference_trace(x, times), rtol=1e-10
    )
    weight = np.exp(-2 * (HEAT_TIMES + 1 / HEAT_TIMES))
    difference = reference_trace(x, HEAT_TIMES) - reference_trace(y, HEAT_TIMES)
    assert imd(x, y) == pytest.approx(np.max(weight * np.abs(difference)), rel=1e-8)


def test_closed_form_of_complete_graphs() -> None:
    """With n - 1 neighbours every graph is complete, and its trace has a closed form."""
    n, m = 8, 12
    trace = [(1 + (v - 1) * np.exp(-HEAT_TIMES * v / (v - 1))) / v for v in (n, m)]
    np.testing.assert_allclose(heat_trace(np.ones((n, n)) - np.eye(n)), trace[0])
    # a simplex of 12 against one of 8: all distances tie, so 5 neighbours take all
    weight = np.exp(-2 * (HEAT_TIMES + 1 / HEAT_TIMES))
    expected = np.max(weight * np.abs(trace[0] - trace[1]))
    assert imd(np.eye(n), np.eye(m)) == pytest.approx(expected, rel=1e-9)
    assert expected < np.exp(-4)


def test_dimension_is_seen_and_the_same_dimension_is_not() -> None:
    """A line against a plane lies farther apart than two draws of one plane."""
    plane, other = cloud(80, 2), cloud(80, 2, 1)
    line = cloud(80, 1, 2) @ cloud(1, 2, 3)
    assert imd(plane, line, k=10, allow_disconnected=True) > 3 * imd(
        plane, other, k=10, allow_disconnected=True
    )


def test_invariances() -> None:
    """Rotation, scale, shift, order of units and of rows do nothing; a stretched unit does."""
    x, y = cloud(30, 3), cloud(30, 5, 1)
    turn = np.linalg.qr(cloud(3, 3, 2))[0]
    value = imd(x, y)
    assert value > 0
    assert imd(x, x) == 0.0
    assert imd(y, x) == value
    assert imd(4.0 * x @ turn + 7.0, y[:, ::-1]) == pytest.approx(value, rel=1e-9)
    assert imd(x[::-1], y) == pytest.approx(value, rel=1e-9)
    assert imd(1e200 * x, 1e-200 * y) == pytest.approx(value, rel=1e-9)
    assert abs(imd(x * [1, 1, 30], y, allow_disconnected=True) - value) > 0.1 * value


def test_ties_and_duplicates_do_not_depend_on_the_order_of_rows() -> None:
    """A rotated, shuffled integer grid with repeated rows has the graph of the plain one."""
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2)
    grid = np.vstack([grid, grid[:3]])
    angle = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    order = np.random.default_rng(0).permutation(len(grid))
    graph = neighbour_graph(grid, k=4)
    np.testing.assert_array_equal(neighbour_graph((grid @ angle)[order], k=4), graph[np.ix_(order, order)])
    assert imd(grid, (grid @ angle)[order]) < 1e-12


def test_a_graph_in_parts_is_nan_or_counted() -> None:
    """Two far groups: NaN with the reason; when allowed, the value counts the parts."""
    near = cloud(20, 2)
    apart = near + 100.0 * (np.arange(20) % 2)[:, None]
    with pytest.warns(
        UserWarning, match="imd is NaN: the graph of 5 nearest neighbours of y falls into 2 parts"
    ):
        assert np.isnan(imd(near, apart))
    trace = heat_trace(neighbour_graph(apart, k=5), np.array([1e4]))
    assert trace[0] == pytest.approx(2 / 20, rel=1e-6)
    assert imd(near, apart, allow_disconnected=True) > 0


@pytest.mark.parametrize("record", MEASURES_GEOMETRY, ids=lambda record: record.name)
def test_records_say_what_the_functions_take_and_return(record: Measure) -> None:
    """Options are the keywords of the function; at its minimum of stimuli the value lies in its range."""
    keywords = [
        p.name for p in inspect.signature(record.function).parameters.values() if p.default != p.empty
    ]
    assert list(record.options) == keywords
    n = record.minimum
    value = record.function(cloud(n, 3), cloud(n, 4, 1))
    assert record.range[0] <= value <= record.range[1]
    assert record.function(cloud(30, 3), 2 * cloud(30, 3)) < 1e-9


def test_errors_and_no_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few or too many stimuli, k out of range and a constant side say what is wrong."""
    x = cloud(10, 2)
    with pytest.warns(UserWarning, match="imd is NaN: y does not vary over stimuli"):
        assert np.isnan(imd(x, np.ones((10, 3))))
    with pytest.raises(ShapeError, match="x has 5 stimuli; the intrinsic distance with k=5 needs at least 6"):
        imd(x[:5], x)
    with pytest.raises(InputError, match="k=0; expected a whole number of at least 1"):
        imd(x, x, k=0)
    monkeypatch.setattr(intrinsic_distance, "LARGEST", 9)
    with pytest.raises(ShapeError, match="x has 10 stimuli; the full spectrum is computed for at most 9"):
        imd(x, x)


def test_the_heat_is_compared_at_the_published_times() -> None:
    """The distance is the weighted supremum over 256 times from 0.1 to 10, written out here."""
    x, y = cloud(30, 2), cloud(30, 6, 1)
    times = 10.0 ** (-1.0 + 2.0 * np.arange(256) / 255)
    heat = []
    for points in (x, y):
        far = np.linalg.norm(points[:, None] - points[None], axis=2)
        near = np.argsort(far, axis=1)[:, 1:6]
        graph = np.zeros((30, 30))
        graph[np.repeat(np.arange(30), 5), near.ravel()] = 1.0
        graph = np.maximum(graph, graph.T)
        degree = graph.sum(axis=1)
        spectrum = np.linalg.eigvalsh(np.eye(30) - graph / np.sqrt(np.outer(degree, degree)))
        heat.append(np.exp(-times[:, None] * spectrum).mean(axis=1))
    expected = np.max(np.exp(-2.0 * (times + 1.0 / times)) * np.abs(heat[0] - heat[1]))
    assert imd(x, y) == pytest.approx(expected, rel=1e-10)
