"""Figures of single units: the distribution of their scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainalign.report.averages import over_times, unit_ceilings
from brainalign.report.describe import chance_level, stamp, unit_noun, units_noun
from brainalign.report.naming import metric_name, number
from brainalign.report.regions import region_positions
from brainalign.report.style import (
    ACCENT,
    BAND,
    CEILING,
    INK,
    MUTED,
    drawable,
    dress,
    new_axes,
    show_legend,
)
from brainalign.types import Scores

FEW_UNITS = 12


def unit_score_numbers(scores: Scores, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_unit_scores`: unit_id, value, noise_ceiling with its interval, p."""
    index = region_positions(scores, region)
    assert scores.units is not None
    frame = pd.DataFrame({"unit_id": scores.units.index[index], "value": over_times(scores.values)[index]})
    if scores.noise_ceiling is not None:
        parts = unit_ceilings(scores.noise_ceiling)
        for name, part in zip(("noise_ceiling", "ceiling_low", "ceiling_high"), parts, strict=True):
            frame[name] = part[index]
    if scores.p_values is not None and np.ndim(scores.p_values) == 1:
        frame["p"] = np.asarray(scores.p_values)[index]
    return frame


def plot_unit_scores(scores: Scores, *, region: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the scores of the units with their noise ceilings: by name where they are few, else binned.

    Parameters
    ----------
    scores : Scores
        A time axis is averaged. Units without a score are left out and counted on the axis.
    region : str, optional
        A region of the unit table; by default every unit.
    ax : Axes, optional

    Returns
    -------
    Axes
        Up to 12 units: a dot each, beside it a bar for its ceiling. More: a histogram; filled:
        scores; outline: ceilings, in the same bins; lines: their means.

    Raises
    ------
    UnknownNameError
        `region` is not a region of the units.

    Examples
    --------
    >>> plot_unit_scores(Scores(np.array([0.1, 0.3, np.nan]))).get_xlabel()
    'Pearson r of each unit (2 of 3 have one)'
    """
    frame = unit_score_numbers(scores, region=region)
    known = np.isfinite(frame["value"].to_numpy())
    few = len(frame) <= FEW_UNITS
    if ax is None:
        ax = new_axes(4.7, 1.2 + 0.27 * max(3, len(frame))) if few else new_axes()
    of = f" ({known.sum()} of {len(frame)} have one)" if not known.all() else ""
    xlabel = f"{drawable(metric_name(scores.metric))} of each {drawable(unit_noun(scores))}{of}"
    if not known.any():
        words = f"no {drawable(unit_noun(scores))} has a score"
        ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", color=MUTED)
        dress(ax, xlabel=xlabel)
    elif few:
        _dots(ax, frame, chance_level(scores))
        dress(ax, xlabel=xlabel, grid="x")
    else:
        _histogram(ax, frame)
        dress(ax, xlabel=xlabel, ylabel=f"number of {drawable(units_noun(scores))}")
    show_legend(ax)
    stamp(ax, scores)
    return ax


def _dots(ax: Axes, frame: pd.DataFrame, chance: float) -> None:
    """A dot for each unit, the first on top."""
    places = np.arange(len(frame))
    ax.axvline(chance, color=MUTED, linewidth=0.8, zorder=1)
    if "noise_ceiling" in frame:
        low, high = frame["ceiling_low"], frame["ceiling_high"]
        ax.hlines(places, low, high, color=BAND, linewidth=7, zorder=1)
        ceiling = frame["noise_ceiling"]
        ax.plot(ceiling, places, "|", color=CEILING, markersize=10, label="noise ceiling, 95 % interval")
    ax.plot(frame["value"], places, "o", color=ACCENT, markersize=6)
    ax.set_yticks(places, [drawable(name, 30) for name in frame["unit_id"]])
    ax.set_ylim(len(frame) - 0.5, -0.5)


def _histogram(ax: Axes, frame: pd.DataFrame) -> None:
    values = frame["value"].to_numpy()
    values = values[np.isfinite(values)]
    ceilings = frame["noise_ceiling"].to_numpy() if "noise_ceiling" in frame else np.empty(0)
    ceilings = ceilings[np.isfinite(ceilings)]
    edges = list(_bins(np.concatenate([values, ceilings]), len(values)))
    ax.hist(values, edges, color=ACCENT, edgecolor="white", linewidth=0.6, zorder=2)
    mean = float(values.mean())
    ax.axvline(mean, color=INK, linewidth=1.4, label=f"mean {number(mean, 2)}")
    if len(ceilings):
        ax.hist(ceilings, edges, histtype="stepfilled", facecolor=BAND, edgecolor=CEILING, zorder=1.5)
        mean = float(ceilings.mean())
        label = f"mean noise ceiling {number(mean, 2)}"
        ax.axvline(mean, color=CEILING, linewidth=1.1, linestyle=(0, (5, 2)), label=label)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _bins(values: np.ndarray, n: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    return np.linspace(low, high, int(np.clip(round(2.2 * n ** (1 / 2)), 8, 40)) + 1)
