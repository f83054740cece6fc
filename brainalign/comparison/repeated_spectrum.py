"""The eigenspectrum of the signal, without the variance of the noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from brainalign.comparison._descriptor_spectrum import MIN_STIMULI, centre
from brainalign.comparison._option_checks import seed, whole_number
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array
from brainalign.types import Responses


def cross_validated_spectrum(
    first: Any, second: Any = None, *, n_splits: int = 10, random_state: int = 0
) -> np.ndarray:
    """Return the cross-validated eigenspectrum: the variance that principal components share over repeats.

    The components of one half of the repeats are found, both halves are projected on them,
    and the covariance of the two projections is the variance of the signal there, because
    the noise of the halves is independent. Both directions and all splits are averaged by rank.

    Parameters
    ----------
    first : array (n_stimuli, n_repeats, n_units), or Responses with repeats of every stimulus
        Single trials; in each split the repeats of every stimulus are divided at random into
        halves, whose means are used. With `second`: the first repeat (n_stimuli, n_units).
    second : array (n_stimuli, n_units), or None
        The second repeat of the same stimuli, in the same order.
    n_splits : int, at least 1
        Random divisions.
    random_state : int

    Returns
    -------
    array (min(n_stimuli, n_units),), squared unit of the responses, by rank of the component
        Not sorted, and may be negative where there is no signal. Give it to
        `alpha_req(eigenvalues=...)` or `power_law`.

    Raises
    ------
    ShapeError
        Another number of axes, two repeats of unlike shape, fewer than 3 stimuli, fewer than
        2 repeats of a stimulus.
    InputError
        Values that are not finite, no variance, squares beyond the range of float64, no splits.
    AlignmentError
        Responses without stimulus ids, or given together with `second`.

    Notes
    -----
    The mean over stimuli of each repeat is removed (arrays), and that of each half. The sum of
    the spectrum is an unbiased estimate of the variance of the signal; each value is one of
    the signal variance along the component of its rank. Components are those of noisy halves,
    so the tail of the signal is smeared where noise dominates. For equal halves without noise
    it is the spectrum of the covariance (denominator n_stimuli - 1). Invariant to rotation and
    permutation of units and a vector added to all trials; scales with the square of a factor.
    Time n_splits times two decompositions, O(n p min(n, p)); memory a few copies of one repeat.
    Source: Stringer et al. 2019, doi:10.1038/s41586-019-1346-5; there one direction.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(400, 1, 3)) * [3.0, 2.0, 1.0]
    >>> trials = signal + 2.0 * rng.normal(size=(400, 4, 3))
    >>> cross_validated_spectrum(trials).round(0).tolist()
    [9.0, 4.0, 1.0]
    """
    trials, codes, n_repeats = _trials(first, second)
    n_splits, random_state = whole_number("n_splits", n_splits, low=1), seed(random_state)
    rows = centre(trials)
    values = rows.values
    if n_repeats:
        # a shift between repeats is no signal, and swapping the repeats of a stimulus would make it noise
        blocks = values.reshape(-1, n_repeats, values.shape[1])
        values = (blocks - blocks.mean(axis=0)).reshape(values.shape)
    rng = np.random.default_rng(random_state)
    total = np.zeros(min(int(codes.max()) + 1, values.shape[1]))
    for _ in range(n_splits):
        a, b = _halves(values, codes, rng)
        total += _shared_variance(a, b) + _shared_variance(b, a)
    return _in_units(total / (2 * n_splits), rows.scale)


def _in_units(values: np.ndarray, scale: float) -> np.ndarray:
    """Variances of the scaled responses back in the squared unit of the given ones."""
    # deviations of the trials are of size one: what is left below this is rounding
    if float(np.abs(values).max()) <= np.finfo(np.float64).eps ** 2:
        raise InputError("the responses do not vary over stimuli; there is no spectrum")
    square = scale * scale
    if not np.finfo(np.float64).tiny <= square < np.inf:
        raise InputError(
            f"responses deviate by {scale:.3g}, whose square leaves the range of float64; multiply all of "
            "them by one factor first"
        )
    return values * square


def _trials(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Single trials (n_trials, n_units), the number of the stimulus of each, ascending, repeats per stimulus.

    The last is 0 for responses, whose rows do not say which repeat they belong to.
    """
    if isinstance(first, Responses):
        if second is not None:
            raise AlignmentError("give Responses with all their repeats, without a second argument")
        return *_trials_of_responses(first), 0
    if second is None:
        trials = _finite("first", first, 3, "(n_stimuli, n_repeats, n_units)")
    else:
        pair = [
            _finite(name, a, 2, "(n_stimuli, n_units)") for name, a in (("first", first), ("second", second))
        ]
        if pair[0].shape != pair[1].shape:
            raise ShapeError(
                f"first has shape {pair[0].shape} and second {pair[1].shape}; expected two repeats of the "
                "same stimuli and units"
            )
        trials = np.stack(pair, axis=1)
    n, repeats, p = trials.shape
    if repeats < 2:
        raise ShapeError(f"first has {repeats} repeat of each stimulus; expected at least 2")
    if n < MIN_STIMULI or p < 1:
        raise ShapeError(f"first has {n} stimuli and {p} units; expected at least {MIN_STIMULI} and 1")
    return trials.reshape(n * repeats, p), np.repeat(np.arange(n), repeats), repeats


