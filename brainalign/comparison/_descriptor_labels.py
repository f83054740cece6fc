"""Labels of stimuli, as descriptors of classes and factors need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import group_codes
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array


def class_codes(name: str, labels: Any, n: int, *, fewest: int = 1) -> np.ndarray:
    """Class of each of n stimuli from 0; refuse one class, and classes with fewer than `fewest` stimuli."""
    if isinstance(labels, np.ma.MaskedArray):
        missing = np.ma.getmaskarray(labels)
        labels = np.ma.getdata(labels).astype(object)
        labels[missing] = None
    shape = np.asarray(labels, dtype=object).shape
    if len(shape) != 1:
        raise ShapeError(f"{name} have shape {shape}; expected ({n},), one label per stimulus")
    codes, distinct = group_codes(name, labels, n)
    if len(distinct) < 2:
        raise InputError(f"{name} name one class, {distinct[0]!r}, for all {n} stimuli; expected at least 2")
    counts = np.bincount(codes)
    if counts.min() < fewest:
        raise InputError(
            f"{name}: class {distinct[int(counts.argmin())]!r} has {int(counts.min())} stimulus; expected at "
            f"least {fewest} in each class: leave out or merge small classes"
        )
    return np.asarray(codes, dtype=np.int64)


def named_labels(name: str, labels: Mapping[str, Any] | pd.DataFrame, *, fewest: int) -> dict[str, Any]:
    """Labels by name, from a mapping or the columns of a table."""
    if not isinstance(labels, (Mapping, pd.DataFrame)):
        raise InputError(
            f"{name} is a {type(labels).__name__}; expected a mapping {{name: labels}} or a DataFrame"
        )
    out = {str(key): values for key, values in labels.items()}
    if len(out) < fewest:
        raise InputError(f"{name} has {len(out)} entries; expected at least {fewest}")
    return out


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Indicator matrix (n, n_classes) of class codes."""
    return np.asarray(np.eye(int(codes.max()) + 1)[codes])


def column(name: str, values: Any, n: int) -> np.ndarray:
    """Numbers (n,), finite and not all the same."""
    array = plain_array(name, values)
    if array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}; expected ({n},), one value per stimulus")
    if array.dtype.kind not in "fiub" or not np.isfinite(array.astype(np.float64)).all():
        raise InputError(f"{name} holds values that are not finite real numbers; they are needed for a line")
    if (array == array[0]).all():
        raise InputError(f"{name} is {array[0]} for all {n} stimuli; expected values that vary")
    return np.asarray(array, dtype=np.float64)
