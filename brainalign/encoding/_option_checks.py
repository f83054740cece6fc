"""What `fit_encoding` may be asked for, checked before any work."""

from __future__ import annotations

from typing import Any

from brainalign._checks import one_of
from brainalign.design import REPEATS
from brainalign.encoding._folds import TOGETHER
from brainalign.encoding._inputs import Problem
from brainalign.errors import InputError
from brainalign.regression import BandedRidgeCV, RidgeCV

METRICS = ("pearson", "r2_train_mean", "r2", "explained_variance")


def check_options(
    combine: str,
    repeats: str,
    metric: str,
    scoring_over: str,
    n_permutations: int,
    n_bootstrap: int,
    estimator: Any,
) -> None:
    one_of("combine", combine, ("select", "concat", *TOGETHER))
    one_of("repeats", repeats, REPEATS)
    one_of("metric", metric, METRICS)
    one_of("scoring_over", scoring_over, ("folds", "pooled"))
    for name, value in (("n_permutations", n_permutations), ("n_bootstrap", n_bootstrap)):
        if int(value) != value or value < 0:
            raise InputError(f"{name}={value!r}; expected an integer of at least 0")
    if n_permutations and scoring_over == "pooled":
        raise InputError(
            "p-values are those of the mean over folds; use scoring_over='folds', or n_permutations=0 "
            "with scoring_over='pooled'"
        )
    if combine in TOGETHER:
        _check_together(combine, n_permutations, estimator)
    if n_permutations and estimator is not None and not isinstance(estimator, RidgeCV):
        raise InputError(
            f"p-values refit every draw by one matrix product, which {type(estimator).__name__} does not "
            "have; use RidgeCV, or n_permutations=0"
        )


def check_exchange(problem: Problem, repeats: str) -> None:
    """Whole stimuli are exchanged, or single trials of a condition within their fold of runs."""
    known = {"stimulus_id", "content_hash", "condition"} & set(problem.samples)
    if problem.design == "trials" and not (problem.positional or known or problem.groups is not None):
        raise InputError(
            "p-values exchange whole stimuli, and no row says which stimulus or condition it was; add a "
            "stimulus_id, or use n_permutations=0"
        )
    if repeats == "train_single" and len(set(problem.keys)) < len(problem.keys):
        raise InputError(
            "repeats='train_single' trains on trials and tests on averages: no exchange of whole stimuli "
            "serves both. Use repeats='average' or 'single' for p-values, or n_permutations=0"
        )


def _check_together(combine: str, n_permutations: int, estimator: Any) -> None:
    """Feature spaces that are weighed need their own estimator, which is told their columns."""
    kind, columns = TOGETHER[combine], {"bands": "bands", "stack": "spaces"}[combine]
    if n_permutations:
        raise InputError(
            f"combine={combine!r} weighs the feature spaces of every unit anew in each fit, so that no one "
            "matrix refits a permutation; use n_permutations=0, or combine='concat' or 'select' for p-values"
        )
    if estimator is None:
        return
    if not isinstance(estimator, kind):
        raise InputError(
            f"combine={combine!r} fits {kind.__name__}, found estimator={type(estimator).__name__}; give "
            f"{kind.__name__}(...) with options of its own, or estimator=None"
        )
    if getattr(estimator, columns) is not None:
        raise InputError(
            f"{columns}=... of the estimator: with combine={combine!r} each feature space is one; leave "
            f"{columns}=None, or use combine='concat' with {columns} of your own"
        )
    if isinstance(estimator, BandedRidgeCV):
        _check_banded(estimator)


def _check_banded(estimator: BandedRidgeCV) -> None:
    if estimator.kernel != "linear":
        raise InputError(
            f"kernel={estimator.kernel!r} of the estimator: features are columns here; use kernel='linear'"
        )
    if estimator.checkpoint is not None:
        raise InputError(
            "checkpoint=... of the estimator belongs to one fit, and every fold is one; use checkpoint=None"
        )


def own_estimator(combine: str, estimator: Any, random_state: int | None) -> Any:
    """The estimator to use: the one given, or that of the way to combine; None: ridge."""
    if estimator is not None or combine not in TOGETHER:
        return estimator
    return BandedRidgeCV(random_state=random_state) if combine == "bands" else TOGETHER[combine]()
