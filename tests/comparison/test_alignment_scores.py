"""compare_scores: values, ceilings, intervals and p-values against their definitions; ids, seeds, NaN."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import MEASURES, compare, permutation_test
from brainalign.comparison._alignment_ceiling import half_means, split_orders
from brainalign.comparison._alignment_halves import Evaluation, compact, half_rows
from brainalign.comparison._measure import Measure
from brainalign.comparison.alignment_scores import compare_scores
from brainalign.types import Responses

RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(24, 3))
X = SIGNAL + 0.3 * RNG.normal(size=(24, 3))
TRIALS = SIGNAL @ RNG.normal(size=(3, 6)) + RNG.normal(size=(4, 24, 6))
Y = TRIALS.mean(axis=0)
FEW: dict[str, Any] = {"n_bootstrap": 40, "n_permutations": 39}
NONE: dict[str, Any] = {"n_bootstrap": 0, "n_permutations": 0}


def _units_apart(x: np.ndarray, y: np.ndarray) -> float:
    """A distance that is not symmetric and not invariant to rotations."""
    return float(np.abs(x[:, 0] - x[:, 0].mean() - y[:, 0] + y[:, 0].mean()).sum() / np.abs(y).sum())


def _record(**changes: Any) -> Measure:
    known = {
        "name": "apart",
        "function": _units_apart,
        "kind": "distance",
        "range": (0.0, np.inf),
        "invariances": frozenset(),
        "symmetric": False,
        "options": (),
        "represent": None,
        "between": None,
    }
    return replace(MEASURES["cka"], **{**known, **changes})


def _responses(values: np.ndarray, ids: list[str], **columns: Any) -> Responses:
    return Responses(values, pd.DataFrame({"stimulus_id": ids, **columns}), info={"design": "trials"})


def _same(a: Any, b: Any, atol: float = 0.0) -> None:
    """Two scores hold the same numbers."""
    np.testing.assert_allclose(a.values, b.values, atol=atol)
    np.testing.assert_allclose(a.interval, b.interval, atol=atol)
    np.testing.assert_allclose(a.p_values, b.p_values, atol=atol)
    if a.noise_ceiling is not None:
        for name in ("values", "low", "high"):
            np.testing.assert_allclose(
                getattr(a.noise_ceiling, name), getattr(b.noise_ceiling, name), atol=atol
            )


@pytest.mark.parametrize("measure", ["cka", "rsa_spearman", "apart"])
def test_numbers_are_those_of_their_definitions(measure: str) -> None:
    """Value, p, interval and ceiling equal a loop over compare with the same draws."""
    chosen = _record() if measure == "apart" else MEASURES[measure]
    found = compare_scores(X, repeats=TRIALS, measure=chosen, random_state=5, **FEW)
    value = compare(X, Y, measure=chosen)
    assert found.values[0] == pytest.approx(value, abs=1e-12)
    null = permutation_test(
        X, Y, measure=chosen, n_permutations=39, random_state=np.random.default_rng([5, 1])
    )
    assert found.p_values is not None
    assert found.p_values[0] == null.p_value
    halves = np.array([compare(X[r], Y[r], measure=chosen) for r in half_rows(24, 40, [5, 2])])
    factor = value / halves.mean() if measure == "apart" else 1.0
    expected = value + np.quantile(factor * (halves - halves.mean()), [0.025, 0.975])
    assert found.interval is not None
    np.testing.assert_allclose(found.interval[:, 0], np.clip(expected, *chosen.range), atol=1e-12)
    sides = [c for c in combinations(range(4), 2) if not chosen.symmetric or 0 in c]
    pairs = [
        (TRIALS[list(c)].mean(axis=0), TRIALS[[i for i in range(4) if i not in c]].mean(axis=0))
        for c in sides
    ]
    ceiling = np.mean([compare(a, b, measure=chosen) for a, b in pairs])
    assert found.noise_ceiling is not None
    assert found.noise_ceiling.values[0] == pytest.approx(ceiling, abs=1e-12)
    assert found.noise_ceiling.info["n_pairs"] == len(sides) == (3 if chosen.symmetric else 6)


def test_odd_numbers_of_stimuli_are_scaled() -> None:
    """With 25 stimuli the halves of 12 spread too much, by the root of 13 / 12."""
    x, y = np.vstack([X, X[:1] + 1.0]), np.vstack([Y, Y[:1]])
    found = compare_scores(x, y, random_state=1, n_bootstrap=30, n_permutations=0)
    halves = np.array([compare(x[r], y[r]) for r in half_rows(25, 30, [1, 2])])
    spread = np.quantile((halves - halves.mean()) * np.sqrt(12 / 13), [0.025, 0.975])
    assert found.interval is not None
    assert found.p_values is None
    np.testing.assert_allclose(found.interval[:, 0], compare(x, y) + spread, atol=1e-12)


def test_a_sum_over_stimuli_has_the_interval_of_its_mean() -> None:
    """A distance that grows with the stimuli gets 24 times the interval of the same mean, ceiling too."""

    def total(x: np.ndarray, y: np.ndarray) -> float:
        return _units_apart(x, y) * len(x)

    mean = compare_scores(X, repeats=TRIALS, measure=_record(), **FEW)
    whole = compare_scores(X, repeats=TRIALS, measure=_record(function=total), **FEW)
    assert mean.interval is not None
    assert mean.noise_ceiling is not None
    assert whole.noise_ceiling is not None
    np.testing.assert_allclose(whole.interval, 24 * mean.interval)
    np.testing.assert_allclose(whole.noise_ceiling.low, 24 * mean.noise_ceiling.low)
    np.testing.assert_allclose(whole.noise_ceiling.high, 24 * mean.noise_ceiling.high)


def test_halves_hold_no_stimulus_twice() -> None:
    """Half-samples have n // 2 different stimuli, and every stimulus enters about half of them."""
    rows = np.array(list(half_rows(11, 400, [0])))
    assert rows.shape == (400, 5)
    assert (np.diff(rows, axis=1) > 0).all()
    share = np.bincount(rows.ravel(), minlength=11) / 400
    assert np.abs(share - 5 / 11).max() < 4 * 0.025


