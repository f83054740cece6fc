"""Ridge on every subset of feature spaces from one kernel a space: more columns than samples.

The kernel of a subset is the sum of those of its spaces, so no column is read twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from brainalign.regression._folds import Fold
from brainalign.regression._kernel_folds import KernelFolds
from brainalign.regression._partition_scale import space_sizes
from brainalign.regression._paths import KernelPath
from brainalign.regression._search import score_grid
from brainalign.regression._sources import Block

STACK_BYTES = 2**29


class KernelSpaces:
    """One kernel a space.

    Parameters
    ----------
    kernels : one (n, n) float64 a space, not weighted
    weights : (n,) trials behind each row
    intercept : whether the training means are removed
    """

    def __init__(self, kernels: Sequence[torch.Tensor], weights: torch.Tensor, *, intercept: bool) -> None:
        self.kernels = list(kernels)
        self.traces = [float(kernel.diagonal().mean()) for kernel in self.kernels]
        self.weights = weights
        self.intercept = intercept

    def products(self, block: Block) -> KernelBlock:
        """One block of targets beside the kernels."""
        return KernelBlock(self, block)


class KernelBlock:
    """One block of targets beside the kernels."""

    def __init__(self, spaces: KernelSpaces, block: Block) -> None:
        self.spaces = spaces
        self.block = block

    def fold(self, fold: Fold, inner: Sequence[Fold], *, equal_trace: bool) -> KernelFold:
        """The models of one outer fold; `inner` are folds of its training rows."""
        return KernelFold(self, fold, inner, equal_trace=equal_trace)


class KernelFold:
    """Ridge models of all subsets of spaces on the training rows of one outer fold."""

    def __init__(self, targets: KernelBlock, fold: Fold, inner: Sequence[Fold], *, equal_trace: bool) -> None:
        self.targets, self.fold_rows, self.inner = targets, fold, inner
        spaces = targets.spaces
        self.weights = spaces.weights[fold.train]
        share = self.weights / self.weights.sum()
        self.share = share if spaces.intercept else torch.zeros_like(share)
        self.train = replace(targets.block, values=targets.block.values[fold.train])
        self.train_mean = share @ self.train.values.to(torch.float64)
        self.offset = self.train_mean if spaces.intercept else torch.zeros_like(self.train_mean)
        traces = []
        for kernel in spaces.kernels:
            seen = kernel[fold.train][:, fold.train]
            traces.append(float(share @ seen.diagonal() - self.share @ seen @ self.share))
        self.sizes, self.scale = space_sizes(traces, spaces.traces, equal_trace=equal_trace)
        self._last: tuple[tuple[int, ...], KernelPath] | None = None

    def _kernel(self, members: Sequence[int], rows: torch.Tensor) -> torch.Tensor:
        """Kernel of some spaces between `rows` and the training rows."""
        out = torch.zeros(len(rows), len(self.weights), dtype=torch.float64, device=rows.device)
        for j in members:
            out += self.scale[j] * self.targets.spaces.kernels[j][rows][:, self.fold_rows.train]
        return out

    def _path(self, members: Sequence[int]) -> KernelPath:
        """Scores and refits of one subset; the last is kept, for the refit follows the scores."""
        key = tuple(members)
        if self._last is None or self._last[0] != key:
            self._last = None
            solver = KernelFolds(
                self._kernel(members, self.fold_rows.train),
                self.inner,
                weights=self.weights,
                intercept=self.targets.spaces.intercept,
                dtype=self.train.values.dtype,
            )
            self._last = key, KernelPath(solver, "r2")
        return self._last[1]

    def scores(self, members: Sequence[int], alphas: Sequence[float]) -> torch.Tensor:
        """R2 over the inner folds, (n_alphas, t) float64.

        Where their n x n matrices fit, all penalties go at once and some are combined of others.
        """
        path, train = self._path(members), self.train.values
        mixture = path.combination(alphas)
        n_nodes = len(alphas) if mixture is None else len(mixture.nodes)
        if n_nodes * len(train) ** 2 * train.element_size() <= STACK_BYTES:
            path.prepare(alphas)
            return score_grid(path, self.train)
        out = []
        for alpha in alphas:
            path.prepare([alpha])
            out.append(score_grid(path, self.train))
        return torch.cat(out)

    def _dual_weights(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        path = self._path(members)
        path.prepare_refit(sorted(set(alphas.tolist())))
        return path.refit(self.train, alphas)

    def contributions(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        """What each member adds to the predictions of the test rows, (n_members, n_test, t)."""
        weights = self._dual_weights(members, alphas)
        return torch.stack([self._predict([j], weights) for j in members])

    def predictions(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        """Predictions of the test rows less `offset`, (n_test, t)."""
        return self._predict(members, self._dual_weights(members, alphas))

    def _predict(self, members: Sequence[int], weights: torch.Tensor) -> torch.Tensor:
        kernel = self._kernel(members, self.fold_rows.test)
        if self.targets.spaces.intercept:
            # the dual weights sum to zero: only the side of the new rows is left to centre
            kernel -= self.share @ self._kernel(members, self.fold_rows.train)
        return kernel.to(weights.dtype) @ weights
