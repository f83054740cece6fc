"""The layout of a file, and reading from it only bytes whose sha256 is known.

A file is, from its first byte to its last:

====================  =======================================================================
header (512 bytes)    text: schema, kind, size of the file, place and sha256 of the index, and
                      the sha256 of the header itself. HDF5 calls this the user block.
HDF5                  what any HDF5 program reads: chunked datasets with fletcher32.
index                 one dataset of the HDF5 part. JSON: for each array its shape, dtype and chunk
                      shape, and the offset and sha256 of each chunk; and one sha256 over every
                      byte that is neither header nor index nor chunk (the HDF5 structure).
====================  =======================================================================

Reading needs no HDF5 library: header, then index, then the chunks that are asked for, each
compared with its sha256 before a value is made of it. So a damaged or forged file never reaches
a C parser, nothing stays open between reads, and forked or threaded readers share no state.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.storage._foreign import foreign_file, missing_file

SCHEMA = 1
MAGIC = b"brainalign file\n"
HEADER_BYTES = 512
MAX_INDEX_BYTES = 1 << 30
INDEX_NAME = "brainalign_index"
MAX_OFFSET = 10**18
_DTYPE = re.compile(r"\|b1|\|[iu]1|<[iu][248]|<f[248]|\|S[1-9][0-9]{0,8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 22


@dataclass(frozen=True)
class StoredArray:
    """Where the chunks of one array lie in the file; `offsets` and `digests` in C order of the grid."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    offsets: tuple[int, ...]
    digests: tuple[str, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": self.shape,
            "dtype": self.dtype.str,
            "chunks": self.chunks,
            "offsets": self.offsets,
            "sha256": self.digests,
        }


@dataclass(frozen=True)
class Header:
    """The first 512 bytes."""

    schema: int
    kind: str
    version: str
    size: int
    index_offset: int
    index_size: int
    index_sha256: str

    def as_bytes(self) -> bytes:
        body = MAGIC + json.dumps(vars(self)).encode("ascii")
        body = body.ljust(HEADER_BYTES - 66) + b"\n"
        assert len(body) == HEADER_BYTES - 65
        return body + hashlib.sha256(body).hexdigest().encode("ascii") + b"\n"


@dataclass(frozen=True)
class Container:
    """A file whose header, index and structure have been verified; holds no open handle."""

    path: Path
    header: Header
    head: bytes
    arrays: dict[str, StoredArray]
    structure_sha256: str

    @contextmanager
    def open(self) -> Iterator[int]:
        """Yield a file descriptor of the same file that was verified, or say that it changed."""
        with _descriptor(self.path) as (file, size):
            if read_at(file, HEADER_BYTES, 0) != self.head:
                raise CorruptFileError(
                    f"{self.path} has changed since it was loaded (another file was saved under its name, or "
                    "its header is damaged); load it again"
                )
            _check_size(self.path, size, self.header.size)
            yield file

    def read(self, name: str) -> np.ndarray:
        """Return one whole array."""
        array = self.arrays[name]
        with self.open() as file:
            return self.read_box(file, array, [np.arange(n) for n in array.shape])

    def read_box(self, file: int, array: StoredArray, wanted: Sequence[np.ndarray]) -> np.ndarray:
        """Return the entries at the `wanted` sorted positions of each axis; reads their chunks only."""
        out = np.empty([len(w) for w in wanted], dtype=array.dtype)
        axes = [
            _chunks_of_axis(w, chunk, grid)
            for w, chunk, grid in zip(wanted, array.chunks, array.grid, strict=True)
        ]
        for cell in itertools.product(*axes):
            number = 0
            for (k, _, _), grid in zip(cell, array.grid, strict=True):
                number = number * grid + k
            chunk = np.frombuffer(self.read_chunk(file, array, number), dtype=array.dtype)
            inside = chunk.reshape(array.chunks)[_open_mesh([inner for _, _, inner in cell])]
            out[tuple(outer for _, outer, _ in cell)] = inside
        return out

    def read_chunk(self, file: int, array: StoredArray, number: int) -> bytes:
        raw = read_at(file, array.chunk_bytes, array.offsets[number])
        if hashlib.sha256(raw).hexdigest() != array.digests[number]:
            first = number // math.prod(array.grid[1:]) * array.chunks[0]
            last = min(first + array.chunks[0], array.shape[0]) - 1
            raise CorruptFileError(
                f"{self.path}: the array {array.name!r} is damaged in rows {first} to {last} "
                f"(chunk {number} of {len(array.offsets)}, byte {array.offsets[number]}: "
                "its sha256 does not fit); restore the file from a copy or make it again"
            )
        return raw


