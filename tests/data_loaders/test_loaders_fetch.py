"""Fetching whole datasets: announced, verified, room first, nothing lost to a wrong file or a full disk."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_server import CONTENT, SIZE, HostileServer, Trick, fetch, left, part_of

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError, InputError, WriteError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._fetch import fetch_files, verify_files
from data_loaders._root import target_folder

SMALL = b"spikes" * 100
FILES = {"run 1/a b.npy": SMALL, "run 2/a.npy": b"volumes" * 50, "README.md": b"words"}


def tree(files: dict[str, bytes] = FILES) -> DatasetCard:
    """A dataset with folders; its files lie below ``source/``."""
    registered = tuple(
        RemoteFile(name, f"source/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    base = "https://example.invalid/"
    return DatasetCard("toy", "a toy", "CC0", "", "here", files=registered, base_url=base)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    served = {f"source/{name}".replace(" ", "%20"): content for name, content in FILES.items()}
    with HostileServer(served | {"a.npy": CONTENT}) as running:
        yield running


def test_fetch_announces_downloads_verifies_and_keeps(
    server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, size, checksum and licence are shown; files arrive whole; a second fetch asks for nothing."""
    folder = fetch_files(tree(), tmp_path, base_url=server.url)
    assert folder == tmp_path / "toy"
    assert left(tmp_path) == sorted(FILES)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    shown = capsys.readouterr()
    assert shown.out == ""
    for text in ("run 1/a b.npy  0.6 kB", tree().files[0].sha256, "licence: CC0", "3 of 3 files, 1.0 kB"):
        assert text in shown.err
    # nothing listens there: no file may be asked for again
    assert fetch_files(tree(), tmp_path, base_url="http://127.0.0.1:9/") == folder
    assert len(server.log) == 3


def test_one_line_a_file_without_a_terminal(
    server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a log goes one line for each file that has come, and where it was continued."""
    part_of(tmp_path).parent.mkdir(parents=True)
    part_of(tmp_path).write_bytes(CONTENT[:700])
    fetch(server, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[3].endswith("(0.7 kB are there)")
    assert lines[-1].startswith("  a.npy: 0.1 MB in ")
    assert lines[-1].endswith(" s, verified, continued at 700 bytes")
    assert not [line for line in lines if "%" in line or "\r" in line]


def test_progress_on_a_terminal(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets a bar that ends full, also after a restart of the file."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    server.tricks = [Trick(cut_after=SIZE // 2), Trick(ignore_range=True)]
    fetch(server, tmp_path)
    assert "  a.npy: 100%" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "trying again in" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_one_wrong_file_does_not_keep_the_others_away(server: HostileServer, tmp_path: Path) -> None:
    """A file that the source sends wrong is named at the end; the others are fetched and stay."""
    server.files["source/run%201/a%20b.npy"] = b"SPIKES" * 100
    with pytest.raises(
        CorruptFileError, match=r"1 of 3 files of 'toy' are wrong: .*registered content of run 1/a b.npy"
    ):
        fetch_files(tree(), tmp_path, base_url=server.url)
    bad = f"run 1/a b.npy.bad-{hashlib.sha256(b'SPIKES' * 100).hexdigest()[:8]}"
    assert left(tmp_path) == sorted([bad, "run 2/a.npy", "README.md"])
    server.files["source/run%201/a%20b.npy"] = SMALL
    fetch_files(tree(), tmp_path, base_url=server.url)
    assert len(server.log) == 4


@pytest.mark.parametrize("content", [b"mine", b"", b"/annex/objects/SHA256E-s1--0\n"])
def test_damaged_file_is_not_overwritten(server: HostileServer, tmp_path: Path, content: bytes) -> None:
    """What lies under a registered name and is not the file is reported, and left where it is."""
    (tmp_path / "toy/run 2").mkdir(parents=True)
    (tmp_path / "toy/run 2/a.npy").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"run 2/a.npy .*It was left as it is: move it away"):
        fetch_files(tree(), tmp_path, base_url=server.url)
    assert left(tmp_path) == sorted(FILES)
    assert (tmp_path / "toy/run 2/a.npy").read_bytes() == content


def test_annex_link_is_not_replaced(server: HostileServer, tmp_path: Path) -> None:
    """A link of git-annex without its content stays a link; the command that fills it is named."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/a.npy").symlink_to("../.git/annex/objects/x/a.npy")
    with pytest.raises(CorruptFileError, match=r"run: git annex get a.npy \(in .*toy\)"):
        fetch(server, tmp_path)
    assert (tmp_path / "toy/a.npy").is_symlink()
    assert server.log == []


