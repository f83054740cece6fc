"""Whether results are, byte for byte, what a run wrote; and how they are made whole again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError
from brainalign.storage.atomic import is_passing
from brainalign.storage.lock import LOCK_NAME, holder_of
from brainalign.storage.record import checksum, read_record
from brainalign.study.cells import CELL_RECORD, damages_of_cell
from brainalign.study.content import cell_digests, content_digest
from brainalign.study.record import CELLS, DAMAGED, FIGURES, MANIFEST, OURS, RECORD

__all__ = ["Finding", "cell_digests", "content_digest", "repair_results", "verify_results"]

_CACHE_KEY = "key.json"
_ENTRY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Finding:
    """Something that is not as a run wrote it.

    `path` counts from the folder that was verified; `cell` is the name of the cell's folder
    where the finding belongs to one, else None.
    """

    path: str
    problem: str
    next_step: str
    cell: str | None = None


@dataclass(frozen=True)
class KnownState:
    """What says how a study must be: its record, its manifest, what is wrong with them."""

    record: dict[str, Any] | None
    manifest: dict[str, Any] | None
    findings: list[Finding]


def verify_results(folder: str | Path) -> list[Finding]:
    """Read every byte of results, or of a cache of activations, and compare it with its sha256.

    Parameters
    ----------
    folder : the --output folder of a study, a folder of cached activations (all entries, or
        one)

    Returns
    -------
    list of Finding
        Empty where everything is as a run wrote it and the study is finished. Damaged,
        truncated, absent, foreign and doubled files are told apart. Files of other names
        beside the pages, which a run never looks at, are left alone, unless they are copies
        of a page.

    Raises
    ------
    DataNotFoundError
        There is no such folder, or nothing of brainalign in it.

    Notes
    -----
    Imports neither torch nor matplotlib for a study. Time: about that of one sha256 over
    the files.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataNotFoundError(f"there is no folder {place}; give the --output folder of a run")
    if any((place / name).exists() for name in OURS):
        holder = holder_of(place)
        if holder is not None:
            return [_at_work(holder)]
        return verify_study(place)
    entries = cache_entries(place)
    if not entries:
        raise DataNotFoundError(
            f"{place} holds neither results of a study ({RECORD}, {CELLS}) nor cached activations "
            f"({_CACHE_KEY}); give the --output folder of a run"
        )
    return [finding for entry in entries for finding in verify_entry(entry, place)]


def repair_results(folder: str | Path) -> list[Finding]:
    """Make results whole again as far as that needs no computing.

    Damaged cells and foreign files are moved to ``damaged/`` (nothing is deleted); a lost
    ``study.json`` is restored from the manifest; table, report and figures are written anew
    where every cell is whole. Damaged entries of a cache of activations are moved aside as
    well, and are extracted again when they are asked for.

    Returns
    -------
    list of Finding
        What was wrong, with what was done about it and what is left to do as `next_step`.

    Raises
    ------
    DataNotFoundError
        As `verify_results`.
    InputError
        A run is at work in the folder.
    WriteError
        The disk is full, fails or is read-only.
    """
    from brainalign.study.repair import repair

    return repair(Path(folder))


def _at_work(holder: str) -> Finding:
    return Finding(
        LOCK_NAME,
        f"a run is at work here ({holder}); its results are not finished",
        "wait until it has ended, then verify again",
    )


def verify_study(place: Path) -> list[Finding]:
    """Verify the folder of a study, whoever may hold it."""
    known = known_state(place)
    out = list(known.findings)
    if known.record is None:
        return out + _orphans(place)
    cells = list(_verify_cells(place, known.record, known.manifest))
    if known.manifest is not None:
        damaged = {finding.cell for finding in cells}
        whole = [name for name in known.manifest["cells"] if name not in damaged]
        cells += _swapped_cells(place, whole, known.manifest["cells"])
    out += cells
    if known.manifest is not None:
        out += _verify_pages(place, known.record, known.manifest)
    elif not known.findings and not cells:
        out.append(_unfinished(place, known.record))
    return out


def known_state(place: Path) -> KnownState:
    """Read record and manifest; the manifest stands in for a record that is lost."""
    findings: list[Finding] = []
    record, manifest = _read(place, RECORD, findings), _read(place, MANIFEST, findings)
    restorable = manifest is not None and isinstance(manifest.get("record"), dict)
    if record is None:
        step = (
            f"`brainalign repair {place}` restores it from {MANIFEST}"
            if restorable
            else "which study this is cannot be known; restore the file from a copy, or run the study with "
            "another --output"
        )
        problem = next((f.problem for f in findings if f.path == RECORD), "is gone")
        findings = [f for f in findings if f.path != RECORD]
        findings.append(Finding(RECORD, problem, step))
        record = dict(manifest["record"]) if manifest is not None and restorable else None
    elif restorable and manifest is not None and manifest["record"] != record:
        findings.append(Finding(MANIFEST, f"belongs to another run than {RECORD}", _pages_step(place)))
        manifest = None
    return KnownState(record, manifest, findings)


