"""The grid of penalties: its default, what of it must be computed, and what is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import qr, solve_triangular

from brainalign._checks import one_of
from brainalign.errors import InputError

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

# penalties whose predictions are a combination of others to this relative error are combined:
# to rounding in an exact search, to some thousandths of a prediction in an adaptive one (the
# error is a norm over 400 eigenvalues; a single one is up to twenty times smaller)
COMBINED = {torch.float64: 1e-10, torch.float32: 1e-6}
COMBINED_ADAPTIVE = 0.02
# share of the lowest eigenvalues that an adaptive search leaves out: where there are about as many
# features as rows they reach down to nothing, cost penalties and move no score near the best
LEFT_OUT = 0.05
# scores that differ by less are equal: the larger penalty is taken
_TIE = 1e-10


def check_alphas(alphas: Any) -> None:
    """Refuse penalties that are not ``"auto"`` or positive numbers in one axis."""
    if isinstance(alphas, str):
        one_of("alphas", alphas, ["auto"])
        return
    grid = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    if grid.ndim != 1 or not grid.size or not np.all(np.isfinite(grid) & (grid > 0)):
        raise InputError(f"alphas must be positive finite penalties in one axis, found {alphas!r}")


def penalty_grid(alphas: Any, scale: float) -> FloatArray:
    """The penalties to try; ``"auto"``: 20 values from 1e-5 to 1e5 times `scale`, trace(K)/n."""
    if isinstance(alphas, str):
        # constant features: every penalty gives the mean
        return (scale if scale > 0 else 1.0) * np.logspace(-5, 5, 20)
    return np.atleast_1d(np.asarray(alphas, dtype=np.float64))


def extended_grid(alphas: FloatArray, low: bool, high: bool, n_more: int = 4) -> FloatArray:
    """New penalties beyond an edge, at the spacing of the grid; sorted grids only have edges."""
    step = 10.0 if len(alphas) < 2 else float((alphas.max() / alphas.min()) ** (1 / (len(alphas) - 1)))
    step = max(step, 1.5)
    powers = step ** np.arange(1, n_more + 1)
    below = alphas.min() / powers if low else alphas[:0]
    above = alphas.max() * powers if high else alphas[:0]
    return np.concatenate([below, above])


@dataclass(frozen=True)
class Mixture:
    """Penalties of a grid of which some are combinations of others.

    `alphas` (n_alphas,); `nodes` are computed; `weights` (n_alphas, n_nodes) give the
    predictions, less the training mean, of every penalty from those of the nodes;
    `combined` are the penalties that are not nodes. `error` bounds the relative error.
    """

    alphas: list[float]
    nodes: list[int]
    weights: torch.Tensor
    combined: list[int]
    error: float

    @property
    def places(self) -> list[int]:
        """Where the penalties of the grid are found among the nodes and, after them, those combined."""
        found = {alpha: place for place, alpha in enumerate([*self.nodes, *self.combined])}
        return [found[alpha] for alpha in range(len(self.alphas))]

    def computed(self, alphas: Sequence[int]) -> Mixture:
        """The same with more penalties computed and not combined, given by their place in the grid."""
        nodes = sorted({*self.nodes, *alphas})
        weights = self.weights.new_zeros(len(self.alphas), len(nodes))
        weights[:, [nodes.index(node) for node in self.nodes]] = self.weights
        for alpha in alphas:
            weights[alpha] = 0
            weights[alpha, nodes.index(alpha)] = 1
        combined = [alpha for alpha in self.combined if alpha not in set(alphas)]
        return replace(self, nodes=nodes, weights=weights, combined=combined)

    def scaled(self, factors: Sequence[float]) -> Mixture:
        """The same for predictions multiplied by a factor per penalty, (n_alphas,)."""
        size = torch.as_tensor(factors, dtype=torch.float64, device=self.weights.device)
        return replace(self, weights=self.weights * size[:, None] / size[self.nodes])


def combine_penalties(
    alphas: Sequence[float],
    low: float,
    high: float,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float64,
    tolerance: float | None = None,
) -> Mixture | None:
    """Find penalties whose predictions follow from those of others, to rounding of `dtype`.

    The prediction at penalty a is linear in the function l / (l + a) of the eigenvalues
    l, which lie between `low` and `high` in every fold. Far outside of the spectrum these
    functions are nearly proportional: grids of many decades hold few different ones. Nodes
    and combinations come from one pivoted QR decomposition on a dense grid of eigenvalues.
    What they leave of the other functions, as a norm over that grid, stays below `tolerance`
    (None: rounding of `dtype`).
    Returns None where nothing can be combined.
    """
    tolerance = COMBINED[dtype] if tolerance is None else tolerance
    grid = np.asarray(alphas, dtype=np.float64)
    if len(grid) < 3 or not np.isfinite(high) or high <= 0 or len(np.unique(grid)) != len(grid):
        return None
    low = max(low, 1e-14 * grid.min(), 1e-300)
    curve = np.geomspace(min(low, high), high, 400)
    shrinkage = curve / (curve + grid[:, None])
    shrinkage /= shrinkage.max(axis=1, keepdims=True)
    size = (curve / (curve + grid[:, None])).max(axis=1)
    # of penalties that are alike the smallest are nodes: beside the mean of the training rows
    # the predictions of a huge one have lost their digits
    pivots = qr((shrinkage * size[:, None] ** 0.25).T, mode="r", pivoting=True)[1]
    triangle = qr(shrinkage[pivots].T, mode="r")[0][: len(grid)]
    # what the first nodes leave of the others, as a bound on every eigenvalue of the curve
    left = [np.sqrt((triangle[q:, q:] ** 2).sum(0)).max() for q in range(1, len(grid))]
    for count in (q for q, error in enumerate(left, 1) if error < tolerance):
        solved = solve_triangular(triangle[:count, :count], triangle[:count, count:])
        if np.abs(solved).sum(0).max() <= 10:
            break  # large weights of opposite sign would magnify rounding
    else:
        return None
    solved[np.abs(solved) < 1e-3 * tolerance] = 0  # of penalties far away, multiplied by their distance below
    weights = np.zeros((len(grid), count))
    weights[pivots[:count], np.arange(count)] = 1
    weights[pivots[count:]] = solved.T
    order = np.argsort(pivots[:count])
    nodes = pivots[:count][order]
    weights = weights[:, order] * size[:, None] / size[nodes]
    return Mixture(
        grid.tolist(),
        nodes.tolist(),
        torch.as_tensor(weights, dtype=torch.float64, device=device),
        [a for a in range(len(grid)) if a not in set(nodes.tolist())],
        float(left[count - 1]),
    )


def best_penalty(
    scores: torch.Tensor, alphas: FloatArray, *, per_target: bool, unit: torch.Tensor | None = None
) -> torch.Tensor:
    """Position of the penalty chosen for each target, (n_targets,); -1 without a score.

    Scores closer than rounding are equal, and of equal ones the largest penalty is taken.
    `unit` (n_targets,) is the size of a score that counts as large (None: 1): squared errors
    of responses in tesla are all small.
    """
    unit = torch.ones_like(scores[0]) if unit is None else unit
    known = torch.isfinite(scores).any(0)
    if not per_target:
        count = int(known.sum())
        means = torch.nan_to_num(scores[:, known], nan=-torch.inf).mean(1, keepdim=True)
        size = unit[known].mean()[None] if count else unit[:1]
        chosen = best_penalty(means, alphas, per_target=True, unit=size) if count else torch.zeros(1).long()
        return torch.where(known, chosen.to(scores.device), -1)
    filled = torch.where(torch.isfinite(scores), scores, -torch.inf)
    top = filled.amax(0)
    order = torch.as_tensor(np.argsort(-alphas, kind="stable").copy(), device=scores.device)
    close = filled[order] >= top - _TIE * torch.maximum(top.abs(), unit)
    first = close.to(torch.uint8).argmax(0)
    return torch.where(known, order[first], -1)


def grid_edges(chosen: FloatArray, alphas: FloatArray) -> np.ndarray[Any, np.dtype[np.int8]]:
    """-1 where the smallest penalty was chosen, 1 the largest, 0 neither (or no fit), (n_targets,)."""
    out = np.zeros(len(chosen), dtype=np.int8)
    if len(alphas) > 1:
        out[chosen == alphas.min()] = -1
        out[chosen == alphas.max()] = 1
    return out
