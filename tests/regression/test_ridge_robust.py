"""Input as it comes: types, layouts, tiny and huge units, degenerate shapes, targets without a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from ridge_cases import ALPHAS, SCORINGS, folds, problem, refit_scores
from sklearn.linear_model import Ridge

from brainalign import metrics
from brainalign.errors import InputError, ShapeError
from brainalign.regression import RidgeCV

SOLVERS = ("primal", "dual", "factored", "eigen")
MSE = "neg_mean_squared_error"


def close(model, other, tolerance=1e-9):
    for name in ("best_alphas_", "cv_scores_", "coef_", "intercept_"):
        found, expected = np.asarray(getattr(model, name)), np.asarray(getattr(other, name))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scoring", SCORINGS)
def test_targets_without_a_fit(scoring, solver):
    """Codes, reasons and NaN for constant, NaN, infinite and unscorable targets; never zero."""
    X, Y, _ = problem(t=8)
    Y[:, 1], Y[4, 2], Y[5, 3], Y[:, 4] = 0.1, np.nan, -np.inf, 0.0
    cv = [(np.arange(20, 60), np.arange(20)), (np.r_[0:20, 40:60], np.arange(20, 40))]
    Y[:40, 6] = 2.5  # varies in no test fold
    model = RidgeCV(ALPHAS, cv=cv, scoring=scoring, solver=solver).fit(X, Y)
    last = 0 if scoring == MSE else 3
    assert model.nan_codes_.tolist() == [0, 2, 1, 1, 2, 0, last, 0]
    reasons = {"NaN or infinite response": 2, "constant response": 2}
    assert model.nan_reasons_ == (reasons if not last else {**reasons, "constant in every test fold": 1})
    bad = model.nan_codes_ > 0
    for values in (model.best_alphas_, model.best_scores_, model.intercept_, model.coef_.sum(1)):
        np.testing.assert_array_equal(np.isnan(values), bad)
    np.testing.assert_array_equal(np.isnan(model.cv_scores_), np.tile(bad, (len(ALPHAS), 1)))
    np.testing.assert_array_equal(np.isnan(model.predict(X)), np.tile(bad, (60, 1)))
    np.testing.assert_array_equal(
        np.isnan(model.score_per_target(X, np.nan_to_num(Y, posinf=0, neginf=0))), bad
    )
    assert np.isfinite(model.score(X, np.nan_to_num(Y, posinf=0, neginf=0)))


def test_no_finite_target_is_refused():
    """Where every target holds NaN or infinity, the error says so; all constant is no error."""
    X, Y, _ = problem()
    Y[3] = np.inf
    for solver in SOLVERS:
        with pytest.raises(ValueError, match="contains NaN or infinity in every target: no target is finite"):
            RidgeCV(ALPHAS, solver=solver).fit(X, Y)
    model = RidgeCV(ALPHAS).fit(X, np.ones((60, 2)))
    assert model.nan_codes_.tolist() == [2, 2]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_constant_columns(solver, intercept):
    """A constant column has weight zero beside an intercept, and is a feature without one."""
    X, Y, _ = problem()
    X[:, 4], X[:, 9] = 3.7, 0.0
    cv = folds("unequal")
    model = RidgeCV(ALPHAS, cv=cv, solver=solver, fit_intercept=intercept).fit(X, Y)
    expected = refit_scores(X, Y, cv, ALPHAS, "r2", intercept=intercept)
    np.testing.assert_allclose(model.cv_scores_, expected, atol=1e-8)
    assert (model.coef_[:, 9] == 0).all() or np.abs(model.coef_[:, 9]).max() < 1e-12
    if intercept:
        assert np.abs(model.coef_[:, 4]).max() < 1e-12
    else:
        assert np.abs(model.coef_[:, 4]).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS)
def test_features_that_never_vary_predict_the_mean(solver, dtype):
    """Only constant columns: R2 at most zero, the training mean is predicted, r2_train_mean is exactly 0."""
    X, Y, _ = problem()
    X, Y = np.tile(X[:1], (60, 1)).astype(dtype), Y.astype(dtype)
    for grid in ("auto", ALPHAS):
        model = RidgeCV(grid, solver=solver).fit(X, Y)
        assert not np.asarray(model.coef_).any()
        assert (model.cv_scores_ <= 0).all()
        predicted = model.predict(X)
        assert (predicted == predicted[0]).all()
        mean = predicted[0]
        assert (metrics.r2_train_mean(Y, predicted, mean) == 0).all()
        assert (metrics.r2(Y.astype(np.float64), predicted) <= 1e-12).all()
        np.testing.assert_allclose(mean, Y.mean(0), rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tiny", [1e-3, 1e-8])
def test_duplicate_columns_with_tiny_penalties_in_float32(solver, tiny):
    """Rank deficiency in float32: the penalty shares a weight among equal columns, nothing explodes."""
    X, Y, _ = problem(n=60, p=8)
    X = np.hstack([X, X, X[:, :4] + X[:, 4:8]]).astype(np.float32)
    Y = Y.astype(np.float32)
    cv = folds("unequal")
    model = RidgeCV([tiny, 1.0], cv=cv, solver=solver).fit(X, Y)
    expected = refit_scores(X.astype(float), Y.astype(float), cv, [tiny, 1.0], "r2")
    np.testing.assert_allclose(model.cv_scores_, expected, atol=2e-4)
    np.testing.assert_allclose(model.coef_[:, :8], model.coef_[:, 8:16], atol=2e-3)
    exact = Ridge(model.best_alphas_, solver="svd").fit(X.astype(float), Y.astype(float))
    np.testing.assert_allclose(model.predict(X), exact.predict(X.astype(float)), atol=2e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_more_columns_than_directions(solver):
    """A matrix of low rank gives the scores of refits, down to penalties near rounding."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 40))
    Y = X[:, :3] + rng.standard_normal((60, 3))
    cv = folds("equal")
    model = RidgeCV([1e-6, 1.0, 100.0], cv=cv, solver=solver).fit(X, Y)
    np.testing.assert_allclose(model.cv_scores_, refit_scores(X, Y, cv, [1e-6, 1.0, 100.0], "r2"), atol=1e-7)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "slice": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "DataFrame": lambda a: pd.DataFrame(a, columns=[f"c{i}" for i in range(a.shape[1])]),
    "list": lambda a: a.tolist(),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layouts_give_the_same_fit(layout, dtype):
    """Order in memory, byte order, read-only memory, tables and lists do not change the result."""
    X, Y, _ = (part.astype(dtype) for part in problem())
    before = X.copy(), Y.copy()
    expected = RidgeCV(ALPHAS).fit(X, Y)
    found = RidgeCV(ALPHAS).fit(LAYOUTS[layout](X), LAYOUTS[layout](Y))
    close(found, expected, 1e-9 if dtype == np.float64 else 2e-4)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("kind", ["f2", "i4", "u1", "bool"])
