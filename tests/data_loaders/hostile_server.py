"""A real HTTP server on this machine that does what servers and networks do wrong."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_loaders._card import DatasetCard, RemoteFile
from data_loaders._connection import Limits
from data_loaders._fetch import fetch_files

SIZE = 100_000
CONTENT = random.Random(0).randbytes(SIZE)
LIMITS = Limits(
    connect_s=5, header_s=10, stall_s=10, window_s=10, attempts=3, backoff_s=0.01, longest_wait_s=1
)
IMPATIENT = replace(LIMITS, attempts=6, header_s=0.3, stall_s=0.3, window_s=0.3, min_rate=3000)


@dataclass(frozen=True)
class Trick:
    """How one answer departs from a good one.

    cut_after, stall_after : after so many bytes of the body the connection ends, or is silent
    reset : the connection ends by a reset
    drip_s : seconds between single bytes of the body; header_drip_s : of the header
    body : sent in place of the file; endless : repeated for ever, without a length
    with_length : False leaves Content-Length out
    then : called when the answer has been sent
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    reset: bool = False
    drip_s: float | None = None
    header_drip_s: float | None = None
    endless: bool = False
    ignore_range: bool = False
    with_length: bool = True
    then: Callable[[], object] | None = None


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    path: str
    range: str | None
    if_range: str | None
    headers: dict[str, str]


class HostileServer(ThreadingHTTPServer):
    """Serves `files` with ranges and validators; each request uses up one of `tricks`, if any is left."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.tricks: list[Trick] = []
        self.always: Trick | None = None
        self.log: list[Request] = []
        self.etag: str | None = '"v1"'
        self.released = threading.Event()
        self.scheme, self.host = "http", "127.0.0.1"
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.server_port}/"

    def ranges(self) -> list[str | None]:
        """The Range header of every request so far."""
        return [request.range for request in self.log]

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are what is tested."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request as the next trick says."""

    server: HostileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.log.append(
            Request(self.path, self.headers["Range"], self.headers["If-Range"], dict(self.headers.items()))
        )
        trick = server.tricks.pop(0) if server.tricks else server.always or Trick()
        self.close_connection = True
        self._answer(trick)
        if trick.then is not None:
            trick.then()

    def _answer(self, trick: Trick) -> None:
        content = self.server.files.get(self.path.lstrip("/").split("?")[0])
        status, headers, body = 200, {}, content
        if content is None:
            status, body = 404, b"404: Not Found"
        elif self._wants_range(trick):
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            if start >= len(content):
                status, body = 416, b""
                headers["Content-Range"] = f"bytes */{len(content)}"
            else:
                status, body = 206, content[start:]
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.server.etag:
            headers["ETag"] = self.server.etag
        if trick.body is not None:
            body = trick.body
        headers |= {"Content-Length": str(len(body))} if trick.with_length and not trick.endless else {}
        headers |= trick.headers
        lines = [f"HTTP/1.1 {trick.status or status} Words\r\n"]
        lines += [f"{k}: {v}\r\n" for k, v in headers.items()]
        self._header("".join([*lines, "\r\n"]).encode(), trick)
        self._body(body, trick)

    def _wants_range(self, trick: Trick) -> bool:
        if not self.headers["Range"] or trick.ignore_range:
            return False
        condition = self.headers["If-Range"]
        return condition is None or condition == self.server.etag

    def _header(self, header: bytes, trick: Trick) -> None:
        if trick.header_drip_s is None:
            self.wfile.write(header)
        else:
            self._drip(header, trick.header_drip_s)

    def _body(self, body: bytes, trick: Trick) -> None:
        if trick.drip_s is not None:
            self._drip(body, trick.drip_s)
            return
        ends = [n for n in (trick.cut_after, trick.stall_after) if n is not None]
        self.wfile.write(body[: min(ends, default=len(body))])
        if trick.stall_after is not None:
            self.server.released.wait(30)
        if trick.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while trick.endless and not self.server.released.is_set():
            self.wfile.write(body)

    def _drip(self, content: bytes, pause_s: float) -> None:
        for i in range(len(content)):
            self.wfile.write(content[i : i + 1])
            if self.server.released.wait(pause_s):
                return


class TunnelProxy:
    """An HTTP proxy that answers CONNECT and leads every tunnel to `port` of this machine."""

    def __init__(self, port: int, refuse: bool = False) -> None:
        self.asked: list[str] = []
        self._port, self._refuse = port, refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> TunnelProxy:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._tunnel(client)

    def _tunnel(self, client: socket.socket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += client.recv(1)
        self.asked.append(asked.decode())
        if self._refuse:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
            back.start()
            _pipe(client, server)
            back.join()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def use_tls(server: HostileServer, folder: Path, host: str) -> Path:
    """Make a server speak TLS with a certificate of its own for `host`; returns the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, no certificate can be made")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme, server.host = "https", host
    return certificate


def card(content: bytes = CONTENT, hosts: tuple[str, ...] = ()) -> DatasetCard:
    """A dataset of one registered file."""
    file = RemoteFile("a.npy", "a.npy", len(content), hashlib.sha256(content).hexdigest())
    base = "https://example.invalid/"
    return DatasetCard("toy", "a toy", "CC0", "", "here", files=(file,), base_url=base, hosts=hosts)


def fetch(server: HostileServer, root: Path, limits: Limits = LIMITS, of: DatasetCard | None = None) -> bytes:
    """Fetch that file, require that nothing else is left in the folder, return its content."""
    folder = fetch_files(of or card(), root, base_url=server.url, limits=limits)
    assert [p.name for p in folder.iterdir()] == ["a.npy"], "something was left behind"
    return (folder / "a.npy").read_bytes()


def part_of(root: Path) -> Path:
    """Where the file grows."""
    return root / f"toy/.fetch/a.npy.{hashlib.sha256(CONTENT).hexdigest()[:8]}.part"


def left(root: Path) -> list[str]:
    """Every file below the folder of the dataset."""
    return sorted(str(p.relative_to(root / "toy")) for p in (root / "toy").rglob("*") if p.is_file())


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return as soon as the condition holds; fail with words where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.005)
