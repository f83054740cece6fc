"""Processes that are killed, interrupted or started twice in the middle of a fetch."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_server import CONTENT, SIZE, HostileServer, Trick, card, fetch, left, part_of, wait_until

import data_loaders
from brainalign.errors import InputError
from brainalign.storage.atomic import folder_lock
from data_loaders._connection import Limits
from data_loaders._fetch import fetch_files

HALF = SIZE // 2
CHILD = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started without it
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._connection import Limits
from data_loaders._fetch import fetch_files

file = RemoteFile("a.npy", "a.npy", {SIZE}, "{hashlib.sha256(CONTENT).hexdigest()}")
CARD = DatasetCard("toy", "a toy", "CC0", "", "here", files=(file,))
ROOT, URL = Path(sys.argv[1]), sys.argv[2]
LIMITS = Limits(attempts=3, backoff_s=0.01, lock_wait_s=30)
"""
# ends the process at the k-th call that changes the disk, for every k, and fetches again after each
EVERY_CALL = """
import os, pathlib, shutil
NAMES = [(os, n) for n in ("link", "replace", "rename", "unlink", "fsync", "rmdir", "mkdir", "remove")]

def counted(call, box):
    def run(*args, **kwargs):
        box[0] -= 1
        if box[0] == 0:
            os._exit(9)
        return call(*args, **kwargs)
    return run

def fetch_and_die(k, root):
    box = [k]
    for owner, name in NAMES:
        setattr(owner, name, counted(getattr(owner, name), box))
    fetch_files(CARD, root, base_url=f"{URL}a.npy?{k}&", limits=LIMITS)
    os._exit(0)

fetch_files(CARD, ROOT / "warm", base_url=URL, limits=LIMITS)
for k in range(1, 200):
    root = ROOT / str(k)
    root.mkdir()
    child = os.fork()
    if child == 0:
        fetch_and_die(k, root)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    fetch_files(CARD, root, base_url=f"{URL}a.npy?{k}&", limits=LIMITS)
    fetch_files(CARD, root, base_url="http://127.0.0.1:9/", limits=LIMITS)
    print(k, code, sorted(p.name for p in (root / "toy").rglob("*")), flush=True)
    if code == 0:
        break
"""


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer({"a.npy": CONTENT}) as running:
        yield running


def start(code: str, root: Path, server: HostileServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(root), server.url],
        cwd=Path(data_loaders.__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FETCH = "fetch_files(CARD, ROOT, base_url=URL, limits=LIMITS)"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_killed_process_is_continued_by_range(server: HostileServer, tmp_path: Path, how: int) -> None:
    """kill -9, Ctrl-C and kill lose no byte: the next fetch begins at the size that was reached."""
    server.tricks = [Trick(stall_after=HALF)]
    child = start(FETCH, tmp_path, server)
    part = part_of(tmp_path)
    wait_until(lambda: part.exists() and part.stat().st_size == HALF, "half of the file came")
    child.send_signal(how)
    child.communicate(timeout=30)
    assert child.returncode != 0
    assert part.read_bytes() == CONTENT[:HALF]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, f"bytes={HALF}-"]
    assert server.log[1].if_range == '"v1"'


def test_kill_at_every_call_that_changes_the_disk(server: HostileServer, tmp_path: Path) -> None:
    """Wherever the process ends between two changes of the disk, the next fetch completes it."""
    child = start(EVERY_CALL, tmp_path, server)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    lines = [line.split(" ", 2) for line in output.splitlines()]
    assert [line[1] for line in lines] == ["9"] * (len(lines) - 1) + ["0"]
    assert len(lines) > 8
    assert {line[2] for line in lines} == {"['a.npy']"}
    for line in lines:
        assert (tmp_path / line[0] / "toy/a.npy").read_bytes() == CONTENT
    # asked twice only where the end came between the answer and its first byte: no byte comes twice
    asked = [request.path for request in server.log]
    assert sum(asked.count(path) - 1 for path in set(asked)) <= 2
    print(f"{len(lines) - 1} kills, {len(asked)} requests")


def test_two_processes_fetch_one_dataset(server: HostileServer, tmp_path: Path) -> None:
    """The second waits for the first and finds the file: one request, both succeed, nothing is left."""
    server.tricks = [Trick(stall_after=HALF)]
    first = start(FETCH, tmp_path, server)
    wait_until(lambda: part_of(tmp_path).exists(), "the first process began")
    second = start(FETCH, tmp_path, server)
    assert second.stderr is not None
    lines = iter(second.stderr.readline, "")
    assert next(line for line in lines if line.startswith("waiting: ")).count(str(first.pid)) == 1
    server.released.set()
    for child in (first, second):
        child.communicate(timeout=30)
        assert child.returncode == 0
    assert [r for r in server.ranges() if r is None] == [None]
    assert left(tmp_path) == ["a.npy"]
    assert (tmp_path / "toy/a.npy").read_bytes() == CONTENT


def test_process_that_holds_the_folder_for_too_long(server: HostileServer, tmp_path: Path) -> None:
    """After the wait the holder is named; nothing was asked for."""
    (tmp_path / "toy").mkdir()
    with (
        folder_lock(tmp_path / "toy"),
        pytest.raises(InputError, match=rf"in use by process {os.getpid()} on"),
    ):
        fetch_files(card(), tmp_path, base_url=server.url, limits=Limits(lock_wait_s=0.1))
    assert server.log == []


def test_what_killed_processes_left_is_removed(server: HostileServer, tmp_path: Path) -> None:
    """What a killed process left goes with the next fetch, also where every file has its name already."""
    staging = tmp_path / "toy/.fetch"
    staging.mkdir(parents=True)
    (staging / "tmpabc123").write_bytes(b"")
    assert fetch(server, tmp_path) == CONTENT
    staging.mkdir()
    (staging / "a.npy.00000000.part").write_bytes(b"of an older registry")
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.log) == 1
