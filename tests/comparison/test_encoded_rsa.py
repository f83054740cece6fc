"""RSA of cross-validated predictions: planted signal, no leakage, fixed and fitted numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_of_encodings import encoded_rsa
from brainalign.design.splits import Splits
from brainalign.errors import AlignmentError, InputError, LeakageError, ShapeError
from brainalign.types import Responses

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 15))
Y = X[:, :3] @ RNG.normal(size=(3, 25)) + RNG.normal(size=(N, 25))
FOLDS = [(np.setdiff1d(np.arange(N), test), test) for test in np.array_split(np.arange(N), 4)]


@pytest.mark.parametrize("distance", ["correlation", "sq_euclidean"])
def test_scores_equal_a_loop_over_folds(distance) -> None:
    """Fit, predict, RDM and comparison by hand give the same number in every fold."""
    found = encoded_rsa({"x": X}, Y, estimator=Ridge(2.0), cv=FOLDS, distance=distance, measure="spearman")
    for k, (train, test) in enumerate(FOLDS):
        guess = Ridge(2.0).fit(X[train], Y[train]).predict(X[test])
        brain = rdm(Y[test], distance=distance)
        pairs = ((found.fitted, guess), (found.fixed, X[test]))
        for table, values in pairs:
            expected = compare_rdms(brain, rdm(values, distance=distance), measure="spearman")
            assert table[0, k] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(found.predictions["x"][test], guess)


def test_every_number_says_fixed_or_fitted() -> None:
    """The table has both kinds for each model, and fitting finds the features that matter."""
    frame = encoded_rsa({"net": X, "other": RNG.normal(size=(N, 15))}, Y, measure="pearson").to_frame()
    assert frame.kind.tolist() == ["fitted", "fixed"] * 2
    assert frame.score[0] > frame.score[1] + 0.1
    assert abs(frame.score[2]) < 0.2
    assert set(frame.pairs) == {"within_folds"}


def test_unrelated_features_score_zero_within_folds_and_not_across_them() -> None:
    """Pairs inside test folds are unbiased; pairs of two fits are biased upwards by the training means."""
    scores = {"within_folds": [], "all": []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 6))
        for pairs, out in scores.items():
            found = encoded_rsa(
                {"x": x},
                y,
                estimator=Ridge(1000.0),
                distance="sq_euclidean",
                measure="pearson",
                pairs=pairs,
                random_state=seed,
            )
            out.append(found.fitted.mean())
    error = {pairs: np.std(v) / np.sqrt(40) for pairs, v in scores.items()}
    assert abs(np.mean(scores["within_folds"])) < 3 * error["within_folds"]
    assert np.mean(scores["all"]) > 4 * error["all"]


def test_predictions_do_not_see_the_responses_that_they_are_compared_with() -> None:
    """Other responses in one test fold leave its predictions as they were."""
    changed = Y.copy()
    changed[FOLDS[1][1]] = RNG.normal(size=(15, 25)) * 50
    first, second = (
        encoded_rsa({"x": X}, y, cv=FOLDS, measure="pearson").predictions["x"] for y in (Y, changed)
    )
    np.testing.assert_array_equal(first[FOLDS[1][1]], second[FOLDS[1][1]])
    assert not np.allclose(first[FOLDS[0][1]], second[FOLDS[0][1]])


def test_stimuli_with_equal_content_stay_in_one_fold() -> None:
    """Two ids of one image are one group, for the folds made here and for those given."""
    ids = [f"s{i}" for i in range(N)]
    hashes = [f"h{i // 2}" for i in range(N)]
    samples = pd.DataFrame({"stimulus_id": ids, "content_hash": hashes})
    features, responses = Responses(X, samples), Responses(Y, samples)
    found = encoded_rsa({"x": features}, responses, measure="pearson", cv=4)
    for train, test in found.folds:
        assert not {hashes[i] for i in train} & {hashes[i] for i in test}
    odd = [(np.arange(31, N), np.arange(31)), (np.arange(31), np.arange(31, N))]
    with pytest.raises(LeakageError, match="fold 0: test stimulus of row 30 is in the training part too"):
        encoded_rsa({"x": features}, responses, measure="pearson", cv=odd)
    with pytest.raises(LeakageError, match="by a stimulus of its group"):
        encoded_rsa({"x": X}, Y, measure="pearson", cv=odd, groups=np.arange(N) // 2)


def test_responses_are_joined_by_id_and_repeats_averaged() -> None:
    """Rows in any order, with repeats, give the result of the means."""
    ids = np.repeat([f"s{i}" for i in range(N)], 2)
    noisy = np.repeat(Y, 2, axis=0) + np.tile([[1.0], [-1.0]], (N, 1))
    order = RNG.permutation(2 * N)
    responses = Responses(noisy[order], pd.DataFrame({"stimulus_id": ids[order]}))
    features = Responses(X, pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(N)]}))
    splits = Splits(tuple(FOLDS), "given", "stimuli", np.arange(N))
    found = encoded_rsa(features, responses, cv=splits, measure="pearson")
    np.testing.assert_allclose(found.fitted, encoded_rsa(X, Y, cv=FOLDS, measure="pearson").fitted, atol=1e-8)
    with pytest.raises(AlignmentError, match="by stimulus_id or by position"):
        encoded_rsa(X, responses, measure="pearson")
    shuffled = Responses(X[::-1], pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(N)][::-1]}))
    with pytest.raises(AlignmentError, match="model 'b' has its stimuli in another order"):
        encoded_rsa({"a": features, "b": shuffled}, responses, measure="pearson")


def test_a_constant_prediction_scores_zero_and_is_counted() -> None:
    """A fit that predicts its mean for every stimulus predicts no geometry."""
    with pytest.warns(UserWarning, match="4 of 4 folds have predictions that do not differ"):
        found = encoded_rsa({"x": X}, Y, estimator=Ridge(1e30), cv=FOLDS, measure="pearson")
    assert (found.fitted == 0).all()
    assert (found.fixed != 0).all()
    assert list(found.info["reasons"].values()) == [4]


def test_a_unit_without_a_fit_is_left_out() -> None:
    """A constant voxel, which ridge cannot fit, changes nothing."""
    wide = np.column_stack([Y, np.full(N, 2.0)])
    found = encoded_rsa({"x": X}, wide, cv=FOLDS, measure="pearson", distance="correlation")
    np.testing.assert_allclose(found.fitted, encoded_rsa({"x": X}, Y, cv=FOLDS, measure="pearson").fitted)


def test_wrong_input_is_named() -> None:
    """Folds, estimators, options and defaults."""
    with pytest.warns(UserWarning, match="measure is not given: 'rho_a'"):
        encoded_rsa({"x": X}, Y, estimator=LinearRegression(), cv=3)
    with pytest.raises(ShapeError, match="fold 0 has 57 training and 3 test stimuli"):
        encoded_rsa({"x": X}, Y, cv=20, measure="pearson")
    with pytest.raises(ShapeError, match="features are empty"):
        encoded_rsa({}, Y, measure="pearson")
    with pytest.raises(InputError, match="a stimulus is tested twice"):
        encoded_rsa({"x": X}, Y, cv=[FOLDS[0], FOLDS[0]], measure="pearson")
    with pytest.raises(InputError, match="estimator int has no fit"):
        encoded_rsa({"x": X}, Y, estimator=3, measure="pearson")
    with pytest.raises(InputError, match="pairs='every' is not one of"):
        encoded_rsa({"x": X}, Y, pairs="every", measure="pearson")
    with pytest.raises(InputError, match="measure='pears' is not one of"):
        encoded_rsa({"x": X}, Y, measure="pears")

    class Silent(LinearRegression):
        def predict(self, X):
            return np.full((len(X), 25), np.nan)

    with pytest.raises(InputError, match="no unit has a finite prediction in a fold"):
        encoded_rsa({"x": X}, Y, estimator=Silent(), cv=FOLDS, measure="pearson")
