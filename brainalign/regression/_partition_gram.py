"""Ridge on every subset of feature spaces from one Gram matrix: fewer columns than samples.

Sums over rows (of x, x x', y, x y') add up: those of a training part are those of all rows
less those that it leaves out, and a subset of spaces is a block of rows and columns of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from brainalign._linalg import eigh_psd
from brainalign.regression._folds import Fold
from brainalign.regression._partition_scale import space_sizes
from brainalign.regression._scoring import MeanOverFolds, score_sums
from brainalign.regression._sources import Block, Features
from brainalign.regression._spaces import slices_of

_CACHE_BYTES = 2**30


@dataclass(frozen=True)
class Moments:
    """Sums over some rows: `weight`, `x` (p,), `gram` (p, p), `y` (t,), `cross` (p, t)."""

    weight: float
    x: torch.Tensor
    gram: torch.Tensor
    y: torch.Tensor
    cross: torch.Tensor

    def on(self, columns: torch.Tensor) -> Moments:
        """The sums of some columns."""
        gram = self.gram[columns][:, columns]
        return Moments(self.weight, self.x[columns], gram, self.y, self.cross[columns])

    def less(self, other: Moments) -> Moments:
        """The sums without the rows of `other`."""
        return Moments(
            self.weight - other.weight,
            self.x - other.x,
            self.gram - other.gram,
            self.y - other.y,
            self.cross - other.cross,
        )

    def centred(self, scale: torch.Tensor, *, intercept: bool) -> Moments:
        """Means in place of the sums `x` and `y`, products about them, of columns times `scale`.

        Without intercept the means are zero.
        """
        x, y = self.x * scale / self.weight, self.y / self.weight
        gram = self.gram * torch.outer(scale, scale)
        cross = self.cross * scale.to(self.cross.dtype)[:, None]
        if not intercept:
            return Moments(self.weight, 0 * x, gram, 0 * y, cross)
        gram.addr_(x, x, alpha=-self.weight)
        cross.addr_(x.to(cross.dtype), y.to(cross.dtype), alpha=-self.weight)
        return Moments(self.weight, x, gram, y, cross)


@dataclass(frozen=True)
class Remainder:
    """Sums over rows that are those of `whole` less those of each of `absent`.

    The difference is taken for the columns of one subset at a time: no Gram matrix of a
    training part is stored.
    """

    whole: Moments
    absent: tuple[Moments, ...] = ()

    def without(self, other: Moments) -> Remainder:
        return Remainder(self.whole, (*self.absent, other))

    def on(self, columns: torch.Tensor) -> Moments:
        """The sums of some columns."""
        found = self.whole.on(columns)
        for part in self.absent:
            found = found.less(part.on(columns))
        return found

    def traces(self, columns: Sequence[slice], *, intercept: bool) -> list[float]:
        """Mean squared norm of the centred rows in each space."""
        weight, x, squares = self.whole.weight, self.whole.x, self.whole.gram.diagonal()
        for part in self.absent:
            weight, x, squares = weight - part.weight, x - part.x, squares - part.gram.diagonal()
        squares = squares / weight - (x / weight).square() * float(intercept)
        return [float(squares[c].sum()) for c in columns]


class GramSpaces:
    """All spaces side by side, and their Gram matrices over sets of rows.

    Parameters
    ----------
    features : all columns, (n, p)
    columns : which of them each space holds
    weights : (n,) trials behind each row
    intercept : whether the training means are removed
    """

    def __init__(
        self, features: Features, columns: Sequence[slice], weights: torch.Tensor, *, intercept: bool
    ) -> None:
        self.features = features
        self.columns = list(columns)
        self.weights = weights
        self.intercept = intercept
        self.equal = bool((weights == 1).all())
        self._grams: dict[tuple[bytes, bool], tuple[float, torch.Tensor, torch.Tensor]] = {}

    def sums(self, rows: torch.Tensor, *, weighted: bool) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Weight, sum of rows (p,) and Gram matrix (p, p) of some rows; kept while there is room."""
        weighted = weighted and not self.equal
        key = rows.cpu().numpy().tobytes(), weighted
        if key not in self._grams:
            part = self.features.take(rows).to(torch.float64)
            weight = self.weights[rows] if weighted else torch.ones_like(self.weights[rows])
            found = float(weight.sum()), weight @ part, self.features.gram(rows, weighted=weighted)
            if (len(self._grams) + 1) * 8 * part.shape[1] ** 2 > _CACHE_BYTES:
                return found
            self._grams[key] = found
        return self._grams[key]

    def products(self, block: Block) -> GramBlock:
        """The products of one block of targets with all columns."""
        return GramBlock(self, block)

    def members(self, spaces: Sequence[int]) -> torch.Tensor:
        """Columns of some spaces."""
        device = self.weights.device
        parts = [torch.arange(self.columns[j].start, self.columns[j].stop, device=device) for j in spaces]
        return torch.cat(parts)


