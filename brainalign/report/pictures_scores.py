"""Pictures of mean scores: models and controls, layer profiles, distributions over units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from brainalign.design import ALL
from brainalign.report import figures_scores as score_figures
from brainalign.report import figures_units as unit_figures
from brainalign.report.describe import is_profile, stamps, units_noun
from brainalign.report.groups import Group
from brainalign.report.naming import isolate, metric_name, number
from brainalign.report.pictures import Picture
from brainalign.report.regions import region_units, scores_units

MOST_REGIONS = 6


def in_region(region: str, group: Group) -> str:
    """The region for the end of a title, "" where there is only one for all units."""
    return f" in {isolate(region, 60)}" if region != ALL or len(group.regions) > 1 else ""


def _mean_of(group: Group) -> str:
    name = metric_name(group.metric)
    return f"mean {name} over {units_noun(group.lead)}" if scores_units(group.lead) else name


def _points(frame: pd.DataFrame, name: str, most: int = 20) -> str:
    """The numbers of a figure in a row of words."""
    shown = [
        f"{isolate(row[name] or 'model', 40)} {number(row['value'])}"
        + (f" ({number(row['low'])} to {number(row['high'])})" if np.isfinite(row["low"]) else "")
        for _, row in frame.head(most).iterrows()
    ]
    rest = f" and {len(frame) - most} more" if len(frame) > most else ""
    return "; ".join(shown) + rest


def _ceiling_words(frame: pd.DataFrame) -> str:
    known = frame["ceiling"][np.isfinite(frame["ceiling"])]
    return f" Noise ceiling {number(known.iloc[0])}." if len(known) else " No noise ceiling."


def comparison_pictures(group: Group) -> Iterator[Picture]:
    """Claims beside their controls, one figure a region."""
    if len(group.contenders) < 2:
        return
    chosen = any(map(is_profile, group.contenders))
    for region in group.regions[:MOST_REGIONS]:
        claims = [s for s in group.contenders if region in set(region_units(s))]
        if not claims:
            continue
        frame = score_figures.model_comparison_numbers(claims, region=region)
        title = f"{group.label}: models and controls{in_region(region, group)}"
        alt = f"{title}, {_mean_of(group)} with 95 % interval. {_points(frame, 'model')}."
        yield Picture(
            f"models {region} {group.dataset} {group.subject} {group.analysis}",
            f"Models and controls{in_region(region, group)}",
            lambda c=claims, r=region: score_figures.plot_model_comparison(c, region=r),  # type: ignore[misc]
            frame,
            "Filled: model; hollow: control; bars: 95 % interval"
            + ("; grey band: noise ceiling" if np.isfinite(frame["ceiling"]).any() else "")
            + (". Each model by its best layer, chosen on these same rows." if chosen else "."),
            alt + _ceiling_words(frame),
            stamps(claims),
        )


def profile_pictures(group: Group) -> Iterator[Picture]:
    """Layer profiles, one figure a region."""
    layers = [s for part in group.profiles.values() if len(part) > 1 for s in part]
    if not layers:
        return
    how = "Similarity of each layer" if group.analysis in ("rsa", "cka") else "Held-out score of each layer"
    for region in group.regions[:MOST_REGIONS]:
        chosen = [s for s in layers if region in set(region_units(s))]
        if not chosen:
            continue
        frame = score_figures.layer_profile_numbers(chosen, region=region)
        known = frame[np.isfinite(frame["value"])]
        best = "no layer has a score"
        if len(known):
            top = known.loc[known["value"].idxmax()]
            best = (
                f"best layer {isolate(top['layer'], 40)} of {isolate(top['model'], 40)} at "
                f"{number(top['value'])}"
            )
        yield Picture(
            f"layers {region} {group.dataset} {group.subject} {group.analysis}",
            f"Layer profile{in_region(region, group)}",
            lambda c=chosen, r=region: score_figures.plot_layer_profile(c, region=r),  # type: ignore[misc]
            frame,
            f"{how}; {best}.",
            f"{group.label}: layer profile{in_region(region, group)}, {_mean_of(group)} by layer. "
            f"{_points(frame, 'layer')}.{_ceiling_words(frame)}",
            stamps(chosen),
        )


def unit_pictures(group: Group) -> Iterator[Picture]:
    """The distribution of the leading scores over units, by region."""
    scores = group.lead
    if scores.values.ndim == 2 and len(scores.values) <= unit_figures.FEW_UNITS:
        return  # each has a time course of its own, which a mean over times would hide
    parts = region_units(scores)
    for region in group.regions[:MOST_REGIONS]:
        if len(parts[region]) < 3:
            continue
        frame = unit_figures.unit_score_numbers(scores, region=region)
        known = frame["value"][np.isfinite(frame["value"])]
        nouns = units_noun(scores)
        words = f"{len(known)} {nouns} have a score"
        if len(known):
            low, middle, high = np.percentile(known, [0, 50, 100])
            words = (
                f"{len(known)} {nouns}: lowest {number(low)}, median {number(middle)}, highest {number(high)}"
            )
        yield Picture(
            f"units {region} {group.dataset} {group.subject} {group.analysis}",
            f"Scores of single {nouns}{in_region(region, group)}",
            lambda r=region: unit_figures.plot_unit_scores(scores, region=r),  # type: ignore[misc]
            frame,
            f"{isolate(scores.identity['model'] or 'Model', 60)}, {words}"
            + (". Grey: their noise ceilings." if "noise_ceiling" in frame else "."),
            f"{group.label}: distribution of the scores of {nouns}{in_region(region, group)}. {words}.",
            stamps([scores]),
        )
