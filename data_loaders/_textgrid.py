"""Praat TextGrid files: the tiers and what they label, read as text."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from brainalign.errors import CorruptFileError

MAX_BYTES = 2**26
_TOLERANCE_S = 1e-6
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# text, flags and numbers that stand free are the content; names and indices are for the human reader
_TOKEN = re.compile(
    r'(?P<text>"(?:[^"]|"")*+")|(?P<unclosed>")|(?P<comment>(?<!\S)!.*)|(?P<flag><\w+>)'
    r"|(?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)"
)
_CLASSES = ("IntervalTier", "TextTier")


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of time; a point has the duration 0."""

    text: str
    onset: float
    offset: float

    @property
    def duration(self) -> float:
        """Seconds from onset to offset."""
        return self.offset - self.onset


def read_textgrid(path: Path) -> dict[str, list[Interval]]:
    """Return the tiers of a TextGrid by name: intervals (or points) in order of time, in seconds.

    The long and the short text form are read, in UTF-8 or (with a byte order mark) UTF-16.
    Labels are returned as they stand in the file, ``""`` within them as one quote.

    Raises
    ------
    CorruptFileError
        Not a TextGrid in text form, cut short, times that are not finite or not in order,
        another number of entries than announced, or more than 64 MB. Names the line.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CorruptFileError(f"{path} has {size} bytes; a TextGrid of at most {MAX_BYTES} is read")
    tokens = _Tokens(path, _decode(path))
    kind, name = tokens.text("the file type"), tokens.text("the object class")
    if not kind.startswith("ooTextFile") or name != "TextGrid":
        raise CorruptFileError(
            f"{path} is of type {kind!r}, class {name!r}; expected 'ooTextFile' and 'TextGrid'"
        )
    span = (tokens.number("xmin"), tokens.number("xmax"))
    tiers: dict[str, list[Interval]] = {}
    if tokens.flag("the flag <exists>") == "<exists>":
        for _ in range(tokens.count("the number of tiers")):
            kind, name = tokens.text("the class of a tier"), tokens.text("the name of a tier")
            if kind not in _CLASSES or name in tiers:
                tokens.refuse(
                    f"a tier {name!r} of class {kind!r}", "IntervalTier or TextTier, each name once"
                )
            tiers[name] = _entries(tokens, span, name, points=kind == "TextTier")
    tokens.end()
    return tiers


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CorruptFileError(
            f"{path}, line {line}: byte {error.start} is not {encoding} text; expected UTF-8, or UTF-16 with "
            "a byte order mark. Save the TextGrid as UTF-8"
        ) from error


def _entries(tokens: _Tokens, span: tuple[float, float], tier: str, *, points: bool) -> list[Interval]:
    low, high = tokens.number("xmin"), tokens.number("xmax")
    if low < span[0] - _TOLERANCE_S or high > span[1] + _TOLERANCE_S:
        tokens.refuse(f"tier {tier!r} from {low:g} to {high:g} s", f"times within {span[0]:g} to {span[1]:g}")
    entries: list[Interval] = []
    before = low
    for _ in range(tokens.count(f"the number of entries of tier {tier!r}")):
        onset = tokens.number("a time")
        offset = onset if points else tokens.number("xmax")
        in_order = before - _TOLERANCE_S <= onset <= offset <= high + _TOLERANCE_S
        if not in_order or (offset == onset and not points):
            tokens.refuse(
                f"an entry from {onset:g} to {offset:g} s", f"times in order, from {before:g} to {high:g} s"
            )
        entries.append(Interval(tokens.text("a label"), onset, offset))
        before = offset
    return entries


class _Tokens:
    """The content of a file, one piece after the other, with the line of each."""

    def __init__(self, path: Path, content: str) -> None:
        self._path = path
        self._content = content
        self._at = 0
        self._rest = self._pieces()

    def _pieces(self) -> Iterator[tuple[str, str]]:
        for match in _TOKEN.finditer(self._content):
            self._at = match.start()
            kind = str(match.lastgroup)
            if kind == "unclosed":
                self.refuse("a quote that is never closed", 'a label between two "')
            if kind != "comment":
                yield kind, match[kind]

    def refuse(self, found: str, expected: str) -> NoReturn:
        line = self._content.count("\n", 0, self._at) + 1
        raise CorruptFileError(f"{self._path}, line {line}: {found}; expected {expected}")

    def _next(self, kind: str, expected: str) -> str:
        found, value = next(self._rest, ("end", ""))
        if found == "end":
            self._at = len(self._content)
            self.refuse("the file ends", expected)
        if found != kind:
            self.refuse(value[:40], expected)
        return value

    def text(self, expected: str) -> str:
        return self._next("text", expected)[1:-1].replace('""', '"')

    def flag(self, expected: str) -> str:
        return self._next("flag", expected)

    def number(self, expected: str) -> float:
        value = float(self._next("number", f"{expected} in seconds"))
        if not math.isfinite(value):
            self.refuse(str(value), f"{expected} in seconds")
        return value

    def count(self, expected: str) -> int:
        value = self._next("number", expected)
        if not value.isdigit():
            self.refuse(value, expected)
        return int(value[:18])

    def end(self) -> None:
        found, value = next(self._rest, ("end", ""))
        if found != "end":
            self.refuse(f"{value[:40]} after the last tier", "the end of the file")
