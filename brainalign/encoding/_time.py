"""What only designs in time need: a gap that is wide enough, drift, the time index as a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from brainalign.design import (
    TIME_INDEX,
    autocorrelation_length,
    drift_share,
    recording_runs,
    sample_interval,
    time_columns,
)
from brainalign.encoding._inputs import Problem
from brainalign.errors import AlignmentError
from brainalign.types import Responses

_HAEMODYNAMIC_S = 10.0
_SLOW_SAMPLING_S = 0.2  # samples further apart than this are those of haemodynamic recordings
_CUTOFF_S = 128.0
_UNITS_LOOKED_AT = 2000
_SHORTEST_BLOCK = 10


def default_gap(problem: Problem, delay: int, n_folds: int) -> int | None:
    """Samples to leave out beside a contiguous test block, or None where folds are not blocks.

    The largest of a tenth of a block, the longest `delay` of the features plus 10 s of
    haemodynamic response (slow recordings), and the autocorrelation length of the
    responses; at most half a block.
    """
    in_runs = problem.groups is not None or recording_runs(problem.samples) is not None
    if problem.design == "trials" or in_runs:
        return None
    block = len(problem.values) // n_folds
    needed = [1, block // 10, autocorrelation_length(_some_units(problem), longest=max(1, block // 2))]
    needed.append(delay + _haemodynamic_samples(problem))
    return max(1, min(max(needed), block // 2))


def dependent_block(problem: Problem) -> int:
    """Samples that are exchanged and resampled together: 1 for trials, else what outlasts memory.

    Twice the autocorrelation length of the responses, at least 10 samples.
    """
    if problem.design == "trials":
        return 1
    runs = recording_runs(problem.samples)
    return max(_SHORTEST_BLOCK, 2 * autocorrelation_length(_some_units(problem), runs))


def longest_delay(features: Any) -> int:
    """Longest delay, in samples, that the features say of themselves."""
    return max(
        (abs(int(d)) for part in _recordings(features) for d in part.info.get("delays", [])), default=0
    )


def _haemodynamic_samples(problem: Problem) -> int:
    dt = interval_of(problem)
    return int(np.ceil(_HAEMODYNAMIC_S / dt)) if dt is not None and dt >= _SLOW_SAMPLING_S else 0


def interval_of(problem: Problem) -> float | None:
    """Seconds between samples, or None where nothing says it."""
    shown = Responses(np.zeros((len(problem.samples), 1)), problem.samples, info=problem.info)
    try:
        return sample_interval(shown)
    except AlignmentError:
        return None


def _recordings(features: Any) -> list[Responses]:
    every = list(features.values()) if isinstance(features, Mapping) else [features]
    return [part for part in every if isinstance(part, Responses)]


def _some_units(problem: Problem) -> np.ndarray:
    step = max(1, problem.values.shape[1] // _UNITS_LOOKED_AT)
    return problem.values[:, ::step]


def time_facts(problem: Problem, features: Any) -> dict[str, Any]:
    """Drift of the responses, delays of the features, what was prepared; empty for trials."""
    if problem.design == "trials":
        return {}
    out: dict[str, Any] = {}
    if problem.info.get("preparation"):
        out["preparation"] = list(problem.info["preparation"])
    for part in _recordings(features)[:1]:
        out.update({key: list(part.info[key]) for key in ("delays", "delays_s") if part.info.get(key)})
    dt = interval_of(problem)
    if dt is not None and dt >= _SLOW_SAMPLING_S:
        median, expected = drift_share(
            _some_units(problem), dt=dt, cutoff_s=_CUTOFF_S, runs=recording_runs(problem.samples)
        )
        out["drift"] = {"median_share": median, "expected_share": expected, "cutoff_s": _CUTOFF_S}
    if problem.confounds is not None:
        out["confounds"] = (
            f"{problem.confounds.shape[1]} columns, regressed out of responses and features by the training "
            "rows of each fold"
        )
    return out


def time_problem(problem: Problem) -> Problem:
    """The same responses, to be explained by the time since the start of the run alone."""
    values, _ = time_columns(problem.samples)
    return replace(problem, features={TIME_INDEX: values}, rows={TIME_INDEX: np.arange(len(values))})
