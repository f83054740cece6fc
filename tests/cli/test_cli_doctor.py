"""`brainalign doctor`: true, fast, complete, and with a next step for every problem."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import time

import pytest

from brainalign.study import doctor, installation, machine
from brainalign.study.machine import DeviceFacts, FolderFacts

KEYS = {
    "schema",
    "ok",
    "brainalign",
    "python",
    "system",
    "packages",
    "extras",
    "device",
    "cores",
    "memory_bytes",
    "folders",
    "offline",
    "datasets",
    "problems",
}


def problems(found):
    return {p["text"]: p for p in found["problems"]}


def test_json_has_the_documented_keys_and_true_versions(command, tmp_path):
    """Every key of the schema is there; versions are those that the metadata gives."""
    done = command("doctor", "--json", "--output", tmp_path)
    found = json.loads(done.out)
    assert done.code == (0 if found["ok"] else 1)
    assert set(found) == KEYS
    assert found["schema"] == 1
    assert found["packages"]["torch"]["version"] == importlib.metadata.version("torch")
    assert found["packages"]["numpy"]["state"] == "ok"
    assert found["extras"]["test"]["installed"] is True
    assert found["extras"]["vision"]["command"] == "pip install 'brainalign[vision]'"
    assert set(found["device"]) == {"cuda", "names", "torch_build", "hidden", "proved", "error"}
    assert set(found["folders"]) == {"output", "cache", "data"}
    assert found["folders"]["output"]["writable"] is True
    assert found["memory_bytes"] > 0
    assert set(found["datasets"]["macaque_v4"]) == {
        "state",
        "folder",
        "n_files",
        "missing",
        "bytes",
        "command",
    }


def test_text_says_what_the_json_says(command, tmp_path):
    """The words name versions, device, folders and the problem with its next step."""
    done = command("doctor", "--output", tmp_path)
    assert f"numpy {importlib.metadata.version('numpy')}" in done.out
    assert "graphics processor" in done.out or "cuda" in done.out
    assert str(tmp_path / "cache") in done.out
    assert "note: the data folder" in done.out
    assert "set BRAINALIGN_DATA" in done.out
    assert "brainalign datasets fetch NAME" in done.out


def test_takes_under_two_seconds_and_loads_nothing_heavy():
    """The whole command takes under 2 s (best of three) without torch, scikit-learn and nilearn."""
    code = (
        "import sys\nsys.argv = ['brainalign', 'doctor', '--json']\nfrom brainalign.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = ('torch', 'sklearn', 'nilearn', 'mne', 'matplotlib')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    best = 9.0
    for _ in range(3):
        start = time.perf_counter()
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        best = min(best, time.perf_counter() - start)
        assert out.splitlines()[-1] == "LOADED []"
    assert best < 2.0


def test_probe_asks_torch_itself():
    """The probed device is what torch says in a process of its own."""
    import torch

    found = machine.device_facts(probe=True)
    assert found.proved
    assert found.cuda == torch.cuda.is_available()
    assert found.error == ""


def test_probe_of_a_broken_torch_is_broken(monkeypatch, command, tmp_path):
    """A torch that cannot be imported gives exit code 1 and its own last line."""
    monkeypatch.setattr(machine, "_PROBE", "raise ImportError('libcudart.so.99 is missing')")
    done = command("doctor", "--device", "--json", "--output", tmp_path)
    assert done.code == 1
    found = json.loads(done.out)
    assert not found["ok"]
    assert "libcudart.so.99 is missing" in found["device"]["error"]
    assert found["problems"][0]["broken"]
    assert found["problems"][0]["text"].startswith("torch cannot be used")
    assert "unknown: ImportError" in command("doctor", "--device", "--output", tmp_path).out


@pytest.mark.parametrize(
    ("probe", "match"),
    [
        ("print('no json')", "could not be asked"),
        ("import time; time.sleep(30)", "no answer within 1 s"),
    ],
)
def test_probe_without_an_answer(monkeypatch, probe, match):
    """Whatever torch does instead of answering is told in words."""
    monkeypatch.setattr(machine, "_PROBE", probe)
    monkeypatch.setattr(machine, "_PROBE_TIMEOUT_S", 1.0)
    assert match in machine.device_facts(probe=True).error


def test_graphics_processors_need_their_device_file(tmp_path, monkeypatch):
    """A processor counts where the kernel lists it and its device file is here, not in a blind container."""
    information = tmp_path / "information"
    information.write_text("Model: \t\t NVIDIA H200\nDevice Minor: \t 3\n")
    device_files = []
    monkeypatch.setattr(
        machine.glob, "glob", lambda pattern: device_files if "dev" in pattern[:5] else [str(information)]
    )
    monkeypatch.setattr(machine, "_asked_driver", list)
    assert machine._graphics_processors() == []
    device_files.append("/dev/nvidia3")
    assert machine._graphics_processors() == ["NVIDIA H200"]
    information.unlink()
    assert machine._graphics_processors() == []


def test_driver_is_asked_where_the_kernel_shows_no_list(tmp_path, monkeypatch):
    """nvidia-smi gives the names; one that fails, hangs or is no program gives none."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for text, expected in (
        ("#!/bin/sh\necho NVIDIA A100\n", ["NVIDIA A100"]),
        ("#!/bin/sh\necho failed\nexit 9\n", []),
        ("#!/bin/sh\nsleep 5\n", []),
        ("\x00", []),
    ):
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setattr(machine, "_DRIVER_TIMEOUT_S", 0.5)
        assert machine._asked_driver() == expected
    program.unlink()
    assert machine._asked_driver() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "cuda 12.8"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'\n", "rocm 6.4"),
        ("cuda: Optional[str] = None\nhip = None\n", "cpu"),
        (None, ""),
    ],
)
def test_build_of_torch_is_read_as_text(tmp_path, monkeypatch, text, expected):
    """CUDA, ROCm and CPU builds are told apart without importing torch."""
    if text is not None:
        (tmp_path / "version.py").write_text(text)
    place = type("Place", (), {"locate_file": lambda self, name: tmp_path / "version.py"})()
    monkeypatch.setattr(machine.importlib.metadata, "distribution", lambda name: place)
    assert machine._torch_build() == expected


