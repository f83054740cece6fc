"""How one number of the results came about, topic by topic, in words.

Where the report's methods section has a sentence, it is that sentence; what is added here
are the figures of this one number.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.report import methods as report_methods
from brainalign.report.describe import count_units, is_control, value_text
from brainalign.report.groups import Group, region_value
from brainalign.report.methods_continuous import time_sentences
from brainalign.report.naming import (
    count,
    integer,
    interval,
    listed,
    mapping,
    number,
    p_text,
    percent,
    text_of,
)
from brainalign.report.references import Citations
from brainalign.study.stored import notes_of
from brainalign.types import Scores


class _Unmarked(Citations):
    """References without their marks: there is no list of them below."""

    def __call__(self, text: str) -> str:
        super().__call__(text)
        return ""


@dataclass(frozen=True)
class Subject:
    """The number to be explained.

    `group` holds its scores alone, `beside` all that may be ranked with it, `index` the
    positions of the units of `region`, `row` its row of the score table.
    """

    scores: Scores
    region: str
    index: np.ndarray
    row: Mapping[str, Any]
    group: Group
    beside: Group

    @property
    def info(self) -> Mapping[str, Any]:
        """What the scores say of themselves."""
        return self.scores.info

    @property
    def fitted(self) -> bool:
        """Whether a model was fitted (encoding), rather than two systems compared (RSA, CKA)."""
        return self.group.analysis not in ("rsa", "cka")


def words_of(subject: Subject) -> dict[str, str]:
    """{topic: sentences}, in reading order; topics of which nothing is to be said are left out."""
    told = {topic: " ".join(tell(subject).split()) for topic, tell in TOPICS.items()}
    return {topic: text for topic, text in told.items() if text}


def _cite() -> Citations:
    return _Unmarked()


def _notes(subject: Subject) -> str:
    return "; ".join(notes_of([dict(subject.info)]))


def _value(subject: Subject) -> str:
    """The number with everything that belongs to it alone."""
    row, scores = subject.row, subject.scores
    ends = interval(row["low"], row["high"])
    shown = value_text(scores, row["value"]) + ("" if ends == "–" else f", 95 % interval {ends}")
    units = f"{row['n_scored']} of {count_units(row['n_units'], scores)} of {subject.region}"
    if not subject.fitted:
        units = f"{row['n_scored']} of {count(row['n_units'], 'unit')} of {subject.region}"
        stimuli = count(scores.n_test, "stimulus", "stimuli")
        out = f"{shown}: one comparison over {stimuli}, of {units} together."
    else:
        times = f" and {scores.values.shape[1]} times" if scores.values.ndim == 2 else ""
        out = f"{shown}: the mean over {units}{times}."
    if math.isfinite(row["ceiling"]):
        bound = f"{number(row['ceiling'])} {interval(row['ceiling_low'], row['ceiling_high'])}"
        out += f" Noise ceiling {bound}: {_reached(row)}."
    if math.isfinite(row["p"]):
        out += f" p {_compared(row['p'])}, q {_compared(row['q'])}."
    return out


def _reached(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["normalised"]):
        return "no unit has a ceiling that is certainly above zero"
    return f"{percent(row['normalised'])} of it reached, over {count(row['n_normalised'], 'unit')}"


def _responses(subject: Subject) -> str:
    info = subject.info
    samples, stimuli = integer(info.get("n_samples")), integer(info.get("n_stimuli"))
    parts = [
        count(samples, "sample") if samples else "",
        count(stimuli, "stimulus", "stimuli") if stimuli and info.get("design", "trials") == "trials" else "",
        f"design {text_of(info['design'], 40)}" if info.get("design") else "",
    ]
    told = ", ".join(part for part in parts if part)
    return report_methods._brain_sentence(subject.group, info, _cite()) + (f" {told}." if told else "")


def _model(subject: Subject) -> str:
    own = [s for s in report_methods._model_sentences(subject.group, _cite()) if s]
    told = own
    if mapping(subject.info, "model").get("untrained"):
        told = [*told, "The weights are random (untrained)."]
    if is_control(subject.scores):
        told = [*told, "This is a control model: the claim must be above it."]
    return " ".join(told)


def _preparation(subject: Subject) -> str:
    info = subject.info
    out = time_sentences(info)
    if not out and info.get("design") in ("blocks", "continuous"):
        out = ["Nothing is recorded of a preparation: no high-pass, no detrending, no delays, no confounds."]
    drift = mapping(info, "drift")
    if drift:
        out.append(
            f"{percent(drift.get('median_share'))} of the variance of the responses is slower than "
            f"{number(drift.get('cutoff_s'), 0)} s; {percent(drift.get('expected_share'))} would be expected "
            "of white noise."
        )
    return " ".join(out)


_REPEATS = {
    "average": "trials of one stimulus were averaged in training and in test; a mean weighs as many trials "
    "as it stands for",
    "single": "single trials were fitted and single trials were tested",
    "train_single": "single trials were fitted, means over the trials of a stimulus were tested",
}


def _repeats(subject: Subject) -> str:
    info = subject.info
    if not subject.fitted:
        return "Trials of one stimulus were averaged."
    how = _REPEATS.get(str(info.get("repeats")), "")
    samples, stimuli = integer(info.get("n_samples")), integer(info.get("n_stimuli"))
    if info.get("design") in ("blocks", "continuous"):
        return "Samples in time: nothing was averaged."
    if samples and samples == stimuli:
        return "Every stimulus has one row: there was nothing to average."
    return f"{how[0].upper()}{how[1:]}." if how else ""


_SCALINGS = {
    "trace": "the features of each layer were centred and divided by one number",
    "column": "each feature was z-scored",
    None: "features entered as they are",
}


def _scaling(subject: Subject) -> str:
    responses = "responses were z-scored within each run or session where there are several"
    if not subject.fitted:
        return f"{responses[0].upper()}{responses[1:]}; features entered as they are."
    if "feature_scaling" not in subject.info:
        return ""
    scaling = subject.info["feature_scaling"]
    how = _SCALINGS.get(scaling, f"features were scaled by {text_of(scaling, 40)}")
    own = ", with figures of the training rows of each fold" if scaling is not None else ""
    return f"{how[0].upper()}{how[1:]}{own}; {responses}."


def _split(subject: Subject) -> str:
    info = subject.info
    if not subject.fitted:
        return "Nothing was fitted, so no row was held out."
    splits = mapping(info, "splits")
    out = [report_methods._split_sentence(subject.group, info)]
    rows = splits.get("n_test")
    if isinstance(rows, (list, tuple)) and rows:
        ends = f"{min(rows)}" if min(rows) == max(rows) else f"{min(rows)} to {max(rows)}"
        out.append(f"Each fold tests {ends} rows.")
    if info.get("generalisation"):
        out.append(f"The score speaks of {text_of(info['generalisation'], 200)}.")
    if splits.get("hash"):
        out.append(f"Test rows: {text_of(splits['hash'], 40)} (equal only for equal test sets).")
    return " ".join(part for part in out if part)


def _score(subject: Subject) -> str:
    if not subject.fitted:
        return report_methods._similarity_sentence(subject.group, _cite())
    return report_methods._score_sentence(subject.group, subject.info)


def _penalty(subject: Subject) -> str:
    if not subject.fitted:
        return ""
    estimator = mapping(subject.info, "estimator")
    out = [report_methods._estimator_sentence(subject.info, _cite())]
    alphas = estimator.get("alphas")
    if alphas == "auto":
        out.append("Grid: 20 penalties from 1e-5 to 1e5 times trace(K)/n of the training rows.")
    elif isinstance(alphas, (list, tuple)) and alphas:
        given = [float(value) for value in alphas]
        penalties = count(len(given), "given penalty", "given penalties")
        out.append(f"Grid: {penalties}, {min(given):g} to {max(given):g}.")
    if "alpha_per_target" in estimator:
        whose = "each unit" if estimator["alpha_per_target"] else "all units together"
        out.append(
            f"One penalty for {whose}, the one with the highest {text_of(estimator.get('scoring'), 40)}."
        )
    edges = mapping(subject.info, "penalty")
    total = integer(edges.get("of"))
    if total:
        low, high = integer(edges.get("edge_low")) or 0, integer(edges.get("edge_high")) or 0
        out.append(f"Of {count(total, 'choice')}, {low} lie at the lowest and {high} at the highest penalty.")
    return " ".join(part for part in out if part)


def _layer(subject: Subject) -> str:
    scores, info = subject.scores, subject.info
    name = scores.identity["layer"]
    candidates = info.get("layers")
    candidates = list(candidates) if isinstance(candidates, (list, tuple)) else []
    if info.get("claim") == "descriptive" or not subject.fitted:
        if len(candidates) > 1:
            return f"One of {len(candidates)} layers; the highest of them is no claim."
        return f"Layer {name}." if name else ""
    chosen = mapping(info, "layer")
    votes = _votes(subject, chosen)
    if len(candidates) < 2 or not votes:
        return f"Layer {name}; there was no other to choose from." if name else ""
    shown = listed([f"{layer} ({n})" for layer, n in votes.most_common()], 6)
    whose = {"unit": "each unit", "all": "all units together"}.get(str(info.get("select")), "each region")
    if info.get("combine") in ("concat", "bands", "stack"):
        return f"All {len(candidates)} layers {_weighing(subject)}."
    if info.get("select") == "auto" and set(chosen) == {"all"}:
        whose = "all units together"
    sentence = report_methods._selection_sentence(subject.group, _cite())
    return f"{sentence} One choice for {whose}, among {len(candidates)} layers; chosen (folds): {shown}."


def _weighing(subject: Subject) -> str:
    """How several layers serve together, with the mean weight of each in this region."""
    weights = mapping(subject.info, "space_weights")
    if not weights:
        return "side by side"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a region without any fit
        means = {name: float(np.nanmean(values[subject.index])) for name, values in weights.items()}
    shown = [f"{name} ({value:.2f})" for name, value in sorted(means.items(), key=lambda m: -m[1])]
    return f"together, weighed for each unit; mean weight here: {listed(shown, 6)}"


def _votes(subject: Subject, chosen: Mapping[str, Any]) -> Counter[str]:
    """How often each layer was chosen for this region, over folds (and units)."""
    assert subject.scores.units is not None
    if subject.info.get("select") == "unit":
        names = [str(unit) for unit in subject.scores.units.index[subject.index]]
    else:
        names = [subject.region if subject.region in chosen else "all"]
    return Counter(str(layer) for name in names for layer in chosen.get(name, ()))


def _ceiling(subject: Subject) -> str:
    bound = subject.scores.noise_ceiling
    out = [report_methods._ceiling_sentence(subject.group, _cite())]
    if bound is not None:
        stimuli, low, high = (integer(bound.info.get(k)) for k in ("n_stimuli", "repeats_min", "repeats_max"))
        if stimuli and low and high:
            trials = f"{low}" if low == high else f"{low} to {high}"
            text = text_of(bound.info.get("scores_on"), 40)
            out.append(
                f"It comes from {count(stimuli, 'stimulus', 'stimuli')} with {trials} trials each"
                + (f" and bounds scores on {text}." if text else ".")
            )
    return " ".join(part for part in out if part)


def _interval(subject: Subject) -> str:
    row = subject.row
    known = math.isfinite(row["low"]) and math.isfinite(row["high"])
    return f"The interval is over {row['interval_of']}." if known else "There is no interval."


def _p_value(subject: Subject) -> str:
    if not math.isfinite(subject.row["p"]):
        reason = text_of(subject.info.get("no_p_value"), 300)
        return f"No p-value could be computed: {reason}." if reason else "No p-value was computed for it."
    inference = report_methods._inference_sentences(subject.group, _cite())
    told = [sentence for sentence in inference if sentence.startswith("p-values")]
    if mapping(subject.info, "permutation").get("refit") is True:
        told.append("Every draw was refitted, with its layer and penalty held.")
    return " ".join(told)


def _compared(value: float) -> str:
    text = p_text(value)
    return text if text.startswith("<") else f"= {text}"


def _missing(subject: Subject) -> str:
    row, info = subject.row, subject.info
    out = []
    if row["n_scored"] < row["n_units"]:
        reasons = mapping(info, "nan_reasons")
        why = listed([f"{key}: {n}" for key, n in reasons.items()], 5)
        of_all = " (over all units)" if len(subject.index) < len(subject.scores.values) else ""
        out.append(
            f"{row['n_units'] - row['n_scored']} of {count(row['n_units'], 'unit')} have no score"
            + (f"; {why}{of_all}." if why else "; no reason was recorded.")
        )
    constant = integer(info.get("constant_predictions"))
    if constant:
        out.append(f"{count(constant, 'prediction')} of a unit in a fold did not vary and scored 0 there.")
    gaps = integer(info.get("folds_without_score"))
    if gaps:
        out.append(
            f"{count(gaps, 'unit in a fold', 'units in a fold')} had no score there and were left out."
        )
    return " ".join(out) or ("Every unit has a score." if subject.fitted else "")


def _controls(subject: Subject) -> str:
    if is_control(subject.scores):
        return ""
    rows = []
    for control in (s for s in subject.beside.contenders if is_control(s)):
        value = region_value(control, subject.region)
        if math.isfinite(value):
            layer = control.identity["layer"]
            best = f", best layer {layer}" if control.info.get("claim") == "descriptive" else ""
            rows.append(f"{control.identity['model']}{best} {number(value)}")
    if not rows:
        return "No control model was scored beside it."
    return f"Control models on the same rows: {'; '.join(rows)}."


def _computed(subject: Subject) -> str:
    info = subject.info
    versions = mapping(info, "versions")
    named = ", ".join(f"{name} {text_of(versions[name], 30)}" for name in versions)
    seed = integer(info.get("random_state"))
    parts = [f"seed {seed}" if seed is not None else "", named]
    return f"Computed with {'; '.join(p for p in parts if p)}." if any(parts) else ""


TOPICS: dict[str, Callable[[Subject], str]] = {
    "note": _notes,
    "value": _value,
    "responses": _responses,
    "model": _model,
    "preparation": _preparation,
    "repeats": _repeats,
    "scaling": _scaling,
    "split": _split,
    "metric": _score,
    "penalty": _penalty,
    "layer": _layer,
    "ceiling": _ceiling,
    "interval": _interval,
    "p": _p_value,
    "missing": _missing,
    "controls": _controls,
    "computed": _computed,
}


def shared_topics(numbers: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The topics whose words are the same for all `numbers`."""
    first = numbers[0]
    return {t: text for t, text in first.items() if all(other.get(t) == text for other in numbers)}
