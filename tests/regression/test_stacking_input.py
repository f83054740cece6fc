"""What StackedRegression takes: forms of X and spaces, masks, tensors, one target, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import LeaveOneOut
from sklearn.utils.estimator_checks import parametrize_with_checks

from brainalign.errors import DeviceError, InputError, ShapeError
from brainalign.regression._spaces import resolve_spaces
from brainalign.regression.stacking import StackedRegression

SPACES = [slice(0, 8), slice(8, 20)]


def problem(n=50, p=20, t=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 1.0
    Y = X[:, : min(p, 10)] @ rng.standard_normal((min(p, 10), t)) + 2 * rng.standard_normal((n, t)) + 5.0
    return X, Y


def halves(X):
    return [X[:, :8], X[:, 8:]]


@parametrize_with_checks(
    [
        StackedRegression(),
        StackedRegression([slice(0, 1), slice(0, None)], [0.1, 1.0], alpha_per_target=False),
    ]
)
def test_estimator_contract_of_the_stack(estimator, check):
    """Every check of scikit-learn's estimator contract passes, without exceptions."""
    check(estimator)


def test_forms_of_spaces():
    """Slices, numbers, negative numbers, masks and a list of arrays name the same columns."""
    X, Y = problem()
    mask = np.arange(20) < 8
    base = StackedRegression(SPACES).fit(X, Y)
    forms = [
        [slice(None, 8), slice(8, None)],
        (range(8), np.arange(8, 20)),
        [list(range(8)), list(range(-12, 0))],
        [mask, ~mask],
        [mask.tolist(), torch.arange(8, 20)],
    ]
    for spaces in forms:
        model = StackedRegression(spaces).fit(X, Y)
        np.testing.assert_array_equal(model.coef_, base.coef_)
        assert clone(model).get_params()["alphas"] == "auto"
    joined = StackedRegression().fit(halves(X), Y)
    np.testing.assert_array_equal(joined.coef_, base.coef_)
    np.testing.assert_array_equal(joined.predict(halves(X)), base.predict(X))
    np.testing.assert_array_equal(joined.predict(X), base.predict(X))
    np.testing.assert_array_equal(joined.predict_spaces(halves(X)), base.predict_spaces(X))
    frames = StackedRegression().fit([pd.DataFrame(half) for half in halves(X)], Y)
    np.testing.assert_array_equal(frames.coef_, base.coef_)


def test_columns_in_several_spaces_or_in_none():
    """Coefficients of a column in two spaces add up; a column in none has exactly 0."""
    X, Y = problem()
    model = StackedRegression([[0, 1, 2, 3], [3, 2, 5], slice(2, 10)], [1.0]).fit(X, Y)
    expected = np.zeros((4, 20))
    for columns, coef, share in zip(model.columns_, model.space_coefs_, model.stacking_weights_, strict=True):
        assert coef.shape == (4, len(columns))
        for k, column in enumerate(columns):
            expected[:, column] += share * coef[:, k]
    np.testing.assert_allclose(model.coef_, expected, atol=1e-14)
    assert (model.coef_[:, 10:] == 0).all()
    assert (model.coef_[:, 3] != 0).all()


def test_targets_without_a_fit_are_masked_and_counted():
    """Constant, NaN and infinite targets are NaN with a reason; the others are as without them."""
    X, Y = problem()
    dirty = np.column_stack([Y, np.full(50, 0.1), Y[:, 0], Y[:, 0], np.zeros(50)])
    dirty[3, 5], dirty[4, 6], dirty[0, 7] = np.nan, np.inf, 1.0
    folds = [(np.arange(25), np.arange(25, 50)), (np.arange(5, 40), np.arange(40, 50))]
    model = StackedRegression(SPACES, cv=folds).fit(X, dirty)
    clean = StackedRegression(SPACES, cv=folds).fit(X, Y)
    assert model.nan_codes_.tolist() == [0, 0, 0, 0, 2, 1, 1, 3]
    assert model.nan_reasons_ == {
        "NaN or infinite response": 2,
        "constant response": 1,
        "constant in every test fold": 1,
    }
    for name in ("stacking_weights_", "best_alphas_", "space_scores_", "cv_scores_", "space_intercepts_"):
        masked, whole = getattr(model, name), getattr(clean, name)
        assert np.isnan(masked[..., 4:]).all(), name
        np.testing.assert_allclose(masked[..., :4], whole, rtol=1e-9, err_msg=name)
    assert np.isnan(model.coef_[4:]).all()
    np.testing.assert_allclose(model.coef_[:4], clean.coef_, rtol=1e-8, atol=1e-12)
    predicted = model.predict(X)
    assert np.isnan(predicted[:, 4:]).all()
    assert np.isfinite(predicted[:, :4]).all()
    assert np.isfinite(model.score(X, np.nan_to_num(dirty)))


