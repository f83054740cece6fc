"""Primal form: every fold from sums of products of the columns, less those of its absent rows.

With G the centred Gram matrix of the training rows of a fold, G = V diag(l) V' and
C = X'Y of these rows, the weights are ``V diag(1 / (l + alpha)) V'C`` for all penalties.
Where a fold has more test rows than there are features, its predictions are never formed:
their sum, their products with the responses and their squares follow from C, V and the
Gram matrix of the test rows (the cost does not grow with the number of rows; Buteneers et
al. 2013, DOI 10.1007/s10994-013-5359-z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from brainalign._linalg import eigh_psd
from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import cholesky
from brainalign.regression._scoring import ScorePredictions, fold_scorer, score_sums
from brainalign.regression._segments import (
    SEGMENTED_ADAPTIVE,
    Segments,
    score_segments,
    segment_spectrum,
    unsegmented,
)
from brainalign.regression._sources import Block, Features


@dataclass(frozen=True)
class FoldBasis:
    """What one fold knows of the features.

    `eigenvalues` (p,) and `vectors` (p, p) of its training Gram matrix; `train_mean` and
    `test_mean` (p,) relative to the mean of all rows; `weight` the sum of the weights of
    the training rows; `test` (r, p): the centred test rows in the eigenbasis, or a square
    root of their Gram matrix where that has fewer rows.
    """

    eigenvalues: torch.Tensor
    vectors: torch.Tensor
    train_mean: torch.Tensor
    test_mean: torch.Tensor
    weight: float
    test: torch.Tensor
    reduced: bool


@dataclass(frozen=True)
class Observed:
    """Test responses of one fold and block: `mean` and centred sum of squares `total` (w,).

    `cross` (p, w): centred sums of products with the features, in the eigenbasis, where
    the fold is scored from sums; `values` (n, w) where it is scored from predictions.
    """

    n: int
    mean: torch.Tensor
    total: torch.Tensor
    flat: torch.Tensor
    cross: torch.Tensor | None
    values: torch.Tensor | None

    def some(self, columns: torch.Tensor) -> Observed:
        cross = None if self.cross is None else self.cross[:, columns]
        values = None if self.values is None else self.values[:, columns]
        return Observed(self.n, self.mean[columns], self.total[columns], self.flat[columns], cross, values)


@dataclass(frozen=True)
class Opened:
    """One fold and block: sums X'Y of the training rows in the eigenbasis, mean response, test rows."""

    projected: torch.Tensor
    mean: torch.Tensor
    observed: Observed

    def some(self, columns: torch.Tensor) -> Opened:
        return Opened(self.projected[:, columns], self.mean[columns], self.observed.some(columns))


