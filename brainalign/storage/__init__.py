"""Save and load stimuli, responses, RDMs, scores and datasets as checksummed HDF5 files.

Nothing is pickled, nothing that is opened can run code, and no value is returned from
bytes that differ from those that were written. A file is also plain HDF5; without
brainalign it is read in three lines (the description of the tables and the nested
`info` is JSON text)::

    import h5py, json
    file = h5py.File("responses.h5")
    values, about = file["values"][...], json.loads(file["brainalign"][0])

Columns of a table are datasets too: ``file["samples/columns/stimulus_id"][...]``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from brainalign.errors import BrainAlignError, CorruptFileError, InputError
from brainalign.storage._container import Container, open_container
from brainalign.storage._nouns import NOUNS, decode_noun, encode_noun
from brainalign.storage._tree import Parts, decode
from brainalign.storage._write import write_container
from brainalign.storage.atomic import atomic_write, folder_lock, write_text_atomic

__all__ = [
    "atomic_write",
    "content_digest",
    "folder_lock",
    "load",
    "read_info",
    "save",
    "verify",
    "write_text_atomic",
]

_TREE = "brainalign"


def save(x: Any, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a noun to one HDF5 file, whole or not at all.

    Parameters
    ----------
    x : Stimuli, Responses, RDMs, NoiseCeiling, Scores or Dataset
        `values` of responses (and `predictions`, `observed` of scores) may be any
        object with `shape`, `dtype` and slicing; it is read and written in blocks.
    path : path of the file; its folder must exist
    overwrite : bool
        False refuses a path at which there is a file.

    Raises
    ------
    InputError
        A value cannot be stored (its place is named, as in ``info['model'][2]``), `x` is
        none of the nouns, or `path` exists and `overwrite` is False.
    DataNotFoundError
        The folder of `path` does not exist.
    WriteError
        The disk is full (said before the first byte where it can be known), fails or is
        read-only; a file that was at `path` before is unchanged. It is an OSError.

    Notes
    -----
    Arrays and tables come back bit for bit (NaN payloads and ``-0.0`` included), with
    their dtype in native byte order. In tables None, NaN and NA stay apart; categorical
    columns come back as their categories' own type. In `info` tuples come back as
    lists and numpy scalars as Python numbers. The loader of stimuli is not saved.
    Equal content gives equal bytes (with one release of HDF5).

    Memory: at most 64 MB beyond `x` itself (the text columns in addition). Time: about
    the speed of one sha256 plus the disk.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.types import Responses
    >>> path = Path(tempfile.mkdtemp()) / "responses.h5"
    >>> save(Responses(np.eye(3), info={"design": "trials"}), path)
    >>> load(path).values[1]
    array([0., 1., 0.])
    """
    parts = Parts()
    tree = json.dumps(encode_noun(x, parts))
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path} exists and overwrite=False; choose another name or overwrite=True")
    write_container(path, type(x).__name__, {_TREE: np.array([tree.encode("ascii")]), **parts.arrays})


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote.

    Header, index, HDF5 structure, tables and small arrays are verified now; `values` of
    responses (`predictions` and `observed` of scores) of 1 MB or more stay in the file
    and are verified chunk by chunk when they are indexed. Such an array is indexed as
    numpy indexes, keeps no file open, and may be used after a fork.

    Parameters
    ----------
    path : path of a file written by `save`

    Returns
    -------
    Stimuli, Responses, RDMs, NoiseCeiling, Scores or Dataset

    Raises
    ------
    DataNotFoundError
        There is no file, or only the pointer of git-LFS or git-annex.
    CorruptFileError
        The file is damaged, truncated, or was not written by `save`; says where and how.
    InputError
        `path` is a folder, or the file has a newer schema than this version knows.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.types import RDMs
    >>> path = Path(tempfile.mkdtemp()) / "rdms.h5"
    >>> save(RDMs(1 - np.eye(2), ["a", "b"], info={"distance": "correlation"}), path)
    >>> load(path).info
    {'distance': 'correlation'}
    """
    container = open_container(path)
    tree = _read_tree(container)
    try:
        return decode_noun(tree, container)
    except CorruptFileError:
        raise
    except (BrainAlignError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CorruptFileError(
            f"{container.path}: the arrays do not make a {container.header.kind}: {error}"
        ) from error


def read_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file holds without reading its large arrays.

    Parameters
    ----------
    path : path of a file written by `save`

    Returns
    -------
    dict with `kind`, `version` (of brainalign that wrote it), `arrays` {name: (shape,
    dtype)} and `info`

    Raises
    ------
    DataNotFoundError, CorruptFileError, InputError
        As `load`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.types import Responses
    >>> path = Path(tempfile.mkdtemp()) / "responses.h5"
    >>> save(Responses(np.eye(3), info={"design": "trials"}), path)
    >>> read_info(path)["info"]
    {'design': 'trials'}
    """
    container = open_container(path)
    tree = _read_tree(container)
    try:
        info = decode(tree["info"], container.read)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{container.path}: info cannot be read: {error}") from error
    return {
        "kind": container.header.kind,
        "version": container.header.version,
        "arrays": {
            a.name: (a.shape, a.dtype.str[1:] if a.dtype.kind == "S" else a.dtype.name)
            for a in container.arrays.values()
            if a.name != _TREE
        },
        "info": info,
    }


def verify(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read every byte of a file and compare it with its sha256.

    Parameters
    ----------
    path : path of a file written by `save`

    Returns
    -------
    dict with `kind`, `n_arrays`, `n_chunks`, `bytes` (size of the file) and `sha256`
    (a digest of the whole content: two files with the same one hold the same)

    Raises
    ------
    DataNotFoundError, CorruptFileError, InputError
        As `load`; for large arrays too.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.types import Responses
    >>> path = Path(tempfile.mkdtemp()) / "responses.h5"
    >>> save(Responses(np.eye(3), info={"design": "trials"}), path)
    >>> verify(path)["kind"]
    'Responses'
    """
    container = open_container(path)
    load(path)
    with container.open() as file:
        for array in container.arrays.values():
            for number in range(len(array.offsets)):
                container.read_chunk(file, array, number)
    return {
        "kind": container.header.kind,
        "n_arrays": len(container.arrays),
        "n_chunks": sum(len(a.offsets) for a in container.arrays.values()),
        "bytes": container.header.size,
        "sha256": container.header.index_sha256,
    }


def content_digest(path: str | os.PathLike[str]) -> str:
    """Return the digest that a file carries of its whole content (`sha256` of `verify`).

    Two files with the same one hold the same. Header, index and HDF5 structure are
    verified, the arrays are not read: the cost does not grow with them.

    Raises
    ------
    DataNotFoundError, CorruptFileError, InputError
        As `load`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from brainalign.types import Responses
    >>> path = Path(tempfile.mkdtemp()) / "responses.h5"
    >>> save(Responses(np.eye(3), info={"design": "trials"}), path)
    >>> content_digest(path) == verify(path)["sha256"]
    True
    """
    return open_container(path).header.index_sha256


def _read_tree(container: Container) -> dict[str, Any]:
    """The JSON text that says how the arrays make a noun."""
    try:
        tree: dict[str, Any] = json.loads(container.read(_TREE)[0])
        if tree["kind"] != container.header.kind or tree["kind"] not in NOUNS:
            raise ValueError(f"kind {tree['kind']!r} in a file of kind {container.header.kind!r}")
    except CorruptFileError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise CorruptFileError(f"{container.path}: its description cannot be read: {error}") from error
    return tree
