"""RSA against rsatoolbox and mne-rsa: inference, distances, searchlight, comparators, large n.

Run with ``make bench``, or here::

    python benchmarks/rsa.py            all cases; writes docs/benchmarks.md
    python benchmarks/rsa.py --quick    all cases at a fraction of their size; writes nothing
    python benchmarks/rsa.py --case searchlight --case bootstrap-rho_a --pairs 5

A table of the page is written where all of its rows were run.

Both sides get the same simulated arrays and threads, one after the other in one process, the
order alternating; what they computed must agree to the tolerance of the case, or the run ends
with an error. Where a peer would take hours, a part of its work is timed and scaled, which
the table says. A peer that is not installed is left out with a line.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch
from _measure import THREADS, circumstances, matrix_multiply_rate
from _page import write_sections
from _rsa_case import Arrays, Case, Side
from _rsa_cases import all_cases
from _rsa_measure import Pairs, alone, paired, peak_bytes
from _rsa_tables import TITLES, Tables, sections
from threadpoolctl import threadpool_limits

PACKAGES = ("brainalign", "rsatoolbox", "mne-rsa", "torch", "numpy", "scipy")


class Run:
    """What is asked for, the rows so far, and the cases in which the two sides differ."""

    def __init__(self, asked: argparse.Namespace, rate: float) -> None:
        self.asked, self.rate = asked, rate
        self.pairs = 1 if asked.quick else asked.pairs
        self.tables = Tables()
        self.failed: list[str] = []

    def add(self, case: Case) -> None:
        """A row for each peer, or one of our own where there is none."""
        arrays = case.make()
        peers = [peer for peer in case.peers if peer.installed]
        for peer in case.peers:
            if not peer.installed:
                print(f"{case.name}: {peer.package} is not installed, left out", flush=True)
        mine = self.memory(case, case.ours)
        for peer in peers:
            self.add_pair(case, arrays, peer, mine)
        if not case.peers:
            seconds, _ = alone(case, arrays, self.pairs)
            self.row(case, f"{seconds:.3g} s", seconds, mine)

    def add_pair(self, case: Case, arrays: Arrays, peer: Side, mine: str) -> None:
        measured = paired(case, arrays, peer, self.pairs)
        seconds = statistics.median(measured.ours)
        gap = case.difference(arrays, measured.our_answer, measured.peer_answer)
        if not gap <= case.tolerance:
            self.failed.append(f"{case.name}, {peer.package}: {gap:.2g} > {case.tolerance:.0e}")
        self.row(case, f"{seconds:.3g} s", seconds, mine, (peer, measured, gap))

    def row(
        self,
        case: Case,
        shown: str,
        seconds: float,
        mine: str,
        against: tuple[Side, Pairs, float] | None = None,
    ) -> None:
        reached = f"{100 * case.operations / seconds / self.rate:.0f} %" if case.operations else ""
        if against is None:
            self.tables.add(case.table, [case.size, shown, "", "", "", "", mine, "", reached, ""])
            return
        peer, measured, gap = against
        theirs = f"{statistics.median(measured.peer):.3g} s ({peer.package} {peer.what})"
        promised = f"{case.floor:.0f} x" if case.floor and peer.package == "rsatoolbox" else ""
        missed = promised and not self.asked.quick and measured.ratio < case.floor
        self.tables.add(
            case.table,
            [
                case.size,
                shown,
                theirs,
                str(measured),
                promised + (" (missed)" if missed else ""),
                f"{gap:.1e}",
                mine,
                self.memory(case, peer),
                reached,
                peer.share or "all",
            ],
        )

    def memory(self, case: Case, side: Side) -> str:
        if self.asked.quick and self.tables.rows[case.table]:
            return ""  # one process a table shows that it works
        found = peak_bytes(case, side, self.asked.quick, self.asked.threads)
        if found is None:
            return "out of memory"
        above, whole = found
        return f"{above / 2**20:.0f} MiB" + (
            f" (process: {whole / 2**20:.0f} MiB)" if case.table == "large" else ""
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one pair; writes nothing")
    names = [*TITLES, *(case.name for case in all_cases(quick=True))]
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
