"""Many layers against one brain: values, permutation p-values and intervals in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.comparison._measure import Measure, inner_product
from brainalign.comparison._option_checks import generator_of, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison.measures import MatrixMeasure, check_size, find_matrix_measure

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
_ROUNDING = 1e-12
_BATCH = 16


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """Similarity of one layer to the brain.

    `value`; `p_value` ``(b + 1) / (m + 1)``, NaN without draws; `low`, `high` the 95 %
    interval over resampled stimuli, NaN where the measure has none.
    """

    layer: str
    value: float
    p_value: float
    low: float
    high: float
    n_stimuli: int


def compare_layers(
    features: Mapping[str, Any],
    responses: Any,
    *,
    measure: str | Measure = "rsa_spearman",
    n_permutations: int = 1000,
    n_bootstrap: int = 0,
    options: Mapping[str, Any] | None = None,
    random_state: int = 0,
) -> list[LayerComparison]:
    """Compare every layer of a network with the same responses.

    Parameters
    ----------
    features : {layer: Responses or array (n_stimuli, n_features)}
    responses : Responses or array (n_stimuli, n_units)
    measure, options : as in `compare`
    n_permutations : draws of the Mantel test; the stimuli of the brain change their order,
        the same orders for every layer; 0: no p-values
    n_bootstrap : resamples of stimuli for the interval of the RSA measures Pearson and
        Spearman; 0: none
    random_state : seed

    Returns
    -------
    list of LayerComparison, in the order of `features`

    Notes
    -----
    A resample draws stimuli with their counts c; pair (i, j) weighs c_i c_j and a stimulus
    is never paired with itself, so every sum is a quadratic form in c (one matrix product
    for all resamples). Spearman holds the ranks of the full set. Cost: per layer 6
    n_bootstrap n^2, per draw n^2 (layers + 1); memory n^2 (layers + 1) float64.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(30, 4))
    >>> found = compare_layers({"a": x, "b": x[::-1]}, x, measure="rsa_pearson", n_permutations=99)
    >>> [round(f.value, 2) for f in found][0], found[0].p_value
    (1.0, 0.01)
    """
    chosen = find_matrix_measure(measure, options)
    whole_number("n_permutations", n_permutations, low=0)
    whole_number("n_bootstrap", n_bootstrap, low=0)
    layers, brain = [], None
    for x in features.values():
        first, second = paired(x, responses)
        check_size(chosen, len(first))
        layers.append(chosen.represent(first))
        brain = chosen.represent(second) if brain is None else brain
    assert brain is not None
    values = np.array([chosen.between(a, brain) for a in layers])
    p_values = _p_values(chosen, layers, brain, values, n_permutations, random_state)
    intervals = np.full((len(layers), 2), np.nan)
    if n_bootstrap and chosen.name in ("rsa_pearson", "rsa_spearman"):
        intervals = _intervals(layers, brain, n_bootstrap, random_state)
    n = len(brain)
    return [
        LayerComparison(name, float(v), float(p), float(low), float(high), n)
        for name, v, p, (low, high) in zip(features, values, p_values, intervals, strict=True)
    ]


def _p_values(
    chosen: MatrixMeasure, layers: list[Any], brain: Any, values: FloatArray, n_permutations: int, seed: int
) -> FloatArray:
    if not n_permutations:
        return np.full(len(layers), np.nan)
    rng = generator_of(seed)
    exceed = np.zeros(len(layers))
    flat = np.stack([a.ravel() for a in layers]) if chosen.between is inner_product else None
    for start in range(0, n_permutations, _BATCH):
        orders = [rng.permutation(len(brain)) for _ in range(min(_BATCH, n_permutations - start))]
        moved = np.stack([brain[order][:, order] for order in orders])
        if flat is not None:  # one product for all layers and draws of the batch
            null = flat @ moved.reshape(len(orders), -1).T
        else:
            null = np.array([[chosen.between(a, m) for m in moved] for a in layers])
        exceed += (null >= values[:, None] - _ROUNDING).sum(axis=1)
    return np.where(np.isnan(values), np.nan, (exceed + 1) / (n_permutations + 1))


def _intervals(layers: list[Any], brain: Any, n_bootstrap: int, seed: int) -> FloatArray:
    n = len(brain)
    rng = generator_of(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(np.float64)

    def total(matrix: Any) -> FloatArray:
        return np.asarray(((counts @ matrix) * counts).sum(axis=1))

    pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
    b_mean, b_square = total(brain) / pairs, total(brain**2) / pairs
    out = np.full((len(layers), 2), np.nan)
    for row, a in enumerate(layers):
        a_mean, a_square, both = total(a) / pairs, total(a**2) / pairs, total(a * brain) / pairs
        with np.errstate(invalid="ignore", divide="ignore"):
            r = (both - a_mean * b_mean) / np.sqrt((a_square - a_mean**2) * (b_square - b_mean**2))
        if np.isfinite(r).all():
            out[row] = np.percentile(r, [2.5, 97.5])
    return out
