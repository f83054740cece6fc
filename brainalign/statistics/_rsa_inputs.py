"""What enters a comparison over resamples: its measures, the covariance of stimuli, the known pairs.

Imports no torch, so that reading a report does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError

LINEAR = {  # measure: (mean removed, whitened)
    "pearson": (True, False),
    "cosine": (False, False),
    "whitened_cosine": (False, True),
    "whitened_pearson": (True, True),
}
RANKED = ("spearman", "rho_a", "tau_a", "tau_b")
DRAWN_MEASURES = (*LINEAR, *RANKED)
FEWEST_PAIRS = 3


def stimulus_covariance(sigma_k: Any, n: int) -> np.ndarray | None:
    """Return sigma_k as None, variances (n,), or a covariance (n, n) that is not diagonal; checked."""
    if sigma_k is None:
        return None
    sigma = np.asarray(sigma_k, dtype=np.float64)
    if sigma.shape not in ((n,), (n, n)):
        raise ShapeError(
            f"sigma_k has shape {sigma.shape}; expected ({n},) or ({n}, {n}), one row a stimulus"
        )
    if not np.isfinite(sigma).all():
        raise InputError("sigma_k has values that are not finite; give variances of the pattern estimates")
    if sigma.ndim == 2:
        if np.abs(sigma - sigma.T).max() > 1e-9 * np.abs(sigma).max():
            raise InputError("sigma_k is not symmetric; give the covariance of the pattern estimates")
        if not np.count_nonzero(sigma - np.diag(np.diagonal(sigma))):
            sigma = np.diagonal(sigma).copy()
    lowest = float((sigma if sigma.ndim == 1 else np.linalg.eigvalsh(sigma)).min())
    if lowest <= 0:
        raise InputError(
            f"sigma_k is not positive definite (smallest eigenvalue {lowest:.3g}); give a covariance of full "
            "rank, for example shrunk towards its diagonal"
        )
    return sigma


def common_pairs(stack: np.ndarray) -> tuple[np.ndarray, int]:
    """The pairs (n, n) that every RDM of (k, n, n) knows, and how many pairs of stimuli are left out."""
    n = stack.shape[-1]
    mask: np.ndarray = np.isfinite(stack).all(axis=0)
    mask &= mask.T & ~np.eye(n, dtype=bool)
    return mask, n * (n - 1) // 2 - int(mask.sum()) // 2
