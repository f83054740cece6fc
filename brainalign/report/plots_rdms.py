"""RDMs side by side with their categories, and RDMs over time as a film."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from brainalign.errors import InputError, ShapeError
from brainalign.report.figures_rdms import percentiles
from brainalign.report.naming import number
from brainalign.report.plots_inputs import (
    Categories,
    RdmStack,
    categories_of,
    finish,
    new_figure,
    rdm_stack,
    spread,
)
from brainalign.report.style import BOTH_SIDES, INK, MUTED, SEQUENTIAL, drawable
from brainalign.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

MOST_PANELS = 30
_MOST_LABELS = 40
_FILM_DPI = 110


def plot_rdms(
    rdms: Any,
    *,
    categories: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    ranked: bool = True,
    distance: str | None = None,
    unit: str | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one RDM or several beside each other, their stimuli sorted into categories.

    Parameters
    ----------
    rdms : array or tensor (n, n) or (k, n, n), mapping {name: (n, n)}, or RDMs
        NaN (grey) marks a missing pair; negative entries (crossnobis) are allowed.
    categories : sequence of n labels, optional
        Stimuli are sorted into blocks in order of first appearance; lines part the blocks and
        their names stand on the left. By default ``info["condition"]`` of `RDMs`.
    labels : sequence of n names of stimuli, optional
        Written for one RDM over at most 40 stimuli.
    names : sequence of k names of RDMs, optional
    ranked : bool
        Percentiles over the pairs of each RDM (default), so that RDMs of any distance can be
        compared; or the dissimilarities, all on one scale.
    distance, unit : str, optional
        For the colour bar; by default of ``info``.
    columns : int, optional
        RDMs in a row; by default up to 4.
    title : str, optional

    Returns
    -------
    Figure
        Light is similar, dark is dissimilar. Dissimilarities with negative entries get a
        scale about 0.

    Raises
    ------
    ShapeError
        Not square matrices; categories, labels or names of another length.
    InputError
        Not symmetric, all pairs missing, more than 30 RDMs, or columns below 1.

    Notes
    -----
    Cost: O(k n^2 log n) time, two copies of the RDMs.

    Examples
    --------
    >>> d = np.array([[0, 1.0, 2], [1, 0, 3], [2, 3, 0]])
    >>> figure = plot_rdms({"V1": d, "IT": d}, categories=["face", "house", "face"])
    >>> [ax.get_title(loc="left") for ax in figure.axes[:2]]
    ['V1', 'IT']
    """
    stack = rdm_stack(rdms, names=names, labels=labels, distance=distance, unit=unit)
    if len(stack) > MOST_PANELS:
        raise InputError(
            f"{len(stack)} RDMs; at most {MOST_PANELS} can be read beside each other: choose some "
            "of them, or use plot_rdm_movie"
        )
    if columns is not None and columns < 1:
        raise InputError(f"columns={columns}; expected at least 1")
    kinds = categories_of(categories, stack)
    in_row = min(columns or 4, len(stack))
    in_column = int(np.ceil(len(stack) / in_row))
    side = 3.6 if len(stack) == 1 else 2.1
    names_room = 1.0 if kinds is not None else 0.2
    figure = new_figure(side * in_row + names_room + 1.1, (side + 0.3) * in_column + 0.55)
    grid = figure.subplots(in_column, in_row, squeeze=False)
    shown = [shown_matrix(stack.values[row], ranked=ranked) for row in range(len(stack))]
    cmap, norm = _scale(shown, ranked=ranked)
    for place, ax in enumerate(grid.flat):
        if place >= len(stack):
            ax.set_axis_off()
            continue
        draw_matrix(ax, shown[place], kinds, cmap, norm, side=side, named=place % in_row == 0)
        name = drawable(stack.names[place], 36 if in_row == 1 else 24)
        ax.set_title(name, fontsize=9, color=INK, loc="left", pad=_title_pad(kinds))
    if len(stack) == 1:
        _write_labels(grid[0, 0], stack, kinds)
    _colour_bar(figure, list(grid.flat), cmap, norm, _bar_label(stack, ranked=ranked))
    finish(figure, title=title, caption=_caption(stack), results=stack.source)
    return figure


def _title_pad(kinds: Categories | None) -> float:
    """Points above the matrix, where the strip of categories lies."""
    return 5.0 if kinds is None else 14.0


def shown_matrix(matrix: np.ndarray, *, ranked: bool) -> np.ndarray:
    """What a picture of an RDM shows: percentiles over its pairs, or itself."""
    return percentiles(matrix) if ranked else matrix


