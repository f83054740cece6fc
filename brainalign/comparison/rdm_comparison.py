"""Similarity of RDMs over their upper triangles: Pearson, Spearman, Kendall's tau-a."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from brainalign._checks import lookup
from brainalign.comparison._pairing import check_same_ids
from brainalign.errors import InputError, ShapeError
from brainalign.statistics.rank_correlation import settle_ties, tau_a
from brainalign.types import RDMs

MIN_STIMULI = 3


def upper_triangle(rdms: np.ndarray) -> np.ndarray:
    """Return the pairs i < j of (k, n, n), row by row, as (k, n * (n - 1) / 2)."""
    rows, columns = np.triu_indices(rdms.shape[-1], 1)
    out: np.ndarray = rdms[..., rows, columns]
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Centre each row and scale it to norm one; constant rows become NaN."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    scale = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    norms[norms <= vectors.shape[1] * np.finfo(np.float64).eps * scale] = np.nan
    out: np.ndarray = centred / norms
    return out


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows whose inner products are Pearson correlations, (k, n_pairs)."""
    return _unit(vectors)


def unit_ranks(vectors: np.ndarray) -> np.ndarray:
    """Rows whose inner products are Spearman correlations (mid-ranks for ties), (k, n_pairs)."""
    return _unit(stats.rankdata(settle_ties(vectors), axis=1))


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlations of the rows of a (k1, n_pairs) and b (k2, n_pairs), (k1, k2)."""
    out: np.ndarray = np.clip(unit_vectors(a) @ unit_vectors(b).T, -1.0, 1.0)
    return out


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman correlations with mid-ranks of the rows of a and b, (k1, k2)."""
    out: np.ndarray = np.clip(unit_ranks(a) @ unit_ranks(b).T, -1.0, 1.0)
    return out


def kendall_tau_a(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-a of the rows of a and b, (k1, k2)."""
    return np.array([[tau_a(u, v) for v in settle_ties(b)] for u in settle_ties(a)])


COMPARATORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson": pearson,
    "spearman": spearman,
    "tau_a": kendall_tau_a,
}


def compare_rdms(
    d1: Any,
    d2: Any,
    *,
    measure: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "pearson",
) -> float | np.ndarray:
    """Return the similarity of RDMs, over the pairs of their upper triangles.

    Parameters
    ----------
    d1, d2 : arrays (n, n) or (k, n, n), or RDMs
        Arrays are compared by position, `RDMs` by `stimulus_id`. At least 3 stimuli.
    measure : ``"pearson"``, ``"spearman"``, ``"tau_a"`` or a callable
        Spearman gives ties their middle rank; entries closer than 1e-12 of the largest one
        are ties, since they differ by rounding alone. tau-a is concordant minus discordant over
        all pairs of entries, so that a model with ties is not favoured. A callable takes
        (k1, n_pairs) and (k2, n_pairs) and returns (k1, k2).

    Returns
    -------
    float in [-1, 1] for two matrices, else an array (k1, k2). NaN, with a warning, where an
    RDM is constant. Entries that are NaN in either RDM of a pair are left out for that
    pair, and a warning says how many.

    Raises
    ------
    AlignmentError
        `RDMs` over different stimuli.
    ShapeError
        Not square, different numbers of stimuli, fewer than 3 stimuli.
    InputError
        Not symmetric, a diagonal that is not zero (a similarity matrix?), an array given
        together with `RDMs`.
    UnknownNameError
        The measure does not exist.

    Notes
    -----
    Cost, with P = n (n - 1) / 2: Pearson O(k1 k2 P), Spearman and tau-a O(P log P) a pair.
    Source: Nili et al. 2014, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    >>> round(compare_rdms(a, 2.0 * a, measure="spearman"), 6)
    1.0
    """
    function = lookup("measure", measure, COMPARATORS)
    first, second = _stacks(d1, d2)
    a, b = upper_triangle(first), upper_triangle(second)
    missing = bool(np.isnan(a).any() or np.isnan(b).any())
    out = _pairwise(function, a, b) if missing else function(a, b)
    if np.isnan(out).any():
        warnings.warn(
            f"{int(np.isnan(out).sum())} of {out.size} comparisons are NaN: an RDM is constant over its "
            "pairs of stimuli, or has fewer than 3 that are not missing",
            stacklevel=2,
        )
    single = isinstance(d1, RDMs) or isinstance(d2, RDMs) or np.ndim(d1) == 3 or np.ndim(d2) == 3
    return out if single else float(out[0, 0])


def _pairwise(function: Callable[..., np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compare each pair of rows over the entries that both have."""
    out = np.full((len(a), len(b)), np.nan)
    most = 0
    for i, u in enumerate(a):
        for j, v in enumerate(b):
            keep = ~(np.isnan(u) | np.isnan(v))
            most = max(most, int((~keep).sum()))
            if keep.sum() >= MIN_STIMULI:
                out[i, j] = function(u[None, keep], v[None, keep])[0, 0]
    warnings.warn(f"up to {most} of {a.shape[1]} pairs of stimuli are NaN and left out", stacklevel=3)
    return out


def _stacks(d1: Any, d2: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(d1, RDMs) != isinstance(d2, RDMs):
        raise InputError(
            "one of d1 and d2 is RDMs and the other a plain array; stimuli are joined by id or by position, "
            "never both: give two RDMs or two arrays"
        )
    if isinstance(d1, RDMs):
        check_same_ids(d1.stimulus_id, d2.stimulus_id)
        position = {s: i for i, s in enumerate(d2.stimulus_id)}
        order = np.array([position[s] for s in d1.stimulus_id])
        first = d1.values.astype(np.float64)
        second = d2.values[:, order][:, :, order].astype(np.float64)
    else:
        first, second = _stack("d1", d1), _stack("d2", d2)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(
            f"d1 is over {first.shape[1]} stimuli and d2 over {second.shape[1]}; they must agree"
        )
    if first.shape[1] < MIN_STIMULI:
        raise ShapeError(f"RDMs over {first.shape[1]} stimuli; a comparison needs at least {MIN_STIMULI}")
    return first, second


def _stack(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"{name} has shape {array.shape}; expected (n, n) or (k, n, n)")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    tolerance = 1e-5 if array.dtype.itemsize < 8 and array.dtype.kind == "f" else 1e-9
    stack = array.astype(np.float64).reshape(-1, *array.shape[-2:])
    limit = tolerance * float(np.nanmax(np.abs(stack), initial=0.0))
    gap = np.abs(stack - stack.transpose(0, 2, 1))
    if np.nanmax(gap, initial=0.0) > limit or not np.array_equal(
        np.isnan(stack), np.isnan(stack.transpose(0, 2, 1))
    ):
        raise InputError(f"{name} is not symmetric (largest difference {np.nanmax(gap, initial=0.0):.3g})")
    diagonal = np.abs(np.diagonal(stack, axis1=1, axis2=2))
    if np.nanmax(diagonal, initial=0.0) > limit:
        raise InputError(f"{name} has a diagonal that is not zero; expected dissimilarities (1 - r, not r)")
    return stack
