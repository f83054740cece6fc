"""Real recordings: volumes of haxby2001, every M/EEG format, EEGLAB, with the figures of their documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import mne
import nibabel
import numpy as np
import pytest

from brainalign.errors import AlignmentError, InputError
from brainalign.types import Responses, Scores
from brainalign.types._geometry import geometry_of

pytestmark = pytest.mark.real


def haxby(real_data: Path) -> Path:
    return real_data / "haxby2001"


def test_oneslice_is_what_nibabel_reads(real_data: Path) -> None:
    """530 voxels x 1452 volumes in 12 runs of 302.5 s, equal to the array, with the affine of the file."""
    folder = haxby(real_data) / "oneslice"
    runs = np.loadtxt(folder / "attributes.txt")[:, 1].astype(int) + 1
    r = Responses.from_nifti(folder / "bold.nii.gz", folder / "mask.nii.gz", run=runs, subject="001")
    assert r.shape == (1452, 530)
    source = nibabel.load(folder / "bold.nii.gz")
    inside = nibabel.load(folder / "mask.nii.gz").get_fdata() > 0
    np.testing.assert_array_equal(r.values, source.get_fdata()[inside].T)
    np.testing.assert_allclose(r.info["affine"], source.affine, atol=1e-4)
    expected = nibabel.affines.apply_affine(source.affine, np.argwhere(inside))
    np.testing.assert_allclose(r.units[list("xyz")], expected, atol=1e-4)
    assert r.info["repetition_time"] == 2.5
    assert r.samples["run"].value_counts().to_dict() == {str(n): 121 for n in range(1, 13)}
    assert r.samples.groupby("run")["onset"].max().unique().tolist() == [300.0]
    # what was recorded left of the middle is left in the map
    made = Scores(r.units["x"].to_numpy(), r.units, info=geometry_of(r.info)).to_nifti()
    np.testing.assert_allclose(made.affine, source.affine, atol=1e-4)
    i, j, k = np.argwhere(np.isfinite(made.get_fdata()))[7]
    x = nibabel.affines.apply_affine(made.affine, (i, j, k))[0]
    assert made.get_fdata()[i, j, k] == pytest.approx(x, abs=1e-4)


def test_openfmri_runs_with_their_events(real_data: Path) -> None:
    """Twelve files and twelve tables: eight categories, nine volumes each per run, 129 brain voxels."""
    folders = sorted((haxby(real_data) / "openfmri" / "sub001" / "BOLD").glob("task001_run*"))
    masks = haxby(real_data) / "openfmri" / "sub001" / "masks" / "25mm"
    r = Responses.from_nifti(
        [f / "bold_25mm.nii.gz" for f in folders],
        masks / "brain.nii.gz",
        [f / "bold_events.tsv" for f in folders],
        rois={name: masks / f"{name}.nii.gz" for name in ("gray", "white", "vt", "hoc")},
    )
    assert r.shape == (1452, 129)
    assert {n: int(r.units[f"roi_{n}"].sum()) for n in ("gray", "white", "vt")} == {
        "gray": 28,
        "white": 34,
        "vt": 1,
    }
    assert r.units["roi_hoc"].notna().sum() == 45
    assert set(r.samples["condition"].value_counts()) == {108}
    assert len(r.info["events"]["onset"]) == 12 * 8
    assert sorted(set(r.info["events"]["condition"]))[:2] == ["bottle", "cat"]


def test_real_events_of_another_length_are_refused(real_data: Path) -> None:
    """Half the repetition time is refused by the header, and without it by the events; a flip by the mask."""
    run = haxby(real_data) / "openfmri" / "sub001" / "BOLD" / "task001_run001"
    path, events = run / "bold_1slice.nii.gz", run / "bold_events.tsv"
    with pytest.raises(InputError, match="says 2.5 s between volumes, repetition_time=1.25"):
        Responses.from_nifti(path, events=events, repetition_time=1.25)
    source = nibabel.load(path)
    silent = nibabel.Nifti1Image(np.asarray(source.dataobj), source.affine)
    with pytest.raises(AlignmentError, match="of 8 events do not fit"):
        Responses.from_nifti(silent, events=events, repetition_time=1.25)
    mask = nibabel.load(haxby(real_data) / "oneslice" / "mask.nii.gz")
    flipped = nibabel.Nifti1Image(mask.get_fdata(), np.diag([-1, 1, 1, 1]) @ mask.affine)
    with pytest.raises(AlignmentError, match="left-right flip"):
        Responses.from_nifti(path, flipped)


def readers(folder: Path) -> dict[str, Any]:
    """How each recording of the folder is opened."""
    bti = {"config_fname": folder / "bti/test_config_linux", "head_shape_fname": folder / "bti/test_hs_linux"}
    return {
        "ctf": lambda: folder / "ctf_comp_raw.fif",
        "kit": lambda: mne.io.read_raw_kit(folder / "kit/test.sqd", verbose="ERROR"),
        "bti": lambda: mne.io.read_raw_bti(folder / "bti/test_pdf_linux", **bti, verbose="ERROR"),
        "bti_fif": lambda: folder / "bti/exported4D_linux_raw.fif",
        "brainvision": lambda: mne.io.read_raw_brainvision(folder / "brainvision/test.vhdr", verbose="ERROR"),
        "edf": lambda: mne.io.read_raw_edf(folder / "edf/test.edf", verbose="ERROR"),
        "bdf": lambda: mne.io.read_raw_bdf(folder / "edf/test.bdf", verbose="ERROR"),
        "evoked": lambda: folder / "sample_audvis-ave.fif.gz",
    }


@pytest.mark.parametrize(
    ("name", "shape", "rate", "units", "n_events"),
    [
        ("ctf", (241, 340), 480.0, {"mag": 274}, 0),
        ("kit", (2000, 193), 1000.0, {"mag": 157}, 0),
        ("bti", (305, 280), 1017.25, {"mag": 248}, 0),
        ("bti_fif", (305, 250), 1017.25, {"mag": 248}, 0),
        ("brainvision", (7900, 32), 1000.0, {"eeg": 26}, 13),
        ("edf", (3072, 139), 512.0, {"eeg": 138}, 5),
        ("bdf", (2048, 73), 2048.0, {"eeg": 72}, 0),
        ("evoked", (4, 376, 421), 600.615, {"grad": 204, "mag": 102, "eeg": 60}, 0),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning:mne")
def test_every_format(
    real_data: Path, name: str, shape: tuple[int, ...], rate: float, units: dict[str, int], n_events: int
) -> None:
    """Each file has the shape, rate, units and events of its document; all channels, and the brain's."""
    unit_of = {"mag": "T", "grad": "T/m", "eeg": "V"}
    whole = Responses.from_mne(readers(real_data / "meeg_formats")[name](), picks="all")
    assert whole.shape == shape
    r = Responses.from_mne(readers(real_data / "meeg_formats")[name]())
    assert r.units["ch_type"].value_counts().to_dict() == units
    assert dict(zip(r.units["ch_type"], r.units["unit"], strict=True)) == {t: unit_of[t] for t in units}
    assert r.info["sampling_rate"] == pytest.approx(rate, abs=1e-3)
    assert r.info["coordinate_frame"] == "head"
    assert len(r.info.get("events", {"onset": []})["onset"]) == n_events
    if name in ("ctf", "kit", "bti", "bti_fif"):
        distance = np.sqrt((r.units[list("xyz")] ** 2).sum(axis=1))
        assert distance.between(50, 250).all()
    opened = readers(real_data / "meeg_formats")[name]()
    spoilt = _times(_opened(opened) if isinstance(opened, Path) else opened, 1e6)
    with pytest.raises(InputError, match="stored as"):
        Responses.from_mne(spoilt)


