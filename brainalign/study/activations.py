"""The features of one model for one subject, ready to be joined to the responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from brainalign._checks import unknown_name
from brainalign.design import TIME_INDEX, condition_indicators, prepare_features, time_index
from brainalign.errors import InputError
from brainalign.features import extract_features
from brainalign.study.settings import ModelSettings, Study
from brainalign.types import Dataset, Responses, Stimuli

OWN_FEATURES = "features:"
CONDITIONS = "conditions"


def is_network(model: ModelSettings) -> bool:
    """Tell whether the features come from the stimuli (a network, pixels), not from a table."""
    return not (model.name.startswith(OWN_FEATURES) or model.name in (CONDITIONS, TIME_INDEX))


def features_of(
    study: Study,
    dataset: Dataset,
    model: ModelSettings,
    *,
    device: str = "auto",
    cache: str | Path | None = "auto",
) -> dict[str, Responses]:
    """Features of a model, {layer: Responses}, prepared as the study says.

    Raises
    ------
    InputError
        The model needs stimuli, which the dataset does not hold.
    UnknownNameError
        The dataset has no such feature space; the network no such layer.
    """
    responses = dataset.responses
    assert responses is not None
    if model.name == TIME_INDEX:
        return {TIME_INDEX: time_index(responses)}
    if model.name == CONDITIONS:
        found = {CONDITIONS: condition_indicators(responses, method=study.preparation.method)}
    elif model.name.startswith(OWN_FEATURES):
        found = own_features(dataset, model)
    else:
        assert responses.samples is not None
        found = extract(study, shown_stimuli(dataset, model), model, device=device, cache=cache)
    if responses.info.get("design") == "trials":
        return found
    settings = study.preparation
    return {
        name: prepare_features(
            part,
            responses,
            delays=settings.delays,
            high_pass_s=settings.high_pass_s,
            detrend=settings.detrend,
            method=settings.method,
        )
        for name, part in found.items()
    }


def own_features(dataset: Dataset, model: ModelSettings) -> dict[str, Responses]:
    """Features that came with the dataset (``features:NAME``), as one layer of that name."""
    name = model.name.removeprefix(OWN_FEATURES)
    if name not in dataset.features:
        raise unknown_name("features of the dataset", name, dataset.features)
    return {name: dataset.features[name]}


def shown_stimuli(dataset: Dataset, model: ModelSettings) -> Stimuli:
    """The stimuli that the responses answered, all of them where there are no responses yet."""
    stimuli = dataset.stimuli
    if stimuli is None or stimuli.loader is None:
        own = ", ".join(f"{OWN_FEATURES}{name}" for name in dataset.features)
        raise InputError(
            f"model {model.name!r} needs the stimuli themselves, which dataset "
            f"{dataset.info.get('dataset', '')!r} does not hold"
            + (f"; use its own features: {own}" if own else f"; or the model {CONDITIONS!r}")
        )
    if dataset.responses is None:
        return stimuli
    return stimuli.select(_shown_ids(dataset.responses))


def _shown_ids(responses: Responses) -> list[str]:
    events = responses.info.get("events") or {}
    assert responses.samples is not None
    if "stimulus_id" in responses.samples:
        return list(pd.unique(responses.samples["stimulus_id"].dropna()))
    if "stimulus_id" in events:
        return list(pd.unique(pd.Series(events["stimulus_id"], dtype=object).dropna()))
    raise InputError("neither the samples nor the events of the responses say which stimulus was there")


def extract(
    study: Study,
    stimuli: Stimuli,
    model: ModelSettings,
    *,
    device: str,
    cache: str | Path | None,
    batch_size: int | None = None,
    progress: bool = True,
) -> dict[str, Responses]:
    """Activations of a network for these stimuli, {layer: Responses}."""
    options: dict[str, Any] = {}
    if model.layers is not None or study.layers != "**":
        options["layers"] = model.layers if model.layers is not None else study.layers
    if model.pool is not None:
        options["pool"] = model.pool
    return dict(
        extract_features(
            model.name,
            stimuli,
            image_size=model.image_size,
            untrained=model.untrained,
            batch_size=batch_size or model.batch_size,
            random_state=study.random_state,
            device=device,
            cache=cache,
            progress=progress,
            **options,
        )
    )
