"""Variance by feature, the feature-bias case of the comparisons, and the phases of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.feature_variance import variance_by_feature
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.training_phases import phase_labels
from brainalign.errors import InputError, ShapeError, UnknownNameError
from brainalign.simulate import feature_bias

RNG = np.random.default_rng(0)
CLASSES = np.repeat(["a", "b", "c"], 20)
NUMBER = np.tile(np.linspace(-1.0, 1.0, 20), 3)
X = RNG.normal(size=(60, 8)) + (CLASSES == "a")[:, None] * np.eye(8)[0] * 9
FEATURES = pd.DataFrame({"class": CLASSES, "number": NUMBER})


def test_shares_are_those_of_regression() -> None:
    """Class means and lines explain what least squares explains, summed over units."""
    found = variance_by_feature(X, FEATURES, continuous=["number"])
    centred = X - X.mean(0)
    designs = {
        "class": CLASSES[:, None] == np.unique(CLASSES),
        "number": np.column_stack([NUMBER, np.ones(60)]),
    }
    for name, design in designs.items():
        fitted = design.astype(float) @ np.linalg.lstsq(design.astype(float), centred, rcond=None)[0]
        assert found.r2[name] == pytest.approx((fitted**2).sum() / (centred**2).sum(), rel=1e-10)
    assert list(found.columns) == ["r2", "pca_rank", "pca_r2", "n_selective_units", "selectivity"]
    assert list(found.index) == ["class", "number"]


def test_planted_shares_ranks_and_units() -> None:
    """Features of strength .55 and .05 take these shares, the first component, and their own units."""
    (system,) = feature_bias([(0.55, 0.05)], n_stimuli=400, n_units=300)
    samples = system.samples
    assert samples is not None
    found = variance_by_feature(system, samples[["easy", "hard", "bit_1"]], n_folds=5)
    np.testing.assert_allclose(found.r2, [0.55, 0.05, 0.0], atol=0.01)
    np.testing.assert_allclose(found.r2_cross_validated, [0.55, 0.05, 0.0], atol=0.015)
    assert found.r2_cross_validated["bit_1"] < 0 < found.r2["bit_1"]
    assert found.pca_rank.tolist()[:2] == [1, 2]
    assert found.pca_r2.iloc[:2].min() > 0.9
    assert found.pca_r2["bit_1"] < 0.2
    # one unit for each feature alone
    own = np.column_stack([samples["easy"], 1e-5 * samples["hard"], samples["hard"], np.zeros(400)])
    alone = variance_by_feature(own, samples[["easy", "hard"]])
    assert alone.n_selective_units.tolist() == [1, 2]
    np.testing.assert_allclose(alone.selectivity, [-1 / 3, 1 / 3], atol=0.03)


def test_share_of_noise_and_of_left_out_stimuli() -> None:
    """For noise the share is (classes - 1) / (n - 1); cross-validated it is not above 0."""
    noise = np.random.default_rng(1).normal(size=(60, 2000))
    found = variance_by_feature(noise, {"class": CLASSES}, n_folds=6, random_state=3)
    assert found.r2["class"] == pytest.approx(2 / 59, abs=0.005)
    assert -0.1 < found.r2_cross_validated["class"] < 0
    assert found.selectivity["class"] == pytest.approx(2 / 59, abs=0.005)


def test_left_out_share_is_that_of_fold_means() -> None:
    """Leaving single stimuli out: residual from the class mean of the others, against their mean."""
    found = variance_by_feature(X, {"class": CLASSES}, n_folds=60).r2_cross_validated["class"]
    scores = []
    for i in range(60):
        rest = np.arange(60) != i
        residual = X[i] - X[rest & (CLASSES[i] == CLASSES)].mean(0)
        scores.append(1 - (residual**2).sum() / ((X[i] - X[rest].mean(0)) ** 2).sum())
    assert found == pytest.approx(np.mean(scores), rel=1e-10)


def test_invariances_of_the_shares() -> None:
    """Scale, shift and rotation keep shares and components; a rotation moves the selectivity of units."""
    plain = variance_by_feature(X, FEATURES[["class"]])
    rotation = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    for changed in (1e200 * X, 1e-200 * X + 1e-200, X @ rotation):
        found = variance_by_feature(changed, FEATURES[["class"]])
        np.testing.assert_allclose(found.iloc[:, :3], plain.iloc[:, :3], rtol=1e-9)
    assert abs(found.selectivity.iloc[0] - plain.selectivity.iloc[0]) > 0.01
    assert (
        abs(variance_by_feature(X * np.arange(1, 9), FEATURES[["class"]]).r2.iloc[0] - plain.r2.iloc[0]) > 0.1
    )


STRENGTHS = ((0.55, 0.05), (0.05, 0.55), (0.55, 0.0))


@pytest.mark.parametrize(
    ("distance", "prevalence", "expected"),
    [
        ("correlation", (0.5, 0.5), (0.18, 0.994)),
        ("sq_euclidean", (0.5, 0.5), (0.18, 0.987)),
        ("correlation", (0.5, 0.3), (0.21, 0.994)),
    ],
)
def test_rsa_sees_the_large_feature(
    distance: str, prevalence: tuple[float, float], expected: tuple[float, float]
) -> None:
    """The same two features with swapped strengths correlate 2ab / (a^2 + b^2) = 0.18 where both are on half
    of the time, 0.21 where the hard one is on for 30 %; a system with the easy one alone correlates 0.99.
    """
    found = []
    for seed in range(5):
        systems = feature_bias(STRENGTHS, prevalence=prevalence, random_state=seed)
        a, b, c = (rdm(s.array(), distance=distance) for s in systems)
        found.append([compare_rdms(a, other, measure="pearson") for other in (b, c)])
    assert np.mean(found, axis=0)[0] == pytest.approx(expected[0], abs=0.012)
    assert np.mean(found, axis=0)[1] == pytest.approx(expected[1], abs=0.003)


def test_without_the_bias_the_systems_agree() -> None:
    """With equal strengths the two systems correlate above 0.97: it is the strengths that RSA sees."""
    a, b = (rdm(s.array()) for s in feature_bias([(0.3, 0.3), (0.3, 0.3)]))
    assert compare_rdms(a, b, measure="pearson") > 0.97


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: variance_by_feature(X, {}), InputError, "features has 0 entries; expected at least 1"),
        (lambda: variance_by_feature(X, FEATURES, continuous=["numbr"]), UnknownNameError, "closest: number"),
        (lambda: variance_by_feature(X, {"f": RNG.normal(size=60)}), InputError, r"pass continuous=\['f'\]"),
        (lambda: variance_by_feature(X, {"f": [1] * 60}), InputError, "feature 'f' name one class, 1"),
        (lambda: variance_by_feature(X, {"f": [1, 2]}), ShapeError, "feature 'f' have 2 rows, expected 60"),
        (lambda: variance_by_feature(X, {"f": [1, 2]}, continuous="f"), ShapeError, r"expected \(60,\)"),
        (
            lambda: variance_by_feature(X, {"f": [1.0] * 60}, continuous="f"),
            InputError,
            "is 1.0 for all 60 stimuli",
        ),
        (
            lambda: variance_by_feature(X, {"f": [np.nan] * 60}, continuous="f"),
            InputError,
            "needed for a line",
        ),
        (
            lambda: variance_by_feature(X, FEATURES[["class"]], n_folds=1),
            InputError,
            "n_folds=1; expected 2 to 60",
        ),
        (lambda: variance_by_feature(0 * X, FEATURES[["class"]]), InputError, "x does not vary"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    """Each wrong input is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        call()


