"""One-to-one and best-partner matching of the units of two systems by their tuning curves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from brainalign._checks import one_of
from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import paired
from brainalign.comparison._unit_curves import (
    FloatArray,
    IntArray,
    UnitCurves,
    check_stimuli,
    correlation_tiles,
    correlations_of,
    curves_of_both,
    unit_curves,
    warn_nothing,
)
from brainalign.comparison._unit_folds import check_cv, stimulus_folds
from brainalign.errors import ShapeError

METHODS = ("bipartite", "best")


@dataclass(frozen=True, eq=False)
class UnitMatching:
    """Which unit of y belongs to which unit of x.

    Parameters
    ----------
    pairs : array (n_pairs, 2), columns of x and of y, sorted by the unit of x
    r : array (n_pairs,), Pearson r of each pair on the stimuli that chose it
    method : ``"bipartite"`` (each unit at most once) or ``"best"`` (x -> y: each unit of x
        once, a unit of y as often as it is the best)
    absolute : pairs were chosen by |r|; `r` keeps its sign
    n_units : number of units of x and of y
    """

    pairs: IntArray
    r: FloatArray
    method: str
    absolute: bool
    n_units: tuple[int, int]

    @property
    def score(self) -> float:
        """Mean over pairs of r (of |r| where `absolute`); NaN without pairs."""
        values = np.abs(self.r) if self.absolute else self.r
        return float(values.mean()) if len(values) else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row per pair: unit_x, unit_y, r."""
        return pd.DataFrame({"unit_x": self.pairs[:, 0], "unit_y": self.pairs[:, 1], "r": self.r})


def unit_correlations(x: Any, y: Any) -> FloatArray:
    """Return the Pearson correlation over stimuli of every unit of x with every unit of y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged). At
        least 3 stimuli.

    Returns
    -------
    array (p, q) float64, in [-1, 1]. Rows and columns of units that do not vary over
    stimuli are NaN, with a warning that counts them.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    Each unit is divided by its largest value before it is centred: units of 1e-200 and of
    1e200 are exact. Invariant to a positive factor and a shift of each unit. Cost: O(n p q)
    time in tiles of 1024 units of x, O(n (p + q) + p q) memory.

    Examples
    --------
    >>> x = np.array([[0.0, 3.0], [1.0, 1.0], [2.0, 2.0]])
    >>> unit_correlations(x, -x).round(2)
    array([[-1. ,  0.5],
           [ 0.5, -1. ]])
    """
    first, second = paired(x, y)
    check_stimuli("a correlation of units", len(first))
    a, b = curves_of_both(first, second, stacklevel=2)
    out = np.full((a.n_units, b.n_units), np.nan)
    for rows, r in correlation_tiles(a, b):
        out[np.ix_(a.kept[rows], b.kept)] = r
    return out


def match_units(x: Any, y: Any, *, method: str = "bipartite", absolute: bool = False) -> UnitMatching:
    """Return which unit of y belongs to which unit of x.

    Parameters
    ----------
    x, y : as in `unit_correlations`
    method : ``"bipartite"``: one to one, the largest sum of correlations over min(p, q)
        pairs. ``"best"``, x -> y: the best unit of y for each unit of x.
    absolute : choose by |r|, so that a unit of opposite sign counts as a partner

    Returns
    -------
    UnitMatching. Units that do not vary over stimuli are in no pair, with a warning.
    Between equal correlations the unit of y with the lower number wins in ``"best"``.

    Raises
    ------
    InputError
        `method` is another name; and as in `compare`.
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.

    Notes
    -----
    Cost: O(n p q) for the correlations; ``"bipartite"`` adds O(min(p, q)^2 max(p, q)) time
    and the (p, q) matrix in memory, ``"best"`` works in tiles of (1024, q). Source: Li et al.
    2016, arXiv:1511.07543 (bipartite and semi-matching).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> match_units(x, x[:, [2, 0, 1]]).pairs.tolist()
    [[0, 1], [1, 2], [2, 0]]
    """
    one_of("method", method, METHODS)
    flag("absolute", absolute)
    first, second = paired(x, y)
    check_stimuli("a matching of units", len(first))
    a, b = curves_of_both(first, second, stacklevel=2)
    return _match(a, b, method, absolute)


