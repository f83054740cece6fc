"""Every number of the results in words: what it is the mean of, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brainalign._checks import unknown_name
from brainalign.report import score_table
from brainalign.report.groups import group_scores
from brainalign.report.regions import region_units
from brainalign.study.stored import read_results
from brainalign.study.wording import Subject, shared_topics, words_of


@dataclass(frozen=True)
class Explanation:
    """One number of the results: what names it, the number, and `words` {topic: sentences}.

    `claim` is "claim" or "layer profile"; numbers that do not exist are None.
    """

    dataset: str
    subject: str
    roi: str
    model: str
    layer: str
    analysis: str
    metric: str
    role: str
    claim: str
    value: float | None
    low: float | None
    high: float | None
    ceiling: float | None
    p: float | None
    q: float | None
    words: dict[str, str]

    @property
    def name(self) -> str:
        """What names the number, in a line."""
        parts = (self.dataset, self.subject, self.analysis, self.model, self.layer, self.roi)
        return ", ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Return all fields for machines."""
        return asdict(self)


def explain_results(
    results: str | Path, *, roi: str | None = None, model: str | None = None, analysis: str | None = None
) -> list[Explanation]:
    """Explain the numbers of a study's folder, or of one saved file, in the order of its table.

    Parameters
    ----------
    results : folder of a finished study, or a file of saved scores
    roi, model, analysis : only the numbers of these; None: all

    Raises
    ------
    UnknownNameError
        No number has that region, model or analysis; the closest are listed.
    DataNotFoundError, CorruptFileError, InputError
        As `brainalign.study.stored.read_results`.
    """
    scores = read_results(results).scores
    groups, scores = group_scores(scores)
    table = score_table(scores)
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    wishes = {"region": roi, "model": model, "analysis": analysis}
    for column, wanted in wishes.items():
        known = list(dict.fromkeys(str(row[column]) for row in rows))
        if wanted is not None and wanted not in known:
            raise unknown_name(column, wanted, known)
    out = []
    at = 0
    for part in scores:
        own = group_scores([part])[0][0]
        beside = next(group for group in groups if any(part is other for other in group.all))
        for region, index in region_units(part).items():
            row = rows[at]
            at += 1
            if all(wanted in (None, row[column]) for column, wanted in wishes.items()):
                out.append(_explanation(Subject(part, region, index, row, own, beside)))
    return out


def _explanation(subject: Subject) -> Explanation:
    row, identity = subject.row, subject.scores.identity
    return Explanation(
        identity["dataset"],
        identity["subject"],
        subject.region,
        identity["model"],
        identity["layer"],
        identity["analysis"],
        subject.scores.metric,
        str(row["role"]),
        str(row["claim"]),
        _finite(row["value"]),
        _finite(row["low"]),
        _finite(row["high"]),
        _finite(row["ceiling"]),
        _finite(row["p"]),
        _finite(row["q"]),
        words_of(subject),
    )


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def explanation_text(numbers: Sequence[Explanation]) -> str:
    """All explanations for people; what several numbers in a row have in common is said once.

    Claims come first. Numbers of one model and analysis stand together: their shared words,
    then each number with its own.
    """
    blocks: dict[tuple[str, ...], list[Explanation]] = {}
    for one in sorted(numbers, key=lambda n: n.claim != "claim"):
        blocks.setdefault((one.claim, one.dataset, one.subject, one.analysis, one.model), []).append(one)
    return "\n\n".join(_block(block) for block in blocks.values())


def _block(block: Sequence[Explanation]) -> str:
    first = block[0]
    if len(block) == 1:
        return "\n".join([f"## {first.name}", *_topics(first.words)])
    shared = shared_topics([one.words for one in block])
    title = ", ".join(p for p in (first.dataset, first.subject, first.analysis, first.model) if p)
    kind = "layer profile" if first.claim != "claim" else "claims"
    lines = [f"## {title}: {len(block)} numbers ({kind})", *_topics(shared)]
    for one in block:
        lines.append(f"# {', '.join(part for part in (one.layer, one.roi) if part)}")
        lines += _topics({topic: text for topic, text in one.words.items() if topic not in shared})
    return "\n".join(lines)


def _topics(words: dict[str, str]) -> list[str]:
    return [f"!!! {text}" if topic == "note" else f"{topic:<12s} {text}" for topic, text in words.items()]
