"""KernelRidgeCV against scikit-learn, brute force and bad kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, SCORINGS, folds, problem, score
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.model_selection import LeaveOneOut
from sklearn.utils.estimator_checks import parametrize_with_checks

from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.regression import KernelRidgeCV

KERNELS = {
    "linear": ({"kernel": "linear"}, lambda A, B: A @ B.T),
    "rbf": ({"kernel": "rbf", "gamma": 0.02}, lambda A, B: rbf_kernel(A, B, 0.02)),
    "polynomial": (
        {"kernel": "polynomial", "gamma": 0.05, "degree": 2, "coef0": 1.5},
        lambda A, B: polynomial_kernel(A, B, 2, 0.05, 1.5),
    ),
    "default gamma": ({"kernel": "rbf"}, lambda A, B: rbf_kernel(A, B, 1 / A.shape[1])),
}


def laplacian(X, Z, *, gamma, degree, coef0):
    """A kernel of one's own."""
    return torch.exp(-gamma * torch.cdist(X, Z, p=1))


@parametrize_with_checks([KernelRidgeCV(), KernelRidgeCV([0.1, 1.0], kernel="rbf", solver="eigen")])
def test_estimator_contract(estimator, check):
    """Every check of scikit-learn's estimator contract passes, without exceptions."""
    check(estimator)


def brute(K, y, alpha, weights, intercept):
    """Dual weights and constant from the normal equations of the weighted problem with a free constant."""
    n = len(K)
    # stationary: W (y - K a - b) = alpha a, sum of the weighted errors 0
    system = np.zeros((n + intercept, n + intercept))
    system[:n, :n] = K + alpha * np.diag(1 / weights)
    right = np.zeros((n + intercept, y.shape[1]))
    right[:n] = y
    if intercept:
        system[:n, n] = system[n, :n] = 1
    found = np.linalg.solve(system, right)
    return found[:n], found[n] if intercept else np.zeros(y.shape[1])


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("solver", ["dual", "factored", "eigen"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_scores_and_predictions_equal_brute_force(intercept, weighted, solver, name):
    """Every kernel, weighting, intercept and path equals the normal equations, fold by fold."""
    options, kernel = KERNELS[name]
    X, Y, counts = problem()
    weights = counts if weighted else np.ones(60)
    K, cv = kernel(X, X), folds("unequal")
    for scoring in SCORINGS if name == "rbf" else ("r2",):
        model = KernelRidgeCV(
            ALPHAS, cv=cv, scoring=scoring, solver=solver, fit_intercept=intercept, **options
        ).fit(X, Y, sample_weight=weights if weighted else None)
        expected = []
        for alpha in ALPHAS:
            every = []
            for a, b in cv:
                dual, constant = brute(K[np.ix_(a, a)], Y[a], alpha, weights[a], intercept)
                every.append(score(scoring, Y[b], K[np.ix_(b, a)] @ dual + constant))
            expected.append(np.mean(every, axis=0))
        np.testing.assert_allclose(model.cv_scores_, expected, rtol=1e-8, atol=1e-8)
    new = problem(n=9, seed=4)[0]
    for t, alpha in enumerate(model.best_alphas_):
        dual, constant = brute(K, Y[:, [t]], alpha, weights, intercept)
        expected = kernel(new, X) @ dual[:, 0] + constant
        np.testing.assert_allclose(model.predict(new)[:, t], expected, atol=1e-8)
        np.testing.assert_allclose(model.dual_coef_[:, t], dual[:, 0], atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(weighted):
    """Without an intercept a single penalty is scikit-learn's KernelRidge."""
    X, Y, counts = problem()
    weights = counts if weighted else None
    ours = KernelRidgeCV([0.3], kernel="rbf", gamma=0.02, fit_intercept=False, cv=3)
    ours.fit(X, Y, sample_weight=weights)
    theirs = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.02).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict(X + 0.1), theirs.predict(X + 0.1), atol=1e-9)
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-9)


