"""Options of one kind checked in one place: counts, real numbers, flags, seeds."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from brainalign.errors import InputError


def is_count(value: Any, least: int = 0) -> bool:
    """Whether `value` is an integer of at least `least`; True and 2.0 are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def whole_number(argument: str, value: Any, *, low: int) -> int:
    """Return `value` as an int of at least `low`; refuse everything else, flags and 2.0 too."""
    if not is_count(value, low):
        raise InputError(f"{argument}={value!r}; expected a whole number of at least {low}")
    return int(value)


def is_real(value: Any) -> bool:
    """Whether `value` is one finite real number; flags, texts and arrays are none."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)


def is_positive(value: Any) -> bool:
    """Whether `value` is a finite number above 0, no text and no flag."""
    return is_real(value) and float(value) > 0


def flag(argument: str, value: Any) -> bool:
    """Return a True or False; a text such as "no" would count as True."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{argument}={value!r}; expected True or False")
    return bool(value)


def seed(random_state: Any) -> int:
    """Return `random_state` as an int that seeds a generator; refuse everything else."""
    return whole_number("random_state", random_state, low=0)


def generator_of(random_state: Any) -> np.random.Generator:
    """The generator of a seed; a generator is used as it is.

    Raises
    ------
    InputError
        Neither a seed nor a generator.
    """
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"random_state={random_state!r} is no seed ({error}); expected an integer of 0 or more, or a "
            "numpy Generator"
        ) from None
