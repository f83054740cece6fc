"""What this machine offers: graphics processors, cores, memory, folders. Nothing heavy is imported."""

from __future__ import annotations

import glob
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DRIVER_TIMEOUT_S = 1.2
_PROBE_TIMEOUT_S = 120.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SLURM_CPUS_PER_TASK")
_PROBE = """
import json, torch
found = torch.cuda.is_available()
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if found else []
if found:
    torch.ones(8, device="cuda").sum().item()
print(json.dumps({"cuda": found, "names": names, "threads": torch.get_num_threads()}))
"""


@dataclass(frozen=True)
class DeviceFacts:
    """The device that ``device="auto"`` takes.

    `cuda`: whether a CUDA device is to be expected or, where `proved`, was computed on.
    `names` of the processors; `torch_build` is "cpu", "cuda 12.8", "rocm 6.4" or "" (no
    torch); `hidden` when CUDA_VISIBLE_DEVICES hides all; `error` of the probe.
    """

    cuda: bool
    names: list[str]
    torch_build: str
    hidden: bool = False
    proved: bool = False
    error: str = ""


@dataclass(frozen=True)
class CoreFacts:
    """Cores of the machine, those that this process may use, and thread settings of the environment."""

    cores: int
    usable: int
    threads: dict[str, str]


@dataclass(frozen=True)
class FolderFacts:
    """A folder that runs use: free bytes (None: cannot be asked), and whether it takes files.

    `obstacle` says why it takes none.
    """

    path: str
    exists: bool
    writable: bool
    free_bytes: int | None
    obstacle: str = ""


def device_facts(*, probe: bool = False) -> DeviceFacts:
    """Find out whether torch will see a CUDA device.

    Without `probe` the driver is asked for its processors and the installed torch for its
    build, which takes milliseconds and proves nothing about their fit. With it, a child
    process imports torch and computes on the device (seconds).
    """
    build = _torch_build()
    if probe:
        return _probed(build)
    names = _graphics_processors()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    expected = bool(names) and build not in ("", "cpu") and not hidden
    return DeviceFacts(expected, names, build, hidden=bool(names) and hidden)


def _torch_build() -> str:
    """Read which build of torch is installed from its file of versions, as text."""
    try:
        file = importlib.metadata.distribution("torch").locate_file("torch/version.py")
        text = Path(str(file)).read_text(encoding="utf-8")
    except (importlib.metadata.PackageNotFoundError, OSError):
        return ""
    for name, shown in (("cuda", "cuda"), ("hip", "rocm")):
        found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            return f"{shown} {found[1]}"
    return "cpu"


def _graphics_processors() -> list[str]:
    """Names of the processors whose device files this process can reach."""
    reachable = {path.removeprefix("/dev/nvidia") for path in glob.glob("/dev/nvidia[0-9]*")}
    names = []
    for file in sorted(glob.glob("/proc/driver/nvidia/gpus/*/information")):
        try:
            text = Path(file).read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        # a container without the device still sees the host's list
        if fields.get("Device Minor", "").strip() in reachable:
            names.append(fields.get("Model", "NVIDIA processor").strip())
    if not names and os.path.exists("/dev/kfd"):
        names.append("AMD processor")
    return names or _asked_driver()


def _asked_driver() -> list[str]:
    """Names by nvidia-smi, where the kernel shows no list (Windows and its Linux)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own program, found on PATH, fixed arguments
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_DRIVER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if not done.returncode else []


def _probed(build: str) -> DeviceFacts:
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, fixed text
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {}
    except subprocess.TimeoutExpired:
        return DeviceFacts(False, [], build, error=f"torch gave no answer within {_PROBE_TIMEOUT_S:.0f} s")
    except (OSError, ValueError, IndexError) as error:
        return DeviceFacts(False, [], build, error=f"torch could not be asked ({error})")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return DeviceFacts(False, _graphics_processors(), build, error=last)
    names = [str(name) for name in found["names"]]
    return DeviceFacts(bool(found["cuda"]), names, build, proved=True)


def core_facts() -> CoreFacts:
    """Count the cores, and those that the scheduler and the control group leave to this process."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    quota = _core_quota()
    if quota is not None:
        usable = max(1, min(usable, quota))
    return CoreFacts(cores, usable, {v: os.environ[v] for v in _THREAD_VARIABLES if os.environ.get(v)})


def _core_quota(file: str = "/sys/fs/cgroup/cpu.max") -> int | None:
    """Cores that the control group grants, rounded up; None without a limit."""
    try:
        quota, period = Path(file).read_text().split()[:2]
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def folder_facts(path: str | os.PathLike[str]) -> FolderFacts:
    """Look at a folder, or at the one in which it would be made; a file is made there for a moment."""
    folder = Path(path).expanduser()
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return FolderFacts(str(folder), False, False, None, f"{place} is a file")
    obstacle = ""
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        obstacle = error.strerror or str(error)
    try:
        free: int | None = shutil.disk_usage(place).free
    except OSError:
        free = None
    return FolderFacts(str(folder), folder.is_dir(), not obstacle, free, obstacle)
