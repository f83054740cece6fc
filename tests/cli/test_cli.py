"""The command `brainalign`: exit codes, streams, one-line errors, and how fast it answers."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from study_cases import make_folder

from brainalign import cli
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, MemoryBudgetError


def brainalign(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "brainalign", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_run_writes_results_and_says_where(command, study_file, tmp_path):
    """Results go to stdout, progress to stderr, and the exit code is 0."""
    one = ("--output", tmp_path / "out", "--set", 'analyses=["cka"]')
    done = brainalign("run", study_file, *one)
    assert done.returncode == 0, done.stderr
    assert "2 cells computed; 0 kept" in done.stdout
    assert "load the dataset" in done.stderr
    assert "load the dataset" not in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    again = command("run", study_file, *one)
    assert "nothing to compute" in again.out
    page = command("report", tmp_path / "out", "--output", tmp_path / "again.html")
    assert page.out.strip().endswith("again.html")


def test_check_in_json(command, study_file):
    """`check --json` prints the plan for machines and nothing else."""
    done = command("check", study_file, "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert plan["subjects"][0]["folds"] == [[16, 8]] * 3
    text = command("check", study_file)
    assert "folds (training / test rows): 16 / 8, 16 / 8, 16 / 8" in text.out
    assert "a score speaks of: new stimuli" in text.out


def test_init_writes_a_study_that_passes_check(command, tmp_path, monkeypatch):
    """`init` on arrays writes a study file; the path goes to stdout, the next step to stderr."""
    folder = make_folder(tmp_path / "recording")
    monkeypatch.chdir(tmp_path)
    done = command("init", folder, "--output", "study.toml")
    assert done.code == 0, done.err
    assert done.out.strip().endswith("study.toml")
    assert "next: brainalign check" in done.err
    assert command("check", "study.toml").code == 0
    again = command("init", folder, "--output", "study.toml")
    assert again.code == 2
    assert "study.toml" in again.err
    assert command("init", tmp_path / "none").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("run", "none.toml"), 2, "no study file at none.toml"),
        (("check", "small.toml", "--set", "encoding.n_fold=3"), 2, "closest: 'n_folds'"),
        (("check", "small.toml", "--set", "dataset.options.desgn=trials"), 2, "closest: design"),
        (("check", "small.toml", "--device", "cuda:7"), 2, "cuda:7"),
        (("datasets", "info", "objects9"), 2, "objects92"),
        (("datasets", "fetch", "object2vec81"), 2, "pickle"),
        (("models", "layers", "efficientnet_lite1"), 2, "closest: efficientnet_lite0"),
        (("models", "layers", "timm:resnet50"), 2, "brainalign[vision]"),
        (("report", "."), 2, "holds no finished study"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_errors_are_one_line(command, study_file, tmp_path, monkeypatch, arguments, code, text):
    """A wrong input exits with 2 and one line that names what to do; no traceback."""
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.code == code
    assert text in done.err
    assert "Traceback" not in done.err
    if arguments[0] != "nonsense":
        assert len([line for line in done.err.splitlines() if "error:" in line]) == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("a value"), 2, "error: a value"),
        (DataNotFoundError("no file"), 2, "error: no file"),
        (CorruptFileError("torn"), 1, "error: torn"),
        (MemoryBudgetError("too large"), 1, "error: too large"),
        (OSError(errno.ENOSPC, "No space left on device", "cells/x"), 1, "cells/x: the disk is full; free"),
        (OSError(errno.EROFS, "Read-only file system"), 1, "the disk is read-only"),
        (OSError(errno.EIO, "Input/output error", "a"), 1, "a: the disk reports an error"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a: this user may not read or write it"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "your quota on this disk is used up"),
        (ZeroDivisionError("a fault"), 1, "a fault (unexpected; --debug shows where)"),
        (RuntimeError(""), 1, "RuntimeError (unexpected"),
        (KeyboardInterrupt(), 130, "interrupted; what was committed is kept"),
    ],
)
def test_every_error_has_one_line_and_a_code(command, monkeypatch, error, code, text):
    """Wrong input exits with 2, the machine's faults with 1, Ctrl-C with 130; each says one line."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("brainalign.study.settings.read_study", fail)
    done = command("run", "x.toml")
    assert done.code == code
    assert text in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err


