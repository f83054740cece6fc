"""Lists of units around centres: grids, free positions, meshes, neighbours, windows of time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from brainalign.comparison import _neighbourhoods as near
from brainalign.comparison._neighbourhoods import Neighbourhoods
from brainalign.comparison._searchlight_mesh import Mesh, whole_mesh
from brainalign.errors import InputError, ShapeError


def members(found: Neighbourhoods) -> list[list[int]]:
    """The units of every centre."""
    return [found.indices[a:b].tolist() for a, b in zip(found.indptr[:-1], found.indptr[1:], strict=True)]


def grid(*counts: int, steps: tuple[float, ...] = (3.1, 3.75, 3.75)) -> np.ndarray:
    """Positions of a volume with some voxels missing, in a shuffled order."""
    axes = [np.arange(n) * s - 40.0 for n, s in zip(counts, steps, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    rng = np.random.default_rng(0)
    return rng.permutation(points)[: int(0.8 * len(points))]


def sheet(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy triangulated sheet of n x n vertices."""
    x, y = np.meshgrid(np.arange(n) * 2.0, np.arange(n) * 2.0, indexing="ij")
    z = 3.0 * np.sin(x / 3.0) + 0.3 * np.random.default_rng(seed).normal(size=x.shape)
    number = np.arange(n * n).reshape(n, n)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return np.stack([x, y, z], -1).reshape(-1, 3), faces


