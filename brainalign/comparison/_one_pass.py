"""Forms in which many measures of many systems share what is computed of each system and each pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._measure import REASON_NAN, Measure, inner_product
from brainalign.comparison._nearest import IndexArray, check_k, search, unit_rows
from brainalign.comparison._nearest_inputs import warn_settled
from brainalign.comparison._ranked_forms import (
    ranked_rdm,
    reordered_distances,
    reordered_ranks,
    rsm_norm_of_distances,
    scaled_distances,
    tau_a_of_ranks,
)
from brainalign.comparison._spectral_forms import (
    OF_SIMILARITY,
    SPECTRAL,
    decomposed,
    distance_value,
    joined_spectra,
    reordered_spectrum,
    spectral_value,
    swapped_spectra,
)
from brainalign.comparison._unit_curves import unit_curves
from brainalign.comparison._unit_forms import (
    OF_UNITS,
    joined_units,
    reordered_units,
    swapped_units,
    unit_value,
)
from brainalign.comparison.measures import MEASURES
from brainalign.comparison.neighbours import (
    cknna_of,
    jaccard_of,
    mutual_knn_of,
    rank_similarity_of,
    second_order_cosine_of,
)

_K = 10


def _pair(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y


@dataclass(frozen=True)
class Form:
    """How the values of a measure follow from what is computed once of each system.

    Forms with one `key` share what `prepare` makes of a system (n, p) and what `join` makes of a
    pair; `swap` makes the pair (y, x) of the pair (x, y); `reorder` gives what another order of
    the stimuli would have been prepared to. `product`: the value is the inner product of the two
    matrices; `undefined` says why it may be NaN where nothing else does; `early`: computed before the
    others of its key, which take results from it.
    """

    key: str
    prepare: Callable[[FloatArray], Any]
    reorder: Callable[[Any, np.ndarray], Any]
    value: Callable[[Any], float]
    undefined: str
    join: Callable[[Any, Any], Any] = _pair
    swap: Callable[[Any], Any] | None = None
    product: bool = False
    early: bool = False


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Rows (n, p) of length one and their nearest neighbours (n, k)."""

    rows: FloatArray
    indices: IndexArray


def _neighbourhood(values: FloatArray) -> Neighbourhood:
    rows = unit_rows(values)
    near = search(rows, check_k(_K, len(rows)))
    warn_settled("a system", near)
    return Neighbourhood(rows, near.indices)


def _reordered_neighbours(found: Neighbourhood, order: np.ndarray) -> Neighbourhood:
    # a stimulus that was in row `order[i]` is in row i now; -1 marks no neighbour
    place = np.append(np.argsort(order), -1)
    return Neighbourhood(found.rows[order], place[found.indices[order]])


def _of_indices(function: Callable[[Any, Any], float]) -> Callable[[tuple[Any, Any]], float]:
    return lambda pair: function(pair[0].indices, pair[1].indices)


def _of_rows(function: Callable[..., float]) -> Callable[[tuple[Any, Any]], float]:
    return lambda pair: function(pair[0].rows, pair[1].rows, pair[0].indices, pair[1].indices)


_NEIGHBOURS: dict[str, Callable[[tuple[Any, Any]], float]] = {
    "mutual_knn": _of_indices(mutual_knn_of),
    "jaccard": _of_indices(jaccard_of),
    "rank_similarity": _of_indices(rank_similarity_of),
    "second_order_cosine": _of_rows(second_order_cosine_of),
    "cknna": _of_rows(cknna_of),
}


def _reordered_matrix(matrix: FloatArray, order: np.ndarray) -> FloatArray:
    out: FloatArray = matrix.take(order, axis=0).take(order, axis=1)
    return out


def _reordered_rows(values: FloatArray, order: np.ndarray) -> FloatArray:
    out: FloatArray = values[order]
    return out


def _same(values: FloatArray) -> FloatArray:
    return values


def form_of(measure: Measure, options: Mapping[str, Any], *, permuted: bool) -> Form:
    """The form that shares most; `permuted`: the one whose values under another order cost least."""
    # a record of the caller's own may have the name of another
    if measure is not MEASURES.get(measure.name):
        return _of_matrices(measure, options) or _of_values(measure, options)
    if measure.name == "rsa_tau_a":
        return _of_tau_a(measure, options)
    matrices = _of_matrices(measure, options)
    if matrices is not None and (permuted or options or measure.name not in SPECTRAL):
        return matrices
    shared = None if options else _shared(measure)
    return shared or _of_values(measure, options)


def _shared(measure: Measure) -> Form | None:
    """The form of a measure, without options, that shares a decomposition, a search or correlations."""
    name, undefined = measure.name, REASON_NAN.format(name=measure.name)
    if name in SPECTRAL or name in OF_SIMILARITY:
        value = (
            partial(spectral_value, name=name)
            if name in SPECTRAL
            else partial(distance_value, measure=measure)
        )
        return Form(
            "spectrum",
            decomposed,
            reordered_spectrum,
            value,
            undefined,
            joined_spectra,
            swapped_spectra,
            early=name == "pwcca",  # it asks for directions too: cca takes its correlations
        )
    if name in _NEIGHBOURS:
        return Form("neighbours", _neighbourhood, _reordered_neighbours, _NEIGHBOURS[name], undefined)
    if name in OF_UNITS:
        matched = partial(unit_value, name=name)
        return Form("units", unit_curves, reordered_units, matched, undefined, joined_units, swapped_units)
    if name == "rsm_norm":
        return Form("distances", scaled_distances, reordered_distances, rsm_norm_of_distances, undefined)
    return None


def _of_tau_a(measure: Measure, options: Mapping[str, Any]) -> Form:
    """Pairs are sorted once for each system, not once for each pair of systems."""
    represent = measure.represent
    assert represent is not None
    return Form(
        key=f"{measure.name} {sorted(options.items())}",
        prepare=lambda values: ranked_rdm(represent(values, **options)),
        reorder=reordered_ranks,
        value=tau_a_of_ranks,
        undefined=REASON_NAN.format(name=measure.name),
    )


def _of_matrices(measure: Measure, options: Mapping[str, Any]) -> Form | None:
    """The form of a measure that is the value of two matrices over the stimuli."""
    if measure.represent is None or measure.between is None:
        return None
    between = measure.between
    return Form(
        key=f"{measure.name} {sorted(options.items())}",
        prepare=partial(measure.represent, **options),
        reorder=_reordered_matrix,
        value=lambda pair: between(pair[0], pair[1]),
        undefined=REASON_NAN.format(name=measure.name),
        product=between is inner_product,
    )


def _of_values(measure: Measure, options: Mapping[str, Any]) -> Form:
    """The form of a measure that nothing is shared of."""
    function = partial(measure.function, **options)
    return Form(
        key=f"rows of {measure.name}",
        prepare=_same,
        reorder=_reordered_rows,
        value=lambda pair: float(function(*pair)),
        undefined=f"{measure.name} is NaN and its function gave no reason",
    )


SHARED = (*SPECTRAL, *OF_SIMILARITY, *_NEIGHBOURS, *OF_UNITS, "rsm_norm")
"""Measures that share work beside those of two matrices over the stimuli."""
