"""One look for all figures: palette, axes, safe text."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from brainalign.report.naming import clean

ACCENT = "#1f5f99"
INK = "#1d2733"
MUTED = "#5c6773"
RULE = "#d5dae1"
BAND = "#e3e7ed"
CEILING = "#6b7684"
LOUD = "#b23b00"
_FOOTER = "brainalign-footer"
# Okabe and Ito's colours without black and yellow: told apart under every colour blindness
SERIES = (ACCENT, "#d55e00", "#009e73", "#a8518a", "#b97700", "#3a9bd1")
MARKERS = ("o", "s", "^", "D", "v", "P")
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "paper_to_ink", ["#fbf7ee", "#c9dbe6", "#7fb0cf", "#3b7fb3", "#1c4f82", "#0d2745"]
).with_extremes(bad="#d9d4cc")

# light to dark above chance, blue below it: hue tells the side, lightness the distance
_ABOVE = ("#f6ecd9", "#f4cf86", "#e8924a", "#bd4a35", "#74203f", "#2f0f2d")
_BELOW = ("#0d2745", "#1c4f82", "#3b7fb3", "#7fb0cf", "#c9dbe6")
SCORES = LinearSegmentedColormap.from_list("above_chance", _ABOVE).with_extremes(under="#9dbfd8")
BOTH_SIDES = LinearSegmentedColormap.from_list("about_chance", [*_BELOW, *_ABOVE])

# applied only while the report draws; a caller's own axes keep the caller's settings
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "brainalign",
    "savefig.facecolor": "white",
    "path.simplify": True,
}


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def drawable(text: Any, limit: int = 60) -> str:
    r"""Return text that matplotlib draws letter by letter.

    Every dollar sign is escaped, so no name is read as a formula; a letter that the
    font lacks becomes an empty box instead of a warning.

    Examples
    --------
    >>> drawable("cost $x$")
    'cost \\$x\\$'
    """
    known = _glyphs()
    out = "".join(c if ord(c) in known else "\N{WHITE SQUARE}" for c in clean(text, limit))
    return out.replace("$", r"\$")


def new_axes(width: float = 4.7, height: float = 3.3) -> Axes:
    """Axes on a figure of their own that no pyplot state knows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_subplot()
    return axes


def bare_axes(width: float, height: float) -> Axes:
    """Axes that fill a figure of their own, for figures that place their parts themselves."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.01, 0.2 / height, 0.98, 0.99 - 0.2 / height))
    return axes


def score_colours(values: np.ndarray, chance: float) -> tuple[Colormap, Normalize, str]:
    """Colours, their limits and where the bar is extended, for a map of scores.

    One-sided from chance to the 99th percentile; about chance where a notable part of
    the scores lies far below it.
    """
    known = values[np.isfinite(values)] - chance
    top = float(np.percentile(known, 99)) if len(known) else 0.0
    bottom = float(np.percentile(known, 2)) if len(known) else 0.0
    reach = max(top, -bottom, 1e-3)
    two_sided = bottom < -0.25 * reach
    low = chance - reach if two_sided else chance
    below = bool(len(known)) and float(known.min()) < (low - chance) - 1e-12
    above = bool(len(known)) and float(known.max()) > reach + 1e-12
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    return (BOTH_SIDES if two_sided else SCORES), Normalize(low, chance + reach), extend


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to, above any subfigure."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def dress(ax: Axes, *, xlabel: str = "", ylabel: str = "", grid: Literal["x", "y", ""] = "y") -> None:
    """Give axes the report's calm frame."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(RULE)
    ax.tick_params(colors=MUTED, labelcolor=INK, length=3, width=0.8)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=RULE, linewidth=0.6)
    if xlabel:
        ax.set_xlabel(xlabel, color=INK)
    if ylabel:
        ax.set_ylabel(ylabel, color=INK)


def show_legend(ax: Axes, **options: Any) -> None:
    """Place a frameless legend above the axes, where it hides no point."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    columns = 2 if len(labels) > 2 or sum(map(len, labels)) > 40 else len(labels)
    if len(labels) > 6 and max(map(len, labels)) <= 10:
        columns = 4
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.2,
        borderaxespad=0.2,
        **options,
    )


def write_footer(ax: Axes, words: str) -> None:
    """Write a warning below everything on the figure, once, for a figure may be copied out of its page.

    A footer that other axes of the figure have written stays and is added to; the
    caller's own label below the figure is left alone.
    """
    if not words:
        return
    figure = figure_of(ax)
    width = max(24, int(15 * figure.get_figwidth()))
    text = "\n".join(drawable(line, width + 1) for line in textwrap.wrap(clean(words, 400), width))
    earlier = next((t for t in figure.texts if t.get_gid() == _FOOTER), None)
    options: dict[str, Any] = {
        "ha": "right",
        "fontsize": 7.5,
        "fontweight": "bold",
        "color": LOUD,
        "gid": _FOOTER,
    }
    if earlier is not None:
        if text not in earlier.get_text():
            earlier.set_text(f"{earlier.get_text()}\n{text}")
    elif figure.get_supxlabel():
        figure.text(0.995, 0.004, text, va="bottom", **options)
    else:
        figure.supxlabel(text, x=0.995, **options)
