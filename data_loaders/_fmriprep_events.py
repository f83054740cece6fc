"""What happened during the runs: events.tsv, found by inheritance and cut to the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brainalign.errors import InputError
from data_loaders._bids import BidsFile, inherited
from data_loaders._fmriprep_images import Clock
from data_loaders._fmriprep_runs import Run
from data_loaders._read import require_file
from data_loaders._tables import Table, read_tsv

CONDITION = "trial_type"
_STIMULUS = ("stim_file", "stimulus_id")
OUTSIDE = ("refuse", "drop")


@dataclass
class Events:
    """Columns of events over all runs, and counts of what was done to them."""

    columns: dict[str, list[object]] = field(default_factory=dict)
    per_run: list[dict[str, list[object]]] = field(default_factory=list)
    cut: int = 0
    dropped: int = 0
    unnamed: int = 0

    def notes(self) -> list[str]:
        """What was done, in words; nothing where nothing was."""
        told = {
            "begin before the first or end after the last sample of their run and were cut there": self.cut,
            "lie outside the samples of their run and were left out": self.dropped,
            "have no condition (n/a) and were left out": self.unnamed,
        }
        return [f"{n} events {text}" for text, n in told.items() if n]


def events_table(raw: Path, run: BidsFile) -> Table | None:
    """Read the events of a run: its own file, else the nearest that it inherits."""
    found = inherited(raw, run, "events", ".tsv")
    return read_tsv(require_file(found[0])) if found else None


def condition_column(table: Table, condition: str | None) -> str:
    """Name the column that holds the conditions.

    Raises
    ------
    InputError
        It is not there; the columns are listed with their numbers of distinct values.
    """
    name = condition or CONDITION
    if name not in table.columns:
        shown = ", ".join(f"{c} ({n} distinct)" for c, n in distinct_values(table).items()) or "none"
        raise InputError(
            f"{table.path} has no column {name!r} that names the condition; say condition= one of: {shown}"
        )
    return name


def distinct_values(table: Table) -> dict[str, int]:
    """How many distinct values each column has besides onset and duration."""
    return {
        name: len({value for value in cells if value is not None})
        for name, cells in table.columns.items()
        if name not in ("onset", "duration")
    }


def gather_events(
    raw: Path,
    runs: Sequence[Run],
    times: Sequence[Clock],
    condition: str | None,
    outside: str,
) -> Events | None:
    """Read the events of all runs, or return None where none has any (rest).

    Events that overlap a border of the samples are cut there. Those that lie outside are
    refused, or dropped; those shown while volumes at the start were left out are dropped.

    Raises
    ------
    InputError
        Some runs have events and some have none, the column of the condition is not there,
        an onset is missing, an event lies outside its run.
    """
    tables = [events_table(raw, run.files[0]) for run in runs]
    if all(table is None for table in tables):
        return None
    _refuse_without(tables, [run.shown for run in runs])
    events = Events()
    for run, table, clock in zip(runs, tables, times, strict=True):
        assert table is not None
        labels = {"run": run.label, **({} if run.session is None else {"session": run.session})}
        _add(events, table, clock, labels, condition, outside)
    return events


def _add(
    events: Events,
    table: Table,
    clock: Clock,
    labels: dict[str, str],
    condition: str | None,
    outside: str,
) -> None:
    name = condition_column(table, condition)
    stimulus = next((c for c in _STIMULUS if c in table.columns), None)
    onsets, durations = table.numbers("onset"), table.numbers("duration")
    own: dict[str, list[object]] = {"onset": [], "duration": [], "condition": []}
    events.per_run.append(own)
    first, last = float(clock.times[0]), clock.end
    for row, label in enumerate(table.columns[name]):
        if label is None:
            events.unnamed += 1
            continue
        onset, duration = _seconds(table, row, onsets[row], durations[row])
        placed = _placed(onset, duration, first, last, clock.repetition_time)
        if placed is None:
            _refuse_outside(table, row, onset, duration, first, last, outside)
            events.dropped += 1
            continue
        events.cut += int(placed != (onset, duration))
        begin, length = placed
        row_values: dict[str, object] = {**labels, "onset": begin, "duration": length, "condition": label}
        if stimulus is not None:
            row_values["stimulus_id"] = table.columns[stimulus][row]
        _append(events.columns, row_values)
        for column, values in own.items():
            values.append(row_values[column])


def _placed(
    onset: float, duration: float, first: float, last: float, repetition_time: float
) -> tuple[float, float] | None:
    """Onset and duration inside the samples, or None where the event has no part in them."""
    stop = onset + duration
    if onset >= last or (onset < first - repetition_time and stop <= first):
        return None
    if onset < first and stop <= first:
        # over before the instant of the first volume, but shown while that volume was acquired
        return first, duration
    begin, end = max(onset, first), min(stop, last)
    return begin, (duration if (begin, end) == (onset, stop) else end - begin)


def _append(columns: dict[str, list[object]], values: dict[str, object]) -> None:
    n = max((len(cells) for cells in columns.values()), default=0)
    for name in {**columns, **values}:
        columns.setdefault(name, [None] * n).append(values.get(name))


def _seconds(table: Table, row: int, onset: float, duration: float) -> tuple[float, float]:
    if not np.isfinite(onset):
        raise InputError(f"{table.path}, line {table.lines[row]}: onset is {onset}; expected seconds")
    # n/a: it is not known how long it lasted
    duration = 0.0 if np.isnan(duration) else duration
    if duration < 0 or np.isinf(duration):
        raise InputError(
            f"{table.path}, line {table.lines[row]}: duration is {duration:g}; expected 0 or more seconds"
        )
    return onset, duration


def _refuse_outside(
    table: Table, row: int, onset: float, duration: float, first: float, last: float, outside: str
) -> None:
    # what was shown during volumes that were left out is not the user's mistake
    if outside == "drop" or 0 <= onset < first:
        return
    raise InputError(
        f"{table.path}, line {table.lines[row]}: the event from {onset:g} to {onset + duration:g} s is "
        f"outside its run, whose samples reach from {first:g} to {last:g} s. Are onsets in seconds, and of "
        "this run? outside='drop' leaves such events out"
    )


def _refuse_without(tables: Sequence[Table | None], runs: Sequence[str]) -> None:
    """Refuse runs without events beside runs with: they would count as rest."""
    missing = [run for run, table in zip(runs, tables, strict=True) if table is None]
    if missing:
        raise InputError(
            f"{missing[0]} has no events.tsv, {len(runs) - len(missing)} other runs have one; it would count "
            "as rest throughout. Add its events, choose the runs that have some (runs=[...]), or "
            "events='none'"
        )
