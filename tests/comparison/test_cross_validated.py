"""Cross-validated correlation, Poisson distance and discriminant t: definitions, peers, null, errors."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brainalign.comparison.cross_validated import cv_correlation, ldt, poisson_cv
from brainalign.comparison.noise import noise_precision
from brainalign.comparison.rdms import rdm
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

K, N, P = 3, 4, 6
RNG = np.random.default_rng(0)
CONDITIONS = np.tile(np.arange(N), K)
RUNS = np.repeat(np.arange(K), N)
X = 2 * RNG.normal(size=(N, P))[CONDITIONS] + RNG.normal(size=(K * N, P))
COUNTS = RNG.poisson(RNG.uniform(1, 9, size=(N, P))[CONDITIONS]).astype(float)
LABELS = {"conditions": CONDITIONS, "runs": RUNS}


def gaps(values: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Without condition 0 in run 0: rows, and labels."""
    keep = np.ones(len(values), dtype=bool)
    keep[0] = False
    return values[keep], {"conditions": CONDITIONS[keep], "runs": RUNS[keep]}


def brute_correlation(means: np.ndarray) -> np.ndarray:
    centred = means - means.mean(2, keepdims=True)
    c = np.empty((N, N))
    for i in range(N):
        for j in range(N):
            c[i, j] = np.nanmean([centred[k, i] @ centred[m, j] for k, m in permutations(range(K), 2)])
    return 1 - (c + c.T) / 2 / np.sqrt(np.outer(np.diag(c), np.diag(c)))


def brute_poisson(means: np.ndarray) -> np.ndarray:
    rates = (means + 0.1) / 1.1
    logs = np.log(rates)
    out = np.zeros((N, N))
    for i, j in permutations(range(N), 2):
        out[i, j] = np.nanmean(
            [(rates[k, i] - rates[k, j]) @ (logs[m, i] - logs[m, j]) for k, m in permutations(range(K), 2)]
        )
    return out / means.shape[2]


def test_correlation_against_brute_force() -> None:
    """Ratio of covariances between different runs, balanced and with an absent condition."""
    d = cv_correlation(X, **LABELS)
    np.testing.assert_allclose(d, brute_correlation(X.reshape(K, N, P)), atol=1e-12)
    assert np.array_equal(d, d.T)
    assert not d.diagonal().any()
    x, labels = gaps(X)
    holes = X.reshape(K, N, P).copy()
    holes[0, 0] = np.nan
    np.testing.assert_allclose(cv_correlation(x, **labels), brute_correlation(holes), atol=1e-12)


def test_correlation_is_not_weakened_by_noise() -> None:
    """With noise as strong as the patterns the cross-validated r keeps the true value of 0.8; the
    correlation of the means falls short of it; unrelated patterns have r = 0."""
    rng = np.random.default_rng(1)
    shared, own = rng.normal(size=(1, 4000)), rng.normal(size=(3, 4000))
    truth = np.concatenate([np.sqrt(0.8) * shared + np.sqrt(0.2) * own[:2], own[2:]])
    x = np.tile(truth, (4, 1)) + 1.5 * rng.normal(size=(12, 4000))
    labels = {"conditions": np.tile([0, 1, 2], 4), "runs": np.repeat(range(4), 3)}
    d = cv_correlation(x, **labels)
    assert d[0, 1] == pytest.approx(0.2, abs=0.05)
    assert d[0, 2] == pytest.approx(1.0, abs=0.08)
    assert rdm(x.reshape(4, 3, -1).mean(0))[0, 1] > 0.35


