"""Figures of time: scores at each time after onset, and against the lag of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from brainalign._checks import unknown_name
from brainalign.errors import InputError
from brainalign.report.averages import ceilings_in_time, mean_known
from brainalign.report.describe import (
    as_list,
    chance_level,
    fits_units,
    is_control,
    is_profile,
    model_label,
    stamp,
    unit_noun,
    units_noun,
)
from brainalign.report.naming import clean, mapping, metric_name, number, real
from brainalign.report.regions import median_bound, region_positions
from brainalign.report.style import (
    CEILING,
    MUTED,
    SEQUENTIAL,
    SERIES,
    drawable,
    dress,
    new_axes,
    show_legend,
)
from brainalign.report.times import peak, time_axis
from brainalign.statistics.multiple_tests import adjust_fdr
from brainalign.types import Scores

_MOST_LINES = 12
LEVEL = 0.05


def time_course_numbers(scores: Scores, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_time_course`: time [s], mean, quartiles over units, ceiling, p and q.

    `p` is that of the region at each time (of its one unit, else the median bound), `q` corrects
    it over the times.
    """
    times, _ = time_axis(scores)
    index = region_positions(scores, region)
    values = scores.values[index]
    frame = pd.DataFrame({"time": times})
    frame["value"] = mean_known(values, axis=0)
    some = np.isfinite(values).any(axis=0)
    for name, share in (("lower_quartile", 25), ("upper_quartile", 75)):
        frame[name] = np.nan
        if some.any():
            frame.loc[some, name] = np.nanpercentile(values[:, some], share, axis=0)
    if scores.noise_ceiling is not None:
        ceiling = mean_known(np.atleast_1d(ceilings_in_time(scores.noise_ceiling))[index], axis=0)
        frame["noise_ceiling"] = np.broadcast_to(ceiling, len(frame))
    if scores.p_values is not None:
        frame["p"] = [median_bound(column) for column in scores.p_values[index].T]
        frame["q"] = adjust_fdr(frame["p"].to_numpy())
    return frame


