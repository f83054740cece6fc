"""The map that a searchlight returns: a score per model and centre, and why some are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unknown_name
from brainalign.comparison._rdm_stacks import square
from brainalign.errors import InputError
from brainalign.types import Scores
from brainalign.types._geometry import geometry_of

OK, MASKED, NOT_FINITE, NO_PLACE, NO_NOISE, TOO_FEW, CONSTANT, SINGULAR, NO_CONTRAST = range(9)
REASONS = {
    MASKED: "outside the mask",
    NOT_FINITE: "the centre has values that are not finite",
    NO_PLACE: "the centre has no position",
    NO_NOISE: "the residuals of the centre are constant or not finite",
    TOO_FEW: "fewer than min_voxels in the sphere",
    CONSTANT: "constant patterns: a condition has one response in all voxels of the sphere",
    SINGULAR: "the noise covariance of the sphere is singular",
    NO_CONTRAST: "the RDM of the sphere is constant or zero",
}


@dataclass(frozen=True, eq=False)
class SearchlightResult:
    """A searchlight map.

    Attributes
    ----------
    scores : array (n_models, n_units), (n_models, n_units, n_times), or (n_models, n_times)
        for windows of time alone; NaN where there is none
    codes : array of int8, like one model of `scores`: 0, or a key of `REASONS`
    n_voxels : array of int64 like `codes`: the voxels (features, over time) in each sphere
    names : the models
    measure, distance : what was computed
    p_values, p_corrected : like `scores`, or None without permutations: ``(b + 1) / (m + 1)``
        of each centre alone, and against the largest score over all centres of each draw
        (family-wise over the map, for each model)
    rdm_vectors : array (..., n_pairs) of the centres, or None
    labels : the conditions in the order of the RDMs, or None
    units, times : table of the centres; seconds (or indices), or None
    info : options, defaults that were taken, voxels left out, geometry
    """

    scores: np.ndarray
    codes: np.ndarray
    n_voxels: np.ndarray
    names: tuple[str, ...]
    measure: str
    distance: str
    units: pd.DataFrame = field(repr=False)
    times: np.ndarray | None = field(default=None, repr=False)
    p_values: np.ndarray | None = field(default=None, repr=False)
    p_corrected: np.ndarray | None = field(default=None, repr=False)
    rdm_vectors: np.ndarray | None = field(default=None, repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    n_conditions: int = 0
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def nan_reasons_(self) -> dict[str, int]:
        """How many centres have no score, by reason."""
        found = {text: int((self.codes == code).sum()) for code, text in REASONS.items()}
        return {text: count for text, count in found.items() if count}

    @property
    def rdms(self) -> np.ndarray | None:
        """RDMs of the centres (..., n, n), NaN where there is none; None without keep_rdms.

        Built on demand, twice the memory of `rdm_vectors`.
        """
        if self.rdm_vectors is None:
            return None
        return square(self.rdm_vectors, self.n_conditions)

    def to_scores(self, model: str | None = None, *, corrected: bool = True) -> Scores:
        """The map of one model as `Scores`, whose `to_nifti`, `to_gifti` and `to_mne` write it.

        Parameters
        ----------
        model : a name; may be left out where there is one model
        corrected : p-values over the whole map (True) or of each centre alone

        Raises
        ------
        InputError
            Several models and none named; no models at all.
        UnknownNameError
            No model of that name.
        """
        m = self._position(model)
        p = self.p_corrected if corrected else self.p_values
        about = {k: str(v) for k, v in self.info.get("identity", {}).items()}
        info = {**self.info, "nan_reasons": self.nan_reasons_}
        if self.times is not None:
            info["times"] = self.times.tolist()
        shape = (len(self.units), *self.codes.shape[1:]) if self._has_units else (1, len(self.codes))
        return Scores(
            self.scores[m].reshape(shape),
            self.units,
            metric=self.measure,
            identity={**about, "model": self.names[m], "analysis": "searchlight"},
            p_values=None if p is None else p[m].reshape(shape),
            n_test=self.n_conditions,
            info=info,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per model, centre (and time): labels of the unit, score, p, voxels, reason."""
        n_times = 1 if self.times is None else len(self.times)
        n_units = len(self.units)
        base = self.units.reset_index().loc[np.repeat(np.arange(n_units), n_times)].reset_index(drop=True)
        if self.times is not None:
            base["time"] = np.tile(self.times, n_units)
        base["n_voxels"] = self.n_voxels.ravel()
        base["reason"] = [REASONS.get(int(code), "") for code in self.codes.ravel()]
        parts = []
        for m, name in enumerate(self.names):
            part = base.assign(
                model=name, measure=self.measure, distance=self.distance, score=self.scores[m].ravel()
            )
            if self.p_values is not None and self.p_corrected is not None:
                part["p"], part["p_corrected"] = self.p_values[m].ravel(), self.p_corrected[m].ravel()
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else base

    @property
    def _has_units(self) -> bool:
        """Whether centres are units, not times alone."""
        return self.times is None or self.codes.ndim == 2

    def _position(self, model: str | None) -> int:
        if not self.names:
            raise InputError("this searchlight had no models; it has RDMs only (rdms)")
        if model is None:
            if len(self.names) > 1:
                raise InputError(
                    f"there are {len(self.names)} models ({', '.join(self.names[:6])}); name one: "
                    "to_scores(model)"
                )
            return 0
        if model not in self.names:
            raise unknown_name("model", model, self.names)
        return self.names.index(model)


def unit_table(values: Any, places: Any, n_units: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The units of a map and what `Scores` need to write it, as far as the geometry says it."""
    units = getattr(values, "units", None)
    if units is not None:
        identity = {}
        for name in ("subject", "dataset"):
            column = values.samples.get(name) if values.samples is not None else None
            if column is not None and column.nunique() == 1:
                identity[name] = str(column.iloc[0])
        return units, {**geometry_of(values.info), "identity": identity}
    table = pd.DataFrame(index=pd.Index([str(i) for i in range(n_units)], name="unit_id"))
    if places.coordinates is not None:
        table[list("xyz")] = np.asarray(places.coordinates, dtype=np.float64)
    if isinstance(places.mesh, Mapping):
        counts = {str(side): len(part[0]) for side, part in places.mesh.items()}
        table["hemi"] = np.repeat(list(counts), list(counts.values()))
        table["vertex"] = np.concatenate([np.arange(n) for n in counts.values()])
        return table, {"n_vertices": counts}
    if places.mesh is not None:
        table["vertex"] = np.arange(n_units)
    return table, {}
