"""How many dimensions a representation fills, from the spectrum of its covariance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from brainalign._checks import one_of
from brainalign.comparison._descriptor_spectrum import covariance_spectrum, unit_scale, varying
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import plain_array

WINDOW = (11, 100)


class PowerLaw(NamedTuple):
    """Eigenvalue k falls as k^-alpha: the exponent, and the r2 of the line in log-log coordinates."""

    alpha: float
    r2: float


def participation_ratio(x: object) -> float:
    """Return the participation ratio of the covariance eigenvalues, (sum l)^2 / sum l^2.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
        At least 3 stimuli. Centred; computed in float64.

    Returns
    -------
    float in [1, min(n_stimuli - 1, n_units)]: the number of equal eigenvalues that would
    give this ratio.

    Raises
    ------
    ShapeError, InputError
        Fewer than 3 stimuli, another number of axes; values that are not finite, no variance.

    Notes
    -----
    Invariant to rotation and permutation of units, to one factor and to a vector added to
    every row; not to a general invertible map. Too low when stimuli are few: n stimuli hold
    at most n - 1 dimensions, and for Gaussian noise of p equal variances about
    1 / (1/n + 1/p) of them. Time O(n p min(n, p)), memory of one copy of x and
    O(min(n, p)^2). Source: Gao et al. 2017, doi:10.1101/214262.

    Examples
    --------
    >>> import numpy as np
    >>> round(participation_ratio(np.vstack([np.eye(4), -np.eye(4)])), 6)
    4.0
    """
    return participation_of(covariance_spectrum(varying("x", x)).shares)


def participation_of(shares: np.ndarray) -> float:
    """Participation ratio of eigenvalues that sum to one."""
    return 1.0 / float(shares @ shares)


def rankme(x: object, *, of: str = "eigenvalues") -> float:
    """Return the effective rank: the exponential of the entropy of the spectrum.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
        At least 3 stimuli. Centred; computed in float64.
    of : ``"eigenvalues"`` of the covariance, or ``"singular_values"`` of the centred x
        Singular values are the roots of the eigenvalues: the second form is never lower.
        Values of the two must not be compared.

    Returns
    -------
    float in [1, min(n_stimuli - 1, n_units)]

    Raises
    ------
    ShapeError, InputError
        As in `participation_ratio`; `of` is unknown.

    Notes
    -----
    Invariances, bias and cost of `participation_ratio`. Source: Garrido et al. 2023,
    arXiv:2210.02885 (singular values of embeddings that are not centred, with a small
    constant added to each share; here x is centred and nothing is added); covariance
    eigenvalues as in Li et al. 2025, arXiv:2509.23024. Singular values below about 1e-7 of
    the largest count as zero.

    Examples
    --------
    >>> import numpy as np
    >>> round(rankme(np.vstack([np.eye(32), -np.eye(32)])), 6)
    32.0
    """
    one_of("of", of, ("eigenvalues", "singular_values"))
    return rankme_of(covariance_spectrum(varying("x", x)).shares, of=of)


def rankme_of(shares: np.ndarray, *, of: str) -> float:
    """Effective rank of eigenvalues that sum to one, or of their roots."""
    kept = shares[shares > 0]
    if of == "singular_values":
        kept = np.sqrt(kept)
        kept = kept / kept.sum()
    return float(np.exp(-(kept @ np.log(kept))))


def alpha_req(x: object = None, *, window: tuple[int, int] = WINDOW, eigenvalues: Any = None) -> PowerLaw:
    """Return the decay of the eigenspectrum: minus the slope of log eigenvalue on log rank.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
        Centred; computed in float64. None where `eigenvalues` are given.
    window : (first, last)
        Ranks that enter the fit, counted from 1, both included. The last eigenvalues of a
        sample fall too fast, so a fit over all ranks is far too steep where stimuli are few.
    eigenvalues : array (n_values,), descending, or None
        A spectrum in place of x, for example of `cross_validated_spectrum`. Those of the
        window must be positive.

    Returns
    -------
    PowerLaw
        `alpha` (0 for a flat spectrum) and `r2` of the fit in log-log coordinates (1 where
        the line goes through all points, as it does for a flat spectrum).

    Raises
    ------
    ShapeError
        The window asks for more ranks than there are eigenvalues above rounding.
    InputError
        Both or neither of `x` and `eigenvalues`; a window that is not two ranks in rising
        order; eigenvalues in the window that are not positive; as in `participation_ratio`.

    Notes
    -----
    Every rank has the same weight; `power_law` has weights that give every octave the same.
    Invariances and cost of `participation_ratio`. For Gaussian data with 512 units and
    alpha 0.6, 1, 1.5 the window gives 0.55, 0.97, 1.49 at 1000 stimuli and 0.595, 0.997,
    1.498 at 15000; a fit over all ranks gives 1.00, 1.32, 1.77 at 1000.
    Source: Agrawal et al. 2022 (NeurIPS, alpha-ReQ).

    Examples
    --------
    >>> import numpy as np
    >>> fit = alpha_req(eigenvalues=np.arange(1.0, 201.0) ** -1.5)
    >>> round(fit.alpha, 6), round(fit.r2, 6)
    (1.5, 1.0)
    """
    return power_law_of(_spectrum(x, eigenvalues), window=window, octaves=False)


def power_law(x: object = None, *, window: tuple[int, int] = WINDOW, eigenvalues: Any = None) -> PowerLaw:
    """Return the exponent of the eigenspectrum from a fit in which every octave of ranks counts the same.

    The weight of rank k is 1 / k; in all else this is `alpha_req`, with its parameters,
    errors, invariances and cost.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
    window : (first, last), ranks counted from 1, both included
    eigenvalues : array (n_values,), descending, in place of x

    Returns
    -------
    PowerLaw
        `alpha`, and the weighted `r2`.

    Raises
    ------
    ShapeError, InputError
        As in `alpha_req`.

    Notes
    -----
    Source: Stringer et al. 2019, doi:10.1038/s41586-019-1346-5, who fit ranks 11 to 500 of
    a cross-validated spectrum; the window here is that of `alpha_req`.

    Examples
    --------
    >>> import numpy as np
    >>> round(power_law(eigenvalues=np.arange(1.0, 201.0) ** -0.5, window=(5, 50)).alpha, 6)
    0.5
    """
    return power_law_of(_spectrum(x, eigenvalues), window=window, octaves=True)


def _spectrum(x: object, eigenvalues: Any) -> np.ndarray:
    """The spectrum to fit: of x, or as given, in which case its scale is removed."""
    if (x is None) == (eigenvalues is None):
        raise InputError("give x or eigenvalues, one of the two")
    if eigenvalues is None:
        return covariance_spectrum(varying("x", x)).shares
    values = plain_array("eigenvalues", eigenvalues)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(
            f"eigenvalues have shape {values.shape}, dtype {values.dtype}; expected real numbers (n_values,)"
        )
    if not np.isfinite(values).all():
        raise InputError(f"eigenvalue {int(np.argmin(np.isfinite(values))) + 1} is not finite")
    return unit_scale(values.astype(np.float64))


def power_law_of(values: np.ndarray, *, window: tuple[int, int], octaves: bool) -> PowerLaw:
    """Weighted least squares of log value on log rank in the window."""
    first, last = check_window(window)
    chosen = values[first - 1 : last]
    positive = int(np.count_nonzero(values > 0))
    if len(values) < last or (chosen[-1] == 0 and not (chosen < 0).any()):
        raise ShapeError(
            f"window ({first}, {last}) needs {last} eigenvalues above rounding, there are {positive} "
            f"of {len(values)}; use more stimuli or units, or a window that ends at {positive} or before"
        )
    if (chosen <= 0).any():
        rank = first + int(np.argmax(chosen <= 0))
        raise InputError(
            f"eigenvalue {rank} is {chosen[rank - first]:.3g} and has no logarithm; end the window "
            f"({first}, {last}) before it"
        )
    ranks = np.arange(first, last + 1, dtype=np.float64)
    weights = 1.0 / ranks if octaves else np.ones(len(ranks))
    weights /= weights.sum()
    logs = np.log(chosen)
    abscissa = np.log(ranks) - weights @ np.log(ranks)
    ordinate = logs - weights @ logs
    slope = float((weights * abscissa) @ ordinate) / float(weights @ abscissa**2)
    total = float(weights @ ordinate**2)
    residual = float(weights @ (ordinate - slope * abscissa) ** 2)
    # a flat spectrum leaves rounding in both sums, and the ratio of the two says nothing
    rounding = (64 * np.finfo(np.float64).eps * (1.0 + float(np.abs(logs).max()))) ** 2
    return PowerLaw(-slope, 1.0 if total <= rounding else 1.0 - residual / total)


def check_window(window: tuple[int, int]) -> tuple[int, int]:
    """Refuse a window that is not two ranks in rising order."""
    ranks = tuple(window) if isinstance(window, (tuple, list)) else ()
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in ranks)
    if len(ranks) != 2 or not whole or not 1 <= ranks[0] < ranks[1]:
        raise InputError(f"window={window!r}; expected two ranks (first, last), 1 <= first < last")
    return int(ranks[0]), int(ranks[1])
