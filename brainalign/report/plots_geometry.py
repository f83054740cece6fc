"""Stimuli placed in two dimensions by their dissimilarities, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from brainalign._checks import one_of
from brainalign.errors import InputError
from brainalign.report.naming import number
from brainalign.report.plots_inputs import (
    Categories,
    RdmStack,
    categories_of,
    finish,
    new_figure,
    pair_words,
    rdm_stack,
    show_categories,
)
from brainalign.report.plots_rdms import time_names
from brainalign.report.plots_scaling import align_to, metric_mds
from brainalign.report.style import ACCENT, INK, MUTED, RULE, drawable

LAYOUTS = ("panels", "trajectories")
_MOST_PANELS = 20
# stress that may be given up to stay near the configuration before
_STEADY = 0.005
_MOST_STIMULI = 1500
_MOST_NAMED = 30


def plot_mds_over_time(
    rdms: Any,
    *,
    categories: Sequence[Any] | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    labels: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    aligned: bool = True,
    layout: str = "panels",
    title: str | None = None,
) -> Figure:
    """Place the stimuli in two dimensions for every RDM, each picture turned to match the one before.

    Parameters
    ----------
    rdms : array or tensor (n, n) or (n_times, n, n), mapping {name: (n, n)}, or RDMs
        In the order of time (or of layers). NaN: the pair has no say in the placing; negative
        dissimilarities (crossnobis) count as 0; the caption counts both.
    categories : sequence of n labels, optional
        Colours and shapes; by default ``info["condition"]`` of `RDMs`.
    times : sequence of n_times seconds, optional
        Titles of the panels.
    labels : sequence of n names of stimuli, optional
        Written beside the points of one RDM over at most 30 stimuli.
    names : sequence of n_times names, optional
        In place of `times`.
    aligned : bool
        Turn, mirror and shift each configuration onto the one before (Procrustes without
        scaling: sizes stay comparable).
    layout : ``"panels"`` or ``"trajectories"``
        A panel a time (at most 20, evenly chosen, are drawn), or the path of every stimulus in one.
    title : str, optional

    Returns
    -------
    Figure
        All panels on one scale; each says its stress-1 (0: every distance is as the RDM says;
        above about 0.2: read with care).

    Raises
    ------
    ShapeError
        Not square matrices; categories, times, labels or names of another length.
    InputError
        No pair is known; more than 1500 stimuli; trajectories without alignment or of one RDM.

    Notes
    -----
    Stress majorisation (SMACOF) from the classical solution, missing pairs with weight 0; aligned, also
    from the configuration before, which is preferred unless its stress is more than 0.005 higher, so
    that points do not jump between equally good solutions. Cost: O(n^2) for each of at most 300
    steps a time and start, and O(n^3) for the classical solution.
    Source: de Leeuw 1977; Borg & Groenen 2005, doi:10.1007/0-387-28981-X, ch. 8; alignment:
    Schoenemann 1966, doi:10.1007/BF02289451.

    Examples
    --------
    >>> square_ = np.array([[0, 0], [0, 1.0], [1, 1], [1, 0]])
    >>> d = np.linalg.norm(square_[:, None] - square_[None], axis=-1)
    >>> plot_mds_over_time(np.stack([d, 2 * d]), times=[0.0, 0.1]).axes[1].get_title(loc="left")
    '100 ms, stress 0.00'
    """
    one_of("layout", layout, LAYOUTS)
    stack = rdm_stack(rdms, names=names, labels=labels)
    titles = _titles(stack, times, names)
    if stack.n > _MOST_STIMULI:
        raise InputError(
            f"rdms over {stack.n} stimuli; at most {_MOST_STIMULI} are placed: draw a part of them"
        )
    if layout == "trajectories" and (len(stack) < 2 or not aligned):
        raise InputError(
            f"layout='trajectories' with {len(stack)} RDMs and aligned={aligned}; paths need at least 2 RDMs "
            "and aligned=True"
        )
    kinds = categories_of(categories, stack)
    points, stress = mds_path(stack.values, aligned=aligned)
    if layout == "panels":
        figure = _draw_panels(stack, points, stress, titles, kinds)
    else:
        figure = _draw_trajectories(points, titles, kinds)
    show_categories(figure, kinds)
    finish(figure, title=title, caption=_mds_words(stack, stress, layout, aligned), results=stack.source)
    return figure


def mds_path(values: np.ndarray, *, aligned: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, n, 2) and stress-1 (k,) of RDMs (k, n, n); NaN for stimuli without a known pair.

    Aligned, each RDM is also scaled from the configuration before, and that solution is taken
    unless its stress is more than 0.005 above the other: equal geometry does not jump.
    """
    points, stress = np.full((*values.shape[:2], 2), np.nan), np.full(len(values), np.nan)
    before: np.ndarray | None = None
    for row, matrix in enumerate(values):
        points[row], stress[row] = metric_mds(matrix)
        if aligned and before is not None:
            followed, also = metric_mds(matrix, start=before)
            if also <= stress[row] + _STEADY:
                points[row], stress[row] = followed, also
            points[row] = align_to(points[row], before)
        if np.isfinite(points[row]).any():
            before = points[row]
    return points, stress


def _titles(stack: RdmStack, times: Any, names: Any) -> list[str]:
    if times is not None:
        return time_names(times, len(stack))
    known = stack.source[0].table if stack.source else None
    if names is None and known is not None and "time" in known and len(stack) > 1:
        return time_names(known["time"].to_numpy(), len(stack))
    return list(stack.names)


