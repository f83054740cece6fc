"""eeglab_sample: the real recording, whole, cut around its events, and as its source cut it."""

from __future__ import annotations

import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, UnknownNameError
from brainalign.types import Responses
from data_loaders.eeglab_sample import CARD, EOG

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def squares(real_data: Path) -> Responses:
    """The epochs around the squares, with the defaults."""
    responses = dl.load("eeglab_sample", root=real_data).responses
    assert responses is not None
    return responses


@pytest.fixture(scope="module")
def whole(real_data: Path) -> Responses:
    """The whole recording, not filtered."""
    ds = dl.load("eeglab_sample", root=real_data, version="continuous", high_pass_hz=None, low_pass_hz=None)
    assert ds.responses is not None
    return ds.responses


@pytest.mark.parametrize(
    ("channel", "microvolt", "time"),
    [("Pz", 26.87, 0.430), ("Cz", 26.43, 0.414), ("POz", 21.68, 0.430), ("Oz", 11.85, 0.438)],
)
def test_p300_is_the_published_one(squares: Responses, channel: str, microvolt: float, time: float) -> None:
    """The mean response to the squares peaks where and as high as published, in volt."""
    mean = squares.values[:, squares.units.index.get_loc(channel)].mean(axis=0)
    late = np.flatnonzero((squares.times > 0.2) & (squares.times < 0.7))
    at = late[mean[late].argmax()]
    assert 1e6 * mean[at] == pytest.approx(microvolt, abs=0.006)
    assert squares.times[at] == pytest.approx(time, abs=0.001)


def test_epochs_have_their_onsets_channels_and_events(squares: Responses) -> None:
    """80 squares with their onsets; 30 scalp channels with places and 2 EOG channels without."""
    assert squares.shape == (80, 32, 129)
    assert (squares.times[0], squares.times[-1]) == pytest.approx((-26 / 128, 102 / 128))
    samples, units = squares.samples, squares.units
    assert set(samples.condition) == {"square"}
    assert samples.onset.iloc[0] == pytest.approx(1.0)
    assert samples.onset.is_monotonic_increasing
    assert set(samples.run) == set(samples.subject) == {"1"}
    assert units.ch_type.value_counts().to_dict() == {"eeg": 30, "eog": 2}
    assert list(units.index[units.ch_type == "eog"]) == list(EOG)
    assert set(units.unit) == {"V"}
    scalp = units[units.ch_type == "eeg"]
    assert scalp[["x", "y", "z"]].notna().all().all()
    assert units.loc["C3", "x"] < 0 < units.loc["C4", "x"]
    assert units.loc["Oz", "y"] < 0 < units.loc["FPz", "y"]
    events = squares.info["events"]
    assert (events["condition"].count("square"), events["condition"].count("rt")) == (80, 74)
    assert set(events["run"]) == {"1"}
    assert squares.info["dropped"] == {}


def test_whole_recording_is_the_file(whole: Responses, real_data: Path) -> None:
    """Unfiltered, every value is that of the .fdt file (microvolt), and the range is the published one."""
    stored = np.fromfile(real_data / "eeglab_sample" / "eeglab_data.fdt", "<f4").reshape(30504, 32)
    assert whole.shape == (30504, 32)
    np.testing.assert_allclose(whole.values, stored * 1e-6, rtol=1e-6, atol=1e-12)
    assert (round(1e6 * whole.values.min()), round(1e6 * whole.values.max())) == (-371, 535)
    assert (whole.info["design"], whole.info["sampling_rate"]) == ("continuous", 128.0)
    np.testing.assert_allclose(whole.samples.onset, np.arange(30504) / 128)
    assert max(whole.info["events"]["onset"]) < 30504 / 128


def test_epochs_of_the_source_are_pieces_of_the_recording(real_data: Path, whole: Responses) -> None:
    """Each of the source's 80 epochs, the mean before its square aside, is the recording at its onset."""
    epochs = dl.load("eeglab_sample", root=real_data, version="ica_epochs").responses
    assert epochs.shape == (80, 32, 384)
    assert (epochs.times[0], epochs.times[-1]) == pytest.approx((-1.0, 1.992), abs=0.001)
    assert set(epochs.samples.condition) == {"square"}
    assert epochs.units.ch_type.value_counts().to_dict() == {"eeg": 30, "eog": 2}
    for row in (0, 17, 40, 78):
        start = round(epochs.samples.onset.iloc[row] * 128) - 128
        piece = whole.values[start : start + 384].T
        offset = piece - epochs.values[row]
        np.testing.assert_allclose(epochs.values[row][:, :128].mean(axis=1), 0.0, atol=1e-10)
        np.testing.assert_allclose(offset, offset[:, :1].repeat(384, axis=1), atol=2e-10)


