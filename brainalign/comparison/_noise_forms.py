"""Covariances of noise in the form that is cheapest to invert, to select from and to average."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from brainalign.errors import InputError

_SINGULAR = (
    "the noise covariance of {n} channels cannot be inverted: it is singular, or nearly so. Shrink it "
    "(shrinkage='ledoit_wolf'), give more residual rows, or leave out channels that repeat others"
)


@dataclass(frozen=True, eq=False)
class FactorForm:
    """Covariance diag(d) + F'F: `variances` d (p,) > 0, `factor` F (r, p) with r < p, r may be 0.

    With B = F diag(d)^-1/2, I + B B' = L L' and A = L^-1 B the precision is
    diag(d)^-1/2 (I - A'A) diag(d)^-1/2 (Woodbury), and I - A'TA with T = (L + I)^-1 L a root of
    the bracket (Andrews 1968, AIAA Journal 6, 1165, for the filter of Kalman). `gram`: B B' (r, r)
    where it is known already.
    """

    variances: torch.Tensor
    factor: torch.Tensor
    gram: torch.Tensor | None = None

    @property
    def n_channels(self) -> int:
        return len(self.variances)

    @cached_property
    def _scale(self) -> torch.Tensor:
        out: torch.Tensor = self.variances.rsqrt()
        return out

    @cached_property
    def _half(self) -> tuple[torch.Tensor, torch.Tensor]:
        """L (r, r) and A (r, p)."""
        scaled = self.factor * self._scale
        inner = scaled @ scaled.T if self.gram is None else self.gram.clone()
        # of a target that weighs next to nothing the 1 is lost in rounding
        lost = torch.finfo(inner.dtype).eps * float(inner.trace()) > 1.0
        inner.diagonal().add_(1.0)
        lower, info = torch.linalg.cholesky_ex(inner)
        if lost or int(info) != 0:
            raise InputError(_SINGULAR.format(n=self.n_channels))
        return lower, torch.linalg.solve_triangular(lower, scaled, upper=False)

    @cached_property
    def _turn(self) -> torch.Tensor:
        """T (r, r)."""
        lower = self._half[0]
        shifted = lower.clone()
        shifted.diagonal().add_(1.0)
        out: torch.Tensor = torch.linalg.solve_triangular(shifted, lower, upper=False)
        return out

    def matrix(self) -> torch.Tensor:
        """The precision (p, p)."""
        half = self._half[1] * self._scale
        out: torch.Tensor = (half.T @ half).neg_()
        out.diagonal().add_(1.0 / self.variances)
        return out

    def whiten(self, values: torch.Tensor) -> torch.Tensor:
        scaled = values * self._scale
        if len(self.factor) == 0:
            return scaled
        half = self._half[1]
        return scaled - (scaled @ half.T @ self._turn) @ half

    def select(self, channels: torch.Tensor) -> Form:
        variances, factor = self.variances[channels], self.factor[:, channels]
        if len(factor) < len(channels) or len(factor) == 0:
            return FactorForm(variances, factor)
        return DenseForm(torch.diag(variances) + factor.T @ factor)

    def covariance(self, channels: torch.Tensor) -> torch.Tensor:
        """Covariances of sets of channels (..., k), (..., k, k)."""
        factor = self.factor.T[channels]
        return factor @ factor.mT + torch.diag_embed(self.variances[channels])

    def to(self, device: torch.device) -> FactorForm:
        gram = None if self.gram is None else self.gram.to(device)
        return FactorForm(self.variances.to(device), self.factor.to(device), gram)


@dataclass(frozen=True, eq=False)
class DenseForm:
    """A full covariance (p, p), inverted through its Cholesky factor."""

    values: torch.Tensor

    @property
    def n_channels(self) -> int:
        return len(self.values)

    @cached_property
    def _root(self) -> torch.Tensor:
        """W (p, p) with W W' = inverse of the covariance."""
        # unit variances first: channels in other units must not pass for a singular matrix
        scale = self.values.diagonal().rsqrt()
        lower, info = torch.linalg.cholesky_ex(self.values * scale * scale[:, None])
        tiny = self.n_channels * torch.finfo(self.values.dtype).eps
        if int(info) != 0 or not bool((lower.diagonal().square() > tiny).all()):
            raise InputError(_SINGULAR.format(n=self.n_channels))
        identity = torch.eye(self.n_channels, dtype=lower.dtype, device=lower.device)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        out: torch.Tensor = inverse.T * scale[:, None]
        return out

    def matrix(self) -> torch.Tensor:
        """The precision (p, p)."""
        return self._root @ self._root.T

    def whiten(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self._root

    def select(self, channels: torch.Tensor) -> Form:
        return DenseForm(self.covariance(channels))

    def covariance(self, channels: torch.Tensor) -> torch.Tensor:
        """Covariances of sets of channels (..., k), (..., k, k)."""
        return self.values[channels[..., :, None], channels[..., None, :]]

    def to(self, device: torch.device) -> DenseForm:
        return DenseForm(self.values.to(device))


@dataclass(frozen=True, eq=False)
class PrecisionForm:
    """A precision matrix that the caller gave, (p, p), symmetric with no negative eigenvalue."""

    values: torch.Tensor

    @property
    def n_channels(self) -> int:
        return len(self.values)

    @cached_property
    def _root(self) -> torch.Tensor:
        """W (p, p) with W W' = the precision."""
        lower: torch.Tensor
        lower, info = torch.linalg.cholesky_ex(self.values)
        if int(info) == 0:
            return lower
        # positive semi-definite, such as a pseudo-inverse: at 30 times the cost
        values, vectors = torch.linalg.eigh(self.values)
        largest = float(values[-1])
        if float(values[0]) < -1e-8 * max(largest, 0.0) or largest <= 0:
            raise InputError(
                f"noise is no precision matrix: its eigenvalues run from {float(values[0]):.3g} to "
                f"{largest:.3g}; expected a symmetric matrix whose eigenvalues are positive"
            )
        out: torch.Tensor = vectors * values.clamp_min(0.0).sqrt()
        return out

    def matrix(self) -> torch.Tensor:
        """The precision (p, p), as it was given."""
        _ = self._root  # one that is none is refused
        return self.values

    def whiten(self, values: torch.Tensor) -> torch.Tensor:
        return values @ self._root

    def select(self, channels: torch.Tensor) -> Form:
        """Invert the covariance of some channels: a Schur complement of the precision."""
        rest = torch.ones(self.n_channels, dtype=torch.bool, device=self.values.device)
        rest[channels] = False
        others = torch.nonzero(rest)[:, 0]
        kept = self.values[channels][:, channels]
        if len(others) == 0:
            return PrecisionForm(kept)
        between = self.values[channels][:, others]
        lower, info = torch.linalg.cholesky_ex(self.values[others][:, others])
        if int(info) != 0:
            raise InputError(_SINGULAR.format(n=self.n_channels))
        half = torch.linalg.solve_triangular(lower, between.T, upper=False)
        return PrecisionForm(kept - half.T @ half)

    def covariance(self, channels: torch.Tensor) -> torch.Tensor:
        """Covariances of sets of channels (..., k), (..., k, k)."""
        return self.dense().covariance(channels)

    def dense(self) -> DenseForm:
        """The covariance itself."""
        lower, info = torch.linalg.cholesky_ex(self.values)
        if int(info) != 0:
            raise InputError(_SINGULAR.format(n=self.n_channels))
        return DenseForm(torch.cholesky_inverse(lower))

    def to(self, device: torch.device) -> PrecisionForm:
        return PrecisionForm(self.values.to(device))


Form = FactorForm | DenseForm | PrecisionForm


def mean_form(first: Form, second: Form) -> Form:
    """The mean of two covariances, without a (p, p) matrix where neither has one."""
    if isinstance(first, FactorForm) and isinstance(second, FactorForm):
        factor = torch.cat([first.factor, second.factor]) * 0.5**0.5
        if len(factor) < first.n_channels:
            return FactorForm((first.variances + second.variances) / 2, factor)
    everything = torch.arange(first.n_channels, device=_device(first))
    return DenseForm((first.covariance(everything) + second.covariance(everything)) / 2)


def _device(form: Form) -> torch.device:
    return form.variances.device if isinstance(form, FactorForm) else form.values.device
