"""A fitted estimator back from JSON values plus named arrays, on a device and in a dtype.

Objects are made of the classes in `MODELS`, `SPLITTERS` and `RECORDS` alone, so that no file
can run code. What does not fit together raises KeyError, TypeError or ValueError.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from sklearn import model_selection

from brainalign import __version__
from brainalign.errors import InputError
from brainalign.regression._model_writing import ORIGIN, RECORDS, SPLITTERS, class_of
from brainalign.storage._container import Container
from brainalign.storage._tree import decode

# what the search for a penalty found: read by people, not by predict, and often beyond float16
_KEPT = ("alphas_", "scores_")
_WEIGHTS = ("coef_", "coefs_")
_MOST_LOST = 0.01


@dataclass(frozen=True)
class Reading:
    """From where, and into what.

    Attributes: `container` the file; `device` None for numpy; `dtype` None for the stored
    one; `tensors` whether the model was fitted on torch tensors (then what was a tensor
    becomes one, else every floating array); `not_stored` {parameter: what it was}, filled
    while reading.
    """

    container: Container
    device: torch.device | None
    dtype: np.dtype[Any] | None
    tensors: bool
    not_stored: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Role:
    """What a value belongs to: its place in the model, and the attribute (None for a parameter)."""

    where: str
    attribute: str | None = None

    @property
    def converted(self) -> bool:
        """Parameters and the records of the search keep the dtype that they had."""
        return self.attribute is not None and not self.attribute.endswith(_KEPT)


def decode_model(reading: Reading, node: dict[str, Any], where: str = "") -> Any:
    """Rebuild an estimator; nothing is fitted."""
    cls = class_of(node["class"])
    if cls is None:
        raise InputError(_too_new(reading, f"the model {str(node['class'])[:60]!r}"))
    parameters = {
        name: _decode(reading, value, _Role(f"{where}{name}")) for name, value in node["parameters"].items()
    }
    lost: dict[str, str] = {str(name): str(text) for name, text in node["not_stored"].items()}
    unknown = sorted({*parameters, *lost} - set(cls._get_param_names()))
    if unknown:
        raise InputError(_too_new(reading, f"{node['class']} with the parameters {', '.join(unknown)}"))
    model = cls(**dict.fromkeys(lost), **parameters)
    for name, value in node["attributes"].items():
        if not (name.endswith("_") and name.isidentifier() and not name.startswith("__")):
            raise ValueError(f"{name!r} is no name of a fitted attribute")
        vars(model)[name] = _decode(reading, value, _Role(f"{where}{name}", name))
    vars(model)[ORIGIN] = {"not_stored": lost}
    reading.not_stored.update({f"{where}{name}": text for name, text in lost.items()})
    _move(model, reading.device)
    return model


def _too_new(reading: Reading, what: str) -> str:
    return (
        f"{reading.container.path} holds {what}, written by brainalign {reading.container.header.version}, "
        f"which brainalign {__version__} does not know; update brainalign to read it"
    )


def _move(model: Any, device: torch.device | None) -> None:
    """Let a later fit run where the model now is; one that was on a GPU finds its own device."""
    before = getattr(model, "device", None)
    if before is None:
        return
    if device is not None:
        model.device = str(device)
    elif before not in ("auto", "cpu"):
        model.device = "auto"


def _decode(reading: Reading, node: Any, role: _Role) -> Any:
    if isinstance(node, list):
        return [
            _decode(reading, entry, _Role(f"{role.where}[{i}]", role.attribute))
            for i, entry in enumerate(node)
        ]
    if isinstance(node, dict) and "is" in node:
        return _RULES[node["is"]](reading, node, role)
    return decode(node, reading.container.read)


def _decode_array(reading: Reading, node: dict[str, Any], role: _Role) -> Any:
    array = read_array(
        reading.container,
        node["name"],
        dtype=reading.dtype if role.converted else None,
        order="F" if node.get("order") == "F" else "C",
        weights=(role.attribute or "").endswith(_WEIGHTS),
    )
    if node.get("scalar"):
        array = array.reshape(())
    was = bool(node.get("tensor"))
    wanted = was if reading.tensors or role.attribute is None else array.dtype.kind == "f"
    return torch.from_numpy(array).to(reading.device) if reading.device is not None and wanted else array


def read_array(
    container: Container, name: str, *, dtype: np.dtype[Any] | None, order: Any = "C", weights: bool = False
) -> np.ndarray[Any, Any]:
    """Return a stored array, floats converted to `dtype`, with one chunk more than itself in memory.

    Raises
    ------
    InputError
        A finite value would become infinite in `dtype`, or (`weights`) more than one in a
        hundred would become 0.
    """
    stored = container.arrays[name]
    native = stored.dtype.newbyteorder("=")
    target = native if dtype is None or stored.dtype.kind != "f" else dtype
    out = np.empty(stored.shape, dtype=target, order=order)
    present = lost = 0
    with container.open() as file:
        for corner in itertools.product(*map(range, [0] * len(stored.shape), stored.shape, stored.chunks)):
            edges = [(c, min(c + k, n)) for c, k, n in zip(corner, stored.chunks, stored.shape, strict=True)]
            block = container.read_box(file, stored, [np.arange(*edge) for edge in edges])
            with np.errstate(over="ignore", under="ignore"):
                converted = block.astype(target)
            if target.itemsize < native.itemsize:
                _check_range(container, name, block, converted)
                present += int(np.count_nonzero(block))
                lost += int(np.count_nonzero(block) - np.count_nonzero(converted))
            out[tuple(slice(*edge) for edge in edges)] = converted
    if weights and lost > _MOST_LOST * present:
        raise InputError(
            f"{container.path}: {lost} of {present} values of {name} would become 0 in {target}; load it in "
            f"{native}, or fit on responses in larger units (z-scores, or fT in place of T)"
        )
    return out


def _check_range(
    container: Container, name: str, block: np.ndarray[Any, Any], converted: np.ndarray[Any, Any]
) -> None:
    beyond = np.isinf(converted) & np.isfinite(block)
    if beyond.any():
        worst = float(block[beyond][np.abs(block[beyond]).argmax()])
        raise InputError(
            f"{container.path}: {name} holds {worst:g}, which {converted.dtype} cannot; "
            f"load it in {block.dtype}"
        )


def _decode_number(reading: Reading, node: dict[str, Any], role: _Role) -> Any:
    dtype = np.dtype(node["dtype"])
    if dtype.kind not in "fiub":
        raise ValueError(f"{role.where} has dtype {dtype}")
    if dtype.kind == "f" and role.converted and reading.dtype is not None:
        dtype = reading.dtype
    return dtype.type(decode(node["value"], reading.container.read))


def _entries(reading: Reading, node: dict[str, Any], role: _Role) -> list[Any]:
    decoded: list[Any] = _decode(reading, list(node["entries"]), role)
    return decoded


def _decode_mapping(reading: Reading, node: dict[str, Any], role: _Role) -> dict[Any, Any]:
    out = {}
    for key, value in node["entries"]:
        name = _decode(reading, key, role)
        out[name] = _decode(reading, value, _Role(f"{role.where}[{name!r}]", role.attribute))
    return out


def _decode_record(reading: Reading, node: dict[str, Any], role: _Role) -> Any:
    """Rebuild a record; one whose fields another version named otherwise stays a mapping."""
    values, record = _decode_mapping(reading, node, role), RECORDS[node["class"]]
    return record(**values) if set(values) == {f.name for f in fields(record)} else values


def _decode_splitter(reading: Reading, node: dict[str, Any], role: _Role) -> Any:
    if node["class"] not in SPLITTERS:
        raise ValueError(f"{node['class']!r} is no splitter that is stored")
    parameters = {str(name): _decode(reading, value, role) for name, value in node["entries"]}
    return getattr(model_selection, node["class"])(**parameters)


_RULES: dict[str, Callable[[Reading, dict[str, Any], _Role], Any]] = {
    "array": _decode_array,
    "numpy": _decode_number,
    "tuple": lambda reading, node, role: tuple(_entries(reading, node, role)),
    "slice": lambda reading, node, role: slice(*_entries(reading, node, role)),
    "range": lambda reading, node, role: range(*_entries(reading, node, role)),
    "mapping": _decode_mapping,
    "record": _decode_record,
    "splitter": _decode_splitter,
    "model": lambda reading, node, role: decode_model(reading, node, f"{role.where}."),
}
