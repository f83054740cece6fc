"""Spearman's correlation of RDMs too large to sort, from ranks that are known to a bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.comparison._option_checks import generator_of
from brainalign.comparison.streaming_rsa import DISTANCES, FloatArray, standardised_pair
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

_SAMPLE = 2**20
_TILE = 1024


@dataclass(frozen=True)
class LargeRankCorrelation:
    """A rank correlation of two RDMs and how far it may be from the exact one.

    `value`; `error_bound`: the exact value is within `value` +- `error_bound`; `n_pairs` of
    stimuli; `n_bins` that were filled (the fewer of the two RDMs).
    """

    value: float
    error_bound: float
    n_pairs: int
    n_bins: int


def large_rank_rsa(
    x: Any,
    y: Any,
    *,
    measure: str = "spearman",
    distance: str = "sq_euclidean",
    n_bins: int = 2**16,
    tile_rows: int = _TILE,
    random_state: int = 0,
) -> LargeRankCorrelation:
    """Return the rank correlation of the RDMs of x and y, tile by tile, from ranks known to a bin.

    Parameters
    ----------
    x, y : arrays, memory maps or HDF5 datasets (n_stimuli, p) and (n_stimuli, q)
        Read in slices of rows, n / tile_rows times each. Rows are joined by position.
    measure : ``"spearman"`` or ``"rho_a"``
    distance : ``"sq_euclidean"`` or ``"correlation"`` (rows must vary over units)
    n_bins : bins of the distances, at most; their edges are quantiles of 2^20 random pairs
    tile_rows : rows of a tile of the RDMs
    random_state : seed of the pairs that place the edges; the bound holds wherever they lie

    Returns
    -------
    LargeRankCorrelation
        NaN value and bound where all distances of a side fall into one bin.

    Raises
    ------
    ShapeError
        No matrix, different numbers of rows, fewer than 3 stimuli, one unit with correlation.
    InputError
        Not real numbers, another measure or distance, fewer than 2 bins or rows of a tile,
        values that are not finite, a row that is constant over units with correlation distance.

    Notes
    -----
    Every entry gets the middle rank of its bin. With c_b entries in bin b, the ranks inside
    the bins spread by at most w = sum(c_b^3 - c_b) / 12 and the middle ranks by B, so that
    exact and binned ranks, as vectors, make an angle of at most asin(d), d^2 = w / (w + B). The
    angle between two RDMs therefore changes by at most asin(d_x) + asin(d_y), and so does its
    cosine, Spearman's correlation. (rho-a divides by the fixed norm (P^3 - P) / 12 = N: its bound
    is (sqrt(w_x) + sqrt(w_y)) / sqrt(N).) With evenly filled bins d = 1 / n_bins, 1.5e-5.
    Cost: the tiles are computed twice, n^2 (p + q), and n^2 log(n_bins) for the bins. Memory:
    32 tile_rows^2 + 32 tile_rows (p + q) + 40 n_bins bytes and 32 MiB for the edges.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(80, 5))
    >>> out = large_rank_rsa(x, x + 0.01)
    >>> round(out.value, 6), out.error_bound < 1e-2
    (1.0, True)
    """
    one_of("measure", measure, ("spearman", "rho_a"))
    one_of("distance", distance, DISTANCES)
    if n_bins < 2 or tile_rows < 2:
        raise InputError(f"n_bins={n_bins}, tile_rows={tile_rows}; expected at least 2 of each")
    _check_rows(x, y)
    n = int(x.shape[0])
    first = slice(0, min(n, tile_rows))
    shift = tuple(_taken(name, side, first).mean(axis=0) for name, side in (("x", x), ("y", y)))
    edges, scale = _edges(x, y, shift, distance, n_bins, random_state)
    counts = [np.zeros(len(e) + 1, dtype=np.int64) for e in edges]
    for tile in _tiles(x, y, shift, distance, tile_rows, scale):
        for count, edge, values in zip(counts, edges, tile, strict=True):
            count += np.bincount(np.searchsorted(edge, values, side="right"), minlength=len(count))
    ranks = [np.cumsum(c) - (c - 1) / 2.0 for c in counts]
    pairs = n * (n - 1) // 2
    centred = [r - (pairs + 1) / 2.0 for r in ranks]
    inner = 0.0
    for tile in _tiles(x, y, shift, distance, tile_rows, scale):
        u, v = (
            c[np.searchsorted(e, values, side="right")]
            for c, e, values in zip(centred, edges, tile, strict=True)
        )
        inner += float(u @ v)
    value, bound = _with_bound(measure, inner, centred, counts, pairs)
    return LargeRankCorrelation(value, bound, pairs, min(int((c > 0).sum()) for c in counts))


def _with_bound(
    measure: str, inner: float, centred: list[FloatArray], counts: list[np.ndarray], pairs: int
) -> tuple[float, float]:
    between = [float(c.astype(np.float64) @ r**2) for c, r in zip(counts, centred, strict=True)]
    sizes = [c.astype(np.float64) for c in counts]
    within = [float((s**3 - s).sum()) / 12.0 for s in sizes]
    if min(between) <= 0:
        return float("nan"), float("nan")
    if measure == "rho_a":
        norm = (float(pairs) ** 3 - pairs) / 12.0
        return inner / norm, float(sum(np.sqrt(w / norm) for w in within))
    value = inner / float(np.sqrt(between[0]) * np.sqrt(between[1]))
    angle = sum(np.arcsin(np.sqrt(w / (w + b))) for w, b in zip(within, between, strict=True))
    return float(np.clip(value, -1.0, 1.0)), float(min(angle, 2.0))


def _check_rows(x: Any, y: Any) -> None:
    for name, side in (("x", x), ("y", y)):
        if len(getattr(side, "shape", ())) != 2:
            raise ShapeError(
                f"{name} has shape {getattr(side, 'shape', None)}; expected (n_stimuli, n_units), by slices"
            )
    if x.shape[0] != y.shape[0]:
        raise ShapeError(f"x has {x.shape[0]} rows and y has {y.shape[0]}; they must be the same stimuli")
    if x.shape[0] < 3:
        raise ShapeError(f"x and y have {x.shape[0]} stimuli; a comparison needs at least 3")


def _taken(name: str, side: Any, index: Any) -> FloatArray:
    """Some rows as float64; a table takes rows by position, not its columns by name."""
    array = plain_array(name, side.iloc[index] if hasattr(side, "iloc") else side[index])
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    return array.astype(np.float64)


def _rows(
    x: Any, y: Any, index: Any, shift: tuple[FloatArray, ...], distance: str
) -> tuple[FloatArray, FloatArray]:
    """The same rows of both, float64, shifted or standardised."""
    u, v = (_taken(name, side, index) for name, side in (("x", x), ("y", y)))
    for name, values in (("x", u), ("y", v)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} has values that are not finite; leave out these units or stimuli first")
    if distance == "sq_euclidean":
        return u - shift[0], v - shift[1]
    u, v, dropped = standardised_pair(u, v)
    if dropped:
        raise InputError(
            f"{dropped} stimuli have the same response in every unit; their correlation distance is "
            "undefined: leave them out first"
        )
    return u, v


def _edges(
    x: Any, y: Any, shift: tuple[FloatArray, ...], distance: str, n_bins: int, seed: int
) -> tuple[list[FloatArray], list[float]]:
    """Quantiles of the distances between random rows, for x and y, and the largest of them."""
    n = int(x.shape[0])
    rng = generator_of(seed)
    rows = np.sort(rng.choice(n, size=min(n, int(np.sqrt(2 * _SAMPLE))), replace=False))
    first, second = _rows(x, y, rows, shift, distance)
    keep = np.triu_indices(len(rows), 1)
    levels = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
    raw = [_distances(side, side, 1.0)[keep] for side in (first, second)]
    scale = [max(float(r.max()), np.finfo(np.float64).tiny) for r in raw]
    return [
        np.unique(np.quantile(np.round(r / s, 12), levels)) for r, s in zip(raw, scale, strict=True)
    ], scale


def _distances(a: FloatArray, b: FloatArray, scale: float) -> FloatArray:
    """Squared distances over `scale`, rounded so that those that differ by rounding alone are equal."""
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None, :]
    out: FloatArray = np.round((squares - 2.0 * (a @ b.T)) / scale, 12)
    return out


def _tiles(
    x: Any, y: Any, shift: tuple[FloatArray, ...], distance: str, size: int, scale: list[float]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Distances of the same pairs i < j in x and in y, tile by tile, as vectors."""
    n = int(x.shape[0])
    for start in range(0, n, size):
        own = _rows(x, y, slice(start, start + size), shift, distance)
        keep = np.triu_indices(len(own[0]), 1)
        yield _distances(own[0], own[0], scale[0])[keep], _distances(own[1], own[1], scale[1])[keep]
        for other in range(start + size, n, size):
            part = _rows(x, y, slice(other, other + size), shift, distance)
            yield _distances(own[0], part[0], scale[0]).ravel(), _distances(own[1], part[1], scale[1]).ravel()