def test_one_target_without_an_axis():
    """A 1-D target gives 1-D coefficients and predictions, equal to those of a column."""
    X, Y = problem()
    model, column = StackedRegression(SPACES).fit(X, Y[:, 0]), StackedRegression(SPACES).fit(X, Y[:, :1])
    assert model.coef_.shape == (20,)
    assert np.ndim(model.intercept_) == 0
    assert model.predict(X).shape == (50,)
    assert model.predict_spaces(X).shape == (2, 50)
    assert model.stacking_weights_.shape == (2, 1)
    assert model.cv_scores_.shape == model.score_per_target(X, Y[:, 0]).shape == (1,)
    np.testing.assert_allclose(model.predict(X), column.predict(X)[:, 0], rtol=1e-12)
    np.testing.assert_allclose(model.predict_spaces(X), column.predict_spaces(X)[..., 0], rtol=1e-12)


def test_tensors_give_tensors():
    """Tensors, alone or in a list, give tensors with the numbers of arrays."""
    X, Y = problem()
    base = StackedRegression(SPACES).fit(X, Y)
    tensors = [torch.as_tensor(half) for half in halves(X)]
    model = StackedRegression().fit(tensors, torch.as_tensor(Y), sample_weight=torch.ones(50))
    for name in ("coef_", "intercept_", "stacking_weights_", "best_alphas_", "space_scores_", "cv_scores_"):
        assert isinstance(getattr(model, name), torch.Tensor), name
        np.testing.assert_allclose(getattr(model, name).numpy(), getattr(base, name), rtol=1e-9, atol=1e-12)
    assert isinstance(model.predict(tensors), torch.Tensor)
    assert isinstance(model.predict_spaces(torch.as_tensor(X)), torch.Tensor)
    assert isinstance(model.predict(X), np.ndarray)
    assert isinstance(base.predict(torch.as_tensor(X)), torch.Tensor)
    np.testing.assert_allclose(base.predict(torch.as_tensor(X)).numpy(), base.predict(X))


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "int64"])
def test_dtypes_and_orders(dtype):
    """float16, float32, big-endian and integer input, in Fortran order, is fitted."""
    X, Y = problem()
    X, Y = np.asfortranarray((8 * X).astype(dtype)), np.asfortranarray((8 * Y).astype(dtype))
    model = StackedRegression(SPACES).fit(X, Y)
    wide = StackedRegression(SPACES).fit(X.astype(float), Y.astype(float))
    np.testing.assert_allclose(model.cv_scores_, wide.cv_scores_, atol=1e-3)
    assert np.isfinite(model.predict(X)).all()


def test_few_samples_constant_columns_and_rows_without_weight():
    """Two samples, one column, constant spaces and rows of weight zero have a defined answer."""
    X, Y = problem()
    tiny = StackedRegression(cv=[([0], [1]), ([1], [0])], scoring="neg_mean_squared_error")
    assert np.isfinite(tiny.fit([X[:2, :1], X[:2, 1:3]], Y[:2]).predict([X[:2, :1], X[:2, 1:3]])).all()
    still = StackedRegression().fit([X, np.ones((50, 3))], Y)
    assert np.isfinite(still.coef_).all()
    np.testing.assert_allclose(still.space_coefs_[1], 0, atol=1e-12)
    assert (still.stacking_weights_[0] > 0.5).all()
    weights = (np.arange(50) < 40).astype(float)
    folds = [(np.arange(30), np.arange(30, 50)), (np.arange(15, 50), np.arange(15))]
    part = StackedRegression(SPACES, cv=folds).fit(X, Y, sample_weight=weights)
    folds = [(np.arange(30), np.arange(30, 40)), (np.arange(15, 40), np.arange(15))]
    np.testing.assert_array_equal(part.coef_, StackedRegression(SPACES, cv=folds).fit(X[:40], Y[:40]).coef_)


