"""A lock on a folder, so that two runs never write to it at once."""

from __future__ import annotations

import errno
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
from brainalign.storage._refusal import refusals

LOCK_NAME = ".brainalign.lock"
_UNREADABLE_LOCK_S = 30.0
_POLL_S = 0.05
# what file systems without hard links answer
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
# locks of this process by their token: one that could not be removed (a disk that became
# read-only) must not keep this process out of its own folder for ever
_HELD: set[str] = set()


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
    WriteError
        The folder cannot be written to.

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
    token = uuid.uuid4().hex
    pid = os.getpid()
    mine = json.dumps({"host": socket.gethostname(), "pid": pid, "start": _start_time(pid), "token": token})
    _HELD.add(token)
    try:
        with refusals(lock):
            _acquire(lock, mine, wait_s)
        yield lock
    finally:
        _HELD.discard(token)
        with suppress(OSError):
            if lock.read_text(encoding="utf-8") == mine:
                lock.unlink()


def holder_of(folder: str | os.PathLike[str]) -> str | None:
    """Say who holds `folder` at this moment ("process 12 on host a"), or None; takes no lock."""
    lock = Path(folder) / LOCK_NAME
    try:
        text, age_s = lock.read_text(encoding="utf-8"), time.time() - lock.stat().st_mtime
    except (OSError, UnicodeDecodeError):
        return None
    holder = _holder(text)
    return _named(holder) if _is_alive(holder, age_s=age_s) else None


def _acquire(lock: Path, mine: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not _create(lock, mine):
        if _remove_if_dead(lock):
            continue
        if time.monotonic() >= deadline:
            raise InputError(_held_by(lock))
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def _create(lock: Path, content: str) -> bool:
    """Make the lock with its content in one step, so that no crash leaves an empty one behind."""
    waiting = lock.parent / f".{uuid.uuid4().hex}.part"
    try:
        _write_new(waiting, content)
        try:
            os.link(waiting, lock)
        except (FileExistsError, FileNotFoundError):  # not found: the holder cleared it away as a leftover
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_without_link(lock, content)
    finally:
        with suppress(OSError):
            os.unlink(waiting)
    return True


def _create_without_link(lock: Path, content: str) -> bool:
    try:
        _write_new(lock, content)
    except FileExistsError:
        return False
    except BaseException:  # an empty lock would keep everybody out
        with suppress(OSError):
            os.unlink(lock)
        raise
    return True


def _write_new(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())  # else a lost power line may leave the name without content


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
    if holder["pid"] == os.getpid() and "token" in holder and holder["token"] not in _HELD:
        return False
    try:
        os.kill(holder["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return bool(holder.get("start", "") == _start_time(holder["pid"]))


def _start_time(pid: int) -> str:
    """The boot, and the clock ticks from it to the start of a process: a reused id has other ones."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
    return f"{stat.rpartition(')')[2].split()[19]} {boot[:8]}"


def _held_by(lock: Path) -> str:
    try:
        holder = _holder(lock.read_text())
    except OSError:
        holder = {}
    return (
        f"the folder {lock.parent} is in use by {_named(holder)}; wait for it to end, "
        f"choose another folder, or, if that process is gone, delete {lock}"
    )


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', 'unknown')} on host {holder.get('host', 'unknown')}"
