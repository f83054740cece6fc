"""Linear CKA read in blocks against the one of whole arrays, its memory, its errors."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from brainalign.comparison import streaming_cka as module
from brainalign.comparison.cka import linear_cka
from brainalign.comparison.streaming_cka import large_cka, large_cka_memory
from brainalign.errors import InputError, MemoryBudgetError, ShapeError

RNG = np.random.default_rng(0)


def pair(n: int, p: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.normal(size=(n, p))
    y = RNG.normal(size=(n, q))
    y[:, 0] += 2.0 * x[:, 0]
    return x + 3.0, y - 1.0


@pytest.mark.parametrize(
    "shape", [(60, 4, 7), (60, 59, 1), (20, 50, 3), (20, 3, 50), (25, 70, 60), (4, 2, 9)]
)
@pytest.mark.parametrize("block_rows", [None, 1, 7, 1000])
@pytest.mark.parametrize("debiased", [True, False])
def test_equals_the_value_of_whole_arrays(
    shape: tuple[int, int, int], block_rows: int | None, debiased: bool
) -> None:
    """One pass and tiles give the full-data value for blocks of any length."""
    x, y = pair(*shape)
    value = large_cka(x, y, debiased=debiased, block_rows=block_rows)
    assert value == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-12)


def test_an_average_over_minibatches_is_another_number() -> None:
    """The streamed value is exact where the mean of the values of the blocks is not."""
    x, y = pair(80, 5, 5)
    blocks = [linear_cka(x[i : i + 8], y[i : i + 8]) for i in range(0, 80, 8)]
    exact = linear_cka(x, y)
    assert large_cka(x, y, block_rows=8) == pytest.approx(exact, abs=1e-12)
    assert abs(np.mean(blocks) - exact) > 0.01


@pytest.mark.parametrize("wide", [False, True])
def test_files_tensors_and_iterables(tmp_path: Path, wide: bool) -> None:
    """Memory maps, HDF5 datasets, tensors and ragged blocks give the value of the arrays."""
    x, y = pair(*((12, 30, 5) if wide else (50, 6, 4)))
    x32 = x.astype(np.float32)
    expected = linear_cka(x32, y)
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        stored = file.create_dataset("x", data=x32)
        assert large_cka(stored, mapped, block_rows=5) == pytest.approx(expected, abs=1e-12)
    assert large_cka(torch.from_numpy(x32), torch.from_numpy(y)) == pytest.approx(expected, abs=1e-12)

    def blocks(side: np.ndarray, length: int) -> Iterator[np.ndarray]:
        yield from (side[i : i + length] for i in range(0, len(side), length))

    assert large_cka(blocks(x32, 5), blocks(y, 9)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wide", [False, True])
def test_large_offsets_and_extreme_scales_cost_no_digits(wide: bool) -> None:
    """Float32 responses far off centre, and units of 1e-200 and 1e200, keep the value."""
    x, y = pair(*((15, 40, 5) if wide else (60, 4, 5)))
    far = (x + 3000.0).astype(np.float32)
    for debiased in (True, False):
        expected = linear_cka(far.astype(np.float64) - 3000.0, y, debiased=debiased)
        assert large_cka(far, y, block_rows=7, debiased=debiased) == pytest.approx(expected, abs=1e-10)
        value = large_cka(x * 1e-200, y * 1e200, block_rows=7, debiased=debiased)
        assert value == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-12)


def test_a_drift_away_from_the_first_block_is_centred_out() -> None:
    """Rows whose mean moves far from that of the first block have the value of the whole."""
    x, y = pair(60, 4, 5)
    x[10:] += 100.0
    assert large_cka(x, y, block_rows=10) == pytest.approx(linear_cka(x, y), abs=1e-10)


@pytest.mark.parametrize("p", [20, 2000])
def test_null(p: int) -> None:
    """Unrelated sides: debiased about 0, biased far above it with more units than stimuli."""
    rng = np.random.default_rng(p)
    values = [large_cka(*rng.normal(size=(2, 100, p))) for _ in range(5)]
    assert abs(np.mean(values)) < 0.02
    if p == 2000:
        assert large_cka(*rng.normal(size=(2, 100, p)), debiased=False) > 0.9


class Stored:
    """Rows that exist only while they are read."""

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        self.shape, self.seed = shape, seed

    def __getitem__(self, rows: slice) -> np.ndarray:
        size = len(range(*rows.indices(self.shape[0])))
        rng = np.random.default_rng([self.seed, rows.start])
        return rng.standard_normal((size, self.shape[1]), dtype=np.float32)


@pytest.mark.parametrize(("n", "p"), [(20_000, 20), (200, 5000)])
def test_memory_is_that_of_the_formula(n: int, p: int) -> None:
    """The peak stays below the stated bytes, which do not grow with n; 73,000 x 1000 is below 1 GB."""
    x, y = Stored((n, p), 1), Stored((n, p), 2)
    stated = large_cka_memory(n, p, p, block_rows=50)
    whole = 8 * n * p
    tracemalloc.start()
    value = large_cka(x, y, block_rows=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(value) < 0.05
    assert peak < 1.3 * stated + 8 * 12 * p + 2**20
    assert n < p or peak < whole / 4
    assert large_cka_memory(73_000, 1000, 1000) < 10**9
    assert large_cka_memory(10**6, 1000, 1000) == large_cka_memory(73_000, 1000, 1000)


@pytest.mark.parametrize("shape", [(40, 3), (10, 30)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8, None])
def test_no_variance_is_nan_with_the_reason(shape: tuple[int, int], value: float | None) -> None:
    """A constant side has no CKA, in one pass and by tiles, whatever its value and its blocks."""
    x = RNG.normal(size=shape)
    # None: another constant per unit, whose means round differently
    row = np.linspace(0.1, 1.7, shape[1]) if value is None else np.full(shape[1], value)
    constant = np.tile(row, (shape[0], 1))
    for block_rows in (None, 3, 10):
        with pytest.warns(UserWarning, match="CKA is NaN: y does not vary over stimuli"):
            assert np.isnan(large_cka(x, constant, block_rows=block_rows))
        with pytest.warns(UserWarning, match="CKA is NaN: x does not vary over stimuli"):
            assert np.isnan(large_cka(constant, x, block_rows=block_rows, debiased=False))


def test_equally_far_stimuli_are_nan_in_the_debiased_form() -> None:
    """One unit per stimulus: NaN with the reason when debiased, 1 when biased."""
    x = np.hstack([np.eye(10), np.zeros((10, 1))])
    for side in (x, np.eye(10)):
        with pytest.warns(UserWarning, match="equally far apart"):
            assert np.isnan(large_cka(side, side, block_rows=4))
        assert large_cka(side, side, debiased=False, block_rows=4) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), ShapeError, "x has 5 rows and y has 6"),
        (np.ones(5), np.ones((5, 2)), ShapeError, r"x has shape \(5,\); expected"),
        (np.eye(3), np.eye(3), ShapeError, "CKA over 3 stimuli; it needs at least 4"),
        (np.eye(3, 8), np.eye(3, 8), ShapeError, "CKA over 3 stimuli; it needs at least 4"),
        ([], [], ShapeError, "CKA over 0 stimuli; it needs at least 4"),
        (np.ones((5, 2), dtype=complex), np.ones((5, 2)), InputError, "x has dtype complex128"),
    ],
)
def test_bad_input_is_refused(x: Any, y: Any, error: type[Exception], text: str) -> None:
    """Shapes, too few stimuli and dtypes are refused by name."""
    with pytest.raises(error, match=text):
        large_cka(x, y)


@pytest.mark.parametrize("shape", [(40, 3), (10, 30)])
def test_values_that_are_not_finite_are_named(shape: tuple[int, int]) -> None:
    """The row of the first NaN is named, in one pass and by tiles; no block is no block."""
    x = RNG.normal(size=shape)
    bad = x.copy()
    bad[8, 1] = np.nan
    with pytest.raises(InputError, match="y has values that are not finite, first in row 8"):
        large_cka(x, bad, block_rows=3)
    with pytest.raises(InputError, match="block_rows=0; expected a whole number of at least 1"):
        large_cka(x, x, block_rows=0)


@pytest.mark.parametrize("shape", [(40, 3), (10, 30)])
def test_memory_that_is_not_there_is_refused(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the free memory is refused before the work, with what to do."""
    monkeypatch.setattr(module, "available_memory", lambda: 100)
    x = RNG.normal(size=shape)
    with (
        warnings.catch_warnings(),
        pytest.raises(MemoryBudgetError, match=rf"large_cka over {shape[1]} and .* smaller blocks"),
    ):
        large_cka(x, x)
