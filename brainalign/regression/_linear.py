"""Predictions of linear weights, wherever they and the features lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_TARGETS = 4096  # rows of weights in a file that are read at a time


def linear_prediction(X: Any, coef: Any, intercept: Any) -> Any:
    """``X coef' + intercept``; a tensor X gives a tensor on its device, all else numpy.

    Parameters
    ----------
    X : (n, p); coef : (t, p), (p,) or such a dataset in a file; intercept : (t,) or float
    """
    if isinstance(X, torch.Tensor):
        return _in_torch(X, coef, intercept)
    X = np.asarray(X[...])
    if isinstance(coef, torch.Tensor):
        tensor = torch.as_tensor(X, device=coef.device)
        return _in_torch(tensor, coef, intercept).cpu().numpy()
    if isinstance(coef, np.ndarray):
        return X @ coef.T + intercept
    parts = [X @ np.asarray(coef[a : a + _TARGETS]).T for a in range(0, coef.shape[0], _TARGETS)]
    return np.concatenate(parts, axis=1) + intercept


def _in_torch(X: torch.Tensor, coef: Any, intercept: Any) -> torch.Tensor:
    weights = torch.as_tensor(coef if isinstance(coef, torch.Tensor) else np.asarray(coef[...]))
    weights = weights.to(X.device)
    dtype = torch.promote_types(X.dtype, weights.dtype)
    offset = torch.as_tensor(intercept).to(device=X.device, dtype=dtype)
    predicted: torch.Tensor = X.to(dtype) @ weights.to(dtype).T + offset
    return predicted
