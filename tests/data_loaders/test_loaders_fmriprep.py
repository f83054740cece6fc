"""Loader of fMRIPrep's output: names, choices, times, masks, confounds, events."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from bids_trees import (
    ACTIVE,
    AFFINE,
    BRAIN,
    MNI,
    SHAPE,
    annex_links,
    block_events,
    describe,
    haxby_tree,
    planted,
    true_paths,
    write_json,
    write_run,
    write_volume,
)

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, ShapeError, UnknownNameError

DERIVATIVES = Path("derivatives/fmriprep")
FUNC = Path("sub-1/func")
RUN = "sub-1_task-objectviewing_run-{:02d}"


def load(path: Path, **options: object):
    return dl.load("fmriprep", path=path, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four short runs in two volumes and one surface; module-wide, so nobody may change it."""
    return haxby_tree(
        tmp_path_factory.mktemp("bids"),
        n_volumes=121,
        spaces=(MNI, "T1w"),
        surfaces=("fsnative",),
        start_time=1.25,
        non_steady=2,
    )


@pytest.fixture
def small(tmp_path):
    """Two runs in one space, free to be damaged."""
    return haxby_tree(tmp_path / "bids", runs=(1, 2))


def test_volumes_of_all_runs(whole):
    """Every voxel in the brain masks of all runs is a unit, every steady volume a sample of its run."""
    found = load(whole, subject="1", task="objectviewing", space=MNI)
    responses = found.responses
    assert responses.shape == (4 * 119, np.zeros(SHAPE)[BRAIN].size)
    assert list(responses.samples["run"].unique()) == ["1", "2", "3", "4"]
    assert set(responses.samples["subject"]) == {"1"}
    assert set(responses.samples["task"]) == {"objectviewing"}
    assert responses.info["space"] == MNI
    assert np.allclose(responses.info["affine"], AFFINE)
    voxel = responses.units.iloc[7]
    values = planted((whole / FUNC / f"{RUN.format(3)}_events.tsv").read_text(), 121, 2.5, 3)
    rows = (responses.samples["run"] == "3").to_numpy()
    i, j, k = (int(voxel[axis]) for axis in "ijk")
    np.testing.assert_allclose(responses.values[rows, 7], values[i, j, k, 2:], rtol=1e-6)
    position = AFFINE[:3, :3] @ voxel[["i", "j", "k"]].to_numpy(float) + AFFINE[:3, 3]
    np.testing.assert_allclose(voxel[["x", "y", "z"]].to_numpy(float), position)


def test_onsets_respect_start_time_and_non_steady_volumes(whole):
    """A volume stands for i * TR + StartTime; what is not yet steady is left out, and said."""
    found = load(whole, space=MNI)
    onset = found.responses.samples.groupby("run")["onset"]
    assert onset.min().tolist() == [1.25 + 2 * 2.5] * 4
    assert onset.max().tolist() == [1.25 + 120 * 2.5] * 4
    assert any("8 volumes at the start of runs were left out" in note for note in found.info["notes"])
    assert any("StartTime" in note for note in found.info["notes"])
    kept = load(whole, space=MNI, non_steady="keep", start_time=0)
    assert kept.responses.samples["onset"].iloc[:3].tolist() == [0.0, 2.5, 5.0]


def test_condition_is_that_of_the_event_at_the_volume(whole):
    """samples["condition"] and info["events"] agree with events.tsv of each run."""
    found = load(whole, space=MNI, non_steady="keep", start_time=0)
    samples = found.responses.samples
    # pictures of 0.5 s every 2 s, volumes every 2.5 s: 0, 10, 20 s after the start of a block
    run = samples[samples["run"] == "2"].set_index("onset")["condition"]
    lines = (whole / FUNC / f"{RUN.format(2)}_events.tsv").read_text().splitlines()[1:]
    events = [(float(o), float(d), c) for o, d, c in (line.split("\t") for line in lines)]
    for onset, condition in run.items():
        covering = [c for o, d, c in events if o <= onset < o + d]
        assert condition == (covering[0] if covering else None)
    assert run.notna().sum() >= 8
    told = found.responses.info["events"]
    assert [told["onset"][96], told["run"][96], told["condition"][96]] == [12.0, "2", events[0][2]]


