"""A figure with its caption, its words for the blind and its numbers, and how it is rendered."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes

from brainalign.report.naming import clean, isolate
from brainalign.report.style import RC, figure_of
from brainalign.storage.atomic import atomic_write, write_text_atomic

_DPI = 145


@dataclass(frozen=True)
class Picture:
    """A figure to be: `draw()` returns its axes, `numbers` is what it shows."""

    name: str
    title: str
    draw: Callable[[], Axes]
    numbers: pd.DataFrame
    caption: str
    alt: str
    stamps: Sequence[str] = ()


@dataclass
class Gallery:
    """Renders pictures into data URIs within a budget of characters, and writes them as SVG and TSV.

    `left_out` names those that the page has no room for.
    """

    folder: Path | None
    room: int
    count: int = 0
    left_out: list[str] = field(default_factory=list)

    def render(self, picture: Picture) -> dict[str, str] | None:
        """Return caption, alt text, size and image of one picture; None where the page is full."""
        self.count += 1
        name = f"{self.count:02d}_{_slug(picture.name)}"
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            ax = picture.draw()
            image = io.BytesIO()
            figure_of(ax).savefig(image, format="png", dpi=_DPI, metadata={"Software": None})
            if self.folder is not None:
                self._write(name, ax, picture)
        uri = "data:image/png;base64," + base64.b64encode(image.getvalue()).decode("ascii")
        if len(uri) > self.room:
            self.left_out.append(picture.alt.split(",")[0])
            return None
        self.room -= len(uri)
        width, height = (round(v * _DPI) for v in figure_of(ax).get_size_inches())
        saved = name if self.folder is not None else ""
        return {
            "uri": uri,
            "title": picture.title,
            "caption": picture.caption,
            "alt": picture.alt,
            "stamps": _sentence(picture.stamps),
            "saved": saved,
            "width": str(width),
            "height": str(height),
        }

    def _write(self, name: str, ax: Axes, picture: Picture) -> None:
        assert self.folder is not None
        with atomic_write(self.folder / f"{name}.svg") as temporary:
            figure_of(ax).savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        numbers = picture.numbers
        if picture.stamps:
            # a table is copied without its page, so every row says it
            numbers = numbers.assign(stamp="; ".join(picture.stamps))
        write_text_atomic(self.folder / f"{name}.tsv", tsv(numbers))


def _sentence(stamps: Sequence[str]) -> str:
    text = "; ".join(isolate(s, 240) for s in stamps)
    return text[:1].upper() + text[1:]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60] or "figure"


def tsv(frame: pd.DataFrame) -> str:
    """A table as tab-separated text: names cleaned, full precision, "n/a" where there is no number."""
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind not in "fiub":
            shown[column] = [clean(v) for v in shown[column]]
    named = shown.index.name is not None
    if named:
        shown.index = pd.Index([clean(v) for v in shown.index], name=shown.index.name)
    shown.columns = pd.Index([clean(c) for c in shown.columns])
    return str(shown.to_csv(sep="\t", index=named, na_rep="n/a", lineterminator="\n"))
