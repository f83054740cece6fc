"""StackedRegression against refits, planted mixtures, null targets, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, KFold

from brainalign import metrics
from brainalign.regression import stacking
from brainalign.regression.stacking import StackedRegression

ALPHAS = np.logspace(-2, 3, 6)
SPACES = [slice(0, 8), [8, 9, 10, 11, 12], slice(10, 40)]


def problem(n=60, p=40, t=5, seed=0):
    """Targets that mix three spaces of columns, two of which overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 2.0
    mix = np.zeros((p, t))
    for target in range(t):
        columns = np.arange(p)[[slice(0, 8), slice(8, 13), slice(10, 40)][target % 3]]
        mix[columns, target] = rng.standard_normal(len(columns))
    Y = X @ mix + 2 * rng.standard_normal((n, t)) + 10.0
    return X, Y, rng.integers(1, 6, n).astype(float)


def two_spaces(rng, n, t, share, noise=1.0, p=(20, 30)):
    """Two random spaces; each target takes `share` of its signal variance from the first."""
    X = [rng.standard_normal((n, width)) for width in p]
    share = np.broadcast_to(share, t)
    parts = [x @ rng.standard_normal((x.shape[1], t)) / np.sqrt(x.shape[1]) for x in X]
    signal = np.sqrt(share) * parts[0] + np.sqrt(1 - share) * parts[1]
    return X, signal + noise * rng.standard_normal((n, t))


def reference(X, Y, w, spaces, folds, *, intercept=True):
    """The definition with scikit-learn's ridge, one target, space, penalty and fold at a time."""
    out = {"weights": [], "alphas": [], "members": [], "scores": [], "coef": []}
    for y in Y.T:
        held_out, alphas, members, coefs = [], [], [], []
        for columns in spaces:
            Z = X[:, columns]
            found = []
            for alpha in ALPHAS:
                fits = [
                    Ridge(alpha, fit_intercept=intercept).fit(Z[a], y[a], sample_weight=w[a])
                    for a, _ in folds
                ]
                found.append([fit.predict(Z[b]) for fit, (_, b) in zip(fits, folds, strict=True)])
            scores = [
                np.mean([r2_score(y[b], p) for p, (_, b) in zip(each, folds, strict=True)]) for each in found
            ]
            best = int(np.argmax(scores))
            held_out.append(found[best])
            alphas.append(ALPHAS[best])
            members.append(scores[best])
            whole = Ridge(ALPHAS[best], fit_intercept=intercept).fit(Z, y, sample_weight=w)
            coefs.append(np.zeros(X.shape[1]))
            coefs[-1][np.arange(X.shape[1])[columns]] = whole.coef_
        test = np.concatenate([b for _, b in folds])
        E = np.stack([y[test] - np.concatenate(each) for each in held_out])
        R = (E * w[test]) @ E.T
        v = minimize(
            lambda v, R=R: v @ R @ v / R.mean(),
            np.full(len(R), 1 / len(R)),
            bounds=[(0, 1)] * len(R),
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        stack = [sum(v[j] * held_out[j][f] for j in range(len(v))) for f in range(len(folds))]
        out["weights"].append(v)
        out["alphas"].append(alphas)
        out["members"].append(members)
        out["scores"].append(np.mean([r2_score(y[b], p) for p, (_, b) in zip(stack, folds, strict=True)]))
        out["coef"].append(v @ np.stack(coefs))
    return {name: np.array(values).T for name, values in out.items()}


def purged(n):
    """Unequal folds that overlap and leave rows out."""
    rows = np.arange(n)
    a, b = n // 3, n // 2
    return [(rows[a + 3 :], rows[:a]), (rows[:b], rows[b + 4 :]), (rows[rows % 3 > 0], rows[rows % 3 == 0])]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "cv"), [(60, "equal"), (60, "purged"), (30, "purged")])
