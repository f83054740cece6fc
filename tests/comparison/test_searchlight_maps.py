"""Searchlights of `Responses`: joined by id, placed by their own geometry, written as maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from searchlight_cases import RADIUS, N, model_rdms, runs_of
from test_neighbourhoods import sheet

from brainalign.comparison.rdm_comparison import compare_rdms
from brainalign.comparison.rdms import rdm
from brainalign.comparison.searchlight import map_searchlight
from brainalign.types import RDMs, Responses

IDS = [f"s{i}" for i in range(N)]
MODELS = RDMs(model_rdms(2), IDS, pd.DataFrame({"model": ["a", "b"]}))


def of_volume() -> tuple[Responses, np.ndarray]:
    """Runs of responses on an oblique grid with voxels in no order, and their positions."""
    rng = np.random.default_rng(0)
    shape = (6, 5, 4)
    voxels = rng.permutation(np.argwhere(np.ones(shape)))[:100]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([3.0, 3.0, 3.5])
    affine[:3, 3] = [-20, 5, 7]
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    units = pd.DataFrame(
        np.column_stack([voxels, np.zeros(100)]).astype(int), columns=["i", "j", "k", "roi_x"]
    )
    units[list("xyz")] = places
    units["roi_x"] = np.arange(100) < 90
    x, labels = runs_of(100)
    samples = pd.DataFrame(
        {"stimulus_id": [IDS[c] for c in labels["conditions"]], "run": labels["runs"], "subject": "01"}
    )
    info = {"design": "blocks", "affine": affine.tolist(), "volume_shape": list(shape), "space": "scanner"}
    return Responses(x, samples, units, info=info), places


def test_responses_are_joined_by_id_and_written_as_nifti() -> None:
    """Voxels are found by their indices and affine, models by stimulus_id whatever their order, and the
    map of each model stands in the volume at the voxels of its centres."""
    responses, places = of_volume()
    order = np.random.default_rng(1).permutation(N)
    shuffled = RDMs(MODELS.values[:, order][:, :, order], [IDS[i] for i in order], MODELS.table)
    found = map_searchlight(responses, radius_mm=RADIUS, models=shuffled, runs="run", n_permutations=19)
    labels = {
        "conditions": responses.samples["stimulus_id"].to_numpy(),
        "runs": responses.samples["run"].to_numpy(),
    }  # type: ignore[index]
    plain = map_searchlight(responses.array(), places, radius_mm=RADIUS, models=MODELS, **labels)
    np.testing.assert_allclose(found.scores, plain.scores, atol=1e-12)
    scores = found.to_scores("b")
    assert (scores.identity["model"], scores.identity["analysis"], scores.identity["subject"]) == (
        "b",
        "searchlight",
        "01",
    )
    assert (scores.metric, scores.n_test) == ("whitened_cosine", N)
    np.testing.assert_array_equal(scores.p_values, found.p_corrected[1])  # type: ignore[index]
    np.testing.assert_array_equal(found.to_scores("b", corrected=False).p_values, found.p_values[1])  # type: ignore[index]
    image = scores.to_nifti()
    assert image.shape == (6, 5, 4)
    np.testing.assert_allclose(image.affine, responses.info["affine"])
    i, j, k = responses.units[["i", "j", "k"]].to_numpy().T  # type: ignore[index]
    np.testing.assert_allclose(image.get_fdata()[i, j, k], found.scores[1], atol=1e-6)
    assert np.isnan(image.get_fdata()).sum() == 20
    nearest = map_searchlight(responses, n_neighbours=15, models=MODELS, runs="run")
    by_place = map_searchlight(responses.array(), places, n_neighbours=15, models=MODELS, **labels)
    np.testing.assert_allclose(nearest.scores, by_place.scores, atol=1e-12)


def test_map_of_simulated_responses_says_so() -> None:
    """A simulated recording leaves its mark on the result and on the scores made of it."""
    responses, _ = of_volume()
    made = Responses(
        responses.values, responses.samples, responses.units, info={**responses.info, "simulated": True}
    )
    found = map_searchlight(made, radius_mm=RADIUS, models=MODELS, runs="run")
    assert found.info["simulated"] is True
    assert found.to_scores("b").info["simulated"] is True
    assert "simulated" not in map_searchlight(responses, radius_mm=RADIUS, models=MODELS, runs="run").info


def test_frame_has_a_row_for_each_model_and_centre() -> None:
    """The table names the unit, the model, the score with its p-values, the voxels and the reason."""
    responses, _ = of_volume()
    found = map_searchlight(
        responses, radius_mm=RADIUS, models=MODELS, runs="run", mask="roi_x", n_permutations=9
    )
    frame = found.to_frame()
    assert len(frame) == 200
    row = frame[(frame["unit_id"] == "7") & (frame["model"] == "b")].iloc[0]
    assert row["score"] == found.scores[1, 7]
    assert row["p_corrected"] == found.p_corrected[1, 7]  # type: ignore[index]
    assert row["n_voxels"] == found.n_voxels[7]
    assert frame["reason"].value_counts().to_dict() == {"": 180, "outside the mask": 20}
    bare = map_searchlight(responses, radius_mm=RADIUS, runs="run", keep_rdms=True)
    assert len(bare.to_frame()) == 100
    assert bare.labels is not None
    assert bare.labels.tolist() == IDS


def test_surface_of_two_hemispheres_is_written_as_gifti() -> None:
    """Units name vertices of a mesh per hemisphere: patches follow the edges, no patch crosses, and the map
    goes to the vertices of both."""
    points, faces = sheet(8)
    mesh = {"left": (points, faces), "right": (points + np.array([0.0, 0.0, 0.5]), faces)}
    rng = np.random.default_rng(3)
    vertex = np.concatenate([np.sort(rng.permutation(64)[:50]), np.sort(rng.permutation(64)[:60])])
    units = pd.DataFrame({"hemi": ["left"] * 50 + ["right"] * 60, "vertex": vertex})
    samples = pd.DataFrame({"stimulus_id": IDS})
    info = {"design": "trials", "n_vertices": {"left": 64, "right": 64}}
    responses = Responses(rng.normal(size=(N, 110)), samples, units, info=info)
    found = map_searchlight(responses, mesh=mesh, radius_mm=7.0, models=MODELS)
    alone = responses.select(units=np.arange(50))
    left = map_searchlight(alone, mesh["left"], radius_mm=7.0, models=MODELS)
    np.testing.assert_allclose(found.scores[:, :50], left.scores, atol=1e-12)
    images = found.to_scores("a").to_gifti()
    np.testing.assert_allclose(images["right"].agg_data()[vertex[50:]], found.scores[0, 50:], atol=1e-6)
    values = np.full((N, 128), np.nan)
    values[:, np.concatenate([vertex[:50], vertex[50:] + 64])] = responses.array()
    with pytest.warns(UserWarning, match="18 of 128 centres have no score"):
        whole = map_searchlight(values, mesh=mesh, radius_mm=7.0, models=MODELS.values)
    np.testing.assert_allclose(whole.scores[:, vertex[50:] + 64], found.scores[:, 50:], atol=1e-12)
    assert whole.to_scores("model_1").to_gifti()["left"].agg_data().shape == (64,)
    with pytest.warns(UserWarning, match="14 of 64 centres"):
        one = map_searchlight(values[:, :64], mesh["left"], radius_mm=7.0, models=MODELS.values)
    np.testing.assert_allclose(one.scores[:, vertex[:50]], left.scores, atol=1e-12)
    assert "vertex" in one.units


def of_sensors() -> Responses:
    """Responses of sensors with positions, over time."""
    rng = np.random.default_rng(4)
    units = pd.DataFrame({"unit_id": [f"E{i}" for i in range(10)], "ch_type": "eeg"})
    units[list("xyz")] = rng.normal(size=(10, 3)) * 40
    info = {"design": "trials", "sampling_rate": 100.0, "coordinate_frame": "head"}
    samples = pd.DataFrame({"stimulus_id": IDS[::-1]})
    return Responses(rng.normal(size=(N, 10, 6)), samples, units, np.arange(6) / 100, info)


def test_sensors_over_time_are_written_for_mne() -> None:
    """Sensors by their positions and windows of time: the map is an evoked response with the times, and a
    sensor without a position has none; without positions the times alone are a map."""
    responses = of_sensors()
    found = map_searchlight(responses, radius_mm=70.0, time_radius=1, models=MODELS, min_voxels=2)
    evoked = found.to_scores("a").to_mne()
    assert evoked.data.shape == (10, 6)
    np.testing.assert_allclose(evoked.times, np.arange(6) / 100)
    np.testing.assert_allclose(evoked.data, found.scores[0])
    lost = responses.units.copy()  # type: ignore[union-attr]
    lost.loc["E3", "x"] = np.nan
    moved = Responses(responses.values, responses.samples, lost, responses.times, responses.info)
    with pytest.warns(UserWarning, match="6 the centre has no position"):
        without = map_searchlight(moved, radius_mm=70.0, time_radius=1, models=MODELS, min_voxels=2)
    assert np.isnan(without.scores[:, 3]).all()
    over_time = map_searchlight(responses, time_radius=0, models=MODELS)
    scores = over_time.to_scores("b")
    assert scores.values.shape == (1, 6)
    assert scores.info["times"] == (np.arange(6) / 100).tolist()
    assert len(over_time.to_frame()) == 12
    back = responses.array()[::-1, :, 2]
    np.testing.assert_allclose(
        over_time.scores[:, 2], compare_rdms(MODELS.values, rdm(back), measure="rho_a")[:, 0]
    )


@pytest.mark.parametrize("kind", ["mapping", "mapping_of_rdms", "array", "stacks"])
def test_names_of_models(kind: str) -> None:
    """Names come from a mapping, from the table of the RDMs, or are numbers; one model needs no name."""
    responses, places = of_volume()
    x, ids = responses.array(), responses.samples["stimulus_id"].to_numpy()  # type: ignore[index]
    one = RDMs(MODELS.values[:1], IDS)
    given: Any = {
        "mapping": {"first": MODELS.values[0], "second": MODELS.values[1]},
        "mapping_of_rdms": {"first": one, "second": RDMs(MODELS.values[1:], IDS)},
        "array": MODELS.values,
        "stacks": {"set": MODELS},
    }[kind]
    names = {"array": ("model_0", "model_1"), "stacks": ("set_a", "set_b")}.get(kind, ("first", "second"))
    found = map_searchlight(x, places, radius_mm=RADIUS, models=given, conditions=ids)
    assert found.names == names
    single = map_searchlight(x, places, radius_mm=RADIUS, models=one, conditions=ids)
    np.testing.assert_allclose(single.to_scores().values, found.scores[0], atol=1e-12)
