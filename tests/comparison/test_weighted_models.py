"""Weighted models of RDMs: ridge, selection, interpolation, non-negative sums, in one protocol."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import Ridge

from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.rsa_crossvalidation import crossvalidate_rsa
from brainalign.comparison.rsa_with_controls import regression_rsa
from brainalign.comparison.weighted_models import (
    InterpolatedModel,
    NonNegativeModel,
    RidgeModel,
    SelectedModel,
    fit_weights,
)
from brainalign.errors import InputError, ShapeError

N = 24
ROWS, COLUMNS = np.triu_indices(N, 1)


def rdms(k: int, seed: int, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rdm(rng.normal(size=(n, 3)), distance="sq_euclidean") for _ in range(k)])


STACK = rdms(4, 0)
DATA = np.tensordot([0.0, 2.0, 0.0, 1.0], STACK, 1) + 0.3 * rdms(1, 9)[0]
ALL = 1.0 - np.eye(N)


def test_ridge_of_one_penalty_is_that_of_scikit_learn() -> None:
    """A single penalty gives the weights of Ridge on standardised RDMs with a constant."""
    x, y = STACK[:, ROWS, COLUMNS].T, DATA[ROWS, COLUMNS]
    scale = np.linalg.norm(x - x.mean(0), axis=0)
    expected = Ridge(alpha=0.3).fit(x / scale, y).coef_ / scale
    found = RidgeModel(STACK, penalties=[0.3]).fit(STACK, DATA, ALL)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_vanishing_penalty_is_least_squares_and_non_negative_least_squares() -> None:
    """The limits of the ridge are the two fits of regression RSA; the non-negative model is the second."""
    tiny = [1e-12]
    np.testing.assert_allclose(
        RidgeModel(STACK, tiny).fit(STACK, DATA, ALL), regression_rsa(DATA, STACK).weights[0], rtol=1e-6
    )
    negative = DATA - 3.0 * STACK[0]
    negative = negative - negative.min() * ALL
    expected = regression_rsa(negative, STACK, non_negative=True).weights[0]
    np.testing.assert_allclose(
        RidgeModel(STACK, tiny, non_negative=True).fit(STACK, negative, ALL), expected, atol=1e-6
    )
    np.testing.assert_allclose(NonNegativeModel(STACK).fit(STACK, negative, ALL), expected, atol=1e-6)
    assert expected[0] == 0


def test_the_penalty_is_the_best_of_refits_on_inner_folds() -> None:
    """Scores of penalties equal brute-force refits without the pairs of the held-out stimuli."""
    model = RidgeModel(STACK, penalties=[0.01, 0.1, 1.0, 10.0], n_folds=3)
    found = model.fit_with_penalty(STACK, DATA, ALL)
    label = np.random.default_rng(0).permutation(np.arange(N) % 3)
    expected = np.zeros(4)
    for fold in range(3):
        train = (label[ROWS] != fold) & (label[COLUMNS] != fold)
        test = (label[ROWS] == fold) & (label[COLUMNS] == fold)
        x, y = STACK[:, ROWS, COLUMNS].T, DATA[ROWS, COLUMNS]
        scale = np.linalg.norm(x[train] - x[train].mean(0), axis=0)
        for i, alpha in enumerate(model.penalties):
            coef = Ridge(alpha=alpha).fit(x[train] / scale, y[train]).coef_ / scale
            expected[i] += np.corrcoef(x[test] @ coef, y[test])[0, 1] / 3
    np.testing.assert_allclose(found.scores, expected, atol=1e-9)
    assert found.penalty == model.penalties[int(expected.argmax())]


def test_noise_chooses_a_strong_penalty_and_signal_a_weak_one() -> None:
    """The edge of the grid that is hit is reported."""
    exact = RidgeModel(STACK, penalties=[1e-6, 1.0]).fit_with_penalty(STACK, STACK[1], ALL)
    assert (exact.penalty, exact.edge) == (1e-6, -1)
    many = rdms(30, 4)
    weak = RidgeModel(many).fit_with_penalty(many, DATA + 5.0 * rdms(1, 77)[0], ALL)
    assert weak.penalty > exact.penalty


def test_weights_follow_the_units_of_an_rdm() -> None:
    """A model RDM in other units gives the same prediction; without standardisation it does not."""
    scaled = STACK * np.array([1.0, 100.0, 0.01, 1.0])[:, None, None]
    for standardise, same in ((True, True), (False, False)):
        first, second = (
            np.tensordot(RidgeModel(s, [0.5], standardise=standardise).fit(s, DATA, ALL), s, 1)
            for s in (STACK, scaled)
        )
        assert np.allclose(first, second, rtol=1e-6) == same


@pytest.mark.parametrize("rule", [RidgeModel, SelectedModel, InterpolatedModel, NonNegativeModel])
@pytest.mark.parametrize("unit", [2.0**530, 2.0**-530])
def test_weights_follow_any_unit_of_the_stack(rule, unit: float) -> None:
    """Model RDMs whose squares no float64 holds predict what they predict in another unit."""
    plain = rule(STACK).fit(STACK, DATA, ALL)
    sized = rule(STACK * unit).fit(STACK * unit, DATA, ALL)
    expected = plain if rule in (SelectedModel, InterpolatedModel) else plain / unit
    np.testing.assert_array_equal(sized, expected)
    assert plain.any()


def test_selection_takes_the_rdm_of_highest_correlation() -> None:
    """The weight is 1 for the model that correlates best over the training pairs."""
    found = SelectedModel(STACK).fit(STACK, DATA, ALL)
    scores = compare_rdms(DATA[None], STACK, measure="pearson")[0]
    assert found.tolist() == np.eye(4)[scores.argmax()].tolist()
    assert SelectedModel(STACK).fit(np.ones((2, N, N)) - np.eye(N), DATA, ALL).tolist() == [0.0, 0.0]


def test_interpolation_is_the_best_mixture_of_neighbours() -> None:
    """The closed form is as good as a bounded search over every pair of neighbours."""
    target = 0.3 * STACK[1] + 0.7 * STACK[2] + 0.1 * rdms(1, 5)[0]
    found = InterpolatedModel(STACK).fit(STACK, target, ALL)
    assert found.sum() == pytest.approx(1.0)
    assert np.flatnonzero(found).tolist() == [1, 2]
    assert found[2] == pytest.approx(0.7, abs=0.05)

    def loss(t: float, i: int) -> float:
        return -compare_rdms(target, (1 - t) * STACK[i] + t * STACK[i + 1], measure="pearson")

    best = max(
        -optimize.minimize_scalar(loss, bounds=(0, 1), args=(i,), method="bounded").fun for i in range(3)
    )
    mixed = np.tensordot(found, STACK, 1)
    assert compare_rdms(target, mixed, measure="pearson") == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("rule", [RidgeModel, SelectedModel, InterpolatedModel, NonNegativeModel])
def test_every_rule_enters_the_cross_validation_over_stimuli(rule) -> None:
    """A planted mixture is found on held-out stimuli, and the rule is reported as fitted."""
    data = np.stack([DATA + 0.3 * rdms(1, s)[0] for s in (20, 21, 22)])
    found = crossvalidate_rsa(data, {"m": rule(STACK), "other": STACK[0]}, measure="pearson")
    assert found.kinds == ("fitted", "fixed")
    assert found.scores[:, 0].min() > 0.5 > found.scores[:, 1].max()


def test_unrelated_models_score_zero_on_held_out_stimuli() -> None:
    """Ridge weights of unrelated RDMs have a mean score near 0 outside of the fit, far above it inside."""
    inside, outside = [], []
    for seed in range(30):
        data, stack = rdms(1, 1000 + seed), rdms(10, 2000 + seed)
        outside.append(
            crossvalidate_rsa(data, {"m": RidgeModel(stack, [0.01])}, measure="pearson").scores[0, 0]
        )
        fitted = fit_weights(RidgeModel(stack, [0.01]), data)
        inside.append(compare_rdms(data[0], fitted.predicted, measure="pearson"))
    assert abs(np.mean(outside)) < 3 * np.std(outside) / np.sqrt(30)
    assert np.mean(inside) > 0.15


def test_a_fit_never_sees_the_stimuli_that_it_leaves_out() -> None:
    """Weights do not change with the dissimilarities of stimuli outside of the training part."""
    train = np.arange(N) < 16
    changed = DATA.copy()
    changed[16:] = changed[:, 16:] = 7.0
    np.fill_diagonal(changed, 0.0)
    first, second = (fit_weights(RidgeModel(STACK), d, stimuli=train).weights for d in (DATA, changed))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, fit_weights(RidgeModel(STACK), changed).weights)


def test_subjects_are_pooled_at_equal_size() -> None:
    """A subject in other units does not outweigh the rest; subjects left out do not count."""
    data = np.stack([DATA, STACK[0], STACK[2]])
    first = fit_weights(NonNegativeModel(STACK), data, subjects=[0, 1]).weights
    data[1] *= 50.0
    data[2] *= 1e6
    np.testing.assert_allclose(fit_weights(NonNegativeModel(STACK), data, subjects=[0, 1]).weights, first)


def test_what_cannot_be_fitted_is_nan_with_the_reason() -> None:
    """Too few stimuli for inner folds, and a constant training RDM, warn and give NaN."""
    with pytest.warns(UserWarning, match="6 training stimuli cannot be split into 2 inner folds of 4"):
        found = fit_weights(RidgeModel(STACK), DATA, stimuli=range(6))
    assert np.isnan(found.weights).all()
    with pytest.warns(UserWarning, match="the training RDM is constant"):
        found = fit_weights(RidgeModel(STACK), ALL)
    assert np.isnan(found.weights).all()


def test_wrong_input_is_named() -> None:
    """Penalties, folds, sizes and empty training parts are refused."""
    with pytest.raises(InputError, match="expected 'auto' or positive numbers"):
        RidgeModel(STACK, penalties=[-1.0])
    with pytest.raises(InputError, match="n_folds=1; the penalty is chosen on held-out stimuli"):
        RidgeModel(STACK, n_folds=1)
    with pytest.raises(ShapeError, match="an interpolation needs at least 2"):
        InterpolatedModel(STACK[:1])
    with pytest.raises(ShapeError, match="the stack of the model is over 24 stimuli; expected 8"):
        fit_weights(RidgeModel(STACK), DATA[:8, :8])
    with pytest.raises(ShapeError, match="2 training stimuli and 1 subjects"):
        fit_weights(RidgeModel(STACK), DATA, stimuli=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ShapeError, match="at least 3"):
            SelectedModel(np.zeros((2, 2, 2)))
