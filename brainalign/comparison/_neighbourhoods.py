"""Which units lie around each centre: spheres of a volume, patches of sensors, windows of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import KDTree

from brainalign.errors import InputError, ShapeError

IndexArray = np.ndarray[Any, np.dtype[np.int64]]
# positions carry the rounding of float32: a unit this near the rim [mm] lies inside
RIM_MM = 1e-4
_ROUNDING_MM = 1e-3
_MOST_CELLS_PER_UNIT = 1000
_MOST_CELLS = 2**27
_CENTRES_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Units around centres, as rows of a compressed list, and windows of time.

    `indptr` (n_patches + 1,), `indices`: the units of each patch, rising; `n_units`. With
    `n_times` every patch has one centre per time, whose window reaches `time_radius`
    samples to both sides; a feature is then unit * n_times + time, and a centre
    patch * n_times + time.
    """

    indptr: IndexArray
    indices: IndexArray
    n_units: int
    n_times: int = 1
    time_radius: int = 0

    @property
    def n_centres(self) -> int:
        return (len(self.indptr) - 1) * self.n_times

    @property
    def n_features(self) -> int:
        return self.n_units * self.n_times

    @property
    def widths(self) -> IndexArray:
        """Features of each centre (n_centres,), before any is left out or cut off at an end of time."""
        window = min(2 * self.time_radius + 1, self.n_times)
        out: IndexArray = np.repeat(np.diff(self.indptr) * window, self.n_times)
        return out

    def sizes(self, usable: np.ndarray) -> IndexArray:
        """Usable features of each centre (n_centres,); `usable` (n_features,) bool."""
        n_patches = len(self.indptr) - 1
        ones = np.ones(len(self.indices), dtype=np.int64)
        members = sparse.csr_array((ones, self.indices, self.indptr), shape=(n_patches, self.n_units))
        counts = members @ usable.reshape(self.n_units, self.n_times).astype(np.int64)
        summed = np.concatenate([np.zeros((n_patches, 1), dtype=np.int64), counts.cumsum(axis=1)], axis=1)
        t = np.arange(self.n_times)
        last = np.minimum(t + self.time_radius + 1, self.n_times)
        out: IndexArray = (summed[:, last] - summed[:, np.maximum(t - self.time_radius, 0)]).ravel()
        return out

    def padded(self, centres: IndexArray, width: int) -> IndexArray:
        """Features of some centres (n, width), filled up with n_features, which is no feature."""
        patches, times = np.divmod(centres, self.n_times)
        first = self.indptr[patches]
        counts = self.indptr[patches + 1] - first
        column = np.arange(int(counts.max(initial=0)))
        inside = column < counts[:, None]
        units = self.indices[np.where(inside, first[:, None] + column, 0)]
        features = np.where(inside, units, self.n_units)
        if self.n_times > 1:
            features = self._over_time(features, times)
        out = np.full((len(centres), width), self.n_features, dtype=np.int64)
        out[:, : features.shape[1]] = features
        return out

    def _over_time(self, units: IndexArray, times: IndexArray) -> IndexArray:
        """Features of units (n, k) in the windows about `times`; the window slides back at the ends."""
        length = min(2 * self.time_radius + 1, self.n_times)
        first = np.clip(times - self.time_radius, 0, self.n_times - length)
        t = first[:, None] + np.arange(length)
        near = (np.abs(t - times[:, None]) <= self.time_radius)[:, None, :] & (units < self.n_units)[
            ..., None
        ]
        features = units[:, :, None] * self.n_times + t[:, None, :]
        out: IndexArray = np.where(near, features, self.n_features).reshape(len(units), -1)
        return out


def from_matrix(matrix: Any, n_units: int) -> Neighbourhoods:
    """Neighbourhoods of a sparse matrix (n_patches, n_units): its stored entries."""
    rows = sparse.csr_array(matrix)
    rows.sum_duplicates()
    rows.sort_indices()
    return Neighbourhoods(rows.indptr.astype(np.int64), rows.indices.astype(np.int64), n_units)


def _collected(parts: Iterator[tuple[IndexArray, IndexArray]], n: int) -> Neighbourhoods:
    """Neighbourhoods of (centres, members) pairs that come in parts."""
    found = list(parts)
    centres = np.concatenate([c for c, _ in found]) if found else np.empty(0, dtype=np.int64)
    members = np.concatenate([m for _, m in found]) if found else np.empty(0, dtype=np.int64)
    ones = np.ones(len(centres), dtype=np.int8)
    return from_matrix(sparse.coo_array((ones, (centres, members)), shape=(n, n)), n)


