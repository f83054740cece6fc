"""One look for all figures: palette, axes, safe text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from brainalign.report.naming import clean

ACCENT = "#1f5f99"
INK = "#1d2733"
MUTED = "#5c6773"
RULE = "#d5dae1"
BAND = "#e3e7ed"
CEILING = "#6b7684"
# Okabe and Ito's colours without black and yellow: told apart under every colour blindness
SERIES = (ACCENT, "#d55e00", "#009e73", "#a8518a", "#b97700", "#3a9bd1")
MARKERS = ("o", "s", "^", "D", "v", "P")
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "paper_to_ink", ["#fbf7ee", "#c9dbe6", "#7fb0cf", "#3b7fb3", "#1c4f82", "#0d2745"]
).with_extremes(bad="#d9d4cc")

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


def mark_simulated(ax: Axes) -> None:
    """Write on the figure itself that its numbers are simulated, for it may be copied out."""
    figure_of(ax).supxlabel(
        "SIMULATED", x=0.995, ha="right", fontsize=7.5, fontweight="bold", color="#b23b00"
    )
