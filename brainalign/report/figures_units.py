"""Figures of single units and of time: the distribution of scores, and their course."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from brainalign._checks import unknown_name
from brainalign.errors import InputError
from brainalign.report.describe import as_list, chance_level, is_control, model_label
from brainalign.report.naming import metric_name, number
from brainalign.report.regions import mean_known, over_times, region_units, unit_ceilings
from brainalign.report.style import (
    ACCENT,
    BAND,
    CEILING,
    INK,
    MUTED,
    SERIES,
    drawable,
    dress,
    new_axes,
    show_legend,
)
from brainalign.types import Scores


def unit_score_numbers(scores: Scores, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_unit_scores`: unit_id, value, noise_ceiling with its interval, p."""
    index = _units_of(scores, region)
    assert scores.units is not None
    frame = pd.DataFrame({"unit_id": scores.units.index[index], "value": over_times(scores.values)[index]})
    if scores.noise_ceiling is not None:
        parts = unit_ceilings(scores.noise_ceiling)
        for name, part in zip(("noise_ceiling", "ceiling_low", "ceiling_high"), parts, strict=True):
            frame[name] = part[index]
    if scores.p_values is not None and np.ndim(scores.p_values) == 1:
        frame["p"] = np.asarray(scores.p_values)[index]
    return frame


def _units_of(scores: Scores, region: str | None) -> np.ndarray:
    parts = region_units(scores)
    if region is None:
        return np.arange(len(scores.values))
    if region not in parts:
        raise unknown_name("region", region, parts)
    return parts[region]


def plot_unit_scores(scores: Scores, *, region: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the units' scores, with that of their noise ceilings.

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
        Filled: scores; outline: ceilings, in the same bins; lines: their means.

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
    ax = new_axes() if ax is None else ax
    values = frame["value"].to_numpy()
    values = values[np.isfinite(values)]
    ceilings = frame["noise_ceiling"].to_numpy() if "noise_ceiling" in frame else np.empty(0)
    ceilings = ceilings[np.isfinite(ceilings)]
    if len(values):
        edges = _bins(np.concatenate([values, ceilings]), len(values))
        ax.hist(values, list(edges), color=ACCENT, edgecolor="white", linewidth=0.6, zorder=2)
        mean = float(values.mean())
        ax.axvline(mean, color=INK, linewidth=1.4, label=f"mean {number(mean, 2)}")
        if len(ceilings):
            ax.hist(
                ceilings, list(edges), histtype="stepfilled", facecolor=BAND, edgecolor=CEILING, zorder=1.5
            )
            mean = float(ceilings.mean())
            label = f"mean noise ceiling {number(mean, 2)}"
            ax.axvline(mean, color=CEILING, linewidth=1.1, linestyle=(0, (5, 2)), label=label)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    else:
        ax.text(0.5, 0.5, "no unit has a score", transform=ax.transAxes, ha="center", color=MUTED)
    of = f" ({len(values)} of {len(frame)} have one)" if len(values) < len(frame) else ""
    dress(ax, xlabel=f"{drawable(metric_name(scores.metric))} of each unit{of}", ylabel="number of units")
    show_legend(ax)
    return ax


def _bins(values: np.ndarray, n: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    return np.linspace(low, high, int(np.clip(round(2.2 * n ** (1 / 2)), 8, 40)) + 1)


def time_course_numbers(scores: Scores, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_time_course`: time [s], mean, quartiles over units, ceiling."""
    if scores.values.ndim != 2:
        raise InputError(
            f"scores of shape {scores.values.shape} have no time axis; expected (n_units, n_times)"
        )
    index = _units_of(scores, region)
    values = scores.values[index]
    times = scores.info.get("times")
    known = times is not None and np.shape(times) == (values.shape[1],)
    frame = pd.DataFrame({"time": np.asarray(times, float) if known else np.arange(values.shape[1])})
    frame["value"] = mean_known(values, axis=0)
    some = np.isfinite(values).any(axis=0)
    for name, share in (("lower_quartile", 25), ("upper_quartile", 75)):
        frame[name] = np.nan
        frame.loc[some, name] = np.nanpercentile(values[:, some], share, axis=0)
    if scores.noise_ceiling is not None:
        frame["noise_ceiling"] = mean_known(scores.noise_ceiling.values[index], axis=0)
    return frame


def plot_time_course(scores: Any, *, region: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the mean score over units at each time, with the quartiles of the units as a band.

    Parameters
    ----------
    scores : Scores or sequence of Scores with values (n_units, n_times)
        ``info["times"]`` holds the seconds; without it the axis counts samples.
    region : str, optional
        A region of the unit table; by default every unit.
    ax : Axes, optional

    Raises
    ------
    InputError
        The scores have no time axis.

    Examples
    --------
    >>> plot_time_course(Scores(np.ones((3, 2)), info={"times": [0.0, 0.1]})).get_xlabel()
    'time (s)'
    """
    found = as_list(scores, "a time course")
    ax = new_axes() if ax is None else ax
    for place, one in enumerate(found):
        frame = time_course_numbers(one, region=region)
        colour = SERIES[place % len(SERIES)]
        ax.fill_between(
            frame["time"],
            frame["lower_quartile"],
            frame["upper_quartile"],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        style = "--" if is_control(one) else "-"
        ax.plot(
            frame["time"],
            frame["value"],
            color=colour,
            linewidth=1.6,
            linestyle=style,
            label=drawable(model_label(one), 40),
        )
        if place == 0 and "noise_ceiling" in frame and np.isfinite(frame["noise_ceiling"]).any():
            ax.plot(
                frame["time"],
                frame["noise_ceiling"],
                color=CEILING,
                linewidth=1.1,
                linestyle=(0, (5, 2)),
                label=f"noise ceiling {number(mean_known(frame['noise_ceiling'].to_numpy()), 2)}",
            )
    known = found[0].info.get("times") is not None
    ax.axhline(chance_level(found[0]), color=MUTED, linewidth=0.8, zorder=1)
    dress(
        ax,
        xlabel="time (s)" if known else "time (samples)",
        ylabel=f"{drawable(metric_name(found[0].metric))} (mean, quartiles of units)",
    )
    show_legend(ax)
    return ax
