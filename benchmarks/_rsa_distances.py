"""Crossnobis distances and shrunk noise precisions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet

import brainalign.comparison as bc

SHRINKAGES = {"ledoit_wolf": "shrinkage_eye", "schaefer_strimmer": "shrinkage_diag"}


def conditions_in_runs(n: int, p: int, runs: int, rows: int) -> Arrays:
    """One row a condition and run, and a noise precision from residuals."""
    rng = np.random.default_rng(0)
    mixing = np.eye(p) + rng.normal(size=(p, p)) / np.sqrt(2 * p)
    noise = rng.normal(size=(runs * n, p)) @ mixing
    return {
        "values": np.tile(rng.normal(size=(n, p)), (runs, 1)) + noise,
        "conditions": np.tile(np.arange(n), runs),
        "runs": np.repeat(np.arange(runs), n),
        "precision": bc.noise_precision(rng.normal(size=(rows, p)) @ mixing).matrix(),
    }


def our_crossnobis(arrays: Arrays, whitened: bool) -> Answer:
    return Answer(
        bc.crossnobis(
            arrays["values"],
            conditions=arrays["conditions"],
            runs=arrays["runs"],
            noise=arrays["precision"] if whitened else None,
        )
    )


def peer_dataset(arrays: Arrays) -> Any:
    from rsatoolbox.data import Dataset

    rows = {"condition": arrays["conditions"], "run": arrays["runs"]}
    return Dataset(arrays["values"], obs_descriptors=rows), arrays["precision"]


def peer_crossnobis(prepared: Any, whitened: bool) -> Answer:
    from rsatoolbox.rdm import calc_rdm

    dataset, precision = prepared
    with quiet():
        found = calc_rdm(
            dataset,
            method="crossnobis",
            descriptor="condition",
            cv_descriptor="run",
            noise=precision if whitened else None,
        )
    return Answer(found.get_matrices()[0])


def residuals(rows: int, p: int) -> Arrays:
    rng = np.random.default_rng(0)
    return {"residuals": rng.normal(size=(rows, p)) @ (np.eye(p) + rng.normal(size=(p, p)) / np.sqrt(p))}


def our_precision(arrays: Arrays, shrinkage: str) -> Answer:
    return Answer(bc.noise_precision(arrays["residuals"], shrinkage=shrinkage).matrix())


def peer_precision(arrays: Arrays, method: str) -> Answer:
    from rsatoolbox.data.noise import prec_from_residuals

    with quiet():
        return Answer(prec_from_residuals(arrays["residuals"], method=method))


def relative(arrays: Arrays, ours: Answer, peer: Answer) -> float:
    """Largest difference over the largest entry."""
    return float(np.abs(ours.values - peer.values).max() / np.abs(peer.values).max())


def cases(quick: bool) -> list[Case]:
    n, p, runs = (20, 100, 3) if quick else (100, 1500, 6)
    rows, channels = (60, 80) if quick else (300, 400)
    found = []
    for name, whitened in (("crossnobis", False), ("crossnobis-whitened", True)):
        what = "with a p x p precision" if whitened else "without noise"
        found.append(
            Case(
                name,
                "distances",
                f"crossnobis {what}: {n} conditions, {p} channels, {runs} runs",
                partial(conditions_in_runs, n, p, runs, rows=rows),
                Side("brainalign", "crossnobis", partial(our_crossnobis, whitened=whitened)),
                (Side("rsatoolbox", "calc_rdm", partial(peer_crossnobis, whitened=whitened), peer_dataset),),
                tolerance=1e-9,
                floor=8.0,
                operations=0.0 if whitened else 2.0 * n * n * p * (runs + 1),
                difference=relative,
            )
        )
    for shrinkage, method in SHRINKAGES.items():
        found.append(
            Case(
                f"precision-{shrinkage}",
                "distances",
                f"precision matrix, {shrinkage}: {rows} rows, {channels} channels",
                partial(residuals, rows, channels),
                Side("brainalign", "noise_precision", partial(our_precision, shrinkage=shrinkage)),
                (Side("rsatoolbox", "prec_from_residuals", partial(peer_precision, method=method)),),
                tolerance=1e-8,
                floor=20.0,
                difference=relative,
            )
        )
    return found
