"""Variance partitioning of RDMs: what each model RDM explains alone, and what it shares."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from brainalign._checks import one_of, unknown_name
from brainalign.comparison._inner_measures import checked_stack, named_rdms
from brainalign.comparison._nonnegative import nonnegative_weights
from brainalign.comparison._option_checks import generator_of, is_count
from brainalign.comparison._rdm_masks import mask_groups
from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison._rsa_folds import fold_labels
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics.rank_correlation import settle_ties
from brainalign.statistics.subsets import (
    shapley_values,
    subset_components,
    subset_masks,
    unique_contributions,
)
from brainalign.types import RDMs

FITS = ("ols", "non_negative")
MOST_MODELS = 8
_FEWEST_IN_FOLD = 4
_RANK = 1e-10
_CONSTANT = 1e-20


@dataclass(frozen=True, eq=False)
class RdmPartition:
    """R2 of every subset of model RDMs and its division among them, for each data RDM.

    Subsets stand in bitmask order: row ``m - 1`` holds model j where bit j of m is set; the last
    row is all models. NaN for a data RDM without a fit.

    Parameters
    ----------
    names : tuple of str, the models
    subsets : names of the members of each subset, 2^n_models - 1 tuples
    r2 : array (n_subsets, k)
    shared : array (n_subsets, k), what exactly the members of the subset share; of a single model its
        unique part; the rows sum to the R2 of all models. May be negative (suppression).
    unique : array (n_models, k), R2 of all models less that of all others
    shapley : array (n_models, k), mean over all orders of adding the models; sums to the R2 of all
    kind : ``"fitted"`` (in-sample) or ``"cross-validated"``
    fit, measure : str
    n_folds : int, 1 in-sample
    """

    names: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]
    r2: np.ndarray = field(repr=False)
    shared: np.ndarray = field(repr=False)
    unique: np.ndarray
    shapley: np.ndarray
    kind: str
    fit: str
    measure: str
    n_folds: int

    def row(self, *names: str) -> int:
        """Row of the subset of these models in `r2` and `shared`.

        Raises
        ------
        UnknownNameError
            A name is not one of `names`, or none is given.
        """
        for name in names or ("",):
            if name not in self.names:
                raise unknown_name("model", name, self.names)
        return sum(1 << self.names.index(name) for name in set(names)) - 1

    def to_frame(self) -> pd.DataFrame:
        """One row a data RDM and subset: rdm, subset, n_models, r2, shared, unique, shapley, kind, fit.

        `unique` and `shapley` are NaN for subsets of several models.
        """
        k = self.r2.shape[1]
        single = [2**j - 1 for j in range(len(self.names))]
        columns = {}
        for name in ("unique", "shapley"):
            column = np.full((k, len(self.subsets)), np.nan)
            column[:, single] = getattr(self, name).T
            columns[name] = column.ravel()
        return pd.DataFrame(
            {
                "rdm": np.repeat(np.arange(k), len(self.subsets)),
                "subset": [" + ".join(s) for s in self.subsets] * k,
                "n_models": [len(s) for s in self.subsets] * k,
                "r2": self.r2.T.ravel(),
                "shared": self.shared.T.ravel(),
                **columns,
                "kind": self.kind,
                "fit": self.fit,
            }
        )


def partition_rdms(
    data_rdms: Any,
    model_rdms: Any,
    *,
    fit: str = "ols",
    measure: str = "pearson",
    n_folds: int = 1,
    names: Sequence[str] | None = None,
    random_state: int | np.random.Generator = 0,
) -> RdmPartition:
    """Divide the variance of data RDMs among up to 8 model RDMs.

    Parameters
    ----------
    data_rdms : array (n, n) or (k, n, n), or RDMs; each one is fitted for itself
    model_rdms : {name: (n, n)}, array (m, n, n) or RDMs
    fit : ``"ols"`` or ``"non_negative"`` (weights at least 0); both with a free constant
    measure : ``"pearson"`` (dissimilarities) or ``"spearman"`` (their mid-ranks)
    n_folds : int
        1: R2 of the pairs that were fitted, which never falls with another model. 2 or more:
        weights from the pairs among training stimuli, R2 on the pairs among held-out stimuli
        against the training mean, averaged over folds of at least 4 stimuli; 0 is no gain over
        the mean, and it may be negative. Ranks are then taken within each part.
    names : names of the models
    random_state : int or numpy Generator, of the folds

    Returns
    -------
    RdmPartition. NaN, counted in a warning, for a data RDM that is constant or has too few known
    pairs. Pairs that are NaN in any model or in the data RDM are left out for that data RDM.

    Raises
    ------
    ShapeError
        More than 8 models; other numbers of stimuli; fewer than 4 stimuli.
    InputError
        An unknown fit or measure; folds too many.
    AlignmentError
        `RDMs` against arrays, or over other stimuli.

    Notes
    -----
    All 2^m subsets are solved at once from the Gram matrix of the models: O(P m (m + k)) for the
    products and O(2^m (m^3 + k m^2)) for the fits (non-negative: k 2^m small problems). Models that depend
    linearly on others add nothing (OLS). Source: commonality analysis as in `subset_components`;
    for RDMs Groen et al. 2018, doi:10.7554/eLife.32962. In-sample R2 of ``"ols"`` is that of
    `regression_rsa`, to whose weights this adds the subsets.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = (np.abs(u[:, None] - u) for u in rng.normal(size=(2, 12)))
    >>> found = partition_rdms(a, {"a": a, "b": b})
    >>> found.subsets, found.r2[:, 0].round(2).tolist()[::2]
    ((('a',), ('b',), ('a', 'b')), [1.0, 1.0])
    """
    one_of("fit", fit, FITS)
    one_of("measure", measure, ("pearson", "spearman"))
    data, models, labels = _inputs(data_rdms, model_rdms, names)
    m = len(models)
    n = data.shape[1]
    folds = np.zeros(n, dtype=int) if is_count(n_folds) and n_folds == 1 else _folds(n, n_folds, random_state)
    total = np.zeros((2**m, len(data)))
    rows, columns = np.triu_indices(n, 1)
    y, x = _scaled(upper_triangle(data)), _scaled(upper_triangle(models))
    for fold in range(n_folds):
        test = (folds[rows] == fold) & (folds[columns] == fold)
        train = test if n_folds == 1 else (folds[rows] != fold) & (folds[columns] != fold)
        total += _r2(y, x, train, test, fit, measure) / n_folds
    missing = int(np.isnan(total[-1]).sum())
    if missing:
        warnings.warn(
            f"{missing} of {len(data)} data RDMs have no R2 (NaN): they are constant, or fewer pairs of "
            "stimuli than "
            "models + 2 are known (in a fold)",
            stacklevel=2,
        )
    subsets = tuple(tuple(np.array(labels)[mask].tolist()) for mask in subset_masks(m)[1:])
    return RdmPartition(
        tuple(labels),
        subsets,
        total[1:],
        subset_components(total)[1:],
        unique_contributions(total),
        shapley_values(total),
        "fitted" if n_folds == 1 else "cross-validated",
        fit,
        measure,
        n_folds,
    )


def _inputs(
    data_rdms: Any, model_rdms: Any, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    plain, labels = named_rdms("model_rdms", model_rdms, ("model", "name", "layer"), names)
    if isinstance(plain, RDMs) != isinstance(data_rdms, RDMs):
        raise AlignmentError(
            "one of data_rdms and model_rdms is RDMs and the other is not; stimuli are joined by id or by "
            "position, "
            "never both"
        )
    if isinstance(data_rdms, RDMs):
        data_rdms, plain = join_rdms(data_rdms, plain, names=("data_rdms", "model_rdms"))
    data = checked_stack("data_rdms", data_rdms)
    models = checked_stack("model_rdms", plain, data.shape[1])
    if len(models) > MOST_MODELS:
        raise ShapeError(
            f"{len(models)} models have {2 ** len(models)} subsets; expected at most {MOST_MODELS}: average "
            "related ones"
        )
    if data.shape[1] < 4:
        raise ShapeError(f"RDMs over {data.shape[1]} stimuli; a fit of RDMs needs at least 4")
    return data, models, labels


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Each RDM divided by a power of two, so that products of any unit are float64 numbers; R2 stays."""
    largest = np.nanmax(np.abs(vectors), axis=1, initial=0.0)
    return np.asarray(np.ldexp(vectors, -np.frexp(largest)[1][:, None]))


