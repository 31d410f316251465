"""OTLP in JSON: the same message as in protobuf, field by field; whatever else comes is refused in JSON."""

from __future__ import annotations

import gzip
import json
import re
import threading
from base64 import b64decode
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight_collector.receivers import Limits, otlp_http
from stagelight_collector.receivers.otlp_json import parse_json

if TYPE_CHECKING:
    from google.protobuf.message import Message

JSON = "application/json"
_IDS = ("traceId", "spanId", "parentSpanId")


def _is_list(found: object) -> TypeGuard[list[Any]]:
    return isinstance(found, list)


def _is_object(found: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(found, dict)


def _as_senders_write(message: Message, *, numbers: bool = True, upper: bool = False) -> dict[str, Any]:
    """Protobuf's JSON with ids in hexadecimal."""

    def rewrite(found: Any) -> Any:
        if _is_list(found):
            return [rewrite(one) for one in found]
        if not _is_object(found):
            return found
        written = {key: rewrite(value) for key, value in found.items()}
        for key in _IDS & written.keys():
            digits = b64decode(written[key]).hex()
            written[key] = digits.upper() if upper else digits
        return written

    written: dict[str, Any] = rewrite(MessageToDict(message, use_integers_for_enums=numbers))
    return written


_TEXT = st.text(max_size=8)
_TIME = st.integers(0, 2**64 - 1)
_SCALAR = st.one_of(
    st.builds(AnyValue, string_value=_TEXT),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    st.just(AnyValue()),
)


def _nested(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.lists(st.builds(KeyValue, key=_TEXT, value=inner), max_size=2)
    return st.one_of(
        st.lists(inner, max_size=2).map(lambda found: AnyValue(array_value=ArrayValue(values=found))),
        pairs.map(lambda found: AnyValue(kvlist_value=KeyValueList(values=found))),
    )


_ATTRIBUTES = st.lists(
    st.builds(KeyValue, key=_TEXT, value=st.recursive(_SCALAR, _nested, max_leaves=4)), max_size=3
)
_SPAN = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.sampled_from([b"", bytes(8), b"\xff" * 8]),
    name=_TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=_TIME,
    end_time_unix_nano=_TIME,
    attributes=_ATTRIBUTES,
    events=st.lists(st.builds(Span.Event, name=_TEXT, time_unix_nano=_TIME), max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=st.just(bytes(16)), attributes=_ATTRIBUTES), max_size=2),
    status=st.builds(Status, code=st.integers(0, 2), message=_TEXT),
)
_RECORD = st.builds(
    LogRecord,
    time_unix_nano=_TIME,
    severity_number=st.integers(0, 24),
    body=_SCALAR,
    attributes=_ATTRIBUTES,
    trace_id=st.sampled_from([b"", bytes(range(16))]),
    flags=st.integers(0, 2**32 - 1),
    event_name=_TEXT,
)


@settings(max_examples=100, deadline=None)
@given(spans=st.lists(_SPAN, max_size=3), numbers=st.booleans(), upper=st.booleans())
def test_spans_are_the_same_field_by_field(spans: list[Span], numbers: bool, upper: bool) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    body = json.dumps(_as_senders_write(request, numbers=numbers, upper=upper)).encode()
    assert parse_json(body, ExportTraceServiceRequest, Limits()) == request


@settings(max_examples=100, deadline=None)
@given(records=st.lists(_RECORD, max_size=3), numbers=st.booleans())
def test_log_records_are_the_same_field_by_field(records: list[LogRecord], numbers: bool) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.extend(records)
    body = json.dumps(_as_senders_write(request, numbers=numbers)).encode()
    assert parse_json(body, ExportLogsServiceRequest, Limits()) == request


