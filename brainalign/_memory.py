"""The memory that this process may still use; a leaf that needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
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
