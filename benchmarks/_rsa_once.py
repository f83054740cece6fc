"""Run one side of one case and print its peak memory; started by `_rsa_measure` as its own process."""

from __future__ import annotations

import gc
import json
import sys

import torch
from _fit_once import forget_peak, resident_bytes
from _rsa_case import Case, Side
from _rsa_cases import all_cases
from threadpoolctl import threadpool_limits


def main(request: dict) -> None:
    """Load libraries on the small version of the case, make the arrays, run; bytes count from there on."""
    small, warm = chosen(request, quick=True)
    warm.run(warm.prepare(small.make()))
    case, side = chosen(request, quick=request["quick"])
    prepared = side.prepare(case.make())
    gc.collect()
    before = resident_bytes("VmRSS")
    forget_peak()
    side.run(prepared)
    peak = resident_bytes("VmHWM")
    print(json.dumps({"above": peak - before, "process": peak}))


def chosen(request: dict, quick: bool) -> tuple[Case, Side]:
    """The case of this name in its full or small size, and the side of the package asked for."""
    case = next(one for one in all_cases(quick) if one.name == request["case"])
    return case, next(one for one in (case.ours, *case.peers) if one.package == request["package"])


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    with threadpool_limits(asked["threads"]):
        main(asked)
