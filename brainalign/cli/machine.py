"""`brainalign doctor`: what stands in the way of a run on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainalign.cli.options import Json, Root, tell

if TYPE_CHECKING:
    from brainalign.study.doctor import DatasetFacts, Diagnosis
    from brainalign.study.installation import Extra
    from brainalign.study.machine import DeviceFacts, FolderFacts


def doctor(
    root: Root = None,
    output: Annotated[Path, typer.Option(help="Folder that results are to go to.")] = Path("."),
    device: Annotated[
        bool, typer.Option("--device", help="Ask torch itself and compute on the device (seconds).")
    ] = False,
    json_: Json = False,
) -> None:
    """Look at this machine and say what to mend.

    Versions, device, memory, disk, datasets, extras. The exit code is 1 where
    something that every run needs is broken.

    Example: brainalign doctor --json
    """
    from brainalign.study.doctor import examine

    found = examine(root=root, output=output, probe_device=device)
    tell(json.dumps(found.to_json(), indent=1) if json_ else _text(found))
    if not found.ok:
        raise typer.Exit(1)


def _text(found: Diagnosis) -> str:
    from brainalign.study.doctor import gigabytes

    here = found.installation
    cores = f"{found.cores.usable} of {found.cores.cores} usable"
    threads = ", ".join(f"{name}={value}" for name, value in found.cores.threads.items())
    lines = [
        _row("brainalign", f"{here.brainalign}   Python {here.python}   {here.system}"),
        *_wrapped("packages", [f"{p.name} {p.version or p.state}" for p in here.packages]),
        _row("device", _device(found.device)),
        _row("cores", cores + (f"; {threads}" if threads else "")),
        _row("memory", f"{gigabytes(found.memory_bytes)} free"),
        *(_row(name, _folder(folder)) for name, folder in found.folders.items()),
        _row("offline", "yes: no connection is made (BRAINALIGN_OFFLINE)" if found.offline else "no"),
        *_datasets(found.datasets),
        *(_row(f"extra {e.name}", _extra(e)) for e in here.extras),
    ]
    for problem in found.problems:
        lines.append(f"{'BROKEN' if problem.broken else 'note'}: {problem.text}; {problem.next_step}")
    if found.ok:
        lines.append("nothing is broken")
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"{name:<12s} {text}"


def _wrapped(name: str, words: list[str], width: int = 96) -> list[str]:
    """Words in as many rows as they need."""
    rows, row = [], ""
    for word in words:
        if row and len(row) + len(word) + 2 > width:
            rows.append(row + ",")
            row = word
        else:
            row = f"{row}, {word}" if row else word
    rows += [row] if row else []
    return [_row(name if number == 0 else "", text) for number, text in enumerate(rows)]


def _extra(extra: Extra) -> str:
    return "installed" if extra.installed else f"{', '.join(extra.missing)} missing: {extra.command}"


def _device(device: DeviceFacts) -> str:
    build = f"torch build: {device.torch_build or 'none'}"
    if device.error:
        return f"unknown: {device.error}"
    if device.cuda:
        how = "computed on it" if device.proved else "not tried; --device does"
        return f"cuda: {', '.join(device.names)} ({build}; {how})"
    seen = f"{', '.join(device.names)} not usable" if device.names else "no graphics processor found"
    return f"cpu ({seen}; {build})"


def _folder(folder: FolderFacts) -> str:
    from brainalign.study.doctor import gigabytes

    free = "" if folder.free_bytes is None else f"{gigabytes(folder.free_bytes)} free"
    state = "" if folder.exists or folder.obstacle else "not made yet"
    closed = "" if folder.writable else f"takes no files ({folder.obstacle})"
    return "   ".join(part for part in (folder.path, free, state, closed) if part)


def _datasets(datasets: list[DatasetFacts]) -> list[str]:
    rows = []
    for one in datasets:
        if one.state in ("complete", "partial"):
            there = one.n_files - len(one.missing)
            rows.append(_row("dataset", f"{one.name:<16s} {there} of {one.n_files} files   {one.folder}"))
    absent = [one for one in datasets if one.state == "absent"]
    public = [one.name for one in absent if one.command]
    rest = [one.name for one in absent if not one.command]
    if public:
        rows += _wrapped("not here", [*public[:-1], f"{public[-1]}: brainalign datasets fetch NAME"])
    if rest:
        rows += _wrapped("not here", [*rest[:-1], f"{rest[-1]}: brainalign datasets info NAME tells how"])
    return rows
