"""DataFrames as named arrays: one array of numbers or of fixed-length UTF-8 text a column."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.storage._tree import Parts, decode, encode_scalar, link_name

# the codes of `lengths` for a cell without text
_MISSING = {-1: None, -2: np.nan, -3: pd.NA}
_RAGGED_FACTOR = 8
_RAGGED_BYTES = 1 << 20


def encode_table(table: pd.DataFrame, where: str, prefix: str, parts: Parts) -> dict[str, Any]:
    """Return the description of a table; its columns go to `parts` under ``prefix/columns``."""
    index = pd.Series(np.asarray(table.index, dtype=object), dtype=object)
    described = [_encode_column(index, str(table.index.name), where, prefix, parts)]
    for name in table.columns:
        described.append(_encode_column(table[name], name, where, prefix, parts))
    return {"rows": len(table), "columns": described}


def _encode_column(
    column: pd.Series[Any], name: str, where: str, prefix: str, parts: Parts
) -> dict[str, Any]:
    place = f"{where}[{name!r}]"
    links = {kind: f"{prefix}/{kind}/{link_name(name)}" for kind in ("columns", "lengths", "missing")}
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(np.asarray(column))
    dtype = column.dtype
    described: dict[str, Any] = {"name": name, "dtype": str(dtype)}
    if isinstance(dtype, pd.StringDtype) or dtype == np.dtype(object):
        cells = column.astype(object).tolist()
        if all(isinstance(c, str) or _missing_code(c) for c in cells):
            described["dtype"] = _text_dtype(dtype)
            return described | _encode_text(cells, place, links, parts)
        texts = [json.dumps(_encode_cell(c, f"{place} row {i}")) for i, c in enumerate(cells)]
        return described | _encode_text(texts, place, links, parts) | {"kind": "json"}
    if isinstance(dtype, np.dtype):
        values, kind = column.to_numpy(), "number"
        if dtype.kind in "mM":
            values, kind = values.view(np.int64), "time"
        return described | {"kind": kind, "values": parts.add(links["columns"], values, place)}
    if isinstance(column.array, pd.arrays.BooleanArray | pd.arrays.IntegerArray | pd.arrays.FloatingArray):
        missing = column.isna().to_numpy()
        values = column.to_numpy(dtype=_numpy_name(dtype), na_value=0)
        described |= {"kind": "masked", "values": parts.add(links["columns"], values, place)}
        return described | {"missing": parts.add(links["missing"], missing, place)}
    raise InputError(
        f"{place} has dtype {dtype}, which cannot be stored; convert it to text, numbers or bool first"
    )


def _numpy_name(dtype: Any) -> str:
    """The numpy dtype below a pandas dtype with a mask: Int64 -> int64, boolean -> bool."""
    name = str(dtype).lower()
    return "bool" if name == "boolean" else name


def _text_dtype(dtype: Any) -> str:
    if not isinstance(dtype, pd.StringDtype):
        return "object"
    return "string" if dtype.na_value is pd.NA else "str"


def _missing_code(cell: Any) -> int:
    """0 where a cell is present; None, NaN and NA are told apart."""
    if cell is None:
        return -1
    if cell is pd.NA:
        return -3
    return -2 if isinstance(cell, float) and cell != cell else 0


def _encode_cell(cell: Any, place: str) -> Any:
    return {"$na": True} if cell is pd.NA else encode_scalar(cell, place)


def _encode_text(cells: list[Any], place: str, links: dict[str, str], parts: Parts) -> dict[str, Any]:
    raw, lengths = [], np.empty(len(cells), np.int32)
    for row, cell in enumerate(cells):
        code = _missing_code(cell)
        try:
            raw.append(b"" if code else cell.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise InputError(f"{place} row {row} is {cell!r}, which is not valid Unicode text") from error
        lengths[row] = code or len(raw[-1])
    width, total = max(1, max(map(len, raw), default=1)), sum(map(len, raw))
    if width * len(raw) > _RAGGED_FACTOR * total + _RAGGED_BYTES:  # a few very long cells among short ones
        described = {"kind": "ragged", "values": np.frombuffer(b"".join(raw), np.uint8)}
    else:
        described = {"kind": "text", "values": np.array(raw, dtype=f"S{width}")}
    described["values"] = parts.add(links["columns"], described["values"], place)
    return described | {"lengths": parts.add(links["lengths"], lengths, place), "layout": described["kind"]}


def decode_table(node: dict[str, Any], read: Callable[[str], Any]) -> pd.DataFrame:
    """Rebuild a table from its description; `read` returns a stored array by its name."""
    n_rows = node["rows"]
    index, *columns = [(c["name"], _decode_column(c, read)) for c in node["columns"]]
    for name, column in (index, *columns):
        if len(column) != n_rows:
            raise ValueError(f"the column {name!r} has {len(column)} rows instead of {n_rows}")
    rows = pd.Index(index[1].to_numpy(), dtype=object, name=index[0])
    table = pd.DataFrame({i: column for i, (_, column) in enumerate(columns)})
    table.index = rows if columns else pd.RangeIndex(0)
    if not columns:
        return pd.DataFrame(index=rows)
    table.columns = pd.Index([name for name, _ in columns], dtype=object)
    return table


def _decode_column(node: dict[str, Any], read: Callable[[str], Any]) -> pd.Series[Any]:
    kind, dtype = node["kind"], node["dtype"]
    values = read(node["values"])
    if kind == "number":
        return pd.Series(values)
    if kind == "time":
        return pd.Series(values.view(np.dtype(dtype)))
    if kind == "masked":
        masked_dtype: Any = pd.api.types.pandas_dtype(dtype)
        array_type = masked_dtype.construct_array_type()
        return pd.Series(array_type(values, read(node["missing"])))
    cells = _decode_text(values, read(node["lengths"]), node["layout"])
    if kind == "json":
        cells = [_decode_cell(json.loads(cell)) for cell in cells]
    column = pd.Series(cells, dtype=object)
    if dtype == "string" or (dtype == "str" and isinstance(pd.api.types.pandas_dtype("str"), pd.StringDtype)):
        return column.astype(dtype)
    return column


def _decode_cell(node: Any) -> Any:
    return pd.NA if node == {"$na": True} else decode(node, lambda name: None)


def _decode_text(values: np.ndarray, lengths: np.ndarray, layout: str) -> list[Any]:
    sizes = np.maximum(lengths, 0)
    if layout == "ragged":
        edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        whole = values.tobytes()
        raw = [whole[a:b] for a, b in itertools.pairwise(edges.tolist())]
    else:  # numpy drops trailing NULs of fixed-length text; the lengths bring them back
        raw = [cell.ljust(size, b"\0") for cell, size in zip(values.tolist(), sizes.tolist(), strict=True)]
    codes = lengths.tolist()
    return [_MISSING[c] if c < 0 else cell.decode("utf-8") for c, cell in zip(codes, raw, strict=True)]