def test_correlation_without_agreement_is_nan_and_counted() -> None:
    """A condition whose patterns oppose each other between runs has no variance: NaN, counted."""
    x = X.copy()
    x[CONDITIONS == 2] = np.array([[1.0], [-1.0], [0.0]]) * np.arange(P)
    with pytest.warns(UserWarning, match="1 of 4 conditions have no cross-validated variance above zero"):
        d = cv_correlation(x, **LABELS)
    assert np.isnan(d[2, [0, 1, 3]]).all()
    assert np.isfinite(d[0, [0, 1, 3]]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_correlation_invariances(seed: int) -> None:
    """Scale and a shift of whole patterns change nothing; rotation and a common pattern do."""
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=(N, P))[CONDITIONS] + 0.3 * rng.normal(size=(K * N, P))
    d = cv_correlation(x, **LABELS)
    np.testing.assert_allclose(cv_correlation(-2.5 * x + rng.normal(size=(K * N, 1)), **LABELS), d, atol=1e-9)
    np.testing.assert_allclose(cv_correlation(x[:, ::-1].copy(), **LABELS), d, atol=1e-9)
    rotation = np.linalg.qr(rng.normal(size=(P, P)))[0]
    assert not np.allclose(cv_correlation(x @ rotation, **LABELS), d, atol=1e-6)
    assert not np.allclose(cv_correlation(x + 9 * rng.normal(size=P), **LABELS), d, atol=1e-6)


def test_poisson_against_brute_force_and_the_last_fold_of_rsatoolbox() -> None:
    """Ours is the mean over folds; rsatoolbox 0.3.2 overwrites its result in the loop over folds and
    returns the last fold alone, which differs from the mean by far more than rounding."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    means = COUNTS.reshape(K, N, P)
    rates = (means + 0.1) / 1.1

    def fold(test: int) -> np.ndarray:
        train = np.delete(rates, test, axis=0).mean(0)
        kernel = train @ np.log(rates[test]).T
        own = np.diag(kernel)
        out: np.ndarray = (own[:, None] + own[None, :] - kernel - kernel.T) / P
        return out

    folds = [fold(k) for k in range(K)]
    ours = poisson_cv(COUNTS, **LABELS)
    np.testing.assert_allclose(ours, np.mean(folds, axis=0), atol=1e-12)
    np.testing.assert_allclose(ours, brute_poisson(means), atol=1e-12)
    dataset = Dataset(COUNTS.copy(), obs_descriptors={"c": CONDITIONS, "r": RUNS})
    with warnings.catch_warnings():
        # the peer casts an array that it never filled
        warnings.filterwarnings("ignore", message="invalid value encountered in cast")
        found = calc_rdm(dataset, method="poisson_cv", descriptor="c", cv_descriptor="r")
    theirs = found.get_matrices()[0]
    np.testing.assert_allclose(theirs, folds[-1], atol=1e-12)
    assert np.abs(theirs - ours).max() > 0.1
    x, labels = gaps(COUNTS)
    holes = means.copy()
    holes[0, 0] = np.nan
    np.testing.assert_allclose(poisson_cv(x, **labels), brute_poisson(holes), atol=1e-12)


def test_poisson_null_mean_is_zero() -> None:
    """Conditions of one rate have a mean distance of 0 within 3 standard errors; the plain one is biased."""
    rng = np.random.default_rng(2)
    rate = rng.uniform(2, 8, size=(P, 1))
    # times stand for 3000 draws
    counts = rng.poisson(rate, size=(K * N, P, 3000)).astype(float)
    d = poisson_cv(counts, **LABELS)[:, *np.triu_indices(N, 1)].mean(1)
    assert abs(d.mean()) < 3 * d.std(ddof=1) / np.sqrt(3000)
    assert (d < 0).mean() > 0.4
    plain = rdm(counts.reshape(K, N, P, 3000).mean(0).transpose(2, 0, 1), distance="poisson")
    assert plain[:, *np.triu_indices(N, 1)].mean() > 0.2


def brute_ldt(
    x: np.ndarray, conditions: np.ndarray, runs: np.ndarray, noise: np.ndarray | None
) -> np.ndarray:
    """One pair and one fold at a time, every matrix explicit."""
    n = conditions.max() + 1
    out = np.zeros((n, n))
    for i, j in permutations(range(n), 2):
        ts = []
        for test in np.unique(runs):
            sides = []
            for rows in (runs != test, runs == test):
                means = {c: x[rows & (conditions == c)].mean(0) for c in np.unique(conditions[rows])}
                residuals = np.array([v - means[c] for v, c in zip(x[rows], conditions[rows], strict=True)])
                sides.append((means, residuals, len(residuals) - len(means), conditions[rows]))
            (a, rest, dof, _), (b, test_rest, test_dof, labels) = sides
            if i not in b or j not in b:
                continue
            lam = noise_precision(rest, dof=dof).matrix() if noise is None else noise
            w = lam @ (a[i] - a[j])
            variance = np.sum((test_rest @ w) ** 2) / test_dof
            error = np.sqrt(variance * (1 / np.sum(labels == i) + 1 / np.sum(labels == j)))
            ts.append(w @ (b[i] - b[j]) / error)
        out[i, j] = np.mean(ts)
    return out


@pytest.mark.parametrize("noise", [None, np.diag(np.arange(1.0, P + 1))])
@pytest.mark.parametrize("balanced", [True, False])
def test_ldt_against_brute_force(noise: np.ndarray | None, balanced: bool) -> None:
    """The batched t values are those of one pair and one fold at a time, also with absent conditions."""
    rng = np.random.default_rng(3)
    conditions, runs = np.tile(np.arange(3), 12), np.repeat([0, 1, 2], 12)
    x = rng.normal(size=(36, P)) + rng.normal(size=(3, P))[conditions]
    if not balanced:
        keep = (np.arange(36) != 4) & ~((runs == 2) & (conditions == 1))
        x, conditions, runs = x[keep], conditions[keep], runs[keep]
    d = ldt(x, conditions=conditions, runs=runs, noise=noise)
    np.testing.assert_allclose(d, brute_ldt(x, conditions, runs, noise), rtol=1e-9, atol=1e-10)
    assert not d.diagonal().any()


def test_ldt_null_and_planted() -> None:
    """Without effect each direction is a t value: with a fixed discriminant, mean 0 and the rate of
    5 % beyond the quantiles of Student's t; with an effect it is far above."""
    rng = np.random.default_rng(4)
    conditions, runs = np.tile([0, 1], 20), np.repeat([0, 1], 20)
    draws = 400
    values = np.empty(draws)
    for k in range(draws):
        x = rng.normal(size=(40, P))
        # the second run alone is tested: the mean over both directions is no t value
        a = x.copy()
        a[runs == 0] = np.where(conditions[runs == 0, None] == 0, 1.0, -1.0) + 1e-3 * x[runs == 0]
        both = ldt(a, conditions=conditions, runs=runs, noise=np.eye(P))[0, 1]
        back = _one_direction(a, conditions, runs)
        values[k] = 2 * both - back
    beyond = int((np.abs(values) > stats.t.ppf(0.975, 18)).sum())
    assert stats.binomtest(beyond, draws, 0.05).pvalue > 0.01
    assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(draws)
    x = rng.normal(size=(40, P)) + 2.0 * conditions[:, None]
    assert ldt(x, conditions=conditions, runs=runs)[0, 1] > 6


