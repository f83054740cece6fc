"""Permutation tests of the similarity of two systems, or of RDMs: the stimuli of one side are shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._checks import one_of
from brainalign.comparison._mantel import AGAINST, MantelForms
from brainalign.comparison._measure import Measure
from brainalign.comparison._option_checks import generator_of, whole_number
from brainalign.comparison._pairing import paired_samples
from brainalign.comparison._rsa_inputs import drawn_with, rsa_inputs
from brainalign.comparison._shared_work import closer_or_equal
from brainalign.comparison.measures import check_size, find_measure, value_of
from brainalign.errors import InputError

_ROUNDING = 1e-12
ALTERNATIVES = ("greater", "two-sided")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A similarity with its permutation test.

    Parameters
    ----------
    value : float, the similarity or distance
    p_value : float, (b + 1) / (m + 1) with b the draws that are at least as close as `value`
    null : array (m,), the value in each draw
    measure : str
    n_stimuli : int
    """

    value: float
    p_value: float
    null: np.ndarray = field(repr=False)
    measure: str
    n_stimuli: int


def permutation_test(
    x: Any,
    y: Any,
    *,
    measure: str | Measure = "cka",
    n_permutations: int = 1000,
    random_state: int | np.random.Generator = 0,
    options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Test whether x and y are closer than with the stimuli of y in random order.

    RSA and CKA compute the matrix of each side once; a draw reorders the rows and columns of
    the second one together, which is what another order of its stimuli gives. Any other
    measure is computed anew in each draw.

    Parameters
    ----------
    x, y, measure, options : as in `compare`
    n_permutations : int, at least 1
        The smallest p-value that can result is 1 / (n_permutations + 1).
    random_state : int or numpy Generator

    Returns
    -------
    Comparison
        One-sided p-value: closer than chance (higher for a similarity, lower for a
        distance). Value, p-value and null are NaN, with a
        warning, where the similarity cannot be computed.

    Raises
    ------
    InputError
        `n_permutations` is below 1; a measure of trajectories, or one that
        does not depend on the pairing of stimuli.
    AlignmentError, ShapeError, UnknownNameError
        As in `compare`.

    Notes
    -----
    Exchanges whole stimuli: with n stimuli there are n! orders, so that fewer than 6
    stimuli cannot reach p = 0.01. Cost: O(n^2) a draw (tau-a: O(n^2 log n)), O(n^2) memory.
    Source: Mantel 1967, Cancer Research 27:209; p-value of Phipson & Smyth 2010,
    doi:10.2202/1544-6115.1585.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(30, 4))
    >>> result = permutation_test(x, x + 0.1, measure="rsa_pearson", n_permutations=99)
    >>> result.p_value
    0.01
    """
    whole_number("n_permutations", n_permutations, low=1)
    chosen = find_measure(measure, options)
    if chosen.samples == "trajectories":
        raise InputError(f"{chosen.name} compares trajectories, which have no stimuli to exchange")
    if not chosen.paired:
        raise InputError(
            f"{chosen.name} does not depend on which stimulus is where: every order of the stimuli has the "
            "same value, and a permutation of them tests nothing"
        )
    first, second = paired_samples(x, y, chosen.samples)
    n = len(first)
    check_size(chosen, n)
    value = value_of(chosen, first, second, options)
    if np.isnan(value):
        return Comparison(float("nan"), float("nan"), np.full(n_permutations, np.nan), chosen.name, n)
    moved = _reordered(chosen, first, second, dict(options or {}))
    generator = generator_of(random_state)
    null = np.array([moved(generator.permutation(n)) for _ in range(n_permutations)])
    p_value = (closer_or_equal(chosen, value, null) + 1) / (n_permutations + 1)
    return Comparison(value, p_value, null, chosen.name, n)


def _reordered(
    chosen: Measure, x: np.ndarray, y: np.ndarray, options: dict[str, Any]
) -> Callable[[np.ndarray], float]:
    """The value with the stimuli of y in a given order; what each side becomes is computed once."""
    if chosen.represent is None or chosen.between is None:
        return lambda order: value_of(chosen, x, y[order], options)
    between = chosen.between
    a, b = chosen.represent(x, **options), chosen.represent(y, **options)
    return lambda order: between(a, b.take(order, axis=0).take(order, axis=1))


@dataclass(frozen=True, eq=False)
class MantelResult:
    """Similarities of model RDMs with measured RDMs, tested by reordering the stimuli.

    Parameters
    ----------
    names : tuple of str, the models
    values : array (n_models,), mean similarity over the subjects
    p_values : array (n_models,), (b + 1) / (m + 1); NaN where there is no value
    p_corrected : array (n_models,), over the models by the largest value of each draw
    null : array (m, n_models)
    measure, alternative : str
    """

    names: tuple[str, ...]
    values: np.ndarray
    p_values: np.ndarray
    p_corrected: np.ndarray
    null: np.ndarray = field(repr=False)
    measure: str
    alternative: str

    def to_frame(self) -> pd.DataFrame:
        """One row a model: model, value, p, p_corrected, measure, alternative."""
        return pd.DataFrame(
            {
                "model": list(self.names),
                "value": self.values,
                "p": self.p_values,
                "p_corrected": self.p_corrected,
                "measure": self.measure,
                "alternative": self.alternative,
            }
        )


def mantel_test(
    data_rdms: Any,
    model_rdms: Any,
    *,
    measure: str = "spearman",
    n_permutations: int = 1000,
    alternative: str = "greater",
    random_state: int | np.random.Generator = 0,
    names: Sequence[str] | None = None,
    device: str | torch.device | None = None,
) -> MantelResult:
    """Test whether RDMs are more similar than with the stimuli of the data in random order.

    One order of the stimuli serves all subjects and all models of a draw, so that the
    correction over models by the largest similarity keeps their dependence.

    Parameters
    ----------
    data_rdms : (n, n), (n_subjects, n, n) or RDMs; the value is the mean over subjects
    model_rdms : (n_models, n, n), {name: (n, n)} or RDMs
    measure : ``"pearson"``, ``"spearman"``, ``"rho_a"``, ``"tau_a"``, ``"tau_b"``, ``"cosine"``, \
