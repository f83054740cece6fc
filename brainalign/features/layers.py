"""Which layers run, in which order, and what they put out: forward hooks, one pass.

Hooks, not tracing: any Python forward works. A module that runs several times gives
``name#0``, ``name#1`` ...; of an output that holds several tensors the first is taken,
another one by ``name:key`` (``"encoder:hidden"``, ``"lstm:1.0"``).
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from brainalign._checks import unknown_name
from brainalign.errors import InputError, ShapeError

Forward = Callable[[nn.Module, Any], Any]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One output of one call of one module; `shape` is per stimulus."""

    name: str
    module: str
    call: int
    key: str
    kind: str
    shape: tuple[int, ...]
    repeatable: bool = True


class LastLayerReached(BaseException):
    """Ends a forward pass whose remaining layers nobody asked for.

    No Exception, so that a ``try ... except Exception`` in a network does not catch it.
    """


def named_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, module) of every submodule; a network without any is called ``"output"``."""
    children = [(name, child) for name, child in module.named_modules() if name]
    yield from children or [("output", module)]


def tensors_of(output: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (key, tensor) of everything floating in a tensor, mapping, sequence or record."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield prefix, output
        return
    if isinstance(output, Mapping):
        parts = list(output.items())
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        parts = list(zip(output._fields, output, strict=True))
    elif isinstance(output, (tuple, list)):
        parts = list(enumerate(output))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        parts = [(field.name, getattr(output, field.name)) for field in dataclasses.fields(output)]
    else:
        return
    for key, part in parts:
        yield from tensors_of(part, f"{prefix}.{key}" if prefix else str(key))


@contextmanager
def hooked(module: nn.Module, names: set[str], receive: Callable[[str, int, Any], None]) -> Iterator[None]:
    """Call ``receive(name, call, output)`` for these modules; every hook is removed again."""
    calls: Counter[str] = Counter()
    handles = []

    def after(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls[name] += 1
            receive(name, calls[name] - 1, output)

        return hook

    def before(current: nn.Module, _inputs: Any) -> None:
        check_modes(current)

    try:
        for name, child in named_layers(module):
            handles.append(child.register_forward_pre_hook(before))
            if name in names:
                handles.append(child.register_forward_hook(after(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_modes(*modules: nn.Module) -> None:
    """Refuse a module that is in training mode, or a forward pass with gradients."""
    for module in modules:
        if module.training:
            raise InputError(
                f"{type(module).__name__} is in training mode inside the forward pass; a forward that calls "
                ".train() makes activations random (dropout, batch statistics): remove that call"
            )
    if torch.is_grad_enabled():
        raise InputError(
            "the forward pass turns gradients on; remove enable_grad from it: activations need none"
        )


def call(module: nn.Module, forward: Forward | None, batch: Any) -> Any:
    """Run one forward pass."""
    if forward is not None:
        return forward(module, batch)
    return module(**batch) if isinstance(batch, Mapping) else module(batch)


def probe(module: nn.Module, forward: Forward | None, pair: Any) -> list[Layer]:
    """Return every layer that answers per stimulus, in the order in which they finish.

    `pair` holds the same stimulus twice: outputs whose first axis is not 2 belong to no
    stimulus (position tables, masks) and are left out; rows that differ show a layer
    that is random or mixes stimuli (`repeatable` is False).

    Raises
    ------
    InputError
        No module runs, or training or gradients are turned on.
    """
    found: list[Layer] = []
    kinds = {name: type(child).__name__ for name, child in named_layers(module)}

    def receive(name: str, index: int, output: Any) -> None:
        for key, tensor in tensors_of(output):
            if tensor.ndim >= 2 and tensor.shape[0] == 2:
                shape = tuple(tensor.shape[1:])
                found.append(Layer(name, name, index, key, kinds[name], shape, _same_rows(tensor)))

    with torch.no_grad(), hooked(module, set(kinds), receive):
        call(module, forward, pair)
        check_modes(*module.modules())
    if not found:
        raise InputError(
            f"no module of {type(module).__name__} gave a floating tensor (batch, ...) in the forward pass; "
            "TorchScript modules run no hooks, and the first axis of an output must be the stimuli"
        )
    return _named(found)


def _same_rows(pair: torch.Tensor) -> bool:
    """Whether one stimulus got the same activations twice, within what arithmetic order changes."""
    first, second = pair[0].double(), pair[1].double()
    both = torch.isfinite(first) & torch.isfinite(second)
    if not both.any():
        return True
    gap = (first - second)[both].abs().max()
    return bool(gap <= 1e-2 * first[both].abs().max() + 1e-6)


def _named(found: list[Layer]) -> list[Layer]:
    """Number the calls of modules that ran several times; the first tensor has the plain name."""
    n_calls: dict[str, int] = {}
    for layer in found:
        n_calls[layer.module] = max(n_calls.get(layer.module, 0), layer.call + 1)
    out: list[Layer] = []
    seen: set[tuple[str, int]] = set()
    for layer in found:
        name = layer.module if n_calls[layer.module] == 1 else f"{layer.module}#{layer.call}"
        if (layer.module, layer.call) not in seen:
            seen.add((layer.module, layer.call))
            out.append(dataclasses.replace(layer, name=name))
        if layer.key:
            out.append(dataclasses.replace(layer, name=f"{name}:{layer.key}"))
    return out


def matches(pattern: str, name: str) -> bool:
    """Tell whether a layer name fits a pattern: ``*`` stays within a dot, ``**`` crosses dots.

    A pattern without ``#`` fits every call of a module; tensors beside the first of an
    output (``name:key``) need the key.

    Examples
    --------
    >>> matches("_blocks.*", "_blocks.3"), matches("_blocks.*", "_blocks.3._bn1"), matches("**", "a.b")
    (True, False, True)
    """
    pattern, _, wanted = pattern.partition(":")
    name, _, key = name.partition(":")
    if wanted != key:
        return False
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    expression = "".join(wild.get(part, re.escape(part)) for part in parts)
    return any(re.fullmatch(expression, text) for text in {name, name.partition("#")[0]})


def select_layers(patterns: list[str], layers: list[Layer], module: nn.Module) -> list[Layer]:
    """Return the layers that fit any of the patterns, in the order of the forward pass.

    Raises
    ------
    UnknownNameError
        A pattern fits no layer that ran; the closest ones are named.
    InputError
        A chosen layer is random: it answers the same stimulus in two ways.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern.startswith("@"):
            chosen.add(_at_depth(pattern, layers).name)
            continue
        hits = [layer.name for layer in layers if matches(pattern, layer.name)]
        if not hits:
            raise unknown_name(
                "layer", pattern, [layer.name for layer in layers], _why_absent(pattern, module)
            )
        chosen.update(hits)
    selected = [layer for layer in layers if layer.name in chosen]
    for layer in selected:
        if not layer.repeatable:
            raise InputError(
                f"layer {layer.name!r} answers the same stimulus twice in one batch with different "
                "activations; the forward pass is random or mixes stimuli: turn dropout, noise and "
                "batch statistics off"
            )
    return selected


