"""Values per vertex of the two hemispheres to responses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types._betas import trial_table
from brainalign.types._events import Run, events_of_runs, sample_table
from brainalign.types._geometry import merged_info
from brainalign.types._gifti import SIDES, VertexValues, read_vertices
from brainalign.types._grids import add_regions, binary, labels
from brainalign.types._nifti import LONGEST_TR, SHORTEST_TR, as_list, with_signal

# vertices of one hemisphere of the template meshes
VERTICES = {
    "fsaverage3": 642,
    "fsaverage4": 2562,
    "fsaverage5": 10242,
    "fsaverage6": 40962,
    "fsaverage": 163842,
    "fsLR_32k": 32492,
    "fsLR_59k": 59292,
    "fsLR_164k": 163842,
}


def responses_of_surface(
    left: Any,
    right: Any,
    *,
    mask: Mapping[str, Any] | None,
    events: Any,
    stimuli: Any,
    repetition_time: float | None,
    rois: Mapping[str, Any] | None,
    design: str,
    subject: str | None,
    session: Any,
    run: Any,
    space: str | None,
    unit: str,
    slice_time_ref: float,
    info: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Fields of the `Responses` that `Responses.from_surface` returns."""
    one_of("design", design, ("trials", "blocks", "continuous"))
    parts = _hemispheres(left, right)
    counts = [len(v.values) for v in next(iter(parts.values()))]
    if design == "trials":
        if stimuli is None or events is not None:
            raise InputError("design='trials' needs stimuli= (one id per map) and takes no events=")
        samples = trial_table(stimuli, {"session": session, "run": run}, subject)
        if len(samples) != sum(counts):
            raise AlignmentError(f"{sum(counts)} maps, stimuli name {len(samples)} trials; one map for each")
        of_time: dict[str, Any] = {}
    else:
        if stimuli is not None:
            raise InputError(f"stimuli= are for design='trials'; design={design!r} takes events=")
        step = _repetition_time(parts, repetition_time)
        runs = _runs(counts, run, session, step, slice_time_ref)
        samples, of_events = sample_table(runs, events_of_runs(events, runs), subject)
        of_time = {"repetition_time": step, "sampling_rate": 1 / step, **of_events}
    values, units, notes = _units(parts, mask, rois)
    n_vertices = {side: part[0].values.shape[1] for side, part in parts.items()}
    facts = {
        "design": design,
        "unit": unit,
        "space": space_of(space, n_vertices, [v.name for part in parts.values() for v in part]),
        "n_vertices": n_vertices,
        **of_time,
        **notes,
    }
    return {"values": values, "samples": samples, "units": units, "info": merged_info(facts, info)}


def _hemispheres(left: Any, right: Any) -> dict[str, list[VertexValues]]:
    """The runs of each hemisphere that was given; they must have the same numbers of samples."""
    parts = {}
    for side, given in zip(SIDES, (left, right), strict=True):
        if given is not None:
            runs = list(given) if isinstance(given, (list, tuple)) else [given]
            parts[side] = [read_vertices(one, side, "values") for one in runs]
    if not parts or not all(parts.values()):
        raise InputError("no hemisphere was given; expected left=, right= or both")
    for side, part in parts.items():
        _refuse_turned(part[0], side)
        odd = next((v for v in part if v.values.shape[1] != part[0].values.shape[1]), None)
        if odd is not None:
            raise AlignmentError(
                f"{odd.name} has {odd.values.shape[1]} vertices, {part[0].name} {part[0].values.shape[1]}; "
                f"runs of the {side} hemisphere share their mesh"
            )
    lengths = {side: [len(v.values) for v in part] for side, part in parts.items()}
    if len(lengths) == 2 and lengths["left"] != lengths["right"]:
        raise AlignmentError(
            f"the left hemisphere has {lengths['left']} samples per run, the right {lengths['right']}; they "
            "were measured together"
        )
    return parts


def _refuse_turned(found: VertexValues, side: str) -> None:
    """Refuse (n_vertices, n_samples), the order in which other programs hold a surface."""
    n_samples, n_vertices = found.values.shape
    meshes = set(VERTICES.values())
    if n_samples in meshes and n_vertices not in meshes:
        raise ShapeError(
            f"{found.name} has shape {found.values.shape}, and {n_samples} is the number of vertices of a "
            f"template; expected (n_samples, n_vertices): turn the {side} hemisphere with .T"
        )


def _runs(counts: Sequence[int], run: Any, session: Any, step: float, slice_time_ref: float) -> list[Run]:
    if not 0 <= slice_time_ref <= 1:
        raise InputError(f"slice_time_ref={slice_time_ref} must be between 0 and 1 (a fraction of the TR)")
    names = as_list(run, len(counts), "run", [str(n + 1) for n in range(len(counts))])
    sessions = as_list(session, len(counts), "session", [None] * len(counts))
    return [
        Run(str(name), None if s is None else str(s), n, step, slice_time_ref * step)
        for name, s, n in zip(names, sessions, counts, strict=True)
    ]


