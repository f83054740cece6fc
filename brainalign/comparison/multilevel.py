"""The same two networks compared unit by unit, layer by layer and attention head by head."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

from brainalign._checks import one_of
from brainalign.comparison._pairing import paired
from brainalign.comparison._unit_attention import (
    Maps,
    check_maps,
    check_same_utterances,
    head_similarities,
    matched_heads,
)
from brainalign.comparison._unit_curves import (
    FloatArray,
    IntArray,
    UnitCurves,
    check_stimuli,
    correlation_tiles,
    unit_curves,
)
from brainalign.comparison._unit_folds import check_cv, stimulus_folds
from brainalign.comparison.cca import pwcca, svcca
from brainalign.comparison.cka import linear_cka
from brainalign.errors import InputError
from brainalign.metrics import pearson
from brainalign.regression.ridge import RidgeCV

LEVELS = ("unit", "layer", "attention")
ATTENTION_MEASURES = ("jensen_shannon", "cosine")
ALL_LAYERS = "*"
_INNER_FOLDS = 5
_TINY = float(np.finfo(np.float64).tiny)
_COLUMNS = ["level", "layer_a", "layer_b", "measure", "value"]
_LAYER_MEASURES: dict[str, Callable[[Any, Any], float]] = {"cka": linear_cka, "svcca": svcca, "pwcca": pwcca}


def neuron_comparison(
    a: Mapping[str, Any], b: Mapping[str, Any], *, cv: int = 5, random_state: int = 0
) -> pd.DataFrame:
    """Return how well each unit of each layer of a is found in each layer of b (direction a -> b).

    Parameters
    ----------
    a, b : {layer: array (n_stimuli, n_units) or Responses}
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
    cv : folds of the held-out regression, each of at least 3 stimuli
    random_state : seed of the folds

    Returns
    -------
    DataFrame (layer_a, layer_b, unit, best_r, regression_r), one row per unit of a and layer
    of b. `best_r` in [0, 1]: largest |r| with a unit of the layer of b, on the same stimuli.
    `regression_r` in [-1, 1]: r of the unit with its held-out prediction from the layer of b,
    mean over folds; 0 where the prediction is constant. NaN, with a warning that counts them,
    for units that do not vary over stimuli (`regression_r`: over the training or test stimuli
    of a fold) and for layers of b without a unit that does.

    Raises
    ------
    InputError
        a or b is no mapping of layers, `cv` is no number of folds; and as in `compare`.
    ShapeError
        A test fold of fewer than 3 stimuli, different numbers of rows.

    Notes
    -----
    The regression is ridge, its penalty chosen inside the training stimuli for each unit
    (plain least squares would score 1 in training with more units than stimuli, and about 0
    outside). `best_r` is biased upward by the choice, as in `best_match`; `regression_r` is
    not. Cost per pair of layers: O(n p q) and `cv` ridge fits. Source: Wu et al. 2020,
    arXiv:2005.01172 (neuron-level similarities).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> found = neuron_comparison({"conv1": x}, {"late": x[:, ::-1]})
    >>> found["best_r"].round(6).tolist(), bool((found["regression_r"] > 0.99).all())
    ([1.0, 1.0, 1.0], True)
    """
    tables = []
    for layer_a, layer_b, x, y in _layer_pairs(a, b):
        check_stimuli("neuron_comparison", len(x))
        folds = check_cv(cv, len(x))
        frame = pd.DataFrame({"layer_a": layer_a, "layer_b": layer_b, "unit": np.arange(x.shape[1])})
        frame["best_r"] = _best_abs_r(unit_curves(x), unit_curves(y))
        frame["regression_r"] = _regression_r(x, y, folds, random_state)
        tables.append(frame)
    out = pd.concat(tables, ignore_index=True)
    missing = int(out[["best_r", "regression_r"]].isna().any(axis=1).sum())
    if missing:
        warnings.warn(
            f"{missing} of {len(out)} rows (units of a times layers of b) have NaN: the unit, or every unit "
            "of the layer of b, does not vary over the stimuli of the comparison or of a fold",
            stacklevel=2,
        )
    return out


def multilevel_comparison(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    *,
    attention_a: Mapping[str, Any] | None = None,
    attention_b: Mapping[str, Any] | None = None,
    attention_measure: str = "jensen_shannon",
    cv: int = 5,
    random_state: int = 0,
) -> pd.DataFrame:
    """Compare two networks at the level of units, layers and attention maps.

    Parameters
    ----------
    a, b : {layer: array (n_stimuli, n_units) or Responses}
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
    attention_a, attention_b : {layer: array (n_utterances, n_heads, T, T), or a sequence of
        arrays (n_heads, T, T) whose T differs between utterances}; both or none
        Rows attend to columns and sum to 1. T may differ between a and b: the longer map is
        brought to the length of the shorter by the overlap of their frames.
    attention_measure : ``"jensen_shannon"``: one minus the divergence in bits of the
        distributions of each attending frame. ``"cosine"``: of whole maps.
    cv, random_state : as in `neuron_comparison`

    Returns
    -------
    DataFrame (level, layer_a, layer_b, measure, value), all values similarities:
    ``"unit"``, means over the units of layer_a: ``best_r`` and ``regression_r`` with each
    layer of b; ``maxcorr`` and ``mincorr`` (layer_b ``"*"``), the largest and the smallest
    ``best_r`` over the layers of b. ``"layer"``: ``cka`` (debiased), ``svcca``, ``pwcca``
    (weights from a). ``"attention"``: mean similarity of heads matched one to one, in [0, 1].
    NaN as in the single measures, with their warnings.

    Raises
    ------
    InputError
        Attention of one network alone, maps whose rows are no distributions, an unknown
        `attention_measure`; and as in `neuron_comparison`.
    ShapeError
        Maps that are not square, other numbers of heads or utterances; and as in
        `neuron_comparison`, `linear_cka`, `svcca`.

    Notes
    -----
    Rotating the units of a layer leaves cka, svcca and pwcca where they are and lowers the
    unit level: the two together tell a shared subspace from shared units. maxcorr, svcca and
    pwcca are biased upward with many units and few stimuli, and so is the match of heads:
    maps of unrelated heads are similar wherever both attend broadly. Cost per pair of layers:
    as the measures themselves; attention O(n_utterances n_heads_a n_heads_b T^2). Source: Wu
    et al. 2020, arXiv:2005.01172. Departures: held-out ridge instead of least squares;
    debiased CKA.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> found = multilevel_comparison({"first": x}, {"first": 2.0 * x})
    >>> found["measure"].tolist()
    ['best_r', 'regression_r', 'maxcorr', 'mincorr', 'cka', 'svcca', 'pwcca']
    >>> found["value"].round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    one_of("attention_measure", attention_measure, ATTENTION_MEASURES)
    if (attention_a is None) != (attention_b is None):
        given, other = ("a", "b") if attention_b is None else ("b", "a")
        raise InputError(
            f"attention_{given} without attention_{other}; give the maps of both networks, or of none"
        )
    maps = None
    if attention_a is not None and attention_b is not None:
        maps = _checked_attention(attention_a, attention_b)
    rows = _unit_rows(neuron_comparison(a, b, cv=cv, random_state=random_state))
    for layer_a, layer_b, x, y in _layer_pairs(a, b):
        rows += [
            ("layer", layer_a, layer_b, name, float(function(x, y)))
            for name, function in _LAYER_MEASURES.items()
        ]
    if maps is not None:
        rows += _attention_rows(*maps, attention_measure)
    return pd.DataFrame(rows, columns=_COLUMNS)


