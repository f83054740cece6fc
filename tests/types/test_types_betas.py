"""Maps of trials: rows are trials, columns the voxels that they belong to."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from volume_cases import AFFINE, SHAPE, code, image, mask_values, phantom, saved

from brainalign.errors import AlignmentError, InputError, ShapeError
from brainalign.types import Responses

STIMULI = ["a", "b", "a"]


def test_every_form_gives_the_same_responses(tmp_path: Path) -> None:
    """A file, an image, an array of volumes and flat voxels of the mask hold the same betas."""
    path = saved(tmp_path, values=phantom(3), sform=4, qform=4)
    volumes = np.moveaxis(phantom(3), -1, 0)
    mask = mask_values().astype(bool)
    mask_image = image(mask_values())
    given = [
        Responses.from_betas(path, STIMULI, mask=mask_image),
        Responses.from_betas(nibabel.load(path), STIMULI, mask=mask),
        Responses.from_betas(volumes, STIMULI, mask=mask_image),
        Responses.from_betas(volumes, STIMULI, mask=mask, affine=AFFINE),
        Responses.from_betas(volumes[:, mask], STIMULI, mask=mask, affine=AFFINE),
        Responses.from_betas(volumes[:, mask], STIMULI, mask=mask_image),
    ]
    for r in given:
        i, j, k = (r.units[a].to_numpy() for a in "ijk")
        np.testing.assert_array_equal(r.values, np.outer([1, 2, 3], code(i, j, k)))
        np.testing.assert_allclose(r.units[list("xyz")], nibabel.affines.apply_affine(AFFINE, np.c_[i, j, k]))
        np.testing.assert_allclose(r.info["affine"], AFFINE, atol=1e-5)
        assert r.info["volume_shape"] == list(SHAPE)
        assert r.info["design"] == "trials"
        assert r.values.dtype == np.float32
    assert given[0].info["space"] == "mni152"
    assert "space" not in given[2].info
    assert Responses.from_betas(volumes, STIMULI, mask=mask_image, space="T1w").info["space"] == "T1w"


def test_repetitions_are_counted_in_order() -> None:
    """The n-th trial of a stimulus is its repetition n, unless the caller says otherwise."""
    betas = np.random.default_rng(0).normal(size=(5, 3))
    r = Responses.from_betas(betas, [7, 8, 7, 7, 8], subject="01", session=["1", "1", "2", "2", "2"], run=1)
    assert r.samples["stimulus_id"].tolist() == ["7", "8", "7", "7", "8"]
    assert r.samples["repetition"].tolist() == ["1", "1", "2", "3", "2"]
    assert r.samples["session"].tolist() == ["1", "1", "2", "2", "2"]
    assert set(r.samples["run"]) == {"1"}
    assert set(r.samples["subject"]) == {"01"}
    table = pd.DataFrame({"stimulus_id": list("ababa"), "repetition": list("12345"), "rt": range(5)})
    r = Responses.from_betas(betas, table, info={"licence": "CC0"})
    assert r.samples["repetition"].tolist() == list("12345")
    assert r.samples["rt"].tolist() == list(range(5))
    assert r.info["licence"] == "CC0"
    named = Responses.from_betas(betas, table.set_index("stimulus_id"))
    assert named.samples["stimulus_id"].tolist() == list("ababa")
    conditions = Responses.from_betas(betas, pd.DataFrame({"condition": list("xyxyx")}))
    assert "repetition" not in conditions.samples


def test_voxels_without_signal() -> None:
    """Without a mask they are left out of volumes; in a mask, and in flat betas, they stay."""
    volumes = np.moveaxis(phantom(3), -1, 0)
    assert Responses.from_betas(volumes, STIMULI).n_units == np.prod(SHAPE) - 1
    assert "affine" not in Responses.from_betas(volumes, STIMULI).info
    whole = Responses.from_betas(volumes, STIMULI, mask=np.ones(SHAPE))
    assert whole.info["units_without_signal"] == {"missing": 0, "constant": 1}
    flat = np.array([[1.0, np.nan], [2, 3], [3, 4]])
    assert np.isnan(Responses.from_betas(flat, STIMULI).values[0, 1])


def test_regions() -> None:
    """Regions are arrays of voxels, or images where there is a grid."""
    volumes = np.moveaxis(phantom(3), -1, 0)
    r = Responses.from_betas(volumes, STIMULI, mask=image(mask_values()), rois={"V1": mask_values()})
    assert r.units["roi_V1"].tolist() == [True] * 3
    flat = Responses.from_betas(
        np.eye(3),
        STIMULI,
        rois={"area": (np.array([1, 2, 0]), {1: "V1", 2: "V4"}), "roi_m": np.array([0, 1, 1])},
    )
    assert flat.units["roi_area"].tolist() == ["V1", "V4", None]
    assert flat.units["roi_m"].tolist() == [False, True, True]
    with pytest.raises(ShapeError, match="roi 'x': betas without mask= lie nowhere .* each of the 3 voxels"):
        Responses.from_betas(np.eye(3), STIMULI, rois={"x": np.ones(2)})


def test_betas_that_do_not_fit_their_trials() -> None:
    """Another number of maps than trials is refused; volumes with trials last are named as such."""
    with pytest.raises(AlignmentError, match="has 7 volumes, stimuli name 3 trials"):
        Responses.from_betas(image(), STIMULI)
    text = (
        r"betas of shape \(4, 5, 6, 3\) have 4 trials \(the last axis fits: move it to the front\), stimuli"
    )
    with pytest.raises(AlignmentError, match=text):
        Responses.from_betas(phantom(3), STIMULI)
    with pytest.raises(AlignmentError, match="the mask has 3 voxels, betas have 4; flat betas are"):
        Responses.from_betas(np.ones((3, 4)), STIMULI, mask=mask_values())
    with pytest.raises(AlignmentError, match=r"mask .* has \(4, 5, 6\) voxels, betas has \(2, 2, 2\)"):
        Responses.from_betas(np.ones((3, 2, 2, 2)), STIMULI, mask=mask_values())


def test_a_flipped_mask_is_refused() -> None:
    """The mask image of array betas must agree with the affine that is given."""
    flipped = image(mask_values(), np.diag([-1.0, 1, 1, 1]) @ AFFINE)
    with pytest.raises(AlignmentError, match="a left-right flip"):
        Responses.from_betas(np.eye(3), STIMULI, mask=flipped, affine=AFFINE)
    with pytest.raises(AlignmentError, match="a left-right flip"):
        Responses.from_betas(image(phantom(3)), STIMULI, mask=flipped)


def test_arguments_that_contradict() -> None:
    """Affines without a place, labels given twice, trials without stimulus, odd arrays."""
    with pytest.raises(InputError, match="affine= is for arrays; an image has its own"):
        Responses.from_betas(image(phantom(3)), STIMULI, affine=AFFINE)
    with pytest.raises(InputError, match="affine= places voxels of a volume; flat betas .* need mask="):
        Responses.from_betas(np.eye(3), STIMULI, affine=AFFINE)
    with pytest.raises(InputError, match="affine=: the affine is .*expected 4 x 4"):
        Responses.from_betas(np.ones((3, 2, 2, 2)), STIMULI, affine=np.eye(3))
    with pytest.raises(InputError, match="run is given as an argument and as a column"):
        Responses.from_betas(np.eye(3), pd.DataFrame({"stimulus_id": STIMULI, "run": 1}), run="1")
    with pytest.raises(ShapeError, match="session has 2 entries for 3 trials"):
        Responses.from_betas(np.eye(3), STIMULI, session=["1", "2"])
    with pytest.raises(InputError, match="trial 1 has no stimulus_id"):
        Responses.from_betas(np.eye(3), ["a", None, "b"])
    with pytest.raises(InputError, match="stimuli='abc'; expected one stimulus_id per trial"):
        Responses.from_betas(np.eye(3), "abc")
    with pytest.raises(InputError, match="the samples have the columns x; expected stimulus_id"):
        Responses.from_betas(np.eye(3), pd.DataFrame({"x": [1, 2, 3]}))
    with pytest.raises(ShapeError, match=r"betas are an array of shape \(3, 2, 2\)"):
        Responses.from_betas(np.ones((3, 2, 2)), STIMULI)
    with pytest.raises(ShapeError, match="dtype object; expected numbers"):
        Responses.from_betas(np.full((3, 2), None), STIMULI)
    bad = np.eye(3)
    bad[1, 2] = np.inf
    with pytest.raises(InputError, match=r"betas holds an infinite value at voxel \(2,\)"):
        Responses.from_betas(bad, STIMULI)
