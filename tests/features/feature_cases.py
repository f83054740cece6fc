"""Small stimuli and networks for the feature tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from brainalign.types import Stimuli, content_hash

SIDE = 8


def make_images(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"s{i:03d}": rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for i in range(n)}


def make_stimuli(images: dict[str, Any], *, hashed: bool = True) -> Stimuli:
    table = pd.DataFrame({"stimulus_id": list(images)})
    if hashed:
        table["content_hash"] = [content_hash(image) for image in images.values()]
    return Stimuli(table, loader=lambda stimulus_id: images[stimulus_id])


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


class TinyNet(nn.Module):
    """Two convolutions with an in-place ReLU, dropout, a linear layer that runs twice."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.twice = nn.Linear(6, 6)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.drop(self.down(self.stem(x))).mean((2, 3)) * self.scale
        out: torch.Tensor = self.twice(torch.tanh(self.twice(y)))
        return out
