"""Delays know the borders of runs; drift is removed per run and measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainalign import design
from brainalign.errors import InputError, ShapeError


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    delays=st.lists(st.integers(-5, 8), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 100),
)
def test_every_delay_equals_a_plain_loop_over_samples(lengths, delays, seed):
    """Each sample gets the features of its own run, that many samples earlier, or 0."""
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(len(lengths)), lengths)
    X = rng.standard_normal((len(runs), 2))
    out = design.fir_delays(X, delays, runs)
    for t in range(len(runs)):
        for k, d in enumerate(delays):
            source = t - d
            inside = 0 <= source < len(runs) and runs[source] == runs[t]
            expected = X[source] if inside else np.zeros(2)
            assert np.array_equal(out[t, 2 * k : 2 * k + 2], expected)


def test_nothing_crosses_the_border_of_a_run():
    """A spike at the end of one run is nowhere in the next."""
    X = np.zeros((10, 1))
    X[4] = 1
    assert design.fir_delays(X, [1, 2], runs=[0] * 5 + [1] * 5).sum() == 0
    assert design.fir_delays(X, [1, 2]).sum() == 2


@pytest.mark.parametrize(
    ("delays", "runs", "error", "text"),
    [
        ([], None, InputError, "at least one whole number"),
        ([1.5], None, InputError, "at least one whole number"),
        ([1, 1], None, InputError, "name a delay twice"),
        ([1], ["a", "b", "a"], InputError, "goes on in row 2 after another run"),
        ([1], ["a", "b"], ShapeError, "have 2 rows, expected 3"),
        ([1], ["a", None, "b"], InputError, "row 1 has no label"),
    ],
)
def test_wrong_delays_and_runs_are_refused(delays, runs, error, text):
    """Fractions, repeats, and rows of a run that lie apart."""
    with pytest.raises(error, match=text):
        design.fir_delays(np.zeros((3, 1)), delays, runs)


def test_high_pass_equals_least_squares_on_cosines():
    """Projection off the cosine set is the residual of an ordinary regression on it."""
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((90, 4)) + 1e6
    runs = np.repeat(["a", "b"], [50, 40])
    out = design.high_pass(Y, dt=2.0, cutoff_s=60.0, runs=runs)
    for run, n in (("a", 50), ("b", 40)):
        block = Y[runs == run]
        k = int(np.floor(2 * n * 2.0 / 60.0)) + 1
        C = np.stack([np.cos(np.pi * (np.arange(n) + 0.5) * j / n) for j in range(k)], axis=1)
        residual = block - C @ np.linalg.lstsq(C, block, rcond=None)[0]
        assert np.allclose(out[runs == run], residual, atol=1e-8)


def test_the_usual_filter_has_twelve_columns():
    """362 volumes of 2 s and 128 s: the constant and eleven cosines."""
    assert design.cosine_drifts(362, 2.0, 128.0).shape == (362, 12)


def test_high_pass_keeps_fast_and_removes_slow():
    """A period of 20 s survives, one of 400 s does not."""
    t = np.arange(200) * 2.0
    fast, slow = np.sin(2 * np.pi * t / 20), np.sin(2 * np.pi * t / 400)
    out = design.high_pass(np.stack([fast, slow], axis=1), dt=2.0)
    assert np.corrcoef(out[:, 0], fast)[0, 1] > 0.99
    assert out[:, 1].std() < 0.1 * slow.std()


def test_detrend_equals_scipy_per_run():
    """A line is removed from each run on its own."""
    from scipy.signal import detrend

    Y = np.random.default_rng(0).standard_normal((60, 3)).cumsum(axis=0)
    out = design.detrend(Y, runs=np.repeat([1, 2], 30))
    assert np.allclose(out, np.concatenate([detrend(Y[:30], axis=0), detrend(Y[30:], axis=0)]))
    assert np.allclose(design.detrend(Y, order=0), Y - Y.mean(axis=0))


def test_one_column_with_a_missing_value_leaves_the_others_alone():
    """NaN stays in its unit and its run."""
    Y = np.random.default_rng(0).standard_normal((40, 2))
    bad = Y.copy()
    bad[3, 0] = np.nan
    out = design.high_pass(bad, dt=2.0, cutoff_s=40, runs=[0] * 20 + [1] * 20)
    clean = design.high_pass(Y, dt=2.0, cutoff_s=40, runs=[0] * 20 + [1] * 20)
    assert np.isnan(out[:20, 0]).all()
    assert np.array_equal(out[20:], clean[20:])
    assert np.array_equal(out[:, 1], clean[:, 1])


def test_drift_share_sees_drift_and_not_noise():
    """White noise has its expected share; a random walk far more; filtered responses none."""
    rng = np.random.default_rng(0)
    white, walk = rng.standard_normal((400, 20)), rng.standard_normal((400, 20)).cumsum(axis=0)
    share, expected = design.drift_share(white, dt=2.0)
    assert abs(share - expected) < 0.01
    assert design.drift_share(walk, dt=2.0)[0] > 0.8
    assert design.drift_share(design.high_pass(walk, dt=2.0), dt=2.0)[0] < 1e-6
    assert np.isnan(design.drift_share(white[:4], dt=2.0)[0])


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_length_follows_the_process(rho):
    """The lag at which an autoregressive process has forgotten 90 %."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3000, 10))
    for i in range(1, len(x)):
        x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * x[i]
    expected = 1 if rho == 0 else np.log(0.1) / np.log(rho)
    assert abs(design.autocorrelation_length(x) - expected) <= 3


def test_impossible_filters_are_refused():
    """A cutoff below two samples, negative times, a negative degree, text."""
    with pytest.raises(InputError, match="leaves nothing"):
        design.high_pass(np.zeros((10, 1)), dt=2.0, cutoff_s=4.0)
    with pytest.raises(InputError, match="expected positive numbers"):
        design.cosine_drifts(10, -1.0, 128)
    with pytest.raises(InputError, match="order=-1"):
        design.detrend(np.zeros((10, 1)), order=-1)
    with pytest.raises(ShapeError, match="expected \\(n_samples"):
        design.detrend(np.array(["a", "b"]))
