"""Linear predictivity against scikit-learn, planted truth, and the null where fits are perfect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from brainalign.comparison.predictivity import linear_predictivity
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


def planted(n: int, p: int, q: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, p, q])  # the same, whichever tests ran before
    x = rng.normal(size=(n, p)) + 5.0
    return x, x @ rng.normal(size=(p, q)) / np.sqrt(p) + noise * rng.normal(size=(n, q))


@pytest.mark.parametrize("metric", ["r", "r2"])
@pytest.mark.parametrize("shape", [(41, 4, 3), (24, 40, 2)])
def test_against_ridge_of_scikit_learn(metric: str, shape: tuple[int, int, int]) -> None:
    """With one penalty it is the held-out score of scikit-learn's ridge, per fold, then per unit."""
    x, y = planted(*shape, 0.5)
    penalty = 0.3
    absolute = penalty * np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1))
    scores = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        predicted = Ridge(alpha=absolute).fit(x[train], y[train]).predict(x[test])
        if metric == "r":
            scores.append([np.corrcoef(a, b)[0, 1] for a, b in zip(y[test].T, predicted.T, strict=True)])
        else:
            scores.append(r2_score(y[test], predicted, multioutput="raw_values"))
    found = linear_predictivity(x, y, metric=metric, alphas=[penalty])
    assert found == pytest.approx(np.mean(scores), abs=1e-8)
    # multiples of the spread of x: the unit of x does not matter
    assert linear_predictivity(1e3 * x, y, metric=metric, alphas=[penalty]) == pytest.approx(found, abs=1e-8)


def test_the_direction_is_what_it_says() -> None:
    """A part is predicted from the whole, not the whole from the part; both is the mean."""
    x = RNG.normal(size=(60, 6))
    y = x[:, :2] + 0.1 * RNG.normal(size=(60, 2))
    forth = linear_predictivity(x, y, cv=3)
    back = linear_predictivity(x, y, direction="y_to_x", cv=3)
    assert forth > 0.97
    assert back < 0.6
    assert back == pytest.approx(linear_predictivity(y, x, cv=3), abs=1e-12)
    both = linear_predictivity(x, y, direction="both", cv=3)
    assert both == pytest.approx((forth + back) / 2, abs=1e-12)


def test_planted_noise_ceiling() -> None:
    """Noise with the variance of the signal leaves r = root 1/2 for many stimuli."""
    x, y = planted(600, 30, 20, 1.0)
    assert linear_predictivity(x, y, cv=2) == pytest.approx(np.sqrt(0.5), abs=0.08)


@pytest.mark.parametrize("p", [5, 400])
def test_null_where_the_fit_to_the_training_stimuli_is_perfect(p: int) -> None:
    """Unrelated sides score about 0, with more units than stimuli too; r2 is not above 0."""
    rng = np.random.default_rng(p)
    x, y = rng.normal(size=(80, p)), rng.normal(size=(80, 30))
    assert abs(linear_predictivity(x, y, cv=2)) < 0.06
    assert -0.2 < linear_predictivity(x, y, metric="r2", cv=2) < 0.01


def test_the_test_stimuli_do_not_reach_the_fit() -> None:
    """Responses of the test stimuli that are replaced leave the predictions of the others alone."""
    x, y = planted(40, 30, 1, 0.2)
    folds = [(np.arange(30), np.arange(30, 40))]
    first = linear_predictivity(x, y, cv=folds)
    changed = y.copy()
    changed[30:] = changed[30:] * -1.0  # r of the same predictions with the negated responses
    assert linear_predictivity(x, changed, cv=folds) == pytest.approx(-first, abs=1e-6)


def test_folds_are_deterministic_and_named() -> None:
    """The same call has the same value; another seed, number of folds or splitter is another one."""
    x, y = planted(40, 5, 3, 1.0)
    value = linear_predictivity(x, y)
    assert linear_predictivity(x, y) == value
    assert linear_predictivity(x, y, random_state=1) != value
    blocks = linear_predictivity(x, y, cv=KFold(4))
    assert blocks == linear_predictivity(x, y, cv=list(KFold(4).split(x))) != value


def test_units_that_do_not_vary_are_left_out_and_counted() -> None:
    """Constant units change nothing but a warning; units that vary in no training fold count too."""
    x, y = planted(40, 4, 3, 0.3)
    value = linear_predictivity(x, y, cv=2)
    wide = np.column_stack([y, np.full(40, 0.1), np.zeros(40)])
    with pytest.warns(
        UserWarning, match="linear predictivity leaves out 2 of 5 units of y, which do not vary"
    ):
        assert linear_predictivity(x, wide, cv=2) == pytest.approx(value, abs=1e-12)
    with pytest.warns(UserWarning, match="leaves out 2 of 5 units of x"):
        linear_predictivity(wide, x, direction="y_to_x", cv=2)
    assert linear_predictivity(np.column_stack([x, np.ones(40)]), y, cv=2) == pytest.approx(value, abs=1e-6)


def test_nothing_to_score_is_nan_with_the_reason() -> None:
    """A constant side, and responses that vary in no training fold, are NaN and say why."""
    x, y = planted(20, 3, 2, 0.3)
    constant = np.full((20, 2), 0.1)
    with pytest.warns(UserWarning, match="linear predictivity is NaN: x does not vary over stimuli"):
        assert np.isnan(linear_predictivity(constant, y))
    with pytest.warns(UserWarning, match="linear predictivity is NaN: y does not vary over stimuli"):
        assert np.isnan(linear_predictivity(x, constant))
    late = np.zeros((20, 1))
    late[15:, 0] = np.arange(5)
    folds = [(np.arange(15), np.arange(15, 20))]
    with pytest.warns(UserWarning, match="no unit of y varies over both the training and the test stimuli"):
        assert np.isnan(linear_predictivity(x, late, cv=folds))
    assert linear_predictivity(late, y, cv=folds) == 0.0  # a constant prediction


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"direction": "x"}, InputError, "direction='x' is not one of 'x_to_y', 'y_to_x', 'both'"),
        ({"metric": "pearson"}, InputError, "metric='pearson' is not one of 'r', 'r2'"),
        ({"cv": 1}, InputError, "cv=1 over 12 stimuli; expected 2 to 6 folds"),
        ({"cv": 7}, InputError, "cv=7 over 12 stimuli; expected 2 to 6 folds"),
        ({"cv": "five"}, InputError, "cv='five'; expected a number of folds, a splitter or pairs"),
        ({"cv": [([0, 1, 2], [3, 4])]}, ShapeError, "fold 0 of cv has 3 training and 2 test stimuli"),
        ({"cv": [([0, 1, 2, 3, 4], [4, 5])]}, InputError, "fold 0 of cv has stimuli in both its training"),
        ({"alphas": [-1.0]}, InputError, "alpha"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Unknown names, folds that cannot be scored or overlap, and penalties below 0 are refused."""
    x = RNG.normal(size=(12, 3))
    with pytest.raises(error, match=text):
        linear_predictivity(x, x, **options)


def test_too_few_stimuli() -> None:
    """Nine stimuli are refused."""
    with pytest.raises(ShapeError, match="linear predictivity over 9 stimuli; it needs at least 10"):
        linear_predictivity(np.ones((9, 2)), np.ones((9, 2)))
