"""Soft matching: units of two systems of any size matched by optimal transport."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from brainalign._checks import optional_import
from brainalign.comparison._pairing import paired
from brainalign.comparison._unit_curves import (
    FloatArray,
    IntArray,
    UnitCurves,
    check_stimuli,
    correlations_of,
    curves_of_both,
    warn_nothing,
)

_MOST_PIVOTS = 100_000_000
_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class SoftMatching:
    """A transport plan between units: `mass` goes from unit_x to unit_y, which correlate with `r`.

    Only the pairs that carry mass, at most p + q - 1. Mass sums to 1; each unit of x that
    varies sends 1 / p of it, each of y receives 1 / q.
    """

    unit_x: IntArray
    unit_y: IntArray
    mass: FloatArray
    r: FloatArray


def soft_match(x: Any, y: Any) -> float:
    """Return the mean correlation of units under the best transport plan.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged). At
        least 3 stimuli.

    Returns
    -------
    float in [-1, 1]: the largest sum of T_ij r_ij over plans T whose rows sum to 1/p and
    columns to 1/q. 1 where both sides hold the same tuning curves in the same proportions.
    NaN, with a warning, where no unit of a side varies over stimuli; single units that do
    not vary are left out, with a warning that counts them.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    MissingDependencyError
        Unequal numbers of units without POT (``pip install "brainalign[transport]"``).
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    Symmetric. Every unit of both sides counts, unlike in `bipartite_match`, which drops
    those of the wider side without a partner; equal sizes give the same value. Invariant to
    the order of units and to a positive factor and a shift of each unit; not to rotation.
    Biased upward, as every match on the stimuli that chose it: for independent Gaussian x
    and y with n = 100 and p = q = 50, 100, 500 the value is 0.20, 0.23 and 0.29. Cost: O(n p q)
    for the correlations, then the assignment O(p^3) for equal sizes, else the network simplex
    (about O((p + q)^3)); O(n (p + q) + p q) memory. Source: Khosla & Williams 2024,
    arXiv:2311.09466.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(soft_match(x, np.hstack([x, 3.0 * x[:, ::-1] + 1.0])), 6)
    1.0
    """
    return soft_match_of(*paired(x, y))


def soft_match_of(x: FloatArray, y: FloatArray) -> float:
    """`soft_match` of paired, finite arrays."""
    plan = _plan_of(x, y, "soft_match", stacklevel=4)[2]
    return float("nan") if plan is None else min(max(float(plan.mass @ plan.r), -1.0), 1.0)


def soft_match_of_correlations(r: FloatArray) -> float:
    """`soft_match` of the correlations (p, q) of units that all vary; NaN, with a warning, if unsolved."""
    equal = r.shape[0] == r.shape[1]
    found = _assignment(r) if equal else _transport(r, "soft_match", stacklevel=3)
    if found is None:
        return float("nan")
    rows, columns, mass = found
    return min(max(float(mass @ r[rows, columns]), -1.0), 1.0)


def soft_matching_distance(x: Any, y: Any) -> float:
    """Return the Wasserstein-2 distance between the tuning curves of two systems.

    Parameters
    ----------
    x, y : as in `soft_match`

    Returns
    -------
    float in [0, 2]: the root of the sum of T_ij |x_i - y_j|^2 over centred tuning curves of
    norm one, the plan as in `soft_match`; ``sqrt(2 (1 - soft_match))``. 0 for the same
    curves in the same proportions. NaN as in `soft_match`.

    Raises
    ------
    ShapeError, MissingDependencyError, InputError, AlignmentError
        As in `soft_match`.

    Notes
    -----
    A metric between sets of curves over the same stimuli: symmetric, triangle inequality.
    With equal sizes it is the Procrustes distance over permutations of the normed curves,
    divided by sqrt(p). Invariances, cost and source: as `soft_match`. Computed from the
    differences themselves, so that near 0 no digits cancel.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> soft_matching_distance(x, x[:, ::-1])
    0.0
    """
    return soft_matching_distance_of(*paired(x, y))


def soft_matching_distance_of(x: FloatArray, y: FloatArray) -> float:
    """`soft_matching_distance` of paired, finite arrays."""
    a, b, plan = _plan_of(x, y, "soft_matching_distance", stacklevel=4)
    if plan is None:
        return float("nan")
    total = 0.0
    rows, columns = np.searchsorted(a.kept, plan.unit_x), np.searchsorted(b.kept, plan.unit_y)
    step = max(1, _BYTES // (16 * len(x)))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        apart = a.values[:, rows[part]] - b.values[:, columns[part]]
        total += float(plan.mass[part] @ np.einsum("ij,ij->j", apart, apart))
    return min(float(np.sqrt(total)), 2.0)


def soft_matching(x: Any, y: Any) -> SoftMatching:
    """Return the transport plan of `soft_match`: which unit sends mass to which.

    Parameters
    ----------
    x, y : as in `soft_match`

    Returns
    -------
    SoftMatching, sorted by unit_x; empty, with a warning, where no unit of a side varies.

    Raises
    ------
    ShapeError, MissingDependencyError, InputError, AlignmentError
        As in `soft_match`.

    Notes
    -----
    Cost: as `soft_match`. Where several plans are equally good (duplicate units), one of
    them is returned.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> soft_matching(x, x[:, ::-1]).unit_y.tolist()
    [1, 0]
    """
    plan = _plan_of(*paired(x, y), "soft_matching", stacklevel=3)[2]
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    return SoftMatching(none, none, nothing, nothing) if plan is None else plan


def _plan_of(
    x: FloatArray, y: FloatArray, what: str, *, stacklevel: int
) -> tuple[UnitCurves, UnitCurves, SoftMatching | None]:
    """Curves of both sides and the plan between them; None, with a warning, without one."""
    check_stimuli(what, len(x))
    a, b = curves_of_both(x, y, stacklevel=stacklevel)
    if not len(a.kept) or not len(b.kept):
        warn_nothing(what, a, stacklevel=stacklevel)
        return a, b, None
    r = correlations_of(a, b)
    found = _assignment(r) if r.shape[0] == r.shape[1] else _transport(r, what, stacklevel=stacklevel)
    if found is None:
        return a, b, None
    rows, columns, mass = found
    return a, b, SoftMatching(a.kept[rows], b.kept[columns], mass, r[rows, columns])


def _assignment(r: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Equal sizes: a vertex of the plans is a permutation (Birkhoff), so the best one is."""
    rows, columns = linear_sum_assignment(r, maximize=True)
    return rows, columns, np.full(len(rows), 1.0 / len(rows))


def _transport(r: FloatArray, what: str, *, stacklevel: int) -> tuple[IntArray, IntArray, FloatArray] | None:
    """Unequal sizes: the plan by the network simplex of POT."""
    ot: Any = optional_import("ot", "transport", f"{what} of unequal numbers of units")
    p, q = r.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            np.full(p, 1.0 / p), np.full(q, 1.0 / q), 1.0 - r, numItermax=_MOST_PIVOTS, log=True
        )
    if log["warning"] is not None:
        warnings.warn(
            f"{what} is NaN: the transport problem of {p} by {q} units was not solved ({log['warning']})",
            stacklevel=stacklevel + 1,
        )
        return None
    rows, columns = np.nonzero(plan)
    return rows, columns, plan[rows, columns]
