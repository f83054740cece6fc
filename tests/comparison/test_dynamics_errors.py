"""What the measures of dynamics refuse, and where they are NaN; the distance of eigenvalues."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brainalign.comparison.delay_embedding import delay_embed
from brainalign.comparison.dynamical_similarity import dsa, eigenvalue_distance, pairwise_dsa
from brainalign.comparison.mode_decomposition import dmd
from brainalign.errors import InputError, MissingDependencyError, ShapeError
from brainalign.types import Responses

X = np.random.default_rng(0).normal(size=(40, 3))
GAP = np.where(np.arange(120).reshape(40, 3) == 13, np.nan, X)
FLAT = np.full((40, 3), 0.1)
RESPONSES = Responses(
    X, samples=pd.DataFrame({"sample_id": [str(i) for i in range(40)]}), info={"design": "continuous"}
)

REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "axes": (lambda: dsa(X[:, 0], X), ShapeError, r"x has shape \(40,\); expected \(n_times, p\)"),
    "text": (lambda: dmd([["a"]], n_delays=1), InputError, "x has dtype <U1; expected real numbers"),
    "empty": (lambda: dsa(X, X[:, :0]), ShapeError, "y has shape .*; expected at least one trial"),
    "nan": (
        lambda: dsa(X, GAP),
        InputError,
        "y has 1 values that are not finite, first in trial 0, time 4, unit 1",
    ),
    "responses": (lambda: dsa(RESPONSES, X), InputError, "x is Responses, whose rows may be trials or times"),
    "delays": (
        lambda: delay_embed(X, n_delays=0),
        InputError,
        "n_delays=0; expected a whole number of at least 1",
    ),
    "delay": (
        lambda: delay_embed(X, n_delays=2, delay=1.5),
        InputError,
        "delay=1.5; expected a whole number",
    ),
    "bool": (lambda: dmd(X, n_delays=1, rank=True), InputError, "rank=True; expected a whole number"),
    "short": (
        lambda: delay_embed(X, n_delays=9, delay=6),
        ShapeError,
        "has 40 times a trial; .* at least 49",
    ),
    "one row": (
        lambda: dmd(X, n_delays=40),
        ShapeError,
        "leaves one row of 40 delays and no step to the next",
    ),
    "rank": (lambda: dsa(X, X[:12], rank=9), ShapeError, "y has 7 steps .* rank=9 needs at least 10"),
    "components": (
        lambda: dsa(X, X, n_delays=1, rank=4),
        InputError,
        "rank=4, but x has 3 independent components",
    ),
    "ridge": (
        lambda: dmd(X, n_delays=1, ridge=-1),
        InputError,
        "ridge=-1; expected a finite number of at least 0",
    ),
    "still": (lambda: dmd(FLAT, n_delays=1), InputError, "x does not vary over time; its dynamics"),
    "form": (lambda: dsa(X, X, form="angle"), InputError, "form='angle' is not one of .*closest: 'angular'"),
    "restarts": (
        lambda: dsa(X, X, n_restarts=-1),
        InputError,
        "n_restarts=-1; expected a whole number of at least 0",
    ),
    "steps": (lambda: dsa(X, X, max_iterations=0), InputError, "max_iterations=0; expected a whole number"),
    "seed": (lambda: dsa(X, X, random_state=None), InputError, "random_state=None; expected a whole number"),
    "systems": (lambda: pairwise_dsa([X]), ShapeError, "1 systems; a comparison needs at least 2"),
    "names": (lambda: pairwise_dsa([X, X], names=["V1"]), ShapeError, "1 names for 2 systems"),
    "no eigenvalue": (lambda: eigenvalue_distance([], [1.0]), ShapeError, r"first has shape \(0,\)"),
    "eigenvalue": (
        lambda: eigenvalue_distance([1.0], [np.nan]),
        InputError,
        "second holds eigenvalues that are not",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(case: str) -> None:
    """Each bad input is refused with what was found and what to do."""
    call, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("form", ["angular", "euclidean", "eigenvalues"])
def test_still_recording_is_nan_with_the_reason(form: str) -> None:
    """A recording that does not vary has no distance; the other pairs keep theirs."""
    with pytest.warns(UserWarning, match="dsa is NaN: y does not vary over time"):
        assert np.isnan(dsa(X, FLAT, form=form))
    with pytest.warns(UserWarning, match=r"dsa is NaN: V4 does not vary over time"):
        table = pairwise_dsa([X, 1e6 + 0 * X, X], n_delays=1, form=form, names=["V1", "V4", "IT"])
    np.testing.assert_array_equal(np.isnan(table), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool))
    assert table[0, 2] < 1e-7


def test_operator_of_zero_has_no_angle() -> None:
    """States that follow nothing before them have an operator of zero: NaN angle, finite norm."""
    x = np.array([[1.0], [1.0], [-1.0], [-1.0], [1.0]])
    assert not dmd(x, n_delays=1, rank=1).operator.any()
    with pytest.warns(UserWarning, match="x has an operator of zero, without angle"):
        assert np.isnan(dsa(x, X[:5], n_delays=1, rank=1))
    assert dsa(x, x, n_delays=1, rank=1, form="euclidean") == 0


def test_eigenvalue_distance_against_optimal_transport() -> None:
    """Equal numbers by assignment and unequal ones by POT both equal the root of POT's squared cost."""
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(1)
    a = rng.normal(size=6) + 1j * rng.normal(size=6)
    for n in (6, 4):
        b = rng.normal(size=n) + 1j * rng.normal(size=n)
        squared = float(ot.emd2(np.full(6, 1 / 6), np.full(n, 1 / n), np.abs(a[:, None] - b[None]) ** 2))
        assert eigenvalue_distance(a, b) == pytest.approx(np.sqrt(squared), abs=1e-9)
        assert abs(eigenvalue_distance(a, b) - squared) > 1e-3
        assert eigenvalue_distance(1e-200 * a, 1e-200 * b) == pytest.approx(1e-200 * np.sqrt(squared))
    # each eigenvalue twice is the same distribution
    assert eigenvalue_distance(a, np.repeat(a, 2)) == pytest.approx(0, abs=1e-7)
    assert eigenvalue_distance([0.0, 0.0], [0.0, 0.0]) == 0


def test_systems_of_unequal_rank_keep_their_eigenvalues() -> None:
    """Without a rank the eigenvalue form compares all eigenvalues of both, the angle the shared number."""
    pytest.importorskip("ot")
    y = X @ np.array([[1.0, 0, 0], [0, 1e-3, 0], [0, 0, 1e-3]])
    one, three = dmd(y, n_delays=1), dmd(X, n_delays=1)
    assert (len(one.operator), len(three.operator)) == (1, 3)
    expected = eigenvalue_distance(one.eigenvalues, three.eigenvalues)
    assert dsa(y, X, n_delays=1, form="eigenvalues") == pytest.approx(expected)
    assert dsa(y, X, n_delays=1, form="euclidean") == dsa(y, X, n_delays=1, rank=1, form="euclidean")


def test_without_pot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal numbers of eigenvalues need no POT; unequal ones name the extra."""
    monkeypatch.setitem(sys.modules, "ot", None)
    assert eigenvalue_distance([1.0], [0.5]) == 0.5
    with pytest.raises(MissingDependencyError, match=r"pip install 'brainalign\[transport\]'"):
        eigenvalue_distance([1.0], [0.5, 0.2])