``"whitened_cosine"``, ``"whitened_pearson"``
    n_permutations : int, at least 1
    alternative : ``"greater"`` (one-sided) or ``"two-sided"``
        Two-sided compares the distance to the mean of the draws, since a cosine is not 0 by chance.
    random_state : int or numpy Generator
    names : names of the models or None
    device : where to compute; None: where the RDMs are

    Returns
    -------
    MantelResult. NaN, with a warning, for a model that is constant.

    Raises
    ------
    InputError
        Missing entries (which would move with the stimuli); an unknown alternative or measure;
        n_permutations below 1.
    ShapeError, AlignmentError
        As in `bootstrap_rsa`.

    Notes
    -----
    Every measure but tau is an inner product of vectors that are prepared once; a draw gathers one
    matrix and all models follow from one matrix product: O(n^2 (n_models + 1)) a draw, tau
    O(s m n^2 log n). Whitening without `sigma_k` treats all stimuli alike and commutes with their
    order. Source: Mantel 1967, Cancer Research 27:209; Phipson & Smyth 2010,
    doi:10.2202/1544-6115.1585.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> d = np.linalg.norm(x[:, None] - x[None], axis=-1)
    >>> mantel_test(d, d**2, n_permutations=99).p_values
    array([0.01])
    """
    n_permutations, generator = drawn_with("n_permutations", n_permutations, 1, random_state)
    one_of("alternative", alternative, ALTERNATIVES)
    one_of("measure", measure, AGAINST)
    inputs = rsa_inputs(data_rdms, model_rdms, measure=measure, names=names, device=device)
    if inputs.n_missing:
        raise InputError(
            f"{inputs.n_missing} pairs of stimuli are missing; they would move with the stimuli: leave out "
            "the stimuli that have missing pairs"
        )
    forms = MantelForms(inputs)
    values = forms.against(np.arange(inputs.n_stimuli)[None])[0]
    orders = generator.permuted(np.tile(np.arange(inputs.n_stimuli), (n_permutations, 1)), axis=1)
    null = forms.against(orders)
    flat = np.isnan(values)
    if flat.any():
        warnings.warn(f"{int(flat.sum())} of {flat.size} models are NaN: an RDM is constant", stacklevel=2)
    centre = null.mean(axis=0) if alternative == "two-sided" else np.zeros(len(values))
    far, spread = (values - centre, null - centre)
    if alternative == "two-sided":
        far, spread = np.abs(far), np.abs(spread)
    edge = far - _ROUNDING
    p = ((spread >= edge).sum(axis=0) + 1.0) / (n_permutations + 1)
    largest = np.where(flat, -np.inf, spread).max(axis=1)
    family = ((largest[:, None] >= edge).sum(axis=0) + 1.0) / (n_permutations + 1)
    p[flat], family[flat] = np.nan, np.nan
    return MantelResult(inputs.names, values, p, family, null, measure, alternative)
