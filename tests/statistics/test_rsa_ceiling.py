"""RSA noise ceiling: reference values, its bounds, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import data_loaders as dl
from brainalign.errors import InputError, ShapeError
from brainalign.statistics.rsa_ceiling import rsa_noise_ceiling

PAIRS = np.triu_indices(8, 1)


def symmetric(rng: np.random.Generator, n: int = 8) -> np.ndarray:
    d = np.triu(rng.uniform(0.1, 1, (n, n)), 1)
    return d + d.T


def subjects(seed: int = 0, n: int = 5, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    true = symmetric(rng)
    return np.stack([true + noise * symmetric(rng) for _ in range(n)])


@pytest.mark.real
@pytest.mark.parametrize(
    ("measure", "low", "high"),
    [("spearman", 0.249360, 0.605469), ("pearson", 0.251927, 0.611796), ("tau_a", 0.167256, 0.424776)],
)
def test_reference_of_one_session(real_data: Path, measure: str, low: float, high: float) -> None:
    """Four human subjects, session 1, reach the published figures for each measure."""
    rdms = dl.load("objects92", kind="brain", root=real_data).rdms
    ceiling = rsa_noise_ceiling(rdms.values[(rdms.table.session == "1").to_numpy()], measure=measure)
    assert ceiling.low[0] == pytest.approx(low, abs=5e-6)
    assert ceiling.high[0] == pytest.approx(high, abs=5e-6)
    assert (ceiling.metric, ceiling.info["n_subjects"]) == (measure, 4)


@pytest.mark.real
def test_reference_of_session_means(real_data: Path) -> None:
    """The mean of each subject's two RDMs, ranked after averaging, gives 0.3723 and 0.6657."""
    rdms = dl.load("objects92", kind="brain", root=real_data).rdms
    means = np.stack(
        [rdms.values[(rdms.table.subject == s).to_numpy()].mean(0) for s in ("BE", "KO", "SN", "TI")]
    )
    ceiling = rsa_noise_ceiling(means)
    assert ceiling.low[0] == pytest.approx(0.3723, abs=5e-5)
    assert ceiling.high[0] == pytest.approx(0.6657, abs=5e-5)


def test_against_the_definition_written_out() -> None:
    """Both ceilings equal the mean similarity with the average of z-scored vectors, by hand."""
    rdms = subjects()
    vectors = np.array([d[PAIRS] for d in rdms])
    z = np.array([(v - v.mean()) / v.std() for v in vectors])
    upper = np.mean([stats.pearsonr(v, z.mean(0)).statistic for v in vectors])
    lower = np.mean([stats.pearsonr(v, np.delete(z, i, 0).mean(0)).statistic for i, v in enumerate(vectors)])
    ceiling = rsa_noise_ceiling(rdms, measure="pearson")
    np.testing.assert_allclose([ceiling.low[0], ceiling.high[0]], [lower, upper], atol=1e-12)
    assert ceiling.values[0] == ceiling.high[0]


def test_no_model_exceeds_the_upper_ceiling() -> None:
    """For Pearson no RDM, not even the best of many, is closer to the subjects than the upper ceiling."""
    rdms = subjects()
    vectors = np.array([d[PAIRS] for d in rdms])
    high = rsa_noise_ceiling(rdms, measure="pearson").high[0]
    rng = np.random.default_rng(1)
    for scale in (0.01, 0.1, 1.0):
        models = vectors.mean(0) + scale * rng.normal(size=(200, vectors.shape[1]))
        scores = [np.mean([np.corrcoef(m, v)[0, 1] for v in vectors]) for m in models]
        assert max(scores) <= high + 1e-12


@pytest.mark.parametrize("measure", ["pearson", "spearman", "tau_a"])
def test_equal_and_unrelated_subjects(measure: str) -> None:
    """Subjects that agree have a ceiling of 1; unrelated ones have a lower ceiling around 0."""
    same = rsa_noise_ceiling(
        np.repeat(subjects(n=1), 3, axis=0) * np.arange(1, 4)[:, None, None], measure=measure
    )
    np.testing.assert_allclose([same.low[0], same.high[0]], 1, atol=1e-12)
    rng = np.random.default_rng(4)
    lows = [
        rsa_noise_ceiling(np.stack([symmetric(rng) for _ in range(4)]), measure=measure).low[0]
        for _ in range(40)
    ]
    assert abs(np.mean(lows)) < 0.06


def test_missing_pairs_are_left_out_for_all() -> None:
    """A pair that one subject misses is left out for all and counted."""
    rdms = subjects()
    rdms[2, 0, 5] = rdms[2, 5, 0] = np.nan
    ceiling = rsa_noise_ceiling(rdms)
    assert (ceiling.info["n_missing"], ceiling.info["n_pairs"]) == (1, 27)
    assert np.isfinite(ceiling.high).all()


def test_wrong_inputs() -> None:
    """One subject, wrong axes, a constant RDM, an unknown measure: all named."""
    with pytest.raises(ShapeError, match="needs at least 2 RDMs, found 1"):
        rsa_noise_ceiling(subjects(n=1))
    with pytest.raises(ShapeError, match=r"shape \(8, 8\); expected \(n_subjects"):
        rsa_noise_ceiling(subjects()[0])
    with pytest.raises(
        ShapeError, match="1 pairs of stimuli are known in every subject; expected at least 3"
    ):
        rsa_noise_ceiling(subjects()[:, :2, :2])
    flat = subjects()
    flat[3] = 1.0 - np.eye(len(flat[3]))
    with pytest.raises(InputError, match="RDM of subject 3 is constant"):
        rsa_noise_ceiling(flat)
    with pytest.raises(InputError, match="measure='bures' is not one of"):
        rsa_noise_ceiling(subjects(), measure="bures")
