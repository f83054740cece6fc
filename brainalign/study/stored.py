"""Results that lie on disk: their scores, and what must be said of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError, InputError
from brainalign.storage import load, read_info
from brainalign.types import Scores


@dataclass(frozen=True)
class StoredResults:
    """Scores of a study's folder or of one file; `provenance` is empty for a file."""

    path: Path
    scores: list[Scores] = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_results(path: str | Path) -> StoredResults:
    """Read every Scores of a finished study, or of one saved file.

    Raises
    ------
    DataNotFoundError
        There is no finished study, and no such file.
    InputError
        The file holds something other than scores.
    CorruptFileError
        A file of the results is damaged or gone.
    """
    place = Path(path)
    if place.is_file():
        part = load(place)
        if not isinstance(part, Scores):
            raise InputError(
                f"{place.name} holds {type(part).__name__}; expected Scores, or a study's folder"
            )
        return StoredResults(place, [part])
    provenance = read_provenance(place)
    scores = [_load_cell(file, place) for file in _score_files(place, provenance)]
    return StoredResults(place, scores, provenance)


def read_provenance(folder: str | Path) -> dict[str, Any]:
    """Read ``provenance.json`` of a study's folder.

    Raises
    ------
    DataNotFoundError
        The folder holds no finished study.
    CorruptFileError
        The file is not what a run writes.
    """
    file = Path(folder) / "provenance.json"
    if not file.is_file():
        raise DataNotFoundError(
            f"{folder} holds no finished study (no provenance.json); give the --output folder of a run"
        )
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found["study"]["name"], str) or not isinstance(found["versions"], dict):
            raise TypeError("a name or the versions are missing")
        for cell in found["cells"]:
            _ = str(cell["cell"]), list(cell["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"{file} cannot be read ({type(error).__name__}: {error}); brainalign verify {folder} says more, "
            "brainalign repair mends what can be mended"
        ) from error
    return found


def _score_files(folder: Path, provenance: Mapping[str, Any]) -> Iterator[Path]:
    for cell in provenance["cells"]:
        for name in cell["files"]:
            if str(name).startswith("scores"):
                yield folder / "cells" / str(cell["cell"]) / str(name)


def _load_cell(file: Path, folder: Path) -> Scores:
    try:
        part = load(file)
    except (CorruptFileError, DataNotFoundError) as error:
        raise CorruptFileError(
            f"{error}. Run: brainalign verify {folder}, then brainalign repair {folder}"
        ) from error
    if not isinstance(part, Scores):
        raise CorruptFileError(f"{file} holds {type(part).__name__}; expected Scores")
    return part


def standing_notes(folder: str | Path) -> list[str]:
    """What must stand above the numbers of a study: simulated responses, guards that were overruled.

    One file of each cell is looked into; all scores of a cell share these facts.
    """
    place = Path(folder)
    infos = []
    for cell in read_provenance(place)["cells"]:
        names = [str(name) for name in cell["files"] if str(name).startswith("scores")]
        infos += [read_info(place / "cells" / str(cell["cell"]) / name)["info"] for name in names[:1]]
    return notes_of(infos)


def notes_of(infos: list[dict[str, Any]]) -> list[str]:
    """The lines that several `Scores.info` ask for, each once.

    Examples
    --------
    >>> notes_of([{"allow": "a pilot"}, {}])
    ['A GUARD AGAINST LEAKAGE WAS OVERRULED ("a pilot"): these scores may be inflated']
    """
    out = []
    if any(info.get("simulated") for info in infos):
        out.append("SIMULATED responses: they were made from layers of a network and tell nothing of a brain")
    for reason in dict.fromkeys(str(info["allow"]) for info in infos if info.get("allow")):
        shown = " ".join(reason.split())
        out.append(f'A GUARD AGAINST LEAKAGE WAS OVERRULED ("{shown}"): these scores may be inflated')
    return out


def planted_layers(folder: str | Path) -> list[dict[str, str]]:
    """Rows of the report's table planted against recovered layer; empty where nothing was planted."""
    from brainalign.report.groups import group_scores
    from brainalign.report.planted import planted_rows

    return planted_rows(group_scores(read_results(folder).scores)[0])
