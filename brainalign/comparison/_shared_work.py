"""Values of the measures that share their work, and of the same systems with their stimuli reordered."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._measure import Measure, within_range
from brainalign.comparison._one_pass import Form
from brainalign.comparison._systems import System

Pair = tuple[int, int]
T = TypeVar("T")
_ROUNDING = 1e-12
# reordered matrices of one product: more of them fall out of the cache before they are used
_BATCH_BYTES = 2**23


@dataclass(frozen=True, eq=False)
class Found:
    """A value, its null (n_draws,) and what was warned of."""

    value: float
    null: FloatArray
    reasons: tuple[str, ...] = ()


def closer_or_equal(measure: Measure, value: float, null: FloatArray) -> int:
    """How many draws are at least as close as the value.

    An order that leaves the value as it is must count, whatever the order of its sums; so must one
    without a value. Distances in the unit of the responses may all be far below one.
    """
    sign = 1.0 if measure.kind == "similarity" else -1.0
    known = np.abs(null[np.isfinite(null)]).max(initial=0.0)
    rounding = _ROUNDING * max(abs(value), float(known))
    return int((~(sign * null < sign * value - rounding)).sum())


def against_chance(measure: Measure, found: Found) -> dict[str, float]:
    """Value, p-value, mean of the null, and the value with that mean at 0 and equal systems at 1."""
    value, null = within_range(measure, found.value), found.null
    missing = {"value": value, "p_value": np.nan, "null_mean": np.nan, "calibrated": np.nan}
    known = null[np.isfinite(null)]
    if not len(null) or np.isnan(value):
        return missing
    mean = _mean(known)
    best = measure.range[1] if measure.kind == "similarity" else measure.range[0]
    room = best - mean
    calibrated = (value - mean) / room if abs(room) > _ROUNDING * max(abs(best), abs(mean)) else np.nan
    return {
        "value": value,
        "p_value": (closer_or_equal(measure, value, null) + 1) / (len(null) + 1),
        "null_mean": mean,
        "calibrated": float(calibrated),
    }


def _mean(values: FloatArray) -> float:
    """The mean without the overflow of the sum; NaN of nothing."""
    return float((values / len(values)).sum()) if len(values) else float("nan")


@dataclass(frozen=True, eq=False)
class SharedWork:
    """Measures of one form key: their places in the request, and their forms."""

    form: Form
    places: list[int]
    forms: list[Form]

    def take(self, place: int, form: Form) -> None:
        """Add a measure; those that others take results from come first."""
        at = 0 if form.early else len(self.places)
        self.places.insert(at, place)
        self.forms.insert(at, form)

    def fill(
        self,
        found: list[dict[Pair, Found]],
        wanted: list[list[Pair]],
        first: list[System],
        second: list[System],
        orders: Sequence[np.ndarray],
    ) -> None:
        """Compute every wanted pair of every measure into `found`."""
        if self.form.product:
            self._products(found[self.places[0]], wanted[self.places[0]], first, second, orders)
            return
        a, said_a = self._prepared(first)
        b, said_b = (a, said_a) if second is first else self._prepared(second)
        nulls = {
            (place, pair): np.full(len(orders), np.nan) for place in self.places for pair in wanted[place]
        }
        values: dict[tuple[int, Pair], tuple[float, list[str]]] = {}
        for place, pair, form, joined in self._every(wanted, a, b):
            values[place, pair] = listened(form.value, joined)
        for draw, order in enumerate(orders):
            moved = [self.form.reorder(one, order) for one in b]
            for place, pair, form, joined in self._every(wanted, a, moved):
                nulls[place, pair][draw] = listened(form.value, joined)[0]
        for place, form in zip(self.places, self.forms, strict=True):
            for i, j in wanted[place]:
                value, reasons = values[place, (i, j)]
                told = [*said_a[i], *said_b[j], *reasons]
                if np.isnan(value) and not told:
                    told = [form.undefined]
                found[place][i, j] = Found(value, nulls[place, (i, j)], tuple(told))

    def _prepared(self, systems: list[System]) -> tuple[list[Any], list[list[str]]]:
        """What each system becomes, and what was warned of it."""
        both = [listened(self.form.prepare, system.values) for system in systems]
        return [one for one, _ in both], [said for _, said in both]

    def _every(
        self, wanted: list[list[Pair]], a: list[Any], b: list[Any]
    ) -> Iterator[tuple[int, Pair, Form, Any]]:
        """Every wanted pair with every measure that wants it; (j, i) right after (i, j), which it shares."""
        sets = [set(wanted[place]) for place in self.places]
        last: tuple[Pair, Any] | None = None
        for i, j in sorted(set().union(*sets), key=lambda pair: (min(pair), max(pair), pair)):
            if last is not None and last[0] == (j, i) and a is b and self.form.swap is not None:
                joined = self.form.swap(last[1])
            else:
                joined = self.form.join(a[i], b[j])
            last = (i, j), joined
            for place, form, own in zip(self.places, self.forms, sets, strict=True):
                if (i, j) in own:
                    yield place, (i, j), form, joined

    def _products(
        self,
        found: dict[Pair, Found],
        wanted: list[Pair],
        first: list[System],
        second: list[System],
        orders: Sequence[np.ndarray],
    ) -> None:
        """Measures that are inner products of two matrices: all systems, and all draws, in one product."""
        left, said_a = self._stacked(first)
        right, said_b = (left, said_a) if second is first else self._stacked(second)
        values = left @ right.T
        nulls = np.full((len(left), len(right), len(orders)), np.nan)
        n = len(first[0].values)
        size = max(1, _BATCH_BYTES // (8 * n * n))
        for j in sorted({j for _, j in wanted}):
            matrix = right[j].reshape(n, n)
            for start in range(0, len(orders), size):
                some = orders[start : start + size]
                moved = np.stack([self.form.reorder(matrix, order).ravel() for order in some])
                nulls[:, j, start : start + len(some)] = left @ moved.T
        for i, j in wanted:
            value = float(values[i, j])
            told = [*said_a[i], *said_b[j]]
            if np.isnan(value) and not told:
                told = [self.form.undefined]
            found[i, j] = Found(value, nulls[i, j], tuple(told))

    def _stacked(self, systems: list[System]) -> tuple[FloatArray, list[list[str]]]:
        """The matrices of all systems as rows, each written in place: one copy of them is held."""
        out = np.empty((len(systems), len(systems[0].values) ** 2))
        said = []
        for row, system in zip(out, systems, strict=True):
            matrix, told = listened(self.form.prepare, system.values)
            row[:] = matrix.ravel()
            said.append(told)
        return out, said


def listened(function: Callable[[Any], T], argument: Any) -> tuple[T, list[str]]:
    """What a function returns, and what it warned of; the caller counts and says it once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = function(argument)
    return value, [str(one.message) for one in caught]
