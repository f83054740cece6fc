"""What a model RDM explains beyond others: partial correlations and regression of RDMs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from brainalign._checks import one_of
from brainalign.comparison._ranks import mid_ranks
from brainalign.comparison._rdm_masks import mask_groups
from brainalign.comparison._rdm_stacks import as_stack, upper_triangle
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.errors import InputError, ShapeError
from brainalign.types import RDMs

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class RegressionRsa:
    """Data RDMs as weighted sums of model RDMs.

    Parameters
    ----------
    weights : array (k, m), in units of data per unit of model
    intercept : array (k,)
    r2 : array (k,), share of the variance over pairs that the fit explains (same pairs)
    unique_r2 : array (k, m), what is lost without this model, refitted
    n_pairs : array (k,), pairs of stimuli that entered
    """

    weights: FloatArray
    intercept: FloatArray
    r2: FloatArray
    unique_r2: FloatArray
    n_pairs: np.ndarray[Any, np.dtype[np.int64]]


def partial_rsa(
    data_rdms: Any,
    model_rdms: Any,
    control_rdms: Any = None,
    *,
    measure: str = "spearman",
    join: str = "same",
) -> Any:
    """Return the correlation of data and model RDMs with the control RDMs held constant.

    Parameters
    ----------
    data_rdms : array (n, n) or (k, n, n), or RDMs
    model_rdms : array (n, n) or (m, n, n), or RDMs
    control_rdms : array (n, n) or (c, n, n), RDMs, or None
        None: each model is controlled for all other models (at least 2 models).
    measure : ``"pearson"`` or ``"spearman"`` (mid-ranks of data, models and controls)
    join : as in `compare_rdms`, for RDMs over different stimuli

    Returns
    -------
    float for two matrices, else array (k, m), in [-1, 1]; tensors give a tensor. The Pearson
    correlation of what a linear fit of the controls (and a constant) leaves of both. NaN, with
    a warning that counts them, where nothing is left: a model (or data RDM) that the controls
    determine, as A given A, has no partial correlation, neither 0 nor 1. Pairs of stimuli that
    are NaN in the data RDM, in the model or in any control are left out for that data and model
    alone.

    Raises
    ------
    ShapeError
        Not square, different numbers of stimuli, fewer than 4; one model without controls.
    InputError
        Another measure; not symmetric, diagonal not zero, arrays mixed with RDMs.
    AlignmentError
        RDMs over different stimuli with ``join="same"``.

    Notes
    -----
    Invariant to linear maps of each RDM (Spearman: to rising maps of data and models), not to
    other maps of a control with Pearson. Cost: O(P c^2 + P c (k + m) + P k m) after ranking for
    each pattern of missing pairs, P = n (n - 1) / 2. Source: Kornblith & Tsao 2017,
    doi:10.1016/j.conb.2017.02.004, and Groen et al. 2018, doi:10.7554/eLife.32962.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = (np.abs(u[:, None] - u) for u in rng.normal(size=(2, 12)))
    >>> round(partial_rsa(a + b, a, b, measure="pearson"), 6)
    1.0
    """
    one_of("measure", measure, ("pearson", "spearman"))
    given = [("data_rdms", data_rdms), ("model_rdms", model_rdms)]
    if control_rdms is not None:
        given.append(("control_rdms", control_rdms))
    vectors = _vectors(given, join)
    data, models = vectors[0], vectors[1]
    if control_rdms is not None:
        out = _given_controls(data, models, vectors[2], measure)
    elif len(models) < 2:
        raise ShapeError("one model RDM and no control_rdms; give controls, or at least 2 models")
    else:
        columns = [
            _given_controls(data, models[j : j + 1], np.delete(models, j, axis=0), measure)
            for j in range(len(models))
        ]
        out = np.concatenate(columns, axis=1)
    if np.isnan(out).any():
        warnings.warn(
            f"{int(np.isnan(out).sum())} of {out.size} partial correlations are NaN: nothing of the model or "
            "of the data is left when the controls are held constant, or fewer than controls + 3 pairs are "
            "known",
            stacklevel=2,
        )
    single = np.ndim(data_rdms) == 2 and np.ndim(model_rdms) == 2
    tensor = next((v for v in (data_rdms, model_rdms) if isinstance(v, torch.Tensor)), None)
    if tensor is not None:
        table = torch.from_numpy(out).to(tensor.device)
        return table[0, 0] if single else table
    return float(out[0, 0]) if single else out


def _vectors(given: list[tuple[str, Any]], join: str) -> list[FloatArray]:
    """Upper triangles (k, n_pairs) of all stacks, over the same stimuli."""
    names, values = zip(*given, strict=True)
    if any(isinstance(v, RDMs) for v in values):
        stacks = [one.values.astype(np.float64) for one in join_rdms(*values, join=join, names=names)]
    elif join != "same":
        raise InputError(f"join={join!r} joins by stimulus_id, and plain arrays have none; give RDMs")
    else:
        stacks = [as_stack(name, value) for name, value in given]
    n = stacks[0].shape[1]
    for name, stack in zip(names, stacks, strict=True):
        if stack.shape[1] != n:
            raise ShapeError(
                f"{names[0]} is over {n} stimuli and {name} over {stack.shape[1]}; they must agree"
            )
    if n < 4:
        raise ShapeError(f"RDMs over {n} stimuli; a fit of RDMs needs at least 4")
    return [upper_triangle(stack) for stack in stacks]


def _of_size_one(vectors: FloatArray) -> FloatArray:
    """Rows over their largest entry, whose squares neither overflow nor vanish."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    out: FloatArray = vectors / np.where(largest > 0, largest, 1.0)
    return out


