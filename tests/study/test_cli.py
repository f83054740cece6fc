"""The command `brainalign`: exit codes, streams, one-line errors, and how fast it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest


def brainalign(*arguments, env=None, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "brainalign", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", **(env or {})},
    )


def test_run_writes_results_and_says_where(study_file, tmp_path):
    """Results go to stdout, progress to stderr, and the exit code is 0."""
    done = brainalign(
        "run", study_file, "--output", tmp_path / "out", env={"BRAINALIGN_CACHE": str(tmp_path / "c")}
    )
    assert done.returncode == 0, done.stderr
    assert "6 cells computed; 0 kept" in done.stdout
    assert "load the dataset" in done.stderr
    assert "load the dataset" not in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    again = brainalign(
        "run", study_file, "--output", tmp_path / "out", env={"BRAINALIGN_CACHE": str(tmp_path / "c")}
    )
    assert "nothing to compute" in again.stdout
    page = brainalign("report", tmp_path / "out", "--output", tmp_path / "again.html")
    assert page.stdout.strip().endswith("again.html")


def test_check_in_json(study_file):
    """`check --json` prints the plan for machines and nothing else."""
    done = brainalign("check", study_file, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["subjects"][0]["folds"] == [[16, 8]] * 3
    text = brainalign("check", study_file)
    assert "folds (training / test rows): 16 / 8, 16 / 8, 16 / 8" in text.stdout
    assert "a score speaks of: new stimuli" in text.stdout


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
def test_errors_are_one_line(study_file, tmp_path, arguments, code, text):
    """A wrong input exits with 2 and one line that names what to do; no traceback."""
    done = brainalign(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    if arguments[0] != "nonsense":
        assert len([line for line in done.stderr.splitlines() if "error:" in line]) == 1


def test_debug_shows_the_traceback(tmp_path):
    """--debug adds the traceback."""
    done = brainalign("--debug", "run", "none.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_damaged_results_exit_with_one(study_file, tmp_path):
    """A damaged file is no fault of the input: exit code 1, the file is named."""
    env = {"BRAINALIGN_CACHE": str(tmp_path / "c")}
    brainalign("run", study_file, "--output", tmp_path / "out", "--set", 'analyses=["cka"]', env=env)
    file = next((tmp_path / "out" / "cells").glob("cka-sharp-*/scores-000.h5"))
    file.write_bytes(file.read_bytes()[:-1])
    done = brainalign("report", tmp_path / "out", env=env)
    assert done.returncode == 1
    assert "scores-000.h5" in done.stderr


def test_datasets_and_models_for_machines():
    """The lists come as JSON."""
    found = json.loads(brainalign("datasets", "list", "--json").stdout)
    assert {"macaque_v4", "objects92", "object2vec81", "folder"} <= {card["name"] for card in found}
    assert all(len(file["sha256"]) == 64 for card in found for file in card["files"])
    info = json.loads(brainalign("datasets", "info", "macaque_v4", "--json").stdout)
    assert info["licence"].startswith("GPL-3.0")
    assert "pixels" in json.loads(brainalign("models", "list", "--json").stdout)
    layers = json.loads(brainalign("models", "layers", "pixels", "--json").stdout)
    assert layers[0]["layer"] == "pixels"


def test_demo_without_data_and_network_says_what_is_missing(tmp_path):
    """Nothing there and offline: what, how large, which licence, which command."""
    env = {
        "BRAINALIGN_DATA": str(tmp_path),
        "BRAINALIGN_OFFLINE": "1",
        "BRAINALIGN_CACHE": str(tmp_path / "c"),
    }
    done = brainalign("demo", "--output", tmp_path / "demo", env=env)
    assert done.returncode == 2
    assert "BRAINALIGN_OFFLINE" in done.stderr
    assert "macaque_v4" in done.stderr
    assert "MB" in done.stderr


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
    """`datasets` and `check` of a wrong study leave torch, scikit-learn and nilearn alone."""
    (tmp_path / "x.toml").write_text('name = "x"\n[dataset]\nname = "nothing"\n[[models]]\nname = "pixels"\n')
    for arguments in (["datasets", "list"], ["check", str(tmp_path / "x.toml")]):
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
