"""Dynamical similarity on systems whose dynamics and geometry are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ortho_group

from brainalign.comparison._measures_dynamics import MEASURES_DYNAMICS
from brainalign.comparison.dynamical_similarity import FORMS, dsa, eigenvalue_distance, pairwise_dsa
from brainalign.comparison.mode_decomposition import dmd

RNG = np.random.default_rng(0)


def tori(frequencies: tuple[float, ...], n_times: int, seed: int, noise: float = 0.0) -> np.ndarray:
    """States on circles of unit radius, one plane a frequency, from random phases."""
    rng = np.random.default_rng(seed)
    angles = np.arange(n_times)[:, None] * np.array(frequencies) + rng.uniform(0, 6.28, len(frequencies))
    x = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(n_times, -1)
    return np.asarray(x + noise * rng.normal(size=x.shape))


def autoregression(seed: int, n_times: int = 300, p: int = 5, system: int = 0) -> np.ndarray:
    """A noise-driven linear system; `system` chooses the operator, `seed` the noise."""
    made = np.random.default_rng(system)
    operator = made.normal(size=(p, p))
    operator *= 0.9 / np.abs(np.linalg.eigvals(operator)).max()
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=p)]
    for _ in range(n_times - 1):
        x.append(operator @ x[-1] + rng.normal(size=p))
    return np.array(x)


def lorenz(step: float, n_times: int, start: np.ndarray) -> np.ndarray:
    """The Lorenz system sampled every `step`, fourth-order Runge-Kutta."""

    def flow(s: np.ndarray) -> np.ndarray:
        return np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])

    states, s = [], start
    for _ in range(n_times + 100):
        k1 = flow(s)
        k2 = flow(s + step / 2 * k1)
        k3 = flow(s + step / 2 * k2)
        s = s + step / 6 * (k1 + 2 * k2 + 2 * k3 + flow(s + step * k3))
        states.append(s)
    return np.array(states[100:])


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of a distance matrix."""
    out = []
    for i, own in enumerate(labels):
        same = (labels == own) & (np.arange(len(labels)) != i)
        within, between = distances[i, same].mean(), distances[i, labels != own].mean()
        out.append((between - within) / max(within, between))
    return float(np.mean(out))


