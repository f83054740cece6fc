"""Measures of alignment: one pass over many systems, shape distances, large CKA, dynamical similarity.

Run with ``make bench``, or here::

    python benchmarks/measures.py            all cases; writes docs/benchmarks.md
    python benchmarks/measures.py --quick    all cases at a fraction of their size; writes nothing
    python benchmarks/measures.py --case shape --case one-pass-shared --pairs 5

A table of the page is written where all of its rows were run. Clock, pairs, memory and tables are
those of the RSA benchmark. Where the other side would take long, a part of its work is timed and
scaled, which the table says; what both computed must agree to the tolerance of the case, or the
run ends with an error.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import _rsa_measure
import torch
from _measure import THREADS, circumstances, matrix_multiply_rate
from _measures_cases import all_cases
from _measures_tables import TITLES, empty_tables, sections
from _page import write_sections
from _rsa_case import Arrays, Case, Side
from _rsa_measure import Pairs, paired, timed
from rsa import Run as RsaRun
from threadpoolctl import threadpool_limits

PACKAGES = ("brainalign", "torch", "numpy", "scipy")
# a run takes half a minute or more: one pair, each side run before at a small size
LONG = ("one-pass-shared", "one-pass-predictivity")
CHILD = Path(__file__).with_name("_measures_once.py")


class Run(RsaRun):
    """The rows of this benchmark; the ratio is promised against the first peer of a case."""

    def __init__(self, asked: argparse.Namespace, rate: float) -> None:
        super().__init__(asked, rate)
        self.tables = empty_tables()

    def add_pair(self, case: Case, arrays: Arrays, peer: Side, mine: str) -> None:
        measured = once(case, arrays, peer) if case.name in LONG else paired(case, arrays, peer, self.pairs)
        gap = case.difference(arrays, measured.our_answer, measured.peer_answer)
        if not gap <= case.tolerance:
            self.failed.append(f"{case.name}, {peer.package}: {gap:.2g} > {case.tolerance:.0e}")
        seconds = statistics.median(measured.ours)
        self.row(case, f"{seconds:.3g} s", seconds, mine, (peer, measured, gap))

    def row(
        self,
        case: Case,
        shown: str,
        seconds: float,
        mine: str,
        against: tuple[Side, Pairs, float] | None = None,
    ) -> None:
        assert against is not None, "every case has another side"
        peer, measured, gap = against
        promised = f"{case.floor:.0f} x" if case.floor and peer is case.peers[0] else ""
        missed = promised and not self.asked.quick and measured.ratio < case.floor
        reached = f"{100 * case.operations / seconds / self.rate:.0f} %" if case.operations else ""
        cells = [
            case.size,
            shown,
            f"{statistics.median(measured.peer):.3g} s ({peer.package} {peer.what})",
            str(measured),
            promised + (" (missed)" if missed else ""),
            f"{gap:.1e}",
            mine,
            self.memory(case, peer),
            reached,
            peer.share or "all",
        ]
        self.tables.add(case.table, cells)


def once(case: Case, arrays: Arrays, peer: Side) -> Pairs:
    """One run of each side; the run before it, which loads the libraries, is of the small size."""
    small = next(one for one in all_cases(quick=True) if one.name == case.name)
    few = small.make()
    for side in (small.ours, *small.peers):
        side.run(side.prepare(few))
    mine, theirs = (timed(side.run, side.prepare(arrays)) for side in (case.ours, peer))
    return Pairs([mine[0]], [theirs[0]], mine[1], theirs[1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one pair; writes nothing")
    names = list(dict.fromkeys([*TITLES, *(case.name for case in all_cases(quick=True))]))
    parser.add_argument(
        "--case",
        choices=names,
        action="append",
        metavar="NAME",
        help=f"a table or one row of it; may be repeated: {', '.join(names)}",
    )
    parser.add_argument("--pairs", type=int, default=3, help="interleaved pairs (default 3)")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"threads (default {THREADS})")
    return parser.parse_args()


def main() -> None:
    """Run the cases asked for, print every row, and write them to the page."""
    asked = parse()
    _rsa_measure.CHILD = CHILD  # the process that measures memory must know these cases
    torch.set_num_threads(asked.threads)
    every = all_cases(asked.quick)
    cases = [one for one in every if asked.case is None or {one.name, one.table} & set(asked.case)]
    with threadpool_limits(asked.threads):
        rate = matrix_multiply_rate(1024 if asked.quick else 4096, torch.float64)
        told = circumstances(rate, PACKAGES, precision="float64", threads=asked.threads)
        print(told, flush=True)
        run = Run(asked, rate)
        for case in cases:
            print(f"{case.name}: {case.size}", flush=True)
            run.add(case)
    if not asked.quick:
        whole = {one.table for one in every} - {one.table for one in every if one not in cases}
        write_sections([text for table, text in sections(run.tables, told, run.pairs) if table in whole])
    if run.failed:
        sys.exit("the two sides differ: " + "; ".join(run.failed))


if __name__ == "__main__":
    main()
