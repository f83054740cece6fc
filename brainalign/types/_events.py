"""Tables of events: read, checked against the run they belong to, laid on its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainalign._checks import closest
from brainalign.errors import AlignmentError, CorruptFileError, InputError, ShapeError
from brainalign.types._files import is_path, with_content

_NAMES = ("onset", "duration", "trial_type", "condition", "stimulus_id", "run", "session")


class Events(NamedTuple):
    """Events of one run: where they were read, and onset [s], duration [s], condition ... by row."""

    where: str
    table: pd.DataFrame
    left_out: tuple[str, ...]


class Run(NamedTuple):
    """One run: labels, number of samples, seconds between them, time of the first one after its start."""

    run: str
    session: str | None
    n_samples: int
    step: float
    first: float = 0.0

    @property
    def duration(self) -> float:
        """Seconds that the run lasts."""
        return self.n_samples * self.step

    @property
    def name(self) -> str:
        """Run and session as messages name them."""
        return f"run {self.run!r}" + (f" of session {self.session!r}" if self.session is not None else "")

    @property
    def onsets(self) -> np.ndarray:
        """Seconds of the samples from the start of the run, (n_samples,)."""
        return self.first + np.arange(self.n_samples) * self.step


def read_events(events: Any) -> Events:
    """Read events from a tab-separated file, a DataFrame or a mapping of columns.

    Raises
    ------
    DataNotFoundError, CorruptFileError
        No such file, or no table.
    InputError
        A column is missing, a row has no onset, duration or condition.
    """
    where, table = _table_of(events)
    table.columns = pd.Index([str(c) for c in table.columns], dtype=object)
    condition = _condition_column(table, where)
    out = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in ("onset", "duration"):
        out[name] = _seconds(table, name, where)
    for name, source in (("condition", condition), *((n, n) for n in ("stimulus_id", "run", "session"))):
        if source is not None and source in table:
            out[name] = _labels(table[source], source, where)
    negative = np.flatnonzero(out["duration"].to_numpy() < 0)
    if len(negative):
        row = int(negative[0])
        raise InputError(
            f"{where}: row {row} lasts {out['duration'].iloc[row]:g} s; a duration is 0 or more, in seconds"
        )
    left_out = tuple(c for c in table.columns if c not in _NAMES)
    return Events(where, out, left_out)


def _table_of(events: Any) -> tuple[str, pd.DataFrame]:
    if isinstance(events, pd.DataFrame):
        return "events", events.reset_index(drop=True).copy()
    if isinstance(events, Mapping):
        try:
            return "events", pd.DataFrame(dict(events))
        except ValueError as error:
            raise ShapeError(f"events: the columns cannot form one table ({error})") from error
    if not is_path(events):
        raise InputError(
            f"events are a {type(events).__name__}; expected the path of a .tsv file, a DataFrame or a "
            "mapping of columns"
        )
    path = with_content(events)
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    try:
        return str(path), pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise CorruptFileError(f"{path} is no table of events: {error}") from error


def _condition_column(table: pd.DataFrame, where: str) -> str | None:
    """Name of the column that says what happened; the needed ones must be there."""
    if "condition" in table and "trial_type" in table and not table["condition"].equals(table["trial_type"]):
        raise InputError(f"{where} has the columns 'condition' and 'trial_type', which differ; leave one out")
    named = next((c for c in ("condition", "trial_type") if c in table), None)
    missing = [c for c in ("onset", "duration") if c not in table]
    if named is None and "stimulus_id" not in table:
        missing.append("trial_type")
    if missing:
        near = closest(missing[0], [c for c in table.columns if c not in _NAMES], n=1)
        hint = f"; is it {near[0]!r}?" if near else ""
        raise InputError(
            f"{where} has no column {missing[0]!r}{hint} (found: {', '.join(table.columns) or 'none'}); "
            "expected onset [s], duration [s] and trial_type (or condition), as BIDS has them"
        )
    return named


def _seconds(table: pd.DataFrame, name: str, where: str) -> pd.Series[Any]:
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        found = table[name].iloc[row]
        shown = repr(found) if isinstance(found, str) else f"{found}"
        also = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        raise InputError(
            f"{where}: row {row} has {name} {shown}{also}; expected a number of seconds"
            + (" (0 for an instant)" if name == "duration" else "")
        )
    return pd.Series(values)


def _labels(column: pd.Series[Any], name: str, where: str) -> pd.Series[Any]:
    """Labels as text; a row without a condition is refused, since nobody can say what happened there."""
    out: list[str | None] = []
    for row, value in enumerate(column):
        missing = value is None or (not isinstance(value, str) and bool(pd.isna(value)))
        missing = missing or (isinstance(value, str) and value.strip() in ("", "n/a"))
        if missing and name == "stimulus_id":
            out.append(None)
            continue
        if missing:
            raise InputError(f"{where}: row {row} has no {name} (found {value!r}); label it or leave it out")
        whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        out.append(str(int(value)) if whole else str(value))
    return pd.Series(np.array(out, dtype=object), dtype=object)


def events_of_runs(events: Any, runs: Sequence[Run]) -> list[Events | None]:
    """Events of each run: a list in their order, or one table with a column `run`.

    Raises
    ------
    ShapeError
        Another number of tables than of runs.
    AlignmentError
        Rows belong to no run that was given.
    """
    if events is None:
        return [None] * len(runs)
    if isinstance(events, (list, tuple)):
        if len(events) != len(runs):
            raise ShapeError(
                f"{len(events)} tables of events for {len(runs)} runs; give one for each, or None"
            )
        found = [None if part is None else read_events(part) for part in events]
        return [
            None if part is None else _rows_of(part, [run])[0] for part, run in zip(found, runs, strict=True)
        ]
    return list(_rows_of(read_events(events), runs))


def _rows_of(events: Events, runs: Sequence[Run]) -> list[Events]:
    """Split one table by its column `run` (and `session`)."""
    table = events.table
    if "run" not in table:
        if len(runs) > 1:
            raise AlignmentError(
                f"{events.where} has no column 'run' and there are {len(runs)} runs; add it, or give a list "
                "with one table for each run"
            )
        return [events]
    _refuse_mixed_sessions(events, runs)
    keys = ["run", "session"] if "session" in table and runs[0].session is not None else ["run"]
    rows = list(table[keys].itertuples(index=False, name=None))
    known = [tuple(getattr(run, key) for key in keys) for run in runs]
    foreign = np.flatnonzero([row not in known for row in rows])
    if len(foreign):
        row = int(foreign[0])
        raise AlignmentError(
            f"{events.where}: row {row} belongs to run {table['run'].iloc[row]!r}, which is not among the "
            f"runs {', '.join(repr(run.run) for run in runs[:12])} ({len(foreign)} such rows)"
        )
    return [events._replace(table=table[[row == key for row in rows]]) for key in known]


def _refuse_mixed_sessions(events: Events, runs: Sequence[Run]) -> None:
    """Run 1 of two sessions is two runs: both sides must say which session they mean."""
    known = events.table["session"].nunique() if "session" in events.table else 0
    labels = [run.run for run in runs]
    if not known and len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise AlignmentError(
            f"{events.where} has no column 'session', and run {twice!r} was recorded in several sessions; "
            "add it, or give a list with one table for each run"
        )
    if known > 1 and all(run.session is None for run in runs):
        raise AlignmentError(
            f"{events.where} holds events of {known} sessions, and the runs do not say theirs; give session="
        )


def check_inside(events: Events, run: Run) -> None:
    """Refuse events that begin outside their run, or end more than one sample after it.

    Raises
    ------
    AlignmentError
        Naming the row; times that look like milliseconds are named as such.
    """
    onset, duration = events.table["onset"].to_numpy(), events.table["duration"].to_numpy()
    begins = (onset < 0) | (onset >= run.duration)
    late = begins | (onset + duration > run.duration + run.step)
    if not late.any():
        return
    row = int(np.flatnonzero(late)[0])
    label = events.table["condition" if "condition" in events.table else "stimulus_id"].iloc[row]
    verb = f"begins at {onset[row]:g} s" if begins[row] else f"ends at {onset[row] + duration[row]:g} s"
    hint = ""
    if onset.max() > 20 * run.duration and onset.max() / 1000 < run.duration:
        hint = " The onsets look like milliseconds; events are in seconds."
    raise AlignmentError(
        f"{events.where}: row {int(events.table.index[row])} ({label!r}) {verb}, outside {run.name}, which "
        f"lasts {run.duration:g} s ({run.n_samples} samples of {run.step:g} s); {int(late.sum())} of "
        f"{len(late)} events do not fit. Are they of this run, and is the time between samples right?{hint}"
    )


def condition_at(onsets: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Condition of the event that covers each sample (begun last, where several do), else None."""
    out = np.full(len(onsets), None, dtype=object)
    if "condition" not in table:
        return out
    ordered = table.sort_values("onset", kind="stable")
    # a microsecond: 0.1 + 0.2 must not miss an event at 0.3
    begin = np.searchsorted(onsets, ordered["onset"].to_numpy() - 1e-6)
    end = np.searchsorted(onsets, (ordered["onset"] + ordered["duration"]).to_numpy() - 1e-6)
    for first, last, condition in zip(begin, end, ordered["condition"], strict=True):
        out[first:last] = condition
    return out


