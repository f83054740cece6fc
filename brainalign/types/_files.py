"""Files before a reader trusts them: placeholders, checksums of gzip, and how they are opened."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
# deflate cannot pack more than about 1032 bytes into one
_DEFLATE_LIMIT = 1040
# files of measurements pack far less than this; a small file that unpacks to so much was made to
_BOMB_BYTES, _BOMB_RATIO = 1 << 28, 200
_POINTER_BYTES = 2000
_PLACEHOLDERS = (
    (b"version https://git-lfs", "a git-lfs pointer without its content; run: git lfs pull"),
    (b"<!doctype", "a web page, not a recording; the download was answered with HTML"),
    (b"<html", "a web page, not a recording; the download was answered with HTML"),
)


def is_path(value: Any) -> bool:
    """Whether `value` names a file."""
    return isinstance(value, (str, os.PathLike))


def with_content(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file with content lies there.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    CorruptFileError
        It is empty, a pointer of git-annex or git-lfs, or a web page.
    """
    path = Path(path)
    if not path.is_file():
        if path.is_symlink() and "annex" in os.readlink(path):
            raise CorruptFileError(f"{path} is a git-annex link without its content; run: git annex get")
        if path.is_dir():
            raise InputError(f"{path} is a folder; expected a file")
        raise DataNotFoundError(f"{path} does not exist")
    with path.open("rb") as stream:
        head = stream.read(512).lstrip().lower()
    if not path.stat().st_size:
        raise CorruptFileError(f"{path} is empty (0 bytes); copy it again")
    if b"annex/objects/" in head and path.stat().st_size <= _POINTER_BYTES:
        raise CorruptFileError(f"{path} is a git-annex pointer without its content; run: git annex get")
    for mark, meaning in _PLACEHOLDERS:
        if head.startswith(mark):
            raise CorruptFileError(f"{path} is {meaning}")
    return path


def is_gzip(path: Path) -> bool:
    """Whether the content (not the name) is gzip."""
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacking gzip; damage met while it is read names the file."""
    open_as: Any = gzip.open if is_gzip(path) else open
    try:
        with open_as(path, "rb") as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptFileError(
            f"{path} is damaged gzip of {path.stat().st_size} bytes ({error}); copy it again from its source"
        ) from error


def refuse_bomb(path: Path, unpacked: int) -> None:
    """Refuse a gzip file that cannot, or should not, unpack to so many bytes.

    Raises
    ------
    CorruptFileError
        More than deflate can pack, or a small file that would fill the memory.
    """
    size = path.stat().st_size
    if unpacked > _DEFLATE_LIMIT * size + _PIECE:
        raise CorruptFileError(
            f"{path} has {size} bytes; its header says {unpacked}, more than gzip can pack into that. The "
            "header is wrong or the file was cut; copy it again"
        )
    if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * size:
        raise CorruptFileError(
            f"{path} would unpack {size} bytes to {unpacked}, {unpacked // size} times as many; no recording "
            "packs so well. Unpack it yourself if it is what you expect"
        )


def check_gzip(path: Path) -> None:
    """Read a gzip file to its end, so that its checksum is compared; other files have none.

    Readers stop where the values end, before the trailer that holds the checksum: a flipped
    bit would pass.

    Raises
    ------
    CorruptFileError
        Truncated, or another checksum than the trailer says.
    """
    if is_gzip(path):
        with opened(path) as stream:
            while stream.read(_PIECE):
                pass
