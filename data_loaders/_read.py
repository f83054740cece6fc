"""Guarded readers of third-party files: each says what was expected and what was found."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import CorruptFileError, DataNotFoundError
from data_loaders._card import DatasetCard
from data_loaders._root import how_to_get

MAX_UNPACKED = 2**31
_PLACEHOLDERS = (
    (b"version https://git-lfs", "a git-lfs pointer without its content; run: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer without its content; run: git annex get"),
    (b"../.git/annex", "a git-annex pointer without its content; run: git annex get"),
    (b".git/annex", "a git-annex pointer without its content; run: git annex get"),
    (b"<!doctype", "a web page, not the file; the download was answered with HTML"),
    (b"<html", "a web page, not the file; the download was answered with HTML"),
)


def require_file(path: Path, card: DatasetCard | None = None) -> Path:
    """Return `path` if it holds something that is not a placeholder.

    Raises
    ------
    DataNotFoundError
        There is no such file (a dangling git-annex link says so).
    CorruptFileError
        The file is empty, a git-lfs or git-annex pointer, or a web page.
    """
    if not path.is_file():
        if path.is_symlink() and "annex" in str(path.readlink()):
            raise CorruptFileError(f"{path} is a git-annex link without its content; run: git annex get")
        raise DataNotFoundError(f"{path} does not exist. {how_to_get(card) if card else ''}".strip())
    with path.open("rb") as stream:
        head = stream.read(512).lstrip().lower()
    if not head:
        raise CorruptFileError(f"{path} is empty ({path.stat().st_size} bytes); expected content")
    for mark, meaning in _PLACEHOLDERS:
        if head.startswith(mark):
            raise CorruptFileError(f"{path} is {meaning}")
    return path


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path, card: DatasetCard, *, strict: bool = False) -> bool:
    """Return whether a file is the registered one.

    A file of the registered name and size that has another checksum is damaged. One of
    another size is the user's own (returns False), unless `strict`: formats whose parsers
    are not safe on foreign bytes (MAT) are opened only where the checksum is known.

    Raises
    ------
    CorruptFileError
        Damaged, or (strict) not the registered file.
    """
    registered = {file.name: file for file in card.files}.get(path.name)
    if registered is None:
        if strict:
            raise CorruptFileError(
                f"{path} is not a registered file of {card.name!r}; it has no known checksum"
            )
        return False
    size = path.stat().st_size
    if size != registered.size and not strict:
        return False
    found = sha256_of(path)
    if found != registered.sha256:
        raise CorruptFileError(
            f"{path} has {size} bytes and sha256 {found}; expected {registered.size} bytes and "
            f"{registered.sha256}. Move it away and get it again"
        )
    return True


def read_npy(path: Path, *, mmap: bool = False) -> np.ndarray:
    """Return the array of an .npy file; the header is checked against the file's size first.

    Raises
    ------
    CorruptFileError
        Not an .npy file, pickled objects, or another number of bytes than its header says.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(stream)
            start = stream.tell()
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} is not a readable .npy file: {error}") from error
    if dtype.hasobject:
        raise CorruptFileError(
            f"{path} holds Python objects (dtype {dtype}); expected numbers. It is not opened"
        )
    size: int = math.prod(list(shape))
    expected, found = start + size * dtype.itemsize, path.stat().st_size
    if expected != found or min(shape, default=0) < 0:
        raise CorruptFileError(
            f"{path} has {found} bytes; its header says shape {shape}, {dtype}, which takes {expected}"
        )
    # an array without entries cannot be mapped
    out: np.ndarray = np.load(path, mmap_mode="r" if mmap and size else None, allow_pickle=False)
    return out


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file, never unpickling, with a cap on its size.

    Raises
    ------
    CorruptFileError
        Not an .npz file, an array is missing, damaged, pickled, or too large unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise CorruptFileError(
                f"{path} would unpack to {unpacked} bytes; expected at most {MAX_UNPACKED}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays.files]
            if missing:
                raise CorruptFileError(
                    f"{path} has no array {missing[0]!r}; expected {', '.join(names)}, found "
                    f"{', '.join(arrays.files) or 'none'}"
                )
            out = {name: arrays[name] for name in names}
            for name, value in out.items():
                # numpy hands out the raw bytes of a member that is not an array
                if not isinstance(value, np.ndarray):
                    raise CorruptFileError(f"{path}: member {name!r} is not an array")
            return out
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptFileError(f"{path} is not a readable .npz file: {error}") from error


def read_mat(path: Path, names: Sequence[str], card: DatasetCard) -> dict[str, Any]:
    """Return the named variables of a registered MATLAB v5 file, whose checksum is verified first."""
    from scipy.io import loadmat

    verify(require_file(path, card), card, strict=True)
    found = loadmat(path, variable_names=list(names))
    return {name: found[name] for name in names}
