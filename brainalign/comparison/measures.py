"""Measures of representational alignment, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from brainalign._checks import lookup, unknown_name
from brainalign.comparison._measure import Measure, within_range
from brainalign.comparison._measures_dynamics import MEASURES_DYNAMICS
from brainalign.comparison._measures_geometry import MEASURES_GEOMETRY
from brainalign.comparison._measures_linear import MEASURES_LINEAR
from brainalign.comparison._measures_neighbours import MEASURES_NEIGHBOURS
from brainalign.comparison._measures_rsa import MEASURES_RSA
from brainalign.comparison._measures_shape import MEASURES_SHAPE
from brainalign.comparison._measures_units import MEASURES_UNITS
from brainalign.comparison._pairing import paired_samples
from brainalign.errors import InputError, ShapeError

MEASURES: dict[str, Measure] = {
    m.name: m
    for family in (
        MEASURES_RSA,
        MEASURES_LINEAR,
        MEASURES_SHAPE,
        MEASURES_NEIGHBOURS,
        MEASURES_UNITS,
        MEASURES_GEOMETRY,
        MEASURES_DYNAMICS,
    )
    for m in family
}
"""Every measure that `compare` knows; each record says kind, range, invariances, cost and source."""


def find_measure(measure: str | Measure, options: Mapping[str, Any] | None) -> Measure:
    """Resolve a name (or a `Measure`) and check that it takes these options."""
    found = measure if isinstance(measure, Measure) else lookup("measure", measure, MEASURES)
    if not isinstance(found, Measure):
        raise InputError("measure is a callable; expected a name of MEASURES or a comparison.Measure")
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"options is {options!r}; expected a mapping of names to values or None")
    for name in options or {}:
        if name not in found.options:
            raise unknown_name(f"option of the measure {found.name!r}", name, found.options)
    return found


@dataclass(frozen=True)
class MatrixMeasure:
    """A measure that is the value of two (n, n) matrices over the stimuli, its options given."""

    name: str
    minimum: int
    represent: Callable[[np.ndarray], np.ndarray]
    between: Callable[[np.ndarray, np.ndarray], float]


def find_matrix_measure(measure: str | Measure, options: Mapping[str, Any] | None) -> MatrixMeasure:
    """As `find_measure`, refusing a measure that is not the value of two matrices over the stimuli."""
    found = find_measure(measure, options)
    if found.represent is None or found.between is None:
        known = ", ".join(name for name, m in MEASURES.items() if m.represent is not None)
        raise InputError(
            f"measure {found.name!r} is not the value of two matrices over the stimuli, which this analysis "
            f"reorders; choose one of {known}, or use compare_many(..., calibrate='permutation')"
        )
    represent = partial(found.represent, **dict(options or {}))
    return MatrixMeasure(found.name, found.minimum, represent, found.between)


def check_size(measure: Measure | MatrixMeasure, n: int) -> None:
    """Refuse fewer stimuli than the measure needs."""
    if n < measure.minimum:
        raise ShapeError(f"{measure.name} over {n} stimuli; it needs at least {measure.minimum}")


def value_of(measure: Measure, x: np.ndarray, y: np.ndarray, options: Mapping[str, Any] | None) -> float:
    """The value for paired arrays, without the rounding that lies beyond its range."""
    return within_range(measure, float(measure.function(x, y, **dict(options or {}))))


def compare(
    x: Any, y: Any, *, measure: str | Measure = "cka", options: Mapping[str, Any] | None = None
) -> float:
    """Return one measure of the alignment of two systems that answered the same stimuli.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position. `Responses` are joined by `stimulus_id`, after the
        rows of a repeated stimulus have been averaged. Any floating or integer dtype;
        computed in float64. ``stochastic_shape`` and ``energy_shape`` take the single
        trials: arrays (n_stimuli, n_repeats, p), or `Responses` with the same number of
        rows for every stimulus. ``dsa`` takes trajectories: arrays (n_times, p) or
        (n_trials, n_times, p), `Responses` with or without a time axis.
    measure : name of `MEASURES`, or a `Measure`
        RDMs: ``rsa_pearson``, ``rsa_spearman``, ``rsa_rho_a``, ``rsa_tau_a``,
        ``rsa_whitened_cosine``. Linear and kernel: ``cka`` (debiased), ``cka_biased``,
        ``cka_rbf``, ``rv``, ``dcor``, ``cca``, ``svcca``, ``pwcca``,
        ``linear_predictivity``, ``bures``, ``nbs``. Shape: ``procrustes``,
        ``angular_procrustes``, ``permutation_procrustes``, ``shape``,
        ``stochastic_shape``, ``energy_shape``. Neighbours: ``mutual_knn``, ``cknna``,
        ``jaccard``, ``second_order_cosine``, ``rank_similarity``; ``rsm_norm``. Units:
        ``bipartite_match``, ``best_match``, ``soft_match``. Geometry and dynamics:
        ``gromov_wasserstein``, ``rtd``, ``imd``, ``ricci``, ``dsa``.
    options : mapping
        The options of the measure, listed in ``MEASURES[measure].options``; for RSA
        ``{"distance": "correlation", "sq_euclidean", "euclidean" or "cosine"}``.

    Returns
    -------
    float
        ``MEASURES[measure].kind`` says whether higher is closer (``"similarity"``) or 0 is
        the same (``"distance"``), `range` between what it lies. NaN, with a warning that
        says why, where it is not defined.

    Raises
    ------
    AlignmentError
        A stimulus without a partner, an id whose content hash differs, an array with
        `Responses`.
    ShapeError
        Different numbers of rows, fewer stimuli than the measure needs, a time axis or
        trials where the measure takes none.
    InputError
        Values that are not finite.
    UnknownNameError
        The measure or the option does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(30, 4))
    >>> round(compare(x, -3.0 * x, measure="rsa_spearman"), 6)
    1.0
    >>> MEASURES["cka"].kind
    'similarity'
    """
    chosen = find_measure(measure, options)
    first, second = paired_samples(x, y, chosen.samples)
    if chosen.samples != "trajectories":  # their times are counted where the delays are known
        check_size(chosen, len(first))
    return value_of(chosen, first, second, options)
