"""Events on volumes: read, refused outside their run, laid on the right samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from volume_cases import image, phantom

from brainalign.errors import AlignmentError, CorruptFileError, DataNotFoundError, InputError, ShapeError
from brainalign.types import Responses

# seven volumes of 2 s
BLOCKS = {"onset": [2.0, 8.0], "duration": [4.0, 2.0], "trial_type": ["face", "house"]}


def read(events: Any, **options: Any) -> Responses:
    return Responses.from_nifti(image(), events=events, **options)


def test_condition_of_a_volume_is_the_event_that_covers_its_onset(tmp_path: Path) -> None:
    """A file, a table and a mapping give the same conditions; the end of an event is outside it."""
    path = tmp_path / "events.tsv"
    pd.DataFrame(BLOCKS).to_csv(path, sep="\t", index=False)
    table = pd.DataFrame(BLOCKS).rename(columns={"trial_type": "condition"})
    for events in (path, str(path), BLOCKS, table, [table]):
        r = read(events)
        expected = [None, "face", "face", None, "house", None, None]
        assert r.samples["condition"].tolist() == expected
        assert r.info["events"] == {
            "run": ["1", "1"],
            "onset": [2.0, 8.0],
            "duration": [4.0, 2.0],
            "condition": ["face", "house"],
        }
    assert "condition" not in read(None).samples


def test_rounding_does_not_lose_a_volume() -> None:
    """An event at 0.1 + 0.2 s covers the volume at 0.3 s."""
    events = {"onset": [0.1 + 0.2], "duration": [0.1], "condition": ["a"]}
    r = Responses.from_nifti(image(tr=0.1, values=phantom(7)), events=events)
    assert r.samples["condition"].tolist() == [None, None, None, "a", None, None, None]


def test_events_keep_what_they_say_and_their_order() -> None:
    """Rows are sorted by onset, stimulus ids are kept, other columns are named as left out."""
    events = {
        "onset": [8.0, 2.0],
        "duration": [0, 2],
        "condition": [1.0, 2.0],
        "stimulus_id": ["b", "n/a"],
        "reaction": [1, 2],
    }
    r = read(events, session="s")
    assert r.info["events"] == {
        "run": ["1", "1"],
        "session": ["s", "s"],
        "onset": [2.0, 8.0],
        "duration": [2.0, 0.0],
        "condition": ["2", "1"],
        "stimulus_id": [None, "b"],
    }
    assert r.info["events_left_out"] == ["reaction"]
    # an instant covers no volume; overlapping events: the one that began last
    assert r.samples["condition"].tolist() == [None, "2", None, None, None, None, None]
    both = {"onset": [0.0, 4.0], "duration": [8.0, 2.0], "condition": ["a", "b"]}
    assert read(both).samples["condition"].tolist() == ["a", "a", "b", "a", None, None, None]
    ids = read({"onset": [0.0], "duration": [2.0], "stimulus_id": ["x"]})
    assert ids.samples["condition"].tolist() == [None] * 7
    assert ids.info["events"]["stimulus_id"] == ["x"]


def test_events_of_several_runs() -> None:
    """A list follows the runs, a table its column run; onsets count from the start of each run."""
    runs = [image(phantom(3)), image(phantom(4))]
    one = {"onset": [2.0], "duration": [2.0], "condition": ["a"]}
    two = {"onset": [6.0], "duration": [2.0], "condition": ["b"]}
    expected = [None, "a", None, None, None, None, "b"]
    listed = Responses.from_nifti(runs, events=[one, two])
    assert listed.samples["condition"].tolist() == expected
    table = pd.concat([pd.DataFrame(two).assign(run=2), pd.DataFrame(one).assign(run=1)])
    joined = Responses.from_nifti(runs, events=table)
    assert joined.samples["condition"].tolist() == expected
    assert joined.info["events"] == listed.info["events"]
    whole = Responses.from_nifti(image(phantom(7)), run=[1] * 3 + [2] * 4, events=table)
    assert whole.samples["condition"].tolist() == expected
    partly = Responses.from_nifti(runs, events=[None, two])
    assert partly.samples["condition"].tolist() == [None] * 6 + ["b"]
    sessions = table.assign(run=1, session=["t", "s"])
    by_session = Responses.from_nifti(runs, run=[1, 1], session=["s", "t"], events=sessions)
    assert by_session.samples["condition"].tolist() == expected


def test_tables_that_fit_no_run() -> None:
    """Another number of tables, rows of a run that is not there, and no column run are refused."""
    runs = [image(phantom(3)), image(phantom(4))]
    with pytest.raises(ShapeError, match="1 tables of events for 2 runs"):
        Responses.from_nifti(runs, events=[BLOCKS])
    with pytest.raises(AlignmentError, match="events has no column 'run' and there are 2 runs"):
        Responses.from_nifti(runs, events=BLOCKS)
    text = r"row 1 belongs to run '3', which is not among the runs '1' \(1 such rows\)"
    with pytest.raises(AlignmentError, match=text):
        read({**BLOCKS, "run": [1, 3]})


@pytest.mark.parametrize(
    ("onset", "duration", "text"),
    [
        (
            -0.5,
            1.0,
            r"row 1 \('b'\) begins at -0.5 s, outside run '1', which lasts 14 s \(7 samples of 2 s\)",
        ),
        (14.0, 0.0, r"row 1 \('b'\) begins at 14 s, outside"),
        (13.0, 3.5, r"row 1 \('b'\) ends at 16.5 s, outside run '1'"),
        (8000.0, 1.0, "begins at 8000 s, .*The onsets look like milliseconds; events are in seconds"),
    ],
)
def test_events_outside_the_run(onset: float, duration: float, text: str) -> None:
    """An event that begins before or after its run, or ends more than a volume late, is named by row."""
    events = {"onset": [2.0, onset], "duration": [1.0, duration], "condition": ["a", "b"]}
    with pytest.raises(AlignmentError, match=text):
        read(events)


def test_an_event_may_end_within_one_volume_after_the_run() -> None:
    """A block that was cut by the end of the scan is no error."""
    assert read({"onset": [10.0], "duration": [6.0], "condition": ["a"]}).samples["condition"].iloc[-1] == "a"


def test_events_of_another_run_are_caught_by_a_wrong_repetition_time() -> None:
    """Half the repetition time makes the run half as long, so its events no longer fit."""
    one = image(tr=0.0)
    events = {"onset": [2.0, 12.0], "duration": [1, 1], "condition": ["a", "b"]}
    assert Responses.from_nifti(one, events=events, repetition_time=2.0).n_samples == 7
    with pytest.raises(AlignmentError, match="1 of 2 events do not fit"):
        Responses.from_nifti(one, events=events, repetition_time=1.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"duration": [4.0, -2.0]}, "row 1 lasts -2 s; a duration is 0 or more"),
        ({"onset": ["2", "eight"]}, "row 1 has onset 'eight'; expected a number of seconds"),
        ({"duration": ["n/a", "n/a"]}, r"row 0 has duration 'n/a' \(2 such rows\); .*0 for an instant"),
        ({"onset": [2.0, np.inf]}, "row 1 has onset inf"),
        ({"trial_type": ["face", None]}, "row 1 has no trial_type .found nan.; label it or leave it out"),
        ({"trial_type": ["", "face"]}, "row 0 has no trial_type .found ''."),
        ({"condition": ["face", "cat"]}, "the columns 'condition' and 'trial_type', which differ"),
    ],
)
def test_rows_that_say_nothing(change: dict[str, Any], text: str) -> None:
    """Negative durations, onsets that are no number and rows without a label are named by row."""
    with pytest.raises(InputError, match=text):
        read({**BLOCKS, **change})


def test_columns_that_are_missing() -> None:
    """The missing column is named with the one that was probably meant."""
    with pytest.raises(InputError, match="has no column 'onset'; is it 'onsets'. .found: onsets, duration"):
        read({"onsets": [1.0], "duration": [1.0], "trial_type": ["a"]})
    with pytest.raises(
        InputError, match=r"no column 'trial_type' \(found: onset, duration\); expected onset"
    ):
        read({"onset": [1.0], "duration": [1.0]})
    with pytest.raises(InputError, match="no column 'duration'"):
        read({"onset": [1.0], "condition": ["a"]})


def test_tables_that_are_none(tmp_path: Path) -> None:
    """Absent, empty and binary files, ragged columns and other objects are refused."""
    with pytest.raises(DataNotFoundError, match="events.tsv does not exist"):
        read(tmp_path / "events.tsv")
    path = tmp_path / "events.tsv"
    path.write_bytes(b"\x80\x81\xff\n\xff\xfe")
    with pytest.raises(CorruptFileError, match="events.tsv is no table of events"):
        read(path)
    path.write_text("onset\tduration\ttrial_type\n1\t2\ta\tb\tc\n1\t2\n")
    with pytest.raises((CorruptFileError, InputError), match="events.tsv"):
        read(path)
    path.write_text("")
    with pytest.raises(CorruptFileError, match="is empty"):
        read(path)
    with pytest.raises(ShapeError, match="events: the columns cannot form one table"):
        read({"onset": [1.0], "duration": [1.0, 2.0]})
    with pytest.raises(InputError, match="events are a int; expected the path"):
        read(3)
    comma = tmp_path / "events.csv"
    pd.DataFrame(BLOCKS).to_csv(comma, index=False)
    assert read(comma).samples["condition"].notna().sum() == 3


def test_run_1_of_two_sessions_is_two_runs() -> None:
    """Events without a session are not given to the runs of both; nor are two sessions poured into one."""
    table = pd.DataFrame({**BLOCKS, "run": "1"})
    with pytest.raises(AlignmentError, match="no column 'session', and run '1' was recorded in several"):
        Responses.from_nifti([image(), image()], events=table, run=["1", "1"], session=["A", "B"])
    table["session"] = ["A", "B"]
    both = Responses.from_nifti([image(), image()], events=table, run=["1", "1"], session=["A", "B"])
    assert both.info["events"]["session"] == ["A", "B"]
    with pytest.raises(AlignmentError, match="holds events of 2 sessions, and the runs do not say theirs"):
        read(table)
