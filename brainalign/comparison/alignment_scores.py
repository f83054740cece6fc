"""One measure of alignment with its noise ceiling, its interval over stimuli and its permutation p."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign._versions import versions
from brainalign.comparison._alignment_ceiling import (
    as_noise_ceiling,
    between_subjects_ceilings,
    split_half_ceiling,
)
from brainalign.comparison._alignment_halves import (
    Evaluation,
    FloatArray,
    HalfSamples,
    check_halves,
    compact,
    half_samples,
    interval,
)
from brainalign.comparison._alignment_sources import Sources, read_sources
from brainalign.comparison._measure import Measure
from brainalign.comparison._pairing import passed_on
from brainalign.comparison.measures import check_size, find_measure, value_of
from brainalign.comparison.permutation import permutation_test
from brainalign.errors import InputError
from brainalign.types import NoiseCeiling, Scores

_FEWEST_DRAWS = 20


@dataclass(frozen=True)
class _Draws:
    n_bootstrap: int
    n_permutations: int
    n_splits: int
    random_state: int


@dataclass(frozen=True, eq=False)
class _Target:
    """What is found for one y: value, half-samples, null, and the arrays they were computed of."""

    value: float
    warned: bool
    low: float
    high: float
    p_value: float
    halves: FloatArray
    null: FloatArray
    y: FloatArray
    reasons: tuple[str, ...]


def compare_scores(
    x: Any,
    y: Any = None,
    *,
    measure: str | Measure = "cka",
    options: Mapping[str, Any] | None = None,
    repeats: Any = None,
    subjects: Sequence[Any] | None = None,
    n_bootstrap: int = 1000,
    n_permutations: int = 1000,
    n_splits: int = 100,
    random_state: int = 0,
) -> Scores:
    """Give any measure of alignment its noise ceiling, an interval over stimuli and a p-value.

    Parameters
    ----------
    x : array (n_stimuli, p) or Responses
        The model, as in `compare`.
    y : array (n_stimuli, q) or Responses, or None
        The brain. None where `subjects`, or `repeats` as an array (y is then their mean),
        takes its place.
    measure, options : as in `compare`
        A measure of responses to stimuli; those of single trials or of trajectories
        (``MEASURES[name].samples``) are refused.
    repeats : array (n_repeats, n_stimuli, q), True, or None
        The single repeats behind y, for a split-half ceiling. True, with y as `Responses`:
        the rows of each stimulus, in the order of their `repetition` where that column tells
        them apart, else as they come; numbers may be unequal, a stimulus with a single row
        does not enter the ceiling.
    subjects : sequence of arrays (n_stimuli, q_s) or of Responses, or None
        One score for each; the ceiling of each is the mean of the measure between every
        other subject (as x) and it (as y). At most one of `repeats` and `subjects`.
    n_bootstrap : half-samples of the stimuli for the intervals; 0, or at least 20
    n_permutations : orders of the stimuli of y for the p-value; 0: none
    n_splits : random halves of the repeats; where fewer distinct ones exist, each of them once
    random_state : int, not negative; equal seeds give equal scores

    Returns
    -------
    Scores
        `values` (1,), or (n_subjects,) with the column `subject` in `units`. `interval` 95 %,
        None with ``n_bootstrap=0``; `p_values` one-sided, None with ``n_permutations=0``: closer
        than with the stimuli of y in random order (higher for a similarity, lower for a
        distance). `noise_ceiling` None without repeats and subjects; NaN, with a warning, for
        one repeat or one subject; its `low` and `high`, and with them `Scores.normalised`, are NaN
        with ``n_bootstrap=0`` and with fewer stimuli than can be halved. `info`: `kind`,
        `options`, `n_stimuli`, `nan_reasons` (counted), and with `subjects` the `mean` over those
        that have a value, with interval and p-value. A value that the measure does not define is
        NaN, with its warning.

    Raises
    ------
    ShapeError
        Fewer than 8 stimuli, or than twice what the measure needs, with ``n_bootstrap > 0``;
        `repeats` of another shape than (n_repeats, *y.shape); no subjects; what `compare` refuses.
    InputError
        Both `repeats` and `subjects`, both `y` and `subjects`, or none of the three; a measure
        of trials or trajectories; two subjects of one name; numbers of draws or a seed out of
        range; values that are not finite.
    AlignmentError
        `Responses` together with arrays; stimuli without a partner.
    UnknownNameError
        The measure or the option does not exist.

    Notes
    -----
    *Ceiling.* Halves of the repeats are noisier than the mean of all that the model is compared
    with, and no correction holds for every measure: for a similarity the ceiling is a lower
    bound of what a model without noise can reach, for a distance an upper bound of the smallest
    distance. That holds where noise makes two sides less close; a biased measure with more
    units than stimuli (``cka_biased``, ``cca``) can do the opposite. `Scores.normalised` divides
    by it: for a distance a value of 1 or less is as close as the repeats or subjects themselves.

    *Interval.* The measure over random halves of the stimuli, drawn without replacement,
    spreads around its mean over the halves with the variance that the value has from one set of
    n stimuli to another (the delete-d jackknife with d = n / 2, Shao & Wu 1989,
    doi:10.1214/aos/1176347263; for odd n the deviations are multiplied by sqrt(r / (n - r)),
    r = (n - 1) / 2). The interval is the value plus the 2.5 % and 97.5 % quantiles of these
    deviations, clipped to the range of the measure; for a distance without an upper end the
    deviations are taken relative to the mean of the halves, because it may be a sum over stimuli
    (``rsm_norm``). The quantiles are not reversed, as the theory
    of subsampling would have them: over planted cases of 40 and 80 stimuli the reversed form
    held the true correlation or debiased CKA in 89 to 95 % of the samples, this one in 94 to 98 %.
    The plain bootstrap is not used: it draws a stimulus several times, and such copies are each
    other's nearest neighbours, are tied in every rank and enter debiased estimates as different
    stimuli at distance zero. The stimuli are taken as a
    random sample; the interval is one of the value that n stimuli have on average and is not
    corrected for bias of the measure. It is too wide (conservative) where x and y are
    unrelated, where the variance falls faster than 1 / n, and where a parameter means something
    else with half of the stimuli (k of n neighbours, training sets of a regression). NaN, with a
    warning, where more than 5 % of the half-samples give a warning and the value gave none
    (``cca`` with nearly as many units as stimuli in the half). The interval of a ceiling takes one
    pair of measurements in each draw, which is a little too wide for their mean.

    *p-value.* `permutation_test`: (b + 1) / (m + 1), matrices over stimuli computed once. An order
    without a value counts as at least as close.

    *Cost.* Every score: `n_bootstrap` evaluations over n / 2 stimuli, as many again for the
    ceiling, `n_permutations` over n (O(n^2) each for RSA and kernels), and `n_splits` or the
    pairs of subjects. A measure that is invariant to rotations is evaluated in n coordinates
    where there are more units than stimuli. Memory: one evaluation, and twice the repeats.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(40, 3))
    >>> brain = signal @ rng.normal(size=(3, 20)) + rng.normal(size=(6, 40, 20))
    >>> found = compare_scores(signal, repeats=brain, n_bootstrap=100, n_permutations=99)
    >>> bool(found.interval[0, 0] < found.values[0] < found.interval[1, 0]), found.p_values
    (True, array([0.01]))
    >>> bool(0.5 < found.noise_ceiling.values[0] < 1)
    True
    """
    chosen = find_measure(measure, options)
    if chosen.samples != "stimuli":
        raise InputError(
            f"measure {chosen.name!r} compares {chosen.samples}; compare_scores halves and reorders the "
            "stimuli of responses (n_stimuli, n_units). Use compare for its value"
        )
    draws = _draws(n_bootstrap, n_permutations, n_splits, random_state)
    sources = read_sources(x, y, repeats, subjects)
    n = len(sources.x)
    check_size(chosen, n)
    if draws.n_bootstrap:
        check_halves(chosen, n)
    evaluate = Evaluation(chosen, dict(options or {}))
    found = [_of_target(evaluate, sources.x, target, draws) for target in sources.targets]
    ceiling = _ceiling_of(evaluate, sources, found, draws)
    _warn_of(sources.labels, found, ceiling)
    info = {
        **_facts(evaluate, sources, draws),
        "nan_reasons": _counted(found),
        **passed_on(x, y, *(subjects if subjects is not None else ())),
    }
    if sources.by_subject:
        info["mean"] = _mean(chosen, found, n)
    if ceiling is None:
        info["no_ceiling"] = "neither repeats nor subjects were given"
    return Scores(
        np.array([f.value for f in found]),
        _units(sources),
        chosen.name,
        {"analysis": "comparison", **sources.named},
        interval=np.array([[f.low for f in found], [f.high for f in found]]) if n_bootstrap else None,
        n_test=n,
        noise_ceiling=ceiling,
        p_values=np.array([f.p_value for f in found]) if n_permutations else None,
        info=info,
    )


def _draws(n_bootstrap: int, n_permutations: int, n_splits: int, random_state: int) -> _Draws:
    whole = {
        "n_bootstrap": n_bootstrap,
        "n_permutations": n_permutations,
        "n_splits": n_splits,
        "random_state": random_state,
    }
    for name, value in whole.items():
        least = 1 if name == "n_splits" else 0
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{name}={value!r}; expected an integer of at least {least}")
    if 0 < n_bootstrap < _FEWEST_DRAWS:
        raise InputError(
            f"n_bootstrap={n_bootstrap}; a 95 % interval needs at least {_FEWEST_DRAWS} half-samples, 0 "
            "leaves it out"
        )
    return _Draws(int(n_bootstrap), int(n_permutations), int(n_splits), int(random_state))


def _of_target(evaluate: Evaluation, x: FloatArray, y: FloatArray, draws: _Draws) -> _Target:
    """Value, interval and p-value of one y."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = value_of(evaluate.measure, x, y, evaluate.options)
    for warning in caught:
        warnings.warn(str(warning.message), warning.category, stacklevel=4)
    nan, reasons = float("nan"), []
    if np.isnan(value):
        reason = str(caught[0].message) if caught else f"{evaluate.measure.name} is NaN"
        empty = np.full(draws.n_bootstrap, nan), np.full(draws.n_permutations, nan)
        return _Target(value, bool(caught), nan, nan, nan, *empty, y, (reason,))
    x, small = compact(evaluate, x, y, value)
    halves, low, high = HalfSamples(np.empty(0), len(x)), nan, nan
    if draws.n_bootstrap:
        seed = [draws.random_state, 2]
        halves = half_samples(
            evaluate, lambda _, rows: (x[rows], small[rows]), len(x), draws.n_bootstrap, seed
        )
        low, high, why = interval(value, halves, evaluate.measure.range, warned=bool(caught))
        if why is not None:
            reasons.append(f"no interval: {why}")
    p_value, null = _p_value(evaluate, x, small, draws)
    if np.isnan(null).any():
        reasons.append("no value in some permutations, which count as at least as close")
    return _Target(value, bool(caught), low, high, p_value, halves.values, null, small, tuple(reasons))


