"""Pictures of what each kind of recording adds: brain maps, topographies, time courses, lag curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from brainalign.report import figures_maps as map_figures
from brainalign.report import figures_sensors as sensor_figures
from brainalign.report import figures_time as time_figures
from brainalign.report.describe import fits_units, is_control, stamps, unit_noun, units_noun
from brainalign.report.figures_units import FEW_UNITS
from brainalign.report.groups import Group
from brainalign.report.naming import count, isolate, metric_name, number
from brainalign.report.pictures import Picture
from brainalign.report.pictures_scores import MOST_REGIONS, in_region
from brainalign.report.regions import region_units, scores_units
from brainalign.report.times import peak, time_axis
from brainalign.statistics.multiple_tests import adjust_fdr
from brainalign.types import Scores


def missing_pictures(group: Group) -> list[str]:
    """Sentences on maps that a reader may expect and that could not be drawn."""
    scores = group.lead
    assert scores.units is not None
    out = []
    if map_figures.map_kind(scores) == "surface" and map_figures.why_no_map(scores):
        out.append(f"No brain map: {map_figures.why_no_map(scores)}.")
    if "ch_type" in scores.units.columns and sensor_figures.why_no_topography(scores):
        out.append(f"No topography: {sensor_figures.why_no_topography(scores)}.")
    return out


def _file(kind: str, group: Group) -> str:
    return f"{kind} {group.dataset} {group.subject} {group.analysis}"


def map_pictures(group: Group) -> Iterator[Picture]:
    """The leading scores where their voxels or vertices lie."""
    scores = group.lead
    if map_figures.why_no_map(scores):
        return
    frame = map_figures.brain_map_numbers(scores)
    known = frame[np.isfinite(frame["value"])]
    noun, nouns = unit_noun(scores), units_noun(scores)
    words = f"no {noun} has a score"
    if len(known):
        top = known.loc[known["value"].idxmax()]
        words = f"{count(len(known), noun, nouns)}, highest {number(top['value'])} at {_place(top)}"
    words += _tested(scores, nouns)
    space = isolate(scores.info.get("space") or "", 40)
    where = f"; space: {space}" if space else ""
    yield Picture(
        _file("map", group),
        "Brain map",
        lambda: map_figures.plot_brain_map(scores),
        frame,
        f"{_name(scores)}, {metric_name(scores.metric)} of each {noun}: {words}. {_view(scores)}{where}.",
        f"{group.label}: brain map of {metric_name(scores.metric)}; {words}.",
        stamps([scores]),
    )


def _name(scores: Scores) -> str:
    return isolate(scores.identity["model"] or "Model", 60)


def _place(row: pd.Series) -> str:
    if {"x", "y", "z"} <= set(row.index):
        return ", ".join(f"{a} = {number(float(row[a]), 0)}" for a in "xyz") + " mm"
    if "i" in row.index:
        return f"voxel ({', '.join(str(int(row[a])) for a in 'ijk')})"
    return f"vertex {int(row['vertex'])} of the {isolate(row['hemi'], 12)} hemisphere"


def _view(scores: Scores) -> str:
    if map_figures.map_kind(scores) == "surface":
        return "Inflated cortex from outside (above) and from between the hemispheres (below)"
    if map_figures.is_standard_space(scores):
        return "Glass brain: the highest score along each line of sight; left of the brain on the left"
    return (
        "Slices without a template, position in mm; left of the brain on the left; grey: no score; "
        "light blue: below the scale"
    )


def _tested(scores: Scores, nouns: str) -> str:
    if scores.p_values is None or np.ndim(scores.p_values) != 1:
        return ""
    q = adjust_fdr(np.asarray(scores.p_values))
    known = int(np.isfinite(q).sum())
    return f"; {int((q <= 0.05).sum())} of {known} {nouns} with q ≤ .05"


def topography_pictures(group: Group) -> Iterator[Picture]:
    """The leading scores over the head, at the peaks of their mean."""
    scores = group.lead
    if sensor_figures.why_no_topography(scores) or not np.isfinite(scores.values).any():
        return
    frame = sensor_figures.topography_numbers(scores)
    values = [c for c in frame.columns if c not in ("kind", "sensors", "x", "y")]
    kinds = " and ".join(sensor_figures.kind_name(k) for k in dict.fromkeys(frame["kind"]))
    told = []
    for column in values:
        known = frame[np.isfinite(frame[column])]
        if len(known):
            top = known.loc[known[column].idxmax()]
            when = "" if column == "value" else f" ({column})"
            told.append(f"highest {number(top[column])} at {isolate(top['sensors'], 40)}{when}")
    words = "; ".join(told) or "no sensor has a score"
    timed = scores.values.ndim == 2
    peaks = ". The times are peaks of the mean over all sensors, chosen on these same rows" if timed else ""
    yield Picture(
        _file("topography", group),
        "Topography",
        lambda: sensor_figures.plot_topography(scores),
        frame,
        f"{_name(scores)}, {kinds}, seen from above, nose up: {words}{peaks}. Only the dots were measured.",
        f"{group.label}: topography of {metric_name(scores.metric)}, {kinds}; {words}.",
        stamps([scores]),
    )


def time_pictures(group: Group) -> Iterator[Picture]:
    """Time courses of scores that have a time axis: models, single units, layers."""
    layered = any(len(part) > 1 for part in group.profiles.values())
    # the layers have a figure of their own, which shows the leading one among them
    shown = group.claims if group.claims or layered else [group.lead]
    timed = [s for s in shown if s.values.ndim == 2]
    for region in group.regions[:MOST_REGIONS]:
        chosen = [s for s in timed if region in region_units(s)]
        if chosen:
            yield _time_picture(group, chosen, region)
    yield from _unit_courses(group)
    yield from _layer_courses(group)


def _time_picture(group: Group, chosen: Sequence[Scores], region: str) -> Picture:
    frame = time_figures.time_course_numbers(chosen[0], region=region)
    words = _peak_words(frame, chosen[0])
    many = scores_units(chosen[0]) and len(region_units(chosen[0])[region]) > 1
    lead = f"Mean over {units_noun(chosen[0])}" if many else "Score"
    lead += ", band from the lower to the upper quartile" if many and len(chosen) <= 3 else ""
    tested = [time_figures.time_course_numbers(s, region=region) for s in chosen]
    return Picture(
        _file(f"time {region}", group),
        f"Time course{in_region(region, group)}",
        lambda: time_figures.plot_time_course(chosen, region=region),
        frame,
        f"{lead}; {words}.{_bars(tested)}",
        f"{group.label}: score over time{in_region(region, group)}; {words}.",
        stamps(chosen),
    )


def _bars(frames: Sequence[pd.DataFrame]) -> str:
    """What the bars below the curves are, or that none had to be drawn."""
    tested = [f for f in frames if "q" in f and f["q"].notna().any()]
    if not tested:
        return ""
    if any((f["q"] <= time_figures.LEVEL).any() for f in tested):
        return " Bars below: times with q ≤ .05, corrected over the times of a line."
    return " No time has q ≤ .05, corrected over the times of a line."


def _peak_words(frame: pd.DataFrame, scores: Scores) -> str:
    if not np.isfinite(frame["value"]).any():
        return "no time has a score"
    best = frame.iloc[int(np.nanargmax(frame["value"]))]
    _, seconds = time_axis(scores)
    when = f"{number(best['time'])} s" if seconds else f"sample {best['time']:.0f}"
    return f"highest {number(best['value'])} at {when}"


def _unit_courses(group: Group) -> Iterator[Picture]:
    """A line for each of a few units: what a mean over them would hide."""
    scores = group.lead
    if scores.values.ndim != 2 or not fits_units(scores) or not 2 <= len(scores.values) <= FEW_UNITS:
        return
    assert scores.units is not None
    times, seconds = time_axis(scores)
    frame = pd.DataFrame(scores.values.T, columns=[str(u) for u in scores.units.index])
    frame.insert(0, "time", times)
    tops = [peak(scores, np.array([i])) for i in range(len(scores.values))]
    unit = " s" if seconds else ""
    told = [
        f"{isolate(name, 40)} {number(value)} at {number(when)}{unit}"
        for name, (value, when) in zip(scores.units.index, tops, strict=True)
        if np.isfinite(value)
    ]
    noun = unit_noun(scores)
    tested = (
        [pd.DataFrame({"q": adjust_fdr(row)}) for row in scores.p_values]
        if scores.p_values is not None
        else []
    )
    words = "; ".join(told) or f"no {noun} has a score"
    yield Picture(
        _file(f"time each {noun}", group),
        f"Time course of each {noun}",
        lambda: time_figures.plot_time_course(scores, each=True),
        frame,
        f"{_name(scores)}. Highest: {words}.{_bars(tested)}",
        f"{group.label}: score over time of each {noun}. Highest: {words}.",
        stamps([scores]),
    )


def _layer_courses(group: Group) -> Iterator[Picture]:
    """The layers of a model over time, one figure a region."""
    for part in group.profiles.values():
        layers = [s for s in part if s.values.ndim == 2]
        if len(layers) < 2 or is_control(layers[0]):
            continue
        for region in group.regions[:MOST_REGIONS]:
            chosen = [s for s in layers if region in region_units(s)]
            if len(chosen) < 2:
                continue
            frames = [
                time_figures.time_course_numbers(s, region=region).assign(layer=s.identity["layer"])
                for s in chosen
            ]
            tops = [
                f"{isolate(s.identity['layer'], 40)} {_peak_words(f, s)}"
                for s, f in zip(chosen, frames, strict=True)
            ]
            words = "; ".join(tops[:8]) + (f" and {len(tops) - 8} more" if len(tops) > 8 else "")
            yield Picture(
                _file(f"time layers {region}", group),
                f"Time course of the layers{in_region(region, group)}",
                lambda c=chosen, r=region: time_figures.plot_time_course(c, region=r),  # type: ignore[misc]
                pd.concat(frames, ignore_index=True),
                f"{_name(chosen[0])}, early layers light, late ones dark: {words}.{_bars(frames)}",
                f"{group.label}: score over time of each layer{in_region(region, group)}. {words}.",
                stamps(chosen),
            )


def lag_pictures(group: Group) -> Iterator[Picture]:
    """The scan over lags that continuous scores carry."""
    scanned = [s for s in group.claims if not time_figures.why_no_lag_scan(s)]
    if not scanned:
        return
    frame = time_figures.lag_curve_numbers(scanned)
    _, _, best = time_figures.lag_scan(scanned[0])
    words = f"best lag {number(best, 2)} s" if best is not None else "no best lag is recorded"
    known = frame.dropna(subset=["value"])
    tops = known.loc[known.groupby(["model", "region"], sort=False)["value"].idxmax()]
    told = "; ".join(
        f"{isolate(r['region'], 40)} {number(r['value'])} at {number(r['lag'], 2)} s"
        for _, r in tops.head(8).iterrows()
    )
    yield Picture(
        _file("lags", group),
        "Score against lag",
        lambda: time_figures.plot_lag_curve(scanned),
        frame,
        f"How far the responses follow the features, one lag at a time; {words}. Highest: {told}. "
        "The scan describes: its maximum was chosen on the rows it is scored on.",
        f"{group.label}: score against lag; {words}. Highest: {told}.",
        stamps(scanned),
    )
