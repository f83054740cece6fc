"""Procrustes and permutation distances against brute force, their axioms and their errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from brainalign.comparison._measures_shape import MEASURES_SHAPE
from brainalign.comparison.permutation_alignment import align_permutation, permutation_procrustes_distance
from brainalign.comparison.procrustes import (
    align_procrustes,
    angular_procrustes_distance,
    procrustes_distance,
)
from brainalign.comparison.shape import scale_free_shape_distance, shape_distance
from brainalign.errors import InputError, ShapeError

METRICS: dict[str, Callable[..., float]] = {
    "procrustes": procrustes_distance,
    "angular": angular_procrustes_distance,
    "permutation": permutation_procrustes_distance,
    "size": lambda x, y: procrustes_distance(x, y, scale_free=False),
    "shape 0": lambda x, y: shape_distance(x, y, alpha=0.0),
    "shape 0.5": lambda x, y: shape_distance(x, y, alpha=0.5),
    "shape free": scale_free_shape_distance,
}


def rotation(p: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


def unit(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


@pytest.mark.parametrize("shape", [(20, 4, 4), (20, 4, 7), (6, 15, 15), (6, 15, 9), (8, 1, 1)])
def test_against_scipy(shape: tuple[int, int, int]) -> None:
    """All forms equal the residual of scipy's rotation of zero-padded arrays, wide and narrow."""
    n, p, q = shape
    rng = np.random.default_rng(p)
    x, y = rng.normal(size=(n, p)) + 4.0, rng.normal(size=(n, q))
    y[:, : min(p, q)] += x[:, : min(p, q)]
    most = max(p, q)

    def padded(v: np.ndarray) -> np.ndarray:
        return np.pad(v, ((0, 0), (0, most - v.shape[1])))

    a, b = padded(unit(x)), padded(unit(y))
    apart = np.linalg.norm(a @ orthogonal_procrustes(a, b)[0] - b)
    assert procrustes_distance(x, y) == pytest.approx(apart, abs=1e-12)
    assert angular_procrustes_distance(x, y) == pytest.approx(np.arccos(1 - apart**2 / 2), abs=1e-9)
    a, b = padded(x - x.mean(axis=0)), padded(y - y.mean(axis=0))
    apart = np.linalg.norm(a @ orthogonal_procrustes(a, b)[0] - b)
    assert procrustes_distance(x, y, scale_free=False) == pytest.approx(apart, rel=1e-12)


def test_small_angles_keep_their_digits() -> None:
    """A change of 1e-9 is found to a thousandth; arccos of the similarity would call it 0 or 1e-8."""
    rng = np.random.default_rng(0)
    x, change = unit(rng.normal(size=(50, 3))), rng.normal(size=(50, 3))
    change -= change.mean(axis=0)
    coarse = angular_procrustes_distance(x, x + 1e-4 * change) * 1e-5
    assert angular_procrustes_distance(x, x + 1e-9 * change) == pytest.approx(coarse, rel=1e-3)


def test_cosine_is_the_normalised_bures_similarity() -> None:
    """cos(angle) is the fidelity of the two Gram matrices over the root of their traces."""
    rng = np.random.default_rng(1)
    x, y = unit(rng.normal(size=(12, 4))), unit(rng.normal(size=(12, 6)))
    k, m = x @ x.T, y @ y.T
    fidelity = np.sqrt(np.maximum(np.linalg.eigvals(k @ m).real, 0.0)).sum()
    assert np.cos(angular_procrustes_distance(x, y)) == pytest.approx(fidelity, abs=1e-6)


def test_permutation_against_all_permutations() -> None:
    """The matching is the best of all 120, and the padded one the best of all partial ones."""
    rng = np.random.default_rng(2)
    x, y = unit(rng.normal(size=(12, 5))), unit(rng.normal(size=(12, 5)))
    least = min(np.linalg.norm(x - y[:, list(order)]) for order in itertools.permutations(range(5)))
    assert permutation_procrustes_distance(x, y) == pytest.approx(least, abs=1e-12)
    a, b = unit(x[:, :2]), unit(y[:, :3])
    wide = np.pad(b, ((0, 0), (0, 2)))
    least = min(
        np.linalg.norm(np.pad(a, ((0, 0), (0, 3))) - wide[:, list(o)])
        for o in itertools.permutations(range(5))
    )
    assert permutation_procrustes_distance(a, b, pad=True) == pytest.approx(least, abs=1e-12)


