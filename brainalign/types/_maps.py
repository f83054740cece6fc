"""Values per unit as maps that other programs read: volumes, surfaces, sensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, ShapeError
from brainalign.types._geometry import checked_affine, same_grid, world
from brainalign.types._gifti import STRUCTURES

_CODE_OF_SPACE = {"scanner": 1, "aligned": 2, "talairach": 3, "mni152": 4, "template": 5}
# positions are written with six digits or more; a tenth of a millimetre is no rounding
_MM = 0.1


def _per_unit(values: Any, n_units: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or len(array) != n_units:
        raise ShapeError(f"values have shape {array.shape}; expected ({n_units},) or ({n_units}, n_times)")
    return array


def _need(
    units: pd.DataFrame, columns: tuple[str, ...], info: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    """Refuse scores that do not know where their units lie."""
    missing = [c for c in columns if c not in units] + [f"info[{n!r}]" for n in names if info.get(n) is None]
    if missing:
        raise InputError(
            f"these scores have no {', '.join(missing)}; a map needs {', '.join(columns)} of the units"
            + (f" and info {', '.join(names)}" if names else "")
            + ", which the responses get from Responses.from_nifti, from_surface or from_mne"
        )


def volume_image(values: Any, units: pd.DataFrame, info: Mapping[str, Any], *, fill: float, name: str) -> Any:
    """A NIfTI image of the grid that the responses came from; see `Scores.to_nifti`."""
    import nibabel

    _need(units, ("i", "j", "k"), info, ("affine", "volume_shape"))
    array = _per_unit(values, len(units))
    affine = checked_affine(info["affine"], "info['affine']")
    shape = tuple(int(n) for n in info["volume_shape"])
    voxels = _voxels(units, shape, affine)
    volume = np.full((*shape, *array.shape[1:]), fill, dtype=np.float32)
    volume[tuple(voxels.T)] = array
    make: Any = nibabel.Nifti1Image
    image = make(volume, affine)
    _set_space(image, affine, str(info.get("space", "")))
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = f"brainalign: {name}".encode("ascii", "replace")[:79]
    if array.ndim == 2:
        first, step = _uniform(info.get("times"), array.shape[1])
        image.header["toffset"] = first
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    return image


def _voxels(units: pd.DataFrame, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Indices (n, 3), inside the volume, each once, and where the positions [mm] say."""
    voxels = units[["i", "j", "k"]].to_numpy()
    if voxels.dtype.kind not in "iu":
        raise InputError(f"the voxel indices i, j, k have dtype {voxels.dtype}; expected integers")
    outside = ((voxels < 0) | (voxels >= np.array(shape))).any(axis=1)
    if outside.any():
        unit = units.index[int(np.flatnonzero(outside)[0])]
        raise InputError(
            f"unit {unit!r} lies outside the volume of {shape} voxels ({int(outside.sum())} such)"
        )
    _refuse_twice(units, ["i", "j", "k"], "voxel")
    if {"x", "y", "z"} <= set(units.columns):
        positions = units[["x", "y", "z"]].to_numpy(dtype=np.float64)
        gap = np.abs(positions - world(affine, voxels.astype(np.float64))).max(axis=1)
        if (gap > _MM).any():
            first = int(np.flatnonzero(gap > _MM)[0])
            expected = world(affine, voxels[first : first + 1].astype(np.float64))[0].round(2).tolist()
            raise InputError(
                f"unit {units.index[first]!r} is at {positions[first].round(2).tolist()} mm, the affine "
                f"puts its voxel at {expected}; is it the affine of another image?"
            )
    return voxels


def _refuse_twice(units: pd.DataFrame, columns: list[str], kind: str) -> None:
    twice = units.duplicated(columns).to_numpy()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"unit {units.index[row]!r} is the same {kind} as an earlier one ({int(twice.sum())} such); "
            "a map has one value for each"
        )


def _set_space(image: Any, affine: np.ndarray, space: str) -> None:
    """Both forms say the same; a quaternion that cannot hold the affine (shear) is left unset."""
    lower = space.lower()
    code = 4 if lower.startswith("mni") else _CODE_OF_SPACE.get(lower, 2)
    image.set_sform(affine, code)
    image.set_qform(affine, code, strip_shears=True)
    if not same_grid(affine, image.get_qform(), image.shape):
        image.header["qform_code"] = 0


def _uniform(times: Any, n_times: int) -> tuple[float, float]:
    """First time and step in seconds; step 0 where the times are not known or not even."""
    if times is None or n_times < 2:
        return (0.0 if times is None else float(np.ravel(times)[0])), 0.0
    array = _times(times, n_times)
    steps = np.diff(array)
    even = np.allclose(steps, steps.mean(), rtol=1e-3, atol=1e-9)
    return float(array[0]), float(steps.mean()) if even else 0.0


def _times(times: Any, n_times: int) -> np.ndarray:
    array = np.asarray(times, dtype=np.float64)
    if array.shape != (n_times,):
        raise ShapeError(f"info['times'] has shape {array.shape}, the values have {n_times} times")
    return array


