"""Figures of mean scores: layer profile, models beside controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from brainalign._checks import unknown_name
from brainalign.errors import AlignmentError
from brainalign.report.describe import (
    as_list,
    chance_level,
    is_control,
    model_label,
    split_hash,
    stamp,
    units_noun,
)
from brainalign.report.naming import metric_name, number, short_names
from brainalign.report.regions import default_region, region_summary, region_units, scores_units
from brainalign.report.style import (
    ACCENT,
    BAND,
    CEILING,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    drawable,
    dress,
    new_axes,
    show_legend,
)
from brainalign.types import Scores


def _row(scores: Scores, region: str) -> dict[str, Any]:
    parts = region_units(scores)
    if region not in parts:
        raise unknown_name("region", region, parts)
    return region_summary(scores, region, parts[region])


def layer_profile_numbers(scores: Any, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_layer_profile`: model, layer, position and the summary of each point."""
    found = as_list(scores, "a layer profile")
    region = default_region(found[0]) if region is None else region
    order = _layer_order(found)
    rows = []
    for one in found:
        row = _row(one, region)
        layer = one.identity["layer"] or "layer"
        rows.append(
            {"model": model_label(one), "layer": layer, "position": order[model_label(one), layer], **row}
        )
    frame = pd.DataFrame(rows).sort_values(["model", "position"], kind="stable", ignore_index=True)
    first_seen = {name: i for i, name in enumerate(dict.fromkeys(model_label(one) for one in found))}
    frame = frame.sort_values("model", key=lambda c: c.map(first_seen), kind="stable", ignore_index=True)
    frame.insert(0, "region", frame.pop("region"))
    return frame


def _layer_order(found: Sequence[Scores]) -> dict[tuple[str, str], int]:
    """Depth of each layer within its model: ``info["layers"]`` where known, else the order of arrival."""
    order: dict[tuple[str, str], int] = {}
    for one in found:
        model = model_label(one)
        listed = one.info.get("layers")
        names = [str(n) for n in listed] if isinstance(listed, (list, tuple)) else []
        layer = one.identity["layer"] or "layer"
        taken = [k for k in order if k[0] == model]
        order.setdefault((model, layer), names.index(layer) if layer in names else len(taken))
    return order


