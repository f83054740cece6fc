"""Small JSON records in which every flipped byte is noticed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError
from brainalign.storage.atomic import write_text_atomic

_MOST_BYTES = 1 << 28
_DIGEST = "sha256"


def write_record(path: str | os.PathLike[str], fields: Mapping[str, Any]) -> None:
    r"""Write plain values as JSON with the sha256 of their own text, whole or not at all.

    Parameters
    ----------
    path : path of the file; its folder must exist
    fields : JSON values by name; the name "sha256" is taken

    Raises
    ------
    ValueError
        A number is NaN or infinite, which JSON does not have.
    WriteError
        The disk is full, fails or is read-only.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> write_record(path, {"n": 3})
    >>> read_record(path)
    {'n': 3}
    """
    write_text_atomic(path, record_text(fields))


def record_text(fields: Mapping[str, Any]) -> str:
    """Return the text of a record: JSON whose last field is the sha256 of the others."""
    return json.dumps({**fields, _DIGEST: _digest(fields)}, indent=1, allow_nan=False) + "\n"


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_record` wrote, without the digest.

    A file counts as whole only if it is, byte for byte, what `write_record` writes for the
    values in it; so a changed space is noticed as well as a changed number.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CorruptFileError
        It was changed after it was written, or is no record.
    """
    place = Path(path)
    with open(place, "rb") as file:
        # read(n) sets n bytes aside whatever the size of the file
        raw = file.read(min(os.fstat(file.fileno()).st_size, _MOST_BYTES))
    try:
        fields = json.loads(raw)
        claimed = fields.pop(_DIGEST)
        whole = claimed == _digest(fields) and record_text(fields).encode() == raw
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{place} is torn, or no record of brainalign ({error})") from error
    if not whole:
        raise CorruptFileError(f"{place} was changed after it was written: its sha256 does not fit")
    return dict(fields)


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, indent=1, allow_nan=False).encode()).hexdigest()


def checksum(path: Path) -> dict[str, Any]:
    """Return size and sha256 of a file, as records keep them.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> path.write_bytes(b"abc")
    3
    >>> checksum(path)["size"]
    3
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}
