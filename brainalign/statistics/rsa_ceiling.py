"""Lower and upper noise ceiling of RSA over subjects."""

from __future__ import annotations

from typing import Any

import numpy as np

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError
from brainalign.statistics._rsa_inputs import (
    DRAWN_MEASURES,
    FEWEST_PAIRS,
    LINEAR,
    as_stack,
    common_pairs,
    plain_array,
    stimulus_covariance,
)
from brainalign.statistics.rank_correlation import settle_ties
from brainalign.types import NoiseCeiling

MEASURES = DRAWN_MEASURES
_POOLING = {
    "pearson": "z-scored",
    "cosine": "scaled to norm one",
    "whitened_cosine": "whitened, scaled to norm one",
    "whitened_pearson": "mean removed, whitened, scaled to norm one",
    "rho_a": "ranked, averaged, ranked again",
}


def rsa_noise_ceiling(rdms: Any, *, measure: str = "spearman", sigma_k: Any = None) -> NoiseCeiling:
    """Return how similar to the subjects' RDMs a model could be, given how they differ.

    The RDMs of the subjects are pooled in the space of the measure: brought to norm one
    (Pearson without their mean, whitened measures after whitening, rank measures as ranks,
    and ranked again after averaging), then averaged over subjects. The upper ceiling is the
    mean over subjects of the similarity with the average of all; the lower ceiling leaves
    out the subject that it is compared with.

    Parameters
    ----------
    rdms : array (n_subjects, n_stimuli, n_stimuli)
        One RDM per subject over the same stimuli in the same order; average the sessions
        of a subject first. At least 2 subjects and 3 stimuli. Pairs that are NaN in any
        subject are left out for all and counted in ``info["n_missing"]``.
    measure : one of ``"pearson"``, ``"cosine"``, ``"whitened_cosine"``, ``"whitened_pearson"``, \
``"spearman"``, ``"rho_a"``, ``"tau_a"``, ``"tau_b"``
        The one that compares the models.
    sigma_k : None, (n_stimuli,) or (n_stimuli, n_stimuli)
        Covariance of the estimated patterns over stimuli, for the whitened measures.

    Returns
    -------
    NoiseCeiling
        `low` the lower, `high` the upper ceiling, each (1,); `values` equals `high`, so
        that a normalised score cannot exceed 1 by the choice of the ceiling. For Pearson,
        cosine and their whitened forms the upper ceiling is the highest reachable score, for
        rho-a and for Spearman without ties the highest that an RDM without ties can reach; for
        tau it is very close to it.

    Raises
    ------
    ShapeError
        Not (n_subjects, n, n); fewer than 2 subjects, 3 stimuli or 3 complete pairs;
        sigma_k of another size.
    InputError
        An unknown measure; an RDM that is constant, infinite, not symmetric or with a diagonal;
        sigma_k that is no covariance.

    Notes
    -----
    Cost: O(s^2 P) for the linear measures, O(s P log P) for ranks, P = n (n - 1) / 2.
    Source: Nili et al. 2014, doi:10.1371/journal.pcbi.1003553; whitening of Diedrichsen et al.
    2021, arXiv:2007.02789. The mean of unwhitened RDMs is no upper bound for whitened
    measures: unit vectors have to be averaged after whitening.

    Examples
    --------
    >>> import numpy as np
    >>> d = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> ceiling = rsa_noise_ceiling(np.stack([d, d + d**2]))
    >>> ceiling.low.round(6), ceiling.high.round(6)
    (array([1.]), array([1.]))
    """
    import torch

    from brainalign.statistics._rsa_draws import prepare

    one_of("measure", measure, MEASURES)
    values, mask, n_missing = _complete_pairs(rdms)
    n_subjects, n = values.shape[:2]
    sigma = stimulus_covariance(sigma_k, n)
    if measure not in LINEAR:
        values = settle_ties(values.reshape(n_subjects, -1)).reshape(values.shape)
    comparison = prepare(
        torch.from_numpy(values),
        torch.zeros((0, n, n), dtype=torch.float64),
        torch.from_numpy(mask),
        measure=measure,
        sigma_k=None if sigma is None else torch.from_numpy(sigma),
    )
    resampled = comparison.resample(torch.ones((1, n), dtype=torch.float64))
    lower, upper = resampled.ceilings(torch.ones((1, n_subjects), dtype=torch.float64))[0].numpy()
    info = {
        "n_subjects": n_subjects,
        "n_pairs": int(mask.sum()) // 2,
        "n_missing": n_missing,
        "pooling": _POOLING.get(measure, "ranked, z-scored, averaged, ranked again"),
        "low": "leave one subject out",
        "high": "all subjects",
    }
    return NoiseCeiling(
        np.array([upper]), np.array([lower]), np.array([upper]), "rsa_leave_one_out", measure, info
    )


def _complete_pairs(rdms: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """RDMs (n_subjects, n, n) with 0 in the pairs that any subject misses, the other pairs, the count."""
    given = plain_array("rdms", rdms)
    if given.ndim != 3 or given.shape[1] != given.shape[2]:
        raise ShapeError(f"rdms have shape {given.shape}; expected (n_subjects, n_stimuli, n_stimuli)")
    if len(given) < 2:
        raise ShapeError(f"a ceiling over subjects needs at least 2 RDMs, found {len(given)}")
    values = as_stack("rdms", given)
    mask, n_missing = common_pairs(values)
    if mask.sum() // 2 < FEWEST_PAIRS:
        raise ShapeError(
            f"{int(mask.sum()) // 2} pairs of stimuli are known in every subject; expected at least "
            f"{FEWEST_PAIRS}"
        )
    flat = [bool(np.ptp(x[mask]) == 0) for x in values]
    if any(flat):
        raise InputError(f"the RDM of subject {flat.index(True)} is constant; it has no ceiling")
    return np.where(mask, values, 0.0), mask, n_missing
