"""Cells of the grid: what each one computes, how it is committed, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brainalign
from brainalign.design import TIME_INDEX
from brainalign.errors import BrainAlignError, CorruptFileError
from brainalign.storage import load, save, verify
from brainalign.storage.atomic import atomic_folder, is_passing
from brainalign.storage.record import checksum, read_record, write_record
from brainalign.study.record import analysis_settings, model_settings, shared_settings
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import RDMs, Scores

CELL_RECORD = "cell.json"
_CODE = 2  # raise when a change of the code changes what a cell holds


@dataclass(frozen=True)
class Cell:
    """One subject, one model, one analysis: the unit that is computed and committed whole."""

    subject: str
    model: ModelSettings
    analysis: str
    key: str

    @property
    def folder(self) -> str:
        """Readable and unique name of the cell's folder."""
        parts = (self.analysis, self.model.shown, self.subject)
        text = "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", p).strip("_") for p in parts if p)
        return f"{text[:80]}-{self.key[:10]}"

    def described(self) -> dict[str, str]:
        """Key and names, as the record of a study keeps them."""
        return {
            "key": self.key,
            "subject": self.subject,
            "model": self.model.shown,
            "analysis": self.analysis,
        }


def make_cells(
    study: Study, subject: str, digest: str, models: Sequence[ModelSettings] | None = None
) -> list[Cell]:
    """List the cells of one subject, models outermost (so that features are extracted once).

    `models` are the study's own where they are not given; the time index has encoding cells only.
    """
    shared = shared_settings(study)
    out = []
    for model in study.models if models is None else models:
        for analysis in study.analyses:
            if model.name == TIME_INDEX and analysis != "encoding":
                continue
            described = {
                "code": _CODE,
                "version": brainalign.__version__,
                "inputs": digest,
                "model": model_settings(model),
                "analysis": analysis,
                "options": analysis_settings(study, analysis),
                "settings": shared,
            }
            text = json.dumps(described, sort_keys=True)
            out.append(Cell(subject, model, analysis, hashlib.sha256(text.encode()).hexdigest()))
    return out


def commit_cell(
    root: Path, cell: Cell, scores: Sequence[Scores], rdms: RDMs | None, facts: Mapping[str, Any]
) -> None:
    """Write a cell into a temporary folder and move it into place: it is there whole or not at all.

    `cell.json`, written last, holds key, size and sha256 of each file, and `facts`.
    """
    with atomic_folder(root / cell.folder) as temporary:
        names = []
        for number, part in enumerate(scores):
            names.append(f"scores-{number:03d}.h5")
            save(part, temporary / names[-1])
        if rdms is not None:
            names.append("rdms.h5")
            save(rdms, temporary / names[-1])
        record = {
            "cell": cell.folder,
            "key": cell.key,
            "files": names,
            "checksums": {name: checksum(temporary / name) for name in names},
            **facts,
        }
        write_record(temporary / CELL_RECORD, record)


def damages_of_cell(folder: Path, key: str | None = None) -> list[tuple[str, str]]:
    """Read every byte of a cell; return the name of each damaged or foreign file and what is wrong.

    `key` is the one that the cell must have, where it is known.
    """
    try:
        record = read_record(folder / CELL_RECORD)
        checksums = {str(name): dict(known) for name, known in record["checksums"].items()}
        own = (record["cell"], record["key"])
    except FileNotFoundError:
        return [(CELL_RECORD, "is gone")]
    except (CorruptFileError, KeyError, TypeError, ValueError, AttributeError) as error:
        return [(CELL_RECORD, f"cannot be read ({error})")]
    found = [_damage(folder / name, known) for name, known in checksums.items()]
    out = [(name, text) for name, text in zip(checksums, found, strict=True) if text]
    if own[0] != folder.name or key not in (None, own[1]):
        out.append((CELL_RECORD, f"belongs to another cell or run ({own[0]}, key {own[1][:12]})"))
    extra = [p.name for p in folder.iterdir() if p.name not in (*checksums, CELL_RECORD)]
    return out + [
        (name, "is not a file of this cell") for name in sorted(extra) if not is_passing(folder / name)
    ]


def _damage(path: Path, known: Mapping[str, Any]) -> str:
    """What is wrong with a file of a cell, as exactly as it can be said; empty where nothing is."""
    try:
        found = checksum(path)
        if found == known:
            return ""
        if path.suffix == ".h5":
            verify(path)
    except FileNotFoundError:
        return "is gone"
    except (BrainAlignError, OSError) as error:
        return f"is damaged ({error})"
    if found["size"] != known["size"]:
        return f"has {found['size']} bytes, expected {known['size']}"
    return "is not the file that was written: its sha256 does not fit"


def read_cell(root: Path, name: str, key: str) -> tuple[list[Scores], RDMs | None, dict[str, Any]] | None:
    """Read the committed cell in the folder `name` below `root`, or None where there is none.

    Raises
    ------
    CorruptFileError
        A committed file is damaged or gone, or the cell is another one than `key` says.
    """
    if not is_committed(root, name, key):
        return None
    folder = root / name
    record = read_record(folder / CELL_RECORD)
    parts = [load(folder / str(file)) for file in record["files"]]
    scores = [part for part in parts if not isinstance(part, RDMs)]
    rdms = [part for part in parts if isinstance(part, RDMs)]
    return scores, rdms[0] if rdms else None, record


def is_committed(root: Path, name: str, key: str) -> bool:
    """Tell whether a cell has been committed; every byte of it is compared with its sha256.

    Raises
    ------
    CorruptFileError
        A committed file is damaged or gone, or the cell is another one than `key` says.
    """
    folder = root / name
    if not folder.is_dir():
        return False
    found = damages_of_cell(folder, key)
    if found:
        file, text = found[0]
        raise CorruptFileError(
            f"{folder / file} {text}; run `brainalign repair {root.parent}`, which moves the cell aside, and "
            "then the study again: only this cell is computed anew"
        )
    return True
