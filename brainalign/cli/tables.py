"""Results and plans as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainalign.study.differences import Change, Difference
    from brainalign.study.estimate import StudyPlan, SubjectPlan
    from brainalign.study.history import StudyEntry
    from brainalign.study.run import StudyResult

_WIDTHS = {"model": 32, "analysis": 9, "roi": 10, "layer": 14}
_HEADINGS = f" {'value':>7s} {'95 % interval':>16s} {'ceiling':>8s} {'p':>8s} {'q':>8s}"


def result_text(result: StudyResult, notes: Sequence[str] = ()) -> str:
    """The claims, and the best layer of each RSA and CKA cell; the table on disk holds every row.

    `notes` (an overruled guard, simulated responses) stand above and below the numbers.
    """
    rows: list[dict[str, Any]] = [
        dict(zip(result.table.columns, r, strict=True)) for r in result.table.to_numpy()
    ]
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    nested = {(row["subject"], row["model"]) for row in rows if row["layer"] == "selected"}
    for row in rows:
        key = tuple(str(row[k]) for k in ("subject", "model", "analysis", "roi"))
        # where layers were chosen, the choice is the claim and each layer a description
        described = row["analysis"] == "encoding" and (row["subject"], row["model"]) in nested
        if (not described or row["layer"] == "selected") and (
            key not in best or row["value"] > best[key]["value"]
        ):
            best[key] = row
    loud = [f"!!! {note}" for note in notes]
    done = (
        f"{_counted(result.computed, 'cell')} computed"
        if result.computed
        else "nothing to compute: all cells were there"
    )
    return "\n".join(
        [
            *loud,
            " ".join(f"{name:<{width}s}" for name, width in _WIDTHS.items()) + _HEADINGS,
            *(_result_row(row) for row in best.values()),
            *loud,
            f"{done}; {result.kept} kept",
            f"wrote {result.output / 'results.tsv'} and {result.output / 'report.html'}",
        ]
    )


def _result_row(row: dict[str, Any]) -> str:
    interval = f"{row['low']:.3f} .. {row['high']:.3f}" if row["low"] == row["low"] else "n/a"
    names = " ".join(f"{str(row[name])[-width:]:<{width}s}" for name, width in _WIDTHS.items())
    numbers = " ".join(f"{_number(row[name]):>8s}" for name in ("ceiling", "p", "q"))
    peak = f"  peak {row['peak']:.3f} at {row['peak_time']:.3g} s" if row["peak"] == row["peak"] else ""
    return f"{names} {row['value']:7.3f} {interval:>16s} {numbers}{peak}"


def _number(value: float) -> str:
    return "n/a" if value != value else f"{value:.3g}"


def plan_text(plan: StudyPlan) -> str:
    """What a study will do and cost."""
    lines = [f"study {plan.study}: {_counted(plan.n_cells, 'cell')}, device {plan.device}"]
    for subject in plan.subjects:
        regions = ", ".join(f"{name} ({n} units)" for name, n in subject.regions.items())
        lines += [
            f"subject {subject.subject or '(one)'}: {_sample_text(subject)}, {subject.n_units} units; "
            f"regions: {regions}",
            f"  design {subject.design}; {subject.split_method} (split {subject.split_hash})",
            "  folds (training / test rows): " + ", ".join(f"{a} / {b}" for a, b in subject.folds),
            f"  a score speaks of: {subject.generalisation}",
        ]
        for model in subject.models:
            times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in model.seconds.items())
            sizes = list(model.layers.values())
            lines.append(
                f"  {model.model} ({model.role}): {_counted(len(sizes), 'layer')}, "
                f"{' to '.join(str(n) for n in dict.fromkeys((min(sizes), max(sizes))))} units; about {times}"
            )
    lines.append(
        f"about {plan.seconds:.0f} s, {plan.memory_bytes / 1e9:.2f} GB of memory, "
        f"{plan.disk_bytes / 1e6:.0f} MB on disk"
    )
    return "\n".join(lines + [f"warning: {note}" for note in plan.warnings])


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _sample_text(subject: SubjectPlan) -> str:
    """How many rows there are, and of how many stimuli where rows are trials of known ones."""
    if subject.n_stimuli == subject.n_samples:
        return f"{subject.n_samples} {'trials' if subject.design == 'trials' else 'samples in time'}"
    return f"{subject.n_samples} trials of {subject.n_stimuli} stimuli"


def planted_text(rows: Sequence[Mapping[str, str]]) -> str:
    """The layer that was planted in each region beside the one that was recovered."""
    columns = ("label", "region", "planted", "recovered", "how", "verdict")
    titles = ("analysis", "region", "planted layer", "recovered layer", "by", "")
    table = [titles, *([row[name] for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(columns))]
    lines = [
        "  ".join(f"{word:<{width}s}" for word, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    right = sum(row["verdict"] == "recovered" for row in rows)
    return "\n".join([*lines, f"the planted layer was recovered in {right} of {len(rows)} rows"])


def entry_line(entry: StudyEntry) -> str:
    """One study of a list."""
    notes = [
        *(["SIMULATED"] if entry.simulated else []),
        *([f'GUARD OVERRULED: "{entry.allow}"'] if entry.allow else []),
    ]
    subjects = f" ({_few(entry.subjects)})" if entry.subjects else ""
    version = entry.versions.get("brainalign", "")
    parts = [
        f"{entry.date}  {entry.state:<10s} {entry.name:<20s} {entry.n_cells} of {entry.n_planned} cells",
        f"{entry.dataset}{subjects}; {_few(entry.models)}",
        *([f"brainalign {version}"] if version else []),
        *([] if entry.n_findings is None else [_soundness(entry.n_findings)]),
        entry.folder,
        *(f"!!! {note}" for note in notes),
    ]
    return "  ".join(parts)


def _soundness(n: int) -> str:
    return "verified" if not n else f"NOT WHOLE ({n} findings; brainalign verify tells them)"


def wrapped(text: str) -> str:
    """Long lines as wide as the terminal, what follows under the column of sentences."""
    width = max(60, shutil.get_terminal_size().columns)
    lines = (
        textwrap.wrap(line, width, subsequent_indent=" " * 13, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    )
    return "\n".join(part for line in lines for part in line)


def _few(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


_MOST_ROWS = 20


def difference_text(found: Difference) -> str:
    """What differs between two studies, the verdict last."""
    lines = [f"a: {found.a}", f"b: {found.b}"]
    for title, changes in (
        ("setting", found.settings),
        ("version", found.versions),
        ("input", found.inputs),
    ):
        lines += [_change(title, change) for change in changes]
    lines += [f"row        only in a: {row}" for row in found.only_a[:_MOST_ROWS]]
    lines += [f"row        only in b: {row}" for row in found.only_b[:_MOST_ROWS]]
    for row in found.rows[:_MOST_ROWS]:
        size = "" if row.difference is None else f"  ({row.difference:+.3g})"
        lines.append(f"number     {row.row}: {row.column} {_shown(row.a)} -> {_shown(row.b)}{size}")
    hidden = sum(max(0, len(part) - _MOST_ROWS) for part in (found.only_a, found.only_b, found.rows))
    if hidden:
        lines.append(f"... and {hidden} more; --json shows all")
    largest = ", ".join(f"{name} {size:.2g}" for name, size in found.largest.items() if size)
    lines.append(f"largest differences over {found.n_rows} shared rows: {largest or 'none'}")
    verdict = "EQUAL" if found.equal else "DIFFERENT"
    bits = "; every stored number to the last bit" if found.same_content else ""
    lines.append(f"{verdict} within {found.tolerance:g}{bits}")
    return "\n".join(lines)


def _change(title: str, change: Change) -> str:
    name = f"{change.what}: " if change.what else ""
    return f"{title:<10s} {name}{change.a} -> {change.b}"


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6g}"