def _one_direction(x: np.ndarray, conditions: np.ndarray, runs: np.ndarray) -> float:
    """Trained on the second run, tested on the first."""
    test, train = runs == 0, runs == 1
    w = x[train & (conditions == 0)].mean(0) - x[train & (conditions == 1)].mean(0)
    groups = [x[test & (conditions == c)] @ w for c in (0, 1)]
    return float(stats.ttest_ind(*groups).statistic)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_ldt_invariances(seed: int) -> None:
    """Scale, a common pattern and a linear map with its noise change nothing; rotation without noise does."""
    rng = np.random.default_rng(seed)
    conditions, runs = np.tile(np.arange(3), 8), np.repeat([0, 1], 12)
    x = rng.normal(size=(24, 4)) + rng.normal(size=(3, 4))[conditions]
    precision = np.diag([1.0, 2.0, 3.0, 4.0])
    linear = np.linalg.qr(rng.normal(size=(4, 4)))[0] @ np.diag([0.5, 1.0, 1.5, 2.0])
    inverse = np.linalg.inv(linear)
    labels = {"conditions": conditions, "runs": runs}
    d = ldt(x, **labels, noise=precision)
    np.testing.assert_allclose(
        ldt(3.0 * x + rng.normal(size=4), **labels, noise=precision), d, rtol=1e-7, atol=1e-8
    )
    both = ldt(x @ linear, **labels, noise=inverse @ precision @ inverse.T)
    np.testing.assert_allclose(both, d, rtol=1e-6, atol=1e-7)
    assert not np.allclose(ldt(x @ linear, **labels, noise=precision), d, atol=1e-6)


