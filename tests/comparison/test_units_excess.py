"""Excess correlation: planted and rotated copies, streaming against one pass, errors."""

from __future__ import annotations

import numpy as np
import pytest

from brainalign.comparison.unit_excess import (
    StreamingCorrelations,
    excess_correlation,
    streamed_excess,
)
from brainalign.errors import InputError, ShapeError


def rotation(seed: int, p: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]


def test_planted_copies_and_rotated_copies() -> None:
    """Permuted copies + 0.5 noise have a mean excess of 0.58, rotated copies of about 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 40))
    orders = [rng.permutation(40) for _ in range(3)]
    copies = [x[:, order] + 0.5 * rng.normal(size=x.shape) for order in orders]
    found = excess_correlation(x, copies, n_rotations=5)
    assert found.excess.mean() == pytest.approx(0.58, abs=0.02)
    for m, order in enumerate(orders):
        np.testing.assert_array_equal(order[found.best_unit[:, m]], np.arange(40))
    rotated = excess_correlation(x, [x @ rotation(s, 40) for s in range(3)], n_rotations=5)
    assert abs(rotated.excess.mean()) < 0.02
    assert not rotated.universal().any()
    unrelated = excess_correlation(x, [rng.normal(size=(2000, 30)) for _ in range(3)])
    assert abs(unrelated.excess.mean()) < 0.02


def test_universal_units_among_others() -> None:
    """Units that every model holds are universal; units that only some hold, or none, are not."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 30))
    models = []
    for m in range(4):
        model = rng.normal(size=(1000, 60))
        model[:, :5] = x[:, :5] + 0.3 * rng.normal(size=(1000, 5))
        model[:, 5 + m] = x[:, 5 + m]
        models.append(model)
    found = excess_correlation(x, models)
    assert np.flatnonzero(found.universal()).tolist() == [0, 1, 2, 3, 4]
    assert len(found.to_frame()) == 30 * 4
    assert found.to_frame().query("unit == 3")["best_unit"].tolist() == [3] * 4


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_streaming_equals_one_pass(offset: float) -> None:
    """Blocks of any length give the correlations of one pass to 1e-12, also far from zero."""
    rng = np.random.default_rng(2)
    # values on a grid, so that the offset itself rounds nothing
    x, y = (np.round(rng.normal(size=(500, k)) * 2**16) / 2**16 for k in (6, 9))
    expected = np.corrcoef(x.T, y.T)[:6, 6:]
    stream = StreamingCorrelations()
    for part in np.split(np.arange(500), [1, 2, 40, 41, 300]):
        stream.partial_fit(x[part] + offset, y[part] - offset)
    assert stream.n_stimuli == 500
    np.testing.assert_allclose(stream.correlations(), expected, rtol=0, atol=1e-12)


