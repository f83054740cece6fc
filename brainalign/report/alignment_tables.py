"""Tables of `compare_many` as matrices of two sets of systems, one for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unknown_name
from brainalign.errors import InputError, ShapeError
from brainalign.report.naming import clean, number
from brainalign.statistics.multiple_tests import adjust_fdr, adjust_fwer

VALUES = ("value", "calibrated")
_NEEDED = ("a", "b", "measure", "value")
Place = tuple[Any, str]


@dataclass(frozen=True, eq=False)
class AlignmentMatrix:
    """One measure: values (n_rows, n_columns) of row to column.

    `missing`: asked for and NaN, against what was never asked for (a system with itself);
    `marked`: closer than chance; `kind` similarity, distance or, where it is not known, "".
    """

    measure: str
    kind: str
    values: np.ndarray
    missing: np.ndarray
    marked: np.ndarray


@dataclass(frozen=True, eq=False)
class AlignmentTable:
    """All measures to draw, with the names of rows and columns.

    `square`: rows and columns are the same systems; `n_tests` p-values were corrected
    together (0 without any).
    """

    panels: tuple[AlignmentMatrix, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    square: bool
    directed: bool
    n_tests: int
    n_permutations: int


def alignment_table(
    table: Any, *, measure: Any, value: str, correction: str | None, alpha: float
) -> AlignmentTable:
    """Check a table of `compare_many` and lay its measures out as matrices."""
    frame = _checked(table, value)
    names = _measures(frame, measure)
    frame = frame[frame["measure"].isin(names)]
    first, second = _places(frame, "a"), _places(frame, "b")
    square = _is_square(frame, first, second)
    rows = _distinct([*first, *second] if square else first)
    columns = rows if square else _distinct(second)
    passed, n_tests = _passed(frame, correction, alpha)
    kinds = _kinds(table.attrs)
    panels, directed = [], False
    for name in names:
        own = (frame["measure"] == name).to_numpy()
        i = np.array([rows.index(place) for place, k in zip(first, own, strict=True) if k])
        j = np.array([columns.index(place) for place, k in zip(second, own, strict=True) if k])
        values, asked, marked = _matrix(
            frame[value].to_numpy(float)[own], passed[own], i, j, rows, columns, name
        )
        both_ways = bool((asked & asked.T).any()) if square else False
        directed |= both_ways
        if square and not both_ways:
            values = np.where(asked, values, values.T)
            asked, marked = asked | asked.T, marked | marked.T
        panels.append(AlignmentMatrix(name, kinds.get(name, ""), values, asked & np.isnan(values), marked))
    return AlignmentTable(
        tuple(panels),
        tuple(_text(place) for place in rows),
        tuple(_text(place) for place in columns),
        square,
        directed,
        n_tests,
        int(table.attrs.get("n_permutations", 0)),
    )


def _checked(table: Any, value: str) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"table is a {type(table).__name__}; expected the DataFrame of compare_many")
    absent = [name for name in _NEEDED if name not in table]
    if absent:
        raise InputError(
            f"table has no column {absent[0]!r}; expected the DataFrame of compare_many, with "
            + ", ".join(_NEEDED)
        )
    if not len(table):
        raise ShapeError("table has no rows; nothing can be drawn")
    if value not in table:
        raise InputError(
            f"table has no column {value!r}; call compare_many with calibrate='permutation', or draw 'value'"
        )
    return table.reset_index(drop=True)


def _measures(frame: pd.DataFrame, measure: Any) -> list[str]:
    """The measures to draw, in the order asked for."""
    known = list(dict.fromkeys(frame["measure"]))
    if measure is None:
        return known
    names = [measure] if isinstance(measure, str) else list(measure)
    if not names:
        raise InputError("measure is empty; expected names of measures in the table, or None for all")
    for name in names:
        if name not in known:
            raise unknown_name("measure in the table", name, known)
    return list(dict.fromkeys(names))


def _places(frame: pd.DataFrame, side: str) -> list[Place]:
    """Name and time, as text, of each row on one side."""
    times = frame.get(f"{side}_time")
    told = [""] * len(frame) if times is None else [_seconds(t) for t in times]
    return list(zip(frame[side], told, strict=True))


def _seconds(time: float) -> str:
    return "" if np.isnan(time) else f"{1e3 * time:.6g} ms"


def _text(place: Place) -> str:
    return clean(f"{place[0]} {place[1]}".strip(), 60)


def _distinct(places: Sequence[Place]) -> list[Place]:
    return list(dict.fromkeys(places))


def _is_square(frame: pd.DataFrame, first: list[Place], second: list[Place]) -> bool:
    """Whether both sides are one set of systems; told by the table, else by the pairs that it holds."""
    if "crossed" in frame.attrs:
        return not frame.attrs["crossed"]
    pairs = {frozenset(pair) for pair in zip(first, second, strict=True)}
    k = len(_distinct([*first, *second]))
    return all(len(pair) == 2 for pair in pairs) and len(pairs) == k * (k - 1) // 2 and k > 2


def _passed(frame: pd.DataFrame, correction: str | None, alpha: float) -> tuple[np.ndarray, int]:
    """Which rows are closer than chance after the correction over all of them, and how many were tested."""
    p = frame["p_value"].to_numpy(float) if "p_value" in frame else np.full(len(frame), np.nan)
    corrected = p
    if correction is not None:
        corrected = adjust_fdr(p) if correction == "fdr" else adjust_fwer(p)
    return np.nan_to_num(corrected, nan=1.0) < alpha, int(np.isfinite(p).sum())


def _kinds(attrs: Mapping[Any, Any]) -> dict[str, str]:
    """Kind of each measure: of the table, else of the registry."""
    # loads the comparisons, and with them torch, which a report of scores does without
    from brainalign.comparison import MEASURES

    return {name: m.kind for name, m in MEASURES.items()} | dict(attrs.get("kinds", {}))


def _matrix(
    values: np.ndarray,
    passed: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    rows: list[Place],
    columns: list[Place],
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, what was asked for and what passed, of one measure, (n_rows, n_columns)."""
    shape = len(rows), len(columns)
    cells = np.ravel_multi_index((i, j), shape)
    counts = np.bincount(cells, minlength=shape[0] * shape[1])
    if counts.max() > 1:
        r, c = np.unravel_index(int(counts.argmax()), shape)
        raise InputError(
            f"table has {counts.max()} rows of {name} for {_text(rows[r])!r} and {_text(columns[c])!r}; "
            "expected one: draw the tables of several calls one by one"
        )
    out = np.full(shape, np.nan)
    asked, marked = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    out[i, j], asked[i, j], marked[i, j] = values, True, passed
    if not np.isfinite(values).any():
        raise InputError(
            f"table: all {number(len(values), 0)} values of {name} are NaN; nothing can be drawn. Check the "
            "systems, or choose other measures"
        )
    return out, asked, marked