def _draw_panels(
    stack: RdmStack, points: np.ndarray, stress: np.ndarray, titles: list[str], kinds: Categories | None
) -> Figure:
    chosen = _evenly(len(stack), _MOST_PANELS)
    in_row = min(5 if len(chosen) > 8 else 4, len(chosen))
    in_column = int(np.ceil(len(chosen) / in_row))
    side = 4.0 if len(chosen) == 1 else 2.0
    figure = new_figure(max(side * in_row, 4.0) + (1.5 if kinds else 0.1), (side + 0.28) * in_column + 0.6)
    grid = figure.subplots(in_column, in_row, squeeze=False)
    reach = _reach(points)
    for place, ax in enumerate(grid.flat):
        if place >= len(chosen):
            ax.set_axis_off()
            continue
        row = chosen[place]
        _draw_points(ax, points[row], kinds, side)
        _frame(ax, reach)
        told = f"stress {number(stress[row], 2)}" if np.isfinite(stress[row]) else "no distances"
        name = drawable(titles[row], 48 if len(chosen) == 1 else 20)
        ax.set_title(f"{name}, {told}" if name else told, fontsize=9, color=INK, loc="left")
    if len(stack) == 1 and stack.labels is not None and stack.n <= _MOST_NAMED:
        for name, (x, y) in zip(stack.labels, points[0], strict=True):
            grid[0, 0].annotate(
                drawable(name, 16), (x, y), (4, 3), textcoords="offset points", fontsize=7, color=MUTED
            )
    return figure


def _evenly(k: int, most: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, k - 1, min(k, most)).round())]


def _reach(points: np.ndarray) -> float:
    reach = float(np.nanmax(np.abs(points), initial=0.0))
    return 1.08 * reach if reach > 0 else 1.0


def _frame(ax: Axes, reach: float) -> None:
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(RULE)


def _draw_points(ax: Axes, points: np.ndarray, kinds: Categories | None, side: float) -> None:
    size = float(np.clip(420 * side / len(points), 7, 40))
    if kinds is None:
        ax.scatter(points[:, 0], points[:, 1], s=size, color=ACCENT, alpha=0.7, linewidths=0)
        return
    for code, name in enumerate(kinds.names):
        part = points[kinds.codes == code]
        ax.scatter(
            part[:, 0],
            part[:, 1],
            s=size,
            color=kinds.colour(code),
            marker=kinds.marker(code),
            alpha=0.8,
            linewidths=0,
            label=drawable(name, 24),
        )


def _draw_trajectories(points: np.ndarray, titles: list[str], kinds: Categories | None) -> Figure:
    """Thin paths of stimuli, thick ones of category means; hollow at the start, filled at the end."""
    figure = new_figure(5.0 + (1.5 if kinds else 0.0), 5.2)
    ax = figure.add_subplot()
    codes = np.zeros(points.shape[1], dtype=int) if kinds is None else kinds.codes
    for code in range(codes.max() + 1):
        colour = ACCENT if kinds is None else kinds.colour(code)
        marker = "o" if kinds is None else kinds.marker(code)
        part = points[:, codes == code]
        thin = 0.35 if kinds is not None else 0.7
        ax.add_collection(
            LineCollection(list(part.transpose(1, 0, 2)), colors=colour, linewidths=0.7, alpha=thin)
        )
        ax.scatter(
            part[-1, :, 0],
            part[-1, :, 1],
            s=9,
            color=colour,
            marker=marker,
            alpha=0.6,
            linewidths=0,
            zorder=3,
        )
        if kinds is not None:
            path = _known_mean(part)
            ax.plot(*path.T, color="white", linewidth=4.2, zorder=4)
            ax.plot(*path.T, color=colour, linewidth=2.2, zorder=5)
            ends: dict[str, Any] = {
                "s": 46,
                "marker": marker,
                "edgecolors": colour,
                "linewidths": 1.4,
                "zorder": 6,
            }
            ax.scatter(path[:1, 0], path[:1, 1], facecolors="white", **ends)
            ax.scatter(path[-1:, 0], path[-1:, 1], facecolors=colour, **ends)
        else:
            ax.scatter(
                part[0, :, 0],
                part[0, :, 1],
                s=14,
                facecolors="white",
                edgecolors=colour,
                linewidths=0.8,
                zorder=3,
            )
    _frame(ax, _reach(points))
    span = f"{drawable(titles[0], 24)} (hollow) to {drawable(titles[-1], 24)} (filled)"
    ax.set_title(span, fontsize=9, color=INK, loc="left")
    return figure


def _known_mean(part: np.ndarray) -> np.ndarray:
    """Mean over stimuli (k, 2) of points (k, m, 2); NaN where none is known."""
    known = np.isfinite(part)
    return np.asarray(
        np.where(known, part, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    )


def _mds_words(stack: RdmStack, stress: np.ndarray, layout: str, aligned: bool) -> list[str]:
    words = [f"Metric scaling of {stack.n} stimuli: near points are represented alike."]
    if len(stack) > 1:
        words.append(
            "Each turned to match the one before (Procrustes), one scale."
            if aligned
            else "Not aligned: directions of panels cannot be compared."
        )
    if layout == "panels" and len(stack) > _MOST_PANELS:
        words.append(f"{_MOST_PANELS} of {len(stack)} are drawn.")
    if layout == "trajectories":
        known = stress[np.isfinite(stress)]
        words.append(f"Stress-1 {number(known.min(), 2)} to {number(known.max(), 2)}.")
    return words + pair_words(stack, "count as 0", "have no say")
