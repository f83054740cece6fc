"""Images decoded to uint8 RGB, from a folder, an archive or memory."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import CorruptFileError
from brainalign.types import content_hash

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
MAX_MEMBER = 64_000_000
MAX_RATIO = 200


def decode_image(content: bytes, where: str) -> np.ndarray:
    """Return the pixels of an encoded image, (height, width, 3) uint8 RGB, in viewing orientation.

    The EXIF orientation is applied, as every viewer does. Grey, palette and CMYK images
    are converted; transparent pixels and more than 8 bits a channel are refused, because
    what was shown cannot be known from them.

    Raises
    ------
    CorruptFileError
        It cannot be decoded (an unknown format, truncated), is too large, transparent or
        not 8 bits deep; `where` is named.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CorruptFileError(
                    f"{where}: {image.width} x {image.height} pixels; at most {MAX_PIXELS}"
                )
            if image.mode not in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK"):
                raise CorruptFileError(f"{where}: mode {image.mode}; expected 8 bits a channel")
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data and np.asarray(upright.convert("RGBA"))[..., 3].min() < 255:
                raise CorruptFileError(
                    f"{where}: has transparent pixels; save it on the background on which it was shown"
                )
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except CorruptFileError:
        raise
    except Exception as error:  # decoders raise many types on damaged content
        raise CorruptFileError(f"{where}: cannot be decoded as an image ({error})") from error


def content_hashes(loader: Callable[[str], np.ndarray], ids: Sequence[str]) -> list[str]:
    """The content hash of each image, decoded in a few threads; only the hashes are kept."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda stimulus_id: content_hash(loader(stimulus_id)), ids))


@dataclass(frozen=True)
class FolderImages:
    """Images of a folder: ``loader(stimulus_id)`` decodes one. Holds no open file."""

    folder: Path
    paths: dict[str, str]
    lines: dict[str, int]

    def __call__(self, stimulus_id: str) -> np.ndarray:
        """Return the image of this stimulus, (height, width, 3) uint8."""
        path = self.folder / self.paths[stimulus_id]
        where = f"{path} (stimulus {stimulus_id!r}, line {self.lines[stimulus_id]} of stimuli.tsv)"
        return decode_image(path.read_bytes(), where)


@dataclass(frozen=True)
class ArrayImages:
    """Images that are in memory already."""

    images: dict[str, np.ndarray]

    def __call__(self, stimulus_id: str) -> np.ndarray:
        """Return the image of this stimulus, (height, width, 3) uint8, a copy."""
        return self.images[stimulus_id].copy()


class ZipImages:
    """Images of a zip archive, read member by member and never extracted.

    Every thread of every process has its own handle: a handle that is shared after a
    fork reads from a place that the other process moved.
    """

    def __init__(self, path: Path, members: dict[str, str]) -> None:
        self.path = path
        self.members = members
        self._own = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "members": self.members}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["members"])  # type: ignore[misc]

    def _archive(self) -> zipfile.ZipFile:
        if getattr(self._own, "pid", None) != os.getpid():
            self._own.archive, self._own.pid = open_zip(self.path), os.getpid()
        archive: zipfile.ZipFile = self._own.archive
        return archive

    def __call__(self, stimulus_id: str) -> np.ndarray:
        """Return the image of this stimulus, (height, width, 3) uint8."""
        member = self.members[stimulus_id]
        where = f"{self.path}: member {member}"
        archive = self._archive()
        try:
            entry = archive.getinfo(member)
            check_member(entry, where)
            content = archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
            raise CorruptFileError(f"{where} is damaged: {error}") from error
        return decode_image(content, where)


def check_member(entry: zipfile.ZipInfo, where: str) -> None:
    """Refuse a member that would unpack to much more than an image."""
    too_dense = entry.file_size > MAX_RATIO * max(entry.compress_size, 1)
    if entry.file_size > MAX_MEMBER or too_dense:
        raise CorruptFileError(
            f"{where} unpacks from {entry.compress_size} to {entry.file_size} bytes; at most {MAX_MEMBER} "
            f"bytes and a ratio of {MAX_RATIO} are read"
        )


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive, or say that it is damaged."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise CorruptFileError(
            f"{path} ({path.stat().st_size} bytes) is not a readable zip archive: {error}"
        ) from error


def zip_images(path: Path) -> ZipImages:
    """The JPEG and PNG members of an archive, sorted by name; the stimulus id is the file's stem.

    Raises
    ------
    CorruptFileError
        Not an archive, no images, or two images of one name.
    """
    with open_zip(path) as archive:
        names = [
            entry.filename
            for entry in archive.infolist()
            if not entry.is_dir()
            and Path(entry.filename).suffix.lower() in (".jpg", ".jpeg", ".png")
            and not Path(entry.filename).name.startswith(".")
        ]
    members: dict[str, str] = {}
    for name in sorted(names, key=lambda member: Path(member).name):
        stem = Path(name).stem
        if stem in members:
            raise CorruptFileError(f"{path} holds two images named {stem!r}: {members[stem]} and {name}")
        members[stem] = name
    if not members:
        raise CorruptFileError(f"{path} holds no JPEG or PNG image")
    return ZipImages(path, members)