def test_equals_its_definition(intercept, n, cv):
    """Penalties, member scores, weights, scores and coefficients equal refits and a general optimiser."""
    X, Y, w = problem(n, t=3)
    folds = list(KFold(4).split(X)) if cv == "equal" else purged(n)
    model = StackedRegression(SPACES, ALPHAS, cv=folds, fit_intercept=intercept).fit(X, Y, sample_weight=w)
    expected = reference(X, Y, w, SPACES, folds, intercept=intercept)
    np.testing.assert_array_equal(model.best_alphas_, expected["alphas"])
    np.testing.assert_allclose(model.space_scores_, expected["members"], atol=1e-7)
    np.testing.assert_allclose(model.stacking_weights_, expected["weights"], atol=1e-4)
    np.testing.assert_allclose(model.cv_scores_, expected["scores"], atol=1e-5)
    np.testing.assert_allclose(model.coef_.T, expected["coef"], atol=2e-4)


def test_prediction_is_the_weighted_sum_of_the_members():
    """`predict`, the coefficients, and the members with their weights say the same."""
    X, Y, _ = problem()
    model = StackedRegression(SPACES).fit(X, Y)
    members = model.predict_spaces(X)
    assert members.shape == (3, 60, 5)
    combined = np.einsum("jt,jnt->nt", model.stacking_weights_, members)
    np.testing.assert_allclose(model.predict(X), combined, atol=1e-10)
    np.testing.assert_allclose(X @ model.coef_.T + model.intercept_, combined, atol=1e-10)
    np.testing.assert_allclose(model.stacking_weights_.sum(0), 1, atol=1e-12)
    single = stacking.RidgeCV().fit(X[:, SPACES[1]], Y)
    np.testing.assert_allclose(members[1], single.predict(X[:, SPACES[1]]), atol=1e-8)


def test_one_space_is_ridge():
    """With one space the stack is the ridge of that space, scores included."""
    X, Y, w = problem()
    model = StackedRegression(alphas=ALPHAS, scoring="pearson").fit(X, Y, sample_weight=w)
    ridge = stacking.RidgeCV(ALPHAS, scoring="pearson").fit(X, Y, sample_weight=w)
    assert (model.stacking_weights_ == 1).all()
    np.testing.assert_array_equal(model.best_alphas_[0], ridge.best_alphas_)
    np.testing.assert_allclose(model.coef_, ridge.coef_, atol=1e-10)
    np.testing.assert_allclose(model.cv_scores_, ridge.best_scores_, atol=1e-9)


@pytest.mark.parametrize("scoring", ["r2", "pearson", "neg_mean_squared_error"])
def test_scores_of_the_stack_follow_scoring(scoring):
    """The score of the stack is the mean over folds of the named metric of its held-out predictions."""
    X, Y, _ = problem()
    folds = list(KFold(5).split(X))
    model = StackedRegression(SPACES, [3.0], cv=folds, scoring=scoring).fit(X, 1e-6 * Y)
    scores = []
    for train, test in folds:
        predicted = 0
        for columns, share in zip(SPACES, model.stacking_weights_, strict=True):
            fit = Ridge(3.0).fit(X[train][:, columns], 1e-6 * Y[train])
            predicted = predicted + share * fit.predict(X[test][:, columns])
        scores.append(metrics.score(scoring, 1e-6 * Y[test], predicted))
    np.testing.assert_allclose(model.cv_scores_, np.mean(scores, axis=0), rtol=1e-8)


def test_counts_as_weights_equal_single_trials_of_the_stack():
    """A stack of averages weighted by their counts equals that of the trials, stacking weights included."""
    rng = np.random.default_rng(1)
    X, counts = rng.standard_normal((30, 40)), rng.integers(1, 7, 30)
    row = np.repeat(np.arange(30), counts)
    trials = (X[:, :12] @ rng.standard_normal((12, 4)))[row] + 2 * rng.standard_normal((len(row), 4))
    means = np.stack([trials[row == i].mean(0) for i in range(30)])
    folds = list(KFold(5).split(X))
    spread = [(np.flatnonzero(np.isin(row, a)), np.flatnonzero(np.isin(row, b))) for a, b in folds]
    averaged = StackedRegression(SPACES, [5.0], cv=folds).fit(X, means, sample_weight=counts)
    single = StackedRegression(SPACES, [5.0], cv=spread).fit(X[row], trials)
    np.testing.assert_allclose(averaged.stacking_weights_, single.stacking_weights_, atol=1e-7)
    np.testing.assert_allclose(averaged.coef_, single.coef_, atol=1e-7)
    plain = StackedRegression(SPACES, [5.0], cv=folds).fit(X, means)
    assert np.abs(plain.stacking_weights_ - single.stacking_weights_).max() > 0.01


