"""Held-out scores for every penalty, exactly as if each fold had been refitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from brainalign import metrics
from brainalign.regression._system import CentredSystem, Decomposition, centre, decompose

Fold = tuple[torch.Tensor, torch.Tensor]
ScoreErrors = Callable[[torch.Tensor], torch.Tensor]


def fold_scorer(scoring: str, observed: torch.Tensor) -> ScoreErrors:
    """Return the score of one fold as a function of the errors ``observed - predicted``.

    What depends on the observed rows alone is computed once for all penalties. The scores
    are those of `brainalign.metrics`.
    """
    if scoring == "neg_mean_squared_error":
        return lambda error: -_squares(error) / len(observed)
    centred = observed - observed.mean(0)
    total = _squares(centred)
    nothing = torch.full_like(total, float("nan"))
    flat = metrics.is_constant(observed) | (total == 0)
    if scoring == "r2":
        return lambda error: torch.where(flat, nothing, 1 - _squares(error) / total)
    return lambda error: torch.where(flat, nothing, metrics.pearson(observed, observed - error))


def _squares(values: torch.Tensor) -> torch.Tensor:
    """Sum of squares of each column."""
    return (values * values).sum(0)


def score_penalties(
    X: torch.Tensor,
    Y: torch.Tensor,
    weights: torch.Tensor,
    folds: Sequence[Fold],
    alphas: torch.Tensor,
    scoring: str,
    *,
    whole: Decomposition,
) -> torch.Tensor:
    """Mean score over folds, (n_alphas, n_targets).

    Parameters
    ----------
    X, Y, weights : (n, p), (n, t), (n,)
    folds : pairs of training and test rows; rows in neither are left out (purged)
    scoring : name of the score, see `fold_scorer`
    whole : decomposition of all rows, which the dual form reuses for every fold

    Notes
    -----
    Dual (more features than samples): the residuals of the rows F that a fold leaves out
    are ``(M_FF)^-1 (M Y)_F`` with M = (K + alpha I)^-1 projected off the intercept, which
    includes the fold's own centring (Liland, Skogholt, Indahl 2022, arXiv:2211.15128). One
    eigendecomposition serves all folds and penalties. Cost per penalty 2 n^2 t plus, per
    fold, |F|^2 (n + |F|/3 + t). Primal: one p x p eigendecomposition per fold.
    """
    total = torch.zeros(len(alphas), Y.shape[1], dtype=Y.dtype, device=Y.device)
    scored = torch.zeros_like(total)
    scorers = [fold_scorer(scoring, Y[test]) for _, test in folds]
    errors = _dual if whole.dual else _primal
    for alpha, fold, error in errors(X, Y, weights, folds, alphas, whole):
        found = scorers[fold](error)
        known = torch.isfinite(found)
        total[alpha] += torch.where(known, found, 0)
        scored[alpha] += known
    return total / scored  # 0 / 0: a target that is constant in every fold has no score


def _dual(
    X: torch.Tensor,
    Y: torch.Tensor,
    weights: torch.Tensor,
    folds: Sequence[Fold],
    alphas: torch.Tensor,
    whole: Decomposition,
) -> Iterator[tuple[int, int, torch.Tensor]]:
    V = whole.vectors
    n = Y.shape[0]
    left_out = []
    for train, test in folds:
        absent = torch.ones(n, dtype=torch.bool, device=Y.device)
        absent[train] = False
        rows = torch.nonzero(absent).flatten()
        where = torch.searchsorted(rows, test)
        left_out.append((rows, where, test))
    for a, alpha in enumerate(alphas):
        shrink = 1 / (whole.eigenvalues + alpha)
        MY = V @ (shrink[:, None] * whole.projected)
        for f, (rows, where, test) in enumerate(left_out):
            VF = V[rows]
            block = (VF * shrink) @ VF.T
            error = torch.linalg.solve(block, MY[rows])[where]
            yield a, f, error / whole.system.root[test][:, None]


def _primal(
    X: torch.Tensor,
    Y: torch.Tensor,
    weights: torch.Tensor,
    folds: Sequence[Fold],
    alphas: torch.Tensor,
    whole: Decomposition,
) -> Iterator[tuple[int, int, torch.Tensor]]:
    for f, (train, test) in enumerate(folds):
        system: CentredSystem = centre(X[train], Y[train], weights[train], intercept=whole.system.intercept)
        fitted = decompose(system, dual=False)
        basis, observed = fitted.basis(X[test]), Y[test] - system.y_mean
        for a, alpha in enumerate(alphas):
            shrunk = fitted.projected / (fitted.eigenvalues + alpha)[:, None]
            yield a, f, observed - basis @ shrunk
