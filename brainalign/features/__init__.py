"""Features: the activations of any network for stimuli, as `Responses` per layer.

`extract_features` takes a torch module with a transform, or the name of a model.
``"pixels"`` is the control without a network, ``untrained=True`` the one without training.
"""

from __future__ import annotations

from brainalign.features.extraction import extract_features
from brainalign.features.listing import list_layers
from brainalign.features.models import MODELS, available_models

__all__ = ["MODELS", "available_models", "extract_features", "list_layers"]
