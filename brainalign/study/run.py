"""Run a study: compute what is missing, write the results and the report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._arrays import resolve_device
from brainalign.errors import InputError
from brainalign.storage.atomic import folder_lock, make_folder, remove, remove_leftovers
from brainalign.storage.record import read_record, write_record
from brainalign.study.activations import features_of
from brainalign.study.analyses import analyse
from brainalign.study.cells import Cell, commit_cell, is_committed, make_cells
from brainalign.study.inputs import SubjectInputs, check_design, subject_inputs
from brainalign.study.publish import publish
from brainalign.study.record import (
    CELLS,
    FIGURES,
    MANIFEST,
    RECORD,
    clear,
    computed_part,
    describe_request,
    differences,
    extended,
    full_record,
    input_differences,
    read_study_record,
    refuse_differences,
)
from brainalign.study.results import results_table
from brainalign.study.settings import Study
from brainalign.types import Scores

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
    replace: bool = False,
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
    replace : remove the results of an earlier run that differs, once everything is loaded
        and checked, and start anew

    Returns
    -------
    StudyResult

    Raises
    ------
    InputError
        Another run holds the folder; its results were made with other inputs, settings or
        library versions (each is named) and `replace` is False; it holds files that are no
        study's. Models, analyses and subjects may come and go.
    CorruptFileError
        A committed cell or the record of the study is damaged.
    WriteError
        The disk is full, fails or is read-only; what was committed is kept.

    Notes
    -----
    Writes ``study.json`` (what the results are made from; before anything is computed),
    ``cells/``, ``results.tsv``, ``provenance.json``, ``report.html``, ``figures/`` and, last,
    ``manifest.json``. All subjects are loaded and checked before the first is computed; with
    several each is loaded twice, so that memory holds one. Each cell is committed whole: after
    a crash at any moment the same call goes on, computes at most one cell (or one shard of
    activations) a second time and ends with the same content. A finished study is read and
    not computed again.
    """
    folder = _output_folder(output)
    with folder_lock(folder):
        return _Runner(study, folder, root, device, cache, log or (lambda line: None), replace).run()


def _output_folder(output: str | Path) -> Path:
    folder = Path(output)
    try:
        return make_folder(folder)
    except InputError as error:
        raise InputError(f"--output {folder}: a file is in the way; name a folder") from error
    except OSError as error:
        raise InputError(
            f"--output {folder} cannot be made: {error.strerror}; name another folder"
        ) from error


