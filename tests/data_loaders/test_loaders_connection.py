"""Which hosts are asked and which never are; TLS, proxies, and what messages may show."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_server import (
    CONTENT,
    IMPATIENT,
    LIMITS,
    SIZE,
    HostileServer,
    Trick,
    TunnelProxy,
    card,
    fetch,
    use_tls,
)

from brainalign.errors import DataNotFoundError, InputError
from data_loaders._addresses import refuse_private
from data_loaders._connection import RetriableError, Source
from data_loaders._fetch import fetch_files

HALF = SIZE // 2


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer({"a.npy": CONTENT}) as running:
        yield running


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket can be made."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[object]:
    """Let names lead to these addresses, one list a look-up; returns the look-ups made."""
    asked: list[object] = []

    def lookup(host: object, port: int, **kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://example.org/",
            "ftp://example.org/",
            "file:///etc/",
            "//example.org/",
            "example.org/",
            "https:///",
        ),
        *(
            "https://exa mple.org/",
            "https://example.org\r\nX: y/",
            "https://[::1/",
            "https://example.org:port/",
        ),
        *(
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "gopher://127.0.0.1/",
            "http://127.0.0.1.example.org/",
        ),
    ],
)
def test_only_https_is_fetched_from(tmp_path: Path, address: str) -> None:
    """Every other scheme, and plain http to another machine, is refused before a look-up."""
    with pytest.raises(InputError, match="cannot be fetched from; expected an https:// address"):
        fetch_files(card(), tmp_path, base_url=address)


@pytest.mark.usefixtures("no_connection")
def test_a_card_may_not_name_this_machine(tmp_path: Path) -> None:
    """Only the caller may name a server on this machine; a card that does is refused."""
    for address, kind in (
        ("http://127.0.0.1:8000/", InputError),
        ("https://127.0.0.1:8000/", DataNotFoundError),
    ):
        with pytest.raises(
            kind, match=r"expected an https|leads to 127.0.0.1, which is not a public address"
        ):
            fetch_files(replace(card(), base_url=address), tmp_path)


def test_no_secret_is_shown(
    server: HostileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """User, password and query of an address appear in no message."""
    with pytest.raises(
        InputError, match="holds a user name or a password; public files need none"
    ) as refused:
        fetch_files(card(), tmp_path, base_url="https://me:SECRET@example.org/?token=SECRET")
    server.always = Trick(cut_after=0)
    with pytest.raises(DataNotFoundError) as given_up:
        fetch_files(card(), tmp_path, base_url=server.url + "b?token=SECRET&file=", limits=LIMITS)
    server.always = Trick(status=302, headers={"Location": "http://me:SECRET@127.0.0.1:1/?SECRET"})
    with pytest.raises(DataNotFoundError, match="redirects to http://127.0.0.1:1/, which") as redirected:
        fetch_files(card(), tmp_path, base_url=server.url + "b?token=SECRET&file=", limits=LIMITS)
    shown = [*(str(e.value) for e in (refused, given_up, redirected)), *capsys.readouterr()]
    assert not [text for text in shown if "SECRET" in text]
    assert server.log[0].path == "/b?token=SECRET&file=a.npy"


def test_redirect_on_the_same_host_is_followed(server: HostileServer, tmp_path: Path) -> None:
    """A moved file is found, and the range goes with the request."""
    server.files["new/a.npy"] = CONTENT
    moved = Trick(status=302, headers={"Location": "/new/a.npy"}, body=b"")
    server.tricks = [moved, Trick(cut_after=HALF), moved]
    assert fetch(server, tmp_path) == CONTENT
    assert [(r.path, r.range) for r in server.log][2:] == [
        ("/a.npy", f"bytes={HALF}-"),
        ("/new/a.npy", f"bytes={HALF}-"),
    ]


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://localhost:{port}/a.npy",
            "http://127.0.0.1:{other}/a.npy",
            "http://127.0.0.2:{other}/a.npy",
        ),
        *(
            "https://127.0.0.1:{other}/a.npy",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]:{other}/",
        ),
        *(
            "ftp://127.0.0.1/a.npy",
            "file:///etc/passwd",
            "//example.org/a.npy",
            "http://[bad",
            "http://x@127.0.0.1:{port}/a.npy",
        ),
    ],
)
def test_redirect_elsewhere_is_refused(server: HostileServer, tmp_path: Path, location: str) -> None:
    """A redirect to a host that the card does not name is refused by name, at once; nobody else is asked."""
    with HostileServer({"a.npy": CONTENT}) as other:
        target = location.format(port=server.server_port, other=other.server_port)
        server.always = Trick(status=302, headers={"Location": target}, body=b"")
        with pytest.raises(DataNotFoundError, match=r"/a.npy redirects to .*, which is not followed: "):
            fetch(server, tmp_path)
        assert (len(server.log), other.log) == (1, [])


def test_redirect_to_a_host_that_the_card_names(server: HostileServer, tmp_path: Path) -> None:
    """The further hosts of a card may be redirected to."""
    with HostileServer({"b.npy": CONTENT}) as other:
        server.always = Trick(status=307, headers={"Location": other.url + "b.npy"}, body=b"")
        named = card(hosts=(f"127.0.0.1:{other.server_port}", "objects.example.org"))
        assert fetch(server, tmp_path, of=named) == CONTENT
        assert len(other.log) == 1


def test_redirects_in_a_circle_end(server: HostileServer, tmp_path: Path) -> None:
    """Six redirects are one too many."""
    server.always = Trick(status=301, headers={"Location": "/a.npy"}, body=b"")
    with pytest.raises(DataNotFoundError, match="more than 5 redirects"):
        fetch(server, tmp_path)
    assert len(server.log) == 6


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    ],
)
def test_name_that_leads_into_the_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """No private, link-local or wrapped address is connected to, also when a public one stands beside it."""
    for answer in ([address], ["8.8.8.8", address]):
        resolve_to(monkeypatch, answer)
        with pytest.raises(
            DataNotFoundError, match=r"example.invalid leads to .*, which is not a public address"
        ):
            fetch_files(card(), tmp_path, limits=LIMITS)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_are_asked(address: str) -> None:
    """Public addresses pass, also one that an IPv6-only network wraps."""
    refuse_private("example.org", address, loopback=False)


@pytest.mark.usefixtures("no_connection")
def test_loopback_that_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who names this machine gets this machine only."""
    resolve_to(monkeypatch, ["8.8.8.8"])
    with pytest.raises(DataNotFoundError, match=r"localhost leads to 8.8.8.8, which is not of this machine"):
        fetch_files(card(), tmp_path, base_url="http://localhost:8000/")


