"""Features and responses on one sample axis, whatever the caller gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import as_matrix
from brainalign.design import join_rows, recording_parts
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import DESIGNS, Responses

_ROWS = 4096  # rows that are looked at at once


@dataclass(frozen=True)
class Problem:
    """Responses (n_samples, n_targets) and, per feature space, the row of each sample.

    `keys` (n_samples,) tells which samples are repeats of one stimulus; `shape` is the
    shape of one row of the responses, (n_units,) or (n_units, n_times); `confounds`
    (n_samples, n_confounds) is regressed out within every fold.
    """

    features: dict[str, Any]
    rows: dict[str, np.ndarray]
    values: np.ndarray
    keys: np.ndarray
    samples: pd.DataFrame
    units: pd.DataFrame
    design: str
    positional: bool
    groups: np.ndarray | None
    shape: tuple[int, ...]
    info: dict[str, Any]
    confounds: np.ndarray | None = None

    def feature_rows(self, name: str, samples: np.ndarray) -> np.ndarray:
        """Features of these samples, (n, n_features); reads only the rows it needs."""
        return np.asarray(self.features[name][self.rows[name][samples]])

    @property
    def row_kind(self) -> str:
        """What a row is: ``"stimulus"``, ``"trial"`` (of an unknown stimulus) or ``"sample"`` in time."""
        if self.design != "trials":
            return "sample"
        known = {"stimulus_id", "content_hash"} & set(self.samples)
        return "stimulus" if known or self.positional else "trial"

    def labels(self) -> list[str]:
        """Names of the rows for the hash of a test set: stimulus ids where known."""
        if self.design == "trials" and "stimulus_id" in self.samples:
            return [str(v) for v in self.samples["stimulus_id"]]
        return [str(v) for v in self.keys] if self.positional else [str(v) for v in self.samples.index]


def prepare(features: Any, responses: Any, *, groups: Any, design: str | None, splits: Any) -> Problem:
    """Join features to responses by key, or by position for plain arrays."""
    named = _named_features(features)
    if isinstance(responses, Responses):
        if design is not None and design != responses.info.get("design", design):
            raise InputError(
                f"design={design!r}, and the responses say {responses.info['design']!r}; give one"
            )
        if responses.info.get("design") is None and design is not None:
            responses = Responses(
                responses.values,
                responses.samples,
                responses.units,
                responses.times,
                {**responses.info, "design": design},
            )
        return _from_responses(named, responses, groups)
    return _from_arrays(named, responses, groups, design, splits)


def _named_features(features: Any) -> dict[str, Any]:
    named = dict(features) if isinstance(features, Mapping) else {"features": features}
    if not named:
        raise InputError("features are empty; expected at least one layer or feature space")
    for name, part in named.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"a feature space is named {name!r}; expected non-empty text")
        if isinstance(part, Responses) and len(part.shape) != 2:
            raise ShapeError(f"features {name!r} have shape {part.shape}; expected (n_samples, n_features)")
    return named


def _from_responses(named: dict[str, Any], responses: Responses, groups: Any) -> Problem:
    samples, units = responses.samples, responses.units
    assert samples is not None
    assert units is not None
    if responses.n_units == 0:
        raise ShapeError("the responses have 0 units; nothing can be predicted")
    if "subject" in samples and samples["subject"].nunique() > 1:
        raise AlignmentError(
            f"the responses hold {samples['subject'].nunique()} subjects; one Responses is one subject: "
            "select the rows of one"
        )
    features, rows = {}, {}
    positional = False
    for name, part in named.items():
        if isinstance(part, Responses):
            rows[name] = join_rows(part, responses, name=f"features {name!r}")
            features[name] = part.values
            samples = _with_content(samples, part, rows[name])
        else:
            features[name] = as_matrix(f"features {name!r}", part)
            _same_length(name, len(features[name]), responses.n_samples)
            rows[name], positional = np.arange(responses.n_samples), True
        _finite_features(name, features[name])
    known = "stimulus_id" in samples and responses.info.get("design") == "trials"
    keys = samples["stimulus_id"] if known else samples.index
    values = responses.array()
    return Problem(
        features,
        rows,
        values.reshape(len(values), -1),
        np.asarray(keys, dtype=object),
        samples,
        units,
        _design(responses),
        positional,
        _labels(groups, responses.n_samples),
        values.shape[1:],
        {**responses.info, "times": responses.times},
    )


def _with_content(samples: pd.DataFrame, part: Responses, rows: np.ndarray) -> pd.DataFrame:
    """Take the content hash from the features where the responses do not know it.

    Features of extracted stimuli know which images are equal; recordings often do not.
    """
    theirs = part.samples
    if theirs is None or "content_hash" not in theirs:
        return samples
    unknown = pd.Series([None] * len(samples), index=samples.index, dtype=object)
    ours = samples.get("content_hash", unknown)
    return samples.assign(
        content_hash=ours.where(ours.notna(), theirs["content_hash"].to_numpy(dtype=object)[rows])
    )


def _design(responses: Responses) -> str:
    design = responses.info.get("design")
    if design is None:
        raise AlignmentError(
            f"the responses do not say their design; give info={{'design': ...}}, one of {', '.join(DESIGNS)}"
        )
    return str(design)


def _from_arrays(
    named: dict[str, Any], responses: Any, groups: Any, design: str | None, splits: Any
) -> Problem:
    if any(isinstance(part, Responses) for part in named.values()):
        raise AlignmentError(
            "features are Responses with ids and the responses a plain array without: rows cannot be "
            "joined by key. Wrap the array in Responses(values, samples, info={'design': ...})"
        )
    values = np.asarray(responses)
    if values.ndim == 1:
        values = values[:, None]
    shape = values.shape[1:]
    values = as_matrix("responses", values.reshape(len(values), -1) if values.ndim == 3 else values)
    if values.shape[1] == 0:
        raise ShapeError("the responses have 0 units; nothing can be predicted")
    if design is None:
        if groups is None and isinstance(splits, str):
            raise InputError(
                "plain arrays do not say how rows depend on each other: give groups= (rows of one stimulus "
                "or run share a label), design='trials', 'blocks' or 'continuous', or splits="
            )
        design = "trials"
    features = {name: as_matrix(f"features {name!r}", part) for name, part in named.items()}
    for name, part in features.items():
        _same_length(name, len(part), len(values))
        _finite_features(name, part)
    labels = _labels(groups, len(values))
    rows = {name: np.arange(len(values)) for name in features}
    samples = pd.DataFrame(index=pd.Index([str(i) for i in range(len(values))], name="sample_id"))
    units = pd.DataFrame(index=pd.Index([str(i) for i in range(shape[0])], name="unit_id"))
    return Problem(
        features,
        rows,
        values,
        _array_keys(features, labels, len(values), design),
        samples,
        units,
        design,
        True,
        labels,
        shape,
        {"design": design},
    )


def _array_keys(
    features: dict[str, np.ndarray], groups: np.ndarray | None, n: int, design: str
) -> np.ndarray:
    """Rows of one group with equal features are repeats of one stimulus."""
    if groups is None or design != "trials":
        return np.arange(n).astype(str).astype(object)
    seen: dict[Any, str] = {}
    keys = []
    for row in range(n):
        mark = (str(groups[row]), *(part[row].tobytes() for part in features.values()))
        keys.append(seen.setdefault(mark, str(len(seen))))
    return np.array(keys, dtype=object)


def check_repeats(problem: Problem, repeats: str) -> None:
    """Refuse to average trials whose features, given by position, differ."""
    if not problem.positional or repeats == "single":
        return
    codes = pd.factorize(pd.Series(problem.keys, dtype=object))[0]
    first = np.unique(codes, return_index=True)[1][codes]
    if (first == np.arange(len(first))).all():
        return
    for name, rows in problem.rows.items():
        values = np.asarray(problem.features[name][:])
        if not np.array_equal(values[rows], values[rows[first]]):
            raise AlignmentError(
                f"features {name!r} differ between trials of one stimulus, and averages need one row for "
                "each; use repeats='single'"
            )


def with_confounds(problem: Problem, confounds: Any, responses: Any, repeats: str) -> Problem:
    """Put the confounds on the samples: joined like features, or by position."""
    if confounds is None:
        return problem
    if repeats != "single" and len(set(problem.keys)) < len(problem.keys):
        raise InputError(
            "confounds belong to single samples, and repeats of a stimulus are averaged here; use "
            "repeats='single', or remove the confounds before"
        )
    n = len(problem.values)
    if isinstance(confounds, Responses):
        if not isinstance(responses, Responses):
            raise AlignmentError(
                "confounds are Responses with ids and the responses a plain array; give both alike"
            )
        _same_filter(confounds, responses)
        values = as_matrix("confounds", confounds.array())[join_rows(confounds, responses, name="confounds")]
    else:
        values = as_matrix("confounds", confounds)
        _same_length("confounds", len(values), n)
    _finite_features("confounds", values)
    if values.shape[1] >= n:
        raise ShapeError(f"{values.shape[1]} confounds for {n} samples; they would explain everything")
    values = values.astype(np.float64)
    parts = recording_parts(problem.samples)
    if parts is not None:
        # responses lose their mean in every run: so must what is to explain them
        means = pd.DataFrame(values).groupby(parts).transform("mean").to_numpy()
        values = values - means
    return replace(problem, confounds=values)


def _same_filter(confounds: Responses, responses: Responses) -> None:
    """Slow drift that only the confounds still have would swamp what they explain."""
    done, wanted = (list(part.info.get("preparation", [])) for part in (confounds, responses))
    if done != wanted:
        raise InputError(
            f"the responses were prepared ({'; '.join(wanted) or 'not at all'}) and the confounds otherwise "
            f"({'; '.join(done) or 'not at all'}); give confounds=design.prepare_features(confounds, "
            "responses, high_pass_s=..., detrend=...) with the same filter"
        )


def _labels(groups: Any, n: int) -> np.ndarray | None:
    if groups is None:
        return None
    labels = np.asarray(groups, dtype=object)
    if labels.shape != (n,):
        raise ShapeError(f"groups have shape {labels.shape}; expected one label per row, ({n},)")
    return labels


def _same_length(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise ShapeError(f"features {name!r} have {found} rows, the responses {expected}; they must be equal")


def _finite_features(name: str, values: Any) -> None:
    if values.shape[1] == 0:
        raise ShapeError(f"features {name!r} have 0 columns")
    for start in range(0, values.shape[0], _ROWS):
        bad = ~np.isfinite(values[start : start + _ROWS])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"features {name!r} hold NaN or infinite values, first in row {start + row}, column "
                f"{column}; a prediction cannot be made from them. Remove these columns or stimuli"
            )
