"""Linear CKA over very many stimuli: exact, read in blocks of rows, without Gram matrices."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign._memory import available_memory
from brainalign.comparison._centring import FloatArray, only_rounding
from brainalign.comparison._option_checks import flag, whole_number
from brainalign.comparison.cka import MIN_STIMULI
from brainalign.comparison.streaming_rsa import _finite, _square_norm, _Sums, paired_blocks
from brainalign.errors import MemoryBudgetError, ShapeError

_EPS = float(np.finfo(np.float64).eps)
_BLOCK_BYTES = 2**26
# each tile is read again for every other one: fewer and larger ones
_TILE_BYTES = 2**27
# what is left of the squared norms after centring, as a share, is rounding below this
_CONSTANT = 1e-13


def large_cka_memory(n: int, p: int, q: int, *, block_rows: int | None = None) -> int:
    """Return the bytes that `large_cka` needs for n stimuli and p and q units.

    8 (p^2 + q^2 + p q) + 32 b (p + q) in one pass; with arrays of fewer stimuli than units
    32 b (p + q) + 32 b^2, where b is the number of rows of a block.

    Examples
    --------
    >>> large_cka_memory(73_000, 1000, 1000) < 2**29
    True
    """
    for name, value in (("n", n), ("p", p), ("q", q)):
        whole_number(name, value, low=1)
    tiled = n < max(p, q)
    rows = min(_rows(p, q, block_rows, tiled=tiled), max(n, 1))
    own = 32 * rows * rows if tiled else 8 * (p * p + q * q + p * q)
    return own + 32 * rows * (p + q)


def _rows(p: int, q: int, block_rows: int | None, *, tiled: bool) -> int:
    if block_rows is not None:
        return block_rows
    return max(1, (_TILE_BYTES if tiled else _BLOCK_BYTES) // (8 * (p + q)))


def large_cka(x: Any, y: Any, *, debiased: bool = True, block_rows: int | None = None) -> float:
    """Return the linear CKA of x and y, read in blocks of rows, exactly that of all rows at once.

    Parameters
    ----------
    x, y : (n_stimuli, p) and (n_stimuli, q)
        Arrays, memory maps, HDF5 datasets, tensors (anything with `shape` and slices of rows), or
        iterables of blocks of rows; blocks of x and y need not have the same length. Rows are
        joined by position. Sums and products are float64 whatever the dtype.
    debiased : True: ratio of U-statistics; False: the biased form. As in `linear_cka`.
    block_rows : rows that are read at a time; None: 64 MiB of float64, 128 MiB for tiles

    Returns
    -------
    float, as `linear_cka`. NaN, with a warning, where a side does not vary over stimuli or
    (debiased) all its stimuli are equally far apart.

    Raises
    ------
    ShapeError
        No matrix, different numbers of rows, fewer than 4 stimuli.
    InputError
        Values that are not finite (with the row); `block_rows` below 1.
    MemoryBudgetError
        `large_cka_memory` is more than there is.

    Notes
    -----
    One pass keeps X'Y, X'X, Y'Y and the sums of rows, of their squared norms and of the products
    of these with each other: with the diagonals of both Gram matrices and their row sums the
    U-statistic follows. Rows are shifted by the mean of the first block; the rest of the centring
    is taken out of the sums at the end, so that a large offset costs no digits.
    The full-data value: an average over minibatches is not, and its ratio is biased.
    Arrays with fewer stimuli than units are read twice or more, in pairs of blocks, and their
    Gram matrices are summed tile by tile; an iterable is always read once, as one pass.
    Cost: n (p^2 + q^2 + 2 p q) operations, or n^2 (p + q) by tiles; memory `large_cka_memory`:
    73,000 x 1000 on both sides takes about 300 MB, two Gram matrices would take 85 GB. Source:
    U-statistic of Song et al. 2012 (JMLR 13:1393), Nguyen et al. 2021, arXiv:2010.15327.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> round(large_cka(x, 3.0 * x[:, ::-1] + 1.0, block_rows=64), 6)
    1.0
    """
    flag("debiased", debiased)
    if block_rows is not None:
        whole_number("block_rows", block_rows, low=1)
    sliced = all(hasattr(side, "shape") and len(side.shape) == 2 for side in (x, y))
    if sliced and x.shape[0] == y.shape[0] and x.shape[0] < max(x.shape[1], y.shape[1]):
        n, inner, diagonals = _by_tiles(x, y, block_rows)
    else:
        n, inner, diagonals = _by_sums(x, y, block_rows)
    return _value(n, inner, diagonals, debiased=debiased)


def _value(n: int, inner: FloatArray, diagonals: FloatArray, *, debiased: bool) -> float:
    """CKA of <K, L>, <K, K>, <L, L> and the diagonals' sums and products.

    diagonals : (sum k, sum l, sum kl, sum kk, sum ll); the sums are 0 where a side is constant
    """
    sum_k, sum_l, kl, kk, ll = diagonals
    for name, total in (("x", sum_k), ("y", sum_l)):
        if total == 0.0:
            return _no_value(name)
    # of norm one, as `linear_cka` has them: what is left below the limit is rounding
    xy, xx, yy = inner / np.array([sum_k * sum_l, sum_k**2, sum_l**2])
    if debiased:
        xy = _unbiased(n, xy, kl / (sum_k * sum_l))
        xx, yy = _unbiased(n, xx, kk / sum_k**2), _unbiased(n, yy, ll / sum_l**2)
    if min(xx, yy) <= 64.0 * _EPS:
        return _no_value("x" if xx <= yy else "y")
    value = float(xy / (np.sqrt(xx) * np.sqrt(yy)))
    return min(max(value, -1.0), 1.0)


def _unbiased(n: int, inner: float, product: float) -> float:
    """The U-statistic of Song et al. times n (n - 3), of sums alone; both diagonals sum to one."""
    return inner - product + 1.0 / ((n - 1) * (n - 2)) - 2.0 * product / (n - 2)


def _no_value(name: str) -> float:
    warnings.warn(
        f"CKA is NaN: {name} does not vary over stimuli (or all its stimuli are equally far apart)",
        stacklevel=4,
    )
    return float("nan")


def _by_sums(x: Any, y: Any, block_rows: int | None) -> tuple[int, FloatArray, FloatArray]:
    """One pass over the rows; memory O(p q), whatever the number of rows."""
    sums: _Sums | None = None
    spreads = _Spread(), _Spread()
    row = 0
    for u, v in paired_blocks(x, y, block_rows):
        first, second = _finite("x", u, row), _finite("y", v, row)
        if sums is None:
            n = x.shape[0] if hasattr(x, "shape") else 2**62
            _check_memory(n, first.shape[1], second.shape[1], len(u))
            sums = _Sums(first, second)
        sums.add(first, second)
        for spread, block in zip(spreads, (first, second), strict=True):
            spread.add(block)
        row += len(u)
    _check_stimuli(row)
    assert sums is not None
    n = sums.n
    m, k = sums.x.rows / n, sums.y.rows / n
    inner = np.array(
        [
            _square_norm(sums.cross, m, k, n),
            _square_norm(sums.x.outer, m, m, n),
            _square_norm(sums.y.outer, k, k, n),
        ]
    )
    totals = sums.norms - n * np.array([m @ m, k @ k])
    totals[totals <= _CONSTANT * sums.norms] = 0.0
    totals[[bool(spread.constant.all()) for spread in spreads]] = 0.0
    products = [
        sums._products(0, 1, m, k, sums.norm_y[0], sums.norm_x[1], sums.cross),
        sums._products(0, 0, m, m, sums.norm_x[0], sums.norm_x[0], sums.x.outer),
        sums._products(1, 1, k, k, sums.norm_y[1], sums.norm_y[1], sums.y.outer),
    ]
    return n, inner, np.array([*totals, *products])


def _by_tiles(x: Any, y: Any, block_rows: int | None) -> tuple[int, FloatArray, FloatArray]:
    """Pairs of blocks of rows, so that no product of units with units is built."""
    n, p, q = int(x.shape[0]), int(x.shape[1]), int(y.shape[1])
    _check_stimuli(n)
    rows = _rows(p, q, block_rows, tiled=True)
    _check_memory(n, p, q, rows)
    means, sizes = _means_and_sizes(x, y, block_rows)

    def cut(start: int, stop: int) -> tuple[FloatArray, FloatArray]:
        u, v = next(paired_blocks(x[start:stop], y[start:stop], stop - start))
        first, second = _finite("x", u, start), _finite("y", v, start)
        return (first - means[0]) / sizes[0], (second - means[1]) / sizes[1]

    inner, diagonals = np.zeros(3), np.zeros((2, n))
    edges = list(range(0, n, rows))
    for i in edges:
        u, v = cut(i, min(i + rows, n))
        diagonals[0, i : i + rows] = np.einsum("ij,ij->i", u, u)
        diagonals[1, i : i + rows] = np.einsum("ij,ij->i", v, v)
        for j in edges:
            if j > i:
                break
            other = (u, v) if j == i else cut(j, min(j + rows, n))
            inner += (1.0 if j == i else 2.0) * _tile(u @ other[0].T, v @ other[1].T)
    k, l_diagonal = diagonals
    products = [k @ l_diagonal, k @ k, l_diagonal @ l_diagonal]
    return n, inner, np.array([k.sum(), l_diagonal.sum(), *products])


def _tile(k: FloatArray, l_tile: FloatArray) -> FloatArray:
    return np.array([np.vdot(k, l_tile), np.vdot(k, k), np.vdot(l_tile, l_tile)])


class _Spread:
    """The smallest and the largest value of each column of the blocks so far."""

    def __init__(self) -> None:
        self.low: FloatArray | None = None
        self.high: FloatArray | None = None

    def add(self, block: FloatArray) -> None:
        low, high = block.min(axis=0), block.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)

    @property
    def size(self) -> FloatArray:
        """Largest less smallest value of each column; 0 where that is rounding."""
        assert self.low is not None
        assert self.high is not None
        spread = self.high - self.low
        rounding = only_rounding(spread, np.maximum(np.abs(self.low), np.abs(self.high)))
        return np.where(rounding, 0.0, spread)

    @property
    def constant(self) -> np.ndarray:
        return np.asarray(self.size == 0.0)


def _means_and_sizes(x: Any, y: Any, block_rows: int | None) -> tuple[list[FloatArray], list[float]]:
    """Column means, after a shift by those of the first block, and the largest distance from them.

    The size is infinite where a side does not vary, so that its rows become zero.
    """
    shifts: list[FloatArray] = []
    sums: list[FloatArray] = []
    spreads = _Spread(), _Spread()
    row = 0
    for blocks in paired_blocks(x, y, block_rows):
        pair = [_finite(name, block, row) for name, block in zip(("x", "y"), blocks, strict=True)]
        if not shifts:
            shifts = [block.mean(axis=0) for block in pair]
            sums = [np.zeros(block.shape[1]) for block in pair]
        for side, block in enumerate(pair):
            sums[side] += (block - shifts[side]).sum(axis=0)
            spreads[side].add(block)
        row += len(pair[0])
    means = [shift + total / row for shift, total in zip(shifts, sums, strict=True)]
    for mean, spread in zip(means, spreads, strict=True):
        # the mean of a constant column is rounded: the column itself is its exact mean
        assert spread.low is not None
        mean[spread.constant] = spread.low[spread.constant]
    largest = [float(spread.size.max()) for spread in spreads]
    return means, [size if size > 0 else float("inf") for size in largest]


def _check_stimuli(n: int) -> None:
    if n < MIN_STIMULI:
        raise ShapeError(f"CKA over {n} stimuli; it needs at least {MIN_STIMULI}")


def _check_memory(n: int, p: int, q: int, rows: int) -> None:
    need, there = large_cka_memory(n, p, q, block_rows=rows), available_memory()
    if need > there:
        raise MemoryBudgetError(
            f"large_cka over {p} and {q} units needs {need / 2**30:.1f} GiB and {there / 2**30:.1f} GiB are "
            "free; give arrays in place of iterables where there are fewer stimuli than units, smaller "
            "blocks (block_rows), or reduce the units first"
        )
