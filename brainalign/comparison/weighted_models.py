"""Flexible models of RDMs: weights of several RDMs that are fitted on training stimuli and subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from brainalign.comparison._inner_measures import checked_stack
from brainalign.comparison._nonnegative import nonnegative_weights
from brainalign.comparison._ridge_weights import (
    RidgeWeights,
    active_stimuli,
    check_inner,
    checked_penalties,
    pool_rdms,
    ridge_weights,
)
from brainalign.comparison._rsa_folds import WeightedModel
from brainalign.comparison._weighted_grams import of_stack
from brainalign.errors import InputError, ShapeError


@dataclass(frozen=True, eq=False)
class NonNegativeModel:
    """Least squares with weights at least 0 and a free constant, as a rule for `crossvalidate_rsa`.

    A stack without a rule is fitted there by the same least squares, in the space of the measure;
    this one is always fitted to the dissimilarities themselves.

    Parameters
    ----------
    stack : array (k, n, n)
    """

    stack: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stack", checked_stack("stack", self.stack))

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (k,) of `stack` for the RDM (n, n) under pair weights (n, n)."""
        sized, exponent = _sized(stack)
        equations = of_stack(sized, rdm, weights)
        found = nonnegative_weights(equations.gram[None], equations.target[None])[0].numpy()
        return np.asarray(np.ldexp(found, -exponent))


@dataclass(frozen=True, eq=False)
class SelectedModel:
    """The one RDM of a stack that correlates best (Pearson) with the training RDM; its weight is 1.

    Parameters
    ----------
    stack : array (k, n, n), for example the layers of a network
    """

    stack: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stack", checked_stack("stack", self.stack))

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One weight 1, the others 0; all 0 where no RDM varies over the training pairs."""
        equations = of_stack(_sized(stack)[0], rdm, weights)
        norms = torch.diagonal(equations.gram).sqrt()
        scores = torch.where(norms > 0, equations.target / norms.clamp_min(1e-300), -torch.inf)
        out = np.zeros(len(stack))
        if bool(torch.isfinite(scores).any()):
            out[int(scores.argmax())] = 1.0
        return out


@dataclass(frozen=True, eq=False)
class InterpolatedModel:
    """A mixture of two neighbours of an ordered stack: weights 1 - t and t, which sum to 1.

    The mixture with the highest Pearson correlation, in closed form: the direction of the
    non-negative least squares fit of the two neighbours.

    Parameters
    ----------
    stack : array (k, n, n), k at least 2, in order, for example of growing filter size
    """

    stack: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        stack = checked_stack("stack", self.stack)
        if len(stack) < 2:
            raise ShapeError("stack holds 1 RDM; an interpolation needs at least 2")
        object.__setattr__(self, "stack", stack)

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (k,) of which at most two neighbours are above 0."""
        equations = of_stack(_sized(stack)[0], rdm, weights)
        k = len(stack)
        pairs = torch.stack([torch.arange(k - 1), torch.arange(1, k)], dim=1)
        gram = equations.gram[pairs[:, :, None], pairs[:, None, :]]
        found = nonnegative_weights(gram, equations.target[pairs])
        square = (found[:, None] @ gram @ found[:, :, None])[:, 0, 0]
        score = (found * equations.target[pairs]).sum(1) / square.clamp_min(1e-300).sqrt()
        best = int(torch.where(found.sum(1) > 0, score, -torch.inf).argmax())
        out = np.zeros(k)
        if float(found[best].sum()) > 0:
            out[pairs[best].numpy()] = (found[best] / found[best].sum()).numpy()
        return out