def _given_controls(data: FloatArray, models: FloatArray, controls: FloatArray, measure: str) -> FloatArray:
    out = np.full((len(data), len(models)), np.nan)
    known = ~np.isnan(controls).any(axis=0)
    for rows, columns, both in mask_groups(data, models):
        keep = both & known
        if keep.sum() < len(controls) + 3:
            continue
        parts = (data[rows][:, keep], models[columns][:, keep], controls[:, keep])
        if measure == "spearman":
            u, v, held = (mid_ranks(torch.from_numpy(np.ascontiguousarray(p))).numpy() for p in parts)
        else:
            u, v, held = (_of_size_one(p) for p in parts)
        basis = _basis(held)
        first, second = _left_over(u, basis), _left_over(v, basis)
        out[np.ix_(rows, columns)] = np.clip(first @ second.T, -1.0, 1.0)
    return out


def _basis(vectors: FloatArray) -> FloatArray:
    """Orthonormal rows that span the vectors (c, P) without their means."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    floor = _ROUNDING * np.abs(vectors).max(axis=1, keepdims=True) * np.sqrt(vectors.shape[1])
    scaled = np.where(norms > floor, centred / np.where(norms > 0, norms, 1.0), 0.0)
    _, values, axes = np.linalg.svd(scaled, full_matrices=False)
    out: FloatArray = axes[values > _ROUNDING * max(values.max(initial=0.0), 1e-300)]
    return out


def _left_over(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """Unit residuals of the rows; NaN where only rounding is left."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    left = centred - (centred @ basis.T) @ basis
    left -= (left @ basis.T) @ basis  # the second time removes the rounding of the first
    norms = np.linalg.norm(left, axis=1, keepdims=True)
    size = np.sqrt(vectors.shape[1]) * np.abs(vectors).max(axis=1, keepdims=True)
    out: FloatArray = left / np.where(norms > _ROUNDING * size, norms, np.nan)
    return out