def test_room_for_all_files_is_looked_for_first(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for the sum of what is missing nothing is asked for; both numbers are named."""
    usage = namedtuple("usage", "total used free")
    total = tree().size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - total + 1, total - 1))
    with pytest.raises(WriteError, match=r"'toy' needs 1.0 kB more in .*, where 1.0 kB are free; make"):
        fetch_files(tree(), tmp_path, base_url=server.url)
    assert (left(tmp_path), server.log) == ([], [])
    (tmp_path / "toy/README.md").write_bytes(FILES["README.md"])
    fetch_files(tree(), tmp_path, base_url=server.url)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, SIZE - 700))
    part_of(tmp_path / "more").parent.mkdir(parents=True)
    part_of(tmp_path / "more").write_bytes(CONTENT[:700])
    assert fetch(server, tmp_path / "more") == CONTENT


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, r"No space left on device\): 99.7 kB more are needed, .* are free"),
        (errno.EIO, "Input/output"),
    ],
)
def test_disk_that_fails_in_the_middle(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    """A disk that fills up or fails gives one message; what had come is kept and continued."""

    class Failing:
        """A file whose first write is cut short and whose second fails."""

        def __init__(self, stream: Any) -> None:
            self.stream, self.writes = stream, 0

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *args: object) -> None:
            self.stream.close()

        def seek(self, to: int) -> None:
            self.stream.seek(to)

        def write(self, content: bytes) -> int:
            self.writes += 1
            if self.writes > 1:
                raise OSError(number, os.strerror(number))
            written: int = self.stream.write(content[:300])
            return written

    def opening(path: Any, *args: Any, **kwargs: Any) -> Any:
        return Failing(open(path, *args, **kwargs))

    with monkeypatch.context() as patch:
        patch.setattr("data_loaders._download.open", opening, raising=False)
        with pytest.raises(WriteError, match=rf"part cannot be written \({text}.*What has come is kept"):
            fetch(server, tmp_path)
    assert part_of(tmp_path).read_bytes() == CONTENT[:300]
    assert fetch(server, tmp_path) == CONTENT
    assert server.ranges() == [None, "bytes=300-"]


@pytest.mark.parametrize("call", ["open", "mkdir", "replace", "link"])
def test_every_failing_call_is_a_clean_message(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A folder that refuses a file, a folder or a move is named; without hard links all goes well."""

    number = errno.EPERM if call == "link" else errno.EROFS

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr("data_loaders._download.open", fail, raising=False)
        else:
            patch.setattr(Path if call == "mkdir" else os, call, fail)
        if call == "link":  # a file system without hard links
            assert fetch(server, tmp_path) == CONTENT
            return
        with pytest.raises(WriteError, match=r"(cannot|could not) be written \(Read-only file system\)"):
            fetch(server, tmp_path)
    assert fetch(server, tmp_path) == CONTENT


def test_folder_that_cannot_be_made(server: HostileServer, tmp_path: Path) -> None:
    """A place below a regular file is refused with what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match=r"file/toy cannot be written .*choose another place with root="):
        fetch_files(tree(), tmp_path / "file", base_url=server.url)


def test_validator_that_cannot_be_written(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full before the first byte is named as such."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(WriteError, match=r"cannot be written \(Disk quota exceeded\): 0.1 MB more are"):
        fetch(server, tmp_path)


def test_dataset_without_a_public_source(tmp_path: Path) -> None:
    """A dataset that cannot be fetched says why and what to do."""
    own = DatasetCard("toy", "a toy", "CC0", "", "here", fetch_note="copy it by hand")
    with pytest.raises(InputError, match="the dataset 'toy' cannot be fetched: copy it by hand"):
        fetch_files(own, tmp_path)


def test_offline_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With BRAINALIGN_OFFLINE=1 no socket is made, and the error says so."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    with pytest.raises(
        DataNotFoundError, match="BRAINALIGN_OFFLINE is set, no connection is made; 5 of 5 files"
    ):
        dl.fetch("macaque_v4", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_verify_files_names_each_problem(tmp_path: Path) -> None:
    """Absent, damaged, swapped and pointer files are listed in the order of the registry, no others."""
    names = ["a", "b/c", "d", "e", "f", "g"]
    files = {name: bytes([i]) * 40 for i, name in enumerate(names, start=65)} | {"h": b""}
    registered = tree(files)
    folder = tmp_path / "toy"
    (folder / "b").mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert verify_files(registered, tmp_path) == []
    (folder / "a").unlink()
    (folder / "b/c").write_bytes(b"B" * 39 + b"b")
    (folder / "d").write_bytes(files["e"])
    (folder / "e").write_bytes(files["d"][:10])
    (folder / "f").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    found = dict(verify_files(registered, tmp_path))
    assert list(found) == ["a", "b/c", "d", "e", "f"]
    assert found["a"] == "absent; expected 40 bytes"
    digest = hashlib.sha256(b"B" * 39 + b"b").hexdigest()
    assert (
        f"has 40 bytes and sha256 {digest}; expected 40 bytes and {registered.files[1].sha256}"
        in found["b/c"]
    )
    assert "(registry of 'toy')" in found["b/c"]
    assert found["d"].endswith("it has the content of e")
    assert "has 10 bytes" in found["e"]
    assert "is a git-lfs pointer without its content; run: git lfs pull --include=f" in found["f"]


def test_verify_files_needs_a_folder_and_a_registry(tmp_path: Path) -> None:
    """A dataset that is nowhere, or that registers nothing, is not called sound."""
    with pytest.raises(DataNotFoundError, match="the dataset 'toy' is not at"):
        verify_files(tree(), tmp_path)
    own = DatasetCard("toy", "a toy", "CC0", "", "here", fetch_note="Your own.")
    with pytest.raises(InputError, match="'toy' has no registered files to check; Your own."):
        verify_files(own, tmp_path)


def test_fetch_fills_the_folder_that_load_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete dataset is completed where it lies; a README makes no folder that of a dataset."""
    monkeypatch.setenv("BRAINALIGN_DATA", str(tmp_path / "shared"))
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    assert target_folder(tree(), None) == tmp_path / "shared/toy"
    (tmp_path / "cache/datasets/toy").mkdir(parents=True)
    assert target_folder(tree(), None) == tmp_path / "cache/datasets/toy"
    (tmp_path / "README.md").write_text("mine")
    assert target_folder(tree(), tmp_path) == tmp_path / "toy"
    assert target_folder(tree(), tmp_path / "toy") == tmp_path / "toy"
    (tmp_path / "renamed/run 2").mkdir(parents=True)
    (tmp_path / "renamed/run 2/a.npy").write_bytes(b"")
    assert target_folder(tree(), tmp_path / "renamed") == tmp_path / "renamed"


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a//b", "a/../b", "a\\b", "C:a", "", ".", "a/", "a\nb", "a\0"]
)
def test_registered_names_stay_inside_the_folder(name: str) -> None:
    """A name that could lead out of the folder of the dataset cannot be registered."""
    with pytest.raises(
        InputError, match="is no name of a registered file; expected a path inside the folder"
    ):
        RemoteFile(name, "a", 1, "0" * 64)


@pytest.mark.parametrize(("size", "sha256"), [(-1, "0" * 64), (1, "0" * 63), (1, "A" * 64), (1, "")])
def test_registered_size_and_sum_are_those_of_a_file(size: int, sha256: str) -> None:
    """A negative size or something that is no sha256 cannot be registered."""
    with pytest.raises(
        InputError, match="the registered file 'a' has size .*; expected its bytes and 64 hexa"
    ):
        RemoteFile("a", "a", size, sha256)


@pytest.mark.real
def test_files_that_are_there_need_no_network(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registered checksums are those of the real files: offline, fetch returns their read-only folder."""
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    monkeypatch.setenv("BRAINALIGN_DATA", str(real_data))
    assert dl.fetch("macaque_v4") == real_data / "macaque_v4"
    assert dl.fetch("objects92", root=real_data / "objects92") == real_data / "objects92"
    assert verify_files(dl.describe("object2vec81"), None) == []
