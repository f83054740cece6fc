"""Products between different runs, summed in closed form over groups of runs with the same conditions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from brainalign.comparison._distance_inputs import differences
from brainalign.errors import InputError, ShapeError


@dataclass(frozen=True, eq=False)
class RunPatterns:
    """Means of conditions in runs: one part of a stack, all with the same conditions present.

    `values` (m, K, n, p) float64, 0 where absent or missing; `runs` (K, n) bool, which
    condition is present in which run; `present` (m, p) bool or None, channels with values;
    `members` (m,) positions in the flattened stack.
    """

    values: torch.Tensor
    runs: torch.Tensor
    present: torch.Tensor | None
    members: torch.Tensor

    @property
    def n_channels(self) -> torch.Tensor:
        """Channels with values, (m, 1, 1)."""
        if self.present is None:
            return torch.full((len(self.values), 1, 1), float(self.values.shape[-1])).to(self.values)
        return self.present.sum(-1)[:, None, None].to(self.values.dtype)

    def centred(self) -> RunPatterns:
        """Less the mean pattern of each run, which no difference within a run contains."""
        if bool(self.runs.all()):
            return self.replaced(self.values - self.values.mean(2, keepdim=True))
        there = self.runs[None, :, :, None]
        count = self.runs.sum(1).clamp_min(1)[None, :, None, None]
        means = self.values.sum(2, keepdim=True) / count
        return self.replaced((self.values - means) * there)

    def replaced(self, values: torch.Tensor) -> RunPatterns:
        """The same layout with other values."""
        return RunPatterns(values, self.runs, self.present, self.members)


def run_patterns(name: str, means: torch.Tensor) -> Iterator[RunPatterns]:
    """Split a checked stack of means (m, K, n, p) by the conditions that are present."""
    if bool(torch.isfinite(means.sum())):
        runs = torch.ones(means.shape[1:3], dtype=torch.bool, device=means.device)
        yield RunPatterns(means, runs, None, torch.arange(len(means), device=means.device))
        return
    gaps = torch.isnan(means)
    absent = gaps.all(-1)
    missing = (gaps | absent[..., None]).flatten(1, 2).all(1)
    # where nothing is present at all, no channel is missing either
    bad = ~torch.isfinite(means) & ~absent[..., None] & ~missing[:, None, None]
    if bool(bad.any()):
        position, run, row, channel = torch.nonzero(bad)[0].tolist()
        raise InputError(
            f"{name} have {int(bad.sum())} values that are not finite, first in run {run}, condition {row}, "
            f"channel {channel} (position {position} of the stack); a channel is left out where it is NaN in "
            "all conditions and runs, a condition where it is NaN in all channels of a run: repair or leave "
            "out this channel"
        )
    filled = torch.where(gaps, 0.0, means)
    layouts, of = torch.unique((~absent).flatten(1), dim=0, return_inverse=True)
    complete = not bool(missing.any())
    for number, layout in enumerate(layouts):
        members = torch.nonzero(of == number)[:, 0]
        part = filled if len(layouts) == 1 else filled[members]
        yield RunPatterns(
            part, layout.view(means.shape[1:3]), None if complete else ~missing[members], members
        )


Transform = Callable[[torch.Tensor], torch.Tensor]


def crossed_differences(first: RunPatterns, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of (a_ki - a_kj).(b_li - b_lj) over ordered pairs of different runs k, l; number of pairs.

    `first` holds a, `second` b (m, K, n, p). A pair of runs counts where both conditions
    are present in both. Runs with the same conditions are summed before the product, so
    that a balanced design costs two products however many its runs.
    """
    a, same = first.values, first.values is second
    layouts, of = torch.unique(first.runs, dim=0, return_inverse=True)
    groups = [torch.nonzero(of == number)[:, 0] for number in range(len(layouts))]
    n = a.shape[2]
    total = a.new_zeros(len(a), n, n)
    counts = a.new_zeros(n, n)
    sums = [(_of_runs(a, g).sum(1), _of_runs(second, g).sum(1)) for g in groups]
    for u, own in enumerate(groups):
        for v, other in enumerate(groups):
            if same and v > u:
                continue
            products = sums[u][0] @ sums[v][1].mT
            pairs = len(own) * len(other)
            if u == v:
                products = products - own_products(_of_runs(a, own), _of_runs(second, own))
                pairs -= len(own)
            # (u, v) and (v, u) are one where both sides are the same
            times = 2.0 if same and u != v else 1.0
            shared = (layouts[u] & layouts[v]).to(a.dtype)
            weights = times * shared[:, None] * shared[None, :]
            total += differences(products) * weights
            counts += pairs * weights
    return total, counts


def _of_runs(values: torch.Tensor, runs: torch.Tensor) -> torch.Tensor:
    """Some runs of (m, K, n, p); all of them without a copy."""
    return values if len(runs) == values.shape[1] else values[:, runs]


def own_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum over runs of a_k b_k', for a and b (m, K, n, p), (m, n, n)."""
    return (a @ b.mT).sum(1)


def mean_over_pairs(total: torch.Tensor, counts: torch.Tensor, n_channels: torch.Tensor) -> torch.Tensor:
    """Mean over pairs of runs and over channels; NaN without a pair of runs, zero diagonal."""
    out = total / torch.where(counts > 0, counts, torch.nan) / n_channels
    out.diagonal(dim1=-2, dim2=-1).zero_()
    return out


def check_runs(name: str, n_runs: int) -> None:
    """Refuse a single run."""
    if n_runs < 2:
        raise ShapeError(
            f"{name} has {n_runs} run; a cross-validated distance needs at least 2 independent runs. Label "
            "runs (or halves of the trials) by runs=, or use distance 'mahalanobis' or 'sq_euclidean'"
        )


def warn_missing(out: torch.Tensor, name: str, stacklevel: int) -> None:
    """Count the pairs of conditions that have no value."""
    missing = int(torch.isnan(out).sum()) // 2
    if missing:
        pairs = out.shape[-1] * (out.shape[-1] - 1) // 2 * (out.numel() // out.shape[-1] ** 2)
        warnings.warn(
            f"{missing} of {pairs} pairs of conditions have no {name}, because no two runs hold both "
            "conditions with values; they are NaN",
            stacklevel=stacklevel + 1,
        )
