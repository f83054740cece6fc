"""A disk that fails at any moment costs at most the unit of work at hand."""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import fault_cases
import fault_layer
import pytest

from brainalign.errors import InputError, MemoryBudgetError, WriteError
from brainalign.study import publish
from brainalign.study.verification import content_digest, verify_results

HERE = Path(__file__).parent


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny study, and the digest of what an undisturbed run of it finds."""
    monkeypatch.setattr(publish, "write_report", fault_cases.plain_page)
    monkeypatch.setattr(importlib.metadata, "version", functools.cache(importlib.metadata.version))
    study = fault_cases.make_study(tmp_path)
    with fault_layer.watched(fault_layer.passing, tmp_path / "whole", tmp_path / "whole-cache") as log:
        fault_cases.run(study, tmp_path / "whole", tmp_path / "whole-cache")
    fault_cases.assert_whole(tmp_path / "whole", content_digest(tmp_path / "whole"))
    return study, content_digest(tmp_path / "whole"), log


def places_to_fail(log: list[tuple[str, str]]) -> list[int]:
    """The number of each operation that is not like a later one.

    The same step for the other model is like it; of a row of writes to one file the first
    and the last are taken. (`kill_campaign.py --faults` takes every one.)
    """
    last: dict[tuple[str, str, bool], int] = {}
    rows = itertools.groupby(enumerate(log, start=1), key=lambda entry: entry[1])
    for (operation, path), row in rows:
        numbers = [number for number, _ in row]
        step = re.sub(r"[0-9a-f]{32,64}|(sharp|blurred)-[0-9a-f]{10}|shard-.*", "*", path)
        if operation not in fault_layer.REMOVING:
            last[operation, step, True] = numbers[0]
            last[operation, step, False] = numbers[-1]
    return sorted(set(last.values()))


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_every_operation_may_fail(tiny, tmp_path, lasting):
    """Each write, flush, rename and folder fails in turn: a clean error, nothing lost, the rest resumed."""
    study, digest, log = tiny
    place = tmp_path / "faulty"
    place.mkdir()
    n_raised = 0
    places = places_to_fail(log)
    for at in places:
        number = fault_cases.ERRORS[at % len(fault_cases.ERRORS)]
        error = fault_cases.fault_and_go_on(
            study, digest, place, fault_layer.failing(at, number, lasting=lasting)
        )
        if error is not None:
            n_raised += 1
            fault_cases.assert_clean(error, number, place)
    assert n_raised > 0.9 * len(places) > 40


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory whose size and mode can be changed; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)


def test_real_full_disk(tiny, small_disk):
    """On a disk that is full again and again the same call goes on each time there is more room."""
    study, digest, _ = tiny
    output, cache = small_disk / "out", small_disk / "cache"
    errors = []
    for size_kb in range(16, 2000, 16):
        remount(small_disk, f"size={size_kb}k")
        try:
            fault_cases.run(study, output, cache)
        except (WriteError, MemoryBudgetError) as error:
            errors.append((str(error), [p for p in small_disk.rglob("*") if p.name.startswith(".")]))
        else:
            break
    assert len(errors) > 5
    for text, half_written in errors:
        assert re.fullmatch(r".*(No space left on device.* bytes are free.*make room|GB are free).*", text)
        assert half_written == []
    fault_cases.assert_whole(output, digest)


def test_real_read_only_disk(tiny, small_disk):
    """A disk that became read-only: one clean line, nothing changed; what is there can be verified."""
    study, digest, _ = tiny
    remount(small_disk, "size=4m")
    output, cache = small_disk / "out", small_disk / "cache"
    fault_cases.run(study, output, cache)
    remount(small_disk, "ro")
    with pytest.raises(WriteError, match=r"Read-only file system\).*choose a folder that can be written to"):
        fault_cases.run(study, output, cache)
    with pytest.raises(InputError, match=r"--output .*/new cannot be made: .*Read-only file system"):
        fault_cases.run(study, small_disk / "new", cache)
    assert verify_results(output) == []
    remount(small_disk, "rw")
    assert fault_cases.run(study, output, cache).computed == 0
    fault_cases.assert_whole(output, digest)


def test_limit_on_the_size_of_files(tmp_path):
    """Where the system refuses larger files, the C library below HDF5 included, one line says so."""
    study = fault_cases.make_study(tmp_path)
    code = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(HERE)!r})
        import fault_cases
        from pathlib import Path
        from brainalign.errors import BrainAlignError, InputError, MemoryBudgetError
        from brainalign.study import publish
        publish.write_report = fault_cases.plain_page
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        place = Path({str(tmp_path)!r})
        for limit in (0, 400, 3000, 9000, 20_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                fault_cases.run(Path({str(study)!r}), place / "out", place / "cache")
            except BrainAlignError as error:
                print(limit, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(fault_cases.run(Path({str(study)!r}), place / "out", place / "cache").computed)
        fault_cases.assert_whole(place / "out", fault_cases.content_digest(place / "out"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 3
    assert all("File too large" in line and "ulimit -f" in line for line in lines[:-1])
    assert lines[-1] in ("0", "1", "2")
