"""The two nearest neighbours of every row, exact also where rows lie very close together."""

from __future__ import annotations

import numpy as np

_TILE_CELLS = 1 << 22
_CANDIDATES = 6


def two_nearest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (n, 2) to the two nearest other rows, ascending, and the nearest row (n,).

    Candidates come from products of tiles; their distances are summed from differences. A row
    whose candidates lie within the rounding of the products is searched by differences alone.
    Time O(n^2 p), memory of one tile of n columns.
    """
    n = len(values)
    squares = np.einsum("ij,ij->i", values, values)
    distances, nearest = np.empty((n, 2)), np.empty(n, dtype=np.int64)
    count = min(_CANDIDATES, n - 1)
    rounding = 16 * np.finfo(np.float64).eps * max(8, int(np.sqrt(values.shape[1])))
    rows_per_tile = max(1, _TILE_CELLS // max(n, count * values.shape[1]))
    for start in range(0, n, rows_per_tile):
        rows = np.arange(start, min(n, start + rows_per_tile))
        tile = squares[None, :] - 2.0 * (values[rows] @ values.T)
        tile[np.arange(len(rows)), rows] = np.inf
        found = np.argpartition(tile, count - 1, axis=1)[:, :count]
        furthest = np.take_along_axis(tile, found, axis=1).max(axis=1) + squares[rows]
        gaps = values[rows][:, None, :] - values[found]
        exact = np.einsum("ijk,ijk->ij", gaps, gaps)
        order = np.argsort(exact, axis=1, kind="stable")[:, :2]
        distances[rows] = np.sqrt(np.take_along_axis(exact, order, axis=1))
        nearest[rows] = np.take_along_axis(found, order[:, :1], axis=1)[:, 0]
        # a row outside the candidates is nearer than it seems by the rounding at most
        error = rounding * (squares[rows] + squares.max())
        unsure = (furthest - error <= distances[rows, 1] ** 2) & (count < n - 1)
        for row in rows[unsure]:
            distances[row], nearest[row] = _by_differences(values, int(row))
    return distances, nearest


def _by_differences(values: np.ndarray, row: int) -> tuple[np.ndarray, int]:
    gaps = values - values[row]
    squares = np.einsum("ij,ij->i", gaps, gaps)
    squares[row] = np.inf
    first, second = np.argsort(squares, kind="stable")[:2]
    return np.sqrt(squares[[first, second]]), int(first)
