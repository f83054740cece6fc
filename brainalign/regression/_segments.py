"""Predictions at many penalties from a few products in each stretch of the spectrum.

The predictions at penalty a are ``left diag(1 / (l + a)) right`` over the eigenvalues l. In a
narrow stretch of the spectrum these functions of l are nearly proportional: there, those of
all penalties are combinations of r of them, r = 3 to 6 where one decade of eigenvalues makes
12. So r products of the columns of a stretch serve every penalty, and the sum of r times
columns is a third of that for combinations over the whole spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from brainalign.regression._penalties import FloatArray
from brainalign.regression._scoring import ScorePredictions

# largest relative error of a function at an eigenvalue: rounding, or what an adaptive search allows
_RELATIVE = {torch.float64: 1e-12, torch.float32: 1e-6}
SEGMENTED_ADAPTIVE = 1e-3
# at tolerances finer than the second, terms of a sum may be so many times larger than the sum
_ROUNDED, _COARSE = 30.0, 1e-5
_STRETCHES = (1, 2, 4, 6, 8, 12, 16, 24, 32)
# eigenvalues of a stretch that its functions are found on; all are checked
_SAMPLED = 64
# bytes of moments and predictions that are formed at a time on a CPU: they stay in its cache
CACHED = 2**26


@dataclass(frozen=True)
class Segments:
    """Functions of the eigenvalues, (n_alphas, p), as combinations within stretches.

    `stretches` are ranges of eigenvalues; `functions` (r, p_b) those of each stretch;
    `weights` (n_alphas, m) combine the m of all stretches, None where every penalty is a
    function of its own in a single stretch.
    """

    stretches: list[slice]
    functions: list[torch.Tensor]
    weights: torch.Tensor | None

    @property
    def edges(self) -> list[int]:
        """Where stretches begin and the last one ends."""
        return [self.stretches[0].start, *(stretch.stop for stretch in self.stretches)]

    @property
    def n_functions(self) -> int:
        """m, over all stretches."""
        return sum(len(part) for part in self.functions)

    @property
    def n_alphas(self) -> int:
        """Penalties."""
        return self.n_functions if self.weights is None else len(self.weights)

    @property
    def n_values(self) -> int:
        """What `apply` needs of memory for each row and target."""
        return self.n_functions + (0 if self.weights is None else self.n_alphas)

    def stacks(self, left: torch.Tensor) -> list[torch.Tensor]:
        """`left` (n, p) times the functions of each stretch, (r n, p_b)."""
        return [
            (left[:, columns] * functions[:, None, :]).flatten(0, 1)
            for columns, functions in zip(self.stretches, self.functions, strict=True)
        ]

    def apply(self, stacks: list[torch.Tensor], right: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """``left diag(function) right`` for every penalty, (n_alphas, n, w), of `right` (p, w).

        The result lies in `room`, `n_values` n w long, the penalties of a row side by side.
        """
        m, w = self.n_functions, right.shape[1]
        n = len(stacks[0]) // len(self.functions[0])
        moments = room[: m * n * w]
        start = 0
        for columns, stack in zip(self.stretches, stacks, strict=True):
            part = moments[start : start + len(stack) * w]
            torch.mm(stack, right[columns], out=part.view(-1, w))
            start += len(part)
        if self.weights is None:
            return moments.view(m, n, w)
        # row by row: one product of a few penalties with all rows runs at half the rate
        out = room[m * n * w : self.n_values * n * w].view(n, -1, w)
        torch.bmm(self.weights.expand(n, -1, -1), moments.view(m, n, w).transpose(0, 1), out=out)
        return out.transpose(0, 1)


def segment_spectrum(
    curves: torch.Tensor,
    dtype: torch.dtype,
    tolerance: float | None = None,
    *,
    like: Segments | None = None,
) -> Segments:
    """Find stretches and functions for the least work.

    Parameters
    ----------
    curves : (n_alphas, p) float64, one function per penalty, at eigenvalues in ascending order;
        positive, but for directions without variance, which come first and are 0 in all
    dtype : of the products
    tolerance : largest relative error of a function; None: rounding of `dtype`
    like : segments of a similar spectrum, whose stretches are taken where they fit
    """
    tolerance = _RELATIVE[dtype] if tolerance is None else tolerance
    values = curves.cpu().numpy()
    null, p = int((values[0] == 0).sum()), values.shape[1]
    if like is not None and like.edges[0] == null and like.edges[-1] == p:
        edges = like.edges
    else:
        edges = [null + int(edge) for edge in _least_work(values[:, null:], tolerance)]
    if len(edges) < 2:
        return unsegmented(curves, dtype)
    parts = [_factor(values[:, a:b], tolerance) for a, b in pairwise(edges)]
    return Segments(
        [slice(a, b) for a, b in pairwise(edges)],
        [torch.as_tensor(functions, dtype=dtype, device=curves.device) for _, functions in parts],
        torch.as_tensor(np.hstack([weights for weights, _ in parts]), dtype=dtype, device=curves.device),
    )


def _least_work(curves: FloatArray, tolerance: float) -> FloatArray:
    """Edges of the stretches that take the least work; none where each penalty by itself takes less."""
    n_alphas, p = curves.shape
    best: FloatArray = np.zeros(1)
    least = float(n_alphas * p)
    for count in (count for count in _STRETCHES if count * 8 <= p):
        lowest = np.inf
        for edges in _partitions(curves, count):
            # judged on some eigenvalues of each stretch
            ranks = [_basis(_sampled(curves[:, a:b]), tolerance)[1] for a, b in pairwise(edges)]
            # of each function and target: its products, its share of the combinations, its way through memory
            work = float(np.dot(ranks, np.diff(edges)) + (4 * n_alphas + 16) * sum(ranks))
            lowest = min(lowest, work)
            if work < least:
                least, best = work, edges
        if lowest > 1.3 * least:
            break
    return best


def _partitions(curves: FloatArray, count: int) -> Iterator[FloatArray]:
    """Edges of stretches: of as many eigenvalues each, or along which the steepest function falls alike."""
    p = curves.shape[1]
    yield np.linspace(0, p, count + 1).astype(int)
    if count > 1:
        steepest = np.log(curves[int(np.argmax(curves[:, 0] / curves[:, -1]))])
        levels = np.linspace(steepest[0], steepest[-1], count + 1)[1:-1]
        yield np.unique(np.concatenate([[0], np.searchsorted(-steepest, -levels), [p]]))


def unsegmented(curves: torch.Tensor, dtype: torch.dtype) -> Segments:
    """Every penalty by itself."""
    return Segments([slice(0, curves.shape[1])], [curves.to(dtype)], None)


def _sampled(curves: FloatArray) -> FloatArray:
    p = curves.shape[1]
    return curves if p <= _SAMPLED else curves[:, np.linspace(0, p - 1, _SAMPLED).astype(int)]


def _basis(curves: FloatArray, tolerance: float, rank: int = 0) -> tuple[FloatArray, int]:
    """Orthonormal weights (n_alphas, r) of the fewest functions, at least `rank`, that give the curves.

    Each curve is divided by its largest value before. Without such a basis r is the number of curves.
    """
    scaled = curves / curves.max(axis=1, keepdims=True)
    basis, strength, _ = np.linalg.svd(scaled, full_matrices=False)
    likely = int((strength > tolerance * strength[0]).sum()) - 1
    for r in range(max(1, rank, likely), len(strength)):
        weights = basis[:, :r]
        if _is_close(weights, weights.T @ scaled, scaled, tolerance):
            return weights, r
    return np.eye(len(curves)), len(curves)


def _is_close(weights: FloatArray, functions: FloatArray, scaled: FloatArray, tolerance: float) -> bool:
    """Whether the product is within `tolerance` of every value, and its sums keep their digits."""
    error = np.abs(weights @ functions / scaled - 1).max()
    if error >= tolerance or tolerance >= _COARSE:
        return bool(error < tolerance)
    return float((np.abs(weights) @ np.abs(functions) / scaled).max()) < _ROUNDED


def _factor(curves: FloatArray, tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Weights (n_alphas, r) and functions (r, p_b), whose product is within `tolerance` of the curves."""
    size = curves.max(axis=1, keepdims=True)
    scaled, sampled, rank = curves / size, _sampled(curves), 0
    while True:
        weights, rank = _basis(sampled, tolerance, rank)
        functions = weights.T @ scaled
        if rank == len(curves) or _is_close(weights, functions, scaled, tolerance):
            return weights * size, functions
        rank += 1


