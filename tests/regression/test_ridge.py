"""RidgeCV against scikit-learn, against himself in another form, and against bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut
from sklearn.utils.estimator_checks import parametrize_with_checks

import brainalign as ba
from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.regression import RidgeCV, smoother_matrices

ALPHAS = np.logspace(-3, 3, 7)


def problem(n=50, p=20, t=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 3.0
    Y = X[:, : min(3, p)] @ rng.standard_normal((min(3, p), t)) + rng.standard_normal((n, t)) + 10.0
    return X, Y, rng.integers(1, 6, n).astype(float)


@parametrize_with_checks([RidgeCV(), RidgeCV(alphas=[0.1, 1.0], solver="dual", alpha_per_target=False)])
def test_estimator_contract(estimator, check):
    """Every check of scikit-learn's estimator contract passes, without exceptions."""
    check(estimator)


@pytest.mark.parametrize(("n", "p"), [(40, 90), (90, 20), (30, 30)])
@pytest.mark.parametrize("solver", ["primal", "dual"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_error", "pearson"])
def test_scores_of_every_penalty_equal_refits(n, p, solver, intercept, scoring):
    """Cross-validated scores equal those of scikit-learn refitted for each fold and penalty, with weights."""
    X, Y, w = problem(n, p)
    cv = KFold(4)
    model = RidgeCV(ALPHAS, cv=cv, fit_intercept=intercept, solver=solver, scoring=scoring)
    model.fit(X, Y, sample_weight=w)

    def reference(observed, predicted):
        if scoring == "r2":
            return r2_score(observed, predicted)
        if scoring == "pearson":
            return np.corrcoef(observed, predicted)[0, 1]
        return -mean_squared_error(observed, predicted)

    for i, alpha in enumerate(ALPHAS):
        for t in range(Y.shape[1]):
            scores = []
            for train, test in cv.split(X):
                fitted = Ridge(alpha=alpha, fit_intercept=intercept)
                fitted.fit(X[train], Y[train, t], sample_weight=w[train])
                scores.append(reference(Y[test, t], fitted.predict(X[test])))
            assert model.cv_scores_[i, t] == pytest.approx(np.mean(scores), abs=1e-7)
    best = Ridge(alpha=model.best_alphas_, fit_intercept=intercept).fit(X, Y, sample_weight=w)
    # the primal form squares the condition of the features: half the digits where p > n
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-7)
    np.testing.assert_allclose(model.predict(X), best.predict(X), atol=1e-8)


@pytest.mark.parametrize("solver", ["primal", "dual"])
def test_overlapping_and_purged_folds(solver):
    """Rows in neither part of a fold are left out of it; folds may overlap."""
    X, Y, _ = problem(40, 60)
    cv = [(np.arange(15, 40), np.arange(0, 10)), (np.arange(0, 20), np.arange(25, 40))]
    model = RidgeCV([1.0], cv=cv, solver=solver).fit(X, Y)
    expected = [
        [r2_score(Y[te, t], Ridge(1.0).fit(X[tr], Y[tr, t]).predict(X[te])) for t in range(4)]
        for tr, te in cv
    ]
    np.testing.assert_allclose(model.cv_scores_[0], np.mean(expected, axis=0), atol=1e-9)


def test_leave_one_out_matches_scikit_learn():
    """Leave-one-out squared error equals scikit-learn's closed form, shared penalty included."""
    from sklearn.linear_model import RidgeCV as Reference

    X, Y, _ = problem(30, 12)
    ours = RidgeCV(ALPHAS, cv=LeaveOneOut(), scoring="neg_mean_squared_error", alpha_per_target=False).fit(
        X, Y
    )
    theirs = Reference(ALPHAS, store_cv_results=True).fit(X, Y)
    assert np.unique(ours.best_alphas_).tolist() == [theirs.alpha_]
    np.testing.assert_allclose(-ours.cv_scores_.T, theirs.cv_results_.mean(0), rtol=1e-8)


def test_counts_as_weights_equal_single_trials():
    """Ridge on averages weighted by their counts equals ridge on the trials at the same penalty."""
    rng = np.random.default_rng(1)
    X, counts = rng.standard_normal((25, 40)), rng.integers(1, 7, 25)
    row = np.repeat(np.arange(25), counts)
    trials = (X[:, :2] @ rng.standard_normal((2, 3)))[row] + rng.standard_normal((len(row), 3))
    means = np.stack([trials[row == i].mean(0) for i in range(25)])
    averaged = RidgeCV([2.5], cv=2).fit(X, means, sample_weight=counts)
    single = Ridge(2.5).fit(X[row], trials)
    np.testing.assert_allclose(averaged.coef_, single.coef_, atol=1e-8)
    np.testing.assert_allclose(averaged.intercept_, single.intercept_, atol=1e-8)
    # and the grid of relative penalties is that of the trials
    auto = RidgeCV(cv=2).fit(X, means, sample_weight=counts).alphas_
    np.testing.assert_allclose(auto, RidgeCV(cv=2).fit(X[row], trials).alphas_, rtol=1e-10)


def test_scale_of_features_does_not_matter_with_relative_penalties():
    """Features times 1024 change nothing but the coefficients; times 1000 nothing beyond rounding."""
    X, Y, _ = problem()
    base = RidgeCV().fit(X, Y)
    for factor, tolerance in ((1024.0, 1e-12), (1000.0, 1e-7)):
        other = RidgeCV().fit(factor * X, Y)
        np.testing.assert_allclose(other.cv_scores_, base.cv_scores_, atol=tolerance)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(20, 8), (12, 30)]))
