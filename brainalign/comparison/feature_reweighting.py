"""Feature-reweighted RSA: every feature of a network has a weight of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._checks import as_matrix, one_of
from brainalign._memory import available_memory
from brainalign.comparison._inner_measures import checked_stack, on_host
from brainalign.comparison._option_checks import generator_of
from brainalign.comparison._ridge_weights import (
    RidgeWeights,
    active_stimuli,
    check_inner,
    checked_penalties,
    pool_rdms,
    ridge_weights,
)
from brainalign.comparison._rsa_folds import fold_labels
from brainalign.comparison._weighted_grams import (
    NormalEquations,
    of_features,
    of_stack,
    stimulus_counts,
)
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure, said
from brainalign.errors import InputError, MemoryBudgetError, ShapeError
from brainalign.types import RDMs

_FEWEST_IN_FOLD = 4


@dataclass(frozen=True, eq=False)
class FeatureReweightedModel:
    """Squared differences in single features, each with its own ridge weight.

    The RDM of feature f is ``(x_if - x_jf)^2``; equal weights give the squared Euclidean RDM of all
    features. The normal equations are found without these RDMs in O(n p^2).

    Parameters
    ----------
    features : array (n_stimuli, n_features)
    penalties, n_folds, non_negative, random_state : as in `RidgeModel`
        Penalties are relative to the mean sum of squares of the RDMs of all features.
    standardise : bool, default False: a feature of small variance is shrunk more

    Notes
    -----
    Kaniuth & Hebart 2022, doi:10.1016/j.neuroimage.2022.119294. Departures: squared differences in
    place of products of z-scored features; pairs that join a training with a test stimulus are used
    on neither side; the penalty is chosen on stimuli of the training part alone. Cost of a
    fit: inner folds (n p^2 + p^3) operations, 8 p^2 bytes a matrix.
    """

    features: np.ndarray = field(repr=False)
    penalties: Any = "auto"
    n_folds: int = 5
    non_negative: bool = False
    standardise: bool = False
    random_state: int = 0

    def __post_init__(self) -> None:
        values = as_matrix("features", on_host(self.features), dtype=np.float64)
        if not np.isfinite(values).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise InputError(
                f"features have values that are not finite, first in row {row}, feature {column}; leave it "
                "out"
            )
        object.__setattr__(self, "features", values)
        check_inner(self.penalties, self.n_folds)

    @cached_property
    def stack(self) -> np.ndarray:
        """The RDMs of all features (n_features, n, n), for `crossvalidate_rsa`; for few features."""
        n, p = self.features.shape
        if 8 * p * n * n > available_memory() // 2:
            raise MemoryBudgetError(
                f"{p} RDMs of {n} stimuli take {8 * p * n * n / 1e9:.1f} GB; use crossvalidate_features, "
                "which forms none"
            )
        x = self.features.T
        out: np.ndarray = (x[:, :, None] - x[:, None, :]) ** 2
        return out

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (n_features,); `stack` is used only where pairs are missing."""
        return self.fit_with_penalty(rdm, weights, stack=stack).weights

    def fit_with_penalty(
        self, rdm: np.ndarray, weights: np.ndarray, *, stack: np.ndarray | None = None
    ) -> RidgeWeights:
        """The weights with the penalty that was chosen and the scores of the others."""
        counts = stimulus_counts(weights)
        x = torch.from_numpy(self.features)
        dense = self.stack if counts is None and stack is None else stack

        def equations(kept: np.ndarray) -> NormalEquations:
            if counts is not None:
                return of_features(x, rdm, counts * kept)
            assert dense is not None
            return of_stack(dense, rdm, weights * np.outer(kept, kept))

        return ridge_weights(
            equations,
            active_stimuli(weights),
            self.features.shape[1],
            penalties=checked_penalties(self.penalties),
            n_folds=self.n_folds,
            non_negative=self.non_negative,
            standardise=self.standardise,
            random_state=self.random_state,
        )

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """The weighted sum of the RDMs of the features, (n, n), without forming them; O(n^2 p)."""
        # differences do not know the mean, which would cost their digits
        x = self.features - self.features.mean(axis=0)
        products = (x * weights) @ x.T
        own = np.diagonal(products)
        out: np.ndarray = own[:, None] + own[None, :] - products - products.T
        np.fill_diagonal(out, 0.0)
        return out