def _folds(n: int, n_folds: int, random_state: int | np.random.Generator) -> np.ndarray:
    if not is_count(n_folds, 1):
        raise InputError(f"n_folds={n_folds!r}; expected 1 (in-sample) or at least 2 folds of stimuli")
    return fold_labels(n, n_folds, "stimuli", _FEWEST_IN_FOLD, generator_of(random_state))


def _r2(
    y: np.ndarray, x: np.ndarray, train: np.ndarray, test: np.ndarray, fit: str, measure: str
) -> np.ndarray:
    """R2 (2^m, k) on the test pairs of fits to the training pairs; row 0, no model, is 0."""
    out = np.full((2 ** len(x), len(y)), np.nan)
    for which, design, target, keep in _complete(y, x):
        parts = [_centred(design, target, pairs & keep, measure) for pairs in (train, test)]
        if min((pairs & keep).sum() for pairs in (train, test)) < len(x) + 2:
            continue
        (a, b, _, _), (u, v, mu, mv) = parts
        # the test part in units of the training means: the constant of a fit is theirs
        u, v = u + mu - parts[0][2], v + mv - parts[0][3]
        weights = _subset_weights(a @ a.T, a @ b.T, fit)
        total = (v**2).sum(axis=1)
        spread = (b**2).sum(axis=1)
        gram, cross = u @ u.T, u @ v.T
        gained = 2.0 * np.einsum("smk,mk->sk", weights, cross)
        gained -= np.einsum("smk,mj,sjk->sk", weights, gram, weights, optimize=True)
        size = (target[:, keep] ** 2).sum(axis=1)
        known = (total > _CONSTANT * size) & (spread > _CONSTANT * size)
        out[:, which] = np.where(known, gained / np.where(known, total, 1.0), np.nan)
    return out