@pytest.mark.parametrize("as_torch", [False, True])
def test_narrow_types(kind, as_torch):
    """float16, integers and booleans equal the same numbers in a wide type."""
    X, Y, _ = problem()
    if kind == "bool":
        X, Y = X > 2, Y > 5
    else:
        X, Y = (np.abs(part).astype(kind) for part in (3 * X, 3 * Y))
    expected = RidgeCV(ALPHAS).fit(X.astype(np.float64), Y.astype(np.float64))
    found = RidgeCV(ALPHAS).fit(*(torch.as_tensor(part) for part in (X, Y)) if as_torch else (X, Y))
    close(found, expected, 5e-4 if kind == "f2" else 1e-9)
    wanted = "float32" if kind == "f2" else "float64"
    assert str(found.coef_.dtype).removeprefix("torch.") == wanted


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_smallest_shapes(solver):
    """Two rows, one feature, one target as a vector or a column."""
    X, y = np.array([[0.0], [2.0]]), np.array([1.0, 2.0])
    model = RidgeCV([1.0, 3.0], cv=2, scoring=MSE, solver=solver).fit(X, y)
    # one training row predicts itself for the other
    np.testing.assert_allclose(model.cv_scores_, [[-1.0], [-1.0]])
    expected = Ridge(3.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_)
    np.testing.assert_allclose(model.predict(X), expected.predict(X))
    X, Y, _ = problem(n=30, p=1, t=1)
    vector, column = (RidgeCV(ALPHAS, solver=solver).fit(X, part) for part in (Y[:, 0], Y))
    assert (vector.coef_.shape, column.coef_.shape) == ((1,), (1, 1))
    assert (vector.predict(X).shape, column.predict(X).shape) == ((30,), (30, 1))
    assert np.ndim(vector.intercept_) == 0
    assert vector.best_alphas_.shape == column.best_alphas_.shape == (1,)
    np.testing.assert_array_equal(vector.coef_, column.coef_[0])
    assert vector.score(X, Y[:, 0]) == pytest.approx(column.score(X, Y))


