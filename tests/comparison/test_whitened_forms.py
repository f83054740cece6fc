"""The whitened space of RDMs, and the searches behind Bures and the Riemannian distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg, optimize, stats

from brainalign.comparison._comparators import unit_ranks, unit_ranks_a, unit_whitened
from brainalign.comparison._ranks import mid_ranks, tied_share
from brainalign.comparison._rdm_stacks import upper_triangle
from brainalign.comparison._whitened import n_stimuli
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm

N = 9
RNG = np.random.default_rng(0)
STACK = np.stack([rdm(RNG.normal(size=(N, 14)), distance="sq_euclidean") for _ in range(4)])


def test_rows_are_unit_and_their_products_are_the_measure() -> None:
    """Inner products of the unit whitened rows are the whitened cosines and correlations."""
    w = RNG.normal(size=(N, 30))
    sigma = w @ w.T / 30
    for centre, measure in ((False, "whitened_cosine"), (True, "whitened_pearson")):
        rows = unit_whitened(upper_triangle(STACK), sigma_k=sigma, centre=centre)
        np.testing.assert_allclose((rows**2).sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(rows @ rows.T, compare_rdms(STACK, STACK, measure=measure, sigma_k=sigma))


def test_the_mean_of_unit_rows_is_the_best_common_rdm() -> None:
    """Pooled in the whitened space, no random direction near it has a higher mean similarity."""
    rows = unit_whitened(upper_triangle(STACK))
    pooled = rows.mean(axis=0)
    best = (rows @ pooled / np.linalg.norm(pooled)).mean()
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            other = (
                pooled + scale * np.linalg.norm(pooled) * RNG.normal(size=pooled.shape) / len(pooled) ** 0.5
            )
            assert (rows @ other / np.linalg.norm(other)).mean() <= best + 1e-12


def test_sigma_of_equal_variances_is_no_sigma() -> None:
    """A multiple of the identity, or of it plus a constant, changes no whitened measure."""
    expected = compare_rdms(STACK, STACK, measure="whitened_cosine")
    for sigma in (np.full(N, 3.0), 2 * np.eye(N), np.eye(N) + 5.0):
        out = compare_rdms(STACK, STACK, measure="whitened_cosine", sigma_k=sigma)
        np.testing.assert_allclose(out, expected, atol=1e-10)
    assert (
        np.abs(
            compare_rdms(STACK, STACK, measure="whitened_cosine", sigma_k=np.arange(1.0, 10)) - expected
        ).max()
        > 1e-3
    )


def riemannian(a: np.ndarray, b: np.ndarray, sigma: np.ndarray) -> float:
    """The definition, by many starts of a two-dimensional search."""
    contrasts = np.hstack([-np.ones((N - 1, 1)), np.eye(N - 1)])
    first, second = (-contrasts @ d @ contrasts.T / 2 for d in (a, b))
    noise = contrasts @ sigma @ contrasts.T

    def distance(theta: np.ndarray) -> float:
        values = linalg.eigvalsh(np.exp(theta[0]) * first + np.exp(theta[1]) * noise, second)
        return float(np.linalg.norm(np.log(values)))

    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 2000}
    starts = [(0.0, t) for t in (-6.0, -3.0, 0.0, 2.0)]
    return min(optimize.minimize(distance, s, method="Nelder-Mead", options=options).fun for s in starts)


def test_riemannian_is_the_least_over_scale_and_ridge() -> None:
    """The closed-form scale and the search of the ridge reach the best of many two-dimensional searches."""
    w = RNG.normal(size=(N, 20))
    for sigma in (np.eye(N), w @ w.T / 20):
        given = None if np.array_equal(sigma, np.eye(N)) else sigma
        out = compare_rdms(STACK[:2], STACK[2:], measure="neg_riemannian", sigma_k=given)
        expected = [[-riemannian(a, b, sigma) for b in STACK[2:]] for a in STACK[:2]]
        np.testing.assert_allclose(out, expected, atol=1e-7)


def test_riemannian_finds_a_planted_ridge() -> None:
    """An RDM that is a scaled other one plus noise distances is at distance 0 after the ridge."""
    noise = 0.7 * (1 - np.eye(N))
    assert compare_rdms(STACK[0], 3 * (STACK[0] + noise), measure="neg_riemannian") == pytest.approx(
        0, abs=1e-6
    )
    assert compare_rdms(STACK[0] + noise, STACK[0], measure="neg_riemannian") < -0.1  # no negative ridge


def test_bures_is_the_nuclear_norm_of_the_patterns() -> None:
    """From patterns directly: the nuclear norm of X'Y over both norms, columns centred."""
    x, y = RNG.normal(size=(N, 5)), RNG.normal(size=(N, 14))
    u, v = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(u.T @ v, "nuc") / np.linalg.norm(u) / np.linalg.norm(v)
    a, b = (rdm(z, distance="sq_euclidean") for z in (x, y))
    assert compare_rdms(a, b, measure="bures") == pytest.approx(expected, abs=1e-10)