def _match(a: UnitCurves, b: UnitCurves, method: str, absolute: bool) -> UnitMatching:
    places = _best(a, b, absolute) if method == "best" else _assigned(a, b, absolute)
    rows, columns, r = places
    pairs = np.stack([a.kept[rows], b.kept[columns]], axis=1)
    return UnitMatching(pairs, r, method, absolute, (a.n_units, b.n_units))


def _best(a: UnitCurves, b: UnitCurves, absolute: bool) -> tuple[IntArray, IntArray, FloatArray]:
    """Place of the best unit of b for each unit of a, and their r; empty where b is empty."""
    n = len(a.kept) if len(b.kept) else 0
    columns, r = np.zeros(n, dtype=np.int64), np.zeros(n)
    for rows, values in correlation_tiles(a, b) if n else ():
        columns[rows] = np.argmax(np.abs(values) if absolute else values, axis=1)
        r[rows] = np.take_along_axis(values, columns[rows, None], axis=1)[:, 0]
    return np.arange(n), columns, r


def _assigned(a: UnitCurves, b: UnitCurves, absolute: bool) -> tuple[IntArray, IntArray, FloatArray]:
    """Places of the one-to-one assignment with the largest sum, and their r."""
    values = correlations_of(a, b)
    rows, columns = linear_sum_assignment(np.abs(values) if absolute else values, maximize=True)
    return rows, columns, values[rows, columns]


def matched_correlations(matching: UnitMatching, x: Any, y: Any) -> FloatArray:
    """Return the correlation of each matched pair on other stimuli than those that chose it.

    Parameters
    ----------
    matching : from `match_units`
    x, y : as in `match_units`, the same units, other stimuli

    Returns
    -------
    array (n_pairs,) in [-1, 1]; with ``matching.absolute`` times the sign that the pair had
    when it was chosen, so that chance is 0. NaN, with a warning, where a unit does not vary
    over these stimuli.

    Raises
    ------
    ShapeError
        x or y has another number of units than the matching; fewer than 3 stimuli.
    InputError, AlignmentError
        As in `compare`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, new = rng.normal(size=(2, 50, 3))
    >>> matching = match_units(x, x[:, [2, 0, 1]])
    >>> matched_correlations(matching, new, new[:, [2, 0, 1]]).round(6)
    array([1., 1., 1.])
    """
    first, second = paired(x, y)
    check_stimuli("a correlation of units", len(first))
    found = (first.shape[1], second.shape[1])
    if found != matching.n_units:
        raise ShapeError(
            f"x and y have {found[0]} and {found[1]} units; the matching is of {matching.n_units[0]} and "
            f"{matching.n_units[1]}: give the same units, in the same order"
        )
    r = _scored(matching, first, second)
    missing = int(np.isnan(r).sum())
    if missing:
        warnings.warn(
            f"{missing} of {len(r)} pairs are NaN: one of their units does not vary over these stimuli",
            stacklevel=2,
        )
    return r


def _scored(matching: UnitMatching, x: FloatArray, y: FloatArray) -> FloatArray:
    a, b = unit_curves(x[:, matching.pairs[:, 0]]), unit_curves(y[:, matching.pairs[:, 1]])
    out = np.full(len(matching.pairs), np.nan)
    both = np.intersect1d(a.kept, b.kept)
    first, second = np.searchsorted(a.kept, both), np.searchsorted(b.kept, both)
    out[both] = np.einsum("ij,ij->j", a.values[:, first], b.values[:, second]).clip(-1.0, 1.0)
    return out * np.where(matching.r < 0, -1.0, 1.0) if matching.absolute else out


def best_match(
    x: Any, y: Any, *, absolute: bool = False, cv: int | None = None, random_state: int = 0
) -> float:
    """Return how well each unit of x is matched by its best unit of y (direction x -> y).

    Parameters
    ----------
    x, y : as in `unit_correlations`
    absolute : choose by |r|
    cv : None, or a number of folds: partners chosen on the training stimuli, correlations
        on the others. Each test fold needs 3 stimuli.
    random_state : seed of the folds

    Returns
    -------
    float in [-1, 1]: mean over units of x of the r (|r|) with their best unit of y, and with
    `cv` the mean over folds of the held-out r. 1 where every unit of x occurs in y. NaN, with
    a warning, where no unit of a side varies over stimuli; single units that do not vary are
    left out, with a warning that counts them.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli (in a test fold), different numbers of rows.
    InputError
        `cv` is not a number of folds; and as in `compare`.

    Notes
    -----
    Not symmetric: two units of x may share one unit of y. Invariant to the order of units,
    and to a positive factor and a shift of each unit; not to rotation. Choosing and scoring
    on the same stimuli is biased upward: for independent Gaussian x and y with n = 100 and
    p = q = 50, 100, 500 the value is 0.22, 0.25 and 0.30, with `cv` it is 0. Cost: O(n p q)
    time (times cv), O(n (p + q) + 1024 q) memory. Source: Li et al. 2016, arXiv:1511.07543
    (semi-matching).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(best_match(x[:, :2], x), 6)
    1.0
    """
    return best_match_of(*paired(x, y), absolute=absolute, cv=cv, random_state=random_state)


