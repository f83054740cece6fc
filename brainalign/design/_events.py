"""Tables of events and the clock of each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, InputError
from brainalign.types import Responses


class Event(NamedTuple):
    """One moment: its row in the table, onset and duration in seconds."""

    row: int
    onset: float
    duration: float


@dataclass(frozen=True)
class Timeline:
    """The samples of one run: their rows, their onsets [s], the seconds between them."""

    rows: np.ndarray
    times: np.ndarray
    dt: float


def sample_interval(responses: Responses) -> float:
    """Seconds between samples: the repetition time, 1 / sampling rate, or the onsets.

    Raises
    ------
    AlignmentError
        Nothing says it.
    """
    for name, value in (("repetition_time", 1.0), ("sampling_rate", -1.0)):
        known: Any = responses.info.get(name)
        if _positive(known):
            return float(known if value > 0 else 1.0 / known)
    samples = responses.samples
    if samples is not None and "onset" in samples:
        steps = np.diff(pd.to_numeric(samples["onset"]).to_numpy(dtype=float))
        steps = steps[steps > 0]
        if len(steps):
            return float(np.median(steps))
    raise AlignmentError(
        "nothing says how many seconds lie between samples; give info['repetition_time'] [s], "
        "info['sampling_rate'] [Hz] or samples['onset'] [s]"
    )


def timelines(responses: Responses) -> dict[tuple[str, ...], Timeline]:
    """The clock of every run, by (session, run); "" where there is none.

    Raises
    ------
    AlignmentError
        Samples have no onset, or there are several subjects.
    InputError
        Samples of a run are not in order of time, not evenly spaced, or at other distances
        than `info` says.
    """
    samples = responses.samples
    assert samples is not None
    if "onset" not in samples or samples["onset"].isna().any():
        raise AlignmentError("samples of the responses need an onset [s from the start of the run]")
    if "subject" in samples and samples["subject"].nunique() > 1:
        raise AlignmentError("the responses hold several subjects; select the rows of one")
    onset = pd.to_numeric(samples["onset"]).to_numpy(dtype=float)
    run = "run" if "run" in samples else "story"
    labels = [samples[c].astype(str) if c in samples else [""] * len(samples) for c in ("session", run)]
    keys = list(zip(*labels, strict=True))
    out: dict[tuple[str, ...], Timeline] = {}
    codes, names = pd.factorize(pd.Series(keys, dtype=object))
    for code, key in enumerate(names):
        rows = np.flatnonzero(codes == code)
        times = onset[rows]
        steps = np.diff(times)
        dt = sample_interval(responses) if not len(steps) else float(np.median(steps))
        if (steps <= 0).any():
            raise InputError(f"run {key[1]!r}: samples are not in order of time")
        _refuse_contradiction(responses, key[1], dt)
        if (np.abs(steps - dt) > 0.05 * dt).any():
            row = int(rows[np.argmax(np.abs(steps - dt) > 0.05 * dt)])
            raise InputError(
                f"run {key[1]!r}: samples are not evenly spaced (row {row}: {np.abs(steps).max():g} s, else "
                f"{dt:g} s); name parts with a pause between them as runs of their own"
            )
        out[key] = Timeline(rows, times, dt)
    return out


def _refuse_contradiction(responses: Responses, run: str, dt: float) -> None:
    """Refuse onsets whose steps are not the repetition time: one of them has another unit."""
    stated = {"repetition_time": "s", "sampling_rate": "Hz"}
    known = next((name for name in stated if _positive(responses.info.get(name))), None)
    if known is None:
        return
    expected = sample_interval(responses)
    if abs(dt - expected) > 0.05 * expected:
        raise InputError(
            f"run {run!r}: samples['onset'] has steps of {dt:g}, and info[{known!r}]="
            f"{responses.info[known]:g} {stated[known]} says {expected:g} s; onsets are in seconds, and one "
            "of the two is wrong"
        )


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value)) and value > 0


def event_table(events: Any, responses: Responses) -> pd.DataFrame:
    """Events as a table with onset [s], duration [s], condition, run; checked.

    `events` None stands for ``responses.info["events"]``.

    Raises
    ------
    AlignmentError
        There are no events.
    InputError
        A column is missing, an onset is no number, a duration is negative.
    """
    if events is None:
        events = responses.info.get("events")
        if events is None:
            raise AlignmentError(
                "the responses know of no events (info['events']); give a table with onset and duration"
            )
    if not isinstance(events, (pd.DataFrame, Mapping)):
        raise InputError(
            f"events are a {type(events).__name__}; expected a DataFrame or a mapping of columns"
        )
    table = pd.DataFrame(events).reset_index(drop=True)
    if "trial_type" in table and "condition" not in table:
        table = table.rename(columns={"trial_type": "condition"})
    if "onset" not in table:
        raise InputError(
            f"the events have the columns {', '.join(map(str, table.columns))}; expected onset [s]"
        )
    for name in ("onset", "duration"):
        if name in table:
            table[name] = _seconds(table[name], name)
    if table["onset"].isna().any():
        raise InputError(f"event {int(table['onset'].isna().to_numpy().argmax())} has no onset")
    if "duration" in table and (table["duration"] < 0).any():
        row = int((table["duration"] < 0).to_numpy().argmax())
        raise InputError(
            f"event {row} has the duration {table['duration'].iloc[row]:g} s; expected 0 or more"
        )
    return table


def _seconds(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    missing = column.isna() | column.astype(str).isin(["n/a", "None", ""])
    numbers = pd.to_numeric(column.where(~missing), errors="coerce")
    wrong = numbers.isna() & ~missing
    if wrong.any() or np.isinf(numbers.to_numpy(dtype=float)).any():
        row = int(np.argmax((wrong | np.isinf(numbers.astype(float))).to_numpy()))
        raise InputError(f"event {row} has the {name} {column.iloc[row]!r}; expected seconds")
    return numbers.astype(float)
