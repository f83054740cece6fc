"""Events and features with onsets on the samples of the responses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from brainalign import design
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses


def recording(n=10, dt=2.0, runs=("1",), design="blocks", **info):
    samples = pd.DataFrame(
        {"run": np.repeat(runs, n), "onset": np.tile(np.arange(n) * dt, len(runs))}, dtype=object
    )
    return Responses(np.zeros((n * len(runs), 2)), samples, info={"design": design, **info})


def events(onset, duration, condition="a", **more):
    n = len(onset)
    return pd.DataFrame(
        {"onset": onset, "duration": duration, "condition": condition, **more}, index=range(n)
    )


def test_a_boxcar_integrates_to_its_duration():
    """Whatever the onset, the samples hold duration / dt in all: nothing is lost at edges."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        onset, duration = rng.uniform(0, 12), rng.uniform(0.1, 7)
        out = design.to_samples(events([onset], [duration]), recording()).values
        assert np.isclose(out.sum() * 2.0, duration)
        # the centre of mass is the middle of the event, within half a sample
        centre = (out[:, 0] * (np.arange(10) * 2.0 + 1)).sum() / out.sum()
        assert abs(centre - (onset + duration / 2)) <= 1.0


def test_events_find_their_run_and_session():
    """Run 2 of session b is not run 2 of session a."""
    samples = pd.DataFrame(
        {
            "session": ["a"] * 4 + ["b"] * 4,
            "run": ["2"] * 8,
            "onset": [0.0, 2.0, 4.0, 6.0] * 2,
        }
    )
    bold = Responses(np.zeros((8, 1)), samples, info={"design": "blocks"})
    out = design.to_samples(events([2.0], [2.0], session=["b"], run=["2"]), bold)
    assert np.flatnonzero(out.values[:, 0]).tolist() == [5]


def test_features_of_stimuli_follow_the_events():
    """Each stimulus puts its features where it was shown, by id, whatever the order."""
    features = Responses(
        np.array([[1.0, 10.0], [2.0, 20.0]]),
        pd.DataFrame({"stimulus_id": ["x", "y"]}),
        info={"design": "trials", "model": "net"},
    )
    shown = events([0.0, 4.0, 8.0], [2.0, 2.0, 2.0], stimulus_id=["y", "x", "y"])
    out = design.to_samples(features, recording(), events=shown)
    assert out.values[:, 0].tolist() == [2, 0, 1, 0, 2, 0, 0, 0, 0, 0]
    assert out.info["model"] == "net"
    assert out.info["design"] == "blocks"


def test_samples_that_name_their_stimulus_need_no_events():
    """A frame per sample: features by id, 0 where nothing was shown."""
    samples = pd.DataFrame({"run": "1", "onset": [0.0, 2.0, 4.0], "stimulus_id": ["y", None, "x"]})
    layer = Responses(np.array([[1.0], [2.0]]), pd.DataFrame({"stimulus_id": ["x", "y"]}))
    assert design.to_samples(layer, _blocks(samples)).values[:, 0].tolist() == [2, 0, 1]
    with pytest.raises(AlignmentError, match="first 'y'"):
        design.to_samples(layer.select(samples=[0]), _blocks(samples))


def test_impulses_count_the_events_of_a_sample():
    """Three words in the first two seconds are 3; one on the border belongs to the later sample."""
    out = design.to_samples(events([0.0, 0.5, 1.99, 4.0], [0, 0, 0, 0]), recording(), method="impulse")
    assert out.values[:3, 0].tolist() == [3, 0, 1]


