"""Files that are cut, flipped, empty, lying or something else: refused by name, before memory is taken."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from volume_cases import SHAPE, image, phantom, saved

from brainalign.errors import BrainAlignError, CorruptFileError, DataNotFoundError, InputError
from brainalign.types import Responses


def noisy(folder: Path, name: str) -> Path:
    """An image whose gzip holds incompressible values, as recordings do."""
    values = np.random.default_rng(0).integers(0, 2**15, (*SHAPE, 40)).astype(np.int16)
    return saved(folder, name, values=values)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_every_truncation_is_named(tmp_path: Path, name: str) -> None:
    """A file cut at any place, header edges included, is refused with its name; never a shorter recording."""
    whole = noisy(tmp_path, name).read_bytes()
    cut = tmp_path / f"cut_{name}"
    edges = [1, 4, 40, 347, 348, 349, 351, 352, 353, len(whole) - 8, len(whole) - 4, len(whole) - 1]
    spread = np.random.default_rng(1).integers(1, len(whole), 60).tolist()
    for length in [*edges, *spread]:
        cut.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match="cut_bold"):
            Responses.from_nifti(cut, np.ones(SHAPE))


def test_every_flipped_bit_of_gzip_is_found(tmp_path: Path) -> None:
    """The checksum stands behind the values, so the file is read to its end: no flip passes."""
    path = noisy(tmp_path, "bold.nii.gz")
    whole = path.read_bytes()
    first = 10 + whole[10:].index(b"\0") + 1 if whole[3] & 8 else 10
    for place in np.random.default_rng(2).integers(first, len(whole), 80):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(place) % 8
        path.write_bytes(flipped)
        with pytest.raises(CorruptFileError, match="bold.nii.gz"):
            Responses.from_nifti(path, np.ones(SHAPE))


def test_flips_are_found_in_lazy_images_too(tmp_path: Path) -> None:
    """An image of nibabel whose values are still in a damaged file is refused as the file is."""
    path = noisy(tmp_path, "bold.nii.gz")
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1
    lazy = nibabel.load(path)
    path.write_bytes(whole)
    with pytest.raises(CorruptFileError, match="bold.nii.gz is damaged gzip"):
        Responses.from_nifti(lazy)
    plain = noisy(tmp_path, "bold.nii")
    lazy = nibabel.load(plain)
    plain.write_bytes(plain.read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match="bold.nii: its values cannot be read"):
        Responses.from_nifti(lazy)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("dims", [(30000, 30000, 30000, 300), (4, 5, 6, 41), (4, 5, 6, 6)])
def test_dimensions_that_lie(tmp_path: Path, name: str, dims: tuple[int, ...]) -> None:
    """A header that claims more or fewer values than the file holds is refused at once, without memory."""
    raw = bytearray(noisy(tmp_path, "honest.nii").read_bytes())
    raw[40:50] = np.array([4, *dims], dtype="<i2").tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(raw)) if name.endswith("gz") else bytes(raw))
    tracemalloc.start()
    with pytest.raises(CorruptFileError, match=r"bold\.nii.* (cut|more than)"):
        Responses.from_nifti(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    """A small file that would fill the memory with zeros is refused before it is unpacked."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((640, 640, 640, 4))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4 + os.urandom(5_000_000), 0))
    with pytest.raises(CorruptFileError, match="would unpack 5000.* bytes to 2097152352, .* times as many"):
        Responses.from_nifti(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"bold.nii.gz is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer .* git lfs pull"),
        (b"/annex/objects/MD5E-s1--0.nii.gz\n", "git-annex pointer .* git annex get"),
        (b"../../.git/annex/objects/x", "git-annex pointer"),
        (b".git/annex/objects/x", "git-annex pointer"),
        (b"  <!DOCTYPE html><html>", "is a web page, not a recording"),
        (b"\x89PNG" + b"\0" * 1000, "is no NIfTI file .it begins with"),
        (b"\x5c\x01\0\0" + b"\0" * 100, "holds 104 bytes; the header alone takes 348"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes, text: str) -> None:
    """Placeholders, web pages, pictures and stumps are named as what they are."""
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=text):
        Responses.from_nifti(path)


