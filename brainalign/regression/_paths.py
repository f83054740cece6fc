"""The ways to held-out scores and refits that all estimators share.

A path knows the features (or the kernel) and the folds; it is asked for the scores of some
penalties on one fold of one block of targets, and for the refit of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from brainalign._linalg import eigh_psd
from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import KernelFolds, cholesky_solve
from brainalign.regression._mixtures import Scorer, score_from_products, score_predictions
from brainalign.regression._penalties import Mixture
from brainalign.regression._scoring import fold_scorer
from brainalign.regression._sources import Block

_SOLVED = 64  # columns that are solved together, a multiple of it


class Path(Protocol):
    """What the search over penalties asks of a path."""

    folds: list[Fold]
    refits_blocks: bool
    """Whether a block can be refitted without work that other blocks would share."""

    def prepare(self, alphas: Sequence[float], mixture: Mixture | None) -> None:
        """Make ready for these penalties; with a mixture they are its nodes."""

    def score(
        self, number: int, block: Block, which: Sequence[int], columns: torch.Tensor | None
    ) -> torch.Tensor:
        """Scores of fold `number` at the prepared penalties `which`, (len(which), w)."""

    def forget(self) -> None:
        """Let go of what is kept of the last block."""

    def audit(
        self, number: int, block: Block, alphas: Sequence[float], columns: torch.Tensor
    ) -> torch.Tensor:
        """Scores of one fold at all `alphas`, nothing combined, (n_alphas, len(columns))."""

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        """Weights of the block for one penalty per column (w,): (p, w) primal or (n, w) dual."""


class KernelPath:
    """Dual form by one Cholesky inverse per penalty (P >= n), folds applied as matrices."""

    refits_blocks = False

    def __init__(self, kernel: KernelFolds, scoring: str) -> None:
        self.kernel, self.scoring = kernel, scoring
        self.folds = kernel.folds
        self.mixture: Mixture | None = None
        self.stacks: list[torch.Tensor] = []
        self.factors: dict[float, torch.Tensor] = {}
        self.audited: torch.Tensor | None = None

    def prepare(self, alphas: Sequence[float], mixture: Mixture | None = None) -> None:
        self.mixture, self.factors, self.audited = mixture, {}, None
        if mixture is not None:
            self.mixture = mixture.scaled([self._unit(alpha) for alpha in mixture.alphas])
        self.stacks = [
            torch.empty(
                len(alphas), len(f.test), len(f.train), dtype=self.kernel.dtype, device=f.train.device
            )
            for f in self.folds
        ]
        for a, alpha in enumerate(alphas):
            for stack, operator in zip(self.stacks, self.kernel.centred_operators(alpha), strict=True):
                stack[a] = operator * self._unit(alpha)

    def _unit(self, alpha: float) -> float:
        """What predictions are multiplied with: a correlation does not see their size, float32 does."""
        return self.kernel.largest + alpha / self.kernel.size if self.scoring == "pearson" else 1.0

    def score(
        self, number: int, block: Block, which: Sequence[int], columns: torch.Tensor | None = None
    ) -> torch.Tensor:
        stack = self.stacks[number]
        if len(which) != len(stack):
            stack = stack[list(which)]
        return self._score(number, block, stack, self.mixture, columns)

    def audit(
        self, number: int, block: Block, alphas: Sequence[float], columns: torch.Tensor
    ) -> torch.Tensor:
        """Scores of one fold at all `alphas`, nothing combined, (n_alphas, len(columns))."""
        if self.audited is None:
            operators = (self.kernel.factored_operator(a, self.folds[number]) * self._unit(a) for a in alphas)
            self.audited = torch.stack([operator.to(self.kernel.dtype) for operator in operators])
        return self._score(number, block, self.audited, None, columns)

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
        if mixture is not None and mixture.loose:
            return score_from_products(
                mixture, stack, training, observed - level, scoring=self.scoring, flat=flat
            )

        def scorer_of(part: slice) -> Scorer:
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


class EigenPath:
    """Dual form by one eigendecomposition of the kernel; residuals of the rows left out.

    Cheapest for leave-one-out, for many small folds and for few targets.
    """

    refits_blocks = True

    def __init__(self, kernel: KernelFolds, scoring: str) -> None:
        self.kernel, self.scoring = kernel, scoring
        self.folds = kernel.folds
        matrix = kernel.kernel
        if kernel.axis is not None:
            # far above all others, the intercept direction is the last eigenvector
            matrix = matrix.addr(kernel.axis, kernel.axis, alpha=2 * kernel.largest + 1)
        values, vectors = eigh_psd(matrix)
        if kernel.axis is not None:
            values, vectors = values[:-1], vectors[:, :-1]
        self.eigenvalues, self.vectors = values, vectors
        self.shifts: list[float] = []
        self.opened: tuple[Block, torch.Tensor] | None = None
        self.single = all(len(f.absent) == 1 for f in self.folds)

    def prepare(self, alphas: Sequence[float], mixture: Mixture | None = None) -> None:
        self.shifts = [alpha / self.kernel.size for alpha in alphas]

    def forget(self) -> None:
        self.opened = None

    def _project(self, block: Block) -> torch.Tensor:
        """The targets in the basis of the eigenvectors, (m, w); once per block."""
        if self.opened is None or self.opened[0] is not block:
            # a prediction is the response less its error: small ones keep digits in float64 only
            values = block.values if self.single else block.values.to(torch.float64)
            root = self.kernel.root.to(values.dtype)[:, None]
            self.opened = (block, self.vectors.T.to(values.dtype) @ (values * root))
        return self.opened[1]

    def score(
        self, number: int, block: Block, which: Sequence[int], columns: torch.Tensor | None = None
    ) -> torch.Tensor:
        fold = self.folds[number]
        values, projected, flat = block.values, self._project(block), block.flat(fold.test)
        if columns is not None:
            values, projected, flat = values[:, columns], projected[:, columns], flat[columns]
        observed = values[fold.test].to(torch.float64)
        projected = projected.to(torch.float64)
        scorer = fold_scorer(self.scoring, observed, flat=flat)
        left = self.vectors[fold.absent]
        root = self.kernel.root[fold.absent, None]
        out = []
        for a in which:
            if self.scoring == "pearson" and self.shifts[a] > 1e6 * self.kernel.largest:
                operator = self.kernel.factored_operator(self.shifts[a] * self.kernel.size, fold)
                predicted = (operator * self.shifts[a]) @ values[fold.train].to(torch.float64)
            else:
                shrunk = left / (self.eigenvalues + self.shifts[a])
                errors = cholesky_solve(shrunk @ left.T, shrunk @ projected)
                predicted = observed - (errors / root)[fold.where]
            out.append(scorer(predicted))
        return torch.stack(out)

    def audit(
        self, number: int, block: Block, alphas: Sequence[float], columns: torch.Tensor
    ) -> torch.Tensor:
        """Scores of one fold at all `alphas`: this path combines none."""
        return self.score(number, block, range(len(alphas)), columns)

    def score_all(self, block: Block, which: Sequence[int]) -> torch.Tensor:
        """Mean over folds of one row each, (len(which), w): leave-one-out by its closed form."""
        rows = torch.cat([f.test for f in self.folds])
        projected = self._project(block)
        left = self.vectors[rows]
        root = self.kernel.root[rows, None]
        out = []
        for a in which:
            shrink = 1 / (self.eigenvalues + self.shifts[a])
            errors = (left * shrink).to(projected.dtype) @ projected
            errors = errors / ((left * left) @ shrink[:, None] * root).to(projected.dtype)
            out.append(-(errors * errors).mean(0))
        return torch.stack(out)

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        shift = (alphas / self.kernel.size).to(torch.float64)
        projected = self._project(block)
        shrunk = projected / (self.eigenvalues[:, None] + shift).to(projected.dtype)
        out = self.vectors.to(shrunk.dtype) @ shrunk
        out = out * (self.kernel.root / self.kernel.size).to(out.dtype)[:, None]
        return out.to(block.values.dtype)
