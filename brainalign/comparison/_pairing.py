"""Two systems brought to one stimulus axis: by id for responses, by position for plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from brainalign._checks import as_matrix
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array
from brainalign.types import RDMs, Responses

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class StimulusMeans:
    """One row per stimulus, in the order of first appearance: values (n, p), ids (n,), hashes."""

    values: np.ndarray
    stimulus_id: np.ndarray
    content_hash: dict[str, str]


def passed_on(*sources: Any) -> dict[str, Any]:
    """What a result must keep saying of its sources: that they are simulated, or a guard was overruled."""
    out: dict[str, Any] = {}
    for source in sources:
        if isinstance(source, (Responses, RDMs)):
            out.update({name: source.info[name] for name in ("simulated", "allow") if source.info.get(name)})
    return out


def finite_matrix(name: str, x: Any) -> np.ndarray:
    """Return `x` as a finite float64 (n_stimuli, n_units) array with at least one unit."""
    array = as_matrix(name, plain_array(name, x), dtype=np.float64)
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ShapeError(f"{name} has shape {array.shape}; expected at least one stimulus and one unit")
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} has {int(bad.sum())} values that are not finite, first in row {row}, unit {column}; "
            "leave out these units or stimuli before the comparison"
        )
    return array


def stimulus_means(name: str, responses: Responses) -> StimulusMeans:
    """Average the rows of each stimulus, so that repeats do not become stimuli."""
    samples = responses.samples
    if samples is None or "stimulus_id" not in samples or samples["stimulus_id"].isna().any():
        raise AlignmentError(
            f"{name} has rows without a stimulus_id; a comparison joins responses by stimulus_id. "
            "Give plain arrays where the rows already agree"
        )
    if len(responses.shape) != 2:
        raise ShapeError(
            f"{name} has shape {responses.shape} with a time axis; expected (n_samples, n_units): "
            "choose one time, or average over times, first"
        )
    values = finite_matrix(name, responses.array())
    codes, ids = pd.factorize(samples["stimulus_id"])
    hashes = _hashes(name, samples)
    if len(ids) != len(codes):
        counts = np.bincount(codes)
        weights = sparse.csr_array(
            (1.0 / counts[codes], (codes, np.arange(len(codes)))), shape=(len(ids), len(codes))
        )
        values = np.asarray(weights @ values)
    return StimulusMeans(values, np.asarray(ids, dtype=object), hashes)


def _hashes(name: str, samples: pd.DataFrame) -> dict[str, str]:
    """The content hash of each stimulus that has one; two hashes under one id are refused."""
    if "content_hash" not in samples:
        return {}
    known = samples.loc[samples["content_hash"].notna(), ["stimulus_id", "content_hash"]].drop_duplicates()
    twice = known["stimulus_id"].duplicated()
    if twice.any():
        raise AlignmentError(
            f"{name}: stimulus_id {known.loc[twice, 'stimulus_id'].iloc[0]!r} occurs with different content "
            "hashes; the same id names different stimuli"
        )
    return dict(zip(known["stimulus_id"], known["content_hash"], strict=True))


def check_same_ids(first: Any, second: Any) -> None:
    """Refuse two sets of stimulus ids that differ, listing those without a partner."""
    parts = []
    for name, own, other in (("x", first, second), ("y", second, first)):
        known = set(other)
        alone = [s for s in own if s not in known]
        if alone:
            shown = ", ".join(map(repr, alone[:_SHOWN])) + (" ..." if len(alone) > _SHOWN else "")
            parts.append(f"{len(alone)} of {len(own)} stimuli of {name} have no partner: {shown}")
    if parts:
        raise AlignmentError("; ".join(parts) + ". Select the shared stimuli on both sides first")


def paired(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y as float64 (n, p) and (n, q) arrays whose rows are the same stimuli.

    Raises
    ------
    AlignmentError
        One is an array and the other `Responses`; a stimulus has no partner; an id has
        another content hash on the other side.
    ShapeError
        Plain arrays with different numbers of rows; a time axis.
    InputError
        Values that are not finite.
    """
    if isinstance(x, Responses) != isinstance(y, Responses):
        raise AlignmentError(
            "one of x and y is Responses and the other a plain array; rows are joined by stimulus_id or "
            "by position, never both: give two Responses or two arrays"
        )
    if not isinstance(x, Responses):
        first, second = finite_matrix("x", x), finite_matrix("y", y)
        if len(first) != len(second):
            raise ShapeError(
                f"x has {len(first)} rows and y has {len(second)}; plain arrays are joined by position and "
                "must have one row per stimulus on both sides"
            )
        return first, second
    a, b = stimulus_means("x", x), stimulus_means("y", y)
    check_same_ids(a.stimulus_id, b.stimulus_id)
    for stimulus_id, value in a.content_hash.items():
        if b.content_hash.get(stimulus_id, value) != value:
            raise AlignmentError(
                f"stimulus_id {stimulus_id!r} has content hash {value[:12]} in x and "
                f"{b.content_hash[stimulus_id][:12]} in y; the same id names different stimuli"
            )
    position = {s: i for i, s in enumerate(b.stimulus_id)}
    return a.values, b.values[[position[s] for s in a.stimulus_id]]


