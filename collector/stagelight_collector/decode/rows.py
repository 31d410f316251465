"""Rows with the columns of the OpenTelemetry Collector's ClickHouse exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.values import nanoseconds, plain, plain_value, text, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
STATUSES: Final = ("Unset", "Ok", "Error")

TRACE_COLUMNS: Final = (
    "Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName",
    "ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode", "StatusMessage",
    "Events.Timestamp", "Events.Name", "Events.Attributes",
    "Links.TraceId", "Links.SpanId", "Links.TraceState", "Links.Attributes",
)  # fmt: skip
LOG_COLUMNS: Final = (
    "Timestamp", "TraceId", "SpanId", "TraceFlags", "SeverityText", "SeverityNumber", "ServiceName", "Body",
    "ResourceSchemaUrl", "ResourceAttributes", "ScopeSchemaUrl", "ScopeName", "ScopeVersion", "ScopeAttributes",
    "LogAttributes", "EventName",
)  # fmt: skip


def span_row(
    span: Span,
    attributes: dict[str, Any],
    resource: dict[str, str],
    service: str,
    scope: InstrumentationScope,
) -> tuple[Any, ...]:
    """Return a row of `otel_traces`, in the order of `TRACE_COLUMNS`."""
    return (
        nanoseconds(span.start_time_unix_nano),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.name,
        KINDS[span.kind] if 0 <= span.kind < len(KINDS) else KINDS[0],
        service,
        resource,
        scope.name,
        scope.version,
        texts(attributes),
        nanoseconds(span.end_time_unix_nano - span.start_time_unix_nano),
        STATUSES[span.status.code] if 0 <= span.status.code < len(STATUSES) else STATUSES[0],
        span.status.message,
        [nanoseconds(event.time_unix_nano) for event in span.events],
        [event.name for event in span.events],
        [texts(plain(event.attributes)) for event in span.events],
        [link.trace_id.hex() for link in span.links],
        [link.span_id.hex() for link in span.links],
        [link.trace_state for link in span.links],
        [texts(plain(link.attributes)) for link in span.links],
    )


def log_row(
    record: LogRecord,
    time: int,
    attributes: dict[str, Any],
    resource: dict[str, str],
    service: str,
    resource_logs: ResourceLogs,
    scope_logs: ScopeLogs,
) -> tuple[Any, ...]:
    """Return a row of `otel_logs`, in the order of `LOG_COLUMNS`."""
    return (
        time,
        record.trace_id.hex(),
        record.span_id.hex(),
        record.flags & 0xFF,
        record.severity_text,
        min(max(record.severity_number, 0), 255),
        service,
        text(plain_value(record.body)),
        resource_logs.schema_url,
        resource,
        scope_logs.schema_url,
        scope_logs.scope.name,
        scope_logs.scope.version,
        texts(plain(scope_logs.scope.attributes)),
        texts(attributes),
        record.event_name,
    )


def trace_columns(request: ExportTraceServiceRequest) -> dict[str, list[Any]]:
    """Return the rows of a request's spans, column by column."""
    rows: list[tuple[Any, ...]] = []
    for resource_spans in request.resource_spans:
        resource, service = resource_texts(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            rows += [
                span_row(span, plain(span.attributes), resource, service, scope) for span in scope_spans.spans
            ]
    return columns(TRACE_COLUMNS, rows)


def columns(names: Sequence[str], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Turn rows into columns; nothing where there are none."""
    if not rows:
        return {}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def resource_texts(resource: Resource) -> tuple[dict[str, str], str]:
    """Return a resource's attributes and the name of its service."""
    attributes = texts(plain(resource.attributes))
    return attributes, attributes.get("service.name", "")
