"""Scores from sums: what each metric needs of the observed and of the predicted responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ObservedSums:
    """Test responses, along their rows: sum of squares about the mean, mean, and whether they vary.

    Each (n_targets,), or (n_draws, n_targets) where an exchange brings other rows in.
    """

    power: torch.Tensor
    mean: torch.Tensor
    flat: torch.Tensor
    n: int


@dataclass(frozen=True)
class GuessSums:
    """Predictions of each draw, (n_draws, n_targets): product with the centred test responses,
    sum of squares about the mean, mean, whether they vary, and the mean of the training responses.
    """

    cross: torch.Tensor
    power: torch.Tensor
    mean: torch.Tensor
    flat: torch.Tensor
    train_mean: torch.Tensor

    def double(self) -> GuessSums:
        """The same in float64: differences of these sums need it."""
        return GuessSums(
            self.cross.double(), self.power.double(), self.mean.double(), self.flat, self.train_mean.double()
        )


def observed_sums(rows: torch.Tensor, offset: torch.Tensor, eps: float) -> ObservedSums:
    """Sums over the first axis of `rows` (n_test, ..., n_targets).

    `offset` (n_targets,) is what was taken from the responses before, in their scale: rounding
    is relative to the values as they were recorded, as in `metrics.is_constant`.
    """
    mean = rows.mean(0)
    power = (rows - mean).square_().sum(0)
    low, high = rows.amin(0), rows.amax(0)
    top = torch.maximum((low + offset).abs(), (high + offset).abs())
    return ObservedSums(power, mean, high - low <= 10 * eps * top, rows.shape[0])


def is_flat(power: torch.Tensor, mean: torch.Tensor, offset: torch.Tensor, n: int) -> torch.Tensor:
    """Predictions that vary by no more than the rounding of their mean."""
    eps = torch.finfo(torch.float64).eps
    return power <= n * (10 * eps * (mean + offset)) ** 2


def _pearson(y: ObservedSums, p: GuessSums) -> torch.Tensor:
    norm = (y.power * p.power).sqrt()
    none = p.flat | (norm == 0)
    return torch.where(none, 0.0, p.cross / torch.where(norm == 0, 1.0, norm)).clamp(-1.0, 1.0)


def _error(y: ObservedSums, p: GuessSums) -> torch.Tensor:
    return y.power - 2 * p.cross + p.power


def _explained_variance(y: ObservedSums, p: GuessSums) -> torch.Tensor:
    return 1 - _error(y, p) / y.power


def _r2(y: ObservedSums, p: GuessSums) -> torch.Tensor:
    return 1 - (_error(y, p) + y.n * (y.mean - p.mean) ** 2) / y.power


def _r2_train_mean(y: ObservedSums, p: GuessSums) -> torch.Tensor:
    total = y.power + y.n * (y.mean - p.train_mean) ** 2
    return 1 - (_error(y, p) + y.n * (y.mean - p.mean) ** 2) / total


_METRICS: dict[str, Callable[[ObservedSums, GuessSums], torch.Tensor]] = {
    "pearson": _pearson,
    "explained_variance": _explained_variance,
    "r2": _r2,
    "r2_train_mean": _r2_train_mean,
}


def score_from_sums(metric: str, observed: ObservedSums, guess: GuessSums) -> torch.Tensor:
    """The metric of that name for each draw and target, (n_draws, n_targets); NaN where responses
    do not vary. Equal to `metrics.score` on the rows themselves, but for rounding.
    """
    scores = _METRICS[metric](observed, guess)
    return torch.where(observed.flat | (observed.power == 0), float("nan"), scores)
