"""TwoNN: brute-force reference, planted dimensions, duplicates, close neighbours, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from brainalign.comparison import _descriptor_neighbours
from brainalign.comparison._descriptor_neighbours import two_nearest
from brainalign.comparison.intrinsic_dimension import two_nn
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))


def reference(x: np.ndarray, discard: float) -> float:
    """Facco's estimate from a full distance matrix, with a least-squares routine for the line."""
    d = np.sort(cdist(x, x), axis=1)
    mu = np.sort(d[:, 2] / d[:, 1])
    kept = min(int(np.floor(round(len(x) * (1 - discard), 6))), len(x) - 1)
    heights = -np.log(1 - np.arange(1, len(x) + 1)[:kept] / len(x))
    return float(np.linalg.lstsq(np.log(mu[:kept])[:, None], heights, rcond=None)[0][0])


@pytest.mark.parametrize("discard", [0.0, 0.1, 0.35])
@pytest.mark.parametrize("x", [X, X[:12] @ RNG.normal(size=(4, 40))], ids=["tall", "wide"])
def test_equal_to_the_full_distance_matrix(x: np.ndarray, discard: float) -> None:
    """The estimate is the one of all distances, sorted, for each share that is discarded."""
    assert two_nn(x, discard=discard).dimension == pytest.approx(reference(x, discard), rel=1e-10)


@pytest.mark.parametrize(("dimension", "tolerance"), [(1, 0.1), (2, 0.15), (5, 0.6)])
def test_planted_dimension(dimension: int, tolerance: float) -> None:
    """A torus of 1, 2 and 5 angles has that dimension, although it fills twice as many units."""
    angles = 2 * np.pi * np.random.default_rng(1).random((1000, dimension))
    torus = np.hstack([np.sin(angles), np.cos(angles)])
    assert two_nn(torus).dimension == pytest.approx(dimension, abs=tolerance)
    assert np.linalg.matrix_rank(torus - torus.mean(0)) == 2 * dimension


def test_noise_fills_all_dimensions() -> None:
    """A line with noise in ten units is no longer one-dimensional for its neighbours."""
    rng = np.random.default_rng(2)
    line = np.outer(rng.random(500), np.ones(10))
    assert two_nn(line + 0.1 * rng.normal(size=(500, 10))).dimension > 4


def test_duplicates_are_left_out_and_counted() -> None:
    """Repeated rows, exact or rotated with rounding, change neither the estimate nor raise a warning."""
    plain = two_nn(X)
    twice = np.vstack([X, X[:40], X[:10]])
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    jitter = 1e-16 * RNG.normal(size=twice.shape)
    for x in (twice, twice + jitter, twice @ rotation, (twice + jitter) @ rotation):
        found = two_nn(x)
        assert found.dimension == pytest.approx(plain.dimension, rel=1e-7)
        assert found[1:] == (50, 135)


@pytest.mark.parametrize("factor", [1e-200, 1e200, -3.0])
def test_invariances(factor: float) -> None:
    """Scale, shift, rotation, order of units and stimuli do not matter; a linear map does."""
    plain = two_nn(X).dimension
    rotated = factor * (X @ np.linalg.qr(RNG.normal(size=(4, 4)))[0])[::-1, ::-1] + 5.0 * factor
    assert two_nn(rotated).dimension == pytest.approx(plain, rel=1e-7)
    assert abs(two_nn(X * [1, 5, 25, 125]).dimension - plain) > 0.1
    assert two_nn(X.astype(np.float32)).dimension == pytest.approx(plain, rel=1e-2)


def test_neighbours_that_products_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tight clusters far from one another, and many small tiles, give the exact neighbours."""
    monkeypatch.setattr(_descriptor_neighbours, "_TILE_CELLS", 200)
    centres = RNG.normal(size=(4, 3))
    x = np.repeat(centres, 15, axis=0) + 1e-9 * RNG.normal(size=(60, 3))
    distances, nearest = two_nearest(x)
    full = cdist(x, x)
    np.fill_diagonal(full, np.inf)
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(nearest, full.argmin(axis=1))


def test_a_grid_has_no_estimate() -> None:
    """Where both neighbours are equally far for every stimulus the value is NaN and says why."""
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2)
    with pytest.warns(UserWarning, match="two_nn is NaN: the two nearest neighbours .* as on a grid"):
        assert np.isnan(two_nn(grid).dimension)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: two_nn(X, discard=1.0), InputError, r"discard=1.0; expected a share .* in \[0, 1\)"),
        (lambda: two_nn(X[[0, 1, 1, 0]]), InputError, "x has 2 distinct stimuli of 4"),
        (
            lambda: two_nn(X[:9], discard=0.9),
            InputError,
            "leaves 0 in the fit; two_nn needs at least 3 and 2",
        ),
        (lambda: two_nn(X[:2]), ShapeError, "x has 2 stimuli"),
        (lambda: two_nn(np.ones((5, 2))), InputError, "x does not vary"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    """Each wrong input is refused with what was expected and found."""
    with pytest.raises(error, match=text):
        call()
