"""Finite impulse response: features of earlier samples beside those of now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainalign._checks import as_matrix, group_codes
from brainalign.errors import InputError


def run_slices(runs: Any, n: int) -> list[slice]:
    """The stretch of rows of each run, in the order of the rows.

    Raises
    ------
    InputError
        The rows of a run do not lie together, or a row has no run.
    ShapeError
        There are more or fewer labels than rows.

    Examples
    --------
    >>> run_slices(["a", "a", "b"], 3)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    if runs is None:
        return [slice(0, n)]
    codes, labels = group_codes("runs", runs, n)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    if len(starts) != len(labels):
        back = next(row for row in starts if codes[row] in codes[:row])
        raise InputError(
            f"run {labels[codes[back]]!r} goes on in row {back} after another run; sort the rows by run and "
            "time"
        )
    return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], n], strict=True)]


def check_delays(delays: Sequence[int]) -> list[int]:
    """Return the delays as integers; refuse fractions, repeats and an empty list."""
    found = list(delays)
    if not found or any(int(d) != d for d in found):
        raise InputError(
            f"delays={found}; expected at least one whole number of samples, for instance [1, 2, 3]"
        )
    if len(set(found)) != len(found):
        raise InputError(f"delays={found} name a delay twice; each delay once")
    return [int(d) for d in found]


def fir_delays(X: Any, delays: Sequence[int], runs: Any = None) -> np.ndarray:
    """Copy features onto later samples, within runs: the design of a finite impulse response.

    Parameters
    ----------
    X : array (n_samples, n_features), rows in order of time
    delays : whole numbers of samples; 2 puts the features of sample t on sample t + 2, a
        negative one those of the future (for lag curves)
    runs : (n_samples,) labels, or None (one recording); nothing crosses the border of a run

    Returns
    -------
    array (n_samples, len(delays) * n_features), all features at the first delay, then all at
    the second. Samples whose source lies outside their run get 0: centre the features first
    where 0 is not their resting value.

    Raises
    ------
    InputError
        No delay, a fraction, one delay twice; rows of a run that do not lie together.
    ShapeError
        X is no matrix, or `runs` has another length.

    Notes
    -----
    Cost: one copy per delay. Source: Dale 1999, DOI
    10.1002/(SICI)1097-0193(1999)8:2/3<109::AID-HBM7>3.0.CO;2-W.

    Examples
    --------
    >>> fir_delays(np.array([[1.0], [2.0], [3.0], [4.0]]), [0, 1], runs=["a", "a", "b", "b"])
    array([[1., 0.],
           [2., 1.],
           [3., 0.],
           [4., 3.]])
    """
    features = as_matrix("X", X)
    steps = check_delays(delays)
    n, p = features.shape
    out = np.zeros((n, len(steps) * p), dtype=features.dtype)
    for stretch in run_slices(runs, n):
        block = features[stretch]
        length = len(block)
        for position, step in enumerate(steps):
            columns = slice(position * p, (position + 1) * p)
            if abs(step) >= length:
                continue
            target = out[stretch]
            if step >= 0:
                target[step:, columns] = block[: length - step]
            else:
                target[:step, columns] = block[-step:]
    return out
