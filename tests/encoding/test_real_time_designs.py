"""Real recordings in time: voxels in blocks, sensors over time, regions during a story."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import data_loaders as dl
from brainalign import design
from brainalign.comparison import time_resolved_rdms
from brainalign.encoding import fit_encoding, scan_lags
from brainalign.regression import RidgeCV
from brainalign.statistics import intersubject_correlation
from brainalign.types import Responses

pytestmark = pytest.mark.real

STORY_REGIONS = ["LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG"]


@pytest.fixture(scope="module")
def blocks(real_data):
    """Haxby, one slice: responses without trend, conditions delayed by 1 to 4 volumes."""
    dataset = dl.load("haxby2001", root=real_data)
    responses = design.prepare_responses(dataset.responses, detrend=True)
    conditions = design.condition_indicators(dataset.responses)
    features = design.prepare_features(conditions, dataset.responses, delays=[1, 2, 3, 4], detrend=True)
    return dataset, responses, features


def test_voxels_follow_the_categories(blocks, real_data):
    """Runs left out one by one: the published level over voxels, and a map on the grid of the input."""
    _, responses, features = blocks
    fit = fit_encoding(features=features, responses=responses, n_folds=12, n_bootstrap=0)
    values = fit.scores.values
    assert values.mean() >= 0.165
    assert np.sort(values)[-53:].mean() >= 0.55
    source = nib.load(real_data / "haxby2001" / "oneslice" / "bold.nii.gz")
    image = fit.scores.to_nifti()
    assert image.shape == source.shape[:3]
    assert np.array_equal(image.affine, source.affine)
    mask = nib.load(real_data / "haxby2001" / "oneslice" / "mask.nii.gz").get_fdata() > 0
    assert np.array_equal(np.isfinite(image.get_fdata()), mask)
    assert np.allclose(image.get_fdata()[mask], values)
    # the runs share their timing: what the clock alone explains stands beside the claim
    assert 0.1 < fit.controls["time index"].values.mean() < 0.25


def test_the_lag_curve_of_voxels_falls_off_on_both_sides(blocks):
    """Responses follow the labels by at most two volumes; early and late features say less."""
    _, responses, features = blocks
    some = responses.select(units=np.arange(0, responses.n_units, 5))
    scan = scan_lags(features=features, responses=some, lags=range(-3, 7), n_folds=4).info["lag_scan"]
    assert 0 <= scan["best_lag_s"] <= 5.0
    curve = dict(zip(scan["lags"], scan["values"]["all"], strict=True))
    assert max(curve[-3], curve[3], curve[4]) < 0.6 * curve[scan["best_lag"]]


def test_a_correlation_classifier_reads_the_categories(blocks):
    """Block means, pattern over categories removed, leave one run out: 65 of 96."""
    _, responses, _ = blocks
    samples = responses.samples
    parts = design.recording_parts(samples)
    z = design.standardise_parts(responses.values, parts, np.arange(len(samples)))
    known = samples["condition"].notna().to_numpy()
    runs, names = sorted(set(samples["run"]), key=int), sorted(set(samples["condition"][known]))
    means = np.array(
        [[z[((samples.run == r) & (samples.condition == c)).to_numpy()].mean(0) for c in names] for r in runs]
    )
    hits = []
    for held in range(len(runs)):
        train = np.delete(means, held, axis=0).mean(axis=0)
        common = train.mean(axis=0)
        r = np.corrcoef(means[held] - means[held].mean(axis=0), train - common)[:8, 8:]
        hits += (r.argmax(axis=1) == np.arange(8)).tolist()
    assert np.mean(hits) == pytest.approx(0.677, abs=0.001)


def test_sensors_tell_faces_from_houses_after_an_eighth_of_a_second(real_data):
    """TP10 peaks near 0.29 s; before onset there is nothing."""
    dataset = dl.load("n170_muse", root=real_data)
    responses = dataset.responses
    fit = fit_encoding(features=dataset.features["condition"], responses=responses, n_folds=6, n_bootstrap=0)
    sensor = list(responses.units.index).index("TP10")
    course, times = fit.scores.values[sensor], np.asarray(fit.scores.info["times"])
    assert course.max() == pytest.approx(0.22, abs=0.02)
    assert times[course.argmax()] == pytest.approx(0.287, abs=0.02)
    assert abs(course[times < 0].mean()) < 0.04
    assert fit.scores.info["splits"]["n_folds"] == 6
    indicators = design.condition_indicators(responses)
    again = fit_encoding(features=indicators, responses=responses, n_folds=6, n_bootstrap=0)
    assert np.allclose(again.scores.values[sensor], course, atol=0.01)


def test_rdms_of_evoked_potentials_peak_after_the_stimulus(real_data):
    """Four conditions differ most 0.1 to 0.25 s after the onset, in one call."""
    path = real_data / "meeg_formats" / "sample_audvis-ave.fif.gz"
    evoked = dl.load("mne_file", path=path).responses
    sensors = evoked.select(units=(evoked.units["ch_type"] == "eeg").to_numpy())
    values, before = sensors.values.astype(float), sensors.times < 0
    values = values - values[:, :, before].mean(axis=2, keepdims=True)
    smooth = np.apply_along_axis(np.convolve, 2, values, np.full(25, 1 / 25), "same")  # 42 ms
    named = sensors.samples.assign(stimulus_id=sensors.samples["condition"])
    found = time_resolved_rdms(
        Responses(smooth, named, sensors.units, sensors.times, sensors.info), distance="sq_euclidean"
    )
    course = found.values.mean(axis=(1, 2))
    assert 0.1 < found.table["time"].iloc[int(course.argmax())] < 0.25
    assert course[(sensors.times > 0.1) & (sensors.times < 0.25)].mean() > 4 * course[before].mean()


@pytest.fixture(scope="module")
def story(real_data):
    """27 people who hear the same story, 6 mm regions."""
    return dl.load("alice_fmri", root=real_data, radius_mm=6)


def test_people_share_their_responses_to_a_story(story):
    """Leave-one-out inter-subject correlation after a high-pass of 128 s."""
    samples = story.responses.samples
    people = sorted(set(samples["subject"]))
    assert len(people) == 27
    values = np.stack(
        [
            design.high_pass(
                story.responses.values[(samples["subject"] == s).to_numpy()].astype(float), dt=2.0
            )
            for s in people
        ]
    )
    found = intersubject_correlation(values).mean(axis=0)
    assert list(story.responses.units.index) == STORY_REGIONS
    assert np.allclose(found, [0.287, 0.233, 0.409, 0.274, 0.257, 0.208], atol=0.005)


def _mean_over_people(story, *, high_pass_s, **options):
    samples = story.responses.samples
    values, drifts = [], []
    for subject in sorted(set(samples["subject"])):
        own = story.responses.select(samples=(samples["subject"] == subject).to_numpy())
        stimulus = story.features["stimulus"]
        mine = stimulus.select(samples=(stimulus.samples["subject"] == subject).to_numpy())
        responses = design.prepare_responses(own, high_pass_s=high_pass_s)
        fit = fit_encoding(
            features=design.prepare_features(mine, own, high_pass_s=high_pass_s),
            responses=responses,
            n_folds=6,
            gap=10,
            n_bootstrap=0,
            feature_scaling="column",
            time_control=False,
            **options,
        )
        values.append(fit.scores.values)
        drifts.append(fit.scores.info["drift"])
    return np.mean(values, axis=0), pd.DataFrame(drifts)


def test_word_rate_and_sound_power_predict_the_regions(story):
    """Six contiguous folds, gap of 10 volumes, a score per fold and averaged."""
    found, drifts = _mean_over_people(story, high_pass_s=128.0)
    assert np.allclose(found, [0.13, 0.12, 0.21, 0.18, 0.17, 0.11], atol=0.02)
    assert (drifts["median_share"] < 1e-3).all()


def test_pooled_scores_with_one_penalty_are_those_of_the_table(story):
    """One score over all test rows, one penalty for all regions."""
    found, _ = _mean_over_people(
        story, high_pass_s=128.0, scoring_over="pooled", estimator=RidgeCV(alpha_per_target=False)
    )
    assert np.allclose(found, [0.097, 0.074, 0.180, 0.159, 0.140, 0.069], atol=0.02)


def test_drift_is_known_from_the_responses_alone(story):
    """Without a high-pass the responses say how much of them is drift."""
    _, drifts = _mean_over_people(story, high_pass_s=0.0)
    assert (drifts["median_share"] > 2 * drifts["expected_share"]).mean() > 0.9
