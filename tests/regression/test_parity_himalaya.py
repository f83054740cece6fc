"""The estimators against himalaya, the field's solver: same data, same folds, same penalties.

What is known to be wrong at the peer is said where it is met, and only what is right there
is compared: its fitted penalties are exp(-log(1 / alpha)), not members of the grid, and its
scores carry a tie-break of 1e-10 log(alpha), so both are compared with tolerances.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.model_selection import KFold, PredefinedSplit, ShuffleSplit

from brainalign.regression import KernelRidgeCV, RidgeCV

pytest.importorskip("himalaya", reason="himalaya, the reference of these tests, is not installed")

from himalaya.kernel_ridge import KernelRidgeCV as PeerKernelRidgeCV
from himalaya.ridge import RidgeCV as PeerRidgeCV
from himalaya.scoring import correlation_score, l2_neg_loss, r2_score

ALPHAS = np.logspace(-3, 5, 13)
SHAPES = {"p<n": (60, 18), "p=n": (40, 40), "p>n": (40, 90)}
PEER_SCORES = {"r2": r2_score, "pearson": correlation_score, "neg_mean_squared_error": l2_neg_loss}
PEER_KERNELS = {
    "linear": {},
    "rbf": {"gamma": 0.02},
    "polynomial": {"gamma": 0.05, "coef0": 1.5, "degree": 2},
}
# in float32, within the spectrum: beyond it the curve of a target is flatter than float32 resolves,
# and there up to 0.6 % of the peer's own penalties differ between its two precisions
ALPHAS32 = np.logspace(-2, 4, 13)
TUTORIAL = np.logspace(1, 20, 20)  # what the peer's tutorials search
MANY = 2000


def problem(n, p, t, *, dtype=np.float64, seed=0):
    """Features, responses of mixed signal-to-noise ratio, and new features; nothing is centred."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n + 15, p)) * np.linspace(1.5, 0.2, p) + 0.3
    signal = X[:n] @ rng.standard_normal((p, t)) / np.sqrt(p)
    Y = signal * np.sqrt(rng.uniform(0, 3, t)) + rng.standard_normal((n, t)) + 1.0
    return X[:n].astype(dtype), Y.astype(dtype), X[n:].astype(dtype)


def folds(kind, n):
    """Four folds: runs of equal length, runs of different lengths, or overlapping random parts."""
    if kind == "equal":
        return KFold(4)
    if kind == "overlapping":
        return ShuffleSplit(4, test_size=0.3, train_size=0.5, random_state=0)
    sizes = np.array([0.1, 0.2, 0.3, 0.4]) * n
    runs = np.repeat(np.arange(4), sizes.round().astype(int))
    return PredefinedSplit(np.random.default_rng(3).permutation(runs))


def squeeze(Y, t):
    """One target is passed as a vector."""
    return Y[:, 0] if t == 1 else Y


def peer_ridge(intercept, scoring, cv, alphas=ALPHAS, **options):
    """The peer's ridge; its advice to use kernel ridge for p > n is turned off by name."""
    chosen = {"score_func": PEER_SCORES[scoring], "warn": False, **options}
    return PeerRidgeCV(alphas=alphas, fit_intercept=intercept, cv=cv, solver_params=chosen)


@functools.cache
def peer_answer(shape, intercept, scoring, kind, t):
    """Penalties, scores and predictions of the peer; each is computed once for all of our solvers."""
    n, p = SHAPES[shape]
    X, Y, new = problem(n, p, t)
    model = peer_ridge(intercept, scoring, folds(kind, n)).fit(X, squeeze(Y, t))
    return model.best_alphas_, model.cv_scores_, model.predict(new)


