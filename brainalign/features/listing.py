"""Which layers a network has: what runs, in which order, how large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from brainalign.errors import InputError
from brainalign.features.inputs import StimulusReader, stack
from brainalign.features.layers import probe
from brainalign.features.models import Network, resolve_model
from brainalign.features.plan import prepared
from brainalign.features.preprocessing import ImagePreprocessing
from brainalign.types import Stimuli


def list_layers(
    model: str | nn.Module,
    stimulus: Any = None,
    *,
    transform: Callable[[Any], Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    image_size: int | None = None,
    untrained: bool = False,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return every layer that runs, in the order of execution.

    Parameters
    ----------
    model, transform, forward, image_size, untrained, random_state : as in `extract_features`
    stimulus : content of one stimulus; not needed for named models

    Returns
    -------
    DataFrame indexed by layer
        `module` (its class), `shape` (per stimulus, such as ``"320x7x7"``), `n_units`.

    Raises
    ------
    InputError
        A module is given without a stimulus.

    Examples
    --------
    >>> list_layers("pixels").to_dict("index")
    {'pixels': {'module': 'Identity', 'shape': '3x32x32', 'n_units': 3072}}
    """
    network = resolve_model(
        model,
        transform=transform,
        forward=forward,
        image_size=image_size,
        untrained=untrained,
        random_state=random_state,
    )
    content = _example(network) if stimulus is None else stimulus
    reader = StimulusReader(
        Stimuli(pd.DataFrame({"stimulus_id": ["example"]}), loader=lambda _: content), network.transform
    )
    cpu = torch.device("cpu")
    with prepared(network.module, cpu):
        ran = probe(network.module, network.forward, stack([reader.input(0)] * 2, cpu))
    rows = [
        (layer.name, layer.kind, "x".join(map(str, layer.shape)), int(np.prod(layer.shape))) for layer in ran
    ]
    return pd.DataFrame(rows, columns=["layer", "module", "shape", "n_units"]).set_index("layer")


def _example(network: Network) -> Any:
    if network.preprocessing is None:
        raise InputError("a torch.nn.Module needs stimulus=: the content of one stimulus, to see what runs")
    if isinstance(network.transform, ImagePreprocessing):
        side = network.transform.resize
        return np.full((side, side, 3), 127, np.uint8)
    return "a sentence"
