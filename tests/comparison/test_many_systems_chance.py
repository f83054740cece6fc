"""compare_many against chance: nulls, p-values and calibrated values are those of a plain loop."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

from brainalign.comparison import MEASURES, compare, compare_many, permutation_test, rdm
from brainalign.comparison._ranked_forms import ranked_rdm, reordered_ranks
from brainalign.comparison._shared_work import Found, against_chance
from brainalign.errors import InputError

N, DRAWS = 14, 6
RNG = np.random.default_rng(8)
SHARED = RNG.normal(size=(N, 3))
SYSTEMS = {
    "a": SHARED @ RNG.normal(size=(3, 4)) + 0.4 * RNG.normal(size=(N, 4)),
    "b": SHARED @ RNG.normal(size=(3, 4)) + 0.4 * RNG.normal(size=(N, 4)) + 1.0,
    "c": RNG.normal(size=(N, 4)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "linear_predictivity": {"alphas": [1.0], "cv": 3},
    "rtd": {"n_batches": 1},
    "mutual_knn": {"k": 4},
    "dcor": {"debiased": True},
}
UNPAIRED = [m for m in MEASURES if not MEASURES[m].paired]
PAIRED = [m for m in MEASURES if MEASURES[m].samples == "stimuli" and m not in UNPAIRED]


def drawn(n_permutations: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(N) for _ in range(n_permutations)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [PAIRED[0::3], PAIRED[1::3], PAIRED[2::3]], ids=["1st", "2nd", "3rd"])
def test_nulls_are_those_of_reordered_rows(names: list[str]) -> None:
    """Value, mean of the null, p-value and calibrated value equal a loop of compare over y[order]."""
    options = {m: OPTIONS[m] for m in names if m in OPTIONS}
    table = compare_many(
        SYSTEMS,
        measures=names,
        calibrate="permutation",
        n_permutations=DRAWS,
        random_state=4,
        options=options,
    )
    orders = drawn(DRAWS, 4)
    for row in table.itertuples():
        if row.a == "c":
            continue
        measure, own = MEASURES[row.measure], options.get(row.measure)
        x, y = SYSTEMS[row.a], SYSTEMS[row.b]
        value = compare(x, y, measure=measure, options=own)
        null = np.array([compare(x, y[order], measure=measure, options=own) for order in orders])
        closer = null >= value - 1e-12 if measure.kind == "similarity" else null <= value + 1e-12
        assert row.value == pytest.approx(value, abs=1e-9), row
        assert row.null_mean == pytest.approx(null.mean(), abs=1e-9), row
        assert row.p_value == (closer.sum() + 1) / (DRAWS + 1), row
        best = 1.0 if measure.kind == "similarity" else 0.0
        assert row.calibrated == pytest.approx((value - null.mean()) / (best - null.mean()), abs=1e-8), row


@pytest.mark.parametrize("name", ["cka", "rsa_tau_a", "procrustes", "mutual_knn"])
def test_p_is_that_of_the_permutation_test(name: str) -> None:
    """With one seed the p-value is that of permutation_test, for similarities and distances."""
    table = compare_many(
        SYSTEMS, measures=[name], calibrate="permutation", n_permutations=39, random_state=2
    ).set_index(["a", "b"])
    for a, b in (("a", "b"), ("a", "c")):
        test = permutation_test(SYSTEMS[a], SYSTEMS[b], measure=name, n_permutations=39, random_state=2)
        assert table.loc[(a, b), "p_value"] == test.p_value
        assert table.loc[(a, b), "null_mean"] == pytest.approx(test.null.mean(), abs=1e-12)
    assert table.loc[("a", "b"), "p_value"] < 0.05 < table.loc[("a", "c"), "p_value"]


def test_calibrated_is_zero_by_chance_and_one_for_equal_systems() -> None:
    """Unrelated systems are centred on 0 whatever the bias, equal ones are 1; the seed decides."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 200))
    names = ["cka_biased", "cka", "nbs", "procrustes", "angular_procrustes", "dcor", "mutual_knn"]
    options: dict[str, Any] = {"measures": names, "calibrate": "permutation", "n_permutations": 60}
    table = compare_many([x, y, 2.0 * x[:, ::-1]], **options).set_index(["a", "b", "measure"])
    assert table.loc[(0, 1, "cka_biased"), "value"] > 0.8
    for name in names:
        assert abs(table.loc[(0, 1, name), "calibrated"]) < 0.06
        assert table.loc[(0, 2, name), "calibrated"] == pytest.approx(1.0, abs=1e-6)
        assert table.loc[(0, 2, name), "p_value"] == 1 / 61
    again = compare_many([x, y, 2.0 * x[:, ::-1]], **options).set_index(["a", "b", "measure"])
    assert again.equals(table)
    other = compare_many([x, y], random_state=1, **options)
    assert (other["null_mean"].to_numpy() != table.loc[(0, 1), "null_mean"].to_numpy()).all()


