"""Sums over rows that are seen once: ridge from recordings that are never in memory together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from brainalign.errors import ShapeError
from brainalign.regression._folds import Fold
from brainalign.regression._gram_path import FoldBasis, GramPath, Observed
from brainalign.regression._kernel_folds import cholesky
from brainalign.regression._segments import Segments
from brainalign.regression._sources import CONSTANT, NOT_FINITE, PAD, Block


@dataclass
class Sums:
    """Sums of some rows, float64, relative to a fixed origin: `weight` their number or weight,
    `x` (p,), `y` (t,), `xx` (p, p), `xy` (p, t), `yy` (t,).
    """

    weight: float
    x: torch.Tensor
    y: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor
    yy: torch.Tensor

    @classmethod
    def empty(cls, p: int, t: int, device: torch.device) -> Sums:
        shapes = ((p,), (t,), (p, p), (p, t), (t,))
        return cls(0.0, *(torch.zeros(s, dtype=torch.float64, device=device) for s in shapes))

    def add(self, X: torch.Tensor, Y: torch.Tensor, weights: torch.Tensor | None) -> None:
        """Take rows X (n, p), Y (n, t); products are formed in float64."""
        wide, targets = X.to(torch.float64), Y.to(torch.float64)
        left = wide if weights is None else wide * weights[:, None]
        self.weight += float(len(X) if weights is None else weights.sum())
        self.x += left.sum(0)
        self.y += (targets if weights is None else targets * weights[:, None]).sum(0)
        self.xx.addmm_(left.T, wide)
        self.xy.addmm_(left.T, targets)
        self.yy += (targets.square() if weights is None else targets.square() * weights[:, None]).sum(0)

    def about(self, x: torch.Tensor, y: torch.Tensor) -> Sums:
        """The same sums relative to another origin."""
        xx = self.xx - torch.outer(self.x, x) - torch.outer(x, self.x) + self.weight * torch.outer(x, x)
        xy = self.xy - torch.outer(self.x, y) - torch.outer(x, self.y) + self.weight * torch.outer(x, y)
        yy = self.yy - 2 * self.y * y + self.weight * y * y
        return Sums(self.weight, self.x - self.weight * x, self.y - self.weight * y, xx, xy, yy)


class FoldSums:
    """Sums of every fold; rows are added in any order and number of calls.

    `weighted` {label: Sums} serve the fits, `plain` the scores of held-out rows (the same
    objects while no weights are given).
    """

    def __init__(self, p: int, t: int, device: torch.device, dtype: torch.dtype, *, intercept: bool) -> None:
        self.p, self.t, self.device, self.dtype, self.intercept = p, t, device, dtype, intercept
        self.weighted: dict[Any, Sums] = {}
        self.plain: dict[Any, Sums] = {}
        self.origin: tuple[torch.Tensor, torch.Tensor] | None = None
        self.low: torch.Tensor | None = None
        self.high: torch.Tensor | None = None
        self.finite = torch.ones(t, dtype=torch.bool, device=device)

    def add(
        self, X: torch.Tensor, Y: torch.Tensor, labels: Sequence[Any], weights: torch.Tensor | None
    ) -> None:
        """Add rows X (n, p), Y (n, t) to the folds that `labels` (n,) name."""
        finite = torch.isfinite(Y).all(0)
        self.finite &= finite
        Y = torch.where(finite, Y, torch.zeros_like(Y))
        self._note_range(Y)
        if self.origin is None:
            # near the mean of the first rows sums of squares keep their digits
            means = (X.to(torch.float64).mean(0), Y.to(torch.float64).mean(0))
            self.origin = means if self.intercept else (means[0] * 0, means[1] * 0)
        X, Y = X - self.origin[0].to(X.dtype), Y - self.origin[1].to(Y.dtype)
        for label in dict.fromkeys(labels):
            rows = torch.tensor([i for i, one in enumerate(labels) if one == label], device=self.device)
            self._add_fold(label, X[rows], Y[rows], None if weights is None else weights[rows])

    def _add_fold(self, label: Any, X: torch.Tensor, Y: torch.Tensor, weights: torch.Tensor | None) -> None:
        if label not in self.weighted:
            self.weighted[label] = Sums.empty(self.p, self.t, self.device)
            self.plain[label] = self.weighted[label]
        shared = self.plain[label] is self.weighted[label]
        if weights is not None and shared and not bool((weights == 1).all()):
            kept = self.weighted[label]
            self.plain[label] = Sums(
                kept.weight, *(v.clone() for v in (kept.x, kept.y, kept.xx, kept.xy, kept.yy))
            )
            shared = False
        self.weighted[label].add(X, Y, weights)
        if not shared:
            self.plain[label].add(X, Y, None)

    def _note_range(self, Y: torch.Tensor) -> None:
        low, high = Y.amin(0), Y.amax(0)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def codes(self) -> torch.Tensor:
        """Why targets have no fit, (t,) uint8."""
        assert self.low is not None
        assert self.high is not None
        eps = torch.finfo(self.dtype).eps
        constant = self.high - self.low <= 10 * eps * torch.maximum(self.low.abs(), self.high.abs())
        codes = torch.zeros(self.t, dtype=torch.uint8, device=self.device)
        codes[constant] = CONSTANT
        codes[~self.finite] = NOT_FINITE
        return codes


class SumsPath(GramPath):
    """The primal path from sums alone: every fold is scored without its rows."""

    def __init__(self, sums: FoldSums, scoring: str) -> None:
        assert sums.origin is not None
        self.scoring, self.intercept, self.dtype = scoring, sums.intercept, sums.dtype
        labels = list(sums.weighted)
        whole = Sums.empty(sums.p, sums.t, sums.device)
        for label in labels:
            _accumulate(whole, sums.weighted[label])
        mean = (whole.x / whole.weight, whole.y / whole.weight)
        if not sums.intercept:
            mean = (mean[0] * 0, mean[1] * 0)
        self.x_mean, self.y_mean = sums.origin[0] + mean[0], sums.origin[1] + mean[1]
        self.whole = whole.about(*mean)
        self.parts = [sums.weighted[label].about(*mean) for label in labels]
        self.tests = [
            part if sums.plain[label] is sums.weighted[label] else sums.plain[label].about(*mean)
            for label, part in zip(labels, self.parts, strict=True)
        ]
        # folds by their number of test rows alone: the rows are gone
        none = torch.zeros(0, dtype=torch.int64)
        self.folds = [
            Fold(none, torch.zeros(1, dtype=torch.int64).expand(int(test.weight)), none, none)
            for test in self.tests
        ]
        self.total = self.whole.xx
        self.weight = whole.weight
        self.bases = [self._sums_basis(part, test) for part, test in zip(self.parts, self.tests, strict=True)]
        self.eigenvalues, self.vectors = self._eigh(self.total)
        self.alphas: list[float] = []
        self.n_computed = 0
        self.segments: dict[int, Segments] = {}
        self.opened = None
        self.ready = {}
        self.codes = sums.codes()
        self.scale = torch.ldexp(
            torch.ones_like(self.whole.yy), torch.frexp((self.whole.yy / self.weight).sqrt()).exponent
        )

    def _sums_basis(self, part: Sums, test: Sums) -> FoldBasis:
        total = self.weight - part.weight
        gram, mean = self.whole.xx - part.xx, torch.zeros_like(part.x)
        if self.intercept:
            mean = -part.x / total
            gram = gram - total * torch.outer(mean, mean)
        eigenvalues, vectors = self._eigh(gram)
        test_mean = test.x / test.weight
        held_out = cholesky(test.xx - test.weight * torch.outer(test_mean, test_mean)).T
        moved = (part.to(self.dtype) for part in (vectors, mean, test_mean))
        vectors, mean, test_mean = moved
        return FoldBasis(
            eigenvalues, vectors, mean, test_mean, total, held_out.to(self.dtype) @ vectors, True
        )

    def _cut(self, values: torch.Tensor, block: Block) -> torch.Tensor:
        """The columns of a block, in its scale, filled up to its width."""
        part = values[..., block.columns] / block.scale[: block.width]
        part = torch.where(block.codes[: block.width] == 0, part, torch.zeros_like(part))
        out = torch.zeros(*part.shape[:-1], len(block.codes), dtype=self.dtype, device=part.device)
        out[..., : block.width] = part
        return out

    def _sums(self, block: Block) -> tuple[list[torch.Tensor], torch.Tensor]:
        if self.opened is None or self.opened[0] is not block:
            parts = [self._cut(part.xy, block) for part in self.parts]
            self.opened, self.ready = (block, parts, self._cut(self.whole.xy, block)), {}
        return self.opened[1], self.opened[2]

    def _training(self, number: int, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        basis, part = self.bases[number], self.parts[number]
        mean = torch.zeros(len(block.codes), dtype=torch.float64, device=block.codes.device)
        if self.intercept:
            mean = self._cut(-part.y / basis.weight, block).to(torch.float64)
        cross = self._cut(self.whole.xy - part.xy, block)
        return cross - basis.weight * torch.outer(basis.train_mean, mean.to(self.dtype)), mean.to(self.dtype)

    def _observed(self, number: int, block: Block) -> Observed:
        basis, test = self.bases[number], self.tests[number]
        n, mean = int(test.weight), test.y / test.weight
        centred = (test.yy - test.weight * mean * mean).clamp_min(0)
        # sums hold a variance down to the rounding of their squares
        flat = centred <= 1e-13 * test.yy
        total = self._cut(centred / self.scale, block)
        cross = self._cut(test.xy - torch.outer(test.x, mean), block)
        wide = torch.zeros(len(block.codes), dtype=torch.bool, device=flat.device)
        wide[: block.width] = flat[block.columns]
        return Observed(n, self._cut(mean, block), total, wide, basis.vectors.T @ cross, None)


def _accumulate(whole: Sums, part: Sums) -> None:
    whole.weight += part.weight
    for name in ("x", "y", "xx", "xy", "yy"):
        getattr(whole, name).add_(getattr(part, name))


@dataclass(frozen=True)
class SumsTargets:
    """The targets of accumulated sums in blocks: nothing but their masks and scales."""

    path: SumsPath
    width: int

    @property
    def n_targets(self) -> int:
        return len(self.path.codes)

    @property
    def device(self) -> torch.device:
        return self.path.codes.device

    @property
    def dtype(self) -> torch.dtype:
        return self.path.dtype

    def __iter__(self) -> Iterator[Block]:
        for start in range(0, self.n_targets, self.width):
            yield self.read(slice(start, min(start + self.width, self.n_targets)))

    def read(self, columns: slice) -> Block:
        """One block without values."""
        width = columns.stop - columns.start
        filled = -(-width // PAD) * PAD
        codes = torch.full((filled,), CONSTANT, dtype=torch.uint8, device=self.device)
        codes[:width] = self.path.codes[columns]
        mean, scale = (torch.ones(filled, dtype=torch.float64, device=self.device) for _ in range(2))
        mean[:width], scale[:width] = self.path.y_mean[columns], self.path.scale[columns]
        none = torch.zeros(0, filled, dtype=self.path.dtype, device=self.device)
        return Block(columns, none, mean, scale, codes, width)


def fold_labels(folds: Sequence[Fold], n: int) -> list[int]:
    """The fold of every row; refuses folds that are no partition of the rows."""
    label = torch.full((n,), -1)
    seen = torch.zeros(n, dtype=torch.int64)
    for number, fold in enumerate(folds):
        label[fold.test], seen[fold.test] = number, seen[fold.test] + 1
        if len(fold.absent) != len(fold.test):
            raise ShapeError(
                f"fold {number} leaves out {len(fold.absent)} rows and tests {len(fold.test)}: sums keep no "
                "rows to leave out of both. Use a cv without gaps, or name the fold of the rows with fold="
            )
    if bool((seen != 1).any()):
        row = int(torch.nonzero(seen != 1)[0])
        raise ShapeError(
            f"row {row} is in the test part of {int(seen[row])} folds; partial_fit needs every row in "
            "exactly one. Use KFold, or name the fold of the rows with fold="
        )
    return [int(one) for one in label]
