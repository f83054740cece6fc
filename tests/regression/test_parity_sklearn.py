"""The estimators against scikit-learn where both do the same: fixed penalties, leave-one-out, shared grids.

scikit-learn has a penalty per target with leave-one-out only, one shared penalty with other
folds, and no intercept in its kernel ridge. It passes sample weights on to the score as well,
where brainalign scores every held-out row alike; the tests with weights therefore ask
scikit-learn to use them in the fit only.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import config_context
from sklearn.kernel_ridge import KernelRidge as PeerKernelRidge
from sklearn.linear_model import Ridge as PeerRidge
from sklearn.linear_model import RidgeCV as PeerRidgeCV
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut

from brainalign.regression import KernelRidgeCV, RidgeCV

ALPHAS = np.logspace(-2, 4, 9)
SHAPES = {"p<n": (60, 18), "p=n": (40, 40), "p>n": (40, 90)}
KERNELS = {
    "linear": {},
    "rbf": {"gamma": 0.02},
    "polynomial": {"gamma": 0.05, "coef0": 1.5, "degree": 2},
}
SCORINGS = ["r2", "neg_mean_squared_error"]


def problem(shape, t=7, seed=0):
    """Features and responses with offsets, positive weights, and new features."""
    n, p = SHAPES[shape]
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n + 12, p)) * np.linspace(1.5, 0.2, p) + 0.3
    signal = X[:n] @ rng.standard_normal((p, t)) / np.sqrt(p)
    Y = signal * np.linspace(0.2, 2, t) + rng.standard_normal((n, t)) - 2.0
    return X[:n], Y, rng.integers(1, 6, n).astype(float), X[n:]


@pytest.mark.parametrize("solver", RidgeCV.solvers)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.1, 30.0])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_one_fixed_penalty_equals_ridge(shape, alpha, intercept, weighted, solver):
    """Coefficients, intercepts and predictions at a given penalty are those of Ridge, with trial counts."""
    X, Y, counts, new = problem(shape)
    weights = counts if weighted else None
    model = RidgeCV([alpha], cv=KFold(3), fit_intercept=intercept, solver=solver)
    model.fit(X, Y, sample_weight=weights)
    peer = PeerRidge(alpha=alpha, fit_intercept=intercept, solver="svd")
    peer.fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_penalty_per_target_equals_ridge_with_a_vector_of_penalties(shape):
    """The fit with the chosen penalties is that of Ridge given these penalties, one per target."""
    X, Y, counts, new = problem(shape, t=30)
    model = RidgeCV(ALPHAS, cv=KFold(4)).fit(X, Y, sample_weight=counts)
    peer = PeerRidge(alpha=model.best_alphas_).fit(X, Y, sample_weight=counts)
    assert len(np.unique(model.best_alphas_)) > 2
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


def test_counts_equal_repeated_rows():
    """A row with weight 3 is the same as three equal rows, in the fit at one penalty."""
    X, Y, counts, new = problem("p<n")
    model = RidgeCV([5.0], cv=KFold(3)).fit(X, Y, sample_weight=counts)
    rows = np.repeat(np.arange(len(X)), counts.astype(int))
    peer = PeerRidge(alpha=5.0).fit(X[rows], Y[rows])
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", RidgeCV.solvers)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_leave_one_out_equals_ridgecv(shape, intercept, solver):
    """Leave-one-out penalties and scores of each target are those of RidgeCV's closed form."""
    X, Y, _, new = problem(shape, t=20)
    model = RidgeCV(
        ALPHAS, cv=LeaveOneOut(), scoring="neg_mean_squared_error", fit_intercept=intercept, solver=solver
    ).fit(X, Y)
    peer = PeerRidgeCV(ALPHAS, fit_intercept=intercept, alpha_per_target=True, store_cv_results=True)
    peer.fit(X, Y)
    assert len(np.unique(model.best_alphas_)) > 2
    np.testing.assert_array_equal(model.best_alphas_, peer.alpha_)
    np.testing.assert_allclose(model.cv_scores_, -peer.cv_results_.mean(axis=0).T, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(model.best_scores_, peer.best_score_, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_shared_penalty_equals_grid_search(shape, scoring, weighted):
    """Mean scores over folds and targets, and the shared penalty, are those of GridSearchCV over Ridge;
    weights enter the fit and not the score."""
    X, Y, counts, new = problem(shape)
    weights = counts if weighted else None
    model = RidgeCV(ALPHAS, cv=KFold(4), scoring=scoring, alpha_per_target=False)
    model.fit(X, Y, sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        ridge = PeerRidge(solver="svd").set_fit_request(sample_weight=True)
        unweighted = get_scorer(scoring).set_score_request(sample_weight=False)
        peer = GridSearchCV(ridge, {"alpha": ALPHAS}, scoring=unweighted, cv=KFold(4))
        peer.fit(X, Y, sample_weight=weights)
    np.testing.assert_array_equal(model.best_alphas_, peer.best_params_["alpha"])
    np.testing.assert_allclose(
        model.cv_scores_.mean(axis=1), peer.cv_results_["mean_test_score"], rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


def test_scores_per_target_are_those_of_r2_score():
    """The score of each target on new rows is r2_score of the predictions, and score is their mean."""
    X, Y, _, _ = problem("p<n")
    model = RidgeCV(ALPHAS, cv=KFold(4)).fit(X[:40], Y[:40])
    peer = PeerRidge(alpha=model.best_alphas_).fit(X[:40], Y[:40])
    assert model.score(X[40:], Y[40:]) == pytest.approx(peer.score(X[40:], Y[40:]), abs=1e-9)
    assert model.score_per_target(X[40:], Y[40:]).mean() == pytest.approx(
        peer.score(X[40:], Y[40:]), abs=1e-9
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kernel", [*KERNELS, "precomputed"])
def test_kernel_ridge_at_a_fixed_penalty(kernel, weighted):
    """Predictions of each kernel without intercept are those of KernelRidge, with trial counts."""
    X, Y, counts, new = problem("p>n")
    weights = counts if weighted else None
    numbers = KERNELS.get(kernel, {})
    fitted_on, asked = (X @ X.T, new @ X.T) if kernel == "precomputed" else (X, new)
    model = KernelRidgeCV([2.0], kernel=kernel, cv=KFold(3), fit_intercept=False, **numbers)
    model.fit(fitted_on, Y, sample_weight=weights)
    peer = PeerKernelRidge(alpha=2.0, kernel=kernel, **numbers).fit(fitted_on, Y, sample_weight=weights)
    np.testing.assert_allclose(model.predict(asked), peer.predict(asked), rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.dual_coef_, peer.dual_coef_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_kernel_ridge_with_a_shared_penalty(kernel, scoring):
    """The shared penalty and the scores of the grid are those of GridSearchCV over KernelRidge."""
    X, Y, _, _ = problem("p>n")
    numbers = KERNELS[kernel]
    model = KernelRidgeCV(
        ALPHAS,
        kernel=kernel,
        cv=KFold(4),
        scoring=scoring,
        fit_intercept=False,
        alpha_per_target=False,
        **numbers,
    ).fit(X, Y)
    peer = GridSearchCV(
        PeerKernelRidge(kernel=kernel, **numbers), {"alpha": ALPHAS}, scoring=scoring, cv=KFold(4)
    ).fit(X, Y)
    np.testing.assert_array_equal(model.best_alphas_, peer.best_params_["alpha"])
    np.testing.assert_allclose(
        model.cv_scores_.mean(axis=1), peer.cv_results_["mean_test_score"], rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_kernel_with_intercept_equals_ridge(weighted):
    """Kernel ridge with a linear kernel and an intercept predicts what Ridge predicts."""
    X, Y, counts, new = problem("p>n")
    weights = counts if weighted else None
    model = KernelRidgeCV([2.0], kernel="linear", cv=KFold(3)).fit(X, Y, sample_weight=weights)
    peer = PeerRidge(alpha=2.0, solver="svd").fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)