def test_expected_device(monkeypatch):
    """A processor, a build that uses it, and nothing that hides it: all three are needed."""
    monkeypatch.setattr(machine, "_graphics_processors", lambda: ["NVIDIA H200"])
    monkeypatch.setattr(machine, "_torch_build", lambda: "cuda 12.8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.device_facts().cuda
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = machine.device_facts()
    assert (hidden.cuda, hidden.hidden) == (False, True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(machine, "_torch_build", lambda: "cpu")
    assert not machine.device_facts().cuda


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (DeviceFacts(False, ["NVIDIA H200"], "cpu"), "computes on the CPU alone"),
        (DeviceFacts(False, ["NVIDIA H200"], "cuda 12.8", hidden=True), "CUDA_VISIBLE_DEVICES hides"),
        (DeviceFacts(False, [], "cuda 12.8", proved=True), "finds no CUDA device"),
    ],
)
def test_processor_that_will_not_be_used_is_noted(monkeypatch, device, text):
    """A graphics processor that runs will not take is a note with a step, and breaks nothing."""
    monkeypatch.setattr(doctor, "device_facts", lambda probe=False: device)
    if device.proved:
        calls = iter([device, DeviceFacts(True, ["NVIDIA H200"], "cuda 12.8")])
        monkeypatch.setattr(doctor, "device_facts", lambda probe=False: next(calls))
    found = doctor.examine(probe_device=device.proved)
    [problem] = [p for p in found.problems if text in p.text]
    assert problem.next_step
    assert not problem.broken


def test_missing_and_old_packages_are_broken(monkeypatch, command, tmp_path):
    """A package below its bound and one that is absent: exit code 1 and the pip command of each."""
    real = importlib.metadata.version

    def version(name):
        if name == "h5py":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.26.4" if name == "numpy" else real(name)

    monkeypatch.setattr(installation.importlib.metadata, "version", version)
    done = command("doctor", "--json", "--output", tmp_path)
    assert done.code == 1
    told = problems(json.loads(done.out))
    assert (
        told["numpy 1.26.4 is too old (needed: >=2.1)"]["next_step"] == "pip install --upgrade 'numpy>=2.1'"
    )
    assert told["h5py is missing"]["broken"]
    text = command("doctor", "--output", tmp_path).out
    assert "BROKEN: numpy 1.26.4 is too old" in text
    assert "nothing is broken" not in text


def test_source_tree_without_metadata(monkeypatch):
    """Without metadata of brainalign nothing is made up: the packages are not known."""
    from importlib.metadata import PackageNotFoundError

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation.importlib.metadata, "distribution", absent)
    found = doctor.examine()
    assert found.installation.packages == []
    assert any("did not install" in p.text for p in found.problems)


