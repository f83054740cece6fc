"""Correction for many tests against an independent reference, its warning and its error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control

from brainalign.errors import InputError
from brainalign.statistics.multiple_tests import adjust_fdr, few_permutations


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)))
def test_agrees_with_scipy(p):
    """The step-up q-values equal scipy's on any p-values."""
    np.testing.assert_allclose(adjust_fdr(p), false_discovery_control(p), rtol=1e-12, atol=1e-300)


def test_nan_stays_and_does_not_count():
    """NaN stays NaN, does not enter the number of tests, and the shape is kept."""
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    q = adjust_fdr(p)
    assert q.shape == p.shape
    assert np.isnan(q[0, 1])
    np.testing.assert_allclose(q[~np.isnan(p)], false_discovery_control(p[~np.isnan(p)]))
    assert np.isnan(adjust_fdr([np.nan])).all()
    assert adjust_fdr([]).shape == (0,)


def test_controls_false_discoveries_under_the_null():
    """Over 2000 families of 20 null tests at most 5 % (plus chance) hold a discovery."""
    p = np.random.default_rng(0).uniform(size=(2000, 20))
    found = np.array([(adjust_fdr(row) <= 0.05).any() for row in p]).mean()
    assert 0.03 < found < 0.065


def test_too_few_permutations_warn():
    """A family that m permutations cannot carry warns, with a number that suffices exactly."""
    with pytest.warns(UserWarning, match="use at least 240"):
        adjust_fdr(np.full(12, 0.01), n_permutations=100)
    assert few_permutations(240, 12) == ""
    assert few_permutations(239, 12) == ""  # 12 / 240 is the level itself
    assert few_permutations(238, 12) != ""
    assert few_permutations(10, 0) == ""
    adjust_fdr(np.full(12, 0.01), n_permutations=240)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.inf])
def test_values_outside_the_unit_interval_are_refused(value):
    """What is no p-value is an error that names the first one and its place."""
    with pytest.raises(InputError, match=r"outside \[0, 1\], first .* at position 1"):
        adjust_fdr([0.5, value])
