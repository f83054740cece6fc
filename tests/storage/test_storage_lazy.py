"""Values on disk are indexed as numpy indexes, and only what is needed is read."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import storage_cases

from brainalign.storage import _container, load, save
from brainalign.storage._lazy import LazyArray
from brainalign.storage._write import chunk_shape
from brainalign.types import Responses


@pytest.fixture(scope="module", params=[(300, 5000), (90, 70, 60)], ids=["2 axes", "3 axes"])
def pair(request, tmp_path_factory):
    """Values in memory and the same on disk, in several chunks along two axes where there are two."""
    values = np.random.default_rng(0).standard_normal(request.param).astype("f4")
    path = tmp_path_factory.mktemp("lazy") / "r.h5"
    times = np.arange(60.0) if values.ndim == 3 else None
    save(Responses(values, times=times), path)
    lazy = load(path).values
    assert isinstance(lazy, LazyArray)
    return values, lazy


def _axis_index(n: int):
    edge = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    step = st.one_of(st.none(), st.integers(1, 9), st.integers(-9, -1))
    numbers = st.lists(st.integers(-n, n - 1), max_size=5)
    return st.one_of(
        st.builds(slice, edge, edge, step),
        st.integers(-n, n - 1),
        st.integers(0, n - 1).map(np.int64),
        numbers,
        numbers.map(lambda v: np.array(v, dtype=np.int32)),
        st.integers(0, 2**32 - 1).map(lambda s: np.random.default_rng(s).random(n) > 0.7),
        st.just(Ellipsis),
        st.just(None),
        st.just(np.zeros((2, 1), int)),
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_indexing_equals_numpy(pair, draws):
    """Slices, integers, masks, lists, new axes and their mixtures give numpy's values, shapes and errors."""
    values, lazy = pair
    n_axes = draws.draw(st.integers(1, values.ndim + 1))
    key = tuple(draws.draw(_axis_index(values.shape[min(i, values.ndim - 1)])) for i in range(n_axes))
    key = key[0] if len(key) == 1 and not isinstance(key[0], list) else key
    try:
        expected = values[key]
    except (IndexError, ValueError) as error:
        with pytest.raises(type(error)):
            lazy[key]
        return
    found = lazy[key]
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("first", [slice(None), [1, 2], 3, slice(5, 1, -2)], ids=str)
@pytest.mark.parametrize("last", [slice(None), [1, 2], 3], ids=str)
def test_an_ellipsis_of_no_axis_parts_lists_as_in_numpy(pair, first, last):
    """numpy moves the axis of lists that an Ellipsis parts to the front, though it stands for no axis."""
    values, lazy = pair
    middle = ([0, 1],) if values.ndim == 3 else ()
    for key in ((first, *middle, ..., last), (first, ..., *middle, last), (..., first, *middle, last)):
        assert lazy[key].shape == values[key].shape
        assert np.array_equal(lazy[key], values[key])


def test_looks_like_an_array(pair):
    """shape, dtype, ndim, size, nbytes, len and numpy.asarray agree with the values in memory."""
    values, lazy = pair
    assert (lazy.shape, lazy.dtype, lazy.ndim) == (values.shape, values.dtype, values.ndim)
    assert (lazy.size, lazy.nbytes, len(lazy)) == (values.size, values.nbytes, len(values))
    assert np.asarray(lazy).tobytes() == values.tobytes()
    assert np.asarray(lazy, dtype=np.float64).dtype == np.float64
    assert "'values'" in repr(lazy)
    mask = values > 0
    np.testing.assert_array_equal(lazy[mask], values[mask])


def test_wrong_indices_are_errors(pair):
    """An index beyond the axis, a mask of another length and a view without a copy are refused."""
    _, lazy = pair
    n = len(lazy)
    with pytest.raises(IndexError, match=f"index {n} is out of bounds for axis 0 with size {n}"):
        lazy[n]
    with pytest.raises(IndexError, match=f"the mask over axis 0 has 3 entries; the axis has {n}"):
        lazy[np.ones(3, bool)]
    with pytest.raises(ValueError, match="is on disk; an array in memory cannot be had without a copy"):
        np.asarray(lazy, copy=False)


