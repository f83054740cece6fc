"""Permutation tests of curves over time, corrected by the largest value or the largest cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from brainalign._linalg import full_precision
from brainalign.statistics.permutation import permutation_p_values

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
_BLOCK = 2**23


def stimulus_null(
    units: torch.Tensor, models: torch.Tensor, n_permutations: int, generator: np.random.Generator
) -> FloatArray:
    """Mean similarities (n_permutations, n_times, n_models) with the stimuli of the models in random order.

    `units` (n_times, n, n) prepared RDMs averaged over subjects, `models` (n_models, n, n). One order
    serves all times, subjects and models of a draw.
    """
    n = units.shape[-1]
    flat = units.flatten(1)
    out = np.empty((n_permutations, len(units), len(models)))
    size = max(1, _BLOCK // (n * n * len(models)))
    by_entry = models.permute(1, 2, 0)
    for start in range(0, n_permutations, size):
        count = min(size, n_permutations - start)
        order = torch.from_numpy(generator.permuted(np.tile(np.arange(n), (count, 1)), axis=1))
        order = order.to(units.device)
        moved = by_entry[order[:, :, None], order[:, None, :]].flatten(1, 2)
        with full_precision():
            found = flat @ moved.permute(1, 0, 2).flatten(1)
        out[start : start + count] = found.view(len(units), count, len(models)).permute(1, 0, 2).cpu().numpy()
    return out


def sign_flip_null(
    scores: FloatArray, n_permutations: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Student's t (n_times, n_models) of scores (n_subjects, n_times, n_models), and with flipped signs."""
    s = len(scores)
    flat = scores.reshape(s, -1)
    signs = generator.integers(0, 2, size=(n_permutations, s)) * 2.0 - 1.0
    square = (flat**2).sum(axis=0)
    observed, null = (_student(m, square, s) for m in (flat.mean(axis=0), signs @ flat / s))
    return observed.reshape(scores.shape[1:]), null.reshape(n_permutations, *scores.shape[1:])


def _student(mean: FloatArray, square: FloatArray, s: int) -> FloatArray:
    spread = np.maximum(square / s - mean**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(spread / (s - 1))
    return np.asarray(np.where(square == 0, 0.0, t))


def max_corrected(observed: FloatArray, null: FloatArray) -> FloatArray:
    """p-values (n_times, n_models) against the largest value of each draw over all times and models."""
    largest = np.where(np.isnan(null), -np.inf, null).reshape(len(null), -1).max(axis=1)
    return permutation_p_values(observed, np.broadcast_to(largest[:, None, None], null.shape))


def cluster_corrected(
    observed: FloatArray, null: FloatArray, threshold: FloatArray, times: np.ndarray, names: tuple[str, ...]
) -> tuple[FloatArray, pd.DataFrame]:
    """p-values by the mass of clusters over time, and the table of the observed clusters.

    A cluster is an unbroken run of times of one model above `threshold` (n_times, n_models); its mass
    is the sum of what is above. Its p-value is against the largest mass of each draw over all models,
    and belongs to the cluster as a whole; times outside of clusters have p = 1.
    """
    largest = np.array([max((m for _, _, _, m in _clusters(draw - threshold)), default=0.0) for draw in null])
    p = np.where(np.isnan(observed), np.nan, 1.0)
    rows = []
    for model, start, stop, mass in _clusters(observed - threshold):
        value = float(permutation_p_values(np.array(mass), largest))
        p[start:stop, model] = value
        rows.append((names[model], times[start], times[stop - 1], stop - start, mass, value))
    table = pd.DataFrame(rows, columns=["model", "start", "stop", "n_times", "mass", "p"])
    return p, table


def _clusters(excess: FloatArray) -> list[tuple[int, int, int, float]]:
    """Model, first time, time after the last, and mass of every run of times above 0, (n_times, n_models)."""
    safe = np.nan_to_num(excess, nan=0.0)
    above = np.pad(safe > 0, ((1, 1), (0, 0)))
    steps = np.diff(above.astype(np.int8), axis=0).T
    models, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    sums = np.concatenate([np.zeros((1, safe.shape[1])), np.cumsum(safe, axis=0)])
    masses = sums[stops, models] - sums[starts, models]
    return list(zip(models.tolist(), starts.tolist(), stops.tolist(), masses.tolist(), strict=True))


def pointwise_threshold(null: FloatArray, alpha: float) -> FloatArray:
    """The value that a share `alpha` of the draws exceeds, at each time and for each model."""
    return np.asarray(np.quantile(null, 1.0 - alpha, axis=0, method="higher"))


def student_threshold(shape: tuple[int, ...], n_subjects: int, alpha: float) -> FloatArray:
    """The t that a share `alpha` exceeds by chance."""
    return np.full(shape, stats.t.isf(alpha, n_subjects - 1))
