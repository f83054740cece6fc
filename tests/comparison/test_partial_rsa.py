"""Partial correlations and regression of RDMs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_with_controls import partial_rsa, regression_rsa
from brainalign.errors import InputError, ShapeError
from brainalign.types import RDMs

N = 12
RNG = np.random.default_rng(0)
ROWS, COLUMNS = np.triu_indices(N, 1)


def rdms(k: int) -> np.ndarray:
    """RDMs of three-dimensional patterns."""
    return np.stack([rdm(RNG.normal(size=(N, 3)), distance="sq_euclidean") for _ in range(k)])


DATA, MODELS, CONTROLS = rdms(4), rdms(3), rdms(2)


def vectors(stack: np.ndarray) -> np.ndarray:
    return stack[..., ROWS, COLUMNS]


def residuals(y: np.ndarray, controls: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(y)), *controls])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


def by_hand(data: np.ndarray, model: np.ndarray, controls: np.ndarray, ranks: bool) -> float:
    if ranks:
        data, model, controls = stats.rankdata(data), stats.rankdata(model), stats.rankdata(controls, axis=1)
    return float(stats.pearsonr(residuals(data, controls), residuals(model, controls)).statistic)


@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_equals_residuals_by_least_squares(measure: str) -> None:
    """Every entry of the table is the correlation of the two residuals."""
    out = partial_rsa(DATA, MODELS, CONTROLS, measure=measure)
    expected = [
        [by_hand(d, m, vectors(CONTROLS), measure == "spearman") for m in vectors(MODELS)]
        for d in vectors(DATA)
    ]
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize(("measure", "theirs"), [("pearson", "partial"), ("spearman", "partial-spearman")])
def test_without_controls_each_model_given_the_others_as_mne_rsa(measure: str, theirs: str) -> None:
    """Controlled for the other models, the values equal the partial metrics of mne-rsa."""
    mne_rsa = pytest.importorskip("mne_rsa")
    out = partial_rsa(DATA, MODELS, measure=measure)
    expected = [mne_rsa.rsa(d, list(vectors(MODELS)), metric=theirs) for d in vectors(DATA)]
    np.testing.assert_allclose(out, expected, atol=1e-10)


def test_planted_mediation_disappears_and_a_planted_part_stays() -> None:
    """A model that is the control plus noise loses its correlation; what it adds to the data is found."""
    rng = np.random.default_rng(1)
    patterns = rng.normal(size=(40, 30))
    control = rdm(patterns[:, :15], distance="sq_euclidean")
    own = rdm(patterns[:, 15:], distance="sq_euclidean")
    model = control + 0.3 * rdm(rng.normal(size=(40, 5)), distance="sq_euclidean")
    data = control + 0.3 * rdm(rng.normal(size=(40, 5)), distance="sq_euclidean")
    assert partial_rsa(data, model, control, measure="pearson") == pytest.approx(0.0, abs=0.1)
    assert partial_rsa(control + own, own, control, measure="pearson") == pytest.approx(1.0, abs=1e-9)


def test_unrelated_rdms_have_no_partial_correlation() -> None:
    """The mean over 60 unrelated pairs is about zero."""
    assert abs(partial_rsa(rdms(6), rdms(10), rdms(1)).mean()) < 0.06


@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_a_given_a_is_nan_with_the_reason(measure: str) -> None:
    """A with A given A has nothing left: NaN and a count, neither 0 nor 1; other models keep values."""
    with pytest.warns(UserWarning, match="1 of 2 partial correlations are NaN: nothing of the model"):
        out = partial_rsa(MODELS[0], MODELS[:2], MODELS[2:] * 0 + MODELS[1], measure=measure)
    assert np.isfinite(out[0, 0])
    assert np.isnan(out[0, 1])
    with pytest.warns(UserWarning, match="1 of 1 partial correlations are NaN"):
        assert np.isnan(partial_rsa(DATA[0], DATA[0], 2.5 * DATA[0], measure=measure))


def test_invariances() -> None:
    """Linear maps of any RDM change nothing (Pearson); a square of the control does."""
    value = partial_rsa(DATA[0], MODELS[0], CONTROLS, measure="pearson")
    mapped = 3.0 * CONTROLS + (1 - np.eye(N))
    assert partial_rsa(2 * DATA[0], 5 * MODELS[0], mapped, measure="pearson") == pytest.approx(value)
    assert abs(partial_rsa(DATA[0], MODELS[0], CONTROLS**2, measure="pearson") - value) > 1e-4
    ranks = partial_rsa(DATA[0], MODELS[0], CONTROLS)
    assert partial_rsa(DATA[0] ** 2, MODELS[0], CONTROLS**3) == pytest.approx(ranks)


def test_missing_pairs_stay_with_their_rdm() -> None:
    """A pair missing in one data RDM is left out for it alone."""
    data = DATA.copy()
    data[1, 0, 5] = data[1, 5, 0] = np.nan
    out = partial_rsa(data, MODELS, CONTROLS, measure="pearson")
    np.testing.assert_allclose(
        out[[0, 2, 3]], partial_rsa(DATA[[0, 2, 3]], MODELS, CONTROLS, measure="pearson")
    )
    keep = ~np.isnan(vectors(data)[1])
    expected = by_hand(vectors(data)[1][keep], vectors(MODELS)[2][keep], vectors(CONTROLS)[:, keep], False)
    assert out[1, 2] == pytest.approx(expected)
    controls = CONTROLS.copy()
    controls[0, 2, 3] = controls[0, 3, 2] = np.nan
    known = ~np.isnan(vectors(controls)[0])
    expected = by_hand(vectors(DATA)[0][known], vectors(MODELS)[0][known], vectors(controls)[:, known], False)
    assert partial_rsa(DATA[0], MODELS[0], controls, measure="pearson") == pytest.approx(expected)
    fit = regression_rsa(data, MODELS)
    assert fit.n_pairs.tolist() == [66, 65, 66, 66]
    np.testing.assert_allclose(fit.weights[0], regression_rsa(DATA[0], MODELS).weights[0])


def test_regression_equals_least_squares() -> None:
    """Weights, intercept, R2 and unique R2 equal fits by hand, for a stack at once."""
    fit = regression_rsa(DATA, MODELS)
    for row, y in enumerate(vectors(DATA)):
        x = np.column_stack([np.ones(len(y)), *vectors(MODELS)])
        w = np.linalg.lstsq(x, y, rcond=None)[0]
        np.testing.assert_allclose([fit.intercept[row], *fit.weights[row]], w, atol=1e-10)
        total = ((y - y.mean()) ** 2).sum()
        r2 = 1 - ((y - x @ w) ** 2).sum() / total
        assert fit.r2[row] == pytest.approx(r2)
        for j in range(3):
            less = np.delete(x, j + 1, axis=1)
            left = y - less @ np.linalg.lstsq(less, y, rcond=None)[0]
            assert fit.unique_r2[row, j] == pytest.approx(r2 - 1 + (left**2).sum() / total, abs=1e-10)


def test_regression_equals_mne_rsa() -> None:
    """The weights equal the regression metric of mne-rsa."""
    mne_rsa = pytest.importorskip("mne_rsa")
    expected = mne_rsa.rsa(vectors(DATA)[0], list(vectors(MODELS)), metric="regression")
    np.testing.assert_allclose(regression_rsa(DATA[0], MODELS).weights[0], expected, atol=1e-10)


def test_non_negative_weights_are_the_optimum() -> None:
    """Non-negative weights reach the optimum of a bounded solver and recover a planted sum."""
    planted = 2.0 * MODELS[0] + 0.5 * MODELS[2] + 0.3
    planted[np.arange(N), np.arange(N)] = 0
    fit = regression_rsa(np.concatenate([DATA - 0.5 * MODELS[:1], planted[None]]), MODELS, non_negative=True)
    np.testing.assert_allclose(fit.weights[-1], [2.0, 0.0, 0.5], atol=1e-9)
    assert fit.intercept[-1] == pytest.approx(0.3)
    assert (fit.weights >= 0).all()
    assert (fit.weights == 0).any()
    for row, y in enumerate(vectors(DATA - 0.5 * MODELS[:1])):
        x = np.column_stack([np.ones(len(y)), *vectors(MODELS)])
        best = optimize.lsq_linear(x, y, bounds=([-np.inf, 0, 0, 0], np.inf), tol=1e-14)
        r2 = 1 - 2 * best.cost / ((y - y.mean()) ** 2).sum()
        assert fit.r2[row] == pytest.approx(r2, abs=1e-8)
        assert fit.r2[row] <= regression_rsa(DATA[row] - 0.5 * MODELS[0], MODELS).r2[0] + 1e-12


def test_dependent_models_and_constant_data_are_counted() -> None:
    """Collinear models have no weights and one R2; a constant data RDM has no fit."""
    twice = np.stack([MODELS[0], MODELS[1], MODELS[0] + 2 * MODELS[1]])
    with pytest.warns(UserWarning, match="1 of 1 fits have no weights .NaN.: the model RDMs are constant or"):
        fit = regression_rsa(DATA[0], twice)
    assert np.isnan(fit.weights).all()
    assert fit.r2[0] == pytest.approx(regression_rsa(DATA[0], MODELS[:2]).r2[0])
    np.testing.assert_allclose(fit.unique_r2, 0, atol=1e-12)
    with pytest.warns(UserWarning, match="1 of 2 fits are NaN: the data RDM is constant"):
        fit = regression_rsa(np.stack([1 - np.eye(N), DATA[0]]), MODELS)
    assert np.isnan(fit.r2[0])
    assert np.isfinite(fit.r2[1])


def test_one_model_has_all_of_its_r2() -> None:
    """With one model, R2 is the squared correlation and all of it is unique."""
    fit = regression_rsa(DATA[0], MODELS[0])
    r = stats.pearsonr(vectors(DATA)[0], vectors(MODELS)[0]).statistic
    assert fit.r2[0] == pytest.approx(r**2)
    assert fit.unique_r2[0, 0] == pytest.approx(r**2)


def test_rdms_are_joined_by_id() -> None:
    """RDMs in different orders of stimuli give the values of sorted arrays."""
    ids = [f"s{i}" for i in range(N)]
    order = RNG.permutation(N)
    moved = RDMs(MODELS[:, order][:, :, order], [ids[i] for i in order])
    out = partial_rsa(RDMs(DATA, ids), moved, RDMs(CONTROLS, ids))
    np.testing.assert_allclose(out, partial_rsa(DATA, MODELS, CONTROLS), atol=1e-12)
    part = RDMs(MODELS[:, :9, :9], ids[:9])
    np.testing.assert_allclose(
        regression_rsa(RDMs(DATA, ids), part, join="intersection").weights,
        regression_rsa(DATA[:, :9, :9], MODELS[:, :9, :9]).weights,
    )


def test_wrong_inputs() -> None:
    """Each wrong input is refused with what was found."""
    with pytest.raises(ShapeError, match="one model RDM and no control_rdms"):
        partial_rsa(DATA, MODELS[0])
    with pytest.raises(InputError, match="measure='tau' is not one of"):
        partial_rsa(DATA, MODELS, CONTROLS, measure="tau")
    with pytest.raises(ShapeError, match="data_rdms is over 12 stimuli and control_rdms over 8"):
        partial_rsa(DATA, MODELS, CONTROLS[:, :8, :8])
    with pytest.raises(ShapeError, match="RDMs over 3 stimuli; a fit of RDMs needs at least 4"):
        regression_rsa(DATA[:, :3, :3], MODELS[:, :3, :3])
    with pytest.raises(InputError, match="plain arrays have none; give RDMs"):
        regression_rsa(DATA, MODELS, join="union")
    with pytest.raises(InputError, match="model_rdms is ndarray; a join by stimulus_id needs RDMs"):
        regression_rsa(RDMs(DATA, [f"s{i}" for i in range(N)]), MODELS)
