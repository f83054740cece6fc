"""Angular Procrustes distances of all pairs of many networks, against a loop over pairs with scipy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.linalg
from _rsa_case import Answer, Arrays, Case, Side

import brainalign.comparison as bc


def networks(count: int, n: int, p: int) -> Arrays:
    """Networks that share a part, each in its own coordinates and with a part of its own."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, p // 2))
    systems = [
        shared @ rng.normal(size=(p // 2, p)) / np.sqrt(p) + rng.normal(size=(n, p)) for _ in range(count)
    ]
    return {"systems": systems}


def our_run(arrays: Arrays) -> Answer:
    found = bc.pairwise_shape_distances(arrays["systems"], measure="angular_procrustes")
    return Answer(found[np.triu_indices(len(found), 1)])


def by_alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of singular values, as the scale of scipy's best rotation."""
    return float(scipy.linalg.orthogonal_procrustes(x, y)[1])


def by_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    return float(scipy.linalg.svdvals(x.T @ y).sum())


def unit(x: np.ndarray) -> np.ndarray:
    """Centred columns, norm one."""
    centred = x - x.mean(axis=0)
    out: np.ndarray = centred / np.linalg.norm(centred)
    return out


def loop(arrays: Arrays, similarity: Callable[[np.ndarray, np.ndarray], float], timed: int) -> Answer:
    """Some of the pairs, spread over all, each prepared and solved on its own."""
    systems = arrays["systems"]
    first, second = np.triu_indices(len(systems), 1)
    index = np.linspace(0, len(first) - 1, timed).astype(int)
    values = [
        np.arccos(min(similarity(unit(systems[first[k]]), unit(systems[second[k]])), 1.0)) for k in index
    ]
    return Answer(np.array(values), index=index, scale=len(first) / timed)


def cases(quick: bool) -> list[Case]:
    count, n, p = (6, 60, 12) if quick else (50, 1000, 256)
    pairs = count * (count - 1) // 2
    timed = 5 if quick else 123
    share = f"{timed} of {pairs} pairs, scaled"
    return [
        Case(
            "shape-angular",
            "shape",
            f"angular_procrustes: {pairs} pairs of {count} networks, {n} stimuli, {p} units",
            partial(networks, count, n, p),
            Side("brainalign", "pairwise_shape_distances", our_run),
            (
                Side(
                    "scipy",
                    "orthogonal_procrustes",
                    partial(loop, similarity=by_alignment, timed=timed),
                    share=share,
                ),
                # under the name of its subpackage, since a row is found by the name of its package
                Side(
                    "scipy.linalg",
                    "svdvals",
                    partial(loop, similarity=by_singular_values, timed=timed),
                    share=share,
                ),
            ),
            tolerance=1e-8,
            floor=5.0,
            # x'y, and the product of it with its transpose
            operations=2.0 * pairs * p * p * (n + p),
        )
    ]
