"""Ridge on fixed features as a linear map of the training responses.

With features, rows and penalty held, a prediction is a matrix times the responses: a refit
on permuted responses is a matrix product. Few features leave that matrix in factors, which
serve every penalty; many features give one matrix per penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from brainalign._linalg import eigh_psd, full_precision


@dataclass(frozen=True)
class FixedRidge:
    """Centred and weighted training rows, and the rows to predict.

    Attributes: `train` (n, p), centred by the weighted mean and multiplied by the root of
    the weights; `new` (n_new, p) centred alike; `root` (n,) roots of the weights; `share`
    (n,) the weights that make the training mean (zero without intercept).
    """

    train: torch.Tensor
    new: torch.Tensor
    root: torch.Tensor
    share: torch.Tensor

    def factors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Eigenvalues (p,), `left` (n, p) and `right` (n_new, p), the same for every penalty.

        Predictions less the training mean are ``right @ ((left.T @ Y) / (eigenvalues + alpha))``,
        alpha a number or one per target. Cost: 2 p^2 (2 n + n_new) + 9 p^3.
        """
        with full_precision():
            values, vectors = eigh_psd(self.train.T @ self.train)
            left = (self.train @ vectors) * self.root[:, None]
            return values, left, self.new @ vectors

    def operator(self, alpha: float) -> torch.Tensor:
        """Matrix (n_new, n) whose product with the responses is the predictions less the training mean.

        It turns constant responses into zeros where there is an intercept. Cost: m^3 / 3 +
        2 m^2 n_new with m = min(n, p), and 2 n p n_new; memory 2 m^2 float64.
        """
        with full_precision():
            system = self._gram.clone()
            system.diagonal().add_(alpha)
            factor = torch.linalg.cholesky(system)
            # the smaller of the two systems: (X'X + a)^-1 X' = X' (XX' + a)^-1
            if self._primal:
                out = torch.cholesky_solve(self.new.T, factor).T @ self.train.T
            else:
                out = torch.cholesky_solve(self._cross.T, factor).T
            out = out * self.root
            return out - torch.outer(out.sum(1), self.share)

    @property
    def _primal(self) -> bool:
        return self.train.shape[1] < self.train.shape[0]

    @cached_property
    def _gram(self) -> torch.Tensor:
        return self.train.T @ self.train if self._primal else self.train @ self.train.T

    @cached_property
    def _cross(self) -> torch.Tensor:
        return self.new @ self.train.T


def fixed_ridge(
    X: torch.Tensor, X_new: torch.Tensor, weights: torch.Tensor, *, intercept: bool = True
) -> FixedRidge:
    """Hold ridge on the rows `X` (n, p) with `weights` (n,), for the prediction of `X_new` (n_new, p).

    All in float64: the Gram matrices need it.
    """
    root = weights.sqrt()
    share = weights / weights.sum() if intercept else torch.zeros_like(weights)
    mean = share @ X
    return FixedRidge((X - mean) * root[:, None], X_new - mean, root, share)
