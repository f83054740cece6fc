"""Kill a study again and again; after each kill the same call must end with the same content.

    python tests/study/kill_campaign.py --kills 200                 # at random moments
    python tests/study/kill_campaign.py --kills 0 --renames         # before every rename
    python tests/study/kill_campaign.py --kills 0 --operations      # before every operation
    python tests/study/kill_campaign.py --kills 0 --faults          # failing disk instead of kills

A study with a network (three shards of activations) and four cells is run undisturbed and
timed; then run afresh and killed by SIGKILL, and run to its end. Moments are uniform over the
undisturbed duration. `--renames` and `--operations` count what the process does to the disk
and kill before each such operation; they take a tiny study and a plain page for the report.
`--faults` lets each of its operations fail with ENOSPC, EIO and EROFS, once and from then on.

After each kill: the second run ends well, every artefact is verified, the content digest and
the bytes of every table, page and figure are those of the undisturbed run, no temporary file
is left, and at most one unit of work (a shard or a cell) was begun twice. The last line is a
JSON summary; the exit code is 1 if anything of that failed.

The process imports everything once and forks for each run, so all kills fall into the work.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import fault_cases
import fault_layer
import study_cases

from brainalign.features import extraction
from brainalign.study import publish, read_study, run_study
from brainalign.study import run as run_module
from brainalign.study.verification import content_digest, verify_results

STUDY = """
name = "killed"
analyses = ["encoding", "rsa"]

[dataset]
name = "folder"
options = {{ path = "{path}", design = "trials" }}

[[models]]
name = "efficientnet_lite0"
untrained = true
label = "network"
image_size = 32
layers = ["_blocks.0", "_blocks.8", "_blocks.15"]
pool = "mean"

[[models]]
name = "pixels"
role = "control"
image_size = 16

[encoding]
n_folds = 3
inner_folds = 3
n_permutations = 200
n_bootstrap = 100

[rsa]
n_permutations = 200
n_bootstrap = 50
"""
_TRIES = 5
_MOST_SHOWN = 20
_TIMES = ("cell.json", "manifest.json")  # hold seconds; their content is compared by digest


def make_study(folder: Path) -> Path:
    """A folder of 150 images with responses of one region, and a study file on it."""
    recording = study_cases.make_folder(folder / "recording", n=150, n_units=4, n_repeats=2)
    units = recording / "units.tsv"
    units.write_text("\n".join(line.split("\t")[0] for line in units.read_text().splitlines()) + "\n")
    file = folder / "killed.toml"
    file.write_text(STUDY.format(path=recording))
    return file


class Runs:
    """The runs of one study, each in a child process of its own."""

    def __init__(self, study_file: Path, place: Path, *, plain: bool = False) -> None:
        self.study = read_study(study_file)
        self.place = place
        self.plain = plain
        self.output, self.cache = place / "out", place / "cache"
        self.begun = place / "begun.txt"

    def fresh(self) -> None:
        """Forget every earlier run."""
        for folder in (self.output, self.cache):
            shutil.rmtree(folder, ignore_errors=True)
        self.begun.write_text("")

    def start(self, hook: fault_layer.Hook = fault_layer.passing, log: Path | None = None) -> int:
        """Fork a run and return its process id."""
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            self._quiet()
            self._count_units()
            with fault_layer.watched(hook, self.output, self.cache) as operations:
                run_study(self.study, self.output, cache=self.cache, device="cpu")
            if log is not None:
                log.write_text(json.dumps(operations))
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stdout__)
        finally:
            sys.__stdout__.flush()
            os._exit(code)

    def _quiet(self) -> None:
        if self.plain:
            publish.write_report = fault_cases.plain_page  # type: ignore[assignment]
        sys.stderr = io.StringIO()  # progress bars

    def _count_units(self) -> None:
        """Note each shard and each cell when its computing begins."""
        block, analyse = extraction._Run.block, run_module.analyse

        def noted_block(run: Any, rows: range, plan: Any, bar: Any) -> Any:
            self._note(f"shard {run.network.name} {plan.n_units} {rows}")
            return block(run, rows, plan, bar)

        def noted_analyse(study: Any, cell: Any, *rest: Any) -> Any:
            self._note(f"cell {cell.folder}")
            return analyse(study, cell, *rest)

        extraction._Run.block = noted_block  # type: ignore[method-assign]
        run_module.analyse = noted_analyse

    def _note(self, unit: str) -> None:
        descriptor = os.open(self.begun, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"{unit}\n".encode())
        os.close(descriptor)

    def finish(self) -> int:
        """Run to the end; return the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(), 0)[1])

    def twice(self) -> int:
        """How many units were begun more often than once."""
        counts = Counter(self.begun.read_text().splitlines())
        return sum(counts.values()) - len(counts)

    def state(self) -> dict[str, Any]:
        """The content of the results: a digest, and the bytes of every file that holds no times."""
        files = {
            str(p.relative_to(self.place)): p.read_bytes()
            for p in sorted([*self.output.rglob("*"), *self.cache.rglob("*")])
            if p.is_file() and p.name not in _TIMES
        }
        return {"digest": content_digest(self.output), "files": files}