def test_leave_one_out():
    """Leave-one-out squared errors equal refits by brute force."""
    X, Y, _ = problem(n=25)
    K = rbf_kernel(X, X, 0.02)
    model = KernelRidgeCV(
        ALPHAS, kernel="rbf", gamma=0.02, cv=LeaveOneOut(), scoring="neg_mean_squared_error"
    ).fit(X, Y)
    for row, alpha in enumerate(ALPHAS):
        errors = []
        for a, b in LeaveOneOut().split(X):
            dual, constant = brute(K[np.ix_(a, a)], Y[a], alpha, np.ones(24), True)
            errors.append((Y[b] - K[np.ix_(b, a)] @ dual - constant) ** 2)
        np.testing.assert_allclose(-model.cv_scores_[row], np.mean(errors, axis=0)[0], rtol=1e-8)


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_precomputed_and_callable_equal_named(weighted, as_torch):
    """A precomputed kernel and a function give what the named kernel gives; rows without weight count 0."""
    X, Y, counts = problem()
    counts[[0, 30, 59]] = 0
    weights = counts if weighted else None
    new = problem(n=8, seed=9)[0]
    expected = KernelRidgeCV(ALPHAS, kernel="rbf", gamma=0.02).fit(X, Y, sample_weight=weights)

    def gauss(A, B, *, gamma, degree, coef0):
        return torch.exp(-gamma * torch.cdist(A, B) ** 2)

    K, K_new = rbf_kernel(X, X, 0.02), rbf_kernel(new, X, 0.02)
    cast = torch.as_tensor if as_torch else np.asarray
    before = K.copy()
    pre = KernelRidgeCV(ALPHAS, kernel="precomputed").fit(cast(K), cast(Y), sample_weight=weights)
    np.testing.assert_array_equal(K, before)
    own = KernelRidgeCV(ALPHAS, kernel=gauss, gamma=0.02).fit(cast(X), cast(Y), sample_weight=weights)
    for model, given in ((pre, K_new), (own, new)):
        np.testing.assert_allclose(np.asarray(model.cv_scores_), expected.cv_scores_, atol=1e-8)
        predicted = model.predict(cast(given))
        assert isinstance(predicted, torch.Tensor if as_torch else np.ndarray)
        np.testing.assert_allclose(np.asarray(predicted), expected.predict(new), atol=1e-8)
        if weighted:
            assert not np.asarray(model.dual_coef_)[[0, 30, 59]].any()
    assert not hasattr(pre, "X_fit_")


def test_a_kernel_of_ones_own():
    """A function that is no named kernel is used for fitting and predicting."""
    X, Y, _ = problem()
    model = KernelRidgeCV([1.0], kernel=laplacian, gamma=0.05, cv=3).fit(X, Y)
    K = np.exp(-0.05 * np.abs(X[:, None] - X[None]).sum(-1))
    dual, constant = brute(K, Y, 1.0, np.ones(60), True)
    np.testing.assert_allclose(model.predict(X), K @ dual + constant, atol=1e-8)


def test_a_kernel_that_only_the_intercept_makes_definite():
    """Minus a distance is a kernel once it is centred, and is taken with an intercept alone."""
    X, Y, _ = problem()
    K = -np.linalg.norm(X[:, None] - X[None], axis=-1)
    model = KernelRidgeCV([1.0], kernel="precomputed", cv=3).fit(K, Y)
    dual, constant = brute(K, Y, 1.0, np.ones(60), True)
    np.testing.assert_allclose(model.predict(K), K @ dual + constant, atol=1e-8)
    with pytest.raises(InputError, match="not positive semi-definite"):
        KernelRidgeCV([1.0], kernel="precomputed", fit_intercept=False).fit(K, Y)


