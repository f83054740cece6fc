"""The primal and the dual form of banded ridge: scores, refits and gradients against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from brainalign.regression._banded_build import _primal_is_cheaper, build, coefficients
from brainalign.regression._banded_dual import DualBands
from brainalign.regression._banded_errors import flat_in_folds
from brainalign.regression._banded_factor import block_inverse, largest_eigenvalue, lifted_cholesky
from brainalign.regression._banded_primal import PrimalBands
from brainalign.regression._base import Problem
from brainalign.regression._folds import make_fold

SCORINGS = ["r2", "pearson", "neg_mean_squared_error"]
SHAPES = {"primal": (40, (6, 9, 4)), "dual": (24, (6, 19, 12))}
GAMMA = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def problem(form, seed=0, t=3, dtype=torch.float64):
    """Rows with weights, features with offsets and scales, and folds that overlap or leave rows out."""
    n, widths = SHAPES[form]
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, sum(widths))) * rng.uniform(0.5, 3, sum(widths)) + 2
    Y = X[:, :5] @ rng.standard_normal((5, t)) + 3 * rng.standard_normal((n, t)) + 7
    weights = rng.integers(1, 5, n).astype(float)
    cuts = [*KFold(3).split(X), (np.arange(n // 2, n), np.arange(n // 6, n // 3))]
    made = [make_fold(train, test, n) for train, test in cuts]
    tensors = [torch.as_tensor(a, dtype=dtype) for a in (X, Y)]
    usable = torch.ones(t, dtype=torch.bool)
    p = Problem(
        *tensors,
        torch.as_tensor(weights),
        np.arange(n),
        usable,
        (~usable).to(torch.uint8),
        False,
        False,
        dtype,
        torch.device("cpu"),
    )
    edges = np.cumsum([0, *widths])
    columns = [torch.arange(a, b) for a, b in itertools.pairwise(edges)]
    return p, made, columns


def built(form, scoring="r2", *, intercept=True, scale_bands=True, **options):
    p, folds, columns = problem(form, **options)
    found = build(
        p,
        columns,
        folds,
        scoring,
        flat_in_folds(p.Y, folds),
        intercept=intercept,
        precomputed=False,
        scale_bands=scale_bands,
    )
    assert isinstance(found.form, DualBands if form == "dual" else PrimalBands)
    return found, p, folds, columns


def scorer(scoring, observed, predicted):
    if scoring == "r2":
        return r2_score(observed, predicted, multioutput="raw_values")
    if scoring == "pearson":
        return np.array([np.corrcoef(o, p)[0, 1] for o, p in zip(observed.T, predicted.T, strict=True)])
    return -((observed - predicted) ** 2).mean(0)


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("gamma", [(0.5, 0.2, 0.3), (0.0, 1.0, 0.0), (0.7, 0.0, 0.3)])
def test_scores_and_coefficients_equal_refits_on_scaled_columns(form, scoring, intercept, gamma):
    """Each fold scores as scikit-learn's Ridge on columns times sqrt(gamma), and so does the final fit."""
    found, p, folds, columns = built(form, scoring, intercept=intercept)
    X, Y, w = (v.numpy() for v in (p.X, p.Y, p.weights))
    mean = w @ X / w.sum() if intercept else 0.0
    squares = [(w[:, None] * (X - mean)[:, c] ** 2).sum() for c in columns]
    scale = np.mean(squares) / np.array(squares)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-12)
    factors = [np.full(len(c), np.sqrt(g * s)) for c, g, s in zip(columns, gamma, scale, strict=True)]
    column = np.concatenate(factors)
    fit = found.form.at(torch.tensor(gamma, dtype=torch.float64)).fit(4.0)
    every = torch.arange(Y.shape[1])
    scores = []
    for fold in folds:
        train, test = fold.train.numpy(), fold.test.numpy()
        model = Ridge(4.0, fit_intercept=intercept).fit(X[train] * column, Y[train], sample_weight=w[train])
        scores.append(scorer(scoring, Y[test], model.predict(X[test] * column)))
    np.testing.assert_allclose(fit.evaluate(every)[0], np.mean(scores, 0), atol=1e-9)
    for number, score in enumerate(scores):
        np.testing.assert_allclose(fit.fold_score(number, every), score, atol=1e-9)
    model = Ridge(4.0, fit_intercept=intercept).fit(X * column, Y, sample_weight=w)
    weights = torch.as_tensor(gamma, dtype=torch.float64).expand(len(every), -1)
    coef = coefficients(found, columns, fit.weights(every), weights)
    np.testing.assert_allclose(coef, model.coef_ * column, atol=1e-9)
    for band, weight in zip(columns, gamma, strict=True):
        assert bool((coef[:, band] == 0).all()) == (weight == 0)


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("intercept", [True, False])
def test_gradient_equals_finite_differences(form, scoring, intercept):
    """The derivative by the log of each band weight equals central differences of the score."""
    found, _, _, _ = built(form, scoring, intercept=intercept)
    every = torch.arange(3)
    gradient = found.form.at(GAMMA).fit(3.0).gradient(every)
    for j in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[j] = 1e-4
        moved = [found.form.at(GAMMA * (sign * step).exp()).fit(3.0) for sign in (1, -1)]
        up, down = (fit.evaluate(every)[0] for fit in moved)
        np.testing.assert_allclose(gradient[j], (up - down) / 2e-4, atol=1e-6)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("form", SHAPES)
