"""What the RSA figures share: stacks of RDMs, categories of stimuli, captions below a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from brainalign._checks import group_codes
from brainalign.errors import InputError, ShapeError
from brainalign.report.describe import stamps
from brainalign.report.figures_rdms import rdm_name
from brainalign.report.naming import clean
from brainalign.report.style import INK, MARKERS, MUTED, SERIES, drawable, write_footer
from brainalign.types import RDMs

_LINE = 0.135  # inches of one line of a caption
_LEGEND_ROW = 0.205


def pairs_of(rdms: np.ndarray) -> np.ndarray:
    """The pairs i < j of RDMs (..., n, n), row by row."""
    rows, columns = np.triu_indices(rdms.shape[-1], 1)
    return np.asarray(rdms[..., rows, columns])


@dataclass(frozen=True)
class RdmStack:
    """RDMs (k, n, n) to draw, with what is known of them; `source` carries the stamps."""

    values: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    distance: str
    categories: Any
    source: tuple[RDMs, ...]

    @property
    def n(self) -> int:
        return int(self.values.shape[-1])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> np.ndarray:
        """Pairs without a dissimilarity, per RDM."""
        return np.asarray(np.isnan(pairs_of(self.values)).sum(axis=1))

    @property
    def negative(self) -> np.ndarray:
        """Pairs with a dissimilarity below 0, per RDM."""
        return np.asarray((pairs_of(self.values) < 0).sum(axis=1))

    @property
    def n_pairs(self) -> int:
        return self.n * (self.n - 1) // 2


def rdm_stack(
    rdms: Any,
    *,
    names: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    distance: str | None = None,
    unit: str | None = None,
) -> RdmStack:
    """Take an array (n, n) or (k, n, n), a mapping {name: (n, n)} or `RDMs` apart, checked.

    Raises
    ------
    ShapeError
        Not square; fewer than 2 stimuli; names or labels of another number.
    InputError
        Not RDMs (asymmetric, diagonal not zero, infinite), or no pair of any RDM is known.
    """
    # loads the comparisons, and with them torch, which a report of scores does without
    from brainalign.comparison._rdm_stacks import as_stack

    categories, given = None, None
    source: tuple[RDMs, ...] = ()
    if isinstance(rdms, RDMs):
        source = (rdms,)
        given = [rdm_name(rdms, row) for row in range(len(rdms))]
        given = [""] if given == ["RDM 1"] else given  # a lone RDM without a name needs no number
        labels = list(rdms.stimulus_id) if labels is None else labels
        categories = rdms.info.get("condition")
        distance = rdms.info.get("distance") if distance is None else distance
        unit = rdms.info.get("unit") if unit is None else unit
        values = as_stack("rdms", rdms.values)
    elif isinstance(rdms, Mapping):
        values, given = _stacked(rdms), [str(name) for name in rdms]
    else:
        values = as_stack("rdms", rdms)
    k, n = values.shape[:2]
    if n < 2:
        raise ShapeError(f"rdms have shape {values.shape}; expected at least 2 stimuli")
    if not np.isfinite(pairs_of(values)).any():
        raise InputError(
            f"rdms: all {k * n * (n - 1) // 2} pairs are NaN; nothing can be drawn. Check the responses that "
            "the RDMs come from"
        )
    shown = _texts("names", names, k, "RDMs") or given or ([""] if k == 1 else _numbered(k))
    words = clean(distance or "dissimilarity", 30).replace("_", " ")
    return RdmStack(
        values,
        tuple(shown),
        None if labels is None else tuple(_texts("labels", labels, n, "stimuli") or ()),
        f"{words} [{clean(unit, 20)}]" if unit else words,
        categories,
        source,
    )


def _stacked(rdms: Mapping[Any, Any]) -> np.ndarray:
    from brainalign.comparison._rdm_stacks import as_stack

    if not rdms:
        raise InputError("rdms is an empty mapping; expected {name: RDM (n, n)}")
    parts = [as_stack(f"rdms[{name!r}]", one) for name, one in rdms.items()]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1 or len(parts[0]) > 1:
        told = ", ".join(f"{name}: {np.shape(one)}" for name, one in list(rdms.items())[:6])
        raise ShapeError(f"rdms has the shapes {told}; expected one (n, n) for every name")
    return np.concatenate(parts)


def _numbered(k: int) -> list[str]:
    return [f"RDM {row + 1}" for row in range(k)]


def _texts(argument: str, given: Sequence[Any] | None, n: int, what: str) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or len(given) != n:
        found = f"the text {given!r}" if isinstance(given, str) else f"{len(given)} entries"
        raise ShapeError(f"{argument} has {found} for {n} {what}; expected one for each")
    return [str(one) for one in given]


@dataclass(frozen=True)
class Categories:
    """Labels of stimuli: distinct names in order of appearance, the code of each stimulus."""

    names: tuple[str, ...]
    codes: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Stimuli sorted into blocks, in each block as they came."""
        return np.argsort(self.codes, kind="stable")

    @property
    def edges(self) -> np.ndarray:
        """Where the blocks begin and end in the sorted order, (n_categories + 1,)."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.codes, minlength=len(self.names)))])

    def colour(self, code: int) -> str:
        """Six colours in turn."""
        return SERIES[code % len(SERIES)]

    def marker(self, code: int) -> str:
        """Shapes in turn, shifted after six colours: 36 categories look different."""
        return MARKERS[(code + code // len(SERIES)) % len(MARKERS)]


def categories_of(given: Any, stack: RdmStack) -> Categories | None:
    """Check one label a stimulus; None where neither the caller nor the RDMs have any."""
    if given is None:
        given = stack.categories
        if not isinstance(given, (list, tuple, np.ndarray)) or len(given) != stack.n:
            return None
    if isinstance(given, str):
        raise ShapeError(
            f"categories has the text {given!r} for {stack.n} stimuli; expected one label for each"
        )
    codes, distinct = group_codes("categories", given, stack.n)
    return Categories(tuple(str(one) for one in distinct), codes)


def spread(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Move sorted places so little that neighbours are `gap` apart and all lie from `low` to `high`.

    Examples
    --------
    >>> spread(np.array([0.0, 1.0, 5.0]), 2.0, 0.0, 6.0)
    array([0., 2., 5.])
    """
    out = np.clip(np.asarray(places, dtype=np.float64), low, high)
    gap = min(gap, (high - low) / max(len(out) - 1, 1))
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + gap)
    if len(out):
        out[-1] = min(out[-1], high)
    for i in range(len(out) - 2, -1, -1):
        out[i] = min(out[i], out[i + 1] - gap)
    return out


