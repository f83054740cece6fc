"""Banded ridge through the kernels of the bands (n x n).

With M the inverse of ``sum_j gamma_j K_j + alpha I`` projected off the intercept, the errors of
the rows F that a fold leaves out are ``(M_FF)^-1 (M Y)_F``, as if the fold had been refitted
with its own centring (Liland, Skogholt & Indahl 2022, arXiv:2211.15128). Their derivative by
``log gamma_j`` follows from ``dM = -M (gamma_j K_j) M``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from brainalign.regression._banded_errors import HeldOutScores
from brainalign.regression._banded_factor import (
    FLOAT32_PENALTY,
    block_inverse,
    largest_eigenvalue,
    lifted_cholesky,
)
from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import inverse_in_halves

_BLOCK_BYTES = 1 << 28


@dataclass(frozen=True)
class DualBands:
    """What no band weight and no penalty changes.

    `kernels`: n_bands matrices (n, n), rows multiplied by the root of their weight and, with
    intercept, centred by the weighted mean; `Y` (n, t) responses treated likewise; `root` (n,)
    roots of the weights.
    """

    kernels: Sequence[torch.Tensor]
    Y: torch.Tensor
    root: torch.Tensor
    folds: Sequence[Fold]
    held_out: HeldOutScores
    intercept: bool

    @property
    def n_bands(self) -> int:
        return len(self.kernels)

    @property
    def weight_rows(self) -> int:
        """Rows of the weights of a fit: one per sample."""
        return len(self.root)

    def at(self, gamma: torch.Tensor) -> DualKernel:
        """The kernel of the band weights `gamma` (n_bands,)."""
        return DualKernel(self, gamma)


class DualKernel:
    """The weighted sum of the kernels; one `DualFit` per penalty."""

    def __init__(self, bands: DualBands, gamma: torch.Tensor) -> None:
        self.bands = bands
        self.gamma = gamma.tolist()
        self.total = torch.zeros_like(bands.kernels[0])
        for weight, kernel in zip(self.gamma, bands.kernels, strict=True):
            if weight:
                self.total.add_(kernel, alpha=weight)

    @cached_property
    def largest(self) -> float:
        """The largest eigenvalue, from below."""
        return largest_eigenvalue(self.total)

    def fit(self, alpha: float) -> DualFit:
        """One penalty; factored when it is asked for."""
        return DualFit(self, alpha)


class DualFit:
    """One pair of band weights and penalty."""

    def __init__(self, kernel: DualKernel, alpha: float) -> None:
        self.kernel, self.bands, self.alpha = kernel, kernel.bands, alpha
        single = alpha >= FLOAT32_PENALTY * kernel.largest and kernel.total.dtype == torch.float32
        self.dtype = torch.float32 if single else torch.float64

    def _system(self, dtype: torch.dtype) -> torch.Tensor:
        """Kernel + alpha I, and the intercept made an eigenvector of its own.

        Centred kernels have eigenvalue 0 in the direction of the intercept. Its 1/alpha would
        later be subtracted from numbers of the same size, and small penalties would lose digits.
        """
        system = self.kernel.total.to(dtype, copy=True)
        system.diagonal().add_(self.alpha)
        if self.bands.intercept:
            direction = self.direction.to(dtype)
            system.addr_(direction * system.diagonal().mean(), direction)
        return system

    @cached_property
    def factor(self) -> torch.Tensor:
        """Cholesky factor of the system, in float64 where rounding of float32 made it indefinite."""
        if self.dtype == torch.float32:
            factor: torch.Tensor
            factor, failed = torch.linalg.cholesky_ex(self._system(torch.float32))
            if not failed:
                return factor
        return lifted_cholesky(self._system(torch.float64))

    @property
    def direction(self) -> torch.Tensor:
        root = self.bands.root
        direction: torch.Tensor = root / root.norm()
        return direction

    @cached_property
    def inverse(self) -> torch.Tensor:
        """M (n, n) in the dtype of the responses; n^3."""
        found = inverse_in_halves(self._system(self.dtype))
        inverse = torch.cholesky_inverse(self.factor) if found is None else found
        if self.bands.intercept:
            line = inverse @ self.direction.to(inverse.dtype)
            inverse -= torch.outer(line / (self.direction.to(line.dtype) @ line), line)
        return inverse.to(self.bands.Y.dtype)

    def _rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Some rows of M (n_rows, n), cheaper than all: n^2 n_rows."""
        unit = torch.zeros(len(self.factor), len(rows) + 1, dtype=self.factor.dtype, device=rows.device)
        unit[rows, torch.arange(len(rows), device=rows.device)] = 1
        unit[:, -1] = self.direction
        solved = torch.cholesky_solve(unit, self.factor)
        found, line = solved[:, :-1], solved[:, -1]
        if self.bands.intercept:
            found = found - torch.outer(line / (unit[:, -1] @ line), line[rows])
        return found.T.to(self.bands.Y.dtype)

    @cached_property
    def _blocks(self) -> list[torch.Tensor]:
        """Inverses of M_FF for every fold: products with them run at twice the speed of solves."""
        return [block_inverse(self.inverse[f.absent][:, f.absent]) for f in self.bands.folds]

    def evaluate(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean held-out score (t,), and the weights (n, t) of the fit to all rows as a by-product."""
        weights = self.weights(columns)
        scores = [
            self.bands.held_out.score(number, error, columns)
            for number, (_, error) in enumerate(self._errors(weights))
        ]
        return self.bands.held_out.mean(torch.stack(scores), columns), weights

    def weights(self, columns: torch.Tensor) -> torch.Tensor:
        """Weights M Y of the fit to all rows, (n, t)."""
        return self.inverse @ self.bands.Y.index_select(1, columns)

    def _errors(self, weights: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each fold the errors of the rows left out (weighted), and those of its test rows."""
        for fold, block in zip(self.bands.folds, self._blocks, strict=True):
            absent = block @ weights[fold.absent]
            yield absent, absent[fold.where] / self.bands.root[fold.test, None].to(absent.dtype)

    def fold_score(self, number: int, columns: torch.Tensor) -> torch.Tensor:
        """Score (t,) of one fold alone: n^3 / 3 + n^2 |F| + 2 n |F| t."""
        fold, bands = self.bands.folds[number], self.bands
        rows = self._rows(fold.absent)
        out = torch.empty(len(columns), dtype=torch.float64, device=columns.device)
        block = block_inverse(rows[:, fold.absent])
        for part in _parts(len(columns), len(self.bands.root) * bands.Y.element_size()):
            absent = block @ (rows @ bands.Y.index_select(1, columns[part]))
            error = absent[fold.where] / bands.root[fold.test, None].to(absent.dtype)
            out[part] = bands.held_out.score(number, error, columns[part]).double()
        return out

    def gradient(self, columns: torch.Tensor) -> torch.Tensor:
        """Derivative of the mean held-out score by log gamma_j at a fixed penalty, (n_bands, t).

        Cost: 2 n^2 t (2 + (n_bands - 1) n_folds).
        """
        out = torch.empty(self.bands.n_bands, len(columns), dtype=torch.float64, device=columns.device)
        per_column = 3 * len(self.bands.folds) * len(self.bands.root) * self.bands.Y.element_size()
        for part in _parts(len(columns), per_column):
            out[:, part] = self._gradient(columns[part])
        return out

    def _gradient(self, columns: torch.Tensor) -> torch.Tensor:
        weights, bands, M = self.weights(columns), self.bands, self.inverse
        fitted, adjoint = [], []
        product = torch.zeros(len(columns), dtype=torch.float64, device=columns.device)
        for number, (absent, error) in enumerate(self._errors(weights)):
            fold = bands.folds[number]
            slope = torch.zeros_like(absent)
            root = bands.root[fold.test, None].to(error.dtype)
            slope[fold.where] = bands.held_out.slope(number, error, columns) / root
            columns_of_m = M[:, fold.absent]
            v = columns_of_m @ (self._blocks[number] @ slope)
            w = weights - columns_of_m @ absent
            # what the kernel makes of w: the responses, less alpha w, less the errors left out
            product += (v * bands.Y[:, columns]).sum(0).double() - self.alpha * (v * w).sum(0).double()
            product -= (v[fold.absent] * absent).sum(0).double()
            fitted.append(w)
            adjoint.append(v)
        fitted_all, adjoint_all = torch.cat(fitted, 1), torch.cat(adjoint, 1)
        out = torch.zeros(bands.n_bands, len(columns), dtype=torch.float64, device=columns.device)
        gamma = self.kernel.gamma
        # all bands together are known: the heaviest is what the others leave
        heaviest = max(range(len(gamma)), key=gamma.__getitem__)
        for j, (weight, kernel) in enumerate(zip(gamma, bands.kernels, strict=True)):
            if weight and j != heaviest:
                found = (adjoint_all * (kernel @ fitted_all)).sum(0).double()
                out[j] = weight * found.reshape(len(fitted), -1).sum(0)
        out[heaviest] = product - out.sum(0)
        return out


def _parts(n: int, bytes_each: int) -> Iterator[slice]:
    """Cut n columns on fixed edges so that each part stays below the block size."""
    size = max(1, _BLOCK_BYTES // max(1, bytes_each))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
