"""Ricci flow and communities: planted cliques and blocks, an explicit reference, errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from brainalign.comparison._ricci_transport import neighbourhoods, path_lengths
from brainalign.comparison.curvature_flow import community_agreement, ricci_communities, ricci_flow
from brainalign.errors import InputError, ShapeError

CLIQUES = np.kron(np.eye(2), np.ones((5, 5)) - np.eye(5))
CLIQUES[4, 5] = CLIQUES[5, 4] = 1.0


def blocks(size: int, n_blocks: int, inside: float, between: float, seed: int) -> np.ndarray:
    """A random graph with planted communities."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(n_blocks), size)
    chance = np.where(label[:, None] == label[None, :], inside, between)
    upper = np.triu(rng.uniform(size=chance.shape) < chance, 1)
    return (upper + upper.T).astype(float)


def test_the_flow_stretches_the_bridge_and_separates_the_cliques() -> None:
    """Two K5 joined by an edge: the bridge becomes the longest edge by far and is the one cut."""
    flow = ricci_flow(CLIQUES)
    bridge = (flow.edges == [4, 5]).all(axis=1)
    assert flow.lengths[bridge][0] > 4 * flow.lengths[~bridge].max()
    assert flow.lengths.mean() == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_array_equal(ricci_communities(CLIQUES), np.repeat([0, 1], 5))
    np.testing.assert_array_equal(ricci_communities(CLIQUES, cutoff=2.0), np.repeat([0, 1], 5))
    np.testing.assert_array_equal(ricci_communities(CLIQUES, cutoff=1e6), np.zeros(10))


def test_one_step_is_the_transport_over_its_mean() -> None:
    """One step of the flow gives (1 - kappa) d over the mean, by linear programs."""
    flow = ricci_flow(CLIQUES, n_iterations=1, alpha=0.3)
    paths, mass = path_lengths(CLIQUES), neighbourhoods(CLIQUES, 0.3)
    n = len(CLIQUES)
    margins = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    moved = np.array(
        [
            linprog(paths.ravel(), A_eq=margins, b_eq=np.concatenate([mass[i], mass[j]])).fun
            for i, j in flow.edges
        ]
    )
    np.testing.assert_allclose(flow.lengths, moved / moved.mean(), atol=1e-8)


def test_planted_blocks_are_recovered_and_order_does_not_matter() -> None:
    """Three dense blocks are found, also after a permutation of the nodes; a complete graph stays whole."""
    graph = blocks(9, 3, 0.9, 0.04, 1)
    planted = np.repeat(np.arange(3), 9)
    found = ricci_communities(graph, n_iterations=8)
    assert community_agreement(found, planted) > 0.9
    order = np.random.default_rng(0).permutation(27)
    assert community_agreement(
        ricci_communities(graph[np.ix_(order, order)], n_iterations=8), found[order]
    ) == pytest.approx(1.0)
    np.testing.assert_array_equal(ricci_communities(np.ones((6, 6)) - np.eye(6)), np.zeros(6))


def test_edges_that_contract_to_nothing_stay_edges() -> None:
    """A pair of nodes at alpha 1/2 contracts at once; the edge is kept and nothing divides by zero."""
    pair = np.zeros((5, 5))
    pair[0, 1] = pair[1, 0] = pair[2, 3] = pair[3, 2] = pair[3, 4] = pair[4, 3] = 1.0
    flow = ricci_flow(pair, n_iterations=5)
    assert (flow.lengths > 0).all()
    assert np.isfinite(flow.edge_curvature).all()
    only = ricci_flow(np.array([[0.0, 1.0], [1.0, 0.0]]), n_iterations=3)
    assert (only.lengths > 0).all()
    np.testing.assert_array_equal(ricci_communities(np.pad(CLIQUES, (0, 1)))[-1], 2)


def test_community_agreement() -> None:
    """The adjusted Rand index ignores names, is 1 for the same partition and about 0 by chance."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 2000), rng.integers(0, 4, 2000)
    assert community_agreement(a, (a + 1) % 4) == 1.0
    assert abs(community_agreement(a, b)) < 0.01


def test_errors() -> None:
    """Options out of range and labels of different length are refused."""
    with pytest.raises(InputError, match="n_iterations=0; expected a whole number of at least 1"):
        ricci_flow(CLIQUES, n_iterations=0)
    with pytest.raises(InputError, match="cutoff=0.0; expected a length above 0"):
        ricci_communities(CLIQUES, cutoff=0.0)
    with pytest.raises(ShapeError, match="expected one label per stimulus on both sides"):
        community_agreement([0, 1], [0, 1, 2])
