"""RDMs of pairs of times: brute force, identities, planted generalisation, null, and errors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from brainalign.comparison import cross_time
from brainalign.comparison.cross_time import cross_time_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis_of_means
from brainalign.errors import InputError, MemoryBudgetError, ShapeError

K, N, P, T = 3, 4, 6, 5
RNG = np.random.default_rng(0)
MEANS = RNG.normal(size=(K, N, P, T)) + RNG.normal(size=(N, P, T))
FACTOR = RNG.normal(size=(P, P))
PRECISION = np.linalg.inv(FACTOR @ FACTOR.T + np.eye(P))


@pytest.mark.parametrize("noise", [None, PRECISION])
def test_crossnobis_against_brute_force(noise: np.ndarray | None) -> None:
    """Every entry is the mean over ordered pairs of runs of the products of differences at the two times."""
    got = cross_time_rdms(MEANS, noise=noise)
    lam = np.eye(P) if noise is None else noise
    for t, s in np.ndindex(T, T):
        for i, j in permutations(range(N), 2):
            values = [
                (MEANS[k, i, :, t] - MEANS[k, j, :, t]) @ lam @ (MEANS[m, i, :, s] - MEANS[m, j, :, s])
                for k, m in permutations(range(K), 2)
            ]
            assert got[t, s, i, j] == pytest.approx(np.mean(values) / P, abs=1e-12)
    assert not np.einsum("tsii->tsi", got).any()


def test_equal_times_are_the_rdms_of_each_time() -> None:
    """On the diagonal of times stand the crossnobis RDMs, and both exchanges are symmetric."""
    got = cross_time_rdms(MEANS, noise=PRECISION)
    np.testing.assert_allclose(
        got[np.arange(T), np.arange(T)],
        crossnobis_of_means(MEANS.transpose(3, 0, 1, 2), PRECISION),
        atol=1e-12,
    )
    assert np.array_equal(got, got.transpose(1, 0, 3, 2))
    np.testing.assert_allclose(got, got.transpose(0, 1, 3, 2), atol=1e-12)


@pytest.mark.parametrize("distance", ["sq_euclidean", "euclidean"])
def test_plain_distances_against_scipy(distance: str) -> None:
    """Stimulus i at one time from j at another; equal times give the RDM of the mean over runs."""
    from scipy.spatial.distance import cdist

    got = cross_time_rdms(MEANS, distance=distance)
    mean = MEANS.mean(0)
    for t, s in np.ndindex(T, T):
        squared = cdist(mean[:, :, t], mean[:, :, s], "sqeuclidean") / P
        np.testing.assert_allclose(
            got[t, s], squared if distance == "sq_euclidean" else squared**0.5, atol=1e-7
        )
    np.testing.assert_allclose(got[2, 2], rdm(mean[:, :, 2], distance=distance), atol=1e-12)
    assert not np.allclose(got[0, 1], got[0, 1].T)
    np.testing.assert_allclose(cross_time_rdms(mean, distance=distance), got, atol=1e-12)


@pytest.mark.parametrize("distance", cross_time.CROSS_TIME_DISTANCES)
def test_blocks_do_not_matter(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two times give the same matrices as one block; torch and single precision agree."""
    whole = cross_time_rdms(MEANS, distance=distance)
    monkeypatch.setattr(cross_time, "_BLOCK_BYTES", 8 * N * N * 4)
    np.testing.assert_allclose(cross_time_rdms(MEANS, distance=distance), whole, atol=1e-12)
    tensor = cross_time_rdms(torch.from_numpy(MEANS), distance=distance)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), whole, atol=1e-12)
    np.testing.assert_allclose(cross_time_rdms(MEANS.astype(np.float32), distance=distance), whole, atol=1e-3)


def test_planted_generalisation_and_reversal() -> None:
    """A code that holds over two times generalises, another code does not, a reversed one is negative."""
    rng = np.random.default_rng(1)
    first, other = rng.normal(size=(2, N, 300)) * 2
    truth = np.stack([first, first, other, -first], axis=2)
    got = cross_time_rdms(truth + rng.normal(size=(4, N, 300, 4)))
    level = got[:, :, *np.triu_indices(N, 1)].mean(2)
    expected = rdm(first, distance="sq_euclidean")[np.triu_indices(N, 1)].mean()
    assert level[0, 1] == pytest.approx(expected, rel=0.1)
    assert abs(level[0, 2]) < 0.15 * expected
    assert level[0, 3] == pytest.approx(-expected, rel=0.1)


def test_null_mean_is_zero() -> None:
    """Noise that lasts over times of a run gives distances around 0 within 3 standard errors, since
    runs are independent; a pattern common to the stimuli of a run does not matter."""
    rng = np.random.default_rng(2)
    lasting = rng.normal(size=(K, 60, 400, 1)) + rng.normal(size=(K, 1, 400, 1)) * 5
    got = cross_time_rdms(lasting + 0.5 * rng.normal(size=(K, 60, 400, 2)))[0, 1]
    # pairs of stimuli that share none are independent
    values = got[np.arange(0, 60, 2), np.arange(1, 60, 2)]
    assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_wrong_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axes, one run, holes, unknown distances and results beyond the memory are refused."""
    with pytest.raises(ShapeError, match=r"means have shape \(4, 6, 5\); expected \(n_runs, n_stimuli"):
        cross_time_rdms(MEANS[0])
    with pytest.raises(
        ShapeError, match=r"shape \(6, 5\); expected .* or \(n_stimuli, n_channels, n_times\)"
    ):
        cross_time_rdms(MEANS[0, 0], distance="euclidean")
    with pytest.raises(ShapeError, match="means has 1 run; a cross-validated distance needs at least 2"):
        cross_time_rdms(MEANS[:1])
    hole = MEANS.copy()
    hole[1, 2, 3, 4] = np.nan
    with pytest.raises(InputError, match=r"1 values that are not finite, first at index \(1, 2, 3, 4\)"):
        cross_time_rdms(hole)
    with pytest.raises(InputError, match="distance='euclid' is not one of .* closest: 'euclidean'"):
        cross_time_rdms(MEANS, distance="euclid")
    monkeypatch.setattr(cross_time, "available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match=r"5 x 5 RDMs of 4 stimuli take 0.0 GB"):
        cross_time_rdms(MEANS)
