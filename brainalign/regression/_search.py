"""Search over penalties: scores of the grid, and the audit of an adaptive search."""

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


class Audit:
    """What an adaptive search may have missed, judged on a random sample of targets.

    On one fold the audited targets are scored at the combined penalties, `combined`, as at the others:
    by predictions of their own. The largest
    difference from the combined scores bounds the loss of a target whose best penalty was
    missed: at most twice that difference. A target is verified where its best score
    exceeds that of every other penalty by more.
    """

    def __init__(
        self, path: Path, alphas: FloatArray, combined: list[int], *, audited: np.ndarray[Any, Any]
    ) -> None:
        self.path, self.alphas, self.combined, self.audited = path, alphas, combined, audited
        self.number = int(np.argmax([len(f.test) for f in path.folds]))
        self.errors: list[FloatArray] = []
        self.equal: list[FloatArray] = []
        self.margins: list[FloatArray] = []

    def add(self, block: Block, scores: torch.Tensor, n_prepared: int) -> None:
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
        found = self.path.score(self.number, block, range(n_prepared), columns).to(torch.float64)
        exact = found.clone()
        if self.combined:
            alphas = self.alphas[self.combined].tolist()
            exact[self.combined] = self.path.audit(self.number, block, alphas, columns).to(torch.float64)
        known = torch.isfinite(exact).all(0) & torch.isfinite(found).all(0)
        found, exact = found[:, known], exact[:, known]
        self.errors.append((found - exact).abs().amax(0).cpu().numpy())
        chosen = [best_penalty(part, self.alphas, per_target=True) for part in (found, exact)]
        self.equal.append((chosen[0] == chosen[1]).cpu().numpy())
        self.margins.append(margins)  # last: a block without memory is computed again in halves

    def result(self, n_targets: int, n_computed: int) -> dict[str, float | int]:
        """The audit in figures, for `search_audit_`."""
        errors, equal, margins = (
            np.concatenate(part) if part else np.zeros(0) for part in (self.errors, self.equal, self.margins)
        )
        bound = 2 * float(errors.max()) if len(errors) else float("nan")
        return {
            "penalties_computed": n_computed,
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
