"""Standardisation learns from training rows alone and keeps constants constant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign.design import feature_scale, recording_parts, standardise_parts
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
PARTS = np.repeat(["1", "2", "3"], 10)
VALUES = RNG.standard_normal((30, 4)) * [1, 5, 0.1, 2] + np.repeat([0, 50, -3], 10)[:, None]


def test_against_a_loop() -> None:
    """Shared parts use their training rows, parts wholly on one side use themselves."""
    train = np.arange(15)
    found = standardise_parts(VALUES, PARTS, train)
    for rows, source in ((slice(0, 10),) * 2, (slice(10, 20), slice(10, 15)), (slice(20, 30),) * 2):
        expected = (VALUES[rows] - VALUES[source].mean(0)) / VALUES[source].std(0)
        np.testing.assert_allclose(found[rows], expected, atol=1e-12)


def test_an_outlier_in_a_test_row_changes_no_training_row() -> None:
    """A planted outlier among the test rows of a shared part moves nothing but itself."""
    train = np.array([i for i in range(30) if i % 5])
    wild = VALUES.copy()
    wild[5] += 1e6
    before, after = standardise_parts(VALUES, PARTS, train), standardise_parts(wild, PARTS, train)
    others = np.arange(30) != 5
    np.testing.assert_array_equal(after[others], before[others])
    assert (after[5] > 1e4).all()
    wild[6] += 1e6
    assert not np.allclose(standardise_parts(wild, PARTS, train)[7], before[7])


def test_invariances() -> None:
    """Offset and scale of a part vanish, those of one unit too; the order of rows is free."""
    train, order = np.arange(0, 30, 2), RNG.permutation(30)
    found = standardise_parts(VALUES, PARTS, train)
    moved = VALUES * np.repeat([2.0, 3, 4], 10)[:, None] + np.repeat([7.0, 8, 9], 10)[:, None]
    np.testing.assert_allclose(standardise_parts(moved, PARTS, train), found, atol=1e-9)
    again = standardise_parts(VALUES[order], PARTS[order], np.flatnonzero(np.isin(order, train)))
    np.testing.assert_allclose(again, found[order], atol=1e-12)
    assert not np.allclose(standardise_parts(VALUES, PARTS[order], train), found)


def test_constant_units_become_zero() -> None:
    """A float32 column of 0.1 is constant in spite of rounding, and so with missing trials in it."""
    values = np.full((30, 2), 0.1, np.float32)
    values[3, 1] = np.nan
    found = standardise_parts(values, PARTS, np.arange(20))
    assert found.dtype == np.float32
    assert np.isnan(found[3, 1])
    found[3, 1] = 0
    np.testing.assert_array_equal(found, 0)


def test_missing_values() -> None:
    """NaN is left out of the statistics and stays NaN; a unit missing in a whole part is NaN there."""
    values = VALUES.copy()
    values[4, 0] = np.nan
    values[10:20, 1] = np.nan
    found = standardise_parts(values, PARTS, np.arange(30))
    assert np.isnan(found).sum() == 11
    known = np.delete(np.arange(10), 4)
    np.testing.assert_allclose(
        found[known, 0], (VALUES[known, 0] - VALUES[known, 0].mean()) / VALUES[known, 0].std()
    )


def test_part_with_a_single_training_row() -> None:
    """One row has no deviation: the part uses all training rows instead of becoming zero."""
    parts = np.array(["a"] * 10 + ["b"] * 3)
    values = RNG.standard_normal((13, 2)) + 4
    train = np.arange(11)
    found = standardise_parts(values, parts, train)
    np.testing.assert_allclose(found[10:], (values[10:] - values[train].mean(0)) / values[train].std(0))
    lonely = standardise_parts(values, np.array(["a"] * 12 + ["b"]), np.arange(12))
    np.testing.assert_allclose(lonely[12], (values[12] - values[:12].mean(0)) / values[:12].std(0))


def test_parts_must_be_labels() -> None:
    """Another number of labels and rows without a label are refused."""
    with pytest.raises(ShapeError, match=r"parts have shape \(3,\); expected one label per row, \(30,\)"):
        standardise_parts(VALUES, PARTS[:3], np.arange(3))
    with pytest.raises(InputError, match="parts: row 0 has no label"):
        standardise_parts(VALUES, [None, *PARTS[1:]], np.arange(3))


def test_recording_parts() -> None:
    """Session and run together name a part; a single one of both needs none."""
    samples = pd.DataFrame({"session": ["a", "a", "b", "b"], "run": ["1", "2", "1", "2"]})
    assert recording_parts(samples).tolist() == ["a/1", "a/2", "b/1", "b/2"]
    assert recording_parts(samples[["run"]]).tolist() == ["1", "2", "1", "2"]
    assert recording_parts(samples.assign(run="1", session="a")) is None
    assert recording_parts(samples[[]]) is None


def test_trace_scaling() -> None:
    """The weighted kernel of a scaled layer has trace n at any scale; columns keep their ratio."""
    x, weights = VALUES, RNG.integers(1, 5, 30).astype(float)
    for factor in (1.0, 1000.0):
        mean, scale = feature_scale(factor * x, weights, "trace")
        z = (factor * x - mean) / scale
        assert (weights @ (z**2).sum(1)) / weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(weights @ z, 0, atol=1e-9)
        assert len(set(scale)) == 1


def test_column_scaling() -> None:
    """Each column has weighted mean 0 and deviation 1, constant ones become 0; counts act as repeats."""
    counts = RNG.integers(1, 4, 30)
    x = np.hstack([VALUES, np.full((30, 1), np.float64(0.1))])
    mean, scale = feature_scale(x, counts.astype(float), "column")
    trials = np.repeat((x - mean) / scale, counts, axis=0)
    np.testing.assert_allclose(trials.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(trials.std(0), [1, 1, 1, 1, 0], atol=1e-12)
    flat = np.full((7, 2), 0.1, np.float32)
    mean, scale = feature_scale(flat, np.ones(7), "column")
    np.testing.assert_array_equal((flat - mean) / scale, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_layer_stays_constant_under_trace(dtype: type) -> None:
    """The rounding of a constant layer is not blown up to unit trace."""
    flat = np.full((7, 3), 0.1, dtype)
    flat[::2] = np.nextafter(flat[0, 0], dtype(1))  # one unit of rounding is no variance
    mean, scale = feature_scale(flat, np.array([1.0, 2, 3, 1, 2, 3, 1]), "trace")
    assert (scale == 1).all()
    assert abs((flat - mean) / scale).max() < 1e-6


def test_scalings_by_name() -> None:
    """None leaves features as they are; unknown scalings are refused."""
    mean, scale = feature_scale(VALUES, np.ones(30), None)
    np.testing.assert_array_equal((VALUES - mean) / scale, VALUES)
    with pytest.raises(InputError, match="feature_scaling='zscore' is not one of 'trace', 'column', None"):
        feature_scale(VALUES, np.ones(30), "zscore")