def test_two_spaces_with_disjoint_signal_beat_each():
    """A target that adds signals of two spaces is predicted better by the stack than by either."""
    rng = np.random.default_rng(2)
    X, Y = two_spaces(rng, 500, 40, 0.5, noise=0.5)
    train, test = slice(0, 300), slice(300, None)
    model = StackedRegression().fit([x[train] for x in X], Y[train])
    X_test = [x[test] for x in X]
    stack = model.score_per_target(X_test, Y[test])
    members = np.stack([metrics.r2(Y[test], one) for one in model.predict_spaces(X_test)])
    assert (stack > members.max(0)).all()
    assert (stack - members.max(0)).mean() > 0.08
    assert abs(model.stacking_weights_[0].mean() - 0.5) < 0.05
    # weights that sum to one halve what each space adds: all of r, three quarters of R2
    assert metrics.pearson(Y[test], model.predict(X_test)).mean() > 0.8


def test_stack_is_not_below_its_best_member():
    """On new rows the stack loses at most 0.01 r to the member that cross-validation would choose.

    In every mixture and noise; and on average over these to the member that is best on the
    new rows, which no choice on training rows knows (at r = 0.2 it may win by 0.03).
    """
    rng = np.random.default_rng(3)
    gains = []
    for noise in (0.5, 1.0, 3.0):
        for share in (0.0, 0.1, 0.5, 1.0):
            X, Y = two_spaces(rng, 500, 100, share, noise)
            X.append(rng.standard_normal((500, 25)))
            train, test = slice(0, 200), slice(200, None)
            model = StackedRegression().fit([x[train] for x in X], Y[train])
            X_test = [x[test] for x in X]
            stack = metrics.pearson(Y[test], model.predict(X_test)).mean()
            members = np.stack([metrics.pearson(Y[test], one) for one in model.predict_spaces(X_test)])
            chosen = members[model.space_scores_.argmax(0), np.arange(100)]
            assert stack >= chosen.mean() - 0.01
            gains.append(stack - members.mean(1).max())
            assert gains[-1] > -0.04
    assert np.mean(gains) > -0.01


def test_weights_concentrate_on_the_true_space():
    """A target made of one space gives that space nearly all weight; the others often exactly none."""
    rng = np.random.default_rng(4)
    X, _ = two_spaces(rng, 300, 1, 1.0, p=(15, 15))
    X.append(rng.standard_normal((300, 60)))
    true = np.repeat(np.arange(3), 20)
    Y = np.stack([X[j] @ rng.standard_normal(X[j].shape[1]) / X[j].shape[1] ** 0.5 for j in true], axis=1)
    model = StackedRegression().fit(X, Y + 0.7 * rng.standard_normal(Y.shape))
    mine = model.stacking_weights_[true, np.arange(60)]
    assert mine.min() > 0.8
    assert mine.mean() > 0.95
    assert (model.stacking_weights_ == 0).mean() > 0.25


def test_null_targets_score_about_zero():
    """Targets of pure noise: the stack scores about zero in its folds and on new rows."""
    rng = np.random.default_rng(5)
    X = [rng.standard_normal((300, p)) for p in (10, 40, 250)]
    Y = rng.standard_normal((300, 200))
    model = StackedRegression().fit([x[:200] for x in X], Y[:200])
    assert -0.05 < model.cv_scores_.mean() < 0.03  # chosen on these folds, so above zero at most by little
    new = [x[200:] for x in X]
    assert abs(np.mean(metrics.pearson(Y[200:], model.predict(new)))) < 0.02
    assert -0.05 < model.score(new, Y[200:]) < 0.01


