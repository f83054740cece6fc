"""Noise of sensors over time: multivariate noise normalisation from residuals or from a baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign.comparison.noise import NoisePrecision, as_noise, noise_precision
from brainalign.errors import InputError

TIME_NOISES = ("epoch", "baseline", "per_time")
Noise = NoisePrecision | list[NoisePrecision] | None


def time_noise(
    values: torch.Tensor,
    codes: np.ndarray,
    times: np.ndarray,
    *,
    noise: Any,
    baseline: tuple[float, float] | None,
    shrinkage: str,
) -> Noise:
    """None, one precision for all times, or one for each time, from trials (n_trials, p, n_times).

    ``"epoch"``: the shrunk covariances of the residuals of every time, averaged over times;
    ``"baseline"``: the same over the times of the baseline; ``"per_time"``: one for each time.
    Residuals are trials less the mean of their condition.
    """
    if noise is None:
        return None
    if not isinstance(noise, str):
        return as_noise(noise, values.shape[1])
    if noise not in TIME_NOISES:
        raise InputError(
            f"noise={noise!r}; expected None, 'epoch', 'baseline', 'per_time', or a precision of the channels"
        )
    chosen = _baseline(times, baseline) if noise == "baseline" else np.ones(len(times), dtype=bool)
    residuals, dof = residuals_of(values, codes)
    if dof < 1:
        raise InputError(
            f"noise={noise!r} needs several trials of a condition, and each of the {len(codes)} rows is a "
            "condition of "
            "its own; give single trials, or a precision estimated before"
        )
    found = [
        noise_precision(residuals[:, :, t], shrinkage=shrinkage, dof=dof) for t in np.flatnonzero(chosen)
    ]
    if noise == "per_time":
        return found
    covariance = np.mean([one.covariance() for one in found], axis=0)
    try:
        precision = np.linalg.inv(covariance)
    except np.linalg.LinAlgError:
        raise InputError(
            "the mean noise covariance is singular; choose shrinkage='ledoit_wolf' or leave out dependent "
            "channels"
        ) from None
    return as_noise((precision + precision.T) / 2.0, values.shape[1])


def residuals_of(values: torch.Tensor, codes: np.ndarray) -> tuple[torch.Tensor, int]:
    """Trials less the mean of their condition, and their degrees of freedom."""
    of = torch.from_numpy(np.ascontiguousarray(codes)).to(values.device)
    n = int(codes.max()) + 1
    flat = values.reshape(len(values), -1)
    counts = torch.bincount(of, minlength=n).to(values.dtype)[:, None]
    means = flat.new_zeros(n, flat.shape[1]).index_add_(0, of, flat) / counts.clamp_min(1.0)
    return (flat - means[of]).view(values.shape), len(codes) - len(np.unique(codes))


def _baseline(times: np.ndarray, baseline: tuple[float, float] | None) -> np.ndarray:
    if baseline is None:
        raise InputError("noise='baseline' needs baseline=(start, stop) in seconds (indices for arrays)")
    if np.shape(baseline) != (2,):
        raise InputError(f"baseline={baseline!r}; expected (start, stop) in seconds (indices for arrays)")
    start, stop = baseline
    chosen = (times >= start) & (times <= stop)
    if not chosen.any():
        raise InputError(
            f"baseline=({start:g}, {stop:g}) holds no time; the times go from {times[0]:g} to {times[-1]:g}"
        )
    return np.asarray(chosen)
