"""OTLP messages become rows of history and events; a pure function of the bytes and the time of receipt.

Rows have the column names and the value texts of the OpenTelemetry Collector's ClickHouse exporter, attribute maps
sorted by key (unsorted maps split a GROUP BY and compress badly). Events come only from spans and records that carry
a workflow key, and from log lines that belong to a trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stagelight.events import Event
from stagelight_collector.decode.facts import log_events, span_events
from stagelight_collector.decode.rows import LOG_COLUMNS, TRACE_COLUMNS, log_row, span_row
from stagelight_collector.decode.values import nanoseconds, plain, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource


@dataclass(slots=True)
class Decoded:
    """What a request holds. An event's `run_id` is empty where the run has yet to be found by its trace."""

    traces: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    logs: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    events: list[Event] = field(default_factory=list[Event])


def decode_traces(request: ExportTraceServiceRequest, received: int) -> Decoded:
    """Decode spans. `received` is the time of receipt in Unix nanoseconds."""
    rows: list[tuple[Any, ...]] = []
    events: list[Event] = []
    for resource_spans in request.resource_spans:
        resource, service = _resource(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes = plain(span.attributes)
                rows.append(span_row(span, attributes, resource, service, scope_spans.scope))
                events += span_events(span, attributes, service, received)
    return Decoded(traces=_columns(TRACE_COLUMNS, rows), events=events)


def decode_logs(request: ExportLogsServiceRequest, received: int) -> Decoded:
    """Decode log records. `received` is the time of receipt in Unix nanoseconds."""
    rows: list[tuple[Any, ...]] = []
    events: list[Event] = []
    for resource_logs in request.resource_logs:
        resource, service = _resource(resource_logs.resource)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                attributes = plain(record.attributes)
                time = nanoseconds(record.time_unix_nano or record.observed_time_unix_nano or received)
                rows.append(log_row(record, time, attributes, resource, service, resource_logs, scope_logs))
                events += log_events(record, time, attributes, service, received)
    return Decoded(logs=_columns(LOG_COLUMNS, rows), events=events)


def _columns(names: Sequence[str], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    if not rows:
        return {}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _resource(resource: Resource) -> tuple[dict[str, str], str]:
    attributes = texts(plain(resource.attributes))
    return attributes, attributes.get("service.name", "")