@dataclass(frozen=True, eq=False)
class RidgeModel:
    """Ridge weights of the RDMs of a stack, with a free constant.

    Parameters
    ----------
    stack : array (k, n, n)
    penalties : ``"auto"`` (21 values from 1e-5 to 1e5) or positive numbers
        Relative to the sum of squares of an RDM over the training pairs, each RDM being
        scaled to 1 (`standardise`), so that neither their units nor the number of stimuli matters.
    n_folds : int, at least 2
        Inner folds of the training stimuli; the penalty has the highest mean correlation over
        the pairs inside held-out folds (at least 4 stimuli in each).
    non_negative : weights at least 0
    standardise : bool, scale each RDM for itself; False: one scale for all
    random_state : int, of the inner folds
    """

    stack: np.ndarray = field(repr=False)
    penalties: Any = "auto"
    n_folds: int = 5
    non_negative: bool = False
    standardise: bool = True
    random_state: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stack", checked_stack("stack", self.stack))
        check_inner(self.penalties, self.n_folds)

    def fit(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights (k,); NaN, with a warning, where too few stimuli are left to choose a penalty."""
        return self.fit_with_penalty(stack, rdm, weights).weights

    def fit_with_penalty(self, stack: np.ndarray, rdm: np.ndarray, weights: np.ndarray) -> RidgeWeights:
        """The weights with the penalty that was chosen and the scores of the others."""
        sized, exponent = _sized(stack)
        found = ridge_weights(
            lambda kept: of_stack(sized, rdm, weights * np.outer(kept, kept)),
            active_stimuli(weights),
            len(stack),
            penalties=checked_penalties(self.penalties),
            n_folds=self.n_folds,
            non_negative=self.non_negative,
            standardise=self.standardise,
            random_state=self.random_state,
        )
        return replace(found, weights=np.ldexp(found.weights, -exponent))


def _sized(stack: np.ndarray) -> tuple[np.ndarray, int]:
    """The stack divided by a power of two, so that no square overflows or vanishes; its exponent."""
    exponent = int(np.frexp(np.abs(stack).max(initial=0.0))[1])
    return np.ldexp(stack, -exponent), exponent


@dataclass(frozen=True, eq=False)
class FittedWeights:
    """A weighted model after its fit: `weights` (k,), `predicted` RDM (n, n), and what it was fitted on."""

    weights: np.ndarray
    predicted: np.ndarray = field(repr=False)
    stimuli: np.ndarray = field(repr=False)
    subjects: np.ndarray = field(repr=False)


def fit_weights(
    model: WeightedModel, data_rdms: Any, *, stimuli: Any = None, subjects: Any = None
) -> FittedWeights:
    """Fit a weighted model to the pooled RDM of some subjects over the pairs of some stimuli.

    Parameters
    ----------
    model : one of the models of this module, or an object with `stack` and ``fit(stack, rdm, weights)``
    data_rdms : array (n, n) or (n_subjects, n, n), or RDMs
        Pairs that are NaN in any of them, or in any RDM of the stack, are left out.
    stimuli, subjects : positions or boolean masks of the training part; None: all

    Returns
    -------
    FittedWeights, with the predicted RDM over **all** stimuli: score it on others than `stimuli`.

    Raises
    ------
    ShapeError
        Another number of stimuli; fewer than 3 training stimuli or no subject.
    InputError
        Positions that do not exist; no training pair is known in the data and in the whole stack.

    Notes
    -----
    The subjects are scaled to norm one over the training pairs and averaged, as in
    `crossvalidate_rsa`, which splits, fits and scores in one call. Weights are in units
    of the pooled RDM; the constant of the fit is not part of the prediction.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(20, 2))
    >>> parts = (points.T[:, :, None] - points.T[:, None]) ** 2
    >>> found = fit_weights(RidgeModel(parts), parts[0] + 3.0 * parts[1], stimuli=range(12))
    >>> round(float(found.weights[1] / found.weights[0]), 3)
    3.0
    """
    data = checked_stack("data_rdms", data_rdms)
    n = data.shape[1]
    stack = checked_stack("the stack of the model", model.stack, n)
    inside, people = _mask("stimuli", stimuli, n), _mask("subjects", subjects, len(data))
    if inside.sum() < 3 or not people.any():
        raise ShapeError(
            f"{int(inside.sum())} training stimuli and {int(people.sum())} subjects; expected 3 and 1"
        )
    # a pair that an RDM of the stack lacks is no pair to fit
    known = np.isfinite(stack).all(axis=0)
    pooled, pairs = pool_rdms(np.where(known, data[people], np.nan), inside)
    if not (pairs > 0).any():
        raise InputError(
            "no pair of training stimuli is known in data_rdms and in every RDM of the stack; there is "
            "nothing to fit"
        )
    weights = np.asarray(model.fit(np.where(known, stack, 0.0), pooled, pairs))
    return FittedWeights(weights, np.tensordot(weights, stack, 1), inside, people)


def _mask(name: str, chosen: Any, n: int) -> np.ndarray:
    out = np.zeros(n, dtype=bool)
    if chosen is None:
        return ~out
    index = np.asarray(list(chosen) if isinstance(chosen, (range, Sequence)) else chosen)
    if not index.size:
        return out
    is_mask = index.dtype == bool and index.shape == (n,)
    if not is_mask and (index.dtype.kind not in "iu" or (index < -n).any() or (index >= n).any()):
        raise InputError(
            f"{name} of shape {index.shape} and dtype {index.dtype} holds no positions among {n}; expected "
            f"integers from 0 to {n - 1}, or a boolean mask ({n},)"
        )
    out[index] = True
    return out
