"""Noise ceilings of RSA at every time."""

from __future__ import annotations

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import complete_triangles, unit_rows
from brainalign.statistics._rsa_inputs import LINEAR
from brainalign.statistics.rsa_ceiling import rsa_noise_ceiling


def time_ceilings(rdms: np.ndarray, measure: str) -> np.ndarray:
    """Lower and upper ceiling (n_times, 2); NaN for one subject, and where an RDM is missing or constant."""
    out = np.full((rdms.shape[1], 2), np.nan)
    if len(rdms) < 2 or measure in ("bures", "neg_riemannian"):
        return out
    usable = np.isfinite(rdms).all(axis=(0, 2, 3))
    if measure in LINEAR:
        out[usable] = _linear_ceilings(rdms[:, usable], measure)
        return out
    off = ~np.eye(rdms.shape[-1], dtype=bool)
    for t in np.flatnonzero(usable):
        if (np.ptp(rdms[:, t][:, off], axis=1) > 0).all():
            ceiling = rsa_noise_ceiling(rdms[:, t], measure=measure)
            assert ceiling.low is not None
            assert ceiling.high is not None
            out[t] = ceiling.low[0], ceiling.high[0]
    return out


def _linear_ceilings(rdms: np.ndarray, measure: str) -> np.ndarray:
    """Ceilings (n_times, 2) of all times from the products of subjects: pools are sums of unit vectors."""
    s, t, n, _ = rdms.shape
    if t == 0:
        return np.empty((0, 2))
    units = unit_rows(complete_triangles(rdms.reshape(-1, n, n)), measure).reshape(s, t, -1).permute(1, 0, 2)
    with full_precision():
        rows = (units @ units.mT).sum(2)
    whole = rows.sum(1, keepdim=True)
    others = (whole - 2.0 * rows + 1.0).clamp_min(0.0).sqrt()
    lower = ((rows - 1.0) / others).mean(1)
    return np.asarray(torch.stack([lower, whole[:, 0].clamp_min(0.0).sqrt() / s], dim=1).numpy())