def path_lengths(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Shortest paths along edges between all vertices, without limits or groups."""
    dense = np.zeros((len(points), len(points)))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        lengths = np.linalg.norm(points[faces[:, i]] - points[faces[:, j]], axis=1)
        dense[faces[:, i], faces[:, j]] = dense[faces[:, j], faces[:, i]] = lengths
    return np.asarray(dijkstra(sparse.csr_array(dense)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("radius", [0.5, 3.75, 7.5, 9.3])
def test_spheres_of_a_grid_are_those_of_all_distances(dtype: type, radius: float) -> None:
    """Offsets of a grid find the voxels within the radius, rim included, also from float32 positions."""
    points = grid(7, 6, 5)
    assert near.grid_of(points.astype(dtype).astype(float)) is not None
    expected = [np.flatnonzero(d <= radius + 1e-4).tolist() for d in cdist(points, points)]
    assert members(near.spheres(points.astype(dtype).astype(float), radius)) == expected


def test_spheres_of_a_turned_grid_and_of_free_positions() -> None:
    """A grid with a rotated affine gives the spheres of its positions, which a tree finds too."""
    voxels = np.round((grid(6, 6, 4) + 40.0) / [3.1, 3.75, 3.75]).astype(np.int64)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    linear = turn @ np.diag([3.1, 3.75, 3.75])
    points = voxels @ linear.T
    assert near.grid_of(points) is None
    expected = [np.flatnonzero(d <= 7.5 + 1e-4).tolist() for d in cdist(points, points)]
    assert members(near.grid_spheres(voxels, linear, 7.5)) == expected
    assert members(near.spheres(points, 7.5)) == expected


def test_positions_that_share_a_place_or_spread_far_use_the_tree() -> None:
    """Two units in one place, or a box of too many cells, are no grid and still have their spheres."""
    doubled = np.repeat(grid(4, 4, 4), 2, axis=0)
    assert near.grid_of(doubled) is None
    assert members(near.spheres(doubled, 0.1))[:2] == [[0, 1], [0, 1]]
    far = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2000.0, 2000.0, 2000.0]])
    assert near.grid_of(far) is None
    assert near.grid_of(np.empty((0, 3))) is None
    assert members(near.spheres(far, 2.0)) == [[0, 1], [0, 1], [2]]


def test_nearest_units_break_ties_by_order() -> None:
    """On a grid, where shells tie, the k nearest are those of a stable sort by distance."""
    points = grid(5, 5, 5, steps=(2.0, 2.0, 2.0))
    distances = np.round(cdist(points, points) / 1e-4)
    expected = [sorted(np.argsort(d, kind="stable")[:20].tolist()) for d in distances]
    assert members(near.nearest(points, 20)) == expected
    assert all(len(m) == len(points) for m in members(near.nearest(points, 10**6)))
    cube = np.stack(np.meshgrid(*[np.arange(8.0)] * 3), -1).reshape(-1, 3)
    shell = np.concatenate([np.zeros((1, 3)), np.random.default_rng(0).normal(size=(90, 3))])
    shell[1:] /= np.linalg.norm(shell[1:], axis=1, keepdims=True)
    assert members(near.nearest(np.concatenate([shell, cube + 50]), 3))[0] == [0, 1, 2]


@pytest.mark.parametrize("radius", [1.0, 5.0, 9.0])
def test_patches_of_a_mesh_are_those_of_all_paths(radius: float) -> None:
    """Dijkstra in the ball of each group of centres finds the vertices of an unlimited search, and
    fewer of them than a straight line would."""
    points, faces = sheet(20)
    units = np.sort(np.random.default_rng(2).permutation(len(points))[:300])
    lengths = path_lengths(points, faces)[np.ix_(units, units)]
    found = members(Mesh(points, faces).patches(units, radius_mm=radius))
    assert found == [np.flatnonzero(d <= radius + 1e-4).tolist() for d in lengths]
    straight = (cdist(points[units], points[units]) <= radius).sum()
    assert sum(map(len, found)) <= straight
    assert radius < 5 or sum(map(len, found)) < straight


def test_nearest_vertices_and_separate_hemispheres() -> None:
    """The k nearest follow the paths; a piece of mesh with fewer vertices gives what it has, and no
    patch crosses to the other hemisphere, however near that lies."""
    points, faces = sheet(9)
    lengths = np.round(path_lengths(points, faces) / 1e-4)
    found = members(Mesh(points, faces).patches(np.arange(81), n_neighbours=10))
    assert found == [sorted(np.argsort(d, kind="stable")[:10].tolist()) for d in lengths]
    both, both_faces, starts = whole_mesh(
        {"left": (points, faces), "right": (points[:9] + 0.1, np.array([[0, 1, 2]]))}
    )
    assert starts == {"left": 0, "right": 81}
    patches = members(Mesh(both, both_faces).patches(np.arange(90), n_neighbours=5))
    assert patches[81] == [81, 82, 83]
    assert patches[85] == [85]
    assert max(max(p) for p in patches[:81]) < 81


@pytest.mark.parametrize("kind", ["dense", "sparse", "lists"])
def test_adjacency_in_every_form(kind: str) -> None:
    """Matrices and lists give the same patches, each with its own unit; a stored zero is no link."""
    dense = np.zeros((5, 5))
    dense[[0, 1, 1, 2, 4], [1, 0, 2, 1, 0]] = 1
    entries = ([1.0, 1, 1, 1, 1, 0], ([0, 1, 1, 2, 4, 2], [1, 0, 2, 1, 0, 3]))
    stored = sparse.csr_array(sparse.coo_array(entries, shape=(5, 5)))
    given = {"dense": dense, "sparse": stored, "lists": [[1], [0, 2], [1], [], [0]]}[kind]
    assert members(near.adjacent(given, 5)) == [[0, 1], [0, 1, 2], [1, 2], [3], [0, 4]]


def test_windows_of_time_are_cut_off_at_the_ends() -> None:
    """Features of units in a window are unit * n_times + time, and sizes count the usable ones."""
    space = near.from_matrix(sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]])), 3)
    found = Neighbourhoods(space.indptr, space.indices, 3, n_times=5, time_radius=1)
    padded = found.padded(np.arange(15), 16)
    usable = np.ones(15, dtype=bool)
    usable[[0, 6]] = False
    for patch, units in enumerate([[0, 1], [1], [1, 2]]):
        for t in range(5):
            window = [u * 5 + s for u in units for s in range(max(t - 1, 0), min(t + 2, 5))]
            row = padded[patch * 5 + t]
            assert sorted(row[row < 15].tolist()) == window
            assert found.sizes(usable)[patch * 5 + t] == sum(usable[w] for w in window)
    assert found.widths.tolist() == [6] * 5 + [3] * 5 + [6] * 5
    longer = Neighbourhoods(space.indptr, space.indices, 3, n_times=2, time_radius=9)
    assert longer.widths.tolist() == [4, 4, 2, 2, 4, 4]
    assert sorted(longer.padded(np.array([1]), 16)[0, :4].tolist()) == [0, 1, 2, 3]


def test_errors_of_meshes_and_neighbours() -> None:
    """Every malformed mesh or adjacency is refused with what was found."""
    points, faces = sheet(4)
    with pytest.raises(ShapeError, match=r"vertices of the mesh have shape \(16, 2\)"):
        Mesh(points[:, :2], faces)
    with pytest.raises(InputError, match="position is not finite"):
        Mesh(np.where(np.arange(16)[:, None] == 3, np.nan, points), faces)
    with pytest.raises(ShapeError, match="faces of the mesh have shape .* dtype float64"):
        Mesh(points, faces.astype(float))
    with pytest.raises(InputError, match="name the vertices 0 to 15; there are 10"):
        Mesh(points[:10], faces)
    with pytest.raises(InputError, match="mesh is neither"):
        whole_mesh(points)
    with pytest.raises(ShapeError, match=r"adjacency has shape \(3, 3\); expected \(4, 4\)"):
        near.adjacent(np.eye(3), 4)
    with pytest.raises(ShapeError, match=r"adjacency has shape \(3,\)"):
        near.adjacent(np.ones(3), 4)
    with pytest.raises(ShapeError, match="adjacency has 2 lists of neighbours; expected 4"):
        near.adjacent([[1], [0]], 4)
    with pytest.raises(InputError, match="adjacency of unit 1 names unit 9"):
        near.adjacent([[1], [9]], 2)