def sample_table(
    runs: Sequence[Run], events: Sequence[Events | None], subject: str | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Samples of all runs (run, onset [s], condition ...), and what `info` says of the events.

    Raises
    ------
    InputError
        Two runs have the same label in one session.
    AlignmentError
        Events outside their run.
    """
    keys = [(run.session, run.run) for run in runs]
    twice = next((run for run in runs if keys.count((run.session, run.run)) > 1), None)
    if twice is not None:
        raise InputError(f"{twice.name} occurs more than once; give each run its own label")
    parts = []
    for run, part in zip(runs, events, strict=True):
        frame = pd.DataFrame({"run": run.run, "onset": run.onsets})
        if any(key[0] is not None for key in keys):
            frame["session"] = run.session
        if part is not None:
            check_inside(part, run)
        if any(e is not None for e in events):
            frame["condition"] = None if part is None else condition_at(run.onsets, part.table)
        parts.append(frame)
    samples = pd.concat(parts, ignore_index=True)
    if subject is not None:
        samples["subject"] = str(subject)
    return samples, _events_info(runs, events)


def _events_info(runs: Sequence[Run], events: Sequence[Events | None]) -> dict[str, Any]:
    """``info["events"]`` as lists by column, and the columns that were not taken over."""
    given = [(run, part) for run, part in zip(runs, events, strict=True) if part is not None]
    if not given:
        return {}
    tables = [part.table.assign(run=run.run, session=run.session) for run, part in given]
    whole = pd.concat([t.sort_values("onset", kind="stable") for t in tables], ignore_index=True)
    names = ["run", "session", "onset", "duration", "condition", "stimulus_id"]
    kept = [n for n in names if n in whole and not whole[n].isna().all()]
    info: dict[str, Any] = {"events": {name: whole[name].tolist() for name in kept}}
    left_out = sorted({name for _, part in given for name in part.left_out})
    if left_out:
        info["events_left_out"] = left_out
    return info
