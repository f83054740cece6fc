"""What a study reads: one subject's dataset, restricted to its regions, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brainalign._checks import unknown_name
from brainalign.design import (
    TIME_INDEX,
    Splits,
    contiguous_gap,
    make_splits,
    named_regions,
    prepare_features,
    prepare_responses,
    selection_regions,
)
from brainalign.errors import InputError
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import Dataset, Responses

_MIN_TRAINING = 4
# what changes a score although it is neither a value nor a label
_DIGESTED = ("design", "events", "repetition_time", "sampling_rate", "affine", "space", "unit", "preparation")


@dataclass(frozen=True)
class SubjectInputs:
    """The dataset of one subject; `digest` changes with every value, id and label in it.

    `models` are those of the study, and the time index beside them where samples follow
    each other in time.
    """

    subject: str
    dataset: Dataset
    digest: str
    models: tuple[ModelSettings, ...] = ()

    @property
    def responses(self) -> Responses:
        """The responses, which `subject_inputs` made sure of."""
        assert self.dataset.responses is not None
        return self.dataset.responses


def subject_inputs(
    study: Study,
    root: str | Path | None,
    *,
    device: str = "auto",
    cache: str | Path | None = "auto",
) -> Iterator[SubjectInputs]:
    """Load the subjects of a study one after the other, drift removed as the study says.

    `device` and `cache` serve the network whose layers drive simulated responses.

    Raises
    ------
    InputError
        The dataset has no responses, or no such subject.
    UnknownNameError
        A region does not exist.
    """
    import data_loaders

    options: dict[str, Any] = dict(study.dataset.options)
    takes_subject = "subject" in data_loaders.describe(study.dataset.name).options
    names: list[str | None] = list(study.subjects) if study.subjects else [None]
    for name in names:
        extra = {"subject": name} if takes_subject and name is not None else {}
        dataset = data_loaders.load(study.dataset.name, root=root, **options, **extra)
        if study.simulate is not None:
            from brainalign.study.simulation import simulated

            dataset = simulated(study, dataset, device=device, cache=cache)
        if dataset.responses is None:
            raise InputError(
                f"dataset {study.dataset.name!r} has no responses, only "
                f"{'RDMs' if dataset.rdms is not None else 'stimuli'}; a study needs responses, or a table "
                "[simulate] that plants them"
            )
        responses = _one_subject(dataset.responses, name, takes_subject)
        responses = _restrict(responses, study.regions)
        assert responses.samples is not None
        found = sorted({str(s) for s in responses.samples.get("subject", []) if s is not None})
        if len(found) > 1:
            raise InputError(
                f"dataset {study.dataset.name!r} holds the subjects {', '.join(found)}; "
                "name them in subjects = [...]"
            )
        subject = name or (found[0] if found else "")
        responses = _prepared(study, responses)
        dataset = replace(dataset, responses=responses)
        yield SubjectInputs(subject, dataset, inputs_digest(dataset), _models(study, responses))


def _prepared(study: Study, responses: Responses) -> Responses:
    settings = study.preparation
    if responses.info.get("design") != "trials":
        return prepare_responses(responses, high_pass_s=settings.high_pass_s, detrend=settings.detrend)
    asked = [name for name in ("high_pass_s", "detrend", "delays") if getattr(settings, name)]
    if asked:
        raise InputError(
            f"preparation.{asked[0]} is for blocks and continuous designs; these responses are trials. "
            "Filter the recording before it is cut into trials"
        )
    return responses


def _models(study: Study, responses: Responses) -> tuple[ModelSettings, ...]:
    """The models of the study; samples in time get the time index as a control beside them."""
    named = any(model.name == TIME_INDEX for model in study.models)
    if responses.info.get("design") == "trials" or "encoding" not in study.analyses or named:
        return tuple(study.models)
    return (*study.models, ModelSettings(name=TIME_INDEX, role="control"))


def gap_of(study: Study, responses: Responses) -> int | None:
    """Samples left out beside contiguous test blocks: one gap for all models and for the check."""
    if study.encoding.gap is not None:
        return study.encoding.gap
    delay = max((abs(d) for d in study.preparation.delays), default=0)
    return contiguous_gap(responses, n_folds=study.encoding.n_folds, delay=delay)


def confounds_of(study: Study, dataset: Dataset) -> Responses | None:
    """The feature space that the study regresses out, filtered like the responses, or None."""
    name = study.preparation.confounds
    if name is None:
        return None
    if name not in dataset.features:
        raise unknown_name("confounds: features of the dataset", name, dataset.features)
    responses = dataset.responses
    assert responses is not None
    if responses.info.get("design") == "trials":
        return dataset.features[name]
    settings = study.preparation
    return prepare_features(
        dataset.features[name],
        responses,
        high_pass_s=settings.high_pass_s,
        detrend=settings.detrend,
        method=settings.method,
    )


def check_design(study: Study, inputs: SubjectInputs) -> Splits:
    """Make the folds and the regions that the run will use, before anything is extracted.

    Raises whatever would stop the encoding cells: no design, too few groups, leaks, an
    unknown column in `select`, too few stimuli for the inner folds.
    """
    samples, units = inputs.responses.samples, inputs.responses.units
    assert samples is not None
    assert units is not None
    design = inputs.responses.info.get("design")
    if design is None:
        raise InputError("the responses do not say their design; the loader's option is design=")
    settings = study.encoding
    held_out = make_splits(
        samples,
        design=design,
        n_folds=settings.n_folds,
        gap=gap_of(study, inputs.responses),
        random_state=study.random_state,
        allow=study.allow,
    )
    if settings.select != "unit":
        selection_regions(units, settings.select)
    n_train = min(len(np.unique(held_out.groups[train])) for train, _ in held_out.folds)
    if "encoding" in study.analyses and n_train < _MIN_TRAINING:
        raise InputError(
            f"{n_train} stimuli or samples are left for training; at least {_MIN_TRAINING} are needed to "
            "choose penalties on inner folds. Record more, or use fewer folds"
        )
    return held_out


def _one_subject(responses: Responses, name: str | None, taken: bool) -> Responses:
    samples = responses.samples
    assert samples is not None
    if name is None or taken:
        return responses
    known = sorted({str(s) for s in samples.get("subject", []) if s is not None})
    if name not in known:
        raise unknown_name("subject", name, known)
    return responses.select(samples=(samples["subject"] == name).to_numpy())


def _restrict(responses: Responses, regions: list[str] | None) -> Responses:
    if regions is None:
        return responses
    assert responses.units is not None
    index = named_regions(responses.units)
    for name in regions:
        if name not in index:
            raise unknown_name("region", name, index)
    keep = np.unique(np.concatenate([index[name] for name in regions]))
    return responses.select(units=keep)


def inputs_digest(dataset: Dataset) -> str:
    """Return sha256 over values, ids, labels, units, design and events of the responses and features."""
    digest = hashlib.sha256()
    for name, part in {"responses": dataset.responses, **dataset.features}.items():
        if part is None:
            continue
        values = part.array()
        digest.update(f"{name}{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
        for table in (part.samples, part.units):
            assert table is not None
            digest.update(table.reset_index().to_csv(index=False).encode())
        known = {key: part.info[key] for key in _DIGESTED if part.info.get(key) is not None}
        digest.update(json.dumps(known, sort_keys=True, default=str).encode())
    return digest.hexdigest()
