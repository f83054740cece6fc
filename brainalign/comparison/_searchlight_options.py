"""Options of a searchlight: what goes together, which defaults hold, which voxels take part."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from brainalign._arrays import resolve_device
from brainalign._checks import one_of, unknown_name
from brainalign.comparison import searchlight_result as reasons
from brainalign.comparison._option_checks import is_count
from brainalign.comparison._searchlight_inputs import Measured
from brainalign.comparison._searchlight_rdms import CROSSED, NOISE_DISTANCES, SEARCHLIGHT_DISTANCES
from brainalign.comparison._searchlight_scores import SEARCHLIGHT_MEASURES
from brainalign.comparison.rdm_comparison import default_measure
from brainalign.comparison.searchlight_result import REASONS
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses


def chosen_names(distance: str | None, measure: str | None, runs: Any) -> tuple[str, str, list[str]]:
    """Distance and measure by name, and which of them are defaults."""
    defaults = [n for n, v in (("distance", distance), ("measure", measure)) if v is None]
    distance = distance or (CROSSED if runs is not None else "correlation")
    measure = measure or default_measure(distance)
    for kind, name, family in (
        ("distance", distance, SEARCHLIGHT_DISTANCES),
        ("searchlight measure", measure, SEARCHLIGHT_MEASURES),
    ):
        if name not in family:
            raise unknown_name(kind, str(name), family)
    if distance == CROSSED and runs is None:
        raise InputError("crossnobis needs runs=, one label per sample: the folds of its cross-validation")
    if distance != CROSSED and runs is not None:
        raise InputError(
            f"runs are the folds of crossnobis; distance={distance!r} does not use them: leave them out"
        )
    return distance, measure, defaults


def check_options(
    distance: str,
    models: Any,
    noise: Any,
    residuals: Any,
    keep_rdms: bool,
    min_voxels: int,
    n_permutations: int,
) -> None:
    """Refuse options that do not go together."""
    if models is None and not keep_rdms:
        raise InputError("models are None and keep_rdms is False; there is nothing to compute")
    if models is None and n_permutations:
        raise InputError("n_permutations needs models")
    if noise is not None and residuals is not None:
        raise InputError("noise and residuals are given; the noise is estimated once: give one of them")
    given = "noise" if noise is not None else "residuals" if residuals is not None else ""
    if given and distance not in NOISE_DISTANCES:
        raise InputError(
            f"distance={distance!r} takes no {given}; expected one of {', '.join(NOISE_DISTANCES)}"
        )
    if not given and distance == "mahalanobis":
        raise InputError(
            "distance 'mahalanobis' needs noise= or residuals=; without noise it is 'sq_euclidean'"
        )
    least = 2 if distance == "correlation" else 1
    if not is_count(min_voxels, least):
        raise InputError(f"min_voxels={min_voxels!r}; {distance} needs a whole number of at least {least}")
    if not is_count(n_permutations):
        raise InputError(f"n_permutations={n_permutations!r}; expected 0 or more")


def check_noise(distance: str, found: Measured) -> None:
    if found.n_times is not None:
        raise InputError(
            "noise is over units and values have a time axis; whiten the values first (noise.whiten) and "
            f"leave noise out of {distance}"
        )


def device_of(device: str | torch.device | None, values: Any) -> torch.device:
    if device is not None:
        return resolve_device(device)
    return values.device if isinstance(values, torch.Tensor) else torch.device("cpu")


def inside_mask(mask: Any, values: Any, n_units: int) -> np.ndarray:
    """Which units are inside, (n_units,)."""
    if mask is None:
        return np.ones(n_units, dtype=bool)
    if isinstance(mask, str):
        units = values.units if isinstance(values, Responses) else None
        columns = [] if units is None else list(units.columns)
        one_of("mask", mask, columns)
        mask = np.asarray(values.units[mask])
    inside = np.asarray(mask)
    if inside.shape != (n_units,):
        raise ShapeError(f"mask has shape {inside.shape}; expected ({n_units},), one entry a voxel of values")
    if inside.dtype != bool:
        raise InputError(f"mask has dtype {inside.dtype}; expected bool, True inside")
    return inside


def feature_codes(found: Measured, mask: np.ndarray, no_place: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Why each feature (n_units * n_times,) is left out; 0 where it is not."""
    n_times = found.n_times or 1
    codes = np.zeros(len(found.finite), dtype=np.int8)
    codes[~np.repeat(noisy, n_times)] = reasons.NO_NOISE
    codes[np.repeat(no_place, n_times)] = reasons.NO_PLACE
    codes[~found.finite] = reasons.NOT_FINITE
    codes[~np.repeat(mask, n_times)] = reasons.MASKED
    return codes


def counted(codes: np.ndarray) -> str:
    parts = [
        f"{int((codes == code).sum())} {text}" for code, text in REASONS.items() if (codes == code).any()
    ]
    return "; ".join(parts)


def seconds_of(times: Any, values: Any, n_times: int | None) -> np.ndarray | None:
    if n_times is None:
        if times is not None:
            raise ShapeError("times are given and values have no time axis (n_samples, n_units, n_times)")
        return None
    if times is None:
        times = values.times if isinstance(values, Responses) else np.arange(n_times)
    seconds = np.asarray(times, dtype=np.float64)
    if seconds.shape != (n_times,):
        raise ShapeError(
            f"times have shape {seconds.shape}; expected ({n_times},), one second a time of values"
        )
    return seconds
