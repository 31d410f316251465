"""OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics` (OTLP specification 1.11, "OTLP/HTTP")."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from aiohttp import web

from stagelight_collector.journal import JournalClosed, JournalFull, JournalUnavailable, Signal
from stagelight_collector.receivers.body import Budget, content_encoding, inflate, overloaded, read_body
from stagelight_collector.receivers.counters import ReceiverCounters
from stagelight_collector.receivers.encoding import (
    JSON,
    PROTOBUF,
    encoding_of_answer,
    parse,
    require_accepted,
)
from stagelight_collector.receivers.limits import Limits
from stagelight_collector.receivers.otlp_json import parse_json
from stagelight_collector.receivers.prescan import SMALL_BYTES, too_many_items
from stagelight_collector.receivers.services import LOGS, METRICS, TRACES
from stagelight_collector.receivers.status import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiohttp.typedefs import Handler

    from stagelight_collector.receivers.services import ExportRequest, RequestT, Service

_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)

_INLINE_COMPRESSED: Final = 4 << 10
"""Bytes of gzip that are inflated on the event loop: at most 4 MiB come out, in some milliseconds."""
_INLINE_BODY: Final = SMALL_BYTES
"""Bytes of a message that is parsed on the event loop: 512 spans take 0.3 ms, and the way to a thread and back 1 ms of CPU."""
_THREADS: Final = 2


class Ingest(Protocol):
    """What happens to an accepted request; when it returns, the sender is told that its data is safe."""

    async def __call__(self, signal: Signal, body: bytes, request: ExportRequest, /) -> None:
        """Store and pass on.

        Args:
            signal: what kind of telemetry.
            body: the decompressed message, as bytes.
            request: the same, parsed; never empty.

        Raises:
            JournalFull: answered with 429.
            JournalUnavailable: answered with 503.
        """


def routes(
    ingest: Ingest, limits: Limits | None = None, counters: ReceiverCounters | None = None
) -> list[web.RouteDef]:
    """The receiver's routes, for an application whose runner was given `RUNNER_OPTIONS`.

    Every answer but 200 has a `google.rpc.Status` as its body, in the encoding of the request.
    """
    return Receiver(ingest, limits or Limits(), counters or ReceiverCounters()).routes()


class Receiver:
    """What every way in has in common: counting, limits, parsing, and handing over."""

    def __init__(self, ingest: Ingest, limits: Limits, counters: ReceiverCounters) -> None:
        self._ingest = ingest
        self.limits = self._limits = limits
        self._counters = counters
        self._threads = asyncio.Semaphore(_THREADS)

    def routes(self) -> list[web.RouteDef]:
        """See `routes`."""
        return [
            web.route("*", TRACES.path, self.handler(TRACES)),
            web.route("*", LOGS.path, self.handler(LOGS)),
            web.route("*", METRICS.path, self.handler(METRICS)),
        ]

    async def take(self, body: bytes, service: Service[RequestT]) -> None:
        """Take a decompressed protobuf message that did not come over HTTP.

        Raises:
            Refused: It is not accepted.
        """
        self._counters.requests += 1
        try:
            with Budget(self._limits, self._counters).hold() as budget, self._in_flight():
                budget.take(len(body))
                await self._accept(body, service, PROTOBUF.content_type)
        except Refused as refused:
            self._counters.refused[refused.reason] += 1
            raise
        self._counters.accepted += 1

    @contextmanager
    def _in_flight(self) -> Generator[None]:
        if self._counters.in_flight >= self._limits.requests:
            raise overloaded()
        self._counters.in_flight += 1
        try:
            yield
        finally:
            self._counters.in_flight -= 1

    def handler(self, service: Service[RequestT]) -> Handler:
        """Return the handler of a path."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._counters.requests += 1
            encoding = encoding_of_answer(request.content_type)
            try:
                await self._receive(request, service)
            except Refused as refused:
                self._counters.refused[refused.reason] += 1
                response = web.Response(
                    status=refused.http, headers=refused.headers, body=encoding.encode(refused.status())
                )
                if not request.content.is_eof():
                    response.force_close()
            except ConnectionError:
                self._counters.refused[Reason.DISCONNECTED] += 1
                raise
            else:
                self._counters.accepted += 1
                response = web.Response(body=encoding.encode(service.response()))
            response.content_type = encoding.content_type
            return response

        return handle

    async def _receive(self, request: web.Request, service: Service[RequestT]) -> None:
        if request.method != "POST":
            raise Refused(Reason.METHOD, f"{service.path} takes POST only", headers={"Allow": "POST"})
        require_accepted(request.content_type)
        encoding = content_encoding(request)
        with Budget(self._limits, self._counters).hold() as budget:
            body = await read_body(request, self._limits, budget)
            with self._in_flight():
                if encoding:
                    body = await self._run(len(body) > _INLINE_COMPRESSED, inflate, body, self._limits)
                    budget.take(len(body))
                await self._accept(body, service, request.content_type)

    async def _accept(self, body: bytes, service: Service[RequestT], content_type: str) -> None:
        if content_type == JSON.content_type:
            message, body, count = await self._run(True, _decode_json, body, service, self._limits)
        else:
            message, count = await self._run(len(body) > _INLINE_BODY, _decode, body, service, self._limits)
        if count:
            await self._store(service.signal, body, message)
        self._counters.count(service.signal, count, len(body))

    async def _store(self, signal: Signal, body: bytes, message: ExportRequest) -> None:
        try:
            await self._ingest(signal, body, message)
        except JournalFull as error:
            raise Refused(Reason.JOURNAL_FULL, str(error), retry_after=error.retry_after) from error
        except JournalUnavailable as error:
            _log.warning("%s", error)
            message_ = "the collector cannot write to its journal"
            raise Refused(Reason.JOURNAL_UNAVAILABLE, message_, retry_after=error.retry_after) from error
        except JournalClosed as error:
            raise Refused(Reason.JOURNAL_UNAVAILABLE, str(error), retry_after=1) from error
        except Exception as error:
            _log.exception("A request could not be taken in")
            raise Refused(Reason.INTERNAL, "the collector failed: its log says how") from error

    async def _run(self, in_thread: bool, work: Callable[..., _T], *args: object) -> _T:
        if not in_thread:
            return work(*args)
        async with self._threads:
            return await asyncio.to_thread(work, *args)


def _decode(body: bytes, service: Service[RequestT], limits: Limits) -> tuple[RequestT, int]:
    message = parse(body, service.request, service.table, limits)
    count = service.count(message)
    if count > limits.items:
        raise too_many_items(limits)
    return message, count


def _decode_json(body: bytes, service: Service[RequestT], limits: Limits) -> tuple[RequestT, bytes, int]:
    """The message, and how protobuf writes it: that is what the journal keeps."""
    message = parse_json(body, service.request, limits)
    return message, message.SerializeToString(deterministic=True), service.count(message)
