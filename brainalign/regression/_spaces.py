"""Feature spaces as columns of one matrix."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from brainalign.errors import InputError, ShapeError

IntArray = np.ndarray[Any, np.dtype[np.int64]]


def resolve_spaces(spaces: Any, n_features: int) -> list[IntArray]:
    """Column numbers of each space.

    Parameters
    ----------
    spaces : list of slices, integer arrays or boolean masks, or None: all columns, one space
    n_features : number of columns

    Raises
    ------
    InputError
        See `StackedRegression`.
    """
    if spaces is None:
        spaces = [slice(None)]
    if not isinstance(spaces, (list, tuple)) or not spaces:
        raise InputError(
            f"spaces is {spaces!r}; expected a list with the columns of each space, as slices, integers or "
            "boolean masks, or None"
        )
    return [_columns(number, space, n_features) for number, space in enumerate(spaces)]


def _columns(number: int, space: Any, n_features: int) -> IntArray:
    if isinstance(space, slice):
        ends = [end for end in (space.start, space.stop) if end is not None]
        # numpy would cut a slice at the last column without a word
        _check_range(number, [end - (end > 0) for end in ends], n_features)
        columns = np.arange(n_features)[space]
    else:
        columns = _indices(number, space, n_features)
    if not len(columns):
        raise InputError(f"spaces[{number}] has no columns; leave it out, or give it at least one")
    if len(np.unique(columns)) != len(columns):
        twice = np.flatnonzero(np.bincount(columns) > 1)[0]
        raise InputError(f"spaces[{number}] names column {twice} twice; name every column of a space once")
    return columns


def _indices(number: int, space: Any, n_features: int) -> IntArray:
    found = np.asarray(space.cpu() if isinstance(space, torch.Tensor) else space)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iub"):
        raise InputError(
            f"spaces[{number}] has {found.ndim} axes and dtype {found.dtype}; expected a slice, a 1-D array "
            "of integers, or a boolean mask"
        )
    if found.dtype.kind == "b":
        if len(found) != n_features:
            raise InputError(
                f"spaces[{number}] is a mask of {len(found)} columns and X has {n_features}; a mask has one "
                "entry per column"
            )
        return np.flatnonzero(found)
    columns = found.astype(np.int64)
    _check_range(number, columns, n_features)
    return np.where(columns < 0, columns + n_features, columns)


def _check_range(number: int, columns: Sequence[int] | IntArray, n_features: int) -> None:
    for column in columns:
        if not -n_features <= column < n_features:
            raise InputError(
                f"spaces[{number}] names column {column} and X has {n_features} columns, numbered from 0"
            )


def widths_of(X: Any) -> list[int]:
    """Number of columns of each array where X is a list of matrices; else an empty list."""
    if not isinstance(X, (list, tuple)) or not any(len(getattr(one, "shape", ())) == 2 for one in X):
        return []
    for number, one in enumerate(X):
        shape = tuple(getattr(one, "shape", ()))
        if len(shape) != 2:
            raise ShapeError(f"X[{number}] has shape {shape}; expected 2 axes (n_samples, n_features)")
        if shape[0] != X[0].shape[0]:
            raise ShapeError(
                f"X[{number}] has {shape[0]} samples and X[0] has {X[0].shape[0]}; the rows of all arrays "
                "are the same samples"
            )
    return [int(one.shape[1]) for one in X]


def join(arrays: Sequence[Any]) -> Any:
    """Arrays side by side; tensors stay a tensor."""
    if all(isinstance(one, torch.Tensor) for one in arrays):
        return torch.cat(list(arrays), dim=1)
    return np.concatenate([np.asarray(one) for one in arrays], axis=1)


def slices_of(widths: Sequence[int]) -> list[slice]:
    """Where each of the joined arrays stands."""
    edges = np.cumsum([0, *widths]).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