def _complete(
    y: np.ndarray, x: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Data RDMs with the same known pairs: their positions, models and data (0 where missing), the pairs."""
    for which, _, keep in mask_groups(y, x.sum(axis=0, keepdims=True)):
        yield which, np.where(keep, x, 0.0), np.where(keep, y[which], 0.0), keep


def _centred(
    x: np.ndarray, y: np.ndarray, pairs: np.ndarray, measure: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Models and data over some pairs less their means, and the means (., 1); ranks are in (0, 1)."""
    a, b = x[:, pairs], y[:, pairs]
    if measure == "spearman" and a.shape[1]:
        a, b = ((stats.rankdata(settle_ties(v), axis=1) - 0.5) / v.shape[1] for v in (a, b))
    if not a.shape[1]:
        return a, b, np.zeros((len(a), 1)), np.zeros((len(b), 1))
    ma, mb = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    return a - ma, b - mb, ma, mb


def _subset_weights(gram: np.ndarray, target: np.ndarray, fit: str) -> np.ndarray:
    """Weights (2^m, m, k) of every subset of models, 0 outside of the subset."""
    m, k = target.shape
    masks = subset_masks(m)
    own = np.diagonal(gram)
    scale = np.where(own > 0, np.sqrt(own), 1.0)
    gram, target = gram / np.outer(scale, scale), target / scale[:, None]
    inside = masks[:, :, None] & masks[:, None, :]
    if fit == "ols":
        inverse = np.linalg.pinv(np.where(inside, gram, 0.0), rcond=_RANK, hermitian=True)
        weights = inverse @ target
    else:
        systems = np.where(inside, gram, np.eye(m))
        aims = np.where(masks[:, :, None], target, 0.0)
        flat = (
            torch.from_numpy(np.repeat(systems, k, axis=0)),
            torch.from_numpy(aims.swapaxes(1, 2).reshape(-1, m).copy()),
        )
        weights = nonnegative_weights(*flat).numpy().reshape(len(masks), k, m).swapaxes(1, 2)
    return np.asarray(weights * masks[:, :, None] / scale[:, None])
