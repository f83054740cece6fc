"""Simulated responses: the layer that was planted in each region beside the one that was recovered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from brainalign.design import ALL
from brainalign.report.describe import is_control
from brainalign.report.groups import Group, best_layer
from brainalign.report.naming import isolate, mapping
from brainalign.report.regions import region_units
from brainalign.types import Scores


def planted_rows(groups: Sequence[Group]) -> list[dict[str, str]]:
    """Rows of the table planted against recovered: label, region, planted, recovered, how, verdict.

    Claims tell the layer that most of their outer folds chose; a profile without a claim
    tells its best layer.
    """
    out = []
    for group in groups:
        claims = [s for s in group.claims if not is_control(s) and mapping(s.info, "layer")]
        found = [row for s in claims for row in _of_claim(s)]
        if not found:
            profiles = [part for part in group.profiles.values() if not is_control(part[0])]
            found = [row for part in profiles for row in _of_profile(part)]
        out += [{"label": group.label, **row} for row in found]
    return out


def _row(region: str, planted: str, recovered: str, how: str) -> dict[str, str]:
    return {
        "region": isolate(region, 60),
        "planted": isolate(planted, 60),
        "recovered": isolate(recovered, 60),
        "how": how,
        "verdict": "recovered" if planted == recovered else "not recovered",
    }


def _of_claim(scores: Scores) -> Iterator[dict[str, str]]:
    chosen = mapping(scores.info, "layer")
    for region, planted in mapping(scores.info, "planted").items():
        layers = chosen.get(region, chosen.get(ALL))
        names = [str(n) for n in layers] if isinstance(layers, (list, tuple)) else []
        if names:
            winner, times = Counter(names).most_common(1)[0]
            over = "" if region in chosen else ", one choice for all units"
            yield _row(str(region), str(planted), winner, f"{times} of {len(names)} folds{over}")


def _of_profile(profile: Sequence[Scores]) -> Iterator[dict[str, str]]:
    known = {s.identity["layer"] for s in profile}
    for region, planted in mapping(profile[0].info, "planted").items():
        # another model than the one that was planted has no such layer to recover
        if str(region) in region_units(profile[0]) and str(planted) in known and len(profile) > 1:
            best = best_layer(profile, str(region)).identity["layer"]
            yield _row(str(region), str(planted), best, f"best of {len(profile)} layers")
