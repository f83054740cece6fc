"""The alpha family against its definition, the scale it hides, and scores on held-out stimuli."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.procrustes import angular_procrustes_distance
from brainalign.comparison.shape import scale_free_shape_distance, shape_distance, shape_held_out
from brainalign.errors import InputError, ShapeError


def whitened(x: np.ndarray, alpha: float) -> np.ndarray:
    """x (alpha I + (1 - alpha) C^-1/2), written out."""
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x)
    return x @ (vectors * (alpha + (1 - alpha) / np.sqrt(values))) @ vectors.T


def angle(x: np.ndarray, y: np.ndarray) -> float:
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(np.arccos(nuclear / np.linalg.norm(x) / np.linalg.norm(y)))


def pair(seed: int = 0, n: int = 40, p: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) + 3.0
    return x, x @ rng.normal(size=(p, p)) + 2.0 * rng.normal(size=(n, p))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_against_the_definition(alpha: float, scale: float) -> None:
    """Moved singular values equal the whitening matrix written out, at every scale."""
    x, y = pair()
    expected = angle(whitened(scale * x, alpha), whitened(y, alpha))
    assert shape_distance(scale * x, y, alpha=alpha) == pytest.approx(expected, abs=1e-10)


def test_ends_of_the_family() -> None:
    """Alpha 1 is the angular Procrustes distance, alpha 0 the angle of the mean canonical correlation."""
    x, y = pair(1)
    assert shape_distance(x, y) == angular_procrustes_distance(x, y)
    bases = [np.linalg.qr(v - v.mean(axis=0))[0] for v in (x, y)]
    mean = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()
    assert np.cos(shape_distance(x, y, alpha=0.0)) == pytest.approx(mean, abs=1e-12)


def test_hidden_scale_and_its_cure() -> None:
    """Between the ends the value moves with the scale of x and with n; the scale-free form does not."""
    x, y = pair(2)
    twice = np.vstack([x, x]), np.vstack([y, y])
    for alpha in (0.2, 0.5, 0.8):
        plain = shape_distance(x, y, alpha=alpha)
        assert abs(shape_distance(0.01 * x, y, alpha=alpha) - plain) > 1e-3
        assert abs(shape_distance(*(0.03 * v for v in twice), alpha=alpha) - shape_distance(0.03 * x, 0.03 * y, alpha=alpha)) > 1e-3  # fmt: skip  # noqa: E501
        free = scale_free_shape_distance(x, y, alpha=alpha)
        assert scale_free_shape_distance(0.01 * x, 1e5 * y, alpha=alpha) == pytest.approx(free, abs=1e-12)
        assert scale_free_shape_distance(*twice, alpha=alpha) == pytest.approx(free, abs=1e-12)
        scaled = [v - v.mean(axis=0) for v in (x, y)]
        scaled = [v / np.sqrt(np.linalg.eigvalsh(v.T @ v).mean()) for v in scaled]
        assert free == pytest.approx(angle(*(whitened(v, alpha) for v in scaled)), abs=1e-10)
    for alpha in (0.0, 1.0):
        assert shape_distance(0.01 * x, y, alpha=alpha) == pytest.approx(
            shape_distance(x, y, alpha=alpha), abs=1e-12
        )
        assert scale_free_shape_distance(x, y, alpha=alpha) == pytest.approx(
            shape_distance(x, y, alpha=alpha), abs=1e-12
        )


def test_held_out_against_the_definition() -> None:
    """Means, whitening and rotation of the training rows, applied to others, written out in full."""
    x, y = pair(3, n=60)
    for alpha in (0.0, 0.4, 1.0):
        sides = []
        for v in (x, y):
            centred = v[:40] - v[:40].mean(axis=0)
            values, vectors = np.linalg.eigh(centred.T @ centred)
            z = (vectors * (alpha + (1 - alpha) / np.sqrt(values))) @ vectors.T
            sides.append((centred @ z, (v[40:] - v[:40].mean(axis=0)) @ z))
        u, _, vt = np.linalg.svd(sides[0][0].T @ sides[1][0])
        a, b = sides[0][1] @ u @ vt, sides[1][1]
        expected = np.arccos(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
        found = shape_held_out(x[:40], y[:40], x[40:], y[40:], alpha=alpha)
        assert found == pytest.approx(expected, abs=1e-9)
        assert shape_held_out(x, y, x, y, alpha=alpha) == pytest.approx(
            shape_distance(x, y, alpha=alpha), abs=1e-9
        )
        back = shape_held_out(y[:40], x[:40], y[40:], x[40:], alpha=alpha)
        assert back == pytest.approx(found, abs=1e-9)


def test_held_out_on_the_null_and_on_a_planted_rotation() -> None:
    """Unrelated wide systems are near on their own rows, at a right angle on others; a rotation is found."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 60, 200))
    assert shape_distance(x[:30], y[:30]) < 0.6
    assert shape_held_out(x[:30], y[:30], x[30:], y[30:]) == pytest.approx(np.pi / 2, abs=0.1)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a = rng.normal(size=(30, 6))
    assert shape_held_out(a[:15], a[:15] @ turn + 2.0, a[15:], a[15:] @ turn + 2.0) < 1e-12
    wider = np.hstack([a @ turn, np.zeros((30, 3))])
    assert shape_held_out(a[:15], wider[:15], a[15:], wider[15:], alpha=0.5) < 1e-12
    assert shape_held_out(wider[:15], a[:15], wider[15:], a[15:], alpha=0.0) < 1e-12


def test_rank_below_width() -> None:
    """Repeated and dependent units do not reach the whitening: the value is that of a basis of them."""
    x, y = pair(5, p=3)
    dependent = np.hstack([x, x[:, :1] + x[:, 1:2]]) + 1e3
    for other in (y, np.hstack([y, y])):
        assert shape_distance(dependent, other, alpha=0.0) == pytest.approx(
            shape_distance(x, y, alpha=0.0), abs=1e-9
        )
    rng = np.random.default_rng(5)
    wide = rng.normal(size=(2, 10, 30))
    assert shape_distance(*wide, alpha=0.0) < 1e-6


def test_refusals() -> None:
    """Alpha out of range, other units in the test rows, constant sides."""
    x, y = pair(6, n=12)
    with pytest.raises(InputError, match="alpha=1.5; expected a number from 0 to 1"):
        shape_distance(x, y, alpha=1.5)
    with pytest.raises(ShapeError, match="x_train has 5 units and x_test has 2"):
        shape_held_out(x, y, x[:, :2], y)
    with pytest.raises(ShapeError, match="the fit of a shape distance over 2 stimuli"):
        shape_held_out(x[:2], y[:2], x, y)
    with pytest.warns(UserWarning, match="x does not vary"):
        assert np.isnan(shape_held_out(np.ones((12, 2)), y, x[:, :2], y))
    flat = np.zeros((4, 1))
    with pytest.warns(UserWarning, match="y_test equals the training mean"):
        assert np.isnan(shape_held_out(x, np.arange(-5.5, 6.0)[:, None], x[:4], flat))