def test_units_of_measurement_do_not_matter() -> None:
    """Distances in the unit of the responses have the same p and calibrated value at 1e-150 and 1e150."""
    options: dict[str, Any] = {
        "measures": ["bures", "rsm_norm"],
        "calibrate": "permutation",
        "n_permutations": 19,
    }
    plain = compare_many([SYSTEMS["a"], SYSTEMS["b"]], **options)
    assert (plain["p_value"] <= 0.1).all()
    for scale in (1e-150, 1e150):
        table = compare_many([scale * SYSTEMS["a"], scale * SYSTEMS["b"]], **options)
        assert table["p_value"].tolist() == plain["p_value"].tolist()
        np.testing.assert_allclose(table["calibrated"], plain["calibrated"], rtol=1e-9)
        np.testing.assert_allclose(table["value"] / scale, plain["value"], rtol=1e-9)


@pytest.mark.parametrize("name", UNPAIRED)
def test_measures_without_pairing_have_no_p(name: str) -> None:
    """Where every order has the same value there is no test: NaN with the reason, and no draw is made."""
    calls = []

    def counted(x: np.ndarray, y: np.ndarray) -> float:
        calls.append(1)
        return 0.5

    measure = dataclasses.replace(MEASURES[name], function=counted)
    with pytest.warns(UserWarning, match=f"{name}: p-values are NaN: it does not use which stimulus") as told:
        table = compare_many(SYSTEMS, measures=[measure], calibrate="permutation", n_permutations=9)
    assert table[["p_value", "null_mean", "calibrated"]].isna().all(axis=None)
    assert table["value"].eq(0.5).all()
    assert len(calls) == 3
    assert [one.filename for one in told] == [__file__]


@pytest.mark.parametrize("levels", [None, 3])
def test_reordered_ranks_are_those_of_the_reordered_rdm(levels: int | None) -> None:
    """Sorted pairs in another order of the stimuli are a sort of the reordered RDM, with ties and without."""
    values = np.random.default_rng(6).normal(size=(N, 3))
    matrix = rdm(values if levels is None else np.round(values), distance="sq_euclidean")
    matrix = matrix if levels is None else np.round(matrix) % levels
    order = np.random.default_rng(7).permutation(N)
    moved = reordered_ranks(ranked_rdm(matrix), order).pairs
    expected = ranked_rdm(matrix[np.ix_(order, order)]).pairs
    assert moved is not None
    assert expected is not None
    np.testing.assert_array_equal(moved.dense, expected.dense)
    np.testing.assert_array_equal(moved.ties, expected.ties)
    rising = np.take_along_axis(moved.dense, moved.order, axis=1)
    np.testing.assert_array_equal(rising, np.sort(moved.dense, axis=1))
    assert (levels is None) is bool(moved.ties[0] == 0)


def test_draws_without_a_value_count_as_closer() -> None:
    """NaN in the null never makes a result look rare; nothing known leaves null mean and calibrated NaN."""
    null = np.array([0.1, np.nan, 0.2, 0.9])
    found = against_chance(MEASURES["cka"], Found(0.5, null))
    assert found["p_value"] == 3 / 5
    assert found["null_mean"] == pytest.approx(0.4)
    found = against_chance(MEASURES["cka"], Found(0.5, np.full(3, np.nan)))
    assert found["p_value"] == 1.0
    assert np.isnan([found["null_mean"], found["calibrated"]]).all()
    assert np.isnan(against_chance(MEASURES["cka"], Found(np.nan, null))["p_value"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"calibrate": "bootstrap"}, "calibrate"),
        ({"n_permutations": 0}, "n_permutations=0; expected a whole number of at least 1"),
        ({"n_permutations": 2.5}, "n_permutations=2.5; expected a whole number"),
        ({"measures": ["dsa"]}, "dsa compares trajectories, which have no stimuli to exchange"),
    ],
)
def test_refused(options: dict[str, Any], text: str) -> None:
    """Wrong requests for a calibration say what was expected."""
    given: dict[str, Any] = {"calibrate": "permutation", "measures": ["cka"], **options}
    with pytest.raises((InputError, ValueError), match=text):
        compare_many(SYSTEMS, **given)


def test_n_permutations_is_kept() -> None:
    """The number of draws is told, for a correction over the table to know its smallest p-value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = compare_many(SYSTEMS, measures=["cka"], calibrate="permutation", n_permutations=7)
    assert table.attrs["n_permutations"] == 7
    assert compare_many(SYSTEMS, measures=["cka"]).attrs["n_permutations"] == 0
