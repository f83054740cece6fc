"""Paired differences between models over subjects, stimuli or both, for scores of any analysis."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign._checks import unique_ids
from brainalign.comparison._bootstrap_variance import (
    covariance_of,
    differences_of,
    draw_counts,
    sampling_variances,
)
from brainalign.comparison._rsa_inputs import drawn_with
from brainalign.comparison._rsa_tests import Contrasts
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.comparison.rsa_result import RsaResult
from brainalign.errors import InputError, ShapeError

FACTORS = ("stimuli", "subjects")
_BLOCK = 2**22
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Paired differences between models.

    Parameters
    ----------
    names : tuple of str
    scores : array (n_models,), means over the units
    differences, standard_errors : arrays (n_models, n_models), row less column
    p_values : array (n_models, n_models), two-sided, (b + 1) / (m + 1); NaN on the diagonal,
        and for a difference that does not vary over the draws
    p_corrected : the same, corrected over all pairs by the distribution of the largest |t|
    method : ``"sign_flip"``, ``"bootstrap"``
    over : tuple of the factors that were resampled
    n_draws : int
    """

    names: tuple[str, ...]
    scores: np.ndarray
    differences: np.ndarray
    standard_errors: np.ndarray
    p_values: np.ndarray
    p_corrected: np.ndarray
    method: str
    over: tuple[str, ...]
    n_draws: int

    def to_frame(self) -> pd.DataFrame:
        """One row a pair: the models, difference (a less b), error, p, p_corrected, method, over."""
        a, b = np.triu_indices(len(self.names), 1)
        return pd.DataFrame(
            {
                "model_a": [self.names[i] for i in a],
                "model_b": [self.names[i] for i in b],
                "difference": self.differences[a, b],
                "standard_error": self.standard_errors[a, b],
                "p": self.p_values[a, b],
                "p_corrected": self.p_corrected[a, b],
                "method": self.method,
                "over": " and ".join(self.over),
            }
        )

    def best(self) -> str:
        """Name of the model with the highest mean score."""
        return self.names[int(np.nanargmax(self.scores))]


def compare_models(
    scores: Any,
    models: Any = None,
    *,
    over: str | Sequence[str] | None = None,
    measure: str | None = None,
    names: Sequence[str] | None = None,
    n_draws: int = 2000,
    random_state: int | np.random.Generator = 0,
) -> ModelComparison:
    """Test every pair of models for a difference of their scores, corrected over all pairs.

    Parameters
    ----------
    scores : one of
        array (n_units, n_models): a score of every model for every subject or every stimulus
        (encoding, CKA, RSA), `over` says which; the signs of the differences are flipped for whole
        units. Units with NaN in any model are left out of all, with a warning.
        array (n_subjects, n_stimuli, n_models): averaged over the factor that is not in `over`
        and sign-flipped over the other one, or resampled over both.
        RsaResult: its draws.
        RDMs of data (n_subjects, n, n), together with `models`: `bootstrap_rsa` first.
    models : RDMs of models, as in `bootstrap_rsa`, or None
    over : ``"subjects"``, ``"stimuli"`` or both; None: subjects for a matrix, both for three axes and
        for RDMs
    measure : as in `bootstrap_rsa`, for RDMs
    names : names of the models; None: model_0, model_1 ..., or those of the RDMs
    n_draws : sign flips or bootstrap draws m
    random_state : int or numpy Generator

    Returns
    -------
    ModelComparison

    Raises
    ------
    ShapeError
        Other axes; fewer than 2 models or 2 usable units; names that do not fit.
    InputError
        Unknown `over`, or one that the scores do not have; n_draws below 1 or not whole; RDMs
        without `models`.

    Notes
    -----
    Sign flips are exact where a difference is as likely as its negative; all models flip
    together, so that the largest |t| over pairs keeps their dependence (Westfall & Young 1993;
    Nichols & Holmes 2002, doi:10.1002/hbm.1058). With m flips of n units p is at least
    1 / (m + 1), and there are 2^n patterns. Draws are centred on 0, divided by their own spread and,
    in their tails, stretched to Student's t; the observed difference is divided by the standard
    error of the sampling that is meant (two factors: see `bootstrap_rsa`).
    Cost: O(m n k^2).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.normal(size=(20, 1)) + np.array([0.0, 0.0, 2.0]) + 0.5 * rng.normal(size=(20, 3))
    >>> result = compare_models(subjects, over="subjects", names=["a", "b", "c"])
    >>> result.best(), bool(result.p_corrected[0, 2] < 0.05), bool(result.p_corrected[0, 1] < 0.05)
    ('c', True, False)
    """
    n_draws, generator = drawn_with("n_draws", n_draws, 1, random_state)
    if models is not None:
        scores = bootstrap_rsa(
            scores,
            models,
            measure=measure,
            over=FACTORS if over is None else over,
            n_boot=n_draws,
            names=names,
            random_state=random_state,
        )
        return _of_result(scores)
    if isinstance(scores, RsaResult):
        if over is not None and _factors(over) != scores.over:
            raise InputError(
                f"over={over!r} for a result drawn over {' and '.join(scores.over)}; call bootstrap_rsa "
                f"with it"
            )
        return _of_result(scores)
    table, factors = _table(scores, over)
    labels = _labels(names, table.shape[-1])
    if table.ndim == 3:
        return _over_both(table, labels, n_draws, generator)
    return _sign_flips(table, factors, labels, n_draws, generator)


