"""The loop of a searchlight: blocks of centres of like size, their RDMs, scores and permutations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from brainalign.comparison import searchlight_result as reasons
from brainalign.comparison._neighbourhoods import IndexArray, Neighbourhoods
from brainalign.comparison._searchlight_noise import ResidualNoise
from brainalign.comparison._searchlight_rdms import SphereRDMs
from brainalign.comparison._searchlight_scores import ModelScores, Permutations

# spheres are padded to a multiple of this, whatever block they are in
_STEP = 16


@dataclass(eq=False)
class Search:
    """The loop over blocks of centres, and what it fills."""

    near: Neighbourhoods
    codes: np.ndarray
    source: SphereRDMs
    keep: np.ndarray
    models: ModelScores | None
    draws: Permutations | None
    keep_rdms: bool
    block_bytes: int

    def __post_init__(self) -> None:
        n, n_models = self.near.n_centres, len(self.models.vectors) if self.models else 0
        self.scores = np.full((n_models, n), np.nan)
        self.counts = np.full((n_models, n), np.nan)
        self.kept = torch.as_tensor(np.flatnonzero(self.keep), device=self.source.usable.device)
        self.vectors = np.full((n, len(self.source.pairs)), np.nan) if self.keep_rdms else None

    def run(self) -> None:
        for centres, width in self._blocks():
            features = torch.as_tensor(self.near.padded(centres, width), device=self.source.usable.device)
            vectors, singular = self.source.vectors(features)
            vectors = vectors.masked_fill(singular[:, None], torch.nan)
            self.codes[centres[singular.cpu().numpy()]] = reasons.SINGULAR
            if self.vectors is not None:
                self.vectors[centres] = vectors.cpu().numpy()
            known = torch.isfinite(vectors[:, self.kept]).all(1)
            if not bool(known.all()):
                gone = centres[~known.cpu().numpy()]
                self.codes[gone[self.codes[gone] == reasons.OK]] = reasons.CONSTANT
                centres, vectors = centres[known.cpu().numpy()], vectors[known]
            if self.models is not None and len(centres):
                self._compare(self.models, centres, vectors)

    def _compare(self, models: ModelScores, centres: IndexArray, vectors: torch.Tensor) -> None:
        scores, rows = models.of(vectors)
        bad = torch.isnan(scores).any(1).cpu().numpy()
        self.codes[centres[bad]] = reasons.NO_CONTRAST
        self.scores[:, centres] = scores.cpu().numpy().T
        if self.draws is not None and rows is not None and not bad.all():
            good = torch.as_tensor(~bad, device=rows.device)
            self.counts[:, centres[~bad]] = self.draws.count(rows[good], scores[good]).T

    def _blocks(self) -> Iterator[tuple[IndexArray, int]]:
        """Centres of like size, and the width that they are padded to; the same whatever the block."""
        chosen = np.flatnonzero(self.codes == reasons.OK)
        widths = -(-self.near.widths[chosen] // _STEP) * _STEP
        for width in np.unique(widths):
            group = chosen[widths == width]
            size = max(1, self.block_bytes // self._bytes(int(width)))
            for start in range(0, len(group), size):
                yield group[start : start + size], int(width)

    def _bytes(self, width: int) -> int:
        """Memory of one centre: patterns twice, its matrices of conditions, the noise of its voxels."""
        columns, n = self.source.n_columns, self.source.n
        noise = 0
        if self.source.noise is not None:
            noise = 5 * width**2 + width * columns
            if isinstance(self.source.noise, ResidualNoise):
                noise += self.source.noise.n
        if self.source.added is not None:
            columns = 0
        return int(8 * (2 * width * columns + 8 * n * n + width + noise))
