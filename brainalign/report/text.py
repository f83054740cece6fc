"""What the report says in words: the claim, what was run, how far it generalises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainalign.design import ALL
from brainalign.report.alarm import ALARM
from brainalign.report.alarms import standing_alarms
from brainalign.report.averages import over_times
from brainalign.report.describe import (
    chance_level,
    count_units,
    fits_units,
    is_control,
    is_profile,
    units_noun,
    value_text,
)
from brainalign.report.groups import Group, region_row
from brainalign.report.naming import (
    count,
    integer,
    interval,
    isolate,
    listed,
    mapping,
    number,
    percent,
    split_method,
    text_of,
)
from brainalign.report.regions import default_region, region_units, scores_units
from brainalign.report.rows import row_noun, rows_noun
from brainalign.report.times import peak, time_axis
from brainalign.types import RDMs, Scores

_GENERALISATION = {
    "trials": "Tested on stimuli that no training row showed: the claim holds for new stimuli of the "
    "same kind "
    "in the same subject. It says nothing about other subjects.",
    "blocks": "Tested on runs that no training row came from: the claim holds for new runs of the "
    "same subject.",
    "continuous": "Tested on runs, stories or stretches of time kept apart from training: the claim "
    "holds for new "
    "stretches of the same material in the same subject.",
}
_VERBS = {"encoding": "predicts", "decoding": "decodes", "": "scores"}


def headline(group: Group, scores: Scores | None = None) -> dict[str, str]:
    """The claim of a group (or of these scores of it) in one sentence, with the figures that stand beside it.

    Returns `sentence`, `value`, `interval`, `ceiling`, `normalised`, `n` (each text, "" or a
    dash where unknown) and `caution`, "" or why the number is not a claim.
    """
    scores = group.lead if scores is None else scores
    region = group.regions[0] if group.regions else ALL
    if region not in region_units(scores):
        region = default_region(scores)
    row = region_row(scores, region)
    model = isolate(scores.identity["model"], 80) or "The model"
    layer = scores.identity["layer"]
    own_name = layer in ("", "selected", scores.identity["model"])
    named = model if own_name else f"{model} (layer {isolate(layer, 60)})"
    sentence = (
        f"{named} {_verb(scores, row)} {_brain(group, scores, region, row)} with "
        f"{value_text(scores, row['value'])}"
    )
    if scores.values.ndim == 2:
        sentence += f", {_over_time(scores, region)}"
    if np.isfinite(row["low"]):
        sentence += f" (95 % interval {number(row['low'])} to {number(row['high'])})"
    if np.isfinite(row["normalised"]):
        sentence += f", {percent(row['normalised'])} of the noise ceiling"
    elif np.isfinite(row["ceiling"]):
        sentence += f", with a noise ceiling of {number(row['ceiling'])}"
    if scores.n_test:
        # nothing is fitted to a similarity, so no stimulus is held out
        kind = ("test " if row_noun(scores) == "sample" else "held-out ") if fits_units(scores) else ""
        nouns = f"{kind}{row_noun(scores)}", f"{kind}{rows_noun(scores)}"
        sentence += f", on {count(scores.n_test, *nouns)}"
    return {
        "sentence": sentence + ".",
        "value": number(row["value"], 2) if abs(row["value"]) >= 0.1 else number(row["value"]),
        "interval": interval(row["low"], row["high"]),
        "interval_of": row["interval_of"],
        "ceiling": number(row["ceiling"]),
        "ceiling_interval": interval(row["ceiling_low"], row["ceiling_high"]),
        "normalised": percent(row["normalised"]),
        "n_normalised": _pooled(scores, row),
        **_counts(scores, row),
        "test_name": f"Test {rows_noun(scores)}",
        "n_test": f"{scores.n_test:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if scores.n_test else "–",
        "caution": _caution(group, scores),
    }


def _over_time(scores: Scores, region: str) -> str:
    """Over which times a score is averaged, and where it is highest."""
    times, seconds = time_axis(scores)
    unit = " s" if seconds else ""
    top, when = peak(scores, region_units(scores)[region])
    where = "the mean over one time" if len(times) == 1 else "the mean over all times"
    if len(times) > 1 and seconds:
        where = f"the mean from {number(times[0], 2)} to {number(times[-1], 2)} s"
    return f"{where}, highest {number(top)} at {number(when)}{unit}" if np.isfinite(top) else where


def _pooled(scores: Scores, row: Any) -> str:
    """Over which units the share of the ceiling is pooled; "" where a row is a whole region."""
    if not scores_units(scores):
        return ""
    units = f"{row['n_normalised']} of {count_units(int(row['n_units']), scores)}"
    return f"pooled over {units}{', at times with a ceiling above 0' if scores.values.ndim == 2 else ''}"


def _counts(scores: Scores, row: Any) -> dict[str, str]:
    """How many units lie behind the headline, and what the rows of the scores are called."""
    assert scores.units is not None
    n_rows, n_scored = len(scores.values), int(np.isfinite(over_times(scores.values)).sum())
    if scores_units(scores):
        n_rows, n_scored = row["n_units"], row["n_scored"]
    shown = f"{row['n_scored']} of {row['n_units']}" if row["n_scored"] < row["n_units"] else row["n_units"]
    unsaid = not fits_units(scores) and "n_units" not in scores.units
    return {
        "n_units": "–" if unsaid else str(shown),
        "rows_name": f"{units_noun(scores).capitalize()} with a score",
        "n_rows": f"{n_scored} of {n_rows}" if n_scored < n_rows else str(n_rows),
    }


def _verb(scores: Scores, row: Any) -> str:
    chance = chance_level(scores)
    if not np.isfinite(row["value"]):
        return "has no score for"
    if row["value"] <= chance or (np.isfinite(row["low"]) and row["low"] <= chance):
        return "does not score reliably above chance for"
    return _VERBS.get(scores.identity["analysis"], "is represented like")


def _brain(group: Group, scores: Scores, region: str, row: Any) -> str:
    units = count_units(int(row["n_scored"]), scores)
    where = ", ".join(p for p in (isolate(group.dataset, 60), isolate(group.subject, 40)) if p)
    per_region = not fits_units(scores)
    what = isolate(region, 60) if region != ALL else "the responses"
    if per_region:
        return f"{what} ({where})" if where else what
    place = f" in {isolate(region, 60)}" if region != ALL else ""
    return f"{units}{place} ({where})" if where else f"{units}{place}"


def _caution(group: Group, scores: Scores) -> str:
    loud = [a.title.lower() for a in standing_alarms([group]) if a.level == ALARM]
    parts = []
    if is_profile(scores):
        parts.append("this layer was chosen on the rows that it is scored on, so the number is optimistic")
    if is_control(scores):
        parts.append("only a control model was scored")
    if loud:
        parts.append(f"standing alarms: {listed(loud)}")
    return f"Read with care: {'; '.join(parts)}." if parts else ""


def generalisation(group: Group) -> str:
    """How far the scores of a group reach beyond the rows that were seen."""
    info = group.lead.info
    said = isolate(str(info.get("generalisation") or "").rstrip("."), 500)
    if said:
        return f"These scores speak of {said}. Nothing beyond that was tested."
    if group.analysis in ("rsa", "cka"):
        return (
            "No parameter was fitted to the responses: the similarity describes these stimuli and "
            "this subject; "
            "other stimuli may give another order of layers."
        )
    return _GENERALISATION.get(
        str(info.get("design")),
        "Not recorded: these scores do not say how their test rows were kept apart from training.",
    )


def facts(group: Group) -> list[tuple[str, str]]:
    """What was run and on what, as pairs of term and text; unknown ones are left out."""
    scores = group.lead
    info = scores.info
    dataset = mapping(info, "dataset")
    models = [s for s in group.all if not is_control(s)]
    controls = [s for s in group.all if is_control(s)]
    pairs = [
        ("Dataset", _names([group.dataset]) or text_of(dataset.get("name"))),
        ("Subject or session", _names([group.subject])),
        ("Species", text_of(info.get("species") or dataset.get("species"))),
        ("Recording", text_of(info.get("recording") or dataset.get("recording"))),
        ("Design", text_of(info.get("design"))),
        _rows(scores),
        ("Units", _units(group, scores)),
        ("Model", _names([s.identity["model"] for s in models])),
        ("Layers", _layers(models)),
        ("Controls", _names([s.identity["model"] for s in controls])),
        ("Estimator", _estimator(info)),
        ("Splits", _splits(scores)),
        ("Repeats", text_of(info.get("repeats")) if row_noun(scores) == "stimulus" else ""),
        ("Layer chosen", _chosen(scores)),
        ("Licence of the dataset", text_of(dataset.get("licence") or info.get("licence"))),
    ]
    return [(term, text) for term, text in pairs if text]


def _rows(scores: Scores) -> tuple[str, str]:
    """How many stimuli, trials or samples there are."""
    noun, nouns = row_noun(scores), rows_noun(scores)
    n = integer(scores.info.get("n_stimuli"))
    if n is None and noun != "sample":
        n = integer(mapping(scores.info, "splits").get("n_groups"))
    return nouns.capitalize(), count(n, noun, nouns) if n else ""


def _units(group: Group, scores: Scores) -> str:
    if not fits_units(scores):
        # the row of all units is no region of its own
        n = sum(region != ALL for region in group.regions)
        return count(n, "region") if n else ""
    total = count_units(len(scores.values), scores)
    regions = [r for r in group.regions if r != ALL]
    if len(regions) > 1:
        return f"{total} in {count(len(regions), 'region')}"
    scored = int(region_row(scores)["n_scored"])
    return total if scored == len(scores.values) else f"{total}, {scored} with a score"


def _names(names: Sequence[str]) -> str:
    return listed([isolate(n, 80) for n in dict.fromkeys(names) if n], 8)


def _layers(models: Sequence[Scores]) -> str:
    for scores in models:
        layers = scores.info.get("layers")
        if isinstance(layers, (list, tuple)) and layers:
            shown = [isolate(x, 60) for x in layers]
            return f"{len(shown)}: " + (
                listed(shown, 4) if len(shown) < 5 else f"{shown[0]}, {shown[1]} … {shown[-1]}"
            )
    named = [s for s in models if s.identity["layer"] not in ("selected", s.identity["model"])]
    return _names([s.identity["layer"] for s in named])


def _estimator(info: Any) -> str:
    estimator = mapping(info, "estimator")
    return text_of(estimator.get("name") or info.get("estimator"), 120)


def _splits(scores: Scores) -> str:
    splits = mapping(scores.info, "splits")
    folds = integer(splits.get("n_folds"))
    method = split_method(splits)
    shown = f"{count(folds, 'fold')}" if folds else ""
    return ", ".join(p for p in (shown, method) if p)


def _chosen(scores: Scores) -> str:
    """Which layer the inner folds chose, region by region, with how often."""
    chosen = mapping(scores.info, "layer")
    if scores.identity["layer"] != "selected" or not chosen or len(chosen) > 12:
        return ""
    parts = []
    for region, layers in chosen.items():
        names = [str(x) for x in layers] if isinstance(layers, (list, tuple)) else [str(layers)]
        tally = sorted(((names.count(n), n) for n in dict.fromkeys(names)), key=lambda t: -t[0])
        picked = ", ".join(f"{isolate(n, 40)} ({c} of {len(names)} folds)" for c, n in tally[:3])
        parts.append(f"{isolate(region, 40)}: {picked}" if len(chosen) > 1 or region != ALL else picked)
    return "; ".join(parts)


def rdm_facts(rdms: RDMs) -> str:
    """One sentence on what an RDM was computed from."""
    distance = text_of(rdms.info.get("distance"), 60)
    named = f"{distance} distance" if distance else "a distance that is not recorded"
    assert rdms.table is not None
    kinds = list(dict.fromkeys(str(k) for k in rdms.table["kind"])) if "kind" in rdms.table else []
    lead = {"brain": "Brain: ", "model": "Network: "}.get(kinds[0], "") if len(kinds) == 1 else ""
    return (
        f"{lead}{count(len(rdms), 'RDM')} over "
        f"{count(len(rdms.stimulus_id), 'stimulus', 'stimuli')}, {named}, in the order of the file."
    )
