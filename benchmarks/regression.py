"""Ridge with one penalty per target against himalaya, scikit-learn and fracridge, paired in one process.

Run with ``make bench``, or here::

    python benchmarks/regression.py            all cases, about 25 minutes; writes docs/benchmarks.md
    python benchmarks/regression.py --quick    all cases at a fraction of their size; writes nothing
    python benchmarks/regression.py --case n8000-p500 --pairs 5

Both sides get the same simulated float32 arrays, folds, penalties, score and threads. Of
himalaya, both estimators, both CPU backends, the settings of its tutorials and its own
defaults (everything in one batch) are tried in a process of their own, stopped when they
take longer than the best so far; the fastest one is then timed in pairs.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import torch
from _measure import (
    THREADS,
    Child,
    circumstances,
    equal_share,
    matrix_multiply_rate,
    paired,
    stored,
    timed,
)
from _page import write_sections
from _sides import GRIDS, Side, our_model
from _simulated import banded_problem, ridge_problem
from _tables import Tables, sections
from threadpoolctl import threadpool_limits

SPECTRUM, TUTORIAL_GRID = GRIDS
PATIENCE = 1.25  # a setting of the peer is stopped when it takes this much longer than its best so far


@dataclass(frozen=True)
class Case:
    """One problem: sizes, grids, whether the adaptive search is timed, which slower peers finish."""

    name: str
    n: int
    p: int
    t: int
    grids: tuple[str, ...] = (SPECTRUM,)
    adaptive: bool = False
    others: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    candidates: int = 0

    @property
    def size(self) -> str:
        columns = f"({len(self.widths)} x {self.widths[0]})" if self.widths else str(self.p)
        return f"{self.n} x {columns} x {self.t}"

    def smaller(self) -> Case:
        """The same case at about a hundredth of the work, one grid, without the slower peers."""
        widths = tuple(w // 5 for w in self.widths)
        return replace(
            self,
            n=self.n // 5,
            p=sum(widths) or self.p // 5,
            t=max(20, self.t // 20),
            grids=(SPECTRUM,),
            others=(),
            widths=widths,
            candidates=min(self.candidates, 4),
        )


BOTH = ("scikit-learn", "fracridge")
CASES = [
    Case("n512-p5488", 512, 5488, 50, (SPECTRUM, TUTORIAL_GRID), True, BOTH),
    Case("n1000-p2000", 1000, 2000, 5000, (SPECTRUM, TUTORIAL_GRID), True, BOTH),
    Case("n8000-p500", 8000, 500, 1700, (SPECTRUM, TUTORIAL_GRID), False, BOTH),
    Case("n3000-p1500", 3000, 1500, 8000, (SPECTRUM, TUTORIAL_GRID), True),
    Case("n3000-p3072", 3000, 3072, 10000, (SPECTRUM, TUTORIAL_GRID), True),
    Case("banded", 1500, 1500, 3000, widths=(500, 500, 500), candidates=20),
]


def peer_settings(case: Case) -> list[Side]:
    """Every setting of the peer for a case, the one that should win first."""
    if case.widths:
        estimators = ["MultipleKernelRidgeCV", "GroupRidgeCV"]
    else:
        estimators = ["KernelRidgeCV", "RidgeCV"] if case.p >= case.n else ["RidgeCV", "KernelRidgeCV"]
    return [
        Side("himalaya", estimator, backend, settings, widths=case.widths, candidates=case.candidates)
        for estimator in estimators
        for backend in ("torch", "numpy")
        for settings in ("tutorial", "one batch")
    ]


def screen(in_child, sides: list[Side]) -> dict[Side, Child]:
    """Run each setting of the peer once that can win; it is stopped when it no longer can.

    In the banded case two candidates tell the order, as every candidate costs the same.
    """
    found: dict[Side, Child] = {}
    for side in sides:
        if not can_win(side, found):
            continue
        times = [child.seconds for child in found.values() if child.seconds is not None]
        tried = replace(side, candidates=min(side.candidates, 2))
        found[side] = in_child(tried, max(3.0, PATIENCE * min(times)) if times else None)
        seconds = found[side].seconds
        print(f"  {side}: {found[side].outcome or f'{seconds:.2f} s'}", flush=True)
    return found


def can_win(side: Side, found: dict[Side, Child]) -> bool:
    """Whether a setting is worth a run after those before it.

    Not if all settings of its estimator so far were stopped, nor, on the second backend, if
    its batches lost to the others on the first.
    """
    same = {s: c.seconds or np.inf for s, c in found.items() if s.estimator == side.estimator}
    if same and not np.isfinite(min(same.values())):
        return False
    before = {s.settings: seconds for s, seconds in same.items() if s.backend != side.backend}
    return not before or before.get(side.settings, np.inf) == min(before.values())


def fastest(found: dict[Side, Child], settings: str | None = None) -> Side | None:
    """The fastest setting that finished, of all or of those with these batches."""
    finished = {
        side: child.seconds
        for side, child in found.items()
        if child.seconds is not None and settings in (None, side.settings)
    }
    return min(finished, key=lambda side: finished[side]) if finished else None


def run_ridge(case: Case, sides: list[Side], pairs: int, rate: float, tables: Tables) -> None:
    """Time and memory of one problem, for each of its grids."""
    X, Y = ridge_problem(case.n, case.p, case.t)
    with stored(X, Y) as in_child:
        found = screen(in_child, sides)
        best = fastest(found)
        assert best is not None
        add_memory(case, found, best, in_child(Side("brainalign", "RidgeCV")), (X, Y), tables)
    peer_seconds = {}
    for grid in case.grids:
        count = pairs if grid == SPECTRUM else max(1, pairs - 2)
        peer_seconds[grid] = add_ridge(case, grid, best, found, (X, Y), count, rate, tables)
    if case.adaptive:
        add_adaptive(case, (X, Y), pairs, peer_seconds, tables)
    for package in case.others:
        add_other(case, package, (X, Y), tables)


def add_ridge(case, grid, best, found, arrays, pairs, rate, tables) -> float:
    """One row: our exact grid against the peer's best setting, and its other batches from the screening.

    Returns the median seconds of the peer.
    """
    X, Y = arrays
    ours, peer = Side("brainalign", "RidgeCV", grid=grid), replace(best, grid=grid)
    measured = paired(ours, peer, X, Y, pairs)
    seconds = statistics.median(measured.ours)
    exact = timed(ours, X.astype(np.float64), Y.astype(np.float64))[1]
    tables.add(
        "ridge",
        [
            case.size,
            grid,
            f"{seconds:.2f} s",
            f"{statistics.median(measured.peer):.2f} s ({best})",
            measured.ratio(),
            other_batches(best, found, seconds) if grid == SPECTRUM else "",
            f"{100 * equal_share(measured.our_answer, measured.peer_answer):.2f} %",
            f"{100 * equal_share(measured.our_answer, exact):.2f} %, "
            f"{100 * equal_share(measured.peer_answer, exact):.2f} %",
            reached(ours, X, Y, seconds, rate),
        ],
    )
    return statistics.median(measured.peer)


def other_batches(best: Side, found: dict[Side, Child], seconds: float) -> str:
    """Ratio against the fastest setting of the peer with the batches that the best one has not."""
    wanted = "one batch" if best.settings == "tutorial" else "tutorial"
    other = fastest(found, wanted)
    if other is not None:
        return f"{found[other].seconds / seconds:.2f} x ({other})"
    if any(side.settings == wanted for side in found):
        limit = PATIENCE * min(child.seconds for child in found.values() if child.seconds is not None)
        return f"above {limit / seconds:.1f} x"
    return "not run"


def reached(ours: Side, X: np.ndarray, Y: np.ndarray, seconds: float, rate: float) -> str:
    """Share of the machine's matrix-multiply rate that the fit's planned operations reached."""
    flops = our_model(ours).plan(X, Y).flops
    return f"{100 * flops / seconds / rate:.0f} % of {flops / 1e12:.2f} TFLOP"


def add_memory(case, found, best, ours: Child, arrays, tables) -> None:
    """One row: what each side needed beyond the arrays, and what our plan promised."""
    planned = our_model(Side("brainalign", "RidgeCV")).plan(*arrays).peak_bytes
    assert ours.peak_bytes is not None
    other = fastest(found, "one batch" if best.settings == "tutorial" else "tutorial")
    tables.add(
        "memory",
        [
            case.size,
            megabytes(ours.peak_bytes),
            megabytes(planned),
            f"{ours.peak_bytes / planned:.2f}",
            f"{megabytes(found[best].peak_bytes)} ({best})",
            f"{megabytes(found[other].peak_bytes)} ({other})" if other else "",
            f"{(found[best].peak_bytes or 0) / ours.peak_bytes:.1f} x",
        ],
    )


def megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.0f} MiB"


def add_adaptive(case, arrays, pairs, peer_seconds, tables) -> None:
    """One row: the adaptive search of penalties against our own exact grid, and the peer's time over it."""
    X, Y = arrays
    for grid in case.grids:
        adaptive = Side("brainalign", "RidgeCV", settings="adaptive", grid=grid)
        measured = paired(adaptive, replace(adaptive, settings="grid"), X, Y, pairs)
        tables.add(
            "adaptive",
            [
                case.size,
                grid,
                f"{statistics.median(measured.ours):.2f} s",
                f"{statistics.median(measured.peer):.2f} s",
                measured.ratio(),
                f"{peer_seconds[grid] / statistics.median(measured.ours):.2f} x",
                f"{100 * equal_share(measured.our_answer, measured.peer_answer):.2f} %",
            ],
        )


