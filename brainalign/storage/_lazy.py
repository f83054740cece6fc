"""An array on disk that is indexed as numpy indexes, and reads only the chunks it needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brainalign.storage._container import Container, StoredArray


class LazyArray:
    """Values that stay in their file; each read opens it, verifies the chunks and closes it.

    ``array[key]`` returns a new numpy array, equal to ``numpy.asarray(array)[key]``.
    Reading costs the chunks (about 1 MB each) that hold the wanted rows and columns.
    """

    def __init__(self, container: Container, name: str) -> None:
        self._container = container
        self._stored: StoredArray = container.arrays[name]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._stored.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._stored.dtype.newbyteorder("=")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self._stored.nbytes

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the pieces in which the file is read; aligned blocks are the fastest."""
        return self._stored.chunks

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self._stored.name!r} {self.shape} {self.dtype} in {self._container.path}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"{self!r} is on disk; an array in memory cannot be had without a copy")
        out = self._read([np.arange(n) for n in self.shape])
        return out if dtype is None else out.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        found = _split(key if isinstance(key, tuple) else (key,), self.ndim)
        if found is None:  # new axes, masks over several axes: rare, and numpy knows best
            return np.asarray(self)[key]
        axes, dots = found
        wanted: list[np.ndarray] = []
        inner: list[Any] = []
        for axis, (entry, n) in enumerate(zip(axes, self.shape, strict=True)):
            positions, local = _positions(entry, n, axis)
            wanted.append(positions)
            inner.append(local)
        block = self._read(wanted)
        if dots is not None:
            inner.insert(dots, Ellipsis)
        return block[tuple(inner)]

    def _read(self, wanted: list[np.ndarray]) -> np.ndarray:
        with self._container.open() as file:
            out = self._container.read_box(file, self._stored, wanted)
        return out.astype(self.dtype, copy=False)


def _split(key: tuple[Any, ...], ndim: int) -> tuple[list[Any], int | None] | None:
    """One entry an axis, and where an Ellipsis stands for no axis; None where the key does more than that.

    To numpy even such an Ellipsis parts the integers and lists on its sides, which decides
    the order of the axes of the result.
    """
    entries = [e if isinstance(e, slice) or e is Ellipsis else _as_index(e) for e in key]
    if any(e is None for e in entries):
        return None
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1 or len(entries) - len(dots) > ndim:
        return None
    at = dots[0] if dots else len(entries)
    after = entries[at + 1 :]
    n_left = ndim - at - len(after)
    return [*entries[:at], *[slice(None)] * n_left, *after], at if dots and not n_left else None


def _as_index(entry: Any) -> np.ndarray | None:
    if entry is None or isinstance(entry, (bool, np.bool_)):
        return None
    array = np.asarray(entry)
    if array.dtype == bool:
        return array if array.ndim == 1 else None
    if array.size == 0 and not isinstance(entry, np.ndarray):
        return array.astype(np.intp)
    return array if array.dtype.kind in "iu" else None


def _positions(entry: Any, n: int, axis: int) -> tuple[np.ndarray, Any]:
    """Return the sorted positions to read, and the index that then gives what was asked for."""
    if isinstance(entry, slice):
        positions = np.arange(n)[entry]
        backwards = (entry.step or 1) < 0
        return (positions[::-1], slice(None, None, -1)) if backwards else (positions, slice(None))
    if entry.dtype == bool:
        if entry.shape != (n,):
            raise IndexError(f"the mask over axis {axis} has {entry.shape[0]} entries; the axis has {n}")
        return np.flatnonzero(entry), np.arange(np.count_nonzero(entry))
    index = entry.astype(np.int64)
    outside = (index < -n) | (index >= n)
    if outside.any():
        raise IndexError(f"index {index[outside].flat[0]} is out of bounds for axis {axis} with size {n}")
    positions, local = np.unique(index % n if n else index, return_inverse=True)
    local = local.reshape(index.shape)
    return positions, int(local) if index.ndim == 0 else local
