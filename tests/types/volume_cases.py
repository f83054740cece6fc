"""Phantoms without any symmetry: a flip, a shift or a transposition changes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SHAPE = (4, 5, 6)
# left-handed storage, unequal voxels, an offset: nothing that a flip leaves in place
AFFINE = np.array([[-2.0, 0, 0, 31.0], [0, 2.5, 0, -40.0], [0, 0, 3.0, -22.0], [0, 0, 0, 1]])
TR = 2.0
N_VOLUMES = 7


def code(i: Any, j: Any, k: Any) -> Any:
    """A number that says which voxel it is of."""
    return 100.0 * i + 10.0 * j + k


def phantom(n_volumes: int = N_VOLUMES, dtype: Any = np.float32) -> np.ndarray:
    """(ni, nj, nk, n_volumes): the voxel's code times the number of the volume, from 1."""
    i, j, k = np.indices(SHAPE)
    return (code(i, j, k)[..., None] * np.arange(1, n_volumes + 1)).astype(dtype)


def image(
    values: np.ndarray | None = None,
    affine: np.ndarray = AFFINE,
    *,
    sform: int = 1,
    qform: int = 1,
    tr: float = TR,
    time_unit: str = "sec",
    header: Any = None,
) -> nibabel.Nifti1Image:
    """An image whose header says everything."""
    values = phantom() if values is None else values
    out = nibabel.Nifti1Image(values, affine, header)
    out.set_sform(affine, sform)
    out.set_qform(affine, qform)
    out.header.set_xyzt_units("mm", time_unit)
    if values.ndim == 4:
        out.header.set_zooms((*out.header.get_zooms()[:3], tr))
    return out


def saved(folder: Path, name: str = "bold.nii.gz", **changes: Any) -> Path:
    """The image in a file."""
    path = folder / name
    nibabel.save(image(**changes), path)
    return path


def mask_values() -> np.ndarray:
    """Three voxels that no flip maps onto one another."""
    out = np.zeros(SHAPE, dtype=np.uint8)
    out[0, 1, 2] = out[3, 1, 2] = out[2, 4, 5] = 1
    out[3, 1, 2] = 1
    return out
