"""CCA, SVCCA, PWCCA and regularised CCA against textbook forms and planted truth."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import linalg

from brainalign.comparison._spectra import spectrum_of
from brainalign.comparison.bures import normalised_bures_similarity
from brainalign.comparison.cca import canonical_correlation, canonical_correlations, pwcca, svcca, truncated
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)


def covariances(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    return a.T @ a, a.T @ b, b.T @ b


def textbook(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Canonical correlations: roots of the eigenvalues of S_xx^-1 S_xy S_yy^-1 S_yx."""
    xx, xy, yy = covariances(x, y)
    values = linalg.eigvals(linalg.solve(xx, xy) @ linalg.solve(yy, xy.T)).real
    count = min(x.shape[1], y.shape[1])
    return np.sqrt(np.clip(np.sort(values)[::-1][:count], 0.0, 1.0))


def related(n: int, p: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.normal(size=(n, p)) * np.geomspace(5.0, 0.2, p) + 4.0
    y = x @ RNG.normal(size=(p, q)) + RNG.normal(size=(n, q))
    return x, y


@pytest.mark.parametrize("shape", [(60, 4, 6), (60, 6, 4), (30, 1, 3), (500, 5, 5)])
def test_against_the_textbook(shape: tuple[int, int, int]) -> None:
    """Each correlation, their mean and the mean of their squares are those of the covariances."""
    x, y = related(*shape)
    expected = textbook(x, y)
    found = canonical_correlations(spectrum_of(x), spectrum_of(y))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert canonical_correlation(x, y) == pytest.approx(expected.mean(), abs=1e-9)
    assert canonical_correlation(x, y, squared=True) == pytest.approx(np.mean(expected**2), abs=1e-9)


def test_planted_shared_directions() -> None:
    """Two of three directions shared exactly: two correlations of 1, the mean about 2/3."""
    z = RNG.normal(size=(4000, 2))
    x = np.column_stack([z, RNG.normal(size=4000)]) @ RNG.normal(size=(3, 3))
    y = np.column_stack([z, RNG.normal(size=(4000, 2))]) @ RNG.normal(size=(4, 4))
    np.testing.assert_allclose(canonical_correlations(spectrum_of(x), spectrum_of(y))[:2], 1.0, atol=1e-9)
    assert canonical_correlation(x, y) == pytest.approx(2 / 3, abs=0.03)


def test_units_that_are_combinations_of_others_change_nothing() -> None:
    """Duplicated, combined and constant units leave the mean as it was; so equal systems keep 1."""
    x, y = related(50, 4, 3)
    wide = np.column_stack([x, x[:, 0], x @ [1.0, -2.0, 3.0, 0.5], np.full(50, 0.1)])
    assert canonical_correlation(wide, y) == pytest.approx(canonical_correlation(x, y), abs=1e-10)
    assert canonical_correlation(wide, wide) == pytest.approx(1.0, abs=1e-12)


def test_whitened_shapes_have_the_same_angle() -> None:
    """The angular distance of fully whitened shapes of equal width is the arccos of the mean r."""
    x, y = related(60, 4, 4)
    white = []
    for side in (x, y):
        centred = side - side.mean(axis=0)
        white.append(centred @ linalg.inv(linalg.sqrtm(centred.T @ centred)).real)
    rotation, _ = linalg.orthogonal_procrustes(white[0], white[1])
    cosine = np.sum((white[0] @ rotation) * white[1]) / 4.0  # each has the norm root 4
    assert np.arccos(canonical_correlation(x, y)) == pytest.approx(np.arccos(cosine), abs=1e-7)


def test_svcca_truncates_by_variance() -> None:
    """99 % of the variance (squares), not of the sum of singular values, decides what is kept."""
    base = RNG.normal(size=(80, 7))
    base = np.linalg.qr(base - base.mean(axis=0))[0]
    x = base * np.array([10.0, 8.0, 1.0, 0.5, 0.5, 0.5, 0.5])
    kept = truncated(spectrum_of(x), 0.99)
    shares = np.cumsum(kept.s**2) / spectrum_of(x).square_norm
    assert shares[-1] >= 0.99 > shares[-2]
    by_sum = np.cumsum(np.sort(np.linalg.svd(x - x.mean(0), compute_uv=False))[::-1])
    assert int(np.searchsorted(by_sum / by_sum[-1], 0.99)) + 1 == 7  # what the sum would keep
    y = np.column_stack([x[:, :2] @ RNG.normal(size=(2, 2)), 0.3 * RNG.normal(size=80)])
    a, b = truncated(spectrum_of(x), 0.99), truncated(spectrum_of(y), 0.99)
    assert svcca(x, y) == pytest.approx(textbook(a.u * a.s, b.u * b.s).mean(), abs=1e-9)
    assert svcca(x, y, threshold=1.0) == pytest.approx(canonical_correlation(x, y), abs=1e-12)
    assert svcca(x, y, squared=True) < svcca(x, y)


def test_pwcca_written_out() -> None:
    """Weights are the absolute products of the variates with the units of x, one by one."""
    x, y = related(60, 5, 3)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    qx, rx = np.linalg.qr(a)
    qy, _ = np.linalg.qr(b)
    left, rho, _ = np.linalg.svd(qx.T @ qy)
    weights = [sum(abs((qx @ left[:, i]) @ a[:, j]) for j in range(5)) for i in range(3)]
    assert pwcca(x, y) == pytest.approx(np.dot(weights, rho) / np.sum(weights), abs=1e-10)
    assert abs(pwcca(x, y) - pwcca(y, x)) > 1e-3
    assert rx.shape == (5, 5)


def test_pwcca_is_not_invariant_to_a_rotation_of_x_but_to_any_map_of_y() -> None:
    """The weights are per unit of x; y enters by its span alone."""
    x, y = related(60, 5, 3)
    value = pwcca(x, y)
    turned = x @ np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    assert abs(pwcca(turned, y) - value) > 1e-4
    assert pwcca(x, y @ (RNG.normal(size=(3, 3)) + 3.0 * np.eye(3)) + 7.0) == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("ridge", [0.1, 0.7, 1.0])
def test_ridge_written_out(ridge: float) -> None:
    """Variates of the shrunk covariances, by matrix square roots, and their correlations."""
    x, y = related(60, 5, 3)
    xx, xy, yy = covariances(x, y)
    roots = []
    for c in (xx, yy):
        shrunk = (1 - ridge) * c + ridge * np.trace(c) / len(c) * np.eye(len(c))
        roots.append(linalg.inv(linalg.sqrtm(shrunk)).real)
    left, _, right = np.linalg.svd(roots[0] @ xy @ roots[1], full_matrices=False)
    u, v = roots[0] @ left, roots[1] @ right.T
    expected = [
        (u[:, i] @ xy @ v[:, i]) / np.sqrt((u[:, i] @ xx @ u[:, i]) * (v[:, i] @ yy @ v[:, i]))
        for i in range(3)
    ]
    found = canonical_correlation(x, y, ridge=ridge)
    assert found == pytest.approx(np.mean(expected), abs=1e-8)
    assert canonical_correlation(x, x, ridge=ridge) == pytest.approx(1.0, abs=1e-12)
    assert canonical_correlation(50.0 * x, y, ridge=ridge) == pytest.approx(found, abs=1e-10)
    mixed = canonical_correlation(x @ (RNG.normal(size=(5, 5)) + np.eye(5)), y, ridge=ridge)
    assert abs(mixed - found) > 1e-4


def test_ridge_prefers_variance() -> None:
    """A shared strong direction and a shared weak one: ridge 1 orders the variates by covariance."""
    z = RNG.normal(size=(300, 2))
    x = np.column_stack([10.0 * z[:, 0] + RNG.normal(size=300), 0.1 * z[:, 1]])
    y = np.column_stack([10.0 * z[:, 0] + RNG.normal(size=300), 0.1 * z[:, 1]])
    plain, least = (canonical_correlations(spectrum_of(x), spectrum_of(y), ridge=r) for r in (0.0, 1.0))
    assert plain[0] == pytest.approx(1.0)
    assert least[1] > least[0]
    assert normalised_bures_similarity(x, y) == pytest.approx(least[0], abs=0.01)


@pytest.mark.parametrize("function", [canonical_correlation, svcca, pwcca])
def test_ranks_that_fill_the_space_warn(function: object) -> None:
    """Unrelated sides with rank(x) + rank(y) >= n - 1 are near 1, and the warning says so."""
    assert callable(function)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 50, 60))
    with pytest.warns(UserWarning, match="49 of 49 canonical correlations are 1 .* the value means nothing"):
        assert function(x, y, **_all(function)) == pytest.approx(1.0)
    with pytest.warns(UserWarning, match="ranks 24 of x and 25 of y fill the 49 dimensions that 50 stimuli"):
        assert 0.4 < function(x[:, :24], y[:, :25], **_all(function)) < 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(x[:, :24], y[:, :24]) < 0.9


