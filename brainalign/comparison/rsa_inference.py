"""Inference of RSA: model scores, noise ceilings and their sampling error over stimuli and subjects."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch

from brainalign.comparison._bootstrap_run import FEWEST_STIMULI, Resampling, resample
from brainalign.comparison._bootstrap_variance import covariance_of, sampling_variances
from brainalign.comparison._pairing import passed_on
from brainalign.comparison._rsa_folds import FoldScores, weighted_stacks
from brainalign.comparison._rsa_inputs import RsaInputs, drawn_with, rsa_inputs
from brainalign.comparison.rsa_result import RsaResult
from brainalign.errors import InputError, ShapeError

__all__ = ["RsaResult", "bootstrap_rsa"]

FACTORS = ("stimuli", "subjects")


def bootstrap_rsa(
    data_rdms: Any,
    model_rdms: Any,
    *,
    measure: str | Callable[..., Any] | None = None,
    n_boot: int = 1000,
    over: str | Sequence[str] = FACTORS,
    sigma_k: Any = None,
    random_state: int | np.random.Generator = 0,
    names: Sequence[str] | None = None,
    weighted_models: Mapping[str, Any] | None = None,
    n_folds_stimuli: int = 2,
    n_folds_subjects: int = 1,
    device: str | torch.device | None = None,
) -> RsaResult:
    """Score models against the RDMs of subjects, with noise ceilings and the error of both.

    Resamples stimuli, subjects, or both. A resample in which stimulus i occurs c_i times holds
    the pair (i, j) c_i c_j times; a stimulus is never paired with its own copy. Nothing is
    copied: every score is a form in the counts c, and RDMs are sorted once.

    Parameters
    ----------
    data_rdms : array or tensor (n_subjects, n, n), or RDMs
        One RDM a subject. Negative entries (crossnobis) are allowed; NaN marks a missing
        pair. Pairs that any RDM of a subject or of a model misses are left out for all,
        with a warning.
    model_rdms : array or tensor (n_models, n, n), mapping {name: (n, n)}, or RDMs
        Arrays are joined by position, two `RDMs` by `stimulus_id`.
    measure : str, callable or None
        ``"pearson"``, ``"cosine"``, ``"whitened_cosine"``, ``"whitened_pearson"``, ``"spearman"``,
        ``"rho_a"``, ``"tau_a"``, ``"tau_b"``, ``"bures"`` (written out draw by draw, copies of a
        stimulus at distance 0), or a callable (k1, n_pairs), (k2, n_pairs) -> (k1, k2), which gets
        the pairs of different stimuli. None: ``"whitened_cosine"`` for RDMs that say they are
        crossnobis, else ``"rho_a"``.
    n_boot : int, at least 2
    over : ``"stimuli"``, ``"subjects"`` or both
        What the result shall generalise to. With one subject, both becomes stimuli, with a warning.
    sigma_k : None, (n,) or (n, n)
        Covariance of the estimated patterns over stimuli, for the whitened measures. Copies
        of a stimulus count as independent estimates of it.
    random_state : int or numpy Generator
        Equal seeds give equal draws.
    names : sequence of str or None
        Names of the models; else the keys of a mapping, or a column model, name or layer.
    weighted_models : mapping {name: stack (k, n, n) or object with `stack` and `fit`} or None
        Models that are weighted sums of k RDMs: their weights are fitted on other stimuli and
        other subjects than they are scored on, within every draw, see `crossvalidate_rsa`.
    n_folds_stimuli, n_folds_subjects : int
        Folds of that cross-validation; 1 does not split this factor.
    device : str, torch.device or None
        Where to compute; None: where the RDMs are (arrays: the CPU).

    Returns
    -------
    RsaResult
        Scores and ceilings of all draws, observed values, covariance, tests, table; numpy.

    Raises
    ------
    ShapeError
        Not (k, n, n); different numbers of stimuli; fewer than 4 stimuli where stimuli are drawn;
        fewer than 3 pairs that all RDMs know; names that do not fit.
    InputError
        Not an RDM; an unknown factor; subjects drawn from one subject; n_boot below 2 or not whole;
        a random_state that is no seed; missing pairs for bures; sigma_k for a measure without it
        or not positive definite; a measure without a bootstrap.
    AlignmentError
        `RDMs` against an array, or over other stimuli.
    UnknownNameError
        The measure does not exist.

    Notes
    -----
    Scores are means over the drawn subjects. The upper ceiling is the mean similarity of the
    subjects with their pool (unit vectors in the space of the measure, weighted by the counts);
    the lower one leaves the subject with all its copies out of the pool.

    Variance over both factors: with one-factor variances a (stimuli) and b (subjects) of the
    draws, each times n / (n - 1) of its factor, and v over both, the noise E follows from
    v = (n-1)/n a + (s-1)/s b + (n-1)(s-1)/(n s) E, and the variance is a + b - E. It is bounded by
    0 <= E <= min(a, b), so that it is at least each one-factor variance and at most their sum.

    Noise that is independent from pair to pair counts up to three times in draws of stimuli, where
    pairs share stimuli; no draw separates it, so that errors over stimuli are conservative for
    such noise.

    A draw is NaN, and counted in ``info["reasons"]``, where fewer than 3 different stimuli, or for
    the ceilings fewer than 2 different subjects, were drawn, or an RDM is constant in it. Each
    variance is over the draws that its own scores have. Variances of ceilings over subjects are
    made up for the draws of one subject that they lack (s^(1-s) of all), and NaN for 2 subjects.

    Cost, B draws, K = s + m RDMs, P = n (n - 1) / 2: linear measures 2 B P s (s/2 + m) in one matrix
    product of pair weights and products of RDMs (whitened: + B n K^2); rank measures O(B P K) and,
    for the pools of the ceilings, B s sorts of P integers; tau O(B P log P s m). Memory: blocks of
    32 MiB a step (rank measures: 16 MiB a RDM).

    Source: Schuett, Kipnis, Diedrichsen & Kriegeskorte 2023, doi:10.7554/eLife.82566 (two-factor
    bootstrap, rho-a); Nili et al. 2014, doi:10.1371/journal.pcbi.1003553 (ceilings); Diedrichsen et
    al. 2021, arXiv:2007.02789 (whitening). Departures: whitened ceilings pool whitened vectors;
    ceilings of a draw weigh subjects by their counts, as scores do.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(20, 5))
    >>> true = np.linalg.norm(points[:, None] - points[None], axis=-1)
    >>> noise = np.triu(rng.normal(size=(6, 20, 20)), 1)
    >>> data = true + 0.5 * (noise + noise.transpose(0, 2, 1))
    >>> other = np.triu(rng.random((20, 20)), 1)
    >>> r = bootstrap_rsa(data, {"true": true, "other": other + other.T}, n_boot=200, measure="rho_a")
    >>> bool(r.observed[0] > r.observed[1]), r.scores.shape, r.noise_ceiling.shape
    (True, (200, 2), (200, 2))
    """
    inputs = rsa_inputs(data_rdms, model_rdms, measure=measure, sigma_k=sigma_k, names=names, device=device)
    factors = _factors(over, inputs)
    n_boot, generator = drawn_with("n_boot", n_boot, 2, random_state)
    folds = _weighted(inputs, weighted_models, n_folds_stimuli, n_folds_subjects, generator)
    run = Resampling(inputs, folds)
    observed = run.observed()
    draws = resample(run, factors, n_boot, generator)
    shown = draws["both"] if len(factors) == 2 else draws[factors[0]]
    sizes = {"stimuli": inputs.n_stimuli, "subjects": inputs.n_subjects}
    contrasts = sampling_variances(draws, sizes, factors, n_ceilings=2)
    reasons = _reasons(shown, observed, inputs, factors)
    fitted = tuple(folds.names) if folds is not None else ()
    return RsaResult(
        scores=shown[:, :-2],
        noise_ceiling=shown[:, -2:],
        observed=observed[:-2],
        observed_ceiling=observed[-2:],
        variance=covariance_of(contrasts),
        degrees_of_freedom=min(sizes[f] for f in factors) - 1,
        names=(*inputs.names, *fitted),
        fitted=fitted,
        measure=inputs.label,
        over=factors,
        n_subjects=inputs.n_subjects,
        n_stimuli=inputs.n_stimuli,
        info={
            "n_missing": inputs.n_missing,
            "reasons": reasons,
            "signed": bool((inputs.data < 0).any()),
            "random_state": int(random_state) if isinstance(random_state, Integral) else "not a seed",
            **({} if folds is None else folds.info),
            **passed_on(data_rdms, model_rdms),
        },
    )


def _factors(over: str | Sequence[str], inputs: RsaInputs) -> tuple[str, ...]:
    """The factors to draw, in fixed order; both become stimuli alone for one subject."""
    asked = (over,) if isinstance(over, str) else tuple(over or ())
    wrong = [f for f in asked if f not in FACTORS]
    if wrong or not asked:
        raise InputError(f"over={over!r}; expected 'stimuli', 'subjects' or ('stimuli', 'subjects')")
    factors = tuple(f for f in FACTORS if f in asked)
    if inputs.n_subjects == 1 and "subjects" in factors:
        if factors == ("subjects",):
            raise InputError("over='subjects' with 1 RDM of data; subjects are drawn from at least 2")
        warnings.warn(
            "data_rdms hold 1 subject: draws are over stimuli only, and the result speaks of this subject",
            stacklevel=3,
        )
        factors = ("stimuli",)
    if "stimuli" in factors and inputs.n_stimuli < FEWEST_STIMULI + 1:
        raise ShapeError(
            f"RDMs over {inputs.n_stimuli} stimuli; a bootstrap over stimuli needs at least "
            f"{FEWEST_STIMULI + 1}: use over='subjects'"
        )
    return factors


def _weighted(
    inputs: RsaInputs,
    weighted_models: Mapping[str, Any] | None,
    n_folds_stimuli: int,
    n_folds_subjects: int,
    generator: np.random.Generator,
) -> FoldScores | None:
    if not weighted_models:
        return None
    stacks = weighted_stacks(weighted_models, inputs)
    return FoldScores(inputs, stacks, n_folds_stimuli, n_folds_subjects, generator)


def _reasons(
    shown: np.ndarray, observed: np.ndarray, inputs: RsaInputs, factors: tuple[str, ...]
) -> dict[str, int]:
    """Why scores or ceilings are NaN, counted, and said in one warning."""
    reasons: dict[str, int] = {}
    lost = np.isnan(shown)
    whole = int(lost[:, :-2].all(axis=1).sum()) if shown.shape[1] > 2 else 0
    if whole:
        reasons["draws without any score: under 3 different stimuli, or a constant RDM"] = whole
    some = int((lost[:, :-2].any(axis=1) & ~lost[:, :-2].all(axis=1)).sum())
    if some:
        reasons["draws where a model is constant or could not be fitted"] = some
    if inputs.n_subjects == 1:
        reasons["ceiling: one subject has no ceiling over subjects"] = len(shown)
    else:
        alone = int((lost[:, -2:].any(axis=1) & ~lost[:, :-2].all(axis=1)).sum())
        if alone:
            reasons["draws without a ceiling: under 2 different subjects"] = alone
    flat = int(np.isnan(observed[:-2]).sum())
    if flat:
        reasons["models without a score: the RDM of the model, or of a subject, is constant"] = flat
    if reasons:
        listed = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
        warnings.warn(f"of {len(shown)} draws over {' and '.join(factors)}: {listed} (NaN)", stacklevel=3)
    return reasons