def test_result_is_writable_and_own(pair):
    """Writing into what was read changes neither the file nor what is read next."""
    values, lazy = pair
    block = lazy[:5]
    block[:] = 0
    np.testing.assert_array_equal(lazy[:5], values[:5])


@pytest.fixture
def bytes_read(monkeypatch):
    """A list of the sizes of all reads."""
    sizes: list[int] = []
    original = _container.read_at

    def counting(file, size, offset):
        sizes.append(size)
        return original(file, size, offset)

    monkeypatch.setattr(_container, "read_at", counting)
    return sizes


def test_few_rows_or_units_read_few_bytes(tmp_path, bytes_read):
    """Ten rows of 40 MB read under 4 MB, one unit a fifth at most, and opening reads the tables only."""
    values = np.zeros((500, 20_000), "f4")
    path = tmp_path / "r.h5"
    save(Responses(values), path)
    bytes_read.clear()
    lazy = load(path).values
    assert sum(bytes_read) < 2_000_000
    bytes_read.clear()
    lazy[100:110]
    assert sum(bytes_read) < 11_000_000
    bytes_read.clear()
    lazy[100:110, 5]
    assert sum(bytes_read) < 1_100_000
    bytes_read.clear()
    lazy[:, 5]
    assert sum(bytes_read) <= values.nbytes / 4
    bytes_read.clear()
    assert lazy[0:0].shape == (0, 20_000)
    assert sum(bytes_read) < 1000


@pytest.mark.parametrize(
    ("shape", "itemsize", "expected"),
    [
        ((1000, 100_000), 4, (64, 4096)),
        ((10, 10), 8, (10, 10)),
        ((100_000, 10), 8, (13107, 10)),
        ((10, 500, 2_000_000), 4, (1, 1, 2_000_000)),
        ((7,), 8, (7,)),
    ],
)
def test_chunks_are_about_a_megabyte(shape, itemsize, expected):
    """Chunks hold about 1 MB, whole rows where rows are short, 4096 float32 units where they are long."""
    assert chunk_shape(shape, itemsize) == expected


def _sum_of_row(lazy: LazyArray, row: int, out) -> None:
    out.put((row, float(lazy[row].sum(dtype=np.float64))))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_used_in_other_processes(pair, method):
    """A lazy array works in forked and in spawned processes, as it keeps nothing open."""
    values, lazy = pair
    context = multiprocessing.get_context(method)
    out = context.Queue()
    workers = [context.Process(target=_sum_of_row, args=(lazy, row, out)) for row in (0, 60)]
    for worker in workers:
        worker.start()
    found = dict(out.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert found == {row: float(values[row].sum(dtype=np.float64)) for row in (0, 60)}


def test_small_arrays_are_in_memory(tmp_path):
    """Below 1 MB `values` is a numpy array; predictions of scores follow the same rule."""
    save(storage_cases.responses(), tmp_path / "r.h5")
    assert isinstance(load(tmp_path / "r.h5").values, np.ndarray)
    save(storage_cases.scores(4000), tmp_path / "s.h5")
    back = load(tmp_path / "s.h5")
    assert isinstance(back.observed, LazyArray)
    assert isinstance(back.predictions, np.ndarray)


def test_relative_path_survives_a_change_of_folder(tmp_path, monkeypatch):
    """Lazy values of a relative path are found after the working folder has changed."""
    monkeypatch.chdir(tmp_path)
    save(storage_cases.responses(310, 1000), "r.h5")
    values = load("r.h5").values
    monkeypatch.chdir("/")
    assert values[3].shape == (1000,)


def test_saving_over_the_file_that_is_read(tmp_path):
    """Lazy responses can be saved onto their own file."""
    path = tmp_path / "r.h5"
    save(storage_cases.responses(310, 1000), path)
    before = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == before
