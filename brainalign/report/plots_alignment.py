"""Heat maps of many measures of many systems: layers with layers, layers with regions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from brainalign._checks import one_of
from brainalign.errors import InputError
from brainalign.report.alignment_tables import VALUES, AlignmentMatrix, AlignmentTable, alignment_table
from brainalign.report.naming import clean
from brainalign.report.plots_inputs import finish, new_figure
from brainalign.report.style import BOTH_SIDES, INK, MUTED, SCORES, SEQUENTIAL, drawable
from brainalign.statistics.multiple_tests import few_permutations

MOST_PANELS = 20
_MOST_NAMES = 42
_SEPARATORS = "._/ -"
_LONGEST = 22  # letters of a name
_CORRECTIONS = {"fdr": "FDR", "fwer": "Holm", None: "uncorrected"}
_SAME = {"similarity": "higher is closer", "distance": "0 is the same", "": ""}
_MISSING = "#d9d4cc"
_BELOW = "#efc4a4"


def plot_alignment(
    table: Any,
    *,
    measure: Any = None,
    value: str = "value",
    correction: str | None = "fdr",
    alpha: float = 0.05,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a table of `compare_many` as heat maps, one for each measure; dark is closer.

    Parameters
    ----------
    table : DataFrame, of `compare_many`
        All pairs of some systems (drawn complete: a symmetric measure on both sides of the
        diagonal, a system with itself left white), or systems against others.
    measure : name or sequence of names, optional
        By default every measure of the table, in its order.
    value : ``"value"`` or ``"calibrated"``
        The measure itself, or 0 at the mean of the permutations and 1 for equal systems.
    correction : ``"fdr"``, ``"fwer"`` (Holm) or None
        Of the p-values, over all pairs and measures that are drawn.
    alpha : float in (0, 1)
        Cells with a corrected p below it get a dot.
    columns : int, optional
        Heat maps in a row; by default up to 3 (2 by 2 of four).
    title : str, optional

    Returns
    -------
    Figure
        Rows are `a`, columns `b`: a measure that is not symmetric is that of the row to the
        column. Similarities are light at 0 (another hue below it), distances dark at 0; a scale
        begins above 0 only where all values lie near each other. Hatched: NaN. The caption
        says what was tested and corrected.

    Raises
    ------
    InputError
        Not such a table; `value` is not in it; a measure without any value; two rows of one
        pair; more than 20 measures; `alpha` not between 0 and 1; columns below 1; an unknown
        `value` or `correction`.
    ShapeError
        A table without rows.
    UnknownNameError
        The measure is not in the table.

    Examples
    --------
    >>> from brainalign.comparison import compare_many
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 5))
    >>> layers = {"conv1": x, "conv2": x + rng.normal(size=(20, 5)), "fc": rng.normal(size=(20, 5))}
    >>> figure = plot_alignment(compare_many(layers, measures=["cka", "procrustes"]))
    >>> [ax.get_title(loc="left") for ax in figure.axes[:2]]
    ['cka', 'procrustes']
    """
    one_of("value", value, list(VALUES))
    one_of("correction", correction, list(_CORRECTIONS))
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha}; expected a number between 0 and 1, such as 0.05")
    if columns is not None and columns < 1:
        raise InputError(f"columns={columns}; expected at least 1")
    shown = alignment_table(table, measure=measure, value=value, correction=correction, alpha=alpha)
    n = len(shown.panels)
    if n > MOST_PANELS:
        raise InputError(
            f"{n} measures; at most {MOST_PANELS} can be read beside each other: name some of them"
        )
    in_row = min(columns or (2 if n == 4 else 3), n)
    in_column = int(np.ceil(n / in_row))
    cell = _cell_size(shown, in_row)
    width, height = cell * len(shown.columns), cell * len(shown.rows)
    room = 0.085 * max(map(len, short_names(shown.rows)))
    below = 0.085 * max(map(len, short_names(shown.columns)))
    figure = new_figure(
        max((width + 1.05) * in_row + room + 0.3, 3.4),
        max((height + 0.4) * in_column + below * (2 if in_column > 1 and n % in_row else 1) + 0.6, 2.2),
    )
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=0.07)  # names below the heat maps keep off the caption
    grid = figure.subplots(in_column, in_row, squeeze=False)
    for place, ax in enumerate(grid.flat):
        if place >= n:
            ax.set_axis_off()
            continue
        # names stand at the left of a row and below the last panel of a column
        _draw_panel(ax, shown.panels[place], value=value, cell=cell)
        _write_names(ax, shown, cell, left=place % in_row == 0, below=place + in_row >= n)
    caption = _caption(shown, value=value, correction=correction, alpha=alpha)
    finish(figure, title=title, caption=caption, results=[SimpleNamespace(info=table.attrs)])
    return figure


def _cell_size(shown: AlignmentTable, in_row: int) -> float:
    """Inches of a cell: large enough for a name beside it, small enough for the page."""
    most = max(len(shown.rows), len(shown.columns))
    side = {1: 5.4, 2: 3.9}.get(in_row, 3.1)
    return float(np.clip(side / most, 0.085, 0.5))


