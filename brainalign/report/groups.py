"""Which scores belong beside each other: one brain, one analysis, one metric, one test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from brainalign.report.averages import mean_known, over_times
from brainalign.report.describe import is_control, is_profile, split_hash
from brainalign.report.naming import isolate, metric_name
from brainalign.report.regions import default_region, region_summary, region_units
from brainalign.types import Scores

_ANALYSES = {
    "encoding": "Encoding",
    "rsa": "Representational similarity",
    "cka": "CKA",
    "decoding": "Decoding",
}


@dataclass
class Group:
    """Scores that may be ranked together.

    `claims` models before controls; `profiles` {model label: scores of its layers}.
    """

    dataset: str
    subject: str
    analysis: str
    metric: str
    digest: str
    claims: list[Scores] = field(default_factory=list)
    profiles: dict[str, list[Scores]] = field(default_factory=dict)

    @property
    def all(self) -> list[Scores]:
        """Claims, then the layers of each profile."""
        return [*self.claims, *(s for part in self.profiles.values() for s in part)]

    @property
    def label(self) -> str:
        """Dataset, subject and analysis in a few words."""
        parts = [isolate(self.dataset, 60), isolate(self.subject, 40)]
        analysis = _ANALYSES.get(self.analysis, isolate(self.analysis, 40).capitalize())
        name = ", ".join(p for p in parts if p)
        return " · ".join(p for p in (name, analysis) if p) or metric_name(self.metric)

    @cached_property
    def lead(self) -> Scores:
        """What the headline speaks of: the first model's claim, else its best layer."""
        models = [s for s in self.claims if not is_control(s)]
        if models:
            return models[0]
        profiles = [part for part in self.profiles.values() if not is_control(part[0])]
        return best_layer(profiles[0]) if profiles else self.all[0]

    @cached_property
    def contenders(self) -> list[Scores]:
        """One Scores a model, models before controls: its claim, else the best layer of its profile."""
        claimed = {(s.identity["model"], is_control(s)) for s in self.claims}
        best = [
            best_layer(part)
            for part in self.profiles.values()
            if (part[0].identity["model"], is_control(part[0])) not in claimed
        ]
        return sorted([*self.claims, *best], key=is_control)

    @cached_property
    def regions(self) -> list[str]:
        """Regions of the leading scores, the main one first."""
        names = list(region_units(self.lead))
        first = default_region(self.lead)
        return [first, *(n for n in names if n != first)] if first in names else names


def best_layer(profile: Sequence[Scores], region: str | None = None) -> Scores:
    """The scores with the highest mean in a region (default: its main one)."""
    region = default_region(profile[0]) if region is None else region
    return max(profile, key=lambda s: _or_lowest(region_value(s, region)))


def _or_lowest(value: float) -> float:
    return value if value == value else float("-inf")


def region_row(scores: Scores, region: str | None = None) -> dict[str, Any]:
    """The summary of one region, the main one by default."""
    region = default_region(scores) if region is None else region
    return region_summary(scores, region, region_units(scores)[region])


def region_value(scores: Scores, region: str) -> float:
    """The mean score in a region, NaN where the units have no such region."""
    index = region_units(scores).get(region)
    return float("nan") if index is None else float(mean_known(over_times(scores.values)[index]))


def group_scores(results: Sequence[Scores]) -> tuple[list[Group], list[Scores]]:
    """Sort scores into groups; return them with the scores as they are now labelled.

    Layers that no `claim` describes become a profile where one model brings several.
    """
    labelled = _label_profiles(results)
    groups: dict[tuple[str, ...], list[Group]] = {}
    for scores in labelled:
        identity = scores.identity
        key = (identity["dataset"], identity["subject"], identity["analysis"], scores.metric)
        digest = split_hash(scores)
        matching = [g for g in groups.get(key, []) if digest in ("", g.digest) or g.digest == ""]
        if matching:
            group = matching[0]
            group.digest = group.digest or digest
        else:
            group = Group(*key, digest)
            groups.setdefault(key, []).append(group)
        if is_profile(scores):
            name = ("control " if is_control(scores) else "") + identity["model"]
            group.profiles.setdefault(name, []).append(scores)
        else:
            group.claims.append(scores)
    for group in (found := [g for part in groups.values() for g in part]):
        group.claims.sort(key=is_control)
    return found, labelled


def _label_profiles(results: Sequence[Scores]) -> list[Scores]:
    layers: dict[tuple[str, ...], set[str]] = {}
    for s in results:
        if "claim" not in s.info and s.identity["layer"] not in ("", "selected"):
            layers.setdefault(_model_key(s), set()).add(s.identity["layer"])
    several = {key for key, names in layers.items() if len(names) > 1}
    return [
        replace(s, info={**s.info, "claim": "descriptive"})
        if "claim" not in s.info and _model_key(s) in several and s.identity["layer"] not in ("", "selected")
        else s
        for s in results
    ]


def _model_key(scores: Scores) -> tuple[str, ...]:
    return (*(scores.identity[k] for k in ("dataset", "subject", "analysis", "model")), scores.metric)
