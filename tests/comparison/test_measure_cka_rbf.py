"""RBF CKA and the RV coefficient against explicit formulas; the null of both forms of CKA."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from brainalign.comparison.cka import linear_cka, rv_coefficient
from brainalign.comparison.kernel_cka import rbf_cka
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


def hsic(k: np.ndarray, l_gram: np.ndarray, *, debiased: bool) -> float:
    """Biased HSIC by the centring matrix, or the unbiased one of Song et al. term by term."""
    n = len(k)
    if not debiased:
        h = np.eye(n) - 1 / n
        return float(np.trace(k @ h @ l_gram @ h))
    k, l_gram = k - np.diag(np.diag(k)), l_gram - np.diag(np.diag(l_gram))
    one = np.ones(n)
    outer = (one @ k @ one) * (one @ l_gram @ one) / ((n - 1) * (n - 2))
    return float(np.trace(k @ l_gram) + outer - 2 / (n - 2) * (one @ k @ l_gram @ one))


def reference(x: np.ndarray, y: np.ndarray, fraction: float, *, debiased: bool) -> float:
    grams = []
    for side in (x, y):
        sigma = fraction * np.median(pdist(side))
        grams.append(np.exp(-cdist(side, side, "sqeuclidean") / (2 * sigma**2)))
    k, l_gram = grams
    parts = [hsic(a, b, debiased=debiased) for a, b in ((k, l_gram), (k, k), (l_gram, l_gram))]
    return float(parts[0] / np.sqrt(parts[1] * parts[2]))


@pytest.mark.parametrize("shape", [(20, 3, 5), (12, 40, 1), (4, 2, 3)])
@pytest.mark.parametrize("fraction", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("debiased", [True, False])
def test_against_the_explicit_formulas(shape: tuple[int, int, int], fraction: float, debiased: bool) -> None:
    """Bandwidth and both forms are those written out with all distances, far off centre too."""
    n, p, q = shape
    x = RNG.normal(size=(n, p)) + 50.0
    y = np.tanh(x[:, :1]) + 0.3 * RNG.normal(size=(n, q))
    expected = reference(x, y, fraction, debiased=debiased)
    assert rbf_cka(x, y, fraction=fraction, debiased=debiased) == pytest.approx(expected, abs=1e-10)


def test_the_fraction_matters_and_one_is_the_default() -> None:
    """Another fraction is another value; the median itself is the default."""
    x, y = RNG.normal(size=(2, 30, 4))
    y += x
    assert rbf_cka(x, y) == rbf_cka(x, y, fraction=1.0)
    assert abs(rbf_cka(x, y) - rbf_cka(x, y, fraction=0.2)) > 0.05


@pytest.mark.parametrize("debiased", [True, False])
def test_a_wide_kernel_is_linear(debiased: bool) -> None:
    """With a bandwidth far beyond all distances the value tends to the linear CKA."""
    x = RNG.normal(size=(25, 3))
    y = x**2 + RNG.normal(size=(25, 3))
    wide = rbf_cka(x, y, fraction=1000.0, debiased=debiased)
    assert wide == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-5)


def test_planted_dependence_that_no_linear_measure_sees() -> None:
    """Points on a circle and their doubled angle have no linear relation and a clear RBF CKA."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    y = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)])
    assert abs(linear_cka(x, y)) < 0.02
    assert rbf_cka(x, y, fraction=0.3) > 0.2


@pytest.mark.parametrize(("p", "draws"), [(50, 6), (500, 6), (5000, 3), (50_000, 1)])
def test_null_of_the_debiased_forms(p: int, draws: int) -> None:
    """Independent Gaussians, n = 100: both debiased forms have a mean within 0.02 of 0 at any p."""
    rng = np.random.default_rng(p)
    values = []
    for _ in range(draws):
        x, y = rng.normal(size=(2, 100, p))
        values.append([linear_cka(x, y), rbf_cka(x, y)])
    assert np.abs(np.mean(values, axis=0)).max() < 0.02


