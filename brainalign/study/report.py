"""The report anew, from results that lie on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainalign.errors import CorruptFileError, DataNotFoundError
from brainalign.report import write_report
from brainalign.storage import folder_lock, load
from brainalign.study.publish import merge_rdms
from brainalign.types import RDMs, Scores


def report_from(results: Path, output: Path | None = None) -> Path:
    """Write the report of a study's folder, or of one saved file, and return its path.

    Raises
    ------
    DataNotFoundError
        There is nothing that a report could show.
    InputError
        A run is at work in the folder.
    """
    if results.is_file():
        target = output or results.with_suffix(".html")
        return Path(write_report([load(results)], target))
    provenance_file = results / "provenance.json"
    if not provenance_file.is_file():
        raise DataNotFoundError(
            f"{results} holds no finished study (no provenance.json); give the --output folder of a run"
        )
    try:
        provenance: dict[str, Any] = json.loads(provenance_file.read_text(encoding="utf-8"))
        cells = [(str(c["cell"]), list(c["files"])) for c in provenance["cells"]]
        title = provenance["study"].get("title") or provenance["study"]["name"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{provenance_file} cannot be read ({error}); run the study again") from error
    parts = [load(results / "cells" / folder / name) for folder, names in cells for name in names]
    scores: list[Scores | RDMs] = [part for part in parts if isinstance(part, Scores)]
    found = [*scores, *merge_rdms([part for part in parts if isinstance(part, RDMs)])]
    # a run on the same folder replaces the same pages
    with folder_lock(results):
        return Path(
            write_report(
                found,
                output or results / "report.html",
                title=title,
                figures_folder=results / "figures",
                provenance=provenance,
            )
        )
