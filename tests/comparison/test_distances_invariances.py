"""What each RDM distance is invariant to, and what it must not be invariant to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.comparison.rdms import NOISE_DISTANCES, rdm

SEEDS = st.integers(0, 10**6)
# rotation, one positive factor, a vector added to every row, an invertible map of the units
TABLE = {
    "sq_euclidean": (True, False, True, False),
    "euclidean": (True, False, True, False),
    "correlation": (False, True, False, False),
    "cosine": (True, True, False, False),
    "mahalanobis": (False, False, True, False),
    "poisson": (False, False, False, False),
}


def change_of(kind: str, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    p = x.shape[1]
    if kind == "rotation":
        return x @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    if kind == "scale":
        return 1.7 * x
    if kind == "translation":
        return x + rng.uniform(0.5, 2.0, size=p) * np.arange(1, p + 1)
    return x @ (np.diag(np.linspace(0.5, 2.0, p)) + 0.1 * rng.uniform(size=(p, p)))


def distances(x: np.ndarray, distance: str, precision: np.ndarray) -> np.ndarray:
    out: np.ndarray = rdm(x, distance=distance, noise=precision if distance in NOISE_DISTANCES else None)
    return out


def scene(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(5, 5))
    # positive throughout, and so large that a rotation of counts stays positive
    return rng, rng.uniform(1.0, 9.0, size=(7, 5)), factor @ factor.T + 0.1 * np.eye(5)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("distance", sorted(TABLE))
def test_every_cell_of_the_table(distance: str, seed: int) -> None:
    """Rotation, scale, translation and linear maps change exactly the distances that they must change."""
    rng, x, precision = scene(seed)
    expected = distances(x, distance, precision)
    kinds = zip(("rotation", "scale", "translation", "linear"), TABLE[distance], strict=True)
    for kind, holds in kinds:
        changed = change_of(kind, x, rng)
        if distance == "poisson" and kind == "rotation":
            changed = np.abs(changed)
        same = np.allclose(distances(changed, distance, precision), expected, rtol=1e-7, atol=1e-9)
        assert same is holds, kind


@settings(max_examples=15, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("distance", sorted(TABLE))
def test_order_of_units_and_of_stimuli(distance: str, seed: int) -> None:
    """Units may come in any order; stimuli in another order give the RDM in that order."""
    rng, x, precision = scene(seed)
    expected = distances(x, distance, precision)
    units, rows = rng.permutation(5), rng.permutation(7)
    moved = distances(x[rows][:, units], distance, precision[np.ix_(units, units)])
    np.testing.assert_allclose(moved, expected[np.ix_(rows, rows)], rtol=1e-9, atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_mahalanobis_follows_a_linear_map_of_units_and_noise(seed: int) -> None:
    """An invertible map of the units that the noise goes through as well changes nothing."""
    rng, x, precision = scene(seed)
    linear = np.diag(np.linspace(0.5, 2.0, 5)) + 0.1 * rng.uniform(size=(5, 5))
    inverse = np.linalg.inv(linear)
    moved = distances(x @ linear, "mahalanobis", inverse @ precision @ inverse.T)
    np.testing.assert_allclose(moved, distances(x, "mahalanobis", precision), rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_triangle_inequality_of_the_metric_alone(seed: int) -> None:
    """Euclidean distances satisfy the triangle inequality; squared ones on a line do not."""
    _, x, _ = scene(seed)
    d = rdm(x, distance="euclidean")
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-12).all()
    line = rdm(np.arange(3.0)[:, None] * np.ones(4), distance="sq_euclidean")
    assert line[0, 2] > line[0, 1] + line[1, 2]
