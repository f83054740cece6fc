"""Faults that give plausible numbers: each is planted, and found or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from encoding_cases import FAST, layers, responses
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

import brainalign as ba
from brainalign.errors import AlignmentError, InputError, LeakageError
from brainalign.regression import RidgeCV


def trials(values, **columns):
    return ba.Responses(values, pd.DataFrame(columns), info={"design": "trials"})


def test_content_that_only_the_features_know_keeps_copies_together():
    """Responses without hashes: the features tell which images are equal, and copies share a fold."""
    rng = np.random.default_rng(0)
    ids = [f"a{i}" for i in range(60)] + [f"b{i}" for i in range(60)]
    X = np.tile(rng.standard_normal((60, 40)), (2, 1))
    Y = np.tile(rng.standard_normal((60, 30)), (2, 1)) + 0.1 * rng.standard_normal((120, 30))
    hashes = [f"h{i}" for i in range(60)] * 2
    features = ba.Responses(X, pd.DataFrame({"stimulus_id": ids, "content_hash": hashes}))
    fit = ba.fit_encoding(features=features, responses=trials(Y, stimulus_id=ids), **FAST)
    assert fit.scores.info["splits"]["n_groups"] == 60
    assert abs(fit.scores.values.mean()) < 0.12


def test_exchanges_that_change_nothing_count():
    """With eight arrangements in all no p-value can be below about one in eight."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((80, 10)), rng.standard_normal((80, 60))
    groups = np.repeat(np.arange(8), 10)
    fit = ba.fit_encoding(features=X, responses=Y, groups=groups, n_folds=5, n_permutations=200, **FAST)
    assert fit.scores.p_values.min() > 0.05


def test_sparse_units_keep_their_score():
    """A unit that fires for a few stimuli loses the folds where it is silent, and no others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 20))
    Y = np.zeros((100, 40))
    for unit in range(40):
        Y[rng.choice(100, 7, replace=False), unit] = 1 + rng.random(7)
    fit = ba.fit_encoding(features=X, responses=Y, groups=np.arange(100), inner_folds=5, n_bootstrap=50)
    assert np.isfinite(fit.scores.values).all()
    assert fit.scores.info["folds_without_score"] > 0
    low, high = fit.scores.info["region_interval"].get("all", (-1, 1))
    assert low <= fit.scores.values.mean() <= high


def test_kept_model_of_any_regressor_uses_the_layer_that_was_chosen():
    """The kept model chooses its layer by inner folds for other regressors too."""
    F = layers(n=120, p=10)
    fit = ba.fit_encoding(
        features=F,
        responses=responses(F, noise=0.3),
        estimator=Ridge(1.0),
        keep_model=True,
        select="all",
        **FAST,
    )
    assert list(fit.model.chosen) == [("layer1",)]


def test_regressors_weigh_averages_by_their_counts():
    """A regressor that takes weights gets the counts, and agrees with RidgeCV at one penalty."""
    F = {"layer1": layers()["layer1"]}
    R = responses(F, uneven=True)
    options = {"features": F, "responses": R, "feature_scaling": None, **FAST}
    ours = ba.fit_encoding(estimator=RidgeCV([5.0]), **options)
    theirs = ba.fit_encoding(estimator=Ridge(5.0), **options)
    np.testing.assert_allclose(theirs.scores.values, ours.scores.values, atol=1e-9)


def test_two_subjects_in_one_recording_are_refused():
    """Rows of two subjects would be averaged as repeats."""
    F = layers()
    R = responses(F)
    two = replace(R, samples=R.samples.assign(subject=np.arange(R.n_samples) % 2))
    with pytest.raises(AlignmentError, match="hold 2 subjects; one Responses is one subject"):
        ba.fit_encoding(features=F, responses=two, **FAST)


def test_positional_features_that_differ_between_repeats_are_refused():
    """Averages need one row of features per stimulus."""
    rng = np.random.default_rng(0)
    ids = np.repeat([f"s{i}" for i in range(40)], 2)
    X, Y = rng.standard_normal((80, 5)), rng.standard_normal((80, 4))
    with pytest.raises(AlignmentError, match="differ between trials of one stimulus"):
        ba.fit_encoding(features=X, responses=trials(Y, stimulus_id=ids), **FAST)
    ba.fit_encoding(features=X, responses=trials(Y, stimulus_id=ids), repeats="single", **FAST)


def test_pooled_scores_carry_no_statistics_of_the_folds():
    """Pooled scoring has no interval of the fold mean and refuses its p-values."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 5)), rng.standard_normal((60, 4))
    options = {"features": X, "responses": Y, "groups": np.arange(60), "scoring_over": "pooled"}
    fit = ba.fit_encoding(n_bootstrap=50, inner_folds=3, **options)
    assert fit.scores.info["region_interval"] == {}
    with pytest.raises(InputError, match="p-values are those of the mean over folds"):
        ba.fit_encoding(n_permutations=10, **options)
    flat = ba.fit_encoding(
        features=np.ones((60, 2)),
        responses=Y,
        groups=np.arange(60),
        scoring_over="pooled",
        metric="r2_train_mean",
        **FAST,
    )
    np.testing.assert_allclose(flat.scores.values, 0, atol=1e-12)


