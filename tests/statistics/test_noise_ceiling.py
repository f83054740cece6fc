"""The noise ceiling finds the truth that was planted, none where there is none, and its own uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import f_oneway

from brainalign.errors import InputError, ShapeError
from brainalign.statistics import noise_ceiling, split_half, variance_components

RNG = np.random.default_rng(0)
EQUAL = np.repeat(np.arange(60), 4)
UNEQUAL = np.repeat(np.arange(60), np.arange(60) % 4 + 1)


def trials(keys: np.ndarray, n_units: int, signal: float, noise: float, seed: int = 0) -> np.ndarray:
    """Normal trials of a random-effects design, signal and noise as standard deviations."""
    rng = np.random.default_rng(seed)
    means = signal * rng.standard_normal((keys.max() + 1, n_units))
    return means[keys] + noise * rng.standard_normal((len(keys), n_units)) + 5


def truth(keys: np.ndarray, signal: float, noise: float) -> float:
    m = np.mean(1 / np.bincount(keys))
    return float(np.sqrt(signal**2 / (signal**2 + noise**2 * m)))


def anova_loop(values: np.ndarray, keys: np.ndarray) -> tuple[float, float]:
    """One-way random-effects ANOVA of one unit, sum by sum, with unequal numbers of trials."""
    cells = [values[(keys == k) & ~np.isnan(values)] for k in np.unique(keys)]
    cells = [c for c in cells if len(c)]
    n, k = sum(map(len, cells)), len(cells)
    grand = sum(c.sum() for c in cells) / n
    within = sum(((c - c.mean()) ** 2).sum() for c in cells) / (n - k)
    mean_square = sum(len(c) * (c.mean() - grand) ** 2 for c in cells) / (k - 1)
    n0 = (n - sum(len(c) ** 2 for c in cells) / n) / (k - 1)
    return (mean_square - within) / n0, within


@pytest.mark.parametrize("keys", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_components_against_a_loop(keys: np.ndarray, missing: float) -> None:
    """Between and within equal the hand-written ANOVA, unequal repeats and missing trials included."""
    values = trials(keys, 6, 1.0, 2.0)
    values[RNG.random(values.shape) < missing] = np.nan
    between, within, _ = variance_components(values, keys)
    expected = np.array([anova_loop(column, keys) for column in values.T])
    np.testing.assert_allclose(between, expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(within, expected[:, 1], rtol=1e-9)


def test_components_against_scipy() -> None:
    """With equal repeats F of scipy's one-way ANOVA is 1 + n between / within, on a large offset too."""
    values = trials(EQUAL, 3, 1.0, 1.0) + 1e6
    between, within, _ = variance_components(values, EQUAL)
    f = [f_oneway(*(column[k == EQUAL] for k in range(60))).statistic for column in values.T]
    np.testing.assert_allclose(1 + 4 * between / within, f, rtol=1e-6)


@pytest.mark.parametrize("keys", [EQUAL, UNEQUAL, UNEQUAL[::-1]], ids=["equal", "unequal", "reversed"])
def test_component_invariances(keys: np.ndarray) -> None:
    """An offset changes nothing, a factor c changes both by c^2, order of rows and names are free."""
    values = trials(keys, 3, 1.0, 1.0)
    between, within, ratio = variance_components(values, keys)
    order = RNG.permutation(len(keys))
    again = variance_components(3 * values[order] + 7, [f"image {k}" for k in keys[order]])
    np.testing.assert_allclose(again[0], 9 * between)
    np.testing.assert_allclose(again[1], 9 * within)
    np.testing.assert_allclose(again[2], ratio)
    mixed = variance_components(values[order], keys)[0]
    assert (mixed < 0.5 * between).all()