Row = tuple[str, str, str, str, float]


def _layer_pairs(a: Any, b: Any) -> Iterator[tuple[str, str, FloatArray, FloatArray]]:
    """Every layer of a with every layer of b, on one stimulus axis."""
    _check_layers("a", a)
    _check_layers("b", b)
    for layer_a, first in a.items():
        for layer_b, second in b.items():
            x, y = paired(first, second)
            yield str(layer_a), str(layer_b), x, y


def _check_layers(name: str, layers: Any) -> None:
    if not isinstance(layers, Mapping) or not layers:
        raise InputError(
            f"{name} is {type(layers).__name__} with "
            f"{len(layers) if hasattr(layers, '__len__') else 'no'} entries; expected a mapping of at least "
            "one layer name to its array"
        )
    if len({str(layer) for layer in layers}) < len(layers):
        raise InputError(
            f"{name} has two layers of one name as text, of {list(layers)}; name each its own way"
        )


def _best_abs_r(x: UnitCurves, y: UnitCurves) -> FloatArray:
    """Largest |r| of each unit of x with a unit of y; NaN where there is none."""
    out = np.full(x.n_units, np.nan)
    if len(y.kept):
        for rows, r in correlation_tiles(x, y):
            out[x.kept[rows]] = np.abs(r).max(axis=1)
    return out


