"""Similarities and noise ceilings of RDMs in every resample, for each measure, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from brainalign.statistics._rsa_forms import LinearForms, blocks, pooled_ceilings, unit_gram
from brainalign.statistics._rsa_inputs import LINEAR
from brainalign.statistics._rsa_ranks import (
    SortedPairs,
    centred_midranks,
    concordance,
    quantised,
    row_midranks,
    sorted_pairs,
)

_ROW_ENTRIES = 2**21  # numbers per RDM in one block of draws


class Resampled(Protocol):
    """What one block of stimulus draws gives: similarities now, ceilings for any counts of subjects."""

    @property
    def similarities(self) -> torch.Tensor:
        """Of each subject with each model, (n_draws, n_subjects, n_models)."""

    def ceilings(self, subjects: torch.Tensor) -> torch.Tensor:
        """Lower and upper ceilings (n_draws, 2) for counts (n_draws, n_subjects); one draw is broadcast."""


class Comparison(Protocol):
    """One measure prepared for the RDMs of subjects and of models."""

    def resample(self, counts: torch.Tensor) -> Resampled:
        """Evaluate stimulus draws, counts (n_draws, n_stimuli)."""

    def draws(self, counts: torch.Tensor) -> list[slice]:
        """Blocks of draws that fit into memory."""


@dataclass(frozen=True)
class _LinearResample:
    similarities: torch.Tensor
    cosines: torch.Tensor

    def ceilings(self, subjects: torch.Tensor) -> torch.Tensor:
        return pooled_ceilings(self.cosines, subjects)


class LinearComparison:
    """Pearson, cosine and their whitened forms: one Gram matrix a draw gives scores and ceilings."""

    def __init__(
        self,
        data: torch.Tensor,
        models: torch.Tensor,
        mask: torch.Tensor,
        measure: str,
        sigma_k: torch.Tensor | None,
    ) -> None:
        self.n_subjects = s = len(data)
        k = s + len(models)
        rows, columns = torch.triu_indices(k, k, device=data.device)
        wanted = (rows < s) | (rows == columns)
        pairs = torch.stack([rows[wanted], columns[wanted]], 1)
        centred, whitened = LINEAR[measure]
        self.forms = LinearForms(
            torch.cat([data, models]), mask, pairs, centred=centred, whitened=whitened, sigma_k=sigma_k
        )

    def draws(self, counts: torch.Tensor) -> list[slice]:
        entries = max(len(self.forms.rows), 2 * (self.forms.k + 1) ** 2, (self.forms.k + 1) * counts.shape[1])
        return list(blocks(len(counts), entries))

    def resample(self, counts: torch.Tensor) -> Resampled:
        cosines = unit_gram(self.forms.gram(counts)).clamp(-1, 1)
        s = self.n_subjects
        return _LinearResample(cosines[:, :s, s:], cosines[:, :s, :s])


class RankComparison:
    """Spearman, rho-a, tau-a and tau-b: every RDM is sorted once, a draw only sums weights."""

    def __init__(self, data: torch.Tensor, models: torch.Tensor, mask: torch.Tensor, measure: str) -> None:
        n = data.shape[-1]
        i, j = torch.triu_indices(n, n, 1, device=data.device)
        kept = mask[i, j]
        self.rows, self.columns = i[kept], j[kept]
        self.measure = measure
        self.data = [sorted_pairs(x[self.rows, self.columns]) for x in data]
        self.models = [sorted_pairs(x[self.rows, self.columns]) for x in models]
        # equal norms of the ranks make a pool of ranks an exact integer, so that its ties are ties
        self.exact = measure == "rho_a" or not any(pairs.tied for pairs in self.data)

    def draws(self, counts: torch.Tensor) -> list[slice]:
        return list(blocks(len(counts), len(self.rows), size=_ROW_ENTRIES))

    def resample(self, counts: torch.Tensor) -> RankResample:
        weights = counts[:, self.rows] * counts[:, self.columns]
        return RankResample(self, weights)


class RankResample:
    """Weighted mid-ranks of one block of draws and what follows from them."""

    def __init__(self, comparison: RankComparison, weights: torch.Tensor) -> None:
        self.of, self.weights = comparison, weights
        self.total = weights.sum(1)
        found = [centred_midranks(weights, pairs) for pairs in comparison.data]
        self.ranks = [ranks for ranks, _ in found]
        self.ties = [ties for _, ties in found]
        self.squares = [(weights * ranks.square()).sum(1) for ranks in self.ranks]
        columns = [self._with_model(pairs) for pairs in comparison.models]
        shape = (len(weights), len(comparison.data), 0)
        self.similarities = torch.stack(columns, 2) if columns else weights.new_empty(shape)

    def _with_model(self, pairs: SortedPairs) -> torch.Tensor:
        ranks, ties = centred_midranks(self.weights, pairs)
        square = (self.weights * ranks.square()).sum(1)
        if self.of.measure not in ("tau_a", "tau_b"):
            return torch.stack([self._by_ranks(s, ranks, square) for s in range(len(self.ranks))], 1)
        out = []
        for s, own in enumerate(self.of.data):
            difference = concordance(own.group, pairs.group, self.weights)
            out.append(self._tau(s, difference, ties))
        return torch.stack(out, 1)

    def _by_ranks(self, s: int, ranks: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Spearman or rho-a of subject s with centred ranks (n_rows, P)."""
        inner = (self.weights * self.ranks[s] * ranks).sum(1)
        flat = (self.squares[s] > 0) & (square > 0)
        if self.of.measure == "rho_a":
            scale = (self.total**3 - self.total) / 12
        else:
            scale = (self.squares[s] * square).sqrt()
        return torch.where(flat, inner / scale, torch.nan).clamp(-1, 1)

    def _tau(self, s: int, difference: torch.Tensor, ties: torch.Tensor) -> torch.Tensor:
        """tau-a or tau-b of subject s; `ties` the sum of squared weights of the other side's groups."""
        all_pairs = self.total * (self.total - 1) / 2
        own, other = (self.total**2 - self.ties[s]) / 2, (self.total**2 - ties) / 2
        scale = all_pairs if self.of.measure == "tau_a" else (own * other).sqrt()
        return torch.where((own > 0) & (other > 0), difference / scale, torch.nan).clamp(-1, 1)

    def ceilings(self, subjects: torch.Tensor) -> torch.Tensor:
        """Pool the ranks by counts of subjects, rank the pool again, compare it with each subject."""
        n_subjects = len(self.ranks)
        shares = self._shares(subjects)
        pool = sum(
            (shares[:, s, None] * self.ranks[s] for s in range(n_subjects)), torch.zeros(()).to(shares)
        )
        drawn = subjects > 0
        weights = subjects / subjects.sum(1, keepdim=True)
        ranks, ties = self._rank_pool(pool)
        upper = self._mean(weights, drawn, [self._pool_similarity(s, ranks, ties) for s in range(n_subjects)])
        single = []
        for s in range(n_subjects):
            ranks, ties = self._rank_pool(pool - shares[:, s, None] * self.ranks[s])
            single.append(self._pool_similarity(s, ranks, ties))
        lower = self._mean(weights, drawn, single)
        out = torch.stack([lower, upper], 1)
        return torch.where((drawn.sum(1) > 1)[:, None], out, torch.nan)

    def _shares(self, subjects: torch.Tensor) -> torch.Tensor:
        """How much the ranks of each subject weigh in the pool, (n_draws, n_subjects)."""
        if self.of.exact:
            return subjects
        norms = torch.stack(self.squares, 1).sqrt()
        usable = torch.where(norms > 0, norms, torch.inf)
        return subjects * norms.amax(1, keepdim=True) / usable

    def similarity_with_keys(self, keys: torch.Tensor) -> torch.Tensor:
        """Similarity (n_draws, n_subjects) with one RDM for each draw, given as integers (n_draws, P)."""
        ranks, ties = row_midranks(keys, self.weights)
        return torch.stack([self._pool_similarity(s, ranks, ties) for s in range(len(self.ranks))], 1)

    def _rank_pool(self, pool: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        largest = float(pool.abs().max()) * 2
        keys = quantised(2 * pool, exact=self.of.exact, largest=largest, n_pairs=pool.shape[1])
        return row_midranks(keys, self.weights)

    def _pool_similarity(self, s: int, ranks: torch.Tensor, ties: torch.Tensor) -> torch.Tensor:
        if self.of.measure in ("tau_a", "tau_b"):
            difference = concordance(self.of.data[s].group, torch.round(2 * ranks).long(), self.weights)
            return self._tau(s, difference, ties)
        return self._by_ranks(s, ranks, (self.weights * ranks.square()).sum(1))

    @staticmethod
    def _mean(weights: torch.Tensor, drawn: torch.Tensor, single: list[torch.Tensor]) -> torch.Tensor:
        """Mean over the drawn subjects (n_draws,)."""
        table = torch.stack(single, 1)
        return torch.where(drawn, weights * table, torch.zeros_like(table)).sum(1)


def prepare(
    data: torch.Tensor,
    models: torch.Tensor,
    mask: torch.Tensor,
    *,
    measure: str,
    sigma_k: torch.Tensor | None = None,
) -> Comparison:
    """Prepare one measure for RDMs of subjects (s, n, n) and models (m, n, n); `mask` (n, n) is kept."""
    if measure in LINEAR:
        return LinearComparison(data, models, mask, measure, sigma_k)
    return RankComparison(data, models, mask, measure)


def mean_scores(similarities: torch.Tensor, subjects: torch.Tensor) -> torch.Tensor:
    """Mean over the drawn subjects, (n_draws, n_models); NaN where a drawn subject has no similarity."""
    drawn = (subjects > 0)[:, :, None]
    weights = (subjects / subjects.sum(1, keepdim=True))[:, :, None]
    return torch.where(drawn, weights * similarities, torch.zeros_like(similarities)).sum(1)