def test_padding_to_the_wider_side_alone_is_no_metric() -> None:
    """v, -v and (v, -v) break the triangle inequality unless units may stay without a partner."""
    v = unit(np.arange(5.0)[:, None])
    systems = [v, np.hstack([v, -v]), -v]
    forced = [np.sqrt(2 - 2 * c) for c in (1 / np.sqrt(2), 1 / np.sqrt(2), -1.0)]
    assert forced[2] > forced[0] + forced[1]
    xz, zy, xy = (
        permutation_procrustes_distance(systems[i], systems[j], pad=True) for i, j in ((0, 1), (1, 2), (0, 2))
    )
    assert xy == pytest.approx(np.sqrt(2.0))
    assert xy <= xz + zy


@pytest.mark.parametrize("name", METRICS)
def test_axioms(name: str) -> None:
    """Identity, symmetry and the triangle inequality over random triples."""
    rng = np.random.default_rng(3)
    for n, p in ((10, 3), (5, 8)):
        for _ in range(8):
            x, y = rng.normal(size=(2, n, p))
            z = unit(x) + unit(y) + 0.05 * rng.normal(size=(n, p))
            d = METRICS[name]
            xy, yx, xz, zy = d(x, y), d(y, x), d(x, z), d(z, y)
            assert xy == pytest.approx(yx, abs=1e-12)
            assert xy <= xz + zy + 1e-12
            assert d(x, x) == pytest.approx(0.0, abs=1e-12)


# change of one side -> names of the metrics that must not move; all others must
HOLDS = {
    "rotation": {"procrustes", "angular", "size", "shape 0", "shape 0.5", "shape free"},
    "scale": {"procrustes", "angular", "permutation", "shape 0", "shape free"},
    "translation": set(METRICS),
    "linear": {"shape 0"},
    "permutation": set(METRICS),
}


@pytest.mark.parametrize("change", HOLDS)
@pytest.mark.parametrize("name", METRICS)
def test_invariances_that_hold_and_that_fail(name: str, change: str) -> None:
    """Each form moves by less than rounding under its invariances and visibly under the others."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 15, 4))
    y += x
    changed = {
        "rotation": x @ rotation(4),
        "scale": 3.0 * x,
        "translation": x + 7.0 * rng.normal(size=4),
        "linear": x @ (rng.normal(size=(4, 4)) + np.eye(4)),
        "permutation": x[:, [2, 0, 3, 1]],
    }[change]
    moved = abs(METRICS[name](changed, y) - METRICS[name](x, y))
    assert moved < 1e-9 if name in HOLDS[change] else moved > 1e-3


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_size_does_not_matter_to_the_arithmetic(size: float) -> None:
    """Values near the ends of float64 give the same scale-free distances, and sizes in proportion."""
    x, y = np.random.default_rng(5).normal(size=(2, 10, 3))
    for d in (procrustes_distance, permutation_procrustes_distance, scale_free_shape_distance):
        assert d(x * size, y / size) == pytest.approx(d(x, y), rel=1e-12)
    apart = procrustes_distance(x * size, y * size, scale_free=False) / size
    assert apart == pytest.approx(procrustes_distance(x, y, scale_free=False), rel=1e-12)


def test_units_that_say_nothing() -> None:
    """Constant, repeated rows and integer input: constant units change nothing at any alpha."""
    rng = np.random.default_rng(6)
    x, y = rng.integers(-5, 6, size=(12, 3)), rng.normal(size=(12, 3))
    x[4] = x[3]
    more = np.hstack([x, np.full((12, 2), 0.1), np.full((12, 1), 1e8)])
    for alpha in (0.0, 0.5, 1.0):
        assert shape_distance(more, y, alpha=alpha) == pytest.approx(
            shape_distance(x, y, alpha=alpha), abs=1e-9
        )
    single = np.float32(x[:, :1])
    assert procrustes_distance(single, 2.0 * single) == pytest.approx(0.0, abs=1e-7)


def test_alignment_carries_over_to_other_stimuli() -> None:
    """The fitted map takes held-out stimuli exactly; with scaling and unequal widths as well."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(40, 4))
    y = 3.0 * x @ rotation(4) + 2.0
    fitted = align_procrustes(x[:20], y[:20], scaling=True)
    np.testing.assert_allclose(fitted.transform(x[20:]), y[20:], atol=1e-12)
    assert fitted.scale == pytest.approx(3.0)
    assert align_procrustes(x, y).scale == 1.0
    narrow = align_procrustes(x, np.hstack([y, np.zeros((40, 2))]), scaling=True).transform(x)
    np.testing.assert_allclose(narrow[:, :4], y, atol=1e-12)
    order = align_permutation(x, 5.0 * x[:, [2, 0, 1]], pad=True)
    np.testing.assert_array_equal(order.rotation.argmax(axis=1)[:3], [1, 2, 0])
    assert not order.rotation[3].any()


