"""One vector of band weights: exact held-out scores along the penalties, for some targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

_BLOCK_BYTES = 1 << 28
_CACHE_BYTES = 1 << 29
# scores that differ by less are equal
_TIE = 1e-10
_THINNING = 3
# clearly worse is what lies below the best by more, in units of its size, at least 1
_CLEARLY = 1e-3


class Fit(Protocol):
    """One pair of band weights and penalty."""

    def evaluate(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean held-out score (t,) and, where they cost nothing more, the weights of the fit."""

    def weights(self, columns: torch.Tensor) -> torch.Tensor:
        """Weights (weight_rows, t) of the fit to all rows."""

    def gradient(self, columns: torch.Tensor) -> torch.Tensor:
        """Derivative of the mean held-out score by the logarithm of each band weight."""

    def fold_score(self, number: int, columns: torch.Tensor) -> torch.Tensor:
        """Score (t,) of one fold alone."""


class Mixture(Protocol):
    """One vector of band weights."""

    def fit(self, alpha: float) -> Fit:
        """The fit with one penalty."""


class Bands(Protocol):
    """The primal or the dual form of one problem."""

    @property
    def Y(self) -> torch.Tensor:  # noqa: N802
        """Responses (n, t), centred and weighted."""

    @property
    def n_bands(self) -> int:
        """Number of bands."""

    @property
    def weight_rows(self) -> int:
        """Rows of the weights of a fit."""

    def at(self, gamma: torch.Tensor) -> Mixture:
        """The mixture with the band weights `gamma` (n_bands,)."""


