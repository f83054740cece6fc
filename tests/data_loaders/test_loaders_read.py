"""Guarded readers: placeholders, truncation, lies in headers."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError
from data_loaders import _read
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._images import MAX_PIXELS, decode_image
from data_loaders._read import (
    first_line,
    read_mat,
    read_npy,
    read_npz,
    registered_file,
    require_file,
    verify,
)

ANNEX = "git-annex pointer without its content; run: git annex get"
LFS = "git-lfs pointer without its content; run: git lfs pull --include="
KEY = "SHA256E-s2560128--4008dbbf31a47d9b1b8d8da609f4a7a3433c7071f0e45c611c220b217dd75b76.npy"
BINARY = [
    ".npy",
    ".npz",
    ".nii",
    ".nii.gz",
    ".mat",
    ".fif",
    ".edf",
    ".bdf",
    ".set",
    ".h5",
    ".zip",
    ".png",
    ".mgz",
]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"is empty \(0 bytes\); expected content"),
        (b" \n\t\n", r"holds nothing but blanks \(4 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", LFS),
        (b"version https://hawser.github.com/spec/v1\noid sha256:0\nsize 1\n", LFS),
        (f"/annex/objects/{KEY}\n".encode(), ANNEX),
        (f"../../.git/annex/objects/xx/yy/{KEY}/{KEY}".encode(), ANNEX),
        (f".git\\annex\\objects\\xx\\yy\\{KEY}".encode(), ANNEX),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<HTML><body>Sign in", "a web page .*not the file: '<HTML><body>Sign in'"),
        (b"\xef\xbb\xbf<!-- made by\na portal --> <html>", "a web page"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC>', "a web page"),
        (
            b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code>',
            "the text of an error, not the file: .*NoSuchKey",
        ),
        (b'{"message": "Not Found"}', 'the text of an error, not the file: \'{"message": "Not Found"}\''),
        (b"404: Not Found", "the text of an error, not the file: '404: Not Found'; a download was answered"),
        (b"503 Service Unavailable\n", "the text of an error"),
    ],
)
@pytest.mark.parametrize("suffix", BINARY)
def test_placeholders_are_recognised(tmp_path: Path, content: bytes, text: str, suffix: str) -> None:
    """Empty files, pointers, web pages and errors are named for what they are, in any binary format."""
    path = tmp_path / f"run 1{suffix}"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=rf"run 1{suffix} .*{text}"):
        require_file(path)


def test_pointer_says_what_to_run_and_where(tmp_path: Path) -> None:
    """The command is complete: quoted name, and the folder in which it runs."""
    path = tmp_path / "it's 1.npy"
    path.write_bytes(b"/annex/objects/x\n")
    with pytest.raises(CorruptFileError) as caught:
        require_file(path)
    assert f"""run: git annex get 'it'"'"'s 1.npy' (in {tmp_path})""" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", b"<!DOCTYPE html><html>"),
        ("sidecar.json", b'{"RepetitionTime": 2.5}'),
        ("words.txt", b"404: Not Found"),
        ("table.tsv", b'{"a": 1}'),
        ("left.gii", b'<?xml version="1.0"?><GIFTI>'),
        ("picture.svg", b'<?xml version="1.0"?><svg>'),
        ("raw.edf", b"0       X X X X Startdate 04-APR-2011"),
        ("x.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64"),
        ("raw.bin", bytes(600)),
        ("notes", b"version of the annex/objects list"),
        ("blank.bin", b" " * 513),
    ],
)
def test_real_files_are_not_taken_for_placeholders(tmp_path: Path, name: str, content: bytes) -> None:
    """Text in a text file, a page in a page, and the beginnings of real formats pass."""
    (tmp_path / name).write_bytes(content)
    assert require_file(tmp_path / name) == tmp_path / name


@pytest.mark.real
def test_no_real_file_is_taken_for_a_placeholder(real_data: Path) -> None:
    """Every recording that is there passes."""
    paths = [p for p in sorted(real_data.rglob("*")) if p.is_file() and p.stat().st_size]
    assert len(paths) > 100
    for path in paths:
        require_file(path)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_first_line_of_a_text_that_is_cut_in_a_character(cut: int) -> None:
    """A page in any script is shown as far as it reaches; binary content is not shown."""
    text = "é" * 200 + "日本" * 100
    assert first_line(text.encode()[: 400 + cut]) == "é" * 120
    assert first_line(b"\x93NUMPY\x01\x00") == ""
    assert first_line(b"\x1b[31mred") == ""
    assert first_line(b"") == ""


@pytest.mark.parametrize(
    "target", ["../.git/annex/objects/xx/a.npy", "..\\.git\\annex\\objects\\a.npy", ".git/annex/objects/a"]
)
def test_dangling_annex_link(tmp_path: Path, target: str) -> None:
    """A git-annex link without its content says how to get it; with its content it is the file."""
    (tmp_path / "a.npy").symlink_to(target)
    with pytest.raises(
        CorruptFileError, match="git-annex link without its content; run: git annex get a.npy"
    ):
        require_file(tmp_path / "a.npy")
    (tmp_path / ".git/annex/objects").mkdir(parents=True)
    (tmp_path / ".git/annex/objects/b").write_bytes(b"\x93NUMPY")
    (tmp_path / "b.npy").symlink_to(".git/annex/objects/b")
    assert require_file(tmp_path / "b.npy") == tmp_path / "b.npy"


def test_absent_files(tmp_path: Path) -> None:
    """An absent file, another dangling link and a folder are not there, each in its words."""
    (tmp_path / "link.npy").symlink_to("nowhere.npy")
    (tmp_path / "folder.npy").mkdir()
    for name, text in (
        (
            "b.npy",
            r"b.npy does not exist\. It takes .* MB, licence: .* Get it with: brainalign datasets fetch",
        ),
        ("link.npy", "link.npy is a link to nowhere.npy, which does not exist; mend or remove the link"),
        ("folder.npy", "folder.npy is a folder; expected a file"),
    ):
        with pytest.raises(DataNotFoundError, match=text):
            require_file(tmp_path / name, dl.describe("macaque_v4"))


def test_verify_tells_files_of_one_name_apart(tmp_path: Path) -> None:
    """A file in a folder of the dataset is compared with the entry of that folder, not of its namesake."""
    contents = {"a.txt": b"top", "6mm/a.txt": b"six", "10mm/a.txt": b"ten"}
    files = tuple(RemoteFile(n, n, 3, hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    toy = DatasetCard("toy", "a toy", "CC0", "", "here", files=files)
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert verify(path, toy, strict=True)
        assert registered_file(path, toy).name == name
    (tmp_path / "6mm/a.txt").write_bytes(b"ten")
    with pytest.raises(CorruptFileError, match=r"6mm/a.txt has 3 bytes and sha256 .* expected 3 bytes and"):
        verify(tmp_path / "6mm/a.txt", toy)
    (tmp_path / "a.txt").write_bytes(b"mine, longer")
    assert not verify(tmp_path / "a.txt", toy)
    with pytest.raises(
        CorruptFileError, match="other.txt is not a registered file of 'toy'; it has no known"
    ):
        verify(tmp_path / "other.txt", toy, strict=True)


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
    with pytest.raises(CorruptFileError, match="member 'a' is not a readable .npy file"):
        read_npz(path, ["a"])


def test_npz_whose_members_lie(tmp_path: Path) -> None:
    """A member that claims terabytes, is pickled or is encrypted is refused before anything is allocated."""
    path = tmp_path / "x.npz"
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**6)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(
        CorruptFileError, match=r"member 'a' has 128 bytes; its header .* takes 80000000000128"
    ):
        read_npz(path, ["a"])
    np.savez(path, a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CorruptFileError, match="not a readable .npz file: Object arrays cannot be loaded"):
        read_npz(path, ["a"])
    np.savez(path, a=np.arange(3))
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption, in both headers
        content[content.index(mark) + at] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFileError, match=r"not a readable .npz file: .*encrypted"):
        read_npz(path, ["a"])


def test_npz_gives_what_numpy_gives(tmp_path: Path) -> None:
    """Order, type and shape of the arrays are those that were saved."""
    saved = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3, dtype=">i2")),
        "c": np.array("x"),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **saved)
        for name, value in read_npz(tmp_path / "x.npz", ["a", "b", "c"]).items():
            np.testing.assert_array_equal(value, saved[name])
            assert value.dtype == saved[name].dtype


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
