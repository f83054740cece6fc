"""Scores as volumes, surfaces and sensors: round trips keep geometry, sides and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import mne
import nibabel
import numpy as np
import pandas as pd
import pytest
from sensor_cases import NAMES, PLACES, epochs, evoked, raw, sensor_info
from volume_cases import AFFINE, SHAPE, code, image, mask_values, phantom, saved

from brainalign.errors import InputError, ShapeError
from brainalign.storage import load, save
from brainalign.types import NoiseCeiling, Responses, Scores
from brainalign.types._geometry import GEOMETRY, geometry_of


def scores_of(responses: Responses, values: np.ndarray, **info: Any) -> Scores:
    """Scores as encoding makes them: units and geometry of the responses."""
    identity = {"model": "net", "layer": "conv1"}
    return Scores(values, responses.units, identity=identity, info={**geometry_of(responses.info), **info})


def of_volumes(**info: Any) -> Scores:
    r = Responses.from_nifti(image(), image(mask_values()))
    return scores_of(r, code(*(r.units[a].to_numpy() for a in "ijk")), **info)


def test_geometry_is_what_the_contract_names() -> None:
    """Only entries that place units and samples travel, and absent ones are absent."""
    assert set(GEOMETRY) >= {"affine", "volume_shape", "n_vertices", "space", "sampling_rate"}
    assert geometry_of({"affine": [1], "space": None, "licence": "CC0"}) == {"affine": [1]}


def test_every_score_lies_where_its_voxel_was(tmp_path: Path) -> None:
    """The map has affine, shape and space of the input; a flip of x would move every value."""
    path = tmp_path / "map.nii.gz"
    nibabel.save(of_volumes().to_nifti(), path)
    made = nibabel.load(path)
    assert made.shape == SHAPE
    np.testing.assert_allclose(made.affine, AFFINE)
    np.testing.assert_allclose(made.get_qform(), AFFINE, atol=1e-4)
    assert (int(made.header["sform_code"]), int(made.header["qform_code"])) == (1, 1)
    values = made.get_fdata()
    inside = mask_values().astype(bool)
    assert np.isnan(values[~inside]).all()
    np.testing.assert_array_equal(values[inside], code(*np.nonzero(inside)))
    assert made.header["descrip"].item().startswith(b"brainalign: pearson of net, conv1")
    assert made.header.get_xyzt_units() == ("mm", "sec")
    # where the world says left, the value of the left voxel
    x = {
        name: nibabel.affines.apply_affine(made.affine, index)[0]
        for name, index in (("left", (3, 1, 2)), ("right", (0, 1, 2)))
    }
    assert x["left"] < x["right"]
    assert values[3, 1, 2] == code(3, 1, 2)


def test_a_map_is_a_mask_again() -> None:
    """Responses, scores, image, responses: voxels, positions and values are the same."""
    r = Responses.from_nifti(image(), image(mask_values()))
    series = scores_of(r, r.values.T.astype(float), times=[2.0 * n for n in range(7)]).to_nifti(fill=0)
    assert series.shape == (*SHAPE, 7)
    assert series.header.get_zooms()[3] == 2.0
    again = Responses.from_nifti(series, image(mask_values()))
    np.testing.assert_array_equal(again.values, r.values)
    pd.testing.assert_frame_equal(again.units, r.units)
    assert geometry_of(again.info) == geometry_of(r.info)


def test_what_else_can_be_mapped(tmp_path: Path) -> None:
    """p-values, ceiling and normalised scores take the same way, and scores that were stored too."""
    s = of_volumes()
    bound = NoiseCeiling(np.full(3, 400.0), np.full(3, 300.0), np.full(3, 500.0), "split_half")
    s = Scores(s.values, s.units, p_values=[0.1, 0.2, 0.3], noise_ceiling=bound, info=s.info)
    assert s.to_nifti(values=s.p_values).get_fdata()[3, 1, 2] == pytest.approx(0.3)
    assert s.to_nifti(values=s.normalised()).get_fdata()[3, 1, 2] == pytest.approx(312 / 400)
    assert s.to_nifti(fill=-1.0).get_fdata()[1, 1, 1] == -1
    save(s, tmp_path / "scores.h5")
    stored = load(tmp_path / "scores.h5")
    np.testing.assert_array_equal(stored.to_nifti(fill=0).get_fdata(), s.to_nifti(fill=0).get_fdata())
    with pytest.raises(ShapeError, match=r"values have shape \(4,\); expected \(3,\) or \(3, n_times\)"):
        s.to_nifti(values=np.zeros(4))


@pytest.mark.parametrize(
    ("space", "expected"),
    [("MNI152NLin6Asym", 4), ("talairach", 3), ("T1w", 2), ("scanner", 1), ("template", 5)],
)
def test_space_of_the_map(space: str, expected: int) -> None:
    """The code of the map says the space of the responses."""
    made = of_volumes().to_nifti().header
    assert int(made["sform_code"]) == 1
    made = of_volumes(space=space).to_nifti().header
    assert int(made["sform_code"]) == int(made["qform_code"]) == expected


def test_shear_stays_in_the_sform() -> None:
    """A quaternion holds no shear, so qform is left unset and our own reader accepts the map."""
    sheared = AFFINE @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    r = Responses.from_nifti(image(affine=sheared, qform=0))
    made = scores_of(r, r.values.T.astype(float), times=np.arange(7.0)).to_nifti(fill=0)
    assert int(made.header["qform_code"]) == 0
    np.testing.assert_allclose(Responses.from_nifti(made).info["affine"], sheared, atol=1e-4)


def test_uneven_times_have_no_step() -> None:
    """A step is written only where times have one; the first time is kept."""
    values = np.ones((3, 3))
    uneven = scores_of(of_volumes(), values, times=[-1.0, 0.0, 5.0]).to_nifti()  # type: ignore[arg-type]
    assert (float(uneven.header["pixdim"][4]), float(uneven.header["toffset"])) == (0.0, -1.0)
    assert float(scores_of(of_volumes(), values).to_nifti().header["pixdim"][4]) == 0.0  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"info\['times'\] has shape \(2,\), the values have 3 times"):
        scores_of(of_volumes(), values, times=[0.0, 1.0]).to_nifti()  # type: ignore[arg-type]


def test_volumes_that_cannot_be_mapped() -> None:
    """Units without a place, outside the volume, twice, or where another affine puts them."""
    with pytest.raises(
        InputError, match=r"these scores have no i, j, k, info\['affine'\], info\['volume_shape'\]"
    ):
        Scores([0.1]).to_nifti()
    s = of_volumes()
    with pytest.raises(
        InputError, match=r"have no info\['affine'\], info\['volume_shape'\]; a map needs i, j, k"
    ):
        Scores(s.values, s.units).to_nifti()
    with pytest.raises(
        InputError, match=r"unit '0_1_2' is at \[31.0, -37.5, -16.0\] mm, the affine puts its"
    ):
        scores_of(s, s.values, affine=(np.diag([-1.0, 1, 1, 1]) @ AFFINE).tolist()).to_nifti()  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"unit '2_4_5' lies outside the volume of \(4, 5, 5\) voxels \(1 such\)"
    ):
        scores_of(s, s.values, volume_shape=[4, 5, 5]).to_nifti()  # type: ignore[arg-type]
    twice = s.units.copy()
    twice.loc["2_4_5", list("ijkxyz")] = twice.loc["0_1_2", list("ijkxyz")]
    twice = twice.astype({"i": int, "j": int, "k": int})
    with pytest.raises(InputError, match="unit '2_4_5' is the same voxel as an earlier one .1 such."):
        Scores(s.values, twice, info=s.info).to_nifti()
    with pytest.raises(InputError, match="indices i, j, k have dtype float64"):
        Scores(s.values, s.units.astype({"i": float}), info=s.info).to_nifti()


def of_surface(**info: Any) -> Scores:
    """Scores of four vertices of two small meshes."""
    units = pd.DataFrame({"hemi": ["left", "left", "right", "right"], "vertex": [0, 4, 1, 2]})
    counts = {"n_vertices": {"left": 5, "right": 6}}
    return Scores([0.1, 0.2, 0.3, 0.4], units, info={**counts, **info})


def test_surface_round_trip(tmp_path: Path) -> None:
    """Each hemisphere has its own file, name and vertices; reading them back gives the values."""
    made = of_surface().to_gifti()
    assert list(made) == ["left", "right"]
    np.testing.assert_allclose(made["left"].agg_data(), [0.1, np.nan, np.nan, np.nan, 0.2])
    np.testing.assert_allclose(made["right"].agg_data(), [np.nan, 0.3, 0.4, np.nan, np.nan, np.nan])
    paths = {}
    for side, one in of_surface().to_gifti(fill=0).items():
        paths[side] = tmp_path / f"{side[0]}h.func.gii"
        nibabel.save(one, paths[side])
        assert nibabel.load(paths[side]).meta["AnatomicalStructurePrimary"] == f"Cortex{side.capitalize()}"
    mask = {"left": np.array([1, 0, 0, 0, 1]), "right": np.array([0, 1, 1, 0, 0, 0])}
    r = Responses.from_surface(paths["left"], paths["right"], design="trials", stimuli=["a"], mask=mask)
    np.testing.assert_allclose(r.values[0], [0.1, 0.2, 0.3, 0.4])
    assert r.units.index.tolist() == ["left_0", "left_4", "right_1", "right_2"]
    with pytest.raises(Exception, match="are left and right swapped"):
        Responses.from_surface(made["right"], made["left"], design="trials", stimuli=["a"])


def test_surface_over_time() -> None:
    """One array per time, named by its seconds."""
    s = of_surface(times=[0.0, 0.5])
    s = Scores(np.outer(s.values, [1, 2]), s.units, info=s.info)
    left = s.to_gifti()["left"]
    assert [array.meta["Name"] for array in left.darrays] == ["0 s", "0.5 s"]
    np.testing.assert_allclose(left.darrays[1].data[[0, 4]], [0.2, 0.4])
    plain = Scores(s.values, s.units, info=of_surface().info).to_gifti()["left"]
    assert plain.darrays[1].meta["Name"] == "pearson 1"


def test_surfaces_that_cannot_be_mapped() -> None:
    """Units without a vertex, on an unknown side, beyond the mesh or twice."""
    with pytest.raises(InputError, match=r"these scores have no hemi, vertex, info\['n_vertices'\]"):
        Scores([0.1]).to_gifti()
    with pytest.raises(InputError, match="hemisphere 'right' is not known; expected left or right, both"):
        of_surface(n_vertices={"left": 5}).to_gifti()
    with pytest.raises(InputError, match="hemisphere 'top' is not known"):
        of_surface(n_vertices={"left": 5, "right": 6, "top": 3}).to_gifti()
    with pytest.raises(InputError, match="the left hemisphere has 4 vertices; the units name 0 to 4"):
        of_surface(n_vertices={"left": 4, "right": 6}).to_gifti()
    s = of_surface()
    with pytest.raises(InputError, match="is the same vertex as an earlier one"):
        Scores(s.values, s.units.assign(vertex=1), info=s.info).to_gifti()


def test_sensors_round_trip() -> None:
    """Names, types, positions and times come back; what was measured left is left."""
    r = Responses.from_mne(epochs())
    values = np.random.default_rng(0).normal(size=(4, 31))
    made = scores_of(r, values, times=r.times.tolist()).to_mne()
    assert made.ch_names == NAMES
    np.testing.assert_allclose(made.times, r.times, atol=1e-12)
    np.testing.assert_array_equal(made.data, values)
    again = Responses.from_mne(made, check_amplitude=False)
    np.testing.assert_allclose(again.units[list("xyz")], 1e3 * PLACES, atol=1e-6)
    pd.testing.assert_series_equal(again.units["ch_type"], r.units["ch_type"])
    assert again.info["sampling_rate"] == pytest.approx(100)
    single = scores_of(r, values[:, 0]).to_mne()
    assert single.data.shape == (4, 1)
    assert single.times.tolist() == [0.0]
    assert single.comment == "pearson of net, conv1"
    one_time = scores_of(r, values[:, :1], times=[0.2]).to_mne()
    assert one_time.times.tolist() == [0.2]
    assert Scores([0.1, 0.2], pd.DataFrame({"unit_id": ["a", "b"], "ch_type": "eeg"})).to_mne().ch_names == [
        "a",
        "b",
    ]


@pytest.mark.parametrize("kind", ["mag", "grad"])
@pytest.mark.parametrize("frame", ["head", "device"])
def test_meg_round_trip(kind: str, frame: str) -> None:
    """MEG positions come back in the frame that they were read in."""
    source = mne.EvokedArray(np.full((4, 3), 1e-12), sensor_info(kind), verbose="ERROR")
    if frame == "head":
        source.info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    r = Responses.from_mne(source, check_amplitude=False)
    made = scores_of(r, np.ones((4, 2)), times=[0.0, 0.1]).to_mne()
    again = Responses.from_mne(made, check_amplitude=False)
    np.testing.assert_allclose(again.units[list("xyz")], 1e3 * PLACES, atol=1e-4)
    assert again.info["coordinate_frame"] == frame


def test_topographies_plot_where_a_score_is_missing() -> None:
    """A sensor without a score is marked as bad, and the topography of the others is drawn."""
    matplotlib.use("Agg")
    names = ["Fz", "C3", "C4", "Oz", "Pz", "F3"]
    r = Responses.from_mne(epochs())
    places = np.vstack([PLACES, [[0, -0.05, 0.08], [-0.04, 0.06, 0.05]]]) * 1e3
    units = pd.DataFrame(places, index=pd.Index(names, name="unit_id"), columns=list("xyz")).assign(
        ch_type="eeg"
    )
    values = np.linspace(0, 0.5, 6)[:, None] * [1, 2]
    values[3] = np.nan
    made = Scores(values, units, info={**geometry_of(r.info), "times": [0.0, 0.01]}).to_mne()
    assert made.info["bads"] == ["Oz"]
    figure = made.plot_topomap([0.0], scalings=1, units="r", show=False, colorbar=False)
    assert figure.axes
    matplotlib.pyplot.close(figure)


def test_sensors_that_cannot_be_mapped() -> None:
    """Units without a type, times that are absent or uneven."""
    with pytest.raises(InputError, match="these scores have no ch_type; a map needs ch_type of the units"):
        Scores([0.1]).to_mne()
    r = Responses.from_mne(evoked())
    with pytest.raises(InputError, match="have a time axis and no info.'times'."):
        scores_of(r, np.ones((4, 3))).to_mne()
    with pytest.raises(InputError, match="are not evenly spaced; MNE holds evenly sampled"):
        scores_of(r, np.ones((4, 3)), times=[0.0, 0.1, 0.5]).to_mne()


def test_responses_survive_storage(tmp_path: Path) -> None:
    """What a conversion puts into samples, units and info can be stored and read back."""
    events = {"onset": [2.0], "duration": [4.0], "condition": ["face"]}
    volumes = Responses.from_nifti(saved(tmp_path), image(mask_values()), events, rois={"V1": mask_values()})
    sensors = Responses.from_mne(raw(annotations=([1.0, 2], [0.5, 1], ["a", "BAD"])), subject="1")
    for n, r in enumerate((volumes, sensors, Responses.from_mne(epochs()))):
        save(r, tmp_path / f"{n}.h5")
        again = load(tmp_path / f"{n}.h5")
        pd.testing.assert_frame_equal(again.samples, r.samples)
        pd.testing.assert_frame_equal(again.units, r.units)
        assert again.info == r.info
        np.testing.assert_array_equal(again.array(), r.values)
    assert phantom().shape == (*SHAPE, 7)
