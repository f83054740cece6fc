"""Single-trial maps (betas) to responses of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types._files import is_path
from brainalign.types._geometry import checked_affine, merged_info
from brainalign.types._grids import (
    Grid,
    add_regions,
    binary,
    check_grid,
    grid_of,
    labels,
    read_mask,
    read_on_grid,
    read_regions,
    voxel_table,
)
from brainalign.types._nifti import grid_info, read_series, refuse_infinite, with_signal
from brainalign.types._volumes import open_volumes


class Maps(NamedTuple):
    """Values (n_trials, n_voxels), the voxels inside, their grid, and what was found."""

    values: np.ndarray
    inside: np.ndarray | None
    grid: Grid | None
    notes: dict[str, Any]


def responses_of_betas(
    betas: Any,
    stimuli: Any,
    *,
    mask: Any,
    affine: Any,
    rois: Mapping[str, Any] | None,
    subject: str | None,
    session: Any,
    run: Any,
    repetition: Any,
    space: str | None,
    unit: str,
    affine_from: str | None,
    info: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Fields of the `Responses` that `Responses.from_betas` returns."""
    samples = trial_table(stimuli, {"session": session, "run": run, "repetition": repetition}, subject)
    if hasattr(betas, "dataobj") or is_path(betas):
        if affine is not None:
            raise InputError("affine= is for arrays; an image has its own (choose with affine_from=)")
        maps, own_space = _of_image(betas, len(samples), mask, affine_from)
    else:
        maps, own_space = _of_array(_array(betas), len(samples), mask, affine, affine_from), None
    if maps.grid is None or maps.inside is None:
        units, places = pd.DataFrame(index=pd.RangeIndex(maps.values.shape[1])), {}
        regions = _flat_regions(rois, maps.values.shape[1])
    else:
        units, places = voxel_table(maps.inside, maps.grid.affine), grid_info(maps.grid, space or own_space)
        regions = read_regions(rois, maps.grid, maps.inside, affine_from)
    add_regions(units, regions)
    facts = {"design": "trials", "unit": unit, **places, **maps.notes}
    return {"values": maps.values, "samples": samples, "units": units, "info": merged_info(facts, info)}


def trial_table(stimuli: Any, labels_of: Mapping[str, Any], subject: str | None) -> pd.DataFrame:
    """One row per trial: stimulus_id and what else is known; repetitions are counted in order.

    Raises
    ------
    InputError
        A trial has no stimulus, or a label is given both as argument and as column.
    ShapeError
        Labels of another length than the trials.
    """
    if isinstance(stimuli, pd.DataFrame):
        samples = stimuli.reset_index(drop=stimuli.index.name is None).copy()
    elif isinstance(stimuli, str) or not hasattr(stimuli, "__iter__"):
        raise InputError(
            f"stimuli={stimuli!r}; expected one stimulus_id per trial, or a DataFrame of samples"
        )
    else:
        samples = pd.DataFrame({"stimulus_id": pd.Series(list(stimuli), dtype=object)})
    if "stimulus_id" not in samples and "condition" not in samples:
        raise InputError(
            f"the samples have the columns {', '.join(map(str, samples.columns)) or 'none'}; expected "
            "stimulus_id (or condition, where only that is known)"
        )
    if "stimulus_id" in samples and samples["stimulus_id"].isna().any():
        row = int(np.flatnonzero(samples["stimulus_id"].isna())[0])
        raise InputError(f"trial {row} has no stimulus_id; leave the trial out or name its stimulus")
    for name, value in {"subject": subject, **labels_of}.items():
        _set_label(samples, name, value)
    if "repetition" not in samples and "stimulus_id" in samples:
        counted = samples.groupby(samples["stimulus_id"].astype(str)).cumcount() + 1
        samples["repetition"] = counted.astype(str).astype(object)
    return samples


