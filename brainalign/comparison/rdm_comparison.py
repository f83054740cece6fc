"""Similarity of RDMs by the name of a comparator; stimuli joined by id, missing pairs left out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from brainalign._checks import lookup, one_of
from brainalign.comparison._comparators import (
    COMPARATORS,
    Comparator,
    as_tensor,
    unit_ranks,
    unit_vectors,
)
from brainalign.comparison._ranks import tied_share
from brainalign.comparison._rdm_masks import mask_groups, present_stimuli, whole_pairs
from brainalign.comparison._rdm_stacks import as_stack, upper_triangle
from brainalign.comparison._whitened import MOST_BASIS_ENTRIES, check_sigma_k, n_stimuli
from brainalign.comparison.rdm_joins import JOINS, join_rdms
from brainalign.errors import InputError, ShapeError
from brainalign.types import RDMs

__all__ = ["COMPARATORS", "compare_rdms", "default_measure", "unit_ranks", "unit_vectors", "upper_triangle"]

MIN_STIMULI = 3
MIN_STIMULI_GRAM = 4
MOST_TIES = 0.05

_WITH_SIGMA = ("whitened_cosine", "whitened_pearson", "neg_riemannian")
_WHITENED = ("whitened_cosine", "whitened_pearson")
_OF_MATRICES = (*_WHITENED, "bures", "neg_riemannian")
_CORRECTED_FOR_TIES = ("spearman", "tau_b")
_CONSTANT = "an RDM is constant over its pairs of stimuli"
_REASONS = {
    "cosine": "an RDM is all zero",
    "whitened_cosine": "an RDM is all zero",
    "bures": "the Gram matrix of an RDM has no positive eigenvalue",
    "neg_riemannian": (
        "the Gram matrix of an RDM of d2 is not positive definite over the contrasts of stimuli (fewer units "
        "than stimuli, or negative eigenvalues)"
    ),
}


def default_measure(distance: str | None = None, *, has_runs: bool | None = None) -> str:
    """Return the comparator that is used where none is named.

    Parameters
    ----------
    distance : name of the distance of the measured RDMs, or None where it is not known
    has_runs : whether they were cross-validated over runs; None: as the distance says

    Returns
    -------
    ``"whitened_cosine"`` for crossnobis (its errors are correlated between pairs that share a
    stimulus, and its zero means no difference), else ``"rho_a"`` (ranks, no advantage for a
    model with ties). Diedrichsen et al. 2021, arXiv:2007.02789; Schuett et al. 2023,
    doi:10.7554/eLife.82566.

    Examples
    --------
    >>> default_measure("crossnobis"), default_measure("correlation")
    ('whitened_cosine', 'rho_a')
    """
    return "whitened_cosine" if distance == "crossnobis" and has_runs is not False else "rho_a"


def compare_rdms(
    d1: Any,
    d2: Any,
    *,
    measure: str | Comparator | None = None,
    sigma_k: Any = None,
    join: str = "same",
) -> Any:
    """Return the similarity of RDMs, over the pairs of their upper triangles.

    Parameters
    ----------
    d1, d2 : arrays or tensors (n, n) or (k, n, n), or RDMs
        Arrays are compared by position, `RDMs` by `stimulus_id`. At least 3 stimuli, 4 for
        the measures of matrices (the last four). Negative entries (cross-validated distances)
        are allowed.
    measure : name of `COMPARATORS` or a callable (k1, n_pairs), (k2, n_pairs) -> (k1, k2)

        =================== ========== ======================================================
        name                range      definition
        =================== ========== ======================================================
        pearson             [-1, 1]    correlation of the entries
        spearman            [-1, 1]    Pearson of mid-ranks; favours models with ties
        rho_a               (-1, 1]    12 sum(centred ranks) / (P^3 - P), no tie correction
        tau_a               [-1, 1]    (concordant - discordant) / all pairs of entries
        tau_b               [-1, 1]    the same over the untied pairs; favours ties
        cosine              [-1, 1]    of the entries, not centred
        whitened_cosine     [-1, 1]    d1' V^-1 d2, normalised; V the covariance of the entries
                                       under `sigma_k`; biased linear CKA without it
        whitened_pearson    [-1, 1]    the same after each RDM lost its mean entry
        bures               [0, 1]     nuclear norm of the product of the Gram roots; squared
                                       distances; negative eigenvalues become 0, with a warning
        neg_riemannian      at most 0  minus the norm of the log eigenvalues of s (G1 + r Sigma)
                                       over G2, least over s and r: not symmetric; NaN where
                                       G2 is not positive definite
        =================== ========== ======================================================

        None: `default_measure` of ``info["distance"]`` of the RDMs, said in a warning.
    sigma_k : None, (n,) or (n, n), for the whitened measures and neg_riemannian
        Covariance of the pattern estimates over stimuli, in the order of d1; None: identity.
    join : ``"same"``, ``"intersection"`` or ``"union"``, for RDMs over different stimuli
        As in `join_rdms`.

    Returns
    -------
    float for two matrices, else an array (k1, k2); tensors give a tensor on their device.
    NaN, with a warning that counts the reason, where the similarity is not defined. Entries
    that are NaN in either RDM of a pair are left out for that pair alone, and a warning says
    how many. Whitened measures solve with the covariance of the pairs that are left, exactly;
    bures and neg_riemannian leave out stimuli that have no pair at all, and are NaN where
    single pairs are missing.

    Raises
    ------
    AlignmentError
        `RDMs` over different stimuli with ``join="same"``; fewer than 3 are shared.
    ShapeError
        Not square, different numbers of stimuli, too few stimuli, `sigma_k` of another size, a
        callable that returns another shape.
    InputError
        Not symmetric, a diagonal that is not zero (a similarity matrix?), infinite values, an
        array given together with `RDMs`, a `sigma_k` that is not positive definite or that the
        measure does not take, `join` or `sigma_k` that cannot apply.
    UnknownNameError
        The measure does not exist.

    Notes
    -----
    Rank measures ignore any rising map of the entries; entries closer than 1e-12 of the
    largest one are ties, since they differ by rounding alone. Spearman and tau-b warn when
    more than 5 % of the entries of an RDM are equal to another one.
    Each RDM is prepared once (ranks, whitened entries, eigenvectors). Cost, with
    P = n (n - 1) / 2: k P (k P log P for ranks, k n^3 for whitened, bures) and k1 k2 P for the
    table; tau k1 k2 P log P; bures k1 k2 n^3; neg_riemannian 85 k1 k2 n^3. Memory: three
    copies of the stacks. Callables and tau compute on the host.
    Sources: Nili et al. 2014, doi:10.1371/journal.pcbi.1003553; Schuett et al. 2023,
    doi:10.7554/eLife.82566 (rho-a); Diedrichsen et al. 2021, arXiv:2007.02789 (whitened);
    Harvey et al. 2023, arXiv:2311.11436 (bures); Shahbazi et al. 2021,
    doi:10.1016/j.neuroimage.2021.118271 (Riemannian; here the scale is solved in closed form).

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    >>> round(compare_rdms(a, 2.0 * a, measure="spearman"), 6)
    1.0
    """
    measure = _chosen(d1, d2) if measure is None else measure
    function = lookup("measure", measure, COMPARATORS)
    name = next((n for n, f in COMPARATORS.items() if f is function), "")
    if sigma_k is not None and name not in _WITH_SIGMA:
        raise InputError(f"sigma_k is taken by {', '.join(_WITH_SIGMA)}; measure={measure!r} does not use it")
    first, second, sigma = _stacks(d1, d2, join, sigma_k)
    _check_size(name, first.shape[1])
    device = next((d.device for d in (d1, d2) if isinstance(d, torch.Tensor)), torch.device("cpu"))
    a, b = upper_triangle(first), upper_triangle(second)
    if name in _CORRECTED_FOR_TIES:
        _warn_of_ties(name, a, b)
    if name in _OF_MATRICES:
        out = _by_matrix(name, function, a, b, sigma, device)
    else:
        out = _by_pairs(function, a, b, device if name else None)
        _warn_of_nan(out, _REASONS.get(name, _CONSTANT) + ", or has fewer than 3 that are not missing")
    return _shaped(out, d1, d2, device)


def _shaped(out: np.ndarray, d1: Any, d2: Any, device: torch.device) -> Any:
    table = isinstance(d1, RDMs) or max(np.ndim(d1), np.ndim(d2)) == 3
    if isinstance(d1, torch.Tensor) or isinstance(d2, torch.Tensor):
        tensor = torch.from_numpy(out).to(device)
        return tensor if table else tensor[0, 0]
    return out if table else float(out[0, 0])


def _chosen(d1: Any, d2: Any) -> str:
    """The default comparator, said in a warning."""
    distances = {str(d.info.get("distance")) for d in (d1, d2) if isinstance(d, RDMs)}
    name = default_measure("crossnobis" if "crossnobis" in distances else None)
    return said(name, stacklevel=4)


_WHY = {
    "whitened_cosine": "for crossnobis distances",
    "rho_a": "ranks without a correction for ties",
    "spearman": "ranks, which a partial correlation takes",
}


def said(name: str, *, stacklevel: int) -> str:
    """The comparator that is used where none was named, said in a warning."""
    warnings.warn(
        f"measure is not given: {name!r} is used ({_WHY[name]}); name the measure", stacklevel=stacklevel
    )
    return name


def _check_size(name: str, n: int) -> None:
    least = MIN_STIMULI_GRAM if name in _OF_MATRICES else MIN_STIMULI
    if n < least:
        what = f"{name} needs" if name in _OF_MATRICES else "a comparison needs"
        raise ShapeError(f"RDMs over {n} stimuli; {what} at least {least}")


def _stacks(d1: Any, d2: Any, join: str, sigma_k: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Both stacks over the same stimuli, and the covariance of these."""
    one_of("join", join, JOINS)
    if isinstance(d1, RDMs) != isinstance(d2, RDMs):
        raise InputError(
            "one of d1 and d2 is RDMs and the other a plain array; stimuli are joined by id or by position, "
            "never both: give two RDMs or two arrays"
        )
    if isinstance(d1, RDMs):
        sigma = check_sigma_k(sigma_k, len(d1.stimulus_id))
        first, second = join_rdms(d1, d2, join=join)
        if sigma is not None:
            sigma = _joined_sigma(sigma, d1.stimulus_id, first.stimulus_id)
        return first.values.astype(np.float64), second.values.astype(np.float64), sigma
    if join != "same":
        raise InputError(f"join={join!r} joins by stimulus_id, and plain arrays have none; give two RDMs")
    stack1, stack2 = as_stack("d1", d1), as_stack("d2", d2)
    if stack1.shape[1] != stack2.shape[1]:
        raise ShapeError(
            f"d1 is over {stack1.shape[1]} stimuli and d2 over {stack2.shape[1]}; they must agree, or be "
            "RDMs with ids to join by"
        )
    return stack1, stack2, check_sigma_k(sigma_k, stack1.shape[1])