def _open_mesh(inner: list[slice | np.ndarray]) -> Any:
    """Index that takes the outer product of the positions of each axis."""
    if all(isinstance(i, slice) for i in inner):
        return tuple(inner)
    return np.ix_(*[np.arange(i.start, i.stop) if isinstance(i, slice) else i for i in inner])


def _chunks_of_axis(wanted: np.ndarray, chunk: int, grid: int) -> list[tuple[int, slice, slice | np.ndarray]]:
    """For each chunk that holds wanted positions: its number, where they go, where they lie in it."""
    edges = np.searchsorted(wanted, np.arange(grid + 1) * chunk)
    out: list[tuple[int, slice, slice | np.ndarray]] = []
    for k in np.flatnonzero(np.diff(edges)).tolist():
        start, stop = int(edges[k]), int(edges[k + 1])
        inner = wanted[start:stop] - k * chunk
        whole = inner[-1] - inner[0] == len(inner) - 1
        out.append((k, slice(start, stop), slice(int(inner[0]), int(inner[-1]) + 1) if whole else inner))
    return out


def open_container(path: str | os.PathLike[str]) -> Container:
    """Verify header, size, index and structure of a file and return the map of its arrays."""
    place = Path(os.path.abspath(path))
    with _descriptor(place) as (file, size):
        head = read_at(file, HEADER_BYTES, 0)
        header = _read_header(place, head, size)
        raw = read_at(file, header.index_size, header.index_offset)
        if hashlib.sha256(raw).hexdigest() != header.index_sha256:
            raise CorruptFileError(
                f"{place}: the index at byte {header.index_offset} is damaged (its sha256 does not fit); "
                "restore the file from a copy or make it again"
            )
        arrays, digest = _parse_index(place, raw, header)
        if structure_digest(file, arrays.values(), header.index_offset, header.index_size, size) != digest:
            raise CorruptFileError(
                f"{place}: the HDF5 structure between the arrays is damaged (its sha256 does not fit); "
                "the file was changed by another program, or needs to be restored from a copy"
            )
    return Container(place, header, head, arrays, digest)


