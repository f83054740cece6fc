"""Comparators of RDMs on stacks, among them the Riemannian one and a full condition covariance."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet, squared_rdms

import brainalign.comparison as bc

PEER = {
    "pearson": "corr",
    "spearman": "spearman",
    "rho_a": "rho-a",
    "tau_a": "tau-a",
    "tau_b": "kendall",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
    "bures": "bures",
    "neg_riemannian": "neg_riem_dist",
}
MNE = {"pearson": "pearson", "spearman": "spearman", "tau_a": "kendall-tau-a"}


def stacks(k1: int, k2: int, n: int, full: bool) -> Arrays:
    """Two stacks of RDMs, of more channels than stimuli, and a covariance of the patterns over stimuli."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, 2 * n))
    d1, d2 = (squared_rdms(shared + rng.normal(size=(k, n, 2 * n))) for k in (k1, k2))
    near = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return {"d1": d1, "d2": d2, "sigma_k": 0.3**near + np.diag(rng.random(n)) if full else None}


def our_run(arrays: Arrays, measure: str) -> Answer:
    with quiet():
        return Answer(bc.compare_rdms(arrays["d1"], arrays["d2"], measure=measure, sigma_k=arrays["sigma_k"]))


def peer_prepared(arrays: Arrays) -> Any:
    from rsatoolbox.rdm import RDMs

    return RDMs(arrays["d1"]), RDMs(arrays["d2"]), arrays["sigma_k"]


def peer_run(prepared: Any, method: str) -> Answer:
    from rsatoolbox.rdm.compare import compare

    d1, d2, sigma = prepared
    with quiet():
        return Answer(compare(d1, d2, method, sigma_k=sigma))


def mne_prepared(arrays: Arrays) -> Any:
    i, j = np.triu_indices(arrays["d1"].shape[1], 1)
    return [list(arrays[name][:, i, j]) for name in ("d1", "d2")]


def mne_run(prepared: Any, metric: str) -> Answer:
    import mne_rsa

    return Answer(mne_rsa.rsa(*prepared, metric=metric))


def shortfall(arrays: Arrays, ours: Answer, peer: Answer) -> float:
    """How far our maximum lies below the one that the peer's search found; its own stays short of it."""
    return float(max(0.0, (peer.values - ours.values).max()))


def cases(quick: bool) -> list[Case]:
    n, k1, k2 = (12, 3, 2) if quick else (92, 20, 8)
    found = [_case(measure, n, k1, k2, full=False) for measure in PEER if measure != "neg_riemannian"]
    small = (10, 2, 1) if quick else (60, 4, 2)
    found.append(_case("neg_riemannian", *small, full=False))
    found += [_case(m, *small, full=True) for m in ("whitened_cosine", "whitened_pearson")]
    return found


def _case(measure: str, n: int, k1: int, k2: int, full: bool) -> Case:
    peers = [Side("rsatoolbox", "compare", partial(peer_run, method=PEER[measure]), peer_prepared)]
    if measure in MNE:
        peers.append(Side("mne-rsa", "rsa", partial(mne_run, metric=MNE[measure]), mne_prepared))
    # the peer solves with conjugate gradients to a relative 1e-5
    tolerance = 1e-4 if full else 1e-6
    return Case(
        f"compare-{measure}" + ("-sigma" if full else ""),
        "comparators",
        f"{measure}{', full sigma_k' if full else ''}: {k1} x {k2} RDMs of {n} stimuli",
        partial(stacks, k1, k2, n, full),
        Side("brainalign", "compare_rdms", partial(our_run, measure=measure)),
        tuple(peers),
        tolerance=tolerance,
        **({"difference": shortfall} if measure == "neg_riemannian" else {}),
    )
