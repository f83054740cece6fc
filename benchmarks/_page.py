"""docs/benchmarks.md: one section a benchmark, so that a rerun of one script leaves the others' sections."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
TOP = "# Benchmarks"
INTRODUCTION = (
    "Written by `make bench`. A ratio above 1 means that brainalign is faster; rows that we lose stay."
)


def section(title: str, text: str, columns: list[str], rows: list[list[str]]) -> tuple[str, str]:
    """A title, and its text with a table."""
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    table += ["| " + " | ".join(row) + " |" for row in rows]
    return title, "\n".join([text, "", *table])


def write_sections(sections: list[tuple[str, str]], page: Path = PAGE) -> None:
    """Put the sections into the page: in the place of those of the same title, else at the end."""
    found = read_sections(page)
    found.update(dict(sections))
    parts = [TOP, INTRODUCTION, *(f"## {title}\n\n{body}" for title, body in found.items())]
    partial = page.with_name(page.name + ".partial")
    partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    os.replace(partial, page)


def read_sections(page: Path = PAGE) -> dict[str, str]:
    """The sections of the page in their order, {title: body}."""
    if not page.exists():
        return {}
    found = {}
    for part in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found[title.strip()] = body.strip()
    return found
