"""What scores say of themselves: role, name, chance level, test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from brainalign.errors import InputError
from brainalign.report.naming import clean, count, mapping, number, symbol
from brainalign.report.style import write_footer
from brainalign.types import Scores


def is_control(scores: Scores) -> bool:
    """Whether these scores belong to a control model."""
    return str(scores.info.get("role") or "model") == "control"


def is_profile(scores: Scores) -> bool:
    """Whether these scores describe one layer of a profile, rather than make a claim."""
    return scores.info.get("claim") == "descriptive"


def is_continuous(scores: Scores) -> bool:
    """Whether the samples follow each other in time, so that drift and lag matter."""
    return scores.info.get("design") in ("continuous", "blocks")


def is_simulated(result: Any) -> bool:
    """Whether the numbers come from a simulation."""
    return bool(result.info.get("simulated"))


def overruled(results: Sequence[Any]) -> list[str]:
    """The reasons with which guards were overruled, each once."""
    return list(dict.fromkeys(clean(r.info["allow"], 400) for r in results if r.info.get("allow")))


def stamps(results: Sequence[Any]) -> list[str]:
    """What must be written on everything that shows these results: simulated, a guard overruled."""
    out = ["simulated responses"] if any(map(is_simulated, results)) else []
    return out + [f'guard overruled: "{clean(reason, 160)}"' for reason in overruled(results)]


def stamp(ax: Axes, *results: Any) -> None:
    """Write the stamps of the results below the figure that shows them.

    Examples
    --------
    >>> from brainalign.report.style import figure_of, new_axes
    >>> ax = new_axes()
    >>> stamp(ax, Scores([0.0, 0.0], info={"simulated": True}))
    >>> figure_of(ax).get_supxlabel()
    'simulated responses'
    """
    write_footer(ax, "; ".join(stamps(results)))


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


def fits_units(scores: Scores) -> bool:
    """Whether the rows are single units (encoding, decoding), not the regions that RSA and CKA compare."""
    return scores.identity["analysis"] in ("", "encoding", "decoding")


def unit_noun(scores: Scores) -> str:
    """What a row is: ``info["unit_name"]`` (neuron, sensor ...), else what its geometry says, else "unit"."""
    if scores.info.get("unit_name"):
        return clean(scores.info["unit_name"], 20)
    assert scores.units is not None
    if not fits_units(scores):
        return "region"
    if "ch_type" in scores.units:
        return "sensor"
    if scores.info.get("n_vertices") is not None:
        return "vertex"
    return "voxel" if scores.info.get("volume_shape") is not None else "unit"


def units_noun(scores: Scores) -> str:
    """The plural of `unit_noun`."""
    noun = unit_noun(scores)
    return "vertices" if noun == "vertex" else f"{noun}s"


def count_units(n: int, scores: Scores) -> str:
    """A number of units with their noun: "1 vertex", "530 voxels"."""
    return count(n, unit_noun(scores), units_noun(scores))


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
