"""Standing alarms: what every report checks, whether it looks well or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from brainalign.report.alarm import ALARM, NOTE, OPEN, QUIET, Alarm
from brainalign.report.alarms_continuous import best_lag, drift, time_control
from brainalign.report.averages import over_times, unit_ceilings
from brainalign.report.describe import chance_level, count_units, is_control, unit_noun, value_text
from brainalign.report.groups import Group, region_row, region_value
from brainalign.report.naming import (
    count,
    integer,
    interval,
    isolate,
    listed,
    mapping,
    number,
    percent,
    real,
)
from brainalign.report.regions import region_units, summaries
from brainalign.statistics.multiple_tests import few_permutations
from brainalign.types import Scores

_ABOVE_CEILING = 1.05
_MANY_MISSING = 0.05
_MANY_EDGES = 0.10
_FEW_TEST_ROWS = 20


def standing_alarms(groups: Sequence[Group]) -> list[Alarm]:
    """Run every check on every group that it applies to; alarms first, then notes, then what stayed quiet.

    Checks that stayed quiet in all groups are told once.
    """
    made = [(check(group), group) for group in groups for check in CHECKS]
    found = [_with_place(alarm, group) for alarm, group in made if alarm is not None]
    found += [a for a in (_different_tests(groups), _too_few_draws(groups)) if a is not None]
    loud = [a for a in found if a.level in (ALARM, NOTE)]
    loud.sort(key=lambda a: (ALARM, NOTE).index(a.level))
    disturbed = {a.title for a in loud}
    quiet: dict[str, Alarm] = {}
    for a in sorted(found, key=lambda a: a.level == OPEN):
        if a.level in (QUIET, OPEN) and a.title not in disturbed:
            quiet.setdefault(a.title, a)
    return loud + [Alarm(a.level, a.title, a.text if len(groups) == 1 else "") for a in quiet.values()]


def _with_place(alarm: Alarm, group: Group) -> Alarm:
    return Alarm(alarm.level, alarm.title, alarm.text, group.label)


def _subject(scores: Scores) -> str:
    layer = scores.identity["layer"]
    name = isolate(scores.identity["model"] or "the model", 60)
    own_name = layer in ("", "selected", scores.identity["model"])
    return name if own_name else f"{name}, {isolate(layer, 60)}"


def _overruled(group: Group) -> Alarm:
    reasons = list(dict.fromkeys(isolate(s.info["allow"], 400) for s in group.all if s.info.get("allow")))
    title = "A guard was overruled"
    if not reasons:
        return Alarm(QUIET, title, "No guard against leakage was overruled.")
    text = f'The protection against leakage was switched off with allow="{"; ".join(reasons)}". '
    return Alarm(
        ALARM, title, text + "These scores may be inflated by rows shared between training and test."
    )


def _below_chance(group: Group) -> Alarm:
    title = "Below chance"
    worst = []
    for scores in group.claims or [group.lead]:
        if is_control(scores):
            continue
        for row in summaries(scores):
            if row["value"] < chance_level(scores) and (
                row["high"] < chance_level(scores) or row["n_scored"] > 1
            ):
                worst.append((row["high"] < chance_level(scores), scores, row))
    if not worst:
        return Alarm(QUIET, title, "No region mean lies below chance.")
    certain, scores, row = sorted(worst, key=lambda w: (not w[0], w[2]["value"]))[0]
    text = (
        f"{_subject(scores)}, region {isolate(row['region'])}: {value_text(scores, row['value'])} "
        f"{interval(row['low'], row['high'])} lies below chance ({number(chance_level(scores), 1)}). "
        "Wrongly joined rows or labels are the usual cause; small samples scored over pooled folds another."
    )
    return Alarm(ALARM if certain else NOTE, title, text)


def _above_ceiling(group: Group) -> Alarm:
    title = "Above the noise ceiling"
    if all(s.noise_ceiling is None for s in group.all):
        return Alarm(NOTE, "No noise ceiling", _why_no_ceiling(group))
    for scores in group.all:
        for row in summaries(scores):
            if row["normalised"] > _ABOVE_CEILING:
                text = (
                    f"{_subject(scores)}, region {isolate(row['region'])}: "
                    f"{value_text(scores, row['value'])} is "
                    f"{percent(row['normalised'])} of its ceiling. No model can do better than the "
                    "noise allows: "
                    "leakage, or a ceiling estimated on other rows, should be ruled out first."
                )
                return Alarm(ALARM, title, text)
    share = _share_above(group.lead)
    if share > 0.1:
        text = f"{percent(share)} of the units score above the upper end of their own ceiling's interval."
        return Alarm(NOTE, title, text)
    return Alarm(QUIET, title, "No region scores above its noise ceiling.")


def _why_no_ceiling(group: Group) -> str:
    reason = next(
        (isolate(str(s.info["no_ceiling"]), 300) for s in group.all if s.info.get("no_ceiling")), ""
    )
    because = f": {reason}" if reason else ": the scores carry none (repeated presentations would be needed)"
    return (
        f"There is no noise ceiling{because}. How much of the explainable response is explained stays open."
    )


def _share_above(scores: Scores) -> float:
    if scores.noise_ceiling is None:
        return 0.0
    values = over_times(scores.values)
    high = unit_ceilings(scores.noise_ceiling)[2]
    known = np.isfinite(values) & np.isfinite(high)
    return float((values[known] > high[known]).mean()) if known.any() else 0.0


def _controls(group: Group) -> Alarm:
    title = "Control as good as the model"
    controls = [s for s in group.contenders if is_control(s)]
    if not controls:
        text = "No control model (untrained network, pixels, ...) was scored beside the claim."
        return Alarm(NOTE, "No control model", text)
    models = [s for s in group.contenders if not is_control(s)] or [group.lead]
    found: list[tuple[bool, str]] = []
    for control in controls:
        for region in group.regions:
            theirs = region_value(control, region)
            ours = max((region_value(m, region) for m in models), default=math.nan)
            if theirs >= ours:
                found.append(
                    (
                        True,
                        (
                            f"{_subject(control)} reaches {number(theirs)} in {isolate(region)}, the best "
                            f"model {number(ours)}"
                        ),
                    )
                )
            elif _overlaps(control, models, region):
                found.append(
                    (
                        False,
                        (
                            f"the intervals of {_subject(control)} and of the best model overlap in "
                            f"{isolate(region)}"
                        ),
                    )
                )
    if not found:
        who = "The control scores" if len(controls) == 1 else f"All {len(controls)} controls score"
        return Alarm(QUIET, title, f"{who} below the model in every region.")
    worst = any(loud for loud, _ in found)
    shown = [text for loud, text in found if loud == worst]
    tail = (
        "What the claim shows is then not owed to what the model has learned."
        if worst
        else "The margin is not beyond doubt."
    )
    text = listed(shown, 4)
    return Alarm(
        ALARM if worst else NOTE,
        title if worst else "Control close to the model",
        f"{text[0].upper()}{text[1:]}. {tail}",
    )


def _overlaps(control: Scores, models: Sequence[Scores], region: str) -> bool:
    """Whether the control's interval reaches into that of the best model."""
    best = max(models, key=lambda m: np.nan_to_num(region_value(m, region), nan=-np.inf))
    if any(region not in region_units(s) for s in (control, best)):
        return False
    return bool(region_row(control, region)["high"] > region_row(best, region)["low"])


