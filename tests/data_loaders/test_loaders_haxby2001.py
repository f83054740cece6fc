"""haxby2001: the real volumes give the published figures, whichever of the images they are read from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

import data_loaders as dl
from brainalign.design import join
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, UnknownNameError
from data_loaders import haxby2001

pytestmark = pytest.mark.real

RUN1 = "openfmri/sub001/BOLD/task001_run001/"


def load(root: Path, **options: Any) -> Any:
    return dl.load("haxby2001", root=root, **options)


@pytest.fixture(scope="module")
def oneslice(real_data: Path) -> Any:
    return load(real_data)


@pytest.fixture(scope="module")
def own_root(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose files a test damages and puts back."""
    root = tmp_path_factory.mktemp("copy")
    for file in haxby2001.CARD.files:
        place = root / "haxby2001" / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real_data / "haxby2001" / file.name, place)
    return root


def block_patterns(responses: Any) -> tuple[np.ndarray, list[str]]:
    """(12 runs, 8 categories, n_voxels): detrended and z-scored per run, mean of each block."""
    samples, names = responses.samples, sorted(responses.samples["condition"].dropna().unique())
    patterns = []
    for run in samples["run"].unique():
        rows = (samples["run"] == run).to_numpy()
        y = responses.values[rows].astype(float)
        line = np.stack([np.ones(len(y)), np.arange(len(y))], axis=1)
        y = y - line @ np.linalg.lstsq(line, y, rcond=None)[0]
        y = (y - y.mean(axis=0)) / y.std(axis=0)
        label = samples["condition"][rows].to_numpy(dtype=object)
        patterns.append([y[label == name].mean(axis=0) for name in names])
    return np.array(patterns), names


def accuracy(patterns: np.ndarray) -> float:
    """Share of blocks that correlate most with the mean pattern of their category in the other runs."""
    centred = patterns - patterns.mean(axis=1, keepdims=True)
    right = []
    for run in range(len(centred)):
        training = np.delete(centred, run, axis=0).mean(axis=0)
        training = training - training.mean(axis=0)
        r = np.corrcoef(centred[run], training)[:8, 8:]
        right.append(r.argmax(axis=1) == np.arange(8))
    return float(np.mean(right))


def test_correlation_classifier(oneslice: Any) -> None:
    """One run left out, categories told apart by the correlation of block means: 65 of 96 are right."""
    patterns, names = block_patterns(oneslice.responses)
    assert patterns.shape == (12, 8, 530)
    assert names == sorted(haxby2001.CONDITIONS)
    assert accuracy(patterns) == pytest.approx(0.677, abs=0.0005)


def test_samples_are_volumes_with_run_onset_and_condition(oneslice: Any, real_data: Path) -> None:
    """Run 0 of the label file is run "1"; every volume has the label of the file, rest is None."""
    samples = oneslice.responses.samples
    lines = (real_data / "haxby2001/oneslice/attributes_literal.txt").read_text().splitlines()
    label, run = zip(*(line.split() for line in lines), strict=True)
    assert samples["run"].tolist() == [str(int(r) + 1) for r in run]
    assert samples["condition"].fillna("rest").tolist() == list(label)
    assert samples["condition"].isna().sum() == 12 * (121 - 8 * 9)
    assert samples["onset"].tolist() == [2.5 * v for v in range(121)] * 12
    assert samples[["subject", "session"]].drop_duplicates().values.tolist() == [["01", "1"]]


def test_values_are_the_file_s_at_each_voxel(oneslice: Any, real_data: Path) -> None:
    """Raw numbers of the scanner, at the voxel and the millimetres that the units name."""
    responses, image = oneslice.responses, nibabel.load(real_data / "haxby2001/oneslice/bold.nii.gz")
    stored = np.asanyarray(image.dataobj)
    mask = np.asanyarray(nibabel.load(real_data / "haxby2001/oneslice/mask.nii.gz").dataobj)
    i, j, k = responses.units[["i", "j", "k"]].to_numpy().T
    assert responses.values.dtype == np.float32
    np.testing.assert_array_equal(responses.values, stored[i, j, k].T)
    assert (len(i), bool((mask[i, j, k] == 1).all()), int(mask.sum())) == (530, True, 530)
    assert responses.units.index[7] == f"{i[7]}_{j[7]}_{k[7]}"
    np.testing.assert_allclose(
        responses.units[["x", "y", "z"]],
        nibabel.affines.apply_affine(image.affine, np.stack([i, j, k], axis=1)),
    )


