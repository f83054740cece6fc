"""Identity of weights, code and preprocessing, for cache keys that are never stale.

A transform is code: its identity is the source of it and of what it calls, and the
values that it closes over. Code of an installed library is identified by its version.
Where none of that can be read, there is no identity, and nothing may be cached.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import importlib.metadata
import inspect
import json
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_PLAIN = (bool, int, float, str, type(None))
_TEXTUAL = (torch.dtype, torch.device, torch.Size, np.dtype, range, slice, complex, bytes, Path, enum.Enum)
_TORCH_STATE = {"_parameters", "_buffers", "_modules", "training"}


class NoIdentityError(Exception):
    """Something that changes the result and cannot be described."""


def digest(description: Any) -> str:
    """Return the sha256 of the canonical JSON of plain values."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_digest(module: nn.Module) -> str:
    """Return the sha256 of class, repr and every parameter and buffer (name, dtype, shape, bytes)."""
    state = hashlib.sha256(f"{_qualified(type(module))}\0{module!r}".encode())
    for kind, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in tensors:
            state.update(f"\0{kind}\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            state.update(_bytes_of(tensor))
    return state.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def describe(value: Any) -> Any:
    """Return plain values that change whenever the behaviour of `value` changes.

    Raises
    ------
    NoIdentityError
        Source code cannot be read, or an object of unknown kind is involved.
    """
    return _Describer().describe(value)


def describe_code(module: nn.Module) -> Any:
    """Return `describe` of a module without its weights.

    Raises
    ------
    NoIdentityError
        As `describe`.
    """
    return _Describer().module_code(module)


class _Describer:
    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, Any]] = {}  # keeps the objects, so that no id is used twice

    def describe(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return value if not isinstance(value, float) else repr(value)
        if isinstance(value, _TEXTUAL):
            return [type(value).__qualname__, repr(value)]
        if id(value) in self.seen:
            return ["seen", self.seen[id(value)][0]]
        self.seen[id(value)] = (len(self.seen), value)
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [type(value).__name__, [self.describe(v) for v in value]]
        if isinstance(value, (set, frozenset)):
            return ["set", sorted(digest(self.describe(v)) for v in value)]
        if isinstance(value, Mapping):
            return ["mapping", [[self.describe(k), self.describe(v)] for k, v in value.items()]]
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "O":
            raw = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            return ["array", value.dtype.str, list(value.shape), raw]
        if isinstance(value, torch.Tensor):
            return [
                "tensor",
                str(value.dtype),
                list(value.shape),
                hashlib.sha256(_bytes_of(value)).hexdigest(),
            ]
        return self._code(value)

    def _code(self, value: Any) -> Any:
        if isinstance(value, types.ModuleType):
            return self._module_source(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, nn.Module):
            return self._network(value)
        if isinstance(value, functools.partial):
            return ["partial", *(self.describe(v) for v in (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.describe(value.__func__), self.describe(value.__self__)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            owner = getattr(value, "__self__", None)
            bound = None if isinstance(owner, (types.ModuleType, type(None))) else self.describe(owner)
            return ["builtin", getattr(value, "__module__", None), value.__name__, bound]
        return self._instance(value)

    def _instance(self, value: Any) -> Any:
        if not hasattr(value, "__dict__"):
            raise NoIdentityError(f"an object of type {_qualified(type(value))}")
        return ["object", self.describe(type(value)), self.describe(dict(vars(value)))]

    def _network(self, module: nn.Module) -> Any:
        return ["network", weights_digest(module), self.module_code(module)]

    def module_code(self, module: nn.Module) -> Any:
        """Per module its class, plain attributes and hooks: all of them can change outputs."""
        parts = []
        for name, child in module.named_modules():
            state = {
                key: value
                for key, value in vars(child).items()
                if key not in _TORCH_STATE and (value or "hook" not in key or not key.startswith("_"))
            }
            parts.append([name, self.describe(type(child)), self.describe(state)])
        return parts

    def _class(self, cls: type) -> Any:
        library = _library(cls.__module__)
        if library:
            return ["class", _qualified(cls), library]
        bases = [self.describe(base) for base in cls.__bases__ if base is not object]
        used = [self._uses(f) for f in vars(cls).values() if isinstance(f, types.FunctionType)]
        return ["class", _qualified(cls), _source(cls), bases, used]

    def _function(self, function: types.FunctionType) -> Any:
        library = _library(function.__module__ or "")
        name = f"{function.__module__}.{function.__qualname__}"
        closure = [self.describe(cell.cell_contents) for cell in function.__closure__ or ()]
        values = [closure, self.describe(function.__defaults__), self.describe(function.__kwdefaults__)]
        if library:
            return ["function", name, library, values]
        return ["function", name, _source(function), values, self._uses(function)]

    def _uses(self, function: types.FunctionType) -> Any:
        """The globals that the code names: another constant or callee is another behaviour."""
        names = sorted(set(_names(function.__code__)) & set(function.__globals__))
        return [[name, self.describe(function.__globals__[name])] for name in names]

    def _module_source(self, module: types.ModuleType) -> Any:
        library = _library(module.__name__)
        if library:
            return ["module", module.__name__, library]
        return ["module", module.__name__, _source(module)]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _source(thing: Any) -> str:
    try:
        return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()
    except (OSError, TypeError) as error:
        name = getattr(thing, "__qualname__", getattr(thing, "__name__", repr(thing)))
        raise NoIdentityError(f"the source code of {name!r}") from error


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@functools.cache
def _library(module: str) -> str:
    """Return name and version of an installed library, "" for code that may change at any time."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return f"python {sys.version.split()[0]}"
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    if not {"site-packages", "dist-packages"} & set(Path(file).parts):
        return ""
    version = getattr(sys.modules[top], "__version__", None)
    try:
        return f"{top} {version or importlib.metadata.version(top)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def code_digest() -> str:
    """Return the sha256 of the source of this package: another code is another cache entry."""
    state = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()
