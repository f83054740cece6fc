"""Rows of features and responses are joined by key, never by position."""

from __future__ import annotations

import numpy as np
import pandas as pd

from brainalign.errors import AlignmentError, ShapeError
from brainalign.types import Responses


def _shown(values: list[str], n: int = 5) -> str:
    text = ", ".join(repr(v) for v in values[:n])
    return text + (f" ... ({len(values)} in all)" if len(values) > n else "")


def join_keys(features: Responses, responses: Responses) -> list[str]:
    """Name the columns that join these tables, given the design of the responses.

    Trials: `stimulus_id` (else `sample_id`, where only the condition is known). Blocks and
    continuous designs: run (or story) and onset, which the features must share, within the
    subject and session where both sides know them; onset alone where neither has runs.
    """
    design = responses.info.get("design")
    left, right = responses.samples, features.samples
    assert left is not None
    assert right is not None
    if design is None:
        raise AlignmentError(
            "the responses do not say their design; give info={'design': 'trials'}, 'blocks' or "
            "'continuous' (a loader sets it, your own arrays must say it)"
        )
    if design == "trials":
        if "stimulus_id" in left and "stimulus_id" in right:
            return ["stimulus_id"]
        if "stimulus_id" in left or "stimulus_id" in right:
            side = "features" if "stimulus_id" in left else "responses"
            raise AlignmentError(f"the {side} have no stimulus_id column, the other side has; both need it")
        return ["sample_id"]
    run = next((c for c in ("run", "story") if c in left and c in right), None)
    one_recording = not any(c in table for c in ("run", "story") for table in (left, right))
    if "onset" in left and "onset" in right and (run is not None or one_recording):
        # run 1 of one session, or of one person, is not run 1 of another
        wider = [c for c in ("subject", "session") if _both_know(c, left, right)]
        return [*wider, *([run] if run else []), "onset"]
    raise AlignmentError(
        f"a {design} design joins by run (or story) and onset [s]; the responses have "
        f"{sorted(left.columns)}, the features {sorted(right.columns)}. Put the features on the "
        "samples of the responses first"
    )


def _both_know(column: str, left: pd.DataFrame, right: pd.DataFrame) -> bool:
    return all(column in table and table[column].notna().all() for table in (left, right))


def join_rows(features: Responses, responses: Responses, *, name: str = "features") -> np.ndarray:
    """Find the row of `features` for each row of `responses`, (n_samples,) integers.

    Raises
    ------
    AlignmentError
        A row of the responses has no partner, a key stands twice in the features, or the
        content of a stimulus differs between the two sides (same id, another hash).
    """
    keys = join_keys(features, responses)
    left = _key_frame(responses, keys)
    right = _key_frame(features, keys)
    row = pd.Series(np.arange(len(right)), index=_labels(right))
    if row.index.has_duplicates:
        twice = list(row.index[row.index.duplicated()])
        raise AlignmentError(f"{name}: {len(twice)} rows repeat a {' + '.join(keys)}, first {_shown(twice)}")
    labels = _labels(left)
    position = row.reindex(labels).to_numpy()
    missing = sorted({label for label, p in zip(labels, position, strict=True) if np.isnan(p)})
    if missing:
        raise AlignmentError(
            f"{name}: {len(missing)} of {len(set(labels))} {' + '.join(keys)} of the responses have no "
            f"row in the features: {_shown(missing)}. Extract features for these, or select the "
            "responses that have them"
        )
    index = position.astype(np.intp)
    _check_content(features, responses, index, name)
    return index


def joined_share(features: Responses, responses: Responses) -> float:
    """Share of the rows of the responses that have a row of features, 0 to 1."""
    keys = join_keys(features, responses)
    labels = _labels(_key_frame(responses, keys))
    known = set(_labels(_key_frame(features, keys)))
    return sum(label in known for label in labels) / max(1, len(labels))


def _key_frame(table: Responses, keys: list[str]) -> pd.DataFrame:
    samples = table.samples
    assert samples is not None
    frame = samples.reset_index()[keys]
    if frame.isna().any().any():
        row = int(np.flatnonzero(frame.isna().any(axis=1))[0])
        raise AlignmentError(f"row {row} has no {' + '.join(keys)}; every row that is joined needs one")
    return frame


def _labels(frame: pd.DataFrame) -> list[str]:
    columns = [
        [f"{v + 0.0:.6f}" for v in frame[c].astype(float).round(6)]
        if c == "onset"
        else frame[c].astype(str).tolist()
        for c in frame.columns
    ]
    return [" @ ".join(parts) for parts in zip(*columns, strict=True)]


def _check_content(features: Responses, responses: Responses, index: np.ndarray, name: str) -> None:
    left, right = responses.samples, features.samples
    assert left is not None
    assert right is not None
    if "content_hash" not in left or "content_hash" not in right:
        return
    ours = left["content_hash"].to_numpy(dtype=object)
    theirs = right["content_hash"].to_numpy(dtype=object)[index]
    for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a is not None and b is not None and a != b:
            key = left["stimulus_id"].iloc[row] if "stimulus_id" in left else left.index[row]
            raise AlignmentError(
                f"{name}: stimulus {key!r} has the content {b[:12]} there and {a[:12]} in the responses "
                f"(row {row}); the id does not fit its content. Were rows shuffled or files renamed?"
            )


def content_groups(samples: pd.DataFrame, groups: np.ndarray | None = None) -> np.ndarray:
    """Number the groups of rows that must never be split, (n_samples,) integers from 0.

    Rows are in one group when they share a stimulus id, the content of the stimulus
    (equal content under two ids is one group), or the label in `groups`.

    Cost: linear in the number of rows.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(samples)
    if groups is not None and np.shape(groups)[:1] != (n,):
        raise ShapeError(f"groups have shape {np.shape(groups)}; expected one label per row, ({n},)")
    columns = [samples[c].to_numpy(dtype=object) for c in ("stimulus_id", "content_hash") if c in samples]
    if groups is not None:
        columns.append(np.asarray(groups, dtype=object))
    if not columns:
        return np.arange(n)
    edges, offset = [], n
    for column in columns:
        known = ~np.asarray(pd.isna(column), dtype=bool)
        codes, labels = pd.factorize(pd.Series(column[known], dtype=object))
        edges.append(np.stack([np.flatnonzero(known), codes + offset]))
        offset += len(labels)
    rows, nodes = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(rows)), (rows, nodes)), shape=(offset, offset))
    component = connected_components(graph, directed=False)[1][:n]
    return pd.factorize(pd.Series(component))[0]
