"""Secrets that are received reach no room, no sink and no history; everything else is what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stagelight.redaction import is_secret, redact
from stagelight_collector.decode import decode_logs, decode_metrics, decode_traces
from stagelight_collector.decode.redacting import may_hold_secret, redact_traces
from stagelight_collector.journal import Signal

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from stagelight_collector.history import History

PLANTED: Final = "hunter2Hunter2hunter2"
VALUES: Final = (
    f"password={PLANTED}", f'{{"api_key": "{PLANTED}"}}', f"Bearer {PLANTED}", f"Basic {PLANTED}", f"https://ada:{PLANTED}@h/",
    f"eyJ{PLANTED}.{PLANTED}", f"sk-{PLANTED}", f"ghp_{PLANTED}", f"glpat-{PLANTED}", f"xoxb-{PLANTED}", f"AIza{PLANTED * 2}",
    f"rk_{PLANTED}", f"whsec_{PLANTED}", f"-----BEGIN PRIVATE KEY-----{PLANTED}-----END PRIVATE KEY-----",
    f"pa\u017fsword={PLANTED}", f"api_\u212aey: {PLANTED}", f"tokenizer={PLANTED}", f"authorization_x={PLANTED}",
)  # fmt: skip
KEYS: Final = (
    "db.password", "http.request.header.authorization", "http.request.header.cookie", "X-Api-Key", "clientSecret", "aws.access_key",
    "sessionId", "jwt", "csrf_token", "card_number", "cvv", "user.ssn", "PASSPHRASE", "credentials", "pwd", "auth",
)  # fmt: skip


def pair(key: str, text: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=text))


def traces(*pairs: KeyValue, name: str = "n", message: str = "") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    span = resource.scope_spans.add().spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8)
    span.status.message = message
    for part in (span, span.events.add(name="exception"), span.links.add(), resource.resource):
        part.attributes.extend([*pairs, pair("workflow.step.name", "load")])
    return request


def logs(body: str, *pairs: KeyValue) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"t" * 16)
    record.body.string_value = body
    record.attributes.extend(pairs)
    return request


def metrics(*pairs: KeyValue) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(attributes=pairs).exemplars.add(filtered_attributes=pairs)
    return request


def all_of(request: Message) -> str:
    """Return what is made of a request, rows and events, as a text."""
    body = request.SerializeToString()
    if isinstance(request, ExportTraceServiceRequest):
        decoded = decode_traces(request, 0, body)
    elif isinstance(request, ExportLogsServiceRequest):
        decoded = decode_logs(request, 0, body)
    else:
        assert isinstance(request, ExportMetricsServiceRequest)
        decoded = decode_metrics(request, body)
    return f"{dict(decoded.traces)} {decoded.logs} {decoded.metrics} {decoded.events}"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12])
def test_a_secret_in_a_text_is_gone_wherever_it_stands(value: str) -> None:
    for request in (
        traces(pair("url", value)), traces(name=value), traces(message=value), logs(value), logs("", pair("x", value)), metrics(pair("x", value)),
    ):  # fmt: skip
        assert PLANTED in str(request)
        assert PLANTED not in all_of(request)


@pytest.mark.parametrize("key", KEYS)
def test_the_value_of_a_key_that_names_a_secret_is_gone(key: str) -> None:
    for request in (traces(pair(key, PLANTED)), logs("", pair(key, PLANTED)), metrics(pair(key, PLANTED))):
        assert PLANTED in str(request)
        found = all_of(request)
        assert PLANTED not in found
        assert "[redacted]" in found


def test_a_secret_in_a_list_or_a_map_is_gone() -> None:
    nested = KeyValue(key="x")
    nested.value.array_value.values.add().string_value = f"token={PLANTED}"
    nested.value.array_value.values.add().kvlist_value.values.append(pair("password", PLANTED))
    assert PLANTED not in all_of(traces(nested))


@settings(max_examples=300, deadline=None)
@given(key=st.text(max_size=12), value=st.text(max_size=30))
def test_what_would_be_redacted_is_never_passed_by(key: str, value: str) -> None:
    """The quick look lets nothing through that the rules would cut out."""
    request = traces(pair(key, value))
    body = request.SerializeToString()
    if redact_traces(request):
        assert may_hold_secret(body)


PARTS: Final = (
    "access", "api", "auth", "authorization", "author", "or", "s", "card", "number", "session", "id", "key", "token", "tokens", "pass",
    "word", "passwd", "pwd", "cookie", "secret", "csrf", "ssh", "jwt", "basic", "x9", "bearer", "\u017f", "pa", "sword", "\u212a", "ey", "to", "en",
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(PARTS), st.sampled_from([str.lower, str.upper, str.title])), max_size=5
    ),
    between=st.sampled_from(["", "-", "_", ".", " ", "é", "9", "--"]),
    value=st.sampled_from(["", ": hunter2hunter2", " A1-hunter2hunter2", "='x'", "s=x"]),
)
def test_names_of_secrets_are_never_passed_by(parts: list[tuple[str, Any]], between: str, value: str) -> None:
    key = between.join(change(part) for part, change in parts)
    for request in (traces(pair(key, "x")), traces(pair("k", key + value)), traces(name=key + value)):
        body = request.SerializeToString()
        if redact_traces(request):
            assert may_hold_secret(body)


@pytest.mark.parametrize("text", [*VALUES, *KEYS])
def test_the_quick_look_knows_every_rule(text: str) -> None:
    assert redact(text) != text or is_secret(text)
    assert may_hold_secret(text.encode())


def test_what_is_no_secret_stays_as_it_was() -> None:
    harmless = traces(
        pair("session.id", "s1"),
        pair("gen_ai.usage.input_tokens", "7"),
        pair("workflow.token", "x"),
        pair("k", "keyboard"),
    )
    before = harmless.SerializeToString()
    assert may_hold_secret(before)
    assert not redact_traces(harmless)
    assert harmless.SerializeToString() == before
    ordinary = (
        pair("http.route", "/orders/{id}"),
        pair("book.author", "a"),
        pair("gen_ai.usage.input_tokens", "7"),
        pair("messaging.kafka.message.key", "Asia/Tokyo"),
        pair("url.full", "https://h/@ada"),
        pair("job", "task-1 risk_score"),
    )
    assert not may_hold_secret(traces(*ordinary).SerializeToString())


async def test_rooms_and_history_never_have_it(make_house: Any, history: History, ask: Any) -> None:
    request = traces(pair("password", PLANTED), pair("url", f"https://ada:{PLANTED}@h/"))
    async with make_house(history) as house, house.running("pipeline"):
        await house.pipeline.ingest(Signal.TRACES, request.SerializeToString(), request)
        await house.pipeline.drain()
        await house.archive.drain()
        (room,) = house.pipeline.hub.rooms.values()
        assert PLANTED.encode() not in room.snapshot()
    assert ask("SELECT SpanAttributes['password'], SpanAttributes['url'] FROM otel_traces") == [
        ("[redacted]", "https://[redacted]@h/")
    ]
    assert PLANTED not in str(ask("SELECT * FROM stagelight_events"))


def test_it_can_be_switched_off() -> None:
    request = traces(pair("password", PLANTED))
    assert PLANTED in str(dict(decode_traces(request, 0, request.SerializeToString(), redact=False).traces))
