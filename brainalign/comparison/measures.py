"""Measures of the similarity of two systems, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from brainalign._checks import lookup, unknown_name
from brainalign.comparison import cka
from brainalign.comparison._comparators import unit_ranks, unit_vectors
from brainalign.comparison._pairing import paired
from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison.rdm_comparison import MIN_STIMULI
from brainalign.comparison.rdms import rdm
from brainalign.errors import InputError, ShapeError
from brainalign.statistics.rank_correlation import settle_ties, tau_a


@dataclass(frozen=True)
class Measure:
    """A similarity of x (n, p) and y (n, q), higher is closer.

    Parameters
    ----------
    name : str
    represent : callable (x, **options) -> (n, n)
        What each side becomes on its own: a matrix over stimuli whose rows and columns
        follow a permutation of the stimuli.
    between : callable (matrix, matrix) -> float
        The similarity of two such matrices; NaN where one cannot be computed.
    direct : callable (x, y) -> float, or None
        The same value without n x n matrices where that is cheaper.
    kind : ``"rsa"`` or ``"cka"``
    range : the lowest and highest possible value
    invariances : what may be applied to x or y, each on its own, without a change:
        ``"rotation"``, ``"scale"`` (one factor), ``"translation"`` (one vector added to
        every row), ``"linear"`` (any invertible map), ``"permutation"`` (of units)
    minimum : fewest stimuli
    options : names that `options` may hold
    cost, reference : text
    """

    name: str
    represent: Callable[..., np.ndarray]
    between: Callable[[np.ndarray, np.ndarray], float]
    kind: str
    range: tuple[float, float]
    invariances: frozenset[str]
    minimum: int
    cost: str
    reference: str
    direct: Callable[[np.ndarray, np.ndarray], float] | None = None
    options: tuple[str, ...] = ()


def inner_product(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the products of all entries."""
    return float(np.vdot(a, b))


def _square(vector: np.ndarray, n: int) -> np.ndarray:
    """The symmetric (n, n) matrix of an upper triangle, zero diagonal."""
    out = np.zeros((n, n))
    out[np.triu_indices(n, 1)] = vector
    return out + out.T


def _unit_rdm(
    x: np.ndarray, *, unit: Callable[[np.ndarray], np.ndarray], distance: str = "correlation"
) -> np.ndarray:
    """RDM of x, scaled so that the inner product of two of them is their correlation."""
    pairs = unit(upper_triangle(_complete_rdm(x, distance)[None]))[0]
    return _square(pairs / np.sqrt(2.0), len(x))


