"""Volumes to responses: every voxel keeps its place, side, time and unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from volume_cases import AFFINE, N_VOLUMES, SHAPE, TR, code, image, mask_values, phantom, saved

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

FLIP = np.diag([-1.0, 1, 1, 1])


def shifted(voxels: tuple[float, float, float]) -> np.ndarray:
    """The affine moved by whole voxels."""
    move = np.eye(4)
    move[:3, 3] = voxels
    return AFFINE @ move


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz", None])
def test_every_voxel_keeps_its_place(tmp_path: Path, name: str | None) -> None:
    """Values, indices and positions of an asymmetric phantom belong together, from files and memory."""
    source = image() if name is None else saved(tmp_path, name)
    r = Responses.from_nifti(source, image(mask_values()))
    i, j, k = (r.units[a].to_numpy() for a in "ijk")
    np.testing.assert_array_equal(r.values[0], code(i, j, k))
    np.testing.assert_array_equal(r.values[-1], N_VOLUMES * code(i, j, k))
    assert list(r.units.index) == ["0_1_2", "2_4_5", "3_1_2"]
    np.testing.assert_allclose(r.units[list("xyz")], nibabel.affines.apply_affine(AFFINE, np.c_[i, j, k]))
    assert r.values.dtype == np.float32
    assert r.info["affine"] == AFFINE.tolist()
    assert r.info["volume_shape"] == list(SHAPE)
    assert (r.info["repetition_time"], r.info["sampling_rate"]) == (TR, 0.5)
    assert (r.info["design"], r.info["unit"], r.info["space"]) == ("continuous", "a.u.", "scanner")
    assert r.samples["onset"].tolist() == [TR * n for n in range(N_VOLUMES)]
    assert set(r.samples["run"]) == {"1"}


def test_position_of_the_left_is_negative() -> None:
    """x is RAS+: in left-handed storage the voxel with the larger i lies further left."""
    r = Responses.from_nifti(image(), image(mask_values()))
    assert r.units.loc["3_1_2", "x"] == 31 - 6
    assert r.units.loc["0_1_2", "x"] == 31
    other = image(phantom(), FLIP @ AFFINE)
    assert Responses.from_nifti(other).units["x"].max() == 6 - 31


def test_without_a_mask_the_voxels_that_vary() -> None:
    """Constant, nearly constant and missing voxels are left out and the number is told."""
    values = phantom()
    values[0, 0, 1] = 0.1
    values[0, 0, 2] = 1e4 + 1e-3 * np.arange(N_VOLUMES)
    values[0, 0, 3, 2] = np.nan
    r = Responses.from_nifti(image(values))
    # voxel 0_0_0 has the code 0 in every volume
    assert r.n_units == np.prod(SHAPE) - 4
    assert not {"0_0_0", "0_0_1", "0_0_2", "0_0_3"} & set(r.units.index)
    assert "116 of 120 units that vary" in r.info["mask"]
    given = Responses.from_nifti(image(values), np.ones(SHAPE))
    assert given.n_units == 120
    assert given.info["units_without_signal"] == {"missing": 1, "constant": 3}
    with pytest.raises(InputError, match="no unit varies from sample to sample"):
        Responses.from_nifti(image(np.ones((*SHAPE, 3))))


def test_scaling_and_types(tmp_path: Path) -> None:
    """Integers with slope and intercept come out as the numbers they stand for, in both byte orders."""
    stored = phantom(dtype=np.int16)
    for order in "<>":
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(np.int16)
        out = image(stored, header=header)
        out.header.set_slope_inter(0.5, -3)
        path = tmp_path / "scaled.nii"
        with path.open("wb") as stream:
            out.header.write_to(stream)
            stream.write(stored.astype(f"{order}i2").tobytes(order="F"))
        r = Responses.from_nifti(path, image(mask_values()))
        codes = code(*(r.units[a].to_numpy() for a in "ijk"))
        np.testing.assert_array_equal(r.values[1], 0.5 * (2 * codes) - 3)
    for dtype in (np.uint8, np.float64):
        path = saved(tmp_path, f"{np.dtype(dtype)}.nii.gz", values=(phantom() % 200).astype(dtype))
        assert Responses.from_nifti(path, np.ones(SHAPE)).values.max() == (phantom() % 200).max()


def test_nifti2_and_lazy_images(tmp_path: Path) -> None:
    """NIfTI-2 files and images of nibabel whose values are still on disk give the same numbers."""
    expected = Responses.from_nifti(image()).values
    two = nibabel.Nifti2Image(phantom(), AFFINE)
    two.header.set_xyzt_units("mm", "sec")
    two.header.set_zooms((2, 2.5, 3, TR))
    nibabel.save(two, tmp_path / "two.nii.gz")
    path = saved(tmp_path)
    for source in (tmp_path / "two.nii.gz", two, nibabel.load(path), str(path)):
        np.testing.assert_array_equal(Responses.from_nifti(source).values, expected)


def test_runs_and_sessions(tmp_path: Path) -> None:
    """A list of images is a list of runs; onsets begin anew in each, and each has its labels."""
    paths = [saved(tmp_path, f"run{n}.nii", values=phantom(n)) for n in (3, 4)]
    r = Responses.from_nifti(paths, session=["a", "b"], run=["x", "y"], subject="01", design="blocks")
    assert r.samples["run"].tolist() == ["x"] * 3 + ["y"] * 4
    assert r.samples["session"].tolist() == ["a"] * 3 + ["b"] * 4
    assert r.samples["onset"].tolist() == [0, 2, 4, 0, 2, 4, 6]
    assert set(r.samples["subject"]) == {"01"}
    assert r.info["design"] == "blocks"
    joined = Responses.from_nifti(image(phantom(7)), run=[1.0] * 3 + [2.0] * 4, session="s")
    assert joined.samples["run"].tolist() == ["1"] * 3 + ["2"] * 4
    assert joined.samples["onset"].tolist() == [0, 2, 4, 0, 2, 4, 6]
    late = Responses.from_nifti(image(), slice_time_ref=0.5)
    assert late.samples["onset"].tolist()[:2] == [1.0, 3.0]


def test_regions_by_mask_and_by_label() -> None:
    """Images of 0 and 1 become masks, integers become labels, 0 is no region; flips change both."""
    atlas = np.zeros(SHAPE, dtype=np.int16)
    atlas[0, 1, 2], atlas[2, 4, 5] = 1, 4
    rois = {
        "visual": image(mask_values() * (np.indices(SHAPE)[0] == 3)),
        "plain": image(atlas),
        "named": (image(atlas), ["background", "V1", "x", "y", "FFA"]),
        "mapped": (atlas, {1: "V1", 4: "FFA"}),
    }
    units = Responses.from_nifti(image(), image(mask_values()), rois=rois).units
    assert units["roi_visual"].tolist() == [False, False, True]
    assert units["roi_visual"].dtype == bool
    assert units["roi_plain"].tolist() == ["1", "4", None]
    assert units["roi_named"].tolist() == ["V1", "FFA", None]
    assert units["roi_mapped"].tolist() == ["V1", "FFA", None]


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (FLIP @ AFFINE, "a left-right flip: the affines differ by the sign of x"),
        (AFFINE @ np.diag([-1.0, 1, 1, 1]), "a left-right flip"),
        (np.diag([1.0, -1, 1, 1]) @ AFFINE, "a flip: the affines differ by the sign of y"),
        (shifted((1, 0, 0)), r"a shift of \(1, 0, 0\) voxels along \(i, j, k\)"),
        (shifted((0, 0.5, -1)), r"a shift of \(0, 0.5, -1\) voxels"),
        (AFFINE @ np.diag([1.5, 1, 1, 1]), "voxels of 3 x 2.5 x 3 mm against 2 x 2.5 x 3 mm"),
    ],
)
@pytest.mark.parametrize("role", ["mask", "roi", "run"])
def test_another_grid_is_refused_by_name(affine: np.ndarray, text: str, role: str) -> None:
    """A mask, a region or a run that is flipped, shifted or scaled is refused, saying how it differs."""
    given: dict[str, Any] = {
        "mask": {"image": image(), "mask": image(mask_values(), affine)},
        "roi": {"image": image(), "rois": {"V1": image(mask_values(), affine)}},
        "run": {"image": [image(), image(affine=affine)]},
    }[role]
    with pytest.raises(AlignmentError, match=f"lies elsewhere than .*{text}"):
        Responses.from_nifti(**given)


def test_a_rotation_is_named_and_rounding_passes() -> None:
    """A rotated grid is refused; what float32 and quaternions round is the same grid."""
    c, s = np.cos(0.1), np.sin(0.1)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(AlignmentError, match="a rotation or shear that moves a corner by .* voxels"):
        Responses.from_nifti(image(), image(mask_values(), turn @ AFFINE))
    near = AFFINE.copy()
    near[:3, 3] += 1e-3
    assert Responses.from_nifti(image(), image(mask_values(), near)).n_units == 3


def test_other_shapes_are_refused() -> None:
    """Masks, regions and runs of another shape name both shapes; nothing is resampled."""
    small = image(np.ones((4, 5, 5), np.uint8))
    with pytest.raises(
        AlignmentError, match=r"mask .* has \(4, 5, 5\) voxels, .* has \(4, 5, 6\); nothing is"
    ):
        Responses.from_nifti(image(), small)
    with pytest.raises(AlignmentError, match=r"roi 'V1' .* has \(4, 5, 5\) voxels"):
        Responses.from_nifti(image(), rois={"V1": small})
    with pytest.raises(AlignmentError, match=r"has \(4, 5, 5\) voxels, .* has \(4, 5, 6\)"):
        Responses.from_nifti([image(), image(np.ones((4, 5, 5, 3)))])
    with pytest.raises(ShapeError, match=r"mask .* has 7 volumes; expected one \(a 3-D image\)"):
        Responses.from_nifti(image(), image())
    with pytest.raises(ShapeError, match=r"mask is an array of shape \(2, 2\); expected \(ni, nj, nk\)"):
        Responses.from_nifti(image(), np.ones((2, 2)))


def test_masks_that_are_none() -> None:
    """Probabilities, label images and empty masks are no masks."""
    with pytest.raises(InputError, match="holds 0.3 .3 values other than 0 and 1.; threshold it first"):
        Responses.from_nifti(image(), image(0.3 * mask_values()))
    with pytest.raises(InputError, match="is empty: no voxel is 1"):
        Responses.from_nifti(image(), image(0 * mask_values()))
    with pytest.raises(InputError, match="holds nan"):
        Responses.from_nifti(image(), image(np.full(SHAPE, np.nan)))


def test_regions_that_are_none() -> None:
    """Fractions, a label without a name, names of no use and regions outside the mask are refused."""
    atlas = image(mask_values() * np.int16(3))
    mask = image(mask_values())
    with pytest.raises(InputError, match="roi 'p' .* holds 0.5; expected 0 and 1, or an integer"):
        Responses.from_nifti(image(), mask, rois={"p": image(0.5 * mask_values())})
    with pytest.raises(InputError, match=r"roi 'p' .* holds 3, which has no name \(1 such integers\)"):
        Responses.from_nifti(image(), mask, rois={"p": (atlas, {1: "V1"})})
    with pytest.raises(InputError, match="its names are a str; expected a mapping integer to name"):
        Responses.from_nifti(image(), mask, rois={"p": (atlas, "V1")})
    with pytest.raises(InputError, match="roi 'p' .* has no unit inside the mask"):
        Responses.from_nifti(image(), mask, rois={"p": image(1 - mask_values())})


def test_sform_against_qform(tmp_path: Path) -> None:
    """Two different affines in one header are refused until one is chosen; the choice decides x."""
    both = image()
    both.set_qform(FLIP @ AFFINE, 1)
    path = tmp_path / "two_answers.nii.gz"
    nibabel.save(both, path)
    text = r"two_answers.*: sform \(code 1\) and qform \(code 1\) disagree by a left-right flip.*affine_from="
    with pytest.raises(InputError, match=text):
        Responses.from_nifti(path)
    x = {a: Responses.from_nifti(path, affine_from=a).units["x"].max() for a in ("sform", "qform")}
    assert x == {"sform": 31.0, "qform": pytest.approx(-25.0)}
    both.set_qform(shifted((1, 0, 0)), 2)
    with pytest.raises(InputError, match="disagree by a shift of .1, 0, 0. voxels"):
        Responses.from_nifti(both)
    with pytest.raises(InputError, match="affine_from='sfrom' is not one of 'sform', 'qform'"):
        Responses.from_nifti(path, affine_from="sfrom")


def test_one_form_is_enough_and_none_is_not() -> None:
    """The form that is set is taken; with none, left and right are not known and the caller must say."""
    for codes in ({"sform": 0, "qform": 2}, {"sform": 2, "qform": 0}):
        r = Responses.from_nifti(image(**codes))
        np.testing.assert_allclose(r.info["affine"], AFFINE, atol=1e-4)
        assert r.info["space"] == "aligned"
    none = image(sform=0, qform=0)
    with pytest.raises(InputError, match="sform and qform codes are both 0, .* which side is left"):
        Responses.from_nifti(none)
    chosen = Responses.from_nifti(none, image(mask_values()), affine_from="sform")
    assert chosen.info["affine"] == AFFINE.tolist()
    assert chosen.info["space"] == "unknown"
    # a mask with one form needs no choice, whatever was chosen for the recording
    only_s = image(mask_values(), sform=1, qform=0)
    assert Responses.from_nifti(none, only_s, affine_from="qform").n_units == 3
    neither = image(mask_values(), sform=0, qform=0)
    assert Responses.from_nifti(none, neither, affine_from="sform").n_units == 3
    # a quaternion that is none does no harm where it is not set
    half = image(qform=0)
    half.header["quatern_b"] = 5
    assert Responses.from_nifti(half).info["affine"] == AFFINE.tolist()


def test_space_and_spatial_units(tmp_path: Path) -> None:
    """The space comes from the argument, the file name or the code; metres and microns become mm."""
    path = saved(tmp_path, "sub-01_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", sform=4, qform=4)
    assert Responses.from_nifti(path).info["space"] == "MNI152NLin6Asym"
    assert Responses.from_nifti(path, space="mine").info["space"] == "mine"
    assert Responses.from_nifti(image(sform=4, qform=4)).info["space"] == "mni152"
    metres = image(affine=np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE)
    metres.header.set_xyzt_units("meter", "sec")
    np.testing.assert_allclose(Responses.from_nifti(metres).info["affine"], AFFINE, atol=1e-4)


def test_affines_that_are_none() -> None:
    """An affine that flattens the volume or holds NaN cannot place a voxel."""
    flat = image()
    flat.header["srow_x"] = 0
    with pytest.raises(InputError, match="gives voxels without volume"):
        Responses.from_nifti(flat)
    flat.header["srow_x"] = np.nan
    with pytest.raises(InputError, match="expected 4 x 4 finite numbers"):
        Responses.from_nifti(flat)


def test_infinite_values_name_the_voxel() -> None:
    """An infinite value is refused with file and voxel; a value too large for float32 too."""
    values = phantom()
    values[1, 2, 3, 4] = np.inf
    with pytest.raises(InputError, match=r"holds an infinite value at voxel \(1, 2, 3\)"):
        Responses.from_nifti(image(values))
    large = phantom(dtype=np.float64)
    large[1, 2, 3, 4] = 1e300
    with pytest.raises(InputError, match="holds values up to 1e.300, too large for float32"):
        Responses.from_nifti(image(large))


def test_images_that_are_none(tmp_path: Path) -> None:
    """Other objects, other ranks, complex numbers, no image, one volume: each says what it expected."""
    with pytest.raises(InputError, match="image of run 1 is a int; expected the path"):
        Responses.from_nifti(3)
    with pytest.raises(InputError, match="is a MGHImage; expected the path"):
        Responses.from_nifti(nibabel.MGHImage(phantom(), AFFINE))
    with pytest.raises(InputError, match="no image was given"):
        Responses.from_nifti([])
    with pytest.raises(ShapeError, match="has one volume of .* voxels; expected a time series .*from_betas"):
        Responses.from_nifti(image(mask_values()))
    with pytest.raises(ShapeError, match=r"has dimensions \(4, 5, 6, 1, 2\); expected 3"):
        Responses.from_nifti(image(np.ones((4, 5, 6, 1, 2))))
    with pytest.raises(InputError, match="dtype complex64; expected real numbers"):
        Responses.from_nifti(image(phantom().astype(np.complex64)))
    real_header = image()
    boxed = nibabel.Nifti1Image(phantom().astype(np.complex64), None, real_header.header)
    boxed.header.set_data_dtype(np.float32)
    with pytest.raises(InputError, match="dtype complex64; expected real numbers"):
        Responses.from_nifti(boxed)


def test_options_that_do_not_fit() -> None:
    """Designs, labels, slice times and info that contradict the recording are refused."""
    with pytest.raises(InputError, match="design='trials': a time series of volumes is .*from_betas"):
        Responses.from_nifti(image(), design="trials")
    with pytest.raises(InputError, match="slice_time_ref=2 must be between 0 and 1"):
        Responses.from_nifti(image(), slice_time_ref=2)
    with pytest.raises(InputError, match="run='1' for 2 images; give a list"):
        Responses.from_nifti([image(), image()], run="1")
    with pytest.raises(InputError, match="run '1' occurs more than once"):
        Responses.from_nifti([image(), image()], run=["1", "1"])
    with pytest.raises(ShapeError, match="run has 3 labels for 2 runs"):
        Responses.from_nifti([image(), image()], run=["1", "2", "3"])
    with pytest.raises(ShapeError, match=r"run has shape \(6,\); .* has 7 volumes"):
        Responses.from_nifti(image(), run=[1] * 6)
    with pytest.raises(InputError, match="volumes of run 1 are not contiguous"):
        Responses.from_nifti(image(), run=[1, 1, 2, 2, 1, 1, 1])
    with pytest.raises(InputError, match="run holds fractions"):
        Responses.from_nifti(image(), run=[1.5] * 7)
    with pytest.raises(InputError, match="info has 'affine', which is read from the recording"):
        Responses.from_nifti(image(), info={"affine": 1})
    assert Responses.from_nifti(image(), info={"licence": "CC0"}).info["licence"] == "CC0"


@pytest.mark.parametrize(
    ("header", "given", "expected"),
    [
        ((2.0, "sec"), None, 2.0),
        ((2000.0, "msec"), None, 2.0),
        ((2e6, "usec"), 2.0, 2.0),
        ((2.0, "unknown"), 2.0, 2.0),
        ((2000.0, "unknown"), 2.0, 2.0),
        ((1.0, "unknown"), 2.0, 2.0),
        ((0.0, "sec"), 2.0, 2.0),
    ],
)
def test_repetition_time(header: tuple[float, str], given: float | None, expected: float) -> None:
    """Seconds, milliseconds and microseconds are read; the argument fills in what the header lacks."""
    one = image(tr=header[0], time_unit=header[1])
    assert Responses.from_nifti(one, repetition_time=given).info["repetition_time"] == expected


@pytest.mark.parametrize(
    ("header", "given", "text"),
    [
        ((2000.0, "sec"), None, "says 2000 s between volumes, .*looks like milliseconds noted as seconds"),
        (
            (2000.0, "sec"),
            2.0,
            "says 2000 s between volumes, repetition_time=2 s; it looks like milliseconds",
        ),
        ((2.0, "sec"), 2.5, "says 2 s between volumes, repetition_time=2.5 s. Mend the header"),
        ((2.0, "sec"), 2000.0, "repetition_time=2000 s is outside 0.01 to 60 s; 2000 ms are 2 s"),
        ((2.0, "sec"), -1.0, "repetition_time=-1 s is outside"),
        ((3.0, "unknown"), 2.0, "neither as s nor as ms do they agree"),
        ((2.0, "unknown"), None, "does not say the time between volumes .value 2, unit not known."),
        ((0.0, "sec"), None, "does not say the time between volumes"),
    ],
)
def test_repetition_time_refusals(header: tuple[float, str], given: float | None, text: str) -> None:
    """A time between volumes that is unknown, contradicted or in the wrong unit is refused."""
    with pytest.raises(InputError, match=text):
        Responses.from_nifti(image(tr=header[0], time_unit=header[1]), repetition_time=given)


def test_runs_share_their_repetition_time() -> None:
    """Two runs with different times between volumes are not one recording."""
    with pytest.raises(AlignmentError, match="repetition time of 3 s, .* of 2 s; runs of one recording"):
        Responses.from_nifti([image(), image(tr=3.0)])
