"""The words for rows: stimuli, trials of unknown stimuli, samples in time; ceilings over time."""

from __future__ import annotations

import numpy as np
import pytest
from report_parts import Page, make_scores, make_sensors

from brainalign.report import summarise, write_report
from brainalign.report.figures_time import time_course_numbers
from brainalign.report.rows import row_noun, rows_noun
from brainalign.types import NoiseCeiling, Scores


def _trials(method):
    return make_sensors(
        n=4,
        rows="trial",
        splits={"method": method, "n_folds": 6, "n_groups": 1144},
        n_stimuli=1144,
        repeats="average",
        estimator={"name": "RidgeCV"},
        model={"model": "conditions"},
        layers=["conditions"],
        no_ceiling="which stimulus a trial showed is not known, so that repeats cannot be told",
        interval="95 % over resampled test trials, models held",
        permutation={"n": 50, "exchange": "trials within folds"},
    )


@pytest.mark.parametrize("method", ["6 folds of whole runs", "6 contiguous blocks of trials"])
def test_trials_of_unknown_stimuli_are_not_called_stimuli(tmp_path, method):
    """Where only the condition of a trial is known, no count, interval, ceiling or fold speaks of stimuli."""
    text = " ".join(Page(write_report([_trials(method)], tmp_path / "r.html").read_text()).text.split())
    assert "1 144 trials" in text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "which stimulus a trial showed is not known" in text
    assert "resampled test trials" in text
    assert "trials within folds" in text
    assert "Responses were regressed on the features with RidgeCV" in text
    for wrong in ("1 144 stimuli", "test stimuli", "presented twice", "rows that must stay together"):
        assert wrong not in text
    assert "Repeats" not in text


def test_stimuli_stay_stimuli(tmp_path):
    """Trials that are grouped by stimulus keep their words."""
    scores = make_scores(interval="95 % over resampled test stimuli")
    assert (row_noun(scores), rows_noun(scores)) == ("stimulus", "stimuli")
    text = Page(write_report([scores], tmp_path / "r.html").read_text()).text
    assert "resampled test stimuli" in text
    assert "held-out stimuli" in text
    assert rows_noun(Scores([0.0], info={"design": "blocks"})) == "samples"


def test_times_without_a_response_do_not_lift_the_ceiling():
    """A response at 2 of 10 times: the ceiling at the others is 0, the share is that of the 2 times."""
    values, ceiling = np.zeros((3, 10)), np.full((3, 10), np.nan)
    values[:, 4:6], ceiling[:, 4:6] = 0.4, 0.8
    ceiling[0, 0] = 0.6  # chance: its interval reaches 0
    low = np.where(np.isnan(ceiling) | (ceiling < 0.7), 0.0, 0.7)
    bound = NoiseCeiling(ceiling, low, np.full((3, 10), 0.9), "variance_components")
    scores = Scores(values, noise_ceiling=bound, info={"times": np.arange(10) / 10})
    row = summarise(scores).iloc[0]
    assert row["value"] == pytest.approx(0.08)
    assert row["ceiling"] == pytest.approx((6 * 0.8 + 0.6) / 30)
    assert row["normalised"] == pytest.approx(0.5)
    assert row["n_normalised"] == 3
    course = time_course_numbers(scores)["noise_ceiling"]
    assert course[[0, 1, 4]].tolist() == pytest.approx([0.2, 0.0, 0.8])
