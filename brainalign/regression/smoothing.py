"""Ridge as a matrix that is applied to any responses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from brainalign.regression._folds import make_fold
from brainalign.regression._kernel_folds import KernelFolds
from brainalign.regression._penalties import FloatArray


def smoother_matrices(
    X: Any, X_new: Any, alphas: Any, *, sample_weight: Any = None, fit_intercept: bool = True
) -> FloatArray:
    """Matrices that turn training responses into predictions, (n_alphas, n_new, n_samples).

    ``smoother_matrices(X, X_new, [a])[0] @ Y`` equals the predictions of ridge with penalty
    a fitted on (X, Y): refits on permuted responses become one matrix product.

    Parameters
    ----------
    X : (n_samples, n_features); X_new : (n_new, n_features); alphas : (n_alphas,) positive
    sample_weight : (n_samples,), positive

    Cost: the kernel of all rows, and n^3 / 3 + 2 n_new n^2 per penalty; memory n_alphas n_new n
    float64.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> smoother_matrices(X, X[:1], [1e-9])[0].round(3)
    array([[ 0.833,  0.333, -0.167]])
    """
    known, new = (np.asarray(part, dtype=np.float64) for part in (X, X_new))
    rows = np.concatenate([known, new]) - (known.mean(0) if fit_intercept else 0.0)
    weights = np.ones(len(rows))
    if sample_weight is not None:
        weights[: len(known)] = np.asarray(sample_weight)
    fold = make_fold(np.arange(len(known)), np.arange(len(known), len(rows)), len(rows))
    system = KernelFolds(
        torch.as_tensor(rows @ rows.T),
        [fold],
        weights=torch.as_tensor(weights),
        intercept=fit_intercept,
        factored=True,
    )
    penalties = np.atleast_1d(np.asarray(alphas, dtype=np.float64)).tolist()
    return cast(FloatArray, torch.stack([system.operators(alpha)[0] for alpha in penalties]).numpy())
