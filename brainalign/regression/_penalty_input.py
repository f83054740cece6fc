"""What a conversion of penalties is given, read and checked: numbers, and the rows they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign import metrics
from brainalign.errors import InputError, ShapeError

Floats = Any  # a float, a numpy array or a torch tensor: what went in comes out


@dataclass(frozen=True)
class Problem:
    """The rows that a penalty refers to.

    Attributes: `X` (n, p) centred and weighted; `Y` (n, t) as given, or None; `weights`
    (n,); `centred` whether there is an intercept; `one_d` whether Y had one axis.
    """

    X: torch.Tensor
    Y: Any
    weights: torch.Tensor
    centred: bool
    one_d: bool

    @property
    def n(self) -> float:
        """Number of samples: the sum of their weights."""
        return float(self.weights.sum())

    @property
    def n_targets(self) -> int:
        return int(self.Y.shape[1])

    def targets(self, block: slice) -> torch.Tensor:
        """Centred and weighted columns of Y, float64."""
        part = read_tensor("Y", self.Y[:, block], Kind(True, self.X.device))
        return _rows_of_the_fit(part, self.weights, self.centred)

    def largest_singular_value(self) -> torch.Tensor:
        """Of X, from the smaller Gram matrix: the largest one loses no digits by that."""
        X = self.X
        gram = X @ X.T if X.shape[0] <= X.shape[1] else X.T @ X
        return _positive(torch.linalg.eigvalsh(gram)[-1].clamp_min(0).sqrt())

    def mean_squared_norm(self) -> torch.Tensor:
        """Trace of the kernel over n: the mean squared norm of a row."""
        return _positive(self.X.square().sum() / self.n)


def _positive(scale: torch.Tensor) -> torch.Tensor:
    if not bool(scale > 0):
        raise InputError(
            "X has no variance: every column is constant, so penalties relative to X do not exist"
        )
    return scale


@dataclass(frozen=True)
class Kind:
    """What went in, so that the same kind comes out."""

    as_torch: bool
    device: torch.device


def kind_of(penalty: Any, *others: Any) -> Kind:
    """Torch where the penalty, or else the first of the others, is a tensor; on its device."""
    first = next((v for v in (penalty, *others) if isinstance(v, torch.Tensor)), None)
    device = torch.device("cpu") if first is None else first.device
    return Kind(first is not None, device)


def read_tensor(name: str, value: Any, like: Kind) -> torch.Tensor:
    """Real numbers as a float64 tensor on the device of the call."""
    if isinstance(value, torch.Tensor):
        if value.is_complex():
            raise InputError(f"{name} has dtype {value.dtype}; expected real numbers")
        return value.detach().to(like.device, torch.float64)
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} is {str(value)[:60]!r} (dtype {array.dtype}); expected real numbers")
    return torch.as_tensor(np.array(array, dtype=np.float64), device=like.device)


def read_penalties(name: str, value: Any, like: Kind) -> torch.Tensor:
    """Penalties or weights: real, not negative, NaN allowed."""
    numbers = read_tensor(name, value, like)
    if bool((numbers < 0).any()):
        worst = float(numbers[numbers < 0].reshape(-1)[0])
        raise InputError(f"{name} holds {worst:g}; expected numbers that are not negative")
    return numbers


def returned(values: torch.Tensor, like: Kind) -> Floats:
    """The kind that went in: a float, numpy, or torch on its device."""
    if like.as_torch:
        return values
    return float(values) if values.ndim == 0 else values.cpu().numpy()


def read_problem(X: Any, Y: Any, sample_weight: Any, fit_intercept: bool, device: torch.device) -> Problem:
    """Check the arrays; X is centred and its rows are weighted as the fit does it."""
    like = Kind(True, device)
    x = read_tensor("X", X, like)
    if x.ndim != 2 or not x.numel():
        raise ShapeError(f"X has shape {tuple(x.shape)}; expected (n_samples, n_features), neither of them 0")
    if not bool(torch.isfinite(x).all()):
        row = int(torch.nonzero(~torch.isfinite(x).all(1))[0, 0])
        raise InputError(f"X holds NaN or infinity, first in row {row}; remove or replace such rows")
    weights = _row_weights(sample_weight, len(x), like)
    x = _rows_of_the_fit(x, weights, fit_intercept)
    if Y is None:
        return Problem(x, None, weights, fit_intercept, False)
    Y = Y if hasattr(Y, "shape") else np.asarray(Y)
    if len(Y.shape) not in (1, 2) or Y.shape[0] != len(x):
        raise ShapeError(f"X has {len(x)} samples and Y has shape {tuple(Y.shape)}; expected as many rows")
    one_d = len(Y.shape) == 1
    return Problem(x, Y[:, None] if one_d else Y, weights, fit_intercept, one_d)


def _rows_of_the_fit(values: torch.Tensor, weights: torch.Tensor, centred: bool) -> torch.Tensor:
    """Rows centred by their weighted mean (with intercept) and multiplied by the root of their weight."""
    root = weights.sqrt()[:, None]
    if not centred:
        return values * root
    rest = (values - (weights / weights.sum()) @ values) * root
    # of a constant column centring leaves rounding, whose direction and size mean nothing
    constant = torch.as_tensor(metrics.is_constant(values[weights > 0]), device=values.device)
    return torch.where(constant, 0, rest)


def _row_weights(sample_weight: Any, n: int, like: Kind) -> torch.Tensor:
    if sample_weight is None:
        return torch.ones(n, dtype=torch.float64, device=like.device)
    w = read_tensor("sample_weight", sample_weight, like)
    if tuple(w.shape) != (n,):
        raise ShapeError(
            f"sample_weight has shape {tuple(w.shape)}; expected ({n},), one weight per row of X"
        )
    if not bool((w >= 0).all()) or not bool(torch.isfinite(w).all()) or not bool(w.any()):
        raise InputError("sample_weight must be finite, not negative, and above zero somewhere")
    return w
