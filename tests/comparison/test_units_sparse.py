"""Sparse prediction of units: planted sources, scikit-learn's Lasso, optimality, nulls, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from brainalign.comparison.unit_sparsity import sparse_prediction
from brainalign.errors import InputError, ShapeError


def zscored(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def test_planted_sources_are_found() -> None:
    """3 sources among 60 (SNR 4, n = 2000, alpha 0.1) are recovered with F1 = 1; held-out r2 is near 0.8."""
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(2000, 60)), np.zeros((60, 8))
    for j in range(8):
        truth[rng.choice(60, 3, replace=False), j] = rng.choice([-1.0, 1.0], 3)
    y = x @ truth + rng.normal(size=(2000, 8)) * np.sqrt(3 / 4)
    found = sparse_prediction(x, y, alphas=[0.1, 0.02], cv=3)
    hits = (found.support[0] & (truth != 0)).sum()
    f1 = 2 * hits / (found.support[0].sum() + (truth != 0).sum())
    assert f1 == 1.0
    assert found.r2[1].mean() == pytest.approx(0.8, abs=0.02)
    assert (found.n_sources[1] >= found.n_sources[0]).all()


@pytest.mark.parametrize("shape", [(60, 8), (20, 40)])
def test_against_single_fits(shape: tuple[int, int]) -> None:
    """Weights and held-out r2 equal one Lasso per unit, penalty and fold, also with p > n."""
    n, p = shape
    rng = np.random.default_rng(p)
    x = rng.normal(size=(n, p)) * np.linspace(1, 5, p) + 3.0
    y = x[:, :2] @ rng.normal(size=(2, 3)) + rng.normal(size=(n, 3))
    alphas = [0.1, 0.4]
    found = sparse_prediction(x, y, alphas=alphas, cv=4, random_state=3)
    np.testing.assert_array_equal(found.alphas, [0.4, 0.1])
    order = np.random.default_rng(3).permutation(n)
    for i, alpha in enumerate(found.alphas):
        for j in range(3):
            whole = Lasso(alpha, tol=1e-10, max_iter=100_000).fit(zscored(x), zscored(y[:, j]))
            np.testing.assert_allclose(found.weights[i, :, j], whole.coef_, atol=2e-3)
            scores = []
            for test in np.array_split(order, 4):
                train = np.setdiff1d(order, test)
                mean, sd = x[train].mean(axis=0), x[train].std(axis=0)
                model = Lasso(alpha, tol=1e-10, max_iter=100_000)
                model.fit((x[train] - mean) / sd, zscored(y[train][:, j]))
                target = (y[test, j] - y[train, j].mean()) / y[train, j].std()
                error = target - model.predict((x[test] - mean) / sd)
                scores.append(1 - (error**2).sum() / (target**2).sum())
            assert found.r2[i, j] == pytest.approx(np.mean(scores), abs=2e-3)


def test_sweep_trades_error_for_sources() -> None:
    """The table falls from many sources to none, where the held-out r2 is 0 up to the means of the folds."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 12))
    y = x @ rng.normal(size=(12, 4))
    frame = sparse_prediction(x, y, alphas=[2.0, 0.3, 0.1, 0.01]).to_frame()
    assert frame["alpha"].tolist() == [2.0, 0.3, 0.1, 0.01]
    assert frame["n_sources"].is_monotonic_increasing
    assert frame["r2"].is_monotonic_increasing
    assert frame["n_sources"].iloc[0] == 0
    assert frame["r2"].iloc[0] == pytest.approx(0.0, abs=1e-9)
    assert frame["r2"].iloc[-1] > 0.99


def test_null_predicts_nothing() -> None:
    """Unrelated units have a held-out r2 of about 0 at a moderate penalty and below 0 at a small one."""
    x, y = np.random.default_rng(2).normal(size=(2, 100, 30))
    found = sparse_prediction(x, y, alphas=[0.3, 0.01])
    assert abs(found.r2[0].mean()) < 0.03
    assert found.r2[1].mean() < -0.2


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_invariances(factor: float) -> None:
    """Factors, shifts and the order of units change nothing; a rotation of the sources does."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 6))
    y = x[:, [0]] + 0.1 * rng.normal(size=(50, 1))
    plain = sparse_prediction(x, y, alphas=[0.2], cv=2)
    moved = sparse_prediction(
        (x[:, ::-1] * [1, 2, 3, 4, 5, 6] + 1.0) * factor, y * factor, alphas=[0.2], cv=2
    )
    np.testing.assert_allclose(moved.weights[:, ::-1], plain.weights, atol=1e-5)
    np.testing.assert_allclose(moved.r2, plain.r2, atol=1e-5)
    rotated = sparse_prediction(x @ np.linalg.qr(rng.normal(size=(6, 6)))[0], y, alphas=[0.2], cv=2)
    assert rotated.n_sources[0, 0] > plain.n_sources[0, 0]


def test_constant_units() -> None:
    """A constant source has no weight; a constant target is NaN and counted; the others are unchanged."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 30, 3))
    y += x
    plain = sparse_prediction(x, y, alphas=[0.2])
    with pytest.warns(UserWarning, match=r"1 of 4 fits .* are NaN: the unit does not vary"):
        found = sparse_prediction(np.insert(x, 0, 7.0, axis=1), np.insert(y, 3, 7.0, axis=1), alphas=[0.2])
    np.testing.assert_allclose(found.weights[:, 1:, :3], plain.weights, atol=1e-9)
    np.testing.assert_allclose(found.r2[:, :3], plain.r2, atol=1e-9)
    assert (found.weights[:, 0, :3] == 0).all()
    assert np.isnan(found.r2[0, 3])
    assert np.isnan(found.n_sources[0, 3])
    assert found.to_frame()["n_units"].tolist() == [3]
    nothing = sparse_prediction(np.ones((30, 2)), y, alphas=[0.2])
    assert (nothing.n_sources == 0).all()
    np.testing.assert_allclose(nothing.r2, 0.0, atol=1e-9)
    spike = np.zeros((30, 1))
    spike[0] = 1.0
    with pytest.warns(UserWarning, match=r"1 of 1 fits"):
        assert np.isnan(sparse_prediction(x, spike, alphas=[0.2]).to_frame()["r2"]).all()


def test_a_descent_that_stops_early_is_nan() -> None:
    """A fit that did not converge is NaN with the reason and what to do, never its unfinished weights."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(60, 1))
    x = base + 0.05 * rng.normal(size=(60, 20))
    y = x @ rng.normal(size=(20, 1))
    with pytest.warns(UserWarning, match=r"1 of 1 fits .* did not converge \(raise max_iter"):
        found = sparse_prediction(x, y, alphas=[1e-4], max_iter=2)
    assert np.isnan(found.r2).all()


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"alphas": [0.1, -1.0]}, InputError, "expected one or more positive, finite penalties"),
        ({"alphas": []}, InputError, "expected one or more positive, finite penalties"),
        ({"alphas": [np.inf]}, InputError, "expected one or more positive, finite penalties"),
        ({"max_iter": 0}, InputError, "max_iter=0; expected a whole number of at least 1"),
        ({"cv": 1}, InputError, "cv=1; expected None or a number of folds from 2 on"),
        ({"cv": 9}, ShapeError, "cv=9 over 20 stimuli leaves 2 to a test fold"),
    ],
)
def test_errors(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    """Every refusal names the argument and its value."""
    x = np.random.default_rng(6).normal(size=(20, 3))
    with pytest.raises(kind, match=text):
        sparse_prediction(x, x, **options)