@contextmanager
def _descriptor(path: Path) -> Iterator[tuple[int, int]]:
    """Yield a read-only descriptor of a regular file, and its size."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)  # before opening: opening a pipe would wait
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)) if regular else -1
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file(path) from error
    except OSError as error:
        raise DataNotFoundError(f"{path} cannot be opened: {error.strerror}") from error
    if file < 0:
        raise missing_file(path)
    try:
        yield file, os.fstat(file).st_size
    finally:
        os.close(file)


def read_at(file: int, size: int, offset: int) -> bytes:
    """Read `size` bytes, or as many as there are."""
    pieces = []
    os.lseek(file, offset, os.SEEK_SET)
    while size:
        piece = os.read(file, min(size, 1 << 30))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_header(path: Path, head: bytes, size: int) -> Header:
    if not head.startswith(MAGIC):
        raise foreign_file(path, _sniff(path, head, size), size)
    if len(head) < HEADER_BYTES:
        raise CorruptFileError(
            f"{path} is truncated: it has {size} bytes, the header alone has {HEADER_BYTES}; write it again"
        )
    body, digest = head[: HEADER_BYTES - 65], head[HEADER_BYTES - 65 :]
    if hashlib.sha256(body).hexdigest().encode("ascii") + b"\n" != digest:
        raise CorruptFileError(
            f"{path}: the header (the first {HEADER_BYTES} bytes) is damaged: its sha256 does not fit; "
            "restore the file from a copy or make it again"
        )
    try:
        fields = json.loads(body[len(MAGIC) :])
        schema, version = fields["schema"], fields["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: the header is no header of brainalign ({error!r})") from error
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, written by brainalign {version}; this version reads schema "
            f"{SCHEMA}; install that version of brainalign or a newer one"
        )
    header = _checked_header(path, fields)
    _check_size(path, size, header.size)
    return header


def _sniff(path: Path, head: bytes, size: int) -> bytes:
    """The first bytes, and where HDF5 may hide behind a user block."""
    if size <= HEADER_BYTES:
        return head
    with _descriptor(path) as (file, _):
        return read_at(file, HEADER_BYTES + 8, 0)


def _checked_header(path: Path, fields: dict[str, Any]) -> Header:
    try:
        header = Header(**fields)
    except TypeError as error:
        raise CorruptFileError(f"{path}: the header is no header of brainalign ({error})") from error
    numbers = (header.size, header.index_offset, header.index_size)
    if not (
        all(type(n) is int and n > 0 for n in numbers)
        and all(isinstance(t, str) for t in (header.kind, header.version, header.index_sha256))
        and header.index_offset >= HEADER_BYTES
        and header.index_offset + header.index_size <= header.size
        and header.index_size <= MAX_INDEX_BYTES
    ):
        raise CorruptFileError(f"{path}: the header describes no possible file: {fields}")
    return header


def _check_size(path: Path, size: int, expected: int) -> None:
    if size != expected:
        what = "truncated" if size < expected else "longer than it was written"
        raise CorruptFileError(
            f"{path} is {what}: expected {expected} bytes, found {size}; restore it from a copy "
            "or make it again"
        )


def _parse_index(path: Path, raw: bytes, header: Header) -> tuple[dict[str, StoredArray], str]:
    """Check every number of the index before any memory is asked for."""
    try:
        index = json.loads(raw)
        digest = index["structure_sha256"]
        arrays = [_stored_array(entry, header.size) for entry in index["arrays"]]
        if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise ValueError("the digest of the structure is no sha256")
        _check_overlap(arrays, header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: the index describes no possible file ({error})") from error
    return {array.name: array for array in arrays}, digest


def _stored_array(entry: dict[str, Any], end: int) -> StoredArray:
    name, dtype = entry["name"], entry["dtype"]
    if not (isinstance(name, str) and isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
        raise ValueError(f"array {name!r} has dtype {dtype!r}")
    shape, chunks, offsets = (_integers(name, entry[key]) for key in ("shape", "chunks", "offsets"))
    if not (1 <= len(shape) <= 8 and len(shape) == len(chunks) and all(c >= 1 for c in chunks)):
        raise ValueError(f"array {name!r} has shape {shape} and chunks {chunks}")
    digests = tuple(entry["sha256"])
    array = StoredArray(name, shape, np.dtype(dtype), chunks, offsets, digests)
    if len(offsets) != math.prod(array.grid) or len(digests) != len(offsets):
        raise ValueError(f"array {name!r} of shape {shape} has {len(offsets)} chunks of {chunks}")
    if any(o < HEADER_BYTES or o + array.chunk_bytes > end for o in offsets):
        raise ValueError(f"array {name!r} has a chunk outside of the file")
    if not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in digests):
        raise ValueError(f"array {name!r} has a digest that is no sha256")
    return array


def _integers(name: str, values: Any) -> tuple[int, ...]:
    if not (isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in values)):
        raise ValueError(f"array {name!r} has sizes or offsets that are no counts")
    return tuple(values)


def _check_overlap(arrays: Sequence[StoredArray], header: Header) -> None:
    """Chunks that share bytes would let a small file claim a large content."""
    if len({array.name for array in arrays}) != len(arrays):
        raise ValueError("two arrays have the same name")
    spans = [(o, o + a.chunk_bytes, a.name) for a in arrays for o in a.offsets]
    index = (header.index_offset, header.index_offset + header.index_size, "the index")
    spans = sorted([*spans, index])
    for (_, stop, name), (start, _, other) in itertools.pairwise(spans):
        if start < stop:
            raise ValueError(f"chunks of {name!r} and {other!r} overlap")


def structure_digest(
    file: int, arrays: Iterable[StoredArray], index_offset: int, index_size: int, end: int
) -> str:
    """Sha256 of every byte from the end of the header to `end` that neither chunk nor index covers."""
    digest, at = hashlib.sha256(), HEADER_BYTES
    spans = [(o, o + a.chunk_bytes) for a in arrays for o in a.offsets]
    spans += [(index_offset, index_offset + index_size), (end, end)]
    for start, stop in sorted(spans):
        while at < start:
            piece = read_at(file, min(_BLOCK, start - at), at)
            if not piece:
                break
            digest.update(piece)
            at += len(piece)
        at = stop
    return digest.hexdigest()


def index_bytes(structure_sha256: str, arrays: Sequence[StoredArray]) -> bytes:
    """The index as it is written."""
    index = {"structure_sha256": structure_sha256, "arrays": [array.as_json() for array in arrays]}
    return json.dumps(index, separators=(",", ":")).encode("ascii")
