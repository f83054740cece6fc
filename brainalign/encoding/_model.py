"""The model that is kept: refitted on all rows, for predictions of new stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.design import feature_scale, selection_regions
from brainalign.encoding._folds import (
    CROSS_VALIDATED,
    FoldRows,
    Options,
    feature_part,
    fit_weighted,
    fold_estimator,
    fold_rows,
    inner_scores,
    own_scores,
)
from brainalign.encoding._inputs import Problem
from brainalign.encoding._selection import region_of_targets, winners
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses


@dataclass(frozen=True)
class EncodingModel:
    """Linear maps from features to responses.

    Attributes: `chosen` {feature space(s): positions of its targets}; `scalings` {name:
    (mean, scale)}; `estimators` {space: fitted estimator of all targets}; `shape` of one
    row of responses.
    """

    chosen: dict[tuple[str, ...], np.ndarray]
    scalings: dict[str, tuple[np.ndarray, np.ndarray]]
    estimators: dict[tuple[str, ...], Any]
    shape: tuple[int, ...]

    def predict(self, features: Any) -> np.ndarray:
        """Predict responses, (n_samples, n_units[, n_times]), in the row order of the features."""
        named = features if isinstance(features, Mapping) else {"features": features}
        out = None
        for names, targets in self.chosen.items():
            X = np.concatenate([self._scaled(name, named) for name in names], axis=1)
            predicted = np.asarray(self.estimators[names].predict(X)).reshape(len(X), -1)
            if out is None:
                out = np.full((len(X), int(np.prod(self.shape))), np.nan)
            if len(X) != len(out):
                raise ShapeError(f"features {names!r} have {len(X)} rows, others {len(out)}")
            out[:, targets] = predicted[:, targets]
        assert out is not None
        return out.reshape(len(out), *self.shape)

    def _scaled(self, name: str, named: Mapping[str, Any]) -> np.ndarray:
        if name not in named:
            raise AlignmentError(
                f"the model needs the features {name!r}; given: {', '.join(map(str, named))}"
            )
        part = named[name]
        X = part.array() if isinstance(part, Responses) else np.asarray(part)
        mean, scale = self.scalings[name]
        if X.ndim != 2 or X.shape[1] != len(mean):
            raise ShapeError(
                f"features {name!r} have shape {X.shape}; the model was fitted on {len(mean)} columns"
            )
        scaled: np.ndarray = (X - mean) / scale
        return scaled

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """{feature space: (n_targets, n_features)} in units of the features as given."""
        out: dict[str, np.ndarray] = {}
        for names, targets in self.chosen.items():
            estimator = self.estimators[names]
            if not hasattr(estimator, "coef_"):
                raise InputError(f"{type(estimator).__name__} has no weights")
            coef = np.asarray(estimator.coef_).reshape(int(np.prod(self.shape)), -1)
            start = 0
            for name in names:
                scale = self.scalings[name][1]
                block = coef[:, start : start + len(scale)] / scale
                out.setdefault(name, np.full(block.shape, np.nan))[targets] = block[targets]
                start += len(scale)
        return out


def fit_model(problem: Problem, spaces: list[list[str]], options: Options, select: str) -> EncodingModel:
    """Choose the feature space of each unit on inner folds of all rows, and fit it on all rows.

    Where the dataset has its own test set, those rows stay out of this model too.
    """
    everything = np.arange(len(problem.values))
    if "split" in problem.samples:
        held = problem.samples["split"].astype(str).str.lower().isin(["test", "testing"]).to_numpy()
        everything = everything[~held] if held.any() and not held.all() else everything
    rows = fold_rows(problem, everything, everything[:0], options)
    inner, fitted, scalings = [], {}, {}
    for names in spaces:
        X = []
        for name in names:
            values = feature_part(problem, name, rows)[0]
            scalings[name] = feature_scale(values, rows.weights, options.feature_scaling)
            X.append((values - scalings[name][0]) / scalings[name][1])
        estimator, score = _fit_one(problem, names, np.concatenate(X, axis=1), rows, options)
        fitted[tuple(names)] = estimator
        inner.append(score)
    n_times = int(np.prod(problem.shape[1:], dtype=int))
    index = None
    if select != "unit":
        index = region_of_targets(selection_regions(problem.units, select), len(problem.units), n_times)
    best = winners(np.stack(inner), index)
    chosen = {tuple(names): np.flatnonzero(best == i) for i, names in enumerate(spaces) if (best == i).any()}
    kept = {names: fitted[names] for names in chosen}
    used = {name: scalings[name] for names in chosen for name in names}
    return EncodingModel(chosen, used, kept, problem.shape)


def _fit_one(
    problem: Problem, names: list[str], X: np.ndarray, rows: FoldRows, options: Options
) -> tuple[Any, np.ndarray]:
    estimator = fold_estimator(problem, names, rows, options)
    if isinstance(estimator, CROSS_VALIDATED):
        estimator.fit(X, rows.y_train, sample_weight=rows.weights)
        return estimator, own_scores(estimator)
    usable = np.isfinite(rows.y_train).all(axis=0)
    if not usable.all():
        raise InputError(
            f"{int((~usable).sum())} units have NaN or infinite responses, which {type(estimator).__name__} "
            "cannot leave out of the kept model; select the other units, or use RidgeCV"
        )
    score = inner_scores(estimator, X, rows.y_train, rows)
    return fit_weighted(estimator, X, rows.y_train, rows.weights), score