def test_button_presses_are_an_event_too(real_data: Path) -> None:
    """74 epochs around the button press, later than the squares; without a baseline none is subtracted."""
    ds = dl.load("eeglab_sample", root=real_data, event="rt", baseline=None)
    assert ds.responses.shape == (74, 32, 129)
    assert set(ds.responses.samples.condition) == {"rt"}
    assert ds.responses.samples.onset.iloc[0] == pytest.approx(2.0824, abs=1 / 128)
    assert not any("subtracted" in words for words in ds.info["preparation"])


def test_same_steps_written_in_mne_give_the_same_numbers(real_data: Path, squares: Responses) -> None:
    """The same steps written in MNE give the same numbers, EOG channels included."""
    raw = mne.io.read_raw_eeglab(
        real_data / "eeglab_sample" / "eeglab_data.set", preload=True, verbose="ERROR"
    )
    raw.filter(1.0, 30.0, picks="all", verbose="ERROR")
    events, ids = mne.events_from_annotations(raw, verbose="ERROR")
    epochs = mne.Epochs(
        raw, events, ids["square"], -0.2, 0.8, baseline=(-0.2, 0), preload=True, verbose="ERROR"
    )
    np.testing.assert_allclose(squares.values, epochs.get_data(), atol=1e-12)


def test_epochs_that_leave_the_recording_are_counted(real_data: Path) -> None:
    """A window longer than what is left at the ends drops those epochs, by reason."""
    ds = dl.load("eeglab_sample", root=real_data, tmin=-5.0, tmax=5.0, baseline=None)
    n = ds.info["dropped"]["too close to the start or end of the recording"]
    assert n > 0
    assert ds.responses.n_samples == 80 - n
    with pytest.raises(InputError, match=r"no epoch is left \(80 too close to the start"):
        dl.load("eeglab_sample", root=real_data, tmin=-300.0, baseline=None)


def test_wrong_names_and_options(real_data: Path) -> None:
    """An unknown version or event, and a band that 128 Hz cannot hold, are refused."""
    with pytest.raises(UnknownNameError, match=r"version of 'eeglab_sample'.*closest: 'epochs'"):
        dl.load("eeglab_sample", root=real_data, version="epoch")
    with pytest.raises(UnknownNameError, match=r"event of 'eeglab_sample'.*closest: 'square'"):
        dl.load("eeglab_sample", root=real_data, event="squares")
    with pytest.raises(InputError, match=r"low_pass_hz=64.0 must lie between 0 and 64 Hz"):
        dl.load("eeglab_sample", root=real_data, low_pass_hz=64.0)
    with pytest.raises(InputError, match=r"baseline=\(-0.2, 0.0\) s must run forward"):
        dl.load("eeglab_sample", root=real_data, tmin=0.0)


@pytest.mark.parametrize("name", ["eeglab_data.set", "eeglab_data.fdt"])
def test_damaged_or_absent_file_is_named(real_data: Path, tmp_path: Path, name: str) -> None:
    """A changed byte, a cut file and an absent one are named before anything is parsed."""
    folder = tmp_path / "eeglab_sample"
    folder.mkdir()
    for file in CARD.files[:2]:
        shutil.copyfile(real_data / "eeglab_sample" / file.name, folder / file.name)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 3] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=f"{name} has .* sha256 .*; expected"):
        dl.load("eeglab_sample", root=tmp_path)
    (folder / name).write_bytes(bytes(content[:-1]))
    with pytest.raises(CorruptFileError, match=f"{name} has .* sha256"):
        dl.load("eeglab_sample", root=tmp_path)
    (folder / name).unlink()
    with pytest.raises(DataNotFoundError, match=f"{name} does not exist.*datasets fetch eeglab_sample"):
        dl.load("eeglab_sample", root=tmp_path)
