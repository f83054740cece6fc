"""Shards of an extraction: fixed edges, the same bytes however it was interrupted, nothing left over."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from feature_cases import TinyNet, make_images, make_stimuli, to_tensor

from brainalign.errors import MemoryBudgetError, WriteError
from brainalign.features import cache as cache_module
from brainalign.features import extract_features, extraction
from brainalign.features.cache import CacheEntry
from brainalign.storage.atomic import LOCK_NAME, folder_lock, temporary_name

N = 150  # three shards of at most 64 stimuli
IMAGES = make_images(N)


def extract(cache: Path, **options):
    options = {"batch_size": 32, "layers": ["stem.0", "down"]} | options
    return extract_features(
        TinyNet(),
        make_stimuli(IMAGES),
        transform=to_tensor,
        progress=False,
        device="cpu",
        cache=cache,
        **options,
    )


def contents(cache: Path) -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in cache.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """Every file of an entry that nobody disturbed."""
    cache = tmp_path_factory.mktemp("undisturbed")
    extract(cache)
    return contents(cache)


@pytest.fixture
def blocks(monkeypatch) -> list[range]:
    """The rows of each shard that is computed."""
    seen: list[range] = []
    block = extraction._Run.block

    def noted(run, rows, plan, bar):
        seen.append(rows)
        return block(run, rows, plan, bar)

    monkeypatch.setattr(extraction._Run, "block", noted)
    return seen


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_edges_do_not_depend_on_the_batch_size(tmp_path, blocks, batch_size):
    """Shards begin at the same stimuli whatever number of them shares a forward pass."""
    extract(tmp_path, batch_size=batch_size)
    assert blocks == [range(0, 64), range(64, 128), range(128, 150)]


@pytest.mark.parametrize("n_done", [0, 1, 2, 3])
def test_interrupted_after_any_shard_the_bytes_are_the_same(
    tmp_path, blocks, monkeypatch, undisturbed, n_done
):
    """Stopped after each number of shards, the next run computes the rest only and every file is the same."""
    write, finish = CacheEntry.write_shard, CacheEntry.finish

    def stopping(entry, number, block):
        if number == n_done:
            raise KeyboardInterrupt
        write(entry, number, block)

    def stopped(entry, layers):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CacheEntry, "write_shard", stopping)
        patch.setattr(CacheEntry, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract(tmp_path)
    assert CacheEntry.finish is finish
    del blocks[:]
    extract(tmp_path)
    assert len(blocks) == 3 - n_done
    assert contents(tmp_path) == undisturbed


def test_shards_are_what_numpy_saves(tmp_path):
    """A shard is a plain .npy file with the sha256 of its bytes in its name."""
    entry = CacheEntry(tmp_path, "a")
    for dtype in ("float16", "float32", "float64"):
        block = np.random.default_rng(0).random((5, 3)).astype(dtype)
        with entry.locked():
            entry.write_shard(7, block)
        expected = io.BytesIO()
        np.save(expected, block)
        [path] = entry.folder.glob("shard-*")
        assert path.read_bytes() == expected.getvalue()
        assert path.name == f"shard-00007-{hashlib.sha256(path.read_bytes()).hexdigest()}.npy"
        assert np.array_equal(entry.shard(7, (5, 3), np.dtype(dtype)), block)
        path.unlink()


def test_full_disk_while_a_shard_is_written(tmp_path, monkeypatch):
    """The error names the file, the reason and the bytes; nothing half-written stays."""
    entry = CacheEntry(tmp_path, "a")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with entry.locked():
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match=r"shard-00000 .*No space left on device; 4000 bytes are needed"):
            entry.write_shard(0, np.zeros((100, 10), "f4"))
        assert [p.name for p in entry.folder.iterdir()] == [LOCK_NAME]


def test_shards_of_a_run_that_ended_after_the_end_are_removed(tmp_path, monkeypatch, undisturbed):
    """Killed between the mark and the removal of the shards, the next use of the entry removes them."""
    remove = CacheEntry._remove
    with monkeypatch.context() as patch:
        patch.setattr(CacheEntry, "_remove", lambda entry, *patterns: None)
        extract(tmp_path)
    [entry] = tmp_path.iterdir()
    temporary_name(entry).write_text("half")
    assert len(list(entry.glob("shard-*"))) == 3
    with folder_lock(entry):  # another process is at work: left to it
        extract(tmp_path)
        assert len(list(entry.glob("shard-*"))) == 3
    assert CacheEntry._remove is remove
    extract(tmp_path)
    assert contents(tmp_path) == undisturbed
    (entry / LOCK_NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": 2**70, "start": ""}))
    extract(tmp_path)
    assert contents(tmp_path) == undisturbed, "the lock of a dead run too"


def test_half_written_files_of_dead_runs_are_removed(tmp_path, undisturbed):
    """What a killed run left half-written goes when the entry is filled; other files stay."""
    key = next(iter(undisturbed)).split("/")[0]
    (tmp_path / key).mkdir()
    temporary_name(tmp_path / key).write_text("half")
    extract(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_finished_shards_count_as_room(tmp_path, monkeypatch):
    """A nearly full disk does not refuse an extraction whose shards are there already."""
    needed = N * (4 * 64 + 6 * 16) * 4
    usage = type("Usage", (), {"free": needed + 5000})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(MemoryBudgetError, match="twice that while they are merged"):
        extract(tmp_path)
    entry = CacheEntry(tmp_path, "a")
    entry.folder.mkdir()
    with pytest.raises(MemoryBudgetError, match="are free"):
        entry.check_space(needed)
    (entry.folder / "shard").write_bytes(bytes(needed))
    entry.check_space(needed)


def test_layer_of_another_entry_is_no_substitute(tmp_path, undisturbed):
    """A whole file of the same layer from another extraction is noticed, and extracted again."""
    extract(tmp_path)
    extract(tmp_path / "other", dtype="float16")
    [entry] = [p for p in tmp_path.iterdir() if p.name != "other"]
    [other] = (tmp_path / "other").iterdir()
    for path in other.glob("layer-*.h5"):
        shutil.copy(path, entry / path.name)
    shutil.rmtree(tmp_path / "other")
    with pytest.warns(UserWarning, match=re.escape("is whole, but not the file that complete.json names")):
        extract(tmp_path)
    assert contents(tmp_path) == undisturbed
