"""compare_models: paired differences for any scores, corrected over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brainalign.comparison.model_tests import compare_models
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(12, 1)) + 0.3 * RNG.normal(size=(12, 3)) + np.array([0.0, 0.05, 0.8])


def test_every_sign_pattern_by_hand() -> None:
    """p-values of many flips agree with the share of all 2^8 sign patterns, alone and over pairs."""
    small = SCORES[:8]
    r = compare_models(small, n_draws=20000)
    patterns = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    a, b = np.triu_indices(3, 1)
    pairs = small[:, a] - small[:, b]
    flipped = patterns[:, :, None] * pairs
    t = flipped.mean(1) / (flipped.std(1, ddof=1) / np.sqrt(8))
    observed = np.abs(stats.ttest_1samp(pairs, 0).statistic)
    np.testing.assert_allclose(
        r.p_values[a, b], (np.abs(t) >= observed - 1e-9).mean(0), atol=4 * np.sqrt(0.25 / 20000)
    )
    largest = np.abs(t).max(1)
    exact = (largest[:, None] >= observed - 1e-9).mean(0)
    np.testing.assert_allclose(r.p_corrected[a, b], exact, atol=4 * np.sqrt(0.25 / 20000))
    np.testing.assert_allclose(r.standard_errors[a, b], stats.sem(pairs), atol=1e-12)


def test_planted_best_model() -> None:
    """The better model is found over subjects and over stimuli; the table holds every pair once."""
    for over in ("subjects", "stimuli"):
        r = compare_models(SCORES, over=over, names=["a", "b", "c"], n_draws=999)
        assert r.best() == "c"
        frame = r.to_frame().set_index(["model_a", "model_b"])
        assert frame.p_corrected["a", "c"] < 0.01
        assert frame.p_corrected["a", "b"] > 0.05
        assert (frame["over"] == over).all()
    assert np.isnan(np.diagonal(r.p_values)).all()
    np.testing.assert_allclose(r.differences, -r.differences.T)


@pytest.mark.parametrize("n_models", [2, 4])
def test_null_models_differ_in_five_percent_of_families(n_models: int) -> None:
    """Equal models: some pair has a corrected p <= 0.05 in 5 % of studies, by sign flips."""
    rng = np.random.default_rng(1)
    n = 400
    hits = 0
    for _ in range(n):
        r = compare_models(rng.normal(size=(10, n_models)), n_draws=199, random_state=rng)
        hits += int(np.nanmin(r.p_corrected) <= 0.05)
    assert stats.binom.ppf(0.001, n, 0.05) <= hits <= stats.binom.ppf(0.999, n, 0.05)


def test_null_over_both_factors() -> None:
    """Scores with effects of subjects and of stimuli: at most 5 % false positives over both."""
    rng = np.random.default_rng(2)
    n, hits = 300, 0
    for _ in range(n):
        table = rng.normal(size=(10, 1, 2)) + rng.normal(size=(15, 2)) + rng.normal(size=(10, 15, 2))
        hits += int(compare_models(table, n_draws=300, random_state=rng).p_values[0, 1] <= 0.05)
    assert hits <= stats.binom.ppf(0.999, n, 0.05)


def test_result_and_rdms() -> None:
    """An RsaResult and the RDMs behind it give the same comparison; the true model is best."""
    x = RNG.normal(size=(15, 3))
    true = np.linalg.norm(x[:, None] - x[None], axis=-1)
    e = np.triu(RNG.normal(size=(6, 15, 15)), 1)
    data = true + 0.5 * (e + e.transpose(0, 2, 1))
    y = RNG.normal(size=(15, 3))
    models = {"true": true, "other": np.linalg.norm(y[:, None] - y[None], axis=-1)}
    result = bootstrap_rsa(data, models, measure="rho_a", n_boot=300)
    from_result = compare_models(result)
    from_rdms = compare_models(data, models, measure="rho_a", n_draws=300)
    np.testing.assert_array_equal(from_result.p_corrected, from_rdms.p_corrected)
    assert from_result.best() == "true"
    assert from_result.p_corrected[0, 1] < 0.05
    assert (from_result.method, from_result.over) == ("bootstrap", ("stimuli", "subjects"))
    with pytest.raises(InputError, match="for a result drawn over stimuli and subjects"):
        compare_models(result, over="subjects")
    with pytest.raises(ShapeError, match="a result of 1 model; a comparison needs at least 2"):
        compare_models(data, {"true": true}, measure="rho_a", n_draws=5)


def test_axes_that_are_averaged_and_units_left_out() -> None:
    """Three axes over one factor equal the mean over the other; a unit with NaN is left out of all models."""
    table = SCORES[:, None] + 0.1 * RNG.normal(size=(12, 7, 3))
    a = compare_models(table, over="subjects", n_draws=50)
    b = compare_models(table.mean(1), over="subjects", n_draws=50)
    np.testing.assert_array_equal(a.p_values, b.p_values)
    assert compare_models(table, over="stimuli", n_draws=50).over == ("stimuli",)
    holed = np.vstack([SCORES, [np.nan, 1, 1]])
    with pytest.warns(UserWarning, match="1 of 13 subjects have no score of some model"):
        lacking = compare_models(holed, n_draws=50)
    np.testing.assert_array_equal(lacking.p_values, compare_models(SCORES, n_draws=50).p_values)


def test_equal_models_have_p_one() -> None:
    """A model compared with its copy has difference 0 and p = 1; one that is always better has the
    smallest p.
    """
    copies = np.column_stack([SCORES[:, 0], SCORES[:, 0], SCORES[:, 0] + 1.0])
    r = compare_models(copies, n_draws=200)
    assert (r.differences[0, 1], r.p_values[0, 1]) == (0.0, 1.0)
    assert r.p_corrected[0, 2] <= 2 / 201


def test_wrong_inputs() -> None:
    """Axes, factors and names that do not fit are named."""
    with pytest.raises(ShapeError, match=r"scores have shape \(5,\); expected \(n_units, n_models\)"):
        compare_models(np.zeros(5))
    with pytest.raises(InputError, match="over both stimuli and subjects needs scores"):
        compare_models(SCORES, over=("stimuli", "subjects"))
    with pytest.raises(InputError, match="over='voxels'; expected 'stimuli', 'subjects' or"):
        compare_models(SCORES, over="voxels")
    with pytest.raises(ShapeError, match=r"scores of \(1,\) usable units and 3 models"):
        compare_models(SCORES[:1])
    with pytest.raises(ShapeError, match="2 names for 3 models"):
        compare_models(SCORES, names=["a", "b"])
    with pytest.raises(InputError, match="n_draws=0; expected at least 1"):
        compare_models(SCORES, n_draws=0)
    table = np.zeros((3, 3, 2))
    table[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="scores have 1 values that are not finite"):
        compare_models(table)
