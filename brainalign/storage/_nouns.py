"""The nouns as nested values: which field is an array, a table, a mapping or another noun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainalign.errors import InputError
from brainalign.storage._container import Container
from brainalign.storage._lazy import LazyArray
from brainalign.storage._tables import decode_table, encode_table
from brainalign.storage._tree import Parts, decode, encode, link_name
from brainalign.types import Dataset, NoiseCeiling, RDMs, Responses, Scores, Stimuli

LAZY_BYTES = 1 << 20

# per noun, per field: how it is stored. "lazy" is an array that may stay in its file.
FIELDS: dict[type, dict[str, str]] = {
    Stimuli: {"table": "table", "info": "plain"},
    Responses: {"values": "lazy", "samples": "table", "units": "table", "times": "array", "info": "plain"},
    RDMs: {"values": "array", "stimulus_id": "plain", "table": "table", "info": "plain"},
    NoiseCeiling: {
        "values": "array",
        "low": "array",
        "high": "array",
        "method": "plain",
        "metric": "plain",
        "info": "plain",
    },
    Scores: {
        "values": "array",
        "units": "table",
        "metric": "plain",
        "identity": "plain",
        "fold_values": "array",
        "interval": "array",
        "n_test": "plain",
        "noise_ceiling": "noun",
        "p_values": "array",
        "predictions": "lazy",
        "observed": "lazy",
        "info": "plain",
    },
    Dataset: {"stimuli": "noun", "responses": "noun", "features": "nouns", "rdms": "noun", "info": "plain"},
}
NOUNS = {noun.__name__: noun for noun in FIELDS}


def encode_noun(noun: Any, parts: Parts, where: str = "", prefix: str = "") -> dict[str, Any]:
    """Return a noun as JSON values; its arrays go to `parts`."""
    fields = FIELDS.get(type(noun))
    if fields is None:
        raise InputError(
            f"{where.rstrip('.') or 'x'} is a {type(noun).__name__}, which cannot be stored; expected one of "
            f"{', '.join(NOUNS)}"
        )
    out: dict[str, Any] = {"kind": type(noun).__name__}
    for name, how in fields.items():
        out[name] = _encode_field(getattr(noun, name), how, f"{where}{name}", f"{prefix}{name}", parts)
    return out


def _encode_field(value: Any, how: str, where: str, prefix: str, parts: Parts) -> Any:
    if value is None:
        return None
    if how in ("array", "lazy"):
        return parts.add(prefix, value if how == "lazy" else np.asarray(value), where)
    if how == "table":
        return encode_table(value, where, prefix, parts)
    if how == "noun":
        return encode_noun(value, parts, f"{where}.", f"{prefix}/")
    if how == "nouns":
        return _encode_nouns(value, where, prefix, parts)
    return encode(value, where, prefix, parts)


def _encode_nouns(value: Mapping[str, Any], where: str, prefix: str, parts: Parts) -> list[Any]:
    out = []
    for name, noun in value.items():
        if not isinstance(name, str):
            raise InputError(f"{where} has the key {name!r} ({type(name).__name__}); expected text")
        place = f"{prefix}/{link_name(name)}/"
        out.append([name, encode_noun(noun, parts, f"{where}[{name!r}].", place)])
    return out


def decode_noun(node: dict[str, Any], container: Container) -> Any:
    """Rebuild a noun; large arrays stay in the file."""
    noun = NOUNS[node["kind"]]
    fields = {name: _decode_field(node[name], how, container) for name, how in FIELDS[noun].items()}
    return noun(**fields)


def _decode_field(node: Any, how: str, container: Container) -> Any:
    if node is None:
        return None
    if how == "lazy" and container.arrays[node].nbytes >= LAZY_BYTES:
        return LazyArray(container, node)
    if how in ("array", "lazy"):
        return container.read(node)
    if how == "table":
        return decode_table(node, container.read)
    if how == "noun":
        return decode_noun(node, container)
    if how == "nouns":
        return {name: decode_noun(entry, container) for name, entry in node}
    return decode(node, container.read)
