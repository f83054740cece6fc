"""Standardisation that never sees a test row it should not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import group_codes, one_of
from brainalign.errors import ShapeError

FEATURE_SCALINGS = ("trace", "column", None)


def recording_parts(samples: pd.DataFrame) -> np.ndarray | None:
    """Label the recording part (session and run) of each row, or None where there is one."""
    columns = [c for c in ("session", "run") if c in samples and samples[c].nunique() > 1]
    if not columns:
        return None
    return samples[columns].astype(str).agg("/".join, axis=1).to_numpy(dtype=object)


def standardise_parts(values: np.ndarray, parts: Any, train: np.ndarray) -> np.ndarray:
    """z-score responses within each run or session, without any label.

    Parameters
    ----------
    values : (n_samples, n_units)
    parts : (n_samples,) run or session of each row
    train : (n_train,) training rows

    Returns
    -------
    array like `values`. A part that is wholly in training or wholly in test uses its own
    mean and standard deviation; a part that both share uses those of its training rows. A
    part with fewer than two such rows has no standard deviation: it uses those of all
    training rows. A unit that is constant in a part becomes 0 there; NaN stays NaN.
    """
    parts = np.asarray(parts, dtype=object)
    if parts.shape != (len(values),):
        raise ShapeError(f"parts have shape {parts.shape}; expected one label per row, ({len(values)},)")
    codes, labels = group_codes("parts", parts)
    out = values.copy()
    is_train = np.zeros(len(values), dtype=bool)
    is_train[train] = True
    for part in range(len(labels)):
        rows = codes == part
        source = rows & is_train if (rows & is_train).any() else rows
        if source.sum() < 2:
            source = is_train if is_train.sum() > 1 else source
        mean, std, flat = _column_moments(values[source])
        z = (values[rows] - mean) / np.where(flat, 1, std)
        out[rows] = np.where(flat & ~np.isnan(z), 0, z)
    return out


def _column_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the known values of each column, and whether it is constant."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / known.sum(axis=0)
        std = np.sqrt((np.where(known, filled - mean, 0) ** 2).sum(axis=0) / known.sum(axis=0))
    flat = std <= 10 * np.finfo(values.dtype).eps * np.abs(filled).max(axis=0, initial=0)
    return mean, std, flat


def feature_scale(
    train: np.ndarray, weights: np.ndarray, scaling: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a scaling of features on training rows.

    Parameters
    ----------
    train : (n_train, n_features); weights : (n_train,) trials behind each row
    scaling : ``"trace"`` centre and divide all columns by one number, the root of the
        weighted mean squared norm, so that trace(K)/n = 1; ``"column"`` z-score each
        column (constant columns become 0); None leaves the features as they are

    Returns
    -------
    mean, scale : (n_features,) each; apply as ``(X - mean) / scale``
    """
    one_of("feature_scaling", scaling, FEATURE_SCALINGS)
    n_features = train.shape[1]
    if scaling is None:
        return np.zeros(n_features), np.ones(n_features)
    share = weights / weights.sum()
    mean = share @ train.astype(np.float64)
    variance = share @ (train - mean) ** 2
    flat = np.sqrt(variance) <= 10 * np.finfo(train.dtype).eps * np.abs(train).max(axis=0)
    if scaling == "trace":
        # the rounding of a constant layer is no variance: it must not be blown up to trace 1
        total = float(variance[~flat].sum())
        return mean, np.full(n_features, np.sqrt(total) if total > 0 else 1.0)
    return mean, np.where(flat, np.inf, np.sqrt(np.where(flat, 1, variance)))
