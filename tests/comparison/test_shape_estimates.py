"""Estimates for few stimuli, all pairs of many systems with their map and tree, and retrieval."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.energy_shape import energy_shape_distance
from brainalign.comparison.permutation_alignment import permutation_procrustes_distance
from brainalign.comparison.procrustes import angular_procrustes_distance, procrustes_distance
from brainalign.comparison.procrustes_retrieval import ProcrustesRetrieval
from brainalign.comparison.shape import shape_distance
from brainalign.comparison.shape_distances import cluster_systems, embed_systems, pairwise_shape_distances
from brainalign.comparison.shape_estimator import estimate_shape_similarity
from brainalign.comparison.stochastic_shape import stochastic_shape_distance
from brainalign.errors import InputError, ShapeError


def rotation(p: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


def population(
    n: int, p: int, shared: list[float], noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two systems whose cross-covariance has the singular values `shared`."""
    z = rng.normal(size=(n, len(shared))) * np.sqrt(shared)
    return tuple(
        z @ np.linalg.qr(rng.normal(size=(p, len(shared))))[0].T + noise * rng.normal(size=(n, p)) + 4.0
        for _ in range(2)
    )  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("n", "p", "shared", "noise"),
    [
        (50, 100, [1.0, 1.0, 0.5], 0.5),
        (40, 200, [1.0, 1.0, 0.6], 0.15),
        (60, 200, list(np.linspace(1, 0.3, 8)), 0.1),
    ],
)
def test_moments_take_four_fifths_of_the_bias(n: int, p: int, shared: list[float], noise: float) -> None:
    """On planted low-dimensional populations the mean error is below a fifth of the sample's own."""
    rng = np.random.default_rng(0)
    truth = sum(shared) / (sum(shared) + p * noise**2)
    found = [
        estimate_shape_similarity(*population(n, p, shared, noise, rng), n_rotations=4) for _ in range(14)
    ]
    bias = np.mean([f.similarity for f in found]) - truth
    plug_in = np.mean([f.plug_in for f in found]) - truth
    assert plug_in > 0.2
    assert abs(bias) < plug_in / 5
    squared = np.mean([f.squared_distance for f in found])
    assert squared == pytest.approx(2 * p * noise**2, rel=0.15)
    assert found[0].angle == pytest.approx(np.arccos(found[0].similarity))


def test_jackknife_takes_half_of_the_bias() -> None:
    """With many stimuli for few units the jackknife leaves less than half of the bias."""
    rng = np.random.default_rng(1)
    truth = 2.1 / (2.1 + 6 * 0.25)
    found = [
        estimate_shape_similarity(*population(60, 6, [1.0, 0.7, 0.4], 0.5, rng), method="jackknife")
        for _ in range(150)
    ]
    bias, plug_in = (np.mean([getattr(f, v) for f in found]) - truth for v in ("similarity", "plug_in"))
    assert plug_in > 0.04
    assert abs(bias) < plug_in / 2


def test_moments_on_the_null_and_at_any_size() -> None:
    """Unrelated systems come out about 0 where the sample says 0.9; sizes do not enter."""
    rng = np.random.default_rng(2)
    found = [estimate_shape_similarity(*rng.normal(size=(2, 30, 300)), n_rotations=3) for _ in range(10)]
    assert abs(np.mean([f.similarity for f in found])) < 0.03
    assert np.mean([f.plug_in for f in found]) > 0.85
    x, y = rng.normal(size=(2, 20, 5))
    plain = estimate_shape_similarity(x, x + y)
    scaled = estimate_shape_similarity(1e200 * x, 1e-200 * (x + y))
    assert scaled.similarity == pytest.approx(plain.similarity, rel=1e-10)
    assert np.cos(angular_procrustes_distance(x, x + y)) == pytest.approx(plain.plug_in)


def test_estimator_refusals() -> None:
    """Too few stimuli, a degree that has no cycle of distinct stimuli, no variance."""
    x = np.random.default_rng(3).normal(size=(8, 3))
    with pytest.raises(InputError, match="degree=4, n_rotations=10; expected a degree from 1 to 3"):
        estimate_shape_similarity(x, x, degree=4)
    with pytest.raises(ShapeError, match="jackknife over 8 stimuli; it needs at least 20"):
        estimate_shape_similarity(x, x, method="jackknife")
    with pytest.raises(InputError, match="is not one of 'moments', 'jackknife'"):
        estimate_shape_similarity(x, x, method="moment")
    with pytest.warns(UserWarning, match="x does not vary"):
        assert np.isnan(estimate_shape_similarity(np.ones((8, 2)), x).similarity)
    spike = np.zeros((20, 1))
    spike[0] = 1.0
    with pytest.raises(InputError, match="a group of the jackknife leaves none"):
        estimate_shape_similarity(spike, spike, method="jackknife")


def systems() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(25, 4))
    out = [
        z @ rng.normal(size=(4, w)) + noise * rng.normal(size=(25, w))
        for w, noise in ((6, 1), (6, 0.1), (3, 1), (40, 1), (60, 0.1), (6, 0.0), (40, 0.0), (60, 0.0))
    ]
    return [*out, 3.0 * out[0] + 1.0]


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_all_pairs_equal_single_calls(alpha: float) -> None:
    """Narrow, wide, deficient and equal systems: every entry is that of the single call to 1e-8."""
    many = systems()
    found = pairwise_shape_distances(many, measure="shape", alpha=alpha)
    expected = [[shape_distance(a, b, alpha=alpha) for b in many] for a in many]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(found, found.T)
    if alpha == 1.0:
        np.testing.assert_array_equal(pairwise_shape_distances(many), found)
        euclidean = pairwise_shape_distances(many, measure="procrustes")
        assert euclidean[0, 3] == pytest.approx(procrustes_distance(many[0], many[3]), abs=1e-8)


