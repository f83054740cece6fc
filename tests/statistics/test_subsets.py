"""Subset algebra against sums over all subsets, its axioms, planted overlap, and its errors."""

from __future__ import annotations

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.errors import InputError, ShapeError
from brainalign.statistics import (
    shapley_values,
    subset_components,
    subset_masks,
    unique_contributions,
)


@st.composite
def tables(draw, most=5):
    """A number of spaces and a table of values of all their subsets, with 0 for the empty one."""
    n_spaces = draw(st.integers(1, most))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal((2**n_spaces, 3))
    values[0] = 0
    return n_spaces, values


def subsets_of(mask):
    members = [j for j in range(16) if mask >> j & 1]
    for size in range(len(members) + 1):
        for chosen in combinations(members, size):
            yield sum(2**j for j in chosen)


def regions(n_spaces, seed=0):
    """A Venn diagram: the size of every region, and the union that each subset of spaces covers."""
    sizes = np.random.default_rng(seed).uniform(size=2**n_spaces)
    sizes[0] = 0
    masks = np.arange(2**n_spaces)
    touches = (masks[:, None] & masks) > 0
    return sizes, touches @ sizes


@given(tables())
def test_components_equal_the_sum_over_all_subsets(table):
    """The fast transform equals inclusion and exclusion written out, and sums to the value of all."""
    n_spaces, values = table
    everything = 2**n_spaces - 1
    found = subset_components(values)
    for mask in range(1, 2**n_spaces):
        expected = sum(
            (-1) ** ((mask ^ part).bit_count()) * (values[everything] - values[everything ^ part])
            for part in subsets_of(mask)
        )
        np.testing.assert_allclose(found[mask], expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(0), values[-1], atol=1e-12)


@pytest.mark.parametrize("n_spaces", [1, 2, 3, 4, 8])
def test_regions_of_a_venn_diagram_are_recovered(n_spaces):
    """From the covered area of every union the area of every region comes back."""
    sizes, covered = regions(n_spaces)
    np.testing.assert_allclose(subset_components(covered), sizes, atol=1e-11)
    alone = [sizes[2**j] for j in range(n_spaces)]
    np.testing.assert_allclose(unique_contributions(covered), alone, atol=1e-11)
    masks = subset_masks(n_spaces)
    shared_evenly = (sizes[1:, None] * masks[1:] / masks[1:].sum(1, keepdims=True)).sum(0)
    np.testing.assert_allclose(shapley_values(covered), shared_evenly, atol=1e-11)


@given(tables())
def test_value_of_every_subset_is_the_sum_of_the_components_it_touches(table):
    """The components give the table back: nothing is lost in the transform."""
    n_spaces, values = table
    values[0] = 0.3  # an empty subset with a value is kept in row 0
    components = subset_components(values)
    masks = np.arange(2**n_spaces)
    touches = (masks[:, None] & masks) > 0
    np.testing.assert_allclose(components[0] + touches @ components, values, atol=1e-12)


@settings(max_examples=25)
@given(tables(most=4))
def test_shapley_values_equal_the_mean_over_orders(table):
    """The closed form equals the gain of each space averaged over every order of adding them."""
    n_spaces, values = table
    expected = np.zeros((n_spaces, 3))
    for order in permutations(range(n_spaces)):
        mask = 0
        for j in order:
            expected[j] += values[mask | 2**j] - values[mask]
            mask |= 2**j
    np.testing.assert_allclose(shapley_values(values), expected / factorial(n_spaces), atol=1e-12)


