"""Variance partition of planted and of null responses, and what must and must not change it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from partition_cases import FIELDS, problem

from brainalign.regression.partition import variance_partition


def orthogonal_bands(n, widths, seed=0):
    """Bands and noise columns that are centred and orthogonal over all rows."""
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((n, sum(widths)))
    q = np.linalg.qr(columns - columns.mean(0))[0] * np.sqrt(n)
    order = rng.permutation(n)
    return np.split(q[order], np.cumsum(widths)[:-1], axis=1)


@pytest.mark.parametrize("p", [10, 25])
def test_planted_shares_of_orthogonal_bands(p):
    """Bands that carry 60 and 20 % of the variance are given them within 3 points, and share nothing."""
    n, t = 2500, 8
    low, high, noise = orthogonal_bands(n, (p, p, t))
    rng = np.random.default_rng(1)
    signals = [band @ rng.standard_normal((p, t)) for band in (low, high)]
    Y = 0.6**0.5 * signals[0] / signals[0].std(0) + 0.2**0.5 * signals[1] / signals[1].std(0)
    parts = variance_partition({"low": low, "high": 50 * high}, Y + 0.2**0.5 * noise)
    for field in ("unique", "shapley", "product_measure"):
        np.testing.assert_allclose(getattr(parts, field)[0], 0.6, atol=0.03, err_msg=field)
        np.testing.assert_allclose(getattr(parts, field)[1], 0.2, atol=0.03, err_msg=field)
    assert np.abs(parts.shared[parts.row("low", "high")]).max() < 0.03


def test_planted_shares_with_more_columns_than_samples():
    """Signals of few dimensions inside wide spaces are recovered by the kernel form, too."""
    n, t = 500, 6
    rng = np.random.default_rng(0)
    low, high, noise = orthogonal_bands(n, (3, 3, t))
    wide = [b @ rng.standard_normal((3, 300)) + 1e-3 * rng.standard_normal((n, 300)) for b in (low, high)]
    signals = [b @ rng.standard_normal((3, t)) for b in (low, high)]
    Y = 0.6**0.5 * signals[0] / signals[0].std(0) + 0.2**0.5 * signals[1] / signals[1].std(0)
    parts = variance_partition(wide, Y + 0.2**0.5 * noise, alphas=np.logspace(-4, 2, 4))
    np.testing.assert_allclose(parts.unique.mean(1), [0.6, 0.2], atol=0.03)
    np.testing.assert_allclose(parts.unique, np.repeat([[0.6], [0.2]], t, axis=1), atol=0.06)


def test_what_spaces_share_is_found_as_shared():
    """A signal in two of three spaces is shared by exactly these; a private one is unique."""
    n, t = 1500, 6
    rng = np.random.default_rng(2)
    common, own, third, noise = orthogonal_bands(n, (4, 4, 4, t))
    a = np.concatenate([common, own], axis=1)
    b = common @ rng.standard_normal((4, 4))
    signals = [x @ rng.standard_normal((4, t)) for x in (common, own)]
    Y = 0.5**0.5 * signals[0] / signals[0].std(0) + 0.2**0.5 * signals[1] / signals[1].std(0)
    parts = variance_partition([a, b, third], Y + 0.3**0.5 * noise, names=["a", "b", "c"])
    expected = {("a", "b"): 0.5, ("a",): 0.2}
    for subset in parts.subsets:
        np.testing.assert_allclose(parts.shared[parts.row(*subset)], expected.get(subset, 0), atol=0.03)
    np.testing.assert_allclose(parts.shapley[:, :].mean(1), [0.45, 0.25, 0.0], atol=0.03)


def test_null_spaces_explain_nothing():
    """Noise responses have unique and shared parts about zero, below it on average; nothing is clipped."""
    rng = np.random.default_rng(0)
    spaces = [rng.standard_normal((300, 20)) for _ in range(3)]
    parts = variance_partition(spaces, rng.standard_normal((300, 100)))
    assert -0.03 < parts.r2.mean() < 0
    assert np.abs(parts.unique).mean() < 0.02
    assert np.abs(parts.shapley).mean() < 0.02
    assert (parts.n_negative > 10).all()
    assert parts.edge_hits[:, 1].mean() > 0.3  # noise asks for the largest penalty


def test_a_null_band_beside_a_signal_is_not_unique():
    """A band of noise beside a band of signal has a unique part about zero."""
    rng = np.random.default_rng(3)
    signal, noise = rng.standard_normal((500, 10)), rng.standard_normal((500, 10))
    Y = signal @ rng.standard_normal((10, 20)) + 3 * rng.standard_normal((500, 20))
    parts = variance_partition([signal, noise], Y)
    assert -0.03 < parts.unique[1].mean() < 0.005
    assert parts.unique[0].mean() > 0.3


@pytest.mark.parametrize("p", [10, 150])
def test_a_space_given_twice_is_all_shared(p):
    """Two copies of one space have no unique part, and equal halves of everything else."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((100, p))
    Y = X[:, :3] @ rng.standard_normal((3, 5)) + rng.standard_normal((100, 5))
    parts = variance_partition([X, 7 * X], Y)
    np.testing.assert_allclose(parts.unique, 0, atol=1e-6)
    np.testing.assert_allclose(parts.shared[2], parts.r2[2], atol=1e-6)
    for field in ("shapley", "product_measure", "split_correlation"):
        first, second = getattr(parts, field)
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("widths", [(4, 6, 3), (30, 45, 8)])
def test_order_of_spaces_permutes_the_parts(widths):
    """Spaces in another order have the same parts under their names."""
    spaces, Y, _ = problem(60, widths)
    names = ["a", "b", "c"]
    base = variance_partition(spaces, Y, names=names, cv=3)
    order = [2, 0, 1]
    moved = variance_partition([spaces[j] for j in order], Y, names=[names[j] for j in order], cv=3)
    for size in (1, 2, 3):
        for subset in combinations(names, size):
            for field in ("r2", "shared"):
                old, new = (getattr(x, field)[x.row(*subset)] for x in (base, moved))
                np.testing.assert_allclose(new, old, atol=1e-9)
    for field in ("unique", "shapley", "product_measure", "split_correlation"):
        np.testing.assert_allclose(getattr(moved, field), getattr(base, field)[order], atol=1e-9)