def _regression_r(x: FloatArray, y: FloatArray, n_folds: int, random_state: int) -> FloatArray:
    """Held-out r of each unit of x with its ridge prediction from y, mean over folds."""
    out = np.zeros(x.shape[1])
    for train, test in stimulus_folds(len(x), n_folds, random_state):
        r = np.full(x.shape[1], np.nan)
        sources = unit_curves(y[train]).kept
        fit = np.intersect1d(unit_curves(x[train]).kept, unit_curves(x[test]).kept)
        if len(fit) and len(sources):
            target, rows = _from_training(x[:, fit], train, each=True), _from_training(y, train, each=False)
            inner = KFold(min(_INNER_FOLDS, max(2, len(train) // 2)), shuffle=True, random_state=random_state)
            # r2 of a fold of one stimulus does not exist
            scoring = "r2" if len(train) >= 2 * inner.n_splits else "neg_mean_squared_error"
            model = RidgeCV(cv=inner, scoring=scoring).fit(rows[train], target[train])
            predicted = model.predict(rows[test])
            r[fit] = pearson(target[test], np.asarray(predicted).reshape(len(test), -1))
        out += r / n_folds
    return out


def _from_training(values: FloatArray, train: IntArray, *, each: bool) -> FloatArray:
    """Values without the training mean, over the largest training deviation: of each unit, or of all.

    An offset is taken off before the regression: beside 1e8 its products would keep half of the digits.
    """
    size = np.abs(values[train]).max(axis=0)
    scaled = values / (np.where(size > 0, size, 1.0) if each else max(float(size.max()), _TINY))
    scaled = scaled - scaled[train].mean(axis=0)
    spread = np.abs(scaled[train]).max(axis=0)
    out: FloatArray = scaled / (
        np.where(spread > 0, spread, 1.0) if each else max(float(spread.max()), _TINY)
    )
    return out


def _unit_rows(neurons: pd.DataFrame) -> list[Row]:
    """Means over units; the largest and the smallest best_r over the layers of b."""
    rows: list[Row] = []
    for layer_a, part in neurons.groupby("layer_a", sort=False):
        for layer_b, pair in part.groupby("layer_b", sort=False):
            rows += [
                ("unit", str(layer_a), str(layer_b), name, float(pair[name].mean()))
                for name in ("best_r", "regression_r")
            ]
        over = part.groupby("unit")["best_r"]
        rows += [
            ("unit", str(layer_a), ALL_LAYERS, name, float(values.mean()))
            for name, values in (("maxcorr", over.max()), ("mincorr", over.min()))
        ]
    return rows


def _checked_attention(a: Any, b: Any) -> tuple[dict[str, Maps], dict[str, Maps]]:
    """The maps of each layer of both networks, of the same utterances."""
    _check_layers("attention_a", a)
    _check_layers("attention_b", b)
    first = {str(k): check_maps(f"attention_a[{k!r}]", v) for k, v in a.items()}
    second = {str(k): check_maps(f"attention_b[{k!r}]", v) for k, v in b.items()}
    for layer_a, x in first.items():
        for layer_b, y in second.items():
            check_same_utterances(x, y, (f"attention_a[{layer_a!r}]", f"attention_b[{layer_b!r}]"))
    return first, second


def _attention_rows(a: dict[str, Maps], b: dict[str, Maps], measure: str) -> list[Row]:
    """Mean similarity of matched heads of every pair of layers."""
    return [
        (
            "attention",
            layer_a,
            layer_b,
            f"attention_{measure}",
            matched_heads(head_similarities(x, y, measure)),
        )
        for layer_a, x in a.items()
        for layer_b, y in b.items()
    ]
