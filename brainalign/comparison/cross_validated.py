"""Cross-validated correlation, Poisson and linear-discriminant distances between conditions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._distance_forms import poisson_rates
from brainalign.comparison._distance_inputs import differences, like_input, to_tensor
from brainalign.comparison._distance_runs import (
    RunPatterns,
    check_runs,
    crossed_differences,
    mean_over_pairs,
    own_products,
    run_patterns,
    warn_missing,
)
from brainalign.comparison.noise import NoisePrecision, as_noise, noise_precision
from brainalign.comparison.run_distances import labels_of, run_means, sorted_codes
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


def cv_correlation(x: Any, *, conditions: Any, runs: Any) -> Any:
    """Return the cross-validated correlation distance between conditions.

    Parameters
    ----------
    x, conditions, runs : as in `crossnobis`

    Returns
    -------
    array (n_conditions, n_conditions) float64, of the kind of x; (n_times, ...) where x has
    times. ``1 - r`` with zero diagonal; r is not clipped, so that values outside 0 to 2
    occur with noisy patterns. NaN, with a warning that counts them, for a condition whose
    patterns of different runs do not agree (cross-validated variance not above zero).

    Raises
    ------
    ShapeError
        One run, or one channel.
    InputError
        As in `crossnobis`.

    Notes
    -----
    ``r_ij = c_ij / sqrt(c_ii c_jj)``, where c_ij is the mean over ordered pairs of different
    runs (of those that hold the two conditions) of the covariance over channels of the
    pattern of i in one run and of j in the other. Noise that is independent between runs
    shrinks no r towards 0, unlike in 1 - Pearson r of the means. Invariant to scaling, to a
    shift of whole patterns and to the order of channels; not to a vector added to every
    pattern, and not to rotation. Cost: two products (n, K p) by (K p, n). Sources: Walther et
    al. 2016, doi:10.1016/j.neuroimage.2015.12.012; Guggenmos, Sterzer & Cichy 2018,
    doi:10.1016/j.neuroimage.2018.02.044. Departure: those bound the variances from below
    before the division; here what cannot be computed is NaN.

    Examples
    --------
    >>> pattern = np.array([[0.0, 1.0, 2.0], [1.0, 3.0, 5.0], [2.0, 1.0, 0.0]])
    >>> d = cv_correlation(np.tile(pattern, (2, 1)), conditions=[1, 2, 3] * 2, runs=[1, 1, 1, 2, 2, 2])
    >>> d.round(6) + 0.0
    array([[0., 0., 2.],
           [0., 0., 2.],
           [2., 2., 0.]])
    """
    stack, was_tensor = _stack(x, conditions, runs)
    if stack.shape[-1] < 2:
        raise ShapeError("x has 1 channel; a correlation over channels needs at least 2")
    n = stack.shape[2]
    out = stack.new_full((len(stack), n, n), torch.nan)
    with full_precision():
        for part in run_patterns("means", stack):
            out[part.members] = _cross_run_correlation(part)
    missing = int(torch.isnan(out.diagonal(dim1=-2, dim2=-1)).sum())
    out.diagonal(dim1=-2, dim2=-1).zero_()
    if missing:
        warnings.warn(
            f"{missing} of {out.shape[0] * out.shape[1]} conditions have no cross-validated variance above "
            "zero (their patterns do not agree between runs, or one run alone holds them); their "
            "cross-validated correlations are NaN",
            stacklevel=2,
        )
    return like_input(_unstack(out, x), was_tensor)


def poisson_cv(x: Any, *, conditions: Any, runs: Any) -> Any:
    """Return the cross-validated symmetrised Poisson divergence between conditions.

    Parameters
    ----------
    x : counts or rates, not negative; otherwise as in `crossnobis`
    conditions, runs : as in `crossnobis`

    Returns
    -------
    array (n_conditions, n_conditions) float64, or (n_times, ...), of the kind of x. Signed,
    zero diagonal; NaN with a counted warning where no two runs hold both conditions.

    Raises
    ------
    ShapeError
        One run.
    InputError
        Negative counts, and as in `crossnobis`.

    Notes
    -----
    Mean over ordered pairs of different runs of ``sum((a_ki - a_kj)(log a_li - log a_lj)) / p``
    with rates ``(m + 0.1) / 1.1``. For a balanced design that is the mean over folds of the
    leave-one-run-out form, in which rates come from the training runs and logarithms from
    the test run. Invariant to the order of channels alone. Cost: two products (n, K p) by
    (K p, n). Source: Schuett et al. 2023, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> counts = np.tile([[0.0, 4.0], [4.0, 0.0]], (2, 1))
    >>> poisson_cv(counts, conditions=[0, 1, 0, 1], runs=[0, 0, 1, 1]).round(4)
    array([[ 0.    , 13.5039],
           [13.5039,  0.    ]])
    """
    stack, was_tensor = _stack(x, conditions, runs)
    n = stack.shape[2]
    out = stack.new_full((len(stack), n, n), torch.nan)
    with full_precision():
        for part in run_patterns("means", stack):
            rates = poisson_rates(part.values)
            logs = part.replaced(rates.log()).centred()
            total, counts = crossed_differences(part.replaced(rates).centred(), logs.values)
            out[part.members] = mean_over_pairs(total, counts, part.n_channels)
    warn_missing(out, "cross-validated Poisson distance", stacklevel=2)
    return like_input(_unstack(out, x), was_tensor)


def ldt(x: Any, *, conditions: Any, runs: Any, noise: Any = None, shrinkage: str = "ledoit_wolf") -> Any:
    """Return the linear-discriminant t value of every pair of conditions.

    Parameters
    ----------
    x : array (n_samples, p), numpy or torch; or Responses
        Single trials or blocks. Each fold needs more samples than conditions: label halves
        of the experiment as `runs` where a run holds each condition once.
    conditions, runs : as in `crossnobis`
    noise : None, NoisePrecision or precision array (p, p)
        Precision of the discriminant. None: estimated in every fold from its training
        samples less the mean of their condition, with `shrinkage` as in `noise_precision`.
    shrinkage : used where noise is None

    Returns
    -------
    array (n_conditions, n_conditions) float64, of the kind of x: mean over folds of the t
    value with which the contrast of two conditions, found on the training runs, separates
    them in the test run. Signed, zero diagonal; about 0 with variance 1 / n_folds or more
    (folds share training samples) for conditions that do not differ. NaN, with a counted
    warning, where no fold has both conditions in training and test.

    Raises
    ------
    ShapeError
        One run, or x is no matrix.
    InputError
        Values that are not finite; a fold whose test run, or training runs, hold no more
        samples than conditions.

    Notes
    -----
    ``w = precision (a_i - a_j)`` from the training runs; ``t = w'(b_i - b_j) /
    sqrt(w' S_b w (1/n_i + 1/n_j))`` with the means b, counts n and residual covariance S_b of
    the test run (divisor n_samples - n_conditions). With two runs both directions are
    averaged, as in Nili et al. 2014, doi:10.1371/journal.pcbi.1003553 (Kriegeskorte et al.
    2007, doi:10.1073/pnas.0705654104, for the discriminant). Departure: leave-one-run-out
    for more than two runs; the design is one indicator per condition. Invariant to scaling,
    to a vector added to every sample, and to an invertible map of the channels where the
    noise goes through it too. Cost per fold: the whitening and n_samples n p.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.tile([0, 1, 2], 20)
    >>> x = rng.normal(size=(60, 10)) + np.eye(3, 10)[labels] * 3
    >>> bool(ldt(x, conditions=labels, runs=np.repeat([0, 1], 30))[0, 1] > 4)
    True
    """
    values, was_tensor = to_tensor("x", x.array() if isinstance(x, Responses) else x)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"x has shape {tuple(values.shape)}; expected (n_samples, n_channels)")
    if not bool(torch.isfinite(values).all()):
        row, channel = torch.nonzero(~torch.isfinite(values))[0].tolist()
        raise InputError(
            f"x has values that are not finite, first in row {row}, channel {channel}; leave it out"
        )
    codes, labels = sorted_codes("conditions", labels_of(x, "conditions", conditions), len(values))
    run_codes, run_labels = sorted_codes("runs", labels_of(x, "runs", runs), len(values))
    check_runs("x", len(run_labels))
    given = as_noise(noise, values.shape[1])
    of = torch.from_numpy(codes).to(values.device)
    total = values.new_zeros(len(labels), len(labels))
    folds = torch.zeros_like(total)
    with full_precision():
        for number, label in enumerate(run_labels):
            test = torch.from_numpy(run_codes == number).to(values.device)
            a = _Fold.of(values[~test], of[~test], len(labels), f"the runs other than {label!r}")
            b = _Fold.of(values[test], of[test], len(labels), f"run {label!r}")
            precision = given or noise_precision(a.residuals, shrinkage=shrinkage, dof=a.dof)
            t = _discriminant_t(a, b, precision)
            known = torch.isfinite(t)
            total += torch.where(known, t, 0.0)
            folds += known
    out = total / torch.where(folds > 0, folds, torch.nan)
    out.diagonal().zero_()
    warn_missing(out, "linear-discriminant t value", stacklevel=2)
    return like_input(out, was_tensor)


class _Fold:
    """Condition means, residuals and their degrees of freedom, of training or test samples."""

    def __init__(self, means: torch.Tensor, counts: torch.Tensor, residuals: torch.Tensor, dof: int) -> None:
        self.means, self.counts, self.residuals, self.dof = means, counts, residuals, dof

    @classmethod
    def of(cls, values: torch.Tensor, codes: torch.Tensor, n: int, name: str) -> _Fold:
        counts = torch.bincount(codes, minlength=n).to(values.dtype)
        dof = len(values) - int((counts > 0).sum())
        if dof < 1:
            raise InputError(
                f"{name} hold {len(values)} samples of {int((counts > 0).sum())} conditions, which leaves no "
                "residual to estimate noise from; give single trials, or runs= labels that join several runs"
            )
        sums = values.new_zeros(n, values.shape[1]).index_add_(0, codes, values)
        means = sums / counts.clamp_min(1.0)[:, None]
        return cls(means, counts, values - means[codes], dof)


def _discriminant_t(train: _Fold, test: _Fold, noise: NoisePrecision) -> torch.Tensor:
    """Student t values (n, n) of the contrasts of the training fold in the test fold; NaN where absent."""
    # a shift common to all conditions cancels in every contrast and costs digits before that
    centred = train.means - train.means.mean(0)
    a = noise.whiten_tensor(centred)
    b = noise.whiten_tensor(test.means - test.means.mean(0))
    contrast = differences(a @ b.T)
    # residuals projected on the discriminant of each condition; those of a pair are differences
    projected = noise.whiten_tensor(test.residuals) @ a.T
    variance = differences(projected.T @ projected) / test.dof
    inverse = 1.0 / test.counts
    squared = variance * (inverse[:, None] + inverse[None, :])
    known = (train.counts > 0) & (test.counts > 0)
    usable = known[:, None] & known[None, :] & (squared > 0)
    return torch.where(usable, contrast / squared.clamp_min(0.0).sqrt(), torch.nan)


def _stack(x: Any, conditions: Any, runs: Any) -> tuple[torch.Tensor, bool]:
    """Means as a stack (n_times or 1, K, n, p)."""
    means, _, _ = run_means(x, conditions, runs)
    tensor, was_tensor = to_tensor("x", means)
    if tensor.ndim > 4:
        raise ShapeError(f"x has {tensor.ndim - 1} axes; expected (n_samples, n_channels) or one more, times")
    check_runs("x", tensor.shape[0])
    return (tensor.movedim(-1, 0) if tensor.ndim == 4 else tensor[None]), was_tensor


def _unstack(out: torch.Tensor, x: Any) -> torch.Tensor:
    """Without the leading axis where x had no times."""
    return out if len(x.shape if hasattr(x, "shape") else np.shape(x)) == 3 else out[0]


def _cross_run_correlation(part: RunPatterns) -> torch.Tensor:
    """1 - r between different runs (m, n, n), the diagonal NaN where there is no variance."""
    values = part.values - part.values.sum(-1, keepdim=True) / part.n_channels[..., None]
    values = values * part.runs[None, :, :, None]
    if part.present is not None:
        values = values * part.present[:, None, None, :]
    sums = values.sum(1)
    runs = part.runs.to(values.dtype)
    pairs = runs.sum(0)[:, None] * runs.sum(0)[None, :] - runs.T @ runs
    products = (sums @ sums.mT - own_products(values, values)) / torch.where(pairs > 0, pairs, torch.nan)
    own = products.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(own > 0, own, torch.nan).rsqrt()
    # grouped so that i, j and j, i round alike
    return 1.0 - (products + products.mT) / 2.0 * (scale[..., :, None] * scale[..., None, :])
