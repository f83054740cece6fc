"""Layers x regions x times: many model RDMs against many brain RDMs in one product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import one_of
from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import (
    INNER_MEASURES,
    checked_stack,
    complete_triangles,
    named_rdms,
    on_host,
    unit_rows,
    warn_undefined,
)
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure, said
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import RDMs

_MODEL_COLUMNS = ("model", "name", "layer")
_BLOCK_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class RsaMap:
    """Similarity of every model RDM with every brain RDM.

    Parameters
    ----------
    values : array (n_models, k)
    models : tuple of str
    table : DataFrame (k rows), what each brain RDM is: region, time, subject ...
    measure : str
    """

    values: np.ndarray = field(repr=False)
    models: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    measure: str

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row a model and brain RDM: model, the columns of `table`, value, measure."""
        n_models, k = self.values.shape
        out = pd.concat([self.table] * n_models, ignore_index=True)
        out.insert(0, "model", np.repeat(np.array(self.models, dtype=object), k))
        out["value"], out["measure"] = self.values.ravel(), self.measure
        return out


def map_rsa(
    model_rdms: Any,
    brain_rdms: Any,
    *,
    measure: str | None = None,
    axes: Mapping[str, Sequence[Any]] | None = None,
    names: Sequence[str] | None = None,
) -> RsaMap:
    """Compare all model RDMs (layers) with all brain RDMs (regions, times, subjects) at once.

    Parameters
    ----------
    model_rdms : {name: (n, n)}, array (n_models, n, n), or RDMs (column model, name or layer)
    brain_rdms : RDMs, whose table becomes columns of the result; or array (..., n, n)
        With `RDMs` on one side give them on both: stimuli are joined by id.
    measure : name of `COMPARATORS`; None: `default_measure` of the distance, said in a warning
    axes : {name: labels}, for an array: one entry for each leading axis, in their order
        For example ``{"region": ["V1", "IT"], "time": times}``. None: numbered positions.
    names : names of the models

    Returns
    -------
    RsaMap. NaN, counted in a warning, where an RDM is constant.

    Raises
    ------
    ShapeError
        Other numbers of stimuli; labels that do not fit the axes.
    InputError
        Missing pairs in a stack of arrays or RDMs (inner-product measures), `axes` for `RDMs`.
    AlignmentError
        `RDMs` against arrays, or over other stimuli.
    UnknownNameError
        The measure does not exist.

    Notes
    -----
    Inner-product measures: every RDM is prepared once and the table is one product,
    2 n_models k P operations, in blocks of 256 MB of brain RDMs. The others (tau, bures,
    neg_riemannian with the models as the second argument) go through `compare_rdms`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> brain = rng.normal(size=(2, 5, 12, 6))
    >>> from brainalign.comparison.rdms import rdm
    >>> found = map_rsa({"a": rdm(brain[0, 0])}, rdm(brain), measure="pearson",
    ...                 axes={"region": ["V1", "IT"], "time": [0.0, 0.1, 0.2, 0.3, 0.4]})
    >>> found.to_frame().shape, [str(c) for c in found.to_frame()]
    ((10, 5), ['model', 'region', 'time', 'value', 'measure'])
    """
    plain, models = named_rdms("model_rdms", model_rdms, _MODEL_COLUMNS, names)
    if isinstance(plain, RDMs) != isinstance(brain_rdms, RDMs):
        raise AlignmentError(
            "one of model_rdms and brain_rdms is RDMs and the other is not; stimuli are joined by id or by "
            "position, never both"
        )
    if isinstance(brain_rdms, RDMs):
        distance = brain_rdms.info.get("distance")
        if axes is not None:
            raise InputError("axes name the leading axes of an array; RDMs bring their own table")
        plain, brain_rdms = join_rdms(plain, brain_rdms, names=("model_rdms", "brain_rdms"))
        brain, table = brain_rdms.values, brain_rdms.table.reset_index(drop=True)
    else:
        distance = None
        brain, table = _labelled(np.asarray(on_host(brain_rdms)), axes)
    stack = checked_stack("model_rdms", plain)
    if brain.shape[-1] != stack.shape[1]:
        raise ShapeError(
            f"brain_rdms are over {brain.shape[-1]} stimuli and model_rdms over {stack.shape[1]}"
        )
    chosen = measure if measure is not None else _default_of_map(distance)
    values = _table_of(stack, brain, chosen)
    warn_undefined(values, "similarities", stacklevel=2)
    return RsaMap(values, tuple(models), table, chosen)


def _default_of_map(distance: str | None) -> str:
    return said(default_measure(distance), stacklevel=4)


def _labelled(brain: np.ndarray, axes: Mapping[str, Sequence[Any]] | None) -> tuple[np.ndarray, pd.DataFrame]:
    """The RDMs as a stack, and a table with one column for each leading axis."""
    if brain.ndim < 2 or brain.shape[-1] != brain.shape[-2]:
        raise ShapeError(f"brain_rdms have shape {brain.shape}; expected (..., n, n)")
    leading = brain.shape[:-2] or (1,)
    labels = {f"axis_{i}": list(range(m)) for i, m in enumerate(leading)} if axes is None else dict(axes)
    found = tuple(len(v) for v in labels.values())
    if found != leading:
        raise ShapeError(
            f"axes have {found} labels and the leading axes of brain_rdms are {leading}; give one entry for "
            "each "
            "axis, in their order"
        )
    index = pd.MultiIndex.from_product([list(v) for v in labels.values()], names=list(labels))
    return brain.reshape(-1, *brain.shape[-2:]), index.to_frame(index=False)


def _table_of(models: np.ndarray, brain: np.ndarray, measure: str) -> np.ndarray:
    """Similarities (n_models, k), in blocks of brain RDMs."""
    one_of("measure", measure, COMPARATORS)
    out = np.empty((len(models), len(brain)))
    size = max(1, _BLOCK_BYTES // (24 * brain.shape[-1] ** 2))
    prepared = unit_rows(complete_triangles(models), measure) if measure in INNER_MEASURES else None
    for start in range(0, len(brain), size):
        block = checked_stack("brain_rdms", brain[start : start + size])
        if prepared is None:
            out[:, start : start + size] = compare_rdms(block, models, measure=measure).T
            continue
        with full_precision():
            found = prepared @ unit_rows(complete_triangles(block), measure).T
        out[:, start : start + size] = found.clamp(-1.0, 1.0).numpy()
    return out
