"""Response patterns on their way into a distance: numpy or torch, stacks, channels without values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

if TYPE_CHECKING:
    from brainalign.comparison.noise import NoisePrecision


@dataclass(frozen=True, eq=False)
class Patterns:
    """A stack of patterns without gaps.

    `values` (..., n, p) float64, finite, 0 in channels without values; `present` (..., p)
    bool, or None where every channel has values.
    """

    values: torch.Tensor
    present: torch.Tensor | None

    @property
    def n_channels(self) -> Any:
        """Channels with values: one number, or a tensor (..., 1, 1) where it differs."""
        if self.present is None:
            return self.values.shape[-1]
        return self.present.sum(-1)[..., None, None].to(self.values.dtype)


def to_tensor(name: str, x: Any) -> tuple[torch.Tensor, bool]:
    """Return x as a float64 tensor on its device, and whether it came as a tensor."""
    if isinstance(x, torch.Tensor):
        if x.is_complex():
            raise InputError(f"{name} has dtype {x.dtype}; expected real numbers")
        return x.to(torch.float64), True
    array = plain_array(name, x)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    with warnings.catch_warnings():
        # a read-only array is never written to
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)), False


def like_input(out: torch.Tensor, was_tensor: bool) -> Any:
    """Return a result as the caller's kind of array."""
    return out if was_tensor else out.numpy()


def as_patterns(name: str, values: torch.Tensor) -> Patterns:
    """Check a stack (..., n_stimuli, n_units): finite but for channels that are NaN in all its rows."""
    shape = tuple(values.shape)
    if values.ndim < 2:
        raise ShapeError(
            f"{name} has shape {shape}; expected 2 axes (n_stimuli, n_units), or more in front for a stack"
        )
    if 0 in shape:
        raise ShapeError(f"{name} has shape {shape}; expected at least one stimulus and one unit")
    if bool(torch.isfinite(values.sum())):
        return Patterns(values, None)
    gaps = torch.isnan(values)
    present = ~gaps.all(dim=-2)
    bad = ~torch.isfinite(values) & present[..., None, :]
    if bool(bad.any()):
        first = torch.nonzero(bad)[0].tolist()
        place = f", of position {tuple(first[:-2])} of the stack" if len(first) > 2 else ""
        raise InputError(
            f"{name} has {int(bad.sum())} values that are not finite, first in row {first[-2]}, unit "
            f"{first[-1]}{place}; leave out these units or stimuli before the comparison (only a unit that "
            "is NaN in every row is left out here)"
        )
    return Patterns(torch.where(gaps, 0.0, values), None if bool(present.all()) else present)


def whitened(
    values: torch.Tensor, present: torch.Tensor | None, noise: NoisePrecision | None
) -> torch.Tensor:
    """Whiten the rows of a stack (..., rows, p); channels without values (NaN or 0) count for nothing.

    Where channels are missing the covariance of the remaining ones is inverted: rows and
    columns of the precision itself would belong to another (conditional) covariance.
    """
    if noise is None:
        return values
    if present is None:
        return noise.whiten_tensor(values)
    out = torch.zeros_like(values)
    flat = present.reshape(-1, present.shape[-1])
    rows, target = values.reshape(-1, *values.shape[-2:]), out.view(-1, *values.shape[-2:])
    distinct, of = torch.unique(flat, dim=0, return_inverse=True)
    for number, mask in enumerate(distinct):
        channels = torch.nonzero(mask)[:, 0]
        if len(channels) == 0:
            continue
        members = torch.nonzero(of == number)[:, 0]
        part = rows[members][..., channels]
        target[members, :, : len(channels)] = noise.select(channels).whiten_tensor(part)
    return out


def differences(products: torch.Tensor) -> torch.Tensor:
    """(a_i - a_j).(b_i - b_j) for all i, j from the products a_i.b_j (..., n, n), exactly symmetric."""
    own = products.diagonal(dim1=-2, dim2=-1)
    return own[..., :, None] + own[..., None, :] - (products + products.mT)


def warn_empty(empty: torch.Tensor, stacklevel: int) -> None:
    """Count the RDMs of a stack that have no channel at all."""
    if bool(empty.any()):
        warnings.warn(
            f"{int(empty.sum())} of {empty.numel()} RDMs have no unit with values; they are NaN",
            stacklevel=stacklevel + 1,
        )