def test_rotation_and_row_order(seed, shape):
    """Rotated features and reordered rows leave the scores; scaling one column does not."""
    X, Y, _ = problem(*shape, seed=seed)
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))[0]
    groups = np.arange(len(X)) % 4
    folds = list(GroupKFold(4).split(X, Y, groups))
    base = RidgeCV(ALPHAS, cv=folds).fit(X, Y)
    np.testing.assert_allclose(RidgeCV(ALPHAS, cv=folds).fit(X @ Q, Y).cv_scores_, base.cv_scores_, atol=1e-6)
    order = rng.permutation(len(X))
    back = np.argsort(order)
    moved = [(back[tr], back[te]) for tr, te in folds]
    np.testing.assert_allclose(
        RidgeCV(ALPHAS, cv=moved).fit(X[order], Y[order]).cv_scores_, base.cv_scores_, atol=1e-6
    )
    stretched = X.copy()
    stretched[:, 0] = (stretched[:, 0] - 3.0) * 100
    assert np.abs(RidgeCV(ALPHAS, cv=folds).fit(stretched, Y).cv_scores_ - base.cv_scores_).max() > 1e-3


def test_null_targets_get_no_score():
    """Targets of pure noise score below zero in R2 at most slightly above, and take strong penalties."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 100)), rng.standard_normal((200, 300))
    model = RidgeCV().fit(X, Y)
    assert -0.05 < model.best_scores_.mean() < 0.02
    assert np.median(model.best_alphas_) >= np.median(model.alphas_)


def test_planted_weights_are_found():
    """With many samples and little noise the planted weights come back."""
    rng = np.random.default_rng(2)
    X, W = rng.standard_normal((500, 10)), rng.standard_normal((10, 3))
    model = RidgeCV().fit(X, X @ W + 0.01 * rng.standard_normal((500, 3)) + 5)
    np.testing.assert_allclose(model.coef_, W.T, atol=0.01)
    np.testing.assert_allclose(model.intercept_, 5, atol=0.01)


def test_targets_that_cannot_be_fitted_are_masked_and_counted():
    """Constant, NaN and infinite targets are NaN with a reason; the others keep every bit."""
    X, Y, _ = problem()
    dirty = np.column_stack([Y, np.full(50, 0.1), Y[:, 0], Y[:, 0]])
    dirty[3, 5], dirty[4, 6] = np.nan, np.inf
    clean, model = RidgeCV().fit(X, Y), RidgeCV().fit(X, dirty)
    assert model.nan_reasons_ == {"NaN or infinite response": 2, "constant response": 1}
    assert np.isnan(model.coef_[4:]).all()
    assert np.isnan(model.best_alphas_[4:]).all()
    assert np.isnan(model.cv_scores_[:, 4:]).all()
    np.testing.assert_array_equal(model.best_alphas_[:4], clean.best_alphas_)
    np.testing.assert_allclose(model.coef_[:4], clean.coef_, rtol=1e-12)


def test_float32_agrees_with_float64():
    """float32 input gives the same penalties and scores within its precision."""
    X, Y, _ = problem(60, 90)
    wide, single = RidgeCV().fit(X, Y), RidgeCV().fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(single.alphas_, wide.alphas_, rtol=1e-5)
    np.testing.assert_allclose(single.cv_scores_, wide.cv_scores_, atol=1e-4)


def test_one_dimensional_target():
    """A 1-D target gives 1-D coefficients and predictions."""
    X, Y, _ = problem()
    model = RidgeCV().fit(X, Y[:, 0])
    assert model.coef_.shape == (20,)
    assert model.predict(X).shape == (50,)
    assert model.score_per_target(X, Y[:, 0]).shape == (1,)


def test_shared_penalty_is_the_best_mean():
    """One penalty for all has the highest mean score."""
    X, Y, _ = problem()
    model = RidgeCV(ALPHAS, alpha_per_target=False).fit(X, Y)
    assert len(set(model.best_alphas_)) == 1
    assert model.best_alphas_[0] == ALPHAS[model.cv_scores_.mean(1).argmax()]


@pytest.mark.parametrize(("n", "p"), [(30, 80), (60, 15)])
def test_smoothers_predict_like_refits(n, p):
    """A smoother matrix times any targets equals a weighted refit on them."""
    X, Y, w = problem(n, p)
    new = X[:7] + 0.5
    for alpha, H in zip([0.1, 10.0], smoother_matrices(X, new, [0.1, 10.0], sample_weight=w), strict=True):
        expected = Ridge(alpha).fit(X, Y, sample_weight=w).predict(new)
        np.testing.assert_allclose(H @ Y, expected, atol=1e-9)


def test_tf32_is_off_inside_and_restored_after():
    """The user's TF32 setting survives a fit and is off inside the solve."""
    import torch

    from brainalign._linalg import full_precision

    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with full_precision():
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.gpu
def test_cuda_equals_cpu():
    """The same fit on a CUDA device gives the same scores."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, Y, _ = problem(60, 90)
    np.testing.assert_allclose(
        RidgeCV(device="cuda").fit(X, Y).cv_scores_, RidgeCV().fit(X, Y).cv_scores_, atol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"alphas": [0.0, 1.0]}, InputError, "alphas must be positive"),
        ({"alphas": "best"}, InputError, "alphas='best' is not one of 'auto'"),
        ({"scoring": "r_2"}, InputError, "scoring='r_2' is not one of .* closest: 'r2'"),
        ({"solver": "dul"}, InputError, "solver='dul' .* closest: 'dual'"),
        ({"cv": LeaveOneOut()}, ShapeError, "needs 2; use scoring='neg_mean_squared_error'"),
        ({"cv": [([0, 1], [1, 2])]}, InputError, "fold 0 has rows that are in its training and in its test"),
        ({"cv": []}, InputError, "cv gives no folds"),
        ({"cv": [([0, 1], [])]}, ShapeError, "fold 0 has 2 training and 0 test samples"),
        ({"device": "cuda:99"}, ba.errors.DeviceError, "cuda"),
    ],
)
def test_options_that_are_refused(options, error, text):
    """A wrong option is refused by name, with what was expected."""
    X, Y, _ = problem(12, 5)
    with pytest.raises(error, match=text):
        RidgeCV(**options).fit(X, Y)


def test_input_that_is_refused():
    """Wrong lengths, negative weights, and targets without one finite column are refused."""
    X, Y, w = problem(12, 5)
    with pytest.raises(ShapeError, match="X has 12 samples and Y has shape"):
        RidgeCV().fit(X, Y[:-1])
    w[2] = -1
    with pytest.raises(InputError, match="sample_weight of row 2 is -1"):
        RidgeCV().fit(X, Y, sample_weight=w)
    with pytest.raises(ShapeError, match="1 samples have a weight above zero"):
        RidgeCV().fit(X, Y, sample_weight=np.eye(12)[0])
    with pytest.raises(ValueError, match="no target is finite"):
        RidgeCV().fit(X, Y * np.nan)


def test_unknown_metric_names_the_closest():
    """An unknown metric lists the closest valid name."""
    with pytest.raises(UnknownNameError, match="closest: pearson"):
        ba.metrics.score("pearsn", np.zeros((3, 1)), np.zeros((3, 1)))
