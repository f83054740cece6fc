"""The study file of a folder that fMRIPrep wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainalign.errors import DataNotFoundError, InputError
from brainalign.study._scaffold_text import Draft, comment, counted, named, path_from, study_name, value
from data_loaders._fmriprep_runs import Choice
from data_loaders._fmriprep_survey import (
    RunsSurvey,
    Survey,
    resolutions_of_space,
    spaces_of_task,
    survey,
    survey_runs,
)

LOOKED_FOR = "sub-*/[ses-*/]func/*_desc-preproc_bold.nii.gz, here or below (derivatives/fmriprep)"
HIGH_PASS_S = 128.0
# the response to an event reaches from about 2 to 10 seconds after it
_FIRST_S, _LAST_S, _N_DELAYS = 2.0, 10.0, 5
_MOST_FOLDS = 5
_MANY = 40


@dataclass(frozen=True)
class _Chosen:
    """What the study takes of what there is. `task` None: all of them, each a run."""

    task: str | None
    space: str
    resolution: str | None
    runs: RunsSurvey

    @property
    def has_conditions(self) -> bool:
        return len(self.runs.labels) > 0


def draft(folder: Path, study: Path) -> Draft | None:
    """The study of a folder of fMRIPrep, or None where it is none."""
    if not folder.is_dir():
        return None
    try:
        found = survey(folder)
    except DataNotFoundError:
        return None
    chosen = _choose(found)
    place = folder if found.derivatives.is_relative_to(folder) else found.derivatives
    title = f"{place.resolve().name}: {chosen.task or 'all tasks'}"
    lines = [
        *_subjects(found),
        *_analyses(),
        *_dataset(found, chosen, path_from(study, place)),
        *_preparation(chosen),
        *_models(chosen),
        *_encoding(chosen),
    ]
    return Draft(
        study_name(place.resolve().name, chosen.task or "all"), title, _words(found, chosen), tuple(lines)
    )


def delays(repetition_time: float) -> list[int]:
    """Delays in samples that cover about 2 to 10 seconds, at most 5 of them.

    Examples
    --------
    >>> delays(2.5), delays(2.0), delays(0.8)
    ([1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 5, 8, 10, 12])
    """
    samples = np.rint(np.linspace(_FIRST_S, _LAST_S, _N_DELAYS) / repetition_time).astype(int)
    return sorted({max(1, int(n)) for n in samples})


def _choose(found: Survey) -> _Chosen:
    """The task with most runs and conditions, in the most useful space that its runs share."""
    stories = [task for task, n in found.tasks.items() if n == 1 and not task.startswith("rest")]
    options: list[str | None] = list(found.tasks)
    if len(stories) == len(found.tasks) > 1:
        options = [None]
    chosen = [_of_task(found, task) for task in options]
    # conditions first, then runs; a task without events says nothing of what was shown
    return max(chosen, key=lambda c: (min(len(c.runs.labels), 2), len(c.runs.runs)))


def _of_task(found: Survey, task: str | None) -> _Chosen:
    """Try the spaces of a task, best first; the last error stands where none can be read."""
    failed: InputError | None = None
    for space in spaces_of_task(found, task):
        known = resolutions_of_space(found, task, space)
        resolution = known[0] or None if len(known) > 1 else None
        choice = Choice(task="*" if task is None else task, space=space, resolution=resolution)
        try:
            return _Chosen(task, space, resolution, survey_runs(found, choice))
        except InputError as error:
            failed = error
    assert failed is not None
    raise InputError(
        f"{found.derivatives}: no study can be proposed for sub-{found.subject}. {failed}"
    ) from failed


def _words(found: Survey, chosen: _Chosen) -> tuple[str, ...]:
    runs = chosen.runs
    step = "repetition time not said" if runs.repetition_time is None else f"TR {runs.repetition_time:g} s"
    events = f"{len(runs.labels)} conditions" if chosen.has_conditions else "no events"
    return (
        f"fMRIPrep: {len(found.subjects)} participants, {len(found.tasks)} tasks in {found.derivatives}",
        f"chosen: sub-{found.subject}, task {chosen.task or 'all'}, {chosen.space}, {len(runs.runs)} runs, "
        f"{step}, {events}",
    )


def _subjects(found: Survey) -> list[str]:
    return [
        *comment(
            f"Participants that are there: {named(found.subjects)}. Each gets scores and maps of its own."
        ),
        f"subjects = [{value(found.subject)}]",
        "",
    ]


def _analyses() -> list[str]:
    return [
        *comment(
            "Encoding: how well features predict the response of each voxel or vertex in runs that were left "
            "out."
        ),
        'analyses = ["encoding"]',
        "",
    ]


def _dataset(found: Survey, chosen: _Chosen, path: str) -> list[str]:
    runs = chosen.runs
    lines = ["[dataset]", 'name = "fmriprep"', "", "[dataset.options]", f"path = {value(path)}"]
    lines += comment(
        f'Tasks: {counted(found.tasks, "run")}. A list takes several, "*" all; a task is then a run.'
    )
    lines.append(f"task = {value(chosen.task or '*')}")
    if found.sessions:
        lines += comment(f"Sessions: {named(found.sessions)}; all are read. For one of them:")
        lines.append(f"# session = {value(found.sessions[0])}")
    spaces = spaces_of_task(found, chosen.task)
    lines += comment(
        f"Spaces: {counted(spaces, 'run')}. A template (MNI..., fsaverage) lets participants be compared; "
        "T1w and fsnative keep each brain's own shape."
    )
    lines.append(f"space = {value(chosen.space)}")
    known = resolutions_of_space(found, chosen.task, chosen.space)
    if chosen.resolution is not None:
        lines += comment(f"Resolutions (res- or den- in the name): {named(known)}.")
        lines.append(f"resolution = {value(chosen.resolution)}")
    lines += _mask_lines(runs)
    if runs.has_confounds:
        lines += comment(
            'Head motion, removed below. Also: "motion24", "acompcor" (with components of white matter and '
            'fluid), or columns and patterns of the table: ["trans_*", "rot_*", "framewise_displacement"].'
        )
        lines.append('confounds = "motion"')
    return [*lines, *_event_lines(chosen), ""]


def _mask_lines(runs: RunsSurvey) -> list[str]:
    if runs.runs[0].is_surface:
        return []
    lines = comment(
        "Voxels: those in the brain masks of all runs. Another image of the same grid, and regions of "
        "interest (paths from the folder of fMRIPrep):"
    )
    lines += ['# mask = "masks/gray.nii.gz"', '# rois = ["V1=rois/V1.nii.gz", "FFA=rois/FFA.nii.gz"]']
    if any(run.mask is None for run in runs.runs):
        lines += comment("Some runs have no brain mask, so all voxels that vary are read.")
        lines.append('mask = "none"')
    return lines


def _event_lines(chosen: _Chosen) -> list[str]:
    runs = chosen.runs
    if not runs.columns:
        asked = (
            "No events.tsv was found: nothing says what was shown when. Where is the BIDS folder with them?"
        )
        return [*comment(asked), '# events = "../../bids"']
    others = {name: n for name, n in runs.columns.items() if name != runs.condition}
    lines = (
        []
        if not others
        else comment(
            "Other columns of events.tsv: "
            f"{', '.join(f'{value(k)} ({n} distinct)' for k, n in others.items())}."
        )
    )
    if runs.condition is None:
        return [
            *lines,
            *comment(
                "None looks like a name of the condition, so events are not read. Name the column here:"
            ),
            f"# condition = {value(next(iter(others), 'trial_type'))}",
            'events = "none"',
        ]
    lines += comment(f"The column that says what was shown; it holds {named(runs.labels)}.")
    lines.append(f"condition = {value(runs.condition)}")
    return lines


def _preparation(chosen: _Chosen) -> list[str]:
    runs = chosen.runs
    lines = [
        "[preparation]",
        *comment(
            f"Drift slower than {HIGH_PASS_S:g} s is removed from every run, from responses and features "
            "alike. Take a longer period if a condition comes back less often than that."
        ),
        f"high_pass_s = {HIGH_PASS_S}",
    ]
    if runs.repetition_time is not None:
        chosen_delays = delays(runs.repetition_time)
        lines += comment(
            f"Blood flow follows an event by about {_FIRST_S:g} to {_LAST_S:g} s: the features, late by so "
            f"many volumes of {runs.repetition_time:g} s. Each delay gets weights of its own, so no shape of "
            "the response is assumed."
        )
        lines.append(f"delays = {value(chosen_delays)}")
    if runs.has_confounds:
        lines += comment("The feature space of the dataset that is regressed out inside every fold.")
        lines.append('confounds = "confounds"')
    if chosen.has_conditions:
        instants = any(not d > 0 for d in runs.durations)
        lines += comment(
            'How events become samples: "boxcar" counts the share of a volume that an event fills, "impulse" '
            "the events that begin in it (needed where events have no duration)."
        )
        lines.append(f"method = {value('impulse' if instants else 'boxcar')}")
    return [*lines, ""]


def _models(chosen: _Chosen) -> list[str]:
    labels = chosen.runs.labels
    if not chosen.has_conditions:
        return [
            *comment(
                "Nothing says what was shown, so there is only the control: how much of the responses time "
                "alone "
                'predicts. With events, put name = "conditions" here.'
            ),
            "[[models]]",
            'name = "time index"',
            'role = "control"',
            "",
        ]
    lines = comment(
        f"One indicator for each of {len(labels)} conditions: which voxels tell them apart, and from rest. A "
        "model that knows the time only is run beside it, as a control."
    )
    if len(labels) > _MANY:
        lines += comment(
            f"{len(labels)} conditions are many: is every stimulus a condition of its own? Then another "
            "column of events.tsv (see condition above) may say more."
        )
    return [*lines, "[[models]]", 'name = "conditions"', ""]


def _encoding(chosen: _Chosen) -> list[str]:
    n = len(chosen.runs.runs)
    lines = ["[encoding]"]
    if n > 1:
        folds = min(n, _MOST_FOLDS)
        lines += comment(
            f"There are {n} runs; whole runs are left out in turn, in {folds} folds: what is predicted was "
            "never seen."
        )
        lines.append(f"n_folds = {folds}")
    else:
        lines += comment(
            "There is one run: stretches of it are left out in turn, with a gap on either side. More runs "
            "would make a stronger claim."
        )
        lines.append(f"n_folds = {_MOST_FOLDS}")
    lines += comment(
        "Permutations for the p-values (stretches of time are exchanged). Fewer are faster; with m of them, "
        "p is at least 1/(m + 1)."
    )
    return [*lines, "n_permutations = 1000"]
