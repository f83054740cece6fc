"""Two results side by side: which settings, versions, test rows and numbers differ, and by how much."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.study.content import content_digest
from brainalign.study.stored import read_provenance

TOLERANCE = 1e-4
KEYS = ("dataset", "subject", "roi", "model", "layer", "analysis", "metric")
NUMBERS = ("value", "low", "high", "ceiling", "p", "q", "n_units", "n_test")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """Something with two values; ``"(absent)"`` where one side has none."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class RowChange:
    """One number of one row of the tables. `difference` is b - a, None where one is missing."""

    row: str
    column: str
    a: float | None
    b: float | None
    difference: float | None


@dataclass(frozen=True)
class Difference:
    """Everything that differs between results `a` and `b`.

    `settings` and `versions` may explain the rest and do not count against `equal`; `inputs`
    (digests of the responses, test sets) do. `largest` {column: largest
    absolute difference over the rows that both have};
    `same_content`: every stored number of every unit is the same to the last bit.
    """

    a: str
    b: str
    tolerance: float
    settings: list[Change]
    versions: list[Change]
    inputs: list[Change]
    only_a: list[str]
    only_b: list[str]
    rows: list[RowChange]
    n_rows: int
    largest: dict[str, float] = field(default_factory=dict)
    same_content: bool = False

    @property
    def equal(self) -> bool:
        """Whether inputs, test sets and rows are the same, and the numbers within the tolerance."""
        return not (self.only_a or self.only_b or self.rows or self.inputs)

    def to_json(self) -> dict[str, Any]:
        """Return all fields and `equal` for machines."""
        return {"equal": self.equal, **asdict(self)}


def diff_results(a: str | Path, b: str | Path, *, tolerance: float = TOLERANCE) -> Difference:
    """Compare two finished studies.

    Parameters
    ----------
    a, b : folders of studies
    tolerance : largest absolute difference of a number that counts as equal; tables hold
        six significant digits

    Raises
    ------
    InputError
        The tolerance is negative.
    DataNotFoundError
        A folder holds no finished study.
    CorruptFileError
        A table or a provenance is not what a run writes.
    """
    if not tolerance >= 0:
        raise InputError(f"tolerance={tolerance}; expected 0 or more")
    first, second = read_provenance(a), read_provenance(b)
    left, right = _read_rows(Path(a)), _read_rows(Path(b))
    shared = [key for key in left if key in right]
    rows, largest = _number_changes(shared, left, right, tolerance)
    return Difference(
        str(a),
        str(b),
        tolerance,
        _changes(first["study"], second["study"]),
        _changes(first["versions"], second["versions"]),
        _input_changes(first, second, shared, left, right),
        [_named(key) for key in left if key not in right],
        [_named(key) for key in right if key not in left],
        rows,
        len(shared),
        largest,
        content_digest(a) == content_digest(b),
    )


def _read_rows(folder: Path) -> dict[tuple[str, ...], Row]:
    file = folder / "results.tsv"
    if not file.is_file():
        raise DataNotFoundError(f"{folder} holds no results.tsv; finish the study with the same run command")
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(
            f"{file} is no table ({error}); brainalign repair {folder} writes it anew"
        ) from error
    missing = [name for name in (*KEYS, *NUMBERS) if name not in (reader.fieldnames or [])]
    if missing:
        raise CorruptFileError(
            f"{file} has no column {missing[0]!r}; expected {', '.join((*KEYS, *NUMBERS))}. brainalign "
            f"repair {folder} writes it anew"
        )
    return {tuple(row[name] or "" for name in KEYS): row for row in rows}


def _number_changes(
    shared: list[tuple[str, ...]],
    left: Mapping[tuple[str, ...], Row],
    right: Mapping[tuple[str, ...], Row],
    tolerance: float,
) -> tuple[list[RowChange], dict[str, float]]:
    out, largest = [], dict.fromkeys(NUMBERS, 0.0)
    for key in shared:
        for column in NUMBERS:
            a, b = _number(left[key][column]), _number(right[key][column])
            if a is None and b is None:
                continue
            difference = None if a is None or b is None else b - a
            if difference is not None:
                largest[column] = max(largest[column], abs(difference))
            if difference is None or abs(difference) > tolerance:
                out.append(RowChange(_named(key), column, a, b, difference))
    return out, largest


def _number(text: str | None) -> float | None:
    """A number of the table; None for ``n/a`` and whatever else is no finite number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _named(key: tuple[str, ...]) -> str:
    """A row in words: what names it, without what is not there."""
    return ", ".join(part for part in key if part not in ("", "n/a"))


def _input_changes(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    shared: list[tuple[str, ...]],
    left: Mapping[tuple[str, ...], Row],
    right: Mapping[tuple[str, ...], Row],
) -> list[Change]:
    """Digests of the responses where both record them, and test sets of rows that both have."""
    digests = [_flat(part.get("inputs", {})) for part in (first, second)]
    both = [{k: v for k, v in part.items() if all(k in other for other in digests)} for part in digests]
    out = [Change(f"responses{f' of subject {c.what}' if c.what else ''}", c.a, c.b) for c in _changes(*both)]
    hashes: dict[tuple[str, str], str] = {}
    for key in shared:
        pair = str(left[key].get("split_hash")), str(right[key].get("split_hash"))
        if pair[0] != pair[1]:
            hashes.setdefault(pair, _named(key))
    return out + [Change(f"test rows of {row}", *pair) for pair, row in hashes.items()]


def _changes(a: Any, b: Any) -> list[Change]:
    left, right = _flat(a), _flat(b)
    return [
        Change(key, left.get(key, "(absent)"), right.get(key, "(absent)"))
        for key in dict.fromkeys([*left, *right])
        if left.get(key, "(absent)") != right.get(key, "(absent)")
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as one level of dotted names."""
    if isinstance(value, Mapping):
        pairs = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        pairs = [(str(number), part) for number, part in enumerate(value)]
    else:
        return {prefix: value}
    out: dict[str, Any] = {}
    for key, part in pairs:
        out.update(_flat(part, f"{prefix}.{key}" if prefix else key))
    return out
