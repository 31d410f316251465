"""The way out: HTTP that goes nowhere but where it may.

No redirects, no proxies of the environment, no cookies; the address is checked for the very connection that is made;
of an answer 64 KiB are read.
"""

from __future__ import annotations

import email.utils
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from stagelight_plugins.alerting.delivery.addresses import may_call
from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.alerting.delivery.addresses import Network

TIMEOUT_SECONDS: Final = 15.0
MOST_BYTES: Final = 64 << 10


class AddressRefused(OSError):
    """A name led to an address that must not be called."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is not an address of the public internet; if you trust it, write allow = ['{address}'] in [alerting]"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Caller:
    """Calls one receiver. Its connections are its own: one that hangs takes none from another."""

    def __init__(self, allowed: Sequence[Network] = (), *, seconds: float = TIMEOUT_SECONDS) -> None:
        self._allowed = tuple(allowed)
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post JSON; return when it was taken.

        Raises:
            DeliveryFailed: It was not.
        """
        answer = await self._post(url, body, headers)
        if 200 <= answer.status < 300:
            return answer
        raise DeliveryFailed(
            _said(answer.status),
            status=answer.status,
            retry_after=_retry_after(answer.headers),
            gone=answer.status == 410,
        )

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        session = self._session = self._session or self._open()
        sent = {"Content-Type": "application/json", "User-Agent": "stagelight", **headers}
        try:
            async with session.post(url, data=body, headers=sent, allow_redirects=False) as response:
                read = await response.content.read(MOST_BYTES)
                response.close()  # what is left of it is not wanted
                return Answer(response.status, read, response.headers)
        except TimeoutError as error:
            raise DeliveryFailed(f"no answer within {self._seconds:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise DeliveryFailed(f"cannot connect: {error.os_error.strerror or error.os_error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryFailed(f"the connection broke: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket, limit=4, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
        )

    def _socket(self, found: Any) -> socket.socket:
        """Make the socket of a connection to an address that was found: the one place that all connections pass."""
        family, kind, protocol, _, address = found
        if not may_call(str(address[0]), self._allowed):
            raise AddressRefused(str(address[0]))
        return socket.socket(family, kind, protocol)


def _said(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed; write the address that it leads to"
    return f"answered {status}"


def _retry_after(headers: Mapping[str, str]) -> float:
    """Read seconds or a date; 0 where there is neither."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
