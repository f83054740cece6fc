"""Bures distance and similarity against matrix roots and Procrustes rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg
from scipy.stats import ortho_group

from brainalign.comparison import bures as module
from brainalign.comparison.bures import bures_distance, normalised_bures_similarity
from brainalign.errors import ShapeError

RNG = np.random.default_rng(0)


def padded(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both centred, the narrower one filled up with zeros."""
    width = max(x.shape[1], y.shape[1])
    return tuple(  # type: ignore[return-value]
        np.pad(side - side.mean(axis=0), ((0, 0), (0, width - side.shape[1]))) for side in (x, y)
    )


def by_roots(x: np.ndarray, y: np.ndarray) -> float:
    """Bures distance of the Gram matrices over n, by matrix square roots."""
    a, b = padded(x, y)
    k, l_gram = a @ a.T / len(a), b @ b.T / len(b)
    roots = []
    for gram in (k, l_gram):  # singular: the root of scipy has none of its digits
        values, vectors = np.linalg.eigh(gram)
        roots.append((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)
    fidelity = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    return float(np.sqrt(np.trace(k) + np.trace(l_gram) - 2.0 * fidelity))


@pytest.mark.parametrize("shape", [(12, 3, 5), (12, 5, 3), (8, 20, 30), (15, 1, 4)])
def test_against_matrix_roots_and_the_procrustes_rotation(shape: tuple[int, int, int]) -> None:
    """The distance of the Gram matrices is the residual of the best rotation over root n; NBS its cosine."""
    n, p, q = shape
    x, y = RNG.normal(size=(n, p)) + 3.0, RNG.normal(size=(n, q)) - 1.0
    distance = bures_distance(x, y)
    assert distance == pytest.approx(by_roots(x, y), abs=1e-6)
    a, b = padded(x, y)
    rotation, _ = linalg.orthogonal_procrustes(a, b)
    assert distance == pytest.approx(np.linalg.norm(a @ rotation - b) / np.sqrt(n), abs=1e-12)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rotation, total = linalg.orthogonal_procrustes(a, b)
    angle = np.arccos(np.sum((a @ rotation) * b))
    assert normalised_bures_similarity(x, y) == pytest.approx(np.cos(angle), abs=1e-12)
    assert normalised_bures_similarity(x, y) == pytest.approx(total, abs=1e-12)


def test_it_is_not_squared() -> None:
    """Some code returns the square; the distance scales with the responses, not with their squares."""
    x, y = RNG.normal(size=(2, 20, 4))
    assert bures_distance(2.0 * x, 2.0 * y) == pytest.approx(2.0 * bures_distance(x, y), rel=1e-12)
    assert abs(bures_distance(2.0 * x, y) - bures_distance(x, y)) > 0.1
    assert normalised_bures_similarity(2.0 * x, y) == pytest.approx(normalised_bures_similarity(x, y))


@pytest.mark.parametrize("noise", [0.0, 1e-10, 1e-6, 1e-2])
def test_nearly_equal_systems_keep_their_digits(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated copy with noise of any size is as far as the noise that no rotation takes away."""
    x = RNG.normal(size=(30, 5))
    step = RNG.normal(size=(30, 5))
    y = (x + noise * step) @ ortho_group.rvs(5, random_state=0) + 2.0
    size = noise * float(np.linalg.norm(step - step.mean(0))) / np.sqrt(30)
    found = bures_distance(x, y)
    assert 0.8 * size - 1e-14 <= found <= size + 1e-14
    if noise == 1e-10:  # the three terms alone cancel to their rounding
        monkeypatch.setattr(module, "_CANCELLED", -1.0)
        with np.errstate(invalid="ignore"):
            naive = bures_distance(x, y)
        assert not abs(naive - found) < 0.1 * found


def test_a_metric_over_systems_of_unequal_widths() -> None:
    """Symmetric, zero for a rotated copy, and no triangle is violated among systems of all widths."""
    systems = [RNG.normal(size=(10, p)) * s for p, s in ((1, 1.0), (4, 2.0), (4, 0.1), (20, 1.0), (9, 3.0))]
    systems.append(systems[1] @ ortho_group.rvs(4, random_state=1))
    d = np.array([[bures_distance(a, b) for b in systems] for a in systems])
    np.testing.assert_allclose(d, d.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(d), 0.0, atol=1e-13)
    assert d[1, 5] == pytest.approx(0.0, abs=1e-13)
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-12).all()


def test_squared_it_has_no_triangle() -> None:
    """The square of the distance violates the triangle inequality, so the root is not cosmetic."""
    x = RNG.normal(size=(10, 1))
    near, far = bures_distance(x, 2.0 * x), bures_distance(x, 3.0 * x)
    assert far == pytest.approx(near + bures_distance(2.0 * x, 3.0 * x))
    assert far**2 > near**2 + bures_distance(2.0 * x, 3.0 * x) ** 2


def test_many_more_units_than_stimuli() -> None:
    """60,000 units on both sides never meet in a product of their widths (29 GB)."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 60_000)).astype(np.float32)
    assert bures_distance(x, y) > 0.0
    assert normalised_bures_similarity(x, y) > 0.95  # unrelated: the bias of more units than stimuli


def test_null_falls_with_stimuli() -> None:
    """Unrelated sides: the similarity falls to 0 as stimuli are added at a fixed number of units."""
    rng = np.random.default_rng(1)
    values = [normalised_bures_similarity(*rng.normal(size=(2, n, 5))) for n in (10, 100, 10_000)]
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.03


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_extreme_scales(factor: float) -> None:
    """The distance of tiny and huge responses is that of their shape times the unit."""
    x, y = RNG.normal(size=(2, 12, 3))
    assert bures_distance(x * factor, y * factor) == pytest.approx(bures_distance(x, y) * factor, rel=1e-12)
    root = np.linalg.norm(x - x.mean(axis=0)) / np.sqrt(12)
    assert bures_distance(x * 1e200, y * 1e-200) == pytest.approx(root * 1e200, rel=1e-12)


def test_a_constant_side() -> None:
    """The distance from a constant side is the root of the variance; the similarity is NaN with a reason."""
    x = RNG.normal(size=(10, 3))
    constant = np.full((10, 2), 0.1)
    expected = np.linalg.norm(x - x.mean(axis=0)) / np.sqrt(10)
    assert bures_distance(x, constant) == pytest.approx(expected, rel=1e-12)
    assert bures_distance(constant, np.ones((10, 4))) == 0.0
    with pytest.warns(UserWarning, match="normalised Bures similarity is NaN: y does not vary over stimuli"):
        assert np.isnan(normalised_bures_similarity(x, constant))
    with pytest.warns(UserWarning, match="normalised Bures similarity is NaN: x does not vary over stimuli"):
        assert np.isnan(normalised_bures_similarity(constant, x))


def test_too_few_stimuli() -> None:
    """One stimulus is refused."""
    with pytest.raises(ShapeError, match="the Bures distance over 1 stimuli; it needs at least 2"):
        bures_distance(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ShapeError, match="the normalised Bures similarity over 1 stimuli"):
        normalised_bures_similarity(np.ones((1, 3)), np.ones((1, 3)))
