"""Responses with planted truth: for tests, documentation and power analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from brainalign._checks import unknown_name
from brainalign.errors import InputError, ShapeError
from brainalign.metrics import is_constant

if TYPE_CHECKING:
    from brainalign.types import Responses


@dataclass(frozen=True, eq=False)
class SimulatedResponses:
    """Simulated single trials.

    `trials` (n_stimuli * n_repeats, n_units), repeats of a stimulus in a row; `stimulus`
    (n_trials,) row of the features; `region` (n_units,) labels; `signal` (n_stimuli,
    n_units) without noise.
    """

    trials: np.ndarray
    stimulus: np.ndarray
    region: np.ndarray
    signal: np.ndarray


def respond(
    features: Mapping[str, Any],
    truth: Mapping[str, str],
    *,
    n_units: int | Sequence[int] = 50,
    n_repeats: int = 4,
    noise_std: float = 1.0,
    random_state: int = 0,
) -> SimulatedResponses:
    """Simulate regions whose units are random mixtures of one layer each, plus noise.

    Parameters
    ----------
    features : {layer: array (n_stimuli, n_features)}
    truth : {region: layer that drives it}
    n_units : units per region, one number or one per region
    n_repeats : trials per stimulus
    noise_std : standard deviation of the noise of one trial; the signal of a unit has 1
    random_state : seed

    Returns
    -------
    SimulatedResponses

    Raises
    ------
    UnknownNameError
        A region names a layer that is not among the features.
    ShapeError
        The layers differ in their stimuli, or `n_units` in its length from `truth`.
    InputError
        A layer does not vary over stimuli, `truth` is empty, a number is out of range.

    Notes
    -----
    The signal of a unit is a random Gaussian combination of the centred features. The noise
    ceiling of its mean over repeats is sqrt(1 / (1 + noise_std^2 / n_repeats)).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(10, 3))
    >>> respond({"a": x}, {"V1": "a"}, n_units=5, n_repeats=2).trials.shape
    (20, 5)
    """
    if not truth:
        raise InputError("truth is empty; expected at least one region, {'V1': 'layer'}")
    sizes = [int(n_units)] * len(truth) if isinstance(n_units, (int, np.integer)) else list(n_units)
    if len(sizes) != len(truth):
        raise ShapeError(f"n_units has {len(sizes)} entries for {len(truth)} regions")
    if n_repeats < 1 or noise_std < 0:
        raise InputError(f"n_repeats={n_repeats}, noise_std={noise_std}; expected at least 1 and at least 0")
    rng = np.random.default_rng(random_state)
    signals: list[np.ndarray] = []
    for size, layer in zip(sizes, truth.values(), strict=True):
        if layer not in features:
            raise unknown_name("layer", layer, features)
        x = np.asarray(features[layer], dtype=np.float64)
        if signals and len(x) != len(signals[0]):
            raise ShapeError(f"layer {layer!r} has {len(x)} stimuli, an earlier one {len(signals[0])}")
        if not np.isfinite(x).all() or is_constant(x).all():
            raise InputError(
                f"layer {layer!r} cannot drive a response: its features are the same for all {len(x)} "
                "stimuli, or not finite"
            )
        x = x - x.mean(0)
        signal = x @ rng.standard_normal((x.shape[1], size))
        signals.append(signal / signal.std(0))
    signal = np.concatenate(signals, axis=1)
    stimulus = np.repeat(np.arange(len(signal)), n_repeats)
    trials = signal[stimulus] + noise_std * rng.standard_normal((len(stimulus), signal.shape[1]))
    return SimulatedResponses(trials, stimulus, np.repeat(list(truth), sizes), signal)


def feature_bias(
    strengths: Sequence[Sequence[float]] = ((0.55, 0.05), (0.05, 0.55)),
    *,
    n_stimuli: int = 200,
    n_units: int = 500,
    prevalence: tuple[float, float] = (0.5, 0.5),
    n_bits: int = 2,
    random_state: int = 0,
) -> tuple[Responses, ...]:
    """Simulate systems that compute the same two binary features with unequal variance.

    The easy feature is one bit of the input; the hard one is the parity (XOR) of `n_bits`
    other bits. The systems differ in nothing but how much of their variance each takes.

    Parameters
    ----------
    strengths : sequence of pairs (easy, hard), one per system
        Share of the variance of a system that each feature takes, in [0, 1], together at
        most 1. What is left is noise of each unit and stimulus on its own.
    n_stimuli, n_units : int
    prevalence : pair in (0, 1)
        Share of the stimuli for which the easy and the hard feature are on (rounded to whole stimuli).
    n_bits : int, at least 1
        Bits in the parity of the hard feature; 1 makes it as linear as the easy one.
    random_state : int

    Returns
    -------
    tuple of Responses (n_stimuli, n_units), one per system, on the same stimuli
        ``info["simulated"]`` is True, ``info["strengths"]`` the pair. ``samples`` has the
        columns `stimulus_id`, `easy`, `hard` (0 or 1) and `bit_0` (equal to `easy`),
        `bit_1` ... (whose parity is `hard`).

    Raises
    ------
    InputError
        A strength outside [0, 1], or a pair above 1 or not of length 2; no pair; a feature
        that is on for all stimuli or for none; fewer than 4 stimuli, no units, no bits.

    Notes
    -----
    A feature, standardised over stimuli, moves every stimulus along one random direction of
    units with variance equal to its strength. Features are drawn independently, so their
    correlation is that of chance. For strengths a, b against b, a and many units the squared
    Euclidean (and correlation) RDMs correlate 2ab / (a^2 + b^2) = 0.18 for .55 and .05, the
    Euclidean ones 0.20, although both systems compute both features; 0.21 is the value of
    correlation RDMs where the hard feature is on for 30 % of the stimuli. A system with the
    easy feature alone correlates 0.99 with the first. Time and memory O(n_stimuli n_units)
    per system. After Lampinen et al. 2024, arXiv:2405.05847, without the training: the bias is
    planted, not learned.

    Examples
    --------
    >>> a, b = feature_bias([(0.55, 0.05), (0.05, 0.55)], n_stimuli=20, n_units=8)
    >>> a.shape, a.info["simulated"], int(a.samples["easy"].sum())
    ((20, 8), True, 10)
    """
    if isinstance(strengths, str) or not hasattr(strengths, "__iter__"):
        raise InputError(f"strengths={strengths!r}; expected one pair (easy, hard) per system")
    pairs = [_checked_strengths(i, pair) for i, pair in enumerate(strengths)]
    if not pairs:
        raise InputError("strengths is empty; expected one pair (easy, hard) per system")
    sizes = {"n_stimuli": (n_stimuli, 4), "n_units": (n_units, 1), "n_bits": (n_bits, 1)}
    for name, (value, least) in (sizes | {"random_state": (random_state, 0)}).items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{name}={value!r}; expected a whole number of at least {least}")
    if not _two_numbers(prevalence):
        raise InputError(f"prevalence={prevalence!r}; expected two shares of the stimuli (easy, hard)")
    rng = np.random.default_rng(random_state)
    easy, hard = (
        _binary_feature(name, share, n_stimuli, rng)
        for name, share in zip(("easy", "hard"), prevalence, strict=True)
    )
    free = rng.integers(0, 2, size=(n_stimuli, n_bits - 1))
    bits = np.column_stack([easy, free, free.sum(axis=1) % 2 ^ hard])
    columns = {"easy": easy, "hard": hard, **{f"bit_{i}": bit for i, bit in enumerate(bits.T)}}
    return tuple(_biased_system(pair, columns, n_units, rng) for pair in pairs)


def _two_numbers(value: Any) -> bool:
    return (
        isinstance(value, (Sequence, np.ndarray))
        and np.asarray(value, dtype=object).shape == (2,)
        and all(isinstance(v, Real) for v in value)
    )


def _checked_strengths(row: int, pair: Sequence[float]) -> tuple[float, float]:
    if not _two_numbers(pair):
        raise InputError(
            f"strengths of system {row} are {pair!r}; expected two shares of variance (easy, hard) in [0, 1] "
            "whose sum is at most 1"
        )
    values = tuple(float(v) for v in pair)
    # the sum of shares that add up to one in decimals may exceed it in binary
    if not all(0 <= v <= 1 for v in values) or sum(values) > 1 + 1e-12:
        raise InputError(
            f"strengths of system {row} are {values}; expected two shares of variance (easy, hard) "
            "in [0, 1] whose sum is at most 1"
        )
    return values[0], values[1]


def _binary_feature(name: str, share: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """A binary feature (n,) that is on for exactly the given share of the stimuli."""
    on = round(share * n) if 0 < share < 1 else 0
    if not 0 < on < n:
        raise InputError(
            f"prevalence {share} of the {name} feature leaves {n} stimuli without contrast; expected a "
            "share in (0, 1) that is on for at least one stimulus and off for at least one"
        )
    return rng.permutation(np.arange(n) < on).astype(np.int64)


def _biased_system(
    strengths: tuple[float, float], columns: Mapping[str, np.ndarray], n_units: int, rng: np.random.Generator
) -> Responses:
    """Responses of one system in which the features take the given shares of the variance."""
    import pandas as pd

    from brainalign.types import Responses

    n = len(columns["easy"])
    values = np.sqrt(max(0.0, 1.0 - sum(strengths))) * rng.standard_normal((n, n_units))
    for strength, name in zip(strengths, ("easy", "hard"), strict=True):
        direction = rng.standard_normal(n_units)
        direction *= np.sqrt(n_units) / np.linalg.norm(direction)
        feature = columns[name] - columns[name].mean()
        values += np.sqrt(strength) * np.outer(feature / feature.std(), direction)
    samples = pd.DataFrame({"stimulus_id": [f"stimulus_{i}" for i in range(n)], **columns})
    info = {"design": "trials", "simulated": True, "strengths": strengths}
    return Responses(values, samples, info=info)
