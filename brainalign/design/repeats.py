"""Repeated presentations: averaged with their counts, or kept as single trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from brainalign._checks import group_codes

REPEATS = ("average", "single", "train_single")


def average_repeats(values: np.ndarray, keys: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average the rows that share a key.

    Parameters
    ----------
    values : (n_trials, n_units), NaN = missing
    keys : (n_trials,) labels

    Returns
    -------
    means : (n_keys, n_units), in order of first appearance; NaN where a unit has no trial
    counts : (n_keys,) number of trials behind each mean
    first : (n_keys,) row of the first trial of each key

    Raises
    ------
    ShapeError
        There are more or fewer keys than rows.
    InputError
        A row has no key.

    Notes
    -----
    Ridge on the means with the counts as weights equals ridge on the single trials at the
    same penalty, when no value is missing.

    Examples
    --------
    >>> average_repeats(np.array([[1.0], [3.0], [5.0]]), ["a", "a", "b"])[:2]
    (array([[2.],
           [5.]]), array([2., 1.]))
    """
    codes, labels = group_codes("keys", keys, len(values))
    n = len(labels)
    first = np.unique(codes, return_index=True)[1]
    if n == len(values):
        return values, np.ones(n), first
    known = ~np.isnan(values)  # an infinite response is a fault and stays visible in its mean
    # a sparse membership matrix sums rows of a group many times faster than np.add.at
    member = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    total = member @ np.where(known, values, 0).reshape(len(values), -1).astype(np.float64)
    present = member @ known.reshape(len(values), -1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(present > 0, total / present, np.nan)
    counts = np.bincount(codes, minlength=n).astype(np.float64)
    return means.reshape(n, *values.shape[1:]).astype(values.dtype), counts, first
