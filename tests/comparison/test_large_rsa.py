"""RSA of very many stimuli without RDMs, against RDMs at a small size."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from brainalign.comparison.cka import linear_cka
from brainalign.comparison.large_ranks import large_rank_rsa
from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.streaming_rsa import DISTANCES, MEASURES, large_rsa, large_rsa_memory
from brainalign.errors import InputError, MemoryBudgetError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 7)) @ RNG.normal(size=(7, 12)) + 5
Y = X[:, :5] + 2 * RNG.normal(size=(150, 5)) + 100


def exact(measure: str, distance: str, x: np.ndarray = X, y: np.ndarray = Y) -> float:
    return float(compare_rdms(rdm(x, distance=distance), rdm(y, distance=distance), measure=measure))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_the_comparison_of_rdms(measure: str, distance: str) -> None:
    """One pass over blocks equals the comparison of the RDMs, whatever the blocks."""
    expected = exact(measure, distance)
    for rows in (1, 17, 150, None):
        value = large_rsa(X, Y, measure=measure, distance=distance, block_rows=rows)
        assert value == pytest.approx(expected, abs=1e-10)


def test_whitened_cosine_is_biased_linear_cka() -> None:
    """The whitened cosine without sigma_k is the biased linear CKA, here in one pass."""
    assert large_rsa(X, Y, measure="whitened_cosine") == pytest.approx(
        linear_cka(X, Y, debiased=False), abs=1e-12
    )


def test_any_source_of_rows(tmp_path: Path) -> None:
    """Memory maps, HDF5 datasets and iterables of unequal blocks give the value of the arrays."""
    expected = large_rsa(X, Y)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        stored = file.create_dataset("y", data=Y)
        assert large_rsa(mapped, stored, block_rows=40) == pytest.approx(expected, abs=1e-12)
        assert large_rank_rsa(mapped, stored, tile_rows=40).value == pytest.approx(
            exact("spearman", "sq_euclidean"), abs=1e-9
        )
    blocks = (X[a:b] for a, b in ((0, 3), (3, 3), (3, 90), (90, 150)))
    assert large_rsa(blocks, [Y[:60], Y[60:]]) == pytest.approx(expected, abs=1e-12)
    assert large_rsa(blocks_of(X), Y, block_rows=13) == pytest.approx(expected, abs=1e-12)


def blocks_of(x: np.ndarray) -> list[np.ndarray]:
    return [x[i : i + 31] for i in range(0, len(x), 31)]


def test_large_offsets_and_single_precision() -> None:
    """An offset of 1e4 costs no digits that matter, also where the mean drifts over the rows."""
    drift = np.linspace(0, 50, 150)[:, None]
    value = large_rsa(X + 1e4 + drift, Y - 1e4, block_rows=10)
    assert value == pytest.approx(exact("pearson", "sq_euclidean", X + drift, Y), abs=1e-8)
    single = large_rsa(X.astype(np.float32), Y.astype(np.float32))
    assert single == pytest.approx(large_rsa(X, Y), abs=1e-5)


def test_invariances() -> None:
    """Rotation, shift and one factor change nothing; a factor on one unit does."""
    value = large_rsa(X, Y)
    rotation, _ = np.linalg.qr(RNG.normal(size=(12, 12)))
    assert large_rsa(3.0 * X @ rotation + 1.0, Y) == pytest.approx(value, abs=1e-12)
    assert abs(large_rsa(X * np.array([9.0] + [1.0] * 11), Y) - value) > 1e-2
    order = RNG.permutation(150)
    assert large_rsa(X[order], Y[order]) == pytest.approx(value, abs=1e-12)
    assert abs(large_rsa(X[order], Y)) < 0.1


def test_constant_rows_are_left_out_of_both_sides() -> None:
    """With the correlation distance, constant rows are left out as their pairs would be."""
    x, y = X.copy(), Y.copy()
    x[3], y[[10, 3]] = 1.0, 2.0
    keep = np.delete(np.arange(150), [3, 10])
    with pytest.warns(UserWarning, match="2 of 150 stimuli have the same response in every unit of x or y"):
        value = large_rsa(x, y, distance="correlation", block_rows=4)
    assert value == pytest.approx(exact("pearson", "correlation", X[keep], Y[keep]), abs=1e-10)


def test_equal_distances_are_nan() -> None:
    """All stimuli equal, or all equally far apart: NaN with the reason."""
    with pytest.warns(UserWarning, match="pearson is NaN: all distances of x or of y are equal, or zero"):
        assert np.isnan(large_rsa(np.eye(20), RNG.normal(size=(20, 4))))
    with pytest.warns(UserWarning, match="cosine is NaN"):
        assert np.isnan(large_rsa(np.ones((20, 3)), RNG.normal(size=(20, 4)), measure="cosine"))


def test_memory_is_the_stated_formula() -> None:
    """The peak stays below the formula, does not grow with the stimuli, and under 1 GB for 73,000 x 1000."""
    peaks = []
    for n in (2000, 8000):
        x, y = RNG.normal(size=(n, 60)), RNG.normal(size=(n, 40))
        tracemalloc.start()
        large_rsa(x, y, block_rows=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 1.1 * large_rsa_memory(60, 40, block_rows=500)
    assert peaks[1] < 1.05 * peaks[0]
    assert large_rsa_memory(1000, 1000) < 2**29 < 10**9


def test_a_need_above_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """More units than memory: refused before the sums are made, with what to do."""
    # the package exports a function of the same name
    module = sys.modules["brainalign.comparison.streaming_rsa"]
    monkeypatch.setattr(module, "available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match="large_rsa over 12 and 5 units needs.*compare their RDMs"):
        large_rsa(X, Y)


@pytest.mark.parametrize("measure", ["spearman", "rho_a"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("n_bins", [4, 32, 512])
def test_binned_ranks_stay_within_their_bound(measure: str, distance: str, n_bins: int) -> None:
    """The value from binned ranks is within the stated bound of the exact one; more bins, less bound."""
    out = large_rank_rsa(X, Y, measure=measure, distance=distance, n_bins=n_bins, tile_rows=64)
    assert abs(out.value - exact(measure, distance)) <= out.error_bound + 1e-12
    assert 0 < out.error_bound <= 3.0 / n_bins
    assert out.n_pairs == 150 * 149 // 2


def test_bound_holds_for_ties_and_bad_edges() -> None:
    """Distances with many ties, and edges that one seed places badly, keep the bound."""
    grid = RNG.integers(0, 3, (60, 2)).astype(float)
    other = grid + RNG.integers(0, 2, (60, 2))
    with pytest.warns(UserWarning, match="more than 5 % ties"):
        expected = exact("spearman", "sq_euclidean", grid, other)
    for n_bins in (2, 3, 5, 2**16):
        out = large_rank_rsa(grid, other, n_bins=n_bins, tile_rows=16)
        assert abs(out.value - expected) <= out.error_bound + 1e-12
    assert out.value == pytest.approx(expected, abs=1e-12)  # every distinct distance has its own bin


def test_enough_bins_are_exact_and_tiles_do_not_matter() -> None:
    """With a bin for each pair the value is exact, for any size of tiles."""
    expected = exact("spearman", "sq_euclidean")
    for rows in (7, 64, 1024):
        out = large_rank_rsa(X, Y, tile_rows=rows)
        assert out.value == pytest.approx(expected, abs=1e-12)
        assert out.error_bound < 1e-3


def test_ranks_of_equal_stimuli_are_nan() -> None:
    """All distances in one bin: no value and no bound."""
    out = large_rank_rsa(np.ones((20, 3)), RNG.normal(size=(20, 3)))
    assert np.isnan(out.value)
    assert np.isnan(out.error_bound)


def test_wrong_inputs() -> None:
    """Each wrong input is refused with what was found."""
    bad = X.copy()
    bad[77, 3] = np.nan
    with pytest.raises(InputError, match="x has values that are not finite, first in row 77"):
        large_rsa(bad, Y, block_rows=10)
    with pytest.raises(InputError, match="y has dtype complex128"):
        large_rsa(X, Y.astype(complex))
    with pytest.raises(InputError, match="y is int; expected an array, a dataset or an iterable of blocks"):
        large_rsa(X, 3)
    with pytest.raises(InputError, match="block_rows=0; expected at least 1"):
        large_rsa(X, Y, block_rows=0)
    with pytest.raises(InputError, match="measure='spearman' is not one of"):
        large_rsa(X, Y, measure="spearman")
    with pytest.raises(ShapeError, match=r"x has shape \(150,\); expected \(n_stimuli, n_units\)"):
        large_rsa(X[:, 0], Y)
    with pytest.raises(ShapeError, match="x has 149 rows and y has 150"):
        large_rsa(X[1:], Y)
    with pytest.raises(ShapeError, match="x has more rows than the other side"):
        large_rsa([X], [Y[:90]])
    with pytest.raises(ShapeError, match=r"a block of x has shape \(12,\)"):
        large_rsa([X[0]], [Y])
    with pytest.raises(ShapeError, match="a block of y has 4 units and the first one has 5"):
        large_rsa([X[:9], X[9:]], [Y[:9], Y[9:, :4]])
    with pytest.raises(ShapeError, match="have 2 stimuli that vary over units; pearson needs at least 3"):
        large_rsa(X[:2], Y[:2])
    with pytest.raises(ShapeError, match="x has 1 unit; a correlation over units needs at least 2"):
        large_rsa(X[:, :1], Y, distance="correlation")


def test_wrong_inputs_of_ranks() -> None:
    """Each wrong input of the binned ranks is refused with what was found."""
    bad, flat = X.copy(), X.copy()
    bad[77, 3], flat[4] = np.nan, 1.0
    with pytest.raises(InputError, match="x has values that are not finite; leave out"):
        large_rank_rsa(bad, Y)
    with pytest.raises(InputError, match="1 stimuli have the same response in every unit"):
        large_rank_rsa(flat, Y, distance="correlation")
    with pytest.raises(InputError, match="n_bins=1, tile_rows=1024; expected at least 2 of each"):
        large_rank_rsa(X, Y, n_bins=1)
    with pytest.raises(ShapeError, match=r"x has shape None; expected \(n_stimuli, n_units\)"):
        large_rank_rsa([X], Y)
    with pytest.raises(ShapeError, match="x has 149 rows and y has 150"):
        large_rank_rsa(X[1:], Y)
    with pytest.raises(ShapeError, match="x and y have 2 stimuli; a comparison needs at least 3"):
        large_rank_rsa(X[:2], Y[:2])
