"""Every refusal of the searchlight says what was expected, what was found and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from searchlight_cases import RADIUS, K, N, model_rdms, runs_of, volume
from test_neighbourhoods import sheet

from brainalign.comparison.noise import noise_precision
from brainalign.comparison.searchlight import map_searchlight
from brainalign.errors import AlignmentError, InputError, ShapeError, UnknownNameError
from brainalign.types import RDMs, Responses

POINTS = volume()
P = len(POINTS)
MODELS = model_rdms()
X = np.random.default_rng(0).normal(size=(N, P))
RUNS, LABELS = runs_of(P)
OVER_TIME = np.random.default_rng(0).normal(size=(N, 5, 6))
IDS = [f"s{i}" for i in range(N)]
NOISE = noise_precision(np.random.default_rng(1).normal(size=(30, P)))
MESH = sheet(4)
FLAT = np.where(np.eye(N) > 0, 0.0, 1.0)


def search(values: Any = X, coordinates: Any = POINTS, **options: Any) -> Any:
    """A searchlight of the small volume with some options changed."""
    return map_searchlight(values, coordinates, **{"radius_mm": RADIUS, "models": MODELS, **options})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"distance": "correlaton"},
            UnknownNameError,
            "distance 'correlaton' does not exist; closest: correlation",
        ),
        ({"measure": "bures"}, UnknownNameError, "searchlight measure 'bures' does not exist"),
        ({"models": None}, InputError, "models are None and keep_rdms is False"),
        ({"models": {}}, InputError, "models are empty"),
        ({"models": None, "keep_rdms": True, "n_permutations": 5}, InputError, "n_permutations needs models"),
        ({"models": model_rdms(2, 6)}, ShapeError, "models are over 6 conditions and values hold 7"),
        ({"models": FLAT}, InputError, "model 'model_0' is constant over its pairs"),
        ({"models": RDMs(MODELS, IDS)}, AlignmentError, "models are RDMs .* rows of values have none"),
        ({"distance": "crossnobis"}, InputError, "crossnobis needs runs="),
        ({"runs": np.arange(N)}, InputError, "crossnobis needs conditions="),
        ({"runs": np.arange(N), "distance": "cosine"}, InputError, "distance='cosine' does not use them"),
        ({"noise": NOISE, "distance": "cosine"}, InputError, "distance='cosine' takes no noise"),
        ({"residuals": X, "distance": "cosine"}, InputError, "distance='cosine' takes no residuals"),
        ({"residuals": X, "noise": NOISE}, InputError, "noise and residuals are given"),
        ({"distance": "mahalanobis"}, InputError, "'mahalanobis' needs noise= or residuals="),
        ({"distance": "poisson"}, InputError, "values are negative; the Poisson distance"),
        ({"min_voxels": 1}, InputError, "min_voxels=1; correlation needs a whole number of at least 2"),
        ({"n_permutations": -1}, InputError, "n_permutations=-1"),
        ({"n_permutations": 9, "measure": "tau_a"}, InputError, "n_permutations is for the measures"),
        ({"sigma_k": np.eye(N)}, InputError, "sigma_k is taken by whitened_cosine, whitened_pearson"),
        ({"radius_mm": None}, InputError, "radius_mm or a number n_neighbours; neither is given"),
        ({"n_neighbours": 9}, InputError, "both are given"),
        ({"radius_mm": -1.0}, InputError, "radius_mm=-1.0; expected a positive number"),
        ({"radius_mm": None, "n_neighbours": 0}, InputError, "n_neighbours=0; expected 1 or more"),
        ({"radius_mm": 0.1}, InputError, "no sphere holds min_voxels=5 voxels; the largest holds 1"),
        ({"adjacency": np.eye(P)}, InputError, "coordinates and adjacency are given"),
        ({"coordinates": POINTS[:-1]}, ShapeError, r"coordinates have shape \(119, 3\) and values have 120"),
        ({"coordinates": None}, InputError, "the units have no positions"),
        ({"coordinates": None, "radius_mm": None}, InputError, "nothing says where the units lie"),
        ({"coordinates": None, "adjacency": np.eye(P)}, InputError, "radius_mm is given with adjacency"),
        ({"coordinates": MESH, "mesh": MESH}, InputError, "coordinates and mesh are given"),
        ({"coordinates": MESH}, ShapeError, "the mesh has 16 vertices and values have 120 units"),
        ({"time_radius": 1}, ShapeError, "time_radius is given and values have no time axis"),
        ({"times": np.arange(3)}, ShapeError, "times are given and values have no time axis"),
        ({"mask": np.ones(3, dtype=bool)}, ShapeError, r"mask has shape \(3,\); expected \(120,\)"),
        ({"mask": np.ones(P)}, InputError, "mask has dtype float64; expected bool"),
        ({"mask": np.zeros(P, dtype=bool)}, InputError, "no voxel is left: 120 outside the mask"),
        ({"mask": "roi_x"}, InputError, "mask='roi_x' is not one of"),
        ({"values": X[:3]}, ShapeError, "values hold 3 conditions; .* at least 4"),
        ({"values": X[0]}, ShapeError, r"values have shape \(120,\)"),
        ({"values": X * np.nan}, InputError, "every voxel has values that are not finite"),
        ({"values": X.astype(complex)}, InputError, "dtype complex128; expected real numbers"),
        ({"conditions": ["a", "b"]}, ShapeError, "conditions have 2 rows, expected 7"),
        ({"conditions": "face"}, InputError, "conditions='face' names a column"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Each wrong option is refused before anything is computed, with its name and what was found."""
    with pytest.raises(error, match=text):
        search(**options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"runs": np.zeros(N * K)}, ShapeError, "runs hold 1 run; crossnobis needs at least 2"),
        ({"runs": np.zeros(3)}, ShapeError, "runs have 3 rows, expected 28"),
        ({"noise": np.eye(5)}, ShapeError, "noise has 5 channels"),
        (
            {"residuals": np.ones((9, 5))},
            ShapeError,
            r"residuals have shape \(9, 5\); expected \(n_rows, 120\)",
        ),
        ({"residuals": np.ones((1, P))}, ShapeError, "residuals have 1 rows"),
        ({"residuals": np.ones((9, P))}, InputError, "every voxel has residuals that are constant"),
        (
            {"residuals": RUNS, "shrinkage": "oss"},
            InputError,
            "shrinkage='oss' is not one of .* closest: 'oas'",
        ),
        ({"residuals": RUNS, "dof": 0}, InputError, "dof=0 is below 1"),
        (
            {"models": np.full((N, N), np.nan) * (1 - np.eye(N))},
            InputError,
            "0 pairs of conditions are measured",
        ),
    ],
)
def test_runs_and_noise_that_do_not_fit(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Runs, noise and residuals that do not belong to the responses are refused."""
    with pytest.raises(error, match=text):
        search(RUNS, **{**LABELS, **options})


def test_missing_pairs_refuse_permutations() -> None:
    """Orders of the conditions would move missing pairs elsewhere; this is refused, not guessed."""
    models = MODELS.copy()
    models[0, 1, 2] = models[0, 2, 1] = np.nan
    with (
        pytest.warns(UserWarning, match="1 of 21 pairs"),
        pytest.raises(InputError, match="1 pairs of conditions are missing; orders of the conditions would"),
    ):
        search(models=models, n_permutations=9)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"time_radius": -1}, InputError, "time_radius=-1; expected a number of time samples"),
        ({"time_radius": 1.5}, InputError, "time_radius=1.5"),
        ({"time_radius": 1, "times": [0.0, 1.0]}, ShapeError, r"times have shape \(2,\); expected \(6,\)"),
        (
            {"time_radius": 1, "runs": np.arange(N) % 2, "conditions": np.arange(N), "noise": np.eye(5)},
            InputError,
            "noise is over units and values have a time axis",
        ),
    ],
)
def test_windows_that_do_not_fit(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Windows and times of the wrong kind or length are refused."""
    with pytest.raises(error, match=text):
        map_searchlight(OVER_TIME, models=MODELS, **options)


def responses(**columns: Any) -> Responses:
    """Responses of the small volume with columns of their units."""
    units = pd.DataFrame({"x": POINTS[:, 0], "y": POINTS[:, 1], "z": POINTS[:, 2], **columns})
    return Responses(X, pd.DataFrame({"stimulus_id": IDS}), units, info={"design": "trials"})


def test_responses_and_models_that_cannot_be_joined() -> None:
    """Responses are joined by id alone: arrays, foreign ids and rows without a stimulus are refused."""
    with pytest.raises(AlignmentError, match="values are Responses and models a plain array"):
        map_searchlight(responses(), radius_mm=RADIUS, models=MODELS)
    with pytest.raises(
        AlignmentError, match="1 of 7 stimuli of values have no partner: 's6'; 1 of 7 stimuli of models"
    ):
        map_searchlight(responses(), radius_mm=RADIUS, models=RDMs(MODELS, [*IDS[:-1], "other"]))
    bare = Responses(X, pd.DataFrame({"condition": IDS}), info={"design": "trials"})
    with pytest.raises(AlignmentError, match="values have rows without a stimulus_id; give conditions="):
        map_searchlight(bare, POINTS, radius_mm=RADIUS, models=RDMs(MODELS, IDS))


def test_vertices_that_are_not_of_the_mesh() -> None:
    """Units of another hemisphere, of two with one mesh, or beyond the vertices are refused."""
    model = RDMs(MODELS, IDS)
    sides = np.array(["left", "right"])[np.arange(P) % 2]
    two = responses(vertex=np.arange(P) % 16, hemi=sides)
    with pytest.raises(InputError, match="units are of the hemispheres left, right and there is one mesh"):
        map_searchlight(two, MESH, radius_mm=5.0, models=model)
    with pytest.raises(InputError, match="units are of hemisphere 'right'; the mesh has left, other"):
        map_searchlight(two, {"left": MESH, "other": MESH}, radius_mm=5.0, models=model)
    far = responses(vertex=np.arange(P), hemi="left")
    with pytest.raises(InputError, match="unit '16' names vertex 16; the mesh has 16 vertices there"):
        map_searchlight(far, {"left": MESH, "right": MESH}, radius_mm=5.0, models=model)


def test_a_map_of_one_model_needs_its_name() -> None:
    """Several models ask for a name, an unknown name lists the closest, RDMs alone have no map."""
    found = search()
    with pytest.raises(InputError, match=r"there are 3 models \(model_0, model_1, model_2\); name one"):
        found.to_scores()
    with pytest.raises(UnknownNameError, match="model 'model_9' does not exist; closest: model_"):
        found.to_scores("model_9")
    with pytest.raises(InputError, match="this searchlight had no models"):
        search(models=None, keep_rdms=True).to_scores()
    assert found.rdms is None


def test_ties_and_few_orders_are_said() -> None:
    """A model with ties warns on Spearman and tau-b and not on rho-a; more draws than orders warn."""
    ties = np.abs(np.subtract.outer(np.arange(N) % 2, np.arange(N) % 2)).astype(float)
    for measure in ("spearman", "tau_b"):
        with pytest.warns(UserWarning, match=f"more than 5 % ties .* {measure} favours models with ties"):
            search(models=ties, measure=measure)
    search(models=ties, measure="rho_a")
    with pytest.warns(UserWarning, match="4 conditions have 24 orders, no more than the 30 permutations"):
        search(X[:4], models=model_rdms(1, 4), n_permutations=30)
