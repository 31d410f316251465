"""Rows with the columns of the OpenTelemetry Collector's ClickHouse exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.values import nanoseconds, plain, plain_value, text, texts

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")

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
        _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else _KINDS[0],
        service,
        resource,
        scope.name,
        scope.version,
        texts(attributes),
        nanoseconds(span.end_time_unix_nano - span.start_time_unix_nano),
        _STATUSES[span.status.code] if 0 <= span.status.code < len(_STATUSES) else _STATUSES[0],
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