def test_ranks_equal_scipy_in_stacks() -> None:
    """Mid-ranks of rows with and without ties equal scipy; a row with NaN has none."""
    values = np.stack([RNG.normal(size=50), RNG.integers(0, 6, 50), np.zeros(50)]).astype(float)
    np.testing.assert_array_equal(mid_ranks(torch.from_numpy(values)).numpy(), stats.rankdata(values, axis=1))
    values[1, 3] = np.nan
    ranks = mid_ranks(torch.from_numpy(values)).numpy()
    assert np.isnan(ranks[1]).all()
    np.testing.assert_array_equal(ranks[0], stats.rankdata(values[0]))


def test_rho_a_rows_have_the_norm_of_ranks_without_ties() -> None:
    """Without ties rho-a rows are Spearman rows; with ties they are shorter than one."""
    plain, tied = RNG.normal(size=(2, 30)), RNG.integers(0, 3, (2, 30)).astype(float)
    np.testing.assert_allclose(unit_ranks_a(plain), unit_ranks(plain), atol=1e-12)
    assert (np.linalg.norm(unit_ranks_a(tied), axis=1) < 0.99).all()


def test_share_of_ties() -> None:
    """Entries equal to another one over all entries that are known."""
    rows = torch.tensor([[1.0, 2, 2, 3], [1.0, 2, 3, 4], [5.0, 5, 5, 5], [1.0, 1.0 + 1e-15, 2, 3]])
    assert tied_share(rows.to(torch.float64)).tolist() == [0.5, 0.0, 1.0, 0.5]
    holed = torch.tensor([[1.0, 1.0, torch.nan, 3], [torch.nan] * 4], dtype=torch.float64)
    assert tied_share(holed).tolist() == pytest.approx([2 / 3, 0.0])


def test_number_of_stimuli_of_an_upper_triangle() -> None:
    """Exact for every size, also where floating point would round."""
    for n in (2, 3, 92, 73_000, 10**8):
        assert n_stimuli(n * (n - 1) // 2) == n


def test_bures_of_an_indefinite_matrix_uses_the_nearest_gram_matrix() -> None:
    """Negative eigenvalues count as 0 in the product and in the norms: by matrix square roots."""
    centring = np.eye(N) - 1 / N
    indefinite = STACK[0] - 0.8 * STACK[0][STACK[0] > 0].mean() * (1 - np.eye(N))
    roots = []
    for d in (indefinite, STACK[1]):
        values, axes = np.linalg.eigh(-centring @ d @ centring / 2)
        roots.append(axes * np.sqrt(np.clip(values, 0, None)))
    expected = (
        np.linalg.norm(roots[0].T @ roots[1], "nuc") / np.linalg.norm(roots[0]) / np.linalg.norm(roots[1])
    )
    with pytest.warns(UserWarning, match="the negative ones are set to 0, which is the nearest Gram matrix"):
        value = compare_rdms(indefinite, STACK[1], measure="bures")
    assert value == pytest.approx(expected, abs=1e-10)
