"""Scores per target: how close predicted responses are to observed ones.

Every function takes ``observed`` and ``predicted`` of shape (n_samples, n_targets), numpy
arrays or torch tensors, works along the samples, and returns one value per target, higher
is closer. A target whose observed values are constant has no score: NaN. A constant
prediction of a varying target scores 0 in `pearson`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from brainalign._checks import lookup
from brainalign.errors import InputError, ShapeError


def _namespace(array: Any) -> Any:
    """Return torch for tensors and numpy for everything else, without importing torch."""
    if type(array).__module__.partition(".")[0] == "torch":
        import torch

        return torch
    return np


def _real(array: Any) -> Any:
    """Tensors as they are, everything else as a floating numpy array."""
    if _namespace(array) is not np:
        return array
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.kind in "iub" else array


def _pair(observed: Any, predicted: Any, minimum: int) -> tuple[Any, Any, Any]:
    observed, predicted = _real(observed), _real(predicted)
    if observed.shape != predicted.shape:
        raise ShapeError(
            f"observed has shape {tuple(observed.shape)}, predicted {tuple(predicted.shape)}; "
            "they must be equal"
        )
    if observed.shape[0] < minimum:
        raise ShapeError(
            f"this score needs at least {minimum} test samples, found {observed.shape[0]}; use "
            "'neg_mean_squared_error', larger folds, or pooled scoring"
        )
    xp = _namespace(observed)
    return xp, observed, predicted


def is_constant(values: Any, *, dtype: Any = None) -> Any:
    """Tell which columns vary by no more than rounding, (n_targets,) boolean.

    A column is constant when its values span at most ten units of rounding of `dtype`
    (default: the dtype of `values`) times its largest magnitude: 0.1 that went through
    float32 is constant although its computed variance is not zero.
    """
    xp = _namespace(values)
    if values.shape[0] == 0:
        return xp.ones(values.shape[1:], dtype=xp.bool if xp is not np else np.bool_)
    eps = _eps(values.dtype if dtype is None else dtype)
    low, high = (values.amin(0), values.amax(0)) if xp is not np else (values.min(0), values.max(0))
    return high - low <= 10 * eps * xp.maximum(abs(low), abs(high))


def _eps(dtype: Any) -> float:
    if type(dtype).__module__.partition(".")[0] == "torch":
        import torch

        return float(torch.finfo(dtype).eps)
    return float(np.finfo(dtype).eps)


def _largest(array: Any) -> Any:
    """Largest magnitude of each column, 1 for a column of zeros.

    Squares of responses in tesla (1e-13) leave the range of float32: sums of squares are
    taken of columns divided by this.
    """
    xp = _namespace(array)
    top = abs(array).amax(0) if xp is not np else abs(array).max(0)
    return xp.where(top > 0, top, xp.ones_like(top))


def pearson(observed: Any, predicted: Any) -> Any:
    """Pearson correlation of observed and predicted responses.

    Parameters
    ----------
    observed, predicted : arrays (n_samples, n_targets)

    Returns
    -------
    array (n_targets,), in [-1, 1]; NaN where `observed` is constant, 0 where only
    `predicted` is.

    Raises
    ------
    ShapeError
        The shapes differ or there are fewer than 2 samples.

    Examples
    --------
    >>> pearson(np.array([[1.0], [2.0], [3.0]]), np.array([[2.0], [4.0], [6.0]]))
    array([1.])
    """
    xp, y, p = _pair(observed, predicted, 2)
    flat_y, flat_p = is_constant(y), is_constant(p)
    y, p = y - y.mean(0), p - p.mean(0)
    y, p = y / _largest(y), p / _largest(p)
    norm = ((y * y).sum(0) * (p * p).sum(0)) ** 0.5
    zero = xp.zeros_like(norm)
    r = xp.where(flat_p | (norm == 0), zero, (y * p).sum(0) / xp.where(norm == 0, zero + 1, norm))
    return xp.where(flat_y, zero + float("nan"), xp.clip(r, -1.0, 1.0))


def _wide(values: Any) -> Any:
    """The same in float64: sums of squares of float32 responses lose the digits of a small score."""
    return values.astype(np.float64) if _namespace(values) is np else values.double()


def _one_minus_ratio(y: Any, p: Any, reference: Any) -> Any:
    xp = _namespace(y)
    # a prediction that is the reference to its own rounding scores what the reference does
    size = xp.maximum(abs(reference), abs(p[:1])[0])
    same = xp.all(abs(p - reference) <= 10 * _eps(p.dtype) * size, 0)
    p = xp.where(same, reference + 0 * p, p)
    scale = _largest(y - reference)
    total = (((y - reference) / scale) ** 2).sum(0)
    zero = xp.zeros_like(total)
    ratio = (((y - p) / scale) ** 2).sum(0) / xp.where(total == 0, zero + 1, total)
    return xp.where(is_constant(y) | (total == 0), zero + float("nan"), 1 - ratio)


def r2(observed: Any, predicted: Any) -> Any:
    """Coefficient of determination against the mean of the test samples (scikit-learn's).

    Returns
    -------
    array (n_targets,), at most 1, unbounded below; NaN where `observed` is constant. A
    constant prediction scores at most 0.
    """
    xp, y, p = _pair(observed, predicted, 2)
    flat, y = is_constant(p), _wide(y)
    score = _one_minus_ratio(y, p, y.mean(0))
    # no constant is closer than the mean: what is above 0 is rounding
    return xp.where(flat & (score > 0), xp.zeros_like(score), score)


def r2_train_mean(observed: Any, predicted: Any, train_mean: Any) -> Any:
    """Coefficient of determination against the mean of the training samples.

    Parameters
    ----------
    observed, predicted : arrays (n_samples, n_targets)
    train_mean : array (n_targets,), the mean response of the training samples

    Returns
    -------
    array (n_targets,), at most 1; predicting the training mean scores exactly 0.

    Raises
    ------
    ShapeError
        The shapes differ, there are fewer than 2 samples, or `train_mean` has another
        shape than one value per target.
    """
    _, y, p = _pair(observed, predicted, 2)
    reference = _real(train_mean)
    if tuple(reference.shape) != tuple(y.shape[1:]):
        raise ShapeError(
            f"train_mean has shape {tuple(reference.shape)}; expected one value per target, "
            f"{tuple(y.shape[1:])}"
        )
    return _one_minus_ratio(_wide(y), p, _wide(reference))


def explained_variance(observed: Any, predicted: Any) -> Any:
    """One minus the variance of the error over the variance of the responses.

    Unlike `r2` it ignores a constant offset of the predictions.
    """
    _, y, p = _pair(observed, predicted, 2)
    return _one_minus_ratio(y, p - p.mean(0) + y.mean(0), y.mean(0))


def neg_mean_squared_error(observed: Any, predicted: Any) -> Any:
    """Mean squared error with its sign turned, so that higher is closer."""
    _, y, p = _pair(observed, predicted, 1)
    return -((y - p) ** 2).mean(0)


METRICS: dict[str, Callable[..., Any]] = {
    "explained_variance": explained_variance,
    "neg_mean_squared_error": neg_mean_squared_error,
    "pearson": pearson,
    "r2": r2,
    "r2_train_mean": r2_train_mean,
}
"""The metrics by name; `r2_train_mean` takes the training mean as a third argument."""


def score(name: str, observed: Any, predicted: Any, *, train_mean: Any = None) -> Any:
    """Score predictions by the name of a metric; `train_mean` serves `r2_train_mean` alone."""
    metric = lookup("metric", name, METRICS)
    if metric is r2_train_mean:
        if train_mean is None:
            raise InputError(
                "the metric 'r2_train_mean' needs train_mean=, the mean response of the training samples; "
                "'r2' uses that of the test samples"
            )
        return metric(observed, predicted, train_mean)
    return metric(observed, predicted)
