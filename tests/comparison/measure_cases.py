"""Small recordings of the kind that each measure takes, and what may be done to one side of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from brainalign.comparison import MEASURES, compare

QUICK: dict[str, dict[str, Any]] = {
    "linear_predictivity": {"cv": 2},
    "dsa": {"n_delays": 1, "rank": 2, "n_restarts": 2},
    "gromov_wasserstein": {"n_restarts": 2},
    "stochastic_shape": {"restarts": 2},
    "energy_shape": {"restarts": 2},
    "ricci": {"k": 5},
}
"""Options that keep a value of a slow measure to a few milliseconds."""

SEARCHES = {"stochastic_shape", "energy_shape", "dsa", "gromov_wasserstein"}
"""Measures that end a search at a tolerance of their own."""

ORDER_COUNTS = {"dsa", "linear_predictivity"}
"""Measures to which the order of the rows matters: times, and the folds that rows fall into."""

ROTATIONS = frozenset({"rotation", "scale", "permutation"})
"""What is invertible and linear, and so follows from "linear"."""


def value(measure: str, x: np.ndarray, y: np.ndarray, **options: Any) -> float:
    """The value with the quick options."""
    return compare(x, y, measure=measure, options={**QUICK.get(measure, {}), **options})


def shape_of(measure: str) -> tuple[int, ...]:
    """Stimuli (24, 6); trials (6, 5, 4); trajectories (80, 4)."""
    return {"stimuli": (24, 6), "trials": (6, 5, 4), "trajectories": (80, 4)}[MEASURES[measure].samples]


def unrelated(measure: str, seed: int) -> np.ndarray:
    """Normal responses around a mean that is not 0; trajectories turn and decay, each in its own way."""
    rng = np.random.default_rng(seed)
    shape = shape_of(measure)
    p = shape[-1]
    spread = np.linspace(2.0, 0.6, p)
    if MEASURES[measure].samples != "trajectories":
        return np.asarray(rng.normal(size=shape) * spread + 1.0)
    step = 0.9 * np.linalg.qr(rng.normal(size=(p, p)))[0]
    states = [np.zeros(p)]
    for shock in rng.normal(size=(shape[0], p)) * spread:
        states.append(step @ states[-1] + shock)
    return np.asarray(states[1:]) + 1.0


def related(measure: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x and a y that mixes its units and adds noise; equal widths."""
    x = unrelated(measure, seed)
    rng = np.random.default_rng(seed + 1000)
    p = x.shape[-1]
    near = MEASURES[measure].samples == "trials"  # so near that every start of the search ends in one place
    mix = np.eye(p) + (0.2 if near else 0.5) * rng.normal(size=(p, p))
    return x, (x - 1.0) @ mix + (0.3 if near else 0.7) * rng.normal(size=x.shape) + 0.5


def change(name: str, p: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """One rotation, factor, shift, invertible map or permutation of p units, as a function of responses."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    steep = rotation @ np.diag(np.geomspace(6.0, 0.5, p)) @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    shift, factor, order = 3.0 * rng.normal(size=p), float(rng.uniform(2.0, 9.0)), np.roll(np.arange(p), 1)
    if p > 1:
        order = rng.permutation(p)
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "rotation": lambda a: a @ rotation,
        "scale": lambda a: factor * a,
        "translation": lambda a: a + shift,
        "linear": lambda a: a @ steep,
        "permutation": lambda a: a[..., order],
    }
    return changes[name]
