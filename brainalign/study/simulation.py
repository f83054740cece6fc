"""Responses with planted truth, in place of the ones that a dataset does not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.simulate import respond
from brainalign.study.activations import extract, is_network, own_features, shown_stimuli
from brainalign.study.settings import Study
from brainalign.types import Dataset, Responses

SUBJECT = "simulated"


def simulated(study: Study, dataset: Dataset, *, device: str, cache: str | Path | None) -> Dataset:
    """Give a dataset responses whose regions are driven by layers of the study's first model.

    Raises
    ------
    UnknownNameError
        `truth` names a layer that the model does not have.
    InputError
        The first model is not made of stimuli or of the dataset's own features.
    """
    settings = study.simulate
    assert settings is not None
    model = study.models[0]
    bare = replace(dataset, responses=None)
    if is_network(model):
        layers = extract(study, shown_stimuli(bare, model), model, device=device, cache=cache)
    elif model.name in ("conditions", "time index"):
        raise InputError(
            f"[simulate] plants layers of the first model, and {model.name!r} has none; name a network first"
        )
    else:
        layers = own_features(bare, model)
    made = respond(
        {name: part.array() for name, part in layers.items()},
        settings.truth,
        n_units=settings.n_units,
        n_repeats=settings.n_repeats,
        noise_std=settings.noise_std,
        random_state=study.random_state,
    )
    shown = next(iter(layers.values())).samples
    assert shown is not None
    samples = pd.DataFrame(
        {
            "stimulus_id": shown["stimulus_id"].to_numpy(dtype=object)[made.stimulus],
            "repetition": np.tile(np.arange(1, settings.n_repeats + 1), len(shown)).astype(str),
            "subject": SUBJECT,
        }
    )
    if "content_hash" in shown:
        samples["content_hash"] = shown["content_hash"].to_numpy(dtype=object)[made.stimulus]
    number = pd.Series(made.region).groupby(made.region).cumcount()
    units = pd.DataFrame(
        {"roi_simulated": made.region},
        index=pd.Index([f"{r}-{i}" for r, i in zip(made.region, number, strict=True)], name="unit_id"),
    )
    info = {
        **dataset.info,
        "design": "trials",
        "simulated": True,
        "planted": dict(settings.truth),
        "planted_in": model.shown,
        "recording": "simulated responses",
        "unit": "a.u.",
    }
    return replace(dataset, responses=Responses(made.trials.astype(np.float32), samples, units, info=info))
