"""Studies that have been run: found again, listed, and run anew."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.storage.record import read_record
from brainalign.study.cells import CELL_RECORD
from brainalign.study.differences import TOLERANCE, Difference, diff_results
from brainalign.study.record import CELLS, FIGURES, MANIFEST, PAGES, RECORD
from brainalign.study.settings import Study, apply_override
from brainalign.study.stored import read_provenance
from brainalign.study.verification import verify_results

_DEEPEST = 6  # folders below the one that is looked through
_NOT_STUDIES = {CELLS, FIGURES}


@dataclass(frozen=True)
class StudyEntry:
    """One study folder. `state`: "complete", "unfinished" (its run did not come to the end),
    "incomplete" (files are missing) or "damaged"; `date` of its last change, UTC; `n_cells`
    of `n_planned` are there; `n_findings` of `verify_results`, None where it was not asked.
    """

    folder: str
    name: str
    state: str
    date: str
    dataset: str
    subjects: list[str]
    models: list[str]
    n_cells: int
    n_planned: int
    versions: dict[str, str]
    run_id: str
    simulated: bool
    allow: str
    n_findings: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields for machines."""
        return asdict(self)


def list_results(folder: str | Path, *, verify: bool = False) -> list[StudyEntry]:
    """Find the study folders at and below `folder`, newest first.

    Files are only looked for, unless `verify`: then every byte is read and compared.

    Raises
    ------
    DataNotFoundError
        There is no such folder.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataNotFoundError(f"there is no folder {place}; give one that holds results")
    entries = sorted((_entry(found) for found in _study_folders(place)), key=lambda e: e.date, reverse=True)
    if not verify:
        return entries
    return [replace(entry, n_findings=len(verify_results(entry.folder))) for entry in entries]


def _study_folders(place: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(place):
        depth = len(Path(here).relative_to(place).parts)
        if {"provenance.json", RECORD} & set(files):
            yield Path(here)
        folders[:] = sorted(
            f for f in folders if depth < _DEEPEST and not f.startswith(".") and f not in _NOT_STUDIES
        )


def _entry(folder: Path) -> StudyEntry:
    try:
        provenance = read_provenance(folder)
    except DataNotFoundError:
        return _without_provenance(folder, "unfinished")
    except CorruptFileError:
        return _without_provenance(folder, "damaged")
    study = provenance["study"]
    cells = [(folder / CELLS / str(c["cell"]), c["files"]) for c in provenance["cells"]]
    expected = [place / str(name) for place, names in cells for name in names]
    expected += [folder / name for name in PAGES]
    if not (folder / MANIFEST).is_file():  # the last file that a run writes
        return _without_provenance(folder, "unfinished")
    return StudyEntry(
        str(folder),
        str(study["name"]),
        "complete" if all(file.is_file() for file in expected) else "incomplete",
        _date(folder / "provenance.json"),
        str(_table(study, "dataset").get("name", "")),
        _subjects(folder),
        _model_names(study),
        sum((place / CELL_RECORD).is_file() for place, _ in cells),
        len(cells),
        {str(name): str(version) for name, version in provenance["versions"].items()},
        str(provenance.get("run_id", "")),
        bool(study.get("simulate")),
        str(study.get("allow") or ""),
    )


def _without_provenance(folder: Path, state: str) -> StudyEntry:
    """What can be said of a study that has not come to its end, from the record that a run begins with."""
    try:
        record = read_record(folder / RECORD)
    except (OSError, CorruptFileError):
        record = {}
    study, planned = _table(record, "study"), _table(record, "cells")
    return StudyEntry(
        str(folder),
        str(record.get("name") or folder.name),
        state,
        _date(folder),
        str(_table(study, "dataset").get("name", "")),
        [name for name in _table(record, "subjects") if name],
        _model_names(study),
        sum((folder / CELLS / str(name) / CELL_RECORD).is_file() for name in planned),
        len(planned),
        {str(name): str(version) for name, version in _table(record, "versions").items()},
        "",
        bool(study.get("simulate")),
        str(study.get("allow") or ""),
    )


def rerun(
    results: str | Path,
    output: str | Path | None = None,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    log: Callable[[str], None] | None = None,
) -> tuple[Path, Difference]:
    """Run a recorded study anew with the same settings, and compare.

    Activations are extracted anew too, in a cache of their own beside `output`, which is
    removed at the end; an interrupted rerun goes on with the same call.

    Parameters
    ----------
    results : folder of a finished study
    output : folder of the new results (default: that of `results` with ``-rerun``)
    root : data root, as in `run_study`
    device : as in `run_study`
    overrides : ``"KEY=VALUE"``, for paths that are others on this machine
    tolerance : as in `diff_results`
    log : called with one line per stage

    Returns
    -------
    Path, Difference
        The new folder, and what differs from `results` (as `a`).

    Raises
    ------
    DataNotFoundError
        There is no finished study, or its recordings are not here.
    InputError
        `output` holds a finished study, or the settings are not known to this version.
    """
    from brainalign.study.run import run_study

    source = Path(results).resolve()
    target = Path(output) if output is not None else source.parent / f"{source.name}-rerun"
    if (target / "provenance.json").exists():
        raise InputError(f"{target} holds a finished study; name another folder with --output")
    study = recorded_study(source, root=root, overrides=overrides)
    cache = target.parent / f".{target.name}.features"
    run_study(study, target, root=root, device=device, cache=cache, log=log)
    shutil.rmtree(cache, ignore_errors=True)
    return target, diff_results(source, target, tolerance=tolerance)


def recorded_study(
    folder: str | Path, *, root: str | Path | None = None, overrides: Sequence[str] = ()
) -> Study:
    """Return the settings of a finished study as they were recorded, with overrides as in `read_study`.

    Results say nothing of where files lay, only the last part of a path; it is looked for
    beside the results, here, and in the data root. Whether the recordings found there are
    the same is told by the digest of the inputs, which `rerun` compares.

    Raises
    ------
    DataNotFoundError
        A recording is at none of these places.
    InputError
        The settings are not known to this version of brainalign.
    """
    place = Path(folder)
    tables = json.loads(json.dumps(read_provenance(place)["study"]))
    for override in overrides:
        apply_override(tables, override)
    try:
        study = Study.model_validate(tables)
    except ValueError as error:
        found = " ".join(" ".join(str(error).split()).split()[:40])
        raise InputError(f"the settings recorded in {folder} do not fit this version: {found}") from None
    name = study.dataset.options.get("path")
    if not isinstance(name, str):
        return study
    options = {**study.dataset.options, "path": _find_recording(name, place, root)}
    dataset = study.dataset.model_copy(update={"options": options})
    return study.model_copy(update={"dataset": dataset})


def _find_recording(name: str, results: Path, root: str | Path | None) -> str:
    """Where a recording of that name lies: as it stands, beside the results, in the data root."""
    data = root if root is not None else os.environ.get("BRAINALIGN_DATA")
    above = list(results.resolve().parents)[:2]
    places = [Path(), *above, *([Path(data).expanduser()] if data else [])]
    for place in places:
        if (place / name).exists():
            return str((place / name).resolve())
    looked = ", ".join(str(p) for p in places[1:])
    raise DataNotFoundError(
        f"the recording {name!r} of this study is neither here nor in {looked}; say where it is with "
        f"--set dataset.options.path=PATH"
    )


def _table(study: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = study.get(name)
    return found if isinstance(found, Mapping) else {}


def _model_names(study: Mapping[str, Any]) -> list[str]:
    models = [m for m in study.get("models") or [] if isinstance(m, Mapping)]
    suffix = {True: " (untrained)", False: ""}
    return [str(m.get("label") or str(m.get("name", "")) + suffix[bool(m.get("untrained"))]) for m in models]


def _subjects(folder: Path) -> list[str]:
    try:
        with (folder / "results.tsv").open(encoding="utf-8", newline="") as handle:
            rows = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            found = dict.fromkeys(row.get("subject") or "" for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [name for name in found if name not in ("", "n/a")]


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