@pytest.mark.parametrize("solver", RidgeCV.solvers)
@pytest.mark.parametrize("t", [1, 30])
@pytest.mark.parametrize("kind", ["equal", "unequal", "overlapping"])
@pytest.mark.parametrize("scoring", list(PEER_SCORES))
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_ridge_in_float64(shape, intercept, scoring, kind, t, solver):
    """Every penalty is the peer's, scores agree within 1e-7 and predictions within 1e-8."""
    n, p = SHAPES[shape]
    X, Y, new = problem(n, p, t)
    model = RidgeCV(ALPHAS, cv=folds(kind, n), scoring=scoring, fit_intercept=intercept, solver=solver)
    model.fit(X, squeeze(Y, t))
    penalties, scores, predicted = peer_answer(shape, intercept, scoring, kind, t)
    np.testing.assert_allclose(model.best_alphas_, penalties, rtol=1e-9)
    np.testing.assert_allclose(model.best_scores_, scores, rtol=0, atol=1e-7)
    np.testing.assert_allclose(model.predict(new), predicted, rtol=0, atol=1e-8)


def test_the_grid_of_the_parity_tests_is_used():
    """The penalties compared above differ between targets and lie inside the grid for most of them."""
    for shape in SHAPES:
        penalties = peer_answer(shape, True, "r2", "equal", 30)[0]
        inside = (penalties > 1.1 * ALPHAS[0]) & (penalties < 0.9 * ALPHAS[-1])
        assert len(np.unique(penalties.round(6))) >= 4
        assert inside.mean() > 0.6


@pytest.mark.parametrize("scoring", list(PEER_SCORES))
@pytest.mark.parametrize("shape", ["p<n", "p>n"])
def test_one_penalty_for_all_targets(shape, scoring):
    """The shared penalty, its scores and predictions are the peer's (its local_alpha=False)."""
    n, p = SHAPES[shape]
    X, Y, new = problem(n, p, 30)
    cv = folds("unequal", n)
    model = RidgeCV(ALPHAS, cv=cv, scoring=scoring, alpha_per_target=False).fit(X, Y)
    peer = peer_ridge(True, scoring, cv, local_alpha=False).fit(X, Y)
    np.testing.assert_allclose(model.best_alphas_, peer.best_alphas_, rtol=1e-9)
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(model.predict(new), peer.predict(new), rtol=0, atol=1e-8)


@pytest.mark.parametrize("reference", [np.float64, np.float32])
@pytest.mark.parametrize("scoring", list(PEER_SCORES))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_ridge_in_float32(shape, scoring, reference):
    """Fitted in float32, at least 99.9 % of 2000 penalties are equal and scores agree within 2e-4.

    The reference is the peer on the same float32 values: once computed in float64 (the
    truth), once in float32 (what a user of the peer gets).
    """
    n, p = SHAPES[shape]
    X, Y, new = problem(n, p, MANY, dtype=np.float32)
    cv = folds("equal", n)
    model = RidgeCV(ALPHAS32, cv=cv, scoring=scoring).fit(X, Y)
    peer = peer_ridge(True, scoring, cv, ALPHAS32).fit(X.astype(reference), Y.astype(reference))
    equal = np.isclose(model.best_alphas_, peer.best_alphas_, rtol=1e-3)
    assert equal.mean() >= 0.999
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=2e-4)
    np.testing.assert_allclose(model.predict(new)[:, equal], peer.predict(new)[:, equal], rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scoring", list(PEER_SCORES))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_grid_of_the_tutorials(shape, scoring, dtype):
    """On 1e1 to 1e20, most of it beyond the spectrum, the chosen scores are the peer's in float64 (within
    1e-7, or 2e-4 fitted in float32), and fitted in float64 every penalty is the peer's.

    In float32 the penalties are not compared: for targets of noise the curve is level from
    1e9 on to more digits than float32 has.
    """
    n, p = SHAPES[shape]
    X, Y, _ = problem(n, p, MANY, dtype=dtype)
    model = RidgeCV(TUTORIAL, cv=KFold(4), scoring=scoring).fit(X, Y)
    peer = peer_ridge(True, scoring, KFold(4), TUTORIAL).fit(X.astype(np.float64), Y.astype(np.float64))
    tolerance = 1e-7 if dtype is np.float64 else 2e-4
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=tolerance)
    if dtype is np.float64:
        np.testing.assert_allclose(model.best_alphas_, peer.best_alphas_, rtol=1e-9)