def test_fields_that_others_read() -> None:
    """Metric, identity, counts, kind, options, bound and versions are on the scores."""
    found = compare_scores(
        X, repeats=TRIALS, measure="rsa_pearson", options={"distance": "sq_euclidean"}, **FEW
    )
    assert (found.metric, found.n_test, found.identity["analysis"]) == ("rsa_pearson", 24, "comparison")
    assert found.info["options"] == {"distance": "sq_euclidean"}
    assert (found.info["kind"], found.info["n_stimuli"], found.info["random_state"]) == ("similarity", 24, 0)
    assert found.info["versions"]["numpy"] == np.__version__
    assert found.info["permutation"]["n"] == 39
    assert found.info["nan_reasons"] == {}
    ceiling = found.noise_ceiling
    assert ceiling is not None
    assert (ceiling.method, ceiling.metric) == ("split_half", "rsa_pearson")
    assert "lower bound of the ceiling" in ceiling.info["bound"]
    assert ceiling.low[0] < ceiling.values[0] < ceiling.high[0]
    assert found.to_frame()["normalised"].iloc[0] == pytest.approx(found.values[0] / ceiling.values[0])
    apart = compare_scores(X, repeats=TRIALS, measure=_record(), **NONE)
    assert apart.noise_ceiling is not None
    assert "upper bound of" in apart.noise_ceiling.info["bound"]
    assert apart.interval is None
    assert apart.p_values is None
    assert compare_scores(X, Y, **NONE).info["no_ceiling"].startswith("neither")


