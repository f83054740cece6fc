"""Matchings of single units that share the tuning curves of a system and the correlations of a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._unit_curves import (
    UnitCurves,
    correlation_tiles,
    correlations_of,
    warn_left_out,
    warn_nothing,
)
from brainalign.comparison.unit_transport import soft_match_of_correlations

# above it the best partners are found in tiles, and all correlations are never held
_MOST_HELD = 2**26


@dataclass(frozen=True, eq=False)
class UnitPair:
    """The tuning curves of two systems; `swapped` is the pair (y, x)."""

    x: UnitCurves
    y: UnitCurves
    swapped: UnitPair | None = None

    @cached_property
    def correlations(self) -> FloatArray:
        """Correlations (p, q) of the units that vary."""
        return correlations_of(self.x, self.y) if self.swapped is None else self.swapped.correlations.T

    @cached_property
    def assigned(self) -> float:
        """Mean correlation of the one-to-one assignment with the largest sum."""
        if self.swapped is not None:
            return self.swapped.assigned
        rows, columns = linear_sum_assignment(self.correlations, maximize=True)
        return float(self.correlations[rows, columns].mean())


def joined_units(x: UnitCurves, y: UnitCurves) -> UnitPair:
    """The pair of two systems."""
    return UnitPair(x, y)


def swapped_units(pair: UnitPair) -> UnitPair:
    """The pair (y, x), which takes what it needs from the pair (x, y)."""
    return UnitPair(pair.y, pair.x, swapped=pair)


def reordered_units(curves: UnitCurves, order: np.ndarray) -> UnitCurves:
    """The same with its stimuli in another order."""
    return replace(curves, values=curves.values[order])


def _best(pair: UnitPair) -> float:
    if len(pair.x.kept) * len(pair.y.kept) <= _MOST_HELD:
        return float(pair.correlations.max(axis=1).mean())
    best = np.concatenate([r.max(axis=1) for _, r in correlation_tiles(pair.x, pair.y)])
    return float(best.mean())


def _soft(pair: UnitPair) -> float:
    if len(pair.x.kept) == len(pair.y.kept):
        # the best plan between equal numbers of units is an assignment (Birkhoff)
        return pair.assigned
    return soft_match_of_correlations(pair.correlations)


OF_UNITS: dict[str, Callable[[UnitPair], float]] = {
    "bipartite_match": lambda pair: pair.assigned,
    "best_match": _best,
    "soft_match": _soft,
}
"""Matchings of units, without options."""


def unit_value(pair: UnitPair, *, name: str) -> float:
    """A measure of `OF_UNITS`; warns of units that are left out, NaN where none is left."""
    warn_left_out(pair.x, pair.y, stacklevel=2)
    if not len(pair.x.kept) or not len(pair.y.kept):
        return warn_nothing(name, pair.x, stacklevel=2)
    return OF_UNITS[name](pair)
