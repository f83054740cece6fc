"""Each unit predicted from few units of another system, over a sweep of L1 penalties."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path

from brainalign.comparison._option_checks import whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._unit_curves import (
    FloatArray,
    centred_columns,
    check_stimuli,
    scaled_columns,
    varying,
)
from brainalign.comparison._unit_folds import check_cv, stimulus_folds
from brainalign.errors import InputError
from brainalign.metrics import r2_train_mean

ALPHAS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class SparsePrediction:
    """Units of y predicted from few units of x (direction x -> y).

    Parameters
    ----------
    alphas : array (n_alphas,), largest first
    r2 : array (n_alphas, q), held-out, mean over folds; at most 1, 0 for the training mean
    n_sources : array (n_alphas, q), units of x with a weight, in the fit on all stimuli
    weights : array (n_alphas, p, q), of that fit, for z-scored units
    """

    alphas: FloatArray
    r2: FloatArray
    n_sources: FloatArray
    weights: FloatArray

    @property
    def support(self) -> np.ndarray:
        """Which units of x predict which unit of y, (n_alphas, p, q) bool."""
        out: np.ndarray = np.nan_to_num(self.weights) != 0
        return out

    def to_frame(self) -> pd.DataFrame:
        """Error against number of sources: one row per alpha, means over the units of y that have a fit."""
        known = ~np.isnan(self.r2) & ~np.isnan(self.n_sources)
        count = known.sum(axis=1)
        with np.errstate(invalid="ignore"):
            means = [np.where(known, v, 0.0).sum(axis=1) / count for v in (self.r2, self.n_sources)]
        return pd.DataFrame({"alpha": self.alphas, "r2": means[0], "n_sources": means[1], "n_units": count})


def sparse_prediction(
    x: Any,
    y: Any,
    *,
    alphas: Sequence[float] | FloatArray = ALPHAS,
    cv: int = 5,
    max_iter: int = 5000,
    random_state: int = 0,
) -> SparsePrediction:
    """Predict each unit of y from few units of x, for a sweep of L1 penalties.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
        Sources are the units of x, targets those of y.
    alphas : L1 penalties, positive, for z-scored sources and targets: a source whose partial
        correlation is below alpha gets no weight; from 1 on no source has one
    cv : folds of the held-out r2, each of at least 3 stimuli
    max_iter : most sweeps of the coordinate descent
    random_state : seed of the folds

    Returns
    -------
    SparsePrediction, alphas largest first. NaN, with a warning that counts them, for units
    of y that do not vary (over all stimuli, or over the training or test stimuli of a fold),
    and for penalties at which the descent did not converge.

    Raises
    ------
    InputError
        Penalties that are not positive and finite, `cv` or `max_iter` out of range; and as in
        `compare`.
    ShapeError
        A test fold of fewer than 3 stimuli, different numbers of rows.

    Notes
    -----
    Minimises ``|y_j - X w|^2 / (2 n) + alpha |w|_1`` per unit of y, by coordinate descent on
    the Gram matrix of x, warm started from the larger penalty. Means and standard deviations
    are those of the training stimuli. Invariant to a positive factor and a shift of each unit
    and to the order of units; not to rotation. Cost: (cv + 1) times O(n p (p + q)) for the
    Gram and q paths of O(p^2) a sweep; O(n_alphas p q + p^2) memory. Source: Li et al. 2016,
    arXiv:1511.07543 (sparse mapping between networks); Friedman, Hastie & Tibshirani 2010,
    doi:10.18637/jss.v033.i01 (coordinate descent).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 6))
    >>> found = sparse_prediction(x, x[:, [0]] - x[:, [4]], alphas=[0.2])
    >>> np.flatnonzero(found.support[0, :, 0]).tolist()
    [0, 4]
    """
    first, second = paired(x, y)
    penalties = _check_alphas(alphas)
    check_stimuli("sparse_prediction", len(first))
    n_folds = check_cv(cv, len(first))
    max_iter = whole_number("max_iter", max_iter, low=1)
    first, second = scaled_columns(first), scaled_columns(second)
    weights = _paths(first, second, penalties, max_iter)
    r2 = np.zeros((len(penalties), second.shape[1]))
    for train, test in stimulus_folds(len(first), n_folds, random_state):
        r2 += _fold_r2(first, second, train, test, penalties, max_iter) / n_folds
    sources = np.where(np.isnan(weights).any(axis=1), np.nan, (weights != 0).sum(axis=1))
    _warn_missing(r2, sources)
    return SparsePrediction(penalties, r2, sources, weights)


def _check_alphas(alphas: Sequence[float] | FloatArray) -> FloatArray:
    """Penalties as a falling float64 array."""
    found = np.asarray(alphas)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "fiu":
        raise InputError(f"alphas={alphas!r}; expected one or more positive, finite penalties")
    values = found.astype(np.float64)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise InputError(f"alphas={alphas!r}; expected one or more positive, finite penalties")
    return np.unique(values)[::-1].copy()


@dataclass(frozen=True)
class _Standard:
    """Mean and standard deviation of the training stimuli; `varies` says where there is one."""

    mean: FloatArray
    deviation: FloatArray
    varies: np.ndarray

    def of(self, values: FloatArray) -> FloatArray:
        return (values - self.mean) / self.deviation


def _standard(values: FloatArray) -> _Standard:
    centred = centred_columns(values)
    norms = np.linalg.norm(centred, axis=0)
    varies = varying(values, norms)
    deviation = np.where(varies, norms / np.sqrt(len(values)), 1.0)
    return _Standard(values.mean(axis=0), deviation, varies)


def _paths(x: FloatArray, y: FloatArray, alphas: FloatArray, max_iter: int) -> FloatArray:
    """Weights (n_alphas, p, q) for z-scored units; NaN for a target without one or not converged."""
    source, target = _standard(x), _standard(y)
    out = np.zeros((len(alphas), x.shape[1], y.shape[1]))
    out[:, :, ~target.varies] = np.nan
    rows = np.asfortranarray(source.of(x)[:, source.varies])
    if not rows.shape[1]:
        return out
    observed = np.asfortranarray(target.of(y))
    gram, cross = np.ascontiguousarray(rows.T @ rows), np.asfortranarray(rows.T @ observed)
    places = np.flatnonzero(source.varies)
    for j in np.flatnonzero(target.varies):
        out[:, places, j] = _path(rows, observed[:, j], gram, cross[:, j], alphas, max_iter)
    return out


def _path(
    rows: FloatArray,
    target: FloatArray,
    gram: FloatArray,
    cross: FloatArray,
    alphas: FloatArray,
    max_iter: int,
) -> FloatArray:
    """Weights (n_alphas, n_sources) of one unit; NaN where the duality gap stayed above tolerance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, coefficients, gaps = lasso_path(
            rows, target, alphas=alphas, precompute=gram, Xy=cross, max_iter=max_iter, tol=_TOLERANCE,
            check_input=False,
        )  # fmt: skip
    out: FloatArray = coefficients.T.copy()
    # the descent stops at a gap of tol |y|^2, and |y|^2 = n for a z-scored unit
    out[gaps > 2 * _TOLERANCE] = np.nan
    return out


