"""Scores and ceilings of 92 images: reference values for seven comparators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import data_loaders as dl
from brainalign.comparison.rsa_inference import bootstrap_rsa
from brainalign.errors import InputError, ShapeError
from brainalign.statistics import rsa_noise_ceiling

REFERENCE = {  # lower, upper, monkeyIT, animacy, V1
    "cosine": (0.973210, 0.984960, 0.976965, 0.737757, 0.943047),
    "pearson": (0.251927, 0.611796, 0.246773, 0.301167, 0.017662),
    "spearman": (0.249360, 0.605469, 0.237645, 0.298832, 0.017089),
    "rho_a": (0.249360, 0.605469, 0.237645, 0.258786, 0.017089),
    "tau_a": (0.167256, 0.424776, 0.160009, 0.172565, 0.011659),
    "whitened_cosine": (0.475190, 0.722294, 0.525843, 0.340904, 0.389116),
    "whitened_pearson": (0.279656, 0.623565, 0.284423, 0.335719, 0.075130),
}


@pytest.fixture(scope="module")
def images(real_data: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    brain = dl.load("objects92", kind="brain", root=real_data).rdms
    models = dl.load("objects92", kind="model", root=real_data).rdms
    found = dict(zip(models.table["name"], models.values, strict=True))
    data = brain.values[(brain.table.session == "1").to_numpy()]
    return data, {name: found[name] for name in ("monkeyIT", "animacy", "V1")}


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:more than 5% of the entries of animacy")
@pytest.mark.parametrize("measure", REFERENCE)
def test_reference_of_92_images(images: tuple, measure: str) -> None:
    """Three models and both ceilings reach the reference; whitened ceilings exceed the unwhitened pool's."""
    data, models = images
    lower, upper, *scores = REFERENCE[measure]
    ceiling = rsa_noise_ceiling(data, measure=measure)
    result = bootstrap_rsa(data, models, measure=measure, n_boot=2, over="subjects")
    np.testing.assert_allclose(result.observed, scores, atol=1e-5)
    np.testing.assert_allclose(result.observed_ceiling, [ceiling.low[0], ceiling.high[0]], atol=1e-12)
    if measure.startswith("whitened"):  # the reference pools before whitening, which is not the best pool
        assert ceiling.high[0] > upper + 5e-4
        assert ceiling.low[0] > lower
    else:
        np.testing.assert_allclose([ceiling.low[0], ceiling.high[0]], [lower, upper], atol=1e-5)


@pytest.mark.real
def test_unwhitened_pool_is_no_upper_bound(images: tuple) -> None:
    """The mean of RDMs of norm one reaches the reference's 'upper' bound, which the whitened pool exceeds."""
    data, _ = images
    i, j = np.triu_indices(92, 1)
    norms = np.sqrt((data[:, i, j] ** 2).mean(1))[:, None, None]
    pool = {"unwhitened": (data / norms).mean(0)}
    result = bootstrap_rsa(data, pool, measure="whitened_cosine", n_boot=2, over="subjects")
    assert result.observed[0] == pytest.approx(0.722294, abs=1e-6)
    centred = [-0.5 * (d - d.mean(0) - d.mean(1)[:, None] + d.mean()) for d in data]
    best = np.mean([c / np.linalg.norm(c) for c in centred], 0)
    kernel = np.diag(best)[:, None] + np.diag(best)[None] - 2 * best
    reached = bootstrap_rsa(data, {"whitened": kernel}, measure="whitened_cosine", n_boot=2, over="subjects")
    assert reached.observed[0] == pytest.approx(reached.observed_ceiling[1], abs=1e-12)
    assert reached.observed[0] > result.observed[0]


@pytest.mark.parametrize("measure", ["pearson", "cosine", "whitened_cosine", "whitened_pearson", "rho_a"])
def test_no_model_exceeds_the_upper_ceiling(measure: str) -> None:
    """Models near the best of many are at most at the upper ceiling."""
    rng = np.random.default_rng(0)
    rdms = np.triu(rng.random((5, 9, 9)) + rng.random((9, 9)), 1)
    rdms = rdms + rdms.transpose(0, 2, 1)
    noise = np.triu(rng.normal(size=(300, 9, 9)), 1)
    models = rdms.mean(0) + 0.2 * (noise + noise.transpose(0, 2, 1))
    result = bootstrap_rsa(rdms, models, measure=measure, n_boot=2, over="subjects")
    assert result.observed.max() <= result.observed_ceiling[1] + 1e-12


def test_wrong_covariances() -> None:
    """A covariance of the stimuli of another size, not symmetric, not finite or not definite is refused."""
    rdms = np.stack([1.0 - np.eye(4), 2.0 - 2 * np.eye(4)])
    rdms[:, 0, 1] = rdms[:, 1, 0] = [3.0, 4.0]
    with pytest.raises(ShapeError, match=r"sigma_k has shape \(3,\); expected \(4,\) or \(4, 4\)"):
        rsa_noise_ceiling(rdms, measure="whitened_cosine", sigma_k=np.ones(3))
    with pytest.raises(InputError, match="sigma_k has values that are not finite"):
        rsa_noise_ceiling(rdms, measure="whitened_cosine", sigma_k=[1, 1, np.nan, 1])
    with pytest.raises(InputError, match="sigma_k is not symmetric"):
        rsa_noise_ceiling(rdms, measure="whitened_cosine", sigma_k=np.triu(np.ones((4, 4))))
    with pytest.raises(InputError, match="sigma_k is not positive definite"):
        rsa_noise_ceiling(rdms, measure="whitened_cosine", sigma_k=np.ones((4, 4)))
    diagonal = rsa_noise_ceiling(rdms, measure="whitened_cosine", sigma_k=2 * np.eye(4))
    plain = rsa_noise_ceiling(rdms, measure="whitened_cosine")
    np.testing.assert_allclose(diagonal.values, plain.values, atol=1e-14)
