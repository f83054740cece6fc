"""The records of the unit measures: what they claim holds, and what they deny fails."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison._measure import INVARIANCES, KINDS, Measure
from brainalign.comparison._measures_units import MEASURES_UNITS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = X[:, [0, 1, 2, 3, 4, 5, 0, 1]] + 0.5 * RNG.normal(size=(40, 8))
CHANGES = {
    "rotation": lambda x: x @ np.linalg.qr(np.random.default_rng(1).normal(size=(x.shape[1],) * 2))[0],
    "scale": lambda x: 7.0 * x,
    "translation": lambda x: x + np.arange(x.shape[1]),
    "linear": lambda x: x @ np.random.default_rng(2).normal(size=(x.shape[1],) * 2),
    "permutation": lambda x: x[:, ::-1],
}


def test_names() -> None:
    """The three names that stay are there, as similarities."""
    assert [m.name for m in MEASURES_UNITS] == ["bipartite_match", "best_match", "soft_match"]
    assert {m.kind for m in MEASURES_UNITS} == {"similarity"} <= set(KINDS)


@pytest.mark.parametrize("change", INVARIANCES)
@pytest.mark.parametrize("measure", MEASURES_UNITS, ids=lambda m: m.name)
def test_invariances_hold_and_fail(measure: Measure, change: str) -> None:
    """Each claimed invariance holds on either side; each that is not claimed fails on both."""
    plain = measure.function(X, Y)
    changed = [measure.function(CHANGES[change](X), Y), measure.function(X, CHANGES[change](Y))]
    assert measure.range[0] <= plain <= measure.range[1]
    if change in measure.invariances:
        np.testing.assert_allclose(changed, plain, rtol=0, atol=1e-10)
    else:
        assert (np.abs(np.array(changed) - plain) > 0.1).all()


@pytest.mark.parametrize("measure", MEASURES_UNITS, ids=lambda m: m.name)
def test_identity_symmetry_precision_and_options(measure: Measure) -> None:
    """1 with itself, symmetric where claimed and not where denied, rows may change order, float32 agrees."""
    assert measure.function(X, X) == pytest.approx(1.0, abs=1e-12)
    plain, swapped = measure.function(X, Y), measure.function(Y, X)
    assert (abs(plain - swapped) < 1e-9) == measure.symmetric
    assert measure.function(X[::-1], Y[::-1]) == pytest.approx(plain, abs=1e-12)
    rounded = measure.function(
        X.astype(np.float32).astype(np.float64), Y.astype(np.float32).astype(np.float64)
    )
    assert rounded == pytest.approx(plain, abs=1e-6)
    if "cv" in measure.options:
        assert measure.function(X, Y, absolute=True, cv=2, random_state=1) < plain
    else:
        assert measure.options == ()
