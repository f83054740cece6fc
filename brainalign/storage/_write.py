"""Write arrays as HDF5, and in it the index that makes every byte checkable."""

from __future__ import annotations

import errno
import hashlib
import itertools
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from brainalign import __version__
from brainalign.errors import BrainAlignError, CorruptFileError, InputError, ShapeError
from brainalign.storage._container import (
    HEADER_BYTES,
    INDEX_NAME,
    MAX_OFFSET,
    SCHEMA,
    Header,
    StoredArray,
    index_bytes,
    read_at,
    structure_digest,
)
from brainalign.storage._sink import Sink
from brainalign.storage._tree import check_dtype
from brainalign.storage.atomic import atomic_write, write_error

CHUNK_BYTES = 1 << 20
_CHUNK_ROW_BYTES = 1 << 14
_BLOCK_BYTES = 1 << 26
# "latest" of HDF5 2.0 writes dataset layouts that HDF5 1.14 refuses; the format of 1.10 has all
# that is needed and is read by every release since 2016
_LIBVER = ("v110", "v110")


class Placed(NamedTuple):
    """Where the chunks of the arrays and the room of the index lie."""

    arrays: list[StoredArray]
    index_offset: int
    index_size: int


def write_container(path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Any]) -> None:
    """Write `arrays` (numpy, or anything with shape, dtype and slicing) to `path`, whole or not at all."""
    try:
        needed = sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in arrays.values())
        with atomic_write(path, needed=needed) as temporary:
            _check_space(temporary.parent, needed)
            placed = _write_hdf5(temporary, kind, arrays)
            _write_index(temporary, kind, placed)
    except BrainAlignError:
        raise
    except OSError as error:  # an error of HDF5 itself, which has no number
        raise write_error(path, error, what=str(error)) from error


def _check_space(folder: Path, needed: int) -> None:
    """Refuse before the first byte what cannot fit; the error names both numbers."""
    if needed > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return a chunk of about 1 MB: full where the array is small, else rows of at most 16 KB.

    Rows are cut so that a block of columns (4096 float32 units) can be read without the
    rest; ten rows cost at most 64 rows.
    """
    if len(shape) == 1:
        return (max(1, min(shape[0], CHUNK_BYTES // itemsize)),)
    rest = math.prod(shape[2:]) * itemsize
    columns = max(1, min(shape[1], _CHUNK_ROW_BYTES // max(1, rest)))
    rows = max(1, min(shape[0], CHUNK_BYTES // max(1, columns * rest)))
    return (rows, columns, *(max(1, n) for n in shape[2:]))


def _write_hdf5(path: Path, kind: str, arrays: Mapping[str, Any]) -> Placed:
    """Write the HDF5 file with room for the index; return where everything lies."""
    with Sink(path) as sink:
        with h5py.File(sink, "w", libver=_LIBVER, userblock_size=HEADER_BYTES) as file:
            file.attrs["kind"] = np.bytes_(kind)
            file.attrs["schema"] = SCHEMA
            file.attrs["brainalign_version"] = np.bytes_(__version__)
            written = [_write_array(file, sink, name, array) for name, array in arrays.items()]
            room = np.array([b"-" * len(index_bytes("0" * 64, written))])
            file.create_dataset(INDEX_NAME, data=room.astype(h5py.string_dtype("utf-8", room.itemsize)))
        sink.raise_error()
    # a private name: the lock of HDF5 adds nothing and fails on network folders
    with h5py.File(path, "r", locking=False) as file:
        offset = file[INDEX_NAME].id.get_offset()
        return Placed([_locate(file[a.name], a) for a in written], offset, room.itemsize)


def _write_array(file: Any, sink: Sink, name: str, array: Any) -> StoredArray:
    """Write one dataset chunk by chunk; its offsets are not known yet, and as long as any can be."""
    shape = tuple(int(n) for n in array.shape)
    dtype = array.dtype if array.dtype.kind == "S" else check_dtype(array, name)
    stored = h5py.string_dtype("utf-8", dtype.itemsize) if dtype.kind == "S" else dtype
    if 0 in shape:
        file.create_dataset(name, shape=shape, dtype=stored)
        return StoredArray(name, shape, dtype, tuple(max(1, n) for n in shape), (), ())
    chunks = chunk_shape(shape, dtype.itemsize)
    dataset = file.create_dataset(
        name, shape=shape, dtype=stored, chunks=chunks, fletcher32=True, fill_time="alloc"
    )
    digests = []
    for where, block in _blocks(array, shape, chunks, dtype, name):
        dataset[where] = block.astype(stored) if dtype.kind == "S" else block
        sink.raise_error()
        digests.append(_digest(block, chunks))
    return StoredArray(name, shape, dtype, chunks, (MAX_OFFSET,) * len(digests), tuple(digests))


def _blocks(
    array: Any, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any], name: str
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield the content of each chunk in C order of the grid; at most 64 MB are read at once."""
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    whole_rows = chunks[0] * row_bytes <= _BLOCK_BYTES
    for start in range(0, shape[0], chunks[0]):
        rows = slice(start, min(start + chunks[0], shape[0]))
        band = _take(array, (rows,), dtype, name, shape) if whole_rows else None
        for cell in itertools.product(*(range(0, n, c) for n, c in zip(shape[1:], chunks[1:], strict=True))):
            columns = tuple(
                slice(c, min(c + k, n)) for c, k, n in zip(cell, chunks[1:], shape[1:], strict=True)
            )
            where = (rows, *columns)
            block = (
                _take(array, where, dtype, name, shape)
                if band is None
                else np.ascontiguousarray(band[(slice(None), *columns)])
            )
            yield where, block


