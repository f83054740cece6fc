"""Crossnobis: squared Mahalanobis distances that noise does not inflate, by products between runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from brainalign._checks import group_codes
from brainalign._linalg import full_precision
from brainalign.comparison._distance_inputs import differences, like_input, to_tensor, whitened
from brainalign.comparison._distance_runs import (
    RunPatterns,
    check_runs,
    crossed_differences,
    mean_over_pairs,
    run_patterns,
    warn_missing,
)
from brainalign.comparison.noise import NoisePrecision, as_noise, mean_noise
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


def run_means(x: Any, conditions: Any, runs: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """Average the samples of each condition within each run.

    Parameters
    ----------
    x : array (n_samples, p) or (n_samples, p, ...), numpy or torch; or Responses
    conditions, runs : label of every sample (n_samples,); of `Responses` also the name of a
        column of its samples

    Returns
    -------
    means : (n_runs, n_conditions, p) or (n_runs, n_conditions, p, ...), float64, of the kind
        of x; NaN in all channels where a run does not hold a condition
    condition_labels, run_labels : (n_conditions,), (n_runs,), sorted

    Raises
    ------
    ShapeError
        No channel axis, no samples, or labels of another length.
    InputError
        A sample without a label, labels of kinds that cannot be sorted together, no such column.

    Notes
    -----
    Cost O(n_samples p) time and memory. A NaN stays a NaN in the mean of its condition and run;
    a warning counts the samples with values that are lost to samples without any.

    Examples
    --------
    >>> means, conditions, runs = run_means([[1.0], [3.0], [5.0]], ["a", "a", "b"], [1, 1, 2])
    >>> means[:, :, 0], conditions.tolist(), runs.tolist()
    (array([[ 2., nan],
           [nan,  5.]]), ['a', 'b'], [1, 2])
    """
    values, was_tensor = to_tensor("x", x.array() if isinstance(x, Responses) else x)
    if values.ndim < 2 or 0 in values.shape:
        raise ShapeError(
            f"x has shape {tuple(values.shape)}; expected (n_samples, n_channels) with at least one of each"
        )
    row_codes, row_labels = sorted_codes("conditions", labels_of(x, "conditions", conditions), len(values))
    run_codes, run_labels = sorted_codes("runs", labels_of(x, "runs", runs), len(values))
    n = len(row_labels)
    cell = torch.from_numpy(run_codes * n + row_codes).to(values.device)
    flat = values.reshape(len(values), -1)
    sums = flat.new_zeros(len(run_labels) * n, flat.shape[1]).index_add_(0, cell, flat)
    counts = torch.bincount(cell, minlength=len(sums)).to(sums.dtype)
    means = (sums / counts[:, None]).view(len(run_labels), n, *values.shape[1:])  # 0 / 0 is NaN: absent
    _warn_of_lost_samples(flat, means.view(len(sums), -1), cell)
    return like_input(means, was_tensor), row_labels, run_labels


def _warn_of_lost_samples(samples: torch.Tensor, means: torch.Tensor, cell: torch.Tensor) -> None:
    """Say that samples with values count as absent, because one of their condition and run has none."""
    if bool(torch.isfinite(means.sum())) or not bool(torch.isnan(samples).any()):
        return
    empty = torch.isnan(samples).all(1)
    lost = int((torch.isnan(means).all(1)[cell] & ~empty).sum())
    if lost and bool(empty.any()):
        warnings.warn(
            f"{int(empty.sum())} samples are NaN in all channels (first: row {int(torch.nonzero(empty)[0])}) "
            f"and make the mean of their condition and run NaN; {lost} samples with values are lost by it: "
            "leave out the samples without values first",
            stacklevel=4,
        )


def crossnobis(x: Any, *, conditions: Any, runs: Any, noise: Any = None) -> Any:
    """Return the crossnobis RDM of conditions measured in several runs.

    Parameters
    ----------
    x : array (n_samples, p), or (n_samples, p, n_times); numpy or torch; or Responses
        Single trials, blocks or GLM estimates; the samples of a condition within a run are
        averaged, and every run then counts alike.
    conditions, runs : labels (n_samples,); of `Responses` also names of columns of its samples
        Runs must be independent: folds of the cross-validation.
    noise : None, NoisePrecision, precision array (p, p), or a sequence of one per run
        None: cross-validated squared Euclidean distance. With one per run (in sorted order
        of the run labels) each pair of runs is whitened by the mean of its two covariances.

    Returns
    -------
    array (n_conditions, n_conditions), or (n_times, n_conditions, n_conditions), float64, of
    the kind of x; conditions in sorted order of their labels. Symmetric, zero diagonal.
    **Signed**: the expected value is the true squared distance over p, 0 for conditions
    that do not differ, so about half of the null distances are negative; nothing is
    clipped or rooted. NaN, with a warning that counts them, where no two runs hold both
    conditions.

    Raises
    ------
    ShapeError
        One run only; labels or noise that do not fit.
    InputError
        Infinite values; a channel that is NaN in a part of the samples; noise that is no
        precision.

    Notes
    -----
    Mean over all ordered pairs of different runs k, l in which both conditions are present of
    ``(x_ki - x_kj)' precision (x_li - x_lj) / p``; for a balanced design the leave-one-run-out
    mean of Walther et al. 2016 (doi:10.1016/j.neuroimage.2015.12.012) and Diedrichsen et al.
    2016 (arXiv:1607.01371), here as ``[S S' - sum_k X_k X_k'] / (K (K - 1))`` with
    ``S = sum_k X_k``. Invariant to rotation, to the order of channels, to a vector added
    to every sample **of one run**, and to an invertible map of the channels that the noise
    goes through too; not to scaling. A channel that is NaN throughout is left out, p
    counts those that remain, and their sub-covariance is inverted.

    Cost: 2 n^2 p (K + 1) operations for a balanced design whatever the number of runs; with u
    different sets of present conditions u (u + 1) / 2 + K products; with one noise per run
    K (K - 1) / 2 products and factorisations. Memory O(K n p + n^2).

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [3.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> crossnobis(x, conditions=["a", "b"] * 3, runs=[1, 1, 2, 2, 3, 3]).round(6)
    array([[0.      , 1.833333],
           [1.833333, 0.      ]])
    """
    means, _, _ = run_means(x, conditions, runs)
    tensor, was_tensor = to_tensor("x", means)
    if tensor.ndim > 4:
        raise ShapeError(f"x has {tensor.ndim - 1} axes; expected (n_samples, n_channels) or one more, times")
    stack = tensor.movedim(-1, 0) if tensor.ndim == 4 else tensor
    return like_input(_crossnobis(stack, noise, stacklevel=3), was_tensor)


def crossnobis_of_means(means: Any, noise: Any = None) -> Any:
    """Return the crossnobis RDMs of means of conditions in runs, for a whole stack at once.

    Parameters
    ----------
    means : array (..., n_runs, n_conditions, p), numpy or torch
        As `run_means` gives them, with leading axes for times, regions or spheres. NaN in
        all channels of a condition: absent from that run. NaN in all conditions and runs of
        a channel: the channel is left out of that position of the stack.
    noise : as in `crossnobis`

    Returns
    -------
    array (..., n_conditions, n_conditions), float64, as in `crossnobis`

    Raises
    ------
    ShapeError, InputError
        As in `crossnobis`.

    Notes
    -----
    One batched product for all positions that hold the same conditions. Memory: the means
    twice (three times with noise) and the result.

    Examples
    --------
    >>> means = np.zeros((7, 4, 5, 20))
    >>> crossnobis_of_means(means).shape
    (7, 5, 5)
    """
    tensor, was_tensor = to_tensor("means", means)
    return like_input(_crossnobis(tensor, noise, stacklevel=3), was_tensor)


def _crossnobis(means: torch.Tensor, noise: Any, stacklevel: int) -> torch.Tensor:
    if means.ndim < 3 or 0 in means.shape:
        raise ShapeError(
            f"means have shape {tuple(means.shape)}; expected (..., n_runs, n_conditions, n_channels)"
        )
    n_runs, n, p = means.shape[-3:]
    check_runs("x", n_runs)
    precision = run_noises(noise, n_runs, p)
    flat = means.reshape(-1, n_runs, n, p)
    out = flat.new_full((len(flat), n, n), torch.nan)
    with full_precision():
        for part in run_patterns("means", flat):
            centred = part.centred()
            if isinstance(precision, list):
                total, counts = _over_run_noises(centred, precision)
            else:
                rows = whitened(centred.values.flatten(1, 2), part.present, precision)
                white = centred.replaced(rows.view(len(rows), n_runs, n, p))
                total, counts = crossed_differences(white, white.values)
            out[part.members] = mean_over_pairs(total, counts, part.n_channels)
    out = out.view(*means.shape[:-3], n, n)
    warn_missing(out, "crossnobis distance", stacklevel=stacklevel)
    return out


def _over_run_noises(part: RunPatterns, noises: list[NoisePrecision]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over pairs of runs, each whitened by the mean of its two covariances."""
    m, n_runs, n, p = part.values.shape
    total = part.values.new_zeros(m, n, n)
    counts = part.values.new_zeros(n, n)
    for k in range(n_runs):
        for other in range(k):
            noise = mean_noise(noises[k], noises[other])
            rows = part.values[:, [k, other]].flatten(1, 2)
            a, b = whitened(rows, part.present, noise).view(m, 2, n, p).unbind(1)
            shared = (part.runs[k] & part.runs[other]).to(total.dtype)
            weights = shared[:, None] * shared[None, :]
            total += differences(a @ b.mT) * weights
            counts += weights
    return total, counts


def run_noises(noise: Any, n_runs: int, n_channels: int) -> NoisePrecision | list[NoisePrecision] | None:
    """One noise precision, or one for each run."""
    single = noise is None or isinstance(noise, NoisePrecision) or getattr(noise, "ndim", 0) == 2
    if single:
        return as_noise(noise, n_channels)
    if isinstance(noise, str) or (not isinstance(noise, Sequence) and getattr(noise, "ndim", 0) != 3):
        raise InputError(
            f"noise is a {type(noise).__name__}; expected a NoisePrecision, a precision array (n_channels, "
            "n_channels), or a sequence of one per run"
        )
    if len(noise) != n_runs:
        raise ShapeError(f"noise has {len(noise)} entries and there are {n_runs} runs; expected one per run")
    checked = [as_noise(one, n_channels) for one in noise]
    complete = [one for one in checked if one is not None]
    if len(complete) != n_runs:
        raise InputError("noise is None for some runs; give one for every run, or one for all")
    return complete


def labels_of(x: Any, kind: str, labels: Any) -> Any:
    """The labels themselves, or the column of the samples that a text names."""
    if not isinstance(labels, str):
        return labels
    columns = list(x.samples.columns) if isinstance(x, Responses) and x.samples is not None else []
    if labels not in columns:
        raise InputError(
            f"{kind}={labels!r} names a column of the samples of Responses; found columns: "
            f"{', '.join(map(str, columns)) or 'none'}. Give one label per sample otherwise"
        )
    return x.samples[labels].to_numpy()


def sorted_codes(kind: str, labels: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the labels in sorted order: codes (n,), the distinct labels."""
    if isinstance(labels, torch.Tensor):
        labels = labels.cpu().numpy()
    if np.ndim(labels) != 1:
        raise ShapeError(f"{kind} have shape {np.shape(labels)}; expected one label a sample, ({n},)")
    codes, distinct = group_codes(kind, labels, n)
    try:
        order = sorted(range(len(distinct)), key=lambda i: distinct[i])
    except TypeError as error:
        raise InputError(
            f"{kind} hold labels that cannot be sorted ({error}); use one kind of label"
        ) from None
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], distinct[order]
