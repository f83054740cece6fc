"""Kernel analysis and matched sites: invariances, degenerate input, and every error text."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.task_kernels import kernel_analysis, match_sites
from brainalign.errors import InputError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = X[:, :2] ** 2 + 0.1 * RNG.normal(size=(40, 2))


def test_invariances() -> None:
    """A scale and a shift of each unit, the order of units and stimuli, and units without variance leave the
    curves; a rotation does not, because units are z-scored; nor does a mixture of labels of other sizes."""
    expected = kernel_analysis(X, Y)
    order = RNG.permutation(40)
    same = (
        (X * np.geomspace(1e-200, 1e200, 6), Y),
        (X[:, ::-1] + 4.0, Y * -1e200 + 1e199),
        (X[order], Y[order]),
        (np.hstack([X, np.full((40, 2), 0.1)]), Y @ np.linalg.qr(RNG.normal(size=(2, 2)))[0]),
    )
    for features, labels in same:
        found = kernel_analysis(features, labels)
        np.testing.assert_allclose(found.error, expected.error, atol=1e-8)
        np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=1e-7)
    mixed = X * np.array([3.0, 1, 1, 1, 1, 1]) @ np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert abs(kernel_analysis(mixed, Y).ka_auc - expected.ka_auc) > 1e-3
    assert abs(kernel_analysis(X, Y * np.array([5.0, 1.0])).ka_auc - expected.ka_auc) > 1e-4


def test_classes_by_any_name() -> None:
    """Text, integers and whole floats of the same classes give the same curves; one unit is enough."""
    codes = RNG.integers(0, 3, size=40)
    expected = kernel_analysis(X[:, :1], codes)
    for labels in (np.array(list("abc"))[codes], codes.astype(float), codes[:, None] == np.arange(3)):
        np.testing.assert_allclose(kernel_analysis(X[:, :1], labels).error, expected.error, atol=1e-12)
    assert np.isfinite(expected.error).all()
    assert (np.diff(expected.error) <= 1e-12).all()


def test_repeated_stimuli_have_no_component_of_their_own() -> None:
    """Labels that differ between repeats of one stimulus stay unexplained: the curve is flat."""
    features = np.repeat(X[:10], 2, axis=0)
    labels = np.tile([0, 1], 10)
    found = kernel_analysis(features, labels)
    np.testing.assert_allclose(found.error, 1.0, atol=1e-9)
    assert found.ka_auc == pytest.approx(0.0, abs=1e-9)
    assert (found.variance[9:] == 0).all()
    assert found.accuracy.max() <= 0.5


def test_nothing_that_varies_is_nan_with_the_reason() -> None:
    """Constant features or labels: all NaN, and which it is."""
    with pytest.warns(UserWarning, match="kernel analysis is NaN: no unit of the features varies"):
        found = kernel_analysis(np.full((9, 3), 0.1), np.arange(9) % 2)
    assert np.isnan(found.error).all()
    assert np.isnan([found.ka_auc, found.bandwidth]).all()
    assert len(found.error) == 9
    for labels in (np.zeros(40, dtype=int), np.full((40, 2), 0.1), np.zeros((40, 1))):
        with pytest.warns(UserWarning, match="kernel analysis is NaN: the labels do not vary"):
            assert np.isnan(kernel_analysis(X, labels).ka_auc)


def test_no_penalty_and_all_components_predict_nothing() -> None:
    """Without a penalty all components together fit each stimulus by itself: that accuracy is NaN."""
    found = kernel_analysis(X, Y, bandwidth=1.0, penalty=0.0)
    assert np.isnan(found.accuracy[-1])
    assert np.isfinite(found.accuracy[:20]).all()


def test_equally_far_stimuli_have_no_order_of_components() -> None:
    """Equidistant stimuli, and a kernel so narrow or so wide that it sees no distance: NaN and why."""
    for features, bandwidth in ((np.eye(40), "auto"), (X, 1e-3), (X, 1e200)):
        with pytest.warns(UserWarning, match="NaN: all stimuli are equally far apart for the kernel"):
            assert np.isnan(kernel_analysis(features, Y, bandwidth=bandwidth).error).all()


def test_a_wide_kernel_keeps_its_digits() -> None:
    """With a wide bandwidth the components become those of the linear kernel, here at 1e7 distances."""
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    u = np.linalg.svd(z)[0][:, :6]
    y = Y - Y.mean(axis=0)
    expected = 1 - np.cumsum(((u.T @ y) ** 2).sum(axis=1)) / (y**2).sum()
    found = kernel_analysis(X, Y, bandwidth=1e7, n_components=6)
    np.testing.assert_allclose(found.error[1:], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"features": X[:2], "labels": [0, 1]}, ShapeError, "over 2 stimuli; it needs at least 3"),
        ({"labels": np.zeros(39)}, ShapeError, "labels have 39 rows and features have 40"),
        ({"labels": np.zeros((40, 1, 1))}, ShapeError, r"labels have shape \(40, 1, 1\)"),
        ({"labels": np.linspace(0, 1, 40)}, InputError, r"with decimals; give numbers as \(n_stimuli, c\)"),
        ({"labels": np.full((40, 1), np.inf)}, InputError, "labels has 40 values that are not finite"),
        ({"labels": [None, *"ab" * 19, "a"]}, InputError, "labels: row 0 has no label"),
        ({"features": np.where(X > 2, np.nan, X)}, InputError, "features has .* values that are not finite"),
        ({"bandwidth": 0.0}, InputError, "bandwidth=0.0; expected 'auto' or a positive number"),
        ({"bandwidth": "median"}, InputError, "bandwidth='median'; expected 'auto'"),
        (
            {"quantiles": (0.0, 0.5)},
            InputError,
            r"quantiles=\[0.0, 0.5\]; expected one or more numbers above 0",
        ),
        ({"quantiles": ()}, InputError, r"quantiles=\[\]; expected one or more"),
        ({"n_components": 40}, InputError, r"n_components=40 of 40 stimuli; expected 1 to n - 1 = 39"),
        ({"penalty": -1.0}, InputError, "penalty=-1.0; expected a number of 0 or more"),
    ],
)
def test_errors(arguments: dict[str, object], error: type[Exception], match: str) -> None:
    """Every wrong argument says what was found and what is expected."""
    given: dict[str, object] = {"features": X, "labels": Y, **arguments}
    with pytest.raises(error, match=match):
        kernel_analysis(given.pop("features"), given.pop("labels"), **given)  # type: ignore[arg-type]


def test_matched_sites() -> None:
    """Sites are a draw of units without repeats, noise is in standard deviations of each unit, seeded."""
    features = RNG.normal(size=(4000, 6)) * np.array([1.0, 1e200, 1e-200, 2.0, 0.0, 3.0]) + 1.0
    quiet = match_sites(features, 6, random_state=3)
    assert sorted(quiet[0]) == sorted(features[0])
    noisy = match_sites(features, 6, 0.5, random_state=3)
    np.testing.assert_array_equal(noisy, match_sites(features, 6, 0.5, random_state=3))
    assert not np.array_equal(noisy, match_sites(features, 6, 0.5, random_state=4))
    size = np.abs(quiet).max(axis=0)
    spread = (quiet / size).std(axis=0)
    added = ((noisy - quiet) / size).std(axis=0)
    varies = spread > 1e-12
    assert (added[~varies] == 0).all()
    np.testing.assert_allclose((added / np.where(varies, spread, 1.0))[varies], 0.5, rtol=0.05)
    each = match_sites(X, 6, np.array([0.0, 0, 0, 0, 0, 9.0]), random_state=0)
    moved = [site for site in each.T if not any(np.array_equal(site, unit) for unit in X.T)]
    assert len(moved) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n_sites": 7}, InputError, "n_sites=7 of 6 units; expected 1 to 6"),
        ({"n_sites": 0}, InputError, "n_sites=0 of 6 units"),
        ({"noise_sd": -0.1}, InputError, "noise_sd has values that are negative or not finite"),
        ({"noise_sd": np.ones(5)}, ShapeError, r"noise_sd has shape \(5,\); expected one number or \(6,\)"),
    ],
)
def test_errors_of_matched_sites(arguments: dict[str, object], error: type[Exception], match: str) -> None:
    """Too many sites and impossible noise are refused."""
    given: dict[str, object] = {"n_sites": 3, **arguments}
    with pytest.raises(error, match=match):
        match_sites(X, **given)  # type: ignore[arg-type]
