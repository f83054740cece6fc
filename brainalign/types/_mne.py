"""Recordings of sensors as MNE holds them (Raw, Epochs, Evoked) to responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unknown_name
from brainalign.errors import AlignmentError, CorruptFileError, InputError, ShapeError
from brainalign.types._amplitudes import check_amplitudes, robust_amplitudes
from brainalign.types._events import Events, Run, sample_table
from brainalign.types._fif import read_fif
from brainalign.types._files import is_path
from brainalign.types._geometry import merged_info

_UNITS = {107: "V", 112: "T", 201: "T/m"}
_UNIT_OF_TYPE = {"hbo": "M", "hbr": "M", "csd": "V/m^2"}
_HEAD, _DEVICE = 4, 1
# float32 keeps 7 digits: an offset a million times the signal would round it away
_ROUNDING = 1e-3


def responses_of_sensors(
    instance: Any,
    *,
    stimulus: str | None,
    picks: Any,
    design: str | None,
    subject: str | None,
    session: str | None,
    run: Any,
    duration: float | None,
    check_amplitude: bool,
    info: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Fields of the `Responses` that `Responses.from_mne` returns."""
    import mne

    if is_path(instance):
        instance = read_fif(instance)
    if isinstance(instance, (list, tuple)) and len(instance) == 1 and not isinstance(instance[0], mne.Evoked):
        instance = instance[0]
    if isinstance(instance, mne.Evoked):
        instance = [instance]
    first = instance[0] if isinstance(instance, (list, tuple)) and instance else instance
    kind = _kind_of(instance, first)
    index, dropped = _picked(first.info, picks, _bads(instance))
    sensors, frame = sensor_table(first.info, index)
    labels = {"subject": subject, "session": session, "run": run}
    if kind == "raw":
        parts = _of_raw(instance, index, stimulus, design, labels, duration)
    elif kind == "epochs":
        parts = _of_epochs(instance, index, stimulus, design, labels, duration)
    else:
        parts = _of_evoked(instance, [first.ch_names[i] for i in index], stimulus, design, labels)
    names, types = list(sensors.index), sensors["ch_type"].tolist()
    _refuse_infinite(parts["values"], names)
    amplitudes = robust_amplitudes(parts["values"])
    flat = check_amplitudes(amplitudes, names, types) if check_amplitude else []
    units = sorted(set(sensors["unit"]))
    facts = {
        "unit": units[0] if len(units) == 1 else "mixed",
        "sampling_rate": float(first.info["sfreq"]),
        "coordinate_frame": frame,
        "bads_dropped": dropped,
        **({"flat_channels": flat} if flat else {}),
        **({} if check_amplitude else {"amplitude_check": "overruled by the caller"}),
        **filter_of(first.info),
        **parts["info"],
    }
    values = _narrowed(parts["values"], amplitudes)
    return {
        "values": values,
        "samples": parts["samples"],
        "units": sensors,
        "times": parts.get("times"),
        "info": merged_info({k: v for k, v in facts.items() if v is not None}, info),
    }


def _kind_of(instance: Any, first: Any) -> str:
    import mne

    if isinstance(instance, mne.io.BaseRaw):
        return "raw"
    if isinstance(instance, mne.BaseEpochs):
        return "epochs"
    if isinstance(instance, (list, tuple)) and all(isinstance(e, mne.Evoked) for e in instance) and instance:
        return "evoked"
    raise InputError(
        f"instance is a {type(instance).__name__} of {type(first).__name__}; expected an MNE Raw, Epochs, "
        "Evoked, a list of Evoked, or the path of a .fif file (read other formats with mne.io.read_raw)"
    )


def _bads(instance: Any) -> set[str]:
    parts = instance if isinstance(instance, (list, tuple)) else [instance]
    return {name for part in parts for name in part.info["bads"]}