def show_categories(figure: Figure, kinds: Categories | None) -> None:
    """A legend of colours and shapes beside the figure, which is made as high as it needs."""
    if kinds is None:
        return
    figure.set_figheight(max(figure.get_figheight(), _LEGEND_ROW * len(kinds.names) + 0.9))
    handles = [
        Line2D(
            [],
            [],
            linewidth=0,
            marker=kinds.marker(c),
            color=kinds.colour(c),
            markersize=6,
            label=drawable(name, 24),
        )
        for c, name in enumerate(kinds.names)
    ]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.2,
    )


def pair_words(stack: RdmStack, negative: str, missing: str) -> list[str]:
    """How many pairs are negative and missing, and what becomes of them, in sentences."""
    pairs = stack.n_pairs * len(stack)
    words = []
    if stack.negative.sum():
        words.append(f"{stack.negative.sum()} of {pairs} dissimilarities are negative and {negative}.")
    if stack.missing.sum():
        words.append(f"{stack.missing.sum()} of {pairs} pairs are missing and {missing}.")
    return words


def new_figure(width: float, height: float) -> Figure:
    """A figure that no pyplot state knows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def caption_lines(sentences: Sequence[str], width: float) -> list[str]:
    """Sentences as lines that fit a figure of this width in inches."""
    words = " ".join(clean(s, 500) for s in sentences if s)
    return textwrap.wrap(words, max(24, int(17.5 * width)))


def finish(figure: Figure, *, title: str | None, caption: Sequence[str], results: Sequence[Any] = ()) -> None:
    """Write title, caption and stamps (simulated, a guard overruled), each in room of its own."""
    width, height = figure.get_size_inches()
    if title:
        lines = textwrap.wrap(clean(title, 200), max(16, int(12 * width)))
        text = "\n".join(drawable(line, 200) for line in lines)
        figure.suptitle(text, x=0.01, ha="left", fontsize=11, color=INK)
    told = "; ".join(stamps(results))
    lines = caption_lines(caption, width)
    # room of the stamps, then of the caption above them; the layout engine knows neither
    stamped = _LINE * len(caption_lines([told], 0.85 * width)) + 0.05 if told else 0.0
    below = stamped + (_LINE * len(lines) + 0.1 if lines else 0.0)
    if lines:
        figure.supxlabel(
            "\n".join(drawable(line, 500) for line in lines),
            x=0.01,
            y=(stamped + 0.04) / height,
            ha="left",
            va="bottom",
            fontsize=7.5,
            color=MUTED,
            linespacing=1.25,
        )
        _keep_free(figure, below / height)
    if told:
        write_footer(figure.axes[0], told)


def _keep_free(figure: Figure, below: float) -> None:
    """Leave this share of the height, at the bottom, to text."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, below, 1, 1 - below))
