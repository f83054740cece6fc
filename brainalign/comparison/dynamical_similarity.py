"""Dynamical similarity analysis: two systems compared by how their states move, not where they lie."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from brainalign._checks import one_of, optional_import
from brainalign.comparison._dynamics_pairs import Search, operator_distances
from brainalign.comparison._option_checks import seed, whole_number
from brainalign.comparison.mode_decomposition import (
    Components,
    DynamicsModel,
    checked_rank,
    checked_ridge,
    components_of,
    default_rank,
    model_of,
)
from brainalign.errors import InputError, ShapeError

FORMS = ("angular", "euclidean", "eigenvalues")
N_DELAYS = 5


def eigenvalue_distance(first: Any, second: Any) -> float:
    """Return the 2-Wasserstein distance between two sets of eigenvalues in the complex plane.

    Parameters
    ----------
    first, second : complex arrays (r,) and (s,)
        Each eigenvalue has mass 1 / r, or 1 / s.

    Returns
    -------
    float
        The root of the smallest mean squared distance over all transport plans (not
        squared, as POT's ``emd2`` of squared distances is). 0 for equal sets.

    Raises
    ------
    ShapeError
        An argument is empty or has more than one axis.
    InputError
        Values that are not finite.
    MissingDependencyError
        Unequal numbers, and POT is missing: ``pip install 'brainalign[transport]'``.

    Notes
    -----
    Equal numbers: an optimal plan is an assignment, solved exactly in O(r^3). Unequal:
    the exact linear programme of POT.

    Examples
    --------
    >>> eigenvalue_distance([1.0, 1.0j], [1.0j, 0.0])
    0.7071067811865476
    """
    a, b = _eigenvalues("first", first), _eigenvalues("second", second)
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()), np.finfo(np.float64).tiny)
    cost = np.abs(a[:, None] / largest - b[None, :] / largest) ** 2
    if len(a) == len(b):
        rows, columns = linear_sum_assignment(cost)
        return float(np.sqrt(cost[rows, columns].mean()) * largest)
    transport = optional_import("ot", "transport", "the distance between unequal numbers of eigenvalues")
    squared = float(transport.emd2(np.full(len(a), 1 / len(a)), np.full(len(b), 1 / len(b)), cost))
    return float(np.sqrt(max(squared, 0.0)) * largest)


def _eigenvalues(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiubc":
        raise InputError(f"{name} has dtype {array.dtype}; expected numbers")
    array = array.astype(np.complex128)
    if array.ndim != 1 or not array.size:
        raise ShapeError(f"{name} has shape {array.shape}; expected (r,) eigenvalues, at least one")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds eigenvalues that are not finite")
    return array


def dsa(
    x: Any,
    y: Any,
    *,
    n_delays: int = N_DELAYS,
    delay: int = 1,
    rank: int | None = None,
    ridge: float = 0.0,
    intercept: bool = True,
    form: str = "angular",
    n_restarts: int = 8,
    max_iterations: int = 200,
    random_state: int = 0,
) -> float:
    """Return the dynamical distance of two recordings: of their operators, up to a rotation.

    Parameters
    ----------
    x, y : arrays (n_times, p) or (n_trials, n_times, p)
        Two systems, sampled at the same rate. They need not have been recorded together:
        numbers of trials, times and units may differ.
    n_delays, delay, rank, ridge, intercept
        Of the two operators, as in `dmd`. `rank` None: the smaller of the two ranks that
        `dmd` would choose (form ``"eigenvalues"``: each keeps its own).
    form : str
        ``"angular"``: the smallest angle, in radians, between A and ``C B C'`` over all
        orthogonal C, in [0, pi]. ``"euclidean"``: the smallest Frobenius norm of
        ``A - C B C'``. ``"eigenvalues"``: `eigenvalue_distance` of A and B.
    n_restarts : int
        Random starts of the search for C, of each sign of its determinant, beside three
        spectral ones of each.
    max_iterations : int
        Steps of each start at most.
    random_state : int
        Seed of the random starts.

    Returns
    -------
    float, 0 for equal dynamics. NaN, with a warning, where a recording does not vary over
    time or its operator is zero (angular). The search is local: the value is an upper bound.

    Raises
    ------
    ShapeError
        Wrong number of axes; too few times for the delays, or transitions for the rank.
    InputError
        Values that are not finite; a rank above the number of independent components;
        options out of range.

    Notes
    -----
    Invariant, on each side alone, to rotation and permutation of the units, one factor on
    all of them and (with `intercept`) a vector added to every time. Invertible maps change
    which components are kept and so the value, except at full rank. All three forms are
    symmetric; angle and norm are metrics on operators up to rotation, as far as the search
    finds the best C.

    Cost: O(n m min(n, m)) for n rows of m = n_delays p, then about 10 r^3 for each step and
    start, batched. Source: Ostrow et al. 2023, arXiv:2306.10168. Departures: quasi-Newton
    descent from spectral starts in place of Adam; the constant of `dmd`; the angle from
    chords, which keeps its digits near 0.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(80)
    >>> slow, fast = (np.c_[np.cos(w * t), np.sin(w * t)] for w in (0.2, 0.6))
    >>> round(dsa(slow, 3 * slow[:, ::-1] + 1, n_delays=1, rank=2), 6)
    0.0
    >>> round(dsa(slow, fast, n_delays=1, rank=2), 2)
    0.4
    """
    return float(
        pairwise_dsa(
            [x, y],
            n_delays=n_delays,
            delay=delay,
            rank=rank,
            ridge=ridge,
            intercept=intercept,
            form=form,
            n_restarts=n_restarts,
            max_iterations=max_iterations,
            random_state=random_state,
            names=("x", "y"),
        )[0, 1]
    )


def pairwise_dsa(
    systems: Sequence[Any],
    *,
    n_delays: int = N_DELAYS,
    delay: int = 1,
    rank: int | None = None,
    ridge: float = 0.0,
    intercept: bool = True,
    form: str = "angular",
    n_restarts: int = 8,
    max_iterations: int = 200,
    random_state: int = 0,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Return the dynamical distances between all pairs of recordings.

    Each operator is fitted once; the searches of all pairs and starts run as one batch.

    Parameters
    ----------
    systems : sequence of k arrays, each (n_times, p) or (n_trials, n_times, p)
    rank : int, or None
        None: the smallest over all systems of the ranks that `dmd` would choose (form
        ``"eigenvalues"``: each keeps its own). Name a rank where values of different sets
        of systems are to be compared.
    names : sequence of k str, or None
        What errors and warnings call the systems.
    n_delays, delay, ridge, intercept, form, n_restarts, max_iterations, random_state
        As in `dsa`.

    Returns
    -------
    float64 array (k, k), symmetric with a zero diagonal. NaN, with a warning, in the rows
    and columns of a system that does not vary over time.

    Raises
    ------
    ShapeError, InputError
        As in `dsa`; fewer than 2 systems.

    Notes
    -----
    Memory: O(r^2) floats for each pair and start, in blocks of at most 128 MB.
    Source and definitions: `dsa`.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(80)
    >>> waves = [np.c_[np.cos(w * t), np.sin(w * t)] for w in (0.2, 0.2, 0.6)]
    >>> pairwise_dsa(waves, n_delays=1, rank=2).round(2) + 0.0
    array([[0. , 0. , 0.4],
           [0. , 0. , 0.4],
           [0.4, 0.4, 0. ]])
    """
    one_of("form", form, FORMS)
    search = Search(
        whole_number("n_restarts", n_restarts, low=0),
        whole_number("max_iterations", max_iterations, low=1),
        seed(random_state),
    )
    labels = _labels(systems, names)
    ridge = checked_ridge(ridge)
    parts = [
        components_of(s, n_delays=n_delays, delay=delay, intercept=intercept, name=name)
        for s, name in zip(systems, labels, strict=True)
    ]
    ranks = _ranks(parts, labels, rank, shared=form != "eigenvalues", intercept=intercept)
    models = [
        None if p is None else model_of(p, r, ridge=ridge, intercept=intercept)
        for p, r in zip(parts, ranks, strict=True)
    ]
    valid = _valid(models, labels, form)
    distances = np.full((len(models), len(models)), np.nan)
    np.fill_diagonal(distances, np.where(valid, 0.0, np.nan))
    places = np.flatnonzero(valid)
    if len(places) > 1:
        chosen = [m for m, v in zip(models, valid, strict=True) if m is not None and v]
        distances[np.ix_(places, places)] = _distances(chosen, form, search)
    return distances


def _labels(systems: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    if not isinstance(systems, Sequence) and np.ndim(systems) < 3:
        raise InputError(f"systems is {type(systems).__name__}; expected a sequence of arrays")
    if len(systems) < 2:
        raise ShapeError(f"{len(systems)} systems; a comparison needs at least 2")
    if isinstance(names, str) or not (names is None or isinstance(names, Sequence)):
        raise InputError(f"names={names!r}; expected a list with one name for each system")
    labels = [f"systems[{i}]" for i in range(len(systems))] if names is None else [str(n) for n in names]
    if len(labels) != len(systems):
        raise ShapeError(f"{len(labels)} names for {len(systems)} systems; expected one each")
    return labels


def _ranks(
    parts: Sequence[Components | None],
    labels: Sequence[str],
    rank: int | None,
    *,
    shared: bool,
    intercept: bool,
) -> list[int]:
    """The rank of each operator; 0 where a recording does not vary."""
    if rank is None:
        own = [0 if p is None else default_rank(p) for p in parts]
        smallest = min((r for r in own if r), default=0)
        ranks = [min(r, smallest) for r in own] if shared else own
    else:
        ranks = [0 if p is None else rank for p in parts]
    return [
        0 if p is None else checked_rank(p, r, intercept=intercept, name=name)
        for p, r, name in zip(parts, ranks, labels, strict=True)
    ]


def _valid(models: Sequence[DynamicsModel | None], labels: Sequence[str], form: str) -> np.ndarray:
    """Which systems have dynamics that can be compared; a warning names the others."""
    still = np.array([m is None for m in models])
    zero = np.array([m is not None and form == "angular" and not np.any(m.operator) for m in models])
    for bad, reason in ((still, "does not vary over time"), (zero, "has an operator of zero, without angle")):
        if bad.any():
            named = ", ".join(labels[i] for i in np.flatnonzero(bad).tolist())
            warnings.warn(f"dsa is NaN: {named} {reason}", stacklevel=3)
    return np.asarray(~(still | zero))


def _distances(models: Sequence[DynamicsModel], form: str, search: Search) -> np.ndarray:
    """Distances (k, k) of fitted models."""
    k = len(models)
    first, second = np.triu_indices(k, 1)
    if form == "eigenvalues":
        values = np.array(
            [
                eigenvalue_distance(models[i].eigenvalues, models[j].eigenvalues)
                for i, j in zip(first.tolist(), second.tolist(), strict=True)
            ]
        )
    else:
        values = operator_distances(np.stack([m.operator for m in models]), first, second, form, search)
    out = np.zeros((k, k))
    out[first, second] = out[second, first] = values
    return out