def test_interrupt_outside_of_the_app(command, monkeypatch):
    """Ctrl-C is told wherever it strikes; a command that keeps nothing does not speak of keeping."""

    def strike(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", strike)
    assert command("doctor").err == "interrupted\n"
    assert "the same command goes on" in command("results", "rerun", "x").err


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_interrupted_run_goes_on(study_file, tmp_path):
    """A real SIGINT in the middle: exit code 130, a clean line, and the same command finishes."""
    run = ("run", study_file, "--output", tmp_path / "out", "--set", 'analyses=["cka"]')
    slow = (
        "import sys, time\nimport brainalign.study.run as module\nreal = module.analyse\n"
        "def analyse(*a):\n    print('at work', flush=True)\n    time.sleep(60 if calls else 0)\n"
        "    calls.append(1)\n    return real(*a)\n"
        f"calls = []\nmodule.analyse = analyse\nsys.argv = ['brainalign', *{[str(w) for w in run]!r}]\n"
        "from brainalign.cli import main\nmain()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(2):
        assert child.stdout.readline().strip() == "at work"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted; what was committed is kept, the same command goes on from there" in errors
    assert "Traceback" not in errors
    done = brainalign(*run)
    assert "1 cell computed; 1 kept" in done.stdout


def test_overruled_guard_and_replace(command, study_file, tmp_path):
    """`allow` is loud above and below the numbers; other settings are refused and --replace removes them."""
    run = ("run", study_file, "--output", tmp_path / "out", "--set", 'analyses=["encoding"]')
    assert "!!!" not in command(*run).out
    refused = command(*run, "--set", "allow=a pilot")
    assert refused.code == 2
    assert "allow none -> a pilot" in refused.err
    assert "--replace" in refused.err
    done = command(*run, "--set", "allow=a pilot", "--replace")
    assert done.code == 0, done.err
    loud = '!!! A GUARD AGAINST LEAKAGE WAS OVERRULED ("a pilot"): these scores may be inflated'
    lines = done.out.splitlines()
    assert lines[0] == loud
    assert lines.count(loud) == 2
    found = json.loads(command(*run, "--set", "allow=a pilot", "--json").out)
    assert found["notes"] == [loud.removeprefix("!!! ")]


def test_debug_shows_the_traceback(command):
    """--debug adds the traceback, wherever it stands."""
    for arguments in (("--debug", "run", "none.toml"), ("run", "none.toml", "--debug")):
        done = command(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err


def test_version(command):
    """--version prints the version of the package and nothing else."""
    import brainalign as package

    assert command("--version").out == f"brainalign {package.__version__}\n"


def test_damaged_results_exit_with_one(command, results):
    """A damaged file is no fault of the input: exit code 1, the file is named."""
    file = next((results / "cells").glob("cka-sharp-*/scores-000.h5"))
    file.write_bytes(file.read_bytes()[:-1])
    done = command("report", results)
    assert done.code == 1
    assert "scores-000.h5" in done.err


def test_datasets_and_models_for_machines(command):
    """The lists come as JSON."""
    found = json.loads(command("datasets", "list", "--json").out)
    assert {"macaque_v4", "objects92", "object2vec81", "folder"} <= {card["name"] for card in found}
    assert all(len(file["sha256"]) == 64 for card in found for file in card["files"])
    info = json.loads(command("datasets", "info", "macaque_v4", "--json").out)
    assert info["licence"].startswith("GPL-3.0")
    assert "pixels" in json.loads(command("models", "list", "--json").out)
    layers = json.loads(command("models", "layers", "pixels", "--json").out)
    assert layers[0]["layer"] == "pixels"


def test_datasets_and_models_in_words(command):
    """The lists and a dataset's card as text: size, licence, command, options; layers with their names."""
    assert "macaque_v4" in command("datasets", "list").out
    card = command("datasets", "info", "macaque_v4").out
    assert "fetch      brainalign datasets fetch macaque_v4" in card
    assert "option     session:" in card
    assert "pixels" in command("models", "list").out
    assert "pixels" in command("models", "layers", "pixels").out


def test_every_command_has_an_example(command):
    """Each command's help ends with an example of its use."""
    groups = {None: "", "results": "results", "datasets": "datasets", "models": "models"}
    for group in groups:
        top = command(*([group] if group else []), "--help").out
        names = [line.split()[0] for line in top[top.index("Commands:") :].splitlines()[1:] if line.strip()]
        assert names
        for name in names:
            if name not in groups:
                words = [group, name] if group else [name]
                assert f"Example: brainalign {' '.join(words)}" in command(*words, "--help").out


def test_help_answers_within_a_second():
    """`--help` takes under a second (best of five) and loads no heavy package."""
    best = 9.0
    for _ in range(5):
        start = time.perf_counter()
        assert brainalign("--help").returncode == 0
        best = min(best, time.perf_counter() - start)
    assert best < 1.0


def test_import_loads_the_standard_library_only():
    """`import brainalign` brings no third-party package and takes under 0.3 s (best of five)."""
    code = (
        "import sys, time\nbefore = set(sys.modules)\nstart = time.perf_counter()\nimport brainalign\n"
        "seconds = time.perf_counter() - start\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(seconds, sorted(new - set(sys.stdlib_module_names) - {'brainalign'}))"
    )
    best = 9.0
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        seconds, names = out.split(" ", 1)
        assert names.strip() == "[]"
        best = min(best, float(seconds))
    assert best < 0.3


def test_datasets_and_wrong_studies_load_no_heavy_package(tmp_path):
    """`datasets`, `doctor` and `check` of a wrong study leave torch, scikit-learn and nilearn alone."""
    (tmp_path / "x.toml").write_text('name = "x"\n[dataset]\nname = "nothing"\n[[models]]\nname = "pixels"\n')
    for arguments in (["datasets", "list"], ["doctor"], ["check", str(tmp_path / "x.toml")]):
        code = (
            f"import sys\nsys.argv = ['brainalign', *{arguments!r}]\nfrom brainalign.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "print('LOADED', [m for m in ('torch', 'sklearn', 'nilearn') if m in sys.modules])"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.splitlines()[-1] == "LOADED []"


def test_public_names_are_the_declared_ones():
    """Every declared name resolves, and an unknown one is an AttributeError."""
    import brainalign as ba

    for name in ba.__all__:
        assert getattr(ba, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fit_encodin'"):
        _ = ba.fit_encodin
