"""Dual form by one eigendecomposition of the kernel; errors of the rows left out.

With R = alpha (K + alpha I)^-1 on the space orthogonal to the intercept, the errors of a
refit without the rows F are ``(R_FF)^-1 (R Y)_F`` (Liland, Skogholt & Indahl 2022,
arXiv:2211.15128). R Y of all penalties comes from few products in each stretch of the
spectrum; the responses are multiplied with the eigenvectors once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import torch

from brainalign._linalg import eigh_psd, self_product
from brainalign._threads import side_by_side
from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import KernelFolds, inverse_in_halves
from brainalign.regression._penalties import COMBINED_ADAPTIVE, LEFT_OUT, combine_penalties
from brainalign.regression._scoring import MeanOverFolds, fold_scorer, residual_scorer
from brainalign.regression._segments import Segments, chunk_width, segment_spectrum, unsegmented
from brainalign.regression._sources import Block

# rounding of R Y may grow by this factor in the errors of a row; penalties above go as matrices
_AMPLIFIED = {torch.float64: 1e6, torch.float32: 300.0}
# a correlation needs the digits of predictions, which are errors less responses: at larger
# ratios of penalty to largest eigenvalue they have lost them
_FAR = {torch.float64: 1e5, torch.float32: 10.0}
# terms of a combination may be so many times larger than a prediction
_COMBINED_TERMS = 50.0
# rows of small folds that go together
_TOGETHER = 256
# matrices of so many penalties are kept for all blocks; those of more are made for each
KEPT = 10
# work of the products of every penalty below which a search for stretches takes longer than it saves
_SMALL = 5e9
# folds that leave out so many rows are inverted in threads of their own, at most so many at once
_LARGE, WORKERS = 100, 8
# of the functions of an adaptive search
_TOLERANCE = 1e-5

Map = Callable[[Callable[[int], bool], Iterable[int]], Iterable[bool]]


def worth_lifting(n_features: int, n_targets: int) -> bool:
    """Whether `EigenPath.lift` saves work."""
    return n_features < n_targets


class Room:
    """Memory that scores are made in, kept from block to block: fresh memory is slow at its first use."""

    def __init__(self) -> None:
        self.values: torch.Tensor | None = None

    def take(self, size: int, like: torch.Tensor) -> torch.Tensor:
        """Memory for at least `size` values, of the dtype and on the device of `like`."""
        if self.values is None or len(self.values) < size:
            self.values = None  # let go before the larger one is made
            self.values = like.new_empty(size)
        return self.values


@dataclass(frozen=True)
class Group:
    """Consecutive folds of equal size: their numbers and absent rows, and how many each tests and lacks."""

    numbers: list[int]
    rows: torch.Tensor | slice
    n_test: int
    n_absent: int


class EigenPath:
    """Dual form by one eigendecomposition of the kernel.

    Penalties are computed in three ways: those of `near` from R Y and the inverse of R_FF,
    those of `hard`, where that would lose digits, by matrices of their own, and the others
    as combinations of these. `n_targets`: of all blocks.
    """

    refits_blocks = True

    def __init__(self, kernel: KernelFolds, scoring: str, n_targets: int) -> None:
        self.kernel, self.scoring, self.n_targets = kernel, scoring, n_targets
        self.folds = kernel.folds
        matrix = kernel.kernel
        if kernel.axis is not None:
            # far above all others, the intercept direction is the last eigenvector
            matrix = matrix.addr(kernel.axis, kernel.axis, alpha=2 * kernel.largest + 1)
        values, vectors = eigh_psd(matrix)
        if kernel.axis is not None:
            values, vectors = values[:-1], vectors[:, :-1]
        self.eigenvalues, self.left = values, vectors.to(kernel.dtype)
        self.basis, self.primal = self.left, False
        self.groups = list(_groups(self.folds))
        self.alphas: list[float] = []
        self.n_computed = 0
        self.segments: Segments | None = None
        self.room = Room()
        self.opened: tuple[Block, torch.Tensor, torch.Tensor] | None = None
        self.audited: EigenPath | None = None

    def prepare(self, alphas: Sequence[float], *, adaptive: bool = False) -> None:
        """Inverses of R_FF for every fold and computed penalty, and how the others are combined."""
        # numpy has one thread in here: those it wakes for small products would get in the way of torch
        threaded = self.left.device.type == "cpu" and max(group.n_absent for group in self.groups) >= _LARGE
        with side_by_side(threaded, at_most=WORKERS) as run:
            self._prepare_near(alphas, run, adaptive=adaptive)
        self._prepare_hard()

    def _prepare_near(self, alphas: Sequence[float], run: Map, *, adaptive: bool) -> None:
        size, dtype = self.kernel.size, self.left.dtype
        lowest = self.eigenvalues[int(LEFT_OUT * len(self.eigenvalues)) if adaptive else 0]
        mixture = combine_penalties(
            alphas,
            float(lowest) * size,
            1.25 * self.kernel.largest * size,
            self.left.device,
            dtype=dtype,
            tolerance=COMBINED_ADAPTIVE if adaptive else None,
        )
        if mixture is not None:
            # of predictions that are responses less errors, a large multiple has few digits
            growth = mixture.weights.abs().sum(1)
            mixture = mixture.computed(torch.nonzero(growth > _COMBINED_TERMS).flatten().tolist())
        self.alphas, self.audited = list(alphas), None
        nodes = list(range(len(alphas))) if mixture is None else mixture.nodes
        self._prepare_nodes(nodes, _TOLERANCE if adaptive and dtype == torch.float32 else None, run)
        self.order = [*self.near, *self.hard]
        self.weights: torch.Tensor | None = None
        if mixture is not None:
            self.order += mixture.combined
            mixture = mixture.scaled([self._unit(alpha) for alpha in alphas])
            columns = [mixture.nodes.index(node) for node in self.order[: len(nodes)]]
            weights = mixture.weights[mixture.combined][:, columns]
            if self.scoring != "pearson":
                # predictions are combined; their errors hold the responses once
                weights = torch.hstack([weights, 1 - weights.sum(1, keepdim=True)])
            self.weights = weights.to(dtype)

    def _prepare_nodes(self, nodes: list[int], tolerance: float | None, run: Map) -> None:
        self.n_computed = len(nodes)
        shifts = [self.alphas[node] / self.kernel.size for node in nodes]
        near = [place for place, shift in enumerate(shifts) if not self._far(shift)]
        stacks = [
            self.left.new_empty(len(near), len(group.numbers), group.n_test, group.n_absent)
            for group in self.groups
        ]

        def invert(row: int) -> bool:
            parts = zip(self.groups, stacks, strict=True)
            return all(self._invert(group, shifts[near[row]], stack[row]) for group, stack in parts)

        kept = [row for row, is_small in enumerate(run(invert, range(len(near)))) if is_small]
        self.inverses = stacks if len(kept) == len(near) else [stack[kept] for stack in stacks]
        near = [near[row] for row in kept]
        self.near = [nodes[place] for place in near]
        self.hard = [node for node in nodes if node not in set(self.near)]
        self.segments = None
        if near:
            curves = torch.stack([self._residual(shifts[place]) for place in near])
            work = 2.0 * len(near) * self.left.numel() * self.n_targets
            self.segments = (
                unsegmented(curves, self.left.dtype)
                if work < _SMALL
                else segment_spectrum(curves, self.left.dtype, tolerance)
            )

    def _prepare_hard(self) -> None:
        kept_hard = [self.alphas[node] for node in self.hard[:KEPT]]
        self.operators = [
            self.left.new_empty(len(kept_hard), len(fold.test), len(fold.train)) for fold in self.folds
        ]
        for row, alpha in enumerate(kept_hard):
            for stack, operator in zip(self.operators, self.kernel.centred_operators(alpha), strict=True):
                stack[row] = operator * self._unit(alpha)

    def _operators(self, number: int) -> torch.Tensor:
        """Matrices of one fold for the penalties of `hard`, (n_hard, n_test, n_train)."""
        stack = self.operators[number]
        alphas = [self.alphas[node] for node in self.hard[KEPT:]]
        more = [self.kernel.factored_operator(a, self.folds[number]) * self._unit(a) for a in alphas]
        return torch.cat([stack, torch.stack(more).to(stack)]) if more else stack

    def _far(self, shift: float) -> bool:
        return self.scoring == "pearson" and shift > _FAR[self.left.dtype] * self.kernel.largest

    def _unit(self, alpha: float) -> float:
        """What predictions are multiplied with: a correlation does not see their size, float32 does."""
        shift = alpha / self.kernel.size
        return self.kernel.largest + shift if self._far(shift) else 1.0

    def _residual(self, shift: float) -> torch.Tensor:
        """Eigenvalues of R, (m,), in units of the largest: the unit cancels, and nothing overflows."""
        return (self.eigenvalues[0] + shift) / (self.eigenvalues + shift)

    def _invert(self, group: Group, shift: float, out: torch.Tensor) -> bool:
        """Put (R_FF)^-1 of every fold into `out` (f, n_test, n_absent); whether rounding stays small."""
        curve = self._residual(shift).to(self.left.dtype)
        left = self.left[group.rows].view(len(group.numbers), group.n_absent, -1) * curve.sqrt()
        large = len(left) == 1 and group.n_absent >= _LARGE
        inside = self_product(left[0])[None] if large else left @ left.transpose(1, 2)
        found = [inverse_in_halves(one) for one in inside] if group.n_absent > 1 else [*(1 / inside)]
        parts = [one for one in found if one is not None]
        if len(parts) < len(found):
            return False
        inverse = torch.stack(parts)
        growth = inverse.square() @ (left.square_() @ curve)[..., None]
        for place, number in enumerate(group.numbers):
            fold = self.folds[number]
            root = self.kernel.root[fold.test, None].to(inverse.dtype)
            torch.div(inverse[place, fold.where], root, out=out[place])
        return bool(growth.max() < _AMPLIFIED[self.left.dtype] ** 2)

    def _open(self, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """The targets in the basis of the eigenvectors, (m, w), and their weighted sum (w,); once a block."""
        if self.opened is None or self.opened[0] is not block:
            root = self.kernel.root.to(block.values.dtype)
            projected = self.left.T @ (block.values * root[:, None])
            self.opened = (block, projected, root.square() @ block.values)
        return self.opened[1], self.opened[2]

    def forget(self) -> None:
        self.opened = None
        if self.left.device.type != "cpu":  # where memory is short and fresh memory is not slow
            self.room.values = None

    def score_all(self, block: Block) -> torch.Tensor:
        """Mean scores over folds of all prepared penalties, (n_alphas, w) float64."""
        mean = MeanOverFolds((len(self.alphas), block.values.shape[1]), block.values.device)
        for group, inverses in zip(self.groups, self.inverses, strict=True):
            scorer = _GroupScorer(self, group, inverses, block)
            for part in scorer.parts:
                mean.add_each(scorer.score(part), (slice(None), part))
        return mean.mean()

    def score(self, number: int, block: Block, columns: torch.Tensor | None = None) -> torch.Tensor:
        place = next(i for i, group in enumerate(self.groups) if number in group.numbers)
        group, fold = self.groups[place], self.folds[number]
        row = group.numbers.index(number)
        alone = Group([number], _as_slice(fold.absent), group.n_test, group.n_absent)
        scorer = _GroupScorer(self, alone, self.inverses[place][:, row : row + 1], block, columns)
        return torch.cat([scorer.score(part)[0] for part in scorer.parts], 1)

    def audit(self, number: int, block: Block, columns: torch.Tensor) -> torch.Tensor:
        if self.audited is None:
            self.audited = copy(self)
            self.audited.folds, self.audited.opened = [self.folds[number]], None
            self.audited.groups = list(_groups(self.audited.folds))
            self.audited.kernel = self.kernel.with_folds(self.audited.folds)
            self.audited.prepare(self.alphas)
        self.audited.opened = (block, *self._open(block))
        return self.audited.score(0, block, columns)

    def lift(self, times: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Let `refit` give weights of features; `times` multiplies dual weights (n, m) with them.

        It multiplies the eigenvectors, once, in place of the dual weights of every block: less
        work where there are more targets than features.
        """
        self.basis = times(self.basis * self.kernel.root.to(self.basis.dtype)[:, None])
        self.primal = True

    def refit(self, block: Block, alphas: torch.Tensor) -> torch.Tensor:
        projected, _ = self._open(block)
        few, which = torch.unique((alphas / self.kernel.size).to(torch.float64), return_inverse=True)
        shrink = (1 / (self.eigenvalues[:, None] + few)).to(projected.dtype)
        out: torch.Tensor = self.basis @ shrink[:, which].mul_(projected)
        if self.primal:
            return out.div_(self.kernel.size)
        return out.mul_((self.kernel.root / self.kernel.size).to(out.dtype)[:, None])


