"""Trials of two systems on their way into a stochastic shape distance, and the rotations to start from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg import qr

from brainalign.comparison._centring import exponent_of
from brainalign.comparison._option_checks import seed, whole_number
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

# values of one temporary array: 32 MB of float64
_BLOCK = 1 << 22
# squared distance from zero over squared spread, times this: the share of the spread that rounding is
_ROUNDING = 1e-11
_EPS = float(np.finfo(np.float64).eps)


def paired_trials(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n_stimuli, n_repeats, p) and y (n_stimuli, m_repeats, q) as finite float64."""
    a, b = (
        finite_stack("x", x, "trials (n_stimuli, n_repeats, p)"),
        finite_stack("y", y, "trials (n_stimuli, n_repeats, p)"),
    )
    if len(a) != len(b):
        raise ShapeError(f"x has {len(a)} stimuli and y has {len(b)}; stimuli are joined by position")
    for name, trials in (("x", a), ("y", b)):
        if trials.shape[1] < 2:
            raise ShapeError(f"{name} has {trials.shape[1]} repeat; a stochastic distance needs at least 2")
    return a, b


def finite_stack(name: str, value: Any, what: str) -> np.ndarray:
    """Return a finite float64 array of three axes; `what` says what was expected."""
    array = plain_array(name, value)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"{name} has shape {array.shape}; expected {what}")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; expected real numbers")
    out: np.ndarray = array.astype(np.float64)
    bad = ~np.isfinite(out)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} has {int(bad.sum())} values that are not finite, first at {first}; leave out these "
            "units or stimuli (a missing repeat has no place in an array of equal counts)"
        )
    return out


def at_common_scale(*arrays: np.ndarray) -> tuple[list[np.ndarray], int]:
    """All arrays divided by one power of two, which is returned as its exponent."""
    exponent = max(exponent_of(a) for a in arrays)
    return [np.ldexp(a, -exponent) for a in arrays], exponent


def in_own_span(rows: np.ndarray, n_units: int) -> np.ndarray:
    """Rows (..., p) in `n_units` coordinates: unused directions left out, missing ones zero.

    A rotation of units does not matter to a stochastic shape distance.
    """
    flat = rows.reshape(-1, rows.shape[-1])
    if flat.shape[1] > n_units:
        (upper,) = qr(flat.T, mode="r", check_finite=False)
        flat = upper[:n_units].T
    out = np.zeros((len(flat), n_units))
    out[:, : flat.shape[1]] = flat
    return out.reshape(*rows.shape[:-1], n_units)


def common_width(x: np.ndarray, y: np.ndarray) -> int:
    """Coordinates that hold both sets of rows: the larger of their possible ranks."""
    return max(int(min(a.shape[-1], a.size // a.shape[-1])) for a in (x, y))


def stimulus_blocks(n: int, per_stimulus: int) -> Iterator[slice]:
    """Slices of stimuli whose temporary arrays stay small."""
    step = max(1, _BLOCK // max(per_stimulus, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def random_rotations(n_units: int, count: int, random_state: int | None) -> Iterator[np.ndarray]:
    """`count` rotations or reflections, uniform over the orthogonal group, and the reverse of each.

    From a start and its reverse the searches for d(x, y) and d(y, x) take the same way.
    """
    generator = np.random.default_rng(random_state)
    for _ in range(count):
        q, r = np.linalg.qr(generator.normal(size=(n_units, n_units)))
        rotation = q * np.sign(np.diag(r))
        yield rotation
        yield rotation.T


def warn_far_from_zero(x: np.ndarray, y: np.ndarray) -> None:
    """Warn where trials lie so far from zero that the rotation of all that remains is lost in rounding."""
    for name, trials in (("x", x), ("y", y)):
        centre, size = trials.mean(axis=(0, 1)), float(np.abs(trials).max(initial=0.0))
        spread = float(np.square(trials - centre).sum(axis=2).mean())
        # equal trials leave the rounding of their mean, which is no spread
        if spread > 16 * len(centre) * (_EPS * size) ** 2 and float(centre @ centre) * _ROUNDING > spread:
            warnings.warn(
                f"the trials of {name} lie {np.sqrt(float(centre @ centre) / spread):.1g} times as far from "
                "zero as they spread: the rotation that aligns them is lost in rounding, and the distance is "
                "too large; take the mean over stimuli and trials out of both sides first",
                stacklevel=3,
            )
            return


def check_search(restarts: int, max_iter: int, random_state: int | None) -> None:
    """Refuse a search without steps, and a seed that seeds nothing."""
    whole_number("restarts", restarts, low=0)
    whole_number("max_iter", max_iter, low=1)
    if random_state is not None:
        seed(random_state)