def _opened(path: Path) -> Any:
    if "-ave" in path.name:
        return mne.read_evokeds(path, verbose="ERROR")
    return mne.io.read_raw_fif(path, verbose="ERROR")


def _times(instance: Any, factor: float) -> Any:
    """The recording with every value in another unit."""
    for part in instance if isinstance(instance, list) else [instance]:
        if isinstance(part, mne.Evoked):
            part.data = part.data * factor
        else:
            part.load_data(verbose="ERROR")
            part._data *= factor
    return instance


def test_evoked_peaks(real_data: Path) -> None:
    """Global field power of the gradiometers peaks where, and as high as, the document says."""
    r = Responses.from_mne(real_data / "meeg_formats" / "sample_audvis-ave.fif.gz", picks="grad")
    assert r.samples["condition"].tolist() == [
        "Left Auditory",
        "Right Auditory",
        "Left visual",
        "Right visual",
    ]
    assert r.samples["n_averaged"].tolist() == [3, 6, 6, 6]
    power = np.sqrt((r.array().astype(float) ** 2).mean(axis=1))
    window = (r.times >= 0.05) & (r.times <= 0.2)
    ratio = power[:, window].max(axis=1) / power[:, r.times < 0].mean(axis=1)
    peak = r.times[window][power[:, window].argmax(axis=1)]
    np.testing.assert_allclose(ratio, [3.02, 2.86, 2.81, 3.33], atol=0.006)
    np.testing.assert_allclose(peak[[0, 2, 3]], [0.155, 0.190, 0.166], atol=0.002)