def _repetition_time(parts: Mapping[str, Sequence[VertexValues]], given: float | None) -> float:
    """The argument: GIFTI has no unit of time, so its TimeStep can only contradict it."""
    if given is None:
        raise InputError(
            "a time series on a surface needs repetition_time= in seconds (GIFTI does not say it)"
        )
    if not SHORTEST_TR <= given <= LONGEST_TR:
        hint = f"; {given:g} ms are {given / 1000:g} s" if 10 <= given <= 6e4 else ""
        raise InputError(f"repetition_time={given:g} s is outside {SHORTEST_TR:g} to {LONGEST_TR:g} s{hint}")
    for values in (v for part in parts.values() for v in part if v.step):
        try:
            stated = float(values.step)
        except ValueError:
            continue
        if stated > 0 and not any(math.isclose(stated * s, given, rel_tol=1e-3) for s in (1, 1e-3)):
            raise InputError(
                f"{values.name}: TimeStep is {stated:g}, repetition_time={given:g} s; neither as s nor as "
                "ms do they agree"
            )
    return float(given)


def _units(
    parts: Mapping[str, Sequence[VertexValues]],
    mask: Mapping[str, Any] | None,
    rois: Mapping[str, Any] | None,
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Values of the vertices inside the masks, left before right, and their table."""
    _check_sides("mask", mask, parts)
    values, tables, counts, texts = [], [], {"missing": 0, "constant": 0}, []
    for side, part in parts.items():
        whole = np.concatenate([v.values for v in part])
        given = None if mask is None else _per_vertex(mask[side], side, "mask", whole.shape[1])[0]
        inside = np.ones(whole.shape[1], bool) if given is None else binary(given, f"mask ({side})")
        kept, inside, notes = with_signal(whole[:, inside], inside, mask is not None, part[0].name)
        for reason, count in notes.get("units_without_signal", {}).items():
            counts[reason] += count
        vertex = np.flatnonzero(inside)
        table = pd.DataFrame({"hemi": side, "vertex": vertex}, index=[f"{side}_{v}" for v in vertex])
        values.append(kept)
        tables.append(table)
        texts.append(f"{side}: {notes['mask']}")
    units = pd.concat(tables)
    units.index.name = "unit_id"
    columns = {
        f"roi_{str(name).removeprefix('roi_')}": _region(name, given, parts, units)
        for name, given in (rois or {}).items()
    }
    add_regions(units, columns)
    notes = {"mask": "; ".join(texts)}
    return (
        np.concatenate(values, axis=1),
        units,
        notes | ({} if mask is None else {"units_without_signal": counts}),
    )


def _check_sides(role: str, given: Any, parts: Mapping[str, Any]) -> None:
    if given is not None and (not isinstance(given, Mapping) or set(given) != set(parts)):
        found = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise InputError(f"{role} must be a mapping with {' and '.join(parts)}; found {found}")


def _per_vertex(source: Any, side: str, role: str, n: int) -> tuple[np.ndarray, dict[int, str] | None]:
    found = read_vertices(source, side, role)
    if found.values.shape != (1, n):
        raise ShapeError(
            f"{found.name} has {len(found.values)} x {found.values.shape[1]} values; expected one for each "
            f"of the {n} vertices of the {side} hemisphere"
        )
    return found.values[0], found.names


def _region(
    name: str, given: Any, parts: Mapping[str, Sequence[VertexValues]], units: pd.DataFrame
) -> np.ndarray:
    """One roi column: booleans, or labels of both hemispheres."""
    pair = isinstance(given, tuple) and len(given) == 2
    sides, names = given if pair else (given, None)
    role = f"roi {name!r}"
    _check_sides(role, sides, parts)
    picked = []
    for side, part in parts.items():
        values, table = _per_vertex(sides[side], side, role, part[0].values.shape[1])
        picked.append(values[units.loc[units["hemi"] == side, "vertex"].to_numpy()])
        names = names or table
    return labels(np.concatenate(picked), names, role)


def space_of(space: str | None, n_vertices: Mapping[str, int], names: Sequence[str]) -> str:
    """The name of the mesh, whose number of vertices must be right where it is a known one.

    Raises
    ------
    AlignmentError
        Another number of vertices than the mesh has, or hemispheres of different templates.
    """
    counts = set(n_vertices.values())
    by_count = [name for name, n in VERTICES.items() if counts == {n}]
    if space is None:
        entity = next((m[1] for n in names if (m := re.search(r"_space-([A-Za-z0-9]+)", Path(n).name))), None)
        if entity is None:
            return by_count[0] if len(by_count) == 1 else "unknown"
        family = [name for name in by_count if name.startswith(entity)]
        space = family[0] if family else entity
    plain = {name.lower().replace("_", ""): name for name in VERTICES} | {"fsaverage7": "fsaverage"}
    key = space.lower().replace("_", "").replace("-", "")
    if key == "fslr":
        key = next((name.lower().replace("_", "") for name in by_count if name.startswith("fsLR")), "fslr32k")
    known = plain.get(key)
    if known is None:
        return space
    if counts != {VERTICES[known]}:
        found = " and ".join(f"{n} ({side})" for side, n in n_vertices.items())
        hint = f"; that many has {' or '.join(by_count)}" if by_count else ""
        raise AlignmentError(
            f"space={space!r} has {VERTICES[known]} vertices per hemisphere, found {found}{hint}"
        )
    return known
