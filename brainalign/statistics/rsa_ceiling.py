"""Lower and upper noise ceiling of RSA over subjects."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from brainalign._checks import one_of
from brainalign.errors import InputError, ShapeError
from brainalign.statistics.rank_correlation import settle_ties, tau_a
from brainalign.types import NoiseCeiling

MEASURES = ("pearson", "spearman", "tau_a")


def rsa_noise_ceiling(rdms: Any, *, measure: str = "spearman") -> NoiseCeiling:
    """Return how similar to the subjects' RDMs a model could be, given how they differ.

    Each subject's upper triangle is ranked (Spearman, tau-a) and z-scored, then averaged
    over subjects; the average is ranked again by the measure. The upper ceiling is the
    mean over subjects of the similarity with the average of all; the lower ceiling leaves
    out the subject that it is compared with.

    Parameters
    ----------
    rdms : array (n_subjects, n_stimuli, n_stimuli)
        One RDM per subject over the same stimuli in the same order; average the sessions
        of a subject first. At least 2 subjects and 3 stimuli. Pairs that are NaN in any
        subject are left out for all and counted in ``info["n_missing"]``.
    measure : ``"spearman"``, ``"pearson"`` or ``"tau_a"``
        The one that compares the models.

    Returns
    -------
    NoiseCeiling
        `low` the lower, `high` the upper ceiling, each (1,); `values` equals `high`, so
        that a normalised score cannot exceed 1 by the choice of the ceiling. For Pearson
        the upper ceiling is the highest reachable score; for ranks it is very close to it.

    Raises
    ------
    ShapeError
        Not (n_subjects, n, n); fewer than 2 subjects, 3 stimuli or 3 complete pairs.
    InputError
        An unknown measure; an RDM that is constant.

    Notes
    -----
    Cost: O(s P) after ranking, P = n (n - 1) / 2. Source: Nili et al. 2014,
    doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> import numpy as np
    >>> d = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> ceiling = rsa_noise_ceiling(np.stack([d, d + d**2]))
    >>> ceiling.low.round(6), ceiling.high.round(6)
    (array([1.]), array([1.]))
    """
    one_of("measure", measure, MEASURES)
    vectors, n_missing = _complete_pairs(rdms)
    if measure != "pearson":
        vectors = settle_ties(vectors)
    units = _z_scored(vectors if measure == "pearson" else stats.rankdata(vectors, axis=1))
    total = units.sum(axis=0)
    upper = np.mean([_similarity(v, total, measure) for v in vectors])
    lower = np.mean([_similarity(v, total - u, measure) for v, u in zip(vectors, units, strict=True)])
    info = {
        "n_subjects": len(vectors),
        "n_pairs": vectors.shape[1],
        "n_missing": n_missing,
        "pooling": "z-scored" if measure == "pearson" else "ranked, z-scored, averaged, ranked again",
        "low": "leave one subject out",
        "high": "all subjects",
    }
    return NoiseCeiling(
        np.array([upper]), np.array([lower]), np.array([upper]), "rsa_leave_one_out", measure, info
    )


def _complete_pairs(rdms: Any) -> tuple[np.ndarray, int]:
    """Upper triangles (n_subjects, n_pairs) without the pairs that any subject misses."""
    values = np.asarray(rdms, dtype=np.float64)
    if values.ndim != 3 or values.shape[1] != values.shape[2]:
        raise ShapeError(f"rdms have shape {values.shape}; expected (n_subjects, n_stimuli, n_stimuli)")
    if len(values) < 2:
        raise ShapeError(f"a ceiling over subjects needs at least 2 RDMs, found {len(values)}")
    rows, columns = np.triu_indices(values.shape[1], 1)
    vectors = values[:, rows, columns]
    keep = np.isfinite(vectors).all(axis=0)
    if keep.sum() < 3:
        raise ShapeError(
            f"{int(keep.sum())} pairs of stimuli are known in every subject; expected at least 3"
        )
    return vectors[:, keep], int((~keep).sum())


def _z_scored(vectors: np.ndarray) -> np.ndarray:
    spread = vectors.std(axis=1)
    if (spread == 0).any():
        raise InputError(f"the RDM of subject {int(np.argmin(spread))} is constant; it has no ceiling")
    out: np.ndarray = (vectors - vectors.mean(axis=1, keepdims=True)) / spread[:, None]
    return out


def _similarity(a: np.ndarray, b: np.ndarray, measure: str) -> float:
    if measure != "pearson":
        b = settle_ties(b)
    if measure == "tau_a":
        return tau_a(a, b)
    if measure == "spearman":
        a, b = stats.rankdata(a), stats.rankdata(b)
    return float(np.corrcoef(a, b)[0, 1])
