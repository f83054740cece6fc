"""Stochastic shape distances: the planted cases, another optimiser, the peer's weights, the axioms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from brainalign.comparison.energy_shape import energy_shape_distance
from brainalign.comparison.procrustes import procrustes_distance
from brainalign.comparison.stochastic_shape import gaussian_shape_distance, stochastic_shape_distance
from brainalign.errors import InputError, ShapeError


def system(seed: int, n: int = 8, p: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, p, p))
    return rng.normal(size=(n, p)), factors @ factors.transpose(0, 2, 1) / 2


def rotation(p: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


def objective(x: tuple, y: tuple, turn: np.ndarray, alpha: float) -> float:
    """The distance at one rotation, from matrix square roots."""
    total = 0.0
    for m, s, k, w in zip(*x, *y, strict=True):
        root, w = np.real(sqrtm(s)), turn.T @ w @ turn
        bures = np.trace(s) + np.trace(w) - 2 * np.trace(np.real(sqrtm(root @ w @ root)))
        total += alpha * np.sum((m - k @ turn) ** 2) + (2 - alpha) * bures
    return float(np.sqrt(max(total / len(x[0]), 0.0)))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.7, 2.0])
def test_rotated_copy_is_at_zero(alpha: float) -> None:
    """Means and covariances turned together are at distance 0 to 1e-6, at every alpha."""
    means, covs = system(0, 10, 5)
    q = rotation(5)
    assert gaussian_shape_distance(means, covs, means @ q, q.T @ covs @ q, alpha=alpha) < 1e-6


def test_fourfold_covariance() -> None:
    """Equal means with four times the covariance: exactly the root of the mean trace."""
    means, covs = system(1, 10, 5)
    expected = np.sqrt(np.trace(covs, axis1=1, axis2=2).mean())
    assert gaussian_shape_distance(means, covs, means, 4.0 * covs) == pytest.approx(expected, rel=1e-10)


def test_means_alone_are_procrustes() -> None:
    """Alpha 2 of centred means is the Procrustes distance over the root of n, times the root of 2."""
    (a, s), (b, w) = system(2), system(3, p=5)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    expected = procrustes_distance(a, b, scale_free=False) * np.sqrt(2.0 / len(a))
    assert gaussian_shape_distance(a, s, b, w, alpha=2.0) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_against_a_search_over_angles(alpha: float) -> None:
    """In two dimensions no rotation or reflection of a fine search is lower than what is found."""
    x, y = system(4, 6, 2), system(5, 6, 2)

    def at(angle: float, flip: float) -> float:
        c, s = np.cos(angle), np.sin(angle)
        return objective(x, y, np.array([[c, -s], [flip * s, flip * c]]), alpha)

    starts = [(at(t, f), t, f) for t in np.linspace(0, 2 * np.pi, 25) for f in (1.0, -1.0)]
    _, t, f = min(starts)
    least = minimize(
        lambda v: at(float(v[0]), f), [t], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert gaussian_shape_distance(*x, *y, alpha=alpha) == pytest.approx(least.fun, abs=1e-7)


def fitted_score(x: tuple, y: tuple, alpha: float, on_means: float, on_covs: float) -> float:
    """The best of several fits with these weights, scored with alpha and 2 - alpha."""
    a, b = (np.stack([np.real(sqrtm(s)) for s in covs]) for covs in (x[1], y[1]))
    scores = []
    for seed in range(8):
        turn = rotation(x[0].shape[1], seed)
        for _ in range(120):
            u, _, vt = np.linalg.svd(a @ turn.T @ b)
            moment = (b @ (u @ vt).transpose(0, 2, 1) @ a).sum(axis=0)
            u, _, vt = np.linalg.svd(on_means * y[0].T @ x[0] + on_covs * moment)
            turn = u @ vt
        scores.append(objective(x, y, turn, alpha))
    return min(scores)


def test_weights_before_squaring_score_too_high() -> None:
    """At alpha 0.3 a fit that stacks alpha and 2 - alpha unrooted ends above ours; at alpha 1 equal."""
    excess = []
    for seed in range(4):
        x, y = system(10 + seed, 5), system(20 + seed, 5)
        x, y = (3.0 * x[0], x[1]), (3.0 * y[0], y[1])
        ours = gaussian_shape_distance(*x, *y, alpha=0.3)
        assert ours == pytest.approx(fitted_score(x, y, 0.3, 0.3, 1.7), abs=1e-5)
        excess.append(fitted_score(x, y, 0.3, 0.3**2, 1.7**2) - ours)
    assert min(excess) > -1e-6
    assert max(excess) > 0.005
    assert fitted_score(x, y, 1.0, 1.0, 1.0) == pytest.approx(gaussian_shape_distance(*x, *y), abs=1e-5)


def test_five_systems_are_a_metric_space() -> None:
    """No triangle of five random systems is violated, and both orders give one value."""
    systems = [np.random.default_rng(s).normal(size=(6, 7, 3)) * (1 + s / 4) for s in range(5)]
    for d in (stochastic_shape_distance, energy_shape_distance):
        table = np.array(
            [
                [d(a, b, restarts=2) if i < j else 0.0 for j, b in enumerate(systems)]
                for i, a in enumerate(systems)
            ]
        )
        table += table.T
        for i, j, k in itertools.permutations(range(5), 3):
            assert table[i, j] <= table[i, k] + table[k, j] + 1e-9
        assert d(systems[4], systems[0], restarts=2) == pytest.approx(table[0, 4], rel=1e-9)


def test_trials_are_their_means_and_covariances() -> None:
    """Trials give the value of their means and covariances over n_repeats - 1, few or many, wide or not."""
    rng = np.random.default_rng(6)
    for shapes in (((5, 9, 3), (5, 4, 4)), ((3, 2, 9), (3, 3, 12))):
        x, y = (rng.normal(size=s) for s in shapes)
        moments = [
            (t.mean(axis=1), np.stack([np.atleast_2d(np.cov(trial, rowvar=False)) for trial in t]))
            for t in (x, y)
        ]
        expected = gaussian_shape_distance(*moments[0], *moments[1], restarts=12)
        assert stochastic_shape_distance(x, y, restarts=12) == pytest.approx(expected, abs=1e-6)


def test_energy_distance() -> None:
    """A rotated copy is at 0; on one unit it is the sum written out; noise alone is seen."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(6, 7, 3))
    assert energy_shape_distance(x, x @ rotation(3)) < 1e-6
    a, b = rng.normal(size=(4, 6, 1)), rng.normal(size=(4, 5, 1)) + 1.0
    values = []
    for sign in (1.0, -1.0):
        pairs = [
            2 * cdist(u, sign * v).mean() - cdist(u, u).mean() - cdist(v, v).mean()
            for u, v in zip(a, b, strict=True)
        ]
        values.append(np.sqrt(np.mean(pairs)))
    assert energy_shape_distance(a, b) == pytest.approx(min(values), abs=1e-7)
    noisy = x.mean(axis=1, keepdims=True) + 3.0 * (x - x.mean(axis=1, keepdims=True))
    assert energy_shape_distance(x, noisy) > 0.3


