"""compare_many: its values are those of compare, pair by pair, whatever is shared on the way."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import MEASURES, Measure, compare, compare_many
from brainalign.comparison.many_systems import default_measures
from brainalign.types import Responses

N = 16
QUICK: dict[str, dict[str, Any]] = {
    "linear_predictivity": {"alphas": [0.1, 10.0], "cv": 3},
    "gromov_wasserstein": {"n_restarts": 0},
    "ricci": {"k": 5, "allow_disconnected": True},
    "imd": {"k": 3, "allow_disconnected": True},
    "dsa": {"n_delays": 2},
}
OVER_STIMULI = [name for name, m in MEASURES.items() if m.samples == "stimuli"]
SLOW = ("gromov_wasserstein", "rtd", "ricci", "imd")  # nothing is shared of these: one case will do


def made(case: str) -> dict[str, np.ndarray]:
    """Systems of one width over N stimuli."""
    rng = np.random.default_rng(3)
    a, c = rng.normal(size=(2, N, 5)) + 0.5
    b = a @ rng.normal(size=(5, 5)) + 0.3 * rng.normal(size=(N, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    wide = {name: rng.normal(size=(N, 40)) for name in "abc"}
    return {
        "related": {"a": a, "b": b, "c": c},
        "more units than stimuli": wide,
        "equal and near": {"a": a, "turned": a @ rotation, "near": a + 1e-7 * c, "apart": a + 1e-3 * c},
        "repeated units": {"a": a[:, [0, 1, 0, 1, 0]], "b": b[:, [0, 1, 2, 2, 2]], "c": a},
        "constant": {"a": a, "flat": np.full((N, 5), 3.0), "c": np.c_[c[:, :4], np.ones(N)]},
        "huge": {"a": 1e150 * a, "b": 1e150 * b, "tiny": 1e-150 * c},
        "one direction leads": {"a": a * np.logspace(0, -9, 5), "b": b + 1e6, "c": c},
    }[case]


def single(x: np.ndarray, y: np.ndarray, measure: str, options: dict[str, Any] | None) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(x, y, measure=measure, options=options)


CASES = [
    "related",
    "more units than stimuli",
    "equal and near",
    "repeated units",
    "constant",
    "huge",
    "one direction leads",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_single_calls(case: str) -> None:
    """Every pair and every measure of one call equals compare to 1e-9, near 0 in its own digits."""
    systems = made(case)
    names = [m for m in OVER_STIMULI if case == "related" or m not in SLOW]
    table = compare_many(systems, measures=names, options={m: QUICK[m] for m in names if m in QUICK})
    assert set(table["measure"]) == set(names)
    pairs = len(systems) * (len(systems) - 1)
    for name, rows in table.groupby("measure", sort=False):
        assert len(rows) == (pairs // 2 if MEASURES[str(name)].symmetric else pairs)
        for row in rows.itertuples():
            expected = single(systems[row.a], systems[row.b], str(name), QUICK.get(str(name)))
            floor = 1e-13 * max(np.abs(systems[row.a]).max(), np.abs(systems[row.b]).max(), 1.0)
            if MEASURES[str(name)].kind == "similarity":
                floor = 1e-9
            assert row.value == pytest.approx(expected, rel=1e-9, abs=floor, nan_ok=True), (
                name,
                row.a,
                row.b,
            )


@pytest.mark.filterwarnings("ignore")
def test_widths_may_differ() -> None:
    """Systems of other widths, and pairs with `against`, equal compare, soft matching included."""
    rng = np.random.default_rng(5)
    layers = {"one": rng.normal(size=(N, 3)), "two": rng.normal(size=(N, 7))}
    regions = {"V1": rng.normal(size=(N, 4)), "IT": rng.normal(size=(N, 30))}
    names = [m for m in OVER_STIMULI if m not in (*SLOW, "permutation_procrustes")]
    options = {m: QUICK[m] for m in names if m in QUICK}
    table = compare_many(layers, against=regions, measures=names, options=options)
    assert len(table) == 4 * len(names)
    assert list(table[["a", "b"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("one", "V1"),
        ("one", "IT"),
        ("two", "V1"),
        ("two", "IT"),
    ]
    for row in table.itertuples():
        expected = single(layers[row.a], regions[row.b], row.measure, QUICK.get(row.measure))
        assert row.value == pytest.approx(expected, abs=1e-9), row.measure


@pytest.mark.filterwarnings("ignore")
def test_options_belong_to_their_measure() -> None:
    """Options change the measure that they are given to and no other, in every form."""
    systems = made("related")
    options: dict[str, dict[str, Any]] = {
        "rsa_tau_a": {"distance": "sq_euclidean"},
        "rsa_whitened_cosine": {"distance": "correlation"},
        "rsa_pearson": {"distance": "cosine"},
        "dcor": {"debiased": True},
        "cca": {"ridge": 0.2},
        "shape": {"alpha": 0.5},
        "mutual_knn": {"k": 3},
        "rsm_norm": {"squared": True},
        "best_match": {"absolute": True},
        "linear_predictivity": {"direction": "both", "alphas": [1.0], "cv": 3},
    }
    names = [*options, "rsa_spearman", "cka", "svcca", "jaccard", "bipartite_match"]
    for row in compare_many(systems, measures=names, options=options).itertuples():
        expected = single(systems[row.a], systems[row.b], row.measure, options.get(row.measure))
        assert row.value == pytest.approx(expected, abs=1e-9), row.measure


def test_a_record_of_the_caller_is_taken_at_its_word() -> None:
    """A Measure that borrows a known name is computed by its own function, not by the shared form."""
    own = dataclasses.replace(MEASURES["cca"], function=lambda x, y: float(x[0, 0] * y[0, 0]))
    other = dataclasses.replace(
        MEASURES["cka"], represent=lambda x: x @ x.T, between=lambda a, b: float(a[0, 0] + b[1, 1])
    )
    x, y = made("related")["a"], made("related")["b"]
    table = compare_many([x, y], measures=[own, other])
    expected = [x[0, 0] * y[0, 0], (x @ x.T)[0, 0] + (y @ y.T)[1, 1]]
    np.testing.assert_allclose(table["value"], expected)
    assert isinstance(own, Measure)


def responses(values: np.ndarray, ids: list[str], **more: Any) -> Responses:
    info = {"design": "trials", **more.pop("info", {})}
    return Responses(values, pd.DataFrame({"stimulus_id": ids}), info=info, **more)


@pytest.mark.filterwarnings("ignore")
def test_responses_are_joined_by_id() -> None:
    """Other orders of rows and repeats give the values of the arrays of means."""
    systems = made("related")
    ids = [f"s{i}" for i in range(N)]
    order = np.random.default_rng(1).permutation(N)
    noise = np.random.default_rng(2).normal(size=(N, 5))
    joined = {
        "a": responses(systems["a"], ids),
        "b": responses(systems["b"][order], [ids[i] for i in order]),
        "c": responses(np.vstack([systems["c"] + noise, systems["c"] - noise]), ids + ids),
    }
    names = ["cka", "pwcca", "rsa_tau_a", "mutual_knn", "linear_predictivity", "best_match", "rsm_norm"]
    options = {"linear_predictivity": QUICK["linear_predictivity"]}
    by_id = compare_many(joined, measures=names, options=options)
    by_position = compare_many(systems, measures=names, options=options)
    assert by_id.drop(columns="value").equals(by_position.drop(columns="value"))
    np.testing.assert_allclose(by_id["value"], by_position["value"], atol=1e-9)


def test_times_become_systems() -> None:
    """A time axis gives one system per time, named by its seconds; systems without one have no time."""
    rng = np.random.default_rng(4)
    ids = [f"s{i}" for i in range(N)]
    values = rng.normal(size=(N, 5, 2))
    units = pd.DataFrame({"unit": range(5)})
    sensors = responses(values, ids, units=units, times=np.array([0.1, 0.2]), info={"simulated": True})
    net = rng.normal(size=(N, 6))
    table = compare_many({"net": responses(net, ids)}, against={"meg": sensors}, measures=["cka", "nbs"])
    assert list(table.columns) == ["a", "a_time", "b", "b_time", "measure", "value", "p_value"]
    assert table["a_time"].isna().all()
    assert table["b_time"].tolist() == [0.1, 0.1, 0.2, 0.2]
    for row in table.itertuples():
        place = [0.1, 0.2].index(row.b_time)
        assert row.value == pytest.approx(compare(net, values[:, :, place], measure=row.measure), abs=1e-9)
    assert table.attrs["simulated"] is True
    assert table.attrs["crossed"] is True
    within = compare_many([sensors], measures=["cka"])
    assert within[["a_time", "b_time"]].to_numpy().tolist() == [[0.1, 0.2]]
    assert within["value"][0] == pytest.approx(compare(values[:, :, 0], values[:, :, 1]))


def test_a_constant_system_is_nan_with_one_warning_a_measure() -> None:
    """Values that are not defined are NaN, and one warning a measure counts them and says why."""
    systems = made("constant")
    names = [
        "cka",
        "nbs",
        "cca",
        "rsa_pearson",
        "rsa_tau_a",
        "mutual_knn",
        "procrustes",
        "dcor",
        "best_match",
    ]
    with pytest.warns(UserWarning, match="values are NaN") as caught:
        table = compare_many(systems, measures=[*names, "linear_predictivity"])
    missing = table[table["value"].isna()]
    assert set(missing["measure"]) == {*names, "linear_predictivity"}
    assert ((missing["a"] == "flat") | (missing["b"] == "flat")).all()
    told = [str(one.message) for one in caught]
    for name in (*names, "linear_predictivity"):
        (own,) = [text for text in told if text.startswith(f"{name}: ")]
        rows = table[table["measure"] == name]
        assert own.startswith(f"{name}: {rows['value'].isna().sum()} of {len(rows)} values are NaN; ")
        assert "does not vary over stimuli" in own or "no nearest neighbours" in own or "no unit of" in own
    assert len(told) == len(names) + 1
    assert all(one.filename == __file__ for one in caught)


def test_measures_by_default() -> None:
    """Without a choice the measures that share their work are computed, and no other."""
    known = default_measures()
    assert {"rsa_tau_a", "cka", "cka_rbf", "dcor", "pwcca", "bures", "shape", "cknna", "rsm_norm"} <= set(
        known
    )
    assert not {"soft_match", "linear_predictivity", "rtd", "imd", "dsa", "energy_shape"} & set(known)
    table = compare_many([made("related")["a"], made("related")["b"]])
    assert set(table["measure"]) == set(known)
    assert table["p_value"].isna().all()
    assert (table["a"].unique().tolist(), table["b"].unique().tolist()) == ([0, 1], [1, 0])
