"""Simplex weights against brute force, an optimiser of scipy, and their optimality conditions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from brainalign.errors import ShapeError
from brainalign.regression import _simplex
from brainalign.regression._simplex import simplex_weights


def cross_products(rng, t, J, n=40, kind="noise"):
    """Errors of J members and their cross products, (t, J, J)."""
    E = rng.standard_normal((t, n, J))
    if kind == "shared":  # the noise of the target dwarfs what the members differ by
        E = 0.05 * E + rng.standard_normal((t, n, 1))
    if kind == "scales":  # some members are wrong by orders of magnitude
        E = E * 10.0 ** rng.uniform(-3, 3, (t, 1, J))
    if kind == "rank":  # fewer rows than members
        E = E[:, : max(1, J - 2)]
    return np.einsum("tni,tnj->tij", E, E)


def weights_of(R):
    return simplex_weights(torch.as_tensor(R)).numpy()


def brute_force(R):
    """The best of the minima of all faces of the simplex."""
    J, best = len(R), (np.inf, None)
    for k in range(1, J + 1):
        for face in map(list, itertools.combinations(range(J), k)):
            system = np.zeros((k + 1, k + 1))
            system[:k, :k], system[k, :k], system[:k, k] = R[np.ix_(face, face)], 1, 1
            z = np.linalg.lstsq(system, np.eye(k + 1)[k], rcond=None)[0][:k]
            if (z < -1e-12).any() or abs(z.sum() - 1) > 1e-6:
                continue
            w = np.zeros(J)
            w[face] = z.clip(0) / z.clip(0).sum()
            if w @ R @ w < best[0]:
                best = (w @ R @ w, w)
    return best


@pytest.mark.parametrize("J", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["noise", "shared", "scales"])
def test_weights_equal_the_best_face(J, kind):
    """The weights are those of the best of all faces of the simplex, found by trying each."""
    R = cross_products(np.random.default_rng(J), 40, J, kind=kind)
    for R_t, w in zip(R, weights_of(R), strict=True):
        error, expected = brute_force(R_t)
        np.testing.assert_allclose(w, expected, atol=1e-8)
        assert w @ R_t @ w <= error * (1 + 1e-10)


def test_weights_equal_a_general_optimiser():
    """A sequential quadratic program finds no smaller error, and the same weights."""
    R = cross_products(np.random.default_rng(0), 15, 6, kind="shared")
    for R_t, w in zip(R, weights_of(R), strict=True):
        found = minimize(
            lambda v, R_t=R_t: v @ R_t @ v / R_t.mean(),
            np.full(6, 1 / 6),
            jac=lambda v, R_t=R_t: 2 * R_t @ v / R_t.mean(),
            bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert w @ R_t @ w <= found.x @ R_t @ found.x * (1 + 1e-10)
        np.testing.assert_allclose(w, found.x, atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    J=st.integers(1, 16),
    kind=st.sampled_from(["noise", "shared", "rank", "scales"]),
    power=st.integers(-26, 26),
)
def test_optimality_conditions(seed, J, kind, power):
    """Weights lie on the simplex; the gradient is level where they are positive, nowhere lower."""
    R = cross_products(np.random.default_rng(seed), 3, J, kind=kind) * 10.0**power
    for R_t, w in zip(R, weights_of(R), strict=True):
        assert (w >= 0).all()
        assert w.sum() == pytest.approx(1, abs=1e-12)
        gradient, error = R_t @ w, w @ R_t @ w
        size = 1e-9 * np.sqrt(R_t.diagonal().min() * R_t.diagonal())  # rounding of w_i R_ii for bad members
        assert (gradient - error >= -size).all()
        assert (np.abs(gradient - error) <= size)[w > 1e-9].all()


def test_two_members_have_a_closed_form():
    """For two members the weight is (c - b) / (a + c - 2 b), clipped to [0, 1]; for one it is 1."""
    R = cross_products(np.random.default_rng(1), 500, 2)
    R[::2, 0] *= 2  # make many of them clip
    R[::2, :, 0] *= 2
    a, b, c = R[:, 0, 0], R[:, 0, 1], R[:, 1, 1]
    expected = np.clip((c - b) / (a + c - 2 * b), 0, 1)
    np.testing.assert_allclose(weights_of(R)[:, 0], expected, atol=1e-10)
    assert (weights_of(R[:, :1, :1]) == 1).all()


def test_members_that_do_not_help_weigh_exactly_zero():
    """A member that adds noise to another one gets no weight at all."""
    rng = np.random.default_rng(2)
    E = rng.standard_normal((20, 200, 2))
    E = np.concatenate([E, E[..., :1] + 3 * rng.standard_normal((20, 200, 1))], axis=2)
    E[..., 2] += 2 * E[..., 0]
    w = weights_of(np.einsum("tni,tnj->tij", E, E))
    assert (w[:, 2] == 0).all()
    assert (w[:, :2] > 0.1).all()


@pytest.mark.parametrize("size", [1.0, 1e3, 1e-13])
def test_equal_members_share_equally(size):
    """Copies of a member take equal shares, and together what the member had alone."""
    E = np.random.default_rng(3).standard_normal((10, 30, 2)) * size
    alone = weights_of(np.einsum("tni,tnj->tij", E, E))
    copies = E[..., [0, 1, 0, 0]]
    w = weights_of(np.einsum("tni,tnj->tij", copies, copies))
    np.testing.assert_allclose(w[:, 0], w[:, 2], atol=1e-3)
    np.testing.assert_allclose(w[:, 0], w[:, 3], atol=1e-3)
    np.testing.assert_allclose(w[:, [0, 2, 3]].sum(1), alone[:, 0], atol=1e-8)
    np.testing.assert_allclose(weights_of(np.ones((1, 4, 4)) * size), 0.25)


def test_of_equal_combinations_the_smallest_is_taken():
    """A member that is the mean of two others: the weights with the least sum of R_ii w_i^2."""
    E = np.random.default_rng(4).standard_normal((1, 400, 2))
    E = np.concatenate([E, E.mean(2, keepdims=True)], axis=2)
    R = np.einsum("tni,tnj->tij", E, E)
    a, b = weights_of(R[:, :2, :2])[0]
    shares = np.linspace(0, 2 * min(a, b), 2001)
    line = np.stack([a - shares / 2, b - shares / 2, shares])
    expected = line[:, (R[0].diagonal() @ line**2).argmin()]
    np.testing.assert_allclose(weights_of(R)[0], expected, atol=2e-3)


def test_members_without_error():
    """A perfect member takes all; several share; without any error all share."""
    R = np.zeros((3, 3, 3))
    R[0, 1:, 1:] = [[2.0, 0.5], [0.5, 1.0]]
    R[1, 2, 2] = 1.0
    np.testing.assert_allclose(weights_of(R), [[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3], atol=1e-12)


def test_a_member_that_diverges_leaves_the_others():
    """A member with an error 1e12 times as large gets no weight and costs the others no digits."""
    R = cross_products(np.random.default_rng(5), 30, 3, kind="shared")
    wide = np.zeros((30, 4, 4))
    wide[:, :3, :3], wide[:, 3, 3] = R, 1e12 * R[:, 0, 0]
    w = weights_of(wide)
    np.testing.assert_allclose(w[:, :3], weights_of(R), atol=1e-9)
    assert w[:, 3].max() < 1e-11


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_order_scale_and_shared_error(seed, J):
    """Order permutes weights; scale and an error common to all members leave them; a better member gains."""
    rng = np.random.default_rng(seed)
    R = cross_products(rng, 5, J, kind="shared")
    base, order = weights_of(R), rng.permutation(J)
    np.testing.assert_allclose(weights_of(R[:, order][:, :, order]), base[:, order], atol=1e-8)
    np.testing.assert_allclose(weights_of(1e-20 * R), base, atol=1e-8)
    np.testing.assert_allclose(weights_of(R + 3 * R[:, :1, :1]), base, atol=1e-7)
    worst = base.argmin(1)
    rows = np.arange(5)
    R[rows, worst] *= 0.5
    R[rows, :, worst] *= 0.5
    assert (weights_of(R)[rows, worst] > base[rows, worst] + 1e-3).all()


def test_targets_do_not_touch_each_other(monkeypatch):
    """A target gets the same weights alone, in a batch, in small blocks, and beside a NaN target."""
    R = cross_products(np.random.default_rng(6), 50, 5)
    together = weights_of(R)
    single = np.concatenate([weights_of(R[t : t + 1]) for t in range(50)])
    np.testing.assert_allclose(single, together, atol=1e-12)
    monkeypatch.setattr(_simplex, "_BLOCK", 7)
    np.testing.assert_allclose(weights_of(R), together, atol=1e-12)
    dirty = R.copy()
    dirty[4, 1, 2], dirty[9, 0, 0] = np.nan, np.inf
    w = weights_of(dirty)
    assert np.isnan(w[[4, 9]]).all()
    np.testing.assert_allclose(np.delete(w, [4, 9], 0), np.delete(together, [4, 9], 0), atol=1e-12)
    assert weights_of(np.zeros((0, 3, 3))).shape == (0, 3)


def test_float32_input_is_solved_in_float64():
    """float32 cross products give float64 weights that sum to one to double precision."""
    R = cross_products(np.random.default_rng(7), 20, 5)
    w = simplex_weights(torch.as_tensor(R, dtype=torch.float32))
    assert w.dtype == torch.float64
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-14)
    np.testing.assert_allclose(w, weights_of(R), atol=1e-4)


@pytest.mark.gpu
def test_simplex_on_cuda_equals_cpu():
    """The same weights come back on the device of the input."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    R = torch.as_tensor(cross_products(np.random.default_rng(8), 300, 6))
    found = simplex_weights(R.cuda())
    assert found.device.type == "cuda"
    np.testing.assert_allclose(found.cpu(), simplex_weights(R), atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4), (2, 0, 0)])
def test_shapes_that_are_refused(shape):
    """Anything but one square matrix per target is refused with its shape."""
    with pytest.raises(ShapeError, match=r"R has shape .*; expected one square matrix per target"):
        simplex_weights(torch.zeros(shape))
