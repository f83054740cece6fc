"""Which units will be extracted, found out on one stimulus, and the rows of activations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from brainalign.errors import DeviceError, InputError, ShapeError
from brainalign.features.inputs import StimulusReader, batches, stack
from brainalign.features.layers import Layer, matches, probe, record, select_layers
from brainalign.features.models import Network
from brainalign.features.pooling import Pool, apply_pool, pools_of_layers, resolve_pool

SHARD_STIMULI = 64
_SHARD_BYTES = 2**28
_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)


@dataclass(frozen=True)
class Part:
    """One layer of the plan: its pooling, what remains per stimulus, and its columns in a row."""

    layer: Layer
    spec: Any
    pool: Pool
    shape: tuple[int, ...]
    columns: slice


@dataclass(frozen=True)
class Plan:
    """All layers side by side: `n_units` columns of `dtype` per stimulus."""

    parts: tuple[Part, ...]
    n_units: int
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        return self.n_units * self.dtype.itemsize

    def shards(self, n_stimuli: int) -> list[range]:
        """Rows of each shard; the edges depend on the units alone, not on batches or threads."""
        step = max(1, min(SHARD_STIMULI, _SHARD_BYTES // max(self.row_bytes, 1)))
        return [range(i, min(i + step, n_stimuli)) for i in range(0, n_stimuli, step)]


@contextmanager
def prepared(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Hold the module on the device in eval mode; give its flags and its device back.

    Raises
    ------
    DeviceError
        The module lies on several devices.
    """
    flags = [(m, m.training) for m in module.modules()]
    homes = {t.device for t in itertools.chain(module.parameters(), module.buffers())}
    if len(homes) > 1:
        raise DeviceError(
            f"the module lies on several devices ({', '.join(sorted(map(str, homes)))}); move it to one first"
        )
    moves = bool(homes) and homes != {device}
    try:
        module.eval()
        if moves:
            module.to(device)
        yield
    finally:
        for child, training in flags:
            child.training = training
        if moves:
            module.to(homes.pop())


def make_plan(
    network: Network, reader: StimulusReader, patterns: list[str], pool: Any, dtype: str, device: torch.device
) -> Plan:
    """Run the first stimulus, select the layers that ran, and measure what the poolings keep."""
    pair = stack([reader.input(0)] * 2, device)
    ran = probe(network.module, network.forward, pair)
    layers = select_layers(patterns, ran, network.module)
    specs = pools_of_layers(pool, [layer.name for layer in layers], matches)
    pooled: dict[str, tuple[int, ...]] = {}

    def receive(layer: Layer, output: torch.Tensor) -> None:
        pooled[layer.name] = tuple(apply_pool(resolve_pool(specs[layer.name]), output, layer.name).shape[1:])

    record(network.module, network.forward, pair, 2, layers, receive)
    edges = np.cumsum([0, *(int(np.prod(pooled[layer.name])) for layer in layers)]).tolist()
    parts = tuple(
        Part(layer, specs[layer.name], resolve_pool(specs[layer.name]), pooled[layer.name], slice(low, high))
        for layer, low, high in zip(layers, edges, edges[1:], strict=False)
    )
    return Plan(parts, edges[-1], np.dtype(dtype))


def activations(
    network: Network,
    reader: StimulusReader,
    rows: range,
    plan: Plan,
    *,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], Any],
) -> np.ndarray:
    """Return the activations of some stimuli, (n_rows, plan.n_units); `advance` hears of each batch."""
    block = np.empty((len(rows), plan.n_units), plan.dtype)
    parts = {part.layer.name: part for part in plan.parts}
    for batch_rows, batch in batches(reader, rows, batch_size, device):
        names = [reader.ids[row] for row in batch_rows]
        where = slice(batch_rows.start - rows.start, batch_rows.stop - rows.start)

        def receive(
            layer: Layer, output: torch.Tensor, names: list[str] = names, where: slice = where
        ) -> None:
            part = parts[layer.name]
            pooled = apply_pool(part.pool, output, layer.name)
            if tuple(pooled.shape[1:]) != part.shape:
                raise ShapeError(
                    f"layer {layer.name!r} keeps shape {tuple(pooled.shape[1:])} for stimulus {names[0]!r} "
                    f"and {part.shape} for the first one; stimuli of unequal size need a pooling such "
                    "as 'mean'"
                )
            block[where, part.columns] = _cast(pooled.flatten(1), plan.dtype, layer.name, names)

        record(network.module, network.forward, batch, len(names), [p.layer for p in plan.parts], receive)
        advance(len(names))
    return block


def _cast(pooled: torch.Tensor, dtype: np.dtype[Any], layer: str, names: list[str]) -> np.ndarray:
    """Return the activations in the wanted dtype; refuse what is not finite before or after."""
    exact = pooled.float() if pooled.dtype == torch.bfloat16 else pooled
    values = exact.cpu().numpy()
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"layer {layer!r} has activations that are not finite (NaN or inf) for stimulus "
            f"{names[int(bad.argmax())]!r} ({int(bad.sum())} of {len(names)} in its batch); the network or "
            "its preprocessing is broken there"
        )
    with np.errstate(over="ignore", under="ignore"):
        cast = values.astype(dtype)
    if cast.dtype == np.float16 and cast.dtype != values.dtype:
        _check_half(values, cast, layer, names)
    return cast


def _check_half(values: np.ndarray, cast: np.ndarray, layer: str, names: list[str]) -> None:
    over = ~np.isfinite(cast).all(axis=1)
    largest = np.abs(values).max(axis=1)
    under = (largest > 0) & (largest < _SMALLEST_NORMAL)
    for bad, what in ((over, "overflows"), (under, "underflows")):
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"dtype='float16' {what} in layer {layer!r} for stimulus {names[row]!r} (largest magnitude "
                f"{largest[row]:.3g}; float16 holds {_SMALLEST_NORMAL:.1g} to 65504); use dtype='float32'"
            )
