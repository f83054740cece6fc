"""Kendall's tau-a against counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.statistics.rank_correlation import tau_a


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