@pytest.mark.parametrize(("signal", "noise"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.3)])
@pytest.mark.parametrize("spread", [0, 8], ids=["equal", "unequal"])
def test_planted_ceiling(signal: float, noise: float, spread: int) -> None:
    """The mean over units is within 0.03 of sqrt(s2 / (s2 + e2 m)), and so is the split-half figure."""
    n_each = 6 + (np.arange(200) % (spread + 1) - spread // 2) if spread else np.full(200, 6)
    keys = np.repeat(np.arange(200), n_each)
    values = trials(keys, 60, signal, noise)
    found = noise_ceiling(values, keys, n_splits=20)
    expected = truth(keys, signal, noise)
    assert found.values.mean() == pytest.approx(expected, abs=0.03)
    assert found.info["split_half"].mean() == pytest.approx(expected, abs=0.03)
    assert abs(found.values - found.info["split_half"]).mean() < 0.05
    single = noise_ceiling(values, keys, averaged=False, n_splits=1)
    assert single.values.mean() == pytest.approx(signal / np.hypot(signal, noise), abs=0.03)
    squared = noise_ceiling(values, keys, metric="r2", n_splits=20)
    np.testing.assert_allclose(squared.values, found.values**2)
    np.testing.assert_allclose(squared.low, found.low**2)
    np.testing.assert_allclose(squared.info["split_half"], found.info["split_half"] ** 2)


def test_ceiling_is_what_the_true_model_scores() -> None:
    """The correlation of the noiseless signal with the averaged responses is the ceiling."""
    rng = np.random.default_rng(5)
    signal = rng.standard_normal((400, 40))
    values = signal[np.repeat(np.arange(400), 3)] + rng.standard_normal((1200, 40))
    best = [np.corrcoef(s, v.reshape(400, 3).mean(1))[0, 1] for s, v in zip(signal.T, values.T, strict=True)]
    found = noise_ceiling(values, np.repeat(np.arange(400), 3), n_splits=1)
    assert found.values.mean() == pytest.approx(np.mean(best), abs=0.01)


@pytest.mark.parametrize("keys", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_interval_covers_the_truth(keys: np.ndarray) -> None:
    """The 95 % interval holds the planted ceiling in about 95 % of 1500 units."""
    found = noise_ceiling(trials(keys, 1500, 1.0, 1.5, seed=2), keys, n_splits=1)
    expected = truth(keys, 1.0, 1.5)
    covered = (found.low <= expected) & (expected <= found.high)
    assert 0.93 < covered.mean() < 0.97
    known = np.isfinite(found.values)
    assert (found.low <= found.values)[known].all()
    assert (found.values <= found.high)[known].all()


def test_pure_noise_has_no_ceiling() -> None:
    """Without signal ceilings are NaN in half of the units, and 0 is in about 97.5 % of the intervals."""
    found = noise_ceiling(trials(EQUAL, 1000, 0.0, 1.0), EQUAL, n_splits=2)
    gone = np.isnan(found.values)
    assert 0.4 < gone.mean() < 0.65
    assert found.info["reasons"] == {"no variance between stimuli": int(gone.sum())}
    assert 0.96 < (found.low == 0).mean() < 0.99
    assert (found.low[gone] == 0).all()


def test_no_repeats_no_ceiling() -> None:
    """One trial a stimulus, one stimulus, or padding with NaN: there is none, and none is made up."""
    values = RNG.standard_normal((10, 2))
    assert noise_ceiling(values, np.arange(10)) is None
    assert noise_ceiling(values, np.zeros(10)) is None
    assert noise_ceiling(values[:0], []) is None
    padded = np.concatenate([values, np.full((10, 2), np.nan)])
    assert noise_ceiling(padded, np.tile(np.arange(10), 2)) is None
    assert np.isnan(split_half(values, np.arange(10))).all()
    between, _, _ = variance_components(values, np.arange(10))
    assert np.isnan(between).all()


def test_padded_repeats_equal_absent_ones() -> None:
    """Rows of NaN for repeats that were not shown change neither ceiling, interval nor counts."""
    values = trials(UNEQUAL, 5, 1.0, 1.0)
    pad = np.repeat(np.arange(60), 5)
    padded = np.concatenate([values, np.full((len(pad), 5), np.nan)])
    a, b = noise_ceiling(values, UNEQUAL), noise_ceiling(padded, np.concatenate([UNEQUAL, pad]))
    np.testing.assert_allclose(b.values, a.values)
    np.testing.assert_allclose(b.low, a.low)
    for key in ("n_stimuli", "repeats_min", "repeats_max", "mean_inverse_repeats"):
        assert b.info[key] == a.info[key]
    np.testing.assert_allclose(b.info["split_half"], a.info["split_half"], atol=0.05)


def test_each_unit_counts_its_own_trials() -> None:
    """A unit that misses trials has the ceiling of the trials that it has; its neighbour is untouched."""
    values = trials(EQUAL, 2, 1.0, 1.0)
    second = np.arange(len(EQUAL)) % 4 > 1
    values[second, 1] = np.nan
    found = noise_ceiling(values, EQUAL)
    alone = [noise_ceiling(values[:, :1], EQUAL), noise_ceiling(values[~second, 1:], EQUAL[~second])]
    np.testing.assert_allclose(found.values, [c.values[0] for c in alone])
    np.testing.assert_allclose(found.high, [c.high[0] for c in alone])


def test_units_without_a_ceiling() -> None:
    """Constant units (0.1 in float32 too), absent units and repeated averages are NaN with a reason."""
    values = trials(UNEQUAL, 5, 1.0, 1.0).astype(np.float32)
    values[:, 0], values[:, 1], values[:, 2] = 0.1, np.nan, 3.0
    values[:, 3] = 0.1 + np.float32(0.3) * UNEQUAL
    found = noise_ceiling(values, UNEQUAL, n_splits=5)
    assert np.isnan(found.values).tolist() == [True] * 4 + [False]
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [True] * 4 + [False]
    assert found.info["reasons"] == {"no variance within stimuli": 4}
    assert np.isnan(found.info["split_half"]).tolist() == [True, True, True, False, False]
    rounded = np.where(RNG.random((len(UNEQUAL), 20)) < 0.5, 0.1, np.nextafter(0.1, 1))
    wide = noise_ceiling(np.hstack([rounded, np.full_like(rounded, 0.1)]), UNEQUAL)
    assert np.isnan(wide.values).all()
    assert np.isnan(wide.info["split_half"]).all()


def test_duplicated_unit_and_seed() -> None:
    """A unit given twice has the same ceiling twice; split-half repeats with its seed."""
    values = trials(EQUAL, 2, 1.0, 1.0)
    found = noise_ceiling(np.hstack([values, values[:, :1]]), EQUAL)
    assert found.values[2] == found.values[0]
    assert found.info["split_half"][2] == found.info["split_half"][0]
    a, b, c = (split_half(values, EQUAL, n_splits=3, random_state=s) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_split_half_against_a_loop() -> None:
    """With two trials a stimulus one draw equals the correlation of the two halves, stepped up."""
    values = trials(np.repeat(np.arange(50), 2), 1, 1.0, 0.5)
    keys = np.repeat(np.arange(50), 2)
    found = split_half(values, keys, n_splits=400)[0]
    rng, steps = np.random.default_rng(1), []
    for _ in range(400):
        pairs = rng.permuted(values.reshape(50, 2), axis=1)
        r = np.corrcoef(pairs.T)[0, 1]
        steps.append(2 * r / (1 + r))
    assert found == pytest.approx(np.sqrt(np.mean(steps)), abs=0.002)


def test_halves_are_drawn_within_stimuli() -> None:
    """Stimuli with one trial do not enter, three trials are used as two and one."""
    keys = np.repeat(np.arange(100), np.arange(100) % 3 + 1)
    values = trials(keys, 40, 1.0, 1.0)
    many = np.bincount(keys)[keys] > 1
    np.testing.assert_allclose(split_half(values, keys), split_half(values[many], keys[many]))
    # halves of one trial each, or of one and two: the figure lies between those of two and of three trials
    assert np.sqrt(1 / 1.5) - 0.02 < split_half(values, keys).mean() < np.sqrt(1 / (1 + 1 / 3)) + 0.02


def test_refusals() -> None:
    """Keys that do not fit, rows without a key, unknown metrics and other shapes are errors."""
    values = np.zeros((4, 1))
    for function in (variance_components, noise_ceiling, split_half):
        with pytest.raises(ShapeError, match="keys have 3 rows, expected 4"):
            function(values, [0, 0, 1])
        with pytest.raises(InputError, match="keys: row 3 has no label"):
            function(values, ["a", "a", "b", None])
        with pytest.raises(ShapeError, match=r"values has shape \(4,\); expected 2 axes"):
            function(values[:, 0], [0, 0, 1, 1])
    with pytest.raises(InputError, match="metric='r' is not one of 'pearson', 'r2'"):
        noise_ceiling(values, [0, 0, 1, 1], metric="r")


@pytest.mark.real
def test_macaque_v4(real_data: Path) -> None:
    """Session 210325 of macaque V4: mean ceiling 0.860 by variance components, 0.86 by split halves."""
    raw = np.load(real_data / "macaque_v4" / "responses_raw_210325.npy")
    assert raw.shape == (50, 640, 10)
    values = raw.reshape(50, -1).T
    keys = np.repeat(np.arange(640), 10)
    found = noise_ceiling(values, keys)
    assert found.values.mean() == pytest.approx(0.860, abs=0.005)
    assert found.info["split_half"].mean() == pytest.approx(0.86, abs=0.01)
    assert (found.info["repeats_min"], found.info["repeats_max"]) == (6, 10)
    shown = np.isfinite(values).any(axis=1)
    absent = noise_ceiling(values[shown], keys[shown])
    np.testing.assert_allclose(absent.values, found.values)