def _scale(values: np.ndarray, kind: str, value: str) -> tuple[Colormap, Normalize, str]:
    """Colours in which dark is closer, their limits, and where the bar is extended."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    reach = max(abs(low), abs(high)) or 1.0
    if kind == "distance" and value == "value":
        return SEQUENTIAL.reversed(), Normalize(_start(low, high), high if high > 0 else 1.0), "neither"
    if low < -0.25 * reach:
        return BOTH_SIDES, Normalize(-reach, reach), "neither"
    extend = "min" if low < 0 else "neither"
    if value == "calibrated":
        return SCORES, Normalize(_start(low, high), high if high > 0 else 1.0), extend
    # a few values just below 0: told from those above it by hue
    return (
        SEQUENTIAL.with_extremes(under=_BELOW),
        Normalize(_start(low, high), high if high > 0 else 1.0),
        extend,
    )


def _start(low: float, high: float) -> float:
    """Where a scale begins: at 0, or at the lowest value where all are near each other."""
    return low if high > low > 0.6 * high else 0.0


def _draw_panel(ax: Axes, panel: AlignmentMatrix, *, value: str, cell: float) -> None:
    cmap, norm, extend = _scale(panel.values, panel.kind, value)
    clear = cmap.with_extremes(bad=(1.0, 1.0, 1.0, 0.0))
    ax.imshow(np.ma.masked_invalid(panel.values), cmap=clear, norm=norm, interpolation="nearest")
    for row, column in np.argwhere(panel.missing):
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=_MISSING,
                edgecolor=MUTED,
                hatch="////",
                linewidth=0,
            )
        )
    for row, column in np.argwhere(panel.marked & ~np.isnan(panel.values)):
        shade = cmap(norm(panel.values[row, column]))
        light = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 0.55
        ax.plot(
            column,
            row,
            marker="o",
            markersize=float(np.clip(72 * cell * 0.22, 1.2, 4.5)),
            markeredgewidth=0,
            color=INK if light else "white",
            linestyle="none",
        )
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(drawable(panel.measure, 30), fontsize=9, color=INK, loc="left")
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    bar = figure.colorbar(
        ScalarMappable(norm=norm, cmap=cmap), ax=ax, shrink=0.9, pad=0.02, aspect=18, extend=extend
    )
    bar.outline.set_visible(False)
    bar.set_label(_bar_label(panel, value), color=INK, fontsize=7.5)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, length=2, labelsize=7)


def _bar_label(panel: AlignmentMatrix, value: str) -> str:
    if value == "calibrated":
        return "calibrated: 0 chance, 1 the same"
    words = _SAME[panel.kind]
    return f"{panel.kind}: {words}" if words else "value"


def short_names(names: Sequence[str]) -> list[str]:
    """Names that fit beside a heat map and still differ: what all long ones begin and end with is left out.

    Examples
    --------
    >>> short_names(["encoder.layers.1.activation", "encoder.layers.12.activation"])
    ['….1.…', '….12.…']
    """
    if max(map(len, names)) <= _LONGEST or len(names) < 2:
        return [_cut(name, 2 * _LONGEST) for name in names]
    # whole words between separators, so that 1 and 12 stay what they are
    start = _shared_words(names)
    ends = [name[start:][::-1] for name in names]
    stop = _shared_words(ends)
    start, stop = max(start - 1, 0), max(stop - 1, 0)
    bare = [("…" if start else "") + name[start : len(name) - stop] + ("…" if stop else "") for name in names]
    cut = [_cut(name, _LONGEST) for name in bare]
    return cut if len(set(cut)) == len(set(names)) else [_cut(name, 2 * _LONGEST) for name in bare]


def _shared_words(names: Sequence[str]) -> int:
    """Letters with which all names begin, up to and with the last separator among them."""
    alike = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
    shared = alike.index(False) if False in alike else len(alike)
    return max((k + 1 for k in range(shared) if names[0][k] in _SEPARATORS), default=0)


def _cut(name: str, longest: int) -> str:
    """A name without its middle where it is too long."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _write_names(ax: Axes, shown: AlignmentTable, cell: float, *, left: bool, below: bool) -> None:
    size = float(np.clip(72 * cell * 0.72, 5.0, 8.5))
    for axis, all_names, wanted in (("y", shown.rows, left), ("x", shown.columns, below)):
        names = short_names(all_names)
        # at most as many as can be read: every second or third of more
        step = max(int(np.ceil(len(names) / _MOST_NAMES)), int(np.ceil(size / (72 * cell * 0.98))))
        places = np.arange(0, len(names), step)
        texts = [drawable(names[k], 50) for k in places] if wanted else [""] * len(places)
        if axis == "y":
            ax.set_yticks(places, texts, fontsize=size, color=INK)
        else:
            turned = 90 if max(map(len, texts)) > 2 else 0
            ax.set_xticks(places, texts, fontsize=size, color=INK, rotation=turned)
    ax.tick_params(length=0)


def _caption(shown: AlignmentTable, *, value: str, correction: str | None, alpha: float) -> list[str]:
    words = ["Dark is closer." if any(p.kind for p in shown.panels) or value == "calibrated" else ""]
    if shown.directed or not shown.square:
        words.append("Values are of the row (x) to the column (y).")
    missing = sum(int(p.missing.sum()) for p in shown.panels)
    if missing:
        words.append(f"Hatched: {missing} cell{'s' if missing > 1 else ''} without a value.")
    if shown.n_tests:
        over = f"{_CORRECTIONS[correction]} over {shown.n_tests} tests"
        if correction is None:
            over = f"uncorrected for {shown.n_tests} tests"
        draws = f", {shown.n_permutations} orders" if shown.n_permutations else ""
        words.append(
            f"Dots: closer than with the stimuli in random order (one-sided permutation{draws}, "
            f"p < {alpha:g}, {over})."
        )
        few = few_permutations(shown.n_permutations, shown.n_tests, level=alpha) if correction else ""
        if few and shown.n_permutations:
            words.append(f"{few[0].upper()}{few[1:]}.")
    return [clean(one, 500) for one in words if one]
