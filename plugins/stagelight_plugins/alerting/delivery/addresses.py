"""Which addresses may be called: public ones, and those that the configuration names.

A URL in the configuration that spells out a loopback address allows loopback for that receiver: whoever may write the
configuration may run programs here anyway. Everything else that is not public needs `allow`, because a name can be
made to point anywhere. Addresses are checked when the connection is made, not before: an answer of DNS is never
asked for twice.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

LOOPBACK: Final[tuple[Network, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_NOT_PUBLIC: Final = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_SECRETIVE: Final = re.compile(r"token|secret|passw|api_?key|signature|^key$|^sig$|^auth", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?")
_LOOKS_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|\d+)\.?\Z", re.IGNORECASE)


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address within a mapped one."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet; what leads into IPv4 is not: unwrap it first."""
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_UNICAST or address.scope_id):
        return False
    return address.is_global and not any(
        address in network for network in _NOT_PUBLIC if network.version == address.version
    )


def may_call(text: str, allowed: Sequence[Network]) -> bool:
    """Whether a connection may go to an address as the resolver wrote it."""
    try:
        address = unwrapped(ip_address(text))
    except ValueError:
        return False
    return is_public(address) or any(address in net for net in allowed if net.version == address.version)


def check_url(url: str, allowed: Sequence[Network] = ()) -> tuple[Network, ...]:
    """Check a receiver's URL; return the networks that it may call beside the public ones.

    Raises:
        ValueError: It cannot be called, or tells a secret; the sentence says what to write. It does not repeat the URL.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("this is no address of a receiver; write https://…")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a URL is no place for a password; write headers = { Authorization = 'env:NAME' } instead"
        )
    if any(_SECRETIVE.search(key) for key, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("a URL's query is no place for a secret; write headers = { … = 'env:NAME' } instead")
    if not _HOST.fullmatch(host) and host.isascii():
        raise ValueError("this is no address of a receiver; its host has letters, digits, '-' and '.'")
    if not host.isascii():
        raise ValueError("write the host in ASCII (xn--…)")
    consent = (*allowed, *LOOPBACK) if _is_loopback(host) else tuple(allowed)
    _check_host(host, consent)
    if parts.scheme == "http" and not _is_named(host, consent):
        raise ValueError("what is sent there could be read on the way; write https://…")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("this is no port; write one from 1 to 65535") from error
    return consent


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _is_named(host, LOOPBACK)


def _is_named(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = unwrapped(ip_address(host))
    except ValueError:
        return host == "localhost" and LOOPBACK[0] in networks
    return any(address in network for network in networks if network.version == address.version)


def _check_host(host: str, allowed: Sequence[Network]) -> None:
    try:
        address = ip_address(host)
    except ValueError as error:
        # 127.1, 2130706433, 0x7f000001 and 0177.0.0.1 are addresses to the system's resolver.
        if _LOOKS_NUMERIC.search(host.rpartition(".")[2]) or host.rstrip(".").endswith(".localhost"):
            raise ValueError("write the address in full, such as 127.0.0.1") from error
        return
    if not may_call(str(address), allowed):
        raise ValueError(
            f"{host} is not an address of the public internet; if you trust it, write allow = ['{host}'] in [alerting]"
        )
