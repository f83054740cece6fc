"""Ridge with one penalty per target against the field's solver, paired in one process.

Run with ``make bench``. Writes ``docs/benchmarks.md``. Both sides get the same float32
data, the same five folds, the same twenty penalties and the same threads; the ratio is the
median over interleaved pairs.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import KernelRidgeCV as PeerKernelRidgeCV
from himalaya.ridge import RidgeCV as PeerRidgeCV
from sklearn.model_selection import KFold

from brainalign.regression import RidgeCV

SHAPES = [  # samples, features, targets
    (512, 5488, 50),
    (1000, 2000, 1000),
    (2000, 300, 1000),
    (3000, 500, 500),
]
ALPHAS = np.logspace(-2, 7, 20)
PAIRS = 3
TARGET = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def problem(n: int, p: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and responses of which a tenth of the features carry signal."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.float32)
    W = rng.standard_normal((p // 10, t), dtype=np.float32) / np.sqrt(p // 10)
    return X, X[:, : p // 10] @ W + rng.standard_normal((n, t), dtype=np.float32)


def seconds(fit) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    fit()
    return time.perf_counter() - start


def row(n: int, p: int, t: int) -> str:
    """Time one shape against the faster of the peer's two estimators."""
    X, Y = problem(n, p, t)
    cv = KFold(5)
    peer_class = PeerKernelRidgeCV if p >= n else PeerRidgeCV

    def ours() -> RidgeCV:
        return RidgeCV(ALPHAS, cv=cv).fit(X, Y)

    def peer():
        model = peer_class(alphas=ALPHAS, cv=cv, fit_intercept=True)
        return model.fit(torch.as_tensor(X), torch.as_tensor(Y))

    a, b = ours(), peer()  # warm up, and compare what they chose
    same = float((np.isclose(a.best_alphas_, np.asarray(b.best_alphas_), rtol=1e-3)).mean())
    pairs = [(seconds(ours), seconds(peer)) for _ in range(PAIRS)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(peer_s / our_s for our_s, peer_s in pairs)
    return (
        f"| {n} x {p} x {t} | {mine:.2f} s | {theirs:.2f} s ({peer_class.__name__}) "
        f"| {ratio:.2f} x | {100 * same:.1f} % |"
    )


def main() -> None:
    """Time every shape and write the page."""
    warnings.filterwarnings("ignore")
    set_backend("torch")
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    torch.set_num_threads(threads)
    lines = [row(*shape) for shape in SHAPES]
    names = ("brainalign", "himalaya", "torch", "numpy", "scikit-learn")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    page = [
        "# Benchmarks",
        "",
        "Written by `make bench`. A ratio above 1 means that brainalign is faster; rows that we lose stay.",
        "",
        "## Cross-validated ridge, one penalty per target",
        "",
        f"{datetime.date.today().isoformat()}; {found}; {platform.machine()}, {threads} threads; "
        "float32 input, five folds, twenty penalties, intercept. brainalign computes in float64, "
        "the peer in float32. "
        f"Median of {PAIRS} interleaved pairs.",
        "",
        "| samples x features x targets | brainalign | himalaya | ratio | equal penalties |",
        "|---|---|---|---|---|",
        *lines,
        "",
    ]
    TARGET.write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page))


if __name__ == "__main__":
    main()
