"""Topology of an RDM: shortest paths over its neighbourhood graph, and the geo-topological transform."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from brainalign.comparison._distance_inputs import like_input, to_tensor
from brainalign.errors import InputError, ShapeError


def geodesic_transform(
    rdms: Any, *, n_neighbors: int | None = None, threshold: float | None = None, rescale: bool = False
) -> Any:
    """Return the lengths of the shortest paths between stimuli over a graph of near ones.

    Parameters
    ----------
    rdms : array (n, n) or (..., n, n), symmetric, not negative, zero diagonal
    n_neighbors : int, optional
        An edge joins two stimuli if one is among the k nearest of the other (ties at the
        k-th distance are all taken).
    threshold : float, optional
        An edge joins two stimuli whose dissimilarity is **below** this. With neither
        argument all edges but the longest of the RDM are there, as in Lin & Kriegeskorte.
    rescale : bring the pairs of each RDM to 0 ... 1 first (minimum and maximum)
        `threshold` is then in these units. It changes which path is shortest.

    Returns
    -------
    array of the shape and kind of `rdms`, float64, symmetric, zero diagonal. NaN, with a warning
    that counts them, between stimuli that no path joins. Never above the dissimilarity of
    an edge; it satisfies the triangle inequality.

    Raises
    ------
    ShapeError
        Not square matrices, or fewer than 3 stimuli.
    InputError
        Both `n_neighbors` and `threshold`; a value out of range; an RDM that is not
        symmetric, has a diagonal or negative or missing values.

    Notes
    -----
    Cost O(n^2 (k + log n)) per RDM by Dijkstra from every stimulus, O(n^3) for dense graphs.
    Source: Lin & Kriegeskorte 2024, doi:10.1073/pnas.2317881121 (arXiv:2309.11028); Isomap of
    Tenenbaum, de Silva & Langford 2000, doi:10.1126/science.290.5500.2319. An edge of length
    zero stays an edge.

    Examples
    --------
    >>> line = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> geodesic_transform(line**2, n_neighbors=1)
    array([[0., 1., 2., 3.],
           [1., 0., 1., 2.],
           [2., 1., 0., 1.],
           [3., 2., 1., 0.]])
    """
    stack, shape, like = _checked(rdms)
    n = stack.shape[-1]
    if n_neighbors is not None and threshold is not None:
        raise InputError(
            "n_neighbors and threshold are both given; an edge follows one rule, give one of them"
        )
    if n_neighbors is not None and not 1 <= n_neighbors < n:
        raise InputError(f"n_neighbors={n_neighbors} is not between 1 and {n - 1} (n_stimuli - 1)")
    if np.isnan(stack).any() or (stack < 0).any():
        raise InputError(
            f"the RDMs have {int(np.isnan(stack).sum())} missing and {int((stack < 0).sum())} negative "
            "values; the length of a path needs complete RDMs without negative ones (crossnobis has some)"
        )
    out = np.stack([_paths(d, n_neighbors, threshold, rescale) for d in stack])
    apart = int(np.isinf(out).sum()) // 2
    if apart:
        warnings.warn(
            f"{apart} of {len(stack) * n * (n - 1) // 2} pairs of stimuli are joined by no path; they are "
            "NaN. Give more neighbours or a higher threshold",
            stacklevel=2,
        )
        out[np.isinf(out)] = np.nan
    return like(out.reshape(shape))


def geo_topological_transform(rdms: Any, *, lower: float, upper: float) -> Any:
    """Return RDMs whose small dissimilarities are 0, whose large ones are 1, linear in between.

    Parameters
    ----------
    rdms : array (n, n) or (..., n, n), symmetric, zero diagonal; may be signed
    lower, upper : quantiles in [0, 1] of the pairs of **each** RDM, lower <= upper
        ``lower=0, upper=1`` keeps the geometry (minimum and maximum to 0 and 1), ``lower ==
        upper`` leaves the graph of near and far: 0 up to the quantile, 1 above it.

    Returns
    -------
    array of the shape and kind of `rdms`, float64 in [0, 1], zero diagonal; missing pairs stay NaN

    Raises
    ------
    ShapeError
        Not square matrices, or fewer than 3 stimuli.
    InputError
        Quantiles out of order or range; an RDM that is not symmetric or has a diagonal.

    Notes
    -----
    Invariant to any positive scaling and shift of the dissimilarities. An RDM between whose
    quantiles lies no difference becomes the step. Cost O(n^2). Source: Lin & Kriegeskorte
    2024, doi:10.1073/pnas.2317881121, eq. 1.

    Examples
    --------
    >>> d = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    >>> geo_topological_transform(d, lower=0.0, upper=1.0)
    array([[0. , 0. , 0.5],
           [0. , 0. , 1. ],
           [0.5, 1. , 0. ]])
    """
    if not 0.0 <= lower <= upper <= 1.0:
        raise InputError(f"lower={lower}, upper={upper}; expected quantiles 0 <= lower <= upper <= 1")
    stack, shape, like = _checked(rdms)
    n = stack.shape[-1]
    pairs = stack[:, *np.triu_indices(n, 1)]
    out = np.full_like(stack, np.nan)
    known = ~np.isnan(pairs).all(axis=1)
    low, high = np.nanquantile(pairs[known], [lower, upper], axis=1)[:, :, None, None]
    span = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        ramp = np.clip((stack[known] - low) / span, 0.0, 1.0)
    step = np.where(np.isnan(stack[known]), np.nan, stack[known] > low)
    out[known] = np.where(span > 0, ramp, step)
    out[:, np.arange(n), np.arange(n)] = 0.0
    return like(out.reshape(shape))


def _paths(d: np.ndarray, n_neighbors: int | None, threshold: float | None, rescale: bool) -> np.ndarray:
    off = ~np.eye(len(d), dtype=bool)
    if rescale:
        low, high = d[off].min(), d[off].max()
        d = (d - low) / (high - low if high > low else 1.0)
    if n_neighbors is not None:
        reach = np.partition(np.where(off, d, np.inf), n_neighbors - 1, axis=1)[:, n_neighbors - 1]
        edges = d <= np.maximum(reach[:, None], reach[None, :])
    else:
        edges = d < (d[off].max() if threshold is None else threshold)
    rows, columns = np.nonzero(edges & off)
    # a dense graph would take lengths up to 1e-8 for no edge; a sparse one keeps those that it lists
    graph = csr_array((d[rows, columns], (rows, columns)), shape=d.shape)
    out: np.ndarray = shortest_path(graph, method="D")
    # a path and its reverse add the same lengths in another order
    out = np.minimum(out, out.T)
    np.fill_diagonal(out, 0.0)
    return out


def _checked(rdms: Any) -> tuple[np.ndarray, tuple[int, ...], Callable[[np.ndarray], Any]]:
    """The RDMs as one stack (k, n, n), their shape, and the way back to the caller's kind of array."""
    tensor, was_tensor = to_tensor("rdms", rdms)
    values = tensor.detach().cpu().numpy()
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.shape[-1] < 3 or 0 in values.shape:
        raise ShapeError(f"rdms have shape {values.shape}; expected (..., n, n) with at least 3 stimuli")
    stack = values.reshape(-1, *values.shape[-2:])
    if np.isinf(stack).any():
        raise InputError("rdms have infinite values; a missing pair is NaN")
    if np.nan_to_num(np.einsum("kii->ki", stack)).any():
        raise InputError("rdms have a diagonal that is not zero; expected the dissimilarities of stimuli")
    scale = np.nanmax(np.abs(stack), initial=0.0)
    if not np.allclose(stack, stack.transpose(0, 2, 1), rtol=1e-6, atol=1e-9 * scale, equal_nan=True):
        raise InputError("rdms are not symmetric; a dissimilarity matrix equals its transpose")

    def like(out: np.ndarray) -> Any:
        return like_input(torch.from_numpy(out).to(tensor.device), was_tensor)

    return stack, values.shape, like
