"""Do two systems agree which stimuli are near each other: measures over the nearest neighbours."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.comparison._nearest import (
    NO_NEIGHBOUR,
    Common,
    IndexArray,
    centred_kernel_at,
    check_k,
    products_at,
    scaled_rows,
    search,
    unit_rows,
)
from brainalign.comparison._nearest_inputs import same_stimuli, searched, shared_neighbours, warn_settled
from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import finite_matrix
from brainalign.errors import ShapeError

METRICS = ("cosine", "inner_product")
MIN_STIMULI_CKNNA = 4
_EPS = float(np.finfo(np.float64).eps)


def nearest_neighbours(x: Any, *, k: int = 10, metric: str = "cosine") -> IndexArray:
    """Return the k nearest stimuli of every stimulus, nearest first, the stimulus itself left out.

    One search serves `mutual_knn_of`, `jaccard_of`, `rank_similarity_of`,
    `second_order_cosine_of` and `cknna_of`.

    Parameters
    ----------
    x : array (n_stimuli, n_units)
        Computed in float64.
    k : int, 1 to n - 2
    metric : ``"cosine"`` (rows of length one) or ``"inner_product"`` (rows as they are)

    Returns
    -------
    int64 array (n_stimuli, k). Products that differ by less than 1e-12 of the largest
    possible one are equal, and the lowest index comes first, so that the result is the same
    on every machine. A row of -1, with a warning, marks a stimulus that has no nearest ones:
    it has no response in any unit, or all others are equally near.

    Raises
    ------
    InputError
        k outside 1 to n - 2 or not whole, an unknown metric, values that are not finite.
    ShapeError
        Not two axes, fewer than 3 stimuli.

    Warns
    -----
    UserWarning
        A row is -1. More than half of the stimuli have a k-th and a next neighbour that are
        equally near, so that the order of the rows settles which of them counts.

    Notes
    -----
    Cost: O(n^2 p) time in products of tiles, O(n k) memory and tiles of 256 x 8192.

    Examples
    --------
    >>> import numpy as np
    >>> angles = np.array([0.0, 0.1, 0.3, 2.0, 2.4])
    >>> nearest_neighbours(np.stack([np.cos(angles), np.sin(angles)], axis=1), k=2).tolist()
    [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    """
    values = finite_matrix("x", x)
    one_of("metric", metric, METRICS)
    k = check_k(k, len(values))
    near = search(unit_rows(values) if metric == "cosine" else scaled_rows(values), k)
    warn_settled("x", near)
    missing = near.indices[:, 0] == NO_NEIGHBOUR
    if missing.any():
        warnings.warn(
            f"the neighbours of {int(missing.sum())} of {len(missing)} stimuli are -1, first in row "
            f"{int(missing.argmax())}: no response in any unit, or all other stimuli equally near",
            stacklevel=2,
        )
    return near.indices


def _counts(common: Common, n: int) -> np.ndarray:
    return np.bincount(common.row, minlength=n)


def mutual_knn_of(indices_x: Any, indices_y: Any) -> float:
    """Return `mutual_knn` of two arrays (n_stimuli, k) of `nearest_neighbours`."""
    common = shared_neighbours("mutual_knn", indices_x, indices_y)
    if common is None:
        return float("nan")
    n, k = np.shape(indices_x)
    return len(common.row) / int(n * k)


def mutual_knn(x: Any, y: Any, *, k: int = 10) -> float:
    """Return the mean share of its k nearest stimuli that a stimulus has in common in x and y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
        Computed in float64.
    k : int, 1 to n - 2
        Neighbours by the inner product of rows of length one (the cosine), the stimulus
        itself left out.

    Returns
    -------
    float in [0, 1], higher is closer; 1 for equal neighbours. Chance is k / (n - 1). NaN,
    with a warning, where a stimulus has no response in any unit, or all other stimuli are
    equally near to one (as with a single unit of one sign).

    Raises
    ------
    InputError
        k outside 1 to n - 2 or not whole, values that are not finite.
    ShapeError, AlignmentError
        Fewer than 3 stimuli; x and y cannot be joined.

    Notes
    -----
    Invariant to rotation and permutation of units and to one factor on all units (even one
    for each stimulus); not to a vector added to every row, nor to a general invertible map.
    Cosines that differ by less than 1e-12 are equal, and the lowest index comes first: a
    permutation of the stimuli changes the value by at most the share of stimuli whose k-th
    and next neighbour are equally near, which is 0 where no two cosines are equal.
    Cost: O(n^2 (p + q)) time, O(n k) memory.
    Source: Huh et al. 2024, arXiv:2405.07987 (mutual nearest-neighbour metric).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> mutual_knn(x, 3.0 * x[:, ::-1])
    1.0
    """
    _, _, near_x, near_y = searched(x, y, k)
    return mutual_knn_of(near_x, near_y)


def jaccard_of(indices_x: Any, indices_y: Any) -> float:
    """Return `jaccard` of two arrays (n_stimuli, k) of `nearest_neighbours`."""
    common = shared_neighbours("jaccard", indices_x, indices_y)
    if common is None:
        return float("nan")
    n, k = np.shape(indices_x)
    shared = _counts(common, n)
    return float(np.mean(shared / (2 * k - shared)))


def jaccard(x: Any, y: Any, *, k: int = 10) -> float:
    """Return the mean Jaccard index of the k nearest stimuli in x and in y.

    For each stimulus the size of the intersection of its two sets of cosine neighbours over
    the size of their union, averaged over stimuli.

    Parameters
    ----------
    x, y, k : as in `mutual_knn`

    Returns
    -------
    float in [0, 1], higher is closer. NaN as in `mutual_knn`. About k / (2 n) by chance.

    Raises
    ------
    As `mutual_knn`.

    Notes
    -----
    Invariances, ties and cost as for `mutual_knn`, of which it is an increasing function in
    each stimulus. Source: Wang et al. 2020; equation as in the survey of Klabunde et al.
    2023, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> jaccard(x, 3.0 * x[:, ::-1])
    1.0
    """
    _, _, near_x, near_y = searched(x, y, k)
    return jaccard_of(near_x, near_y)


def rank_similarity_of(indices_x: Any, indices_y: Any) -> float:
    """Return `rank_similarity` of two arrays (n_stimuli, k) of `nearest_neighbours`."""
    common = shared_neighbours("rank_similarity", indices_x, indices_y)
    if common is None:
        return float("nan")
    n, k = np.shape(indices_x)
    apart = 1.0 + np.abs(common.place_x - common.place_y)
    both = common.place_x + common.place_y + 2.0
    summed = np.bincount(common.row, weights=2.0 / (apart * both), minlength=n)
    harmonic = np.cumsum(1.0 / np.arange(1, k + 1))
    # without a common neighbour the sum is 0, and so is the similarity
    return float(np.mean(summed / harmonic[np.maximum(_counts(common, n), 1) - 1]))


def rank_similarity(x: Any, y: Any, *, k: int = 10) -> float:
    """Return how alike the common ones among the k nearest stimuli are ranked in x and in y.

    For each stimulus, over its J common cosine neighbours j with the ranks r and r' (from 1):
    ``sum_j 2 / ((1 + |r - r'|) (r + r')) / sum_{i=1}^{J} 1/i``, and 0 where J is 0; averaged
    over stimuli. Nearer neighbours weigh more.

    Parameters
    ----------
    x, y, k : as in `mutual_knn`

    Returns
    -------
    float in [0, 1], higher is closer; 1 where all ranks agree. NaN as in `mutual_knn`.

    Raises
    ------
    As `mutual_knn`.

    Notes
    -----
    Invariances and cost as for `mutual_knn`. Equally near stimuli are ranked by their index,
    so that a permutation of the stimuli may change the value where cosines are equal, also
    among the first k. The sum is divided by what J common neighbours could reach at best:
    a single common neighbour of rank 1 counts as much as ten, so that it does not measure
    the size of the overlap. Source: Wang et al. 2020; equation as in the survey of Klabunde
    et al. 2023, arXiv:2305.06329.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> round(rank_similarity(x, 3.0 * x[:, ::-1]), 12)
    1.0
    """
    _, _, near_x, near_y = searched(x, y, k)
    return rank_similarity_of(near_x, near_y)


def second_order_cosine_of(x: Any, y: Any, indices_x: Any, indices_y: Any) -> float:
    """Return `second_order_cosine` of x (n, p), y (n, q) and their `nearest_neighbours`."""
    common = shared_neighbours("second_order_cosine", indices_x, indices_y)
    if common is None:
        return float("nan")
    n, k = np.shape(indices_x)
    pairs = np.concatenate([indices_x, indices_y], axis=1)
    first = products_at(unit_rows(same_stimuli("x", x, n)), pairs)
    second = products_at(unit_rows(same_stimuli("y", y, n)), pairs)
    # a common neighbour stands in both halves and counts once
    for cosines in (first, second):
        cosines[common.row, k + common.place_y] = 0.0
    norms = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    for name, norm, width in (("x", norms[0], np.shape(x)[1]), ("y", norms[1], np.shape(y)[1])):
        flat = norm <= 4 * np.sqrt(2 * k * width) * _EPS
        if flat.any():
            warnings.warn(
                f"second_order_cosine is NaN: {int(flat.sum())} of {n} stimuli of {name} are orthogonal to "
                f"all their neighbours, first row {int(flat.argmax())}; leave them out or take a larger k",
                stacklevel=3,
            )
            return float("nan")
    return float(np.mean(np.einsum("ij,ij->i", first, second) / (norms[0] * norms[1])))


def second_order_cosine(x: Any, y: Any, *, k: int = 10) -> float:
    """Return how alike the cosines of a stimulus with its neighbours are in x and in y.

    For each stimulus the vector of its cosines with all stimuli that are among its k nearest
    in x or in y, once in x and once in y; the cosine of these two vectors, averaged over stimuli.

    Parameters
    ----------
    x, y, k : as in `mutual_knn`

    Returns
    -------
    float in [-1, 1], higher is closer. NaN as in `mutual_knn`, and where a stimulus is
    orthogonal to all its neighbours.

    Raises
    ------
    As `mutual_knn`.

    Notes
    -----
    Invariant to rotation and permutation of units and to one factor on all units; not to a
    vector added to every row (with a large one all cosines are near 1, and so is the value),
    nor to a general invertible map. Ties as for `mutual_knn`.
    Cost: O((n^2 + n k) (p + q)) time, O(n k) memory.
    Source: Hamilton et al. 2016, arXiv:1606.02821 (second-order vectors of cosines); the union of both
    neighbourhoods as in the survey of Klabunde et al. 2023, arXiv:2305.06329. Some programs
    take cosine distances for the entries; these are the similarities of the definition.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> round(second_order_cosine(x, 3.0 * x[:, ::-1]), 12)
    1.0
    """
    first, second, near_x, near_y = searched(x, y, k)
    return second_order_cosine_of(first, second, near_x, near_y)


def cknna_of(x: Any, y: Any, indices_x: Any, indices_y: Any, *, debiased: bool = True) -> float:
    """Return `cknna` of x (n, p), y (n, q) and their `nearest_neighbours`."""
    flag("debiased", debiased)
    n = len(indices_x)
    if n < MIN_STIMULI_CKNNA:
        raise ShapeError(f"cknna over {n} stimuli; it needs at least {MIN_STIMULI_CKNNA}")
    common = shared_neighbours("cknna", indices_x, indices_y)
    if common is None:
        return float("nan")
    kernels, norms = [], []
    for name, values, indices in (("x", x, indices_x), ("y", y, indices_y)):
        kernel, rounding = centred_kernel_at(
            unit_rows(same_stimuli(name, values, n)), indices, debiased=debiased
        )
        norm = float(np.linalg.norm(kernel))
        if norm <= rounding:
            warnings.warn(
                f"cknna is NaN: the centred cosines of {name} are zero for all neighbours, as of "
                "stimuli that are equally near one another; leave repeated stimuli out",
                stacklevel=3,
            )
            return float("nan")
        kernels.append(kernel)
        norms.append(norm)
    shared = kernels[0][common.row, common.place_x] @ kernels[1][common.row, common.place_y]
    # the inequality of Cauchy and Schwarz bounds it by 1: what lies beyond is rounding
    return float(np.clip(shared / norms[0] / norms[1], -1.0, 1.0))


def cknna(x: Any, y: Any, *, k: int = 10, debiased: bool = True) -> float:
    """Return the centred kernel nearest-neighbour alignment: a CKA of the common neighbours alone.

    With the centred cosine kernels K of x and L of y, and A(K, L) the sum of K_ij L_ij over
    the pairs where j is among the k nearest of i in x and in y: ``A(K, L) / sqrt(A(K, K) A(L, L))``.

    Parameters
    ----------
    x, y, k : as in `mutual_knn`
    debiased : bool
        True: U-centred kernels (means without the diagonal), so that k = n - 1 would give the
        debiased linear CKA of rows of length one. False: kernels centred with their diagonal.
        Either way a stimulus is not its own neighbour.

    Returns
    -------
    float in [-1, 1], higher is closer; 1 for equal cosines. About k / (n - 1) by chance, in
    either form: near stimuli have large centred cosines, and U-centring does not remove that.
    NaN as in `mutual_knn`, and where the centred cosines of all neighbours are zero.

    Raises
    ------
    As `mutual_knn`; ShapeError also for fewer than 4 stimuli.

    Notes
    -----
    Invariances and ties as for `mutual_knn`. Cost: O(n^2 (p + q)) time, O(n k) memory: the
    kernels are only evaluated at the neighbours.
    Source: Huh et al. 2024, arXiv:2405.07987, appendix; U-centring of Song et al. 2012, JMLR
    13:1393. Departures: rows and columns are centred, as in CKA. The authors' program sets
    the kernels to zero outside the neighbours before it centres them, as if the missing
    cosines were zero; neighbours are not mutual, so these kernels are not symmetric, its
    value changes when x and y are swapped, and it may exceed 1. Its values are close to
    these where k is far below n (0.084 and 0.091 for unrelated normal data, n = 100, k = 10).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> round(cknna(x, 3.0 * x[:, ::-1]), 12)
    1.0
    """
    first, second, near_x, near_y = searched(x, y, k)
    return cknna_of(first, second, near_x, near_y, debiased=debiased)
