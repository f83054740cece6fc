"""Continuous and blocks designs: no score from noise, the control beside the claim, confounds, lags."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from brainalign import design
from brainalign.encoding import fit_encoding, scan_lags
from brainalign.errors import AlignmentError, InputError, LeakageError, ShapeError
from brainalign.regression import RidgeCV
from brainalign.types import Responses


def autoregressive(rng, n, p, rho):
    x = rng.standard_normal((n, p))
    for i in range(1, n):
        x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * x[i]
    return x


def recording(values, n_runs=4, dt=2.0, design_name="continuous"):
    n = len(values) // n_runs
    samples = pd.DataFrame(
        {"run": np.repeat(np.arange(n_runs), n).astype(str), "onset": np.tile(np.arange(n) * dt, n_runs)}
    )
    return Responses(values, samples, info={"design": design_name, "repetition_time": dt})


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.9])
def test_noise_that_remembers_scores_nothing_by_default(rho):
    """Two unrelated autoregressive recordings: contiguous folds find nothing, shuffled ones are refused."""
    default, forced = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, Y = autoregressive(rng, 500, 500, rho), autoregressive(rng, 500, 100, rho)
        options = {"features": X, "responses": Y, "design": "continuous", "n_bootstrap": 0}
        fit = fit_encoding(**options)
        default.append(fit.scores.values.mean())
        shuffled = KFold(5, shuffle=True, random_state=0)
        with pytest.raises(LeakageError, match="scattered among training rows"):
            fit_encoding(**options, splits=shuffled)
        leaky = fit_encoding(**options, splits=shuffled, allow="to show the leak")
        forced.append(leaky.scores.values.mean())
        for scores in (leaky.scores, *leaky.layer_scores.values(), *leaky.controls.values()):
            assert scores.info["allow"] == "to show the leak"
    assert abs(np.mean(default)) < 0.05
    assert np.mean(forced) > 0.25
    assert leaky.controls["time index"].values.mean() > 0.25


def test_the_gap_is_as_wide_as_memory_and_delays():
    """The autocorrelation, or 10 s and the longest delay, widen the gap that is not given."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 3))

    def gap(Y, features=X):
        fit = fit_encoding(
            features=features,
            responses=Y,
            design=None if isinstance(Y, Responses) else "continuous",
            n_bootstrap=0,
            time_control=False,
        )
        return fit.scores.info["splits"]["gap"]

    assert gap(rng.standard_normal((600, 4))) == 12
    assert gap(autoregressive(rng, 600, 4, 0.95)) > 20
    bold = recording(rng.standard_normal((600, 4)), n_runs=1, dt=1.0)
    delayed = design.prepare_features(Responses(X, bold.samples), bold, delays=[1, 12])
    assert gap(bold, delayed) == 22


def test_the_time_index_stands_beside_every_claim_in_time():
    """Drift that both runs share is found by the control, and only for designs in time."""
    rng = np.random.default_rng(0)
    drift = np.tile(np.linspace(-1, 1, 50), 4)[:, None]
    bold = recording(drift + 0.3 * rng.standard_normal((200, 3)))
    X = Responses(rng.standard_normal((200, 2)), bold.samples)
    fit = fit_encoding(features=X, responses=bold, n_folds=4)
    control = fit.controls["time index"]
    assert control.values.mean() > 0.8 > 0.3 > fit.scores.values.mean()
    assert control.info["role"] == "control"
    assert control.identity["model"] == "time index"
    assert control.info["splits"]["hash"] == fit.scores.info["splits"]["hash"]
    assert fit.scores.info["drift"]["median_share"] > 2 * fit.scores.info["drift"]["expected_share"]
    trials = fit_encoding(features=X.values, responses=bold.values, design="trials", n_bootstrap=0)
    assert trials.controls == {}
    assert "drift" not in trials.scores.info


def test_confounds_explain_nothing_any_more():
    """A common cause of features and responses gives a score; regressed out inside folds, none."""
    rng = np.random.default_rng(1)
    motion = rng.standard_normal((400, 2))
    X = motion @ rng.standard_normal((2, 5)) + 0.5 * rng.standard_normal((400, 5))
    bold = recording(motion @ rng.standard_normal((2, 6)) + 0.5 * rng.standard_normal((400, 6)))
    features, confounds = (Responses(v, bold.samples) for v in (X, motion))
    options = {"features": features, "responses": bold, "n_folds": 4, "n_bootstrap": 0, "time_control": False}
    assert fit_encoding(**options).scores.values.mean() > 0.6
    clean = fit_encoding(**options, confounds=confounds)
    assert abs(clean.scores.values.mean()) < 0.1
    assert clean.scores.info["confounds"].startswith("2 columns")


