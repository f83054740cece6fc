"""Debiased CKA of tens of thousands of stimuli, read from disk, against Gram matrices in tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side
from _rsa_large import blocks, stored_rows

import brainalign.comparison as bc

TILE = 4096
HEAD = 2  # tiles a side: the rows over which both sides give a value where the peer is timed in part


@dataclass
class Sums:
    """What the U-statistics of two Gram matrices without diagonals need of their tiles."""

    inner: np.ndarray  # (3,) <K, L>, <K, K>, <L, L>
    rows: np.ndarray  # (2, n) row sums of K and of L

    def add(self, k: np.ndarray, gram: np.ndarray, i: slice, j: slice) -> None:
        """A tile of rows i and columns j of both; off the diagonal also its mirror image."""
        twice = 1.0 if i == j else 2.0
        self.inner += twice * np.array([np.vdot(k, gram), np.vdot(k, k), np.vdot(gram, gram)])
        for side, tile in enumerate((k, gram)):
            self.rows[side, i] += tile.sum(axis=1)
            if i != j:
                self.rows[side, j] += tile.sum(axis=0)

    def cka(self) -> float:
        """Debiased CKA: the ratio of the U-statistics of Song et al. 2012."""
        n = self.rows.shape[1]
        xy, xx, yy = (
            inner + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2.0 * (a @ b) / (n - 2)
            for inner, a, b in zip(self.inner, self.rows[[0, 0, 1]], self.rows[[1, 0, 1]], strict=True)
        )
        return float(xy / np.sqrt(xx * yy))


def tiles(n: int, tile: int) -> list[tuple[slice, slice]]:
    """Upper tiles: the lower ones are their mirror images."""
    cuts = [slice(start, min(start + tile, n)) for start in range(0, n, tile)]
    return [(i, j) for place, i in enumerate(cuts) for j in cuts[place:]]


def area(pair: tuple[slice, slice]) -> int:
    i, j = pair
    return (i.stop - i.start) * (j.stop - j.start)


def by_tiles(arrays: Arrays, tile: int, timed: int | None = None) -> Answer:
    """All tiles, or `timed` of them, spread over all; rows are read for each tile, and become float64."""
    n, p = arrays["shape"]
    x, y = (np.memmap(path, np.float32, "r", shape=(n, p)) for path in arrays["paths"])
    every = tiles(n, tile)
    chosen = every if timed is None else [every[k] for k in np.linspace(0, len(every) - 1, timed).astype(int)]
    sums = Sums(np.zeros(3), np.zeros((2, n)))
    for i, j in chosen:
        grams = [side[i].astype(np.float64) @ side[j].astype(np.float64).T for side in (x, y)]
        if i == j:
            for gram in grams:
                np.fill_diagonal(gram, 0.0)
        sums.add(*grams, i, j)
    scale = sum(map(area, every)) / sum(map(area, chosen))
    return Answer(np.array([sums.cka() if timed is None else np.nan]), scale=scale)


def our_run(arrays: Arrays) -> Answer:
    p = arrays["shape"][1]
    x, y = (blocks(path, p) for path in arrays["paths"])
    return Answer(np.array([bc.large_cka(x, y)]))


def on_head(arrays: Arrays, ours: Answer, peer: Answer, tile: int) -> float:
    """Difference of both sides over the first rows, of which the peer computes all tiles."""
    n, p = arrays["shape"]
    shape = (min(HEAD * tile, n), p)
    x, y = (np.memmap(path, np.float32, "r", shape=shape) for path in arrays["paths"])
    return abs(bc.large_cka(x, y) - float(by_tiles({**arrays, "shape": shape}, tile).values[0]))


def in_memory(arrays: Arrays) -> list[np.ndarray]:
    p = arrays["shape"][1]
    return [np.concatenate(list(blocks(path, p))).astype(np.float64) for path in arrays["paths"]]


def our_run_in_memory(sides: list[np.ndarray]) -> Answer:
    return Answer(np.array([bc.large_cka(*sides)]))


def dense(sides: list[np.ndarray]) -> Answer:
    return Answer(np.array([bc.linear_cka(*sides)]))


def cases(quick: bool) -> list[Case]:
    p, tile = (20, 64) if quick else (1000, TILE)
    small, large, timed = (200, 1000, 8) if quick else (4000, 73_000, 8)
    whole = Case(
        "large-cka-whole",
        "large",
        f"cka, read from disk: {HEAD * tile} stimuli, {p} and {p} units",
        partial(stored_rows, HEAD * tile, p),
        Side("brainalign", "large_cka", our_run),
        (Side("numpy", "Gram tiles", partial(by_tiles, tile=tile)),),
        tolerance=1e-8,
        operations=_operations(HEAD * tile, p),
    )
    in_part = Side(
        "numpy",
        "Gram tiles",
        partial(by_tiles, tile=tile, timed=timed),
        share=f"{timed} of {len(tiles(large, tile))} tiles, scaled by their entries",
    )
    return [
        whole,
        replace(
            whole,
            name="large-cka",
            size=f"cka, read from disk: {large} stimuli, {p} and {p} units",
            make=partial(stored_rows, large, p),
            peers=(in_part,),
            floor=20.0,
            operations=_operations(large, p),
            difference=partial(on_head, tile=tile),
        ),
        Case(
            "large-cka-dense",
            "large",
            f"cka, arrays in memory: {small} stimuli, {p} and {p} units",
            partial(stored_rows, small, p),
            Side("brainalign", "large_cka", our_run_in_memory, in_memory),
            (Side("brainalign.comparison", "linear_cka", dense, in_memory),),
            tolerance=1e-8,
            operations=_operations(small, p),
        ),
    ]


def _operations(n: int, p: int) -> float:
    """X'X, Y'Y and X'Y."""
    return 2.0 * n * 3 * p * p
