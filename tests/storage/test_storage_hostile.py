"""Files that are not ours, or pretend to be: refused by name, nothing run, no memory asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import resource
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import storage_cases

from brainalign.errors import BrainAlignError, CorruptFileError, DataNotFoundError, InputError
from brainalign.storage import load, read_info, save, verify
from brainalign.storage._container import open_container
from brainalign.storage._write import index_bytes

SECRET = "the content of another file"


class _Runs:
    def __reduce__(self):
        return (os.mkdir, (str(Path(os.environ["CANARY"])),))


def _plain_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros((3, 3))


def _external(path: Path) -> None:
    secret = path.with_name("secret.bin")
    secret.write_text(SECRET * 10)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["link"] = h5py.ExternalLink(str(secret), "/")
        file.create_dataset("values", (10,), "u1", external=[(str(secret), 0, 10)])


def _huge(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (10**6, 10**6), "f8", chunks=(1000, 1000))


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Runs()))


def _npy(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def _npz(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))


FOREIGN = [
    (lambda p: p.write_bytes(b""), CorruptFileError, r"is empty \(0 bytes\)"),
    (lambda p: p.write_bytes(b"x" * 2000), CorruptFileError, r"\(2000 bytes\) is not a file written by"),
    (lambda p: p.write_bytes(b"\x80"), CorruptFileError, r"\(1 bytes\) is not a file written by"),
    (_plain_hdf5, CorruptFileError, "is an HDF5 file whose header is not that of a file written by"),
    (_external, CorruptFileError, "is an HDF5 file whose header is not that of"),
    (_huge, CorruptFileError, "is an HDF5 file whose header is not that of"),
    (_pickled, CorruptFileError, "is a Python pickle, which can run code when opened; it is refused"),
    (_npy, CorruptFileError, r"is a numpy \.npy array"),
    (_npz, CorruptFileError, "is a zip archive"),
    (lambda p: p.write_bytes(b"\x1f\x8b" + b"0" * 600), CorruptFileError, "is a gzip file"),
    (lambda p: p.write_bytes(b"MATLAB 5.0" + b"0" * 600), CorruptFileError, "is a MATLAB file"),
    (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        DataNotFoundError,
        "is a git-LFS pointer, not the content; run 'git lfs pull'",
    ),
    (
        lambda p: p.write_text("/annex/objects/MD5E-s1--0.h5\n"),
        DataNotFoundError,
        "is a git-annex pointer, not the content; run 'git annex get'",
    ),
    (
        lambda p: p.symlink_to(".git/annex/objects/x/y/MD5E-s1--0.h5"),
        DataNotFoundError,
        "is a link to .*, which does not exist; run 'git annex get' on it",
    ),
    (lambda p: p.symlink_to("gone"), DataNotFoundError, "is a link to gone, .* its target is gone"),
    (lambda p: p.mkdir(), InputError, "is a folder; give the name of a file in it"),
    (os.mkfifo, InputError, "is not a regular file"),
    (lambda p: None, DataNotFoundError, "does not exist; check the path"),
]


@pytest.mark.parametrize(("make", "error", "text"), FOREIGN)
def test_foreign_files_are_named(tmp_path, monkeypatch, make, error, text):
    """What is not ours is refused by all readers with what it is; no code runs, nothing else is read."""
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    make(tmp_path / "x.h5")
    for read in (load, verify, read_info):
        with pytest.raises(error, match=text) as caught:
            read(tmp_path / "x.h5")
        assert SECRET not in str(caught.value)
    assert not (tmp_path / "canary").exists()


def test_path_below_a_file_does_not_exist(tmp_path):
    """A path through a regular file is a missing file."""
    (tmp_path / "f").write_text("x")
    with pytest.raises(DataNotFoundError, match="does not exist"):
        load(tmp_path / "f" / "x.h5")


def test_path_that_cannot_be_opened(tmp_path):
    """An error of the operating system is passed on with the path."""
    with pytest.raises(DataNotFoundError, match="cannot be opened: File name too long"):
        load(tmp_path / ("x" * 300))


def _forge(path: Path, *, header=None, index=None, **arrays) -> None:
    """Rewrite header, index or the arrays of the index, with checksums that fit."""
    container = open_container(path)
    content = bytearray(path.read_bytes())
    old = container.header
    if arrays:
        fields = [dataclasses.replace(a, **arrays.get(a.name, {})) for a in container.arrays.values()]
        index = json.loads(index_bytes(container.structure_sha256, fields))
    raw = json.dumps(index).encode() if index is not None else None
    if raw is not None and len(raw) > old.index_size:
        raw = json.dumps(index, separators=(",", ":")).encode()
    if raw is not None:
        assert len(raw) <= old.index_size
        content[old.index_offset : old.index_offset + old.index_size] = raw.ljust(old.index_size)
        old = dataclasses.replace(old, index_sha256=hashlib.sha256(raw.ljust(old.index_size)).hexdigest())
    content[:512] = dataclasses.replace(old, **(header or {})).as_bytes()
    path.write_bytes(content)


@pytest.fixture
def ours(tmp_path):
    """A small valid file."""
    path = tmp_path / "ours.h5"
    save(storage_cases.responses(), path)
    return path


def test_newer_schema_is_refused_by_name(ours):
    """A file of a later version says which version wrote it and what this one reads."""
    _forge(ours, header={"schema": 2, "version": "9.1"})
    with pytest.raises(
        InputError, match=r"has schema 2, written by brainalign 9\.1; this version reads schema 1"
    ):
        load(ours)


@pytest.mark.parametrize(
    "header",
    [
        {"index_size": 1 << 40},
        {"index_offset": 5},
        {"size": -3},
        {"kind": 3},
        {"index_size": 10.5},
    ],
)
def test_impossible_headers_are_refused(ours, header):
    """A header whose checksum fits and whose numbers cannot be is refused before anything is read."""
    _forge(ours, header=header)
    with pytest.raises(CorruptFileError, match=r"describes no possible file|is truncated"):
        load(ours)


def test_headers_of_other_fields_are_refused(ours):
    """A header that is no JSON, or has other fields, is refused."""
    content = ours.read_bytes()
    for body in (b"brainalign file\n[1, 2]", b"brainalign file\n" + b'{"schema": 1, "version": "1", "x": 1}'):
        head = body.ljust(447)
        ours.write_bytes(head + hashlib.sha256(head).hexdigest().encode() + b"\n" + content[512:])
        with pytest.raises(CorruptFileError, match="the header is no header of brainalign"):
            load(ours)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shape": (10**12, 10**6)}, "has 1 chunks of"),
        ({"shape": (60,)}, "has shape"),
        ({"shape": (-1, 40)}, "no counts"),
        ({"chunks": (0, 40)}, "and chunks"),
        ({"chunks": (10**9, 10**9)}, "has a chunk outside of the file"),
        ({"offsets": (10**9,)}, "has a chunk outside of the file"),
        ({"offsets": (3,)}, "has a chunk outside of the file"),
        ({"offsets": (True,)}, "no counts"),
        ({"digests": ("x",)}, "a digest that is no sha256"),
        ({"digests": ()}, "has 1 chunks of"),
        ({"name": "units/columns/unit_id"}, "two arrays have the same name"),
        ({"name": 3}, "has dtype"),
        ({"dtype": np.dtype("O")}, r"has dtype '\|O'"),
        ({"dtype": np.dtype("f8,f8")}, "has dtype"),
    ],
)
def test_impossible_arrays_are_refused(ours, change, text):
    """An index whose checksum fits and whose sizes, places or dtypes cannot be is refused."""
    _forge(ours, values=change)
    with pytest.raises(CorruptFileError, match=f"the index describes no possible file.*{text}"):
        load(ours)


def test_shared_chunks_are_refused(ours):
    """Two arrays in the same bytes, by which a small file could claim a large content, are refused."""
    container = open_container(ours)
    other = container.arrays["samples/columns/onset"].offsets
    _forge(ours, **{"samples/columns/kept": {"offsets": other}})
    with pytest.raises(CorruptFileError, match=r"chunks of .* overlap"):
        load(ours)


@pytest.mark.parametrize("index", [[], {}, {"structure_sha256": "0", "arrays": []}, None, {"arrays": {}}])
def test_other_indices_are_refused(ours, index):
    """An index that is valid JSON and no index is refused."""
    content = ours.read_bytes()
    header = open_container(ours).header
    raw = json.dumps(index).encode().ljust(header.index_size)
    head = dataclasses.replace(header, index_sha256=hashlib.sha256(raw).hexdigest()).as_bytes()
    at = header.index_offset
    ours.write_bytes(head + content[512:at] + raw + content[at + len(raw) :])
    with pytest.raises(CorruptFileError, match="the index describes no possible file"):
        load(ours)


def _with_tree(path: Path, text: str) -> None:
    """Write a valid container around any description."""
    from brainalign.storage._write import write_container

    arrays = {"brainalign": np.array([text.encode()]), "values": np.zeros((2, 2)), "column": np.zeros(2)}
    write_container(path, "Responses", arrays)


VALID = '{"kind": "Responses", "values": "values", "samples": null, "units": null, "times": null, "info": {}}'


def test_valid_description_is_read(tmp_path):
    """The description that the next test breaks is read when it is whole."""
    _with_tree(tmp_path / "x.h5", VALID)
    assert load(tmp_path / "x.h5").shape == (2, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "its description cannot be read"),
        ("[" * 100_000, "its description cannot be read"),
        ('{"kind": "Scores"}', "its description cannot be read: kind 'Scores' in a file of kind 'Responses'"),
        ('{"kind": "Responses"}', "the arrays do not make a Responses"),
        (VALID.replace('"values": "values"', '"values": "gone"'), "do not make a Responses"),
        (VALID.replace('"values": "values"', '"values": "brainalign"'), "do not make a Responses"),
        (VALID.replace("{}", '{"$code": 1}'), "the mark '\\$code' is unknown"),
        (VALID.replace('"times": null', '"times": "values"'), "do not make a Responses"),
        (
            VALID.replace('"samples": null', '"samples": {"rows": 2, "columns": []}'),
            "do not make a Responses",
        ),
        (
            VALID.replace(
                '"samples": null',
                '"samples": {"rows": 3, "columns": [{"name": "sample_id", "kind": "number", "dtype": "x",'
                '"values": "column"}]}',
            ),
            "the column 'sample_id' has 2 rows instead of 3",
        ),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, text, message):
    """A description that does not fit the arrays is a damaged file, whatever it says."""
    _with_tree(tmp_path / "x.h5", text)
    with pytest.raises(CorruptFileError, match=message):
        load(tmp_path / "x.h5")


@pytest.mark.parametrize("text", ['{"kind": "Responses"}', VALID.replace("{}", '{"$code": 1}')])
def test_unreadable_info_is_refused(tmp_path, text):
    """`read_info` says so where a file has no readable info."""
    _with_tree(tmp_path / "x.h5", text)
    with pytest.raises(CorruptFileError, match="info cannot be read"):
        read_info(tmp_path / "x.h5")


def _try_to_load(path: Path) -> BrainAlignError | None:
    try:
        load(path)
    except BrainAlignError as error:
        return error
    return None


def test_any_forged_number_is_refused_or_harmless(ours):
    """One number after the other of a valid index replaced: an error of ours or a valid noun."""
    container = open_container(ours)
    original = ours.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(0)
    names = list(container.arrays)
    n_errors = 0
    for _ in range(150):
        name = names[rng.integers(len(names))]
        field = ("shape", "chunks", "offsets")[rng.integers(3)]
        values = list(getattr(container.arrays[name], field))
        values[rng.integers(len(values))] = int(rng.choice([0, 1, 2, 600, 2**31, 2**61, -5]))
        _forge(ours, **{name: {field: tuple(values)}})
        error = _try_to_load(ours)
        assert error is None or "ours.h5" in str(error)
        n_errors += error is not None
        ours.write_bytes(original)
    assert n_errors > 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
