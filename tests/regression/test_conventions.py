"""Penalties of other packages: the weights are the same after the conversion, in both directions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.regression.conventions import CONVENTIONS, from_alpha, from_deltas, to_alpha, to_deltas

FRACTIONS = np.array([1e-6, 0.05, 0.3, 0.5, 0.8, 0.99, 1 - 1e-9])


def problem(n=60, p=20, t=5, seed=0, offset=2.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.logspace(0, -2, p) + offset
    return X, rng.standard_normal((n, t)) + offset, rng.integers(1, 5, n).astype(float)


def squared_penalty_ridge(X, Y, penalty, normalised):
    """Weights (p, t) of the codes that square the penalty: V S / (S^2 + a^2) U'Y."""
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    a = penalty * S[0] if normalised else penalty
    return Vt.T @ ((S / (S**2 + a**2))[:, None] * (U.T @ Y))


def centred(X, weights=None, intercept=True):
    w = np.ones(len(X)) if weights is None else weights
    mean = np.average(X, axis=0, weights=w) if intercept else 0.0
    return (X - mean) * np.sqrt(w)[:, None]


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
@pytest.mark.parametrize(
    ("name", "normalised"), [("huth", False), ("huth_normalpha", True), ("litcoder", True)]
)
@pytest.mark.parametrize("penalty", [0.07, 3.0, 250.0])
def test_squared_penalties_give_the_same_weights(shape, name, normalised, penalty):
    """Ridge at the converted alpha has the weights of the code that squares its penalty."""
    X, Y, _ = problem(*shape)
    alpha = to_alpha(penalty, name, X=X, fit_intercept=False)
    ours = Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(X, Y).coef_.T
    np.testing.assert_allclose(ours, squared_penalty_ridge(X, Y, penalty, normalised), rtol=1e-8, atol=1e-12)
    assert from_alpha(alpha, name, X=X, fit_intercept=False) == pytest.approx(penalty, rel=1e-12)
    # with an intercept here, the other code sees centred rows
    alpha = to_alpha(penalty, name, X=X)
    ours = Ridge(alpha=alpha, solver="svd").fit(X, Y).coef_.T
    theirs = squared_penalty_ridge(centred(X), centred(Y), penalty, normalised)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-11)


def test_known_numbers():
    """Conversions by hand: penalty 10 squared is 100; half of the singular value 4 squared is 4."""
    X = np.diag([3.0, 4.0])
    assert to_alpha(10, "huth") == 100.0
    assert to_alpha(0.5, "litcoder", X=X, fit_intercept=False) == pytest.approx(4.0, rel=1e-14)
    assert to_alpha(0.5, "mean_loss", X=X) == 1.0
    assert to_alpha(2.0, "relative", X=X, fit_intercept=False) == pytest.approx(25.0)
    assert to_alpha(7.0, "himalaya") == to_alpha(7.0, "scikit-learn") == 7.0
    # one singular value s: the fraction is s^2 / (s^2 + alpha)
    assert to_alpha(0.25, "fracridge", X=[[2.0]], Y=[1.0], fit_intercept=False) == pytest.approx(12.0)


@pytest.mark.parametrize("intercept", [True, False])
def test_loss_averaged_over_samples(intercept):
    """Gradient of the averaged loss vanishes at the converted penalty; weights count as samples."""
    X, Y, w = problem()
    alpha = to_alpha(0.3, "mean_loss", X=X, sample_weight=w)
    B = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(X, Y, sample_weight=w)
    Xc, Yc = centred(X, w, intercept), centred(Y, w, intercept)
    gradient = Xc.T @ (Xc @ B.coef_.T - Yc) / w.sum() + 0.3 * B.coef_.T
    np.testing.assert_allclose(gradient, 0, atol=1e-10)


