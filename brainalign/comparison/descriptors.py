"""All descriptors of the geometry of one representation, from one decomposition."""

from __future__ import annotations

import warnings

import numpy as np

from brainalign.comparison._descriptor_spectrum import centred_rows, covariance_spectrum
from brainalign.comparison.intrinsic_dimension import check_discard, two_nn_or_reason
from brainalign.comparison.spectral_descriptors import (
    WINDOW,
    PowerLaw,
    check_window,
    participation_of,
    power_law_of,
    rankme_of,
)

_UNDEFINED = PowerLaw(float("nan"), float("nan"))


def describe_geometry(
    x: object, *, window: tuple[int, int] = WINDOW, discard: float = 0.1
) -> dict[str, float]:
    """Return the descriptors of the geometry of one representation.

    Parameters
    ----------
    x : array (n_stimuli, n_units), or Responses (repeats averaged)
        At least 3 stimuli. Centred; computed in float64.
    window : (first, last)
        Ranks of the power law, counted from 1, both included.
    discard : float in [0, 1)
        Share of the largest neighbour ratios left out by `two_nn`.

    Returns
    -------
    dict of float (counts are int)
        n_stimuli, n_units
        rank
            Eigenvalues above rounding.
        first_share
            Share of the variance along the first principal component, in (0, 1].
        n_components_90
            Fewest principal components with 90 % of the variance.
        participation_ratio, rankme, rankme_singular_values
            See `participation_ratio` and `rankme`; `rankme` is that of the eigenvalues.
        alpha_req, alpha_req_r2, power_law, power_law_r2
            See `alpha_req` and `power_law`.
        two_nn, n_duplicates
            See `two_nn`.

        A value that cannot be computed is NaN, and one warning lists the reasons: too few
        eigenvalues above rounding for the window, too few distinct stimuli, neighbours all
        equally far away, no variance (all are NaN).

    Raises
    ------
    ShapeError
        Fewer than 3 stimuli, another number of axes, a time axis.
    InputError
        Values that are not finite; a window or a share out of range.
    AlignmentError
        `Responses` without stimulus ids.

    Notes
    -----
    All are invariant to rotation and permutation of units, to one factor and to a vector
    added to every row; none to a general invertible map. Noise adds variance in all
    directions and raises every one of them: for measured responses use
    `cross_validated_spectrum`. Cost: O(n p min(n, p) + min(n, p)^3) for the spectrum and
    O(n^2 p) for neighbours; memory one copy of x and O(min(n, p)^2).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(300, 40)) * np.arange(1, 41) ** -0.5
    >>> found = describe_geometry(x, window=(3, 20))
    >>> found["n_stimuli"], found["rank"], round(found["alpha_req"], 1)
    (300, 40, 1.0)
    """
    check_window(window)
    check_discard(discard)
    rows = centred_rows("x", x)
    n, p = rows.values.shape
    out: dict[str, float] = {"n_stimuli": n, "n_units": p}
    if not rows.varies:
        warnings.warn(f"all descriptors are NaN: x does not vary over its {n} stimuli", stacklevel=2)
        return out | {"rank": 0} | dict.fromkeys(_NAMES, float("nan")) | {"n_duplicates": n - 1}
    spectrum = covariance_spectrum(rows)
    reasons: list[str] = []
    last = window[1]
    if spectrum.rank < last:
        reasons.append(
            f"alpha_req and power_law need {last} eigenvalues above rounding for the window "
            f"({window[0]}, {last}), there are {spectrum.rank} of {n} stimuli and {p} units"
        )
        alpha = octaves = _UNDEFINED
    else:
        alpha, octaves = (power_law_of(spectrum.shares, window=window, octaves=o) for o in (False, True))
    neighbours, reason = two_nn_or_reason(rows, discard=discard)
    if reason:
        reasons.append(f"two_nn: {reason}")
    if reasons:
        warnings.warn(f"descriptors are NaN: {'; '.join(reasons)}", stacklevel=2)
    values = (
        float(spectrum.shares[0]),
        # the sum of the shares may end a rounding below the level
        int(np.searchsorted(np.cumsum(spectrum.shares), 0.9 - 1e-12)) + 1,
        participation_of(spectrum.shares),
        rankme_of(spectrum.shares, of="eigenvalues"),
        rankme_of(spectrum.shares, of="singular_values"),
        *alpha,
        *octaves,
        neighbours.dimension,
    )
    described = dict(zip(_NAMES, values, strict=True))
    return out | {"rank": spectrum.rank} | described | {"n_duplicates": neighbours.n_duplicates}


_NAMES = (
    "first_share",
    "n_components_90",
    "participation_ratio",
    "rankme",
    "rankme_singular_values",
    "alpha_req",
    "alpha_req_r2",
    "power_law",
    "power_law_r2",
    "two_nn",
)
