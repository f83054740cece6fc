"""Scores divided among spaces: sums, references, invariances, units, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brainalign import metrics
from brainalign.errors import ShapeError
from brainalign.statistics import product_measure, split_correlation


def bands(seed=0, n=40, t=3, k=3):
    rng = np.random.default_rng(seed)
    contributions = rng.standard_normal((k, n, t))
    return contributions.sum(0) + rng.standard_normal((n, t)), contributions


@given(st.integers(0, 2**32 - 1), st.floats(-5, 5))
def test_parts_sum_to_the_score_of_the_joint_prediction(seed, bias):
    """Parts sum to R2 against either mean, whatever the offset, and to the Pearson correlation."""
    y, parts = bands(seed)
    y, joint = y + 2.0, parts.sum(0) + bias
    offset = np.full(3, bias)
    whole = product_measure(y, parts, offset=offset)
    np.testing.assert_allclose(whole.sum(0), metrics.r2(y, joint), atol=1e-12)
    train = np.array([0.5, 1.0, -3.0])
    whole = product_measure(y, parts, offset=offset, reference=train)
    np.testing.assert_allclose(whole.sum(0), metrics.r2_train_mean(y, joint, train), atol=1e-12)
    unbiased = joint - joint.mean(0) + y.mean(0)
    np.testing.assert_allclose(product_measure(y, parts).sum(0), metrics.r2(y, unbiased), atol=1e-12)
    np.testing.assert_allclose(split_correlation(y, parts).sum(0), metrics.pearson(y, joint), atol=1e-12)


def test_least_squares_gives_weight_times_correlation():
    """On its training rows the product measure is the standardised weight times the correlation."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 4)), rng.standard_normal((60, 1))
    y = y + X[:, :2].sum(1, keepdims=True)
    X, y = X - X.mean(0), y - y.mean(0)
    weights = np.linalg.lstsq(X, y[:, 0], rcond=None)[0]
    correlation = np.array([np.corrcoef(x, y[:, 0])[0, 1] for x in X.T])
    expected = weights * X.std(0) / y.std() * correlation
    found = product_measure(y, (X * weights).T[:, :, None])
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-12)


def test_orthogonal_parts_are_given_their_own_share():
    """Parts without correlation get their share of the variance; a part of zeros gets none."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 3)))[0]
    q = np.linalg.qr(q - q.mean(0))[0]
    y = (3 * q[:, 0] + 2 * q[:, 1] + q[:, 2])[:, None]
    parts = np.stack([3 * q[:, [0]], 2 * q[:, [1]], 0 * q[:, [2]]])
    np.testing.assert_allclose(product_measure(y, parts)[:, 0], [9 / 14, 4 / 14, 0], atol=1e-12)
    r = np.sqrt(13 / 14)
    np.testing.assert_allclose(split_correlation(y, parts)[:, 0], [9 / 13 * r, 4 / 13 * r, 0], atol=1e-12)


def test_an_offset_that_is_not_the_reference_is_shared_equally():
    """What a biased intercept costs goes to all spaces in equal parts."""
    y, parts = bands()
    found = product_measure(y, 0 * parts, offset=y.mean(0) + 1.0)
    np.testing.assert_allclose(found, np.tile(-1 / y.var(0) / 3, (3, 1)), atol=1e-12)
    np.testing.assert_allclose(product_measure(y, 0 * parts), 0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-13, 1e6])
def test_unit_and_zero_of_the_responses_do_not_matter(factor):
    """Responses in other units give the same parts, in float32 and far below its squares, too."""
    y, parts = bands()
    for function in (product_measure, split_correlation):
        base = function(y, parts)
        np.testing.assert_allclose(function(factor * y, factor * parts), base, rtol=1e-9)
        single = function((factor * y).astype(np.float32), (factor * parts).astype(np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, base, atol=1e-4)
    np.testing.assert_allclose(split_correlation(y + 9, parts + 4), split_correlation(y, parts), atol=1e-12)
    assert np.abs(product_measure(y, 2 * parts) - product_measure(y, parts)).max() > 0.1


def test_targets_and_predictions_that_are_constant():
    """A constant target has no parts; a constant joint prediction has correlation 0 in every part."""
    y, parts = bands()
    y[:, 1] = 0.1
    parts[:, :, 2] = np.stack([parts[0, :, 2], -parts[0, :, 2], np.full(40, 2.0)])
    for function in (product_measure, split_correlation):
        found = function(y, parts)
        assert np.isnan(found[:, 1]).all()
        assert np.isfinite(found[:, [0, 2]]).all()
    np.testing.assert_array_equal(split_correlation(y, parts)[:, 2], 0)


def test_torch_equals_numpy():
    """Tensors give tensors with the values of numpy; whole numbers are taken as real ones."""
    y, parts = bands()
    y[:, 1] = 1.0
    for function in (product_measure, split_correlation):
        found = function(torch.as_tensor(y), torch.as_tensor(parts))
        np.testing.assert_allclose(found.numpy(), function(y, parts), atol=1e-14)
    mean = torch.as_tensor(y.mean(0))
    found = product_measure(torch.as_tensor(y), torch.as_tensor(parts), offset=mean, reference=mean)
    np.testing.assert_allclose(found.numpy(), product_measure(y, parts, offset=y.mean(0)), atol=1e-14)
    whole = np.array([[1], [2], [4]])
    np.testing.assert_allclose(product_measure(whole, whole[None]), 1)


@pytest.mark.parametrize("function", [product_measure, split_correlation])
@pytest.mark.parametrize("shape", [(3, 39, 3), (3, 40), (0, 40, 3)])
def test_shapes_that_are_refused(function, shape):
    """Contributions of another shape than the responses are refused with both shapes."""
    y, _ = bands()
    with pytest.raises(ShapeError, match=r"observed has shape \(40, 3\) and contributions"):
        function(y, np.zeros(shape))


@pytest.mark.parametrize("function", [product_measure, split_correlation])
def test_one_sample_is_refused(function):
    """One sample has no variance to divide."""
    with pytest.raises(ShapeError, match="observed has 1 samples; a score needs at least 2"):
        function(np.zeros((1, 2)), np.zeros((2, 1, 2)))
