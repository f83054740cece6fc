"""What counts as a band: columns of one matrix, arrays of a list, kernels of a stack."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from brainalign.errors import InputError, ShapeError

IntArray = np.ndarray[Any, np.dtype[np.int64]]
KERNELS = ("linear", "precomputed")


def join_bands(X: Any, bands: Any, kernel: str) -> tuple[Any, list[int] | None]:
    """Return one matrix (n, sum of widths), and the widths where X came in parts (else None)."""
    parts = _parts(X, kernel)
    if parts is None:
        return X if hasattr(X, "shape") else np.asarray(X), None
    if bands is not None:
        raise InputError(
            "bands is given and X comes in parts, which are the bands; leave bands=None, or give one matrix"
        )
    rows = parts[0].shape[0]
    for j, part in enumerate(parts):
        if part.shape[0] != rows:
            raise ShapeError(
                f"band {j} of X has {part.shape[0]} samples and band 0 has {rows}; rows are the same samples"
            )
    joined: Any
    if all(isinstance(part, torch.Tensor) for part in parts):
        joined = torch.cat(list(parts), dim=1)
    else:
        joined = np.concatenate([np.asarray(part) for part in parts], axis=1)
    return joined, [int(part.shape[1]) for part in parts]


def _parts(X: Any, kernel: str) -> list[Any] | None:
    """The arrays of a list or of a stack of kernels; None for one matrix."""
    if isinstance(X, (list, tuple)) and X and all(getattr(part, "ndim", 0) == 2 for part in X):
        return list(X)
    if kernel == "precomputed":
        if getattr(X, "ndim", 0) != 3:
            found = f"shape {tuple(X.shape)}" if hasattr(X, "shape") else f"type {type(X).__name__}"
            raise ShapeError(
                f"X has {found}; kernel='precomputed' expects kernels (n_bands, n_samples, n_train_samples), "
                "as one stack or a list"
            )
        return list(X)
    return None


def check_kernels(widths: Sequence[int], n_rows: int) -> None:
    """Refuse kernels of a fit that are not square."""
    for j, width in enumerate(widths):
        if width != n_rows:
            raise ShapeError(
                f"the kernel of band {j} has shape ({n_rows}, {width}); a fit needs square kernels "
                "(n_samples, n_samples)"
            )


def band_columns(bands: Any, widths: Sequence[int] | None, n_features: int) -> list[IntArray]:
    """Return the columns of each band.

    Parameters
    ----------
    bands : list of slices, of integer arrays or of boolean masks; None: see `widths`
    widths : columns of each part that X was joined from; None: one band of all columns
    n_features : columns of X
    """
    if bands is None:
        edges = np.cumsum([0, *(widths or [n_features])])
        return [np.arange(a, b) for a, b in itertools.pairwise(edges)]
    if isinstance(bands, (str, slice)) or not isinstance(bands, (Sequence, np.ndarray)) or not len(bands):
        raise InputError(
            f"bands={bands!r}; expected a list with one slice or one array of column numbers per band"
        )
    columns = [_columns(band, j, n_features) for j, band in enumerate(bands)]
    _check_cover(columns, n_features)
    return columns


def _columns(band: Any, j: int, n_features: int) -> IntArray:
    if isinstance(band, slice):
        found = np.arange(n_features)[band]
    else:
        found = np.asarray(band)
        if found.dtype == bool and found.shape == (n_features,):
            found = np.flatnonzero(found)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise InputError(
                f"band {j} is {band!r}; expected a slice, column numbers, or a mask of {n_features} columns"
            )
    if not found.size:
        raise InputError(f"band {j} ({band!r}) has no columns; X has {n_features}, numbered from 0")
    outside = found[(found < -n_features) | (found >= n_features)]
    if outside.size:
        raise InputError(
            f"band {j} names column {int(outside[0])} and X has {n_features} columns, numbered from 0"
        )
    return np.where(found < 0, found + n_features, found).astype(np.int64)


def _check_cover(columns: list[IntArray], n_features: int) -> None:
    """Each column belongs to exactly one band."""
    owner = np.full(n_features, -1)
    for j, found in enumerate(columns):
        distinct, count = np.unique(found, return_counts=True)
        if (count > 1).any():
            raise InputError(f"band {j} names column {int(distinct[count > 1][0])} twice")
        taken = distinct[owner[distinct] >= 0]
        if taken.size:
            raise InputError(
                f"column {int(taken[0])} is in band {int(owner[taken[0]])} and in band {j}; bands must not "
                "overlap"
            )
        owner[distinct] = j
    missing = np.flatnonzero(owner < 0)
    if missing.size:
        shown = ", ".join(map(str, missing[:8])) + (" ..." if missing.size > 8 else "")
        raise InputError(
            f"{missing.size} of {n_features} columns are in no band: {shown}; give them a band or leave them "
            "out of X"
        )
