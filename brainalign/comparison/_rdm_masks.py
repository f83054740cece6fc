"""Which pairs of stimuli two RDMs have in common."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def mask_groups(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows of a, rows of b, pairs that both have) for each combination of patterns of NaN.

    Rows with the same pattern are compared in one product; a pattern of one RDM never
    changes what another one is compared on.
    """
    if not (np.isnan(a).any() or np.isnan(b).any()):
        yield np.arange(len(a)), np.arange(len(b)), np.ones(a.shape[1], dtype=bool)
        return
    first, which_a = np.unique(~np.isnan(a), axis=0, return_inverse=True)
    second, which_b = np.unique(~np.isnan(b), axis=0, return_inverse=True)
    for i, u in enumerate(first):
        for j, v in enumerate(second):
            yield np.flatnonzero(which_a.ravel() == i), np.flatnonzero(which_b.ravel() == j), u & v


def present_stimuli(keep: np.ndarray, n: int) -> np.ndarray:
    """Stimuli that take part in at least one pair that is kept, (n,) bool."""
    rows, columns = np.triu_indices(n, 1)
    out = np.zeros(n, dtype=bool)
    out[rows[keep]] = True
    out[columns[keep]] = True
    return out


def whole_pairs(present: np.ndarray) -> np.ndarray:
    """Pairs of which both stimuli are present, (n (n - 1) / 2,) bool."""
    rows, columns = np.triu_indices(len(present), 1)
    out: np.ndarray = present[rows] & present[columns]
    return out