def test_gradient_of_an_absent_band_is_zero(form):
    """A band with weight exactly 0 has no gradient and breaks nothing."""
    found, _, _, _ = built(form)
    gamma = torch.tensor([0.6, 0.0, 0.4], dtype=torch.float64)
    gradient = found.form.at(gamma).fit(3.0).gradient(torch.arange(3))
    assert (gradient[1] == 0).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("form", SHAPES)
def test_a_subset_of_targets_scores_the_same(form):
    """Scores and gradients of some targets equal those of the same targets among all."""
    found, _, _, _ = built(form, t=5)
    fit = found.form.at(GAMMA).fit(2.0)
    some = torch.tensor([3, 0])
    np.testing.assert_allclose(fit.evaluate(some)[0], fit.evaluate(torch.arange(5))[0][some], atol=1e-12)
    np.testing.assert_allclose(fit.gradient(some), fit.gradient(torch.arange(5))[:, some], atol=1e-12)


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("alpha", [1e-3, 1e-1, 10.0])
def test_float32_agrees_with_float64(form, alpha):
    """In single precision scores stay within 2e-4 of double precision, small penalties included."""
    wide = built(form)[0].form.at(GAMMA).fit(alpha).evaluate(torch.arange(3))[0]
    narrow = built(form, dtype=torch.float32)[0].form.at(GAMMA).fit(alpha).evaluate(torch.arange(3))[0]
    np.testing.assert_allclose(narrow, wide, atol=2e-4)


def test_bands_of_one_scale_need_no_scaling():
    """Without scaling the factors are 1; with it, a band times 1000 changes no score."""
    plain = built("dual", scale_bands=False)[0]
    assert (plain.scale == 1).all()
    p, folds, columns = problem("dual")
    scores = []
    for factor in (1.0, 1000.0):
        p.X[:, columns[1]] *= factor
        flat = flat_in_folds(p.Y, folds)
        found = build(p, columns, folds, "r2", flat, intercept=True, precomputed=False, scale_bands=True)
        scores.append(found.form.at(GAMMA).fit(0.5 * found.penalty_unit).evaluate(torch.arange(3))[0])
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-8)


@pytest.mark.parametrize(
    ("n", "p", "t", "k", "primal"), [(900, 100, 50, 5, True), (900, 100, 50, 900, False)]
)
def test_form_with_fewer_operations_is_taken(n, p, t, k, primal):
    """Few features take the primal form, unless many folds would each need a factor of their own."""
    assert _primal_is_cheaper(n, p, t, k) == primal
    assert not _primal_is_cheaper(p, n, t, 5)


def test_matrices_that_rounding_made_indefinite():
    """A singular block gets its pseudo-inverse, a slightly indefinite system a lifted factor."""
    block = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(block_inverse(block), torch.full((2, 2), 0.25))
    line = torch.arange(1.0, 7.0, dtype=torch.float64)
    system = torch.outer(line, line) - 1e-15 * torch.eye(6, dtype=torch.float64)
    factor = lifted_cholesky(system.clone())
    torch.testing.assert_close(factor @ factor.T, system, atol=1e-12, rtol=0)
    assert largest_eigenvalue(torch.diag(torch.tensor([1.0, 5.0, 2.0]))) == pytest.approx(5, rel=1e-3)
    assert largest_eigenvalue(torch.zeros(3, 3)) == 0