def faults_of(runs: Runs, expected: dict[str, Any], code: int) -> list[str]:
    """What is not as it must be after a kill and the run that followed it."""
    if code:
        return [f"the second run ended with {code}"]
    found = runs.state()
    names = sorted(expected["files"].keys() ^ found["files"].keys())
    names += [n for n in expected["files"] if found["files"].get(n, b"") != expected["files"][n]]
    out = [f"{name} differs" for name in dict.fromkeys(names)]
    if found["digest"] != expected["digest"]:
        out.append("the content digest differs")
    out += [f"{f.path} {f.problem}" for folder in (runs.output, runs.cache) for f in verify_results(folder)]
    if runs.twice() > 1:
        out.append(f"{runs.twice()} units were computed twice")
    return out


def campaign(runs: Runs, moments: list[Callable[[], int]], expected: dict[str, Any]) -> dict[str, Any]:
    """Kill at each moment (a call that starts a run and returns its exit code) and go on."""
    faults: list[str] = []
    twice: list[int] = []
    died = 0
    begun = time.perf_counter()
    for number, moment in enumerate(moments):
        runs.fresh()
        died += moment() == -signal.SIGKILL
        found = faults_of(runs, expected, runs.finish())
        faults += [f"kill {number}: {fault}" for fault in found]
        twice.append(runs.twice())
    return {
        "kills": len(moments),
        "died": died,
        "faults": faults[:_MOST_SHOWN],
        "n_faults": len(faults),
        "units_redone": {str(n): twice.count(n) for n in sorted(set(twice))},
        "seconds": round(time.perf_counter() - begun, 1),
    }


def undisturbed(runs: Runs) -> tuple[dict[str, Any], float, list[list[str]]]:
    """Content, duration and operations of a run that nobody kills."""
    log = runs.place / "operations.json"
    durations = []
    for _ in range(2):
        runs.fresh()
        start = time.perf_counter()
        code = os.waitstatus_to_exitcode(os.waitpid(runs.start(log=log), 0)[1])
        durations.append(time.perf_counter() - start)
        if code:
            raise SystemExit(f"the undisturbed run ended with {code}")
    return runs.state(), min(durations), json.loads(log.read_text())


def random_kills(runs: Runs, n: int, duration: float, seed: int) -> list[Callable[[], int]]:
    """Kills at moments that are uniform over the duration of an undisturbed run.

    A run that ends before its moment, because the machine has become faster than it was when
    the duration was measured, corrects the duration and is tried again.
    """
    measured = [duration]

    def at(place: float) -> Callable[[], int]:
        def moment() -> int:
            code = 0
            for _ in range(_TRIES):
                runs.fresh()
                code = kill_after(runs, place * measured[0], measured)
                if code:
                    break
            return code

        return moment

    # one in each of n equal stretches: no part of a run is left out by chance
    places = (np.arange(n) + np.random.default_rng(seed).random(n)) / max(n, 1)
    return [at(float(place)) for place in places]


