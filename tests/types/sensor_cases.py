"""Recordings of sensors with known positions, units and events."""

from __future__ import annotations

from typing import Any

import mne
import numpy as np
import pandas as pd

RATE = 100.0
NAMES = ["Fz", "C3", "C4", "Oz"]
# metres in the head frame: C3 lies left (x < 0), Oz behind (y < 0)
PLACES = np.array([[0.0, 0.08, 0.06], [-0.07, 0.0, 0.07], [0.07, 0.0, 0.07], [0.0, -0.09, 0.03]])


def sensor_info(kinds: Any = "eeg", names: list[str] = NAMES, *, placed: bool = True) -> mne.Info:
    """Channels of these types; EEG positions from a montage, MEG positions in the device frame."""
    info = mne.create_info(names, RATE, kinds, verbose="ERROR")
    types = info.get_channel_types()
    if not placed:
        return info
    electrodes = {n: p for n, p, t in zip(names, PLACES, types, strict=False) if t == "eeg"}
    if electrodes:
        info.set_montage(mne.channels.make_dig_montage(electrodes, coord_frame="head"), verbose="ERROR")
    for channel, place, kind in zip(info["chs"], PLACES, types, strict=False):
        if kind in ("mag", "grad"):
            channel["loc"][:3] = place
    return info


def noise(*shape: int, scale: float = 1e-5) -> np.ndarray:
    """Values of the size of EEG [V]."""
    return scale * np.random.default_rng(0).normal(size=shape)


def raw(n: int = 500, *, first_samp: int = 0, annotations: Any = None, **options: Any) -> mne.io.RawArray:
    """A continuous recording of 4 electrodes, 5 s at 100 Hz."""
    out = mne.io.RawArray(noise(4, n), sensor_info(**options), first_samp=first_samp, verbose="ERROR")
    if annotations is not None:
        out.set_annotations(mne.Annotations(*annotations))
    return out


def epochs(metadata: pd.DataFrame | None = None, **options: Any) -> mne.EpochsArray:
    """Six epochs, 0.5 s apart, two conditions, -0.1 to 0.2 s."""
    events = np.column_stack([50 * np.arange(1, 7), np.zeros(6, int), [1, 2, 1, 2, 2, 1]])
    return mne.EpochsArray(
        noise(6, 4, 31),
        sensor_info(**options),
        events,
        tmin=-0.1,
        event_id={"face/left": 1, "house": 2},
        metadata=metadata,
        verbose="ERROR",
    )


def evoked(comment: str = "face", seed: int = 0, **options: Any) -> mne.EvokedArray:
    """An average over 7 trials."""
    values = 1e-6 * np.random.default_rng(seed).normal(size=(4, 31))
    return mne.EvokedArray(
        values, sensor_info(**options), tmin=-0.1, comment=comment, nave=7, verbose="ERROR"
    )
