"""The tables of the RSA benchmark and the words above them."""

from __future__ import annotations

from _page import section

COLUMNS = [
    "problem",
    "brainalign",
    "peer",
    "ratio",
    "promised",
    "largest difference",
    "peak memory, brainalign",
    "peak memory, peer",
    "rate",
    "timed of the peer",
]
TITLES = {
    "inference": "RSA: two-factor bootstrap with ceilings and tests",
    "distances": "RSA: crossnobis distances and noise precision",
    "searchlight": "RSA: searchlight",
    "large": "RSA without RDMs",
    "comparators": "RSA: comparison of stacks of RDMs",
}
WORDS = {
    "inference": "The clock of brainalign holds all draws over stimuli, over subjects and over both, scores, "
    "ceilings, variances, `test_against_zero` and `test_pairs`; that of rsatoolbox the draws alone. **A few "
    "draws of rsatoolbox are timed and scaled to all.** 'Largest difference': scores of both in the very "
    "draws that rsatoolbox made.",
    "distances": "'Largest difference' is relative to the largest entry. Both sides give the whole precision "
    "matrix.",
    "searchlight": "brainalign: one call, all centres, all models. rsatoolbox: all neighbourhoods, then "
    "distances and `eval_fixed` of **a part of the centres, scaled to all**, one process; its searchlight "
    "takes no noise, so that noise is the loop over centres that its user writes. mne-rsa: a part of the "
    "centres, scaled, spheres given. 'Largest difference': over what the peer computed.",
    "large": "Rows are read from a file in blocks of 4096; the clock and the memory hold the reading; "
    "promised: less than 1 GB at 73,000 x 1000. "
    "rsatoolbox builds both RDMs, which the second size does not allow (42 GB).",
    "comparators": "The peer's Riemannian comparator searches for the best scale and ridge; the difference "
    "shown is how far our maximum lies below its own. With a full `sigma_k` the peer solves to 1e-5.",
}


class Tables:
    """Rows collected so far, by table."""

    def __init__(self) -> None:
        self.rows: dict[str, list[list[str]]] = {name: [] for name in TITLES}

    def add(self, table: str, row: list[str]) -> None:
        """Keep a row and show it at once."""
        self.rows[table].append(row)
        print(f"[{table}] " + " | ".join(row), flush=True)


def sections(tables: Tables, told: str, pairs: int) -> list[tuple[str, tuple[str, str]]]:
    """Name and section of the tables that have rows."""
    start = (
        f"{told}. Same arrays and threads; median (spread) of {pairs} interleaved pairs, order alternating, "
        "each side run once before; containers of the peer are made before the clock starts. Peak memory: "
        "highest resident memory of one run of what was timed, in a process of its own, less that before it. "
        "'Rate': operations of the matrix products of brainalign per second, over the machine's rate"
    )
    return [
        (name, section(title, f"{start}. {WORDS[name]}", COLUMNS, tables.rows[name]))
        for name, title in TITLES.items()
        if tables.rows[name]
    ]
