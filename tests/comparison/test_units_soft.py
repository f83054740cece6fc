"""Soft matching: the four properties of the paper, an independent linear programme, nulls, errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.unit_matching import bipartite_match
from brainalign.comparison.unit_transport import soft_match, soft_matching, soft_matching_distance
from brainalign.errors import MissingDependencyError, ShapeError

SIZES = st.integers(1, 6)


def normed(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x, axis=0)


def by_linear_programme(x: np.ndarray, y: np.ndarray) -> float:
    """Largest mean correlation over all plans, as a general linear programme."""
    c = normed(x).T @ normed(y)
    p, q = c.shape
    rows, columns = np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))
    marginals = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    found = linprog(-c.ravel(), A_eq=np.vstack([rows, columns]), b_eq=marginals, method="highs")
    return float(-found.fun)


@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 5), (7, 2), (1, 6)])
def test_against_a_linear_programme(p: int, q: int) -> None:
    """The similarity equals the optimum of the transport problem, solved by another method."""
    rng = np.random.default_rng(10 * p + q)
    x, y = rng.normal(size=(12, p)), rng.normal(size=(12, q))
    expected = by_linear_programme(x, y)
    assert soft_match(x, y) == pytest.approx(expected, abs=1e-9)
    assert soft_matching_distance(x, y) == pytest.approx(np.sqrt(2 - 2 * expected), abs=1e-9)


def test_equal_sizes_are_permutation_procrustes() -> None:
    """At equal size the distance is the Procrustes distance over permutations over sqrt(p)."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 8))
    a, b = normed(x), normed(y)
    _, order = linear_sum_assignment(a.T @ b, maximize=True)
    procrustes = np.linalg.norm(a - b[:, order]) / np.sqrt(8)
    assert soft_matching_distance(x, y) == pytest.approx(procrustes, abs=1e-12)
    assert soft_match(x, y) == pytest.approx(bipartite_match(x, y), abs=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), sizes=st.tuples(SIZES, SIZES, SIZES))
def test_metric(seed: int, sizes: tuple[int, int, int]) -> None:
    """The distance is symmetric and keeps the triangle inequality over networks of any size."""
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(8, 3))
    x, y, z = (source[:, rng.integers(0, 3, p)] + 0.3 * rng.normal(size=(8, p)) for p in sizes)
    xy, yz, xz = soft_matching_distance(x, y), soft_matching_distance(y, z), soft_matching_distance(x, z)
    assert soft_matching_distance(y, x) == pytest.approx(xy, abs=1e-9)
    assert soft_match(y, x) == pytest.approx(soft_match(x, y), abs=1e-9)
    assert xz <= xy + yz + 1e-9
    assert soft_matching_distance(x, x) == 0.0


def test_rotation_lowers_it_and_not_cka() -> None:
    """A rotation of the units lowers the match while CKA does not move, also at unequal sizes."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 20))
    rotated = x @ np.linalg.qr(rng.normal(size=(20, 20)))[0]
    wide = np.hstack([x, x[:, :10]])
    assert soft_match(x, x) == pytest.approx(1.0, abs=1e-12)
    assert soft_match(x, rotated) < 0.5
    assert soft_match(wide, rotated) < soft_match(wide, x) - 0.3
    assert linear_cka(x, rotated) == pytest.approx(1.0, abs=1e-9)


def test_proportions_count_and_copies_do_not() -> None:
    """Copying every unit changes nothing; copying one unit alone does, unlike in the one-to-one match."""
    x = np.random.default_rng(2).normal(size=(40, 3))
    assert soft_match(x, np.repeat(x, 2, axis=1)) == pytest.approx(1.0, abs=1e-12)
    assert soft_matching_distance(x, np.repeat(x, 3, axis=1)) == pytest.approx(0.0, abs=1e-9)
    skewed = np.hstack([x, x[:, :1], x[:, :1]])
    assert bipartite_match(x, skewed) == pytest.approx(1.0, abs=1e-12)
    assert soft_match(x, skewed) < 0.9


def test_plan_has_uniform_marginals() -> None:
    """Each unit of x sends 1/p and each of y receives 1/q, over at most p + q - 1 pairs."""
    rng = np.random.default_rng(3)
    plan = soft_matching(rng.normal(size=(20, 4)), rng.normal(size=(20, 7)))
    np.testing.assert_allclose(np.bincount(plan.unit_x, plan.mass), 1 / 4, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.bincount(plan.unit_y, plan.mass), 1 / 7, rtol=0, atol=1e-12)
    assert len(plan.mass) <= 10


@pytest.mark.parametrize(("p", "expected"), [(50, 0.20), (500, 0.29)])
def test_null_as_documented(p: int, expected: float) -> None:
    """Unrelated units are matched above 0 on the stimuli that choose the plan, as documented."""
    x, y = np.random.default_rng(p).normal(size=(2, 100, p))
    assert soft_match(x, y) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_does_not_matter(scale: float) -> None:
    """Units of 1e-200 and 1e200 are matched as units of 1."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 5))
    assert soft_match(x * scale, y) == pytest.approx(soft_match(x, y), abs=1e-12)
    assert soft_matching_distance(x, y * scale) == pytest.approx(soft_matching_distance(x, y), abs=1e-12)


def test_constant_units_and_few_stimuli() -> None:
    """Constant units are left out with a count, a side of them is NaN; 2 stimuli are refused."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 4))
    for function in (soft_match, soft_matching_distance):
        with pytest.warns(UserWarning, match="1 of 4 units of x do not vary") as caught:
            assert function(np.insert(x, 1, 2.0, axis=1), y) == pytest.approx(function(x, y), abs=1e-12)
        assert caught[0].filename == __file__
        with (
            pytest.warns(UserWarning, match=f"{function.__name__} is NaN: no unit of x varies"),
            pytest.warns(UserWarning, match="3 of 3 units of x do not vary"),
        ):
            assert np.isnan(function(np.ones((10, 3)), y))
    with pytest.warns(UserWarning, match="soft_matching is NaN|do not vary"):
        assert len(soft_matching(x, np.ones((10, 1))).mass) == 0
    with pytest.raises(ShapeError, match="soft_match over 2 stimuli; it needs at least 3"):
        soft_match(x[:2], y[:2])


def test_without_pot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without POT equal sizes are still solved; unequal ones name the extra that brings it."""
    monkeypatch.setitem(sys.modules, "ot", None)
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 4))
    assert np.isfinite(soft_match(x, y[:, :3]))
    with pytest.raises(MissingDependencyError, match=r"soft_match of unequal .*brainalign\[transport\]"):
        soft_match(x, y)


def test_an_unsolved_problem_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network simplex that stops early gives NaN with the reason, never its unfinished plan."""
    monkeypatch.setattr("brainalign.comparison.unit_transport._MOST_PIVOTS", 2)
    rng = np.random.default_rng(7)
    with pytest.warns(UserWarning, match="soft_match is NaN: the transport problem of 20 by 30 units"):
        assert np.isnan(soft_match(rng.normal(size=(50, 20)), rng.normal(size=(50, 30))))
