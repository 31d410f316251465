"""Our own encoder says what the official one says, about every span and log record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from stagelight import encoder
from stagelight.conventions import EventType
from stagelight.lines import Line
from stagelight.records import SEVERITIES, Draft, Records
from stagelight.scope import Step

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

SCOPE = InstrumentationScope("stagelight", "1", "https://schema")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
KEYS = st.sampled_from(["a", "b", "é", "workflow.run.id"]) | TEXTS.filter(bool)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1, 127, 128, 2**63 - 1, -(2**63)])
SCALARS = TEXTS | NUMBERS | st.booleans() | st.floats() | st.sampled_from(["", "\ud800", 1, True, 1.0, -0.0])
VALUES = SCALARS | st.lists(TEXTS, max_size=3) | st.lists(NUMBERS, max_size=3)
MAPS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(KEYS, VALUES, max_size=6)
TIMES = st.integers(0, 2**64 - 1)
PARENTS = st.none() | st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    st.sampled_from([None, TraceState([("vendor", "1")])]),
)
STATUSES = st.sampled_from([None, Status(StatusCode.OK), Status(StatusCode.ERROR, "ValueError: ü")])


def canonical_spans(encoded: bytes) -> bytes:
    """Return a trace request in one fixed form, so that NaN equals NaN."""
    return ExportTraceServiceRequest.FromString(encoded).SerializeToString(deterministic=True)


def canonical_logs(encoded: bytes) -> bytes:
    """Return a logs request in one fixed form."""
    return ExportLogsServiceRequest.FromString(encoded).SerializeToString(deterministic=True)


def assert_spans_mean_the_same(batch: list[ReadableSpan], using: Any = None) -> None:
    """Compare the whole request, which both make of the batch."""
    ours = (using or encoder.spans()).encode(batch)
    assert canonical_spans(ours) == encode_spans(batch).SerializeToString(deterministic=True)


def assert_logs_mean_the_same(batch: list[ReadableLogRecord], using: Any = None) -> None:
    """Compare the whole request, which both make of the batch."""
    ours = (using or encoder.logs()).encode(batch)
    assert canonical_logs(ours) == encode_logs(batch).SerializeToString(deterministic=True)


class Ids(IdGenerator):
    """The same ids each time, as Hypothesis wants them."""

    def __init__(self, number: int) -> None:
        self._number = number

    def generate_span_id(self) -> int:
        return self._number

    def generate_trace_id(self) -> int:
        return self._number << 64 | 1


@st.composite
def spans(draw: st.DrawFn) -> ReadableSpan:
    """Return a span as the SDK would end it: mostly simple, sometimes with everything."""
    limits = SpanLimits(
        max_attributes=draw(st.sampled_from([128, 2])),
        max_events=draw(st.sampled_from([1, 0])),
        max_links=draw(st.sampled_from([1, 0])),
    )
    resource = Resource({"service.name": draw(st.sampled_from(["a", "b"]))}, "https://resource")
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=resource,
        span_limits=limits,
        id_generator=Ids(draw(st.integers(1, 2**64 - 1))),
        shutdown_on_exit=False,
    )
    parent = draw(PARENTS)
    span = provider.get_tracer(draw(st.sampled_from(["stagelight", "theirs"])), "1").start_span(
        draw(TEXTS),
        None if parent is None else set_span_in_context(NonRecordingSpan(parent)),
        kind=draw(st.sampled_from([SpanKind.INTERNAL, SpanKind.INTERNAL, *SpanKind])),
        attributes=draw(MAPS),
        links=draw(st.lists(st.builds(Link, PARENTS.filter(bool), MAPS), max_size=2)),
        start_time=draw(TIMES),
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        span.add_event(draw(TEXTS), draw(MAPS), draw(TIMES))
    if status := draw(STATUSES):
        span.set_status(status)
    span.end(draw(TIMES))
    assert isinstance(span, ReadableSpan)
    return span


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(spans(), max_size=4))
def test_spans_mean_the_same(batch: list[ReadableSpan]) -> None:
    using = encoder.spans()
    assert_spans_mean_the_same(batch, using)
    assert_spans_mean_the_same(batch, using)  # now out of what it remembers


@st.composite
def drafts(draw: st.DrawFn) -> ReadableLogRecord:
    """Return the record of a start or a line."""
    parent = draw(PARENTS.filter(bool))
    assert parent is not None
    scope = Step("x", span=NonRecordingSpan(parent), start_attributes=draw(MAPS))
    records = Records(SCOPE)
    if draw(st.booleans()):
        return records.start(scope)
    line = Line(
        scope,
        draw(st.sampled_from([EventType.LOG, EventType.PROGRESS])),
        draw(TIMES),
        draw(TEXTS),
        draw(st.sampled_from([*SEVERITIES, "", "odd", "ünknown"])),
        draw(MAPS),
        draw(st.none() | NUMBERS | st.floats()),
        draw(st.none() | NUMBERS),
    )
    return records.line(line)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(drafts(), max_size=4))
def test_log_records_mean_the_same(batch: list[ReadableLogRecord]) -> None:
    using = encoder.logs()
    assert_logs_mean_the_same(batch, using)
    assert_logs_mean_the_same(batch, using)


def test_a_heartbeat_means_the_same() -> None:
    assert_logs_mean_the_same([Records(SCOPE).heartbeat(7, Resource({"service.name": "a"}))])


def test_numbers_and_texts_that_are_equal_in_python_stay_apart() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    batch: list[ReadableSpan] = []
    for value in ("1", 1, True, 1.0, 0, False, 0.0, -0.0, "0"):
        span = provider.get_tracer("x").start_span("x", attributes={"k": value})
        span.end()
        assert isinstance(span, ReadableSpan)
        batch.append(span)
    assert_spans_mean_the_same(batch)


def test_what_is_remembered_is_bounded() -> None:
    attributes = encoder.Attributes()
    for number in range(10_000):
        attributes.encode(b"\x32", {"k": str(number), "long": "x" * 1000 + str(number)})
    known = attributes._known  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # its size is the point
    assert 0 < len(known) <= 4096
    assert all(len(encoded) <= 300 for encoded in known.values())


def test_a_span_made_by_hand_means_the_same() -> None:
    context = SpanContext(1, 2, is_remote=False)
    span = ReadableSpan(
        "hand",
        context,
        resource=Resource({}),
        attributes={"a": 1},
        events=(Event("e", {"b": ["x"]}, 5),),
        start_time=1,
        end_time=2,
    )
    assert_spans_mean_the_same([span, ReadableSpan("bare", context, resource=Resource({}))])


def test_ordinary_records_never_reach_the_official_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(batch: Any) -> Any:
        raise AssertionError(batch)

    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("stagelight").start_span("x", attributes={"a": "b", "c": 1, "d": 1.5})
    start = Records(SCOPE).start(Step("x", span=span, start_attributes={"a": "b", "c": 1}))
    span.end()
    assert isinstance(span, ReadableSpan)
    of_spans, of_logs = encoder.spans(), encoder.logs()
    of_spans.encode([span])
    of_logs.encode([start])  # the resource and the scope are learned
    monkeypatch.setattr(encoder, "encode_spans", refuse)
    monkeypatch.setattr(encoder, "encode_logs", refuse)
    assert of_spans.encode([span, span])
    assert of_logs.encode([start, start])


def test_other_exporters_see_an_sdk_log_record() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("stagelight").start_span("x")
    start = Records(SCOPE).start(Step("x", span=span, start_attributes={"a": "b"}))
    assert isinstance(start, Draft)
    assert start.log_record is start.log_record
    assert start.log_record.trace_id == span.get_span_context().trace_id
    assert '"a": "b"' in start.to_json()
    assert start.dropped_attributes == 0
    with pytest.raises(AttributeError, match="nothing_else"):
        _ = start.nothing_else
