"""The clock, the mask and the values of the runs of fMRIPrep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign.errors import CorruptFileError, InputError, ShapeError
from data_loaders._fmriprep_runs import Run, Timing
from data_loaders._read import require_file
from data_loaders._tables import Table

if TYPE_CHECKING:
    from brainalign.types import Responses

_SAME_MM = 1e-3
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}


@dataclass(frozen=True)
class Clock:
    """The volumes of a run in time: `skipped` of `n_volumes` at the start are left out."""

    repetition_time: float
    start_time: float
    n_volumes: int
    skipped: int = 0

    @property
    def times(self) -> np.ndarray:
        """Seconds from the start of the run to each volume that is kept."""
        return self.start_time + self.repetition_time * np.arange(self.skipped, self.n_volumes)

    @property
    def end(self) -> float:
        """Seconds from the start of the run to its end."""
        return self.repetition_time * self.n_volumes


def clocks(
    runs: Sequence[Run], times: Sequence[Timing], tables: Sequence[Table | None], skipped: Sequence[int]
) -> list[Clock]:
    """The clock of each run; all tick alike.

    Raises
    ------
    InputError
        Nothing says the repetition time, runs differ in it, or no volume is left.
    """
    found = []
    for run, time, table, n_skipped in zip(runs, times, tables, skipped, strict=True):
        step, n_volumes = time.repetition_time, None if table is None else len(table)
        if step is None or n_volumes is None:
            header_step, header_volumes = _from_header(run)
            step, n_volumes = step or header_step, n_volumes or header_volumes
        if step is None:
            raise InputError(
                f"nothing says the repetition time of {run.files[0].path}; write a sidecar (.json) beside it "
                "with "
                '{"RepetitionTime": seconds}'
            )
        if not 0 <= time.start_time <= step:
            raise InputError(
                f"{run.shown}: volumes are said to stand for {time.start_time:g} s after their start, and "
                f"take {step:g} s; give start_time= between 0 and the repetition time"
            )
        if n_skipped >= n_volumes:
            raise InputError(
                f"{run.shown}: all {n_volumes} volumes are marked as not yet steady; non_steady='keep'"
            )
        found.append(Clock(step, time.start_time, n_volumes, n_skipped))
    for name in ("repetition_time", "start_time"):
        values = [getattr(clock, name) for clock in found]
        for run, value in zip(runs, values, strict=True):
            if not math.isclose(value, values[0], rel_tol=1e-3, abs_tol=1e-6):
                raise InputError(
                    f"{run.shown} has a {name.replace('_', ' ')} of {value:g} s, {runs[0].shown} one of "
                    f"{values[0]:g} s; read them apart: runs=[...] or session="
                )
    return found


def _from_header(run: Run) -> tuple[float | None, int]:
    """Seconds between volumes (None: not said) and the number of volumes, as the image says."""
    image = _opened(run.files[0].path)
    if run.is_surface:
        return None, len(image.darrays)
    if len(image.shape) != 4:
        raise ShapeError(f"{run.files[0].path} has shape {image.shape}; expected 4 axes (i, j, k, volume)")
    unit = _SECONDS.get(int(image.header["xyzt_units"]) & 0x38)
    step = float(image.header["pixdim"][4])
    return (step * unit if unit and step > 0 else None), int(image.shape[3])


def _opened(path: Path) -> Any:
    import nibabel

    try:
        return nibabel.load(require_file(path))
    except (nibabel.filebasedimages.ImageFileError, ValueError, EOFError) as error:
        raise CorruptFileError(f"{path} is not a readable image: {error}") from error


def brain_mask(runs: Sequence[Run]) -> tuple[Any, str]:
    """The voxels that are in the brain mask of every run, as an image, and words about it.

    Raises
    ------
    InputError
        A run has no mask, or the masks share no voxel.
    ShapeError
        The masks are not on one grid.
    """
    import nibabel

    missing = [run.shown for run in runs if run.mask is None]
    if missing:
        raise InputError(
            f"{missing[0]} has no *_space-{runs[0].space}_desc-brain_mask.nii.gz ({len(missing)} of "
            f"{len(runs)} runs have none); give mask= an image of the same grid, or 'none' for all voxels"
        )
    paths = [run.mask for run in runs if run.mask is not None]
    first = _opened(paths[0])
    inside = np.asanyarray(first.dataobj) > 0
    union = inside.copy()
    for path in paths[1:]:
        other = _opened(path)
        if other.shape != first.shape or not np.allclose(other.affine, first.affine, atol=_SAME_MM):
            raise ShapeError(f"{path} and {paths[0]} are not on the same grid; runs of one space should be")
        here = np.asanyarray(other.dataobj) > 0
        inside &= here
        union |= here
    if not inside.any():
        raise InputError(
            f"the brain masks of {len(runs)} runs in {runs[0].space} share no voxel; are they of one space?"
        )
    text = (
        f"{int(inside.sum())} voxels in the brain masks of all {len(runs)} runs ({int(union.sum())} in any)"
    )
    image: Any = nibabel.Nifti1Image
    return image(inside.astype(np.uint8), first.affine), text


def read_images(
    runs: Sequence[Run],
    times: Sequence[Clock],
    events: Sequence[Any] | None,
    *,
    mask: Any,
    rois: Mapping[str, Any] | None,
    subject: str,
) -> Responses:
    """Read the runs one after the other: every volume is a row, also those that are left out later."""
    from brainalign.types import Responses

    first = times[0]
    sessions = [run.session for run in runs]
    options: dict[str, Any] = {
        "repetition_time": first.repetition_time,
        "slice_time_ref": first.start_time / first.repetition_time,
        "run": [run.label for run in runs],
        "session": sessions if any(sessions) else None,
        "subject": subject,
        "design": "continuous",
        "space": runs[0].space,
        "events": None if events is None else list(events),
        "rois": rois,
    }
    paths = [[str(require_file(file.path)) for file in run.files] for run in runs]
    if runs[0].is_surface:
        left, right = ([path[side] for path in paths] for side in (0, 1))
        return Responses.from_surface(left, right, **options)
    return Responses.from_nifti([path[0] for path in paths], mask=mask, **options)
