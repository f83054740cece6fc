"""Real processes: signals, two runs on one folder, locks of runs that are gone, a lost power line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import fault_cases
import fault_layer
import pytest

from brainalign.storage.atomic import LOCK_NAME
from brainalign.study import publish
from brainalign.study.verification import content_digest, verify_results

HERE = Path(__file__).parent
# runs a study; where a third argument is given it waits in its second cell until that file is there
RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
import fault_cases
from brainalign.study import publish, run
publish.write_report = fault_cases.plain_page
place = Path(sys.argv[1])
analyse, calls = run.analyse, []

def waiting(*arguments):
    calls.append(1)
    if len(calls) == 2 and len(sys.argv) > 2:
        (place / "inside").touch()
        while not Path(sys.argv[2]).exists():
            time.sleep(0.01)
    return analyse(*arguments)

run.analyse = waiting
try:
    result = fault_cases.run(place / "tiny.toml", place / "out", place / "cache")
except Exception as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
print("computed", result.computed)
"""


def start(place: Path, *gate: Path) -> subprocess.Popen:
    code = RUN.format(here=str(HERE))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(place), *map(str, gate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parents[1],
    )


def wait_inside(place: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not (place / "inside").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A tiny study, and the digest of an undisturbed run of it in another folder."""
    monkeypatch.setattr(publish, "write_report", fault_cases.plain_page)
    file = fault_cases.make_study(tmp_path)
    fault_cases.run(file, tmp_path / "whole", tmp_path / "whole-cache")
    return file, content_digest(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_in_the_second_cell(study, tmp_path, number):
    """Interrupted, terminated or killed in a cell, the next run keeps the first cell and ends the same."""
    file, digest = study
    process = start(tmp_path, tmp_path / "gate")
    wait_inside(tmp_path, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    if number == signal.SIGINT:
        assert not (tmp_path / "out" / LOCK_NAME).exists()
    again = fault_cases.run(file, tmp_path / "out", tmp_path / "cache")
    assert (again.computed, again.kept) == (1, 1)
    fault_cases.assert_whole(tmp_path / "out", digest)


def test_two_runs_on_one_folder(study, tmp_path):
    """While one process is at work a second is refused with its name; afterwards it finds all done."""
    _, digest = study
    first = start(tmp_path, tmp_path / "gate")
    wait_inside(tmp_path, first)
    second = start(tmp_path)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 1
    assert f"InputError: the folder {tmp_path / 'out'} is in use by process {first.pid} on host" in err
    assert out == ""
    [finding] = verify_results(tmp_path / "out")
    assert f"process {first.pid}" in finding.problem
    (tmp_path / "gate").touch()
    assert first.communicate(timeout=120)[0].strip() == "computed 2"
    third = start(tmp_path)
    assert third.communicate(timeout=120)[0].strip() == "computed 0"
    fault_cases.assert_whole(tmp_path / "out", digest)


def test_of_many_runs_at_once_one_works(study, tmp_path):
    """Four processes that find the lock of a dead one: nothing is computed twice, the content is whole."""
    _, digest = study
    dead = start(tmp_path, tmp_path / "gate")
    wait_inside(tmp_path, dead)
    dead.kill()
    dead.communicate()
    assert (tmp_path / "out" / LOCK_NAME).exists()
    ended = [(p.communicate(timeout=300), p.returncode) for p in [start(tmp_path) for _ in range(4)]]
    computed = [int(out.split()[1]) for (out, _), code in ended if code == 0]
    assert sum(computed) == 1, "the dead run had committed the other cell"
    assert all("is in use by process" in err for (_, err), code in ended if code)
    fault_cases.assert_whole(tmp_path / "out", digest)


class Disk:
    """What a disk holds for certain: contents and names that were flushed, at any moment of a run."""

    def __init__(self, keep: Path, *roots: Path) -> None:
        self.keep, self.roots = keep, roots
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}

    def flushed(self, path: str) -> None:
        inode = os.stat(path).st_ino
        if os.path.isdir(path):
            self.names[inode] = {e.name: e.inode() for e in os.scandir(path)}
        else:
            self.contents[inode] = Path(path).read_bytes()
            with suppress(FileExistsError):  # a second name, so that its number is not given to another file
                os.link(path, self.keep / str(inode))

    def after_power_loss(self, *, names_arrive: bool) -> dict[str, bytes | None]:
        """{path: content, or None for a folder} after the power is gone at this moment.

        Nothing but what was flushed is there; with `names_arrive` every name is, and a file
        whose content was not flushed is empty.
        """
        folders = {
            os.stat(top).st_ino: top for root in self.roots for top, _, _ in os.walk(root) if root.exists()
        }
        found: dict[str, bytes | None] = {}
        for root in self.roots:
            if root.exists():
                self._collect(root.name, os.stat(root).st_ino, folders, found, names_arrive)
        return found

    def _collect(self, name, inode, folders, found, names_arrive) -> None:
        found[name] = None
        known = self.names.get(inode, {})
        if names_arrive and inode in folders:
            known = {e.name: e.inode() for e in os.scandir(folders[inode])}
        for entry, number in known.items():
            if number in folders or number in self.names:
                self._collect(f"{name}/{entry}", number, folders, found, names_arrive)
            else:
                found[f"{name}/{entry}"] = self.contents.get(number, b"")


@pytest.mark.slow
@pytest.mark.parametrize("names_arrive", [False, True], ids=["only flushed", "names before contents"])
def test_lost_power_line(study, tmp_path, names_arrive):
    """At each flush and rename the power goes: what was committed is there, the rest is computed again."""
    file, digest = study
    place = tmp_path / "powered"
    (tmp_path / "keep").mkdir()
    disk = Disk(tmp_path / "keep", place / "out", place / "cache")
    states = []

    def hook(count, operation, path):
        if operation in ("fsync", "rename") and LOCK_NAME not in path:
            n_cells = len([p for p in (place / "out").glob("cells/*") if not p.name.startswith(".")])
            states.append((n_cells, operation, path, disk.after_power_loss(names_arrive=names_arrive)))
        if operation == "fsync":
            disk.flushed(path)

    with fault_layer.watched(hook, place / "out", place / "cache"):
        fault_cases.run(file, place / "out", place / "cache")
    different = [
        s for s, before in zip(states, [None, *states], strict=False) if s[3] != (before or [None] * 4)[3]
    ]
    assert len(different) > 15
    for number, (n_cells, operation, path, state) in enumerate(different):
        left = tmp_path / f"left{number}"
        for name, content in state.items():
            (left / name).parent.mkdir(parents=True, exist_ok=True)
            (left / name).mkdir(exist_ok=True) if content is None else (left / name).write_bytes(content)
        with fault_layer.watched(fault_layer.passing, left / "out", left / "cache"):
            again = fault_cases.run(file, left / "out", left / "cache")
        # the last rename may not have reached the disk; every earlier one has
        assert again.kept >= n_cells - 1, f"{operation} {path}"
        fault_cases.assert_whole(left / "out", digest)
        assert verify_results(left / "cache") == []
