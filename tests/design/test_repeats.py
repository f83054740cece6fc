"""Averages of repeats: means, counts, order, missing trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.design import average_repeats
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20), st.floats(0, 0.9), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_against_a_loop(keys: list[str], missing: float, seed: int) -> None:
    """Means, counts and first rows are those of a plain loop, with NaN trials left out per unit."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((len(keys), 3, 2))
    values[rng.random(values.shape) < missing] = np.nan
    means, counts, first = average_repeats(values, keys)
    seen = list(dict.fromkeys(keys))
    assert first.tolist() == [keys.index(k) for k in seen]
    for row, key in enumerate(seen):
        mine = values[[k == key for k in keys]]
        assert counts[row] == len(mine)
        known = ~np.isnan(mine)
        expected = np.where(
            known.any(0), np.where(known, mine, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan
        )
        np.testing.assert_allclose(means[row], expected, atol=1e-12)


def test_unit_without_any_trial_is_nan() -> None:
    """A unit that was never recorded for a stimulus has no mean there; its neighbours do."""
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 6.0]])
    means, counts, _ = average_repeats(values, ["a", "a", "b"])
    np.testing.assert_array_equal(means, [[2, np.nan], [5, 6]])
    assert counts.tolist() == [2, 1]


def test_float32_is_summed_in_double() -> None:
    """A mean of many float32 trials on a large offset keeps its digits and its dtype."""
    values = (1e4 + RNG.standard_normal((4000, 1))).astype(np.float32)
    means, _, _ = average_repeats(values, ["a"] * 4000)
    assert means.dtype == np.float32
    assert means[0, 0] == np.float32(values.astype(np.float64).mean())


def test_order_of_rows_is_free() -> None:
    """Permuted trials have the same means under the same keys; single trials come back as they are."""
    keys = np.array(list("aabbbc"))
    values, order = RNG.standard_normal((6, 2)), RNG.permutation(6)
    means, _, first = average_repeats(values, keys)
    moved, _, moved_first = average_repeats(values[order], keys[order])
    here = {keys[f]: m for f, m in zip(first, means, strict=True)}
    for f, m in zip(moved_first, moved, strict=True):
        np.testing.assert_allclose(m, here[keys[order][f]], atol=1e-12)
    single, counts, rows = average_repeats(values, range(6))
    np.testing.assert_array_equal(single, values)
    assert counts.tolist() == [1] * 6
    assert rows.tolist() == list(range(6))


def test_infinite_trial_stays_visible() -> None:
    """An infinite response is a fault, not a missing trial: its mean is infinite."""
    means, _, _ = average_repeats(np.array([[1.0], [np.inf], [2.0]]), ["a", "a", "b"])
    assert means.ravel().tolist() == [np.inf, 2.0]


def test_weighted_means_equal_single_trials() -> None:
    """Normal equations of single trials are those of the means weighted by their counts."""
    keys = RNG.integers(0, 7, 40)
    x, y = RNG.standard_normal((7, 3)), RNG.standard_normal((40, 2))
    means, counts, first = average_repeats(y, keys)
    single, weighted = x[keys], x[keys[first]]
    np.testing.assert_allclose(single.T @ single, (weighted.T * counts) @ weighted, atol=1e-10)
    np.testing.assert_allclose(single.T @ y, (weighted.T * counts) @ means, atol=1e-10)


def test_refusals() -> None:
    """Keys of another length and rows without a key are errors."""
    with pytest.raises(ShapeError, match="keys have 2 rows, expected 3"):
        average_repeats(np.zeros((3, 1)), ["a", "b"])
    with pytest.raises(InputError, match="keys: row 1 has no label"):
        average_repeats(np.zeros((3, 1)), ["a", None, "a"])
