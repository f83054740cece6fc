"""Standardisation that never sees a test row it should not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of

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
    mean and standard deviation; a part that both share uses those of its training rows.
    A unit that is constant in a part becomes 0 there.
    """
    parts = np.asarray(parts)
    out = values.copy()
    is_train = np.zeros(len(values), dtype=bool)
    is_train[train] = True
    for part in pd.unique(parts):
        rows = parts == part
        source = rows & is_train if (rows & is_train).any() else rows
        with np.errstate(invalid="ignore"):
            mean = np.nanmean(values[source], axis=0, dtype=np.float64)
            std = np.nanstd(values[source], axis=0, dtype=np.float64)
        flat = std <= 10 * np.finfo(values.dtype).eps * np.abs(values[source]).max(axis=0)
        out[rows] = np.where(flat, 0, (values[rows] - mean) / np.where(flat, 1, std))
    return out


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
    if scaling == "trace":
        total = float(variance.sum())
        return mean, np.full(n_features, np.sqrt(total) if total > 0 else 1.0)
    flat = np.sqrt(variance) <= 10 * np.finfo(train.dtype).eps * np.abs(train).max(axis=0)
    return mean, np.where(flat, np.inf, np.sqrt(np.where(flat, 1, variance)))
