"""Volumes, sphere lists and runs that the tests of the searchlight share."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from brainalign.comparison.rdms import rdm

N, K, RADIUS = 7, 4, 6.5


def volume(*counts: int) -> np.ndarray:
    """Positions [mm] of a small volume."""
    axes = [np.arange(n) * s for n, s in zip(counts or (6, 5, 4), (3.0, 3.0, 3.5), strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def sphere_lists(points: np.ndarray, radius: float = RADIUS) -> list[np.ndarray]:
    """The voxels of each sphere, by all distances."""
    return [np.flatnonzero(d <= radius + 1e-9) for d in cdist(points, points)]


def model_rdms(n_models: int = 3, n: int = N, seed: int = 9) -> np.ndarray:
    """Correlation RDMs of random patterns."""
    rng = np.random.default_rng(seed)
    return np.stack([rdm(rng.normal(size=(n, 5))) for _ in range(n_models)])


def runs_of(p: int, seed: int = 1, n_runs: int = K) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples (n_runs * N, p), and their labels."""
    rng = np.random.default_rng(seed)
    labels = {"conditions": np.tile(np.arange(N), n_runs), "runs": np.repeat(np.arange(n_runs), N)}
    return rng.normal(size=(n_runs * N, p)), labels