class _GroupScorer:
    """Scores of the folds of a group at the penalties that its path was prepared for.

    `parts` are the ranges of targets that are scored at a time: on a CPU as many as stay in its cache.
    """

    def __init__(
        self,
        path: EigenPath,
        group: Group,
        inverses: torch.Tensor,
        block: Block,
        columns: torch.Tensor | None = None,
    ) -> None:
        self.path, self.group, self.inverses = path, group, inverses.flatten(0, 1)
        self.values, (self.projected, self.total) = block.values, path._open(block)
        self.flat = [block.flat(path.folds[number].test) for number in group.numbers]
        if columns is not None:
            self.values, self.projected = self.values[:, columns], self.projected[:, columns]
            self.total, self.flat = self.total[columns], [one[columns] for one in self.flat]
        combined = 0 if path.weights is None else len(path.weights)
        self.predicting = path.scoring == "pearson"
        self.anchored = bool(path.hard or combined or self.predicting)
        self.n_nodes = len(path.near) + len(path.hard)
        # the rows of a part: nodes, responses less the mean of the training rows, combinations
        self.n_rows = self.n_nodes + self.anchored + combined
        found = [*range(self.n_nodes), *range(self.n_nodes + self.anchored, self.n_rows)]
        self.take = [found[path.order.index(alpha)] for alpha in range(len(path.alphas))]
        self.operators = [path._operators(number) for number in group.numbers] if path.hard else []
        self.stacks = [] if path.segments is None else path.segments.stacks(path.left[group.rows])
        n_folds, w = len(group.numbers), self.values.shape[1]
        self.cells, absent = n_folds * group.n_test, n_folds * group.n_absent
        width = chunk_width(path.segments, absent, self.projected, more=self.n_rows * self.cells)
        self.parts = [slice(start, min(start + width, w)) for start in range(0, w, width)]
        moments = 0 if path.segments is None else path.segments.n_values * absent
        self.size = (self.n_rows * self.cells + moments) * width

    def score(self, part: slice) -> torch.Tensor:
        """Scores of some targets, (n_folds, n_alphas, w)."""
        path, group, w = self.path, self.group, part.stop - part.start
        room, used = path.room.take(self.size, self.projected), self.n_rows * self.cells * w
        rows = room[:used].view(self.n_rows, len(group.numbers), group.n_test, w)
        if path.segments is not None:
            applied = path.segments.apply(self.stacks, self.projected[:, part], room[used:])
            torch.bmm(
                self.inverses,
                applied.reshape(-1, group.n_absent, w),
                out=rows[: len(path.near)].view(-1, group.n_test, w),
            )
        if self.anchored:
            self._anchor(part, rows[: self.n_nodes + 1])
        if path.weights is not None:
            known = rows[: self.n_nodes + 1 - self.predicting].flatten(1)
            torch.mm(path.weights, known, out=rows[self.n_nodes + 1 :].view(len(path.weights), -1))
        if path.scoring == "neg_mean_squared_error":
            return -rows.square_().mean(2).transpose(0, 1)[:, self.take]
        scorer_of = fold_scorer if self.predicting else residual_scorer
        scores = []
        for place, number in enumerate(group.numbers):
            tested = self.values[path.folds[number].test, part]
            scorer = scorer_of(path.scoring, tested, flat=self.flat[place][part])
            scores.append(scorer(rows[:, place]))
        return torch.stack(scores)[:, self.take]

    def _anchor(self, part: slice, rows: torch.Tensor) -> None:
        """Fill in the responses less the mean of the training rows, and all that is made of them.

        `rows` (n_nodes + 1, n_folds, n_test, w) hold the errors of `near`; for a correlation they
        become predictions. The rows of `hard` follow, and last the responses.
        """
        path, near, values = self.path, len(self.path.near), self.values[:, part]
        weights = path.kernel.root.square().to(values.dtype)
        for place, number in enumerate(self.group.numbers):
            fold = path.folds[number]
            observed = values[fold.test]
            if path.kernel.axis is not None:
                seen = self.total[part] - weights[fold.absent] @ values[fold.absent]
                observed = observed - seen / weights[fold.train].sum()
            rows[-1, place] = observed
            if self.predicting:
                torch.sub(observed, rows[:near, place], out=rows[:near, place])
            if path.hard:
                predicted = (self.operators[place].flatten(0, 1) @ values[fold.train]).view(
                    len(path.hard), *observed.shape
                )
                rows[near:-1, place] = predicted if self.predicting else observed - predicted


def _groups(folds: Sequence[Fold]) -> Iterator[Group]:
    """Consecutive folds of as many rows, as many at a time as together have few."""
    numbers: list[int] = []
    for number, fold in enumerate(folds):
        size = (len(fold.test), len(fold.absent))
        if numbers:
            first = folds[numbers[0]]
            same = size == (len(first.test), len(first.absent))
            if not same or (len(numbers) + 1) * size[1] > _TOGETHER:
                yield _group(folds, numbers)
                numbers = []
        numbers.append(number)
    yield _group(folds, numbers)


def _group(folds: Sequence[Fold], numbers: list[int]) -> Group:
    first = folds[numbers[0]]
    rows = torch.cat([folds[number].absent for number in numbers])
    return Group(numbers, _as_slice(rows), len(first.test), len(first.absent))


def _as_slice(rows: torch.Tensor) -> torch.Tensor | slice:
    """Rows that follow each other as a slice, which copies nothing."""
    start, stop = int(rows[0]), int(rows[0]) + len(rows)
    follow = torch.equal(rows, torch.arange(start, stop, device=rows.device))
    return slice(start, stop) if follow else rows
