"""Time, peak memory and the machine: pairs in one process, memory in a process of its own."""

from __future__ import annotations

import datetime
import gc
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _sides import Answer, Side, fit
from _simulated import banded_problem, ridge_problem

THREADS = 2
PACKAGES = ("brainalign", "himalaya", "fracridge", "scikit-learn", "torch", "numpy")
CHILD = Path(__file__).with_name("_fit_once.py")


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, one entry a pair, and what each answered."""

    ours: list[float]
    peer: list[float]
    our_answer: Answer
    peer_answer: Answer

    @property
    def ratios(self) -> list[float]:
        """How many times longer the peer took, per pair."""
        return [theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True)]

    def ratio(self) -> str:
        """Median ratio and its spread."""
        middle = statistics.median(self.ratios)
        return f"{middle:.2f} x ({min(self.ratios):.2f} to {max(self.ratios):.2f})"


@dataclass(frozen=True)
class Child:
    """One fit in a process of its own: seconds and peak bytes above the arrays; None where stopped."""

    seconds: float | None
    peak_bytes: int | None
    outcome: str = ""


def paired(ours: Side, peer: Side, X: np.ndarray, Y: np.ndarray, pairs: int) -> Pairs:
    """Time both sides one after the other, the order alternating between pairs."""
    mine, theirs = [], []
    warm_up(ours)
    warm_up(peer)
    for pair in range(pairs):
        for side in (ours, peer) if pair % 2 == 0 else (peer, ours):
            seconds, answer = timed(side, X, Y)
            if side is ours:
                mine.append(seconds)
                our_answer = answer
            else:
                theirs.append(seconds)
                peer_answer = answer
    return Pairs(mine, theirs, our_answer, peer_answer)


def warm_up(side: Side) -> None:
    """Load the libraries and their work space, so that they are neither timed nor counted."""
    if side.widths:
        small = Side(**{**side.to_dict(), "widths": (6,) * len(side.widths), "candidates": 2})
        X, Y = banded_problem(60, list(small.widths), 5)
    else:
        small = side
        X, Y = ridge_problem(60, 100 if side.estimator == "KernelRidgeCV" else 20, 5)
    fit(small, X, Y)
    torch.mm(torch.ones(512, 512), torch.ones(512, 512))


def timed(side: Side, X: np.ndarray, Y: np.ndarray) -> tuple[float, Answer]:
    """Wall time of one fit, and its answer."""
    gc.collect()
    start = time.perf_counter()
    answer = fit(side, X, Y)
    return time.perf_counter() - start, answer


def equal_share(a: Answer, b: Answer) -> float:
    """Share of targets whose penalties are the same member of the grid."""
    assert a.penalties is not None
    assert b.penalties is not None
    return float(np.isclose(a.penalties, b.penalties, rtol=1e-2).mean())


@contextmanager
def stored(X: np.ndarray, Y: np.ndarray) -> Iterator[Callable[..., Child]]:
    """Give a function that fits one side on these arrays in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "X.npy", X)
        np.save(Path(folder) / "Y.npy", Y)

        def in_child(side: Side, limit: float | None = None) -> Child:
            return _run_child(Path(folder), side, limit)

        yield in_child


def _run_child(folder: Path, side: Side, limit: float | None) -> Child:
    request = json.dumps({"side": side.to_dict(), "limit": limit, "threads": THREADS})
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        [sys.executable, str(CHILD), str(folder), request],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode == 0:
        return Child(**json.loads(done.stdout.strip().splitlines()[-1]))
    if done.returncode == -14:  # the child's own alarm
        return Child(None, None, f"stopped after {limit:.0f} s")
    if done.returncode == -9:
        return Child(None, None, "out of memory")
    raise RuntimeError(f"{side} failed in its own process:\n{done.stderr[-2000:]}")


def matrix_multiply_rate(size: int = 4096, dtype: torch.dtype = torch.float32) -> float:
    """Best of five products of two matrices, in floating-point operations per second."""
    a = torch.randn(size, size, dtype=dtype)
    b = torch.randn(size, size, dtype=dtype)
    torch.mm(a, b)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def circumstances(
    rate: float,
    packages: tuple[str, ...] = PACKAGES,
    *,
    precision: str = "float32",
    threads: int = THREADS,
) -> str:
    """Date, versions, machine: what a reader needs to judge the numbers."""
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return (
        f"{datetime.date.today().isoformat()}; {versions}; {_processor()}, {threads} threads; "
        f"{precision} matrix products at {rate / 1e9:.0f} GFLOP/s"
    )


def _version(name: str) -> str:
    if name == "brainalign":
        import brainalign

        return brainalign.__version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Name of the processor; the name alone where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        import platform

        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else 'processor'} ({os.cpu_count()} cores)"
