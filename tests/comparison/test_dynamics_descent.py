"""The search for the best rotation against brute force and against the paper's Adam loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from brainalign.comparison._dynamics_descent import descend
from brainalign.comparison._dynamics_pairs import Search, operator_distances
from brainalign.comparison._dynamics_starts import matched_starts, random_starts, spectral_bases
from brainalign.comparison.mode_decomposition import dmd

SEARCH = Search(n_restarts=8, max_iterations=200, random_state=0)


def distance(a: np.ndarray, b: np.ndarray, form: str = "angular", search: Search = SEARCH) -> float:
    """Distance of two operators."""
    return float(operator_distances(np.stack([a, b]), np.array([0]), np.array([1]), form, search)[0])


def angle_by_grid(a: np.ndarray, b: np.ndarray, *, mirrored: bool) -> tuple[float, float]:
    """Smallest angle and norm over 20,000 rotations of the plane, or over as many reflections."""
    w = np.linspace(0, 2 * np.pi, 20000, endpoint=False)
    c = np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]]).transpose(2, 0, 1)
    if mirrored:
        c = c @ np.diag([1.0, -1.0])
    moved = c @ b @ c.transpose(0, 2, 1)
    overlap = np.sum(a * moved, axis=(1, 2)).max() / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.arccos(min(overlap, 1.0))), float(np.linalg.norm(a - moved, axis=(1, 2)).min())


def adam_angle(a: np.ndarray, b: np.ndarray, *, n_steps: int = 200, seed: int = 0) -> float:
    """The paper's optimiser: Adam over the Cayley map, one restart of each determinant."""
    first, second = (torch.from_numpy(m / np.linalg.norm(m)) for m in (a, b))
    identity = torch.eye(len(a), dtype=torch.float64)
    best = np.inf
    for sign in (1.0, -1.0):
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(a.shape, generator=generator, dtype=torch.float64).requires_grad_()
        flip = identity.clone()
        flip[0, 0] = sign
        optimiser = torch.optim.Adam([w], lr=0.01)
        for _ in range(n_steps):
            optimiser.zero_grad()
            skew = w - w.T
            c = torch.linalg.solve(identity + skew, identity - skew) @ flip
            loss = torch.arccos((first * (c @ second @ c.T)).sum().clamp(-1 + 1e-12, 1 - 1e-12))
            loss.backward()
            optimiser.step()
            best = min(best, float(loss.detach()))
    return best


def noisy_operators(r: int, k: int = 3) -> np.ndarray:
    """DMD operators of `k` noise-driven systems."""
    out = []
    for seed in range(k):
        rng = np.random.default_rng(seed)
        step = ortho_group.rvs(r, random_state=seed) * rng.uniform(0.5, 0.95, size=r)
        x = [rng.normal(size=r)]
        for _ in range(150):
            x.append(step @ x[-1] + 0.5 * rng.normal(size=r))
        out.append(dmd(np.array(x), n_delays=1, rank=r).operator)
    return np.stack(out)


@pytest.mark.parametrize("seed", range(4))
def test_plane_by_brute_force(seed: int) -> None:
    """In two dimensions the search finds the optimum of a fine grid over both components."""
    a, b = np.random.default_rng(seed).normal(size=(2, 2, 2))
    grids = [angle_by_grid(a, b, mirrored=m) for m in (False, True)]
    assert distance(a, b) == pytest.approx(min(g[0] for g in grids), abs=1e-6)
    assert distance(a, b, "euclidean") == pytest.approx(min(g[1] for g in grids), abs=1e-6)


def test_reflections_are_searched() -> None:
    """A mirrored operator is at distance 0, which no proper rotation reaches."""
    a = np.array([[0.9, -0.5], [0.3, 0.2]])
    mirrored = np.diag([1.0, -1.0]) @ a @ np.diag([1.0, -1.0])
    assert angle_by_grid(a, mirrored, mirrored=False)[0] > 0.1
    assert distance(a, mirrored) < 1e-7


