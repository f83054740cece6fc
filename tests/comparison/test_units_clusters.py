"""Co-clusters of units of two systems: planted groups, scikit-learn's co-clustering, invariances, errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import SpectralCoclustering
from sklearn.metrics import adjusted_rand_score

from brainalign.comparison.unit_clustering import unit_clusters
from brainalign.errors import InputError, ShapeError

TRUE_X, TRUE_Y = np.repeat([0, 1, 2, 3], [9, 7, 5, 4]), np.repeat([0, 1, 2, 3], [8, 6, 6, 4])


def planted(seed: int, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Units that follow one of four sources each, with either sign."""
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(300, 4))
    signs = [rng.choice([-1.0, 1.0], len(t)) for t in (TRUE_X, TRUE_Y)]
    x, y = (source[:, t] * s for t, s in zip((TRUE_X, TRUE_Y), signs, strict=True))
    return x + noise * rng.normal(size=x.shape), y + noise * rng.normal(size=y.shape)


@pytest.mark.parametrize("method", ["kmeans", "hierarchical"])
def test_planted_groups(method: str) -> None:
    """Four groups of different size are recovered across both systems, the largest numbered 0."""
    x, y = planted(0)
    found = unit_clusters(x, y, n_clusters=4, method=method)
    np.testing.assert_array_equal(found.labels_x, TRUE_X)
    np.testing.assert_array_equal(found.labels_y, TRUE_Y)
    assert (np.diag(found.strength) > 0.5).all()
    assert found.strength[~np.eye(4, dtype=bool)].max() < 0.15
    assert found.to_frame()["n_x"].tolist() == [9, 7, 5, 4]
    assert (found.tree is not None) == (method == "hierarchical")


def test_against_scikit_learn() -> None:
    """The groups are those of scikit-learn's spectral co-clustering of |r|."""
    x, y = planted(1, noise=1.0)
    affinity = np.abs(np.corrcoef(x.T, y.T)[: len(TRUE_X), len(TRUE_X) :])
    oracle = SpectralCoclustering(4, random_state=0, n_svd_vecs=None).fit(affinity)
    found = unit_clusters(x, y, n_clusters=4)
    assert adjusted_rand_score(oracle.row_labels_, found.labels_x) > 0.9
    assert adjusted_rand_score(oracle.column_labels_, found.labels_y) > 0.9


def test_places_are_those_of_the_normalised_laplacian() -> None:
    """The tree is Ward's over eigenvectors of the normalised Laplacian of the graph between both systems."""
    from scipy.cluster.hierarchy import linkage

    x, y = planted(2)
    affinity = np.abs(np.corrcoef(x.T, y.T)[: len(TRUE_X), len(TRUE_X) :])
    p, q = affinity.shape
    graph = np.block([[np.zeros((p, p)), affinity], [affinity.T, np.zeros((q, q))]])
    root = 1 / np.sqrt(graph.sum(axis=1))
    _, vectors = np.linalg.eigh(np.eye(p + q) - root[:, None] * graph * root)
    places = root[:, None] * vectors[:, 1:3]
    expected = linkage(places / np.abs(places).max(), method="ward")
    found = unit_clusters(x, y, n_clusters=3, method="hierarchical")
    assert found.tree is not None
    np.testing.assert_allclose(found.tree[:, 2:], expected[:, 2:], atol=1e-8)


def test_null_has_no_strong_cluster() -> None:
    """Unrelated systems still get clusters, whose members correlate no better than noise."""
    rng = np.random.default_rng(3)
    found = unit_clusters(rng.normal(size=(400, 20)), rng.normal(size=(400, 25)), n_clusters=3)
    assert np.nanmax(found.to_frame()["within"]) < 0.17


@pytest.mark.parametrize("factor", [1e-200, -1e200])
def test_factors_and_order_of_units(factor: float) -> None:
    """A factor of either sign and the order of units change no group; a rotation does."""
    x, y = planted(4)
    order = np.random.default_rng(5).permutation(x.shape[1])
    found = unit_clusters(x[:, order] * factor, y - 3.0, n_clusters=4)
    np.testing.assert_array_equal(found.labels_x, TRUE_X[order])
    np.testing.assert_array_equal(found.labels_y, TRUE_Y)
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(x.shape[1],) * 2))[0]
    rotated = unit_clusters(x @ rotation, y, n_clusters=4)
    assert adjusted_rand_score(TRUE_X, rotated.labels_x) < 0.6


def test_constant_units() -> None:
    """Constant units get the label -1, with a count, and leave the others where they are."""
    x, y = planted(7)
    with pytest.warns(UserWarning, match="1 of 26 units of x do not vary"):
        found = unit_clusters(np.insert(x, 3, 0.1, axis=1), y, n_clusters=4)
    assert found.labels_x[3] == -1
    np.testing.assert_array_equal(np.delete(found.labels_x, 3), TRUE_X)


def test_units_without_any_correlation() -> None:
    """A unit exactly uncorrelated with all of the other system is placed without a division by zero."""
    h = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]] * 4, dtype=float)
    found = unit_clusters(h, h[:, :2], n_clusters=2)
    assert np.isfinite(found.strength).all()


@pytest.mark.parametrize("method", ["kmeans", "hierarchical"])
def test_fewer_patterns_than_clusters(method: str) -> None:
    """Copies of two units a side are four places: a fifth cluster is empty, and rounding splits no copy."""
    source = np.random.default_rng(9).normal(size=(40, 2))
    x, y = source[:, [0, 0, 0, 0, 1, 1, 1]], source[:, [1, 0, 0, 1, 1]]
    with pytest.warns(UserWarning, match="only 4 of 5 clusters hold units"):
        found = unit_clusters(x, y, n_clusters=5, method=method)
    assert found.labels_x.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert found.labels_y.tolist() == [2, 3, 3, 2, 2]
    assert np.isnan(found.strength[4]).all()


def test_errors() -> None:
    """Every refusal names what was found and what to ask for."""
    x = np.random.default_rng(8).normal(size=(10, 5))
    for n in (1, 2.0, True):
        with pytest.raises(InputError, match="n_clusters=.*; expected a whole number of at least 2"):
            unit_clusters(x, x, n_clusters=n)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="n_clusters=4 over 5 and 3 units.*ask for at most 3"):
        unit_clusters(x, x[:, :3], n_clusters=4)
    with pytest.raises(InputError, match="method='ward' is not one of 'kmeans', 'hierarchical'"):
        unit_clusters(x, x, n_clusters=2, method="ward")
    with pytest.raises(ShapeError, match="unit_clusters over 2 stimuli; it needs at least 3"):
        unit_clusters(x[:2], x[:2], n_clusters=2)
