"""The tables of the benchmark of measures and the words above them."""

from __future__ import annotations

from _page import section
from _rsa_tables import COLUMNS, Tables

TITLES = {
    "one-pass": "Measures: one pass over many systems",
    "shape": "Measures: shape distances of many networks",
    "large": "Measures: debiased CKA without Gram matrices",
    "dynamics": "Measures: dynamical similarity of many systems",
}
WORDS = {
    "one-pass": "Layers of two networks that share a part; the other side is brainalign itself, one call "
    "for each pair and measure. **A few pairs are timed by single calls and scaled to all.** The first row "
    "holds the measures that `compare_many` takes when none are named; its runs and those of "
    "`linear_predictivity`, which shares one fit for each layer of the first network, are one pair, each "
    "side run once before at a small size. Permutations: both sides draw the same orders; 'largest "
    "difference' is that of values, p-values and means of the null.",
    "shape": "scipy: a loop over **a part of the pairs, scaled to all**, which centres and norms both sides "
    "of each pair; the promise is against `orthogonal_procrustes`.",
    "large": "The clock and the memory hold the reading of float32 rows; promised: less than 1 GB at "
    "73,000 x 1000. numpy: float64 tiles of 4096 x 4096 of both Gram matrices, those above the diagonal "
    "alone, one pass; **of the large size a part of the tiles is timed and scaled**, and 'largest "
    "difference' is that over the first 8192 rows.",
    "dynamics": "Both sides fit one operator for each system. torch: Adam over the Cayley map from one start "
    "of each determinant, learning rate 0.01, the best of all steps. 'Largest difference': how far our angle "
    "lies above that of Adam, the largest over pairs; below 0 it is lower in every pair.",
}


def empty_tables() -> Tables:
    """Tables of this benchmark without rows."""
    tables = Tables()
    tables.rows = {name: [] for name in TITLES}
    return tables


def sections(tables: Tables, told: str, pairs: int) -> list[tuple[str, tuple[str, str]]]:
    """Name and section of the tables that have rows."""
    start = (
        f"{told}. Same arrays and threads; median (spread) of {pairs} interleaved pairs, order alternating, "
        "each side run once before. Peak memory: highest resident memory of one run of what was timed, in a "
        "process of its own, less that before it. 'Rate': operations of the matrix products of brainalign "
        "per second, over the machine's rate"
    )
    return [
        (name, section(title, f"{start}. {WORDS[name]}", COLUMNS, tables.rows[name]))
        for name, title in TITLES.items()
        if tables.rows[name]
    ]
