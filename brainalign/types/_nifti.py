"""Time series of volumes (NIfTI) to responses of voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types._events import Run, events_of_runs, sample_table
from brainalign.types._geometry import difference_of, merged_info, same_grid
from brainalign.types._grids import Grid, add_regions, grid_of, read_mask, read_regions, voxel_table
from brainalign.types._volumes import Volumes, open_volumes

# seconds between volumes that any scanner makes; outside, a unit was mistaken
SHORTEST_TR, LONGEST_TR = 0.01, 60.0
# a voxel varies where its range exceeds what rounding makes of a constant
_ROUNDING = 1e-6
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def responses_of_volumes(
    image: Any,
    mask: Any,
    events: Any,
    *,
    repetition_time: float | None,
    rois: Mapping[str, Any] | None,
    design: str,
    subject: str | None,
    session: Any,
    run: Any,
    affine_from: str | None,
    space: str | None,
    unit: str,
    slice_time_ref: float,
    info: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Fields of the `Responses` that `Responses.from_nifti` returns."""
    images = list(image) if isinstance(image, (list, tuple)) else [image]
    if not images:
        raise InputError("no image was given; expected one 4-D image, or a list with one for each run")
    volumes = [open_volumes(one, f"image of run {n + 1}", affine_from) for n, one in enumerate(images)]
    grid = grid_of(volumes[0])
    step = _one_grid(volumes, repetition_time)
    if design not in ("continuous", "blocks"):
        raise InputError(
            f"design={design!r}: a time series of volumes is 'continuous' or 'blocks'; for one map per trial "
            "use Responses.from_betas"
        )
    if not 0 <= slice_time_ref <= 1:
        raise InputError(f"slice_time_ref={slice_time_ref} must be between 0 and 1 (a fraction of the TR)")
    runs = _runs(volumes, run, session, step, slice_time_ref)
    samples, of_events = sample_table(runs, events_of_runs(events, runs), subject)
    inside = None if mask is None else read_mask(mask, grid, affine_from)
    values, inside, notes = read_series(volumes, inside)
    units = voxel_table(inside, grid.affine)
    add_regions(units, read_regions(rois, grid, inside, affine_from))
    facts = {
        "design": design,
        "unit": unit,
        "repetition_time": step,
        "sampling_rate": 1 / step,
        **grid_info(grid, space or volumes[0].space),
        **notes,
        **of_events,
    }
    return {"values": values, "samples": samples, "units": units, "info": merged_info(facts, info)}


def grid_info(grid: Grid, space: str | None) -> dict[str, Any]:
    """What `info` says of the grid of a recording."""
    known = {"space": space, "affine": None if grid.affine is None else grid.affine.tolist()}
    return {**{k: v for k, v in known.items() if v is not None}, "volume_shape": list(grid.shape)}


def _one_grid(volumes: Sequence[Volumes], repetition_time: float | None) -> float:
    """Check that the runs share grid and TR; return the TR in seconds."""
    first = volumes[0]
    steps = []
    for one in volumes:
        if not one.is_series:
            raise ShapeError(
                f"{one.name} has one volume of {one.shape} voxels; expected a time series (i, j, k, volume). "
                "For maps of trials use Responses.from_betas"
            )
        if one.shape != first.shape:
            raise AlignmentError(f"{one.name} has {one.shape} voxels, {first.name} has {first.shape}")
        if not same_grid(first.affine, one.affine, first.shape):
            raise AlignmentError(
                f"{one.name} lies elsewhere than {first.name}: "
                f"{difference_of(first.affine, one.affine, first.shape)}; runs of one recording share "
                "their grid"
            )
        steps.append(tr_of(one.step, one.step_unit, repetition_time, one.name))
        if not math.isclose(steps[-1], steps[0], rel_tol=1e-4):
            raise AlignmentError(
                f"{one.name} has a repetition time of {steps[-1]:g} s, {first.name} of {steps[0]:g} s; "
                "runs of one recording share it"
            )
    return steps[0]


def tr_of(step: float, unit: str, given: float | None, name: str) -> float:
    """Seconds between volumes: the header's, which must not contradict the argument.

    Raises
    ------
    InputError
        Neither says it, they contradict each other, or the value is no repetition time.
    """
    if given is not None and not SHORTEST_TR <= given <= LONGEST_TR:
        raise InputError(
            f"repetition_time={given:g} s is outside {SHORTEST_TR:g} to {LONGEST_TR:g} s"
            + (f"; {given:g} ms are {given / 1000:g} s" if 10 <= given <= 6e4 else "")
        )
    if unit and step > 0:
        stated = step * _SECONDS[unit]
        if given is None and SHORTEST_TR <= stated <= LONGEST_TR:
            return stated
        if given is not None and math.isclose(stated, given, rel_tol=1e-3):
            return given
        raise InputError(_contradiction(name, step, unit, stated, given))
    if given is not None:
        # without a unit the number may be seconds or milliseconds; 0 and 1 are what writers leave
        if step > 0 and step != 1 and not any(math.isclose(step * s, given, rel_tol=1e-3) for s in (1, 1e-3)):
            raise InputError(
                f"{name}: the header says {step:g} between volumes (no unit), repetition_time={given:g} s; "
                "neither as s nor as ms do they agree"
            )
        return given
    raise InputError(
        f"{name}: the header does not say the time between volumes (value {step:g}, unit "
        f"{unit or 'not known'}); give repetition_time= in seconds"
    )


