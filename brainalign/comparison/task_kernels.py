"""How simply a representation carries labels: the error that its leading kernel components leave."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brainalign._checks import as_matrix, group_codes
from brainalign._linalg import eigh_psd, full_precision
from brainalign.comparison._option_checks import is_real, seed, whole_number
from brainalign.comparison._pairing import finite_matrix
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

MIN_STIMULI = 3
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class KernelAnalysis:
    """The label error and the held-out accuracy of the leading kernel components.

    Parameters
    ----------
    error : array (n_components + 1,)
        Share of the label variance that the leading d components leave, d = 0 (where it is 1)
        to n_components; never rises.
    ka_auc : float
        1 minus the mean of `error` over d = 1 to n_components: 0 where no component says
        anything about the labels, 1 where the first says all.
    bandwidth : float
        Standard deviation of the Gaussian kernel, in distances of z-scored features.
    accuracy : array (n_components + 1,)
        Leave-one-out ridge regression on the leading d components. For classes the share of
        stimuli whose class has the largest prediction; for labels (n, c) of numbers R2 against
        the mean of the other stimuli (0 at d = 0, may be negative).
    variance : array (n_components,)
        Share of the kernel's variance in each component, falling.
    penalty : float
        The ridge penalty relative to the mean eigenvalue of the kernel.
    """

    error: np.ndarray
    ka_auc: float
    bandwidth: float
    accuracy: np.ndarray
    variance: np.ndarray
    penalty: float


@dataclass(frozen=True, eq=False)
class _Labels:
    """Centred label columns (n, c), their sum of squares, and class codes (n,) or None."""

    centred: np.ndarray
    total: float
    codes: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Kernel:
    """Bandwidth, eigenvectors (n, r) and eigenvalues (r,), falling, of a centred kernel."""

    width: float
    vectors: np.ndarray
    eigenvalues: np.ndarray


def kernel_analysis(
    features: Any,
    labels: Any,
    *,
    bandwidth: float | str = "auto",
    quantiles: Sequence[float] = QUANTILES,
    n_components: int | None = None,
    penalty: float = 1e-2,
) -> KernelAnalysis:
    """Return how much label error is left by the leading components of a representation.

    Parameters
    ----------
    features : array (n_stimuli, n_units)
        z-scored over stimuli; a unit that does not vary carries nothing. At least 3 stimuli.
    labels : array (n_stimuli,) of classes (text or whole numbers), or (n_stimuli, c) of numbers
        Classes become one column each. Columns are centred.
    bandwidth : ``"auto"``, or a positive number in distances of z-scored features
        ``"auto"`` takes the quantile of the distances between stimuli that leaves the least
        mean error. The choice sees the labels: for random labels the error lies a little below
        its expected value.
    quantiles : numbers in (0, 1], the candidates of ``"auto"``
    n_components : int, 1 to n - 1 (default)
    penalty : float >= 0
        Of the ridge regression behind `accuracy`, relative to the mean eigenvalue.

    Returns
    -------
    KernelAnalysis
        For random labels the error follows ``1 - d / (n - 1)``. All values NaN, with a
        warning, where the features or the labels do not vary, or all stimuli are equally far
        apart for the kernel (also by a bandwidth far too narrow), whose components then have no order.

    Raises
    ------
    ShapeError
        Different numbers of rows, fewer than 3 stimuli, labels of more than 2 axes.
    InputError
        Values that are not finite; an option outside its range; a missing label.

    Notes
    -----
    With the eigenvectors U_d of the d largest eigenvalues of the centred Gaussian kernel
    ``exp(-|a - b|^2 / (2 bandwidth^2))`` and the centred labels Y:
    ``e(d) = |Y - U_d U_d' Y|^2 / |Y|^2``. Components of repeated stimuli that the kernel
    cannot tell apart do not exist: the error stays flat from there on. The ridge regression
    has the components ``U_d S_d^(1/2)`` as features and an intercept without penalty; each
    stimulus is held out of the regression in closed form, not out of the kernel and not out of
    the choice of the bandwidth. Equal eigenvalues leave the order of their components open.
    Cost: O(n^2 p) and one eigendecomposition, O(n^3), for each candidate; memory 5 n^2.
    Source: Montavon et al. 2011, JMLR 12:2563; Cadieu et al. 2013, arXiv:1301.3530; the
    leave-one-out form follows Cadieu et al. 2014, doi:10.1371/journal.pcbi.1003963.
    Departures: one bandwidth for all d; labels and kernel are centred.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> classes = np.repeat([0, 1], 20)
    >>> result = kernel_analysis(rng.normal(size=(40, 5)) + 4.0 * classes[:, None], classes)
    >>> bool(result.error[1] < 0.1), bool(result.accuracy[1] > 0.95)
    (True, True)
    """
    values = finite_matrix("features", features)
    n = len(values)
    if n < MIN_STIMULI:
        raise ShapeError(f"kernel analysis over {n} stimuli; it needs at least {MIN_STIMULI}")
    found = _labels(labels, n)
    count = _check_options(n, n_components, penalty)
    squares = _squared_distances(values)
    candidates = _bandwidths(bandwidth, quantiles, squares)
    reason = _empty_reason(squares, found)
    kernels = [] if reason else [_components(squares, width) for width in candidates]
    usable = [k for k in kernels if k is not None]
    if not usable:
        reason = reason or "all stimuli are equally far apart for the kernel; give another bandwidth"
        warnings.warn(f"kernel analysis is NaN: {reason}", stacklevel=2)
        blank = np.full(count + 1, np.nan)
        return KernelAnalysis(blank, float("nan"), float("nan"), blank.copy(), blank[1:].copy(), penalty)
    errors = [_error_curve(k.vectors[:, :count], found, count) for k in usable]
    best = int(np.argmin([curve[1:].mean() for curve in errors]))
    return _result(usable[best], errors[best], found, float(penalty))


def _result(kernel: _Kernel, error: np.ndarray, labels: _Labels, penalty: float) -> KernelAnalysis:
    count = len(error) - 1
    eigenvalues, trace = kernel.eigenvalues[:count], float(kernel.eigenvalues.sum())
    variance = np.zeros(count)
    variance[: len(eigenvalues)] = eigenvalues / trace
    shrunk = eigenvalues / (eigenvalues + penalty * trace / len(kernel.vectors))
    accuracy = _accuracy_curve(kernel.vectors, shrunk, labels, count)
    return KernelAnalysis(error, float(1.0 - error[1:].mean()), kernel.width, accuracy, variance, penalty)


def _check_options(n: int, n_components: int | None, penalty: float) -> int:
    if not is_real(penalty) or penalty < 0:
        raise InputError(f"penalty={penalty!r}; expected a number of 0 or more")
    if n_components is None:
        return n - 1
    if not 1 <= whole_number("n_components", n_components, low=0) <= n - 1:
        raise InputError(
            f"n_components={n_components} of {n} stimuli; expected 1 to n - 1 = {n - 1} (the kernel "
            "is centred)"
        )
    return int(n_components)


def _labels(labels: Any, n: int) -> _Labels:
    array = plain_array("labels", labels)
    if array.ndim not in (1, 2):
        raise ShapeError(f"labels have shape {array.shape}; expected (n_stimuli,) or (n_stimuli, c)")
    if len(array) != n:
        raise ShapeError(
            f"labels have {len(array)} rows and features have {n}; expected one row per stimulus"
        )
    codes = None
    if array.ndim == 1:
        if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
            raise InputError(
                "labels of one axis are classes, and these are numbers with decimals; give numbers as "
                "(n_stimuli, c), e.g. labels[:, None]"
            )
        codes, distinct = group_codes("labels", array, n)
        columns = (codes[:, None] == np.arange(len(distinct))).astype(np.float64)
    else:
        columns = finite_matrix("labels", as_matrix("labels", array, dtype=np.float64))
        columns = columns / max(float(np.abs(columns).max()), np.finfo(np.float64).tiny)
    centred = columns - columns.mean(axis=0)
    # a column that does not vary leaves the rounding of its mean
    centred[:, np.abs(centred).max(axis=0) <= n * _EPS * np.abs(columns).max(axis=0)] = 0.0
    return _Labels(centred, float((centred**2).sum()), codes)


def _squared_distances(values: np.ndarray) -> torch.Tensor:
    """Squared distances (n, n) of z-scored features; units that do not vary count nothing."""
    largest = np.abs(values).max(axis=0)
    scaled = values / np.where(largest > 0, largest, 1.0)
    centred = scaled - scaled.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > len(values) * _EPS
    z = torch.from_numpy(np.where(varies, centred / np.where(varies, spread, 1.0), 0.0))
    with full_precision():
        lengths = z.square().sum(dim=1)
        out = torch.addmm(lengths[:, None] + lengths[None, :], z, z.T, alpha=-2.0).clamp_min_(0.0)
    # what rounding leaves between repeated stimuli is no distance
    out[out <= 16 * _EPS * (lengths[:, None] + lengths[None, :])] = 0.0
    out.fill_diagonal_(0.0)
    return (out + out.T) / 2


def _empty_reason(squares: torch.Tensor, labels: _Labels) -> str:
    if not bool(squares.any()):
        return "no unit of the features varies over stimuli"
    if labels.total == 0.0:
        return "the labels do not vary over stimuli"
    return ""


def _bandwidths(bandwidth: float | str, quantiles: Sequence[float], squares: torch.Tensor) -> list[float]:
    if bandwidth != "auto":
        if isinstance(bandwidth, str) or not is_real(bandwidth) or bandwidth <= 0:
            raise InputError(f"bandwidth={bandwidth!r}; expected 'auto' or a positive number")
        return [float(bandwidth)]
    several = list(quantiles) if isinstance(quantiles, (Sequence, np.ndarray)) else [quantiles]
    if not several or not all(is_real(q) and 0.0 < q <= 1.0 for q in several):
        raise InputError(f"quantiles={several}; expected one or more numbers above 0, 1 at most")
    distances = squares.sqrt().numpy()[np.triu_indices(len(squares), 1)]
    # repeated stimuli say nothing about the width of the kernel
    distances = distances[distances > 0]
    return sorted({float(q) for q in np.quantile(distances, several)}) if distances.size else []


def _components(squares: torch.Tensor, width: float) -> _Kernel | None:
    """Components of the centred kernel that are above rounding; None where all are equally large."""
    # centring takes the constant off: without it a wide kernel keeps its digits
    kernel = torch.expm1(squares / width / width / -2.0)
    means = kernel.mean(dim=0)
    kernel = kernel - means[:, None] - means[None, :] + means.mean()
    values, vectors = (torch.flip(part, (-1,)).numpy() for part in eigh_psd(kernel))
    rounding = len(values) * _EPS * values[0]
    kept = int((values > rounding).sum())
    if kept == 0 or (kept > 1 and values[0] - values[kept - 1] <= 16 * rounding):
        return None  # the order of equal components, and with it the curve, would be one of chance
    return _Kernel(width, vectors[:, :kept], values[:kept])


def _error_curve(vectors: np.ndarray, labels: _Labels, count: int) -> np.ndarray:
    explained = ((vectors.T @ labels.centred) ** 2).sum(axis=1) / labels.total
    out = np.ones(count + 1)
    out[1 : len(explained) + 1] = 1.0 - np.cumsum(explained)
    out[len(explained) + 1 :] = out[len(explained)]
    return np.clip(out, 0.0, 1.0)


def _accuracy_curve(vectors: np.ndarray, shrunk: np.ndarray, labels: _Labels, count: int) -> np.ndarray:
    """Leave-one-out accuracy of ridge regression on the leading components, one after the other."""
    n = len(vectors)
    leverage = np.full(n, 1.0 / n)
    fitted = np.zeros_like(labels.centred)
    out = np.empty(count + 1)
    out[0] = _accuracy(fitted, leverage, labels)
    for d, weight in enumerate(shrunk, start=1):
        component = vectors[:, d - 1]
        fitted += weight * np.outer(component, component @ labels.centred)
        leverage += weight * component**2
        out[d] = _accuracy(fitted, leverage, labels)
    out[len(shrunk) + 1 :] = out[len(shrunk)]
    return out


def _accuracy(fitted: np.ndarray, leverage: np.ndarray, labels: _Labels) -> float:
    """Share of classes, or R2, of the predictions of each stimulus from all the others."""
    free = 1.0 - leverage
    if free.min() <= 16 * _EPS * len(leverage):
        return float("nan")  # a stimulus that alone sets its own prediction has none without it
    left = (labels.centred - fitted) / free[:, None]
    if labels.codes is None:
        n = len(left)
        alone = labels.centred * n / (n - 1)
        return float(1.0 - (left**2).sum() / (alone**2).sum())
    return float(np.mean((labels.centred - left).argmax(axis=1) == labels.codes))


def match_sites(features: Any, n_sites: int, noise_sd: Any = 0.0, *, random_state: int = 0) -> np.ndarray:
    """Return some units with noise added, so that a model has the sites and the noise of a recording.

    Parameters
    ----------
    features : array (n_stimuli, n_units)
    n_sites : int, 1 to n_units
        Units to draw without replacement.
    noise_sd : number or array (n_units,), 0 or more
        Standard deviation of the Gaussian noise, in standard deviations of each unit over
        stimuli: the noise-to-signal ratio of the recorded sites. A unit that does not vary
        gets none.
    random_state : int

    Returns
    -------
    float64 array (n_stimuli, n_sites), units in the order of the draw.

    Raises
    ------
    InputError
        n_sites outside 1 to n_units, noise_sd negative or not finite.
    ShapeError
        noise_sd of another length.

    Notes
    -----
    Kernel analysis, as every measure without a correction for noise, favours the system with
    more units and less noise: bring both to the same number of sites and the same noise first.
    Cost: O(n n_sites). Source: Cadieu et al. 2014, doi:10.1371/journal.pcbi.1003963.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(30, 200))
    >>> match_sites(features, 50, 0.5, random_state=1).shape
    (30, 50)
    """
    values = finite_matrix("features", features)
    n, n_units = values.shape
    seed(random_state)
    if not 1 <= whole_number("n_sites", n_sites, low=0) <= n_units:
        raise InputError(f"n_sites={n_sites} of {n_units} units; expected 1 to {n_units}")
    noise = plain_array("noise_sd", noise_sd)
    if noise.dtype.kind not in "fiu":
        raise InputError(f"noise_sd has dtype {noise.dtype}; expected numbers of 0 or more")
    noise = noise.astype(np.float64)
    if noise.ndim > 1 or (noise.ndim == 1 and len(noise) != n_units):
        raise ShapeError(f"noise_sd has shape {noise.shape}; expected one number or ({n_units},)")
    if not (np.isfinite(noise).all() and (noise >= 0).all()):
        raise InputError("noise_sd has values that are negative or not finite; expected 0 or more")
    rng = np.random.default_rng(random_state)
    chosen = rng.permutation(n_units)[:n_sites]
    sites = values[:, chosen]
    largest = np.abs(sites).max(axis=0)
    size = np.where(largest > 0, largest, 1.0)
    spread = (sites / size).std(axis=0)
    spread[spread <= n * _EPS] = 0.0
    sd = np.broadcast_to(noise, (n_units,))[chosen] * spread * size
    out: np.ndarray = sites + sd * rng.normal(size=(n, n_sites))
    return out
