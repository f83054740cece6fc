"""Several feature spaces that are weighed per unit: banded ridge and stacking inside the outer folds."""

from __future__ import annotations

import numpy as np
import pytest
from encoding_cases import FAST, layers, responses
from sklearn.base import clone

import brainalign as ba
from brainalign.design import feature_scale
from brainalign.encoding._folds import fold_rows
from brainalign.encoding._option_checks import own_estimator
from brainalign.errors import InputError, LeakageError
from brainalign.regression import BandedRidgeCV, KernelRidgeCV, RidgeCV, StackedRegression

QUICK = {**FAST, "n_folds": 3}
ESTIMATORS = {"bands": BandedRidgeCV, "stack": StackedRegression}


SHORT = {
    "bands": BandedRidgeCV(n_candidates=6, refine=False),
    "stack": StackedRegression(alphas=np.logspace(-3, 3, 7)),
}


def two_spaces(n=120, seed=0, noise=0.5, scale=1.0, **options):
    """Units 0-3 follow words, 4-7 sounds, 8-11 both; two trials a stimulus but for the first thirty."""
    features = layers(n=n, p=10, n_layers=2, seed=seed)
    features = {"words": features["layer0"], "sounds": features["layer1"]}
    rng = np.random.default_rng(seed + 1)
    parts = [X.array() @ rng.standard_normal((10, 12)) for X in features.values()]
    parts = [part / part.std(0) for part in parts]
    which = np.repeat([[1, 0], [0, 1], [0.7, 0.7]], 4, axis=0).T
    signal = sum(part * share for part, share in zip(parts, which, strict=True))
    row = np.concatenate([np.arange(n), np.arange(30, n)])
    values = scale * (signal[row] + noise * rng.standard_normal((len(row), 12)))
    samples = features["words"].samples.iloc[row].reset_index(drop=True)
    return {"features": features, "responses": ba.Responses(values, samples, info={"design": "trials"})}


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_weights_follow_the_planted_spaces(combine):
    """Units of one space give it nearly all weight, units of both share it, and the score is high."""
    fit = ba.fit_encoding(**two_spaces(), combine=combine, **QUICK)
    weights = fit.scores.info["space_weights"]
    assert list(weights) == ["words", "sounds"]
    total = weights["words"] + weights["sounds"]
    assert total == pytest.approx(np.ones(12))
    assert weights["words"][:4].min() > 0.9
    assert weights["sounds"][4:8].min() > 0.9
    assert (np.abs(weights["words"][8:] - 0.5) < 0.3).all()
    assert (fit.scores.values > 0.7).all()
    assert fit.scores.info["combine"] == combine
    assert fit.scores.info["estimator"]["name"] == ESTIMATORS[combine].__name__
    assert fit.scores.identity["layer"] == "words + sounds"
    assert fit.layer_scores == {}
    assert fit.scores.p_values is None