@pytest.mark.parametrize("d", [stochastic_shape_distance, energy_shape_distance])
def test_what_changes_the_value_and_what_does_not(d: object) -> None:
    """Rotation and unit order leave the value; scale and shift move it; sizes scale as said."""
    assert callable(d)
    x, y = np.random.default_rng(8).normal(size=(2, 5, 6, 3))
    x, y = x + np.arange(5.0)[:, None, None], y + np.arange(5.0)[:, None, None]
    value = d(x, y)
    assert d(x @ rotation(3), y[..., [2, 0, 1]]) == pytest.approx(value, abs=1e-6)
    assert d(x, np.pad(y, ((0, 0), (0, 0), (0, 2)))) == pytest.approx(value, abs=1e-6)
    assert abs(d(2.0 * x, y) - value) > 1e-2
    assert abs(d(x + 1.0, y) - value) > 1e-2
    power = 1.0 if d is stochastic_shape_distance else 0.5
    assert d(x * 1e-200, y * 1e-200) == pytest.approx(value * 1e-200**power, rel=1e-6)
    assert d(np.zeros((3, 2, 2)), np.zeros((3, 4, 1))) == 0.0


def test_an_unsettled_search_says_so() -> None:
    """One step is no search: the value comes with a warning that it is an upper bound."""
    x, y = np.random.default_rng(9).normal(size=(2, 6, 7, 4))
    for d in (stochastic_shape_distance, energy_shape_distance):
        with pytest.warns(UserWarning, match=r"max_iter=1 steps .* upper bound"):
            assert d(x, y, max_iter=1, restarts=0) >= d(x, y) - 1e-9


def test_errors() -> None:
    """Each refusal names the argument, the row and what was expected."""
    x = np.random.default_rng(10).normal(size=(4, 3, 2))
    means, covs = system(11, 4, 2)
    bad = x.copy()
    bad[2, 1, 0] = np.nan
    with pytest.raises(ShapeError, match=r"x has shape \(3, 2\); expected trials"):
        stochastic_shape_distance(x[0], x)
    with pytest.raises(ShapeError, match="x has 4 stimuli and y has 3"):
        energy_shape_distance(x, x[:3])
    with pytest.raises(ShapeError, match="y has 1 repeat; a stochastic distance needs at least 2"):
        stochastic_shape_distance(x, x[:, :1])
    with pytest.raises(InputError, match=r"y has 1 values that are not finite, first at \(2, 1, 0\)"):
        stochastic_shape_distance(x, bad)
    with pytest.raises(InputError, match="x has dtype complex128"):
        stochastic_shape_distance(x * 1j, x)
    with pytest.raises(InputError, match="restarts=-1; expected a whole number of at least 0"):
        stochastic_shape_distance(x, x, restarts=-1)
    with pytest.raises(InputError, match="alpha=3; expected a number from 0 to 2"):
        stochastic_shape_distance(x, x, alpha=3)
    with pytest.raises(ShapeError, match="means_x has 4 stimuli and means_y has 3"):
        gaussian_shape_distance(means, covs, means[:3], covs[:3])
    with pytest.raises(ShapeError, match=r"covs_y has shape \(4, 1, 1\); expected \(4, 2, 2\)"):
        gaussian_shape_distance(means, covs, means, covs[:, :1, :1])
    with pytest.raises(InputError, match="covs_x of stimulus 0 is not symmetric"):
        gaussian_shape_distance(means, covs + np.array([[0, 1], [0, 0]]), means, covs)
    with pytest.raises(InputError, match="covs_y of stimulus 0 has the eigenvalue -"):
        gaussian_shape_distance(means, covs, means, -covs)
