"""What a study will do and cost, found out without running it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from brainalign._arrays import resolve_device
from brainalign._memory import available_memory
from brainalign.design import named_regions
from brainalign.regression import RidgeCV
from brainalign.study.activations import extract, features_of, is_network, shown_stimuli
from brainalign.study.cells import make_cells
from brainalign.study.inputs import SubjectInputs, check_design, subject_inputs
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import Responses

_PROBE = 16  # stimuli that go through a network to see its layers and its speed
_PAGE_BYTES = 3_000_000  # report, figures and tables of a study
_PLOTTING_BYTES = 150_000_000  # matplotlib with its fonts


@dataclass(frozen=True)
class ModelPlan:
    """One model: `layers` {name: units after pooling}; seconds of its cells; bytes on disk."""

    model: str
    role: str
    layers: dict[str, int]
    seconds: dict[str, float]
    disk_bytes: int


@dataclass(frozen=True)
class SubjectPlan:
    """One subject: shapes, design, folds and what a score on them speaks of."""

    subject: str
    n_samples: int
    n_stimuli: int
    n_units: int
    regions: dict[str, int]
    design: str
    split_method: str
    generalisation: str
    split_hash: str
    folds: list[tuple[int, int]]
    models: list[ModelPlan] = field(default_factory=list)


@dataclass(frozen=True)
class StudyPlan:
    """The whole grid with its cost on this machine."""

    study: str
    device: str
    subjects: list[SubjectPlan]
    n_cells: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    warnings: list[str]


def plan_study(study: Study, *, root: str | Path | None = None, device: str = "auto") -> StudyPlan:
    """Check a study against its data and networks, and estimate its cost.

    Loads the data, sends a few stimuli through each network, and times one ridge fit of the
    smallest and of the largest layer on random numbers of the same shape; no score is
    computed. Memory and disk are meant within a factor of 1.5, time within 3.

    Raises
    ------
    BrainAlignError
        Whatever would stop the run: missing data, unknown layer, leaks, too few groups.
    """
    resolved = str(resolve_device(device))
    subjects, peak, disk, seconds, cells = [], 0, _PAGE_BYTES, 6.0, 0
    for inputs in subject_inputs(study, root, device=device):
        plan = _subject(study, inputs)
        for model in inputs.models:
            part, memory = _model(study, inputs, model, plan, device)
            plan.models.append(part)
            seconds += sum(part.seconds.values())
            disk += part.disk_bytes
            peak = max(peak, memory)
        cells += len(make_cells(study, inputs.subject, inputs.digest, inputs.models))
        peak = max(peak, 2 * inputs.responses.array().nbytes)
        subjects.append(plan)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory = baseline + peak + _PLOTTING_BYTES
    notes = []
    if memory > available_memory() + baseline:
        notes.append(
            f"the run needs about {memory / 1e9:.1f} GB and {available_memory() / 1e9:.1f} GB are free"
        )
    return StudyPlan(study.name, resolved, subjects, cells, seconds, memory, disk, notes)


def _subject(study: Study, inputs: SubjectInputs) -> SubjectPlan:
    responses = inputs.responses
    samples, units = responses.samples, responses.units
    assert samples is not None
    assert units is not None
    held_out = check_design(study, inputs)
    by_stimulus = responses.info["design"] == "trials" and "stimulus_id" in samples
    keys = np.asarray(samples["stimulus_id"] if by_stimulus else samples.index, dtype=object)
    averaged = study.encoding.repeats == "average" and responses.info["design"] == "trials"

    def rows(index: np.ndarray) -> int:
        return len(set(keys[index])) if averaged else len(index)

    return SubjectPlan(
        inputs.subject,
        responses.n_samples,
        len(set(keys)),
        responses.n_units,
        {name: len(index) for name, index in named_regions(units).items()},
        str(responses.info["design"]),
        held_out.method + (f", gap of {held_out.gap} samples" if held_out.gap else ""),
        held_out.generalisation,
        held_out.digest([str(k) for k in keys]),
        [(rows(train), rows(test)) for train, test in held_out.folds],
    )


def _model(
    study: Study, inputs: SubjectInputs, model: ModelSettings, plan: SubjectPlan, device: str
) -> tuple[ModelPlan, int]:
    """The plan of one model and the bytes that its cells hold at once."""
    seconds: dict[str, float] = {}
    if is_network(model):
        layers, seconds["features"] = _probe(study, inputs, model, plan, device)
        disk = 4 * plan.n_stimuli * sum(layers.values())
        delays = max(1, len(study.preparation.delays))
        layers = {name: n * delays for name, n in layers.items()}
    else:
        layers = {name: part.n_units for name, part in features_of(study, inputs.dataset, model).items()}
        disk = 0
    targets = int(np.prod(inputs.responses.shape[1:]))
    n_train = max(train for train, _ in plan.folds)
    widest = max(layers.values())
    held = 4 * plan.n_stimuli * sum(layers.values())
    memory = held + 8 * n_train * (4 * widest + 3 * n_train + 8 * targets)
    if "encoding" in study.analyses:
        seconds["encoding"] = _encoding_seconds(study, plan, layers, targets)
        memory += 8 * study.encoding.n_bootstrap * len(layers) * len(plan.regions)
    for name in ("rsa", "cka"):
        if name in study.analyses:
            seconds[name] = _similarity_seconds(study, name, plan, layers)
            memory = max(memory, held * 3 + 8 * plan.n_stimuli**2 * (len(layers) + 6))
            disk += _picture_bytes(plan) if name == "rsa" else 0
    return ModelPlan(model.shown, model.role, layers, seconds, disk), memory


def _picture_bytes(plan: SubjectPlan) -> int:
    """RDMs on disk and, at most 300 stimuli wide, in figures with their numbers."""
    side = min(plan.n_stimuli, 300)
    return len(plan.regions) * (8 * plan.n_stimuli**2 + 24 * side**2)


def _probe(
    study: Study, inputs: SubjectInputs, model: ModelSettings, plan: SubjectPlan, device: str
) -> tuple[dict[str, int], float]:
    stimuli = shown_stimuli(inputs.dataset, model)
    ids = list(stimuli.ids)[:_PROBE]
    batch = min(model.batch_size, _PROBE)

    def extract_some(chosen: list[str]) -> Mapping[str, Responses]:
        part = stimuli.select(chosen)
        return extract(study, part, model, device=device, cache=None, batch_size=batch, progress=False)

    start = time.perf_counter()
    extract_some(ids[:2])
    fixed = time.perf_counter() - start
    start = time.perf_counter()
    found = extract_some(ids)
    spent = time.perf_counter() - start
    each = max(spent - fixed, 0.1 * spent) / max(len(ids) - 2, 1)
    return {name: part.n_units for name, part in found.items()}, fixed + each * len(stimuli)


def _encoding_seconds(study: Study, plan: SubjectPlan, layers: Mapping[str, int], targets: int) -> float:
    n_train, n_test = (int(np.mean(sizes)) for sizes in zip(*plan.folds, strict=True))
    sizes = sorted(set(layers.values()))
    ends = [sizes[0], sizes[-1]] if len(sizes) > 1 else sizes
    timed = [_fit_seconds(n_train, p, min(targets, 512), study.encoding.inner_folds) for p in ends]
    per_layer = np.interp(list(layers.values()), ends, timed) * max(1.0, targets / 512)
    n_folds = len(plan.folds)
    rate = _gemm_rate()
    m = min(sizes[-1], n_train)
    product = min(n_train * n_test, m * (n_train + n_test + min(m, n_test)))
    draws = study.encoding.n_permutations * n_folds * 2.0 * product * targets / rate
    refits = n_folds * min(targets, 30) * 2.0 * n_train**2 * n_test / rate if draws else 0.0
    resamples = 10.0 * study.encoding.n_bootstrap * n_test * targets * n_folds * (len(layers) + 2) / rate
    return float(n_folds * per_layer.sum() + 2 * draws + 2 * refits + 2 * resamples)


def _fit_seconds(n: int, p: int, targets: int, inner_folds: int) -> float:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, p)), rng.standard_normal((n, targets))
    RidgeCV(cv=min(inner_folds, n // 2)).fit(X, Y)  # the first call also loads libraries
    start = time.perf_counter()
    RidgeCV(cv=min(inner_folds, n // 2)).fit(X, Y)
    return time.perf_counter() - start


def _gemm_rate() -> float:
    """Floating-point operations per second of a float64 matrix product here."""
    a = np.random.default_rng(0).standard_normal((600, 600))
    _ = a @ a
    start = time.perf_counter()
    _ = a @ a
    return 2.0 * 600**3 / max(time.perf_counter() - start, 1e-6)


def _similarity_seconds(study: Study, analysis: str, plan: SubjectPlan, layers: Mapping[str, int]) -> float:
    n, rate = plan.n_stimuli, _gemm_rate()
    settings = study.rsa if analysis == "rsa" else study.cka
    matrices = 2.0 * n**2 * sum(layers.values()) / rate + 4e-8 * n**2 * np.log2(max(n, 2)) * len(layers)
    draws = settings.n_permutations * n**2 * (6e-9 + 1e-9 * len(layers))
    resamples = 6.0 * study.rsa.n_bootstrap * n**2 * (len(layers) + 1) / rate if analysis == "rsa" else 0.0
    return float(len(plan.regions) * (matrices + draws + 1.3 * resamples))