def test_extras_bring_the_extras_that_they_name(monkeypatch):
    """`dev` needs what `test` and `demo` need; an absent package of theirs is missing in `dev` too."""
    real = importlib.metadata.version

    def version(name):
        if name == "hypothesis":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(installation.importlib.metadata, "version", version)
    extras = {e.name: e for e in installation.read_installation().extras}
    assert "hypothesis" in extras["test"].missing
    assert "hypothesis" in extras["dev"].missing
    assert "hypothesis" not in extras["demo"].missing


def test_folders_that_take_no_files(tmp_path):
    """A path below a file takes no files; one that is not made yet is judged by the folder above it."""
    (tmp_path / "file").write_text("")
    below = machine.folder_facts(tmp_path / "file" / "out")
    assert not below.writable
    assert "is a file" in below.obstacle
    later = machine.folder_facts(tmp_path / "a" / "b")
    assert (later.exists, later.writable) == (False, True)
    assert later.free_bytes > 0
    assert not (tmp_path / "a").exists()


def test_read_only_folder_is_named(monkeypatch, command, tmp_path):
    """A cache on a read-only disk breaks runs; the variable that moves it is named."""

    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    done = command("doctor", "--json", "--output", tmp_path)
    assert done.code == 1
    [cache] = [p for t, p in problems(json.loads(done.out)).items() if t.startswith("the cache folder")]
    assert "Read-only file system" in cache["text"]
    assert "BRAINALIGN_CACHE" in cache["next_step"]


def test_full_disk_and_little_memory(monkeypatch):
    """Little room is a note, none is broken; little memory is a note."""
    monkeypatch.setattr(doctor, "available_memory", lambda: 10**9)
    monkeypatch.setattr(doctor, "folder_facts", lambda path: FolderFacts(str(path), True, True, 5 * 10**8))
    found = doctor.examine()
    assert any("1.0 GB of memory are free" in p.text for p in found.problems)
    assert any("0.5 GB are free at the output folder" in p.text for p in found.problems)
    assert found.ok
    monkeypatch.setattr(doctor, "folder_facts", lambda path: FolderFacts(str(path), True, True, 10**6))
    assert not doctor.examine().ok


def test_thread_settings(monkeypatch, tmp_path):
    """More threads than cores, and what is no number, are noted with the variable to set."""
    monkeypatch.setenv("OMP_NUM_THREADS", "999")
    monkeypatch.setenv("MKL_NUM_THREADS", "many")
    texts = [p.text for p in doctor.examine().problems]
    assert any(t.startswith("OMP_NUM_THREADS=999") for t in texts)
    assert "MKL_NUM_THREADS=many is no number of threads" in texts
    quota = tmp_path / "cpu.max"
    for text, expected in (("150000 100000", 2), ("max 100000", None), ("nonsense", None), ("5 0", None)):
        quota.write_text(text)
        assert machine._core_quota(str(quota)) == expected


def test_datasets_by_what_lies_there(command, tmp_path, monkeypatch):
    """Complete, partial and absent datasets are told apart by the sizes of their registered files."""
    import data_loaders

    card = data_loaders.describe("objects92")
    folder = tmp_path / "recordings" / "objects92"
    folder.mkdir(parents=True)
    for file in card.files:
        (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
        with open(folder / file.name, "wb") as handle:
            handle.truncate(file.size)
    monkeypatch.setenv("BRAINALIGN_DATA", str(tmp_path / "recordings"))
    found = json.loads(command("doctor", "--json").out)["datasets"]
    assert found["objects92"]["state"] == "complete"
    assert found["objects92"]["folder"] == str(folder)
    assert found["macaque_v4"]["state"] == "absent"
    assert found["folder"]["state"] == "own files"
    assert found["photographs"]["state"] == ("complete" if importlib.util.find_spec("skimage") else "absent")
    (folder / card.files[0].name).write_bytes(b"short")
    after = json.loads(command("doctor", "--json").out)
    assert after["datasets"]["objects92"]["state"] == "partial"
    assert after["datasets"]["objects92"]["missing"] == [card.files[0].name]
    [problem] = [p for t, p in problems(after).items() if t.startswith("objects92: 1 of")]
    assert problem["next_step"] == "brainalign datasets fetch objects92"


def test_offline_and_loader_that_fails(command, monkeypatch):
    """The offline flag is told; a loader that cannot be imported is a note, not the end."""
    import data_loaders

    real = data_loaders.describe

    def describe(name):
        if name == "objects92":
            raise ImportError("no module named nothing")
        return real(name)

    monkeypatch.setattr(data_loaders, "describe", describe)
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    done = command("doctor")
    assert "offline      yes" in done.out
    assert "the dataset objects92 cannot be looked at: no module named nothing" in done.out
    assert "macaque_v4" in done.out
