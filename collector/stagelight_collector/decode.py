"""OTLP messages become rows of history and events; a pure function of the bytes and the time of receipt.

Rows have the column names and the value texts of the OpenTelemetry Collector's ClickHouse exporter, attribute maps
sorted by key (unsorted maps split a GROUP BY and compress badly). Events come only from spans and records that carry
a workflow key, and from log lines that belong to a trace.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight.events import Event, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

MAX_ATTRIBUTES: Final = 64
"""How many of the user's attributes an event carries; history keeps them all."""
MAX_TEXT: Final = 8192
"""How many characters of one text an event carries; history keeps all of it."""
MAX_DEPTH: Final = 32
"""How deep an attribute value may nest; what lies deeper is cut."""

_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")
_UNINTERESTING: Final = frozenset(
    {"thread.id", "thread.name", c.ERROR_TYPE, c.EXCEPTION_TYPE, c.EXCEPTION_MESSAGE, c.EXCEPTION_STACKTRACE}
)

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
                attributes = _plain(span.attributes)
                rows.append(_span_row(span, attributes, resource, service, scope_spans.scope))
                events += _span_events(span, attributes, service, received)
    return Decoded(traces=_columns(TRACE_COLUMNS, rows), events=events)


def decode_logs(request: ExportLogsServiceRequest, received: int) -> Decoded:
    """Decode log records. `received` is the time of receipt in Unix nanoseconds."""
    rows: list[tuple[Any, ...]] = []
    events: list[Event] = []
    for resource_logs in request.resource_logs:
        resource, service = _resource(resource_logs.resource)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                attributes = _plain(record.attributes)
                time = record.time_unix_nano or record.observed_time_unix_nano or received
                rows.append(_log_row(record, time, attributes, resource, service, resource_logs, scope_logs))
                events += _log_events(record, time, attributes, service, received)
    return Decoded(logs=_columns(LOG_COLUMNS, rows), events=events)


