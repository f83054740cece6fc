"""Ranking of scores that may be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, InputError
from brainalign.types import IDENTITY, Scores


def rank_scores(scores: Sequence[Scores], *, allow: str | None = None) -> pd.DataFrame:
    """Rank scores by their mean over units, best first.

    Parameters
    ----------
    scores : Scores of one metric on one test set
    allow : a reason to rank scores of different test sets all the same; it is put into
        every row of the table

    Returns
    -------
    DataFrame with one row per Scores: rank, identity, metric, value (mean over units that
    have one), n_units, n_test, split_hash

    Raises
    ------
    AlignmentError
        The test sets differ (other stimuli, folds or units), or are not known.
    InputError
        There is nothing to rank, or the metrics differ.
    """
    if not scores:
        raise InputError("there are no scores to rank")
    measured = sorted({s.metric for s in scores})
    if len(measured) > 1:
        raise InputError(f"scores of different metrics cannot be ranked: {', '.join(measured)}")
    hashes = [str((s.info.get("splits") or {}).get("hash", "unknown")) for s in scores]
    units = [tuple(s.units.index) if s.units is not None else () for s in scores]
    if allow is None and (len(set(hashes)) > 1 or "unknown" in hashes or len(set(units)) > 1):
        what = "units" if len(set(hashes)) == 1 and "unknown" not in hashes else "test sets"
        raise AlignmentError(
            f"these scores have different {what} (split hashes {', '.join(sorted(set(hashes)))}): a "
            "difference may come from the stimuli and not from the model. Score them on the same folds, or "
            "give allow='reason'"
        )
    rows = [
        {
            **{key: s.identity[key] for key in IDENTITY},
            "metric": s.metric,
            "value": float(np.nanmean(s.values)) if np.isfinite(s.values).any() else np.nan,
            "n_units": int(np.isfinite(s.values).sum()),
            "n_test": s.n_test,
            "split_hash": digest,
            **({"allow": allow} if allow is not None else {}),
        }
        for s, digest in zip(scores, hashes, strict=True)
    ]
    table = pd.DataFrame(rows).sort_values("value", ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
