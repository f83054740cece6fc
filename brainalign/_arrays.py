"""Leaves that every numerical layer shares: the device, and the memory that there is."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from brainalign.errors import DeviceError

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


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


def available_memory() -> int:
    """Return the bytes that this process may still use: the machine's free memory or the container's.

    The smaller of what the machine has available and what the control group of the
    process leaves (its limit less its use, where page cache that can be dropped counts
    as free). Falls back to 1 GiB where neither can be read.

    Examples
    --------
    >>> available_memory() > 0
    True
    """
    found = [value for value in (_machine_memory(), _cgroup_memory()) if value is not None]
    return max(min(found), 0) if found else 2**30


def _machine_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup_memory() -> int | None:
    for limit_file, usage_file, stat_file in _CGROUP_FILES:
        try:
            limit = Path(limit_file).read_text().strip()
            if limit == "max" or int(limit) >= 2**60:
                continue
            usage = int(Path(usage_file).read_text())
            return int(limit) - usage + _droppable_cache(stat_file)
        except (OSError, ValueError):
            continue
    return None


def _droppable_cache(stat_file: str) -> int:
    """Page cache that the kernel drops before it refuses memory."""
    try:
        stat = dict(line.split()[:2] for line in Path(stat_file).read_text().splitlines())
        return int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0
