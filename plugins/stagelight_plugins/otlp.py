"""Events back into the OTLP request that says the same, for what is born in the collector and must be journaled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stagelight import conventions as c
from stagelight.conventions import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from stagelight.events import Event


def request_of(events: Iterable[Event]) -> ExportLogsServiceRequest:
    """Return a request of log records that decodes to these events.

    `child_run_id` is not carried: the step that a child run is follows from the start of that run. A step's kind and
    attempt are `do` and 1 where they were empty.
    """
    request = ExportLogsServiceRequest()
    by_service: dict[str, Any] = {}
    for event in events:
        scope = by_service.get(event.service)
        if scope is None:
            resource_logs = request.resource_logs.add()
            _put(resource_logs.resource.attributes.add(), "service.name", event.service)
            scope = by_service[event.service] = resource_logs.scope_logs.add()
            scope.scope.name, scope.schema_url = c.SCOPE_NAME, c.SCHEMA_URL
        _fill(scope.log_records.add(), event)
    return request


def _fill(record: LogRecord, event: Event) -> None:
    record.time_unix_nano = event.time
    record.trace_id, record.span_id = bytes.fromhex(event.trace_id), bytes.fromhex(event.span_id)
    record.severity_text = event.severity
    if event.type is not EventType.LOG:
        record.event_name = f"{c.EVENT_NAME_PREFIX}{event.type}"
    if event.message:
        record.body.string_value = event.message
    for key, value in _attributes(event):
        if value is not None and value != "":
            _put(record.attributes.add(), key, value)


def _attributes(event: Event) -> Iterator[tuple[str, Any]]:
    yield from event.attributes.items()
    yield c.RUN_ID, event.run_id
    yield c.WORKFLOW_NAME, event.workflow
    yield c.PARENT_RUN_ID, event.parent_run_id
    yield c.PARENT_STEP_ID, event.parent_step_id
    yield c.STEP_ID, event.step_id
    yield c.STEP_NAME, event.step_name
    yield c.STEP_KIND, event.step_kind
    yield c.STEP_ATTEMPT, event.attempt or None
    yield c.PROGRESS_CURRENT, event.current
    yield c.PROGRESS_TOTAL, event.total
    if event.error is not None:
        yield c.EXCEPTION_TYPE, event.error.type
        yield c.EXCEPTION_MESSAGE, event.error.message
        yield c.EXCEPTION_STACKTRACE, event.error.stacktrace


def _put(pair: KeyValue, key: str, value: Any) -> None:
    pair.key = key
    match value:
        case bool():
            pair.value.bool_value = value
        case int() if -(2**63) <= value < 2**63:
            pair.value.int_value = value
        case float():
            pair.value.double_value = value
        case _:
            pair.value.string_value = str(value).encode("utf-8", "replace").decode()
