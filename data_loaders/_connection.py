"""HTTP connections to the hosts that a dataset names, and to no other.

The standard library's client is used, not `requests` (which pooch brings): a request must
go to the very address that was checked, and `requests` resolves the name again, follows
redirects by itself, sends passwords from a netrc file and unpacks bodies.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urljoin
from urllib.request import getproxies, proxy_bypass

from brainalign.errors import DataNotFoundError, InputError
from data_loaders._addresses import is_loopback, place_of, port_of, refuse_private, shown, split_url

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_PIECE = 2**18


@dataclass(frozen=True)
class Limits:
    """How long a source may take, and how often it is asked again.

    Parameters
    ----------
    connect_s : seconds to connect
    header_s : seconds until the header of an answer is complete
    stall_s : seconds without one byte
    window_s, min_rate : slower than `min_rate` bytes/s over `window_s` seconds counts as a stall
    attempts : attempts in a row without progress before it is given up
    backoff_s : pause before the second attempt, doubled after each
    longest_wait_s : no pause is longer; a server that asks for more is given up
    lock_wait_s : seconds to wait for another process that fetches the same dataset
    """

    connect_s: float = 20.0
    header_s: float = 60.0
    stall_s: float = 30.0
    window_s: float = 60.0
    min_rate: float = 1000.0
    attempts: int = 6
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    lock_wait_s: float = 3600.0


DEFAULT_LIMITS = Limits()


class RetriableError(Exception):
    """Something that may go well when it is tried again; `wait_s` is what the server asks for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def is_offline() -> bool:
    """Whether BRAINALIGN_OFFLINE forbids every connection."""
    return os.environ.get("BRAINALIGN_OFFLINE", "") not in ("", "0")