class GramBlock:
    """One block of targets with its products with all columns, over sets of rows."""

    def __init__(self, spaces: GramSpaces, block: Block) -> None:
        self.spaces = spaces
        self.block = block
        self._kept: dict[tuple[bytes, bool], Moments] = {}

    def moments(self, rows: torch.Tensor, *, weighted: bool) -> Moments:
        """Sums over some rows."""
        weighted = weighted and not self.spaces.equal
        key = rows.cpu().numpy().tobytes(), weighted
        if key not in self._kept:
            weight, x, gram = self.spaces.sums(rows, weighted=weighted)
            Y = self.block.values[rows]
            if weighted:
                Y = Y * self.spaces.weights[rows, None].to(Y.dtype)
            cross = self.spaces.features.take(rows).T @ Y
            found = Moments(weight, x, gram, Y.to(torch.float64).sum(0), cross)
            if (len(self._kept) + 1) * cross.element_size() * cross.numel() > _CACHE_BYTES:
                return found
            self._kept[key] = found
        return self._kept[key]

    def training(self, whole: Remainder, train: torch.Tensor, absent: torch.Tensor) -> Remainder:
        """Sums over training rows, from those of `whole` or by themselves, what is less work."""
        if len(absent) > len(train):
            return Remainder(self.moments(train, weighted=True))
        return whole.without(self.moments(absent, weighted=True))

    def fold(self, fold: Fold, inner: Sequence[Fold], *, equal_trace: bool) -> GramFold:
        """The models of one outer fold; `inner` are folds of its training rows."""
        return GramFold(self, fold, inner, equal_trace=equal_trace)