def regression_rsa(
    data_rdms: Any, model_rdms: Any, *, non_negative: bool = False, join: str = "same"
) -> RegressionRsa:
    """Fit every data RDM by a weighted sum of model RDMs and a constant.

    Parameters
    ----------
    data_rdms : array (n, n) or (k, n, n), or RDMs
    model_rdms : array (n, n) or (m, n, n), or RDMs
    non_negative : bool
        False: ordinary least squares. True: weights at least 0 (a weighted sum of squared
        distances is again one); the constant is free.
    join : as in `compare_rdms`

    Returns
    -------
    RegressionRsa
        Weights and intercept are NaN, with a warning, where the models are linearly dependent
        (ordinary least squares): R2 is still that of their span. All is NaN, counted, for a
        constant data RDM or one with fewer known pairs than models + 2. Pairs that are NaN in
        the data RDM or in any model are left out for that data RDM.

    Raises
    ------
    ShapeError, InputError, AlignmentError
        As in `partial_rsa`.

    Notes
    -----
    R2 is of the pairs that were fitted and grows with the number of models; cross-validate over
    stimuli to compare sets of models. Cost: O(P m^2 + P k m) for each pattern of missing pairs,
    plus (non-negative) k (m + 1) problems of size m. Source: Khaligh-Razavi & Kriegeskorte 2014,
    doi:10.1371/journal.pcbi.1003915; unique parts as in Legendre & Legendre 2012, chapter 10.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = (np.abs(u[:, None] - u) for u in rng.normal(size=(2, 12)))
    >>> fit = regression_rsa(2.0 * a + 3.0 * b, np.stack([a, b]))
    >>> fit.weights.round(6), fit.r2.round(6)
    (array([[2., 3.]]), array([1.]))
    """
    data, models = _vectors([("data_rdms", data_rdms), ("model_rdms", model_rdms)], join)
    k, m = len(data), len(models)
    weights, unique = np.full((k, m), np.nan), np.full((k, m), np.nan)
    intercept, r2 = np.full(k, np.nan), np.full(k, np.nan)
    n_pairs = np.zeros(k, dtype=np.int64)
    for rows, _, keep in mask_groups(data, models.sum(axis=0, keepdims=True)):
        n_pairs[rows] = int(keep.sum())
        if keep.sum() < m + 2:
            continue
        fit = _fit(data[rows][:, keep], models[:, keep], non_negative)
        weights[rows], intercept[rows], r2[rows], unique[rows] = fit
    _warn_of_fits(weights, r2)
    return RegressionRsa(weights, intercept, r2, unique, n_pairs)


def _warn_of_fits(weights: FloatArray, r2: FloatArray) -> None:
    failed = np.isnan(r2)
    if failed.any():
        warnings.warn(
            f"{int(failed.sum())} of {len(r2)} fits are NaN: the data RDM is constant, or fewer pairs of "
            "stimuli than models + 2 are known",
            stacklevel=3,
        )
    dependent = np.isnan(weights).any(axis=1) & ~failed
    if dependent.any():
        warnings.warn(
            f"{int(dependent.sum())} of {len(r2)} fits have no weights (NaN): the model RDMs are constant or "
            "linearly dependent; R2 is that of all of them together. Leave one out, or use non_negative=True",
            stacklevel=3,
        )


def _fit(
    data: FloatArray, models: FloatArray, non_negative: bool
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Weights (k, m), intercepts (k,), R2 (k,), unique R2 (k, m) of complete rows."""
    mean, centre = data.mean(axis=1), models.mean(axis=1)
    target, design = data - mean[:, None], models - centre[:, None]
    total = (target**2).sum(axis=1)
    floor = (_ROUNDING * np.abs(data).max(axis=1)) ** 2 * data.shape[1]
    total = np.where(total > floor, total, np.nan)
    solve = _non_negative if non_negative else _least_squares
    weights, explained = solve(target, design)
    m = len(models)
    parts = [solve(target, np.delete(design, j, axis=0))[1] if m > 1 else 0.0 * explained for j in range(m)]
    r2 = explained / total
    unique = np.stack([(explained - part) / total for part in parts], axis=1)
    weights = np.where(np.isnan(total)[:, None], np.nan, weights)
    return weights, mean - weights @ centre, r2, np.maximum(unique, 0.0)


def _least_squares(target: FloatArray, design: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights, NaN where they are not determined, and the sum of squares that is explained."""
    basis = _basis(design)
    explained: FloatArray = ((target @ basis.T) ** 2).sum(axis=1)
    if len(basis) < len(design):
        return np.full((len(target), len(design)), np.nan), explained
    weights: FloatArray = np.linalg.solve(design @ basis.T, np.eye(len(design))).T @ (basis @ target.T)
    return weights.T, explained


def _non_negative(target: FloatArray, design: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Non-negative weights in the span of the design, and the sum of squares that is explained."""
    q, r = np.linalg.qr(design.T)
    scale = np.linalg.norm(r, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    reduced = target @ q
    weights: FloatArray = np.stack([nnls(r / scale, row)[0] / scale for row in reduced])
    left = target - weights @ design
    explained: FloatArray = (target**2).sum(axis=1) - (left**2).sum(axis=1)
    return weights, np.maximum(explained, 0.0)