def _joined_sigma(sigma: np.ndarray, own: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The covariance, given over the stimuli of d1, over the joined ones."""
    position = {s: i for i, s in enumerate(own)}
    foreign = [s for s in axis if s not in position]
    if foreign:
        raise InputError(
            f"sigma_k is over the {len(own)} stimuli of d1, and the union has {len(foreign)} more (first: "
            f"{foreign[0]!r}); use join='intersection' with sigma_k"
        )
    index = [position[s] for s in axis]
    return sigma[np.ix_(index, index)]


def _by_pairs(function: Comparator, a: np.ndarray, b: np.ndarray, device: torch.device | None) -> np.ndarray:
    """Compare rows over the entries that both have; `device` None: a callable of arrays."""
    out = np.full((len(a), len(b)), np.nan)
    most = 0
    for rows, columns, keep in mask_groups(a, b):
        most = max(most, int((~keep).sum()))
        if keep.sum() < MIN_STIMULI:
            continue
        u, v = _part(a, rows, keep), _part(b, columns, keep)
        found = np.asarray(function(u, v)) if device is None else _on(device, function, u, v)
        if found.shape != (len(u), len(v)):
            raise ShapeError(
                f"measure returned shape {found.shape} for {len(u)} and {len(v)} RDMs; expected "
                f"({len(u)}, {len(v)}), one row for each of the first"
            )
        out[np.ix_(rows, columns)] = found
    _warn_of_missing(most, a.shape[1])
    return out


def _part(vectors: np.ndarray, rows: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Some rows and entries; the whole without a copy."""
    if keep.all() and len(rows) == len(vectors):
        return vectors
    out: np.ndarray = vectors[rows][:, keep]
    return out


def _on(device: torch.device, function: Comparator, u: np.ndarray, v: np.ndarray, **given: Any) -> np.ndarray:
    found: torch.Tensor = function(as_tensor(u).to(device), as_tensor(v).to(device), **given)
    return np.asarray(found.cpu().numpy())


def _by_matrix(
    name: str,
    function: Comparator,
    a: np.ndarray,
    b: np.ndarray,
    sigma: np.ndarray | None,
    device: torch.device,
) -> np.ndarray:
    """Compare RDMs as matrices, without the stimuli that have no pair."""
    out = np.full((len(a), len(b)), np.nan)
    n = n_stimuli(a.shape[1])
    most, unsolved = 0, 0
    for rows, columns, keep in mask_groups(a, b):
        most = max(most, int((~keep).sum()))
        present = present_stimuli(keep, n)
        whole = whole_pairs(present)
        gaps = ~keep[whole]
        if present.sum() < MIN_STIMULI_GRAM or not _solvable(name, gaps):
            unsolved += len(rows) * len(columns)
            continue
        given: dict[str, Any] = {"missing": gaps} if gaps.any() else {}
        if sigma is not None:
            given["sigma_k"] = sigma[np.ix_(present, present)]
        table = _on(device, function, a[rows][:, whole], b[columns][:, whole], **given)
        out[np.ix_(rows, columns)] = table
    _warn_of_missing(most, a.shape[1])
    _warn_of_nan(out, _REASONS.get(name, _CONSTANT), unsolved)
    return out


def _solvable(name: str, gaps: np.ndarray) -> bool:
    """Whether single missing pairs can be left out exactly, in bounded memory."""
    missing = int(gaps.sum())
    if missing == 0:
        return True
    kept = gaps.size - missing
    return name in _WHITENED and kept >= MIN_STIMULI and missing * gaps.size <= MOST_BASIS_ENTRIES


def _warn_of_missing(most: int, n_pairs: int) -> None:
    if most:
        warnings.warn(f"up to {most} of {n_pairs} pairs of stimuli are NaN and left out", stacklevel=4)


def _warn_of_nan(out: np.ndarray, reason: str, unsolved: int = 0) -> None:
    count = int(np.isnan(out).sum())
    if count:
        parts = [f"{count - unsolved}: {reason}"] if count > unsolved else []
        if unsolved:
            parts.append(
                f"{unsolved}: pairs are missing that this measure cannot leave out (whitened: missing pairs "
                f"x pairs above {MOST_BASIS_ENTRIES}; others: a part of the pairs of a stimulus), or "
                "fewer than 4 stimuli are left"
            )
        warnings.warn(f"{count} of {out.size} comparisons are NaN. {'; '.join(parts)}", stacklevel=4)


def _warn_of_ties(name: str, a: np.ndarray, b: np.ndarray) -> None:
    for which, vectors in (("d1", a), ("d2", b)):
        share = tied_share(as_tensor(vectors)).numpy()
        many = np.flatnonzero(share > MOST_TIES)
        if many.size:
            worst = int(share.argmax())
            warnings.warn(
                f"{many.size} of {len(share)} RDMs of {which} have more than 5 % ties (RDM {worst}: "
                f"{100 * share[worst]:.0f} % of its entries equal another one); {name} favours a model with "
                'ties: use measure="rho_a" or "tau_a"',
                stacklevel=4,
            )