def test_absent_files(tmp_path: Path) -> None:
    """A missing file, a folder and an annex link without content are three different things."""
    with pytest.raises(DataNotFoundError, match="nothing.nii does not exist"):
        Responses.from_nifti(tmp_path / "nothing.nii")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        Responses.from_nifti(tmp_path)
    link = tmp_path / "bold.nii.gz"
    link.symlink_to("../.git/annex/objects/aa/MD5E-s9--0.nii.gz")
    with pytest.raises(CorruptFileError, match="is a git-annex link without its content; run: git annex get"):
        Responses.from_nifti(link)


def rewritten(folder: Path, start: int, content: bytes) -> Path:
    """An uncompressed image with other bytes in its header."""
    path = saved(folder, "bold.nii")
    raw = bytearray(path.read_bytes())
    raw[start : start + len(content)] = content
    path.write_bytes(raw)
    return path


def test_damaged_headers(tmp_path: Path) -> None:
    """Magic, type code, dimensions and quaternion out of range are refused by name."""
    with pytest.raises(CorruptFileError, match="has the magic b'xyz.*NIfTI has 'n.1'"):
        Responses.from_nifti(rewritten(tmp_path, 344, b"xyz"))
    with pytest.raises(CorruptFileError, match="damaged NIfTI header: sform_code is 9, which cannot be"):
        Responses.from_nifti(rewritten(tmp_path, 254, b"\x09\0"))
    with pytest.raises(InputError, match="is the header of a .hdr/.img pair"):
        Responses.from_nifti(rewritten(tmp_path, 344, b"ni1"))
    with pytest.raises(CorruptFileError, match="bold.nii has a damaged NIfTI header"):
        Responses.from_nifti(rewritten(tmp_path, 70, b"\x63\x03"))
    with pytest.raises(CorruptFileError, match="the header says dimensions .4, 0, 6, 7.; each must be 1 or"):
        Responses.from_nifti(rewritten(tmp_path, 44, b"\0\0"))
    with pytest.raises(CorruptFileError, match="bold.nii has a damaged NIfTI header"):
        Responses.from_nifti(rewritten(tmp_path, 40, b"\x09\x00\x04\x00"))
    odd = image()
    odd.header["datatype"] = 9999
    with pytest.raises(CorruptFileError, match="image of run 1 .* has a damaged NIfTI header"):
        Responses.from_nifti(odd)
    quaternion = np.array([5, 5, 5], "<f4").tobytes()
    with pytest.raises(CorruptFileError, match="bold.nii has a damaged qform"):
        Responses.from_nifti(rewritten(tmp_path, 256, quaternion))


def test_a_header_of_rgb_is_refused(tmp_path: Path) -> None:
    """Pictures of three bytes per voxel are no measurements."""
    path = tmp_path / "rgb.nii"
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), path)
    with pytest.raises(InputError, match="rgb.nii holds values of dtype .*expected real numbers"):
        Responses.from_nifti(path)


def test_python_objects_in_extensions_are_not_opened(tmp_path: Path) -> None:
    """Extensions of the header are skipped, those that hold pickles too: nothing of them runs."""
    canary = tmp_path / "canary"
    payload = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    one = image()
    one.header.extensions.append(nibabel.nifti1.Nifti1Extension(16, payload))
    path = tmp_path / "bold.nii.gz"
    nibabel.save(one, path)
    r = Responses.from_nifti(path)
    assert r.values.max() == phantom().max()
    assert not canary.exists()


def test_memory_follows_the_mask(tmp_path: Path) -> None:
    """A path is read in blocks: with a mask of three voxels the whole series is never in memory."""
    values = np.random.default_rng(0).integers(0, 999, (40, 40, 20, 400)).astype(np.int16)
    path = saved(tmp_path, "long.nii.gz", values=values)
    mask = np.zeros((40, 40, 20))
    mask[3, 4, 5] = mask[39, 0, 0] = mask[0, 39, 19] = 1
    tracemalloc.start()
    r = Responses.from_nifti(path, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(r.values[:, 1], values[3, 4, 5])
    assert peak < 48e6 < values.size * 4


def test_flips_in_a_header_never_end_in_a_foreign_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each flipped bit of an uncompressed header is refused by name or passes; nothing is logged."""
    path = saved(tmp_path, "bold.nii")
    whole = path.read_bytes()
    refused = 0
    for place in range(0, 352 * 8, 3):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            Responses.from_nifti(path)
        except BrainAlignError as error:
            refused += "bold.nii" in str(error)
    assert refused > 150
    assert not caplog.records
