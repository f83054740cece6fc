"""Measures without a form in the draw counts: the resampled RDMs are written out, draw by draw."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison._rsa_inputs import RsaInputs
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.errors import ShapeError


class LoopComparison:
    """Bures, or a callable (k1, n_pairs), (k2, n_pairs) -> (k1, k2), evaluated in a plain loop.

    A kernel measure gets copies of a stimulus at distance 0, which is what they have; a callable
    gets the pairs of different stimuli only.
    """

    def __init__(self, inputs: RsaInputs) -> None:
        self.inputs = inputs
        self.told = False

    def draws(self, counts: torch.Tensor) -> list[slice]:
        """One block: nothing is kept but the similarities."""
        return [slice(0, len(counts))]

    def resample(self, counts: torch.Tensor) -> LoopResample:
        """Write out the RDMs of each draw and compare them."""
        drawn = [np.repeat(np.arange(counts.shape[1]), row) for row in counts.cpu().numpy().astype(int)]
        scores = [self.table(self.inputs.data, self.inputs.models, rows) for rows in drawn]
        return LoopResample(self, drawn, self.inputs.tensor(np.stack(scores)))

    def table(self, first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Similarities (k1, k2) of two stacks in the resample of these stimuli."""
        a, b = first[:, rows][:, :, rows], second[:, rows][:, :, rows]
        if not callable(self.inputs.measure):
            with warnings.catch_warnings():
                if self.told:  # once for all draws
                    warnings.simplefilter("ignore")
                self.told = True
                return np.asarray(compare_rdms(a, b, measure=self.inputs.measure))
        kept = upper_triangle(self.inputs.mask[np.ix_(rows, rows)])
        found = np.asarray(self.inputs.measure(upper_triangle(a)[:, kept], upper_triangle(b)[:, kept]))
        if found.shape != (len(a), len(b)):
            raise ShapeError(
                f"measure {self.inputs.label} returned shape {found.shape} for {len(a)} and {len(b)} "
                f"RDMs; expected "
                f"({len(a)}, {len(b)})"
            )
        return found.astype(np.float64)


@dataclass(frozen=True)
class LoopResample:
    """Similarities (n_draws, s, m) of the draws, and ceilings from the mean of RDMs of norm one."""

    comparison: LoopComparison
    drawn: list[np.ndarray]
    similarities: torch.Tensor

    def ceilings(self, subjects: torch.Tensor) -> torch.Tensor:
        """Lower and upper ceiling (n_draws, 2)."""
        counts = subjects.cpu().numpy()
        rows = self.drawn * len(counts) if len(self.drawn) == 1 else self.drawn
        out = [self._one(r, c) for r, c in zip(rows, counts, strict=True)]
        return self.comparison.inputs.tensor(np.array(out))

    def _one(self, rows: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
        if (counts > 0).sum() < 2:
            return float("nan"), float("nan")
        data = self.comparison.inputs.data
        norms = np.sqrt(np.square(data[:, rows][:, :, rows]).sum(axis=(1, 2)))
        units = data / np.where(norms > 0, norms, np.nan)[:, None, None] * counts[:, None, None]
        total = units.sum(axis=0)
        upper = self.comparison.table(data, total[None], rows)[:, 0]
        lower = [
            self.comparison.table(data[s : s + 1], (total - units[s])[None], rows)[0, 0]
            for s in np.flatnonzero(counts)
        ]
        weights = counts / counts.sum()
        return float((weights[counts > 0] * lower).sum()), float(np.nansum(weights * upper))