def test_order_and_scale_of_spaces():
    """Permuted spaces permute the weights; a rescaled or rotated space leaves everything."""
    X, Y, _ = problem(80)
    arrays = [X[:, columns] for columns in SPACES]
    base = StackedRegression().fit(arrays, Y)
    moved = StackedRegression().fit([arrays[i] for i in (2, 0, 1)], Y)
    np.testing.assert_allclose(moved.stacking_weights_, base.stacking_weights_[[2, 0, 1]], atol=1e-7)
    np.testing.assert_allclose(moved.cv_scores_, base.cv_scores_, atol=1e-8)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    other = [1000 * arrays[0], arrays[1], arrays[2] - 5]
    other[0] = other[0] @ rotation
    scaled = StackedRegression().fit(other, Y)
    np.testing.assert_allclose(scaled.stacking_weights_, base.stacking_weights_, atol=1e-6)
    np.testing.assert_allclose(scaled.cv_scores_, base.cv_scores_, atol=1e-7)
    np.testing.assert_allclose(scaled.predict(other), base.predict(arrays), atol=1e-6)
    larger = StackedRegression().fit(arrays, 1024 * Y)
    np.testing.assert_allclose(larger.stacking_weights_, base.stacking_weights_, atol=1e-9)


def test_a_space_twice_changes_nothing_and_a_new_one_does():
    """A copy of a space leaves the predictions and shares its weight; an informative space changes them."""
    X, Y, _ = problem(80)
    arrays = [X[:, columns] for columns in SPACES]
    base = StackedRegression().fit(arrays[:2], Y)
    twice = StackedRegression().fit([*arrays[:2], arrays[0]], Y)
    np.testing.assert_allclose(twice.predict([*arrays[:2], arrays[0]]), base.predict(arrays[:2]), atol=1e-7)
    np.testing.assert_allclose(twice.stacking_weights_[0], twice.stacking_weights_[2], atol=1e-3)
    more = StackedRegression().fit(arrays, Y)
    assert np.abs(more.predict(arrays) - base.predict(arrays[:2])).max() > 0.5
    assert more.cv_scores_[2] > base.cv_scores_[2] + 0.1


def test_all_spaces_see_the_same_folds():
    """A splitter that shuffles afresh each time is asked once for all spaces."""

    class Once(KFold):
        asked = 0

        def split(self, X, y=None, groups=None):
            Once.asked += 1
            return super().split(X, y, groups)

    X, Y, _ = problem()
    StackedRegression(SPACES, cv=Once(4, shuffle=True)).fit(X, Y)
    assert Once.asked == 1
    groups = np.arange(60) // 6
    grouped = list(GroupKFold(5).split(X, Y, groups))
    assert np.isfinite(StackedRegression(SPACES, cv=grouped).fit(X, Y).cv_scores_).all()


def test_blocks_of_targets_change_nothing(monkeypatch):
    """Targets in several blocks give what one block gives."""
    X, Y, w = problem(40, t=100)
    whole = StackedRegression([slice(0, 3), slice(3, 8)]).fit(X, Y, sample_weight=w)
    monkeypatch.setattr(stacking, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(stacking, "_PRODUCT_BYTES", 8 * 40 * 2 * 7)
    parts = StackedRegression([slice(0, 3), slice(3, 8)]).fit(X, Y, sample_weight=w)
    np.testing.assert_allclose(parts.stacking_weights_, whole.stacking_weights_, atol=1e-10)
    np.testing.assert_allclose(parts.cv_scores_, whole.cv_scores_, atol=1e-12)


def test_float32_agrees_with_float64_in_the_stack():
    """float32 input gives the same weights and scores within its precision, far from zero too."""
    X, Y, _ = problem(80, t=20)
    X, Y = X.astype(np.float32), (Y + 1000).astype(np.float32)
    single = StackedRegression(SPACES).fit(X, Y)
    wide = StackedRegression(SPACES).fit(X.astype(float), Y.astype(float))
    same = (single.best_alphas_ / wide.best_alphas_ - 1 < 1e-4).all(0)
    assert same.mean() >= 0.9
    np.testing.assert_allclose(single.stacking_weights_[:, same], wide.stacking_weights_[:, same], atol=2e-3)
    np.testing.assert_allclose(single.cv_scores_[same], wide.cv_scores_[same], atol=2e-4)
    tiny = StackedRegression(SPACES).fit(X, Y * np.float32(1e-20))
    np.testing.assert_allclose(tiny.stacking_weights_, single.stacking_weights_, atol=5e-3)
