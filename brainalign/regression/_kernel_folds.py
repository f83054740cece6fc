"""Held-out predictions of ridge from its kernel: all folds from one inverse per penalty.

With K the weighted, centred kernel, M = (K + alpha I)^-1 on the space orthogonal to the
intercept, and F the rows that a fold leaves out, the errors of a refit without F are
``(M_FF)^-1 (M Y)_F``, the fold's own centring included (Liland, Skogholt & Indahl 2022,
arXiv:2211.15128). Written for the training rows this is one matrix per fold and penalty,
which does not depend on the responses: ``predictions = -(M_FF)^-1 M_F,train Y_train``.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch

from brainalign.errors import InputError
from brainalign.regression._folds import Fold

# outside of these ratios of penalty to largest eigenvalue float32 would lose the digits of a
# score (below) or of a prediction beside the mean (above): the inverse is taken in float64
_SAFE_RATIO = (1e-3, 1e2)
# the smallest eigenvalue of every training kernel costs a factor of each
_FEW_FOLDS = 10
# matrices of more rows are inverted in halves
_WHOLE = 256
# far above, the inverse of all rows is nothing but 1 / alpha: the training rows are factored
_FAR = 1e8


class KernelFolds:
    """The kernel of all rows, and what each fold and penalty makes of it.

    Parameters
    ----------
    kernel : (n, n) symmetric, float64; neither centred nor weighted
    folds : folds of these n rows
    weights : (n,) trials behind each row, or None
    intercept : remove the weighted mean of the training rows of each fold
    dtype : of the matrices that responses are multiplied with
    centred : the kernel is centred and weighted already, and may be overwritten
    factored : factor the training kernel of every fold instead of using one inverse

    Notes
    -----
    Cost of one penalty: n^3 for the inverse, and |F|^2 (n + |F| / 3) per fold. Memory:
    3 n^2 float64 and what the caller keeps.
    """

    def __init__(
        self,
        kernel: torch.Tensor,
        folds: Sequence[Fold],
        *,
        weights: torch.Tensor | None = None,
        intercept: bool = True,
        dtype: torch.dtype = torch.float64,
        centred: bool = False,
        factored: bool = False,
    ) -> None:
        n = len(kernel)
        kernel = kernel.to(torch.float64)
        self.folds = [fold.to(kernel.device) for fold in folds]
        self.dtype, self.factored = dtype, factored
        ones = torch.ones(n, dtype=torch.float64, device=kernel.device)
        self.root = ones if weights is None else weights.to(ones).sqrt()
        if not centred:
            kernel = centre_kernel(kernel, self.root, intercept=intercept)
        self.trace = float(kernel.trace())
        # in units of the mean eigenvalue nothing overflows, whatever the features are measured in
        self.size = self.trace / n if self.trace > 0 else 1.0
        self.kernel = kernel.div_(self.size)
        self.axis = self.root / self.root.norm() if intercept else None
        if self.axis is not None:
            # the intercept direction has eigenvalue 0; given that of the others its inverse
            # can be subtracted without losing the digits of a small penalty
            self.kernel.addr_(self.axis, self.axis)
        self.largest = largest_eigenvalue(self.kernel)

    def with_folds(self, folds: Sequence[Fold]) -> KernelFolds:
        """The same kernel with other folds of its rows."""
        other = copy(self)
        other.folds = [fold.to(self.kernel.device) for fold in folds]
        return other

    def inverse(self, alpha: float) -> torch.Tensor:
        """M (n, n) for one penalty, in units of 1 / `size`."""
        inverse = spd_inverse(self._shifted(alpha))
        if self.axis is not None:
            axis = self.axis.to(inverse.dtype)
            inverse.addr_(axis, axis, alpha=-1 / (1 + alpha / self.size))
        return inverse

    def operators(self, alpha: float) -> list[torch.Tensor]:
        """One matrix per fold, (n_test, n_train): predictions of the test rows from ``Y[train]``.

        They are those of ridge with penalty `alpha` refitted on the training rows of the fold.
        """
        parts = zip(self.centred_operators(alpha), self.folds, strict=True)
        return [(part + self.share(fold)).to(self.dtype) for part, fold in parts]

    def share(self, fold: Fold) -> torch.Tensor:
        """Weights of the training rows in their mean, (n_train,); zero without an intercept."""
        weights = self.root[fold.train].square()
        return weights / weights.sum() if self.axis is not None else torch.zeros_like(weights)

    def centred_operators(self, alpha: float) -> list[torch.Tensor]:
        """As `operators`, for the prediction less the mean of the training rows; float64.

        Apart from that mean nothing is lost at penalties far above the spectrum, whose
        predictions are small beside it.
        """
        factored = [self._factors(fold, alpha) for fold in self.folds]
        inverse = None if all(factored) else self.inverse(alpha)
        return [
            self.factored_operator(alpha, fold) if inverse is None or alone else self._operator(fold, inverse)
            for fold, alone in zip(self.folds, factored, strict=True)
        ]

    def _factors(self, fold: Fold, alpha: float) -> bool:
        """Whether the training rows of a fold are factored instead of using the inverse of all."""
        few_remain = 2 * len(fold.absent) > len(self.kernel)
        return self.factored or few_remain or alpha / self.size > _FAR * self.largest

    def _operator(self, fold: Fold, inverse: torch.Tensor) -> torch.Tensor:
        root = self.root.to(inverse.dtype)
        block = inverse[fold.absent]
        left, right = block[:, fold.absent], block[:, fold.train]
        # a small inverse and a product: triangular solves of many columns are slower
        solved = spd_inverse(left)[fold.where] @ (right * root[fold.train])
        return -(solved / root[fold.test, None]).to(torch.float64) - self.share(fold)

    def factored_operator(self, alpha: float, fold: Fold) -> torch.Tensor:
        """The centred operator of one fold from its training rows alone, (n_test, n_train) float64."""
        train, test, root = fold.train, fold.test, self.root
        seen, mean = self.training_kernel(fold)
        seen.diagonal().add_(alpha / self.size)
        other = self.kernel[test][:, train] * (1 / root[test])[:, None]
        if self.axis is None:
            return cholesky_solve(seen, other.T).T * root[train]
        other = other - torch.outer(self.axis[test] / root[test], self.axis[train])
        share = root[train] / root[train].square().sum()
        other = other - (other @ share)[:, None] * root[train]
        other = other - mean + (share @ mean) * root[train]
        operator = cholesky_solve(seen, other.T).T * root[train]
        return operator - torch.outer(operator.sum(1), self.share(fold))

    def training_kernel(self, fold: Fold) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel of the training rows of a fold less their own mean, and that mean, in units of `size`.

        The direction of the intercept has an eigenvalue of the size of the mean one.
        """
        train = fold.train
        seen = self.kernel[train][:, train]
        if self.axis is None:
            return seen, torch.zeros_like(seen[0])
        root, own = self.root[train], self.axis[train]
        seen.addr_(own, own, alpha=-1)
        # centre by the weighted mean of the training rows
        share = root / root.square().sum()
        mean = seen @ share
        seen.addr_(mean, root, alpha=-1).addr_(root, mean, alpha=-1)
        seen.addr_(root, root, alpha=float(share @ mean))
        axis = root / root.norm()
        return seen.addr_(axis, axis, alpha=len(self.kernel) / len(train)), mean

    def lowest(self, share: float) -> float:
        """About the eigenvalue below which a `share` of those of a training kernel lie (0: the smallest).

        The least of all folds; of many folds, the bound that the kernel of all rows is.
        """
        if len(self.folds) > _FEW_FOLDS:
            return low_eigenvalue(self.kernel, share)
        return min(low_eigenvalue(self.training_kernel(fold)[0], share) for fold in self.folds)

    def dual_weights(self, alpha: float, Y: torch.Tensor) -> torch.Tensor:
        """Dual weights (n, t) of all rows for one penalty; `Y` (n, t) not weighted.

        New rows with kernel k (m, n) against the training rows are predicted by ``k @
        weights`` plus a constant (see `intercepts`); with an intercept the weights sum to 0.
        """
        return self.solve(self.factor(alpha), Y)

    def _shifted(self, alpha: float) -> torch.Tensor:
        """Kernel plus penalty, in float32 where that keeps the digits of a score."""
        shift = alpha / self.size
        safe = _SAFE_RATIO[0] * self.largest < shift < _SAFE_RATIO[1] * self.largest
        matrix = self.kernel.to(self.dtype if safe else torch.float64, copy=True)
        matrix.diagonal().add_(shift)
        return matrix

    def factor(self, alpha: float) -> torch.Tensor:
        """Cholesky factor of the system for one penalty, filled up to a multiple of 8 rows; see `solve`."""
        factor = cholesky(self._shifted(alpha))
        more = -len(factor) % 8
        if not more:
            return factor
        # columns of equal alignment are solved alike, wherever they stand
        factor = torch.nn.functional.pad(factor, (0, more, 0, more))
        factor.diagonal()[-more:] = 1
        return factor

    def solve(self, factor: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        """Dual weights (n, t) from the factor of their penalty."""
        n, root = len(self.root), self.root.to(factor.dtype)[:, None]
        rows = Y.to(factor.dtype) * root
        if self.axis is not None:
            axis = self.axis.to(factor.dtype)
            rows = rows - torch.outer(axis, axis @ rows)
        if len(factor) > n:
            rows = torch.nn.functional.pad(rows, (0, 0, 0, len(factor) - n))
        return (torch.cholesky_solve(rows, factor)[:n] * root / self.size).to(self.dtype)


def centre_kernel(kernel: torch.Tensor, root: torch.Tensor, *, intercept: bool) -> torch.Tensor:
    """Kernel of rows centred by their weighted mean and multiplied by `root`, (n, n) float64."""
    kernel = kernel.to(torch.float64)
    if intercept:
        share = root.square() / root.square().sum()
        mean = kernel @ share
        kernel = kernel - (mean[:, None] + mean[None, :] - share @ mean)
    # products of equal roots are equal in both triangles, so the kernel stays symmetric
    return kernel * torch.outer(root, root)


def cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Lower factor; to a matrix that rounding made indefinite its own rounding is added, in float64.

    Raises
    ------
    InputError
        The matrix is not finite, or no covariance at all: features or a kernel that overflow,
        or a kernel with large negative eigenvalues.
    """
    factor: torch.Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not bool(failed.any()):
        return factor
    wide = matrix.to(torch.float64, copy=True)
    size = float(wide.diagonal().abs().max())
    rounding = max(torch.finfo(matrix.dtype).eps * len(matrix) * size, 1e-300)
    while np.isfinite(size) and rounding <= max(1e-3 * size, 1e-300):
        wide.diagonal().add_(rounding)
        factor, failed = torch.linalg.cholesky_ex(wide)
        if not bool(failed.any()):
            return factor.to(matrix.dtype)
        rounding = 10 * rounding
    raise InputError(
        "the kernel or Gram matrix is not positive semi-definite or not finite; check the features for "
        "values that overflow, and that a kernel of your own is a kernel"
    )


def cholesky_solve(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``matrix^-1 right`` for a symmetric positive definite matrix."""
    return torch.cholesky_solve(right, cholesky(matrix))


def spd_inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Inverse of a symmetric positive definite matrix, n^3.

    In halves down to `_WHOLE` rows, by the Schur complement: a third more operations than one
    factor takes, but as products, which run at several times the rate.
    """
    inverse = inverse_in_halves(matrix)
    return torch.cholesky_inverse(cholesky(matrix)) if inverse is None else inverse


def inverse_in_halves(matrix: torch.Tensor) -> torch.Tensor | None:
    """The inverse, or None where rounding has made a part of it indefinite."""
    n = len(matrix)
    if n <= _WHOLE:
        factor, failed = torch.linalg.cholesky_ex(matrix)
        return None if bool(failed.any()) else torch.cholesky_inverse(factor)
    half = n // 2
    first = inverse_in_halves(matrix[:half, :half])
    if first is None:
        return None
    solved = first @ matrix[:half, half:]
    second = inverse_in_halves(matrix[half:, half:].addmm(matrix[half:, :half], solved, alpha=-1))
    if second is None:
        return None
    out = torch.empty_like(matrix)
    out[half:, half:] = second
    corner = (solved @ second).neg_()
    out[:half, half:] = corner
    out[half:, :half] = corner.T
    out[:half, :half] = first.addmm_(corner, solved.T, alpha=-1)
    return out


def largest_eigenvalue(matrix: torch.Tensor) -> float:
    """Largest eigenvalue of a symmetric positive semi-definite matrix, from below, within a few per cent."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(len(matrix), generator=generator, dtype=torch.float64).to(matrix)
    size = 0.0
    for _ in range(60):
        vector = matrix @ (vector / vector.norm())
        size = float(vector.norm())
        if size == 0:
            break
    return size


def low_eigenvalue(matrix: torch.Tensor, share: float) -> float:
    """About the eigenvalue below which a `share` of all lie, of a symmetric positive definite matrix.

    With a share of 0 the smallest, from above, to less than a per cent. Twelve Lanczos steps on the
    inverse from four random vectors: their Ritz values, weighted by the first components, stand
    for the spectrum (stochastic Lanczos quadrature, Ubaru, Chen & Saad 2017, DOI
    10.1137/16M1104974). Cost: n^3 / 3 + 100 n^2.
    """
    steps, probes = min(12, len(matrix)), 4
    factor = cholesky(matrix)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(matrix), probes, generator=generator, dtype=torch.float64).to(matrix)
    basis = [start / start.norm(dim=0)]
    tridiagonal = torch.zeros(probes, steps, steps, dtype=matrix.dtype, device=matrix.device)
    for step in range(steps):
        vector = torch.cholesky_solve(basis[-1], factor)
        tridiagonal[:, step, step] = (vector * basis[-1]).sum(0)
        for _ in range(2):  # orthogonal to all before, twice: rounding would repeat an eigenvalue
            for earlier in basis:
                vector = vector - earlier * (vector * earlier).sum(0)
        size = vector.norm(dim=0)
        if step + 1 < steps:
            tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = size
        basis.append(vector / size.clamp_min(torch.finfo(matrix.dtype).tiny))
    inverse, vectors = torch.linalg.eigh(tridiagonal)
    order = inverse.flatten().argsort(descending=True)
    counted = (vectors[:, 0].square().flatten()[order] / probes).cumsum(0)
    place = int((counted >= share).to(torch.uint8).argmax())
    return float(1 / inverse.flatten()[order][place])