def test_confounds_equal_a_plain_regression_in_each_fold():
    """The score is that of scikit-learn's residuals, fitted on training rows alone."""
    from sklearn.linear_model import LinearRegression, Ridge

    rng = np.random.default_rng(2)
    C, X, Y = rng.standard_normal((120, 3)), rng.standard_normal((120, 4)), rng.standard_normal((120, 5))
    Y += X @ rng.standard_normal((4, 5)) + C @ rng.standard_normal((3, 5))
    folds = [(np.arange(60, 120), np.arange(50)), (np.arange(50), np.arange(60, 120))]
    ours = fit_encoding(
        features=X, responses=Y, design="continuous", splits=folds, confounds=C, feature_scaling=None,
        estimator=RidgeCV(alphas=[3.0]), n_bootstrap=0, time_control=False,
    )  # fmt: skip
    expected = []
    for train, test in folds:
        res = [v - LinearRegression().fit(C[train], v[train]).predict(C) for v in (X, Y)]
        guess = Ridge(3.0).fit(res[0][train], res[1][train]).predict(res[0][test])
        expected.append([np.corrcoef(guess[:, i], res[1][test, i])[0, 1] for i in range(5)])
    assert np.allclose(ours.scores.values, np.mean(expected, axis=0), atol=1e-10)


def test_the_curve_over_lags_peaks_at_the_planted_delay():
    """Responses that follow by 5 samples are found there, and shifted events are found out."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((400, 2))
    bold = recording(design.fir_delays(X, [5], np.repeat([0, 1, 2, 3], 100)) + rng.standard_normal((400, 2)))
    for shift in (0, 2):
        features = Responses(np.roll(X, shift, axis=0), bold.samples)
        curve = scan_lags(features=features, responses=bold, lags=range(-2, 9), n_folds=4)
        scan = curve.info["lag_scan"]
        assert scan["best_lag"] == 5 - shift
        assert scan["best_lag_s"] == 2.0 * (5 - shift)
        assert curve.values.shape == (2, 11)
        assert abs(scan["values"]["all"][0]) < 0.15


def test_features_with_delays_are_scanned_as_they_were_before():
    """Lags count from the features themselves, whatever delays they carry."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((400, 2))
    bold = recording(design.fir_delays(X, [4], np.repeat([0, 1, 2, 3], 100)) + rng.standard_normal((400, 2)))
    delayed = design.prepare_features(Responses(X, bold.samples), bold, delays=[1, 2, 3])
    assert (
        scan_lags(features=delayed, responses=bold, lags=range(7), n_folds=4).info["lag_scan"]["best_lag"]
        == 4
    )


def test_what_cannot_be_scanned_or_regressed_out_is_refused():
    """Trials, several spaces, lags in disorder; confounds of averages, of other length, too many."""
    x, y = np.random.default_rng(0).standard_normal((2, 40, 2))
    with pytest.raises(InputError, match="these responses are trials"):
        scan_lags(features=x, responses=y, lags=[0, 1], design="trials")
    with pytest.raises(InputError, match="2 feature spaces"):
        scan_lags(features={"a": x, "b": x}, responses=y, lags=[0], design="continuous")
    with pytest.raises(InputError, match="expected increasing"):
        scan_lags(features=x, responses=y, lags=[1, 0], design="continuous")
    repeated = Responses(
        y, pd.DataFrame({"stimulus_id": [f"s{i % 20}" for i in range(40)]}), info={"design": "trials"}
    )
    layer = Responses(x[:20], pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(20)]}))
    with pytest.raises(InputError, match="confounds belong to single samples"):
        fit_encoding(features=layer, responses=repeated, confounds=x)
    with pytest.raises(ShapeError, match="have 39 rows"):
        fit_encoding(features=x, responses=y, design="continuous", confounds=x[:39])
    with pytest.raises(ShapeError, match="they would explain everything"):
        fit_encoding(features=x, responses=y, design="continuous", confounds=np.eye(40))
    with pytest.raises(AlignmentError, match="give both alike"):
        fit_encoding(features=x, responses=y, design="continuous", confounds=Responses(x))


