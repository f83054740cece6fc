"""Guarded readers: placeholders, truncation, lies in headers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError
from data_loaders import _read
from data_loaders._images import MAX_PIXELS, decode_image
from data_loaders._read import read_mat, read_npy, read_npz, require_file


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
        (b"/annex/objects/SHA256E-s1--0.npy\n", "git-annex pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<HTML><body>", "a web page"),
    ],
)
def test_placeholders_are_recognised(tmp_path: Path, content: bytes, text: str) -> None:
    """Empty files, pointers and web pages are named for what they are."""
    path = tmp_path / "responses.npy"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=f"responses.npy is .*{text}|{text}"):
        require_file(path)


def test_dangling_annex_link(tmp_path: Path) -> None:
    """A git-annex link without its content says how to get it; another absent file is not there."""
    (tmp_path / "a.npy").symlink_to("../.git/annex/objects/xx/a.npy")
    with pytest.raises(CorruptFileError, match="git-annex link without its content; run: git annex get"):
        require_file(tmp_path / "a.npy")
    with pytest.raises(DataNotFoundError, match=r"b.npy does not exist"):
        require_file(tmp_path / "b.npy")


def test_npy_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    """Every truncation of an array file is an error naming it, never a shorter array."""
    path = tmp_path / "x.npy"
    np.save(path, np.arange(50.0).reshape(5, 10))
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptFileError, match=r"x.npy"):
            read_npy(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CorruptFileError, match=r"has 529 bytes; its header says shape \(5, 10\), float64"):
        read_npy(path)


def test_npy_header_that_asks_for_terabytes(tmp_path: Path) -> None:
    """A small file that claims to be huge is refused before anything is allocated."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**6)}
    )
    (tmp_path / "x.npy").write_bytes(stream.getvalue())
    with pytest.raises(CorruptFileError, match="which takes 80000000000128"):
        read_npy(tmp_path / "x.npy")


def test_npy_of_objects_is_not_opened(tmp_path: Path) -> None:
    """An array of Python objects is refused by its header."""
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptFileError, match="holds Python objects"):
        read_npy(tmp_path / "x.npy")


def test_npz_missing_damaged_and_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing array, a cut archive and one that unpacks to too much are each named."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(1000))
    with pytest.raises(CorruptFileError, match="has no array 'b'; expected a, b, found a"):
        read_npz(path, ["a", "b"])
    monkeypatch.setattr(_read, "MAX_UNPACKED", 1000)
    with pytest.raises(CorruptFileError, match="would unpack to 8128 bytes; expected at most 1000"):
        read_npz(path, ["a"])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorruptFileError, match=r"not a readable .npz file"):
        read_npz(path, ["a"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"not an array")
    with pytest.raises(CorruptFileError, match="member 'a' is not an array"):
        read_npz(path, ["a"])


def test_mat_of_unknown_checksum_is_not_parsed(tmp_path: Path) -> None:
    """A MAT file without a registered checksum never reaches the parser."""
    (tmp_path / "own.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(CorruptFileError, match=r"own.mat is not a registered file of 'objects92'"):
        read_mat(tmp_path / "own.mat", ["x"], dl.describe("objects92"))


def encoded(image: Image.Image, kind: str = "PNG", **keywords: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **keywords)
    return stream.getvalue()


def test_decoding_of_modes_and_orientation() -> None:
    """Grey and opaque RGBA become RGB; the EXIF orientation is applied."""
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(pixels)), "x"), pixels)
    grey = decode_image(encoded(Image.fromarray(pixels[..., 0])), "x")
    np.testing.assert_array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))
    opaque = np.dstack([pixels, np.full((2, 4), 255, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(opaque)), "x"), pixels)
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = decode_image(encoded(Image.fromarray(pixels), exif=exif), "x")
    np.testing.assert_array_equal(turned, pixels[::-1, ::-1])


def test_what_cannot_be_decoded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage, transparency, 16 bits and too many pixels are refused with the place."""
    pixels = np.zeros((2, 4, 4), dtype=np.uint8)
    with pytest.raises(CorruptFileError, match="here: cannot be decoded as an image"):
        decode_image(b"garbage", "here")
    with pytest.raises(CorruptFileError, match="here: cannot be decoded as an image"):
        decode_image(encoded(Image.fromarray(pixels[..., :3]))[:-20], "here")
    with pytest.raises(CorruptFileError, match="here: has transparent pixels"):
        decode_image(encoded(Image.fromarray(pixels)), "here")
    with pytest.raises(CorruptFileError, match="here: mode I;16; expected 8 bits"):
        decode_image(encoded(Image.fromarray(np.zeros((2, 2), np.uint16))), "here")
    monkeypatch.setattr("data_loaders._images.MAX_PIXELS", 7)
    with pytest.raises(CorruptFileError, match=r"here: 4 x 2 pixels; at most 7"):
        decode_image(encoded(Image.fromarray(pixels)), "here")
    assert MAX_PIXELS > 4096 * 4096