def _columns(names: Sequence[str], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    if not rows:
        return {}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _resource(resource: Resource) -> tuple[dict[str, str], str]:
    attributes = _texts(_plain(resource.attributes))
    return attributes, attributes.get("service.name", "")


# --- values -------------------------------------------------------------------------------------------------------


def _value(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [] if depth >= MAX_DEPTH else [_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        items = () if depth >= MAX_DEPTH else value.kvlist_value.values
        return {item.key: _value(item.value, depth + 1) for item in items}
    return None if kind is None else getattr(value, kind)


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _text(value: Any) -> str:
    """Return a value as the exporter writes it (pdata's `AsString`)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), default=_text, ensure_ascii=False)
    return str(value)


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {key: _text(attributes[key]) for key in sorted(attributes)}


# --- rows ---------------------------------------------------------------------------------------------------------


def _span_row(
    span: Span,
    attributes: dict[str, Any],
    resource: dict[str, str],
    service: str,
    scope: InstrumentationScope,
) -> tuple[Any, ...]:
    return (
        span.start_time_unix_nano,
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
        _texts(attributes),
        max(0, span.end_time_unix_nano - span.start_time_unix_nano),
        _STATUSES[span.status.code] if 0 <= span.status.code < len(_STATUSES) else _STATUSES[0],
        span.status.message,
        [event.time_unix_nano for event in span.events],
        [event.name for event in span.events],
        [_texts(_plain(event.attributes)) for event in span.events],
        [link.trace_id.hex() for link in span.links],
        [link.span_id.hex() for link in span.links],
        [link.trace_state for link in span.links],
        [_texts(_plain(link.attributes)) for link in span.links],
    )


def _log_row(
    record: LogRecord,
    time: int,
    attributes: dict[str, Any],
    resource: dict[str, str],
    service: str,
    resource_logs: ResourceLogs,
    scope_logs: ScopeLogs,
) -> tuple[Any, ...]:
    return (
        time,
        record.trace_id.hex(),
        record.span_id.hex(),
        record.flags & 0xFF,
        record.severity_text,
        min(max(record.severity_number, 0), 255),
        service,
        _text(_value(record.body)),
        resource_logs.schema_url,
        resource,
        scope_logs.schema_url,
        scope_logs.scope.name,
        scope_logs.scope.version,
        _texts(_plain(scope_logs.scope.attributes)),
        _texts(attributes),
        record.event_name,
    )


# --- events -------------------------------------------------------------------------------------------------------


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _of_user(attributes: Mapping[str, Any]) -> dict[str, Any]:
    own = sorted(key for key in attributes if not key.startswith(c.PREFIX) and key not in _UNINTERESTING)
    return {key: _attribute(attributes[key]) for key in own[:MAX_ATTRIBUTES]}


def _attribute(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _cut(_text(value))


def _str(attributes: Mapping[str, Any], key: str) -> str:
    value = attributes.get(key)
    return _cut(_text(value)) if value is not None else ""


def _number(attributes: Mapping[str, Any], key: str) -> float | None:
    value = attributes.get(key)
    return value if isinstance(value, int | float) else None


def _attempt(attributes: Mapping[str, Any]) -> int:
    value = attributes.get(c.STEP_ATTEMPT)
    return value if isinstance(value, int) and value > 0 else 1


def _shared(attributes: Mapping[str, Any], service: str, trace_id: bytes, span_id: bytes) -> dict[str, Any]:
    """Return the fields that every event of a span or record has."""
    return {
        "run_id": _str(attributes, c.RUN_ID),
        "workflow": _str(attributes, c.WORKFLOW_NAME),
        "service": service,
        "trace_id": trace_id.hex(),
        "span_id": span_id.hex(),
    }


def _span_events(span: Span, attributes: dict[str, Any], service: str, received: int) -> list[Event]:
    is_step, is_run = c.STEP_NAME in attributes, c.WORKFLOW_NAME in attributes
    if not (is_step or is_run):
        return []
    shared = _shared(attributes, service, span.trace_id, span.span_id)
    parent_run = _str(attributes, c.PARENT_RUN_ID)
    # A step at the root of its trace is a run of one step.
    lone = is_step and not span.parent_span_id and shared["run_id"] in {"", shared["trace_id"]}
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    facts = _Facts(
        shared={**shared, "attributes": _of_user(attributes), "received": received},
        start=start,
        end=max(start, end),
        failure=_failure(span, attributes),
        ended=_ended(span, attributes),
    )
    events: list[Event] = []
    if is_step:
        events += facts.step(_step_fields(attributes, span.span_id))
    if lone:
        facts.shared["workflow"] = shared["workflow"] or _str(attributes, c.STEP_NAME)
    if not is_step or lone:
        events += facts.run(
            {"parent_run_id": parent_run, "parent_step_id": _str(attributes, c.PARENT_STEP_ID)}
        )
    if parent_run and not is_step:
        events += facts.step(_child_fields(attributes, shared, parent_run))
    return events


@dataclass(slots=True)
class _Facts:
    """A finished span says two things: that something started, and how it ended."""

    shared: dict[str, Any]
    start: int
    end: int
    failure: Failure | None
    ended: c.RunStatus

    def step(self, fields: dict[str, Any]) -> list[Event]:
        ending = EventType.STEP_COMPLETED if self.ended is c.RunStatus.COMPLETED else EventType.STEP_FAILED
        return self._pair(EventType.STEP_STARTED, ending, fields)

    def run(self, fields: dict[str, Any]) -> list[Event]:
        return self._pair(EventType.RUN_STARTED, EventType(f"run_{self.ended}"), fields)

    def _pair(self, starting: EventType, ending: EventType, fields: dict[str, Any]) -> list[Event]:
        merged = {**self.shared, **fields}
        return [
            Event(type=starting, time=self.start, **merged),
            Event(type=ending, time=self.end, error=self.failure, **merged),
        ]


def _step_fields(attributes: Mapping[str, Any], span_id: bytes) -> dict[str, Any]:
    return {
        "step_id": _str(attributes, c.STEP_ID) or span_id.hex(),
        "step_name": _str(attributes, c.STEP_NAME),
        "step_kind": _str(attributes, c.STEP_KIND) or c.StepKind.DO.value,
        "parent_step_id": _str(attributes, c.PARENT_STEP_ID),
        "attempt": _attempt(attributes),
    }


def _child_fields(
    attributes: Mapping[str, Any], shared: Mapping[str, Any], parent_run: str
) -> dict[str, Any]:
    """Return the fields of the step that a child run is in its parent's room."""
    return {
        "run_id": parent_run,
        "workflow": "",
        "step_id": shared["span_id"],
        "step_name": shared["workflow"],
        "step_kind": c.StepKind.CHILD.value,
        "parent_step_id": _str(attributes, c.PARENT_STEP_ID),
        "child_run_id": shared["run_id"],
        "attempt": 1,
    }


def _ended(span: Span, attributes: Mapping[str, Any]) -> c.RunStatus:
    said = attributes.get(c.STATUS)
    if said == c.RunStatus.TERMINATED:
        return c.RunStatus.TERMINATED
    return (
        c.RunStatus.FAILED if span.status.code == 2 or said == c.RunStatus.FAILED else c.RunStatus.COMPLETED
    )


def _failure(span: Span, attributes: Mapping[str, Any]) -> Failure | None:
    if span.status.code != 2:
        return None
    exception = next((event for event in reversed(span.events) if event.name == "exception"), None)
    found = _plain(exception.attributes) if exception is not None else {}
    return Failure(
        type=_str(found, c.EXCEPTION_TYPE) or _str(attributes, c.ERROR_TYPE),
        message=_str(found, c.EXCEPTION_MESSAGE) or _cut(span.status.message),
        stacktrace=_str(found, c.EXCEPTION_STACKTRACE),
    )


def _log_events(
    record: LogRecord, time: int, attributes: dict[str, Any], service: str, received: int
) -> list[Event]:
    kind = _event_type(record.event_name or _str(attributes, "event.name"))
    shared = _shared(attributes, service, record.trace_id, record.span_id)
    if kind is None:
        if not (shared["run_id"] or record.trace_id):
            return []
        kind = EventType.LOG
    fields: dict[str, Any] = {
        **shared,
        "attributes": _of_user(attributes),
        "received": received,
        "time": time,
    }
    parent_run = _str(attributes, c.PARENT_RUN_ID)
    if kind in _OF_RUNS:
        fields |= {"parent_run_id": parent_run, "parent_step_id": _str(attributes, c.PARENT_STEP_ID)}
    elif c.STEP_NAME in attributes or c.STEP_ID in attributes:
        fields |= _step_fields(attributes, record.span_id)
    if kind in {EventType.LOG, EventType.PROGRESS}:
        fields |= {"message": _cut(_text(_value(record.body))), "severity": record.severity_text}
        fields |= {
            "current": _number(attributes, c.PROGRESS_CURRENT),
            "total": _number(attributes, c.PROGRESS_TOTAL),
        }
    if kind is EventType.HEARTBEAT and c.DROPPED in attributes:
        fields["attributes"][c.DROPPED] = attributes[c.DROPPED]
    failure = Failure(
        type=_str(attributes, c.EXCEPTION_TYPE) or _str(attributes, c.ERROR_TYPE),
        message=_str(attributes, c.EXCEPTION_MESSAGE),
        stacktrace=_str(attributes, c.EXCEPTION_STACKTRACE),
    )
    events = [Event(type=kind, error=failure if failure != Failure() else None, **fields)]
    if parent_run and kind is EventType.RUN_STARTED:
        child = {**fields, **_child_fields(attributes, shared, parent_run), "parent_run_id": ""}
        events.append(Event(type=EventType.STEP_STARTED, **child))
    return events


_OF_RUNS: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))


def _event_type(name: str) -> EventType | None:
    if not name.startswith(c.EVENT_NAME_PREFIX):
        return None
    try:
        return EventType(name.removeprefix(c.EVENT_NAME_PREFIX))
    except ValueError:
        return None
