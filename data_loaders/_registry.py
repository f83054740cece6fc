"""Datasets of many small files: their registry as text, and files that are read only when verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._read import require_file, verify


def registered_files(text: str, source_path: Callable[[str], str]) -> tuple[RemoteFile, ...]:
    """Return the files of a registry: sha256, bytes and name, one file a line.

    `source_path` turns a name into the path at the source.

    Examples
    --------
    >>> registered_files("0" * 64 + " 12 run1/bold.txt", str.upper)[0].source_path
    'RUN1/BOLD.TXT'
    """
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(RemoteFile(name, source_path(name), int(size), sha256) for sha256, size, name in rows)


def registered_path(folder: Path, name: str, card: DatasetCard) -> Path:
    """Return a file of a dataset's folder, which has the registered bytes.

    Parameters
    ----------
    folder : the folder of the dataset
    name : name in that folder, with ``/`` between its parts
    card : names the file

    Raises
    ------
    DataNotFoundError
        There is no such file.
    CorruptFileError
        The file is empty, a pointer, or has other bytes than the registered ones.
    """
    path = require_file(folder.joinpath(*PurePosixPath(name).parts), card)
    verify(path, card, strict=True)
    return path
