"""Seconds of both sides in pairs, and the peak memory of each in a process of its own."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _rsa_case import Answer, Arrays, Case, Side

CHILD = Path(__file__).with_name("_rsa_once.py")
SHORT = 0.1  # a run that takes less is repeated until it takes as long, so that the clock can tell


@dataclass(frozen=True)
class Pairs:
    """Seconds of both sides, one entry a pair, and what each answered."""

    ours: list[float]
    peer: list[float]
    our_answer: Answer
    peer_answer: Answer

    @property
    def ratio(self) -> float:
        """How many times longer the peer took, the median over pairs."""
        return statistics.median(self._ratios())

    def _ratios(self) -> list[float]:
        return [theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True)]

    def __str__(self) -> str:
        found = self._ratios()
        return f"{statistics.median(found):.1f} x ({min(found):.1f} to {max(found):.1f})"


def paired(case: Case, arrays: Arrays, peer: Side, pairs: int) -> Pairs:
    """Time both sides one after the other, the order alternating between pairs; each ran once before."""
    prepared = {side.package: side.prepare(arrays) for side in (case.ours, peer)}
    seconds: dict[str, list[float]] = {case.ours.package: [], peer.package: []}
    answers = {side.package: side.run(prepared[side.package]) for side in (case.ours, peer)}
    for pair in range(pairs):
        for side in (case.ours, peer) if pair % 2 == 0 else (peer, case.ours):
            taken, answers[side.package] = timed(side.run, prepared[side.package])
            seconds[side.package].append(taken)
    ours, theirs = case.ours.package, peer.package
    return Pairs(seconds[ours], seconds[theirs], answers[ours], answers[theirs])


def alone(case: Case, arrays: Arrays, times: int) -> tuple[float, Answer]:
    """Median seconds of our side."""
    prepared = case.ours.prepare(arrays)
    runs = [timed(case.ours.run, prepared) for _ in range(times)]
    return statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def timed(run: Callable[[Any], Answer], prepared: Any) -> tuple[float, Answer]:
    """Seconds of one run (the mean of several where one is short), scaled to the whole."""
    gc.collect()
    count, elapsed = 0, 0.0
    start = time.perf_counter()
    while not count or elapsed < SHORT:
        answer = run(prepared)
        count += 1
        elapsed = time.perf_counter() - start
    return answer.whole(elapsed / count), answer


def peak_bytes(case: Case, side: Side, quick: bool, threads: int) -> tuple[int, int] | None:
    """Peak resident memory of one run above the arrays, and of the process; None where it was killed."""
    request = json.dumps({"case": case.name, "package": side.package, "quick": quick, "threads": threads})
    done = subprocess.run(
        [sys.executable, str(CHILD), request],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=False,
    )
    if done.returncode == -9:
        return None
    if done.returncode:
        raise RuntimeError(f"{case.name}, {side.package} failed in its process:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["above"], found["process"]
