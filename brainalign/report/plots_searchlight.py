"""The map of a searchlight, on whatever its centres lie on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brainalign.errors import InputError
from brainalign.report.describe import units_noun
from brainalign.report.figures_maps import map_kind, plot_brain_map, why_no_map
from brainalign.report.figures_sensors import plot_topography, sensor_kinds, why_no_topography
from brainalign.report.figures_time import plot_time_course
from brainalign.report.naming import clean
from brainalign.report.style import INK, drawable, figure_of
from brainalign.types import Scores


def plot_searchlight_map(
    result: Any,
    *,
    model: str | None = None,
    max_p: float | None = None,
    threshold: float | None = None,
    view: str | None = None,
    times: Any = None,
    title: str | None = None,
) -> Figure:
    """Draw the map of one model of a searchlight: slices, glass brain, cortex, heads or a time course.

    Parameters
    ----------
    result : SearchlightResult, or Scores
    model : str, optional
        A name; may be left out where there is one model.
    max_p : float in (0, 1], optional
        Centres whose p-value is above it are not coloured: of a SearchlightResult p over the
        whole map (family-wise), of Scores the p-values they carry, uncorrected.
    threshold : float, optional
        Volumes and surfaces: scores within this distance of chance are not coloured.
    view : ``"glass"`` or ``"slices"``, optional
        For volumes; by default by the space.
    times : float or sequence of floats, optional
        Seconds, for sensors over time; by default up to three peaks. Volumes and surfaces show
        the mean over times.
    title : str, optional
        By default the model.

    Returns
    -------
    Figure
        See `plot_brain_map`, `plot_topography` and `plot_time_course`.

    Raises
    ------
    InputError
        Another type; no centre has a score; several models and none named; the centres have no
        place; `max_p` without p-values or outside (0, 1].
    UnknownNameError
        No model of that name.

    Examples
    --------
    >>> import pandas as pd
    >>> places = pd.DataFrame({"i": [0, 1, 2], "j": [1, 1, 1], "k": [0, 0, 0]})
    >>> info = {"affine": np.eye(4).tolist(), "volume_shape": [3, 3, 1]}
    >>> figure = plot_searchlight_map(Scores([0.1, 0.2, 0.3], places, info=info), title="animacy")
    >>> [t.get_text() for t in figure.texts]
    ['animacy']
    """
    scores = _scores_of(result, model)
    if not np.isfinite(scores.values).any():
        raise InputError(f"the map has no score: all {scores.values.size} centres are NaN{_reasons(scores)}")
    words = ""
    if max_p is not None:
        family = not isinstance(result, Scores)
        scores, words = _unmarked_left_out(scores, max_p, family=family)
    figure = figure_of(_draw(scores, threshold=threshold, view=view, times=times))
    name = scores.identity["model"] if title is None else title
    _write_title(figure, name, words)
    return figure


def _scores_of(result: Any, model: str | None) -> Scores:
    if isinstance(result, Scores):
        return result
    if not hasattr(result, "to_scores"):
        raise InputError(f"result is a {type(result).__name__}; expected a SearchlightResult or Scores")
    scores = result.to_scores(model)
    assert isinstance(scores, Scores)
    return scores


def _reasons(scores: Scores) -> str:
    reasons = scores.info.get("nan_reasons") or {}
    return "".join(f"; {count} {reason}" for reason, count in reasons.items())


def _unmarked_left_out(scores: Scores, max_p: float, *, family: bool) -> tuple[Scores, str]:
    """Scores without those that p does not carry, and what was left out in words."""
    if not 0 < max_p <= 1:
        raise InputError(f"max_p={max_p}; expected a number above 0 and at most 1, such as 0.05")
    if scores.p_values is None:
        raise InputError("max_p needs p-values; run the searchlight with permutations")
    keep = np.nan_to_num(scores.p_values, nan=1.0) <= max_p
    how = "family-wise over the map" if family else "uncorrected"
    known = np.isfinite(scores.values)
    left_out = int((known & ~keep).sum())
    nouns = units_noun(scores) + (" at single times" if scores.values.ndim == 2 else "")
    shown = "left out (hollow)" if sensor_kinds(scores) else "not coloured"
    words = f"{left_out} of {int(known.sum())} {nouns} with p > {max_p:g} ({how}) {shown}"
    return replace(scores, values=np.where(keep, scores.values, np.nan)), words


def _draw(scores: Scores, *, threshold: float | None, view: str | None, times: Any) -> Axes:
    if map_kind(scores):
        return plot_brain_map(scores, threshold=threshold, view=view)
    if sensor_kinds(scores) and not why_no_topography(scores):
        return plot_topography(scores, times=times)
    if scores.values.ndim == 2 and len(scores.values) == 1:
        return plot_time_course(scores)
    raise InputError(f"no map: {why_no_map(scores)}, and {why_no_topography(scores)}")


def _write_title(figure: Figure, name: str, words: str) -> None:
    """Title above the picture, in room that is added for it."""
    lines = [drawable(clean(name, 80), 80)] if name else []
    if words:
        lines.append(drawable(words, 110))
    if not lines:
        return
    old = figure.get_figheight()
    new = old + 0.22 * len(lines) + 0.06
    share = old / new
    figure.set_figheight(new)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, 0, 1, share))  # type: ignore[call-arg]
    else:
        for ax in figure.axes:
            box = ax.get_position()
            ax.set_position((box.x0, box.y0 * share, box.width, box.height * share))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, y * share))
    for place, line in enumerate(lines):
        first = bool(name) and place == 0
        figure.text(
            0.01, 1 - (0.04 + 0.22 * place) / new, line, va="top", fontsize=11 if first else 8, color=INK
        )