class GramPath:
    """Primal form (p < n)."""

    refits_blocks, primal = True, True

    def __init__(self, features: Features, folds: Sequence[Fold], scoring: str, *, intercept: bool) -> None:
        self.features, self.scoring, self.intercept = features, scoring, intercept
        self.folds = [fold.to(features.device) for fold in folds]
        self.weights = features.root.square()
        self.plain = bool((features.root == 1).all())
        self.total = features.gram()
        self.partition = _is_partition(self.folds, len(self.weights))
        self.bases = [self._basis(fold) for fold in self.folds]
        self.eigenvalues, self.vectors = self._eigh(self.total)
        self.alphas: list[float] = []
        self.n_computed = 0
        self.segments: dict[int, Segments] = {}
        self.opened: tuple[object, list[torch.Tensor], torch.Tensor] | None = None
        self.ready: dict[int, Opened] = {}

    @staticmethod
    def _eigh(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Eigenvalues and eigenvectors; directions in which no row varies get an infinite eigenvalue.

        Their true weights are 0, and rounding in the sums X'Y would be divided by the penalty alone.
        """
        values, vectors = eigh_psd(gram)
        rounding = len(values) * torch.finfo(values.dtype).eps * values.max().clamp_min(1e-300)
        return torch.where(values <= rounding, torch.inf, values), vectors

    def _train_rows(self, fold: Fold) -> tuple[torch.Tensor, float]:
        """The rows whose sums are taken: the absent ones (to subtract) or the training rows."""
        if 2 * len(fold.absent) > len(self.weights):
            return fold.train, 1.0
        return fold.absent, -1.0

    def _basis(self, fold: Fold) -> FoldBasis:
        rows, sign = self._train_rows(fold)
        gram, total = self.features.gram(rows), float(self.weights[fold.train].sum())
        mean = torch.zeros(len(gram), dtype=torch.float64, device=gram.device)
        gram = gram if sign > 0 else self.total - gram
        test = self.features.take(fold.test).to(torch.float64)
        if self.intercept:
            mean = sign * (self.weights[rows] @ self.features.take(rows).to(torch.float64)) / total
            gram = gram - total * torch.outer(mean, mean)
        eigenvalues, vectors = self._eigh(gram)
        test_mean = test.mean(0)
        centred = test - test_mean
        reduced = len(fold.test) > gram.shape[0]
        if reduced:
            # a square root of their Gram matrix has fewer rows and the same products
            centred = cholesky(centred.T @ centred).T
        dtype = self.features.dtype
        return FoldBasis(
            eigenvalues,
            vectors.to(dtype),
            mean.to(dtype),
            test_mean.to(dtype),
            total,
            (centred @ vectors).to(dtype),
            reduced,
        )

    def prepare(self, alphas: Sequence[float], *, adaptive: bool = False) -> None:
        self.alphas, self.n_computed = list(alphas), len(alphas)
        tolerance = None
        if adaptive:
            # with few features for the rows a penalty changes little, and scores differ by little
            few = len(self.eigenvalues) / max(basis.weight for basis in self.bases)
            tolerance = SEGMENTED_ADAPTIVE * min(1.0, 2 * few) ** 2
        self.segments = {}
        for number, basis in enumerate(self.bases):
            curves = self._curves(basis, self.alphas)
            self.segments[number] = segment_spectrum(
                curves, basis.vectors.dtype, tolerance, like=self.segments.get(0)
            )

    def _unit(self, alpha: float) -> float:
        """What predictions are multiplied with: a correlation does not see their size, float32 does."""
        return float(self.total.trace()) + alpha if self.scoring == "pearson" else 1.0

    def audit(self, number: int, block: Block, columns: torch.Tensor) -> torch.Tensor:
        kept, basis = self.segments, self.bases[number]
        self.segments = {number: unsegmented(self._curves(basis, self.alphas), basis.vectors.dtype)}
        scores = self.score(number, block, columns)
        self.segments = kept
        return scores

    def _sums(self, block: Block) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Weighted sums X'Y of the absent rows of each fold, and of all rows, (p, w)."""
        if self.opened is not None and self.opened[0] is block:
            return self.opened[1], self.opened[2]
        parts = [self._cross(block, self._train_rows(fold)[0]) for fold in self.folds]
        whole = self._cross(block, None) if not self.partition else parts[0].clone()
        for part in parts[1:] if self.partition else []:
            whole += part
        self.opened, self.ready = (block, parts, whole), {}
        return parts, whole

    def forget(self) -> None:
        self.opened, self.ready = None, {}

    def _cross(self, block: Block, rows: torch.Tensor | None, *, weighted: bool = True) -> torch.Tensor:
        weights = self.weights.to(block.values.dtype)
        weights = weights if weighted else torch.ones_like(weights)
        if rows is not None and self.features.block_rows >= len(self.weights):
            return self.features.take(rows).T @ (block.values[rows] * weights[rows, None])
        out = torch.zeros(
            self.features.shape[1], block.values.shape[1], dtype=block.values.dtype, device=weights.device
        )
        chosen = torch.arange(len(self.weights), device=weights.device) if rows is None else rows
        for start in range(0, len(chosen), self.features.block_rows):
            some = chosen[start : start + self.features.block_rows]
            out.addmm_(self.features.take(some).T, block.values[some] * weights[some, None])
        return out

    def _training(self, number: int, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """Centred sums X'Y of the training rows, (p, w), and the mean response, (w,)."""
        fold, basis = self.folds[number], self.bases[number]
        rows, sign = self._train_rows(fold)
        parts, whole = self._sums(block)
        cross = parts[number] if sign > 0 else whole - parts[number]
        mean = torch.zeros_like(block.values[0])
        if self.intercept:
            weights = self.weights.to(mean.dtype)
            mean = sign * (weights[rows] @ block.values[rows]) / basis.weight
            cross = cross - basis.weight * torch.outer(basis.train_mean, mean)
        return cross, mean

    def _observed(self, number: int, block: Block) -> Observed:
        """The responses of the test rows of one fold."""
        fold, basis = self.folds[number], self.bases[number]
        values = block.values[fold.test]
        n, mean = len(fold.test), values.mean(0)
        cross = None
        if basis.reduced:
            same = self.plain and len(fold.test) == len(fold.absent) and self._train_rows(fold)[1] < 0
            cross = self._sums(block)[0][number] if same else self._cross(block, fold.test, weighted=False)
            cross = basis.vectors.T @ (cross - n * torch.outer(basis.test_mean, mean))
        return Observed(n, mean, (values - mean).square().sum(0), block.flat(fold.test), cross, values)

    def _open(self, number: int, block: Block) -> Opened:
        """Everything of one fold and block that all penalties share; kept while the block is."""
        self._sums(block)
        if number not in self.ready:
            cross, mean = self._training(number, block)
            projected = self.bases[number].vectors.T @ cross
            self.ready[number] = Opened(projected, mean, self._observed(number, block))
        return self.ready[number]

    def score(self, number: int, block: Block, columns: torch.Tensor | None = None) -> torch.Tensor:
        basis, opened = self.bases[number], self._open(number, block)
        if columns is not None:
            opened = opened.some(columns)
        else:
            self.ready.pop(number)  # a block is scored once
        projected, observed = opened.projected, opened.observed
        shrink = self._curves(basis, self.alphas).to(projected.dtype)
        offset = basis.vectors.T @ (basis.test_mean - basis.train_mean)
        level = opened.mean + (shrink * offset) @ projected
        segments = self.segments[number]
        if observed.cross is not None:
            squares = score_segments(segments, basis.test, projected, lambda part: _squares)
            return self._from_sums(shrink @ (observed.cross * projected), squares, level, observed)
        return score_segments(
            segments, basis.test, projected, lambda part: self._scorer(observed, level, part)
        )

    def _scorer(self, observed: Observed, level: torch.Tensor, part: slice) -> ScorePredictions:
        """Score of the predictions of some targets, less their `level` (n_alphas, w), penalty by penalty."""
        assert observed.values is not None
        scorer = fold_scorer(self.scoring, observed.values[:, part], flat=observed.flat[part])
        if self.scoring == "pearson":
            return scorer
        levels = iter(level[:, part])
        return lambda predicted: scorer(predicted.add_(next(levels)))

    def _from_sums(
        self, covariance: torch.Tensor, squares: torch.Tensor, level: torch.Tensor, observed: Observed
    ) -> torch.Tensor:
        total = observed.total
        if self.scoring != "neg_mean_squared_error":
            total = torch.where(observed.flat | (total == 0), torch.nan, total)
        return score_sums(self.scoring, observed.n, total, covariance, squares, observed.mean - level)

    def _curves(self, basis: FoldBasis, alphas: Sequence[float]) -> torch.Tensor:
        """1 / (eigenvalue + alpha) in the unit of the score, (n_alphas, p) float64."""
        return torch.stack([self._unit(a) / (basis.eigenvalues + a) for a in alphas])

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        _, whole = self._sums(block)
        vectors = self.vectors.to(whole.dtype)
        shrunk = (vectors.T @ whole) / (self.eigenvalues[:, None] + alphas).to(whole.dtype)
        return vectors @ shrunk


def _squares(values: torch.Tensor) -> torch.Tensor:
    return (values * values).sum(-2)


def _is_partition(folds: Sequence[Fold], n: int) -> bool:
    """Whether every row is absent from exactly one fold, and from few enough to subtract."""
    count = torch.zeros(n, dtype=torch.int64)
    for fold in folds:
        count[fold.absent.cpu()] += 1
        if 2 * len(fold.absent) > n:
            return False
    return bool((count == 1).all())
