"""Spans decoded by the engine are the rows that our own decoder makes, column by column."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight_collector.decode import decode_traces, spans as spans_module
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


def _varint(number: int, spare: int = 0) -> bytes:
    """Return a number on the wire, with bytes to spare as .NET's SDK writes lengths that it does not know yet; five at most."""
    found = bytearray()
    while number > 0x7F or (spare and len(found) < 4):
        spare -= number <= 0x7F
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(tag: int, content: bytes, spare: int = 0) -> bytes:
    return bytes([tag]) + _varint(len(content), spare) + content


def _with_attribute(value: bytes, spare: int = 0) -> bytes:
    """Return a request with one span that has one attribute, of which the value is given as it is on the wire."""
    attribute = _field(0x0A, b"key") + _field(0x12, value, spare)
    span = _field(0x0A, b"t" * 16) + _field(0x12, b"12345678") + _field(0x2A, b"n") + _field(0x4A, attribute)
    return _field(0x0A, _field(0x12, _field(0x12, span)))


@example(tag=0x2A, size=128, spares=(0, 0))
@example(tag=0x32, size=129, spares=(0, 0))
@given(
    tag=st.sampled_from([0x2A, 0x32]),
    size=st.one_of(st.integers(0, 300), st.integers(16_380, 16_395), st.just(2_200_000)),
    spares=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_lists_and_maps_are_found_however_their_lengths_are_written(
    tag: int, size: int, spares: tuple[int, int]
) -> None:
    filler = b"" if size < 4 else _field(0x7A, b"x" * (size - 4))  # a field that no version of OTLP has
    body = _with_attribute(_field(tag, filler, spares[0]), spares[1])
    request = ExportTraceServiceRequest.FromString(body)
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes[0].value
    assert value.WhichOneof("value") in {"array_value", "kvlist_value"}
    assert engine_can_decode(request, body) is None


@given(tail=st.binary(min_size=3, max_size=3), name=st.text("abc", min_size=1, max_size=60))
def test_ids_before_a_name_are_seldom_taken_for_a_list(tail: bytes, name: str) -> None:
    request = _request([_one(b"12345" + tail)])
    request.resource_spans[0].scope_spans[0].spans[0].name = name
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spans_module, "_PROBE", None)  # not asked
        body = request.SerializeToString()
        # One of 65,000, and of 130,000, ids.
        if tail[1:] != bytes([0x12, len(name) + 2]) and not (
            tail[0] == 0x12 and tail[1] > 0x7F and not tail[2]
        ):
            assert engine_can_decode(request, body) is body


async def test_the_engine_refuses_a_list_that_was_not_found_and_it_goes_in_as_columns(
    history: History, ask: Ask
) -> None:
    both = _field(0x0A, b"text") + _field(0x2A, _field(0x0A, _field(0x0A, b"x")))  # the last one counts
    strange = b"\xaa\x00" + _field(0x2A, _field(0x0A, _field(0x0A, b"x")))[1:]  # its tag has a byte to spare
    for number, value in enumerate((both, strange)):
        body = _with_attribute(value)
        table = decode_traces(ExportTraceServiceRequest.FromString(body), 0, body).traces
        assert isinstance(table, Spans)
        with pytest.raises(HistoryError) as refused:
            await history.insert(Batch(seq=1, traces=table), f"token {number}")
        assert not refused.value.retryable
        assert ask("SELECT count() FROM otel_traces") == [(0,)]

        await history.insert(Batch(seq=1, traces=dict(table)), "", again=True)
        assert ask("SELECT SpanAttributes FROM otel_traces") == [({"key": '["x"]'},)]
        ask("TRUNCATE TABLE otel_traces")


@pytest.mark.parametrize("last", ["text", "5", "true", "0.5", "eA=="])
async def test_of_a_value_that_is_given_twice_the_last_one_counts(
    history: History, ask: Ask, last: str
) -> None:
    values = {
        "text": _field(0x0A, b"text"),
        "5": b"\x18\x05",
        "true": b"\x10\x01",
        "0.5": b"\x21" + struct.pack("<d", 0.5),
        "eA==": _field(0x3A, b"x"),
    }
    for first, value in values.items():
        body = _with_attribute((value if first != last else b"") + values[last])
        table = decode_traces(ExportTraceServiceRequest.FromString(body), 0, body).traces
        assert isinstance(table, Spans)
        batch = Batch(seq=1, traces=table)
        try:
            await history.insert(batch, f"{first} {last}")
        except HistoryError as error:
            assert not error.retryable  # noqa: PT017 - either way it goes in
            await history.insert(Batch(seq=1, traces=dict(table)), "", again=True)
        assert ask("SELECT SpanAttributes FROM otel_traces") == [({"key": last},)], first
        ask("TRUNCATE TABLE otel_traces")


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


async def test_what_is_new_has_indexes_by_trace_and_run_and_what_is_merged_all(
    history: History, ask: Ask
) -> None:
    made = (
        "SELECT name FROM system.data_skipping_indices WHERE table = 'otel_traces' AND database = currentDatabase()"
        " AND data_compressed_bytes > 0 ORDER BY name"
    )
    span = _one()
    span.attributes.add(key="k").value.string_value = "v"
    await history.insert(Batch(seq=1, traces=_left_to_the_engine(_request([span]))), "")
    assert ask(made) == [("idx_trace_id",), ("idx_workflow_run_id",)]
    ask("OPTIMIZE TABLE otel_traces FINAL")
    assert len(ask(made)) == 8


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
