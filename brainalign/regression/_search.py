"""Search over penalties: every penalty for every target, or a walk with an audit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign.regression._paths import EigenPath, Path
from brainalign.regression._penalties import FloatArray, best_penalty
from brainalign.regression._scoring import MeanOverFolds
from brainalign.regression._sources import Block


def score_grid(path: Path, block: Block, n_prepared: int, n_scores: int) -> torch.Tensor:
    """Mean scores over folds, (n_scores, w) float64; fewer penalties are prepared where some are combined."""
    if isinstance(path, EigenPath) and path.single:
        return path.score_all(block, range(n_prepared)).to(torch.float64)
    mean = MeanOverFolds((n_scores, block.values.shape[1]), block.values.device)
    for number in range(len(path.folds)):
        mean.add(path.score(number, block, range(n_prepared), None))
    return mean.mean()


class Walk:
    """Walk to the best penalty of each target, starting from the scores of one fold.

    All penalties are scored on the largest fold; the best of them and its neighbours are
    then scored on all folds, and so on along the grid until both neighbours of the best
    are lower (or there is none). A target with two maxima may end on the lower one: a
    random sample of targets is therefore scored at all penalties, and `audit` says how
    many of these the walk had right and by how much it was wrong.
    """

    def __init__(
        self, path: Path, alphas: FloatArray, *, audited: np.ndarray[Any, Any], squared_unit: bool = False
    ) -> None:
        self.path, self.alphas = path, alphas
        # equal penalties have one rank: a step goes past all of them
        self.rank = np.unique(alphas, return_inverse=True)[1]
        self.audited, self.squared_unit = audited, squared_unit
        self.first = int(np.argmax([len(f.test) for f in path.folds]))
        self.n_evaluated = 0
        self.regrets: list[FloatArray] = []
        self.equal: list[np.ndarray[Any, Any]] = []
        self.n_targets = 0

    def score(self, block: Block) -> torch.Tensor:
        """Scores (n_alphas, w) float64; NaN where a penalty was not needed."""
        n_alphas, width = len(self.alphas), block.values.shape[1]
        device = block.values.device
        mean = MeanOverFolds((n_alphas, width), device)
        mean.add(self.path.score(self.first, block, range(n_alphas), None))
        usable = block.codes == 0
        usable[block.width :] = False
        done = torch.zeros(n_alphas, width, dtype=torch.bool, device=device)
        best = best_penalty(mean.mean(), self.alphas, per_target=True)
        wanted = self._around(best, usable, done)
        wanted[:, usable & (best < 0)] = True  # without a score on the first fold: all penalties
        while bool(wanted.any()):
            self._evaluate(block, mean, wanted)
            done |= wanted
            current = torch.where(done, mean.mean(), torch.nan)
            wanted = self._around(best_penalty(current, self.alphas, per_target=True), usable, done)
        n_evaluated = int(done.sum())
        self._check(block, mean, done, usable)
        # last: a block that ran out of memory is scored again, in halves
        self.n_evaluated += n_evaluated
        self.n_targets += int(usable.sum())
        return torch.where(done, mean.mean(), torch.nan)

    def _around(self, best: torch.Tensor, usable: torch.Tensor, done: torch.Tensor) -> torch.Tensor:
        """Which penalties are still to be scored: the best and its neighbours, (n_alphas, w)."""
        rank = torch.as_tensor(self.rank, device=best.device)
        near = (rank[:, None] - rank[best]).abs() <= 1
        return near & (usable & (best >= 0)) & ~done

    def _evaluate(self, block: Block, mean: MeanOverFolds, wanted: torch.Tensor) -> None:
        """Score the wanted penalties on all folds but the first."""
        for a in torch.nonzero(wanted.any(1)).flatten().tolist():
            columns = torch.nonzero(wanted[a]).flatten()
            for number in range(len(self.path.folds)):
                if number != self.first:
                    found = self.path.score(number, block, [a], columns)
                    mean.add(found[0], (a, columns))

    def _check(self, block: Block, mean: MeanOverFolds, done: torch.Tensor, usable: torch.Tensor) -> None:
        """Score the audited targets of this block at every penalty; keep what the walk lost."""
        inside = (self.audited >= block.columns.start) & (self.audited < block.columns.stop)
        columns = torch.as_tensor(self.audited[inside] - block.columns.start, device=done.device)
        columns = columns[usable[columns]]
        if not len(columns):
            return
        walked = torch.where(done, mean.mean(), -torch.inf)[:, columns]
        wanted = torch.zeros_like(done)
        wanted[:, columns] = True
        self._evaluate(block, mean, wanted & ~done)
        full = mean.mean()[:, columns]
        lost = full.amax(0) - walked.amax(0)
        same = _choice(walked, self.alphas) == _choice(full, self.alphas)
        self.equal.append(same[torch.isfinite(lost)].cpu().numpy())
        self.regrets.append((lost * block.scale[columns] ** 2 if self.squared_unit else lost).cpu().numpy())
        done[:, columns] = True

    def audit(self) -> dict[str, float | int]:
        """What the walk cost, and how far it may be believed."""
        regrets = np.concatenate(self.regrets) if self.regrets else np.zeros(0)
        regrets = regrets[np.isfinite(regrets)]
        n = len(regrets)
        return {
            "n_targets": self.n_targets,
            "evaluations_per_target": self.n_evaluated / max(1, self.n_targets),
            "n_audited": n,
            "share_audited": n / max(1, self.n_targets),
            "share_equal": float(np.concatenate(self.equal).mean()) if n else float("nan"),
            "regret_bound": float(regrets.max()) if n else float("nan"),
            # none of n random targets lies beyond the bound: 95 % sure of at most 3 / n of all
            "share_beyond_bound": min(1.0, 3 / n) if n else 1.0,
        }


def _choice(scores: torch.Tensor, alphas: FloatArray) -> torch.Tensor:
    return best_penalty(scores, alphas, per_target=True)


def audited_targets(n_targets: int) -> np.ndarray[Any, Any]:
    """A fixed random sample of targets: 2 %, at least 64, at most 1000, sorted."""
    count = min(n_targets, max(64, min(1000, n_targets // 50)))
    return np.sort(np.random.default_rng(0).choice(n_targets, count, replace=False))