async def test_a_request_in_json_is_answered_in_json_and_kept_as_protobuf(serve: Any, traces: bytes) -> None:
    request = ExportTraceServiceRequest.FromString(traces)
    body = gzip.compress(json.dumps(_as_senders_write(request)).encode())
    async with serve() as receiver:
        answer = await receiver.send(
            body, Content_Type="application/json; charset=utf-8", Content_Encoding="gzip"
        )
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, JSON, b"{}")
        [(_, kept, message)] = receiver.taken
        assert ExportTraceServiceRequest.FromString(kept) == message == request
        assert (await receiver.send(b"{}", Content_Type=JSON)).status == 200


def test_numbers_may_be_texts_and_unknown_fields_are_ignored() -> None:
    span = {
        "traceId": "0AFF" * 8,
        "startTimeUnixNano": "1700000000000000001",
        "endTimeUnixNano": 1700000000000000002,
        "kind": "SPAN_KIND_SERVER",
        "fromTheFuture": {"traceId": "not hexadecimal", "deep": [[1]]},
        "attributes": [{"key": "n", "value": {"intValue": "-9223372036854775808"}}],
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}], "more": None}).encode()
    read = parse_json(body, ExportTraceServiceRequest, Limits()).resource_spans[0].scope_spans[0].spans[0]
    assert (read.trace_id, read.kind) == (bytes.fromhex("0aff" * 8), 2)
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == (1700000000000000001, 1700000000000000002)
    assert read.attributes[0].value.int_value == -(2**63)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is not JSON: .*"),
        (b'{"resourceSpans": [', 400, r"the body is not JSON: .* \(at character \d+\)"),
        (b"[]", 400, "the body is not a JSON object: ExportTraceServiceRequest is one"),
        (b'{"resourceSpans": 5}', 400, "the body is not a valid ExportTraceServiceRequest: .*"),
        (b'{"resourceSpans": [null]}', 400, "the body is not a valid ExportTraceServiceRequest: .*"),
        (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}',
            400,
            ".*: look at resourceSpans.scopeSpans.spans.traceId",
        ),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}', 400, ".*not a valid.*"),
        (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\xff"}]}]}]}',
            400,
            "the body is not JSON: .*",
        ),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":1e99}]}]}]}', 400, ".*not a valid.*"),
        (b'{"resourceSpans":[' + b"{}," * 100 + b"{}]}", 413, "more than 100 spans.*"),
        (b"[" * 5000 + b"]" * 5000, 413, "more than 100 spans.*"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 400, "more than 32 messages within one another"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, 400, "more than 32 messages within one another"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", 400, "more than 32 messages within one another"),
    ],
)
async def test_what_is_no_message_is_refused_in_json(serve: Any, body: bytes, status: int, said: str) -> None:
    async with serve(Limits(items=100)) as receiver:
        answer = await receiver.send(body, Content_Type=JSON)
        assert (answer.status, answer.headers["Content-Type"]) == (status, JSON)
        found = json.loads(answer.body)
        assert found["code"] == (3 if status == 400 else 8)
        assert re.fullmatch(said, found["message"]), found


async def test_json_is_never_read_on_the_event_loop(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def watched(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return parse_json(*args)

    monkeypatch.setattr(otlp_http, "parse_json", watched)
    async with serve() as receiver:
        assert (await receiver.send(b"{}", Content_Type=JSON)).status == 200
    assert [thread is threading.main_thread() for thread in threads] == [False]


_NAMES = st.sampled_from(
    re.findall(
        r"\w+",
        "resourceSpans scopeSpans spans resource attributes key value arrayValue kvlistValue values traceId spanId kind"
        " status code startTimeUnixNano intValue bytesValue flags resourceLogs scopeLogs logRecords body",
    )
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.just("NaN")
)
_ANY_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(found=st.dictionaries(_NAMES, _ANY_JSON, max_size=3), path=st.sampled_from(["/v1/traces", "/v1/logs"]))
async def test_any_json_gets_an_answer_that_is_no_fault_of_ours(
    serve: Any, found: dict[str, Any], path: str
) -> None:
    async with serve() as receiver:
        answer = await receiver.send(json.dumps(found).encode(), path, Content_Type=JSON)
        assert answer.status in {200, 400}
        json.loads(answer.body)