def plot_time_course(
    scores: Any, *, region: str | None = None, each: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw the score at each time: mean over units, quartiles, noise ceiling, onset, significance.

    Parameters
    ----------
    scores : Scores, sequence or mapping of Scores with values (n_units, n_times)
        ``info["times"]`` holds the seconds; without it the axis counts samples. Several
        Scores give a line each: the layers of one model from light to dark, models in
        colours of their own, controls dashed.
    region : str, optional
        A region of the unit table; by default every unit.
    each : bool
        Draw a line per unit (at most 12, those with the highest scores) in place of the
        mean and quartiles.
    ax : Axes, optional

    Returns
    -------
    Axes
        Vertical line: onset (0 s), where the times reach below it; bars below the curves:
        times with q <= 0.05, corrected over the times of that line.

    Raises
    ------
    InputError
        The scores have no time axis, mixed metrics, or ``each=True`` is given several Scores.
    UnknownNameError
        `region` is not a region of the units.

    Examples
    --------
    >>> plot_time_course(Scores(np.ones((3, 2)), info={"times": [0.0, 0.1]})).get_xlabel()
    'time (s)'
    """
    found = as_list(scores, "a time course")
    if each and len(found) > 1:
        raise InputError(f"each=True draws the units of one Scores, not of {len(found)}; give one")
    ax = new_axes() if ax is None else ax
    rows = _unit_lines(found[0], region) if each else _mean_lines(found, region)
    for frame, look in rows:
        _one_course(ax, frame, look)
    _ceiling_course(ax, rows)
    _significance(ax, rows)
    times, seconds = time_axis(found[0])
    ax.axhline(chance_level(found[0]), color=MUTED, linewidth=0.8, zorder=1)
    if seconds and times.min() < 0 <= times.max():
        ax.axvline(0.0, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    dress(
        ax,
        xlabel="time (s)" if seconds else "time (samples)",
        ylabel=drawable(metric_name(found[0].metric)) + _over(found, region, each),
    )
    show_legend(ax)
    stamp(ax, *found)
    return ax


def _over(found: list[Scores], region: str | None, each: bool) -> str:
    """What the vertical axis averages, said in its label."""
    noun = unit_noun(found[0])
    if each:
        return f" of each {drawable(noun)}"
    many = len(region_positions(found[0], region)) > 1
    if not many:
        return ""
    nouns = drawable(units_noun(found[0]))
    return f" (mean of {nouns})" if len(found) > 3 else f" (mean, quartiles of {nouns})"


def _mean_lines(found: list[Scores], region: str | None) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    """One line a Scores: numbers and look."""
    layered = len(found) > 1 and len({model_label(s) for s in found}) == 1
    out = []
    for place, one in enumerate(found):
        frame = time_course_numbers(one, region=region)
        shade = 0.25 + 0.7 * place / max(1, len(found) - 1)
        look = {
            "color": to_hex(SEQUENTIAL(shade)) if layered else SERIES[place % len(SERIES)],
            "linestyle": "--" if is_control(one) else "-",
            "label": clean(one.identity["layer"] or "layer", 40) if layered else _line_name(one),
            "band": len(found) <= 3,
        }
        out.append((frame, look))
    return out


def _line_name(scores: Scores) -> str:
    layer = scores.identity["layer"]
    return f"{model_label(scores)}, {layer}" if is_profile(scores) and layer else model_label(scores)


def _unit_lines(scores: Scores, region: str | None) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    """One line a unit, in the order of the table; the highest ones where there are many."""
    assert scores.units is not None
    index = region_positions(scores, region)
    times, _ = time_axis(scores)
    top = np.array([peak(scores, np.array([i]))[0] for i in index])
    best = np.sort(np.argsort(-np.nan_to_num(top, nan=-np.inf), kind="stable")[:_MOST_LINES])
    out = []
    for place, i in enumerate(index[best]):
        frame = pd.DataFrame({"time": times, "value": scores.values[i]})
        if scores.p_values is not None:
            frame["p"] = scores.p_values[i]
            frame["q"] = adjust_fdr(frame["p"].to_numpy())
        name = clean(scores.units.index[i], 30)
        style = "-" if place < len(SERIES) else "--"
        look = {"color": SERIES[place % len(SERIES)], "linestyle": style, "label": name, "band": False}
        out.append((frame, look))
    return out


def _one_course(ax: Axes, frame: pd.DataFrame, look: Mapping[str, Any]) -> None:
    if look["band"] and "lower_quartile" in frame:
        low, high = frame["lower_quartile"], frame["upper_quartile"]
        ax.fill_between(frame["time"], low, high, color=look["color"], alpha=0.18, linewidth=0)
    ax.plot(
        frame["time"],
        frame["value"],
        color=look["color"],
        linewidth=1.6,
        linestyle=look["linestyle"],
        marker="o" if len(frame) == 1 else None,
        label=drawable(look["label"], 40),
    )


def _ceiling_course(ax: Axes, rows: list[tuple[pd.DataFrame, dict[str, Any]]]) -> None:
    frame = rows[0][0]
    if "noise_ceiling" not in frame or not np.isfinite(frame["noise_ceiling"]).any():
        return
    mean = mean_known(frame["noise_ceiling"].to_numpy())
    ax.plot(
        frame["time"],
        frame["noise_ceiling"],
        color=CEILING,
        linewidth=1.1,
        linestyle=(0, (5, 2)),
        label=f"noise ceiling {number(mean, 2)}",
    )


def _significance(ax: Axes, rows: list[tuple[pd.DataFrame, dict[str, Any]]]) -> None:
    """Bars below the curves where the corrected p is at most 0.05, one height a line."""
    tested = [(frame, look) for frame, look in rows if "q" in frame and (frame["q"] <= LEVEL).any()]
    if not tested:
        return
    low, high = ax.get_ylim()
    step = 0.035 * (high - low)
    for place, (frame, look) in enumerate(tested):
        height = low - step * (place + 0.6)
        keep = (frame["q"] <= LEVEL).to_numpy()
        label = f"q ≤ {LEVEL:g}" if place == 0 else None
        ax.plot(
            frame["time"][keep],
            np.full(keep.sum(), height),
            marker="s",
            markersize=2.4,
            linewidth=0,
            color=look["color"],
            label=label,
        )
    ax.set_ylim(low - step * (len(tested) + 0.6), high)


def why_no_lag_scan(scores: Scores) -> str:
    """Why these scores have no lag curve, "" where they have one."""
    scan = mapping(scores.info, "lag_scan")
    if not scan:
        return (
            'expected info["lag_scan"] with lags_s and values {region: [score per lag]}, which continuous '
            "encoding writes where delays are scanned"
        )
    lags, values = scan.get("lags_s"), mapping(scan, "values")
    n_lags = len(lags) if isinstance(lags, (list, tuple, np.ndarray)) else 0
    if not n_lags or not values:
        return f'info["lag_scan"] has {n_lags} lags and {len(values)} regions; expected at least one of each'
    wrong = [k for k, v in values.items() if np.shape(v) != (n_lags,)]
    if wrong:
        found = np.shape(values[wrong[0]])
        return f"{clean(wrong[0], 60)} has scores of shape {found} for {n_lags} lags; expected one per lag"
    return ""


def lag_scan(scores: Scores) -> tuple[np.ndarray, dict[str, np.ndarray], float | None]:
    """Lags [s], {region: score at each lag} and the best lag of ``info["lag_scan"]``.

    Raises
    ------
    InputError
        There is no lag scan, or its lengths disagree.
    """
    why = why_no_lag_scan(scores)
    if why:
        raise InputError(f"these scores hold no lag scan: {why}")
    scan = mapping(scores.info, "lag_scan")
    lags = np.asarray(scan["lags_s"], dtype=np.float64)
    values = {str(k): np.asarray(v, dtype=np.float64) for k, v in mapping(scan, "values").items()}
    return lags, values, real(scan.get("best_lag_s"))


def lag_curve_numbers(scores: Any, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_lag_curve`: model, region, lag [s], value, and whether the lag is the best."""
    rows = []
    for one in as_list(scores, "a lag curve"):
        lags, values, best = lag_scan(one)
        if region is not None and region not in values:
            raise unknown_name("region", region, values)
        for name in values if region is None else [region]:
            chosen = lags == best if best is not None else np.zeros(len(lags), dtype=bool)
            part = {"model": model_label(one), "region": name, "lag": lags, "value": values[name]}
            rows.append(pd.DataFrame({**part, "best": chosen}))
    return pd.concat(rows, ignore_index=True)


def plot_lag_curve(scores: Any, *, region: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the score against the lag between features and responses.

    Parameters
    ----------
    scores : Scores, sequence or mapping of Scores
        With ``info["lag_scan"]``: ``lags_s`` (how long the responses follow the features, in
        s), ``values`` {region: [score per lag]} and, where known, ``best_lag_s``.
    region : str, optional
        One region; by default every one (at most 12 lines).
    ax : Axes, optional

    Returns
    -------
    Axes
        A line per region (and model; controls dashed); dotted line: the best lag. The scan
        describes: its maximum was chosen on the rows that it is scored on.

    Raises
    ------
    InputError
        No lag scan, or its lengths disagree.
    UnknownNameError
        `region` is not in the scan.

    Examples
    --------
    >>> scan = {"lags_s": [0.0, 2.0, 4.0], "values": {"V1": [0.1, 0.3, 0.2]}, "best_lag_s": 2.0}
    >>> plot_lag_curve(Scores(np.zeros(1), info={"lag_scan": scan})).get_xlabel()
    'lag of the responses behind the features (s)'
    """
    found = as_list(scores, "a lag curve")
    frame = lag_curve_numbers(found, region=region)
    ax = new_axes() if ax is None else ax
    controls = {model_label(s) for s in found if is_control(s)}
    several = frame["model"].nunique() > 1
    for place, ((model, name), part) in enumerate(frame.groupby(["model", "region"], sort=False)):
        if place >= _MOST_LINES:
            break
        label = f"{model}, {name}" if several else str(name)
        ax.plot(
            part["lag"],
            part["value"],
            color=SERIES[place % len(SERIES)],
            marker="o",
            markersize=3.5,
            linewidth=1.5,
            linestyle="--" if model in controls else "-",
            label=drawable(label, 40),
        )
    best = frame.loc[frame["best"], "lag"]
    if len(best):
        lag = float(best.iloc[0])
        label = f"best lag {number(lag, 2)} s"
        ax.axvline(lag, color=CEILING, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1, label=label)
    ax.axhline(chance_level(found[0]), color=MUTED, linewidth=0.8, zorder=1)
    dress(
        ax,
        xlabel="lag of the responses behind the features (s)",
        ylabel=drawable(metric_name(found[0].metric))
        + (" (mean over units)" if fits_units(found[0]) and unit_noun(found[0]) != "region" else ""),
    )
    show_legend(ax)
    stamp(ax, *found)
    return ax