def test_noiseless_model_lies_beyond_the_ceiling() -> None:
    """The true signal is closer to the mean of all repeats than the halves are to each other."""
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(60, 4))
    trials = signal + rng.normal(size=(6, 60, 4))
    distance = replace(
        MEASURES["cka"],
        name="cka_distance",
        function=lambda x, y: 1.0 - compare(x, y),
        kind="distance",
        range=(0.0, 2.0),
        represent=None,
        between=None,
    )
    near = compare_scores(signal, repeats=trials, **NONE)
    far = compare_scores(signal, repeats=trials, measure=distance, **NONE)
    assert near.noise_ceiling is not None
    assert far.noise_ceiling is not None
    assert near.values[0] > near.noise_ceiling.values[0] > 0.3
    assert far.values[0] < far.noise_ceiling.values[0]
    assert far.noise_ceiling.values[0] == pytest.approx(1.0 - near.noise_ceiling.values[0])


def test_distance_is_close_when_low() -> None:
    """A distance far below that of reordered stimuli has the smallest p, one far above the largest."""
    low = compare_scores(Y, Y + 0.01, measure=_record(), n_bootstrap=0, n_permutations=99)
    high = compare_scores(Y, -Y, measure=_record(), n_bootstrap=0, n_permutations=99)
    assert low.p_values is not None
    assert high.p_values is not None
    assert low.p_values[0] == 0.01
    assert high.p_values[0] > 0.9


def test_each_subject_has_a_score_and_a_ceiling() -> None:
    """Values are those of each subject, ceilings means over the others, in the direction other -> own."""
    people = [TRIALS[0], TRIALS[1][:, :4], TRIALS[2]]
    found = compare_scores(X, subjects=people, measure=_record(), **FEW)
    expected = [compare(X, p, measure=_record()) for p in people]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    bounds = [
        np.mean([compare(other, own, measure=_record()) for other in people if other is not own])
        for own in people
    ]
    assert found.noise_ceiling is not None
    assert found.units is not None
    assert found.p_values is not None
    np.testing.assert_allclose(found.noise_ceiling.values, bounds, atol=1e-12)
    assert found.noise_ceiling.method == "between_subjects"
    assert list(found.units["subject"]) == ["0", "1", "2"]
    assert list(found.units["n_units"]) == [6, 4, 6]
    mean = found.info["mean"]
    assert mean["value"] == pytest.approx(np.mean(expected))
    assert mean["n_subjects"] == 3
    assert mean["interval"][0] < mean["value"] < mean["interval"][1]
    nulls = [
        permutation_test(
            X, p, measure=_record(), n_permutations=39, random_state=np.random.default_rng([0, 1])
        ).null
        for p in people
    ]
    closer = (np.mean(nulls, axis=0) <= mean["value"] + 1e-12).sum()
    assert mean["p_value"] == pytest.approx((closer + 1) / 40)


def test_seed_decides_the_draws() -> None:
    """Equal seeds give equal scores; another seed other intervals and the same value."""
    first, again = (compare_scores(X, repeats=TRIALS, random_state=2, **FEW) for _ in range(2))
    _same(first, again)
    other = compare_scores(X, repeats=TRIALS, random_state=3, **FEW)
    assert other.values[0] == first.values[0]
    assert other.interval is not None
    assert first.interval is not None
    assert not np.array_equal(other.interval, first.interval)


def test_rows_are_joined_by_id() -> None:
    """The rows of y may come in any order; single trials as rows give what the array of repeats gives."""
    ids = [f"s{i}" for i in range(24)]
    x = _responses(X, ids)
    long = _responses(
        TRIALS.reshape(96, 6), ids * 4, repetition=np.repeat([7, 3, 9, 5], 24), subject=["m1"] * 96
    )
    ordered = compare_scores(x, long, repeats=True, **FEW)
    order = np.random.default_rng(4).permutation(96)
    shuffled = compare_scores(x, long.select(samples=order), repeats=True, **FEW)
    _same(ordered, shuffled, atol=1e-12)
    _same(ordered, compare_scores(X, repeats=TRIALS[[1, 3, 0, 2]], **FEW), atol=1e-12)
    assert ordered.info["joined"] == "by stimulus_id"
    assert ordered.identity["subject"] == "m1"
    people = [_responses(t, ids, subject=[f"p{i}"] * 24) for i, t in enumerate(TRIALS)]
    mixed = [p.select(samples=np.random.default_rng(i).permutation(24)) for i, p in enumerate(people)]
    found = compare_scores(x, subjects=people, **FEW)
    _same(found, compare_scores(x, subjects=mixed, **FEW), atol=1e-12)
    assert found.units is not None
    assert list(found.units.index) == ["p0", "p1", "p2", "p3"]


