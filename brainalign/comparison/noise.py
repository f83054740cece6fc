"""Noise precision of response channels from residuals, shrunk, and never larger than it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign.comparison import _noise_shrinkage as intensity
from brainalign.comparison._distance_inputs import like_input, to_tensor
from brainalign.comparison._noise_forms import DenseForm, FactorForm, Form, PrecisionForm, mean_form
from brainalign.errors import InputError, ShapeError

SHRINKAGES = ("none", "diagonal", "ledoit_wolf", "oas", "schaefer_strimmer")


@dataclass(frozen=True, eq=False)
class NoisePrecision:
    """The inverse of a noise covariance over channels, made by `noise_precision`.

    `shrinkage` its name; `shrinkage_` the weight of the target in [0, 1]; `n_rows` and
    `dof` of the residuals (None for a precision matrix that was given). Methods take numpy
    or torch and return the same kind; they may be called with channels left out.
    """

    form: Form = field(repr=False)
    shrinkage: str
    shrinkage_: float
    n_rows: int | None = None
    dof: float | None = None

    @property
    def n_channels(self) -> int:
        """Number of channels p."""
        return self.form.n_channels

    def whiten(self, values: Any) -> Any:
        """Return rows (..., p) whose inner products are x' precision y, (..., p) float64.

        Cost per row: p r for r residual rows fewer than p, else p^2.
        """
        tensor, was_tensor = to_tensor("values", values)
        if tensor.ndim == 0 or tensor.shape[-1] != self.n_channels:
            raise ShapeError(
                f"values have shape {tuple(tensor.shape)}; expected {self.n_channels} channels, those of the "
                "noise precision, on the last axis"
            )
        return like_input(self.whiten_tensor(tensor), was_tensor)

    def whiten_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """`whiten` of a float64 tensor (..., p), on its device."""
        form = self.form.to(values.device) if _device(self.form) != values.device else self.form
        with full_precision():
            return form.whiten(values)

    def select(self, channels: Any) -> NoisePrecision:
        """Return the precision of some channels (indices or a mask): the inverse of the sub-covariance.

        Not the rows and columns of the precision, which belong to the covariance given all
        other channels. The intensity of shrinkage stays that of all channels.
        """
        return NoisePrecision(
            self.form.select(self._index(channels)), self.shrinkage, self.shrinkage_, self.n_rows, self.dof
        )

    def covariance(self, channels: Any = None) -> np.ndarray:
        """Return the shrunk covariance (p, p), or those of sets of channels (..., k) -> (..., k, k)."""
        out: np.ndarray = self.form.covariance(self._index(channels)).cpu().numpy()
        return out

    def matrix(self) -> np.ndarray:
        """Return the precision itself, (p, p) float64; nothing else here needs that much memory."""
        with full_precision():
            out: np.ndarray = self.form.matrix().cpu().numpy()
        return out

    def _index(self, channels: Any) -> torch.Tensor:
        device = _device(self.form)
        if channels is None:
            return torch.arange(self.n_channels, device=device)
        index = torch.as_tensor(channels, device=device)
        if index.dtype == torch.bool:
            if index.shape != (self.n_channels,):
                raise ShapeError(
                    f"channels is a mask of shape {tuple(index.shape)}; the noise has {self.n_channels} "
                    "channels"
                )
            return torch.nonzero(index)[:, 0]
        outside = (index < 0) | (index >= self.n_channels)
        if bool(outside.any()):
            raise InputError(
                f"channels name {int(index[outside][0])}; the noise has the channels 0 to "
                f"{self.n_channels - 1}"
            )
        return index.to(torch.long)


def noise_precision(
    residuals: Any, *, shrinkage: str = "ledoit_wolf", dof: float | None = None
) -> NoisePrecision:
    """Estimate the noise precision of response channels.

    Parameters
    ----------
    residuals : array (n_rows, p), numpy or torch
        What is left of the responses when the effect of the stimuli is taken out: the
        residuals of a GLM, or trials less the mean of their condition. The mean of every
        channel is removed here.
    shrinkage : target and intensity

        - ``"none"``: the sample covariance S; needs more rows than channels
        - ``"diagonal"``: the variances alone
        - ``"ledoit_wolf"`` (default): towards the mean variance, ``(1 - w) S + w tr(S)/p I``
        - ``"oas"``: the same target, the intensity that is optimal for Gaussian noise
        - ``"schaefer_strimmer"``: towards the variances, ``(1 - w) S + w diag(S)``
    dof : degrees of freedom that the sum of squares is divided by
        Default n_rows - 1. Give ``n_rows - n_regressors`` for residuals of a GLM and
        ``n_trials - n_conditions`` for trials less the mean of their condition. With
        ``dof=n_rows`` the Ledoit-Wolf and OAS covariances are those of scikit-learn.

    Returns
    -------
    NoisePrecision, with `whiten`, `select`, `covariance`, `matrix`, `n_channels`, `shrinkage_`

    Raises
    ------
    ShapeError
        Not a matrix, or fewer than 2 rows.
    InputError
        Values that are not finite; a channel that is constant; residuals whose squares no float64
        holds; dof below 1 or above n_rows; fewer rows than channels, or channels that repeat one
        another, without shrinkage or with an intensity of 0 (as two rows give); an unknown name.

    Notes
    -----
    The intensity depends on `dof` for Schaefer-Strimmer alone. With fewer rows than
    channels no (p, p) matrix is formed: O(n_rows^2 p) time and O(n_rows p) memory, by the
    identity of Woodbury; otherwise O(n_rows p^2 + p^3) and O(p^2). Sources: Ledoit & Wolf
    2004, doi:10.1016/S0047-259X(03)00096-4; Chen et al. 2010, doi:10.1109/TSP.2010.2053029;
    Schaefer & Strimmer 2005, doi:10.2202/1544-6115.1175. Departure: the two intensities of
    the identity target are found with divisor n_rows, as their papers do, and the shrunk
    covariance is then multiplied by n_rows / dof.

    Examples
    --------
    >>> residuals = np.random.default_rng(0).normal(size=(20, 300))
    >>> noise = noise_precision(residuals)
    >>> noise.n_channels, noise.whiten(residuals).shape
    (300, (20, 300))
    """
    one_of("shrinkage", shrinkage, SHRINKAGES)
    rows = _checked(residuals)
    n, p = rows.shape
    dof = n - 1.0 if dof is None else float(dof)
    if not 1 <= dof <= n:
        raise InputError(
            f"dof={dof:g} is not between 1 and the {n} residual rows; expected the rows less the fitted "
            "regressors"
        )
    if shrinkage == "none" and n <= p:
        raise InputError(
            f"residuals have {n} rows and {p} channels; a covariance without shrinkage needs more rows than "
            "channels: choose shrinkage='ledoit_wolf' or 'diagonal', or give more rows"
        )
    with full_precision():
        # the intensities hold fourth powers, which overflow or vanish long before the variances do
        size = float(_largest(rows).max())
        if not 1e-150 < size < 1e150:
            raise InputError(
                f"the largest residual is {size:.3g}; its square is no float64 number: give residuals and "
                "responses in another unit"
            )
        weight, form = _shrunk(rows / size, shrinkage, dof, size)
    return NoisePrecision(form, shrinkage, weight, n, dof)


def as_noise(noise: Any, n_channels: int) -> NoisePrecision | None:
    """Return None, a `NoisePrecision` or a (p, p) precision array as a `NoisePrecision` of n_channels."""
    if noise is None:
        return None
    found = noise if isinstance(noise, NoisePrecision) else _given(noise)
    if found.n_channels != n_channels:
        raise ShapeError(
            f"noise has {found.n_channels} channels and the responses have {n_channels}; estimate it from "
            "the same channels, or select them with noise.select(channels)"
        )
    return found


def mean_noise(first: NoisePrecision, second: NoisePrecision) -> NoisePrecision:
    """Return the precision of the mean of two covariances."""
    forms = [f.dense() if isinstance(f, PrecisionForm) else f for f in (first.form, second.form)]
    return NoisePrecision(mean_form(*forms), "mean", float("nan"))


def _given(noise: Any) -> NoisePrecision:
    values = to_tensor("noise", noise)[0].detach()
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ShapeError(
            f"noise has shape {tuple(values.shape)}; expected a precision matrix (n_channels, n_channels) or "
            "the result of noise_precision"
        )
    if not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all()):
        raise InputError("noise has values that are not finite; estimate it from channels that have values")
    if torch.equal(values, values.T):
        return NoisePrecision(PrecisionForm(values), "given", float("nan"))
    if not torch.allclose(values, values.T, rtol=1e-6, atol=1e-9 * float(values.abs().max())):
        raise InputError("noise is not symmetric; a precision matrix equals its transpose")
    return NoisePrecision(PrecisionForm((values + values.T) / 2), "given", float("nan"))


def _checked(residuals: Any) -> torch.Tensor:
    """Centred rows (n, p) with some variance in every channel."""
    rows = to_tensor("residuals", residuals)[0].detach()
    if rows.ndim != 2:
        raise ShapeError(f"residuals have shape {tuple(rows.shape)}; expected 2 axes (n_rows, n_channels)")
    if rows.shape[0] < 2 or rows.shape[1] < 1:
        raise ShapeError(f"residuals have shape {tuple(rows.shape)}; expected at least 2 rows and 1 channel")
    # a finite sum has no term that is not
    if not bool(torch.isfinite(rows.sum())) and bool((bad := ~torch.isfinite(rows)).any()):
        row, channel = torch.nonzero(bad)[0].tolist()
        raise InputError(
            f"residuals have {int(bad.sum())} values that are not finite, first in row {row}, channel "
            f"{channel}; leave these channels out of residuals and responses alike"
        )
    centred = rows - rows.mean(0)
    # what a constant channel leaves is the rounding of its mean
    eps = float(torch.finfo(torch.float64).eps)
    constant = _largest(centred) <= len(rows) * eps * _largest(rows)
    if bool(constant.any()):
        raise InputError(
            f"{int(constant.sum())} of {rows.shape[1]} channels of the residuals are constant (first: "
            f"channel {int(torch.nonzero(constant)[0])}); they have no noise to divide by: leave them out"
        )
    return centred


def _largest(rows: torch.Tensor) -> torch.Tensor:
    """Largest absolute value of each column, without a copy."""
    low, high = torch.aminmax(rows, dim=0)
    return torch.maximum(high, -low)


def _shrunk(rows: torch.Tensor, shrinkage: str, dof: float, size: float) -> tuple[float, Form]:
    """Intensity and covariance size^2 ((1 - w) rows'rows / dof + w target); one Gram matrix serves both."""
    squares = rows.square().sum(0) / dof
    target = squares if shrinkage in _OWN_VARIANCES else squares.mean().expand(len(squares))
    if shrinkage == "diagonal":
        return 1.0, FactorForm(target * size**2, rows[:0])
    standard = rows * target.rsqrt()
    gram = intensity.smaller_gram(standard)
    weight = _INTENSITIES[shrinkage](standard, gram, dof)
    if weight >= 1:
        return 1.0, FactorForm(target * size**2, rows[:0])
    kept = (1.0 - weight) / dof
    if len(rows) < rows.shape[1]:
        if weight < len(rows) * torch.finfo(rows.dtype).eps:
            raise InputError(
                f"shrinkage={shrinkage!r} finds an intensity of {weight:.3g} in {len(rows)} residual rows, "
                f"which leaves the covariance of {rows.shape[1]} channels singular: give more rows, or "
                "choose shrinkage='diagonal'"
            )
        factor = rows * (size * kept**0.5)
        return weight, FactorForm(target * (weight * size**2), factor, gram * (kept / weight))
    root = target.sqrt() * size
    values = gram * (kept * root) * root[:, None]
    values.diagonal().add_(target * (weight * size**2))
    form = DenseForm(values)
    form.whiten(target)  # a singular covariance is refused here, not at its first use
    return weight, form


_OWN_VARIANCES = ("none", "diagonal", "schaefer_strimmer")
_INTENSITIES: dict[str, Callable[[torch.Tensor, torch.Tensor, float], float]] = {
    "none": lambda standard, gram, dof: 0.0,
    "ledoit_wolf": lambda standard, gram, dof: intensity.ledoit_wolf(standard, gram),
    "oas": lambda standard, gram, dof: intensity.oas(standard, gram),
    "schaefer_strimmer": intensity.schaefer_strimmer,
}


def _device(form: Form) -> torch.device:
    return form.variances.device if isinstance(form, FactorForm) else form.values.device
