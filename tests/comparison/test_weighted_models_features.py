"""Feature-reweighted RSA: closed forms against RDMs of single features, folds, penalties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brainalign.comparison._weighted_grams import of_features, of_stack, stimulus_counts
from brainalign.comparison.feature_reweighting import FeatureReweightedModel, crossvalidate_features
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_crossvalidation import crossvalidate_rsa
from brainalign.errors import InputError, MemoryBudgetError, ShapeError
from brainalign.types import RDMs

N, P = 26, 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P)) * RNG.gamma(2.0, size=P) + 3.0
WEIGHTS = np.array([3.0, 2.0] + [0.0] * (P - 2))
MODEL = FeatureReweightedModel(X)
DATA = np.stack(
    [MODEL.predict(WEIGHTS) + 0.2 * rdm(RNG.normal(size=(N, 4)), distance="sq_euclidean") for _ in range(3)]
)


@pytest.mark.parametrize("counts", [np.ones(N), np.random.default_rng(1).integers(0, 4, N).astype(float)])
def test_normal_equations_without_rdms_are_those_of_the_rdms(counts) -> None:
    """Gram matrix, target and total equal brute force over the RDM of every feature, counts included."""
    weights = np.outer(counts, counts) * (1 - np.eye(N))
    expected = of_stack(MODEL.stack, DATA[0], weights)
    found = of_features(torch.from_numpy(X), DATA[0], counts)
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-9, atol=1e-9 * float(expected.gram.max()))
    np.testing.assert_allclose(found.target, expected.target, rtol=1e-8)
    assert found.total == pytest.approx(expected.total, rel=1e-10)
    assert found.weight == pytest.approx(expected.weight)


def test_counts_are_recovered_from_pair_weights_and_gaps_are_noticed() -> None:
    """Outer products give their counts back; a missing pair has none and the RDMs are used."""
    counts = np.array([0.0, 2.0, 1.0, 3.0, 1.0])
    assert np.allclose(stimulus_counts(np.outer(counts, counts) * (1 - np.eye(5))), counts)
    weights = 1.0 - np.eye(N)
    weights[3, 4] = weights[4, 3] = 0.0
    assert stimulus_counts(weights) is None
    assert stimulus_counts(np.zeros((4, 4))) is None
    model = FeatureReweightedModel(X, penalties=[0.1])
    complete = model.fit(model.stack, DATA[0], 1.0 - np.eye(N))
    gap = model.fit(model.stack, DATA[0], weights)
    assert 0 < np.abs(gap - complete).max() < 0.1 * np.abs(complete).max()


def test_prediction_is_the_weighted_sum_of_the_feature_rdms() -> None:
    """The product form equals the sum, and equal weights give the squared Euclidean RDM."""
    np.testing.assert_allclose(MODEL.predict(WEIGHTS), np.tensordot(WEIGHTS, MODEL.stack, 1), atol=1e-9)
    np.testing.assert_allclose(MODEL.predict(np.ones(P)) / P, rdm(X, distance="sq_euclidean"), atol=1e-9)


@pytest.mark.parametrize("measure", ["pearson", "spearman", "whitened_cosine"])
def test_many_features_are_scored_as_in_the_cross_validation_of_stacks(measure) -> None:
    """Without any RDM of a feature the scores equal those of the general cross-validation."""
    expected = crossvalidate_rsa(DATA, {"m": MODEL}, measure=measure, n_folds_stimuli=2, random_state=3)
    found = crossvalidate_features(DATA, {"m": MODEL}, measure=measure, random_state=3)
    fitted = found[found.kind == "fitted"]
    np.testing.assert_allclose(fitted.score, expected.scores[:, 0], atol=1e-6)


def test_reweighting_finds_the_planted_features() -> None:
    """Fitted weights beat equal weights on held-out stimuli, and lie on the planted features."""
    found = crossvalidate_features(DATA, {"m": MODEL}, measure="pearson")
    means = found.groupby("kind").score.mean()
    assert means["fitted"] > means["fixed"] + 0.1
    scale = X.std(0) ** 2
    weights = MODEL.fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights * scale
    assert set(np.argsort(-np.abs(weights))[:2]) == {0, 1}


def test_unrelated_features_score_zero() -> None:
    """Over 20 unrelated data sets the mean fitted score is within 3 standard errors of 0."""
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model = FeatureReweightedModel(rng.normal(size=(N, 40)), penalties=[0.01, 1.0])
        brain = rdm(rng.normal(size=(N, 5)), distance="sq_euclidean")
        scores.append(crossvalidate_features(brain, {"m": model}, measure="pearson").score[0])
    assert abs(np.mean(scores)) < 3 * np.std(scores) / np.sqrt(20)


def test_a_vector_added_to_all_stimuli_changes_nothing() -> None:
    """Weights are invariant to translation of the features, and follow their scale."""
    first = FeatureReweightedModel(X).fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights
    moved = FeatureReweightedModel(X + 100.0).fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights
    np.testing.assert_allclose(moved, first, rtol=1e-5, atol=1e-7)
    scaled = FeatureReweightedModel(10.0 * X).fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights
    np.testing.assert_allclose(100.0 * scaled, first, rtol=1e-6, atol=1e-9)


def test_non_negative_weights_are_not_negative() -> None:
    """The option reaches the fit."""
    model = FeatureReweightedModel(X, penalties=[0.01], non_negative=True)
    free = FeatureReweightedModel(X, penalties=[0.01])
    assert (model.fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights >= 0).all()
    assert (free.fit_with_penalty(DATA[0], 1.0 - np.eye(N)).weights < 0).any()


def test_a_constant_prediction_scores_zero_and_a_failed_fit_is_nan() -> None:
    """Features without any difference predict nothing; too few stimuli for inner folds are NaN."""
    flat = FeatureReweightedModel(np.ones((N, 3)), penalties=[1.0])
    found = crossvalidate_features(DATA, {"m": flat}, measure="pearson")
    assert (found.score == 0).all()
    with pytest.warns(UserWarning, match="cannot be split into 2 inner folds"):
        found = crossvalidate_features(
            DATA[:, :9, :9], {"m": FeatureReweightedModel(X[:9])}, measure="pearson"
        )
    assert np.isnan(found[found.kind == "fitted"].score).all()


def test_wrong_input_is_named(monkeypatch) -> None:
    """Gaps, sizes, folds, memory and a measure that is not named."""
    with pytest.raises(InputError, match="first in row 1, feature 0"):
        FeatureReweightedModel(np.array([[1.0], [np.nan]]))
    with pytest.raises(ShapeError, match="models is empty"):
        crossvalidate_features(DATA, {})
    with pytest.raises(ShapeError, match="model 'm' is over 20 stimuli and data_rdms over 26"):
        crossvalidate_features(DATA, {"m": FeatureReweightedModel(X[:20])}, measure="pearson")
    with pytest.raises(InputError, match="weights are scored on other stimuli"):
        crossvalidate_features(DATA, {"m": MODEL}, n_folds_stimuli=1)
    with pytest.raises(InputError, match="measure='pearso' is not one of"):
        crossvalidate_features(DATA, {"m": MODEL}, measure="pearso")
    with pytest.warns(UserWarning, match="measure is not given: 'whitened_cosine' is used"):
        crossvalidate_features(
            RDMs(DATA, [f"s{i}" for i in range(N)], info={"distance": "crossnobis"}), {"m": MODEL}
        )
    monkeypatch.setattr("brainalign.comparison.feature_reweighting.available_memory", lambda: 10)
    with pytest.raises(MemoryBudgetError, match="use crossvalidate_features"):
        _ = FeatureReweightedModel(X).stack