def _p_value(evaluate: Evaluation, x: FloatArray, y: FloatArray, draws: _Draws) -> tuple[float, FloatArray]:
    if not draws.n_permutations:
        return float("nan"), np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of single draws; what matters of them is counted
        tested = permutation_test(
            x,
            y,
            measure=evaluate.measure,
            n_permutations=draws.n_permutations,
            random_state=np.random.default_rng([draws.random_state, 1]),
            options=evaluate.options,
        )
    return tested.p_value, tested.null


def _ceiling_of(
    evaluate: Evaluation, sources: Sources, found: list[_Target], draws: _Draws
) -> NoiseCeiling | None:
    n_bootstrap, seed = draws.n_bootstrap, draws.random_state
    if sources.by_subject:
        targets = [f.y for f in found]  # in fewer coordinates where the measure did not notice
        facts: dict[str, Any] = {"n_subjects": len(targets), "n_stimuli": len(sources.x)}
        ceilings = between_subjects_ceilings(evaluate, targets, n_bootstrap, seed)
        return as_noise_ceiling(ceilings, "between_subjects", evaluate, facts)
    if sources.repeats is None:
        return None
    ceiling, n_stimuli = split_half_ceiling(evaluate, sources.repeats, draws.n_splits, n_bootstrap, seed)
    counts = sources.repeats.counts
    facts = {
        "n_stimuli": n_stimuli,
        "stimuli_with_one_repeat": int((counts < 2).sum()),
        "repeats_min": int(counts.min()),
        "repeats_max": int(counts.max()),
    }
    return as_noise_ceiling([ceiling], "split_half", evaluate, facts)


