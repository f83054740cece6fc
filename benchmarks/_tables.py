"""The tables of the ridge benchmark and the words above them."""

from __future__ import annotations

from dataclasses import dataclass, field

from _page import section


@dataclass
class Tables:
    """Rows collected so far, one list a table."""

    ridge: list[list[str]] = field(default_factory=list)
    memory: list[list[str]] = field(default_factory=list)
    adaptive: list[list[str]] = field(default_factory=list)
    others: list[list[str]] = field(default_factory=list)
    banded: list[list[str]] = field(default_factory=list)

    def add(self, table: str, row: list[str]) -> None:
        """Keep a row and show it at once."""
        getattr(self, table).append(row)
        print(f"[{table}] " + " | ".join(row), flush=True)


def sections(tables: Tables, told: str, pairs: int) -> list[tuple[str, str]]:
    """The sections of the page that this script owns."""
    same = (
        f"{told}. Simulated float32 responses of mixed signal-to-noise ratio (explained variance 0 to 0.6), "
        "five folds in order, 20 penalties, intercept, r2"
    )
    above = "Same run, machine and problem as the first table"
    size = "samples x features x targets"
    return [
        section(
            "Cross-validated ridge, one penalty per target",
            f"{same}. himalaya's best of two estimators, two CPU backends and two settings (its tutorials' "
            "batches; everything in one batch); median (spread) of "
            f"{pairs} interleaved pairs ({max(1, pairs - 2)} for the grid 1e1 to 1e20), order alternating. "
            "'Other batches': the faster of the settings that are not the best, one run. 'Equal': share of "
            "targets with the same penalty as the peer; 'equal to float64': of ours and of the peer, against "
            "the fit of the same values in float64. 'Rate': floating-point operations of our plan per second "
            "over the machine's rate.",
            [
                size,
                "penalties",
                "brainalign",
                "himalaya, best",
                "ratio",
                "other batches",
                "equal",
                "equal to float64",
                "rate",
            ],
            tables.ridge,
        ),
        section(
            "Peak memory of a cross-validated ridge",
            f"{above}. Each fit in a process of its own: highest resident memory less that after the arrays "
            "were loaded. 'Plan' is what `plan(X, Y).peak_bytes` says before the fit.",
            [
                size,
                "brainalign",
                "plan",
                "measured / plan",
                "himalaya, best",
                "himalaya, other batches",
                "himalaya / brainalign",
            ],
            tables.memory,
        ),
        section(
            "Adaptive search of penalties",
            f'{above}. `alpha_search="adaptive"` against our own exact grid, {pairs} interleaved '
            "pairs. 'Of himalaya': the time of its exact grid in the first table over ours.",
            [size, "penalties", "adaptive", "grid", "ratio", "of himalaya", "equal"],
            tables.adaptive,
        ),
        section(
            "Ridge against scikit-learn and fracridge",
            f"{above}. One pair. scikit-learn: `Ridge` for each fold and penalty, scored per target, with a "
            "refit for each chosen penalty (it has no penalty per target with K-fold). fracridge: its "
            "decomposition and 20 fractions (in place of 20 penalties) for each fold, scored per target, "
            "without a refit; its fractions are other penalties, so only the time is compared.",
            [size, "brainalign", "peer", "ratio", "equal"],
            tables.others,
        ),
        section(
            "Banded ridge",
            f"{above}; a weight for each feature space and target. himalaya's random search with the same "
            "number of candidates, the best of its two estimators and settings, "
            f"{max(1, pairs - 2)} pair(s). 'Mean score': mean over "
            "targets of the cross-validated r2 of what was chosen. 'Not worse': share of targets whose score "
            "is at least the peer's less 1e-4.",
            [
                "samples x (spaces x features) x targets",
                "candidates",
                "brainalign",
                "himalaya, best",
                "ratio",
                "mean score, brainalign",
                "mean score, himalaya",
                "not worse",
                "peak memory, both",
            ],
            tables.banded,
        ),
    ]
