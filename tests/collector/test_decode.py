"""OTLP becomes events and exporter-shaped rows."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.decode import as_sent, decode_logs, decode_traces, takes_long
from stagelight_collector.decode.facts import MAX_ATTRIBUTES, MAX_TEXT
from stagelight_collector.decode.rows import LOG_COLUMNS, TRACE_COLUMNS
from stagelight_collector.decode.values import MAX_TIME
from stagelight_plugins.otlp import request_of

TRACE = bytes(range(16))
SPAN = bytes(range(8))
PARENT = bytes(range(8, 16))


FIELDS = {
    "bool": "bool_value",
    "int": "int_value",
    "float": "double_value",
    "bytes": "bytes_value",
    "str": "string_value",
}


def value(plain: Any) -> AnyValue:
    name = type(plain).__name__
    if name == "list":
        return AnyValue(array_value=ArrayValue(values=[value(item) for item in plain]))
    if name == "dict":
        return AnyValue(kvlist_value=KeyValueList(values=pairs(plain)))
    message = AnyValue()
    setattr(message, FIELDS[name], plain)
    return message


def pairs(plain: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(item)) for key, item in plain.items()]


def spans(*items: Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(pairs({"service.name": "shop", "host.name": "h"}))
    scope = resource.scope_spans.add()
    scope.scope.name = "s"
    scope.spans.extend(items)
    return request


def span(attributes: dict[str, Any], **fields: Any) -> Span:
    known: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "name": "n",
        "start_time_unix_nano": 10,
        "end_time_unix_nano": 30,
    }
    return Span(attributes=pairs(attributes), **{**known, **fields})


def logs(*items: LogRecord) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.extend(items)
    return request


def kinds(events: list[Any]) -> list[str]:
    return [str(event.type) for event in events]


def test_a_step_span_says_that_it_started_and_how_it_ended() -> None:
    attributes = {
        c.RUN_ID: "r",
        c.WORKFLOW_NAME: "etl",
        c.STEP_NAME: "load",
        c.STEP_ID: "abc",
        c.STEP_ATTEMPT: 2,
        "rows": 7,
    }
    started, ended = decode_traces(spans(span(attributes, parent_span_id=PARENT)), 99).events

    assert (started.type, started.time, ended.type, ended.time) == (
        EventType.STEP_STARTED,
        10,
        EventType.STEP_COMPLETED,
        30,
    )
    assert (ended.run_id, ended.workflow, ended.step_name, ended.step_id, ended.attempt) == (
        "r",
        "etl",
        "load",
        "abc",
        2,
    )
    assert ended.attributes == {"rows": 7}
    assert (ended.service, ended.received) == ("shop", 99)


def test_a_failed_span_says_why() -> None:
    exception = Span.Event(
        name="exception",
        attributes=pairs(
            {c.EXCEPTION_TYPE: "KeyError", c.EXCEPTION_MESSAGE: "'x'", c.EXCEPTION_STACKTRACE: "line 1"}
        ),
    )
    failed = span(
        {c.RUN_ID: "r", c.WORKFLOW_NAME: "etl"},
        events=[exception],
        status=Status(code=Status.STATUS_CODE_ERROR),
    )
    started, ended = decode_traces(spans(failed), 0).events

    assert kinds([started, ended]) == ["run_started", "run_failed"]
    assert ended.error is not None
    assert ended.error.to_dict() == {"type": "KeyError", "message": "'x'", "stacktrace": "line 1"}
    assert started.error is None


def test_a_child_run_is_a_step_in_its_parents_room() -> None:
    child = span(
        {c.RUN_ID: "child", c.WORKFLOW_NAME: "index", c.PARENT_RUN_ID: "r", c.PARENT_STEP_ID: "s1"},
        parent_span_id=PARENT,
    )
    events = decode_traces(spans(child), 0).events

    assert [(e.run_id, str(e.type)) for e in events] == [
        ("child", "run_started"),
        ("child", "run_completed"),
        ("r", "step_started"),
        ("r", "step_completed"),
    ]
    assert (events[2].step_kind, events[2].child_run_id, events[2].parent_step_id) == ("child", "child", "s1")


def test_a_step_at_the_root_of_its_trace_is_a_run_of_one_step() -> None:
    events = decode_traces(spans(span({c.STEP_NAME: "lone"})), 0).events

    assert kinds(events) == ["step_started", "step_completed", "run_started", "run_completed"]
    assert events[2].workflow == "lone"


def test_a_span_without_workflow_keys_is_history_only() -> None:
    decoded = decode_traces(spans(span({"http.route": "/"})), 0)

    assert decoded.events == []
    assert decoded.traces["SpanName"] == ["n"]


def test_rows_have_the_exporters_columns_and_texts() -> None:
    attributes = {"z": True, "a": 1, "f": 0.5, "b": b"\x00", "l": [1, "x"], "m": {"k": "v"}}
    rows = decode_traces(spans(span(attributes, kind=Span.SPAN_KIND_SERVER)), 0).traces

    assert tuple(rows) == TRACE_COLUMNS
    assert list(rows["SpanAttributes"][0].items()) == [
        ("a", "1"),
        ("b", "AA=="),
        ("f", "0.5"),
        ("l", '[1,"x"]'),
        ("m", '{"k":"v"}'),
        ("z", "true"),
    ]
    assert (rows["SpanKind"], rows["Duration"], rows["StatusCode"]) == (["Server"], [20], ["Unset"])
    assert rows["TraceId"] == [TRACE.hex()]


def test_a_start_event_has_the_time_and_the_attributes_of_its_record() -> None:
    record = LogRecord(
        time_unix_nano=10,
        event_name="workflow.step_started",
        trace_id=TRACE,
        span_id=SPAN,
        attributes=pairs({c.RUN_ID: "r", c.STEP_NAME: "load"}),
    )
    (event,) = decode_logs(logs(record), 0).events

    assert (event.type, event.time, event.step_id, event.attempt) == (
        EventType.STEP_STARTED,
        10,
        SPAN.hex(),
        1,
    )


def test_a_start_event_and_its_span_state_the_same_fact() -> None:
    attributes = {
        c.RUN_ID: "r",
        c.WORKFLOW_NAME: "etl",
        c.STEP_NAME: "load",
        c.STEP_ID: "abc",
        c.STEP_ATTEMPT: 1,
    }
    record = LogRecord(
        time_unix_nano=10,
        event_name="workflow.step_started",
        trace_id=TRACE,
        span_id=SPAN,
        attributes=pairs(attributes),
    )
    (said,) = decode_logs(logs(record), 1).events
    (shown, _) = decode_traces(spans(span(attributes)), 2).events

    assert said.to_dict() | {"service": "shop"} == shown.to_dict()


@pytest.mark.parametrize("name", ["", "workflow.no_such_event", "other"])
def test_any_other_record_of_a_trace_is_a_log_line(name: str) -> None:
    record = LogRecord(event_name=name, body=value("hello"), severity_text="WARN", trace_id=TRACE)
    (event,) = decode_logs(logs(record), 5).events

    assert (event.type, event.message, event.severity, event.time) == (EventType.LOG, "hello", "WARN", 5)


def test_a_record_of_no_trace_is_history_only() -> None:
    decoded = decode_logs(logs(LogRecord(body=value("hello"))), 5)

    assert decoded.events == []
    assert tuple(decoded.logs) == LOG_COLUMNS
    assert decoded.logs["Body"] == ["hello"]


def test_progress_carries_its_numbers() -> None:
    record = LogRecord(
        event_name="workflow.progress",
        body=value("b.csv"),
        trace_id=TRACE,
        attributes=pairs({c.RUN_ID: "r", c.PROGRESS_CURRENT: 2, c.PROGRESS_TOTAL: 5.0}),
    )
    (event,) = decode_logs(logs(record), 0).events

    assert (event.current, event.total, event.message) == (2, 5.0, "b.csv")


def test_what_an_event_carries_is_bounded_and_history_keeps_it_all() -> None:
    attributes: dict[str, Any] = {f"k{number:03}": "v" for number in range(200)}
    attributes |= {c.RUN_ID: "r", c.STEP_NAME: "s", "a": "x" * 20_000}
    decoded = decode_traces(spans(span(attributes, parent_span_id=PARENT)), 0)

    assert len(decoded.events[0].attributes) == MAX_ATTRIBUTES
    assert len(decoded.events[0].attributes["a"]) == MAX_TEXT
    assert len(decoded.traces["SpanAttributes"][0]["a"]) == 20_000


@pytest.mark.parametrize("code", [-1, 99])
def test_numbers_outside_an_enumeration_are_read_as_unspecified(code: int) -> None:
    request = spans(span({}))
    request.resource_spans[0].scope_spans[0].spans[0].kind = code  # type: ignore[assignment]  # open enum on the wire

    assert decode_traces(request, 0).traces["SpanKind"] == ["Unspecified"]


LATE = 2**64 - 1


def test_times_that_history_cannot_hold_are_held_back() -> None:
    late = span(
        {c.STEP_NAME: "load"},
        start_time_unix_nano=LATE,
        end_time_unix_nano=LATE,
        events=[Span.Event(time_unix_nano=LATE)],
    )
    long = span({}, start_time_unix_nano=0, end_time_unix_nano=LATE)
    decoded = decode_traces(spans(late, long), 0)
    told = decode_logs(logs(LogRecord(time_unix_nano=LATE, trace_id=TRACE)), 0)

    assert decoded.traces["Timestamp"] == [MAX_TIME, 0]
    assert decoded.traces["Events.Timestamp"][0] == [MAX_TIME]
    assert decoded.traces["Duration"] == [0, MAX_TIME]
    assert {event.time for event in decoded.events} == {MAX_TIME}
    assert (told.logs["Timestamp"], told.events[0].time) == ([MAX_TIME], MAX_TIME)


def test_what_has_neither_run_nor_trace_is_no_event() -> None:
    nowhere = span({c.STEP_NAME: "load", c.WORKFLOW_NAME: "etl"}, trace_id=b"")
    heartbeat = LogRecord(event_name="workflow.heartbeat")

    assert decode_traces(spans(nowhere), 0).events == []
    assert decode_logs(logs(heartbeat), 0).events == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), True])
def test_progress_has_only_numbers_that_json_has(number: float) -> None:
    attributes = {c.RUN_ID: "r", c.PROGRESS_CURRENT: number, "mine": float("nan")}
    record = LogRecord(event_name="workflow.progress", attributes=pairs(attributes))
    (event,) = decode_logs(logs(record), 0).events

    assert event.current is None
    assert event.attributes == {"mine": "nan"}


STAMPS = {c.RUN_ID: "r", c.WORKFLOW_NAME: "etl"}


@pytest.mark.parametrize(
    ("attributes", "parent"),
    [(STAMPS, PARENT), ({**STAMPS, c.PARENT_STEP_ID: "s"}, PARENT), ({**STAMPS, c.PARENT_STEP_ID: "s"}, b"")],
)
def test_a_span_inside_a_run_does_not_end_it(attributes: dict[str, Any], parent: bytes) -> None:
    assert decode_traces(spans(span(attributes, parent_span_id=parent)), 0).events == []


@pytest.mark.parametrize(
    ("attributes", "parent"), [(STAMPS, b""), ({**STAMPS, c.STATUS: "completed"}, PARENT)]
)
def test_a_runs_own_span_ends_it(attributes: dict[str, Any], parent: bytes) -> None:
    events = decode_traces(spans(span(attributes, parent_span_id=parent)), 0).events

    assert kinds(events) == ["run_started", "run_completed"]


def test_what_an_agent_dropped_is_told_to_its_run() -> None:
    record = LogRecord(
        event_name="workflow.heartbeat", time_unix_nano=1, attributes=pairs({c.RUN_ID: "r", c.DROPPED: 7})
    )
    (event,) = decode_logs(logs(record), 0).events

    assert (event.type, event.run_id, event.attributes) == (EventType.HEARTBEAT, "r", {c.DROPPED: 7})


@pytest.mark.parametrize(
    "event",
    [
        Event(type=EventType.RUN_CREATED, run_id="r", time=5, workflow="etl", service="s", attributes={"a": 1}),
        Event(type=EventType.RUN_STARTED, run_id="r", time=5, trace_id="ab" * 16, span_id="cd" * 8),
        Event(type=EventType.RUN_FAILED, run_id="r", time=5, error=Failure(type="E", message="m", stacktrace="s")),
        Event(
            type=EventType.STEP_STARTED, run_id="r", time=5, step_id="x", step_name="load", step_kind="sleep",
            parent_step_id="y", attempt=3, attributes={"flag": True, "share": 0.5, "text": "t"},
        ),
        Event(
            type=EventType.PROGRESS, run_id="r", time=5, step_id="x", step_name="load", step_kind="do", attempt=1,
            message="half", current=0.0, total=2.0,
        ),
        Event(type=EventType.LOG, run_id="r", time=5, message="line", severity="WARN"),
    ],
    ids=lambda event: str(event.type),
)  # fmt: skip
def test_a_request_made_of_an_event_decodes_to_it(event: Event) -> None:
    assert decode_logs(request_of([event]), 9).events == [event]


def test_a_request_made_of_events_keeps_their_order_and_services() -> None:
    events = [
        Event(type=EventType.LOG, run_id=f"r{n}", time=n, service="ab"[n % 2], message="m")
        for n in range(1, 5)
    ]
    request = request_of(events)

    assert len(request.resource_logs) == 2
    assert sorted(decode_logs(request, 9).events, key=lambda event: event.time) == events


def _spans(
    count: int, attributes: int = 0, odd: AnyValue | None = None, key: str = "odd"
) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for _ in range(count):
        span = scope.spans.add(name="GET /", span_id=b"12345678")
        for number in range(attributes):
            span.attributes.add(key=f"http.key.{number}").value.string_value = "a value of some length"
    if odd is not None:
        scope.spans[-1].attributes.add(key=key).value.CopyFrom(odd)
    return request


def _lines(count: int) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.extend([LogRecord()] * count)
    return request


_TEXT, _LIST = (
    AnyValue(string_value="x"),
    AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="x")])),
)


@pytest.mark.parametrize(
    ("request_", "long"),
    [
        (_spans(100, 8), False),
        (_spans(512, 8), False),
        (_spans(512, 8, _LIST), True),  # columns are made here
        (_spans(512, 8, _TEXT, "api_token"), True),  # every text is looked at
        (_spans(512, 8, _TEXT, "workflow.name"), True),  # events are made
        (_spans(1_500, 8), True),  # even one look is too much
        (_spans(2_000, 0, _LIST), True),  # small, but many
        (_lines(2_000), True),
        (_lines(900), False),
    ],
)
def test_what_takes_long_is_decoded_in_a_thread(
    request_: ExportTraceServiceRequest | ExportLogsServiceRequest, long: bool
) -> None:
    body = request_.SerializeToString()
    assert (as_sent(request_, body) is None and takes_long(request_, body)) == long
    assert takes_long(None, body) == (len(body) > 16 << 10)
