"""Run a study: compute what is missing, write the results and the report."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign._arrays import resolve_device
from brainalign.encoding import versions
from brainalign.errors import DataNotFoundError, InputError
from brainalign.features import extract_features
from brainalign.report import write_report
from brainalign.storage.atomic import folder_lock, write_text_atomic
from brainalign.study.analyses import analyse
from brainalign.study.cells import Cell, commit_cell, is_committed, make_cells, read_cell
from brainalign.study.inputs import SubjectInputs, check_design, subject_inputs
from brainalign.study.results import results_table, write_table
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import RDMs, Responses, Scores

OWN_FEATURES = "features:"
Log = Callable[[str], None]


@dataclass(frozen=True)
class StudyResult:
    """Where the results lie and what this run did.

    `table` is the content of ``results.tsv``; `stages` (name, seconds) in order.
    """

    output: Path
    table: pd.DataFrame
    computed: int
    kept: int
    run_id: str
    stages: list[tuple[str, float]] = field(default_factory=list)


def run_study(
    study: Study,
    output: str | Path,
    *,
    root: str | Path | None = None,
    device: str = "auto",
    cache: str | Path | None = "auto",
    log: Log | None = None,
) -> StudyResult:
    """Run a study, or finish one that was interrupted.

    Parameters
    ----------
    study : as `read_study` returns it
    output : folder of the results; cells that are committed there are kept
    root : data root (default: ``BRAINALIGN_DATA``, then the user's cache)
    device : ``"auto"``, ``"cpu"``, ``"cuda"``
    cache : folder of extracted activations, ``"auto"`` (the user's cache) or None
    log : called with one line per stage

    Returns
    -------
    StudyResult

    Notes
    -----
    Writes ``results.tsv``, ``provenance.json``, ``report.html``, ``figures/`` and
    ``cells/``. Each cell is committed whole; a run on a folder where another run is at
    work is refused. A finished study is read and not computed again.
    """
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"--output {folder}: a file is in the way; name a folder") from error
    except OSError as error:
        raise InputError(
            f"--output {folder} cannot be made: {error.strerror}; name another folder"
        ) from error
    with folder_lock(folder):
        return _Runner(study, folder, root, device, cache, log or (lambda line: None)).run()


@dataclass
class _Runner:
    study: Study
    folder: Path
    root: str | Path | None
    device: str
    cache: str | Path | None
    log: Log
    stages: list[tuple[str, float]] = field(default_factory=list)

    def run(self) -> StudyResult:
        start = time.perf_counter()
        cells_folder = self.folder / "cells"
        cells_folder.mkdir(exist_ok=True)
        all_cells: list[Cell] = []
        computed = 0
        loads = subject_inputs(self.study, self.root)
        inputs = next(loads, None)
        self._stage("load the dataset", start)
        while inputs is not None:
            check_design(self.study, inputs)
            cells = make_cells(self.study, inputs.subject, inputs.digest)
            all_cells += cells
            computed += self._subject(inputs, cells, cells_folder)
            inputs = next(loads, None)
        run_id = hashlib.sha256("".join(c.key for c in all_cells).encode()).hexdigest()[:12]
        table = self._write(all_cells, cells_folder, run_id, computed)
        return StudyResult(self.folder, table, computed, len(all_cells) - computed, run_id, self.stages)

    def _stage(self, name: str, start: float, note: str = "") -> None:
        seconds = time.perf_counter() - start
        self.stages.append((name, seconds))
        self.log(f"{name:<58s} {seconds:7.1f} s  {note}".rstrip())

    def _subject(self, inputs: SubjectInputs, cells: list[Cell], cells_folder: Path) -> int:
        computed = 0
        for model in self.study.models:
            todo = [c for c in cells if c.model == model and not is_committed(cells_folder, c)]
            if not todo:
                continue
            start = time.perf_counter()
            features = self._features(inputs, model)
            widest = max(part.n_units for part in features.values())
            self._stage(
                f"features   {model.shown}",
                start,
                f"{len(features)} layers, {len(next(iter(features.values())).samples)} stimuli, "  # type: ignore[arg-type]
                f"up to {widest} units",
            )
            for cell in todo:
                start = time.perf_counter()
                scores, rdms = analyse(self.study, cell, inputs, features)
                facts = {"seconds": round(time.perf_counter() - start, 2), "versions": versions()}
                commit_cell(cells_folder, cell, scores, rdms, facts)
                self._stage(f"{cell.analysis:<10s} {model.shown}", start, _headline(scores))
                computed += 1
        return computed

    def _features(self, inputs: SubjectInputs, model: ModelSettings) -> dict[str, Responses]:
        if model.name.startswith(OWN_FEATURES):
            return own_features(inputs, model)
        stimuli = inputs.dataset.stimuli
        if stimuli is None or stimuli.loader is None:
            own = ", ".join(f"{OWN_FEATURES}{name}" for name in inputs.dataset.features)
            raise InputError(
                f"model {model.name!r} needs the stimuli themselves, which dataset "
                f"{self.study.dataset.name!r} does not hold"
                + (f"; use its own features: {own}" if own else "")
            )
        options: dict[str, Any] = {}
        if model.layers is not None or self.study.layers != "**":
            options["layers"] = model.layers if model.layers is not None else self.study.layers
        if model.pool is not None:
            options["pool"] = model.pool
        assert inputs.responses.samples is not None
        shown = pd.unique(inputs.responses.samples["stimulus_id"].dropna())
        return extract_features(
            model.name,
            stimuli.select(list(shown)),
            image_size=model.image_size,
            untrained=model.untrained,
            batch_size=model.batch_size,
            random_state=self.study.random_state,
            device=self.device,
            cache=self.cache,
            **options,
        )

    def _write(self, cells: Sequence[Cell], cells_folder: Path, run_id: str, computed: int) -> pd.DataFrame:
        start = time.perf_counter()
        scores: list[Scores] = []
        rdms: list[RDMs] = []
        records = []
        for cell in cells:
            found = read_cell(cells_folder, cell)
            if found is None:
                raise DataNotFoundError(f"cell {cell.folder} is gone; run the study again")
            scores += found[0]
            rdms += [] if found[1] is None else [found[1]]
            records.append({"cell": cell.folder, **found[2]})
        table = results_table(scores, run_id)
        target = self.folder / "results.tsv"
        finished = target.is_file() and (self.folder / "report.html").is_file()
        if computed or not finished or _written_run(self.folder) != run_id:
            write_table(table, target)
            provenance = self._provenance(run_id, records)
            write_report(
                [*scores, *merge_rdms(rdms)],
                self.folder / "report.html",
                title=self.study.title or self.study.name,
                figures_folder=self.folder / "figures",
                provenance=provenance,
            )
            write_text_atomic(self.folder / "provenance.json", json.dumps(provenance, indent=1) + "\n")
            self._stage("report", start)
        return table

    def _provenance(self, run_id: str, records: list[dict[str, Any]]) -> dict[str, Any]:
        study = self.study.model_dump()
        # folders of this machine say nothing to a reader elsewhere
        study["dataset"]["options"] = {
            key: Path(value).name if isinstance(value, str) and ("/" in value or "\\" in value) else value
            for key, value in study["dataset"]["options"].items()
        }
        return {
            "run_id": run_id,
            "study": study,
            "versions": {**versions(), "python": platform.python_version()},
            "system": f"{platform.system()} {platform.machine()}",
            "device": str(resolve_device(self.device)),
            "cells": records,
        }


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


def own_features(inputs: SubjectInputs, model: ModelSettings) -> dict[str, Responses]:
    """Features that came with the dataset (``features:NAME``), as one layer of that name."""
    from brainalign._checks import unknown_name

    name = model.name.removeprefix(OWN_FEATURES)
    if name not in inputs.dataset.features:
        raise unknown_name("features of the dataset", name, inputs.dataset.features)
    return {name: inputs.dataset.features[name]}


def _written_run(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return str(found["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _headline(scores: list[Scores]) -> str:
    """The claim of an encoding cell, or the best layer of an RSA or CKA cell, in a few words."""
    table = results_table(scores, "")
    if scores[0].identity["analysis"] == "encoding":
        row = table.iloc[0]
        bound = "no ceiling" if pd.isna(row["ceiling"]) else f"ceiling {row['ceiling']:.3f}"
        return f"{row['roi']}: mean {row['metric']} {row['value']:.3f} ({bound})"
    best = table.iloc[int(table["value"].fillna(-np.inf).to_numpy().argmax())]
    return f"{best['roi']}: highest {best['metric']} {best['value']:.3f} in {best['layer']}"