def _complete_rdm(x: np.ndarray, distance: str = "correlation") -> np.ndarray:
    """RDM of x; one with missing pairs is no basis for a score and becomes all NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*distances are NaN")
        out: np.ndarray = rdm(x, distance=distance)
    if np.isnan(out).any():
        return np.full_like(out, np.nan)
    return out


def _rdm_tau_a(a: np.ndarray, b: np.ndarray) -> float:
    first, second = upper_triangle(a), upper_triangle(b)
    if np.isnan(first).any() or np.isnan(second).any():
        return float("nan")
    return tau_a(settle_ties(first), settle_ties(second))


_RSA: dict[str, Any] = {
    "kind": "rsa",
    "range": (-1.0, 1.0),
    "invariances": frozenset({"scale", "permutation"}),
    "minimum": MIN_STIMULI,
    "options": ("distance",),
}
_CKA: dict[str, Any] = {
    "kind": "cka",
    "between": inner_product,
    "invariances": frozenset({"rotation", "scale", "translation", "permutation"}),
    "minimum": cka.MIN_STIMULI,
    "cost": "O(n p q) time, O(p q) memory where p, q < n, else O(n^2 (p + q)) and O(n^2)",
}
_NILI = "Nili et al. 2014, doi:10.1371/journal.pcbi.1003553"

MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure(
            name="rsa_pearson",
            represent=partial(_unit_rdm, unit=unit_vectors),
            between=inner_product,
            cost="O(n^2 (p + q)) time, O(n^2) memory",
            reference=_NILI,
            **_RSA,
        ),
        Measure(
            name="rsa_spearman",
            represent=partial(_unit_rdm, unit=unit_ranks),
            between=inner_product,
            cost="O(n^2 (p + q) + n^2 log n) time, O(n^2) memory",
            reference=_NILI,
            **_RSA,
        ),
        Measure(
            name="rsa_tau_a",
            represent=_complete_rdm,
            between=_rdm_tau_a,
            cost="O(n^2 (p + q) + n^2 log n) time, O(n^2) memory",
            reference=_NILI,
            **_RSA,
        ),
        Measure(
            name="cka",
            represent=cka.u_centred,
            direct=partial(cka.linear_cka_of, debiased=True),
            range=(-1.0, 1.0),
            reference="Song et al. 2012, JMLR 13:1393; Nguyen et al. 2021, arXiv:2010.15327",
            **_CKA,
        ),
        Measure(
            name="cka_biased",
            represent=cka.centred_gram,
            direct=partial(cka.linear_cka_of, debiased=False),
            range=(0.0, 1.0),
            reference="Kornblith et al. 2019, arXiv:1905.00414",
            **_CKA,
        ),
    )
}

REASON_NAN = (
    "{name} is NaN: x or y does not vary over stimuli, all its stimuli are equally far apart, or "
    "(correlation distance) a stimulus has the same response in every unit"
)


def find_measure(measure: str | Measure, options: Mapping[str, Any] | None) -> Measure:
    """Resolve a name (or a `Measure`) and check that it takes these options."""
    found = measure if isinstance(measure, Measure) else lookup("measure", measure, MEASURES)
    if not isinstance(found, Measure):
        raise InputError("measure is a callable; expected a name of MEASURES or a comparison.Measure")
    for name in options or {}:
        if name not in found.options:
            raise unknown_name(f"option of the measure {found.name!r}", name, found.options)
    return found


def check_size(measure: Measure, n: int) -> None:
    """Refuse fewer stimuli than the measure needs."""
    if n < measure.minimum:
        raise ShapeError(f"{measure.name} over {n} stimuli; it needs at least {measure.minimum}")


def compare(
    x: Any, y: Any, *, measure: str | Measure = "cka", options: Mapping[str, Any] | None = None
) -> float:
    """Return the similarity of two systems that answered the same stimuli.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position. `Responses` are joined by `stimulus_id`, after the
        rows of a repeated stimulus have been averaged. Any floating or integer dtype;
        computed in float64.
    measure : name of `MEASURES`, or a `Measure`
        ``"rsa_pearson"``, ``"rsa_spearman"``, ``"rsa_tau_a"``: RDMs compared over their
        upper triangles. ``"cka"``: linear, debiased (U-statistic). ``"cka_biased"``.
    options : mapping, for the RSA measures ``{"distance": "correlation" or "sq_euclidean"}``

    Returns
    -------
    float, higher is closer; 1 for equal systems. NaN, with a warning, where a side does
    not vary over stimuli or a correlation distance is undefined.

    Raises
    ------
    AlignmentError
        A stimulus without a partner, an id whose content hash differs, an array with
        `Responses`.
    ShapeError
        Different numbers of rows, fewer stimuli than the measure needs (3 for RSA, 4 for
        CKA), a time axis.
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
    """
    chosen = find_measure(measure, options)
    first, second = paired(x, y)
    check_size(chosen, len(first))
    if chosen.direct is not None and not options:
        return float(chosen.direct(first, second))
    keywords = dict(options or {})
    value = chosen.between(chosen.represent(first, **keywords), chosen.represent(second, **keywords))
    if np.isnan(value):
        warnings.warn(REASON_NAN.format(name=chosen.name), stacklevel=2)
        return float("nan")
    low, high = chosen.range
    return float(min(max(value, low), high))
