"""Fit one side once and print its seconds and peak memory; started by `_measure` as a process of its own."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _measure import warm_up
from _sides import Side, fit
from threadpoolctl import threadpool_limits


def main(folder: Path, request: dict) -> None:
    """Warm up on small arrays, load the arrays, fit; bytes are counted from the loaded arrays on."""
    side = Side(**{**request["side"], "widths": tuple(request["side"]["widths"])})
    warm_up(side)
    X, Y = np.load(folder / "X.npy"), np.load(folder / "Y.npy")
    gc.collect()
    before = resident_bytes("VmRSS")
    forget_peak()
    if request["limit"]:
        signal.setitimer(signal.ITIMER_REAL, request["limit"])
    start = time.perf_counter()
    fit(side, X, Y)
    seconds = time.perf_counter() - start
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps({"seconds": seconds, "peak_bytes": resident_bytes("VmHWM") - before}))


def resident_bytes(name: str) -> int:
    """Resident memory now (``"VmRSS"``) or at its highest (``"VmHWM"``).

    `resource.getrusage` would do as well, but its highest value starts at that of the
    process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Let the highest resident memory start from now, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    torch.set_num_threads(asked["threads"])
    with threadpool_limits(asked["threads"]):
        main(Path(sys.argv[1]), asked)
