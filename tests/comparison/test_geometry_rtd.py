"""Representation topology divergence: the authors' matrix, planted clusters, trees, invariances, errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ripser import ripser
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison._topology_clouds import distances
from brainalign.comparison.topology_divergence import rtd, rtd_h0
from brainalign.errors import InputError, MissingDependencyError, ShapeError


def cloud(n: int, p: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, p))


def quantile_scaled(x: np.ndarray) -> np.ndarray:
    d = squareform(pdist(x))
    return d / np.quantile(d, 0.9)


def one_way(w: np.ndarray, v: np.ndarray, form: str) -> float:
    """Sum of the bars of dimension 1 in the forms of the authors' code and of their paper."""
    n = len(w)
    low = np.minimum(w, v)
    half = np.where(np.tri(n, k=-1, dtype=bool), np.inf, w)
    if form == "code":
        matrix = np.block([[np.zeros((n, n)), w.T], [w, low]])
    else:
        far = np.full((n, 1), np.inf)
        near = np.zeros((n, 1))
        matrix = np.block([[w, half.T, near], [half, low, far], [near.T, far.T, np.zeros((1, 1))]])
    bars = ripser(matrix, distance_matrix=True, maxdim=1)["dgms"][1]
    return float((bars[:, 1] - bars[:, 0]).sum())


