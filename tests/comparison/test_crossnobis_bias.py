"""Crossnobis by simulation and on a recording: no bias without effect, the true distance with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from brainalign.comparison.noise import NoisePrecision, noise_precision
from brainalign.comparison.rdms import rdm
from brainalign.comparison.run_distances import crossnobis, crossnobis_of_means, run_means

K, N, P = 4, 6, 20
N_DRAWS = 3000
UPPER = np.triu_indices(N, 1)


def draws(truth: np.ndarray, seed: int) -> np.ndarray:
    """Means of an unbalanced design: the same runs lack the same conditions, noise correlated."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.cholesky(0.7 * np.eye(P) + 0.3)
    means = truth + rng.normal(size=(N_DRAWS, K, N, P)) @ mix.T + rng.normal(size=(N_DRAWS, K, 1, P))
    for run, condition in ((0, 0), (0, 1), (1, 2), (2, 5)):
        means[:, run, condition] = np.nan
    return means


@pytest.mark.parametrize("whiten", [False, True])
def test_null_mean_is_zero_for_unbalanced_runs(whiten: bool) -> None:
    """Conditions that do not differ have a mean distance of 0 within 3 standard errors, in every pair,
    with about half of the distances negative; the plain distance of the same means is inflated."""
    means = draws(np.zeros((N, P)), 0)
    precision = np.linalg.inv(0.7 * np.eye(P) + 0.3) if whiten else None
    d = crossnobis_of_means(means, precision)[:, *UPPER]
    error = d.std(0, ddof=1) / np.sqrt(N_DRAWS)
    # 15 pairs: 3.6 SE for each one is 3 SE for the family; the mean over pairs takes 3
    assert (np.abs(d.mean(0)) < 3.6 * error).all()
    overall = d.mean(1)
    assert abs(overall.mean()) < 3 * overall.std(ddof=1) / np.sqrt(N_DRAWS)
    assert 0.45 < (d < 0).mean() < 0.6
    plain = rdm(np.nanmean(means[:200], axis=1), distance="sq_euclidean")[:, *UPPER]
    assert plain.mean() > 0.3


def test_planted_distances_are_recovered_without_bias() -> None:
    """The mean over draws is the true squared Mahalanobis distance over p within 3.6 standard errors."""
    truth = np.random.default_rng(1).normal(size=(N, P))
    precision = np.linalg.inv(0.7 * np.eye(P) + 0.3)
    d = crossnobis_of_means(draws(truth, 2), precision)[:, *UPPER]
    expected = rdm(truth, distance="mahalanobis", noise=precision)[UPPER]
    error = d.std(0, ddof=1) / np.sqrt(N_DRAWS)
    assert (np.abs(d.mean(0) - expected) < 3.6 * error).all()
    assert expected.min() > 10 * error.max()


@pytest.mark.real
def test_categories_of_a_recording_between_halves_of_its_runs(real_data: Path) -> None:
    """Block means of eight categories in 12 runs of one subject: distances between categories are
    far above zero, the RDMs of odd and even runs agree, better so when whitened, and faces are
    far from houses."""
    from data_loaders import haxby2001

    responses = haxby2001.load(root=real_data).responses
    assert responses is not None
    assert responses.samples is not None
    samples = responses.samples
    runs, conditions = samples["run"].to_numpy(), samples["condition"].to_numpy(dtype=object)
    values = responses.array().astype(np.float64)
    for run in np.unique(runs):
        values[runs == run] = signal.detrend(values[runs == run], axis=0)
    values /= values.std(0)
    labels = sorted(haxby2001.CONDITIONS)
    shown = np.isin(conditions, labels)
    blocks = [f"{r}|{c}" for r, c in zip(runs[shown], conditions[shown], strict=True)]
    means, _, _ = run_means(values[shown], blocks, np.zeros(len(blocks)))
    residuals = values[shown] - means[0][np.unique(blocks, return_inverse=True)[1]]
    noise = noise_precision(residuals, dof=len(blocks) - 96)
    upper = np.triu_indices(8, 1)

    def halves(precision: NoisePrecision | None) -> list[np.ndarray]:
        rows = (shown & (runs.astype(int) % 2 == parity) for parity in (0, 1))
        return [
            crossnobis(values[r], conditions=conditions[r], runs=runs[r], noise=precision)[upper]
            for r in rows
        ]

    plain, white = halves(None), halves(noise)
    assert np.corrcoef(*plain)[0, 1] > 0.7
    assert np.corrcoef(*white)[0, 1] > 0.85
    assert np.corrcoef(*white)[0, 1] > np.corrcoef(*plain)[0, 1]
    pair = list(zip(*upper, strict=True)).index((labels.index("face"), labels.index("house")))
    for half in white:
        assert half.mean() > 0.08
        assert half[pair] > np.quantile(half, 0.8)
