"""The score of one joint model divided among the feature spaces whose predictions it adds up."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.errors import ShapeError
from brainalign.metrics import is_constant


def product_measure(observed: Any, contributions: Any, *, offset: Any = None, reference: Any = None) -> Any:
    """Divide R2 of a joint prediction among the spaces (product measure).

    Parameters
    ----------
    observed : array (n_samples, n_targets), numpy or torch
    contributions : array (n_spaces, n_samples, n_targets), what each space adds to the
        joint prediction
    offset : array (n_targets,), what no space contributes: the joint prediction is the sum
        of the contributions plus it. None: the mean of `observed` less that of the summed
        contributions, so that the joint prediction has no bias.
    reference : array (n_targets,), the prediction that scores 0. None: the mean of
        `observed` (`metrics.r2`); the mean of the training rows makes it
        `metrics.r2_train_mean`.

    Returns
    -------
    array (n_spaces, n_targets), which sums to the R2 of the joint prediction. A part may be
    negative, and exceed 1, where contributions cancel. NaN where `observed` is constant.

    Raises
    ------
    ShapeError
        `contributions` is not (n_spaces, n_samples, n_targets) for the shape of `observed`,
        or there are fewer than 2 samples.

    Notes
    -----
    With y and p relative to the reference, ``R2 = sum p (2 y - p) / sum y^2`` is linear in
    the first p, so ``R2_j = sum p_j (2 y - p) / sum y^2`` (Dupre la Tour et al. 2022, DOI
    10.1016/j.neuroimage.2022.119728). For least squares on its own training rows this is the
    classical product of standardised weight and correlation (Pratt). Departure: where the
    offset is not the reference (the mean of the training rows is not that of the test rows)
    the difference goes to all spaces in equal parts, as Shapley values do; the paper assumes
    both are zero. Cost: 6 n_spaces n_samples n_targets.

    Examples
    --------
    >>> y = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    >>> product_measure(y, np.stack([0.5 * y, 0.5 * y])).ravel().tolist()
    [0.5, 0.5]
    """
    observed, contributions = _checked(observed, contributions)
    joint = contributions.sum(0)
    reference = observed.mean(0) if reference is None else reference
    offset = observed.mean(0) - joint.mean(0) if offset is None else offset
    flat = is_constant(observed)
    scale = _scale(observed - reference)  # squares of responses in tesla leave float32
    y = (observed - reference) / scale
    share = (offset - reference) / scale / contributions.shape[0]
    slope = 2 * y - (joint + offset - reference) / scale
    total = (y * y).sum(0)
    parts = ((contributions / scale + share) * slope).sum(1)
    return _masked(parts, total, flat)


def split_correlation(observed: Any, contributions: Any) -> Any:
    """Divide the Pearson correlation of a joint prediction among the spaces.

    Parameters
    ----------
    observed : array (n_samples, n_targets), numpy or torch
    contributions : array (n_spaces, n_samples, n_targets), what each space adds to the
        joint prediction; a constant added to any of them changes nothing

    Returns
    -------
    array (n_spaces, n_targets), which sums to the correlation of `observed` with the summed
    contributions; a part may be negative or exceed 1. 0 where the sum is constant, NaN where
    `observed` is.

    Raises
    ------
    ShapeError
        `contributions` is not (n_spaces, n_samples, n_targets) for the shape of `observed`,
        or there are fewer than 2 samples.

    Notes
    -----
    ``r_j = cov(p_j, y) / (sd(p) sd(y))`` (St-Yves & Naselaris 2018, DOI
    10.1016/j.neuroimage.2017.06.035). Cost: 5 n_spaces n_samples n_targets.

    Examples
    --------
    >>> y = np.array([[1.0], [2.0], [3.0]])
    >>> split_correlation(y, np.stack([2.0 * y, 1.0 * y])).round(3).ravel().tolist()
    [0.667, 0.333]
    """
    observed, contributions = _checked(observed, contributions)
    joint = contributions.sum(0)
    flat = is_constant(observed)
    still = is_constant(joint)
    y, p = observed - observed.mean(0), joint - joint.mean(0)
    y_scale, p_scale = _scale(y), _scale(p)
    y, p = y / y_scale, p / p_scale
    norm = ((y * y).sum(0) * (p * p).sum(0)) ** 0.5
    parts = (contributions / p_scale * y).sum(1)  # y is centred: the means of the parts drop out
    parts = parts * ~still
    return _masked(parts, norm + still * 1.0, flat)


def _is_tensor(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _checked(observed: Any, contributions: Any) -> tuple[Any, Any]:
    if not _is_tensor(observed):
        observed, contributions = (_floating(np.asarray(a)) for a in (observed, contributions))
    expected = tuple(observed.shape)
    found = tuple(contributions.shape)
    if len(expected) != 2 or len(found) != 3 or found[1:] != expected or found[0] < 1:
        raise ShapeError(
            f"observed has shape {expected} and contributions {found}; expected (n_samples, n_targets) and "
            "(n_spaces, n_samples, n_targets) with at least one space"
        )
    if expected[0] < 2:
        raise ShapeError(f"observed has {expected[0]} samples; a score needs at least 2")
    return observed, contributions


def _floating(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _scale(values: Any) -> Any:
    """Largest magnitude of each column, 1 for a column of zeros."""
    top = abs(values).amax(0) if _is_tensor(values) else abs(values).max(0)
    return top + (top == 0)


def _masked(parts: Any, total: Any, flat: Any) -> Any:
    """`parts` / `total`, NaN where the observed responses are constant."""
    nothing = flat | (total == 0)
    if not _is_tensor(parts):
        return np.where(nothing, np.nan, parts / np.where(nothing, 1.0, total).astype(parts.dtype))
    import torch

    filled = torch.where(nothing, torch.full_like(total, float("nan")), total)
    return parts / filled