def _all(function: object) -> dict[str, float]:
    return {"threshold": 1.0} if function is svcca else {}


def test_null_of_many_stimuli() -> None:
    """Unrelated sides with far more stimuli than units score near 0, biased by about root(p / n)."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 2000, 3))
    for function in (canonical_correlation, svcca, pwcca):
        assert 0.0 < function(x, y) < 0.08


@pytest.mark.parametrize(
    ("function", "name"), [(canonical_correlation, "CCA"), (svcca, "SVCCA"), (pwcca, "PWCCA")]
)
def test_no_variance_and_too_few_stimuli(function: object, name: str) -> None:
    """A constant side is NaN with a reason; two stimuli are refused."""
    assert callable(function)
    x = RNG.normal(size=(10, 2))
    with pytest.warns(UserWarning, match=f"^{name} is NaN: y does not vary over stimuli"):
        assert np.isnan(function(x, np.full((10, 3), 0.1)))
    with pytest.warns(UserWarning, match=f"^{name} is NaN: x does not vary over stimuli"):
        assert np.isnan(function(np.ones((10, 3)), x))
    with pytest.raises(ShapeError, match=f"^{name} over 2 stimuli; it needs at least 3"):
        function(x[:2], x[:2])


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_bad_options_are_refused(value: float) -> None:
    """A ridge outside [0, 1] and a threshold outside (0, 1] are refused by name."""
    x = RNG.normal(size=(10, 2))
    with pytest.raises(InputError, match=r"ridge=.*; expected a number in \[0, 1\]"):
        canonical_correlation(x, x, ridge=value)
    with pytest.raises(InputError, match=r"threshold=.*; expected a number in \(0, 1\]"):
        svcca(x, x, threshold=value)
    with pytest.raises(InputError, match=r"threshold=0; expected"):
        svcca(x, x, threshold=0)
