"""Permutations exchange what may be exchanged; their p-values are uniform under the null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, spearmanr

from brainalign.errors import InputError, ShapeError
from brainalign.metrics import pearson
from brainalign.statistics import exchange_rows, permutation_p_values


def kfold(n: int, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.setdiff1d(np.arange(n), test), test) for test in np.array_split(np.arange(n), n_folds)]


def test_p_values_against_a_count() -> None:
    """(b + 1) / (m + 1) with b the draws at least as high; ties count, NaN scores have no p."""
    rng = np.random.default_rng(0)
    observed, null = rng.integers(0, 5, 6).astype(float), rng.integers(0, 5, (40, 6)).astype(float)
    expected = [(sum(n >= o for n in column) + 1) / 41 for o, column in zip(observed, null.T, strict=True)]
    np.testing.assert_allclose(permutation_p_values(observed, null), expected)
    assert permutation_p_values(9.0, [[1.0], [2.0]][0]).shape == ()
    np.testing.assert_array_equal(permutation_p_values([np.nan, 1.0], np.zeros((3, 2))), [np.nan, 0.25])


def test_draws_without_a_score_prove_nothing() -> None:
    """A NaN draw counts against the claim; so does the observed value itself less one rounding."""
    assert permutation_p_values([1.0], [[0.0], [np.nan], [0.0]]) == 0.5
    assert permutation_p_values([0.1], [[np.nextafter(0.1, 0)], [0.0], [0.0]]) == 0.5
    assert permutation_p_values([0.1], [[0.1 - 1e-9], [0.0], [0.0]]) == 0.25


def test_p_values_refuse_other_shapes() -> None:
    """Draws of other units would be broadcast without a word."""
    with pytest.raises(ShapeError, match=r"null has shape \(3,\); expected \(m, \*\(3,\)\)"):
        permutation_p_values(np.zeros(3), np.zeros(3))
    with pytest.raises(ShapeError, match=r"null has shape \(10, 1\)"):
        permutation_p_values(np.zeros(3), np.zeros((10, 1)))


@given(st.integers(6, 40), st.integers(2, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_rows_stay_in_their_fold(n: int, n_folds: int, seed: int) -> None:
    """Every draw is a permutation that maps each test fold onto itself."""
    folds = kfold(n, min(n_folds, n // 2))
    for rows in exchange_rows(folds, n, n_permutations=5, random_state=seed):
        assert sorted(rows) == list(range(n))
        for _, test in folds:
            assert sorted(rows[test]) == test.tolist()


def test_untested_rows_are_exchanged_among_themselves() -> None:
    """Rows that no fold tests move, and only among themselves."""
    folds = [(np.arange(6), np.arange(6, 12))]
    draws = list(exchange_rows(folds, 14, n_permutations=20))
    assert all(set(rows[6:12]) == set(range(6, 12)) for rows in draws)
    assert any((rows[[0, 1, 12, 13]] != [0, 1, 12, 13]).any() for rows in draws)


def test_all_permutations_are_equally_likely() -> None:
    """The six orders of three rows come up equally often."""
    draws = exchange_rows([(np.arange(0), np.arange(3))], 3, n_permutations=3000)
    _, counts = np.unique([tuple(d) for d in draws], axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-squared, 5 degrees of freedom, p = 0.001


@pytest.mark.parametrize("order", ["run after run", "interleaved"])
def test_blocks_stay_whole_within_runs(order: str) -> None:
    """Blocks keep their rows in order and never leave run and fold; a remainder stays in its place."""
    n, block = 44, 5
    runs = np.repeat(["a", "b"], 22) if order == "run after run" else np.array(["a", "b"] * 22)
    place = np.empty(n, int)  # position of each row within its run
    for run in "ab":
        place[runs == run] = np.arange(22)
    folds = [(np.flatnonzero(place >= 11), np.flatnonzero(place < 11))]
    moved = 0
    for rows in exchange_rows(folds, n, exchange="blocks", block=block, runs=runs, n_permutations=10):
        assert sorted(rows) == list(range(n))
        for run in "ab":
            for start in (0, 11):
                cell = np.flatnonzero((runs == run) & (place >= start) & (place < start + 11))
                assert sorted(rows[cell]) == cell.tolist()
                assert rows[cell[10]] == cell[10]
                pieces = place[rows[cell[:10]]].reshape(2, block)
                assert (np.diff(pieces, axis=1) == 1).all()
                moved += int(rows[cell[0]] != cell[0])
    assert moved


def test_no_block_spans_a_break() -> None:
    """Rows before and after a tested stretch are two stretches: no block is made of both."""
    folds = [(np.r_[0:5, 10:15], np.arange(5, 10))]
    for rows in exchange_rows(folds, 15, exchange="blocks", block=2, n_permutations=20):
        untested = rows[np.r_[0:4, 10:14]].reshape(-1, 2)
        assert (np.diff(untested, axis=1) == 1).all()
        assert rows[4] == 4
        assert rows[14] == 14


def test_seeds() -> None:
    """Equal seeds give equal permutations, other seeds others."""
    first, same, other = (
        np.stack(list(exchange_rows(kfold(12, 3), 12, n_permutations=4, random_state=s))) for s in (1, 1, 2)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_exchange_refusals() -> None:
    """Unknown exchanges, empty blocks, and folds with nothing to exchange are errors."""
    with pytest.raises(InputError, match="exchange='block' is not one of"):
        next(exchange_rows(kfold(6, 2), 6, exchange="block", n_permutations=1))
    with pytest.raises(InputError, match="block=0; expected at least 1 row"):
        next(exchange_rows(kfold(6, 2), 6, exchange="blocks", block=0, n_permutations=1))
    with pytest.raises(InputError, match="every fold holds fewer than two stimuli; use fewer folds$"):
        next(exchange_rows(kfold(6, 6), 6, n_permutations=1))
    with pytest.raises(InputError, match="fewer than two blocks; use fewer folds or shorter blocks"):
        next(exchange_rows(kfold(6, 2), 6, exchange="blocks", block=2, n_permutations=1))


def test_null_p_values_are_uniform() -> None:
    """Unrelated responses have uniform p-values: KS p > 0.001 and 5 % below 0.05."""
    rng = np.random.default_rng(7)
    y, p = rng.standard_normal((2, 30, 800))
    folds = kfold(30, 3)

    def score(rows: np.ndarray) -> np.ndarray:
        return np.mean([pearson(y[rows[test]], p[test]) for _, test in folds], axis=0)

    null = np.stack([score(rows) for rows in exchange_rows(folds, 30, n_permutations=199)])
    found = permutation_p_values(score(np.arange(30)), null)
    assert kstest(found, "uniform").pvalue > 0.001
    assert 0.03 < (found <= 0.05).mean() < 0.07
    strong = permutation_p_values(np.full(1, 0.9), null[:, :1])
    assert strong == 1 / 200


def test_blocks_keep_slow_noise_honest() -> None:
    """For slow noise single rows exchange too much and give false positives, blocks do not."""
    n = 300
    folds = [(np.arange(0), np.arange(n))]

    def rate(exchange: str, seed: int) -> float:
        noise = np.random.default_rng(seed).standard_normal((2, n + 40, 300))
        for t in range(1, n + 40):
            noise[:, t] += 0.8 * noise[:, t - 1]
        y, p = noise[:, 40:]
        draws = exchange_rows(folds, n, exchange=exchange, block=30, n_permutations=99, random_state=seed)
        null = np.stack([pearson(y[rows], p) for rows in draws])
        return float((permutation_p_values(pearson(y, p), null) <= 0.05).mean())

    assert np.mean([rate("stimuli", seed) for seed in range(4)]) > 0.15
    assert 0.03 < np.mean([rate("blocks", seed) for seed in range(4)]) < 0.08


def test_against_an_exact_enumeration() -> None:
    """Sampled p-values approach the one of all 720 orders of six rows."""
    from itertools import permutations

    rng = np.random.default_rng(2)
    y, p = rng.standard_normal(6), rng.standard_normal(6)
    observed = spearmanr(y, p).statistic
    exact = np.mean([spearmanr(y[list(o)], p).statistic >= observed - 1e-12 for o in permutations(range(6))])
    draws = exchange_rows([(np.arange(0), np.arange(6))], 6, n_permutations=1500)
    null = np.array([spearmanr(y[rows], p).statistic for rows in draws])
    assert permutation_p_values(observed, null) == pytest.approx(exact, abs=0.04)
