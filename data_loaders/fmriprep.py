"""A user's own fMRI: the output of fMRIPrep, with the events of the BIDS folder beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import DataNotFoundError, InputError, ShapeError
from data_loaders._bids import find_derivatives, find_raw, functional_files, subject_labels
from data_loaders._card import DatasetCard
from data_loaders._fmriprep_confounds import confound_columns, confound_values, n_non_steady, read_confounds
from data_loaders._fmriprep_events import OUTSIDE, Events, gather_events
from data_loaders._fmriprep_images import Clock, brain_mask, clocks, read_images
from data_loaders._fmriprep_runs import Choice, Run, choose_runs, timing
from data_loaders._names import unknown_name
from data_loaders._read import require_file

if TYPE_CHECKING:
    from brainalign.types import Dataset, Responses
    from data_loaders._tables import Table

CARD = DatasetCard(
    name="fmriprep",
    title="Your own fMRI: the output of fMRIPrep, with events from the BIDS folder",
    licence="your own",
    citation="Esteban et al. 2019, Nature Methods, DOI 10.1038/s41592-018-0235-4",
    source="a folder of yours",
    species="human",
    recording="fMRI (BOLD), volumes or surfaces",
    fetch_note="It is a folder of your own: load('fmriprep', path=DIR, subject=...)",
    options={
        "path": "the BIDS folder with derivatives/fmriprep below it, or the folder that fMRIPrep wrote",
        "subject": "label of the participant, '01' or 'sub-01'",
        "session": "label of the session; all of them by default",
        "task": "label of the task, or a list of them (stories, each a run); '*' for all",
        "space": "'MNI152NLin2009cAsym', 'T1w', 'func' (no space in the name), 'fsaverage5', 'fsnative' ...",
        "resolution": "label of res- (volumes) or den- (surfaces), where there are several",
        "mask": "an image of the same grid; by default the brain masks of all runs; 'none': all voxels",
        "rois": "regions as ['V1=rois/V1.nii.gz', ...]: images of the same grid, 0 and 1 or labels",
        "confounds": "'motion', 'motion24', 'acompcor', or a list of columns and patterns; none by default",
        "events": "the BIDS folder with events.tsv, where it is not beside; 'none': without events",
        "condition": "column of events.tsv that names the condition (trial_type by default)",
        "runs": "labels of the runs to read; all by default",
        "entities": "further parts that the file names must have, for instance ['acq-mb4', 'dir-AP']",
        "start_time": "seconds from the start of a volume to the instant that it stands for (StartTime)",
        "non_steady": "'drop' (default) or 'keep' the first volumes that fMRIPrep marks as not yet steady",
        "outside": "'refuse' (default) or 'drop' events that lie outside their run",
    },
)
NON_STEADY = ("drop", "keep")


def load(
    *,
    path: str | os.PathLike[str],
    subject: str | int | None = None,
    session: str | int | None = None,
    task: str | Sequence[str] | None = None,
    space: str | None = None,
    resolution: str | int | None = None,
    mask: str | os.PathLike[str] | None = None,
    rois: Mapping[str, Any] | Sequence[str] | None = None,
    confounds: str | Sequence[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    condition: str | None = None,
    runs: Sequence[str | int] | None = None,
    entities: Sequence[str] | None = None,
    start_time: float | None = None,
    non_steady: str = "drop",
    outside: str = "refuse",
) -> Dataset:
    """Load the preprocessed runs of one participant, one task and one space.

    Parameters
    ----------
    path : folder
        The BIDS folder with ``derivatives/fmriprep`` below it, or the folder that fMRIPrep
        wrote; the BIDS folder with the events is then the one that its
        ``dataset_description.json`` names, or the nearest one above it.
    subject, session, task, space, resolution : labels as in the file names
        What there is only one of need not be said; for what there are several of, the
        error lists them. Sessions are all read unless one is named. `task` may be a list, or
        ``"*"``: every task is then a run (stories). `space` of a surface reads both halves.
    mask : path of an image of the same grid, or ``"none"``
        By default the voxels that are in the brain mask of every run. A relative path
        counts from the folder of fMRIPrep. Volumes only.
    rois : {name: image} as in `Responses.from_nifti`, or texts ``"NAME=PATH"``
        Columns ``roi_NAME``; paths count like that of `mask`. Volumes only.
    confounds : ``"motion"`` (6 columns), ``"motion24"``, ``"acompcor"``, or column names and patterns
        They become ``features["confounds"]``; nothing is removed from the responses here.
    events : path of the BIDS folder, or ``"none"``
    condition : column of events.tsv, by default ``trial_type``
    runs : labels of the runs, by default all
    entities : parts like ``"acq-mb4"`` that the file names must have
    start_time : seconds; by default what the sidecar says (`StartTime`), else half a
        repetition time where it says that slice times were corrected, else 0
    non_steady : ``"drop"`` or ``"keep"`` the volumes marked ``non_steady_state_outlier``
    outside : ``"refuse"`` or ``"drop"`` events that lie outside the samples of their run

    Returns
    -------
    Dataset
        `responses`: design ``"continuous"`` (every volume is a row), float32; samples with
        run, session, subject, task, onset [s] and condition; units are voxels (i, j, k; x, y,
        z [mm]) or vertices (hemi, vertex). ``info["events"]`` where there are any;
        ``info["notes"]`` says what was chosen, cut or left out. ``features["confounds"]``:
        the same rows.

    Raises
    ------
    DataNotFoundError
        No output of fMRIPrep, no such file, no events at the place that was named.
    CorruptFileError
        A file is empty, damaged, or a pointer of git-annex (run ``git annex get``).
    InputError
        A choice is open (the labels are listed), a run lacks a file that the others have,
        repetition times differ, an event is outside its run.
    ShapeError
        Confounds, mask and volumes do not belong together.

    Notes
    -----
    Cost: two listings per session, then only the files that are needed. Memory: 4 bytes per
    voxel in the mask and volume, and one run at a time as it is on disk.

    The onset of volume i is ``i * TR + StartTime``: fMRIPrep resamples every slice to an
    instant within the volume (by default its middle), and since version 21 says which. Older
    versions do not say it: give `start_time`, or the first sidecar of the raw run decides.
    fMRIPrep: Esteban et al. 2019, DOI 10.1038/s41592-018-0235-4.
    """
    one_of = {"non_steady": (non_steady, NON_STEADY), "outside": (outside, OUTSIDE)}
    for option, (value, valid) in one_of.items():
        if value not in valid:
            raise InputError(f"{option}={value!r} is not one of {', '.join(map(repr, valid))}")
    derivatives = find_derivatives(path)
    raw = _raw_folder(derivatives, events)
    wanted = Choice(_text(session, "ses-"), task, space, _text(resolution), runs, entities)
    label = _subject(derivatives, subject)
    chosen = choose_runs(functional_files(derivatives, label), wanted, derivatives)
    times = [timing(run, raw or find_raw(derivatives), start_time) for run in chosen]
    tables = _confound_tables(chosen, confounds)
    skipped = [0 if table is None or non_steady == "keep" else n_non_steady(table) for table in tables]
    ticks = clocks(chosen, times, tables, skipped)
    covariates = None if confounds is None else _covariates(confounds, tables)
    happened = None if raw is None else gather_events(raw, chosen, ticks, condition, outside)
    image, about_mask = _mask(mask, chosen, derivatives)
    responses = read_images(
        chosen,
        ticks,
        None if happened is None else happened.per_run,
        mask=image,
        rois=_regions(rois, chosen, derivatives),
        subject=label,
    )
    notes = [times[0].note, *about_mask, *_left_out(chosen, skipped)]
    notes += [] if happened is None else happened.notes()
    return _bundle(responses, chosen, ticks, covariates, happened, notes, derivatives)


def _text(label: str | int | None, prefix: str = "") -> str | None:
    return None if label is None else str(label).removeprefix(prefix)


def _subject(derivatives: Path, subject: str | int | None) -> str:
    known = subject_labels(derivatives)
    if subject is None:
        if len(known) > 1:
            raise InputError(
                f"{derivatives} holds {len(known)} subjects: {', '.join(known)}; choose one with subject="
            )
        return known[0]
    label = str(subject).removeprefix("sub-")
    if label not in known:
        raise unknown_name(f"subject of {derivatives}", label, known)
    return label


def _raw_folder(derivatives: Path, events: str | os.PathLike[str] | None) -> Path | None:
    """The BIDS folder with the events, or None where none are wanted or found."""
    if events == "none":
        return None
    if events is None:
        return find_raw(derivatives)
    place = derivatives / Path(events).expanduser()
    if not subject_labels(place):
        raise DataNotFoundError(
            f"events={str(events)!r}: {place} has no sub- folders; give the BIDS folder that holds "
            "events.tsv, or 'none'"
        )
    return place


def _confound_tables(runs: Sequence[Run], confounds: str | Sequence[str] | None) -> list[Table | None]:
    missing = [run.shown for run in runs if run.confounds is None]
    if missing and confounds is not None:
        raise DataNotFoundError(
            f"{missing[0]} has no *_desc-confounds_timeseries.tsv ({len(missing)} of {len(runs)} runs have "
            "none); leave confounds out, or the run"
        )
    return [None if run.confounds is None else read_confounds(run.confounds) for run in runs]


def _covariates(
    confounds: str | Sequence[str], tables: Sequence[Table | None]
) -> tuple[list[str], np.ndarray]:
    """Names of the confounds and their values over all runs, (n_volumes, n_columns)."""
    known = [table for table in tables if table is not None]
    columns = confound_columns(confounds, known)
    return columns, np.concatenate([confound_values(table, columns) for table in known])


def _mask(
    mask: str | os.PathLike[str] | None, runs: Sequence[Run], derivatives: Path
) -> tuple[Any, list[str]]:
    """The mask for the reader (an image, a path, or None for all voxels that vary), and words about it."""
    if runs[0].is_surface:
        if mask not in (None, "none"):
            raise InputError(f"mask={str(mask)!r}: {runs[0].space} is a surface; a mask is for volumes")
        return None, []
    if mask is None:
        image, text = brain_mask(runs)
        return image, [text]
    if mask == "none":
        return None, []
    return str(require_file(derivatives / Path(mask).expanduser())), [f"mask {Path(mask).name}"]


def _regions(
    rois: Mapping[str, Any] | Sequence[str] | None, runs: Sequence[Run], derivatives: Path
) -> dict[str, Any] | None:
    """Regions by name, with paths that count from the folder of fMRIPrep."""
    if not rois:
        return None
    if runs[0].is_surface:
        raise InputError(f"rois: {runs[0].space} is a surface; images of regions are for volumes")
    if isinstance(rois, Mapping):
        return dict(rois)
    found: dict[str, Any] = {}
    for text in rois:
        name, equals, place = str(text).partition("=")
        if not equals or not name.strip() or not place.strip():
            raise InputError(f"rois: {text!r}; expected 'NAME=PATH', for instance 'V1=rois/V1.nii.gz'")
        found[name.strip()] = str(require_file(derivatives / Path(place.strip()).expanduser()))
    return found


def _left_out(runs: Sequence[Run], skipped: Sequence[int]) -> list[str]:
    total = sum(skipped)
    if not total:
        return []
    shown = ", ".join(f"{run.label}: {n}" for run, n in zip(runs, skipped, strict=True) if n)
    return [f"{total} volumes at the start of runs were left out as not yet steady (run {shown})"]


def _bundle(
    responses: Responses,
    runs: Sequence[Run],
    ticks: Sequence[Clock],
    covariates: tuple[list[str], np.ndarray] | None,
    happened: Events | None,
    notes: list[str],
    derivatives: Path,
) -> Dataset:
    """Leave out the first volumes, and put events, confounds and words beside the responses."""
    import pandas as pd

    from brainalign.types import Dataset, Responses

    if responses.n_samples != sum(clock.n_volumes for clock in ticks):
        raise ShapeError(
            f"the images hold {responses.n_samples} volumes, the confounds of the same runs "
            f"{sum(clock.n_volumes for clock in ticks)} rows; they must be of the same runs"
        )
    kept = np.concatenate([np.arange(clock.n_volumes) >= clock.skipped for clock in ticks])
    if not kept.all():
        responses = responses.select(samples=kept)
    assert responses.samples is not None
    samples = responses.samples.copy()
    n_rows = [clock.n_volumes - clock.skipped for clock in ticks]
    samples["task"] = np.repeat(np.array([run.task for run in runs], dtype=object), n_rows)
    info = {**responses.info, **CARD.info(), "dataset": derivatives.resolve().name, "notes": notes}
    if happened is not None:
        # with the stimuli, where events name them; the reader knows conditions only
        info["events"] = happened.columns
    responses = replace(responses, samples=samples, info=info)
    features = {}
    if covariates is not None:
        columns, values = covariates
        keys = [c for c in ("subject", "session", "run", "onset") if c in samples]
        units = pd.DataFrame(index=pd.Index(columns, name="unit_id"))
        about = {**CARD.info(), "design": "continuous", "role": "confounds"}
        features["confounds"] = Responses(values[kept], samples[keys], units, info=about)
    return Dataset(responses=responses, features=features, info={**CARD.info(), "notes": notes})
