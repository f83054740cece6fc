"""Delay embedding and the linear operator of a recording, against definitions written out in full."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.delay_embedding import delay_embed
from brainalign.comparison.mode_decomposition import dmd

RNG = np.random.default_rng(0)


def linear_system(
    operator: np.ndarray, n_times: int, *, noise: float = 0.0, n_trials: int = 1, seed: int = 0
) -> np.ndarray:
    """Trials (n_trials, n_times, p) of x_(t+1) = A x_t + noise from random starts."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(n_trials, len(operator)))]
    for _ in range(n_times - 1):
        x.append(x[-1] @ operator.T + noise * rng.normal(size=x[-1].shape))
    return np.stack(x, axis=1)


def turning(*frequencies: float, decay: float = 1.0) -> np.ndarray:
    """A block-diagonal operator that turns each plane by a frequency in radians per sample."""
    out = np.zeros((2 * len(frequencies), 2 * len(frequencies)))
    for i, w in enumerate(frequencies):
        out[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = decay * np.array(
            [[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]]
        )
    return out


def havok(x: np.ndarray, n_delays: int, rank: int, penalty: float) -> np.ndarray:
    """The operator of the paper for one trial: Hankel rows, SVD, ridge on the time components."""
    rows = np.array(
        [np.concatenate([x[t - i] for i in range(n_delays)]) for t in range(n_delays - 1, len(x))]
    )
    v = np.linalg.svd(rows, full_matrices=False)[0][:, :rank]
    past, future = v[:-1], v[1:]
    return np.asarray(np.linalg.inv(past.T @ past + penalty * np.eye(rank)) @ past.T @ future).T


def test_delay_embedding_by_loops() -> None:
    """Each row is the state and its earlier copies; no row mixes two trials."""
    x = RNG.normal(size=(3, 11, 2))
    out = delay_embed(x, n_delays=3, delay=2)
    assert out.shape == (3, 7, 6)
    for trial in range(3):
        for i in range(7):
            t = i + 4
            expected = np.concatenate([x[trial, t], x[trial, t - 2], x[trial, t - 4]])
            np.testing.assert_array_equal(out[trial, i], expected)
        np.testing.assert_array_equal(delay_embed(x[trial], n_delays=3, delay=2), out[trial])


def test_one_delay_is_a_copy() -> None:
    """One delay returns the recording itself, and changing it leaves the recording alone."""
    x = RNG.normal(size=(6, 2))
    out = delay_embed(x, n_delays=1)
    out += 1.0
    np.testing.assert_allclose(out - 1.0, x, atol=1e-15)
    assert not np.shares_memory(out, x)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_operator_of_the_paper(ridge: float) -> None:
    """Without the constant the operator is the paper's, up to the signs of the components."""
    x = linear_system(turning(0.3, 0.9, decay=0.98), 60, noise=0.3)[0] @ RNG.normal(size=(4, 6)) + 0.5
    model = dmd(x, n_delays=4, rank=5, ridge=ridge, intercept=False)
    rows = 60 - 3
    expected = havok(x, 4, 5, ridge * (rows - 1) / rows)
    np.testing.assert_allclose(np.abs(model.operator), np.abs(expected), atol=1e-9)
    values = np.linalg.eigvals(expected)
    assert np.abs(model.eigenvalues[:, None] - values[None]).min(axis=1).max() < 1e-9
    # with the constant, the offset of 0.5 is no part of the dynamics
    assert np.abs(dmd(x, n_delays=4, rank=5, ridge=ridge).operator - model.operator).max() > 0.01


@pytest.mark.parametrize("n_trials", [1, 4])
def test_planted_eigenvalues(n_trials: int) -> None:
    """The eigenvalues and the fixed point of a noise-free affine system are found exactly."""
    true = turning(0.3, 0.9, decay=0.97)
    x = linear_system(true, 30, n_trials=n_trials) @ RNG.normal(size=(4, 7)) + RNG.normal(size=7)
    model = dmd(x, n_delays=1, rank=4)
    values = np.linalg.eigvals(true)
    assert np.abs(model.eigenvalues[:, None] - values[None]).min(axis=1).max() < 1e-9
    assert model.prediction_error < 1e-18
    assert model.n_transitions == 29 * n_trials
    z = (x[0] - model.mean) @ model.basis.T / model.spread
    np.testing.assert_allclose(z[1:], z[:-1] @ model.operator.T + model.intercept, atol=1e-9)
    np.testing.assert_allclose(model.basis @ model.basis.T, np.eye(4), atol=1e-12)


def test_steps_across_trials_are_not_fitted() -> None:
    """Trials joined into one recording give another operator than the trials themselves."""
    x = linear_system(turning(0.5, decay=0.9), 8, n_trials=6)
    apart, joined = dmd(x, n_delays=1, rank=2), dmd(x.reshape(-1, 2), n_delays=1, rank=2)
    np.testing.assert_allclose(np.abs(apart.eigenvalues), 0.9, atol=1e-9)
    assert np.abs(np.abs(joined.eigenvalues) - 0.9).max() > 0.02


def test_delays_stand_in_for_unseen_states() -> None:
    """One recorded unit of a 4-d system shows all four eigenvalues in four delays, and two without."""
    x = linear_system(turning(0.3, 0.9), 60)[0][:, [0]] + linear_system(turning(0.3, 0.9), 60)[0][:, [2]]
    model = dmd(x, n_delays=4, rank=4)
    np.testing.assert_allclose(np.sort(np.abs(np.angle(model.eigenvalues))), [0.3, 0.3, 0.9, 0.9], atol=1e-6)
    assert model.prediction_error < 1e-12
    assert dmd(x, n_delays=1, rank=1).prediction_error > 0.05


def test_noise_is_not_predicted() -> None:
    """White noise has a one-step error of about one: no better than its mean."""
    assert dmd(RNG.normal(size=(400, 3)), n_delays=1, rank=3).prediction_error == pytest.approx(1.0, abs=0.05)


def test_default_rank_by_variance_and_length() -> None:
    """Without a rank: 99 % of the variance, and at most one component for five transitions."""
    x = RNG.normal(size=(200, 6)) * np.array([10, 5, 2, 0.1, 0.05, 0.01])
    assert len(dmd(x, n_delays=1).operator) == 3
    assert len(dmd(x[:12], n_delays=1).operator) == 2
    assert len(dmd(x[:3], n_delays=1).operator) == 1


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_scales(scale: float) -> None:
    """Values of 1e-200 and 1e200 give the same operator; the spread carries the unit."""
    x = linear_system(turning(0.3, 0.9), 40, noise=0.1)[0]
    plain, scaled = dmd(x, n_delays=2, rank=4), dmd(x * scale, n_delays=2, rank=4)
    np.testing.assert_allclose(scaled.operator, plain.operator, atol=1e-9)
    np.testing.assert_allclose(scaled.spread / scale, plain.spread, rtol=1e-9)


def test_awkward_input() -> None:
    """Constant units, copied units, integers, more units than times and one unit are all defined."""
    x = linear_system(turning(0.3, 0.9), 40, noise=0.1)[0]
    plain = dmd(x, n_delays=1, rank=4)
    still = dmd(np.c_[x, np.full((40, 2), 7.0)], n_delays=1, rank=4)
    np.testing.assert_allclose(still.operator, plain.operator, atol=1e-9)
    wide = dmd(np.repeat(x, 30, axis=1), n_delays=1, rank=4)
    np.testing.assert_allclose(wide.operator, plain.operator, atol=1e-9)
    whole = np.rint(100 * x).astype(np.int32)
    np.testing.assert_allclose(
        dmd(whole, n_delays=1, rank=4).operator, dmd(whole.astype(float), n_delays=1, rank=4).operator
    )
    assert dmd(x[:, :1], n_delays=1, rank=1).operator.shape == (1, 1)
    np.testing.assert_allclose(
        dmd(x.astype(np.float32), n_delays=1, rank=4).operator, plain.operator, atol=1e-5
    )
