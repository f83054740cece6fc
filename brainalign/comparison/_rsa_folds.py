"""Weighted models fitted and scored on different stimuli and subjects, from blocks of Gram matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from brainalign.comparison._nonnegative import nonnegative_weights
from brainalign.comparison._rdm_stacks import as_stack
from brainalign.comparison._rsa_inputs import RsaInputs
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_draws import RankComparison
from brainalign.statistics._rsa_forms import LinearForms, blocks
from brainalign.statistics._rsa_inputs import DRAWN_MEASURES, LINEAR

_KEY = 2.0**38  # steps of a predicted distance below which two are ties


@runtime_checkable
class WeightedModel(Protocol):
    """A stack of RDMs with a rule that weighs them."""

    stack: Any

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (k,) of `stack` (k, n, n) for the pooled RDM (n, n) under pair weights (n, n)."""


@dataclass(frozen=True, eq=False)
class Stack:
    """RDMs (k, n, n) of one weighted model, and its rule where it is not least squares with weights >= 0."""

    name: str
    values: np.ndarray
    rule: WeightedModel | None = None


def weighted_stacks(models: Mapping[str, Any], inputs: RsaInputs) -> list[Stack]:
    """Check the stacks {name: (k, n, n), (n, n), or an object with `stack` and `fit`}."""
    if inputs.measure not in DRAWN_MEASURES:
        raise InputError(
            f"measure {inputs.label!r} cannot score weighted models; use one of {', '.join(DRAWN_MEASURES)}"
        )
    out = []
    for name, value in models.items():
        rule = value if isinstance(value, WeightedModel) else None
        values = as_stack(f"model {name!r}", rule.stack if rule else value)
        if values.shape[1] != inputs.n_stimuli:
            raise ShapeError(
                f"model {name!r} is over {values.shape[1]} stimuli and data_rdms over "
                f"{inputs.n_stimuli}; they "
                "must agree"
            )
        known = np.isfinite(values[:, inputs.mask]).all()
        if not known:
            raise InputError(
                f"model {name!r} has missing entries where the other RDMs have none; a weighted sum needs all"
            )
        out.append(Stack(str(name), np.where(inputs.mask, values, 0.0), rule))
    return out


def fold_labels(n: int, n_folds: int, kind: str, fewest: int, generator: np.random.Generator) -> np.ndarray:
    """A balanced fold (n,) for each stimulus or subject, in random order."""
    if n_folds < 1 or n // n_folds < fewest:
        raise InputError(
            f"n_folds_{kind}={n_folds} for {n} {kind}; expected 1 to {max(n // fewest, 1)}, so that "
            f"each fold "
            f"holds {fewest}"
        )
    return np.asarray(generator.permutation(np.arange(n) % n_folds))