@pytest.mark.parametrize("solver", RidgeCV.solvers)
@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_solver_in_float32(shape, solver):
    """Each solver, also where it is not the one that would be taken, keeps to the tolerance of float32."""
    n, p = SHAPES[shape]
    X, Y, _ = problem(n, p, MANY, dtype=np.float32)
    model = RidgeCV(ALPHAS32, cv=KFold(4), solver=solver).fit(X, Y)
    penalties, scores = peer_in_float64(shape)
    assert np.isclose(model.best_alphas_, penalties, rtol=1e-3).mean() >= 0.999
    np.testing.assert_allclose(model.best_scores_, scores, rtol=0, atol=2e-4)


@functools.cache
def peer_in_float64(shape):
    """The peer's answer to the float32 problem, computed in float64."""
    X, Y, _ = problem(*SHAPES[shape], MANY, dtype=np.float32)
    peer = peer_ridge(True, "r2", KFold(4), ALPHAS32).fit(X.astype(np.float64), Y.astype(np.float64))
    return peer.best_alphas_, peer.cv_scores_


def kernel_pair(kernel, X, new):
    """Arguments of both sides: the kernel's name and numbers, and what fit and predict receive."""
    if kernel == "precomputed":
        return {}, X @ X.T, new @ X.T
    return PEER_KERNELS[kernel], X, new


@pytest.mark.parametrize("t", [1, 30])
@pytest.mark.parametrize("kind", ["equal", "unequal"])
@pytest.mark.parametrize("scoring", list(PEER_SCORES))
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "polynomial", "precomputed"])
def test_kernel_ridge_in_float64(kernel, intercept, scoring, kind, t):
    """Penalties, scores and predictions of each kernel are the peer's, with p > n."""
    X, Y, new = problem(45, 70, t)
    numbers, fitted_on, asked = kernel_pair(kernel, X, new)
    cv = folds(kind, len(X))
    model = KernelRidgeCV(
        ALPHAS, kernel=kernel, cv=cv, scoring=scoring, fit_intercept=intercept, **numbers
    ).fit(fitted_on, squeeze(Y, t))
    peer = PeerKernelRidgeCV(
        alphas=ALPHAS,
        kernel=kernel,
        kernel_params=numbers,
        cv=cv,
        fit_intercept=intercept,
        solver_params={"score_func": PEER_SCORES[scoring]},
    ).fit(fitted_on, squeeze(Y, t))
    np.testing.assert_allclose(model.best_alphas_, peer.best_alphas_, rtol=1e-9)
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(model.dual_coef_, peer.dual_coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.predict(asked), peer.predict(asked), rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", KernelRidgeCV.solvers)
@pytest.mark.parametrize("kernel", ["linear", "rbf", "polynomial"])
def test_every_solver_of_kernel_ridge(kernel, solver):
    """Each solver chooses the peer's penalties and gives its scores for a kernel in float64."""
    X, Y, _ = problem(45, 70, 30)
    numbers = PEER_KERNELS[kernel]
    model = KernelRidgeCV(ALPHAS, kernel=kernel, cv=folds("unequal", 45), solver=solver, **numbers).fit(X, Y)
    peer = PeerKernelRidgeCV(
        alphas=ALPHAS,
        kernel=kernel,
        kernel_params=numbers,
        cv=folds("unequal", 45),
        fit_intercept=True,
        solver_params={"score_func": r2_score},
    ).fit(X, Y)
    np.testing.assert_allclose(model.best_alphas_, peer.best_alphas_, rtol=1e-9)
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "polynomial"])
def test_kernel_ridge_in_float32(kernel):
    """Fitted in float32, at least 99.9 % of penalties equal those of the peer in float64."""
    X, Y, _ = problem(45, 70, MANY, dtype=np.float32)
    numbers = PEER_KERNELS[kernel]
    model = KernelRidgeCV(ALPHAS32, kernel=kernel, cv=KFold(4), **numbers).fit(X, Y)
    peer = PeerKernelRidgeCV(
        alphas=ALPHAS32,
        kernel=kernel,
        kernel_params=numbers,
        cv=KFold(4),
        fit_intercept=True,
        solver_params={"score_func": r2_score},
    ).fit(X.astype(np.float64), Y.astype(np.float64))
    assert np.isclose(model.best_alphas_, peer.best_alphas_, rtol=1e-3).mean() >= 0.999
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=2e-4)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning:himalaya")
@pytest.mark.parametrize("shape", ["p<n", "p>n"])
def test_a_constant_target_is_wrong_at_the_peer(shape):
    """A constant target has no fit here, while the peer scores it about 0 at the largest penalty; the
    other targets agree."""
    n, p = SHAPES[shape]
    X, Y, _ = problem(n, p, 6)
    Y[:, 2] = 4.0
    others = np.arange(6) != 2
    model = RidgeCV(ALPHAS, cv=KFold(4)).fit(X, Y)
    peer = peer_ridge(True, "r2", KFold(4)).fit(X, Y)
    assert peer.best_alphas_[2] == pytest.approx(ALPHAS[-1])
    assert peer.cv_scores_[2] == pytest.approx(0, abs=1e-8)
    assert np.isnan(model.best_alphas_[2])
    assert np.isnan(model.best_scores_[2])
    assert model.nan_reasons_ == {"constant response": 1}
    np.testing.assert_allclose(model.best_alphas_[others], peer.best_alphas_[others], rtol=1e-9)
    np.testing.assert_allclose(model.best_scores_[others], peer.cv_scores_[others], atol=1e-7)