def paired_samples(x: Any, y: Any, samples: str) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y as a measure over ``"stimuli"``, ``"trials"`` or ``"trajectories"`` takes them.

    Raises
    ------
    AlignmentError, ShapeError, InputError
        As `paired`; trials: another number of axes than 3, repeats that differ between
        stimuli, fewer than 2 repeats; trajectories: another number of axes than 2 or 3.
    """
    if samples == "trials":
        return _paired_trials(x, y)
    if samples == "trajectories":
        return _trajectory("x", x), _trajectory("y", y)
    return paired(x, y)


def _paired_trials(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(x, Responses) != isinstance(y, Responses):
        paired(x, y)  # refuses
    if not isinstance(x, Responses):
        first, second = _finite_axes("x", x, (3,), _TRIALS), _finite_axes("y", y, (3,), _TRIALS)
        if len(first) != len(second):
            raise ShapeError(f"x has {len(first)} stimuli and y has {len(second)}; expected the same stimuli")
        return first, second
    (first, ids), (second, others) = _trials_of("x", x), _trials_of("y", y)
    check_same_ids(ids, others)
    position = {s: i for i, s in enumerate(others)}
    return first, second[[position[s] for s in ids]]


_TRIALS = "(n_stimuli, n_repeats, n_units): the single trials of every stimulus"
_TRAJECTORY = "(n_times, n_units) or (n_trials, n_times, n_units)"


def _trials_of(name: str, responses: Responses) -> tuple[np.ndarray, np.ndarray]:
    """Single trials (n_stimuli, n_repeats, p) and the ids of their stimuli."""
    ids = stimulus_means(name, responses).stimulus_id
    values = finite_matrix(name, responses.array())
    assert responses.samples is not None
    codes = pd.factorize(responses.samples["stimulus_id"])[0]
    counts = np.bincount(codes)
    if counts.min() != counts.max() or counts.min() < 2:
        fewest, most = int(counts.argmin()), int(counts.argmax())
        raise ShapeError(
            f"{name} has {counts.min()} rows of stimulus {ids[fewest]!r} and {counts.max()} "
            f"of {ids[most]!r}; a measure of single trials needs the same number of repeats of every "
            "stimulus, at least 2"
        )
    order = np.argsort(codes, kind="stable")
    return values[order].reshape(len(ids), counts[0], -1), ids


def _trajectory(name: str, x: Any) -> np.ndarray:
    if isinstance(x, Responses):
        values = np.asarray(x.array(), dtype=np.float64)
        x = values.transpose(0, 2, 1) if values.ndim == 3 else values
    return _finite_axes(name, x, (2, 3), _TRAJECTORY)


def _as_numbers(name: str, x: Any) -> np.ndarray:
    array = plain_array(name, x)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    return array.astype(np.float64, copy=False)


def _finite_axes(name: str, x: Any, axes: tuple[int, ...], expected: str) -> np.ndarray:
    array = _as_numbers(name, x)
    if array.ndim not in axes or 0 in array.shape:
        raise ShapeError(f"{name} has shape {array.shape}; expected {expected}")
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name} has values that are not finite, first at {place}; leave them out first")
    return array