def _at_depth(pattern: str, layers: list[Layer]) -> Layer:
    try:
        depth = float(pattern[1:])
    except ValueError:
        depth = -1.0
    if not 0 <= depth <= 1:
        raise InputError(f"layers={pattern!r}; expected a relative depth from '@0' (first) to '@1' (last)")
    plain = [layer for layer in layers if ":" not in layer.name]
    return plain[round(depth * (len(plain) - 1))]


def _why_absent(pattern: str, module: nn.Module) -> str:
    if pattern in dict(module.named_modules(remove_duplicate=False)):
        return (
            "The module exists, but it does not run in the forward pass, is another name of a shared module, "
            "or gives no tensor (batch, ...)"
        )
    return "List them with brainalign.features.list_layers(model)"


def record(
    module: nn.Module,
    forward: Forward | None,
    batch: Any,
    n_stimuli: int,
    layers: list[Layer],
    receive: Callable[[Layer, torch.Tensor], None],
) -> None:
    """Run one batch and hand every wanted output to `receive` the moment it exists.

    The pass ends after the last wanted layer, unless the caller's own `forward` runs it
    (it may have to finish what it began).
    """
    wanted: dict[tuple[str, int], list[Layer]] = {}
    for layer in layers:
        wanted.setdefault((layer.module, layer.call), []).append(layer)
    waiting = set(wanted)

    def on_output(name: str, index: int, output: Any) -> None:
        for layer in wanted.get((name, index), ()):
            receive(layer, _tensor(layer, output, n_stimuli))
        waiting.discard((name, index))
        if not waiting and forward is None:
            raise LastLayerReached

    with torch.no_grad(), hooked(module, {layer.module for layer in layers}, on_output):
        with suppress(LastLayerReached):
            call(module, forward, batch)
        check_modes(*module.modules())
    if waiting:
        name, index = min(waiting)
        raise InputError(
            f"layer {name!r} (call {index}) ran for the first stimulus and not for this batch; the forward "
            "pass depends on its input, so that layer has no activation for every stimulus"
        )


def _tensor(layer: Layer, output: Any, n_stimuli: int) -> torch.Tensor:
    tensor = dict(tensors_of(output)).get(layer.key)
    if tensor is None or tensor.ndim < 2 or tensor.shape[0] != n_stimuli:
        found = "no such tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
        raise ShapeError(
            f"layer {layer.name!r} gave {found} for a batch of {n_stimuli} stimuli; expected "
            f"({n_stimuli}, ...) with one row per stimulus"
        )
    return tensor
