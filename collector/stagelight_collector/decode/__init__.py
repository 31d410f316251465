"""OTLP messages become rows of history and events; a pure function of the bytes and the time of receipt.

Rows have the column names and the value texts of the OpenTelemetry Collector's ClickHouse exporter, attribute maps
sorted by key (unsorted maps split a GROUP BY and compress badly). Events come only from spans and records that carry
a workflow key, from spans of conventions that `aliases` knows, and from log lines that belong to a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight.events import Event
from stagelight_collector.decode.aliases import may_be_workflow
from stagelight_collector.decode.facts import log_events
from stagelight_collector.decode.metrics import count_points, metric_tables
from stagelight_collector.decode.reading import Reader
from stagelight_collector.decode.redacting import (
    may_hold_secret,
    redact_logs,
    redact_metrics,
    redact_traces,
)
from stagelight_collector.decode.rows import LOG_COLUMNS, columns, log_row, resource_texts, trace_columns
from stagelight_collector.decode.spans import Spans, engine_can_decode, may_hold_nested
from stagelight_collector.decode.values import nanoseconds, plain
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from stagelight_plugins.hookspecs import Table


Request: TypeAlias = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest

SMALL_BYTES: Final = 16 << 10
LARGE_BYTES: Final = 64 << 10
MANY: Final = 1_000
"""Spans, records or points of a request that is small in bytes; each may take 60 µs."""
LARGEST_PLAIN_BYTES: Final = 256 << 10
_may_need_more: Final = may_be_workflow | may_hold_secret | may_hold_nested


@dataclass(slots=True)
class Decoded:
    """What a request holds. An event's `run_id` is empty where the run has yet to be found by its trace."""

    traces: Table = field(default_factory=dict[str, Sequence[Any]])
    logs: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    metrics: dict[str, dict[str, list[Any]]] = field(default_factory=dict[str, dict[str, list[Any]]])
    """By table."""
    events: list[Event] = field(default_factory=list[Event])

    def batch(self, seq: int, events: Sequence[Event]) -> Batch:
        """Return the batch of an entry of the journal, with those of its events that have found their run."""
        return Batch(seq=seq, events=events, traces=self.traces, logs=self.logs, metrics=self.metrics)


def as_sent(request: Request | None, body: bytes) -> Decoded | None:
    """Return spans of which nothing is made here: no event, no column, no new text; None where something may be.

    One look at the bytes says it, which takes 0.5 µs a span; of a request that is too large for the event loop it is not taken.
    """
    if not isinstance(request, ExportTraceServiceRequest) or len(body) > LARGEST_PLAIN_BYTES:
        return None
    return None if _may_need_more(body) else Decoded(traces=Spans([body], count(request), {}))


def takes_long(request: Request | None, body: bytes) -> bool:
    """Whether a request, parsed or not, is decoded in a thread, so that the event loop stays free.

    The way there and back costs 1 ms of CPU.
    """
    if request is None:
        return len(body) > SMALL_BYTES
    return len(body) > LARGE_BYTES or count(request) > MANY


def decode_traces(
    request: ExportTraceServiceRequest, received: int, body: bytes | None = None, *, redact: bool = True
) -> Decoded:
    """Decode spans. `received` is the time of receipt in Unix nanoseconds.

    With `body`, the bytes of the request, its rows are left to the engine where that can decode them. Spans of foreign
    conventions are given our keys, and what looks like a secret is taken out, in `request` too.
    """
    reader = Reader(received)
    changed = redact and (body is None or may_hold_secret(body)) and redact_traces(request)
    if body is None or may_be_workflow(body):
        reader.read(request)
    if body is not None and (changed or reader.changed):
        body = request.SerializeToString()
    original = None if body is None else engine_can_decode(request, body)
    if original is None:
        traces: Table = trace_columns(request)
    else:
        traces = Spans([original], count(request), {})
    return Decoded(traces=traces, events=reader.events)


def count(request: Request) -> int:
    """Return how many spans, records or points a request has."""
    if isinstance(request, ExportTraceServiceRequest):
        return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if isinstance(request, ExportLogsServiceRequest):
        return sum(
            len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs
        )
    return count_points(request)


def decode_logs(
    request: ExportLogsServiceRequest, received: int, body: bytes | None = None, *, redact: bool = True
) -> Decoded:
    """Decode log records. `received` is the time of receipt in Unix nanoseconds, `body` the bytes of the request."""
    if redact and (body is None or may_hold_secret(body)):
        redact_logs(request)
    rows: list[tuple[Any, ...]] = []
    events: list[Event] = []
    for resource_logs in request.resource_logs:
        resource, service = resource_texts(resource_logs.resource)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                attributes = plain(record.attributes)
                time = nanoseconds(record.time_unix_nano or record.observed_time_unix_nano or received)
                rows.append(log_row(record, time, attributes, resource, service, resource_logs, scope_logs))
                events += log_events(record, time, attributes, service, received)
    return Decoded(logs=columns(LOG_COLUMNS, rows), events=events)


def decode_metrics(
    request: ExportMetricsServiceRequest, body: bytes | None = None, *, redact: bool = True
) -> Decoded:
    """Decode data points; `body` is the bytes of the request."""
    if redact and (body is None or may_hold_secret(body)):
        redact_metrics(request)
    return Decoded(metrics=metric_tables(request))
