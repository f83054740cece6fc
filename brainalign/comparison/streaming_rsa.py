"""RSA over very many stimuli: correlation of two RDMs that are never built."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign._memory import available_memory
from brainalign.errors import InputError, MemoryBudgetError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
MEASURES = ("pearson", "cosine", "whitened_cosine")
DISTANCES = ("sq_euclidean", "correlation")
_BLOCK_BYTES = 2**26
_CANCELLED = 1e-12


def large_rsa_memory(p: int, q: int, *, block_rows: int | None = None) -> int:
    """Return the bytes that `large_rsa` needs for p and q units: 8 (p^2 + q^2 + p q) + 32 b (p + q).

    b is the number of rows of a block (`block_rows`; the one given by the caller for an
    iterable of blocks). The number of stimuli does not enter.

    Examples
    --------
    >>> large_rsa_memory(1000, 1000) < 2**29
    True
    """
    rows = _block_rows(p, q) if block_rows is None else block_rows
    return 8 * (p * p + q * q + p * q) + 32 * rows * (p + q)


def _block_rows(p: int, q: int) -> int:
    return max(1, _BLOCK_BYTES // (8 * (p + q)))


def large_rsa(
    x: Any,
    y: Any,
    *,
    measure: str = "pearson",
    distance: str = "sq_euclidean",
    block_rows: int | None = None,
) -> float:
    """Return the similarity of the RDMs of x and y in one pass over their rows, without the RDMs.

    Parameters
    ----------
    x, y : (n_stimuli, p) and (n_stimuli, q)
        Arrays, memory maps, HDF5 datasets (anything with `shape` and slices of rows), or
        iterables of blocks of rows; blocks of x and y need not have the same length. Rows are
        joined by position. Sums are float64 whatever the dtype.
    measure : ``"pearson"``, ``"cosine"`` or ``"whitened_cosine"``
        Over the n (n - 1) / 2 pairs; ``"whitened_cosine"`` (no `sigma_k`) is biased linear CKA.
    distance : ``"sq_euclidean"`` or ``"correlation"``
        ``"correlation"``: each row is centred and scaled to norm one, so that the squared
        distance is 2 (1 - r). Rows that are constant in x or y are left out of both and counted
        in a warning, as their pairs would be.
    block_rows : rows that are read at a time; None: 64 MiB of float64

    Returns
    -------
    float in [-1, 1]. NaN, with a warning, where all distances of a side are equal (pearson) or
    zero.

    Raises
    ------
    ShapeError
        No matrix, different numbers of rows, fewer than 3 stimuli (whitened: 4), `correlation`
        with one unit.
    InputError
        Values that are not finite (with the row), another measure or distance.
    MemoryBudgetError
        `large_rsa_memory` is more than there is: with more units than stimuli, compare RDMs.

    Notes
    -----
    With a, b the squared norms of the centred rows, the sum over pairs of D_ij E_ij is
    n a'b + sum(a) sum(b) + 2 |X'Y|^2, and that of D_ij is n sum(a). Rows are shifted by the mean
    of the first block; the rest of the centring is removed from the sums at the end. Invariant
    to rotation and to a vector added to every row (sq_euclidean), and to one factor.
    Cost: n (p^2 + q^2 + p q) multiplications and additions; memory `large_rsa_memory`: 73,000 x
    1000 on both sides takes 4.4e11 operations and about 150 MB, the RDMs would take 42 GB.
    Pearson of nearly equal distances loses digits as mean(D) / sd(D), squared, times 1e-16.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> round(large_rsa(x, 3.0 * x[:, ::-1] + 1.0), 6)
    1.0
    """
    one_of("measure", measure, MEASURES)
    one_of("distance", distance, DISTANCES)
    sums: _Sums | None = None
    left_out = 0
    row = 0
    for u, v in paired_blocks(x, y, block_rows):
        first, second = _finite("x", u, row), _finite("y", v, row)
        row += len(u)
        if distance == "correlation":
            first, second, dropped = standardised_pair(first, second)
            left_out += dropped
        if sums is None:
            _check_memory(first.shape[1], second.shape[1], len(u))
            sums = _Sums(first, second)
        sums.add(first, second)
    n = 0 if sums is None else sums.n
    least = 4 if measure == "whitened_cosine" else 3
    if sums is None or n < least:
        raise ShapeError(f"x and y have {n} stimuli that vary over units; {measure} needs at least {least}")
    if left_out:
        warnings.warn(
            f"{left_out} of {row} stimuli have the same response in every unit of x or y and are left out",
            stacklevel=2,
        )
    value = sums.similarity(measure)
    if np.isnan(value):
        warnings.warn(f"{measure} is NaN: all distances of x or of y are equal, or zero", stacklevel=2)
    return value


def _check_memory(p: int, q: int, rows: int) -> None:
    need, there = large_rsa_memory(p, q, block_rows=rows), available_memory()
    if need > there:
        raise MemoryBudgetError(
            f"large_rsa over {p} and {q} units needs {need / 2**30:.1f} GiB and {there / 2**30:.1f} GiB are "
            "free; with fewer stimuli than units compare their RDMs (compare_rdms), or reduce the units first"
        )


def paired_blocks(x: Any, y: Any, block_rows: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the same rows of x and y, block by block."""
    sliced = [hasattr(side, "shape") for side in (x, y)]
    for name, side in (("x", x), ("y", y)):
        if hasattr(side, "shape") and len(side.shape) != 2:
            raise ShapeError(f"{name} has shape {tuple(side.shape)}; expected (n_stimuli, n_units)")
    if all(sliced) and x.shape[0] != y.shape[0]:
        raise ShapeError(f"x has {x.shape[0]} rows and y has {y.shape[0]}; they must be the same stimuli")
    widths = [side.shape[1] if hasattr(side, "shape") else 1000 for side in (x, y)]
    rows = _block_rows(*widths) if block_rows is None else block_rows
    if rows < 1:
        raise InputError(f"block_rows={rows}; expected at least 1")
    yield from _same_rows(_blocks("x", x, rows), _blocks("y", y, rows))


