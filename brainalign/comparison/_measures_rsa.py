"""RSA and CKA as measures: values of two matrices over the stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from brainalign.comparison import cka
from brainalign.comparison._comparators import unit_ranks, unit_ranks_a, unit_vectors
from brainalign.comparison._measure import REASON_NAN, Measure, inner_product
from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison.rdm_comparison import MIN_STIMULI
from brainalign.comparison.rdms import rdm
from brainalign.statistics.rank_correlation import settle_ties, tau_a

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def of_matrices(
    name: str, represent: Callable[..., Matrix], between: Callable[[Matrix, Matrix], float]
) -> Callable[..., float]:
    """The function (x, y, **options) of a measure that is the value of two matrices."""

    def value(x: np.ndarray, y: np.ndarray, **options: Any) -> float:
        found = between(represent(x, **options), represent(y, **options))
        if np.isnan(found):
            warnings.warn(REASON_NAN.format(name=name), stacklevel=4)
        return found

    return value


def _square(vector: np.ndarray, n: int) -> Matrix:
    """The symmetric (n, n) matrix of an upper triangle, zero diagonal."""
    out = np.zeros((n, n))
    out[np.triu_indices(n, 1)] = vector
    return out + out.T


def _complete_rdm(x: np.ndarray, *, distance: str = "correlation") -> Matrix:
    """RDM of x at size one; one with missing pairs is no basis for a score and becomes all NaN."""
    # no value here depends on a factor of the RDM, and squares of squares leave float64 early
    x = np.ldexp(x, -int(np.frexp(np.abs(x).max(initial=0.0))[1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*distances are NaN")
        out: Matrix = rdm(x, distance=distance)
    if np.isnan(out).any():
        return np.full_like(out, np.nan)
    return out


def _unit_rdm(
    x: np.ndarray, *, unit: Callable[[np.ndarray], np.ndarray], distance: str = "correlation"
) -> Matrix:
    """RDM of x, scaled so that the inner product of two of them is their correlation."""
    pairs = unit(upper_triangle(_complete_rdm(x, distance=distance)[None]))[0]
    return _square(pairs / np.sqrt(2.0), len(x))


def _whitened_rdm(x: np.ndarray, *, distance: str = "sq_euclidean") -> Matrix:
    """Doubly centred -D / 2 of norm one; inner products of two are the whitened cosine."""
    if distance == "sq_euclidean":  # the Gram matrix itself keeps the digits that distances lose
        return cka.centred_gram(x)
    dissimilarity = _complete_rdm(x, distance=distance)
    gram = -0.5 * dissimilarity / (np.abs(dissimilarity).max() or 1.0)
    gram = gram - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True) + gram.mean()
    return cka.unit_norm(gram)


def _rdm_tau_a(a: np.ndarray, b: np.ndarray) -> float:
    first, second = upper_triangle(a), upper_triangle(b)
    if np.isnan(first).any() or np.isnan(second).any():
        return float("nan")
    return tau_a(settle_ties(first), settle_ties(second))


def _of_rdms(
    name: str, represent: Callable[..., Matrix], between: Callable[[Matrix, Matrix], float], **known: Any
) -> Measure:
    return Measure(
        name=name,
        function=of_matrices(name, represent, between),
        kind="similarity",
        family="rsa",
        minimum=MIN_STIMULI,
        options=("distance",),
        represent=represent,
        between=between,
        **{"range": (-1.0, 1.0), "invariances": frozenset({"scale", "permutation"}), **known},
    )


_NILI = "Nili et al. 2014, doi:10.1371/journal.pcbi.1003553"
_SCHUETT = "Schütt et al. 2023, doi:10.7554/eLife.82566"
_GEOMETRY = "which units carry the geometry, and features of little variance"
_UNRELATED = "centred on 0 for unrelated x and y, whatever the numbers of units"
_PAIRS = "O(n^2 (p + q)) time, O(n^2) memory"
_SORTED = "O(n^2 (p + q) + n^2 log n) time, O(n^2) memory"
_CKA: dict[str, Any] = {
    "kind": "similarity",
    "family": "cka",
    "between": inner_product,
    "invariances": frozenset({"rotation", "scale", "translation", "permutation"}),
    "minimum": cka.MIN_STIMULI,
    "cost": "O(n p q) time, O(p q) memory where p, q < n, else O(n^2 (p + q)) and O(n^2)",
    "blind_to": "which units carry the geometry, and components of little variance: a component counts by "
    "the square of its variance",
}

MEASURES_RSA: tuple[Measure, ...] = (
    _of_rdms(
        "rsa_pearson",
        partial(_unit_rdm, unit=unit_vectors),
        inner_product,
        cost=_PAIRS,
        reference=_NILI,
        answers="Are dissimilarities of the stimuli linearly related?",
        blind_to=_GEOMETRY,
        bias=_UNRELATED,
    ),
    _of_rdms(
        "rsa_spearman",
        partial(_unit_rdm, unit=unit_ranks),
        inner_product,
        cost=_SORTED,
        reference=_NILI,
        answers="Do dissimilarities of the stimuli have the same order?",
        blind_to=_GEOMETRY + ", and any monotone change of the dissimilarities",
        bias=_UNRELATED + "; too high for an RDM with many ties (categories): use rsa_rho_a there",
    ),
    _of_rdms(
        "rsa_rho_a",
        partial(_unit_rdm, unit=unit_ranks_a),
        inner_product,
        cost=_SORTED,
        reference=_SCHUETT,
        answers="Do dissimilarities have the same order, with ties in random order?",
        blind_to=_GEOMETRY + ", and any monotone change of the dissimilarities",
        bias=_UNRELATED + "; an RDM with ties has less than 1 with itself",
    ),
    _of_rdms(
        "rsa_tau_a",
        _complete_rdm,
        _rdm_tau_a,
        cost=_SORTED,
        reference=_NILI,
        answers="How many more pairs of dissimilarities have the same order than the opposite one?",
        blind_to=_GEOMETRY + ", and any monotone change of the dissimilarities",
        bias=_UNRELATED + "; an RDM with ties has less than 1 with itself",
    ),
    _of_rdms(
        "rsa_whitened_cosine",
        _whitened_rdm,
        inner_product,
        range=(0.0, 1.0),
        invariances=frozenset({"rotation", "scale", "translation", "permutation"}),
        cost=_PAIRS,
        reference="Diedrichsen et al. 2021, arXiv:2007.02789",
        answers="Are squared Euclidean distances proportional, weighted by how surely each is measured?",
        blind_to=_GEOMETRY,
        bias="biased upwards as cka_biased, which it equals; not for crossnobis distances (see compare_rdms)",
    ),
    Measure(
        name="cka",
        function=partial(cka.linear_cka_of, debiased=True),
        represent=cka.u_centred,
        range=(-1.0, 1.0),
        reference="Song et al. 2012, JMLR 13:1393; Nguyen et al. 2021, arXiv:2010.15327",
        answers="Do the same stimuli evoke similar patterns in both, weighted by their variance?",
        bias=_UNRELATED,
        **_CKA,
    ),
    Measure(
        name="cka_biased",
        function=partial(cka.linear_cka_of, debiased=False),
        represent=cka.centred_gram,
        range=(0.0, 1.0),
        reference="Kornblith et al. 2019, arXiv:1905.00414",
        answers="As cka, in the form of most published figures",
        bias="tends to 1 for unrelated x and y when there are more units than stimuli",
        **_CKA,
    ),
)
