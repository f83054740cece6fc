"""Many systems brought to one stimulus axis: arrays by position, responses by id, times apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._pairing import check_same_ids, finite_matrix, stimulus_means
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

Name = str | int


@dataclass(frozen=True, eq=False)
class System:
    """One set of responses at one time: `name`, `time` (s; NaN without a time axis), values (n, p)."""

    name: Name
    time: float
    values: FloatArray


def named(argument: str, systems: Any) -> dict[Name, Any]:
    """The systems by name: those of a mapping, or their positions in a sequence."""
    if isinstance(systems, Mapping):
        found: dict[Name, Any] = dict(systems)
    elif isinstance(systems, Sequence) and not isinstance(systems, str):
        found = dict(enumerate(systems))
    else:
        raise InputError(
            f"{argument} is a {type(systems).__name__}; expected a list of systems or a mapping of names to "
            "systems, each an array (n_stimuli, n_units) or Responses"
        )
    if not found:
        raise ShapeError(f"{argument} is empty; expected at least one system")
    return found


def joined_systems(groups: Sequence[Mapping[Name, Any]]) -> list[list[System]]:
    """Every group as systems over the same stimuli, in the order of the first system of all.

    Raises
    ------
    AlignmentError
        Arrays beside Responses; a stimulus without a partner; an id with two contents.
    ShapeError, InputError
        Different numbers of rows, other axes, values that are not finite.
    """
    kinds = {isinstance(x, Responses) for group in groups for x in group.values()}
    if len(kinds) > 1:
        raise AlignmentError(
            "some systems are Responses and others plain arrays; rows are joined by stimulus_id or by "
            "position, never both: give Responses or arrays alone"
        )
    join = _by_id if kinds.pop() else _by_position
    joined = join([(name, x) for group in groups for name, x in group.items()])
    parts, start = [], 0
    for group in groups:
        own = joined[start : start + len(group)]
        parts.append([system for times in own for system in times])
        start += len(group)
    return parts


def _by_position(systems: list[tuple[Name, Any]]) -> list[list[System]]:
    out: list[list[System]] = []
    n: int | None = None
    for name, x in systems:
        values = finite_matrix(f"system {name!r}", x)
        n = len(values) if n is None else n
        if len(values) != n:
            raise ShapeError(
                f"system {name!r} has {len(values)} rows and {systems[0][0]!r} has {n}; plain arrays are "
                "joined by position and must have one row per stimulus in all systems"
            )
        out.append([System(name, np.nan, values)])
    return out


def _by_id(systems: list[tuple[Name, Any]]) -> list[list[System]]:
    out: list[list[System]] = []
    ids: np.ndarray | None = None
    hashes: dict[str, str] = {}
    for name, x in systems:
        flat, shape, times = _over_times(x)
        means = stimulus_means(f"system {name!r}", flat)
        ids = means.stimulus_id if ids is None else ids
        try:
            check_same_ids(ids, means.stimulus_id)
        except AlignmentError as error:
            raise AlignmentError(f"x is system {systems[0][0]!r}, y is system {name!r}: {error}") from None
        for stimulus_id, value in means.content_hash.items():
            if hashes.setdefault(stimulus_id, value) != value:
                raise AlignmentError(
                    f"stimulus_id {stimulus_id!r} has content hash {value[:12]} in system {name!r} and "
                    f"{hashes[stimulus_id][:12]} in a system before it; the same id names different stimuli"
                )
        position = {s: i for i, s in enumerate(means.stimulus_id)}
        rows = means.values[[position[s] for s in ids]].reshape(len(ids), *shape, -1)
        out.append([System(name, float(time), rows[..., i]) for i, time in enumerate(times)])
    return out


def _over_times(responses: Responses) -> tuple[Responses, tuple[int, ...], np.ndarray]:
    """The same responses without a time axis, the number of units, and the times (NaN without)."""
    if len(responses.shape) == 2:
        return responses, (responses.shape[1],), np.array([np.nan])
    values = responses.array()
    flat = replace(responses, values=values.reshape(len(values), -1), units=None, times=None)
    return flat, (values.shape[1],), np.asarray(responses.times, dtype=float)
