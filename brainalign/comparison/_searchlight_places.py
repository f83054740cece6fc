"""Where a searchlight looks: positions, a mesh or neighbours, turned into lists of units per centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brainalign.comparison import _neighbourhoods as near
from brainalign.comparison._neighbourhoods import IndexArray, Neighbourhoods
from brainalign.comparison._option_checks import is_positive
from brainalign.comparison._searchlight_mesh import Mesh, whole_mesh
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


@dataclass(frozen=True, eq=False)
class Places:
    """The geometry that the caller chose; `check` is called on construction of the search."""

    coordinates: Any = None
    mesh: Any = None
    adjacency: Any = None
    radius_mm: float | None = None
    n_neighbours: int | None = None
    time_radius: int | None = None

    @property
    def spatial(self) -> bool:
        """Whether centres are units; otherwise they are times alone."""
        given = (self.coordinates, self.mesh, self.adjacency, self.radius_mm, self.n_neighbours)
        return any(one is not None for one in given)

    def check(self, n_times: int | None) -> None:
        """Refuse options that contradict one another."""
        named = [n for n in ("coordinates", "mesh", "adjacency") if getattr(self, n) is not None]
        if len(named) > 1:
            raise InputError(f"{' and '.join(named)} are given; a searchlight has one of them")
        if self.time_radius is not None:
            self._check_window(n_times)
        if not self.spatial:
            if self.time_radius is None:
                raise InputError(
                    "nothing says where the units lie: give radius_mm= or n_neighbours= with coordinates= "
                    "(or mesh=), adjacency=, or time_radius= for windows of time"
                )
            return
        self._check_size()

    def _check_window(self, n_times: int | None) -> None:
        if n_times is None:
            raise ShapeError(
                "time_radius is given and values have no time axis (n_samples, n_units, n_times)"
            )
        radius = self.time_radius
        if not isinstance(radius, (int, np.integer)) or isinstance(radius, bool) or radius < 0:
            raise InputError(f"time_radius={radius!r}; expected a number of time samples, 0 or more")

    def _check_size(self) -> None:
        sizes = [n for n in ("radius_mm", "n_neighbours") if getattr(self, n) is not None]
        if self.adjacency is not None:
            if sizes:
                raise InputError(f"{sizes[0]} is given with adjacency, which already says who is a neighbour")
            return
        if len(sizes) != 1:
            found = "both are given" if sizes else "neither is given"
            raise InputError(f"a sphere has a radius_mm or a number n_neighbours; {found}")
        if self.radius_mm is not None and not is_positive(self.radius_mm):
            raise InputError(f"radius_mm={self.radius_mm!r}; expected a positive number of millimetres")
        if self.n_neighbours is not None and self.n_neighbours < 1:
            raise InputError(
                f"n_neighbours={self.n_neighbours!r}; expected 1 or more, the unit itself included"
            )


def places(coordinates: Any, **options: Any) -> Places:
    """`Places`; coordinates that are a mesh (a pair of arrays, or one per hemisphere) are taken as one."""
    if isinstance(coordinates, Mapping) or (isinstance(coordinates, tuple) and len(coordinates) == 2):
        if options.get("mesh") is not None:
            raise InputError("coordinates and mesh are given; a searchlight has one of them")
        return Places(mesh=coordinates, **{k: v for k, v in options.items() if k != "mesh"})
    return Places(coordinates, **options)


class Geometry:
    """Positions of the units, found once; `without_place` (n_units,) marks units that have none."""

    def __init__(self, chosen: Places, values: Any, n_units: int) -> None:
        self.chosen = chosen
        self.n_units = n_units
        self.without_place = np.zeros(n_units, dtype=bool)
        self.points: np.ndarray | None = None
        self.grid: tuple[IndexArray, np.ndarray] | None = None
        self.mesh: tuple[Mesh, IndexArray] | None = None
        if not chosen.spatial or chosen.adjacency is not None:
            return
        if chosen.mesh is not None:
            self.mesh = _mesh_of(chosen.mesh, values, n_units)
            return
        if chosen.coordinates is None:
            self.grid = _voxel_grid(values)
        if self.grid is None:
            self.points = _positions(chosen.coordinates, values, n_units)
            self.without_place = ~np.isfinite(self.points).all(axis=1)

    def neighbourhoods(self, usable: np.ndarray, n_times: int | None) -> Neighbourhoods:
        """Lists of usable units (n_units,) bool around each usable unit, and windows of time."""
        units = np.flatnonzero(usable).astype(np.int64)
        if not self.chosen.spatial:
            whole = near.everything(len(units))
            found = Neighbourhoods(whole.indptr, units[whole.indices], self.n_units)
        else:
            found = near.among(self._among_usable(units), units, self.n_units)
        if n_times is None:
            return found
        return replace(found, n_times=n_times, time_radius=int(self.chosen.time_radius or 0))

    def _among_usable(self, units: IndexArray) -> Neighbourhoods:
        radius, k = self.chosen.radius_mm, self.chosen.n_neighbours
        if self.chosen.adjacency is not None:
            return _selected(near.adjacent(self.chosen.adjacency, self.n_units), units)
        if self.mesh is not None:
            mesh, vertices = self.mesh
            return mesh.patches(vertices[units], radius_mm=radius, n_neighbours=k)
        if self.grid is not None and radius is not None:
            voxels = self.grid[0][units]
            if near.fits_lookup(voxels):
                return near.grid_spheres(voxels, self.grid[1], radius)
        points = self.grid[0] @ self.grid[1].T if self.grid is not None else self.points
        assert points is not None
        if radius is not None:
            return near.spheres(points[units], radius)
        return near.nearest(points[units], int(k or 1))


def _selected(found: Neighbourhoods, units: IndexArray) -> Neighbourhoods:
    """Rows and members of some units, numbered among these."""
    from scipy import sparse

    ones = np.ones(len(found.indices), dtype=np.int8)
    whole = sparse.csr_array((ones, found.indices, found.indptr), shape=(found.n_units, found.n_units))
    return near.from_matrix(whole[units][:, units], len(units))


def _voxel_grid(values: Any) -> tuple[IndexArray, np.ndarray] | None:
    """Voxel indices and the steps of their grid [mm], where `Responses` know them."""
    if not isinstance(values, Responses) or values.info.get("affine") is None:
        return None
    units = values.units
    if units is None or not {"i", "j", "k"} <= set(units.columns):
        return None
    affine = np.asarray(values.info["affine"], dtype=np.float64)
    return units[["i", "j", "k"]].to_numpy().astype(np.int64), affine[:3, :3]


def _positions(coordinates: Any, values: Any, n_units: int) -> np.ndarray:
    """Positions (n_units, 3) in mm: the argument, or columns x, y, z of the units."""
    if coordinates is None:
        units = values.units if isinstance(values, Responses) else None
        if units is None or not {"x", "y", "z"} <= set(units.columns):
            raise InputError(
                "the units have no positions (columns x, y, z in mm); give coordinates=(n_units, 3), mesh= "
                "or adjacency="
            )
        return units[["x", "y", "z"]].to_numpy(dtype=np.float64)
    points = np.asarray(coordinates, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) != n_units:
        raise ShapeError(
            f"coordinates have shape {points.shape} and values have {n_units} voxels; expected "
            f"({n_units}, 3), in mm and in the order of the voxels"
        )
    return points


def _mesh_of(mesh: Any, values: Any, n_units: int) -> tuple[Mesh, IndexArray]:
    """The mesh, and the vertex of every unit."""
    points, faces, starts = whole_mesh(mesh)
    units = values.units if isinstance(values, Responses) else None
    if units is not None and "vertex" in units:
        vertices = units["vertex"].to_numpy().astype(np.int64)
        vertices = _in_hemispheres(units, vertices, starts, len(points))
    else:
        vertices = np.arange(n_units)
        if n_units != len(points):
            raise ShapeError(
                f"the mesh has {len(points)} vertices and values have {n_units} units; give values of every "
                "vertex (NaN where there are none), or Responses whose units name their vertex"
            )
    return Mesh(points, faces), vertices


def _in_hemispheres(units: Any, vertices: IndexArray, starts: dict[str, int], n_points: int) -> IndexArray:
    """Vertices of units in a mesh of one or both hemispheres."""
    sides = units["hemi"].astype(str).to_numpy() if "hemi" in units else np.full(len(units), "")
    if list(starts) == [""]:
        if len(set(sides)) > 1:
            raise InputError(
                f"units are of the hemispheres {', '.join(sorted(set(sides)))} and there is one mesh; give "
                "{'left': (vertices, faces), 'right': (vertices, faces)}"
            )
        sides = np.full(len(units), "")
    ends = dict(zip(starts, [*list(starts.values())[1:], n_points], strict=True))
    unknown = sorted(set(sides) - set(starts))
    if unknown:
        raise InputError(f"units are of hemisphere {unknown[0]!r}; the mesh has {', '.join(starts)}")
    out: IndexArray = vertices + np.array([starts[side] for side in sides])
    outside = (vertices < 0) | (out >= np.array([ends[side] for side in sides]))
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        side = sides[first]
        raise InputError(
            f"unit {units.index[first]!r} names vertex {vertices[first]}; the mesh has "
            f"{ends[side] - starts[side]} vertices there, numbered from 0"
        )
    return out
