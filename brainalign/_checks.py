"""Validation that every layer shares. Imports nothing of brainalign but the errors."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from brainalign.errors import (
    InputError,
    MissingDependencyError,
    ShapeError,
    UnknownNameError,
)

_ID = re.compile(r"[^\x00-\x1f\x7f]{1,300}")


def closest(name: str, valid: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` of the `valid` names that are most like `name`, best first."""
    return difflib.get_close_matches(str(name), [str(v) for v in valid], n=n, cutoff=0.4)


def unknown_name(kind: str, name: str, valid: Iterable[str], hint: str = "") -> UnknownNameError:
    """Build the error for a name that does not exist; it lists the closest valid ones."""
    names = sorted(str(v) for v in valid)
    near = closest(name, names)
    text = f"{kind} {name!r} does not exist"
    if near:
        text += f"; closest: {', '.join(near)}"
    elif names:
        shown = ", ".join(names[:12]) + (f" ... ({len(names)} in all)" if len(names) > 12 else "")
        text += f"; valid: {shown}"
    return UnknownNameError(text + (f". {hint}" if hint else ""))


def lookup(kind: str, name: Any, family: Mapping[str, Any]) -> Any:
    """Resolve a member of a family: a callable is returned as it is, a name is looked up."""
    if callable(name):
        return name
    try:
        return family[name]
    except (KeyError, TypeError):
        raise unknown_name(kind, name, family) from None


def one_of(argument: str, value: Any, valid: Iterable[Any]) -> None:
    """Refuse a `value` that is not one of the `valid` ones, naming the closest."""
    options = list(valid)
    if value not in options:
        near = closest(str(value), [str(o) for o in options], n=1)
        hint = f"; closest: {near[0]!r}" if near else ""
        raise InputError(f"{argument}={value!r} is not one of {', '.join(map(repr, options))}{hint}")


def unique_ids(kind: str, ids: Iterable[Any]) -> np.ndarray:
    """Return `ids` as an object array of str; refuse empty, padded, duplicate or non-text ones.

    Integers are turned into text (``1`` becomes ``"1"``); floats are refused because
    ``1.0`` and ``"1"`` would silently fail to join.
    """
    out: list[str] = []
    for row, value in enumerate(ids):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, np.integer)):
            raise InputError(
                f"{kind} of row {row} is {value!r} ({type(value).__name__}); expected text or an integer"
            )
        text = str(value)
        if not _ID.fullmatch(text) or text != text.strip():
            raise InputError(
                f"{kind} of row {row} is {text[:60]!r}; expected 1 to 300 printable characters "
                "without leading or trailing spaces"
            )
        out.append(text)
    if len(set(out)) != len(out):
        seen: set[str] = set()
        twice = sorted({v for v in out if v in seen or seen.add(v)})  # type: ignore[func-returns-value]
        first = out.index(twice[0])
        second = out.index(twice[0], first + 1)
        raise InputError(
            f"duplicate {kind} {twice[0]!r} in rows {first} and {second} "
            f"({len(twice)} duplicated in all); every {kind} must occur once"
        )
    return np.array(out, dtype=object)


def group_codes(kind: str, labels: Any, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Number the `labels` by first appearance: codes (n,) from 0, and the distinct labels.

    A missing label is refused: it would become code -1, which indexes the last group.
    """
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(np.asarray(labels, dtype=object), dtype=object))
    if n is not None and len(codes) != n:
        raise ShapeError(f"{kind} have {len(codes)} rows, expected {n}")
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise InputError(
            f"{kind}: row {row} has no label ({int((codes < 0).sum())} rows in all); label every row or "
            "leave these rows out"
        )
    return codes, np.asarray(distinct, dtype=object)


def as_matrix(name: str, value: Any, *, dtype: Any = None) -> np.ndarray:
    """Return `value` as a floating (n_rows, n_columns) array; refuse other ranks and dtypes."""
    array = np.asarray(value)
    if array.ndim != 2:
        raise ShapeError(f"{name} has shape {array.shape}; expected 2 axes (n_samples, n_columns)")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    if dtype is not None:
        return array.astype(dtype, copy=False)
    if array.dtype.kind != "f":
        return array.astype(np.float64)
    return array


def optional_import(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    A package that is installed and fails to import, for whatever reason, raises the
    same error with its cause chained.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        state = (
            "is not installed"
            if isinstance(error, ModuleNotFoundError)
            and (error.name or "").split(".")[0] == module.split(".")[0]
            else f"fails to import ({error})"
        )
        raise MissingDependencyError(
            f"{why} needs the package {module.split('.')[0]!r}, which {state}; "
            f"install it with: pip install 'brainalign[{extra}]'"
        ) from error
