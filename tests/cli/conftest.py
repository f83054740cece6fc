"""The command in this process, and one small study that has been run."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "study"))

from study_cases import STUDY, make_folder


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """A test has its own cache and no recordings but those that it names."""
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BRAINALIGN_DATA", str(tmp_path / "no_recordings"))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `brainalign ...` through its entry point, in this process."""
    from brainalign.cli import main

    def run(*arguments) -> Done:
        monkeypatch.setattr(sys, "argv", ["brainalign", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        found = capsys.readouterr()
        return Done(int(end.value.code or 0), found.out, found.err)

    return run


@pytest.fixture
def study_file(tmp_path):
    """A study file on a small folder of images and responses."""
    folder = make_folder(tmp_path / "recording")
    file = tmp_path / "small.toml"
    file.write_text(STUDY.format(path=folder))
    return file


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder `place` of a small study, with its recording and its results `place / "out"`."""
    from brainalign.study import read_study, run_study

    place = tmp_path_factory.mktemp("finished")
    file = place / "small.toml"
    file.write_text(STUDY.format(path=make_folder(place / "recording")))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_study(read_study(file), place / "out", cache=place / "cache")
    return place


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the finished results beside a copy of their recording, free to be changed."""
    shutil.copytree(finished / "recording", tmp_path / "recording")
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"
