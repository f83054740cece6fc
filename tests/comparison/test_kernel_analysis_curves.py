"""Kernel analysis: the definition written out, planted labels, random labels, held-out accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison.task_kernels import kernel_analysis, match_sites
from brainalign.simulate import feature_bias

RNG = np.random.default_rng(0)


def kernel_of(features: np.ndarray, width: float) -> np.ndarray:
    """Centred Gaussian kernel of z-scored features."""
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    kernel = np.exp(-(squareform(pdist(z)) ** 2) / (2 * width**2))
    h = np.eye(len(z)) - 1 / len(z)
    out: np.ndarray = h @ kernel @ h
    return out


def components(features: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(kernel_of(features, width))
    return values[::-1], vectors[:, ::-1]


def test_labels_spanned_by_the_top_three_components() -> None:
    """Labels of shares .46, .23, .31 in the first three components leave e = 1, .54, .31, 0."""
    features = RNG.normal(size=(80, 10))
    _, vectors = components(features, 4.0)
    labels = vectors[:, :3] @ np.sqrt([0.46, 0.23, 0.31])
    found = kernel_analysis(features, 5.0 + labels[:, None], bandwidth=4.0, n_components=6)
    np.testing.assert_allclose(found.error, [1, 0.54, 0.31, 0, 0, 0, 0], atol=1e-9)
    assert found.ka_auc == pytest.approx(1 - (0.54 + 0.31) / 6, abs=1e-9)
    assert found.bandwidth == 4.0
    assert found.accuracy[0] == pytest.approx(0.0, abs=1e-12)
    assert found.accuracy[3] > 0.9


@pytest.mark.parametrize(("n", "p"), [(40, 6), (25, 90)])
def test_against_the_definition(n: int, p: int) -> None:
    """e(d) is the residual of the projection on the leading eigenvectors, for n > p and n < p."""
    features, labels = RNG.normal(size=(n, p)) * np.geomspace(1e-3, 1e3, p), RNG.normal(size=(n, 3))
    values, vectors = components(features, 3.0)
    y = labels - labels.mean(axis=0)
    found = kernel_analysis(features, labels, bandwidth=3.0)
    for d in range(n):
        u = vectors[:, :d]
        expected = np.linalg.norm(y - u @ u.T @ y) ** 2 / np.linalg.norm(y) ** 2
        assert found.error[d] == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(found.variance, values[: n - 1] / values.sum(), atol=1e-12)
    assert len(found.error) == len(found.accuracy) == n


def test_random_labels_follow_the_number_of_components() -> None:
    """Random labels leave 1 - d / (n - 1): 0.90 at d = 20, n = 200; a chosen bandwidth about so."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 30))
    labels = rng.normal(size=(200, 40))
    fixed = kernel_analysis(features, labels, bandwidth=7.0, n_components=60)
    expected = 1 - np.arange(61) / 199
    assert fixed.error[20] == pytest.approx(0.90, abs=0.01)
    np.testing.assert_allclose(fixed.error, expected, atol=0.015)
    chosen = kernel_analysis(features, labels[:, :1], n_components=60)
    assert chosen.error[20] == pytest.approx(0.90, abs=0.06)
    assert fixed.accuracy.max() < 0.02


def test_the_bandwidth_of_least_error_is_chosen() -> None:
    """`auto` takes, of the quantiles of the distances, the one whose fixed bandwidth has the largest area."""
    features = RNG.normal(size=(60, 4))
    labels = np.sign(features[:, :1] * features[:, 1:2])
    quantiles = (0.02, 0.3, 1.0)
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    widths = np.quantile(pdist(z), quantiles)
    areas = [kernel_analysis(features, labels, bandwidth=float(w), n_components=20).ka_auc for w in widths]
    found = kernel_analysis(features, labels, quantiles=quantiles, n_components=20)
    assert found.bandwidth == pytest.approx(widths[int(np.argmax(areas))], rel=1e-12)
    assert found.ka_auc == pytest.approx(max(areas), rel=1e-12)
    assert max(areas) > min(areas) + 0.02


@pytest.mark.parametrize("classes", [True, False])
def test_accuracy_against_leaving_each_stimulus_out(classes: bool) -> None:
    """The closed form is the ridge regression, with an intercept, refitted without each stimulus."""
    n = 24
    features = RNG.normal(size=(n, 5))
    codes = RNG.integers(0, 3, size=n)
    targets = np.eye(3)[codes] if classes else RNG.normal(size=(n, 2)) + features[:, :1]
    labels = np.array(["cat", "dog", "eel"])[codes] if classes else targets
    found = kernel_analysis(features, labels, bandwidth=2.5, penalty=0.05)
    values, vectors = components(features, 2.5)
    penalty = 0.05 * values.sum() / n
    for d in (0, 1, 5, 15):
        design = np.hstack([np.ones((n, 1)), vectors[:, :d] * np.sqrt(values[:d])])
        ridge = penalty * np.diag([0.0] + [1.0] * d)
        predicted, means = np.empty_like(targets), np.empty_like(targets)
        for i in range(n):
            rest = np.arange(n) != i
            a = design[rest]
            predicted[i] = design[i] @ np.linalg.solve(a.T @ a + ridge, a.T @ targets[rest])
            means[i] = targets[rest].mean(axis=0)
        if classes:
            predicted += targets.mean(axis=0) * 0
            expected = np.mean((predicted - targets.mean(axis=0)).argmax(axis=1) == codes)
        else:
            expected = 1 - ((targets - predicted) ** 2).sum() / ((targets - means) ** 2).sum()
        assert found.accuracy[d] == pytest.approx(expected, abs=1e-9)


def test_easy_feature_first() -> None:
    """On the feature-bias case the first component carries the easy feature and hardly the hard one,
    though both are fully there: the area is larger for what takes more variance."""
    (system,) = feature_bias([(0.55, 0.05)], n_stimuli=120, n_units=300)
    features, table = system.array(), system.samples
    easy, hard = (
        kernel_analysis(features, table[name].to_numpy(), n_components=30) for name in ("easy", "hard")
    )
    assert easy.error[1] < 0.05
    assert hard.error[1] > 0.9
    assert hard.error[2] < 0.3
    assert easy.ka_auc > hard.ka_auc + 0.03


def test_more_sites_and_less_noise_score_higher_until_matched() -> None:
    """A copy with more sites and less noise has the larger area; matched in both it has not."""
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(4), 25)
    signal = rng.normal(size=(4, 400))[codes]

    def area(features: np.ndarray) -> float:
        return kernel_analysis(features, codes, n_components=20).ka_auc

    def recording() -> np.ndarray:
        return signal[:, rng.permutation(400)[:40]] + 3.0 * rng.normal(size=(100, 40))

    recorded = np.mean([area(recording()) for _ in range(8)])
    ratio = 3.0 / signal.std(axis=0)
    matched = np.mean([area(match_sites(signal, 40, ratio, random_state=s)) for s in range(8)])
    assert area(signal) > recorded + 0.1
    assert matched == pytest.approx(recorded, abs=0.05)