def draw_matrix(
    ax: Axes,
    matrix: np.ndarray,
    kinds: Categories | None,
    cmap: Colormap,
    norm: Normalize,
    *,
    side: float,
    named: bool,
) -> AxesImage:
    """One matrix, sorted into its categories, with a strip of colours on two sides."""
    n = len(matrix)
    order = np.arange(n) if kinds is None else kinds.order
    picture = ax.imshow(
        np.ma.masked_invalid(matrix[np.ix_(order, order)]),
        cmap=cmap,
        norm=norm,
        interpolation="nearest" if n <= 300 else "auto",
    )
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if kinds is not None:
        _draw_blocks(ax, kinds, n, side=side, named=named)
    return picture


def _draw_blocks(ax: Axes, kinds: Categories, n: int, *, side: float, named: bool) -> None:
    edges = kinds.edges
    thin = float(np.clip(0.35 * 72 * side / n, 0.35, 1.0))  # a third of a pair in points, at most
    for edge in edges[1:-1] - 0.5:
        ax.axhline(edge, color="white", linewidth=thin)
        ax.axvline(edge, color="white", linewidth=thin)
    wide = 0.09 / side
    for code in range(len(kinds.names)):
        start, length = edges[code] - 0.5, edges[code + 1] - edges[code]
        options: dict[str, Any] = {
            "facecolor": kinds.colour(code),
            "edgecolor": "white",
            "linewidth": 0.6,
            "clip_on": False,
        }
        ax.add_patch(
            Rectangle((-1.6 * wide, start), wide, length, transform=ax.get_yaxis_transform(), **options)
        )
        ax.add_patch(
            Rectangle((start, 1 + 0.6 * wide), length, wide, transform=ax.get_xaxis_transform(), **options)
        )
    if not named:
        return
    centres = (edges[1:] + edges[:-1]) / 2 - 0.5
    places = spread(centres, 0.125 / side * n, -0.5, n - 0.5)
    for code, name in enumerate(kinds.names):
        ax.plot(
            [-2.0 * wide, -3.2 * wide],
            [centres[code], places[code]],
            transform=ax.get_yaxis_transform(),
            color=kinds.colour(code),
            linewidth=0.8,
            clip_on=False,
        )
        ax.text(
            -3.6 * wide,
            places[code],
            drawable(name, 22),
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(n - 0.5, -0.5)


def _write_labels(ax: Axes, stack: RdmStack, kinds: Categories | None) -> None:
    if stack.labels is None or stack.n > _MOST_LABELS:
        return
    order = np.arange(stack.n) if kinds is None else kinds.order
    texts = [drawable(stack.labels[i], 24) for i in order]
    size = float(np.clip(230 / stack.n, 5, 8))
    ax.set_xticks(np.arange(stack.n), texts, rotation=90, fontsize=size, color=INK)
    if kinds is None:
        ax.set_yticks(np.arange(stack.n), texts, fontsize=size, color=INK)
    ax.tick_params(length=0)


def _scale(shown: Sequence[np.ndarray], *, ranked: bool) -> tuple[Colormap, Normalize]:
    """Colours that all panels share."""
    if ranked:
        return SEQUENTIAL, Normalize(0, 100)
    low = min(float(np.nanmin(one, initial=0.0)) for one in shown)
    high = max(float(np.nanmax(one, initial=0.0)) for one in shown)
    if low < 0:
        reach = max(high, -low)
        return BOTH_SIDES.with_extremes(bad="#d9d4cc"), Normalize(-reach, reach)
    return SEQUENTIAL, Normalize(0, high if high > 0 else 1.0)


def _bar_label(stack: RdmStack, *, ranked: bool) -> str:
    if not ranked:
        return stack.distance
    return f"{stack.distance}, percentile" + (" within each RDM" if len(stack) > 1 else "")


def _colour_bar(figure: Figure, axes: list[Axes], cmap: Colormap, norm: Normalize, label: str) -> None:
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    bar = figure.colorbar(mappable, ax=axes, shrink=0.85, pad=0.02, aspect=24)
    bar.outline.set_visible(False)
    bar.set_label(drawable(label, 70), color=INK, fontsize=8.5)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, length=2, labelsize=8)


def _caption(stack: RdmStack) -> list[str]:
    pairs = stack.n_pairs * len(stack)
    words = [f"{stack.n} stimuli, {stack.n_pairs} pairs" + (" each." if len(stack) > 1 else ".")]
    if stack.missing.sum():
        words.append(f"Grey: {stack.missing.sum()} of {pairs} pairs are missing.")
    if stack.negative.sum():
        words.append(f"{stack.negative.sum()} of {pairs} dissimilarities are negative.")
    return words


