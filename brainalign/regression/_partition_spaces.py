"""The form in which feature spaces are partitioned, read into memory once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign.regression._partition_gram import GramSpaces
from brainalign.regression._partition_input import check_finite, check_memory
from brainalign.regression._partition_kernel import STACK_BYTES, KernelSpaces
from brainalign.regression._sources import PAD, open_features, read_tensor
from brainalign.regression._spaces import slices_of

_BLOCK_BYTES = 2**29
N_ALPHAS = 20  # of the default grid

Spaces = GramSpaces | KernelSpaces


def open_spaces(
    spaces: list[Any],
    names: tuple[str, ...],
    rows: np.ndarray[Any, Any],
    weights: torch.Tensor,
    *,
    n_inner: int,
    intercept: bool,
    dtype: torch.dtype,
) -> tuple[Spaces, int]:
    """One Gram matrix of all columns or one kernel a space, and how many targets make a block."""
    device, n = weights.device, len(rows)
    widths = [int(space.shape[1]) for space in spaces]
    p, itemsize = sum(widths), dtype.itemsize
    primal = p < n
    if primal:
        peak = 8 * p * p * (n_inner + 16) + (3 * itemsize + 8) * n * p
    else:
        peak = 8 * n * n * (len(spaces) + 8) + 2 * itemsize * n * max(widths)
        peak += min(STACK_BYTES, N_ALPHAS * itemsize * n * n)
    check_memory(peak, n, p, len(spaces), device)
    per_target = itemsize * (4 * n + (2 * n_inner + 8) * p) if primal else itemsize * 8 * n
    block = max(PAD, _BLOCK_BYTES // per_target // PAD * PAD)
    if primal:
        joined = torch.cat(
            [_read(s, m, rows, dtype, device) for s, m in zip(spaces, names, strict=True)], dim=1
        )
        features = open_features(
            joined,
            weights,
            np.arange(n),
            intercept=intercept,
            dtype=dtype,
            device=device,
            budget=_BLOCK_BYTES,
        )
        return GramSpaces(features, slices_of(widths), weights, intercept=intercept), block
    kernels = []
    for space, name in zip(spaces, names, strict=True):
        values = _read(space, name, rows, dtype, device)
        features = open_features(
            values,
            torch.ones_like(weights),
            np.arange(n),
            intercept=intercept,
            dtype=dtype,
            device=device,
            budget=_BLOCK_BYTES,
        )
        kernels.append(features.kernel())
    return KernelSpaces(kernels, weights, intercept=intercept), block


def _read(
    space: Any, name: str, rows: np.ndarray[Any, Any], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """The kept rows of one space."""
    values = read_tensor(space, slice(None), dtype=dtype, device=device)
    check_finite(name, values)
    return values if len(rows) == len(values) else values[torch.as_tensor(rows, device=device)]
