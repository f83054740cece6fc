"""Distance correlation, published and bias-corrected, against the distances written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.distance_dependence import centred_distances, distance_correlation
from brainalign.errors import ShapeError

RNG = np.random.default_rng(0)


def distances(x: np.ndarray) -> np.ndarray:
    return squareform(pdist(x))


def dcov_squared(a: np.ndarray, b: np.ndarray) -> float:
    """Squared sample distance covariance of Szekely et al. 2007, from its three sums."""
    n = len(a)
    first, second = np.sum(a * b) / n**2, a.mean() * b.mean()
    return float(first + second - 2.0 * np.sum(a.mean(axis=0) * b.mean(axis=0)) / n)


def u_dcov(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased one of Szekely & Rizzo 2014, entry by entry."""
    n = len(a)

    def centre(d: np.ndarray) -> np.ndarray:
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    out[i, j] = d[i, j] - d[i].sum() / (n - 2) - d[:, j].sum() / (n - 2)
                    out[i, j] += d.sum() / ((n - 1) * (n - 2))
        return out

    return float(np.sum(centre(a) * centre(b)) / (n * (n - 3)))


@pytest.mark.parametrize("shape", [(20, 3, 5), (12, 30, 1), (4, 2, 2)])
def test_against_the_published_formulas(shape: tuple[int, int, int]) -> None:
    """Both forms equal those of the papers, with duplicated stimuli and far off centre too."""
    n, p, q = shape
    x, y = RNG.normal(size=(n, p)) + 20.0, RNG.normal(size=(n, q))
    y[:, 0] += x[:, 0]
    x[1], y[1] = x[0], y[0]
    a, b = distances(x), distances(y)
    biased = np.sqrt(dcov_squared(a, b) / np.sqrt(dcov_squared(a, a) * dcov_squared(b, b)))
    assert distance_correlation(x, y) == pytest.approx(biased, abs=1e-8)
    corrected = u_dcov(a, b) / np.sqrt(u_dcov(a, a) * u_dcov(b, b))
    assert distance_correlation(x, y, debiased=True) == pytest.approx(corrected, abs=1e-8)


def test_from_distances_is_from_gram_matrices() -> None:
    """dCov^2 is four times the HSIC of the kernels (|a| + |b| - |a - b|) / 2."""
    x, y = RNG.normal(size=(15, 3)), RNG.normal(size=(15, 2)) + 1.0
    h = np.eye(15) - 1 / 15
    grams = []
    for side in (x, y):
        norms = np.linalg.norm(side, axis=1)
        grams.append(h @ ((norms[:, None] + norms[None, :] - distances(side)) / 2.0) @ h)
    xy, xx, yy = (float(np.vdot(a, b)) for a, b in ((grams[0], grams[1]), (grams[0],) * 2, (grams[1],) * 2))
    assert 4.0 * xy / 15**2 == pytest.approx(dcov_squared(distances(x), distances(y)), abs=1e-12)
    assert distance_correlation(x, y) == pytest.approx(np.sqrt(xy / np.sqrt(xx * yy)), abs=1e-8)


def test_planted_dependence_without_correlation() -> None:
    """A parabola has no correlation and a clear distance correlation."""
    x = np.linspace(-1, 1, 101)[:, None]
    assert abs(linear_cka(x, x**2)) < 0.02
    assert distance_correlation(x, x**2) == pytest.approx(0.49, abs=0.02)
    assert distance_correlation(x, x**2, debiased=True) > 0.2


@pytest.mark.parametrize("p", [2, 50, 5000])
def test_null_of_both_forms(p: int) -> None:
    """Unrelated sides score about 0 in the corrected form at any p; the published one tends to 1."""
    rng = np.random.default_rng(p)
    pairs = [rng.normal(size=(2, 100, p)) for _ in range(5)]
    corrected = [distance_correlation(x, y, debiased=True) for x, y in pairs]
    assert abs(np.mean(corrected)) < 0.02
    assert min(corrected) < 0.0  # not clipped
    published = np.mean([distance_correlation(x, y) for x, y in pairs])
    low, high = {2: (0.1, 0.35), 50: (0.5, 0.85), 5000: (0.98, 1.0)}[p]
    assert low < published < high


def test_one_factor_changes_nothing() -> None:
    """It is invariant to scale, against what some code declares: the difference is rounding."""
    x, y = RNG.normal(size=(2, 20, 4))
    assert distance_correlation(8.0 * x, y) == distance_correlation(x, y)


def test_centred_forms_show_in_the_diagonal() -> None:
    """U-centred distances have a zero diagonal, doubly centred ones do not, whatever x is."""
    for x in (RNG.normal(size=(6, 2)), np.eye(6)):
        assert np.diagonal(centred_distances(x)).any()
    assert not np.diagonal(centred_distances(RNG.normal(size=(6, 2)), debiased=True)).any()


@pytest.mark.parametrize("debiased", [True, False])
def test_no_variance_is_nan_with_the_reason(debiased: bool) -> None:
    """A side that does not vary has no distances: NaN and a warning that names it."""
    x = RNG.normal(size=(10, 3))
    with pytest.warns(UserWarning, match="distance correlation is NaN: y does not vary over stimuli"):
        assert np.isnan(distance_correlation(x, np.full((10, 2), 0.1), debiased=debiased))
    with pytest.warns(UserWarning, match="distance correlation is NaN: x does not vary"):
        assert np.isnan(distance_correlation(np.zeros((10, 2)), x, debiased=debiased))


def test_equally_far_stimuli() -> None:
    """One unit per stimulus: the corrected form is NaN, the published one is 1."""
    with pytest.warns(UserWarning, match="debiased, all its stimuli are equally far apart"):
        assert np.isnan(distance_correlation(np.eye(8), np.eye(8), debiased=True))
    assert distance_correlation(np.eye(8), np.eye(8)) == pytest.approx(1.0)


def test_too_few_stimuli() -> None:
    """Three stimuli are refused."""
    with pytest.raises(ShapeError, match="distance correlation over 3 stimuli; it needs at least 4"):
        distance_correlation(np.eye(3), np.eye(3))