def crossvalidate_features(
    data_rdms: Any,
    models: dict[str, FeatureReweightedModel],
    *,
    n_folds_stimuli: int = 2,
    measure: str | None = None,
    random_state: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Score feature-reweighted models of many features on held-out stimuli.

    The same folds and fits as in `crossvalidate_rsa`, for networks whose features are too many
    for a stack of RDMs; beside each fitted model the RDM of equal weights is scored on the same folds.

    Parameters
    ----------
    data_rdms : array (n_subjects, n, n) or (n, n), or RDMs
    models : {name: FeatureReweightedModel}
    n_folds_stimuli : int, at least 2; at least 4 stimuli each
    measure : as in `compare_rdms`; None: `default_measure`, said in a warning
    random_state : int or numpy Generator, of the folds

    Returns
    -------
    DataFrame: model, kind (``"fitted"``: cross-validated weights; ``"fixed"``: equal weights), subject,
    score (mean over the folds), n_folds, measure. A fold whose prediction is constant scores 0.

    Raises
    ------
    ShapeError, InputError
        Other numbers of stimuli; folds too many; no models.

    Notes
    -----
    Cost: folds times the fit of `FeatureReweightedModel`, plus O(n^2 p) for the predictions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 30))
    >>> brain = ((x[:, None, :3] - x[None, :, :3]) ** 2).sum(-1)
    >>> found = crossvalidate_features(brain, {"net": FeatureReweightedModel(x)}, measure="pearson")
    >>> bool(found.score[0] > 0.8 > found.score[1])
    True
    """
    data = checked_stack("data_rdms", data_rdms)
    if not models:
        raise ShapeError("models is empty; expected {name: FeatureReweightedModel}")
    if n_folds_stimuli < 2:
        raise InputError(
            f"n_folds_stimuli={n_folds_stimuli}; weights are scored on other stimuli: give at least 2"
        )
    chosen = _measure(measure, data_rdms)
    label = fold_labels(
        data.shape[1], n_folds_stimuli, "stimuli", _FEWEST_IN_FOLD, generator_of(random_state)
    )
    rows = []
    for name, model in models.items():
        if len(model.features) != data.shape[1]:
            raise ShapeError(
                f"model {name!r} is over {len(model.features)} stimuli and data_rdms over {data.shape[1]}; "
                "they must agree"
            )
        scores = np.zeros((2, len(data)))
        equal = model.predict(np.ones(model.features.shape[1]))
        for fold in range(n_folds_stimuli):
            held = np.flatnonzero(label == fold)
            weights = model.fit_with_penalty(*pool_rdms(data, label != fold)).weights
            fitted = model.predict(weights)
            inside = np.ix_(held, held)
            test = data[:, held][:, :, held]
            for kind, predicted in enumerate((fitted, equal)):
                scores[kind] += _score(predicted[inside], test, chosen) / n_folds_stimuli
        for label_of_kind, row in zip(("fitted", "fixed"), scores, strict=True):
            rows += [(name, label_of_kind, s, float(v), n_folds_stimuli, chosen) for s, v in enumerate(row)]
    return pd.DataFrame(rows, columns=["model", "kind", "subject", "score", "n_folds", "measure"])


def _score(predicted: np.ndarray, test: np.ndarray, measure: str) -> np.ndarray:
    """Similarity with each subject (s,); 0 for a prediction without any difference."""
    if np.isnan(predicted).any():
        return np.full(len(test), np.nan)
    if not predicted.any():
        return np.zeros(len(test))
    return np.asarray(compare_rdms(test, predicted[None], measure=measure))[:, 0]


def _measure(measure: str | None, data_rdms: Any) -> str:
    if measure is None:
        distance = data_rdms.info.get("distance") if isinstance(data_rdms, RDMs) else None
        measure = said(default_measure(distance), stacklevel=4)
    one_of("measure", measure, COMPARATORS)
    return measure