def _picked(info: Any, picks: Any, bads: set[str]) -> tuple[list[int], list[str]]:
    """Positions of the channels that `picks` asks for, without bad ones, and the names of these."""
    import mne

    # picking is a method of recordings, so an empty one is asked: no copy of the values
    empty = mne.EvokedArray(np.zeros((len(info["ch_names"]), 1)), info, verbose="ERROR")
    try:
        names = empty.pick(picks, exclude=[], verbose="ERROR").ch_names
    except ValueError as error:
        kinds = ", ".join(sorted(set(info.get_channel_types())))
        raise InputError(
            f"picks={picks!r} finds no channel ({error}); there are channels of type {kinds}"
        ) from error
    if picks == "data":
        # reference sensors measure the room, not the brain
        kinds_of = dict(zip(info["ch_names"], info.get_channel_types(), strict=True))
        names = [name for name in names if kinds_of[name] != "ref_meg"]
    kept = [name for name in names if name not in bads]
    if not kept:
        raise InputError(f"all {len(names)} picked channels are marked as bad; nothing is left")
    position = {name: i for i, name in enumerate(info["ch_names"])}
    return [position[name] for name in kept], [name for name in names if name in bads]


def sensor_table(info: Any, index: Sequence[int]) -> tuple[pd.DataFrame, str]:
    """Units of the channels (ch_type, unit, x, y, z [mm]), and the frame of the positions.

    MEG sensors are moved from the device to the head where the recording says how. Without
    that, a recording of MEG alone stays in the device frame; beside EEG their positions are NaN.
    """
    import mne

    types = info.get_channel_types(picks=list(index))
    frames = [int(info["chs"][i]["coord_frame"]) for i in index]
    places = np.array([info["chs"][i]["loc"][:3] for i in index], dtype=np.float64).reshape(-1, 3)
    places[~np.isfinite(places).all(axis=1) | (places == 0).all(axis=1)] = np.nan
    device = np.array([f == _DEVICE for f in frames])
    known = device | np.array([f == _HEAD for f in frames])
    places[~known] = np.nan
    frame = "head"
    if device.any() and info["dev_head_t"] is not None:
        places[device] = mne.transforms.apply_trans(info["dev_head_t"], places[device])
    elif device.all():
        frame = "device"
    else:
        places[device] = np.nan
    table = pd.DataFrame(
        {
            "ch_type": types,
            "unit": [
                _UNITS.get(int(info["chs"][i]["unit"]), _UNIT_OF_TYPE.get(t, "unknown"))
                for i, t in zip(index, types, strict=True)
            ],
        },
        index=pd.Index([info["ch_names"][i] for i in index], name="unit_id"),
    )
    table[list("xyz")] = 1e3 * places
    return table, frame


def filter_of(info: Any) -> dict[str, Any]:
    """Corner frequencies [Hz] that the recording says it was filtered with."""
    return {"high_pass_hz": float(info["highpass"]), "low_pass_hz": float(info["lowpass"])}


def _check_duration(found: float, step: float, duration: float | None, what: str) -> None:
    """The header's sampling rate and the known duration must agree within one sample."""
    if duration is not None and abs(found - duration) > 1.0001 * step:
        raise InputError(
            f"{what} lasts {found:g} s by its sampling rate of {1 / step:g} Hz, duration={duration:g} s; the "
            f"rate would have to be {found / duration / step:.6g} Hz. One of them is wrong"
        )


def _of_raw(
    raw: Any,
    index: list[int],
    stimulus: str | None,
    design: str | None,
    labels: Mapping[str, Any],
    duration: float | None,
) -> dict[str, Any]:
    """Samples in rows; annotations become events, those that mark bad stretches apart."""
    if design == "trials":
        raise InputError("design='trials' needs Epochs; a Raw is continuous (mne.Epochs cuts it into trials)")
    if stimulus is not None:
        raise InputError("stimulus= names a column of the metadata of Epochs; a Raw has none")
    step = 1.0 / float(raw.info["sfreq"])
    run = Run(str(labels["run"] or "1"), _text(labels["session"]), len(raw.times), step)
    _check_duration(run.duration, step, duration, "the recording")
    events, bad = _annotations(raw, step)
    samples, of_events = sample_table([run], [events], labels["subject"])
    extra = {"bad_stretches": bad} if bad else {}
    return {
        "values": _read(raw, index).T,
        "samples": samples,
        "info": {"design": design or "continuous", **of_events, **extra},
    }


