"""`scaffold`: a folder of recordings becomes a commented study that passes its check and runs."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from study_cases import make_folder

from brainalign.errors import DataNotFoundError, InputError
from brainalign.storage import load
from brainalign.study.estimate import plan_study
from brainalign.study.run import run_study
from brainalign.study.scaffold import scaffold
from brainalign.study.settings import read_study

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data_loaders"))
from bids_trees import (
    ACTIVE,
    AFFINE,
    BRAIN,
    MNI,
    annex_links,
    block_events,
    describe,
    haxby_tree,
    true_paths,
    write_run,
)

FAST = ["encoding.n_permutations=20", "encoding.n_bootstrap=20"]


def made(folder: Path, study: Path):
    """The study that scaffold writes, after its check."""
    written = scaffold(folder, study)
    assert written.path.read_text(encoding="utf-8") == written.text
    settings = read_study(written.path)
    return written, settings, plan_study(settings, device="cpu")


def values_of(study: Path, output: Path) -> dict[str, float]:
    """Run a study fast; the value of each model."""
    result = run_study(read_study(study, overrides=FAST), output, device="cpu")
    assert (output / "report.html").is_file()
    return {str(row["model"]): float(row["value"]) for _, row in result.table.iterrows()}


def scores_of(output: Path, model: str):
    """The scores of the cell of a model."""
    return load(next(output.glob(f"cells/encoding-{model}*/scores-000.h5")))


@pytest.fixture
def haxby(tmp_path):
    return haxby_tree(tmp_path / "ds000105", start_time=1.25)


def test_fmriprep_study_runs_and_finds_the_planted_response(haxby, tmp_path):
    """Conditions predict the voxels that answer, the time index nothing; every choice is explained."""
    written, settings, plan = made(haxby, tmp_path / "study.toml")
    assert settings.subjects == ["1"]
    options = settings.dataset.options
    assert Path(str(options.pop("path"))) == haxby
    assert options == {
        "task": "objectviewing",
        "space": MNI,
        "confounds": "motion",
        "condition": "trial_type",
    }
    assert settings.preparation.high_pass_s == 128
    assert settings.preparation.delays == [1, 2, 3, 4]
    assert settings.preparation.confounds == "confounds"
    assert [len(fold) for fold in plan.subjects[0].folds] == [2] * 4
    assert "4 runs, TR 2.5 s, 8 conditions" in written.found[1]
    assert written.text.count("\n#") > 15
    values = values_of(written.path, tmp_path / "out")
    assert abs(values["time index"]) < 0.05
    volume = scores_of(tmp_path / "out", "conditions").to_nifti()
    assert np.allclose(volume.affine, AFFINE)
    mapped = np.asarray(volume.dataobj)
    assert np.mean(mapped[ACTIVE]) > 0.4
    mapped[ACTIVE] = np.nan
    assert abs(np.nanmean(mapped[BRAIN])) < 0.05


def test_study_and_folder_travel_together(haxby, tmp_path):
    """The path counts from the study file: moved together, the study still passes."""
    home = tmp_path / "lab"
    home.mkdir()
    shutil.move(haxby, home / "bids")
    written = scaffold(home / "bids", home)
    assert written.path == home / "study.toml"
    assert 'path = "bids"' in written.text
    shutil.move(home, tmp_path / "other place")
    assert plan_study(read_study(tmp_path / "other place" / "study.toml"), device="cpu").n_cells == 2


@pytest.mark.parametrize("start", ["derivatives", "derivatives/fmriprep"])
def test_every_root_is_recognised(haxby, tmp_path, start):
    """The derivatives alone lead to the same study; events are found beside."""
    assert "8 conditions" in scaffold(haxby / start, tmp_path / "s.toml").found[1]


def test_nothing_is_overwritten(haxby, tmp_path, monkeypatch):
    """An existing file is an error, whatever it holds; the default is study.toml here."""
    monkeypatch.chdir(tmp_path)
    first = scaffold(haxby)
    assert first.path.resolve() == tmp_path / "study.toml"
    with pytest.raises(InputError, match=r"study.toml exists and is not overwritten; name another file"):
        scaffold(haxby)
    assert first.path.read_text(encoding="utf-8") == first.text
    with pytest.raises(InputError, match="a study file ends in .toml"):
        scaffold(haxby, tmp_path / "study.txt")
    with pytest.raises(DataNotFoundError, match="there is no folder .*nowhere; make it first"):
        scaffold(haxby, tmp_path / "nowhere" / "study.toml")


def test_nothing_recognised(tmp_path):
    """An empty folder: what was looked for is listed; a missing one is said."""
    with pytest.raises(DataNotFoundError, match="none does not exist; give the folder"):
        scaffold(tmp_path / "none", tmp_path / "s.toml")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"desc-preproc_bold.*\.fif.*responses\.npy"):
        scaffold(tmp_path, tmp_path / "s.toml")
    assert not (tmp_path / "s.toml").exists()
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(InputError, match="raw recordings: run fMRIPrep first"):
        scaffold(tmp_path, tmp_path / "s.toml")
    (tmp_path / "haxby2001").mkdir()
    with pytest.raises(InputError, match=r"a loader of its own: put name = 'haxby2001' under \[dataset\]"):
        scaffold(tmp_path / "haxby2001", tmp_path / "s.toml")


def test_hostile_names_stay_text(tmp_path):
    """Quotes, newlines, emoji and TOML in names neither break nor steer the study."""
    root = tmp_path / 'a"b\n[encoding]\nn_folds = 99 \U0001f9e0'
    fmriprep = root / "derivatives" / "fmriprep"
    describe(root, fmriprep)
    events = block_events(['x"]', "\u202eevil", "z = 1 #"], first=0, every=10, lasts=8, n=12)
    for run in (1, 2, 3):
        write_run(fmriprep, root, f"sub-01/func/sub-01_task-a_run-{run}", events, seed=run)
    written, settings, plan = made(root, tmp_path / "s.toml")
    assert settings.encoding.n_folds == 3
    assert plan.subjects[0].n_samples == 180
    assert all(line.isprintable() for line in written.text.splitlines())


def test_rest_without_events(tmp_path):
    """Without events there is the control alone, and the text says what is missing."""
    root = tmp_path / "bids"
    describe(root, root / "derivatives" / "fmriprep")
    for run in (1, 2):
        write_run(
            root / "derivatives/fmriprep", root, f"sub-01/func/sub-01_task-rest_run-{run}", None, seed=run
        )
    written, settings, _ = made(root, tmp_path / "s.toml")
    assert "No events.tsv was found" in written.text
    assert [model.name for model in settings.models] == ["time index"]
    assert abs(values_of(written.path, tmp_path / "out")["time index"]) < 0.2


def test_stories_are_runs(tmp_path):
    """Tasks with one run each are read together, each as a run; instants are impulses."""
    root = tmp_path / "bids"
    describe(root, root / "derivatives" / "fmriprep")
    for k, story in enumerate(("pieman", "tunnel", "lucy")):
        events = block_events(["word", "pause"], first=4, every=6, lasts=0, n=18)
        write_run(root / "derivatives/fmriprep", root, f"sub-01/func/sub-01_task-{story}", events, seed=k)
    _, settings, plan = made(root, tmp_path / "s.toml")
    assert settings.dataset.options["task"] == "*"
    assert settings.preparation.method == "impulse"
    assert [len(fold) for fold in plan.subjects[0].folds] == [2] * 3


@pytest.mark.real
def test_true_tree_of_a_public_dataset(tmp_path, real_data):
    """ds005165: of its true tasks, sessions and spaces a study is made that passes its check."""
    sidecars = real_data / "openneuro_sidecars"
    paths = true_paths(sidecars, "ds005165", lambda path: "versionB/fmriprep" in path and "task-" in path)
    root = tmp_path / "ds005165"
    fmriprep = root / "derivatives/versionB/fmriprep"
    shutil.copytree(sidecars / "ds005165", root)
    events = root / "sub-01/ses-02/func/sub-01_ses-02_task-test_run-1_events.tsv"
    for run in (1, 2, 3):
        name = f"sub-01/ses-02/func/sub-01_ses-02_task-test_run-{run}"
        write_run(fmriprep, root, name, events.read_text(), n_volumes=268, repetition_time=1.75, seed=run)
    links = [path for path in paths if "task-test" in path and not path.endswith(".json")]
    annex_links(root, links)
    written, settings, plan = made(root, tmp_path / "s.toml")
    assert settings.dataset.options["task"] == "test"
    assert settings.dataset.options["space"] == MNI
    assert settings.preparation.delays == [1, 2, 3, 5, 6]
    for text in ('"T1w" (3 runs)', '"fsaverage" (3 runs)', "Sessions:", '"stim_file"'):
        assert text in written.text
    assert plan.subjects[0].n_samples == 3 * 268


def faces_raw(path: Path, *, events: bool = True, n: int = 60, seconds: float = 90.0):
    """A recording in which faces differ from houses at one sensor, 0.15 to 0.25 s after the event."""
    import mne

    rng = np.random.default_rng(0)
    info = mne.create_info(["Cz", "Pz", "Oz", "EOG"], 100.0, ["eeg"] * 3 + ["eog"])
    values = 5e-6 * rng.normal(size=(4, int(100 * seconds)))
    onset = 2 + 1.4 * np.arange(n)
    names = np.where(rng.permutation(n) % 2, "face", "house")
    for begin, name in zip(onset, names, strict=True):
        first = round(100 * float(begin)) + 15
        values[2, first : first + 10] += 8e-6 if name == "face" else -8e-6
    raw = mne.io.RawArray(values, info, verbose="ERROR")
    if events:
        # a mark on the sample of every event, and one that is rare
        both = np.concatenate([onset, onset, [1.0]])
        labels = np.concatenate([names, ["trigger"] * n, ["start"]])
        raw.set_annotations(mne.Annotations(both, 0.1, labels))
    path.parent.mkdir(parents=True, exist_ok=True)
    raw.save(path, verbose="ERROR")
    return raw


def test_raw_meeg_study_runs(tmp_path):
    """Of a raw .fif: events become trials, the conditions are told apart where they differ."""
    faces_raw(tmp_path / "meg" / "sub-01" / "sub-01_task-faces_raw.fif")
    written, settings, plan = made(tmp_path / "meg", tmp_path / "s.toml")
    assert settings.dataset.name == "mne_file"
    assert settings.dataset.options["events"] == ["face", "house"]
    assert "# high_pass_hz" in written.text
    assert '"trigger"' in written.text
    assert plan.subjects[0].n_units == 3
    assert "1 eog" in written.found[1]
    values_of(written.path, tmp_path / "out")
    scores = scores_of(tmp_path / "out", "conditions")
    sensor, time = np.unravel_index(np.nanargmax(scores.values), scores.values.shape)
    assert scores.units.index[sensor] == "Oz"
    assert 0.14 < scores.info["times"][time] < 0.25


def test_epochs_study_runs(tmp_path):
    """Of saved epochs: no events to choose, the others in the folder are named."""
    import mne

    raw = faces_raw(tmp_path / "other_raw.fif", events=False)
    place = tmp_path / "faces-epo.fif"
    raw = faces_raw(tmp_path / "x" / "y_raw.fif")
    events, names = mne.events_from_annotations(raw, {"face": 1, "house": 2}, verbose="ERROR")
    mne.Epochs(raw, events, names, tmin=-0.1, tmax=0.4, baseline=None, verbose="ERROR").save(
        place, verbose="ERROR"
    )
    shutil.rmtree(tmp_path / "x")
    written, settings, _ = made(tmp_path, tmp_path / "s.toml")
    assert settings.dataset.options["path"] == str(place)
    assert "events" not in settings.dataset.options
    assert "other_raw.fif" in written.text
    assert values_of(written.path, tmp_path / "out")["conditions"] > 0.04


def test_recordings_without_conditions(tmp_path):
    """Recordings without events are named, with what to do."""
    faces_raw(tmp_path / "a_raw.fif", events=False)
    with pytest.raises(InputError, match="1 M/EEG recordings, and none .*no events.*as annotations"):
        scaffold(tmp_path, tmp_path / "s.toml")
    (tmp_path / "a_raw.fif").write_bytes(b"")
    with pytest.raises(InputError, match="a_raw.fif is empty"):
        scaffold(tmp_path / "a_raw.fif", tmp_path / "s.toml")


@pytest.mark.real
def test_real_eeg_study_runs(tmp_path, real_data):
    """EEGLAB's sample: its events make a study that passes its check and runs."""
    written, settings, plan = made(real_data / "eeglab_sample", tmp_path / "s.toml")
    assert settings.dataset.options["events"] == ["rt", "square"]
    assert plan.subjects[0].n_units == 32
    assert values_of(written.path, tmp_path / "out")["conditions"] > 0


