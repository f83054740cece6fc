"""A user's own M/EEG recording, in any common format that MNE reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainalign.errors import CorruptFileError, InputError
from data_loaders._card import DatasetCard
from data_loaders._meeg import Baseline
from data_loaders._names import unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from brainalign.types import Dataset

CARD = DatasetCard(
    name="mne_file",
    title="Your own M/EEG recording: FIF, BrainVision, EDF, BDF, EEGLAB, CTF, KIT, BTi ...",
    licence="your own",
    citation="read by MNE-Python: Gramfort et al. 2013, doi:10.3389/fnins.2013.00267",
    source="a file of yours",
    recording="MEG or EEG",
    fetch_note="It is a file of your own: load('mne_file', path=FILE, events=[...])",
    options={
        "path": "the recording: .fif, .vhdr, .edf, .bdf, .set, .sqd ..., a .ds folder, or a BTi pdf file",
        "picks": "channels: 'data' (sensors on the head, default), a type ('eeg', 'mag', 'grad', 'meg', "
        "'eog' ...), 'all' or a list of names",
        "events": "names of the events around which epochs are cut; without it the recording is continuous",
        "tmin": "start of the epochs against the event [s]; -0.2 by default",
        "tmax": "end of the epochs [s]; 0.8 by default",
        "baseline": "(start, stop) [s] whose mean is subtracted from each epoch; none by default",
        "high_pass_hz": "lower corner of a filter on the raw recording; none by default",
        "low_pass_hz": "upper corner of a filter on the raw recording; none by default",
        "subject": "becomes samples['subject']",
        "run": "becomes samples['run']",
        "check_amplitude": "False takes amplitudes that no brain makes (phantoms, other units)",
    },
)


def load(
    *,
    path: str | os.PathLike[str],
    picks: str | Sequence[str] = "data",
    events: Sequence[str] | None = None,
    tmin: float = -0.2,
    tmax: float = 0.8,
    baseline: Baseline = None,
    high_pass_hz: float | None = None,
    low_pass_hz: float | None = None,
    subject: str | None = None,
    run: str | None = None,
    check_amplitude: bool = True,
) -> Dataset:
    """Load one recording as responses.

    Parameters
    ----------
    path : file or folder
        FIF (raw, epochs or evoked), BrainVision (``.vhdr``), EDF, BDF, GDF, EEGLAB
        (``.set``), CTF (``.ds``), KIT (``.sqd``, ``.con``), 4D/BTi (the pdf file, with its
        config file and head shape beside it), EGI (``.mff``) and others of MNE.
    picks : ``"data"``, a channel type, ``"all"``, or channel names
        ``"data"`` are the sensors on or in the head: MEG, EEG, sEEG, ECoG, DBS, fNIRS; not
        EOG, ECG, reference MEG, stimulus and other channels. Channels that the recording
        marks as bad are left out and named in ``info["bads_dropped"]``.
    events : sequence of str, optional
        Of a raw recording: annotations, or, where there are none, codes of the stimulus
        channel ("1", "32"). The epochs around them are the samples (design trials).
        Without events every time point is a sample (design continuous).
    tmin, tmax, baseline : s, as in MNE; they apply to `events`
    high_pass_hz, low_pass_hz : float or None
        MNE's FIR filter without phase shift, on the whole raw recording.
    subject, run : str, optional
    check_amplitude : bool
        Refuse channels whose amplitude no brain makes: microvolt stored as volt.

    Returns
    -------
    Dataset
        `responses`: (n_epochs, n_channels, n_times) with `times` [s], or
        (n_times, n_channels); V, T or T/m as the `unit` of each channel says. `samples`
        has onset [s from the start of the recording] and, for epochs, condition. Evoked
        files give one sample per condition, with n_averaged. `info`: warnings of the
        reader, what was done (``preparation``), events, bad channels, counts of dropped
        epochs. No stimuli: nothing says what was shown.

    Raises
    ------
    InputError
        An unknown extension, no channels for `picks`, options that this kind of file
        cannot take, two chosen events on one sample, no epoch left, amplitudes that no
        brain makes.
    AlignmentError
        Evoked responses of one file with other times.
    UnknownNameError
        The recording has no event of that name; those it has are listed.
    DataNotFoundError
        The file, or one that belongs to it, is absent.
    CorruptFileError
        Empty, a pointer, cut, damaged, events outside of the recording, a clock that
        disagrees with the sampling rate.
    MissingDependencyError
        MNE needs another package for this format.

    Notes
    -----
    Cost: 8 bytes a value, after `picks`. Baseline correction and filtering of a file that
    holds epochs or evoked responses already are left to the software that made them.
    """
    from brainalign.types import Dataset, Responses
    from data_loaders._meeg import foreign_warnings
    from data_loaders._meeg_files import guarded, read_recording

    place = Path(path).expanduser()
    if isinstance(events, str):
        raise InputError(f"events={events!r} is text; expected a list of names: events=[{events!r}]")
    asked = _Asked(place, picks, events, tmin, tmax, baseline, (high_pass_hz, low_pass_hz), run)
    recording = read_recording(place)
    _refuse_lost_events(place, recording.said)
    build = {"raw": _from_raw, "epochs": _from_epochs, "evoked": _from_evoked}[recording.kind]
    with foreign_warnings() as said, guarded(place):
        cut, about = build(recording.content, asked)
        responses = Responses.from_mne(
            cut,
            picks=picks if isinstance(picks, str) else list(picks),
            run=about.pop("run"),
            subject=subject,
            check_amplitude=check_amplitude,
            info={**CARD.info(), "dataset": place.name, **about},
        )
    info = {**responses.info, "subject": subject, "warnings": [*recording.said, *said]}
    return Dataset(responses=replace(responses, info=info), info=info)


@dataclass(frozen=True)
class _Asked:
    """The options of `load`."""

    place: Path
    picks: str | Sequence[str]
    events: Sequence[str] | None
    tmin: float
    tmax: float
    baseline: Baseline
    band: tuple[float | None, float | None]
    run: str | None


def _refuse_lost_events(place: Path, said: list[str]) -> None:
    """MNE leaves out events beyond the end of a recording, and goes on."""
    lost = [text for text in said if re.match(r"Omitted \d+ annotation", text)]
    if lost:
        raise CorruptFileError(
            f"{place}: {lost[0]} The events are of another recording, or the recording is cut"
        )


def _from_raw(raw: Any, asked: _Asked) -> tuple[Any, dict[str, Any]]:
    """Every time point, or epochs around the events that were asked for."""
    from data_loaders import _filtering, _meeg

    _filtering.check_band(*asked.band, float(raw.info["sfreq"]))
    if asked.events is not None:
        _meeg.check_window(asked.tmin, asked.tmax, asked.baseline)
    found = _meeg.named_events(raw)
    _meeg.refuse_events_outside(found, raw.n_times, str(asked.place))
    about: dict[str, Any] = {"run": asked.run or "1"}
    if asked.events is None:
        _annotate(raw, found)
        raw, about["preparation"] = _filtering.filtered(_pick(raw, asked), asked.band)
        return raw, about
    chosen = _choose(found, asked)
    raw, words = _filtering.filtered(_pick(raw, asked), asked.band)
    about["preparation"] = words + _meeg.baseline_in_words(asked.baseline)
    epochs, about["dropped"] = _meeg.epochs_around(
        raw, chosen, tmin=asked.tmin, tmax=asked.tmax, baseline=asked.baseline
    )
    _meeg.require_epochs(len(epochs), about["dropped"], str(asked.place))
    return epochs, about


def _annotate(raw: Any, events: pd.DataFrame) -> None:
    """Write the events of a stimulus channel where annotations are: both are read alike then."""
    from data_loaders._meeg import marks_bad

    if all(marks_bad(str(text)) for text in raw.annotations.description):
        onset = events["onset"].to_numpy() + raw.first_samp / float(raw.info["sfreq"])
        raw.annotations.append(onset, events["duration"].to_numpy(), events["condition"].to_numpy())


def _choose(found: pd.DataFrame, asked: _Asked) -> pd.DataFrame:
    """The events of the names that were asked for."""
    names = list(asked.events or [])
    if not names:
        raise InputError("events=[] names no event; leave it out for a continuous recording")
    for name in names:
        if str(name) not in set(found["condition"]):
            raise unknown_name(f"event of {asked.place}", name, set(found["condition"]))
    return found[found["condition"].isin([str(name) for name in names])].reset_index(drop=True)


def _pick(raw: Any, asked: _Asked) -> Any:
    """The channels that were asked for: the others are neither loaded nor filtered."""
    picks = asked.picks if isinstance(asked.picks, str) else list(asked.picks)
    try:
        return raw.pick(picks, exclude=(), verbose="WARNING")
    except ValueError as error:
        types = ", ".join(sorted(set(raw.get_channel_types())))
        raise InputError(
            f"picks={picks!r}: {asked.place} has no such channels ({' '.join(str(error).split())}); it has "
            f"{len(raw.ch_names)} channels of the types {types}, first {raw.ch_names[0]!r}"
        ) from error


def _from_epochs(epochs: Any, asked: _Asked) -> tuple[Any, dict[str, Any]]:
    """The epochs that the file holds."""
    from data_loaders import _meeg

    _refuse_options(asked, "epochs")
    epochs.drop_bad(verbose="ERROR")
    dropped = _meeg.dropped_by_reason(epochs)
    _meeg.require_epochs(len(epochs), dropped, str(asked.place))
    about = {"run": asked.run, "preparation": ["as in the file"], "dropped": dropped}
    return epochs, about


def _from_evoked(evoked: list[Any], asked: _Asked) -> tuple[list[Any], dict[str, Any]]:
    """One sample per condition: the mean over its epochs."""
    _refuse_options(asked, "evoked responses")
    about = {"run": asked.run, "preparation": ["averaged over epochs, as in the file"]}
    return evoked, about


def _refuse_options(asked: _Asked, kind: str) -> None:
    given: dict[str, Any] = {
        "events": asked.events,
        "high_pass_hz": asked.band[0],
        "low_pass_hz": asked.band[1],
        "baseline": asked.baseline,
    }
    for name, value in given.items():
        if value is not None:
            raise InputError(
                f"{name}={value!r}: {asked.place} holds {kind}, which are cut already; it applies to a raw "
                "recording. Leave it out"
            )
