"""Shape distances of all pairs of many systems, and their map and tree."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from brainalign._arrays import resolve_device
from brainalign._checks import lookup, one_of
from brainalign._linalg import full_precision
from brainalign._threads import side_by_side
from brainalign.comparison._option_checks import flag, seed, whole_number
from brainalign.comparison._pairing import paired
from brainalign.comparison._procrustes_forms import (
    MIN_STIMULI,
    chord,
    configuration,
    enough_stimuli,
)
from brainalign.comparison.energy_shape import energy_shape_distance
from brainalign.comparison.permutation_alignment import permutation_procrustes_distance
from brainalign.comparison.shape import check_alpha, whitened_coordinates
from brainalign.comparison.stochastic_shape import stochastic_shape_distance
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

# cross products of one batch: 128 MB of float64, one batch a thread
_BATCH = 1 << 24
# nearer than this the pair is measured by its residual
_NEAR = 0.999
_LINKAGES = ("average", "complete", "single", "weighted")
_ROTATIONS = ("angular_procrustes", "procrustes", "shape")
_WITH_ALPHA = ("shape", "stochastic_shape")
_OTHERS = ("permutation_procrustes", "stochastic_shape", "energy_shape")


def pairwise_shape_distances(
    systems: Sequence[Any],
    *,
    measure: str = "angular_procrustes",
    alpha: float = 1.0,
    scale_free: bool = False,
    random_state: int | None = 0,
    device: str = "cpu",
) -> np.ndarray:
    """Return the shape distances of all pairs of systems that answered the same stimuli.

    Parameters
    ----------
    systems : k arrays (n_stimuli, p_i), or k Responses; at least 2
        For ``"stochastic_shape"`` and ``"energy_shape"`` arrays (n_stimuli, n_repeats, p_i).
    measure : ``"angular_procrustes"``, ``"procrustes"`` (Euclidean, unit norm), ``"shape"`` (with `alpha`),
        ``"permutation_procrustes"``, ``"stochastic_shape"`` (with `alpha`) or ``"energy_shape"``
    alpha : float, in [0, 1] for ``"shape"``, in [0, 2] for ``"stochastic_shape"``; 1 for the others
    scale_free : as in `shape_distance`
    random_state : int, seed of the starts of the stochastic forms
    device : ``"cpu"``, ``"cuda"`` or ``"auto"``, for the products and singular values of the first three

    Returns
    -------
    array (k, k), symmetric, zero diagonal. NaN, with a warning, in the rows of a system that does
    not vary over stimuli.

    Raises
    ------
    InputError
        Fewer than 2 systems; alpha out of range; values that are not finite.
    ShapeError
        Different numbers of stimuli; unequal widths for the permutation.
    UnknownNameError
        No such measure.
    AlignmentError
        As in `compare`.

    Notes
    -----
    The first three prepare each system once (centring, thin decomposition where alpha < 1 or there
    are more units than stimuli), multiply one system with all later ones in one product, and take
    the sum of singular values from the eigenvalues of the smaller Gram matrix of each cross
    product. A pair whose eigenvalues lie so low that their roots would not hold 1e-9 is done again by
    its singular values, one that is nearly equal by its residual. Cost: k (k - 1) / 2 pairs of
    O(n r^2 + r^3) time with r = min(n, p); O(k n r) memory and 128 MB. Source: Williams et al. 2021,
    arXiv:2110.14739.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> np.round(pairwise_shape_distances([x, x[:, ::-1], -x]), 6).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    one_of("measure", measure, _ROTATIONS + _OTHERS)
    flag("scale_free", scale_free)
    if random_state is not None:
        seed(random_state)
    if measure not in _WITH_ALPHA and alpha != 1.0:
        raise InputError(
            f"alpha={alpha!r} has no meaning for measure={measure!r}; it belongs to {_WITH_ALPHA}"
        )
    if not hasattr(systems, "__len__"):
        raise InputError(f"systems is {type(systems).__name__}; expected a list of arrays or of Responses")
    if len(systems) < 2:
        raise InputError(f"systems holds {len(systems)} systems; a pair needs 2")
    if measure in _OTHERS:
        return _each_pair(systems, _pair_function(measure, alpha, random_state))
    check_alpha(alpha, 1.0)
    values = _on_one_axis(systems)
    enough_stimuli(f"the distance {measure!r}", len(values[0]), MIN_STIMULI)
    found = [configuration(v) for v in values]
    constant = np.array([c.constant for c in found])
    if constant.any():
        warnings.warn(
            f"{int(constant.sum())} of {len(found)} systems do not vary over stimuli, first system "
            f"{int(np.flatnonzero(constant)[0])}; their distances are NaN",
            stacklevel=2,
        )
    kept = np.flatnonzero(~constant)
    strength = alpha if measure == "shape" else 1.0
    points = [whitened_coordinates(found[i], strength, scale_free=scale_free) for i in kept]
    chords = _chords(points, resolve_device(device))
    out = np.full((len(found), len(found)), np.nan)
    out[np.ix_(kept, kept)] = chords if measure == "procrustes" else 2.0 * np.arcsin(chords / 2.0)
    return out