def test_one_target_masks_and_types():
    """A vector gives vectors; NaN and constant targets are NaN; float32 stays float32."""
    X, Y, _ = problem()
    vector = KernelRidgeCV(ALPHAS, kernel="rbf").fit(X, Y[:, 0])
    column = KernelRidgeCV(ALPHAS, kernel="rbf").fit(X, Y[:, :1])
    assert vector.dual_coef_.shape == (60,)
    assert vector.predict(X).shape == (60,)
    np.testing.assert_array_equal(vector.predict(X), column.predict(X)[:, 0])
    Y[3, 1], Y[:, 2] = np.nan, 7.0
    model = KernelRidgeCV(ALPHAS, kernel="rbf").fit(X.astype(np.float32), Y.astype(np.float32))
    assert model.nan_codes_.tolist() == [0, 1, 2, 0, 0]
    assert np.isnan(model.dual_coef_[:, 1:3]).all()
    assert np.isnan(model.predict(X)[:, 1:3]).all()
    assert np.isfinite(model.predict(X)[:, [0, 3, 4]]).all()
    assert model.dual_coef_.dtype == model.predict(X.astype(np.float32)).dtype == np.float32


def test_features_far_from_zero_in_float32():
    """Large means of a kernel cancel in the predictions of float32 weights."""
    X, Y, _ = problem(n=100, p=150)
    X = X + 50
    exact = KernelRidgeCV(ALPHAS).fit(X, Y).predict(X)
    single = KernelRidgeCV(ALPHAS).fit(X.astype(np.float32), Y.astype(np.float32))
    np.testing.assert_allclose(single.predict(X.astype(np.float32)), exact, atol=2e-3)


def test_adaptive_shared_and_growing_grids():
    """The searches of RidgeCV work on kernels."""
    X, Y, _ = problem(t=80)
    options = {"kernel": "rbf", "gamma": 0.02, "cv": 4}
    grid = KernelRidgeCV(np.logspace(-4, 3, 10), **options).fit(X, Y)
    walk = KernelRidgeCV(np.logspace(-4, 3, 10), alpha_search="adaptive", **options).fit(X, Y)
    assert (walk.best_alphas_ == grid.best_alphas_).mean() > 0.95
    assert walk.search_audit_["n_audited"] == 64
    shared = KernelRidgeCV(np.logspace(-4, 3, 10), alpha_per_target=False, **options).fit(X, Y)
    assert set(shared.best_alphas_) == {shared.alphas_[grid.cv_scores_.mean(1).argmax()]}
    more = KernelRidgeCV([1e2, 1e3], extend_alphas=True, **options).fit(X, Y)
    assert len(more.alphas_) > 2


@pytest.mark.parametrize(
    ("options", "change", "error", "text"),
    [
        (
            {"kernel": "precomputed"},
            lambda X: X,
            ShapeError,
            r"X has shape \(60, 20\); expected \(n_samp",
        ),
        ({"kernel": "precomputed"}, lambda X: np.triu(X @ X.T), InputError, "the kernel is not symmetric"),
        ({"kernel": "precomputed"}, lambda X: -(X @ X.T), InputError, "not positive semi-definite"),
        ({"kernel": "precomputed"}, lambda X: np.full((60, 60), np.nan), ValueError, "contains NaN"),
        ({"kernel": "rfb"}, lambda X: X, UnknownNameError, "kernel 'rfb' does not exist; closest: rbf"),
        ({"kernel": "rbf", "gamma": 0.0}, lambda X: X, InputError, "gamma=0.0; expected a number above zero"),
        ({"kernel": "rbf", "gamma": -1}, lambda X: X, InputError, "gamma=-1; expected a number above zero"),
        ({"kernel": "poly", "degree": 400}, lambda X: X * 1e3, InputError, "holds NaN or infinite values"),
        ({"solver": "primal"}, lambda X: X, InputError, "solver='primal' is not one of 'auto', 'dual'"),
        ({"kernel": lambda A, B, **_: A @ B.T * torch.nan}, lambda X: X, InputError, "holds NaN or infinite"),
    ],
)
def test_kernels_that_are_refused(options, change, error, text):
    """What is no kernel is an error that says why."""
    X, Y, _ = problem()
    with pytest.raises(error, match=text):
        KernelRidgeCV([1.0], **options).fit(change(X), Y)
    with pytest.raises(ValueError, match="X has 59 features"):
        KernelRidgeCV([1.0], kernel="precomputed").fit(X @ X.T, Y).predict((X @ X.T)[:, :59])
