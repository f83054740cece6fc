"""Networks of other libraries by prefix: ``timm:``, ``torchvision:``, ``transformers:``.

The libraries are optional. Their preprocessing is read from their own configuration and
applied by `ImagePreprocessing`, so that all models share one path.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from brainalign._checks import optional_import
from brainalign.errors import DataNotFoundError, InputError
from brainalign.features.preprocessing import ImagePreprocessing

Built = tuple[nn.Module, Any, str]


@dataclass(frozen=True)
class Adapter:
    """How the models of one library are built: (name, untrained, seed) -> (module, transform, layers)."""

    build: Callable[[str, bool, int], Built]
    description: str


@dataclass(frozen=True)
class Tokens:
    """Text to the token tensors of a tokenizer: no padding, no silent cut."""

    tokenizer: Any
    name: str

    def __call__(self, text: Any) -> dict[str, torch.Tensor]:
        """Return {input name: tensor (n_tokens,)} of one text."""
        if not isinstance(text, str):
            raise InputError(f"{self.name} reads text; the stimulus is a {type(text).__name__}")
        return {key: tensor[0] for key, tensor in self.tokenizer(text, return_tensors="pt").items()}

    def describe(self) -> dict[str, Any]:
        """Everything that decides the tokens."""
        return {"kind": "text", "tokenizer": repr(self.tokenizer)}


def _obtain(name: str, build: Callable[[], Any]) -> Any:
    """Build a model; say what to do when its name or its weights cannot be had."""
    try:
        return build()
    except Exception as error:
        raise DataNotFoundError(
            f"the model {name!r} cannot be built ({type(error).__name__}: {str(error)[:200]}); check "
            "its name, fetch its weights on a machine with a network, or use untrained=True"
        ) from error


def _seeded(build: Callable[[], Any], random_state: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        return build()


def _timm(name: str, untrained: bool, random_state: int) -> Built:
    timm = optional_import("timm", "vision", f"model 'timm:{name}'")
    create = lambda: timm.create_model(name, pretrained=not untrained)  # noqa: E731
    module = _obtain(f"timm:{name}", lambda: _seeded(create, random_state))
    config = timm.data.resolve_model_data_config(module)
    crop = int(config["input_size"][-1])
    preprocessing = ImagePreprocessing(
        resize=max(int(crop / config["crop_pct"]), crop),
        crop=crop,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
    )
    return module.eval(), preprocessing, "**"


def _torchvision(name: str, untrained: bool, random_state: int) -> Built:
    optional_import("torchvision", "vision", f"model 'torchvision:{name}'")
    models = optional_import("torchvision.models", "vision", f"model 'torchvision:{name}'")
    weights = _obtain(f"torchvision:{name}", lambda: models.get_model_weights(name).DEFAULT)
    create = lambda: models.get_model(name, weights=None if untrained else weights)  # noqa: E731
    module = _obtain(f"torchvision:{name}", lambda: _seeded(create, random_state))
    preset = weights.transforms()
    preprocessing = ImagePreprocessing(
        resize=int(preset.resize_size[0]),
        crop=int(preset.crop_size[0]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
    return module.eval(), preprocessing, "**"


def _transformers(name: str, untrained: bool, random_state: int) -> Built:
    transformers = optional_import("transformers", "text", f"model 'transformers:{name}'")
    options = {"local_files_only": os.environ.get("BRAINALIGN_OFFLINE") == "1"}

    def create() -> Any:
        if untrained:
            config = transformers.AutoConfig.from_pretrained(name, **options)
            return transformers.AutoModel.from_config(config)
        return transformers.AutoModel.from_pretrained(name, **options)

    module = _obtain(f"transformers:{name}", lambda: _seeded(create, random_state))
    if getattr(module, "main_input_name", "input_ids") != "input_ids":
        raise InputError(
            f"model 'transformers:{name}' does not read text; give the module itself "
            "with transform= and forward="
        )
    tokenizer = _obtain(
        f"transformers:{name}", lambda: transformers.AutoTokenizer.from_pretrained(name, **options)
    )
    return module.eval(), Tokens(tokenizer, f"transformers:{name}"), "**"


PREFIXES: dict[str, Adapter] = {
    "timm": Adapter(_timm, "any image network of timm (extra: vision)"),
    "torchvision": Adapter(_torchvision, "any classifier of torchvision (extra: vision)"),
    "transformers": Adapter(_transformers, "any text network of transformers (extra: text)"),
}