def test_relative_is_the_unit_of_the_automatic_grid():
    """A relative penalty of 1e-5 to 1e5 is the automatic grid, with weights too."""
    from brainalign.regression import RidgeCV

    X, Y, w = problem()
    for weights in (None, w):
        grid = to_alpha(np.logspace(-5, 5, 20), "relative", X=X, sample_weight=weights)
        np.testing.assert_allclose(RidgeCV(cv=3).fit(X, Y, sample_weight=weights).alphas_, grid, rtol=1e-9)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (30, 30)])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_fraction_is_the_ratio_of_lengths(shape, intercept, weighted):
    """Ridge at the converted alpha has the wanted share of the length of the unpenalised weights."""
    X, Y, w = problem(*shape)
    w = w if weighted else None
    alphas = to_alpha(FRACTIONS[:, None], "fracridge", X=X, Y=Y, sample_weight=w, fit_intercept=intercept)
    assert alphas.shape == (len(FRACTIONS), Y.shape[1])
    assert (np.diff(alphas, axis=0) < 0).all()
    Xc, Yc = centred(X, w, intercept), centred(Y, w, intercept)
    longest = np.linalg.norm(np.linalg.pinv(Xc, rcond=1e-13) @ Yc, axis=0)
    for fraction, alpha in zip(FRACTIONS, alphas, strict=True):
        fitted = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(X, Y, sample_weight=w)
        found = np.linalg.norm(fitted.coef_, axis=1) / longest
        np.testing.assert_allclose(found, fraction, rtol=1e-8)
    back = from_alpha(alphas, "fracridge", X=X, Y=Y, sample_weight=w, fit_intercept=intercept)
    np.testing.assert_allclose(back, np.broadcast_to(FRACTIONS[:, None], back.shape), rtol=1e-12)


def test_fractions_at_the_ends_and_targets_without_weights():
    """Fraction 1 is no penalty, 0 an infinite one; targets without weights have none."""
    X, Y, _ = problem(t=6)
    plain = to_alpha(0.4, "fracridge", X=X, Y=Y)
    np.testing.assert_array_equal(to_alpha(1.0, "fracridge", X=X, Y=Y), np.zeros(6))
    np.testing.assert_array_equal(to_alpha(0.0, "fracridge", X=X, Y=Y), np.full(6, np.inf))
    np.testing.assert_array_equal(from_alpha(np.inf, "fracridge", X=X, Y=Y), np.zeros(6))
    np.testing.assert_allclose(from_alpha(0.0, "fracridge", X=X, Y=Y), np.ones(6), rtol=1e-14)
    Y[:, 1], Y[3, 2], Y[5, 3] = 7.0, np.nan, np.inf
    Q = np.linalg.qr(np.column_stack([np.ones(60), X, Y[:, 0]]))[0]
    Y[:, 4] = Q[:, -1]  # orthogonal to X and to the intercept
    odd = to_alpha(0.4, "fracridge", X=X, Y=Y)
    assert np.isnan(odd).tolist() == [False, True, True, True, True, False]
    np.testing.assert_allclose(odd[[0, 5]], plain[[0, 5]], rtol=1e-12)
    assert np.isnan(from_alpha(odd, "fracridge", X=X, Y=Y)).tolist() == np.isnan(odd).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-8, 1 - 1e-8), st.integers(1, 12))
def test_fraction_survives_any_spectrum(seed, fraction, decades):
    """With singular values over up to 24 decades the solved alpha still gives the fraction back."""
    rng = np.random.default_rng(seed)
    X = np.diag(10.0 ** rng.uniform(-decades / 2, decades / 2, 6))
    Y = X @ rng.standard_normal((6, 3)) + 1e-3 * rng.standard_normal((6, 3))
    alpha = to_alpha(fraction, "fracridge", X=X, Y=Y, fit_intercept=False)
    back = from_alpha(alpha, "fracridge", X=X, Y=Y, fit_intercept=False)
    np.testing.assert_allclose(back, fraction, rtol=1e-10)


def test_blocks_of_targets_change_nothing(monkeypatch):
    """Targets solved a few at a time have the alphas of all at once."""
    X, Y, _ = problem(t=40)
    whole = to_alpha(0.3, "fracridge", X=X, Y=Y)
    monkeypatch.setattr("brainalign.regression._fractions._BLOCK", 150)
    np.testing.assert_allclose(to_alpha(0.3, "fracridge", X=X, Y=Y), whole, rtol=1e-12)


def test_invariances_of_a_fraction():
    """The scale of a target changes nothing; alpha grows with the square of the scale of X."""
    X, Y, _ = problem()
    alpha = to_alpha(0.3, "fracridge", X=X, Y=Y)
    np.testing.assert_allclose(to_alpha(0.3, "fracridge", X=X, Y=1e-13 * Y), alpha, rtol=1e-9)
    np.testing.assert_allclose(to_alpha(0.3, "fracridge", X=10 * X, Y=Y), 100 * alpha, rtol=1e-9)
    assert not np.allclose(alpha, alpha[::-1])  # each target has its own


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_kind_of_array_and_round_trip(name):
    """Numbers give numbers, numpy gives numpy, torch gives torch; there and back is the identity."""
    X, Y, _ = problem()
    value = 0.37
    single = to_alpha(value, name, X=X, Y=Y[:, 0])
    assert isinstance(single, float)
    assert from_alpha(single, name, X=X, Y=Y[:, 0]) == pytest.approx(value, rel=1e-12)
    array = to_alpha(np.full(5, value), name, X=X, Y=Y)
    tensor = to_alpha(
        torch.full((5,), value, dtype=torch.float64), name, X=torch.tensor(X), Y=torch.tensor(Y)
    )
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float64
    assert tensor.dtype == torch.float64
    np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12)
    np.testing.assert_allclose(from_alpha(array, name, X=X, Y=Y), value, rtol=1e-12)
    # a target without a fit keeps its NaN, the others their numbers
    some = np.where(np.arange(5) == 2, np.nan, array)
    back = from_alpha(some, name, X=X, Y=Y)
    assert np.isnan(back).tolist() == [False, False, True, False, False]


