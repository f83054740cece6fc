"""Sensors to responses: units, positions, times, events and conditions of Raw, Epochs and Evoked."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from sensor_cases import NAMES, PLACES, RATE, epochs, evoked, noise, raw, sensor_info

from brainalign.types import Responses

MARKS = ([1.0, 2.5, 3.0], [0.5, 0.0, 0.2], ["face", "click", "BAD_blink"])


def test_raw_is_continuous() -> None:
    """Samples are rows in volt, with onsets from the first sample; annotations are events, bad ones apart."""
    source = raw(annotations=MARKS)
    r = Responses.from_mne(source, subject="01", session=2)
    assert r.shape == (500, 4)
    assert r.values.dtype == np.float32
    np.testing.assert_allclose(r.values.T, source.get_data(), rtol=1e-6)
    np.testing.assert_allclose(r.samples["onset"], np.arange(500) / RATE)
    assert r.samples["condition"].tolist()[99:151] == [None] + ["face"] * 50 + [None]
    assert (r.info["design"], r.info["unit"], r.info["sampling_rate"]) == ("continuous", "V", RATE)
    assert r.info["events"] == {
        "run": ["1", "1"],
        "session": ["2", "2"],
        "onset": [1.0, 2.5],
        "duration": [0.5, 0.0],
        "condition": ["face", "click"],
    }
    assert r.info["bad_stretches"] == {"onset": [3.0], "duration": [0.2], "condition": ["BAD_blink"]}
    assert (r.info["high_pass_hz"], r.info["low_pass_hz"]) == (0.0, 50.0)
    assert Responses.from_mne(raw(), design="blocks", run="7").samples["run"].tolist()[0] == "7"


@pytest.mark.parametrize("dated", [False, True])
def test_onsets_count_from_the_first_sample(dated: bool) -> None:
    """A recording that was cut from a longer one keeps its events where they are in the cut."""
    source = raw(first_samp=1000)
    if dated:
        source.set_meas_date(1e9)
    source.set_annotations(mne.Annotations([1.0], [0.5], ["face"], orig_time=None))
    expected = Responses.from_mne(source)
    assert expected.info["events"]["onset"] == pytest.approx([1.0])
    cut = Responses.from_mne(source.copy().crop(0.75, 3))
    assert cut.info["events"]["onset"] == pytest.approx([0.25])
    assert cut.samples["condition"].tolist().index("face") == 25


def test_positions_are_mm_in_the_head_frame() -> None:
    """EEG as the montage says; MEG moved from the device to the head; unknown places are NaN."""
    r = Responses.from_mne(raw())
    np.testing.assert_allclose(r.units[list("xyz")], 1e3 * PLACES)
    assert r.units["ch_type"].tolist() == ["eeg"] * 4
    assert r.units.loc["C3", "x"] < 0 < r.units.loc["C4", "x"]
    assert r.info["coordinate_frame"] == "head"
    assert Responses.from_mne(raw(placed=False)).units[list("xyz")].isna().all(axis=None)
    meg = mne.io.RawArray(noise(4, 500, scale=1e-12), sensor_info("mag"), verbose="ERROR")
    move = np.eye(4)
    move[:3, 3] = [0.001, 0.002, 0.003]
    meg.info["dev_head_t"] = mne.transforms.Transform("meg", "head", move)
    moved = Responses.from_mne(meg)
    np.testing.assert_allclose(moved.units[list("xyz")], 1e3 * PLACES + [1, 2, 3])
    assert moved.info["unit"] == "T"
    meg.info["dev_head_t"] = None
    device = Responses.from_mne(meg)
    np.testing.assert_allclose(device.units[list("xyz")], 1e3 * PLACES)
    assert device.info["coordinate_frame"] == "device"


def test_types_have_their_units() -> None:
    """T, T/m and V by type; MEG without a head position has no place beside EEG."""
    info = sensor_info(["mag", "grad", "eeg", "misc"])
    values = noise(4, 500) * np.array([1e-7, 1e-6, 1, 1])[:, None]
    source = mne.io.RawArray(values, info, verbose="ERROR")
    r = Responses.from_mne(source)
    assert r.units["unit"].tolist() == ["T", "T/m", "V"]
    assert r.info["unit"] == "mixed"
    assert Responses.from_mne(source, picks="all").n_units == 4
    assert Responses.from_mne(source, picks=["C4"]).units.index.tolist() == ["C4"]
    assert Responses.from_mne(source, picks="mag").units.index.tolist() == ["Fz"]
    source.info["dev_head_t"] = None
    lost = Responses.from_mne(source).units["x"].isna()
    assert lost.tolist() == [True, True, False]


def test_epochs_are_trials() -> None:
    """Names of events are conditions, onsets are those of the events, metadata stays beside them."""
    metadata = pd.DataFrame({"picture": list("abcabc"), "rt": np.arange(6.0)})
    source = epochs(metadata)
    r = Responses.from_mne(source, stimulus="picture", subject="01", run=["1"] * 3 + ["2"] * 3)
    assert r.shape == (6, 4, 31)
    np.testing.assert_allclose(r.values, source.get_data(), rtol=1e-6)
    np.testing.assert_allclose(r.times, np.arange(-10, 21) / RATE)
    assert r.samples["condition"].tolist() == [
        "face/left",
        "house",
        "face/left",
        "house",
        "house",
        "face/left",
    ]
    assert r.samples["onset"].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert r.samples["stimulus_id"].tolist() == list("abcabc")
    assert r.samples["rt"].tolist() == list(range(6))
    assert r.samples["run"].tolist() == ["1"] * 3 + ["2"] * 3
    assert r.info["design"] == "trials"
    by_name = Responses.from_mne(epochs(), stimulus="condition")
    assert by_name.samples["stimulus_id"].tolist()[1] == "house"
    assert "stimulus_id" not in Responses.from_mne(epochs()).samples


def test_epochs_that_were_decimated_or_rejected() -> None:
    """Events count in samples of the recording, whatever was done since; dropped epochs are gone."""
    source = raw(1000)
    events = np.column_stack([[100, 300, 500], [0] * 3, [1] * 3])
    cut = mne.Epochs(source, events, {"a": 1}, 0, 0.3, baseline=None, preload=True, verbose="ERROR")
    assert Responses.from_mne(cut.decimate(2, verbose="ERROR")).samples["onset"].tolist() == [1.0, 3.0, 5.0]
    assert Responses.from_mne(cut).info["sampling_rate"] == 50
    marked = source.copy().set_annotations(mne.Annotations([3.1], [0.1], ["BAD"]))
    lazy = mne.Epochs(marked, events, {"a": 1}, 0, 0.3, baseline=None, verbose="ERROR")
    assert Responses.from_mne(lazy).samples["onset"].tolist() == [1.0, 5.0]
    assert not lazy.preload


def test_epochs_without_events_have_no_onset() -> None:
    """Epochs from an array are numbered by MNE; their numbers are not times."""
    source = mne.EpochsArray(noise(3, 4, 31), sensor_info(), verbose="ERROR")
    r = Responses.from_mne(source)
    assert "onset" not in r.samples
    assert r.samples["condition"].tolist() == ["1"] * 3


def test_evoked_rows_are_conditions(tmp_path: Path) -> None:
    """One average or several, from memory or a file: a row each, with the number of trials behind it."""
    both = [evoked("face"), evoked("house", 1)]
    path = tmp_path / "two-ave.fif"
    mne.write_evokeds(path, both, verbose="ERROR")
    for source in (both, path, str(path)):
        r = Responses.from_mne(source)
        assert r.shape == (2, 4, 31)
        assert r.samples["condition"].tolist() == ["face", "house"]
        assert r.samples["n_averaged"].tolist() == [7, 7]
        np.testing.assert_allclose(r.values[1], both[1].data, rtol=1e-5)
        np.testing.assert_allclose(r.times, both[0].times, atol=1e-6)
    assert Responses.from_mne(both[0], stimulus="condition").samples["stimulus_id"].tolist() == ["face"]


def test_files_of_every_kind(tmp_path: Path) -> None:
    """A .fif file gives what the recording in it gives, whatever its name, gzip included."""
    raw(annotations=MARKS).save(tmp_path / "some_name.fif.gz", verbose="ERROR")
    epochs().save(tmp_path / "other.fif", verbose="ERROR")
    r = Responses.from_mne(tmp_path / "some_name.fif.gz")
    np.testing.assert_allclose(r.values, Responses.from_mne(raw()).values, rtol=1e-6)
    assert r.info["events"]["condition"] == ["face", "click"]
    e = Responses.from_mne(tmp_path / "other.fif")
    np.testing.assert_allclose(e.values, Responses.from_mne(epochs()).values, rtol=1e-6)
    assert e.samples["condition"].tolist()[0] == "face/left"


def test_bad_channels_are_left_out_and_named() -> None:
    """Channels that are bad in any of the averages are left out of all, and info says which."""
    one, two = evoked("a"), evoked("b")
    one.info["bads"], two.info["bads"] = ["C3"], ["Oz"]
    r = Responses.from_mne([one, two])
    assert r.units.index.tolist() == ["Fz", "C4"]
    assert r.info["bads_dropped"] == ["C3", "Oz"]
    assert Responses.from_mne(raw()).info["bads_dropped"] == []


def test_flat_channels_are_named_not_refused() -> None:
    """A reference or an unplugged electrode is flat: info says so, nothing is dropped."""
    source = raw()
    source._data[2] = 0.25
    source._data[3] *= 1e-12
    r = Responses.from_mne(source)
    assert r.info["flat_channels"] == ["C4", "Oz"]
    assert r.units.index.tolist() == NAMES


def test_float64_only_where_float32_would_lose_the_signal() -> None:
    """Tesla of 1e-15 fit float32; an offset a million times the signal, and 1e-40, do not."""
    tiny = mne.io.RawArray(noise(4, 500, scale=1e-15), sensor_info("mag"), verbose="ERROR")
    r = Responses.from_mne(tiny)
    assert r.values.dtype == np.float32
    np.testing.assert_allclose(r.values.T, tiny.get_data(), rtol=1e-6)
    offset = raw()
    offset._data += 10.0
    kept = Responses.from_mne(offset)
    assert kept.values.dtype == np.float64
    np.testing.assert_allclose(kept.values.std(axis=0), 1e-5, rtol=0.1)
    nothing = mne.io.RawArray(noise(4, 500, scale=1e-41), sensor_info("mag"), verbose="ERROR")
    assert Responses.from_mne(nothing, check_amplitude=False).values.dtype == np.float64
