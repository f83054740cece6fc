"""mne_file: real recordings of every format, epochs around their events, faults planted in their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

import data_loaders as dl
from brainalign.errors import AlignmentError, InputError, UnknownNameError

pytestmark = pytest.mark.real

# file: (channels, samples) with picks="all", rate [Hz], annotations or None, {channel type: how many}
RAW = {
    "ctf_comp_raw.fif": ((340, 241), 480.0, {"mag": 274, "ref_meg": 29}),
    "kit/test.sqd": ((193, 2000), 1000.0, {"mag": 157, "ref_meg": 3}),
    "bti/test_pdf_linux": ((280, 305), 1017.25, {"mag": 248, "ref_meg": 23}),
    "bti/exported4D_linux_raw.fif": ((250, 305), 1017.25, {"mag": 248}),
    "brainvision/test.vhdr": ((32, 7900), 1000.0, {"eeg": 26}),
    "edf/test.edf": ((139, 3072), 512.0, {"eeg": 138}),
    "edf/test.bdf": ((73, 2048), 2048.0, {"eeg": 72}),
}
# spread of the middle sensor: EEG some microvolt, MEG some hundred femtotesla
SPREAD = {"eeg": ("V", 5e-6, 1e-4), "mag": ("T", 5e-14, 1e-12)}


@pytest.fixture
def formats(real_data: Path) -> Path:
    return real_data / "meeg_formats"


@pytest.fixture
def copy(formats: Path, tmp_path: Path) -> Path:
    """A copy of the files that can be damaged."""
    for folder in (formats, formats / "edf", formats / "brainvision", formats / "bti", formats / "kit"):
        for source in folder.iterdir():
            if source.is_file():
                target = tmp_path / source.relative_to(formats)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
    return tmp_path


@pytest.mark.parametrize("name", RAW)
def test_every_format_has_its_shape_rate_and_channels(
    formats: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """All channels of a raw recording are read, one sample a time point, at the published rate, silently."""
    shape, rate, types = RAW[name]
    ds = dl.load("mne_file", path=formats / name, picks="all")
    responses = ds.responses
    assert responses.shape == shape[::-1]
    assert responses.info["sampling_rate"] == pytest.approx(rate)
    assert (responses.info["design"], ds.info["design"]) == ("continuous", "continuous")
    counts = responses.units.ch_type.value_counts().to_dict()
    assert {kind: counts[kind] for kind in types} == types
    np.testing.assert_allclose(responses.samples.onset, np.arange(shape[1]) / rate)
    assert set(responses.samples.run) == {"1"}
    assert ds.info["warnings"] == responses.info["warnings"] == []
    assert np.isfinite(responses.values).all()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", RAW)
def test_sensors_alone_are_the_default_and_are_in_si_units(formats: Path, name: str) -> None:
    """Reference and stimulus channels are left out; MEG is in tesla, EEG in volt, as large as brains are."""
    responses = dl.load("mne_file", path=formats / name).responses
    kind = "eeg" if "eeg" in RAW[name][2] else "mag"
    assert set(responses.units.ch_type) == {kind}
    assert responses.n_units == RAW[name][2][kind]
    unit, low, high = SPREAD[kind]
    assert set(responses.units.unit) == {unit}
    assert low < np.median(responses.values.std(axis=0)) < high


@pytest.mark.parametrize(("name", "n"), [("brainvision/test.vhdr", 13), ("edf/test.edf", 5)])
def test_annotations_are_the_events(formats: Path, name: str, n: int) -> None:
    """Every annotation is listed with its onset, duration, and name, inside of the recording."""
    ds = dl.load("mne_file", path=formats / name, run="7", subject="S1")
    events = ds.info["events"]
    assert {len(column) for column in events.values()} == {n}
    assert set(events["run"]) == set(ds.responses.samples.run) == {"7"}
    assert set(ds.responses.samples.subject) == {"S1"}
    annotations = mne.io.read_raw(formats / name, verbose="ERROR").annotations
    np.testing.assert_allclose(events["onset"], annotations.onset, atol=1e-3)
    assert events["condition"] == list(annotations.description)


def test_epochs_are_cut_around_the_chosen_events(formats: Path) -> None:
    """Chosen annotations become trials whose values are those of the raw recording around them."""
    path = formats / "brainvision/test.vhdr"
    names = ["Event/254", "Stimulus/S253"]
    ds = dl.load("mne_file", path=path, events=names, tmin=-0.1, tmax=0.3)
    responses = ds.responses
    assert responses.shape == (5, 26, 401)
    assert responses.info["design"] == "trials"
    assert list(responses.samples.condition) == [names[1], names[0], names[0], names[1], names[0]]
    np.testing.assert_allclose(responses.samples.onset, [0.486, 1.769, 3.252, 4.935, 6.619])
    raw = mne.io.read_raw(path, verbose="ERROR").pick("eeg").get_data()
    np.testing.assert_allclose(responses.values[1], raw[:, 1769 - 100 : 1769 + 301], atol=1e-15)
    corrected = dl.load("mne_file", path=path, events=names, tmin=-0.1, tmax=0.3, baseline=(None, 0.0))
    assert np.abs(corrected.responses.values[:, :, :101].mean(axis=2)).max() < 1e-11
    assert "mean of the start to 0 s subtracted" in corrected.info["preparation"][0]


@pytest.mark.parametrize("dated", [True, False])
def test_onsets_count_from_the_first_sample_that_is_there(
    real_data: Path, tmp_path: Path, dated: bool
) -> None:
    """A recording cut at its start, with a date or without, has its events where its samples are."""
    raw = mne.io.read_raw(real_data / "eeglab_sample" / "eeglab_data.set", preload=True, verbose="ERROR")
    raw.set_meas_date(1.5e9 if dated else None)
    expected = raw.annotations.onset[raw.annotations.onset > 2.0] - 2.0
    raw.crop(tmin=2.0).save(tmp_path / "cut_raw.fif", fmt="double", verbose="ERROR")
    ds = dl.load("mne_file", path=tmp_path / "cut_raw.fif")
    np.testing.assert_allclose(ds.info["events"]["onset"], expected, atol=1 / 128)
    trials = dl.load("mne_file", path=tmp_path / "cut_raw.fif", events=["square"], tmax=0.5).responses
    sample = round(trials.samples.onset.iloc[3] * 128)
    np.testing.assert_allclose(trials.values[3, :, 26], ds.responses.values[sample], atol=1e-15)


def test_codes_of_the_stimulus_channel_are_events(formats: Path) -> None:
    """Without annotations the codes of the stimulus channel are the names."""
    path = formats / "edf/test.bdf"
    codes = dl.load("mne_file", path=path).info["events"]["condition"]
    found = mne.find_events(mne.io.read_raw(path, verbose="ERROR"), shortest_event=1, verbose="ERROR")
    assert codes == [str(code) for code in found[:, 2]]
    trials = dl.load("mne_file", path=path, events=codes[:1], tmin=-0.01, tmax=0.05).responses
    assert set(trials.samples.condition) == {codes[0]}


def test_evoked_responses_peak_as_published(formats: Path) -> None:
    """Four conditions; global field power of the gradiometers over its baseline, and when it peaks."""
    ds = dl.load("mne_file", path=formats / "sample_audvis-ave.fif.gz", picks="all")
    responses = ds.responses
    assert responses.shape == (4, 376, 421)
    assert responses.info["sampling_rate"] == pytest.approx(600.61, abs=0.01)
    assert list(responses.samples.n_averaged) == [3, 6, 6, 6]
    assert responses.units.ch_type.value_counts().to_dict()["grad"] == 204
    units = responses.units.groupby("ch_type").unit.first().to_dict()
    assert (units["grad"], units["mag"], units["eeg"]) == ("T/m", "T", "V")
    published = {
        "Left Auditory": (3.02, 0.155),
        "Right Auditory": (2.86, None),
        "Left visual": (2.81, 0.190),
        "Right visual": (3.33, 0.166),
    }
    assert list(responses.samples.condition) == list(published)
    grad = (responses.units.ch_type == "grad").to_numpy()
    power = np.sqrt((responses.values[:, grad] ** 2).mean(axis=1))
    window = np.flatnonzero((responses.times >= 0.05) & (responses.times <= 0.2))
    for row, (ratio, time) in zip(power, published.values(), strict=True):
        at = window[row[window].argmax()]
        assert row[at] / row[responses.times < 0].mean() == pytest.approx(ratio, abs=0.006)
        assert time is None or responses.times[at] == pytest.approx(time, abs=0.001)


def test_epochs_of_a_file(real_data: Path, tmp_path: Path) -> None:
    """Epochs stored as EEGLAB .set, and written by MNE as .fif, are the samples; MNE's remarks are kept."""
    path = real_data / "eeglab_sample" / "eeglab_data_epochs_ica.set"
    ds = dl.load("mne_file", path=path)
    assert ds.responses.shape == (80, 30, 384)
    assert any("multiple events" in text for text in ds.info["warnings"])
    raw = mne.io.read_raw(real_data / "eeglab_sample" / "eeglab_data.set", verbose="ERROR")
    events, ids = mne.events_from_annotations(raw, verbose="ERROR")
    epochs = mne.Epochs(raw, events, ids, -0.1, 0.2, baseline=None, preload=True, verbose="ERROR")
    epochs.save(tmp_path / "own-epo.fif", verbose="ERROR")
    stored = dl.load("mne_file", path=tmp_path / "own-epo.fif", run="2").responses
    np.testing.assert_allclose(stored.values, epochs.get_data(), rtol=1e-6)
    assert stored.samples.condition.value_counts().to_dict() == {"square": 80, "rt": 74}
    assert set(stored.samples.run) == {"2"}