def _contradiction(name: str, step: float, unit: str, stated: float, given: float | None) -> str:
    against = "no scanner is that slow or fast" if given is None else f"repetition_time={given:g} s"
    likely = given if given is not None else stated / 1000
    hint = ""
    if math.isclose(stated / 1000, likely, rel_tol=1e-3) and SHORTEST_TR <= likely <= LONGEST_TR:
        hint = "; it looks like milliseconds noted as seconds"
    return (
        f"{name}: the header says {step:g} {unit} between volumes, {against}{hint}. Mend the header "
        "(image.header.set_xyzt_units, set_zooms) or the argument"
    )


def _runs(
    volumes: Sequence[Volumes], run: Any, session: Any, step: float, slice_time_ref: float
) -> list[Run]:
    """Runs of the images, or of the stretches of one image whose volumes carry run labels."""
    counts = [v.n_volumes for v in volumes]
    several = run is not None and not isinstance(run, (str, int, np.integer))
    if several and len(volumes) == 1 and len(run) != 1:
        labels, counts = _stretches(np.asarray(run), counts[0], volumes[0].name)
    else:
        labels = as_list(run, len(volumes), "run", [str(n + 1) for n in range(len(volumes))])
    sessions = as_list(session, len(labels), "session", [None] * len(labels))
    first = slice_time_ref * step
    return [
        Run(str(label), None if s is None else str(s), n, step, first)
        for label, s, n in zip(labels, sessions, counts, strict=True)
    ]


def as_list(value: Any, n: int, name: str, default: list[Any]) -> list[Any]:
    """One label, or one for each of `n` runs."""
    if value is None:
        return default
    if isinstance(value, (str, int, np.integer)):
        if n > 1 and name == "run":
            raise InputError(f"run={value!r} for {n} images; give a list with one label for each")
        return [value] * n
    out = list(value)
    if len(out) != n:
        raise ShapeError(f"{name} has {len(out)} labels for {n} runs; give one for each")
    return out


def _stretches(labels: np.ndarray, n_volumes: int, name: str) -> tuple[list[Any], list[int]]:
    """Run labels of the volumes of concatenated runs: each must be one stretch."""
    if labels.shape != (n_volumes,):
        raise ShapeError(f"run has shape {labels.shape}; {name} has {n_volumes} volumes, one label for each")
    if labels.dtype.kind == "f":
        if np.any(labels != np.round(labels)):
            raise InputError("run holds fractions; expected one label for each volume")
        labels = labels.astype(int)
    found = [(label, len(list(group))) for label, group in groupby(labels.tolist())]
    distinct = [label for label, _ in found]
    twice = next((label for label in distinct if distinct.count(label) > 1), None)
    if twice is not None:
        raise InputError(
            f"the volumes of run {twice!r} are not contiguous; each run is one stretch of volumes"
        )
    return distinct, [n for _, n in found]


def read_series(
    volumes: Sequence[Volumes], inside: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Values (n_volumes, n_voxels) of the voxels inside (None: those that vary), and what was found.

    Raises
    ------
    InputError
        An infinite value, or no voxel that varies.
    """
    picked = np.ones(volumes[0].shape, dtype=bool) if inside is None else inside
    out = np.empty((sum(v.n_volumes for v in volumes), int(picked.sum())), dtype=np.float32)
    row = 0
    for one in volumes:
        for block in one.blocks():
            rows = block[picked].T
            refuse_infinite(rows, picked, one.name)
            out[row : row + len(rows)] = rows
            row += len(rows)
    return with_signal(out, picked, inside is not None, volumes[0].name)


def with_signal(
    values: np.ndarray, picked: np.ndarray, given: bool, name: str
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Keep the voxels of a mask that was given, counting those without signal; else drop these.

    Raises
    ------
    InputError
        No mask was given and no voxel varies.
    """
    missing, constant = reasons(values)
    if given:
        counts = {"missing": int(missing.sum()), "constant": int(constant.sum())}
        text = f"{picked.sum()} units of the mask that was given"
        return values, picked, {"mask": text, "units_without_signal": counts}
    varies = ~(missing | constant)
    if not varies.any():
        raise InputError(f"{name}: no unit varies from sample to sample")
    chosen = picked.copy()
    chosen[picked] = varies
    text = f"none was given: the {varies.sum()} of {varies.size} units that vary and are never missing"
    return values[:, varies], chosen, {"mask": text}


def reasons(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units with a missing value, and units that do not vary, as two masks (n_units,)."""
    low, high = values.min(axis=0), values.max(axis=0)
    missing = np.isnan(low)
    constant = ~missing & (high - low <= _ROUNDING * np.maximum(np.abs(low), np.abs(high)))
    return missing, constant


def refuse_infinite(rows: np.ndarray, picked: np.ndarray, name: str) -> None:
    bad = np.isinf(rows)
    if bad.any():
        volume, unit = (int(n) for n in np.argwhere(bad)[0])
        voxel = tuple(int(n) for n in np.argwhere(picked)[unit])
        raise InputError(
            f"{name} holds an infinite value at voxel {voxel} ({int(bad.sum())} in this block, first in "
            f"row {volume} of it); leave the voxel out of the mask or write NaN where the value is missing"
        )
