"""Algebra over all subsets of a few feature spaces: commonality, unique parts, Shapley values.

Every function takes ``values`` of shape (2^J, ...), one row for each subset of J spaces in
bitmask order: row m belongs to the subset that holds space j exactly where bit j of m is
set. Row 0 is the empty subset, row ``2**j`` space j alone, the last row all spaces. For a
variance explained the value of the empty subset is 0. Numpy arrays and torch tensors go in
and come out alike; NaN in one column (a target without a score) stays in that column.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from brainalign.errors import InputError, ShapeError

MOST_SPACES = 16


def subset_masks(n_spaces: int) -> np.ndarray:
    """Which spaces each subset holds, in bitmask order: boolean (2^n_spaces, n_spaces).

    Examples
    --------
    >>> subset_masks(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if not 1 <= n_spaces <= MOST_SPACES:
        raise InputError(
            f"n_spaces={n_spaces}; expected 1 to {MOST_SPACES}, for there are 2^n_spaces subsets: join "
            "related spaces into one"
        )
    masks: np.ndarray = (np.arange(2**n_spaces)[:, None] >> np.arange(n_spaces)) & 1 == 1
    return masks


def subset_components(values: Any) -> Any:
    """Split the value of all spaces into the components that exactly one subset shares.

    Parameters
    ----------
    values : array (2^J, ...), the value (R2) of each subset in bitmask order

    Returns
    -------
    array (2^J, ...) in the same order. Row ``2**j`` is what space j alone can explain (its
    unique part), the row of a larger subset what each of its members can explain and no
    space outside of it. Row 0 is the value of the empty subset. The value of a subset T is
    row 0 plus the sum of the components of all subsets that touch T, so all rows together
    sum to the value of all spaces. A component is negative where spaces explain more
    together than one by one (suppression), or by noise in held-out scores; nothing is
    clipped.

    Raises
    ------
    ShapeError
        The first axis is not 2^J long with J from 1 to 16.

    Notes
    -----
    With the loss ``u(S) = v(all) - v(all without S)`` the components are its Moebius
    transform ``c(S) = sum over R in S of (-1)^(|S|-|R|) u(R)``: commonality analysis (Nimon,
    Lewis, Kane & Haynes 2008, DOI 10.3758/BRM.40.2.457). The fast transform (Kennes 1992,
    DOI 10.1109/21.148425) takes J 2^(J-1) subtractions of one row instead of 3^J. Rounding:
    at most about 2^J units.

    Examples
    --------
    >>> subset_components(np.array([0.0, 0.5, 0.4, 0.7])).round(3).tolist()
    [0.0, 0.3, 0.2, 0.2]
    """
    values, n_spaces = _checked(values)
    # the row of "all without S" is the complement of S: the rows backwards
    components = values[-1] - _backwards(values)
    components = _moebius(components, n_spaces)
    components[0] = values[0]
    return components


def unique_contributions(values: Any) -> Any:
    """What each space adds to all others: value of all minus value of all without it.

    Parameters
    ----------
    values : array (2^J, ...), the value of each subset in bitmask order

    Returns
    -------
    array (J, ...), negative where leaving the space out helps

    Raises
    ------
    ShapeError
        The first axis is not 2^J long with J from 1 to 16.

    Examples
    --------
    >>> unique_contributions(np.array([0.0, 0.5, 0.4, 0.7])).round(3).tolist()
    [0.3, 0.2]
    """
    values, n_spaces = _checked(values)
    without = [2**n_spaces - 1 - 2**j for j in range(n_spaces)]
    return values[-1] - values[without]


def shapley_values(values: Any) -> Any:
    """Shapley values: what each space adds, averaged over all orders of adding the spaces.

    Parameters
    ----------
    values : array (2^J, ...), the value of each subset in bitmask order

    Returns
    -------
    array (J, ...), which sums to the value of all spaces minus that of none. A space that
    adds nothing to any subset has 0, two spaces that add the same everywhere have the same,
    and the Shapley values of a sum of two tables are the sums of theirs; these four hold
    for no other division (Shapley 1953, DOI 10.1515/9781400881970-018).

    Raises
    ------
    ShapeError
        The first axis is not 2^J long with J from 1 to 16.

    Notes
    -----
    ``phi_j = sum over S without j of |S|! (J-|S|-1)! / J! (v(S with j) - v(S))``, cost
    J 2^J rows. Applied to R2 it is the average over orderings of Lindeman, Merenda and Gold
    (Groemping 2007, DOI 10.1198/000313007X188252).

    Examples
    --------
    >>> shapley_values(np.array([0.0, 0.5, 0.4, 0.7])).round(3).tolist()
    [0.4, 0.3]
    """
    values, n_spaces = _checked(values)
    masks = subset_masks(n_spaces)
    sizes = masks.sum(axis=1)
    orders = factorial(n_spaces)
    share = np.array([factorial(s) * factorial(n_spaces - s - 1) / orders for s in range(n_spaces)])
    out = []
    for j in range(n_spaces):
        without = np.flatnonzero(~masks[:, j])
        weights = _like(share[sizes[without]], values)
        added = values[without + 2**j] - values[without]
        out.append((weights.reshape((-1,) + (1,) * (values.ndim - 1)) * added).sum(0))
    return _stack(out, values)


def _is_tensor(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _checked(values: Any) -> tuple[Any, int]:
    """The values as a floating array, and the number of spaces."""
    if not _is_tensor(values):
        values = np.asarray(values)
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
    elif not values.is_floating_point():
        values = values.double()
    rows = values.shape[0] if values.ndim else 0
    n_spaces = rows.bit_length() - 1
    if rows < 2 or rows != 2**n_spaces or n_spaces > MOST_SPACES:
        raise ShapeError(
            f"values have shape {tuple(values.shape)}; expected one row for each of the 2^J subsets of J "
            f"spaces (J from 1 to {MOST_SPACES}) in bitmask order, the empty subset first"
        )
    return values, n_spaces


def _backwards(values: Any) -> Any:
    return values.flip(0) if _is_tensor(values) else values[::-1]


def _moebius(values: Any, n_spaces: int) -> Any:
    """Moebius transform over subsets, in a new array."""
    values = values.clone() if _is_tensor(values) else values.copy()
    rest = tuple(values.shape[1:])
    for j in range(n_spaces):
        pairs = values.reshape((2 ** (n_spaces - 1 - j), 2, 2**j, *rest))
        pairs[:, 1] -= pairs[:, 0]  # a view: subsets with space j, minus the same without
    return values


def _like(weights: np.ndarray, values: Any) -> Any:
    if not _is_tensor(values):
        return weights.astype(values.dtype, copy=False)
    import torch

    return torch.as_tensor(weights, dtype=values.dtype, device=values.device)


def _stack(rows: list[Any], values: Any) -> Any:
    if not _is_tensor(values):
        return np.stack(rows)
    import torch

    return torch.stack(rows)