def test_weighing_beats_side_by_side_where_spaces_are_noise():
    """Three spaces of noise cost ridge on all columns more than banded ridge and stacking."""
    case = two_spaces(n=60, noise=1.0)
    words, rng = case["features"]["words"], np.random.default_rng(9)
    noise = {f"noise{j}": ba.Responses(rng.standard_normal((60, 60)), words.samples) for j in range(3)}
    case["features"] = {"words": words, **noise}
    concat, bands, stack = (
        ba.fit_encoding(**case, combine=combine, estimator=SHORT.get(combine), **QUICK)
        .scores.values[:4]
        .mean()
        for combine in ("concat", "bands", "stack")
    )
    assert bands > concat + 0.1
    assert stack > concat + 0.1


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_null_responses_score_about_zero(combine):
    """Responses that follow nothing have a mean score near zero, whatever is weighed."""
    case = two_spaces(noise=1.0)
    values = np.random.default_rng(3).standard_normal(case["responses"].shape)
    case["responses"] = ba.Responses(values, case["responses"].samples, info={"design": "trials"})
    assert (
        abs(ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], **QUICK).scores.values.mean())
        < 0.08
    )


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_one_fold_equals_the_estimator_by_hand(monkeypatch, combine):
    """A fold scales each space by its training rows, weighs rows by trials, and hands on the inner folds."""
    seen = []

    def keep(problem, train, test, options):
        rows = fold_rows(problem, train, test, options)
        seen.append((problem, rows))
        return rows

    monkeypatch.setattr("brainalign.encoding.fit.fold_rows", keep)
    fit = ba.fit_encoding(
        **two_spaces(), combine=combine, estimator=SHORT[combine], keep_predictions=True, **QUICK
    )
    found, start, shares = fit.scores.predictions, 0, []
    for problem, rows in seen:
        assert set(rows.weights) == {1.0, 2.0}
        spaces = []
        for name in ("words", "sounds"):
            train, test = problem.feature_rows(name, rows.train), problem.feature_rows(name, rows.test)
            mean, scale = feature_scale(train, rows.weights, "trace")
            spaces.append(((train - mean) / scale, (test - mean) / scale))
        estimator = clone(SHORT[combine]).set_params(cv=rows.inner)
        estimator.fit([train for train, _ in spaces], rows.y_train, sample_weight=rows.weights)
        expected = estimator.predict([test for _, test in spaces])
        stop = start + len(expected)
        assert np.allclose(np.asarray(found)[start:stop], expected, atol=1e-10)
        start = stop
        shares.append(estimator.stacking_weights_ if combine == "stack" else estimator.band_weights_)
    assert np.allclose(list(fit.scores.info["space_weights"].values()), np.mean(shares, axis=0))


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_scale_of_a_space_does_not_matter(combine):
    """A feature space in other units leaves scores and weights as they are."""
    case = two_spaces(n=60)
    plain = ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], **QUICK).scores
    words = case["features"]["words"]
    case["features"] = {**case["features"], "words": ba.Responses(1000 * words.values, words.samples)}
    large = ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], **QUICK).scores
    assert np.allclose(large.values, plain.values, atol=1e-6)
    assert np.allclose(large.info["space_weights"]["words"], plain.info["space_weights"]["words"], atol=1e-4)


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_kept_model_predicts_and_shows_weights(combine):
    """The kept model predicts new stimuli from both spaces, and gives weights in their own units."""
    case = two_spaces(noise=0.2)
    fit = ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], keep_model=True, **QUICK)
    new = {name: np.random.default_rng(4).standard_normal((5, 10)) for name in case["features"]}
    base = {name: np.zeros((1, 10)) for name in new}
    linear = sum(new[name] @ fit.weights[name].T for name in new)
    assert fit.weights["words"].shape == (12, 10)
    assert np.allclose(fit.predict(new) - fit.predict(base), linear)
    signal = np.corrcoef(
        fit.predict(case["features"])[:, 0], two_spaces(noise=0)["responses"].values[:120, 0]
    )
    assert signal[0, 1] > 0.95


def test_options_of_the_estimator_are_its_own():
    """An estimator that is given keeps its options; the default takes the seed."""
    case = two_spaces(n=60)
    own = BandedRidgeCV(n_candidates=3, refine=False, random_state=7)
    shown = ba.fit_encoding(**case, combine="bands", estimator=own, **QUICK).scores.info["estimator"]
    assert (shown["n_candidates"], shown["refine"], shown["random_state"]) == (3, False, 7)
    assert own.bands is None
    assert own_estimator("bands", None, 5).random_state == 5
    assert type(own_estimator("stack", None, 5)) is StackedRegression
    assert own_estimator("concat", None, 5) is None


@pytest.mark.parametrize("combine", ["bands", "stack"])
def test_units_without_a_fit_have_no_weights(combine):
    """A constant unit has NaN weights and score, counted; the others are as without that unit."""
    case = two_spaces(n=60)
    values, samples = case["responses"].values.copy(), case["responses"].samples
    case["responses"] = ba.Responses(np.delete(values, 5, axis=1), samples, info={"design": "trials"})
    plain = ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], **QUICK).scores
    values[:, 5] = 1.0
    case["responses"] = ba.Responses(values, samples, info={"design": "trials"})
    broken = ba.fit_encoding(**case, combine=combine, estimator=SHORT[combine], **QUICK).scores
    assert broken.info["nan_reasons"] == {"constant response": 1}
    assert np.isnan(broken.info["space_weights"]["words"][5])
    rest = np.delete(np.arange(12), 5)
    assert np.allclose(broken.values[rest], plain.values, atol=1e-8)


