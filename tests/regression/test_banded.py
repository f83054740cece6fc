"""BandedRidgeCV against scikit-learn, himalaya, planted truth and its invariances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from brainalign import metrics
from brainalign.regression import RidgeCV
from brainalign.regression.banded import BandedRidgeCV

ALPHAS = np.logspace(-2, 3, 6)
GAMMAS = np.array([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0, 0, 1], [0.7, 0.05, 0.25]])


def simulate(n=60, widths=(8, 12, 5), t=4, noise=3.0, seed=0):
    """Bands of several scales with offsets; the last one explains nothing."""
    rng = np.random.default_rng(seed)
    Xs = [(rng.standard_normal((n, p)) + 1) * s for p, s in zip(widths, (1.0, 2.0, 0.5), strict=True)]
    Y = sum(X @ rng.standard_normal((X.shape[1], t)) for X in Xs[:2]) + noise * rng.standard_normal((n, t))
    return Xs, Y + 5, rng.integers(1, 5, n).astype(float)


def exact(**options):
    return BandedRidgeCV(alphas=ALPHAS, cv=4, halving=False, refine=False, candidates=GAMMAS, **options)


@parametrize_with_checks(
    [BandedRidgeCV(), BandedRidgeCV(alphas=[0.1, 1.0], alpha_per_target=False, halving=False)]
)
def test_estimator_contract(estimator, check):
    """Every check of scikit-learn's estimator contract passes, without exceptions."""
    check(estimator)


