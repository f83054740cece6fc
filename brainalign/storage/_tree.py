"""Nested values as JSON text plus named arrays; nothing else can be written or read.

Python has more values than JSON. What JSON lacks is written as a one-key mapping whose
key starts with ``$``: ``$float`` (nan, inf, -inf), ``$array`` (an array stored under that
name), ``$text`` (an array of text), ``$dict`` (keys that are not text, or start with ``$``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from brainalign.errors import InputError

MAX_DEPTH = 60
_MAX_DIGITS = 4000
_MAX_LINK = 200
_KEY_TYPES = (str, bool, int, float, type(None))


def link_name(name: str) -> str:
    """Return `name` as one step of an HDF5 path: no slash, no lone dot, valid UTF-8, not too long."""
    if name in ("", ".", ".."):
        return {"": "%", ".": "%2E", "..": "%2E%2E"}[name]
    out = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    out = "".join(f"%u{ord(c):04X}" if 0xD800 <= ord(c) <= 0xDFFF else c for c in out)
    if len(out) <= _MAX_LINK:
        return out
    return f"{out[:_MAX_LINK]}%{hashlib.sha256(out.encode()).hexdigest()}"


def check_dtype(array: Any, where: str) -> np.dtype[Any]:
    """Return the little-endian dtype under which `array` is stored, or name what is in the way."""
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise InputError(
            f"{where} has dtype {dtype}, which cannot be stored; expected bool, integers, or floats of "
            "16, 32 or 64 bits"
        )
    return dtype.newbyteorder("<")


class Parts:
    """The arrays of one file, by name, in the order in which they are written."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}

    def add(self, name: str, array: Any, where: str) -> str:
        if getattr(array, "dtype", np.dtype("O")).kind != "S":
            check_dtype(array, where)
        self.arrays[name] = array
        return name


def encode(value: Any, where: str, prefix: str, parts: Parts, depth: int = 0) -> Any:
    """Return `value` as JSON values; arrays go to `parts`. `where` is its name in errors."""
    if depth > MAX_DEPTH:
        raise InputError(f"{where} is nested more than {MAX_DEPTH} levels deep (or holds itself); flatten it")
    if isinstance(value, Mapping):
        return _encode_mapping(value, where, prefix, parts, depth)
    if isinstance(value, (list, tuple)):
        return [encode(v, f"{where}[{i}]", f"{prefix}/{i}", parts, depth + 1) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _encode_array(value, where, prefix, parts)
    return encode_scalar(value, where)


def encode_scalar(value: Any, where: str) -> Any:
    """Return None, bool, int, float or text (also as numpy scalars) as a JSON value."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return value if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)):
        number = int(value)
        if abs(number) >= 10**_MAX_DIGITS:
            raise InputError(f"{where} is an integer of more than {_MAX_DIGITS} digits; store it as text")
        return number
    if isinstance(value, float) or (isinstance(value, np.floating) and value.dtype.itemsize <= 8):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    raise InputError(
        f"{where} is a {type(value).__name__}, which cannot be stored; expected None, bool, numbers, text, "
        "arrays, or lists and mappings of them"
    )


def _encode_mapping(value: Mapping[Any, Any], where: str, prefix: str, parts: Parts, depth: int) -> Any:
    pairs = []
    for key, entry in value.items():
        if isinstance(key, np.generic):
            key = key.item()
        if not isinstance(key, _KEY_TYPES):
            raise InputError(
                f"{where} has the key {key!r} ({type(key).__name__}), which cannot be stored; expected text"
            )
        step = link_name(key) if isinstance(key, str) else "%k" + link_name(repr(key))
        pairs.append((key, encode(entry, f"{where}[{key!r}]", f"{prefix}/{step}", parts, depth + 1)))
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
        return {str(key): entry for key, entry in pairs}
    return {"$dict": [[encode_scalar(key, where), entry] for key, entry in pairs]}


def _encode_array(value: np.ndarray, where: str, prefix: str, parts: Parts) -> Any:
    if value.dtype.kind in "UO" or isinstance(value.dtype, np.dtypes.StringDType):
        flat = value.ravel().tolist()
        for i, entry in enumerate(flat):
            if not (entry is None or isinstance(entry, str)):
                raise InputError(
                    f"{where} is an array of dtype {value.dtype} with a {type(entry).__name__} at position "
                    f"{i}; only numbers and text can be stored"
                )
        kind = "U" if value.dtype.kind == "U" else "O"
        return {"$text": flat, "dtype": kind, "shape": list(value.shape)}
    tag: dict[str, Any] = {"$array": parts.add(prefix, np.atleast_1d(value), where)}
    return tag if value.ndim else {**tag, "scalar": True}


def decode(node: Any, read: Callable[[str], Any]) -> Any:
    """Rebuild what `encode` was given; `read` returns a stored array by its name."""
    if isinstance(node, list):
        return [decode(entry, read) for entry in node]
    if not isinstance(node, dict):
        return node
    tag = next((key for key in node if key.startswith("$")), None)
    if tag is None:
        return {key: decode(entry, read) for key, entry in node.items()}
    if tag == "$float":
        return float(node[tag])
    if tag == "$dict":
        return {decode(key, read): decode(entry, read) for key, entry in node[tag]}
    if tag == "$array":
        array = np.asarray(read(node[tag]))
        return array.reshape(()) if node.get("scalar") else array
    if tag == "$text":
        dtype: Any = object if node["dtype"] == "O" else np.str_
        return np.array(node[tag], dtype=dtype).reshape(node["shape"])
    raise ValueError(f"the mark {tag!r} is unknown")
