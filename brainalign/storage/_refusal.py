"""What a disk that refuses a write means, in words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brainalign.errors import BrainAlignError, WriteError

_FULL = "make room (or choose another folder) and give the same command again"
_READ_ONLY = "choose a folder that can be written to"
# what an operating system says when it cannot take bytes; anything else is no refusal of a disk
_ADVICE: dict[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) or choose another folder",
    errno.EIO: "the disk or its connection fails: check it, then give the same command again",
    errno.ENXIO: "the disk or its connection fails: check it, then give the same command again",
    errno.ESTALE: "the network folder went away: mount it again, then give the same command again",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs: this machine has too many open files",
    errno.ENAMETOOLONG: "choose a folder with a shorter path",
}
_SHOWS_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def refusals(path: str | os.PathLike[str], *, needed: int | None = None) -> Iterator[None]:
    """Turn the refusal of a disk inside the block into a `WriteError` that says what to do.

    `needed` is the number of bytes that were to be written, where it is known. Errors that
    are no refusal of a disk, and those that brainalign has put into words already, pass.
    """
    try:
        yield
    except BrainAlignError:
        raise
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        raise write_error(path, error, needed=needed) from error


@contextmanager
def shown_as(target: str | os.PathLike[str], temporary: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the block speak of `target` where they name the `temporary` folder in its place."""
    try:
        yield
    except WriteError as error:
        old, new = os.fspath(temporary), os.fspath(target)
        path = str(error.filename).replace(old, new)
        raise WriteError(error.errno, str(error).replace(old, new), path) from error


def write_error(
    path: str | os.PathLike[str], error: OSError, *, needed: int | None = None, what: str = ""
) -> WriteError:
    """Return the `WriteError` for an error of the operating system; `what` adds to its reason."""
    number = error.errno or errno.EIO
    reason = os.strerror(number) + (f": {what}" if what else "")
    advice = _ADVICE.get(number, "make room or save elsewhere")
    text = (
        f"{os.fspath(path)} could not be written ({reason}{_space(path, number, needed)}); nothing was left "
        f"behind, and what was there before is unchanged; {advice}"
    )
    return WriteError(number, text, os.fspath(path))


def _space(path: str | os.PathLike[str], number: int, needed: int | None) -> str:
    if number not in _SHOWS_SPACE:
        return ""
    parts = [] if needed is None else [f"{needed} bytes are needed"]
    with suppress(OSError):
        parts.append(f"{shutil.disk_usage(_existing(Path(path))).free} bytes are free")
    return "; " + ", ".join(parts) if parts else ""


def _existing(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if p.exists()), Path(path.anchor))
