"""Searchlight RSA: models compared with the responses around every voxel, vertex, sensor or time."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch

from brainalign._linalg import full_precision
from brainalign.comparison import searchlight_result as reasons
from brainalign.comparison._option_checks import is_count
from brainalign.comparison._pairing import passed_on
from brainalign.comparison._ranks import tied_share
from brainalign.comparison._searchlight_inputs import Measured, joined_models, kept_pairs, measured
from brainalign.comparison._searchlight_noise import noise_of, residual_rows
from brainalign.comparison._searchlight_options import (
    check_noise,
    check_options,
    chosen_names,
    counted,
    device_of,
    feature_codes,
    inside_mask,
    seconds_of,
)
from brainalign.comparison._searchlight_places import Geometry, Places, places
from brainalign.comparison._searchlight_rdms import CROSSED, SphereRDMs
from brainalign.comparison._searchlight_scores import ModelScores, Permutations
from brainalign.comparison._searchlight_search import Search
from brainalign.comparison.searchlight_result import REASONS, SearchlightResult, unit_table
from brainalign.errors import InputError
from brainalign.types import Responses

__all__ = ["REASONS", "SearchlightResult", "map_searchlight"]

MIN_VOXELS = 5
MOST_TIES = 0.05
# what one block gathers: small enough to stay in the cache of a processor
_BLOCK_BYTES = 2**24
_BLOCK_BYTES_GPU = 2**30


def map_searchlight(
    values: Any,
    coordinates: Any = None,
    *,
    mesh: Any = None,
    adjacency: Any = None,
    radius_mm: float | None = None,
    n_neighbours: int | None = None,
    time_radius: int | None = None,
    times: Any = None,
    distance: str | None = None,
    models: Any = None,
    measure: str | None = None,
    sigma_k: Any = None,
    conditions: Any = None,
    runs: Any = None,
    noise: Any = None,
    residuals: Any = None,
    shrinkage: str = "ledoit_wolf",
    dof: float | None = None,
    mask: Any = None,
    min_voxels: int = MIN_VOXELS,
    keep_rdms: bool = False,
    n_permutations: int = 0,
    random_state: int = 0,
    device: str | torch.device | None = None,
    block_bytes: int | None = None,
) -> SearchlightResult:
    """Compare models with the RDM of the responses around every centre.

    Parameters
    ----------
    values : array (n_samples, n_voxels) or (n_samples, n_units, n_times), numpy or torch; or Responses
    coordinates : array (n_voxels, 3), mm; or a mesh as in `mesh`
        Of `Responses` the voxel indices and the affine, else the columns x, y, z of the units.
        Voxels on a grid share one list of offsets; a voxel on the rim of the sphere (to
        0.0001 mm) is inside it.
    mesh : (vertices (n, 3) [mm], faces (m, 3)), or {"left": ..., "right": ...} of such pairs
        Neighbours lie within `radius_mm` of path length along the edges, which is a little
        longer than the geodesic. An array of values has one column a vertex, both hemispheres
        side by side; `Responses` name theirs in the columns `vertex` (and `hemi`).
    adjacency : (n_units, n_units) matrix, dense or sparse, or one list of neighbours a unit
        Each patch is a unit with its neighbours.
    radius_mm, n_neighbours : size of the sphere; one of them with positions or a mesh
        `n_neighbours` counts the unit itself, among units that are left in; of two that are
        equally far (to 0.0001 mm) the earlier one is taken.
    time_radius : window in time samples to both sides; cut off at the ends of the epoch
        Without a geometry all units are taken together in each window. With a time axis and
        no `time_radius` every sample is its own window.
    times : (n_times,), seconds of an array's time axis
    distance : ``"correlation"``, ``"cosine"``, ``"sq_euclidean"``, ``"euclidean"``,
        ``"poisson"``, ``"mahalanobis"`` or ``"crossnobis"``, as in `rdm` and `crossnobis`
        None: crossnobis where `runs` are given, else correlation.
    models : RDMs, array (n, n) or (n_models, n, n), or {name: RDM}; None with `keep_rdms`
        `RDMs` are joined with the conditions by id; arrays follow the sorted labels of
        `conditions` (the rows of values where there are none), and are refused with `Responses`.
    measure : pearson, spearman, rho_a, cosine, whitened_cosine, whitened_pearson, tau_a or tau_b
        As in `compare_rdms`. None: whitened_cosine with crossnobis, else rho_a; `info` says when
        it was a default.
    sigma_k : as in `compare_rdms`
    conditions, runs : labels (n_samples,), or names of columns of the samples of `Responses`
        Samples of a condition (within a run) are averaged. `Responses` without `conditions`
        use their stimulus_id. `runs` are the folds of crossnobis and are refused with other distances.
    noise : NoisePrecision or precision array (n_voxels, n_voxels), for mahalanobis and crossnobis
        The covariance of the voxels of each sphere is inverted.
    residuals : array (n_rows, n_voxels), in place of `noise`
        The noise covariance of each sphere is estimated and shrunk from its own columns, by
        `shrinkage` and `dof` as in `noise_precision`.
    mask : bool (n_units,), or the name of a boolean column of the units of `Responses`
        Voxels outside are no centre and in no sphere.
    min_voxels : centres with fewer voxels in their sphere (features, over time) get NaN
    keep_rdms : keep the RDM of every centre
    n_permutations : orders of the conditions under which the models are compared again
        p-values are one-sided (larger is better). 0: none.
    random_state : seed of the orders
    device : ``"cpu"``, ``"cuda"`` ...; None: that of a tensor, else the CPU
    block_bytes : memory of one block; None: 16 MB on a processor, 1 GB on a GPU

    Returns
    -------
    SearchlightResult
        `scores` (n_models, n_units), (n_models, n_units, n_times), or (n_models, n_times);
        `codes` and `nan_reasons_` say where and why there is none, with a warning; `n_voxels`,
        `rdms`, `p_values`, `p_corrected`, `to_scores()`, `to_frame()`.

    Raises
    ------
    ShapeError
        Axes, coordinates, mask, runs, models or residuals of another length; one run only;
        fewer than 4 conditions.
    InputError
        No or two geometries; no sphere with `min_voxels` anywhere; every voxel missing;
        options that do not go together; a constant model; crossnobis without conditions;
        mahalanobis without noise; negative counts (poisson).
    AlignmentError
        Ids that models and conditions do not share; a join by position and by id at once.
    UnknownNameError
        The distance or the measure does not exist.

    Notes
    -----
    A voxel with a value that is not finite is left out of every sphere and gets no score;
    distances divide by the voxels that a sphere has. Pairs of conditions that are NaN in a
    model, or that no two runs hold together, are left out of every sphere and model, with a warning.

    Spheres of like size are gathered into blocks, each block is one batched product, and all
    models are one product after one pass that ranks or whitens. Crossnobis of 3 or more runs,
    without noise or with a diagonal one, sums the distances of single voxels instead where these
    fit 1 GB on a processor. With C centres of s voxels, n conditions, K runs (1 without
    crossnobis), M models, P pairs, the RDMs take 2 C s n^2 K operations (C s P where distances
    are summed), the comparison C P M (and C P log P for ranks), B permutations 2 C P M B. The
    noise of every sphere adds C (s^3 / 3 + s^2 n K), residuals of T rows C s T more (C s^2 T
    where the matrix of all voxels exceeds 512 MB); a diagonal noise adds nothing. tau_a and
    tau_b compare RDM by RDM and are some ten times slower.
    Memory: run means 8 n K n_voxels bytes (8 P n_voxels more for sums), lists of neighbours 8 C s
    (of the units alone over time), a block, the scores 8 C M, with `keep_rdms` 8 C P. The values
    do not depend on `block_bytes` beyond rounding.

    Sources: Kriegeskorte, Goebel & Bandettini 2006, doi:10.1073/pnas.0600244103; crossnobis:
    Walther et al. 2016, doi:10.1016/j.neuroimage.2015.12.012; maximum statistic: Nichols &
    Holmes 2002, doi:10.1002/hbm.1058. Departure: a sphere at the edge of the mask keeps the
    voxels that it has.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> xyz = np.stack(np.meshgrid(*[np.arange(4) * 3.0] * 3), -1).reshape(-1, 3)
    >>> values, model = rng.normal(size=(6, 64)), 1.0 - np.eye(6)
    >>> model[:3, :3] = model[3:, 3:] = 0
    >>> found = map_searchlight(values, xyz, radius_mm=6.0, models={"two groups": model})
    >>> found.scores.shape, int(found.n_voxels.max())
    ((1, 64), 30)
    """
    distance, measure, defaults = chosen_names(distance, measure, runs)
    check_options(distance, models, noise, residuals, keep_rdms, min_voxels, n_permutations)
    found = measured(values, conditions, runs, crossed=distance == CROSSED)
    if noise is not None or residuals is not None:
        check_noise(distance, found)
    where = device_of(device, values)
    site = places(
        coordinates,
        mesh=mesh,
        adjacency=adjacency,
        radius_mm=radius_mm,
        n_neighbours=n_neighbours,
        time_radius=time_radius,
    )
    site.check(found.n_times)
    if distance == "poisson" and bool((found.table < 0).any()):
        raise InputError(
            "values are negative; the Poisson distance is one of counts or rates before any baseline"
        )
    names, stack = joined_models(models, found, isinstance(values, Responses))
    keep = kept_pairs(stack, found.runs)
    scores = _model_scores(stack, names, measure, keep, sigma_k, where)
    draws = Permutations(scores, n_permutations, random_state) if n_permutations and scores else None
    rows, noisy = None, np.ones(found.n_units, dtype=bool)
    if residuals is not None:
        rows, noisy = residual_rows(residuals, found.n_units, where)
    geometry = Geometry(site, values, found.n_units)
    codes = feature_codes(found, inside_mask(mask, values, found.n_units), geometry.without_place, noisy)
    usable = codes == reasons.OK
    units = usable.reshape(found.n_units, -1).any(axis=1)
    if not units.any():
        raise InputError(f"no voxel is left: {counted(codes)}")
    precision, spheres = noise_of(noise, rows, units, shrinkage=shrinkage, dof=dof, device=where)
    near = geometry.neighbourhoods(units, found.n_times)
    sizes = near.sizes(usable)
    centres = codes.copy() if site.spatial else np.zeros(near.n_centres, dtype=np.int8)
    centres[(centres == reasons.OK) & (sizes < min_voxels)] = reasons.TOO_FEW
    if not (centres == reasons.OK).any():
        raise InputError(
            f"no sphere holds min_voxels={min_voxels} voxels; the largest holds {int(sizes.max(initial=0))}. "
            "Enlarge the sphere, check that coordinates are in mm, or lower min_voxels"
        )
    source = SphereRDMs(found, distance, usable, precision=precision, noise=spheres, device=where)
    if block_bytes is not None and not is_count(block_bytes, 1):
        raise InputError(f"block_bytes={block_bytes!r}; expected a whole number of bytes, or None")
    size = block_bytes or (_BLOCK_BYTES if where.type == "cpu" else _BLOCK_BYTES_GPU)
    search = Search(near, centres, source, keep, scores, draws, keep_rdms, size)
    with full_precision():
        search.run()
    return _result(search, found, names, site, values, times, sizes, distance, measure, defaults, codes)


def _model_scores(
    stack: np.ndarray | None,
    names: tuple[str, ...],
    measure: str,
    keep: np.ndarray,
    sigma_k: Any,
    device: torch.device,
) -> ModelScores | None:
    """The models, prepared."""
    if stack is None:
        return None
    scores = ModelScores(stack, measure, names, keep=keep, sigma_k=sigma_k, device=device)
    if measure in ("spearman", "tau_b"):
        share = tied_share(scores.kept).cpu().numpy()
        if (share > MOST_TIES).any():
            worst = int(share.argmax())
            warnings.warn(
                f"{int((share > MOST_TIES).sum())} of {len(share)} models have more than 5 % ties (model "
                f"{names[worst]!r}: {share[worst]:.0%}); {measure} favours models with ties: "
                "use 'rho_a' or 'tau_a'",
                stacklevel=3,
            )
    return scores


def _result(
    search: Search,
    found: Measured,
    names: tuple[str, ...],
    site: Places,
    values: Any,
    times: Any,
    sizes: np.ndarray,
    distance: str,
    measure: str,
    defaults: list[str],
    codes: np.ndarray,
) -> SearchlightResult:
    """The arrays in the shape of units and times, with their labels."""
    shape = _map_shape(found, site)
    seconds = seconds_of(times, values, found.n_times)
    table, about = unit_table(values, site, found.n_units)
    if not site.spatial:
        table = pd.DataFrame(index=pd.Index(["all"], name="unit_id"))
    _warn(search)
    p = corrected = None
    if search.draws is not None:
        p = search.draws.p_values(search.counts).reshape(-1, *shape)
        corrected = search.draws.corrected(search.scores).reshape(-1, *shape)
    info = {
        **about,
        **passed_on(values),
        "distance": distance,
        "measure": measure,
        "defaults": defaults,
        "radius_mm": site.radius_mm,
        "n_neighbours": site.n_neighbours,
        "time_radius": site.time_radius,
        "n_left_out": counted(codes),
        "n_permutations": 0 if search.draws is None else len(search.draws.orders),
    }
    return SearchlightResult(
        search.scores.reshape(-1, *shape) if names else np.empty((0, *shape)),
        search.codes.reshape(shape),
        sizes.reshape(shape),
        names,
        measure,
        distance,
        table,
        seconds,
        p,
        corrected,
        None if search.vectors is None else search.vectors.reshape(*shape, -1),
        found.labels,
        found.n_conditions,
        info,
    )


def _map_shape(found: Measured, site: Places) -> tuple[int, ...]:
    if found.n_times is None:
        return (found.n_units,)
    return (found.n_units, found.n_times) if site.spatial else (found.n_times,)


def _warn(search: Search) -> None:
    """Say how many centres have no score, and where too few orders exist for the permutations."""
    codes = np.where(search.codes == reasons.MASKED, reasons.OK, search.codes)
    missing = int((codes != reasons.OK).sum())
    if missing:
        warnings.warn(f"{missing} of {codes.size} centres have no score: {counted(codes)}", stacklevel=4)
    if search.draws is not None:
        orders = math.factorial(search.draws.scores.n)
        if orders <= len(search.draws.orders):
            warnings.warn(
                f"{search.draws.scores.n} conditions have {orders} orders, no more than the "
                f"{len(search.draws.orders)} permutations; no p-value below about {1 / orders:.2g} "
                "means anything",
                stacklevel=4,
            )
