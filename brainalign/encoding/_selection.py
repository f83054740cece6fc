"""Which feature space predicts which units: chosen on inner folds, per region or per unit."""

from __future__ import annotations

import numpy as np


def region_of_targets(index: dict[str, np.ndarray], n_units: int, n_times: int) -> dict[str, np.ndarray]:
    """The same regions over flattened targets (n_units * n_times)."""
    grid = np.arange(n_units * n_times).reshape(n_units, n_times)
    return {name: grid[rows].ravel() for name, rows in index.items()}


def winners(inner: np.ndarray, index: dict[str, np.ndarray] | None) -> np.ndarray:
    """Feature space of each target, (n_targets,) positions.

    `inner` (n_spaces, n_targets) scores on inner folds; `index` the regions, or None for
    one choice per target. A target or region without any score takes the first space.
    """
    scores = np.where(np.isnan(inner), -np.inf, inner)
    if index is None:
        return np.asarray(scores.argmax(axis=0))
    out = np.zeros(inner.shape[1], dtype=np.intp)
    for columns in index.values():
        known = np.isfinite(inner[:, columns]).all(axis=0)
        if known.any():
            out[columns] = inner[:, columns[known]].mean(axis=1).argmax()
    return out
