"""Geodesic and geo-topological transforms: references, planted manifolds, invariances, and errors."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from brainalign.comparison.geodesic import geo_topological_transform, geodesic_transform
from brainalign.errors import InputError, ShapeError

X = np.random.default_rng(0).normal(size=(9, 4))
D = squareform(pdist(X))
UPPER = np.triu_indices(9, 1)


def floyd_warshall(graph: np.ndarray) -> np.ndarray:
    """Shortest paths over lengths (inf: no edge), one stop after the other."""
    out = graph.copy()
    np.fill_diagonal(out, 0.0)
    for stop in range(len(out)):
        out = np.minimum(out, out[:, stop, None] + out[None, stop, :])
    return out


def rsatoolbox_transform(name: str, d: np.ndarray, *args: float) -> np.ndarray:
    from rsatoolbox.rdm import RDMs

    # the package hides this module behind a function of the same name
    found = getattr(import_module("rsatoolbox.rdm.transform"), name)(RDMs(squareform(d)[None].copy()), *args)
    out: np.ndarray = found.get_matrices()[0]
    return out


@pytest.mark.parametrize("rule", [{}, {"threshold": 2.2}, {"n_neighbors": 3}])
def test_shortest_paths_against_floyd_warshall(rule: dict[str, float]) -> None:
    """All edges but the longest, edges below a threshold, and nearest neighbours: lengths by brute force."""
    squared = D**2  # no metric, so that detours are shorter
    if "n_neighbors" in rule:
        near = np.argsort(squared + np.diag(np.full(9, np.inf)), axis=1)[:, :3]
        edges = np.zeros((9, 9), dtype=bool)
        np.put_along_axis(edges, near, True, axis=1)
        edges |= edges.T
    else:
        edges = squared < rule.get("threshold", squared.max())
    expected = floyd_warshall(np.where(edges, squared, np.inf))
    expected[np.isinf(expected)] = np.nan
    if np.isnan(expected).any():
        with pytest.warns(
            UserWarning, match=f"{int(np.isnan(expected).sum() / 2)} of 36 pairs of stimuli are"
        ):
            got = geodesic_transform(squared, **rule)
    else:
        got = geodesic_transform(squared, **rule)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_against_rsatoolbox_which_drops_the_closest_pair() -> None:
    """After the minmax the peer's graph takes the closest pair (length 0) for no edge and sends it, and
    paths through it, on a detour; with that edge removed its values are ours."""
    squared = D**2
    ours = geodesic_transform(squared, rescale=True)
    theirs = rsatoolbox_transform("geodesic_transform", squared)
    off = squared[UPPER]
    rescaled = (squared - off.min()) / (off.max() - off.min())
    np.fill_diagonal(rescaled, 0.0)
    without_longest = np.where(rescaled < 1, rescaled, np.inf)
    np.testing.assert_allclose(ours, floyd_warshall(without_longest), rtol=1e-12, atol=1e-15)
    dropped = np.where(rescaled == 0, np.inf, without_longest)
    np.testing.assert_allclose(theirs, floyd_warshall(dropped), rtol=1e-12, atol=1e-15)
    i, j = np.argwhere(squared == off.min())[0]
    assert ours[i, j] == 0.0
    assert theirs[i, j] > 0.05


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 1.0), (0.2, 0.8), (0.5, 0.6)])
def test_geo_topological_against_rsatoolbox(lower: float, upper: float) -> None:
    """Quantile thresholds have the peer's values for a single RDM; of a stack each RDM has its own."""
    got = geo_topological_transform(D, lower=lower, upper=upper)
    theirs = rsatoolbox_transform("geotopological_transform", D, lower, upper)
    np.testing.assert_allclose(got, theirs, atol=1e-12)
    stack = geo_topological_transform(np.stack([D, 50 * D]), lower=lower, upper=upper)
    np.testing.assert_allclose(stack, np.stack([got, got]), atol=1e-12)


