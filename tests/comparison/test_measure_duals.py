"""Measures that are one number by two roads: the roads agree."""

from __future__ import annotations

import numpy as np
import pytest
from measure_cases import related, unrelated, value
from scipy.spatial.distance import pdist, squareform

X, Y = related("cka", 0)
PAIRS = [related("cka", 1), (X, unrelated("cka", 9)), (X, np.tile(Y, 8)), (X[:, :2], Y)]


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_whitened_cosine_of_rdms_is_biased_cka_and_rv(x: np.ndarray, y: np.ndarray) -> None:
    """The cosine of doubly centred squared distances is the CKA of the responses."""
    expected = value("cka_biased", x, y)
    assert value("rsa_whitened_cosine", x, y) == pytest.approx(expected, abs=1e-12)
    assert value("rv", x, y) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_shape_distances_of_one_nuclear_norm(x: np.ndarray, y: np.ndarray) -> None:
    """NBS is the cosine of the angular distance; Procrustes its chord; the shape at alpha 1 the angle."""
    nbs, angle = value("nbs", x, y), value("angular_procrustes", x, y)
    assert np.cos(angle) == pytest.approx(nbs, abs=1e-12)
    assert value("procrustes", x, y) == pytest.approx(np.sqrt(2 - 2 * nbs), abs=1e-12)
    assert value("shape", x, y) == pytest.approx(angle, abs=1e-9)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norms = (x**2).sum() + (y**2).sum()
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    assert value("bures", x, y) == pytest.approx(np.sqrt((norms - 2 * nuclear) / len(x)), abs=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_whitened_shape_is_the_angle_of_cca(seed: int) -> None:
    """At alpha 0 and equal widths the shape distance is the arc cosine of the mean canonical correlation."""
    x, y = related("cca", seed)
    assert value("shape", x, y, alpha=0.0) == pytest.approx(np.arccos(value("cca", x, y)), abs=1e-9)
    assert abs(value("shape", x, y) - np.arccos(value("cca", x, y))) > 0.01


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_distance_correlation_of_rdms_is_that_of_the_kernels(x: np.ndarray, y: np.ndarray) -> None:
    """From doubly centred distances, and as the inner products of the kernels that they induce."""

    def centred(a: np.ndarray) -> np.ndarray:
        d = squareform(pdist(a))
        return np.asarray(d - d.mean(0) - d.mean(1)[:, None] + d.mean())

    def kernel(a: np.ndarray) -> np.ndarray:
        d = squareform(pdist(a))
        k = 0.5 * (d[:, :1] + d[:1, :] - d)
        h = np.eye(len(a)) - 1.0 / len(a)
        return np.asarray(h @ k @ h)

    for matrices in ((centred(x), centred(y)), (kernel(x), kernel(y))):
        a, b = matrices
        expected = np.sqrt((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
        assert value("dcor", x, y) == pytest.approx(expected, abs=1e-12)


def test_soft_matching_of_equal_widths_is_the_assignment() -> None:
    """With as many units on both sides no plan is better than a permutation."""
    assert value("soft_match", X, Y) == pytest.approx(value("bipartite_match", X, Y), abs=1e-12)
    assert abs(value("soft_match", X[:, :2], Y) - value("bipartite_match", X[:, :2], Y)) > 0.01


def test_rank_measures_without_ties_are_equal() -> None:
    """rho-a is Spearman where no dissimilarities tie, and tau-a the share of concordant pairs."""
    assert value("rsa_rho_a", X, Y) == pytest.approx(value("rsa_spearman", X, Y), abs=1e-12)
