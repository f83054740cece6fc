"""What the neighbour measures are given: paired rows, lists of neighbours, and what is wrong with them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.comparison._nearest import (
    NO_NEIGHBOUR,
    Common,
    IndexArray,
    Near,
    check_k,
    common_neighbours,
    search,
    unit_rows,
)
from brainalign.comparison._pairing import finite_matrix, paired
from brainalign.errors import InputError, ShapeError


def warn_settled(name: str, near: Near) -> None:
    """Warn where the order of the rows settles the neighbours of most stimuli."""
    n = len(near.indices)
    if 2 * near.n_settled > n:
        warnings.warn(
            f"{name}: the k-th and the next neighbour of {near.n_settled} of {n} stimuli are equally near, "
            "and the order of the rows settles which of them counts; leave out repeated stimuli or change k",
            stacklevel=3,
        )


def searched(x: Any, y: Any, k: int) -> tuple[np.ndarray, np.ndarray, IndexArray, IndexArray]:
    """Rows of length one of paired x and y, and their cosine neighbours."""
    first, second = (unit_rows(side) for side in paired(x, y))
    k = check_k(k, len(first))
    near = search(first, k), search(second, k)
    for name, found in zip("xy", near, strict=True):
        warn_settled(name, found)
    return first, second, near[0].indices, near[1].indices


def shared_neighbours(measure: str, indices_x: Any, indices_y: Any) -> Common | None:
    """What two lists of neighbours share; None, with a warning, where a stimulus has none."""
    x, y = np.asarray(indices_x), np.asarray(indices_y)
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] == 0:
        raise ShapeError(
            f"{measure} of neighbours of shapes {x.shape} and {y.shape}; expected (n_stimuli, k) twice"
        )
    if x.dtype.kind not in "iu" or y.dtype.kind not in "iu":
        raise InputError(
            f"{measure} of neighbours of dtypes {x.dtype} and {y.dtype}; expected the indices that "
            "nearest_neighbours returns"
        )
    for name, indices in (("x", x), ("y", y)):
        _check_indices(measure, name, indices)
        missing = (indices == NO_NEIGHBOUR).any(axis=1)
        if missing.any():
            warnings.warn(
                f"{measure} is NaN: {int(missing.sum())} of {len(missing)} stimuli of {name} have no nearest "
                f"neighbours, first row {int(missing.argmax())} (no response in any unit, or all other "
                "stimuli equally near); leave them out",
                stacklevel=4,
            )
            return None
    common = common_neighbours(x.astype(np.int64), y.astype(np.int64))
    _check_once(measure, common, x.shape[1])
    return common


def _check_indices(measure: str, name: str, indices: np.ndarray) -> None:
    """Refuse the stimulus itself, and rows that do not exist."""
    n = len(indices)
    own = (indices == np.arange(n)[:, None]).any(axis=1)
    outside = (indices < NO_NEIGHBOUR).any(axis=1) | (indices >= n).any(axis=1)
    for what, wrong in (("itself", own), (f"rows outside 0 to {n - 1}", outside)):
        if wrong.any():
            _refuse(measure, f"row {int(wrong.argmax())} of {name}", what)


def _check_once(measure: str, common: Common, k: int) -> None:
    """Refuse one neighbour twice in a list: then a pair that is shared has both places in x or in y."""
    twice = (common.place_x >= k) | (common.place_y < 0)
    if twice.any():
        first = int(twice.argmax())
        name = "x" if common.place_y[first] < 0 else "y"
        _refuse(measure, f"row {int(common.row[first])} of {name}", "one stimulus twice")


def _refuse(measure: str, where: str, what: str) -> None:
    raise InputError(
        f"{measure}: the neighbours of {where} hold {what}; expected the indices that "
        "nearest_neighbours returns"
    )


def same_stimuli(name: str, value: Any, n: int) -> np.ndarray:
    """Refuse rows that are not those of the neighbours."""
    array = finite_matrix(name, value)
    if len(array) != n:
        raise ShapeError(
            f"{name} has {len(array)} rows and its neighbours have {n}; expected the same stimuli"
        )
    return array
