"""Metric multidimensional scaling with missing pairs, and the turning of one picture onto another."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes

from brainalign.report.figures_rdms import classical_mds

_STEPS = 300
_SMALLEST_GAIN = 1e-7


def metric_mds(matrix: np.ndarray, *, start: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """Place stimuli in two dimensions so that their distances are as near to the RDM as can be.

    Minimises the squared differences over the known pairs by majorisation from the classical
    solution, or from `start` (n, 2) where all its points are known; negative dissimilarities
    count as 0.

    Returns
    -------
    points : array (n, 2)
        About 0; NaN for a stimulus without a known pair.
    stress : float
        Stress-1 of Kruskal, ``sqrt(sum (d - delta)^2 / sum d^2)`` with distances d in the plane;
        NaN without a known pair, 0 where all known dissimilarities are 0.

    Notes
    -----
    Source: de Leeuw 1977; Borg & Groenen 2005, doi:10.1007/0-387-28981-X, eq. 8.28. O(n^2) a step, at
    most 300 steps; O(n^3) once where pairs are missing.

    Examples
    --------
    >>> line = np.array([0.0, 1.0, 3.0])
    >>> points, stress = metric_mds(np.abs(line[:, None] - line[None]))
    >>> round(float(np.linalg.norm(points[0] - points[2])), 6), round(stress, 6)
    (3.0, 0.0)
    """
    points = np.full((len(matrix), 2), np.nan)
    linked = (np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)).any(axis=1)
    if not linked.any():
        return points, float("nan")
    part = np.maximum(matrix[np.ix_(linked, linked)], 0.0)  # NaN stays
    given = None if start is None else start[linked]
    if given is None or not np.isfinite(given).all() or np.ptp(given) == 0:
        given, _ = classical_mds(part)
    points[linked], stress = _majorise(part, given)
    return points, stress


def _majorise(delta: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    weights = np.isfinite(delta).astype(np.float64)
    np.fill_diagonal(weights, 0.0)
    points = start - start.mean(axis=0)
    target = np.where(weights > 0, delta, 0.0)
    n = len(delta)
    complete = weights.sum() == n * (n - 1)
    inverse = None if complete else np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights)
    scale = float((target**2).sum())
    last = np.inf
    distances = _distances(points)
    for _ in range(_STEPS):
        ratio = np.divide(target, distances, out=np.zeros_like(target), where=distances > 0)
        moved = ratio.sum(axis=1)[:, None] * points - ratio @ points
        points = moved / n if inverse is None else inverse @ moved
        distances = _distances(points)
        loss = float((weights * (distances - target) ** 2).sum())
        if last - loss <= _SMALLEST_GAIN * scale:
            break
        last = loss
    size = float((weights * distances**2).sum())
    return points, float(np.sqrt(loss / size)) if size > 0 else 0.0


def _distances(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


def align_to(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Turn, mirror and shift points (n, 2) onto a reference, without scaling, over what both know.

    Examples
    --------
    >>> here = np.array([[0.0, 0], [2, 0], [0, 1]])
    >>> there = here @ np.array([[0, 1.0], [-1, 0]]) + 3
    >>> np.allclose(align_to(there, here), here)
    True
    """
    both = np.isfinite(points).all(axis=1) & np.isfinite(reference).all(axis=1)
    if not both.any():
        return points
    middle, goal = points[both].mean(axis=0), reference[both].mean(axis=0)
    turn, _ = orthogonal_procrustes(points[both] - middle, reference[both] - goal)
    return np.asarray((points - middle) @ turn + goal)
