"""How a moment becomes samples: four rules with one signature."""

from __future__ import annotations

import numpy as np

from brainalign.design._events import Event, Timeline
from brainalign.errors import InputError

_LOBES = 3


def _boxcar(events: list[Event], values: np.ndarray, line: Timeline) -> np.ndarray:
    out = np.zeros((len(line.times), values.shape[1]))
    for event in events:
        stop = event.onset + event.duration
        first = max(0, int(np.searchsorted(line.times, event.onset, side="right")) - 1)
        last = int(np.searchsorted(line.times, stop, side="left"))
        starts = line.times[first:last]
        share = (np.minimum(starts + line.dt, stop) - np.maximum(starts, event.onset)) / line.dt
        out[first:last] += np.clip(share, 0, 1)[:, None] * values[event.row]
    return out


def _impulse(events: list[Event], values: np.ndarray, line: Timeline) -> np.ndarray:
    out = np.zeros((len(line.times), values.shape[1]))
    for event in events:
        # a sample whose onset differs by rounding only is the sample of the event
        row = int(np.searchsorted(line.times, event.onset + 1e-6 * line.dt, side="right")) - 1
        out[max(0, row)] += values[event.row]
    return out


def _interpolate(events: list[Event], values: np.ndarray, line: Timeline) -> np.ndarray:
    ordered = sorted(events, key=lambda event: event.onset)
    times = np.array([event.onset for event in ordered])
    known = values[[event.row for event in ordered]]
    if len(np.unique(times)) != len(times):
        raise InputError("two features have the same onset in a run; method='interpolate' needs one each")
    if len(times) > 1 and np.median(np.diff(times)) < 0.5 * line.dt:
        # faster than the samples: the mean within each sample, else fast parts fold into slow ones
        row = np.searchsorted(line.times, times + 1e-6 * line.dt, side="right") - 1
        bins = np.clip(row, 0, len(line.times) - 1)
        counts = np.bincount(bins, minlength=len(line.times))
        filled = np.flatnonzero(counts)
        sums = np.zeros((len(line.times), values.shape[1]))
        np.add.at(sums, bins, known)
        times, known = line.times[filled], sums[filled] / counts[filled, None]
    return np.stack([np.interp(line.times, times, column) for column in known.T], axis=1)


def _lanczos(events: list[Event], values: np.ndarray, line: Timeline) -> np.ndarray:
    times = np.array([event.onset for event in events])
    known = values[[event.row for event in events]]
    out = np.zeros((len(line.times), values.shape[1]))
    centres = line.times + 0.5 * line.dt
    for row, centre in enumerate(centres):
        distance = (centre - times) / line.dt
        near = np.abs(distance) < _LOBES
        out[row] = (np.sinc(distance[near]) * np.sinc(distance[near] / _LOBES)) @ known[near]
    return out


PLACEMENTS = {
    "boxcar": _boxcar,
    "impulse": _impulse,
    "interpolate": _interpolate,
    "lanczos": _lanczos,
}