def test_interpolation_of_a_line_is_that_line_and_fast_features_are_averaged():
    """Slow features lie on straight lines; fast ones do not alias."""
    slow = Responses(np.arange(0.0, 24, 4)[:, None], pd.DataFrame({"onset": np.arange(0.0, 24, 4)}))
    assert np.allclose(
        design.to_samples(slow, recording(), method="interpolate").values[:, 0], np.arange(10) * 2.0
    )
    t = np.arange(0, 20, 0.1)
    fast = Responses(np.sin(2 * np.pi * t * 5)[:, None], pd.DataFrame({"onset": t}))
    out = design.to_samples(fast, recording(), method="interpolate").values
    assert np.abs(out).max() < 0.05


def test_lanczos_keeps_a_slow_sine_and_loses_a_fast_one():
    """Below half the sampling rate it passes, above it does not."""
    t = np.arange(0, 200, 0.25)
    bold = recording(n=100)
    centres = np.arange(100) * 2.0 + 1
    for period, kept in ((40.0, True), (1.3, False)):
        source = Responses(np.sin(2 * np.pi * t / period)[:, None], pd.DataFrame({"onset": t}))
        out = design.to_samples(source, bold, method="lanczos").values[5:-5, 0]
        if kept:
            assert np.corrcoef(out, np.sin(2 * np.pi * centres[5:-5] / period))[0, 1] > 0.99
        else:
            assert out.std() < 0.15 * 8 * 0.7


