"""Exchanges and their count: what is drawn, averaged over folds, and compared with the observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

_DRAW_BYTES = 2**26


@dataclass(frozen=True)
class Draws:
    """The exchanges, in order, as often as they are asked for: kept where they are small, else
    drawn again with the same seed.
    """

    draw: Callable[[], Iterator[np.ndarray]]
    kept: list[np.ndarray] | None

    @classmethod
    def of(cls, draw: Callable[[], Iterator[np.ndarray]], n_rows: int, n_permutations: int) -> Draws:
        """Keep up to 64 MiB of exchanges of `n_rows` rows; `draw` starts them anew."""
        dtype = np.min_scalar_type(n_rows)
        if n_rows * n_permutations * dtype.itemsize > _DRAW_BYTES:
            return cls(draw, None)
        return cls(draw, [rows.astype(dtype) for rows in draw()])

    def batches(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Position of the first draw, and up to `size` draws (n_draws, n_rows)."""
        stream = iter(self.draw() if self.kept is None else self.kept)
        start = 0
        while batch := list(islice(stream, size)):
            yield start, np.stack(batch)
            start += len(batch)


class MeanOverFolds:
    """Null scores of a block of targets, averaged over the folds that have one."""

    def __init__(self, n_permutations: int, n_targets: int) -> None:
        self._total = np.zeros((n_permutations, n_targets))
        self._count = np.zeros((n_permutations, n_targets), dtype=np.int32)

    def add(self, targets: np.ndarray, batches: Iterator[tuple[int, np.ndarray]]) -> None:
        """Add one fold's scores of some targets, batch after batch of draws."""
        for start, scores in batches:
            known = ~np.isnan(scores)
            rows = slice(start, start + len(scores))
            self._total[rows, targets] += np.where(known, scores, 0.0)
            self._count[rows, targets] += known

    def values(self) -> np.ndarray:
        """Means, (n_permutations, n_targets); NaN where no fold has a score."""
        with np.errstate(invalid="ignore", divide="ignore"):
            self._total /= self._count
        return self._total


class Tally:
    """How many draws reach the observed score of each target, and the observed mean of each region.

    `observed` (n_targets,); `regions` {name: targets}; a draw less than `slack` below counts as equal.
    """

    def __init__(
        self, observed: np.ndarray, slack: float, n_permutations: int, regions: dict[str, np.ndarray]
    ) -> None:
        self._observed, self._slack, self._n = observed, slack, n_permutations
        self._reached = np.zeros(len(observed))
        self._regions = {name: columns[np.isfinite(observed[columns])] for name, columns in regions.items()}
        self._sums = {name: np.zeros(n_permutations) for name in regions}
        self._counts = {name: np.zeros(n_permutations) for name in regions}

    def add(self, start: int, null: np.ndarray) -> None:
        """Count the draws of a block of targets from `start`, (n_draws, n_block); NaN without a score."""
        stop = start + null.shape[1]
        # a draw without any score counts against the claim
        self._reached[start:stop] = (~(null < self._observed[start:stop] - self._slack)).sum(axis=0)
        for name, columns in self._regions.items():
            part = null[:, columns[(columns >= start) & (columns < stop)] - start]
            self._sums[name] += np.nansum(part, axis=1)
            self._counts[name] += np.isfinite(part).sum(axis=1)

    def p_values(self) -> np.ndarray:
        """``(b + 1) / (m + 1)`` of each target; NaN where there is no observed score."""
        return np.where(np.isnan(self._observed), np.nan, (self._reached + 1) / (self._n + 1))

    def region_p(self) -> dict[str, float]:
        """The same for the mean of each region over its targets with an observed score."""
        return {name: self._one_region(name, columns) for name, columns in self._regions.items()}

    def _one_region(self, name: str, columns: np.ndarray) -> float:
        if not len(columns):
            return float("nan")
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._sums[name] / self._counts[name]
        reached = ~(mean < self._observed[columns].mean() - self._slack)
        return (int(reached.sum()) + 1) / (self._n + 1)
