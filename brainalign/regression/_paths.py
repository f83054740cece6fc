"""The ways to held-out scores and refits that all estimators share.

A path knows the features (or the kernel) and the folds; it is asked for the scores of some
penalties on one fold of one block of targets, and for the refit of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import KernelFolds
from brainalign.regression._mixtures import score_predictions
from brainalign.regression._penalties import COMBINED_ADAPTIVE, LEFT_OUT, Mixture, combine_penalties
from brainalign.regression._scoring import ScorePredictions, fold_scorer
from brainalign.regression._sources import Block

_SOLVED = 64  # columns that are solved together, a multiple of it
_LOW_MARGIN = 1.1  # the estimate of the smallest eigenvalue is from above


class Path(Protocol):
    """What the search over penalties asks of a path."""

    folds: list[Fold]
    n_computed: int
    """Penalties of the last grid that are not combined of others."""
    refits_blocks: bool
    """Whether a block can be refitted without work that other blocks would share."""
    primal: bool
    """Whether `refit` gives weights of features, not of samples."""

    def prepare(self, alphas: Sequence[float], *, adaptive: bool = False) -> None:
        """Make ready for these penalties, exactly or to the tolerance of an adaptive search."""

    def score(self, number: int, block: Block, columns: torch.Tensor | None = None) -> torch.Tensor:
        """Scores of fold `number` at the prepared penalties, (n_alphas, w)."""

    def audit(self, number: int, block: Block, columns: torch.Tensor) -> torch.Tensor:
        """As `score`, to rounding also in an adaptive search."""

    def forget(self) -> None:
        """Let go of what is kept of the last block."""

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        """Weights of the block for one penalty per column (w,): (p, w) primal or (n, w) dual."""


class KernelPath:
    """Dual form by one Cholesky inverse per penalty (P >= n), folds applied as matrices."""

    refits_blocks, primal = False, False

    def __init__(self, kernel: KernelFolds, scoring: str) -> None:
        self.kernel, self.scoring = kernel, scoring
        self.folds = kernel.folds
        self.alphas: list[float] = []
        self.mixture: Mixture | None = None
        self.n_computed = 0
        self.stacks: list[torch.Tensor] = []
        self.factors: dict[float, torch.Tensor] = {}
        self.audited: torch.Tensor | None = None
        self.low: dict[bool, float] = {}

    def combination(self, alphas: Sequence[float], *, adaptive: bool = False) -> Mixture | None:
        """Which of the penalties are combined of others."""
        if len(alphas) < 3:
            return None  # and the smallest eigenvalue need not be known
        if adaptive not in self.low:
            lowest = self.kernel.lowest(LEFT_OUT if adaptive else 0.0)
            self.low[adaptive] = lowest / _LOW_MARGIN * self.kernel.size
        return combine_penalties(
            alphas,
            self.low[adaptive],
            1.25 * self.kernel.largest * self.kernel.size,
            self.kernel.root.device,
            dtype=self.kernel.dtype,
            tolerance=COMBINED_ADAPTIVE if adaptive else None,
        )

    def prepare(self, alphas: Sequence[float], *, adaptive: bool = False) -> None:
        self.alphas, self.factors, self.audited = list(alphas), {}, None
        self.mixture, nodes = self.combination(self.alphas, adaptive=adaptive), self.alphas
        if self.mixture is not None:
            nodes = [self.alphas[node] for node in self.mixture.nodes]
            self.mixture = self.mixture.scaled([self._unit(alpha) for alpha in self.alphas])
        self.n_computed = len(nodes)
        self.stacks = [
            torch.empty(len(nodes), len(f.test), len(f.train), dtype=self.kernel.dtype, device=f.train.device)
            for f in self.folds
        ]
        for a, alpha in enumerate(nodes):
            for stack, operator in zip(self.stacks, self.kernel.centred_operators(alpha), strict=True):
                stack[a] = operator * self._unit(alpha)

    def _unit(self, alpha: float) -> float:
        """What predictions are multiplied with: a correlation does not see their size, float32 does."""
        return self.kernel.largest + alpha / self.kernel.size if self.scoring == "pearson" else 1.0

    def score(self, number: int, block: Block, columns: torch.Tensor | None = None) -> torch.Tensor:
        return self._score(number, block, self.stacks[number], self.mixture, columns)

    def audit(self, number: int, block: Block, columns: torch.Tensor) -> torch.Tensor:
        mixture = self.mixture
        scores = self.score(number, block, columns)
        if mixture is None:
            return scores
        if self.audited is None:
            alphas = [self.alphas[a] for a in mixture.combined]
            operators = (self.kernel.factored_operator(a, self.folds[number]) * self._unit(a) for a in alphas)
            self.audited = torch.stack([operator.to(self.kernel.dtype) for operator in operators])
        scores[mixture.combined] = self._score(number, block, self.audited, None, columns)
        return scores

    def _score(
        self,
        number: int,
        block: Block,
        stack: torch.Tensor,
        mixture: Mixture | None,
        columns: torch.Tensor | None,
    ) -> torch.Tensor:
        fold = self.folds[number]
        values = block.values if columns is None else block.values[:, columns]
        flat = block.flat(fold.test)
        flat = flat if columns is None else flat[columns]
        observed, training = values[fold.test], values[fold.train]
        level = self.kernel.share(fold).to(values.dtype) @ training

        def scorer_of(part: slice) -> ScorePredictions:
            scorer = fold_scorer(self.scoring, observed[:, part], flat=flat[part])
            if self.scoring == "pearson":
                return scorer
            return lambda predicted: scorer(predicted.add_(level[part]))

        return score_predictions(mixture, stack, training, scorer_of)

    def forget(self) -> None:
        """Nothing is kept of a block."""

    def prepare_refit(self, alphas: Sequence[float]) -> None:
        """Factor the system of these penalties; `refit` then serves the targets that chose one of them."""
        self.stacks, self.audited = [], None
        self.factors = {alpha: self.kernel.factor(alpha) for alpha in alphas}

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(block.values)
        for alpha, factor in self.factors.items():
            columns = torch.nonzero(alphas == alpha).flatten()
            if len(columns):
                # filled up, so that a column does not depend on how many others chose its penalty
                chosen = torch.nn.functional.pad(block.values[:, columns], (0, -len(columns) % _SOLVED))
                out[:, columns] = self.kernel.solve(factor, chosen)[:, : len(columns)]
        return out