def test_kinds_of_input() -> None:
    """Torch, Responses with named columns, times and single precision agree with the plain arrays."""
    samples = pd.DataFrame({"condition": CONDITIONS, "run": RUNS})
    named = {"conditions": "condition", "runs": "run"}
    pairs = ((cv_correlation, X), (poisson_cv, COUNTS))
    for function, x in pairs:
        d = function(x, **LABELS)
        tensor = function(torch.from_numpy(x), **LABELS)
        assert isinstance(tensor, torch.Tensor)
        assert np.array_equal(tensor.numpy(), d)
        assert np.array_equal(function(Responses(x, samples), **named), d)
        np.testing.assert_allclose(function(x.astype(np.float32), **LABELS), d, atol=1e-5)
        times = function(np.stack([x, 2 * x], axis=2), **LABELS)
        assert times.shape == (2, N, N)
        np.testing.assert_allclose(times[0], d, atol=1e-12)
        gap = np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1)
        np.testing.assert_allclose(function(gap, **LABELS), d, atol=1e-12)
    labels = {"conditions": np.tile(CONDITIONS, 2), "runs": np.tile(RUNS, 2)}
    twice = np.concatenate([X, X + RNG.normal(size=X.shape)])
    d = ldt(twice, **labels)
    frame = pd.concat([samples, samples], ignore_index=True)
    assert np.array_equal(ldt(Responses(twice, frame), **named), d)
    assert np.array_equal(ldt(torch.from_numpy(twice), **labels).numpy(), d)


def test_pairs_without_two_runs() -> None:
    """A condition that one run alone holds has neither a Poisson distance nor a t value: NaN, counted."""
    once = (CONDITIONS != 1) | (RUNS == 0)
    rows = {"conditions": CONDITIONS[once], "runs": RUNS[once]}
    with pytest.warns(
        UserWarning, match="3 of 6 pairs of conditions have no cross-validated Poisson distance"
    ) as found:
        poisson_cv(COUNTS[once], **rows)
    assert found[0].filename == __file__
    twice = {name: np.tile(value, 2) for name, value in rows.items()}
    x = np.concatenate([X[once], X[once] + RNG.normal(size=X[once].shape)])
    with pytest.warns(UserWarning, match="3 of 6 pairs of conditions have no linear-discriminant t value"):
        d = ldt(x, **twice)
    assert np.isfinite(np.delete(np.delete(d, 1, 0), 1, 1)).all()


def test_wrong_inputs() -> None:
    """One run, one channel, negative counts, holes and folds without residuals are refused by name."""
    one = {"conditions": CONDITIONS, "runs": np.zeros(K * N)}
    for function in (cv_correlation, poisson_cv, ldt):
        with pytest.raises(ShapeError, match="x has 1 run; a cross-validated distance needs at least 2"):
            function(COUNTS, **one)
    with pytest.raises(ShapeError, match="x has 1 channel; a correlation over channels needs at least 2"):
        cv_correlation(X[:, :1], **LABELS)
    with pytest.raises(ShapeError, match=r"x has 4 axes; expected \(n_samples, n_channels\) or one more"):
        cv_correlation(np.zeros((K * N, 2, 2, 2)), **LABELS)
    with pytest.raises(InputError, match=r"x has \d+ negative values"):
        poisson_cv(X, **LABELS)
    with pytest.raises(InputError, match="run 0 hold 4 samples of 4 conditions, which leaves no residual"):
        ldt(X, **LABELS)
    with pytest.raises(ShapeError, match=r"x has shape \(12, 6, 1\); expected \(n_samples, n_channels\)"):
        ldt(X[:, :, None], **LABELS)
    hole = X.copy()
    hole[2, 1] = np.inf
    with pytest.raises(InputError, match="not finite, first in row 2, channel 1"):
        ldt(hole, **LABELS)
    with pytest.raises(InputError, match="shrinkage='lasso' is not one of"):
        ldt(
            np.concatenate([X, X + 1]),
            conditions=np.tile(CONDITIONS, 2),
            runs=np.tile(RUNS, 2),
            shrinkage="lasso",
        )
