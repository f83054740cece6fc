"""One fold under exchanged responses: predictions without refits, for many draws at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from brainalign import metrics
from brainalign.encoding._null_scores import (
    GuessSums,
    ObservedSums,
    is_flat,
    observed_sums,
    score_from_sums,
)
from brainalign.regression._permuted import FixedRidge

# moving one number costs as much as this many operations of a matrix product
_MOVE = 40
# rows of a factor that are moved at once
_MOVED_BYTES = 2**24


@dataclass(frozen=True)
class Sheet:
    """Responses of one fold and some targets, rows in the order training, test, rest.

    `values` (n, t) less `offset` (t,), all divided by one scale per target; NaN and infinite
    values are 0 and marked in `lost` (n, t), which is None where there are none. `eps` is the
    rounding of the values as they were recorded.
    """

    values: torch.Tensor
    offset: torch.Tensor
    scale: torch.Tensor
    lost: torch.Tensor | None
    n_train: int
    n_test: int
    eps: float

    def single(self) -> Sheet:
        """The same with values in float32."""
        return replace(self, values=self.values.float())

    @cached_property
    def observed(self) -> ObservedSums:
        """Sums of the test rows, which every exchange within them leaves as they are."""
        test = self.values[self.n_train : self.n_train + self.n_test]
        return observed_sums(test.double(), self.offset, self.eps)


def make_sheet(
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    targets: np.ndarray,
    device: torch.device,
    *,
    intercept: bool,
) -> Sheet:
    """Take `targets` of the (training, test, rest) rows in float64, near zero and of size one.

    Scores with an intercept do not depend on the offset of the responses, and no score on their scale.
    """
    eps = np.finfo(parts[0].dtype if parts[0].dtype.kind == "f" else np.float64).eps
    n = [len(part) for part in parts]
    values = torch.empty(sum(n), len(targets), dtype=torch.float64, device=device)
    for part, rows in zip(parts, torch.split(values, n), strict=True):
        rows.copy_(torch.as_tensor(part[:, targets]))
    finite = values.isfinite()
    lost = None if bool(finite.all()) else (~finite).double()
    if lost is not None:
        values.masked_fill_(~finite, 0.0)
    offset = values.mean(0) if intercept else torch.zeros_like(values[0])
    values -= offset
    if lost is not None:
        values.masked_fill_(~finite, 0.0)
    scale = torch.maximum(values.amax(0), -values.amin(0))
    scale = torch.where(scale > 0, scale, 1.0)
    values /= scale
    return Sheet(values, offset / scale, scale, lost, n[0], n[1], float(eps))


@dataclass(frozen=True)
class Moves:
    """Exchanges of a batch of draws: `source` (n_draws, n), the row of the sheet that moves into each."""

    source: torch.Tensor
    n_train: int
    n_test: int

    @property
    def train(self) -> torch.Tensor:
        return self.source[:, : self.n_train]

    @property
    def test(self) -> torch.Tensor:
        return self.source[:, self.n_train : self.n_train + self.n_test]

    @cached_property
    def closed(self) -> bool:
        """Whether test rows stay among the test rows and training rows among the training rows."""
        end = self.n_train + self.n_test
        inside = (self.test >= self.n_train) & (self.test < end)
        return bool((self.train < self.n_train).all()) and bool(inside.all())

    @cached_property
    def target(self) -> torch.Tensor:
        """Where each row of the sheet goes, (n_draws, n): the inverse of `source`."""
        place = torch.arange(self.source.shape[1], device=self.source.device)
        return torch.empty_like(self.source).scatter_(1, self.source, place.expand_as(self.source))


class Form(Protocol):
    """Predictions of the test rows as a function of exchanged responses."""

    def single(self) -> Form:
        """The same in float32."""

    def draw_bytes(self, sheet: Sheet) -> int:
        """Bytes that one draw takes."""

    def sums(self, sheet: Sheet, moves: Moves) -> GuessSums:
        """What the scores need of the predictions of each draw."""


@dataclass(frozen=True)
class FactorForm:
    """Predictions as ``right @ (shrink * (left.T @ Y))``, for features fewer than rows.

    The exchange moves rows of `left` and of `basis` instead of responses. `left` (n, m + 1): the
    last column makes the training mean; `right` (r + 1, m + 1): predictions less their mean, in
    the orthonormal `basis` (n, r) of the test rows, and their mean; `shrink` (m + 1, t).
    """

    left: torch.Tensor
    shrink: torch.Tensor
    right: torch.Tensor
    basis: torch.Tensor

    def single(self) -> FactorForm:
        return FactorForm(self.left.float(), self.shrink.float(), self.right.float(), self.basis.float())

    def draw_bytes(self, sheet: Sheet) -> int:
        n, t = sheet.values.shape
        return 8 * (5 * n + t * (self.left.shape[1] + 3 * len(self.right))) + _MOVED_BYTES // 64

    def sums(self, sheet: Sheet, moves: Moves) -> GuessSums:
        start, end = sheet.n_train, sheet.n_train + sheet.n_test
        train, test = (slice(0, start), slice(start, end)) if moves.closed else (slice(None), slice(None))
        inner = _products(self.left, sheet, moves, train).mul_(self.shrink)
        guess = torch.matmul(self.right, inner)
        rank = self.basis.shape[1]
        centred, mean = guess[:, :rank], guess[:, rank]
        cross = _products(self.basis, sheet, moves, test).mul_(centred).sum(1)
        power = centred.square_().sum(1)
        return GuessSums(cross, power, mean, is_flat(power, mean, sheet.offset, sheet.n_test), inner[:, -1])


@dataclass(frozen=True)
class OperatorForm:
    """Predictions as ``matrix @ Y``, for one penalty. `matrix` (n_test + 2, n_train): predictions
    less their mean, their mean, and the training mean.
    """

    matrix: torch.Tensor

    def single(self) -> OperatorForm:
        return OperatorForm(self.matrix.float())

    def draw_bytes(self, sheet: Sheet) -> int:
        n, t = sheet.values.shape
        return 8 * (5 * n + t * (sheet.n_train + 2 * len(self.matrix)))

    def sums(self, sheet: Sheet, moves: Moves) -> GuessSums:
        n_draws, n_test = len(moves.source), sheet.n_test
        responses = _moved(sheet, moves.train)
        guess = (self.matrix @ responses.view(sheet.n_train, -1)).view(n_test + 2, n_draws, -1)
        centred, mean, train_mean = guess[:n_test], guess[n_test], guess[n_test + 1]
        cross = _moved(sheet, moves.test).mul_(centred).sum(0)
        power = centred.square_().sum(0)
        return GuessSums(cross, power, mean, is_flat(power, mean, sheet.offset, n_test), train_mean)


@dataclass(frozen=True)
class HeldForm:
    """Predictions that no exchange changes, those of a separate test set. `centred` (n_test, t)
    less their mean.
    """

    centred: torch.Tensor
    mean: torch.Tensor
    flat: torch.Tensor
    train_mean: torch.Tensor

    def single(self) -> HeldForm:
        return replace(self, centred=self.centred.float())

    def draw_bytes(self, sheet: Sheet) -> int:
        return 8 * (5 * len(self.centred) + 2 * self.centred.numel())

    def sums(self, sheet: Sheet, moves: Moves) -> GuessSums:
        cross = _moved(sheet, moves.test).mul_(self.centred[:, None]).sum(0)
        return GuessSums(cross, self.centred.square().sum(0), self.mean, self.flat, self.train_mean)


def _products(factor: torch.Tensor, sheet: Sheet, moves: Moves, rows: slice) -> torch.Tensor:
    """``factor.T @ Y`` of the `rows` under each exchange, (n_draws, n_columns, t); rows in stretches."""
    where, responses = moves.target[:, rows].T, sheet.values[rows]
    n_draws, width = where.shape[1], factor.shape[1]
    out = responses.new_zeros(n_draws * width, responses.shape[1])
    size = max(1, _MOVED_BYTES // (8 * max(1, n_draws * width)))
    for start in range(0, len(where), size):
        some = slice(start, start + size)
        moved = factor.index_select(0, where[some].reshape(-1)).view(-1, n_draws * width)
        out.addmm_(moved.T, responses[some])
    return out.view(n_draws, width, -1)


def _moved(sheet: Sheet, source: torch.Tensor) -> torch.Tensor:
    """Responses that move into these rows, (n_rows, n_draws, t)."""
    found = sheet.values.index_select(0, source.T.reshape(-1))
    return found.view(source.shape[1], source.shape[0], -1)


def held_form(sheet: Sheet, predictions: np.ndarray, train_mean: np.ndarray) -> HeldForm:
    """Keep `predictions` (n_test, t) of a separate test set, and the training mean (t,)."""
    guess = torch.as_tensor(predictions, device=sheet.values.device).to(torch.float64)
    flat = metrics.is_constant(guess, dtype=torch.as_tensor(predictions[:0]).dtype)
    guess = guess / sheet.scale - sheet.offset
    mean = guess.mean(0)
    middle = torch.as_tensor(train_mean, device=sheet.values.device).to(torch.float64)
    return HeldForm(guess - mean, mean, flat, middle / sheet.scale - sheet.offset)


def factors_are_cheaper(n_train: int, n_test: int, n_features: int, n_targets: int) -> bool:
    """Compare the operations of a draw: through factors for all penalties, or one matrix a penalty."""
    rank = min(n_features, n_test)
    factored = 2 * n_targets * (n_features * (n_train + rank) + rank * n_test)
    factored += _MOVE * (n_features * n_train + rank * n_test)
    whole = 2 * n_targets * n_train * n_test + _MOVE * n_targets * (n_train + n_test)
    return factored < whole


@dataclass(frozen=True)
class FactorParts:
    """What the factor form needs of a fold, for any targets: see `FactorForm`."""

    values: torch.Tensor
    size: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    basis: torch.Tensor

    def form(self, alphas: torch.Tensor) -> FactorForm:
        """The form for targets with these penalties, (t,)."""
        shrink = self.size / (self.values[:, None] + alphas)
        return FactorForm(self.left, torch.cat([shrink, torch.ones_like(shrink[:1])]), self.right, self.basis)


def factor_parts(ridge: FixedRidge, weights: torch.Tensor, n_rest: int) -> FactorParts:
    """Decompose a fold once; `weights` (n_train,) sum to one and make the training mean."""
    values, left, right = ridge.factors()
    # near one, so that float32 can hold them whatever the scale of the features
    size = values.max().clamp_min(torch.finfo(values.dtype).tiny)
    left, right = left / size.sqrt(), right / size.sqrt()
    n_test = len(right)
    left = torch.cat([left, weights[:, None]], dim=1)
    left = torch.cat([left, left.new_zeros(n_test + n_rest, left.shape[1])])
    middle = right.mean(0)
    basis, corner = torch.linalg.qr(_centred(right))
    corner = torch.cat([corner, middle[None]])
    last = left.new_zeros(len(corner), 1)
    last[-1] = ridge.share.sum()  # one, or zero without intercept
    rank = basis.shape[1]
    basis = torch.cat([left.new_zeros(len(weights), rank), basis, left.new_zeros(n_rest, rank)])
    return FactorParts(values, size, left, torch.cat([corner, last], dim=1), basis)


def operator_form(ridge: FixedRidge, weights: torch.Tensor, alpha: float) -> OperatorForm:
    """The matrix of one penalty; `weights` (n_train,) sum to one and make the training mean."""
    matrix = ridge.operator(alpha)
    return OperatorForm(torch.cat([_centred(matrix), matrix.mean(0)[None] + ridge.share, weights[None]]))


def _centred(rows: torch.Tensor) -> torch.Tensor:
    """Rows less their mean; a column that varies by rounding alone becomes zero."""
    out = rows - rows.mean(0)
    noise = out.norm(dim=0) <= 1e-13 * rows.norm(dim=0)
    return torch.where(noise, 0.0, out)


def null_scores(form: Form, sheet: Sheet, moves: Moves, metric: str) -> torch.Tensor:
    """Score of each draw and target, (n_draws, t); NaN without one."""
    observed = sheet.observed
    if not moves.closed:
        observed = observed_sums(_moved(sheet, moves.test).double(), sheet.offset, sheet.eps)
    scores = score_from_sums(metric, observed, form.sums(sheet, moves).double())
    if sheet.lost is not None:
        used = (moves.target < sheet.n_train + sheet.n_test).to(torch.float64)
        scores = torch.where(used @ sheet.lost > 0, float("nan"), scores)
    return scores