def embed_systems(distances: Any, *, n_dims: int = 2) -> np.ndarray:
    """Return coordinates of systems whose distances are nearest to the given ones (classical MDS).

    Parameters
    ----------
    distances : array (k, k), symmetric, zero diagonal, not negative, complete
    n_dims : int, from 1 to k - 1

    Returns
    -------
    array (k, n_dims): centred, axes by falling variance, the sign of each chosen so that its
    largest coordinate is positive. An axis that the distances do not fill is zero.

    Raises
    ------
    ShapeError
        Not a square matrix.
    InputError
        Not a matrix of distances; n_dims out of range.

    Notes
    -----
    Eigenvectors of the doubly centred ``-D^2 / 2``; negative eigenvalues (angles are no Euclidean
    distances) are left out. Cost O(k^3). Source: Torgerson 1952, doi:10.1007/BF02288916.

    Examples
    --------
    >>> embed_systems([[0.0, 2.0], [2.0, 0.0]], n_dims=1).tolist()
    [[1.0], [-1.0]]
    """
    matrix = _distance_matrix(distances)
    whole_number("n_dims", n_dims, low=0)
    if not 1 <= n_dims < len(matrix):
        raise InputError(f"n_dims={n_dims}; expected 1 to {len(matrix) - 1} for {len(matrix)} systems")
    largest = float(matrix.max()) or 1.0
    squared = (matrix / largest) ** 2
    inner = squared - squared.mean(axis=0)
    inner = -(inner - inner.mean(axis=1, keepdims=True)) / 2.0
    values, vectors = np.linalg.eigh((inner + inner.T) / 2.0)
    order = np.argsort(values)[::-1][:n_dims]
    out: np.ndarray = vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0)) * largest
    # two coordinates of one size are told apart by position, not by rounding
    size = np.abs(out)
    first = np.argmax(size >= size.max(axis=0) * (1.0 - 1e-9), axis=0)
    sign = np.sign(out[first, np.arange(n_dims)])
    return out * np.where(sign == 0.0, 1.0, sign)


def cluster_systems(distances: Any, *, method: str = "average") -> np.ndarray:
    """Return the tree of systems by agglomerative clustering of their distances.

    Parameters
    ----------
    distances : array (k, k), symmetric, zero diagonal, not negative, complete; k at least 2
    method : ``"average"``, ``"complete"``, ``"single"`` or ``"weighted"``
        Those of scipy that ask for distances alone; Ward's and the centroid forms ask for points.

    Returns
    -------
    array (k - 1, 4): the linkage of `scipy.cluster.hierarchy`, for `fcluster` and `dendrogram`

    Raises
    ------
    ShapeError
        Not a square matrix.
    InputError
        Not a matrix of distances; another method.

    Examples
    --------
    >>> cluster_systems([[0, 1, 5], [1, 0, 5], [5, 5, 0]]).tolist()
    [[0.0, 1.0, 1.0, 2.0], [2.0, 3.0, 5.0, 3.0]]
    """
    one_of("method", method, _LINKAGES)
    tree: np.ndarray = linkage(squareform(_distance_matrix(distances), checks=False), method=method)
    return tree


def _distance_matrix(distances: Any) -> np.ndarray:
    matrix = plain_array("distances", distances)
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"distances have dtype {matrix.dtype}; expected real numbers")
    matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ShapeError(f"distances have shape {matrix.shape}; expected (k, k) for at least 2 systems")
    if not np.isfinite(matrix).all():
        row = int(np.argwhere(~np.isfinite(matrix))[0, 0])
        raise InputError(
            f"distances are not finite, first in row {row}; leave out the systems without a distance"
        )
    slack = 1e-9 * float(np.abs(matrix).max())
    if (matrix < 0).any() or np.abs(np.diag(matrix)).max() > slack or np.abs(matrix - matrix.T).max() > slack:
        raise InputError(
            "distances are not symmetric, or have negative values or a diagonal that is not zero"
        )
    out: np.ndarray = (matrix + matrix.T) / 2.0
    np.fill_diagonal(out, 0.0)
    return out