def test_test_sets_of_a_continuous_design_differ_by_their_times():
    """One movie for all rows: folds at other times are other test sets, and are not ranked together."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 5)), rng.standard_normal((200, 3))
    samples = pd.DataFrame({"stimulus_id": ["movie"] * 200, "run": ["1"] * 200, "onset": np.arange(200.0)})
    R = ba.Responses(Y, samples, info={"design": "continuous"})

    def folds(edges):
        parts = np.split(np.arange(200), edges)
        return [(np.setdiff1d(np.arange(200), part), part) for part in parts]

    a, b = (
        ba.fit_encoding(features=X, responses=R, splits=folds(edges), **FAST).scores
        for edges in ([40, 80, 120, 160], [10, 20, 30, 190])
    )
    with pytest.raises(AlignmentError, match="different test sets"):
        ba.encoding.rank_scores([a, b])


def test_p_values_need_to_know_the_stimulus():
    """Trials without a stimulus id cannot be exchanged as whole stimuli."""
    rng = np.random.default_rng(0)
    run = np.repeat([str(i) for i in range(6)], 10)
    R = trials(rng.standard_normal((60, 4)), run=run)
    F = ba.Responses(rng.standard_normal((60, 5)), pd.DataFrame(index=R.samples.index))
    with pytest.raises(InputError, match="no row says which stimulus or condition it was"):
        ba.fit_encoding(features=F, responses=R, n_permutations=10, **FAST)


def test_null_refits_have_the_intercept_of_the_model():
    """Without intercept the refits have none either: noise with an offset keeps its p-values."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((80, 20)), rng.standard_normal((80, 150)) + 5
    fit = ba.fit_encoding(
        features=X,
        responses=Y,
        groups=np.arange(80),
        n_permutations=100,
        metric="r2",
        estimator=RidgeCV(fit_intercept=False),
        **FAST,
    )
    assert 0.35 < fit.scores.p_values.mean() < 0.65


def test_own_folds_of_an_estimator_know_nothing_of_time():
    """A penalty chosen on shuffled folds of a continuous design is refused."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((100, 5)), rng.standard_normal((100, 3))
    with pytest.raises(LeakageError, match="knows nothing of time"):
        ba.fit_encoding(
            features=X, responses=Y, design="continuous", estimator=RidgeCV(cv=KFold(5, shuffle=True)), **FAST
        )


def test_names_travel_with_the_scores():
    """Model, dataset, subject and licence are taken from what was loaded and extracted."""
    F = {k: replace(v, info={"model": "net", "citation": "Someone 2020"}) for k, v in layers().items()}
    R = responses(F)
    R = replace(
        R, samples=R.samples.assign(subject="S1"), info={**R.info, "dataset": "mine", "licence": "CC0"}
    )
    scores = ba.fit_encoding(features=F, responses=R, **FAST).scores
    assert (scores.identity["model"], scores.identity["dataset"], scores.identity["subject"]) == (
        "net",
        "mine",
        "S1",
    )
    assert scores.info["dataset"] == {"licence": "CC0"}
    assert scores.info["model"]["citation"] == "Someone 2020"
