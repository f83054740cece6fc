"""Kendall's tau against counting and scipy, with any pattern of ties."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brainalign.statistics.rank_correlation import inversions, kendall_table, sort_rows, tau_a, tau_b


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=20))
def test_equals_counting_every_pair(values: list[tuple[int, int]]) -> None:
    """With any pattern of ties, tau-a is the count of concordant minus discordant pairs over all."""
    a, b = np.array(values, dtype=float).T
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(len(a)), 2)]
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(tau_a(a, b))
    else:
        assert tau_a(a, b) == np.sum(signs) / len(signs)


def test_long_vectors_do_not_overflow() -> None:
    """At 200,000 entries, 2e10 pairs, a vector with itself is exactly 1."""
    a = np.random.default_rng(0).permutation(200_000).astype(float)
    assert tau_a(a, a) == 1.0
    assert tau_a(a, -a) == -1.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=30))
def test_tau_b_equals_scipy(values: list[tuple[int, int]]) -> None:
    """With any pattern of ties, tau-b is that of scipy."""
    a, b = np.array(values, dtype=float).T
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(tau_b(a, b))
    else:
        assert abs(tau_b(a, b) - stats.kendalltau(a, b).statistic) < 1e-12


def test_stacks_share_their_sorts() -> None:
    """A table over stacks with and without ties equals the single values; NaN stays in its row."""
    rng = np.random.default_rng(1)
    a = np.stack([rng.normal(size=40), rng.integers(0, 5, 40), np.ones(40)]).astype(float)
    b = np.stack([rng.integers(0, 3, 40), rng.normal(size=40), rng.normal(size=40)]).astype(float)
    b[2, 7] = np.nan
    for variant, single in (("a", tau_a), ("b", tau_b)):
        table = kendall_table(sort_rows(a), sort_rows(b), variant=variant)
        assert np.isnan(table[2]).all()
        assert np.isnan(table[:, 2]).all()
        np.testing.assert_array_equal(table[:2, :2], [[single(u, v) for v in b[:2]] for u in a[:2]])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 8192, 8193, 20_001, 70_000])
def test_inversions_at_every_size_of_block(n: int) -> None:
    """Around each edge of blocks and groups, inversions equal those behind the tau of scipy."""
    order = np.random.default_rng(n).permutation(n)
    pairs = n * (n - 1) // 2
    assert inversions(np.arange(n)) == 0
    assert inversions(np.arange(n)[::-1]) == pairs
    if n > 2:
        assert inversions(order) == round((1 - stats.kendalltau(np.arange(n), order).statistic) * pairs / 2)