def bipartite_match(
    x: Any, y: Any, *, absolute: bool = False, cv: int | None = None, random_state: int = 0
) -> float:
    """Return the mean correlation of units matched one to one.

    Parameters
    ----------
    x, y, absolute, cv, random_state : as in `best_match`

    Returns
    -------
    float in [-1, 1]: mean r (|r|) over the min(p, q) pairs of the assignment with the
    largest sum; with `cv` the mean over folds of the held-out r. 1 where one side's units are
    all among the other's. NaN and units left out: as in `best_match`.

    Raises
    ------
    ShapeError, InputError, AlignmentError
        As in `best_match`.

    Notes
    -----
    Symmetric (up to ties in the folds of `cv`). Invariant to the order of units, and to a
    positive factor and a shift of each unit; not to rotation. The units of the wider side
    that find no partner do not count: with q far above p the value tends to that of
    `best_match`. Biased upward on the stimuli that chose the pairs: for independent Gaussian
    x and y with n = 100 and p = q = 50, 100, 500 the value is 0.20, 0.23 and 0.29, with `cv`
    it is 0. Cost: O(n p q + min(p, q)^2 max(p, q)) time (times cv), O(n (p + q) + p q) memory.
    Source: Li et al. 2016, arXiv:1511.07543 (bipartite matching).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(bipartite_match(x, 2.0 * x[:, ::-1] + 1.0), 6)
    1.0
    """
    return bipartite_match_of(*paired(x, y), absolute=absolute, cv=cv, random_state=random_state)


def best_match_of(
    x: FloatArray, y: FloatArray, *, absolute: bool = False, cv: int | None = None, random_state: int = 0
) -> float:
    """`best_match` of paired, finite arrays."""
    return _match_score(x, y, "best", absolute, cv, random_state)


def bipartite_match_of(
    x: FloatArray, y: FloatArray, *, absolute: bool = False, cv: int | None = None, random_state: int = 0
) -> float:
    """`bipartite_match` of paired, finite arrays."""
    return _match_score(x, y, "bipartite", absolute, cv, random_state)


def _match_score(
    x: FloatArray, y: FloatArray, method: str, absolute: bool, cv: int | None, random_state: int
) -> float:
    name = f"{method}_match"
    check_stimuli(name, len(x))
    flag("absolute", absolute)
    n_folds = None if cv is None else check_cv(cv, len(x))
    a, b = curves_of_both(x, y, stacklevel=4)
    if not len(a.kept) or not len(b.kept):
        return warn_nothing(name, a, stacklevel=4)
    if n_folds is None:
        return _match(a, b, method, absolute).score
    return _held_out(x[:, a.kept], y[:, b.kept], method, absolute, n_folds, random_state)


def _held_out(
    x: FloatArray, y: FloatArray, method: str, absolute: bool, n_folds: int, random_state: int
) -> float:
    """Mean over folds of the mean held-out r; pairs that do not vary in a test fold are counted."""
    scores, missing, total = [], 0, 0
    for train, test in stimulus_folds(len(x), n_folds, random_state):
        matching = _match(unit_curves(x[train]), unit_curves(y[train]), method, absolute)
        r = _scored(matching, x[test], y[test])
        known = r[~np.isnan(r)]
        expected = x.shape[1] if method == "best" else min(x.shape[1], y.shape[1])
        missing, total = missing + expected - len(known), total + expected
        if len(known):
            scores.append(float(known.mean()))
    if missing:
        warnings.warn(
            f"{missing} of {total} pairs have a unit that does not vary over the training or the test "
            "stimuli of a fold and are left out there; fewer folds hold more stimuli",
            stacklevel=5,
        )
    if not scores:
        warnings.warn(
            f"{method}_match is NaN: no matched pair varies over the stimuli of any test fold", stacklevel=5
        )
        return float("nan")
    return float(np.mean(scores))
