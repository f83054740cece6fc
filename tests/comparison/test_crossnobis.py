"""Crossnobis: brute force and peers, designs with gaps, noise, stacks, invariances, and errors."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brainalign.comparison.noise import noise_precision
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis, crossnobis_of_means, run_means
from brainalign.errors import InputError, ShapeError
from brainalign.types import Responses

K, N, P = 4, 5, 7
RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(P, P))
PRECISION = np.linalg.inv(FACTOR @ FACTOR.T + np.eye(P))
CONDITIONS = np.tile(np.arange(N), K)
RUNS = np.repeat(np.arange(K), N)
X = RNG.normal(size=(K * N, P)) + RNG.normal(size=(N, P))[CONDITIONS]


def brute(means: np.ndarray, precision: np.ndarray | None = None) -> np.ndarray:
    """Average over ordered pairs of different runs in which both conditions are present."""
    precision = np.eye(means.shape[2]) if precision is None else precision
    n = means.shape[1]
    out = np.zeros((n, n))
    for i, j in permutations(range(n), 2):
        values = [
            (means[k, i] - means[k, j]) @ precision @ (means[m, i] - means[m, j])
            for k, m in permutations(range(len(means)), 2)
        ]
        values = [v for v in values if not np.isnan(v)]
        out[i, j] = np.mean(values) / means.shape[2] if values else np.nan
    return out


def rsatoolbox_crossnobis(
    x: np.ndarray, conditions: np.ndarray, runs: np.ndarray, noise: object, unbalanced: bool = False
) -> np.ndarray:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, calc_rdm_unbalanced

    dataset = Dataset(x.copy(), obs_descriptors={"c": conditions, "r": runs})
    function = calc_rdm_unbalanced if unbalanced else calc_rdm
    with warnings.catch_warnings():
        # the peer casts an array that it never filled
        warnings.filterwarnings("ignore", message="invalid value encountered in cast")
        found = function(dataset, method="crossnobis", descriptor="c", cv_descriptor="r", noise=noise)
    out: np.ndarray = found.get_matrices()[0]
    return out


@pytest.mark.parametrize("noise", [None, PRECISION])
def test_balanced_against_brute_force_and_rsatoolbox(noise: np.ndarray | None) -> None:
    """The closed form is the mean over pairs of runs, which is leave-one-run-out; signed, symmetric."""
    d = crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=noise)
    np.testing.assert_allclose(d, brute(X.reshape(K, N, P), noise), atol=1e-12)
    np.testing.assert_allclose(d, rsatoolbox_crossnobis(X, CONDITIONS, RUNS, noise), atol=1e-12)
    np.testing.assert_allclose(d, rsatoolbox_crossnobis(X, CONDITIONS, RUNS, noise, True), atol=1e-12)
    assert np.array_equal(d, d.T)
    assert not d.diagonal().any()


def test_one_noise_per_run_against_rsatoolbox() -> None:
    """A precision per run whitens each pair of runs by the mean of their covariances, as the peer does."""
    noises = [noise_precision(np.random.default_rng(k).normal(size=(5, P)) * (k + 1)) for k in range(K)]
    matrices = [noise.matrix() for noise in noises]
    expected = rsatoolbox_crossnobis(X, CONDITIONS, RUNS, list(matrices))
    for given_noise in (noises, matrices, np.stack(matrices)):
        d = crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=given_noise)
        np.testing.assert_allclose(d, expected, atol=1e-9)
    same = crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=[PRECISION] * K)
    np.testing.assert_allclose(
        same, crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=PRECISION), atol=1e-9
    )
    assert np.abs(d - same).max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_unbalanced_against_brute_force(seed: int, whitened: bool) -> None:
    """With conditions absent from runs, each pair averages over the pairs of runs that hold both."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(K, N, P)) * 3
    means[rng.uniform(size=(K, N)) < 0.2] = np.nan
    means[:2] = np.nan_to_num(means[:2], nan=1.0)  # two complete runs: no pair without a value
    noise = PRECISION if whitened else None
    np.testing.assert_allclose(crossnobis_of_means(means, noise), brute(means, noise), atol=1e-10)
    noises = None if noise is None else [noise] * K
    np.testing.assert_allclose(crossnobis_of_means(means, noises), brute(means, noise), atol=1e-10)


def test_unbalanced_with_the_balanced_rows_is_balanced() -> None:
    """Runs that hold other conditions only add nothing to the pairs that they lack."""
    extra = np.full((1, N, P), np.nan)
    extra[0, 0] = 5.0
    means = np.concatenate([X.reshape(K, N, P), extra])
    np.testing.assert_allclose(crossnobis_of_means(means), brute(X.reshape(K, N, P)), atol=1e-12)


