"""Representations that change over time: an RDM, a similarity and its p-value for every time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import lookup
from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import (
    checked_stack,
    complete_triangles,
    on_host,
    unit_rows,
    warn_undefined,
)
from brainalign.comparison._measure import Measure, inner_product
from brainalign.comparison._option_checks import generator_of, whole_number
from brainalign.comparison._pairing import finite_matrix, paired, stimulus_means
from brainalign.comparison.measures import MatrixMeasure, check_size, find_matrix_measure
from brainalign.comparison.rdm_comparison import default_measure
from brainalign.comparison.rdms import DISTANCES, rdm
from brainalign.errors import AlignmentError, ShapeError
from brainalign.types import RDMs, Responses

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
_ROUNDING = 1e-12
_BLOCK_BYTES = 2**28
_BATCH = 64


@dataclass(frozen=True, eq=False)
class TimeComparison:
    """Similarity of one layer to the responses at every time.

    `values` (n_times,); `p_values` (n_times,) each time on its own, ``(b + 1) / (m + 1)``;
    `p_corrected` (n_times,) against the largest similarity over all times of each draw
    (family-wise); both NaN without draws. `times` (n_times,) seconds, or indices.
    """

    layer: str
    values: FloatArray
    p_values: FloatArray
    p_corrected: FloatArray
    times: FloatArray
    n_stimuli: int


def time_resolved_rdms(responses: Any, *, distance: str = "correlation", noise: Any = None) -> RDMs:
    """Return one RDM for every time.

    Parameters
    ----------
    responses : Responses (n_samples, n_units, n_times), the rows of a stimulus averaged
        first; or array (n_stimuli, n_units, n_times)
    distance, noise : as in `rdm`; one noise for all times

    Returns
    -------
    RDMs (n_times, n_stimuli, n_stimuli), float64; its table has the column `time` [s]
    (indices for arrays).

    Raises
    ------
    ShapeError
        There is no time axis, or one unit only (correlation).
    AlignmentError
        Rows have no stimulus_id.
    InputError
        Values are not finite.

    Notes
    -----
    Cost: n_times n_stimuli^2 n_units; the result takes 8 n_times n_stimuli^2 bytes. Source:
    Cichy, Pantazis & Oliva 2014, DOI 10.1038/nn.3635.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(6, 5, 3))
    >>> time_resolved_rdms(x).values.shape
    (3, 6, 6)
    """
    lookup("distance", distance, DISTANCES)
    values, ids, times = _stimuli_over_time(responses)
    matrices = rdm(np.moveaxis(values, 2, 0), distance=distance, noise=noise)
    table = pd.DataFrame({"time": times})
    return RDMs(matrices, ids, table, {"distance": str(distance)})


def temporal_generalisation(
    rdms: Any, *, measure: str | None = None, between_subjects: bool = False
) -> np.ndarray:
    """Compare the RDM at every time with that at every other time.

    Parameters
    ----------
    rdms : array (n_times, n, n) or (n_subjects, n_times, n, n), or RDMs with one row a time
    measure : name of `COMPARATORS`; with several subjects an inner-product measure; None: ``"rho_a"``, said \
