"""What is known of a measure of representational alignment: how it is computed, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

KINDS = ("similarity", "distance")
REASON_NAN = (
    "{name} is NaN: x or y does not vary over stimuli, all its stimuli are equally far apart, or "
    "(correlation distance) a stimulus has the same response in every unit"
)
INVARIANCES = ("rotation", "scale", "translation", "linear", "permutation")


def inner_product(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the products of all entries."""
    return float(np.vdot(a, b))


_ROUNDING = 1e-9


@dataclass(frozen=True)
class Measure:
    """A similarity of x and y, or a distance between them, and what is known of it.

    Parameters
    ----------
    name : str
    function : callable (x, y, **options) -> float
        Takes paired, finite float64 arrays; NaN, with a warning, where the value is not
        defined.
    kind : ``"similarity"`` (higher is closer) or ``"distance"`` (0 is the same)
    family : the group of measures it belongs to
    range : the lowest and highest possible value
    invariances : what may be applied to x or y, each on its own, without a change:
        ``"rotation"``, ``"scale"`` (one positive factor), ``"translation"`` (one vector
        added to every row), ``"linear"`` (any invertible map), ``"permutation"`` (of units)
    minimum : fewest stimuli (of trajectories: times, with the default options)
    cost, reference : text
    answers : the question that it answers
    blind_to : what it cannot see
    bias : when it is biased
    options : names that `options` may hold
    symmetric : m(x, y) = m(y, x)
    metric : a distance with the triangle inequality
    equal_widths : x and y need the same number of units
    paired : which stimulus is where matters; if not, no permutation of stimuli is a test
    samples : what x and y are: ``"stimuli"`` (n_stimuli, p), ``"trials"`` (n_stimuli,
        n_repeats, p), ``"trajectories"`` (n_times, p) or (n_trials, n_times, p)
    represent : callable (x, **options) -> (n, n), or None
        What each side becomes on its own: a matrix over stimuli whose rows and columns
        follow a permutation of the stimuli.
    between : callable (matrix, matrix) -> float, or None
        The value of two such matrices.
    """

    name: str
    function: Callable[..., float]
    kind: str
    family: str
    range: tuple[float, float]
    invariances: frozenset[str]
    minimum: int
    cost: str
    reference: str
    answers: str
    blind_to: str
    bias: str
    options: tuple[str, ...] = ()
    symmetric: bool = True
    metric: bool = False
    equal_widths: bool = False
    paired: bool = True
    samples: str = "stimuli"
    represent: Callable[..., np.ndarray] | None = None
    between: Callable[[np.ndarray, np.ndarray], float] | None = None


def within_range(measure: Measure, value: float) -> float:
    """The value without the rounding that lies beyond the range of its measure."""
    low, high = measure.range
    nearest = min(max(value, low), high)
    return nearest if abs(value - nearest) <= _ROUNDING else value