def add_other(case, package, arrays, tables) -> None:
    """One row: a loop over scikit-learn's or fracridge's solver, one pair."""
    estimator, module = {"scikit-learn": ("Ridge", "sklearn"), "fracridge": ("fracridge", "fracridge")}[
        package
    ]
    if find_spec(module) is None:
        tables.add("others", [case.size, "", f"{package} is not installed", "", ""])
        return
    measured = paired(Side("brainalign", "RidgeCV"), Side(package, estimator), *arrays, 1)
    equal = "other grid"
    if measured.peer_answer.penalties is not None:
        equal = f"{100 * equal_share(measured.our_answer, measured.peer_answer):.2f} %"
    tables.add(
        "others",
        [
            case.size,
            f"{measured.ours[0]:.2f} s",
            f"{measured.peer[0]:.2f} s ({package})",
            f"{measured.ratios[0]:.1f} x",
            equal,
        ],
    )


def run_banded(case: Case, sides: list[Side], pairs: int, tables: Tables) -> None:
    """Feature spaces with weights of their own: time and the mean score that both searches found."""
    X, Y = banded_problem(case.n, list(case.widths), case.t)
    ours = Side("brainalign", "BandedRidgeCV", widths=case.widths, candidates=case.candidates)
    with stored(X, Y) as in_child:
        found = screen(in_child, sides)
        best = fastest(found)
        assert best is not None
        ours_alone = in_child(ours)
    measured = paired(ours, best, X, Y, max(1, pairs - 2))  # a fit of the peer takes minutes
    tables.add(
        "banded",
        [
            case.size,
            str(case.candidates),
            f"{statistics.median(measured.ours):.2f} s",
            f"{statistics.median(measured.peer):.2f} s ({best})",
            measured.ratio(),
            f"{np.nanmean(measured.our_answer.scores):.5f}",
            f"{np.nanmean(measured.peer_answer.scores):.5f}",
            f"{100 * np.mean(measured.our_answer.scores >= measured.peer_answer.scores - 1e-4):.1f} %",
            f"{megabytes(ours_alone.peak_bytes)}, {megabytes(found[best].peak_bytes)}",
        ],
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one pair; writes nothing")
    names = [case.name for case in CASES]
    parser.add_argument("--case", choices=names, action="append", help="this case alone; may be repeated")
    parser.add_argument("--pairs", type=int, default=3, help="interleaved pairs (default 3)")
    return parser.parse_args()


def main() -> None:
    """Run the cases asked for, print every row, and write them to the page."""
    asked = parse()
    torch.set_num_threads(THREADS)
    cases = [case for case in CASES if asked.case is None or case.name in asked.case]
    pairs = 1 if asked.quick else asked.pairs
    tables = Tables()
    with threadpool_limits(THREADS):
        rate = matrix_multiply_rate()
        told = circumstances(rate)
        print(told, flush=True)
        for case in (case.smaller() if asked.quick else case for case in cases):
            print(f"{case.name}: {case.size}", flush=True)
            sides = peer_settings(case)[: 1 if asked.quick else None]
            if case.widths:
                run_banded(case, sides, pairs, tables)
            else:
                run_ridge(case, sides, pairs, rate, tables)
    if not asked.quick:
        write_sections(sections(tables, told, pairs))


if __name__ == "__main__":
    main()
