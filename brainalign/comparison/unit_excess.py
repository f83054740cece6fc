"""Units with a counterpart in every other model, above what a rotated basis would give."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.comparison._option_checks import is_real, seed, whole_number
from brainalign.comparison._pairing import finite_matrix, paired
from brainalign.comparison._unit_curves import MIN_STIMULI, FloatArray, IntArray
from brainalign.comparison._unit_moments import ScaledMoments
from brainalign.errors import InputError, ShapeError

_ROUNDING = 64 * float(np.finfo(np.float64).eps)


class StreamingCorrelations:
    """Pearson correlations of all units of x with all units of y, from blocks of stimuli.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 3)), rng.normal(size=(100, 2))
    >>> stream = StreamingCorrelations()
    >>> for start in range(0, 100, 10):
    ...     stream = stream.partial_fit(x[start : start + 10], y[start : start + 10])
    >>> bool(np.allclose(stream.correlations(), np.corrcoef(x.T, y.T)[:3, 3:], atol=1e-12))
    True

    Notes
    -----
    Holds the means and centred products of the stimuli so far in float64, O(p q + q^2)
    memory whatever the number of stimuli; a block of m costs O(m q (p + q)) time. Exact over
    any cut into blocks up to rounding: blocks are merged by their means (Chan, Golub &
    LeVeque 1983, doi:10.1080/00031305.1983.10483115), not by sums of raw squares.
    """

    def __init__(self) -> None:
        self._moments: ScaledMoments | None = None

    @property
    def n_stimuli(self) -> int:
        """Stimuli so far."""
        return 0 if self._moments is None else self._moments.n

    def partial_fit(self, x: Any, y: Any) -> StreamingCorrelations:
        """Add a block of stimuli, x (n, p) and y (n, q), and return the stream itself.

        Raises
        ------
        ShapeError
            Another number of units than in the blocks before; different numbers of rows.
        InputError
            Values that are not finite.
        """
        first, second = finite_matrix("x", x), finite_matrix("y", y)
        if len(first) != len(second):
            raise ShapeError(
                f"x has {len(first)} rows and y has {len(second)}; both sides of a block hold the same rows"
            )
        if self._moments is None:
            self._moments = ScaledMoments(first.shape[1], second.shape[1])
        expected, found = self._moments.cross.shape, (first.shape[1], second.shape[1])
        if found != expected:
            raise ShapeError(
                f"the block has {found[0]} and {found[1]} units, the blocks before {expected[0]} and "
                f"{expected[1]}: a stream is of one pair of systems"
            )
        self._moments.add(first, second)
        return self

    def correlations(self) -> FloatArray:
        """Return the correlations (p, q); NaN, with a warning, for units that have not varied.

        Raises
        ------
        ShapeError
            Fewer than 3 stimuli so far.
        """
        r, _, x_varies, y_varies = self._normed()
        _warn_constant(x_varies, y_varies, stacklevel=2)
        r[~x_varies] = np.nan
        r[:, ~y_varies] = np.nan
        return np.clip(r, -1.0, 1.0)

    def _normed(self) -> tuple[FloatArray, FloatArray, np.ndarray, np.ndarray]:
        """Correlations x with y and y with y (0 for constant units), and which units vary."""
        if self._moments is None or self._moments.n < MIN_STIMULI:
            raise ShapeError(
                f"a stream of {self.n_stimuli} stimuli; correlations need at least {MIN_STIMULI}: add blocks "
                "with partial_fit first"
            )
        moments = self._moments
        factors = []
        for sums, varies in zip((moments.squares, np.diag(moments.gram)), moments.varies(), strict=True):
            factors.append(np.where(varies, 1.0 / np.sqrt(np.where(varies, sums, 1.0)), 0.0))
        fx, fy = factors
        return fx[:, None] * moments.cross * fy, fy[:, None] * moments.gram * fy, fx > 0, fy > 0


@dataclass(frozen=True, eq=False)
class ExcessCorrelation:
    """How much better each unit of x is matched in other models than in their rotated bases.

    Parameters
    ----------
    excess : array (p,), mean over models of best_r - rotated_r
    best_r : array (p, n_models), largest r with a unit of the model
    rotated_r : array (p, n_models), the same in the rotated basis, mean over rotations
    best_unit : array (p, n_models), the unit of `best_r`; -1 where there is none
    """

    excess: FloatArray
    best_r: FloatArray
    rotated_r: FloatArray
    best_unit: IntArray

    def universal(self, threshold: float = 0.5) -> np.ndarray:
        """Which units have an excess above the threshold, (p,) bool."""
        if not is_real(threshold):
            raise InputError(f"threshold={threshold!r}; expected one finite number")
        return np.nan_to_num(self.excess, nan=-np.inf) > threshold

    def to_frame(self) -> pd.DataFrame:
        """One row per unit and model: unit, model, best_unit, best_r, rotated_r."""
        p, m = self.best_r.shape
        return pd.DataFrame(
            {
                "unit": np.repeat(np.arange(p), m),
                "model": np.tile(np.arange(m), p),
                "best_unit": self.best_unit.ravel(),
                "best_r": self.best_r.ravel(),
                "rotated_r": self.rotated_r.ravel(),
            }
        )


def excess_correlation(
    x: Any,
    others: Sequence[Any],
    *,
    n_rotations: int = 1,
    block: int = 8192,
    random_state: int = 0,
) -> ExcessCorrelation:
    """Return how far each unit of x has its own counterpart in every other model.

    Parameters
    ----------
    x : array (n_stimuli, p), or Responses
    others : sequence of arrays (n_stimuli, q_m) or Responses, one per other model
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).
    n_rotations : random bases per model, whose best correlations are averaged
    block : stimuli at a time
    random_state : seed of the rotations

    Returns
    -------
    ExcessCorrelation. `excess` is in [-2, 2], about 0 for a model that shares the subspace
    but not the basis, and for an unrelated one. NaN, with a warning, for units that do not
    vary over stimuli.

    Raises
    ------
    InputError
        No other model, `n_rotations` or `block` below 1; and as in `compare`.
    ShapeError, AlignmentError
        As in `compare`; fewer than 3 stimuli.

    Notes
    -----
    ``mean_m [max_j r(i, j) - max_j r(i, rotated j)]``. The rotation is a random orthogonal
    basis of the z-scored units of the model; the correlations with it come from the
    accumulated products C_xy R and diag(R' C_yy R), not from a second pass over stimuli.
    Invariant to a positive factor and a shift of each unit and to the order of the units of
    x. Cost: O(n q (p + q)) time for the products and O(q^2 (p + q)) per rotation and model;
    O(p q + q^2) memory beside one block. Source: Gurnee et al. 2024, arXiv:2401.12181.
    Departure: units are z-scored before the rotation, so that a few units of large variance
    do not decide the rotated basis. A model of one unit that varies has no other basis, so its excess is 0.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(300, 20))
    >>> found = excess_correlation(x, [x[:, ::-1]])
    >>> bool((found.best_r > 0.999).all() and found.universal(0.3).all())
    True
    """
    models = _listed("others", others, "array")
    if not models:
        raise InputError("others holds no model; give at least one other model that saw the same stimuli")
    size = whole_number("block", block, low=1)
    streams = []
    for other in models:
        first, second = paired(x, other)
        stream = StreamingCorrelations()
        for start in range(0, len(first), size):
            stream.partial_fit(first[start : start + size], second[start : start + size])
        streams.append(stream)
    return _excess(streams, n_rotations, random_state, stacklevel=2)


def streamed_excess(
    streams: Sequence[StreamingCorrelations], *, n_rotations: int = 1, random_state: int = 0
) -> ExcessCorrelation:
    """Return the excess correlation of the units of x from streams of blocks.

    Parameters
    ----------
    streams : one `StreamingCorrelations` per other model, all of the same x
    n_rotations, random_state : as in `excess_correlation`

    Returns
    -------
    ExcessCorrelation, as from `excess_correlation` over all stimuli at once.

    Raises
    ------
    InputError
        No stream, `n_rotations` below 1.
    ShapeError
        A stream of fewer than 3 stimuli, streams of different numbers of units of x.

    Notes
    -----
    Cost: O(q^2 (p + q)) per rotation and stream. Source: as `excess_correlation`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(300, 20))
    >>> stream = StreamingCorrelations().partial_fit(x[:150], x[:150]).partial_fit(x[150:], x[150:])
    >>> streamed_excess([stream]).best_unit[:3, 0].tolist()
    [0, 1, 2]
    """
    given = _listed("streams", streams, "StreamingCorrelations")
    for i, stream in enumerate(given):
        if not isinstance(stream, StreamingCorrelations):
            raise InputError(f"streams[{i}] is {type(stream).__name__}; expected StreamingCorrelations")
    return _excess(given, n_rotations, random_state, stacklevel=2)


def _listed(name: str, values: Any, what: str) -> list[Any]:
    """The entries of a sequence; refuse a single array, whose rows would pass as entries."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(
            f"{name} is {type(values).__name__}; expected a list with one {what} per other model"
        )
    return list(values)


