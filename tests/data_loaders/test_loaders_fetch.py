"""Fetching from a server on this machine; offline opens no socket."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import data_loaders as dl
from brainalign.errors import CorruptFileError, DataNotFoundError
from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._fetch import fetch_files

CONTENT = b"spikes" * 100


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/files/a%20b.npy")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The base URL of a server that serves one file, ``files/a b.npy``."""
    (tmp_path / "www/files").mkdir(parents=True)
    (tmp_path / "www/files/a b.npy").write_bytes(CONTENT)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/"
    http.shutdown()
    http.server_close()
    thread.join()


def card(source_path: str = "files/a b.npy", content: bytes = CONTENT) -> DatasetCard:
    file = RemoteFile("a.npy", source_path, len(content), hashlib.sha256(content).hexdigest())
    return DatasetCard("toy", "a toy", "CC0", "", "here", files=(file,), base_url="https://example.invalid/")


def test_fetch_announces_downloads_verifies_and_keeps(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, size, checksum and licence are shown; the file arrives whole; a second fetch asks for nothing."""
    folder = fetch_files(card(), tmp_path / "root", base_url=server)
    assert (folder, (folder / "a.npy").read_bytes()) == (tmp_path / "root/toy", CONTENT)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("a.npy  0.6 kB", card().files[0].sha256, "licence: CC0", "1 of 1 files"):
        assert part in shown.err
    # nothing listens there: the file must not be asked for again
    assert fetch_files(card(), tmp_path / "root", base_url="http://127.0.0.1:9/") == folder
    assert [p.name for p in folder.iterdir()] == ["a.npy"]


def test_other_content_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    """A file with another checksum than registered never gets its name."""
    with pytest.raises(CorruptFileError, match=r"does not have the registered content of a.npy"):
        fetch_files(card(content=b"other"), tmp_path / "root", base_url=server)
    assert list((tmp_path / "root/toy").iterdir()) == []


@pytest.mark.parametrize("path", ["files/absent.npy", "moved/a.npy"])
def test_failed_download(server: str, tmp_path: Path, path: str) -> None:
    """An absent file, and a redirect to elsewhere, give an error and no file."""
    with pytest.raises(
        (DataNotFoundError, CorruptFileError), match=r"could not be downloaded|registered content"
    ):
        fetch_files(card(path), tmp_path / "root", base_url=server)
    assert list((tmp_path / "root/toy").iterdir()) == []


def test_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    """A file of that name with another checksum is reported and left where it is."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/a.npy").write_bytes(b"mine")
    with pytest.raises(CorruptFileError, match=r"a.npy is there with sha256 .* expected .* Move it away"):
        fetch_files(card(), tmp_path)
    assert (tmp_path / "toy/a.npy").read_bytes() == b"mine"


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


@pytest.mark.real
def test_files_that_are_there_need_no_network(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The registered checksums are those of the real files: offline, fetch returns their folder."""
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    monkeypatch.setenv("BRAINALIGN_DATA", str(real_data))
    assert dl.fetch("macaque_v4") == real_data / "macaque_v4"
    assert dl.fetch("objects92", root=real_data / "objects92") == real_data / "objects92"