def _set_label(samples: pd.DataFrame, name: str, value: Any) -> None:
    if value is None:
        return
    if name in samples:
        raise InputError(f"{name} is given as an argument and as a column of the samples; leave one out")
    if not isinstance(value, (str, int, np.integer)):
        value = list(value)
        if len(value) != len(samples):
            raise ShapeError(f"{name} has {len(value)} entries for {len(samples)} trials")
    samples[name] = value


def _check_trials(found: int, n_trials: int, what: str) -> None:
    if found != n_trials:
        raise AlignmentError(f"{what}, stimuli name {n_trials} trials; there must be one map for each")


def _array(betas: Any) -> np.ndarray:
    array = np.asarray(betas)
    if array.ndim not in (2, 4) or array.dtype.kind not in "fiu":
        raise ShapeError(
            f"betas are an array of shape {array.shape} and dtype {array.dtype}; expected numbers, "
            "(n_trials, n_voxels) or (n_trials, ni, nj, nk)"
        )
    return array.astype(np.float32, copy=False)


def _of_image(betas: Any, n_trials: int, mask: Any, affine_from: str | None) -> tuple[Maps, str]:
    volumes = open_volumes(betas, "betas", affine_from)
    _check_trials(volumes.n_volumes, n_trials, f"{volumes.name} has {volumes.n_volumes} volumes")
    grid = grid_of(volumes)
    inside = None if mask is None else read_mask(mask, grid, affine_from)
    values, inside, notes = read_series([volumes], inside)
    return Maps(values, inside, grid, notes), volumes.space


def _of_array(array: np.ndarray, n_trials: int, mask: Any, affine: Any, affine_from: str | None) -> Maps:
    hint = " (the last axis fits: move it to the front)" if array.shape[-1] == n_trials else ""
    _check_trials(len(array), n_trials, f"betas of shape {array.shape} have {len(array)} trials{hint}")
    inside, grid = _place(array.shape[1:], mask, affine, affine_from)
    if array.ndim == 2:
        picked = np.ones(array.shape[1], dtype=bool) if inside is None else inside
        if int(picked.sum()) != array.shape[1]:
            raise AlignmentError(
                f"the mask has {int(picked.sum())} voxels, betas have {array.shape[1]}; flat betas are the "
                "voxels of the mask with the last index fastest"
            )
        refuse_infinite(array, picked, "betas")
        _, _, notes = with_signal(array, picked, True, "betas")
        return Maps(array, inside, grid, notes if inside is not None else {})
    picked = np.ones(array.shape[1:], dtype=bool) if inside is None else inside
    values = array[:, picked]
    refuse_infinite(values, picked, "betas")
    values, picked, notes = with_signal(values, picked, inside is not None, "betas")
    return Maps(values, picked, grid, notes)


def _place(
    shape: tuple[int, ...], mask: Any, affine: Any, affine_from: str | None
) -> tuple[np.ndarray | None, Grid | None]:
    """The mask of array betas and their grid, whose affine is the argument's or that of a mask image."""
    own = None if affine is None else checked_affine(affine, "affine=")
    grid = Grid("betas", shape, own) if len(shape) == 3 else None
    if mask is None:
        if own is not None and grid is None:
            raise InputError(
                "affine= places voxels of a volume; flat betas (n_trials, n_voxels) need mask= too"
            )
        return None, grid
    values, found = read_on_grid(mask, "mask", affine_from)
    expected = grid or Grid("affine=", found.shape, own)
    check_grid(expected, found, "mask")
    inside = binary(values, f"mask {found.name}")
    return inside, Grid("betas", found.shape, found.affine if own is None else own)


def _flat_regions(rois: Mapping[str, Any] | None, n_units: int) -> dict[str, np.ndarray]:
    """Regions of betas without a grid: one value per voxel."""
    columns = {}
    for name, given in (rois or {}).items():
        values, names = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not isinstance(values, np.ndarray) or values.shape != (n_units,):
            raise ShapeError(
                f"roi {name!r}: betas without mask= lie nowhere in space; expected an array with one "
                f"value for each of the {n_units} voxels, or give mask="
            )
        columns[f"roi_{str(name).removeprefix('roi_')}"] = labels(values, names, f"roi {name!r}")
    return columns
