"""How close two measurements of the same brain, or two brains, come by a measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from brainalign.comparison._alignment_halves import (
    LEAST,
    Evaluation,
    FloatArray,
    HalfSamples,
    Rows,
    half_samples,
    interval,
    without_end,
)
from brainalign.comparison._alignment_sources import Repeats
from brainalign.types import NoiseCeiling

Pair = Callable[[int, Rows], tuple[FloatArray, FloatArray]]
_NOISE = (
    "for a measure that noise makes less close; a measure that is biased with many units (cka_biased, cca) "
    "can be closer between noisy halves, and is then not bounded"
)
BOUND = {
    (
        "split_half",
        "similarity",
    ): "not corrected for halving: both sides are means of half of the repeats, so "
    "that a model without noise may lie above it (lower bound of the ceiling), " + _NOISE,
    ("split_half", "distance"): "not corrected for halving: both sides are means of half of the repeats, so "
    "that a model without noise lies below it (upper bound of the smallest distance that noise allows), "
    + _NOISE,
    ("between_subjects", "similarity"): "pairs of single subjects: both sides hold noise and what is their "
    "own, so that a model of what subjects share may lie above it (lower bound of the ceiling), " + _NOISE,
    ("between_subjects", "distance"): "pairs of single subjects: both sides hold noise and what is their "
    "own, so that a model of what subjects share may lie below it (upper bound of the smallest distance that "
    "noise allows), " + _NOISE,
}


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Mean over pairs of measurements, its 95 % interval over stimuli, and why it is NaN."""

    value: float
    low: float
    high: float
    n_pairs: int
    reasons: tuple[str, ...] = ()


def no_ceiling(reason: str) -> Ceiling:
    """A ceiling that cannot be had."""
    return Ceiling(float("nan"), float("nan"), float("nan"), 0, (f"NaN: {reason}",))


def split_half_ceiling(
    evaluate: Evaluation, repeats: Repeats, n_splits: int, n_bootstrap: int, seed: int
) -> tuple[Ceiling, int]:
    """The measure between means of disjoint halves of the repeats, and the number of stimuli used.

    Stimuli with one repeat are left out.
    """
    usable = np.flatnonzero(repeats.counts >= 2)
    if len(usable) == 0:
        return no_ceiling("no stimulus has two repeats"), 0
    least = evaluate.measure.minimum
    if len(usable) < least:
        return no_ceiling(
            f"{len(usable)} stimuli have two repeats; {evaluate.measure.name} needs {least}"
        ), len(usable)
    values, present = repeats.values[:, usable], repeats.present[:, usable]
    orders = split_orders(present, n_splits, evaluate.measure.symmetric, [seed, 3])

    def pair(split: int, rows: Rows) -> tuple[FloatArray, FloatArray]:
        return half_means(values[:, rows], present[:, rows], orders[split % len(orders)])

    return _ceiling(evaluate, pair, len(orders), len(usable), n_bootstrap, [seed, 4]), len(usable)


def split_orders(
    present: np.ndarray[Any, np.dtype[np.bool_]], n_splits: int, symmetric: bool, seed: list[int]
) -> list[Rows]:
    """Orders of the repeats whose first half goes to one side; every distinct split if few exist."""
    n = len(present)
    half = n // 2
    mirrored = symmetric and n == 2 * half  # the two sides of such a split may change places
    if present.all() and comb(n, half) // (2 if mirrored else 1) <= n_splits:
        chosen = [c for c in combinations(range(n), half) if not mirrored or c[0] == 0]
        return [np.array([*c, *(i for i in range(n) if i not in c)]) for c in chosen]
    rng = np.random.default_rng(seed)
    return [rng.permutation(n) for _ in range(n_splits)]


def half_means(
    values: FloatArray, present: np.ndarray[Any, np.dtype[np.bool_]], order: Rows
) -> tuple[FloatArray, FloatArray]:
    """Means of the first half of the repeats of each stimulus in `order`, and of the rest."""
    known = present[order]
    first = np.empty_like(known)
    first[order] = known & (np.cumsum(known, axis=0) <= known.sum(axis=0) // 2)
    a, b = (np.einsum("rn,rnq->nq", side / side.sum(axis=0), values) for side in (first, present & ~first))
    return a, b


def between_subjects_ceilings(
    evaluate: Evaluation, targets: Sequence[FloatArray], n_bootstrap: int, seed: int
) -> list[Ceiling]:
    """For each subject the mean of the measure between every other one (as x) and it (as y)."""
    n = len(targets[0])
    if len(targets) == 1:
        return [no_ceiling("one subject")]
    out = []
    for own, target in enumerate(targets):
        others = [t for i, t in enumerate(targets) if i != own]

        def pair(
            draw: int, rows: Rows, others: list[FloatArray] = others, target: FloatArray = target
        ) -> tuple[FloatArray, FloatArray]:
            return others[draw % len(others)][rows], target[rows]

        out.append(_ceiling(evaluate, pair, len(others), n, n_bootstrap, [seed, 4]))
    return out


def _ceiling(
    evaluate: Evaluation, pair: Pair, n_pairs: int, n: int, n_bootstrap: int, seed: list[int]
) -> Ceiling:
    every = np.arange(n)
    found = [evaluate(*pair(i, every)) for i in range(n_pairs)]
    full = np.array([value for value, _ in found])
    usable = np.flatnonzero(np.isfinite(full))
    lost = [message for value, message in found if np.isnan(value)]
    if len(usable) == 0:
        return no_ceiling(lost[0] or "the measure has no value between the measurements")
    value = float(full[usable].mean())
    reasons = [f"{len(lost)} of {n_pairs} pairs left out: {lost[0]}"] if lost else []
    low = high = float("nan")
    if n_bootstrap and n >= max(LEAST, 2 * evaluate.measure.minimum):

        def drawn(draw: int, rows: Rows) -> tuple[FloatArray, FloatArray]:
            return pair(int(usable[draw % len(usable)]), rows)

        halves = half_samples(evaluate, drawn, n, n_bootstrap, seed)
        # a draw speaks of one pair: what that pair has over the mean of all pairs is not spread over stimuli
        own = full[usable[np.arange(n_bootstrap) % len(usable)]]
        if without_end(evaluate.measure.range):
            shared = halves.values * np.divide(value, own, out=np.ones_like(own), where=own > 0)
        else:
            shared = halves.values - own + value
        halves = HalfSamples(shared, n, halves.warned, halves.message)
        warned = any(message is not None for v, message in found if np.isfinite(v))
        low, high, why = interval(value, halves, evaluate.measure.range, warned=warned)
        reasons += [] if why is None else [f"no interval: {why}"]
    return Ceiling(value, low, high, len(usable), tuple(reasons))


def as_noise_ceiling(
    ceilings: Sequence[Ceiling], method: str, evaluate: Evaluation, facts: dict[str, Any]
) -> NoiseCeiling:
    """The ceilings of all targets as the noun holds them; reasons are counted."""
    reasons: dict[str, int] = {}
    for ceiling in ceilings:
        for reason in ceiling.reasons:
            reasons[reason] = reasons.get(reason, 0) + 1
    return NoiseCeiling(
        np.array([c.value for c in ceilings]),
        np.array([c.low for c in ceilings]),
        np.array([c.high for c in ceilings]),
        method,
        evaluate.measure.name,
        {
            "bound": BOUND[method, evaluate.measure.kind],
            "interval": "95 % over half-samples of the stimuli, one pair in each draw",
            "n_pairs": max(c.n_pairs for c in ceilings),
            "reasons": reasons,
            **facts,
        },
    )
