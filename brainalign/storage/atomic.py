"""Files and folders that appear whole or not at all, and survive a lost power line."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brainalign.errors import DataNotFoundError, InputError
from brainalign.storage._refusal import refusals, shown_as, write_error
from brainalign.storage.lock import LOCK_NAME, folder_lock

__all__ = [
    "LOCK_NAME",
    "atomic_folder",
    "atomic_write",
    "folder_lock",
    "is_passing",
    "make_folder",
    "move",
    "refusals",
    "remove",
    "remove_leftovers",
    "shown_as",
    "sync",
    "temporary_name",
    "write_error",
    "write_text_atomic",
]

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.part")
# some network file systems cannot flush a folder; they say so by one of these
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, needed: int | None = None) -> Iterator[Path]:
    r"""Yield a temporary path in the folder of `path`; move it there when the block ends well.

    The temporary file ends in ``.part``. It is flushed to the disk before it takes the
    name `path`, and the folder after, so that a crash at any moment leaves either the
    old file or the new one. If the block raises, the temporary file is removed and a
    file that was at `path` keeps every byte.

    Parameters
    ----------
    path : where the file shall lie
    needed : bytes that will be written, where known; the error of a full disk says it

    Raises
    ------
    DataNotFoundError
        The folder of `path` does not exist.
    InputError
        `path` is a folder.
    WriteError
        The disk is full, fails or is read-only.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "table.tsv") as temporary:
    ...     _ = temporary.write_text("a\tb\n")
    >>> [p.name for p in folder.iterdir()]
    ['table.tsv']
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise DataNotFoundError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it"
        )
    temporary = temporary_name(target.parent)
    try:
        with refusals(target, needed=needed):
            yield temporary
            sync(temporary)
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with refusals(target):
        sync(target.parent)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all (see `atomic_write`).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_text_atomic(path, "ok")
    >>> path.read_text()
    'ok'
    """
    content = text.encode("utf-8")
    with atomic_write(path, needed=len(content)) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes the name `path` when the block ends well.

    What is written into it has to be flushed by whoever writes it (`atomic_write` does). A
    folder that lay at `path` is replaced; if the block raises it stays as it was.

    Raises
    ------
    WriteError
        The disk is full, fails or is read-only.

    Examples
    --------
    >>> import tempfile
    >>> parent = Path(tempfile.mkdtemp())
    >>> with atomic_folder(parent / "cell") as temporary:
    ...     write_text_atomic(temporary / "a.txt", "a")
    >>> [p.relative_to(parent).as_posix() for p in parent.rglob("*.txt")]
    ['cell/a.txt']
    """
    target = Path(path)
    temporary = temporary_name(target.parent)
    try:
        with shown_as(target, temporary), refusals(target):
            temporary.mkdir()
            yield temporary
            sync(temporary)
            _replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, target: Path) -> None:
    """Move a folder to its name; a folder cannot be replaced in one step, so the old one steps aside."""
    aside = temporary_name(target.parent) if os.path.lexists(target) else None
    if aside is not None:
        os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except BaseException:
        if aside is not None:
            os.replace(aside, target)
        raise
    sync(target.parent)
    if aside is not None:
        remove(aside)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and what is missing above it, lastingly, and return its path.

    Raises
    ------
    InputError
        A file is in the way.
    WriteError
        The disk is full, fails or is read-only.

    Examples
    --------
    >>> import tempfile
    >>> make_folder(Path(tempfile.mkdtemp()) / "a" / "b").is_dir()
    True
    """
    folder = Path(path)
    missing = []
    for one in (folder, *folder.parents):
        if one.is_dir():
            break
        missing.append(one)
    try:
        with refusals(folder):
            for one in reversed(missing):
                one.mkdir(exist_ok=True)
                sync(one.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: a file is in the way; name a folder") from error
    return folder


def move(source: Path, target: Path) -> None:
    """Give a file or folder another name on the same disk, lastingly; a file at `target` is replaced."""
    with refusals(target):
        os.replace(source, target)
        sync(target.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; what is not there is no error."""
    with refusals(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_leftovers(*folders: Path) -> int:
    """Remove the temporary files and folders that runs which ended by force left in `folders`.

    Only names that `atomic_write` and `atomic_folder` give are touched. The caller holds
    the lock of the folder, so nobody is still writing to them. Returns their number.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> temporary_name(folder).write_text("half a fi")
    9
    >>> remove_leftovers(folder), list(folder.iterdir())
    (1, [])
    """
    found = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if _LEFTOVER.fullmatch(path.name)
    ]
    for path in found:
        with shown_as(path.parent, path):
            remove(path)
    return len(found)


def is_passing(path: Path) -> bool:
    """Tell whether a path is a lock or a temporary file or folder: no part of what is kept."""
    return path.name == LOCK_NAME or _LEFTOVER.fullmatch(path.name) is not None


def temporary_name(folder: Path) -> Path:
    """Return a new path in `folder` that `remove_leftovers` knows; nothing is made there."""
    return folder / f".{uuid.uuid4().hex}.part"


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (is_folder and error.errno in _NO_FOLDER_SYNC):
            raise
    finally:
        os.close(descriptor)
