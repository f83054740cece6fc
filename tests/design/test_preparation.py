"""Responses and features of time designs made ready alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign import design
from brainalign.errors import AlignmentError, InputError
from brainalign.types import Responses


def recording(values=None, runs=2, n=60):
    samples = pd.DataFrame(
        {"run": np.repeat(np.arange(runs), n).astype(str), "onset": np.tile(np.arange(n) * 2.0, runs)}
    )
    values = np.random.default_rng(0).standard_normal((runs * n, 3)) if values is None else values
    return Responses(values, samples, info={"design": "continuous"})


def test_both_sides_lose_the_same_drift():
    """Features that are a part of the responses still are after the filter."""
    bold = recording()
    part = Responses(bold.values[:, :1], bold.samples)
    y = design.prepare_responses(bold, high_pass_s=60, detrend=True)
    x = design.prepare_features(part, bold, high_pass_s=60, detrend=True)
    assert np.allclose(x.values[:, 0], y.values[:, 0])
    assert y.info["preparation"] == [
        "linear trend removed per run",
        "high-pass 60 s per run (discrete cosines)",
    ]


def test_delayed_features_say_their_delays_in_samples_and_seconds():
    """Units are named by delay; a layer with a mean is centred before zeros enter."""
    bold = recording()
    layer = Responses(np.full((120, 1), 5.0) + bold.values[:, :1], bold.samples)
    out = design.prepare_features(layer, bold, delays=[2, 3])
    assert list(out.units.index) == ["0 @ 2", "0 @ 3"]
    assert out.info["delays_s"] == [4.0, 6.0]
    assert np.abs(out.values).max() < 6
    assert (out.values[[0, 1, 60, 61], 0] == 0).all()


def test_features_in_another_order_are_joined_by_run_and_onset():
    """Rows are never taken by position."""
    bold = recording()
    order = np.random.default_rng(1).permutation(120)
    shuffled = Responses(bold.values[order], bold.samples.iloc[order])
    out = design.prepare_features(shuffled, bold)
    assert np.array_equal(out.values, bold.values)
    with pytest.raises(AlignmentError, match="have no row in the features"):
        design.prepare_features(shuffled.select(samples=np.arange(100)), bold)


def test_the_time_index_is_the_same_in_every_run():
    """It knows the place in the run and nothing else."""
    out = design.time_index(recording()).values
    assert np.array_equal(out[:60], out[60:])
    assert np.linalg.matrix_rank(out[:60]) == out.shape[1]


def test_trials_have_no_delays():
    """A filter over trials would mix stimuli."""
    trials = Responses(np.zeros((4, 1)), info={"design": "trials"})
    for call in (
        lambda: design.prepare_responses(trials, detrend=True),
        lambda: design.prepare_features(trials, trials),
        lambda: design.time_index(trials),
    ):
        with pytest.raises(InputError, match="are for 'blocks' and"):
            call()


def test_several_subjects_are_refused():
    """One filter or delay over two people, one after the other, would mix them."""
    bold = recording(runs=1)
    two = Responses(
        np.tile(bold.values, (2, 1)),
        pd.concat([bold.samples.assign(subject=s) for s in "ab"], ignore_index=True),
        info=bold.info,
    )
    for prepare in (design.prepare_responses, design.time_index):
        with pytest.raises(AlignmentError, match="hold 2 subjects, one recording after the other"):
            prepare(two)
    with pytest.raises(AlignmentError, match="select the rows of one"):
        design.prepare_features(two, two, delays=[1])


def test_an_uneven_clock_is_refused_where_time_counts():
    """Volumes left out within a run: a delay of samples would be none of seconds."""
    bold = recording()
    censored = bold.select(samples=np.delete(np.arange(120), np.arange(20, 25)))
    with pytest.raises(InputError, match="not evenly spaced"):
        design.prepare_features(censored, censored, delays=[1])
    with pytest.raises(InputError, match="not evenly spaced"):
        design.prepare_responses(censored, high_pass_s=60)
    assert design.prepare_responses(censored).n_samples == 115


def test_words_without_duration_are_moments():
    """Features with run and onset of their own are placed, not looked up by onset."""
    bold = recording()
    words = pd.DataFrame({"run": ["0", "1"], "onset": [0.0, 7.0]})
    placed = design.prepare_features(Responses(np.ones((2, 1)), words), bold, method="impulse")
    assert np.flatnonzero(placed.values).tolist() == [0, 63]
    three_runs = recording(runs=3)
    with pytest.raises(AlignmentError, match="have no row in the features"):
        design.prepare_features(bold, three_runs, method="impulse")


def test_delays_that_leave_nothing_are_refused():
    """Milliseconds in place of samples, and a second delay on top of the first."""
    bold = recording()
    part = Responses(bold.values, bold.samples)
    with pytest.raises(InputError, match=r"a delay of 60 samples is longer than any run \(60 samples\)"):
        design.prepare_features(part, bold, delays=[1, 60])
    late = design.prepare_features(part, bold, delays=[1, 2])
    with pytest.raises(InputError, match=r"have delays already \(\[1, 2\]\)"):
        design.prepare_features(late, bold, delays=[1])
