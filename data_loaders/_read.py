"""Guarded readers of third-party files: each says what was expected and what was found."""

from __future__ import annotations

import hashlib
import lzma
import math
import os
import re
import shlex
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import IO, Any

import numpy as np

from brainalign.errors import CorruptFileError, DataNotFoundError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._root import how_to_get

MAX_UNPACKED = 2**31
HEAD = 512
# what zipfile and numpy raise on damaged, encrypted or pickled members
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(ValueError, EOFError, NotImplementedError, RuntimeError),
)
_ANNEX = ("a git-annex pointer without its content", "git annex get")
_POINTERS = (
    (
        re.compile(rb"version https://(git-lfs|hawser)"),
        "a git-lfs pointer without its content",
        "git lfs pull",
    ),
    (re.compile(rb"[./\\]*[/\\]annex[/\\]objects[/\\]"), *_ANNEX),
    (re.compile(rb"(\.\.[/\\])*\.git[/\\]annex[/\\]"), *_ANNEX),
)
_PAGE = re.compile(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+html|<html|<head|<body)", re.DOTALL)
_XML_ERROR = re.compile(rb"(<\?xml[^>]*>\s*)?<error>")
_JSON = re.compile(rb'\{\s*"[^"]*"\s*:')
_STATUS = re.compile(rb"[45]\d\d[: ]+[a-z][a-z '.]{3,60}\s*$")
_TEXT_SUFFIXES = {
    *(".cfg", ".csv", ".htm", ".html", ".json", ".md", ".svg", ".textgrid", ".toml", ".tsv", ".txt", ".vhdr"),
    *(".vmrk", ".xhtml", ".xml", ".yaml", ".yml"),
}


def placeholder(head: bytes, name: str) -> tuple[str, str] | None:
    """Say what stands in the place of a file, by the beginning of its content.

    Parameters
    ----------
    head : the first bytes
    name : name of the file; text may stand in a text file, and a page in a .html file

    Returns
    -------
    what, command : what it is, and the command that brings the content ("" where none
        does); or None where it may be the file itself

    Examples
    --------
    >>> placeholder(b"<!DOCTYPE html><title>Sign in</title>", "bold.nii.gz")
    ('a web page (HTML)', '')
    >>> placeholder(b"version https://git-lfs.github.com/spec/v1", "a.npy")[1]
    'git lfs pull'
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what, command in _POINTERS:
        if mark.match(start):
            return what, command
    suffix = PurePath(name).suffix.lower()
    if suffix not in (".html", ".htm", ".xhtml") and _PAGE.match(start):
        return "a web page (HTML)", ""
    if suffix in _TEXT_SUFFIXES:
        return None
    if _XML_ERROR.match(start) or _JSON.match(start) or (len(head) < HEAD and _STATUS.match(start)):
        return "the text of an error", ""
    return None


def first_line(head: bytes) -> str:
    """The beginning of a text for a message, printable and short; empty for other content.

    Examples
    --------
    >>> first_line(b"  404: Not Found  "), first_line(bytes(range(128, 200)))
    ('404: Not Found', '')
    """
    try:
        text = head[:HEAD].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head[:HEAD]) - 4:  # a character cut at the end is no reason
            return ""
        text = head[: error.start].decode("utf-8")
    text = " ".join(text.removeprefix("\ufeff").split())
    return text[:120] if text.isprintable() else ""


def require_file(path: Path, card: DatasetCard | None = None) -> Path:
    """Return `path` if it holds something that is not a placeholder.

    Raises
    ------
    DataNotFoundError
        There is no such file, or a folder or a link to nothing is in its place.
    CorruptFileError
        The file is empty, a git-lfs or git-annex pointer (also a link without its
        content), a web page, or the text of an error in place of a binary file.
    """
    if not path.is_file():
        _refuse_absent(path, card)
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head.strip():
        size = path.stat().st_size
        if size <= HEAD:
            state = "is empty" if size == 0 else "holds nothing but blanks"
            raise CorruptFileError(
                f"{path} {state} ({size} bytes); expected content. Delete it and get it again"
            )
    found = placeholder(head, path.name)
    if found:
        what, command = found
        if command:
            raise CorruptFileError(f"{path} is {what}; {_run(command, path)}")
        raise CorruptFileError(
            f"{path} is {what}, not the file: {first_line(head)!r}; a download was answered with it. Delete "
            "it and get it again"
        )
    return path


def _refuse_absent(path: Path, card: DatasetCard | None) -> None:
    """Say what is there in place of a file."""
    if path.is_symlink():
        target = os.fspath(path.readlink())
        if "annex/objects/" in target.replace("\\", "/") or ".git/annex" in target.replace("\\", "/"):
            raise CorruptFileError(
                f"{path} is a git-annex link without its content; {_run('git annex get', path)}"
            )
        raise DataNotFoundError(
            f"{path} is a link to {target}, which does not exist; mend or remove the link"
        )
    if path.is_dir():
        raise DataNotFoundError(f"{path} is a folder; expected a file")
    raise DataNotFoundError(f"{path} does not exist. {how_to_get(card) if card else ''}".strip())


def _run(command: str, path: Path) -> str:
    name = shlex.quote(path.name)
    return f"run: {command} {f'--include={name}' if 'lfs' in command else name} (in {path.parent})"


def sha256_of(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def registered_file(path: Path, card: DatasetCard) -> RemoteFile | None:
    """The entry of the registry for a file of the dataset's folder or of one below it, or None."""
    fitting = [
        file
        for file in card.files
        if path.parts[-len(PurePath(file.name).parts) :] == PurePath(file.name).parts
    ]
    return max(fitting, key=lambda file: file.name.count("/"), default=None)


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
    registered = registered_file(path, card)
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
    with path.open("rb") as stream:
        shape, dtype = _npy_header(stream, str(path))
        start = stream.tell()
    if dtype.hasobject:
        raise CorruptFileError(
            f"{path} holds Python objects (dtype {dtype}); expected numbers. It is not opened"
        )
    size = _npy_size(shape, dtype, start, path.stat().st_size, str(path))
    # an array without entries cannot be mapped
    out: np.ndarray = np.load(path, mmap_mode="r" if mmap and size else None, allow_pickle=False)
    return out