def test_the_recording_knows_its_own_events():
    """Without a source, the events of the responses become indicators."""
    known = {"onset": [2.0], "duration": [2.0], "condition": ["face"], "run": ["1"]}
    out = design.condition_indicators(recording(events=known))
    assert out.values[:, 0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert list(out.units.index) == ["face"]


def test_trials_become_indicators_of_their_condition():
    """One row a trial, or one a stimulus where stimuli are known; rest is 0 everywhere."""
    trials = pd.DataFrame({"condition": ["b", None, "a"]})
    by_number = design.to_samples({"onset": [0.0], "duration": [2.0], "condition": [7]}, recording())
    assert by_number.values.sum() == 1
    out = design.condition_indicators(Responses(np.zeros((3, 1)), trials, info={"design": "trials"}))
    assert out.values.tolist() == [[0, 1], [0, 0], [1, 0]]
    named = pd.DataFrame({"condition": ["b", "b", "a"], "stimulus_id": ["x", "x", "y"]})
    out = design.condition_indicators(Responses(np.zeros((3, 1)), named, info={"design": "trials"}))
    assert list(out.samples["stimulus_id"]) == ["x", "y"]


def test_what_lies_outside_is_refused_or_dropped_and_counted():
    """An event after the end is a fault of the clock, unless the user says otherwise."""
    late = events([2.0, 30.0], [2.0, 2.0])
    with pytest.raises(InputError, match=r"event 1 \(30 to 32 s\) is not inside its run.*0 to 20 s"):
        design.to_samples(late, recording())
    out = design.to_samples(late, recording(), outside="drop")
    assert out.info["events_outside"] == 1
    with pytest.raises(InputError, match="not inside its run"):
        design.to_samples(events([-3.0], [2.0]), recording())


def _blocks(samples):
    return Responses(np.zeros((len(samples), 1)), samples, info={"design": "blocks"})


def _no_onset():
    return _blocks(pd.DataFrame({"run": ["1"] * 3}))


def _uneven():
    return _blocks(pd.DataFrame({"run": "1", "onset": [0.0, 2.0, 9.0, 11.0]}))


@pytest.mark.parametrize(
    ("source", "responses", "options", "error", "text"),
    [
        (events([0.0], [2.0]), _no_onset(), {}, AlignmentError, "need an onset"),
        (events([0.0], [2.0]), _uneven(), {}, InputError, "not evenly spaced"),
        (events([0.0], [-1.0]), recording(), {}, InputError, "duration -1 s"),
        (events([0.0], [0.0]), recording(), {}, InputError, "has no duration"),
        (events(["x"], [1.0]), recording(), {}, InputError, "onset 'x'; expected seconds"),
        (events([None], [1.0]), recording(), {}, InputError, "event 0 has no onset"),
        (pd.DataFrame({"duration": [1.0]}), recording(), {}, InputError, "expected onset"),
        (
            pd.DataFrame({"onset": [0.0], "duration": [1.0]}),
            recording(),
            {},
            InputError,
            "no column condition",
        ),
        (events([0.0], [1.0], condition=[None]), recording(), {}, InputError, "no event has a condition"),
        (events([0.0], [1.0]), recording(runs=("1", "2")), {}, AlignmentError, "do not all say theirs"),
        (
            events([0.0], [1.0], run=["7"]),
            recording(runs=("1", "2")),
            {},
            AlignmentError,
            "event 0 is in run '7', which the responses do not have",
        ),
        (None, recording(), {}, AlignmentError, "know of no events"),
        (3, recording(), {}, InputError, "source is a int"),
        (events([0.0], [1.0]), recording(), {"method": "box"}, InputError, "closest: 'boxcar'"),
        (Responses(np.zeros((2, 1))), recording(), {}, AlignmentError, "neither onset nor stimulus_id"),
        (
            Responses(np.zeros((2, 1, 2)), times=[0, 1]),
            recording(),
            {},
            ShapeError,
            "expected \\(n, n_features\\)",
        ),
    ],
)
def test_wrong_events_are_named(source, responses, options, error, text):
    """Each fault says which event and what was expected."""
    with pytest.raises(error, match=text):
        design.to_samples(source, responses, **options)


def test_a_stimulus_without_features_is_named():
    """Ids without a partner, and ids that stand twice."""
    one = Responses(np.zeros((1, 1)), pd.DataFrame({"stimulus_id": ["x"]}))
    with pytest.raises(AlignmentError, match="1 events show a stimulus that has no features, first 'q'"):
        design.to_samples(one, recording(), events=events([0.0], [1.0], stimulus_id=["q"]))
    with pytest.raises(AlignmentError, match="have no stimulus_id"):
        design.to_samples(one, recording(), events=events([0.0], [1.0]))
    two = Responses(np.zeros((2, 1)), pd.DataFrame({"stimulus_id": ["x", "x"]}))
    with pytest.raises(AlignmentError, match="repeat a stimulus_id"):
        design.to_samples(two, recording(), events=events([0.0], [1.0], stimulus_id=["x"]))


def test_two_features_at_one_moment_cannot_be_interpolated():
    """One onset, one value."""
    twice = Responses(np.zeros((2, 1)), pd.DataFrame({"onset": [1.0, 1.0]}))
    with pytest.raises(InputError, match="same onset"):
        design.to_samples(twice, recording(), method="interpolate")


def test_conditions_must_be_known():
    """No condition anywhere, or two for one stimulus."""
    with pytest.raises(AlignmentError, match="no sample has a condition"):
        design.condition_indicators(Responses(np.zeros((2, 1)), info={"design": "trials"}))
    twice = pd.DataFrame({"stimulus_id": ["x", "x"], "condition": ["a", "b"]})
    with pytest.raises(AlignmentError, match="'x' has several conditions"):
        design.condition_indicators(Responses(np.zeros((2, 1)), twice, info={"design": "trials"}))


def test_one_subject_at_a_time():
    """Two people have two clocks."""
    samples = pd.DataFrame({"subject": ["a", "b"], "run": "1", "onset": [0.0, 0.0]})
    with pytest.raises(AlignmentError, match="several subjects"):
        design.to_samples(
            events([0.0], [1.0]), Responses(np.zeros((2, 1)), samples, info={"design": "blocks"})
        )


def test_samples_back_in_time_are_refused():
    """Rows of a run are in order of time."""
    samples = pd.DataFrame({"run": "1", "onset": [0.0, 4.0, 2.0]})
    with pytest.raises(InputError, match="not in order of time"):
        design.to_samples(
            events([0.0], [1.0]), Responses(np.zeros((3, 1)), samples, info={"design": "blocks"})
        )


def test_seconds_between_samples_come_from_what_is_known():
    """Repetition time, sampling rate, onsets; else a clear error."""
    assert design.sample_interval(recording(repetition_time=2.5)) == 2.5
    assert design.sample_interval(recording(sampling_rate=4.0)) == 0.25
    assert design.sample_interval(recording()) == 2.0
    with pytest.raises(AlignmentError, match="nothing says how many seconds"):
        design.sample_interval(Responses(np.zeros((2, 1))))


def test_events_of_runs_that_were_not_selected_stay_out():
    """One run, one session or some runs of an experiment: only their own events are laid on them."""
    table = events([0.0, 8.0, 4.0], [2.0, 2.0, 2.0], ["a", "b", "b"], run=["1", "2", "3"])
    whole = recording(runs=("1", "2", "3"), events=table.to_dict("list"))
    one = whole.select(samples=(whole.samples["run"] == "1").to_numpy())
    assert design.to_samples(None, one).values.sum(axis=0).tolist() == [1.0, 0.0]
    two = whole.select(samples=(whole.samples["run"] != "3").to_numpy())
    assert design.to_samples(None, two).values.sum(axis=0).tolist() == [1.0, 1.0]
    with pytest.raises(AlignmentError, match="event 1 is in run '2', which the responses do not have"):
        design.to_samples(table, one)
    sessions = table.iloc[:2].assign(session=["A", "B"], run="1")
    first = Responses(
        one.values,
        one.samples.assign(session="A"),
        info={**one.info, "events": sessions.to_dict("list")},
    )
    assert design.to_samples(None, first).values.sum(axis=0).tolist() == [1.0, 0.0]


def test_events_of_several_runs_need_samples_that_name_theirs():
    """A recording without run labels cannot take the events of two runs."""
    alone = Responses(np.zeros((10, 1)), recording().samples[["onset"]], info={"design": "blocks"})
    table = events([0.0, 8.0], [2.0, 2.0], run=["1", "2"])
    with pytest.raises(AlignmentError, match="events name several values of run, and the samples"):
        design.to_samples(table, alone)
    assert design.to_samples(table.iloc[:1], alone).values.sum() == 1.0


def test_events_begin_with_the_volume_whose_middle_is_the_first_sample():
    """Samples at the middle of their volumes: an event at the start of the run counts from there on."""
    middle = recording()
    middle = Responses(middle.values, middle.samples.assign(onset=np.arange(10) * 2.0 + 1), info=middle.info)
    out = design.to_samples(events([0.0], [4.0]), middle).values
    assert out[:3, 0].tolist() == [1.0, 0.5, 0.0]
    assert design.to_samples(events([0.0], [0.0]), middle, method="impulse").values[0, 0] == 1.0
    with pytest.raises(InputError, match=r"recorded from 0 to 21 s"):
        design.to_samples(events([-0.5], [1.0]), middle)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"repetition_time": 2.0}, r"steps of 2000, and info\['repetition_time'\]=2 s says 2 s"),
        ({"sampling_rate": 2.0}, r"info\['sampling_rate'\]=2 Hz says 0.5 s"),
    ],
)
def test_onsets_in_another_unit_than_the_repetition_time_are_refused(info, text):
    """Milliseconds beside seconds would put every event on the first sample."""
    with pytest.raises(InputError, match=text):
        design.to_samples(events([4.0], [2.0]), recording(dt=2000.0, **info))


def test_moments_find_their_story():
    """Recordings that name stories take the words of each, by the same column."""
    told = recording(runs=("x", "y"))
    told = Responses(told.values, told.samples.rename(columns={"run": "story"}), info=told.info)
    words = pd.DataFrame({"story": ["x", "y"], "onset": [0.0, 6.0]})
    out = design.to_samples(Responses(np.array([[1.0], [2.0]]), words), told, method="impulse").values
    assert np.flatnonzero(out).tolist() == [0, 13]