def test_offsets_of_runs_where_rsatoolbox_unbalanced_errs() -> None:
    """A pattern added to all samples of a run cancels; the peer averages the products of i and j over
    different runs, so that with an unbalanced design such an offset becomes distance."""
    keep = np.ones(K * N, dtype=bool)
    keep[[0, 7]] = False
    offsets = np.random.default_rng(1).normal(size=(K, P)) * 10
    shifted = X + offsets[RUNS]
    arguments = {"conditions": CONDITIONS[keep], "runs": RUNS[keep]}
    plain, moved = (crossnobis(v[keep], **arguments) for v in (X, shifted))
    np.testing.assert_allclose(moved, plain, atol=1e-10)
    theirs = [rsatoolbox_crossnobis(v[keep], CONDITIONS[keep], RUNS[keep], None, True) for v in (X, shifted)]
    assert np.abs(theirs[1] - theirs[0]).max() > 1.0


def test_repeated_samples_are_averaged_within_their_run() -> None:
    """Samples of a condition in a run become their mean; labels of any order and kind are sorted."""
    x = np.concatenate([X + 1.0, X - 1.0])
    order = RNG.permutation(len(x))
    names = np.array([f"c{i}" for i in range(N)])[np.tile(CONDITIONS, 2)]
    d = crossnobis(x[order], conditions=names[order], runs=np.tile(RUNS, 2)[order])
    np.testing.assert_allclose(d, brute(X.reshape(K, N, P)), atol=1e-12)
    means, labels, runs = run_means(x[order], names[order], np.tile(RUNS, 2)[order])
    np.testing.assert_allclose(means, X.reshape(K, N, P), atol=1e-12)
    assert labels.tolist() == [f"c{i}" for i in range(N)]
    assert runs.tolist() == list(range(K))


def test_stacks_times_and_torch() -> None:
    """Leading axes, an axis of times, and torch tensors give the RDMs of the single matrices."""
    means = np.random.default_rng(2).normal(size=(2, 3, K, N, P))
    means[0, 1, 2, 3] = np.nan
    means[1, 2, 0, 1] = np.nan
    got = crossnobis_of_means(means, PRECISION)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(got[i, j], brute(means[i, j], PRECISION), atol=1e-12)
    tensor = crossnobis_of_means(torch.from_numpy(means), torch.from_numpy(PRECISION))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), got)
    times = np.random.default_rng(3).normal(size=(K * N, P, 4))
    over_time = crossnobis(times, conditions=CONDITIONS, runs=torch.from_numpy(RUNS))
    assert over_time.shape == (4, N, N)
    np.testing.assert_allclose(over_time[2], brute(times[:, :, 2].reshape(K, N, P)), atol=1e-12)


def test_responses_name_their_columns() -> None:
    """Responses give conditions and runs by the names of columns of their samples."""
    samples = pd.DataFrame({"condition": CONDITIONS.astype(str), "run": RUNS})
    d = crossnobis(Responses(X, samples), conditions="condition", runs="run")
    np.testing.assert_allclose(d, brute(X.reshape(K, N, P)), atol=1e-12)
    with pytest.raises(InputError, match="runs='session' names a column .* found columns: .*condition, run"):
        crossnobis(Responses(X, samples), conditions="condition", runs="session")
    with pytest.raises(InputError, match="conditions='condition' names a column .* columns: none"):
        crossnobis(X, conditions="condition", runs=RUNS)


@pytest.mark.parametrize("per_run", [False, True])
def test_channels_without_values_are_left_out(per_run: bool) -> None:
    """A channel that is NaN throughout is left out, p counts the rest, their sub-covariance is inverted."""
    means = np.stack([X.reshape(K, N, P)] * 3)
    means[1, :, :, [0, 4]] = np.nan
    means[2, 3, 2] = np.nan
    noise = [PRECISION] * K if per_run else PRECISION
    got = crossnobis_of_means(means, noise)
    kept = [1, 2, 3, 5, 6]
    sub = np.linalg.inv(np.linalg.inv(PRECISION)[np.ix_(kept, kept)])
    np.testing.assert_allclose(got[0], brute(means[0], PRECISION), atol=1e-9)
    np.testing.assert_allclose(got[1], brute(means[1][:, :, kept], sub), atol=1e-9)
    np.testing.assert_allclose(got[2], brute(means[2], PRECISION), atol=1e-9)
    np.testing.assert_allclose(crossnobis_of_means(means)[1], brute(means[1][:, :, kept]), atol=1e-12)


def test_pairs_without_two_runs_are_nan_and_counted() -> None:
    """Conditions that never meet in two runs have no distance: NaN with the count, others unharmed."""
    means = X.reshape(K, N, P).copy()
    means[1:, 0] = np.nan
    with pytest.warns(UserWarning, match="4 of 10 pairs of conditions have no crossnobis distance") as found:
        d = crossnobis_of_means(means)
    assert found[0].filename == __file__
    assert np.isnan(d[0, 1:]).all()
    np.testing.assert_allclose(d[1:, 1:], brute(means[:, 1:]), atol=1e-12)
    empty = np.stack([X.reshape(K, N, P), np.full((K, N, P), np.nan)])
    with pytest.warns(UserWarning, match="10 of 20 pairs of conditions"):
        d = crossnobis_of_means(empty, PRECISION)
    assert np.isfinite(d[0]).all()


