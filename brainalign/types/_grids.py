"""Masks and regions on the grid of an image: compared with it, never moved to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types._geometry import difference_of, same_grid, world
from brainalign.types._volumes import Volumes, open_volumes, read_volume

_RESAMPLE = (
    "nothing is resampled silently; put it on the grid of the recording, for instance with "
    "nilearn.image.resample_to_img(..., interpolation='nearest')"
)


class Grid(NamedTuple):
    """Voxels of a recording: its name, (ni, nj, nk), and the affine in mm where one is known."""

    name: str
    shape: tuple[int, ...]
    affine: np.ndarray | None


def grid_of(volumes: Volumes) -> Grid:
    """The grid of an image."""
    return Grid(volumes.name, volumes.shape, volumes.affine)


def check_grid(grid: Grid, other: Grid, role: str) -> None:
    """Refuse an image whose shape or affine is not that of the recording.

    Raises
    ------
    AlignmentError
        Naming both files and how they differ: a left-right flip, a shift in voxels, sizes.
    """
    if grid.shape != other.shape:
        raise AlignmentError(
            f"{role} {other.name} has {other.shape} voxels, {grid.name} has {grid.shape}; {_RESAMPLE}"
        )
    if grid.affine is None or other.affine is None:
        return
    if not same_grid(grid.affine, other.affine, grid.shape):
        raise AlignmentError(
            f"{role} {other.name} lies elsewhere than {grid.name}: "
            f"{difference_of(grid.affine, other.affine, grid.shape)}; {_RESAMPLE}"
        )


def read_on_grid(image: Any, role: str, affine_from: str | None = None) -> tuple[np.ndarray, Grid]:
    """Values (ni, nj, nk) of an image or an array of voxels, and the grid that they lie on."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3:
            raise ShapeError(f"{role} is an array of shape {image.shape}; expected (ni, nj, nk)")
        return image, Grid("(an array)", image.shape, None)
    volumes = open_volumes(image, role, affine_from, only_if_needed=True)
    return read_volume(volumes, role), grid_of(volumes)


def read_mask(mask: Any, grid: Grid, affine_from: str | None = None) -> np.ndarray:
    """The voxels of a mask, (ni, nj, nk) bool, after its grid was compared with the recording's.

    Raises
    ------
    AlignmentError
        Another grid.
    InputError
        Values other than 0 and 1, or no voxel at all.
    """
    values, own = read_on_grid(mask, "mask", affine_from)
    check_grid(grid, own, "mask")
    return binary(values, f"mask {own.name}")


def binary(values: np.ndarray, name: str) -> np.ndarray:
    """Values 0 and 1 as booleans; anything else is refused, as is a mask without a voxel."""
    inside: np.ndarray = values == 1
    odd = values[~inside & (values != 0)]
    if odd.size:
        raise InputError(
            f"{name} holds {odd.flat[0]:g} ({odd.size} values other than 0 and 1); threshold it first, and "
            "give images of labels as rois="
        )
    if not inside.any():
        raise InputError(f"{name} is empty: no voxel is 1")
    return inside


def read_regions(
    rois: Mapping[str, Any] | None, grid: Grid, inside: np.ndarray, affine_from: str | None = None
) -> dict[str, np.ndarray]:
    """Columns ``roi_NAME`` for the voxels in `inside`.

    An image of 0 and 1 becomes a boolean column, an image of integers labels: with names
    (a pair image, names) those, else the integers as text; 0 is no region (None).

    Raises
    ------
    AlignmentError
        Another grid.
    InputError
        Values that are no labels, a label without a name, a region without a voxel inside.
    """
    columns = {}
    for name, given in (rois or {}).items():
        image, names = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        role = f"roi {name!r}"
        values, own = read_on_grid(image, role, affine_from)
        check_grid(grid, own, role)
        columns[f"roi_{str(name).removeprefix('roi_')}"] = labels(values[inside], names, f"{role} {own.name}")
    return columns


def add_regions(units: pd.DataFrame, columns: Mapping[str, np.ndarray]) -> None:
    """Add ``roi_`` columns; labels stay objects, so that no region stays None."""
    for name, column in columns.items():
        units[name] = pd.Series(column, index=units.index, dtype=column.dtype)


def labels(values: np.ndarray, names: Any, where: str) -> np.ndarray:
    """Booleans where `values` hold 0 and 1 and no names are given, else labels as text or None."""
    values = np.asarray(values)
    found = np.unique(values)
    if not np.isfinite(found).all() or np.any(found != np.round(found)):
        odd = found[~np.isfinite(found) | (found != np.round(found))][0]
        raise InputError(f"{where} holds {odd:g}; expected 0 and 1, or an integer for each region")
    if not np.any(found != 0):
        raise InputError(f"{where} has no unit inside the mask; is it of this space?")
    if names is None and set(found) <= {0, 1}:
        mask: np.ndarray = values == 1
        return mask
    text = _names_of(names, found, where)
    out = np.full(values.shape, None, dtype=object)
    for number, label in text.items():
        out[values == number] = label
    return out


def _names_of(names: Any, found: np.ndarray, where: str) -> dict[int, str]:
    """Names by integer; a sequence names the integers by position, so its entry 0 is the background."""
    numbers = [int(n) for n in found if n != 0]
    if names is None:
        return {n: str(n) for n in numbers}
    known: dict[int, str]
    if isinstance(names, Mapping):
        known = {int(k): str(v) for k, v in names.items()}
    elif isinstance(names, Sequence) and not isinstance(names, str):
        known = {k: str(v) for k, v in enumerate(names)}
    else:
        raise InputError(
            f"{where}: its names are a {type(names).__name__}; expected a mapping integer to name, or a list "
            "whose entry 0 is the background"
        )
    missing = [n for n in numbers if n not in known]
    if missing:
        raise InputError(f"{where} holds {missing[0]}, which has no name ({len(missing)} such integers)")
    return {n: known[n] for n in numbers}


def voxel_table(inside: np.ndarray, affine: np.ndarray | None) -> pd.DataFrame:
    """Units of the voxels in `inside`, last axis fastest: i, j, k and, with an affine, x, y, z [mm]."""
    voxels = np.argwhere(inside)
    table = pd.DataFrame(
        voxels, columns=list("ijk"), index=pd.Index([f"{i}_{j}_{k}" for i, j, k in voxels], name="unit_id")
    )
    if affine is not None:
        table[list("xyz")] = world(affine, voxels.astype(np.float64))
    return table