class Source:
    """Where the files of a dataset come from: opens checked connections, one a request.

    Parameters
    ----------
    base_url : URL below which every file lies; https
    hosts : further hosts to which a redirect may lead, each with a port where it is not 443
    limits : timeouts
    loopback : bool, allow a server on this machine (also http, never another machine)

    Raises
    ------
    InputError
        `base_url` is not https, holds a user or a password, or has no host.
    """

    def __init__(
        self,
        base_url: str,
        hosts: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        *,
        loopback: bool = False,
    ) -> None:
        self.limits = limits
        self.answered = False
        parts = split_url(base_url)
        self.loopback = loopback and parts is not None and is_loopback(parts.hostname or "")
        allowed = ("http", "https") if self.loopback else ("https",)
        if parts is None or parts.scheme not in allowed or not parts.hostname:
            raise InputError(f"{shown(base_url)} cannot be fetched from; expected an https:// address")
        if "@" in parts.netloc:
            raise InputError(
                f"the address {shown(base_url)} holds a user name or a password; public files need none, "
                "leave it out"
            )
        self._scheme = parts.scheme
        further = (host.lower() if ":" in host else f"{host.lower()}:443" for host in hosts)
        self._places = {place_of(parts), *further}

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Yield the answer to a GET request; redirects are followed to allowed hosts only.

        Raises
        ------
        DataNotFoundError
            Offline, refused (a host that is not named, a private address), no network, a
            certificate that is not trusted.
        RetriableError
            Cut, stalled or slow before the header was complete.
        """
        if is_offline():
            raise DataNotFoundError(f"BRAINALIGN_OFFLINE is set, {shown(url)} is not asked for")
        for _ in range(_MOST_REDIRECTS + 1):
            connection, response = self._ask(self._checked(url), url, headers)
            try:
                self.answered = True
                location = response.getheader("Location") if response.status in _REDIRECTS else None
                if location is None:
                    yield response
                    return
            finally:
                response.close()
                connection.close()
            url = self._target(url, location)
        raise DataNotFoundError(
            f"{shown(url)}: more than {_MOST_REDIRECTS} redirects; nothing was downloaded"
        )

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """The certificates of the system (or SSL_CERT_FILE), and those of certifi beside them."""
        context = ssl.create_default_context()
        with suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
        return context

    def _target(self, url: str, location: str) -> str:
        """Where a redirect leads, or why it is not followed."""
        try:
            target = urljoin(url, location)
        except ValueError:
            target = ""
        try:
            self._checked(target)
        except DataNotFoundError as error:
            raise DataNotFoundError(
                f"{shown(url)} redirects to {shown(target)}, which is not followed: {error}"
            ) from None
        return target

    def _checked(self, url: str) -> SplitResult:
        parts = split_url(url)
        if parts is None or parts.scheme != self._scheme or not parts.hostname or "@" in parts.netloc:
            raise DataNotFoundError(f"expected an {self._scheme}:// address without user or password")
        if place_of(parts) not in self._places:
            raise DataNotFoundError(
                f"{parts.hostname} is not a host of this dataset ({', '.join(sorted(self._places))})"
            )
        return parts

    def _ask(
        self, parts: SplitResult, url: str, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Ask; both that is returned must be closed."""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with _Deadline(self.limits.header_s) as deadline:
            try:
                with _closed_on_error(self._connect(parts, deadline)) as connection:
                    connection.request("GET", target, headers={**headers, "Connection": "close"})
                    response = connection.getresponse()
                    if deadline.passed:  # a header that ends early looks complete
                        response.close()
                        raise TimeoutError
                return connection, response
            except ssl.SSLCertVerificationError as error:
                raise DataNotFoundError(
                    f"the certificate of {parts.hostname} is not trusted ({error.verify_message}); a proxy "
                    "may stand in between: ask who runs the network, or set SSL_CERT_FILE to its certificate"
                ) from None
            except (http.client.HTTPException, OSError) as error:
                if isinstance(error, DataNotFoundError):
                    raise
                if deadline.passed or isinstance(error, TimeoutError):
                    raise RetriableError(f"{shown(url)} gave no complete answer in time") from None
                raise RetriableError(
                    f"{shown(url)}: the connection was cut before the answer ({type(error).__name__})"
                ) from None

    def _connect(self, parts: SplitResult, deadline: _Deadline) -> http.client.HTTPConnection:
        """A connection to the address that was checked; TLS is bound to the name."""
        host, port = parts.hostname or "", port_of(parts)
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port)
            connection.sock = self._reach(host, port)
            deadline.watch(connection.sock)
            return connection
        context = self._context
        proxy = None if self.loopback or proxy_bypass(host) else getproxies().get("https")
        if proxy:
            return self._tunnel(proxy, host, port, context, deadline)
        secure = http.client.HTTPSConnection(host, port, context=context)
        with _closed_on_error(self._reach(host, port)) as plain:
            sock = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        with _closed_on_error(sock):
            deadline.watch(sock)
            sock.do_handshake()
        secure.sock = sock
        return secure

    def _tunnel(
        self, proxy: str, host: str, port: int, context: ssl.SSLContext, deadline: _Deadline
    ) -> http.client.HTTPConnection:
        """Through the user's proxy, which resolves the name; TLS still ends at the host."""
        parts = split_url(proxy if "://" in proxy else f"http://{proxy}")
        if parts is None or parts.scheme != "http" or not parts.hostname:
            raise DataNotFoundError(f"the proxy {shown(proxy)} cannot be used; expected http://HOST:PORT")
        headers = {}
        if parts.username is not None:
            from base64 import b64encode

            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + b64encode(login.encode()).decode()
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port or 3128, timeout=self.limits.stall_s, context=context
        )
        connection.set_tunnel(host, port, headers)
        with _closed_on_error(connection):
            try:
                connection.connect()
            except ssl.SSLCertVerificationError:
                raise
            except (http.client.HTTPException, OSError) as error:
                raise self._unreachable(f"{host} through the proxy {shown(proxy)}", error) from None
            deadline.watch(connection.sock)
        return connection

    def _reach(self, host: str, port: int) -> socket.socket:
        """Connect to an address of `host` that may be asked; the name is resolved once."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._unreachable(host, error) from None
        for *_, address in found:
            refuse_private(host, str(address[0]), loopback=self.loopback)
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in found:
            try:
                with _closed_on_error(socket.socket(family, kind, protocol)) as sock:
                    sock.settimeout(self.limits.connect_s)
                    sock.connect(address)
                    sock.settimeout(self.limits.stall_s)
                return sock
            except OSError as error:
                failure = error
        raise self._unreachable(host, failure)

    def _unreachable(self, host: str, error: Exception) -> Exception:
        """Worth trying again only where this source has answered before: else there is no network."""
        reason = f"{host} cannot be reached ({type(error).__name__}: {error})"
        if self.answered:
            return RetriableError(reason)
        return DataNotFoundError(f"{reason}; is this machine connected to the internet?")


def read_pieces(response: http.client.HTTPResponse, most: int, limits: Limits) -> Iterator[bytes]:
    """Yield up to `most` bytes of a body as they arrive; ends early where the body does.

    Raises
    ------
    RetriableError
        No byte for `stall_s`, fewer than `min_rate` bytes/s over `window_s`, or cut.
    """
    start, in_window = time.monotonic(), 0
    while most > 0:
        try:
            piece = response.read1(min(most, _PIECE))
        except TimeoutError:
            raise RetriableError(f"no byte came for {limits.stall_s:g} s") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise RetriableError(f"the connection was cut ({type(error).__name__})") from None
        if not piece:
            return
        most -= len(piece)
        in_window += len(piece)
        elapsed = time.monotonic() - start
        if elapsed >= limits.window_s:
            if most > 0 and in_window < limits.min_rate * elapsed:
                raise RetriableError(f"only {in_window} bytes came in {elapsed:.1f} s")
            start, in_window = time.monotonic(), 0
        yield piece


class _Deadline:
    """Shuts a socket down when the time is over: one byte now and then resets a timeout for ever."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sock: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def watch(self, sock: socket.socket) -> None:
        """Start the clock."""
        self._sock = sock
        self._timer.start()

    def _shut(self) -> None:
        self.passed = True
        with suppress(OSError, AttributeError):
            # that of the base class: the one of SSL sockets also drops what the other thread uses
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # type: ignore[arg-type]

    def __enter__(self) -> _Deadline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


_Closable = TypeVar("_Closable", socket.socket, http.client.HTTPConnection)


@contextmanager
def _closed_on_error(opened: _Closable) -> Iterator[_Closable]:
    """Close what has just been opened if the block fails; else it goes to the caller."""
    try:
        yield opened
    except BaseException:
        opened.close()
        raise