def _npy_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        shape, _, dtype = read(stream)
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{where} is not a readable .npy file: {error}") from error
    return shape, dtype


def _npy_size(shape: tuple[int, ...], dtype: np.dtype[Any], start: int, found: int, where: str) -> int:
    """Entries of an array, once the `found` bytes of its file are those that the header says."""
    size: int = math.prod(list(shape))
    expected = start + size * dtype.itemsize
    if expected != found or min(shape, default=0) < 0:
        raise CorruptFileError(
            f"{where} has {found} bytes; its header says shape {shape}, {dtype}, which takes {expected}"
        )
    return size


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file, never unpickling, with a cap on its size.

    Raises
    ------
    CorruptFileError
        Not an .npz file, an array is missing, damaged, pickled, or too large unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _npz_arrays(archive, path, names)
    except _UNREADABLE as error:
        raise CorruptFileError(f"{path} is not a readable .npz file: {error}") from error


def _npz_arrays(archive: zipfile.ZipFile, path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the named members; each header is checked before anything is allocated."""
    members = {entry.filename: entry for entry in archive.infolist()}
    unpacked = sum(entry.file_size for entry in members.values())
    if unpacked > MAX_UNPACKED:
        raise CorruptFileError(f"{path} would unpack to {unpacked} bytes; expected at most {MAX_UNPACKED}")
    out = {}
    for name in names:
        entry = members.get(f"{name}.npy")
        if entry is None:
            there = [n.removesuffix(".npy") for n in members if n.endswith(".npy")]
            raise CorruptFileError(
                f"{path} has no array {name!r}; expected {', '.join(names)}, found "
                f"{', '.join(there) or 'none'}"
            )
        where = f"{path}: member {name!r}"
        with archive.open(entry) as stream:
            shape, dtype = _npy_header(stream, where)
            if not dtype.hasobject:  # read_array refuses those
                _npy_size(shape, dtype, stream.tell(), entry.file_size, where)
        with archive.open(entry) as stream:
            out[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return out


def read_mat(path: Path, names: Sequence[str], card: DatasetCard) -> dict[str, Any]:
    """Return the named variables of a registered MATLAB v5 file, whose checksum is verified first."""
    from scipy.io import loadmat

    verify(require_file(path, card), card, strict=True)
    found = loadmat(path, variable_names=list(names))
    return {name: found[name] for name in names}