def _factors(over: str | Sequence[str]) -> tuple[str, ...]:
    asked = (over,) if isinstance(over, str) else tuple(over)
    if not asked or any(f not in FACTORS for f in asked):
        raise InputError(f"over={over!r}; expected 'stimuli', 'subjects' or ('stimuli', 'subjects')")
    return tuple(f for f in FACTORS if f in asked)


def _table(scores: Any, over: str | Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Scores (n_units, n_models), or (n_subjects, n_stimuli, n_models) for both factors; finite."""
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim not in (2, 3):
        raise ShapeError(
            f"scores have shape {table.shape}; expected (n_units, n_models) or (n_subjects, n_stimuli, "
            f"n_models)"
        )
    if table.ndim == 3 and table.shape[1] == table.shape[2] and _are_rdms(table):
        raise InputError(
            f"scores of shape {table.shape} are RDMs (symmetric, zero diagonal) and models is None; give the "
            "RDMs of the models too"
        )
    factors = _factors(over if over is not None else (("subjects",) if table.ndim == 2 else FACTORS))
    if table.ndim == 2 and len(factors) == 2:
        raise InputError(
            "over both stimuli and subjects needs scores (n_subjects, n_stimuli, n_models); a matrix has one "
            "kind of unit"
        )
    if table.ndim == 3 and len(factors) == 1:
        table = table.mean(axis=1 if factors == ("subjects",) else 0)
    if table.ndim == 3 and not np.isfinite(table).all():
        raise InputError(
            f"scores have {int((~np.isfinite(table)).sum())} values that are not finite; leave out "
            f"these subjects or "
            "stimuli"
        )
    if table.ndim == 2:
        usable = np.asarray(np.isfinite(table).all(axis=1))
        if not usable.all():
            warnings.warn(
                f"{int((~usable).sum())} of {len(usable)} {factors[0]} have no score of some model (NaN) and "
                "are left out of all",
                stacklevel=3,
            )
        table = table[usable]
    if table.shape[-1] < 2 or min(table.shape[:-1]) < 2:
        raise ShapeError(
            f"scores of {table.shape[:-1]} usable units and {table.shape[-1]} models; expected at least "
            f"2 of each"
        )
    return table, factors


def _are_rdms(table: np.ndarray) -> bool:
    """Whether a cube holds dissimilarities; scores are neither symmetric nor 0 with themselves."""
    diagonal = np.diagonal(table, axis1=1, axis2=2)
    return bool((diagonal == 0).all() and np.array_equal(table, table.transpose(0, 2, 1)) and table.any())


def _labels(names: Sequence[str] | None, n_models: int) -> tuple[str, ...]:
    labels = [f"model_{i}" for i in range(n_models)] if names is None else list(names)
    if len(labels) != n_models:
        raise ShapeError(f"{len(labels)} names for {n_models} models; give one name a model")
    return tuple(str(name) for name in unique_ids("model name", labels))


def _sign_flips(
    table: np.ndarray,
    factors: tuple[str, ...],
    names: tuple[str, ...],
    n_draws: int,
    generator: np.random.Generator,
) -> ModelComparison:
    n, k = table.shape
    a, b = np.triu_indices(k, 1)
    pairs = table[:, a] - table[:, b]
    pairs[:, np.abs(pairs).max(axis=0) <= _ROUNDING * np.abs(table).max()] = 0.0
    mean = pairs.mean(axis=0)
    total = (pairs**2).sum(axis=0)
    observed = _student(mean, total, n)
    null = np.empty((n_draws, len(a)))
    step = max(1, _BLOCK // max(n, len(a)))
    for start in range(0, n_draws, step):
        signs = generator.integers(0, 2, size=(min(step, n_draws - start), n)) * 2.0 - 1.0
        null[start : start + step] = _student(signs @ pairs / n, total, n)
    error = np.sqrt((total / n - mean**2).clip(0) / (n - 1))
    return _result(names, table.mean(axis=0), mean, error, observed, null, "sign_flip", factors)


def _student(mean: np.ndarray, total: np.ndarray, n: int) -> np.ndarray:
    """Student's t of the mean of n differences whose squares sum to `total`, which no sign changes; 0
    without any.
    """
    spread = total / n - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(spread.clip(0) / (n - 1))
    return np.asarray(np.where(total > 0, t, 0.0))


def _over_both(
    table: np.ndarray, names: tuple[str, ...], n_draws: int, generator: np.random.Generator
) -> ModelComparison:
    s, n, _ = table.shape
    subjects = draw_counts(s, n_draws, generator) / s
    stimuli = draw_counts(n, n_draws, generator) / n
    draws = {
        "subjects": subjects @ table.mean(axis=1),
        "stimuli": stimuli @ table.mean(axis=0),
        "both": np.einsum("bs,bsk->bk", subjects, np.einsum("bn,snk->bsk", stimuli, table)),
    }
    variance = covariance_of(sampling_variances(draws, {"stimuli": n, "subjects": s}, FACTORS))
    return _of_draws(names, table.mean(axis=(0, 1)), draws["both"], variance, min(n, s) - 1, FACTORS)


def _of_result(result: RsaResult) -> ModelComparison:
    if len(result.names) < 2:
        raise ShapeError(f"a result of {len(result.names)} model; a comparison needs at least 2")
    k = len(result.names)
    return _of_draws(
        result.names,
        result.observed,
        result.scores,
        result.variance[:k, :k],
        result.degrees_of_freedom,
        result.over,
    )


def _of_draws(
    names: tuple[str, ...],
    scores: np.ndarray,
    draws: np.ndarray,
    variance: np.ndarray,
    degrees_of_freedom: int,
    over: tuple[str, ...],
) -> ModelComparison:
    a, b = np.triu_indices(len(names), 1)
    values, error = scores[a] - scores[b], np.sqrt(differences_of(variance)[a, b])
    found = draws[np.isfinite(draws).all(axis=1)]
    contrasts = Contrasts(values, error**2, found[:, a] - found[:, b], degrees_of_freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        null = (contrasts.calibrated() - values) / error
        observed = np.where((values == 0) & (error == 0), 0.0, values / error)
    certain = contrasts.without_error()
    if certain.any():
        warnings.warn(
            f"{int(certain.sum())} of {len(certain)} differences do not vary over the draws: they have no "
            "standard error and their p is NaN",
            stacklevel=4,
        )
    observed = np.where(certain, np.nan, observed)
    return _result(names, scores, values, error, observed, np.nan_to_num(null), "bootstrap", over)


def _result(
    names: tuple[str, ...],
    scores: np.ndarray,
    values: np.ndarray,
    error: np.ndarray,
    observed: np.ndarray,
    null: np.ndarray,
    method: str,
    over: tuple[str, ...],
) -> ModelComparison:
    """p-values of each pair alone and by the largest |t| over pairs; rounding counts as at least as large."""
    m = len(null)
    size = np.abs(observed)
    edge = np.where(np.isinf(size), size, np.where(np.isinf(size), 0.0, size) * (1 - _ROUNDING))
    alone = ((np.abs(null) >= edge).sum(axis=0) + 1) / (m + 1)
    largest = np.abs(null).max(axis=1)
    family = ((largest[:, None] >= edge).sum(axis=0) + 1) / (m + 1)
    unknown = np.isnan(observed)
    return ModelComparison(
        names,
        np.asarray(scores),
        _square(values, len(names), -1.0),
        _square(error, len(names)),
        _square(np.where(unknown, np.nan, alone), len(names), diagonal=np.nan),
        _square(np.where(unknown, np.nan, family), len(names), diagonal=np.nan),
        method,
        over,
        m,
    )


def _square(values: np.ndarray, k: int, sign: float = 1.0, diagonal: float = 0.0) -> np.ndarray:
    """Values of the pairs a < b as (k, k); `sign` times them below the diagonal."""
    out = np.zeros((k, k))
    rows, columns = np.triu_indices(k, 1)
    out[rows, columns] = values
    out[columns, rows] = sign * values
    np.fill_diagonal(out, diagonal)
    return out