@pytest.mark.parametrize("widths", [(4, 6), (30, 45)])
def test_scale_zero_and_rotation_of_a_space_do_not_matter(widths):
    """A space in other units, about another zero or rotated has the same parts; stretched it has not."""
    (a, b), Y, _ = problem(60, widths)
    base = variance_partition([a, b], Y, cv=3)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((widths[1], widths[1])))[0]
    for other in (1000 * b, 1e-12 * b, b - 40.0, b @ Q):
        moved = variance_partition([a, other], Y, cv=3)
        for field in FIELDS:
            np.testing.assert_allclose(getattr(moved, field), getattr(base, field), atol=1e-7)
    stretched = b.copy()
    stretched[:, 0] *= 30
    assert np.abs(variance_partition([a, stretched], Y, cv=3).r2 - base.r2).max() > 1e-3
    # without equal traces the larger space has the smaller penalty
    free = [variance_partition([a, f * b], Y, cv=3, equal_trace=False).r2[2] for f in (1, 1000)]
    assert np.abs(free[0] - free[1]).max() > 1e-3


def test_units_of_the_responses_do_not_matter():
    """Responses in tesla have the parts of responses in volt, and so have responses far from zero."""
    spaces, Y, _ = problem()
    base = variance_partition(spaces, Y)
    for other in (1e-13 * Y, Y + 1e4):
        moved = variance_partition(spaces, other)
        for field in FIELDS:
            np.testing.assert_allclose(getattr(moved, field), getattr(base, field), atol=1e-8)
