"""Files of M/EEG recordings: cut, damaged, absent, with a wrong clock, and what is said of each."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path

import mne
import numpy as np
import pytest

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, MissingDependencyError

pytestmark = pytest.mark.real


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


def write_edf(path: Path, samples: dict[str, int], n_records: int = 4) -> None:
    """An EDF of records of 1 s; `samples` are those of each channel in a record."""
    n = len(samples)

    def cells(width: int, *texts: str) -> bytes:
        return b"".join(text.ljust(width).encode() for text in texts)

    head = cells(8, "0") + cells(80, "X", "X") + cells(8, "01.01.20", "00.00.00", str(256 * (1 + n)))
    head += cells(44, "") + cells(8, str(n_records), "1") + cells(4, str(n))
    head += cells(16, *samples) + cells(80, *[""] * n) + cells(8, *["uV"] * n)
    for limit in ("-200", "200", "-2000", "2000"):
        head += cells(8, *[limit] * n)
    head += cells(80, *[""] * n) + cells(8, *map(str, samples.values())) + cells(32, *[""] * n)
    noise = np.random.default_rng(0).normal(0, 200, n_records * sum(samples.values()))
    path.write_bytes(head + noise.astype("<i2").tobytes())


def test_channels_of_a_slower_rate_are_said(tmp_path: Path) -> None:
    """An EDF with channels of two rates is read at the higher one, and the warning names the others."""
    path = tmp_path / "mixed.edf"
    write_edf(path, {"fast": 100, "slow": 50})
    ds = dl.load("mne_file", path=path)
    assert ds.responses.info["sampling_rate"] == 100
    assert "1 channels were recorded at a lower rate than 100 Hz" in ds.info["warnings"][0]
    assert "'slow'" in ds.info["warnings"][0]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.95, 0.999])
@pytest.mark.parametrize(
    "name",
    [
        "ctf_comp_raw.fif",
        "bti/test_pdf_linux",
        "edf/test.edf",
        "edf/test.bdf",
        "sample_audvis-ave.fif.gz",
        "brainvision/test.eeg",
    ],
)
def test_cut_recording_is_refused_by_name(copy: Path, name: str, keep: float) -> None:
    """A recording cut anywhere is an error that names a file of it, never a shorter recording."""
    path = copy / name
    os.truncate(path, int(keep * path.stat().st_size))
    asked = path.with_suffix(".vhdr") if name.endswith(".eeg") else path
    with pytest.raises(CorruptFileError, match=re.escape(path.stem)):
        dl.load("mne_file", path=asked, picks="all")


@pytest.mark.parametrize("last", [-1, -4])
def test_last_bytes_count(copy: Path, last: int) -> None:
    """One or four bytes less are noticed where the format says how many there are."""
    for name in ("edf/test.edf", "edf/test.bdf", "brainvision/test.eeg", "sample_audvis-ave.fif.gz"):
        path = copy / name
        os.truncate(path, path.stat().st_size + last)
        asked = path.with_suffix(".vhdr") if name.endswith(".eeg") else path
        with pytest.raises(CorruptFileError, match=r"is cut|was appended to|damaged"):
            dl.load("mne_file", path=asked)


@pytest.mark.parametrize("record_s", ["0.5", "2", "1.001", "0.999"])
def test_sampling_rate_against_the_clock_of_the_records(copy: Path, record_s: str) -> None:
    """An EDF header whose record length (so rate) is wrong, by 0.1 % too, disagrees with its own clock."""
    path = copy / "edf/test.edf"
    content = bytearray(path.read_bytes())
    content[244:252] = record_s.ljust(8).encode()
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=r"record \d says \d s; expected .* rate of the header is wro"):
        dl.load("mne_file", path=path)


@pytest.mark.parametrize(
    ("where", "text", "match"),
    [
        (slice(252, 256), b"abcd", "no readable EDF/BDF header"),
        (slice(252, 256), b"0   ", "0 channels"),
        (slice(236, 244), b"9       ", r"header says 9 records of .* bytes, .* in all"),
        (slice(256 + 216 * 140, 256 + 216 * 140 + 8), b"-7      ", "a record without samples"),
    ],
)
def test_damaged_edf_header(copy: Path, where: slice, text: bytes, match: str) -> None:
    """A header that is no number or claims other records is refused before MNE opens it."""
    path = copy / "edf/test.edf"
    content = bytearray(path.read_bytes())
    content[where] = text
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=match):
        dl.load("mne_file", path=path)


def test_record_without_a_time_stamp(copy: Path) -> None:
    """An EDF+ record whose clock is overwritten is damaged."""
    path = copy / "edf/test.edf"
    content = path.read_bytes()
    assert content.count(b"+3\x14\x14") == 1
    path.write_bytes(content.replace(b"+3\x14\x14", b"\0\0\0\0"))
    with pytest.raises(CorruptFileError, match=r"record 3 has no time stamp"):
        dl.load("mne_file", path=path)


def test_events_outside_of_the_recording(copy: Path) -> None:
    """A marker after the last sample means that markers and values are not of one recording."""
    markers = copy / "brainvision/test.vmrk"
    text = markers.read_text(encoding="utf-8")
    markers.write_text(text.replace("7700,1,0", "9000,1,0"), encoding="utf-8")
    with pytest.raises(CorruptFileError, match=r"test.vhdr: Omitted 1 annotation.*another recording"):
        dl.load("mne_file", path=copy / "brainvision/test.vhdr")
    markers.write_text(text.replace("7700,1,0", "7901,1,0"), encoding="utf-8")
    with pytest.raises(CorruptFileError, match=r"1 of 13 events lie outside .* 7900 samples, first 'Optic/O"):
        dl.load("mne_file", path=copy / "brainvision/test.vhdr")


def test_parts_that_are_absent_or_pointers(copy: Path) -> None:
    """The file that a header needs is named when it is missing, empty or a pointer."""
    header = copy / "brainvision/test.vhdr"
    values = copy / "brainvision/test.eeg"
    values.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CorruptFileError, match=r"test.eeg is a git-lfs pointer"):
        dl.load("mne_file", path=header)
    values.unlink()
    with pytest.raises(DataNotFoundError, match=r"test.eeg does not exist"):
        dl.load("mne_file", path=header)
    header.write_text("Brain Vision Data Exchange Header File Version 1.0\n")
    with pytest.raises(CorruptFileError, match=r"test.vhdr has no entry DataFile="):
        dl.load("mne_file", path=header)
    recording = copy / "bti/test_pdf_linux"
    (copy / "bti/test_config_linux").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"test_config_linux is empty"):
        dl.load("mne_file", path=recording)


def test_set_without_its_values(real_data: Path, tmp_path: Path) -> None:
    """An EEGLAB header whose .fdt is absent or cut names the recording."""
    for suffix in (".set", ".fdt"):
        shutil.copyfile(real_data / f"eeglab_sample/eeglab_data{suffix}", tmp_path / f"eeglab_data{suffix}")
    path = tmp_path / "eeglab_data.set"
    os.truncate(path.with_suffix(".fdt"), 1_000_000)
    with pytest.raises(CorruptFileError, match=r"eeglab_data.set cannot be read by MNE .*number of samples"):
        dl.load("mne_file", path=path)
    path.with_suffix(".fdt").unlink()
    with pytest.raises(DataNotFoundError, match=r"eeglab_data.set: a file that belongs to it is absent"):
        dl.load("mne_file", path=path)


def test_paths_that_are_no_recording(formats: Path, tmp_path: Path) -> None:
    """Missing, empty, a pointer, a folder, a part, an unknown extension, another kind of FIF: each said."""
    cases = {
        formats / "nothing.fif": (DataNotFoundError, "nothing.fif does not exist"),
        formats / "nothing.ds": (DataNotFoundError, r"nothing.ds is not a folder; a .ds recording is one"),
        formats / "bti": (InputError, "is a folder; expected a recording"),
        formats / "brainvision/test.eeg": (InputError, "one part of a recording; give path= the .vhdr"),
        formats / "README.md": (InputError, r"extension '.md' is of no known M/EEG format; expected .*\.fif"),
        formats / "sample_audvis-cov.fif.gz": (InputError, "holds no recording but: cov"),
    }
    (tmp_path / "empty_raw.fif").touch()
    cases[tmp_path / "empty_raw.fif"] = (CorruptFileError, "empty_raw.fif is empty")
    (tmp_path / "page.edf").write_text("<!DOCTYPE html><html>")
    cases[tmp_path / "page.edf"] = (CorruptFileError, "page.edf is a web page")
    (tmp_path / "annexed_raw.fif").symlink_to("../.git/annex/objects/x")
    cases[tmp_path / "annexed_raw.fif"] = (CorruptFileError, "git-annex link without its content")
    (tmp_path / "text_raw.fif").write_text("no recording at all")
    cases[tmp_path / "text_raw.fif"] = (CorruptFileError, "text_raw.fif is no FIF file")
    shutil.copyfile(formats / "edf/test.edf", tmp_path / "renamed.sqd")
    cases[tmp_path / "renamed.sqd"] = (CorruptFileError, "renamed.sqd cannot be read by MNE")
    for path, (error, match) in cases.items():
        with pytest.raises(error, match=match):
            dl.load("mne_file", path=path)


def test_format_that_needs_another_package(formats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lacks its package says so; no file is blamed."""

    def reader(*_: object, **__: object) -> None:
        raise ImportError("For reading EDF, the module edfpackage is required")

    monkeypatch.setattr(mne.io, "read_raw_edf", reader)
    with pytest.raises(MissingDependencyError, match=r"needs another package .*edfpackage is required"):
        dl.load("mne_file", path=formats / "edf/test.edf")


@pytest.mark.parametrize("error", [MemoryError, PermissionError])
def test_machine_is_not_mistaken_for_the_file(
    formats: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Too little memory or a missing right is no damage: the error stays what it is."""

    def reader(*_: object, **__: object) -> None:
        raise error("of the machine")

    monkeypatch.setattr(mne.io, "read_raw_edf", reader)
    with pytest.raises(error, match="of the machine"):
        dl.load("mne_file", path=formats / "edf/test.edf")


def test_remarks_of_the_library_about_itself_are_handed_on(
    formats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deprecation is no remark on the recording: it stays a warning; others are kept with the recording."""
    real = mne.io.read_raw_edf

    def reader(path: Path, **options: object) -> object:
        warnings.warn("old name", DeprecationWarning, stacklevel=1)
        warnings.warn("odd recording", RuntimeWarning, stacklevel=1)
        return real(path, **options)

    monkeypatch.setattr(mne.io, "read_raw_edf", reader)
    with pytest.warns(DeprecationWarning, match="old name"):
        ds = dl.load("mne_file", path=formats / "edf/test.edf")
    assert ds.info["warnings"] == ["odd recording"]
