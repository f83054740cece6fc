"""Events and features with onsets, put on the samples of the responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of
from brainalign.design._events import Event, Timeline, event_table, timelines
from brainalign.design._placement import PLACEMENTS
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

OUTSIDE = ("refuse", "drop")


def to_samples(
    source: Any,
    responses: Responses,
    *,
    events: Any = None,
    method: str = "boxcar",
    outside: str = "refuse",
) -> Responses:
    """Put events, or features with onsets, on the samples of the responses.

    Parameters
    ----------
    source : what explains the responses

        - None: indicators of the conditions in ``responses.info["events"]``
        - DataFrame or mapping of columns `onset` [s from the start of the run], `duration`
          [s], `condition` (or `trial_type`), and `run` (`session`) where the responses have
          several: indicators of the conditions
        - Responses (n, n_features) whose samples have `onset` (and `run`, `duration`): the
          features of these moments, for instance words or frames
        - Responses (n_stimuli, n_features) with `stimulus_id` and no onset: `events` says
          when each stimulus was there; or, without events, ``samples["stimulus_id"]`` of the
          responses says it sample by sample
    responses : Responses with `onset` [s] of every sample, of one subject
    events : DataFrame or mapping as above, with `stimulus_id`; None: ``responses.info["events"]``
    method : how a moment becomes samples of dt seconds; sample t stands for [t, t + dt)

        - ``"boxcar"``: features times the share of the sample that the event fills
        - ``"impulse"``: the sum over the events that begin in the sample
        - ``"interpolate"``: straight lines between the moments (slow features; a feature
          that is faster than the samples is averaged within each sample first)
        - ``"lanczos"``: low-pass at half the sampling rate with 3 lobes, sum over moments
    outside : ``"refuse"`` events that are not inside the recording, or ``"drop"`` them;
        the number of dropped ones is in ``info["events_outside"]``

    Returns
    -------
    Responses (n_samples, n_features), float64, with the run and onset of each sample: what
    `fit_encoding` joins. No haemodynamic response is applied: see `fir_delays`.

    Raises
    ------
    AlignmentError
        Samples or events have no onset, an event names an unknown run or stimulus, several
        subjects.
    InputError
        An event lies outside its run, has a negative or (boxcar) zero duration, no condition.

    Notes
    -----
    Cost: O(n_samples * n_features) and O(n_events * n_features). Lanczos as for story
    features in LeBel et al. 2023, DOI 10.1038/s41597-023-02437-z.

    Examples
    --------
    >>> samples = pd.DataFrame({"run": "1", "onset": [0.0, 2.0, 4.0, 6.0]})
    >>> bold = Responses(np.zeros((4, 1)), samples, info={"design": "blocks"})
    >>> events = {"onset": [1.0, 4.0], "duration": [3.0, 2.0], "condition": ["face", "house"]}
    >>> to_samples(events, bold).values.tolist()
    [[0.5, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    one_of("method", method, PLACEMENTS)
    one_of("outside", outside, OUTSIDE)
    lines = timelines(responses)
    if events is None and _is_known_by_sample(source, responses):
        return _by_sample(source, responses)
    table, values, units, info = _moments(source, responses, events)
    out = np.zeros((responses.n_samples, values.shape[1]))
    dropped = 0
    own = _takes_own_events(source, events)
    for key, rows in _by_run(table, lines, responses, own=own).items():
        line = lines[key]
        moments = [Event(row, *_times_of(table, row)) for row in rows]
        kept = [event for event in moments if _inside(event, line, outside, table)]
        dropped += len(moments) - len(kept)
        _refuse_empty_boxcars(kept, method)
        out[line.rows] = PLACEMENTS[method](kept, values, line)
    counted = {"events_outside": dropped} if dropped else {}
    return _placed(out, responses, units, {**info, "on_samples": method, **counted})


def _placed(values: np.ndarray, responses: Responses, units: Any, info: Mapping[str, Any]) -> Responses:
    columns = [c for c in ("session", "run", "story", "onset", "subject") if c in _samples(responses)]
    info = {**info, "design": responses.info.get("design")}
    return Responses(values, _samples(responses)[columns], units, info=info)


def _takes_own_events(source: Any, events: Any) -> bool:
    """Tell whether the onsets of a source are those in ``info["events"]`` of the responses."""
    if source is None:
        return events is None
    return events is None and isinstance(source, Responses) and "onset" not in _samples(source)


def _is_known_by_sample(source: Any, responses: Responses) -> bool:
    """Tell whether the samples themselves say which stimulus was there."""
    if not isinstance(source, Responses) or "events" in responses.info or len(source.shape) != 2:
        return False
    own = _samples(source)
    return "stimulus_id" in own and "onset" not in own and "stimulus_id" in _samples(responses)


def _by_sample(source: Responses, responses: Responses) -> Responses:
    """Features of the stimulus that each sample names; 0 where it names none."""
    shown = _samples(responses)[["stimulus_id"]].assign(row=np.arange(responses.n_samples))
    table, rows = _shown_stimuli(source, shown)
    out = np.zeros((responses.n_samples, source.n_units))
    out[table["row"].to_numpy()] = source.array()[rows]
    info = {k: v for k, v in source.info.items() if k not in ("design", "events")}
    return _placed(out, responses, source.units, {**info, "on_samples": "stimulus_id"})


def condition_indicators(responses: Responses, *, method: str = "boxcar") -> Responses:
    """Indicators (0, 1) of the conditions of an experiment, one column per condition.

    Parameters
    ----------
    responses : Responses with ``info["events"]`` (blocks, continuous), or with
        ``samples["condition"]`` (trials)
    method : as in `to_samples` (blocks, continuous)

    Returns
    -------
    Responses: one row per sample; trials with a `stimulus_id`: one row per stimulus. Samples
    without a condition (rest) are 0 in all columns.

    Raises
    ------
    AlignmentError
        Nothing says which condition a sample belongs to, or a stimulus has two of them.

    Examples
    --------
    >>> trials = Responses(np.zeros((2, 1)), pd.DataFrame({"condition": ["face", "house"]}),
    ...                    info={"design": "trials"})
    >>> condition_indicators(trials).values.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    info = {"model": "conditions", "role": "model"}
    if responses.info.get("design") != "trials":
        placed = to_samples(None, responses, method=method)
        return Responses(placed.values, placed.samples, placed.units, info={**placed.info, **info})
    samples = _samples(responses)
    if "condition" not in samples or samples["condition"].isna().all():
        raise AlignmentError(
            "no sample has a condition; indicators need samples['condition'], or use features of the stimuli"
        )
    if "stimulus_id" in samples:
        pairs = samples[["stimulus_id", "condition"]].drop_duplicates()
        twice = pairs["stimulus_id"].duplicated()
        if twice.any():
            name = pairs.loc[twice, "stimulus_id"].iloc[0]
            raise AlignmentError(f"stimulus {name!r} has several conditions; one stimulus has one condition")
        rows = pairs.set_index("stimulus_id", drop=False)
        rows.index.name = "sample_id"
    else:
        rows = samples[["condition"]]
    values, units = _indicators(rows["condition"])
    return Responses(values, rows, units, info={**info, "design": "trials"})


def _samples(responses: Responses) -> pd.DataFrame:
    assert responses.samples is not None
    return responses.samples


def _indicators(conditions: pd.Series[Any]) -> tuple[np.ndarray, pd.DataFrame]:
    labels = np.array([None if pd.isna(c) else str(c) for c in conditions], dtype=object)
    names = sorted({label for label in labels if label is not None})
    values = np.zeros((len(labels), len(names)))
    for column, name in enumerate(names):
        values[:, column] = labels == name
    return values, pd.DataFrame(index=pd.Index(names, name="unit_id"))


def _moments(
    source: Any, responses: Responses, events: Any
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Table of onsets, one row a moment, and the features of each, (n_moments, n_features)."""
    if source is None or isinstance(source, (pd.DataFrame, Mapping)):
        table = event_table(source, responses)
        if "condition" not in table:
            raise InputError("the events have no column condition (or trial_type); indicators need it")
        values, units = _indicators(table["condition"])
        if not values.shape[1]:
            raise InputError("no event has a condition; indicators need at least one")
        known = table["condition"].notna().to_numpy()
        return table[known].reset_index(drop=True), values[known], units, {"model": "conditions"}
    if not isinstance(source, Responses):
        raise InputError(
            f"source is a {type(source).__name__}; expected Responses with onsets or stimulus ids, a table "
            "of events, or None"
        )
    if len(source.shape) != 2:
        raise ShapeError(f"the features have shape {source.shape}; expected (n, n_features)")
    assert source.units is not None
    info = {k: v for k, v in source.info.items() if k not in ("design", "events")}
    values = np.asarray(source.array(), dtype=np.float64)
    if "onset" in _samples(source) and events is None:
        return event_table(_samples(source), responses), values, source.units, info
    if "stimulus_id" not in _samples(source):
        raise AlignmentError(
            "the features have neither onset nor stimulus_id: nothing says when they were there"
        )
    table, rows = _shown_stimuli(source, event_table(events, responses))
    return table, values[rows], source.units, info


def _shown_stimuli(source: Responses, table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The events that show a stimulus, and its row among the features."""
    if "stimulus_id" not in table:
        raise AlignmentError("the events have no stimulus_id, by which features would find their onsets")
    table = table[table["stimulus_id"].notna()].reset_index(drop=True)
    ids = _samples(source)["stimulus_id"].astype(str)
    position = pd.Series(np.arange(len(ids)), index=ids)
    if position.index.has_duplicates:
        raise AlignmentError("the features repeat a stimulus_id; give one row per stimulus")
    rows = position.reindex(table["stimulus_id"].astype(str)).to_numpy()
    if np.isnan(rows).any():
        missing = table["stimulus_id"][np.isnan(rows)].iloc[0]
        raise AlignmentError(
            f"{int(np.isnan(rows).sum())} events show a stimulus that has no features, first {missing!r}"
        )
    return table, rows.astype(np.intp)


def _by_run(
    table: pd.DataFrame,
    lines: Mapping[tuple[str, ...], Timeline],
    responses: Responses,
    *,
    own: bool,
) -> dict[tuple[str, ...], np.ndarray]:
    """Rows of the moments of each run; every moment must belong to a run of the responses.

    `own` events came with the responses: those of runs that were not selected are passed over.
    """
    has_stories = "story" in _samples(responses) and "run" not in _samples(responses)
    labels = ("session", "story" if has_stories else "run")
    if labels[1] not in table and "run" in table:
        table = table.rename(columns={"run": labels[1]})
    columns = _run_columns(table, lines, labels)
    if not columns:
        only = next(iter(lines))
        return {only: np.arange(len(table))}
    found: dict[tuple[str, ...], list[int]] = {key: [] for key in lines}
    by_label = {tuple(key[labels.index(c)] for c in columns): key for key in lines}
    for row, label in enumerate(table[columns].astype(str).itertuples(index=False, name=None)):
        if label not in by_label and own:
            continue
        if label not in by_label:
            raise AlignmentError(
                f"event {row} is in {' + '.join(columns)} {' + '.join(label)!r}, which the responses do not "
                f"have; they have {', '.join(map(str, sorted(by_label)))[:200]}"
            )
        found[by_label[label]].append(row)
    return {key: np.array(rows, dtype=np.intp) for key, rows in found.items() if rows}


def _run_columns(
    table: pd.DataFrame, lines: Mapping[tuple[str, ...], Timeline], labels: tuple[str, str]
) -> list[str]:
    """Columns that tell the runs of the events apart: all that both sides know.

    A recording of one run still says which: its events may be those of a whole experiment.
    """
    samples_know = {
        c for i, c in enumerate(labels) if any(key[i] not in ("", "None", "nan") for key in lines)
    }
    columns = []
    for i, column in enumerate(labels):
        stated = column in table and table[column].notna().any()
        if len({key[i] for key in lines}) > 1 and (not stated or table[column].isna().any()):
            raise AlignmentError(
                f"the responses have several values of {column}, and the events do not all say theirs"
            )
        if not stated:
            continue
        if column in samples_know and table[column].notna().all():
            columns.append(column)
        elif table[column].nunique(dropna=False) > 1:
            raise AlignmentError(
                f"the events name several values of {column}, and the samples of the responses do not say "
                f"theirs; give samples[{column!r}], or the events of this recording alone"
            )
    return columns


def _times_of(table: pd.DataFrame, row: int) -> tuple[float, float]:
    duration = float(table["duration"].iloc[row]) if "duration" in table else 0.0
    return float(table["onset"].iloc[row]), 0.0 if np.isnan(duration) else duration


def _inside(event: Event, line: Timeline, outside: str, table: pd.DataFrame) -> bool:
    """Tell whether an event belongs to the recording; refuse one that does not, unless told to drop it."""
    end = line.times[-1] + line.dt
    slack = 1e-3 * line.dt
    # samples may stand for an instant within a volume (its middle, after slice-time correction):
    # the recording then began a part of a sample earlier
    begin = line.dt * np.floor((line.times[0] + slack) / line.dt)
    begins_inside = begin - slack <= event.onset < end + slack
    # the last block of a run often outlasts its last volume; more than one sample is a fault
    if begins_inside and event.onset + event.duration <= end + line.dt + slack:
        return True
    if outside == "drop":
        return False
    raise InputError(
        f"event {event.row} ({event.onset:g} to {event.onset + event.duration:g} s) is not inside its run, "
        f"which was recorded from {begin:g} to {end:g} s; are onsets in seconds from the start of "
        "the run? outside='drop' leaves such events out"
    )


def _refuse_empty_boxcars(events: list[Event], method: str) -> None:
    empty = [event.row for event in events if method == "boxcar" and event.duration <= 0]
    if empty:
        raise InputError(
            f"event {empty[0]} has no duration ({len(empty)} events in all), and method='boxcar' needs one; "
            "use method='impulse'"
        )
