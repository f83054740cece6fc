"""Bootstrap through counts against resampling rows one by one."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.errors import ShapeError
from brainalign.metrics import pearson
from brainalign.statistics import bootstrap_pearson

RNG = np.random.default_rng(0)


def folds(n_targets: int = 4, sizes: tuple[int, ...] = (30, 25)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    observed = [RNG.standard_normal((n, n_targets)) + 3 for n in sizes]
    return observed, [0.7 * y + RNG.standard_normal(y.shape) for y in observed]


def explicit(observed: list[np.ndarray], predicted: list[np.ndarray], n: int, seed: int) -> np.ndarray:
    """Repeat each row as often as it was drawn, score every fold, average the folds that have a score."""
    out = np.full((n, observed[0].shape[1]), np.nan)
    counts = [
        np.random.default_rng([seed, fold]).multinomial(len(y), np.full(len(y), 1 / len(y)), size=n)
        for fold, y in enumerate(observed)
    ]
    for draw in range(n):
        scores = []
        for y, p, count in zip(observed, predicted, counts, strict=True):
            rows = np.repeat(np.arange(len(y)), count[draw])
            scores.append(pearson(y[rows].astype(float), p[rows].astype(float)))
        known = np.isfinite(scores)
        total = np.where(known, scores, 0).sum(0)
        out[draw] = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
    return out


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_against_explicit_resampling(offset: float) -> None:
    """The same counts give the same correlations as repeating the rows, on any offset."""
    observed, predicted = folds()
    observed = [y + offset for y in observed]
    found = bootstrap_pearson(observed, predicted, n_bootstrap=40, random_state=5)
    np.testing.assert_allclose(found, explicit(observed, predicted, 40, 5), atol=1e-7 if offset else 1e-10)


def test_small_folds_with_constant_draws() -> None:
    """A resample that repeats one row has no score; it is left out as the explicit loop leaves it out."""
    observed, predicted = folds(3, (2, 3))
    found = bootstrap_pearson(observed, predicted, n_bootstrap=200, random_state=1)
    expected = explicit(observed, predicted, 200, 1)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.nanmax(abs(found)) <= 1


def test_degenerate_columns() -> None:
    """Constant targets and NaN predictions have no score, constant predictions score 0, as in `pearson`."""
    y, p = RNG.standard_normal((2, 20, 5))
    y[:, 0] = np.float32(0.1)
    y, p = y.astype(np.float32), p.astype(np.float32)
    p[:, 1], p[:, 2], y[4, 3] = 0.1, np.nan, np.nan
    p[::2, 1] = np.nextafter(p[0, 1], np.float32(1))  # constant but for rounding
    found = bootstrap_pearson([y], [p], n_bootstrap=20)
    assert np.isnan(found).all(axis=0).tolist() == [True, False, True, True, False]
    assert np.isnan(pearson(y, p)).tolist() == [True, False, True, True, False]
    assert (found[:, 1] == 0).all()
    again = bootstrap_pearson([y, y], [p, np.nan_to_num(p)], n_bootstrap=20)
    assert np.isfinite(again[:, 2]).all()


def test_interval_covers_the_truth() -> None:
    """The 95 % interval of r covers the planted correlation in 90 to 98 % of 400 targets."""
    rng = np.random.default_rng(3)
    y = rng.standard_normal((100, 400))
    p = 0.5 * y + np.sqrt(0.75) * rng.standard_normal(y.shape)
    low, high = np.percentile(bootstrap_pearson([y], [p], n_bootstrap=300), [2.5, 97.5], axis=0)
    assert 0.90 < ((low < 0.5) & (high > 0.5)).mean() < 0.98


def test_null_interval_includes_zero() -> None:
    """Unrelated predictions have intervals with zero inside in about 95 % of targets."""
    rng = np.random.default_rng(4)
    y, p = rng.standard_normal((2, 60, 400))
    low, high = np.percentile(bootstrap_pearson([y[:30], y[30:]], [p[:30], p[30:]]), [2.5, 97.5], axis=0)
    assert 0.90 < ((low < 0) & (high > 0)).mean() < 0.99


def test_invariances() -> None:
    """Affine predictions change nothing, a sign does; targets do not see each other; seeds decide."""
    observed, predicted = folds()
    found = bootstrap_pearson(observed, predicted, n_bootstrap=30)
    moved = [5 * p - 2 for p in predicted]
    np.testing.assert_allclose(bootstrap_pearson(observed, moved, n_bootstrap=30), found, atol=1e-10)
    turned = [-p for p in predicted]
    np.testing.assert_allclose(bootstrap_pearson(observed, turned, n_bootstrap=30), -found, atol=1e-10)
    one = bootstrap_pearson([y[:, 2:3] for y in observed], [p[:, 2:3] for p in predicted], n_bootstrap=30)
    np.testing.assert_allclose(one, found[:, 2:3], atol=1e-10)
    assert not np.allclose(bootstrap_pearson(observed, predicted, n_bootstrap=30, random_state=9), found)


def test_refusals() -> None:
    """Folds that do not fit each other, or none, are errors."""
    y = np.zeros((5, 2))
    with pytest.raises(
        ShapeError, match="1 folds observed and 2 predicted; expected equally many, at least 1"
    ):
        bootstrap_pearson([y], [y, y])
    with pytest.raises(ShapeError, match="0 folds observed and 0 predicted"):
        bootstrap_pearson([], [])
    for wrong in (y[:, :1], y[:4]):
        with pytest.raises(ShapeError, match=r"fold 0: observed has shape \(5, 2\), predicted"):
            bootstrap_pearson([y], [wrong])
    with pytest.raises(ShapeError, match=r"fold 1: observed has shape \(5, 1\)"):
        bootstrap_pearson([y, y[:, :1]], [y, y[:, :1]])
    with pytest.raises(ShapeError, match=r"fold 0: .*at least one row"):
        bootstrap_pearson([y[:0]], [y[:0]])


def test_blocks_widen_the_interval_of_samples_that_depend_on_each_other():
    """Neighbours drawn together: the spread of draws matches that over new recordings; a short fold
    still has five blocks."""
    rng = np.random.default_rng(0)

    def recording(n=300, rho=0.9):
        x = rng.standard_normal((n, 2))
        for i in range(1, n):
            x[i] = rho * x[i - 1] + np.sqrt(1 - rho**2) * x[i]
        return x[:, :1], x[:, 1:]

    truth = np.std([np.corrcoef(*(v[:, 0] for v in recording()))[0, 1] for _ in range(400)])
    spread = {block: [] for block in (1, 40)}
    for _ in range(20):
        y, p = recording()
        for block, found in spread.items():
            found.append(bootstrap_pearson([y], [p], n_bootstrap=200, block=block).std())
    assert np.mean(spread[1]) < 0.5 * truth
    assert 0.7 * truth < np.mean(spread[40]) < 1.2 * truth
    y, p = recording(n=20)
    assert bootstrap_pearson([y], [p], n_bootstrap=50, block=1000).std() > 0
