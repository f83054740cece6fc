"""compare_many: what it refuses, and with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import compare_many, predictivity
from brainalign.comparison._ranked_forms import ScaledDistances, rsm_norm_of_distances
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

X = np.random.default_rng(0).normal(size=(12, 4))


def responses(ids: list[str], **columns: Any) -> Responses:
    table = pd.DataFrame({"stimulus_id": ids, **columns})
    return Responses(np.random.default_rng(1).normal(size=(len(ids), 3)), table, info={"design": "trials"})


IDS = [f"s{i}" for i in range(12)]


@pytest.mark.parametrize(
    ("systems", "options", "error", "text"),
    [
        (X, {}, InputError, "systems is a ndarray; expected a list of systems or a mapping of names"),
        ([], {}, ShapeError, "systems is empty; expected at least one system"),
        ([X], {}, ShapeError, "systems holds one system; expected two or more, or others to compare it"),
        ([X], {"against": {}}, ShapeError, "against is empty"),
        ([X, X[:5]], {}, ShapeError, "system 1 has 5 rows and 0 has 12; plain arrays are joined by position"),
        ([X, np.where(X > 1.5, np.nan, X)], {}, InputError, "system 1 has .* values that are not finite"),
        ([X[:3], X[:3]], {}, ShapeError, "cka over 3 stimuli; it needs at least 4"),
        ([X, responses(IDS)], {}, AlignmentError, "some systems are Responses and others plain arrays"),
        ([X, X], {"measures": "cka"}, InputError, "measures is 'cka'; expected a list of names"),
        ([X, X], {"measures": []}, InputError, "measures is empty"),
        ([X, X], {"measures": ["cka", "nbs", "cka"]}, InputError, "measures holds 'cka' 2 times"),
        ([X, X], {"measures": ["kca"]}, UnknownNameError, "cka"),
        ([X, X], {"options": {"nbs": {}}}, UnknownNameError, "measure in options"),
        ([X, X], {"options": {"cka": {"k": 3}}}, UnknownNameError, "option of the measure 'cka'"),
        ([X, X], {"options": ["cka"]}, InputError, r"options is \['cka'\]; expected a mapping of names"),
        ([X, X], {"options": {"cka": 3}}, InputError, "options is 3; expected a mapping"),
        ([X, X], {"measures": ["energy_shape"]}, InputError, "energy_shape is a measure of single trials"),
        (
            [responses(IDS), responses(IDS)],
            {"measures": ["dsa"]},
            InputError,
            "dsa compares trajectories, whose rows follow one another in time; compare_many joins",
        ),
    ],
)
def test_refused(systems: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Every wrong request says what was expected, what was found and what to do."""
    with pytest.raises(error, match=text):
        compare_many(systems, **{"measures": ["cka"], **options})


def test_stimuli_without_a_partner_are_named() -> None:
    """Ids that only one system has are listed with the names of both systems."""
    with pytest.raises(AlignmentError, match="x is system 'net', y is system 'V4': .* no partner: 's11'"):
        compare_many({"net": responses(IDS), "V4": responses([*IDS[:11], "t"])}, measures=["cka"])


def test_one_id_for_two_stimuli_is_refused() -> None:
    """The same id with another content hash in a later system is no shared stimulus."""
    first, third = (responses(IDS, content_hash=[start + "0" * 63] * 12) for start in "ab")
    with pytest.raises(AlignmentError, match="'s0' has content hash b00000000000 in system 2 and a0000000"):
        compare_many([first, responses(IDS), third], measures=["cka"])


def test_an_option_of_none_is_no_option() -> None:
    """None in the place of a measure's options means its defaults."""
    table = compare_many([X, X], measures=["cka"], options={"cka": None})  # type: ignore[dict-item]
    assert table["value"][0] == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_norm_beyond_float64_is_nan() -> None:
    """The norm of the difference of distances that no float64 holds is NaN, with the reason."""
    far = ScaledDistances(np.full((3, 3), 2.0), 1.7e308)
    with pytest.warns(UserWarning, match="rsm_norm is NaN: responses that differ by 1.7e"):
        assert np.isnan(rsm_norm_of_distances((far, ScaledDistances(np.zeros((3, 3)), 1.0))))


def test_targets_are_fitted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear predictivity of many systems is the same for any number of targets of a fit."""
    others = [(X + k, None) for k in range(3)] + [(X**2, np.arange(12)[::-1])]
    options: dict[str, Any] = {"alphas": [1.0], "cv": 2}
    at_once = [one() for one in predictivity.predictivity_of_many(X, others, **options)]
    monkeypatch.setattr(predictivity, "_TARGETS", 5)
    blocks = [one() for one in predictivity.predictivity_of_many(X, others, **options)]
    np.testing.assert_allclose(blocks, at_once, atol=1e-12)
    reversed_rows = predictivity.linear_predictivity(X, (X**2)[::-1], **options)
    assert blocks[3] == pytest.approx(reversed_rows, abs=1e-12)
    with pytest.raises(ShapeError, match="linear predictivity over 5 stimuli; it needs at least 10"):
        predictivity.predictivity_of_many(X[:5], [(X[:5], None)])
    with pytest.raises(InputError, match="direction='both' is not one of 'x_to_y'"):
        predictivity.predictivity_of_many(X, others, direction="both")
