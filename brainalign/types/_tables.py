"""Tables whose index is unique text, and content hashes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unique_ids
from brainalign.errors import InputError, ShapeError

_TEXT_COLUMNS = ("stimulus_id", "subject", "session", "run", "condition", "split", "content_hash")


def content_hash(content: Any) -> str:
    """Return the sha256 of a decoded stimulus: an array (shape, dtype, bytes), text or bytes.

    Two files that decode to the same pixels have the same hash, whatever their names.

    Examples
    --------
    >>> content_hash(np.zeros((2, 2, 3), np.uint8)) == content_hash(np.zeros((2, 2, 3), np.uint8))
    True
    """
    if isinstance(content, (bytes, str)):
        kind, raw = type(content).__name__, content.encode() if isinstance(content, str) else content
        return hashlib.sha256(kind.encode() + b"\0" + raw).hexdigest()
    array = np.ascontiguousarray(content)
    if array.dtype.hasobject:
        raise InputError(
            f"content of type {type(content).__name__} has no bytes to hash (dtype object); expected an "
            "array of numbers, text or bytes"
        )
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + b"\0" + array.tobytes()).hexdigest()


def make_table(kind: str, table: pd.DataFrame | None, id_name: str, n: int | None = None) -> pd.DataFrame:
    """Return a copy of `table` whose index is `id_name`, unique text, of length `n`."""
    if table is None:
        table = pd.DataFrame(index=pd.RangeIndex(n or 0))
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{kind} is a {type(table).__name__}; expected a pandas DataFrame")
    table = table.copy()
    if n is not None and len(table) != n:
        raise ShapeError(
            f"{kind} has {len(table)} rows, the values have {n}; they must describe the same rows"
        )
    names = [str(c) for c in table.columns]
    if len(set(names)) != len(names):
        twice = sorted({c for c in names if names.count(c) > 1})
        raise InputError(f"{kind} has the column {twice[0]!r} more than once")
    table.columns = pd.Index(names, dtype=object)
    if id_name in table.columns:
        table = table.set_index(id_name)
    table.index = pd.Index(unique_ids(id_name, table.index), dtype=object, name=id_name)
    for column in _TEXT_COLUMNS:
        if column in table.columns:
            table[column] = _text_column(table[column])
    return table


def _text_column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Identifiers are text (``1`` and ``"1"`` are the same run); missing stays None."""
    out: list[str | None] = []
    for value in column:
        if value is None or (not isinstance(value, str) and pd.isna(value)):
            out.append(None)
        elif isinstance(value, (float, np.floating)) and float(value).is_integer():
            out.append(str(int(value)))
        else:
            out.append(str(value))
    return pd.Series(np.array(out, dtype=object), index=column.index, name=column.name, dtype=object)


def positions(name: str, index: Any, n: int) -> np.ndarray:
    """Integer positions of a boolean mask over `n` rows, or of positions themselves."""
    array = np.asarray(index)
    if array.dtype == bool:
        if array.shape != (n,):
            raise ShapeError(f"the mask over {name} has shape {array.shape}; expected ({n},)")
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} must be selected by a boolean mask or by integer positions")
    return array.astype(np.intp)
