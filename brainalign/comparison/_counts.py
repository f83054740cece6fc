"""Numbers of draws, folds or neighbours: whole numbers, never text, flags or fractions."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def is_count(value: Any, least: int = 0) -> bool:
    """Whether `value` is an integer of at least `least`; True and 2.0 are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
