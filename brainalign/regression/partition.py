"""Which feature space explains what: unique and shared R2 of every subset of spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._arrays import resolve_device
from brainalign._checks import one_of, unknown_name
from brainalign._linalg import full_precision
from brainalign.regression._partition_input import (
    inner_folds,
    outer_folds,
    read_responses,
    read_spaces,
    read_weights,
)
from brainalign.regression._partition_scores import ScoredBlock
from brainalign.regression._partition_spaces import open_spaces
from brainalign.regression._penalties import check_alphas
from brainalign.regression._sources import NAN_REASONS, NOT_FINITE, Targets, compute_dtype, to_result
from brainalign.statistics import (
    shapley_values,
    subset_components,
    subset_masks,
    unique_contributions,
)

PARTITION_SCORINGS = ("r2", "r2_train_mean")


@dataclass(frozen=True)
class VariancePartition:
    """The R2 of every subset of feature spaces and its division among them.

    Arrays are numpy or torch, as went in, float64. A target without a score is NaN in all of
    them. Subsets stand in bitmask order: row ``m - 1`` holds space j where bit j of m is set;
    the last row is all spaces. `row` finds a subset by its names.

    Attributes
    ----------
    names : the feature spaces
    subsets : names of the members of each subset, 2^n_spaces - 1 tuples
    r2 : (n_subsets, n_targets) held-out R2 of the model of each subset, at most 1
    shared : (n_subsets, n_targets) what exactly this subset shares (its commonality): each of
        its members can explain it and no other space can. Of a single space: its unique part.
        The rows sum to the R2 of all spaces.
    unique : (n_spaces, n_targets) R2 of all spaces less that of all others
    shapley : (n_spaces, n_targets) mean over all orders of what the space adds; sums to the R2
        of all spaces
    product_measure : (n_spaces, n_targets) shares of the R2 of the one joint model; sums to it
    split_correlation : (n_spaces, n_targets) shares of its Pearson correlation; sums to `correlation`
    correlation : (n_targets,) Pearson correlation of the joint model, held out
    n_negative : (n_subsets,) number of targets whose row of `shared` is below zero
    edge_hits : (n_subsets, 2) share of all (fold, target) fits whose penalty is the smallest, the
        largest of the grid
    nan_codes : (n_targets,) 0 fitted, 1 NaN or infinite response, 2 constant response, 3 no score
    nan_reasons : reason -> number of targets without a score
    scoring : which R2
    n_folds : number of outer folds
    """

    names: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]
    r2: Any
    shared: Any
    unique: Any
    shapley: Any
    product_measure: Any
    split_correlation: Any
    correlation: Any
    n_negative: Any
    edge_hits: Any
    nan_codes: Any
    nan_reasons: dict[str, int]
    scoring: str
    n_folds: int

    def row(self, *names: str) -> int:
        """Row of the subset of these spaces in `r2`, `shared`, `n_negative` and `edge_hits`.

        Raises
        ------
        UnknownNameError
            A name is not one of `names`, or none is given.
        """
        for name in names or ("",):
            if name not in self.names:
                raise unknown_name("feature space", name, self.names)
        return sum(1 << self.names.index(name) for name in set(names)) - 1

    def to_frame(self) -> pd.DataFrame:
        """One row for each target and subset.

        Columns: `target` (number), `subset` (names joined by " + "), `n_spaces`, `r2`, `shared`,
        and for single spaces `unique`, `shapley`, `product_measure`, `split_correlation` (NaN
        for larger subsets).
        """
        n_targets = self.r2.shape[1]
        table = {
            "target": np.repeat(np.arange(n_targets), len(self.subsets)),
            "subset": np.tile(np.array([" + ".join(s) for s in self.subsets], dtype=object), n_targets),
            "n_spaces": np.tile([len(s) for s in self.subsets], n_targets),
        }
        for field in ("r2", "shared"):
            table[field] = _as_numpy(getattr(self, field)).T.ravel()
        single = [2**j - 1 for j in range(len(self.names))]
        for field in ("unique", "shapley", "product_measure", "split_correlation"):
            column = np.full((n_targets, len(self.subsets)), np.nan)
            column[:, single] = _as_numpy(getattr(self, field)).T
            table[field] = column.ravel()
        return pd.DataFrame(table)


def variance_partition(
    arrays: Sequence[Any] | Mapping[str, Any],
    Y: Any,
    *,
    names: Sequence[str] | None = None,
    alphas: Any = "auto",
    cv: Any = None,
    inner_cv: Any = None,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    scoring: str = "r2",
    equal_trace: bool = True,
    device: str = "cpu",
) -> VariancePartition:
    """Held-out R2 of every subset of feature spaces, and its unique, shared and Shapley parts.

    Ridge on the columns of each of the 2^J - 1 subsets of J spaces, each target with its own
    penalty, which is chosen inside the training rows of each outer fold (highest mean R2 over
    the inner folds); R2 on the rows that the outer fold leaves out, averaged over outer folds.

    Parameters
    ----------
    arrays : list of (n_samples, n_features_j), or dict name -> array; at most 8 spaces
    Y : (n_samples, n_targets) or (n_samples,), numpy, memory map, HDF5 dataset or tensor
    names : of the spaces; default ``space_0``, ``space_1`` ...
    alphas : ``"auto"`` or array (n_alphas,), positive
        ``"auto"``: 20 values from 1e-5 to 1e5 times trace(K)/n of each model's training rows.
        Given penalties are in units of the squared features after `equal_trace`.
    cv : int, scikit-learn splitter, iterable of (train, test), or None (5 folds in order)
        Outer folds. Rows that a fold puts in neither part are left out of it.
    inner_cv : None, int, splitter (of the training rows), or iterable of (train, test) of all rows
        Folds that choose the penalties. None: the other outer folds cut down to the training
        rows, so that runs, groups and gaps of `cv` hold inside, too; where fewer than two
        remain, 5 folds in order. Folds of all rows are cut down alike.
    sample_weight : (n_samples,), not negative: how many trials each row stands for, in the fit
        (scores count each test row once)
    fit_intercept : bool
    scoring : ``"r2"`` (against the test mean) or ``"r2_train_mean"`` (against the training mean:
        a model that explains nothing scores exactly 0, and so do its parts)
    equal_trace : bool
        Multiply each space by one number so that its centred training rows have a mean squared
        norm of 1: no space has a smaller penalty for having more or larger columns, and units
        do not matter. The number comes from the training rows of each outer fold. False: the
        columns as they are.
    device : ``"cpu"``, ``"cuda"``, ``"auto"``; tensors are computed on theirs

    Returns
    -------
    VariancePartition

    Raises
    ------
    InputError
        More than 8 spaces, unknown option, penalty not positive, NaN in a space, names that do
        not fit, a fold that shares rows between its parts.
    ShapeError
        Spaces or responses of different lengths; a fold with fewer than 2 training or test rows.
    MemoryBudgetError
        The Gram matrices or kernels do not fit the free memory; raised before any work.
    ValueError
        No target is finite.

    Notes
    -----
    The empty subset has R2 = 0 by definition; with ``scoring="r2"`` even the training mean
    scores slightly below it, and that deficit is then part of what all spaces share. Held-out
    R2 is noisy, and a joint model may do worse than a smaller one: unique and shared parts below
    zero are kept, and counted in `n_negative`. Targets that are constant, or hold NaN or infinite
    values, are NaN, counted in `nan_reasons`, and change no other target.

    One Gram matrix of all columns where they are fewer than the samples (a subset is a block of
    it), else one kernel a space (that of a subset is their sum). Cost of one outer fold and
    subset of p columns with a penalties and f inner folds over n training rows: f (9 p^3 + 2 a p^2 t)
    for the Gram form, a (n^3 + 2 n^2 t) for the kernel form. Memory: p^2 (f + 16)
    or n^2 (J + 8) float64, the columns twice, about 512 MiB for a block of targets, and what is
    kept for reuse: Gram matrices of folds in at most 1 GiB, operators in at most 512 MiB.

    Unique and shared parts: commonality analysis of encoding models (de Heer et al. 2017, DOI
    10.1523/JNEUROSCI.3267-16.2017); see `brainalign.statistics.subset_components`,
    `shapley_values`, `product_measure` and `split_correlation` for the others. Departures from
    the former: held-out R2 in place of correlations, no correction of negative parts.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> low, high = rng.standard_normal((400, 5)), rng.standard_normal((400, 5))
    >>> Y = (low.sum(1) * 6**0.5 + high.sum(1) * 2**0.5 + 10**0.5 * rng.standard_normal(400))[:, None]
    >>> parts = variance_partition({"low": low, "high": high}, Y)
    >>> parts.subsets
    (('low',), ('high',), ('low', 'high'))
    >>> parts.unique.round(1).tolist(), bool(abs(parts.shared[2, 0]) < 0.03)
    ([[0.6], [0.2]], True)
    """
    one_of("scoring", scoring, PARTITION_SCORINGS)
    check_alphas(alphas)
    spaces, labels = read_spaces(arrays, names)
    n = int(spaces[0].shape[0])
    Y = read_responses(Y, n)
    weights = read_weights(sample_weight, n)
    rows = np.flatnonzero(weights > 0)
    tensors = [array for array in (Y, *spaces) if isinstance(array, torch.Tensor)]
    where = tensors[0].device if tensors else resolve_device(device)
    outer = outer_folds(cv, n, rows)
    inner = inner_folds(inner_cv, n, rows, outer)
    folds = [
        (fold.to(where), [part.to(where) for part in parts]) for fold, parts in zip(outer, inner, strict=True)
    ]
    weight = torch.as_tensor(weights[rows], dtype=torch.float64, device=where)
    with full_precision():
        dtype = compute_dtype(Y, *spaces)
        n_inner = max(len(parts) for parts in inner)
        forms, width = open_spaces(
            spaces, labels, rows, weight, n_inner=n_inner, intercept=fit_intercept, dtype=dtype
        )
        found = []
        for block in Targets(Y, rows, weight / weight.sum(), fit_intercept, dtype, where, width):
            products = forms.products(block)
            scored = ScoredBlock(block, len(spaces), alphas, scoring)
            usable = bool((block.codes[: block.width] == 0).any())
            for fold, parts in folds if usable else []:
                scored.add(products.fold(fold, parts, equal_trace=equal_trace), fold)
            found.append(scored.columns())
    return _assemble(found, labels, scoring, len(folds), bool(tensors))


def _assemble(
    found: list[dict[str, torch.Tensor]], names: tuple[str, ...], scoring: str, n_folds: int, as_torch: bool
) -> VariancePartition:
    """All blocks side by side, and the algebra over subsets."""
    r2, product, split, codes = (
        torch.cat([part[field] for part in found], dim=-1)
        for field in ("r2", "product_measure", "split_correlation", "nan_codes")
    )
    nothing = torch.zeros_like(r2[:1])
    nothing[torch.isnan(r2[-1:])] = torch.nan
    values = torch.cat([nothing, r2])  # the empty subset explains nothing
    shared = subset_components(values)[1:]
    edges = torch.stack([part["edges"] for part in found]).sum(0)
    n_fits = torch.stack([part["n_fits"] for part in found]).sum()
    if bool((codes == NOT_FINITE).all()):
        raise ValueError(
            "Input Y contains NaN or infinity in every target: no target is finite. Remove or replace "
            "missing responses first."
        )
    counts = {reason: int((codes == code).sum()) for code, reason in NAN_REASONS.items()}
    arrays = {
        "r2": r2,
        "shared": shared,
        "unique": unique_contributions(values),
        "shapley": shapley_values(values),
        "product_measure": product,
        "split_correlation": split,
        "correlation": split.sum(0),
        "n_negative": (shared < 0).sum(1),
        "edge_hits": edges.to(torch.float64) / n_fits.clamp_min(1),
        "nan_codes": codes,
    }
    return VariancePartition(
        names=names,
        subsets=tuple(
            tuple(name for name, held in zip(names, mask, strict=True) if held)
            for mask in subset_masks(len(names))[1:]
        ),
        nan_reasons={reason: count for reason, count in counts.items() if count},
        scoring=scoring,
        n_folds=n_folds,
        **{field: to_result(array, as_torch) for field, array in arrays.items()},
    )


def _as_numpy(values: Any) -> Any:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