in a warning
    between_subjects : bool
        Time t of one subject with time t' of another, mean over ordered pairs of subjects: noise that
        lasts over time within a recording, which makes neighbouring times alike, does not count.

    Returns
    -------
    array (n_times, n_times), symmetric; mean over subjects. The diagonal is 1 within subjects.
    NaN, counted in a warning, for constant RDMs.

    Raises
    ------
    ShapeError
        Other axes; one subject with `between_subjects`.
    InputError
        Missing pairs.

    Notes
    -----
    One product of prepared RDMs, O(S T^2 P). For a distance between the patterns of two times see
    `cross_time_rdms`. Source: King & Dehaene 2014, doi:10.1016/j.tics.2014.01.002, applied to RDMs.

    Examples
    --------
    >>> patterns = np.random.default_rng(0).normal(size=(2, 10, 6))
    >>> temporal_generalisation(rdm(patterns[[0, 0, 1]]), measure="pearson").round(1)[0, :2]
    array([1., 1.])
    """
    if measure is None:
        measure = default_measure(rdms.info.get("distance") if isinstance(rdms, RDMs) else None)
        warnings.warn(f"measure is not given: {measure!r} is used; name the measure", stacklevel=2)
    values = np.asarray(on_host(rdms.values if isinstance(rdms, RDMs) else rdms), dtype=np.float64)
    values = values[None] if values.ndim == 3 else values
    if values.ndim != 4:
        raise ShapeError(
            f"rdms have shape {values.shape}; expected (n_times, n, n) or (n_subjects, n_times, n, n)"
        )
    if between_subjects and len(values) < 2:
        raise ShapeError(
            "between_subjects=True needs RDMs (n_subjects, n_times, n, n) of at least 2 subjects"
        )
    s, t = values.shape[:2]
    flat = checked_stack("rdms", values.reshape(-1, *values.shape[2:]))
    units = unit_rows(complete_triangles(flat), measure).reshape(s, t, -1)
    with full_precision():
        joined = units.permute(1, 0, 2).flatten(1)
        table = joined @ joined.T
        if between_subjects:
            total = units.sum(0)
            table = (total @ total.T - table) / (s * (s - 1))
        else:
            table = table / s
    out = np.asarray(table.clamp(-1.0, 1.0).numpy())
    warn_undefined(out, "pairs of times", stacklevel=2)
    return out


def compare_over_time(
    features: Mapping[str, Any],
    responses: Any,
    *,
    measure: str | Measure = "rsa_spearman",
    n_permutations: int = 0,
    options: Mapping[str, Any] | None = None,
    random_state: int = 0,
) -> list[TimeComparison]:
    """Compare layers with responses at every time: time-resolved RSA or CKA.

    Parameters
    ----------
    features : {layer: Responses or array (n_stimuli, n_features)}
    responses : Responses (n_samples, n_units, n_times), or array (n_stimuli, n_units, n_times)
    measure, options : as in `compare`
    n_permutations : draws of the Mantel test; each draw puts the stimuli of the responses in
        one order for all times and layers; 0: no p-values
    random_state : seed

    Returns
    -------
    list of TimeComparison, in the order of `features`

    Raises
    ------
    ShapeError
        The responses have no time axis; rows differ in number.
    AlignmentError, InputError
        As in `compare`.

    Notes
    -----
    Cost: per time one representation O(n^2 n_units); per draw n^2 n_times per layer. Times
    are worked on in blocks of 256 MB. The family-wise p-value uses the maximum over times
    (Nichols & Holmes 2002, DOI 10.1002/hbm.1058).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(12, 4))
    >>> y = np.stack([rng.normal(size=(12, 4)), x], axis=2)
    >>> found = compare_over_time({"a": x}, y, measure="cka", n_permutations=99)
    >>> int(found[0].values.argmax()), float(found[0].p_corrected[1])
    (1, 0.01)
    """
    chosen = find_matrix_measure(measure, options)
    whole_number("n_permutations", n_permutations, low=0)
    layers, brain, times = _paired_over_time(features, responses)
    check_size(chosen, len(brain))
    models = [chosen.represent(x) for x in layers]
    values = np.full((len(models), brain.shape[2]), np.nan)
    # the largest similarity over all times, of each draw
    highest = np.full((n_permutations, len(models)), -np.inf)
    counts = np.zeros_like(values)
    for block, matrices in _blocks(chosen, brain):
        values[:, block] = [[chosen.between(a, m) for m in matrices] for a in models]
        for start, null in _nulls(chosen, models, matrices, n_permutations, random_state):
            counts[:, block] += (null >= values[:, block] - _ROUNDING).sum(axis=0)
            part = highest[start : start + len(null)]
            np.maximum(part, np.where(np.isnan(null), -np.inf, null).max(axis=2), out=part)
    p_values, corrected = np.full_like(values, np.nan), np.full_like(values, np.nan)
    if n_permutations:
        above = (highest[:, :, None] >= values[None] - _ROUNDING).sum(axis=0)
        missing = np.isnan(values)
        p_values = np.where(missing, np.nan, (counts + 1) / (n_permutations + 1))
        corrected = np.where(missing, np.nan, (above + 1) / (n_permutations + 1))
    return [
        TimeComparison(name, values[i], p_values[i], corrected[i], times, len(brain))
        for i, name in enumerate(features)
    ]


def _blocks(chosen: MatrixMeasure, brain: FloatArray) -> Iterator[tuple[slice, list[Any]]]:
    """What the responses become at each time, some times at once."""
    n, _, n_times = brain.shape
    size = max(1, _BLOCK_BYTES // (8 * n * n))
    for start in range(0, n_times, size):
        block = slice(start, min(start + size, n_times))
        yield block, [chosen.represent(brain[:, :, t]) for t in range(block.start, block.stop)]


def _nulls(
    chosen: MatrixMeasure, models: list[Any], matrices: list[Any], n_permutations: int, seed: int
) -> Iterator[tuple[int, FloatArray]]:
    """Similarities under exchanged stimuli, (n_batch, n_layers, n_times); equal orders in every block."""
    rng = generator_of(seed)
    flat = np.stack([m.ravel() for m in matrices]) if chosen.between is inner_product else None
    for start in range(0, n_permutations, _BATCH):
        orders = [rng.permutation(len(models[0])) for _ in range(min(_BATCH, n_permutations - start))]
        out = np.empty((len(orders), len(models), len(matrices)))
        for position, a in enumerate(models):
            # one order of the network's stimuli is the inverse order of the brain's
            moved = [a[order][:, order] for order in orders]
            if flat is not None:
                out[:, position] = np.stack([m.ravel() for m in moved]) @ flat.T
            else:
                out[:, position] = [[chosen.between(m, b) for b in matrices] for m in moved]
        yield start, out


def _stimuli_over_time(responses: Any) -> tuple[FloatArray, np.ndarray, FloatArray]:
    """Means of each stimulus (n_stimuli, n_units, n_times), the ids, the times."""
    flat, shape, times = _flattened(responses)
    if isinstance(flat, Responses):
        means = stimulus_means("responses", flat)
        return means.values.reshape(-1, *shape), means.stimulus_id, times
    values = finite_matrix("responses", flat).reshape(-1, *shape)
    return values, np.array([str(i) for i in range(len(values))], dtype=object), times


def _flattened(responses: Any) -> tuple[Any, tuple[int, int], FloatArray]:
    """The same responses without a time axis, the shape of one row, and the times."""
    is_responses = isinstance(responses, Responses)
    values = responses.array() if is_responses else np.asarray(responses)
    if values.ndim != 3:
        raise ShapeError(f"the responses have shape {values.shape}; expected (n_samples, n_units, n_times)")
    if not is_responses:
        return values.reshape(len(values), -1), values.shape[1:], np.arange(values.shape[2], dtype=float)
    flat = replace(responses, values=values.reshape(len(values), -1), units=None, times=None)
    return flat, values.shape[1:], np.asarray(responses.times, dtype=float)


def _paired_over_time(
    features: Mapping[str, Any], responses: Any
) -> tuple[list[FloatArray], FloatArray, FloatArray]:
    """Each layer and the responses on one stimulus axis, that of the first layer."""
    flat, shape, times = _flattened(responses)
    layers, brain = [], None
    for name, x in features.items():
        first, second = paired(x, flat)
        if brain is not None and not np.array_equal(brain, second):
            raise AlignmentError(f"layer {name!r} has its stimuli in another order than the layers before it")
        layers.append(first)
        brain = second
    if brain is None:
        raise ShapeError("features are empty; expected at least one layer")
    return layers, brain.reshape(-1, *shape), times
