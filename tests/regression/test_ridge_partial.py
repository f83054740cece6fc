"""Recordings added one after the other: the fit of all rows, in any order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, SCORINGS, problem
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold

from brainalign.errors import InputError, ShapeError
from brainalign.regression import RidgeCV

RUNS = {"a": slice(0, 20), "b": slice(20, 35), "c": slice(35, 60)}


def run_folds(n=60):
    rows = np.arange(n)
    return [(np.setdiff1d(rows, rows[part]), rows[part]) for part in RUNS.values()]


def added(model, X, Y, counts=None, order="abc"):
    """`model` after one call per run; solved in the last."""
    for number, label in enumerate(order, 1):
        part = RUNS[label]
        weights = None if counts is None else counts[part]
        model.partial_fit(X[part], Y[part], weights, fold=label, solve=number == len(order))
    return model


def close(model, other, tolerance=1e-9):
    for name in ("alphas_", "best_alphas_", "cv_scores_", "coef_", "intercept_"):
        found, expected = getattr(model, name), getattr(other, name)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("p", [6, 25])
def test_equals_fit_with_the_runs_as_folds(p, weighted, intercept, scoring):
    """Three runs added in turn give the scores, penalties and weights of one fit on all rows."""
    X, Y, counts = problem(p=p)
    weights = counts if weighted else None
    options = {"scoring": scoring, "fit_intercept": intercept}
    expected = RidgeCV(ALPHAS, cv=run_folds(), **options).fit(X, Y, sample_weight=weights)
    found = added(RidgeCV(ALPHAS, **options), X, Y, weights)
    close(found, expected)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-9)


@pytest.mark.parametrize("alphas", ["auto", np.logspace(1, 20, 20)])
def test_grids_are_those_of_fit(alphas):
    """The relative grid is that of all rows and weights, and far penalties may be combined."""
    X, Y, counts = problem(p=9)
    expected = RidgeCV(alphas, cv=run_folds()).fit(X, Y, sample_weight=counts)
    close(added(RidgeCV(alphas), X, Y, counts), expected, 1e-8)


def test_float32_equals_fit_in_float64():
    """float32 recordings give the scores of float64 to 2e-4, far from zero too."""
    X, Y, _ = problem(p=9)
    expected = RidgeCV(ALPHAS, cv=run_folds()).fit(X, Y)
    single = (X + 50).astype(np.float32), (Y + 1e3).astype(np.float32)
    found = added(RidgeCV(ALPHAS), *single)
    np.testing.assert_allclose(found.cv_scores_, expected.cv_scores_, atol=2e-4)
    assert found.coef_.dtype == np.float32


def test_the_order_of_the_calls_does_not_matter():
    """Runs in another order, and a run split over two calls, give the same model to rounding."""
    X, Y, counts = problem(p=9)
    expected = added(RidgeCV(ALPHAS), X, Y, counts)
    close(added(RidgeCV(ALPHAS), X, Y, counts, order="cab"), expected)
    model = RidgeCV(ALPHAS)
    for label, part in (("a", slice(0, 11)), ("c", RUNS["c"]), ("b", RUNS["b"]), ("a", slice(11, 20))):
        model.partial_fit(X[part], Y[part], counts[part], fold=label)
    close(model, expected)


def test_labels_per_row_and_weights_in_one_call_only():
    """One call may hold several runs; rows without weight are left out; plain calls weigh one."""
    X, Y, counts = problem(p=9)
    labels = np.repeat(["a", "b", "c"], [20, 15, 25])
    counts[35:] = 1
    counts[3] = 0
    expected = RidgeCV(ALPHAS, cv=run_folds()).fit(X, Y, sample_weight=counts)
    model = RidgeCV(ALPHAS).partial_fit(X[:35], Y[:35], counts[:35], fold=labels[:35])
    close(model.partial_fit(X[35:], Y[35:], fold=list(labels[35:])), expected)


def test_cv_splits_the_rows_of_every_call():
    """Without labels the folds of the splitter are joined over the calls."""
    X, Y, _ = problem(p=9)
    first, second = np.arange(40), np.arange(40, 60)
    joined = []
    for (_, a), (_, b) in zip(KFold(4).split(first), KFold(4).split(second), strict=True):
        test = np.concatenate([first[a], second[b]])
        joined.append((np.setdiff1d(np.arange(60), test), test))
    expected = RidgeCV(ALPHAS, cv=joined).fit(X, Y)
    model = RidgeCV(ALPHAS, cv=KFold(4)).partial_fit(X[:40], Y[:40])
    close(model.partial_fit(X[40:], Y[40:]), expected)


def test_nothing_is_fitted_without_solve_or_with_one_fold():
    """solve=False only adds; one fold leaves nothing to choose from; predicting says so."""
    X, Y, _ = problem(p=9)
    model = RidgeCV(ALPHAS).partial_fit(X[:20], Y[:20], fold="a")
    model.partial_fit(X[20:35], Y[20:35], fold="b", solve=False)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.predict(X)
    model.partial_fit(X[35:], Y[35:], fold="c")
    close(model, RidgeCV(ALPHAS, cv=run_folds()).fit(X, Y))


def test_a_target_that_is_bad_in_one_call_stays_masked():
    """NaN in one recording masks the target for good and leaves every bit of the others."""
    X, Y, _ = problem(p=9, t=6)
    dirty = Y.copy()
    dirty[25, 2], dirty[50, 4] = np.nan, -np.inf
    clean, model = added(RidgeCV(ALPHAS), X, Y), added(RidgeCV(ALPHAS), X, dirty)
    assert model.nan_codes_.tolist() == [0, 0, 1, 0, 1, 0]
    kept = [0, 1, 3, 5]
    np.testing.assert_array_equal(model.cv_scores_[:, kept], clean.cv_scores_[:, kept])
    np.testing.assert_array_equal(model.coef_[kept], clean.coef_[kept])
    assert np.isnan(model.coef_[[2, 4]]).all()
    with pytest.raises(ValueError, match="no target is finite"):
        added(RidgeCV(ALPHAS), X, np.full_like(Y, np.nan))


@pytest.mark.parametrize("quiet", ["a", "b", "c"])
@pytest.mark.parametrize("value", [0.1, 1e3])
def test_constant_in_one_call_but_not_overall(value, quiet):
    """A target that is still in one run is scored on the others; one that never moves is masked."""
    X, Y, _ = problem(p=9)
    Y[RUNS[quiet], 1] = value
    Y[:, 3] = value
    expected = RidgeCV(ALPHAS, cv=run_folds()).fit(X, Y)
    found = added(RidgeCV(ALPHAS), X, Y)
    assert found.nan_codes_.tolist() == expected.nan_codes_.tolist() == [0, 0, 0, 2, 0]
    close(found, expected, 1e-7)


def test_units_far_from_one():
    """Responses in tesla and features far from zero give the penalties of fit."""
    X, Y, _ = problem(p=9)
    for scoring in SCORINGS:
        expected = RidgeCV(ALPHAS, cv=run_folds(), scoring=scoring).fit(X, Y)
        found = added(RidgeCV(ALPHAS, scoring=scoring), X + 1e4, 1e-14 * Y)
        np.testing.assert_array_equal(found.best_alphas_, expected.best_alphas_)
        unit = 1e-28 if scoring.startswith("neg") else 1.0
        np.testing.assert_allclose(found.cv_scores_ / unit, expected.cv_scores_, rtol=1e-6, atol=1e-6)


def test_tensors_and_one_target():
    """Tensors in, tensors out; a vector of responses gives one set of weights."""
    X, Y, _ = problem(p=9)
    model = added(RidgeCV(ALPHAS), torch.as_tensor(X), torch.as_tensor(Y[:, 0]))
    assert isinstance(model.coef_, torch.Tensor)
    assert model.coef_.shape == (9,)
    np.testing.assert_allclose(model.coef_.numpy(), added(RidgeCV(ALPHAS), X, Y).coef_[0], atol=1e-9)


def test_copies_and_a_new_start():
    """A clone is empty, a pickled copy goes on where it was, and fit starts anew."""
    X, Y, counts = problem(p=9)
    expected = added(RidgeCV(ALPHAS), X, Y, counts)
    half = RidgeCV(ALPHAS)
    for label in "ab":
        half.partial_fit(X[RUNS[label]], Y[RUNS[label]], counts[RUNS[label]], fold=label)
    copied = pickle.loads(pickle.dumps(half))
    rest = (X[RUNS["c"]], Y[RUNS["c"]], counts[RUNS["c"]])
    close(copied.partial_fit(*rest, fold="c"), expected)
    close(half.partial_fit(*rest, fold="c"), expected)
    close(added(clone(half), X, Y, counts), expected)
    half.fit(X[:10], Y[:10], sample_weight=counts[:10])
    close(added(half, X, Y, counts), expected)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"y": np.zeros((20, 4))}, ShapeError, "y has 4 targets, and the calls of partial_fit before had 5"),
        ({"X": np.zeros((20, 8))}, ValueError, "X has 8 features, but RidgeCV is expecting 9"),
        ({"fold": ["a"] * 19}, ShapeError, r"fold has shape \(19,\); expected one label, or one per row"),
        ({"fold": ["a"] * 21}, ShapeError, r"fold has shape \(21,\); expected one label, or one per row"),
        ({"sample_weight": -np.ones(20)}, InputError, "sample_weight of row 0 is -1"),
        ({"X": np.full((20, 9), np.nan)}, ValueError, "contains NaN"),
        ({"y": np.zeros((19, 5))}, ShapeError, "X has 20 samples and Y has shape"),
    ],
)
def test_calls_that_do_not_fit_the_earlier_ones(change, error, text):
    """Other numbers of targets or features, labels of another length and bad rows are refused."""
    X, Y, _ = problem(p=9)
    model = RidgeCV(ALPHAS).partial_fit(X[:20], Y[:20], fold="a")
    call = {"X": X[20:40], "y": Y[20:40], "fold": "b", **change}
    with pytest.raises(error, match=text):
        model.partial_fit(**call)


@pytest.mark.parametrize(
    ("cv", "text"),
    [
        ([(np.arange(12, 20), np.arange(10))], "fold 0 leaves out 12 rows and tests 10: sums keep no rows"),
        ([(np.arange(10, 20), np.arange(10))], "row 10 is in the test part of 0 folds"),
        (
            [(np.arange(10, 20), np.arange(10)), (np.arange(9), np.arange(9, 20))],
            "row 9 is in the test part of 2 folds; partial_fit needs every row in exactly one",
        ),
    ],
)
def test_folds_with_gaps_or_overlap_are_refused(cv, text):
    """Sums keep no rows, so gaps and overlapping folds are errors that name another way."""
    X, Y, _ = problem(p=9)
    with pytest.raises(ShapeError, match=text):
        RidgeCV(ALPHAS, cv=cv).partial_fit(X[:20], Y[:20])
