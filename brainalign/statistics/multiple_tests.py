"""Correction of p-values for the number of tests made."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.errors import InputError


def few_permutations(n_permutations: int, n_tests: int, *, level: float = 0.05) -> str:
    """Say when m permutations cannot carry a correction over `n_tests`, else return "".

    A permutation p-value is at least 1 / (m + 1). A single true effect among `n_tests`
    gets, after Benjamini-Hochberg, no less than n_tests / (m + 1).

    Parameters
    ----------
    n_permutations : int
        Draws m behind each p-value.
    n_tests : int
        Finite p-values in the table that is shown.
    level : float in (0, 1)
        The level that the corrected values are compared with.

    Returns
    -------
    str
        One sentence with the number of draws that would suffice, or "".

    Examples
    --------
    >>> few_permutations(1000, 12)
    ''
    >>> few_permutations(100, 12)
    '100 permutations give p >= 0.0099; a lone effect among 12 tests cannot pass q < 0.05: use at least 240'
    """
    smallest = 1.0 / (n_permutations + 1)
    if n_tests < 1 or n_tests * smallest <= level:
        return ""
    needed = int(np.ceil(n_tests / level - 1e-9))
    return (
        f"{n_permutations} permutations give p >= {smallest:.2g}; a lone effect among {n_tests} tests "
        f"cannot pass q < {level:g}: use at least {needed}"
    )


def adjust_fdr(p: Any, *, n_permutations: int | None = None, level: float = 0.05) -> np.ndarray:
    """Adjust p-values for the false discovery rate (Benjamini and Hochberg).

    All entries of `p` form one family: give the whole table that is shown.

    Parameters
    ----------
    p : array of any shape, values in [0, 1]
        NaN marks a test that could not be made; it stays NaN and does not count.
    n_permutations : int or None
        Draws behind each p-value. Where they are too few for a family of this size a
        `UserWarning` says so, with the number that would suffice.
    level : float
        The level that warning has in mind.

    Returns
    -------
    ndarray, float64, shape of `p`
        q-values in [0, 1], never below their p. ``q <= 0.05`` keeps the expected share of
        false discoveries at 5 % for independent or positively dependent tests.

    Raises
    ------
    InputError
        A p-value lies outside [0, 1].

    Notes
    -----
    Cost: one sort, O(n log n) time and O(n) memory. Source: Benjamini and Hochberg (1995),
    J. R. Stat. Soc. B 57, 289-300, doi:10.1111/j.2517-6161.1995.tb02031.x (step-up).

    Examples
    --------
    >>> adjust_fdr([0.01, 0.04, 0.03, float("nan")]).round(4)
    array([0.03, 0.04, 0.04,  nan])
    """
    values, flat, finite = _checked(p)
    q = np.full(flat.shape, np.nan)
    if finite.size:
        order = finite[np.argsort(flat[finite], kind="stable")]
        scaled = flat[order] * finite.size / np.arange(1, finite.size + 1)
        # the step-up rule: a test passes when any larger p passes, hence the running minimum from the right
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    if n_permutations is not None:
        message = few_permutations(n_permutations, finite.size, level=level)
        if message:
            warnings.warn(message, UserWarning, stacklevel=2)
    return q.reshape(values.shape)


def adjust_fwer(p: Any) -> np.ndarray:
    """Adjust p-values for the chance of any false positive in the family (Holm).

    Parameters
    ----------
    p : array of any shape, values in [0, 1]
        NaN marks a test that could not be made; it stays NaN and does not count.

    Returns
    -------
    ndarray, float64, shape of `p`
        Never below their p, never above Bonferroni's; valid for any dependence of the tests.

    Raises
    ------
    InputError
        A p-value lies outside [0, 1].

    Notes
    -----
    Cost: one sort. Source: Holm (1979), Scand. J. Stat. 6, 65-70 (step-down).

    Examples
    --------
    >>> adjust_fwer([0.01, 0.04, 0.03, float("nan")]).round(4)
    array([0.03, 0.06, 0.06,  nan])
    """
    values, flat, finite = _checked(p)
    adjusted = np.full(flat.shape, np.nan)
    if finite.size:
        order = finite[np.argsort(flat[finite], kind="stable")]
        scaled = flat[order] * np.arange(finite.size, 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.reshape(values.shape)


def _checked(p: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The p-values, the same flat, and the positions of those that are not NaN."""
    values = np.asarray(p, dtype=np.float64)
    flat = values.reshape(-1)
    outside = np.flatnonzero(~np.isnan(flat) & ~((flat >= 0) & (flat <= 1)))
    if outside.size:
        raise InputError(
            f"p has {outside.size} values outside [0, 1], first {flat[outside[0]]:g} at position "
            f"{outside[0]}; give p-values (NaN where a test could not be made)"
        )
    return values, flat, np.flatnonzero(np.isfinite(flat))
