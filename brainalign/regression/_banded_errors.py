"""Scores of held-out errors, and how they change with the predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from brainalign import metrics
from brainalign.regression._folds import Fold
from brainalign.regression._scoring import correlation


class HeldOutScores:
    """Scores of the test rows of every fold, from the errors ``observed - predicted``.

    What depends on the observed rows alone (their centred sums of squares, which targets are
    constant in a fold) is computed once for all band weights and penalties.

    Parameters
    ----------
    scoring : one of the names in `SCORINGS`
    Y : (n, t) responses less any one value per target
    folds : k folds
    flat : (k, t) boolean, which targets are constant in the test rows of a fold
    """

    def __init__(self, scoring: str, Y: torch.Tensor, folds: Sequence[Fold], flat: torch.Tensor) -> None:
        self.scoring = scoring
        self.folds = folds
        self.Y = Y
        self.total = torch.stack([_centred_squares(Y[fold.test]) for fold in folds])
        self.known = (
            torch.ones_like(flat) if scoring == "neg_mean_squared_error" else ~flat & (self.total > 0)
        )
        self.total = torch.where(self.known, self.total, torch.full_like(self.total, float("nan")))
        self.count = self.known.sum(0)

    def score(self, fold: int, error: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Score of one fold, (t,); NaN where the target is constant in it."""
        if self.scoring == "neg_mean_squared_error":
            return -_squares(error) / len(error)
        total = self.total[fold, columns]
        if self.scoring == "r2":
            return 1 - _squares(error) / total
        observed, predicted = self._centred_pair(fold, error, columns)
        return correlation((observed * predicted).sum(0), _squares(predicted), total)

    def slope(self, fold: int, error: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Derivative of the mean over folds by the predictions of one fold, (n_test, t).

        Zero for targets without a score in this fold.
        """
        known = self.known[fold, columns]
        if self.scoring == "neg_mean_squared_error":
            found = error * (2 / len(error))
        elif self.scoring == "r2":
            found = error * (2 / self.total[fold, columns])
        else:
            found = self._slope_of_correlation(fold, error, columns)
        found = torch.where(known, found, torch.zeros_like(found))
        return found / self.count[columns].clamp_min(1)

    def mean(self, scores: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Mean (t,) in float64 of the scores (k, t) over the folds that have one; NaN where none has."""
        known = self.known[:, columns]
        # an error that overflowed is the worst score, not a missing one
        scores = torch.nan_to_num(scores.double(), nan=-torch.inf, posinf=-torch.inf)
        return torch.where(known, scores, torch.zeros_like(scores)).sum(0) / self.count[columns]

    def _centred_pair(
        self, fold: int, error: torch.Tensor, columns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        observed = self.Y[self.folds[fold].test][:, columns]
        predicted = observed - error
        return observed - observed.mean(0), predicted - predicted.mean(0)

    def _slope_of_correlation(self, fold: int, error: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        observed, predicted = self._centred_pair(fold, error, columns)
        sizes = _squares(observed).sqrt(), _squares(predicted).sqrt()
        safe = torch.where(sizes[0] * sizes[1] > 0, sizes[0] * sizes[1], torch.ones_like(sizes[0]))
        r = (observed * predicted).sum(0) / safe
        slope = observed / safe - predicted * (r / torch.where(sizes[1] > 0, sizes[1], 1) ** 2)
        return torch.where(sizes[1] > 0, slope, torch.zeros_like(slope))


def flat_in_folds(Y: torch.Tensor, folds: Sequence[Fold]) -> torch.Tensor:
    """Which targets are constant in the test rows of each fold, (k, t); `Y` as it was measured."""
    flat: torch.Tensor = torch.stack([metrics.is_constant(Y[fold.test]) for fold in folds])
    return flat


def _squares(values: torch.Tensor) -> torch.Tensor:
    return (values * values).sum(0)


def _centred_squares(values: torch.Tensor) -> torch.Tensor:
    return _squares(values - values.mean(0))
