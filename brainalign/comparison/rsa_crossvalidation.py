"""Weighted model RDMs, fitted on some stimuli and subjects and scored on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._rdm_stacks import as_stack
from brainalign.comparison._rsa_folds import FoldScores, weighted_stacks
from brainalign.comparison._rsa_inputs import drawn_with, rsa_inputs
from brainalign.errors import ShapeError
from brainalign.types import RDMs


@dataclass(frozen=True, eq=False)
class CrossValidatedRsa:
    """Scores of weighted models on stimuli and subjects that their weights have not seen.

    Parameters
    ----------
    names : tuple of str
    scores : array (n_subjects, n_models), means over the folds of stimuli; NaN where it could not be scored
    weights : {name: array (n_folds, k)}, folds of stimuli by folds of subjects; NaN where none were fitted
    kinds : tuple of ``"fixed"`` (one RDM) or ``"fitted"``
    measure : str
    """

    names: tuple[str, ...]
    scores: np.ndarray
    weights: Mapping[str, np.ndarray] = field(repr=False)
    kinds: tuple[str, ...]
    measure: str

    def to_frame(self) -> pd.DataFrame:
        """One row a model: model, kind, score (mean over subjects), measure."""
        return pd.DataFrame(
            {
                "model": list(self.names),
                "kind": list(self.kinds),
                "score": self.scores.mean(axis=0),
                "measure": self.measure,
            }
        )


def crossvalidate_rsa(
    data_rdms: Any,
    models: Mapping[str, Any],
    *,
    n_folds_stimuli: int = 2,
    n_folds_subjects: int = 1,
    measure: str | None = None,
    sigma_k: Any = None,
    random_state: int | np.random.Generator = 0,
    device: str | torch.device | None = None,
) -> CrossValidatedRsa:
    """Score weighted sums of RDMs on pairs of stimuli, and subjects, outside their fit.

    Parameters
    ----------
    data_rdms : (n_subjects, n, n) or RDMs (then all models have to be over the same stimuli in the
    same order)
    models : {name: (k, n, n)}, {name: (n, n)}, or {name: object with `stack` and `fit`}
        A stack is a weighted sum with weights >= 0, the least squares fit to the pool of the
        training subjects (unit vectors) in the space of the measure; for rank measures to
        standardised dissimilarities (Pearson), and the sum is then ranked. One RDM is fixed and
        scored on the same folds. An object brings its own rule ``fit(stack, rdm, weights)`` ->
        (k,), with the pooled RDM (n, n) and pair weights (n, n), 0 outside the training stimuli.
    n_folds_stimuli, n_folds_subjects : int
        Folds; 1 does not split this factor. At least one is 2 or more. A fold of stimuli holds
        at least 4; its score is over the pairs inside it.
    measure, sigma_k, device : as in `bootstrap_rsa`
    random_state : int or numpy Generator; equal seeds give equal folds

    Returns
    -------
    CrossValidatedRsa. A sum with all weights 0 scores 0: it predicts nothing.

    Raises
    ------
    InputError
        Folds too many or none; missing entries that only a model has; a measure without a form in counts.
    ShapeError
        Models over other stimuli; no models; a `fit` that returns another shape.

    Notes
    -----
    Needs only Gram matrices of the RDMs under the weights of each fold: O(folds (s + k) k P) for the
    products and O(folds k^3) for the fits. Source: Schuett et al. 2023, doi:10.7554/eLife.82566;
    Khaligh-Razavi & Kriegeskorte 2014, doi:10.1371/journal.pcbi.1003915.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(24, 2))
    >>> parts = (points.T[:, :, None] - points.T[:, None]) ** 2
    >>> result = crossvalidate_rsa((parts[0] + 3 * parts[1])[None], {"sum": parts}, measure="pearson")
    >>> result.scores.round(6)
    array([[1.]])
    """
    if not models:
        raise ShapeError("models is empty; expected {name: stack (k, n, n)}")
    values = data_rdms.values if isinstance(data_rdms, RDMs) else data_rdms
    chosen = data_rdms.info.get("distance") if isinstance(data_rdms, RDMs) else None
    if measure is None and chosen == "crossnobis":
        measure = "whitened_cosine"
    values = values if isinstance(values, torch.Tensor) else as_stack("data_rdms", values)
    nothing = 1.0 - np.eye(values.shape[-1])
    inputs = rsa_inputs(
        values, nothing[None], measure=measure, sigma_k=sigma_k, device=device, warn_ties=False
    )
    stacks = weighted_stacks(models, inputs)
    generator = drawn_with("n_folds_stimuli", n_folds_stimuli, 1, random_state)[1]
    folds = FoldScores(inputs, stacks, n_folds_stimuli, n_folds_subjects, generator)
    stimuli = inputs.tensor(np.ones((1, inputs.n_stimuli)))
    subjects = inputs.tensor(np.ones((1, inputs.n_subjects)))
    scores, weights = [], {}
    with full_precision():
        for i, stack in enumerate(stacks):
            found, fitted = folds.similarities(i, stimuli, subjects)
            scale = folds.forms[i].scale[inputs.n_subjects :]
            scores.append(found[0].cpu().numpy())
            weights[stack.name] = (fitted[0] / scale).cpu().numpy()
    kinds = tuple("fixed" if len(stack.values) == 1 else "fitted" for stack in stacks)
    return CrossValidatedRsa(tuple(folds.names), np.stack(scores, 1), weights, kinds, inputs.label)
