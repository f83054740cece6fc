"""What a fit will cost, before it starts: the path, the work and the peak memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brainalign.errors import MemoryBudgetError
from brainalign.regression._eigen_path import KEPT, WORKERS, worth_lifting
from brainalign.regression._folds import Fold
from brainalign.regression._segments import CACHED
from brainalign.regression._sources import PAD

# bytes of one buffer of predictions; larger blocks make matrix products no faster
_BUFFER = 2**26
_OVERHEAD = 48 * 2**20  # libraries and their work space
# products of a column that serve all penalties of a grid, and moments that are combined
_PRODUCTS, _MOMENTS = 6, 60
PATHS = {
    "primal": "sums of products per fold, one eigendecomposition (p x p) per fold",
    "dual": "one inverse (n x n) per penalty, all folds from its blocks",
    "factored": "one factorisation of the training kernel per fold and penalty",
    "eigen": "one eigendecomposition (n x n), residuals of the rows left out",
}


@dataclass(frozen=True)
class Plan:
    """Cost of a fit.

    Attributes: `path` (one of ``"primal"``, ``"dual"``, ``"factored"``, ``"eigen"``),
    `flops` (floating-point operations of the leading terms, a multiply-add counted as
    two), `peak_bytes` (memory beyond X and Y: factors, a few blocks, the fitted arrays),
    `budget_bytes`, `block_targets` (targets per block), `penalties_per_pass`, `dtype` of
    the large products, and the sizes of the problem.
    """

    path: str
    flops: float
    peak_bytes: int
    budget_bytes: int
    block_targets: int
    penalties_per_pass: int
    dtype: str
    n_samples: int
    n_features: int
    n_targets: int
    n_alphas: int
    n_folds: int

    def __str__(self) -> str:
        return (
            f"path       {self.path}: {PATHS[self.path]}\n"
            f"problem    {self.n_samples} samples x {self.n_features} features x {self.n_targets} targets, "
            f"{self.n_alphas} penalties, {self.n_folds} folds, {self.dtype}\n"
            f"work       {self.flops / 1e9:.4g} GFLOP\n"
            f"memory     {_megabytes(self.peak_bytes)} at the peak, of {_megabytes(self.budget_bytes)}\n"
            f"blocks     {self.block_targets} targets, {self.penalties_per_pass} penalties per pass"
        )


def _megabytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MB"


@dataclass(frozen=True)
class Sizes:
    """The numbers a plan depends on; `linear` tells whether weights of features are wanted.

    `kept_bytes` are arrays that the caller makes beside it: a copy of X in another dtype; `gpu`:
    the work is done on one; `threads` of the CPU otherwise.
    """

    n: int
    p: int
    t: int
    n_alphas: int
    tests: list[int]
    trains: list[int]
    absents: list[int]
    itemsize: int
    linear: bool
    kept_bytes: int
    result_bytes: int
    gpu: bool = False
    threads: int = 1

    @property
    def n_folds(self) -> int:
        return len(self.tests)

    @property
    def lifted(self) -> bool:
        """Whether the eigen path multiplies features with its eigenvectors, not with dual weights."""
        return self.linear and worth_lifting(self.p, self.t)


def fold_sizes(folds: Sequence[Fold]) -> tuple[list[int], list[int], list[int]]:
    """Numbers of test, training and absent rows of each fold."""
    return ([len(f.test) for f in folds], [len(f.train) for f in folds], [len(f.absent) for f in folds])


def _grid_flops(s: Sizes, rows: float, columns: float) -> float:
    """Products of `rows` with `columns` eigenvectors that give the predictions at all penalties."""
    products, moments = min(s.n_alphas, _PRODUCTS), min(s.n_alphas, _MOMENTS)
    return 2.0 * rows * s.t * (products * columns + moments * s.n_alphas)


def primal_flops(s: Sizes) -> float:
    """Work of the primal path."""
    rows = [min(test, s.p) for test in s.tests]
    folds = sum(
        22 * s.p**3 + 4 * s.p**2 * s.t + _grid_flops(s, r, s.p) + 4 * a * s.p**2
        for r, a in zip(rows, s.absents, strict=True)
    )
    return 2.0 * s.n * s.p**2 + 2.0 * s.n * s.p * s.t + folds + 22 * s.p**3 + 4.0 * s.p**2 * s.t


def _around_kernel(s: Sizes) -> float:
    """Kernel, refit and weights of the features."""
    return 2.0 * s.n**2 * s.p + 2.0 * s.n**2 * s.t + (2.0 * s.n * s.p * s.t if s.linear else 0)


def _inverse_flops(s: Sizes) -> float:
    """Matrices of one penalty on the dual path by inverses (folds with many absent rows are factored)."""
    return s.n**3 * 4.0 / 3 + sum(
        2.0 * a**2 * tr + a**3 / 3 if 2 * a <= s.n else tr**3 / 3 + 2.0 * te * tr**2
        for a, tr, te in zip(s.absents, s.trains, s.tests, strict=True)
    )


def dual_flops(s: Sizes) -> float:
    """Work of the dual path by inverses."""
    products = sum(2.0 * te * tr * s.t for tr, te in zip(s.trains, s.tests, strict=True))
    return _around_kernel(s) + s.n_alphas * (_inverse_flops(s) + products)


def _left_out_flops(s: Sizes) -> float:
    """Inverses of one penalty among the rows left out."""
    return sum(2.0 * a**2 * s.n + a**3 for a in s.absents)


def eigen_flops(s: Sizes) -> float:
    """Work of the dual path by one eigendecomposition."""
    products = sum(2.0 * a * te * s.t for a, te in zip(s.absents, s.tests, strict=True))
    folds = s.n_alphas * (_left_out_flops(s) + products) + _grid_flops(s, sum(s.absents), s.n)
    saved = 2.0 * s.n**2 * (s.t - s.p) if s.lifted else 0.0
    return _around_kernel(s) - saved + 22.0 * s.n**3 + 2.0 * s.n**2 * s.t + folds


FLOPS = {"primal": primal_flops, "dual": dual_flops, "factored": dual_flops, "eigen": eigen_flops}


def _estimated_time(path: str, s: Sizes) -> float:
    """Work in units of a float32 product: float64 and decompositions are slower, on a GPU by far.

    Of the grid a fourth is combined on the dual paths.
    """

    def eigh(m: int) -> float:
        return (4000.0 if s.gpu else 5.0) * m**3 + 1.5e4 * m**2

    calls = 5e9 + 2e6 * s.n_folds * s.n_alphas
    if path == "primal":
        return 1.1 * primal_flops(s) + (s.n_folds + 1) * eigh(s.p)
    if path == "eigen":
        # small matrices run at a lower rate
        return eigen_flops(s) + eigh(s.n) + 0.5 * s.n_alphas * _left_out_flops(s) + calls
    saved = 0.25 * (dual_flops(s) - _around_kernel(s))
    return dual_flops(s) - saved + 0.75 * s.n_alphas * 2.5 * _inverse_flops(s) + 2 * calls


def choose_path(solver: str, s: Sizes) -> str:
    """The path that should take least time, among those that are exact for this shape."""
    if solver != "auto":
        return solver
    names = ["dual", "eigen"] if not s.linear or s.p >= min(s.trains) else ["primal", "dual", "eigen"]
    return min(names, key=lambda name: _estimated_time(name, s))


def _block_width(path: str, s: Sizes) -> int:
    rows = max(min(te, s.p) if path == "primal" else te for te in s.tests)
    per_target = s.itemsize * max(rows * (s.n_alphas if path in ("dual", "factored") else 1), s.n)
    width = max(64, min(4096, _BUFFER // per_target // 64 * 64))
    return min(width, -(-s.t // PAD) * PAD)


def _factor_bytes(path: str, s: Sizes) -> int:
    """Arrays that live through the whole fit, and the largest that are made on the way."""
    if path == "primal":
        rows = max(min(te, s.p) for te in s.tests)
        basis = s.itemsize * s.n_folds * (s.p**2 + rows * s.p)
        building = 8 * (6 * s.p**2 + 3 * max(s.tests) * s.p) + s.itemsize * max(s.absents) * s.p
        return basis + 8 * 2 * s.p**2 + building
    square = 8 * s.n**2
    if path == "eigen":
        lifted = s.n * s.p if s.lifted else 0
        inverting = 8 * (5 + min(s.threads, WORKERS)) * max(max(s.absents), 512) * s.n
        return 6 * square + s.itemsize * (s.n**2 + lifted) + inverting
    return 4 * square + 2**25 + 8 * max(2 * a * s.n for a in s.absents)


def _segment_bytes(s: Sizes, rows: int, columns: int, width: int, more: int = 0) -> int:
    """What is made of `rows` by `columns` and a few targets (on a GPU a block) on the way to scores."""
    per_target = s.itemsize * ((_MOMENTS + s.n_alphas) * rows + more)
    made = width * per_target if s.gpu else max(CACHED, 64 * per_target)
    return made + s.itemsize * min(s.n_alphas, _PRODUCTS + 2) * rows * columns


def _block_bytes(path: str, s: Sizes, width: int, penalties: int) -> int:
    """Arrays of one block of targets."""
    read = 3 * s.n * width
    if path == "primal":
        rows = max(min(te, s.p) for te in s.tests)
        cross = (s.n_folds + 4) * s.p * width
        copies = max(s.absents) * (s.p + width)
        return s.itemsize * (read + cross + 3 * rows * width + copies) + _segment_bytes(s, rows, s.p, width)
    test, train = max(s.tests), max(s.trains)
    weights = s.p * width if s.linear else 0
    if path == "eigen":
        rows = max(max(s.absents), 512)
        segments = _segment_bytes(s, rows, s.n, width, 2 * s.n_alphas * rows)
        return s.itemsize * (read + 3 * s.n * width + 2 * test * width + weights) + segments
    return s.itemsize * (read + train * width + (penalties + 3) * test * width + weights)


def _pass_bytes(path: str, s: Sizes, penalties: int) -> int:
    """Matrices that all blocks share while some penalties are scored, or refitted."""
    if path == "primal":
        return 0
    stacks = sum(te * tr for te, tr in zip(s.tests, s.trains, strict=True))
    if path == "eigen":
        inverses = sum(te * ab for te, ab in zip(s.tests, s.absents, strict=True))
        return s.itemsize * (penalties * inverses + min(penalties, KEPT) * stacks)
    return penalties * max(s.itemsize * stacks, s.itemsize * s.n**2)


def make_plan(solver: str, s: Sizes, budget: int, *, whole_grid: bool) -> Plan:
    """Choose path and block sizes so that the peak stays in the budget.

    Parameters
    ----------
    solver : ``"auto"`` or the name of a path
    s : the sizes
    budget : bytes that may be used beyond X and Y
    whole_grid : all penalties must be ready at once (the search walks among them)

    Raises
    ------
    MemoryBudgetError
        Not even the smallest blocks fit.
    """
    path = choose_path(solver, s)
    fixed = _factor_bytes(path, s) + s.kept_bytes + s.result_bytes + _OVERHEAD
    width, penalties = _block_width(path, s), s.n_alphas

    def peak() -> int:
        return fixed + _block_bytes(path, s, width, penalties) + _pass_bytes(path, s, penalties)

    while peak() > budget and penalties > 1 and not whole_grid:
        penalties = -(-penalties // 2)
    while peak() > budget and width > PAD:
        width = max(PAD, width // 2 // PAD * PAD)
    if peak() > budget:
        raise MemoryBudgetError(
            f"this fit ({s.n} samples x {s.p} features x {s.t} targets, path {path!r}) needs at least "
            f"{_megabytes(peak())} and the budget is {_megabytes(budget)}: {_megabytes(s.result_bytes)} are "
            f"fitted arrays, {_megabytes(_factor_bytes(path, s))} factors. Raise memory_budget, give out= a "
            "file, or fit fewer targets at a time"
        )
    dtype = "float32" if s.itemsize == 4 else "float64"
    flops = FLOPS[path](s)
    return Plan(path, flops, peak(), budget, width, penalties, dtype, s.n, s.p, s.t, s.n_alphas, s.n_folds)
