"""Ridge weights of RDMs whose penalty is chosen on held-out stimuli inside the training stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from brainalign._linalg import eigh_psd, full_precision
from brainalign.comparison._nonnegative import nonnegative_weights
from brainalign.comparison._option_checks import generator_of, is_count
from brainalign.comparison._weighted_grams import NormalEquations
from brainalign.errors import InputError

AUTO_PENALTIES = np.logspace(-5, 5, 21)
_FEWEST_IN_FOLD = 4
_TIE = 1e-10
Equations = Callable[[np.ndarray], NormalEquations]


@dataclass(frozen=True, eq=False)
class RidgeWeights:
    """Weights of RDMs and how they were found.

    `weights` (k,), NaN where none could be fitted; `penalty` chosen, relative to the mean sum of
    squares of the RDMs of the stack over the training pairs; `edge` -1 or 1 where it is the
    smallest or largest of the grid, else 0; `penalties` (n_penalties,); `scores` (n_penalties,), mean
    Pearson correlation over the inner folds of stimuli.
    """

    weights: np.ndarray
    penalty: float
    edge: int
    penalties: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)


def checked_penalties(penalties: Any) -> np.ndarray:
    """Rising positive penalties."""
    found = AUTO_PENALTIES if isinstance(penalties, str) and penalties == "auto" else penalties
    grid = np.unique(np.atleast_1d(np.asarray(found, dtype=np.float64)))
    if grid.size == 0 or not np.isfinite(grid).all() or grid[0] <= 0:
        raise InputError(f"penalties={penalties!r}; expected 'auto' or positive numbers")
    return grid


def ridge_weights(
    equations: Equations,
    active: np.ndarray,
    k: int,
    *,
    penalties: np.ndarray,
    n_folds: int,
    non_negative: bool,
    standardise: bool,
    random_state: int,
) -> RidgeWeights:
    """Fit k weights on the `active` stimuli.

    `equations` gives the normal equations over the pairs of a set of stimuli (a mask (n,)). Stimuli
    of an inner fold take part in no training pair, and its score is over the pairs inside it.
    """
    whole = equations(active)
    blank = np.full(len(penalties), np.nan)
    if whole.weight <= 0 or whole.total <= 0:
        _warn_unfitted("the training RDM is constant, or no pair of stimuli is left")
        return RidgeWeights(np.full(k, np.nan), float("nan"), 0, penalties, blank)
    scores = blank
    chosen = 0
    if len(penalties) > 1:
        usable = min(n_folds, int(active.sum()) // _FEWEST_IN_FOLD)
        if usable < 2:
            _warn_unfitted(
                f"{int(active.sum())} training stimuli cannot be split into 2 inner folds of "
                f"{_FEWEST_IN_FOLD}; give "
                "more stimuli or one penalty"
            )
            return RidgeWeights(np.full(k, np.nan), float("nan"), 0, penalties, blank)
        scores = _inner_scores(equations, active, usable, penalties, non_negative, standardise, random_state)
        best = np.nanmax(scores) if np.isfinite(scores).any() else np.nan
        # of equal scores the strongest penalty
        chosen = int(np.flatnonzero(scores >= best - _TIE)[-1]) if np.isfinite(best) else len(penalties) - 1
    path = _path(whole, penalties[chosen : chosen + 1], non_negative, standardise)
    edge = 0 if len(penalties) == 1 else int(chosen == len(penalties) - 1) - int(chosen == 0)
    return RidgeWeights(path[0].numpy(), float(penalties[chosen]), edge, penalties, scores)


def _inner_scores(
    equations: Equations,
    active: np.ndarray,
    n_folds: int,
    penalties: np.ndarray,
    non_negative: bool,
    standardise: bool,
    random_state: int,
) -> np.ndarray:
    """Mean Pearson correlation (n_penalties,) on stimuli left out; a constant prediction scores 0."""
    generator = generator_of(random_state)
    members = np.flatnonzero(active)
    label = generator.permutation(np.arange(len(members)) % n_folds)
    total = torch.zeros(len(penalties), dtype=torch.float64)
    counted = 0
    for fold in range(n_folds):
        held = np.zeros_like(active)
        held[members[label == fold]] = True
        train, test = equations(active & ~held), equations(held)
        if test.total <= 0 or train.total <= 0:
            continue
        path = _path(train, penalties, non_negative, standardise)
        with full_precision():
            square = ((path @ test.gram) * path).sum(1)
            scale = (square.clamp_min(0.0) * test.total).sqrt()
            found = (path @ test.target) / torch.where(scale > 0, scale, torch.inf)
        total += found.clamp(-1.0, 1.0)
        counted += 1
    return np.asarray((total / counted).numpy()) if counted else np.full(len(penalties), np.nan)


def _path(
    equations: NormalEquations, penalties: np.ndarray, non_negative: bool, standardise: bool
) -> torch.Tensor:
    """Weights (n_penalties, k); RDMs without variance get 0."""
    own = torch.diagonal(equations.gram)
    used = own > 1e-14 * own.max()
    scale = torch.where(used, own.sqrt() if standardise else own[used].mean().sqrt(), torch.inf)
    gram, target = equations.gram / torch.outer(scale, scale), equations.target / scale
    alphas = torch.from_numpy(penalties)[:, None]
    with full_precision():
        if non_negative:
            eye = torch.eye(len(target), dtype=torch.float64)
            systems = gram[None] + alphas[:, :, None] * eye
            found = nonnegative_weights(systems, target.expand(len(penalties), -1))
        else:
            values, vectors = eigh_psd(gram)
            found = ((vectors.T @ target) / (values + alphas)) @ vectors.T
    return found / scale


def _warn_unfitted(reason: str) -> None:
    warnings.warn(f"no weights were fitted (NaN): {reason}", stacklevel=5)


def check_inner(penalties: Any, n_folds: int) -> None:
    """Refuse penalties that are not positive, and fewer than 2 inner folds."""
    checked_penalties(penalties)
    if not is_count(n_folds, 2):
        raise InputError(
            f"n_folds={n_folds!r}; the penalty is chosen on held-out stimuli: expected at least 2"
        )


def active_stimuli(weights: np.ndarray) -> np.ndarray:
    """Stimuli (n,) that take part in a pair of weight above 0."""
    off = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
    return np.asarray((off > 0).any(axis=1))


def pool_rdms(data: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the RDMs at norm one over the training pairs, and the weights (n, n) of these pairs."""
    known = np.isfinite(data).all(axis=0) & ~np.eye(len(inside), dtype=bool)
    pairs = (known & np.outer(inside, inside)).astype(np.float64)
    filled = np.where(known, data, 0.0)
    # a power of two a subject keeps squares in float64 and is gone with the norm
    largest = np.abs(filled).max(axis=(1, 2), keepdims=True, initial=0.0)
    filled = np.ldexp(filled, -np.frexp(largest)[1])
    norms = np.sqrt((pairs * filled**2).sum(axis=(1, 2), keepdims=True))
    pooled: np.ndarray = (filled / np.where(norms > 0, norms, np.inf)).mean(axis=0)
    return pooled, pairs