@dataclass
class _Runner:
    study: Study
    folder: Path
    root: str | Path | None
    device: str
    cache: str | Path | None
    log: Log
    replace: bool
    stages: list[tuple[str, float]] = field(default_factory=list)

    def run(self) -> StudyResult:
        cells_folder = self.folder / CELLS
        remove_leftovers(self.folder, cells_folder, self.folder / FIGURES)
        request = describe_request(self.study)
        before = computed_part(read_study_record(self.folder, replace=self.replace), self.folder)
        if before is not None and not self.replace:
            refuse_differences(self.folder, differences(before, request))
        start = time.perf_counter()
        subjects, only = self._check_all(before)
        self._stage("load the dataset", start)
        cells = [cell for _, found in subjects.values() for cell in found]
        record = full_record(
            request,
            {name: digest for name, (digest, _) in subjects.items()},
            [cell.model for cell in cells],
            {cell.folder: cell.described() for cell in cells},
        )
        record = self._begin(before, record)
        make_folder(cells_folder)
        computed = sum(self._subject(name, digest, found, only) for name, (digest, found) in subjects.items())
        start = time.perf_counter()
        published = publish(self.folder, record)
        if published.written:
            self._stage("report", start)
        kept = len(cells) - computed
        return StudyResult(self.folder, published.table, computed, kept, published.run_id, self.stages)

    def _check_all(
        self, before: Mapping[str, Any] | None
    ) -> tuple[dict[str, tuple[str, list[Cell]]], SubjectInputs | None]:
        """Load and check every subject; return digest and cells of each, and the inputs of an only one."""
        out: dict[str, tuple[str, list[Cell]]] = {}
        inputs = None
        for inputs in subject_inputs(self.study, self.root, device=self.device, cache=self.cache):
            check_design(self.study, inputs)
            if before is not None and not self.replace:
                refuse_differences(self.folder, input_differences(before, {inputs.subject: inputs.digest}))
            cells = make_cells(self.study, inputs.subject, inputs.digest, inputs.models)
            out[inputs.subject] = (inputs.digest, cells)
        return out, inputs if len(out) == 1 else None

    def _begin(self, before: Mapping[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
        """Write down what this run is about to do; what is no longer true is removed first."""
        if self.replace:
            clear(self.folder)
            before = None
        record = extended(before, record)
        if record != self._written():
            remove(self.folder / MANIFEST)  # the pages do not show what the study now is
            write_record(self.folder / RECORD, record)
        return record

    def _written(self) -> dict[str, Any] | None:
        try:
            return read_record(self.folder / RECORD)
        except FileNotFoundError:
            return None

    def _stage(self, name: str, start: float, note: str = "") -> None:
        seconds = time.perf_counter() - start
        self.stages.append((name, seconds))
        self.log(f"{name:<58s} {seconds:7.1f} s  {note}".rstrip())

    def _subject(self, name: str, digest: str, cells: list[Cell], inputs: SubjectInputs | None) -> int:
        """Compute the cells of a subject that are not there; return their number."""
        root = self.folder / CELLS
        todo = [cell for cell in cells if not is_committed(root, cell.folder, cell.key)]
        if not todo:
            return 0
        if inputs is None:
            inputs = self._load_again(name, digest)
        for model in dict.fromkeys(cell.model.shown for cell in todo):
            self._model(inputs, [cell for cell in todo if cell.model.shown == model])
        return len(todo)

    def _load_again(self, name: str, digest: str) -> SubjectInputs:
        start = time.perf_counter()
        alone = self.study.model_copy(update={"subjects": [name]})
        inputs = next(subject_inputs(alone, self.root, device=self.device, cache=self.cache))
        if inputs.digest != digest:
            raise InputError(
                f"the inputs of subject {name} changed while the study was running: digest {digest[:12]} -> "
                f"{inputs.digest[:12]}; leave them alone until it has ended, and run it again"
            )
        self._stage(f"load       subject {name}", start)
        return inputs

    def _model(self, inputs: SubjectInputs, cells: list[Cell]) -> None:
        model = cells[0].model
        start = time.perf_counter()
        features = features_of(self.study, inputs.dataset, model, device=self.device, cache=self.cache)
        parts = list(features.values())
        layers = f"{len(parts)} layer{'s' * (len(parts) > 1)}"
        widest = max(part.n_units for part in parts)
        rows = f"{parts[0].n_samples} rows, up to {widest} units"
        self._stage(f"features   {model.shown}", start, f"{layers}, {rows}")
        for cell in cells:
            start = time.perf_counter()
            scores, rdms = analyse(self.study, cell, inputs, features)
            commit_cell(self.folder / CELLS, cell, scores, rdms, self._facts(start))
            self._stage(f"{cell.analysis:<10s} {model.shown}", start, _headline(scores))

    def _facts(self, start: float) -> dict[str, Any]:
        """How a cell was computed: what may differ between cells of one study."""
        return {
            "seconds": round(time.perf_counter() - start, 2),
            "device": str(resolve_device(self.device)),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        }


def _headline(scores: list[Scores]) -> str:
    """The claim of an encoding cell, or the best layer of an RSA or CKA cell, in a few words."""
    table = results_table(scores, "")
    if scores[0].identity["analysis"] == "encoding":
        row = table.iloc[0]
        bound = "no ceiling" if pd.isna(row["ceiling"]) else f"ceiling {row['ceiling']:.3f}"
        return f"{row['roi']}: mean {row['metric']} {row['value']:.3f} ({bound})"
    best = table.iloc[int(table["value"].fillna(-np.inf).to_numpy().argmax())]
    return f"{best['roi']}: highest {best['metric']} {best['value']:.3f} in {best['layer']}"
