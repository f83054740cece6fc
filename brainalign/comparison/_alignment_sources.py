"""What `compare_scores` compares: one or many targets on one stimulus axis, and the repeats behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.comparison._pairing import finite_matrix, paired, stimulus_means
from brainalign.errors import AlignmentError, BrainAlignError, InputError, ShapeError
from brainalign.types import Responses

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Repeats:
    """Single repeats, (n_repeats, n_stimuli, q), and which of them exist, (n_repeats, n_stimuli)."""

    values: FloatArray
    present: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of repeats of each stimulus, (n_stimuli,)."""
        out: np.ndarray[Any, np.dtype[np.int64]] = self.present.sum(axis=0)
        return out


@dataclass(frozen=True, eq=False)
class Sources:
    """x (n, p), each target (n, q) with its label, the repeats of a single target or None."""

    x: FloatArray
    targets: list[FloatArray]
    labels: list[str]
    repeats: Repeats | None
    by_subject: bool
    joined: str
    named: dict[str, str]


def read_sources(x: Any, y: Any, repeats: Any, subjects: Any) -> Sources:
    """Join x with y, with the repeats behind y, or with every subject."""
    if repeats is False:
        repeats = None
    if repeats is not None and subjects is not None:
        raise InputError(
            "both repeats and subjects are given; give one of them: repeats for the ceiling of one system, "
            "subjects for one score and one ceiling each (of the means of their repeats)"
        )
    joined = "by stimulus_id" if isinstance(x, Responses) else "by position"
    if subjects is not None:
        if y is not None:
            raise InputError("both y and subjects are given; the subjects take the place of y: give y=None")
        first, targets, labels = _subjects(x, subjects)
        return Sources(first, targets, labels, None, True, joined, {})
    found = None if repeats is None else _repeats(x, y, repeats)
    if y is None and found is None:
        raise InputError("y is None; expected y, the single repeats behind it (repeats=), or subjects=")
    first, second = paired(x, _mean(found) if y is None and found is not None else y)
    return Sources(first, [second], ["y"], found, False, joined, _name_of(y))


def _mean(repeats: Repeats) -> FloatArray:
    return np.asarray(repeats.values.mean(axis=0))


def _name_of(y: Any) -> dict[str, str]:
    """The subject of y, where it names one."""
    label = _subject_label(y)
    return {} if label is None else {"subject": label}


def _subject_label(responses: Any) -> str | None:
    """The one subject that responses name in every row, or None."""
    samples = responses.samples if isinstance(responses, Responses) else None
    if samples is None or "subject" not in samples or samples["subject"].isna().any():
        return None
    names = samples["subject"].unique()
    return str(names[0]) if len(names) == 1 else None


def _subjects(x: Any, subjects: Any) -> tuple[FloatArray, list[FloatArray], list[str]]:
    if isinstance(subjects, (Responses, str)) or not isinstance(subjects, (Sequence, np.ndarray)):
        raise InputError(
            f"subjects is {type(subjects).__name__}; expected a sequence of arrays (n_stimuli, n_units) or "
            "of Responses, one for each subject"
        )
    if len(subjects) == 0:
        raise ShapeError("subjects is empty; expected at least one subject")
    first: FloatArray | None = None
    targets, labels = [], []
    for position, subject in enumerate(subjects):
        try:
            first, target = paired(x, subject)
        except BrainAlignError as error:
            raise type(error)(f"subjects[{position}], the y of this message: {error}") from error
        targets.append(target)
        labels.append(_subject_label(subject) or str(position))
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError(
            f"subjects {[i for i, v in enumerate(labels) if v == twice[0]]} are all named {twice[0]!r}; a "
            "subject occurs once: put its rows into one Responses, or name the subjects apart"
        )
    assert first is not None
    return first, targets, labels


def _repeats(x: Any, y: Any, repeats: Any) -> Repeats:
    if repeats is True:
        if not (isinstance(x, Responses) and isinstance(y, Responses)):
            raise InputError(
                "repeats=True takes the rows of each stimulus of y as its repeats; it needs x and y as "
                "Responses with a stimulus_id. Plain arrays: repeats=array (n_repeats, n_stimuli, n_units)"
            )
        paired(x, y)  # ids that have no partner are refused before anything is ordered by them
        return _repeats_of_rows(y, stimulus_means("x", x).stimulus_id)
    if isinstance(x, Responses) or isinstance(y, Responses):
        raise AlignmentError(
            "repeats is an array and x or y is Responses; rows are joined by stimulus_id or by position, "
            "never both: give y as Responses with all its rows and repeats=True, or arrays alone"
        )
    array = np.asarray(repeats)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(
            f"repeats has shape {array.shape}; expected (n_repeats, n_stimuli, n_units), at least one of each"
        )
    flat = finite_matrix("repeats (its first two axes in one)", array.reshape(-1, array.shape[2]))
    values = flat.reshape(array.shape)
    if y is not None and np.shape(y) != values.shape[1:]:
        raise ShapeError(
            f"repeats has shape {values.shape} and y {np.shape(y)}; expected (n_repeats, *y.shape): the "
            "single repeats behind y"
        )
    return Repeats(values, np.ones(values.shape[:2], dtype=np.bool_))


def _repeats_of_rows(y: Responses, ids: np.ndarray) -> Repeats:
    """The rows of each stimulus by their `repetition`, where it tells them apart, else as they come."""
    samples = y.samples
    assert samples is not None
    table = pd.DataFrame({"stimulus": samples["stimulus_id"].to_numpy(), "row": np.arange(len(samples))})
    if "repetition" in samples and not samples["repetition"].isna().any():
        table["repetition"] = samples["repetition"].to_numpy()
        if not table.duplicated(["stimulus", "repetition"]).any():
            table = table.sort_values("repetition", kind="stable")
    rank = table.groupby("stimulus", sort=False).cumcount().to_numpy()
    place = {s: i for i, s in enumerate(ids)}
    column = np.array([place[s] for s in table["stimulus"]])
    values = np.zeros((int(rank.max()) + 1, len(ids), y.n_units))
    present = np.zeros(values.shape[:2], dtype=np.bool_)
    values[rank, column] = finite_matrix("y", y.array())[table["row"].to_numpy()]
    present[rank, column] = True
    return Repeats(values, present)
