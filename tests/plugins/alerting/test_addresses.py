"""Where messages may go: W3 of the threats: no packet to what is not public, however it is written."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from stagelight_plugins.alerting.delivery.addresses import check_url, may_call
from stagelight_plugins.alerting.delivery.guarded import MOST_BYTES, Caller
from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Receiver

REFUSED_HOSTS = [
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0",  # noqa: S104 - addresses that are refused
    "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::]", "[2001:db8::1]",
    "[3fff::1]", "[100::1]", "[::127.0.0.1]", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "①②⑦.0.0.1", "127。0。0。1", "foo.localhost", "1", "0x", "1.1.1.0x1",
]  # fmt: skip
REFUSED_URLS = [
    "https://user@example.com/", "https://user:p@example.com/", "https://:@example.com/", "ftp://example.com/",
    "file:///etc/passwd", "gopher://127.0.0.1/", "//example.com/", "https://", "example.com", "",
    "http://example.com/", "https://example.com:99999/", "https://example.com:x/", "https://example.com/?api_key=1",
]  # fmt: skip


@pytest.mark.parametrize("host", REFUSED_HOSTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_that_is_not_public_is_refused_however_it_is_written(scheme: str, host: str) -> None:
    with pytest.raises(ValueError, match=r"write|allow|valid|range"):
        check_url(f"{scheme}://{host}/")


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_is_none_or_tells_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_url(url)


@pytest.mark.parametrize("url", ["https://hooks.slack.com/services/T/B/x", "https://1.1.1.1/", "https://[2606:4700::1111]/", "http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/"])  # fmt: skip
def test_what_is_public_or_spelt_out_as_loopback_may_be_called(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "100.64.0.1", "fe80::1%eth0", "not an address"])  # fmt: skip
def test_a_name_must_not_lead_inside(address: str) -> None:
    assert not may_call(address, ())


def test_what_is_allowed_is_allowed_and_no_more() -> None:
    allowed = check_url("https://10.0.0.7/", read_networks("10.0.0.7/32"))

    assert may_call("10.0.0.7", allowed)
    assert not may_call("10.0.0.8", allowed)
    assert not may_call("127.0.0.1", allowed)


def read_networks(*texts: str) -> Any:
    from ipaddress import ip_network  # noqa: PLC0415 - only here

    return tuple(map(ip_network, texts))


class Listener:
    """Counts connections to a port of loopback."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writer.close()

        self._server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


class Answers(AbstractResolver):
    """A resolver that says the next of these addresses each time it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        del family
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


async def resolved(caller: Caller, resolver: AbstractResolver) -> None:
    """Give a caller a resolver of ours instead of the system's; all else stays as it is."""
    opened = caller._open()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # DNS cannot be had otherwise
    connector = opened.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    connector._resolver = resolver  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as above
    caller._session = opened  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as above


@pytest.mark.parametrize("answers", [("127.0.0.1",), ("93.184.216.34", "127.0.0.1")])
async def test_the_address_is_checked_for_the_connection_that_is_made(answers: tuple[str, ...]) -> None:
    """Also where DNS says a public address first and another when it is asked again (rebinding)."""
    async with Listener() as listener:
        caller = Caller(check_url("https://inside.example/"), seconds=2)
        await resolved(caller, Answers(*answers[-1:]) if len(answers) == 1 else Answers(*answers))
        reasons: list[str] = []
        for _ in answers:
            with pytest.raises(DeliveryFailed) as failure:
                await caller.post(f"https://inside.example:{listener.port}/", b"{}", {})
            reasons.append(str(failure.value))
        await caller.close()

    assert listener.connections == 0
    assert "127.0.0.1 is not an address of the public internet" in reasons[-1]


async def test_literal_addresses_are_checked_too_when_the_connection_is_made() -> None:
    async with Listener() as listener:
        caller = Caller()
        with pytest.raises(DeliveryFailed, match="not an address of the public internet"):
            await caller.post(f"http://127.0.0.1:{listener.port}/", b"{}", {})
        await caller.close()

    assert listener.connections == 0


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with Listener() as listener:
        receiver.answers.append(sending(302, {"Location": f"http://127.0.0.1:{listener.port}/"}))
        caller = Caller(check_url(receiver.url))
        with pytest.raises(DeliveryFailed, match="answered 302: redirects are not followed"):
            await caller.post(receiver.url, b"{}", {})
        await caller.close()

    assert listener.connections == 0


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Listener() as listener:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
        caller = Caller(check_url(receiver.url))
        await caller.post(receiver.url, b"{}", {})
        await caller.close()

    assert (listener.connections, len(receiver.heard)) == (0, 1)


async def test_of_an_answer_no_more_is_read_than_is_of_use(receiver: Receiver) -> None:
    receiver.answers.append(sending(200, {}, b"x" * (10 << 20)))
    caller = Caller(check_url(receiver.url))
    answer = await caller.post(receiver.url, b"{}", {})
    await caller.close()

    assert 0 < len(answer.body) <= MOST_BYTES


def sending(status: int, headers: dict[str, str], body: bytes = b"") -> Callable[[web.Request], Any]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    return answer
