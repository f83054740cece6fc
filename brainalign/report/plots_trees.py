"""Stimuli joined into groups by their dissimilarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage

from brainalign._checks import one_of
from brainalign.errors import InputError
from brainalign.report.plots_inputs import (
    Categories,
    RdmStack,
    categories_of,
    finish,
    new_figure,
    pair_words,
    pairs_of,
    rdm_stack,
    show_categories,
)
from brainalign.report.style import INK, MUTED, RULE, drawable

TREES = ("average", "complete", "single", "weighted")
_MOST_LEAVES = 200


def plot_dendrogram(
    rdm: Any,
    *,
    labels: Sequence[Any] | None = None,
    categories: Sequence[Any] | None = None,
    method: str = "average",
    distance: str | None = None,
    unit: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the tree into which hierarchical clustering joins the stimuli.

    Parameters
    ----------
    rdm : array or tensor (n, n), or RDMs with one matrix
        Negative dissimilarities (crossnobis) count as 0; a missing pair takes the mean of the
        known ones; the caption counts both.
    labels : sequence of n names, optional
        By default the stimulus ids of `RDMs`, else the positions.
    categories : sequence of n labels, optional
        Colours of leaves, and of the branches that join one category alone.
    method : ``"average"``, ``"complete"``, ``"single"`` or ``"weighted"``
        Ward's and centroid linkage need coordinates, which an RDM does not give.
    distance, unit : str, optional
        For the axis; by default of ``info``.
    title : str, optional

    Returns
    -------
    Figure
        A branch ends at the dissimilarity at which its two groups join.

    Raises
    ------
    ShapeError
        Not one square matrix; labels or categories of another length.
    InputError
        No pair is known, more than 200 stimuli, or an unknown method.

    Notes
    -----
    Cost: O(n^2) time and memory. Source: Sokal & Michener 1958 (average linkage), by scipy.

    Examples
    --------
    >>> d = np.array([[0, 1.0, 4], [1, 0, 4], [4, 4, 0]])
    >>> figure = plot_dendrogram(d, labels=["cat", "dog", "car"])
    >>> sorted(t.get_text() for t in figure.axes[0].get_yticklabels())
    ['car', 'cat', 'dog']
    """
    one_of("method", method, TREES)
    stack = rdm_stack(rdm, labels=labels, distance=distance, unit=unit)
    if len(stack) > 1:
        raise InputError(f"rdm holds {len(stack)} RDMs; a tree is drawn of one: choose one, or their mean")
    if stack.n > _MOST_LEAVES:
        raise InputError(
            f"rdm over {stack.n} stimuli; a tree of at most {_MOST_LEAVES} can be read: draw a part"
        )
    kinds = categories_of(categories, stack)
    pairs = np.maximum(pairs_of(stack.values[0]), 0.0)
    tree = linkage(np.where(np.isnan(pairs), np.nanmean(pairs), pairs), method)
    drawn = dendrogram(tree, no_plot=True, link_color_func=_branch_colours(tree, kinds).__getitem__)
    row = float(np.clip(7.0 / stack.n, 0.105, 0.2))
    figure = new_figure(5.0 + (1.4 if kinds else 0), 1.5 + row * stack.n)
    ax = figure.add_subplot()
    lines = [np.stack([x, y], axis=1) for x, y in zip(drawn["dcoord"], drawn["icoord"], strict=True)]
    ax.add_collection(LineCollection(lines, colors=drawn["color_list"], linewidths=1.1))
    _leaves(ax, stack, drawn["leaves"], kinds, row)
    high = float(tree[-1, 2])
    ax.set_xlim(1.03 * high if high > 0 else 1.0, 0)
    ax.set_ylim(10 * stack.n, 0)
    ax.set_xlabel(
        drawable(f"{stack.distance} at which groups join ({method} linkage)", 90), color=INK, fontsize=9
    )
    show_categories(figure, kinds)
    said = pair_words(stack, "count as 0", "take the mean of the others")
    finish(figure, title=title or stack.names[0], caption=said, results=stack.source)
    return figure


def _branch_colours(tree: np.ndarray, kinds: Categories | None) -> list[str]:
    """Colour of every node: of its category where all its leaves share one."""
    n = len(tree) + 1
    codes = [-1] * n if kinds is None else kinds.codes.tolist()
    for left, right in tree[:, :2].astype(int).tolist():
        codes.append(codes[left] if codes[left] == codes[right] else -1)
    return [MUTED if kinds is None or code < 0 else kinds.colour(code) for code in codes]


def _leaves(ax: Axes, stack: RdmStack, leaves: Sequence[int], kinds: Categories | None, row: float) -> None:
    """Names on the right, where the branches begin, with the mark of their category."""
    names = [str(i) for i in range(stack.n)] if stack.labels is None else stack.labels
    places = 10 * np.arange(stack.n) + 5.0
    ax.yaxis.tick_right()
    size = float(np.clip(62 * row, 5.5, 9))
    ax.set_yticks(places, [drawable(names[i], 28) for i in leaves], fontsize=size, color=INK)
    ax.tick_params(axis="y", length=0, pad=9 if kinds is not None else 3)
    ax.tick_params(axis="x", colors=MUTED, labelcolor=INK, length=3)
    for place, spine in ax.spines.items():
        spine.set_visible(place == "bottom")
        spine.set_color(RULE)
    if kinds is None:
        return
    transform = ax.get_yaxis_transform()
    for code in range(len(kinds.names)):
        found = [place for place, leaf in zip(places, leaves, strict=True) if kinds.codes[leaf] == code]
        ax.plot(
            [1.015] * len(found),
            found,
            transform=transform,
            marker=kinds.marker(code),
            color=kinds.colour(code),
            markersize=float(np.clip(30 * row, 3, 5.5)),
            linewidth=0,
            clip_on=False,
        )