def test_surface_has_both_halves(whole):
    """A surface is read left before right, with the events of its runs."""
    found = load(whole, space="fsnative", confounds="motion")
    units = found.responses.units
    assert found.responses.shape == (476, 2 * 4 * 8 * 6)
    assert units["hemi"].tolist() == ["left"] * 192 + ["right"] * 192
    values = planted((whole / FUNC / f"{RUN.format(1)}_events.tsv").read_text(), 121, 2.5, 1)
    np.testing.assert_allclose(found.responses.values[0, :192], values[:4, ..., 2].reshape(-1), rtol=1e-6)
    with pytest.raises(InputError, match="fsnative is a surface; a mask is for volumes"):
        load(whole, space="fsnative", mask="m.nii.gz")
    with pytest.raises(InputError, match="images of regions are for volumes"):
        load(whole, space="fsnative", rois=["V1=v1.nii.gz"])


@pytest.mark.parametrize(("start", "below"), [("derivatives/fmriprep", ""), ("derivatives", ""), (".", "")])
def test_every_root_leads_to_the_runs(whole, start, below):
    """The BIDS folder, its derivatives and the folder of fMRIPrep lead to the same runs and events."""
    found = load(whole / start, space="T1w")
    assert found.responses.n_samples == 476
    assert len(found.responses.info["events"]["onset"]) == 4 * 96


def test_open_choices_are_listed(whole, tmp_path):
    """Several spaces, subjects, tasks or folders are an error that lists them; a wrong label too."""
    with pytest.raises(InputError, match=r"3 spaces: MNI152NLin2009cAsym \(4 runs\), T1w .*fsnative"):
        load(whole)
    with pytest.raises(UnknownNameError, match="space: 'T1' does not exist; closest: 'T1w'"):
        load(whole, space="T1")
    with pytest.raises(UnknownNameError, match="subject of .*'7' does not exist"):
        load(whole, subject="sub-7")
    with pytest.raises(UnknownNameError, match="task: 'objectview'.*closest: 'objectviewing'"):
        load(whole, task="objectview")
    with pytest.raises(UnknownNameError, match="run: '9' does not exist"):
        load(whole, space=MNI, runs=["09"])
    two = haxby_tree(tmp_path / "two", runs=(1,), subjects=("1", "2"))
    with pytest.raises(InputError, match="holds 2 subjects: 1, 2; choose one with subject="):
        load(two)
    shutil.copytree(two / DERIVATIVES, two / "derivatives" / "older" / "fmriprep")
    with pytest.raises(InputError, match="several folders of preprocessed runs: .*older"):
        load(two)
    with pytest.raises(InputError, match="folder of one subject; give the folder above it and subject='1'"):
        load(two / "sub-1")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"task": []}, r"task=\[\] names no task"),
        ({"runs": []}, r"runs=\[\] names no run"),
        ({"entities": ["acq"]}, "'acq' is no part of a BIDS name"),
        ({"outside": "cut"}, "outside='cut' is not one of 'refuse', 'drop'"),
        ({"non_steady": "cut"}, "non_steady='cut' is not one of"),
        ({"confounds": "all"}, "confounds='all'; expected a list of columns, or one of 'motion'"),
        ({"confounds": []}, r"confounds=\[\] names no column"),
        ({"start_time": 3.0}, "stand for 3 s after their start, and take 2.5 s"),
        ({"rois": ["V1"]}, "'V1'; expected 'NAME=PATH'"),
        ({"condition": "stimulus"}, r"no column 'stimulus' .*trial_type \(8 distinct\)"),
    ],
)
def test_wrong_options(whole, options, text):
    """An option that cannot be meant says what is expected."""
    with pytest.raises(InputError, match=text):
        load(whole, space=MNI, **options)


