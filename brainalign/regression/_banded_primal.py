"""Banded ridge through the Gram matrix of the features (p x p).

With S the diagonal of sqrt(gamma), each fold solves ``(S G S + alpha I) B = S C`` from its Gram
matrix G and cross products C, which are gathered once: the features are not scaled again, and
gamma = 0 needs no division. The derivative of a score by ``log gamma_j`` is
``alpha sum_{i in band j} z_i B_i`` with ``(S G S + alpha I) z = S q`` and q the derivative by the
coefficients S B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from brainalign.regression._banded_errors import HeldOutScores
from brainalign.regression._banded_factor import FLOAT32_PENALTY, largest_eigenvalue, lifted_cholesky
from brainalign.regression._folds import Fold

_CACHE_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 28


@dataclass(frozen=True)
class PrimalBands:
    """What no band weight and no penalty changes.

    `X` (n, p) rows scaled per band, centred by the weighted mean (with intercept) and multiplied
    by the root of their weight; `Y` (n, t) likewise; `band` (p,) number of the band of each
    column; `root` (n,) roots of the weights.
    """

    X: torch.Tensor
    Y: torch.Tensor
    band: torch.Tensor
    n_bands: int
    root: torch.Tensor
    folds: Sequence[Fold]
    held_out: HeldOutScores
    intercept: bool
    _crosses: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def weight_rows(self) -> int:
        """Rows of the weights of a fit: one per feature."""
        return int(self.X.shape[1])

    @cached_property
    def whole(self) -> torch.Tensor:
        """Gram matrix (p, p) of all rows, float64."""
        X = self.X.double()
        return X.T @ X

    @cached_property
    def whole_cross(self) -> torch.Tensor:
        """Cross products (p, t) of all rows."""
        return self.X.T @ self.Y

    @cached_property
    def means(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each fold the weighted means of its training rows: features (p,) and responses (t,)."""
        return [self._means(fold) for fold in self.folds]

    def _means(self, fold: Fold) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.intercept:
            zero = self.X.new_zeros(self.X.shape[1], dtype=torch.float64)
            return zero, self.Y.new_zeros(self.Y.shape[1], dtype=torch.float64)
        # all rows are centred: what the training rows sum to is what the absent ones lack
        root, total = self.root[fold.absent], (self.root[fold.train] ** 2).sum()
        x, y = (-(root.to(rows.dtype) @ rows[fold.absent]).double() / total for rows in (self.X, self.Y))
        return x, y

    @cached_property
    def grams(self) -> list[torch.Tensor]:
        """Gram matrix of the training rows of each fold, centred by their own mean, float64."""
        return [self._gram(number) for number in range(len(self.folds))]

    def _gram(self, number: int) -> torch.Tensor:
        fold, mean = self.folds[number], self.means[number][0]
        if len(fold.absent) > len(fold.train):
            present = self.X[fold.train].double()
            gram = present.T @ present
        else:
            absent = self.X[fold.absent].double()
            gram = self.whole - absent.T @ absent
        return gram - torch.outer(mean * (self.root[fold.train] ** 2).sum(), mean)

    @cached_property
    def tests(self) -> list[torch.Tensor]:
        """Test rows of each fold without weights, less the mean of the training rows."""
        return [
            self.X[fold.test] / self.root[fold.test, None].to(self.X.dtype) - mean.to(self.X.dtype)
            for fold, (mean, _) in zip(self.folds, self.means, strict=True)
        ]

    def cross(self, number: int, columns: torch.Tensor) -> torch.Tensor:
        """Cross products (p, t) of the training rows of one fold, centred by their own mean."""
        each = self.X.shape[1] * self.Y.shape[1] * self.Y.element_size()
        if each * len(self.folds) > _CACHE_BYTES:
            return self._cross(number, columns)
        if number not in self._crosses:
            every = torch.arange(self.Y.shape[1], device=self.Y.device)
            self._crosses[number] = self._cross(number, every)
        return self._crosses[number][:, columns]

    def _cross(self, number: int, columns: torch.Tensor) -> torch.Tensor:
        fold, (x, y) = self.folds[number], self.means[number]
        if len(fold.absent) > len(fold.train):
            cross = self.X[fold.train].T @ self.Y[fold.train][:, columns]
        else:
            absent = self.X[fold.absent].T @ self.Y[fold.absent][:, columns]
            cross = self.whole_cross[:, columns] - absent
        return cross - torch.outer(x * (self.root[fold.train] ** 2).sum(), y[columns]).to(cross.dtype)

    def at(self, gamma: torch.Tensor) -> PrimalGram:
        """The scaled Gram matrices of the band weights `gamma` (n_bands,)."""
        return PrimalGram(self, gamma)