def test_time_resolved_scores_find_the_time_of_the_effect():
    """(n_samples, n_units, n_times): each sensor and time has its own score."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((200, 3))
    Y = rng.standard_normal((200, 4, 10))
    Y[:, 1, 6] += X @ rng.standard_normal(3)
    trials = Responses(
        Y,
        pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(200)]}),
        times=np.arange(10) / 100,
        info={"design": "trials"},
    )
    layer = Responses(X, pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(200)]}))
    scores = fit_encoding(features=layer, responses=trials, n_bootstrap=0).scores
    assert scores.values.shape == (4, 10)
    assert np.unravel_index(scores.values.argmax(), (4, 10)) == (1, 6)
    assert scores.values[1, 6] > 0.6 > 0.2 > np.abs(np.delete(scores.values.ravel(), 16)).max() - 0.1
    assert scores.info["times"][6] == pytest.approx(0.06)


def test_trials_of_a_condition_are_exchanged_within_their_runs():
    """Labels that mean nothing are significant in about one of twenty units; planted ones always."""
    rng = np.random.default_rng(6)
    samples = pd.DataFrame({"condition": rng.choice(["a", "b"], 160), "run": np.repeat([1, 2, 3, 4], 40)})
    trials = Responses(rng.standard_normal((160, 200)), samples, info={"design": "trials"})
    trials.values[:, 0] += 2.0 * (trials.samples["condition"] == "a").to_numpy()
    labels = design.condition_indicators(trials)
    fit = fit_encoding(features=labels, responses=trials, n_folds=4, n_permutations=199, n_bootstrap=0)
    p_values = fit.scores.p_values
    assert p_values[0] == 1 / 200
    assert (p_values[1:] <= 0.05).mean() < 0.11


def test_p_values_of_noise_that_remembers_are_honest():
    """Blocks outlast the memory of the responses: about one of twenty null units is called significant."""
    p_values = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, Y = autoregressive(rng, 500, 20, 0.9), autoregressive(rng, 500, 100, 0.9)
        fit = fit_encoding(
            features=X, responses=Y, design="continuous", n_bootstrap=0, n_permutations=99, time_control=False
        )
        p_values.append(fit.scores.p_values)
    assert (np.concatenate(p_values) <= 0.05).mean() < 0.08
    assert int(fit.scores.info["permutation"]["exchange"].split()[2]) > 20


def test_conditions_shown_one_after_the_other_are_not_told_apart_by_drift():
    """First all trials of one condition, then all of the other: noise that remembers scores nothing."""
    means = []
    for seed in range(5):
        noise = autoregressive(np.random.default_rng(seed), 200, 30, 0.9)
        samples = pd.DataFrame({"condition": np.repeat(["a", "b"], 100), "onset": np.arange(200) * 2.0})
        trials = Responses(noise, samples, info={"design": "trials"})
        fit = fit_encoding(features=design.condition_indicators(trials), responses=trials, n_bootstrap=0)
        means.append(fit.scores.values.mean())
    assert abs(np.mean(means)) < 0.05


def test_confounds_need_the_filter_of_the_responses():
    """Slow confounds beside filtered responses are refused; run offsets of confounds are taken out."""
    rng = np.random.default_rng(7)
    bold = recording(rng.standard_normal((200, 3)))
    filtered = design.prepare_responses(bold, high_pass_s=60)
    X, motion = (Responses(rng.standard_normal((200, 2)), bold.samples) for _ in range(2))
    options = {"features": X, "responses": filtered, "n_folds": 4, "n_bootstrap": 0}
    with pytest.raises(InputError, match=r"high-pass 60 s per run.*confounds otherwise \(not at all\)"):
        fit_encoding(**options, confounds=motion)
    alike = design.prepare_features(motion, bold, high_pass_s=60)
    clean = fit_encoding(**options, confounds=alike).scores
    offset = Responses(
        alike.values + 100.0 * np.repeat([0, 1, 2, 3], 50)[:, None], bold.samples, info=alike.info
    )
    assert np.allclose(fit_encoding(**options, confounds=offset).scores.values, clean.values, atol=1e-8)
    assert clean.info["feature_preparation"] == ["none"]


def test_a_memory_longer_than_a_fold_gives_no_p_value_and_says_why():
    """Random walks cannot be exchanged honestly: scores without p, and the reason."""
    rng = np.random.default_rng(8)
    walk = rng.standard_normal((120, 2)).cumsum(axis=0)
    X = rng.standard_normal((120, 2))
    fit = fit_encoding(features=X, responses=walk, design="continuous", n_permutations=50, n_bootstrap=0)
    assert fit.scores.p_values is None
    assert "remember" in fit.scores.info["no_p_value"]
    with pytest.raises(InputError, match="nothing can be exchanged"):
        fit_encoding(features=X, responses=walk, design="continuous", n_permutations=50, permutation_block=60)