def _read(place: Path, name: str, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        found = read_record(place / name)
        missing = [key for key in _FIELDS[name] if not isinstance(found.get(key), (dict, list))]
        if not missing:
            return found
        problem = f"is a record of something else (it has no {missing[0]!r})"
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        problem = f"is damaged ({error})"
    findings.append(Finding(name, problem, _pages_step(place)))
    return None


_FIELDS = {RECORD: ("cells", "order", "subjects"), MANIFEST: ("files", "cells", "record")}


def _verify_cells(
    place: Path, record: Mapping[str, Any], manifest: Mapping[str, Any] | None
) -> Iterator[Finding]:
    root = place / CELLS
    present = {p.name: p for p in root.iterdir() if not is_passing(p)} if root.is_dir() else {}
    for name, path in sorted(present.items()):
        if name not in record["cells"] or not path.is_dir():
            yield Finding(
                f"{CELLS}/{name}",
                "is no cell of this study",
                f"`brainalign repair {place}` moves it to {DAMAGED}/",
                name,
            )
            continue
        for file, problem in damages_of_cell(path, record["cells"][name]["key"]):
            yield Finding(f"{CELLS}/{name}/{file}", problem, _cell_step(place), name)
    for name in record["order"]:
        if name not in present:
            yield Finding(
                f"{CELLS}/{name}",
                "is gone" if manifest is not None else "is not computed yet",
                f"{run_step(place)} computes it",
                name,
            )


def _swapped_cells(place: Path, names: Iterable[str], digests: Mapping[str, str]) -> Iterator[Finding]:
    """Cells that are whole, but not those from which the pages were made."""
    for name in names:
        if checksum(place / CELLS / name / CELL_RECORD)["sha256"] != digests[name]:
            yield Finding(
                f"{CELLS}/{name}/{CELL_RECORD}",
                "is not the one from which the report was made",
                _cell_step(place),
                name,
            )


def _verify_pages(place: Path, record: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    step = _pages_step(place)
    files: Mapping[str, Any] = manifest["files"]
    for name, known in files.items():
        problem = _page_problem(place / name, known)
        if problem:
            yield Finding(name, problem, step)
    if list(manifest["cells"]) != list(record["order"]):
        yield Finding(MANIFEST, f"lists other cells than {RECORD}", step)
    aside = f"`brainalign repair {place}` moves it to {DAMAGED}/"
    figures = place / FIGURES
    for path in sorted(figures.iterdir()) if figures.is_dir() else ():
        if f"{FIGURES}/{path.name}" not in files and not is_passing(path):
            yield Finding(f"{FIGURES}/{path.name}", "is no figure of this report", aside)
    sizes = {known["size"]: name for name, known in files.items()}
    for path in sorted(p for p in place.iterdir() if p.is_file() and p.name not in (*OURS, LOCK_NAME)):
        if path.stat().st_size in sizes and checksum(path) in files.values():
            yield Finding(path.name, "is a copy of a page under another name", aside)


def _page_problem(path: Path, known: Mapping[str, Any]) -> str:
    try:
        found = checksum(path)
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if found["size"] != known["size"]:
        return f"has {found['size']} bytes, expected {known['size']}"
    return "" if found == known else "was changed after it was written: its sha256 does not fit"


def _unfinished(place: Path, record: Mapping[str, Any]) -> Finding:
    n = len(record["order"])
    return Finding(
        MANIFEST,
        f"is gone: all {n} cells are there, but table and report are not, or may be of an earlier run",
        _pages_step(place),
    )


def _orphans(place: Path) -> list[Finding]:
    """The files of a study that nothing describes."""
    root = place / CELLS
    names = (
        [p.name for p in sorted(root.iterdir()) if p.is_dir() and not is_passing(p)] if root.is_dir() else []
    )
    return [
        Finding(f"{CELLS}/{name}/{file}", problem, _cell_step(place), name)
        for name in names
        for file, problem in damages_of_cell(root / name)
    ]


def run_step(place: Path) -> str:
    """The command that computes what is not there."""
    return f"`brainalign run STUDY --output {place}`"


def _cell_step(place: Path) -> str:
    return (
        f"`brainalign repair {place}` moves the cell to {DAMAGED}/; then {run_step(place)} computes only it"
    )


def _pages_step(place: Path) -> str:
    return f"`brainalign repair {place}` writes it anew from the cells"


def cache_entries(place: Path) -> list[Path]:
    """Entries of a cache: the folder itself, or those in it (or in its folder ``features``)."""
    if (place / _CACHE_KEY).exists():
        return [place]
    return sorted(p for top in (place, place / "features") for p in top.glob("*") if _is_entry(p))


def _is_entry(path: Path) -> bool:
    return _ENTRY.fullmatch(path.name) is not None and any(not is_passing(p) for p in path.iterdir())


def verify_entry(entry: Path, place: Path) -> list[Finding]:
    """Verify one entry of a cache; paths count from `place`."""
    # brings torch; a study is verified without it
    from brainalign.features.cache import CacheEntry

    holder = holder_of(entry)
    if holder is not None:
        return [replace(_at_work(holder), path=(entry / LOCK_NAME).relative_to(place).as_posix())]
    step = (
        f"`brainalign repair {place}` moves the entry to {DAMAGED}/; it is extracted again when it is needed"
    )
    return [
        Finding(path.relative_to(place).as_posix(), problem, step)
        for path, problem in CacheEntry(entry.parent, entry.name).damages()
    ]
