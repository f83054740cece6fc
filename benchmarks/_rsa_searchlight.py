"""Searchlight over a volume, end to end: neighbourhoods, RDMs, comparison with all models."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _rsa_case import Answer, Arrays, Case, Side, quiet, squared_rdms

from brainalign.comparison.searchlight import map_searchlight

VOXEL_MM = 3.0
RADIUS = 3.8  # voxels: the 251 whose squared distance is at most 14
REACH = 3
SPHERE = 251


@dataclass(frozen=True)
class Search:
    """What is searched with: one of the rows of the table."""

    name: str
    what: str
    distance: str
    measure: str
    peer_method: str
    runs: int
    residual_rows: int = 0


SEARCHES = (
    Search("correlation", "correlation, rho_a", "correlation", "rho_a", "rho-a", 1),
    Search(
        "crossnobis",
        "crossnobis over 4 runs, whitened_cosine",
        "crossnobis",
        "whitened_cosine",
        "cosine_cov",
        4,
    ),
    Search(
        "crossnobis-noise",
        "crossnobis over 4 runs, noise of each sphere from 200 residuals, whitened_cosine",
        "crossnobis",
        "whitened_cosine",
        "cosine_cov",
        4,
        200,
    ),
    Search("correlation-spearman", "correlation, spearman", "correlation", "spearman", "spearman", 1),
)


def volume(n: int, box: tuple[int, int, int], models: int, search: Search) -> Arrays:
    """Responses in a mask whose inner box are the centres with a whole sphere; the mask has a margin."""
    rng = np.random.default_rng(0)
    mask = np.zeros([side + 4 * REACH for side in box], dtype=int)
    mask[REACH:-REACH, REACH:-REACH, REACH:-REACH] = 1
    inside = np.flatnonzero(mask)
    patterns = np.tile(rng.normal(size=(n, len(inside))), (search.runs, 1))
    values = patterns + rng.normal(size=patterns.shape)
    residuals = rng.normal(size=(search.residual_rows, len(inside))) if search.residual_rows else None
    return {
        "mask": mask,
        "inside": inside,
        "values": values,
        "coordinates": VOXEL_MM * np.stack(np.unravel_index(inside, mask.shape), 1).astype(float),
        "conditions": np.tile(np.arange(n), search.runs),
        "runs": np.repeat(np.arange(search.runs), n),
        "residuals": residuals,
        "models": squared_rdms(rng.normal(size=(models, n, 3 * n))),
    }


def our_run(arrays: Arrays, search: Search) -> Answer:
    with quiet():
        found = map_searchlight(
            arrays["values"],
            arrays["coordinates"],
            radius_mm=RADIUS * VOXEL_MM,
            distance=search.distance,
            models=arrays["models"],
            measure=search.measure,
            conditions=arrays["conditions"],
            runs=arrays["runs"] if search.runs > 1 else None,
            residuals=arrays["residuals"],
            min_voxels=SPHERE,
        )
    return Answer(found.scores)


def peer_prepared(arrays: Arrays) -> Any:
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    whole = np.zeros((len(arrays["values"]), arrays["mask"].size))
    whole[:, arrays["inside"]] = arrays["values"]
    models = [ModelFixed(f"model{i}", RDMs(one[None])) for i, one in enumerate(arrays["models"])]
    return {**arrays, "whole": whole, "fixed": models}


def peer_run(prepared: Any, search: Search, timed: int) -> Answer:
    """All neighbourhoods, then the RDMs and the models of a few centres."""
    from rsatoolbox.inference import eval_fixed
    from rsatoolbox.util.searchlight import evaluate_models_searchlight, get_volume_searchlight

    start = time.perf_counter()
    with quiet():
        centres, near = get_volume_searchlight(prepared["mask"], radius=RADIUS, threshold=1.0)
        fixed = time.perf_counter() - start
        some = np.linspace(0, len(centres) - 1, timed).astype(int)
        rdms = _peer_rdms(prepared, search, centres[some], [near[i] for i in some])
        results = evaluate_models_searchlight(rdms, prepared["fixed"], eval_fixed, method=search.peer_method)
    scores = np.stack([one.evaluations.reshape(len(prepared["fixed"])) for one in results], axis=1)
    index = np.searchsorted(prepared["inside"], centres[some])
    return Answer(scores, index=index, fixed=fixed, scale=len(centres) / timed)


def _peer_rdms(prepared: Any, search: Search, centres: np.ndarray, near: list[np.ndarray]) -> Any:
    from rsatoolbox.util.searchlight import get_searchlight_RDMs

    if search.residual_rows:
        return _noisy_rdms(prepared, near)
    return get_searchlight_RDMs(
        prepared["whole"], centres, near, prepared["conditions"], method=search.distance, verbose=False
    )


def _noisy_rdms(prepared: Any, near: list[np.ndarray]) -> Any:
    """The loop that a user of the peer writes, as its searchlight takes neither noise nor runs."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import prec_from_residuals
    from rsatoolbox.rdm import calc_rdm, concat

    rows = {"condition": prepared["conditions"], "run": prepared["runs"]}
    residuals = np.zeros((len(prepared["residuals"]), prepared["mask"].size))
    residuals[:, prepared["inside"]] = prepared["residuals"]
    return concat(
        [
            calc_rdm(
                Dataset(prepared["whole"][:, sphere], obs_descriptors=rows),
                method="crossnobis",
                descriptor="condition",
                cv_descriptor="run",
                noise=prec_from_residuals(residuals[:, sphere], method="shrinkage_eye"),
            )
            for sphere in near
        ]
    )


