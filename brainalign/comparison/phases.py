"""Phases of depth: contiguous blocks of layers that are more alike than layers are on average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.comparison import cka
from brainalign.comparison._dynamics_layers import (
    layer_sequence,
    layer_stack,
    unit_states,
    warn_without_angle,
)
from brainalign.comparison._option_checks import is_real, whole_number
from brainalign.comparison._pairing import finite_matrix
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

_NORMAL_MAD = 0.6744897501960817
_CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class LayerPhases:
    """A cut of the layers into contiguous phases.

    Parameters
    ----------
    boundaries : int array (n_phases + 1,)
        First layer of each phase, and the number of layers at the end.
    scores : array (max_phases,)
        Best score of 1, 2, ... phases: sum over the pairs of layers within one phase of
        their similarity minus the mean over all pairs.
    penalties : array (max_phases,)
        What the best cut of unstructured layers gains; 0 for one phase.
    noise : float
        Standard deviation of the similarities around their neighbours.
    """

    boundaries: np.ndarray
    scores: np.ndarray
    penalties: np.ndarray
    noise: float

    @property
    def n_phases(self) -> int:
        """Number of phases."""
        return len(self.boundaries) - 1

    @property
    def penalised_scores(self) -> np.ndarray:
        """Scores minus penalties, by number of phases."""
        return np.asarray(self.scores - self.penalties)

    @property
    def labels(self) -> np.ndarray:
        """Phase of each layer, from 0."""
        return np.repeat(np.arange(self.n_phases), np.diff(self.boundaries))


def layer_similarity(layers: Any, measure: str = "cosine") -> np.ndarray:
    """Return the similarity of all pairs of layers.

    Parameters
    ----------
    layers : array (n_layers, n, p), or sequence of arrays (n, p_l)
        States of the same n stimuli (or tokens). Widths may differ for ``"cka"``.
    measure : str
        ``"cosine"``: the cosine between the two states of a stimulus, averaged over stimuli.
        ``"cka"``: debiased linear CKA (`linear_cka`).

    Returns
    -------
    float64 array (n_layers, n_layers), symmetric, in [-1, 1]. NaN, with a warning: a pair
    without one stimulus whose state is not zero in both (cosine); a layer that does not vary
    over stimuli (CKA).

    Raises
    ------
    ShapeError
        Layers of unequal numbers of stimuli; unequal widths with ``"cosine"``; fewer than
        4 stimuli with ``"cka"``.
    InputError
        Values that are not finite; an unknown measure.

    Notes
    -----
    The cosine is invariant to one rotation of all layers, and to a positive factor on any
    state; not to a translation. CKA: see `linear_cka`. One product for all pairs. Cost:
    O(L^2 n p) time and O(L n p) memory for the cosine; O(L n^2 p + L^2 n^2) time and
    O(L n^2) memory for CKA.

    Examples
    --------
    >>> import numpy as np
    >>> states = np.random.default_rng(0).normal(size=(2, 20, 5))
    >>> layer_similarity([states[0], 2 * states[0], -states[0]]).round(3)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.],
           [-1., -1.,  1.]])
    """
    one_of("measure", measure, ("cosine", "cka"))
    return _cosines(layers) if measure == "cosine" else _alignments(layers)


def _cosines(layers: Any) -> np.ndarray:
    states = layer_stack("layers", layers)
    directions, defined = unit_states(states)
    flat = directions.reshape(len(states), -1)
    counts = defined.astype(np.float64) @ defined.T
    with np.errstate(invalid="ignore"):
        out: np.ndarray = (flat @ flat.T) / np.where(counts > 0, counts, np.nan)
    warn_without_angle("cosine", np.argwhere(counts == 0))
    return np.asarray(np.clip((out + out.T) / 2, -1.0, 1.0))


def _alignments(layers: Any) -> np.ndarray:
    each = layer_sequence("layers", layers)
    matrices = [finite_matrix(f"layers[{i}]", layer) for i, layer in enumerate(each)]
    if not matrices:
        raise ShapeError("layers are empty; expected at least one")
    sizes = sorted({len(m) for m in matrices})
    if len(sizes) > 1:
        raise ShapeError(f"layers have {sizes[0]} to {sizes[-1]} stimuli; expected the same in all")
    if sizes[0] < cka.MIN_STIMULI:
        raise ShapeError(f"CKA over {sizes[0]} stimuli; it needs at least {cka.MIN_STIMULI}")
    grams = np.stack([cka.u_centred(m / (np.abs(m).max() or 1.0)).ravel() for m in matrices])
    out: np.ndarray = grams @ grams.T
    warn_without_angle("CKA", np.argwhere(np.isnan(np.diagonal(out))))
    return np.asarray(np.clip((out + out.T) / 2, -1.0, 1.0))


def layer_phases(
    similarity: Any, *, n_phases: int | None = None, max_phases: int | None = None, penalty: float = 1.0
) -> LayerPhases:
    """Return the contiguous phases of layers, by exact dynamic programming.

    Parameters
    ----------
    similarity : array (L, L)
        Symmetric, higher is closer, as from `layer_similarity`; the diagonal is not used.
        Any ordered units will do: layers, parcels of a hierarchy, times.
    n_phases : int, or None
        None: the number with the highest penalised score; of equal ones the smallest.
    max_phases : int, or None
        Largest number that is tried; None: all, up to L.
    penalty : float
        Factor on the penalty. 1: unstructured similarities with Gaussian noise are cut in
        about 5 % of cases or fewer. 0: none.

    Returns
    -------
    LayerPhases

    Raises
    ------
    ShapeError
        `similarity` is not square.
    InputError
        Values that are not finite, or not symmetric; `n_phases` or `max_phases` out of
        1 to L; a negative penalty.

    Notes
    -----
    A phase over a set of layers scores the sum of ``s_ij - mean`` over its pairs i < j;
    the best cut into k contiguous phases is found exactly in O(k L^2) time and O(L^2 + k L)
    memory. The penalty of k phases bounds what noise alone gains: with N pairs and noise
    sigma a cut gains at most a Gaussian of standard deviation ``sigma sqrt(N) / 2``, and
    there are ``choose(L - 1, k - 1)`` of them:
    ``sigma sqrt(N / 2 (log choose(L - 1, k - 1) + log(L / 0.05)))``. sigma comes from the
    median absolute difference of neighbouring similarities, which edges of phases hardly
    move. A factor and a constant on all similarities change no boundary.

    A smooth drift over depth is no phase but is cut all the same, as its neighbours are
    more alike than the average: look at `scores` and at the matrix. Departure from the
    block-recurrent analysis of vision transformers, whose score this is: the penalty.

    Examples
    --------
    >>> import numpy as np
    >>> block = np.repeat([0, 1, 2], [3, 4, 2])
    >>> layer_phases(np.where(block[:, None] == block, 0.9, 0.3)).boundaries
    array([0, 3, 7, 9])
    """
    matrix = _checked(similarity)
    n_layers = len(matrix)
    most = n_layers if max_phases is None else _phase_count("max_phases", max_phases, n_layers)
    if n_phases is not None:
        n_phases = _phase_count("n_phases", n_phases, n_layers)
        most = max(most, n_phases) if max_phases is None else most
        if n_phases > most:
            raise InputError(f"n_phases={n_phases} is above max_phases={most}; raise max_phases")
    if not (is_real(penalty) and penalty >= 0):
        raise InputError(f"penalty={penalty!r}; expected a finite number of at least 0")
    pairs = matrix[np.triu_indices(n_layers, 1)]
    mean = float(pairs.mean()) if len(pairs) else 0.0
    scores, previous = _best_cuts(_block_scores(matrix - mean), most)
    noise = _neighbour_noise(matrix)
    penalties = penalty * _penalties(n_layers, most, noise)
    if n_phases is None:
        gains = scores - penalties
        # sums over up to N pairs: what differs less is a tie, and the fewest phases win
        slack = 64 * np.finfo(np.float64).eps * float(np.abs(matrix).max()) * max(len(pairs), 1)
        n_phases = int(np.flatnonzero(gains >= gains.max() - slack)[0]) + 1
    return LayerPhases(_traced(previous, n_phases, n_layers), scores, penalties, noise)


def _phase_count(argument: str, value: Any, n_layers: int) -> int:
    number = whole_number(argument, value, low=1)
    if number > n_layers:
        raise InputError(f"{argument}={number} for {n_layers} layers; expected 1 to {n_layers}")
    return number


def _checked(similarity: Any) -> np.ndarray:
    """A finite symmetric matrix; the diagonal, which is not used, becomes zero."""
    found = plain_array("similarity", similarity)
    if found.dtype.kind not in "fiub":
        raise InputError(f"similarity has dtype {found.dtype}; expected real numbers")
    matrix = np.array(found, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ShapeError(f"similarity has shape {matrix.shape}; expected (n_layers, n_layers)")
    np.fill_diagonal(matrix, 0.0)
    if not np.isfinite(matrix).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(matrix))[0])
        raise InputError(
            f"similarity is not finite between layers {row} and {column}; leave out the layers without one"
        )
    largest = float(np.abs(matrix).max())
    gap = np.abs(matrix - matrix.T)
    if gap.max() > 1e-6 * largest:
        row, column = (int(i) for i in np.unravel_index(gap.argmax(), gap.shape))
        raise InputError(
            f"similarity of layers {row} and {column} is {matrix[row, column]:.6g} one way and "
            f"{matrix[column, row]:.6g} the other; give a symmetric matrix, such as the mean of both"
        )
    return np.asarray((matrix + matrix.T) / 2)


def _block_scores(excess: np.ndarray) -> np.ndarray:
    """Sum of the pairs i < j of each block [first, last], (L, L); -inf where last < first."""
    upper = np.triu(excess, 1)
    # pairs inside [a, b]: the rows from a on, up to column b
    sums = np.cumsum(np.cumsum(upper[::-1], axis=0)[::-1], axis=1)
    return np.where(np.tri(len(excess), k=-1, dtype=bool), -np.inf, sums)


def _best_cuts(blocks: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Best score of 1 to `most` phases, and where the last phase of each prefix starts."""
    n_layers = len(blocks)
    best = blocks[0].copy()
    scores, previous = [best[-1]], np.zeros((most, n_layers), dtype=np.intp)
    for k in range(1, most):
        # the last phase starts at layer s, the k phases before it end at s - 1
        totals = np.full((n_layers, n_layers), -np.inf)
        totals[1:] = best[:-1, None] + blocks[1:]
        previous[k] = totals.argmax(axis=0)
        best = totals.max(axis=0)
        scores.append(best[-1])
    return np.array(scores), previous


def _traced(previous: np.ndarray, n_phases: int, n_layers: int) -> np.ndarray:
    edges = [n_layers]
    for k in range(n_phases - 1, -1, -1):
        edges.append(int(previous[k, edges[-1] - 1]))
    return np.array(edges[::-1])


def _neighbour_noise(matrix: np.ndarray) -> float:
    """Standard deviation of the noise, from differences along the rows of the upper triangle."""
    rows, columns = np.triu_indices(len(matrix), 1)
    inside = columns < len(matrix) - 1
    rows, columns = rows[inside], columns[inside]
    if not len(rows):
        return 0.0
    steps = np.abs(matrix[rows, columns + 1] - matrix[rows, columns])
    return float(np.median(steps)) / (_NORMAL_MAD * math.sqrt(2.0))


def _penalties(n_layers: int, most: int, noise: float) -> np.ndarray:
    """Union bound on the gain of the best cut of pure noise, by number of phases."""
    pairs = n_layers * (n_layers - 1) / 2
    cuts = np.array([math.log(math.comb(n_layers - 1, k)) for k in range(most)])
    out: np.ndarray = noise * np.sqrt(pairs / 2 * (cuts + math.log(n_layers / _CHANCE)))
    out[0] = 0.0
    return out