@pytest.mark.parametrize(
    ("version", "file"),
    [
        ("oneslice", "oneslice/bold.nii.gz"),
        ("openfmri_slice", RUN1 + "bold_1slice.nii.gz"),
        ("openfmri_25mm", RUN1 + "bold_25mm.nii.gz"),
    ],
)
def test_geometry_is_the_file_s(real_data: Path, version: str, file: str) -> None:
    """Affine, grid and repetition time of the responses are those of the image; the design is blocks."""
    info = load(real_data, version=version).responses.info
    image = nibabel.load(real_data / "haxby2001" / file)
    np.testing.assert_array_equal(np.array(info["affine"]), image.affine)
    assert tuple(info["volume_shape"]) == image.shape[:3]
    assert info["repetition_time"] == float(image.header.get_zooms()[3]) == 2.5
    assert (info["design"], info["verified"], info["version"]) == ("blocks", True, version)


def test_both_forms_of_the_slice_agree(oneslice: Any, real_data: Path) -> None:
    """One image for all runs or one a run, blocks from labels or from tables: the same responses."""
    other = load(real_data, version="openfmri_slice")
    np.testing.assert_array_equal(other.responses.values, oneslice.responses.values)
    columns = ["run", "onset", "condition", "subject", "session"]
    pd.testing.assert_frame_equal(other.responses.samples[columns], oneslice.responses.samples[columns])
    assert other.responses.info["events"] == oneslice.responses.info["events"]
    pd.testing.assert_frame_equal(other.responses.units, oneslice.responses.units)


def test_events_are_eight_blocks_a_run(oneslice: Any, real_data: Path) -> None:
    """Each category once a run, 22.5 s each, as the published tables have it; categories are the stimuli."""
    events = pd.DataFrame(oneslice.responses.info["events"])
    assert events.groupby("run")["condition"].nunique().tolist() == [8] * 12
    first = pd.read_csv(real_data / "haxby2001" / RUN1 / "bold_events.tsv", sep="\t")
    mine = events[events["run"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        mine[["onset", "duration", "condition"]].rename(columns={"condition": "trial_type"}),
        first,
        check_dtype=False,
    )
    assert events["stimulus_id"].tolist() == events["condition"].tolist()
    assert list(oneslice.stimuli.ids) == list(haxby2001.CONDITIONS)


@pytest.mark.parametrize(
    ("mask", "n", "others"),
    [
        ("brain", 129, {"gray": 28, "white": 34, "hoc": 45, "vt": 1}),
        ("gray", 28, {"hoc": 18, "vt": 1}),
        ("white", 34, {"hoc": 13}),
        ("hoc", 45, {"gray": 18, "white": 13}),
        ("vt", 1, {"gray": 1}),
    ],
)
def test_masks_of_the_whole_brain(real_data: Path, mask: str, n: int, others: dict[str, int]) -> None:
    """Each mask holds its published number of voxels, and the units say which other masks hold them."""
    responses = load(real_data, version="openfmri_25mm", mask=mask).responses
    units, folder = responses.units, real_data / "haxby2001/openfmri/sub001"
    assert responses.shape == (1452, n)
    columns = [c for c in units if c.startswith("roi_")]
    assert {c.removeprefix("roi_"): int(units[c].sum()) for c in columns} == others
    i, j, k = units[["i", "j", "k"]].to_numpy().T
    for name in (mask, *others):
        held = np.asanyarray(nibabel.load(folder / f"masks/25mm/{name}.nii.gz").dataobj)[i, j, k] > 0
        assert held.all() if name == mask else (held == units[f"roi_{name}"]).all()
    stored = np.asanyarray(nibabel.load(folder / "BOLD/task001_run012/bold_25mm.nii.gz").dataobj)
    np.testing.assert_array_equal(responses.values[-121:], stored[i, j, k].T)


def test_gray_voxels_of_25_mm(real_data: Path) -> None:
    """The same classifier on 28 coarse voxels: 27 of 96 blocks, well above the 12 of chance."""
    responses = load(real_data, version="openfmri_25mm", mask="gray").responses
    assert accuracy(block_patterns(responses)[0]) == pytest.approx(0.2812, abs=0.0005)


def test_motion_joins_by_run_and_onset(oneslice: Any, real_data: Path) -> None:
    """The six parameters of a volume are those of its row in the file of its run."""
    motion = oneslice.features["motion"]
    order = np.random.default_rng(0).permutation(1452)[:40]
    some = oneslice.responses.select(samples=order)
    rows = motion.values[join.join_rows(motion, some)]
    for row, run, onset in zip(rows, some.samples["run"], some.samples["onset"], strict=True):
        file = real_data / f"haxby2001/openfmri/sub001/BOLD/task001_run{int(run):03d}/bold_moest.txt"
        np.testing.assert_array_equal(row, np.loadtxt(file)[int(onset / 2.5)])
    assert motion.units["unit"].tolist() == ["rad"] * 3 + ["mm"] * 3


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"version": "oneslce"},
            UnknownNameError,
            "version of 'haxby2001':? 'oneslce' does not .*'oneslice'",
        ),
        ({"mask": "grey", "version": "openfmri_25mm"}, UnknownNameError, "'grey' does not exist; .*'gray'"),
        ({"mask": "vt"}, InputError, "mask='vt' is of the version 'openfmri_25mm'; .*'oneslice' has brain"),
    ],
)
def test_wrong_choices(real_data: Path, options: dict[str, str], error: type, text: str) -> None:
    """Versions and masks that do not exist, or not together, are refused with those that do."""
    with pytest.raises(error, match=text):
        load(real_data, **options)


