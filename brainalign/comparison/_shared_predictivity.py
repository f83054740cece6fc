"""Linear predictivity of many systems from one: the ridge of each fold is fitted to all targets at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._shared_work import Found, Pair, listened
from brainalign.comparison._systems import System
from brainalign.comparison.predictivity import predictivity_of_many


@dataclass(frozen=True, eq=False)
class PredictivityWork:
    """Linear predictivity from x to y: its place in the request, and its options."""

    place: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> list[int]:
        """The place alone."""
        return [self.place]

    def fill(
        self,
        found: list[dict[Pair, Found]],
        wanted: list[list[Pair]],
        first: list[System],
        second: list[System],
        orders: Sequence[np.ndarray],
    ) -> None:
        """Compute every wanted pair into `found`."""
        for i in sorted({i for i, _ in wanted[self.place]}):
            others = [j for k, j in wanted[self.place] if k == i]
            x = first[i].values
            # one list: of every other system its rows as they are, then in every order of the draws
            tasks = [(second[j].values, order) for j in others for order in (None, *orders)]
            results, of_fit = listened(partial(predictivity_of_many, x, **self.options), tasks)
            said = [listened(lambda one: one(), result) for result in results]
            step = 1 + len(orders)
            for place, j in enumerate(others):
                value, reasons = said[place * step]
                null: FloatArray = np.array([v for v, _ in said[place * step + 1 : (place + 1) * step]])
                found[self.place][i, j] = Found(value, null, (*of_fit, *reasons))
