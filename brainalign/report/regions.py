"""Scores summarised per region: the numbers behind every figure and table of the report."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from brainalign._checks import unknown_name
from brainalign.design import ALL, named_regions
from brainalign.report.averages import mean_known, over_times, unit_ceilings
from brainalign.report.describe import fits_units, is_control, is_profile, is_simulated
from brainalign.report.naming import clean, mapping, real
from brainalign.report.times import peak
from brainalign.statistics.multiple_tests import adjust_fdr
from brainalign.types import Scores

_MOST_UNIT_REGIONS = 24
SUMMARY_COLUMNS = (
    "region",
    "n_units",
    "n_scored",
    "value",
    "low",
    "high",
    "interval_of",
    "ceiling",
    "ceiling_low",
    "ceiling_high",
    "normalised",
    "n_normalised",
    "p",
)


def region_units(scores: Scores) -> dict[str, np.ndarray]:
    """Return {region: positions of its units}, in the order of the unit table; regions may overlap.

    Labels and boolean masks of every ``roi_`` column count; "all" comes first where the
    regions do not already name every unit. Scores of an analysis whose units are regions
    (RSA, CKA) give one region a unit.
    """
    assert scores.units is not None
    units = scores.units
    columns = [c for c in units.columns if c.startswith("roi_")]
    if not columns and not fits_units(scores) and 0 < len(units) <= _MOST_UNIT_REGIONS:
        return {str(name): np.array([row]) for row, name in enumerate(units.index)}
    return named_regions(units)


def region_positions(scores: Scores, region: str | None) -> np.ndarray:
    """Positions of the units of a region, of all units for None.

    Raises
    ------
    UnknownNameError
        `region` is not a region of the units.
    """
    if region is None:
        return np.arange(len(scores.values))
    parts = region_units(scores)
    if region not in parts:
        raise unknown_name("region", region, parts)
    return parts[region]


def default_region(scores: Scores) -> str:
    """The region drawn when none is named: all units together, else the first region."""
    names = list(region_units(scores))
    return ALL if ALL in names or not names else names[0]


def scores_units(scores: Scores) -> bool:
    """Whether a score belongs to one unit, not (RSA, CKA) to all units of a region together."""
    assert scores.units is not None
    return "n_units" not in scores.units and fits_units(scores)


def summarise(scores: Scores) -> pd.DataFrame:
    """Summarise scores per region.

    Parameters
    ----------
    scores : Scores
        A time axis is averaged.

    Returns
    -------
    DataFrame, one row a region
        `value` mean over the units that have a score (`n_scored` of `n_units`);
        `low`, `high` its 95 % interval and `interval_of` what varies in it: resampled test
        stimuli where the scores carry it (``info["region_interval"]``), else the folds
        (Student t, folds share training rows, so read it as a guide), else the units;
        `ceiling`, `ceiling_low`, `ceiling_high` means of the units' ceilings and of their
        intervals; `normalised` the pooled ratio: sum of scores over sum of ceilings of the
        `n_normalised` units whose ceiling's interval lies above zero; `p` of the region's
        mean score under permutation where the scores carry it, else a bound for the whole
        region from the p-values of its units.

    Notes
    -----
    The bound is n / ceil(n / 2) times the median of the n unit p-values, which holds under any
    dependence of the units (Rüger 1978, Metrika 25, 171-178).

    Examples
    --------
    >>> summarise(Scores(np.array([0.2, 0.4, np.nan])))[["region", "n_scored", "value"]].round(3)
      region  n_scored  value
    0    all         2    0.3
    """
    return pd.DataFrame(summaries(scores), columns=list(SUMMARY_COLUMNS))


def summaries(scores: Scores) -> list[dict[str, Any]]:
    """The rows of `summarise` as dicts, which cost a tenth of a table."""
    return [region_summary(scores, name, index) for name, index in region_units(scores).items()]


def region_summary(scores: Scores, region: str, index: np.ndarray) -> dict[str, Any]:
    """One row of `summarise`: region `region`, whose units stand at `index`."""
    values = over_times(scores.values)[index]
    low, high, interval_of = _interval(scores, region, index)
    return {
        "region": region,
        "n_units": _count(scores, index, np.ones(len(index), dtype=bool)),
        "n_scored": _count(scores, index, np.isfinite(values)),
        "value": float(mean_known(values)),
        "low": low,
        "high": high,
        "interval_of": interval_of,
        **_ceiling(scores, values, index),
        "p": _region_p(scores, region, index),
    }


def _count(scores: Scores, index: np.ndarray, keep: np.ndarray) -> int:
    """How many units `index` stands for; a row of RSA or CKA stands for all units of its region."""
    assert scores.units is not None
    if "n_units" not in scores.units:
        return int(keep.sum())
    return int(scores.units["n_units"].to_numpy()[index][keep].sum())


def _region_p(scores: Scores, region: str, index: np.ndarray) -> float:
    """The permutation p of the region's mean where the scores carry it, else the median bound."""
    given = real(mapping(mapping(scores.info, "permutation"), "region_p").get(region))
    if given is not None:
        return given
    timed = scores.identity["analysis"] in ("rsa", "cka") and scores.values.ndim == 2
    if timed and len(index) == 1 and scores.p_values is not None:
        # corrected over times by the maximum: the smallest is that of the whole course
        known = scores.p_values[index[0]][np.isfinite(scores.p_values[index[0]])]
        return float(known.min()) if len(known) else math.nan
    return _unit_bound(scores, index)


