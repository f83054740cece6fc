"""Every path of RidgeCV against refits by scikit-learn, and the paths against each other."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, KINDS, PATHS, SCORINGS, folds, problem, reference, refit_scores, score
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, PredefinedSplit, ShuffleSplit

from brainalign.errors import InputError, ShapeError
from brainalign.regression import KernelRidgeCV, RidgeCV, smoother_matrices
from brainalign.regression._penalties import best_penalty, combine_penalties
from brainalign.regression._plan import Sizes, choose_path
from brainalign.regression._scoring import fold_scorer

LOO = "neg_mean_squared_error"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", list(PATHS))
def test_scores_equal_refits_in_float64(path, kind):
    """Scores of every penalty, fold form, scoring, weighting and intercept equal refits to 1e-8."""
    solver, p = PATHS[path]
    X, Y, counts = problem(p=p)
    for weighted, intercept, scoring in itertools.product([False, True], [True, False], SCORINGS):
        if weighted and not intercept and scoring != "r2":
            continue
        model = RidgeCV(ALPHAS, cv=folds(kind), scoring=scoring, fit_intercept=intercept, solver=solver)
        model.fit(X, Y, sample_weight=counts if weighted else None)
        expected = reference(p, kind, weighted, intercept)[scoring]
        np.testing.assert_allclose(model.cv_scores_, expected, rtol=1e-8, atol=1e-8)
        np.testing.assert_array_equal(model.best_alphas_, ALPHAS[expected.argmax(0)])
        if scoring != "r2":
            continue
        peer = Ridge(model.best_alphas_, fit_intercept=intercept, solver="svd")
        peer.fit(X, Y, counts if weighted else None)
        np.testing.assert_allclose(model.coef_, peer.coef_, rtol=0, atol=1e-8)
        np.testing.assert_allclose(model.intercept_, peer.intercept_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["unequal", "purged", "more than half"])
@pytest.mark.parametrize("path", list(PATHS))
def test_scores_equal_refits_in_float32(path, kind):
    """float32 input gives the scores of float64 refits to 2e-4 and keeps its type."""
    solver, p = PATHS[path]
    X, Y, counts = problem(p=p)
    for weighted, scoring in itertools.product([False, True], SCORINGS):
        intercept = weighted
        model = RidgeCV(ALPHAS, cv=folds(kind), scoring=scoring, fit_intercept=intercept, solver=solver)
        model.fit(X.astype(np.float32), Y.astype(np.float32), counts if weighted else None)
        expected = reference(p, kind, weighted, intercept)[scoring]
        size = np.maximum(1, np.abs(expected))  # a squared error has the unit of the responses
        assert (np.abs(model.cv_scores_ - expected) / size).max() < 2e-4
        # more columns than training rows: sums of products are taken in float64
        squared = solver == "primal" and p >= min(len(train) for train, _ in folds(kind))
        assert model.coef_.dtype == model.intercept_.dtype == (np.float64 if squared else np.float32)
        assert model.cv_scores_.dtype == np.float64


@pytest.mark.parametrize("solver", ["primal", "dual", "factored", "eigen"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("p", [7, 50])
def test_leave_one_out_equals_refits(p, intercept, weighted, solver):
    """Leave-one-out squared errors equal refits, whatever the path and the weights."""
    X, Y, counts = problem(n=24, p=p)
    weights = counts if weighted else None
    model = RidgeCV(ALPHAS, cv=LeaveOneOut(), scoring=LOO, fit_intercept=intercept, solver=solver)
    model.fit(X, Y, sample_weight=weights)
    expected = refit_scores(X, Y, list(LeaveOneOut().split(X)), ALPHAS, LOO, weights, intercept)
    np.testing.assert_allclose(model.cv_scores_, expected, rtol=1e-8)


def test_leave_one_out_takes_the_closed_form_by_itself():
    """Without a named solver leave-one-out runs on one eigendecomposition or on sums."""
    X, Y, _ = problem(n=40, p=90)
    model = RidgeCV(ALPHAS, cv=LeaveOneOut(), scoring=LOO).fit(X, Y)
    assert model.plan_.path == "eigen"


@pytest.mark.parametrize(("kind", "scoring"), list(zip(KINDS, 2 * SCORINGS, strict=True)))
@pytest.mark.parametrize("p", [12, 47, 100])
def test_paths_agree_with_each_other(p, scoring, kind):
    """All solvers give one answer, whether p is smaller than, near or above n."""
    X, Y, counts = problem(n=60, p=p)
    fits = [
        RidgeCV(ALPHAS, cv=folds(kind), scoring=scoring, solver=solver).fit(X, Y, sample_weight=counts)
        for solver in ("primal", "dual", "factored", "eigen")
    ]
    for other in fits[1:]:
        np.testing.assert_allclose(other.cv_scores_, fits[0].cv_scores_, rtol=1e-7, atol=1e-7)
        np.testing.assert_array_equal(other.best_alphas_, fits[0].best_alphas_)
        np.testing.assert_allclose(other.coef_, fits[0].coef_, rtol=0, atol=1e-7)


def test_automatic_choice_of_the_path():
    """Few features take the primal path, many the dual, and neither is impossible for its shape."""
    tests, trains = [200] * 5, [800] * 5
    few = Sizes(1000, 50, 1000, 20, tests, trains, tests, 4, True, 0, 0)
    many = Sizes(1000, 5000, 1000, 20, tests, trains, tests, 4, True, 0, 0)
    kernel = Sizes(1000, 50, 1000, 20, tests, trains, tests, 4, False, 0, 0)
    assert choose_path("auto", few) == "primal"
    assert choose_path("auto", many) in ("dual", "eigen")
    assert choose_path("auto", kernel) in ("dual", "eigen")
    assert choose_path("factored", few) == "factored"
    # eigendecompositions are slow on a GPU, inverses are not
    assert choose_path("auto", many) == "eigen"
    assert choose_path("auto", replace(many, gpu=True)) == "dual"


@pytest.mark.parametrize(
    "cv",
    [
        3,
        None,
        KFold(4, shuffle=True, random_state=2),
        ShuffleSplit(5, test_size=0.3, random_state=0),
        PredefinedSplit(np.repeat([0, 1, 2, -1, 0], 12)),
        list(GroupKFold(3).split(np.zeros((60, 1)), groups=np.repeat(np.arange(12), 5))),
    ],
    ids=["int", "None", "shuffled", "ShuffleSplit", "PredefinedSplit", "GroupKFold"],
)
@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_splitters_of_scikit_learn(solver, cv):
    """Any splitter, an int, None (five folds in order) and a list of pairs give their own folds."""
    X, Y, _ = problem()
    pairs = cv if isinstance(cv, list) else list((KFold(cv or 5) if cv in (3, None) else cv).split(X))
    model = RidgeCV(ALPHAS, cv=cv, solver=solver).fit(X, Y)
    np.testing.assert_allclose(model.cv_scores_, refit_scores(X, Y, pairs, ALPHAS, "r2"), atol=1e-8)


def test_masks_negative_positions_and_generators_name_the_same_folds():
    """Boolean masks, positions from the end and a generator equal plain row numbers."""
    X, Y, _ = problem()
    expected = RidgeCV(ALPHAS, cv=folds("equal")).fit(X, Y).cv_scores_
    masks = [(np.isin(np.arange(60), a), np.isin(np.arange(60), b)) for a, b in folds("equal")]
    from_end = [(a - 60, b.tolist()) for a, b in folds("equal")]
    for cv in (masks, from_end, iter(folds("equal"))):
        np.testing.assert_array_equal(RidgeCV(ALPHAS, cv=cv).fit(X, Y).cv_scores_, expected)


@pytest.mark.parametrize(
    ("fold", "error", "text"),
    [
        ((np.arange(30), np.arange(55, 61)), InputError, "fold 0 names row 60 and there are 60 rows"),
        ((np.arange(-61, 0), np.arange(3)), InputError, "fold 0 names row -61 and there are 60 rows"),
        ((np.arange(30), [30, 31, 31]), InputError, "fold 0 names a row more than once"),
        ((np.arange(30), [30, -30]), InputError, "fold 0 names a row more than once"),
        ((np.arange(30), [30.5, 31.0]), InputError, "values of dtype float64; expected row numbers"),
        ((np.ones(30, bool), np.arange(40, 50)), ShapeError, r"fold 0 has a mask of shape \(30,\)"),
        ((np.arange(30), np.arange(40, 41)), ShapeError, "fold 0 has 1 test sample"),
    ],
)
def test_folds_that_are_refused(fold, error, text):
    """Rows outside, named twice or not by numbers, and masks of another length are errors."""
    X, Y, _ = problem()
    with pytest.raises(error, match=text):
        RidgeCV(cv=[fold]).fit(X, Y)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(
    ("solver", "p"),
    [("primal", 6), ("primal", 30), ("dual", 90), ("factored", 70), ("eigen", 90), ("eigen", 25)],
)
def test_grids_of_many_decades_equal_single_penalties(solver, p, scoring, intercept):
    """Penalties that are combined give the scores that each has when it is tried alone."""
    X, Y, counts = problem(p=p)
    options = {"cv": folds("unequal"), "scoring": scoring, "solver": solver, "fit_intercept": intercept}
    for grid in (np.logspace(1, 20, 20), np.logspace(-20, 12, 30)):
        together = RidgeCV(grid, **options).fit(X, Y, sample_weight=counts).cv_scores_
        if scoring == "pearson":
            # predictions that differ from the training mean in their last digits have no correlation
            together, grid = together[grid < 1e9], grid[grid < 1e9]
        alone = [RidgeCV([a], **options).fit(X, Y, sample_weight=counts).cv_scores_[0] for a in grid[::2]]
        np.testing.assert_allclose(together[::2], alone, rtol=1e-8, atol=1e-8)


def test_combined_penalties_hold_where_the_smallest_directions_matter():
    """With as many features as training rows tiny eigenvalues weigh most, and combining stays exact."""
    X, Y, _ = problem(n=60, p=45, noise=0.1)
    cv = folds("equal")
    for grid in (np.logspace(-8, 8, 24), np.logspace(-3, 3, 40)):
        for solver in ("primal", "dual", "eigen"):
            found = RidgeCV(grid, cv=cv, solver=solver).fit(X, Y).cv_scores_
            expected = refit_scores(X, Y, cv, grid, "r2")
            # predictions of nearly unpenalised weights keep fewer digits in any algorithm
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_far_penalties_are_combined_and_near_ones_are_not():
    """Far above the spectrum few penalties are computed; inside it each is; duplicates never."""
    far = combine_penalties(np.logspace(1, 20, 20).tolist(), 0.1, 10.0, torch.device("cpu"))
    assert far is not None
    assert len(far.alphas) == 20
    assert len(far.nodes) < 12
    assert sorted(far.nodes + far.combined) == list(range(20))
    assert far.error < 1e-10
    curve = np.geomspace(0.1, 10.0, 50)
    true = curve / (curve + np.asarray(far.alphas)[:, None])
    np.testing.assert_allclose(far.weights.numpy() @ true[far.nodes], true, rtol=1e-8)
    more = far.computed(far.combined[:3])
    assert more.nodes == sorted(far.nodes + far.combined[:3])
    assert more.combined == far.combined[3:]
    np.testing.assert_allclose(more.weights.numpy() @ true[more.nodes], true, rtol=1e-8)
    np.testing.assert_array_equal(more.weights[more.nodes].numpy(), np.eye(len(more.nodes)))
    single = combine_penalties(far.alphas, 0.1, 10.0, torch.device("cpu"), dtype=torch.float32)
    assert single is not None
    assert len(single.nodes) < len(far.nodes)
    assert single.error < 1e-6
    inside = combine_penalties([0.01, 1.0, 100.0], 1e-6, 1e6, torch.device("cpu"))
    assert inside is None
    assert combine_penalties([1e9, 1e10, 1e10, 1e12], 1.0, 2.0, torch.device("cpu")) is None
    assert combine_penalties([1e9, 1e10], 1.0, 2.0, torch.device("cpu")) is None


@pytest.mark.parametrize("solver", ["primal", "dual", "eigen"])
def test_ties_take_the_larger_penalty(solver):
    """Where all penalties predict the same, the largest is chosen, whatever their order."""
    X, Y, _ = problem()
    for grid in ([1e-3, 1e3, 1.0], [1e3, 1e-3, 1.0]):
        model = RidgeCV(grid, solver=solver).fit(np.ones_like(X), Y)
        np.testing.assert_array_equal(model.best_alphas_, 1e3)


def test_equal_scores_are_judged_in_their_unit():
    """Scores within 1e-10 of the unit are equal; larger differences, also of tiny scores, are not."""
    alphas = np.array([1.0, 10.0, 100.0])
    rows = [[0.5, 0.5, -2e-26], [0.5 - 1e-12, 0.4, -1e-26], [0.5 - 1e-8, 0.5, -3e-26]]
    scores = torch.tensor(rows, dtype=torch.float64)
    plain = best_penalty(scores, alphas, per_target=True)
    assert plain.tolist() == [1, 2, 2]
    small = best_penalty(
        scores, alphas, per_target=True, unit=torch.tensor([1.0, 1.0, 1e-26], dtype=torch.float64)
    )
    assert small.tolist() == [1, 2, 1]
    nothing = best_penalty(scores * torch.nan, alphas, per_target=False)
    assert nothing.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("p", [10, 80])
def test_smoothers_equal_predictions(p, weighted, intercept):
    """A smoother matrix times responses is the prediction of Ridge, with and without an intercept."""
    X, Y, counts = problem(p=p)
    weights = counts if weighted else None
    new = problem(n=9, p=p, seed=5)[0]
    grid = [0.01, 3.0, 1e4]
    found = smoother_matrices(X, new, grid, sample_weight=weights, fit_intercept=intercept)
    assert found.shape == (3, 9, 60)
    for alpha, matrix in zip(grid, found, strict=True):
        expected = Ridge(alpha, fit_intercept=intercept, solver="svd").fit(X, Y, weights).predict(new)
        np.testing.assert_allclose(matrix @ Y, expected, atol=1e-9)
        if intercept:
            np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-10)


def test_shared_penalty_with_uneven_units():
    """One penalty for all targets is the best mean of the scores as they are reported."""
    X, Y, _ = problem(t=6)
    Y = Y * 1e-13
    for scoring in SCORINGS:
        model = RidgeCV(ALPHAS, scoring=scoring, alpha_per_target=False).fit(X, Y)
        assert model.best_alphas_.tolist() == [ALPHAS[model.cv_scores_.mean(1).argmax()]] * 6


def test_linear_kernel_ridge_equals_ridge():
    """Kernel ridge with a linear kernel has the scores and predictions of ridge."""
    X, Y, counts = problem(p=30)
    ridge = RidgeCV(ALPHAS, cv=folds("purged")).fit(X, Y, sample_weight=counts)
    kernel = KernelRidgeCV(ALPHAS, cv=folds("purged")).fit(X, Y, sample_weight=counts)
    np.testing.assert_allclose(kernel.cv_scores_, ridge.cv_scores_, atol=1e-9)
    np.testing.assert_allclose(kernel.predict(X), ridge.predict(X), atol=1e-8)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_scores_of_tiny_responses_in_float32(scoring):
    """Scores of one fold keep their value where squares of the responses leave the range of float32."""
    rng = np.random.default_rng(0)
    observed, predicted = rng.standard_normal((2, 30, 4))
    expected = score(scoring, observed, predicted)
    tiny = [torch.tensor(1e-13 * part, dtype=torch.float32) for part in (observed, predicted)]
    found = fold_scorer(scoring, tiny[0])(tiny[1]).numpy()
    size = 1e-26 if scoring == LOO else 1.0
    np.testing.assert_allclose(found / size, expected, rtol=1e-4)
