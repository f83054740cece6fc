"""A study so small that it can be run hundreds of times, and what must hold after each fault."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import fault_layer
from study_cases import make_folder

from brainalign.errors import BrainAlignError, WriteError
from brainalign.storage.atomic import atomic_write, write_text_atomic
from brainalign.study import read_study, run_study
from brainalign.study.verification import content_digest, verify_results

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)
STUDY = """
name = "tiny"
analyses = ["cka"]

[dataset]
name = "folder"
options = {{ path = "{path}", design = "trials" }}

[[models]]
name = "pixels"
label = "sharp"
image_size = 8

[[models]]
name = "pixels"
label = "blurred"
image_size = 8
pool = "grid:2x2"

[cka]
n_permutations = 0
"""


def make_study(folder: Path) -> Path:
    """A folder of eight images with responses, and a study file on it."""
    file = folder / "tiny.toml"
    file.write_text(STUDY.format(path=make_folder(folder / "recording", n=8, n_units=4)))
    return file


def plain_page(results, path, *, title, figures_folder, provenance):
    """Stands in for the report, whose pictures take seconds; writes the same kinds of files."""
    figures_folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("models_all.svg", "models_all.tsv")):
        with atomic_write(figures_folder / f"0{number + 1}_{name}") as temporary:
            temporary.write_text(f"{len(results)} results")
    write_text_atomic(path, f"{title}\n{provenance}\n")
    return path


def run(study_file: Path, output: Path, cache: Path, *overrides: str, replace: bool = False):
    """Run a study with a cache of its own."""
    study = read_study(study_file, overrides=overrides)
    return run_study(study, output, cache=cache, device="cpu", replace=replace)


def committed(output: Path, cache: Path) -> dict[str, bytes]:
    """What a fault must not take away: cells, finished shards and layers."""
    cells = [p for p in output.glob("cells/*/*") if not p.parts[-2].startswith(".")]
    shards = [p for p in cache.glob("*/*") if p.name.startswith(("shard-", "layer-", "complete"))]
    return {str(p): p.read_bytes() for p in [*cells, *shards] if p.is_file()}


def assert_whole(output: Path, digest: str) -> None:
    """The results are finished, whole, and hold what an undisturbed run finds."""
    assert verify_results(output) == []
    assert content_digest(output) == digest
    assert not [p for p in output.rglob("*") if p.name.startswith(".")]


def fault_and_go_on(study: Path, digest: str, place: Path, hook) -> BrainAlignError | None:
    """Run with a fault, check what it left, run again without; return the error of the first run."""
    output, cache = place / "out", place / "cache"
    for folder in (output, cache):
        shutil.rmtree(folder, ignore_errors=True)
    raised = None
    kept: dict[str, bytes] = {}
    with fault_layer.watched(hook, output, cache):
        try:
            run(study, output, cache)
        except BrainAlignError as error:
            raised = error
            kept = committed(output, cache)
    with fault_layer.watched(fault_layer.passing, output, cache):
        again = run(study, output, cache)
    there = committed(output, cache)
    assert all(there[name] == content for name, content in kept.items() if "shard-" not in name)
    n_before = len({Path(name).parent for name in kept if "/cells/" in name})
    if raised is not None:
        assert (again.computed, again.kept) == (2 - n_before, n_before)
    assert_whole(output, digest)
    assert verify_results(cache) == []
    return raised


def assert_clean(error: BrainAlignError, number: int, place: Path) -> None:
    """One line that names the place, the reason and what to do."""
    text = str(error)
    assert "\n" not in text
    assert str(place) in text
    assert ".part" not in text, "a file that nobody knows"
    if isinstance(error, WriteError):
        assert error.errno == number
        assert os.strerror(number) in text
        assert re.search(r"make room|check it|can be written to", text)
    else:  # the folder itself could not be made
        assert re.search(r"cannot be made.*; (name|give) ", text)