def arrays(folder: Path, **files: str) -> Path:
    """responses.npy and features_clip.npy (60 rows) with a linear relation, and tables."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    features = rng.normal(size=(60, 5))
    np.save(folder / "features_clip.npy", features)
    np.save(folder / "responses.npy", features @ rng.normal(size=(5, 4)) + rng.normal(size=(60, 4)))
    for name, text in files.items():
        (folder / f"{name}.tsv").write_text(text)
    return folder


def test_arrays_with_features_run(tmp_path):
    """responses.npy and features_NAME.npy: joined row by row, and no p-values are claimed."""
    written, settings, _ = made(arrays(tmp_path / "mine"), tmp_path / "s.toml")
    assert settings.dataset.name == "arrays"
    assert settings.encoding.n_permutations == 0
    result = run_study(read_study(written.path), tmp_path / "out", device="cpu")
    assert result.table["value"].iloc[0] > 0.5


def test_arrays_with_conditions_and_stimuli(tmp_path):
    """samples.tsv with stimulus_id and condition: both models, permutations of stimuli."""
    rows = "".join(f"s{i // 2}\t{'face' if i // 2 % 2 else 'house'}\n" for i in range(60))
    folder = arrays(tmp_path / "mine", samples="stimulus_id\tcondition\n" + rows)
    features = np.repeat(np.random.default_rng(1).normal(size=(30, 5)), 2, axis=0)
    np.save(folder / "features_clip.npy", features)
    written, settings, plan = made(folder, tmp_path / "s.toml")
    assert [model.name for model in settings.models] == ["features:clip", "conditions"]
    assert plan.subjects[0].n_stimuli == 30
    assert settings.encoding.n_permutations == 1000
    assert set(values_of(written.path, tmp_path / "out")) == {"features:clip", "conditions"}


def test_arrays_in_time(tmp_path):
    """samples.tsv with onsets and runs: a continuous design, whole runs left out."""
    rows = "".join(f"{i // 20 + 1}\t{2.0 * (i % 20)}\n" for i in range(60))
    folder = arrays(tmp_path / "mine", samples="run\tonset\n" + rows)
    (folder / "features_clip.npy").rename(folder / "embedding.npy")
    (folder / "responses.npy").rename(folder / "voxels.npy")
    written, settings, plan = made(folder, tmp_path / "s.toml")
    assert settings.dataset.options["design"] == "continuous"
    assert settings.dataset.options["responses"] == "voxels.npy"
    assert settings.dataset.options["features"] == ["embedding.npy"]
    assert "3 folds of whole runs" in plan.subjects[0].split_method
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values_of(written.path, tmp_path / "out")["features:embedding"] > 0.4


def test_images_run(tmp_path):
    """responses.npy with stimuli.tsv: the images are seen by the first model, pixels."""
    written, settings, _ = made(make_folder(tmp_path / "images"), tmp_path / "s.toml")
    assert settings.dataset.name == "folder"
    assert "pixels" in values_of(written.path, tmp_path / "out")


def test_arrays_that_leave_a_doubt(tmp_path):
    """Two candidates, nothing that explains, wrong rows, a table without images: each says what to do."""
    folder = arrays(tmp_path / "mine")
    (folder / "responses.npy").rename(folder / "bold_a.npy")
    np.save(folder / "bold_b.npy", np.zeros((60, 2)))
    with pytest.raises(
        InputError, match='which one are the responses .*"bold_a.npy", "bold_b.npy" could be it'
    ):
        scaffold(folder, tmp_path / "s.toml")
    (folder / "bold_b.npy").unlink()
    (folder / "bold_a.npy").rename(folder / "responses.npy")
    np.save(folder / "features_clip.npy", np.zeros((59, 5)))
    with pytest.raises(InputError, match=r"has shape \(59, 5\); expected 2 axes and 60 rows"):
        scaffold(folder, tmp_path / "s.toml")
    (folder / "features_clip.npy").unlink()
    with pytest.raises(InputError, match="nothing that could explain it; put features beside"):
        scaffold(folder, tmp_path / "s.toml")
    (folder / "stimuli.tsv").write_text("stimulus_id\n" + "".join(f"s{i}\n" for i in range(60)))
    with pytest.raises(InputError, match="no column 'path', so there are no images"):
        scaffold(folder, tmp_path / "s.toml")


def test_only_the_grid_of_each_run(tmp_path):
    """Runs that share no space cannot be one study: the reason is said."""
    root = tmp_path / "bids"
    describe(root, root / "derivatives" / "fmriprep")
    for run in (1, 2):
        name = f"sub-01/func/sub-01_task-a_run-{run}"
        write_run(root / "derivatives/fmriprep", root, name, None, seed=run, spaces=("",))
    with pytest.raises(
        InputError, match="no study can be proposed for sub-01. space='func' is the grid of each run"
    ):
        scaffold(root, tmp_path / "s.toml")
