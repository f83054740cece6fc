"""Noise of spheres: covariances of many sets of units at once, shrunk and inverted in batches.

The covariance of a sphere is inverted, not cut out of a precision, which would belong to the
covariance given all units outside the sphere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign._checks import one_of
from brainalign.comparison._distance_inputs import to_tensor
from brainalign.comparison._noise_forms import DenseForm, FactorForm, Form, PrecisionForm
from brainalign.comparison.noise import SHRINKAGES, NoisePrecision, as_noise, noise_precision
from brainalign.errors import InputError, ShapeError

_DENSE_BYTES = 2**29


class SphereNoise:
    """A noise covariance over all units; `roots` gives the Cholesky factors of many spheres."""

    def __init__(self, noise: NoisePrecision, device: torch.device) -> None:
        self.form = _gathered(noise.form.to(device))

    def covariances(self, units: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Covariances (c, s, s) of spheres (c, s)."""
        return self.form.covariance(units)

    def roots(self, units: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower factors (c, s, s) and which covariances are singular (c,).

        `units` (c, s) any valid unit where `present` is False; there the factor is the identity.
        """
        both = present[:, :, None] & present[:, None, :]
        covariance = torch.where(both, self.covariances(units, present), 0.0)
        variances = covariance.diagonal(dim1=1, dim2=2)
        # unit variances first: units of other scales must not pass for a singular matrix
        scale = torch.where(present & (variances > 0), variances, 1.0).rsqrt()
        covariance = covariance * scale[:, :, None] * scale[:, None, :]
        covariance.diagonal(dim1=1, dim2=2)[~present] = 1.0
        lower, info = torch.linalg.cholesky_ex(covariance)
        tiny = present.shape[1] * torch.finfo(lower.dtype).eps
        singular = (info != 0) | ~(lower.diagonal(dim1=1, dim2=2).square() > tiny).all(1)
        lower[singular] = torch.eye(present.shape[1], dtype=lower.dtype, device=lower.device)
        return lower / scale[:, :, None], singular


class ResidualNoise(SphereNoise):
    """Noise estimated from the residuals of each sphere alone, with its own intensity of shrinkage."""

    def __init__(self, rows: torch.Tensor, shrinkage: str, dof: float) -> None:
        self.n, p = rows.shape
        # intensities of shrinkage take fourth powers, which leave float64 in units of 1e-80 or 1e80
        self.unit = 2.0 ** float(torch.frexp(rows.abs().max())[1])
        rows = rows / self.unit
        self.dof, self.shrinkage = dof, shrinkage
        self.form = _gathered(FactorForm(rows.new_zeros(p), rows / dof**0.5))
        self.totals = rows.square().sum(0)
        squares = rows.square()
        if shrinkage == "schaefer_strimmer":
            squares = squares * (dof / self.totals)
        # one zero row more: what pads a sphere adds nothing
        self.squares = torch.cat([squares.T, squares.new_zeros(1, self.n)]).contiguous()
        self.fourth = squares.square().sum(0)

    def roots(self, units: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As in `SphereNoise`, in the units of the residuals."""
        lower, singular = super().roots(units, present)
        return torch.where(present[:, :, None], lower * self.unit, lower), singular

    def covariances(self, units: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Covariances (c, s, s) of spheres (c, s), of residuals divided by `unit`."""
        both = present[:, :, None] & present[:, None, :]
        sample = torch.where(both, self.form.covariance(units), 0.0)
        if self.shrinkage == "none":
            return sample
        own = sample.diagonal(dim1=1, dim2=2)
        sizes = present.sum(1).to(sample.dtype)
        if self.shrinkage == "schaefer_strimmer":
            weight, target = self._towards_variances(sample, units, present, sizes), own
        else:
            weight = self._towards_identity(sample, units, present, sizes)
            target = (own.sum(1) / sizes)[:, None].expand_as(own)
        out = (1.0 - weight)[:, None, None] * sample
        out.diagonal(dim1=1, dim2=2).add_(weight[:, None] * target)
        return out

    def _row_norms(self, units: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Squared norm of each residual row over the units of each sphere, (c, n_rows)."""
        index = torch.where(present, units, len(self.squares) - 1)
        return torch.nn.functional.embedding_bag(index, self.squares, mode="sum")

    def _towards_identity(
        self, sample: torch.Tensor, units: torch.Tensor, present: torch.Tensor, k: torch.Tensor
    ) -> torch.Tensor:
        """The intensities of `_noise_shrinkage.ledoit_wolf` and `oas`, one a sphere."""
        n = self.n
        squared = sample.square().sum((1, 2)) * (self.dof / n) ** 2
        mean = sample.diagonal(dim1=1, dim2=2).sum(1) * self.dof / (n * k)
        if self.shrinkage == "oas":
            alpha = squared / k**2
            below = (n + 1) * (alpha - mean**2 / k)
            weight = ((alpha + mean**2) / torch.where(below > 0, below, 1.0)).clamp_max(1.0)
            return torch.where(below > 0, weight, 1.0)
        norms = self._row_norms(units, present)
        distance = (squared - k * mean**2) / k
        error = (norms.square().sum(1) / n - squared) / (n * k)
        error = torch.minimum(error.clamp_min(0.0), distance)
        return torch.where(error > 0, error / torch.where(error > 0, distance, 1.0), 0.0)

    def _towards_variances(
        self, sample: torch.Tensor, units: torch.Tensor, present: torch.Tensor, k: torch.Tensor
    ) -> torch.Tensor:
        """The intensity of `_noise_shrinkage.schaefer_strimmer`, one a sphere."""
        n, dof = self.n, self.dof
        scale = torch.where(present, sample.diagonal(dim1=1, dim2=2), 1.0).rsqrt()
        gram = (sample * scale[:, :, None] * scale[:, None, :]).square().sum((1, 2)) * dof**2
        correlations = (gram - k * dof**2) / (n - 1) ** 2
        norms = self._row_norms(units, present)
        own = torch.where(present, self.fourth[units], 0.0).sum(1)
        fourth = (norms.square().sum(1) - own) / (n - 1)
        variances = n / dof**2 * (fourth - correlations)
        usable = correlations > 0
        weight = (variances / torch.where(usable, correlations, 1.0)).clamp(0.0, 1.0)
        return torch.where(usable, weight, 1.0)


def _gathered(form: Form) -> Form:
    """A form whose covariances of spheres are cheap: entries of one matrix where it fits 512 MB."""
    if isinstance(form, PrecisionForm):
        return form.dense()
    p = form.n_channels
    if isinstance(form, FactorForm) and 8 * p * p <= _DENSE_BYTES:
        return DenseForm(form.covariance(torch.arange(p, device=form.variances.device)))
    return form


def diagonal_precision(noise: NoisePrecision) -> bool:
    """Whether units have independent noise, so that whitening all at once whitens every sphere."""
    form = noise.form
    if isinstance(form, FactorForm):
        return len(form.factor) == 0
    values = form.values
    return bool((values - torch.diag(values.diagonal()) == 0).all())


def residual_rows(residuals: Any, n_units: int, device: torch.device) -> tuple[torch.Tensor, np.ndarray]:
    """Residuals (n_rows, n_units) less their means, and the units that can be estimated (n_units,)."""
    rows, _ = to_tensor("residuals", residuals)
    if rows.ndim != 2 or rows.shape[1] != n_units:
        raise ShapeError(
            f"residuals have shape {tuple(rows.shape)}; expected (n_rows, {n_units}), one column a "
            "voxel of values"
        )
    if len(rows) < 2:
        raise ShapeError(f"residuals have {len(rows)} rows; a covariance needs at least 2")
    rows = rows.to(device)
    finite = torch.isfinite(rows).all(0)
    rows = rows.masked_fill(~finite, 0.0)
    centred = rows - rows.mean(0)
    # what a constant unit leaves is the rounding of its mean
    eps = torch.finfo(torch.float64).eps
    constant = centred.abs().amax(0) <= len(rows) * eps * rows.abs().amax(0)
    good = finite & ~constant
    if not bool(good.any()):
        raise InputError(
            "every voxel has residuals that are constant or not finite; there is no noise to divide by"
        )
    return centred.masked_fill(~good, 0.0), good.cpu().numpy()


def noise_of(
    noise: Any,
    residuals: torch.Tensor | None,
    usable: np.ndarray,
    *,
    shrinkage: str,
    dof: float | None,
    device: torch.device,
) -> tuple[NoisePrecision | None, SphereNoise | None]:
    """A diagonal precision of the usable units (whitens once), or the noise of spheres of all units."""
    if noise is not None:
        found = as_noise(noise, len(usable))
        assert found is not None
        if diagonal_precision(found):
            return found.select(usable), None
        return None, SphereNoise(found, device)
    if residuals is None:
        return None, None
    one_of("shrinkage", shrinkage, SHRINKAGES)
    degrees = len(residuals) - 1.0 if dof is None else float(dof)
    if not degrees >= 1:
        raise InputError(f"dof={degrees:g} is below 1; expected the residual rows less the fitted regressors")
    if shrinkage == "diagonal":
        index = torch.as_tensor(np.flatnonzero(usable), device=residuals.device)
        return noise_precision(residuals[:, index], shrinkage="diagonal", dof=degrees), None
    return None, ResidualNoise(residuals, shrinkage, degrees)