def plot_layer_profile(scores: Any, *, region: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the mean score of a region against the depth of the layer, below its noise ceiling.

    Parameters
    ----------
    scores : mapping {layer: Scores} or sequence of Scores
        One per layer; several models give one line each, controls dashed. Layers stand in
        the order of ``info["layers"]``, else as they come.
    region : str, optional
        A region of the unit table; by default all units, or the first region.
    ax : Axes, optional
        By default axes on a new figure (``ax.figure``).

    Returns
    -------
    Axes
        y: mean over units; bars: 95 % interval; grey band: ceiling with its interval.

    Raises
    ------
    InputError
        No Scores, another type, or mixed metrics.
    UnknownNameError
        `region` is not a region of the units.

    Examples
    --------
    >>> values = {"a": np.array([0.1, 0.2]), "b": np.array([0.3, 0.4])}
    >>> profile = {name: Scores(v, identity={"layer": name}) for name, v in values.items()}
    >>> plot_layer_profile(profile).get_ylabel()
    'Pearson r (mean over 2 units)'
    """
    found = as_list(scores, "a layer profile")
    frame = layer_profile_numbers(found, region=region)
    ax = new_axes() if ax is None else ax
    controls = {model_label(one) for one in found if is_control(one)}
    lowest = _ceiling_band(ax, frame, vertical=False)
    for number_, (model, part) in enumerate(frame.groupby("model", sort=False)):
        colour, marker = SERIES[number_ % len(SERIES)], MARKERS[number_ % len(MARKERS)]
        part = part.sort_values("position")
        ax.errorbar(
            part["position"],
            part["value"],
            yerr=_bars(part),
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=1.5,
            elinewidth=0.9,
            linestyle="--" if model in controls else "-",
            markerfacecolor="white" if model in controls else colour,
            label=drawable(model, 40),
        )
    _layer_ticks(ax, frame)
    ax.axhline(chance_level(found[0]), color=MUTED, linewidth=0.8, zorder=1)
    units = int(frame["n_units"].max()) if scores_units(found[0]) else 1
    over = f" (mean over {units} {drawable(units_noun(found[0]))})" if units > 1 else ""
    dress(ax, ylabel=drawable(metric_name(found[0].metric)) + over)
    _headroom(ax, frame, lowest)
    show_legend(ax)
    stamp(ax, *found)
    return ax


def _bars(part: pd.DataFrame) -> np.ndarray:
    """Lengths of the interval's two sides; nothing where it is unknown."""
    low = (part["value"] - part["low"]).to_numpy()
    high = (part["high"] - part["value"]).to_numpy()
    return np.asarray(np.nan_to_num(np.clip(np.stack([low, high]), 0, None)))


def _layer_ticks(ax: Axes, frame: pd.DataFrame) -> None:
    places = frame.drop_duplicates("position").sort_values("position")
    names, prefix = short_names(list(places["layer"]))
    step = max(1, int(np.ceil(len(names) / 24)))
    longest = max(map(len, names), default=0)
    ax.set_xticks(
        places["position"].to_numpy()[::step],
        [drawable(n, 24) for n in names[::step]],
        rotation=0 if longest * len(names) <= 44 else 60,
        ha="center" if longest * len(names) <= 44 else "right",
        rotation_mode="anchor",
    )
    ax.set_xlabel("layer, input to output" + (f"  ({drawable(prefix)}*)" if prefix else ""), color=INK)


def _ceiling_band(ax: Axes, frame: pd.DataFrame, *, vertical: bool) -> float:
    """Shade the ceiling of the region; return its value (NaN without one)."""
    known = frame[np.isfinite(frame["ceiling"])]
    if known.empty:
        return float("nan")
    row = known.iloc[0]
    low, high = (v if np.isfinite(v) else row["ceiling"] for v in (row["ceiling_low"], row["ceiling_high"]))
    span, line = (ax.axvspan, ax.axvline) if vertical else (ax.axhspan, ax.axhline)
    span(low, high, color=BAND, linewidth=0, zorder=0)
    label = f"noise ceiling {number(row['ceiling'], 2)}"
    line(row["ceiling"], color=CEILING, linewidth=1.1, linestyle=(0, (5, 2)), zorder=1, label=label)
    return float(row["ceiling"])


def _headroom(ax: Axes, frame: pd.DataFrame, ceiling: float) -> None:
    """Start at the chance level where no interval lies below it, so that heights can be compared."""
    low = np.nanmin([*frame["low"], *frame["value"], 0.0])
    high = np.nanmax([*frame["high"], *frame["value"], ceiling, *frame["ceiling_high"], 0.0])
    pad = 0.06 * max(high - low, 1e-3)
    ax.set_ylim(low - pad if low < 0 else 0.0, high + pad)


def model_comparison_numbers(scores: Any, *, region: str | None = None) -> pd.DataFrame:
    """The numbers of `plot_model_comparison`: model, role, layer and the summary of each row."""
    found = as_list(scores, "a model comparison")
    region = default_region(found[0]) if region is None else region
    rows = []
    for one in found:
        role = "control" if is_control(one) else "model"
        name = one.identity["model"] or "model"
        rows.append({"model": name, "role": role, "layer": one.identity["layer"], **_row(one, region)})
    frame = pd.DataFrame(rows)
    frame.insert(0, "region", frame.pop("region"))
    return frame


def plot_model_comparison(
    scores: Any, *, region: str | None = None, allow: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw models and their controls side by side, with intervals and the ceiling band.

    Parameters
    ----------
    scores : sequence of Scores
        One claim per model; ``info["role"] = "control"`` marks a control (hollow).
    region : str, optional
        A region of the unit table; by default all units, or the first region.
    allow : str, optional
        A reason to draw scores of different test sets beside each other; it is written on
        the axes.
    ax : Axes, optional

    Returns
    -------
    Axes
        x: mean over units with its 95 % interval; grey band: noise ceiling.

    Raises
    ------
    AlignmentError
        The scores have different test sets and `allow` gives no reason.
    InputError
        No Scores, another type, or mixed metrics.

    Examples
    --------
    >>> two = [Scores(np.array([v, v]), identity={"model": m}) for m, v in [("net", 0.5), ("pixels", 0.2)]]
    >>> [t.get_text() for t in plot_model_comparison(two).get_yticklabels()]
    ['net', 'pixels']
    """
    found = as_list(scores, "a model comparison")
    hashes = sorted({split_hash(one) for one in found} - {""})
    if len(hashes) > 1 and allow is None:
        raise AlignmentError(
            f"these {len(found)} scores have different test sets (split hashes "
            f"{', '.join(h[:12] for h in hashes)}); "
            "a difference may come from the stimuli and not from the model. Score them on the same folds, or "
            "give allow='reason'"
        )
    frame = model_comparison_numbers(found, region=region)
    ax = new_axes(4.7, 1.5 + 0.36 * len(frame)) if ax is None else ax
    lowest = _ceiling_band(ax, frame, vertical=True)
    places = np.arange(len(frame))
    for place, (_, row) in zip(places, frame.iterrows(), strict=True):
        control = row["role"] == "control"
        colour = MUTED if control else ACCENT
        ax.errorbar(
            [row["value"]],
            [place],
            xerr=_bars(row.to_frame().T.astype({"value": float, "low": float, "high": float})),
            color=colour,
            marker="o",
            markersize=7,
            linewidth=0,
            elinewidth=1.6,
            capsize=3,
            markerfacecolor="white" if control else colour,
        )
        shown = f"{number(row['value'], 2)}"
        ax.annotate(
            shown,
            (row["value"], place),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=INK,
        )
    ax.set_yticks(places, [_row_name(row) for _, row in frame.iterrows()])
    ax.set_ylim(len(frame) - 0.4, -0.7)
    ax.axvline(chance_level(found[0]), color=MUTED, linewidth=0.8, zorder=1)
    note = f"\ndifferent test sets: {drawable(allow, 60)}" if len(hashes) > 1 else ""
    over = f", mean over {drawable(units_noun(found[0]))}" if scores_units(found[0]) else ""
    dress(ax, xlabel=f"{drawable(metric_name(found[0].metric))}{over}{note}", grid="x")
    _sideroom(ax, frame, lowest)
    show_legend(ax)
    stamp(ax, *found)
    return ax


def _row_name(row: pd.Series[Any]) -> str:
    return drawable(row["model"], 32) + ("\ncontrol" if row["role"] == "control" else "")


def _sideroom(ax: Axes, frame: pd.DataFrame, ceiling: float) -> None:
    low = np.nanmin([*frame["low"], *frame["value"], 0.0])
    high = np.nanmax([*frame["high"], *frame["value"], ceiling, *frame["ceiling_high"], 0.0])
    pad = 0.05 * max(high - low, 1e-3)
    ax.set_xlim(low - pad, high + pad)
