"""Names, runs, clocks and events of fMRIPrep: what is read, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from bids_trees import (
    MNI,
    SHAPE,
    block_events,
    describe,
    haxby_tree,
    planted,
    write_confounds,
    write_half,
    write_json,
    write_run,
    write_volume,
)

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, ShapeError, UnknownNameError
from data_loaders._bids import inherited, parse_name

FMRIPREP = Path("derivatives/fmriprep")
EVENTS = block_events(["a", "b"], first=0, every=20, lasts=10, n=6)


def load(path: Path, **options: object):
    return dl.load("fmriprep", path=path, **options)


@pytest.fixture
def tree(tmp_path):
    """``tree("sub-1/func/sub-1_task-x_run-1", ...)`` writes runs of 60 volumes, TR 2 s; returns the root."""
    root = tmp_path / "bids"
    describe(root, root / FMRIPREP)

    def write(*names: str, events: str | None = EVENTS, **options: object) -> Path:
        for seed, name in enumerate(names):
            write_run(root / FMRIPREP, root, name, events, seed=seed, **options)
        return root

    return write


@pytest.mark.parametrize(
    ("name", "entities", "suffix", "extension"),
    [
        (
            "sub-01_task-a_desc-preproc_bold.nii.gz",
            {"sub": "01", "task": "a", "desc": "preproc"},
            "bold",
            ".nii.gz",
        ),
        (
            "sub-01_desc-preproc_task-a_bold.nii",
            {"sub": "01", "task": "a", "desc": "preproc"},
            "bold",
            ".nii",
        ),
        (
            "sub-01_task-a_space-T1w_desc-preproc-smooth90_bold.nii.gz",
            {"sub": "01", "task": "a", "space": "T1w", "desc": "preproc-smooth90"},
            "bold",
            ".nii.gz",
        ),
        (
            "sub-1_task-a_bold_space-fsnative.L.func.gii",
            {"sub": "1", "task": "a", "space": "fsnative", "hemi": "L"},
            "bold",
            ".func.gii",
        ),
        (
            "sub-1_task-a_bold_space-T1w_brainmask.nii.gz",
            {"sub": "1", "task": "a", "space": "T1w", "desc": "brain"},
            "mask",
            ".nii.gz",
        ),
    ],
)
def test_names_are_taken_apart(name, entities, suffix, extension):
    """Entities in any order, old names as their later forms, labels with a dash kept whole."""
    found = parse_name(Path(name))
    assert found is not None
    assert (dict(found.entities), found.suffix, found.extension) == (entities, suffix, extension)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "sub-01",
        "sub-01_task-a_task-b_bold.nii",
        "sub-01_x_bold.nii",
        "sub-01_task-a.nii",
        "x_bold.nii",
    ],
)
def test_other_names_are_none(name):
    """What is no BIDS name is left alone."""
    assert parse_name(Path(name)) is None


def test_smoothed_copies_and_echoes_are_not_runs(tree):
    """Only desc-preproc counts: a smoothed copy and single echoes beside it do not."""
    root = tree("sub-1/func/sub-1_task-x_run-1", "sub-1/func/sub-1_task-x_run-2")
    func = root / FMRIPREP / "sub-1/func"
    image = func / f"sub-1_task-x_run-1_space-{MNI}_desc-preproc_bold.nii.gz"
    shutil.copy(image, func / f"sub-1_task-x_run-1_space-{MNI}_desc-preproc-smooth90_bold.nii.gz")
    shutil.copy(image, func / f"sub-1_task-x_run-1_echo-1_space-{MNI}_desc-preproc_bold.nii.gz")
    assert load(root).responses.n_samples == 120


def test_run_01_is_run_1(tree):
    """fMRIPrep 20 wrote run-1 for run-01: the events of the raw run are found."""
    root = tree("sub-1/func/sub-1_task-x_run-1", "sub-1/func/sub-1_task-x_run-2")
    for run in (1, 2):
        raw = root / "sub-1/func" / f"sub-1_task-x_run-{run}_events.tsv"
        raw.rename(raw.with_name(f"sub-1_task-x_run-0{run}_events.tsv"))
    assert load(root).responses.info["events"]["run"] == ["1"] * 6 + ["2"] * 6
    assert load(root, runs=["02"]).responses.n_samples == 60


def test_runs_are_in_order_of_their_numbers(tree):
    """run-10 follows run-2, with its own volumes."""
    root = tree(*(f"sub-1/func/sub-1_task-x_run-{run}" for run in (10, 2)))
    responses = load(root).responses
    assert responses.samples["run"].unique().tolist() == ["2", "10"]
    first = planted(EVENTS, 60, 2.0, seed=1)[1:7, 1:7, 1:5].reshape(-1, 60)
    np.testing.assert_allclose(responses.values[:60], first.T, rtol=1e-6)


def test_events_are_inherited(tree):
    """task-x_events.tsv of the whole dataset counts where a run has none of its own; the nearest wins."""
    root = tree(
        "sub-1/ses-a/func/sub-1_ses-a_task-x_run-1", "sub-1/ses-a/func/sub-1_ses-a_task-x_run-2", events=None
    )
    (root / "task-x_events.tsv").write_text(EVENTS)
    (root / "task-y_events.tsv").write_text(EVENTS.replace("\ta", "\twrong"))
    own = root / "sub-1/ses-a/func/sub-1_ses-a_task-x_run-2_events.tsv"
    own.parent.mkdir(parents=True)
    own.write_text(EVENTS.replace("\ta", "\tnear"))
    told = load(root).responses.info["events"]
    assert set(told["condition"][:6]) == {"a", "b"}
    assert set(told["condition"][6:]) == {"near", "b"}
    assert told["session"] == ["a"] * 12
    run = parse_name(root / FMRIPREP / "sub-1_ses-a_task-x_run-2_bold.nii.gz")
    assert inherited(root, run, "events", ".tsv") == [own, root / "task-x_events.tsv"]


@pytest.mark.parametrize(
    "more",
    [
        {"DatasetLinks": {"raw": "../elsewhere/bids"}},
        {
            "SourceDatasets": [
                {"DOI": "x"},
                {"URL": "https://example.org/ds"},
                {"URL": "file:///%s/elsewhere/bids"},
            ]
        },
    ],
)
def test_the_source_that_is_named_has_the_events(tree, tmp_path, more):
    """dataset_description.json leads to the BIDS folder: a link or a file URL."""
    root = tree("sub-1/func/sub-1_task-x_run-1", "sub-1/func/sub-1_task-x_run-2")
    alone = tmp_path / "prep"
    shutil.move(root / FMRIPREP, alone)
    shutil.rmtree(root / "derivatives")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(root, tmp_path / "elsewhere" / "bids")
    assert "events" not in load(alone).responses.info
    more = json.loads(json.dumps(more).replace("/%s", str(tmp_path)))
    write_json(alone / "dataset_description.json", {"DatasetType": "derivative", **more})
    assert len(load(alone).responses.info["events"]["onset"]) == 12
    assert len(load(alone, events="../elsewhere/bids").responses.info["events"]["onset"]) == 12
    assert "events" not in load(alone, events="none").responses.info
    with pytest.raises(DataNotFoundError, match="has no sub- folders; give the BIDS folder"):
        load(alone, events="../elsewhere")


def test_stories_are_runs(tree):
    """Several tasks are read as runs of their own; the session tells equal labels apart."""
    root = tree(
        "sub-1/func/sub-1_task-pieman",
        "sub-1/func/sub-1_task-tunnel_run-1",
        "sub-1/func/sub-1_task-tunnel_run-2",
    )
    assert load(root, task="*").responses.samples["run"].unique().tolist() == [
        "pieman",
        "tunnel_1",
        "tunnel_2",
    ]
    assert load(root, task=["pieman"]).responses.samples["run"].unique().tolist() == ["1"]


def test_runs_that_do_not_fit_are_refused(tree):
    """A run missing in the space, acquisitions, resolutions, half a surface, the grid of each run."""
    root = tree(*(f"sub-1/func/sub-1_task-x_run-{run}" for run in (1, 2)), spaces=(MNI, "", "T1w"))
    func = root / FMRIPREP / "sub-1/func"
    with pytest.raises(
        InputError, match="space='func' is the grid of each run alone, so voxels of 2 runs do not"
    ):
        load(root, space="func")
    assert load(root, space="func", runs=[1]).responses.n_samples == 60
    image = func / "sub-1_task-x_run-2_space-T1w_desc-preproc_bold.nii.gz"
    image.rename(func / "sub-1_task-x_acq-fast_run-2_space-T1w_desc-preproc_bold.nii.gz")
    with pytest.raises(InputError, match=r"1 of 3 runs are not there .* first sub-1_task-x_run-2"):
        load(root, space="T1w")
    with pytest.raises(
        UnknownNameError, match="entity acq: 'slow' does not exist; closest: .*|there are: fast"
    ):
        load(root, space="T1w", entities=["acq-slow"])
    shutil.copy(
        func / "sub-1_task-x_run-2_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz",
        func / "sub-1_task-x_acq-fast_run-2_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz",
    )
    with pytest.raises(InputError, match=r"are the same run .*choose with entities=\[...\] among: acq-fast"):
        load(root, space=MNI)
    for name in func.glob("*acq-fast*"):
        name.unlink()
    fine = func / f"sub-1_task-x_run-1_space-{MNI}_res-2_desc-preproc_bold.nii.gz"
    shutil.copy(func / f"sub-1_task-x_run-1_space-{MNI}_desc-preproc_bold.nii.gz", fine)
    with pytest.raises(InputError, match=r"several resolutions: \(none in the name\), 2"):
        load(root, space=MNI)
    with pytest.raises(UnknownNameError, match="resolution: '1' does not exist"):
        load(root, space=MNI, resolution=1)
    write_half(func / "sub-1_task-x_run-1_hemi-L_space-fsnative_bold.func.gii", np.ones((10, 60)))
    with pytest.raises(InputError, match="two halves of a surface; found sub-1_task-x_run-1_hemi-L"):
        load(root, space="fsnative", runs=["1"])


@pytest.mark.parametrize(
    ("sidecar", "text"),
    [
        ({"RepetitionTime": "2"}, "RepetitionTime is '2'; expected seconds"),
        ({"RepetitionTime": 2000}, "RepetitionTime is 2000; expected seconds"),
        ({"VolumeTiming": [0, 5]}, "VolumeTiming, sparse acquisition"),
        ({"RepetitionTime": 2.0, "StartTime": "x"}, "StartTime is 'x'; expected seconds"),
        ({"RepetitionTime": 2.0, "StartTime": float("nan")}, "StartTime is nan"),
        ({"RepetitionTime": 3.0}, "header says 2 .*repetition_time=3"),
    ],
)
def test_times_that_cannot_be(tree, sidecar, text):
    """Times that are none, in the wrong unit, or not those of the image, are refused."""
    root = tree("sub-1/func/sub-1_task-x")
    write_json(root / FMRIPREP / f"sub-1/func/sub-1_task-x_space-{MNI}_desc-preproc_bold.json", sidecar)
    with pytest.raises(InputError, match=text):
        load(root)


def test_where_the_times_come_from(tree):
    """Sidecar, BIDS folder, header, in this order; slice times corrected without a StartTime: the middle."""
    root = tree("sub-1/func/sub-1_task-x", start_time=None)
    sidecar = root / FMRIPREP / f"sub-1/func/sub-1_task-x_space-{MNI}_desc-preproc_bold.json"
    found = load(root)
    assert found.responses.samples["onset"].iloc[0] == 0.0
    assert any("has no StartTime" in note for note in found.info["notes"])
    write_json(sidecar, {"SliceTimingCorrected": True})
    write_json(root / "task-x_bold.json", {"RepetitionTime": 2.0, "TaskName": "x"})
    found = load(root)
    assert found.responses.samples["onset"].iloc[0] == 1.0
    assert any("the middle of the volume is taken" in note for note in found.info["notes"])
    sidecar.unlink()
    (root / "task-x_bold.json").unlink()
    assert load(root).responses.info["repetition_time"] == 2.0
    shutil.rmtree(root / FMRIPREP / "sub-1")
    other = tree("sub-1/func/sub-1_task-x_run-1", "sub-1/func/sub-1_task-x_run-2")
    label = "sub-1/func/sub-1_task-x_run-2"
    write_run(other / FMRIPREP, other, label, EVENTS, repetition_time=2.5)
    with pytest.raises(
        InputError, match=r"run 2 has a repetition time of 2.5 s, task-x run 1 one of 2 s; read them"
    ):
        load(other)


def test_images_that_are_none(tree):
    """No header to count volumes by, three axes, all volumes unsteady: refused before anything is read."""
    root = tree("sub-1/func/sub-1_task-x")
    func = root / FMRIPREP / "sub-1/func"
    table = func / "sub-1_task-x_desc-confounds_timeseries.tsv"
    write_confounds(table, 60, non_steady=60)
    with pytest.raises(InputError, match="all 60 volumes are marked as not yet steady; non_steady='keep'"):
        load(root)
    table.unlink()
    image = func / f"sub-1_task-x_space-{MNI}_desc-preproc_bold.nii.gz"
    image.write_bytes(b"nothing")
    with pytest.raises(CorruptFileError, match="is not a readable image"):
        load(root)
    write_volume(image, np.ones(SHAPE, np.float32))
    with pytest.raises(ShapeError, match=r"has shape \(8, 8, 6\); expected 4 axes"):
        load(root)


def test_surface_without_repetition_time(tree):
    """A surface has no header that says it."""
    root = tree("sub-1/func/sub-1_task-x", spaces=(), surfaces=("fsnative",))
    func = root / FMRIPREP / "sub-1/func"
    for sidecar in func.glob("*_bold.json"):
        sidecar.unlink()
    with pytest.raises(InputError, match='nothing says the repetition time of .*{"RepetitionTime": seconds}'):
        load(root)
    (func / "sub-1_task-x_desc-confounds_timeseries.tsv").unlink()
    write_json(root / "task-x_bold.json", {"RepetitionTime": 2.0})
    assert load(root).responses.shape == (60, 384)


def test_events_at_the_borders(tree):
    """Events are cut at the first and last sample; impulses of the first volume are kept; all is counted."""
    rows = ("0\t0.5\tearly", "0\t10\tcut", "116\t30\tlate", "50\tn/a\tinstant", "60\t1\tn/a")
    events = "onset\tduration\ttrial_type\n" + "\n".join(rows) + "\n"
    root = tree("sub-1/func/sub-1_task-x", start_time=1.0)
    (root / "sub-1/func/sub-1_task-x_events.tsv").write_text(events)
    found = load(root)
    told = found.responses.info["events"]
    assert told["onset"] == [1.0, 1.0, 116.0, 50.0]
    assert told["duration"] == [0.5, 9.0, 4.0, 0.0]
    notes = " ".join(found.info["notes"])
    assert "3 events begin before the first or end after the last sample" in notes
    assert "1 events have no condition (n/a)" in notes


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            "150\t5\ta",
            r"line 3: the event from 150 to 155 s is outside its run, whose samples reach .* to 120 s",
        ),
        ("-30\t5\ta", "from -30 to -25 s is outside"),
        ("n/a\t5\ta", "line 3: onset is nan; expected seconds"),
        ("3\t-5\ta", "line 3: duration is -5; expected 0 or more"),
        ("3\tx\ta", "line 3: duration is 'x'; expected a number"),
    ],
)
def test_events_that_cannot_be(tree, row, text):
    """An event outside its run or without a time is refused with its line; outside ones may be dropped."""
    root = tree("sub-1/func/sub-1_task-x")
    own = root / "sub-1/func/sub-1_task-x_events.tsv"
    own.write_text(f"onset\tduration\ttrial_type\n4\t5\tb\n{row}\n")
    with pytest.raises(InputError, match=text):
        load(root)
    if "outside" in text:
        found = load(root, outside="drop")
        assert found.responses.info["events"]["condition"] == ["b"]
        assert any("1 events lie outside the samples" in note for note in found.info["notes"])


def test_runs_without_events_beside_runs_with(tree):
    """A run without events would count as rest: refused, unless it is left out."""
    root = tree("sub-1/func/sub-1_task-x_run-1", "sub-1/func/sub-1_task-x_run-2")
    (root / "sub-1/func/sub-1_task-x_run-1_events.tsv").unlink()
    with pytest.raises(InputError, match=r"task-x run 1 has no events.tsv, 1 other runs have one"):
        load(root)
    assert load(root, runs=[2]).responses.n_samples == 60
    assert "events" not in load(root, events="none").responses.info


def test_ten_thousand_files_are_listed_in_a_second(tmp_path):
    """Choices among 10,000 files of 20 subjects are known within a second (best of three)."""
    root = haxby_tree(tmp_path / "bids", runs=(1,))
    for subject in range(2, 22):
        func = root / FMRIPREP / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for run in range(1, 101):
            stem = f"sub-{subject}_task-objectviewing_run-{run:02d}_space-T1w_desc"
            for end in (
                "preproc_bold.nii.gz",
                "preproc_bold.json",
                "brain_mask.nii.gz",
                "coreg_boldref.nii.gz",
                "x_xfm.txt",
            ):
                os.close(os.open(func / f"{stem}-{end}", os.O_CREAT | os.O_WRONLY))
    best = 9.0
    for _ in range(3):
        start = time.perf_counter()
        with pytest.raises(InputError, match="holds 21 subjects"):
            load(root)
        load(root, subject="1", events="none")
        best = min(best, time.perf_counter() - start)
    assert best < 1.0