@pytest.mark.parametrize("solver", SOLVERS)
def test_offsets_far_from_zero_in_float32(solver):
    """Responses of 1e6 plus noise in float32 give the scores of float64."""
    X, Y, _ = problem(noise=2.0)
    Y = (1e6 + 50 * Y).astype(np.float32)
    cv = folds("unequal")
    model = RidgeCV(ALPHAS, cv=cv, solver=solver).fit(X.astype(np.float32), Y)
    expected = refit_scores(X.astype(np.float32).astype(float), Y.astype(float), cv, ALPHAS, "r2")
    np.testing.assert_allclose(model.cv_scores_, expected, atol=2e-4)
    np.testing.assert_array_equal(model.best_alphas_, ALPHAS[expected.argmax(0)])
    assert not model.nan_codes_.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("unit", [1e-13, 1e-15, 1e9])
def test_units_of_the_responses(unit, scoring, solver, dtype):
    """Responses in tesla or large units choose the penalties of the same responses near one."""
    X, Y, _ = problem()
    plain = RidgeCV(ALPHAS, scoring=scoring, solver=solver).fit(X, Y)
    model = RidgeCV(ALPHAS, scoring=scoring, solver=solver).fit(X.astype(dtype), (unit * Y).astype(dtype))
    np.testing.assert_array_equal(model.best_alphas_, plain.best_alphas_)
    size = unit**2 if scoring == MSE else 1.0
    tolerance = 1e-8 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(model.cv_scores_ / size, plain.cv_scores_, rtol=tolerance, atol=tolerance)
    # where p < n dual weights are residuals over the penalty: the smallest cost digits of float32
    np.testing.assert_allclose(model.coef_ / unit, plain.coef_, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1000.0, 1e-13, 1e8])
@pytest.mark.parametrize("solver", SOLVERS)
def test_units_of_the_features(solver, factor, dtype):
    """With relative penalties the unit of the features leaves scores and effective degrees of freedom."""
    X, Y, _ = problem()
    plain = RidgeCV(solver=solver).fit(X.astype(dtype), Y.astype(dtype))
    other = RidgeCV(solver=solver).fit((factor * X).astype(dtype), Y.astype(dtype))
    tolerance = 1e-9 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(other.cv_scores_, plain.cv_scores_, atol=tolerance)
    np.testing.assert_allclose(other.alphas_ / factor**2, plain.alphas_, rtol=tolerance)
    np.testing.assert_allclose(other.coef_ * factor, plain.coef_, atol=10 * tolerance)

    def freedom(X, alphas):
        values = np.linalg.svd(X - X.mean(0), compute_uv=False) ** 2
        return (values / (values + alphas[:, None])).sum(1)

    np.testing.assert_allclose(freedom(factor * X, other.alphas_), freedom(X, plain.alphas_), rtol=1e-4)


