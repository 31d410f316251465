"""The export services of OTLP, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from stagelight_collector.decode import count
from stagelight_collector.journal import Signal
from stagelight_collector.receivers.prescan import table_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from stagelight_collector.receivers.prescan import Table

ExportRequest = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest
RequestT = TypeVar(
    "RequestT", ExportTraceServiceRequest, ExportLogsServiceRequest, ExportMetricsServiceRequest
)


@dataclass(frozen=True, slots=True)
class Service(Generic[RequestT]):
    """One path under `/v1`."""

    signal: Signal
    path: str
    rpc: str
    """The service's full name in gRPC."""
    request: type[RequestT]
    response: type[Message]
    count: Callable[[RequestT], int]
    """How many spans, log records or data points a request has."""
    table: Table


TRACES: Final = Service(
    Signal.TRACES,
    "/v1/traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    count,
    table_of(ExportTraceServiceRequest.DESCRIPTOR),
)
LOGS: Final = Service(
    Signal.LOGS,
    "/v1/logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    count,
    table_of(ExportLogsServiceRequest.DESCRIPTOR),
)
METRICS: Final = Service(
    Signal.METRICS,
    "/v1/metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    count,
    table_of(ExportMetricsServiceRequest.DESCRIPTOR),
)