def score_segments(
    segments: Segments,
    left: torch.Tensor,
    right: torch.Tensor,
    scorer_of: Callable[[slice], ScorePredictions],
) -> torch.Tensor:
    """Scores (n_alphas, w) of the predictions of every penalty from `left` (n, p) and `right` (p, w).

    `scorer_of` gives the scorer of some targets. It is called once per penalty, in their
    order, with predictions (n, targets), which it may overwrite.
    """
    stacks, w = segments.stacks(left), right.shape[1]
    width = chunk_width(segments, len(left), right)
    room = right.new_empty(segments.n_values * len(left) * width)
    parts = []
    for start in range(0, w, width):
        part = slice(start, min(start + width, w))
        predicted, scorer = segments.apply(stacks, right[:, part], room), scorer_of(part)
        parts.append(torch.stack([scorer(one) for one in predicted]))
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def chunk_width(segments: Segments | None, n: int, right: torch.Tensor, *, more: int = 0) -> int:
    """Targets at a time: what is made of them stays in the cache of a CPU.

    `n` rows of predictions, `more` values per target beside them.
    """
    w = right.shape[1]
    if right.device.type != "cpu":
        return w
    values = more if segments is None else (segments.n_functions + segments.n_alphas) * n + more
    return min(w, max(64, CACHED // (values * right.element_size()) // 64 * 64))
