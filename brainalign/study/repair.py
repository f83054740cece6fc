"""Make results whole again: damaged parts step aside, pages are written anew from whole cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from brainalign.errors import DataNotFoundError, InputError
from brainalign.storage.atomic import folder_lock, make_folder, move, remove, remove_leftovers, sync
from brainalign.storage.lock import LOCK_NAME
from brainalign.storage.record import write_record
from brainalign.study.record import CELLS, DAMAGED, FIGURES, MANIFEST, OURS, RECORD
from brainalign.study.verification import (
    Finding,
    cache_entries,
    known_state,
    run_step,
    verify_entry,
    verify_results,
    verify_study,
)


def repair(place: Path) -> list[Finding]:
    """Do what `brainalign.study.verification.repair_results` says."""
    if not place.is_dir():
        raise DataNotFoundError(f"there is no folder {place}; give the --output folder of a run")
    if not any((place / name).exists() for name in OURS):
        return _repair_cache(place)
    with folder_lock(place):
        remove_leftovers(place, place / CELLS, place / FIGURES)
        return _repair_study(place)


def _repair_study(place: Path) -> list[Finding]:
    found = verify_study(place)
    known = known_state(place)
    if known.record is None:
        return [_moved_cell(place, f) for f in _per_cell(found)] + [f for f in found if f.cell is None]
    out = []
    if any(f.path == RECORD for f in found):
        if (place / RECORD).exists():
            _quarantine(place, RECORD)
        write_record(place / RECORD, known.record)
    out += [_moved_cell(place, f) if not _absent(f) else f for f in _per_cell(found)]
    for finding in (f for f in found if f.cell is None):
        out.append(_repair_page(place, finding))
    whole = all((place / CELLS / name).is_dir() for name in known.record["order"])
    if whole and out:
        from brainalign.study.publish import publish

        publish(place, known.record, always=True)
    elif out:
        remove(place / MANIFEST)  # the pages show cells that are gone
        sync(place)
        out = [_postponed(place, f) for f in out]
    return out


def _per_cell(found: Iterable[Finding]) -> list[Finding]:
    """One finding for each cell: its first."""
    first: dict[str, Finding] = {}
    for finding in found:
        if finding.cell is not None:
            first.setdefault(finding.cell, finding)
    return list(first.values())


def _absent(finding: Finding) -> bool:
    return finding.path.count("/") == 1 and finding.problem in ("is gone", "is not computed yet")


def _moved_cell(place: Path, finding: Finding) -> Finding:
    assert finding.cell is not None
    to = _quarantine(place, f"{CELLS}/{finding.cell}")
    rest = (
        ""
        if finding.problem == "is no cell of this study"
        else f"; {run_step(place)} computes only this cell"
    )
    return replace(finding, next_step=f"moved to {to}{rest}")


def _repair_page(place: Path, finding: Finding) -> Finding:
    if "no figure of this report" in finding.problem or "is a copy of a page" in finding.problem:
        return replace(finding, next_step=f"moved to {_quarantine(place, finding.path)}")
    if finding.path == RECORD:
        return replace(finding, next_step=f"restored from {MANIFEST}")
    return replace(finding, next_step="written anew from the cells")


def _postponed(place: Path, finding: Finding) -> Finding:
    if finding.next_step != "written anew from the cells":
        return finding
    return replace(finding, next_step=f"{run_step(place)} writes it anew when it has computed the cells")


def _quarantine(place: Path, name: str) -> str:
    """Move a file or folder aside under a name that is free; return where it lies now."""
    aside = make_folder(place / DAMAGED)
    wanted = aside / Path(name).name
    target, number = wanted, 1
    while target.exists():
        number += 1
        target = wanted.with_name(f"{wanted.name}-{number}")
    move(place / name, target)
    return f"{DAMAGED}/{target.name}"


def _repair_cache(place: Path) -> list[Finding]:
    out = []
    entries = cache_entries(place)
    if entries == [place]:
        raise InputError(f"{place} is one entry of a cache; give the folder above it, {place.parent}")
    if not entries:
        verify_results(place)  # says that there is nothing
    for entry in entries:
        found = verify_entry(entry, place)
        if found and not found[0].path.endswith(LOCK_NAME):
            to = _quarantine(place, entry.relative_to(place).as_posix())
            step = f"the entry was moved to {to}; it is extracted again when it is needed"
            found = [replace(f, next_step=step) for f in found]
        out += found
    return out
