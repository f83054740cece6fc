"""Recordings of sensors that would be silently wrong: units, rates, events, duplicates, cut files."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from sensor_cases import epochs, evoked, noise, raw, sensor_info

from brainalign.errors import (
    AlignmentError,
    BrainAlignError,
    CorruptFileError,
    DataNotFoundError,
    InputError,
    ShapeError,
    UnknownNameError,
)
from brainalign.types import Responses

USUAL = {"eeg": 2e-5, "seeg": 5e-5, "ecog": 5e-5, "mag": 3e-13, "grad": 4e-12}


def of_type(kind: str, factor: float) -> mne.io.RawArray:
    values = noise(4, 500, scale=USUAL[kind] * factor)
    return mne.io.RawArray(values, sensor_info(kind), verbose="ERROR")


@pytest.mark.parametrize("kind", list(USUAL))
def test_a_million_times_too_large_or_small(kind: str) -> None:
    """Microvolt stored as volt, and volt scaled twice, are refused for every type; channels are named."""
    assert Responses.from_mne(of_type(kind, 1.0)).n_units == 4
    with pytest.raises(
        InputError, match=f"the 4 {kind} channels have a robust .*instance '.*They look like micro"
    ):
        Responses.from_mne(of_type(kind, 1e6))
    with pytest.raises(InputError, match=f"the 4 {kind} channels .*scaled twice .multiply by 1e.06"):
        Responses.from_mne(of_type(kind, 1e-6))
    forced = Responses.from_mne(of_type(kind, 1e6), check_amplitude=False)
    assert forced.info["amplitude_check"] == "overruled by the caller"


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_one_channel_in_another_unit(factor: float) -> None:
    """One channel off by a million is named, where the others are right."""
    source = raw()
    source._data[2] *= factor
    with pytest.raises(
        InputError, match="eeg channel 'C4' has a robust amplitude of .*1 such.*mark it as bad"
    ):
        Responses.from_mne(source)
    source.info["bads"] = ["C4"]
    assert Responses.from_mne(source).n_units == 3


def test_femtotesla_stored_as_tesla() -> None:
    """The prefix that would make the amplitude usual is the one that is named."""
    with pytest.raises(InputError, match=r"They look like femtotesla stored as tesla \(multiply by 1e-15\)"):
        Responses.from_mne(of_type("mag", 1e15))
    with pytest.raises(InputError, match="They look like millivolt stored as volt"):
        Responses.from_mne(of_type("eeg", 1e3))
    for source in (epochs(), evoked()):
        source._data = source._data * 1e6 if hasattr(source, "_data") else None
        with pytest.raises(InputError, match="microvolt stored as volt"):
            Responses.from_mne(source)


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.001])
def test_a_wrong_sampling_rate_contradicts_the_duration(factor: float) -> None:
    """A rate that is half, double or 0.1 percent off gives another duration than the one that is known."""
    source = raw(5000)
    assert Responses.from_mne(source, duration=50.0).n_samples == 5000
    assert Responses.from_mne(source, duration=50.01).n_samples == 5000
    with pytest.raises(
        InputError, match="the recording lasts 50 s by its sampling rate of 100 Hz, duration="
    ):
        Responses.from_mne(source, duration=50.0 * factor)


def test_events_outside_the_recording(tmp_path: Path) -> None:
    """Annotations and epochs beyond the end are refused, in memory and in a file."""
    source = raw()
    source.set_annotations(mne.Annotations([4.9], [0.05], ["late"]))
    source._annotations.onset[0] = 7.0
    with pytest.raises(
        AlignmentError, match="row 0 .'late'. begins at 7 s, outside run '1', which lasts 5 s"
    ):
        Responses.from_mne(source)
    source._annotations.onset[0] = -1.0
    with pytest.raises(AlignmentError, match="begins at -1 s"):
        Responses.from_mne(source)
    late = raw()
    late.set_annotations(mne.Annotations([4.9], [0.05], ["late"]))
    late._annotations.onset[0] = 7.0
    late.save(tmp_path / "late_raw.fif", verbose="ERROR")
    text = r"1 of 1 annotations lie outside the recording of 5 s \(last: 'late' at 7 s\)"
    with pytest.raises(AlignmentError, match=text):
        Responses.from_mne(tmp_path / "late_raw.fif")
    with pytest.raises(AlignmentError, match="the epochs begin over 2.5 s, duration=2 s"):
        Responses.from_mne(epochs(), duration=2.0)


def test_duplicates_are_refused() -> None:
    """The same annotation, epoch or name twice would count one event as two."""
    twice = raw(annotations=([1.0, 2.0, 1.0], [0.1] * 3, ["a"] * 3))
    with pytest.raises(InputError, match=r"annotation 'a' at 1 s occurs twice \(1 duplicates\)"):
        Responses.from_mne(twice)
    doubled = epochs()
    doubled.events[4, 0] = doubled.events[1, 0]
    with pytest.raises(InputError, match="epochs 1 and 4 begin at the same sample 100"):
        Responses.from_mne(doubled)
    with pytest.raises(InputError, match="two evoked responses are called 'face'"):
        Responses.from_mne([evoked(), evoked(seed=1)])


def test_averages_that_do_not_fit() -> None:
    """Other channels, other times and standard errors cannot stand in one table."""
    other = evoked("b").drop_channels(["Fz"])
    with pytest.raises(AlignmentError, match="evoked 'b' has other channels than 'a'"):
        Responses.from_mne([evoked("a"), other])
    with pytest.raises(AlignmentError, match="evoked 'b' has other times than 'a'"):
        Responses.from_mne([evoked("a"), evoked("b").crop(0, 0.1)])
    error = evoked("a")
    error.kind = "standard_error"
    with pytest.raises(InputError, match="evoked 'a' is a standard_error; expected averages"):
        Responses.from_mne(error)


def test_designs_and_columns() -> None:
    """A design that the recording does not have, and columns that are absent or empty, are refused."""
    with pytest.raises(InputError, match="design='trials' needs Epochs; a Raw is continuous"):
        Responses.from_mne(raw(), design="trials")
    with pytest.raises(InputError, match="design='continuous': epochs are 'trials'"):
        Responses.from_mne(epochs(), design="continuous")
    with pytest.raises(InputError, match="design='blocks': evoked responses are 'trials'"):
        Responses.from_mne(evoked(), design="blocks")
    with pytest.raises(
        InputError, match="stimulus= names a column of the metadata of Epochs; a Raw has none"
    ):
        Responses.from_mne(raw(), stimulus="x")
    metadata = pd.DataFrame({"picture": ["a", "b", None, "c", None, "d"], "subject": "s"})
    with pytest.raises(UnknownNameError, match="stimulus column 'pictures' does not exist; closest: picture"):
        Responses.from_mne(epochs(metadata), stimulus="pictures")
    with pytest.raises(InputError, match=r"epoch 2 has no 'picture' \(2 such\)"):
        Responses.from_mne(epochs(metadata), stimulus="picture")
    with pytest.raises(InputError, match="subject is given as an argument and as a column of the metadata"):
        Responses.from_mne(epochs(metadata), subject="01")
    with pytest.raises(ShapeError, match="run has 2 entries for 6 samples"):
        Responses.from_mne(epochs(), run=["1", "2"])


def test_channels_that_cannot_be_picked() -> None:
    """Unknown types say which there are; a recording of bad channels has nothing left."""
    with pytest.raises(InputError, match="picks='grad' finds no channel .* there are channels of type eeg"):
        Responses.from_mne(raw(), picks="grad")
    bad = raw()
    bad.info["bads"] = list(bad.ch_names)
    with pytest.raises(InputError, match="all 4 picked channels are marked as bad"):
        Responses.from_mne(bad)


def test_infinite_values_name_the_channel() -> None:
    """An infinite value is refused; a missing one stays NaN."""
    source = raw()
    source._data[1, 7] = np.inf
    with pytest.raises(InputError, match="channel 'C3' holds an infinite value in row 7 .1 in all."):
        Responses.from_mne(source)
    source._data[1, 7] = np.nan
    assert np.isnan(Responses.from_mne(source).values[7, 1])
    source._data[1] = np.nan
    assert Responses.from_mne(source).info["flat_channels"] == ["C3"]


def test_objects_that_are_no_recordings(tmp_path: Path) -> None:
    """Arrays, empty lists, mixed lists and files of other content say what was expected."""
    for wrong in (np.zeros((2, 2)), [], [raw(), raw()]):
        with pytest.raises(InputError, match="expected an MNE Raw, Epochs, Evoked"):
            Responses.from_mne(wrong)
    covariance = tmp_path / "noise-cov.fif"
    mne.make_ad_hoc_cov(sensor_info()).save(covariance, verbose="ERROR")
    with pytest.raises(InputError, match="noise-cov.fif holds no recording .raw., no epochs and no evoked"):
        Responses.from_mne(covariance)
    with pytest.raises(DataNotFoundError, match="nothing.fif does not exist"):
        Responses.from_mne(tmp_path / "nothing.fif")
    text = tmp_path / "text.fif"
    text.write_text("these are not the tags that you are looking for")
    with pytest.raises(CorruptFileError, match="text.fif is no FIF file .first tag"):
        Responses.from_mne(text)


@pytest.mark.parametrize("name", ["cut_raw.fif", "cut_raw.fif.gz", "cut-epo.fif", "cut-ave.fif"])
def test_every_truncation_of_a_fif_file(tmp_path: Path, name: str) -> None:
    """A file cut at any byte is refused by name: never a shorter recording."""
    path = tmp_path / name
    if "raw" in name:
        raw().save(path, verbose="ERROR")
    elif "epo" in name:
        epochs().save(path, verbose="ERROR")
    else:
        mne.write_evokeds(path, evoked(), verbose="ERROR")
    whole = path.read_bytes()
    for length in [1, 15, 16, 17, len(whole) - 1, *np.random.default_rng(0).integers(1, len(whole), 60)]:
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match=name.split(".")[0]):
            Responses.from_mne(path)


def test_tags_that_lie(tmp_path: Path) -> None:
    """A tag with another size than it has, or one that the reader cannot use, is refused."""
    path = tmp_path / "lie_raw.fif"
    raw().save(path, verbose="ERROR")
    whole = bytearray(path.read_bytes())
    whole[8:12] = (2**31 - 1).to_bytes(4, "big")
    path.write_bytes(whole)
    with pytest.raises(CorruptFileError, match="tag at byte 0 .kind 100. says 2147483647 bytes"):
        Responses.from_mne(path)
    # a chain that ends at once: nothing in it for the reader
    whole[8:12] = (20).to_bytes(4, "big")
    whole[12:16] = (-1).to_bytes(4, "big", signed=True)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="lie_raw.fif holds no recording"):
        Responses.from_mne(path)


@pytest.mark.parametrize("name", ["odd_raw.fif", "odd-epo.fif", "odd-ave.fif"])
def test_damage_never_ends_in_a_foreign_error(tmp_path: Path, name: str) -> None:
    """FIF has no checksum, so some flips pass; those that a reader meets become errors that name the file."""
    path = tmp_path / name
    source = {"w": raw, "o": epochs, "e": evoked}[name[-5]]()
    source.save(path, verbose="ERROR")
    whole = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(3).integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(place) % 8
        path.write_bytes(flipped)
        try:
            Responses.from_mne(path)
        except BrainAlignError:
            refused += 1
    assert refused >= 3


def test_content_that_mne_cannot_use(tmp_path: Path) -> None:
    """Tags that fit the file and contradict one another end in an error that names the file."""
    path = tmp_path / "odd_raw.fif"
    raw().save(path, verbose="ERROR")
    whole = path.read_bytes()
    channel = whole.index((203).to_bytes(4, "big") + (30).to_bytes(4, "big"))
    # the sixth number of a channel is the kind of its coil
    coil = channel + 16 + 20
    path.write_bytes(whole[:coil] + (77777).to_bytes(4, "big") + whole[coil + 4 :])
    with pytest.raises(CorruptFileError, match="odd_raw.fif cannot be read by MNE"):
        Responses.from_mne(path)
    lazy = tmp_path / "lazy_raw.fif"
    raw().save(lazy, verbose="ERROR")
    source = mne.io.read_raw_fif(lazy, verbose="ERROR")
    lazy.write_bytes(lazy.read_bytes()[:3000])
    with pytest.raises(CorruptFileError, match="lazy_raw.fif: its values cannot be read"):
        Responses.from_mne(source)