def _warn_of(labels: list[str], found: list[_Target], ceiling: NoiseCeiling | None) -> None:
    """Say what is missing and why; of a value that is NaN the measure has said it."""
    for label, target in zip(labels, found, strict=True):
        for reason in target.reasons if np.isfinite(target.value) else ():
            warnings.warn(f"{label}: {reason}", stacklevel=3)
    for reason, count in ({} if ceiling is None else ceiling.info["reasons"]).items():
        warnings.warn(f"noise ceiling: {reason} (of {count} in {len(found)} scores)", stacklevel=3)


def _facts(evaluate: Evaluation, sources: Sources, draws: _Draws) -> dict[str, Any]:
    """What was compared and how."""
    out: dict[str, Any] = {
        "claim": "descriptive",
        "measure": evaluate.measure.name,
        "kind": evaluate.measure.kind,
        "options": {name: _plain(value) for name, value in evaluate.options.items()},
        "n_stimuli": len(sources.x),
        "n_units_x": sources.x.shape[1],
        "joined": sources.joined,
        "generalisation": "the stimuli that were compared; nothing was fitted to others",
        "random_state": draws.random_state,
        "versions": versions(),
    }
    if draws.n_bootstrap:
        out["n_bootstrap"] = draws.n_bootstrap
        out["interval"] = "95 % over half-samples of the stimuli without replacement"
    if draws.n_permutations:
        out["permutation"] = {"n": draws.n_permutations, "exchange": "whole stimuli of y"}
    return out