def test_nothing_there(tmp_path):
    """No folder, no fMRIPrep, raw runs only, CIFTI only: each says what was looked for or what to do."""
    with pytest.raises(DataNotFoundError, match="is not a folder; give the BIDS folder"):
        load(tmp_path / "none")
    with pytest.raises(DataNotFoundError, match="holds no output of fMRIPrep; looked for"):
        load(tmp_path)
    tree = haxby_tree(tmp_path / "t", runs=(1,))
    for name, hint in (
        ("sub-2_task-x_space-fsLR_den-91k_bold.dtseries.nii", "CIFTI"),
        ("sub-3_task-x_bold.nii.gz", "raw runs only"),
        ("sub-4_task-x_events.tsv", "did fMRIPrep finish"),
    ):
        place = tree / DERIVATIVES / name[:5] / "func"
        place.mkdir(parents=True)
        (place / name).touch()
        with pytest.raises(DataNotFoundError, match=hint):
            load(tree, subject=name[4])


def test_masks_are_intersected(tmp_path):
    """A voxel that is missing in the mask of one run is no unit; the counts are said."""
    tree = tmp_path / "bids"
    describe(tree, tree / DERIVATIVES)
    events = block_events(["a", "b"], first=0, every=10, lasts=8, n=6)
    for run, missing in ((1, None), (2, (3, 3, 3))):
        name = f"sub-1/func/sub-1_task-x_run-{run}"
        write_run(tree / DERIVATIVES, tree, name, events, seed=run, missing_voxel=missing)
    found = load(tree)
    assert found.responses.n_units == 143
    assert "3_3_3" not in found.responses.units.index
    assert any("143 voxels in the brain masks of all 2 runs (144 in any)" in n for n in found.info["notes"])
    assert load(tree, mask="none").responses.n_units == np.prod(SHAPE)
    roi = np.zeros(SHAPE, np.uint8)
    roi[ACTIVE] = 1
    write_volume(tree / DERIVATIVES / "rois" / "V1.nii.gz", roi)
    marked = load(tree, rois=["V1=rois/V1.nii.gz"]).responses.units
    assert marked["roi_V1"].sum() == np.zeros(SHAPE)[ACTIVE].size - 1
    own = load(tree, mask="rois/V1.nii.gz", rois={"V1": roi_image(roi)}).responses
    assert own.n_units == roi.sum()
    masks = sorted((tree / DERIVATIVES / "sub-1/func").glob("*brain_mask.nii.gz"))
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE + np.eye(4)), masks[1])
    with pytest.raises(ShapeError, match="not on the same grid"):
        load(tree)
    write_volume(masks[1], 1 - roi)
    write_volume(masks[0], roi)
    with pytest.raises(InputError, match="the brain masks of 2 runs in .* share no voxel"):
        load(tree)
    masks[1].unlink()
    with pytest.raises(InputError, match=r"run 2 has no \*_space-.*_desc-brain_mask.nii.gz"):
        load(tree)


def roi_image(values):
    return nibabel.Nifti1Image(values, AFFINE)


