"""Scores and ceilings of every resample over stimuli, over subjects and over both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._bootstrap_loop import LoopComparison
from brainalign.comparison._bootstrap_variance import draw_counts
from brainalign.comparison._rsa_inputs import RsaInputs
from brainalign.statistics._rsa_draws import Comparison, Resampled, mean_scores, prepare
from brainalign.statistics._rsa_inputs import DRAWN_MEASURES

FEWEST_STIMULI = 3
# scores (n_draws, n_weighted) of weighted models, from counts of stimuli and of subjects
Weighted = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def comparison_of(inputs: RsaInputs) -> Comparison:
    """The prepared comparison of these RDMs with their measure."""
    if inputs.measure not in DRAWN_MEASURES:
        return LoopComparison(inputs)
    sigma = None if inputs.sigma_k is None else inputs.tensor(inputs.sigma_k)
    mask = torch.as_tensor(inputs.mask, device=inputs.device)
    data, models = inputs.tensor(inputs.data), inputs.tensor(inputs.models)
    return prepare(data, models, mask, measure=str(inputs.measure), sigma_k=sigma)


class Resampling:
    """Evaluate counts of stimuli and of subjects; columns are models, weighted models, lower and upper
    ceiling.
    """

    def __init__(self, inputs: RsaInputs, weighted: Weighted | None = None) -> None:
        self.inputs, self.weighted = inputs, weighted
        self.comparison = comparison_of(inputs)

    def observed(self) -> np.ndarray:
        """All stimuli and all subjects once, (n_columns,)."""
        stimuli = self.inputs.tensor(np.ones((1, self.inputs.n_stimuli)))
        subjects = self.inputs.tensor(np.ones((1, self.inputs.n_subjects)))
        with full_precision():
            return np.asarray(self._columns(stimuli, [subjects])[0].cpu().numpy()[0])

    def over_stimuli(self, stimuli: np.ndarray, subjects: list[np.ndarray]) -> list[np.ndarray]:
        """For each counts of subjects (n_draws, s) the columns under the same draws of stimuli."""
        parts: list[list[np.ndarray]] = [[] for _ in subjects]
        few = (stimuli > 0).sum(axis=1) < FEWEST_STIMULI
        usable = np.where(few[:, None], 1.0, stimuli)  # what cannot be scored is computed on all and blanked
        counts = self.inputs.tensor(usable)
        people = [self.inputs.tensor(d) for d in subjects]
        with full_precision():
            for part in self.comparison.draws(counts):
                for found, values in zip(
                    parts, self._columns(counts[part], [d[part] for d in people]), strict=True
                ):
                    found.append(values.cpu().numpy())
        out = [np.concatenate(found) for found in parts]
        for table in out:
            table[few] = np.nan
        return out

    def over_subjects(self, subjects: np.ndarray) -> np.ndarray:
        """The columns with all stimuli and these counts of subjects (n_draws, s)."""
        stimuli = self.inputs.tensor(np.ones((1, self.inputs.n_stimuli)))
        people = self.inputs.tensor(subjects)
        with full_precision():
            resampled = self.comparison.resample(stimuli)
            blocks = self.comparison.draws(
                self.inputs.tensor(np.ones((len(subjects), self.inputs.n_stimuli)))
            )
            parts = [self._join(resampled, stimuli, people[part]) for part in blocks]
        return np.concatenate([p.cpu().numpy() for p in parts])

    def _columns(self, stimuli: torch.Tensor, subjects: list[torch.Tensor]) -> list[torch.Tensor]:
        resampled = self.comparison.resample(stimuli)
        return [self._join(resampled, stimuli, d) for d in subjects]

    def _join(self, resampled: Resampled, stimuli: torch.Tensor, subjects: torch.Tensor) -> torch.Tensor:
        scores = mean_scores(resampled.similarities, subjects)
        parts = [scores, resampled.ceilings(subjects)]
        if self.weighted is not None:
            parts.insert(1, self.weighted(stimuli.expand(len(subjects), -1), subjects))
        return torch.cat(parts, 1)


def resample(
    run: Resampling, over: tuple[str, ...], n_boot: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws (n_boot, n_columns) for each factor of `over`, and for ``"both"`` where both are drawn."""
    n, s = run.inputs.n_stimuli, run.inputs.n_subjects
    out: dict[str, np.ndarray] = {}
    stimuli = draw_counts(n, n_boot, generator)
    subjects = draw_counts(s, n_boot, generator)
    everyone = np.ones((n_boot, s))
    if over == ("stimuli",):
        (out["stimuli"],) = run.over_stimuli(stimuli, [everyone])
        return out
    out["subjects"] = run.over_subjects(subjects)
    if len(over) == 2:
        out["stimuli"], out["both"] = run.over_stimuli(stimuli, [everyone, subjects])
    return out