def spheres(points: np.ndarray, radius_mm: float) -> Neighbourhoods:
    """Units within `radius_mm` of each unit, the rim included.

    On a grid one list of offsets serves all centres; other positions are looked up in a
    KD-tree. Cost: O(n k) for spheres of k units; memory 8 bytes a member, four times that
    while it is built.
    """
    grid = grid_of(points)
    if grid is not None:
        return grid_spheres(grid[0], np.diag(grid[1]), radius_mm)
    tree = KDTree(points)

    def parts() -> Iterator[tuple[IndexArray, IndexArray]]:
        for start in range(0, len(points), _CENTRES_AT_ONCE):
            some = KDTree(points[start : start + _CENTRES_AT_ONCE])
            near = some.sparse_distance_matrix(tree, radius_mm + RIM_MM, output_type="ndarray")
            yield near["i"].astype(np.int64) + start, near["j"].astype(np.int64)

    return _collected(parts(), len(points))


def grid_of(points: np.ndarray) -> tuple[IndexArray, np.ndarray] | None:
    """Indices (n, 3) and steps [mm] (3,) of positions on a grid along the axes; None for others."""
    if len(points) == 0:
        return None
    columns, steps = [], []
    for column in points.T:
        values = np.unique(column)
        gaps = np.diff(values)
        gaps = gaps[gaps > _ROUNDING_MM]
        step = float(gaps.min()) if len(gaps) else 1.0
        # the smallest of many rounded gaps is off by the rounding: the mean step is not
        number = np.round((column - values[0]) / step)
        if number.max(initial=0.0) > 0:
            step = float((values[-1] - values[0]) / number.max())
        if np.abs(column - values[0] - number * step).max() > _ROUNDING_MM:
            return None
        columns.append(number)
        steps.append(step)
    voxels = np.stack(columns, axis=1).astype(np.int64)
    return (voxels, np.array(steps)) if fits_lookup(voxels) else None


def fits_lookup(voxels: IndexArray) -> bool:
    """Whether a lookup over the box of the voxels is small, and no voxel occurs twice."""
    cells = float(np.prod(np.ptp(voxels, axis=0).astype(np.float64) + 1))
    if cells > min(_MOST_CELLS, _MOST_CELLS_PER_UNIT * len(voxels) + 10**6):
        return False
    return len(np.unique(voxels, axis=0)) == len(voxels)


def grid_spheres(voxels: IndexArray, linear: np.ndarray, radius_mm: float) -> Neighbourhoods:
    """Spheres on a grid of voxels (n, 3) whose steps are the columns of `linear` (3, 3) [mm]."""
    offsets = sphere_offsets(linear, radius_mm, np.ptp(voxels, axis=0))
    reach = np.abs(offsets).max(axis=0)
    low = voxels.min(axis=0) - reach
    shape = voxels.max(axis=0) + reach - low + 1
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    cells = (voxels - low) @ strides
    lookup = np.full(int(shape.prod()), -1, dtype=np.int64)
    lookup[cells] = np.arange(len(voxels))
    shifts = offsets @ strides

    def parts() -> Iterator[tuple[IndexArray, IndexArray]]:
        for start in range(0, len(voxels), _CENTRES_AT_ONCE):
            near = lookup[cells[start : start + _CENTRES_AT_ONCE, None] + shifts]
            row, column = np.nonzero(near >= 0)
            yield row + start, near[row, column]

    return _collected(parts(), len(voxels))


def sphere_offsets(linear: np.ndarray, radius_mm: float, extent: np.ndarray) -> IndexArray:
    """Voxel offsets (k, 3) no longer than the radius, and no longer than the extent of the volume."""
    reach = np.floor((radius_mm + RIM_MM) * np.linalg.norm(np.linalg.inv(linear), axis=1)).astype(np.int64)
    reach = np.minimum(reach, extent)
    axes = [np.arange(-r, r + 1) for r in reach]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(offsets @ linear.T, axis=1)
    out: IndexArray = offsets[lengths <= radius_mm + RIM_MM]
    return out


