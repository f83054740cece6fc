"""compare: names, joins of stimuli, of trials and of trajectories, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from measure_cases import QUICK, ROTATIONS, related, unrelated, value

from brainalign.comparison import MEASURES, compare, compare_layers, compare_rdms, permutation_test, rdm
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
X, Y = related("cka", 0)
N, P = X.shape
IDS = [f"s{i}" for i in range(N)]
STIMULI = [name for name, m in MEASURES.items() if m.samples == "stimuli"]
MATRICES = [name for name, m in MEASURES.items() if m.represent is not None]


def responses(values: np.ndarray, ids: list[str], **columns: list[str]) -> Responses:
    return Responses(values, pd.DataFrame({"stimulus_id": ids, **columns}), info={"design": "trials"})


def repeated(trials: np.ndarray, ids: list[str]) -> Responses:
    """Single trials (n, r, p) as rows, one repeat of all stimuli after the other."""
    return responses(trials.transpose(1, 0, 2).reshape(-1, trials.shape[-1]), ids * trials.shape[1])


def test_names_and_records() -> None:
    """36 names, each with a text for every question, a sensible range and options of its function."""
    assert len(MEASURES) == 36
    for name, m in MEASURES.items():
        assert name == m.name
        assert all(text.strip() for text in (m.cost, m.reference, m.answers, m.blind_to, m.bias))
        assert m.range[0] < m.range[1]
        assert m.kind == "similarity" or m.range[0] == 0.0
        assert not m.metric or (m.symmetric and m.kind == "distance")
        assert (m.represent is None) is (m.between is None)
        assert "linear" not in m.invariances or m.invariances >= ROTATIONS


@pytest.mark.parametrize("measure", MATRICES)
def test_matrix_measures_are_the_value_of_their_two_matrices(measure: str) -> None:
    """represent and between give what compare gives, also with the stimuli of one side reordered."""
    record, order = MEASURES[measure], RNG.permutation(N)
    assert record.represent is not None
    assert record.between is not None
    first, second = record.represent(X), record.represent(Y)
    assert record.between(first, second) == pytest.approx(compare(X, Y, measure=measure), abs=1e-9)
    moved = record.between(first, second[np.ix_(order, order)])
    assert moved == pytest.approx(compare(X, Y[order], measure=measure), abs=1e-9)


@pytest.mark.parametrize("comparator", ["pearson", "spearman", "rho_a", "tau_a", "whitened_cosine"])
@pytest.mark.parametrize("distance", ["correlation", "sq_euclidean"])
def test_rsa_is_the_comparison_of_rdms(comparator: str, distance: str) -> None:
    """The RSA measures equal compare_rdms of the two RDMs, with either distance."""
    expected = compare_rdms(rdm(X, distance=distance), rdm(Y, distance=distance), measure=comparator)
    found = compare(X, Y, measure=f"rsa_{comparator}", options={"distance": distance})
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_shared_signal_is_found(measure: str) -> None:
    """A noisy copy is closer than an unrelated system; rotated too, where rotations are invariant."""
    x = unrelated(measure, 1)
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(x.shape[-1],) * 2))[0]
    copy = x + 0.05 * rng.normal(size=x.shape)
    copy = copy @ turn if "rotation" in MEASURES[measure].invariances else copy
    near, far = value(measure, x, copy), value(measure, x, unrelated(measure, 77))
    if MEASURES[measure].kind == "similarity":
        assert near > far + 0.2
    else:
        assert near < 0.8 * far


@pytest.mark.parametrize("measure", STIMULI)
def test_responses_are_joined_by_id_and_repeats_averaged(measure: str) -> None:
    """Another row order and single trials give the score of the arrays of means."""
    order = RNG.permutation(N)
    noise = RNG.normal(size=(N, P))
    trials = responses(np.vstack([X + noise, X - noise]), IDS + IDS)
    features = responses(Y[order], [IDS[i] for i in order])
    found = compare(trials, features, measure=measure, options=QUICK.get(measure))
    assert found == pytest.approx(value(measure, X, Y), abs=1e-9)


@pytest.mark.parametrize("measure", ["stochastic_shape", "energy_shape"])
def test_trials_are_joined_by_id(measure: str) -> None:
    """Responses with equal repeats give the value of the arrays of trials, whatever the order of rows."""
    x, y = related(measure, 0)
    ids = IDS[: len(x)]
    order = np.random.default_rng(3).permutation(len(y))
    found = compare(
        repeated(x, ids),
        repeated(y[order], [ids[i] for i in order]),
        measure=measure,
        options=QUICK[measure],
    )
    assert found == pytest.approx(value(measure, x, y), abs=1e-6)


def test_trials_that_are_refused() -> None:
    """Unequal or single repeats, a side without a repeat axis, other stimuli, arrays with Responses."""
    x, y = related("energy_shape", 0)
    ids = IDS[: len(x)]
    whole = repeated(y, ids)
    rows = [i for i in range(x.shape[0] * x.shape[1]) if i != 2]
    uneven = responses(
        x.transpose(1, 0, 2).reshape(-1, x.shape[-1])[rows], [(ids * x.shape[1])[i] for i in rows]
    )
    text = r"x has 4 rows of stimulus 's2' and 5 of 's\d'; .* needs the same number of repeats of every"
    with pytest.raises(ShapeError, match=text):
        compare(uneven, whole, measure="energy_shape")
    with pytest.raises(
        ShapeError, match="y has 1 rows of .*the same number of repeats of every stimulus, at"
    ):
        compare(whole, responses(y[:, 0], ids), measure="energy_shape")
    with pytest.raises(
        ShapeError, match=r"x has shape \(24, 6\); expected \(n_stimuli, n_repeats, n_units\)"
    ):
        compare(X, Y, measure="stochastic_shape")
    with pytest.raises(ShapeError, match="x has 6 stimuli and y has 5; expected the same stimuli"):
        compare(x, y[:5], measure="stochastic_shape")
    with pytest.raises(AlignmentError, match="1 of 6 stimuli of x have no partner: 's5'"):
        compare(repeated(x, ids), repeated(y, [*ids[:5], "other"]), measure="energy_shape")
    with pytest.raises(AlignmentError, match="never both"):
        compare(x, whole, measure="energy_shape")
    bad = y.copy()
    bad[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"y has values that are not finite, first at \(1, 2, 3\)"):
        compare(x, bad, measure="energy_shape")
    with pytest.raises(InputError, match="x has dtype complex128; expected real numbers"):
        compare(x * 1j, y, measure="energy_shape")


def epochs(trials: np.ndarray) -> Responses:
    """Trials (n_trials, n_times, p) as Responses, whose units come before the times."""
    n, n_times, _ = trials.shape
    return Responses(
        trials.transpose(0, 2, 1),
        pd.DataFrame({"stimulus_id": IDS[:n]}),
        times=np.arange(n_times) / 100.0,
        info={"design": "trials"},
    )


def test_trajectories() -> None:
    """Trials of times as an array, and Responses with a time axis, units before times, are one value."""
    x, y = (np.stack([a[i : i + 30] for i in range(0, 50, 5)]) for a in related("dsa", 0))
    found = compare(x, y, measure="dsa", options=QUICK["dsa"])
    assert found > 0.1
    assert compare(epochs(x), epochs(y), measure="dsa", options=QUICK["dsa"]) == pytest.approx(
        found, abs=1e-9
    )
    with pytest.raises(ShapeError, match=r"x has shape \(80,\); expected \(n_times, n_units\) or"):
        compare(np.arange(80.0), y, measure="dsa")
    with pytest.raises(InputError, match="compares trajectories, which have no stimuli to exchange"):
        permutation_test(x, y, measure="dsa", n_permutations=9)


def test_few_long_trials() -> None:
    """Two trials of forty times are enough: the minimum is one of times, not of trials."""
    x, y = (np.stack([a[:40], a[40:]]) for a in related("dsa", 0))
    assert compare(x, y, measure="dsa", options=QUICK["dsa"]) > 0.1


def test_joins_that_are_refused() -> None:
    """Stimuli without a partner, another content under one id, and a mixture with arrays are refused."""
    x = responses(X, IDS, content_hash=IDS)
    with pytest.raises(AlignmentError, match=r"2 of 24 stimuli of x have no partner: 's22', 's23'. Select"):
        compare(x, responses(Y[:22], IDS[:22]))
    hashes = ["other" if s == "s7" else s for s in IDS]
    with pytest.raises(AlignmentError, match="'s7' has content hash s7 in x and other in y"):
        compare(x, responses(Y, IDS, content_hash=hashes))
    with pytest.raises(AlignmentError, match="never both"):
        compare(x, Y)
    with pytest.raises(ShapeError, match="x has 24 rows and y has 23"):
        compare(X, Y[:23])


# the fewest times of a trajectory depend on the delays
MINIMA = [name for name, m in MEASURES.items() if m.minimum > 1 and m.samples != "trajectories"]


@pytest.mark.parametrize("measure", MINIMA)
def test_one_stimulus_less_than_the_minimum_is_refused(measure: str) -> None:
    """The record's minimum is enforced, and named."""
    fewest = MEASURES[measure].minimum
    x, y = related(measure, 0)
    with pytest.raises(ShapeError, match=f"{measure} over {fewest - 1} stimuli; it needs at least {fewest}"):
        compare(x[: fewest - 1], y[: fewest - 1], measure=measure)