def _plain(value: Any) -> Any:
    """A value that can be written down, or its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else repr(value)


def _counted(found: list[_Target]) -> dict[str, int]:
    reasons = [reason for target in found for reason in target.reasons]
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def _units(sources: Sources) -> pd.DataFrame:
    table = pd.DataFrame(
        {"n_units": [t.shape[1] for t in sources.targets]}, index=pd.Index(sources.labels, name="unit_id")
    )
    if sources.by_subject:
        table.insert(0, "subject", sources.labels)
    return table


def _mean(measure: Measure, found: list[_Target], n: int) -> dict[str, Any]:
    """The mean over the subjects with a value: the same half-samples and orders served all of them."""
    known = [f for f in found if np.isfinite(f.value)]
    out: dict[str, Any] = {"n_subjects": len(known), "value": None, "interval": None, "p_value": None}
    if not known:
        return out
    value = float(np.mean([f.value for f in known]))
    out["value"] = value
    if len(known[0].halves) and all(np.isfinite(f.low) for f in known):
        halves = HalfSamples(np.mean([f.halves for f in known], axis=0), n)
        low, high, why = interval(value, halves, measure.range)
        out["interval"] = [low, high] if why is None else None
    if len(known[0].null):
        null = np.mean([f.null for f in known], axis=0)
        sign = 1.0 if measure.kind == "similarity" else -1.0
        closer = int((~(sign * null < sign * value - 1e-12)).sum())
        out["p_value"] = (closer + 1) / (len(null) + 1)
    return out
