"""Bures distance of two systems and its normalised similarity."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.comparison._pairing import paired
from brainalign.comparison._spectra import FloatArray, Spectrum, cross, nuclear_norm, spectrum_of
from brainalign.errors import ShapeError

MIN_STIMULI = 2
# below this share of the squared norms the difference of the three terms has lost half its digits
_CANCELLED = 1e-5


def bures_of_spectra(x: Spectrum, y: Spectrum, cosines: FloatArray) -> float:
    """Bures distance of the two Gram matrices over n; `cosines` is `cross` of the two."""
    # the scale of a side that does not vary says nothing
    top = max((side.scale for side in (x, y) if side.rank), default=1.0)
    a, b = (side.s * (side.scale / top) if side.rank else side.s for side in (x, y))
    total = float(a @ a + b @ b)
    if total == 0.0:
        return 0.0
    left, values, right = np.linalg.svd(a[:, None] * cosines * b)
    square = total - 2.0 * float(values.sum())
    if square <= _CANCELLED * total:  # nearly equal: the residual itself keeps the digits
        square = _residual(x.u * a @ left, y.u * b @ right.T)
    return float(np.sqrt(square / x.n)) * top


def _residual(x: FloatArray, y: FloatArray) -> float:
    """Squared norm of x - y, the narrower one filled up with zeros."""
    width = min(x.shape[1], y.shape[1])
    square = np.sum(np.square(x[:, :width] - y[:, :width]))
    return float(square + np.sum(np.square(x[:, width:])) + np.sum(np.square(y[:, width:])))


def nbs_of_spectra(x: Spectrum, y: Spectrum, cosines: FloatArray) -> float:
    """Normalised Bures similarity; NaN where a side does not vary."""
    if x.rank == 0 or y.rank == 0:
        return float("nan")
    norms = np.sqrt(x.square_norm) * np.sqrt(y.square_norm)
    return min(nuclear_norm(x, y, cosines) / float(norms), 1.0)


def _decomposed(name: str, x: np.ndarray, y: np.ndarray) -> tuple[Spectrum, Spectrum, FloatArray]:
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"{name} over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    first, second = spectrum_of(x), spectrum_of(y)
    return first, second, cross(first, second)


def bures_distance_of(x: np.ndarray, y: np.ndarray) -> float:
    """Bures distance of paired finite arrays."""
    return bures_of_spectra(*_decomposed("the Bures distance", x, y))


def nbs_of(x: np.ndarray, y: np.ndarray) -> float:
    """Normalised Bures similarity of paired finite arrays; NaN with a warning where a side is constant."""
    first, second, cosines = _decomposed("the normalised Bures similarity", x, y)
    value = nbs_of_spectra(first, second, cosines)
    if np.isnan(value):
        name = "x" if first.rank == 0 else "y"
        warnings.warn(f"normalised Bures similarity is NaN: {name} does not vary over stimuli", stacklevel=3)
    return value


def bures_distance(x: Any, y: Any) -> float:
    """Return the Bures distance of the covariances over stimuli of x and y; 0 is the same.

    The distance of the Gram matrices K = X X' / n and L = Y Y' / n of the centred responses,
    sqrt(tr K + tr L - 2 tr (K^1/2 L K^1/2)^1/2), which is min over rotations Q of
    |X Q - Y| / sqrt(n) (the narrower side filled up with zeros): the Euclidean Procrustes
    distance of the two shapes with their sizes, per stimulus.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).

    Returns
    -------
    float >= 0, unsquared, in the unit of the responses. It is defined where a side does not vary:
    then it is the root of the other's variance.

    Raises
    ------
    ShapeError
        Fewer than 2 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be rotated, its units permuted and shifted by a vector. It is not invariant to
    scale, on purpose: `normalised_bures_similarity` is. A metric: symmetric, triangle inequality,
    0 only up to these maps. Cost O(n p min(n, p) + n q min(n, q) + r^3) time with r the smaller
    rank, O(n (p + q)) memory; the product (p, q) is never built. Source: Bhatia, Jain & Lim 2019,
    doi:10.1016/j.exmath.2018.01.002; on representations Harvey, Larsen & Williams 2023,
    PMLR 243:60. Some code returns the square of this distance.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> bool(bures_distance(x, x[:, ::-1] + 1.0) < 1e-12)
    True
    """
    return bures_distance_of(*paired(x, y))


def normalised_bures_similarity(x: Any, y: Any) -> float:
    """Return the normalised Bures similarity: the cosine of the angular Procrustes distance.

    The nuclear norm of X'Y over |X| |Y|, for centred X and Y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged).

    Returns
    -------
    float in [0, 1]; 1 for x equal to y up to rotation, scale and shift. NaN, with a warning, where
    a side does not vary over stimuli.

    Raises
    ------
    ShapeError
        Fewer than 2 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be rotated, its units permuted, scaled by one factor and shifted by a vector.
    Biased upwards: for unrelated x and y it grows with units per stimulus and tends to 1.
    Cost as `bures_distance`. Source: Harvey, Larsen & Williams 2023, PMLR 243:60.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> round(normalised_bures_similarity(x, 3.0 * x[:, ::-1] + 1.0), 6)
    1.0
    """
    return nbs_of(*paired(x, y))
