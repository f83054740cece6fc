"""Addresses: what may be shown of a URL, and which machines may be asked."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from brainalign.errors import DataNotFoundError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def shown(url: str) -> str:
    """A URL for messages: without user, password, query and fragment, which may hold tokens.

    Examples
    --------
    >>> shown("https://me:secret@example.org:8443/a.npy?token=1#x")
    'https://example.org:8443/a.npy'
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "a URL that cannot be read"
    text = f"{parts.scheme}://{host}{parts.path}"
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL, or None where it cannot be one."""
    if any(not 0x21 <= ord(c) <= 0x7E for c in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def port_of(parts: SplitResult) -> int:
    """The port of a URL, that of its scheme where none is given."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def place_of(parts: SplitResult) -> str:
    """Host and port, as they are compared."""
    return f"{parts.hostname}:{port_of(parts)}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _embedded(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address inside an IPv6 address that leads to it."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def refuse_private(host: str, address: str, *, loopback: bool) -> None:
    """Refuse an address of the network behind this machine, to which a public name may lead.

    Parameters
    ----------
    host : the name that was resolved
    address : one of its addresses
    loopback : allow this machine, and nothing else

    Raises
    ------
    DataNotFoundError
        The address is private, link-local, loopback, multicast or reserved, also where
        it is wrapped in an IPv6 one.

    Examples
    --------
    >>> refuse_private("example.org", "::ffff:10.0.0.1", loopback=False)
    Traceback (most recent call last):
    brainalign.errors.DataNotFoundError: example.org leads to 10.0.0.1, which is not a public address
    """
    ip = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    if loopback and ip.is_loopback:
        return
    if loopback or not ip.is_global or ip.is_multicast or ip.is_reserved:
        kind = "not of this machine" if loopback else "not a public address"
        raise DataNotFoundError(f"{host} leads to {ip}, which is {kind}")