FILES = [
    ("oneslice", "oneslice/bold.nii.gz"),
    ("oneslice", "oneslice/mask.nii.gz"),
    ("oneslice", "oneslice/attributes_literal.txt"),
    ("openfmri_slice", RUN1 + "bold_1slice.nii.gz"),
    ("openfmri_slice", RUN1 + "bold_events.tsv"),
    ("openfmri_slice", RUN1 + "bold_moest.txt"),
    ("openfmri_25mm", RUN1.replace("run001", "run012") + "bold_25mm.nii.gz"),
    ("openfmri_25mm", "openfmri/sub001/masks/25mm/vt.nii.gz"),
]


@pytest.mark.parametrize(("version", "name"), FILES)
def test_each_file_is_verified(own_root: Path, version: str, name: str) -> None:
    """A flipped bit, a cut, another run's file, nothing, a pointer and a page are refused by name."""
    path = own_root / "haxby2001" / name
    content = path.read_bytes()
    middle = len(content) // 2
    other = "openfmri/sub001/BOLD/task001_run005/" + path.name
    swapped = (own_root / "haxby2001" / other).read_bytes() if "BOLD" in name else content[::-1]
    damages = [
        (content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :], "has .* bytes and sha256"),
        (content[:-7], "has .* bytes and sha256"),
        (swapped, "has .* bytes and sha256"),
        (b"", "is empty"),
        (b"../../.git/annex/objects/aa/bb/SHA256E-s1--0\n", "is a git-annex pointer without its content"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer without its content"),
        (b"<html><body>Sign in</body></html>", "is an? .*HTML"),
    ]
    try:
        for damaged, text in damages:
            path.write_bytes(damaged)
            with pytest.raises(CorruptFileError, match=f"{path.parent.name}/{path.name} {text}"):
                load(own_root, version=version)
        path.unlink()
        with pytest.raises(
            DataNotFoundError, match=f"{path.name} does not exist. .*datasets fetch haxby2001"
        ):
            load(own_root, version=version)
    finally:
        path.write_bytes(content)


def test_card_names_where_each_file_is() -> None:
    """56 files; the runs share file names, and each has the path that the source has."""
    source = {f.name: f.source_path for f in dl.describe("haxby2001").files}
    assert len(source) == 56
    assert source["oneslice/bold.nii.gz"] == "bold.nii.gz"
    assert source[RUN1 + "bold_events.tsv"] == "haxby2001/sub001/BOLD/task001_run001/bold_events.tsv"