def test_a_missing_response_is_refused_whole_by_the_peer():
    """One NaN makes the peer refuse all targets; here the others get the answer that the peer gives them."""
    X, Y, new = problem(60, 18, 6)
    Y[7, 4] = np.nan
    others = np.arange(6) != 4
    with pytest.raises(ValueError, match="NaN"):
        peer_ridge(True, "r2", KFold(4)).fit(X, Y)
    model = RidgeCV(ALPHAS, cv=KFold(4)).fit(X, Y)
    peer = peer_ridge(True, "r2", KFold(4)).fit(X, Y[:, others])
    assert np.isnan(model.predict(new)[:, 4]).all()
    np.testing.assert_allclose(model.best_alphas_[others], peer.best_alphas_, rtol=1e-9)
    np.testing.assert_allclose(model.predict(new)[:, others], peer.predict(new), atol=1e-8)


def test_the_fitted_penalties_are_members_of_the_grid():
    """Our penalties are the grid's own numbers, bit for bit; the peer's are those after exp(-log(1/a))."""
    X, Y, _ = problem(60, 18, 30)
    model = RidgeCV(ALPHAS, cv=KFold(4)).fit(X, Y)
    peer = peer_ridge(True, "r2", KFold(4)).fit(X, Y)
    assert np.isin(model.best_alphas_, ALPHAS).all()
    assert not np.isin(peer.best_alphas_, ALPHAS).all()
    np.testing.assert_allclose(model.best_alphas_, peer.best_alphas_, rtol=1e-9)


def test_a_tie_is_broken_differently():
    """With one feature every penalty predicts in the same direction: the peer's tie-break takes the
    largest penalty and adds 1e-10 log(alpha) to the score, so only the scores can be compared."""
    X, Y, _ = problem(60, 1, 10)
    model = RidgeCV(ALPHAS, cv=KFold(4), scoring="pearson").fit(X, Y)
    peer = peer_ridge(True, "pearson", KFold(4)).fit(X, Y)
    np.testing.assert_allclose(peer.best_alphas_, ALPHAS[-1])
    np.testing.assert_allclose(model.best_scores_, peer.cv_scores_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(np.ptp(model.cv_scores_, axis=0), 0, atol=1e-12)
