"""Responses with planted truth: for tests, documentation and power analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign._checks import unknown_name
from brainalign.errors import InputError, ShapeError
from brainalign.metrics import is_constant


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
