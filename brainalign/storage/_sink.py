"""The file under HDF5 while it is written; a full disk must not bring the process down."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType


class Sink:
    """A file for h5py that remembers its first error instead of raising it.

    HDF5 keeps half-written caches when a write fails, and crashes the process (a
    segmentation fault in HDF5 2.0) when it is closed with them. So after the first
    failure nothing more is written, HDF5 is told that all went well, and
    `raise_error` is called by the writer between datasets and at the end.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self._at = 0
        self._size = 0
        self._error: OSError | None = None

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def raise_error(self) -> None:
        """Raise the first error that a write met."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        """Present because h5py tells file objects from paths by it."""
        content = bytearray(size)
        return bytes(content[: self.readinto(memoryview(content))])

    def readinto(self, buffer: memoryview) -> int:
        self._file.seek(self._at)
        count = self._file.readinto(buffer) or 0
        self._at += count
        return count

    def write(self, content: bytes | memoryview) -> int:
        view = memoryview(content).cast("B")
        start, self._at = self._at, self._at + len(view)
        self._size = max(self._size, self._at)
        if self._error is None:
            try:
                self._file.seek(start)
                while len(view):
                    view = view[self._file.write(view) :]
            except OSError as error:
                self._error = error
        return self._at - start

    def truncate(self, size: int) -> int:
        self._size = size
        if self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here; the finished file is flushed to the disk as a whole."""
