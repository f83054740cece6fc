"""Which runs of fMRIPrep a choice means, and the files and times of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainalign.errors import DataNotFoundError, InputError
from data_loaders._bids import BidsFile, is_preprocessed, matching, metadata
from data_loaders._names import unknown_name

NATIVE = "func"
_RESOLUTION = ("res", "den")


@dataclass(frozen=True)
class Choice:
    """What the user asked for; None: what there is only one of (sessions and runs: all)."""

    session: str | None = None
    task: str | Sequence[str] | None = None
    space: str | None = None
    resolution: str | None = None
    runs: Sequence[str | int] | None = None
    entities: Sequence[str] | None = None


@dataclass(frozen=True)
class Run:
    """One run: the volume, or both halves of a surface; its mask, confounds and sidecar, or None."""

    files: tuple[BidsFile, ...]
    session: str | None
    task: str
    label: str
    space: str
    mask: Path | None
    confounds: Path | None
    sidecar: Path | None

    @property
    def is_surface(self) -> bool:
        """Whether the run is on a surface: `files` are then the left and the right half."""
        return len(self.files) == 2

    @property
    def shown(self) -> str:
        """The run for people."""
        return f"{f'ses-{self.session} ' if self.session else ''}task-{self.task} run {self.label}"


@dataclass(frozen=True)
class Timing:
    """Seconds between volumes (None: the image says it), and to the instant that a volume stands for."""

    repetition_time: float | None
    start_time: float
    note: str


def spaces(files: Iterable[BidsFile]) -> dict[str, int]:
    """The spaces of preprocessed runs, with how many runs each has."""
    found: dict[str, set[object]] = {}
    for file in files:
        if is_preprocessed(file):
            found.setdefault(space_of(file), set()).add(file.recording)
    return {name: len(runs) for name, runs in sorted(found.items())}


def tasks(files: Iterable[BidsFile]) -> dict[str, int]:
    """The tasks of preprocessed runs, with how many runs each has."""
    found: dict[str, set[object]] = {}
    for file in files:
        if is_preprocessed(file):
            found.setdefault(file.entities.get("task", ""), set()).add(file.recording)
    return {name: len(runs) for name, runs in sorted(found.items())}


def space_of(file: BidsFile) -> str:
    """The label of ``space-``, or ``"func"`` where the name has none: the grid of the recording."""
    return file.entities.get("space", NATIVE)


def choose_runs(files: Sequence[BidsFile], choice: Choice, derivatives: Path) -> list[Run]:
    """Return the runs that a choice means, in order of session, task and run.

    Raises
    ------
    DataNotFoundError
        The subject has no preprocessed runs.
    UnknownNameError
        A label does not exist; those that do are listed.
    InputError
        A choice is open, a run lacks the chosen space, or two files are the same run.
    """
    found = [file for file in files if is_preprocessed(file)]
    if not found:
        raise DataNotFoundError(_nothing(files, derivatives))
    found = _of_entities(found, choice.entities)
    if choice.session is not None:
        found = _of_label(found, "ses", "session", choice.session)
    found = _of_tasks(found, choice.task)
    found = _of_runs(found, choice.runs)
    wanted = {file.recording for file in found}
    found = _of_space(found, choice.space)
    found = _of_resolution(found, choice.resolution)
    _refuse_missing(wanted, found)
    several = len({file.entities.get("task") for file in found}) > 1
    runs = [_run(own, files, several) for own in _grouped(found)]
    _refuse_twice(runs)
    if runs[0].space == NATIVE and len(runs) > 1:
        raise InputError(
            f"space={NATIVE!r} is the grid of each run alone, so voxels of {len(runs)} runs do not "
            "correspond; choose a space that runs share (T1w, MNI152NLin2009cAsym), or one run: runs=[...]"
        )
    return runs


def _nothing(files: Sequence[BidsFile], derivatives: Path) -> str:
    cifti = any(file.suffix == "bold" and file.extension == ".dtseries.nii" for file in files)
    raw = any(file.suffix == "bold" and "desc" not in file.entities for file in files)
    hint = (
        "It has CIFTI files (.dtseries.nii), which are not read: run fMRIPrep with a volume or a surface "
        "among its --output-spaces"
        if cifti
        else "It has raw runs only: run fMRIPrep first"
        if raw
        else "Is the label of the participant right, and did fMRIPrep finish?"
    )
    return (
        f"{derivatives}: the subject has no preprocessed runs (*_desc-preproc_bold.nii.gz, "
        f"*_hemi-L_*_bold.func.gii). {hint}"
    )


def _of_entities(files: list[BidsFile], wanted: Sequence[str] | None) -> list[BidsFile]:
    pairs = []
    for text in wanted or ():
        key, dash, label = str(text).partition("-")
        if not dash or not label:
            raise InputError(f"entities: {text!r} is no part of a BIDS name; expected for instance 'acq-mb4'")
        pairs.append((key, label))
    named = {key for key, _ in pairs}
    # single echoes and parts of complex images stand beside the combined run
    files = [f for f in files if not ({"echo", "part"} - named) & set(f.entities)]
    for key, label in pairs:
        files = _of_label(files, key, f"entity {key}", label)
    return files


def _of_label(files: list[BidsFile], key: str, meaning: str, label: str) -> list[BidsFile]:
    chosen = [file for file in files if file.entities.get(key) == label]
    if not chosen:
        raise unknown_name(meaning, label, {file.entities[key] for file in files if key in file.entities})
    return chosen


def _of_tasks(files: list[BidsFile], task: str | Sequence[str] | None) -> list[BidsFile]:
    labels = sorted({file.entities.get("task", "") for file in files})
    if task == "*":
        return files
    if task is None:
        if len(labels) > 1:
            raise InputError(
                f"there are {len(labels)} tasks: {', '.join(labels)}; choose one with task=, several with a "
                "list, all with task='*'"
            )
        return files
    chosen: list[BidsFile] = []
    for label in [task] if isinstance(task, str) else dict.fromkeys(task):
        chosen += _of_label(files, "task", "task", str(label).removeprefix("task-"))
    if not chosen:
        raise InputError(f"task=[] names no task; there are: {', '.join(labels)}")
    return chosen


def _of_runs(files: list[BidsFile], runs: Sequence[str | int] | None) -> list[BidsFile]:
    if runs is None:
        return files
    wanted = {_index(str(run).removeprefix("run-")) for run in runs}
    known = {_run_label(file) for file in files}
    for label in sorted(wanted - known):
        raise unknown_name("run", label, known)
    if not wanted:
        raise InputError(f"runs=[] names no run; there are: {', '.join(sorted(known))}")
    return [file for file in files if _run_label(file) in wanted]


def _index(label: str) -> str:
    return str(int(label)) if label.isdigit() else label


def _run_label(file: BidsFile) -> str:
    return _index(file.entities.get("run", "1"))


def _of_space(files: list[BidsFile], space: str | None) -> list[BidsFile]:
    known = spaces(files)
    if space is None:
        if len(known) > 1:
            shown = ", ".join(f"{name} ({n} runs)" for name, n in known.items())
            raise InputError(f"there are {len(known)} spaces: {shown}; choose one with space=")
        return files
    chosen = [file for file in files if space_of(file) == space]
    if not chosen:
        raise unknown_name("space", space, known)
    return chosen


def _of_resolution(files: list[BidsFile], resolution: str | None) -> list[BidsFile]:
    known = sorted({resolution_of(file) for file in files})
    if resolution is None:
        if len(known) > 1:
            shown = ", ".join(label or "(none in the name)" for label in known)
            raise InputError(f"there are several resolutions: {shown}; choose one with resolution=")
        return files
    chosen = [file for file in files if resolution_of(file) == resolution]
    if not chosen:
        raise unknown_name("resolution", resolution, known)
    return chosen


def resolution_of(file: BidsFile) -> str:
    """The label of ``res-`` or ``den-``, or "" where the name has none."""
    return next((file.entities[key] for key in _RESOLUTION if key in file.entities), "")


def _refuse_missing(wanted: set[tuple[tuple[str, str], ...]], found: list[BidsFile]) -> None:
    missing = sorted(wanted - {file.recording for file in found})
    if missing:
        shown = "_".join(f"{key}-{label}" for key, label in sorted(missing[0], key=_order))
        raise InputError(
            f"{len(missing)} of {len(wanted)} runs are not there in the space and resolution that were "
            f"chosen, first {shown}; did fMRIPrep finish? Name the runs that are there with runs=[...], or "
            "choose another space"
        )


def _order(pair: tuple[str, str]) -> int:
    keys = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")
    return keys.index(pair[0]) if pair[0] in keys else len(keys)


def _grouped(files: list[BidsFile]) -> list[list[BidsFile]]:
    groups: dict[tuple[tuple[str, str], ...], list[BidsFile]] = {}
    for file in files:
        groups.setdefault(file.recording, []).append(file)
    return [groups[key] for key in sorted(groups, key=_by_time)]


def _by_time(key: tuple[tuple[str, str], ...]) -> tuple[str, str, int, str]:
    own = dict(key)
    run = own.get("run", "1")
    return own.get("ses", ""), own.get("task", ""), int(run) if run.isdigit() else 0, run


def _run(own: list[BidsFile], files: Sequence[BidsFile], several_tasks: bool) -> Run:
    halves = sorted(own, key=lambda file: file.entities.get("hemi", ""))
    sides = [file.entities.get("hemi") for file in halves]
    if sides not in ([None], ["L", "R"]):
        shown = ", ".join(file.path.name for file in halves)
        raise InputError(f"one run should be one volume, or the two halves of a surface; found {shown}")
    first = halves[0]
    here = [file for file in files if space_of(file) == space_of(first)]
    here = [file for file in here if resolution_of(file) == resolution_of(first)]
    masks = [f for f in matching(here, first, "mask", ".nii.gz", ".nii") if f.entities.get("desc") == "brain"]
    # an unpacked copy beside the packed one is the same mask
    masks.sort(key=lambda file: file.extension != ".nii.gz")
    tables = [
        file
        for suffix in ("timeseries", "regressors")
        for file in matching(files, first, suffix, ".tsv")
        if file.entities.get("desc") == "confounds"
    ]
    sidecars = [
        file
        for file in matching(here, first, "bold", ".json")
        if all(file.entities.get(key) == first.entities.get(key) for key in ("hemi", "desc", "echo"))
    ]
    task, run = first.entities.get("task", ""), first.entities.get("run")
    label = _run_label(first)
    if several_tasks:
        label = task if run is None else f"{task}_{label}"
    return Run(
        tuple(halves),
        first.entities.get("ses"),
        task,
        label,
        space_of(first),
        masks[0].path if masks and len(halves) == 1 else None,
        tables[0].path if tables else None,
        sidecars[0].path if sidecars else None,
    )


def _refuse_twice(runs: list[Run]) -> None:
    seen: dict[str, Run] = {}
    for run in runs:
        other = seen.setdefault(run.shown, run)
        if other is not run:
            differing = [
                f"{key}-{label}" for r in (other, run) for key, label in r.files[0].entities.items()
                if other.files[0].entities.get(key) != run.files[0].entities.get(key)
            ]  # fmt: skip
            raise InputError(
                f"{other.files[0].path.name} and {run.files[0].path.name} are the same run ({run.shown}); "
                f"choose with entities=[...] among: {', '.join(differing)}"
            )


def timing(run: Run, raw: Path | None, start_time: float | None) -> Timing:
    """What the sidecars say of the times of a run.

    Raises
    ------
    InputError
        A time is no number of seconds, or volumes are not evenly spaced.
    """
    about = metadata(raw, run.files[0], [run.sidecar] if run.sidecar else [])
    where = str(run.sidecar or run.files[0].path)
    known = about.get("RepetitionTime")
    if known is None and about.get("VolumeTiming") is not None:
        raise InputError(f"{where}: volumes at own times (VolumeTiming, sparse acquisition) are not read yet")
    if known is not None and not (isinstance(known, (int, float)) and 0.01 < known < 100):
        raise InputError(f"{where}: RepetitionTime is {known!r}; expected seconds")
    repetition_time = None if known is None else float(known)
    said = about.get("StartTime")
    if said is not None and not (isinstance(said, (int, float)) and math.isfinite(said)):
        raise InputError(f"{where}: StartTime is {said!r}; expected seconds, or give start_time=")
    if start_time is not None:
        return Timing(
            repetition_time, start_time, f"each volume stands for {start_time:g} s after its start (given)"
        )
    if said is not None:
        return Timing(
            repetition_time, float(said), f"each volume stands for {said:g} s after its start (StartTime)"
        )
    if about.get("SliceTimingCorrected") is True and repetition_time is not None:
        return Timing(
            repetition_time,
            repetition_time / 2,
            "slice times were corrected and the sidecar does not say to which instant; the middle of the "
            "volume is taken (the default of fMRIPrep), start_time= says otherwise",
        )
    return Timing(
        repetition_time,
        0.0,
        "the sidecar has no StartTime; volumes are taken to stand for their start, start_time= says "
        "otherwise",
    )
