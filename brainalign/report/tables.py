"""The score tables of a page as text: one line per figure that matters, its second line below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design import ALL
from brainalign.report.describe import is_profile, model_label
from brainalign.report.groups import Group
from brainalign.report.naming import interval, isolate, metric_name, number, p_text, percent
from brainalign.report.text import headline
from brainalign.types import Scores

_MOST_ROWS = 600


def claim_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """One row per model and analysis: its name, its layer, and the figures of its headline."""
    return [_claim_row(group, scores) for group in groups for scores in group.contenders]


def _claim_row(group: Group, scores: Scores) -> dict[str, Any]:
    layer = scores.identity["layer"]
    # a control that is one layer of its own name says it once
    named = layer not in ("", "selected", scores.identity["model"])
    several = any(len(part) > 1 for part in group.profiles.values() if scores in part)
    words = [isolate(layer, 60) if named else "", "best layer" if is_profile(scores) and several else ""]
    return {
        "label": group.label,
        "model": isolate(model_label(scores), 80),
        "under": ", ".join(w for w in words if w),
        "tags": _tags(bool(scores.info.get("allow"))),
        **headline(group, scores),
    }


def _tags(overruled: bool) -> list[str]:
    return ["guard overruled"] if overruled else []


def shown_table(table: pd.DataFrame) -> dict[str, Any]:
    """The score table as text, without the columns that say the same in every row."""
    head = _columns(table)
    rows = [
        {"cells": [_cell(row, column) for column, _, _ in head], "claim": row["claim"] == "claim"}
        for _, row in table.head(_MOST_ROWS).iterrows()
    ]
    timed = bool(len(table)) and bool(table["peak"].notna().any())
    return {
        "head": [{"name": name, "numeric": numeric} for _, name, numeric in head],
        "rows": rows,
        "left": max(0, len(table) - _MOST_ROWS),
        "intervals": _interval_words(table),
        "has_p": bool(len(table)) and bool(table["p"].notna().any()),
        "n_tests": int(table["p"].notna().sum()) if len(table) else 0,
        "timed": timed,
        "has_ceiling": bool(len(table)) and bool(table["ceiling"].notna().any()),
    }


def _columns(table: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """Column, heading, and whether it holds numbers."""
    head: list[tuple[str, str, bool]] = []
    for column, name in (
        ("dataset", "Dataset"),
        ("subject", "Subject"),
        ("analysis", "Analysis"),
        ("metric", "Metric"),
    ):
        if len(table) and table[column].nunique() > 1 and not (column == "analysis" and _metric_tells(table)):
            head.append((column, name, False))
    metrics: list[str] = list(table["metric"].unique()) if len(table) else []
    score = metric_name(metrics[0]) if len(metrics) == 1 else "Score"
    head += [("region", "Region", False), ("model", "Model, layer", False)]
    head += [("value", f"{score}, 95 % interval", True)]
    optional = [
        ("peak", "Peak over time", True),
        ("ceiling", "Ceiling, share of it", True),
        ("p", "p, q", True),
        ("share_significant", "Units q ≤ .05", True),
    ]
    head += [h for h in optional if len(table) and table[h[0]].notna().any()]
    return [*head, ("n_units", "Units", True), ("n_test", "Test rows", True)]


def _metric_tells(table: pd.DataFrame) -> bool:
    """Whether each metric belongs to one analysis, so that one column says both."""
    pairs = table[["analysis", "metric"]].drop_duplicates()
    return bool(pairs["metric"].is_unique)


def _cell(row: pd.Series[Any], column: str) -> dict[str, Any]:
    """Text of a cell, what stands below it, and its tags."""
    text, under, tags = isolate(row[column], 60) or "–", "", []
    if column == "region":
        text = "all" if row["region"] == ALL else isolate(row["region"], 60)
    elif column == "metric":
        text = metric_name(str(row["metric"]))
    elif column == "model":
        text, under = _model_cell(row)
        tags = _tags(bool(row["overruled"]))
    elif column in _FIGURES:
        text, under = _FIGURES[column](row)
    return {"text": text, "under": under if under != "–" else "", "tags": tags}


def _model_cell(row: pd.Series[Any]) -> tuple[str, str]:
    name = isolate(row["model"], 60) or "–"
    layer = isolate(row["layer"], 60) if row["layer"] not in ("", row["model"]) else ""
    return (f"{name} (control)" if row["role"] == "control" else name), layer


def _peak_cell(row: pd.Series[Any]) -> tuple[str, str]:
    return number(row["peak"]), f"at {number(row['peak_time'])}" if np.isfinite(row["peak_time"]) else ""


def _units_cell(row: pd.Series[Any]) -> tuple[str, str]:
    if row["n_scored"] < row["n_units"]:
        return f"{row['n_scored']}/{row['n_units']}", ""
    # similarities that do not say how many units lie behind a region have one row for it
    unsaid = row["analysis"] not in ("", "encoding", "decoding") and row["n_units"] == 1
    return ("–" if unsaid else str(row["n_units"])), ""


_FIGURES: dict[str, Callable[[Any], tuple[str, str]]] = {
    "value": lambda row: (number(row["value"]), interval(row["low"], row["high"])),
    "peak": _peak_cell,
    "ceiling": lambda row: (number(row["ceiling"]), percent(row["normalised"])),
    "p": lambda row: (p_text(row["p"]), "" if np.isnan(row["q"]) else f"q {p_text(row['q'])}"),
    "share_significant": lambda row: (percent(row["share_significant"]), ""),
    "n_units": _units_cell,
    "n_test": lambda row: (str(row["n_test"]) if row["n_test"] else "–", ""),
}


def _interval_words(table: pd.DataFrame) -> str:
    known = table[np.isfinite(table["low"])] if len(table) else table
    found = list(dict.fromkeys(str(v) for v in known["interval_of"])) if len(known) else []
    return "; ".join(found[:4])
