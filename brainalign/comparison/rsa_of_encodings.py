"""RSA of encoded responses: RDMs of cross-validated predictions against RDMs of measured responses."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from brainalign._checks import group_codes, one_of
from brainalign.comparison._pairing import paired
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure, said
from brainalign.comparison.rdms import rdm
from brainalign.design.join import content_groups
from brainalign.design.splits import Splits, grouped_splits
from brainalign.errors import AlignmentError, InputError, LeakageError, ShapeError
from brainalign.types import Responses

FEWEST_IN_FOLD = 4
_FLAT = 1e-9
Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class EncodedRsa:
    """Similarity of measured RDMs with those of predictions and of the features themselves.

    Parameters
    ----------
    models : tuple of str
    fitted : array (n_models, n_folds), RDM of the predictions of held-out stimuli
    fixed : array (n_models, n_folds), RDM of the features, nothing fitted, over the same pairs
    predictions : {name: array (n_stimuli, n_units)} of held-out stimuli; NaN for stimuli or units without one
    folds : tuple of (training, test) positions of stimuli
    distance, measure, pairs : str
    info : ``reasons`` for scores that are 0 or NaN, with counts; the estimator
    """

    models: tuple[str, ...]
    fitted: np.ndarray = field(repr=False)
    fixed: np.ndarray = field(repr=False)
    predictions: Mapping[str, np.ndarray] = field(repr=False)
    folds: tuple[Fold, ...] = field(repr=False)
    distance: str
    measure: str
    pairs: str
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Two rows a model, kind ``"fitted"`` and ``"fixed"``: score, standard_error over folds, and how.

        Columns: model, kind, score, standard_error (folds share training stimuli: too small by up
        to a third), n_folds, pairs, distance, measure.
        """
        rows = []
        for i, name in enumerate(self.models):
            for kind, table in (("fitted", self.fitted), ("fixed", self.fixed)):
                k = table.shape[1]
                error = float(table[i].std(ddof=1) / np.sqrt(k)) if k > 1 else float("nan")
                rows.append((name, kind, float(table[i].mean()), error))
        out = pd.DataFrame(rows, columns=["model", "kind", "score", "standard_error"])
        return out.assign(
            n_folds=len(self.folds), pairs=self.pairs, distance=self.distance, measure=self.measure
        )


