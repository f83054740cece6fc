"""One representation made ready for its descriptors: centred rows, and the spectrum of their covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainalign.comparison._pairing import finite_matrix, stimulus_means
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

MIN_STIMULI = 3


@dataclass(frozen=True, eq=False)
class CentredRows:
    """Stimuli with centred units, in units of the largest deviation.

    `values` (n_stimuli, n_units): units that do not vary are exactly 0, all others lie in
    [-1, 1]. `rounding`: how far two equal stimuli may lie apart through rounding alone.
    `scale`: the largest deviation in the unit of the responses, 0 where nothing varies.
    """

    values: np.ndarray
    rounding: float
    scale: float

    @property
    def varies(self) -> bool:
        return bool(self.values.any())


@dataclass(frozen=True, eq=False)
class CovarianceSpectrum:
    """Eigenvalues of the covariance over stimuli, descending, as shares that sum to one.

    `shares` (min(n_stimuli, n_units),); those below the rounding of the decomposition are 0,
    all are 0 where nothing varies. `rank` counts the others.
    """

    shares: np.ndarray

    @property
    def rank(self) -> int:
        return int(np.count_nonzero(self.shares))


def stimulus_rows(name: str, x: object) -> np.ndarray:
    """Return x as finite float64 (n_stimuli, n_units); `Responses` are averaged over repeats."""
    values = stimulus_means(name, x).values if isinstance(x, Responses) else finite_matrix(name, x)
    if len(values) < MIN_STIMULI:
        raise ShapeError(f"{name} has {len(values)} stimuli; a descriptor needs at least {MIN_STIMULI}")
    return values


def centred_rows(name: str, x: object) -> CentredRows:
    """Return the centred stimuli of x; no descriptor depends on the scale, which is removed."""
    return centre(stimulus_rows(name, x))


def centre(values: np.ndarray) -> CentredRows:
    """Centre the columns and divide by the largest deviation, so that squares neither overflow nor vanish."""
    scale = float(np.abs(values).max(initial=0.0))
    values = unit_scale(values)
    largest = np.abs(values).max(axis=0)
    out = values - values.mean(axis=0)
    # what a constant unit leaves is the rounding of its mean
    out[:, np.abs(out).max(axis=0) <= len(values) * np.finfo(np.float64).eps * largest] = 0.0
    deviation = float(np.abs(out).max())
    if deviation == 0.0:
        return CentredRows(out, 0.0, 0.0)
    out /= deviation
    relative = largest / deviation
    relative = relative[out.any(axis=0)]
    rounding = 16 * np.finfo(np.float64).eps * float(np.linalg.norm(relative))
    return CentredRows(out, rounding, scale * deviation)


def unit_scale(values: np.ndarray) -> np.ndarray:
    """Values divided by the largest absolute one; unchanged where all are zero."""
    largest = float(np.abs(values).max(initial=0.0))
    return values / largest if largest > 0 else values


def varying(name: str, x: object) -> CentredRows:
    """Return the centred stimuli of x; refuse one that does not vary."""
    rows = centred_rows(name, x)
    if not rows.varies:
        raise no_variance(name, rows.values.shape)
    return rows


def no_variance(name: str, shape: tuple[int, ...]) -> InputError:
    """The error for a representation without variance."""
    return InputError(
        f"{name} does not vary: all {shape[0]} stimuli have the same response in each of {shape[1]} units; "
        "give a representation with variance over stimuli"
    )


def covariance_spectrum(rows: CentredRows) -> CovarianceSpectrum:
    """Spectrum of the covariance of centred stimuli, by the smaller Gram matrix.

    Cost n p min(n, p) + min(n, p)^3 in time, min(n, p)^2 in memory beside the values.
    """
    values = rows.values
    n, p = values.shape
    gram = values @ values.T if n < p else values.T @ values
    eigenvalues = np.linalg.eigvalsh(gram)[::-1]
    # what the decomposition leaves in empty directions is of either sign and of this size
    floor = max(n, p) * np.finfo(np.float64).eps * max(float(eigenvalues[0]), 0.0)
    shares = np.where(eigenvalues > floor, eigenvalues, 0.0)
    total = float(shares.sum())
    return CovarianceSpectrum(shares / total if total > 0 else shares)
