"""What a folder of fMRIPrep offers, found without opening an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_loaders._bids import BidsFile, find_derivatives, find_raw, functional_files, subject_labels
from data_loaders._fmriprep_events import CONDITION, distinct_values, events_table
from data_loaders._fmriprep_runs import Choice, Run, choose_runs, resolution_of, spaces, tasks, timing
from data_loaders._tables import Table

_PREFERRED = ("MNI152NLin2009cAsym", "MNI", "T1w", "fsaverage", "fsnative")
_MOST_CONDITIONS = 40


@dataclass(frozen=True)
class Survey:
    """What there is of the first subject with preprocessed runs: labels, with numbers of runs."""

    derivatives: Path
    raw: Path | None
    subjects: tuple[str, ...]
    subject: str
    sessions: tuple[str, ...]
    tasks: dict[str, int]
    files: tuple[BidsFile, ...]


@dataclass(frozen=True)
class RunsSurvey:
    """The runs of a choice: how often they tick, and what events.tsv says of them.

    `condition` is the column that likely names the condition, `labels` what it holds,
    `columns` all columns {name: number of distinct values}; `durations` [s].
    """

    runs: tuple[Run, ...]
    repetition_time: float | None
    has_confounds: bool
    condition: str | None
    labels: tuple[str, ...]
    columns: dict[str, int]
    durations: tuple[float, ...]


def survey(path: str | os.PathLike[str]) -> Survey:
    """List subjects, sessions and tasks; the first subject with preprocessed runs is looked at."""
    derivatives = find_derivatives(path)
    subjects = subject_labels(derivatives)
    subject, files = subjects[0], functional_files(derivatives, subjects[0])
    for subject in subjects:
        files = functional_files(derivatives, subject)
        if spaces(files):
            break
    sessions = sorted({file.entities["ses"] for file in files if "ses" in file.entities})
    return Survey(
        derivatives,
        find_raw(derivatives),
        tuple(subjects),
        subject,
        tuple(sessions),
        tasks(files),
        tuple(files),
    )


def spaces_of_task(found: Survey, task: str | None) -> dict[str, int]:
    """The spaces of one task (None: of all), the most useful first: of templates, of the subject."""
    own = [f for f in found.files if task is None or f.entities.get("task") == task]
    known = spaces(own)

    def rank(space: str) -> tuple[int, int, str]:
        places = [k for k, start in enumerate(_PREFERRED) if space.startswith(start)]
        return -known[space], min(places, default=len(_PREFERRED)), space

    return {space: known[space] for space in sorted(known, key=rank)}


def resolutions_of_space(found: Survey, task: str | None, space: str) -> list[str]:
    """The labels of ``res-`` or ``den-`` in a space; one of them may be ""."""
    own = [f for f in found.files if task is None or f.entities.get("task") == task]
    return sorted({resolution_of(f) for f in own if f.entities.get("space", "func") == space and spaces([f])})


def survey_runs(found: Survey, choice: Choice) -> RunsSurvey:
    """Look at the runs of a choice; raises what loading them would raise."""
    runs = choose_runs(found.files, choice, found.derivatives)
    tables = [] if found.raw is None else [events_table(found.raw, run.files[0]) for run in runs]
    known = [table for table in tables if table is not None]
    column = _likely_condition(known)
    cells = [cell for table in known if column in table.columns for cell in table.columns[str(column)]]
    return RunsSurvey(
        tuple(runs),
        timing(runs[0], found.raw, None).repetition_time,
        all(run.confounds is not None for run in runs),
        column,
        tuple(sorted({cell for cell in cells if cell is not None})),
        distinct_values(known[0]) if known else {},
        tuple(value for table in known if "duration" in table.columns for value in table.numbers("duration")),
    )


def _likely_condition(tables: Sequence[Table]) -> str | None:
    """``trial_type``, else the column of words with the fewest distinct values (at least two)."""
    if not tables:
        return None
    if CONDITION in tables[0].columns:
        return CONDITION
    counts = {
        name: n
        for name, n in distinct_values(tables[0]).items()
        if 2 <= n <= _MOST_CONDITIONS and not _all_numbers(tables[0].columns[name])
    }
    return min(counts, key=lambda name: counts[name]) if counts else None


def _all_numbers(cells: Sequence[str | None]) -> bool:
    try:
        [float(cell) for cell in cells if cell is not None]
    except ValueError:
        return False
    return True
