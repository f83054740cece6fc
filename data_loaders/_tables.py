"""Tab-separated tables, read as text: nothing is guessed, every row is checked."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from brainalign.errors import CorruptFileError, InputError

_MISSING = ("", "n/a")


@dataclass(frozen=True)
class Table:
    """Columns of text by name; `lines` is the line of each row in the file."""

    path: Path
    columns: dict[str, list[str | None]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def ids(self, column: str) -> list[str]:
        """The values of a column in which each occurs once and none is missing."""
        seen: dict[str, int] = {}
        for value, line in zip(self.required(column), self.lines, strict=True):
            if value is None:
                raise InputError(f"{self.path}, line {line}: {column} is missing")
            if value in seen:
                raise InputError(
                    f"{self.path}: duplicate {column} {value!r} in lines {seen[value]} and {line}; every "
                    f"{column} must occur once"
                )
            seen[value] = line
        return list(seen)

    def required(self, column: str) -> list[str | None]:
        """A column that must be there."""
        if column not in self.columns:
            raise InputError(
                f"{self.path} has no column {column!r}; it has {', '.join(map(repr, self.columns))} "
                "(columns are separated by tabs)"
            )
        return self.columns[column]

    def numbers(self, column: str) -> list[float]:
        """A column as numbers; missing entries are NaN."""
        out = []
        for value, line in zip(self.required(column), self.lines, strict=True):
            try:
                out.append(float("nan") if value is None else float(value))
            except ValueError as error:
                raise InputError(
                    f"{self.path}, line {line}: {column} is {value!r}; expected a number"
                ) from error
        return out


def read_tsv(path: Path) -> Table:
    """Read a table with one header line; ``n/a`` and empty cells are missing.

    Raises
    ------
    CorruptFileError
        Not UTF-8 text, or NUL bytes.
    InputError
        No rows, an empty line inside, another number of cells than the header, a column
        named twice.
    """
    try:
        # a byte order mark would become part of the first column's name
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(_rows(path, csv.reader(stream, delimiter="\t", strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"{path} is not a UTF-8 table separated by tabs: {error}") from error
    if len(rows) < 2:
        raise InputError(f"{path} has {len(rows)} lines; expected a header and at least one row")
    header = [cell.strip() for cell in rows[0][1]]
    twice = [c for c in header if header.count(c) > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]!r} more than once")
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells; expected {len(header)} ({', '.join(header)})"
            )
    columns = {
        name: [_cell(cells[position]) for _, cells in rows[1:]] for position, name in enumerate(header)
    }
    return Table(path, columns, [line for line, _ in rows[1:]])


def _rows(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Lines that hold something; an empty one in between would shift the rows below it."""
    empty = 0
    for line, cells in enumerate(reader, start=1):
        if not any(cell.strip() for cell in cells):
            empty = empty or line
            continue
        if empty:
            raise InputError(f"{path}, line {empty} is empty; remove it, rows are counted")
        yield line, cells


def _cell(text: str) -> str | None:
    text = unicodedata.normalize("NFC", text.strip())
    return None if text in _MISSING else text
