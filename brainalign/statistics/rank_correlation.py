"""Kendall's tau, exact and in O(n log n), and the ties that rounding hides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 64
_GROUP_BITS = 12
_UPPER = np.triu(np.ones((_BLOCK, _BLOCK), dtype=bool), 1)


@dataclass(frozen=True, eq=False)
class SortedRows:
    """Rows sorted once, for any number of rank correlations.

    Parameters
    ----------
    order : array (k, n), the positions of the entries of each row in rising order
    dense : array (k, n), the rank of each entry among the distinct values of its row, from 0
    ties : array (k,), the number of pairs of equal entries; all pairs where the row holds NaN
    """

    order: np.ndarray
    dense: np.ndarray
    ties: np.ndarray


def sort_rows(vectors: np.ndarray) -> SortedRows:
    """Sort each row of vectors (k, n); O(k n log n) time, 24 bytes an entry of memory."""
    k, n = vectors.shape
    order = np.argsort(vectors, axis=1, kind="stable")
    values = np.take_along_axis(vectors, order, axis=1)
    rank = np.zeros((k, n), dtype=np.int64)
    np.cumsum(values[:, 1:] != values[:, :-1], axis=1, out=rank[:, 1:])
    dense = np.empty_like(rank)
    np.put_along_axis(dense, order, rank, axis=1)
    counts = np.bincount((rank + np.arange(k)[:, None] * n).ravel(), minlength=k * n).reshape(k, n)
    counts = counts.astype(np.int64)
    ties = (counts * (counts - 1) // 2).sum(axis=1)
    ties[np.isnan(vectors).any(axis=1)] = n * (n - 1) // 2
    return SortedRows(order, dense, ties)


def inversions(permutation: np.ndarray) -> int:
    """Return the number of pairs of a permutation of 0 ... n - 1 that stand in falling order.

    Notes
    -----
    Values are split by their highest bits, keeping their order, until groups of 4096 are
    left; what a split tears apart is counted from a running sum. Inside a group, pairs in
    different blocks of 64 places and different bins of 64 values come from a table of
    counts, the rest from comparing 64 with 64. O(n log n) time, O(n) memory.

    Examples
    --------
    >>> import numpy as np
    >>> inversions(np.array([2, 0, 1, 3]))
    2
    """
    n = len(permutation)
    if n <= 2 ** (_GROUP_BITS + 1):
        size = -(-n // _BLOCK) * _BLOCK
        padded = np.arange(size, dtype=np.int64)  # what is added stands and counts last
        padded[:n] = permutation
        return _inside(padded[None])
    size = -(-n // 2**_GROUP_BITS) * 2**_GROUP_BITS
    values = np.arange(size, dtype=np.int64)
    values[:n] = permutation
    found, values = _split(values)
    groups = (values & (2**_GROUP_BITS - 1)).reshape(-1, 2**_GROUP_BITS)
    return found + sum(_inside(part) for part in np.array_split(groups, -(-len(groups) // 4)))


def _split(values: np.ndarray) -> tuple[int, np.ndarray]:
    """Inversions between groups of values that share their highest bits, and the values by group."""
    size = len(values)
    place = np.arange(size)
    ones = np.zeros(size + 1, dtype=np.int64)
    found = 0
    for bit in range((size - 1).bit_length() - 1, _GROUP_BITS - 1, -1):
        start = (values >> (bit + 1)) << (bit + 1)
        high = ((values >> bit) & 1).astype(bool)
        np.cumsum(high, out=ones[1:])
        before = ones[:-1] - ones[start]
        found += int(before[~high].sum())
        moved = np.empty_like(values)
        moved[np.where(high, start + (1 << bit) + before, place - before)] = values
        values = moved
    return found, values


def _inside(groups: np.ndarray) -> int:
    """Inversions inside each row of groups (g, size), permutations of 0 ... size - 1."""
    g, size = groups.shape
    n_blocks = size // _BLOCK
    block = np.arange(size) // _BLOCK
    cell = (np.arange(g)[:, None] * n_blocks + block) * n_blocks + groups // _BLOCK
    table = np.bincount(cell.ravel(), minlength=g * n_blocks**2).reshape(g, n_blocks, n_blocks)
    earlier = np.cumsum(table, axis=1) - table
    above = np.cumsum(earlier[:, :, ::-1], axis=2)[:, :, ::-1] - earlier
    found = int(np.vdot(table, above))
    found += _falling(groups.astype(np.int16).reshape(-1, _BLOCK))
    in_block = np.empty(groups.shape, dtype=np.uint8)
    np.put_along_axis(in_block, groups, np.broadcast_to(block.astype(np.uint8), groups.shape), axis=1)
    return found + _falling(in_block.reshape(-1, _BLOCK))


def _falling(rows: np.ndarray) -> int:
    """Pairs i < j with rows[:, i] > rows[:, j], over all rows."""
    return int(np.count_nonzero((rows[:, :, None] > rows[:, None, :]) & _UPPER))


def _counts(first: SortedRows, i: int, second: SortedRows, j: int) -> tuple[int, int]:
    """Discordant and jointly tied pairs of one row of each.

    Ties are put in the order of the other row, so that they never count as discordant.
    """
    n = first.dense.shape[1]
    joint = 0
    if first.ties[i]:
        keys = np.sort(first.dense[i] * n + second.dense[j])
        if second.ties[j]:
            joint = _equal_neighbours(keys)
        ranks = keys % n
    else:
        ranks = second.dense[j][first.order[i]]
    if second.ties[j]:
        ranks = np.sort(ranks * n + np.arange(n)) % n  # the places in the order of the ranks
    return inversions(ranks), joint


def _equal_neighbours(ordered: np.ndarray) -> int:
    """Pairs of equal entries of a sorted vector."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    length = np.diff(np.append(starts, len(ordered)))
    return int((length * (length - 1) // 2).sum())


def kendall_table(first: SortedRows, second: SortedRows, *, variant: str = "a") -> np.ndarray:
    """Return Kendall's tau of each row of `first` with each row of `second`, (k1, k2).

    Parameters
    ----------
    first, second : SortedRows over the same n entries
    variant : ``"a"`` (over all pairs of entries) or ``"b"`` (over the root of the untied ones)

    Returns
    -------
    array (k1, k2) in [-1, 1]; NaN where a row is constant or holds NaN.

    Notes
    -----
    Exact: pairs are counted in integers. Cost: O(k1 k2 n log n) time; rows are sorted once,
    not once a pair. Memory: 24 bytes an entry of the rows, about 150 bytes an entry of a pair.
    """
    n = first.dense.shape[1]
    total = n * (n - 1) // 2
    out = np.full((len(first.dense), len(second.dense)), np.nan)
    for i, j in np.ndindex(*out.shape):
        own, other = int(first.ties[i]), int(second.ties[j])
        if max(own, other) == total:
            continue
        discordant, joint = _counts(first, i, second, j)
        difference = total - own - other + joint - 2 * discordant
        scale = (
            float(total) if variant == "a" else np.sqrt(float(total - own)) * np.sqrt(float(total - other))
        )
        out[i, j] = min(max(difference / scale, -1.0), 1.0)
    return out


def tau_a(a: np.ndarray, b: np.ndarray) -> float:
    """Return (concordant - discordant pairs of entries) / all pairs of entries.

    Parameters
    ----------
    a, b : arrays (n,), finite

    Returns
    -------
    float in [-1, 1]; ties count as neither, so that a vector with ties cannot reach 1.
    NaN where a or b is constant: it orders nothing.

    Notes
    -----
    Cost: O(n log n). Source: Kendall 1938, doi:10.1093/biomet/30.1-2.81.

    Examples
    --------
    >>> import numpy as np
    >>> tau_a(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])) == 3 / 6
    True
    """
    return float(kendall_table(sort_rows(np.asarray(a)[None]), sort_rows(np.asarray(b)[None]))[0, 0])


def tau_b(a: np.ndarray, b: np.ndarray) -> float:
    """Return (concordant - discordant) / sqrt(pairs untied in a * pairs untied in b).

    Parameters
    ----------
    a, b : arrays (n,), finite

    Returns
    -------
    float in [-1, 1]; NaN where a or b is constant. A vector with ties reaches 1 with
    itself, so that a model that predicts ties is favoured over one that predicts an order.

    Notes
    -----
    Cost: O(n log n). Source: Kendall 1945, doi:10.1093/biomet/33.3.239.

    Examples
    --------
    >>> import numpy as np
    >>> round(tau_b(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])), 6)
    0.547723
    """
    first, second = sort_rows(np.asarray(a)[None]), sort_rows(np.asarray(b)[None])
    return float(kendall_table(first, second, variant="b")[0, 0])


def settle_ties(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., n) in which entries that differ by rounding alone are equal.

    Each vector is divided by its largest absolute entry and rounded to 12 decimals, which
    is above the error of a distance computed in float64 and below any difference that
    was measured. Without it, ranks would order the rounding of equal distances.

    Examples
    --------
    >>> import numpy as np
    >>> np.unique(settle_ties(np.array([0.3, 0.1 + 0.2]))).size
    1
    """
    scale = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)
    out: np.ndarray = np.round(vectors / np.where(scale > 0, scale, 1.0), 12)
    return out
