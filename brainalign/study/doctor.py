"""What stands in the way of a run on this machine: versions, device, memory, disk, recordings, extras."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from brainalign._memory import available_memory
from brainalign.errors import BrainAlignError, DataNotFoundError
from brainalign.study.installation import Installation, read_installation
from brainalign.study.machine import (
    CoreFacts,
    DeviceFacts,
    FolderFacts,
    core_facts,
    device_facts,
    folder_facts,
)

SCHEMA = 1
_LITTLE_MEMORY = 2_000_000_000
_LITTLE_DISK = 1_000_000_000
_NO_DISK = 50_000_000


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset by name. `state`: "complete", "partial", "absent", or "own files" where none are
    registered. `missing` files, and `folder` where it was found ("" where not).
    """

    name: str
    state: str
    folder: str
    n_files: int
    missing: list[str]
    bytes: int
    command: str


@dataclass(frozen=True)
class Problem:
    """What was found, what to do, and whether runs fail until it is done (`broken`)."""

    text: str
    next_step: str
    broken: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All that `brainalign doctor` knows.

    `ok` is False where something that every run needs is broken. `folders` has the keys
    output, cache and data (where BRAINALIGN_DATA or --root names one).
    """

    installation: Installation
    device: DeviceFacts
    cores: CoreFacts
    memory_bytes: int
    folders: dict[str, FolderFacts]
    offline: bool
    datasets: list[DatasetFacts]
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing that every run needs is broken."""
        return not any(p.broken for p in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as the JSON document of ``brainalign doctor --json``.

        Keys stay from release to release; a change of meaning raises ``schema``:
        ``schema`` 1; ``ok``; ``brainalign``, ``python``, ``system`` (text); ``packages``
        {name: {version, needed, state}}; ``extras`` {name: {installed, missing, command}};
        ``device`` {cuda, names, torch_build, hidden, proved, error}; ``cores`` {cores, usable,
        threads}; ``memory_bytes``; ``folders`` {name: {path, exists, writable, free_bytes,
        obstacle}}; ``offline``; ``datasets`` {name: {state, folder, n_files, missing, bytes,
        command}}; ``problems`` [{text, next_step, broken}].
        """
        found = self.installation
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "brainalign": found.brainalign,
            "python": found.python,
            "system": found.system,
            "packages": {p.name: _without_name(p) for p in found.packages},
            "extras": {e.name: {"installed": e.installed, **_without_name(e)} for e in found.extras},
            "device": asdict(self.device),
            "cores": asdict(self.cores),
            "memory_bytes": self.memory_bytes,
            "folders": {name: asdict(folder) for name, folder in self.folders.items()},
            "offline": self.offline,
            "datasets": {d.name: _without_name(d) for d in self.datasets},
            "problems": [asdict(p) for p in self.problems],
        }


def _without_name(fact: Any) -> dict[str, Any]:
    return {key: value for key, value in asdict(fact).items() if key != "name"}


def examine(
    *, root: str | Path | None = None, output: str | Path = ".", probe_device: bool = False
) -> Diagnosis:
    """Look at this machine without importing torch, scikit-learn or nilearn (under two seconds).

    Parameters
    ----------
    root : folder of the datasets (default: BRAINALIGN_DATA, then the user's cache)
    output : folder that results are to go to
    probe_device : ask torch itself, in a child process, and compute on the device (seconds)

    Examples
    --------
    >>> examine().to_json()["schema"]
    1
    """
    from data_loaders._root import cache_folder

    folders = {"output": folder_facts(output), "cache": folder_facts(cache_folder())}
    data = root if root is not None else os.environ.get("BRAINALIGN_DATA")
    if data:
        folders["data"] = folder_facts(data)
    datasets, unreadable = _datasets(root)
    found = Diagnosis(
        read_installation(),
        device_facts(probe=probe_device),
        core_facts(),
        available_memory(),
        folders,
        os.environ.get("BRAINALIGN_OFFLINE", "") not in ("", "0"),
        datasets,
        unreadable,
    )
    for check in CHECKS:
        found.problems.extend(check(found))
    found.problems.sort(key=lambda problem: not problem.broken)
    return found


def _datasets(root: str | Path | None) -> tuple[list[DatasetFacts], list[Problem]]:
    import data_loaders

    facts, problems = [], []
    for name in data_loaders.available():
        try:
            facts.append(_dataset(data_loaders.describe(name), root))
        except (BrainAlignError, ImportError, OSError) as error:
            step = "install what it names, or reinstall brainalign"
            problems.append(Problem(f"the dataset {name} cannot be looked at: {error}", step))
    return facts, problems


def _dataset(card: Any, root: str | Path | None) -> DatasetFacts:
    """Which registered files are there in their full size; contents are for `datasets verify`."""
    from data_loaders._root import dataset_folder

    total = sum(file.size for file in card.files)
    command = card.command if card.base_url else ""
    if not card.files:
        return DatasetFacts(card.name, "own files", "", 0, [], 0, command)
    try:
        folder = dataset_folder(card, root)
    except DataNotFoundError:
        if all(_is_shipped(file) for file in card.files):
            return DatasetFacts(
                card.name, "complete", "installed packages", len(card.files), [], total, command
            )
        names = [file.name for file in card.files]
        return DatasetFacts(card.name, "absent", "", len(names), names, total, command)
    missing = [file.name for file in card.files if not _has_size(folder / file.name, file.size)]
    state = "complete" if not missing else "absent" if len(missing) == len(card.files) else "partial"
    return DatasetFacts(card.name, state, str(folder), len(card.files), missing, total, command)


def _is_shipped(file: Any) -> bool:
    """Whether an installed package brings the file: its source path begins with that package."""
    package, _, inside = str(file.source_path).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    places = spec.submodule_search_locations if spec is not None else None
    return any(_has_size(Path(place) / inside, file.size) for place in places or [])


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _check_packages(found: Diagnosis) -> list[Problem]:
    if not found.installation.known:
        text = "brainalign runs from a folder that pip did not install, so what it needs is not known"
        return [Problem(text, "pip install -e . in that folder")]
    return [
        Problem(
            f"{p.name} is missing"
            if p.state == "missing"
            else f"{p.name} {p.version} is too old (needed: {p.needed})",
            f"pip install --upgrade '{p.pip_name}'",
            broken=True,
        )
        for p in found.installation.packages
        if p.state != "ok"
    ]


def _check_device(found: Diagnosis) -> list[Problem]:
    device = found.device
    if device.error:
        step = "pip install --force-reinstall torch, and see that the driver of the device is loaded"
        return [Problem(f"torch cannot be used: {device.error}", step, broken=True)]
    if device.hidden:
        text = "CUDA_VISIBLE_DEVICES hides every graphics processor: runs take the CPU"
        return [Problem(text, "unset CUDA_VISIBLE_DEVICES, or set it to 0")]
    if device.names and device.torch_build == "cpu":
        text = f"{device.names[0]} is there, and the installed torch computes on the CPU alone"
        return [Problem(text, "install a CUDA build of torch")]
    if device.proved and not device.cuda and (names := device_facts().names):
        text = f"{names[0]} is there, and torch ({device.torch_build}) finds no CUDA device"
        return [Problem(text, "install the driver that this build of torch asks for")]
    return []


def _check_cores(found: Diagnosis) -> list[Problem]:
    out = []
    for name, value in found.cores.threads.items():
        if not value.isdigit() or int(value) < 1:
            out.append(Problem(f"{name}={value} is no number of threads", f"unset {name}"))
        elif int(value) > found.cores.usable:
            text = f"{name}={value}, and {found.cores.usable} cores may be used: threads wait for one another"
            out.append(Problem(text, f"set {name}={found.cores.usable}"))
    return out


def _check_memory(found: Diagnosis) -> list[Problem]:
    if found.memory_bytes >= _LITTLE_MEMORY:
        return []
    text = f"{gigabytes(found.memory_bytes)} of memory are free"
    return [Problem(text, "close other programs; brainalign check STUDY says what a study needs")]


def _check_folders(found: Diagnosis) -> list[Problem]:
    steps = {
        "output": "give --output a folder that takes files",
        "cache": "set BRAINALIGN_CACHE to a folder that takes files",
    }
    out = []
    for name, step in steps.items():
        folder = found.folders[name]
        if not folder.writable:
            text = f"the {name} folder {folder.path} takes no files ({folder.obstacle})"
            out.append(Problem(text, step, broken=name == "cache"))
        elif folder.free_bytes is not None and folder.free_bytes < _LITTLE_DISK:
            text = f"{gigabytes(folder.free_bytes)} are free at the {name} folder {folder.path}"
            out.append(Problem(text, f"free some, or {step}", broken=folder.free_bytes < _NO_DISK))
    return out


def _check_datasets(found: Diagnosis) -> list[Problem]:
    out = []
    data = found.folders.get("data")
    if data is not None and not data.exists:
        text = f"the data folder {data.path} does not exist" + (
            f" ({data.obstacle})" if data.obstacle else ""
        )
        out.append(Problem(text, "set BRAINALIGN_DATA (or --root) to the folder of the datasets"))
    for dataset in found.datasets:
        if dataset.state == "partial":
            shown = ", ".join(dataset.missing[:3]) + (" ..." if len(dataset.missing) > 3 else "")
            text = (
                f"{dataset.name}: {len(dataset.missing)} of {dataset.n_files} files are missing or have "
                f"another size: {shown}"
            )
            out.append(Problem(text, dataset.command or f"brainalign datasets info {dataset.name}"))
    return out


CHECKS: tuple[Callable[[Diagnosis], list[Problem]], ...] = (
    _check_packages,
    _check_device,
    _check_cores,
    _check_memory,
    _check_folders,
    _check_datasets,
)


def gigabytes(size: int) -> str:
    """A size in words, for instance ``12.3 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
