"""The distances themselves: stacks of patterns (..., n, p) in, stacks of RDMs (..., n, n) out."""

from __future__ import annotations

import warnings

import torch

from brainalign.comparison._distance_inputs import Patterns, differences, whitened
from brainalign.comparison.noise import NoisePrecision
from brainalign.errors import InputError, ShapeError

POISSON_PRIOR = 1.0
POISSON_WEIGHT = 0.1
# warnings name the line that called rdm: _angular, the form, _evaluate, the distance, rdm, that line
_STACKLEVEL = 6


def sq_euclidean(patterns: Patterns) -> torch.Tensor:
    """Mean over channels of the squared differences."""
    out: torch.Tensor = _squared(patterns.values) / patterns.n_channels
    return out


def euclidean(patterns: Patterns) -> torch.Tensor:
    """Root of the mean squared difference."""
    return sq_euclidean(patterns).sqrt()


def mahalanobis(patterns: Patterns, noise: NoisePrecision) -> torch.Tensor:
    """Squared differences in the metric of the noise, over the number of channels."""
    # centring first keeps the digits that a large common offset would cost in the whitening
    centred = patterns.values - patterns.values.mean(-2, keepdim=True)
    out: torch.Tensor = _squared(whitened(centred, patterns.present, noise)) / patterns.n_channels
    return out


def correlation(patterns: Patterns) -> torch.Tensor:
    """1 - Pearson r over channels."""
    values = patterns.values
    if values.shape[-1] < 2:
        raise ShapeError(
            f"x has shape {tuple(values.shape)}; a correlation over units needs at least 2 units"
        )
    means = values.sum(-1, keepdim=True) / patterns.n_channels
    centred = values - means
    if patterns.present is not None:
        centred = centred * patterns.present[..., None, :]
    # a constant row leaves rounding of its mean, never exactly zero
    tolerance = values.shape[-1] * torch.finfo(values.dtype).eps * values.abs().amax(-1)
    return _angular(centred, tolerance, "have the same response in every unit", "correlation")


def cosine(patterns: Patterns) -> torch.Tensor:
    """1 - cosine of the angle between two patterns."""
    values = patterns.values
    return _angular(values, torch.zeros_like(values[..., 0]), "have no response in any unit", "cosine")


def poisson(patterns: Patterns) -> torch.Tensor:
    """Symmetrised Kullback-Leibler divergence of Poisson rates, over the number of channels."""
    rates = poisson_rates(patterns.values)
    logs = rates.log()
    rates = rates - rates.mean(-2, keepdim=True)
    logs = logs - logs.mean(-2, keepdim=True)
    out: torch.Tensor = _positive(differences(rates @ logs.mT)) / patterns.n_channels
    return out


def poisson_rates(counts: torch.Tensor) -> torch.Tensor:
    """Counts shrunk towards the prior rate, so that none is zero; negative counts are refused."""
    negative = counts < 0
    if bool(negative.any()):
        first = torch.nonzero(negative)[0].tolist()
        raise InputError(
            f"x has {int(negative.sum())} negative values, first in row {first[-2]}, unit {first[-1]}; the "
            "Poisson distance is one of counts or rates: give them before any baseline or z-score is taken"
        )
    return (counts + POISSON_WEIGHT * POISSON_PRIOR) / (1.0 + POISSON_WEIGHT)


def _squared(values: torch.Tensor) -> torch.Tensor:
    """Squared distances between the rows of each matrix of a stack."""
    # centring changes no difference and keeps the digits that a large common offset would cost
    centred = values - values.mean(-2, keepdim=True)
    return _positive(differences(centred @ centred.mT))


def _positive(squares: torch.Tensor) -> torch.Tensor:
    """Rounding below zero removed, and the diagonal exactly zero; squares that overflow are refused."""
    if not bool(torch.isfinite(squares.sum())):
        raise InputError(
            "x has values so large that their squares are no float64 numbers (beyond about 1e150); give "
            "the responses in a larger unit"
        )
    out = squares.clamp_min(0.0)
    out.diagonal(dim1=-2, dim2=-1).zero_()
    return out


def _angular(rows: torch.Tensor, tolerance: torch.Tensor, reason: str, name: str) -> torch.Tensor:
    # an angle has no size: squares of very large or small responses would be infinite or zero
    largest = rows.abs().amax(-1)
    size = torch.where(largest > 0, largest, 1.0)
    rows = rows / size[..., None]
    norms = torch.linalg.vector_norm(rows, dim=-1)
    constant = (norms <= tolerance / size) | (largest == 0)
    unit = rows / torch.where(constant, torch.nan, norms)[..., None]
    products = unit @ unit.mT
    out = (1.0 - (products + products.mT) / 2.0).clamp(0.0, 2.0)
    out.diagonal(dim1=-2, dim2=-1).zero_()
    if bool(constant.any()):
        first = torch.nonzero(constant)[0].tolist()
        place = f" of position {tuple(first[:-1])} of the stack" if len(first) > 1 else ""
        warnings.warn(
            f"{int(constant.sum())} of {constant.numel()} stimuli {reason} (first: row {first[-1]}{place}); "
            f"their {name} distances are NaN",
            stacklevel=_STACKLEVEL,
        )
    return out