def plot_rdm_movie(
    rdms: Any,
    times: Sequence[float] | np.ndarray | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    categories: Sequence[Any] | None = None,
    ranked: bool = False,
    distance: str | None = None,
    unit: str | None = None,
    frames_per_second: int = 6,
    title: str | None = None,
) -> Path | FuncAnimation:
    """Show RDMs over time as a film, on one colour scale.

    Parameters
    ----------
    rdms : array or tensor (n_times, n, n), or RDMs
    times : sequence of n_times seconds, optional
        By default column `time` of the table of `RDMs`, else samples are counted.
    path : file to write, ending in .gif, optional
        Without it the animation is returned, unsaved.
    categories, distance, unit, title : as in `plot_rdms`
    ranked : bool
        Percentiles within each time, or the dissimilarities (default), which show when the
        RDM rises out of the noise.
    frames_per_second : int, at least 1

    Returns
    -------
    Path or matplotlib.animation.FuncAnimation
        The file (a GIF that repeats), or the animation; keep a reference to it and save it, or
        matplotlib warns that it was never drawn.

    Raises
    ------
    ShapeError
        Not (n_times, n, n); as many times or categories as there must be are not given.
    InputError
        `path` does not end in .gif, `frames_per_second` is no whole number above 0, or no pair is known.
    DataNotFoundError
        The folder of `path` does not exist.

    Notes
    -----
    Cost: about 0.1 s a frame; a file appears whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(3, 5, 4))
    >>> d = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    >>> d = (d + d.transpose(0, 2, 1)) / 2
    >>> plot_rdm_movie(d, [0.0, 0.1, 0.2], path=Path(tempfile.mkdtemp()) / "film.gif").name
    'film.gif'
    """
    from matplotlib.animation import FuncAnimation, PillowWriter

    stack = rdm_stack(rdms, distance=distance, unit=unit)
    captions = _time_texts(times, stack)
    if not isinstance(frames_per_second, int) or frames_per_second < 1:
        raise InputError(f"frames_per_second={frames_per_second!r}; expected a whole number of at least 1")
    target = None if path is None else Path(path)
    if target is not None and target.suffix.lower() != ".gif":
        raise InputError(f"path={target.name!r}; expected a name that ends in .gif")
    kinds = categories_of(categories, stack)
    shown = [shown_matrix(one, ranked=ranked) for one in stack.values]
    cmap, norm = _scale(shown, ranked=ranked)
    figure = new_figure(3.6 + (1.0 if kinds is not None else 0.2) + 1.1, 4.6)
    ax = figure.add_subplot()
    picture = draw_matrix(ax, shown[0], kinds, cmap, norm, side=3.4, named=True)
    clock = ax.set_title(captions[0], fontsize=10, color=INK, loc="left", pad=_title_pad(kinds))
    _colour_bar(figure, [ax], cmap, norm, _bar_label(stack, ranked=ranked))
    finish(figure, title=title, caption=_caption(stack), results=stack.source)
    order = np.arange(stack.n) if kinds is None else kinds.order

    def show(frame: int) -> list[Any]:
        picture.set_data(np.ma.masked_invalid(shown[frame][np.ix_(order, order)]))
        clock.set_text(captions[frame])
        return [picture, clock]

    def film() -> FuncAnimation:
        interval = 1000 / frames_per_second
        return FuncAnimation(figure, show, frames=len(stack), interval=interval, cache_frame_data=False)

    if target is None:
        return film()
    with atomic_write(target) as temporary:
        named = temporary.with_suffix(".gif")  # the writer goes by the ending
        try:
            film().save(str(named), writer=PillowWriter(fps=frames_per_second), dpi=_FILM_DPI)
            os.replace(named, temporary)
        finally:
            named.unlink(missing_ok=True)
    return target


def _time_texts(times: Any, stack: RdmStack) -> list[str]:
    if times is None and stack.source and stack.source[0].table is not None:
        table = stack.source[0].table
        times = table["time"].to_numpy() if "time" in table else None
    if times is None:
        return [f"sample {row}" for row in range(len(stack))]
    return time_names(times, len(stack))


def time_names(times: Any, n: int) -> list[str]:
    """Seconds as text of milliseconds, one for each of `n` RDMs."""
    seconds = np.asarray(times, dtype=np.float64)
    if seconds.shape != (n,):
        raise ShapeError(f"times have shape {seconds.shape} for {n} RDMs; expected ({n},) seconds")
    if not np.isfinite(seconds).all():
        row = int(np.flatnonzero(~np.isfinite(seconds))[0])
        raise InputError(f"times[{row}] is {seconds[row]}; expected seconds")
    whole = np.allclose(seconds * 1e3, np.round(seconds * 1e3), atol=1e-6)
    return [f"{number(1e3 * t, 0 if whole else 1)} ms" for t in seconds]