def _blocks(name: str, side: Any, rows: int) -> Iterator[np.ndarray]:
    if hasattr(side, "shape"):
        for start in range(0, side.shape[0], rows):
            yield plain_array(name, side[start : start + rows])
        return
    if not isinstance(side, Iterable):
        raise InputError(
            f"{name} is {type(side).__name__}; expected an array, a dataset or an iterable of blocks"
        )
    for block in side:
        array = plain_array(f"a block of {name}", block)
        if array.ndim != 2:
            raise ShapeError(f"a block of {name} has shape {array.shape}; expected (n_rows, n_units)")
        if len(array):
            yield array


def _same_rows(
    first: Iterator[np.ndarray], second: Iterator[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut both at the edges of either."""
    u, v = next(first, None), next(second, None)
    while u is not None and v is not None:
        size = min(len(u), len(v))
        yield u[:size], v[:size]
        u = u[size:] if len(u) > size else next(first, None)
        v = v[size:] if len(v) > size else next(second, None)
    if u is not None or v is not None:
        longer = "x" if u is not None else "y"
        raise ShapeError(f"{longer} has more rows than the other side; both must be the same stimuli")


def _finite(name: str, block: np.ndarray, start: int) -> FloatArray:
    if block.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {block.dtype}; expected real numbers")
    values: FloatArray = block.astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"{name} has values that are not finite, first in row {start + int(np.argmax(bad))}; leave "
            "out these units or stimuli first"
        )
    return values


def standardised_pair(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """Rows centred and of norm one, without the rows that are constant on either side, and their count."""
    sides, constant = [], np.zeros(len(x), dtype=bool)
    for name, values in (("x", x), ("y", y)):
        if values.shape[1] < 2:
            raise ShapeError(f"{name} has {values.shape[1]} unit; a correlation over units needs at least 2")
        centred = values - values.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(centred, axis=1)
        constant |= norms <= values.shape[1] * np.finfo(np.float64).eps * np.abs(values).max(axis=1)
        sides.append(centred / np.where(norms > 0, norms, 1.0)[:, None])
    return sides[0][~constant], sides[1][~constant], int(constant.sum())


class _Side:
    """Running sums of one system: rows, squared norms, outer products, after a shift."""

    def __init__(self, block: FloatArray) -> None:
        p = block.shape[1]
        self.shift = block.mean(axis=0) if len(block) else np.zeros(p)
        # the similarity has no unit, and fourth powers of the responses must neither overflow nor vanish
        largest = float(np.abs(block - self.shift).max(initial=0.0))
        self.size = largest if largest > 0 else 1.0
        self.outer = np.zeros((p, p))
        self.rows = np.zeros(p)


class _Sums:
    """Everything that the similarity of two RDMs of squared distances needs."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self.n = 0
        self.x, self.y = _Side(x), _Side(y)
        self.cross = np.zeros((x.shape[1], y.shape[1]))
        # squared norms a of x and b of y: sums, products, and products with the rows
        self.norms = np.zeros(2)
        self.products = np.zeros((2, 2))
        self.norm_x, self.norm_y = np.zeros((2, x.shape[1])), np.zeros((2, y.shape[1]))

    def add(self, x: FloatArray, y: FloatArray) -> None:
        for name, block, width in (("x", x, len(self.x.rows)), ("y", y, len(self.y.rows))):
            if block.shape[1] != width:
                raise ShapeError(
                    f"a block of {name} has {block.shape[1]} units and the first one has {width}"
                )
        u, v = (x - self.x.shift) / self.x.size, (y - self.y.shift) / self.y.size
        self.n += len(u)
        for side, rows in ((self.x, u), (self.y, v)):
            side.rows += rows.sum(axis=0)
            side.outer += rows.T @ rows
        self.cross += u.T @ v
        norms = np.stack([np.einsum("ij,ij->i", u, u), np.einsum("ij,ij->i", v, v)])
        self.norms += norms.sum(axis=1)
        self.products += norms @ norms.T
        self.norm_x += norms @ u
        self.norm_y += norms @ v

    def similarity(self, measure: str) -> float:
        n = self.n
        m, k = self.x.rows / n, self.y.rows / n
        grams = {
            "xx": _square_norm(self.x.outer, m, m, n),
            "yy": _square_norm(self.y.outer, k, k, n),
            "xy": _square_norm(self.cross, m, k, n),
        }
        if measure == "whitened_cosine":
            return _ratio(grams["xy"], grams["xx"], grams["yy"])
        sums = self.norms - n * np.array([m @ m, k @ k])
        products = {
            "xx": self._products(0, 0, m, m, self.norm_x[0], self.norm_x[0], self.x.outer),
            "yy": self._products(1, 1, k, k, self.norm_y[1], self.norm_y[1], self.y.outer),
            "xy": self._products(0, 1, m, k, self.norm_y[0], self.norm_x[1], self.cross),
        }
        ends = {"xx": (0, 0), "yy": (1, 1), "xy": (0, 1)}
        totals = {s: n * products[s] + sums[i] * sums[j] + 2.0 * grams[s] for s, (i, j) in ends.items()}
        if measure == "pearson":
            pairs = n * (n - 1) / 2
            means = {s: n * sums[i] * n * sums[j] / pairs for s, (i, j) in ends.items()}
            # the two terms cancel: below this, what is left is rounding
            limits = [_CANCELLED * totals["xx"], _CANCELLED * totals["yy"]]
            totals = {s: totals[s] - means[s] for s in totals}
            if totals["xx"] <= limits[0] or totals["yy"] <= limits[1]:
                return float("nan")
        return _ratio(totals["xy"], totals["xx"], totals["yy"])

    def _products(
        self,
        i: int,
        j: int,
        m: FloatArray,
        k: FloatArray,
        a_y: FloatArray,
        b_x: FloatArray,
        outer: FloatArray,
    ) -> float:
        """Sum over rows of the products of the squared norms about the means m and k."""
        mm, kk = float(m @ m), float(k @ k)
        n = self.n
        value = self.products[i, j] - 2.0 * (k @ a_y) + kk * self.norms[i] - 2.0 * (m @ b_x)
        value += (
            4.0 * (m @ outer @ k) - 2.0 * kk * n * mm + mm * self.norms[j] - 2.0 * mm * n * kk + n * mm * kk
        )
        return float(value)


def _square_norm(outer: FloatArray, m: FloatArray, k: FloatArray, n: int) -> float:
    """Squared norm of the product of the centred rows."""
    return float(np.sum((outer - n * np.outer(m, k)) ** 2))


def _ratio(xy: float, xx: float, yy: float) -> float:
    if not (xx > 0 and yy > 0):
        return float("nan")
    return float(np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0))
