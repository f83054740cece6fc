"""A fitted estimator as JSON values plus named arrays; nothing else can be written.

A value that JSON has stands for itself. Every other one is a mapping with the key ``is``:
array, numpy (a scalar with its dtype), tuple, mapping, slice, range, record, splitter, model.
Arrays keep their dtype, their memory order (a matrix product depends on it in its last
bits) and whether they were torch tensors.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn import model_selection

from brainalign.errors import InputError
from brainalign.regression._plan import Plan
from brainalign.storage._tree import Parts, encode, link_name

MODELS = ("RidgeCV", "KernelRidgeCV", "BandedRidgeCV", "StackedRegression")
SPLITTERS = (
    "GroupKFold",
    "GroupShuffleSplit",
    "KFold",
    "LeaveOneGroupOut",
    "LeaveOneOut",
    "LeavePGroupsOut",
    "LeavePOut",
    "ShuffleSplit",
    "TimeSeriesSplit",
)
RECORDS = {"Plan": Plan}
ORIGIN = "loaded_from_"
_MAX_DEPTH = 40
_MAX_TEXT = 500


@dataclass
class Written:
    """What encoding a model collects.

    Attributes: `parts` its arrays; `device` of its tensors, None without tensors; `dtype`
    of its largest floating array.
    """

    parts: Parts = field(default_factory=Parts)
    device: str | None = None
    dtype: str | None = None
    largest: int = 0


@dataclass(frozen=True)
class Place:
    """Where a value stands: its name in errors, the start of the names of its arrays, its depth."""

    where: str = ""
    prefix: str = ""
    depth: int = 0

    def inside(self, where: str, prefix: str) -> Place:
        return Place(self.where + where, self.prefix + prefix, self.depth + 1)


class TensorBlocks:
    """A torch tensor on any device as something that is sliced into numpy blocks."""

    def __init__(self, tensor: torch.Tensor, where: str) -> None:
        self._tensor = tensor.detach()
        try:
            self.dtype = torch.empty(0, dtype=tensor.dtype).numpy().dtype
        except TypeError as error:
            raise InputError(
                f"{where} has dtype {tensor.dtype}, which cannot be stored; expected bool, integers, or "
                "float16, float32 or float64"
            ) from error
        self.shape = tuple(tensor.shape)

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        block: np.ndarray[Any, Any] = self._tensor[key].cpu().numpy()
        return block


def class_of(name: str) -> Any:
    """Return the estimator class of that name; None where this version has none that is stored."""
    return getattr(importlib.import_module("brainalign.regression"), name, None) if name in MODELS else None


def is_model(value: Any) -> bool:
    """Tell whether `value` is an estimator that can be stored; a subclass of one is not."""
    return class_of(type(value).__name__) is type(value)


def encode_model(written: Written, model: Any, place: Place = Place()) -> Any:
    """Return one estimator as JSON values; its arrays go to `written`."""
    before = getattr(model, ORIGIN, {}).get("not_stored", {})
    parameters: dict[str, Any] = {}
    not_stored: dict[str, str] = {}
    for name, value in sorted(model.get_params(deep=False).items()):
        if value is None and name in before:  # lost by an earlier file, and not given again
            not_stored[name] = before[name]
            continue
        arrays = dict(written.parts.arrays)
        try:
            parameters[name] = encode_value(written, value, place.inside(name, f"parameters/{name}"))
        except InputError:
            written.parts.arrays = arrays
            not_stored[name] = _described(value)
    attributes = {
        name: encode_value(written, value, place.inside(name, name))
        for name, value in vars(model).items()
        if name.endswith("_") and not name.startswith("__") and name != ORIGIN
    }
    return {
        "is": "model",
        "class": type(model).__name__,
        "parameters": parameters,
        "not_stored": not_stored,
        "attributes": attributes,
    }


def encode_value(written: Written, value: Any, place: Place) -> Any:
    """Return any value as JSON values; refuses by name what no rule knows."""
    if place.depth > _MAX_DEPTH:
        raise InputError(f"{place.where} is nested more than {_MAX_DEPTH} levels deep (or holds itself)")
    for applies, rule in _RULES:
        if applies(value):
            return rule(written, value, place)
    return _encode_plain(written, value, place)


def _described(value: Any) -> str:
    """What a parameter was, for people: the name of a function or a class, else its text."""
    name = getattr(value, "__qualname__", None)
    text = f"{value.__module__}.{name}" if name else repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} ..."


def _encode_plain(written: Written, value: Any, place: Place) -> Any:
    return encode(value, place.where, place.prefix, written.parts)


def _encode_array(written: Written, value: Any, place: Place) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "UOT":
        return _encode_plain(written, value, place)
    shape = _shape(value, place)
    node: dict[str, Any] = {"is": "array"}
    if isinstance(value, torch.Tensor):
        node["tensor"], written.device = True, str(value.device)
        columns_first = value.ndim == 2 and value.T.is_contiguous() and not value.is_contiguous()
        value = TensorBlocks(value, place.where)
    else:
        columns_first = isinstance(value, np.ndarray) and value.flags.fnc
    if columns_first:
        node["order"] = "F"
    if not shape:
        node["scalar"] = True
        value = np.asarray(value[()]).reshape(1)
    node["name"] = written.parts.add(place.prefix, value, place.where)
    size = int(np.prod(shape, dtype=float))
    if value.dtype.kind == "f" and size > written.largest:
        written.largest, written.dtype = size, str(value.dtype)
    return node


def _shape(value: Any, place: Place) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in value.shape)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{place.where} lies in a file that has been closed ({error}); save the model while it is open"
        ) from error


def _encode_numpy(written: Written, value: Any, place: Place) -> Any:
    return {"is": "numpy", "dtype": value.dtype.name, "value": _encode_plain(written, value, place)}


def _encode_list(written: Written, values: Any, place: Place) -> list[Any]:
    return [encode_value(written, v, place.inside(f"[{i}]", f"/{i}")) for i, v in enumerate(values)]


def _encode_tuple(written: Written, values: Any, place: Place) -> Any:
    return {"is": "tuple", "entries": _encode_list(written, values, place)}


def _encode_slice(written: Written, value: Any, place: Place) -> Any:
    parts = (value.start, value.stop, value.step)
    return {"is": type(value).__name__, "entries": _encode_list(written, parts, place)}


def _encode_mapping(written: Written, values: Mapping[Any, Any], place: Place) -> Any:
    entries = []
    for key, value in values.items():
        step = link_name(key) if isinstance(key, str) else "%k" + link_name(repr(key))  # 1 is not "1"
        there = place.inside(f"[{key!r}]", f"/{step}")
        entries.append([encode_value(written, key, there), encode_value(written, value, there)])
    return {"is": "mapping", "entries": entries}


def _encode_record(written: Written, value: Any, place: Place) -> Any:
    return {**_encode_mapping(written, vars(value), place), "is": "record", "class": type(value).__name__}


def _encode_splitter(written: Written, value: Any, place: Place) -> Any:
    names = [name for name in inspect.signature(type(value)).parameters if name in vars(value)]
    entries = [
        [name, encode_value(written, vars(value)[name], place.inside(f".{name}", f"/{name}"))]
        for name in names
    ]
    return {"is": "splitter", "class": type(value).__name__, "entries": entries}


def _encode_nested(written: Written, value: Any, place: Place) -> Any:
    return encode_model(written, value, place.inside(".", "/"))


def _encode_text(written: Written, value: Any, place: Place) -> str:
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, np.generic) and value.dtype.kind in "fiub"


def _is_splitter(value: Any) -> bool:
    name = type(value).__name__
    return name in SPLITTERS and type(value) is getattr(model_selection, name)


def _has_blocks(value: Any) -> bool:
    """Arrays, also those in a file (HDF5 and the like): shape, dtype and slicing."""
    return all(hasattr(type(value), name) for name in ("shape", "dtype", "__getitem__"))  # may be closed


def _of(*types: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


_RULES: list[tuple[Callable[[Any], bool], Callable[[Written, Any, Place], Any]]] = [
    (_is_number, _encode_numpy),
    (_of(str, bool, int, float, type(None)), _encode_plain),
    (_of(list), _encode_list),
    (_of(tuple), _encode_tuple),
    (_of(Mapping), _encode_mapping),
    (_of(slice, range), _encode_slice),
    (_of(torch.device, os.PathLike), _encode_text),
    (lambda value: type(value) in RECORDS.values(), _encode_record),
    (_is_splitter, _encode_splitter),
    (is_model, _encode_nested),
    (_has_blocks, _encode_array),
]
