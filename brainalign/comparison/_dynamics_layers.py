"""States of the same stimuli, or tokens, over the layers of one network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

_SHOWN = 5


def layer_sequence(name: str, layers: Any) -> list[Any]:
    """The layers one by one; refuse what has none."""
    iterable = hasattr(layers, "__iter__") and getattr(layers, "ndim", 1) > 0
    if not iterable or isinstance(layers, (str, bytes, Mapping)):
        raise InputError(
            f"{name} are {type(layers).__name__}; expected an array or a sequence of arrays (n, p)"
        )
    return list(layers)


def layer_stack(name: str, layers: Any) -> np.ndarray:
    """Return the layers as a finite float64 array (n_layers, n, p)."""
    matrices = [plain_array(f"{name}[{i}]", layer) for i, layer in enumerate(layer_sequence(name, layers))]
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) > 1:
        raise ShapeError(
            f"{name} have unequal shapes, {' and '.join(map(str, sorted(shapes)[:2]))}; expected one (n, p)"
        )
    array = np.asarray(matrices)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"{name} have shape {array.shape}; expected (n_layers, n, p), none of them 0")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} have dtype {array.dtype}; expected real numbers")
    out = array.astype(np.float64, copy=False)
    bad = ~np.isfinite(out)
    if bad.any():
        layer, row, unit = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} hold {int(bad.sum())} values that are not finite, first in layer {layer}, row {row}, "
            f"unit {unit}; leave out these rows or units"
        )
    return out


def unit_states(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (..., p) of norm one, and which are not zero; a zero state stays zero."""
    largest = np.abs(states).max(axis=-1, keepdims=True)
    scaled = np.divide(states, largest, out=np.zeros_like(states), where=largest > 0)
    norms = np.linalg.norm(scaled, axis=-1, keepdims=True)
    directions = np.divide(scaled, norms, out=scaled, where=norms > 0)
    return directions, largest[..., 0] > 0


def warn_without_angle(measure: str, where: np.ndarray) -> None:
    """Say which layers, or pairs of layers, have no value."""
    if len(where):
        shown = ", ".join(str(tuple(w) if len(w) > 1 else w[0]) for w in where[:_SHOWN].tolist())
        reason = "have no stimulus that is not zero" if measure == "cosine" else "do not vary over stimuli"
        warnings.warn(
            f"{measure} is NaN for {len(where)} layers or pairs of layers that {reason}: "
            f"{shown}{' ...' if len(where) > _SHOWN else ''}",
            stacklevel=4,
        )
