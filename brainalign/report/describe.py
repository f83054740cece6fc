"""What scores say of themselves: role, name, chance level, test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainalign.errors import InputError
from brainalign.report.naming import clean, mapping, number, symbol
from brainalign.types import Scores


def is_control(scores: Scores) -> bool:
    """Whether these scores belong to a control model."""
    return str(scores.info.get("role") or "model") == "control"


def is_profile(scores: Scores) -> bool:
    """Whether these scores describe one layer of a profile, rather than make a claim."""
    return scores.info.get("claim") == "descriptive"


def is_simulated(result: Any) -> bool:
    """Whether the numbers come from a simulation."""
    return bool(result.info.get("simulated"))


def chance_level(scores: Scores) -> float:
    """The score of a guess: ``info["chance"]``, else one half for two-versus-two and ranks, else 0."""
    given = scores.info.get("chance")
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    return 0.5 if scores.metric in ("two_vs_two", "2v2", "rank_accuracy") else 0.0


def model_label(scores: Scores) -> str:
    """The model's name; a control says that it is one."""
    name = scores.identity["model"] or "model"
    return f"{name} (control)" if is_control(scores) else name


def unit_noun(scores: Scores) -> str:
    """What a unit is: ``info["unit_name"]`` (neuron, voxel, sensor), else "unit"."""
    return clean(scores.info.get("unit_name") or "unit", 20)


def split_hash(scores: Scores) -> str:
    """The digest of the test rows, "" where it is not known."""
    return str(mapping(scores.info, "splits").get("hash") or "")


def value_text(scores: Scores, value: float) -> str:
    """A score with its symbol: "r = 0.571"."""
    return f"{symbol(scores.metric)} = {number(value)}"


def as_list(scores: Any, what: str) -> list[Scores]:
    """One Scores, a sequence or a mapping of them as a list; anything else is refused."""
    if isinstance(scores, Scores):
        return [scores]
    found = list(scores.values() if isinstance(scores, Mapping) else scores)
    if not found:
        raise InputError(f"{what} has no Scores to draw")
    for place, one in enumerate(found):
        if not isinstance(one, Scores):
            raise InputError(f"{what}: entry {place} is a {type(one).__name__}; expected Scores")
    metrics = sorted({one.metric for one in found})
    if len(metrics) > 1:
        raise InputError(f"{what}: one axis cannot hold the metrics {', '.join(metrics)}; draw them apart")
    return found