class FoldScores:
    """Scores (n_draws, n_stacks) of weighted models, each subject scored on stimuli of folds that it
    left out.

    Copies of a stimulus or a subject fall into one fold, and folds are the same in every draw.
    """

    def __init__(
        self,
        inputs: RsaInputs,
        stacks: list[Stack],
        n_folds_stimuli: int,
        n_folds_subjects: int,
        generator: np.random.Generator,
    ) -> None:
        if n_folds_stimuli == 1 and n_folds_subjects == 1:
            raise InputError(
                "n_folds_stimuli=1 and n_folds_subjects=1 would score weights on what they were fitted "
                "to; give "
                "at least 2 folds of one of them"
            )
        self.inputs, self.stacks = inputs, stacks
        self.names = [stack.name for stack in stacks]
        n, s = inputs.n_stimuli, inputs.n_subjects
        self.stimulus_fold = fold_labels(n, n_folds_stimuli, "stimuli", 4, generator)
        self.subject_fold = fold_labels(s, n_folds_subjects, "subjects", 1, generator)
        self.n_folds = (n_folds_stimuli, n_folds_subjects)
        self.info = {"n_folds_stimuli": n_folds_stimuli, "n_folds_subjects": n_folds_subjects}
        self.linear = str(inputs.measure) in LINEAR
        self.forms = [self._forms(stack) for stack in stacks]
        mask = torch.as_tensor(inputs.mask, device=inputs.device)
        self.ranked = None
        if not self.linear:
            none = inputs.tensor(np.zeros((0, n, n)))
            self.ranked = RankComparison(inputs.tensor(inputs.data), none, mask, str(inputs.measure))

    def _forms(self, stack: Stack) -> LinearForms:
        measure = str(self.inputs.measure) if self.linear else "pearson"
        s, k = self.inputs.n_subjects, len(stack.values)
        rows, columns = np.triu_indices(s + k)
        wanted = (columns >= s) | (rows == columns)
        pairs = torch.as_tensor(np.stack([rows[wanted], columns[wanted]], 1), device=self.inputs.device)
        sigma = None if self.inputs.sigma_k is None else self.inputs.tensor(self.inputs.sigma_k)
        return LinearForms(
            self.inputs.tensor(np.concatenate([self.inputs.data, stack.values])),
            torch.as_tensor(self.inputs.mask, device=self.inputs.device),
            pairs,
            centred=LINEAR[measure][0],
            whitened=LINEAR[measure][1],
            sigma_k=sigma,
        )

    def __call__(self, stimuli: torch.Tensor, subjects: torch.Tensor) -> torch.Tensor:
        """Mean over folds of stimuli and over the drawn subjects, (n_draws, n_stacks)."""
        n_pairs = self.inputs.n_stimuli**2 // 2
        parts = []
        for part in blocks(len(stimuli), 4 * n_pairs):
            table = torch.stack(
                [self.similarities(i, stimuli[part], subjects[part])[0] for i in range(len(self.stacks))], 2
            )
            drawn = (subjects[part] > 0)[:, :, None]
            weights = (subjects[part] / subjects[part].sum(1, keepdim=True))[:, :, None]
            parts.append(torch.where(drawn, weights * table, torch.zeros_like(table)).sum(1))
        return torch.cat(parts)

    def similarities(
        self, which: int, stimuli: torch.Tensor, subjects: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of one stack: similarities (n_draws, s), means over stimulus folds, and weights (n_draws,
        folds, k).
        """
        total = torch.zeros_like(subjects)
        weights = []
        for fold in range(self.n_folds[0]):
            train, test = self._split(stimuli, fold)
            of_train, of_test = self.forms[which].gram(train), self.forms[which].gram(test)
            few = (test > 0).sum(1) < 3
            for group in range(self.n_folds[1]):
                people = torch.as_tensor(self.subject_fold == group, device=subjects.device)
                others = torch.ones_like(people) if self.n_folds[1] == 1 else ~people
                fitted = self._fit(which, train, of_train, subjects * others)
                weights.append(fitted)
                found = self._score(which, fitted, of_test, test)
                found = torch.where(few[:, None], torch.nan, found)
                total += torch.where(people, found, torch.zeros_like(found))
        return total / self.n_folds[0], torch.stack(weights, 1)

    def _split(self, stimuli: torch.Tensor, fold: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.n_folds[0] == 1:
            return stimuli, stimuli
        inside = torch.as_tensor(self.stimulus_fold == fold, device=stimuli.device).to(stimuli.dtype)
        return stimuli * (1 - inside), stimuli * inside

    def _fit(
        self, which: int, stimuli: torch.Tensor, gram: torch.Tensor, subjects: torch.Tensor
    ) -> torch.Tensor:
        """Weights (n_draws, k) of RDMs scaled as in the forms; NaN where no subject or no pair is left."""
        s, stack = self.inputs.n_subjects, self.stacks[which]
        if len(stack.values) == 1:
            return torch.ones((len(gram), 1), dtype=gram.dtype, device=gram.device)
        if stack.rule is not None:
            return self._fit_by_rule(stack, stimuli, subjects)
        norms = torch.diagonal(gram, dim1=1, dim2=2)[:, :s].sqrt()
        share = torch.where(norms > 0, subjects / norms, torch.zeros_like(norms))
        target = (share[:, None] @ gram[:, :s, s:])[:, 0]
        fitted = nonnegative_weights(gram[:, s:, s:], target)
        usable = (subjects.sum(1) > 0) & ((stimuli > 0).sum(1) >= 3)
        return torch.where(usable[:, None], fitted, torch.nan)

    def _fit_by_rule(self, stack: Stack, stimuli: torch.Tensor, subjects: torch.Tensor) -> torch.Tensor:
        assert stack.rule is not None
        data = self.inputs.data
        out = np.full((len(stimuli), len(stack.values)), np.nan)
        scale = self.forms[self.stacks.index(stack)].scale[self.inputs.n_subjects :].cpu().numpy()
        for row, (c, d) in enumerate(zip(stimuli.cpu().numpy(), subjects.cpu().numpy(), strict=True)):
            pairs = np.outer(c, c) * self.inputs.mask
            norms = np.sqrt((pairs * data**2).sum(axis=(1, 2)))
            if (c > 0).sum() < 3 or d.sum() == 0 or (norms[d > 0] == 0).any():
                continue
            pooled = np.tensordot(d / np.where(norms > 0, norms, 1.0), data, 1)
            found = np.asarray(stack.rule.fit(stack.values, pooled, pairs), dtype=np.float64)
            if found.shape != (len(stack.values),):
                raise ShapeError(
                    f"fit of model {stack.name!r} returned shape {found.shape}; expected one weight for "
                    f"each of "
                    f"its {len(stack.values)} RDMs"
                )
            out[row] = found * scale
        return self.inputs.tensor(out)

    def _score(
        self, which: int, fitted: torch.Tensor, gram: torch.Tensor, stimuli: torch.Tensor
    ) -> torch.Tensor:
        """Similarity (n_draws, s) of the weighted model with every subject; 0 where all weights are 0."""
        s = self.inputs.n_subjects
        empty = (fitted == 0).all(1)[:, None]
        if self.linear:
            inner = (gram[:, :s, s:] @ fitted[:, :, None])[:, :, 0]
            norms = torch.diagonal(gram, dim1=1, dim2=2)[:, :s].sqrt()
            square = (fitted[:, None] @ gram[:, s:, s:] @ fitted[:, :, None])[:, 0].clamp_min(0)
            found = (inner / (norms * square.sqrt())).clamp(-1, 1)
        else:
            found = self._score_ranks(which, fitted, stimuli)
        return torch.where(empty, torch.zeros_like(found), found)

    def _score_ranks(self, which: int, fitted: torch.Tensor, stimuli: torch.Tensor) -> torch.Tensor:
        assert self.ranked is not None
        forms = self.forms[which]
        resampled = self.ranked.resample(stimuli)
        known = torch.nan_to_num(fitted)
        predicted = known @ forms.vectors[self.inputs.n_subjects : -1]
        largest = predicted.abs().amax(1, keepdim=True)
        keys = torch.round(predicted / torch.where(largest > 0, largest, 1.0) * _KEY).long()
        found = resampled.similarity_with_keys(keys)
        return torch.where(torch.isnan(fitted).any(1)[:, None], torch.nan, found)
