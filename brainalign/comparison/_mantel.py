"""Similarities of RDMs under many orders of the stimuli: one gather and one product a block."""

from __future__ import annotations

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._rsa_inputs import RsaInputs
from brainalign.statistics._rsa_forms import blocks
from brainalign.statistics._rsa_inputs import DRAWN_MEASURES, LINEAR
from brainalign.statistics._rsa_ranks import centred_midranks, concordance, sorted_pairs

AGAINST = DRAWN_MEASURES


class MantelForms:
    """The RDMs of one comparison, prepared so that an order of the stimuli costs one gather."""

    def __init__(self, inputs: RsaInputs) -> None:
        self.inputs = inputs
        self.measure = str(inputs.measure)
        n = inputs.n_stimuli
        self.rows, self.columns = torch.triu_indices(n, n, 1, device=inputs.device)
        self.taus = self.measure in ("tau_a", "tau_b")
        if not self.taus:
            self.units = self._features(inputs.tensor(inputs.models))
            self.mean = self._features(inputs.tensor(inputs.data)).mean(0)

    def against(self, orders: np.ndarray) -> np.ndarray:
        """Mean similarity over subjects (n_orders, n_models), the data in each order (n_orders, n)."""
        index = torch.as_tensor(orders, device=self.inputs.device)
        parts = []
        with full_precision():
            for part in blocks(len(index), self.inputs.n_stimuli**2):
                parts.append(self._taus(index[part]) if self.taus else self._products(index[part]))
        return np.asarray(torch.cat(parts).cpu().numpy())

    def _products(self, index: torch.Tensor) -> torch.Tensor:
        moved = self.mean[index[:, :, None], index[:, None, :]]
        return moved.reshape(len(index), -1) @ self.units.reshape(len(self.units), -1).T

    def _features(self, stack: torch.Tensor) -> torch.Tensor:
        """Matrices (k, n, n) whose inner products, over all entries, are the measure."""
        vectors = stack[:, self.rows, self.columns]
        if self.measure in LINEAR:
            size = vectors.abs().amax(1, keepdim=True)
            vectors = vectors / torch.where(size > 0, size, torch.ones_like(size))
            centred, whitened = LINEAR[self.measure]
            if centred:
                vectors = vectors - vectors.mean(1, keepdim=True)
            matrices = self._square(vectors)
            if whitened:  # for equal variances, whitening is double centring
                matrices = matrices - matrices.mean(1, keepdim=True)
                matrices = matrices - matrices.mean(2, keepdim=True)
            norms = matrices.square().sum((1, 2)).sqrt()
            norms = torch.where(norms > 1e-12 * stack.shape[-1], norms, torch.nan)
            return matrices / norms[:, None, None]
        return self._square(self._ranks(vectors))

    def _ranks(self, vectors: torch.Tensor) -> torch.Tensor:
        """Centred mid-ranks scaled so that twice an inner product over pairs is Spearman's or rho-a."""
        ones = torch.ones_like(vectors[:1])
        ranks = torch.cat([centred_midranks(ones, sorted_pairs(v))[0] for v in vectors])
        p = vectors.shape[1]
        norms = ranks.square().sum(1).sqrt()
        usable = torch.where(norms > 0, norms, torch.nan)
        if self.measure == "rho_a":
            usable = usable * 0 + ((p**3 - p) / 12) ** 0.5
        return ranks / usable[:, None] / 2**0.5

    def _square(self, vectors: torch.Tensor) -> torch.Tensor:
        n = self.inputs.n_stimuli
        out = vectors.new_zeros((len(vectors), n, n))
        out[:, self.rows, self.columns] = vectors
        out[:, self.columns, self.rows] = vectors
        return out

    def _taus(self, index: torch.Tensor) -> torch.Tensor:
        data, models = self.inputs.tensor(self.inputs.data), self.inputs.tensor(self.inputs.models)
        moved_rows, moved_columns = index[:, self.rows], index[:, self.columns]
        one = torch.ones((1, len(self.rows)), dtype=data.dtype, device=data.device)
        own = [sorted_pairs(m[self.rows, self.columns]) for m in models]
        total = data.new_zeros((len(index), len(models)))
        for subject in data:
            pairs = sorted_pairs(subject[self.rows, self.columns])
            group = self._square(pairs.group[None].to(data.dtype))[0].long()
            moved = group[moved_rows, moved_columns]
            for m, model in enumerate(own):
                difference = concordance(model.group, moved, one)
                total[:, m] += difference / self._scale(pairs.edges, model.edges)
        return total / len(data)

    def _scale(self, first: torch.Tensor, second: torch.Tensor) -> float:
        """What concordant less discordant pairs are divided by; NaN for a constant RDM."""
        p = len(self.rows)
        free = [(p**2 - float(torch.diff(e).double().square().sum())) / 2 for e in (first, second)]
        if min(free) == 0:
            return float("nan")
        return p * (p - 1) / 2 if self.measure == "tau_a" else float((free[0] * free[1]) ** 0.5)
