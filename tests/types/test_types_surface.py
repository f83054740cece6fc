"""Surfaces: hemispheres, meshes and vertices keep their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

from brainalign.errors import AlignmentError, CorruptFileError, InputError, ShapeError
from brainalign.types import Responses

N = 642
RNG = np.random.default_rng(0)
LEFT = RNG.normal(size=(5, N)).astype(np.float32)
RIGHT = RNG.normal(size=(5, N)).astype(np.float32) + 100


def gifti(
    values: np.ndarray, side: str | None = None, intent: str = "NIFTI_INTENT_TIME_SERIES", **meta: str
) -> Any:
    """One array per sample, as programs write time series."""
    about = {} if side is None else {"AnatomicalStructurePrimary": f"Cortex{side.capitalize()}"}
    arrays = [
        GiftiDataArray(row, intent=intent, datatype="NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(meta))
        for row in np.atleast_2d(values).astype(np.float32)
    ]
    return GiftiImage(meta=GiftiMetaData(about), darrays=arrays)


def read(left: Any = LEFT, right: Any = RIGHT, **options: Any) -> Responses:
    return Responses.from_surface(left, right, **{"repetition_time": 2.0, **options})


def test_files_images_and_arrays_agree(tmp_path: Path) -> None:
    """Left comes before right, each vertex under its name, from files, memory and arrays."""
    paths = [tmp_path / f"sub-1_hemi-{h}_space-fsaverage3_bold.func.gii" for h in "LR"]
    for path, values, side in zip(paths, (LEFT, RIGHT), ("left", "right"), strict=True):
        nibabel.save(gifti(values, side), path)
    table = GiftiDataArray(LEFT.T.copy(), intent="NIFTI_INTENT_TIME_SERIES", datatype="NIFTI_TYPE_FLOAT32")
    for left, right in (
        (LEFT, RIGHT),
        paths,
        (gifti(LEFT), gifti(RIGHT, "right")),
        (GiftiImage(darrays=[table]), RIGHT),
    ):
        r = read(left, right)
        assert r.values.dtype == np.float32
        np.testing.assert_array_equal(r.values, np.hstack([LEFT, RIGHT]))
        assert r.units.loc["right_3", ["hemi", "vertex"]].tolist() == ["right", 3]
        assert r.units["hemi"].tolist() == ["left"] * N + ["right"] * N
        assert r.info["space"] == "fsaverage3"
        assert r.info["n_vertices"] == {"left": N, "right": N}
        assert (r.info["repetition_time"], r.info["sampling_rate"]) == (2.0, 0.5)
        assert r.samples["onset"].tolist() == [0, 2, 4, 6, 8]


def test_events_runs_and_one_hemisphere() -> None:
    """Runs are lists, events are as for volumes, and one hemisphere is enough."""
    events = [None, {"onset": [2.0], "duration": [2.0], "condition": ["a"]}]
    r = read([LEFT[:2], LEFT[2:]], [RIGHT[:2], RIGHT[2:]], events=events, subject="1", slice_time_ref=0.0)
    assert r.samples["run"].tolist() == ["1", "1", "2", "2", "2"]
    assert r.samples["condition"].tolist() == [None, None, None, "a", None]
    np.testing.assert_array_equal(r.values[:, :N], LEFT)
    only = read(None, RIGHT)
    assert only.info["n_vertices"] == {"right": N}
    assert only.units.index[0] == "right_0"
    with pytest.raises(AlignmentError, match="begins at 90 s, outside run '1', which lasts 10 s"):
        read(events={"onset": [90.0], "duration": [1.0], "condition": ["a"]})


def test_trials() -> None:
    """Maps of trials take stimuli in place of events and have no time between them."""
    r = Responses.from_surface(LEFT, RIGHT, design="trials", stimuli=list("ababa"), session="1")
    assert r.samples["repetition"].tolist() == ["1", "1", "2", "2", "3"]
    assert r.info["design"] == "trials"
    assert "repetition_time" not in r.info
    with pytest.raises(AlignmentError, match="5 maps, stimuli name 2 trials"):
        Responses.from_surface(LEFT, design="trials", stimuli=["a", "b"])
    with pytest.raises(InputError, match="design='trials' needs stimuli="):
        Responses.from_surface(LEFT, design="trials")
    with pytest.raises(InputError, match="stimuli= are for design='trials'"):
        read(stimuli=["a"])
    with pytest.raises(InputError, match="design='trial' is not one of"):
        read(design="trial")


def test_medial_wall() -> None:
    """Vertices of the medial wall are left out, by mask or because they never vary."""
    left = LEFT.copy()
    left[:, :10] = 0
    assert read(left).n_units == 2 * N - 10
    assert read(left).units.index[0] == "left_10"
    cortex = np.ones(N)
    cortex[5:] = 0
    r = read(left, mask={"left": cortex, "right": gifti(cortex, "right", "NIFTI_INTENT_SHAPE")})
    assert r.n_units == 10
    assert r.info["units_without_signal"] == {"missing": 0, "constant": 5}
    with pytest.raises(InputError, match="mask must be a mapping with left and right; found left"):
        read(mask={"left": cortex})
    with pytest.raises(InputError, match="mask must be a mapping with left and right; found ndarray"):
        read(mask=cortex)
    with pytest.raises(InputError, match=r"mask \(left\) holds 2"):
        read(mask={"left": 2 * cortex, "right": cortex})
    with pytest.raises(ShapeError, match=r"mask \(left\) has 1 x 5 values; expected one for each of the 642"):
        read(mask={"left": np.ones(5), "right": cortex})
    with pytest.raises(InputError, match="no unit varies from sample"):
        read(np.zeros((5, N)))


def test_regions() -> None:
    """Label files name regions by their table, arrays by the names that are given."""
    area = np.zeros(N)
    area[3] = 7
    table = GiftiLabelTable()
    for key, name in ((0, "???"), (7, "V1")):
        label = GiftiLabel(key)
        label.label = name
        table.labels.append(label)
    labelled = GiftiImage(
        labeltable=table,
        darrays=[
            GiftiDataArray(area.astype(np.int32), intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32")
        ],
    )
    rois = {
        "atlas": {"left": labelled, "right": labelled},
        "own": ({"left": area, "right": area}, {7: "FFA"}),
    }
    units = read(rois=rois).units
    assert units.index[units["roi_atlas"] == "V1"].tolist() == ["left_3", "right_3"]
    assert units.index[units["roi_own"] == "FFA"].tolist() == ["left_3", "right_3"]
    assert units["roi_atlas"].iloc[0] is None
    with pytest.raises(InputError, match="holds labels of regions, not measured values; give it as rois="):
        read(labelled)


def test_swapped_hemispheres_are_refused(tmp_path: Path) -> None:
    """The structure in the file, or its name, contradicts the argument: left is not right."""
    with pytest.raises(
        AlignmentError, match="given as the left hemisphere and says CortexRight; are left and"
    ):
        read(gifti(LEFT, "right"))
    inside = gifti(LEFT, None, AnatomicalStructurePrimary="CortexLeft")
    with pytest.raises(AlignmentError, match="given as the right hemisphere and says CortexLeft"):
        read(LEFT, inside)
    for name in ("sub-1_hemi-R_bold.func.gii", "rh.func.gii", "bold.rh.gii", "100.R.32k.func.gii"):
        path = tmp_path / name
        nibabel.save(gifti(LEFT), path)
        with pytest.raises(AlignmentError, match="given as the left hemisphere and its name says right"):
            read(path)


def test_meshes_are_known_by_their_vertices(tmp_path: Path) -> None:
    """The name of a mesh must fit its vertices; it comes from argument, file name or their number."""
    assert read(space="fsaverage3").info["space"] == "fsaverage3"
    assert read(space="fsnative").info["space"] == "fsnative"
    wide = np.tile(RNG.normal(size=(3, 1)), 32492)
    assert read(wide, wide).info["space"] == "fsLR_32k"
    for name in ("fsLR", "fs_LR-32k", "fslr32k"):
        assert read(wide, wide, space=name).info["space"] == "fsLR_32k"
    with pytest.raises(AlignmentError, match=r"space='fsaverage5' has 10242 .* found 642 \(left\) and 642"):
        read(space="fsaverage5")
    with pytest.raises(AlignmentError, match="that many has fsaverage3"):
        read(space="fsaverage")
    odd = RNG.normal(size=(5, 100))
    assert read(odd, RIGHT).info["space"] == "unknown"
    both = np.tile(RNG.normal(size=(3, 1)), 163842)
    assert read(both, None).info["space"] == "unknown"
    path = tmp_path / "hemi-L_space-fsaverage_bold.func.gii"
    nibabel.save(gifti(LEFT), path)
    assert read(path).info["space"] == "fsaverage3"
    named = tmp_path / "hemi-L_space-fsnative_bold.func.gii"
    nibabel.save(gifti(LEFT), named)
    assert read(named).info["space"] == "fsnative"


def test_hemispheres_that_do_not_fit() -> None:
    """Unequal samples, unequal meshes over runs, and no hemisphere at all."""
    with pytest.raises(AlignmentError, match=r"left hemisphere has \[5\] samples per run, the right \[4\]"):
        read(LEFT, RIGHT[:4])
    with pytest.raises(AlignmentError, match="has 600 vertices, .* 642; runs of the left hemisphere share"):
        read([LEFT, LEFT[:, :600]], [RIGHT, RIGHT])
    for nothing in (None, []):
        with pytest.raises(InputError, match="no hemisphere was given"):
            read(nothing, None)


def test_time_between_samples() -> None:
    """It must be given, be plausible, and not contradict what the file says."""
    with pytest.raises(InputError, match="needs repetition_time= in seconds"):
        Responses.from_surface(LEFT)
    with pytest.raises(InputError, match="repetition_time=2000 s is outside .* 2000 ms are 2 s"):
        read(repetition_time=2000)
    with pytest.raises(InputError, match="repetition_time=0 s is outside"):
        read(repetition_time=0)
    with pytest.raises(InputError, match="slice_time_ref=-1 must be between"):
        read(slice_time_ref=-1)
    for step in ("2000.0", "2.0", "0.0", "unknown"):
        assert read(gifti(LEFT, TimeStep=step)).info["repetition_time"] == 2.0
    with pytest.raises(InputError, match="TimeStep is 1500, repetition_time=2 s; neither as s nor as ms"):
        read(gifti(LEFT, TimeStep="1500"))


def test_files_that_are_no_values(tmp_path: Path) -> None:
    """Meshes, empty images, ragged arrays, infinite values, other objects, cut and foreign files."""
    mesh = gifti(np.ones((3, 3)), intent="NIFTI_INTENT_POINTSET")
    with pytest.raises(InputError, match="holds the coordinates of a mesh; expected values per vertex"):
        read(mesh)
    with pytest.raises(InputError, match="holds no array"):
        read(GiftiImage())
    ragged = GiftiImage(darrays=[*gifti(LEFT[:1]).darrays, *gifti(LEFT[:1, :9]).darrays])
    with pytest.raises(ShapeError, match="has arrays of shapes .* expected one array per sample"):
        read(ragged)
    with pytest.raises(ShapeError, match=r"has shape"):
        read(np.ones((1, 2, 3)))
    with pytest.raises(InputError, match="dtype complex128; expected real numbers"):
        read(LEFT.astype(complex))
    infinite = LEFT.copy()
    infinite[2, 9] = np.inf
    with pytest.raises(InputError, match="infinite value at vertex 9 of sample 2"):
        read(infinite)
    with pytest.raises(InputError, match=r"values \(left\) is a dict; expected the path"):
        read({"left": LEFT})
    path = tmp_path / "cut.func.gii"
    nibabel.save(gifti(LEFT), path)
    whole = path.read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match="cut.func.gii is no readable GIFTI file"):
            read(path)
    path.write_bytes(whole.replace(b'Encoding="GZipBase64Binary"', b'Encoding="ExternalFileBinary"'))
    with pytest.raises(InputError, match="keeps its values in another file"):
        read(path)


def test_flipped_bits_of_gifti_are_found(tmp_path: Path) -> None:
    """A changed letter inside the packed values is refused: each array has a checksum."""
    path = tmp_path / "flip.func.gii"
    nibabel.save(gifti(LEFT), path)
    whole = path.read_bytes()
    start = whole.index(b"<Data>") + 40
    for place in range(start, start + 400, 10):
        flipped = bytearray(whole)
        flipped[place] = ord("A") if flipped[place] != ord("A") else ord("B")
        path.write_bytes(flipped)
        with pytest.raises(CorruptFileError, match="flip.func.gii"):
            read(path)


def test_vertices_before_samples_are_refused() -> None:
    """Other programs hold (n_vertices, n_samples): taken as it is, each vertex would be a volume."""
    with pytest.raises(ShapeError, match=r"shape \(642, 5\).*expected \(n_samples, n_vertices\).*left.*\.T"):
        Responses.from_surface(LEFT.T, RIGHT.T, repetition_time=2.0)
