"""macaque_v4: the real sessions, and sessions of the same layout made here."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, UnknownNameError
from brainalign.types import content_hash
from data_loaders._images import zip_images


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_session(root: Path, session: str, responses: np.ndarray, kind: str = "raw", n: int = 4) -> Path:
    folder = root / "macaque_v4"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"images_{session}.zip", "w") as archive:
        # written in reverse: the order of the archive must not matter
        for i in reversed(range(n)):
            archive.writestr(f"images_{session}/image{i + 1:04d}.png", png(i))
    np.save(folder / f"responses_{kind}_{session}.npy", responses)
    return folder


def counts(n_images: int = 4) -> np.ndarray:
    values = np.arange(2 * n_images * 3, dtype=float).reshape(2, n_images, 3)
    values[:, 1, 2] = np.nan
    return values


@pytest.mark.real
def test_session_with_repeats(real_data: Path) -> None:
    """Every trial of the raw array is one row, its image mean is the published average, none is invented."""
    ds = dl.load("macaque_v4", session="210325", root=real_data)
    raw = np.load(real_data / "macaque_v4/responses_raw_210325.npy")
    average = np.load(real_data / "macaque_v4/responses_avg_210325.npy")
    samples = ds.responses.samples
    assert (len(ds.stimuli), ds.responses.shape) == (640, (4840, 50))
    assert ds.responses.info["design"] == "trials"
    assert ds.responses.info["verified"] is True
    assert np.isfinite(ds.responses.values).all()
    row = samples.index.get_loc("image0007_r3")
    np.testing.assert_array_equal(ds.responses.values[row], raw[:, 6, 2])
    means = np.array(
        [ds.responses.values[(samples.stimulus_id == s).to_numpy()].mean(0) for s in ds.stimuli.ids]
    )
    np.testing.assert_allclose(means, average.T, atol=1e-12)
    assert set(samples.subject) == {"PE"}
    assert set(ds.responses.units.roi_area) == {"V4"}


@pytest.mark.real
def test_images_are_read_from_the_archive_by_name(real_data: Path) -> None:
    """The pixels of an id are those of the member of that name, and the hash is theirs."""
    ds = dl.load("macaque_v4", session="210325", root=real_data)
    with zipfile.ZipFile(real_data / "macaque_v4/images_210325.zip") as archive:
        pixels = np.asarray(Image.open(io.BytesIO(archive.read("image0123.jpg"))).convert("RGB"))
    np.testing.assert_array_equal(ds.stimuli.load("image0123"), pixels)
    assert ds.stimuli.table.loc["image0123", "content_hash"] == content_hash(pixels)
    assert list(ds.stimuli.ids) == [f"image{i:04d}" for i in range(1, 641)]


@pytest.mark.real
def test_session_of_averages_says_that_it_has_no_ceiling(real_data: Path) -> None:
    """190923 gives one row an image, no repetition, and says so."""
    ds = dl.load("macaque_v4", subject="WE", root=real_data)
    assert ds.responses.shape == (1200, 33)
    assert "repetition" not in ds.responses.samples
    assert ds.responses.info["repeats"] == "averages over repeats; no noise ceiling"


@pytest.mark.real
def test_open_choice_lists_sessions_and_subjects(real_data: Path) -> None:
    """Two sessions and none chosen is an error that lists both with their animals."""
    with pytest.raises(
        InputError, match=r"190923 \(subject WE, averages only\); 210325 \(subject PE, single"
    ):
        dl.load("macaque_v4", root=real_data)


@pytest.mark.real
@pytest.mark.parametrize("name", ["responses_raw_210325.npy", "images_210325.zip"])
def test_flipped_byte_of_a_registered_file_is_named(real_data: Path, tmp_path: Path, name: str) -> None:
    """One changed byte in a public file is an error, never another value."""
    folder = tmp_path / "macaque_v4"
    folder.mkdir()
    for file in ("responses_raw_210325.npy", "images_210325.zip"):
        shutil.copyfile(real_data / "macaque_v4" / file, folder / file)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=f"{name} has .* sha256 .*; expected"):
        dl.load("macaque_v4", root=tmp_path)


def test_other_session_of_the_same_layout(tmp_path: Path) -> None:
    """Any session lying in the folder loads; images are sorted by name; absent repeats are absent rows."""
    write_session(tmp_path, "300101", counts())
    ds = dl.load("macaque_v4", root=tmp_path)
    assert ds.responses.shape == (11, 2)
    assert "image0002_r3" not in ds.responses.samples.index
    row = ds.responses.samples.index.get_loc("image0003_r2")
    np.testing.assert_array_equal(ds.responses.values[row], counts()[:, 2, 1])
    expected = np.asarray(Image.open(io.BytesIO(png(2))))
    np.testing.assert_array_equal(ds.stimuli.load("image0003"), expected)
    assert ds.responses.info["verified"] is False
    assert ds.responses.samples.subject.isna().all()


def test_loader_works_in_threads_in_another_process_and_pickled(tmp_path: Path) -> None:
    """Each thread and process has its own handle: all get the pixels of the id that they asked for."""
    folder = write_session(tmp_path, "300101", counts())
    loader = zip_images(folder / "images_300101.zip")
    ids = [f"image{i:04d}" for i in (1, 2, 3, 4)] * 20
    expected = [content_hash(loader(s)) for s in ids]
    with ThreadPoolExecutor(8) as pool:
        assert [content_hash(image) for image in pool.map(loader, ids)] == expected
    again = pickle.loads(pickle.dumps(loader))
    assert content_hash(again("image0002")) == expected[1]
    first = loader._archive()
    assert loader._archive() is first
    loader._own.pid = os.getpid() + 1
    assert loader._archive() is not first


def test_wrong_choices_are_named(tmp_path: Path) -> None:
    """An unknown session or subject, and a pair that does not exist, are refused by name."""
    write_session(tmp_path, "210325", counts())
    write_session(tmp_path, "190923", counts()[:, :, 0], kind="avg")
    with pytest.raises(UnknownNameError, match="'210326' does not exist; closest: '210325'"):
        dl.load("macaque_v4", session="210326", root=tmp_path)
    with pytest.raises(UnknownNameError, match=r"subject of 'macaque_v4'.*'PX' does not exist"):
        dl.load("macaque_v4", subject="PX", root=tmp_path)
    with pytest.raises(InputError, match="session '210325' is not of subject 'WE'"):
        dl.load("macaque_v4", session="210325", subject="WE", root=tmp_path)


def test_incomplete_sessions_name_the_missing_file(tmp_path: Path) -> None:
    """A session without its images or without its responses says which file it lacks."""
    folder = write_session(tmp_path, "300101", counts())
    (folder / "images_300102.zip").write_bytes(b"x")
    np.save(folder / "responses_raw_300103.npy", counts())
    with pytest.raises(DataNotFoundError, match=r"neither responses_raw_300102.npy nor responses_avg_300102"):
        dl.load("macaque_v4", session="300102", root=tmp_path)
    with pytest.raises(DataNotFoundError, match=r"300103 are there, but not .*images_300103.zip"):
        dl.load("macaque_v4", session="300103", root=tmp_path)


def test_folder_without_sessions(tmp_path: Path) -> None:
    """An empty dataset folder says what it looked for and which command fills it."""
    (tmp_path / "macaque_v4").mkdir()
    with pytest.raises(DataNotFoundError, match=r"holds no session .*brainalign datasets fetch macaque_v4"):
        dl.load("macaque_v4", root=tmp_path)


def test_files_that_do_not_fit_each_other(tmp_path: Path) -> None:
    """Another number of images than responses, and wrong axes, are refused with both numbers."""
    write_session(tmp_path, "300101", counts(5))
    with pytest.raises(CorruptFileError, match=r"is over 5 images, .*images_300101.zip holds 4"):
        dl.load("macaque_v4", root=tmp_path)
    write_session(tmp_path, "300101", counts()[:, :, 0])
    with pytest.raises(CorruptFileError, match=r"shape \(2, 4\).*expected \(neurons, images, repeats\)"):
        dl.load("macaque_v4", root=tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 0.999])
def test_truncated_archive(tmp_path: Path, fraction: float) -> None:
    """An archive cut anywhere is an error that names it."""
    path = write_session(tmp_path, "300101", counts()) / "images_300101.zip"
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(CorruptFileError, match=r"images_300101.zip.*(is empty|not a readable zip)"):
        dl.load("macaque_v4", root=tmp_path)


def test_archive_without_images_or_with_twins(tmp_path: Path) -> None:
    """No image, and two images of one stem, are refused."""
    path = write_session(tmp_path, "300101", counts()) / "images_300101.zip"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/image0001.png", png(9))
    with pytest.raises(CorruptFileError, match="holds two images named 'image0001'"):
        dl.load("macaque_v4", root=tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(CorruptFileError, match="holds no JPEG or PNG image"):
        dl.load("macaque_v4", root=tmp_path)


def test_bomb_and_damaged_member(tmp_path: Path) -> None:
    """A member that unpacks to far more than it is, and one with a wrong checksum, are named."""
    path = write_session(tmp_path, "300101", counts(), n=4) / "images_300101.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4):
            archive.writestr(f"image{i + 1:04d}.png", b"\0" * 10**6 if i == 2 else png(i))
    with pytest.raises(CorruptFileError, match=r"image0003.png unpacks from \d+ to 1000000 bytes"):
        dl.load("macaque_v4", root=tmp_path)
    path = write_session(tmp_path, "300101", counts()) / "images_300101.zip"
    content = bytearray(path.read_bytes())
    content[content.find(png(1)) + 60] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=r"member images_300101/image0002.png is damaged: Bad CRC"):
        dl.load("macaque_v4", root=tmp_path)
