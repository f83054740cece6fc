"""Predictions of rows that were left out, each target with its own penalty."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from brainalign._linalg import eigh_psd
from brainalign.regression._folds import Fold


def held_out_predictions(
    X: torch.Tensor,
    Y: torch.Tensor,
    folds: Sequence[Fold],
    alphas: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    intercept: bool = True,
) -> list[torch.Tensor]:
    """Predictions of the test rows of each fold by ridge on its training rows.

    Parameters
    ----------
    X : (n, p); Y : (n, t)
    folds : folds of these rows
    alphas : (t,) one penalty per target, positive
    weights : (n,) trials behind each row, or None
    intercept : remove the weighted mean of the training rows

    Returns
    -------
    list of (n_test, t), in the dtype of `Y`

    Notes
    -----
    One eigendecomposition of the smaller of X'X and XX' per fold, in float64, then
    4 m^2 t with m = min(p, n_train): every target is multiplied once, whatever its penalty.
    """
    return [_predict(X, Y, fold, alphas, weights, intercept) for fold in folds]


def _predict(
    X: torch.Tensor,
    Y: torch.Tensor,
    fold: Fold,
    alphas: torch.Tensor,
    weights: torch.Tensor | None,
    intercept: bool,
) -> torch.Tensor:
    rows, test = X[fold.train].to(torch.float64), X[fold.test].to(torch.float64)
    root = torch.ones(len(rows), dtype=torch.float64, device=X.device)
    if weights is not None:
        root = weights[fold.train].to(root).sqrt()
    share = root.square() / root.square().sum() if intercept else torch.zeros_like(root)
    x_mean = share @ rows
    y_mean = share.to(Y.dtype) @ Y[fold.train]
    rows, test = (rows - x_mean) * root[:, None], test - x_mean
    targets = (Y[fold.train] - y_mean) * root.to(Y.dtype)[:, None]
    dual = rows.shape[1] >= rows.shape[0]
    values, vectors = eigh_psd(rows @ rows.T if dual else rows.T @ rows)
    left = (test @ rows.T if dual else test) @ vectors
    right = vectors.T if dual else (rows @ vectors).T
    shrink = 1 / (values[:, None] + alphas.to(values))
    # directions in which the training rows do not vary hold rounding alone
    shrink[values <= len(values) * torch.finfo(values.dtype).eps * values.max().clamp_min(1e-300)] = 0
    predicted: torch.Tensor = left.to(Y.dtype) @ (shrink.to(Y.dtype) * (right.to(Y.dtype) @ targets))
    return predicted + y_mean
