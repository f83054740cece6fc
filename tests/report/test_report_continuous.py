"""Designs in time: the drift alarm, the control for time, and what the methods say."""

from __future__ import annotations

import pytest
from report_parts import Page, make_continuous, make_scores, make_volume

from brainalign.report import score_table, write_report
from brainalign.report.alarms import standing_alarms
from brainalign.report.groups import group_scores
from brainalign.report.methods_continuous import gap_words, seconds_per_sample, time_sentences

CONTROL = make_continuous(0.05, model="time index", role="control", seed=1)


def _alarms(*scores):
    return {a.title: a for a in standing_alarms(group_scores(scores)[0])}


@pytest.mark.parametrize("value", [0.3, -0.3])
def test_drift_is_told_from_the_responses(value):
    """Half of the variance below the cut-off is an alarm that names the remedy, whatever the scores."""
    alarm = _alarms(make_continuous(value, drift=0.5))["Slow drift in the responses"]
    assert alarm.level == "alarm"
    assert "50 % of the variance of the responses (median over units) is slower than 128 s" in alarm.text
    assert "4 % would be expected of white noise" in alarm.text
    assert "set preparation.high_pass_s" in alarm.text
    for small in (0.02, 0.07, 0.1):
        quiet = _alarms(make_continuous(value, drift=small))["Slow drift in the responses"]
        assert quiet.level == "quiet"


def test_drift_that_is_not_known():
    """Designs in time that do not say their drift leave the check open; trials have none to check."""
    assert _alarms(make_continuous(drift=None))["Slow drift in the responses"].level == "open"
    unsaid = _alarms(make_volume())["Slow drift in the responses"]
    assert unsaid.level == "open"
    assert "not recorded" in unsaid.text
    assert "Slow drift in the responses" not in _alarms(make_scores())


def test_control_for_time_stands_beside_the_claim(tmp_path):
    """The time index is a control in table, figure and alarms; without it a note says so."""
    claim = make_continuous(0.2)
    assert _alarms(claim)["No control for time"].level == "note"
    assert _alarms(claim, CONTROL)["No control for time"].level == "quiet"
    assert "No control for time" not in _alarms(make_scores())
    better = make_continuous(0.4, model="time index", role="control")
    assert _alarms(claim, better)["Control as good as the model"].level == "alarm"
    table = score_table([claim, CONTROL])
    assert list(table["role"].unique()) == ["model", "control"]
    page = Page(write_report([claim, CONTROL], tmp_path / "r.html").read_text())
    assert "time index (control)" in page.text
    assert "Score against lag." in page.text
    assert "best lag 4.00 s" in page.text
    assert "A control that knows the time alone was scored" in page.text


def test_methods_say_what_was_done_in_time(tmp_path):
    """Preparation, delays, confounds and the gap stand in the methods, in samples and seconds."""
    text = Page(write_report([make_continuous()], tmp_path / "r.html").read_text()).text
    for words in (
        "The responses were prepared: z-scored per run.",
        "Features entered at delays of 1, 2 and 3 samples (2, 4 and 6 s) within runs",
        "Confounds: 6 columns.",
        "10 samples (20.0 s) beside each test block were left out",
        "6 contiguous blocks",
    ):
        assert words in text, words


def test_time_sentences_with_little_to_say():
    """Missing, odd and single entries make shorter sentences, or none."""
    assert time_sentences({}) == []
    assert time_sentences({"preparation": [], "delays": "x", "confounds": None}) == []
    assert time_sentences({"delays": [1], "delays_s": [2.5]}) == [
        "Features entered 1 sample (2.5 s) before the responses, within runs."
    ]
    assert gap_words({"splits": {"gap": 1}, "sampling_rate": 4.0}) == (
        "1 sample (0.2 s) beside each test block was left out"
    )
    assert gap_words({"splits": {"method": "by run"}}) == ""
    assert gap_words({"splits": {"gap": 3}}) == "3 samples beside each test block were left out"
    assert seconds_per_sample({"repetition_time": 2.0, "sampling_rate": 9.0}) == 2.0
    assert seconds_per_sample({"sampling_rate": 0}) is None


def test_best_lag_outside_the_delays_is_said():
    """A model whose delays miss the lag that serves best says so; one that holds it is quiet."""
    title = "Best lag outside the delays"
    scan = {"best_lag": 0, "best_lag_s": 0.0, "lags_s": [0.0, 2.0], "values": {"all": [0.2, 0.1]}}
    note = _alarms(make_continuous(lag_scan=scan))[title]
    assert note.level == "note"
    assert "serve best at 0 samples (0.00 s); the model has delays of 1 to 3 samples" in note.text
    assert _alarms(make_continuous(lag_scan={**scan, "best_lag": 2}))[title].level == "quiet"
    assert title not in _alarms(make_scores())


@pytest.mark.parametrize(
    ("done", "advice"),
    [
        (["z-scored per run"], "set preparation.high_pass_s (128 is usual) or preparation.detrend"),
        (["linear trend removed per run"], "the linear trend is out already"),
        (["high-pass 128 s per run (discrete cosines)"], "a shorter preparation.high_pass_s"),
    ],
)
def test_drift_advice_names_what_is_left_to_do(done, advice):
    """What was done against drift already is not asked for again."""
    assert advice in _alarms(make_continuous(preparation=done))["Slow drift in the responses"].text
