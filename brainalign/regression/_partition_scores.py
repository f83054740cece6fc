"""Scores of the models of every subset of spaces, averaged over outer folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign import metrics
from brainalign.regression._folds import Fold
from brainalign.regression._partition_gram import GramFold
from brainalign.regression._partition_kernel import KernelFold
from brainalign.regression._penalties import best_penalty, penalty_grid
from brainalign.regression._scoring import MeanOverFolds
from brainalign.regression._sources import NO_SCORE, Block
from brainalign.statistics import product_measure, split_correlation, subset_masks

SubsetModels = GramFold | KernelFold


class ScoredBlock:
    """Scores of one block of targets, averaged over outer folds."""

    def __init__(self, block: Block, n_spaces: int, alphas: Any, scoring: str) -> None:
        self.block, self.alphas, self.scoring = block, alphas, scoring
        self.members = [np.flatnonzero(mask).tolist() for mask in subset_masks(n_spaces)[1:]]
        width, device = block.values.shape[1], block.values.device
        self.r2 = MeanOverFolds((len(self.members), width), device)
        self.product = MeanOverFolds((n_spaces, width), device)
        self.split = MeanOverFolds((n_spaces, width), device)
        self.edges = torch.zeros(len(self.members), 2, dtype=torch.int64, device=device)
        self.n_fits = 0

    def add(self, models: SubsetModels, fold: Fold) -> None:
        """Fit every subset on the training rows of one fold, score it on its test rows."""
        observed = self.block.values[fold.test]
        reference = models.train_mean.to(observed) if self.scoring == "r2_train_mean" else observed.mean(0)
        offset = models.offset.to(observed)
        out = self.block.flat(fold.test) | self.block.flat(fold.train) | (self.block.codes > 0)
        for number, members in enumerate(self.members):
            alphas, unscored = self._penalties(models, members, number, out)
            if number < len(self.members) - 1:
                predicted = models.predictions(members, alphas) + offset
            else:
                parts = models.contributions(members, alphas)
                predicted = parts.sum(0) + offset
                split = product_measure(observed, parts, offset=offset, reference=reference)
                self.product.add(_masked(split, unscored))
                self.split.add(_masked(split_correlation(observed, parts), unscored))
            found = metrics.r2_train_mean(observed, predicted, reference)
            self.r2.add(_masked(found, unscored), number)

    def _penalties(
        self, models: SubsetModels, members: list[int], number: int, out: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Penalty of each target with the best mean inner score, and the targets without a score."""
        grid = penalty_grid(self.alphas, sum(models.sizes[j] for j in members))
        best = best_penalty(models.scores(members, grid.tolist()), grid, per_target=True)
        out = out | (best < 0)
        alphas = torch.as_tensor(grid, device=best.device)[best]
        if len(grid) > 1:
            self.edges[number, 0] += ((alphas == grid.min()) & ~out).sum()
            self.edges[number, 1] += ((alphas == grid.max()) & ~out).sum()
        self.n_fits += int((~out).sum()) if number == 0 else 0
        return alphas, out

    def columns(self) -> dict[str, torch.Tensor]:
        """What is known of the targets of this block, without the columns that fill it up."""
        width = self.block.width
        r2 = self.r2.mean()[:, :width]
        codes = self.block.codes[:width].clone()
        codes[torch.isnan(r2[-1]) & (codes == 0)] = NO_SCORE
        return {
            "r2": r2,
            "product_measure": self.product.mean()[:, :width],
            "split_correlation": self.split.mean()[:, :width],
            "nan_codes": codes,
            "edges": self.edges,
            "n_fits": torch.tensor(self.n_fits, device=r2.device),
        }


def _masked(scores: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return torch.where(where, torch.full_like(scores, torch.nan), scores)