def _read(instance: Any, index: list[int]) -> np.ndarray:
    """Values of the channels at `index`; damage in a file that is read only now names it."""
    import mne

    try:
        with mne.use_log_level("ERROR"):
            values: np.ndarray = instance.get_data(picks=index)
    except Exception as error:  # the reader raises whatever its parsing meets
        names = [str(name) for name in np.ravel(getattr(instance, "filenames", None) or ["the recording"])]
        raise CorruptFileError(f"{', '.join(names)}: its values cannot be read by MNE: {error}") from error
    return values


def _annotations(raw: Any, step: float) -> tuple[Events | None, dict[str, list[Any]]]:
    marks = raw.annotations
    onset = np.asarray(marks.onset, dtype=float) - raw.first_time
    # MNE counts in samples, so an event at the first one may begin a fraction of it earlier
    onset = np.where((onset < 0) & (onset > -step), 0.0, onset)
    text = np.array([str(d) for d in marks.description], dtype=object)
    table = pd.DataFrame({"onset": onset, "duration": np.asarray(marks.duration, float), "condition": text})
    apart = np.array([t.upper().startswith(("BAD", "EDGE")) for t in text], dtype=bool)
    bad = {str(name): column[apart].tolist() for name, column in table.items()} if apart.any() else {}
    kept = table[~apart].reset_index(drop=True)
    twice = kept.duplicated()
    if twice.any():
        row = kept[twice].iloc[0]
        raise InputError(
            f"annotation {row['condition']!r} at {row['onset']:g} s occurs twice ({int(twice.sum())} "
            "duplicates); remove them, or every count of events is wrong"
        )
    return (Events("annotations", kept, ()) if len(kept) else None), bad


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _of_epochs(
    epochs: Any,
    index: list[int],
    stimulus: str | None,
    design: str | None,
    labels: Mapping[str, Any],
    duration: float | None,
) -> dict[str, Any]:
    """Epochs in rows: condition from the names of the events, onset, and the metadata."""
    import mne

    if design not in (None, "trials"):
        raise InputError(f"design={design!r}: epochs are 'trials'")
    if not epochs.preload:
        # bad epochs leave the table of events only once the values are read
        with mne.use_log_level("ERROR"):
            epochs = epochs.copy().load_data()
    events = np.asarray(epochs.events)
    same = pd.Series(events[:, 0]).duplicated(keep=False).to_numpy()
    if same.any():
        rows = np.flatnonzero(events[:, 0] == events[np.flatnonzero(same)[0], 0])
        raise InputError(
            f"epochs {rows[0]} and {rows[1]} begin at the same sample {events[rows[0], 0]}; one event was "
            "cut twice"
        )
    names = {code: name for name, code in epochs.event_id.items()}
    samples = pd.DataFrame({"condition": [names.get(code, str(code)) for code in events[:, 2]]})
    # without events MNE numbers the epochs, which says nothing of when they were
    if not np.array_equal(events[:, 0], np.arange(len(events))):
        samples["onset"] = events[:, 0] / _rate_of_events(epochs)
        span = float(samples["onset"].max() - samples["onset"].min())
        if duration is not None and span > duration:
            raise AlignmentError(
                f"the epochs begin over {span:g} s, duration={duration:g} s; events lie outside the recording"
            )
    _add_metadata(samples, epochs.metadata)
    _add_stimulus(samples, stimulus)
    _add_labels(samples, labels)
    return {
        "values": _read(epochs, index),
        "samples": samples,
        "times": np.asarray(epochs.times),
        "info": {"design": "trials", "baseline": None if epochs.baseline is None else list(epochs.baseline)},
    }