def test_filter_is_that_of_mne_on_the_whole_recording(real_data: Path) -> None:
    """Band, baseline and events together give the published P300 from the user's side."""
    ds = dl.load(
        "mne_file",
        path=real_data / "eeglab_sample" / "eeglab_data.set",
        events=["square"],
        high_pass_hz=1.0,
        low_pass_hz=30.0,
        baseline=(-0.2, 0.0),
    )
    pz = ds.responses.values[:, ds.responses.units.index.get_loc("Pz")].mean(axis=0)
    assert 1e6 * pz[ds.responses.times > 0.2].max() == pytest.approx(26.87, abs=0.01)
    assert ds.info["preparation"][0].startswith("1 to 30 Hz, FIR filter")


def test_raw_fif_of_any_name_and_short_filter_warning(formats: Path, tmp_path: Path) -> None:
    """A name that MNE does not like is no warning; a filter longer than the recording is one, and is kept."""
    path = tmp_path / "session one.fif"
    shutil.copyfile(formats / "ctf_comp_raw.fif", path)
    assert dl.load("mne_file", path=path).info["warnings"] == []
    said = dl.load("mne_file", path=path, high_pass_hz=0.5).info["warnings"]
    assert any("filter_length" in text for text in said)


def test_options_that_do_not_fit(formats: Path) -> None:
    """Unknown events and channels are listed, and options of raw recordings are refused for averages."""
    path = formats / "brainvision/test.vhdr"
    with pytest.raises(UnknownNameError, match=r"'Event/255' does not exist; closest: 'Event/254'"):
        dl.load("mne_file", path=path, events=["Event/255"])
    with pytest.raises(InputError, match=r"events=\[\] names no event"):
        dl.load("mne_file", path=path, events=[])
    with pytest.raises(InputError, match=r"events='Event/254' is text; expected a list"):
        dl.load("mne_file", path=path, events="Event/254")
    with pytest.raises(InputError, match=r"picks='grad'.*32 channels of the types eeg, misc, first 'FP1'"):
        dl.load("mne_file", path=path, picks="grad")
    with pytest.raises(InputError, match=r"low_pass_hz=600 must lie between 0 and 500 Hz"):
        dl.load("mne_file", path=path, low_pass_hz=600)
    with pytest.raises(InputError, match=r"tmin=1 s is not before"):
        dl.load("mne_file", path=path, events=["Event/254"], tmin=1)
    with pytest.raises(InputError, match=r"no epoch is left \(3 too close"):
        dl.load("mne_file", path=path, events=["Event/254"], tmax=10)
    averages = formats / "sample_audvis-ave.fif.gz"
    with pytest.raises(InputError, match=r"events=\['x'\]: .* holds evoked responses, which are cut already"):
        dl.load("mne_file", path=averages, events=["x"])


