"""Permutation test of the similarity of two systems: the stimuli of one side are shuffled."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from brainalign.comparison._pairing import paired
from brainalign.comparison.measures import REASON_NAN, Measure, check_size, find_measure
from brainalign.errors import InputError

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Comparison:
    """A similarity with its permutation test.

    Parameters
    ----------
    value : float, the similarity
    p_value : float, (b + 1) / (m + 1) with b the draws that are at least `value`
    null : array (m,), the similarity in each draw
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
    """Test whether x and y are more similar than with the stimuli of y in random order.

    The RDM or Gram matrix of each side is computed once; a draw reorders the rows and
    columns of the second one together, which is what another order of its stimuli gives.

    Parameters
    ----------
    x, y, measure, options : as in `compare`
    n_permutations : int, at least 1
        The smallest p-value that can result is 1 / (n_permutations + 1).
    random_state : int or numpy Generator

    Returns
    -------
    Comparison
        One-sided p-value (larger than chance). Value, p-value and null are NaN, with a
        warning, where the similarity cannot be computed.

    Raises
    ------
    InputError
        `n_permutations` is below 1.
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
    if n_permutations < 1:
        raise InputError(f"n_permutations={n_permutations}; expected at least 1")
    chosen = find_measure(measure, options)
    first, second = paired(x, y)
    n = len(first)
    check_size(chosen, n)
    a = chosen.represent(first, **dict(options or {}))
    b = chosen.represent(second, **dict(options or {}))
    value = chosen.between(a, b)
    if np.isnan(value):
        warnings.warn(REASON_NAN.format(name=chosen.name), stacklevel=2)
        return Comparison(float("nan"), float("nan"), np.full(n_permutations, np.nan), chosen.name, n)
    generator = np.random.default_rng(random_state)
    null = np.empty(n_permutations)
    for draw in range(n_permutations):
        order = generator.permutation(n)
        null[draw] = chosen.between(a, b[np.ix_(order, order)])
    # an order that leaves the matrix as it is must count, whatever the order of the sum
    at_least = int((null >= value - _ROUNDING).sum())
    return Comparison(float(value), (at_least + 1) / (n_permutations + 1), null, chosen.name, n)