def test_all_pairs_of_the_other_forms() -> None:
    """Permutation and trial forms are filled pair by pair; a constant system has no distances."""
    x, y, z = trials = np.random.default_rng(5).normal(size=(3, 4, 5, 2))
    for name, d in (("stochastic_shape", stochastic_shape_distance), ("energy_shape", energy_shape_distance)):
        assert pairwise_shape_distances(list(trials), measure=name)[2, 1] == d(y, z)
    flat = np.ones((4, 2))
    with pytest.warns(UserWarning, match="NaN"):
        table = pairwise_shape_distances([x[:, 0], flat, y[:, 0]], measure="permutation_procrustes")
    assert table[0, 2] == permutation_procrustes_distance(x[:, 0], y[:, 0])
    assert np.isnan(table[1]).all()
    with pytest.warns(UserWarning, match="1 of 3 systems do not vary over stimuli, first system 1"):
        table = pairwise_shape_distances([x[:, 0], flat, y[:, 0]])
    assert np.isnan(table[1]).all()
    assert table[0, 2] > 0


def test_map_and_tree() -> None:
    """Points in a plane come back with their distances, and two far groups are the last to join."""
    points = np.vstack([np.random.default_rng(6).normal(size=(4, 2)), np.full((3, 2), 50.0) + np.eye(3, 2)])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    found = embed_systems(distances)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), distances, atol=1e-9)
    assert embed_systems(distances, n_dims=3)[:, 2] == pytest.approx(0.0, abs=1e-5)
    assert set(cluster_systems(distances)[-1, :2]) <= set(range(7, 13))
    assert cluster_systems(distances)[-1, 2] > 40
    with pytest.raises(InputError, match="n_dims=7; expected 1 to 6"):
        embed_systems(distances, n_dims=7)
    with pytest.raises(InputError, match="method='ward' is not one of"):
        cluster_systems(distances, method="ward")
    with pytest.raises(ShapeError, match=r"distances have shape \(2, 3\)"):
        cluster_systems(np.zeros((2, 3)))
    with pytest.raises(InputError, match="not finite, first in row 0"):
        cluster_systems(np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="not symmetric, or have negative"):
        cluster_systems(-distances)
    with pytest.raises(InputError, match="systems holds 1 systems"):
        pairwise_shape_distances([points])
    with pytest.raises(InputError, match="measure='shapes' is not one of"):
        pairwise_shape_distances([points, points], measure="shapes")
    with pytest.raises(ShapeError, match="x has 7 rows and y has 6") as error:
        pairwise_shape_distances([points, points[:6]])
    assert "y is system 1" in error.value.__notes__[0]


def test_retrieval_of_a_noisy_rotation() -> None:
    """40 units, noise 1.5 times the signal, 400 training and 100 test rows: P@1 0.81, P@10 0.97."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(500, 40))
    y = x @ rotation(40) + 1.5 * rng.normal(size=(500, 40))
    found = ProcrustesRetrieval(k=(1, 10)).score(x, y)
    assert found.precision[1] == pytest.approx(0.81, abs=0.06)
    assert found.precision[10] == pytest.approx(0.97, abs=0.03)
    assert found.chance == {1: pytest.approx(0.01), 10: pytest.approx(0.1)}
    exact = ProcrustesRetrieval(k=1, csls=5).score(x, 4.0 * x @ rotation(40) - 1.0)
    assert exact.precision == {1: 1.0}
    assert exact.residual < 1e-10


def test_retrieval_null() -> None:
    """Unrelated rows are found at chance, the permutation p is not small; planted ones are significant."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, 200, 8))
    options = {"n_folds": 4, "n_components": 5, "n_permutations": 19}
    found = ProcrustesRetrieval(**options).score(x, y)  # type: ignore[arg-type]
    assert found.precision[10] == pytest.approx(0.2, abs=0.08)
    assert found.null_precision[10].mean() == pytest.approx(0.2, abs=0.03)
    assert found.p_values[10] > 0.05
    assert ProcrustesRetrieval(**options).score(x, x + y).p_values[10] == pytest.approx(0.05)  # type: ignore[arg-type]


def test_retrieval_refusals() -> None:
    """Options beyond the data, and folds without variance."""
    x = np.random.default_rng(9).normal(size=(20, 3))
    for options, text in (
        ({"n_folds": 11}, "n_folds=11; expected 2 to 10 for 20 stimuli"),
        ({"k": 5}, "k=5; expected 1 to 4"),
        ({"k": 1, "csls": 9}, "csls=9; expected 1 to 4"),
        ({"k": 1, "n_components": 4}, "n_components=4; expected 1 to 3"),
        ({"k": 1, "n_permutations": -1}, "n_permutations=-1"),
    ):
        with pytest.raises(InputError, match=text):
            ProcrustesRetrieval(**options).score(x, x)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="y does not vary over the training stimuli"):
        ProcrustesRetrieval(k=1).score(x, np.ones((20, 2)))
