"""A request's body: read within a deadline and a budget, then inflated under a hard limit."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector.receivers.status import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Generator

    from stagelight_collector.receivers.counters import ReceiverCounters
    from stagelight_collector.receivers.limits import Limits

GZIP: Final = "gzip"
_MEMBERS: Final = 1000
_STEP: Final = 64 << 10


class Budget:
    """The bytes that one request holds out of those for all; given back at the end of `hold`."""

    def __init__(self, limits: Limits, counters: ReceiverCounters) -> None:
        self._limits = limits
        self._counters = counters
        self._held = 0

    @contextmanager
    def hold(self) -> Generator[Budget]:
        """Everything taken inside is free again afterwards."""
        try:
            yield self
        finally:
            self._counters.in_flight_bytes -= self._held
            self._held = 0

    def take(self, size: int) -> None:
        """Another `size` bytes.

        Raises:
            Refused: `OVERLOADED`.
        """
        if self._counters.in_flight_bytes + size > self._limits.bytes_in_flight:
            raise overloaded()
        self._held += size
        self._counters.in_flight_bytes += size


def overloaded() -> Refused:
    """Too much at once: the sender should come again in a second."""
    return Refused(Reason.OVERLOADED, "too many requests at once: retry in 1 s", retry_after=1)


def content_encoding(request: web.BaseRequest) -> str:
    """`gzip`, or nothing.

    Raises:
        Refused: `CONTENT_ENCODING`, naming what is accepted.
    """
    encoding = ",".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if encoding in {GZIP, "x-gzip"}:
        return GZIP
    if encoding in {"", "identity"}:
        return ""
    raise Refused(
        Reason.CONTENT_ENCODING,
        "this content encoding is not supported: send gzip, or no compression",
        headers={"Accept-Encoding": GZIP},
    )


async def read_body(request: web.BaseRequest, limits: Limits, budget: Budget) -> bytes:
    """The body as sent, still compressed.

    Raises:
        Refused: `TOO_LARGE`, `TOO_SLOW`, `OVERLOADED`, or `MALFORMED` for broken chunks.
    """
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large(limits)
    parts: list[bytes] = []
    left = limits.body_bytes
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.content.iter_any():
                left -= len(part)
                if left < 0:
                    raise too_large(limits)
                budget.take(len(part))
                parts.append(part)
    except TimeoutError:
        raise Refused(Reason.TOO_SLOW, f"the body did not arrive within {limits.body_seconds:g} s") from None
    except web.RequestPayloadError:
        raise Refused(Reason.MALFORMED, "the body is not what its HTTP headers say") from None
    return b"".join(parts)


def inflate(compressed: bytes, limits: Limits) -> bytes:
    """Gzip, any number of members up to a thousand; never more output than the limit and one byte.

    Raises:
        Refused: `TOO_LARGE`, or `MALFORMED` for what is cut off, changed or followed by something else.
    """
    parts: list[bytes] = []
    left = limits.body_bytes
    start = 0
    for _ in range(_MEMBERS):
        try:
            left, start = _inflate_member(memoryview(compressed), start, left, parts)
        except zlib.error:
            raise _not_gzip() from None
        if left < 0:
            raise too_large(limits)
        if start == len(compressed):
            return b"".join(parts)
    raise Refused(Reason.MALFORMED, f"the body has more than {_MEMBERS} gzip members: send one")


def _inflate_member(data: memoryview, start: int, left: int, parts: list[bytes]) -> tuple[int, int]:
    """Append to `parts`; what is left of the limit (negative once it is passed), and where the member ended."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    # In steps, because a member's end hands back a copy of all that follows it.
    while start < len(data):
        step = data[start : start + _STEP]
        part = inflater.decompress(step, left + 1)
        parts.append(part)
        left -= len(part)
        start += len(step)
        if inflater.eof:
            return left, start - len(inflater.unused_data)
        if left < 0:
            return left, start
    raise _not_gzip()


def too_large(limits: Limits) -> Refused:
    """For what is over the limit as sent, and for what is over it decompressed."""
    return Refused(
        Reason.TOO_LARGE,
        f"the body is larger than {limits.body_bytes} bytes (decompressed): send smaller batches",
    )


def _not_gzip() -> Refused:
    return Refused(Reason.MALFORMED, "the body is not valid gzip: it is cut off or changed")