@pytest.mark.parametrize(("r", "k"), [(3, 2), (4, 3), (6, 2)])
def test_no_worse_than_adam(r: int, k: int) -> None:
    """On noisy systems the loss is at most that of 200 Adam steps from two starts."""
    operators = noisy_operators(r, k)
    first, second = np.triu_indices(k, 1)
    found = operator_distances(operators, first, second, "angular", SEARCH)
    reference = [adam_angle(operators[i], operators[j]) for i, j in zip(first, second, strict=True)]
    assert (found <= np.array(reference) + 1e-6).all()
    assert (found > 0.01).all()


@pytest.mark.parametrize("r", [1, 2, 5, 12])
def test_planted_rotation(r: int) -> None:
    """An operator and its rotated, mirrored copy are at distance 0, from spectral starts alone."""
    a = np.random.default_rng(r).normal(size=(r, r))
    q = ortho_group.rvs(r, random_state=r) if r > 1 else np.array([[-1.0]])
    if r > 1:
        q[:, 0] *= -np.sign(np.linalg.det(q))
    none = Search(n_restarts=0, max_iterations=100, random_state=0)
    for form in ("angular", "euclidean"):
        assert distance(a, q @ a @ q.T, form, none) < 1e-6


def test_extremes_of_the_angle() -> None:
    """The identity and its negative are pi apart; a factor changes the norm and not the angle."""
    eye = np.eye(4)
    assert distance(eye, -eye) == pytest.approx(np.pi)
    assert distance(eye, 3 * eye) < 1e-7
    assert distance(eye, 3 * eye, "euclidean") == pytest.approx(4.0)


def test_steps_descend_to_a_stationary_point() -> None:
    """The loss never rises, the result is orthogonally similar to b, and its gradient vanishes."""
    r = 5
    a, b = (torch.from_numpy(v / np.linalg.norm(v)) for v in np.random.default_rng(3).normal(size=(2, r, r)))
    starts = torch.from_numpy(random_starts(3, r, 0))
    many = [v.expand(6, r, r).contiguous() for v in (a, b)]
    losses, m = [], None
    for steps in (1, 3, 10, 200):
        m = descend(*many, starts, n_starts=1, max_iterations=steps)
        losses.append(-(many[0] * m).sum(dim=(1, 2)).numpy())
    assert (np.diff(losses, axis=0) <= 1e-14).all()
    for found in m.numpy():
        np.testing.assert_allclose(
            np.sort_complex(np.linalg.eigvals(found)),
            np.sort_complex(np.linalg.eigvals(b.numpy())),
            atol=1e-9,
        )
        rotated = found.T @ a.numpy() - a.numpy() @ found.T
        assert np.abs(rotated - rotated.T).max() < 1e-6


def test_starts_are_orthogonal_and_of_both_signs() -> None:
    """Each kind of start comes as a rotation and a reflection, and the same seed repeats it."""
    a, b = np.random.default_rng(0).normal(size=(2, 4, 4))
    bases = [torch.from_numpy(spectral_bases(v))[None] for v in (a, b)]
    matched = matched_starts(torch.from_numpy(a)[None], torch.from_numpy(b)[None], *bases)[0].numpy()
    random = random_starts(5, 4, 1)
    for starts in (matched, random):
        np.testing.assert_allclose(
            starts @ starts.transpose(0, 2, 1), np.broadcast_to(np.eye(4), starts.shape), atol=1e-10
        )
        assert np.sum(np.linalg.det(starts) > 0) * 2 == len(starts)
    np.testing.assert_array_equal(random, random_starts(5, 4, 1))
    assert not np.array_equal(random, random_starts(5, 4, 2))


def test_batch_changes_nothing() -> None:
    """A pair has the same distance alone and among others, and swapped."""
    operators = noisy_operators(4)
    together = operator_distances(operators, *np.triu_indices(3, 1), "angular", SEARCH)
    assert distance(operators[0], operators[2]) == pytest.approx(together[1], abs=1e-8)
    assert distance(operators[2], operators[0]) == distance(operators[0], operators[2])


def test_small_blocks_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs searched in blocks, to bound memory, have the distances of one batch."""
    operators = noisy_operators(4)
    whole = operator_distances(operators, *np.triu_indices(3, 1), "angular", SEARCH)
    monkeypatch.setattr("brainalign.comparison._dynamics_pairs._FLOATS_AT_ONCE", 1)
    blocks = operator_distances(operators, *np.triu_indices(3, 1), "angular", SEARCH)
    np.testing.assert_allclose(blocks, whole, atol=1e-8)
