"""Stimuli in folds: a matching chosen on some and scored on the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brainalign.comparison._option_checks import seed
from brainalign.comparison._unit_curves import MIN_STIMULI, IntArray
from brainalign.errors import InputError, ShapeError


def check_cv(cv: object, n: int, *, minimum: int = MIN_STIMULI) -> int:
    """Number of folds as an int; each fold must hold `minimum` stimuli."""
    if isinstance(cv, (bool, np.bool_)) or not isinstance(cv, (int, np.integer)) or cv < 2:
        raise InputError(f"cv={cv!r}; expected None or a number of folds from 2 on")
    if n // int(cv) < minimum:
        raise ShapeError(
            f"cv={cv} over {n} stimuli leaves {n // int(cv)} to a test fold; each needs at least {minimum}: "
            f"use at most {max(n // minimum, 0)} folds"
        )
    return int(cv)


def stimulus_folds(n: int, cv: int, random_state: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Training and test stimuli of each fold, in a random but repeatable order."""
    order = np.random.default_rng(seed(random_state)).permutation(n)
    for test in np.array_split(order, cv):
        inside = np.zeros(n, dtype=bool)
        inside[test] = True
        yield np.flatnonzero(~inside), np.flatnonzero(inside)