def test_one_dimensional_responses_take_any_shape_of_fractions():
    """With 1-D responses the shape of the fractions is the shape of the alphas."""
    X, Y, _ = problem()
    fractions = np.linspace(0.1, 0.9, 6).reshape(2, 3)
    found = to_alpha(fractions, "fracridge", X=X, Y=Y[:, 1])
    assert found.shape == (2, 3)
    column = to_alpha(fractions.reshape(-1, 1), "fracridge", X=X, Y=Y)[:, 1]
    np.testing.assert_allclose(found.ravel(), column, rtol=1e-12)


@pytest.mark.parametrize("shape", [(80, 30), (30, 80)])
def test_against_fracridge(shape):
    """The package's alphas convert to its fractions within its grid, and alphas lie within 3 %."""
    fracridge = pytest.importorskip("fracridge").fracridge
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal(shape), rng.standard_normal((shape[0], 4))
    fractions = np.arange(0.1, 1.01, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coef, theirs = fracridge(X, Y, fractions, jit=False)
    ours = to_alpha(fractions[:, None], "fracridge", X=X, Y=Y, fit_intercept=False)
    np.testing.assert_allclose(ours[:-1], theirs[:-1], rtol=0.03)
    found = from_alpha(theirs, "fracridge", X=X, Y=Y, fit_intercept=False)
    # what the package calls a fraction is measured on its own weights
    lengths = np.linalg.norm(coef, axis=0)
    np.testing.assert_allclose(found, lengths / lengths[-1], rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 30.0])
def test_against_himalaya(alpha):
    """At the same alpha the packages' ridge and kernel ridge predict as scikit-learn's ridge."""
    himalaya = pytest.importorskip("himalaya")
    from himalaya.kernel_ridge import KernelRidge
    from himalaya.ridge import Ridge as TheirRidge

    assert himalaya is not None
    X, Y, _ = problem(40, 25)
    ours = Ridge(alpha=from_alpha(alpha, "himalaya"), solver="svd").fit(X, Y).predict(X)
    kernel = KernelRidge(alpha=alpha, fit_intercept=True, warn=False)
    for theirs in (TheirRidge(alpha=alpha, fit_intercept=True), kernel):
        np.testing.assert_allclose(theirs.fit(X, Y).predict(X), ours, atol=1e-8)


@pytest.mark.parametrize("primal", [True, False])
def test_deltas_against_himalaya(primal):
    """Ridge on columns times the root of their band weight predicts as the banded models there."""
    pytest.importorskip("himalaya")
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from himalaya.ridge import GroupRidgeCV

    X, Y, _ = problem(40, 12, offset=0.0)
    bands = [slice(0, 5), slice(5, 12)]
    options = {"n_iter": 4, "alphas": np.logspace(-1, 2, 4), "progress_bar": False}
    if primal:
        theirs = GroupRidgeCV(groups="input", cv=3, random_state=0, solver_params=options)
        theirs.fit([X[:, b] for b in bands], Y)
        predicted = theirs.predict([X[:, b] for b in bands])
    else:
        kernels = np.stack([X[:, b] @ X[:, b].T for b in bands])
        theirs = MultipleKernelRidgeCV("precomputed", cv=3, random_state=0, solver_params=options)
        predicted = theirs.fit(kernels, Y).predict(kernels)
    alphas, weights = from_deltas(np.asarray(theirs.deltas_))
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-12)
    np.testing.assert_allclose(to_deltas(alphas, weights), theirs.deltas_, rtol=1e-10)
    for t in range(Y.shape[1]):
        scaled = np.concatenate([X[:, b] * np.sqrt(weights[j, t]) for j, b in enumerate(bands)], axis=1)
        ours = Ridge(alphas[t], fit_intercept=primal and theirs.fit_intercept, solver="svd").fit(
            scaled, Y[:, t]
        )
        np.testing.assert_allclose(ours.predict(scaled), predicted[:, t], atol=1e-7)


