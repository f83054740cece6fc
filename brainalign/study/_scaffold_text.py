"""Lines of a commented study file: values in TOML, comments that stay comments."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_WIDTH = 96
_MOST_NAMED = 12


@dataclass(frozen=True)
class Draft:
    """A study before it is written: lines after the title, what was found in words, a likely name."""

    name: str
    title: str
    found: tuple[str, ...]
    lines: tuple[str, ...]


def value(content: str | float | Sequence[str] | Sequence[int]) -> str:
    """A value in TOML.

    Examples
    --------
    >>> value("a b"), value(["1", "2"]), value(128.0)
    ('"a b"', '["1", "2"]', '128.0')
    """
    if isinstance(content, str):
        # JSON escapes what TOML escapes, but for the delete character
        return json.dumps(content, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(content, (int, float)):
        return str(content)
    return "[" + ", ".join(value(part) for part in content) + "]"


def comment(text: str) -> list[str]:
    r"""Lines of a comment, wrapped; control characters of names cannot end it.

    Examples
    --------
    >>> comment("a task\nname = 1")
    ['# a task name = 1']
    """
    clean = "".join(c if c.isprintable() else " " for c in text)
    lines = textwrap.wrap(clean, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def named(labels: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Labels for a comment, the first ones where there are many."""
    shown = ", ".join(value(label) for label in labels[:most])
    return shown + (f" ... ({len(labels)} in all)" if len(labels) > most else "")


def counted(labels: dict[str, int], what: str) -> str:
    """Labels with how many of something each has.

    Examples
    --------
    >>> counted({"rest": 1, "faces": 4}, "run")
    '"rest" (1 run), "faces" (4 runs)'
    """
    parts = [f"{value(label)} ({n} {what}{'s' if n != 1 else ''})" for label, n in labels.items()]
    rest = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f" ... ({len(parts)} in all)" if rest > 0 else "")


def study_name(*parts: str) -> str:
    """A name that a study may have, made of these parts.

    Examples
    --------
    >>> study_name("My data (new)", "faces")
    'My-data-new-faces'
    """
    text = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-._") for part in parts if part)
    return re.sub(r"^[^A-Za-z0-9]+", "", text)[:80].strip("-._") or "study"


def path_from(study: Path, place: Path) -> str:
    """The path of a recording as it counts from the study file, so that both may move together."""
    try:
        return Path(os.path.relpath(place.resolve(), study.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return place.resolve().as_posix()


def whole(draft: Draft, study: Path) -> str:
    """The text of the study file."""
    head = [
        *comment("A study of brainalign: which recordings, which models, which analyses. Try it with"),
        *comment(f"    brainalign check {study.name}     what it would do and cost, without computing"),
        *comment(f"    brainalign run {study.name}       scores, maps and a report in one folder"),
        *comment("Lines that begin with # are comments; many of them are choices that could stand there."),
        *comment("Paths count from this file."),
        "",
        f"name = {value(draft.name)}",
        f"title = {value(draft.title)}",
        "",
    ]
    return "\n".join([*head, *draft.lines]) + "\n"