@given(tables(), st.integers(0, 2**32 - 1))
def test_axioms_of_shapley(table, seed):
    """Efficiency, symmetry, dummy and additivity hold, and a constant added to all subsets drops out."""
    n_spaces, values = table
    rng = np.random.default_rng(seed)
    found = shapley_values(values)
    np.testing.assert_allclose(found.sum(0), values[-1], atol=1e-12)
    shifted = shapley_values(values + 1.7)
    np.testing.assert_allclose(shifted, found, atol=1e-12)

    other = rng.standard_normal(values.shape)
    np.testing.assert_allclose(shapley_values(values + other), found + shapley_values(other), atol=1e-12)

    j = int(rng.integers(n_spaces))
    masks = np.arange(2**n_spaces)
    without = values[masks & ~(2**j)]
    np.testing.assert_allclose(shapley_values(without)[j], 0, atol=1e-12)
    constant_gain = without + 0.25 * ((masks >> j) & 1)[:, None]
    np.testing.assert_allclose(shapley_values(constant_gain)[j], 0.25, atol=1e-12)

    i = int(rng.integers(n_spaces))
    bit_i, bit_j = (masks >> i) & 1, (masks >> j) & 1
    swapped = masks & ~(2**i) & ~(2**j) | (bit_i << j) | (bit_j << i)
    alike = shapley_values(values + values[swapped])
    np.testing.assert_allclose(alike[i], alike[j], atol=1e-12)


@given(tables(), st.integers(0, 2**32 - 1))
def test_another_order_of_spaces_permutes_the_results(table, seed):
    """Numbering the spaces differently renumbers unique parts, Shapley values and components alike."""
    n_spaces, values = table
    order = np.random.default_rng(seed).permutation(n_spaces)
    masks = subset_masks(n_spaces)
    # new space k is old space order[k]: the old row of each new subset
    old = (masks * 2**order).sum(1)
    moved = values[old]
    np.testing.assert_allclose(shapley_values(moved), shapley_values(values)[order], atol=1e-12)
    np.testing.assert_allclose(unique_contributions(moved), unique_contributions(values)[order], atol=1e-12)
    np.testing.assert_allclose(subset_components(moved), subset_components(values)[old], atol=1e-12)


def test_suppression_gives_a_negative_shared_part():
    """Spaces that explain more together than one by one share a negative part, which is not clipped."""
    found = subset_components(np.array([0.0, 0.1, 0.1, 0.9]))
    np.testing.assert_allclose(found, [0, 0.8, 0.8, -0.7])


def test_columns_stay_apart_and_input_stays_unchanged():
    """NaN stays in its target, further axes are kept, and the table that went in is not changed."""
    values = np.random.default_rng(0).standard_normal((8, 2, 5))
    before = values.copy()
    values[3, 1, 2] = before[3, 1, 2] = np.nan
    for function, rows in ((subset_components, 8), (unique_contributions, 3), (shapley_values, 3)):
        found = function(values)
        assert found.shape == (rows, 2, 5)
        clean = np.isfinite(found).all(0)
        assert clean.sum() == 9 or function is unique_contributions
        np.testing.assert_allclose(found[:, 0], function(values[:, 0]), atol=0)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("function", [subset_components, unique_contributions, shapley_values])
def test_torch_equals_numpy(function):
    """Tensors give tensors of their dtype with the values of numpy; integers are taken as real numbers."""
    values = np.random.default_rng(1).standard_normal((16, 4))
    found = function(torch.as_tensor(values))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), function(values), atol=1e-15)
    assert function(torch.as_tensor(values).float()).dtype == torch.float32
    assert function(values.astype(np.float32)).dtype == np.float32
    whole = np.array([0, 3, 2, 4])
    np.testing.assert_array_equal(function(torch.as_tensor(whole)).numpy(), function(whole))


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (6,), (2**17,)])
@pytest.mark.parametrize("function", [subset_components, unique_contributions, shapley_values])
def test_tables_that_are_refused(function, shape):
    """A table without one row for each subset is refused with what was expected."""
    with pytest.raises(ShapeError, match=r"one row for each of the 2\^J subsets .* bitmask order"):
        function(np.zeros(shape))


@pytest.mark.parametrize("n_spaces", [0, 17])
def test_number_of_spaces_that_is_refused(n_spaces):
    """No spaces and too many spaces are refused with the limit."""
    with pytest.raises(InputError, match=f"n_spaces={n_spaces}; expected 1 to 16"):
        subset_masks(n_spaces)
