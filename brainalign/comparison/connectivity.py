"""Representational connectivity: which regions represent the stimuli alike, and the network they form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from brainalign._linalg import full_precision
from brainalign.comparison._inner_measures import (
    checked_stack,
    complete_triangles,
    inner_measure,
    named_rdms,
    on_host,
    unit_rows,
    warn_undefined,
)
from brainalign.comparison._option_checks import is_count
from brainalign.comparison.rdm_comparison import default_measure, said
from brainalign.comparison.rdm_joins import join_rdms
from brainalign.comparison.rsa_with_controls import partial_rsa
from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import RDMs

_REGION_COLUMNS = ("region", "roi", "name")
_MODEL_COLUMNS = ("model", "name", "layer")
_BLOCK_BYTES = 2**28
_SINGULAR = 1e-10


@dataclass(frozen=True, eq=False)
class Connectivity:
    """Similarity of the RDMs of every two regions.

    Parameters
    ----------
    values : array (k, k), mean over subjects; NaN on the diagonal where it means nothing
    subject_values : array (n_subjects, k, k); between subjects: each subject with all others
    regions : tuple of str
    measure : str
    partial : None, ``"controls"`` or ``"others"``
    between_subjects : bool
    """

    values: np.ndarray
    subject_values: np.ndarray = field(repr=False)
    regions: tuple[str, ...]
    measure: str
    partial: str | None
    between_subjects: bool

    def to_frame(self) -> pd.DataFrame:
        """One row a pair of regions: region_a, region_b, value, measure, partial, between_subjects."""
        a, b = np.triu_indices(len(self.regions), 1)
        return pd.DataFrame(
            {
                "region_a": [self.regions[i] for i in a],
                "region_b": [self.regions[i] for i in b],
                "value": self.values[a, b],
                "measure": self.measure,
                "partial": self.partial,
                "between_subjects": self.between_subjects,
            }
        )


def representational_connectivity(
    rdms: Any,
    *,
    measure: str | None = None,
    controls: Any = None,
    given_others: bool = False,
    between_subjects: bool = False,
    names: Sequence[str] | None = None,
) -> Connectivity:
    """Compare the RDMs of regions with one another.

    Parameters
    ----------
    rdms : {region: (n, n)} or {region: (n_subjects, n, n)}; array (k, n, n) or (n_subjects, k, n, n); \