W, E, C = "warm-up", "entropy-seeking", "compression-seeking"


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([50, 20, 30, 90, 60], [W, W, E, E, C]),
        ([1, 2, 3], [E, E, E]),
        ([3, 2, 1], [W, W, W]),
        ([3, 1, 2], [W, W, E]),
        ([1, 3, 2], [E, E, C]),
        ([5, 1, 1, 4], [W, W, W, E]),
        ([50, 49, 90, 89], [E, E, E, E]),
        ([50, 20, 40, 35, 90, 50, 55, 30], [W, W, E, E, E, C, C, C]),
    ],
)
def test_phases(series: list[float], expected: list[str]) -> None:
    """Fall, rise and fall are named, absent phases are absent, small wiggles join the phase around them."""
    assert phase_labels(series).tolist() == expected
    assert phase_labels(1e-200 * np.array(series, float)).tolist() == expected
    assert phase_labels(np.array(series) + 7.0).tolist() == expected


def test_phases_of_a_noisy_course() -> None:
    """A planted trough at 30 and peak at 120 of 200 checkpoints are found within five through noise."""
    steps = np.arange(200)
    course = np.interp(steps, [0, 30, 120, 199], [60, 20, 80, 40])
    labels = phase_labels(course + np.random.default_rng(0).normal(size=200))
    assert abs(int((labels == W).sum()) - 31) <= 5
    assert abs(int((labels != C).sum()) - 121) <= 5
    assert phase_labels([50, 49, 90, 89], smallest_change=0.0).tolist() == [W, W, E, C]


@pytest.mark.parametrize(
    ("series", "options", "error", "text"),
    [
        ([1, 2], {}, ShapeError, r"shape \(2,\); expected at least 3 checkpoints"),
        ([[1, 2, 3]], {}, ShapeError, r"shape \(1, 3\)"),
        (["a", "b", "c"], {}, InputError, "expected real numbers"),
        ([1, np.nan, 3], {}, InputError, "not finite at checkpoint 1"),
        ([4, 4, 4], {}, InputError, "is 4 at every checkpoint; it has no phases"),
        ([1, 2, 3], {"smallest_change": 1.0}, InputError, "smallest_change=1.0"),
    ],
)
def test_phases_refused(series: Any, options: Any, error: type[Exception], text: str) -> None:
    """Series without a course and wrong options are refused."""
    with pytest.raises(error, match=text):
        phase_labels(series, **options)
