"""Spans decoded by the engine are the rows that our own decoder makes, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight_collector.decode import decode_traces
from stagelight_collector.decode.rows import TRACE_COLUMNS, trace_columns
from stagelight_collector.decode.spans import Spans, engine_can_decode, joined
from stagelight_collector.history import HistoryError, writer
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_collector.history import History

    Ask = Callable[..., Sequence[Sequence[Any]]]

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
_TIME = st.integers(1_600_000_000 * 10**9, 1_600_000_000 * 10**9 + 10**13)
_VALUE = st.one_of(
    st.builds(AnyValue, string_value=_TEXT),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    st.just(AnyValue()),
)
_ATTRIBUTES = st.lists(
    st.builds(KeyValue, key=_TEXT, value=_VALUE), max_size=3, unique_by=lambda attribute: attribute.key
)
_SPAN = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.sampled_from([b"", b"\xff" * 8]),
    trace_state=_TEXT,
    name=_TEXT,
    kind=st.integers(-1, 7),
    start_time_unix_nano=_TIME,
    end_time_unix_nano=_TIME | st.just(2**64 - 1) | st.just(0),
    attributes=_ATTRIBUTES,
    events=st.lists(
        st.builds(Span.Event, name=_TEXT, time_unix_nano=_TIME, attributes=_ATTRIBUTES), max_size=2
    ),
    links=st.lists(
        st.builds(Span.Link, trace_id=st.binary(max_size=16), span_id=st.just(b"l"), attributes=_ATTRIBUTES),
        max_size=2,
    ),
    status=st.builds(Status, code=st.integers(-1, 4), message=_TEXT),
)


def _request(spans: list[Span], **resource: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in resource.items():
        resource_spans.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name, scope_spans.scope.version = "scope", "2.1"
    scope_spans.spans.extend(spans)
    return request


def _left_to_the_engine(request: ExportTraceServiceRequest) -> Spans:
    table = decode_traces(request, 0, request.SerializeToString()).traces
    assert isinstance(table, Spans)
    return table


def _one(span_id: bytes = b"12345678", start: int = 1_700_000_000 * 10**9) -> Span:
    return Span(
        trace_id=b"t" * 16,
        span_id=span_id,
        name="n",
        start_time_unix_nano=start,
        end_time_unix_nano=start + 5,
    )


_COLUMNS = ", ".join(
    {
        "Timestamp": "toUnixTimestamp64Nano(Timestamp)",
        "Events.Timestamp": "arrayMap(x -> toUnixTimestamp64Nano(x), Events.Timestamp)",
    }.get(name, f"`{name}`")
    for name in TRACE_COLUMNS
)


def _stored(ask: Ask) -> list[tuple[Any, ...]]:
    rows = ask(f"SELECT {_COLUMNS} FROM otel_traces")  # noqa: S608 - names from this file
    return sorted((tuple(row) for row in rows), key=repr)


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FEW", 1)


# The table is emptied by each example.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(_SPAN, min_size=1, max_size=12))
async def test_the_engine_makes_the_same_rows(history: History, ask: Ask, spans: list[Span]) -> None:
    request = _request(spans, service_name="shop", host_name="a")
    ask("TRUNCATE TABLE otel_traces")
    await history.insert(Batch(seq=1, traces=_left_to_the_engine(request)), "")
    expected = trace_columns(request)
    rows = zip(*(expected[name] for name in TRACE_COLUMNS), strict=True)
    assert _stored(ask) == sorted(rows, key=repr)


async def test_what_the_engine_cannot_decode_goes_in_beside_it(history: History, ask: Ask) -> None:
    odd = _one(b"87654321")
    odd.attributes.add(key="l").value.array_value.values.add(string_value="x")
    assert not isinstance(
        decode_traces(_request([odd]), 0, _request([odd]).SerializeToString()).traces, Spans
    )
    table = joined([_left_to_the_engine(_request([_one()])), trace_columns(_request([odd])), {}])
    assert (table.height, len(table.bodies), len(table["SpanId"])) == (2, 1, 2)
    await history.insert(Batch(seq=1, traces=table), "token")
    assert ask("SELECT SpanAttributes FROM otel_traces ORDER BY SpanId") == [({},), ({"l": '["x"]'},)]


@pytest.mark.parametrize("where", ["attributes", "events", "links"])
@pytest.mark.parametrize("value", ["array_value", "kvlist_value"])
def test_lists_and_maps_are_found_wherever_they_are(where: str, value: str) -> None:
    span = _one()
    holder: Any = span if where == "attributes" else getattr(span, where).add()
    getattr(holder.attributes.add(key="k").value, value).SetInParent()
    request = _request([_one(), span])
    assert engine_can_decode(request, request.SerializeToString()) is None


async def test_a_list_in_a_resource_becomes_its_text(history: History, ask: Ask) -> None:
    request = _request([_one()])
    arguments = request.resource_spans[0].resource.attributes.add(key="process.command_args")
    arguments.value.array_value.values.add(string_value="python")
    await history.insert(Batch(seq=1, traces=_left_to_the_engine(request)), "")
    assert ask("SELECT ResourceAttributes FROM otel_traces") == [({"process.command_args": '["python"]'},)]


async def test_again_completes_what_went_in_in_part(history: History, ask: Ask) -> None:
    both = _left_to_the_engine(_request([_one(b"11111111"), _one(b"22222222")]))
    await history.insert(Batch(seq=1, traces=_left_to_the_engine(_request([_one(b"22222222")]))), "")
    await history.insert(Batch(seq=1, traces=both), "token", again=True)
    assert ask("SELECT count(), uniqExact(SpanId) FROM otel_traces") == [(2, 2)]


async def test_a_token_lets_the_engines_rows_in_once(history: History, ask: Ask) -> None:
    for _ in range(2):
        await history.insert(Batch(seq=1, traces=_left_to_the_engine(_request([_one()]))), "token")
    assert ask("SELECT count() FROM otel_traces") == [(1,)]


async def test_spans_of_too_many_days_are_refused_for_good_and_not_for_now(history: History) -> None:
    day = 86_400 * 10**9
    spans = [_one(bytes([number]) * 8, 1_600_000_000 * 10**9 + number * day) for number in range(120)]
    with pytest.raises(HistoryError) as caught:
        await history.insert(Batch(seq=1, traces=_left_to_the_engine(_request(spans))), "")
    assert not caught.value.retryable


async def test_attributes_are_sorted_by_key(history: History, ask: Ask) -> None:
    span = _one()
    for key in "bca":
        span.attributes.add(key=key).value.string_value = key
    await history.insert(Batch(seq=1, traces=_left_to_the_engine(_request([span]))), "")
    assert ask("SELECT mapKeys(SpanAttributes) FROM otel_traces") == [(["a", "b", "c"],)]
