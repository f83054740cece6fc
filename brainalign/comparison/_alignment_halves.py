"""Half-samples of the stimuli: how much a measure would vary with other stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from brainalign.comparison._measure import Measure
from brainalign.comparison.measures import value_of
from brainalign.errors import BrainAlignError, ShapeError

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
LEAST = 8
_USABLE = 0.95
_SAME = 1e-9


@dataclass(frozen=True)
class Evaluation:
    """A measure with its options, called without letting its warnings out."""

    measure: Measure
    options: Mapping[str, Any]

    def __call__(self, a: FloatArray, b: FloatArray) -> tuple[float, str | None]:
        """The value, and the first warning that came with it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = value_of(self.measure, a, b, self.options)
        return value, str(caught[0].message) if caught else None


@dataclass(frozen=True, eq=False)
class HalfSamples:
    """Values over half of the stimuli, (n_draws,), and what the measure warned of in some."""

    values: FloatArray
    n_stimuli: int
    warned: int = 0
    message: str = ""

    def around(self, value: float, bounds: tuple[float, float]) -> FloatArray:
        """The finite values moved to the scale and the mean of the full sample, (n_finite,)."""
        known: FloatArray = self.values[np.isfinite(self.values)]
        mean, half = float(known.mean()), self.n_stimuli // 2
        # a distance without an upper end may be a sum over stimuli: half of them, half of the distance
        factor = value / mean if without_end(bounds) and mean > 0 else 1.0
        out: FloatArray = (known - mean) * (factor * np.sqrt(half / (self.n_stimuli - half)))
        out += value
        return out


def without_end(bounds: tuple[float, float]) -> bool:
    """Whether a measure is not negative and has no upper end, so that it may grow with the stimuli."""
    return bounds[0] >= 0 and bool(np.isinf(bounds[1]))


def check_halves(measure: Measure, n: int) -> None:
    """Refuse stimuli that are too few to be halved."""
    least = max(LEAST, 2 * measure.minimum)
    if n < least:
        raise ShapeError(
            f"{n} stimuli; the interval draws half of them, and with {measure.name} it needs at least "
            f"{least}. n_bootstrap=0 leaves the interval out"
        )


def half_rows(n: int, n_draws: int, seed: list[int]) -> Iterator[Rows]:
    """Half of n rows, drawn without replacement, in ascending order; equal seeds give equal draws."""
    rng = np.random.default_rng(seed)
    for _ in range(n_draws):
        yield np.sort(rng.permutation(n)[: n // 2])


def half_samples(
    evaluate: Evaluation,
    pair: Callable[[int, Rows], tuple[FloatArray, FloatArray]],
    n: int,
    n_draws: int,
    seed: list[int],
) -> HalfSamples:
    """The measure of ``pair(draw, rows)`` for half-samples of n rows."""
    values, messages = np.empty(n_draws), []
    for draw, rows in enumerate(half_rows(n, n_draws, seed)):
        try:
            values[draw], message = evaluate(*pair(draw, rows))
        except BrainAlignError as error:
            raise type(error)(
                f"over half of the {n} stimuli, drawn for the interval: {error}. n_bootstrap=0 leaves the "
                "interval out"
            ) from error
        if message is not None:
            messages.append(message)
    return HalfSamples(values, n, len(messages), messages[0] if messages else "")


def interval(
    value: float, halves: HalfSamples, bounds: tuple[float, float], *, warned: bool = False
) -> tuple[float, float, str | None]:
    """95 % interval of the value, and why there is none.

    `warned`: whether the value itself came with a warning. Where it did not and the
    half-samples did, the measure has met a limit there that it had not met over all stimuli
    (saturated, say), and their spread says nothing of the value.
    """
    nan = float("nan")
    finite = np.isfinite(halves.values)
    if np.isnan(value):
        return nan, nan, "the value is NaN"
    if finite.mean() < _USABLE or (not warned and halves.warned > (1 - _USABLE) * len(finite)):
        return nan, nan, f"{halves.warned} of {len(finite)} half-samples gave a warning: {halves.message}"
    # not reversed: near the end of a range the values spread further away from it, and so must the interval
    low, high = np.clip(np.quantile(halves.around(value, bounds), [0.025, 0.975]), *bounds)
    return float(low), float(high), None


def compact(
    evaluate: Evaluation, x: FloatArray, y: FloatArray, value: float
) -> tuple[FloatArray, FloatArray]:
    """X and y in as many coordinates as stimuli, where the measure does not notice.

    A rotation of p > n units can put all rows into n coordinates, which makes every later
    evaluation cheaper. Used only if the measure claims invariance to rotations and then
    gives the same value.
    """
    if "rotation" not in evaluate.measure.invariances or evaluate.measure.equal_widths:
        return x, y
    a, b = _coordinates(x), _coordinates(y)
    if a is x and b is y:
        return x, y
    try:
        again, _ = evaluate(a, b)
    except BrainAlignError:  # a measure with an opinion on the number of units
        return x, y
    return (a, b) if abs(again - value) <= _SAME * max(1.0, abs(value)) else (x, y)


def _coordinates(x: FloatArray) -> FloatArray:
    """Rows of x (n, p > n) in an orthonormal basis of what they span, (n, n)."""
    if x.shape[1] <= len(x):
        return x
    return np.ascontiguousarray(linalg.qr(x.T, mode="r", check_finite=False)[0][: len(x)].T)