def test_responses_over_time_have_weights_over_time():
    """Weights have the shape of the scores, units by times; and they survive saving."""
    case = two_spaces(n=60)
    values = case["responses"].values.reshape(-1, 4, 3)
    case["responses"] = ba.Responses(
        values, case["responses"].samples, times=[0.0, 0.1, 0.2], info={"design": "trials"}
    )
    scores = ba.fit_encoding(**case, combine="stack", **QUICK).scores
    assert scores.info["space_weights"]["words"].shape == (4, 3)


def test_weights_survive_saving(tmp_path):
    """The weights of the spaces are stored with the scores."""
    scores = ba.fit_encoding(**two_spaces(n=60), combine="stack", **QUICK).scores
    ba.save(scores, tmp_path / "scores.h5")
    again = ba.load(tmp_path / "scores.h5").info["space_weights"]
    assert np.array_equal(again["sounds"], scores.info["space_weights"]["sounds"])


def test_confounds_and_time_control_go_along():
    """A continuous design takes confounds out, and its time control is plain ridge."""
    rng = np.random.default_rng(0)
    features = {name: rng.standard_normal((160, 4)) for name in ("a", "b")}
    Y = features["a"] @ rng.standard_normal((4, 3)) + 0.5 * rng.standard_normal((160, 3))
    fit = ba.fit_encoding(
        features=features,
        responses=Y,
        design="continuous",
        groups=np.repeat(np.arange(8), 20),
        confounds=rng.standard_normal((160, 2)),
        combine="stack",
        gap=0,
        **QUICK,
    )
    assert (fit.scores.info["space_weights"]["a"] > 0.8).all()
    assert fit.controls["time index"].info["estimator"]["name"] == "RidgeCV"
    assert "space_weights" not in fit.controls["time index"].info


def test_estimators_with_folds_get_those_of_the_design():
    """Kernel ridge beside linear ridge chooses on the inner folds of the design; its own are guarded."""
    features = layers(n=60, p=8, n_layers=1)
    recording = responses(features, layer="layer0", n_repeats=2)
    linear, kernel = (
        ba.fit_encoding(features=features, responses=recording, estimator=estimator, **FAST).scores
        for estimator in (RidgeCV(np.logspace(-3, 3, 7)), KernelRidgeCV(np.logspace(-3, 3, 7)))
    )
    assert np.allclose(linear.values, kernel.values, atol=1e-6)
    with pytest.raises(LeakageError, match="into training and test"):
        ba.fit_encoding(
            features=features, responses=recording, estimator=KernelRidgeCV(cv=3), repeats="single", **FAST
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"combine": "band"}, "combine='band' is not one of 'select', 'concat', 'bands', 'stack'"),
        ({"combine": "bands", "n_permutations": 10}, "combine='bands' weighs .* use n_permutations=0"),
        ({"combine": "stack", "n_permutations": 10}, "combine='stack' weighs .* use n_permutations=0"),
        ({"combine": "bands", "estimator": RidgeCV()}, "combine='bands' fits BandedRidgeCV, found .*RidgeCV"),
        ({"combine": "stack", "estimator": BandedRidgeCV()}, "combine='stack' fits StackedRegression, found"),
        (
            {"combine": "bands", "estimator": BandedRidgeCV([slice(0, 2)])},
            "each feature space is one; leave bands",
        ),
        (
            {"combine": "stack", "estimator": StackedRegression([[0]])},
            "each feature space is one; leave spaces",
        ),
        ({"combine": "bands", "estimator": BandedRidgeCV(kernel="precomputed")}, "features are columns here"),
        ({"combine": "bands", "estimator": BandedRidgeCV(checkpoint="x.h5")}, "belongs to one fit"),
    ],
)
def test_what_cannot_be_is_refused(options, text):
    """Each wrong request names what was expected and what to do."""
    with pytest.raises(InputError, match=text):
        ba.fit_encoding(**two_spaces(n=40), **{**QUICK, **options})
