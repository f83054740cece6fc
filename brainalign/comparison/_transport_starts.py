"""First couplings for the search of a Gromov-Wasserstein plan; none looks at the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brainalign.comparison._transport_entropic import with_uniform_margins
from brainalign.comparison._transport_pot import transport_package

# profiles that agree to this share are one: a rotation must not order rows by its rounding
_DIGITS = 9
_LARGEST_EMD = 10_000_000


def canonical_order(d: np.ndarray) -> np.ndarray:
    """Rows of a distance matrix from the most central to the most remote one.

    By mean distance, then by the largest one; rows that tie stay in their order.
    """
    mean, largest = (np.round(v, _DIGITS) for v in (d.mean(axis=1), d.max(axis=1)))
    return np.lexsort((largest, mean))


def comes_first(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the search runs from a to b; the answer for (b, a) is the other one, unless they are equal."""
    if len(a) != len(b):
        return len(a) < len(b)
    apart = a - b
    different = np.flatnonzero(np.abs(apart) > 10.0**-_DIGITS * max(a.max(), b.max()))
    return not len(different) or bool(apart.flat[different[0]] < 0)


def starts(a: np.ndarray, b: np.ndarray, n_random: int, seed: int) -> Iterator[np.ndarray]:
    """2 + `n_random` couplings (n, m) of uniform masses; rows of a and b are in canonical order."""
    n, m = len(a), len(b)
    yield profile_coupling(a, b)
    # the product of the margins needs no start of its own: its first step leads to this order
    yield quantile_coupling(n, m)
    rng = np.random.default_rng(seed)
    for _ in range(n_random):
        yield _random_coupling(n, m, rng)


def profile_coupling(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The best coupling of rows by their sorted distances to all others.

    The cost of two rows is the squared Wasserstein distance of the distributions of their
    distances: the plan behind the third lower bound of Memoli 2011.
    """
    levels = (np.arange(max(len(a), len(b))) + 0.5) / max(len(a), len(b))
    first, second = (_quantiles(d, levels) for d in (a, b))
    cost = (
        np.einsum("ij,ij->i", first, first)[:, None]
        + np.einsum("ij,ij->i", second, second)[None, :]
        - 2.0 * first @ second.T
    )
    # rounding would decide between rows with the same profile; then the order does
    cost = np.round(np.maximum(cost, 0.0) / len(levels), _DIGITS)
    return transport_plan(cost)


def quantile_coupling(n: int, m: int) -> np.ndarray:
    """The coupling that keeps the order: the identity for n = m."""
    rows, columns = np.arange(n + 1) / n, np.arange(m + 1) / m
    low = np.maximum(rows[:-1, None], columns[None, :-1])
    high = np.minimum(rows[1:, None], columns[None, 1:])
    out = np.maximum(high - low, 0.0)
    return np.asarray(np.where(out > 1e-12 / max(n, m), out, 0.0))


def transport_plan(cost: np.ndarray) -> np.ndarray:
    """The exact plan (n, m) of uniform masses."""
    ot = transport_package()
    n, m = cost.shape
    plan: np.ndarray = ot.emd(np.full(n, 1.0 / n), np.full(m, 1.0 / m), cost, numItermax=_LARGEST_EMD)
    return plan


def _quantiles(d: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Sorted distances of each row at common levels: the step function of its own length."""
    n = len(d)
    return np.asarray(np.sort(d, axis=1)[:, np.minimum((levels * n).astype(np.intp), n - 1)])


def _random_coupling(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """Positive random numbers brought to uniform margins."""
    out = rng.exponential(size=(n, m))
    for _ in range(100):
        out *= 1.0 / (n * out.sum(axis=1, keepdims=True))
        out *= 1.0 / (m * out.sum(axis=0, keepdims=True))
    # POT refuses a start whose margins are off by 1e-7, which slow cases are after 100 rounds
    return with_uniform_margins(out)
