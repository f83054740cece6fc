"""Damaged files: every flipped byte and every truncation is an error or changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import storage_cases
from damage_worker import fingerprint

from brainalign.errors import CorruptFileError
from brainalign.storage import load, save, verify
from brainalign.storage._container import open_container

WORKER = Path(__file__).parent / "damage_worker.py"
N_FLIPS = 2000
N_PROCESSES = 2


def _run(path: Path, plan: list[list[int]], limit_s: float = 120) -> dict[str, int]:
    """Read the file once per entry of the plan, shared by some processes; return the outcomes counted."""
    save_as = [path.with_name(f"{path.stem}_{i}.h5") for i in range(N_PROCESSES)]
    expected = fingerprint(load(path))
    running = []
    for i, copy in enumerate(save_as):
        copy.write_bytes(path.read_bytes())
        command = [sys.executable, str(WORKER), str(copy), expected]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdin.write(json.dumps(plan[i::N_PROCESSES]))
        process.stdin.close()
        process.stdin = None
        running.append(process)
    counts: dict[str, int] = {}
    for process in running:
        out, err = process.communicate(timeout=limit_s)
        assert process.returncode == 0, f"a reader ended with {process.returncode}: {err[-2000:]}"
        for key, n in json.loads(out).items():
            counts[key] = counts.get(key, 0) + n
    return counts


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a lazy array of 1.1 MB in two chunks, tables, RDMs and features."""
    path = tmp_path_factory.mktemp("damage") / "dataset.h5"
    save(storage_cases.dataset(270, 1000), path)
    return path


def _flips(path: Path, rng: np.random.Generator) -> list[list[int]]:
    """Half of the places anywhere in the file, half outside of its one large array."""
    container = open_container(path)
    large = max(container.arrays.values(), key=lambda array: array.nbytes)
    outside = np.ones(container.header.size, dtype=bool)
    for offset in large.offsets:
        outside[offset : offset + large.chunk_bytes] = False
    anywhere = rng.integers(0, container.header.size, N_FLIPS // 2)
    elsewhere = rng.choice(np.flatnonzero(outside), N_FLIPS - len(anywhere))
    masks = rng.integers(1, 256, N_FLIPS)
    return [[int(o), int(m)] for o, m in zip([*anywhere, *elsewhere], masks, strict=True)]


def test_two_thousand_flips_never_give_another_value(large_file):
    """2,000 random one-byte changes: each read says file and place, none crashes, hangs or lies."""
    counts = _run(large_file, _flips(large_file, np.random.default_rng(0)))
    assert set(counts) <= {"error", "same"}, counts
    assert sum(counts.values()) == N_FLIPS


def test_flips_of_scores_never_give_another_value(tmp_path):
    """Scores, whose arrays are all small, are protected in the same way."""
    path = tmp_path / "scores.h5"
    save(storage_cases.scores(), path)
    rng = np.random.default_rng(1)
    places = rng.integers(0, path.stat().st_size, 200)
    counts = _run(path, [[int(o), int(m)] for o, m in zip(places, rng.integers(1, 256, 200), strict=True)])
    assert set(counts) <= {"error", "same"}, counts


def test_truncation_at_each_percent_is_an_error(large_file):
    """A file cut at 0, 1 ... 99 % of its length, or by one byte, is always an error."""
    size = large_file.stat().st_size
    sizes = [size * i // 100 for i in range(100)] + [size - 1, 511, 512, 513, 1]
    counts = _run(large_file, [[s] for s in sizes])
    assert counts == {"error": len(sizes)}


def _flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def damaged(tmp_path):
    """A function that saves 300 rows in two chunks and flips one bit where it is told."""

    def make(place) -> Path:
        path = tmp_path / "responses.h5"
        save(storage_cases.responses(310, 1000), path)
        _flip(path, place(open_container(path)))
        return path

    return make


def test_error_names_rows_of_the_damaged_array(damaged):
    """A flip in the second chunk of the values names the array and its rows, and only on reading them."""
    path = damaged(lambda c: c.arrays["values"].offsets[1] + 10)
    values = load(path).values
    assert values[:262].shape == (262, 1000)
    with pytest.raises(
        CorruptFileError, match=r"responses\.h5: the array 'values' is damaged in rows 262 to 309"
    ):
        values[262:]
    with pytest.raises(CorruptFileError, match="the array 'values' is damaged"):
        verify(path)


def test_error_names_a_damaged_column(damaged):
    """A flip in a column of a table names that column when the file is opened."""
    path = damaged(lambda c: c.arrays["samples/columns/onset"].offsets[0])
    with pytest.raises(
        CorruptFileError, match="the array 'samples/columns/onset' is damaged in rows 0 to 309"
    ):
        load(path)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (lambda c: 100, r"the header \(the first 512 bytes\) is damaged"),
        (lambda c: c.header.index_offset + 5, r"the index at byte \d+ is damaged"),
        (lambda c: 520, "the HDF5 structure between the arrays is damaged"),
        (lambda c: 3, "an HDF5 file whose header is not that of a file written by brainalign.save"),
    ],
)
def test_error_names_the_damaged_part(damaged, place, text):
    """A flip outside of the arrays names the part of the file that it hit."""
    with pytest.raises(CorruptFileError, match=text):
        load(damaged(place))


def test_truncated_and_grown_files_say_both_sizes(tmp_path):
    """The error of a cut file has the expected and the found size; so has that of a longer one."""
    path = tmp_path / "r.h5"
    save(storage_cases.rdms(), path)
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.raises(
        CorruptFileError, match=f"is truncated: expected {len(content)} bytes, found {len(content) - 7}"
    ):
        load(path)
    path.write_bytes(content + b"x")
    with pytest.raises(
        CorruptFileError, match=f"is longer than it was written: expected {len(content)} bytes"
    ):
        load(path)
    path.write_bytes(content[:100])
    with pytest.raises(CorruptFileError, match="is truncated: it has 100 bytes, the header alone has 512"):
        load(path)


def test_file_damaged_between_loading_and_reading_is_noticed(tmp_path):
    """Lazy values do not read a file that was replaced, cut or removed since it was loaded."""
    path = tmp_path / "r.h5"
    save(storage_cases.responses(310, 1000), path)
    values = load(path).values
    content = path.read_bytes()
    save(storage_cases.responses(311, 1000), path)
    with pytest.raises(CorruptFileError, match="has changed since it was loaded"):
        values[0]
    path.write_bytes(content[:-1])
    with pytest.raises(CorruptFileError, match="is truncated"):
        values[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        values[0]
    path.write_bytes(content)
    assert values[0].shape == (1000,), "the same bytes under a new inode are the same file"


def test_change_through_hdf5_is_noticed(tmp_path):
    """Another HDF5 program may open the file for writing; a value that it changes is an error."""
    path = tmp_path / "r.h5"
    save(storage_cases.responses(), path)
    content = path.read_bytes()
    with h5py.File(path, "a") as file:
        assert file["values"].shape == (60, 40)
    assert path.read_bytes() == content
    with h5py.File(path, "a") as file:
        file["values"][3, 3] = 1
    with pytest.raises(CorruptFileError, match=r"damaged|longer"):
        load(path)
