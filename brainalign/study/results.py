"""The table of results: one row a region, layer and analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.design import named_regions
from brainalign.statistics import adjust_fdr
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
    "n_units",
    "n_test",
    "split_hash",
    "run_id",
)


def results_table(scores: Sequence[Scores], run_id: str) -> pd.DataFrame:
    """One row per region of each Scores; q corrects p over the whole table (Benjamini-Hochberg).

    Encoding: the mean over the units that have a score, its interval over resampled test
    stimuli, the mean ceiling of the same units, and the permutation p-value of that mean.
    RSA and CKA: the value of the region itself.
    """
    rows = [row for part in scores for row in _rows(part)]
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in ("q", "run_id")])
    table.insert(COLUMNS.index("q"), "q", adjust_fdr(table["p"].to_numpy(dtype=float)))
    table["run_id"] = run_id
    return table


def _rows(scores: Scores) -> list[dict[str, Any]]:
    assert scores.units is not None
    base = {
        **scores.identity,
        "metric": scores.metric,
        "n_test": scores.n_test,
        "split_hash": (scores.info.get("splits") or {}).get("hash", ""),
    }
    if scores.identity["analysis"] != "encoding":
        return [_region_row(base, scores, i, str(name)) for i, name in enumerate(scores.units.index)]
    values = scores.values if scores.values.ndim == 1 else np.nanmean(scores.values, axis=1)
    out = []
    for roi, index in named_regions(scores.units).items():
        known = index[np.isfinite(values[index])]
        low, high = (scores.info.get("region_interval") or {}).get(roi, (np.nan, np.nan))
        bound = np.nan
        if scores.noise_ceiling is not None and len(known):
            ceilings = scores.noise_ceiling.values[known]
            bound = float(np.nanmean(ceilings)) if np.isfinite(ceilings).any() else np.nan
        p = (scores.info.get("permutation") or {}).get("region_p", {}).get(roi, np.nan)
        mean = float(values[known].mean()) if len(known) else np.nan
        out.append(
            {
                **base,
                "roi": roi,
                "value": mean,
                "low": low,
                "high": high,
                "ceiling": bound,
                "p": p,
                "n_units": len(known),
            }
        )
    return out


def _region_row(base: dict[str, Any], scores: Scores, i: int, roi: str) -> dict[str, Any]:
    assert scores.units is not None
    low, high = (np.nan, np.nan) if scores.interval is None else scores.interval[:, i]
    n_units = scores.units["n_units"].iloc[i] if "n_units" in scores.units else 1
    return {
        **base,
        "roi": roi,
        "value": scores.values[i],
        "low": low,
        "high": high,
        "ceiling": np.nan if scores.noise_ceiling is None else scores.noise_ceiling.values[i],
        "p": np.nan if scores.p_values is None else scores.p_values[i],
        "n_units": int(n_units),
    }


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
