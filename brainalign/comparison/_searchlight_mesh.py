"""Patches of a surface: vertices within a distance along the edges of a mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from brainalign.comparison._neighbourhoods import RIM_MM, IndexArray, Neighbourhoods, from_matrix
from brainalign.errors import InputError, ShapeError

_CENTRES_AT_ONCE = 256
_MOST_DOUBLINGS = 8


class Mesh:
    """Vertices (n, 3) [mm] and the lengths of the edges between them."""

    def __init__(self, vertices: Any, faces: Any) -> None:
        self.points = _vertices(vertices)
        self.edges = _edges(self.points, _faces(faces, len(self.points)))
        self.tree = KDTree(self.points)

    def patches(
        self, units: IndexArray, *, radius_mm: float | None = None, n_neighbours: int | None = None
    ) -> Neighbourhoods:
        """Units around each unit by the shortest path along edges; `units` (k,) are vertices.

        No path of length r leaves the ball of radius r, so each group of near centres is
        searched in its own ball: the cost is that of the patches, not of the whole mesh.
        """
        place = np.full(len(self.points), -1, dtype=np.int64)
        place[units] = np.arange(len(units))
        centres, members = [], []
        for group in self._groups(units):
            if radius_mm is not None:
                near, distances = self._paths(group, radius_mm + RIM_MM, place)
                row, column = np.nonzero(np.isfinite(distances))
            else:
                assert n_neighbours is not None
                near, row, column = self._nearest(group, n_neighbours, place)
            centres.append(place[group[row]])
            members.append(place[near[column]])
        rows, columns = np.concatenate(centres), np.concatenate(members)
        shape = (len(units), len(units))
        pairs = sparse.coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=shape)
        return from_matrix(pairs, len(units))

    def _groups(self, units: IndexArray) -> list[IndexArray]:
        """Units in groups that lie together: the leaves of a KD-tree follow one another."""
        order = KDTree(self.points[units], leafsize=_CENTRES_AT_ONCE).indices
        pieces = range(0, len(order), _CENTRES_AT_ONCE)
        return [units[order[start : start + _CENTRES_AT_ONCE]] for start in pieces]

    def _paths(self, group: IndexArray, limit: float, place: IndexArray) -> tuple[IndexArray, np.ndarray]:
        """Vertices that are units near a group, and path lengths to them (n_group, n_near), inf beyond."""
        points = self.points[group]
        middle = points.mean(axis=0)
        reach = np.linalg.norm(points - middle, axis=1).max() + limit
        if np.isfinite(limit):
            ball = np.sort(np.array(self.tree.query_ball_point(middle, reach * (1 + 1e-9)), dtype=np.int64))
        else:
            ball = np.arange(len(self.points))
        local = np.searchsorted(ball, group)
        lengths = dijkstra(self.edges[ball][:, ball], indices=local, limit=limit)
        own = place[ball] >= 0
        return ball[own], lengths[:, own]

    def _nearest(
        self, group: IndexArray, k: int, place: IndexArray
    ) -> tuple[IndexArray, IndexArray, IndexArray]:
        """The k nearest units of each centre of a group; fewer where the piece of mesh has fewer."""
        limit = float(np.median(self.edges.data)) * (1 + k**0.5)
        for doubling in range(_MOST_DOUBLINGS + 1):
            limit = 2 * limit if doubling < _MOST_DOUBLINGS else np.inf
            near, distances = self._paths(group, limit, place)
            if (np.isfinite(distances).sum(axis=1) >= k).all():
                break
        settled = np.where(np.isfinite(distances), np.round(distances / RIM_MM), np.inf)
        order = np.argsort(settled, axis=1, kind="stable")[:, :k]  # vertices rise: the earlier one of a tie
        row, rank = np.nonzero(np.isfinite(np.take_along_axis(distances, order, axis=1)))
        return near, row, order[row, rank]


def whole_mesh(mesh: Any) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Vertices and faces of one mesh, or of both hemispheres side by side, and where each one starts."""
    parts = mesh if isinstance(mesh, Mapping) else {"": mesh}
    points, faces, starts, start = [], [], {}, 0
    for side, part in parts.items():
        if not isinstance(part, (tuple, list)) or len(part) != 2:
            raise InputError(
                "mesh is neither (vertices, faces) nor {'left': (vertices, faces), 'right': ...}; give "
                "arrays (n_vertices, 3) [mm] and (n_faces, 3)"
            )
        vertices = _vertices(part[0])
        starts[str(side)] = start
        points.append(vertices)
        faces.append(_faces(part[1], len(vertices)) + start)
        start += len(vertices)
    return np.concatenate(points), np.concatenate(faces), starts


def _vertices(vertices: Any) -> np.ndarray:
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ShapeError(
            f"the vertices of the mesh have shape {points.shape}; expected (n_vertices, 3) in mm"
        )
    if not np.isfinite(points).all():
        raise InputError("the mesh has vertices whose position is not finite; repair the surface first")
    return points


def _faces(faces: Any, n_vertices: int) -> IndexArray:
    triangles = np.asarray(faces)
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.dtype.kind not in "iu":
        raise ShapeError(
            f"the faces of the mesh have shape {triangles.shape} and dtype {triangles.dtype}; expected "
            "integers (n_faces, 3)"
        )
    if triangles.size and (triangles.min() < 0 or triangles.max() >= n_vertices):
        raise InputError(
            f"the faces of the mesh name the vertices {triangles.min()} to {triangles.max()}; there are "
            f"{n_vertices}, numbered from 0"
        )
    return triangles.astype(np.int64)


def _edges(points: np.ndarray, faces: IndexArray) -> Any:
    """Symmetric sparse matrix of the lengths of the edges."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    ends = np.unique(ends, axis=0)
    ends = ends[ends[:, 0] != ends[:, 1]]
    # two vertices in one place are joined: a stored zero would be no edge
    lengths = np.maximum(np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1), 1e-12)
    n = len(points)
    one_way = sparse.coo_array((lengths, (ends[:, 0], ends[:, 1])), shape=(n, n))
    return sparse.csr_array(one_way + one_way.T)
