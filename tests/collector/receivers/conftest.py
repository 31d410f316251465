"""A real receiver on a loopback port, with an ingest that keeps what it is given."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it has stubs, but no py.typed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector.receivers import RUNNER_OPTIONS, Limits, ReceiverCounters, routes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from stagelight_collector.journal import Signal


@dataclass
class Answer:
    """What the sender got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> Status:
        """The body as the status message that OTLP asks for."""
        assert self.headers["Content-Type"] == "application/x-protobuf"
        return Status.FromString(self.body)


@dataclass
class Receiver:
    """The server under test, and a client for it."""

    port: int
    client: ClientSession
    counters: ReceiverCounters
    taken: list[tuple[Signal, bytes, object]] = field(default_factory=list[Any])
    failure: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Ingest waits for it; open unless a test closes it."""

    async def ingest(self, signal: Signal, body: bytes, request: object) -> None:
        """Keep it, or fail as told."""
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.append((signal, body, request))

    async def send(self, body: Any, path: str = "/v1/traces", method: str = "POST", **headers: str) -> Answer:
        """One request; header names are written with underscores, and one that is empty is left out."""
        given = {"Content-Type": "application/x-protobuf"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            data=body,
            headers={name: value for name, value in given.items() if value},
            skip_auto_headers=["Content-Type"],
        ) as response:
            return Answer(response.status, dict(response.headers), await response.read())


@asynccontextmanager
async def _serve(limits: Limits | None = None, **options: Any) -> AsyncGenerator[Receiver]:
    counters = ReceiverCounters()
    async with ClientSession() as client:
        receiver = Receiver(0, client, counters)
        receiver.gate.set()
        app = web.Application()
        app.add_routes(routes(receiver.ingest, limits, counters))
        runner = web.AppRunner(app, **{**RUNNER_OPTIONS, **options}, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            receiver.port = runner.addresses[0][1]
            yield receiver
        finally:
            await runner.cleanup()


@pytest.fixture(scope="session")
def serve() -> Any:
    """Make a context manager that is a running receiver."""
    return _serve


@pytest.fixture(scope="session")
def traces() -> bytes:
    """A small valid request: one span with an attribute, an event and a link."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    span = resource.scope_spans.add().spans.add(
        name="checkout", trace_id=bytes(range(16)), span_id=b"12345678"
    )
    span.attributes.add(key="n").value.int_value = 7
    span.events.add(name="paid", time_unix_nano=1)
    span.links.add(trace_id=bytes(16))
    return request.SerializeToString()


@pytest.fixture(scope="session")
def logs() -> bytes:
    """A small valid request: two log records."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(event_name="workflow.run_started")
    records.add().body.string_value = "hello"
    return request.SerializeToString()
