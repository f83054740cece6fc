"""Files appear whole or not at all; a folder has one writer."""

from __future__ import annotations

import builtins
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import storage_cases

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, WriteError
from brainalign.storage import _sink, load, save
from brainalign.storage.atomic import atomic_write, write_text_atomic
from brainalign.types import Responses


def test_text_is_replaced_whole(tmp_path):
    """The new text takes the place of the old one, and no temporary file stays."""
    write_text_atomic(tmp_path / "a.txt", "old")
    write_text_atomic(tmp_path / "a.txt", "nü")
    assert (tmp_path / "a.txt").read_bytes() == "nü".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_nothing_is_visible_before_the_end(tmp_path):
    """While the block runs the name leads to the old file; the temporary one lies in the same folder."""
    write_text_atomic(tmp_path / "a.txt", "old")
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".part"
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_keeps_the_old_file(tmp_path, error):
    """An error or an interrupt in the block removes the temporary file and changes nothing."""
    write_text_atomic(tmp_path / "a.txt", "old")

    def fail() -> None:
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_wrong_targets_are_refused(tmp_path):
    """A folder and a file in a missing folder are no targets; a block that wrote nothing is an error."""
    with pytest.raises(InputError, match="is a folder; give the name of a file in it"):
        write_text_atomic(tmp_path, "x")
    with pytest.raises(DataNotFoundError, match="does not exist; create it"):
        write_text_atomic(tmp_path / "no" / "x", "x")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "x"):
        pass


class _FailingFile:
    """A file whose k-th write, and if `for_ever` each later one, fails."""

    left = 0
    for_ever = False

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, content):
        type(self).left -= 1
        if self.left == 0 or (self.left < 0 and self.for_ever):
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(content)


def _open_failing(*arguments, **options) -> _FailingFile:
    return _FailingFile(builtins.open(*arguments, **options))


def _try_to_save(noun, path: Path) -> OSError | None:
    try:
        save(noun, path)
    except OSError as error:
        return error
    return None


@pytest.mark.parametrize("for_ever", [False, True])
def test_every_failing_write_is_an_error_and_keeps_the_old_file(tmp_path, monkeypatch, for_ever):
    """The k-th write of HDF5 fails, for every k: an error with errno, the old bytes stay, no crash."""
    path = tmp_path / "r.h5"
    save(storage_cases.rdms(), path)
    before = path.read_bytes()
    responses = Responses(np.ones((100, 5000)))
    monkeypatch.setattr(_sink, "open", _open_failing, raising=False)
    monkeypatch.setattr(_FailingFile, "for_ever", for_ever)
    for k in range(1, 500):
        monkeypatch.setattr(_FailingFile, "left", k)
        error = _try_to_save(responses, path)
        if error is None:
            break
        assert error.errno == errno.ENOSPC
        assert re.search(r"not be written \(No space left on device; 40\d{5} bytes are needed", str(error))
        assert "make room" in str(error)
        assert error.filename == str(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["r.h5"]
    assert 10 < k < 400
    assert load(path).shape == (100, 5000)


def test_no_more_rows_are_asked_for_after_a_failure(tmp_path, monkeypatch):
    """When the disk fails at the start, a source of many rows is not read to its end."""

    class Rows:
        shape, dtype, n_asked = (20_000, 1000), np.dtype("f4"), 0

        def __getitem__(self, rows):
            Rows.n_asked += 1
            return np.zeros((rows.stop - rows.start, 1000), "f4")

    monkeypatch.setattr(_sink, "open", _open_failing, raising=False)
    monkeypatch.setattr(_FailingFile, "left", 3)
    monkeypatch.setattr(_FailingFile, "for_ever", True)
    assert _try_to_save(Responses(Rows()), tmp_path / "r.h5") is not None
    assert Rows.n_asked < 20, "of 77 blocks; some stay in the cache of HDF5"


def test_file_and_folder_reach_the_disk_in_order(tmp_path, monkeypatch):
    """The file is flushed to the disk before it gets its name, the folder after."""
    steps: list[str] = []
    sync, move = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def replace(source, target) -> None:
        steps.append("move")
        move(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text_atomic(tmp_path / "a", "x")
    assert steps == ["file", "move", "folder"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from brainalign.storage import save
from brainalign.types import Responses
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
responses = Responses(np.random.default_rng(0).random((500, 500)))
for limit in (0, 300, 511, 5000, 20_000, 1_000_000, 1_990_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(responses, sys.argv[1])
    except OSError as error:
        assert "nothing was left behind" in str(error), error
    else:
        raise SystemExit(f"saved below {limit} bytes")
"""


def test_a_full_disk_does_not_end_the_process(tmp_path):
    """Real failures of the operating system at several file sizes are errors; the process goes on."""
    path = tmp_path / "r.h5"
    save(storage_cases.rdms(), path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["r.h5"]


def test_what_cannot_fit_is_refused_before_writing(tmp_path, monkeypatch):
    """With less free space than the arrays need, the error says both numbers."""
    monkeypatch.setattr(shutil, "disk_usage", lambda p: type("Usage", (), {"free": 1000}))
    with pytest.raises(WriteError, match=r"; \d+ bytes are needed, 1000 bytes are free\)"):
        save(storage_cases.responses(), tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_do_not_arrive_are_noticed(tmp_path, monkeypatch):
    """A disk that swaps a byte while writing is noticed before the old file is replaced."""
    original = _sink.Sink.write

    def swapping(self, content):
        content = bytes(content)
        return original(self, content[:50] + b"?" + content[51:] if len(content) > 9000 else content)

    monkeypatch.setattr(_sink.Sink, "write", swapping)
    with pytest.raises(CorruptFileError, match="the array 'values' did not arrive on the disk as written"):
        save(storage_cases.responses(), tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
import numpy as np
from brainalign.storage import save
from brainalign.types import Responses
values = [np.full((600, 2000), i, "f4") for i in range(2)]
print("ready", flush=True)
while True:
    for v in values:
        save(Responses(v), sys.argv[1])
"""


def test_killed_writers_leave_a_whole_file(tmp_path):
    """Killed at random moments, a writer leaves one of the contents whole, never a mixture."""
    path = tmp_path / "r.h5"
    save(Responses(np.zeros((600, 2000), "f4")), path)
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert np.unique(load(path).values[:]).size == 1
