"""A folder has one writer, and a lock that nobody holds any more is no obstacle."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from brainalign.errors import DataNotFoundError, InputError, WriteError
from brainalign.storage import lock
from brainalign.storage.atomic import LOCK_NAME, folder_lock, remove_leftovers
from brainalign.storage.lock import holder_of


def test_lock_is_held_and_given_back(tmp_path):
    """Inside the block a second lock is refused with host and process; after it the folder is free."""
    with folder_lock(tmp_path) as file:
        holder = json.loads(file.read_text())
        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
        with (
            pytest.raises(
                InputError, match=f"in use by process {os.getpid()} on host {socket.gethostname()}"
            ),
            folder_lock(tmp_path),
        ):
            pass
        assert file.exists()
    assert list(tmp_path.iterdir()) == []


def test_lock_needs_a_folder(tmp_path):
    """A missing folder cannot be locked."""
    with (
        pytest.raises(DataNotFoundError, match="does not exist; create it"),
        folder_lock(tmp_path / "x"),
    ):
        pass


def test_lock_is_released_on_error(tmp_path):
    """An error inside the block gives the folder back."""
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _write_lock(folder: Path, **holder) -> Path:
    file = folder / LOCK_NAME
    file.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "start": "", **holder}))
    return file


def test_lock_of_an_ended_process_is_taken_over(tmp_path):
    """The lock of a process that is gone, or whose id another process now has, is no obstacle."""
    for holder in ({"pid": _ended_process()}, {"pid": os.getpid(), "start": "1"}, {"pid": 2**70}):
        file = _write_lock(tmp_path, **holder)
        with folder_lock(tmp_path):
            assert json.loads(file.read_text())["pid"] == os.getpid()
        assert not file.exists()


def test_taking_over_never_removes_a_fresh_lock(tmp_path, monkeypatch):
    """If another process takes the dead lock over first, its new lock stays and is respected."""
    file = _write_lock(tmp_path, pid=_ended_process())

    def overtaken(descriptor: int) -> None:
        if "elsewhere" not in file.read_text():
            file.unlink()
            _write_lock(tmp_path, host="elsewhere")

    monkeypatch.setattr(lock, "_exclusive", overtaken)
    with pytest.raises(InputError, match="on host elsewhere"), folder_lock(tmp_path):
        pass
    assert "elsewhere" in file.read_text()


def test_contender_whose_new_lock_is_cleared_away_is_refused_by_name(tmp_path, monkeypatch):
    """The holder clears leftovers while another process names its lock: that one hears who holds it."""
    link = os.link

    def cleared_first(source, target):
        remove_leftovers(tmp_path)
        link(source, target)

    with folder_lock(tmp_path):
        monkeypatch.setattr(lock.os, "link", cleared_first)
        with pytest.raises(InputError, match=f"in use by process {os.getpid()}"), folder_lock(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_lock_of_another_host_is_respected(tmp_path):
    """Nothing can be said of a process elsewhere: the folder is in use, and the error says what to delete."""
    _write_lock(tmp_path, host="elsewhere", pid=_ended_process())
    with (
        pytest.raises(InputError, match=r"on host elsewhere; .* delete .*\.brainalign\.lock"),
        folder_lock(tmp_path),
    ):
        pass


def test_unreadable_lock_counts_as_held_until_it_is_old(tmp_path):
    """An empty lock may just be being written; after half a minute it is a leftover."""
    file = tmp_path / LOCK_NAME
    file.touch()
    with pytest.raises(InputError, match="in use by process unknown on host unknown"), folder_lock(tmp_path):
        pass
    os.utime(file, (time.time() - 60, time.time() - 60))
    with folder_lock(tmp_path):
        pass


def test_waiting_for_the_holder(tmp_path):
    """With `wait_s` the second one starts when the first one has ended."""
    inside, order = threading.Event(), []

    def first() -> None:
        with folder_lock(tmp_path):
            inside.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with folder_lock(tmp_path, wait_s=10):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


COUNTS = """
import sys
from pathlib import Path
from brainalign.storage.atomic import folder_lock
counter = Path(sys.argv[1]) / "count"
for _ in range(25):
    with folder_lock(sys.argv[1], wait_s=60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_one_writer_at_a_time_even_after_a_crash(tmp_path):
    """Four processes that all find the lock of a dead one count to 100 without a lost step."""
    (tmp_path / "count").write_text("0")
    _write_lock(tmp_path, pid=_ended_process())
    running = [subprocess.Popen([sys.executable, "-c", COUNTS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0, 0]
    assert (tmp_path / "count").read_text() == "100"


def test_holder_is_named_without_taking_the_lock(tmp_path):
    """Whoever only wants to read is told who is at work, and nothing of a dead or unreadable lock."""
    assert holder_of(tmp_path) is None
    with folder_lock(tmp_path):
        assert holder_of(tmp_path) == f"process {os.getpid()} on host {socket.gethostname()}"
    _write_lock(tmp_path, pid=_ended_process())
    assert holder_of(tmp_path) is None
    (tmp_path / LOCK_NAME).write_bytes(b"\xff")
    assert holder_of(tmp_path) is None


def test_own_lock_that_could_not_be_removed_is_taken_over(tmp_path, monkeypatch):
    """A disk that became read-only inside the block does not keep the same process out later."""
    unlink = os.unlink

    def refused(path, **options):
        if Path(path).name == LOCK_NAME:
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        with folder_lock(tmp_path):
            pass
    assert (tmp_path / LOCK_NAME).exists()
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_lock_that_cannot_be_written_is_not_left_behind(tmp_path, monkeypatch, links):
    """On a full disk the error says so, and no empty lock keeps the next run out."""
    if not links:
        monkeypatch.setattr(lock.os, "link", _no_links)
    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "fdopen", _full)
        with pytest.raises(WriteError, match=r"No space left on device.*make room"), folder_lock(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    with folder_lock(tmp_path), pytest.raises(InputError, match="in use"), folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def _no_links(*arguments):
    raise OSError(errno.EPERM, "Operation not permitted")


def _full(descriptor, *arguments, **options):
    os.close(descriptor)
    raise OSError(errno.ENOSPC, "No space left on device")