def nearest(points: np.ndarray, n_neighbours: int) -> Neighbourhoods:
    """The `n_neighbours` nearest units of each unit, itself included; the earlier unit where two tie.

    Cost: O(n k log n) time, 16 n k bytes; k grows until no tie reaches beyond what was looked up.
    """
    n = len(points)
    k = min(n_neighbours, n)
    tree = KDTree(points)
    wide = min(n, k + 32)
    while True:
        distances, members = tree.query(points, k=np.arange(1, wide + 1))
        open_tie = distances[:, -1] <= distances[:, k - 1] + RIM_MM
        if wide == n or not open_tie.any():
            break
        wide = min(n, 2 * wide)
    distances = np.round(distances / RIM_MM)
    order = np.lexsort((members, distances), axis=-1)[:, :k]
    chosen = np.take_along_axis(members, order, axis=1)
    return _collected(iter([(np.repeat(np.arange(n), k), chosen.ravel().astype(np.int64))]), n)


def adjacent(adjacency: Any, n_units: int) -> Neighbourhoods:
    """Neighbours by a matrix (n_units, n_units) or by lists of positions; every unit joins its own patch."""
    matrix = _adjacency_matrix(adjacency, n_units)
    if matrix.shape != (n_units, n_units):
        raise ShapeError(
            f"adjacency has shape {tuple(matrix.shape)}; expected ({n_units}, {n_units}), one row a unit, or "
            f"{n_units} lists of neighbours"
        )
    return from_matrix((matrix + sparse.eye_array(n_units, dtype=bool)).astype(np.int8), n_units)


def _adjacency_matrix(adjacency: Any, n_units: int) -> Any:
    if sparse.issparse(adjacency):
        out = sparse.csr_array(adjacency).copy()
        out.eliminate_zeros()
        _refuse_nan(out.data)
        return out.astype(bool)
    # tensors and tables are matrices: their rows are no lists of neighbours
    if isinstance(adjacency, torch.Tensor):
        adjacency = adjacency.detach().cpu().numpy()
    elif hasattr(adjacency, "to_numpy") and np.ndim(adjacency) == 2:
        adjacency = adjacency.to_numpy()
    if isinstance(adjacency, np.ndarray) and adjacency.dtype != object:
        if adjacency.ndim != 2:
            raise ShapeError(f"adjacency has shape {adjacency.shape}; expected ({n_units}, {n_units})")
        _refuse_nan(adjacency)
        return sparse.csr_array(adjacency != 0)
    if isinstance(adjacency, str) or not isinstance(adjacency, Iterable):
        raise InputError(
            f"adjacency is {adjacency!r}; expected a matrix ({n_units}, {n_units}) or {n_units} lists of "
            "neighbours"
        )
    lists = [_neighbour_list(unit, one) for unit, one in enumerate(adjacency)]
    if len(lists) != n_units:
        raise ShapeError(f"adjacency has {len(lists)} lists of neighbours; expected {n_units}, one a unit")
    rows = np.repeat(np.arange(n_units), [len(one) for one in lists])
    columns = np.concatenate(lists) if lists else np.empty(0, dtype=np.int64)
    outside = (columns < 0) | (columns >= n_units)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"adjacency of unit {rows[first]} names unit {columns[first]}; units run from 0 to {n_units - 1}"
        )
    matrix = sparse.coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n_units, n_units))
    return sparse.csr_array(matrix)


def _refuse_nan(entries: np.ndarray) -> None:
    missing = int(np.isnan(entries).sum()) if entries.dtype.kind == "f" else 0
    if missing:
        raise InputError(
            f"adjacency is NaN in {missing} entries; expected 0 or False for units that are no neighbours"
        )


def _neighbour_list(unit: int, neighbours: Any) -> IndexArray:
    """Positions of the neighbours of one unit; rows of a matrix of flags or of weights are refused."""
    found = np.asarray(list(neighbours) if isinstance(neighbours, (set, frozenset)) else neighbours).ravel()
    if found.size and found.dtype.kind not in "iu":
        raise InputError(
            f"adjacency of unit {unit} is a list of {found.dtype}; expected integer positions of neighbours, "
            "or one matrix (n_units, n_units) as an array"
        )
    return found.astype(np.int64)


def everything(n_units: int) -> Neighbourhoods:
    """One patch that holds all units, for windows of time alone."""
    return Neighbourhoods(np.array([0, n_units]), np.arange(n_units), n_units)


def among(found: Neighbourhoods, units: IndexArray, n_units: int) -> Neighbourhoods:
    """Neighbourhoods of some `units` placed among all `n_units`; the others are no centre and no member."""
    counts = np.zeros(n_units, dtype=np.int64)
    counts[units] = np.diff(found.indptr)
    indptr = np.concatenate([[0], counts.cumsum()])
    return Neighbourhoods(indptr, units[found.indices], n_units)
