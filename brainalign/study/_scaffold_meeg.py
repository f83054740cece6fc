"""The study file of M/EEG recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainalign.errors import BrainAlignError, InputError
from brainalign.study._scaffold_text import Draft, comment, counted, named, path_from, study_name, value
from data_loaders._meeg import named_events
from data_loaders._meeg_files import FORMATS, read_recording

LOOKED_FOR = f"recordings that MNE reads ({', '.join(sorted(FORMATS))}), here or up to 4 folders below"
TMIN_S, TMAX_S = -0.2, 0.8
HIGH_PASS_HZ, LOW_PASS_HZ = 0.1, 40.0
_DEPTH, _MOST_FILES, _MOST_OPENED = 4, 500, 8
# a filter down to 0.1 Hz reaches over half a minute
_LONG_ENOUGH_S = 120.0
_FEWEST_EVENTS = 5
_MOST_FOLDS = 5
# files of MNE that hold no recording, and the later parts of a long one
_NO_RECORDING = re.compile(
    r"([-_](cov|fwd|inv|trans|src|bem|bem-sol|ica|proj|eve|events|stc|dense|morph|tfr|csd|head)|-\d+)\.fif(\.gz)?$"
)
_BOUNDARIES = ("new segment", "boundary")


@dataclass(frozen=True)
class _Opened:
    """A recording: `kind` raw, epochs or evoked; how often each condition occurs; seconds, Hz."""

    path: Path
    kind: str
    counts: dict[str, int]
    chosen: tuple[str, ...]
    seconds: float
    rate: float
    high_pass_hz: float
    types: dict[str, int]


def draft(folder: Path, study: Path) -> Draft | None:
    """The study of the first recording with events, or None where there is no recording."""
    files = list(_recordings(folder))
    if not files:
        return None
    failed: list[str] = []
    for path in files[:_MOST_OPENED]:
        try:
            opened = _open(path)
        except BrainAlignError as error:
            failed.append(str(error))
            continue
        if len(opened.chosen) > 1:
            return _draft(opened, files, folder, study)
        failed.append(
            f"{path} has {'one condition' if opened.counts else 'no events'} with {_FEWEST_EVENTS} trials or "
            f"more ({counted(opened.counts, 'event') or 'none at all'})"
        )
    raise InputError(
        f"{folder} holds {len(files)} M/EEG recordings, and none that has trials of two conditions to tell "
        f"apart. {failed[0]}. Add the events as annotations of the recording, or save epochs "
        "(epochs.save('x-epo.fif'))"
    )


def _recordings(folder: Path) -> Iterator[Path]:
    """Recordings below a folder, the nearest first; raw ones and epochs before averages."""
    if not folder.is_dir() or folder.name.lower().endswith((".ds", ".mff")):
        if _is_recording(folder):
            yield folder
        return
    found: list[Path] = []
    level = [folder]
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for place in level:
            for path in sorted(place.iterdir()):
                if path.name.startswith("."):
                    continue
                if _is_recording(path):
                    found.append(path)
                elif path.is_dir() and len(below) < _MOST_FILES:
                    below.append(path)
        level = below
    averages = re.compile(r"[-_]ave\.fif(\.gz)?$")
    yield from sorted(found[:_MOST_FILES], key=lambda path: bool(averages.search(path.name)))


def _is_recording(path: Path) -> bool:
    name = path.name.lower()
    suffix = next((s for s in FORMATS if name.endswith(s)), None)
    if suffix is None or _NO_RECORDING.search(name):
        return False
    return path.is_dir() == (suffix in (".ds", ".mff"))


def _open(path: Path) -> _Opened:
    recording = read_recording(path)
    content = recording.content
    if recording.kind == "evoked":
        return _Opened(path, "evoked", {}, (), 0.0, 0.0, 0.0, {})
    info = content.info
    types: dict[str, int] = {}
    for kind in content.get_channel_types():
        types[kind] = types.get(kind, 0) + 1
    rate, high_pass = float(info["sfreq"]), float(info["highpass"] or 0.0)
    if recording.kind == "epochs":
        counts = {str(name): len(content[name]) for name in content.event_id}
        several = tuple(name for name, n in counts.items() if n >= _FEWEST_EVENTS)
        return _Opened(path, "epochs", counts, several, 0.0, rate, high_pass, types)
    events = named_events(content)
    counts = {str(name): int(n) for name, n in events["condition"].value_counts().sort_index().items()}
    return _Opened(
        path, "raw", counts, _apart(events, counts), float(content.times[-1]), rate, high_pass, types
    )


def _apart(events: Any, counts: dict[str, int]) -> tuple[str, ...]:
    """Conditions with enough events, of which no two fall on one sample.

    A mark that stands beside every condition says nothing of them: those that share samples
    with fewer others come first, then the frequent ones.
    """
    at = {
        name: {int(n) for n in events.loc[events["condition"] == name, "sample"]}
        for name, n in counts.items()
        if n >= _FEWEST_EVENTS and not name.lower().startswith(_BOUNDARIES)
    }
    shared = {name: sum(bool(own & other) for other in at.values()) for name, own in at.items()}
    taken: set[int] = set()
    kept: list[str] = []
    for name in sorted(at, key=lambda name: (shared[name], -counts[name], name)):
        if not at[name] & taken:
            kept.append(name)
            taken |= at[name]
    return tuple(sorted(kept))


def _draft(opened: _Opened, files: list[Path], folder: Path, study: Path) -> Draft:
    stem = opened.path.name.partition(".")[0]
    channels = ", ".join(f"{n} {kind}" for kind, n in opened.types.items())
    found = (
        f"M/EEG: {len(files)} recordings in {folder}",
        f"chosen: {opened.path.name} ({opened.kind}, {opened.rate:g} Hz, {channels}); "
        f"conditions {counted({name: opened.counts[name] for name in opened.chosen}, 'trial')}",
    )
    lines = [
        *comment("Encoding: how well the condition predicts each sensor, at each time around the event."),
        'analyses = ["encoding"]',
        "",
        *_dataset(opened, files, study),
        *comment(
            f"One indicator for each of {len(opened.chosen)} conditions: where and when the sensors tell "
            "them apart."
        ),
        "[[models]]",
        'name = "conditions"',
        "",
        "[encoding]",
        *comment("Trials are left out in turn, in so many folds: what is predicted was never seen."),
        f"n_folds = {min(_MOST_FOLDS, *(opened.counts[name] for name in opened.chosen))}",
        *comment("Permutations for the p-values; with m of them, p is at least 1/(m + 1)."),
        "n_permutations = 200",
    ]
    return Draft(study_name(stem), f"{stem}: {len(opened.chosen)} conditions", found, tuple(lines))


def _dataset(opened: _Opened, files: list[Path], study: Path) -> list[str]:
    others = [path_from(study, path) for path in files if path != opened.path]
    lines = ["[dataset]", 'name = "mne_file"', "", "[dataset.options]"]
    if others:
        lines += comment(f"One recording is one study. Others that are there: {named(others, 6)}.")
    lines.append(f"path = {value(path_from(study, opened.path))}")
    lines += comment(
        'Channels: "data" are the sensors. Also a type ("eeg", "mag", "grad") or names: ["Cz", "Pz"].'
    )
    lines.append('picks = "data"')
    if opened.kind == "epochs":
        lines += comment(
            f"The file holds epochs: {counted(opened.counts, 'trial')}. They are taken as they are."
        )
        return [*lines, ""]
    lines += comment(
        f"Events of the recording: {counted(opened.counts, 'event')}. Those around which epochs are cut (no "
        f"two on one sample, each at least {_FEWEST_EVENTS} times):"
    )
    lines.append(f"events = {value(opened.chosen)}")
    lines += comment("Seconds before and after the event.")
    lines += [f"tmin = {TMIN_S}", f"tmax = {TMAX_S}"]
    return [*lines, *_filters(opened), ""]


def _filters(opened: _Opened) -> list[str]:
    lines = []
    if opened.high_pass_hz < HIGH_PASS_HZ:
        lines += comment(
            "Filters without phase shift. The lower corner removes drift, in place of a baseline: above "
            f"{HIGH_PASS_HZ} Hz it begins to distort slow responses."
        )
        short = opened.seconds < _LONG_ENOUGH_S
        if short:
            lines += comment(f"This recording of {opened.seconds:.0f} s is too short for it.")
        lines.append(f"{'# ' if short else ''}high_pass_hz = {HIGH_PASS_HZ}")
    if opened.rate > 2.5 * LOW_PASS_HZ:
        lines += comment("The upper corner removes muscle and mains noise; leave it out for fast responses.")
        lines.append(f"low_pass_hz = {LOW_PASS_HZ}")
    return lines
