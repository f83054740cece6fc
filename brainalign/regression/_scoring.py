"""Scores of one fold, from predictions or from sums, and their mean over folds.

All equal `brainalign.metrics` up to rounding. Observed and predicted responses are given
relative to the same zero (any one per target), so that float32 keeps its digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from brainalign import metrics

SCORINGS = ("r2", "pearson", "neg_mean_squared_error")

ScorePredictions = Callable[[torch.Tensor], torch.Tensor]


def fold_scorer(
    scoring: str, observed: torch.Tensor, *, flat: torch.Tensor | None = None
) -> ScorePredictions:
    """Return the score of one fold as a function of its predictions.

    Parameters
    ----------
    scoring : name of the score, one of `SCORINGS`
    observed : (n_test, t)
    flat : (t,) which targets are constant in this fold; None: judged by `observed`

    Returns
    -------
    callable of predictions (..., n_test, t), which it may overwrite -> (..., t), NaN for
    flat targets (not for the squared error)
    """
    if scoring == "pearson":
        return _correlator(observed, flat)
    scorer = residual_scorer(scoring, observed, flat=flat)
    return lambda predicted: scorer(torch.sub(observed, predicted, out=predicted))


def residual_scorer(
    scoring: str, observed: torch.Tensor, *, flat: torch.Tensor | None = None
) -> ScorePredictions:
    """As `fold_scorer`, of the residuals (..., n_test, t): observed less predicted."""
    if scoring == "pearson":
        correlate = _correlator(observed, flat)
        return lambda residuals: correlate(torch.sub(observed, residuals, out=residuals))
    if scoring == "neg_mean_squared_error":
        return lambda residuals: -_squares(residuals) / len(observed)
    total = _totals(observed - observed.mean(0), observed, flat)
    return lambda residuals: 1 - _squares(residuals) / total


def _correlator(observed: torch.Tensor, flat: torch.Tensor | None) -> ScorePredictions:
    centred = observed - observed.mean(0)
    total = _totals(centred, observed, flat)

    def correlate(predicted: torch.Tensor) -> torch.Tensor:
        predicted.sub_(predicted.mean(-2, keepdim=True))
        covariance = (predicted * centred).sum(-2)
        return correlation(covariance, _squares(predicted), total)

    return correlate


def _totals(centred: torch.Tensor, observed: torch.Tensor, flat: torch.Tensor | None) -> torch.Tensor:
    """Sums of squares about the mean, (t,); NaN for targets that are constant."""
    flat = metrics.is_constant(observed) if flat is None else flat
    total = _squares(centred)
    return torch.where(flat | (total == 0), torch.full_like(total, float("nan")), total)


def _squares(values: torch.Tensor) -> torch.Tensor:
    """Sum of squares of each column."""
    return (values * values).sum(-2)


def correlation(covariance: torch.Tensor, predicted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Pearson correlation from the centred sums; 0 where the prediction does not vary."""
    # roots before the product: sums of squares of responses in tesla leave the range of float32
    norm = predicted.clamp_min(0).sqrt() * observed.sqrt()
    r = torch.where(norm == 0, torch.zeros_like(norm), covariance / norm)
    return torch.where(torch.isnan(norm), norm, r.clamp(-1, 1))


def score_sums(
    scoring: str,
    n: int,
    total: torch.Tensor,
    covariance: torch.Tensor,
    predicted: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    """Score from sums over the test rows, (..., t).

    Parameters
    ----------
    n : number of test rows
    total : (t,) centred sum of squares of the observed; NaN where they are constant (with
        ``"neg_mean_squared_error"`` the plain sum)
    covariance : (..., t) centred sum of products of observed and predicted
    predicted : (..., t) centred sum of squares of the predicted
    shift : (..., t) mean of the observed less mean of the predicted
    """
    if scoring == "pearson":
        return correlation(covariance, predicted, total)
    error = total - 2 * covariance + predicted + n * shift * shift
    return -error / n if scoring == "neg_mean_squared_error" else 1 - error / total


class MeanOverFolds:
    """Mean over the folds in which a target has a score; NaN where it has none."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.total = torch.zeros(shape, dtype=torch.float64, device=device)
        self.count = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, scores: torch.Tensor, where: Any = ...) -> None:
        """Take the scores of one fold; `where` indexes the part they belong to."""
        known = torch.isfinite(scores)
        self.total[where] += torch.where(known, scores, torch.zeros_like(scores))
        self.count[where] += known

    def add_each(self, scores: torch.Tensor, where: Any = ...) -> None:
        """Take the scores of several folds, along the first axis."""
        known = torch.isfinite(scores)
        self.total[where] += torch.where(known, scores, torch.zeros_like(scores)).sum(0, dtype=torch.float64)
        self.count[where] += known.sum(0)

    def mean(self) -> torch.Tensor:
        """Mean over folds, float64."""
        return self.total / self.count
