"""What only designs in time need: a gap that is wide enough, drift, the time index as a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design import (
    SLOW_SAMPLING_S,
    TIME_INDEX,
    Splits,
    autocorrelation_length,
    contiguous_gap,
    drift_share,
    interval_or_none,
    recording_runs,
    some_units,
    time_columns,
)
from brainalign.encoding._inputs import Problem
from brainalign.types import Responses

_CUTOFF_S = 128.0
_SHORTEST_BLOCK = 10


def default_gap(problem: Problem, delay: int, n_folds: int) -> int | None:
    """The gap of `contiguous_gap` for responses that are joined already."""
    if problem.groups is not None:
        return None
    info = {**problem.info, "design": problem.design}
    return contiguous_gap(Responses(problem.values, problem.samples, info=info), n_folds=n_folds, delay=delay)


def dependent_block(problem: Problem) -> int:
    """Samples that are exchanged and resampled together: 1 for trials, else what outlasts memory.

    Twice the autocorrelation length of the responses, at least 10 samples.
    """
    if problem.design == "trials":
        return 1
    runs = recording_runs(problem.samples)
    return max(_SHORTEST_BLOCK, 2 * autocorrelation_length(some_units(problem.values), runs))


def why_no_exchange(problem: Problem, splits: Splits, block: int) -> str | None:
    """Why blocks cannot be exchanged, or None: no fold may be shorter than two of them."""
    if problem.design == "trials":
        return None
    runs = recording_runs(problem.samples)
    labels = np.zeros(len(problem.values), dtype=object) if runs is None else runs
    stretch = min(int(pd.Series(labels[test]).value_counts().max()) for _, test in splits.folds)
    if 2 * block <= stretch:
        return None
    return (
        f"the responses remember {block // 2} samples, and the {stretch} samples of a test stretch hold "
        "fewer than two blocks of twice that; remove drift (high-pass), use fewer folds, or set "
        "permutation_block"
    )


def longest_delay(features: Any) -> int:
    """Longest delay, in samples, that the features say of themselves."""
    return max(
        (abs(int(d)) for part in _recordings(features) for d in part.info.get("delays", [])), default=0
    )


def interval_of(problem: Problem) -> float | None:
    """Seconds between samples, or None where nothing says it."""
    return interval_or_none(
        Responses(np.zeros((len(problem.samples), 1)), problem.samples, info=problem.info)
    )


def _recordings(features: Any) -> list[Responses]:
    every = list(features.values()) if isinstance(features, Mapping) else [features]
    return [part for part in every if isinstance(part, Responses)]


def time_facts(problem: Problem, features: Any) -> dict[str, Any]:
    """Drift of the responses, delays of the features, what was prepared; empty for trials."""
    if problem.design == "trials":
        return {}
    out: dict[str, Any] = {}
    if problem.info.get("preparation"):
        out["preparation"] = list(problem.info["preparation"])
    for part in _recordings(features)[:1]:
        if list(part.info.get("preparation", [])) != out.get("preparation", []):
            out["feature_preparation"] = list(part.info.get("preparation", [])) or ["none"]
        out.update({key: list(part.info[key]) for key in ("delays", "delays_s") if part.info.get(key)})
    dt = interval_of(problem)
    if dt is not None and dt >= SLOW_SAMPLING_S:
        median, expected = drift_share(
            some_units(problem.values), dt=dt, cutoff_s=_CUTOFF_S, runs=recording_runs(problem.samples)
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
