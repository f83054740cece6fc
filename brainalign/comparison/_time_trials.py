"""Trials over time: their conditions, runs or pseudo-runs, and the RDM of every time in one product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign.comparison._distance_inputs import to_tensor
from brainalign.comparison._inner_measures import on_host
from brainalign.comparison._option_checks import is_count
from brainalign.comparison._time_noise import Noise, time_noise
from brainalign.comparison.noise import NoisePrecision
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis_of_means, labels_of, run_means, sorted_codes
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

_BLOCK_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class Trials:
    """Single trials of one subject: `values` (n_trials, p, n_times), `codes` and sorted `labels` of the "
    "conditions.
    """

    values: torch.Tensor
    codes: np.ndarray
    labels: np.ndarray
    runs: np.ndarray | None
    times: np.ndarray


def read_trials(
    one: Any, conditions: Any, runs: Any, n_pseudo_runs: int | None, generator: np.random.Generator
) -> Trials:
    """Check the trials of one subject and number their conditions and runs."""
    values, _ = to_tensor("responses", one.array() if isinstance(one, Responses) else one)
    if values.ndim != 3 or 0 in values.shape:
        raise ShapeError(
            f"responses have shape {tuple(values.shape)}; expected (n_trials, n_channels, n_times)"
        )
    if not bool(torch.isfinite(values).all()):
        trial, channel, time = torch.nonzero(~torch.isfinite(values))[0].tolist()
        raise InputError(
            f"responses have values that are not finite, first in trial {trial}, channel {channel}, time "
            f"{time}; leave "
            "out these trials or channels"
        )
    if conditions is None:
        conditions = "stimulus_id" if isinstance(one, Responses) else np.arange(len(values))
    codes, labels = sorted_codes("conditions", labels_of(one, "conditions", conditions), len(values))
    if len(labels) < 3:
        raise ShapeError(f"{len(labels)} conditions; an RDM that is compared needs at least 3")
    numbers = None if runs is None else sorted_codes("runs", labels_of(one, "runs", runs), len(values))[0]
    if n_pseudo_runs is not None:
        if runs is not None:
            raise InputError("runs and n_pseudo_runs are both given; pseudo-runs are for trials without runs")
        numbers = _pseudo_runs(codes, n_pseudo_runs, generator)
    times = one.times if isinstance(one, Responses) and one.times is not None else np.arange(values.shape[2])
    return Trials(values, codes, labels, numbers, np.asarray(times, dtype=np.float64))


def _pseudo_runs(codes: np.ndarray, n_pseudo_runs: int, generator: np.random.Generator) -> np.ndarray:
    """Deal the trials of each condition at random into pseudo-runs."""
    counts = np.bincount(codes)
    if not is_count(n_pseudo_runs, 2) or counts.min() < n_pseudo_runs:
        raise InputError(
            f"n_pseudo_runs={n_pseudo_runs!r} and a condition has {int(counts.min())} trials; expected 2 to "
            "that number"
        )
    order = np.lexsort((generator.random(len(codes)), codes))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    out = np.empty(len(codes), dtype=np.int64)
    out[order] = (np.arange(len(codes)) - first[codes[order]]) % n_pseudo_runs
    return out


def check_same(trials: list[Trials]) -> None:
    """Refuse subjects with other conditions or times than the first."""
    first = trials[0]
    for number, one in enumerate(trials[1:], start=1):
        if not np.array_equal(one.labels, first.labels) or not np.array_equal(one.times, first.times):
            raise ShapeError(
                f"subject {number} has {len(one.labels)} conditions and {len(one.times)} times, the first "
                f"{len(first.labels)} and {len(first.times)}; labels and times must be the same in all"
            )


def rdms_over_time(
    trials: Trials, distance: str, noise: Any, baseline: tuple[float, float] | None, shrinkage: str
) -> np.ndarray:
    """RDMs (n_times, n, n) of one subject."""
    found = time_noise(
        trials.values, trials.codes, trials.times, noise=noise, baseline=baseline, shrinkage=shrinkage
    )
    runs = trials.runs if distance == "crossnobis" else np.zeros(len(trials.codes), dtype=int)
    means, _, _ = run_means(trials.values, trials.codes, runs)
    means = means.movedim(-1, 0)
    size = max(1, _BLOCK_BYTES // (8 * means[0].numel()))
    parts = []
    for start in range(0, len(means), size):
        white = _whitened(means[start : start + size], found, start)
        out = crossnobis_of_means(white) if distance == "crossnobis" else rdm(white[:, 0], distance=distance)
        parts.append(on_host(out))
    return np.concatenate(parts)


def _whitened(means: torch.Tensor, noise: Noise, start: int) -> torch.Tensor:
    """Means (n_times, K, n, p) in the metric of the noise; NaN (absent conditions) stay."""
    if noise is None:
        return means
    if isinstance(noise, NoisePrecision):
        return noise.whiten_tensor(means)
    return torch.stack([noise[start + t].whiten_tensor(one) for t, one in enumerate(means)])
