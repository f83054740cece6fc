"""Time-resolved RSA of M/EEG: noise normalisation, distances, models and their tests, all times at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._checks import lookup, one_of
from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import (
    INNER_MEASURES,
    checked_stack,
    complete_triangles,
    inner_measure,
    named_rdms,
    unit_matrices,
    unit_rows,
    warn_undefined,
)
from brainalign.comparison._option_checks import generator_of, is_count, is_positive
from brainalign.comparison._time_ceilings import time_ceilings
from brainalign.comparison._time_tests import (
    cluster_corrected,
    max_corrected,
    pointwise_threshold,
    sign_flip_null,
    stimulus_null,
    student_threshold,
)
from brainalign.comparison._time_trials import check_same, rdms_over_time, read_trials
from brainalign.comparison.rdm_comparison import COMPARATORS, compare_rdms, default_measure, said
from brainalign.comparison.rdms import DISTANCES, NOISE_DISTANCES
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.statistics.permutation import permutation_p_values
from brainalign.types import RDMs, Responses

CORRECTIONS = ("max", "cluster")
TESTS = ("stimuli", "subjects")


@dataclass(frozen=True, eq=False)
class TimeResolvedRsa:
    """Similarity of model RDMs with measured RDMs at every time.

    Parameters
    ----------
    models : tuple of str
    times : array (n_times,), seconds, or indices
    scores : array (n_times, n_models), mean over subjects
    subject_scores : array (n_subjects, n_times, n_models)
    p_values, p_corrected : arrays (n_times, n_models); NaN without draws
    clusters : DataFrame (model, start, stop, n_times, mass, p), or None
    noise_ceiling : array (n_times, 2), lower and upper; NaN for one subject
    rdms : array (n_subjects, n_times, n, n)
    conditions : array (n,), the labels of the rows of the RDMs
    distance, measure : str
    info : `noise`, `test`, `correction`, `n_permutations`
    """

    models: tuple[str, ...]
    times: np.ndarray
    scores: np.ndarray = field(repr=False)
    subject_scores: np.ndarray = field(repr=False)
    p_values: np.ndarray = field(repr=False)
    p_corrected: np.ndarray = field(repr=False)
    clusters: pd.DataFrame | None = field(repr=False)
    noise_ceiling: np.ndarray = field(repr=False)
    rdms: np.ndarray = field(repr=False)
    conditions: np.ndarray = field(repr=False)
    distance: str
    measure: str
    info: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """One row a model and time: model, time, score, p, p_corrected, ceiling_lower, ceiling_upper, "
        "distance, measure.
        """
        m, t = len(self.models), len(self.times)
        return pd.DataFrame(
            {
                "model": np.repeat(np.array(self.models, dtype=object), t),
                "time": np.tile(self.times, m),
                "score": self.scores.T.ravel(),
                "p": self.p_values.T.ravel(),
                "p_corrected": self.p_corrected.T.ravel(),
                "ceiling_lower": np.tile(self.noise_ceiling[:, 0], m),
                "ceiling_upper": np.tile(self.noise_ceiling[:, 1], m),
                "distance": self.distance,
                "measure": self.measure,
            }
        )

    def subject_rdms(self, subject: int = 0) -> RDMs:
        """The RDMs of one subject as `RDMs`, with the column `time`."""
        table = pd.DataFrame({"time": self.times})
        return RDMs(self.rdms[subject], self.conditions.astype(str), table, {"distance": self.distance})


def time_resolved_rsa(
    responses: Any,
    models: Any,
    *,
    distance: str | None = None,
    measure: str | None = None,
    noise: Any = None,
    baseline: tuple[float, float] | None = None,
    shrinkage: str = "ledoit_wolf",
    conditions: Any = None,
    runs: Any = None,
    n_pseudo_runs: int | None = None,
    n_permutations: int = 0,
    test: str = "stimuli",
    correction: str = "max",
    cluster_alpha: float = 0.05,
    names: Sequence[str] | None = None,
    random_state: int | np.random.Generator = 0,
) -> TimeResolvedRsa:
    """Compare model RDMs with the RDM of M/EEG responses at every time.

    Parameters
    ----------
    responses : Responses (n_trials, n_channels, n_times), array of that shape, or one of these for each \