@pytest.mark.parametrize("measure", MEASURES)
def test_unknown_options_are_refused(measure: str) -> None:
    """An option that a measure does not take is named, never ignored."""
    x, y = related(measure, 0)
    with pytest.raises(UnknownNameError, match=f"option of the measure '{measure}' 'banana' does not exist"):
        compare(x, y, measure=measure, options={"banana": 1})


def test_wrong_names() -> None:
    """Unknown measures name the closest; options must be a mapping."""
    with pytest.raises(
        UnknownNameError, match="measure 'rsa_spearmen' does not exist; closest: rsa_spearman"
    ):
        compare(X, Y, measure="rsa_spearmen")
    function: Any = np.dot
    with pytest.raises(InputError, match="measure is a callable; expected a name"):
        compare(X, Y, measure=function)
    options: Any = ["k"]
    with pytest.raises(InputError, match=r"options is \['k'\]; expected a mapping of names to values"):
        compare(X, Y, measure="mutual_knn", options=options)
    with pytest.raises(ShapeError, match=r"x has 6 units and y has 5"):
        compare(X, Y[:, :5], measure="permutation_procrustes")


def test_a_measure_without_matrices_cannot_be_reordered_as_one() -> None:
    """compare_layers takes values of two matrices, and names those and the way for the others."""
    with pytest.raises(
        InputError, match=r"measure 'cca' is not the value of two matrices .* choose one of rsa_pearson, .*"
    ) as caught:
        compare_layers({"a": X}, Y, measure="cca")
    assert str(caught.value).endswith("or use compare_many(..., calibrate='permutation')")
    assert all(name in str(caught.value) for name in MATRICES)


