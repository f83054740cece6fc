"""The nearest stimuli of every stimulus in tiles, and what two lists of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.errors import InputError, ShapeError

IndexArray = np.ndarray[Any, np.dtype[np.int64]]

NO_NEIGHBOUR = -1
# cosines are counted in steps of 2^-40 (1e-12), which no rounding of a product reaches: equal ones stay equal
_STEP_BITS = 40
_MOST_INDEX_BITS = 62 - _STEP_BITS
_ROWS, _COLUMNS = 256, 8192
_GATHERED = 2**22


@dataclass(frozen=True, eq=False)
class Near:
    """Neighbours of every stimulus, nearest first.

    `indices` (n, k), a row of -1 where a stimulus has none; `n_settled`: stimuli whose k-th
    and next neighbour are equally near, so that the order of the rows settles which one counts.
    """

    indices: IndexArray
    n_settled: int


@dataclass(frozen=True, eq=False)
class Common:
    """Neighbours that two lists share: the stimulus, and the place (from 0) in either list."""

    row: IndexArray
    place_x: IndexArray
    place_y: IndexArray


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Return x (n, p) with rows of length one; a row of zeros stays."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    scaled = x / np.where(largest > 0, largest, 1.0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    out: np.ndarray = scaled / np.where(norms > 0, norms, 1.0)
    return out


def scaled_rows(x: np.ndarray) -> np.ndarray:
    """Return x (n, p) divided by its largest absolute value and then by its longest row."""
    largest = float(np.abs(x).max(initial=0.0))
    scaled = x / (largest if largest > 0 else 1.0)
    longest = float(np.linalg.norm(scaled, axis=1).max(initial=0.0))
    out: np.ndarray = scaled / (longest if longest > 0 else 1.0)
    return out


def check_k(k: Any, n: int) -> int:
    """Refuse a number of neighbours that leaves no stimulus out."""
    if isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)):
        raise InputError(f"k={k!r} is {type(k).__name__}; expected a whole number of neighbours")
    if n < 3:
        raise ShapeError(f"neighbours among {n} stimuli; at least 3 are needed, so that one can be nearer")
    if not 1 <= k <= n - 2:
        raise InputError(
            f"k={k} neighbours of {n} stimuli; expected 1 to {n - 2} (n - 2): with k = n - 1 every other "
            "stimulus is a neighbour. Give a smaller k or more stimuli"
        )
    return int(k)


def search(rows: np.ndarray, k: int) -> Near:
    """The k rows with the largest inner product with each row, itself left out.

    `rows` (n, p) of length one at most. Among equal products the lowest index comes first.
    A row of zeros is nobody's neighbour and has none; nor has a row to which all others are
    equally near. Cost: O(n^2 p) time; memory O(n k) and some tiles.
    """
    n = len(rows)
    index_bits = max(n - 1, 1).bit_length()
    if index_bits > _MOST_INDEX_BITS:
        raise ShapeError(f"neighbours among {n} stimuli; at most {2**_MOST_INDEX_BITS} can be searched")
    values = torch.from_numpy(np.ascontiguousarray(rows))
    empty = ~values.any(dim=1)
    nearest = torch.empty((n, k + 1), dtype=torch.int64)
    farthest = torch.empty(n, dtype=torch.int64)
    with full_precision():
        for start in range(0, n, _ROWS):
            found = slice(start, min(start + _ROWS, n))
            nearest[found], farthest[found] = _search_rows(values, empty, found, k + 1, index_bits)
    steps = nearest >> index_bits
    indices = ((1 << index_bits) - 1) - (nearest & ((1 << index_bits) - 1))
    missing = empty | (steps[:, 0] == farthest) | (steps[:, k] <= -(2 << _STEP_BITS))
    settled = (steps[:, k - 1] == steps[:, k]) & ~missing
    indices[missing] = NO_NEIGHBOUR
    return Near(indices[:, :k].numpy(), int(settled.sum()))


def _search_rows(
    values: torch.Tensor, empty: torch.Tensor, found: slice, k: int, index_bits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest keys (b, k) of some rows, and the smallest product in steps (b,).

    A key holds the product in steps above and the index, counted from the end, below: all
    keys differ, and the k largest are the same on any machine and for any tile.
    """
    n = len(values)
    own = torch.arange(found.start, found.stop)
    low = -(2 << _STEP_BITS)  # below every product
    best = torch.full((len(own), 0), low << index_bits, dtype=torch.int64)
    farthest = torch.full((len(own),), 2 << _STEP_BITS, dtype=torch.int64)
    for start in range(0, n, _COLUMNS):
        columns = torch.arange(start, min(start + _COLUMNS, n))
        products = values[found] @ values[start : start + _COLUMNS].T
        steps = products.mul_(float(1 << _STEP_BITS)).round_().to(torch.int64)
        outside = empty[columns][None, :] | (own[:, None] == columns[None, :])
        farthest = torch.minimum(farthest, steps.masked_fill(outside, 2 << _STEP_BITS).amin(dim=1))
        steps = steps.masked_fill_(outside, low)
        keys = (steps << index_bits) + (((1 << index_bits) - 1) - columns)[None, :]
        keys = torch.cat([best, keys.topk(min(k, keys.shape[1]), dim=1).values], dim=1)
        best = keys.topk(min(k, keys.shape[1]), dim=1).values
    return best, farthest


def products_at(rows: np.ndarray, indices: IndexArray) -> np.ndarray:
    """Inner products (n, m) of every row with the rows named by `indices` (n, m)."""
    n, m = indices.shape
    out = np.empty((n, m))
    step = max(1, _GATHERED // max(1, m * rows.shape[1]))
    for start in range(0, n, step):
        block = slice(start, start + step)
        out[block] = np.matmul(rows[indices[block]], rows[block][:, :, None])[:, :, 0]
    return out


def common_neighbours(indices_x: IndexArray, indices_y: IndexArray) -> Common:
    """What the two lists of every stimulus share, by one sort of both; O(n k log k)."""
    k = indices_x.shape[1]
    both = np.concatenate([indices_x, indices_y], axis=1)
    # the order is stable: of two equal indices that of x comes first
    order = np.argsort(both, axis=1, kind="stable")
    ranked = np.take_along_axis(both, order, axis=1)
    row, place = np.nonzero(ranked[:, 1:] == ranked[:, :-1])
    return Common(row, order[row, place], order[row, place + 1] - k)


def centred_kernel_at(rows: np.ndarray, indices: IndexArray, *, debiased: bool) -> tuple[np.ndarray, float]:
    """Centred inner products (n, k) of `rows` with those that `indices` names, and what is rounding.

    The norm of what is returned is no larger than the second value where there is only rounding.
    """
    n = len(rows)
    centred = rows - rows.mean(axis=0)
    kernel = products_at(centred, indices)
    lengths = np.einsum("ij,ij->i", centred, centred)
    if debiased:
        # rows of the kernel sum to zero: without the diagonal they sum to minus the squared length
        kernel += (lengths[:, None] + lengths[indices]) / (n - 2)
        kernel -= lengths.sum() / ((n - 1) * (n - 2))
    rounding = 16 * float(np.finfo(np.float64).eps) * float(np.sqrt(kernel.size) * np.sqrt(lengths.max()))
    return kernel, rounding