def procrustes_of_clouds(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Angle of two clouds after the best rotation, rows in random order: states without times."""
    rng = np.random.default_rng(seed)
    a, b = (v[rng.permutation(len(v))] - v.mean(axis=0) for v in (x, y))
    return float(np.arccos(np.linalg.norm(a.T @ b, "nuc") / (np.linalg.norm(a) * np.linalg.norm(b))))


def test_rotated_copy_against_other_frequencies() -> None:
    """A rotated 4-d system is 0.001 away in eigenvalues, other frequencies 0.43; the clouds agree."""
    x = tori((0.25, 0.75), 400, 0, noise=0.002)
    copy = tori((0.25, 0.75), 400, 1, noise=0.002) @ ortho_group.rvs(4, random_state=0)
    other = tori((0.68, 1.18), 400, 2, noise=0.002)
    options = {"n_delays": 1, "rank": 4}
    assert dsa(x, copy, form="eigenvalues", **options) < 0.001
    assert dsa(x, other, form="eigenvalues", **options) == pytest.approx(2 * math.sin(0.215), abs=0.002)
    assert dsa(x, copy, **options) < 0.001 < 0.4 < dsa(x, other, **options)
    same = [procrustes_of_clouds(x, copy, s) for s in range(20)]
    unlike = [procrustes_of_clouds(x, other, s) for s in range(20)]
    assert abs(np.mean(same) - np.mean(unlike)) < 0.03
    # singular values see no frequency at all: the fault of an earlier re-implementation
    a, b = (np.linalg.svd(dmd(v, **options).operator, compute_uv=False) for v in (x, other))
    assert eigenvalue_distance(a, b) < 0.01


def test_limit_cycles_separate_by_speed_not_shape() -> None:
    """Rings and tori in random rotations: two speeds of each make families, whatever the geometry."""
    systems, labels = [], []
    for family, w in enumerate((0.2, 0.5)):
        for seed in range(3):
            radius = np.repeat([1.0, 0.2 + 0.4 * seed], 2)  # shapes differ within a family
            x = tori((w, 2.2 * w), 150, seed, noise=0.01) * radius
            systems.append(x @ ortho_group.rvs(6, random_state=seed + 9 * family)[:4] * 10.0**seed)
            labels.append(family)
    for form in FORMS:
        found = pairwise_dsa(systems, n_delays=2, rank=4, form=form)
        assert silhouette(found, np.array(labels)) > 0.9


def test_lorenz_sampled_at_two_rates() -> None:
    """One attractor, two speeds: the clouds are alike, the dynamics fall into two families."""
    systems = [lorenz(h, 700, np.array([1.0, 1.0, 20.0]) + i) for h in (0.01, 0.03) for i in range(2)]
    labels = np.array([0, 0, 1, 1])
    for form in ("angular", "eigenvalues"):
        assert silhouette(pairwise_dsa(systems, n_delays=5, rank=6, form=form), labels) > 0.8
    spectra = [np.linalg.svd(s - s.mean(axis=0), compute_uv=False) for s in systems]
    shapes = np.array([s / np.linalg.norm(s) for s in spectra])
    assert silhouette(np.linalg.norm(shapes[:, None] - shapes, axis=2), labels) < 0.7


HOLDS = {
    "rotation": lambda x: x @ ortho_group.rvs(x.shape[1], random_state=3),
    "scale": lambda x: 1e-7 * x,
    "translation": lambda x: x + 10 * np.arange(x.shape[1]),
    "permutation": lambda x: x[:, ::-1],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", sorted(HOLDS))
def test_invariances_that_hold(form: str, change: str) -> None:
    """The record's invariances hold on each side alone, with the default options."""
    x, y = autoregression(1, 40), autoregression(2, 40, system=1)
    assert MEASURES_DYNAMICS[0].invariances == frozenset(HOLDS)
    plain = dsa(x, y, form=form)
    assert dsa(HOLDS[change](x), y, form=form) == pytest.approx(plain, abs=1e-6)
    assert dsa(x, HOLDS[change](y), form=form) == pytest.approx(plain, abs=1e-6)
    assert dsa(x, HOLDS[change](x), form=form) < 1e-5 < plain


@pytest.mark.parametrize("form", FORMS)
def test_invariances_that_fail(form: str) -> None:
    """Invertible maps and speed change the value; an offset does so without the constant."""
    x, y = autoregression(1, 40), autoregression(2, 40, system=1)
    plain = dsa(x, y, form=form)
    mixed = x @ np.random.default_rng(5).normal(size=(5, 5))
    assert abs(dsa(mixed, y, form=form, n_delays=1, rank=3) - dsa(x, y, form=form, n_delays=1, rank=3)) > 1e-3
    assert abs(dsa(x[::2], y, form=form) - plain) > 1e-3
    offset = x + 10 * np.arange(5)
    assert abs(dsa(offset, y, form=form, intercept=False) - dsa(x, y, form=form, intercept=False)) > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_invertible_maps_at_full_rank(form: str) -> None:
    """With all components kept the coordinates are whitened: invertible maps change nothing."""
    x, y = autoregression(1, 40), autoregression(2, 40, system=1)
    mixed = x @ np.random.default_rng(5).normal(size=(5, 5))
    options = {"n_delays": 1, "rank": 5, "form": form}
    assert dsa(mixed, y, **options) == pytest.approx(dsa(x, y, **options), abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_symmetric_and_equal_to_single_calls(form: str) -> None:
    """The table is symmetric, has a zero diagonal, equals `dsa` of each pair and obeys the triangle."""
    systems = [autoregression(s, 120, 4, system=s) for s in range(4)]
    options = {"n_delays": 2, "rank": 5, "form": form}
    table = pairwise_dsa(systems, **options)
    np.testing.assert_array_equal(table, table.T)
    assert not np.diagonal(table).any()
    assert dsa(systems[0], systems[3], **options) == pytest.approx(table[0, 3], abs=1e-7)
    assert dsa(systems[3], systems[0], **options) == dsa(systems[0], systems[3], **options)
    through = table[:, :, None] + table[None]
    assert (table[:, None] <= through.transpose(0, 1, 2) + 1e-7).all()


def test_noise_of_short_recordings() -> None:
    """Two recordings of one system differ by the error of their operators, less in longer ones."""
    options = {"n_delays": 1, "rank": 5}
    short, long_ = (
        np.mean([dsa(autoregression(2 * s, n), autoregression(2 * s + 1, n), **options) for s in range(4)])
        for n in (50, 1000)
    )
    assert long_ < 0.2 < short


def test_recordings_of_any_size() -> None:
    """Trials, lengths, widths and dtypes may differ; the arrays of the caller stay as they are."""
    x = np.stack([autoregression(s, 40) for s in range(3)])
    y = autoregression(7, 60, 9, system=2).astype(np.float32)
    before = x.copy(), y.copy()
    value = dsa(x, y)
    assert 0 < value < math.pi
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert dsa(x, y.astype(np.float64)) == pytest.approx(value, abs=1e-6)
    assert dsa(x, x[::-1], n_delays=1) == pytest.approx(0, abs=1e-6)


def test_record_and_shortest_recording() -> None:
    """The record's minimum is long enough for its defaults, and its options are those of `dsa`."""
    record = MEASURES_DYNAMICS[0]
    shortest = record.function(RNG.normal(size=(record.minimum, 3)), RNG.normal(size=(record.minimum, 8)))
    assert record.range[0] <= shortest <= math.pi
    assert set(record.options) == set(dsa.__kwdefaults__)
    assert (record.name, record.kind, record.samples) == ("dsa", "distance", "trajectories")