def test_float32_against_float64_and_large_offsets() -> None:
    """Single precision gives the same distances to its digits; an offset of a million costs none."""
    d = crossnobis(X, conditions=CONDITIONS, runs=RUNS)
    single = crossnobis(X.astype(np.float32), conditions=CONDITIONS, runs=RUNS)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, d, atol=1e-5)
    np.testing.assert_allclose(crossnobis(X + 1e6, conditions=CONDITIONS, runs=RUNS), d, atol=1e-8)
    # an unbalanced design sums products over pairs of runs, where offsets would leave their rounding
    far = (X.reshape(K, N, P) + 1e6).copy()
    far[0, 0] = np.nan
    np.testing.assert_allclose(crossnobis_of_means(far), brute(far), atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_invariances_that_hold_and_that_fail(seed: int) -> None:
    """Rotation, order and a shift per run change nothing, a linear map only with its noise; scale does."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(3, 4, P))
    d = crossnobis_of_means(means, PRECISION)
    plain = crossnobis_of_means(means)
    rotation = np.linalg.qr(rng.normal(size=(P, P)))[0]
    np.testing.assert_allclose(crossnobis_of_means(means @ rotation), plain, atol=1e-10)
    shift = rng.normal(size=(3, 1, P)) * 5
    np.testing.assert_allclose(crossnobis_of_means(means + shift, PRECISION), d, atol=1e-9)
    linear = rotation @ np.diag(np.linspace(0.5, 2.0, P))
    inverse = np.linalg.inv(linear)
    both = crossnobis_of_means(means @ linear, inverse @ PRECISION @ inverse.T)
    np.testing.assert_allclose(both, d, atol=1e-8)
    rows, units = rng.permutation(4), rng.permutation(P)
    moved = crossnobis_of_means(means[:, rows][:, :, units])
    np.testing.assert_allclose(moved, plain[np.ix_(rows, rows)], atol=1e-10)
    np.testing.assert_allclose(crossnobis_of_means(means[::-1].copy()), plain, atol=1e-10)
    for changed in (2.0 * means, means @ linear, means + rng.normal(size=(1, 4, P))):
        assert not np.allclose(crossnobis_of_means(changed), plain, atol=1e-6)


def test_without_noise_between_runs_it_is_the_plain_distance() -> None:
    """Identical runs have no noise to leave out: crossnobis is the Mahalanobis RDM of the pattern."""
    pattern = X[:N]
    d = crossnobis_of_means(np.stack([pattern] * 3), PRECISION)
    np.testing.assert_allclose(d, rdm(pattern, distance="mahalanobis", noise=PRECISION), atol=1e-12)


def test_wrong_inputs() -> None:
    """One run, wrong axes, labels and noise of other lengths and channels with holes are all named."""
    with pytest.raises(ShapeError, match="x has 1 run; a cross-validated distance needs at least 2"):
        crossnobis(X, conditions=CONDITIONS, runs=np.zeros(len(X)))
    with pytest.raises(ShapeError, match=r"x has shape \(7,\); expected \(n_samples, n_channels\)"):
        crossnobis(X[0], conditions=[0], runs=[0])
    with pytest.raises(ShapeError, match="x has 4 axes; expected"):
        crossnobis(np.zeros((K * N, 2, 2, 2)), conditions=CONDITIONS, runs=RUNS)
    with pytest.raises(ShapeError, match=r"means have shape \(5, 7\)"):
        crossnobis_of_means(X[:N])
    with pytest.raises(ShapeError, match="conditions have 3 rows, expected 20"):
        crossnobis(X, conditions=[1, 2, 3], runs=RUNS)
    with pytest.raises(InputError, match="runs: row 0 has no label"):
        crossnobis(X, conditions=CONDITIONS, runs=[None, *RUNS[1:]])
    with pytest.raises(InputError, match="conditions hold labels that cannot be sorted"):
        crossnobis(X, conditions=["a", *CONDITIONS[1:].tolist()], runs=RUNS)
    hole = X.copy()
    hole[6, 2] = np.nan
    with pytest.raises(InputError, match="first in run 1, condition 1, channel 2"):
        crossnobis(hole, conditions=CONDITIONS, runs=RUNS)
    with pytest.raises(ShapeError, match="noise has 2 entries and there are 4 runs"):
        crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=[PRECISION] * 2)
    with pytest.raises(ShapeError, match="noise has 3 channels and the responses have 7"):
        crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=np.eye(3))
    with pytest.raises(InputError, match="noise is None for some runs"):
        crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise=[PRECISION, None, None, None])
    with pytest.raises(InputError, match="noise is a dict; expected a NoisePrecision"):
        crossnobis(X, conditions=CONDITIONS, runs=RUNS, noise={"a": PRECISION})