def kill_after(runs: Runs, delay: float, measured: list[float]) -> int:
    """Start a run and kill it after `delay` seconds; one that ends earlier corrects `measured`."""
    process = runs.start()
    start = time.perf_counter()
    while time.perf_counter() < start + delay:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            measured[0] = min(measured[0], time.perf_counter() - start)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def counted_kills(runs: Runs, numbers: list[int]) -> list[Callable[[], int]]:
    """Kills before operations by their number."""

    def before(number: int) -> Callable[[], int]:
        def moment() -> int:
            process = runs.start(fault_layer.killing(number))
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

        return moment

    return [before(number) for number in numbers]


def every_fault(place: Path) -> dict[str, Any]:
    """Each operation fails with each error, once and lastingly; the same checks as after a kill."""
    place.mkdir(parents=True)
    publish.write_report = fault_cases.plain_page  # type: ignore[assignment]
    study = fault_cases.make_study(place)
    whole = [place / "whole", place / "whole-cache"]
    with fault_layer.watched(fault_layer.passing, *whole) as log:
        fault_cases.run(study, *whole)
    digest = content_digest(whole[0])
    faults, n_raised, begun = [], 0, time.perf_counter()
    cases = list(itertools.product(range(1, len(log) + 1), fault_cases.ERRORS, (False, True)))
    for at, number, lasting in cases:
        hook = fault_layer.failing(at, number, lasting=lasting)
        try:
            error = fault_cases.fault_and_go_on(study, digest, place, hook)
            n_raised += error is not None
            if error is not None:
                fault_cases.assert_clean(error, number, place)
        except Exception as fault:
            faults.append(f"{log[at - 1]} {os.strerror(number)} lasting={lasting}: {fault!r}")
    seconds = round(time.perf_counter() - begun, 1)
    shown = {"faults": faults[:_MOST_SHOWN], "n_faults": len(faults)}
    return {"cases": len(cases), "refused": n_raised, **shown, "seconds": seconds}


def main() -> int:
    """Run the campaigns that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="kills at random moments")
    parser.add_argument("--renames", action="store_true", help="a kill between each write and its rename")
    parser.add_argument("--operations", action="store_true", help="a kill before every operation")
    parser.add_argument("--faults", action="store_true", help="a failing disk at every operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a new one)")
    options = parser.parse_args()
    place = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    summary: dict[str, Any] = {}
    if options.kills:
        runs = _prepared(place / "random", make_study)
        expected, duration, log = undisturbed(runs)
        found = campaign(runs, random_kills(runs, options.kills, duration, options.seed), expected)
        summary["random"] = {"duration": round(duration, 2), "operations": len(log), **found}
    if options.renames or options.operations:
        runs = _prepared(place / "counted", fault_cases.make_study, plain=True)
        expected, duration, log = undisturbed(runs)
        numbers = [i for i, (name, _) in enumerate(log, start=1) if options.operations or name == "rename"]
        found = campaign(runs, counted_kills(runs, numbers), expected)
        summary["counted"] = {"duration": round(duration, 2), "operations": len(log), **found}
    if options.faults:
        summary["faults"] = every_fault(place / "faults")
    print(json.dumps(summary))
    if options.folder is None:
        shutil.rmtree(place, ignore_errors=True)
    return int(any(part["faults"] for part in summary.values()))


def _prepared(place: Path, make: Callable[[Path], Path], *, plain: bool = False) -> Runs:
    place.mkdir(parents=True)
    return Runs(make(place), place, plain=plain)


if __name__ == "__main__":
    sys.exit(main())
