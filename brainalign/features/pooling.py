"""What is kept of a layer's output: everything, a mean, a coarse grid, one token.

Outputs are read by their number of axes: (batch, unit), (batch, token, unit),
(batch, channel, row, column) or (batch, channel, time, row, column). A layer whose axes
mean something else (channels last, (batch, channel, time)) takes a callable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from brainalign._checks import unknown_name
from brainalign.errors import InputError, ShapeError

Pool = Callable[[torch.Tensor], torch.Tensor]

_GRID = re.compile(r"grid:([1-9]\d*)x([1-9]\d*)")
_AXES = {
    1: ("channel",),
    2: ("token", "channel"),
    3: ("channel", "row", "column"),
    4: ("channel", "time", "row", "column"),
}


def _keep(output: torch.Tensor) -> torch.Tensor:
    return output


def _inner_axes(output: torch.Tensor) -> tuple[int, ...]:
    """Axes over which a unit is repeated: tokens, or time, rows and columns."""
    return (1,) if output.ndim == 3 else tuple(range(2, output.ndim))


def _mean(output: torch.Tensor) -> torch.Tensor:
    axes = _inner_axes(output)
    return output.mean(axes) if axes else output


def _max(output: torch.Tensor) -> torch.Tensor:
    axes = _inner_axes(output)
    return output.amax(axes) if axes else output


def _token(position: int) -> Pool:
    def pool(output: torch.Tensor) -> torch.Tensor:
        if output.ndim != 3:
            raise ShapeError(
                f"the output has shape {tuple(output.shape)}; 'cls' and 'last' need (batch, token, unit)"
            )
        return output[:, position]

    return pool


def _grid(rows: int, columns: int) -> Pool:
    def pool(output: torch.Tensor) -> torch.Tensor:
        if output.ndim == 2:
            return output
        if output.ndim != 4:
            raise ShapeError(
                f"the output has shape {tuple(output.shape)}; 'grid:{rows}x{columns}' needs "
                "(batch, channel, row, column); use 'mean', 'none' or a callable"
            )
        size = (min(rows, output.shape[2]), min(columns, output.shape[3]))
        return output if size == tuple(output.shape[2:]) else functional.adaptive_avg_pool2d(output, size)

    return pool


POOLS: dict[str, Pool] = {
    "none": _keep,
    "flatten": _keep,
    "mean": _mean,
    "max": _max,
    "cls": _token(0),
    "last": _token(-1),
}


def resolve_pool(spec: Any) -> Pool:
    """Return the function of a pooling name, or the callable itself.

    A pooling takes a layer's output (batch, ...) and returns (batch, ...). ``"none"`` and
    ``"flatten"`` keep every unit; ``"mean"`` and ``"max"`` go over tokens, or over time,
    rows and columns; ``"grid:HxW"`` is the adaptive average over H x W cells (a smaller
    map stays as it is, (batch, unit) too); ``"cls"`` and ``"last"`` take the first or the
    last token.

    Raises
    ------
    UnknownNameError
        The name is no pooling.

    Examples
    --------
    >>> resolve_pool("grid:7x7")(torch.zeros(2, 16, 14, 5)).shape
    torch.Size([2, 16, 7, 5])
    """
    if callable(spec):
        pool: Pool = spec
        return pool
    match = _GRID.fullmatch(spec) if isinstance(spec, str) else None
    if match:
        return _grid(int(match[1]), int(match[2]))
    if isinstance(spec, str) and spec in POOLS:
        return POOLS[spec]
    raise unknown_name("pooling", str(spec), [*POOLS, "grid:HxW"], "HxW are rows and columns, e.g. grid:7x7")


def pool_name(spec: Any) -> str:
    """Return the name of a pooling as it is recorded."""
    return spec if isinstance(spec, str) else getattr(spec, "__qualname__", type(spec).__qualname__)


def pools_of_layers(spec: Any, names: list[str], matches: Callable[[str, str], bool]) -> dict[str, Any]:
    """Return {layer: pooling} of one pooling, or of a mapping {layer pattern: pooling}.

    Of several patterns the exact name wins, then the first; a layer that none names
    keeps every unit.

    Raises
    ------
    UnknownNameError
        A pattern matches none of the layers.
    """
    if not isinstance(spec, Mapping):
        resolve_pool(spec)
        return dict.fromkeys(names, spec)
    out: dict[str, Any] = {}
    for pattern, pool in sorted(spec.items(), key=lambda pair: pair[0] not in names):
        resolve_pool(pool)
        hits = [name for name in names if matches(pattern, name)]
        if not hits:
            raise unknown_name("layer", pattern, names, "It is a key of pool= and fits no extracted layer")
        for name in hits:
            out.setdefault(name, pool)
    return {name: out.get(name, "none") for name in names}


def apply_pool(pool: Pool, output: torch.Tensor, layer: str) -> torch.Tensor:
    """Return the pooled output as a tensor of its own, (batch, ...), floating.

    The copy matters: a later in-place ReLU would change the recorded output.
    """
    try:
        pooled = pool(output.detach())
    except ShapeError as error:
        raise ShapeError(f"layer {layer!r}: {error}") from error
    if not isinstance(pooled, torch.Tensor) or pooled.ndim < 2 or pooled.shape[0] != output.shape[0]:
        found = tuple(pooled.shape) if isinstance(pooled, torch.Tensor) else type(pooled).__name__
        raise ShapeError(
            f"layer {layer!r}: the pooling returned {found} for an output of shape {tuple(output.shape)}; "
            f"expected a tensor ({output.shape[0]}, ...) with one row per stimulus"
        )
    if not pooled.is_floating_point():
        raise InputError(f"layer {layer!r}: the pooling returned {pooled.dtype}; expected a floating dtype")
    return pooled.clone()


def unit_table(shape: tuple[int, ...]) -> pd.DataFrame:
    """Return one row per unit of a pooled output of this shape (without batch), in C order.

    Columns: channel; token, channel; channel, row, column; or channel, time, row, column.

    Examples
    --------
    >>> unit_table((2, 1, 2)).to_numpy().tolist()
    [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]
    """
    names = _AXES.get(len(shape), tuple(f"axis_{i}" for i in range(len(shape))))
    positions = np.unravel_index(np.arange(int(np.prod(shape))), shape)
    table = pd.DataFrame({name: p.astype(np.int64) for name, p in zip(names, positions, strict=True)})
    table.index = pd.Index([str(i) for i in range(len(table))], dtype=object, name="unit_id")
    return table
