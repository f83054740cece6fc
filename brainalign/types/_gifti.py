"""GIFTI files: values per vertex, and the hemisphere that file and name claim."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainalign.errors import AlignmentError, CorruptFileError, InputError, ShapeError
from brainalign.types._files import is_path, opened, with_content

SIDES = ("left", "right")
STRUCTURES = {"left": "CortexLeft", "right": "CortexRight"}
_COORDINATES = (1008, 1009)
_LABELS = 1002


class VertexValues(NamedTuple):
    """Values (n_maps, n_vertices) of one hemisphere, their source, names of labels, time step [s]."""

    name: str
    values: np.ndarray
    names: dict[int, str] | None
    step: str


def read_vertices(source: Any, side: str, role: str) -> VertexValues:
    """Values of one hemisphere from a GIFTI file or image, or an array (n_maps, n_vertices).

    Raises
    ------
    AlignmentError
        The structure in the file, or its name, says the other hemisphere.
    CorruptFileError
        No GIFTI, cut or damaged.
    InputError, ShapeError
        Coordinates in place of values, arrays of unequal lengths, no numbers.
    """
    if isinstance(source, np.ndarray):
        name = f"{role} ({side})"
        return VertexValues(name, _maps(source[None] if source.ndim == 1 else source, name), None, "")
    image = _load(with_content(source)) if is_path(source) else source
    if not hasattr(image, "darrays"):
        raise InputError(
            f"{role} ({side}) is a {type(source).__name__}; expected the path of a .gii file, a nibabel "
            "GiftiImage or an array (n_samples, n_vertices)"
        )
    name = str(source) if is_path(source) else f"{role} ({side}, an image in memory)"
    _check_side(image, side, name)
    names = _label_names(image)
    if names is not None and role == "values":
        raise InputError(f"{name} holds labels of regions, not measured values; give it as rois=")
    return VertexValues(name, _maps(_stacked(image, name), name), names, _time_step(image))


def _load(path: Path) -> Any:
    import nibabel

    with opened(path) as stream:
        raw = stream.read()
    if b"ExternalFileBinary" in raw:
        raise InputError(f"{path} keeps its values in another file; save it with the values inside")
    try:
        return nibabel.GiftiImage.from_bytes(raw)
    except Exception as error:  # expat, zlib, base64 and reshape each raise their own
        raise CorruptFileError(f"{path} is no readable GIFTI file: {error}. Copy it again") from error


def structure_of(image: Any) -> str | None:
    """``AnatomicalStructurePrimary`` of an image or its first array, None where neither has it."""
    metas = [image.meta, *(array.meta for array in image.darrays[:1])]
    return next(
        (str(m["AnatomicalStructurePrimary"]) for m in metas if "AnatomicalStructurePrimary" in m), None
    )


def _check_side(image: Any, side: str, name: str) -> None:
    structure = structure_of(image)
    other = SIDES[1 - SIDES.index(side)]
    if structure is not None and structure.lower().replace("_", "") == STRUCTURES[other].lower():
        raise AlignmentError(
            f"{name} is given as the {side} hemisphere and says {structure}; are left and right swapped?"
        )
    found = re.search(r"hemi-([LR])|(?:^|[._])([lr])h[._]|\.([LR])\.", Path(name).name)
    if found and next(g for g in found.groups() if g).lower() != side[0]:
        raise AlignmentError(
            f"{name} is given as the {side} hemisphere and its name says {other}; are left and right swapped?"
        )


def _stacked(image: Any, name: str) -> np.ndarray:
    """All arrays of an image, one row each; a single table (n_vertices, n_maps) is turned."""
    intents = {int(array.intent) for array in image.darrays}
    if not intents or intents & set(_COORDINATES):
        raise InputError(
            f"{name} holds {'the coordinates of a mesh' if intents else 'no array'}; expected values per "
            "vertex (.func.gii, .shape.gii)"
        )
    arrays = [np.asarray(array.data) for array in image.darrays]
    if len(arrays) == 1 and arrays[0].ndim == 2:
        return arrays[0].T
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
        raise ShapeError(
            f"{name} has arrays of shapes {sorted({a.shape for a in arrays})}; expected one array per "
            "sample, all with one value per vertex"
        )
    return np.stack(arrays)


def _maps(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"{name} has shape {values.shape}; expected (n_samples, n_vertices)")
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} holds values of dtype {values.dtype}; expected real numbers")
    out = values.astype(np.float32)
    if np.isinf(out).any():
        row, vertex = (int(n) for n in np.argwhere(np.isinf(out))[0])
        raise InputError(
            f"{name} holds an infinite value at vertex {vertex} of sample {row}; write NaN where it "
            "is missing"
        )
    return out


def _label_names(image: Any) -> dict[int, str] | None:
    if not any(int(array.intent) == _LABELS for array in image.darrays):
        return None
    return {int(k): str(v) for k, v in image.labeltable.get_labels_as_dict().items()}


def _time_step(image: Any) -> str:
    """``TimeStep`` as it stands in the file; programs write it in seconds or milliseconds."""
    metas = [*(array.meta for array in image.darrays[:1]), image.meta]
    return next((str(m["TimeStep"]) for m in metas if "TimeStep" in m), "")