def _take(
    array: Any, where: tuple[slice, ...], dtype: np.dtype[Any], name: str, shape: tuple[int, ...]
) -> np.ndarray:
    block = np.asarray(array[where if len(where) > 1 else where[0]])
    expected = (*(s.stop - s.start for s in where), *shape[len(where) :])
    if block.shape != expected:
        raise ShapeError(
            f"{name} says that its shape is {shape}, but gives {block.shape} where {expected} was asked for"
        )
    found = block.dtype.newbyteorder("<")
    if found != dtype and dtype.kind != "S":
        raise InputError(
            f"{name} says that its dtype is {dtype}, but gives {found}; a cast would lose values"
        )
    return np.ascontiguousarray(block, dtype=dtype)


def _digest(block: np.ndarray, chunks: tuple[int, ...]) -> str:
    """Sha256 of a chunk as HDF5 stores it: a chunk at the edge is filled up with zeros."""
    if block.shape != chunks:
        full = np.zeros(chunks, dtype=block.dtype)
        full[tuple(slice(n) for n in block.shape)] = block
        block = full
    return hashlib.sha256(block.reshape(-1).view(np.uint8).data).hexdigest()


def _locate(dataset: Any, array: StoredArray) -> StoredArray:
    """Ask HDF5 where it has put each chunk."""
    if not array.offsets:
        return array
    corners = itertools.product(*(range(0, n, c) for n, c in zip(array.shape, array.chunks, strict=True)))
    offsets = [dataset.id.get_chunk_info_by_coord(corner).byte_offset for corner in corners]
    return replace(array, offsets=tuple(offsets))


def _write_index(path: Path, kind: str, placed: Placed) -> None:
    """Write the index into its room, then the header."""
    with open(path, "r+b") as file:
        arrays, offset, room = _absolute(path, file.fileno(), placed)
        size = file.seek(0, os.SEEK_END)
        digest = structure_digest(file.fileno(), arrays, offset, room, size)
        raw = index_bytes(digest, arrays).ljust(room)
        file.seek(offset)
        file.write(raw)
        header = Header(
            schema=SCHEMA,
            kind=kind,
            version=__version__,
            size=size,
            index_offset=offset,
            index_size=room,
            index_sha256=hashlib.sha256(raw).hexdigest(),
        )
        file.seek(0)
        file.write(header.as_bytes())


def _absolute(path: Path, file: int, placed: Placed) -> Placed:
    """Return the places counted from the start of the file.

    Releases of HDF5 differ in whether they count from the start of the file or from the
    end of the user block; the bytes at the room of the index decide, and one chunk of
    each array confirms.
    """
    arrays, offset, room = placed
    found = [s for s in (0, HEADER_BYTES) if read_at(file, room, offset + s) == b"-" * room]
    shift = found[0] if found else 0
    moved = [replace(a, offsets=tuple(o + shift for o in a.offsets)) for a in arrays]
    for array in moved:
        if array.offsets:
            raw = read_at(file, array.chunk_bytes, array.offsets[-1])
            if hashlib.sha256(raw).hexdigest() != array.digests[-1]:
                raise CorruptFileError(
                    f"{path}: the array {array.name!r} did not arrive on the disk as written; check the disk"
                )
    return Placed(moved, offset + shift, room)
