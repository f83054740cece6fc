"""Measures of two distance matrices that are no inner product: tau-a of RDMs, norm of their difference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison._spectra import scaled_and_centred
from brainalign.comparison._topology_clouds import distances
from brainalign.statistics.rank_correlation import SortedRows, kendall_table, settle_ties, sort_rows


@dataclass(frozen=True, eq=False)
class RankedRdm:
    """The sorted pairs of an RDM of n stimuli; None where a pair is missing."""

    n: int
    pairs: SortedRows | None


def ranked_rdm(matrix: FloatArray) -> RankedRdm:
    """The pairs of an RDM, sorted once for all that it is compared with."""
    pairs = upper_triangle(matrix[None])
    if np.isnan(pairs).any():
        return RankedRdm(len(matrix), None)
    return RankedRdm(len(matrix), sort_rows(settle_ties(pairs)))


def reordered_ranks(found: RankedRdm, order: np.ndarray) -> RankedRdm:
    """The same with its stimuli in another order, without another sort."""
    if found.pairs is None:
        return found
    rows, columns = np.triu_indices(found.n, 1)
    number = np.zeros((found.n, found.n), dtype=np.int64)
    number[rows, columns] = np.arange(len(rows))
    number[columns, rows] = number[rows, columns]
    came_from = number[order[rows], order[columns]]  # pair k holds what was in pair came_from[k]
    place = np.empty_like(came_from)
    place[came_from] = np.arange(len(came_from))
    pairs = replace(
        found.pairs,
        order=place[found.pairs.order],
        dense=np.ascontiguousarray(found.pairs.dense[:, came_from]),
    )
    return replace(found, pairs=pairs)


def tau_a_of_ranks(pair: tuple[RankedRdm, RankedRdm]) -> float:
    """Kendall's tau-a of two RDMs; NaN where a pair is missing or all pairs of one are equal."""
    first, second = pair[0].pairs, pair[1].pairs
    if first is None or second is None:
        return float("nan")
    return float(kendall_table(first, second)[0, 0])


@dataclass(frozen=True, eq=False)
class ScaledDistances:
    """Euclidean distances (n, n) in units of `scale`, so that their squares are float64 numbers."""

    matrix: FloatArray
    scale: float


def scaled_distances(values: FloatArray) -> ScaledDistances:
    """The distances between the stimuli of a system."""
    centred, scale, _ = scaled_and_centred(values)
    return ScaledDistances(distances(centred), scale)


def reordered_distances(found: ScaledDistances, order: np.ndarray) -> ScaledDistances:
    """The same with its stimuli in another order."""
    return replace(found, matrix=found.matrix[np.ix_(order, order)])


def rsm_norm_of_distances(pair: tuple[ScaledDistances, ScaledDistances]) -> float:
    """Frobenius norm of the difference of two distance matrices; NaN, with a warning, beyond float64."""
    x, y = pair
    top = max(x.scale, y.scale)
    value = float(np.linalg.norm(x.matrix * (x.scale / top) - y.matrix * (y.scale / top))) * top
    if not np.isfinite(value):
        warnings.warn(
            f"rsm_norm is NaN: responses that differ by {top:.3g} give distances beyond the float64 numbers; "
            "give the responses in a larger unit",
            stacklevel=2,
        )
        return float("nan")
    return value
