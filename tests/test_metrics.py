"""Scores per target against scikit-learn and scipy, their invariances and their refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import explained_variance_score, mean_squared_error, r2_score

from brainalign import metrics
from brainalign.errors import InputError, ShapeError, UnknownNameError

RNG = np.random.default_rng(3)
Y = RNG.standard_normal((40, 5)) * [1, 10, 0.1, 3, 1] + [0, 100, 5, -3, 0]
P = 0.6 * Y + RNG.standard_normal(Y.shape)
TRAIN_MEAN = Y.mean(0) + 0.3
REFERENCE = {
    "pearson": [pearsonr(y, p).statistic for y, p in zip(Y.T, P.T, strict=True)],
    "r2": r2_score(Y, P, multioutput="raw_values"),
    "explained_variance": explained_variance_score(Y, P, multioutput="raw_values"),
    "neg_mean_squared_error": -mean_squared_error(Y, P, multioutput="raw_values"),
    "r2_train_mean": [
        1 - sum((y - p) ** 2) / sum((y - m) ** 2) for y, p, m in zip(Y.T, P.T, TRAIN_MEAN, strict=True)
    ],
}


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
@pytest.mark.parametrize("kind", ["numpy", "torch", "float32"])
def test_against_reference(name: str, kind: str) -> None:
    """Every metric equals scikit-learn's or scipy's, for arrays and for tensors, which stay tensors."""
    convert = {"numpy": np.asarray, "torch": torch.from_numpy, "float32": lambda a: a.astype(np.float32)}[
        kind
    ]
    found = metrics.score(name, convert(Y), convert(P), train_mean=convert(TRAIN_MEAN))
    assert isinstance(found, torch.Tensor) == (kind == "torch")
    tolerance = 2e-3 if kind == "float32" else 1e-12
    np.testing.assert_allclose(np.asarray(found), REFERENCE[name], rtol=tolerance, atol=tolerance)


@given(st.floats(0.01, 100), st.floats(-100, 100))
@settings(deadline=None, max_examples=40)
def test_invariances(scale: float, offset: float) -> None:
    """Pearson ignores scale and offset of predictions, explained variance the offset, R2 neither."""
    moved = scale * P + offset
    np.testing.assert_allclose(metrics.pearson(Y, moved), metrics.pearson(Y, P), atol=1e-9)
    np.testing.assert_allclose(metrics.pearson(Y, -moved), -metrics.pearson(Y, P), atol=1e-9)
    np.testing.assert_allclose(
        metrics.explained_variance(Y, P + offset), metrics.explained_variance(Y, P), atol=1e-8
    )
    order = np.random.default_rng(0).permutation(len(Y))
    for name in metrics.METRICS:
        np.testing.assert_allclose(
            metrics.score(name, Y[order], moved[order], train_mean=TRAIN_MEAN),
            metrics.score(name, Y, moved, train_mean=TRAIN_MEAN),
            rtol=1e-9,
            atol=1e-9,
        )


def test_invariances_that_must_fail() -> None:
    """R2 falls with an offset and with a scale, Pearson with rows out of order, each target by itself."""
    for name in ("r2", "r2_train_mean", "neg_mean_squared_error"):
        before = metrics.score(name, Y, P, train_mean=TRAIN_MEAN)
        assert (metrics.score(name, Y, P - 50, train_mean=TRAIN_MEAN) < before).all(), name
        assert (metrics.score(name, Y, 30 * P, train_mean=TRAIN_MEAN) < before).all(), name
    assert (abs(metrics.pearson(Y, 2 * P) - metrics.pearson(Y, P)) < 1e-12).all()
    assert (metrics.explained_variance(Y, 30 * P) < metrics.explained_variance(Y, P)).all()
    assert abs(metrics.pearson(Y, P[::-1]) - metrics.pearson(Y, P)).min() > 0.1
    doubled = metrics.pearson(np.hstack([Y, Y[:, :1]]), np.hstack([P, P[:, :1]]))
    assert doubled[-1] == doubled[0]


def test_null_scores_are_zero() -> None:
    """Unrelated predictions have mean r about 0, and R2 below 0 because they err twice."""
    rng = np.random.default_rng(0)
    y, p = rng.standard_normal((2, 100, 3000))
    r = metrics.pearson(y, p)
    assert abs(r.mean()) < 4 / np.sqrt(100 * 3000)
    assert r.std() == pytest.approx(1 / np.sqrt(99), rel=0.05)
    assert metrics.r2(y, p).mean() == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_constant_columns(convert: type) -> None:
    """A constant target has no score, float32 0.1 included; a constant prediction has r = 0."""
    flat = np.full((7, 1), 0.1, np.float32)
    varying = np.arange(7, dtype=np.float32)[:, None]
    y, p = convert(np.hstack([flat, varying, flat])), convert(np.hstack([varying, flat, flat]))
    np.testing.assert_array_equal(np.asarray(metrics.pearson(y, p)), [np.nan, 0, np.nan])
    assert np.isnan(np.asarray(metrics.r2(y, p))).tolist() == [True, False, True]
    assert np.asarray(metrics.r2(y, p))[1] <= 0
    assert np.isnan(np.asarray(metrics.explained_variance(y, p))).tolist() == [True, False, True]
    assert metrics.is_constant(y).tolist() == [True, False, True]


def test_is_constant_knows_rounding_from_variance() -> None:
    """0.1 through float32 and back is constant for float32; a billionth of variance in float64 is not."""
    column = np.array([[0.1], [np.float32(0.1)], [0.1]])
    assert metrics.is_constant(column, dtype=np.float32).tolist() == [True]
    assert metrics.is_constant(column).tolist() == [False]
    assert metrics.is_constant(np.array([[1e6], [1e6 + 1e-3]])).tolist() == [False]
    assert metrics.is_constant(np.zeros((3, 2))).tolist() == [True, True]
    assert metrics.is_constant(np.zeros((0, 2))).tolist() == [True, True]
    assert metrics.is_constant(torch.zeros((0, 2))).tolist() == [True, True]
    assert metrics.is_constant(torch.full((3, 1), 0.1, dtype=torch.bfloat16)).tolist() == [True]


@pytest.mark.parametrize("size", [1e-25, 1e-13, 1e15])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_responses_in_tesla(size: float, convert: type) -> None:
    """Magnetic fields of 1e-13 T in float32 score as the same numbers around 1 do."""
    y, p = (Y * size).astype(np.float32), (P * size).astype(np.float32)
    np.testing.assert_allclose(metrics.pearson(convert(y), convert(p)), REFERENCE["pearson"], atol=1e-4)
    np.testing.assert_allclose(metrics.r2(convert(y), convert(p)), REFERENCE["r2"], rtol=1e-3, atol=1e-3)


def test_train_mean_predicts_exactly_zero() -> None:
    """Predicting the training mean scores exactly 0 by r2_train_mean and below 0 by r2."""
    guess = np.broadcast_to(TRAIN_MEAN, Y.shape)
    np.testing.assert_array_equal(metrics.r2_train_mean(Y, guess, TRAIN_MEAN), 0)
    assert (metrics.r2(Y, guess) < 0).all()


def test_nan_stays_nan() -> None:
    """A NaN in target or prediction gives NaN for that target alone."""
    for where in (Y, P):
        other = where.copy()
        other[3, 1] = np.nan
        pair = (other, P) if where is Y else (Y, other)
        for name in metrics.METRICS:
            found = metrics.score(name, *pair, train_mean=TRAIN_MEAN)
            assert np.isnan(found).tolist() == [False, True, False, False, False], name


def test_counts_and_lists() -> None:
    """Spike counts as integers and plain lists score as their floats do."""
    y, p = RNG.integers(0, 9, (2, 20, 2))
    np.testing.assert_array_equal(metrics.pearson(y, p), metrics.pearson(y.astype(float), p.astype(float)))
    np.testing.assert_array_equal(metrics.r2(y.tolist(), p.tolist()), metrics.r2(y, p))


def test_refusals() -> None:
    """Unequal shapes, too few samples, an unknown name and an absent training mean are errors."""
    with pytest.raises(ShapeError, match=r"observed has shape \(40, 5\), predicted \(40, 4\)"):
        metrics.pearson(Y, P[:, :4])
    with pytest.raises(ShapeError, match="at least 2 test samples, found 1; use 'neg_mean"):
        metrics.r2(Y[:1], P[:1])
    assert metrics.neg_mean_squared_error(Y[:1], P[:1]).shape == (5,)
    with pytest.raises(ShapeError, match="at least 1 test samples, found 0"):
        metrics.neg_mean_squared_error(Y[:0], P[:0])
    with pytest.raises(UnknownNameError, match="metric 'r3' does not exist; closest: r2"):
        metrics.score("r3", Y, P)
    with pytest.raises(InputError, match="'r2_train_mean' needs train_mean="):
        metrics.score("r2_train_mean", Y, P)
    with pytest.raises(
        ShapeError, match=r"train_mean has shape \(40, 5\); expected one value per target, \(5,\)"
    ):
        metrics.r2_train_mean(Y, P, Y)