def test_a_curved_manifold_is_unrolled() -> None:
    """On a spiral the geodesic distances order stimuli by arc length where the plain ones do not."""
    angle = np.linspace(0.5 * np.pi, 4.5 * np.pi, 120)
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
    d = squareform(pdist(spiral))
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(spiral, axis=0), axis=1))])
    arc = np.abs(np.subtract.outer(steps, steps))[np.triu_indices(120, 1)]
    geodesic = geodesic_transform(d, n_neighbors=2)[np.triu_indices(120, 1)]
    assert spearmanr(geodesic, arc)[0] > 0.999
    assert spearmanr(d[np.triu_indices(120, 1)], arc)[0] < 0.8


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-9, 1e9))
def test_axioms_and_invariances(seed: int, factor: float) -> None:
    """Geodesics are metrics that follow scale and the order of stimuli; the geo-topological transform
    does not change under scale and shift, and geodesics change under a shift."""
    rng = np.random.default_rng(seed)
    d = squareform(pdist(rng.normal(size=(8, 3)), "sqeuclidean"))
    g = geodesic_transform(d)
    assert (g <= g[:, :, None].transpose(0, 2, 1) + g[None, :, :].transpose(0, 2, 1) + 1e-12).all()
    assert (g <= np.where(d < d.max(), d, np.inf) + 1e-12).all()
    np.testing.assert_allclose(geodesic_transform(d * factor) / factor, g, rtol=1e-9, atol=1e-12)
    rows = rng.permutation(8)
    np.testing.assert_allclose(geodesic_transform(d[np.ix_(rows, rows)]), g[np.ix_(rows, rows)], atol=1e-12)
    shifted = (d + 2.0) * (1 - np.eye(8))
    assert not np.allclose(geodesic_transform(shifted), g)
    assert not np.allclose(geodesic_transform(shifted), geodesic_transform(d) + 2.0 * (1 - np.eye(8)))
    t = geo_topological_transform(d, lower=0.1, upper=0.7)
    assert ((t >= 0) & (t <= 1)).all()
    signed = (factor * d - 3 * factor) * (1 - np.eye(8))
    np.testing.assert_allclose(geo_topological_transform(signed, lower=0.1, upper=0.7), t, atol=1e-9)
    assert not np.allclose(geo_topological_transform(np.sqrt(d), lower=0.1, upper=0.7), t)


def test_edges_of_length_zero_and_steps() -> None:
    """Two equal stimuli stay joined; equal quantiles and equal dissimilarities give the step function."""
    line = np.array([0.0, 0.0, 1.0, 2.0])
    d = np.abs(np.subtract.outer(line, line))
    expected = np.abs(np.subtract.outer(line, line))
    np.testing.assert_array_equal(geodesic_transform(d, n_neighbors=1), expected)
    step = geo_topological_transform(d, lower=0.5, upper=0.5)
    np.testing.assert_array_equal(step, (d > np.median(d[np.triu_indices(4, 1)])).astype(float))
    flat = 1.0 - np.eye(4)
    np.testing.assert_array_equal(geo_topological_transform(flat, lower=0.1, upper=0.9), np.zeros((4, 4)))


def test_missing_pairs_and_kinds_of_array() -> None:
    """A missing pair stays NaN and moves no threshold of the others; torch gives torch."""
    d = D.copy()
    d[0, 1] = d[1, 0] = np.nan
    t = geo_topological_transform(np.stack([d, np.full_like(d, np.nan)]), lower=0.2, upper=0.8)
    assert np.isnan(t[0]).sum() == 2
    low, high = np.quantile(np.delete(D[UPPER], 0), [0.2, 0.8])
    np.testing.assert_allclose(t[0, 2, 3], np.clip((D[2, 3] - low) / (high - low), 0, 1))
    assert np.isnan(t[1][UPPER]).all()
    for tensor, array in (
        (geodesic_transform(torch.from_numpy(D)), geodesic_transform(D)),
        (
            geo_topological_transform(torch.from_numpy(D), lower=0, upper=1),
            geo_topological_transform(D, lower=0, upper=1),
        ),
    ):
        assert isinstance(tensor, torch.Tensor)
        assert np.array_equal(tensor.numpy(), array)
    np.testing.assert_allclose(geodesic_transform(D.astype(np.float32)), geodesic_transform(D), rtol=1e-5)


def test_wrong_inputs() -> None:
    """Shapes, symmetry, diagonals, infinities, negative lengths and rules out of range are refused."""
    with pytest.raises(ShapeError, match=r"rdms have shape \(9, 4\); expected \(..., n, n\) with at least 3"):
        geodesic_transform(X)
    lopsided = D.copy()
    lopsided[0, 1] += 1
    with pytest.raises(InputError, match="rdms are not symmetric"):
        geodesic_transform(lopsided)
    with pytest.raises(InputError, match="rdms have a diagonal that is not zero"):
        geo_topological_transform(D + np.eye(9), lower=0, upper=1)
    with pytest.raises(InputError, match="rdms have infinite values"):
        geo_topological_transform(np.where(D.max() == D, np.inf, D), lower=0, upper=1)
    with pytest.raises(InputError, match="0 missing and 72 negative values; the length of a path"):
        geodesic_transform(-D)
    with pytest.raises(InputError, match="n_neighbors and threshold are both given"):
        geodesic_transform(D, n_neighbors=2, threshold=1.0)
    for wrong in (0, 9):
        with pytest.raises(InputError, match=f"n_neighbors={wrong} is not between 1 and 8"):
            geodesic_transform(D, n_neighbors=wrong)
    for low, high in ((0.5, 0.4), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="expected quantiles 0 <= lower <= upper <= 1"):
            geo_topological_transform(D, lower=low, upper=high)
