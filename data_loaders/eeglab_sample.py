"""EEGLAB's tutorial recording: EEG of a visual target task, one subject, 32 channels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._meeg import Baseline
from data_loaders._names import unknown_name
from data_loaders._registry import registered_path
from data_loaders._root import dataset_folder

if TYPE_CHECKING:
    import pandas as pd

    from brainalign.types import Dataset

_COMMIT = "94b8557aa27484c4e2cb4775315802d420b93f32"
CARD = DatasetCard(
    name="eeglab_sample",
    title="EEG of 30 scalp and 2 EOG channels, visual targets and button presses, one subject",
    licence="BSD-2-Clause (licence of the source repository; none is stated for the recording alone)",
    citation="Delorme & Makeig 2004, J. Neurosci. Methods 134:9, doi:10.1016/j.jneumeth.2003.10.009",
    source=f"https://github.com/sccn/eeglab, sample_data, commit {_COMMIT}",
    species="Homo sapiens",
    recording="EEG, 30 scalp and 2 EOG channels, 128 Hz, 238 s",
    subjects=("1",),
    base_url=f"https://raw.githubusercontent.com/sccn/eeglab/{_COMMIT}/sample_data/",
    files=tuple(
        RemoteFile(name, name, size, sha256)
        for name, size, sha256 in (
            (
                "eeglab_data.set",
                352624,
                "27594dc378685d25d5f5f762f4f8332e7a3d988b6d5d41832bb2252d93988718",
            ),
            (
                "eeglab_data.fdt",
                3904512,
                "3ec388b9a080c723c00cd380403d64cc754929d828375bbd53bd83b468136759",
            ),
            (
                "eeglab_data_epochs_ica.set",
                230320,
                "8aa47f3d4e6fb6aa3fa3120806e6017e7b652e92d62221fa7115a75e3ed8a699",
            ),
            (
                "eeglab_data_epochs_ica.fdt",
                3932160,
                "466cbea87b0fb2298db291011902000848e10ec265ed982dd54a8fa768d5e11f",
            ),
        )
    ),
    options={
        "version": "'epochs' around an event (default), 'continuous', or 'ica_epochs': those of the source",
        "event": "the event of the epochs: 'square' (a target, default) or 'rt' (the button press)",
        "high_pass_hz": "lower corner of the band; 1 by default, None: none",
        "low_pass_hz": "upper corner of the band; 30 by default, None: none",
        "tmin": "start of the epochs against the event [s]; -0.2 by default",
        "tmax": "end of the epochs [s]; 0.8 by default",
        "baseline": "(start, stop) [s] whose mean is subtracted; (-0.2, 0) by default, None: none",
    },
)
VERSIONS = ("epochs", "continuous", "ica_epochs")
EVENTS = ("square", "rt")
EOG = ("EOG1", "EOG2")
PIECES = "pieces of 3 s around each square, put end to end by the source: time is not continuous across them"


@dataclass(frozen=True)
class _Cut:
    """How the recording is filtered and cut."""

    event: str
    band: tuple[float | None, float | None]
    tmin: float
    tmax: float
    baseline: Baseline


def load(
    *,
    root: str | os.PathLike[str] | None = None,
    version: str = "epochs",
    event: str = "square",
    high_pass_hz: float | None = 1.0,
    low_pass_hz: float | None = 30.0,
    tmin: float = -0.2,
    tmax: float = 0.8,
    baseline: Baseline = (-0.2, 0.0),
) -> Dataset:
    """Load the recording, as epochs or continuous.

    Parameters
    ----------
    root : path, optional
        The folder that holds ``eeglab_sample/``, or that folder itself.
    version : ``"epochs"``, ``"continuous"`` or ``"ica_epochs"``
        The last are the epochs of the source, -1 to 2 s around each square, the mean of
        the second before it subtracted; the other options do not apply to them.
    event : ``"square"`` or ``"rt"``; for epochs
    high_pass_hz, low_pass_hz : float or None
        MNE's FIR filter without phase shift, on the whole recording, EOG included.
    tmin, tmax : float [s], rounded to samples; for epochs
    baseline : (start, stop) [s] or None; for epochs

    Returns
    -------
    Dataset
        `responses`, in volt: epochs (n_epochs, 32, n_times), design trials, with `times`
        in s, or (30504, 32), design continuous. 30 channels have ch_type "eeg", EOG1 and
        EOG2 "eog". `samples`: condition (epochs), onset [s], run and subject ("1").
        ``info["events"]`` lists the 80 squares and 74 button presses. No stimuli.

    Raises
    ------
    UnknownNameError
        No such version or event.
    InputError
        A corner is not under 64 Hz, the window or the baseline is empty.
    DataNotFoundError, CorruptFileError
        A file is absent, damaged or not the registered one.

    Notes
    -----
    The mean response to the squares peaks at Pz at 26.87 uV, 0.430 s after onset, at Cz at
    26.43 uV (0.414 s), at POz at 21.68 uV and at Oz at 11.85 uV; all 80 epochs, blinks
    included. The source made the recording of pieces of 3 s, each with a target and its
    button press: filters and delays cross the joints. Cost: 1 s.
    """
    from brainalign.types import Dataset, Responses
    from data_loaders._filtering import check_band
    from data_loaders._meeg import check_window, events_table, named_events

    if version not in VERSIONS:
        raise unknown_name(f"version of {CARD.name!r}", version, VERSIONS)
    if event not in EVENTS:
        raise unknown_name(f"event of {CARD.name!r}", event, EVENTS)
    check_band(high_pass_hz, low_pass_hz, 128.0)
    check_window(tmin, tmax, baseline)
    folder = dataset_folder(CARD, root)
    cut = _Cut(event, (high_pass_hz, low_pass_hz), tmin, tmax, baseline)
    raw = _raw(folder)
    events = named_events(raw)
    info: dict[str, Any] = {**CARD.info(), "version": version, "verified": True}
    if version == "continuous":
        recording, more = _filtered(raw, cut)
    elif version == "epochs":
        recording, more = _epochs(raw, events[events["condition"] == event], cut)
    else:
        recording, more = _epochs_of_source(folder, events)
    if version != "continuous":
        # of a whole recording they are read from its annotations
        more["events"] = events_table(events, "1")
    info |= more
    responses = Responses.from_mne(recording, picks=["eeg", "eog"], run="1", subject="1", info=info)
    return Dataset(responses=responses, info={**info, "subject": "1", "design": responses.info["design"]})


def _raw(folder: Path) -> Any:
    """The whole recording, its two EOG channels typed as such."""
    import mne

    path = _registered(folder, "eeglab_data")
    with _understood():
        return mne.io.read_raw_eeglab(path, eog=EOG, preload=True, verbose="WARNING")


def _filtered(raw: Any, cut: _Cut) -> tuple[Any, dict[str, Any]]:
    from data_loaders._filtering import filtered

    raw, words = filtered(raw, cut.band, picks=["eeg", "eog"])
    return raw, {"preparation": [PIECES, *words]}


def _epochs(raw: Any, events: pd.DataFrame, cut: _Cut) -> tuple[Any, dict[str, Any]]:
    """Windows around one kind of event; those that reach over an end are dropped and counted."""
    from data_loaders import _meeg

    raw, about = _filtered(raw, cut)
    epochs, about["dropped"] = _meeg.epochs_around(
        raw, events, tmin=cut.tmin, tmax=cut.tmax, baseline=cut.baseline
    )
    _meeg.require_epochs(len(epochs), about["dropped"], CARD.name)
    about["preparation"] += _meeg.baseline_in_words(cut.baseline)
    return epochs, about


def _epochs_of_source(folder: Path, events: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
    """The source's own epochs, one around each square, in the order of the squares."""
    import mne

    path = _registered(folder, "eeglab_data_epochs_ica")
    with _understood():
        found = mne.io.read_epochs_eeglab(path, eog=EOG, verbose="WARNING")
    squares = events[events["condition"] == "square"].reset_index(drop=True)
    rows = np.zeros((len(squares), 3), dtype=np.int64)
    rows[:, 0], rows[:, 2] = squares["sample"], 1
    epochs = mne.EpochsArray(
        found.get_data(),
        found.info,
        rows,
        found.tmin,
        {"square": 1},
        metadata=squares.drop(columns="sample"),
        verbose="ERROR",
    )
    words = "epochs as in the source, the mean of the second before each square subtracted there"
    return epochs, {"preparation": [PIECES, words]}


@contextmanager
def _understood() -> Iterator[None]:
    """Silence what MNE says of this recording and what is meant here."""
    with warnings.catch_warnings():
        # EOG electrodes have no place on the scalp's montage: their positions stay NaN
        warnings.filterwarnings("ignore", "Not setting positions of 2 eog channels", RuntimeWarning)
        # every epoch is around its square; the button presses are in info["events"]
        warnings.filterwarnings("ignore", "At least one epoch has multiple events", RuntimeWarning)
        yield


def _registered(folder: Path, stem: str) -> Path:
    """The .set file, once it and its values are known to be the registered ones."""
    registered_path(folder, f"{stem}.fdt", CARD)
    return registered_path(folder, f"{stem}.set", CARD)
