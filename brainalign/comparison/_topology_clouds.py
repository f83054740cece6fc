"""Two clouds of stimuli, and the Euclidean distances within each, at any scale of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign.comparison._pairing import finite_matrix, stimulus_means
from brainalign.errors import AlignmentError
from brainalign.types import Responses

# squared distances below this share of the largest squared norm are recomputed from differences:
# above it the product form keeps ten digits
_NEAR = 1e-6
_PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Clouds:
    """Rows x (n, p) and y (m, q); `paired` where row i of both is the same stimulus."""

    x: np.ndarray
    y: np.ndarray
    paired: bool


def two_clouds(x: Any, y: Any) -> Clouds:
    """Two finite float64 arrays that need not hold the same stimuli, in the order of x where they do.

    Arrays of one length count as paired by position, Responses with the same stimuli by id.
    """
    if isinstance(x, Responses) != isinstance(y, Responses):
        raise AlignmentError(
            "one of x and y is Responses and the other a plain array; give two Responses or two arrays"
        )
    if not isinstance(x, Responses):
        first, second = finite_matrix("x", x), finite_matrix("y", y)
        return Clouds(first, second, len(first) == len(second))
    a, b = stimulus_means("x", x), stimulus_means("y", y)
    if set(a.stimulus_id) != set(b.stimulus_id):
        return Clouds(a.values, b.values, False)
    position = {s: i for i, s in enumerate(b.stimulus_id)}
    return Clouds(a.values, b.values[[position[s] for s in a.stimulus_id]], True)


def without_scale(x: np.ndarray) -> np.ndarray:
    """Columns centred and everything divided by the largest absolute value; zeros where rows are equal.

    Division comes first, so that squares of very large or small responses are float64 numbers.
    """
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0.0:
        return np.zeros_like(x)
    # in two steps: the reciprocal of a subnormal number is infinite
    out = x / largest
    out = out - out.mean(axis=0)
    spread = float(np.abs(out).max())
    # what a constant column leaves is the rounding of its mean
    if spread <= 16 * np.finfo(np.float64).eps:
        return np.zeros_like(x)
    return np.asarray(out / spread)


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, n) of the rows of x after `without_scale`, exact zeros for duplicates.

    One product; pairs that are so near that the product would lose their digits are
    recomputed from differences. O(n^2 p) time, O(n^2) memory.
    """
    rows = without_scale(x)
    norms = np.einsum("ij,ij->i", rows, rows)
    out = norms[:, None] + norms[None, :] - 2.0 * (rows @ rows.T)
    near_i, near_j = np.nonzero(np.triu(out <= _NEAR * norms.max(initial=0.0), 1))
    np.maximum(out, 0.0, out=out)
    step = max(1, _PAIRS_AT_ONCE // rows.shape[1])
    for start in range(0, len(near_i), step):
        i, j = near_i[start : start + step], near_j[start : start + step]
        difference = rows[i] - rows[j]
        out[i, j] = np.einsum("ij,ij->i", difference, difference)
    upper = np.triu(out, 1)
    return np.asarray(upper + upper.T)


def distances(x: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, n) of the rows of x after `without_scale`."""
    return np.asarray(np.sqrt(squared_distances(x)))
