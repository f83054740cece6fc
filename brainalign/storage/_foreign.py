"""Say what a file is that is not one of ours, from its first bytes alone."""

from __future__ import annotations

from pathlib import Path

from brainalign.errors import BrainAlignError, CorruptFileError, DataNotFoundError, InputError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_KINDS = (
    (b"\x93NUMPY", "a numpy .npy array; read it with numpy.load and build Responses from it"),
    (b"PK\x03\x04", "a zip archive (.npz, .pt or the like), which is not opened here"),
    (b"\x1f\x8b", "a gzip file; it is not opened here"),
    (b"MATLAB", "a MATLAB file; read it with scipy.io.loadmat and build Responses from it"),
)


def missing_file(path: Path) -> BrainAlignError:
    """Return the error for a path at which there is no file, or something else than a file."""
    if path.is_dir():
        return InputError(f"{path} is a folder; give the name of a file in it")
    if path.is_symlink():
        target = path.readlink()
        how = "run 'git annex get' on it" if ".git/annex" in target.as_posix() else "its target is gone"
        return DataNotFoundError(f"{path} is a link to {target}, which does not exist; {how}")
    if path.exists():
        return InputError(f"{path} is not a regular file (a device, pipe or socket)")
    return DataNotFoundError(f"{path} does not exist; check the path")


def foreign_file(path: Path, head: bytes, size: int) -> BrainAlignError:
    """Return the error for a file of `size` bytes that starts with `head` and is not ours."""
    if size == 0:
        return CorruptFileError(f"{path} is empty (0 bytes); write it again")
    if head.startswith(b"version https://git-lfs"):
        return DataNotFoundError(f"{path} is a git-LFS pointer, not the content; run 'git lfs pull'")
    if head.startswith((b"/annex/objects/", b"../.git/annex", b".git/annex")):
        return DataNotFoundError(f"{path} is a git-annex pointer, not the content; run 'git annex get'")
    if any(head[at : at + 8] == _HDF5 for at in (0, 512)):
        return CorruptFileError(
            f"{path} is an HDF5 file whose header is not that of a file written by brainalign.save (or its "
            "first bytes are damaged); read a foreign one with h5py and build Responses from its arrays"
        )
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return CorruptFileError(f"{path} is a Python pickle, which can run code when opened; it is refused")
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return CorruptFileError(f"{path} is {kind}")
    return CorruptFileError(
        f"{path} ({size} bytes) is not a file written by brainalign.save; its first bytes are {head[:16]!r}"
    )
