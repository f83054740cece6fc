"""The methods paragraph and its references, written from what the results say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainalign.report.groups import Group
from brainalign.report.methods_continuous import gap_words, time_sentences
from brainalign.report.naming import (
    count,
    integer,
    isolate,
    listed,
    mapping,
    metric_name,
    real,
    split_method,
    text_of,
)
from brainalign.report.references import Citations
from brainalign.report.regions import region_units
from brainalign.report.rows import row_noun
from brainalign.types import RDMs


def methods(groups: Sequence[Group], rdms: Sequence[RDMs]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the paragraphs of the methods section and the numbered references.

    Each paragraph is a pair of heading ("" for none) and text. Groups that were run alike
    share one paragraph, with their names as its heading.
    """
    cite = Citations()
    paragraphs: dict[str, list[str]] = {}
    for group in groups:
        paragraphs.setdefault(_paragraph(group, cite), []).append(group.label)
    several = len(paragraphs) > 1
    out = [(listed(labels, 4) if several else "", text) for text, labels in paragraphs.items()]
    if rdms:
        out.append(("", _rdm_paragraph(cite)))
    out.append(("", "Stimuli are not shown in this report, whatever their licence."))
    return out, cite.texts


def _paragraph(group: Group, cite: Citations) -> str:
    info = group.lead.info
    sentences = [_brain_sentence(group, info, cite), *_model_sentences(group, cite)]
    if group.analysis in ("rsa", "cka"):
        sentences.append(_similarity_sentence(group, cite))
    else:
        sentences += time_sentences(info)
        sentences += [
            _estimator_sentence(info, cite),
            _split_sentence(group, info),
            _score_sentence(group, info),
        ]
    sentences += [
        _selection_sentence(group, cite),
        _ceiling_sentence(group, cite),
        *_inference_sentences(group, cite),
    ]
    return " ".join(s for s in sentences if s)


def _brain_sentence(group: Group, info: Any, cite: Citations) -> str:
    dataset = mapping(info, "dataset")
    name = isolate(group.dataset, 80)
    if not name:
        return ""
    parts = [text_of(info.get(k) or dataset.get(k), 120) for k in ("species", "recording")]
    detail = "; ".join(p for p in parts if p)
    citation = text_of(dataset.get("citation") or info.get("citation"), 400)
    subject = f", {isolate(group.subject, 60)}" if group.subject else ""
    return (
        f"Responses: {name}{subject}{f' ({detail})' if detail else ''}{cite(citation) if citation else ''}."
    )


def _model_sentences(group: Group, cite: Citations) -> list[str]:
    out = []
    for scores in {s.identity["model"]: s for s in reversed(group.all)}.values():
        model = mapping(scores.info, "model")
        name = isolate(scores.identity["model"], 80)
        if not name:
            continue
        parts = [
            f"{label} {text_of(model[key], 80)}"
            for key, label in (
                ("weights_digest", "weights"),
                ("preprocessing", "preprocessing"),
                ("pool", "pooling"),
            )
            if model.get(key)
        ]
        citation = text_of(model.get("citation"), 400)
        if parts or citation:
            detail = f": {'; '.join(parts)}" if parts else ""
            out.append(f"Activations of {name}{cite(citation) if citation else ''}{detail}.")
    return out[::-1]


def _estimator_sentence(info: Any, cite: Citations) -> str:
    estimator = mapping(info, "estimator")
    name = text_of(estimator.get("name") or info.get("estimator"), 60)
    if not name:
        return ""
    ridge = "ridge" in name.lower()
    scaling = text_of(info.get("feature_scaling"), 60)
    what = "activations of each layer" if _is_network(info) or _has_layers(info) else "features"
    out = f"Responses were regressed on the {what} with {name}{cite.known('ridge') if ridge else ''}"
    if ridge:
        out += ", the penalty chosen on inner folds of the training rows"
    return out + (f"; features were scaled by {scaling}." if scaling else ".")


def _is_network(info: Any) -> bool:
    """Whether the features are activations; indicators of conditions name a model alone."""
    return any(mapping(info, "model").get(key) for key in ("weights_digest", "preprocessing", "pool"))


def _split_sentence(group: Group, info: Any) -> str:
    splits = mapping(info, "splits")
    folds, groups = integer(splits.get("n_folds")), integer(splits.get("n_groups"))
    method = split_method(splits)
    if not folds:
        return ""
    # a sample in time, or a trial of an unknown stimulus, is a group of its own: their number says nothing
    tied = groups if row_noun(group.lead) == "stimulus" else None
    over = f" of {count(tied, 'group')} of rows that must stay together" if tied else ""
    gap = gap_words(info)
    joined = text_of(info.get("joined"), 40)
    by = f" Features and responses were joined {joined}." if joined else ""
    how = (f", {method}" if method else "") + (f"; {gap}" if gap else "")
    return f"Scores come from {count(folds, 'outer fold')}{over}{how}.{by}"


def _score_sentence(group: Group, info: Any) -> str:
    over = text_of(info.get("scoring_over"), 40)
    how = {
        "folds": "computed in each outer fold and averaged",
        "pooled": (
            "computed once over the pooled test rows, which is biased downwards when nothing is predicted"
        ),
    }.get(over, "")
    return f"The score is {metric_name(group.metric)}{f', {how}' if how else ''}."