class PrimalGram:
    """The bands with their weights; one `PrimalFit` per penalty."""

    def __init__(self, bands: PrimalBands, gamma: torch.Tensor) -> None:
        self.bands = bands
        self.scale = gamma.double().to(bands.X.device).sqrt()[bands.band]

    @cached_property
    def largest(self) -> float:
        """The largest eigenvalue of the scaled Gram matrix of all rows, from below."""
        return largest_eigenvalue(self.scale[:, None] * self.bands.whole * self.scale)

    def fit(self, alpha: float) -> PrimalFit:
        """Factorise for one penalty when asked for: p^3 for each fold."""
        return PrimalFit(self, alpha)


class PrimalFit:
    """One pair of band weights and penalty."""

    def __init__(self, gram: PrimalGram, alpha: float) -> None:
        self.bands, self.scale, self.alpha = gram.bands, gram.scale, alpha
        single = gram.bands.Y.dtype == torch.float32 and alpha >= FLOAT32_PENALTY * gram.largest
        self.dtype = torch.float32 if single else torch.float64
        self._inverses: dict[int, torch.Tensor] = {}

    def _inverse(self, number: int) -> torch.Tensor:
        """Inverse (p, p) of S G S + alpha I of one fold: products run at twice the speed of solves."""
        if number not in self._inverses:
            self._inverses[number] = self._invert(self.bands.grams[number])
        return self._inverses[number]

    def _invert(self, gram: torch.Tensor) -> torch.Tensor:
        system = self.scale[:, None] * gram * self.scale
        system.diagonal().add_(self.alpha)
        return torch.cholesky_inverse(lifted_cholesky(system)).to(self.dtype)

    def _solve(self, number: int, right: torch.Tensor) -> torch.Tensor:
        """Solve S G S + alpha I against S `right`; in float64 where the penalty needs the digits."""
        return self._inverse(number) @ (self.scale.to(self.dtype)[:, None] * right.to(self.dtype))

    def _error(self, number: int, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled coefficients B (p, t) and the errors (n_test, t) of one fold."""
        bands, fold = self.bands, self.bands.folds[number]
        B = self._solve(number, bands.cross(number, columns))
        predicted = bands.tests[number] @ (self.scale[:, None].to(B.dtype) * B).to(bands.Y.dtype)
        observed = bands.held_out.Y[fold.test][:, columns] - bands.means[number][1][columns].to(bands.Y.dtype)
        return B, observed - predicted

    def fold_score(self, number: int, columns: torch.Tensor) -> torch.Tensor:
        """Score (t,) of one fold alone."""
        out = torch.empty(len(columns), dtype=torch.float64, device=columns.device)
        for part in self._parts(len(columns)):
            error = self._error(number, columns[part])[1]
            out[part] = self.bands.held_out.score(number, error, columns[part]).double()
        return out

    def evaluate(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean held-out score (t,); the weights of the fit to all rows are a solve of their own."""
        scores = [self.fold_score(number, columns) for number in range(len(self.bands.folds))]
        return self.bands.held_out.mean(torch.stack(scores), columns), None

    def weights(self, columns: torch.Tensor) -> torch.Tensor:
        """Coefficients (p, t) of the scaled and centred features, fitted to all rows."""
        scale = self.scale.to(self.dtype)[:, None]
        right = scale * self.bands.whole_cross[:, columns].to(self.dtype)
        found: torch.Tensor = scale * (self._invert(self.bands.whole) @ right)
        return found.to(self.bands.Y.dtype)

    def gradient(self, columns: torch.Tensor) -> torch.Tensor:
        """Derivative of the mean held-out score by log gamma_j at a fixed penalty, (n_bands, t)."""
        bands = self.bands
        out = torch.zeros(bands.n_bands, len(columns), dtype=torch.float64, device=columns.device)
        for part in self._parts(len(columns)):
            for number in range(len(bands.folds)):
                B, error = self._error(number, columns[part])
                slope = bands.held_out.slope(number, error, columns[part])
                z = self._solve(number, bands.tests[number].T @ slope)
                found = torch.zeros(bands.n_bands, B.shape[1], dtype=torch.float64, device=columns.device)
                out[:, part] += self.alpha * found.index_add_(0, bands.band, (z * B).double())
        return out

    def _parts(self, n: int) -> Iterator[slice]:
        """Cut n columns on fixed edges so that each part stays below the block size."""
        size = max(1, _BLOCK_BYTES // (8 * 4 * max(self.bands.X.shape)))
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))
