"""How much of the variance of a representation each feature takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unknown_name
from brainalign.comparison._descriptor_labels import class_codes, column, named_labels, one_hot
from brainalign.comparison._descriptor_spectrum import varying
from brainalign.comparison._option_checks import is_count, seed
from brainalign.errors import InputError


def variance_by_feature(
    x: object,
    features: Mapping[str, Any] | pd.DataFrame,
    *,
    continuous: str | Collection[str] = (),
    n_folds: int | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return the share of the variance of a representation that each feature explains on its own.

    Two features that a system computes equally well may take very different shares, and
    measures of similarity see the larger one.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged, stimuli in order of first appearance)
    features : {name: labels (n_stimuli,)} or DataFrame with one column per feature
        Classes of any type; numbers too are classes unless named in `continuous`.
    continuous : name or names of the features that enter as numbers, by a line
    n_folds : int or None
        With a number, also the cross-validated share.
    random_state : int
        Of the folds.

    Returns
    -------
    DataFrame, index `feature` in the given order, columns
        r2 : in [0, 1]
            Share of the summed variance of all units, by class means (or a line). For noise
            about (n_classes - 1) / (n_stimuli - 1). Shares of correlated features overlap.
        r2_cross_validated : at most 1
            Only with `n_folds`: the same for left-out stimuli against the mean of the training
            ones, per fold and averaged; about 0 or below for noise.
        pca_rank : int
            Rank, by variance, of the principal component that the feature explains best.
        pca_r2 : in [0, 1]
            The share of that component which it explains.
        n_selective_units : int
            Varying units of which this feature explains more than every other feature.
        selectivity : in [-1, 1]
            Mean over varying units of the r2 of this feature minus the highest r2 of another
            (minus 0 where it is the only one).

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, features of another length.
    InputError
        A feature with one value, or with so many classes that means would be of single
        stimuli (more than half as many as stimuli): name it in `continuous`; values not
        finite; x does not vary; `n_folds` below 2 or above the number of stimuli.
    UnknownNameError
        A name in `continuous` is not among the features.

    Notes
    -----
    Invariant (r2, PCA) to rotation and permutation of units, to one factor and to a vector added to
    every row; selectivity is one of units and changes with rotation. Time O(n p min(n, p)) for
    the components, O(n p k) for k classes. After Lampinen et al. 2024, arXiv:2405.05847.

    Examples
    --------
    >>> from brainalign.simulate import feature_bias
    >>> (system,) = feature_bias([(0.55, 0.05)])
    >>> variance_by_feature(system.values, system.samples[["easy", "hard"]]).r2.round(2).tolist()
    [0.55, 0.05]
    """
    values = varying("x", x).values
    n = len(values)
    named = named_labels("features", features, fewest=1)
    continuous = (continuous,) if isinstance(continuous, str) else continuous
    if not isinstance(continuous, Collection):
        raise InputError(f"continuous={continuous!r}; expected a list of names of features")
    random_state = seed(random_state)
    for name in continuous:
        if name not in named:
            raise unknown_name("feature", name, named)
    if n_folds is not None and not (is_count(n_folds, 2) and n_folds <= n):
        raise InputError(f"n_folds={n_folds!r}; expected 2 to {n}, the number of stimuli, or None")
    designs = [_design(name, labels, n, number=name in continuous) for name, labels in named.items()]
    varies = values.any(axis=0)
    # each unit by its own largest value, so that the squares of a quiet one do not vanish
    units = values[:, varies] / np.abs(values[:, varies]).max(axis=0)
    by_unit = np.stack([_explained(design, units) for design in designs])
    pooled = [_pooled_share(design, values) for design in designs]
    components = _components(values)
    by_component = np.stack([_explained(design, components) for design in designs])
    best = by_component.argmax(axis=1)
    margin = by_unit - _highest_other(by_unit)
    out = pd.DataFrame({"r2": pooled}, index=pd.Index(list(named), name="feature"))
    if n_folds is not None:
        folds = np.random.default_rng(random_state).permutation(n) % n_folds
        out["r2_cross_validated"] = [_left_out(design, values, folds) for design in designs]
    out["pca_rank"] = best + 1
    out["pca_r2"] = by_component[np.arange(len(best)), best]
    out["n_selective_units"] = (margin > 0).sum(axis=1)
    out["selectivity"] = margin.mean(axis=1)
    return out


def _design(name: str, labels: Any, n: int, *, number: bool) -> np.ndarray:
    """Regressors (n, k) of a feature, which span the constant too."""
    if number:
        values = column(f"feature {name!r}", labels, n)
        # a line does not depend on the scale, but its squares must exist
        values = values / np.abs(values).max()
        return np.column_stack([np.ones(n), values])
    codes = class_codes(f"feature {name!r}", labels, n)
    if 2 * (codes.max() + 1) > n and codes.max() > 1:
        raise InputError(
            f"feature {name!r} has {codes.max() + 1} classes for {n} stimuli, too many for class means; "
            f"if it is a number, pass continuous=[{name!r}]"
        )
    return one_hot(codes)


def _explained(design: np.ndarray, centred: np.ndarray) -> np.ndarray:
    """Share of the variance of each centred column that the design explains, (p,)."""
    basis = _centred_basis(design)
    share = ((basis.T @ centred) ** 2).sum(axis=0) / (centred**2).sum(axis=0)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _pooled_share(design: np.ndarray, centred: np.ndarray) -> float:
    projected = _centred_basis(design).T @ centred
    return min(1.0, float(np.vdot(projected, projected)) / float(np.vdot(centred, centred)))


def _centred_basis(design: np.ndarray) -> np.ndarray:
    """Orthonormal basis of what the design spans beside the constant."""
    u, s, _ = np.linalg.svd(design - design.mean(axis=0), full_matrices=False)
    return np.asarray(u[:, s > len(design) * np.finfo(np.float64).eps * s[0]])


def _components(values: np.ndarray) -> np.ndarray:
    """Scores of the principal components, columns of norm one, by descending variance."""
    u, s, _ = np.linalg.svd(values, full_matrices=False)
    kept = s > max(values.shape) * np.finfo(np.float64).eps * s[0]
    return np.asarray(u[:, kept])


def _highest_other(by_unit: np.ndarray) -> np.ndarray:
    """For each feature and unit, the highest share of another feature; 0 where there is no other."""
    if len(by_unit) == 1:
        return np.zeros_like(by_unit)
    order = np.sort(by_unit, axis=0)
    highest, second = order[-1], order[-2]
    return np.asarray(np.where(by_unit == highest, second, highest))


def _left_out(design: np.ndarray, values: np.ndarray, folds: np.ndarray) -> float:
    """R2 over all units for left-out stimuli, against the mean of the training ones, mean over folds."""
    scores = []
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        mean, middle = values[~test].mean(axis=0), design[~test].mean(axis=0)
        weights = np.linalg.lstsq(design[~test] - middle, values[~test] - mean, rcond=None)[0]
        deviations = values[test] - mean
        residuals = deviations - (design[test] - middle) @ weights
        total = float(np.vdot(deviations, deviations))
        if total > 0:
            scores.append(1.0 - float(np.vdot(residuals, residuals)) / total)
    return float(np.mean(scores))