def groups(n_groups: int, seed: int = 0) -> np.ndarray:
    """60 stimuli on a line of tight groups that lie around a circle."""
    angle = 2 * np.pi * (np.arange(60) * n_groups // 60) / n_groups
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (n_groups > 1)
    return centre + 0.05 * cloud(60, 2, seed)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_against_the_published_constructions(seed: int, form: str) -> None:
    """The value is that of the authors' doubled matrix, and of the paper's with the extra point."""
    x, y = cloud(25, 3, seed), cloud(25, 2, seed + 5)
    w, v = quantile_scaled(x), quantile_scaled(y)
    expected = (one_way(w, v, form) + one_way(v, w, form)) / 2
    assert expected > 0.5
    assert rtd(x, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("measure", [rtd, rtd_h0])
def test_same_clouds_are_at_zero(measure: object) -> None:
    """A rotated, scaled, shifted, reordered copy of the units is at 0 to the digits of float64."""
    assert callable(measure)
    x = cloud(30, 4)
    turn = np.linalg.qr(cloud(4, 4, 1))[0]
    assert measure(x, x) == 0.0
    assert measure(x, 3.0 * x @ turn + 2.0) < 1e-12
    y = cloud(30, 5, 2)
    value = measure(x, y)
    assert value > 0.5
    assert measure(y, x) == pytest.approx(value, rel=1e-9)
    assert measure(5.0 * x @ turn - 1.0, y[:, ::-1]) == pytest.approx(value, rel=1e-9)
    # and what it must see: one unit stretched, the rows of one side in another order
    assert abs(measure(x * [1, 1, 1, 9], y) - value) > 0.01
    assert measure(x, x[::-1]) > 0.5


def test_more_clusters_that_fall_apart_are_farther() -> None:
    """One cloud against the same stimuli in 2, 4 and 8 groups: RTD grows; one grouping twice is near."""
    one = groups(1, 1)
    values = [rtd(one, groups(n)) for n in (2, 4, 8)]
    assert values[0] < values[1] < values[2]
    assert rtd(groups(4), groups(4, 7)) < 0.5 * values[1]
    assert rtd_h0(groups(4), groups(4, 7)) < 0.5 * rtd_h0(one, groups(4))


def test_trees_against_scipy() -> None:
    """The tree variant is the difference of minimum spanning trees, and zero lengths are kept."""
    x, y = cloud(20, 3), cloud(20, 3, 1)
    w, v = quantile_scaled(x), quantile_scaled(y)
    tree = [minimum_spanning_tree(d).sum() for d in (w, v, np.minimum(w, v))]
    assert rtd_h0(x, y) == pytest.approx((tree[0] + tree[1]) / 2 - tree[2], rel=1e-10)
    twice = np.vstack([x, x])
    assert rtd_h0(twice, np.vstack([y, y])) == pytest.approx(
        (lambda w, v: (_kruskal(w) + _kruskal(v)) / 2 - _kruskal(np.minimum(w, v)))(
            quantile_scaled(twice), quantile_scaled(np.vstack([y, y]))
        ),
        rel=1e-9,
    )


def _kruskal(d: np.ndarray) -> float:
    """Length of a minimum spanning tree, edge by edge."""
    label = np.arange(len(d))
    total = 0.0
    for i, j in sorted(zip(*np.triu_indices(len(d), 1), strict=True), key=lambda e: d[e]):
        if label[i] != label[j]:
            label[label == label[j]] = label[i]
            total += d[i, j]
    return total


def test_batches_are_drawn_by_the_seed() -> None:
    """More stimuli than a batch: the mean over subsets, the same for a seed, all rows where they fit."""
    x, y = cloud(40, 3), cloud(40, 3, 1)
    value = rtd(x, y, batch=15, n_batches=3)
    assert value == rtd(x, y, batch=15, n_batches=3)
    assert value != rtd(x, y, batch=15, n_batches=3, random_state=1)
    rng = np.random.default_rng(0)
    draws = [rng.choice(40, 15, replace=False) for _ in range(3)]
    assert value == pytest.approx(np.mean([rtd(x[d], y[d]) for d in draws]), rel=1e-9)
    assert rtd(x, y, batch=40, n_batches=3) == rtd(x, y)


@pytest.mark.parametrize("measure", [rtd, rtd_h0])
def test_size_of_the_input_and_duplicates(measure: object) -> None:
    """Very large, very small and integer responses and duplicated rows have their ordinary value."""
    assert callable(measure)
    x, y = cloud(15, 3), cloud(15, 3, 1)
    value = measure(x, y)
    assert measure(1e200 * x, 1e-200 * y) == pytest.approx(value, rel=1e-9)
    assert measure(x + 1e6, y) == pytest.approx(value, rel=1e-6)
    whole = np.round(3 * x).astype(int)
    assert measure(whole, y) == measure(whole.astype(float), y)
    assert measure(np.vstack([x, x]), np.vstack([x, x]) * 2) < 1e-12


def test_distances_of_near_and_equal_rows_keep_their_digits() -> None:
    """Rows a millionth apart have scipy's distance, equal rows exactly 0, whatever the offset of all."""
    x = cloud(12, 40)
    x[1], x[2] = x[0], x[0] + 2.0**-20 * np.sign(x[3])
    d = distances(x)
    assert d[0, 1] == 0.0
    np.testing.assert_allclose(d / d[3, 4], squareform(pdist(x)) / np.linalg.norm(x[3] - x[4]), rtol=1e-9)
    np.testing.assert_array_equal(distances(np.full((4, 3), 0.1)), 0.0)


@pytest.mark.parametrize("measure", [rtd, rtd_h0])
def test_no_distances_is_nan_with_the_reason(measure: object) -> None:
    """A side without variance, or nearly all of one row, has no quantile to scale by: NaN and why."""
    assert callable(measure)
    x = cloud(40, 3)
    with pytest.warns(UserWarning, match="topology divergence is NaN: y does not vary over stimuli"):
        assert np.isnan(measure(x, np.full((40, 2), 0.1)))
    same = np.zeros((40, 3))
    same[0] = 1.0
    with pytest.warns(UserWarning, match="NaN: x does not vary over stimuli, or so many of its 40 stimuli"):
        assert np.isnan(measure(same, x))


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few stimuli, options out of range, a missing package: what was expected and found."""
    x = cloud(5, 2)
    with pytest.raises(ShapeError, match="topology divergence over 2 stimuli; it needs at least 3"):
        rtd(x[:2], x[:2])
    with pytest.raises(ShapeError, match="over 2 stimuli"):
        rtd_h0(x[:2], x[:2])
    with pytest.raises(InputError, match="batch=2; expected 3 to 4000 stimuli at once"):
        rtd(x, x, batch=2)
    with pytest.raises(InputError, match="n_batches=0; expected a whole number of at least 1"):
        rtd(x, x, n_batches=0)
    monkeypatch.setitem(sys.modules, "ripser", None)
    with pytest.raises(MissingDependencyError, match=r"brainalign\[topology\]"):
        rtd(x, cloud(5, 2, 1))
