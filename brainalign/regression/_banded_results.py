"""What a banded search leaves behind, as arrays for all targets: NaN for those without a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from brainalign.regression._banded_build import Built, coefficients
from brainalign.regression._banded_walk import Standing
from brainalign.regression._base import Problem
from brainalign.regression._sources import to_result


@dataclass(frozen=True)
class Results:
    """The end of a search; `where` (m,) are the targets that took part, `columns` those of each band."""

    problem: Problem
    where: torch.Tensor
    built: Built
    columns: Sequence[torch.Tensor]
    standing: Standing

    def chosen(self, alphas: Sequence[float], scores: torch.Tensor) -> dict[str, Any]:
        """Weights, penalties and scores; `scores` (n_candidates, u) are those of the candidates."""
        standing = self.standing
        units = torch.zeros_like(self.where) if standing.pooled else standing.units
        grid = torch.as_tensor(alphas, dtype=torch.float64, device=self.where.device)
        found = {
            "best_alphas_": grid[standing.alpha],
            "best_scores_": standing.score,
            "band_weights_": standing.gamma.T,
            "candidate_scores_": scores,
        }
        out = {name: self._result(self._spread(values[..., units])) for name, values in found.items()}
        return out | {"band_scales_": self._result(self.built.scale)}

    def fitted(self) -> dict[str, Any]:
        """Coefficients (of kernels: the dual ones) and intercept."""
        standing, built = self.standing, self.built
        gamma = standing.gamma.expand(len(self.where), -1) if standing.pooled else standing.gamma
        if built.kernel_means is None:
            found = coefficients(built, self.columns, standing.weights, gamma)
            offset = found.double() @ built.x_mean
            spread = self._spread(found.T)
            coef = {"coef_": self._one(spread if self.problem.one_d else spread.T)}
        else:
            dual = standing.weights * built.form.root[:, None].to(standing.weights.dtype)
            offset = ((built.kernel_means @ dual.double()) * (gamma * built.scale).T).sum(0)
            coef = {"dual_coef_": self._one(self._spread(self._all_rows(dual)))}
        intercept = self._one(self._spread(built.y_mean[standing.columns] - offset))
        plain = self.problem.one_d and not self.problem.as_torch
        return coef | {"intercept_": float(intercept) if plain else intercept}

    def _all_rows(self, dual: torch.Tensor) -> torch.Tensor:
        """Dual coefficients of all samples, 0 for those without weight."""
        out = dual.new_zeros(len(self.columns[0]), dual.shape[1])
        out[torch.as_tensor(self.problem.rows, device=dual.device)] = dual
        return out

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values (..., m) of the targets that took part among those of all targets (..., t)."""
        out = values.new_full((*values.shape[:-1], len(self.problem.usable)), torch.nan)
        out[..., self.where] = values
        return out

    def _one(self, values: torch.Tensor) -> Any:
        """Values of all targets, or, after 1-D responses, those (..., 1) of the only one."""
        return self._result(values[..., 0] if self.problem.one_d else values)

    def _result(self, values: torch.Tensor) -> Any:
        return to_result(values.contiguous(), self.problem.as_torch)