@pytest.mark.parametrize("kind", ["numpy", "list", "torch", "integers", "scalar"])
def test_weights_of_any_kind(kind):
    """Weights may be an array, a list, a tensor, counts or one number."""
    X, Y, counts = problem()
    given = {
        "numpy": counts,
        "list": counts.tolist(),
        "torch": torch.as_tensor(counts),
        "integers": counts.astype(int),
        "scalar": 2.0,
    }[kind]
    expected = RidgeCV(ALPHAS).fit(X, Y, sample_weight=np.full(60, 2.0) if kind == "scalar" else counts)
    close(RidgeCV(ALPHAS).fit(X, Y, sample_weight=given), expected)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_without_weight_are_not_there(solver):
    """Rows of weight zero change nothing, and are neither fitted nor scored, whatever they hold."""
    X, Y, counts = problem()
    gone = np.array([0, 13, 14, 59])
    counts[gone] = 0
    dirty = Y.copy()
    dirty[gone] = np.nan
    kept = np.flatnonzero(counts)
    where = np.cumsum(counts > 0) - 1
    cv = folds("unequal")
    among = [tuple(where[part[counts[part] > 0]] for part in pair) for pair in cv]
    expected = RidgeCV(ALPHAS, cv=among, solver=solver).fit(X[kept], Y[kept], sample_weight=counts[kept])
    close(RidgeCV(ALPHAS, cv=cv, solver=solver).fit(X, dirty, sample_weight=counts), expected)


def test_a_first_row_far_away_costs_no_digits_without_an_intercept():
    """Without an intercept nothing is subtracted: small responses keep their digits in float32."""
    X, Y, _ = problem()
    X[0], Y[0] = 0, 1e6
    model = RidgeCV([1.0], fit_intercept=False, cv=[(np.arange(1, 40), np.arange(40, 60))], solver="primal")
    model.fit(X.astype(np.float32), Y.astype(np.float32))
    assert not np.asarray(model.intercept_).any()


def test_input_that_is_refused():
    """Rank, length, NaN features, complex numbers, weights and penalties are refused by name."""
    X, Y, counts = problem()
    cases = [
        ((X[:, 0], Y), ValueError, "Expected 2D array, got 1D array"),
        ((torch.as_tensor(X[:, 0]), Y), ShapeError, r"X has shape \(60,\); expected 2 axes"),
        ((X, Y[:-1]), ShapeError, r"X has 60 samples and Y has shape \(59, 5\)"),
        ((X, Y[:, :, None]), ValueError, "dim 3|3 dimensions|Y has shape"),
        ((X[:1], Y[:1]), ValueError, "minimum of 2 is required"),
        ((np.where(X > 3, np.nan, X), Y), ValueError, "contains NaN"),
        ((X + 1j, Y), ValueError, "Complex"),
        ((X, None), ValueError, "requires y to be passed"),
    ]
    for given, error, text in cases:
        with pytest.raises(error, match=text):
            RidgeCV().fit(*given)
    with pytest.raises(InputError, match="sample_weight of row 1 is -0.5"):
        RidgeCV().fit(X, Y, sample_weight=np.r_[1, -0.5, np.ones(58)])
    with pytest.raises(ShapeError, match="1 samples have a weight above zero; at least 2"):
        RidgeCV().fit(X, Y, sample_weight=np.eye(60)[3])
    with pytest.raises(ValueError, match="sample_weight"):
        RidgeCV().fit(X, Y, sample_weight=counts[:-1])
    for alphas in ([1.0, -1.0], [0.0], [np.inf], [np.nan], [], [[1.0, 2.0]]):
        with pytest.raises(InputError, match="alphas must be positive finite penalties in one axis"):
            RidgeCV(alphas).fit(X, Y)
    with pytest.raises(InputError, match="memory_budget=0; expected bytes above zero, or None"):
        RidgeCV(memory_budget=0).fit(X, Y)
    with pytest.raises(ShapeError, match=r"Y has shape \(60, 4\); expected \(60, 5\)"):
        RidgeCV().fit(X, Y).score_per_target(X, Y[:, :4])


def test_no_targets_at_all():
    """Responses without a column are refused."""
    X, _, _ = problem()
    for empty in (np.empty((60, 0)), torch.empty(60, 0)):
        with pytest.raises(ValueError, match=r"0 feature\(s\)|0 targets"):
            RidgeCV().fit(X, empty)


def test_tensors_that_carry_gradients():
    """Activations that still require gradients are fitted without them."""
    X, Y, _ = problem()
    expected = RidgeCV(ALPHAS).fit(X, Y)
    model = RidgeCV(ALPHAS).fit(torch.tensor(X, requires_grad=True), torch.tensor(Y, requires_grad=True))
    close(model, expected)
    assert not model.coef_.requires_grad