def _similarity_sentence(group: Group, cite: Citations) -> str:
    key = "cka" if group.analysis == "cka" or group.metric.startswith("cka") else "rsa"
    info = group.lead.info
    distance = text_of(info.get("distance"), 60)
    name = metric_name(group.metric)
    if key == "rsa":
        name = f"{name.removeprefix('RDM ')} between RDMs" + (f" ({distance} distance)" if distance else "")
    return f"Layers and regions were compared by {name}{cite.known(key)}."


def _selection_sentence(group: Group, cite: Citations) -> str:
    nested = any(s.identity["layer"] == "selected" or s.info.get("claim") == "nested" for s in group.claims)
    out = ""
    layered = [s.info for s in group.claims if _has_layers(s.info)]
    if nested and layered:
        chosen = {
            "concat": "penalties were",
            "bands": "penalties and the weights of the layers were",
            "stack": "penalties and the weights of the layers were",
        }.get(text_of(layered[0].get("combine"), 20), "the layer was")
        out = (
            f"The claim is nested: {chosen} chosen on inner folds and scored on rows that no "
            f"choice saw{cite.known('nested')}."
        )
    if group.profiles:
        how = (
            "compares every layer with the same responses"
            if group.analysis in ("rsa", "cka")
            else "scores every layer on held-out rows"
        )
        out += (
            " " if out else ""
        ) + f"The layer profile {how} and is descriptive: its maximum is not a claim."
    return out


def _has_layers(info: Any) -> bool:
    layers = info.get("layers")
    return isinstance(layers, (list, tuple)) and len(layers) > 1


def _ceiling_sentence(group: Group, cite: Citations) -> str:
    ceiling = next((s.noise_ceiling for s in group.all if s.noise_ceiling is not None), None)
    if ceiling is None:
        reason = next((text_of(s.info["no_ceiling"]) for s in group.all if s.info.get("no_ceiling")), "")
        return f"No noise ceiling could be computed{f': {reason}' if reason else ''}."
    named = {
        "variance_components": "variance components between and within stimuli",
        "split_half": "split halves with the Spearman-Brown "
        f"correction{cite.known('spearman_brown') if ceiling.method == 'split_half' else ''}",
        "rsa_leave_one_out": (
            "the agreement of subjects: the lower end leaves one out, the upper end "
            f"does not{cite.known('rsa_ceiling') if ceiling.method == 'rsa_leave_one_out' else ''}"
        ),
    }.get(ceiling.method, text_of(ceiling.method, 80).replace("_", " "))
    out = f"The noise ceiling comes from {named}"
    halves = ceiling.info.get("split_half")
    if isinstance(halves, np.ndarray) and np.isfinite(halves).any():
        out += (
            f"; split halves (Spearman-Brown{cite.known('spearman_brown')}) give "
            f"{np.nanmean(halves):.3f} beside it"
        )
    return out + (
        ". Normalised scores are pooled ratios: the sum of scores over the sum of ceilings of the "
        "units whose "
        "ceiling's interval lies above zero."
    )


def _inference_sentences(group: Group, cite: Citations) -> list[str]:
    tested = next((s for s in group.all if s.p_values is not None), None)
    out = []
    described = next((text_of(s.info["interval"], 160) for s in group.all if s.info.get("interval")), "")
    if described:
        out.append(f"Intervals: {described}.")
    if tested is None:
        reason = next((text_of(s.info["no_p_value"], 300) for s in group.all if s.info.get("no_p_value")), "")
        return [*out, f"No p-value could be computed: {reason}."] if reason else out
    permutation = mapping(tested.info, "permutation")
    draws = integer(permutation.get("n"))
    exchange = text_of(permutation.get("exchange"), 80)
    detail = f" from {count(draws, 'permutation')}" if draws else ""
    detail += f" ({exchange})" if exchange else ""
    text = f"p-values are (b + 1)/(m + 1){detail}{cite.known('permutation')}"
    if permutation.get("region_p"):
        text += "; the p of a region is that of its mean score under the same permutations"
    elif any(len(index) > 1 for index in region_units(tested).values()):
        text += (
            "; the p of a region is a bound from the median of its units that holds under any "
            f"dependence{cite.known('median_p')}"
        )
    out.append(
        f"{text}; q corrects for the false discovery rate over the whole table shown{cite.known('fdr')}."
    )
    return out


def _rdm_paragraph(cite: Citations) -> str:
    return (
        f"RDMs{cite.known('rsa')} are drawn as percentiles over all pairs. The layer beside a region "
        "is the one whose RDM "
        "has the highest Spearman correlation with it, chosen on these same stimuli. The "
        "two-dimensional pictures are "
        f"classical multidimensional scaling{cite.known('mds')} of the dissimilarities; the network's "
        "is turned to match the brain's."
    )


def seeds(groups: Sequence[Group]) -> str:
    """The random seeds in use, as text."""
    found = [s.info.get("random_state") for g in groups for s in g.all]
    known = sorted({int(v) for v in (real(x) for x in found) if v is not None})
    return ", ".join(map(str, known))
