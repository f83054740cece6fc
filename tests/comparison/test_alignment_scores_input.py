"""compare_scores: what it refuses, and what is NaN with a reason."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import MEASURES
from brainalign.comparison._measure import Measure
from brainalign.comparison.alignment_scores import compare_scores
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = X[:, :2] + 0.5 * RNG.normal(size=(20, 2))
TRIALS = Y + 0.5 * RNG.normal(size=(3, 20, 2))
FEW: dict[str, Any] = {"n_bootstrap": 20, "n_permutations": 9}
IDS = [f"s{i}" for i in range(20)]


def _responses(values: np.ndarray, **columns: Any) -> Responses:
    return Responses(values, pd.DataFrame({"stimulus_id": IDS, **columns}), info={"design": "trials"})


def _record(function: Any, **changes: Any) -> Measure:
    alone: dict[str, Any] = {"represent": None, "between": None, "invariances": frozenset()}
    return replace(MEASURES["cka"], name="odd", function=function, **alone, **changes)


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"y": Y, "repeats": TRIALS, "subjects": [Y]}, InputError, "both repeats and subjects are given"),
        ({"y": Y, "subjects": [Y]}, InputError, "both y and subjects are given"),
        ({}, InputError, r"y is None; expected y, the single repeats behind it \(repeats=\), or subjects="),
        ({"subjects": []}, ShapeError, "subjects is empty; expected at least one subject"),
        ({"subjects": {"a": Y}}, InputError, "subjects is dict; expected a sequence of arrays"),
        ({"subjects": _responses(Y)}, InputError, "subjects is Responses; expected a sequence of arrays"),
        ({"subjects": [Y, Y[:9]]}, ShapeError, r"subjects\[1\], the y of this message: x has 20 rows and y"),
        ({"y": Y, "repeats": True}, InputError, "repeats=True takes the rows of each stimulus of y"),
        ({"y": _responses(Y), "repeats": TRIALS}, AlignmentError, "repeats is an array and x or y is Resp"),
        ({"repeats": Y}, ShapeError, r"repeats has shape \(20, 2\); expected \(n_repeats, n_stimuli, n_u"),
        ({"repeats": TRIALS[:0]}, ShapeError, r"repeats has shape \(0, 20, 2\); expected"),
        ({"repeats": TRIALS * np.nan}, InputError, "repeats .* has 120 values that are not finite"),
        ({"y": X, "repeats": TRIALS}, ShapeError, r"repeats has shape \(3, 20, 2\) and y \(20, 3\)"),
        ({"y": _responses(Y)}, AlignmentError, "one of x and y is Responses and the other a plain array"),
        ({"y": Y, "n_bootstrap": -1}, InputError, "n_bootstrap=-1; expected an integer of at least 0"),
        ({"y": Y, "n_bootstrap": 19}, InputError, "n_bootstrap=19; a 95 % interval needs at least 20"),
        ({"y": Y, "n_permutations": 1.5}, InputError, "n_permutations=1.5; expected an integer"),
        ({"y": Y, "n_splits": 0}, InputError, "n_splits=0; expected an integer of at least 1"),
        ({"y": Y, "random_state": True}, InputError, "random_state=True; expected an integer of at least 0"),
        ({"y": Y, "random_state": None}, InputError, "random_state=None; expected an integer"),
        ({"y": Y, "measure": "ckaa"}, UnknownNameError, "measure 'ckaa' does not exist"),
        ({"y": Y, "options": {"distance": "cosine"}}, UnknownNameError, "option of the measure 'cka'"),
    ],
)
def test_what_cannot_be_compared_is_refused(given: dict[str, Any], kind: type, text: str) -> None:
    """Each wrong argument names what was expected and found."""
    with pytest.raises(kind, match=text):
        compare_scores(X, **{**FEW, **given})


@pytest.mark.parametrize("samples", ["trials", "trajectories"])
def test_measures_of_other_samples_are_refused(samples: str) -> None:
    """Single trials and trajectories have no rows that could be halved."""
    other = _record(lambda x, y: 0.0, samples=samples)
    with pytest.raises(InputError, match=f"measure 'odd' compares {samples}; compare_scores halves and reor"):
        compare_scores(X, Y, measure=other)


def test_too_few_stimuli() -> None:
    """Seven stimuli cannot be halved; without an interval they can be compared; three cannot."""
    with pytest.raises(ShapeError, match="7 stimuli; the interval draws half of them, and with cka it needs"):
        compare_scores(X[:7], Y[:7])
    with pytest.raises(ShapeError, match="11 stimuli; .* at least 12. n_bootstrap=0 leaves the interval out"):
        compare_scores(X[:11], Y[:11], measure=_record(lambda x, y: 0.0, minimum=6))
    assert np.isfinite(compare_scores(X[:7], Y[:7], n_bootstrap=0, n_permutations=9).values[0])
    with pytest.raises(ShapeError, match="cka over 3 stimuli; it needs at least 4"):
        compare_scores(X[:3], Y[:3], n_bootstrap=0)


def test_measure_that_refuses_half_of_the_stimuli() -> None:
    """An option that needs more stimuli than a half holds is named together with the way out."""

    def needs_fifteen(x: np.ndarray, y: np.ndarray) -> float:
        if len(x) < 15:
            raise ShapeError(f"k = 14 neighbours of {len(x)} stimuli")
        return 0.5

    with pytest.raises(ShapeError, match="over half of the 20 stimuli, .* k = 14 neighbours of 10 .* n_boot"):
        compare_scores(X, Y, measure=_record(needs_fifteen), **FEW)


def test_subjects_of_one_name() -> None:
    """Two subjects that both call themselves m1 are refused with their places."""
    twice = [_responses(Y, subject=["m1"] * 20), _responses(X), _responses(Y, subject=["m1"] * 20)]
    with pytest.raises(InputError, match=r"subjects \[0, 2\] are all named 'm1'; a subject occurs once"):
        compare_scores(_responses(X), subjects=twice)


def test_undefined_value() -> None:
    """A constant brain has no value, no interval and no p; the reason is warned of and counted."""
    with pytest.warns(UserWarning, match="CKA is NaN: y does not vary"):
        found = compare_scores(X, np.ones((20, 2)), **FEW)
    assert found.interval is not None
    assert found.p_values is not None
    assert np.isnan([*found.values, *found.interval[:, 0], *found.p_values]).all()
    assert list(found.info["nan_reasons"].values()) == [1]


def test_one_undefined_subject() -> None:
    """A constant subject is NaN, the others keep their scores, the mean is theirs."""
    with (
        pytest.warns(UserWarning, match="noise ceiling: NaN: CKA is NaN"),
        pytest.warns(UserWarning, match="noise ceiling: 1 of 2 pairs left out: CKA is NaN.*of 2 in 3 scores"),
        pytest.warns(UserWarning, match="^CKA is NaN: y does not vary"),
    ):
        found = compare_scores(X, subjects=[Y, np.ones((20, 2)), Y + 0.1 * X[:, :2]], **FEW)
    assert np.isfinite(found.values).tolist() == [True, False, True]
    assert found.info["mean"]["n_subjects"] == 2
    assert found.info["mean"]["value"] == pytest.approx(np.nanmean(found.values))
    ceiling = found.noise_ceiling
    assert ceiling is not None
    assert np.isfinite(ceiling.values).tolist() == [True, False, True]
    assert np.isfinite(ceiling.low).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"repeats": TRIALS[:1]}, "no stimulus has two repeats"),
        ({"subjects": [Y]}, "one subject"),
        ({"repeats": np.stack([Y, np.ones_like(Y)])}, "CKA is NaN: y does not vary"),
    ],
)
def test_no_ceiling(given: dict[str, Any], reason: str) -> None:
    """One repeat, one subject or a flat half: the ceiling is NaN, the reason warned of and counted."""
    with pytest.warns(UserWarning, match=f"noise ceiling: NaN: {reason}"):
        found = compare_scores(X, **given, **FEW)
    assert found.noise_ceiling is not None
    assert np.isnan(found.noise_ceiling.values).all()
    (text,) = found.noise_ceiling.info["reasons"]
    assert text.startswith(f"NaN: {reason}")
    assert found.noise_ceiling.info["reasons"][text] == 1
    assert np.isfinite(found.values).all()


def test_few_stimuli_with_repeats() -> None:
    """Three stimuli with a second row are too few for the ceiling of a measure that needs four."""
    rows = [*range(20), 0, 1, 2]
    y = Responses(
        Y[rows] + 0.1 * RNG.normal(size=(23, 2)),
        pd.DataFrame({"stimulus_id": [IDS[i] for i in rows]}),
        info={"design": "trials"},
    )
    with pytest.warns(UserWarning, match="noise ceiling: NaN: 3 stimuli have two repeats; cka needs 4"):
        found = compare_scores(_responses(X), y, repeats=True, **FEW)
    assert found.noise_ceiling is not None
    assert found.noise_ceiling.info["stimuli_with_one_repeat"] == 17


def test_measure_that_saturates_in_half_samples() -> None:
    """Half-samples that all are 1 with a warning give no interval of width zero."""

    def saturates(x: np.ndarray, y: np.ndarray) -> float:
        if len(x) < 15:
            warnings.warn("it is 1 whatever x and y are", stacklevel=2)
            return 1.0
        return 0.6

    with pytest.warns(
        UserWarning, match="y: no interval: 20 of 20 half-samples gave a warning: it is 1 what"
    ):
        found = compare_scores(X, Y, measure=_record(saturates), **FEW)
    assert found.values[0] == 0.6
    assert found.interval is not None
    assert np.isnan(found.interval).all()
    assert sum(found.info["nan_reasons"].values()) == 1


def test_orders_without_a_value_count() -> None:
    """Orders of the stimuli in which the measure is NaN count as at least as close, and are reported."""

    def only_in_place(x: np.ndarray, y: np.ndarray) -> float:
        return 0.9 if np.array_equal(y, Y) else float("nan")

    with pytest.warns(UserWarning, match="y: no value in some permutations"):
        found = compare_scores(X, Y, measure=_record(only_in_place), n_bootstrap=0, n_permutations=9)
    assert found.p_values is not None
    assert found.p_values[0] == 1.0


def test_identical_systems() -> None:
    """A system compared with itself: value 1, an interval that ends at 1, the smallest p."""
    found = compare_scores(X, X, **FEW)
    assert found.interval is not None
    assert found.p_values is not None
    np.testing.assert_allclose([found.values[0], *found.interval[:, 0]], 1.0, atol=1e-9)
    assert found.interval.max() <= 1.0
    assert found.p_values[0] == 0.1


def test_awkward_columns_are_defined() -> None:
    """Integers, one unit, a constant column and duplicated rows give finite scores."""
    whole = np.arange(20)[:, None] % 7
    y = np.hstack([Y, np.full((20, 1), 3.0)])
    y[5:8] = y[5]
    found = compare_scores(whole, y, **FEW)
    assert found.interval is not None
    assert np.isfinite([*found.values, *found.interval[:, 0]]).all()
