"""Where units lie: what `info` says of space and time, and how two grids of voxels differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainalign.errors import InputError

GEOMETRY = (
    "space",
    "affine",
    "volume_shape",
    "n_vertices",
    "sampling_rate",
    "coordinate_frame",
    "repetition_time",
)
# grids that agree to a tenth of a voxel in every corner are one grid: a quaternion cannot
# hold shear, and float32 rounds
_SAME = 0.1


def geometry_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `info` that place its units in space and its samples in time.

    Scores carry them from the responses they were made of, so that their maps need nothing else.

    Examples
    --------
    >>> geometry_of({"space": "fsaverage5", "unit": "a.u."})
    {'space': 'fsaverage5'}
    """
    return {name: info[name] for name in GEOMETRY if info.get(name) is not None}


def merged_info(facts: Mapping[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the recording says and what the caller adds (source, licence ...); neither hides the other.

    Raises
    ------
    InputError
        The caller's `info` has an entry that the recording itself decides.
    """
    clash = sorted(set(facts) & set(info or {}))
    if clash:
        raise InputError(f"info has {clash[0]!r}, which is read from the recording; give it as an argument")
    return {**(info or {}), **facts}


def voxel_sizes(affine: np.ndarray) -> np.ndarray:
    """Lengths of the three voxel edges, (3,), mm."""
    sizes: np.ndarray = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return sizes


def checked_affine(affine: Any, where: str) -> np.ndarray:
    """Return a (4, 4) affine in float64.

    Raises
    ------
    InputError
        Not (4, 4), not finite, or voxels without volume.
    """
    out = np.asarray(affine, dtype=np.float64)
    if out.shape != (4, 4) or not np.isfinite(out).all() or not np.allclose(out[3], [0, 0, 0, 1]):
        raise InputError(
            f"{where}: the affine is {out.tolist()}; expected 4 x 4 finite numbers, last row 0 0 0 1"
        )
    sizes = voxel_sizes(out)
    if sizes.min() <= 0 or abs(np.linalg.det(out[:3, :3])) < 1e-6 * sizes.prod():
        raise InputError(
            f"{where}: the affine {out.tolist()} gives voxels without volume; it maps voxel indices to mm"
        )
    return out


def world(affine: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Positions in mm of voxel indices (n, 3): (n, 3)."""
    positions: np.ndarray = voxels @ affine[:3, :3].T + affine[:3, 3]
    return positions


def displacement(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance between two affines at the corners of a volume, in voxels of `one`."""
    corners = np.array(np.meshgrid(*[(0, max(n - 1, 1)) for n in shape[:3]])).reshape(3, -1).T
    gap = np.sqrt(((world(one, corners) - world(other, corners)) ** 2).sum(axis=1)).max()
    return float(gap / voxel_sizes(one).min())


def same_grid(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether two affines put every voxel of a volume in the same place (a tenth of a voxel)."""
    return displacement(one, other, shape) <= _SAME


def difference_of(expected: np.ndarray, found: np.ndarray, shape: tuple[int, ...]) -> str:
    """Say how two affines differ: a flip (left-right named), a shift in voxels, sizes, a rotation.

    Examples
    --------
    >>> difference_of(np.diag([2.0, 2, 2, 1]), np.diag([-2.0, 2, 2, 1]), (5, 5, 5))
    'a left-right flip: the affines differ by the sign of x'
    """
    linear = found[:3, :3] @ np.linalg.inv(expected[:3, :3])
    turned = np.linalg.inv(expected[:3, :3]) @ found[:3, :3]
    for change, axes in ((linear, "xyz"), (turned, "ijk")):
        signs = np.sign(np.diag(change))
        if np.allclose(change, np.diag(signs), atol=0.01) and (signs < 0).any():
            named = [axis for axis, sign in zip(axes, signs, strict=True) if sign < 0]
            kind = "a left-right flip" if named == ["x"] else "a flip"
            return f"{kind}: the affines differ by the sign of {', '.join(named)}"
    if np.allclose(linear, np.eye(3), atol=0.01):
        shift = np.linalg.inv(expected[:3, :3]) @ (found[:3, 3] - expected[:3, 3])
        return f"a shift of ({', '.join(f'{s + 0.0:.3g}' for s in shift.round(3))}) voxels along (i, j, k)"
    sizes = [" x ".join(f"{s:.4g}" for s in voxel_sizes(a)) for a in (expected, found)]
    if sizes[0] != sizes[1]:
        return f"voxels of {sizes[1]} mm against {sizes[0]} mm"
    gap = displacement(expected, found, shape)
    return f"a rotation or shear that moves a corner by {gap:.3g} voxels"
