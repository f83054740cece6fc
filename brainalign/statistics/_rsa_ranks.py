"""Weighted mid-ranks and weighted Kendall counts of resampled RDMs, from orders that are sorted once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class SortedPairs:
    """The order of the pairs of one RDM: `order` (P,), `edges` (G + 1,) of ties, `group` (P,) dense ranks."""

    order: torch.Tensor
    edges: torch.Tensor
    group: torch.Tensor

    @property
    def tied(self) -> bool:
        """Whether any two pairs have one distance."""
        return len(self.edges) <= len(self.order)


def sorted_pairs(vector: torch.Tensor) -> SortedPairs:
    """Sort the distances (P,) of one RDM and number the groups of equal ones."""
    values, order = torch.sort(vector, stable=True)
    starts = torch.ones(len(values), dtype=torch.bool, device=vector.device)
    starts[1:] = values[1:] != values[:-1]
    group = torch.empty_like(order)
    group[order] = torch.cumsum(starts, 0) - 1
    end = torch.tensor([len(values)], device=vector.device)
    return SortedPairs(order, torch.cat([torch.nonzero(starts)[:, 0], end]), group)


def cumulated(weights: torch.Tensor) -> torch.Tensor:
    """Running sums along the rows with a leading 0, (n_rows, P + 1)."""
    return torch.nn.functional.pad(torch.cumsum(weights, 1), (1, 0))


def centred_midranks(weights: torch.Tensor, pairs: SortedPairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Mid-ranks less their mean, when each pair occurs `weights` (n_draws, P) times.

    Returns
    -------
    ranks (n_draws, P), and the sum over ties of their squared weights (n_draws,). Twice a rank
    is an integer. Cost: one running sum over the stored order, O(P) a draw.
    """
    edges = cumulated(weights[:, pairs.order])
    if pairs.tied:
        edges = edges[:, pairs.edges]
    middle = (edges[:, 1:] + edges[:, :-1] - edges[:, -1:]) / 2
    return middle[:, pairs.group], torch.diff(edges, dim=1).square().sum(1)


def sort_rows(keys: torch.Tensor) -> torch.Tensor:
    """Sort int64 rows; on the CPU by numpy, whose sort of integers is vectorised."""
    if keys.device.type == "cpu":
        return torch.from_numpy(np.sort(keys.numpy(), axis=-1))
    return torch.sort(keys, dim=-1).values


def _sorted_index(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted keys (n_rows, P) and where each came from, by one sort of key and position packed together."""
    bits = max(1, (keys.shape[1] - 1).bit_length())
    packed = sort_rows((keys << bits) | torch.arange(keys.shape[1], device=keys.device))
    return packed >> bits, packed & ((1 << bits) - 1)


def _starts(keys: torch.Tensor) -> torch.Tensor:
    starts = torch.ones_like(keys, dtype=torch.bool)
    starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
    return starts


def _group_middles(cum: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For rows of running sums (n_rows, P + 1): of each entry's group, first plus last sum; all widths."""
    flat = starts.reshape(-1)
    group = torch.cumsum(flat, 0) - 1
    ends = torch.cat([flat[1:], flat.new_ones(1)])
    low, high = cum[:, :-1].reshape(-1)[flat], cum[:, 1:].reshape(-1)[ends]
    return (low + high)[group].reshape(starts.shape), (high - low)[group].reshape(starts.shape)


def quantised(values: torch.Tensor, *, exact: bool, largest: float, n_pairs: int) -> torch.Tensor:
    """Integer keys that order `values` (twice a sum of ranks); sums that differ by rounding are equal."""
    if exact:
        return torch.round(values).long()
    free = 61 - math.ceil(math.log2(max(largest, 2.0))) - max(1, (n_pairs - 1).bit_length())
    return torch.round(values * 2.0 ** min(20, free)).long()


def row_midranks(keys: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centred mid-ranks (n_rows, P) of integer keys (n_rows, P) that occur `weights` times, and tie
    squares.
    """
    ordered, index = _sorted_index(keys)
    sorted_weights = torch.gather(weights.expand(keys.shape), 1, index)
    cum = cumulated(sorted_weights)
    middle, width = _group_middles(cum, _starts(ordered))
    ranks = torch.empty_like(middle).scatter_(1, index, (middle - cum[:, -1:]) / 2)
    return ranks, (sorted_weights * width).sum(1)


def concordance(first: torch.Tensor, second: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Concordant minus discordant pairs of entries, counted with weights, (n_rows,).

    Parameters
    ----------
    first : (P,) dense ranks, the same for every row
    second : (P,) or (n_rows, P) dense ranks or other integers
    weights : (n_rows or 1, P)

    Notes
    -----
    A merge tree over the bits of `first`: at each of its log2(P) levels the entries of a block
    are in the order of `second`, and each entry of the right half meets the weight of the left
    half below less that above it (Knight 1966, doi:10.1080/01621459.1966.10480879, with weights).
    Equal entries of either side count as neither. Cost O(P log P) a row after sorting.
    """
    shared = second.ndim == 1
    rows = second[None] if shared else second
    n_rows = max(len(rows), len(weights))
    total = weights.new_zeros(n_rows)
    bits = max(1, int(first.max()).bit_length())
    width = max(1, int(rows.max() - rows.min()).bit_length())
    low = rows - rows.min()
    for bit in range(bits):
        block = (first >> (bit + 1))[None]
        ordered, index = _sorted_index((block << width) | low)
        right = ((first >> bit) & 1).to(weights.dtype)[index]
        if shared:
            drawn = weights[:, index[0]]
            total += _level_shared(drawn, right, ordered[0], width)
        else:
            drawn = torch.gather(weights.expand(rows.shape), 1, index)
            total += _level_rows(drawn, right, ordered, width)
    return total


def _level_rows(drawn: torch.Tensor, right: torch.Tensor, ordered: torch.Tensor, width: int) -> torch.Tensor:
    cum = cumulated(drawn * (1 - right))
    middle, _ = _group_middles(cum, _starts(ordered))
    of_block, _ = _group_middles(cum, _starts(ordered >> width))
    return (drawn * right * (middle - of_block)).sum(1)


def _level_shared(
    drawn: torch.Tensor, right: torch.Tensor, ordered: torch.Tensor, width: int
) -> torch.Tensor:
    """The same where every row has one order: sums over groups, without a gather for each entry."""
    left_sums, right_sums = cumulated(drawn * (1 - right)), cumulated(drawn * right)
    total = drawn.new_zeros(len(drawn))
    for sign, keys in ((1.0, ordered), (-1.0, ordered >> width)):
        starts = _starts(keys[None])[0]
        edges = torch.cat([torch.nonzero(starts)[:, 0], torch.tensor([len(keys)]).to(keys)])
        below, beyond = left_sums[:, edges], right_sums[:, edges]
        total += sign * (torch.diff(beyond, dim=1) * (below[:, 1:] + below[:, :-1])).sum(1)
    return total
