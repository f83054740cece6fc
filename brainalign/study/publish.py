"""From the cells of a study to its table, report and figures, replaced together."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import CorruptFileError, DataNotFoundError
from brainalign.report import write_report
from brainalign.storage.atomic import (
    make_folder,
    move,
    refusals,
    remove,
    shown_as,
    sync,
    temporary_name,
    write_text_atomic,
)
from brainalign.storage.record import checksum, read_record, write_record
from brainalign.study.cells import CELL_RECORD, read_cell
from brainalign.study.record import CELLS, FIGURES, MANIFEST, PAGES, SCHEMA, run_id_of
from brainalign.study.results import results_table, write_table
from brainalign.types import RDMs, Scores

_OWN_FIGURE = re.compile(r"\d\d+_.*|scores\.tsv")


@dataclass(frozen=True)
class Published:
    """The table of a study, the name of its run, and whether anything had to be written."""

    table: pd.DataFrame
    run_id: str
    written: bool


def publish(folder: Path, record: Mapping[str, Any], *, always: bool = False) -> Published:
    """Write table, provenance, report, figures and, last of all, the manifest of a study.

    Everything is written into a folder of its own first and moved into place when all of it
    is on the disk, so that a full disk leaves the earlier pages as they were. What is there
    already is kept, unless `always`.

    Parameters
    ----------
    folder : the folder of the study, whose lock the caller holds
    record : content of its ``study.json``

    Raises
    ------
    DataNotFoundError
        A cell is not there.
    CorruptFileError
        A cell is damaged.
    WriteError
        The disk is full, fails or is read-only.
    """
    scores: list[Scores] = []
    rdms: list[RDMs] = []
    cells = []
    for name in record["order"]:
        found = read_cell(folder / CELLS, name, record["cells"][name]["key"])
        if found is None:
            raise DataNotFoundError(f"cell {name} is gone; run the study again")
        scores += found[0]
        rdms += [] if found[1] is None else [found[1]]
        cells.append(found[2])
    run_id = run_id_of([record["cells"][name]["key"] for name in record["order"]])
    table = results_table(scores, run_id)
    provenance = _provenance(run_id, record, cells)
    text = json.dumps(provenance, indent=1) + "\n"
    if not always and is_published(folder, text):
        return Published(table, run_id, False)
    staging = temporary_name(folder)
    try:
        with shown_as(folder, staging), refusals(folder / "report.html"):
            staging.mkdir()
            write_table(table, staging / "results.tsv")
            write_text_atomic(staging / "provenance.json", text)
            write_report(
                [*scores, *merge_rdms(rdms)],
                staging / "report.html",
                title=record["study"]["title"] or record["name"],
                figures_folder=staging / FIGURES,
                provenance=provenance,
            )
            write_record(staging / MANIFEST, _manifest(staging, folder, record, run_id))
            _move_into_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Published(table, run_id, True)


def _provenance(run_id: str, record: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ran, without times: the same cells give the same text."""

    def together(fact: str) -> str:
        return ", ".join(sorted({str(cell[fact]) for cell in cells if fact in cell}))

    return {
        "run_id": run_id,
        "study": record["study"],
        "versions": record["versions"],
        "system": together("system"),
        "device": together("device"),
        "inputs": record["subjects"],
        "cells": [{"cell": cell["cell"], "key": cell["key"], "files": cell["files"]} for cell in cells],
    }


def is_published(folder: Path, provenance: str) -> bool:
    """Tell whether pages with this provenance lie there, each as the manifest says."""
    try:
        manifest = read_record(folder / MANIFEST)
        whole = all(checksum(folder / name) == known for name, known in manifest["files"].items())
        return whole and (folder / "provenance.json").read_text(encoding="utf-8") == provenance
    except (OSError, KeyError, AttributeError, UnicodeDecodeError):
        return False


def _manifest(staging: Path, folder: Path, record: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Size and sha256 of every page and figure, the digest of every cell, and a copy of the record."""
    written = sorted(p for p in staging.rglob("*") if p.is_file())
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "files": {p.relative_to(staging).as_posix(): checksum(p) for p in written},
        "cells": {name: checksum(folder / CELLS / name / CELL_RECORD)["sha256"] for name in record["order"]},
        "record": dict(record),
    }


def _move_into_place(staging: Path, folder: Path) -> None:
    """Replace the pages; the manifest goes first and comes last, so a crash in between is seen."""
    remove(folder / MANIFEST)
    sync(folder)
    figures = make_folder(folder / FIGURES)
    made = sorted((staging / FIGURES).iterdir()) if (staging / FIGURES).is_dir() else []
    for path in made:
        os.replace(path, figures / path.name)
    names = {path.name for path in made}
    for path in figures.iterdir():
        if path.name not in names and _OWN_FIGURE.fullmatch(path.name):
            path.unlink()  # of an earlier report
    sync(figures)
    for name in PAGES:
        os.replace(staging / name, folder / name)
    move(staging / MANIFEST, folder / MANIFEST)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a finished study, or None where it is not finished.

    Raises
    ------
    CorruptFileError
        It is damaged.
    """
    try:
        manifest = read_record(folder / MANIFEST)
    except FileNotFoundError:
        return None
    missing = [name for name in ("files", "cells", "record") if not isinstance(manifest.get(name), dict)]
    if missing:
        raise CorruptFileError(f"{folder / MANIFEST} has no {missing[0]!r}; it is no manifest of a study")
    return manifest


def merge_rdms(parts: Sequence[RDMs]) -> list[RDMs]:
    """One table of RDMs per set of stimuli; the brain, which every model's cell holds, once."""
    by_stimuli: dict[tuple[str, ...], list[tuple[np.ndarray, dict[str, Any]]]] = {}
    first: dict[tuple[str, ...], RDMs] = {}
    for part in parts:
        key = tuple(part.stimulus_id)
        first.setdefault(key, part)
        rows = by_stimuli.setdefault(key, [])
        assert part.table is not None
        for matrix, row in zip(part.values, part.table.to_dict("records"), strict=True):
            label = {str(k): v for k, v in row.items()}
            if label.get("kind") == "model":
                label["roi"] = ""  # one network RDM serves every region that is most like it
            if label not in [known for _, known in rows]:
                rows.append((matrix, label))
    return [
        RDMs(
            np.stack([m for m, _ in rows]),
            first[key].stimulus_id,
            pd.DataFrame([r for _, r in rows]),
            first[key].info,
        )
        for key, rows in by_stimuli.items()
    ]