def test_null_at_500_units_biased_and_debiased() -> None:
    """Independent Gaussians, n = 100, p = 500: biased 0.83, debiased 0.000 with a spread below 0.02."""
    rng = np.random.default_rng(1)
    pairs = [rng.normal(size=(2, 100, 500)) for _ in range(12)]
    biased = [linear_cka(x, y, debiased=False) for x, y in pairs]
    debiased = [linear_cka(x, y) for x, y in pairs]
    assert np.mean(biased) == pytest.approx(0.83, abs=0.01)
    assert abs(np.mean(debiased)) < 0.008
    assert np.std(debiased) < 0.02
    assert np.mean([rbf_cka(x, y, debiased=False) for x, y in pairs[:3]]) > 0.8


def test_biased_null_falls_with_stimuli() -> None:
    """At a fixed number of units the biased form falls as stimuli are added, the debiased stays at 0."""
    rng = np.random.default_rng(2)
    biased = []
    for n in (32, 64, 128, 256):
        x, y = rng.normal(size=(2, n, 8))
        biased.append(linear_cka(x, y, debiased=False))
        assert abs(linear_cka(x, y)) < 0.1
    assert biased == sorted(biased, reverse=True)
    assert biased[0] > 3 * biased[-1]


def test_rv_is_biased_cka_is_the_whitened_cosine() -> None:
    """RV by its covariances, biased linear CKA and the whitened cosine of the RDMs are one number."""
    x = RNG.normal(size=(25, 6)) + 3.0
    y = x[:, :2] + RNG.normal(size=(25, 2))
    full = np.cov(np.hstack([x, y]).T)
    xx, xy, yy = full[:6, :6], full[:6, 6:], full[6:, 6:]
    rv = np.trace(xy @ xy.T) / np.sqrt(np.trace(xx @ xx) * np.trace(yy @ yy))
    assert rv_coefficient(x, y) == pytest.approx(rv, abs=1e-12)
    assert linear_cka(x, y, debiased=False) == pytest.approx(rv, abs=1e-12)
    rdms = [rdm(side, distance="sq_euclidean") for side in (x, y)]
    assert compare_rdms(*rdms, measure="whitened_cosine") == pytest.approx(rv, abs=1e-10)


@pytest.mark.parametrize("debiased", [True, False])
def test_no_kernel_is_nan_with_the_reason(debiased: bool) -> None:
    """A constant side, and one where half of all pairs are equal, have no bandwidth: NaN and a reason."""
    x = RNG.normal(size=(10, 3))
    with pytest.warns(UserWarning, match="RBF CKA is NaN: y does not vary over stimuli"):
        assert np.isnan(rbf_cka(x, np.full((10, 2), 0.1), debiased=debiased))
    mostly = np.zeros((10, 2))
    mostly[0] = 1.0
    with pytest.warns(UserWarning, match="RBF CKA is NaN: x does not .* its median distance is zero"):
        assert np.isnan(rbf_cka(mostly, x, debiased=debiased))


def test_equally_far_stimuli_are_nan_in_the_debiased_form() -> None:
    """One unit per stimulus says nothing beyond identity: the debiased form is NaN, the biased 1."""
    with pytest.warns(UserWarning, match="equally far apart"):
        assert np.isnan(rbf_cka(np.eye(10), np.eye(10)))
    assert rbf_cka(np.eye(10), np.eye(10), debiased=False) == pytest.approx(1)


@pytest.mark.parametrize("fraction", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_bandwidth_is_refused(fraction: float) -> None:
    """A fraction that is not positive and finite is refused by name."""
    x = RNG.normal(size=(10, 3))
    with pytest.raises(InputError, match=r"fraction=.*; expected a positive multiple of the median distance"):
        rbf_cka(x, x, fraction=fraction)


def test_too_few_stimuli() -> None:
    """Three stimuli are refused."""
    with pytest.raises(ShapeError, match="RBF CKA over 3 stimuli; it needs at least 4"):
        rbf_cka(np.eye(3), np.eye(3))