subject in a list or a mapping
    models : {name: (n, n)}, array (n_models, n, n) or (n, n), or RDMs
        Of `RDMs` the stimuli are joined to the condition labels by their text; arrays are in
        sorted order of the labels.
    distance : name of `DISTANCES`, or ``"crossnobis"``
        None: ``"crossnobis"`` where there are runs or pseudo-runs, else ``"correlation"``; said in a warning.
    measure : name of `COMPARATORS`
        None: ``"whitened_cosine"`` for crossnobis, else ``"rho_a"``; said in a warning.
    noise : None, ``"epoch"``, ``"baseline"``, ``"per_time"``, or a precision of the channels
        Multivariate noise normalisation with the residuals of trials about the mean of their condition:
        shrunk covariances of every time, averaged over all times (``"epoch"``) or over the
        baseline, or a covariance of its own for each time. Patterns are whitened before any distance.
    baseline : (start, stop), seconds (indices for arrays), both included
    shrinkage : as in `noise_precision`
    conditions : labels (n_trials,), or the name of a column of the samples; one for all subjects or, \
for several, a list of labels for each. None: ``"stimulus_id"`` of `Responses`; each row of an array
    runs : labels or column, as `conditions`; None: no runs
    n_pseudo_runs : int or None
        Deal the trials of each condition at random into so many pseudo-runs, for crossnobis without
        runs; the averages of these are pseudo-trials.
    n_permutations : int, 0: no p-values
    test : ``"stimuli"`` or ``"subjects"``
        Null: stimuli of the models in random order (for these subjects), or signs of the scores of
        whole subjects flipped (for the population, Student's t; at least 2 subjects, 6 for p < 0.05).
    correction : ``"max"`` or ``"cluster"``
        Family: all times and models. Clusters: times above the pointwise level `cluster_alpha`;
        significance is of a cluster, not of its single times.
    cluster_alpha : float in (0, 1)
    names : names of the models
    random_state : int or numpy Generator

    Returns
    -------
    TimeResolvedRsa. NaN, counted in a warning, at times without a score: a constant RDM, or a
    correlation distance without variance. One-sided p-values, ``(b + 1) / (m + 1)``.

    Raises
    ------
    ShapeError
        Other axes; subjects with other conditions or times; fewer than 3 conditions; models of another size.
    InputError
        Unknown options; noise without repeated trials; an empty baseline; crossnobis without runs; fewer
        trials of a condition than pseudo-runs; tests of a measure that is no inner product (tau,
        bures); mahalanobis,
        which is ``"sq_euclidean"`` with noise here.
    AlignmentError
        A condition without a model stimulus; Responses mixed with arrays.

    Warns
    -----
    UserWarning
        A cosine of distances that are never negative, tested over subjects: any model is above 0.

    Notes
    -----
    All times are whitened, differenced and compared in batched products: O(T n^2 p (K + 1)) for K runs,
    O(T P) a draw and model; blocks of 256 MB of responses. Sources: Cichy, Pantazis & Oliva 2014,
    doi:10.1038/nn.3635; Guggenmos, Sterzer & Cichy 2018, doi:10.1016/j.neuroimage.2018.02.044 (noise
    normalisation); Maris & Oostenveld 2007, doi:10.1016/j.jneumeth.2007.03.024 (clusters); Nichols & Holmes
    2002, doi:10.1002/hbm.1058 (largest value). Departures: the residuals of all conditions are pooled
    before shrinkage, and noise is estimated from all runs (under Gaussian noise residuals
    are independent of the means).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.tile(np.arange(8), 6)
    >>> pattern = rng.normal(size=(8, 10))
    >>> x = rng.normal(size=(48, 10, 5))
    >>> x[:, :, 3] += 2.0 * pattern[labels]
    >>> from brainalign.comparison.rdms import rdm
    >>> found = time_resolved_rsa(x, {"true": rdm(pattern, distance="sq_euclidean")}, conditions=labels,
    ...     distance="crossnobis", measure="whitened_cosine", runs=np.repeat(range(6), 8), noise="epoch",
    ...     n_permutations=99)
    >>> int(found.scores.argmax()), float(found.p_corrected[3, 0])
    (3, 0.01)
    """
    _check_options(test, correction, cluster_alpha, n_permutations)
    generator = generator_of(random_state)
    people = _people(responses)
    chosen = _distance(distance, runs is not None or n_pseudo_runs is not None)
    trials = [
        read_trials(
            one, _of_subject(conditions, i, people), _of_subject(runs, i, people), n_pseudo_runs, generator
        )
        for i, one in enumerate(people)
    ]
    check_same(trials)
    rdms = np.stack([rdms_over_time(one, chosen, noise, baseline, shrinkage) for one in trials])
    labels, times = trials[0].labels, trials[0].times
    stack, model_names = _models(models, names, labels)
    name = _measure(measure, chosen)
    if n_permutations:
        inner_measure(name)
    subject_scores = _scores(rdms, stack, name)
    warn_undefined(subject_scores, "scores", stacklevel=2)
    p, corrected, clusters = _tested(
        rdms,
        stack,
        subject_scores,
        name,
        (n_permutations, test, correction, cluster_alpha),
        generator,
        times,
        model_names,
    )
    return TimeResolvedRsa(
        tuple(model_names),
        times,
        subject_scores.mean(axis=0),
        subject_scores,
        p,
        corrected,
        clusters,
        time_ceilings(rdms, name),
        rdms,
        labels,
        chosen,
        name,
        {
            "noise": noise if isinstance(noise, str) or noise is None else "given",
            "test": test,
            "correction": correction,
            "n_permutations": n_permutations,
        },
    )


def _check_options(test: str, correction: str, cluster_alpha: float, n_permutations: int) -> None:
    one_of("test", test, TESTS)
    one_of("correction", correction, CORRECTIONS)
    if not is_positive(cluster_alpha) or cluster_alpha >= 1:
        raise InputError(f"cluster_alpha={cluster_alpha!r}; expected a number between 0 and 1")
    if not is_count(n_permutations):
        raise InputError(f"n_permutations={n_permutations!r}; expected 0 (none) or a number of draws")


def _people(responses: Any) -> list[Any]:
    """One entry a subject."""
    if isinstance(responses, Mapping):
        people = list(responses.values())
    elif isinstance(responses, (list, tuple)):
        people = list(responses)
    else:
        people = [responses]
    if not people:
        raise ShapeError("responses are empty; expected at least one subject")
    if len({isinstance(one, Responses) for one in people}) > 1:
        raise AlignmentError("some subjects are Responses and others arrays; give one kind")
    return people


def _of_subject(labels: Any, subject: int, people: list[Any]) -> Any:
    """The labels of one subject: those of all, or the entry of a list of labels."""
    several = isinstance(labels, (list, tuple)) and len(labels) == len(people) and len(people) > 1
    if several and not isinstance(labels[0], (str, int, float, np.generic)):
        return labels[subject]
    return labels


def _distance(distance: str | None, has_runs: bool) -> str:
    if distance is None:
        distance = "crossnobis" if has_runs else "correlation"
        warnings.warn(f"distance is not given: {distance!r} is used; name the distance", stacklevel=3)
    if distance == "crossnobis":
        if not has_runs:
            raise InputError(
                "distance='crossnobis' needs runs= or n_pseudo_runs=, independent parts of the trials"
            )
        return distance
    if distance in NOISE_DISTANCES:
        raise InputError(
            f"distance={distance!r}; use 'sq_euclidean' with noise='epoch', 'baseline' or 'per_time'"
        )
    lookup("distance", distance, DISTANCES)
    return distance


def _measure(measure: str | None, distance: str) -> str:
    if measure is None:
        measure = said(default_measure(distance), stacklevel=4)
    one_of("measure", measure, COMPARATORS)
    return measure


def _models(models: Any, names: Sequence[str] | None, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Model RDMs (m, n, n) in the order of the conditions, and their names."""
    plain, found = named_rdms("models", models, ("model", "name", "layer"), names)
    if not isinstance(plain, RDMs):
        return checked_stack("models", plain, len(labels)), found
    position = {s: i for i, s in enumerate(plain.stimulus_id)}
    lacking = [str(c) for c in labels if str(c) not in position]
    if lacking:
        raise AlignmentError(
            f"{len(lacking)} of {len(labels)} conditions have no stimulus in models: "
            f"{', '.join(lacking[:5])}; the "
            "labels of the conditions must be the stimulus_id of the models"
        )
    index = [position[str(c)] for c in labels]
    return checked_stack("models", plain.values[:, index][:, :, index]), found


def _scores(rdms: np.ndarray, models: np.ndarray, measure: str) -> np.ndarray:
    """Similarities (n_subjects, n_times, n_models)."""
    s, t, n, _ = rdms.shape
    flat = checked_stack("responses", rdms.reshape(-1, n, n))
    known = np.isfinite(flat).all(axis=(1, 2))
    out = np.full((s * t, len(models)), np.nan)
    if measure not in INNER_MEASURES:
        out[known] = compare_rdms(flat[known], models, measure=measure)
    elif known.any():
        prepared = unit_rows(complete_triangles(models), measure)
        with full_precision():
            found = unit_rows(complete_triangles(flat[known]), measure) @ prepared.T
        out[known] = found.clamp(-1.0, 1.0).numpy()
    return out.reshape(s, t, -1)


def _tested(
    rdms: np.ndarray,
    models: np.ndarray,
    scores: np.ndarray,
    measure: str,
    how: tuple[int, str, str, float],
    generator: np.random.Generator,
    times: np.ndarray,
    names: list[str],
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame | None]:
    """p-values, corrected p-values (n_times, n_models), and clusters."""
    n_permutations, test, correction, alpha = how
    observed = scores.mean(axis=0)
    if not n_permutations:
        return np.full_like(observed, np.nan), np.full_like(observed, np.nan), None
    if test == "subjects":
        if len(scores) < 2:
            raise ShapeError("test='subjects' needs at least 2 subjects; use test='stimuli' for one")
        if measure in ("cosine", "whitened_cosine") and not (rdms < 0).any():
            warnings.warn(
                f"{measure} of distances that are never negative is above 0 for any model; test='subjects' "
                "says nothing: "
                "use crossnobis, a measure that removes the mean, or test='stimuli'",
                stacklevel=3,
            )
        observed, null = sign_flip_null(scores, n_permutations, generator)
        threshold = student_threshold(observed.shape, len(scores), alpha)
    else:
        null = stimulus_null(
            _mean_units(rdms, measure), unit_matrices(models, measure), n_permutations, generator
        )
        null[:, np.isnan(observed)] = np.nan
        threshold = pointwise_threshold(null, alpha)
    p = permutation_p_values(observed, null)
    if correction == "max":
        return p, max_corrected(observed, null), None
    corrected, clusters = cluster_corrected(observed, null, threshold, times, tuple(names))
    return p, corrected, clusters


def _mean_units(rdms: np.ndarray, measure: str) -> torch.Tensor:
    """Prepared RDMs (n_times, n, n), averaged over subjects; 0 where a subject has none."""
    total = torch.zeros(rdms.shape[1:], dtype=torch.float64)
    for one in rdms:
        known = np.isfinite(one).all(axis=(1, 2))
        if known.any():
            units = torch.zeros_like(total)
            units[torch.from_numpy(known)] = unit_matrices(one[known], measure)
            total += torch.nan_to_num(units)
    return total / len(rdms)
