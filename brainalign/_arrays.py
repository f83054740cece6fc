"""The device that a public call computes on."""

from __future__ import annotations

import torch

from brainalign.errors import DeviceError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device that a public call computes on; decided once per call.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` (CUDA where there is one, else the CPU), ``"cpu"``, ``"cuda"``,
        ``"cuda:1"``, ``"mps"``.

    Raises
    ------
    DeviceError
        The text names no device, or that device is not present. It never falls back.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(
            f"device={device!r} names no device; expected 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"
        ) from error
    if resolved.type == "cuda":
        _check_cuda(resolved)
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device='mps' is not available here; use device='cpu' or device='auto'")
    elif resolved.type not in ("cpu", "mps"):
        raise DeviceError(f"device={str(device)!r} is not supported; use 'auto', 'cpu', 'cuda' or 'mps'")
    return resolved


def _check_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise DeviceError(
            f"device={str(device)!r} was asked for and torch {torch.__version__} finds no CUDA device; "
            "use device='auto' or device='cpu', or install a CUDA build of torch"
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise DeviceError(
            f"device={str(device)!r} was asked for and there are {count} CUDA devices, numbered from 0"
        )