def _finite(name: str, value: Any, ndim: int, axes: str) -> np.ndarray:
    array = plain_array(name, value)
    if array.ndim != ndim:
        raise ShapeError(f"{name} has shape {array.shape}; expected {axes}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    array = array.astype(np.float64, copy=False)
    bad = ~np.isfinite(array)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputError(
            f"{name} has {int(bad.sum())} values that are not finite, first for stimulus {row}; leave out "
            "these units or stimuli"
        )
    return array


def _trials_of_responses(responses: Responses) -> tuple[np.ndarray, np.ndarray]:
    samples = responses.samples
    if samples is None or "stimulus_id" not in samples or samples["stimulus_id"].isna().any():
        raise AlignmentError("the responses have rows without a stimulus_id; repeats cannot be told")
    rows = _finite("the responses", responses.array(), 2, "(n_trials, n_units), one time")
    codes, ids = pd.factorize(samples["stimulus_id"])
    counts = np.bincount(codes, minlength=len(ids))
    if (counts < 2).any():
        raise ShapeError(
            f"{int((counts < 2).sum())} of {len(ids)} stimuli have one trial, first "
            f"{ids[int(np.argmax(counts < 2))]!r}; leave out stimuli with fewer than 2"
        )
    if len(ids) < MIN_STIMULI:
        raise ShapeError(f"the responses have {len(ids)} stimuli; expected at least {MIN_STIMULI}")
    order = np.argsort(codes, kind="stable")
    return rows[order], codes[order]


def _halves(rows: np.ndarray, codes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centred means (n_stimuli, n_units) over two random halves of the repeats of each stimulus."""
    counts = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    order = np.lexsort((rng.random(len(codes)), codes))
    place = np.arange(len(codes)) - starts[codes]
    # the half that gets the odd trial is drawn, so that neither is the better one
    larger = (counts + rng.integers(0, 2, size=len(counts))) // 2
    out = []
    for inside in (place < larger[codes], place >= larger[codes]):
        chosen, stimulus = order[inside], codes[inside]
        weights = 1.0 / np.bincount(stimulus, minlength=len(counts))[stimulus]
        mean: np.ndarray = (
            sparse.csr_array((weights, (stimulus, chosen)), shape=(len(counts), len(rows))) @ rows
        )
        out.append(mean - mean.mean(axis=0))
    return out[0], out[1]


def _shared_variance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Covariance of a and b along the principal components of a, by the smaller Gram matrix."""
    n, p = a.shape
    if n < p:
        _, vectors = np.linalg.eigh(a @ a.T)
        # a v = sqrt(l) u and b v = b a' u / sqrt(l): the roots cancel
        out = np.einsum("ik,ik->k", vectors, (b @ a.T) @ vectors)
    else:
        _, vectors = np.linalg.eigh(a.T @ a)
        out = np.einsum("ik,ik->k", vectors, (a.T @ b) @ vectors)
    return np.asarray(out[::-1] / (n - 1))
