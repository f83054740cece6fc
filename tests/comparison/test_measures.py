"""compare: invariances of every measure, joins, refusals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison import MEASURES, compare, compare_rdms, rdm
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import Responses

RNG = np.random.default_rng(0)
N, P = 20, 6
X = RNG.normal(size=(N, P)) + 1.0
Y = X @ RNG.normal(size=(P, 4)) + RNG.normal(size=(N, 4))
IDS = [f"s{i}" for i in range(N)]
CHANGES = {
    "rotation": X @ np.linalg.qr(RNG.normal(size=(P, P)))[0],
    "scale": 7.0 * X,
    "translation": X + np.arange(float(P)),
    "linear": X @ (RNG.normal(size=(P, P)) + np.diag([9.0, 1, 1, 1, 1, 1])),
    "permutation": X[:, RNG.permutation(P)],
}


def responses(values: np.ndarray, ids: list[str], **columns: list[str]) -> Responses:
    return Responses(values, pd.DataFrame({"stimulus_id": ids, **columns}), info={"design": "trials"})


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("change", CHANGES)
def test_declared_invariances_hold_and_the_others_fail(measure: str, change: str) -> None:
    """Every y and every n of the declared invariances is true, on either side."""
    before, after = compare(X, Y, measure=measure), compare(CHANGES[change], Y, measure=measure)
    assert (abs(before - after) < 1e-9) is (change in MEASURES[measure].invariances)
    assert compare(Y, CHANGES[change], measure=measure) == pytest.approx(after, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_identity_range_and_order_of_stimuli(measure: str) -> None:
    """x with itself is the maximum; values are in range; a common order of the stimuli is immaterial."""
    low, high = MEASURES[measure].range
    assert compare(X, X, measure=measure) == pytest.approx(high, abs=1e-12)
    assert low <= compare(X, Y, measure=measure) <= high
    order = RNG.permutation(N)
    assert compare(X[order], Y[order], measure=measure) == pytest.approx(compare(X, Y, measure=measure))
    single = compare(X.astype(np.float32), Y.astype(np.float32), measure=measure)
    assert single == pytest.approx(compare(X, Y, measure=measure), abs=1e-5)


@pytest.mark.parametrize("comparator", ["pearson", "spearman", "tau_a"])
@pytest.mark.parametrize("distance", ["correlation", "sq_euclidean"])
def test_rsa_is_the_comparison_of_rdms(comparator: str, distance: str) -> None:
    """The RSA measures equal compare_rdms of the two RDMs, with either distance."""
    expected = compare_rdms(rdm(X, distance=distance), rdm(Y, distance=distance), measure=comparator)
    value = compare(X, Y, measure=f"rsa_{comparator}", options={"distance": distance})
    assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_shared_signal_is_found(measure: str) -> None:
    """A rotated, noisy copy is closer than an unrelated matrix."""
    rng = np.random.default_rng(1)
    copy = X @ np.linalg.qr(rng.normal(size=(P, P)))[0] + 0.3 * rng.normal(size=(N, P))
    assert compare(X, copy, measure=measure) > compare(X, rng.normal(size=(N, P)), measure=measure) + 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_responses_are_joined_by_id_and_repeats_averaged(measure: str) -> None:
    """Another row order and single trials give the score of the arrays of means."""
    order = RNG.permutation(N)
    noise = RNG.normal(size=(N, P))
    trials = responses(np.vstack([X + noise, X - noise]), IDS + IDS)
    features = responses(Y[order], [IDS[i] for i in order])
    assert compare(trials, features, measure=measure) == pytest.approx(
        compare(X, Y, measure=measure), abs=1e-12
    )


def test_joins_that_are_refused() -> None:
    """Stimuli without a partner, another content under one id, and a mixture with arrays are refused."""
    x = responses(X, IDS, content_hash=IDS)
    with pytest.raises(AlignmentError, match=r"2 of 20 stimuli of x have no partner: 's18', 's19'. Select"):
        compare(x, responses(Y[:18], IDS[:18]))
    hashes = ["other" if s == "s7" else s for s in IDS]
    with pytest.raises(AlignmentError, match="'s7' has content hash s7 in x and other in y"):
        compare(x, responses(Y, IDS, content_hash=hashes))
    with pytest.raises(AlignmentError, match="never both"):
        compare(x, Y)
    with pytest.raises(ShapeError, match="x has 20 rows and y has 19"):
        compare(X, Y[:19])


def test_wrong_names_and_sizes() -> None:
    """Unknown measures and options name the closest; too few stimuli name the minimum."""
    with pytest.raises(
        UnknownNameError, match="measure 'rsa_spearmen' does not exist; closest: rsa_spearman"
    ):
        compare(X, Y, measure="rsa_spearmen")
    with pytest.raises(UnknownNameError, match="option of the measure 'cka' 'distance' does not exist"):
        compare(X, Y, measure="cka", options={"distance": "correlation"})
    with pytest.raises(ShapeError, match="rsa_tau_a over 2 stimuli; it needs at least 3"):
        compare(X[:2], Y[:2], measure="rsa_tau_a")
    function: Any = np.dot
    with pytest.raises(InputError, match="measure is a callable; expected a name"):
        compare(X, Y, measure=function)


@pytest.mark.parametrize("measure", ["rsa_pearson", "rsa_spearman", "rsa_tau_a"])
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
    own = dataclasses.replace(MEASURES["cka"], name="own", direct=None)
    assert compare(X, Y, measure=own) == pytest.approx(compare(X, Y, measure="cka"), abs=1e-12)