def _missing(group: Group) -> Alarm:
    title = "Units without a score"
    scores = group.lead
    missing = int(np.isnan(over_times(scores.values)).sum())
    total = len(scores.values)
    if not missing:
        all_of = f"All {count_units(total, scores)} have" if total > 1 else f"The one {unit_noun(scores)} has"
        return Alarm(QUIET, title, f"{all_of} a score.")
    reasons = mapping(scores.info, "nan_reasons")
    why = listed([f"{isolate(k, 80)}: {integer(v) or 0}" for k, v in reasons.items() if integer(v)], 5)
    text = f"{missing} of {count_units(total, scores)} have no score" + (
        f" ({why})." if why else "; no reason was recorded."
    )
    return Alarm(ALARM if missing > _MANY_MISSING * total else NOTE, title, text)


def _constant(group: Group) -> Alarm:
    title = "Constant predictions"
    number_ = max((integer(s.info.get("constant_predictions")) or 0 for s in group.claims), default=0)
    if not number_:
        return Alarm(QUIET, title, "No model predicted a constant.")
    text = (
        f"{count(number_, 'prediction')} of a unit in a fold did not vary; each scored 0 in its "
        "fold and entered the mean."
    )
    return Alarm(NOTE, title, text)


def _penalty_edges(group: Group) -> Alarm:
    title = "Penalties at the edge of their grid"
    loud = []
    for scores in group.claims:
        penalty = mapping(scores.info, "penalty")
        for side in ("low", "high"):
            hits = real(penalty.get(f"edge_{side}")) or 0.0
            of = real(penalty.get("of"))
            # without a total, a number up to 1 is a share, above it a count
            share = hits / of if of else hits if hits <= 1 else 1.0
            if hits and share > _MANY_EDGES:
                shown = f"{percent(hits / of)} of the choices" if of else f"{hits:g}"
                loud.append((share, f"{_subject(scores)}: {shown} at the {side}est penalty"))
    if not loud:
        return Alarm(QUIET, title, "The penalties were chosen inside their grid.")
    text = listed([t for _, t in sorted(loud, reverse=True)], 4)
    return Alarm(
        NOTE,
        title,
        f"{text}. A wider grid could raise the score (unpredictable units belong at the highest).",
    )