def _interval(scores: Scores, region: str, index: np.ndarray) -> tuple[float, float, str]:
    given = mapping(scores.info, "region_interval").get(region)
    if isinstance(given, (list, tuple, np.ndarray)) and len(given) == 2:
        ends = [real(v) for v in given]
        if ends[0] is not None and ends[1] is not None:
            return ends[0], ends[1], _varied(scores)
    if len(index) == 1 and scores.interval is not None and scores.values.ndim == 1:
        low, high = (float(v) for v in scores.interval[:, index[0]])
        return low, high, _varied(scores)
    if scores.fold_values is not None and len(scores.fold_values) > 1:
        folds = mean_known(over_times(np.asarray(scores.fold_values), 1)[:, index], axis=1)
        return (*_student(folds), f"{len(folds)} folds (Student t)")
    return (*_student(over_times(scores.values)[index]), "the units (Student t)")


def _varied(scores: Scores) -> str:
    """What varies in the intervals that the scores carry."""
    said = re.sub(
        r"^95 ?% (interval )?(over )?",
        "",
        clean(str(scores.info.get("interval") or ""), 120),
    )
    return said or "as given with the scores"


def _student(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)


def _ceiling(scores: Scores, values: np.ndarray, index: np.ndarray) -> dict[str, Any]:
    ceiling = scores.noise_ceiling
    names = ("ceiling", "ceiling_low", "ceiling_high", "normalised")
    if ceiling is None:
        return {**dict.fromkeys(names, math.nan), "n_normalised": 0}
    point, low, high = (part[index] for part in unit_ceilings(ceiling))
    cells = values, point, low
    if ceiling.values.ndim == 2 == scores.values.ndim:
        # the ratio is pooled over units and times: at times without a response nothing can be reached
        cells = scores.values[index], ceiling.values[index], ceiling.low[index]
    reached, most, sure = cells
    usable = np.isfinite(most) & (sure > 0) & np.isfinite(reached)
    total = most[usable].sum()
    return {
        "ceiling": float(mean_known(point)),
        "ceiling_low": float(mean_known(low)),
        "ceiling_high": float(mean_known(high)),
        "normalised": float(reached[usable].sum() / total) if total > 0 else math.nan,
        "n_normalised": int(usable.reshape(len(index), -1).any(axis=1).sum()),
    }


