"""The norm of the difference of distance matrices: brute force, the peer's other norm, axioms, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison import matrix_norms as module
from brainalign.comparison import rdm
from brainalign.comparison._measures_neighbours import MEASURES_NEIGHBOURS
from brainalign.comparison.matrix_norms import rsm_norm
from brainalign.errors import ShapeError
from brainalign.simulate import feature_bias

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5)) + 3.0, RNG.normal(size=(40, 9))


def square(x: np.ndarray, metric: str = "euclidean") -> np.ndarray:
    out: np.ndarray = squareform(pdist(x, metric))
    return out


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("rows", [3, 256])
def test_against_both_matrices(squared: bool, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is the root of the sum of squares over both triangles, in blocks of any size."""
    monkeypatch.setattr(module, "_ROWS", rows)
    metric = "sqeuclidean" if squared else "euclidean"
    expected = np.sqrt(((square(X, metric) - square(Y, metric)) ** 2).sum())
    assert rsm_norm(X, Y, squared=squared) == pytest.approx(expected, rel=1e-12)


def test_per_unit_is_the_distance_of_rdm() -> None:
    """Divided by the number of units, the distances are those of `rdm`, rooted and not."""
    for squared, name in ((False, "euclidean"), (True, "sq_euclidean")):
        expected = np.linalg.norm(rdm(X, distance=name) - rdm(Y, distance=name))
        assert rsm_norm(X, Y, squared=squared, per_unit=True) == pytest.approx(expected, rel=1e-12)


def test_the_spectral_norm_of_a_peer_is_another_measure() -> None:
    """`ord=2` of a square matrix is its largest singular value: below the Frobenius norm, and blind to all
    other components. Planted: the sum of n squared differences of d each is d sqrt(n)."""
    difference = square(X) - square(Y)
    spectral = np.linalg.norm(difference, ord=2)
    assert rsm_norm(X, Y) == pytest.approx(np.linalg.norm(difference, ord="fro"), rel=1e-12)
    assert spectral < 0.9 * rsm_norm(X, Y)
    # pairs of stimuli apart by 1 in x and by 3 in y, each pair in units of its own: 2 entries of 2 per pair
    base = np.repeat(np.arange(4) * 1e3, 2)[:, None]
    x = np.hstack([base, np.tile([[0.0], [1.0]], (4, 1))])
    y = np.hstack([base, np.tile([[0.0], [3.0]], (4, 1))])
    within = (np.arange(8)[:, None] // 2 == np.arange(8) // 2) & ~np.eye(8, dtype=bool)
    planted = np.where(within, square(x) - square(y), 0.0)
    assert np.linalg.norm(planted, ord="fro") == pytest.approx(2 * np.sqrt(8))
    assert np.linalg.norm(planted, ord=2) == pytest.approx(2.0)  # the same for one pair and for four
    assert rsm_norm(x, y) == pytest.approx(2 * np.sqrt(8), rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 15))
def test_axioms_and_invariances(seed: int, n: int, p: int) -> None:
    """Symmetric, zero for itself, a triangle inequality, blind to rotation and shift, following a scale."""
    rng = np.random.default_rng(seed)
    x, y, z = rng.normal(size=(3, n, p))
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    value = rsm_norm(x, y)
    assert value == pytest.approx(rsm_norm(y, x), rel=1e-12)
    assert value <= rsm_norm(x, z) + rsm_norm(z, y) + 1e-12
    assert rsm_norm(x, x @ rotation + 5.0) == pytest.approx(0.0, abs=1e-11 * n * p)
    assert rsm_norm(x[:, ::-1], y - 1e3) == pytest.approx(value, rel=1e-9)
    assert rsm_norm(7.0 * x, 7.0 * y) == pytest.approx(7.0 * value, rel=1e-12)
    order = rng.permutation(n)
    assert rsm_norm(x[order], y[order]) == pytest.approx(value, rel=1e-12)


def test_invariances_that_must_fail() -> None:
    """A factor on one side and an invertible map change the value; the record claims neither."""
    (record,) = (m for m in MEASURES_NEIGHBOURS if m.name == "rsm_norm")
    assert record.invariances == {"rotation", "translation", "permutation"}
    assert (record.kind, record.metric, record.symmetric) == ("distance", True, True)
    value = rsm_norm(X, Y)
    assert abs(rsm_norm(X, 2 * Y) - value) > 0.1 * value
    assert abs(rsm_norm(X, Y @ np.diag(np.arange(1.0, 10.0))) - value) > 0.1 * value


def test_near_stimuli_keep_their_distance() -> None:
    """A pair 1e-9 apart at an offset of 1 keeps its distance, which a difference of products would lose;
    repeated rows are at distance zero."""
    x = np.concatenate([X, X[:3] + 1e-9, X[:3]])
    y = np.concatenate([X, X[:3], X[:3]])
    expected = np.sqrt(((square(x) - square(y)) ** 2).sum())
    assert rsm_norm(x, y) == pytest.approx(expected, rel=1e-6)
    assert rsm_norm(y, y.copy()) == 0.0


def test_extreme_scales_constants_integers_and_float32() -> None:
    """1e-200 and 1e200 scale the value, a constant system has distances of zero, integers are float64."""
    value = rsm_norm(X, Y)
    for factor in (1e-200, 1e200):
        assert rsm_norm(X * factor, Y * factor) == pytest.approx(value * factor, rel=1e-12)
    assert rsm_norm(np.full((40, 3), 0.1), Y) == pytest.approx(np.linalg.norm(square(Y)), rel=1e-12)
    assert rsm_norm(np.zeros((4, 2)), np.zeros((4, 1))) == 0.0
    assert rsm_norm(np.array([[0], [3]]), np.array([[0], [1]])) == pytest.approx(2 * np.sqrt(2))
    assert rsm_norm(X.astype(np.float32), Y.astype(np.float32)) == pytest.approx(value, rel=1e-6)


def test_beyond_float64_is_nan_with_the_reason() -> None:
    """Squares of 1e200 are no numbers: NaN and what to do."""
    with pytest.warns(UserWarning, match="rsm_norm is NaN: responses up to .* larger unit"):
        assert np.isnan(rsm_norm(X * 1e200, Y * 1e200, squared=True))


def test_unrelated_systems_and_feature_bias() -> None:
    """The values that the record states: about 1.4 n for unrelated normal data; and two systems of the
    same two features with opposite strengths are farther apart than one and the easy feature alone."""
    rng = np.random.default_rng(1)
    for p in (5, 500):
        values = [rsm_norm(*rng.normal(size=(2, 100, p))) for _ in range(8)]
        assert np.mean(values) == pytest.approx(139, abs=6)
    a, b, c = feature_bias([(0.55, 0.05), (0.05, 0.55), (0.6, 0.0)])
    assert rsm_norm(a, b, per_unit=True) == pytest.approx(104, abs=2)
    assert rsm_norm(a, c, per_unit=True) == pytest.approx(15.1, abs=1)


def test_errors() -> None:
    """One stimulus has no distances."""
    with pytest.raises(ShapeError, match="rsm_norm over 1 stimuli; it needs at least 2"):
        rsm_norm(X[:1], Y[:1])
