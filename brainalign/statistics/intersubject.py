"""Inter-subject correlation: how much of the responses people share."""

from __future__ import annotations

import numpy as np

from brainalign.errors import InputError, ShapeError
from brainalign.metrics import is_constant, pearson


def intersubject_correlation(values: np.ndarray) -> np.ndarray:
    """Correlate each person with the mean of all others, over time.

    Parameters
    ----------
    values : array (n_subjects, n_samples, n_units), the same samples in every person, in a
        common space; drift removed before

    Returns
    -------
    array (n_subjects, n_units), Pearson r in [-1, 1]; NaN where a person or the mean of the
    others does not vary, or has a missing value.

    Raises
    ------
    ShapeError
        The array has other axes, or fewer than 2 subjects.
    InputError
        The values are not real numbers.

    Notes
    -----
    Each person is z-scored before the mean, so that no one weighs more. An estimate of what
    the stimulus alone can explain: a lower bound of the ceiling of stimulus-driven models.
    Cost: O(n_subjects n_samples n_units). Source: Hasson et al. 2004, DOI
    10.1126/science.1089506; leave-one-out form: Nastase et al. 2019, DOI 10.1093/scan/nsz037.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.standard_normal((200, 3))
    >>> r = intersubject_correlation(shared + rng.standard_normal((10, 200, 3)))
    >>> bool((np.abs(r.mean(axis=0) - 0.67) < 0.05).all())
    True
    """
    array = np.asarray(values)
    if array.ndim != 3 or len(array) < 2:
        raise ShapeError(
            f"values have shape {array.shape}; expected (n_subjects, n_samples, n_units), 2 subjects or more"
        )
    if array.dtype.kind not in "fiu":
        raise InputError(f"values have dtype {array.dtype}; expected real numbers")
    array = array.astype(np.float64)
    flat = np.stack([is_constant(person) for person in array])[:, None, :]
    centred = array - array.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    z = np.where(flat, 0, centred / np.where(flat, 1, scale))
    total = z.sum(axis=0)
    return np.stack([_correlation(own, total - own) for own in z])


def _correlation(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson r of each column; NaN where either side does not vary (neither is a prediction)."""
    varies = ~(is_constant(own) | is_constant(others))
    return np.where(varies, pearson(own, others), np.nan)
