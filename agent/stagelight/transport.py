"""The transport: one kept connection to a collector that speaks plain HTTP.

The `requests` session of the official exporters looks up proxies, cookies, adapters and passwords for every request,
which costs more than to encode a batch; and its timeout begins anew with every byte. Wherever any of what it looks up
could matter (TLS, a proxy, a `.netrc`, a credential provider), it is used all the same.
"""

from __future__ import annotations

import http.client
import os
import re
import select
import socket
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN: Final = re.compile(
    r"http://(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?::(?P<port>\d{1,5}))?(?P<target>/[\w./~-]*)",
    re.ASCII | re.IGNORECASE,
)
_LONGEST_ANSWER: Final = 1024 * 1024
_SHORTEST_WAIT: Final = 0.001


class _DeadlineSocket(socket.socket):
    """A socket whose timeout is about everything that is read, not about each piece."""

    deadline: float = 0.0

    def hurry(self) -> None:
        """Let the next operation take what is left until the deadline."""
        self.settimeout(max(self.deadline - monotonic(), _SHORTEST_WAIT))

    def recv_into(self, *arguments: Any, **keywords: Any) -> int:
        """Receive, if there is time left."""
        if monotonic() >= self.deadline:
            raise TimeoutError("the answer took too long")
        self.hurry()
        return super().recv_into(*arguments, **keywords)


class _Connection(http.client.HTTPConnection):
    sock: _DeadlineSocket | None

    def connect(self) -> None:
        super().connect()
        plain: Any = self.sock
        self.sock = _DeadlineSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one request, with the names that the official transports use."""

    status_code: int | None = None
    reason: str | None = None
    error: Exception | None = None
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])

    def headers(self) -> Mapping[str, str]:
        """Return the answer's headers, whose names are looked up in any case."""
        return self.fields

    def content(self) -> bytes:
        """Return the answer's body, at most a megabyte of it."""
        return self.body


class PlainTransport:
    """Sends requests over one connection, which is made again after it was closed."""

    def __init__(self, host: str, port: int, target: str) -> None:
        self._connection = _Connection(host, port)
        self._target = target

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], timeout: float, data: bytes
    ) -> Result:
        """Send a request; `timeout` is seconds, from here to the last byte of the answer. Never raises."""
        del url
        try:
            return self._exchange(method, headers, data, monotonic() + timeout, timeout)
        except Exception as error:  # told to whoever asked, as the official transports do
            self._connection.close()
            return Result(error=error)

    def _exchange(
        self, method: str, headers: Mapping[str, str], data: bytes, deadline: float, timeout: float
    ) -> Result:
        connection = self._connection
        if connection.sock is not None and _has_ended(connection.sock):
            connection.close()
        if connection.sock is None:
            connection.timeout = timeout
            connection.connect()
        assert connection.sock is not None  # noqa: S101 - it was just connected
        connection.sock.deadline = deadline
        connection.sock.hurry()
        connection.request(method, self._target, body=data, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(_LONGEST_ANSWER)
        if not answer.isclosed():
            connection.close()
        return Result(answer.status, answer.reason, None, body, answer.headers)  # type: ignore[arg-type]  # reads like one

    def is_connection_error(self, exception: Exception | None) -> bool:
        """Say no: nobody but the worker tries again."""
        del exception
        return False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _has_ended(sock: socket.socket) -> bool:
    """Say whether the collector has closed an idle connection: nothing else makes it readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def plain(url: str) -> PlainTransport | None:
    """Return a transport to the URL, if nothing but a plain connection is asked for by it and the environment."""
    found = _PLAIN.fullmatch(url)
    if found is None or not {"http", "all"}.isdisjoint(getproxies()) or _has_credentials():
        return None
    return PlainTransport(found["host"].strip("[]"), int(found["port"] or 80), found["target"])


def _has_credentials() -> bool:
    if any(name.endswith("_CREDENTIAL_PROVIDER") for name in os.environ) or os.environ.get("NETRC"):
        return True
    try:
        return any((Path.home() / name).exists() for name in (".netrc", "_netrc"))
    except (OSError, RuntimeError):
        return True