def test_scaling_is_least_squares_for_a_wider_x() -> None:
    """Where x is projected, the factor is that of the least squared error, found by a fine search."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 2))
    fitted = align_procrustes(x, y, scaling=True)
    mapped = (x - x.mean(axis=0)) @ fitted.rotation
    target = y - y.mean(axis=0)
    assert fitted.scale == pytest.approx(np.vdot(mapped, target) / np.vdot(mapped, mapped), rel=1e-10)


def test_no_variance_is_nan_with_the_reason() -> None:
    """A constant side has no unit size: NaN names it; at its own size it is a point."""
    x, flat = np.random.default_rng(9).normal(size=(6, 2)), np.full((6, 2), 0.1)
    for d in (
        procrustes_distance,
        angular_procrustes_distance,
        permutation_procrustes_distance,
        shape_distance,
    ):
        with pytest.warns(UserWarning, match="NaN: y does not vary over stimuli"):
            assert np.isnan(d(x, flat))
    centred = np.linalg.norm(x - x.mean(axis=0))
    assert procrustes_distance(x, flat, scale_free=False) == pytest.approx(centred)
    assert permutation_procrustes_distance(flat, flat, scale_free=False) == 0.0


def test_errors() -> None:
    """Each refusal says what was found and what to do."""
    x = np.random.default_rng(10).normal(size=(6, 2))
    with pytest.raises(ShapeError, match="over 2 stimuli; it needs at least 3"):
        procrustes_distance(x[:2], x[:2])
    with pytest.raises(ShapeError, match="x has 2 units and y has 1; .* give pad=True"):
        permutation_procrustes_distance(x, x[:, :1])
    with pytest.raises(InputError, match="y does not vary over stimuli; no rotation"):
        align_procrustes(x, np.ones((6, 2)))
    with pytest.raises(InputError, match="x does not vary over stimuli; no matching"):
        align_permutation(np.ones((6, 2)), x)
    with pytest.raises(ShapeError, match="x has 1 units; the alignment was fitted to 2"):
        align_procrustes(x, x).transform(x[:, :1])


def test_records() -> None:
    """The names, kinds and ranges of the family, and each record's value on itself."""
    names = {m.name: m for m in MEASURES_SHAPE}
    assert set(names) == {
        "procrustes", "angular_procrustes", "permutation_procrustes", "shape", "stochastic_shape",
        "energy_shape",
    }  # fmt: skip
    x: Any = np.random.default_rng(11).normal(size=(8, 4, 3))
    for m in MEASURES_SHAPE:
        assert m.kind == "distance"
        assert m.metric
        side = x if m.samples == "trials" else x[:, 0]
        assert m.function(side, side) == pytest.approx(0.0, abs=1e-6)