def _fold_r2(
    x: FloatArray, y: FloatArray, train: Any, test: Any, alphas: FloatArray, max_iter: int
) -> FloatArray:
    """r2 (n_alphas, q) on the test stimuli against the mean of the training stimuli."""
    source, target = _standard(x[train]), _standard(y[train])
    weights = _paths(x[train], y[train], alphas, max_iter)
    rows, observed = source.of(x[test]), target.of(y[test])
    out = np.full((len(alphas), y.shape[1]), np.nan)
    good = target.varies & varying(y[test], np.linalg.norm(centred_columns(y[test]), axis=0))
    zero = np.zeros(int(good.sum()))
    for i, w in enumerate(weights):
        if len(zero):
            predicted = rows @ np.nan_to_num(w[:, good])
            out[i, good] = r2_train_mean(observed[:, good], predicted, zero)
        out[i, np.isnan(w).any(axis=0)] = np.nan
    return out


def _warn_missing(r2: FloatArray, sources: FloatArray) -> None:
    """Count the fits without a value, with the reason."""
    missing = int((np.isnan(r2) | np.isnan(sources)).sum())
    if missing:
        warnings.warn(
            f"{missing} of {r2.size} fits (units of y times penalties) are NaN: the unit does not vary over "
            "the stimuli of the fit or of a test fold, or the descent did not converge (raise max_iter, or "
            "leave out the smallest penalties)",
            stacklevel=3,
        )