def _on_one_axis(systems: Sequence[Any]) -> list[np.ndarray]:
    """All systems with the stimuli of the first, by id or by position."""
    out = []
    for place, system in enumerate(systems):
        try:
            first, other = paired(systems[0], system)
        except Exception as error:
            error.add_note(f"x is system 0 of systems, y is system {place}")
            raise
        out.append(other if place else first)
    return out


def _pair_function(measure: str, alpha: float, random_state: int | None) -> Callable[[Any, Any], float]:
    family: dict[str, Callable[[Any, Any], float]] = {
        "permutation_procrustes": permutation_procrustes_distance,
        "stochastic_shape": partial(stochastic_shape_distance, alpha=alpha, random_state=random_state),
        "energy_shape": partial(energy_shape_distance, random_state=random_state),
    }
    found: Callable[[Any, Any], float] = lookup("measure", measure, family)
    return found


def _each_pair(systems: Sequence[Any], function: Callable[[Any, Any], float]) -> np.ndarray:
    k = len(systems)
    out = np.zeros((k, k))
    for i in range(k):
        for j in range(i + 1, k):
            out[i, j] = out[j, i] = function(systems[i], systems[j])
    out[np.isnan(out).sum(axis=1) == k - 1] = np.nan
    return out


def _chords(points: list[np.ndarray], device: torch.device) -> np.ndarray:
    """Chords (k, k) of configurations of norm one, the widest first in each product."""
    k = len(points)
    out = np.zeros((k, k))
    # equal widths side by side: their cross products make one batch
    order = sorted(range(k), key=lambda i: points[i].shape[1])
    joined = torch.from_numpy(np.concatenate([points[i] for i in order], axis=1)).to(device)
    edges = np.cumsum([0] + [points[i].shape[1] for i in order]).tolist()

    def of_one(j: int) -> list[tuple[int, float]]:
        """Similarities of one system with all narrower ones."""
        wide = joined[:, edges[j] : edges[j + 1]]
        found: list[tuple[int, float]] = []
        for start, stop in _runs(edges, j):
            narrow = joined[:, edges[start] : edges[stop]]
            found += zip(order[start:stop], _nuclear_norms(narrow, wide, stop - start).tolist(), strict=True)
        return found

    # eigenvalues of small matrices gain nothing from a second thread: systems go side by side
    with full_precision(), side_by_side(device.type == "cpu") as run:
        last_first = range(k - 1, 0, -1)
        for j, found in zip(last_first, run(of_one, last_first), strict=True):
            for place, value in found:
                near = value > _NEAR
                apart = chord(points[place], points[order[j]]) if near else np.sqrt(2.0 - 2.0 * value)
                out[place, order[j]] = out[order[j], place] = apart
    return out


def _runs(edges: list[int], stop: int) -> list[tuple[int, int]]:
    """Ranges of the first `stop` systems, each of one width and of one batch."""
    widths = np.diff(edges)
    out, start = [], 0
    for i in range(1, stop + 1):
        size = (i - start) * widths[start] * widths[stop]
        if i == stop or widths[i] != widths[start] or size >= _BATCH:
            out.append((start, i))
            start = i
    return out


def _nuclear_norms(narrow: torch.Tensor, wide: torch.Tensor, count: int) -> torch.Tensor:
    """Sums of the singular values of a' b: `count` systems a (n, r) side by side, b (n, s), r <= s."""
    cross = (narrow.T @ wide).reshape(count, -1, wide.shape[1])
    values = torch.linalg.eigvalsh(cross @ cross.mT)
    # an error e of an eigenvalue v moves its root by e / (2 sqrt v), and by sqrt e at most
    largest = values[:, -1:].clamp_min(torch.finfo(values.dtype).tiny)
    error = 4.0 * torch.finfo(values.dtype).eps * largest
    uncertain = (error / (2.0 * values.clamp_min(0).sqrt() + error.sqrt())).sum(1) > 1e-9
    out: torch.Tensor = values.clamp_min(0).sqrt().sum(1)
    if bool(uncertain.any()):
        out[uncertain] = torch.linalg.svdvals(cross[uncertain]).sum(1)
    return out
