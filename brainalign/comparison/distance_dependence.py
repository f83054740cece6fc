"""Distance correlation of two systems, as published (biased) and bias-corrected."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.comparison._centring import double_centred, u_centred_matrix
from brainalign.comparison._option_checks import flag
from brainalign.comparison._pairing import paired
from brainalign.comparison._spectra import FloatArray
from brainalign.comparison.cka import MIN_STIMULI
from brainalign.comparison.kernel_cka import squared_distances, unit_norm
from brainalign.errors import ShapeError


def centred_distances(x: np.ndarray, *, debiased: bool = False) -> FloatArray:
    """Centred Euclidean distances of x, (n, n), norm one; all NaN where x does not vary.

    Doubly centred, or U-centred (`debiased`). The inner product of two of these is the squared
    distance correlation.
    """
    distances = np.sqrt(squared_distances(x))
    centred = u_centred_matrix(distances) if flag("debiased", debiased) else double_centred(distances)
    return unit_norm(centred, float(distances.max(initial=0.0)))


def distance_inner_product(a: np.ndarray, b: np.ndarray) -> float:
    """Distance correlation of two matrices of `centred_distances` of the same form.

    The inner product of U-centred ones; its root for doubly centred ones. Which they are shows in
    the diagonal: U-centred matrices have zeros, and no distances that vary leave only zeros there
    when they are doubly centred.
    """
    value = float(np.vdot(a, b))
    if not np.diagonal(a).any():
        return min(max(value, -1.0), 1.0)
    # doubly centred distances have no negative product: what is below zero is rounding
    return float(np.sqrt(min(max(value, 0.0), 1.0)))


def distance_correlation_of(x: np.ndarray, y: np.ndarray, *, debiased: bool = False) -> float:
    """Distance correlation of paired finite arrays; NaN with a warning where a side does not vary."""
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"distance correlation over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    first, second = centred_distances(x, debiased=debiased), centred_distances(y, debiased=debiased)
    for name, matrix in (("x", first), ("y", second)):
        if np.isnan(matrix[0, 0]):
            warnings.warn(no_distances(name), stacklevel=3)
            return float("nan")
    return distance_inner_product(first, second)


def no_distances(name: str) -> str:
    """The reason for a distance correlation that is NaN."""
    return (
        f"distance correlation is NaN: {name} does not vary over stimuli (or, debiased, all its stimuli are "
        "equally far apart)"
    )


def distance_correlation(x: Any, y: Any, *, debiased: bool = False) -> float:
    """Return the distance correlation of x and y: dependence of any form, by their distances.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged). At least
        4 stimuli.
    debiased : bool
        False: the root of dCov^2(x, y) / sqrt(dCov^2(x, x) dCov^2(y, y)) over doubly centred
        Euclidean distances, in [0, 1]; it tends to 1 for unrelated x and y with many more units
        than stimuli. True: the bias-corrected squared distance correlation, a ratio of inner
        products of U-centred distances; about 0 for unrelated x and y, may be negative, hence not
        rooted and not clipped at 0: compare it with the square of the biased one.

    Returns
    -------
    float, 1 for x equal to y up to rotation, scale and shift. NaN, with a warning, where a side
    does not vary over stimuli, or (debiased) all its stimuli are equally far apart.

    Raises
    ------
    ShapeError
        Fewer than 4 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be rotated, its units permuted, scaled by one factor and shifted by a vector; no
    other linear map. In the population it is 0 only for independent x and y, unlike a linear
    measure. dCov^2 is four times the HSIC of the kernels (|a| + |b| - |a - b|) / 2. Cost
    O(n^2 (p + q)) time, O(n^2) memory; distances by Gram matrices, those of
    near stimuli by differences. Source: Szekely, Rizzo & Bakirov 2007,
    doi:10.1214/009053607000000505; U-centring of Szekely & Rizzo 2014, doi:10.1214/14-AOS1255.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 1))
    >>> distance_correlation(x, x**2) > 0.4
    True
    """
    first, second = paired(x, y)
    return distance_correlation_of(first, second, debiased=debiased)