def test_blocks_of_growing_scale() -> None:
    """Units whose values grow from 0 over 1e-200 to 1e200 keep exact correlations."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 90, 4))
    y += x
    for values in (x, y):
        values[:30] = 0.0
        values[30:60] *= 1e-3
    expected = np.corrcoef(x.T, y.T)[:4, 4:]
    for scale in (1e-200, 1e200, 3e307):
        stream = StreamingCorrelations()
        for start in range(0, 90, 15):
            stream.partial_fit(x[start : start + 15] * scale, y[start : start + 15] / scale)
        np.testing.assert_allclose(stream.correlations(), expected, rtol=0, atol=1e-12)
    mixed = x.copy()
    mixed[60:] *= 1e150
    stream = StreamingCorrelations().partial_fit(mixed[:60], y[:60]).partial_fit(mixed[60:], y[60:])
    np.testing.assert_allclose(
        stream.correlations(), np.corrcoef(mixed.T / 1e150, y.T)[:4, 4:], rtol=0, atol=1e-12
    )


def test_rotation_from_products_equals_a_rotation_of_stimuli() -> None:
    """The rotated correlations equal those of z-scored stimuli that were rotated row by row."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 7)) * np.linspace(1, 50, 7) + 3.0
    y[:, :5] += x
    found = excess_correlation(x, [y], block=33, random_state=11)
    basis, triangle = np.linalg.qr(np.random.default_rng(11).normal(size=(7, 7)))
    rotated = ((y - y.mean(axis=0)) / y.std(axis=0)) @ (basis * np.sign(np.diag(triangle)))
    expected = np.corrcoef(x.T, rotated.T)[:5, 5:].max(axis=1)
    np.testing.assert_allclose(found.rotated_r[:, 0], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.best_r[:, 0], np.corrcoef(x.T, y.T)[:5, 5:].max(axis=1), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(found.excess, found.best_r[:, 0] - expected, rtol=0, atol=1e-12)


def test_streams_equal_arrays() -> None:
    """Streams cut elsewhere give the same result as arrays, for the same seed; another seed rotates anew."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(100, 5))
    others = [rng.normal(size=(100, q)) for q in (4, 110)]
    streams = [StreamingCorrelations() for _ in others]
    for part in np.split(np.arange(100), [7, 60]):
        streams = [s.partial_fit(x[part], y[part]) for s, y in zip(streams, others, strict=True)]
    found, again = streamed_excess(streams, random_state=3), excess_correlation(x, others, random_state=3)
    np.testing.assert_allclose(found.excess, again.excess, rtol=0, atol=1e-12)
    assert not np.allclose(found.rotated_r, streamed_excess(streams, random_state=4).rotated_r)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_factors_and_shifts(factor: float) -> None:
    """Factors and shifts of single units change nothing; the rotated basis is that of z-scored units."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 80, 6))
    y += x
    plain = excess_correlation(x, [y])
    moved = excess_correlation(x * factor, [(y + 2.0) * np.linspace(1, 9, 6) / factor])
    np.testing.assert_allclose(moved.excess, plain.excess, atol=1e-9)


def test_constant_units() -> None:
    """Constant units are NaN with a count, are nobody's partner and leave the others unchanged."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 50, 3))
    with pytest.warns(UserWarning, match="1 of 4 units of x and 1 of 4 units of y do not vary") as caught:
        found = excess_correlation(
            np.insert(x, 1, 0.1, axis=1), [np.insert(y, 0, 1e6 + 0.1, axis=1)], block=7
        )
    assert caught[0].filename == __file__
    np.testing.assert_allclose(
        np.delete(found.excess, 1), excess_correlation(x, [y]).excess, rtol=0, atol=1e-12
    )
    assert np.isnan(found.excess[1])
    assert found.best_unit[1, 0] == -1
    assert 0 not in found.best_unit
    assert not found.universal(-2.0)[1]
    with pytest.warns(UserWarning, match="3 of 3 units of y do not vary"):
        assert np.isnan(excess_correlation(x, [np.ones((50, 3))]).excess).all()
    stream = StreamingCorrelations().partial_fit(x, y * [0.0, 1.0, 1.0])
    with pytest.warns(UserWarning, match="1 of 3 units of y do not vary") as caught:
        assert np.isnan(stream.correlations()).sum() == 3
    assert caught[0].filename == __file__


def test_a_model_of_one_unit_has_no_other_basis() -> None:
    """The excess over a single unit is 0 for every seed, not twice its correlation where a sign flips."""
    x = np.random.default_rng(11).normal(size=(40, 3))
    for seed in range(6):
        found = excess_correlation(x, [x[:, :1]], random_state=seed)
        np.testing.assert_allclose(found.excess, 0.0, atol=1e-12)


def test_errors() -> None:
    """Every refusal names what was found and what to do."""
    x = np.random.default_rng(8).normal(size=(10, 3))
    with pytest.raises(InputError, match="others holds no model"):
        excess_correlation(x, [])
    with pytest.raises(InputError, match="streams holds no stream"):
        streamed_excess([])
    with pytest.raises(InputError, match="n_rotations=0; expected a whole number of at least 1"):
        excess_correlation(x, [x], n_rotations=0)
    with pytest.raises(InputError, match="block=1.5; expected a whole number of at least 1"):
        excess_correlation(x, [x], block=1.5)  # type: ignore[arg-type]
    stream = StreamingCorrelations()
    with pytest.raises(ShapeError, match="a stream of 0 stimuli; correlations need at least 3"):
        stream.correlations()
    with pytest.raises(ShapeError, match="x has 10 rows and y has 9; both sides of a block"):
        stream.partial_fit(x, x[:9])
    stream.partial_fit(x, x)
    with pytest.raises(ShapeError, match="the block has 3 and 2 units, the blocks before 3 and 3"):
        stream.partial_fit(x, x[:, :2])
    with pytest.raises(InputError, match="y has 30 values that are not finite"):
        stream.partial_fit(x, x * np.nan)
    assert stream.n_stimuli == 10
    with pytest.raises(ShapeError, match=r"streams of \[2, 3\] units of x"):
        streamed_excess([stream, StreamingCorrelations().partial_fit(x[:, :2], x)])
