"""Search over penalties: scores of the grid, and the audit of an adaptive search."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign.regression._eigen_path import EigenPath
from brainalign.regression._paths import Path
from brainalign.regression._penalties import FloatArray, best_penalty
from brainalign.regression._scoring import MeanOverFolds
from brainalign.regression._sources import Block


def score_grid(path: Path, block: Block) -> torch.Tensor:
    """Mean scores over folds, (n_alphas, w) float64, of the penalties that the path was prepared for."""
    if isinstance(path, EigenPath):
        return path.score_all(block)
    mean: MeanOverFolds | None = None
    for number in range(len(path.folds)):
        scores = path.score(number, block)
        mean = MeanOverFolds(scores.shape, scores.device) if mean is None else mean
        mean.add(scores)
    assert mean is not None
    return mean.mean()


class Audit:
    """What an adaptive search may have missed, judged on a random sample of targets.

    On one fold the audited targets are scored as in an exact search. The largest difference
    bounds the loss of a target whose best penalty was missed: at most twice that difference.
    A target is verified where its best score exceeds that of every other penalty by more.
    """

    def __init__(self, path: Path, alphas: FloatArray, *, audited: np.ndarray[Any, Any]) -> None:
        self.path, self.alphas, self.audited = path, alphas, audited
        self.number = int(np.argmax([len(f.test) for f in path.folds]))
        self.errors: list[FloatArray] = []
        self.equal: list[FloatArray] = []
        self.margins: list[FloatArray] = []

    def add(self, block: Block, scores: torch.Tensor) -> None:
        """Take the mean scores of a block, (n_alphas, w), and check the audited targets of it."""
        usable = block.codes == 0
        usable[block.width :] = False
        usable &= torch.isfinite(scores).all(0)
        top = scores[:, usable].topk(min(2, len(scores)), dim=0).values
        margins = (top[0] - top[-1]).cpu().numpy()
        inside = (self.audited >= block.columns.start) & (self.audited < block.columns.stop)
        columns = torch.as_tensor(self.audited[inside] - block.columns.start, device=scores.device)
        columns = columns[usable[columns]]
        if not len(columns):
            self.margins.append(margins)
            return
        found = self.path.score(self.number, block, columns).to(torch.float64)
        exact = self.path.audit(self.number, block, columns).to(torch.float64)
        known = torch.isfinite(exact).all(0) & torch.isfinite(found).all(0)
        found, exact = found[:, known], exact[:, known]
        self.errors.append((found - exact).abs().amax(0).cpu().numpy())
        chosen = [best_penalty(part, self.alphas, per_target=True) for part in (found, exact)]
        self.equal.append((chosen[0] == chosen[1]).cpu().numpy())
        self.margins.append(margins)  # last: a block without memory is computed again in halves

    def result(self, n_targets: int) -> dict[str, float | int]:
        """The audit in figures, for `search_audit_`."""
        errors, equal, margins = (
            np.concatenate(part) if part else np.zeros(0) for part in (self.errors, self.equal, self.margins)
        )
        bound = 2 * float(errors.max()) if len(errors) else float("nan")
        return {
            "penalties_computed": self.path.n_computed,
            "penalties": len(self.alphas),
            "n_audited": len(errors),
            "share_audited": len(errors) / max(1, n_targets),
            "share_equal": float(equal.mean()) if len(equal) else float("nan"),
            "regret_bound": bound,
            "share_verified": float((margins > bound).mean()) if len(margins) else float("nan"),
        }


def audited_targets(n_targets: int) -> np.ndarray[Any, Any]:
    """A fixed random sample of targets: 2 %, at least 64, at most 1000, sorted."""
    count = min(n_targets, max(64, min(1000, n_targets // 50)))
    return np.sort(np.random.default_rng(0).choice(n_targets, count, replace=False))