def test_confounds(whole):
    """Strategies and patterns become features on the samples; the first n/a is the mean of the rest."""
    motion = load(whole, space=MNI, confounds="motion", non_steady="keep").features["confounds"]
    assert motion.units.index.tolist() == ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    full = load(whole, space=MNI, confounds="motion24", non_steady="keep").features["confounds"]
    assert full.shape == (484, 24)
    assert np.isfinite(full.values).all()
    column = full.units.index.get_loc("trans_x_derivative1")
    np.testing.assert_allclose(full.values[0, column], full.values[1:121, column].mean())
    components = load(whole, space=MNI, confounds="acompcor").features["confounds"]
    # the sidecar says that the first two are of the fluid alone
    assert components.units.index[6:].tolist() == [f"a_comp_cor_{k:02d}" for k in range(2, 7)]
    named = load(whole, space=MNI, confounds=["framewise_displacement", "cosine*"])
    assert named.features["confounds"].units.index.tolist()[0] == "framewise_displacement"
    assert named.features["confounds"].shape == (476, 4)
    assert (named.features["confounds"].samples["onset"] == named.responses.samples["onset"]).all()
    # the volumes that were left out are left out here too
    np.testing.assert_array_equal(components.values[:119, :6], motion.values[2:121])
    with pytest.raises(UnknownNameError, match="column of .*'trans_w' does not exist; closest: 'trans_"):
        load(whole, space=MNI, confounds=["trans_w"])
    with pytest.raises(UnknownNameError, match=r"'white\*' does not exist"):
        load(whole, space=MNI, confounds=["white*"])


def test_damaged_confounds(small):
    """A hole, another length, too few components, no table: the file and the line are named."""
    path = small / DERIVATIVES / FUNC / f"{RUN.format(2)}_desc-confounds_timeseries.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[5].replace(lines[5].split("\t")[0], "n/a", 1), *lines[6:]]))
    with pytest.raises(InputError, match="line 6: trans_x is missing or infinite; only the first row"):
        load(small, confounds="motion")
    path.write_text("\n".join(lines[:-3]))
    with pytest.raises(ShapeError, match="the images hold 242 volumes, the confounds of the same runs 239"):
        load(small, confounds="motion")
    path.write_text("\n".join(lines).replace("a_comp_cor_0", "b_comp_cor_0"))
    with pytest.raises(InputError, match=r"share 0 columns a_comp_cor_\*"):
        load(small, confounds="acompcor")
    path.unlink()
    with pytest.raises(DataNotFoundError, match="run 2 has no .*_desc-confounds_timeseries.tsv"):
        load(small, confounds="motion")
    assert load(small).responses.n_samples == 242


def test_pointers_and_damage_are_named(small):
    """A git-annex link without content, a cut image and a broken sidecar are named as such."""
    image = small / DERIVATIVES / FUNC / f"{RUN.format(1)}_space-{MNI}_desc-preproc_bold.nii.gz"
    content = image.read_bytes()
    image.unlink()
    annex_links(small, [str(image.relative_to(small))])
    with pytest.raises(CorruptFileError, match="git-annex link without its content; run: git annex get"):
        load(small)
    image.unlink()
    image.write_bytes(content[:-200])
    with pytest.raises(CorruptFileError, match="damaged gzip|was cut"):
        load(small)
    image.write_bytes(content)
    sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    sidecar.write_text("{")
    with pytest.raises(CorruptFileError, match="is not readable JSON"):
        load(small)
    sidecar.write_text("[1]")
    with pytest.raises(CorruptFileError, match="holds a list; expected an object"):
        load(small)


def test_one_listing_per_folder(whole, monkeypatch):
    """Folders are listed a few times at most, and only files of the choice are opened."""
    listed: list[str] = []
    plain = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: listed.append(str(place)) or plain(place))
    load(whole / DERIVATIVES, space="T1w", runs=["1"], events="none")
    own = [place for place in listed if place.endswith("func") and "derivatives" in place]
    assert len(own) <= 2, own


