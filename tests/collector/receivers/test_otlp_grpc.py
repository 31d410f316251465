"""OTLP over gRPC: what arrives, what is refused and how, and OpenTelemetry's own senders over every protocol."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # it has stubs, but no py.typed
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it has stubs, but no py.typed
from hypothesis import given, settings, strategies as st
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.errors import PortTaken
from stagelight_collector.journal import JournalFull, Signal
from stagelight_collector.receivers import GrpcServer, Limits, Receiver, ReceiverCounters
from stagelight_collector.receivers.status import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
grpc: Any = importlib.import_module("grpc")
aio: Any = importlib.import_module("grpc.aio")


class Served:
    """A server, a channel to it, and what was taken."""

    def __init__(self) -> None:
        self.taken: list[tuple[Signal, bytes, object]] = []
        self.failure: Exception | None = None
        self.counters = ReceiverCounters()
        self.port = 0
        self.channel: Any = None

    async def ingest(self, signal: Signal, body: bytes, request: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.taken.append((signal, body, request))

    async def send(self, body: bytes, method: str = TRACES, **options: Any) -> bytes:
        answer: bytes = await self.channel.unary_unary(method)(body, timeout=10, **options)
        return answer

    async def refusal(self, body: bytes, method: str = TRACES, **options: Any) -> Any:
        with pytest.raises(aio.AioRpcError) as caught:
            await self.send(body, method, **options)
        return caught.value


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncGenerator[Served]:
    served = Served()
    server = GrpcServer(Receiver(served.ingest, limits or Limits(), served.counters))
    served.port = await server.start("127.0.0.1", 0)
    served.channel = aio.insecure_channel(
        f"127.0.0.1:{served.port}", options=[("grpc.max_send_message_length", -1)]
    )
    try:
        yield served
    finally:
        await served.channel.close()
        await server.stop(1)
        await server.stop(1)


async def test_what_is_exported_arrives_byte_by_byte(traces: bytes, logs: bytes) -> None:
    async with serving() as served:
        assert await served.send(traces) == b""  # success leaves `partial_success` unset
        assert await served.send(logs, LOGS, compression=grpc.Compression.Gzip) == b""
        assert await served.send(b"") == b""
        assert [(signal, body) for signal, body, _ in served.taken] == [
            (Signal.TRACES, traces),
            (Signal.LOGS, logs),
        ]
        assert served.taken[0][2] == ExportTraceServiceRequest.FromString(traces)
        counters = served.counters
        assert (counters.requests, counters.accepted, counters.spans, counters.log_records) == (3, 3, 1, 2)
        assert (counters.in_flight, counters.in_flight_bytes) == (0, 0)


async def test_a_full_journal_says_when_to_come_again(traces: bytes) -> None:
    async with serving() as served:
        served.failure = JournalFull(2, 1)
        error = await served.refusal(traces)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        [details] = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
        status, retry = Status.FromString(details), RetryInfo()
        assert status.details[0].Unpack(retry)
        assert (status.code, retry.retry_delay.seconds) == (14, 1)
        assert served.counters.refused == {Reason.JOURNAL_FULL: 1}


async def test_no_more_requests_at_once_than_the_limit(traces: bytes) -> None:
    async with serving(Limits(requests=0)) as served:
        assert (await served.refusal(traces)).code() is grpc.StatusCode.UNAVAILABLE


async def test_what_is_no_message_is_an_invalid_argument_without_a_retry() -> None:
    async with serving() as served:
        error = await served.refusal(b"\xff\xff")
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "the body is not a valid ExportTraceServiceRequest"
        [details] = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
        assert not Status.FromString(details).details


async def test_the_limit_of_size_is_on_the_decompressed_message() -> None:
    async with serving(Limits(body_bytes=100_000)) as served:
        error = await served.refusal(bytes(100_001), compression=grpc.Compression.Gzip)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert served.taken == []


async def test_too_many_items_are_refused_before_they_are_built() -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(101):
        spans.add()
    async with serving(Limits(items=100)) as served:
        error = await served.refusal(request.SerializeToString())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in error.details()


async def test_a_method_that_is_not_there_is_unimplemented() -> None:
    async with serving() as served:
        assert (await served.refusal(b"", "/nobody/Export")).code() is grpc.StatusCode.UNIMPLEMENTED


@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=300), method=st.sampled_from([TRACES, LOGS, METRICS]))
async def test_any_bytes_get_an_answer_that_is_no_fault_of_ours(body: bytes, method: str) -> None:
    async with serving() as served:
        call = served.channel.unary_unary(method)(body, timeout=10)
        assert await call.code() in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


def _collector(path: Path, **more: Any) -> Collector:
    return Collector(Settings(port=0, data_dir=path, **more))


def _export(exporter: Any, protocol: str) -> None:
    provider = TracerProvider(resource=Resource({"service.name": protocol}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span(
        "run",
        attributes={"workflow.name": protocol, "workflow.run.id": protocol, "workflow.status": "completed"},
    ):
        pass
    provider.shutdown()


async def test_opentelemetrys_own_senders_reach_a_room_over_every_protocol(tmp_path: Path) -> None:
    async with _collector(tmp_path, grpc_port=0) as collector:
        where = collector.grpc.removeprefix("OTLP over gRPC is received on ").removesuffix(".")
        over_grpc = OverGrpc(endpoint=f"http://{where}", insecure=True)
        await asyncio.to_thread(_export, over_grpc, "grpc")
        over_http = OverHttp(endpoint=f"{collector.url}/v1/traces")
        await asyncio.to_thread(_export, over_http, "http")
        await collector.settle()
        assert {run["id"]: run["status"] for run in collector.runs()} == {
            "grpc": "completed",
            "http": "completed",
        }


async def test_a_port_that_was_asked_for_and_is_taken_stops_the_start(tmp_path: Path) -> None:
    async with serving() as served:
        with pytest.raises(PortTaken, match=r"choose another with --grpc-port"):
            await _collector(tmp_path, grpc_port=served.port).start()


async def test_the_usual_port_taken_is_said_and_the_rest_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as served:
        monkeypatch.setattr("stagelight_collector.receivers.otlp_grpc.GRPC_PORT", served.port)
        monkeypatch.setattr("stagelight_collector.receivers.otlp_grpc.HTTP_PORT", 0)
        async with _collector(tmp_path) as collector:
            assert collector.grpc == (
                f"Port {served.port} is taken, so OTLP over gRPC is off; choose another with --grpc-port."
            )


@pytest.mark.parametrize("given", [None, -1])
async def test_beside_another_port_there_is_none_unless_asked_for(tmp_path: Path, given: int | None) -> None:
    async with _collector(tmp_path, grpc_port=given) as collector:
        assert collector.grpc == ""