or RDMs with one row a region (column region, roi or name)
    measure : name of an inner-product measure (``"pearson"``, ``"spearman"``, ``"rho_a"``, \
``"cosine"``, ``"whitened_cosine"``, ``"whitened_pearson"``)
        None: `default_measure` of the distance of the RDMs; ``"spearman"`` for partial forms.
    controls : None, (n, n), (c, n, n) or RDMs
        RDMs whose linear part (``"pearson"``, ``"spearman"``) is removed from both regions, as
        in `partial_rsa`.
    given_others : bool
        Remove what all other regions explain, from the inverse of the correlation matrix
        (``"pearson"``, ``"spearman"``).
    between_subjects : bool
        Region a of one subject with region b of another, over all ordered pairs of subjects:
        noise that regions of one brain share does not connect them. The diagonal is then the
        inter-subject RSA of a region.
    names : names of the regions

    Returns
    -------
    Connectivity

    Raises
    ------
    ShapeError
        Fewer than 2 regions or 3 stimuli, other shapes; fewer than 2 subjects with
        `between_subjects`.
    InputError
        Missing pairs; controls together with `given_others`, or partial forms between subjects; a
        measure that has no partial form.
    UnknownNameError
        The measure does not exist.

    Warns
    -----
    UserWarning
        Values that are NaN, counted: constant RDMs; regions that the others determine.

    Notes
    -----
    Cost: O(S k P) preparation and O(S k^2 P) for the table, P = n (n - 1) / 2. Regions of one
    session share noise, so that connectivity within subjects has a floor above 0. Source:
    Kriegeskorte, Mur & Bandettini 2008, doi:10.3389/neuro.06.004.2008.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = (np.abs(u[:, None] - u) for u in rng.normal(size=(2, 15)))
    >>> found = representational_connectivity({"V1": a, "V2": a + 0.1 * b, "IT": b}, measure="pearson")
    >>> found.values.round(1)
    array([[1. , 1. , 0.2],
           [1. , 1. , 0.3],
           [0.2, 0.3, 1. ]])
    """
    stack, regions, distance = _regions(rdms, names)
    partial = "others" if given_others else ("controls" if controls is not None else None)
    _check_partial(controls, given_others, between_subjects, len(stack))
    chosen = _measure(measure, distance, partial)
    if partial == "controls":
        table = _given_controls(rdms, stack, controls, chosen)
    else:
        table = _tables(stack, chosen, between_subjects)
        table = np.stack([_given_others(one) for one in table]) if partial else table
    off = ~np.eye(len(regions), dtype=bool)
    warn_undefined(table[:, off], "pairs of regions", stacklevel=2)
    return Connectivity(table.mean(axis=0), table, tuple(regions), chosen, partial, between_subjects)


def _regions(rdms: Any, names: Sequence[str] | None) -> tuple[np.ndarray, list[str], str | None]:
    """RDMs (n_subjects, k, n, n), names of the regions, distance."""
    distance = rdms.info.get("distance") if isinstance(rdms, RDMs) else None
    if not isinstance(rdms, (Mapping, RDMs)) and np.ndim(on_host(rdms)) == 4:
        array = np.asarray(on_host(rdms), dtype=np.float64)
        _, regions = named_rdms("rdms", array[0], _REGION_COLUMNS, names)
    else:
        plain, regions = named_rdms("rdms", rdms, _REGION_COLUMNS, names)
        array = np.asarray(on_host(plain.values if isinstance(plain, RDMs) else plain), dtype=np.float64)
        array = array.swapaxes(0, 1) if array.ndim == 4 else array[None]
    if array.ndim != 4:
        raise ShapeError(f"rdms have shape {array.shape[1:]}; expected (k, n, n) or (n_subjects, k, n, n)")
    flat = checked_stack("rdms", array.reshape(-1, *array.shape[2:]))
    complete_triangles(flat)
    if array.shape[1] < 2:
        raise ShapeError(f"{array.shape[1]} region; connectivity needs at least 2")
    return flat.reshape(array.shape), regions, distance


def _check_partial(controls: Any, given_others: bool, between_subjects: bool, n_subjects: int) -> None:
    if controls is not None and given_others:
        raise InputError("controls and given_others=True are both given; choose what is held constant")
    if between_subjects and (controls is not None or given_others):
        raise InputError("partial connectivity is within subjects; leave between_subjects=False")
    if between_subjects and n_subjects < 2:
        raise ShapeError(
            f"{n_subjects} subject; between_subjects=True needs RDMs (n_subjects, k, n, n) of 2 or more"
        )


def _measure(measure: str | None, distance: str | None, partial: str | None) -> str:
    if measure is None:
        measure = said("spearman" if partial else default_measure(distance), stacklevel=4)
    inner_measure(measure)
    if partial and measure not in ("pearson", "spearman"):
        raise InputError(f"measure={measure!r} has no partial form; use 'pearson' or 'spearman'")
    return measure


def _tables(stack: np.ndarray, measure: str, between_subjects: bool) -> np.ndarray:
    """Similarities (n_subjects, k, k)."""
    s, k = stack.shape[:2]
    units = unit_rows(complete_triangles(stack.reshape(-1, *stack.shape[2:])), measure).reshape(s, k, -1)
    with full_precision():
        own = (units @ units.mT).clamp(-1.0, 1.0)
        if not between_subjects:
            return np.asarray(own.numpy())
        total = units.sum(0)
        table = (units @ total.T - own) / (s - 1)
        return np.asarray(((table + table.mT) / 2).numpy())


def _given_controls(rdms: Any, stack: np.ndarray, controls: Any, measure: str) -> np.ndarray:
    if isinstance(controls, RDMs) != isinstance(rdms, RDMs):
        raise AlignmentError(
            "one of rdms and controls is RDMs and the other is not; stimuli are joined by id or by "
            "position, never "
            "both"
        )
    if isinstance(rdms, RDMs):
        joined, held = join_rdms(rdms, controls, names=("rdms", "controls"))
        stack, controls = joined.values[None].astype(np.float64), held.values
    held_constant = checked_stack("controls", controls, stack.shape[-1])
    out = [np.asarray(partial_rsa(one, one, held_constant, measure=measure)) for one in stack]
    return np.stack([(one + one.T) / 2 for one in out])


def _given_others(table: np.ndarray) -> np.ndarray:
    """Partial correlations (k, k) of each pair given all others; NaN where a region is determined by "
    "others.
    """
    if not np.isfinite(table).all():
        return np.full_like(table, np.nan)
    values = np.linalg.eigvalsh(table)
    if values[0] < _SINGULAR * values[-1]:
        return np.full_like(table, np.nan)
    precision = np.linalg.inv(table)
    scale = np.sqrt(np.diagonal(precision))
    out: np.ndarray = -precision / np.outer(scale, scale)
    np.fill_diagonal(out, 1.0)
    return np.asarray(np.clip((out + out.T) / 2, -1.0, 1.0))


def thin_connectivity(values: Any, *, n_trees: int = 1) -> np.ndarray:
    """Number the connections of a union of successive maximum spanning trees.

    Parameters
    ----------
    values : array (k, k), symmetric; NaN: no connection; the diagonal is not used
    n_trees : int, at least 1

    Returns
    -------
    array (k, k) of int, symmetric: 0 for connections that are dropped, else the number of the
    tree that holds it, from 1. The first tree connects all regions by the strongest
    connections; each next one is found among those that are left. ``result > 0`` is the
    thinned network, with at most n_trees (k - 1) connections.

    Raises
    ------
    ShapeError
        Not square, fewer than 2 regions.
    InputError
        Not symmetric; infinite values; n_trees below 1.

    Notes
    -----
    Keeps the network in one piece, which a threshold does not (Mantegna 1999,
    doi:10.1007/s100510050929; successive trees: Hagmann et al. 2008,
    doi:10.1371/journal.pbio.0060159). Only the order of the values matters. Where connections are missing a
    tree is a forest. Cost: O(n_trees k^2 log k).

    Examples
    --------
    >>> values = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]])
    >>> thin_connectivity(values)
    array([[0, 1, 0],
           [1, 0, 1],
           [0, 1, 0]])
    """
    table = np.array(on_host(values), dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise ShapeError(f"values have shape {table.shape}; expected (k, k) for at least 2 regions")
    if not is_count(n_trees, 1):
        raise InputError(f"n_trees={n_trees!r}; expected at least 1")
    np.fill_diagonal(table, np.nan)
    gap = float(np.nanmax(np.abs(table - table.T), initial=0.0))
    if gap > 1e-9 * np.nanmax(np.abs(table), initial=0.0) or np.isinf(table).any():
        raise InputError(f"values are not symmetric and finite (largest difference {gap:.3g})")
    left = np.isfinite(table) & np.isfinite(table.T)
    # the sparse graph takes 0 for no edge: the strongest connection has length 1
    order = np.unique(table[left], return_inverse=True)[1] if left.any() else np.array([], dtype=int)
    length = np.zeros(table.shape)
    length[left] = 1.0 + order.max(initial=0) - order.reshape(-1)
    length = np.triu(length)
    out = np.zeros(table.shape, dtype=int)
    for number in range(1, n_trees + 1):
        tree = sparse.csgraph.minimum_spanning_tree(sparse.csr_array(length)).toarray() > 0
        if not tree.any():
            break
        out[tree] = number
        length[tree] = 0.0
    return out + out.T
