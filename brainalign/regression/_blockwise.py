"""The loop over blocks of targets: score, choose, refit, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from brainalign.errors import MemoryBudgetError
from brainalign.regression._eigen_path import EigenPath
from brainalign.regression._gram_path import GramPath
from brainalign.regression._paths import KernelPath
from brainalign.regression._penalties import FloatArray, best_penalty, extended_grid, grid_edges
from brainalign.regression._plan import Plan
from brainalign.regression._search import Audit, audited_targets, score_grid
from brainalign.regression._sources import FITTED, NO_SCORE, PAD, Block, Targets

_LOG = logging.getLogger("brainalign")
_EXTENSIONS = 3  # rounds of automatic extension of the grid

AnyPath = GramPath | KernelPath | EigenPath


def for_each_block(targets: Targets, work: Callable[[Block], None]) -> None:
    """Call `work` with every block; where a device has no memory for one, with its halves."""
    for block in targets:
        columns, failed = block.columns, False
        try:
            work(block)
        except torch.OutOfMemoryError:
            failed = True
        del block
        if failed:  # outside of the handler, whose traceback keeps tensors alive
            _halve(targets, columns, work)


def _halve(targets: Targets, columns: slice, work: Callable[[Block], None]) -> None:
    width = columns.stop - columns.start
    if width <= PAD:
        raise MemoryBudgetError(
            f"the device has no memory for a block of {width} targets ({columns.start} to {columns.stop}); "
            "use device='cpu', or fewer samples or features"
        )
    middle = columns.start + -(-width // (2 * PAD)) * PAD
    _LOG.warning(
        "out of device memory: targets %d to %d are computed in two halves", columns.start, columns.stop
    )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for half in (slice(columns.start, middle), slice(middle, columns.stop)):
        failed = False
        try:
            work(targets.read(half))
        except torch.OutOfMemoryError:
            failed = True
        if failed:
            _halve(targets, half, work)


@dataclass
class BlockwiseFit:
    """One fit over all targets.

    `write` takes a block, its weights (p, w) or (n, w) and which columns of them count
    (w,), and stores what the estimator keeps. After `run`: `alphas` (n_alphas,), `scores`
    (n_alphas, n_targets), `chosen` (n_targets,) positions in the grid (-1 without), `codes`
    (n_targets,), `audit`.
    """

    path: AnyPath
    targets: Targets
    alphas: FloatArray
    plan: Plan
    write: Callable[[Block, torch.Tensor, torch.Tensor], None]
    squared_unit: bool
    per_target: bool = True
    adaptive: bool = False
    extend: bool = False
    scores: torch.Tensor = field(init=False)
    chosen: torch.Tensor = field(init=False)
    codes: np.ndarray[Any, Any] = field(init=False)
    unit: torch.Tensor = field(init=False)
    audit: dict[str, float | int] | None = None

    def run(self) -> None:
        """Score every block, choose, refit every block."""
        n_targets = self.targets.n_targets
        self.codes = np.zeros(n_targets, dtype=np.uint8)
        self.unit = torch.ones(n_targets, dtype=torch.float64)
        self.chosen = torch.full((n_targets,), -1)
        at_once = self.per_target and self.path.refits_blocks and not self.extend
        self.scores = self._search(self.alphas, at_once)
        if at_once:
            return
        for _ in range(_EXTENSIONS if self.extend else 0):
            if not self._extend():
                break
        self.chosen = self._best()
        self.codes[(self.codes == FITTED) & (self.chosen.numpy() < 0)] = NO_SCORE
        self._refit()

    def _best(self) -> torch.Tensor:
        return best_penalty(self.scores, self.alphas, per_target=self.per_target, unit=self.unit)

    def _extend(self) -> bool:
        """Score more penalties where targets chose the smallest or the largest of all."""
        chosen = self._best().numpy()
        edges = grid_edges(self.alphas[chosen[chosen >= 0]], self.alphas)
        more = extended_grid(self.alphas, bool((edges < 0).any()), bool((edges > 0).any()))
        if not len(more):
            return False
        scores = torch.cat([self.scores, self._search(more, False)])
        grid = np.concatenate([self.alphas, more])
        order = np.argsort(grid)
        self.alphas, self.scores = grid[order], scores[torch.as_tensor(order)]
        return True

    def _search(self, alphas: FloatArray, refit: bool) -> torch.Tensor:
        """Scores of `alphas`, (n_alphas, n_targets) on the CPU; with `refit` blocks are finished too."""
        n = len(alphas)
        out = torch.full((n, self.targets.n_targets), torch.nan, dtype=torch.float64)
        size = min(n, self.plan.penalties_per_pass)
        audit = None
        if self.adaptive:
            audit = Audit(self.path, alphas, audited=audited_targets(self.targets.n_targets))
        for start in range(0, n, size):
            group = alphas[start : start + size]
            self.path.prepare(group.tolist(), adaptive=self.adaptive)

            def work(block: Block, start: int = start, group: FloatArray = group) -> None:
                found = score_grid(self.path, block)
                if audit is not None:
                    audit.add(block, found)
                self._keep(out[start : start + len(group)], block, found)
                if refit:
                    self._finish(block, out[:, block.columns])

            self._each_block(work)
        self.audit = None if audit is None else audit.result(self.targets.n_targets)
        return out

    def _each_block(self, work: Callable[[Block], None]) -> None:
        """Call `work` with every block, and keep nothing of a block beyond it."""

        def work_and_forget(block: Block) -> None:
            try:
                work(block)
            finally:
                self.path.forget()

        for_each_block(self.targets, work_and_forget)

    def _keep(self, out: torch.Tensor, block: Block, found: torch.Tensor) -> None:
        """Store the scores of a block, in the unit of its responses."""
        if self.squared_unit:
            found = found * block.scale**2
            self.unit[block.columns] = block.scale[: block.width].cpu() ** 2
        found = torch.where(block.codes == FITTED, found, torch.nan)
        out[:, block.columns] = found[:, : block.width].cpu()
        self.codes[block.columns] = block.codes[: block.width].cpu().numpy()

    def _finish(self, block: Block, scores: torch.Tensor) -> None:
        """Choose the penalties of a block and refit it at once."""
        chosen = best_penalty(scores, self.alphas, per_target=True, unit=self.unit[block.columns])
        self.chosen[block.columns] = chosen
        codes = self.codes[block.columns]
        codes[(codes == FITTED) & (chosen.numpy() < 0)] = NO_SCORE
        self._refit_block(block)

    def _penalties(self, block: Block) -> torch.Tensor:
        """The chosen penalty of every column of a block, (w,); any for those without a fit."""
        out = torch.full((len(block.codes),), float(self.alphas[0]), dtype=torch.float64)
        chosen = self.chosen[block.columns]
        out[: block.width][chosen >= 0] = torch.as_tensor(self.alphas)[chosen[chosen >= 0]]
        return out.to(block.values.device)

    def _refit(self) -> None:
        """Refit all blocks; factors are shared by all blocks, as many at a time as fit."""
        if not isinstance(self.path, KernelPath):
            self._each_block(self._refit_block)
            return
        wanted = self.alphas[np.unique(self.chosen[self.chosen >= 0].numpy())].tolist()
        wanted = wanted or [float(self.alphas[0])]
        size = self.plan.penalties_per_pass
        for start in range(0, len(wanted), size):
            group = wanted[start : start + size]
            self.path.prepare_refit(group)
            self._each_block(partial(self._refit_block, group=group))

    def _refit_block(self, block: Block, group: list[float] | None = None) -> None:
        """Refit the targets of a block (those whose penalty is in `group`) and store them."""
        alphas = self._penalties(block)
        done = torch.ones_like(alphas, dtype=torch.bool)
        if group is not None:
            done = torch.isin(alphas, torch.as_tensor(group, dtype=alphas.dtype, device=alphas.device))
        if bool(done.any()):
            self.write(block, self.path.refit(block, alphas), done)
