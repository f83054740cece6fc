"""How the geometry of one representation follows classes, factors and the structure of a task."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainalign.comparison._descriptor_labels import class_codes, named_labels, one_hot
from brainalign.comparison._descriptor_spectrum import CentredRows, centre, stimulus_rows, varying
from brainalign.comparison.cka import MIN_STIMULI, linear_cka_of
from brainalign.errors import InputError, ShapeError

_TILE_CELLS = 1 << 22


class Compositionality(NamedTuple):
    """Variance explained by the sum of the factors, the same adjusted for their number, and the overlap."""

    r2: float
    r2_adjusted: float
    mean_abs_cos: float


class LabelAlignment(NamedTuple):
    """Alignment of a representation with the geometry of the inputs and with that of the labels."""

    inputs: float
    labels: float


def gdv(x: object, labels: Any) -> float:
    """Return the generalised discrimination value: how far the classes lie apart, on z-scored units.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged, stimuli in order of first appearance)
    labels : sequence (n_stimuli,)
        Class of each stimulus; at least 2 classes with at least 2 stimuli each.

    Returns
    -------
    float
        Mean distance within classes minus the mean distance between them, divided by
        the root of the number of units. About 0 where labels say nothing, -1 for two classes
        of equal size that are points. The lowest possible value depends on the number and the
        sizes of classes (about -0.79 for five random points): compare only what has the same.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, labels of another length.
    InputError
        One class, a class of one stimulus, a missing label, values not finite, no variance.

    Notes
    -----
    Units are z-scored over stimuli and multiplied by 0.5; units that do not vary are left out
    and do not count. Then (1 / sqrt(D)) [mean over classes of the mean distance within - 2 /
    (L (L - 1)) sum over pairs of classes of the mean distance between], with Euclidean
    distances. Invariant to a factor and a shift of each unit and to a permutation of units;
    not to rotation. Time O(n^2 p), memory of one tile. Distances below 1e-7 of the norms are
    lost in rounding. Source: Schilling et al. 2021, doi:10.1016/j.neunet.2021.03.035.

    Examples
    --------
    >>> round(gdv([[0.0, 5.0], [1.0, 3.0], [0.0, 5.0], [1.0, 3.0]], ["a", "b", "a", "b"]), 6)
    -1.0
    """
    values = varying("x", x).values
    codes = class_codes("labels", labels, len(values), fewest=2)
    values = values[:, values.any(axis=0)]
    values = values / np.abs(values).max(axis=0)
    values = 0.5 * values / values.std(axis=0)
    counts = np.bincount(codes).astype(np.float64)
    sums = _distance_sums(values, codes)
    within = float(np.mean(np.diag(sums) / (counts * (counts - 1))))
    pairs = np.triu_indices(len(counts), 1)
    between = float(np.mean((sums / np.outer(counts, counts))[pairs]))
    return (within - between) / float(np.sqrt(values.shape[1]))


def _distance_sums(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sum of the Euclidean distances from the stimuli of each class to those of each, (L, L)."""
    n = len(values)
    squares = np.einsum("ij,ij->i", values, values)
    classes = one_hot(codes)
    sums = np.zeros((classes.shape[1], classes.shape[1]))
    step = max(1, _TILE_CELLS // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        norms = squares[rows, None] + squares[None, :]
        tile = norms - 2.0 * (values[rows] @ values.T)
        # equal stimuli leave rounding, whose root would be 1e-8 of the norm
        tile[tile <= 16 * np.finfo(np.float64).eps * norms] = 0.0
        np.sqrt(tile, out=tile)
        sums += classes[rows].T @ (tile @ classes)
    return sums


def compositionality(x: object, factors: Mapping[str, Any] | pd.DataFrame) -> Compositionality:
    """Return how far a representation is the sum of one part per factor, and how orthogonal the parts are.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged, stimuli in order of first appearance)
    factors : {name: labels (n_stimuli,)} or DataFrame with one column per factor
        At least 2 factors with at least 2 values each; combinations need not be complete.

    Returns
    -------
    Compositionality
        r2 : in [0, 1]
            Share of the variance over stimuli that the sum of one vector per value of each
            factor explains. 1 for a purely additive code, 0 for a code of the combinations
            (XOR) in a balanced design. Grows with the number of values: for noise it is about
            (parameters) / (n_stimuli - 1).
        r2_adjusted : at most 1
            1 - (1 - r2) (n - 1) / (n - 1 - parameters); about 0 for noise. NaN where no degree
            of freedom is left, with a warning.
        mean_abs_cos : in [0, 1]
            Mean over pairs of factors of the mean cosine of the principal angles between the
            subspaces of their vectors; 0 where factors use orthogonal directions. NaN, with a
            warning, where factors are confounded (their vectors are not determined) or fewer than
            two factors move the representation.

    Raises
    ------
    ShapeError, InputError
        As in `gdv`; a factor with one value, fewer than two factors.

    Notes
    -----
    Least squares on the indicators of all values jointly, so that unbalanced designs are
    right. Invariant to rotation and permutation of units, one factor and a vector added to
    every row; r2 also to no other map. For vectors of noise mean_abs_cos is not 0 but about
    1 / sqrt(n_units). The cosine of the angles between subspaces, in place of those between
    single vectors, does not depend on how values are coded. Time O(n p k + n k^2) for k values
    in all.

    Examples
    --------
    >>> import numpy as np
    >>> colour, shape = np.repeat([0, 1, 2], 4), np.tile([0, 1, 2, 3], 3)
    >>> x = np.hstack([np.eye(3)[colour], np.eye(4)[shape]])
    >>> found = compositionality(x, {"colour": colour, "shape": shape})
    >>> round(found.r2, 6), round(found.mean_abs_cos, 6)
    (1.0, 0.0)
    """
    rows = varying("x", x)
    n = len(rows.values)
    named = named_labels("factors", factors, fewest=2)
    # without the first value of each factor the columns are independent, unless factors are confounded
    parts = [one_hot(class_codes(f"factor {k!r}", v, n))[:, 1:] for k, v in named.items()]
    design = np.hstack(parts)
    design = design - design.mean(axis=0)
    u, s, vt = np.linalg.svd(design, full_matrices=False)
    kept = s > n * np.finfo(np.float64).eps * s[0]
    u, rank = u[:, kept], int(kept.sum())
    projected = u.T @ rows.values
    total = float(np.vdot(rows.values, rows.values))
    explained = min(1.0, float(np.vdot(projected, projected)) / total)
    reasons: list[str] = []
    adjusted = float("nan")
    if rank < n - 1:
        adjusted = 1.0 - (1.0 - explained) * (n - 1) / (n - 1 - rank)
    else:
        reasons.append(f"r2_adjusted: {rank} parameters leave nothing of {n} stimuli")
    cosine = float("nan")
    if rank < design.shape[1]:
        reasons.append(f"mean_abs_cos: factors are confounded ({design.shape[1]} columns of rank {rank})")
    else:
        vectors = vt[kept].T @ (projected / s[kept, None])
        cosine, reason = _mean_cosine(vectors, parts, np.sqrt(total / n))
        reasons += [reason] if reason else []
    if reasons:
        warnings.warn(f"compositionality holds NaN: {'; '.join(reasons)}", stacklevel=2)
    return Compositionality(explained, adjusted, cosine)


def _mean_cosine(vectors: np.ndarray, parts: list[np.ndarray], spread: float) -> tuple[float, str]:
    """Mean cosine of the principal angles over pairs of factors, and the reason where it is NaN."""
    edges = np.cumsum([0] + [part.shape[1] for part in parts])
    bases = [_basis(vectors[a:b], spread) for a, b in pairwise(edges)]
    bases = [basis for basis in bases if len(basis)]
    if len(bases) < 2:
        return float("nan"), f"mean_abs_cos: {len(bases)} of {len(parts)} factors move the representation"
    pairs = [np.linalg.svd(a @ b.T, compute_uv=False).mean() for a, b in combinations(bases, 2)]
    return min(1.0, float(np.mean(pairs))), ""


def _basis(vectors: np.ndarray, spread: float) -> np.ndarray:
    """Orthonormal rows that span the vectors, without directions that are rounding beside the spread."""
    _, s, vt = np.linalg.svd(vectors, full_matrices=False)
    return np.asarray(vt[s > 1e-10 * spread])


def label_alignment(x: object, inputs: object, labels: Any, *, debiased: bool = True) -> LabelAlignment:
    """Return the centred kernel alignment of a hidden representation with its inputs and with the labels.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged, stimuli in order of first appearance)
        The hidden representation. At least 4 stimuli.
    inputs : array (n_stimuli, n_inputs), or Responses in the same order
        What the system is given.
    labels : sequence (n_stimuli,) of classes, or array (n_stimuli, n_outputs) of numbers
        What the system is asked for; classes become indicators.
    debiased : bool
        As in `linear_cka`; biased values grow with the width of x.

    Returns
    -------
    LabelAlignment
        `inputs` and `labels`, at most 1. A system whose `labels` is the higher follows the
        task, one whose `inputs` is the higher what it is given. NaN, with the warning of
        `linear_cka`, where (debiased) all stimuli of a side are equally far apart.

    Raises
    ------
    ShapeError
        Fewer than 4 stimuli, unequal numbers of rows.
    InputError
        One class, values that are not finite, x or inputs or labels do not vary.

    Notes
    -----
    Kernels are linear: products of the centred rows. Invariances and cost of `linear_cka`.
    Source of the alignment: Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(60, 5))
    >>> label = inputs[:, 0] > 0
    >>> found = label_alignment(np.outer(label, [1.0, 2.0]), inputs, label)
    >>> found.labels > 0.99 > found.inputs
    True
    """
    hidden = varying("x", x)
    n = len(hidden.values)
    if n < MIN_STIMULI:
        raise ShapeError(f"x has {n} stimuli; label_alignment needs at least {MIN_STIMULI}")
    return LabelAlignment(
        *(
            linear_cka_of(hidden.values, side.values, debiased=debiased)
            for side in (_side("inputs", inputs, n), _label_rows(labels, n))
        )
    )


def _label_rows(labels: Any, n: int) -> CentredRows:
    if np.ndim(labels) == 2:
        return _side("labels", labels, n)
    return centre(one_hot(class_codes("labels", labels, n)))


def _side(name: str, value: object, n: int) -> CentredRows:
    values = stimulus_rows(name, value)
    if len(values) != n:
        raise ShapeError(
            f"x has {n} stimuli and {name} {len(values)}; expected the same stimuli in one order"
        )
    rows = centre(values)
    if not rows.varies:
        raise InputError(f"{name} do not vary over the {n} stimuli; there is nothing to align with")
    return rows
