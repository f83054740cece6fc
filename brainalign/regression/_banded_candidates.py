"""Vectors of band weights to try: draws, what the user gives, and which of them to keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from brainalign.errors import InputError, ShapeError

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
_DRAWS, _DRAWS_PER_CANDIDATE = 2000, 20


def draw_candidates(
    n_bands: int, n_candidates: int, concentration: Sequence[float], random: np.random.RandomState
) -> FloatArray:
    """Return points of the simplex, (n_candidates, n_bands).

    Equal weights first, then each band alone. The others are spread as a Dirichlet mixture is
    over the simplex, in equal parts of all concentrations (a small one gives sparse mixtures, 1 is
    uniform): of many draws the centres of clusters, which leave no gaps as a few draws would.
    Distances are those of the roots of the weights. One band has one mixture.
    """
    fixed = np.vstack([np.full((1, n_bands), 1 / n_bands), np.eye(n_bands)])
    if n_bands == 1:
        return fixed[:1]
    more = n_candidates - len(fixed)
    if more <= 0:
        return fixed[:n_candidates]
    each = max(_DRAWS, _DRAWS_PER_CANDIDATE * more) // len(concentration) + 1
    draws = np.vstack([random.dirichlet(np.full(n_bands, value), each) for value in concentration])
    seed = int(random.randint(2**31 - 1))
    # those near the fixed candidates form clusters of their own, which are left out
    roots = (
        KMeans(n_candidates, n_init=1, max_iter=50, random_state=seed).fit(np.sqrt(draws)).cluster_centers_
    )
    nearest = ((roots[:, None] - np.sqrt(fixed)) ** 2).sum(2).min(1)
    roots = roots[np.argsort(-nearest, kind="stable")[:more]]
    spread: FloatArray = np.vstack([fixed, roots**2 / (roots**2).sum(1, keepdims=True)])
    return spread


def check_candidates(candidates: Any, n_bands: int) -> FloatArray:
    """Return the user's `candidates` scaled to sum to one per row."""
    found = np.array(candidates, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != n_bands or not len(found):
        raise ShapeError(
            f"candidates has shape {found.shape}; expected (n_candidates, {n_bands}), one weight per band"
        )
    wrong = ~np.isfinite(found).all(1) | (found < 0).any(1) | ~(found.sum(1) > 0)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"candidates: row {row} is {found[row].tolist()}; expected finite weights, none negative, "
            "at least one above zero"
        )
    scaled: FloatArray = found / found.sum(1, keepdims=True)
    return scaled


def check_concentration(concentration: Any) -> list[float]:
    """Return the concentrations as positive finite numbers."""
    found = np.atleast_1d(np.asarray(concentration, dtype=np.float64))
    if found.ndim != 1 or not found.size or not np.all(np.isfinite(found) & (found > 0)):
        raise InputError(f"concentration={concentration!r}; expected positive finite numbers")
    return [float(value) for value in found]


def cover(scores: torch.Tensor, *, most: int, tolerance: float) -> list[int]:
    """Return the rows of `scores` (n_candidates, u) whose best per unit is nearly the best of all.

    Greedy: row 0, then always the row that raises the mean of the best score most, until it
    gains less than `tolerance` or `most` rows are chosen. Such a set reaches at least 1 - 1/e of
    the gain of the best set of its size (Nemhauser, Wolsey & Fisher 1978,
    DOI 10.1007/BF01588971).
    """
    chosen, reached = [0], scores[0].clone()
    while len(chosen) < most:
        gain = (scores - reached).clamp_min(0).mean(1)
        best = int(gain.argmax())
        if not gain[best] > tolerance:
            break
        chosen.append(best)
        reached = torch.maximum(reached, scores[best])
    return chosen