def encoded_rsa(
    features: Any,
    responses: Any,
    *,
    estimator: Any = None,
    cv: Any = 5,
    groups: Any = None,
    distance: str = "correlation",
    measure: str | None = None,
    pairs: str = "within_folds",
    random_state: int = 0,
) -> EncodedRsa:
    """Compare RDMs of encoding-model predictions with RDMs of the measured responses.

    The estimator is fitted on the training stimuli of a fold, predicts the held-out ones, and the
    RDM of these predictions is compared with that of their measured responses; beside it the RDM
    of the features themselves, nothing fitted, over the same pairs.

    Parameters
    ----------
    features : {model: Responses or array (n_stimuli, n_features)}, or one of these
    responses : Responses (n_samples, n_units), repeats averaged, or array (n_stimuli, n_units)
        `Responses` are joined by stimulus_id, arrays by position.
    estimator : with `fit` and `predict` for several targets, cloned for each fold; None: \
`brainalign.regression.RidgeCV()`, which chooses its penalties inside the training stimuli
    cv : int (folds of whole groups at random), `Splits`, or iterable of (train, test) positions of stimuli
    groups : labels (n_stimuli,) that may not be split, or None
        Stimuli with equal content (content_hash) are always one group.
    distance : as in `rdm`
    measure : as in `compare_rdms`; None: ``"rho_a"``, said in a warning
    pairs : ``"within_folds"`` (default) or ``"all"``
        The pairs inside each test fold are scored and the scores averaged. ``"all"`` also uses pairs of two
        test folds, whose predictions come from different fits: fitted scores are then biased **upwards**,
        because the training mean of a fold lacks the very stimuli it predicts; it is one score over
        all stimuli.
    random_state : int, of the folds

    Returns
    -------
    EncodedRsa. A fold whose predictions do not differ between stimuli scores 0, counted with a
    warning: nothing is predicted. Units without a fit (NaN) are left out of predictions and responses of
    that model.

    Raises
    ------
    ShapeError
        A test fold of fewer than 4 stimuli; no features; other numbers of rows.
    LeakageError
        A stimulus, or a group, in the training and the test part of a fold.
    InputError
        An unknown option; test folds that overlap; no unit with a prediction.
    AlignmentError
        As in `compare`; layers over other stimuli.

    Notes
    -----
    Cost: folds times the fit, and O(n^2 p) for the RDMs. Source: Khaligh-Razavi, Henriksson, Kay &
    Kriegeskorte 2017 (mixed RSA), doi:10.1016/j.jmp.2016.10.007; Konkle & Alvarez 2022 (voxel-wise
    encoding RSA), doi:10.1038/s41467-022-28091-4. Departure: held-out stimuli
    throughout, and no pair of two fits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 20))
    >>> y = x[:, :3] @ rng.normal(size=(3, 30)) + 0.5 * rng.normal(size=(60, 30))
    >>> found = encoded_rsa({"net": x}, y, measure="pearson").to_frame()
    >>> found.kind.tolist(), bool(found.score[0] > found.score[1] + 0.2)
    (['fitted', 'fixed'], True)
    """
    one_of("pairs", pairs, ("within_folds", "all"))
    layers, brain, codes = _paired_layers(features, responses, groups)
    chosen = _measure(measure)
    folds = _folds(cv, codes, random_state)
    used = _estimator(estimator)
    scored = (
        [test for _, test in folds] if pairs == "within_folds" else [np.concatenate([t for _, t in folds])]
    )
    predictions, fitted, fixed, flat = {}, [], [], 0
    for name, x in layers.items():
        predicted = _predict(used, x, brain, folds)
        predictions[name] = predicted
        rows = [_fold_scores(predicted, x, brain, test, str(distance), chosen) for test in scored]
        flat += sum(row[2] for row in rows)
        fitted.append([row[0] for row in rows])
        fixed.append([row[1] for row in rows])
    reasons = {}
    if flat:
        reasons["folds whose predictions do not differ between stimuli score 0"] = flat
        warnings.warn(
            f"{flat} of {len(scored) * len(layers)} folds have predictions that do not differ between "
            "stimuli; they "
            "score 0",
            stacklevel=2,
        )
    return EncodedRsa(
        tuple(layers),
        np.array(fitted),
        np.array(fixed),
        predictions,
        tuple(folds),
        str(distance),
        chosen,
        pairs,
        {"reasons": reasons, "estimator": type(used).__name__},
    )


def _measure(measure: str | None) -> str:
    if measure is None:
        measure = said(default_measure(), stacklevel=4)
    one_of("measure", measure, COMPARATORS)
    return measure


def _estimator(estimator: Any) -> Any:
    if estimator is None:
        from brainalign.regression import RidgeCV

        return RidgeCV()
    for name in ("fit", "predict"):
        if not callable(getattr(estimator, name, None)):
            raise InputError(
                f"estimator {type(estimator).__name__} has no {name}; give a regression estimator"
            )
    return estimator


