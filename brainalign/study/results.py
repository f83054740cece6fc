"""The table of results: one row a region, layer and analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.report import score_table, summarise
from brainalign.storage.atomic import write_text_atomic
from brainalign.types import Scores

COLUMNS = (
    "dataset",
    "subject",
    "roi",
    "model",
    "layer",
    "analysis",
    "metric",
    "value",
    "low",
    "high",
    "ceiling",
    "p",
    "q",
    "peak",
    "peak_time",
    "n_units",
    "n_test",
    "split_hash",
    "run_id",
    "simulated",
    "allow",
)


def results_table(scores: Sequence[Scores], run_id: str) -> pd.DataFrame:
    """One row per region of each Scores; q corrects p over the whole table (Benjamini-Hochberg).

    The numbers are those of the report (`brainalign.report.score_table`). `value` is the mean over
    times where there is a time axis, `peak` and `peak_time` [s] its highest point; `allow` holds
    the reason with which a guard was overruled.
    """
    table = score_table(scores).rename(columns={"region": "roi"})
    table["n_units"] = table["n_scored"]
    hashes = [str((part.info.get("splits") or {}).get("hash", "")) for part in scores]
    rows_of = [len(summarise(part)) for part in scores]
    table["split_hash"] = np.repeat(np.array(hashes, dtype=object), rows_of)
    table["run_id"] = run_id
    table["allow"] = table["overruled"]
    return table[list(COLUMNS)]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write tab-separated text, ``n/a`` for missing, six significant digits."""
    lines = ["\t".join(table.columns)]
    lines += ["\t".join(_cell(v) for v in row) for row in table.itertuples(index=False)]
    write_text_atomic(path, "\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    text = "n/a" if value is None or value == "" else str(value)
    text = " ".join(text.split())
    # a leading sign would make a spreadsheet run the cell as a formula
    return f"'{text}" if text[:1] in ("=", "+", "@") else text