@dataclass
class Standing:
    """The best found so far for each unit: a target, or all targets together.

    `score` (u,), `alpha` (u,) number of the penalty, `gamma` (u, n_bands), `gradient` (u,
    n_bands) of the score by the log weights where `known` (u,), `weights` (weight_rows, t) of the
    fits. `columns`
    (t,) are the targets that take part; `pooled` says that they share one unit.
    """

    columns: torch.Tensor
    pooled: bool
    score: torch.Tensor
    alpha: torch.Tensor
    gamma: torch.Tensor
    gradient: torch.Tensor
    known: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def empty(cls, bands: Bands, columns: torch.Tensor, *, pooled: bool) -> Standing:
        """Nothing is known yet: every score is minus infinity."""
        device = columns.device
        units = 1 if pooled else len(columns)
        return cls(
            columns,
            pooled,
            torch.full((units,), -torch.inf, dtype=torch.float64, device=device),
            torch.zeros(units, dtype=torch.long, device=device),
            torch.zeros(units, bands.n_bands, dtype=torch.float64, device=device),
            torch.zeros(units, bands.n_bands, dtype=torch.float64, device=device),
            torch.zeros(units, dtype=torch.bool, device=device),
            torch.zeros(bands.weight_rows, len(columns), dtype=bands.Y.dtype, device=device),
        )

    @property
    def units(self) -> torch.Tensor:
        """Numbers of all units."""
        return torch.arange(len(self.score), device=self.columns.device)

    def targets(self, units: torch.Tensor) -> torch.Tensor:
        """Positions among `columns` that belong to the units."""
        return torch.arange(len(self.columns), device=units.device) if self.pooled else units

    def reduce(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores of units from the scores (..., t) of their targets."""
        return scores.mean(-1, keepdim=True) if self.pooled else scores


class Walk:
    """Scores of one mixture along the grid of penalties.

    Parameters
    ----------
    bands, gamma : the problem and the weights (n_bands,) of its bands
    alphas : the grid, ascending
    standing : what is best so far; its weights are replaced where a score is higher
    units : (m,) numbers of the units that are evaluated

    Attributes
    ----------
    table : (n_alphas, m) scores, minus infinity where not evaluated
    lead : (m,) the best score of the standing or of this mixture; `held` (m,) the number of the
        penalty of this mixture that it belongs to, -1 where the standing remains the best
    """

    def __init__(
        self, bands: Bands, gamma: torch.Tensor, alphas: list[float], standing: Standing, units: torch.Tensor
    ) -> None:
        self.bands, self.alphas, self.standing, self.units = bands, alphas, standing, units
        self.mixture = bands.at(gamma)
        self.table = torch.full(
            (len(alphas), len(units)), -torch.inf, dtype=torch.float64, device=units.device
        )
        self.tried = torch.zeros(self.table.shape, dtype=torch.bool, device=units.device)
        self.lead = standing.score[units].clone()
        self.held = torch.full_like(units, -1)
        self._fits: dict[int, Fit] = {}

    def whole_grid(self) -> None:
        """Evaluate every penalty for every unit."""
        everyone = torch.arange(len(self.units), device=self.units.device)
        for number in reversed(range(len(self.alphas))):
            self._evaluate(number, everyone)
            self._fits.clear()

    def thinned(self) -> None:
        """Evaluate every third penalty for every unit from the largest down, then uphill from the best.

        The smallest are left out once two in a row were clearly worse than the best for everybody.
        """
        everyone, idle = torch.arange(len(self.units), device=self.units.device), 0
        for number in reversed(range(len(self.alphas))):
            if (len(self.alphas) - 1 - number) % _THINNING == 0 or number == 0:
                self._evaluate(number, everyone)
                worse = self.table[number] < self.lead - _CLEARLY * self.lead.abs().clamp_min(1)
                idle = idle + 1 if bool(worse.all()) else 0
                if idle == 2:
                    break
        self.uphill(self.table.argmax(0))

    def uphill(self, place: torch.Tensor, weight: torch.Tensor | None = None, least: float = 0.0) -> None:
        """Evaluate from the positions `place` (m,) on the grid until the best has worse neighbours.

        Penalties whose units have together less `weight` (m,) than `least` are left out.
        """
        centre, moved = place.round().long().clamp(0, len(self.alphas) - 1), True
        while moved:
            moved = False
            for number in reversed(range(len(self.alphas))):
                near = (centre - number).abs() <= 1
                who = torch.nonzero(near & ~self.tried[number]).flatten()
                if self._is_wanted(who, weight, least):
                    self._evaluate(number, who)
                    moved = True
            centre = torch.where(self.tried.any(0), self.table.argmax(0), centre)

    def between(self, place: torch.Tensor, weight: torch.Tensor | None = None, least: float = 0.0) -> None:
        """Evaluate the two penalties around the positions `place` (m,), no further ones; else as `uphill`."""
        last = len(self.alphas) - 1
        low = place.floor().long().clamp(0, max(0, last - 1))
        for number in reversed(range(last + 1)):
            who = torch.nonzero((low == number) | (low + 1 == number)).flatten()
            if self._is_wanted(who, weight, least):
                self._evaluate(number, who)

    @staticmethod
    def _is_wanted(who: torch.Tensor, weight: torch.Tensor | None, least: float) -> bool:
        total = len(who) if weight is None else float(weight[who].sum())
        return len(who) > 0 and total >= least

    def _fit(self, number: int) -> Fit:
        if number not in self._fits:
            size = 3 * 8 * self.bands.weight_rows**2
            if len(self._fits) >= max(1, _CACHE_BYTES // size):
                self._fits.clear()
            self._fits[number] = self.mixture.fit(self.alphas[number])
        return self._fits[number]

    def _evaluate(self, number: int, who: torch.Tensor) -> None:
        fit, standing = self._fit(number), self.standing
        targets = standing.targets(self.units[who])
        self.tried[number, who] = True
        if standing.pooled:
            parts = [fit.evaluate(standing.columns[part])[0] for part in self._parts(targets)]
            self.table[number, who] = standing.reduce(torch.cat(parts))
            for part in self._parts(targets) if len(self._better(number, who)) else ():
                self._keep(fit, part, None)
            return
        for place, part in zip(self._parts(who), self._parts(targets), strict=True):
            self.table[number, place], weights = fit.evaluate(standing.columns[part])
            better = self._better(number, place)
            self._keep(fit, part[better], None if weights is None else weights[:, better])

    def _better(self, number: int, who: torch.Tensor) -> torch.Tensor:
        """Which of the units lead by this penalty; larger ones go first and win ties."""
        scores, lead = self.table[number, who], self.lead[who]
        better = torch.nonzero(scores > lead + _TIE * lead.abs().clamp(1, 1e300)).flatten()
        self.lead[who[better]], self.held[who[better]] = scores[better], number
        return better

    def _keep(self, fit: Fit, targets: torch.Tensor, weights: torch.Tensor | None) -> None:
        if len(targets):
            found = fit.weights(self.standing.columns[targets]) if weights is None else weights
            self.standing.weights[:, targets] = found

    def _parts(self, targets: torch.Tensor) -> Iterator[torch.Tensor]:
        """Targets on fixed edges, so that a few arrays of all rows fit a block."""
        rows = max(self.bands.Y.shape[0], self.bands.weight_rows)
        size = max(1, _BLOCK_BYTES // (4 * rows * self.bands.Y.element_size()))
        yield from torch.split(targets, size)

    def gradient(self, where: torch.Tensor, out: torch.Tensor) -> None:
        """Fill `out` (m, n_bands) `where` (m,) this mixture leads: the score's slope by the log weights."""
        for number in torch.unique(self.held[where]).tolist():
            who = torch.nonzero(where & (self.held == number)).flatten()
            targets = self.standing.targets(self.units[who])
            found = self._fit(number).gradient(self.standing.columns[targets])
            out[who] = self.standing.reduce(found).T
