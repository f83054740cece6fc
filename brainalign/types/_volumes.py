"""Volumes of a NIfTI image: the header checked against the file, the affine chosen, values read in blocks."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.errors import CorruptFileError, InputError, ShapeError
from brainalign.types._files import check_gzip, is_gzip, is_path, opened, refuse_bomb, with_content
from brainalign.types._geometry import checked_affine, difference_of, same_grid

_BLOCK_BYTES = 1 << 23
# what nibabel mends in a header is judged below, not printed
_SILENT = logging.Logger("headers", level=logging.CRITICAL + 1)
_SPACE_OF_CODE = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni152", 5: "template"}
_MM = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_TIME_UNITS = {8: "s", 16: "ms", 24: "us"}


@dataclass(frozen=True)
class Volumes:
    """One image: `shape` (ni, nj, nk), `n_volumes`, `affine` in mm, and how its values are read.

    `step` is the header's fourth voxel size and `step_unit` its unit, "" where it says none.
    `blocks()` yields float32 arrays (ni, nj, nk, m) in the order of the volumes.
    """

    name: str
    shape: tuple[int, int, int]
    n_volumes: int
    is_series: bool
    affine: np.ndarray
    space: str
    step: float
    step_unit: str
    blocks: Callable[[], Iterator[np.ndarray]]


def open_volumes(
    image: Any, role: str, affine_from: str | None = None, *, only_if_needed: bool = False
) -> Volumes:
    """Check an image (path or nibabel NIfTI image) and return how to read it.

    `only_if_needed`: `affine_from` decides only where the header leaves it open (masks, whose
    headers were often written by another program than the recording's).

    Raises
    ------
    DataNotFoundError, CorruptFileError
        No such file, a placeholder, no NIfTI, or dimensions that the file cannot hold.
    InputError
        sform and qform disagree or neither is set and `affine_from` does not choose; values
        that are no real numbers.
    ShapeError
        Neither 3-D nor 4-D.
    """
    if affine_from is not None:
        one_of("affine_from", affine_from, ("sform", "qform"))
    if is_path(image):
        path = with_content(image)
        name = str(path)
        header = _header_of(path)
        dtype, shape = _stored_as(header, name)
        _check_size(path, header, dtype, shape)

        def blocks() -> Iterator[np.ndarray]:
            return _file_blocks(path, header, dtype, shape)
    else:
        name = _check_image(image, role)
        header = image.header
        dtype, shape = _stored_as(header, name)
        shape = tuple(int(n) for n in image.shape)

        def blocks() -> Iterator[np.ndarray]:
            return _image_blocks(image, name, len(_trimmed(shape, name)) == 3)

    trimmed = _trimmed(shape, name)
    affine, code = _affine_of(header, name, trimmed, affine_from, only_if_needed)
    named = re.search(r"_space-([A-Za-z0-9]+)", Path(name).name)
    step = float(header["pixdim"][4]) if len(trimmed) == 4 else 0.0
    return Volumes(
        name=name,
        shape=trimmed[:3],
        n_volumes=trimmed[3] if len(trimmed) == 4 else 1,
        is_series=len(trimmed) == 4,
        affine=affine,
        space=named[1] if named else _SPACE_OF_CODE.get(code, "unknown"),
        step=step,
        step_unit=_TIME_UNITS.get(int(header["xyzt_units"]) & 0x38, ""),
        blocks=blocks,
    )


def read_volume(volumes: Volumes, role: str) -> np.ndarray:
    """The one volume of a 3-D image (or of a 4-D image with one volume), float32 (ni, nj, nk)."""
    if volumes.n_volumes != 1:
        raise ShapeError(f"{role} {volumes.name} has {volumes.n_volumes} volumes; expected one (a 3-D image)")
    return next(iter(list(volumes.blocks())))[..., 0]


def _check_image(image: Any, role: str) -> str:
    """Return the name of a nibabel image; its file's checksum is compared where values stay there."""
    import nibabel

    if not isinstance(image, nibabel.Nifti1Pair):
        raise InputError(
            f"{role} is a {type(image).__name__}; expected the path of a .nii or .nii.gz file, or a nibabel "
            "NIfTI image (nibabel.Nifti1Image(array, affine))"
        )
    filename = image.get_filename()
    if filename and hasattr(image.dataobj, "is_proxy") and Path(filename).is_file():
        check_gzip(with_content(filename))
    return str(filename) if filename else f"{role} (an image in memory)"


def _header_of(path: Path) -> Any:
    """The header of a single-file NIfTI-1 or NIfTI-2; extensions are not read."""
    import nibabel

    with opened(path) as stream:
        raw = stream.read(540)
    sizes = {int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")}
    kind: Any = nibabel.Nifti1Header if 348 in sizes else nibabel.Nifti2Header if 540 in sizes else None
    length = 540 if 540 in sizes else 348
    if kind is None:
        raise CorruptFileError(
            f"{path} is no NIfTI file (it begins with {raw[:4]!r}); expected .nii or .nii.gz. Convert other "
            "formats with nibabel"
        )
    if len(raw) < length:
        raise CorruptFileError(
            f"{path} holds {len(raw)} bytes; the header alone takes {length}. Copy it again"
        )
    magic = raw[344:348] if length == 348 else raw[4:8]
    if magic[:3] in (b"ni1", b"ni2"):
        raise InputError(f"{path} is the header of a .hdr/.img pair; save it as .nii.gz with nibabel")
    if magic not in (b"n+1\0", b"n+2\0"):
        raise CorruptFileError(f"{path} has the magic {magic!r}; NIfTI has 'n+1' or 'n+2'. Copy it again")
    try:
        header, stated = kind(raw[:length], check=False), kind(raw[:length], check=False)
        header.check_fix(logger=_SILENT)
    except Exception as error:  # nibabel raises its own errors, ValueError, KeyError ... for a damaged header
        raise CorruptFileError(f"{path} has a damaged NIfTI header: {error}") from error
    # the reader mends some fields as it likes; in these a value that does not exist is damage
    for name in ("sform_code", "qform_code", "bitpix", "vox_offset"):
        if stated[name] != header[name] and stated[name] != 0:
            raise CorruptFileError(
                f"{path} has a damaged NIfTI header: {name} is {stated[name]}, which cannot be. Copy it again"
            )
    return header


def _stored_as(header: Any, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and dimensions that the header claims."""
    try:
        dtype = np.dtype(header.get_data_dtype())
        shape = tuple(int(n) for n in header.get_data_shape())
    except Exception as error:  # a damaged header: unknown type codes, impossible ranks
        raise CorruptFileError(f"{name} has a damaged NIfTI header: {error}") from error
    if dtype.kind not in "fiu":
        raise InputError(f"{name} holds values of dtype {dtype}; expected real numbers, one per voxel")
    if shape and min(shape) < 1:
        raise CorruptFileError(f"{name}: the header says dimensions {shape}; each must be 1 or more")
    return dtype, shape


def _trimmed(shape: tuple[int, ...], name: str) -> Any:
    """Dimensions without trailing ones after the fourth; three or four of them."""
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4):
        raise ShapeError(f"{name} has dimensions {shape}; expected 3 (i, j, k) or 4 (i, j, k, volume)")
    return shape


def _check_size(path: Path, header: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Dimensions must fit the file before anything is allocated."""
    offset = int(header.get_data_offset())
    expected = offset + math.prod(shape) * dtype.itemsize
    if is_gzip(path):
        refuse_bomb(path, expected)
    elif path.stat().st_size != expected:
        raise _wrong_size(path, path.stat().st_size, expected, shape, dtype)


def _wrong_size(
    path: Path, found: int, expected: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> CorruptFileError:
    state = "was cut" if found < expected else "holds more than its header says"
    return CorruptFileError(
        f"{path} holds {found} bytes and {state}: dimensions {shape} of {dtype} take {expected} with the "
        "header. Copy it again from its source"
    )


def _file_blocks(
    path: Path, header: Any, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Read volumes one block after the other, to the end of the file, so that gzip is verified."""
    trimmed = _trimmed(shape, str(path))
    volume, n_volumes = trimmed[:3], (trimmed[3] if len(trimmed) == 4 else 1)
    nbytes = math.prod(volume) * dtype.itemsize
    per_block = max(1, _BLOCK_BYTES // nbytes)
    slope, intercept = header.get_slope_inter()
    offset = int(header.get_data_offset())
    expected = offset + nbytes * n_volumes
    with opened(path) as stream:
        seen = len(stream.read(offset))
        for start in range(0, n_volumes, per_block):
            count = min(per_block, n_volumes - start)
            raw = stream.read(count * nbytes)
            seen += len(raw)
            if len(raw) < count * nbytes:
                raise _wrong_size(path, seen, expected, shape, dtype)
            stored = np.frombuffer(raw, dtype).reshape((*volume, count), order="F")
            yield _scaled(stored, slope, intercept, str(path))
        rest = len(stream.read(1))
        if rest:
            raise _wrong_size(path, seen + rest, expected, shape, dtype)


def _scaled(stored: np.ndarray, slope: float | None, intercept: float | None, name: str) -> np.ndarray:
    """Apply slope and intercept in float64, return float32; too large for float32 is refused."""
    if slope is not None and (slope != 1 or intercept):
        stored = stored * np.float64(slope) + np.float64(intercept or 0)
    with np.errstate(over="ignore"):
        out = stored.astype(np.float32)
    if stored.dtype.itemsize > 4 and not np.array_equal(np.isinf(out), np.isinf(stored)):
        raise InputError(f"{name} holds values up to {np.nanmax(np.abs(stored)):.3g}, too large for float32")
    return out


def _image_blocks(image: Any, name: str, single: bool) -> Iterator[np.ndarray]:
    """Values of an image of nibabel in blocks; what lies in a file is read at once."""
    proxy = hasattr(image.dataobj, "is_proxy")
    try:
        read: Any = image.get_fdata(dtype=np.float32, caching="unchanged") if proxy else image.dataobj
        values = np.asanyarray(read)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptFileError(f"{name}: its values cannot be read: {error}") from error
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} holds values of dtype {values.dtype}; expected real numbers, one per voxel")
    values = values.reshape((*values.shape[:3], -1)) if not single else values[..., None]
    per_block = max(1, _BLOCK_BYTES // (math.prod(values.shape[:3]) * values.dtype.itemsize))
    for start in range(0, values.shape[3], per_block):
        yield _scaled(values[..., start : start + per_block], None, None, name)


def _affine_of(
    header: Any, name: str, shape: tuple[int, ...], affine_from: str | None, only_if_needed: bool
) -> tuple[np.ndarray, int]:
    """The affine in mm and the code of its space.

    One that is set is taken. Both set: they must agree, or `affine_from` chooses. None set:
    left and right are not known (readers invent them in different ways), so `affine_from`
    must say whose numbers count.
    """
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    matrices = {"sform": header.get_sform(), "qform": _qform(header, codes["qform"], name)}
    scale = np.diag([*[_MM.get(int(header["xyzt_units"]) & 0x07, 1.0)] * 3, 1.0])
    if affine_from is not None and not only_if_needed:
        return scale @ checked_affine(matrices[affine_from], f"{name} ({affine_from})"), codes[affine_from]
    found = {k: scale @ checked_affine(matrices[k], f"{name} ({k})") for k in codes if codes[k] > 0}
    if len(found) == 2 and not same_grid(found["sform"], found["qform"], shape):
        problem = (
            f"sform (code {codes['sform']}) and qform (code {codes['qform']}) disagree by "
            f"{difference_of(found['sform'], found['qform'], shape)}; say which is right with"
        )
    elif not found:
        problem = (
            "sform and qform codes are both 0, so nothing says where its voxels lie and which side is left; "
            "if you know that these numbers are right, give"
        )
    else:
        chosen = next(iter(found))
        return found[chosen], codes[chosen]
    if affine_from is None:
        raise InputError(f"{name}: {problem} affine_from='sform' or 'qform'")
    return scale @ checked_affine(matrices[affine_from], f"{name} ({affine_from})"), codes[affine_from]


def _qform(header: Any, code: int, name: str) -> Any:
    try:
        return header.get_qform()
    except Exception as error:  # a quaternion that is none
        if code > 0:
            raise CorruptFileError(f"{name} has a damaged qform: {error}") from error
        return np.full((4, 4), np.nan)
