"""Descriptors of depth on states whose movement is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import ortho_group

from brainalign.comparison.depth import depth_dynamics
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


def test_definitions_by_loops() -> None:
    """All four columns equal their definitions, token by token."""
    states = RNG.normal(size=(4, 5, 6)).cumsum(axis=0)
    table = depth_dynamics(states)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert table.index.name == "layer"
    assert table.loc[0].isna().tolist() == [True, False, True, True]
    for layer in range(4):
        final = np.mean([cosine(states[layer, i], states[-1, i]) for i in range(5)])
        assert table.loc[layer, "cosine_to_final"] == pytest.approx(final)
    for layer in range(1, 4):
        angles = [np.arccos(cosine(states[layer, i], states[layer - 1, i])) for i in range(5)]
        assert table.loc[layer, "step_angle"] == pytest.approx(np.mean(angles))
        u = states[layer] - states[layer - 1]
        share = np.linalg.svd(u, compute_uv=False)
        share = share / share.sum()
        assert table.loc[layer, "update_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
        pairs = [cosine(u[i], u[j]) for i in range(5) for j in range(5) if i != j]
        assert table.loc[layer, "token_coherence"] == pytest.approx(np.mean(pairs))


def test_known_movements() -> None:
    """A shared shift is coherent and of rank one, independent updates neither; a small turn has its angle."""
    n, p = 40, 200
    start = RNG.normal(size=(n, p))
    shift = depth_dynamics([start, start + RNG.normal(size=p)])
    assert shift.loc[1, "token_coherence"] == pytest.approx(1.0)
    assert shift.loc[1, "update_rank"] == pytest.approx(1.0, abs=1e-6)
    free = depth_dynamics([start, start + RNG.normal(size=(n, p))])
    assert abs(free.loc[1, "token_coherence"]) < 0.02
    assert free.loc[1, "update_rank"] > 0.9 * n
    w = 1e-9
    turn = np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]])
    small = depth_dynamics([np.eye(2), np.eye(2) @ turn])
    assert small.loc[1, "step_angle"] == pytest.approx(w, rel=1e-6)


def test_invariances() -> None:
    """Rotation and scale change nothing; a shift of all states changes angles and not the updates."""
    states = RNG.normal(size=(4, 6, 5)).cumsum(axis=0)
    plain = depth_dynamics(states)
    for moved in (states @ ortho_group.rvs(5, random_state=0), 1e-200 * states, 1e200 * states):
        np.testing.assert_allclose(depth_dynamics(moved), plain, atol=1e-9)
    shifted = depth_dynamics(states + 5.0)
    np.testing.assert_allclose(shifted.iloc[:, 2:], plain.iloc[:, 2:], atol=1e-9)
    assert np.nanmin(np.abs(shifted - plain).iloc[:3, :2]) > 1e-3
    np.testing.assert_allclose(depth_dynamics(states.astype(np.float32)), plain, atol=1e-5)
    order = RNG.permutation(6)
    np.testing.assert_allclose(depth_dynamics(states[:, order]), plain, atol=1e-9)


def test_missing_values_have_a_reason() -> None:
    """Zero states are left out; a layer that changes nothing has no rank, one token no coherence."""
    states = RNG.normal(size=(3, 4, 5))
    states[1, 0] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = depth_dynamics(states)
    assert kept.loc[1, "step_angle"] == pytest.approx(depth_dynamics(states[:, 1:]).loc[1, "step_angle"])
    still = np.stack([states[0], states[0], states[2]])
    with pytest.warns(UserWarning, match="update_rank of layers 1; token_coherence of layers 1: NaN"):
        table = depth_dynamics(still)
    assert table.loc[1].isna().tolist() == [False, False, True, True]
    assert table.loc[1, "step_angle"] == 0
    with pytest.warns(UserWarning, match="token_coherence of layers 1, 2: NaN, as too few tokens"):
        depth_dynamics(states[:, 1:2])
    with pytest.warns(UserWarning, match="cosine_to_final of layers 0, 1"):
        assert np.isnan(depth_dynamics(np.zeros((2, 3, 4)))["cosine_to_final"]).all()


def test_refused() -> None:
    """Unequal shapes, missing axes and values that are not finite are named."""
    with pytest.raises(ShapeError, match=r"states have unequal shapes, \(2, 3\) and \(4, 3\)"):
        depth_dynamics([np.ones((2, 3)), np.ones((4, 3))])
    with pytest.raises(ShapeError, match=r"states have shape \(2, 3\); expected \(n_layers, n, p\)"):
        depth_dynamics(np.ones((2, 3)))
    with pytest.raises(
        InputError, match="states hold 1 values that are not finite, first in layer 1, row 0, unit 2"
    ):
        depth_dynamics(np.array([[[1, 2, 3.0]], [[1, 2, np.inf]]]))
