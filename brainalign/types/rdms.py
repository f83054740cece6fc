"""Representational dissimilarity matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unique_ids
from brainalign.errors import InputError, ShapeError
from brainalign.types._tables import make_table, positions


@dataclass(frozen=True, eq=False)
class RDMs:
    """Representational dissimilarity matrices over the same stimuli.

    Parameters
    ----------
    values : array (k, n, n), symmetric with a zero diagonal; NaN marks a missing pair
    stimulus_id : sequence of n unique ids
    table : DataFrame (k rows): name, subject, session, roi, time, layer ...
    info : mapping with `distance` and what else is known
    """

    values: np.ndarray = field(repr=False)
    stimulus_id: np.ndarray = field(repr=False)
    table: pd.DataFrame | None = None
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or values.shape[1] != values.shape[2]:
            raise ShapeError(f"RDMs have shape {values.shape}; expected (k, n, n)")
        if values.dtype.kind != "f":
            raise InputError(f"RDMs have dtype {values.dtype}; expected a floating dtype")
        if np.isinf(values).any():
            raise InputError(
                "RDMs hold infinite values; a dissimilarity is a number, or NaN where it is missing"
            )
        ids = unique_ids("stimulus_id", self.stimulus_id)
        if len(ids) != values.shape[1]:
            raise ShapeError(f"{len(ids)} stimulus ids for RDMs over {values.shape[1]} stimuli")
        scale = np.nanmax(np.abs(values), initial=0.0)
        tolerance = 1e-5 * scale if values.dtype.itemsize < 8 else 1e-9 * scale
        for row, matrix in enumerate(values):
            gap = np.nanmax(np.abs(matrix - matrix.T), initial=0.0)
            if gap > tolerance or not np.array_equal(np.isnan(matrix), np.isnan(matrix.T)):
                raise InputError(f"RDM {row} is not symmetric (largest difference {gap:.3g})")
            if np.nanmax(np.abs(np.diag(matrix)), initial=0.0) > tolerance:
                raise InputError(f"RDM {row} has a diagonal that is not zero")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "stimulus_id", ids)
        object.__setattr__(self, "table", make_table("RDM table", self.table, "rdm_id", len(values)))
        object.__setattr__(self, "info", dict(self.info))

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rdms: Any) -> RDMs:
        """Return the RDMs of these positions or of this boolean mask."""
        assert self.table is not None
        index = positions("rdms", rdms, len(self))
        return replace(self, values=self.values[index], table=self.table.iloc[index])
