"""Similarity of the RDMs of many spheres to all models: each side prepared once, one product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from brainalign.comparison import _comparators as comparators
from brainalign.comparison._comparators import COMPARATORS
from brainalign.comparison._option_checks import generator_of
from brainalign.comparison._whitened import check_sigma_k
from brainalign.errors import InputError

Unit = Callable[[torch.Tensor], torch.Tensor]
_PLAIN: dict[str, Unit] = {
    "pearson": comparators.unit_vectors,
    "spearman": comparators.unit_ranks,
    "rho_a": comparators.unit_ranks_a,
    "cosine": comparators.unit_lengths,
}
WHITENED = {"whitened_cosine": False, "whitened_pearson": True}
PRODUCT_MEASURES = (*_PLAIN, *WHITENED)
SEARCHLIGHT_MEASURES = (*PRODUCT_MEASURES, "tau_a", "tau_b")
_BATCH_BYTES = 2**28
_ROUNDING = 1e-12


class ModelScores:
    """Model RDMs, prepared for a measure; `of` compares the RDMs of spheres with all of them."""

    def __init__(
        self,
        models: np.ndarray,
        measure: str,
        names: tuple[str, ...],
        *,
        keep: np.ndarray,
        sigma_k: Any,
        device: torch.device,
    ) -> None:
        self.measure, self.n = measure, models.shape[1]
        self.keep = torch.as_tensor(keep, device=device)
        self.complete = bool(keep.all())
        self.sigma = check_sigma_k(sigma_k, self.n) if measure in WHITENED else None
        if sigma_k is not None and self.sigma is None:
            raise InputError(
                f"sigma_k is taken by {', '.join(WHITENED)}; measure={measure!r} does not use it"
            )
        rows, columns = np.triu_indices(self.n, 1)
        self.vectors = torch.as_tensor(models[:, rows, columns], device=device)
        self.kept = self.vectors[:, self.keep]
        flat = (self.kept == self.kept[:, :1]).all(1)
        # a whitened cosine or a cosine with a constant RDM is defined, unless that is zero
        constant = flat if measure not in ("cosine", "whitened_cosine") else flat & (self.kept[:, 0] == 0)
        if bool(constant.any()):
            name = names[int(torch.nonzero(constant)[0])]
            raise InputError(
                f"model {name!r} is constant over its pairs of conditions; {measure} with it is not defined"
            )
        self.units = self.unit(self.vectors) if measure in PRODUCT_MEASURES else self.vectors

    def unit(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rows whose inner products are the measure, of upper triangles (k, n_pairs) of all pairs."""
        if self.measure in WHITENED:
            missing = None if self.complete else ~self.keep
            out: torch.Tensor = comparators.unit_whitened(
                vectors, sigma_k=self.sigma, centre=WHITENED[self.measure], missing=missing
            )
            return out
        return _PLAIN[self.measure](vectors if self.complete else vectors[:, self.keep])

    def of(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Similarities (k, n_models) of finite RDMs, and their prepared rows where a product is taken."""
        if self.measure not in PRODUCT_MEASURES:
            found = vectors if self.complete else vectors[:, self.keep]
            out: torch.Tensor = COMPARATORS[self.measure](found, self.kept)
            return out.to(vectors.device), None
        rows = self.unit(vectors)
        return (rows @ self.units.T).clamp(-1.0, 1.0), rows


class Permutations:
    """Orders of the conditions, the same for all models and centres, and what they give by chance."""

    def __init__(self, scores: ModelScores, n_permutations: int, random_state: int) -> None:
        if scores.measure not in PRODUCT_MEASURES:
            raise InputError(
                f"n_permutations is for the measures that are one product ({', '.join(PRODUCT_MEASURES)}); "
                f"measure={scores.measure!r} is not"
            )
        if not scores.complete:
            raise InputError(
                f"{int((~scores.keep).sum())} pairs of conditions are missing; orders of the conditions "
                "would move them: leave out the conditions or models with missing pairs, or n_permutations=0"
            )
        rng = generator_of(random_state)
        self.orders = np.stack([rng.permutation(scores.n) for _ in range(n_permutations)])
        self.scores = scores
        self.n_models = len(scores.units)
        self.highest = np.full((n_permutations, self.n_models), -np.inf)
        self.cached: list[tuple[slice, torch.Tensor]] | None = None

    def count(self, rows: torch.Tensor, observed: torch.Tensor) -> np.ndarray:
        """How often chance reaches the observed (k, n_models); the largest of each draw is kept."""
        counts = torch.zeros_like(observed)
        for part, moved in self._models():
            null = (moved.flatten(0, 1) @ rows.T).view(-1, self.n_models, len(rows))
            counts += (null >= observed.T - _ROUNDING).sum(0).T
            np.maximum(self.highest[part], null.amax(2).cpu().numpy(), out=self.highest[part])
        return np.asarray(counts.cpu().numpy())

    def p_values(self, counts: np.ndarray) -> np.ndarray:
        """(b + 1) / (m + 1) for each centre alone."""
        out: np.ndarray = (counts + 1.0) / (len(self.orders) + 1.0)
        return out

    def corrected(self, observed: np.ndarray) -> np.ndarray:
        """(b + 1) / (m + 1) against the largest similarity over all centres of each draw, per model."""
        out = np.full_like(observed, np.nan)
        for m, values in enumerate(observed):
            ordered = np.sort(self.highest[:, m])
            above = len(ordered) - np.searchsorted(ordered, values - _ROUNDING, side="left")
            out[m] = np.where(np.isnan(values), np.nan, (above + 1.0) / (len(ordered) + 1.0))
        return out

    def _models(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Prepared models (b, n_models, width) under some orders; kept where all of them fit 256 MB."""
        if self.cached is not None:
            yield from self.cached
            return
        width = self.scores.units.shape[1]
        size = max(1, _BATCH_BYTES // (8 * self.n_models * width * 2))
        parts = [slice(a, min(a + size, len(self.orders))) for a in range(0, len(self.orders), size)]
        if len(parts) == 1:
            self.cached = [(parts[0], self._moved(parts[0]))]
            yield from self.cached
            return
        for part in parts:
            yield part, self._moved(part)

    def _moved(self, part: slice) -> torch.Tensor:
        orders = torch.as_tensor(self.orders[part], device=self.scores.units.device)
        if self.scores.sigma is not None:
            # the covariance belongs to the measured order: whiten after the move
            moved = _reordered(self.scores.vectors, orders, self.scores.n, 1)
            return self.scores.unit(moved.flatten(0, 1)).view(len(orders), self.n_models, -1)
        return _reordered(self.scores.units, orders, self.scores.n, 0 if self._with_diagonal() else 1)

    def _with_diagonal(self) -> bool:
        return bool(self.scores.units.shape[1] == self.scores.n * (self.scores.n + 1) // 2)


def _reordered(vectors: torch.Tensor, orders: torch.Tensor, n: int, diagonal: int) -> torch.Tensor:
    """Triangles (k, p) with their conditions in the orders (b, n): (b, k, p)."""
    rows, columns = torch.triu_indices(n, n, diagonal, device=vectors.device)
    number = torch.zeros((n, n), dtype=torch.long, device=vectors.device)
    number[rows, columns] = torch.arange(len(rows), device=vectors.device)
    number[columns, rows] = number[rows, columns]
    index = number[orders[:, rows], orders[:, columns]]
    return vectors[:, index].transpose(0, 1)