class GramFold:
    """Ridge models of all subsets of spaces on the training rows of one outer fold."""

    def __init__(self, targets: GramBlock, fold: Fold, inner: Sequence[Fold], *, equal_trace: bool) -> None:
        self.targets, self.fold_rows, self.inner = targets, fold, inner
        spaces = targets.spaces
        everything = torch.arange(len(spaces.weights), device=spaces.weights.device)
        whole = Remainder(targets.moments(everything, weighted=True))
        self.train = targets.training(whole, fold.train, fold.absent)
        traces = [sums.traces(spaces.columns, intercept=spaces.intercept) for sums in (self.train, whole)]
        self.sizes, factors = space_sizes(*traces, equal_trace=equal_trace)
        self.scale = torch.empty(spaces.features.shape[1], dtype=torch.float64, device=everything.device)
        for columns, factor in zip(spaces.columns, factors, strict=True):
            self.scale[columns] = factor**0.5
        weights = spaces.weights[fold.train]
        share = weights / weights.sum()
        self.train_mean = share @ targets.block.values[fold.train].to(torch.float64)
        self.offset = self.train_mean if spaces.intercept else torch.zeros_like(self.train_mean)
        self.test_rows = spaces.features.take(fold.test)
        if spaces.intercept:
            mean = share @ spaces.features.take(fold.train).to(torch.float64)
            self.test_rows = self.test_rows - mean.to(self.test_rows)
        self.parts = [self._inner(part) for part in inner]

    def _inner(self, part: Fold) -> tuple[Remainder, Moments, torch.Tensor]:
        """Training and test sums of one inner fold, and the squares of its test responses."""
        rows = self.fold_rows.train
        test_rows = rows[part.test]
        train = self.targets.training(self.train, rows[part.train], rows[part.absent])
        test = self.targets.moments(test_rows, weighted=False)
        observed = self.targets.block.values[test_rows]
        total = (observed - observed.mean(0)).square().sum(0)
        flat = self.targets.block.flat(test_rows) | (total == 0)
        return train, test, torch.where(flat, torch.full_like(total, float("nan")), total)

    def scores(self, members: Sequence[int], alphas: Sequence[float]) -> torch.Tensor:
        """R2 over the inner folds, (n_alphas, t) float64."""
        spaces = self.targets.spaces
        columns = spaces.members(members)
        scale = self.scale[columns]
        grid = torch.as_tensor(alphas, dtype=torch.float64, device=columns.device)
        mean = MeanOverFolds((len(grid), len(self.offset)), grid.device)
        for train, test, total in self.parts:
            seen = train.on(columns).centred(scale, intercept=spaces.intercept)
            mean.add(_score(seen, test.on(columns).centred(scale, intercept=True), total, grid))
        return mean.mean()

    def coefficients(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        """Weights (p_members, t) of the unscaled columns, each target with its own penalty (t,)."""
        columns = self.targets.spaces.members(members)
        scale = self.scale[columns]
        train = self.train.on(columns).centred(scale, intercept=self.targets.spaces.intercept)
        values, vectors = eigh_psd(train.gram)
        dtype = train.cross.dtype
        basis = vectors.to(dtype)
        shrink = (1 / (values[:, None] + alphas)).to(dtype)
        weights: torch.Tensor = basis @ (shrink * (basis.T @ train.cross))
        return weights * scale.to(dtype)[:, None]

    def contributions(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        """What each member adds to the predictions of the test rows, (n_members, n_test, t)."""
        weights = self.coefficients(members, alphas)
        columns = [self.targets.spaces.columns[j] for j in members]
        own = slices_of([c.stop - c.start for c in columns])
        return torch.stack([self.test_rows[:, c] @ weights[o] for c, o in zip(columns, own, strict=True)])

    def predictions(self, members: Sequence[int], alphas: torch.Tensor) -> torch.Tensor:
        """Predictions of the test rows less `offset`, (n_test, t)."""
        rows = self.test_rows[:, self.targets.spaces.members(members)]
        return rows @ self.coefficients(members, alphas)


def _score(train: Moments, test: Moments, total: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """R2 of one inner fold for every penalty, without a prediction; `total` (t,) is NaN where flat.

    In the eigenvectors V of the training Gram matrix the weights are ``Z / (lambda + alpha)``
    with Z = V' C_train; covariance and variance of the predictions are sums of products of
    them with V' C_test and V' G_test V.
    """
    dtype = train.cross.dtype
    values, vectors = eigh_psd(train.gram)
    basis = vectors.to(dtype)
    Z, B = basis.T @ train.cross, basis.T @ test.cross
    H = (vectors.T @ test.gram @ vectors).to(dtype)
    shrink = 1 / (values + alphas[:, None])
    drift = (test.x - train.x) @ vectors
    shift = (test.y - train.y).to(dtype) - (shrink * drift).to(dtype) @ Z
    shrink = shrink.to(dtype)
    covariance = shrink @ (B * Z)
    predicted = torch.empty_like(covariance)
    for a, factors in enumerate(shrink):
        weights = factors[:, None] * Z
        predicted[a] = ((H @ weights) * weights).sum(0)
    return score_sums("r2", round(test.weight), total, covariance, predicted, shift)
