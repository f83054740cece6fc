"""Cells of the grid: what each one computes, and how it is committed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brainalign
from brainalign.errors import CorruptFileError
from brainalign.storage import load, save
from brainalign.storage.atomic import write_text_atomic
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import RDMs, Scores

_CODE = 1  # raise when a change of the code changes what a cell holds


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


def make_cells(study: Study, subject: str, digest: str) -> list[Cell]:
    """List the cells of one subject, models outermost (so that features are extracted once)."""
    settings = {name: getattr(study, name).model_dump() for name in ("encoding", "rsa", "cka")}
    out = []
    for model in study.models:
        for analysis in study.analyses:
            described = {
                "code": _CODE,
                "version": brainalign.__version__,
                "dataset": study.dataset.name,
                "inputs": digest,
                "model": model.model_dump(exclude={"batch_size"}),
                "layers": study.layers,
                "analysis": analysis,
                "settings": settings[analysis],
                "random_state": study.random_state,
                "allow": study.allow,
            }
            text = json.dumps(described, sort_keys=True)
            out.append(Cell(subject, model, analysis, hashlib.sha256(text.encode()).hexdigest()))
    return out


def commit_cell(
    root: Path, cell: Cell, scores: Sequence[Scores], rdms: RDMs | None, facts: Mapping[str, Any]
) -> None:
    """Write a cell into a temporary folder and move it into place: it is there whole or not at all."""
    target = root / cell.folder
    temporary = root / f".{uuid.uuid4().hex}.part"
    temporary.mkdir(parents=True)
    try:
        names = []
        for number, part in enumerate(scores):
            names.append(f"scores-{number:03d}.h5")
            save(part, temporary / names[-1])
        if rdms is not None:
            names.append("rdms.h5")
            save(rdms, temporary / names[-1])
        record = {"key": cell.key, "files": names, **facts}
        write_text_atomic(temporary / "cell.json", json.dumps(record, indent=1))
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_cell(root: Path, cell: Cell) -> tuple[list[Scores], RDMs | None, dict[str, Any]] | None:
    """Read a committed cell, or None where it was not committed.

    Raises
    ------
    CorruptFileError
        A committed file is damaged or gone.
    """
    folder = root / cell.folder
    record_file = folder / "cell.json"
    if not record_file.is_file():
        return None
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        names = record["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(
            f"{record_file.parent.name}/cell.json cannot be read ({error}); delete the folder "
            f"{folder.name} and run the study again: only this cell is computed anew"
        ) from error
    if record.get("key") != cell.key:
        return None
    scores: list[Scores] = []
    rdms: RDMs | None = None
    for name in names:
        try:
            part = load(folder / str(name))
        except CorruptFileError as error:
            raise CorruptFileError(
                f"{error}; delete the folder {folder.name} and run the study again: only this cell is "
                "computed anew"
            ) from error
        if isinstance(part, RDMs):
            rdms = part
        else:
            scores.append(part)
    return scores, rdms, record


def is_committed(root: Path, cell: Cell) -> bool:
    """Tell whether a cell has been committed (its files are checked when they are read)."""
    return (root / cell.folder / "cell.json").is_file()