@pytest.mark.gpu
def test_stack_on_cuda_equals_cpu():
    """The same fit on a CUDA device gives the same weights and scores."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, Y = problem(60, 90)
    cpu, cuda = StackedRegression(SPACES).fit(X, Y), StackedRegression(SPACES, device="cuda").fit(X, Y)
    np.testing.assert_allclose(cuda.stacking_weights_, cpu.stacking_weights_, atol=1e-7)
    np.testing.assert_allclose(cuda.cv_scores_, cpu.cv_scores_, atol=1e-8)
    np.testing.assert_allclose(cuda.predict(X), cpu.predict(X), atol=1e-7)


@pytest.mark.parametrize(
    ("spaces", "text"),
    [
        ([], r"spaces is \[\]; expected a list with the columns of each space"),
        (slice(0, 3), r"spaces is slice\(0, 3, None\); expected a list"),
        ([[0, 20]], "spaces.0. names column 20 and X has 20 columns, numbered from 0"),
        ([[0], [-21]], "spaces.1. names column -21 and X has 20 columns"),
        ([slice(0, 21)], "spaces.0. names column 20 and X has 20 columns"),
        ([slice(-25, None)], "spaces.0. names column -25 and X has 20 columns"),
        ([slice(0, 4), []], "spaces.1. has no columns; leave it out"),
        ([slice(4, 4)], "spaces.0. has no columns"),
        ([[3, 5, 3]], "spaces.0. names column 3 twice"),
        ([[3, -17]], "spaces.0. names column 3 twice"),
        ([[0.0, 1.0]], "spaces.0. has 1 axes and dtype float64; expected a slice, a 1-D array of integers"),
        ([3], "spaces.0. has 0 axes and dtype int64"),
        ([np.ones(7, dtype=bool)], "spaces.0. is a mask of 7 columns and X has 20"),
    ],
)
def test_spaces_that_are_refused(spaces, text):
    """A space that is no set of columns of X is refused by its number."""
    X, Y = problem()
    with pytest.raises(InputError, match=text):
        StackedRegression(spaces).fit(X, Y)
    with pytest.raises(InputError, match=text):
        resolve_spaces(spaces, 20)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"alphas": [0.0, 1.0]}, InputError, "alphas must be positive"),
        ({"alphas": "best"}, InputError, "alphas='best' is not one of 'auto'"),
        ({"scoring": "r_2"}, InputError, "scoring='r_2' is not one of .* closest: 'r2'"),
        ({"cv": LeaveOneOut()}, ShapeError, "needs 2; use scoring='neg_mean_squared_error'"),
        ({"cv": []}, InputError, "cv gives no folds"),
        ({"device": "cuda:99"}, DeviceError, "cuda"),
    ],
)
def test_options_of_the_stack_that_are_refused(options, error, text):
    """A wrong option is refused by name, with what was expected."""
    X, Y = problem(12)
    with pytest.raises(error, match=text):
        StackedRegression(SPACES, **options).fit(X, Y)


def test_lists_that_are_refused():
    """Arrays of different lengths or axes, a list beside `spaces`, other widths in `predict`."""
    X, Y = problem()
    with pytest.raises(InputError, match="X is a list of arrays and spaces is given too"):
        StackedRegression(SPACES).fit(halves(X), Y)
    with pytest.raises(ShapeError, match=r"X\[1\] has 49 samples and X\[0\] has 50"):
        StackedRegression().fit([X, X[1:]], Y)
    with pytest.raises(ShapeError, match=r"X\[1\] has shape \(50,\); expected 2 axes"):
        StackedRegression().fit([X, X[:, 0]], Y)
    with pytest.raises(InputError, match=r"spaces\[1\] has no columns"):
        StackedRegression().fit([X, X[:, :0]], Y)
    model = StackedRegression().fit(halves(X), Y)
    with pytest.raises(
        ShapeError, match=r"arrays with \[12, 8\] columns; the model was fitted on arrays with"
    ):
        model.predict(halves(X)[::-1])
    with pytest.raises(ShapeError, match="the model was fitted on one matrix"):
        StackedRegression(SPACES).fit(X, Y).predict(halves(X))
    with pytest.raises(ValueError, match="no target is finite"):
        StackedRegression().fit(halves(X), Y * np.nan)
    with pytest.raises(ValueError, match="NaN"):
        StackedRegression().fit([X, X * np.nan], Y)
