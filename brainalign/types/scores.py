"""Scores of a model and the noise ceiling that bounds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, ShapeError
from brainalign.types._tables import make_table


@dataclass(frozen=True, eq=False)
class NoiseCeiling:
    """The highest score that noise in the responses allows, per unit.

    Parameters
    ----------
    values, low, high : arrays (n_units,) or (n_units, n_times), or one value per RDM comparison
        The ceiling and its 95 % interval (RSA: lower and upper ceiling). NaN where it
        cannot be computed; `info["reasons"]` counts why.
    method : str, for instance ``"variance_components"``, ``"split_half"``
    metric : the metric that it bounds
    info : which rows and how many repeats it came from
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    method: str
    metric: str = "pearson"
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("values", "low", "high"):
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)))
        if not self.values.shape == self.low.shape == self.high.shape:
            raise ShapeError(
                f"noise ceiling: values {self.values.shape}, low {self.low.shape} and high "
                f"{self.high.shape} must have the same shape"
            )
        object.__setattr__(self, "info", dict(self.info))


IDENTITY = ("dataset", "subject", "model", "layer", "analysis")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a model, one per unit (and time), with what is needed to trust them.

    Parameters
    ----------
    values : array (n_units,) or (n_units, n_times); NaN where no score exists
    units : DataFrame (n_units rows)
    metric : ``"pearson"``, ``"r2_train_mean"`` ...
    identity : mapping with dataset, subject, model, layer, analysis (missing ones are "")
    fold_values : array (n_folds, *values.shape) or None
    interval : array (2, *values.shape) or None; low and high, `info["interval"]` says of what
    n_test : number of test samples (stimuli or time points) behind each value
    noise_ceiling : NoiseCeiling or None
    p_values : array like values or None
    predictions, observed : arrays (n_test, *values.shape) of the test rows, or None
    info : what was fitted, the split with a hash of its test ids, pooled or per fold,
        seed, versions, `layer` {roi: [layer of each outer fold]}, counted reasons for NaN
    """

    values: np.ndarray
    units: pd.DataFrame | None = field(default=None, repr=False)
    metric: str = "pearson"
    identity: Mapping[str, str] = field(default_factory=dict)
    fold_values: np.ndarray | None = field(default=None, repr=False)
    interval: np.ndarray | None = field(default=None, repr=False)
    n_test: int = 0
    noise_ceiling: NoiseCeiling | None = field(default=None, repr=False)
    p_values: np.ndarray | None = field(default=None, repr=False)
    predictions: Any = field(default=None, repr=False)
    observed: Any = field(default=None, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim not in (1, 2):
            raise ShapeError(f"scores have shape {values.shape}; expected (n_units,) or (n_units, n_times)")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "units", make_table("units", self.units, "unit_id", values.shape[0]))
        shape = values.shape
        for name in ("p_values", "interval", "fold_values"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        for name, expected in (("p_values", shape), ("interval", (2, *shape))):
            self._check_shape(name, getattr(self, name), expected)
        for name in ("fold_values", "predictions", "observed"):
            array = getattr(self, name)
            if array is not None:
                self._check_shape(name, array, (array.shape[0], *shape))
        if self.noise_ceiling is not None:
            bound = self.noise_ceiling.values
            self._check_shape("noise_ceiling.values", bound, shape if bound.ndim == len(shape) else shape[:1])
        unknown = sorted(set(self.identity) - set(IDENTITY))
        if unknown:
            raise InputError(f"identity has the key {unknown[0]!r}; expected only {', '.join(IDENTITY)}")
        identity = {
            key: "" if self.identity.get(key) is None else str(self.identity[key]) for key in IDENTITY
        }
        object.__setattr__(self, "identity", identity)
        object.__setattr__(self, "info", dict(self.info))

    @staticmethod
    def _check_shape(name: str, array: Any, expected: tuple[int, ...]) -> None:
        if array is not None and tuple(array.shape) != expected:
            raise ShapeError(f"{name} has shape {tuple(array.shape)}; expected {expected}")

    def normalised(self) -> np.ndarray:
        """Values divided by the noise ceiling, (n_units,) or (n_units, n_times).

        NaN where there is no ceiling and where the ceiling's interval includes zero:
        dividing by a ceiling that may be zero is a guess, not a score.
        """
        out = np.full(self.values.shape, np.nan)
        if self.noise_ceiling is not None:
            usable = np.isfinite(self.noise_ceiling.values) & (self.noise_ceiling.low > 0)
            bound = self._per_value(np.where(usable, self.noise_ceiling.values, np.nan))
            out = self.values / bound
        return out

    def _per_value(self, per_unit: np.ndarray) -> np.ndarray:
        """One number per unit, or per unit and time, in the shape of `values`."""
        if per_unit.ndim < self.values.ndim:
            per_unit = per_unit[:, None]
        return np.broadcast_to(per_unit, self.values.shape)

    def to_nifti(self, *, values: Any = None, fill: float = float("nan")) -> Any:
        """The scores as an image of the grid that the responses were recorded on.

        Parameters
        ----------
        values : what to map in place of the scores, (n_units,) or (n_units, n_times): for
            instance ``scores.p_values``, ``scores.normalised()``, ``scores.noise_ceiling.values``
        fill : value of the voxels without a unit

        Returns
        -------
        nibabel.Nifti1Image
            float32, (ni, nj, nk), or one volume per time (ni, nj, nk, n_times). sform and qform
            are the affine of the input [mm] (qform is left unset where it cannot hold shear).

        Raises
        ------
        InputError
            The units have no voxel indices, or `info` no affine; a voxel occurs twice, lies
            outside the volume, or its x, y, z [mm] are not where the affine puts it.
        ShapeError
            `values` of another length than the units.

        Examples
        --------
        >>> units = pd.DataFrame({"i": [0, 1], "j": [0, 0], "k": [0, 0]})
        >>> grid = {"affine": np.diag([2.0, 2, 2, 1]).tolist(), "volume_shape": [3, 2, 2]}
        >>> image = Scores([0.1, 0.2], units, info=grid).to_nifti(fill=0)
        >>> image.shape, round(float(image.get_fdata()[1, 0, 0]), 3)
        ((3, 2, 2), 0.2)
        """
        from brainalign.types._maps import volume_image

        chosen = self.values if values is None else values
        return volume_image(chosen, self._units(), self.info, fill=fill, name=self._map_name(values))

    def to_gifti(self, *, values: Any = None, fill: float = float("nan")) -> dict[str, Any]:
        """The scores as one GIFTI image per hemisphere.

        Parameters
        ----------
        values, fill : as in `to_nifti`

        Returns
        -------
        {"left": nibabel.GiftiImage, "right": nibabel.GiftiImage}
            Those that ``info["n_vertices"]`` counts; one float32 array per time, with
            AnatomicalStructurePrimary CortexLeft or CortexRight.

        Raises
        ------
        InputError
            The units have no hemi and vertex, or `info` no n_vertices; a vertex occurs twice or
            does not exist.
        ShapeError
            `values` of another length than the units.

        Examples
        --------
        >>> units = pd.DataFrame({"hemi": ["left", "right"], "vertex": [1, 0]})
        >>> scores = Scores([0.1, 0.2], units, info={"n_vertices": {"left": 2, "right": 2}})
        >>> scores.to_gifti(fill=0)["right"].agg_data()
        array([0.2, 0. ], dtype=float32)
        """
        from brainalign.types._maps import surface_images

        chosen = self.values if values is None else values
        return surface_images(chosen, self._units(), self.info, fill=fill, name=self._map_name(values))

    def to_mne(self, *, values: Any = None) -> Any:
        """The scores as an MNE EvokedArray with the positions of the sensors.

        Scores have no unit, MNE's channels do: plot with ``scalings=1, units="r"``.

        Parameters
        ----------
        values : as in `to_nifti`

        Returns
        -------
        mne.EvokedArray
            (n_sensors, n_times), or one sample at 0 s without time. Sensors with a missing
            score are marked as bad, because one NaN would blank a whole topography.

        Raises
        ------
        InputError
            The units have no ch_type; scores over time without ``info["times"]``, or with
            times of unequal steps.
        ShapeError
            `values` of another length than the units.

        Examples
        --------
        >>> units = pd.DataFrame({"unit_id": ["Cz", "Pz"], "ch_type": "eeg"})
        >>> Scores([[0.1, 0.2], [0.3, 0.4]], units, info={"times": [0.0, 0.01]}).to_mne().data.shape
        (2, 2)
        """
        from brainalign.types._maps import sensor_array

        chosen = self.values if values is None else values
        return sensor_array(chosen, self._units(), self.info, name=self._map_name(values))

    def _units(self) -> pd.DataFrame:
        assert self.units is not None
        return self.units

    def _map_name(self, values: Any) -> str:
        """What a map shows, as its file says it."""
        about = ", ".join(v for v in (self.identity["model"], self.identity["layer"]) if v)
        return ("values" if values is not None else self.metric) + (f" of {about}" if about else "")

    def to_frame(self) -> pd.DataFrame:
        """One row per unit (and time): identity, unit labels, value, ceiling, p."""
        assert self.units is not None
        n_times = 1 if self.values.ndim == 1 else self.values.shape[1]
        frame = self.units.reset_index().loc[np.repeat(np.arange(len(self.units)), n_times)]
        frame = frame.reset_index(drop=True)
        if self.values.ndim == 2:
            times = self.info.get("times")
            frame["time"] = np.tile(np.arange(n_times) if times is None else times, len(self.units))
        for key in IDENTITY:
            frame[key] = self.identity[key]
        frame["metric"] = self.metric
        frame["value"] = self.values.reshape(-1)
        if self.interval is not None:
            frame["low"], frame["high"] = self.interval[0].reshape(-1), self.interval[1].reshape(-1)
        if self.noise_ceiling is not None:
            frame["noise_ceiling"] = self._per_value(self.noise_ceiling.values).reshape(-1)
            frame["normalised"] = self.normalised().reshape(-1)
        if self.p_values is not None:
            frame["p"] = self.p_values.reshape(-1)
        frame["n_test"] = self.n_test
        return frame
