"""Slow drift of a recording: removed per run, or measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign.design.delays import run_slices
from brainalign.errors import InputError, ShapeError

_ROWS_FOR_SHARE = 8  # a run shorter than this says nothing of drift


def cosine_drifts(n: int, dt: float, cutoff_s: float) -> np.ndarray:
    """Slow cosines of a run, the constant first, (n, n_columns) with unit columns.

    Parameters
    ----------
    n : samples of the run
    dt : seconds between samples
    cutoff_s : periods longer than this are slow; floor(2 n dt / cutoff_s) + 1 columns

    Notes
    -----
    The discrete cosine set of statistical parametric mapping (Friston et al. 2000, DOI
    10.1006/nimg.2000.0609).

    Examples
    --------
    >>> cosine_drifts(362, 2.0, 128.0).shape
    (362, 12)
    """
    if n < 1 or not dt > 0 or not cutoff_s > 0:
        raise InputError(f"n={n}, dt={dt:g} s, cutoff_s={cutoff_s:g} s; expected positive numbers")
    n_columns = min(n, int(np.floor(2 * n * dt / cutoff_s)) + 1)
    columns = np.cos(np.pi * (np.arange(n)[:, None] + 0.5) * np.arange(n_columns) / n)
    return np.asarray(columns / np.linalg.norm(columns, axis=0))


def high_pass(values: Any, *, dt: float, cutoff_s: float = 128.0, runs: Any = None) -> np.ndarray:
    """Remove the mean and what is slower than `cutoff_s` from every run.

    Parameters
    ----------
    values : array (n_samples, ...), rows in order of time; responses, or the features that
        are to explain them (both sides need the same filter)
    dt : seconds between samples (the repetition time)
    cutoff_s : longest period that is kept, in seconds
    runs : (n_samples,) labels, or None (one recording)

    Returns
    -------
    array like `values`, floating. A column with a missing value in a run is NaN in that run.

    Raises
    ------
    InputError
        The cutoff leaves nothing (a period shorter than two samples); rows of a run apart.

    Notes
    -----
    Each run is projected off a discrete cosine set (`cosine_drifts`). No label is used, and
    no run sees another. Cost: O(n_samples * n_columns * n_units).

    Examples
    --------
    >>> slow = np.linspace(0.0, 1.0, 200)[:, None]
    >>> bool(np.abs(high_pass(slow, dt=2.0)).max() < 0.1)
    True
    """
    if not cutoff_s > 2 * dt:
        raise InputError(f"cutoff_s={cutoff_s:g} s with samples every {dt:g} s leaves nothing; use e.g. 128")
    return _project(values, runs, lambda n: cosine_drifts(n, dt, cutoff_s))


def detrend(values: Any, *, order: int = 1, runs: Any = None) -> np.ndarray:
    """Remove a polynomial of time from every run; order 0 removes the mean, 1 a line.

    Parameters
    ----------
    values : array (n_samples, ...), rows in order of time
    order : degree of the polynomial, 0 or more
    runs : (n_samples,) labels, or None (one recording)

    Returns
    -------
    array like `values`, floating. A column with a missing value in a run is NaN in that run.

    Examples
    --------
    >>> bool(np.abs(detrend(np.arange(5.0)[:, None])).max() < 1e-12)
    True
    """
    if order != int(order) or order < 0:
        raise InputError(f"order={order}; expected 0 (mean), 1 (line) or more")

    def polynomials(n: int) -> np.ndarray:
        time = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        powers = np.stack([time**k for k in range(min(int(order) + 1, n))], axis=1)
        return np.linalg.qr(powers)[0]

    return _project(values, runs, polynomials)


def _project(values: Any, runs: Any, basis_of: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim < 1 or array.dtype.kind not in "fiub":
        raise ShapeError(
            f"values have shape {array.shape} and dtype {array.dtype}; expected (n_samples, ...)"
        )
    out = np.array(array, dtype=array.dtype if array.dtype.kind == "f" else np.float64)
    flat = out.reshape(len(out), -1)
    for stretch in run_slices(runs, len(out)):
        block = flat[stretch].astype(np.float64)
        basis = basis_of(len(block))
        # the mean first: digits of a large offset would be lost in the product
        block = block - block.mean(axis=0)
        flat[stretch] = block - basis @ (basis.T @ block)
    return flat.reshape(out.shape)


def drift_share(values: Any, *, dt: float, cutoff_s: float = 128.0, runs: Any = None) -> tuple[float, float]:
    """Share of the variance within runs that is slower than `cutoff_s`.

    Parameters
    ----------
    values, dt, cutoff_s, runs : as for `high_pass`

    Returns
    -------
    median : over units, 0 to 1; NaN where no run is long enough
    expected : the share that white noise would have

    Notes
    -----
    Says how much drift responses hold, from the responses alone: a score plays no part.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((400, 5))
    >>> share, expected = drift_share(noise, dt=2.0)
    >>> bool(abs(share - expected) < 0.03)
    True
    """
    array = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    slow, total = np.zeros(array.shape[1]), np.zeros(array.shape[1])
    columns, rows = 0, 0
    for stretch in run_slices(runs, len(array)):
        block = array[stretch] - array[stretch].mean(axis=0)
        basis = cosine_drifts(len(block), dt, cutoff_s)[:, 1:]
        if len(block) < _ROWS_FOR_SHARE or not basis.shape[1]:
            continue
        slow += ((basis.T @ block) ** 2).sum(axis=0)
        total += (block**2).sum(axis=0)
        columns, rows = columns + basis.shape[1], rows + len(block) - 1
    if not rows:
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        share = slow / total
    known = share[np.isfinite(share)]
    return (float(np.median(known)) if len(known) else float("nan")), columns / rows


def autocorrelation_length(values: Any, runs: Any = None, *, longest: int = 100) -> int:
    """First lag, in samples, at which the median autocorrelation over units is below 0.1.

    Parameters
    ----------
    values : array (n_samples, ...), rows in order of time
    runs : (n_samples,) labels, or None (one recording)
    longest : lag at which the search ends

    Examples
    --------
    >>> autocorrelation_length(np.random.default_rng(0).standard_normal((400, 9)))
    1
    """
    array = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    stretches = [s for s in run_slices(runs, len(array)) if s.stop - s.start > 2]
    if not stretches:
        return 1
    longest = min(longest, max(s.stop - s.start for s in stretches) // 2)
    blocks = [array[s] - array[s].mean(axis=0) for s in stretches]
    total = np.sum([(b**2).sum(axis=0) for b in blocks], axis=0)
    for lag in range(1, longest + 1):
        shifted = np.sum([(b[lag:] * b[:-lag]).sum(axis=0) for b in blocks if len(b) > lag], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = shifted / total
        known = r[np.isfinite(r)]
        if not len(known) or np.median(known) < 0.1:
            return lag
    return max(1, longest)