def test_unequal_repeats() -> None:
    """A stimulus with one row is left out of the ceiling; three rows are split into one and two."""
    ids = [f"s{i}" for i in range(24)]
    keep = [i for i in range(72) if i not in (24, 48, 49)]  # s0 has one row, s1 has two
    rows = _responses(TRIALS[:3].reshape(72, 6)[keep], [ids[i % 24] for i in keep])
    found = compare_scores(_responses(X, ids), rows, repeats=True, n_splits=7, **NONE)
    assert found.noise_ceiling is not None
    info = found.noise_ceiling.info
    assert (info["n_stimuli"], info["stimuli_with_one_repeat"]) == (23, 1)
    assert (info["repeats_min"], info["repeats_max"], info["n_pairs"]) == (1, 3, 7)
    present = np.ones((3, 2), dtype=bool)
    present[0, 1] = False
    a, b = half_means(TRIALS[:3, :2], present, np.array([1, 0, 2]))
    np.testing.assert_allclose(a, TRIALS[1, :2])
    np.testing.assert_allclose(b[0], TRIALS[[0, 2], 0].mean(axis=0))
    np.testing.assert_allclose(b[1], TRIALS[2, 1])


def test_splits_are_distinct_where_few_exist() -> None:
    """Five repeats have ten splits, each taken once; more are drawn at random."""
    present = np.ones((5, 3), dtype=bool)
    every = split_orders(present, 10, True, [0])
    assert len({frozenset(o[:2].tolist()) for o in every}) == len(every) == 10
    assert len(split_orders(present, 9, True, [0])) == 9
    assert len(split_orders(np.ones((2, 3), dtype=bool), 50, False, [0])) == 2


@pytest.mark.parametrize("width", [30, 500])
def test_fewer_coordinates_change_nothing(width: int) -> None:
    """More units than stimuli: the coordinates give the numbers of all units; without the claim none."""
    rng = np.random.default_rng(8)
    y = SIGNAL @ rng.normal(size=(3, width)) + rng.normal(size=(24, width))
    plain = replace(MEASURES["cka"], invariances=frozenset())
    _same(compare_scores(X, y, **FEW), compare_scores(X, y, measure=plain, **FEW), atol=1e-10)
    claim = Evaluation(MEASURES["cka"], {})
    assert compact(claim, X, y, compare(X, y))[1].shape == (24, 24)
    assert compact(Evaluation(plain, {}), X, y, 0.0)[1] is y
    false = _record(invariances=frozenset({"rotation"}))  # a claim that is not true is found out
    assert compact(Evaluation(false, {}), X, y, _units_apart(X, y))[1] is y


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_scale_of_the_input_does_not_matter(factor: float) -> None:
    """Huge and tiny responses give the numbers of plain ones."""
    plain = compare_scores(X, repeats=TRIALS, **FEW)
    _same(plain, compare_scores(X * factor, repeats=TRIALS * factor, **FEW), atol=1e-10)


def test_simulated_sources_are_named() -> None:
    """That y or a subject is simulated stays on the scores."""
    ids = [f"s{i}" for i in range(24)]
    x, y = _responses(X, ids), replace(_responses(Y, ids), info={"simulated": True})
    assert compare_scores(x, y, **NONE).info["simulated"] is True
    with pytest.warns(UserWarning, match="noise ceiling: NaN: one subject"):
        assert compare_scores(x, subjects=[y], **NONE).info["simulated"] is True
    assert "simulated" not in compare_scores(x, x, **NONE).info