@pytest.mark.real
def test_true_names_of_a_public_dataset(tmp_path, real_data):
    """The 1,300 true names of ds005165 (annexed): choices are listed in under a second, one task loads."""
    sidecars = real_data / "openneuro_sidecars"
    paths = true_paths(sidecars, "ds005165", lambda path: True)
    root = tmp_path / "ds005165"
    annex_links(root, [path for path in paths if not path.endswith(".json") and "/" in path])
    with pytest.raises(InputError, match="versionA/fmriprep, .*versionB/fmriprep"):
        load(root)
    other = root / "derivatives/versionB/fmriprep"
    with pytest.raises(InputError, match="there are 4 tasks: localizer, rest, test, train"):
        load(other)
    with pytest.raises(
        InputError, match=r"MNI152NLin2009cAsym \(3 runs\), T1w \(3 runs\), fsaverage \(3 runs\)"
    ):
        load(other, task="test")
    events = (sidecars / "ds005165/sub-01/ses-02/func/sub-01_ses-02_task-test_run-1_events.tsv").read_text()
    for run in (1, 2, 3):
        name = f"sub-01/ses-02/func/sub-01_ses-02_task-test_run-{run}"
        for stale in [
            *other.glob(f"{name}_*T1w*"),
            *other.glob(f"{name}_*confounds*"),
            root / f"{name}_events.tsv",
        ]:
            stale.unlink(missing_ok=True)
        write_run(
            other, root, name, events, n_volumes=268, repetition_time=1.75, spaces=("T1w",), start_time=0.86
        )
    found = load(other, task="test", space="T1w", confounds="motion")
    assert found.responses.n_samples == 804
    assert set(found.responses.samples["session"]) == {"02"}
    told = found.responses.info["events"]
    assert told["stimulus_id"][:2] == ["test/1074.mp4", "test/1069.mp4"]
    assert told["stimulus_id"][4] is None
    assert told["session"][0] == "02"
    with pytest.raises(CorruptFileError, match="git annex get"):
        load(root / "derivatives/versionA/fmriprep", task="test")


@pytest.mark.real
def test_names_of_fmriprep_before_1_2(tmp_path, real_data):
    """BOLD5000 (ds001499): the old names, its TR from the BIDS folder, a condition column by name."""
    sidecars = real_data / "openneuro_sidecars"
    run = "sub-CSI1/ses-01/func/sub-CSI1_ses-01_task-5000scenes_run-0{}"
    root, fmriprep = tmp_path / "ds001499", tmp_path / "ds001499" / DERIVATIVES
    known = set(true_paths(sidecars, "ds001499", lambda path: "derivatives/fmriprep" in path))
    shutil.copytree(sidecars / "ds001499", root)
    for number in (1, 2):
        values = np.random.default_rng(number).normal(1000, 5, (*SHAPE, 194)).astype(np.float32)
        names = [
            f"{run.format(number)}_bold_{end}"
            for end in ("space-T1w_preproc.nii.gz", "space-T1w_brainmask.nii.gz")
        ]
        assert {f"derivatives/fmriprep/{name}" for name in names} <= known
        write_volume(fmriprep / names[0], values, repetition_time=2.0)
        write_volume(fmriprep / names[1], (values[..., 0] > 0).astype(np.uint8))
        moved = np.random.default_rng(0).normal(size=(194, 6)).astype(str)
        rows = ["\t".join(("X", "Y", "Z", "RotX", "RotY", "RotZ")), *("\t".join(row) for row in moved)]
        (fmriprep / f"{run.format(number)}_bold_confounds.tsv").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"no column 'trial_type'.*ImgType \(\d distinct\)"):
        load(root)
    found = load(root, condition="ImgType", confounds="motion", outside="drop")
    assert found.responses.n_samples == 388
    assert found.features["confounds"].n_units == 6
    assert found.responses.info["repetition_time"] == 2.0
    assert "imagenet" in set(found.responses.samples["condition"])
    assert found.responses.info["events"]["stimulus_id"][0] == "n01930112_19568.JPEG"
    write_json(root / "task-5000scenes_bold.json", {"RepetitionTime": "2"})
    for sidecar in (root / "sub-CSI1/ses-01/func").glob("*_bold.json"):
        sidecar.unlink()
    with pytest.raises(InputError, match="RepetitionTime is '2'; expected seconds"):
        load(root, condition="ImgType")