def test_topographies_of_real_sensors_plot(real_data: Path) -> None:
    """Scores of 366 MEG and EEG sensors come back in their places and are drawn for every type."""
    matplotlib.use("Agg")
    path = real_data / "meeg_formats" / "sample_audvis-ave.fif.gz"
    r = Responses.from_mne(path)
    values = r.units["x"].to_numpy()[:, None] * [1.0, 2.0]
    made = Scores(values, r.units, info={**geometry_of(r.info), "times": [0.0, 0.1]}).to_mne()
    again = Responses.from_mne(made, check_amplitude=False)
    np.testing.assert_allclose(again.units[list("xyz")], r.units[list("xyz")], atol=1e-3)
    for kind in ("mag", "grad", "eeg"):
        figure = made.plot_topomap([0.0], ch_type=kind, scalings=1, units="r", show=False, colorbar=False)
        matplotlib.pyplot.close(figure)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:mne")
def test_eeglab(real_data: Path) -> None:
    """32 electrodes at 128 Hz for 238.3 s, 154 events, values in volt; P300 at Pz as the document says."""
    folder = real_data / "eeglab_sample"
    source = mne.io.read_raw_eeglab(folder / "eeglab_data.set", verbose="ERROR")
    r = Responses.from_mne(source, duration=238.3125)
    assert r.shape == (30504, 32)
    assert r.info["sampling_rate"] == 128
    conditions = r.info["events"]["condition"]
    assert (conditions.count("square"), conditions.count("rt")) == (80, 74)
    assert (float(r.values.min()), float(r.values.max())) == pytest.approx((-371e-6, 535e-6), abs=1e-6)
    assert r.units[list("xyz")].notna().all(axis=None)
    assert r.units.loc["C3", "x"] < 0 < r.units.loc["C4", "x"]
    with pytest.raises(InputError, match="lasts 238.312 s by its sampling rate of 128 Hz"):
        Responses.from_mne(source, duration=238.3125 * 1.001)
    source.load_data(verbose="ERROR").filter(1, 30, verbose="ERROR")
    events, codes = mne.events_from_annotations(source, verbose="ERROR")
    cut = mne.Epochs(
        source, events, {"square": codes["square"]}, -0.2, 0.8, baseline=(-0.2, 0), verbose="ERROR"
    )
    e = Responses.from_mne(cut)
    assert e.n_samples == 80
    wave = 1e6 * e.array()[:, list(e.units.index).index("Pz")].mean(axis=0)
    assert wave.max() == pytest.approx(26.87, abs=0.05)
    assert e.times[wave.argmax()] == pytest.approx(0.430, abs=0.004)
    stored = mne.io.read_epochs_eeglab(folder / "eeglab_data_epochs_ica.set", verbose="ERROR")
    assert Responses.from_mne(stored, picks="all").shape == (80, 32, 384)