def test_the_address_that_was_checked_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up once a connection: a second answer cannot lead elsewhere (DNS rebinding)."""
    asked = resolve_to(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    reached: list[object] = []

    class Recorded(socket.socket):
        def connect(self, address: object) -> None:
            reached.append(address)
            raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket, "socket", Recorded)
    with pytest.raises(
        DataNotFoundError, match=r"cannot be reached \(ConnectionRefusedError.*connected to the internet"
    ):
        fetch_files(card(), tmp_path)
    assert (asked, reached) == (["example.invalid"], [("93.184.215.14", 443)])


def test_lost_network_is_waited_for_only_after_an_answer(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network the first look-up is the last; in the middle of a file it is tried again."""
    lookup, failing = socket.getaddrinfo, [False]

    def failing_lookup(*args: object, **kwargs: object) -> object:
        if failing[0]:
            failing[0] = False
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return lookup(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", failing_lookup)
    failing[0] = True
    with pytest.raises(DataNotFoundError, match=r"cannot be reached \(gaierror.*connected to the internet\?"):
        fetch(server, tmp_path)
    server.tricks = [Trick(cut_after=HALF, then=lambda: failing.__setitem__(0, True))]
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.log) == 2


def test_offline_source_asks_nobody(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection itself refuses too, whoever calls it."""
    monkeypatch.setenv("BRAINALIGN_OFFLINE", "1")
    with (
        pytest.raises(DataNotFoundError, match="BRAINALIGN_OFFLINE is set, .*a.npy is not asked for"),
        Source(server.url, loopback=True).open(server.url + "a.npy", {}),
    ):
        pass
    assert server.log == []


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of unknown origin, or of another name, is refused; SSL_CERT_FILE makes it known."""
    certificate = use_tls(server, tmp_path, "localhost")
    with pytest.raises(DataNotFoundError, match=r"certificate of localhost is not trusted \(self-signed"):
        fetch(server, tmp_path / "root")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.tricks = [Trick(cut_after=HALF)]
    assert fetch(server, tmp_path / "root") == CONTENT
    server.host = "127.0.0.1"
    with pytest.raises(DataNotFoundError, match=r"certificate of 127.0.0.1 is not trusted \(.*mismatch"):
        fetch(server, tmp_path / "other")
    assert len(server.log) == 2


def test_tls_handshake_that_drips_ends() -> None:
    """A server that sends a handshake byte by byte is left after the timeout of the header."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer, suppress(OSError):
                peer.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16384 bytes is announced
                while not done.wait(0.05):
                    peer.sendall(b"\x02")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        base = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with (
            pytest.raises(RetriableError, match="gave no complete answer in time"),
            Source(base, limits=IMPATIENT, loopback=True).open(base, {}),
        ):
            pass
        done.set()
        thread.join()


@pytest.fixture
def behind_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("behind_proxy")
def test_proxy_of_the_user(server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy, TLS still ends at the host of the card; the proxy's password goes to it alone."""
    name = "files.brainalign.test"
    monkeypatch.setenv("SSL_CERT_FILE", str(use_tls(server, tmp_path, name)))
    with TunnelProxy(server.server_port) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:p%40ss@{proxy.address}")
        server.tricks = [Trick(cut_after=HALF)]
        folder = fetch_files(replace(card(), base_url=f"https://{name}/"), tmp_path, limits=LIMITS)
        assert (folder / "a.npy").read_bytes() == CONTENT
    assert [asked.split("\r\n")[0][:34] for asked in proxy.asked] == [f"CONNECT {name}:443 "[:34]] * 2
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in proxy.asked[0]
    assert "Proxy-Authorization" not in server.log[0].headers


@pytest.mark.usefixtures("behind_proxy")
def test_proxy_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, or that is no http proxy, is named without its password."""
    with TunnelProxy(1, refuse=True) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:SECRET@{proxy.address}")
        with pytest.raises(
            DataNotFoundError, match=rf"through the proxy http://{proxy.address} .*407"
        ) as caught:
            fetch_files(card(), tmp_path, limits=LIMITS)
    assert "SECRET" not in str(caught.value)
    monkeypatch.setenv("https_proxy", "socks5://me:SECRET@127.0.0.1:9")
    with pytest.raises(
        DataNotFoundError, match=r"proxy socks5://127.0.0.1:9 cannot be used; expected http://"
    ):
        fetch_files(card(), tmp_path, limits=LIMITS)


@pytest.mark.usefixtures("behind_proxy")
def test_proxy_that_plays_the_host(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that answers with a certificate of its own is not believed."""
    use_tls(server, tmp_path, "example.invalid")
    with TunnelProxy(server.server_port) as proxy:
        monkeypatch.setenv("https_proxy", proxy.address)
        with pytest.raises(
            DataNotFoundError, match=r"certificate of example.invalid is not trusted .*a proxy"
        ):
            fetch_files(card(), tmp_path, limits=LIMITS)
    assert server.log == []