def test_deltas_of_bands_that_are_off():
    """A band weight of 0 is a delta of -inf and comes back as 0; shapes and kinds are kept."""
    deltas = to_deltas(np.array([2.0, np.nan]), np.array([[1.0, 0.5], [0.0, 0.5]]))
    assert deltas[1, 0] == -np.inf
    assert np.isnan(deltas[:, 1]).all()
    alpha, weights = from_deltas(deltas)
    np.testing.assert_allclose(alpha, [2.0, np.nan])
    np.testing.assert_allclose(weights[:, 0], [1.0, 0.0])
    alpha, weights = from_deltas(torch.log(torch.tensor([0.1, 0.3])))
    assert isinstance(alpha, torch.Tensor)
    np.testing.assert_allclose(weights.numpy(), [0.25, 0.75], rtol=1e-6)
    assert isinstance(from_deltas([0.0, 0.0])[0], float)


X0, Y0 = np.arange(12.0).reshape(4, 3), np.arange(8.0).reshape(4, 2) ** 2
NAN_ROW = np.where(np.arange(4)[:, None] == 2, np.nan, X0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((1.0, "hut"), UnknownNameError, "convention 'hut' does not exist; closest: huth"),
        ((1.0, abs), InputError, "convention is a builtin_function_or_method; expected one of scikit-learn"),
        ((-2.0, "huth"), InputError, "penalty holds -2; expected numbers that are not negative"),
        (("ten", "huth"), InputError, "penalty is 'ten' .dtype <U3.; expected real numbers"),
        ((torch.ones(2, dtype=torch.complex64), "huth"), InputError, "penalty has dtype torch.complex64"),
        ((1.0, "litcoder"), InputError, "'litcoder' needs X: alpha = .penalty . largest singular value"),
        ((0.5, "fracridge", {"X": X0}), InputError, "convention 'fracridge' needs Y"),
        ((1.5, "fracridge", {"X": X0, "Y": Y0}), InputError, "a fraction is 1.5; expected 0 .infinite"),
        (
            (1.0, "litcoder", {"X": X0[0]}),
            ShapeError,
            r"X has shape \(3,\); expected \(n_samples, n_features\)",
        ),
        ((1.0, "litcoder", {"X": NAN_ROW}), InputError, "X holds NaN or infinity, first in row 2"),
        (
            (1.0, "litcoder", {"X": np.ones((4, 3))}),
            InputError,
            "X has no variance: every column is constant",
        ),
        ((1.0, "relative", {"X": np.ones((4, 3))}), InputError, "X has no variance"),
        ((0.5, "fracridge", {"X": X0, "Y": Y0[:3]}), ShapeError, r"X has 4 samples and Y has shape \(3, 2\)"),
        (
            (np.full(3, 0.5), "fracridge", {"X": X0, "Y": Y0}),
            ShapeError,
            r"the penalty has shape \(3,\) and Y has 2 targets; expected a number, \(2,\) or",
        ),
        (
            (1.0, "litcoder", {"X": X0, "sample_weight": np.ones(3)}),
            ShapeError,
            r"sample_weight has shape \(3,\); expected \(4,\)",
        ),
        (
            (1.0, "litcoder", {"X": X0, "sample_weight": [1, -1, 1, 1]}),
            InputError,
            "sample_weight must be finite, not negative, and above zero somewhere",
        ),
    ],
)
def test_errors(arguments, error, text):
    """Each wrong argument is named with what was expected."""
    with pytest.raises(error, match=text):
        to_alpha(*arguments[:2], **(arguments[2] if len(arguments) > 2 else {}))


def test_errors_of_the_other_direction():
    """Negative alphas, and deltas that name no model, are refused."""
    with pytest.raises(InputError, match="alpha holds -1; expected numbers that are not negative"):
        from_alpha(-1.0, "huth")
    with pytest.raises(InputError, match="alpha is 0; deltas are the log of band weight over alpha"):
        to_deltas(0.0, [1.0])
    with pytest.raises(InputError, match="band_weights holds -1"):
        to_deltas(1.0, [-1.0])
    with pytest.raises(ShapeError, match=r"alpha has shape \(2,\) and band_weights \(2, 3\); expected"):
        to_deltas([1.0, 2.0], np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"deltas has shape \(\); expected \(n_bands,\)"):
        from_deltas(1.0)
    with pytest.raises(InputError, match="deltas of target 1 are all -inf or hold .inf"):
        from_deltas([[0.0, -np.inf], [0.0, -np.inf]])
    with pytest.raises(InputError, match="deltas of target 0 are all -inf or hold .inf"):
        from_deltas([0.0, np.inf])
