"""MobileNetV2 from a folder of weights: how a network of one's own goes into ``extract_features``.

Used by which_measure.py. The folder holds ``mobilenet_v2_dequantised.safetensors``: ``conv00`` to
``conv52``, each with weight and bias, batch norm folded in, padding as TensorFlow's SAME.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from brainalign.errors import CorruptFileError, DataNotFoundError
from brainalign.features.efficientnet import SameConv2d

FILE = "mobilenet_v2_dequantised.safetensors"
SHA256 = "95178be52e72a024ef4ba4a62b3ae34259ad8ca9a56837894a83096bed374ed1"
# (expansion, output channels, blocks, stride of the first): Sandler et al. 2018, table 2
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def convolution(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    return SameConv2d(channels, out, kernel, stride, groups=groups)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise 3x3, project 1x1."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == out
        parts = [convolution(channels, hidden)] if expansion != 1 else []
        self.parts = nn.ModuleList(
            [*parts, convolution(hidden, hidden, 3, stride, hidden), convolution(hidden, out)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for part in self.parts[:-1]:
            y = functional.relu6(part(y))
        y = self.parts[-1](y)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Input (batch, 3, rows, columns); output logits (batch, 1001), 0 is the background."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, channels = convolution(3, 32, 3, 2), nn.ModuleList(), 32
        for expansion, out, n_blocks, stride in STAGES:
            for i in range(n_blocks):
                self.blocks.append(Block(channels, out, expansion, stride if i == 0 else 1))
                channels = out
        self.head, self.classifier = convolution(channels, 1280), convolution(1280, 1001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = functional.relu6(self.head(x)).mean((2, 3), keepdim=True)
        return self.classifier(x).flatten(1)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """The preprocessing of this network without its resizing: (x - 128) / 128."""
    return (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() - 128.0) / 128.0


def mobilenet_v2(folder: str | Path) -> MobileNetV2:
    """The trained network, in eval mode."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise DataNotFoundError(
            f"no {FILE} in {Path(folder).resolve()}; expected the folder that holds the weights of "
            "MobileNetV2. Name that folder, or leave --models out to run without MobileNetV2"
        )
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise CorruptFileError(
            f"{path} has sha256 {found[:16]}..., expected {SHA256[:16]}...; copy the file again"
        )
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    network = MobileNetV2()
    layers = [m for m in network.modules() if isinstance(m, SameConv2d)]  # in the order of the forward pass
    for i, layer in enumerate(layers):
        for name, parameter in (("weight", layer.weight), ("bias", layer.bias)):
            entry = header[f"conv{i:02d}.{name}"]
            start = 8 + length + entry["data_offsets"][0]
            values = np.frombuffer(raw, np.float32, math.prod(entry["shape"]), start)
            parameter.data.copy_(torch.from_numpy(values.copy()).reshape(entry["shape"]))
    return network.eval()