def _excess(
    streams: list[StreamingCorrelations], n_rotations: int, random_state: int, *, stacklevel: int
) -> ExcessCorrelation:
    draws = whole_number("n_rotations", n_rotations, low=1)
    if not streams:
        raise InputError("streams holds no stream; give one per other model")
    rng = np.random.default_rng(seed(random_state))
    columns = []
    for stream in streams:
        columns.append(_one_model(stream, draws, rng, stacklevel=stacklevel + 1))
    widths = {len(column[0]) for column in columns}
    if len(widths) > 1:
        raise ShapeError(f"streams of {sorted(widths)} units of x; all streams need the same units of x")
    best, rotated, unit = (np.stack([column[i] for column in columns], axis=1) for i in range(3))
    return ExcessCorrelation((best - rotated).mean(axis=1), best, rotated, unit.astype(np.int64))


def _one_model(
    stream: StreamingCorrelations, n_rotations: int, rng: np.random.Generator, *, stacklevel: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """best_r, rotated_r and best unit of each unit of x in one model."""
    cross, gram, x_varies, y_varies = stream._normed()
    _warn_constant(x_varies, y_varies, stacklevel=stacklevel + 1)
    p = len(cross)
    best, rotated, unit = np.full(p, np.nan), np.full(p, np.nan), np.full(p, -1.0)
    places = np.flatnonzero(y_varies)
    if not len(places) or not x_varies.any():
        return best, rotated, unit
    cross, gram = cross[np.ix_(x_varies, y_varies)], gram[np.ix_(y_varies, y_varies)]
    best[x_varies] = np.clip(cross.max(axis=1), -1.0, 1.0)
    unit[x_varies] = places[cross.argmax(axis=1)]
    total = np.zeros(int(x_varies.sum()))
    for _ in range(n_rotations):
        total += _rotated_best(cross, gram, rng)
    rotated[x_varies] = np.clip(total / n_rotations, -1.0, 1.0)
    return best, rotated, unit


def _rotated_best(cross: FloatArray, gram: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Largest correlation of each unit of x with a unit of the rotated model."""
    if len(gram) == 1:
        # one unit has no other basis: a change of its sign would pass for the loss of a counterpart
        return np.asarray(cross[:, 0])
    basis, triangle = np.linalg.qr(rng.normal(size=gram.shape))
    # without the signs of the diagonal, QR does not draw from the uniform distribution
    basis *= np.where(np.diag(triangle) < 0, -1.0, 1.0)
    variance = np.einsum("ij,ij->j", basis, gram @ basis)
    r = cross @ (basis / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)))
    out: FloatArray = np.where(variance > _ROUNDING * len(gram), r, -1.0).max(axis=1)
    return out


def _warn_constant(x_varies: np.ndarray, y_varies: np.ndarray, *, stacklevel: int) -> None:
    counts = [
        f"{int((~varies).sum())} of {len(varies)} units of {name}"
        for name, varies in (("x", x_varies), ("y", y_varies))
        if not varies.all()
    ]
    if counts:
        warnings.warn(
            f"{' and '.join(counts)} do not vary over stimuli: their correlations are NaN",
            stacklevel=stacklevel + 1,
        )
