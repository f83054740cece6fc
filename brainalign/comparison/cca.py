"""Canonical correlation of two systems: mean, truncated, projection-weighted, regularised."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from brainalign.comparison._option_checks import flag, is_real
from brainalign.comparison._pairing import paired
from brainalign.comparison._spectra import FloatArray, Spectrum, cross, singular_values, spectrum_of
from brainalign.errors import InputError, ShapeError

MIN_STIMULI = 3


def canonical_correlations(x: Spectrum, y: Spectrum, *, ridge: float = 0.0) -> FloatArray:
    """Canonical correlations of two spectra, (min(r_x, r_y),), largest covariance first.

    With `ridge`, the covariance C of each side is replaced by (1 - ridge) C + ridge t I, where t
    is the mean of its eigenvalues that are not zero, and what is returned is the correlation of
    the variates so found, not the singular value, so that equal systems keep 1.
    """
    cosines = cross(x, y)
    if 0 in cosines.shape:
        return np.zeros(0)
    if ridge == 0.0:
        correlations: FloatArray = np.minimum(singular_values(cosines), 1.0)
        return correlations
    a, b = _shrunk(x, ridge), _shrunk(y, ridge)
    left, values, right = np.linalg.svd(a[:, None] * cosines * b, full_matrices=False)
    norms = np.linalg.norm(a[:, None] * left, axis=0) * np.linalg.norm(right * b, axis=1)
    correlations = np.minimum(values / norms, 1.0)
    return correlations


def _shrunk(x: Spectrum, ridge: float) -> FloatArray:
    """What is left of each direction of unit variance after whitening with the shrunk covariance."""
    squares = np.square(x.s / x.s[0])
    shrunk: FloatArray = np.sqrt(squares / ((1.0 - ridge) * squares + ridge * squares.mean()))
    return shrunk


def cca_of_spectra(x: Spectrum, y: Spectrum, *, ridge: float = 0.0, squared: bool = False) -> float:
    """Mean canonical correlation (or its square) over min(r_x, r_y); NaN where a side is constant."""
    if min(x.rank, y.rank) == 0:
        return float("nan")
    values = canonical_correlations(x, y, ridge=ridge)
    return float(np.mean(np.square(values) if squared else values))


def truncated(x: Spectrum, threshold: float) -> Spectrum:
    """The fewest leading directions that hold the share `threshold` of the variance."""
    if x.rank == 0 or threshold == 1.0:
        return x
    shares = np.cumsum(np.square(x.s / x.s[0]))
    # the sum of the shares is one up to rounding
    needed = threshold * shares[-1] * (1.0 - 1e-12)
    return x.leading(int(np.searchsorted(shares, needed)) + 1)


def pwcca_of_spectra(x: Spectrum, y: Spectrum) -> float:
    """Projection-weighted CCA; `x` holds `vt`. NaN where a side is constant."""
    if min(x.rank, y.rank) == 0:
        return float("nan")
    assert x.vt is not None
    left, values, _ = np.linalg.svd(cross(x, y), full_matrices=False)
    weights = np.abs(left.T @ (x.s[:, None] * x.vt)).sum(axis=1)
    return min(float(weights @ np.minimum(values, 1.0) / weights.sum()), 1.0)


def degenerate(x: Spectrum, y: Spectrum) -> str | None:
    """The reason why canonical correlations mean nothing here, or None."""
    room = x.n - 1
    if x.rank + y.rank < room:
        return None
    forced = max(x.rank + y.rank - room, 0)
    return (
        f"the ranks {x.rank} of x and {y.rank} of y fill the {room} dimensions that {x.n} stimuli span: "
        f"{forced} of {min(x.rank, y.rank)} canonical correlations are 1 whatever x and y are, the others "
        "are raised too, and the value means nothing; use more stimuli, fewer components (svcca with a lower "
        "threshold), linear_predictivity or cka"
    )


def _spectra(name: str, x: np.ndarray, y: np.ndarray, *, vectors: bool = False) -> tuple[Spectrum, Spectrum]:
    if len(x) < MIN_STIMULI:
        raise ShapeError(f"{name} over {len(x)} stimuli; it needs at least {MIN_STIMULI}")
    return spectrum_of(x, vectors=vectors), spectrum_of(y)


def warn_degenerate(name: str, x: Spectrum, y: Spectrum) -> None:
    """Warn of a value that is NaN or means nothing; the warning names the caller of the public function."""
    if min(x.rank, y.rank) == 0:
        side = "x" if x.rank == 0 else "y"
        warnings.warn(f"{name} is NaN: {side} does not vary over stimuli", stacklevel=4)
        return
    reason = degenerate(x, y)
    if reason is not None:
        warnings.warn(f"{name}: {reason}", stacklevel=4)


def _check_share(name: str, value: float, *, zero: bool) -> None:
    if not is_real(value) or not (0.0 < value <= 1.0 or (zero and value == 0.0)):
        raise InputError(f"{name}={value!r}; expected a number in {'[' if zero else '('}0, 1]")


def cca_of(x: np.ndarray, y: np.ndarray, *, ridge: float = 0.0, squared: bool = False) -> float:
    """Mean canonical correlation of paired finite arrays; warns where it is degenerate or NaN."""
    _check_share("ridge", ridge, zero=True)
    flag("squared", squared)
    first, second = _spectra("CCA", x, y)
    warn_degenerate("CCA", first, second)
    return cca_of_spectra(first, second, ridge=ridge, squared=squared)


def svcca_of(x: np.ndarray, y: np.ndarray, *, threshold: float = 0.99, squared: bool = False) -> float:
    """SVCCA of paired finite arrays; warns where it is degenerate or NaN."""
    _check_share("threshold", threshold, zero=False)
    flag("squared", squared)
    first, second = (truncated(side, threshold) for side in _spectra("SVCCA", x, y))
    warn_degenerate("SVCCA", first, second)
    return cca_of_spectra(first, second, squared=squared)


def pwcca_of(x: np.ndarray, y: np.ndarray) -> float:
    """PWCCA of paired finite arrays, weighted by x; warns where it is degenerate or NaN."""
    first, second = _spectra("PWCCA", x, y, vectors=True)
    warn_degenerate("PWCCA", first, second)
    return pwcca_of_spectra(first, second)


def canonical_correlation(x: Any, y: Any, *, ridge: float = 0.0, squared: bool = False) -> float:
    """Return the mean canonical correlation of x and y.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        Arrays are joined by position, `Responses` by `stimulus_id` (repeats averaged). At least
        3 stimuli.
    ridge : float in [0, 1]
        0: CCA. Above: each covariance C becomes (1 - ridge) C + ridge t I, with t the mean of its
        non-zero eigenvalues, and the correlations of the variates so found are averaged; 1 is
        partial least squares. Equal systems have 1 at any ridge.
    squared : mean of the squared correlations

    Returns
    -------
    float in [0, 1]: the sum over the smaller of the two ranks, which is min(p, q) where no unit
    is a combination of others. NaN, with a warning, where a side does not vary over stimuli.

    Warns
    -----
    UserWarning
        rank(x) + rank(y) >= n - 1. Then some correlations are 1 and the others raised for any x
        and y: the value says nothing of them. It is returned all the same.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError
        `ridge` outside [0, 1]; values that are not finite.
    AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be mapped by any invertible linear map (ridge above 0: rotated and scaled by one
    factor only) and shifted. Computed on the data it is fitted to, hence biased upwards: about
    sqrt(max(p, q) / n) for unrelated x and y. Numerical rank as in the thin SVD: singular values
    at the rounding of x are no directions; float32 responses whose units are combinations of one
    another keep directions of their own rounding. Cost O(n p min(n, p) + n q min(n, q) + r^3)
    time, O(n (p + q)) memory. Source: Hotelling 1936, doi:10.1093/biomet/28.3-4.321; as a
    similarity Raghu et al. 2017, arXiv:1706.05806. Departure: the sum is divided by the smaller
    rank, so that a duplicated unit changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(canonical_correlation(x, x @ np.array([[1.0, 2, 0], [0, 1, 0], [0, 5, 3]])), 6)
    1.0
    """
    first, second = paired(x, y)
    return cca_of(first, second, ridge=ridge, squared=squared)


def svcca(x: Any, y: Any, *, threshold: float = 0.99, squared: bool = False) -> float:
    """Return the SVCCA of x and y: CCA between their leading principal components.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        As in `canonical_correlation`.
    threshold : float in (0, 1]
        Each side keeps the fewest components that hold this share of its variance, the sum of
        the squared singular values (not of the singular values).
    squared : mean of the squared correlations

    Returns
    -------
    float in [0, 1]. NaN, with a warning, where a side does not vary over stimuli. Warns, as
    `canonical_correlation` does, where the kept components fill the space of the stimuli.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError
        `threshold` outside (0, 1]; values that are not finite.
    AlignmentError
        As in `compare`.

    Notes
    -----
    Each side may be rotated, scaled by one factor and shifted; not mapped by any invertible map,
    which changes what the leading components are. Cost as `canonical_correlation`. Source: Raghu
    et al. 2017, arXiv:1706.05806.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(svcca(x, -2.0 * x[:, ::-1]), 6)
    1.0
    """
    first, second = paired(x, y)
    return svcca_of(first, second, threshold=threshold, squared=squared)


def pwcca(x: Any, y: Any) -> float:
    """Return the projection-weighted CCA of x and y; the weights are those of x.

    Each canonical correlation is weighted by how much of x its variate accounts for: the sum over
    the units of x of the absolute product of the variate, of norm one, with the centred unit.

    Parameters
    ----------
    x, y : arrays (n_stimuli, p) and (n_stimuli, q), or Responses
        As in `canonical_correlation`.

    Returns
    -------
    float in [0, 1]; in general not that of (y, x). NaN, with a warning, where a side does not vary
    over stimuli. Warns as `canonical_correlation` does.

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, different numbers of rows.
    InputError, AlignmentError
        As in `compare`.

    Notes
    -----
    y may be mapped by any invertible map and shifted; the units of x may be permuted, scaled by
    one factor and shifted, but not rotated: the absolute values are per unit. **Where some of the
    correlations are equal and others are not** (units that x and y share exactly, beside others) the
    variates of the equal ones are one choice of many, their weights follow the choice, and the
    value is that of the choice, which a rotation of y or rounding may change. Cost as
    `canonical_correlation`. Source: Morcos, Raghu & Bengio 2018, arXiv:1806.05759. Departure: ranks in
    place of numbers of units.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(pwcca(x, x @ np.array([[1.0, 2, 0], [0, 1, 0], [0, 5, 3]])), 6)
    1.0
    """
    first, second = paired(x, y)
    return pwcca_of(first, second)
