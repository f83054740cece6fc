"""Every operation that changes a disk, counted; at a chosen one the disk fails or the process dies.

The layer lies between Python and the operating system (`os`, `open`), not in the package:
what is tested is the code as it is.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITING = ("open", "write", "truncate", "fsync", "rename", "mkdir")
REMOVING = ("unlink", "rmdir")
Hook = Callable[[int, str, str], None]


class _File:
    """An open file whose writes are counted."""

    def __init__(self, file: Any, path: str, before: Callable[[str, str], None]) -> None:
        self._file, self._path, self._before = file, path, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def write(self, content: Any) -> int:
        self._before("write", self._path)
        return self._file.write(content)

    def truncate(self, size: int | None = None) -> int:
        self._before("truncate", self._path)
        return self._file.truncate(size)


class _Layer:
    """What stands in for `os` and `open` while operations are watched."""

    def __init__(self, hook: Hook, roots: tuple[Path, ...]) -> None:
        self.hook = hook
        self.tops = tuple(os.path.realpath(root) for root in roots)
        self.log: list[tuple[str, str]] = []
        names = ("open", "fsync", "replace", "link", "mkdir", "unlink", "rmdir")
        self.real = {name: getattr(os, name) for name in names}
        self.real_open = builtins.open

    def before(self, operation: str, path: str) -> None:
        if path.startswith(self.tops):
            self.log.append((operation, path))
            self.hook(len(self.log), operation, path)

    def open_file(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        path = _path_of(file)
        changes = any(letter in mode for letter in "wxa+")
        if not (changes and path.startswith(self.tops)):
            return self.real_open(file, mode, *rest, **options)
        self.before("open", path)
        return _File(self.real_open(file, mode, *rest, **options), path, self.before)

    def open(self, path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.before("open", _path_of(path, options.get("dir_fd")))
        return self.real["open"](path, flags, *rest, **options)

    def fsync(self, descriptor: int) -> None:
        # counted, not done: no test loses power, and hundreds of runs would wait for the disk
        self.before("fsync", _path_of(descriptor))

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        self.before("rename", _path_of(target))
        self.real["replace"](source, target, **options)

    def link(self, source: Any, target: Any, **options: Any) -> None:
        self.before("rename", _path_of(target))
        self.real["link"](source, target, **options)

    def mkdir(self, path: Any, *rest: Any, **options: Any) -> None:
        self.before("mkdir", _path_of(path, options.get("dir_fd")))
        self.real["mkdir"](path, *rest, **options)

    def unlink(self, path: Any, **options: Any) -> None:
        self.before("unlink", _path_of(path, options.get("dir_fd")))
        self.real["unlink"](path, **options)

    def rmdir(self, path: Any, **options: Any) -> None:
        self.before("rmdir", _path_of(path, options.get("dir_fd")))
        self.real["rmdir"](path, **options)


@contextmanager
def watched(hook: Hook, *roots: Path) -> Iterator[list[tuple[str, str]]]:
    """Call ``hook(number, operation, path)`` before each operation below `roots`; yield the list of them."""
    layer = _Layer(hook, roots)
    try:
        for name in layer.real:
            setattr(os, name, getattr(layer, name))
        builtins.open = io.open = layer.open_file  # type: ignore[assignment]
        yield layer.log
    finally:
        for name, function in layer.real.items():
            setattr(os, name, function)
        builtins.open = io.open = layer.real_open


def _path_of(path: Any, folder: int | None = None) -> str:
    try:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        text = os.fsdecode(path)
        if folder is not None and not os.path.isabs(text):
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
    except (OSError, TypeError):
        return ""
    parent, name = os.path.split(os.path.abspath(text))
    return os.path.join(os.path.realpath(parent), name)


def failing(at: int, number: int, *, lasting: bool) -> Hook:
    """The `at`-th operation, and if `lasting` each later one, fails with the error `number`.

    A full disk still removes files; a broken or read-only one does not.
    """
    removes = number == errno.ENOSPC

    def hook(count: int, operation: str, path: str) -> None:
        due = count == at or (lasting and count > at)
        if due and not (operation in REMOVING and (removes or not lasting)):
            raise OSError(number, os.strerror(number), path)

    return hook


def killing(at: int) -> Hook:
    """The process ends by SIGKILL before the `at`-th operation."""

    def hook(count: int, operation: str, path: str) -> None:
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def passing(count: int, operation: str, path: str) -> None:
    """Nothing happens; the operations are only listed."""
