"""From an MNE recording to responses: windows around events, counts of what was dropped."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, InputError

if TYPE_CHECKING:
    import pandas as pd

Baseline = tuple[float | None, float | None] | None
TOO_CLOSE_TO_EDGE = "too close to the start or end of the recording"
_REASONS = {"TOO_SHORT": TOO_CLOSE_TO_EDGE, "NO_DATA": TOO_CLOSE_TO_EDGE, "NO_EPOCH": TOO_CLOSE_TO_EDGE}


@contextmanager
def foreign_warnings() -> Iterator[list[str]]:
    """Collect what a reader says of the recording, for ``info["warnings"]``.

    Messages about the library itself (deprecations) are no business of the recording and
    are handed on.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    for warning in caught:
        if warning.category in (UserWarning, RuntimeWarning):
            said.append(" ".join(str(warning.message).split()))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def check_window(tmin: float, tmax: float, baseline: Baseline) -> None:
    """Refuse a window or a baseline that is empty or reversed.

    Raises
    ------
    InputError
        `tmin` is not under `tmax`, or the baseline is not inside of them.
    """
    if not tmin < tmax or not np.isfinite([tmin, tmax]).all():
        raise InputError(f"tmin={tmin!r} s is not before tmax={tmax!r} s; expected a window around the event")
    if baseline is None:
        return
    start = tmin if baseline[0] is None else baseline[0]
    stop = tmax if baseline[1] is None else baseline[1]
    if not tmin <= start < stop <= tmax:
        raise InputError(
            f"baseline={tuple(baseline)!r} s must run forward inside the window {tmin:g} to {tmax:g} s; "
            "None leaves it out"
        )


def standard_positions() -> Any:
    """MNE's positions of the 10-20 system on a template head, under the name that this MNE gives them."""
    import mne

    # the older name warns in the releases that have the newer one
    newer, older = "colin27_1020", "standard_1020"
    builtin = mne.channels.get_builtin_montages()
    return mne.channels.make_standard_montage(newer if newer in builtin else older)


def marks_bad(name: str) -> bool:
    """Whether an annotation marks a bad stretch, as MNE names them; it is no event."""
    return name.upper().startswith(("BAD", "EDGE"))


def named_events(raw: Any) -> pd.DataFrame:
    """The events of a recording: sample (from 0), onset and duration [s], condition.

    From the annotations, without those that mark bad stretches; where there are none, from
    the stimulus channel, whose codes become text ("1", "2").
    """
    import mne
    import pandas as pd

    rate = float(raw.info["sfreq"])
    # MNE counts annotations from the start of the acquisition, which may precede the first sample
    onset = np.asarray(raw.annotations.onset, dtype=np.float64) - raw.first_samp / rate
    names = np.array([str(text) for text in raw.annotations.description], dtype=object)
    durations = np.asarray(raw.annotations.duration, dtype=np.float64)
    kept = np.array([not marks_bad(name) for name in names], dtype=bool)
    sample, names, durations = np.round(onset[kept] * rate).astype(np.intp), names[kept], durations[kept]
    if not len(names) and "stim" in raw.get_channel_types():
        found = mne.find_events(raw, shortest_event=1, verbose="ERROR")
        sample = (found[:, 0] - raw.first_samp).astype(np.intp)
        names, durations = found[:, 2].astype(str).astype(object), np.zeros(len(found))
    return pd.DataFrame(
        {
            "sample": sample,
            "onset": sample / rate,
            "duration": durations,
            "condition": pd.Series(names, dtype=object),
        }
    )


def refuse_events_outside(events: pd.DataFrame, n_times: int, where: str) -> None:
    """Refuse an event before the first or after the last sample of the recording.

    Raises
    ------
    CorruptFileError
        The recording and its events do not belong together.
    """
    outside = ((events["sample"] < 0) | (events["sample"] >= n_times)).to_numpy()
    if outside.any():
        first = events[outside].iloc[0]
        raise CorruptFileError(
            f"{where}: {int(outside.sum())} of {len(events)} events lie outside the recording of {n_times} "
            f"samples, first {first['condition']!r} at {first['onset']:.3f} s; the events are of another "
            "recording, or the recording is cut"
        )


def epochs_around(
    raw: Any, events: pd.DataFrame, *, tmin: float, tmax: float, baseline: Baseline, picks: Any = None
) -> tuple[Any, dict[str, int]]:
    """Cut windows around events, and count those that were dropped, by reason.

    Parameters
    ----------
    raw : MNE raw recording, loaded
    events : DataFrame with sample (from 0) and condition; its other columns go with the
        epochs as metadata, without `sample`
    tmin, tmax : s; rounded to samples
    baseline : (start, stop) s whose mean is subtracted per channel, or None
    picks : channels as MNE names them; all by default

    Returns
    -------
    mne.Epochs, dict reason -> count
    """
    import mne

    names = sorted(set(events["condition"]))
    codes = {name: i + 1 for i, name in enumerate(names)}
    rows = np.zeros((len(events), 3), dtype=np.int64)
    rows[:, 0] = events["sample"].to_numpy() + raw.first_samp
    rows[:, 2] = [codes[name] for name in events["condition"]]
    repeated = events["sample"].duplicated().to_numpy()
    if repeated.any():
        where = events[repeated].iloc[0]
        raise InputError(
            f"two of the chosen events lie on one sample, {where['onset']:.3f} s ({where['condition']!r}); "
            "choose events= so that each epoch has one condition"
        )
    order = np.argsort(rows[:, 0], kind="stable")
    metadata = events.drop(columns="sample").iloc[order].reset_index(drop=True)
    epochs = mne.Epochs(
        raw,
        rows[order],
        codes,
        tmin,
        tmax,
        baseline=None if baseline is None else tuple(baseline),
        picks="all" if picks is None else picks,
        metadata=metadata,
        preload=True,
        verbose="ERROR",
    )
    return epochs, dropped_by_reason(epochs)


def dropped_by_reason(epochs: Any) -> dict[str, int]:
    """How many epochs were dropped, by reason."""
    reasons = [log[0] for log in epochs.drop_log if log and log[0] != "IGNORED"]
    return dict(Counter(_REASONS.get(reason, reason) for reason in reasons))


def require_epochs(n_epochs: int, dropped: dict[str, int], where: str) -> None:
    """Refuse a recording of which no epoch is left.

    Raises
    ------
    InputError
        Says what became of them.
    """
    if n_epochs == 0:
        reasons = "; ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise InputError(f"{where}: no epoch is left ({reasons or 'there were no events'})")


def events_table(events: pd.DataFrame, run: str) -> dict[str, list[Any]]:
    """What happened when, for ``info["events"]``: run, onset and duration [s], condition."""
    return {
        "run": [run] * len(events),
        "onset": [float(value) for value in events["onset"]],
        "duration": [float(value) for value in events["duration"]],
        "condition": list(events["condition"]),
    }


def baseline_in_words(baseline: Baseline) -> list[str]:
    """What was subtracted, for ``info["preparation"]``."""
    if baseline is None:
        return []
    start, stop = ("the start" if baseline[0] is None else f"{baseline[0]:g} s"), baseline[1]
    end = "the end" if stop is None else f"{stop:g} s"
    return [f"mean of {start} to {end} subtracted per epoch and sensor"]


def counted(labels: Sequence[Any]) -> dict[str, int]:
    """How often each label occurs, by name."""
    return dict(sorted(Counter(str(label) for label in labels).items()))