def _rate_of_events(epochs: Any) -> float:
    """Samples per second of the recording that the events count in; epochs may be decimated since."""
    rate = np.ravel(getattr(epochs, "_raw_sfreq", None) or epochs.info["sfreq"])
    return float(rate[0])


def _add_metadata(samples: pd.DataFrame, metadata: pd.DataFrame | None) -> None:
    if metadata is not None:
        for name, column in metadata.items():
            samples[str(name)] = column.to_numpy()


def _add_stimulus(samples: pd.DataFrame, stimulus: str | None) -> None:
    """Column `stimulus` becomes the stimulus_id."""
    if stimulus is None:
        return
    if stimulus not in samples:
        raise unknown_name("stimulus column", stimulus, samples.columns, "Columns come from epochs.metadata.")
    missing = samples[stimulus].isna().to_numpy()
    if missing.any():
        raise InputError(
            f"epoch {int(np.flatnonzero(missing)[0])} has no {stimulus!r} ({int(missing.sum())} such); every "
            "trial needs its stimulus, drop the others"
        )
    samples["stimulus_id"] = samples[stimulus]


def _add_labels(samples: pd.DataFrame, labels: Mapping[str, Any]) -> None:
    for name, value in labels.items():
        if value is None:
            continue
        if name in samples:
            raise InputError(f"{name} is given as an argument and as a column of the metadata; leave one out")
        if not isinstance(value, (str, int, np.integer)) and len(value) != len(samples):
            raise ShapeError(f"{name} has {len(value)} entries for {len(samples)} samples")
        samples[name] = value


def _of_evoked(
    evoked: Sequence[Any],
    names: list[str],
    stimulus: str | None,
    design: str | None,
    labels: Mapping[str, Any],
) -> dict[str, Any]:
    """One row per averaged response, its condition from the comment."""
    if design not in (None, "trials"):
        raise InputError(f"design={design!r}: evoked responses are 'trials' (one row per condition)")
    comments = [str(e.comment) for e in evoked]
    twice = next((c for c in comments if comments.count(c) > 1), None)
    if twice is not None:
        raise InputError(f"two evoked responses are called {twice!r}; give each its own evoked.comment")
    for one in evoked:
        if one.kind != "average":
            raise InputError(f"evoked {one.comment!r} is a {one.kind}; expected averages")
        if one.ch_names != evoked[0].ch_names:
            raise AlignmentError(f"evoked {one.comment!r} has other channels than {comments[0]!r}")
        if one.times.shape != evoked[0].times.shape or not np.allclose(one.times, evoked[0].times):
            raise AlignmentError(f"evoked {one.comment!r} has other times than {comments[0]!r}")
    samples = pd.DataFrame({"condition": comments, "n_averaged": [int(e.nave) for e in evoked]})
    _add_stimulus(samples, stimulus)
    _add_labels(samples, labels)
    values = np.stack([one.get_data(picks=names) for one in evoked])
    return {
        "values": values,
        "samples": samples,
        "times": np.asarray(evoked[0].times),
        "info": {"design": "trials"},
    }


def _refuse_infinite(values: np.ndarray, names: Sequence[str]) -> None:
    bad = np.isinf(values)
    if bad.any():
        row, channel = (int(n) for n in np.argwhere(bad)[0][:2])
        raise InputError(
            f"channel {names[channel]!r} holds an infinite value in row {row} ({int(bad.sum())} in all); "
            "mark it as bad, or write NaN where the value is missing"
        )


def _narrowed(values: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """float32, unless it would round the signal of a channel away (large offsets, tiny values)."""
    largest = np.nanmax(np.abs(values), axis=(0, 2) if values.ndim == 3 else 0, initial=0.0)
    rounding = np.finfo(np.float32).eps * largest
    tiny = (amplitudes > 0) & (amplitudes < 1e-30)
    keep = bool(((rounding > _ROUNDING * amplitudes) & (amplitudes > 0)).any() or tiny.any())
    return np.ascontiguousarray(values, dtype=np.float64 if keep else np.float32)