def _fold_spread(group: Group) -> Alarm:
    title = "Folds disagree"
    scores = group.lead
    if scores.fold_values is None or len(scores.fold_values) < 2:
        return Alarm(QUIET, title, "One test set: folds cannot disagree.")
    folds = np.array([np.nanmean(f) for f in np.asarray(scores.fold_values) if np.isfinite(f).any()])
    if len(folds) < 2:
        return Alarm(QUIET, title, "One fold has scores: folds cannot disagree.")
    mean, spread = float(folds.mean()), float(folds.std(ddof=1))
    text = (
        f"Over {len(folds)} folds the mean score varies from {number(folds.min())} to "
        f"{number(folds.max())} (SD {number(spread)})."
    )
    loud = spread > 0.5 * abs(mean - chance_level(scores))
    return Alarm(NOTE if loud else QUIET, title, text)


def _few_test_rows(group: Group) -> Alarm:
    title = "Few test rows"
    rows = mapping(group.lead.info, "splits").get("n_test")
    known = (
        [n for n in (integer(v) for v in rows) if n is not None] if isinstance(rows, (list, tuple)) else []
    )
    smallest = min(known, default=group.lead.n_test)
    if group.lead.identity["analysis"] not in ("encoding", "decoding", ""):
        return Alarm(QUIET, title, "Nothing was fitted, so no row was held out.")
    if not smallest:
        return Alarm(OPEN, title, "The number of test rows is not recorded.")
    text = f"The smallest test set has {count(smallest, 'row')}."
    if smallest >= _FEW_TEST_ROWS:
        return Alarm(QUIET, title, text)
    return Alarm(NOTE, title, f"{text} Scores of single folds are then very noisy.")


def _train_like_test(group: Group) -> Alarm:
    title = "Training scores like test scores"
    train = real(group.lead.info.get("train_score"))
    if train is None:
        return Alarm(OPEN, title, "Training scores are not recorded.")
    test = float(region_row(group.lead)["value"])
    text = f"Mean score {number(train)} on training rows, {number(test)} on test rows."
    if abs(train - test) < 0.02 and test > 0.1:
        return Alarm(NOTE, title, f"{text} Equal values can mean that test rows were seen in training.")
    return Alarm(QUIET, title, text)


CHECKS: tuple[Callable[[Group], Alarm | None], ...] = (
    _overruled,
    _below_chance,
    _above_ceiling,
    _controls,
    _missing,
    _constant,
    _penalty_edges,
    _fold_spread,
    _few_test_rows,
    _train_like_test,
    drift,
    time_control,
    best_lag,
)


def _different_tests(groups: Sequence[Group]) -> Alarm | None:
    """Say where scores of one brain and analysis could not be put beside each other."""
    seen: dict[tuple[str, ...], int] = {}
    for g in groups:
        key = (g.dataset, g.subject, g.analysis, g.metric)
        seen[key] = seen.get(key, 0) + 1
    several = [g.label for g in groups if seen[g.dataset, g.subject, g.analysis, g.metric] > 1]
    if not several:
        return None
    text = (
        "Some scores of the same brain were tested on other rows; they are shown apart and must "
        "not be ranked."
    )
    return Alarm(ALARM, "Different test sets", text, several[0])


def _regions_with_p(scores: Scores) -> int:
    """How many p-values these scores bring into the table of layers and regions."""
    if scores.p_values is None or np.ndim(scores.p_values) != 1:
        return 0
    known = np.isfinite(np.asarray(scores.p_values, dtype=np.float64))
    return sum(bool(known[index].any()) for index in region_units(scores).values())


def _too_few_draws(groups: Sequence[Group]) -> Alarm | None:
    """Say when the permutations cannot carry the correction over the whole table."""
    scores = [s for g in groups for s in g.all]
    draws = [integer(mapping(s.info, "permutation").get("n")) for s in scores if s.p_values is not None]
    known = [n for n in draws if n is not None]
    if not known:
        return None
    tests = sum(_regions_with_p(s) for s in scores)
    message = few_permutations(min(known), tests)
    return Alarm(NOTE, "Few permutations", f"{message}.") if message else None
