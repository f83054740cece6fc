"""Files that appear whole or not at all, and a lock on a folder of results."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from brainalign.errors import DataNotFoundError, InputError

LOCK_NAME = ".brainalign.lock"
_UNREADABLE_LOCK_S = 30.0
_POLL_S = 0.05


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Yield a temporary path in the folder of `path`; move it there when the block ends well.

    The temporary file ends in ``.part``. It is flushed to the disk before it takes the
    name `path`, and the folder after, so that a crash at any moment leaves either the
    old file or the new one. If the block raises, the temporary file is removed and a
    file that was at `path` keeps every byte.

    Raises
    ------
    DataNotFoundError
        The folder of `path` does not exist.
    InputError
        `path` is a folder.

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
    temporary = target.parent / f".{uuid.uuid4().hex}.part"
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync(target.parent)


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
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: str | os.PathLike[str], *, wait_s: float = 0.0) -> Iterator[Path]:
    """Hold `folder` for this process, so that two runs never write to it at once.

    The lock is the file ``.brainalign.lock`` with host, process id and start time of
    its holder. The lock of a process of this host that has ended is taken over; one of
    another host cannot be judged from here and counts as held.

    Parameters
    ----------
    folder : path of an existing folder
    wait_s : float, seconds to wait for the holder to finish before the error

    Raises
    ------
    InputError
        Another process, or this one, holds the folder.
    DataNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with folder_lock(tempfile.mkdtemp()) as lock:
    ...     lock.exists()
    True
    >>> lock.exists()
    False
    """
    lock = Path(folder) / LOCK_NAME
    if not lock.parent.is_dir():
        raise DataNotFoundError(f"cannot lock {lock.parent}: the folder does not exist; create it")
    mine = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "start": _start_time(os.getpid())})
    deadline = time.monotonic() + wait_s
    while not _create(lock, mine):
        if _remove_if_dead(lock):
            continue
        if time.monotonic() >= deadline:
            raise InputError(_held_by(lock))
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
    try:
        yield lock
    finally:
        with suppress(OSError):
            if lock.read_text() == mine:
                lock.unlink()


def _create(lock: Path, content: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as handle:
        handle.write(content)
    return True


def _remove_if_dead(lock: Path) -> bool:
    """Remove the lock of a process that has ended; say whether it is worth trying again.

    Two processes may find the same dead lock. Each opens it, waits for the exclusive
    use of that open file, and removes the name only if it still leads to that file, so
    neither can remove the lock that the other has just made.
    """
    try:
        handle = open(lock, encoding="utf-8")  # noqa: SIM115 - closed by the block below
    except FileNotFoundError:
        return True
    with handle:
        _exclusive(handle.fileno())
        if _is_alive(_holder(handle.read()), age_s=time.time() - os.fstat(handle.fileno()).st_mtime):
            return False
        try:
            if os.stat(lock).st_ino == os.fstat(handle.fileno()).st_ino:
                os.unlink(lock)
        except FileNotFoundError:
            pass
    return True


def _exclusive(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: the O_EXCL creation alone protects there
        return
    with suppress(OSError):  # a network file system without flock
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _holder(text: str) -> dict[str, Any]:
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) and type(holder.get("pid")) is int else {}


def _is_alive(holder: dict[str, Any], *, age_s: float) -> bool:
    if not holder:  # created this moment and not yet written, or damaged
        return age_s < _UNREADABLE_LOCK_S
    if holder.get("host") != socket.gethostname():
        return True
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(holder["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return bool(holder.get("start", "") == _start_time(holder["pid"]))


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the start of a process: a reused process id has another one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _held_by(lock: Path) -> str:
    try:
        holder = _holder(lock.read_text())
    except OSError:
        holder = {}
    host, pid = holder.get("host", "unknown"), holder.get("pid", "unknown")
    return (
        f"the folder {lock.parent} is in use by process {pid} on host {host}; wait for it to end, "
        f"choose another folder, or, if that process is gone, delete {lock}"
    )