@pytest.mark.parametrize("measure", ["cca", "procrustes", "soft_match", "mutual_knn", "energy_shape"])
def test_permutation_test_of_what_is_no_matrix(measure: str) -> None:
    """Measures computed anew in each draw: one-sided towards closer, for a distance downwards."""
    x, y = related(measure, 0)
    options = {"restarts": 0} if measure == "energy_shape" else None
    related_result = permutation_test(x, y, measure=measure, n_permutations=19, options=options)
    assert related_result.value == pytest.approx(value(measure, x, y), abs=1e-6)
    assert related_result.p_value == 0.05
    closer = bool(related_result.null.max() < related_result.value)
    assert closer is (MEASURES[measure].kind == "similarity")
    # pairs that are further apart than in any random order are no evidence of alignment
    apart = related_result.null.argmin() if closer else related_result.null.argmax()
    generator = np.random.default_rng(0)
    order = [generator.permutation(len(y)) for _ in range(apart + 1)][-1]
    worst = permutation_test(x, y[order], measure=measure, n_permutations=19, random_state=1, options=options)
    assert worst.value == pytest.approx(related_result.null[apart], abs=1e-6)
    assert worst.p_value > 0.5


@pytest.mark.parametrize("measure", ["rsa_pearson", "rsa_spearman", "rsa_rho_a", "rsa_tau_a"])
def test_undefined_rdm_is_nan_with_the_reason(measure: str) -> None:
    """A constant stimulus or an RDM without variance gives NaN and a warning, never 0."""
    flat = X.copy()
    flat[3] = 2.0
    with pytest.warns(UserWarning, match=f"{measure} is NaN: .*same response in every unit"):
        assert np.isnan(compare(flat, Y, measure=measure))
    with pytest.warns(UserWarning, match=f"{measure} is NaN"):
        assert np.isnan(compare(np.eye(N), Y, measure=measure, options={"distance": "sq_euclidean"}))


def test_own_measure() -> None:
    """A Measure of the caller's own is used as it is."""
    own = dataclasses.replace(MEASURES["cka"], name="own", function=lambda x, y: 0.25)
    assert compare(X, Y, measure=own) == 0.25
