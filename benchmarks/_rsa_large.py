"""RSA without RDMs over tens of thousands of stimuli, read from disk in blocks of rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet

import brainalign.comparison as bc

ROWS = 4096


def stored_rows(n: int, p: int) -> Arrays:
    """Two systems that share a part, written block by block: neither is in memory as a whole."""
    folder = tempfile.TemporaryDirectory()
    rng = np.random.default_rng(0)
    paths = [Path(folder.name) / name for name in ("x", "y")]
    with paths[0].open("wb") as x, paths[1].open("wb") as y:
        for start in range(0, n, ROWS):
            shape = (min(ROWS, n - start), p)
            shared = rng.standard_normal(shape, dtype=np.float32)
            for file in (x, y):
                (shared + rng.standard_normal(shape, dtype=np.float32)).tofile(file)
    return {"folder": folder, "paths": paths, "shape": (n, p)}


def blocks(path: Path, p: int) -> Iterator[np.ndarray]:
    with path.open("rb") as file:
        while (rows := np.fromfile(file, np.float32, ROWS * p)).size:
            yield rows.reshape(-1, p)


def our_run(arrays: Arrays, measure: str) -> Answer:
    p = arrays["shape"][1]
    x, y = (blocks(path, p) for path in arrays["paths"])
    return Answer(np.array([bc.large_rsa(x, y, measure=measure)]))


def peer_prepared(arrays: Arrays) -> Any:
    from rsatoolbox.data import Dataset

    p = arrays["shape"][1]
    return [Dataset(np.concatenate(list(blocks(path, p))).astype(np.float64)) for path in arrays["paths"]]


def peer_run(datasets: Any, method: str) -> Answer:
    from rsatoolbox.rdm import calc_rdm
    from rsatoolbox.rdm.compare import compare

    with quiet():
        first, second = (calc_rdm(one, method="euclidean") for one in datasets)
        return Answer(np.asarray(compare(first, second, method)).ravel())


def cases(quick: bool) -> list[Case]:
    p = 50 if quick else 1000
    peer = Side("rsatoolbox", "calc_rdm and compare", partial(peer_run, method="corr"), peer_prepared)
    small, large = (400, 2000) if quick else (4000, 73_000)
    return [
        Case(
            name,
            "large",
            f"pearson of squared Euclidean RDMs: {n} stimuli, {p} and {p} units",
            partial(stored_rows, n, p),
            Side("brainalign", "large_rsa", partial(our_run, measure="pearson")),
            peers,
            tolerance=1e-8,
            operations=2.0 * n * 3 * p * p,
        )
        for name, n, peers in (("large-paired", small, (peer,)), ("large", large, ()))
    ]
