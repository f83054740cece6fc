"""Ranks of the entries of RDMs, for a whole stack at once and on its device."""

from __future__ import annotations

import numpy as np
import torch

from brainalign.statistics.rank_correlation import SortedRows, settle_ties, sort_rows


def settled(vectors: torch.Tensor) -> torch.Tensor:
    """Rows (k, n) in which entries that differ by rounding alone are equal; see `settle_ties`."""
    scale = vectors.abs().amax(dim=-1, keepdim=True)
    out: torch.Tensor = torch.round(vectors / torch.where(scale > 0, scale, 1.0), decimals=12)
    return out


def argsort_rows(vectors: torch.Tensor) -> torch.Tensor:
    """Stable order of the entries of each row (k, n)."""
    if vectors.device.type == "cpu":  # numpy sorts with vector instructions
        return torch.from_numpy(np.argsort(vectors.numpy(), axis=-1, kind="stable"))
    return torch.argsort(vectors, dim=-1, stable=True)


def mid_ranks(vectors: torch.Tensor) -> torch.Tensor:
    """Ranks from 1 of each row (k, n), equal entries share their middle rank.

    Rounding is settled first. A row that holds NaN has no ranks: all NaN.

    Cost: O(k n log n) time, 40 bytes an entry of memory.
    """
    values = settled(vectors)
    k, n = values.shape
    order = argsort_rows(values)
    ordered = values.gather(1, order)
    new = torch.ones((k, n), dtype=torch.bool, device=values.device)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = torch.cumsum(new.reshape(-1), dim=0) - 1
    length = torch.bincount(run, minlength=1)
    last = torch.cumsum(length, dim=0)  # over all rows, from 1
    middle = last.to(torch.float64) - (length.to(torch.float64) - 1.0) / 2.0
    rows = torch.arange(k, device=values.device, dtype=torch.float64)[:, None] * n
    out = torch.empty_like(values)
    out.scatter_(1, order, middle[run].reshape(k, n) - rows)
    out[torch.isnan(vectors).any(dim=1)] = torch.nan
    return out


def tied_share(vectors: torch.Tensor) -> torch.Tensor:
    """Share of the entries of each row (k, n) that are equal to another entry; NaN entries are left out."""
    values = torch.sort(settled(torch.nan_to_num(vectors, nan=0.0)), dim=1).values
    missing = torch.isnan(vectors)
    if bool(missing.any()):
        return torch.cat([_tied_row(row[~gap]) for row, gap in zip(vectors, missing, strict=True)])
    same = values[:, 1:] == values[:, :-1]
    edge = torch.zeros((len(values), 1), dtype=torch.bool, device=values.device)
    tied = torch.cat([same, edge], dim=1) | torch.cat([edge, same], dim=1)
    return tied.to(torch.float64).mean(dim=1)


def _tied_row(values: torch.Tensor) -> torch.Tensor:
    if values.numel() == 0:
        return torch.zeros(1, dtype=torch.float64, device=values.device)
    return tied_share(values[None])


def sorted_rows(vectors: torch.Tensor) -> SortedRows:
    """Rows sorted for Kendall's tau, rounding settled first; on the host, where inversions are counted."""
    return sort_rows(settle_ties(vectors.cpu().numpy()))