def mne_prepared(arrays: Arrays, timed: int) -> Any:
    """Spheres of some centres: its own search wants a matrix of all distances."""
    from scipy.spatial import cKDTree

    tree = cKDTree(arrays["coordinates"])
    near = tree.query_ball_point(arrays["coordinates"], RADIUS * VOXEL_MM)
    whole = np.flatnonzero([len(one) == SPHERE for one in near])
    some = whole[np.linspace(0, len(whole) - 1, timed).astype(int)]
    i, j = np.triu_indices(arrays["models"].shape[1], 1)
    return {
        **arrays,
        "near": [np.sort(near[k]) for k in some],
        "some": some,
        "n_centres": len(whole),
        "vectors": list(arrays["models"][:, i, j]),
    }


def mne_run(prepared: Any, timed: int) -> Answer:
    import mne_rsa

    values = prepared["values"]
    with quiet():
        patches = mne_rsa.searchlight(values.shape, spatial_radius=prepared["near"])
        found = mne_rsa.rsa_array(values, prepared["vectors"], patches, rsa_metric="spearman")
    return Answer(found, index=prepared["some"], scale=prepared["n_centres"] / timed)


def cases(quick: bool) -> list[Case]:
    n, box, m = (8, (2, 3, 2), 2) if quick else (40, (20, 25, 10), 8)
    centres = int(np.prod(box))
    found = []
    for search in SEARCHES:
        timed = 4 if quick else (50 if search.residual_rows else 200)
        share = f"spheres of all, {timed} of {centres} centres, scaled"
        if search.measure == "spearman":
            peer = Side(
                "mne-rsa",
                "rsa_array",
                partial(mne_run, timed=timed),
                partial(mne_prepared, timed=timed),
                share=f"{timed} of {centres} centres, scaled; its spheres are given",
            )
        else:
            peer = Side(
                "rsatoolbox",
                "own loop" if search.residual_rows else "util.searchlight",
                partial(peer_run, search=search, timed=timed),
                peer_prepared,
                share=share,
            )
        found.append(
            Case(
                f"searchlight-{search.name}",
                "searchlight",
                f"{search.what}: {n} conditions, {SPHERE}-voxel spheres, {centres} centres, {m} models",
                partial(volume, n, box, m, search),
                Side("brainalign", "map_searchlight", partial(our_run, search=search)),
                (peer,),
                tolerance=1e-6,
                floor=15.0,
                operations=2.0 * centres * SPHERE * n * n * search.runs,
            )
        )
    return found