def _unit_bound(scores: Scores, index: np.ndarray) -> float:
    if scores.p_values is None or np.ndim(scores.p_values) != 1:
        return math.nan
    return median_bound(scores.p_values[index])


def median_bound(p_values: np.ndarray) -> float:
    """A bound for all units together, n / ceil(n / 2) times the median of their p; NaN without any."""
    p = np.sort(np.asarray(p_values, dtype=np.float64))
    p = p[np.isfinite(p)]
    if not len(p):
        return math.nan
    middle = math.ceil(len(p) / 2)
    return float(min(1.0, p[middle - 1] * len(p) / middle))


def score_table(results: Sequence[Scores]) -> pd.DataFrame:
    """Tabulate layer x region of several Scores, corrected over the whole table.

    Parameters
    ----------
    results : sequence of Scores
        Claims, layers of a profile and controls, in the order that they are to be shown.

    Returns
    -------
    DataFrame, one row per Scores and region
        dataset, subject, analysis, model, layer, role, claim, metric, the columns of
        `summarise`, `q` (Benjamini and Hochberg over every p of this table) and
        `share_significant`, the share of a region's units whose own p, corrected over
        all units of all claims in the table, is at most 0.05; NaN where a score speaks of a
        whole region (column `n_units` of the unit table); `peak` and `peak_time`, the highest
        mean over the units along a time axis and when [s], NaN without one; `simulated`, and
        `overruled`, the reason with which a guard was overruled or "".

    Examples
    --------
    >>> scores = Scores(np.array([0.2, 0.4]), p_values=np.array([0.01, 0.03]))
    >>> score_table([scores])[["value", "p", "q"]].round(3)
       value     p     q
    0    0.3  0.02  0.02
    """
    frames = []
    unit_q = _unit_q(results)
    for scores, q in zip(results, unit_q, strict=True):
        frame = summarise(scores)
        claim = "layer profile" if is_profile(scores) else "claim"
        identity = {**scores.identity, "role": "control" if is_control(scores) else "model", "claim": claim}
        for place, (name, value) in enumerate({**identity, "metric": scores.metric}.items()):
            frame.insert(place, name, value)
        parts = list(region_units(scores).values())
        frame["share_significant"] = [math.nan if q is None else _share(q[index]) for index in parts]
        frame["n_test"] = scores.n_test
        tops = [peak(scores, index) for index in parts]
        frame["peak"], frame["peak_time"] = [t[0] for t in tops], [t[1] for t in tops]
        frame["simulated"] = is_simulated(scores)
        frame["overruled"] = clean(scores.info.get("allow") or "", 400)
        frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=[*SUMMARY_COLUMNS, "q", "share_significant", "n_test", "peak"])
    table = pd.concat(frames, ignore_index=True)
    table.insert(list(table.columns).index("p") + 1, "q", adjust_fdr(table["p"].to_numpy()))
    return table


def _unit_p(scores: Scores) -> np.ndarray | None:
    """The p-values of single units; None without them, and where a row stands for a whole region."""
    assert scores.units is not None
    if scores.p_values is None or np.ndim(scores.p_values) != 1 or "n_units" in scores.units:
        return None
    return np.asarray(scores.p_values, dtype=np.float64)


def _unit_q(results: Sequence[Scores]) -> list[np.ndarray | None]:
    """Correct the p-values of all units of all scores together."""
    known = [_unit_p(s) for s in results]
    sizes = [0 if p is None else len(p) for p in known]
    if not sum(sizes):
        return [None] * len(results)
    q = adjust_fdr(np.concatenate([p for p in known if p is not None]))
    parts = np.split(q, np.cumsum(sizes)[:-1])
    return [part if p is not None else None for part, p in zip(parts, known, strict=True)]


def _share(q: np.ndarray) -> float:
    known = q[np.isfinite(q)]
    return float((known <= 0.05).mean()) if len(known) else math.nan