def test_two_events_on_one_sample(copy: Path) -> None:
    """One epoch cannot have two conditions."""
    markers = copy / "brainvision/test.vmrk"
    text = markers.read_text(encoding="utf-8").replace("S255,497,1,0", "S255,487,1,0")
    markers.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"two of the chosen events lie on one sample, 0.486 s"):
        dl.load(
            "mne_file", path=copy / "brainvision/test.vhdr", events=["Stimulus/S253", "Stimulus/S255"], tmin=0
        )


def test_averages_that_cannot_be_stacked(formats: Path, tmp_path: Path) -> None:
    """Conditions over other times, and files of standard errors alone, are refused by name."""
    left, right = mne.read_evokeds(formats / "sample_audvis-ave.fif.gz", verbose="ERROR")[:2]
    mne.write_evokeds(tmp_path / "other-ave.fif", [left, right.crop(tmax=0.3)], verbose="ERROR")
    with pytest.raises(AlignmentError, match=r"'Right Auditory' has other times than 'Left Auditory'"):
        dl.load("mne_file", path=tmp_path / "other-ave.fif")
    left.kind = "standard_error"
    mne.write_evokeds(tmp_path / "errors-ave.fif", left, verbose="ERROR")
    with pytest.raises(InputError, match=r"'Left Auditory' is a standard_error; expected averages"):
        dl.load("mne_file", path=tmp_path / "errors-ave.fif")


def test_named_channels_keep_their_order_in_time(formats: Path) -> None:
    """A list of names picks those channels."""
    responses = dl.load("mne_file", path=formats / "brainvision/test.vhdr", picks=["Cz", "FP1"]).responses
    assert set(responses.units.index) == {"Cz", "FP1"}
