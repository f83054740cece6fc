"""The size of the difference of two matrices of Euclidean distances between stimuli."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from brainalign._linalg import full_precision
from brainalign.comparison._centring import centred_columns
from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import paired
from brainalign.errors import ShapeError

MIN_STIMULI = 2
_ROWS = 256
_PAIRS = 2**22
# below this share of the squared lengths a difference of products has lost more than 10 of 16 digits
_NEAR = 1e-6


def rsm_norm(x: Any, y: Any, *, squared: bool = False, per_unit: bool = False) -> float:
    """Return the Frobenius norm of the difference of the Euclidean distance matrices of x and y.

    ``sqrt(sum_ij (D_ij - D'_ij)^2)`` over all i and j, both triangles.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
        Computed in float64. At least 2 stimuli.
    squared : bool
        Compare squared (unrooted) Euclidean distances.
    per_unit : bool
        Divide the squared distances of x by p and those of y by q before the root, so that
        systems of different widths can agree (the distances of `rdm`); by default they are sums.

    Returns
    -------
    float, 0 to infinity, 0 for equal distances; in the unit of the responses (its square with
    `squared`). It grows with the number of stimuli, and has no upper bound. NaN, with a
    warning, where the value is too large for a float64 number.

    Raises
    ------
    ShapeError
        Fewer than 2 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`; `squared` or `per_unit` is neither True nor False.

    Notes
    -----
    Invariant to rotation and permutation of units and to a vector added to every row; not to
    a factor on the units (bring both to one scale first), nor to a general invertible map.
    Symmetric, and a pseudometric: the triangle inequality holds, and 0 says that the
    distances are equal. Distances of stimuli that are near each other are taken from their
    differences, not from products. Cost: O(n^2 (p + q)) time; memory O(n (p + q)) and blocks
    of 256 rows: no (n, n) matrix is held.
    Source: survey of Klabunde et al. 2023, arXiv:2305.06329 (norm of the difference of
    representational similarity matrices). The spectral norm (the largest singular value),
    which a program returns for ``ord=2`` of a square matrix, is smaller and another measure.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> round(rsm_norm(x, 2.0 * x), 6)
    5.291503
    """
    flag("squared", squared)
    flag("per_unit", per_unit)
    first, second = paired(x, y)
    if len(first) < MIN_STIMULI:
        raise ShapeError(f"rsm_norm over {len(first)} stimuli; it needs at least {MIN_STIMULI}")
    found = [centred_columns(side) for side in (first, second)]
    # a side that does not vary has no scale of its own
    exponent = max((power for _, power, largest in found if largest > 0.0), default=0)
    sides = [
        torch.from_numpy(np.ldexp(values, power - exponent) / (np.sqrt(values.shape[1]) if per_unit else 1.0))
        for values, power, _ in found
    ]
    total = 0.0
    with full_precision():
        for start in range(0, len(first), _ROWS):
            a, b = (_distances(side, start, squared=squared) for side in sides)
            total += float(torch.triu(a - b, diagonal=1).square_().sum())
    with np.errstate(over="ignore"):
        value = float(np.ldexp(np.sqrt(2.0 * total), 2 * exponent if squared else exponent))
    if not np.isfinite(value):
        top = max(float(np.abs(first).max()), float(np.abs(second).max()))
        warnings.warn(
            f"rsm_norm is NaN: responses up to {top:.3g} give distances beyond the float64 numbers; give the "
            "responses in a larger unit",
            stacklevel=2,
        )
        return float("nan")
    return value


def _distances(values: torch.Tensor, start: int, *, squared: bool) -> torch.Tensor:
    """Distances of a block of rows from itself and all later rows; its own diagonal is zero."""
    rows, columns = values[start : start + _ROWS], values[start:]
    lengths = columns.square().sum(dim=1)
    both = lengths[: len(rows), None] + lengths[None, :]
    out = torch.addmm(both, rows, columns.T, alpha=-2.0)
    near = torch.nonzero(torch.triu(out <= _NEAR * both, diagonal=1))
    step = max(1, _PAIRS // values.shape[1])
    for first in range(0, len(near), step):
        part = near[first : first + step]
        out[part[:, 0], part[:, 1]] = (rows[part[:, 0]] - columns[part[:, 1]]).square().sum(dim=1)
    return out if squared else out.clamp_min_(0.0).sqrt_()
