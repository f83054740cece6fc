"""compare_scores: 95 % intervals cover planted values, p-values of unrelated systems are uniform."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from brainalign.comparison import MEASURES
from brainalign.comparison._measure import Measure
from brainalign.comparison.alignment_scores import compare_scores

N_CASES = 200
MIX_X = np.array([[1.0, 0.5, -0.4], [0.0, 0.8, 0.9]])
MIX_Y = np.array([[0.7, -0.6, 0.2, 0.5], [0.6, 0.9, -0.8, 0.1]])
NOISE = 0.7
# covariances of x and y = signal @ mix + noise, with a standard normal signal
COV_X = MIX_X.T @ MIX_X + NOISE**2 * np.eye(3)
COV_Y = MIX_Y.T @ MIX_Y + NOISE**2 * np.eye(4)
COV_XY = MIX_X.T @ MIX_Y


def _correlation_distance(x: np.ndarray, y: np.ndarray) -> float:
    """One minus the correlation of the first units."""
    a, b = x[:, 0] - x[:, 0].mean(), y[:, 0] - y[:, 0].mean()
    return 1.0 - float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _bures_like(x: np.ndarray, y: np.ndarray) -> float:
    """Nuclear norm of the cross-covariance over the root of both variances."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    return float(np.linalg.svd(a.T @ b, compute_uv=False).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def _record(name: str, function: Any, **changes: Any) -> Measure:
    alone: dict[str, Any] = {"represent": None, "between": None, "options": (), "minimum": 4}
    return replace(MEASURES["cka"], name=name, function=function, **alone, **changes)


DISTANCE = _record("correlation_distance", _correlation_distance, kind="distance", range=(0.0, 2.0))
BURES = _record("bures_like", _bures_like, range=(0.0, 1.0))
# squared distances of two normal stimuli correlate as the squared norms of the covariances, as in CKA
CKA = float((COV_XY**2).sum() / (np.linalg.norm(COV_X) * np.linalg.norm(COV_Y)))
FIRST_UNITS = 1.0 - float(COV_XY[0, 0] / np.sqrt(COV_X[0, 0] * COV_Y[0, 0]))


def _systems(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    signal = rng.normal(size=(n, 2))
    return tuple(signal @ m + NOISE * rng.normal(size=(n, m.shape[1])) for m in (MIX_X, MIX_Y))


def _mean_of_samples(function: Any, n: int) -> float:
    """What a measure with a bias (here upwards, about 0.02) has on average over n stimuli."""
    rng = np.random.default_rng(1)
    return float(np.mean([function(*_systems(rng, n)) for _ in range(2000)]))


def _coverage(measure: str | Measure, truth: float, n: int, options: dict[str, Any] | None = None) -> int:
    """In how many of the cases the interval holds the truth."""
    rng, held = np.random.default_rng(11), 0
    for case in range(N_CASES):
        x, y = _systems(rng, n)
        found = compare_scores(
            x,
            y,
            measure=measure,
            options=options,
            n_bootstrap=80,
            n_permutations=0,
            random_state=case,
        )
        assert found.interval is not None
        held += int(found.interval[0, 0] <= truth <= found.interval[1, 0])
    return held


def _expected() -> tuple[int, int]:
    """Between what the count of covered cases lies in 99.8 % of all series, if it is 95 % of them."""
    low, high = stats.binom.ppf([0.001, 0.999], N_CASES, 0.95)
    return int(low), int(high)


@pytest.mark.parametrize(
    ("measure", "truth"),
    [("cka", CKA), (DISTANCE, FIRST_UNITS), (BURES, None)],
    ids=["cka", "distance", "bures"],
)
def test_interval_covers_the_true_value(measure: str | Measure, truth: float | None) -> None:
    """The value of the Gaussian model (its mean, for a biased measure) is in 95 % of the intervals."""
    low, high = _expected()
    known = _mean_of_samples(_bures_like, 60) if truth is None else truth
    assert low <= _coverage(measure, known, 60) <= high


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["rsa_pearson", "rsa_spearman"])
def test_interval_of_rsa_covers_the_population_value(measure: str) -> None:
    """As above, for RDMs; the rank correlation of a huge number of independent pairs is the truth."""
    truth = CKA
    if measure == "rsa_spearman":
        rng = np.random.default_rng(0)
        a, b = (
            ((u - v) ** 2).sum(axis=1)
            for u, v in zip(_systems(rng, 400_000), _systems(rng, 400_000), strict=True)
        )
        truth = float(stats.spearmanr(a, b)[0])
    low, high = _expected()
    assert low <= _coverage(measure, truth, 50, {"distance": "sq_euclidean"}) <= high


@pytest.mark.parametrize("measure", ["cka", DISTANCE], ids=["cka", "distance"])
def test_p_values_of_unrelated_systems_are_uniform(measure: str | Measure) -> None:
    """Unrelated x and y: no departure from uniform, and at most the nominal share below 0.05."""
    rng = np.random.default_rng(6)
    p = []
    for case in range(N_CASES):
        found = compare_scores(
            rng.normal(size=(12, 3)),
            rng.normal(size=(12, 20)),
            measure=measure,
            n_bootstrap=0,
            n_permutations=99,
            random_state=case,
        )
        assert found.p_values is not None
        p.append(float(found.p_values[0]))
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert (np.array(p) <= 0.05).sum() <= stats.binom.ppf(0.999, N_CASES, 0.05)


def test_ceiling_interval_covers_the_expected_ceiling() -> None:
    """The interval of the split-half ceiling holds the value between halves of a huge sample."""
    rng = np.random.default_rng(9)
    cov = MIX_X.T @ MIX_X
    half = cov + np.eye(3) / 2.0  # means of two repeats of noise one
    truth = float((cov**2).sum() / (half**2).sum())
    held = 0
    for case in range(N_CASES // 2):
        signal = rng.normal(size=(50, 2)) @ MIX_X
        found = compare_scores(
            signal,
            repeats=signal + rng.normal(size=(4, 50, 3)),
            n_bootstrap=60,
            n_permutations=0,
            random_state=case,
        )
        assert found.noise_ceiling is not None
        held += int(found.noise_ceiling.low[0] <= truth <= found.noise_ceiling.high[0])
    assert held >= stats.binom.ppf(0.001, N_CASES // 2, 0.95)
