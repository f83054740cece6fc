"""Measures that follow from the thin decompositions of two systems and what the two have together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from brainalign.comparison._centring import FloatArray
from brainalign.comparison._measure import Measure
from brainalign.comparison._spectra import (
    Spectrum,
    cross,
    singular_values,
    spectrum_of,
    sum_of_singular_values,
)
from brainalign.comparison.bures import bures_of_spectra
from brainalign.comparison.cca import truncated, warn_degenerate
from brainalign.comparison.cka import u_statistic

# nearer than this the difference of two norms has lost the digits of a distance
_NEAR = 0.999
_CANCELLED = 1e-4
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class SpectrumPair:
    """Two decompositions and what several measures ask of them together; `swapped` is the pair (y, x)."""

    x: Spectrum
    y: Spectrum
    swapped: SpectrumPair | None = None

    @property
    def constant(self) -> bool:
        """Whether a side does not vary over stimuli."""
        return min(self.x.rank, self.y.rank) == 0

    @cached_property
    def cosines(self) -> FloatArray:
        """u_x' u_y, (r_x, r_y)."""
        return cross(self.x, self.y) if self.swapped is None else self.swapped.cosines.T

    @cached_property
    def similarity(self) -> float:
        """Nuclear norm of x'y for centred x and y of norm one."""
        if self.swapped is not None:
            return self.swapped.similarity
        total = sum_of_singular_values(self.x.s[:, None] * self.cosines * self.y.s)
        return total / float(np.sqrt(self.x.square_norm) * np.sqrt(self.y.square_norm))

    @cached_property
    def directions(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Directions of x (r_x, r), canonical correlations (r,), directions of y (r, r_y)."""
        if self.swapped is not None:
            left, values, right = self.swapped.directions
            return right.T, values, left.T
        left, values, right = np.linalg.svd(self.cosines, full_matrices=False)
        return left, np.minimum(values, 1.0), right

    @cached_property
    def canonical(self) -> FloatArray:
        """Canonical correlations (r,); without directions where nobody has asked for these."""
        if self.swapped is not None:
            return self.swapped.canonical
        if "directions" in self.__dict__:
            return self.directions[1]
        return np.minimum(singular_values(self.cosines), 1.0)


@dataclass(frozen=True, eq=False)
class Decomposed:
    """The values of a system and their decomposition."""

    values: FloatArray
    spectrum: Spectrum


def decomposed(values: FloatArray) -> Decomposed:
    """A system and its decomposition."""
    return Decomposed(values, spectrum_of(values, vectors=True))


def reordered_spectrum(found: Decomposed, order: np.ndarray) -> Decomposed:
    """The same with its stimuli in another order: only u has rows of stimuli."""
    return Decomposed(found.values[order], replace(found.spectrum, u=found.spectrum.u[order]))


@dataclass(frozen=True, eq=False)
class DecomposedPair:
    """Two systems with their values and their decompositions together."""

    x: FloatArray
    y: FloatArray
    spectra: SpectrumPair


def joined_spectra(x: Decomposed, y: Decomposed) -> DecomposedPair:
    """The pair of two systems."""
    return DecomposedPair(x.values, y.values, SpectrumPair(x.spectrum, y.spectrum))


def swapped_spectra(pair: DecomposedPair) -> DecomposedPair:
    """The pair (y, x), which takes what it needs from the pair (x, y)."""
    spectra = SpectrumPair(pair.spectra.y, pair.spectra.x, swapped=pair.spectra)
    return DecomposedPair(pair.y, pair.x, spectra)


def _cka(pair: SpectrumPair, *, debiased: bool) -> float:
    x, y = pair.x, pair.y
    if pair.constant:
        return float("nan")
    a, b = np.square(x.s) / x.square_norm, np.square(y.s) / y.square_norm
    xy, xx, yy = float(a @ np.square(pair.cosines) @ b), float(a @ a), float(b @ b)
    if debiased:
        k, other = x.row_norms / x.square_norm, y.row_norms / y.square_norm
        xy, xx, yy = u_statistic(xy, k, other), u_statistic(xx, k, k), u_statistic(yy, other, other)
    if min(xx, yy) <= 64 * _EPS:
        return float("nan")
    return xy / float(np.sqrt(xx) * np.sqrt(yy))


def _nbs(pair: SpectrumPair) -> float:
    return float("nan") if pair.constant else min(pair.similarity, 1.0)


def _bures(pair: SpectrumPair) -> float:
    x, y = pair.x, pair.y
    top = max(x.scale, y.scale)
    a, b = (side.scale / top * float(np.sqrt(side.square_norm)) for side in (x, y))
    total = a * a + b * b
    square = 0.0 if pair.constant else total - 2.0 * a * b * pair.similarity
    if square <= _CANCELLED * total:
        return bures_of_spectra(x, y, pair.cosines)
    return float(np.sqrt(square / x.n)) * top


def _cca(pair: SpectrumPair) -> float:
    warn_degenerate("CCA", pair.x, pair.y)
    return float("nan") if pair.constant else float(pair.canonical.mean())


def _svcca(pair: SpectrumPair) -> float:
    x, y = truncated(pair.x, 0.99), truncated(pair.y, 0.99)
    warn_degenerate("SVCCA", x, y)
    if pair.constant:
        return float("nan")
    if (x.rank, y.rank) == (pair.x.rank, pair.y.rank):
        return float(pair.canonical.mean())
    return min(sum_of_singular_values(pair.cosines[: x.rank, : y.rank]) / min(x.rank, y.rank), 1.0)


def _pwcca(pair: SpectrumPair) -> float:
    warn_degenerate("PWCCA", pair.x, pair.y)
    if pair.constant:
        return float("nan")
    assert pair.x.vt is not None
    left, values, _ = pair.directions
    weights = np.abs(left.T @ (pair.x.s[:, None] * pair.x.vt)).sum(axis=1)
    return min(float(weights @ values / weights.sum()), 1.0)


SPECTRAL: dict[str, Callable[[SpectrumPair], float]] = {
    "cka": partial(_cka, debiased=True),
    "cka_biased": partial(_cka, debiased=False),
    "rv": partial(_cka, debiased=False),
    "rsa_whitened_cosine": partial(_cka, debiased=False),
    "nbs": _nbs,
    "bures": _bures,
    "cca": _cca,
    "svcca": _svcca,
    "pwcca": _pwcca,
}
"""Measures of two decompositions, without options."""

# distances that follow from the nuclear norm; near 0 they are computed from the residual instead
OF_SIMILARITY: dict[str, Callable[[float], float]] = {
    "procrustes": lambda s: float(np.sqrt(2.0 - 2.0 * s)),
    "angular_procrustes": lambda s: float(np.arccos(s)),
    "shape": lambda s: float(np.arccos(s)),
}
"""Distances that follow from the nuclear norm of x'y, without options."""


def spectral_value(pair: DecomposedPair, *, name: str) -> float:
    """A measure of `SPECTRAL`."""
    return SPECTRAL[name](pair.spectra)


def distance_value(pair: DecomposedPair, *, measure: Measure) -> float:
    """A distance of `OF_SIMILARITY`; by its own function where x and y are near or one is constant."""
    similarity = float("nan") if pair.spectra.constant else pair.spectra.similarity
    if not similarity < _NEAR:
        return float(measure.function(pair.x, pair.y))
    return OF_SIMILARITY[measure.name](similarity)