def _paired_layers(
    features: Any, responses: Any, groups: Any
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Layers and responses on the stimuli of the first layer, and the group (n_stimuli,) of each."""
    named = features if isinstance(features, Mapping) else {"features": features}
    if not named:
        raise ShapeError("features are empty; expected at least one model")
    layers: dict[str, np.ndarray] = {}
    brain: np.ndarray | None = None
    for name, x in named.items():
        first, second = paired(x, responses)
        if brain is not None and not np.array_equal(brain, second):
            raise AlignmentError(f"model {name!r} has its stimuli in another order than the models before it")
        layers[str(name)], brain = first, second
    assert brain is not None
    n = len(brain)
    samples = _stimulus_table([*named.values(), responses], n)
    labels = None if groups is None else np.asarray(groups, dtype=object)
    if labels is not None:
        group_codes("groups", labels, n)
    return layers, brain, content_groups(samples, labels)


def _stimulus_table(sources: list[Any], n: int) -> pd.DataFrame:
    """One row a stimulus of the first layer, with the content hash that any of the sources knows."""
    tables = [one.samples for one in sources if isinstance(one, Responses) and one.samples is not None]
    if not tables:
        return pd.DataFrame(index=range(n))
    hashes: dict[Any, Any] = {}
    for table in tables:
        if "content_hash" in table:
            known = table[table["content_hash"].notna()]
            hashes.update(zip(known["stimulus_id"], known["content_hash"], strict=True))
    first = tables[0].drop_duplicates("stimulus_id")
    return first.assign(content_hash=first["stimulus_id"].map(hashes)) if hashes else first


def _positions(name: str, part: Any, n: int) -> np.ndarray:
    """Positions of stimuli as integers from 0; masks and negative positions are understood."""
    found = np.asarray(part)
    if not found.size:
        return np.empty(0, dtype=np.int64)
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    whole = found.ndim == 1 and found.dtype.kind in "iu"
    if not whole or (found < -n).any() or (found >= n).any():
        raise InputError(
            f"{name} of shape {found.shape} and dtype {found.dtype} holds no positions of stimuli; expected "
            f"integers from 0 to {n - 1}, or a boolean mask ({n},)"
        )
    out: np.ndarray = found.astype(np.int64) % n
    return out


def _given_folds(cv: Any, n: int) -> list[Fold]:
    """Folds of `Splits` or of pairs (train, test)."""
    found = cv.folds if isinstance(cv, Splits) else cv
    pairs = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else None
    if pairs is None or any(not isinstance(one, (tuple, list)) or len(one) != 2 for one in pairs):
        raise InputError(f"cv={cv!r} gives no folds; expected an int, Splits or pairs (train, test)")
    return [
        (_positions(f"training part of fold {k}", a, n), _positions(f"test part of fold {k}", b, n))
        for k, (a, b) in enumerate(pairs)
    ]


def _folds(cv: Any, codes: np.ndarray, random_state: int) -> list[Fold]:
    """Folds of stimuli; every test stimulus once, nothing in both parts."""
    if isinstance(cv, (int, np.integer)):
        cv = grouped_splits(codes, int(cv), random_state=random_state)
    folds = _given_folds(cv, len(codes))
    seen = np.zeros(len(codes), dtype=int)
    for number, (train, test) in enumerate(folds):
        if len(test) < FEWEST_IN_FOLD or not len(train):
            raise ShapeError(
                f"fold {number} has {len(train)} training and {len(test)} test stimuli; the RDM of a test "
                "fold needs "
                f"at least {FEWEST_IN_FOLD}: use fewer folds"
            )
        both = set(codes[train].tolist()) & set(codes[test].tolist())
        if both:
            row = int(test[np.isin(codes[test], list(both))][0])
            raise LeakageError(
                f"fold {number}: test stimulus of row {row} is in the training part too, itself or by a "
                "stimulus of its "
                "group (equal content or label); split whole groups"
            )
        np.add.at(seen, test, 1)
    if not folds or (seen > 1).any():
        raise InputError(
            "cv gives no folds, or a stimulus is tested twice; every stimulus has one prediction"
        )
    return folds


def _predict(estimator: Any, x: np.ndarray, y: np.ndarray, folds: list[Fold]) -> np.ndarray:
    """Predictions (n, n_units) of held-out stimuli; NaN where no fold holds the stimulus out."""
    out = np.full(y.shape, np.nan)
    for train, test in folds:
        model = clone(estimator).fit(x[train], y[train])
        out[test] = np.asarray(model.predict(x[test])).reshape(len(test), -1)
    return out


def _fold_scores(
    predicted: np.ndarray, x: np.ndarray, y: np.ndarray, test: np.ndarray, distance: str, measure: str
) -> tuple[float, float, bool]:
    """Score of the predictions, score of the features, and whether the predictions are all the same."""
    guess, measured = predicted[test], y[test]
    units = np.isfinite(guess).all(axis=0)
    if not units.any():
        raise InputError("no unit has a finite prediction in a fold; look at the responses and the estimator")
    guess, measured = guess[:, units], measured[:, units]
    brain = rdm(measured, distance=distance)
    fixed = float(compare_rdms(brain, rdm(x[test], distance=distance), measure=measure))
    spread = np.abs(guess - guess.mean(axis=0)).max()
    if spread <= _FLAT * max(np.abs(measured - measured.mean(axis=0)).max(), np.finfo(float).tiny):
        return 0.0, fixed, True
    return float(compare_rdms(brain, rdm(guess, distance=distance), measure=measure)), fixed, False