@pytest.mark.parametrize("widths", [(8, 12, 5), (30, 40, 20)])
@pytest.mark.parametrize("per_target", [True, False])
def test_choice_and_fit_equal_brute_force(widths, per_target):
    """Weights, penalty, score and coefficients equal a search over scikit-learn's Ridge on scaled columns."""
    Xs, Y, w = simulate(widths=widths)
    model = exact(alpha_per_target=per_target).fit(Xs, Y, sample_weight=w)
    X = np.hstack(Xs)
    squares = [(w[:, None] * (Z - w @ Z / w.sum()) ** 2).sum() for Z in Xs]
    np.testing.assert_allclose(model.band_scales_, np.mean(squares) / squares)
    scores = np.zeros((len(GAMMAS), len(ALPHAS), Y.shape[1]))
    columns = [np.repeat(np.sqrt(g * model.band_scales_), widths) for g in GAMMAS]
    for g, column in enumerate(columns):
        for a, alpha in enumerate(ALPHAS):
            for train, test in KFold(4).split(X):
                fitted = Ridge(alpha).fit(X[train] * column, Y[train], sample_weight=w[train])
                observed, predicted = Y[test], fitted.predict(X[test] * column)
                scores[g, a] += r2_score(observed, predicted, multioutput="raw_values") / 4
    flat = scores.mean(2, keepdims=True) if not per_target else scores
    flat = np.broadcast_to(flat, scores.shape).reshape(-1, Y.shape[1])
    best = flat.argmax(0)
    np.testing.assert_allclose(model.best_scores_, flat.max(0), atol=1e-9)
    np.testing.assert_allclose(model.best_alphas_, ALPHAS[best % len(ALPHAS)])
    np.testing.assert_allclose(model.band_weights_, GAMMAS[best // len(ALPHAS)].T)
    expected = scores if per_target else np.broadcast_to(scores.mean(2, keepdims=True), scores.shape)
    np.testing.assert_allclose(model.candidate_scores_, expected.max(1), atol=1e-9)
    for t in range(Y.shape[1]):
        column = columns[best[t] // len(ALPHAS)]
        fitted = Ridge(model.best_alphas_[t]).fit(X * column, Y[:, t], sample_weight=w)
        np.testing.assert_allclose(model.coef_[t], fitted.coef_ * column, atol=1e-9)
        np.testing.assert_allclose(model.predict(Xs)[:, t], fitted.predict(X * column), atol=1e-9)


@pytest.mark.parametrize("widths", [(8, 12, 5), (30, 40, 20)])
@pytest.mark.parametrize("scoring", ["r2", "pearson", "neg_mean_squared_error"])
def test_scores_and_weights_equal_himalaya(widths, scoring):
    """For given band weights, zeros included, scores and choices equal himalaya's kernel solver."""
    himalaya = pytest.importorskip("himalaya")
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from himalaya.scoring import correlation_score, l2_neg_loss
    from himalaya.scoring import r2_score as himalaya_r2

    himalaya.backend.set_backend("numpy")
    loss = {"r2": himalaya_r2, "pearson": correlation_score, "neg_mean_squared_error": l2_neg_loss}[scoring]
    Xs, Y, _ = simulate(widths=widths)
    kernels = np.stack([(X - X.mean(0)) @ (X - X.mean(0)).T for X in Xs])
    options = {"n_iter": GAMMAS, "alphas": ALPHAS, "score_func": loss, "progress_bar": False}
    theirs = MultipleKernelRidgeCV(kernels="precomputed", solver_params=options, fit_intercept=True, cv=4)
    theirs.fit(kernels, Y)
    ours = exact(scale_bands=False, scoring=scoring).fit(Xs, Y)
    np.testing.assert_allclose(ours.candidate_scores_, theirs.cv_scores_, atol=1e-7)
    with np.errstate(divide="ignore"):
        deltas = np.log(ours.band_weights_ / ours.best_alphas_)
    np.testing.assert_allclose(deltas, theirs.deltas_, atol=1e-9)
    np.testing.assert_allclose(ours.predict(Xs), theirs.predict(kernels), atol=1e-8)


@pytest.mark.parametrize("widths", [(8, 12, 5), (30, 40, 20)])
def test_one_band_is_ridge(widths):
    """A single matrix without bands gives the penalties, scores and coefficients of RidgeCV."""
    Xs, Y, w = simulate(widths=widths)
    X = np.hstack(Xs)
    ours, ridge = BandedRidgeCV().fit(X, Y, sample_weight=w), RidgeCV().fit(X, Y, sample_weight=w)
    np.testing.assert_allclose(ours.alphas_, ridge.alphas_, rtol=1e-10)
    np.testing.assert_allclose(ours.best_alphas_, ridge.best_alphas_, rtol=1e-10)
    np.testing.assert_allclose(ours.best_scores_, ridge.best_scores_, atol=1e-8)
    np.testing.assert_allclose(ours.coef_, ridge.coef_, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_, ridge.intercept_, atol=1e-6)
    assert (ours.band_weights_ == 1).all()


@pytest.mark.parametrize("widths", [(8, 12, 5), (30, 40, 20)])
def test_columns_arrays_and_kernels_are_the_same_bands(widths):
    """Slices of a matrix, column numbers, masks, a list of arrays and linear kernels give one fit."""
    Xs, Y, w = simulate(widths=widths)
    X = np.hstack(Xs)
    edges = np.cumsum([0, *widths])
    slices = [slice(a, b) for a, b in itertools.pairwise(edges)]
    masks = [np.isin(np.arange(X.shape[1]), np.arange(X.shape[1])[s]) for s in slices]
    base = BandedRidgeCV(n_candidates=6).fit(Xs, Y, sample_weight=w)
    for bands in (slices, masks, [np.arange(X.shape[1])[s] for s in slices]):
        other = BandedRidgeCV(bands, n_candidates=6).fit(X, Y, sample_weight=w)
        np.testing.assert_array_equal(other.coef_, base.coef_)
        np.testing.assert_array_equal(other.predict(X), base.predict(Xs))
    kernels, new = [X @ X.T for X in Xs], [X[:7] @ X.T for X in Xs]
    for stack in (np.stack, list):
        dual = BandedRidgeCV(kernel="precomputed", n_candidates=6).fit(stack(kernels), Y, sample_weight=w)
        np.testing.assert_allclose(dual.best_scores_, base.best_scores_, atol=1e-8)
        np.testing.assert_allclose(dual.predict(stack(new)), base.predict(Xs)[:7], atol=1e-7)
        np.testing.assert_allclose(
            dual.predict_bands(stack(new)).sum(0) + dual.intercept_, dual.predict(stack(new)), atol=1e-9
        )
        assert not hasattr(dual, "coef_")


def test_contributions_sum_to_the_prediction():
    """Bands add up to the prediction less the intercept; a band of weight 0 adds exactly nothing."""
    Xs, Y, _ = simulate()
    model = BandedRidgeCV(alphas=ALPHAS, candidates=[[0.5, 0.5, 0.0]], refine=True).fit(Xs, Y)
    parts = model.predict_bands(Xs)
    assert parts.shape == (3, 60, 4)
    np.testing.assert_allclose(parts.sum(0) + model.intercept_, model.predict(Xs), atol=1e-10)
    assert (parts[2] == 0).all()
    assert (model.coef_[:, model.band_columns_[2]] == 0).all()
    assert (model.band_weights_[2] == 0).all()


def held_out_r(model, train, test):
    return metrics.pearson(test[1], model.fit(*train).predict(test[0]))


@pytest.mark.parametrize(("n", "width"), [(150, 60), (100, 120)])
def test_planted_noise_band_is_turned_down(n, width):
    """Banded ridge beats ridge by 0.05 r on new rows when one of two bands is noise."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n + 400, 4 * width))
    Y = X[:, :width] @ rng.standard_normal((width, 12)) / np.sqrt(width) + rng.standard_normal((n + 400, 12))
    bands = [slice(0, width), slice(width, 4 * width)]
    train, test = (X[:n], Y[:n]), (X[n:], Y[n:])
    banded = BandedRidgeCV(bands, n_candidates=12)
    gain = held_out_r(banded, train, test) - held_out_r(RidgeCV(), train, test)
    assert gain.mean() >= 0.05
    assert (banded.band_weights_[0] > 0.6).mean() > 0.8


def test_nothing_is_lost_where_ridge_is_right():
    """With bands that matter equally, new rows are predicted within 0.005 r of ridge, on average."""
    rng = np.random.default_rng(4)
    n, width = 300, 20
    X = rng.standard_normal((n + 600, 3 * width))
    Y = X @ rng.standard_normal((3 * width, 40)) / 8 + rng.standard_normal((n + 600, 40))
    bands = [slice(i, i + width) for i in range(0, 3 * width, width)]
    train, test = (X[:n], Y[:n]), (X[n:], Y[n:])
    gain = held_out_r(BandedRidgeCV(bands), train, test) - held_out_r(RidgeCV(), train, test)
    assert gain.mean() > -0.005


def test_null_targets_get_no_score():
    """Responses of pure noise score about zero although many mixtures were tried."""
    rng = np.random.default_rng(0)
    Xs, Y = [rng.standard_normal((150, 60)) for _ in range(3)], rng.standard_normal((150, 60))
    model = BandedRidgeCV(n_candidates=12).fit(Xs, Y)
    assert -0.05 < model.best_scores_.mean() < 0.03
    new = [rng.standard_normal((400, 60)) for _ in range(3)]
    r = metrics.pearson(rng.standard_normal((400, 60)), model.predict(new))
    assert abs(r.mean()) < 0.03


def test_scale_of_a_band_does_not_matter_unless_asked():
    """A band times 1024 changes only its coefficients; without scaling it changes the scores."""
    Xs, Y, _ = simulate()
    louder = [Xs[0], Xs[1] * 1024, Xs[2]]
    base, other = (BandedRidgeCV(n_candidates=8).fit(X, Y) for X in (Xs, louder))
    np.testing.assert_allclose(other.best_scores_, base.best_scores_, atol=1e-9)
    np.testing.assert_allclose(other.band_weights_, base.band_weights_, atol=1e-7)
    np.testing.assert_allclose(other.coef_[:, 8:20] * 1024, base.coef_[:, 8:20], atol=1e-7)
    raw, changed = (exact(scale_bands=False).fit(X, Y) for X in (Xs, louder))
    assert np.abs(raw.candidate_scores_[0] - changed.candidate_scores_[0]).max() > 1e-3


def test_rotation_within_a_band_and_order_of_bands():
    """Rotated columns inside a band and reordered bands leave scores; mixing two bands does not."""
    Xs, Y, _ = simulate(widths=(8, 8, 5))
    rotate = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    base = exact().fit(Xs, Y)
    turned = exact().fit([Xs[0] @ rotate, Xs[1], Xs[2]], Y)
    np.testing.assert_allclose(turned.candidate_scores_, base.candidate_scores_, atol=1e-8)
    order = [2, 0, 1]
    moved = BandedRidgeCV(alphas=ALPHAS, cv=4, halving=False, refine=False, candidates=GAMMAS[:, order])
    moved.fit([Xs[j] for j in order], Y)
    np.testing.assert_allclose(moved.best_scores_, base.best_scores_, atol=1e-9)
    np.testing.assert_allclose(moved.band_weights_, base.band_weights_[order])
    mixed = exact().fit([Xs[0] + Xs[1], Xs[0] - Xs[1], Xs[2]], Y)
    assert np.abs(mixed.candidate_scores_ - base.candidate_scores_).max() > 1e-3
