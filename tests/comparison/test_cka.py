"""Linear CKA against the explicit HSIC formulas, its null, its degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison import compare, linear_cka
from brainalign.comparison.cka import centred_gram, u_centred
from brainalign.errors import ShapeError

RNG = np.random.default_rng(0)


def hsic_biased(k: np.ndarray, l_gram: np.ndarray) -> float:
    n = len(k)
    h = np.eye(n) - 1 / n
    return float(np.trace(k @ h @ l_gram @ h))


def hsic_song(k: np.ndarray, l_gram: np.ndarray) -> float:
    """The unbiased estimator of Song et al. 2012, term by term."""
    n = len(k)
    k, l_gram = k - np.diag(np.diag(k)), l_gram - np.diag(np.diag(l_gram))
    one = np.ones(n)
    trace = np.trace(k @ l_gram)
    outer = (one @ k @ one) * (one @ l_gram @ one) / ((n - 1) * (n - 2))
    return float(trace + outer - 2 / (n - 2) * (one @ k @ l_gram @ one)) / (n * (n - 3))


@pytest.mark.parametrize("shape", [(20, 3, 5), (20, 50, 4), (20, 30, 40), (4, 2, 3)])
@pytest.mark.parametrize("debiased", [True, False])
def test_against_the_explicit_formulas(shape: tuple[int, int, int], debiased: bool) -> None:
    """Feature form and Gram form both equal the ratio of HSICs written out in full, off centre too."""
    n, p, q = shape
    x = RNG.normal(size=(n, p)) + 5.0
    y = np.hstack([x[:, :2], RNG.normal(size=(n, q - 2))])
    k, l_gram = x @ x.T, y @ y.T
    hsic = hsic_song if debiased else hsic_biased
    expected = hsic(k, l_gram) / np.sqrt(hsic(k, k) * hsic(l_gram, l_gram))
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(expected, abs=1e-9)
    represent = u_centred if debiased else centred_gram
    assert float(np.vdot(represent(x), represent(y))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("p", [50, 500, 5000, 50000])
def test_null_of_the_debiased_form(p: int) -> None:
    """Unrelated x and y score about 0 for any number of units; the biased form does not."""
    rng = np.random.default_rng(p)
    values = [compare(rng.normal(size=(100, p)), rng.normal(size=(100, p))) for _ in range(2)]
    assert max(abs(v) for v in values) < 0.05
    if p <= 5000:
        x, y = rng.normal(size=(2, 100, p))
        expected = {50: 0.34, 500: 0.83, 5000: 0.98}[p]
        assert linear_cka(x, y, debiased=False) == pytest.approx(expected, abs=0.03)


def test_null_has_mean_zero() -> None:
    """The mean of the debiased form over 300 null pairs is within 4 standard errors of 0."""
    rng = np.random.default_rng(5)
    values = [compare(rng.normal(size=(15, 6)), rng.normal(size=(15, 9))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


@pytest.mark.parametrize("measure", ["cka", "cka_biased"])
def test_no_variance_is_nan_with_the_reason(measure: str) -> None:
    """A side that does not vary has no CKA: NaN and a warning that names it."""
    x = RNG.normal(size=(10, 3))
    with pytest.warns(UserWarning, match="CKA is NaN: y does not vary"):
        assert np.isnan(compare(x, np.full((10, 4), 0.1, np.float32), measure=measure))
    with pytest.warns(UserWarning, match="CKA is NaN: x does not vary"):
        assert np.isnan(compare(np.full((10, 40), 1e8), x, measure=measure))


def test_equally_far_stimuli_are_nan_in_the_debiased_form() -> None:
    """One unit per stimulus says nothing beyond identity: the debiased form is NaN, the biased 1."""
    x = np.eye(10)
    with pytest.warns(UserWarning, match="equally far apart"):
        assert np.isnan(linear_cka(x, x))
    assert linear_cka(x, x, debiased=False) == pytest.approx(1)


def test_extreme_scales() -> None:
    """Units of 1e-150 and 1e150 neither under- nor overflow."""
    x = RNG.normal(size=(12, 5))
    y = x + RNG.normal(size=(12, 5))
    assert linear_cka(x * 1e-150, y * 1e150) == pytest.approx(linear_cka(x, y), abs=1e-12)


def test_too_few_stimuli() -> None:
    """Three stimuli are refused."""
    with pytest.raises(ShapeError, match="CKA over 3 stimuli; it needs at least 4"):
        linear_cka(np.eye(3), np.eye(3))