def surface_images(
    values: Any, units: pd.DataFrame, info: Mapping[str, Any], *, fill: float, name: str
) -> dict[str, Any]:
    """One GIFTI image per hemisphere; see `Scores.to_gifti`."""
    from nibabel import gifti, nifti1

    _need(units, ("hemi", "vertex"), info, ("n_vertices",))
    array = _per_unit(values, len(units))
    _refuse_twice(units, ["hemi", "vertex"], "vertex")
    counts = {str(side): int(n) for side, n in info["n_vertices"].items()}
    foreign = sorted((set(units["hemi"]) | set(counts)) - (set(counts) & set(STRUCTURES)))
    if foreign:
        raise InputError(
            f"hemisphere {foreign[0]!r} is not known; expected left or right, both in the units and in "
            f"info['n_vertices'] ({', '.join(counts)})"
        )
    labels = _map_labels(array, info.get("times"), name)
    module: Any = gifti
    images = {}
    for side, n in counts.items():
        whole = _whole_mesh(array, units, side, n, fill)
        arrays = [
            module.GiftiDataArray(
                np.ascontiguousarray(column),
                intent=nifti1.intent_codes["NIFTI_INTENT_SHAPE"],
                datatype="NIFTI_TYPE_FLOAT32",
                meta=module.GiftiMetaData({"Name": label}),
            )
            for column, label in zip(whole.T, labels, strict=True)
        ]
        about = {"AnatomicalStructurePrimary": STRUCTURES[side], "Description": f"brainalign: {name}"}
        images[side] = module.GiftiImage(meta=module.GiftiMetaData(about), darrays=arrays)
    return images


def _whole_mesh(array: np.ndarray, units: pd.DataFrame, side: str, n: int, fill: float) -> np.ndarray:
    """Values (n_vertices, n_maps) of one hemisphere, `fill` where no unit is."""
    rows = (units["hemi"] == side).to_numpy()
    vertex = units.loc[rows, "vertex"].to_numpy()
    if len(vertex) and (vertex.dtype.kind not in "iu" or vertex.min() < 0 or vertex.max() >= n):
        raise InputError(
            f"the {side} hemisphere has {n} vertices; the units name {vertex.min()} to {vertex.max()}"
        )
    columns = array.reshape(len(array), -1)
    whole = np.full((n, columns.shape[1]), fill, dtype=np.float32)
    whole[vertex] = columns[rows]
    return whole


def _map_labels(array: np.ndarray, times: Any, name: str) -> list[str]:
    if array.ndim == 1:
        return [name]
    if times is None:
        return [f"{name} {t}" for t in range(array.shape[1])]
    return [f"{t:g} s" for t in _times(times, array.shape[1])]


def sensor_array(values: Any, units: pd.DataFrame, info: Mapping[str, Any], *, name: str) -> Any:
    """An MNE EvokedArray over the sensors; see `Scores.to_mne`."""
    import mne

    _need(units, ("ch_type",), info, ())
    array = _per_unit(values, len(units))
    first, rate = _clock(array, info)
    names = [str(unit) for unit in units.index]
    made = mne.create_info(names, rate, units["ch_type"].tolist(), verbose="ERROR")
    if {"x", "y", "z"} <= set(units.columns):
        _place_sensors(made, units, str(info.get("coordinate_frame", "head")))
    columns = array[:, None] if array.ndim == 1 else array
    # a sensor without a score would blank the whole topography
    made["bads"] = [n for n, row in zip(names, columns, strict=True) if not np.isfinite(row).all()]
    return mne.EvokedArray(columns, made, tmin=first, comment=name, verbose="ERROR")


def _clock(array: np.ndarray, info: Mapping[str, Any]) -> tuple[float, float]:
    """First time [s] and sampling rate [Hz] of scores over time; one sample at 0 without time."""
    if array.ndim == 1:
        return 0.0, float(info.get("sampling_rate") or 1.0)
    if info.get("times") is None:
        raise InputError("these scores have a time axis and no info['times'] [s]; MNE needs the times")
    first, step = _uniform(info["times"], array.shape[1])
    if array.shape[1] == 1:
        return first, float(info.get("sampling_rate") or 1.0)
    if step <= 0:
        raise InputError(
            "info['times'] are not evenly spaced; MNE holds evenly sampled responses. Select some that are"
        )
    return first, 1.0 / step


def _place_sensors(made: Any, units: pd.DataFrame, frame: str) -> None:
    """Positions into the channels, mm to m.

    The channels of MEG count in the device frame; a new recording has device and head in
    one place, so positions in either frame stay where they are.
    """
    import mne

    places = units[["x", "y", "z"]].to_numpy(dtype=np.float64) / 1e3
    made["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    if frame == "device":
        made["dev_head_t"] = None
    electrodes = {}
    for channel, place, kind in zip(made["chs"], places, units["ch_type"], strict=True):
        if np.isfinite(place).all() and kind in ("mag", "grad", "ref_meg"):
            channel["loc"][:3] = place
        elif np.isfinite(place).all():
            electrodes[channel["ch_name"]] = place
    if electrodes:
        montage = mne.channels.make_dig_montage(electrodes, coord_frame="head")
        made.set_montage(montage, on_missing="ignore", verbose="ERROR")
