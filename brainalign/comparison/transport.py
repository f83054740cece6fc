"""Gromov-Wasserstein: how well two distance matrices agree when no row is known to match another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.comparison._option_checks import flag, is_real, seed, whole_number
from brainalign.comparison._topology_clouds import distances, squared_distances, two_clouds, without_scale
from brainalign.comparison._transport_entropic import entropic_plan
from brainalign.comparison._transport_pot import transport_package
from brainalign.comparison._transport_starts import canonical_order, comes_first, starts
from brainalign.comparison.rdms import rdm
from brainalign.errors import InputError, ShapeError

MIN_STIMULI = 3
DISTANCE_NAMES = ("euclidean", "sq_euclidean", "correlation", "cosine")
NORMALISATIONS = ("rms", "mean", "max", "none")
_ITERATIONS = 1000
_TOLERANCE = 1e-9
_LARGEST_EMD = 10_000_000
# a plan with at most this many entries a row is evaluated term by term, without cancellation
_SPARSE = 4


@dataclass(frozen=True, eq=False)
class GromovWasserstein:
    """The best plan found between the stimuli of two systems.

    Parameters
    ----------
    value : float, the distance (rooted unless `squared`); NaN where it is not defined
    plan : array (n, m), mass that row i of x sends to row j of y; rows sum to 1 / n, columns to 1 / m
    start_values : array (n_starts,), the distance that each start ended with
    spread : float, largest less smallest of them; a large one says that the search has many
        local ends and that `value` may not be the lowest
    accuracy : float or None
        Where row i of both is the same stimulus: the share of rows whose mass goes first to their
        own stimulus, in [0, 1], 1 / n by chance; a row that sends equal mass to several counts as the share
        of one. None where rows are not paired. The pairing is never used in the search.
    """

    value: float
    plan: np.ndarray
    start_values: np.ndarray
    spread: float
    accuracy: float | None


def gromov_wasserstein(
    x: Any,
    y: Any,
    *,
    distance: str = "euclidean",
    squared: bool = False,
    normalise: str = "rms",
    n_restarts: int = 5,
    random_state: int = 0,
    entropic: float | None = None,
) -> float:
    """Return the Gromov-Wasserstein distance of x and y: their RDMs under the best matching of rows.

    Parameters
    ----------
    x, y : arrays (n, p) and (m, q), or Responses
        The pairing of rows is **not** used; there may be as many or not.
    distance : ``"euclidean"``, ``"sq_euclidean"``, ``"correlation"``, ``"cosine"``
    squared : bool
        False: the root of the loss (the distance of Memoli, times two). True: the loss
        itself, as POT returns it.
    normalise : ``"rms"`` (root of the mean square of the matrix), ``"mean"``, ``"max"``, ``"none"``
        What each distance matrix is divided by; the first two over all n x n entries.
        ``"none"`` keeps the input's scale, which must then be of moderate size.
    n_restarts : random starts beside the two fixed ones, >= 0
    random_state : seed of the random starts
    entropic : float > 0, optional
        Weight of the entropy of the plan, in units of the normalised squared distance: smooth
        plans, and a value that is rarely below the exact one (the entropy itself is not part of it).
        Searched in the logarithmic domain; at most 200 steps, after which the plan is taken as it is.

    Returns
    -------
    float, 0 for RDMs that are equal after a reordering of rows; with ``normalise="rms"`` at
    most the root of 2 (``squared``: 2). NaN, with a warning, where x or y does not vary over stimuli
    or a distance is not defined.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli.
    InputError
        An unknown name, a negative `n_restarts`, an `entropic` not above 0, values that are not finite.
    AlignmentError
        Responses on one side only.
    MissingDependencyError
        The package POT is not installed.

    Notes
    -----
    min over plans T with uniform margins of sum (D_x[i, k] - D_y[j, l])^2 T[i, j] T[k, l]. The problem is
    not convex: what is returned is the lowest end of 2 + `n_restarts` conditional-gradient searches, an
    upper bound. The fixed starts: the best coupling of the rows' sorted distances, and the order of
    the rows by their mean distance (where the product of the margins leads at its first step).
    `align_stimuli` gives the spread over starts. Symmetric to the last digit: the search has one
    direction for each pair, from the matrix with fewer rows, or the smaller first different entry.

    Invariant, with the Euclidean distances, to rotation, one factor (not with ``normalise="none"``),
    translation and permutation of units, and also **to a permutation of the rows of either
    side** (rows are put in an order of their own first; exact up to rows that tie in it). A test
    that permutes rows therefore says nothing about it. The exact minimum is a metric on RDMs up to
    order; a local one need not be.
    O(n^3) per step of each search, some tens of steps; O(n^2) memory: about 0.1 s at n = 100.
    Source: Memoli 2011, doi:10.1007/s10208-011-9093-5; Peyre, Cuturi & Solomon 2016 (square loss).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(30, 3))
    >>> gromov_wasserstein(x, 2.0 * x[::-1, ::-1] + 1.0) < 1e-6
    True
    """
    return align_stimuli(
        x,
        y,
        distance=distance,
        squared=squared,
        normalise=normalise,
        n_restarts=n_restarts,
        random_state=random_state,
        entropic=entropic,
    ).value


def align_stimuli(
    x: Any,
    y: Any,
    *,
    distance: str = "euclidean",
    squared: bool = False,
    normalise: str = "rms",
    n_restarts: int = 5,
    random_state: int = 0,
    entropic: float | None = None,
) -> GromovWasserstein:
    """Match the stimuli of two systems by their RDMs alone.

    Parameters, errors, cost and source are those of `gromov_wasserstein`. Arrays of one length and
    Responses with the same stimuli count as paired for the accuracy.

    Returns
    -------
    GromovWasserstein
        All NaN, with a warning, where x or y does not vary over stimuli or a distance is
        not defined.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(30, 3))
    >>> align_stimuli(x, -x).accuracy
    1.0
    """
    one_of("distance", distance, DISTANCE_NAMES)
    one_of("normalise", normalise, NORMALISATIONS)
    n_restarts, random_state = whole_number("n_restarts", n_restarts, low=0), seed(random_state)
    squared = flag("squared", squared)
    if entropic is not None and not (is_real(entropic) and entropic > 0):
        raise InputError(f"entropic={entropic!r}; expected a number above 0, or None for the exact plan")
    clouds = two_clouds(x, y)
    a = _matrix("x", clouds.x, distance, normalise)
    b = None if a is None else _matrix("y", clouds.y, distance, normalise)
    if a is None or b is None:
        return _undefined(len(clouds.x), len(clouds.y), 2 + n_restarts, clouds.paired)
    first, second = canonical_order(a), canonical_order(b)
    a, b = a[np.ix_(first, first)], b[np.ix_(second, second)]
    # a local search from x to y may end elsewhere than one from y to x: there is one direction
    # for each pair, whichever of the two is called x
    forward = comes_first(a, b)
    low, high = (a, b) if forward else (b, a)
    ends = [_search(low, high, start, entropic) for start in starts(low, high, n_restarts, random_state)]
    losses = np.array([gromov_loss(low, high, plan) for plan in ends])
    values = losses if squared else np.sqrt(losses)
    best = int(np.argmin(losses))
    plan = np.empty((len(a), len(b)))
    plan[np.ix_(first, second)] = ends[best] if forward else ends[best].T
    return GromovWasserstein(
        value=float(values[best]),
        plan=plan,
        start_values=values,
        spread=float(values.max() - values.min()),
        accuracy=_top_1(plan) if clouds.paired else None,
    )


def gromov_loss(a: np.ndarray, b: np.ndarray, plan: np.ndarray) -> float:
    """The square loss of a plan (n, m) between distance matrices (n, n) and (m, m).

    Term by term where the plan is sparse (exact to the last digits near zero), else by three products.
    """
    rows, columns = np.nonzero(plan)
    if len(rows) <= _SPARSE * max(plan.shape):
        mass = plan[rows, columns]
        difference = a[np.ix_(rows, rows)] - b[np.ix_(columns, columns)]
        return float(mass @ (difference**2) @ mass)
    p, q = plan.sum(axis=1), plan.sum(axis=0)
    cross = float(np.vdot(a @ plan, plan @ b))
    return max(0.0, float(p @ (a**2) @ p) + float(q @ (b**2) @ q) - 2.0 * cross)


def _search(a: np.ndarray, b: np.ndarray, start: np.ndarray, entropic: float | None) -> np.ndarray:
    if entropic is not None:
        return entropic_plan(a, b, start, entropic)
    plan: np.ndarray = transport_package().gromov.gromov_wasserstein(
        a,
        b,
        np.full(len(a), 1.0 / len(a)),
        np.full(len(b), 1.0 / len(b)),
        loss_fun="square_loss",
        symmetric=True,
        G0=start,
        max_iter=_ITERATIONS,
        tol_rel=_TOLERANCE,
        tol_abs=_TOLERANCE**2,
        numItermaxEmd=_LARGEST_EMD,
    )
    return plan


def _matrix(name: str, x: np.ndarray, distance: str, normalise: str) -> np.ndarray | None:
    """The normalised distance matrix of one side; None, after a warning, where it is not defined."""
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"{name} has {len(x)} stimuli; Gromov-Wasserstein needs at least {MIN_STIMULI}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*distances are NaN")
        d = _distances(x, distance, keep_scale=normalise == "none")
    if not np.isfinite(d).all() or not d.any():
        why = (
            "does not vary over stimuli"
            if np.isfinite(d).all()
            else f"has a stimulus without a {distance} distance (no response, or the same in every unit)"
        )
        warnings.warn(f"gromov_wasserstein is NaN: {name} {why}", stacklevel=4)
        return None
    scale = {
        "rms": lambda: float(np.sqrt(np.mean(d**2))),
        "mean": lambda: float(d.mean()),
        "max": lambda: float(d.max()),
        "none": lambda: 1.0,
    }[normalise]()
    return d / scale


def _distances(x: np.ndarray, distance: str, *, keep_scale: bool) -> np.ndarray:
    if distance in ("correlation", "cosine"):
        return np.asarray(rdm(x, distance=distance))
    unit = distances(x) if distance == "euclidean" else squared_distances(x)
    if not keep_scale:
        return unit
    centred = x - x.mean(axis=0)
    size = float(np.abs(centred).max()) if without_scale(x).any() else 0.0
    return unit * (size if distance == "euclidean" else size**2)


def _top_1(plan: np.ndarray) -> float:
    """Share of rows whose largest mass is on the diagonal; a tie counts as the share of one."""
    largest = plan.max(axis=1, keepdims=True)
    top = plan >= largest * (1.0 - 1e-9)
    return float(np.mean(np.diagonal(top) / top.sum(axis=1)))


def _undefined(n: int, m: int, n_starts: int, paired: bool) -> GromovWasserstein:
    nan = float("nan")
    return GromovWasserstein(nan, np.full((n, m), nan), np.full(n_starts, nan), nan, nan if paired else None)
